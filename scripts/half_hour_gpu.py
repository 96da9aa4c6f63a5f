"""What half an hour of one GPU is best spent on: paper A to a million sequences, then paper C.

    python scripts/half_hour_gpu.py --minutes 28 --out FOLDER
    python scripts/half_hour_gpu.py --join FOLDER --results build/results

The first command trains, at the papers' size (profile full), both models of paper A on bouncing
digits for 10 000 updates of 100 sequences, and then paper C on sprites as long as the minutes last.
It may be called again: it goes on from its checkpoints (--checkpoints), also in several short
calls. FOLDER (by default $OUT, else build/half_hour/out) gets the weights in half precision, in
parts of at most 16 MiB, and records.json with settings, curves and digests: five files in all.
The second command joins the parts of FOLDER to runs that `unbraid.experiments.load_model` reads.

Needed are Python 3.11 to 3.13 and torch >= 2.8 with CUDA, and these packages, which `fit` and the
library's data import (a GPU machine often lacks some):

    python -m pip install lightning-fabric safetensors numpy pandas scipy pooch requests tqdm pillow

Where lightning-fabric is missing, the package lightning does. The library is found in lib/ beside
this folder, so that it need not be installed. The data travel with the clone: sprites, and the
sample of MNIST's digits (set UNBRAID_MIRROR to use all of them). The sprites are composed at first,
which takes 1.1 GB in data/cache.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("torch", "safetensors", "numpy", "pandas", "scipy", "pooch", "requests", "tqdm", "PIL")
# Sections with the updates that are wanted; None is as many as the section has.
PLAN = (
    ("independent.bounce.factored", 10_000),
    ("independent.bounce.entangled", 10_000),
    ("single_element.sprites", None),
)
PART_BYTES = 16 * 2**20 - 2**16  # of tensors in a file, so that it stays below 16 MiB
OFTEN = 500  # updates between two checkpoints, at most; a hundredth of a shorter run


class TimeIsUp(Exception):
    """The minutes are over; the last checkpoint has everything."""


def check_packages() -> None:
    """Stop with what to install, unless all packages are here."""
    missing = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    try:
        importlib.import_module("lightning_fabric")
    except ImportError:
        try:  # The package lightning holds the same under another name.
            sys.modules["lightning_fabric"] = importlib.import_module("lightning.fabric")
        except ImportError:
            missing.append("lightning-fabric")
    if missing:
        sys.exit(f"missing packages: {', '.join(missing)}; see python {sys.argv[0]} --help")


def keep_bytes_on(device, settings):
    """A supply of sequences whose frames lie on the device as bytes and become floats there.

    It draws the same sequences as the run of the same seed on the processor. Datasets that are
    computed stay as they are.
    """
    import torch
    from unbraid import experiments
    from unbraid.models.base import Batch

    if settings.sampler != "sequences":
        return experiments.make_sampler(settings)
    data = experiments.load_sequences(settings.dataset, "train", settings)
    frames = data.frames.to(device)

    def draw(count, generator):
        rows = torch.randint(len(frames), (count,), generator=generator)
        return Batch(frames[rows.to(device)].float().div_(255))

    sources = experiments.get_dataset(settings.dataset).sources
    return experiments.Sampler(draw, data.provenance, sources)


def train(settings, sampler, checkpoint: Path, deadline: float) -> None:
    """Train one run until it is finished or the time is up; the checkpoint has what there is."""
    from unbraid import experiments

    model, report = experiments.build(settings, 0), experiments.print_row
    every = max(1, min(OFTEN, settings.steps // 100))

    def draw(count, generator):
        if time.monotonic() > deadline:
            raise TimeIsUp
        return sampler(count, generator)

    try:
        experiments.train_model(model, draw, settings, 0, checkpoint, every=every, report=report)
    except TimeIsUp:
        print(f"{settings.section}: the time is up", flush=True)


def save(settings, sampler, checkpoint: Path, folder: Path) -> dict:
    """Write the weights of a checkpoint in half precision, in parts; return the run's record."""
    import torch
    from unbraid import experiments, results, training
    from unbraid.checkpoint import make_row, select

    tensors = results.load_tensors(checkpoint)
    rows = [make_row(*values) for values in tensors["rows"].tolist()]
    model = experiments.build(settings, 0)
    model.load_state_dict(select(tensors, "model."))
    name = settings.section.replace(".", "-")
    whole = folder / f".{name}.safetensors"
    digest = model.save(whole)
    parts, size = [{}], 0
    for key, values in results.load_tensors(whole).items():
        if size + values.nbytes > PART_BYTES:
            parts.append({})
            size = 0
        parts[-1][key] = values
        size += values.nbytes
    whole.unlink()
    for number, part in enumerate(parts):
        results.save_tensors(folder / f"{name}.{number}.safetensors", part)
    reached = settings.but(steps=rows[-1]["step"])
    command = f"python scripts/half_hour_gpu.py --profile {settings.profile}"
    more = {"precision": "32-true", "data": sampler.provenance, "data_sha256": sampler.digests}
    more |= {"matrix_products": torch.get_float32_matmul_precision(), "weights_sha256": digest}
    record = training.run_record(command, reached, 0, rows, **more)
    return {"record": record, "curve": rows, "parts": len(parts)}


