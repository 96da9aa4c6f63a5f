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
from unbraid.measures.judges import FrameJudge, SequenceJudge, fit_judge, load_judge, reliability, save_judge

WORN = ("skin", "trousers", "top", "hair")
JUDGED = {  # each judge, its settings, what it is asked; a clip's motion is its action and direction in one, as the papers have it
    "sprites": (SequenceJudge, "judge", ("motion", *WORN)),
    "drawn_sprites": (SequenceJudge, "judge", ("motion", *WORN)),
    "digits": (FrameJudge, "judge.digits", ("red_digit", "green_digit")),
    "faces": (FrameJudge, "judge.faces", ("person",)),
}
TEST_DIGITS = 2000  # frames of moving digits that the judge of digits is tried on


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
    """The real examples of a judge. Sprites: clips; faces: single photographs; digits: single frames of moving digits."""
    kind, _, names = JUDGED[dataset]
    if dataset == "digits":
        supply = MovingDigits(load_digits(split), chosen.image_size, length=1)
        classes = dict.fromkeys(names, tuple(map(str, range(10))))
        provenance = f"single frames of moving digits {chosen.image_size} x {chosen.image_size}, {supply.digits.provenance}"

        def draw(count: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
            batch = supply.batch(count, generator)
            return batch.frames[:, 0], {name: batch.labels[name] for name in names}

        frames, labels = draw(TEST_DIGITS, torch.Generator().manual_seed(1)) if split == "test" else (None, None)
        return Examples(draw, classes, provenance, (supply.digits.source,), frames, labels)
    known = catalogue.load(dataset, split, image_size=chosen.image_size)
    classes = {name: known.classes[name] for name in names}
    frames, labels = known.frames, {name: known.labels[name] for name in names}
    if kind is FrameJudge:  # each photograph by itself, with the label of its sequence
        labels = {name: values[:, None].expand(frames.shape[:2])[known.mask] for name, values in labels.items()}
        frames = frames[known.mask]

    def draw(count: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        chosen_rows = torch.randint(len(frames), (count,), generator=generator)
        return frames[chosen_rows].float() / 255, {name: values[chosen_rows] for name, values in labels.items()}

    return Examples(draw, classes, known.provenance, catalogue.dataset(dataset).folders, frames, labels)


def folder_of(dataset: str, profile: str, folder: Path | None = None) -> Path:
    """Where the judge of a dataset lies."""
    return (folder or results.shipped()) / "judges" / dataset / profile


def judge_of(dataset: str, profile: str = "quick", classes: Mapping[str, tuple[str, ...]] | None = None,
             folder: Path | None = None) -> FrameJudge:  # fmt: skip
    """The trained judge of a dataset; with `classes`, those of the data it is to judge, refused if they differ."""
    return load_judge(folder_of(dataset, profile, folder) / "judge-seed0.safetensors", classes)


def train_judge(dataset: str, profile: str, folder: Path, seed: int = 0, report: Callable[[dict], None] | None = None) -> FrameJudge:
    """Train a judge on the training split, and write its weights, record and curve; returns the judge that was written."""
    chosen = settings_of(dataset, profile)
    learn, kind = examples(dataset, "train", chosen), JUDGED[dataset][0]
    torch.manual_seed(seed)
    channels = learn.draw(1, torch.Generator().manual_seed(0))[0].shape[-3]
    judge = kind(learn.classes, chosen.image_size, channels, chosen.width, chosen.features, chosen.hidden)
    every = max(1, chosen.steps // 40)
    rows = fit_judge(judge, learn.draw, chosen.steps, chosen.batch_size, chosen.learning_rate, seed, every, report)
    path = folder_of(dataset, chosen.profile, folder) / f"judge-seed{seed}.safetensors"
    digests = {f"digests/{name}.txt": results.digest(Path(sources.__file__).parent / "digests" / f"{name}.txt") for name in learn.folders}
    command = f"python -m unbraid judge {dataset} --profile {chosen.profile} --seed {seed}"
    results.write_csv(path.with_name(f"judge-seed{seed}.training.csv"), rows)
    save_judge(judge, path, training.run_record(command, chosen, seed, rows, "32-true", learn.provenance, digests, ""))
    return load_judge(path)


def trust(judge: FrameJudge, dataset: str, profile: str, seed: int = 0) -> dict:
    """How far a judge is to be trusted, in the one form of metrics.json, on the test split.

    <condition>_<label>: accuracy on test examples as they are (real), blurred, shifted and noisy, with Wilson's interval.
    inception_score_<label> and conditional_entropy_<label> (nats) on real ones: what no model can be expected to beat.
    """
    test = examples(dataset, "test", settings_of(dataset, profile))
    frames = test.frames.float() / 255 if test.frames.dtype == torch.uint8 else test.frames
    found = reliability(judge, frames, test.labels, seed=seed)
    cells = {f"{condition}_{label}": cell for condition, row in found.accuracy.items() for label, cell in row.items()}
    for label, probabilities in judge.probabilities(frames).items():
        scores = generation_scores(probabilities, test.labels[label])
        cells |= {f"inception_score_{label}": scores.inception_score, f"conditional_entropy_{label}": scores.conditional_entropy}
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
