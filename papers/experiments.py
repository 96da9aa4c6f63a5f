"""Runs of models and judges: data, settings and a seed become files in results/.

results/<model>/<dataset>/<profile>/<run>-seed<seed>.{safetensors,training.csv,run.json}
results/judges/<dataset>/<profile>/judge-seed<seed>.{safetensors,training.csv,run.json}

The runs that there are stand in profiles.toml. Commands and notebooks use the functions below.
"""

from __future__ import annotations

import inspect
import math
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor
from unbraid import store, training
from unbraid.checkpoint import read_rows
from unbraid.checks import check_name
from unbraid.data.fetch import SOURCES, repository_root
from unbraid.data.moving_digits import PATH_LENGTH, MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler, SequenceSampler, withhold
from unbraid.data.sequences import Sequences
from unbraid.measures.intervals import mean_interval
from unbraid.measures.judges import (
    FrameJudge,
    SequenceJudge,
    blurred,
    fit_judge,
    load_judge,
    noisy,
    reliability,
)
from unbraid.measures.swaps import generation_scores
from unbraid.models.base import Batch, ModelConfig, SequenceModel
from unbraid.schedules import Curve, Schedule, Staircase, schedule_value

from papers.datasets import get_dataset
from papers.datasets import load as load_dataset
from papers.registry import choose_class, read_config, read_record
from papers.settings import OWN_RESULTS, Settings
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

    @property
    def digests(self) -> dict[str, str]:
        """One SHA-256 for all files of each source, by which a record says what a run has read."""
        return {name: SOURCES[name].fingerprint for name in self.sources}


def sample_digits(settings: Settings, split: str) -> Sampler:
    """Moving digits in their order, as paper A reads them."""
    digits = load_digits(split)
    law = settings.motion, tuple(settings.speeds)
    draw = MovingDigits(digits, settings.image_size, settings.length, *law)
    return Sampler(draw, draw.provenance, (digits.source,))


def sample_unordered_digits(settings: Settings, split: str) -> Sampler:
    """Moving digits without their order, as paper B reads them; grey with one channel."""
    draw = make_paths(settings, split, kept=settings.length)
    return Sampler(draw, draw.provenance, (draw.digits.source,))


def make_paths(settings: Settings, split: str, kept: int | None = None) -> MovingDigits:
    """Moving digits, grey with one channel, of whose frames so many are kept, by default all."""
    options = {"grey": settings.channels == 1, "kept": kept}
    return MovingDigits(load_digits(split), settings.image_size, PATH_LENGTH, **options)


def sample_frames(settings: Settings, split: str) -> Sampler:
    """Some frames of each sequence, without their order, as paper B reads them."""
    data = load_frames(settings, split)
    sentence = f"{settings.length} frames at a time of {data.provenance}"
    sources = get_dataset(settings.dataset).sources
    return Sampler(FrameSampler(data, settings.length), sentence, sources)


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


def sample_sequences(settings: Settings, split: str) -> Sampler:
    """Whole sequences, as paper C reads them."""
    data = load_sequences(settings.dataset, split, settings)
    return Sampler(SequenceSampler(data), data.provenance, get_dataset(settings.dataset).sources)


