"""Runs of models: a section of runs.toml and a seed become files in a folder of results.

<model>/<dataset>/<profile>/<run>-seed<seed>.{safetensors,training.csv,run.json}
"""

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from unbraid import files, records, training
from unbraid.checks import ResultsError, SettingsError, check_name, refuse
from unbraid.models.base import BatchLike, ModelConfig, SequenceModel, describe_model
from unbraid.support.schedules import Curve, Schedule, schedule_value

from papers import ledger
from papers.datasets import LOADERS, Sampler, list_options
from papers.provenance import make_record, print_row
from papers.settings import FIELD_TYPES, Jobs, RunSettings, list_classes, load

FILES = {"weights": ".safetensors", "record": ".run.json", "curve": ".training.csv"}  # of a run
WEIGHT = "_weight"  # ends settings that weigh a term of the bound, such as static_kl_weight

# ---- models


def import_class(name: object) -> type[SequenceModel]:
    """The class of a dotted name, as a run's section says; `SettingsError` where there is none."""
    module, _, own_name = str(name).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), own_name, None)
    except (ModuleNotFoundError, ValueError):  # ValueError: a name without a module
        found = None
    if not (isinstance(found, type) and issubclass(found, SequenceModel)):
        raise SettingsError(f"class: expected the dotted name of a model, found {name}")
    return found


def make_config(settings: RunSettings) -> ModelConfig:
    """The config of a run's model; a setting that nothing reads is a `SettingsError`.

    A section may inherit fields that the class of one around it has.
    """
    known = {"class"}
    for name in list_classes(settings.section, settings.profile):
        known |= {each.name for each in fields(import_class(name).config_class)}
    if settings.dataset in LOADERS:
        known |= set(list_options(settings.dataset))
    for name in settings.options.keys() - known:
        if not name.endswith(WEIGHT):
            check_name(f"settings of {settings.section}", name, sorted(known | FIELD_TYPES.keys()))
    return import_class(settings.options.get("class")).config_class.of(settings.as_dict())


def build(settings: RunSettings, seed: int) -> SequenceModel:
    """A new model of these settings, its weights drawn with this seed."""
    torch.manual_seed(seed)
    config = make_config(settings)
    return import_class(settings.options["class"])(config)


# ---- training


def train_model(
    model: SequenceModel,
    draw: Callable[[int, torch.Generator], BatchLike],
    settings: RunSettings,
    seed: int = 0,
    **options: Any,
) -> list[dict]:
    """`training.fit` as a run's settings describe it; options: its other arguments."""
    arguments: dict[str, Any] = {
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "learning_rate": rate_schedule(settings),
        "weights": weight_schedules(settings),
        "betas": (0.9, settings.second_moment_decay),
        "gradient_norm": settings.gradient_norm,
        "seed": seed,
        "identity": select_deciding(settings.as_dict()),  # by which a checkpoint knows its run
        "on_progress": getattr(model, "advance", None),  # of a `GatedPrediction`
        "replay": settings.profile == "full" and len(model.frame_shape) == 3,  # images, no masks
    }
    return training.fit(model, draw, **arguments | options)


def rate_schedule(settings: RunSettings) -> Curve:
    """The learning rate, which falls by `decay` once for every `decay_every` sequences seen."""
    if settings.decay == 1:
        # Principal components need no training: their rate is 0, which `fit` refuses.
        return settings.learning_rate or 1e-30

    def rate(share: float) -> float:
        step = round(share * settings.steps) + 1  # the update that begins
        stairs = step * settings.batch_size // settings.decay_every
        return schedule_value(settings.learning_rate, share) * settings.decay**stairs

    return rate


