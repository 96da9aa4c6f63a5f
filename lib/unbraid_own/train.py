"""unbraid train: a model of one's own sequences, step by step as in notebook 42, and its page.

`data.load`, `choose`, `train`, `encode` and `measure` may be called one after another as well.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from unbraid import records
from unbraid.checks import check_field, check_names, check_seed, check_whole
from unbraid.codes import bound_per_frame
from unbraid.data.sampling import SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.files import write_atomically
from unbraid.models.elements import SingleElementConfig
from unbraid.models.single_element import SingleElement
from unbraid.support.tensors import digest_tensors
from unbraid.training import fit, keep_alone, read_rows

from unbraid_own import codes, pages
from unbraid_own.arrays import check_inputs
from unbraid_own.data import OwnData, load
from unbraid_own.measure import measure
from unbraid_own.suspicion import refuse_group
from unbraid_own.verdict import FEWEST

LARGEST_BATCH = 16  # sequences behind an update
UPDATES = (300, 4000)  # at least and at most
VISITS = 500  # of each sequence at most
SECONDS = 150  # of training, about, on one fast core
TWO_CORES = 30  # of these seconds in a minute of two cores of a slow server
VALIDATED = 100  # sequences behind each row of the curve, at most
WEIGHTS, CURVE, CHECKPOINT, LOCK = (f"model.{end}" for end in ("safetensors", "csv", "run", "lock"))


class Plan(NamedTuple):
    """What is trained, and why: a config, the arguments of `fit`, a sentence each."""

    config: SingleElementConfig
    options: dict[str, Any]
    reasons: list[str]


def choose(clips: Sequences, steps: int | None = None, seed: int = 0) -> Plan:
    """Paper C's model for training sequences, and its training.

    steps: updates, instead of those that are proposed.
    """
    check_seed(seed)
    check_whole(1, steps=1 if steps is None else steps)
    table = tomllib.loads(Path(__file__).with_name("models.toml").read_text("utf-8"))
    options = table[clips.kind]
    config = options.pop("config") | {"channels": clips.frames.shape[2]}
    (begin, each), why = options.pop("cost"), options.pop("reason")
    batch_size = min(LARGEST_BATCH, len(clips))
    seconds = begin + each * batch_size * clips.length
    most = min(SECONDS / seconds, VISITS * len(clips) / batch_size)
    proposed = int(np.clip(most, *UPDATES))
    steps = steps or proposed
    options |= {"steps": steps, "batch_size": batch_size, "seed": seed}
    sizes = f"{config['static_size']} units, the dynamic code {config['dynamic_size']} a step"
    takes = f"{steps} updates ({proposed} are proposed) of {batch_size} sequences take about"
    reasons = [f"The static code has {sizes}.", why]
    reasons.append(f"{takes} {steps * seconds / TWO_CORES:.1f} minutes of two slow cores.")
    return Plan(SingleElementConfig.of(config), options, reasons)


def train(plan: Plan, data: OwnData, folder: Path | str) -> SingleElement:
    """Train as planned, or go on after an interruption; the weights of the best validation bound.

    Into the folder go model.safetensors, model.csv (the curve) and model.run, the checkpoint of
    `fit`, which refuses other settings or data.
    """
    folder, options = Path(folder), plan.options
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, rows = folder / CHECKPOINT, []
    is_own = checkpoint.exists() or not any(folder.iterdir())
    check_field(is_own, "to", "a new folder, or that of a run that goes on", f"files in {folder}")
    torch.manual_seed(options["seed"])
    model, draw = SingleElement(plan.config), SequenceSampler(data.splits["train"])
    order = torch.Generator().manual_seed(options["seed"])
    validation = data.splits["validation"]
    sample = validation.subset(torch.randperm(len(validation), generator=order)[:VALIDATED])
    if checkpoint.exists():  # A row after the checkpoint comes again, in the same bits.
        reached = read_rows(checkpoint)[-1]["step"]
        rows = [row for row in records.read_csv(folder / CURVE) if row["step"] <= reached]

    def keep_best(row: dict) -> None:
        """Measure the bound of the validation split, and keep the weights of the best one."""
        bound = bound_per_frame(model, [sample], options["seed"])["elbo_per_frame"]
        rows.append(row | {"validation": bound})
        if bound >= max(each["validation"] for each in rows):
            model.save(folder / WEIGHTS)
        records.write_csv(folder / CURVE, rows)

    of_data = {name: part.frames for name, part in data.splits.items()}
    identity = {"sequences": digest_tensors(of_data, {"splits": data.names})}
    run: dict[str, Any] = {"identity": identity, "report": keep_best}
    with keep_alone(folder / LOCK, "name another --to"):
        fit(model, draw, **options, checkpoint=checkpoint, **run)
    return SingleElement.load(folder / WEIGHTS)


# ---- the command


def run(
    data: Path,
    labels: Path | None,
    group: str | None,
    dynamic: Sequence[str] | None,
    to: Path | None,
    steps: int | None,
    seed: int,
) -> None:
    """Read, split, fit, encode, measure, and write the page; stop before where it cannot conclude.

    Into the folder go the files of `train`, codes.npz and factors.npz for unbraid measure, and
    report.html.
    """
    folder = to or Path("build", "own", data.resolve().stem)
    is_outside = not folder.resolve().is_relative_to(data.resolve())
    check_field(is_outside, "to", "a folder outside the data", folder)
    own = load(data, labels, group, seed)
    print(own)
    plan = choose(own.splits["train"], steps, seed)
    check_conclusive(plan, own, group, dynamic)
    print(plan.reasons[-1], flush=True)
    model = train(plan, own, folder)
    sample = codes.encode(model, own)
    swaps = codes.swap(model, own, [*(dynamic or ()), *own.splits["test"].dynamic], seed)
    groups = None if group is None else sample.owners
    report = measure(sample.codes, sample.factors, dynamic=dynamic, groups=groups, seed=seed)
    report = replace(report, made=pages.say_how(sys.argv[1:]))
    shown: Any = pages.TEMPLATES.get_template("train.html.j2").module
    above, below = shown.top(*swaps), shown.bottom(own, plan, sample.splits)
    html = report.as_html(f"What the model has learnt from {data.name}", above, below)
    np.savez(folder / "codes.npz", **sample.codes)  # type: ignore[arg-type]
    np.savez(folder / "factors.npz", **sample.factors)  # type: ignore[arg-type]
    write_atomically(folder / "report.html", html.encode(errors="backslashreplace"))
    print(*report.lines(folder / "report.html"), sep="\n")


def check_conclusive(
    plan: Plan, data: OwnData, group: str | None, dynamic: Sequence[str] | None
) -> None:
    """Refuse data of which no report could conclude anything, before a model is trained."""
    labels = data.splits["test"].labels
    expected = f"{FEWEST} independent clips, series or groups or more, for any conclusion"
    check_field(data.count >= FEWEST, "data", expected, data.count)
    expected = "labels.csv with a column id and one for each label, since without them no report "
    expected += "says anything (load, choose and train of unbraid_own make a model)"
    check_field(labels, "labels", expected, "none")
    is_known = dynamic is not None or bool(data.splits["test"].dynamic)
    expected = f"--dynamic with those of {', '.join(labels)} that describe the motion, or ''"
    check_field(is_known, "dynamic", expected, "no word on any")
    check_names("dynamic", dynamic or (), labels)
    sample = codes.encode(SingleElement(plan.config), data)
    groups = None if group is None else sample.owners
    inputs = check_inputs(sample.codes, sample.factors, dynamic, groups)
    if groups is None:
        refuse_group(inputs.given)
