"""A model for anybody's own data: its config is chosen from the data, with reasons, and trained."""

from __future__ import annotations

import hashlib
import json
import time
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from unbraid import files, records
from unbraid.checks import check_field, check_name, check_path, check_seed, check_type, check_whole
from unbraid.codes import bound_per_frame
from unbraid.data.sampling import FrameSampler, SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.models.base import ModelConfig, SequenceModel, describe_model
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames
from unbraid.networks import count_parameters
from unbraid.support.progress import in_notebook
from unbraid.support.schedules import schedule_value
from unbraid.support.tensors import write_tensors
from unbraid.training import (
    TrainingError,
    choose_accelerator,
    fit,
    keep_alone,
    read_checkpoint,
    read_rows,
)
from unbraid.variants import SpeechElement

from unbraid_own.outputs import check_outputs, is_made_by, provenance
from unbraid_own.own_data import OwnData

MODELS: dict[str, type[SequenceModel]] = {
    "independent": IndependentPrediction,
    "unordered": UnorderedFrames,
    "single_element": SingleElement,
}
FEWEST_SEQUENCES = 4  # in training
FEW_SEQUENCES = 50  # in training: with fewer, a model soon knows them by heart
LARGEST_BATCH = 16  # sequences per update
DRAWN_FRAMES = 4  # of a sequence per update, by the model that reads frames without order
UPDATES = (300, 4000)  # at least and at most
VISITS = 500  # of each sequence at most
SECONDS = 150  # of training, about, on one fast core; more for frames beyond 32 pixels
TWO_CORES = 30  # of these seconds in a minute of two cores of a slow server
WIDTHS = {8: (48,), 16: (48, 96), 32: (32, 64, 96), 64: (24, 48, 64, 96)}  # of paper B's trunk
WIDTHS |= {128: (16, 24, 48, 64, 96), 256: (8, 16, 24, 48, 64, 96)}
ROWS = 50  # of the training curve
SILENCE = 20  # seconds, at most, from a line on the progress to that of the next row
VALIDATED = 100  # validation sequences behind each row, at most

# Files of a run in its folder.
MADE_BY = "unbraid_own train"
BEGUN = "model.begun.json"  # its settings, the digests of its data and of what it wrote
RESULTS = ("model.safetensors", "model.training.csv", "model.run.json")
LOCK = "model.lock"
WORKING = ("model.checkpoint", "model.best", "model.rows.json")  # from which it goes on
REPORTED = ("report.html", "codes.npz", "factors.npz")


@dataclass(frozen=True)
class Plan:
    """What is trained on own data, and why.

    options: arguments of `training.fit`. drawn: frames of a sequence per update, for the model
    without order. reasons: a sentence each.
    """

    model: str
    model_class: type[SequenceModel]
    config: ModelConfig
    options: dict[str, Any]
    drawn: int | None
    reasons: list[str]

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides a run but the data, as JSON holds it."""
        settings = {"model": self.model, **self.options, **asdict(self.config)}
        return json.loads(json.dumps(settings | {"drawn": self.drawn}))


@dataclass
class Trained:
    """A trained model with its plan, its record, and its curve, a row of numbers per moment."""

    plan: Plan
    model: SequenceModel
    record: dict
    curve: list[dict]


def check_counts(**counts: Any) -> None:
    """Refuse counts that are not whole numbers from 1; None leaves a count to the plan."""
    check_whole(1, **{name: count for name, count in counts.items() if count is not None})


def check_request(
    model: str, folder: Path, inputs: Sequence[Path], accelerator: str, **counts: Any
) -> None:
    """Refuse what cannot be done before data are read. counts: steps, batch_size, or None.

    inputs: the data, then what else is read.
    """
    check_name("model", model, MODELS)
    check_counts(**counts)
    choose_accelerator(accelerator)
    is_inside = folder.resolve().is_relative_to(inputs[0].resolve())
    expected = "a folder outside the data (--to names one; is --data a level too high?)"
    check_field(not is_inside, "to", expected, folder)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        expected = "a folder that can be written into (--to names another)"
        raise ValueError(f"to: expected {expected}, found {folder}: {error.strerror}") from None
    check_folder(folder, inputs)
    if is_new:  # until there is something to write
        with suppress(OSError):
            folder.rmdir()


def check_folder(folder: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse a folder in which this run would replace an input, or a file that no run here wrote.

    Whatever is in the folder is the user's, unless the marker of a run says its digest.
    """
    written = read_marker(folder).get("written", {})
    for path in (folder / name for name in (BEGUN, *RESULTS, *WORKING, *REPORTED)):
        is_own = path.name in (BEGUN, *WORKING)
        if path.is_file() and not is_own:
            is_own = files.digest(path) in written.get(path.name, ())
        check_outputs([path], inputs, MADE_BY, folder / BEGUN if is_own else None)


