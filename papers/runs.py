"""Runs of models: data, settings and a seed become files in a folder of results.

<model>/<dataset>/<profile>/<run>-seed<seed>.{safetensors,training.csv,run.json}

Which runs there are, the TOML files of this folder say.
"""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from unbraid import locks, store, training
from unbraid.checkpoint import read_rows
from unbraid.checks import check_name
from unbraid.data.fetch import SOURCES, repository_root
from unbraid.data.moving_digits import PATH_LENGTH, MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler, SequenceSampler, withhold
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES
from unbraid.models.base import Batch, ModelConfig, SequenceModel, describe_model
from unbraid.parallel import end_together
from unbraid.schedules import Curve, Schedule, Staircase, schedule_value

from papers import datasets, report
from papers.costs import Meter
from papers.datasets import sources_of
from papers.registry import choose_class, read_config
from papers.settings import Jobs, Settings
from papers.settings import load as load_settings

# ---- data


@dataclass(frozen=True)
class Sampler:
    """An endless supply of sequences to train or to measure on.

    draw(count, generator): `count` sequences with their labels, frames as floats.
    provenance: a sentence on the data really used. sources: the names of the files behind them.
    """

    draw: Callable[[int, torch.Generator], Sequences]
    provenance: str
    sources: tuple[str, ...]

    def __call__(self, count: int, generator: torch.Generator) -> Sequences:
        return self.draw(count, generator)

    def frames_on(self, device: torch.device) -> Sampler:
        """The same draws as frames alone, made on a device, where the sampler can do so."""
        make = getattr(self.draw, "frames_on", None)
        return replace(self, draw=make(device)) if make else self

    @property
    def digests(self) -> dict[str, str]:
        """One SHA-256 for all files of each source, by which a record says what a run has read."""
        return {name: SOURCES[name].fingerprint for name in self.sources}


def sample_digits(settings: Settings, split: str) -> Sampler:
    """Moving digits in their order, as paper A reads them.

    The optional setting path_length draws the frames from a path of so many, without their order.
    """
    digits, path = load_digits(split), getattr(settings, "path_length", None)
    law = settings.motion, tuple(settings.speeds)
    kept = settings.length if path else None
    draw = MovingDigits(digits, settings.image_size, path or settings.length, *law, kept=kept)
    return Sampler(draw, draw.provenance, (digits.source,))


def sample_unordered_digits(settings: Settings, split: str) -> Sampler:
    """Moving digits without their order, as paper B reads them; grey with one channel."""
    draw = make_paths(settings, split, kept=count_drawn(settings))
    return Sampler(draw, draw.provenance, (draw.digits.source,))


def count_drawn(settings: Settings) -> int:
    """How many frames are drawn of a sequence: the optional setting frames_drawn, otherwise N."""
    return getattr(settings, "frames_drawn", settings.length)


def make_paths(settings: Settings, split: str, kept: int | None = None) -> MovingDigits:
    """Moving digits, grey with one channel, of whose frames so many are kept, by default all."""
    options = {"grey": settings.channels == 1, "kept": kept}
    return MovingDigits(load_digits(split), settings.image_size, PATH_LENGTH, **options)


def sample_frames(settings: Settings, split: str) -> Sampler:
    """Some frames of each sequence, without their order, as paper B reads them."""
    data, length = load_frames(settings, split), count_drawn(settings)
    if split == "test":  # Test sequences may have fewer frames.
        length = min(length, shortest_length(data))
    sentence = f"{length} frames at a time of {data.provenance}"
    return Sampler(FrameSampler(data, length), sentence, sources_of(settings.dataset))


def shortest_length(sequences: Sequences) -> int:
    """How many frames the shortest sequence has."""
    return int(sequences.observed.sum(1).min())


def load_frames(settings: Settings, split: str) -> Sequences:
    """What `sample_frames` draws from.

    In training one action is withheld of the share `withheld` of the sequences.
    """
    sequences = load_sequences(settings.dataset, split, settings)
    if settings.withheld and split == "train":
        sequences = withhold(sequences, "action", settings.withheld, seed=0)
        share = f"one action withheld of {100 * settings.withheld:g} % of them"
        sequences = replace(sequences, provenance=f"{sequences.provenance}, {share}")
    return sequences


