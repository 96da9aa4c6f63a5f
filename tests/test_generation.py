"""Scores of generated and swapped clips: small cases by hand, published figures, and the intervals' coverage."""

import itertools
import json

import numpy as np
import pytest
import torch
from unbraid.measures import generation
from unbraid.measures.generation import (
    balanced,
    benchmark_score,
    entropies,
    generation_scores,
    identity_check,
    intervention,
    judge_decoded,
    random_donors,
    two_factor,
)

LN2 = np.log(2)


def certain(answers, classes):
    """Probabilities of a judge that is sure of its answers, (n, classes)."""
    return np.eye(classes)[np.asarray(answers, dtype=int)]


def doubtful(seed, count, classes, concentration=0.3):
    return np.random.default_rng(seed).dirichlet(np.full(classes, concentration), count)


@pytest.mark.parametrize(
    ("p", "conditional", "marginal", "score"),
    [
        ([[1, 0], [0, 1]], 0, LN2, 2),
        ([[1, 0], [1, 0]], 0, 0, 1),
        ([[0.5, 0.5], [0.5, 0.5]], LN2, LN2, 1),
        (
            [[1, 0], [0.5, 0.5]],
            LN2 / 2,
            -0.75 * np.log(0.75) - 0.25 * np.log(0.25),
            0.75**-0.75 * 0.25**-0.25 / np.sqrt(2),
        ),
        ([[0.25, 0.75, 0]], 0.5623351446, 0.5623351446, 1),  # 0.25 ln 4 + 0.75 ln (4/3)
        (np.eye(9), 0, np.log(9), 9),
    ],
    ids=[
        "all told apart",
        "one class only",
        "nothing told",
        "half told",
        "one clip",
        "nine classes",
    ],
)
def test_entropies_by_hand(p, conditional, marginal, score):
    assert entropies(p) == pytest.approx((conditional, marginal, score), abs=1e-10)
    assert entropies(torch.tensor(np.asarray(p, dtype=np.float32))) == pytest.approx(
        (conditional, marginal, score), abs=1e-6
    )


@pytest.mark.parametrize("concentration", [1e-3, 0.1, 1, 100])
@pytest.mark.parametrize("classes", [2, 9, 52])
def test_the_identity_holds_and_the_bounds_too(classes, concentration):
    """With a concentration of .001 many probabilities are exactly zero."""
    p = doubtful(classes, 300, classes, concentration)
    found = entropies(p)
    assert found.inception_score == pytest.approx(
        np.exp(found.marginal - found.conditional), rel=1e-12
    )
    assert (
        0 <= found.conditional <= found.marginal <= np.log(classes) + 1e-12
        and 1 <= found.inception_score <= classes + 1e-9
    )


def test_a_broken_identity_is_not_passed_on(monkeypatch):
    monkeypatch.setattr(generation, "rel_entr", lambda p, mean: 0.99 * p * np.log(p / mean))
    with pytest.raises(ArithmeticError, match=r"expected exp\(H\(y\) - H\(y\|x\)\)"):
        generation_scores(doubtful(0, 20, 2), np.arange(20) % 2)


def test_the_first_m_clips_of_every_class_are_taken():
    labels = [2, 0, 0, 1, 0, 1, 2, 2]
    assert balanced(labels, 3).tolist() == [[1, 2], [3, 5], [0, 6]]
    chosen = [balanced(labels, 3, "random", seed) for seed in range(20)]
    assert all((np.asarray(labels)[rows] == [[0, 0], [1, 1], [2, 2]]).all() for rows in chosen)
    assert len({tuple(rows.ravel()) for rows in chosen}) > 3
    assert (balanced(labels, 3, "random", 7) == chosen[7]).all()


