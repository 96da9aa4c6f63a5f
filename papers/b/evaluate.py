"""Paper B: digits whose order is lost, photographs of faces, and characters in all poses."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from unbraid.codes import (
    as_float,
    bound_per_frame,
    concatenate,
    decode_all,
    device_of,
    dynamic_given,
    encode_all,
)
from unbraid.data.sampling import FrameSampler
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES, visible_attributes
from unbraid.measures.judges import FrameJudge, judge_classes
from unbraid.measures.swaps import random_donors
from unbraid.models.unordered import UnorderedFrames
from unbraid_course.lessons.n23 import coherence as share_agreeing
from unbraid_course.lessons.n23 import count_nearer

from papers import encoded
from papers.datasets import load_frames, load_split, make_paths, shortest_length
from papers.encoded import Encoded, Evaluation, Figures, Labels
from papers.intervals import bootstrap_interval
from papers.judge import find_judged, open_judge
from papers.selections import PATH_LENGTH
from papers.settings import RunSettings, at_smoke

BOUND_SAMPLES = 4  # samples of each test sequence behind the bound
CODES = 20_000  # the seed of what is drawn to be encoded, plus the run's
MIDDLE = (0.025, 0.975)  # the grid covers the codes between these quantiles


def draw_frames(sequences: Sequences, count: int, generator: torch.Generator) -> Sequences:
    """`count` observed frames of every sequence, or as many as the shortest has, at random."""
    sampler = FrameSampler(sequences, min(count, shortest_length(sequences)))
    return replace(sampler.each(generator), mask=None)


def unordered_bound(
    model: UnorderedFrames, test: Sequences, settings: RunSettings, seed: int
) -> Figures:
    """The bound and its terms in nats: means over four samples of N frames of every test sequence,
    with one draw of the codes of each. kl_static is of a sequence, kl_dynamic_per_frame of a
    frame."""
    generator = encoded.seeded(10_000 + seed)
    samples = [draw_frames(test, settings.length, generator) for _ in range(BOUND_SAMPLES)]
    return bound_per_frame(model, samples, seed)


@torch.no_grad()
def sampled_poses(model: UnorderedFrames, read: Sequences, judge: FrameJudge, seed: int) -> Figures:
    """sampled_poses: of all poses, the share that the judge names in as many frames, decoded from
    one draw of s for each character and draws of d from p(d | s); a mean over characters. Were all
    poses drawn alike, n of them in n draws, 1 - (1 - 1 / n)^n would be seen: .63."""
    generator, poses = encoded.seeded(60_000 + seed), len(judge.classes["pose"])
    static = encode_all(model, read, generator)["static"]
    prior = model.dynamic_prior(static.to(device_of(model)))
    shape = (len(static), poses, prior.mean.shape[-1])
    noise = torch.randn(shape, generator=generator).to(prior.mean)
    counts = []
    for s, d in zip(static, prior.mean + prior.standard_deviation * noise, strict=True):
        (decoded,) = decode_all(model, {"static": s[None], "dynamic": d[None]})
        counts.append(len(judge_classes(judge, decoded)["pose"].unique()))
    return {"sampled_poses": sum(counts) / len(counts) / poses}


def sharpness(model: UnorderedFrames, test: Sequences, settings: RunSettings, seed: int) -> Figures:
    """How sharp N frames of every test sequence come back from the means of their codes.

    reconstruct_gradient: the mean absolute difference of neighbouring pixels, across and down, of
    all decoded frames divided by that of the true ones: 1 if they are as sharp, less if blurred."""
    frames = draw_frames(test, settings.length, encoded.seeded(50_000 + seed))
    decoded, true = decode_all(model, encode_all(model, frames)), as_float(frames.frames)
    return {"reconstruct_gradient": mean_step(decoded) / mean_step(true)}


def mean_step(frames: Tensor) -> float:
    """The mean absolute difference of neighbouring pixels, across plus down."""
    return sum(float(frames.diff(dim=dim).abs().double().mean()) for dim in (-1, -2))


# ---- moving digits whose order is lost


def evaluate_unordered_digits(model: UnorderedFrames, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model of unordered moving digits, on two planes or grey on one."""
    train_paths, test_paths = (load_paths(settings, split, seed) for split in ("train", "test"))
    generator = encoded.seeded(CODES + seed)
    train, train_seen = encode_paths(model, train_paths, settings.length, generator)
    test, test_seen = encode_paths(model, test_paths, settings.length, generator)

    figures = unordered_bound(model, test_paths, settings, seed)
    return figures | position_probes(train, test, train_seen, test_seen, seed)


def load_paths(settings: RunSettings, split: str, seed: int) -> Sequences:
    """Paths of moving digits, all frames in their order; grey with one channel."""
    paths, count = make_paths(settings, split), encoded.count_evaluated(settings, split)
    return paths(count, encoded.seeded(2 * seed + (split == "test")))