def sample_characters(settings: Settings, split: str) -> Sampler:
    """Some frames of all clips of a character, without their order: all they share is its looks."""
    clips = load_sequences(settings.dataset, split, settings)
    order = clips.labels["character"].argsort(stable=True)
    rows = order.unflatten(0, (len(clips.labels["character"].unique()), -1))  # (M, clips of each)
    labels = {name: clips.labels[name][rows[:, 0]] for name in ATTRIBUTES}
    data = Sequences(clips.frames[rows].flatten(1, 2), labels, static=ATTRIBUTES, split=split)
    sentence = f"{settings.length} frames at a time of all {rows.shape[1]} clips of a character; "
    draw = FrameSampler(data, settings.length)
    return Sampler(draw, sentence + clips.provenance, sources_of(settings.dataset))


def sample_sequences(settings: Settings, split: str) -> Sampler:
    """Whole sequences, as paper C reads them."""
    data = load_sequences(settings.dataset, split, settings)
    return Sampler(SequenceSampler(data), data.provenance, sources_of(settings.dataset))


SAMPLERS: dict[str, Callable[[Settings, str], Sampler]] = {
    "moving_digits": sample_digits,
    "unordered_digits": sample_unordered_digits,
    "frames": sample_frames,
    "characters": sample_characters,
    "sequences": sample_sequences,
}


def make_sampler(settings: Settings, split: str = "train") -> Sampler:
    """What runs of these settings learn from ("train") or are measured on ("test").

    The optional setting training_split names the part of the training sequences that they learn
    from, such as "fit", where the others are kept for validation. Raises `DataError`, which says
    how to fetch them, where files are missing.
    """
    check_name("sampler", settings.sampler, SAMPLERS)
    if split == "train":
        split = getattr(settings, "training_split", split)
    return SAMPLERS[settings.sampler](settings, split)


def load_sequences(name: str, split: str, settings: Settings) -> Sequences:
    """A dataset as models of these settings read it: images of their size, spectra scaled.

    The setting scaled = false leaves spectra as magnitudes, split_by says what splits a film.
    """
    options = {"scaled": True} | vars(settings)
    if "split_by" in options:
        options["by"] = options["split_by"]
    known = list(inspect.signature(datasets.get_loader(name)).parameters)[1:]
    return datasets.load(name, split, **{key: options[key] for key in known if key in options})


# ---- models and their runs


@dataclass(frozen=True)
class Machine:
    """What a run is trained on, and by how many processes: arguments of `training.fit`."""

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    synchronise: bool = True
    accumulate: int = 1
    replay: bool = False

    @property
    def options(self) -> str:
        """The options of the command for what is not the default."""
        options = ""
        for each in fields(self):
            value, option = getattr(self, each.name), each.name.replace("_", "-")
            if value == each.default:
                continue
            if isinstance(value, bool):
                options += f" --{option}" if value else f" --no-{option}"
            else:
                options += f" --{option} {value}"
        return options


ONE_PROCESS = Machine()
REFUSED = "refused"  # what the first process tells the others when it cannot begin a run


def make_config(settings: Settings) -> ModelConfig:
    """The config of a run's model: the fields that it has among the run's settings."""
    return read_config(settings.as_dict())


def build(settings: Settings, seed: int) -> SequenceModel:
    """A new model of these settings, its weights drawn with this seed."""
    torch.manual_seed(seed)
    return choose_class(settings.as_dict())(make_config(settings))


def train_model(  # noqa: PLR0913 - all but the first four go by name
    model: SequenceModel,
    draw: Callable[[int, torch.Generator], Tensor | Batch],
    settings: Settings,
    seed: int = 0,
    checkpoint: Path | None = None,
    precision: str = "32-true",
    every: int | None = None,
    report: Callable[[dict], None] | None = None,
    machine: Machine = ONE_PROCESS,
) -> list[dict]:
    """`training.fit` with the arguments that a run's settings describe."""
    return training.fit(
        model,
        draw,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=rate_schedule(settings),
        weights=weight_schedules(settings),
        betas=(0.9, settings.second_moment_decay),
        gradient_norm=getattr(settings, "gradient_norm", None),
        seed=seed,
        checkpoint=checkpoint,
        identity=training_settings(settings),
        precision=precision,
        every=every,
        report=report,
        on_progress=getattr(model, "advance", None),  # of a `GatedPrediction`
        **vars(machine),
    )


