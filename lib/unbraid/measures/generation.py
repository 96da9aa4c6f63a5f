"""Scores of generated and swapped clips, from a judge's probabilities and the labels of the clips the codes came from.

What is kept must still be seen, what is exchanged must not: every score of the one has its companion for the other.
* generation (protocol of paper C and its predecessors): codes of one kind come from a test clip, the others are drawn from the
  prior; accuracy, H(y|x), H(y) and the inception score of what was kept, in nats.
* swap: the others come from another test clip, the donor; the score of the MSD benchmark (arXiv 2510.17313) is over such swaps.

An exchanged label's accuracy is against the *original* clip's, unless it says "donor". Intervals speak of other test clips.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.special import entr, rel_entr, xlogy

from unbraid.measures.intervals import Interval, share_interval
from unbraid.measures.resampling import bounded_limits

SUM_TOLERANCE = 1e-4  # of a row of probabilities about one; a softmax in float32 stays within 1e-6
Entropies = namedtuple(
    "Entropies", "conditional marginal inception_score"
)  # nats, nats, 1 to the number of classes


class _Record:
    as_dict = asdict  # all of it as plain dictionaries and numbers


@dataclass(frozen=True)
class GenerationScores(_Record):
    """Scores of one label that was kept. The entropies, in nats, are of the class-balanced clips, the accuracy of all."""

    accuracy: Interval
    conditional_entropy: Interval
    marginal_entropy: Interval
    inception_score: Interval
    clips_per_class: int


@dataclass(frozen=True)
class Outcome(_Record):
    """What became of one label: the judge against the original clip's label, and against the donor's where there was one.

    chance: the accuracy (against the original) of a perfect model that exchanges this label. With donors the fraction of
        pairs whose labels agree; without, the agreement of original and judged labels if the two were unrelated,
        sum_y f(y) g(y) with f and g their frequencies: 1 / classes as soon as one of the two is uniform.
    """

    kept: bool
    original: Interval
    donor: Interval | None
    chance: float
    classes: int

    @property
    def followed(self) -> Interval | None:
        """Accuracy against whoever gave this label: the original if kept, else the donor (None if it was drawn)."""
        return self.original if self.kept else self.donor


@dataclass(frozen=True)
class Intervention(_Record):
    """One way of making clips: each label's outcome, and how often all labels were followed at once."""

    factors: dict[str, Outcome]
    together: Interval  # of those whose right answer is known: kept ones, and with donors all


@dataclass(frozen=True)
class Benchmark(_Record):
    """score = 1 - (on + off) / 2, with the mean distances of kept labels from 1 and of exchanged ones from chance.

    score and off: chance is 1 / classes, as published; by_agreement: it is `Outcome.chance`, what a perfect model reaches on
    these very clips. The interval goes from all accuracies at their worst limits to all at their best, limits that hold
    together (Bonferroni): rather wide. A bootstrap misses a perfect score, which estimates can only fall below.
    """

    score: Interval
    by_agreement: float
    on: float
    off: float
    accuracies: dict[str, dict[str, float]]  # [intervention][label], against the original


@dataclass(frozen=True)
class TwoFactor(_Record):
    """Both directions: `interventions` "dynamic_kept" and "static_kept", the scores of each label where it was kept."""

    interventions: dict[str, Intervention]
    generation: dict[str, GenerationScores]
    benchmark: Benchmark


def entropies(probabilities) -> Entropies:
    """H(y|x), H(y) and the inception score of p(y|x) (n, classes), rows summing to one.

    The score is exp of the mean divergence of p(y|x) from the mean p(y) (Salimans et al. 2016, arXiv 1606.03498), and must
    equal exp(H(y) - H(y|x)); `ArithmeticError` if it does not. Terms 0 ln 0 are 0. Raises ValueError for what are no
    probabilities.
    """
    p = check_probabilities(probabilities)
    mean = p.mean(0)
    conditional, marginal = float(entr(p).sum(1).mean()), float(entr(mean).sum())
    score = float(np.exp(rel_entr(p, mean).sum(1).mean()))
    if (
        abs(np.log(score) - (marginal - conditional)) > 1e-9
    ):  # rounding of float64 stays below 1e-13
        raise ArithmeticError(
            f"inception score: expected exp(H(y) - H(y|x)) = {np.exp(marginal - conditional)}, found {score}"
        )
    return Entropies(conditional, marginal, score)


