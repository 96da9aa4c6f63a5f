"""Swapped and generated clips: who lends a code to whom, and what a judge's answers come to.

A swap decodes one code of a clip with the others of another clip, the donor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import entr, rel_entr

from unbraid import checks
from unbraid.checks import LARGEST_BATCH, check_field, check_whole, finite_array, refuse
from unbraid.measures.intervals import Interval, share_interval
from unbraid.support.readable import Readable

Labels = Mapping[str, ArrayLike]  # (N,) of each factor


class Entropies(NamedTuple):
    """H(y|x) and H(y) in nats, and the inception score, from 1 to the number of classes."""

    conditional: float
    marginal: float
    inception_score: float


def entropies(probabilities: ArrayLike) -> Entropies:
    """H(y|x), H(y) and the inception score of p(y|x) (n, classes), rows summing to one.

    The score is exp of the mean divergence of p(y|x) from the mean p(y) (Salimans et al. 2016,
    arXiv 1606.03498), and equals exp(H(y) - H(y|x)). Raises ValueError for other rows.
    """
    p = finite_array("probabilities", probabilities)
    are_rows = p.ndim == 2 and len(p) > 0 and p.shape[1] >= 2
    check_field(are_rows, "probabilities", "(n, classes), n >= 1", p.shape)
    if (p < 0).any() or not np.allclose(p.sum(1), 1, rtol=0, atol=1e-4):
        others = f"sums from {p.sum(1).min():g}, values from {p.min():g}"
        refuse("probabilities", "none below 0, sums of 1", others)
    mean = p.mean(0)
    score = float(np.exp(rel_entr(p, mean).sum(1).mean()))
    return Entropies(float(entr(p).sum(1).mean()), float(entr(mean).sum()), score)


def random_donors(count: int, seed: int = 0) -> np.ndarray:
    """A random permutation of two or more clips, (count,), none its own donor; or ValueError."""
    check_whole((2, LARGEST_BATCH), count=count)
    check_whole(0, seed=seed)
    circle = np.random.default_rng(seed).permutation(count)
    return np.roll(circle, 1)[np.argsort(circle)]


@dataclass(frozen=True)
class FactorScore:
    """How often a judge names, in swapped clips, what a swap should show of one factor."""

    role: str  # "changes": the donor's label is right; "stays": the own clip's is
    right: Interval  # share of the swaps in which the right label is named
    moved: Interval  # the same of those whose two clips differ, where alone a swap shows
    other: float  # share of these in which the wrong clip's label is named
    chance: float  # share that would be right if the names had nothing to do with the clips
    plain: Interval  # share of plain reconstructions in which the own label is named
    own: float  # share of the swaps in which the own clip's label is named
    classes: int


@dataclass(frozen=True, repr=False)
class SwapScores(Readable):
    """What `swap_scores` finds: scores of each factor, and of all that stay or change."""

    factors: dict[str, FactorScore]
    kept: Interval  # of all labels that should stay, and differ from the donor's, those that do
    changed: Interval  # of all labels that should change, and differ, those that become the donor's
    whole: Interval  # share of the swaps in which all labels are right

    def table(self) -> list[tuple[str, ...]]:
        head = "factor", "should", "right", "where clips differ", "other clip's", "chance", "plain"
        rows: list[tuple[str, ...]] = [head]
        for name, each in self.factors.items():
            role = "become the donor's" if each.role == "changes" else "stay"
            figures = f"{each.other:.2f}", f"{each.chance:.2f}", show(each.plain)
            rows.append((name, role, show(each.right), show(each.moved), *figures))
        rows += [(name, show(getattr(self, name))) for name in ("kept", "changed", "whole")]
        return rows


def show(interval: Interval) -> str:
    """An interval of a share, as a cell of a table."""
    mean, low, high = interval
    return "–" if np.isnan(mean) else f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def swap_scores(
    judged: Labels,
    own: Labels,
    donor: Labels,
    exchanged: Sequence[str],
    *,
    plain: Labels | None = None,
    groups: ArrayLike | None = None,
    classes: Mapping[str, int] | None = None,
) -> SwapScores:
    """Score N swaps for what should change and for what should stay.

    judged: factor -> labels (N,) that a judge names in the swapped clips. own: those of the clips
        that gave all other codes. donor: those of the clips that gave the exchanged code.
    exchanged: the factors that the exchanged code should carry. All others should stay.
    plain: what the judge names in plain reconstructions of the own clips, the most that a swap of
        this decoder can reach.
    groups: (N,), such as the person of each own clip, or (N, 2) with the donor's: limits are those
        of other groups. Without it each swap counts as one.
    classes: factor -> number of classes, for `benchmark_score`; else those among the labels.
    ValueError, with its name, for factors or rows that differ.
    """
    given = {"judged": judged, "own": own, "donor": donor, "plain": {} if plain is None else plain}
    exchanged = checks.check_names("exchanged", exchanged, own)
    columns, sizes = {}, {}
    for name in own:
        rows = []
        for side, labels in given.items():
            if side != "plain" or plain is not None:
                check_field(name in labels, side, f"labels of {name!r}", [*labels])
                rows.append(checks.given_array(f"{side}[{name!r}]", labels[name]))
        shapes = {each.shape for each in rows}
        check_field(len(shapes) == 1 == rows[0].ndim, name, "labels (N,) on all sides", [*shapes])
        numbers = checks.to_index(name, np.concatenate(rows))
        columns[name], sizes[name] = numbers.reshape(len(rows), -1), int(numbers.max()) + 1
    sizes |= classes or {}
    count = len(rows[0])
    of = np.arange(count) if groups is None else checks.given_array("groups", groups)
    check_field(of.shape in ((count,), (count, 2)), "groups", f"({count},) or (.., 2)", of.shape)
    of = np.unique(of, return_inverse=True)[1].reshape(of.shape)

    found, hits, moves = {}, {}, {}
    for name, (named, kept, given_to, *reconstructed) in columns.items():
        changes = name in exchanged
        right, other = (given_to, kept) if changes else (kept, given_to)
        hits[name], moves[name] = named == right, kept != given_to
        most = columns[name].max() + 1
        shares = [np.bincount(each, minlength=most) / count for each in (named, right)]
        found[name] = FactorScore(
            role="changes" if changes else "stays",
            right=share_interval(hits[name], of),
            moved=share_interval(hits[name][moves[name]], of[moves[name]]),
            other=share_interval((named == other)[moves[name]], of[moves[name]]).mean,
            chance=float(shares[0] @ shares[1]),
            plain=share_interval(np.ravel([each == kept for each in reconstructed]), of),
            own=float((named == kept).mean()),
            classes=sizes[name],
        )

    def join(role: str) -> Interval:
        """Of all labels that should stay, or change, and differ, in one row each."""
        names = [name for name in own if found[name].role == role]
        differ = np.array([moves[name] for name in names], bool).reshape(-1, count)
        right = np.array([hits[name] for name in names], bool).reshape(-1, count)
        return share_interval(right[differ], of[np.nonzero(differ)[1]])

    whole = share_interval(np.all([*hits.values()], axis=0), of)
    return SwapScores(found, join("stays"), join("changes"), whole)


def benchmark_score(*swaps: SwapScores) -> float:
    """The score of MSD-Benchmark (Berman et al. 2025, arXiv 2510.17313) for its swaps, 1 at best.

    There a factor that stays should be named as before (1), and one that changes by chance
    (1 / classes); the score is 1 - (mean distance of the first + mean distance of the second) / 2.
    A decoder that shows anybody but the donor scores as well: read `changed` beside it.
    """
    every = list(chain.from_iterable(swap.factors.values() for swap in swaps))
    stay = [abs(each.own - 1) for each in every if each.role == "stays"]
    change = [abs(each.own - 1 / each.classes) for each in every if each.role == "changes"]
    check_field(stay and change, "swaps", "factors that stay and others that change", swaps)
    return float(1 - (np.mean(stay) + np.mean(change)) / 2)