def rate_schedule(settings: Settings) -> Curve:
    """The learning rate, which falls by `decay` once for every `decay_every` sequences seen."""
    rate = settings.learning_rate
    if settings.decay == 1:
        return rate
    stairs = settings.decay, settings.decay_every, settings.batch_size, settings.steps
    return Staircase(rate, *stairs)


def weight_schedules(settings: Settings) -> dict[str, Curve]:
    """The weights of the bound's terms, by the names that `Bound.loss` knows.

    Every setting that ends in _weight is a schedule: static_kl_weight weighs KL(static),
    log_likelihood_weight the likelihood. weight_cycles is optional.
    """
    shape = settings.weight_interpolation, getattr(settings, "weight_cycles", 1)
    weights = {}
    for name, schedule in settings.as_dict().items():
        if name.endswith("_weight"):
            is_number = isinstance(schedule, (int, float))
            weights[name.removesuffix("_weight")] = (
                schedule if is_number else Schedule(schedule, *shape)
            )
    return weights


def term_weights(settings: Settings, step: int) -> dict[str, float]:
    """The weights of the bound's terms at one update, from 1 on."""
    weights = weight_schedules(settings)
    return {name: schedule_value(curve, step / settings.steps) for name, curve in weights.items()}


def training_settings(settings: Settings) -> dict:
    """The settings that decide a run: all but its seeds, its section and those of evaluations."""
    values = {}
    for name, value in settings.as_dict().items():
        if name not in ("seeds", "section") and not name.startswith("evaluation_"):
            values[name] = value
    return values


def run_name(settings: Settings, seed: int) -> str:
    """Where a run lies in a folder of results: "<model>/<dataset>/<profile>/<run>-seed<seed>"."""
    parts = (settings.model, settings.dataset, settings.profile, settings.run)
    return f"{'/'.join(parts)}-seed{seed}"


def load_run(settings: Settings, seed: int, folder: Path | None = None) -> SequenceModel:
    """The trained model of a run in a folder of results, by default the clone's."""
    choose_class(settings.as_dict())  # It imports a class that is not the library's.
    return SequenceModel.load(run_name(settings, seed), folder)


def train_command(
    settings: Settings,
    seeds: list[int],
    precision: str = "32-true",
    machine: Machine = ONE_PROCESS,
) -> str:
    """The command that trains these runs."""
    command = f"python -m papers train {settings.model} --dataset {settings.dataset}"
    command += f" --run {settings.run} --profile {settings.profile}"
    command += "".join(f" --seed {seed}" for seed in seeds)
    if settings.steps != load_settings(settings.section, settings.profile).steps:
        command += f" --steps {settings.steps}"
    if precision != "32-true":
        command += f" --precision {precision}"
    return command + machine.options


def find_weights(
    jobs: Jobs, folders: list[Path], demand_all: bool = True
) -> tuple[Jobs, dict[str, Path]]:
    """The jobs with the seeds whose weights are there, and the folder of each, by the run's name.

    That is the first of the folders that has them. Raises `ResultsError` with the commands that
    train what is missing if nothing is there, or if anything is missing and `demand_all`.
    """
    there, places, commands = [], {}, []
    for settings, seeds in jobs:
        trained = []
        for seed in seeds:
            name = run_name(settings, seed)
            for folder in folders:
                if name not in places and (folder / f"{name}.safetensors").exists():
                    places[name] = folder
                    trained.append(seed)
        if trained:
            there.append((settings, trained))
        if absent := [seed for seed in seeds if seed not in trained]:
            commands.append(f"  {train_command(settings, absent)} --results {folders[0]}")
    missing = "weights: not all runs are trained; these commands train the others:"
    if commands and (demand_all or not there):
        raise store.ResultsError("\n".join([missing, *commands, "or choose runs that are trained"]))
    if commands:
        print("\n".join([f"left out, {missing}", *commands]))
    return there, places