def weight_schedules(settings: RunSettings) -> dict[str, Curve]:
    """The weights of the bound's terms, by the names that `Bound.loss` knows.

    Every setting that ends in _weight is a schedule; weight_cycles repeats its knots in a run.
    """
    check_name("weight_interpolation", settings.weight_interpolation, INTERPOLATIONS)
    schedule = INTERPOLATIONS[settings.weight_interpolation]
    cycles, weights = settings.weight_cycles, {}
    for name, value in settings.options.items():
        if name.endswith(WEIGHT):
            if not isinstance(value, (int, float)):
                value = schedule(value)
                value = value if cycles == 1 else repeat(value, cycles)
            weights[name.removesuffix(WEIGHT)] = value
    return weights


class LogarithmicSchedule(Schedule):
    """The value between knots by equal factors instead of equal amounts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(value for _, value in self.knots) <= 0:
            refuse("knots", "values above 0 if logarithmic", self.knots)

    def __call__(self, share: float) -> float:
        shares, values = np.array(self.knots, dtype=float).T
        return float(np.exp(np.interp(share, shares, np.log(values))))


INTERPOLATIONS = {"linear": Schedule, "logarithmic": LogarithmicSchedule}


def repeat(schedule: Schedule, cycles: int) -> Curve:
    """A schedule that is repeated `cycles` times in a run."""

    def value(share: float) -> float:
        passed = max(1, math.ceil(share * cycles - 1e-9)) - 1  # A cycle's last update has 1.
        return schedule(share * cycles - passed)

    return value


def select_deciding(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide a run; class, seeds, section and what is judged do not."""
    left_out = ("class", "seeds", "section", "judged_size")
    return {name: value for name, value in values.items() if name not in left_out}


# ---- a run and its files


def run_name(settings: RunSettings, seed: int) -> str:
    """Where a run lies in a folder of results, such as "unordered/faces/quick/unordered-seed0"."""
    place = f"{settings.model}/{settings.dataset}/{settings.profile}"
    return f"{place}/{settings.run}-seed{seed}"


def load_run(settings: RunSettings, seed: int, folder: Path | None = None) -> SequenceModel:
    """The trained model of a run in a folder, by default results/; raises `ResultsError`."""
    import_class(settings.options.get("class"))  # It imports a class that is not the library's.
    return SequenceModel.load(records.weights(run_name(settings, seed), folder))


def find_weights(jobs: Jobs, folders: list[Path]) -> tuple[Jobs, dict[str, Path]]:
    """The jobs with the seeds whose weights are there, and the first folder with each, by name.

    The commands that train the others are printed, or raised if there are no weights at all.
    """
    there, commands = [], ["weights: these commands train what is missing:"]
    places: dict[str, Path] = {}
    for settings, seeds in jobs:
        names = {seed: run_name(settings, seed) for seed in seeds}
        for seed, name in names.items():
            having = [folder for folder in folders if records.weights(name, folder).exists()]
            places |= {name: having[0]} if having else {}
            if not having:
                commands.append(f"  {train_command(settings, seed)} --results {folders[0]}")
        if trained := [seed for seed in seeds if names[seed] in places]:
            there.append((settings, trained))
    if not there:
        raise ResultsError("\n".join(commands))
    if commands[1:]:
        print("left out,", "\n".join(commands))
    return there, places


def train_command(settings: RunSettings, seed: int, **machine: object) -> str:
    """The command that trains a run; machine: what of `train_model` is not the default."""
    command = f"python -m papers train {settings.model} --dataset {settings.dataset}"
    command += f" --run {settings.run} --profile {settings.profile} --seed {seed}"
    if settings.steps != load(settings.section, settings.profile).steps:
        command += f" --steps {settings.steps}"
    for name, value in machine.items():
        command += f" --{name} {value}"
    return command


