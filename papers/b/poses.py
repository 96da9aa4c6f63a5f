"""Paper B on characters: the identity comes from one character, the pose from another.

The paper shows such pictures and counts nothing. Here each is compared with the true frame that it
should be, and a judge, trained on real frames alone, names who and which pose it sees.
"""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from dataclasses import dataclass

import torch
from torch import Tensor
from unbraid.codes import as_float, concatenate, decode_all, dynamic_given, encode_all
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES, visible_attributes
from unbraid.interventions import grid_points
from unbraid.measures.judges import FrameJudge, judge_classes
from unbraid.measures.swaps import agreement, random_donors
from unbraid.models.unordered import UnorderedFrames

from papers.b.evaluate import (
    CODES,
    class_accuracies,
    class_probes,
    draw_frames,
    knn_accuracy,
    prior_from_average,
    unordered_bound,
)
from papers.datasets import load_frames
from papers.encoded import Encoded, Evaluation, Figures, count_evaluated, seeded, select
from papers.judge import open_judge
from papers.settings import Settings

READ_FRAMES = 20  # frames of each character whose z the probes read
DYNAMIC_LABELS = ("pose", "action", "direction")
TIE = 1e-4  # squared distances that differ by less count as equal


def evaluate_characters(model: UnorderedFrames, settings: Settings, seed: int) -> Figures:
    """All figures of a model of characters: in all poses, or turned to some sides only."""
    train_people, test_people = (
        load_characters(settings, split, seed) for split in ("train", "test")
    )
    generator = seeded(CODES + seed)
    train, test = encode_drawn(model, train_people, test_people, settings.length, generator)
    static = test.codes["static"]
    figures = unordered_bound(model, test_people, settings, seed)
    figures |= prior_from_average(model, static, seed)
    figures |= class_probes(train, test, seed)
    figures |= class_accuracies(train, test, ATTRIBUTES, ("skin", "pose"), seed)
    if settings.dataset != "sprites_poses":
        return figures

    judge = open_judge(settings.dataset, settings.profile, test_people.classes, settings.image_size)
    donors = torch.as_tensor(random_donors(len(test), seed))
    pairs = torch.stack([torch.arange(len(test)), donors], 1)  # of the pose, of the identity
    transferred = transfer(model, test_people, static, pairs, judge)
    figures |= drawn_probes(model, train, test, seed)
    figures |= transfers(transferred, test_people)
    torch.rand(4, *test_people.observed.shape, generator=generator)  # results/ was drawn after it
    identities, points = static[: settings.evaluation_identities], settings.evaluation_grid
    figures |= coherence(model, identities, transferred.dynamic, points, judge, generator)
    if settings.withheld:
        static, count = train.codes["static"], settings.evaluation_sequences
        figures |= withheld(model, train_people, static, judge, generator, count)
    return figures


def load_characters(settings: Settings, split: str, seed: int) -> Sequences:
    """The characters of a split; those of training lack the frames that were withheld."""
    return load_frames(settings, split).subset(slice(0, count_evaluated(settings, split)))


def encode_drawn(
    model: UnorderedFrames,
    train: Sequences,
    test: Sequences,
    count: int,
    generator: torch.Generator,
) -> list[Encoded]:
    """f of `count` frames of each character, and z and labels of random frames given that f."""
    splits = train, test
    seen = [draw_frames(split, count, generator) for split in splits]
    samples = [draw_frames(split, READ_FRAMES, generator) for split in splits]
    encoded = []
    for first, sample in zip(seen, samples, strict=True):
        static = encode_all(model, first)["static"]
        codes = {"static": static, "dynamic": dynamic_given(model, sample.frames, static)}
        labels = select(sample.labels, (*DYNAMIC_LABELS, *ATTRIBUTES))
        encoded.append(Encoded(sample, codes, labels))
    return encoded


# ---- pose transfer


@dataclass(frozen=True)
class Transfer:
    """Q frames decoded from the pose of a and the identity of b.

    nearer: how many candidates are nearer than b's true frame, (Q,) by name, to what is decoded
    ("rank"), to a's frame as it is ("unchanged") and to that frame after `repaint` ("repainted").
    The candidates are b's frames; with the ending _both, a's as well.
    """

    rows: Tensor  # (Q, 2) the numbers of a and of b among the sequences
    steps: Tensor  # (Q,) the number of a's frame
    dynamic: Tensor  # (Q, d) the codes of a's frames
    nearer: dict[str, Tensor]
    judged: dict[str, Tensor]  # classes (Q,) that the judge names

    def hits(self, name: str, count: int = 1) -> float:
        """The share of queries whose true frame is among the `count` nearest."""
        return float((self.nearer[name] < count).double().mean())