def test_entropies_are_of_the_balanced_clips_and_accuracy_of_all():
    """Three clips of class 0, one of class 1, all judged 0 but the first, of which the judge says nothing."""
    p = [[0.5, 0.5], [1, 0], [1, 0], [1, 0]]
    found = generation_scores(p, [0, 0, 0, 1])
    assert (
        found.clips_per_class == 1 and found.accuracy.mean == 0.75 and found.accuracy.n == 4
    )  # argmax of a tie is the first
    assert found.conditional_entropy.mean == pytest.approx(
        LN2 / 2
    ) and found.marginal_entropy.mean == pytest.approx(entropies(p[::3])[1])
    assert (found.conditional_entropy.low, found.conditional_entropy.high) == (
        0,
        pytest.approx(LN2),
    )  # one clip tells no spread
    assert (found.inception_score.low, found.inception_score.high, found.inception_score.n) == (
        1,
        pytest.approx(2),
        2,
    )
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_order_of_clips_and_the_names_of_classes_are_no_matter():
    labels, p = np.arange(120) % 6, doubtful(1, 120, 6)
    order, names = np.random.default_rng(2).permutation(120), np.array([3, 1, 5, 0, 2, 4])
    one, permuted = (
        generation_scores(*both).as_dict() for both in ((p, labels), (p[order], labels[order]))
    )
    for name in ("accuracy", "conditional_entropy", "marginal_entropy", "inception_score"):
        for part in ("mean", "low", "high"):
            assert permuted[name][part] == pytest.approx(one[name][part], rel=1e-9)
    renamed = generation_scores(p[:, np.argsort(names)], names[labels]).as_dict()
    assert all(
        renamed[name]["mean"] == pytest.approx(one[name]["mean"])
        for name in one
        if name != "clips_per_class"
    )


def test_the_same_seed_gives_the_same_interval_and_more_clips_a_narrower_one():
    labels = np.arange(900) % 9
    few, many = (generation_scores(doubtful(0, 900, 9)[:n], labels[:n]) for n in (90, 900))
    assert generation_scores(doubtful(0, 900, 9), labels) == many
    for name in ("conditional_entropy", "inception_score"):
        ratio = getattr(few, name).half_width / getattr(many, name).half_width
        assert 2 < ratio < 5  # about sqrt(10)


def clips(generator, classes, size, right, sure):
    """p(y|x) of `size` clips of every class, (classes, size, classes): right so often, and about so sure."""
    slips = generator.integers(0, classes, (classes, size))
    answers = np.where(
        generator.random((classes, size)) < right, np.arange(classes)[:, None], slips
    )
    logits = generator.normal(0, 0.3, (classes, size, classes))
    np.put_along_axis(
        logits, answers[..., None], generator.gamma(2, sure, (classes, size, 1)) + 1, -1
    )
    p = np.exp(logits)
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize(("right", "sure"), [(0.5, 2), (0.9, 2), (0.99, 6)])
def test_a_95_percent_interval_holds_the_true_entropies(right, sure):
    """H(y) is at its maximum here, which plain quantiles of the bootstrap never hold."""
    generator, classes, size, repeats = np.random.default_rng(3), 6, 40, 300
    truth = entropies(clips(generator, classes, 40_000, right, sure).reshape(-1, classes))
    names, held = ("conditional_entropy", "marginal_entropy", "inception_score"), np.zeros(3)
    for _ in range(repeats):
        p = clips(generator, classes, size, right, sure).reshape(-1, classes)
        found = generation_scores(p, np.repeat(np.arange(classes), size), draws=300)
        held += [
            getattr(found, name).low - 1e-5 <= value <= getattr(found, name).high + 1e-5
            for name, value in zip(names, truth)
        ]
    assert (held / repeats >= 0.93).all()


MUG = """MoCoGAN 4.332 .183 1.721, DSVAE 3.608 .374 1.657, R-WAE 5.149 .131 1.771, S3VAE 5.136 .135 1.760, SKD 5.569 .052 1.769,
C-DSVAE 5.341 .092 1.775, SPYL 5.548 .066 1.779, DBSE 5.598 .041 1.782, DiffSDA 5.382 .090 1.773"""
SPRITES = """MoCoGAN 8.461 .090 2.192, DSVAE 8.384 .072 2.192, R-WAE 8.516 .055 2.197, S3VAE 8.637 .041 2.197, SKD 8.999 1.6e-7 2.197,
C-DSVAE 8.871 .014 2.197, SPYL 8.942 .006 2.197"""


