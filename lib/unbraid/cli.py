"""python -m unbraid train | evaluate | data | verify: what notebooks, Makefile and cluster share."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated

import torch
import typer

from unbraid import interventions, judging, plots, results, settings, training
from unbraid.data import catalogue, sources
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.evaluation import evaluate_independent
from unbraid.measures.intervals import format_interval, mean_interval
from unbraid.measures.judges import JudgeError
from unbraid.models.independent import IndependentPrediction

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
data = typer.Typer(help="List, fetch and check the data.", no_args_is_help=True)
app.add_typer(data, name="data")

PARTS = {"independent": ("moving_digits", ("factored", "entangled", "factored_one_decoder", "entangled_two_decoders"))}
ERRORS = (sources.DataError, results.ResultsError, training.TrainingError, JudgeError, ValueError)  # settings' errors are ValueErrors

Part = Annotated[str, typer.Argument(help=f"Part of the course: {', '.join(PARTS)}.")]
Model = Annotated[str, typer.Option(help="One model of the part, or all.")]
Profile = Annotated[str, typer.Option(help="smoke, quick or full; UNBRAID_PROFILE wins.")]
Seeds = Annotated[list[int] | None, typer.Option("--seed", help="Repeatable; default 0, 1, ... as the profile has it.")]
Folder = Annotated[Path | None, typer.Option("--results", help="Folder of results.")]
NAMES = "Datasets (sprites) or sources (sprites-li); default all."
Source = Annotated[str, typer.Option("--digits", help="auto, mnist or mnist-sample.")]


def supply(split: str, chosen, source: str = "auto", digits_from: str | None = None) -> MovingDigits:
    """Moving digits as the settings say. digits_from: draw the digits from another split (the authors: "train" for both)."""
    return MovingDigits(load_digits(digits_from or split, source), chosen.image_size, chosen.length, chosen.step)


def build(chosen, seed: int) -> IndependentPrediction:
    """A new model of these settings, its weights drawn with this seed."""
    torch.manual_seed(seed)
    return IndependentPrediction.from_settings(chosen)


def folder_of(part: str, profile: str, folder: Path | None) -> Path:
    """Where the results of a part and profile lie."""
    if part not in PARTS:
        raise ValueError(f"part: expected one of {', '.join(PARTS)}, found {part!r}")
    return (folder or results.shipped()) / part / PARTS[part][0] / profile


def place(part: str, model: str, profile: str, folder: Path | None) -> tuple[Path, tuple[str, ...], str]:
    """The folder of a part's results, the models meant, and the profile in force."""
    profile = settings.current_profile(profile)
    where, models = folder_of(part, profile, folder), PARTS[part][1]
    if model not in ("all", *models):
        raise ValueError(f"model: expected all or one of {', '.join(models)}, found {model!r}")
    return where, models if model == "all" else (model,), profile


def record_of(part: str, model: str, profile: str, seed: int, folder: Path | None = None) -> tuple[Path, dict]:
    """Where a finished run lies (path without an ending) and its record. The profile is the one asked for, whatever
    UNBRAID_PROFILE says: a run stays what it was."""
    run = folder_of(part, profile, folder) / f"{model}-seed{seed}"
    return run, results.read_json(run.with_name(run.name + ".run.json"))


def load_model(part: str, model: str, profile: str, seed: int, folder: Path | None = None) -> IndependentPrediction:
    """A trained model as its record describes it, with the weights of results/ (or of `folder`), their digest checked."""
    run, record = record_of(part, model, profile, seed, folder)
    trained = IndependentPrediction.from_settings(settings.Settings(**record["settings"]))
    results.load_weights(trained, run.with_name(run.name + ".safetensors"), record["weights_sha256"])
    return trained.eval()


