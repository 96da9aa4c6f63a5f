"""Unbraid: models, measures and data of a notebook course on sequential disentanglement.

What most programs need is imported from here, `from unbraid import SingleElement, fit`. A name is
loaded when it is first used, so that `import unbraid` takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what type checkers and editors read; `MODULES` below says the same
    from unbraid.codes import decode_all as decode_all
    from unbraid.codes import encode_all as encode_all
    from unbraid.data.moving_digits import MovingDigits as MovingDigits
    from unbraid.data.moving_digits import load_digits as load_digits
    from unbraid.data.sampling import FrameSampler as FrameSampler
    from unbraid.data.sampling import SequenceSampler as SequenceSampler
    from unbraid.data.sequences import Sequences as Sequences
    from unbraid.distributions import DiagonalGaussian as DiagonalGaussian
    from unbraid.distributions import kl as kl
    from unbraid.measures.calibration import calibrate as calibrate
    from unbraid.measures.information import kraskov as kraskov
    from unbraid.measures.information import ross as ross
    from unbraid.measures.judges import load_judge as load_judge
    from unbraid.measures.leakage import leakage_matrix as leakage_matrix
    from unbraid.measures.swaps import random_donors as random_donors
    from unbraid.measures.swaps import swap_scores as swap_scores
    from unbraid.models.base import Batch as Batch
    from unbraid.models.base import Bound as Bound
    from unbraid.models.base import ModelConfig as ModelConfig
    from unbraid.models.base import SequenceModel as SequenceModel
    from unbraid.models.independent import IndependentPrediction as IndependentPrediction
    from unbraid.models.single_element import SingleElement as SingleElement
    from unbraid.models.unordered import UnorderedFrames as UnorderedFrames
    from unbraid.training import fit as fit

__version__ = "2.0.0"
MODULES = {  # where each name is
    "Batch": "models.base",
    "Bound": "models.base",
    "DiagonalGaussian": "distributions",
    "FrameSampler": "data.sampling",
    "IndependentPrediction": "models.independent",
    "ModelConfig": "models.base",
    "MovingDigits": "data.moving_digits",
    "SequenceModel": "models.base",
    "SequenceSampler": "data.sampling",
    "Sequences": "data.sequences",
    "SingleElement": "models.single_element",
    "UnorderedFrames": "models.unordered",
    "calibrate": "measures.calibration",
    "decode_all": "codes",
    "encode_all": "codes",
    "fit": "training",
    "kl": "distributions",
    "kraskov": "measures.information",
    "leakage_matrix": "measures.leakage",
    "load_digits": "data.moving_digits",
    "load_judge": "measures.judges",
    "random_donors": "measures.swaps",
    "ross": "measures.information",
    "swap_scores": "measures.swaps",
}
__all__ = list(MODULES)  # noqa: PLE0605 - a list of names, as type checkers see above


def __getattr__(name: str) -> object:
    if name not in MODULES:
        raise AttributeError(f"module 'unbraid' has no attribute {name!r}")
    value = getattr(import_module(f"unbraid.{MODULES[name]}"), name)
    globals()[name] = value  # From now on Python does not ask this function.
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
