"""Paper B on characters: the identity comes from one character, the pose from another.

The paper shows such pictures and counts nothing. Here each is compared with the true frame that it
should be, and a judge, trained on real frames alone, names who and which pose it sees.
"""

from __future__ import annotations

from collections.abc import Sequence as ListOf
from dataclasses import dataclass

import torch
from torch import Tensor
from unbraid.codes import dynamic_given
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import visible_attributes
from unbraid.interventions import grid_points
from unbraid.measures.intervals import bootstrap_interval
from unbraid.measures.judges import FrameJudge, judge_classes
from unbraid.measures.swaps import agreement, random_donors
from unbraid.models.unordered import UnorderedFrames

from papers.evaluation import common
from papers.evaluation.common import ATTRIBUTES, Evaluation, Examined, Figures
from papers.evaluation.unordered import (
    accuracy_from_skill,
    class_probes,
    draw_frames,
    knn_accuracy,
    prior_from_average,
    unordered_bound,
)
from papers.experiments import load_frames, open_judge

READ_FRAMES = 20  # frames of each character whose z the probes read
DYNAMIC_LABELS = ("pose", "action", "direction")
FRAME_COUNTS = (2, 5, 10, 20)  # numbers of frames, beside that of training, that f is inferred from
TIE = 1e-4  # squared distances that differ by less count as equal


@dataclass(frozen=True)
class Transfer:
    """Q frames decoded from the pose of a and the identity of b."""

    rows: Tensor  # (Q, 2) the numbers of a and of b among the sequences
    steps: Tensor  # (Q,) the number of a's frame
    rank: Tensor  # (Q,) how many of b's frames are nearer than the true one
    rank_both: Tensor  # (Q,) how many of a's and b's
    unchanged: Tensor  # (Q,) the same two for a's frame, left as it is
    unchanged_both: Tensor
    repainted: Tensor  # (Q,) the same two for a's frame, repainted by `repaint`
    repainted_both: Tensor
    error: Tensor  # (Q,) the mean squared difference from the true frame
    dynamic: Tensor  # (Q, d) the codes of a's frames
    judged: dict[str, Tensor]  # classes (Q,) that the judge names; empty without a judge


@torch.no_grad()
def transfer(
    model: UnorderedFrames,
    sequences: Sequences,
    static: Tensor,
    pairs: Tensor,
    steps: ListOf[Tensor] | None = None,
    judge: FrameJudge | None = None,
) -> Transfer:
    """Decode z of a's frames, inferred given a's f, together with b's f.

    static: the codes f of all sequences, (M, D). pairs: the numbers of a and of b, (P, 2).
    steps: for each pair the numbers of the frames; by default all frames.
    """
    parts = []
    for number, (a, b) in enumerate(pairs.tolist()):
        frames_a, frames_b = common.as_float(sequences.frames[[a, b]])
        chosen = torch.arange(sequences.length) if steps is None else steps[number]
        dynamic = dynamic_given(model, frames_a[chosen][None], static[a : a + 1])
        codes = {"static": static[b : b + 1], "dynamic": dynamic}
        decoded, left = common.decode_all(model, codes)[0], frames_a[chosen]
        frames_both = torch.cat([frames_b, frames_a])
        painted = repaint(frames_a, frames_b)[chosen]
        part = {
            "rows": pairs[number].expand(len(chosen), 2),
            "steps": chosen,
            "rank": count_nearer(decoded, chosen, frames_b),
            "rank_both": count_nearer(decoded, chosen, frames_both),
            "unchanged": count_nearer(left, chosen, frames_b),
            "unchanged_both": count_nearer(left, chosen, frames_both),
            "repainted": count_nearer(painted, chosen, frames_b),
            "repainted_both": count_nearer(painted, chosen, frames_both),
            "error": (decoded - frames_b[chosen]).square().flatten(1).mean(1),
            "dynamic": dynamic[0],
        }
        judged = judge_classes(judge, decoded) if judge else {}
        parts.append((part, judged))
    whole, judged = (common.concatenate(of) for of in zip(*parts, strict=True))
    return Transfer(judged=judged, **whole)


