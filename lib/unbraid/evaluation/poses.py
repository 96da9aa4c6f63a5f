"""Whose picture, and in which pose: what paper B's model draws of characters when f and z come from different ones.

Paper B shows such pictures and counts nothing. Here each is held against the true frame that it should be, and a judge, which
knows nothing of the model, says who and which pose it sees.
"""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unbraid.data.sequences import Sequences
from unbraid.data.sprites import CLASSES
from unbraid.evaluation.codes import decode, dynamic_given
from unbraid.interventions import principal_directions
from unbraid.measures.judges import FrameJudge
from unbraid.models.interface import SequenceModel

WORN = tuple(CLASSES)
SHOWN = ("pose", "action", "direction")
TIE = 1e-4  # of squared distances, one value a hundredth off: closer ones are not told apart
MIDDLE = (0.025, 0.975)  # of the codes of test frames, which a grid covers


@dataclass(frozen=True)
class Transfer:
    """Frames drawn with the pose of a and the identity of b, Q in all, one row each.

    rows (Q, 2): of a and of b among the sequences. steps (Q,): which frame.
    rank, rank_both (Q,): how many of b's frames, and of a's and b's together, are strictly nearer than b's true frame.
    error (Q,): mean squared difference from the true frame. judged: by label, what the judge sees, (Q,); empty without a judge.
    dynamic (Q, d): the codes of a's frames.
    """

    rows: Tensor
    steps: Tensor
    rank: Tensor
    rank_both: Tensor
    error: Tensor
    judged: dict[str, Tensor]
    dynamic: Tensor


def ranks(queries: Tensor, truth: Tensor, candidates: Tensor) -> Tensor:
    """How many of `candidates` (K, ...) are strictly nearer to each query (Q, ...) than the one numbered `truth` (Q,)."""
    queries, candidates = queries.flatten(1), candidates.flatten(1)
    centre = candidates.mean(0)  # small numbers, which lose less to rounding
    squared = torch.cdist(
        queries - centre, candidates - centre, compute_mode="use_mm_for_euclid_dist"
    ).square()
    return (squared < squared.gather(1, truth[:, None]) - TIE).sum(1)