def encode_paths(
    model: UnorderedFrames, paths: Sequences, count: int, generator: torch.Generator
) -> tuple[Encoded, Labels]:
    """s of `count` frames of each path, d and labels of all others, and labels of those seen."""
    sampler = FrameSampler(paths, PATH_LENGTH)
    rows = torch.arange(len(paths))
    steps = sampler.steps(rows, generator)
    seen = sampler.take(rows, steps[:, :count])
    others = sampler.take(rows, steps[:, count:])
    static = encode_all(model, seen)["static"]
    codes = {"static": static, "dynamic": dynamic_given(model, others.frames, static)}
    return Encoded(others, codes, others.labels), seen.labels


def position_probes(
    train: Encoded, test: Encoded, train_seen: Labels, test_seen: Labels, seed: int
) -> Figures:
    """R^2 of a non-linear probe, trained on codes of training paths, of the digits' positions.

    Means over both digits, x and y, in frames that s has not seen; _seen: in one that it has.
    """
    labels = [train.labels, test.labels]
    read = {
        "static_probe_position": map(encoded.at_first_step, labels),
        "static_probe_position_seen": map(encoded.at_first_step, (train_seen, test_seen)),
        "dynamic_probe_position": labels,
    }
    figures = {}
    for figure, known in read.items():
        code = figure.partition("_")[0]
        before, after = ({code: part.codes[code]} for part in (train, test))
        told, asked = (encoded.select(of_split, test.sequences.dynamic) for of_split in known)
        figures[figure] = float(encoded.probe(before, after, told, asked, seed=seed).value.mean())
    return figures


# ---- faces


