"""A training run: its data, its settings, its model, its place in results/ and its record. Commands and notebooks share it.

results/<part>/<dataset>/<profile>/<model>-seed<seed>.{safetensors,training.csv,run.json}
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from unbraid import results, settings, training
from unbraid.data import catalogue, sources
from unbraid.data.moving_digits import Digits, MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler, SequenceSampler, withhold
from unbraid.data.sequences import Sequences
from unbraid.evaluation import speech
from unbraid.models.independent import IndependentPrediction
from unbraid.models.interface import SequenceModel
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames

MODELS: dict[str, type[SequenceModel]] = {
    "independent": IndependentPrediction,
    "unordered": UnorderedFrames,
    "single_element": SingleElement,
}
PATH = 20  # frames of the path that unordered digits are drawn from


def _parts() -> dict[str, dict[str, tuple[str, ...]]]:
    """The models of each dataset of each part: but for "independent" one named as the part, and the sections inside the dataset's own."""
    table = tomllib.loads(
        resources.files("unbraid").joinpath("profiles.toml").read_text(encoding="utf-8")
    )
    found: dict[str, dict[str, tuple[str, ...]]] = {part: {} for part in MODELS}
    for part, *names in (section.split(".") for section in settings.sections(table)):
        if names and part in found and part != "independent":
            found[part][names[0]] = (*found[part].get(names[0], ()), *(names[1:] or [part]))
    found["independent"]["moving_digits"] = (
        "factored",
        "entangled",
        "factored_one_decoder",
        "entangled_two_decoders",
    )
    return found


PARTS = _parts()


@dataclass(frozen=True)
class Supply:
    """An endless supply of sequences to train or to measure on.

    frames(count, generator): (B, T, C, H, W) in [0, 1], or series (B, T, D), with their mask where they have one.
    batch(count, generator): the same sequences with all their labels.
    provenance: a sentence on the data really used. digests: SHA-256 of the files it was read from, or of their lists, by name.
    """

    frames: Callable[[int, torch.Generator], Tensor | tuple[Tensor, Tensor]]
    batch: Callable[[int, torch.Generator], Sequences]
    provenance: str
    digests: dict[str, str]


