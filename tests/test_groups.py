"""Probes of clips that share characters, persons or stays are scored on new ones of these."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from unbraid.data import sprites
from unbraid.measures.groups import score_groups


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
    told = label[:, None] + 0.1 * random.standard_normal((1080, 3))
    assert score_groups(reader, told, label, person).min() == 1


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
