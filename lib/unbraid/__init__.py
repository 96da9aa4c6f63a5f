"""Unbraid: the thin helper library behind a notebook course on sequential disentanglement.

What one needs first is imported from here, `from unbraid import fit`, once it is asked for.
"""

from importlib import import_module

__version__ = "2.0.0"
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
    for place, names in PLACES.items():
        if name in names:
            return getattr(import_module(f"unbraid.{place}"), name)
    raise AttributeError(f"module 'unbraid' has no attribute {name!r}")