def join(folder: Path, to: Path) -> None:
    """Put the parts of all runs of a folder together, with their curves and records."""
    from unbraid import experiments, results
    from unbraid.settings import Settings

    for section, run in results.read_json(folder / "records.json").items():
        tensors = {}
        for number in range(run["parts"]):
            part = folder / f"{section.replace('.', '-')}.{number}.safetensors"
            tensors |= results.load_tensors(part)
        path = to / experiments.run_name(Settings(**run["record"]["settings"]), 0)
        digest = results.save_tensors(path.with_suffix(".safetensors"), tensors)
        record = run["record"] | {"weights_sha256": digest}
        results.write_csv(path.with_suffix(".training.csv"), run["curve"])
        results.write_json(path.with_suffix(".run.json"), record)
        print(f"written: {path}.safetensors, {record['steps']} updates")


def make_parser() -> argparse.ArgumentParser:
    """The options of both commands."""
    usage = {"description": __doc__, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(**usage)
    out = os.environ.get("OUT", ROOT / "build/half_hour/out")
    parser.add_argument("--minutes", type=float, default=28, help="stop after so many")
    parser.add_argument("--profile", default="full", help="smoke proves the mechanics")
    parser.add_argument("--out", type=Path, default=Path(out))
    parser.add_argument("--checkpoints", type=Path, default=ROOT / "build/half_hour")
    parser.add_argument("--join", type=Path, metavar="FOLDER", help="join the parts in a folder")
    parser.add_argument("--results", type=Path, default=ROOT / "build/results")
    return parser


def main() -> None:
    """Train as long as the time lasts, and write what there is; or join what was written."""
    deadline = time.monotonic()
    options = make_parser().parse_args()
    deadline += 60 * options.minutes
    sys.path.insert(0, str(ROOT / "lib"))
    check_packages()
    if options.join:
        join(options.join, options.results)
        return
    import torch
    from unbraid import results
    from unbraid.settings import load

    torch.set_float32_matmul_precision("high")  # TF32, as convolutions have it anyway
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    records = {}
    for section, updates in PLAN:
        changes = {"steps": updates} if updates and options.profile == "full" else {}
        settings = load(section, options.profile, **changes)
        checkpoint = options.checkpoints / options.profile / f"{section}.checkpoint"
        sampler = keep_bytes_on(device, settings)
        train(settings, sampler, checkpoint, deadline)
        if checkpoint.exists():
            records[section] = save(settings, sampler, checkpoint, options.out)
            results.write_json(options.out / "records.json", records)
        print(f"{section}: {(deadline - time.monotonic()) / 60:.1f} minutes are left", flush=True)


if __name__ == "__main__":
    main()
