"""python -m papers: train, evaluate, judge, runs, verify.

What needs PyTorch is imported lazily, so that help and typos are answered at once.
"""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer
from unbraid.checks import check_name
from unbraid.files import replace_unprintable

from papers import settings as sections
from papers.settings import Jobs, RunSettings, current_profile, list_experiments, select_runs

LARGEST_SEED = 2**31 - 1
PARTS: dict[str, dict[str, None]] = {}  # the datasets of each model that has runs
try:
    for experiment in list_experiments():
        PARTS.setdefault(experiment.model, {})[experiment.dataset] = None
except ValueError as fault:  # in a table of runs
    sys.exit(f"error: {fault}")
OVERVIEW = "\n\n".join(f"{part}: {', '.join(datasets)}" for part, datasets in PARTS.items())
EXAMPLES = """Examples:

python -m papers train independent --dataset circle --run factored --seed 0

python -m papers evaluate independent --dataset circle --run factored --seed 0"""
app = typer.Typer(
    help=f"Make results/: train and measure models, on the datasets behind each:\n\n{OVERVIEW}",
    epilog=EXAMPLES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SEED_HELP = "Repeatable; by default 0, 1, ... as many as the profile says."
Part = Annotated[str, typer.Argument(metavar="|".join(PARTS))]
Dataset = Annotated[str, typer.Option("--dataset", help="One dataset of the part, or all.")]
Run = Annotated[str, typer.Option("--run", help="One run of the part's TOML file, or all.")]
PROFILE = typer.Option(callback=current_profile, help="smoke, quick or full; UNBRAID_PROFILE wins.")
Profile = Annotated[str, PROFILE]
Seeds = Annotated[list[int] | None, typer.Option("--seed", min=0, max=LARGEST_SEED, help=SEED_HELP)]
OWN = {"default_factory": lambda: sections.own_results(), "show_default": "build/results"}
Folder = Annotated[Path, typer.Option("--results", **OWN)]

AGAIN = typer.Option("--again", help="Measure runs behind claims anew.")
ONLY = typer.Option(help="Measure those of this name anew, as unordered/faces/quick/*.")
TARGETS = typer.Argument(metavar="[TARGET]...", help="all, readme, a part, or PART/DATASET.")
WRITE = typer.Option(help="Write metrics.json, and for results/ the pages of tables.")
KEEP = typer.Option("--keep", help="Leave out what the folder has, of whatever settings.")
STORED = typer.Option("--results", help="By default results/.")
READ_FROM = typer.Option("--results", help="By default build/results, else results/.")

# ---- train


@app.command(epilog="An interrupted run goes on with the same command; a finished one is kept.")
def train(  # noqa: PLR0913 - the options of a command
    part: Part,
    folder: Folder,
    dataset: Dataset = "all",
    run: Run = "all",
    profile: Profile = "quick",
    seed: Seeds = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop after so many updates.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Replace runs of other settings.")] = False,
    keep: Annotated[bool, KEEP] = False,
    wait: Annotated[bool, typer.Option("--wait", help="For a process that trains it.")] = False,
    precision: Annotated[str, typer.Option(help="of numbers, such as bf16-mixed.")] = "32-true",
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train the runs of one part; of several datasets, those that are at hand."""
    jobs = select_jobs(part, dataset, run, profile, seed, **({"steps": steps} if steps else {}))
    from papers import run as runs
    from papers.datasets import make_sampler

    usual = {"precision": "32-true", "accelerator": "auto"}
    asked = {"precision": precision, "accelerator": accelerator}
    machine = {name: value for name, value in asked.items() if value != usual[name]}
    if keep:
        jobs = leave_out(jobs, lambda *job: (folder / f"{runs.run_name(*job)}.run.json").exists())
    typer.echo(f"trainings: {sum(len(seeds) for _, seeds in jobs)}, written to {folder}")
    for settings, seeds in jobs:
        sampler = make_sampler(settings)
        for number in seeds:
            runs.train_run(settings, number, sampler, folder, again, wait, **machine)
    command = f"python -m papers evaluate {part} --dataset {dataset} --run {run}"
    typer.echo(f"measure with: {command} --profile {profile} --results {folder}")


def select_jobs(
    part: str, dataset: str, run: str, profile: str, seeds: list[int] | None, **changes: object
) -> Jobs:
    """The settings of each run that a command means, with its seeds, where the data are at hand."""
    jobs = []
    for experiment in select_runs(part, dataset, run):
        settings = sections.load(experiment.section, profile, **changes)
        numbers = sorted(seeds or range(settings.seeds))
        if numbers and settings.steps:  # A profile without the run has 0 steps.
            jobs.append((settings, numbers))
    if not jobs:
        raise ValueError(f"--run: expected one that the profile {profile} has, found {run}")
    at_hand = keep_at_hand(settings.dataset for settings, _ in jobs)
    return [(settings, numbers) for settings, numbers in jobs if settings.dataset in at_hand]


def leave_out(jobs: Jobs, is_there: Callable[[RunSettings, int], bool]) -> Jobs:
    """The jobs without the seeds that are there already; each of them is named."""
    left = []
    for settings, seeds in jobs:
        missing = [seed for seed in seeds if not is_there(settings, seed)]
        for seed in sorted({*seeds} - {*missing}):
            typer.echo(f"left as it is: {settings.section}, seed {seed}")
        left += [(settings, missing)] if missing else []
    return left


def keep_at_hand(names: Iterable[str]) -> list[str]:
    """The datasets at hand; of others the remedy is printed, or raised if there is no more."""
    from papers.datasets import find_absent

    names = list(dict.fromkeys(names))
    absent = find_absent(names)
    for error in absent.values():
        if len(names) == 1:
            raise error
        typer.echo(f"left out: {' '.join(str(error).split())}", err=True)
    return [name for name in names if name not in absent]


# ---- evaluate


@app.command("evaluate")
def evaluate_runs(  # noqa: PLR0913 - the options of a command
    part: Part,
    dataset: Dataset = "all",
    run: Run = "all",
    profile: Profile = "quick",
    seed: Seeds = None,
    folder: Annotated[Path | None, READ_FROM] = None,
    write: Annotated[bool, WRITE] = False,
    keep: Annotated[bool, KEEP] = False,
) -> None:
    """Measure trained models on test sequences; print seeds, or from four on mean ± half-width.

    --write puts these figures into metrics.json of the folder that has the weights. Those of other
    runs and seeds, whose weights need not be there, stay as they are.
    """
    jobs = select_jobs(part, dataset, run, profile, seed)
    from unbraid import records

    from papers import evaluation, pages, tables
    from papers import run as runs

    folders = [folder] if folder else [sections.own_results(), records.results()]
    if keep and not (jobs := leave_out(jobs, lambda *job: tables.is_measured(folders[0], *job))):
        return
    jobs, places = runs.find_weights(jobs, folders)
    folder = next(iter(places.values())) if len(set(places.values())) == 1 else folders[0]
    for name in dict.fromkeys(settings.dataset for settings, _ in jobs):
        selected = [job for job in jobs if job[0].dataset == name]
        metrics = evaluation.measure_runs(selected, places)
        typer.echo(tables.print_metrics(metrics))
        if write:
            path = folder / part / name / profile / "metrics.json"
            tables.add_metrics(path, metrics)
            typer.echo(f"written: {path}")
    if write and folder.resolve() == records.results().resolve():
        pages.write_tables()


# ---- judge, runs


@app.command("judge")
def train_judges(
    folder: Folder,
    dataset: Annotated[str, typer.Argument(help="One dataset with a judge, or all.")] = "all",
    profile: Profile = "quick",
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED)] = 0,
) -> None:
    """Train the judges of generated clips, and measure how far they are to be trusted."""
    from papers import judge

    for name in keep_at_hand(judge.JUDGES if dataset == "all" else [dataset]):
        metrics = judge.make_judge(name, profile, folder, seed)
        for key in metrics["judge"]["by_seed"]:
            typer.echo(f"{name} {key:<36} {metrics['judge'][key]:.4f}")


def select_target(target: str, profile: str) -> list[RunSettings]:
    """The runs' settings of a target: all, readme (those behind claims), PART or PART/DATASET."""
    part, _, dataset = target.partition("/")
    check_name("TARGET", part, ["all", "readme", *PARTS])
    experiments = list_experiments() if part not in PARTS else select_runs(part, dataset or "all")
    if target == "readme":
        from papers import claims

        names = set()  # model, dataset and run; at profiles but quick each claim has a run
        for run, _seed in claims.list_runs(claims.read_claims().values()):
            model, dataset, made, name = run.split("/")
            names |= {(model, dataset, name)} if made == "quick" or profile != "quick" else set()
        experiments = [each for each in experiments if each[1:] in names]
    loaded = [sections.load(each.section, profile) for each in experiments]
    return [settings for settings in loaded if settings.seeds and settings.steps]


@app.command("runs")
def list_runs(
    folder: Folder,
    targets: Annotated[list[str] | None, TARGETS] = None,
    profile: Profile = "quick",
) -> None:
    """Print as JSON the trainings of a grid; a finished run of other settings is refused."""
    from papers import run

    chosen: dict[str, RunSettings] = {}
    for target in targets or ["all"]:
        chosen |= {settings.section: settings for settings in select_target(target, profile)}
    at_hand = keep_at_hand(settings.dataset for settings in chosen.values())
    trainings = []
    for each in chosen.values():
        for seed in range(each.seeds if each.dataset in at_hand else 0):
            run.find_record(each, folder / run.run_name(each, seed), {})
            named = {"part": each.model, "dataset": each.dataset, "run": each.run, "seed": seed}
            trainings.append(named)
    typer.echo(json.dumps({"profile": profile, "trainings": trainings}, indent=1))


@app.command("verify")
def verify_folder(
    folder: Annotated[Path | None, STORED] = None,
    write: Annotated[bool, typer.Option("--write", help="First write the pages anew.")] = False,
    again: Annotated[bool, AGAIN] = False,
    only: Annotated[str, ONLY] = "",
) -> None:
    """Check that results fit together: digests of weights and curves, figures, pages."""
    from unbraid import records

    from papers import pages, verify

    folder = folder or records.results()
    if write:
        pages.write_tables()
    faults = verify.verify_results(folder)
    if again or only:
        from papers import evaluation  # It takes seconds to import.

        faults += evaluation.verify_again(verify.select_measured(folder, only))
    summary = f"{len(faults)} faults" if faults else "results: weights, metrics and tables agree"
    typer.echo("\n".join([*faults, summary]))
    raise typer.Exit(1 if faults else 0)


# ---- errors


def is_ours(error: BaseException) -> bool:
    """Whether an error is one that this project raises, and not a fault of a library."""
    return type(error).__module__.startswith(("unbraid.", "papers."))


def main() -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    try:
        replace_unprintable()
        app(prog_name="python -m papers")
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
        if isinstance(error, RuntimeError) and not is_ours(error):
            raise  # a fault of PyTorch or of the library, not a user's mistake
        of_files = isinstance(error, OSError) and not is_ours(error)
        hint = "; make room, or name another folder with --results" if of_files else ""
        typer.echo(f"error: {error}{hint}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
