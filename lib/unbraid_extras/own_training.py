"""A model for anybody's own data: its config is chosen from the data, with reasons, and trained."""

from __future__ import annotations

import json
import tomllib
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import torch
from unbraid import locks, store, training
from unbraid.checkpoint import read_rows
from unbraid.checks import check_field, check_name
from unbraid.codes import bound_per_frame
from unbraid.data.sampling import FrameSampler, SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.models.base import ModelConfig, SequenceModel, describe_model
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames
from unbraid.networks import count_parameters

from unbraid_extras.own_data import OwnData

MODELS = {
    "independent": IndependentPrediction,
    "unordered": UnorderedFrames,
    "single_element": SingleElement,
}
FEWEST = 4  # training sequences
FEW = 50  # training sequences: with fewer, a model soon knows them by heart
LARGEST_BATCH = 16  # sequences per update
DRAWN = 4  # frames of a sequence per update, of the model that reads them without order
UPDATES = (300, 4000)  # at least and at most
VISITS = 500  # of each sequence at most
SECONDS = 150  # of training, about, on one core; with two it takes about two thirds
WIDTHS = {8: (48,), 16: (48, 96), 32: (32, 64, 96), 64: (24, 48, 64, 96)}  # of paper B's trunk
WIDTHS |= {128: (16, 24, 48, 64, 96), 256: (8, 16, 24, 48, 64, 96)}
ROWS = 50  # of the training curve
PATIENCE = 12  # rows without a better validation bound that end training, after its first half
VALIDATED = 100  # validation sequences behind each row, at most
BEGUN = "model.begun.json"  # the settings and the digest of the data of a run in a folder
RESULTS = ("model.safetensors", "model.training.csv", "model.run.json")  # of a finished run
WORKING = ("model.checkpoint", "model.best", "model.bounds.json")  # of one that goes on
MADE_OF_THEM = ("report.html", "codes.npz", "factors.npz")


@dataclass(frozen=True)
class Plan:
    """What is trained on own data, and why.

    options: arguments of `training.fit`, such as steps and weights. drawn: frames of a sequence per
    update, for the model without order. reasons: a sentence each.
    """

    model: str
    config: ModelConfig
    options: dict[str, object]
    drawn: int | None
    reasons: list[str]

    @property
    def settings(self) -> dict[str, object]:
        """What decides a run, as JSON holds it; the data are not among it."""
        settings = {"model": self.model, **self.options, **asdict(self.config)}
        return json.loads(json.dumps(settings | {"drawn": self.drawn}))


@dataclass
class Trained:
    """A trained model with its plan, its record, and its curve, a row of numbers per moment."""

    plan: Plan
    model: SequenceModel
    record: dict
    curve: list[dict]


# ---- the choice


