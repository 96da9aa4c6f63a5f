"""Paper A's networks on bouncing digits, trained for days, and what shows how far a run has come.

    python -m papers.a.long_runs train paper_width --seed 0 --to build/long
    python -m papers.a.long_runs show paper_width --seed 0 --to build/long

`train` goes on from its last checkpoint and keeps a copy of those after MARKS updates. `show`
measures these copies and writes the run as it stands now beside other results, with a record that
says where it was stopped. Train from a copy of one commit: a checkpoint is refused by a run of
other settings.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from unbraid import files, records, training
from unbraid.checks import ResultsError
from unbraid.models.independent import IndependentPrediction

from papers import provenance
from papers import run as runs
from papers import settings as sections
from papers.a.evaluate import evaluate_moving_digits, order_units
from papers.a.pairs import collect_pairs
from papers.datasets import make_sampler
from papers.encoded import seeded
from papers.settings import RunSettings

EVERY = 100  # updates between two rows of the curve, and two checkpoints
MARKS = (500, *range(1000, 200_001, 1000))  # updates whose checkpoints are kept and measured
FRAMES = (500, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000)  # whose clips are kept, too
CLIPS, LENGTH = 2, 12  # of the frames that are kept


def train(settings: RunSettings, seed: int, folder: Path) -> None:
    """Train a run, or go on with it, and keep the checkpoints of MARKS."""
    path = folder / runs.run_name(settings, seed)
    checkpoint, sampler = path.with_suffix(".checkpoint"), make_sampler(settings)

    def keep_marked(share: float) -> None:
        done = round(share * settings.steps)
        if done in MARKS:
            files.write_atomically(kept_checkpoint(path, done), checkpoint.read_bytes())

    with runs.keep_alone(path, wait=False):
        note_beginning(path)
        options = {"every": EVERY, "report": runs.print_row, "on_progress": keep_marked}
        model = runs.build(settings, seed)
        runs.train_model(model, sampler, settings, seed, checkpoint=checkpoint, **options)
        keep_marked(1.0)


def kept_checkpoint(path: Path, step: int) -> Path:
    """Where the checkpoint after so many updates is kept."""
    return path.with_suffix(f".{step:06}.checkpoint")


def note_beginning(path: Path) -> None:
    """Add when, where and by which commit a run began or went on."""
    done = training.read_rows(path.with_suffix(".checkpoint"))
    entry = {"after": done[-1]["step"] if done else 0, "commit": provenance.read_commit()}
    entry |= {"time": datetime.now(UTC).isoformat(timespec="seconds")}
    entry |= {"device": provenance.describe_cpu(), "versions": provenance.read_versions()}
    records.write_json(path.with_suffix(".begun.json"), {"begun": [*read_begun(path), entry]})


def read_begun(path: Path) -> list[dict]:
    """What `note_beginning` has noted of a run."""
    noted = path.with_suffix(".begun.json")
    return records.read_json(noted)["begun"] if noted.exists() else []


def show(settings: RunSettings, seed: int, folder: Path, results: Path, last: int = 0) -> None:
    """Write weights, curve, record, figures and frames of a run as it stands into results.

    last: the update to stop at, one of MARKS; 0 means the newest checkpoint.
    """
    path, name = folder / runs.run_name(settings, seed), runs.run_name(settings, seed)
    if results.resolve() == folder.resolve():
        raise ResultsError(f"--results: expected a folder other than --to, {folder}")
    checkpoint = kept_checkpoint(path, last) if last else path.with_suffix(".checkpoint")
    model, rows = open_checkpoint(checkpoint, settings, seed)

    target, steps = results / name, [step for step in MARKS if step <= rows[-1]["step"]]
    along = target.with_suffix(".along.csv")
    before = records.read_csv(along) if along.exists() else []
    measured = {int(row["step"]): row | {"step": int(row["step"])} for row in before}
    pictures: dict[str, list[Tensor]] = {}
    for step in steps:
        if step in measured and step not in FRAMES:
            continue
        model_then, _ = open_checkpoint(kept_checkpoint(path, step), settings, seed)
        if step not in measured:
            measured[step] = {"step": step, **evaluate_moving_digits(model_then, settings, seed)}
            runs.print_row(measured[step])
        if step in FRAMES:
            for kind, frames in draw_clips(model_then, settings, seed).items():
                pictures.setdefault(kind, []).append(frames)

    record = describe_run(path, settings, seed, rows)
    for suffix in (".along.csv", ".along.npz"):
        target.with_suffix(suffix).unlink(missing_ok=True)
    if steps:
        records.write_csv(along, [measured[step] for step in steps])
        record["along_sha256"] = files.digest(along)
    if pictures:
        kept = {kind: torch.stack(frames).numpy() for kind, frames in pictures.items()}
        kept["steps"] = np.array([step for step in steps if step in FRAMES])
        np.savez_compressed(target.with_suffix(".along.npz"), **kept)  # type: ignore[arg-type]
    runs.write_run(model, thin(rows), target, record)


def describe_run(path: Path, settings: RunSettings, seed: int, rows: list[dict]) -> dict[str, Any]:
    """The record of a run that was stopped: where it was trained, which need not be here."""
    command = f"python -m papers.a.long_runs train {settings.run} --seed {seed}"
    record: dict[str, Any] = provenance.make_record(command, settings, seed, rows)
    begun = read_begun(path)
    for first in begun[:1]:
        record |= {name: first[name] for name in ("commit", "device", "versions")}
        record["begun"] = begun
    record |= {"stopped": f"stopped at {rows[-1]['step']} of {settings.steps}"}
    return record | {"precision": "32-true", "data_sha256": make_sampler(settings).digests}


def open_checkpoint(
    checkpoint: Path, settings: RunSettings, seed: int
) -> tuple[IndependentPrediction, list[dict]]:
    """The model of a checkpoint in evaluation mode, and its curve; `ResultsError` without one."""
    if not checkpoint.exists():
        raise ResultsError(f"{checkpoint}: expected a checkpoint, found none; train the run first")
    rows, _, tensors = training.read_checkpoint(checkpoint)
    weights = {name: value for name, value in tensors.items() if name.startswith("model.")}
    model = runs.build(settings, seed)
    assert isinstance(model, IndependentPrediction)
    model.load_state_dict({name.removeprefix("model."): weights[name] for name in weights})
    return model.eval(), rows


def thin(rows: list[dict]) -> list[dict]:
    """All rows up to 1000 updates, then each tenth, and the last."""
    kept = [row for row in rows if row["step"] <= 1000 or row["step"] % 1000 == 0]
    return kept if kept[-1] is rows[-1] else [*kept, rows[-1]]


@torch.no_grad()
def draw_clips(model: IndependentPrediction, settings: RunSettings, seed: int) -> dict[str, Tensor]:
    """Bytes of two test clips: the truth and its reconstruction, (2, T, 3, H, W), and what is
    decoded when one factor after the other keeps its second value, (K, 2, T, 3, H, W). The single
    factor of an entangled model is read as the two that evaluation takes it for.
    """
    sampler = make_sampler(settings.but(length=LENGTH), "test")
    frames = sampler(CLIPS, seeded(70_000)).frames
    latents = model.to_latents(model.encode(frames))  # (2, T, K d)
    pairs = collect_pairs(model, sampler, settings.evaluation_pairs, seeded(70_001 + seed))
    parts = order_units(pairs, settings, seed).reshape(-1, settings.judged_size)

    frozen = []
    for units in parts:
        held = latents.clone()
        held[:, 2:, units] = latents[:, 1:2, units]
        frozen.append(model.decode_latents(held))
    decoded = {"truth": frames, "decoded": model.decode_latents(latents)}
    decoded["frozen"] = torch.stack(frozen)
    return {name: (255 * value.clamp(0, 1)).byte() for name, value in decoded.items()}


def main(arguments: list[str] | None = None) -> None:
    """Train or show a run."""
    parser = argparse.ArgumentParser(prog="python -m papers.a.long_runs", description=__doc__)
    parser.add_argument("what", choices=("train", "show"))
    parser.add_argument("run", help="of independent.bounce, such as paper_width")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", default="quick", choices=sections.PROFILES)
    parser.add_argument("--to", type=Path, required=True, help="the folder of the checkpoints")
    parser.add_argument("--results", type=Path, default=sections.own_results(), help="for show")
    parser.add_argument("--last", type=int, default=0, help="for show: the update to stop at")
    options = parser.parse_args(arguments)
    settings = sections.load(f"independent.bounce.{options.run}", options.profile)
    if options.what == "train":
        torch.set_num_threads(1)
        train(settings, options.seed, options.to)
    else:
        show(settings, options.seed, options.to, options.results, options.last)


if __name__ == "__main__":
    main()