def balanced(labels, classes: int, order: str = "first", seed: int = 0) -> np.ndarray:
    """Indices (classes, m) of m clips of every class, m the smallest class's count; in the order given, or at random."""
    labels = check_integers("labels", labels, classes)
    if order not in ("first", "random"):
        raise ValueError(f"order: expected first or random, found {order!r}")
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise ValueError(
            f"labels: expected clips of each of {classes} classes, found none of {np.flatnonzero(counts == 0).tolist()}"
        )
    line = (
        np.arange(len(labels))
        if order == "first"
        else np.random.default_rng(seed).permutation(len(labels))
    )
    return np.stack([line[labels[line] == label][: counts.min()] for label in range(classes)])


def generation_scores(
    probabilities, labels, order="first", seed=0, draws=1000, confidence=0.95
) -> GenerationScores:
    """Accuracy, H(y|x), H(y) and inception score of a label that was kept.

    probabilities: (n, classes), the judge's for the generated clips. labels: (n,) integers, of the clips they were made from.
    order: the entropies take the first m clips of each of the C classes that occur (the protocol), or m at "random" by `seed`.
        Where the judge knows a class that does not occur, the best H(y) is ln(C), and the best score C.
    draws: of the bootstrap over clips, within classes as the clips were taken, for `resampling.bounded_limits`. Of 100 intervals
        of 95 % 93 to 100 hold (judges sure and unsure, right and wrong, 3 and 9 classes, 2 to 100 clips a class), where the
        quantiles alone held as few as 57. With one clip a class the limits are those of the quantity itself.
    Raises ValueError for lengths that differ, what are no probabilities, or clips of one class only.
    """
    p = check_probabilities(probabilities)
    count, classes = p.shape
    labels = check_integers("labels", labels, classes, count)
    occurring, known = np.unique(labels, return_inverse=True)
    if len(occurring) < 2:
        raise ValueError(
            f"labels: expected clips of two classes or more, found only {occurring.tolist()}; one class tells nothing"
        )
    taken = balanced(known, len(occurring), order, seed)
    size = taken.shape[1]
    groups = np.stack(
        [p[row][np.lexsort(p[row].T)] for row in taken]
    )  # (C, m, classes); sorted: an order of clips is no news
    value = entropies(groups.reshape(-1, classes))
    generator = np.random.default_rng(seed)
    weights = (
        generator.multinomial(size, np.full(size, 1 / size), (draws, len(taken))) / taken.size
    )  # (draws, C, m)
    conditional = np.einsum("bcm,cm->b", weights, entr(groups).sum(-1))
    marginal = entr(weights.reshape(draws, -1) @ groups.reshape(-1, classes)).sum(-1)
    own, shared = entr(groups).sum(-1), -xlogy(groups, groups.mean((0, 1))).sum(-1)

    def interval(
        estimate: float,
        drawn: np.ndarray,
        parts: np.ndarray,
        rare: bool = True,
        scale: Callable = float,
    ) -> Interval:
        limits = bounded_limits(estimate, drawn, parts, float(np.log(classes)), confidence, rare)
        return Interval(*(float(scale(value)) for value in (estimate, *limits)), taken.size, "clip")

    return GenerationScores(
        accuracy=share(p.argmax(1) == labels, confidence),
        conditional_entropy=interval(value.conditional, conditional, own),
        marginal_entropy=interval(value.marginal, marginal, shared, False),
        inception_score=interval(
            value.marginal - value.conditional, marginal - conditional, shared - own, scale=np.exp
        ),
        clips_per_class=size,
    )


