"""Data of the course: one type of sequences, the real files behind it, and samplers of them."""

from unbraid.data.catalogue import DATASETS
from unbraid.data.catalogue import load_dataset as load

__all__ = ["DATASETS", "load"]