def train_run(
    settings: RunSettings,
    seed: int,
    sampler: Sampler,
    folder: Path,
    again: bool = False,
    wait: bool = False,
    **machine: object,
) -> None:
    """Train one run with one seed, write its curve, weights and record, and print what is done.

    A run that was interrupted goes on at its last checkpoint; one that is finished is left alone.
    How a run ended that is not finished stands in the folder's ledger.

    again: a finished run of other settings, precision or data is replaced. wait: for another
    process that trains the same run. Raises `TrainingError` for such runs without these two.
    machine: as in `train_model`, only what is not the default.
    """
    name = run_name(settings, seed)
    path = folder / name
    checkpoint = path.with_suffix(".checkpoint")
    now = {"precision": machine.get("precision", "32-true"), "data_sha256": sampler.digests}
    remedy = "name another folder with --results"
    with training.keep_alone(path.with_suffix(".lock"), remedy, wait):
        if find_record(settings, path, now, again):
            print(f"{path.name}: finished before; delete {path}.run.json to train it again")
            return
        begin = training.read_rows(checkpoint)[-1]["step"] if checkpoint.exists() else 0
        updates = f"goes on after update {begin} of" if begin else "begins:"
        print(f"{path.name} {updates} {settings.steps} updates; {sampler.provenance}", flush=True)

        model, options = build(settings, seed), machine | {"report": print_row}
        device = training.choose_accelerator(str(machine.get("accelerator", "auto")))
        draw = sampler.to(device) if device == "cuda" else sampler
        try:
            with ledger.note_failure(folder, name):
                rows = train_model(model, draw, settings, seed, checkpoint=checkpoint, **options)
        except KeyboardInterrupt:
            print(f"\nrun the same command to continue {path.name} from its last checkpoint")
            raise
        if path.with_suffix(FILES["record"]).exists():
            ledger.add_row(folder, name, "replaced", str(seed), "trained again")
        record = make_record(train_command(settings, seed, **machine), settings, seed, rows) | now
        write_run(model, rows, path, record | {"data": sampler.provenance})


def find_record(settings: RunSettings, path: Path, now: dict, again: bool = False) -> dict | None:
    """The record of a complete run of these settings at a path without suffix, if there is one.

    now: what it must say as well, as the digests of data. again: one of other settings may be
    replaced; otherwise it is a `TrainingError`.
    """
    weights, record_path, curve = (path.with_suffix(suffix) for suffix in FILES.values())
    if not (record_path.exists() and weights.exists() and curve.exists()):
        return None
    record = records.read_record(path.name, path.parent)
    if record["weights_sha256"] != files.digest(weights):
        return None
    changes = list_changes(record, settings, now)
    if changes and not again:
        raise training.TrainingError(
            f"{record_path}: expected no finished run of other settings, found one with "
            f"{', '.join(changes[:4])}; --again replaces it, --results names another folder"
        )
    return None if changes else record


def list_changes(record: dict, settings: RunSettings, now: dict | None = None) -> list[str]:
    """What a run of these settings has otherwise than a record, whose config may lack fields."""
    config = record["model"]["config"]
    before = vars(RunSettings()) | config | record | record["settings"]
    after = select_deciding({name: vars(settings)[name] for name in FIELD_TYPES} | settings.options)
    built = asdict(make_config(settings))
    after |= {name: value for name, value in built.items() if name in config} | (now or {})
    classes = record["model"]["class"], settings.options["class"]
    before["class"], after["class"] = (name.rpartition(".")[2] for name in classes)  # if it moved
    before, after = json.loads(json.dumps([before, after]))  # with lists for tuples
    differing = [name for name, value in after.items() if before.get(name) != value]
    return [f"{name} {before.get(name)} (now {after[name]})" for name in differing]


def write_run(model: SequenceModel, rows: list[dict], path: Path, record: dict) -> None:
    """Write the curve, the weights and the record of a trained run, and remove its checkpoint."""
    weights, record_path, curve = (path.with_suffix(suffix) for suffix in FILES.values())
    record_path.unlink(missing_ok=True)  # A record says that the files beside it are whole.
    records.write_csv(curve, rows)
    model.save(weights)
    digests = {"weights_sha256": files.digest(weights), "curve_sha256": files.digest(curve)}
    records.write_json(record_path, record | {"model": describe_model(model)} | digests)
    # Last of all: a run killed before this line is resumed and not lost.
    path.with_suffix(".checkpoint").unlink(missing_ok=True)
    print(f"written: {weights}")