def intervention(
    probabilities: Mapping, labels: Mapping, kept: Sequence[str], donors=None, confidence=0.95
) -> Intervention:
    """Judge one way of making clips, whose codes came from original clips and, but for what is kept, from elsewhere.

    probabilities, labels: by name, (n, classes) of the clip made and (n,) integers of the original. kept: names of the
    labels that the original's codes should decide: one factor to "retain" it, all but one to "swap" that one. donors: (n,)
    indices of the originals that gave the rest (`random_donors`), or None where it was drawn from the prior.
    """
    if set(probabilities) != set(labels) or not labels:
        raise ValueError(
            f"probabilities and labels: expected the same names, found {sorted(probabilities)} and {sorted(labels)}"
        )
    if isinstance(kept, str) or not set(kept) <= set(labels) or (not kept and donors is None):
        raise ValueError(f"kept: expected some of {', '.join(labels)} in a tuple, found {kept!r}")
    outcomes, right = {}, []
    for name in labels:
        p = check_probabilities(probabilities[name])
        count, classes = p.shape
        truth, judged = (
            check_integers(f"labels[{name!r}]", labels[name], classes, count),
            p.argmax(1),
        )
        frequencies = [np.bincount(which, minlength=classes) / count for which in (truth, judged)]
        chance, donor, other = float(frequencies[0] @ frequencies[1]), None, None
        if donors is not None:
            other = truth[check_integers("donors", donors, count, count)]
            chance, donor = float((truth == other).mean()), share(judged == other, confidence)
        outcomes[name] = Outcome(
            name in kept, share(judged == truth, confidence), donor, chance, classes
        )
        if name in kept or other is not None:
            right.append(judged == (truth if name in kept else other))
    if len({len(part) for part in right}) > 1:
        raise ValueError(
            f"probabilities: expected one number of clips for all labels, found {[len(part) for part in right]}"
        )
    return Intervention(outcomes, share(np.all(right, 0), confidence))


def benchmark_score(interventions: Mapping[str, Intervention], confidence=0.95) -> Benchmark:
    """The MSD benchmark's score over all interventions: means over all kept and over all exchanged labels of all of them."""
    outcomes = [outcome for one in interventions.values() for outcome in one.factors.values()]
    kept, exchanged = (
        [outcome for outcome in outcomes if outcome.kept == wanted] for wanted in (True, False)
    )
    if not kept or not exchanged:
        raise ValueError(
            f"interventions: expected labels kept and labels exchanged, found {len(kept)} and {len(exchanged)}"
        )
    together = 1 - (1 - confidence) / len(outcomes)

    def distance(some: list[Outcome], target: Callable[[Outcome], float]) -> np.ndarray:
        """Mean distance of accuracies from their target: as near as their intervals allow, as measured, as far."""
        found = [(one.original.mean, one.original.n, target(one)) for one in some]
        intervals = [share_interval(round(mean * n), n, together) for mean, n, _ in found]
        low, mean, high = np.array(
            [(i.low - t, i.mean - t, i.high - t) for i, (*_, t) in zip(intervals, found)]
        ).T
        return np.mean(
            [np.maximum(np.maximum(low, -high), 0), abs(mean), np.maximum(-low, high)], 1
        )

    on, off = distance(kept, lambda one: 1), distance(exchanged, lambda one: 1 / one.classes)
    best, score, worst = (1 - (on + off) / 2).tolist()
    by_agreement = float(1 - (on[1] + distance(exchanged, lambda one: one.chance)[1]) / 2)
    interval = Interval(score, worst, best, outcomes[0].original.n, "clip")
    accuracies = {
        key: {name: outcome.original.mean for name, outcome in one.factors.items()}
        for key, one in interventions.items()
    }
    return Benchmark(interval, by_agreement, float(on[1]), float(off[1]), accuracies)


def two_factor(
    dynamic_kept: Mapping,
    static_kept: Mapping,
    labels: Mapping,
    static: Sequence[str],
    dynamic: Sequence[str],
    donors=None,
    order="first",
    seed=0,
    draws=1000,
    confidence=0.95,
) -> TwoFactor:
    """Both directions of the protocol: probabilities by name of the clips with the dynamic code kept, and with the static.

    static, dynamic: which labels belong to which code. The code not kept was drawn from the prior, or with `donors` taken
    from another clip, the same donor in both directions: the two-way swap. A class that the judge knows and the clips lack is
    no matter. The rest as `intervention`, `generation_scores`.
    """
    if set(static) & set(dynamic) or set(static) | set(dynamic) != set(labels):
        raise ValueError(
            f"static, dynamic: expected each of {', '.join(labels)} in one of them, found {static!r} and {dynamic!r}"
        )
    runs = {
        "dynamic_kept": (dynamic_kept, tuple(dynamic)),
        "static_kept": (static_kept, tuple(static)),
    }
    judged = {
        key: intervention(p, labels, kept, donors, confidence) for key, (p, kept) in runs.items()
    }
    how = order, seed, draws, confidence
    scores = {
        name: generation_scores(p[name], labels[name], *how)
        for p, kept in runs.values()
        for name in kept
    }
    return TwoFactor(judged, scores, benchmark_score(judged, confidence))