def read_marker(folder: Path) -> dict[str, Any]:
    """What a run notes in its folder before it writes anything else; {} where there is none."""
    path = folder / BEGUN
    return records.read_json(path) if is_made_by(path, MADE_BY) else {}


def write_known(path: Path, content: bytes) -> None:
    """Write a file of a run, whose marker holds its digest already, so that it is known as such."""
    marker = read_marker(path.parent)
    before = marker["written"].get(path.name, [])[-1:]  # in place until the new one is
    marker["written"][path.name] = [*before, hashlib.sha256(content).hexdigest()]
    records.write_json(path.parent / BEGUN, marker)
    files.write_atomically(path, content)


def choose(
    model: str,
    data: OwnData,
    *,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int | None = None,
) -> Plan:
    """The config of a model and its training, from what the data are; prints the reasons.

    steps, batch_size: instead of those that would be chosen. Raises `ValueError` for data that the
    model cannot read or learn from, with the remedy.
    """
    check_name("model", model, MODELS)
    check_seed(seed)
    check_counts(steps=steps, batch_size=batch_size)
    check_type(OwnData, data=data)
    check_readable(model, data)
    train = data.splits["train"]
    table = tomllib.loads(Path(__file__).with_name("own_models.toml").read_text("utf-8"))
    key = model if train.kind == "frames" else "series"
    options = table[data.kind if data.kind == "recordings" else key]
    (begin, each), reasons = options.pop("cost"), options.pop("reasons")
    model_class = SpeechElement if data.kind == "recordings" else MODELS[model]
    config = model_class.config_class.of(options.pop("config") | fit_sizes(model, train))
    drawn = min(DRAWN_FRAMES, train.length) if model == "unordered" else None

    batch_size = batch_size or min(LARGEST_BATCH, len(train))
    larger = train.frames.shape[-1] / 32 if train.kind == "frames" else 1.0
    # Networks for larger frames have fewer channels, and need as many updates: more time.
    seconds = begin + each * larger * batch_size * (drawn or train.length)
    most = min(max(1, larger) * SECONDS / seconds, VISITS * len(train) / batch_size)
    proposed = int(min(max(most, UPDATES[0]), UPDATES[1]))
    steps = steps or proposed
    why = f"for which two cores of a server take about {steps * seconds / TWO_CORES:.1f} min"
    why += f", as asked ({proposed} are proposed)" * (steps != proposed)
    options |= {"steps": steps, "batch_size": batch_size, "seed": seed}

    shown = asdict(config) | {"size": train.frames.shape[-1], "length": train.length}
    shown |= {"drawn": drawn, "halvings": len(getattr(config, "widths", ()))}
    reasons = [reason.format(**shown) for reason in reasons]
    reasons.append(f"Updates: {steps} with {batch_size} sequences each, {why}.")
    reasons.append(table["kept"])
    if len(train) < FEW_SEQUENCES:
        reasons.append(table["careful"].format(count=len(train)))
    print("".join(f"  {reason}\n" for reason in reasons), end="")
    return Plan(model, model_class, config, options, drawn, reasons)