@pytest.mark.parametrize(
    ("table", "wrong"),
    [(MUG, ["MoCoGAN", "S3VAE", "C-DSVAE", "DBSE"]), (SPRITES, ["MoCoGAN", "DSVAE"])],
    ids=["MUG", "Sprites"],
)
def test_published_rows_that_cannot_be_of_one_evaluation_are_found(table, wrong):
    """Which rows these are does not hang on the tolerance: twice as much, or a little more than half, finds the same."""
    names = ("method", "inception_score", "conditional_entropy", "marginal_entropy")
    checked = identity_check([dict(zip(names, row.split())) for row in table.split(",")])
    assert [row["method"] for row in checked if not row["consistent"]] == wrong
    for factor in (0.6, 2):
        assert [
            row["method"] for row in checked if row["difference"] > factor * row["allowed"]
        ] == wrong
    if table is MUG:
        assert checked[-2]["implied"] == pytest.approx(5.703, abs=5e-4) and checked[0][
            "implied"
        ] == pytest.approx(4.655, abs=5e-4)


def test_our_own_rows_pass_the_identity_check_when_printed():
    rows = [entropies(doubtful(seed, 50, 6)) for seed in range(50)]
    names = ("conditional_entropy", "marginal_entropy", "inception_score")
    assert all(
        row["consistent"]
        for row in identity_check(
            [dict(zip(names, (f"{value:.3f}" for value in row))) for row in rows]
        )
    )
    with pytest.raises(ValueError, match="row: expected a positive score"):
        identity_check([{"inception_score": 0, "conditional_entropy": 0, "marginal_entropy": 1}])


LABELS = {"action": np.array([0, 1, 2, 0]), "hair": np.array([0, 0, 1, 1])}
DONORS = np.array([1, 2, 3, 0])  # the donors' actions are 1, 2, 0, 0 and their hairs 0, 1, 1, 0


def test_a_perfect_swap_by_hand():
    kept_action = {
        "action": certain(LABELS["action"], 3),
        "hair": certain(LABELS["hair"][DONORS], 2),
    }
    found = intervention(kept_action, LABELS, ("action",), DONORS)
    action, hair = found.factors["action"], found.factors["hair"]
    assert (
        action.kept,
        action.original.mean,
        action.donor.mean,
        action.chance,
        action.classes,
    ) == (True, 1, 0.25, 0.25, 3)
    assert (hair.kept, hair.original.mean, hair.donor.mean, hair.chance, hair.classes) == (
        False,
        0.5,
        1,
        0.5,
        2,
    )
    assert (
        action.followed is action.original
        and hair.followed is hair.donor
        and found.together.mean == 1
    )
    score = benchmark_score({"action": found})
    assert (score.score.mean, score.by_agreement, score.on, score.off) == (1, 1, 0, 0)
    assert score.accuracies == {"action": {"action": 1, "hair": 0.5}}
    json.dumps(found.as_dict() | score.as_dict(), allow_nan=False)


def test_a_model_that_swaps_nothing_by_hand():
    """All labels stay the original's: perfect on what is kept, as far from chance as can be on the rest."""
    same = {name: certain(values, 3 - (name == "hair")) for name, values in LABELS.items()}
    found = two_factor(same, same, LABELS, static=("hair",), dynamic=("action",), donors=DONORS)
    action, hair = (
        found.interventions["static_kept"].factors["action"],
        found.interventions["dynamic_kept"].factors["hair"],
    )
    assert (action.original.mean, action.donor.mean, action.chance) == (1, 0.25, 0.25)
    assert (hair.original.mean, hair.donor.mean, hair.chance) == (1, 0.5, 0.5)
    assert (
        found.interventions["dynamic_kept"].together.mean == 0.5
    )  # the clips whose donor has the same hair
    assert found.benchmark.score.mean == pytest.approx(1 - (0 + (2 / 3 + 1 / 2) / 2) / 2)
    assert found.benchmark.by_agreement == pytest.approx(1 - (0 + (3 / 4 + 1 / 2) / 2) / 2)
    assert set(found.generation) == {"action", "hair"} and found.generation[
        "hair"
    ].inception_score.mean == pytest.approx(2)
    assert found.generation["action"].clips_per_class == 1
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_class_that_the_judge_knows_and_the_clips_lack_is_no_matter():
    """Two of three actions occur: a perfect model's H(y) is ln 2 then, and its score 2."""
    labels = {"action": np.array([0, 2, 2, 0]), "hair": LABELS["hair"]}
    same = {"action": certain(labels["action"], 3), "hair": certain(labels["hair"], 2)}
    found = two_factor(
        same, same, labels, static=("hair",), dynamic=("action",), donors=DONORS
    ).generation["action"]
    assert (found.marginal_entropy.mean, found.inception_score.mean, found.clips_per_class) == (
        pytest.approx(LN2),
        pytest.approx(2),
        2,
    )
    assert found.inception_score.low < 2 < found.inception_score.high <= 3


