"""python -m unbraid_own: measures on anybody's codes (measure), and the training of a model on
one's own data with a report (train).

What needs PyTorch is imported lazily, so that help and typos are answered at once.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from unbraid.__main__ import main as fetch_data
from unbraid.checks import check_field, check_name, check_seed, check_type
from unbraid.files import quiet_pipe

from unbraid_own.arrays import LARGEST_SEED, join_names

NO_MEMORY = "allocate|out of memory|start new thread"  # in errors of PyTorch and the system


def build_parser() -> argparse.ArgumentParser:
    """The two commands with their options."""
    about = "Measures of codes, and models of your own data."
    parser = argparse.ArgumentParser("python -m unbraid_own", description=about)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    shape = argparse.RawDescriptionHelpFormatter

    def add_command(run: Callable[..., None]) -> Callable[..., argparse.Action]:
        about = inspect.getdoc(run) or ""
        more: dict[str, Any] = {"help": about.partition("\n")[0], "formatter_class": shape}
        command = commands.add_parser(run.__name__, description=about, **more)
        command.set_defaults(run=run)
        return command.add_argument

    add = add_command(measure)
    add("codes", type=as_path, help="npz or pt: each code (N, D), or of steps (N, T, d); or a csv")
    add("factors", type=as_path, help="npz, pt or csv: each factor (N,) or (N, T)")
    motion = "of the motion, with commas; '' for none"
    add("--dynamic", type=split_names, help=f"factors (not codes) {motion}")
    add("--group", help="a column of the factors: its rows of one value stay together")
    add("--leave-out", type=split_names, default=[], help="factors that are not measured")
    add("--json", type=as_path, help="write everything there")
    add("--html", type=as_path, help="write one page with figures there")
    add("--seed", type=int, default=0, help="of the splits and shuffles")

    add = add_command(train)
    names = "single_element (c), which reads everything, independent (a) or unordered (b)"
    add("model", nargs="?", default="c", type=as_model, help=names)
    what = "a folder of films, folders of pictures or recordings; a film; npy, npz; a csv of series"
    add("--data", type=as_path, required=True, help=what)
    add("--labels", type=as_path, help="a csv: the first column names films, files or series")
    add("--id-column", help="of a csv: names the series of a row")
    add("--time-column", help="of a csv: orders a series")
    add("--group", help="a label kept together by the split")
    add("--dynamic", type=split_names, help=f"labels (not codes) {motion}")
    add("--size", type=int, default=32, help="pixels of a frame: 8, 16, 32, 64, 128, 256")
    add("--fit", default="crop", help="of frames: crop to the middle square, or pad with black")
    add("--length", type=int, help="steps of a clip")
    add("--stride", type=int, help="steps between beginnings of clips")
    add("--seed", type=int, default=0, help="of split, weights and training")
    add("--steps", type=int, help="updates of the training; with more, a run goes on")
    add("--batch-size", type=int, help="sequences per update")
    add("--to", type=as_path, help="folder; by default build/own/<data>-<model>")
    add("--again", action="store_true", help="replace a run in the folder")
    add("--accelerator", default="auto", help="auto, cpu, cuda or mps")
    return parser


def as_path(text: str) -> Path:
    """A path; ~ is the home folder, which a shell leaves alone after an equals sign."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"expected a path, found no home for {text}") from None


def as_model(text: str) -> str:
    """The name of a model; a, b and c are those of the papers."""
    return {"a": "independent", "b": "unordered", "c": "single_element"}.get(text, text)


def split_names(text: str) -> list[str]:
    """Names with commas between them."""
    return [name.strip() for name in text.split(",") if name.strip()]