def compared(
    drawn: Tensor, steps: Tensor, frames_a: Tensor, frames_b: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """rank, rank_both and error, as in `Transfer`, of frames drawn (Q, C, H, W) to be `steps` (Q,) of b's frames (T, C, H, W)."""
    both = ranks(drawn, steps, torch.cat([frames_b, frames_a]))
    return (
        ranks(drawn, steps, frames_b),
        both,
        (drawn - frames_b[steps]).square().flatten(1).mean(1),
    )


def transfer(
    model: SequenceModel,
    known: Sequences,
    static: Tensor,
    pairs: Tensor,
    steps: ListOf[Tensor] | None = None,
    judge: FrameJudge | None = None,
) -> Transfer:
    """Decode z of a's frames, inferred with a's f, with b's f, for pairs (P, 2) of rows of `known`.

    static: f of all sequences of `known`, (M, D). steps: for each pair which frames; by default all of a sequence.
    """
    parts = []
    for number, (a, b) in enumerate(pairs.tolist()):
        frames_a, frames_b = (known.frames[row].float() / 255 for row in (a, b))
        at = torch.arange(known.length) if steps is None else steps[number]
        dynamic = dynamic_given(model, frames_a[at][None], static[a : a + 1])
        drawn = decode(model, static[b : b + 1], dynamic)[0]
        seen = judged_frames(judge, drawn) if judge else {}
        parts.append(
            (
                pairs[number].expand(len(at), 2),
                at,
                *compared(drawn, at, frames_a, frames_b),
                seen,
                dynamic[0],
            )
        )
    rows, at, rank, both, error, seen, dynamic = zip(*parts)
    judged = {name: torch.cat([one[name] for one in seen]) for name in seen[0]}
    return Transfer(*map(torch.cat, (rows, at, rank, both, error)), judged, torch.cat(dynamic))


def trivial(known: Sequences, pairs: Tensor, seed: int = 0) -> dict[str, Transfer]:
    """What costs nothing, ranked in the same way: a's frame unchanged, the mean of b's frames, a random frame of b."""
    generator, found = (
        torch.Generator().manual_seed(seed),
        {"unchanged": [], "mean": [], "random": []},
    )
    at = torch.arange(known.length)
    for pair in pairs:
        frames_a, frames_b = (known.frames[row].float() / 255 for row in pair.tolist())
        random = frames_b[torch.randint(len(at), (len(at),), generator=generator)]
        for name, drawn in (
            ("unchanged", frames_a),
            ("mean", frames_b.mean(0).expand_as(frames_b)),
            ("random", random),
        ):
            found[name].append(
                (pair.expand(len(at), 2), at, *compared(drawn, at, frames_a, frames_b))
            )
    return {
        name: Transfer(*map(torch.cat, zip(*parts)), {}, torch.empty(0))
        for name, parts in found.items()
    }


def hits(transferred: Transfer, ending: str = "") -> dict[str, float]:
    """Shares of frames whose true frame is the nearest, or among the five nearest, and the root mean square error."""
    figures = {}
    for place, rank in (("", transferred.rank), ("both_", transferred.rank_both)):
        figures |= {
            f"pose_transfer_{place}top{count}{ending}": float((rank < count).double().mean())
            for count in (1, 5)
        }
    return figures | {
        f"pose_transfer_rmse{ending}": float(transferred.error.double().mean().sqrt())
    }


def judged_frames(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """What the judge sees on frames (Q, C, H, W), class numbers (Q,) by label; larger frames are averaged down to its size."""
    size = judge.sizes["image_size"]
    smaller = frames if frames.shape[-1] == size else F.adaptive_avg_pool2d(frames, size)
    return {
        name: probabilities.argmax(1)
        for name, probabilities in judge.probabilities(smaller.clamp(0, 1)).items()
    }


def drawn_in(names: ListOf[str]) -> dict[str, Tensor]:
    """At which poses, by their names, each attribute is there to be seen at all, (poses,) booleans by attribute.

    The sheets lack trousers and tops in thrust and shoot, for one class each, and all trousers in "hurt front 4".
    """
    bare = torch.tensor([name.startswith(("thrust", "shoot")) for name in names])
    fallen = torch.tensor([name == "hurt front 4" for name in names])
    return {name: ~torch.zeros_like(bare) for name in WORN} | {
        "trousers": ~(bare | fallen),
        "top": ~bare,
    }


def follow(transferred: Transfer, known: Sequences) -> dict[str, float]:
    """Who and which pose the judge sees, as shares of the frames.

    <attribute>: b's, where the pose shows it. leak_<attribute>: a's, among those frames where a's and b's differ. A wrong
    attribute drawn at random would be a's in a fifth of the cases. pose, action, direction: a's.
    """
    shown = drawn_in(known.classes["pose"])
    (a, b), pose = (
        transferred.rows.T,
        known.labels["pose"][transferred.rows[:, 0], transferred.steps],
    )
    figures = {}
    for name in WORN:
        there, judged, values = shown[name][pose], transferred.judged[name], known.labels[name]
        figures[name] = float((judged == values[b])[there].double().mean())
        figures[f"leak_{name}"] = float(
            (judged == values[a])[there & (values[a] != values[b])].double().mean()
        )
    for name in SHOWN:
        figures[name] = float(
            (transferred.judged[name] == known.labels[name][a, transferred.steps]).double().mean()
        )
    return figures


def unseen(
    model: SequenceModel,
    known: Sequences,
    static: Tensor,
    judge: FrameJudge,
    generator: torch.Generator,
    count: int,
) -> dict[str, float]:
    """Poses that some training identities were never shown in, as `follow` and `hits` measure them.

    known: training sequences whose mask leaves out these frames; all of them are in `frames`. z is that of another training
    identity, which was shown in these poses; f is of the frames that were seen, in `static` (M, D). count: identities, at most.
    """
    receivers = (~known.mask).any(1).nonzero()[:count, 0]
    pairs, steps = [], []
    for b in receivers.tolist():
        at = (~known.mask[b]).nonzero()[:, 0]
        donors = known.mask[:, at].all(1).nonzero()[:, 0]
        pairs.append((int(donors[torch.randint(len(donors), (1,), generator=generator)]), b))
        steps.append(at)
    transferred = transfer(model, known, static, torch.tensor(pairs), steps, judge)
    judged, ranked = follow(transferred, known), hits(transferred)
    figures = {f"unseen_transfer_{name}": judged[name] for name in WORN} | {
        f"unseen_{name}": judged[name] for name in SHOWN
    }
    figures |= {
        f"unseen_pose_top{count}_both": ranked[f"pose_transfer_both_top{count}"] for count in (1, 5)
    }
    return figures | {"unseen_rmse": ranked["pose_transfer_rmse"]}


def grid_points(dynamic: Tensor, side: int) -> Tensor:
    """A regular grid over the middle 95 % of codes (Q, d): (side^2, d), the first unit to the right, the second downwards.

    With more than two units along their two principal directions, all else at its mean.
    """
    count = min(2, dynamic.shape[1])
    mean = dynamic.mean(0)
    axes = torch.eye(count) if dynamic.shape[1] <= 2 else principal_directions(dynamic, 2).vectors
    low, high = torch.quantile((dynamic - mean) @ axes.T, torch.tensor(MIDDLE), dim=0)
    lines = [torch.linspace(float(low[axis]), float(high[axis]), side) for axis in range(count)]
    coordinates = torch.stack(torch.meshgrid(*lines, indexing="xy"), -1).reshape(-1, count)
    return mean + coordinates @ axes


def agreement(judged: Tensor) -> float:
    """Of classes (K, P), K identities at P points of z: the share that names the class most often named at its point."""
    return float(F.one_hot(judged).sum(0).max(1).values.double().mean() / len(judged))


def grid_figures(
    model: SequenceModel,
    static: Tensor,
    regular: Tensor,
    frames_z: Tensor,
    judge: FrameJudge,
    generator: torch.Generator,
) -> dict[str, float]:
    """The paper's figure counted: the same z, for all of `static` (K, D), decoded and judged.

    grid_coherence: the share of identities whose action and direction are those most often seen at their point, mean over the
        points `regular` (P, d). grid_coherence_posterior: the same at `frames_z` (P, d), codes of real frames.
    grid_coherence_chance: the same as the first after each identity's points have been shuffled.
    grid_identity: the share of points of the regular grid at which an identity has the attribute that it has most often,
        mean over attributes and identities; trousers and top where the judge sees a pose that shows them.
    """
    seen = {}
    for name, points in (("regular", regular), ("posterior", frames_z)):
        parts = [
            judged_frames(
                judge, decode(model, part, points.expand(len(part), -1, -1)).flatten(0, 1)
            )
            for part in static.split(4)
        ]
        seen[name] = {
            label: torch.cat([part[label] for part in parts]).unflatten(0, (len(static), -1))
            for label in judge.classes
        }
    motions = {
        name: one["action"] * len(judge.classes["direction"]) + one["direction"]
        for name, one in seen.items()
    }
    order = torch.rand(motions["regular"].shape, generator=generator).argsort(1)
    shown, constant = drawn_in(judge.classes["pose"]), []
    for name in WORN:
        there = shown[name][seen["regular"]["pose"]]
        counts = (F.one_hot(seen["regular"][name]) * there[..., None]).sum(1)
        constant.append((counts.max(1).values / there.sum(1).clamp(min=1))[there.any(1)])
    return {
        "grid_coherence": agreement(motions["regular"]),
        "grid_coherence_posterior": agreement(motions["posterior"]),
        "grid_coherence_chance": agreement(motions["regular"].gather(1, order)),
        "grid_identity": float(torch.cat(constant).double().mean()),
    }
