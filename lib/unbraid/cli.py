"""python -m unbraid train | evaluate | data | verify: what notebooks, Makefile and cluster share."""

from __future__ import annotations

import importlib
import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated

import torch
import typer

from unbraid import interventions, judging, plots, readme, results, runs, settings, training
from unbraid.data import catalogue, sources
from unbraid.evaluation.independent import evaluate_independent
from unbraid.measures.intervals import format_interval, mean_interval
from unbraid.measures.judges import JudgeError
from unbraid.models.independent import IndependentPrediction

app = typer.Typer(
    help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False
)
data = typer.Typer(help="List, fetch and check the data.", no_args_is_help=True)
app.add_typer(data, name="data")

ERRORS = (
    sources.DataError,
    results.ResultsError,
    training.TrainingError,
    JudgeError,
    ValueError,
)  # settings' errors are ValueErrors

Part = Annotated[str, typer.Argument(help=f"Part of the course: {', '.join(runs.PARTS)}.")]
DATASETS = "; ".join(f"{', '.join(known)} of {part}" for part, known in runs.PARTS.items())
Dataset = Annotated[str, typer.Option(help=f"One dataset of the part, or all: {DATASETS}.")]
Model = Annotated[str, typer.Option(help="One model of the part, or all.")]
Profile = Annotated[str, typer.Option(help="smoke, quick or full; UNBRAID_PROFILE wins.")]
Seeds = Annotated[
    list[int] | None,
    typer.Option("--seed", help="Repeatable; default 0, 1, ... as the profile has it."),
]
Folder = Annotated[Path | None, typer.Option("--results", help="Folder of results.")]
NAMES = "Datasets (sprites) or sources (sprites-li); default all."
Source = Annotated[str, typer.Option("--digits", help="auto, mnist or mnist-sample.")]


@app.command()
def train(
    part: Part = "independent",
    dataset: Dataset = "all",
    model: Model = "all",
    profile: Profile = "quick",
    seed: Seeds = None,
    folder: Folder = Path("build/results"),
    digits: Source = "auto",
    precision: str = "32-true",
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many updates.")] = None,
) -> None:
    """Train models; a run that was interrupted goes on where it was, one that is finished is left alone."""
    profile, jobs = settings.current_profile(profile), []
    for name, models in runs.meant(part, dataset, model).items():
        for one in models:
            chosen = settings.load(
                runs.section_of(part, name, one), profile, **({"steps": steps} if steps else {})
            )
            if numbers := seed or list(
                range(chosen.seeds)
            ):  # none: an ablation that this profile does without
                jobs.append((name, one, chosen, numbers))
    if not jobs:
        raise untrained(dataset, model, profile)
    for name, _, chosen, _ in {job[0]: job for job in jobs}.values():
        runs.supply_of(
            name, "train", chosen, digits
        )  # data that is missing should not be found out after hours
    for name, one, chosen, numbers in jobs:
        supply = runs.supply_of(name, "train", chosen, digits)
        for number in numbers:
            runs.train_one(
                part, name, one, chosen, number, supply, folder, precision, say, typer.echo
            )


def untrained(dataset: str, model: str, profile: str) -> ValueError:
    """The error for a choice of which the profile trains no seed."""
    return ValueError(
        f"--seed: expected, since the profile {profile!r} does without the model {model} of {dataset}, found none"
    )


def say(row: dict) -> None:
    """One line of a training curve."""
    typer.echo(
        f"  update {row['step']:>7}  {row['seconds']:8.1f} s  ELBO {row['elbo_per_frame']:9.1f}  KL {row['kl_per_frame']:6.2f} nats a frame"
    )


@app.command()
def evaluate(
    part: Part = "independent",
    dataset: Dataset = "all",
    model: Model = "all",
    profile: Profile = "quick",
    seed: Seeds = None,
    folder: Folder = None,
    digits: Source = "auto",
    digits_from: Annotated[str, typer.Option(help="test, or train as the authors' code.")] = "test",
    write: Annotated[
        bool, typer.Option(help="Write metrics.json, and the README's tables if they show it.")
    ] = False,
) -> None:
    """Measure trained models on test sequences, each seed by itself, and print means with their intervals."""
    profile, meant = settings.current_profile(profile), runs.meant(part, dataset, model)
    if write and (model != "all" or seed):
        raise ValueError(
            "--write: expected all models and all seeds, since metrics.json holds them together; leave out --model and --seed"
        )
    if part != "independent" and (digits, digits_from) != ("auto", "test"):
        raise ValueError(
            "--digits, --digits-from: expected with the part independent only; leave them out"
        )
    if part == "independent":
        supply = runs.supply_of(
            next(iter(meant)), "test", settings.load(part, profile), digits, digits_from
        )
        instruments = Independent(supply, digits_from)
    else:
        instruments = importlib.import_module(f"unbraid.evaluation.{part}")
    for name, models in meant.items():
        evaluate_dataset(instruments, part, name, models, profile, seed, folder, write)
    if write and (folder is None or folder.resolve() == results.shipped().resolve()):
        readme.render()


