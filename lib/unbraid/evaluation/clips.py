"""Clips whose static or dynamic code is exchanged, drawn, or kept in part, as a judge sees them.

The protocol of paper C and its predecessors (both codes exchanged between clips, or one of them drawn from the prior), and the
benchmark MSD's (arXiv 2510.17313). A judge names the papers' action, nine motions; its parts, action and direction, are read
off its probabilities, for a direction that leaks is the first thing to go wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor

from unbraid.data.sequences import Sequences
from unbraid.evaluation.codes import device_of
from unbraid.judging import WORN
from unbraid.measures.generation import (
    Intervention,
    benchmark_score,
    entropies,
    intervention,
    judge_decoded,
    random_donors,
    two_factor,
)
from unbraid.measures.judges import SequenceJudge
from unbraid.measures.resampling import bootstrap_interval
from unbraid.models.interface import Codes, SequenceModel

MOTION = (
    "action",
    "motion_action",
    "motion_direction",
)  # the papers' action, of nine classes; and its parts, of three each
KNOWN = (*MOTION, *WORN)
BENCHMARK = ("action", *WORN)
RETAINED = 600  # clips of which one attribute is kept and all else exchanged


def labels_of(clips: Sequences) -> dict[str, np.ndarray]:
    """(N,) of `KNOWN`: the label motion is the papers' action, action and direction are its parts."""
    named = dict(zip(MOTION, ("motion", "action", "direction")))
    return {name: clips.labels[named.get(name, name)].numpy() for name in KNOWN}


@dataclass(frozen=True)
class Clips:
    """What is measured: a model and a judge, codes and labels (N,) of N clips, and whose clip each is, (N,) numbers."""

    model: SequenceModel
    judge: SequenceJudge
    codes: Codes
    labels: Mapping[str, np.ndarray]
    character: np.ndarray
    seed: int = 0

    def see(self, codes: Codes, kept=(), donors=None) -> dict[str, np.ndarray]:
        """The judge's probabilities of `KNOWN`, (N, classes), in codes decoded; those not in `kept` come from the donors."""
        device = device_of(self.model)
        return judge_decoded(
            lambda some: self.model.decode({name: code.to(device) for name, code in some.items()}),
            self.judged,
            codes,
            kept,
            donors,
        )

    def judged(self, frames: Tensor) -> dict[str, Tensor]:
        """The same for frames (N, T, C, H, W); larger ones are averaged down to the judge's size."""
        if (size := self.judge.sizes["image_size"]) != frames.shape[-1]:
            frames = F.adaptive_avg_pool2d(frames.flatten(0, 1), size).unflatten(
                0, frames.shape[:2]
            )
        found = self.judge.probabilities(frames.clamp(0, 1))
        whole = found.pop("motion").double()
        parts = whole.unflatten(1, (-1, 3))  # a motion's number is 3 action + direction
        return {
            "action": whole,
            "motion_action": parts.sum(2),
            "motion_direction": parts.sum(1),
        } | found

    def share(self, name: str, right: np.ndarray, whose: np.ndarray) -> dict[str, float]:
        """The share of `right` (n,), with its interval over the characters `whose` (n,), of whom there are several clips each."""
        found = bootstrap_interval(
            right, clusters=whose, rate=True, draws=500, unit="character", seed=self.seed
        )
        return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}

    def benchmark(
        self, probabilities: Mapping, kept, donors=None, rows=slice(None)
    ) -> Intervention:
        """`intervention` for the labels of the benchmark; rows: which of the clips the probabilities are of."""
        truth = {name: self.labels[name][rows] for name in BENCHMARK}
        return intervention({name: probabilities[name] for name in BENCHMARK}, truth, kept, donors)


def reconstructed(clips: Clips, frames: Tensor) -> dict[str, float]:
    """How often each label is still seen in the clips decoded from both their codes."""
    return {
        f"reconstruct_{name}": float((np.asarray(p).argmax(1) == clips.labels[name]).mean())
        for name, p in clips.judged(frames).items()
    }


def swapped(clips: Clips) -> dict[str, float]:
    """Each clip's dynamic code with the static code of another clip, its donor."""
    donors, figures = random_donors(len(clips.character), clips.seed), {}
    seen = clips.see(clips.codes, ("dynamic",), donors)
    for name, probabilities in seen.items():
        judged, own = probabilities.argmax(1), clips.labels[name]
        right, other = (own, own[donors]) if name in MOTION else (own[donors], own)
        whose = clips.character if name in MOTION else clips.character[donors]
        differ = right != other
        figures |= clips.share(f"swap_{name}", judged == right, whose)
        figures |= clips.share(f"swap_leak_{name}", (judged == other)[differ], whose[differ])
        figures[f"swap_leak_{name}_chance"] = float(
            (judged != right)[differ].mean() / (probabilities.shape[1] - 1)
        )
        figures |= {
            f"swap_other_{name}": float((judged == other).mean()),
            f"swap_other_{name}_chance": float((~differ).mean()),
        }
    back = np.argsort(
        donors
    )  # the same clips from the other side: whose static code was kept, and who gave the dynamic one
    both = {
        "dynamic": clips.benchmark(seen, ("action",), donors),
        "static": clips.benchmark({name: p[back] for name, p in seen.items()}, WORN, back),
    }
    return figures | {
        "swap_together": both["dynamic"].together.mean,
        "swap_score": benchmark_score(both).score.mean,
    }


