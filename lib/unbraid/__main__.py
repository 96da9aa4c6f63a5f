"""python -m unbraid: the course's data (data), measures on your codes (measure), and the training
of a model on your own data with a report (train).

What needs PyTorch is imported late, so that help and typos are answered at once.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

MOVED = ("train", "evaluate", "judge", "full", "verify", "stamp")  # these make results/
OWN = {"--data", "-h", "--help"}  # with one of these options, train is a command of this module

app = typer.Typer(
    help="Unbraid, a course on sequential disentanglement: its data, its measures, its models.",
    epilog=f"In the clone, python -m papers has the commands {', '.join(MOVED)}.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(
    help="List, fetch and check the data.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(data, name="data")

Names = Annotated[list[str] | None, typer.Argument(help="Datasets or sources; by default all.")]
Listed = Annotated[str, typer.Option(help="Factors or labels of the motion, with commas.")]


def show_version(wanted: bool) -> None:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"unbraid {version('unbraid')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True)] = False,
) -> None:
    """Options in front of the command."""


@data.command("list")
def list_data(names: Names = None) -> None:
    """What there is, under which licence, how large, and where it is or how it is had."""
    from unbraid.data import fetch

    for name in fetch.select_sources(names or fetch.SOURCES):
        typer.echo("\n".join(fetch.describe(name)))


@data.command("fetch")
def fetch_data(names: Names = None) -> None:
    """Bring what is missing from the publishers into the cache, every byte checked."""
    from unbraid.data.fetch import SOURCES, DataError, fetch, select_sources

    failures = []
    for name in select_sources(names or SOURCES):
        try:
            typer.echo(f"{name}: {len(fetch(name))} files here, all digests right")
        except DataError as error:
            failures.append("; ".join(map(str.strip, str(error).splitlines())))  # one line a set
    if failures:
        raise DataError("\n".join(failures))


@data.command("verify")
def verify_data(names: Names = None) -> None:
    """Read every file anew and check its digest; what is missing is a fault of named sets only."""
    from unbraid.data.fetch import SOURCES, select_sources, verify

    faults = 0
    for name in select_sources(names or SOURCES):
        states = verify(name)
        counts = Counter(states.values())
        typer.echo(f"{name}: {', '.join(f'{counts[state]} {state}' for state in counts)}")
        for file in states:
            if states[file] == "damaged":
                typer.echo(f"  damaged: {name}/{file}")
        faults += counts["damaged"] + (counts["missing"] if names else 0)
    verdict = f"{faults} faults" if faults else "all files here are right"
    typer.echo(f"{verdict}; python -m unbraid data fetch NAME brings what is missing")
    raise typer.Exit(1 if faults else 0)


@app.command()
def measure(
    codes: Annotated[Path, typer.Argument(help="npz: each code (N, D), or of steps (N, T, d).")],
    factors: Annotated[Path, typer.Argument(help="npz or csv: each factor (N,) or (N, T).")],
    dynamic: Listed = "",
    frames: Annotated[
        tuple[Path, Path] | None, typer.Option(help="npy files: true and decoded frames.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything there.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one page with figures there.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits and shuffles.")] = 0,
) -> None:
    """Is my model disentangled? Measure the codes of any model against known factors.

    Rows are sequences, in the same order in both files. They are split at random and taken as
    independent: of several clips of one person, for example, give one.
    """
    from unbraid_extras import measure as report
    from unbraid_extras.arrays import read_arrays

    from unbraid import store
    from unbraid.checks import check_field

    for path in filter(None, (json, html)):
        is_there = path.parent.is_dir()
        check_field(is_there, str(path), "a folder to write into", f"no {path.parent}")
        check_field(not path.is_dir(), str(path), "the name of a file to write", "a folder")
    pictures = None
    if frames:
        pictures = tuple(next(iter(read_arrays(path, "frames").values())) for path in frames)
    arrays = read_arrays(codes, "codes"), read_arrays(factors, "factors")
    options = {"dynamic": split_names(dynamic), "frames": pictures, "seed": seed}
    found = report.measure(*arrays, **options)
    typer.echo(repr(found))
    for path, text in ((json, found.as_json), (html, found.as_html)):
        if path:
            store.write_atomically(path, text().encode())
            typer.echo(f"written: {path}")


@app.command()
def train(  # noqa: PLR0913 - options of a command
    model: Annotated[str, typer.Argument(help="independent, unordered or single_element.")],
    data: Annotated[
        Path,
        typer.Option(
            help="A folder of films, of folders of pictures or of recordings; a film; npy, npz; "
            "a csv of series with a column of names and one of times."
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="A csv whose first column names films, folders, files or series."),
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Of a csv: tells series apart.")] = None,
    time_column: Annotated[str | None, typer.Option(help="Of a csv: orders a series.")] = None,
    group: Annotated[str | None, typer.Option(help="A label kept together by the split.")] = None,
    dynamic: Listed = "",
    size: Annotated[int, typer.Option(help="Pixels of a frame: 8, 16, 32, 64, 128, 256.")] = 32,
    length: Annotated[int | None, typer.Option(help="Steps of a clip.")] = None,
    stride: Annotated[int | None, typer.Option(help="Steps between beginnings of clips.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of split, weights and training.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Sequences per update.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Folder; by default build/own/<data>-<model>.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Replace a run in the folder.")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Train a model on your own data, in a few minutes, and write one report page.

    Into the folder go report.html (all figures are inside), model.safetensors (for
    SequenceModel.load), model.run.json (settings with their reasons, what was read, digests,
    best update), model.training.csv (the bound on the training and validation split), codes.npz
    and, where there are labels, factors.npz (of the test split, for python -m unbraid measure).
    While it trains there are also model.checkpoint and model.best: the same command goes on after
    an interruption. Of a finished run it writes the report anew.
    """
    from unbraid_extras import own_data as own
    from unbraid_extras import own_report, own_training

    from unbraid.checks import check_name

    folder = to or Path("build", "own", f"{data.resolve().stem}-{model}")
    own_training.check_request(model, folder, data, accelerator)
    columns = {"id_column": id_column, "time_column": time_column, "group": group}
    cuts = {"size": size, "length": length, "stride": stride}
    read = own.load(data, labels=labels, seed=seed, **columns, **cuts)
    plan = own_training.choose(model, read, seed=seed, steps=steps, batch_size=batch_size)
    names = split_names(dynamic)
    for name in names:
        check_name("dynamic", name, read.splits["train"].labels)
    with own_training.hold(folder):
        trained = own_training.train(plan, read, folder, again=again, accelerator=accelerator)
        written = own_report.write(trained, read, folder, dynamic=names)
    typer.echo(f"written: {written}")


def split_names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def main() -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    is_own = sys.argv[1:2] == ["train"] and {word.split("=")[0] for word in sys.argv} & OWN
    if sys.argv[1:2] and sys.argv[1] in MOVED and not is_own:
        command = f"python -m papers {shlex.join(sys.argv[1:])}"
        moved = f"python -m unbraid {sys.argv[1]} has moved"
        typer.echo(f"{moved}; run in the clone: {command}", err=True)
        sys.exit(2)
    try:
        app(prog_name="python -m unbraid")
    except SystemExit as end:
        if end.code == 130:  # Ctrl-C
            typer.echo("stopped", err=True)
        raise
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("unbraid"):
            raise
        remedy = "python -m pip install 'unbraid[course]', or -e '.[course]' in the clone"
        typer.echo(f"error: this needs the package {error.name}; {remedy}", err=True)
        sys.exit(1)
    except (OSError, ValueError, RuntimeError) as error:
        is_ours = type(error).__module__.startswith("unbraid.")
        if isinstance(error, RuntimeError) and not is_ours:
            raise  # a fault of PyTorch or of the library, not a user's mistake
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # pressed before a command could begin
        print("stopped", file=sys.stderr)
        sys.exit(130)