def repaint(frames_a: Tensor, frames_b: Tensor) -> Tensor:
    """Frames of a less their mean, plus the mean of b's frames: a transfer without a model.

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
    """The figures of `transfers` that need no judge; limits of a bootstrap over pairs."""
    figures = {"pose_transfer_rmse": float(transferred.error.double().mean().sqrt())}
    ranks = {
        "": (transferred.rank, transferred.unchanged, transferred.repainted),
        "both_": (
            transferred.rank_both,
            transferred.unchanged_both,
            transferred.repainted_both,
        ),
    }
    for name, (rank, unchanged, repainted) in ranks.items():
        for count in (1, 5):
            figures[f"pose_transfer_{name}top{count}"] = float((rank < count).double().mean())
        figures[f"unchanged_{name}top1"] = float((unchanged < 1).double().mean())
        gain = (rank < 1).double() - (unchanged < 1).double()
        interval = bootstrap_interval(gain, clusters=transferred.rows[:, 1], unit="pair")
        figures[f"pose_transfer_{name}gain"] = float(interval.mean)
        figures[f"pose_transfer_{name}gain_low"] = float(interval.low)
        figures[f"pose_transfer_{name}gain_high"] = float(interval.high)
        hits = float((repainted < 1).double().mean())
        figures[f"repainted_{name}top1"] = hits
        figures[f"repainted_{name}gain"] = figures[f"pose_transfer_{name}top1"] - hits
    return figures


def judge_scores(transferred: Transfer, sequences: Sequences) -> Figures:
    """Shares of the frames in which the judge names a's or b's class.

    <attribute>: b's, in poses that show it. leak_<attribute>: a's, where the two differ. pose,
    action, direction: a's.
    """
    visible = visible_attributes(sequences.classes["pose"])
    (a, b), labels = transferred.rows.T, sequences.labels
    pose = labels["pose"][a, transferred.steps]
    figures = {}
    for name in ATTRIBUTES:
        shown, judged, values = visible[name][pose], transferred.judged[name], labels[name]
        differ = shown & (values[a] != values[b])
        figures[name] = float((judged == values[b])[shown].double().mean())
        figures[f"leak_{name}"] = float((judged == values[a])[differ].double().mean())
    for name in DYNAMIC_LABELS:
        right = transferred.judged[name] == labels[name][a, transferred.steps]
        figures[name] = float(right.double().mean())
    return figures


def withheld_scores(
    model: UnorderedFrames,
    sequences: Sequences,
    static: Tensor,
    judge: FrameJudge,
    generator: torch.Generator,
    count: int,
) -> Figures:
    """Scores of transfers to poses in which training never showed some identities.

    sequences: of training, whose mask leaves these frames out; z comes from an identity that was
    shown in them. static: the codes f of the frames shown, (M, D). count: of identities, at most.
    """
    receivers = (~sequences.mask).any(1).nonzero()[:count, 0]
    pairs, steps = [], []
    for b in receivers.tolist():
        hidden = (~sequences.mask[b]).nonzero()[:, 0]
        donors = sequences.mask[:, hidden].all(1).nonzero()[:, 0]
        a = donors[torch.randint(len(donors), (1,), generator=generator)]
        pairs.append((int(a), b))
        steps.append(hidden)
    transferred = transfer(model, sequences, static, torch.tensor(pairs), steps, judge)
    judged, ranked = judge_scores(transferred, sequences), retrieval_scores(transferred)
    figures = {f"unseen_transfer_{name}": judged[name] for name in ATTRIBUTES}
    figures |= {f"unseen_{name}": judged[name] for name in DYNAMIC_LABELS}
    for count in (1, 5):
        figures[f"unseen_pose_top{count}_both"] = ranked[f"pose_transfer_both_top{count}"]
    return figures | {"unseen_rmse": ranked["pose_transfer_rmse"]}


def judge_motions(
    model: UnorderedFrames, static: Tensor, points: Tensor, judge: FrameJudge
) -> Tensor:
    """The action and direction, as one number (K, P), of each f (K, D) decoded at each z (P, d)."""
    motions = []
    for part in static.split(4):
        grids = points.expand(len(part), -1, -1)
        decoded = common.decode_all(model, {"static": part, "dynamic": grids}).flatten(0, 1)
        classes = judge_classes(judge, decoded)
        motion = classes["action"] * len(judge.classes["direction"]) + classes["direction"]
        motions.append(motion.view(len(part), -1))
    return torch.cat(motions)


# ---- the measures


def load_characters(settings, split: str, seed: int) -> Sequences:
    """The characters of a split; those of training lack the frames that were withheld."""
    count = settings.evaluation_training if split == "train" else settings.evaluation_sequences
    return load_frames(settings, split).subset(slice(0, count))


def examine_drawn(model: UnorderedFrames, settings, seed: int, load) -> Examined:
    """Codes f of N frames of each character, and z and labels of random frames given that f."""
    examined = common.prepare(model, settings, seed, load)
    generator, names = examined.generator, (*DYNAMIC_LABELS, *ATTRIBUTES)
    splits = {"train": examined.train, "test": examined.test}
    seen = [draw_frames(of, settings.length, generator) for of in splits.values()]
    samples = [draw_frames(of, READ_FRAMES, generator) for of in splits.values()]
    for split, first, sample in zip(splits, seen, samples, strict=True):
        static = common.encode_all(model, first)["static"]
        codes = {"static": static, "dynamic": dynamic_given(model, sample.frames, static)}
        labels = {name: sample.labels[name] for name in names}
        examined.add(split, codes=codes, labels=labels, sample=sample)
    return examined


def examine_characters(model: UnorderedFrames, settings, seed: int, load) -> Examined:
    """As `examine_drawn`, with transfers in which each test identity is once a and once b."""
    examined = examine_drawn(model, settings, seed, load)
    examined.judge = open_judge(settings.dataset, settings.profile, examined.test.classes)
    donors = torch.as_tensor(random_donors(len(examined.test), seed))
    pairs = torch.stack([torch.arange(len(donors)), donors], 1)
    examined.transferred = transfer(
        model, examined.test, examined.test_codes["static"], pairs, judge=examined.judge
    )
    return examined


def drawn_probes(examined: Examined) -> Figures:
    """dynamic_accuracy_skin_drawn: the same neighbours, of draws of q(z | f, x) instead of its
    means: what the code itself carries, noise and all."""
    generator = torch.Generator().manual_seed(30_000 + examined.seed)
    draws = []
    for codes, sample in (
        (examined.train_codes, examined.train_sample),
        (examined.test_codes, examined.test_sample),
    ):
        draws.append(dynamic_given(examined.model, sample.frames, codes["static"], generator))
    train, test = examined.train_labels["skin"], examined.test_labels["skin"]
    return {"dynamic_accuracy_skin_drawn": knn_accuracy(draws[0], train, draws[1], test)}


def frame_counts(examined: Examined) -> Figures:
    """static_accuracy_*_n<count>: f of so many test frames, read by the linear probe that was
    trained on f of N frames."""
    figures, train = {}, {"static": examined.train_codes["static"]}
    train_labels = {name: examined.train_labels[name] for name in ATTRIBUTES}
    test_labels = {name: examined.test_labels[name] for name in ATTRIBUTES}
    for count in FRAME_COUNTS:
        sample = draw_frames(examined.test, count, examined.generator)
        test = {"static": common.encode_all(examined.model, sample)["static"]}
        skills = common.probe(train, test, train_labels, test_labels, "linear", examined.seed)
        for name in ATTRIBUTES:
            figures[f"static_accuracy_{name}_n{count}"] = accuracy_from_skill(
                skills["static", name], train_labels[name], test_labels[name]
            )
    return figures


def pose_reconstruction(examined: Examined) -> Figures:
    """reconstruct_rmse: f of N frames, z of random ones of the same sequence; pixels in [0, 1]."""
    decoded = common.decode_all(examined.model, examined.test_codes)
    return {"reconstruct_rmse": common.root_mean_square(decoded, examined.test_sample.frames)}


def transfers(examined: Examined) -> Figures:
    """z of all frames of a, inferred with a's f, decoded with b's f. pose_transfer_*: is b's true
    frame the nearest of b's frames, or among the five nearest (top1, top5); the same among the
    frames of a and b (both); root mean square error to it. unchanged_*: the same for a's frame left
    as it is, and pose_transfer_*gain the difference, with its limits. repainted_*: the same for
    a's frame less the mean of all frames of a, plus that of b; repainted_*gain: the transfer less
    it. transfer_*: share in which the judge names b's attribute (transfer_leak: a's, where the two
    differ), and a's pose, action and direction; trousers and top where the sheets have them."""
    judged = judge_scores(examined.transferred, examined.test)
    figures = {f"transfer_{name}": value for name, value in judged.items()}
    return retrieval_scores(examined.transferred) | figures


