"""unbraid: measures on anybody's codes (measure), and a model of one's own data (train).

What needs PyTorch is imported lazily, so that help and typos are answered at once.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from unbraid.__main__ import data
from unbraid.checks import check_field, check_names
from unbraid.files import replace_unprintable, write_atomically

app = typer.Typer(
    help="Measures of codes, and models of your own data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data, name="data")
Dynamic = Annotated[str | None, typer.Option(help="Factors of the motion, with commas; '': none.")]
Group = Annotated[str | None, typer.Option(help="The factor, as a person, that splits keep whole.")]
# How a page, or a record, that a command of ours made begins.
OURS = re.compile(rb'\s*({\s*"made_by": "unbraid |<!doctype html>.{0,80}content="unbraid )', re.S)
Seed = Annotated[int, typer.Option(help="Of splits, shuffles and weights.")]


@app.command()
def measure(
    files: Annotated[list[Path], typer.Argument(help="CODES.npz [OTHER.npz] FACTORS.npz")],
    dynamic: Dynamic = None,
    group: Group = None,
    to: Annotated[Path, typer.Option(help="The page; a record, .json, is beside it.")] = Path(
        "measured.html"
    ),
    seed: Seed = 0,
) -> None:
    """What is in my code? Measure the codes of any model, or of two, against known factors.

    Each code is an array (N, D), or (N, T, d) of steps, each factor (N,) or (N, T). Row i is the
    same sequence in all files. --group '' says that no factor is a group.
    """
    import numpy as np

    from unbraid_own.arrays import read_arrays

    check_field(len(files) in (2, 3), "files", "CODES.npz [OTHER.npz] FACTORS.npz", len(files))
    record = to.with_suffix(".json")
    for path in (to, record):
        check_target(path)
    codes = [read_arrays(path, "codes") for path in files[:-1]]
    factors, groups = read_arrays(files[-1], "factors"), None
    if group == "":
        groups = np.arange(len(next(iter(factors.values()))))
    elif group is not None:
        check_names("group", [group], factors)
        groups = factors.pop(group)
    names = split_names(dynamic)
    check_names("dynamic", names or (), factors)

    from unbraid_own.measure import measure as measure_codes  # What takes seconds comes last.
    from unbraid_own.pages import say_how

    other, stems = [*codes, None][1], (files[0].stem, files[1].stem)
    options = {"other": other, "dynamic": names, "groups": groups, "names": stems, "seed": seed}
    report = measure_codes(codes[0], factors, **options)
    report = replace(report, made=say_how(sys.argv[1:]))
    for path, text in ((to, report.as_html()), (record, report.as_json())):
        write_atomically(path, text.encode(errors="backslashreplace"))
    print("\n".join(report.lines(to)))


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="A folder of clips, or a csv of series.")],
    labels: Annotated[Path | None, typer.Option(help="A csv, by name of clip or series.")] = None,
    group: Group = None,
    dynamic: Dynamic = None,
    to: Annotated[Path | None, typer.Option(help="A folder.")] = None,
    steps: Annotated[int | None, typer.Option(help="Updates.")] = None,
    seed: Seed = 0,
) -> None:
    """Train a model on your own clips or series, and write one report page."""
    from unbraid_own.train import run

    run(data, labels, group, split_names(dynamic), to, steps, seed)


def check_target(path: Path) -> None:
    """Refuse a file to write in no folder, or that would replace one that none of us made."""
    is_folder = path.parent.is_dir() and os.access(path.parent, os.W_OK)
    check_field(is_folder, str(path), "a folder that one can write into", str(path.parent))
    is_free = not path.exists() or (path.is_file() and OURS.match(path.read_bytes()[:300]))
    check_field(is_free, str(path), "no file, or one that we made (name another)", "another")


def split_names(text: str | None) -> list[str] | None:
    """Names with commas between them."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def main() -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    try:
        replace_unprintable()
        app()
    except ModuleNotFoundError as error:
        sys.exit(f"error: {error}; python -m pip install 'unbraid[own]' installs it")
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not type(error).__module__.startswith("unbraid"):
            raise  # a fault of PyTorch
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