def check_request(model: str, folder: Path, data: Path, accelerator: str) -> None:
    """Refuse what cannot be done, before data are read and before anything is replaced."""
    check_name("model", model, MODELS)
    training.choose_accelerator(accelerator)
    check_field(data.exists(), "data", "a file or a folder", f"none at {data}")
    is_inside = folder.resolve().is_relative_to(data.resolve())
    check_field(not is_inside, "to", "a folder outside the data (--to names one)", folder)
    try:
        store.check_writable(folder)
    except store.ResultsError as error:
        raise ValueError(str(error).replace("--results", "--to")) from None


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
    check_readable(model, data)
    train = data.splits["train"]
    key = model
    if train.kind == "series":
        key = "recordings" if data.kind == "recordings" else "series"
    table = tomllib.loads(resources.files("unbraid").joinpath("own_models.toml").read_text("utf-8"))
    options = table[key]
    begin, each = options.pop("cost")
    reasons = options.pop("reasons")
    config = MODELS[model].config_class.of(options.pop("config") | fit_sizes(model, train))
    drawn = min(DRAWN, train.length) if model == "unordered" else None

    batch_size = batch_size or min(LARGEST_BATCH, len(train))
    if train.kind == "frames":  # Larger ones have fewer channels.
        each *= train.frames.shape[-1] / 32
    seconds = begin + each * batch_size * (drawn or train.length)
    why = "as asked"
    if steps is None:
        most = min(SECONDS / seconds, VISITS * len(train) / batch_size)
        steps = int(min(max(most, UPDATES[0]), UPDATES[1]))
        why = f"for which two cores take about {steps * seconds / 90:.1f} min"
    options |= {"steps": steps, "batch_size": batch_size, "seed": seed}

    shown = asdict(config) | {"size": train.frames.shape[-1], "length": train.length}
    shown |= {"drawn": drawn, "halvings": len(getattr(config, "widths", ()))}
    reasons = [reason.format(**shown) for reason in reasons]
    reasons.append(f"Updates: at most {steps} with {batch_size} sequences each, {why}.")
    reasons.append(table["kept"])
    if len(train) < FEW:
        reasons.append(table["careful"].format(count=len(train)))
    print("".join(f"  {reason}\n" for reason in reasons), end="")
    return Plan(model, config, options, drawn, reasons)


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
        expected = f"sequences of equal length: --length {shortest} cuts them, and single_element "
        expected += "reads them as they are"
        check_field(shortest == train.length, "data", expected, "different lengths")
    is_readable = model != "independent" or train.frames.shape[2] > 1
    check_field(is_readable, "data", "frames of three colours, or another model", "grey frames")
    expected = f"{FEWEST} training sequences or more (--length and a smaller --stride cut more)"
    check_field(len(train) >= FEWEST, "data", expected, len(train))


# ---- the training


def hold(folder: Path) -> AbstractContextManager[None]:
    """Keep a folder to this process; `TrainingError` where another one trains there."""
    folder.mkdir(parents=True, exist_ok=True)
    refusal = training.TrainingError(
        f"{folder}: expected to train there alone, but another process does; wait for it, or "
        "name another folder with --to"
    )
    return locks.hold(folder / "model.lock", refusal)


class Enough(Exception):  # noqa: N818 - it is no error
    """Training ends early, because the validation bound has not risen for long."""