@end_together()
def train_run(
    settings: Settings,
    seed: int,
    sampler: Sampler,
    folder: Path,
    precision: str = "32-true",
    again: bool = False,
    machine: Machine = ONE_PROCESS,
    wait: bool = False,
) -> None:
    """Train one run with one seed, write its curve, weights and record, and print what is done.

    A run that was interrupted goes on at its last checkpoint; one that is finished is left alone.
    Of several processes the first one decides, locks the run and writes, and all of them train.

    again: a finished run of other settings, precision or data is replaced. wait: for another
    process that trains the same run. Raises `TrainingError` for such runs without these two.
    """
    path = folder / run_name(settings, seed)
    now = {"precision": precision, "data_sha256": sampler.digests}
    asked = machine.accelerator, machine.devices, machine.num_nodes
    fabric = training.start_processes(*asked, precision)
    with ExitStack() as held:
        beginning = None
        if fabric.is_global_zero:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(hold(path, wait))
                beginning = begin_run(settings, path, now, sampler, again)
            except BaseException:
                fabric.broadcast(REFUSED)  # The others wait for it, and end without a word.
                raise
        beginning = fabric.broadcast(beginning)
        if beginning == REFUSED:
            raise SystemExit(1)
        if beginning is None:
            return
        checkpoint = path.with_suffix(".checkpoint")
        updates_before, meter = last_update(checkpoint), Meter()
        model, told = build(settings, seed), (settings, seed, checkpoint, precision)
        draw = sampler.frames_on(fabric.device) if machine.replay else sampler
        with explain_end(path):
            rows = train_model(model, draw, *told, report=print_row, machine=machine)
        if fabric.is_global_zero:
            command = train_command(settings, [seed], precision, machine)
            more = now | beginning | {"data": sampler.provenance, "processes": fabric.world_size}
            more["costs"] = meter.read(rows, updates_before)
            write_run(model, settings, seed, rows, path, command, more)


def hold(path: Path, wait: bool = False) -> AbstractContextManager[None]:
    """Keep a run to this process; where another has it, wait for it, or raise `TrainingError`."""
    refusal = training.TrainingError(
        f"{path.name}: expected to train it alone, but another process does; wait for it, or "
        "name another folder with --results"
    )
    return locks.hold(path.with_suffix(".lock"), None if wait else refusal)


def begin_run(
    settings: Settings, path: Path, now: dict, sampler: Sampler, again: bool
) -> dict[str, str] | None:
    """When and at which commit a run began, said in a line; None for one that is finished.

    The arguments are those of `train_run`, and `now` that of `find_record`.
    """
    for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed in writing
        left.unlink()
    checkpoint = path.with_suffix(".checkpoint")
    if find_record(settings, path, now, again):
        print(f"{path.name}: finished before; delete {path}.run.json to train it again")
        path.with_suffix(".begun.json").unlink(missing_ok=True)
        checkpoint.unlink(missing_ok=True)
        return None
    check_room(settings, path)
    begin = last_update(checkpoint)
    beginning = note_beginning(path, resumed=bool(begin))
    updates = f"goes on after update {begin} of" if begin else "begins:"
    print(f"{path.name} {updates} {settings.steps} updates; {sampler.provenance}", flush=True)
    return beginning


def check_room(settings: Settings, path: Path) -> None:
    """Refuse a disk without room for a run's checkpoints before hours are spent.

    A checkpoint holds the weights and the optimizer's two moments of each; a new one is written
    beside the one before, and the weights in half precision come last, when there is one. The
    curve and the names of the weights are given a megabyte.
    """
    state = build(settings, 0).state_dict()
    size = 2 * 3 * sum(value.nbytes for value in state.values()) + 2**20
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise store.ResultsError(
            f"{path.parent}: expected {size / 1e6:.1f} MB of room for the checkpoints of "
            f"{path.name}, found {free / 1e6:.1f}; make room, or name another folder with --results"
        )


@contextmanager
def explain_end(path: Path) -> Iterator[None]:
    """Say of what ends a training how it goes on, or which file could not be written."""
    try:
        yield
    except KeyboardInterrupt:
        reached = last_update(path.with_suffix(".checkpoint"))
        print(f"\nthe same command goes on with {path.name} after update {reached}")
        raise
    except OSError as error:
        error.filename = error.filename or f"{path}.*"  # a full disk does not say what it refused
        raise


