"""Trains the judge of a dataset, measures how far it is to be trusted, and ships both: `python -m unbraid judge`.

results/judges/<dataset>/<profile>/judge-seed<seed>.{safetensors,run.json,training.csv}, metrics.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from unbraid import results, settings, training
from unbraid.data import catalogue, sources
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.measures.generation import generation_scores
from unbraid.measures.judges import (
    FrameJudge,
    SequenceJudge,
    blurred,
    fit_judge,
    load_judge,
    noisy,
    reliability,
    save_judge,
)

WORN = ("skin", "trousers", "top", "hair")
JUDGED = {  # each judge, its settings, what it is asked; a clip's motion is its action and direction in one, as the papers have it
    "sprites": (SequenceJudge, "judge", ("motion", *WORN)),
    "drawn_sprites": (SequenceJudge, "judge", ("motion", *WORN)),
    "sprites_poses": (FrameJudge, "judge.poses", ("pose", "action", "direction", *WORN)),
    "drawn_poses": (FrameJudge, "judge.poses.drawn", ("pose", "action", "direction", *WORN)),
    "digits": (FrameJudge, "judge.digits", ("red_digit", "green_digit")),
    "faces": (FrameJudge, "judge.faces", ("person",)),
}
TEST_DIGITS = 2000  # frames of moving digits that the judge of digits is tried on
TEST_FRAMES = 10_000  # frames of a larger test set, drawn at random, that its judge is tried on


@dataclass(frozen=True)
class Examples:
    """What a judge learns from or is tried on: all frames or clips with their labels, or an endless supply of them.

    draw(count, generator): frames as floats in [0, 1], and labels by name. classes: names of each label's classes.
    """

    draw: Callable[[int, torch.Generator], tuple[Tensor, Mapping[str, Tensor]]]
    classes: dict[str, tuple[str, ...]]
    provenance: str
    folders: tuple[str, ...]
    frames: Tensor | None = None
    labels: dict[str, Tensor] | None = None


def settings_of(dataset: str, profile: str | None = None) -> settings.Settings:
    """The settings of a dataset's judge. Raises `ValueError` for a dataset without one."""
    if dataset not in JUDGED:
        raise ValueError(f"dataset: expected one of {', '.join(JUDGED)}, found {dataset!r}")
    return settings.load(JUDGED[dataset][1], profile)