SAMPLERS: dict[str, Callable[[Settings, str], Sampler]] = {
    "moving_digits": sample_digits,
    "unordered_digits": sample_unordered_digits,
    "frames": sample_frames,
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
    known = list(inspect.signature(get_dataset(name).loader).parameters)[1:]
    return load_dataset(name, split, **{key: options[key] for key in known if key in options})


# ---- models and their runs


def make_config(settings: Settings) -> ModelConfig:
    """The config of a run's model: the fields that it has among the run's settings."""
    return read_config(settings.as_dict())


def build(settings: Settings, seed: int) -> SequenceModel:
    """A new model of these settings, its weights drawn with this seed."""
    torch.manual_seed(seed)
    return choose_class(settings.as_dict())(make_config(settings))


def train_model(
    model: SequenceModel,
    draw: Callable[[int, torch.Generator], Tensor | Batch],
    settings: Settings,
    seed: int = 0,
    checkpoint: Path | None = None,
    precision: str = "32-true",
    every: int | None = None,
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """`training.fit` with the arguments that a section of profiles.toml describes."""
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
        identity=select_decisive(settings),
        precision=precision,
        every=every,
        report=report,
        on_progress=getattr(model, "advance", None),  # of a `GatedPrediction`
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


def learning_rate(settings: Settings, step: int) -> float:
    """The learning rate of one update, from 1 on."""
    return schedule_value(rate_schedule(settings), (step - 1) / settings.steps)


def term_weights(settings: Settings, step: int) -> dict[str, float]:
    """The weights of the bound's terms at one update, from 1 on."""
    weights = weight_schedules(settings)
    return {name: schedule_value(curve, step / settings.steps) for name, curve in weights.items()}


def select_decisive(settings: Settings) -> dict:
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


def load_record(name: str, folder: Path | None = None) -> dict:
    """The record of a finished run by its name, such as "unordered/faces/quick/lone-seed0".

    folder: a folder of results; by default the clone's. The profile is the one in the name, even
    where UNBRAID_PROFILE is another. Raises `ResultsError` for a missing or damaged record.
    """
    return read_record((folder or store.shipped()) / f"{name}.run.json")


def load_model(name: str, folder: Path | None = None) -> SequenceModel:
    """The trained model of a run by its name, of whatever class; see `SequenceModel.load`."""
    return SequenceModel.load(name, folder)


def train_command(settings: Settings, seeds: list[int], precision: str = "32-true") -> str:
    """The command that trains these runs."""
    command = f"python -m unbraid train {settings.model} --dataset {settings.dataset}"
    command += f" --run {settings.run} --profile {settings.profile}"
    command += "".join(f" --seed {seed}" for seed in seeds)
    if settings.steps != load_settings(settings.section, settings.profile).steps:
        command += f" --steps {settings.steps}"
    return command + (f" --precision {precision}" if precision != "32-true" else "")


def train_run(
    settings: Settings,
    seed: int,
    sampler: Sampler,
    folder: Path,
    precision: str = "32-true",
) -> None:
    """Train one run with one seed, write its curve, weights and record, and print what is done.

    A run that was interrupted goes on at its last checkpoint; one that is finished is left alone.
    """
    path = folder / run_name(settings, seed)
    checkpoint = path.with_suffix(".checkpoint")
    now = {"precision": precision, "data_sha256": sampler.digests}
    if find_record(settings, path, now):
        print(f"{path.name}: finished before; delete {path}.run.json to train it again")
        checkpoint.unlink(missing_ok=True)
        return
    begin = last_update(checkpoint)
    beginning = note_beginning(path, resumed=bool(begin))
    updates = f"goes on after update {begin} of" if begin else "begins:"
    print(f"{path.name} {updates} {settings.steps} updates; {sampler.provenance}", flush=True)

    model = build(settings, seed)
    try:
        rows = train_model(model, sampler, settings, seed, checkpoint, precision, report=print_row)
    except KeyboardInterrupt:
        reached = last_update(checkpoint)
        print(f"\nthe same command goes on with {path.name} after update {reached}")
        raise
    except OSError as error:
        error.filename = error.filename or f"{path}.*"  # a full disk does not say what it refused
        raise

    store.write_csv(path.with_suffix(".training.csv"), rows)
    command = train_command(settings, [seed], precision)
    weights_sha256 = model.save(path.with_suffix(".safetensors"))
    more = now | beginning | {"data": sampler.provenance, "weights_sha256": weights_sha256}
    record = training.run_record(command, settings, seed, rows, **more)
    store.write_json(path.with_suffix(".run.json"), record)
    path.with_suffix(".begun.json").unlink(missing_ok=True)
    checkpoint.unlink()  # Last of all: a run killed before this line is resumed and not lost.
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
    """The commit of the clone, with "+changes" where tracked files differ from it; or "unknown"."""
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


def find_record(settings: Settings, path: Path, now: dict) -> dict | None:
    """The record of a complete run of these settings at a path without suffix, if there is one.

    now: what the record must say as well, such as the precision and the digests of the data.
    """
    files = [path.with_suffix(suffix) for suffix in (".run.json", ".training.csv", ".safetensors")]
    if not all(file.exists() for file in files):
        return None
    record = load_record(path.name, path.parent)
    is_whole = record["weights_sha256"] == store.digest(files[-1])
    is_same = record.items() >= now.items() and has_settings(record, settings)
    return record if is_whole and is_same else None


def has_settings(record: dict, settings: Settings) -> bool:
    """Whether a run was trained with these settings, whatever those of the evaluation are."""
    known = record["settings"]
    decisive = select_decisive(settings)
    return all(name in known and known[name] == value for name, value in decisive.items())


def limits_over_seeds(values: list[float]) -> list[float] | None:
    """The limits [low, high] of Student's 95 % interval over seeds; None of a single one."""
    interval = mean_interval(values)
    return [interval.low, interval.high] if interval.n > 1 else None


def summarise(by_seed: list[dict[str, float]]) -> dict:
    """One run's entry of metrics.json: means over seeds, the values by seed, 95 % intervals.

    An interval is [low, high], Student's over seeds; None where there is one seed.
    Raises `ResultsError` for NaN and infinity.
    """
    values, intervals = {}, {}
    for name in by_seed[0]:
        values[name] = [float(figures[name]) for figures in by_seed]
        if not all(map(math.isfinite, values[name])):
            raise store.ResultsError(f"metrics: expected finite numbers, found others in {name}")
        intervals[name] = limits_over_seeds(values[name])
    entry: dict = {name: sum(numbers) / len(numbers) for name, numbers in values.items()}
    return entry | {"by_seed": values, "intervals": intervals}


# ---- judges


@dataclass(frozen=True)
class JudgeTask:
    """What the judge of a dataset sees, the section of its settings, and the labels it names."""

    kind: type[FrameJudge]
    section: str
    labels: tuple[str, ...]


WORN = ("skin", "trousers", "top", "hair")
JUDGES = {  # A clip's motion is its action and direction in one, as in the papers.
    "sprites": JudgeTask(SequenceJudge, "judge", ("motion", *WORN)),
    "sprites_poses": JudgeTask(FrameJudge, "judge.poses", ("pose", "action", "direction", *WORN)),
    "digits": JudgeTask(FrameJudge, "judge.digits", ("red_digit", "green_digit")),
    "faces": JudgeTask(FrameJudge, "judge.faces", ("person",)),
    "mug": JudgeTask(SequenceJudge, "judge.mug", ("expression", "subject")),
}
JUDGED = {("single_element", "sprites"), ("single_element", "mug"), ("unordered", "sprites_poses")}
TEST_DIGITS = 2000  # frames of moving digits that the judge of digits is measured on
TEST_FRAMES = 10_000  # frames of a larger test set, drawn at random, that its judge is measured on


def judge_settings(dataset: str, profile: str | None = None) -> Settings:
    """The settings of a dataset's judge; `SettingsError` for a dataset without one."""
    check_name("dataset", dataset, JUDGES)
    return load_settings(JUDGES[dataset].section, profile)


def judge_examples(dataset: str, split: str, settings: Settings) -> tuple[Sampler, Sequences]:
    """What a judge learns from, and fixed examples that its reliability is measured on.

    Both are clips of sprites, and sequences of a single frame of all other datasets.
    """
    fixed = torch.Generator().manual_seed(1)
    if dataset == "digits":
        digits = load_digits(split)
        draw = MovingDigits(digits, settings.image_size, length=1)
        classes = dict.fromkeys(JUDGES[dataset].labels, tuple(map(str, range(10))))
        examples = replace(draw(TEST_DIGITS, fixed), classes=classes)
        return Sampler(draw, draw.provenance, (digits.source,)), examples
    data = load_sequences(dataset, split, settings)
    sources = get_dataset(dataset).sources
    if JUDGES[dataset].kind is SequenceJudge:
        return Sampler(SequenceSampler(data), data.provenance, sources), data.as_float()
    frames = FrameSampler(data, length=1)
    places = frames.observed.nonzero()  # (P, 2): a sequence and one of its observed frames

    def draw(count: int, generator: torch.Generator) -> Sequences:
        rows = torch.randint(len(places), (count,), generator=generator)
        return frames.take(places[rows, 0], places[rows, 1:])

    measured = places
    if len(places) > TEST_FRAMES:
        measured = places[torch.randperm(len(places), generator=fixed)[:TEST_FRAMES]]
    examples = frames.take(measured[:, 0], measured[:, 1:])
    return Sampler(draw, data.provenance, sources), examples


def show_judge(dataset: str, examples: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
    """Frames (N, C, H, W) or clips (N, T, C, H, W), and (N,) of each label that the judge names."""
    single = JUDGES[dataset].kind is FrameJudge
    labels = {name: examples.labels[name] for name in JUDGES[dataset].labels}
    for name in labels:
        if name in examples.dynamic:
            labels[name] = labels[name][:, 0]
    return examples.frames[:, 0] if single else examples.frames, labels


def judge_path(dataset: str, profile: str, seed: int = 0, folder: Path | None = None) -> Path:
    """Where the weights of a judge lie."""
    where = (folder or store.shipped()) / "judges" / dataset / profile
    return where / f"judge-seed{seed}.safetensors"


def name_judge(settings: Settings) -> str | None:
    """The dataset whose judge measures runs of these settings; None where there is no judge.

    It is that of the run's own dataset for the models and datasets in `JUDGED`; moving digits are
    judged in runs whose settings say so.
    """
    if (settings.model, settings.dataset) in JUDGED:
        return settings.dataset
    return getattr(settings, "evaluation_judge", None)


def find_judge(dataset: str, profile: str = "quick") -> Path:
    """The weights of a dataset's judge of this profile or, where there is none, of quick.

    They are those in results/, else those in build/results, where the command `judge` writes.
    Raises `ResultsError` where there are none.
    """
    for name in (profile, "quick"):
        for folder in (store.shipped(), OWN_RESULTS):
            path = judge_path(dataset, name, folder=folder)
            if path.exists():
                return path
    raise store.ResultsError(
        f"judge: expected that of {dataset}, found none; "
        f"train it with python -m unbraid judge {dataset} --profile {profile}"
    )


def open_judge(
    dataset: str, profile: str = "quick", classes: Mapping[str, tuple[str, ...]] | None = None
) -> FrameJudge:
    """The judge of a dataset, as `find_judge` finds it.

    classes: those of the data that it is to judge. Raises `ResultsError` where they are others, or
    where there is no judge.
    """
    return load_judge(find_judge(dataset, profile), classes)


def save_judge(judge: FrameJudge, path: Path, record: Mapping) -> None:
    """Write <name>.safetensors and <name>.run.json: `record`, what rebuilds the judge, a digest.

    Weights are in half precision: measure `reliability` on the judge that `load_judge` gives back.
    """
    description = {
        "kind": "sequences" if judge.recurrent else "frames",
        "classes": judge.classes,
        "sizes": judge.sizes,
    }
    digest = store.save_weights(Path(path), judge)
    content = {**record, "judge": description, "weights_sha256": digest}
    store.write_json(Path(path).with_suffix(".run.json"), content)


def train_judge(
    dataset: str, profile: str, folder: Path | None = None, seed: int = 0
) -> FrameJudge:
    """Train a judge, write its weights, record and curve, and return the judge as written."""
    settings = judge_settings(dataset, profile)
    sampler, examples = judge_examples(dataset, "train", settings)
    classes = {name: examples.classes[name] for name in JUDGES[dataset].labels}
    channels = examples.frames.shape[-3]
    sizes = (settings.width, settings.features, settings.hidden)
    torch.manual_seed(seed)
    judge = JUDGES[dataset].kind(classes, settings.image_size, channels, *sizes)

    def draw(count: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        frames, labels = show_judge(dataset, sampler(count, generator))
        return roughen(frames, settings.roughened, generator), labels

    every = max(1, settings.steps // 40)
    optimiser = (settings.batch_size, settings.learning_rate)
    rows = fit_judge(judge, draw, settings.steps, *optimiser, seed, every, print_row)
    path = judge_path(dataset, settings.profile, seed, folder)
    store.write_csv(path.with_suffix(".training.csv"), rows)
    record = training.run_record(
        f"python -m unbraid judge {dataset} --profile {settings.profile} --seed {seed}",
        settings,
        seed,
        rows,
        device=training.describe_cpu(),  # Judges train on it everywhere.
        precision="32-true",
        data=sampler.provenance,
        data_sha256=sampler.digests,
    )
    save_judge(judge, path, record)
    return load_judge(path)


def roughen(frames: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The last `share` of a batch (N, ...) blurred by 0.3 to 1 pixel and with noise up to 0.1.

    Decoders draw softer frames than any real one. A judge that has never seen such frames names
    their attributes by chance, and a model would be blamed for it.
    """
    kept = len(frames) - round(share * len(frames))
    if kept == len(frames):
        return frames
    sigma, deviation = torch.rand(2, generator=generator).tolist()
    rough = noisy(blurred(frames[kept:], 0.3 + 0.7 * sigma), 0.1 * deviation, generator)
    return torch.cat([frames[:kept], rough])


def measure_judge(judge: FrameJudge, dataset: str, profile: str, seed: int = 0) -> dict:
    """How far a judge is to be trusted on the test split, in the form of metrics.json.

    <condition>_<label>: accuracy on examples as they are (real), blurred, shifted and noisy.
    inception_score_<label>, conditional_entropy_<label> (nats): of real examples, which no model
        can be expected to surpass; only for labels all of whose classes are in the test set.
    """
    sampler, examples = judge_examples(dataset, "test", judge_settings(dataset, profile))
    frames, labels = show_judge(dataset, examples)
    reliabilities = reliability(judge, frames, labels, seed=seed)
    figures = {}
    for condition, accuracies in reliabilities.accuracy.items():
        figures |= {f"{condition}_{label}": figure for label, figure in accuracies.items()}
    for label, probabilities in judge.probabilities(frames).items():
        if len(labels[label].unique()) < len(judge.classes[label]):
            continue
        scores = generation_scores(probabilities, labels[label])
        figures[f"inception_score_{label}"] = scores.inception_score
        figures[f"conditional_entropy_{label}"] = scores.conditional_entropy
    entry = {name: figure.mean for name, figure in figures.items()}
    entry["by_seed"] = {name: [figure.mean] for name, figure in figures.items()}
    entry["intervals"] = {name: [figure.low, figure.high] for name, figure in figures.items()}
    protocol = {
        "data": sampler.provenance,
        "split": "test",
        "seeds": [seed],
        "examples": reliabilities.clips,
        "conditions": reliabilities.conditions,
        "intervals": "95 %, over test examples: Wilson's for accuracies, bootstrap for scores",
        "versions": training.read_versions(),
    }
    return {"judge": entry, "protocol": protocol}
