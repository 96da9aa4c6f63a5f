"""python -m papers: train, evaluate, judge, adopt, full, runs, verify, stamp, convert.

What needs PyTorch is imported late, so that help and typos are answered at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from unbraid.__main__ import show_version
from unbraid.checks import check_name

from papers.settings import (
    OWN_RESULTS,
    Jobs,
    current_profile,
    list_experiments,
    select_runs,
)
from papers.settings import load as load_settings

LARGEST_SEED = 2**31 - 1

PARTS: dict[str, list[str]] = {}  # the datasets of each model that has runs
for experiment in list_experiments():
    if experiment.dataset not in PARTS.setdefault(experiment.model, []):
        PARTS[experiment.model].append(experiment.dataset)
OVERVIEW = "\n\n".join(f"{part}: {', '.join(datasets)}" for part, datasets in PARTS.items())
EXAMPLES = """Examples:

python -m papers train independent --run factored --seed 0

python -m papers evaluate independent --run factored --seed 0

python -m papers verify"""

app = typer.Typer(
    help=f"Make results/: train and measure models, on the datasets behind each:\n\n{OVERVIEW}",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PartName = Annotated[str, typer.Argument(metavar="|".join(PARTS))]
DatasetName = Annotated[str, typer.Option("--dataset", help="One dataset of the part, or all.")]
RunName = Annotated[str, typer.Option("--run", help="One run of the part's TOML file, or all.")]
Profile = Annotated[str, typer.Option(help="smoke, quick or full; UNBRAID_PROFILE wins.")]
SEED_HELP = "Repeatable; by default 0, 1, ... as many as the profile says."
Seeds = Annotated[list[int] | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help=SEED_HELP)]
Folder = Annotated[Path, typer.Option("--results", help="Where to write.")]
Verified = Annotated[
    Path | None, typer.Option("--results", help="A folder of results; by default results/.")
]


@app.callback()
def options(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True)] = False,
) -> None:
    """Options in front of the command."""
    started = os.environ.get("WORLD_SIZE") or "1"
    if context.invoked_subcommand != "train" and started != "1":
        raise ValueError(
            f"WORLD_SIZE: expected 1, because only train divides its work among processes, found "
            f"{started}; start {context.invoked_subcommand} without torchrun"
        )


# ---- train


@app.command(epilog="An interrupted run goes on with the same command; a finished one is kept.")
def train(  # noqa: PLR0913 - the options of a command
    part: PartName,
    dataset: DatasetName = "all",
    run: RunName = "all",
    profile: Profile = "quick",
    seed: Seeds = None,
    folder: Folder = OWN_RESULTS,
    precision: Annotated[str, typer.Option(help="Lightning Fabric's, as bf16-mixed.")] = "32-true",
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many updates.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Replace runs of other settings.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Processes, one a device.")] = 1,
    num_nodes: Annotated[int, typer.Option(min=1, help="Machines of so many processes.")] = 1,
    synchronise: Annotated[
        bool, typer.Option(help="Batch normalisation over all processes, or in each alone.")
    ] = True,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Parts of a batch in a process, for a small device.")
    ] = 1,
    replay: Annotated[
        bool, typer.Option("--replay", help="Replay a recorded update; a CUDA GPU only.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for another process that trains the same run.")
    ] = False,
) -> None:
    """Train the runs of one part; of several datasets, those that are at hand.

    Under torchrun and SLURM the processes that these start divide each batch.
    """
    profile = current_profile(profile)
    changes = {"steps": steps} if steps else {}
    jobs = select_jobs(part, dataset, run, profile, seed, **changes)
    from unbraid import store, training

    from papers import runs

    check_name("--precision", precision, training.PRECISIONS)
    check_name("--accelerator", accelerator, training.ACCELERATORS)
    store.check_writable(folder)
    machine = runs.Machine(accelerator, devices, num_nodes, synchronise, accumulate, replay)
    fabric = training.start_processes(accelerator, devices, num_nodes, precision)
    if not fabric.is_global_zero:
        sys.stdout = None  # The first process speaks for all.
    typer.echo(f"trainings: {sum(len(seeds) for _, seeds in jobs)}, written to {folder}")
    names = keep_at_hand(settings.dataset for settings, _ in jobs)
    for settings, seeds in jobs:
        if settings.dataset in names:
            sampler = runs.make_sampler(settings)
            for number in seeds:
                told = precision, again, machine, wait
                runs.train_run(settings, number, sampler, folder, *told)
    command = f"python -m papers evaluate {part} --dataset {dataset} --run {run}"
    typer.echo(f"measure with: {command} --profile {profile} --results {folder}")


def select_jobs(
    part: str, dataset: str, run: str, profile: str, seeds: list[int] | None, **changes: object
) -> Jobs:
    """The settings of each run that a command means, with its seeds."""
    jobs = []
    for experiment in select_runs(part, dataset, run):
        settings = load_settings(experiment.section, profile, **changes)
        numbers = seeds or list(range(settings.seeds))
        if numbers and settings.steps:  # A profile without the run has 0 steps.
            jobs.append((settings, numbers))
    if not jobs and seeds:
        raise ValueError(f"--run: expected one that the profile {profile} has, found {run}")
    if not jobs:
        raise ValueError(
            f"--seed: expected, because the profile {profile} has no seed of {run}, found none"
        )
    return jobs


def keep_at_hand(names: Iterable[str]) -> list[str]:
    """The datasets whose files are here; of the others it is said how they are obtained.

    Raises `DataError` where there is only one name.
    """
    from papers.datasets import find_absent

    names = list(dict.fromkeys(names))
    absent = find_absent(names)
    for error in absent.values():
        if len(names) == 1:
            raise error
        typer.echo(f"left out: {' '.join(str(error).split())}")
    return [name for name in names if name not in absent]


# ---- evaluate


@app.command("evaluate")
def evaluate_runs(  # noqa: PLR0913 - the options of a command
    part: PartName,
    dataset: DatasetName = "all",
    run: RunName = "all",
    profile: Profile = "quick",
    seed: Seeds = None,
    folder: Annotated[
        Path | None,
        typer.Option("--results", help="Where the weights are: build/results, else results/."),
    ] = None,
    write: Annotated[
        bool, typer.Option(help="Write metrics.json, and for results/ the pages of tables.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Print all figures.")] = False,
    accelerator: Annotated[
        str, typer.Option(help="Where models are measured: cpu or cuda.")
    ] = "cpu",
) -> None:
    """Measure trained models on test sequences; print means with their intervals over seeds.

    With --run, --write puts this run beside the others in metrics.json of the folder that has its
    weights, and their figures stay as they are; with --seed, too, these seeds beside its others,
    whose weights need not be there.
    """
    profile = current_profile(profile)
    jobs = select_jobs(part, dataset, run, profile, seed)
    at_hand = keep_at_hand(settings.dataset for settings, _ in jobs)
    if write and seed and run == "all":
        raise ValueError("--write with --seed: expected one run, found all; name it with --run")
    from unbraid import store, training

    from papers import evaluation, report, runs

    check_name("--accelerator", accelerator, ("cpu", "cuda"))
    accelerator = training.choose_accelerator(accelerator)
    folders = [folder] if folder else [OWN_RESULTS, store.shipped()]
    jobs = [job for job in jobs if job[0].dataset in at_hand]
    jobs, places = runs.find_weights(jobs, folders, demand_all=bool(seed))
    for name, place in places.items():  # what is damaged is found before anything is measured
        digest = store.read_record(name, place)["weights_sha256"]
        store.check_digest(place / f"{name}.safetensors", digest)
    folder = next(iter(places.values())) if len(set(places.values())) == 1 else OWN_RESULTS
    jobs_on: dict[Path, Jobs] = {}  # by the metrics.json of their dataset
    for job in jobs:
        path = folder / part / job[0].dataset / profile / "metrics.json"
        jobs_on.setdefault(path, []).append(job)
    if write:
        store.check_writable(folder)
        for path, selected in jobs_on.items() if not seed else ():
            report.check_nothing_is_lost(path, selected, run)
    for path, selected in jobs_on.items():
        settings, seeds = selected[0]
        metrics = measure_runs(selected, places, accelerator)
        print_metrics(metrics, part, settings.dataset, everything)
        if write:
            if run != "all" and path.exists():
                before = store.read_json(path)
                measured = report.add_seeds(before, metrics, run) if seed else metrics
                metrics = report.add_run(before, measured, run)
            else:
                first = runs.run_name(settings, seeds[0])
                model = runs.load_run(settings, seeds[0], places[first])
                evaluation.draw(model, settings, path.with_name(f"{part}_{settings.dataset}.png"))
            report.write_metrics(path, metrics)  # The last file: where it is, all is written.
            typer.echo(f"written: {path}")
    if write and folder.resolve() == store.shipped().resolve():
        report.write_tables()


def measure_runs(jobs: Jobs, places: dict[str, Path], accelerator: str = "cpu") -> dict:
    """metrics.json of the runs on one dataset: the figures of each, and how they were measured.

    places: the folder of the weights of each run, by the run's name. accelerator: where a model
    encodes and decodes; in full single precision there, too, so that figures agree. The versions
    name it where it is not the CPU.
    """
    import torch
    from unbraid import store

    from papers import evaluation, provenance
    from papers.report import read_versions, summarise
    from papers.runs import load_run, run_name

    metrics: dict = {}
    files: dict[str, dict] = {}
    judges: dict[str, str] = {}
    for settings, seeds in jobs:
        by_seed = []
        files[settings.run] = {}
        judges |= provenance.describe_judges(settings)
        for seed in seeds:
            name = run_name(settings, seed)
            typer.echo(f"{settings.dataset} {settings.run}, seed {seed}: weights of {places[name]}")
            model = load_run(settings, seed, places[name]).to(accelerator)
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                by_seed.append(evaluation.evaluate(model, settings, seed))
            files[settings.run][str(seed)] = provenance.describe_files(places[name] / name)
        metrics[settings.run] = summarise(by_seed)
    settings, seeds = jobs[0]
    others = {settings.run: numbers for settings, numbers in jobs if numbers != seeds}
    metrics["protocol"] = {
        **evaluation.describe_protocol(settings),
        "seeds": seeds,
        **({"seeds_of": others} if others else {}),
        "intervals": store.OVER_SEEDS,
        "versions": read_versions() | ({} if accelerator == "cpu" else {"device": accelerator}),
        "files": files,
        **({"judges": judges} if judges else {}),
    }
    return metrics


def print_metrics(metrics: dict, part: str, dataset: str, everything: bool) -> None:
    """A row per figure and a column per run: seeds, or from four on mean ± half-width over them.

    Unless everything is asked for, the figures are those that the tables of results/ have on this
    model and dataset, if there are any.
    """
    from unbraid import store

    from papers import report

    columns = []
    for table in report.read_tables()["table"]:
        if table["results"].startswith(f"{part}/{dataset}/") and not everything:
            columns += table["columns"]
    titles, digits = report.split_columns(columns)
    figures = list(titles)
    if not figures:
        for entry in metrics.values():
            figures += [name for name in entry.get("by_seed", ()) if name not in figures]
    table = store.tabulate_metrics(metrics, figures, digits).rename(columns=titles)
    typer.echo(table.T.to_string(line_width=100))
    if columns:
        typer.echo("all figures: add --all")


# ---- judge, full, verify


@app.command()
def judge(
    dataset: Annotated[str, typer.Argument(help="One dataset with a judge, or all.")] = "all",
    profile: Profile = "quick",
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED)] = 0,
    folder: Folder = OWN_RESULTS,
) -> None:
    """Train the judges of generated clips, and measure how far they are to be trusted."""
    profile = current_profile(profile)
    from unbraid import store

    from papers import judging, provenance, report

    store.check_writable(folder)
    for name in keep_at_hand(judging.JUDGES if dataset == "all" else [dataset]):
        trained = judging.train_judge(name, profile, folder, seed)
        metrics = judging.measure_judge(trained, name, profile, seed)
        for key, (low, high) in metrics["judge"]["intervals"].items():
            typer.echo(f"{name} {key:<36} {metrics['judge'][key]:.4f} [{low:.4f}, {high:.4f}]")
        path = judging.judge_path(name, profile, seed, folder)
        written = f"metrics-seed{seed}.json" if seed else "metrics.json"
        files = provenance.describe_files(path.with_suffix(""))
        metrics["protocol"]["files"] = {"judge": {str(seed): files}}
        report.write_metrics(path.with_name(written), metrics)
        typer.echo(f"written: {path.parent}")


@app.command()
def adopt(
    source: Annotated[Path, typer.Argument(help="FOLDER/NAME of what full_size.py wrote.")],
    folder: Folder = OWN_RESULTS,
) -> None:
    """Put what a papers/a, b or c/full_size.py wrote beside the other runs."""
    from unbraid import store

    from papers import adopt

    store.check_writable(folder)
    typer.echo(f"written: {adopt.adopt(source, folder)}")


@app.command("full", epilog="The same command goes on where an interrupted one ended.")
def run_everything(
    plan: Annotated[bool, typer.Option("--plan", help="Print the seconds and stop.")] = False,
    profile: Profile = "full",
    folder: Folder = OWN_RESULTS,
) -> None:
    """Train and evaluate everything at the papers' size; first print what finished runs took.

    Judges come first, then the runs in the order of papers/common.toml.
    """
    profile = current_profile(profile)
    from unbraid import store

    from papers import judging, prices

    if not plan:
        store.check_writable(folder)
    pairs = prices.order_datasets(profile)
    names = keep_at_hand([*(dataset for _, dataset in pairs), *judging.JUDGES])
    pairs = [pair for pair in pairs if pair[1] in names]
    rows = []
    for pair in pairs:
        for settings, _ in select_jobs(*pair, "all", profile, None):
            rows.append(prices.price_run(settings, folder))
    typer.echo(prices.tabulate_prices(rows))
    if plan:
        return
    steps = []
    for name in (name for name in names if name in judging.JUDGES):
        path = judging.judge_path(name, profile, folder=folder)
        if not path.with_name("metrics.json").exists():
            steps.append((judge, (name, profile, 0, folder)))
    for part, dataset in pairs:
        steps.append((train, (part, dataset, "all", profile, None, folder)))
        steps.append((evaluate_runs, (part, dataset, "all", profile, None, folder, True)))
    failures = list(filter(None, (try_step(*step) for step in steps)))
    if failures:
        raise store.ResultsError("\n".join(["full: all was tried, but", *failures]))


def try_step(step: Callable[..., None], arguments: tuple) -> str:
    """Carry out one command; the sentence of its error, "" where it went well."""
    try:
        step(*arguments)
    except RuntimeError as error:
        if not type(error).__module__.startswith("unbraid."):
            raise
        return f"{step.__name__.removesuffix('_runs')} {arguments[0]} {arguments[1]}: {error}"
    return ""


@app.command("runs")
def list_runs(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TARGET]...", help="all, readme, a part, or PART/DATASET."),
    ] = None,
    profile: Profile = "quick",
    folder: Folder = OWN_RESULTS,
) -> None:
    """Print as JSON the trainings of a grid, with the memory and minutes that each may need."""
    profile = current_profile(profile)
    from papers import jobs

    typer.echo(json.dumps(jobs.list_jobs(targets or ["all"], profile, folder), indent=1))


@app.command("stamp")
def stamp_folder(folder: Verified = None) -> None:
    """Write into metrics.json the digests that it lacks: of weights, records, curves, content."""
    from unbraid import store

    from papers import provenance

    paths = provenance.find_metrics(folder or store.shipped())
    for path in paths:
        provenance.stamp_metrics(path)
    typer.echo(f"stamped: {len(paths)} files metrics.json")


@app.command("convert")
def convert_folder(folder: Verified = None) -> None:
    """Write class and config of each model into the records of before, which lack them."""
    from unbraid import store

    from papers import convert

    changed = convert.convert_records(folder or store.shipped())
    typer.echo(f"converted: {changed} records")


@app.command("verify")
def verify_folders(
    folder: Verified = None,
    write: Annotated[bool, typer.Option("--write", help="First write the pages anew.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Measure again what is behind claims, or is named.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Measure all weights again.")] = False,
    part: Annotated[str, typer.Option(help="Measure one part again, or judges.")] = "all",
    dataset: DatasetName = "all",
    run: RunName = "all",
    seed: Seeds = None,
) -> None:
    """Check that results hold together: figures, weights, records, curves and pages of tables."""
    from unbraid import store

    from papers import provenance, report

    names = (part, dataset, run)
    headline = names == ("all", "all", "all") and not (seed or everything)
    if not (again or headline):
        raise ValueError("--again: expected with --all, --part, --dataset, --run or --seed")
    folder = folder or store.shipped()
    if write:
        report.write_tables()
    if folder.resolve() == store.shipped().resolve():
        typer.echo(provenance.count_runs())
    faults = provenance.verify_results(folder)
    if again:
        chosen = provenance.select_measured(folder, names, seed, headline)
        faults += provenance.verify_again(chosen)
    summary = f"{len(faults)} faults" if faults else "results: weights, metrics and tables agree"
    typer.echo("\n".join([*faults, *provenance.list_unchecked(folder), summary]))
    raise typer.Exit(1 if faults else 0)


def rename_options(arguments: list[str]) -> list[str]:
    """Arguments in which --model, the former name of --run, is --run."""
    return [re.sub("^--model(?==|$)", "--run", argument) for argument in arguments]


def main() -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    warnings.filterwarnings("ignore", message=".*srun.*")  # Fabric's hint about clusters
    try:
        app(rename_options(sys.argv[1:]), prog_name="python -m papers")
    except SystemExit as end:
        if end.code == 130:  # Ctrl-C
            typer.echo("stopped", err=True)
        raise
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith(("unbraid", "papers")):
            raise
        remedy = "python -m pip install -e '.[course]' in the clone installs it"
        typer.echo(f"error: this needs the package {error.name}; {remedy}", err=True)
        sys.exit(1)
    except (OSError, ValueError, RuntimeError) as error:
        is_ours = type(error).__module__.startswith(("unbraid.", "papers."))
        if isinstance(error, RuntimeError) and not is_ours:
            raise  # a fault of PyTorch or of the library, not a user's mistake
        of_files = isinstance(error, OSError) and not is_ours
        hint = "; make room, or name another folder with --results" if of_files else ""
        typer.echo(f"error: {error}{hint}", err=True)
        sys.exit(1)