class UnorderedDigits(MovingDigits):
    """Moving digits whose order is lost: `length` different frames, in random order, of each path of `PATH` frames."""

    def __init__(self, digits: Digits, image_size: int = 64, length: int = 10, step: float = 0.1):
        super().__init__(digits, image_size, length, step)
        if length > PATH:
            raise ValueError(
                f"length: expected at most {PATH}, the frames of a path, found {length}"
            )
        self.path = MovingDigits(digits, image_size, PATH, step)
        self.images = self.path.images  # once in memory

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which digits, (B, 2), and where they are in the frames that were drawn, (B, N, 2, 2). No other frame is rendered."""
        which, positions = self.path.draw(count, generator)
        steps = torch.rand(count, PATH, generator=generator).topk(self.length, dim=1).indices
        return which, positions[torch.arange(count)[:, None], steps]


def supply_of(
    dataset: str, split: str, chosen, source: str = "auto", digits_from: str | None = None
) -> Supply:
    """The sequences of a dataset that models of these settings learn from ("train") or are measured on ("test").

    chosen: settings, of which image_size, length, and where there are, step and withheld are looked at; of single_element kind and
    image_size. withheld: the share of the training characters of whom one action is never shown. source: of digits, "auto",
    "mnist" or "mnist-sample".
    digits_from: draw the digits from another split (paper A's authors: "train" for both).

    Raises `ValueError` for an unknown dataset or split, `DataError`, which says how to fetch them, where files are missing.
    """
    if dataset in PARTS["single_element"]:
        if dataset == "spoken_digits":
            known = speech.data_of(split)
        else:
            known = catalogue.load(
                dataset,
                split,
                **({"image_size": chosen.image_size} if chosen.kind == "images" else {}),
            )
        sampler = SequenceSampler(known)
        return Supply(
            sampler.frames,
            sampler.batch,
            known.provenance,
            listed(catalogue.dataset(dataset).folders),
        )
    length, step = chosen.length, getattr(chosen, "step", 0.1)
    if dataset in ("moving_digits", "digits"):
        digits = load_digits(digits_from or split, source)
        supply = (MovingDigits if dataset == "moving_digits" else UnorderedDigits)(
            digits, chosen.image_size, length, step
        )
        if dataset == "moving_digits":
            digests = {
                file: results.digest(path) for file, path in sources.find(digits.source).items()
            }
            sentence = digits.provenance
        else:
            digests = listed((digits.source,))
            size = f"{chosen.image_size} x {chosen.image_size}"
            sentence = (
                f"{length} of {PATH} frames of moving digits {size}, drawn from {digits.provenance}"
            )
        return Supply(
            lambda count, generator: supply.frames(count, generator)[0],
            supply.batch,
            sentence,
            digests,
        )
    if dataset not in PARTS["unordered"]:
        raise ValueError(
            f"dataset: expected one of {', '.join(name for known in PARTS.values() for name in known)}, found {dataset!r}"
        )
    known, withheld = (
        catalogue.load(dataset, split, image_size=chosen.image_size),
        getattr(chosen, "withheld", 0),
    )
    sentence = f"{length} frames at a time of {known.provenance}"
    if withheld and split == "train" and "action" in known.dynamic:
        known = withhold(known, "action", withheld, seed=0)
        sentence += f", one action withheld of {100 * withheld:g} % of them"
    sampler = FrameSampler(known, length)
    return Supply(
        sampler.frames, sampler.batch, sentence, listed(catalogue.dataset(dataset).folders)
    )


def listed(folders: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of the lists of digests of these sources: one number for all their files."""
    return {
        f"digests/{name}.txt": results.digest(
            Path(sources.__file__).parent / "digests" / f"{name}.txt"
        )
        for name in folders
    }


def datasets_of(part: str) -> dict[str, tuple[str, ...]]:
    """The models of each dataset of a part. Raises `ValueError` for a part that there is not."""
    if part not in PARTS:
        raise ValueError(f"part: expected one of {', '.join(PARTS)}, found {part!r}")
    return PARTS[part]


def dataset_of(part: str, dataset: str | None = None) -> str:
    """The dataset, once it is known to be one of the part; None stands for a part's only one."""
    known = tuple(datasets_of(part))
    if dataset is None and len(known) == 1:
        return known[0]
    if dataset not in known:
        raise ValueError(
            f"dataset: expected for {part} one of {', '.join(known)}, found {dataset!r}"
        )
    return dataset


def meant(part: str, dataset: str = "all", model: str = "all") -> dict[str, tuple[str, ...]]:
    """The models of each dataset that a command means; "all" datasets are those that have the model."""
    known = datasets_of(part)
    if dataset != "all":
        known = {dataset: known[dataset_of(part, dataset)]}
    models = dict.fromkeys(name for names in known.values() for name in names)
    if model not in ("all", *models):
        raise ValueError(f"model: expected all or one of {', '.join(models)}, found {model!r}")
    return {
        name: names if model == "all" else (model,)
        for name, names in known.items()
        if model in ("all", *names)
    }


def section_of(part: str, dataset: str, model: str) -> str:
    """The section of profiles.toml that a model's settings stand in."""
    if model not in datasets_of(part)[dataset_of(part, dataset)]:
        raise ValueError(
            f"model: expected for {part} on {dataset} one of {', '.join(PARTS[part][dataset])}, found {model!r}"
        )
    if part == "independent":
        return f"independent.{model}"
    return f"{part}.{dataset}" + ("" if model == part else f".{model}")


def build(chosen, seed: int) -> SequenceModel:
    """A new model of these settings, its weights drawn with this seed."""
    torch.manual_seed(seed)
    return MODELS[chosen.section.split(".")[0]].from_settings(chosen)


def folder_of(part: str, dataset: str | None, profile: str, folder: Path | None = None) -> Path:
    """Where the results of a part on a dataset and of a profile lie: in results/ of the clone, or in `folder`."""
    return (folder or results.shipped()) / part / dataset_of(part, dataset) / profile


def record_of(
    part: str,
    model: str,
    profile: str,
    seed: int,
    folder: Path | None = None,
    dataset: str | None = None,
) -> tuple[Path, dict]:
    """Where a finished run lies (path without an ending) and its record. The profile is the one asked for, whatever
    UNBRAID_PROFILE says: a run stays what it was. dataset: may be left out where the part has one."""
    run = folder_of(part, dataset, profile, folder) / f"{model}-seed{seed}"
    return run, results.read_json(run.with_name(run.name + ".run.json"))


def load_model(
    part: str,
    model: str,
    profile: str,
    seed: int,
    folder: Path | None = None,
    dataset: str | None = None,
) -> SequenceModel:
    """A trained model as its record describes it, with the weights of results/ (or of `folder`), their digest checked."""
    run, record = record_of(part, model, profile, seed, folder, dataset)
    trained = MODELS[part].from_settings(settings.Settings(**record["settings"]))
    results.load_weights(
        trained, run.with_name(run.name + ".safetensors"), record["weights_sha256"]
    )
    return trained.eval()


def train_one(
    part: str,
    dataset: str,
    model: str,
    chosen,
    seed: int,
    supply: Supply,
    folder: Path | None = None,
    precision: str = "32-true",
    report: Callable[[dict], None] | None = None,
    tell: Callable[[str], None] = print,
) -> list[dict]:
    """Train one model with one seed and write its curve, weights and record; returns the curve.

    An interrupted run goes on where it was; one that is finished is left alone. report: called with each row of the curve;
    tell: with a line on what is done.
    """
    where, run = folder_of(part, dataset, chosen.profile, folder), f"{model}-seed{seed}"
    checkpoint = where / f"{run}.checkpoint"
    if finished(where / run, chosen, precision, supply.provenance):
        tell(f"{run}: finished before; delete {where / run}.run.json to train it again")
        checkpoint.unlink(missing_ok=True)
        return results.read_csv(where / f"{run}.training.csv")
    tell(f"{run}: {chosen.steps} updates of {chosen.batch_size} sequences; {supply.provenance}")
    every = max(1, chosen.steps // 50)
    built = build(chosen, seed)
    rows = training.fit(
        built,
        supply.frames,
        chosen,
        seed,
        where,
        run,
        precision,
        log_every=every,
        checkpoint_every=every,
        report=report,
    )
    results.write_csv(where / f"{run}.training.csv", rows)
    weights = results.save_weights(where / f"{run}.safetensors", built)
    command = f"python -m unbraid train {part}" + (
        f" --dataset {dataset}" if len(PARTS[part]) > 1 else ""
    )
    command += f" --model {model} --profile {chosen.profile} --seed {seed}"
    command += (
        f" --steps {chosen.steps}"
        if chosen.steps != settings.load(chosen.section, chosen.profile).steps
        else ""
    )
    command += f" --precision {precision}" if precision != "32-true" else ""
    record = training.run_record(
        command, chosen, seed, rows, precision, supply.provenance, supply.digests, weights
    )
    results.write_json(where / f"{run}.run.json", record)
    checkpoint.unlink()  # last of all: a run killed before this line is resumed, not lost
    return rows


def finished(run: Path, chosen, precision: str, data: str) -> bool:
    """Whether a run of these settings on this data lies there complete."""
    files = [
        run.with_name(run.name + end) for end in (".run.json", ".safetensors", ".training.csv")
    ]
    if not all(path.exists() for path in files):
        return False
    record = results.read_json(files[0])
    same = (trained_with(record["settings"]), record["precision"], record["data"]) == (
        trained_with(chosen.as_dict()),
        precision,
        data,
    )
    return same and record["weights_sha256"] == results.digest(files[1])


def trained_with(values: dict) -> dict:
    """Settings less those that only the evaluation and the number of runs look at."""
    return {
        name: value
        for name, value in values.items()
        if name != "seeds" and not name.startswith("evaluation_")
    }