def examples(dataset: str, split: str, chosen) -> Examples:
    """The real examples of a judge. Sprites: clips; poses and faces: single frames; digits: single frames of moving digits."""
    kind, _, names = JUDGED[dataset]
    if dataset == "digits":
        supply = MovingDigits(load_digits(split), chosen.image_size, length=1)
        classes = dict.fromkeys(names, tuple(map(str, range(10))))
        provenance = f"single frames of moving digits {chosen.image_size} x {chosen.image_size}, {supply.digits.provenance}"

        def draw(count: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            batch = supply.batch(count, generator)
            return batch.frames[:, 0], {name: batch.labels[name] for name in names}

        frames, labels = (
            draw(TEST_DIGITS, torch.Generator().manual_seed(1)) if split == "test" else (None, None)
        )
        return Examples(draw, classes, provenance, (supply.digits.source,), frames, labels)
    known = catalogue.load(dataset, split, image_size=chosen.image_size)
    classes = {name: known.classes[name] for name in names}
    if kind is FrameJudge:  # each frame by itself, with the static labels of its sequence
        observed = (
            torch.ones(known.frames.shape[:2], dtype=torch.bool)
            if known.mask is None
            else known.mask
        )
        places = observed.nonzero()
    else:
        places = torch.arange(len(known))[:, None]

    def take(some: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        at = tuple(some.T)
        return known.frames[at], {
            name: known.labels[name][at if name in known.dynamic else at[0]] for name in names
        }

    def draw(count: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        frames, labels = take(places[torch.randint(len(places), (count,), generator=generator)])
        return frames.float() / 255, labels

    frames, labels = None, None
    if split == "test":
        if len(places) > TEST_FRAMES:
            places = places[
                torch.randperm(len(places), generator=torch.Generator().manual_seed(1))[
                    :TEST_FRAMES
                ]
            ]
        frames, labels = take(places)
    return Examples(
        draw, classes, known.provenance, catalogue.dataset(dataset).folders, frames, labels
    )


def folder_of(dataset: str, profile: str, folder: Path | None = None) -> Path:
    """Where the judge of a dataset lies."""
    return (folder or results.shipped()) / "judges" / dataset / profile


def judge_of(
    dataset: str,
    profile: str = "quick",
    classes: Mapping[str, tuple[str, ...]] | None = None,
    folder: Path | None = None,
) -> FrameJudge:
    """The trained judge of a dataset; with `classes`, those of the data it is to judge, refused if they differ."""
    return load_judge(folder_of(dataset, profile, folder) / "judge-seed0.safetensors", classes)


def train_judge(
    dataset: str,
    profile: str,
    folder: Path,
    seed: int = 0,
    report: Callable[[dict], None] | None = None,
) -> FrameJudge:
    """Train a judge on the training split, and write its weights, record and curve; returns the judge that was written."""
    chosen = settings_of(dataset, profile)
    learn, kind = examples(dataset, "train", chosen), JUDGED[dataset][0]
    torch.manual_seed(seed)
    channels = learn.draw(1, torch.Generator().manual_seed(0))[0].shape[-3]
    judge = kind(
        learn.classes, chosen.image_size, channels, chosen.width, chosen.features, chosen.hidden
    )
    every = max(1, chosen.steps // 40)

    def draw(count: int, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        frames, labels = learn.draw(count, generator)
        return roughened(frames, chosen.roughened, generator), labels

    rows = fit_judge(
        judge, draw, chosen.steps, chosen.batch_size, chosen.learning_rate, seed, every, report
    )
    path = folder_of(dataset, chosen.profile, folder) / f"judge-seed{seed}.safetensors"
    digests = {
        f"digests/{name}.txt": results.digest(
            Path(sources.__file__).parent / "digests" / f"{name}.txt"
        )
        for name in learn.folders
    }
    command = f"python -m unbraid judge {dataset} --profile {chosen.profile} --seed {seed}"
    results.write_csv(path.with_name(f"judge-seed{seed}.training.csv"), rows)
    save_judge(
        judge,
        path,
        training.run_record(command, chosen, seed, rows, "32-true", learn.provenance, digests, ""),
    )
    return load_judge(path)


def roughened(frames: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The last `share` of a batch (N, ...) blurred, by a Gaussian of .3 to 1 pixel, and with noise of deviation 0 to .1, the rest as it is.

    What decoders draw is softer than any real frame. A judge that never saw a soft one names blurred attributes no better than
    by chance, and a model would be blamed for it.
    """
    kept = len(frames) - round(share * len(frames))
    if kept == len(frames):
        return frames
    sigma, deviation = torch.rand(2, generator=generator).tolist()
    rough = noisy(blurred(frames[kept:], 0.3 + 0.7 * sigma), 0.1 * deviation, generator)
    return torch.cat([frames[:kept], rough])


def trust(judge: FrameJudge, dataset: str, profile: str, seed: int = 0) -> dict:
    """How far a judge is to be trusted, in the one form of metrics.json, on the test split.

    <condition>_<label>: accuracy on test examples as they are (real), blurred, shifted and noisy, with Wilson's interval.
    inception_score_<label> and conditional_entropy_<label> (nats) on real ones: what no model can be expected to beat. Not
        for labels of which some class is not in the test set, as of the poses of drawn characters.
    """
    test = examples(dataset, "test", settings_of(dataset, profile))
    frames = test.frames.float() / 255 if test.frames.dtype == torch.uint8 else test.frames
    found = reliability(judge, frames, test.labels, seed=seed)
    cells = {
        f"{condition}_{label}": cell
        for condition, row in found.accuracy.items()
        for label, cell in row.items()
    }
    for label, probabilities in judge.probabilities(frames).items():
        if len(test.labels[label].unique()) < len(judge.classes[label]):
            continue
        scores = generation_scores(probabilities, test.labels[label])
        cells |= {
            f"inception_score_{label}": scores.inception_score,
            f"conditional_entropy_{label}": scores.conditional_entropy,
        }
    protocol = {
        "data": test.provenance,
        "split": "test",
        "seeds": [seed],
        "examples": found.clips,
        "conditions": found.conditions,
        "intervals": "95 %, over test examples: Wilson's for accuracies, bootstrap for scores",
        "versions": training.versions(),
    }
    return {
        "judge": {
            **{name: cell.mean for name, cell in cells.items()},
            "by_seed": {name: [cell.mean] for name, cell in cells.items()},
            "intervals": {name: [cell.low, cell.high] for name, cell in cells.items()},
        },
        "protocol": protocol,
    }
