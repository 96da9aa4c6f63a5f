"""What an import costs: models, data and commands load nothing heavy that they do not need."""

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


def test_help_and_typos_of_tools_load_no_notebook():
    """Each command imports what it needs."""
    code = "import sys; from tools.__main__ import main\ntry: main(sys.argv[1:])\n"
    code += "finally: print(*sys.modules)"
    for words in (["--help"], ["run", "--profile", "small"]):
        run = [sys.executable, "-c", code, *words]
        loaded = subprocess.run(run, capture_output=True, text=True).stdout.split()
        needless = HEAVY | {"torch", "numpy", "nbformat", "nbconvert", "PIL", "papers"}
        assert "tools.__main__" in loaded and not needless & set(loaded)


def test_profiles_of_tools_are_those_that_notebooks_know():
    from tools import __main__, execution

    assert __main__.OPTIONS["profile"]["choices"] == list(execution.CELL_SECONDS)
