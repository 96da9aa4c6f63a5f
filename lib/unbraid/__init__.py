"""Unbraid: the thin helper library behind a notebook course on sequential disentanglement.

What one needs first can be imported from here, `from unbraid import fit, SingleElement`; it is
looked up when it is asked for, so that `import unbraid` alone takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unbraid.data.sequences import Sequences
    from unbraid.measures.judges import load_judge
    from unbraid.measures.leakage import leakage_matrix
    from unbraid.models.base import Batch, ModelConfig, SequenceModel
    from unbraid.models.independent import IndependentPrediction, IndependentPredictionConfig
    from unbraid.models.single_element import SingleElement, SingleElementConfig
    from unbraid.models.unordered import UnorderedFrames, UnorderedFramesConfig
    from unbraid.training import fit

__version__ = "1.0.0"
__all__ = [
    "Batch",
    "IndependentPrediction",
    "IndependentPredictionConfig",
    "ModelConfig",
    "SequenceModel",
    "Sequences",
    "SingleElement",
    "SingleElementConfig",
    "UnorderedFrames",
    "UnorderedFramesConfig",
    "fit",
    "leakage_matrix",
    "load_judge",
]
PLACES = {
    "data.sequences": ("Sequences",),
    "measures.judges": ("load_judge",),
    "measures.leakage": ("leakage_matrix",),
    "models.base": ("Batch", "ModelConfig", "SequenceModel"),
    "models.independent": ("IndependentPrediction", "IndependentPredictionConfig"),
    "models.single_element": ("SingleElement", "SingleElementConfig"),
    "models.unordered": ("UnorderedFrames", "UnorderedFramesConfig"),
    "training": ("fit",),
}


def __getattr__(name: str) -> object:
    """A name of `__all__`, imported from its module."""
    for place, names in PLACES.items():
        if name in names:
            return getattr(import_module(f"unbraid.{place}"), name)
    raise AttributeError(f"module 'unbraid' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The names that can be imported from here, and the module's own."""
    return sorted({*__all__, *globals()})