def test_drawn_codes_have_no_donor_and_chance_is_that_of_unrelated_labels():
    judged = {"action": certain([0, 0, 0, 1], 3), "hair": certain(LABELS["hair"], 2)}
    found = intervention(judged, LABELS, ("hair",))
    action = found.factors["action"]
    assert action.donor is None and action.followed is None and found.together.mean == 1
    assert action.original.mean == 0.25 and action.chance == pytest.approx(
        0.5 * 0.75 + 0.25 * 0.25
    )  # f = 1/2 1/4 1/4, g = 3/4 1/4 0
    uniform = {"action": np.repeat([0, 1, 2], 4)}
    assert intervention({"action": doubtful(0, 12, 3)}, uniform, ("action",)).factors[
        "action"
    ].chance == pytest.approx(1 / 3)


def test_the_benchmark_score_of_published_accuracies():
    """SSM-SKD on Sprites, its swap accuracies; the score by hand: 1 - (.01254 + .01308) / 2."""
    rows = {
        "dynamic_kept": {
            "action": 0.9946,
            "skin": 0.186,
            "trousers": 0.165,
            "top": 0.173,
            "hair": 0.177,
        },
        "static_kept": {
            "action": 0.1388,
            "skin": 0.9607,
            "trousers": 0.9878,
            "top": 0.9942,
            "hair": 1.0,
        },
    }
    count = 10_000
    labels = {name: np.zeros(count, dtype=int) for name in rows["dynamic_kept"]}
    judged = {
        row: {
            name: certain(np.arange(count) >= round(value * count), 9 if name == "action" else 6)
            for name, value in accuracies.items()
        }
        for row, accuracies in rows.items()
    }
    kept = {"dynamic_kept": ("action",), "static_kept": ("skin", "trousers", "top", "hair")}
    found = benchmark_score({row: intervention(judged[row], labels, kept[row]) for row in rows})
    assert found.on == pytest.approx(
        (0.0054 + 0.0393 + 0.0122 + 0.0058) / 5
    ) and found.off == pytest.approx(0.01307, abs=1e-5)
    assert (
        found.score.mean == pytest.approx(0.98719, abs=1e-5)
        and found.accuracies["static_kept"]["skin"] == 0.9607
    )
    assert found.score.low < found.score.mean < found.score.high


@pytest.mark.parametrize("wrong", [0.0, 0.1])
def test_the_interval_of_the_benchmark_score_holds_a_perfect_model_too(wrong):
    """Retain and swap of two factors of 3 and 6 classes; a factor takes its answer from the wrong clip so often."""
    generator, count, sizes, held = np.random.default_rng(5), 300, {"a": 3, "b": 6}, 0
    expected = (
        1 - (wrong * (1 - 1 / 4) + wrong * (1 - 1 / 4)) / 2
    )  # a quarter of wrong answers agree: mean of 1/3 and 1/6
    for repeat in range(200):
        labels = {name: generator.integers(0, size, count) for name, size in sizes.items()}
        donors, rows = random_donors(count, repeat), {}
        for kept in sizes:
            slips = generator.random((2, count)) < wrong
            answers = {
                name: np.where((name == kept) ^ slip, labels[name], labels[name][donors])
                for name, slip in zip(sizes, slips)
            }
            rows[kept] = intervention(
                {name: certain(values, sizes[name]) for name, values in answers.items()},
                labels,
                (kept,),
                donors,
            )
        score = benchmark_score(rows)
        held += score.score.low <= expected <= score.score.high
        assert (
            wrong or score.by_agreement == 1
        )  # a perfect model is perfect by agreement, whatever the draw
    assert held >= 190


