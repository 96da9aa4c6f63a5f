"""Probes of clips that share characters, persons or stays are scored on new ones of these.

They go through `score_groups` or `leakage_matrix`, which take `groups`. Every other fit of
notebooks, lib and papers is in fits.toml, with the reason why no group is on both sides.
"""

import ast
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from unbraid.data import sprites
from unbraid.measures.groups import score_groups

ROOT = Path(__file__).resolve().parents[1]
FITS = {"fit", "fit_transform", "fit_predict", "partial_fit"}
SPLITS = {"cross_val_score", "cross_val_predict", "cross_validate", "train_test_split"}
SPLITS |= {"GridSearchCV", "RandomizedSearchCV", "leakage_matrix"}  # safe only with their groups


def find_fits(source):
    """The calls, as Python writes them, that fit on given rows, or draw a split without groups."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        has_groups = any(keyword.arg == "groups" for keyword in call.keywords)
        is_fit = name in FITS and isinstance(call.func, ast.Attribute)
        if is_fit or (name in SPLITS and not has_groups):
            found.append(ast.unparse(call))
    return found


def read_sources():
    """What is searched, by its name: the cells of each notebook, and each module."""
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            if cell["cell_type"] == "code":
                yield path.stem[:2], "".join(cell["source"])
    for folder in ("lib/unbraid", "lib/unbraid_course", "papers"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.parent.name != "lessons":  # which are cells of notebooks
                yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def known_fits():
    """{(where, call)} of fits.toml, each with one reason."""
    known = {}
    for part in tomllib.loads((ROOT / "tests/fits.toml").read_text(encoding="utf-8"))["fits"]:
        for where, calls in part["calls"].items():
            for call in calls:
                assert (where, call) not in known, (where, call)
                known[where, call] = part["reason"]
    return known


def test_every_fit_takes_groups_or_has_a_reason():
    known, found = known_fits(), set()
    for where, source in read_sources():
        found |= {(where, call) for call in find_fits(source)}
    assert not found - known.keys(), "fits that are not in tests/fits.toml"
    assert not known.keys() - found, "fits of tests/fits.toml that are no longer there"
    assert all(len(reason) > 20 for reason in known.values())


def test_a_name_that_only_groups_give_away_is_not_found_in_new_ones():
    """The codes say who somebody is, and nothing of a label that each person has by chance."""
    random = np.random.default_rng(0)
    person = np.repeat(np.arange(120), 9)
    codes = 5 * random.standard_normal((120, 8))[person] + random.standard_normal((1080, 8))
    label = random.integers(2, size=120)[person]
    reader = KNeighborsClassifier(3)
    shuffled = random.permutation(1080)
    known, new = shuffled[:540], shuffled[540:]
    of_clips = reader.fit(codes[known], label[known]).score(codes[new], label[new])
    of_persons = score_groups(reader, torch.tensor(codes), label, person)
    assert of_clips > 0.95
    assert of_persons.shape == (5,) and abs(of_persons.mean() - 0.5) < 0.15


def test_a_label_that_the_codes_say_is_found_in_new_groups():
    random = np.random.default_rng(1)
    person, label = np.repeat(np.arange(60), 4), random.integers(2, size=240)
    codes = label[:, None] + 0.1 * random.standard_normal((240, 3))
    assert score_groups(KNeighborsClassifier(3), codes, label, person).min() == 1


def test_without_groups_or_with_one_there_is_no_score():
    codes, label = np.zeros((8, 2)), np.arange(8) % 2
    for groups in (None, np.zeros(8), np.arange(7)):
        with pytest.raises((TypeError, ValueError)):
            score_groups(KNeighborsClassifier(1), codes, label, groups)


@pytest.mark.parametrize("split", ["fit", "validation", "test"])
def test_the_halves_of_a_split_of_sprites_share_no_character(split):
    """So probes that learn from the first half of all clips meet new characters in the second."""
    who = sprites.load(split, 32).labels["character"].numpy()
    half = len(who) // 2
    assert not set(who[:half]) & set(who[half:])
