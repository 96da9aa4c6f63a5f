"""Scores of generated and swapped clips: known answers, and refusals."""

import itertools

import numpy as np
import pytest
import torch
from unbraid.measures.swaps import entropies, random_donors

from papers.b.evaluate import agreement
from papers.encoded import generation_scores

LN2 = np.log(2)


def certain(labels, classes):
    """p(y|x) = 1 for the given label."""
    return np.eye(classes)[np.asarray(labels)]


@pytest.mark.parametrize(
    ("probabilities", "conditional", "marginal"),
    [
        (certain([0, 1, 0, 1], 2), 0, LN2),
        (certain([0, 0, 0, 0], 2), 0, 0),
        (np.full((4, 2), 0.5), LN2, LN2),
        ([[0.75, 0.25], [0.25, 0.75]], 2 * LN2 - 0.75 * np.log(3), LN2),
    ],
)
def test_entropies_by_hand(probabilities, conditional, marginal):
    result = entropies(probabilities)
    score = np.exp(marginal - conditional)
    assert result == pytest.approx((conditional, marginal, score))


def test_entropies_are_of_the_first_clips_of_each_class():
    labels = np.array([0, 0, 1, 2, 0, 2, 1])  # two of class 1: two of each are taken
    p = np.random.default_rng(0).dirichlet(np.ones(4), 7)
    scores = generation_scores(p, labels)
    taken = entropies(p[[0, 1, 2, 6, 3, 5]])
    assert scores["conditional_entropy"] == pytest.approx(taken.conditional)
    assert scores["inception_score"] == pytest.approx(taken.inception_score)
    assert scores["accuracy"] == pytest.approx((p.argmax(1) == labels).mean())


def test_a_class_that_the_judge_knows_and_the_clips_lack():
    """Two of three classes occur: the best H(y) is ln 2 then, and the best score 2."""
    labels = np.array([0, 2, 2, 0])
    scores = generation_scores(certain(labels, 3), labels)
    assert scores["marginal_entropy"] == pytest.approx(LN2)
    assert scores["inception_score"] == pytest.approx(2)


def test_no_clip_is_its_own_donor():
    for count, seed in itertools.product((2, 3, 50), range(30)):
        donors = random_donors(count, seed)
        assert sorted(donors) == list(range(count)) and (donors != np.arange(count)).all()
    assert (random_donors(50, 3) == random_donors(50, 3)).all()
    assert (random_donors(50, 3) != random_donors(50, 4)).any()


def test_agreement_is_the_share_of_the_commonest_class_by_hand():
    judged = torch.tensor([[0, 1, 2], [0, 1, 0], [1, 1, 1]])  # three identities at three points
    assert agreement(judged) == pytest.approx((2 / 3 + 1 + 1 / 3) / 3)
