"""`make gpu`: the papers' own size on one GPU, and the rows and verdicts that come of it.

    python -m papers.gpu --seed 0

A factored, A entangled, B and C are trained in this order by papers/a, b and c/full_size.py. A
training that was interrupted goes on at its state file in build/gpu/. A run that results/ holds is
not trained again, and one whose figures are there is not measured again.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from unbraid import records
from unbraid.checks import ResultsError, SettingsError
from unbraid.lessons.n15 import name_grouping
from unbraid.training import choose_accelerator

from papers import claims, evaluation, pages, tables
from papers.a import full_size as paper_a
from papers.b import full_size as paper_b
from papers.c import full_size as paper_c
from papers.import_run import import_run
from papers.run import run_name
from papers.settings import RunSettings, load

SCRIPTS: dict[str, tuple[Any, Any]] = {
    "a": (paper_a, paper_a.DigitsRun),
    "b": (paper_b, paper_b.PosesRun),
    "c": (paper_c, paper_c.SpritesRun),
}
STAGES: dict[str, tuple[str, list[str]]] = {  # in their order: the script and its options
    "a": ("a", []),
    "a_entangled": ("a", ["--entangled"]),
    "b": ("b", []),
    "c": ("c", []),
}
WHOLE = "1000000"  # seconds, which no training takes: it ends by its updates


def make_all(folder: Path, work: Path, seed: int = 0, more: dict[str, str] | None = None) -> None:
    """Train, import and measure what a folder of results lacks, and print the verdicts.

    work: the folder of state files. more: further options of a script, by its letter.
    """
    for stage, (letter, options) in STAGES.items():
        name = f"{stage}-seed{seed}"
        places = ["--state", str(work / f"{name}.pt"), "--out", str(work), "--name", name]
        arguments = [*options, *(more or {}).get(letter, "").split(), "--seed", str(seed)]
        settings, updates = describe(letter, arguments)
        path = folder / run_name(settings, seed)
        if path.with_suffix(".run.json").exists():
            print(f"{stage}: {path} is there", flush=True)
        else:
            work.mkdir(parents=True, exist_ok=True)
            run_script(letter, [*arguments, "--seconds", WHOLE, *places])
            check_length(work / f"{name}.json", updates)
            import_run(work / name, folder)
        figures = measure(settings, seed, folder)
        if settings.model == "independent":
            scores = [value for figure, value in figures.items() if figure.startswith("r2_")]
            print(f"{stage}: the factors hold: {name_grouping(np.reshape(scores, (2, 4)))}")
        if folder.resolve() == records.results().resolve():
            pages.write_tables()
            print_verdicts(run_name(settings, seed).rpartition("-seed")[0])
    print("the heads of notebooks 13, 20 and 30 are written by: python -m tools footer")


def describe(letter: str, arguments: list[str]) -> tuple[RunSettings, int]:
    """The settings of what a script trains with these options, and how many updates."""
    script, run_class = SCRIPTS[letter]
    options = script.read_options([*arguments, "--cpu"])
    described = run_class(options).describe()
    return load(described["section"], "full").replace(**described["changes"]), options.steps


def run_script(letter: str, arguments: list[str]) -> None:
    """Run papers/<letter>/full_size.py in a process of its own, whose memory it gives back."""
    command = [sys.executable, SCRIPTS[letter][0].__file__, *arguments]
    print(" ".join(command), flush=True)
    subprocess.run(command, check=True)


def check_length(written: Path, updates: int) -> None:
    """Refuse a training that has not made all its updates."""
    made = records.read_json(written)["steps"]
    if made < updates:
        found = f"{made}; run the same command to continue"
        raise ResultsError(f"{written}: expected {updates} updates, found {found}")


def measure(settings: RunSettings, seed: int, folder: Path) -> dict[str, float]:
    """The figures of a run, which are measured and written if metrics.json lacks them."""
    path = folder / settings.model / settings.dataset / settings.profile / "metrics.json"
    metrics = records.read_json(path) if path.exists() else {"protocol": {"weights": {}}}
    if seed not in tables.find_seeds(metrics, settings.run):
        places = {run_name(settings, seed): folder}
        tables.add_metrics(path, evaluation.measure_runs([(settings, [seed])], places))
    return tables.split_seeds(records.read_json(path), settings.run)[seed]


def print_verdicts(run: str) -> None:
    """The parts of REPRODUCTION.md that a run answers."""
    rows = claims.read_claims()
    for letter in "ABC":
        for name, claim in pages.name_claims(rows, letter).items():
            if claim.run == run:
                print(pages.render_numbers(name, claim), end="\n\n")


def main() -> None:
    """The command; what a user can mend ends in one message."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, help="by default results/")
    options = parser.parse_args()
    try:
        choose_accelerator("cuda")  # or it says what this machine has
        folder = (options.results or records.results()).resolve()
        make_all(folder, folder.parent / "build" / "gpu", options.seed)
    except (ResultsError, SettingsError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
