"""The committed notebooks: fresh outputs, decimals with a source, the footer of their place."""

import copy
from pathlib import Path

import nbformat
import pytest

from tools import files, footer, prose, stamp

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9]*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each
def test_its_outputs_are_fresh(path):
    """Stale: run `make fresh` to see why, and `make fresh RUN=--run` to renew it."""
    assert stamp.compare(path) == []


@each
def test_its_decimals_have_a_source(path):
    """Red: see the module `prose` for what counts as a source."""
    assert prose.find_unsupported([path]) == []


@each
def test_its_footer_is_the_generated_one(path):
    """Another: run `make footer`."""
    book = nbformat.read(path, 4)
    renewed = copy.deepcopy(book)
    footer.attach(renewed, path)
    assert files.normalise(renewed) == book
