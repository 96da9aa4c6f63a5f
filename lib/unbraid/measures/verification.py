"""Speaker verification: do two codes belong to the same voice? Equal error rates of static and dynamic codes (paper C, TIMIT).

Every pair of utterances is a trial, scored by the cosine of their vectors: a target when one speaker said both. At a
threshold, the false-alarm rate is the share of non-targets that score at or above it, the miss rate the share of targets
below it; where the two are equal is the equal error rate (EER), found by a straight line between the two points of the
curve on either side of the diagonal. Static codes should know the speaker (low), dynamic ones not (50 %, chance).

Pairs share utterances and utterances share speakers, so what is independent is the speakers, and intervals come from drawing
speakers. A speaker drawn twice stands for two people who happen to sound alike: pairs within each copy count as targets, pairs
of different speakers as non-targets, once for every pair of copies, and pairs between two copies of one speaker not at
all, being neither two strangers nor one person (among them each utterance would meet itself).
"""

from dataclasses import dataclass

import numpy as np

from unbraid.measures.resampling import on_log_odds
from unbraid.measures.intervals import Interval, check_confidence, share_limits

FEW_FAILURES = (
    1 / 3
)  # speakers' worth of errors: with fewer, the speakers drawn do not tell what others would do
FEW_FAILED = "less than a third of a speaker's worth of errors: the interval is a wide, safe one"
NO_SPREAD = "the rate is the same whichever speakers are drawn: its spread cannot be told"
DECIMALS = (
    12  # cosines are compared to so many: equal vectors must tie, whatever the order of their sums
)


@dataclass(frozen=True, eq=False)
class DetectionCurve:
    """The detection error trade-off: error rates at each threshold, from accepting all to accepting none.

    false_alarm, miss: (M,) from (1, 0) to (0, 1), points at which the curve bends. thresholds: (M,) a trial is accepted if
    its score is at least this; the last is infinite. On axes scaled by the probit, two Gaussians of one width make a line.
    """

    false_alarm: np.ndarray
    miss: np.ndarray
    thresholds: np.ndarray

    @property
    def equal_error_rate(self) -> float:
        """Where the line between the points on either side of false_alarm = miss meets it."""
        gap = self.false_alarm - self.miss
        after = int(np.argmax(gap <= 0))  # gap runs from 1 to -1
        share = gap[after - 1] / (gap[after - 1] - gap[after])
        return float(self.miss[after - 1] + share * (self.miss[after] - self.miss[after - 1]))


@dataclass(frozen=True)
class SpeakerVerification:
    """Equal error rates from 0 to 1 (chance .5) with intervals over speakers; gap is dynamic - static."""

    static: Interval
    dynamic: Interval
    gap: Interval
    targets: int  # pairs of utterances of one speaker
    non_targets: int


def detection_curve(scores, targets):
    """False-alarm and miss rate at every threshold; returns `DetectionCurve`.

    scores: (P,) finite; targets: (P,) booleans, at least one of each kind. Equal scores are accepted or refused together.
    """
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=bool)
    if scores.shape != targets.shape or scores.ndim != 1:
        raise ValueError(
            f"scores and targets: expected (P,) each, found {scores.shape} and {targets.shape}"
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"scores: expected finite numbers, found {np.count_nonzero(~np.isfinite(scores))} that are not"
        )
    if targets.all() or not targets.any():
        raise ValueError(
            f"targets: expected both kinds of trial, found {targets.sum()} targets among {len(targets)}; add the other kind"
        )
    order = np.argsort(scores)
    scores, targets = scores[order], targets[order]
    last = np.flatnonzero(
        np.append(scores[1:] != scores[:-1], True)
    )  # of each group of equal scores
    miss = np.append(0, np.cumsum(targets)[last]) / targets.sum()
    false_alarm = 1 - np.append(0, np.cumsum(~targets)[last]) / np.sum(~targets)
    thresholds = np.append(scores[last], np.inf)
    bend = np.ones(
        len(miss), dtype=bool
    )  # where a run of points changes one rate alone, its two ends say all
    bend[1:-1] = (miss[2:] != miss[:-2]) & (false_alarm[2:] != false_alarm[:-2])
    return DetectionCurve(false_alarm[bend], miss[bend], thresholds[bend])


def equal_error_rate(scores, targets):
    """The rate, from 0 to 1, at which false alarms and misses are equally frequent; as `detection_curve`."""
    return detection_curve(scores, targets).equal_error_rate