def write_run(
    model: SequenceModel,
    settings: Settings,
    seed: int,
    rows: list[dict],
    path: Path,
    command: str,
    more: dict,
) -> None:
    """Write the curve, the weights and the record of a trained run, and remove its checkpoint.

    more: what the record says beside the command, the settings and the model.
    """
    # A record says that the files beside it are whole, and so it is the first to go.
    path.with_suffix(".run.json").unlink(missing_ok=True)
    store.write_csv(path.with_suffix(".training.csv"), rows)
    weights_sha256 = model.save(path.with_suffix(".safetensors"))
    described = {"model": describe_model(model), "weights_sha256": weights_sha256}
    record = report.run_record(command, settings, seed, rows, **more | described)
    store.write_json(path.with_suffix(".run.json"), record)
    path.with_suffix(".begun.json").unlink(missing_ok=True)
    # Last of all: a run killed before this line is resumed and not lost.
    path.with_suffix(".checkpoint").unlink()
    print(f"written: {path}.safetensors")


def note_beginning(path: Path, resumed: bool) -> dict[str, str]:
    """When a run began (UTC) and at which commit of the clone, for its record.

    By these two a reader can check that a prediction, which is a commit of its own, came before the
    run. They are kept in a file beside the checkpoint, so that a resumed run has its first ones.
    """
    note = path.with_suffix(".begun.json")
    if resumed and note.exists():
        return store.read_json(note)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    beginning = {"started": now, "commit": read_commit()}
    store.write_json(note, beginning)
    return beginning


def read_commit() -> str:
    """The commit of the clone, with "+changes" where tracked files differ from it; or "unknown".

    Where files were copied without their history, such as to a machine that is lent for a run, the
    environment's UNBRAID_COMMIT says which commit they are of.
    """
    if told := os.environ.get("UNBRAID_COMMIT"):
        return told
    root = repository_root()
    answers = []
    for question in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            command = ["git", "-C", str(root), *question]
            answers.append(subprocess.run(command, capture_output=True, text=True, check=True))
        except (OSError, subprocess.CalledProcessError):
            return "unknown"
    commit, changes = (answer.stdout.strip() for answer in answers)
    return f"{commit}+changes" if changes else commit


def print_row(row: dict) -> None:
    """Print a row of a training curve on one line."""
    figures = "  ".join(f"{name} {value:.6g}" for name, value in row.items())
    print(f"  {figures}", flush=True)


def last_update(checkpoint: Path) -> int:
    """The update that a checkpoint was written after; 0 where there is none."""
    rows = read_rows(checkpoint) if checkpoint.exists() else []
    return rows[-1]["step"] if rows else 0


def find_record(settings: Settings, path: Path, now: dict, again: bool = False) -> dict | None:
    """The record of a complete run of these settings at a path without suffix, if there is one.

    now: what the record must say as well, such as the precision and the digests of the data.
    again: a complete run of other settings may be replaced; otherwise it is a `TrainingError`.
    """
    if not is_whole(path):
        return None
    record = store.read_record(path.name, path.parent)
    before, after = record | record["settings"], training_settings(settings) | now
    differing = [name for name, value in after.items() if before.get(name) != value]
    if not differing:
        return record
    if again:
        return None
    changes = ", ".join(f"{name} {before.get(name)} (now {after[name]})" for name in differing[:4])
    raise training.TrainingError(
        f"{path}.run.json: expected no finished run of other settings, found one with {changes}; "
        "--again replaces it, --results names another folder"
    )


def is_whole(path: Path) -> bool:
    """Whether a run's record, curve and weights are there, and the weights are the record's."""
    files = [path.with_suffix(suffix) for suffix in (".run.json", ".training.csv", ".safetensors")]
    if not all(file.exists() for file in files):
        return False
    record = store.read_record(path.name, path.parent)
    return record["weights_sha256"] == store.digest(files[-1])


def has_settings(record: dict, settings: Settings) -> bool:
    """Whether a run was trained with these settings, whatever those of the evaluation are."""
    return training_settings(settings).items() <= record["settings"].items()