@torch.no_grad()
def transfer(
    model: UnorderedFrames,
    sequences: Sequences,
    static: Tensor,
    pairs: Tensor,
    judge: FrameJudge,
    steps: ListOf[Tensor] | None = None,
) -> Transfer:
    """Decode z of a's frames, inferred given a's f, together with b's f.

    static: the codes f of all sequences, (M, D). pairs: the numbers of a and of b, (P, 2).
    steps: for each pair the numbers of the frames; by default all frames.
    """
    parts = []
    for number, (a, b) in enumerate(pairs.tolist()):
        frames_a, frames_b = as_float(sequences.frames[[a, b]])
        chosen = torch.arange(sequences.length) if steps is None else steps[number]
        dynamic = dynamic_given(model, frames_a[chosen][None], static[a : a + 1])
        decoded = decode_all(model, {"static": static[b : b + 1], "dynamic": dynamic})[0]
        painted, both = repaint(frames_a, frames_b)[chosen], torch.cat([frames_b, frames_a])
        nearer = {
            "rank": count_nearer(decoded, chosen, frames_b),
            "rank_both": count_nearer(decoded, chosen, both),
            "unchanged": count_nearer(frames_a[chosen], chosen, frames_b),
            "repainted": count_nearer(painted, chosen, frames_b),
            "repainted_both": count_nearer(painted, chosen, both),
        }
        rows = pairs[number].expand(len(chosen), 2)
        codes = {"rows": rows, "steps": chosen, "dynamic": dynamic[0]}
        parts.append((codes, nearer, judge_classes(judge, decoded)))
    codes, nearer, judged = (concatenate(of) for of in zip(*parts, strict=True))
    return Transfer(**codes, nearer=nearer, judged=judged)


def repaint(frames_a: Tensor, frames_b: Tensor) -> Tensor:
    """Frames of a minus their mean, plus the mean of b's frames: a transfer without a model.

    Both are (T, C, H, W), and so is the result. Colours that stay through all frames of a give way
    to those of b.
    """
    return frames_a - frames_a.mean(0) + frames_b.mean(0)


def count_nearer(queries: Tensor, truth: Tensor, candidates: Tensor) -> Tensor:
    """How many candidates (K, ...) are nearer to each query (Q, ...) than the true one (Q,)."""
    queries, candidates = queries.flatten(1), candidates.flatten(1)
    centre = candidates.mean(0)  # Small numbers lose less to rounding.
    products = {"compute_mode": "use_mm_for_euclid_dist"}
    squared = torch.cdist(queries - centre, candidates - centre, **products).square()
    return (squared < squared.gather(1, truth[:, None]) - TIE).sum(1)


def retrieval_scores(transferred: Transfer) -> Figures:
    """The figures of `transfers` that need no judge."""
    hits = transferred.hits
    return {
        "pose_transfer_top1": hits("rank"),
        "pose_transfer_both_top1": hits("rank_both"),
        "pose_transfer_both_top5": hits("rank_both", 5),
        "unchanged_top1": hits("unchanged"),
        "repainted_top1": hits("repainted"),
        "repainted_both_top1": hits("repainted_both"),
        "repainted_gain": hits("rank") - hits("repainted"),
        "repainted_both_gain": hits("rank_both") - hits("repainted_both"),
    }


def judge_scores(transferred: Transfer, sequences: Sequences) -> Figures:
    """Shares of the frames in which the judge names the right class.

    <attribute>: b's, in poses that show it. pose, action, direction: a's.
    """
    visible = visible_attributes(sequences.classes["pose"])
    (a, b), labels = transferred.rows.T, sequences.labels
    pose = labels["pose"][a, transferred.steps]
    figures = {}
    for name in ATTRIBUTES:
        right = transferred.judged[name] == labels[name][b]
        figures[name] = float(right[visible[name][pose]].double().mean())
    for name in DYNAMIC_LABELS:
        right = transferred.judged[name] == labels[name][a, transferred.steps]
        figures[name] = float(right.double().mean())
    return figures


