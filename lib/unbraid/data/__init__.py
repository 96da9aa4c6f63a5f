"""Data of the course: one type of sequences, the real files behind it, and samplers of them."""

from papers.datasets import DATASETS
from papers.datasets import load_dataset as load

__all__ = ["DATASETS", "load"]
