"""What an import costs: models, data and commands load nothing heavy that they do not need."""

import subprocess
import sys
from pathlib import Path

import pytest
import unbraid

SOURCE = Path(unbraid.__file__).read_text(encoding="utf-8")
HEAVY = {"pandas", "scipy.stats", "requests", "sklearn", "matplotlib"}
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


@pytest.mark.parametrize(
    "program, lines",
    (
        ("unbraid", ("", "--version", "data lst")),
        ("papers", ("-h", "tran", "train dependent")),
        ("tools", ("--help", "run --profile small")),
    ),
)
def test_help_and_typos_load_nothing_heavy(program, lines):
    """Each command imports what it needs."""
    needless = HEAVY | {"torch", "nbformat", "nbconvert", "PIL"}
    for line in lines:
        code = f"import sys; from {program}.__main__ import main\n"
        code += "try: main()\nfinally: print(*sys.modules)"
        run = [sys.executable, "-c", code, *line.split()]
        loaded = subprocess.run(run, capture_output=True, text=True).stdout.split()
        assert f"{program}.__main__" in loaded and not needless & set(loaded), line
        assert program != "tools" or "numpy" not in loaded


def test_names_are_loaded_when_they_are_used_and_tab_offers_them():
    code = "import sys, unbraid\nbefore = 'torch' in sys.modules\nshown = dir(unbraid)\n"
    code += "from unbraid import *\nprint(before, *shown, kraskov.__name__, SingleElement.__name__)"
    run = [sys.executable, "-c", code]
    printed = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert printed[0] == "False" and printed[-2:] == ["kraskov", "SingleElement"]
    assert {*unbraid.__all__, "__version__"} == set(printed[1:-2]) and len(unbraid.__all__) >= 20
    with pytest.raises(AttributeError, match="'unbraid' has no attribute 'fits'"):
        _ = unbraid.fits