def show(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows; cells below each other are aligned in a run of rows of equally many."""
    for _, group in itertools.groupby(rows, len):
        table = list(group)
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for row in table:
            cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
            print("  ".join([*cells, row[-1]]), flush=True)


def measure(codes: Path, factors: Path, words: Sequence[str], **options: Any) -> None:
    """Is my model disentangled? Measure the codes of any model against known factors.

    Rows are sequences, in the same order in both files. They are split at random and taken as
    independent, but for exact copies. Where several are of one person, for example, --group names
    the column that says of whom. Columns of a csv of codes are units: static_0, static_1, dynamic_0
    are the codes static and dynamic; other names are the units of one code.
    """
    from unbraid.files import write_atomically

    from unbraid_own.arrays import MADE_BY, check_inputs, read_arrays, read_codes
    from unbraid_own.outputs import check_outputs, provenance

    json, html, group = (options.pop(name) for name in ("json", "html", "group"))
    check_outputs(filter(None, (json, html)), [codes, factors], MADE_BY)
    arrays, known = read_codes(codes), read_arrays(factors, "factors")
    for name in join_names(options.pop("leave_out"), known) or ():
        check_name("leave-out", name, known)
        known.pop(name)
    if group is not None:
        check_name("group", group, known)
        options["groups"] = known.pop(group)
    options["dynamic"] = join_names(options["dynamic"], known)
    check_inputs(arrays, known, options["dynamic"], options.get("groups"))
    from unbraid_own.measure import Report  # What takes seconds comes last.
    from unbraid_own.measure import measure as measure_codes

    def print_verdict(report: Report) -> None:
        show(report.verdict_table())
        print("bits and scores follow, which take three times as long ...", file=sys.stderr)

    made = provenance([codes, factors], words)
    report = measure_codes(arrays, known, on_verdict=print_verdict, **options)
    report = replace(report, provenance=made)
    show(report.rest_table())
    for written, text in ((json, report.as_json), (html, report.as_html)):
        if written:
            write_atomically(written, text().encode(errors="backslashreplace"))
            print(f"written: {written}")


def train(model: str, data: Path, words: Sequence[str], **options: Any) -> None:
    """Train a model on your own data, in a few minutes, and write one report page.

    Into the folder go report.html (all figures are inside), model.safetensors (for
    SequenceModel.load), model.run.json (settings with their reasons, what was read, digests,
    best update), model.training.csv (the bound on the training and validation split), codes.npz
    and, where there are labels, factors.npz (for the command measure, of the test split and,
    where that is too small for a verdict, of the other splits, too). From model.checkpoint,
    model.best and model.rows.json the same command goes on after an interruption, and a finished
    run with more --steps. Else it writes the report of a finished run anew.
    """
    check_field(data.exists(), "data", "a file or a folder", f"none at {data}")
    import torch
    from unbraid.training import choose_accelerator

    from unbraid_own import own_data, own_report, own_training
    from unbraid_own.outputs import provenance

    folder = options.pop("to") or Path("build", "own", f"{data.resolve().stem}-{model}")
    inputs = [data, *filter(None, [options["labels"]])]
    running = {name: options.pop(name) for name in ("again", "accelerator")}
    chosen = {name: options.pop(name) for name in ("steps", "batch_size")}
    own_training.check_request(model, folder, inputs, running["accelerator"], **chosen)
    print(f"reading {data} ...", flush=True)
    read = own_data.load(data, **options)
    options["dynamic"] = join_names(options["dynamic"], read.splits["test"].labels)
    print("I take this for:")
    show(read.taken)
    print("".join(f"  {note}\n" for note in read.notes), end="", flush=True)
    plan = own_training.choose(model, read, seed=options["seed"], **chosen)
    device = choose_accelerator(running["accelerator"])
    device = torch.cuda.get_device_name() if device == "cuda" else device
    made = provenance(inputs, words, device)
    trained = own_training.train(plan, read, folder, made=made, **running)
    print("writing the report ...", flush=True)
    print(f"written: {own_report.write(trained, read, folder, options['dynamic'])}")
    print(own_report.suggest_measure(read, folder, options["dynamic"]))


def run(words: Sequence[str]) -> None:
    """Run a command; its errors are raised."""
    check_type((list, tuple), words=words)
    options = vars(build_parser().parse_args(words or ["--help"]))
    check_seed(options["seed"], LARGEST_SEED)
    options.pop("run")(**options, words=words)


def main() -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    if sys.argv[1:2] == ["data"]:
        return fetch_data()
    try:
        with quiet_pipe(goes_on=True):
            run(sys.argv[1:])
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("unbraid"):
            raise
        remedy = "python -m pip install 'unbraid[own]' installs it"
        sys.exit(f"error: this needs the package {error.name}; {remedy}")
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        sys.exit(f"error: {explain(error)}")


def explain(error: Exception) -> str:
    """What a user is told; a fault of PyTorch or of the library is raised again."""
    is_ours, text = type(error).__module__.startswith("unbraid"), str(error)
    if isinstance(error, MemoryError) or (not is_ours and re.search(NO_MEMORY, text)):
        remedy = "a smaller --batch-size, --size or --length of train, fewer rows of measure"
        return f"memory: expected more than there is; {remedy}, or close other programs"
    if isinstance(error, RuntimeError) and not is_ours:
        raise error
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return text


if __name__ == "__main__":
    main()