def transfers(transferred: Transfer, test: Sequences) -> Figures:
    """z of all frames of a, inferred with a's f, decoded with b's f. pose_transfer_*: is b's true
    frame the nearest of b's frames (top1); the nearest, or among the five nearest, of the frames of
    a and b (both). unchanged_*: the same for a's frame left as it is. repainted_*: the same for a's
    frame less the mean of all frames of a, plus that of b; repainted_*gain: the transfer less it.
    transfer_*: share in which the judge names b's attribute, and a's pose, action and direction;
    trousers and top where the sheets have them."""
    judged = judge_scores(transferred, test)
    figures = {f"transfer_{name}": value for name, value in judged.items()}
    return retrieval_scores(transferred) | figures


def withheld(
    model: UnorderedFrames,
    train: Sequences,
    static: Tensor,
    judge: FrameJudge,
    generator: torch.Generator,
    count: int,
) -> Figures:
    """unseen_*: training identities of whom one action was withheld: its frames, with z of another
    training identity that was shown in them; ranks and judgements as for other transfers."""
    # static: the codes f of the frames shown, (M, D); count: of identities, at most.
    receivers = (~train.mask).any(1).nonzero()[:count, 0]
    pairs, steps = [], []
    for b in receivers.tolist():
        hidden = (~train.mask[b]).nonzero()[:, 0]
        donors = train.mask[:, hidden].all(1).nonzero()[:, 0]
        a = donors[torch.randint(len(donors), (1,), generator=generator)]
        pairs.append((int(a), b))
        steps.append(hidden)
    transferred = transfer(model, train, static, torch.tensor(pairs), judge, steps)
    judged = judge_scores(transferred, train)
    figures = {f"unseen_transfer_{name}": judged[name] for name in ATTRIBUTES}
    return figures | {"unseen_pose_top1_both": transferred.hits("rank_both")}


# ---- what else is measured


def drawn_probes(model: UnorderedFrames, train: Encoded, test: Encoded, seed: int) -> Figures:
    """dynamic_accuracy_skin_drawn: the same neighbours, of draws of q(z | f, x) instead of its
    means: what the code itself carries, noise and all."""
    generator, rows = seeded(30_000 + seed), []
    for part in (train, test):
        drawn = dynamic_given(model, part.sequences.frames, part.codes["static"], generator)
        rows += [drawn, part.labels["skin"]]
    return {"dynamic_accuracy_skin_drawn": knn_accuracy(*rows)}


def coherence(
    model: UnorderedFrames,
    static: Tensor,
    codes: Tensor,
    points: int,
    judge: FrameJudge,
    generator: torch.Generator,
) -> Figures:
    """grid_coherence: one z for all identities, share whose judged action and direction are the
    commonest at this z, on a regular grid over the middle 95 % of the codes of test frames.
    _posterior: at codes of random test frames; _chance: the grid shuffled for each identity."""
    regular = grid_points(codes, points)
    frames_z = codes[torch.randperm(len(codes), generator=generator)[: len(regular)]]
    motions = judge_motions(model, static, regular, judge)
    posterior = judge_motions(model, static, frames_z, judge)
    order = torch.rand(motions.shape, generator=generator).argsort(1)
    return {
        "grid_coherence": agreement(motions),
        "grid_coherence_posterior": agreement(posterior),
        "grid_coherence_chance": agreement(motions.gather(1, order)),
    }


def judge_motions(
    model: UnorderedFrames, static: Tensor, points: Tensor, judge: FrameJudge
) -> Tensor:
    """The action and direction, as one number (K, P), of each f (K, D) decoded at each z (P, d)."""
    motions = []
    for part in static.split(4):
        grids = points.expand(len(part), -1, -1)
        decoded = decode_all(model, {"static": part, "dynamic": grids}).flatten(0, 1)
        classes = judge_classes(judge, decoded)
        motion = classes["action"] * len(judge.classes["direction"]) + classes["direction"]
        motions.append(motion.view(len(part), -1))
    return torch.cat(motions)


SOME_SIDES = (unordered_bound, prior_from_average, class_probes, class_accuracies)
ALL_POSES = (*SOME_SIDES, drawn_probes, transfers, coherence, withheld)
EVALUATIONS = {
    "sprites_poses": Evaluation(evaluate_characters, load_characters, ALL_POSES),
    "sprites_directions": Evaluation(evaluate_characters, load_characters, SOME_SIDES),
}