def fit_sizes(model: str, train: Sequences) -> dict[str, object]:
    """The fields of a config that the shape of the data decides."""
    channels, size = train.frames.shape[2], train.frames.shape[-1]
    if train.kind == "series":
        return {"channels": channels}
    if model == "unordered":
        return {"image_size": size, "channels": channels, "widths": WIDTHS[size]}
    at_32 = 16 if model == "independent" else 24
    # Channels double with each halving: the last convolution has as many at 32 pixels and more.
    width = max(4, min(2 * at_32, at_32 * 32 // size))
    return {"image_size": size, "channels": channels, "width": width}


def check_readable(model: str, data: OwnData) -> None:
    """Refuse data that a model cannot read: series, gaps, grey frames, too few sequences."""
    train = data.splits["train"]
    if model != "single_element":
        expected = f"frames, since {model} reads no series (single_element does)"
        check_field(train.kind == "frames", "model", expected, f"{data.kind} for {model}")
        shortest = min(int(part.observed.sum(1).min()) for part in data.splits.values())
        expected = f"equal lengths (--length {shortest} cuts them), or the model single_element"
        check_field(shortest == train.length, "data", expected, "different lengths")
    is_readable = model != "independent" or train.frames.shape[2] > 1
    check_field(is_readable, "data", "frames of three colours, or another model", "grey frames")
    expected = f"{FEWEST_SEQUENCES} training sequences or more (a smaller --stride cuts more)"
    check_field(len(train) >= FEWEST_SEQUENCES, "data", expected, len(train))


class Watch:
    """Keeps the rows of the curve with the validation bound, and the weights of the best one."""

    def __init__(self, model: SequenceModel, sample: Sequences, options: dict, folder: Path):
        self.model, self.sample, self.options = model, sample, options
        checkpoint, self.best_path, self.rows_path = (folder / name for name in WORKING)
        self.rows: list[dict] = []
        self.said = time.monotonic()
        if reached := last_update(checkpoint):
            # A row after the checkpoint comes again, in the same bits.
            written = records.read_json(self.rows_path)["rows"]
            self.rows = [row for row in written if row["step"] <= reached]

    @property
    def best(self) -> int:
        """The update with the best validation bound."""
        return max(self.rows, key=lambda row: row["validation"])["step"]

    def __call__(self, row: dict) -> None:
        """Measure the validation bound at a row of the curve."""
        figures = bound_per_frame(self.model, [self.sample], self.options["seed"])
        self.rows.append(row | {"validation": figures["elbo_per_frame"]})
        if self.best == row["step"]:
            self.model.save(self.best_path)
        records.write_json(self.rows_path, {"rows": self.rows})
        is_late = time.monotonic() - self.said > SILENCE and not in_notebook()
        if is_late or len(self.rows) % (ROWS // 10) == 0:
            self.said = time.monotonic()
            share = row["step"] / self.options["steps"]
            done = f"update {row['step']} of {self.options['steps']} ({share:.0%})"
            if not in_notebook():  # whose outputs are the same each time
                done += f", {row['seconds'] * (1 / share - 1) / 60:.1f} min left"
            text = "training {elbo_per_frame:.4g}, validation {validation:.4g} nats per step"
            print(f"  {done}: {text.format(**self.rows[-1])}, best at {self.best}", flush=True)


def train(
    plan: Plan,
    data: OwnData,
    folder: Path | str,
    *,
    again: bool = False,
    accelerator: str = "auto",
    made: dict[str, Any] | None = None,
) -> Trained:
    """Train as planned, or go on, or open what is finished; the files are those of the command.

    A run of fewer steps goes on with what it lacks. again: another run in the folder is replaced.
    made: the `provenance`, for the record. Raises `TrainingError` for a run of other settings or
    data in the folder without `again`, and `ValueError` for files that no run here wrote.
    """
    check_type(Plan, plan=plan)
    check_type(OwnData, data=data)
    check_type(bool, again=again)
    check_path(folder=folder)
    folder = Path(folder)
    check_field(folder.is_dir() or not folder.exists(), "folder", "a folder", f"the file {folder}")
    with keep_alone(folder / LOCK, "name another --to"):
        check_folder(folder)
        settings, made = plan.settings | {"data_sha256": digest(data)}, made or provenance()
        if begun := {} if again else read_marker(folder):
            differing = [name for name in settings if begun["settings"].get(name) != settings[name]]
            done = last_update(folder / WORKING[0])
            if differing == ["steps"] and settings["steps"] > done > 0:
                (folder / RESULTS[-1]).unlink(missing_ok=True)  # It is not finished any more.
                begun["shorter"] = [*begun.get("shorter", ()), [done, begun["settings"]["steps"]]]
                begun["settings"] = settings
                records.write_json(folder / BEGUN, begun)
            elif differing:
                expected = f"{folder}: expected a run of these settings and data, found one with"
                remedy = "--again replaces it, --to names another folder"
                raise TrainingError(f"{expected} other {', '.join(differing)}; {remedy}")
        else:
            for name in (*RESULTS, *WORKING, *REPORTED):  # The old marker stays until now.
                (folder / name).unlink(missing_ok=True)
            begun = {"made_by": MADE_BY, "settings": settings, "provenance": made, "written": {}}
            records.write_json(folder / BEGUN, begun)
        weights, curve, record_path = (folder / name for name in RESULTS)
        if record_path.exists():
            said = "trained before; only the report is written anew (--again trains anew)"
            print(f"{folder}: {said}")
        else:
            known = {"settings": settings, "notes": data.notes, "provenance": made}
            known |= {"begun": begun["provenance"], "shorter": begun.get("shorter", [])}
            train_to_end(plan, data, folder, known, accelerator)
        record = records.read_record("model", folder)
        return Trained(plan, SequenceModel.load(weights), record, records.read_csv(curve))


def train_to_end(plan: Plan, data: OwnData, folder: Path, known: dict, accelerator: str) -> None:
    """Train until the end, and write the results. known: what the record says in addition."""
    torch.manual_seed(plan.options["seed"])
    model = plan.model_class(plan.config)
    weights, curve, record_path = (folder / name for name in RESULTS)
    checkpoint, best, _ = (folder / name for name in WORKING)
    reached = last_update(checkpoint)
    word = f"goes on after update {reached}" if reached else "begins"
    print(f"{folder}: training {word}, {count_parameters(model)} parameters", flush=True)
    others, reasons = find_others(plan.options, known["shorter"]), [*plan.reasons]
    if known["shorter"]:
        done, steps = known["shorter"][-1][0], plan.options["steps"]
        said = f"differed in {', '.join(others)}" if others else "ended in the same weights"
        whole = f"one of {steps} from the start would have {said}"
        reasons.append(f"It goes on from {done} updates of a shorter run; {whole}.")
        print(f"  {reasons[-1]}", flush=True)
        rows, identity, tensors = read_checkpoint(checkpoint)  # with Adam's moments and the noise
        written = {"identity": identity | {"steps": steps}, "rows": rows}
        write_tensors(checkpoint, tensors, "run", written)

    validation = data.splits["validation"]
    generator = torch.Generator().manual_seed(plan.options["seed"])
    sample = validation.subset(torch.randperm(len(validation), generator=generator)[:VALIDATED])
    draw: SequenceSampler | FrameSampler = SequenceSampler(data.splits["train"])
    if plan.drawn:
        sample = FrameSampler(sample, plan.drawn).each(generator)
        draw = FrameSampler(data.splits["train"], plan.drawn)
    watch = Watch(model, sample, plan.options, folder)
    try:
        # Compiling would take a good part of such a short run.
        run: dict[str, Any] = {"checkpoint": checkpoint, "accelerator": accelerator}
        run |= {"every": max(1, plan.options["steps"] // ROWS), "report": watch}
        fit(model, draw, **plan.options, **run)
    except KeyboardInterrupt:
        print(f"\nthe same command goes on after update {last_update(checkpoint)}", flush=True)
        raise

    write_known(curve, records.as_csv(watch.rows))
    write_known(weights, best.read_bytes())
    record = known | {
        "model": describe_model(model),
        "reasons": reasons,
        "weights_sha256": files.digest(weights),
        "best_update": watch.best,
        "updates": watch.rows[-1]["step"],
        "seconds": watch.rows[-1]["seconds"],
        "parameters": count_parameters(model),
    }
    # Last of the results: it says that they are there.
    text = json.dumps(record, indent=1, ensure_ascii=False)
    write_known(record_path, text.encode(errors="backslashreplace"))


def find_others(options: dict[str, Any], shorter: Sequence[Sequence[int]]) -> list[str]:
    """What shorter runs, [updates, steps] of each, had otherwise; if nothing, they make one run."""
    steps, others = options["steps"], []
    lived: list[tuple[float, float]] = []
    for done, before in shorter:  # each update by its share of that run, and of this one
        lived += [(update / before, update / steps) for update in range(done + 1)]
    for name, curve in ({"learning_rate": options["learning_rate"]} | options["weights"]).items():
        if any(schedule_value(curve, then) != schedule_value(curve, now) for then, now in lived):
            others.append(name.replace("_", " "))
    every = max(1, steps // ROWS)
    is_same = all(max(1, before // ROWS) == every and done % every == 0 for done, before in shorter)
    return others if is_same else [*others, "the updates among which the best is kept"]


def last_update(checkpoint: Path) -> int:
    """The update that a checkpoint was written after; 0 where there is none."""
    return read_rows(checkpoint)[-1]["step"] if checkpoint.exists() else 0


def digest(data: OwnData) -> str:
    """SHA-256 of all values and masks of the three splits."""
    total = hashlib.sha256()
    for name, part in sorted(data.splits.items()):
        for field, values in ((name, part.frames), (f"{name} mask", part.observed)):
            total.update(field.encode())
            for row in values:  # one by one, since clips of a film share its frames in memory
                total.update(row.contiguous().numpy().tobytes())
    return total.hexdigest()