@app.command()
def train(part: Part = "independent", model: Model = "all", profile: Profile = "quick", seed: Seeds = None,
          folder: Folder = Path("build/results"), digits: Source = "auto", precision: str = "32-true",
          steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many updates.")] = None) -> None:  # fmt: skip
    """Train models; a run that was interrupted goes on where it was, one that is finished is left alone."""
    where, models, profile = place(part, model, profile, folder)
    for name in models:
        chosen = settings.load(f"{part}.{name}", profile, **({"steps": steps} if steps else {}))
        digits_supply = supply("train", chosen, digits)
        for number in seed or range(chosen.seeds):
            train_one(where, name, chosen, number, digits_supply, precision)


def train_one(where: Path, name: str, chosen, seed: int, supplied: MovingDigits, precision: str = "32-true") -> list[dict]:
    """Train one model with one seed and write its curve, weights and record."""
    run = f"{name}-seed{seed}"
    if finished(where / run, chosen, precision, supplied.digits.provenance):
        typer.echo(f"{run}: finished before; delete {where / run}.run.json to train it again")
        return results.read_csv(where / f"{run}.training.csv")
    typer.echo(f"{run}: {chosen.steps} updates of {chosen.batch_size} sequences; {supplied.digits.provenance}")
    model, every = build(chosen, seed), max(1, chosen.steps // 50)
    rows = training.fit(
        model, lambda count, generator: supplied.frames(count, generator)[0], chosen, seed, where, run, precision,
        log_every=every, checkpoint_every=every, report=say,
    )  # fmt: skip
    results.write_csv(where / f"{run}.training.csv", rows)
    weights = results.save_weights(where / f"{run}.safetensors", model)
    used = sources.find(supplied.digits.source)
    digests = {file: results.digest(path) for file, path in used.items()}
    part, kind = chosen.section.split(".")
    command = f"python -m unbraid train {part} --model {kind} --profile {chosen.profile} --seed {seed}"
    command += f" --steps {chosen.steps}" if chosen.steps != settings.load(chosen.section, chosen.profile).steps else ""
    command += f" --precision {precision}" if precision != "32-true" else ""
    record = training.run_record(command, chosen, seed, rows, precision, supplied.digits.provenance, digests, weights)
    results.write_json(where / f"{run}.run.json", record)
    (where / f"{run}.checkpoint").unlink()  # last of all: a run killed before this line is resumed, not lost
    return rows


def finished(run: Path, chosen, precision: str, data: str) -> bool:
    """Whether a run of these settings on this data lies there complete."""
    files = [run.with_name(run.name + end) for end in (".run.json", ".safetensors", ".training.csv")]
    if not all(path.exists() for path in files):
        return False
    record = results.read_json(files[0])
    same = (record["settings"], record["precision"], record["data"]) == (chosen.as_dict(), precision, data)
    return same and record["weights_sha256"] == results.digest(files[1])


def say(row: dict) -> None:
    """One line of a training curve."""
    typer.echo(f"  update {row['step']:>7}  {row['seconds']:8.1f} s  ELBO {row['elbo_per_frame']:9.1f}  KL {row['kl_per_frame']:6.2f} nats a frame")


@app.command()
def evaluate(part: Part = "independent", model: Model = "all", profile: Profile = "quick", seed: Seeds = None,
             folder: Folder = None, digits: Source = "auto",
             digits_from: Annotated[str, typer.Option(help="test, or train as the authors' code.")] = "test",
             write: Annotated[bool, typer.Option(help="Write metrics.json, and the README's tables if they show it.")] = False) -> None:  # fmt: skip
    """Measure trained models on test sequences, each seed by itself, and print means with their intervals."""
    where, models, profile = place(part, model, profile, folder)
    if write and (model != "all" or seed):
        raise ValueError("--write: expected all models and all seeds, since metrics.json holds them together; leave out --model and --seed")
    metrics: dict = {}
    for name in models:
        chosen = settings.load(f"{part}.{name}", profile)
        supplied = supply("test", chosen, digits, digits_from)
        seeds = seed or list(range(chosen.seeds))
        if not seeds:  # an ablation that this profile does without
            continue
        by_seed = []
        for number in seeds:
            by_seed.append(evaluate_independent(load_model(part, name, profile, number, folder), supplied.batch, chosen, number))
            typer.echo(f"{name} seed {number}: " + ", ".join(f"{key} {value:.3g}" for key, value in by_seed[-1].items()))
        metrics[name] = results.summarise(by_seed, interval_or_none)
    metrics["protocol"] = {
        "data": f"moving digits {chosen.image_size} x {chosen.image_size}, {chosen.length} frames, {supplied.digits.provenance}",
        "split": "test",
        "digits_from": digits_from,
        "seeds": seed or list(range(settings.load(f"{part}.{models[0]}", profile).seeds)),
        "sequences": chosen.evaluation_sequences,
        "pairs": chosen.evaluation_pairs,
        "draws": chosen.evaluation_draws,
        "information": "Kraskov variant 1, k = 3, bits, posterior samples; models without parts: best of 20 partitions; "
        "mi_*_bits: all pairs of a sequence as paper A; *_apart, own and other digit: one pair a sequence",
        "leakage": "*_skill, leakage_*: non-linear probe on posterior samples, 0 chance, 1 perfect; 2 x pairs sequences, 30 % to test; "
        "identities off whole sequences, positions off frames",
        "intervals": "95 %, Student t over seeds",
        "versions": training.versions(),
    }
    for name in [name for name in metrics if name != "protocol"]:
        for key in ("elbo_per_frame", "mi_same_bits", "mi_cross_bits", "own_digit_bits", "other_digit_bits"):
            typer.echo(f"{name:>10}  {key:<18} {format_interval(mean_interval(metrics[name]['by_seed'][key]))}")
    if write:
        results.write_json(where / "metrics.json", metrics)
        draw_generations(load_model(part, models[0], profile, metrics["protocol"]["seeds"][0], folder), supplied, where / "independent_generations.png")
        if folder is None or folder.resolve() == results.shipped().resolve():
            results.render_readme()


@torch.no_grad()
def draw_generations(model: IndependentPrediction, supplied: MovingDigits, path: Path) -> None:
    """Paper A's figure 3 as a file: a test clip, its decoding, and each factor going on alone after two frames."""
    frames = supplied.frames(2, torch.Generator().manual_seed(4))[0][:1].to(next(model.parameters()).device)
    codes = model.infer(frames)
    alone = [model.decode(interventions.move_one(codes, name))[0] for name in model.code_names]
    plots.use_style()
    labels = ["clip", "decoded", *(f"{name.replace('_', ' ')} goes on" for name in model.code_names)]
    axes = plots.grid(torch.stack([frames[0], model.decode(codes)[0], *alone]).cpu(), labels)
    path.parent.mkdir(parents=True, exist_ok=True)
    axes.figure.savefig(path, metadata={"Software": None})


def interval_or_none(values: list[float]) -> list[float] | None:
    """[low, high] of the 95 % interval over seeds; None for one seed."""
    interval = mean_interval(values)
    return None if interval.n == 1 else [interval.low, interval.high]


@app.command()
def judge(dataset: Annotated[str, typer.Argument(help=f"{', '.join(judging.JUDGED)}, or all.")] = "all", profile: Profile = "quick",
          seed: int = 0, folder: Folder = Path("build/results")) -> None:  # fmt: skip
    """Train the judges of generated clips, and measure them on real, blurred, shifted and noisy test examples."""
    profile = settings.current_profile(profile)
    for name in judging.JUDGED if dataset == "all" else (dataset,):
        trained = judging.train_judge(name, profile, folder, seed, lambda row: typer.echo(f"  update {row['step']:>6}  {row['seconds']:7.1f} s  "
            f"cross-entropy {row['cross_entropy']:.4f} nats  accuracy {row['accuracy']:.4f}"))  # fmt: skip
        found = judging.trust(trained, name, profile, seed)
        for key, (low, high) in found["judge"]["intervals"].items():
            typer.echo(f"{name} {key:<24} {found['judge'][key]:.4f} [{low:.4f}, {high:.4f}]")
        results.write_json(judging.folder_of(name, profile, folder) / "metrics.json", found)


@app.command()
def verify(folder: Folder = None) -> None:
    """Check that results hold together: digests of weights, form of metrics, tables of the README."""
    faults = results.verify(folder or results.shipped())
    for fault in faults:
        typer.echo(fault)
    typer.echo(f"{len(faults)} faults" if faults else "results: all digests right, all metrics in form, README up to date")
    raise typer.Exit(1 if faults else 0)


@data.command("list")
def list_data() -> None:
    """What there is, real or drawn, under which licence, how large, and where it is or how it is had."""
    for name in catalogue.DATASETS:
        typer.echo("\n".join(catalogue.describe(name)))


@data.command()
def fetch(names: Annotated[list[str] | None, typer.Argument(help=NAMES)] = None) -> None:
    """Bring data from UNBRAID_MIRROR or its publishers into the cache, every byte checked; what is here already stays."""
    failed = []
    for name in catalogue.folders(names or sources.SOURCES):
        try:
            files = sources.fetch(name)
        except sources.DataError as error:
            failed.append(error)
            typer.echo(f"{name}: failed")
        else:
            typer.echo(f"{name}: {len(files)} files, all digests right, in {' and '.join(map(str, sources.homes(files)))}")
    if failed:
        raise sources.DataError("\n".join(map(str, failed)))


@data.command("verify")
def verify_data(names: Annotated[list[str] | None, typer.Argument(help=NAMES)] = None) -> None:
    """Check size and SHA-256 of every file; large sets are told of in one line and one for each damaged file."""
    wrong = 0
    for name in catalogue.folders(names or sources.SOURCES):
        rows = sources.verify(name)
        wrong += sum(state != "ok" for _, state, _ in rows)
        for state, count in Counter(state for _, state, _ in rows).items():
            if len(rows) > 20 and state != "damaged":
                typer.echo(f"{state:<8} {name}: {count} of {len(rows)} files")
        for file, state, where in rows:
            if len(rows) <= 20 or state == "damaged":
                typer.echo(f"{state:<8} {name}/{file}" + (f"  {where.parent}" if where else ""))
    raise typer.Exit(1 if wrong else 0)


def main() -> None:
    """Run the command; a user's mistake is one clear message, not a traceback."""
    warnings.filterwarnings("ignore", message=".*srun.*")  # Fabric's hint about clusters
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        app()
    except ERRORS as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
