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
from unbraid.measures.judges import FrameJudge, judge_classes
from unbraid.measures.swaps import agreement, random_donors
from unbraid.models.unordered import UnorderedFrames

from papers.b.evaluate import (
    CODES,
    class_probes,
    draw_frames,
    prior_from_average,
    unordered_bound,
)
from papers.b.planes import grid_points
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
    if settings.dataset != "sprites_poses":
        return figures

    judge = open_judge(settings.dataset, settings.profile, test_people.classes, settings.image_size)
    donors = torch.as_tensor(random_donors(len(test), seed))
    pairs = torch.stack([torch.arange(len(test)), donors], 1)  # of the pose, of the identity
    transferred = transfer(model, test_people, static, pairs, judge)
    figures |= transfers(transferred, test_people)
    torch.rand(4, *test_people.observed.shape, generator=generator)  # results/ was drawn after it
    identities, points = static[: settings.evaluation_identities], settings.evaluation_grid
    figures |= coherence(model, identities, transferred.dynamic, points, judge, generator)
    if settings.withheld:
        static, count = train.codes["static"], settings.evaluation_sequences
        figures |= withheld(model, train_people, static, generator, count)
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

    hits: by name, whether b's true frame (Q,) is the nearest to what is decoded ("transfer") and to
    a's frame after `repaint` ("repainted"). The candidates are b's frames; with the ending _both,
    a's as well.
    """

    rows: Tensor  # (Q, 2) the numbers of a and of b among the sequences
    steps: Tensor  # (Q,) the number of a's frame
    dynamic: Tensor  # (Q, d) the codes of a's frames
    hits: dict[str, Tensor]
    judged: dict[str, Tensor]  # classes (Q,) that the judge names

    def share(self, name: str) -> float:
        """The share of hits of this name."""
        return float(self.hits[name].double().mean())


@torch.no_grad()
def transfer(
    model: UnorderedFrames,
    sequences: Sequences,
    static: Tensor,
    pairs: Tensor,
    judge: FrameJudge | None = None,
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
        hits = {}
        queries = {"transfer": decoded, "repainted": repaint(frames_a, frames_b)[chosen]}
        for name, frames in queries.items():
            hits[name] = count_nearer(frames, chosen, frames_b) == 0
            among_both = count_nearer(frames, chosen, torch.cat([frames_b, frames_a]))
            hits[f"{name}_both"] = among_both == 0
        rows = pairs[number].expand(len(chosen), 2)
        codes = {"rows": rows, "steps": chosen, "dynamic": dynamic[0]}
        parts.append((codes, hits, judge_classes(judge, decoded) if judge else {}))
    codes, hits, judged = (concatenate(of) for of in zip(*parts, strict=True))
    return Transfer(**codes, hits=hits, judged=judged)


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


def transfers(transferred: Transfer, test: Sequences) -> Figures:
    """z of all frames of a, inferred with a's f, decoded with b's f. pose_transfer_*: is b's true
    frame the nearest of b's frames (top1), and of the frames of a and b (both). repainted_*: the
    same for a's frame less the mean of all frames of a, plus that of b; repainted_both_gain: the
    transfer less it. transfer_<attribute>: share in which the judge names b's, where the sheets
    have it."""
    both, repainted = transferred.share("transfer_both"), transferred.share("repainted_both")
    figures = {
        "pose_transfer_top1": transferred.share("transfer"),
        "pose_transfer_both_top1": both,
        "repainted_top1": transferred.share("repainted"),
        "repainted_both_top1": repainted,
        "repainted_both_gain": both - repainted,
    }
    (a, b), labels = transferred.rows.T, test.labels
    pose = labels["pose"][a, transferred.steps]
    for name, is_visible in visible_attributes(test.classes["pose"]).items():
        right = transferred.judged[name] == labels[name][b]
        figures[f"transfer_{name}"] = float(right[is_visible[pose]].double().mean())
    return figures


def withheld(
    model: UnorderedFrames,
    train: Sequences,
    static: Tensor,
    generator: torch.Generator,
    count: int,
) -> Figures:
    """unseen_pose_top1_both: training identities of whom one action was withheld: its frames, with
    z of another training identity that was shown in them; is the true one the nearest of both."""
    # static: the codes f of the frames shown, (M, D); count: of identities, at most.
    receivers = (~train.mask).any(1).nonzero()[:count, 0]
    pairs, steps = [], []
    for b in receivers.tolist():
        hidden = (~train.mask[b]).nonzero()[:, 0]
        donors = train.mask[:, hidden].all(1).nonzero()[:, 0]
        a = donors[torch.randint(len(donors), (1,), generator=generator)]
        pairs.append((int(a), b))
        steps.append(hidden)
    transferred = transfer(model, train, static, torch.tensor(pairs), steps=steps)
    return {"unseen_pose_top1_both": transferred.share("transfer_both")}


# ---- what else is measured


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


EVALUATIONS = dict.fromkeys(
    ("sprites_poses", "sprites_directions"), Evaluation(evaluate_characters, load_characters)
)