def generated(clips: Clips) -> dict[str, float]:
    """One code of each clip kept, the other drawn from the prior."""
    count, length = clips.codes["dynamic"].shape[:2]
    generator = torch.Generator(device_of(clips.model)).manual_seed(30_000 + clips.seed)
    kept = {
        code: clips.see(clips.model.generate(count, length, generator, {code: clips.codes[code]}))
        for code in ("dynamic", "static")
    }
    part = [{name: kept[code][name] for name in BENCHMARK} for code in ("dynamic", "static")]
    found = two_factor(
        *part, {name: clips.labels[name] for name in BENCHMARK}, WORN, ("action",), seed=clips.seed
    )
    figures = {"sample_score": found.benchmark.score.mean}
    for name, scores in found.generation.items():
        ending, own, other = (
            ("", "dynamic", "static") if name == "action" else (f"_{name}", "static", "dynamic")
        )
        right = kept[own][name].argmax(1) == clips.labels[name]
        figures |= clips.share(
            "accuracy" if name == "action" else f"kept_{name}", right, clips.character
        )
        terms = scores.inception_score, scores.conditional_entropy, scores.marginal_entropy
        for key, one in zip(("inception_score", "entropy_conditional", "entropy_marginal"), terms):
            figures |= {
                f"{key}{ending}": one.mean,
                f"{key}{ending}_low": one.low,
                f"{key}{ending}_high": one.high,
            }
        fallen, drawn = (
            found.interventions[f"{other}_kept"].factors[name],
            entropies(kept[other][name]),
        )  # where it was drawn
        figures |= {f"fallen_{name}": fallen.original.mean, f"fallen_{name}_chance": fallen.chance}
        figures |= {
            f"drawn_entropy_conditional_{name}": drawn.conditional,
            f"drawn_entropy_marginal_{name}": drawn.marginal,
        }
    return figures


def retained(
    clips: Clips, static: np.ndarray, labels: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """One attribute's share of the static code is kept; all else is the donor's, the dynamic code too.

    static (n, D), labels: of training clips, which tell what an attribute's share is: units, as the benchmark, or directions.
    """
    some = np.sort(np.random.default_rng(clips.seed).permutation(len(clips.character))[:RETAINED])
    donors, own = (
        random_donors(len(some), clips.seed),
        {name: code[some] for name, code in clips.codes.items()},
    )
    others = {name: code[donors] for name, code in own.items()}
    motion = clips.benchmark(
        clips.see(others | {"dynamic": own["dynamic"]}), ("action",), donors, some
    )
    figures = {"retain_action": motion.factors["action"].original.mean}
    for way, shares in (
        ("retain", unit_shares(static, labels)),
        ("retain_directions", direction_shares(static, labels)),
    ):
        found = {"action": motion}
        for name in WORN:
            seen = clips.see(
                others | {"static": keep_share(own["static"], others["static"], shares[name])}
            )
            found[name] = clips.benchmark(seen, (name,), donors, some)
            figures |= clips.share(
                f"{way}_{name}",
                seen[name].argmax(1) == clips.labels[name][some],
                clips.character[some],
            )
        figures[f"{way}_score"] = benchmark_score(found).score.mean
    return figures


def keep_share(own: Tensor, other: Tensor, share: np.ndarray) -> Tensor:
    """Static codes (N, D): those of others, but for the `share` (D, D) of one attribute, which stays the own."""
    return other + (own - other) @ torch.as_tensor(share, dtype=own.dtype)


def unit_shares(static: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(D, D) of each attribute, diagonal: the units (of static, (n, D)) of greater importance to it than to any other.

    Importances of a random forest, adding up to 1 for each attribute, where the benchmark boosts trees, which takes longer.
    """
    forest = RandomForestClassifier(60, min_samples_leaf=5, random_state=0)
    importance = np.stack(
        [forest.fit(static, labels[name]).feature_importances_ for name in WORN]
    )  # (attributes, D)
    return {
        name: np.diag((importance.argmax(0) == number).astype(float))
        for number, name in enumerate(WORN)
    }


def direction_shares(static: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """(D, D) of each attribute: s @ share is the part of a static code s that lies along what the attribute's classes differ in.

    The classes' means are had by least squares, of all attributes at once. s is then resolved into the directions of all of
    them, again by least squares, where what the means leave over counts as noise with the covariance it has. Codes need more
    units than directions, C - 1 for each attribute of C classes; with fewer the parts overlap.
    """
    coded = [np.eye(labels[name].max() + 1)[labels[name]] for name in WORN]
    design, centred = (
        np.concatenate([one - one.mean(0) for one in coded], 1),
        static - static.mean(0),
    )
    means = np.linalg.lstsq(design, centred, rcond=None)[0]  # (classes of all, D)
    floor = 1e-4 * centred.var(0).mean() + 1e-12
    values, vectors = np.linalg.eigh(
        np.cov((centred - design @ means).T) + floor * np.eye(static.shape[1])
    )
    whiten, colour = (vectors * values**power @ vectors.T for power in (-0.5, 0.5))
    by_attribute = np.split(means @ whiten, np.cumsum([one.shape[1] for one in coded])[:-1])
    axes = [np.linalg.svd(part, full_matrices=False)[2][: len(part) - 1] for part in by_attribute]
    resolve = np.split(
        np.linalg.pinv(np.concatenate(axes)), np.cumsum([len(one) for one in axes])[:-1], axis=1
    )  # (D, directions)
    return {name: whiten @ part @ one @ colour for name, part, one in zip(WORN, resolve, axes)}