def coherence(examined: Examined) -> Figures:
    """grid_coherence: one z for all identities, share whose judged action and direction are the
    commonest at this z, on a regular grid over the middle 95 % of the codes of test frames.
    _posterior: at codes of random test frames; _chance: the grid shuffled for each identity."""
    settings, generator = examined.settings, examined.generator
    static = examined.test_codes["static"][: settings.evaluation_identities]
    codes = examined.transferred.dynamic
    regular = grid_points(codes, settings.evaluation_grid)
    frames_z = codes[torch.randperm(len(codes), generator=generator)[: len(regular)]]
    motions = judge_motions(examined.model, static, regular, examined.judge)
    posterior = judge_motions(examined.model, static, frames_z, examined.judge)
    order = torch.rand(motions.shape, generator=generator).argsort(1)
    return {
        "grid_coherence": agreement(motions),
        "grid_coherence_posterior": agreement(posterior),
        "grid_coherence_chance": agreement(motions.gather(1, order)),
    }


def withheld(examined: Examined) -> Figures:
    """unseen_*: training identities of whom one action was withheld: its frames, with z of another
    training identity that was shown in them; ranks and judgements as for other transfers."""
    if not examined.settings.withheld:
        return {}
    static, count = examined.train_codes["static"], examined.settings.evaluation_sequences
    others = examined.judge, examined.generator, count
    return withheld_scores(examined.model, examined.train, static, *others)


CHARACTERS = Evaluation(
    load_characters,
    examine_characters,
    (
        unordered_bound,
        prior_from_average,
        class_probes,
        drawn_probes,
        frame_counts,
        pose_reconstruction,
        transfers,
        coherence,
        withheld,
    ),
)
FACING = Evaluation(
    load_characters,
    examine_drawn,
    (unordered_bound, prior_from_average, class_probes, pose_reconstruction),
)