def evaluate_faces(model: UnorderedFrames, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model of faces: unseen photographs of people whom training knows."""
    return unordered_bound(model, load_split(settings, "test", seed), settings, seed)


# ---- characters: the identity comes from one, the pose from another. The paper shows such pictures
# and counts nothing. Here each is compared with the true frame, and a judge names what it sees.


def evaluate_characters(model: UnorderedFrames, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model of characters in all poses."""
    test, generator = load_characters(settings, "test", seed), encoded.seeded(CODES + seed)
    # results/ was drawn after frames of as many as probes would learn from
    trained_on = encoded.count_evaluated(settings, "train")
    torch.rand(trained_on, test.length, generator=generator)
    read = draw_frames(test, settings.length, generator)
    static = encode_all(model, read)["static"]
    torch.rand(trained_on + 5 * len(test), test.length, generator=generator)  # as above

    judge = open_judge(*find_judged(settings), classes=test.classes)
    donors = torch.as_tensor(random_donors(len(test), seed))
    pairs = torch.stack([torch.arange(len(test)), donors], 1)  # of the pose, of the identity
    transferred = transfer(model, test, static, pairs, judge)
    count, points = at_smoke(settings, 10, 100), at_smoke(settings, 4, 12)  # a side of the grid
    identities = static[:count]
    worn = {name: test.labels[name][: len(identities)] for name in ATTRIBUTES}
    figures = unordered_bound(model, test, settings, seed)
    figures |= sharpness(model, test, settings, seed)
    some = read.subset(slice(0, count))
    figures |= sampled_poses(model, some, judge, seed)
    figures |= transfers(transferred, test)
    figures |= repainted_transfers(test, read, pairs)
    grid = transferred.dynamic, points, judge, worn, generator
    return figures | coherence(model, identities, *grid)


def load_characters(settings: RunSettings, split: str, seed: int) -> Sequences:
    """The characters of a split; those of training lack the frames that were withheld."""
    return load_frames(settings, split).subset(slice(0, encoded.count_evaluated(settings, split)))


# ---- pose transfer


@dataclass(frozen=True)
class Transfer:
    """Q frames decoded from the pose of a and the identity of b.

    hits: whether b's true frame (Q,) is the nearest to what is decoded, of the frames of b
    ("top1"), and of those of a and b ("both_top1").
    """

    rows: Tensor  # (Q, 2) the numbers of a and of b among the sequences
    steps: Tensor  # (Q,) the number of a's frame
    dynamic: Tensor  # (Q, d) the codes of a's frames
    hits: dict[str, Tensor]
    judged: dict[str, Tensor]  # classes (Q,) that the judge names


@torch.no_grad()
def transfer(
    model: UnorderedFrames, sequences: Sequences, static: Tensor, pairs: Tensor, judge: FrameJudge
) -> Transfer:
    """Decode d of all of a's frames, inferred given a's s, together with b's s.

    static: the codes s of all sequences, (M, D). pairs: the numbers of a and of b, (P, 2).
    """
    parts, steps = [], torch.arange(sequences.length)
    for number, (a, b) in enumerate(pairs.tolist()):
        frames_a, frames_b = as_float(sequences.frames[[a, b]])
        dynamic = dynamic_given(model, frames_a[None], static[a : a + 1])
        decoded = decode_all(model, {"static": static[b : b + 1], "dynamic": dynamic})[0]
        hits = {}
        for name, among in (("top1", frames_b), ("both_top1", torch.cat([frames_b, frames_a]))):
            hits[name] = count_nearer(decoded, steps, among) == 0
        rows = pairs[number].expand(len(steps), 2)
        codes = {"rows": rows, "steps": steps, "dynamic": dynamic[0]}
        parts.append((codes, hits, judge_classes(judge, decoded)))
    codes, hits, judged = (concatenate(of) for of in zip(*parts, strict=True))
    return Transfer(**codes, hits=hits, judged=judged)


def transfers(transferred: Transfer, test: Sequences) -> Figures:
    """pose_transfer_top1, pose_transfer_both_top1: shares of hits. transfer_<attribute>: share in
    which the judge names b's, where the sheets have it."""
    figures = {}
    for name, hits in transferred.hits.items():
        figures[f"pose_transfer_{name}"] = float(hits.double().mean())
    (a, b), labels = transferred.rows.T, test.labels
    pose = labels["pose"][a, transferred.steps]
    for name, is_visible in visible_attributes(test.classes["pose"]).items():
        right = transferred.judged[name] == labels[name][b]
        figures[f"transfer_{name}"] = float(right[is_visible[pose]].double().mean())
    return figures


def repainted_transfers(test: Sequences, read: Sequences, pairs: Tensor) -> Figures:
    """pose_transfer_both_top1_repainted: as of a model, of a rule without a network. A frame of a
    minus the mean of the frames that are read of a, plus that of b. _low and _high: limits of its
    interval, by a bootstrap of the pairs (P, 2)."""
    truth, shares = torch.arange(test.length), []
    means = as_float(read.frames).mean(1)  # (M, C, H, W)
    for a, b in pairs.tolist():
        frames_a, frames_b = as_float(test.frames[[a, b]])
        made = frames_a - means[a] + means[b]
        hits = count_nearer(made, truth, torch.cat([frames_b, frames_a])) == 0
        shares.append(hits.double().mean())
    by_pair = torch.stack(shares).numpy()
    found = bootstrap_interval(lambda rows: float(by_pair[rows].mean()), len(by_pair))
    name = "pose_transfer_both_top1_repainted"
    return {name: found.mean, f"{name}_low": found.low, f"{name}_high": found.high}


# ---- grids


def coherence(
    model: UnorderedFrames,
    static: Tensor,
    codes: Tensor,
    points: int,
    judge: FrameJudge,
    worn: Labels,
    generator: torch.Generator,
) -> Figures:
    """grid_coherence: one d for all identities, share whose judged action and direction are the
    commonest at this d, on a regular grid over the middle 95 % of the codes of test frames.
    grid_pose_coherence: the same of the judged pose. _chance: the grid shuffled for each identity.
    grid_skin, grid_trousers: share of the grid in which the judge names what the identity wears,
    `worn` (K,) by attribute, in all poses that it judges to have it; 1 / 6 by chance. Left out if
    the grid has no such pose."""
    judged = judge_grids(model, static, grid_points(codes, points), judge)
    torch.randperm(len(codes), generator=generator)  # results/ was drawn after it
    motions = judged["action"] * len(judge.classes["direction"]) + judged["direction"]
    order = torch.rand(motions.shape, generator=generator).argsort(1)
    figures = {}
    for name, classes in (("grid", motions), ("grid_pose", judged["pose"])):
        figures[f"{name}_coherence"] = share_agreeing(classes.numpy())
        figures[f"{name}_coherence_chance"] = share_agreeing(classes.gather(1, order).numpy())
    visible = visible_attributes(judge.classes["pose"])
    for name in ("skin", "trousers"):
        is_visible = visible[name]
        if len(right := (judged[name] == worn[name][:, None])[is_visible[judged["pose"]]]):
            figures[f"grid_{name}"] = float(right.double().mean())
    return figures


def grid_points(codes: Tensor, side: int) -> Tensor:
    """Points (side^2, 2) over the middle 95 % of codes (Q, 2); the first unit varies fastest."""
    mean = codes.mean(0)
    low, high = torch.quantile(codes - mean, torch.tensor(MIDDLE), dim=0).tolist()
    lines = [torch.linspace(*ends, side) for ends in zip(low, high, strict=True)]
    return mean + torch.stack(torch.meshgrid(*lines, indexing="xy"), -1).reshape(-1, 2)


def judge_grids(
    model: UnorderedFrames, static: Tensor, points: Tensor, judge: FrameJudge
) -> Labels:
    """The judged classes (K, P), by label, of each s (K, D) decoded at each d (P, d)."""
    parts = []
    for part in static.split(4):
        grids = points.expand(len(part), -1, -1)
        decoded = decode_all(model, {"static": part, "dynamic": grids})
        judged = judge_classes(judge, decoded.flatten(0, 1))
        parts.append({name: classes.view(len(part), -1) for name, classes in judged.items()})
    return concatenate(parts)


DIGITS = Evaluation(evaluate_unordered_digits, load_paths)
FACES = Evaluation(evaluate_faces, load_split)
CHARACTERS = Evaluation(evaluate_characters, load_characters)
EVALUATIONS = {"digits": DIGITS, "grey_digits": DIGITS, "faces": FACES, "sprites_poses": CHARACTERS}
