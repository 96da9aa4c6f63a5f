"""What an import costs: models, their data and their command load nothing heavy beside PyTorch."""

import subprocess
import sys

HEAVY = {"pandas", "scipy.stats", "requests", "sklearn", "pooch", "matplotlib", "lightning_fabric"}
LIGHT = """
from unbraid.models import SingleElement, UnorderedFrames, IndependentPrediction
from unbraid.models import SingleElementConfig, UnorderedFramesConfig, IndependentPredictionConfig
from unbraid.data import fetch, sequences, moving_digits, sampling, sprites, faces, speech
from unbraid import records, codes, interventions
import sys
print(*sys.modules)
"""


def test_models_and_data_load_nothing_heavy():
    run = [sys.executable, "-c", LIGHT]
    loaded = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert "unbraid.models.single_element" in loaded and HEAVY & set(loaded) == set()


def test_what_one_needs_first_is_imported_from_unbraid():
    from unbraid import PLACES, __getattr__

    assert {__getattr__(name).__name__ for names in PLACES.values() for name in names} == {
        name for names in PLACES.values() for name in names
    }