def identity_check(rows: Sequence[Mapping], digits: int = 3) -> list[dict]:
    """Which published rows contradict IS = exp(H(y) - H(y|x)).

    rows: mappings with inception_score, conditional_entropy and marginal_entropy as printed, with `digits` decimals. Each
    comes back with `implied` (the score that the entropies give), `difference` and `allowed` (in ln of the score), and
    `consistent`. Allowed is one unit u of the last decimal in each of the three, 2 u + u / IS: half of it is rounding;
    the other half is for figures cut off instead, or averaged over repeats before they were rounded.
    """
    checked = []
    for row in rows:
        score, exponent = (
            float(row["inception_score"]),
            float(row["marginal_entropy"]) - float(row["conditional_entropy"]),
        )
        if not (score > 0 and np.isfinite(score + exponent)):
            raise ValueError(
                f"row: expected a positive score and finite entropies, found {dict(row)}"
            )
        difference, allowed = abs(float(np.log(score)) - exponent), 10.0**-digits * (2 + 1 / score)
        found = {
            "implied": float(np.exp(exponent)),
            "difference": difference,
            "allowed": allowed,
            "consistent": difference <= allowed,
        }
        checked.append({**row, **found})
    return checked


def random_donors(count: int, seed: int = 0) -> np.ndarray:
    """A donor for each of `count` clips, (count,) indices: a random permutation in which none is its own donor."""
    if count < 2:
        raise ValueError(f"count: expected at least 2 clips to swap, found {count}")
    circle = np.random.default_rng(seed).permutation(count)
    return np.roll(circle, 1)[np.argsort(circle)]


def judge_decoded(
    decode: Callable,
    judge: Callable,
    codes: Mapping,
    kept: Sequence[str] = (),
    donors=None,
    batch_size=128,
) -> dict:
    """A judge's probabilities by label, (n, classes), of decoded codes, a batch at a time.

    codes: arrays or tensors (n, ...) by name; with donors, those not named in `kept` are taken from each clip's donor.
    decode: codes -> frames; judge: frames -> probabilities by label, such as `SequenceJudge.probabilities`.
    """
    count = len(next(iter(codes.values())))
    if any(len(code) != count for code in codes.values()) or not set(kept) <= set(codes):
        raise ValueError(
            f"codes: expected one length and the names {kept!r}, found {[(name, len(code)) for name, code in codes.items()]}"
        )
    own = np.arange(count)
    given = own if donors is None else check_integers("donors", donors, count, count)
    parts = []
    for at in range(0, count, batch_size):
        rows = {
            name: (own if name in kept else given)[at : at + batch_size].tolist() for name in codes
        }
        parts.append(judge(decode({name: codes[name][rows[name]] for name in codes})))
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def share(right: np.ndarray, confidence: float) -> Interval:
    """Mean of booleans (n,), with `share_interval`: a bootstrap's shrinks to a point at 0 and 1."""
    return share_interval(int(right.sum()), len(right), confidence, "clip")


def check_probabilities(probabilities) -> np.ndarray:
    """As float64 (n, classes), or ValueError: at least one row and two classes, finite, none negative, rows summing to one."""
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or not len(p) or p.shape[1] < 2:
        raise ValueError(
            f"probabilities: expected (n, classes) with n >= 1 and two classes or more, found {p.shape}"
        )
    if not np.isfinite(p).all() or p.min() < 0:
        raise ValueError(
            f"probabilities: expected finite numbers >= 0, found {p.min():g} to {p.max():g}; take the softmax of logits"
        )
    if (worst := float(np.abs(p.sum(1) - 1).max())) > SUM_TOLERANCE:
        raise ValueError(
            f"probabilities: expected rows that sum to 1, found one {worst:g} away; take the softmax of logits"
        )
    return p


def check_integers(name: str, values, limit: int, count: int | None = None) -> np.ndarray:
    """As integers (n,), or ValueError: `count` of them, where that is known, from 0 to limit - 1."""
    values = np.asarray(values)
    if (
        values.ndim != 1
        or not len(values)
        or values.dtype.kind not in "iu"
        or len(values) != (count or len(values))
    ):
        raise ValueError(
            f"{name}: expected integers ({'n' if count is None else count},), found {values.dtype} {values.shape}"
        )
    if values.min() < 0 or values.max() >= limit:
        raise ValueError(
            f"{name}: expected 0 to {limit - 1}, found {values.min()} to {values.max()}"
        )
    return values