class Watch:
    """Keeps the bounds on validation sequences by update, and the weights of the best bound."""

    def __init__(self, model: SequenceModel, sample: Sequences, options: dict, folder: Path):
        self.model, self.sample, self.options = model, sample, options
        checkpoint, self.best_path, self.bounds_path = (folder / name for name in WORKING)
        self.bounds: dict[int, float] = {}
        if reached := last_update(checkpoint):
            # A row after the checkpoint comes again, in the same bits.
            written = store.read_json(self.bounds_path)
            self.bounds = {int(step): written[step] for step in written if int(step) <= reached}

    @property
    def best(self) -> int:
        """The update with the best validation bound."""
        return max(self.bounds, key=self.bounds.get)

    def __call__(self, row: dict) -> None:
        """Measure the validation bound at a row of the curve; raises `Enough`."""
        step = row["step"]
        self.model.eval()
        figures = bound_per_frame(self.model, [self.sample], self.options["seed"])
        self.model.train()
        self.bounds[step] = bound = figures["elbo_per_frame"]
        if self.best == step:
            store.save_tensors(self.best_path, self.model.state_dict())
        store.write_json(self.bounds_path, self.bounds)
        if len(self.bounds) % (ROWS // 10) == 0:
            train = f"training {row['elbo_per_frame']:.4g}, validation {bound:.4g}"
            print(f"  update {step}: bound per step: {train}; best at {self.best}", flush=True)
        late = [each for each in self.bounds if each > self.best]
        if len(late) >= PATIENCE and 2 * step > self.options["steps"]:
            raise Enough


def train(
    plan: Plan, data: OwnData, folder: Path, *, again: bool = False, accelerator: str = "auto"
) -> Trained:
    """Train as planned, or go on, or open what is finished; the files are those of the command.

    again: what is in the folder of another run is replaced. Raises `TrainingError` for a run of
    other settings or data in the folder without `again`.
    """
    for left in folder.glob(".model.*"):  # by a process that was killed in writing
        left.unlink()
    if again:
        remove(folder, (BEGUN, *RESULTS, *WORKING, *MADE_OF_THEM))
    weights, curve, record_path = (folder / name for name in RESULTS)
    settings = plan.settings | {"data_sha256": digest(data)}
    if (folder / BEGUN).exists():
        refuse_another(store.read_json(folder / BEGUN), settings, folder)
    store.write_json(folder / BEGUN, settings)
    if record_path.exists():
        print(f"{folder}: trained before; only the report is written anew (--again trains anew)")
    else:
        fit(plan, data, folder, settings, accelerator)
    remove(folder, WORKING)  # Last of all: a run that is killed before this line is resumed.
    record = store.read_record("model", folder)
    return Trained(plan, SequenceModel.load(weights), record, store.read_csv(curve))


def fit(plan: Plan, data: OwnData, folder: Path, settings: dict, accelerator: str) -> None:
    """Train until the end, or until the validation bound has long not risen; write the results."""
    torch.manual_seed(plan.options["seed"])
    model = MODELS[plan.model](plan.config)
    weights, curve, record_path = (folder / name for name in RESULTS)
    checkpoint, best, _ = (folder / name for name in WORKING)
    reached = last_update(checkpoint)
    word = f"goes on after update {reached}" if reached else "begins"
    print(f"{folder}: training {word}, {count_parameters(model)} parameters", flush=True)

    validation = data.splits["validation"]
    generator = torch.Generator().manual_seed(plan.options["seed"])
    sample = validation.subset(torch.randperm(len(validation), generator=generator)[:VALIDATED])
    draw = SequenceSampler(data.splits["train"])
    if plan.drawn:
        sample = FrameSampler(sample, plan.drawn).each(generator)
        draw = FrameSampler(data.splits["train"], plan.drawn)
    watch = Watch(model, sample, plan.options, folder)
    try:
        training.fit(
            model,
            draw,
            **plan.options,
            checkpoint=checkpoint,
            every=max(1, plan.options["steps"] // ROWS),
            accelerator=accelerator,
            report=watch,
        )
    except Enough:
        print("  the validation bound has risen no more; training ends")
    except KeyboardInterrupt:
        print(f"\nthe same command goes on after update {last_update(checkpoint)}", flush=True)
        raise

    rows = read_rows(checkpoint)
    store.write_csv(curve, [row | {"validation": watch.bounds[row["step"]]} for row in rows])
    model.load_state_dict(store.load_tensors(best))
    record = {
        "model": describe_model(model),
        "settings": settings,
        "reasons": plan.reasons,
        "notes": data.notes,
        "weights_sha256": model.save(weights),
        "best_update": watch.best,
        "updates": rows[-1]["step"],
        "seconds": rows[-1]["seconds"],
        "parameters": count_parameters(model),
    }
    store.write_json(record_path, record)  # The last of the results: it says that they are there.


def remove(folder: Path, names: tuple[str, ...]) -> None:
    """Remove files of a folder, if they are there."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def last_update(checkpoint: Path) -> int:
    """The update that a checkpoint was written after; 0 where there is none."""
    return read_rows(checkpoint)[-1]["step"] if checkpoint.exists() else 0


def digest(data: OwnData) -> str:
    """SHA-256 of all values and masks of the three splits."""
    tensors = {}
    for name, part in data.splits.items():
        tensors |= {name: part.frames, f"{name} mask": part.observed}
    return store.contents(tensors)


def refuse_another(before: dict, now: dict, folder: Path) -> None:
    """Refuse a folder with a run of other settings or data, with what differs."""
    differing = [name for name in now if before.get(name) != now[name]]
    if differing:
        texts = []
        for name in differing[:4]:
            values = f"{before.get(name)} (now {now[name]})"
            texts.append(name if len(values) > 60 else f"{name} {values}")
        raise training.TrainingError(
            f"{folder}: expected a run of these settings and data, found one with other "
            f"{', '.join(texts)}; --again replaces it, --to names another folder"
        )
