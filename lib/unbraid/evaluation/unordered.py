"""Paper B's evaluation: the numbers its figures stand for, on identities, digits or pictures that no training has seen.

`evaluate` gives the figures of one model, `protocol` what their names mean, `draw` the paper's figure as a file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from unbraid import judging, plots
from unbraid.data import catalogue
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler, withhold
from unbraid.data.sequences import Sequences
from unbraid.evaluation import poses
from unbraid.evaluation.codes import (
    COUNTS,
    DRAWS,
    NEIGHBOURS,
    accuracy,
    bounds,
    classes_read,
    decode,
    dynamic_given,
    fewest,
    infer,
    of_one,
    readings,
    root_mean_square,
    samples_of,
    told,
)
from unbraid.measures.generation import random_donors
from unbraid.models.interface import SequenceModel

POSES = ("sprites_poses", "drawn_poses")
PATH = 20  # frames of a path of moving digits, and of a character whose dynamic codes are read
SETS = 10  # sets of pictures of each person, test and training
GRID = 8  # points of each axis in the figure


@torch.no_grad()
def evaluate(
    model: SequenceModel, dataset: str, chosen, seed: int, profile: str = "quick"
) -> dict[str, float]:
    """All figures of one model by name; `protocol` says what they are. The model is put into eval mode.

    dataset: "sprites_poses", "drawn_poses", "digits" or "faces". chosen: the settings it was trained with. seed: of all that is
    drawn here. profile: of the judge of poses; where there is none of this profile, the quick one.
    Raises `ValueError` for another dataset, `DataError` and `ResultsError` where data or the judge are missing.
    """
    check(dataset)
    model.eval()
    if dataset in POSES:
        return of_poses(model, dataset, chosen, seed, profile)
    return (of_digits if dataset == "digits" else of_faces)(model, chosen, seed)


def check(dataset: str) -> None:
    """Refuse a dataset that part B is not measured on."""
    if dataset not in (*POSES, "digits", "faces"):
        raise ValueError(
            f"dataset: expected one of {', '.join(POSES)}, digits, faces, found {dataset!r}"
        )


def data_of(dataset: str, split: str, chosen, seed: int = 0) -> Sequences:
    """The sequences that probes learn from ("train", less what was withheld), or that all is measured on ("test")."""
    count = chosen.evaluation_training if split == "train" else chosen.evaluation_sequences
    if dataset == "digits":
        supply = MovingDigits(
            load_digits(split), chosen.image_size, PATH, getattr(chosen, "step", 0.1)
        )
        return supply.batch(count, torch.Generator().manual_seed(2 * seed + (split == "test")))
    known = catalogue.load(dataset, split, image_size=chosen.image_size)
    if dataset not in POSES:
        return known
    if (share := getattr(chosen, "withheld", 0)) and split == "train":
        known = withhold(known, "action", share, seed=0)
    return known.subset(slice(0, count))


def of_poses(
    model: SequenceModel, dataset: str, chosen, seed: int, profile: str
) -> dict[str, float]:
    """Figures of sprites_poses and drawn_poses."""
    train, test = (data_of(dataset, split, chosen) for split in ("train", "test"))
    generator = torch.Generator().manual_seed(20_000 + seed)
    figures = bounds(model, test, chosen, seed)
    of_train, of_test = (
        infer(model, samples_of(sequences, chosen.length, 1, generator)[0].frames)
        for sequences in (train, test)
    )
    learn, tried = (
        samples_of(sequences, PATH, 1, generator)[0] for sequences in (train, test)
    )  # others, whose z are read
    for codes, sample in ((of_train, learn), (of_test, tried)):
        codes["dynamic"] = dynamic_given(model, sample.frames, codes["static"])
    known = [
        {name: sample.labels[name] for name in (*poses.SHOWN, *poses.WORN)}
        for sample in (learn, tried)
    ]
    figures |= classes_read(of_train, of_test, *known, seed)
    own = torch.Generator().manual_seed(
        30_000 + seed
    )  # so that no other figure depends on these draws
    drawn = [
        dynamic_given(model, sample.frames, codes["static"], own)
        for codes, sample in ((of_train, learn), (of_test, tried))
    ]
    figures |= {
        f"dynamic_accuracy_{name}_drawn": told(drawn[0], known[0][name], drawn[1], known[1][name])
        for name in ("pose", *poses.WORN)
    }
    for count in COUNTS:
        static = infer(model, samples_of(test, count, 1, generator)[0].frames)["static"]
        worn = [{name: one[name] for name in poses.WORN} for one in known]
        skills = readings({"static": of_train["static"]}, {"static": static}, *worn, "linear", seed)
        for name in poses.WORN:
            figures[f"static_accuracy_{name}_n{count}"] = accuracy(
                skills["static", name], worn[0][name], worn[1][name]
            )
    of_many, static = static, of_test["static"]
    figures |= {
        "reconstruct_rmse": root_mean_square(
            decode(model, static, of_test["dynamic"]), tried.frames
        )
    }

    judge = judge_of(dataset, profile, test.classes)
    pairs = torch.stack(
        [torch.arange(len(test)), torch.as_tensor(random_donors(len(test), seed))], 1
    )
    transferred = poses.transfer(model, test, static, pairs, judge=judge)
    figures |= poses.hits(transferred)
    for name, found in poses.trivial(test, pairs[: chosen.evaluation_trivial], seed).items():
        figures |= poses.hits(found, f"_{name}")
    figures |= {
        f"transfer_{name}": value for name, value in poses.follow(transferred, test).items()
    }
    better_known = poses.transfer(model, test, of_many, pairs, judge=judge)
    ending = f"_n{COUNTS[-1]}"
    figures |= poses.hits(better_known, ending)
    figures |= {
        f"transfer_{name}{ending}": value
        for name, value in poses.follow(better_known, test).items()
    }

    regular = poses.grid_points(transferred.dynamic, chosen.evaluation_grid)
    some = torch.randperm(len(transferred.dynamic), generator=generator)[: len(regular)]
    identities = static[: chosen.evaluation_identities]
    figures |= poses.grid_figures(
        model, identities, regular, transferred.dynamic[some], judge, generator
    )
    if getattr(chosen, "withheld", 0):
        figures |= poses.unseen(
            model, train, of_train["static"], judge, generator, chosen.evaluation_sequences
        )
    return figures


def judge_of(dataset: str, profile: str, classes: dict[str, tuple[str, ...]]) -> judging.FrameJudge:
    """The judge of poses of this profile, or the quick one, which sees larger frames averaged down to its size."""
    there = (judging.folder_of(dataset, profile) / "judge-seed0.safetensors").exists()
    return judging.judge_of(dataset, profile if there else "quick", classes)


def of_digits(model: SequenceModel, chosen, seed: int) -> dict[str, float]:
    """Figures of unordered moving digits."""
    train, test = (data_of("digits", split, chosen, seed) for split in ("train", "test"))
    generator = torch.Generator().manual_seed(20_000 + seed)
    figures = bounds(model, test, chosen, seed)
    parted = [parts_of(sequences, chosen.length, generator) for sequences in (train, test)]
    of_train, of_test = (infer(model, seen.frames) for seen, _ in parted)
    for codes, (_, others) in zip((of_train, of_test), parted):
        codes["dynamic"] = dynamic_given(model, others.frames, codes["static"])
    digits, places = (
        [{name: others.labels[name] for name in names} for _, others in parted]
        for names in (test.static, test.dynamic)
    )
    found = classes_read(of_train, of_test, *digits, seed)
    for kind in ("static_probe", "dynamic_probe", "static_accuracy", "dynamic_accuracy"):
        figures[f"{kind}_digit"] = sum(found[f"{kind}_{name}"] for name in test.static) / len(
            test.static
        )
    seen = [of_one({name: one.labels[name] for name in test.dynamic}) for one, _ in parted]
    for code, positions, ending in (
        ("static", [of_one(some) for some in places], ""),
        ("static", seen, "_seen"),
        ("dynamic", places, ""),
    ):
        matrix = readings({code: of_train[code]}, {code: of_test[code]}, *positions, seed=seed)
        figures[f"{code}_probe_position{ending}"] = float(matrix.value.mean())
    own = decode(model, of_test["static"], dynamic_given(model, test.frames, of_test["static"]))
    return figures | {"reconstruct_rmse": root_mean_square(own, test.frames)}


def of_faces(model: SequenceModel, chosen, seed: int) -> dict[str, float]:
    """Figures of faces: unseen photographs of people that training knows."""
    train, test = (data_of("faces", split, chosen) for split in ("train", "test"))
    generator = torch.Generator().manual_seed(20_000 + seed)
    figures = bounds(model, test, chosen, seed)
    half = replace(train, mask=halved(train.mask, generator))
    sets = [samples_of(sequences, chosen.length, SETS, generator) for sequences in (half, test)]
    people = [torch.cat([sample.labels["person"] for sample in drawn]) for drawn in sets]
    codes = [
        torch.cat([infer(model, sample.frames)["static"] for sample in drawn]) for drawn in sets
    ]
    pictures = [torch.cat([sample.frames.mean(1).flatten(1) for sample in drawn]) for drawn in sets]
    figures |= {
        "static_person_1nn": nearest(codes, people),
        "pixels_person_1nn_sets": nearest(pictures, people),
    }
    learn, tried = (singles(model, sequences, chosen, generator) for sequences in (train, test))
    gallery = half.mask[train.mask]  # of all single training photographs those of the half
    people = [learn.labels["person"][gallery], tried.labels["person"]]
    figures["static_person_1nn_single"] = nearest(
        [learn.codes["static"][gallery], tried.codes["static"]], people
    )
    figures["pixels_person_1nn"] = nearest(
        [learn.frames[gallery].flatten(1), tried.frames.flatten(1)], people
    )
    figures |= classes_read(learn.codes, tried.codes, learn.labels, tried.labels, seed)
    return figures | {"reconstruct_rmse": root_mean_square(tried.decoded, tried.frames)}


def parts_of(
    sequences: Sequences, count: int, generator: torch.Generator
) -> tuple[Sequences, Sequences]:
    """`count` frames of every sequence, drawn at random, and all its other frames."""
    sampler, rows = FrameSampler(sequences, sequences.length), torch.arange(len(sequences))
    steps = sampler.steps(rows, generator)
    return sampler.take(rows, steps[:, :count]), sampler.take(rows, steps[:, count:])


@dataclass(frozen=True)
class Singles:
    """Photographs one by one (n, C, H, W) with their labels (n,). codes: static (n, D) of the photograph alone, and dynamic
    (n, d) given f of N photographs of the same person and split; decoded (n, C, H, W) are drawn from those two."""

    frames: Tensor
    labels: dict[str, Tensor]
    codes: dict[str, Tensor]
    decoded: Tensor


def singles(
    model: SequenceModel, sequences: Sequences, chosen, generator: torch.Generator
) -> Singles:
    """The observed photographs of all sequences, with their codes."""
    mask = sequences.mask
    frames = sequences.as_float().frames
    labels = {
        name: (one[:, None].expand(mask.shape) if one.ndim == 1 else one)[mask]
        for name, one in sequences.labels.items()
    }
    person = infer(model, samples_of(sequences, chosen.length, 1, generator)[0].frames)["static"]
    dynamic = dynamic_given(model, frames, person)
    codes = {"static": infer(model, frames[mask][:, None])["static"], "dynamic": dynamic[mask]}
    return Singles(frames[mask], labels, codes, decode(model, person, dynamic)[mask])


def halved(mask: Tensor, generator: torch.Generator) -> Tensor:
    """A random half, rounded up, of what is observed in each row of a mask (N, T)."""
    lots = torch.rand(mask.shape, generator=generator).masked_fill(~mask, 2.0)
    return (lots.argsort(1).argsort(1) < ((mask.sum(1) + 1) // 2)[:, None]) & mask


def nearest(vectors: list[Tensor], labels: list[Tensor]) -> float:
    """Accuracy of 1-nearest neighbour by Euclidean distance: the second set's labels told by the first set's vectors (n, D)."""
    found = torch.cdist(vectors[1].double(), vectors[0].double()).argmin(1)
    return float((labels[0][found] == labels[1]).double().mean())


def protocol(dataset: str, chosen) -> dict:
    """What the figures of `evaluate` mean, for metrics.json: the data, sizes, and a sentence on each group of names."""
    check(dataset)
    test = data_of(dataset, "test", chosen)
    told = {
        "data": test.provenance,
        "split": "test",
        "sequences": len(test),
        "frames": min(chosen.length, fewest(test)),
        "bound": f"nats, mean over {DRAWS} samples of N frames of every test sequence, a draw of the codes each; kl_static is of a "
        "sequence, kl_dynamic_per_frame of a frame; _n2 to _n20: f inferred from so many frames",
        "shuffle_change": "largest change of the bound (nats a sequence) and of any unit of the codes when frames change their order, each "
        "keeping its noise, in double precision",
        "probes": "trained on codes of training sequences, scored on test sequences. *_probe_*: the leakage matrix's non-linear probe, as "
        "skill (0 chance, 1 perfect; R^2 of positions). Shares read right: static_accuracy_* by the linear probe, dynamic_accuracy_* by "
        f"{NEIGHBOURS} nearest neighbours. Off f of N frames, factors of frames for one frame; off z frame by frame",
        "reconstruct_rmse": "f of N frames, z of other frames of the same sequence, pixels in [0, 1]",
    }
    return told | {"digits": PROTOCOL_DIGITS, "faces": PROTOCOL_FACES}.get(dataset, PROTOCOL_POSES)


PROTOCOL_DIGITS = {
    "figures": "*_digit: mean of the red and the green digit, chance .1; *_position: mean of both digits, each x and y, of frames that f "
    "has not seen; _seen: of one that it has. The mean of N frames alone tells a part of where those N were, and so of each"
}
PROTOCOL_FACES = {
    "figures": f"*_person_1nn: nearest neighbour, Euclidean, between test photographs and a random half of each person's training ones: "
    f"{SETS} sets of N a person, told by f (static_person_1nn) or by the mean picture (pixels_person_1nn_sets), and single photographs, "
    "told by f of each alone (static_person_1nn_single) or by its pixels (pixels_person_1nn); chance .05. Probes off f: of each photograph "
    "alone; off z: of each photograph given f of N of the same person",
}
PROTOCOL_POSES = {
    "chance": "of accuracies 1/6 for skin, trousers, top and hair; for pose, action and direction that of the commonest",
    "static_accuracy_n": "f of n test frames, read by the probe trained on f of N frames",
    "dynamic_accuracy_drawn": "the same neighbours, of draws of q(z | f, x) instead of its means: what the code itself carries, noise and all",
    "pose_transfer": "z of all frames of a, inferred with a's f, decoded with b's f: is b's true frame the nearest of b's frames, or among "
    "the five nearest (top1, top5); the same among the frames of a and b (both); root mean square error to it. Each test identity once as "
    "a, once as b. Frames as near as the true one do not count against it. _unchanged, _mean, _random: the frame of a, b's mean frame, a "
    "random frame of b instead",
    "transfer": "share of the same frames in which the judge names b's attribute (transfer_leak: a's, where the two differ; one drawn at "
    "random would be a's in .2 of the wrong ones), and a's pose, action, direction; trousers and top without thrust and shoot, trousers "
    "without hurt front 4, where the sheets lack them",
    "grid_coherence": "one z for all identities: share whose judged action and direction are the commonest at this z. Regular grid over "
    "the middle 95 % of the codes of test frames; _posterior: codes of random test frames; _chance: grid shuffled for each identity. "
    "grid_identity: share of the grid where an identity keeps the attribute it is most often judged to have",
    "unseen": "training identities of whom one action was withheld: its frames, with z of another training identity that was shown in "
    "them; ranks and judgements as above",
}


@torch.no_grad()
def draw(model: SequenceModel, dataset: str, path: Path) -> None:
    """The paper's figure as a file: the same grid of z decoded for four test sequences, side by side.

    The grid covers the middle 95 % of the codes of test frames: the first unit to the right, the second downwards.
    """
    check(dataset)
    model.eval()
    size = model.frame_shape[-1]
    chosen = SimpleNamespace(image_size=size, evaluation_sequences=100)
    test = data_of(dataset, "test", chosen)
    sample = samples_of(test, 20, 1, torch.Generator().manual_seed(0))[0]
    codes = infer(model, sample.frames)
    points = poses.grid_points(codes["dynamic"].flatten(0, 1), GRID)
    four = torch.linspace(0, len(test) - 1, 4).long()
    pictures = decode(model, codes["static"][four], points.expand(4, -1, -1))
    plots.use_style()
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.4))
    for ax, frames, row in zip(axes, pictures, four.tolist()):
        ax.imshow(plots.picture(frames, len(frames) // GRID))
        names = (test.classes.get(name, ()) for name in test.static)
        words = [
            names_[int(test.labels[name][row])]
            for name, names_ in zip(test.static, names)
            if names_
        ]
        ax.set(
            xticks=[],
            yticks=[],
            xlabel="z, first unit",
            ylabel="second unit" if ax is axes[0] else "",
            title=", ".join(words),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