def evaluate_dataset(
    instruments,
    part: str,
    dataset: str,
    models: tuple[str, ...],
    profile: str,
    seed: list[int] | None,
    folder: Path | None,
    write: bool,
) -> None:
    """Measure the models of one dataset with the functions evaluate and protocol of `instruments`, and draw their picture."""
    chosen = {name: settings.load(runs.section_of(part, dataset, name), profile) for name in models}
    seeds = {name: seed or list(range(one.seeds)) for name, one in chosen.items()}
    models = tuple(
        name for name in models if seeds[name]
    )  # without ablations that this profile does without
    if not models:
        raise untrained(dataset, ", ".join(chosen), profile)
    metrics: dict = {}
    for name in models:
        by_seed = []
        for number in seeds[name]:
            trained = runs.load_model(part, name, profile, number, folder, dataset)
            by_seed.append(instruments.evaluate(trained, dataset, chosen[name], number, profile))
            typer.echo(
                f"{name} seed {number}: "
                + ", ".join(f"{key} {value:.3g}" for key, value in by_seed[-1].items())
            )
        metrics[name] = results.summarise(by_seed, interval_or_none)
    protocol = instruments.protocol(dataset, chosen[models[0]]) | {"seeds": seeds[models[0]]}
    if others := {name: seeds[name] for name in models if seeds[name] != protocol["seeds"]}:
        protocol["seeds_of"] = others  # ablations with fewer
    metrics["protocol"] = {
        **protocol,
        "intervals": "95 %, Student t over seeds",
        "versions": training.versions(),
    }
    for name in models:
        for key in readme.shown(part):
            if key in metrics[name]:
                typer.echo(
                    f"{name:>22}  {key:<24} {format_interval(mean_interval(metrics[name]['by_seed'][key]))}"
                )
    if write:
        where = runs.folder_of(part, dataset, profile, folder)
        results.write_json(where / "metrics.json", metrics)
        if hasattr(instruments, "draw"):
            picture = where / (
                "independent_generations.png" if part == "independent" else f"{part}_{dataset}.png"
            )
            instruments.draw(
                runs.load_model(part, models[0], profile, seeds[models[0]][0], folder, dataset),
                dataset,
                picture,
            )


class Independent:
    """Paper A's instruments, with the names that the modules of `unbraid.evaluation` have for the other parts."""

    def __init__(self, supply: runs.Supply, digits_from: str = "test"):
        self.supply, self.digits_from = supply, digits_from

    def evaluate(
        self, model: IndependentPrediction, dataset: str, chosen, seed: int, profile: str
    ) -> dict[str, float]:
        """All figures of one model."""
        return evaluate_independent(model, self.supply.batch, chosen, seed)

    def protocol(self, dataset: str, chosen) -> dict:
        """What was measured, how, on what."""
        return {
            "data": f"moving digits {chosen.image_size} x {chosen.image_size}, {chosen.length} frames, {self.supply.provenance}",
            "split": "test",
            "digits_from": self.digits_from,
            "seeds": list(range(chosen.seeds)),
            "sequences": chosen.evaluation_sequences,
            "pairs": chosen.evaluation_pairs,
            "draws": chosen.evaluation_draws,
            "information": "Kraskov variant 1, k = 3, bits, posterior samples; models without parts: best of 20 partitions; "
            "mi_*_bits: all pairs of a sequence as paper A; *_apart, own and other digit: one pair a sequence",
            "leakage": "*_skill, leakage_*: non-linear probe on posterior samples, 0 chance, 1 perfect; 2 x pairs sequences, 30 % to test; "
            "identities off whole sequences, positions off frames",
        }

    @torch.no_grad()
    def draw(self, model: IndependentPrediction, dataset: str, path: Path) -> None:
        """Paper A's figure 3 as a file: a test clip, its decoding, and each factor going on alone after two frames."""
        frames = self.supply.frames(2, torch.Generator().manual_seed(4))[:1].to(
            next(model.parameters()).device
        )
        codes = model.infer(frames)
        alone = [model.decode(interventions.move_one(codes, name))[0] for name in model.code_names]
        plots.use_style()
        labels = [
            "clip",
            "decoded",
            *(f"{name.replace('_', ' ')} goes on" for name in model.code_names),
        ]
        axes = plots.grid(torch.stack([frames[0], model.decode(codes)[0], *alone]).cpu(), labels)
        path.parent.mkdir(parents=True, exist_ok=True)
        axes.figure.savefig(path, metadata={"Software": None})


def interval_or_none(values: list[float]) -> list[float] | None:
    """[low, high] of the 95 % interval over seeds; None for one seed."""
    interval = mean_interval(values)
    return None if interval.n == 1 else [interval.low, interval.high]


@app.command()
def judge(
    dataset: Annotated[str, typer.Argument(help=f"{', '.join(judging.JUDGED)}, or all.")] = "all",
    profile: Profile = "quick",
    seed: int = 0,
    folder: Folder = Path("build/results"),
) -> None:
    """Train the judges of generated clips, and measure them on real, blurred, shifted and noisy test examples."""
    profile = settings.current_profile(profile)
    for name in judging.JUDGED if dataset == "all" else (dataset,):
        trained = judging.train_judge(
            name,
            profile,
            folder,
            seed,
            lambda row: typer.echo(
                f"  update {row['step']:>6}  {row['seconds']:7.1f} s  "
                f"cross-entropy {row['cross_entropy']:.4f} nats  accuracy {row['accuracy']:.4f}"
            ),
        )
        found = judging.trust(trained, name, profile, seed)
        for key, (low, high) in found["judge"]["intervals"].items():
            typer.echo(f"{name} {key:<24} {found['judge'][key]:.4f} [{low:.4f}, {high:.4f}]")
        results.write_json(judging.folder_of(name, profile, folder) / "metrics.json", found)


@app.command()
def verify(folder: Folder = None) -> None:
    """Check that results hold together: digests of weights, form of metrics, tables of the README."""
    faults = readme.verify(folder or results.shipped())
    for fault in faults:
        typer.echo(fault)
    typer.echo(
        f"{len(faults)} faults"
        if faults
        else "results: all digests right, all metrics in form, README up to date"
    )
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
            typer.echo(
                f"{name}: {len(files)} files, all digests right, in {' and '.join(map(str, sources.homes(files)))}"
            )
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
