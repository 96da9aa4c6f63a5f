"""Scores of generated and swapped clips: known answers, and refusals."""

import itertools

import numpy as np
import pytest
from unbraid.measures.swaps import benchmark_score, entropies, random_donors, swap_scores

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


def test_no_clip_is_its_own_donor():
    for count, seed in itertools.product((2, 3, 50), range(30)):
        donors = random_donors(count, seed)
        assert sorted(donors) == list(range(count)) and (donors != np.arange(count)).all()
    assert (random_donors(50, 3) == random_donors(50, 3)).all()
    assert (random_donors(50, 3) != random_donors(50, 4)).any()


SIZES = {"colour": 4, "shape": 3, "motion": 5}


def random_swaps(seed, share=0.8, count=240):
    """Labels of clips and of donors, and those named of which a share is right, else others."""
    random = np.random.default_rng(seed)
    own = {name: random.integers(size, size=count) for name, size in SIZES.items()}
    person, donors = random.integers(40, size=count), random_donors(count, seed)
    donor = {name: labels[donors] for name, labels in own.items()}
    right = own | {"motion": donor["motion"]}
    shift = random.integers(1, 3, size=count) * (random.random(count) >= share)
    judged = {name: (labels + shift) % SIZES[name] for name, labels in right.items()}
    return judged, own, donor, np.stack([person, person[donors]], axis=1)


def score_as_published(tables, kinds):
    """MSD-Benchmark's score of accuracies against the own labels, one table a kind that is kept."""
    near, far = [], []
    for kept, accuracy in tables.items():
        for factor, kind in kinds.items():
            floor = 1.0 / SIZES[factor]
            aim = 1.0 if kind == kept else floor
            (near if kind == kept else far).append(abs(accuracy[factor] - aim))
    return 1 - (sum(near) / len(near) + sum(far) / len(far)) / 2


@pytest.mark.parametrize("seed", range(5))
def test_swap_scores_are_the_published_ones(seed):
    """MSD-Benchmark's two-factor swap, and paper C's accuracies, written anew from loops."""
    kinds = {"colour": "static", "shape": "static", "motion": "dynamic"}
    tables, found = {}, []
    for kept, exchanged in (("static", ["motion"]), ("dynamic", ["colour", "shape"])):
        judged, own, donor, _ = random_swaps(seed + 10 * len(exchanged), share=0.6)
        sizes = SIZES if seed else None  # Of 240 clips all labels are seen.
        scores = swap_scores(judged, own, donor, exchanged, classes=sizes)
        found.append(scores)
        tables[kept] = {}
        for name, named in judged.items():
            rows = [*zip(named, own[name], donor[name], strict=True)]
            tables[kept][name] = sum(n == o for n, o, _ in rows) / len(rows)
            pairs = [(n, d, o) if name in exchanged else (n, o, d) for n, o, d in rows]
            differ = [pair for pair in pairs if pair[1] != pair[2]]
            by_hand = (
                sum(n == r for n, r, _ in pairs) / len(pairs),
                sum(n == r for n, r, _ in differ) / len(differ),
                sum(n == w for n, _, w in differ) / len(differ),
                np.mean([n == r for n, _, _ in pairs for _, r, _ in pairs]),
            )
            each = scores.factors[name]
            ours = each.right.mean, each.moved.mean, each.other, each.chance
            assert ours == pytest.approx(by_hand, abs=1e-9)
    assert benchmark_score(*found) == pytest.approx(score_as_published(tables, kinds), abs=1e-9)


@pytest.mark.parametrize("share", [0.5, 0.8, 1.0])
def test_a_planted_share_of_right_swaps_lies_in_its_interval(share):
    """200 draws each; 180 in is what a 95 % interval falls below once in some 1 000 times."""
    covered = np.zeros(3, dtype=int)
    for seed in range(200):
        judged, own, donor, groups = random_swaps(seed, share)
        found = swap_scores(judged, own, donor, ["motion"], groups=groups, plain=own)
        intervals = found.whole, found.changed, found.kept
        covered += [low <= share + 1e-9 and high >= share - 1e-9 for _, low, high in intervals]
        assert found.factors["shape"].plain.mean == 1 and found.factors["motion"].role == "changes"
    assert covered.min() >= 180


def test_swaps_that_fail_with_a_person_have_wider_limits():
    judged, own, donor, groups = random_swaps(0, share=1)
    fails = groups[:, 0] % 4 == 0
    judged = {name: np.where(fails, labels + 1, labels) for name, labels in judged.items()}
    each = [swap_scores(judged, own, donor, ["motion"], groups=of) for of in (None, groups[:, 0])]
    alone, by_person = (found.whole for found in each)
    assert alone.mean == by_person.mean == pytest.approx(np.mean(~fails))
    assert by_person.half_width > 1.8 * alone.half_width
    assert [row[1] for row in each[0].table()[1:4]] == ["stay", "stay", "become the donor's"]


def test_swaps_that_only_copy_the_donor_keep_nothing():
    _, own, donor, _ = random_swaps(0)
    found = swap_scores(donor, own, donor, ["motion"])
    assert found.kept.mean == 0 and found.changed.mean == 1
    assert found.factors["shape"].right.mean == pytest.approx(
        found.factors["shape"].chance, abs=0.1
    )
    with pytest.raises(ValueError, match="^donor: "):
        swap_scores(donor, own, {"shape": donor["shape"]}, ["motion"])
    with pytest.raises(ValueError, match="^exchanged: "):
        swap_scores(donor, own, donor, ["walk"])