def speaker_trials(vectors, speakers):
    """Cosine scores of all N (N - 1) / 2 pairs of utterances; returns scores (P,) and targets (P,) booleans.

    vectors: (N, D), one an utterance; speakers: (N,) who said it. Pairs in the order of `np.triu_indices(N, 1)`.
    Raises ValueError for other shapes, NaN or infinity, a zero vector, which has no direction.
    """
    trials = Trials(vectors, speakers)
    scores, targets = np.empty(len(trials.scores)), np.empty(len(trials.scores), dtype=bool)
    scores[trials.order], targets[trials.order] = trials.scores, trials.first == trials.second
    return scores, targets


def verify_speakers(static, dynamic, speakers, draws=1000, confidence=0.95, seed=0):
    """Equal error rates of static and dynamic vectors of the same utterances; returns `SpeakerVerification`.

    static (N, D), dynamic (N, d): a vector for each utterance; speakers: (N,) who said it. Paper C's code takes the mean over an
        utterance's chunks of the static code's means, and over chunks and steps of the dynamic code's samples.

    Intervals: the standard error of log(EER / (1 - EER)) over `draws` draws of the S speakers, times Student's t for S - 1;
    for the gap, both rates' limits put together with the correlation of the rates over the same draws (Zou and Donner,
    Stat. Med. 27, 1693, 2008). An EER of less than a third of a speaker's worth of errors, S EER < 1/3, tells little of what
    other speakers would do: there a warning is given, and the limits are no narrower than those of a share of S
    (`share_limits`). Of 100
    intervals of 95 % 93 or more held the truth, with 3 to 24 speakers; with six they are about .5 wide, with ten .35.
    A rate that is the same in every draw and not so small (.5 where all scores are equal) has limits of NaN and a warning.
    They speak of other speakers for the same model: what another training run gives is a matter of seeds.
    Raises ValueError as `speaker_trials`, and unless three or more speakers have two utterances or more.
    """
    check_confidence(confidence)
    trials = Trials(static, speakers), Trials(dynamic, speakers)
    count, utterances = trials[0].count, np.bincount(trials[0].speaker)
    if np.sum(utterances > 1) < 3:
        raise ValueError(
            f"speakers: expected three or more with two utterances or more, found {np.sum(utterances > 1)}; add utterances"
        )
    targets = int(np.sum(utterances * (utterances - 1) // 2))
    copies = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    copies = np.vstack([np.ones(count, dtype=int), copies])  # (1 + draws, S), everybody once first
    rates = np.array([one.equal_error_rates(copies) for one in trials])
    rates = rates[:, np.isfinite(rates[0])]  # a draw may hold no target, or one speaker alone
    intervals = [rate_interval(one, targets, count, confidence) for one in rates]
    return SpeakerVerification(
        *intervals, gap_interval(rates, *intervals), targets, len(trials[0].scores) - targets
    )


def rate_interval(rates, targets, count, confidence):
    """`Interval` of a rate from (1 + draws,) values, the estimate first; a rate of 0 counts as half a target."""
    rate, alike = float(rates[0]), np.ptp(rates) < 1e-9
    limits = (
        (rate, rate)
        if alike
        else on_log_odds(rate, rates[1:], count, count - 1, confidence, 0.5 / targets)
    )
    if count * min(rate, 1 - rate) < FEW_FAILURES:
        safe = share_limits(rate, count, confidence)
        return Interval(
            rate, min(limits[0], safe[0]), max(limits[1], safe[1]), count, "speaker", FEW_FAILED
        )
    if alike:
        return Interval(rate, np.nan, np.nan, count, "speaker", NO_SPREAD)
    return Interval(rate, *limits, count, "speaker")


def gap_interval(rates, static, dynamic):
    """`Interval` of dynamic - static from their values over the same draws (2, 1 + draws) and the interval of each.

    low = gap - sqrt(a^2 + b^2 - 2 r a b), a from dynamic down to its low, b from static up to its high, r the correlation
    of the draws; high likewise. A rate without limits counts as known, and its warning is passed on.
    """
    gap = rates[1] - rates[0]
    constant = np.ptp(gap) < 1e-9
    warning = "; ".join(
        dict.fromkeys(
            filter(None, [static.warning, dynamic.warning, NO_SPREAD if constant else ""])
        )
    )
    if constant:
        return Interval(float(gap[0]), np.nan, np.nan, static.n, "speaker", warning)
    sides = np.nan_to_num([[one.mean - one.low, one.high - one.mean] for one in (static, dynamic)])
    together = np.corrcoef(rates[:, 1:])[0, 1] if (np.ptp(rates, axis=1) > 1e-9).all() else 0.0

    def reach(a, b):
        return float(np.sqrt(max(a**2 + b**2 - 2 * together * a * b, 0)))

    low, high = (
        max(gap[0] - reach(sides[1, 0], sides[0, 1]), -1.0),
        min(gap[0] + reach(sides[1, 1], sides[0, 0]), 1.0),
    )
    return Interval(float(gap[0]), float(low), float(high), static.n, "speaker", warning)


class Trials:
    """All pairs of utterances in ascending order of score, with their two speakers as numbers 0 ... S - 1."""

    def __init__(self, vectors, speakers):
        vectors, speakers = np.asarray(vectors, dtype=np.float64), np.asarray(speakers)
        if vectors.ndim != 2 or speakers.shape != vectors.shape[:1] or len(vectors) < 2:
            raise ValueError(
                f"vectors and speakers: expected (N, D) and (N,) with N >= 2, found {vectors.shape} and {speakers.shape}"
            )
        if not np.isfinite(vectors).all():
            raise ValueError(
                f"vectors: expected finite numbers, found {np.argwhere(~np.isfinite(vectors))[0].tolist()} (row, unit) is not"
            )
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if (lengths == 0).any():
            raise ValueError(
                f"vectors: expected a direction, found only zeros in row {np.argmin(lengths)}; leave such utterances out"
            )
        names, speaker = np.unique(speakers, return_inverse=True)
        self.speaker, self.count = speaker.astype(np.int32), len(names)
        unit = vectors / lengths
        first, second = np.triu_indices(len(vectors), 1)
        scores = np.round((unit @ unit.T)[first, second], DECIMALS)
        self.order = np.argsort(scores)
        self.scores = scores[self.order]
        self.first, self.second = self.speaker[first[self.order]], self.speaker[second[self.order]]

    def equal_error_rates(self, copies):
        """EER with speaker s present copies[r, s] times, (R, S) integers -> (R,); NaN without targets or without non-targets.

        Each draw weighs every pair anew, which would be slow for millions: the sorted scores are cut into segments, the
        weight of a segment is a quadratic form in the copies, and only the one where the rates cross is gone through.
        """
        copies = np.asarray(copies, dtype=np.float64)
        segments = int(
            np.clip(np.sqrt(300 * len(self.scores)) / self.count, 16, 1024)
        )  # about equal work in both steps
        cuts = np.linspace(0, len(self.scores), segments + 1).astype(int)[:-1]
        cuts = np.append(
            np.unique(np.searchsorted(self.scores, self.scores[cuts])), len(self.scores)
        )  # equal scores stay together
        below = np.zeros(
            (2, len(copies), len(cuts))
        )  # weight of targets and of non-targets below each cut
        for number, (start, stop) in enumerate(zip(cuts, cuts[1:]), 1):
            pairs = np.bincount(
                self.first[start:stop] * self.count + self.second[start:stop],
                minlength=self.count**2,
            )
            pairs = pairs.reshape(self.count, self.count).astype(
                np.float64
            )  # (S, S) how many of each two speakers
            below[0, :, number] = copies @ np.diagonal(pairs)
            np.fill_diagonal(pairs, 0)
            below[1, :, number] = np.einsum("rs,rs->r", copies @ pairs, copies)
        below = below.cumsum(-1)
        rates = np.full(len(copies), np.nan)
        for row in np.flatnonzero((below[:, :, -1] > 0).all(0)):
            total = below[:, row, -1:]
            segment = np.flatnonzero(1 - (below[:, row] / total).sum(0) > 0)[
                -1
            ]  # false alarms - misses, still positive at its start
            rates[row] = self._crossing(
                slice(cuts[segment], cuts[segment + 1]),
                copies[row],
                below[:, row, segment, None],
                total,
            )
        return rates

    def _crossing(self, segment, copies, below, total):
        """Where the rates meet within a segment, given the weights below it and in all, (2, 1) each."""
        first, second, scores = self.first[segment], self.second[segment], self.scores[segment]
        target = first == second
        weight = copies[first] * np.where(target, 1, copies[second])
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
        within = np.cumsum([weight * target, weight * ~target], axis=1)[:, last]
        share = (
            np.hstack([below, below + within]) / total
        )  # (2, groups + 1): misses, and non-targets refused
        gap = 1 - share.sum(0)
        after = (
            int(np.argmax(gap <= 1e-12)) if (gap <= 1e-12).any() else len(gap) - 1
        )  # sums of shares are rounded
        part = gap[after - 1] / (gap[after - 1] - gap[after])
        return share[0, after - 1] + part * (share[0, after] - share[0, after - 1])
