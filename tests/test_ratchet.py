"""The house gets no thicker: statements, lines and words a folder are at most ratchet.toml's.

A number that has become more than 2 % smaller is lowered in the file. One that must rise is raised
there with a comment: why, and what went out elsewhere.
"""

import ast
import json
import tomllib
from pathlib import Path

import pytest
from unbraid.files import repository_root

ROOT = repository_root()
RATCHET = tomllib.loads(Path(__file__).with_name("ratchet.toml").read_text())
OTHER = {".toml", ".j2", ".js", ".css", ".html", ".yml", ".yaml", ".cfg", ".jsonl"}
LOCKS = {"sources.toml"}  # lists of digests


def list_files(folder, suffixes):
    """Files of a folder of the clone that git knows or could know: nothing built or hidden."""
    paths = sorted((ROOT / folder).rglob("*"))
    return [path for path in paths if path.suffix in suffixes and path.name not in LOCKS]


def count_statements(folder):
    """Statements of Python, however they are laid out; a docstring is one."""
    trees = [ast.parse(path.read_bytes()) for path in list_files(folder, {".py"})]
    return sum(isinstance(node, ast.stmt) for tree in trees for node in ast.walk(tree))


def count_lines(folder):
    """Lines of what is neither Python nor text."""
    return sum(len(path.read_bytes().splitlines()) for path in list_files(folder, OTHER))


def count_words(folder):
    """Words of Markdown: of pages, and of notebooks' cells with folds, boxes and exercises."""
    words = 0
    for path in list_files(folder, {".md"}):
        words += len(path.read_text(encoding="utf-8").split())
    for path in list_files(folder, {".ipynb"}):
        cells = json.loads(path.read_bytes())["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        words += len(" ".join(texts).split())
    return words


COUNTS = {"statements": count_statements, "lines": count_lines, "words": count_words}
ROWS = [(kind, folder) for kind, folders in RATCHET.items() for folder in folders]


@pytest.mark.parametrize("kind, folder", ROWS, ids=map(" ".join, ROWS))
def test_a_folder_has_no_more_than_its_number(kind, folder):
    found, limit = COUNTS[kind](folder), RATCHET[kind][folder]
    expected = f"{folder}: expected at most {limit} {kind}, found {found}"
    assert found <= limit, f"{expected}; take as much out, or say in ratchet.toml why it must rise"
    assert found > 0.98 * limit, f"{folder}: {kind} fell to {found}; lower it in ratchet.toml"