def test_no_clip_is_its_own_donor():
    for count, seed in itertools.product((2, 3, 50), range(30)):
        donors = random_donors(count, seed)
        assert sorted(donors) == list(range(count)) and (donors != np.arange(count)).all()
    assert (random_donors(50, 3) == random_donors(50, 3)).all() and (
        random_donors(50, 3) != random_donors(50, 4)
    ).any()
    with pytest.raises(ValueError, match="at least 2 clips"):
        random_donors(1)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["arrays", "tensors"])
def test_codes_are_swapped_decoded_and_judged_in_batches(kind):
    codes = {"static": kind(LABELS["hair"]), "dynamic": kind(LABELS["action"])}
    sizes = []

    def judge(frames):
        sizes.append(len(frames[0]))
        return {"hair": certain(frames[0], 2), "action": certain(frames[1], 3)}

    found = judge_decoded(
        lambda batch: (batch["static"], batch["dynamic"]),
        judge,
        codes,
        ("dynamic",),
        DONORS,
        batch_size=3,
    )
    assert sizes == [3, 1]
    assert (found["hair"].argmax(1) == LABELS["hair"][DONORS]).all() and (
        found["action"].argmax(1) == LABELS["action"]
    ).all()
    untouched = judge_decoded(lambda batch: (batch["static"], batch["dynamic"]), judge, codes)
    assert (untouched["hair"].argmax(1) == LABELS["hair"]).all()
    with pytest.raises(ValueError, match="codes: expected one length"):
        judge_decoded(None, judge, {**codes, "other": codes["static"][:2]})


GOOD, OF = certain([0, 1, 0, 1], 2), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (
            lambda: generation_scores(GOOD, [0, 0, 0, 0]),
            r"clips of two classes or more, found only \[0\]",
        ),
        (lambda: balanced([0, 0, 2], 3), r"clips of each of 3 classes, found none of \[1\]"),
        (lambda: generation_scores(GOOD * [[1, np.nan]], OF), "finite numbers >= 0, found nan"),
        (lambda: generation_scores(GOOD * 2 - 0.5, OF), r"found -0.5 to 1.5; take the softmax"),
        (lambda: generation_scores(GOOD * 0, OF), "rows that sum to 1, found one 1 away"),
        (lambda: generation_scores(GOOD * 0.999, OF), "rows that sum to 1, found one 0.001 away"),
        (
            lambda: generation_scores(GOOD[:3], OF),
            r"labels: expected integers \(3,\), found int64 \(4,\)",
        ),
        (lambda: generation_scores(GOOD, [0, 1, 2, 0]), "labels: expected 0 to 1, found 0 to 2"),
        (
            lambda: generation_scores(GOOD, [0.0, 1, 0, 1]),
            r"labels: expected integers \(4,\), found float64",
        ),
        (lambda: generation_scores(GOOD[0], OF), r"expected \(n, classes\) with n >= 1"),
        (lambda: entropies(np.empty((0, 3))), "with n >= 1"),
        (lambda: generation_scores(GOOD, OF, order="last"), "first or random, found 'last'"),
        (
            lambda: intervention({"a": GOOD}, {"b": OF}, ("a",)),
            r"the same names, found \['a'\] and \['b'\]",
        ),
        (
            lambda: intervention({"a": GOOD}, {"a": OF}, "a"),
            "kept: expected some of a in a tuple, found 'a'",
        ),
        (
            lambda: intervention({"a": GOOD}, {"a": OF}, ()),
            r"kept: expected some of a in a tuple, found \(\)",
        ),
        (
            lambda: intervention({"a": GOOD}, {"a": OF}, ("a",), [0, 1, 2, 4]),
            "donors: expected 0 to 3, found 0 to 4",
        ),
        (
            lambda: intervention({"a": GOOD, "b": GOOD[:3]}, {"a": OF, "b": OF[:3]}, ("a", "b")),
            r"one number of clips .* found \[4, 3\]",
        ),
        (
            lambda: benchmark_score({"a": intervention({"a": GOOD}, {"a": OF}, ("a",))}),
            "found 1 and 0",
        ),
        (lambda: two_factor({}, {}, {"a": OF}, ("a",), ("a",)), "each of a in one of them"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()
