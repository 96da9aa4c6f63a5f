"""Runs of notebooks: what fails is named; and what `make run CHECK=1` says of committed outputs."""

import shutil
from contextlib import nullcontext
from pathlib import Path

import nbformat
import pytest
from exercise_notebook import write_notebook
from nbformat.v4 import new_code_cell, new_output

from tools import __main__ as commands
from tools import compare, execution, files, footer, forked_kernels

BAD = {  # a cell, and what is said of it
    "hung": ("import time\ntime.sleep(60)", "timed out"),
    "killed": ("import os\nos.kill(os.getpid(), 9)", "died"),
    "left": ("import sys\nsys.exit(0)", "SystemExit"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_cell_is_named(kind, tmp_path):
    source, reason = BAD[kind]
    notebook = write_notebook(tmp_path / "10_bad.ipynb", source)
    outcome = execution.execute(notebook, tmp_path / "out.ipynb", "smoke", seconds=2)
    assert reason in outcome.fault and f"`{source.splitlines()[0]}`" in outcome.fault


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder with one good notebook, where commands work."""
    write_notebook(tmp_path / "notebooks" / "10_good.ipynb", "print(profile)", "0.1 + 0.2")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setattr(execution, "serve", lambda _: nullcontext(""))  # imports take long
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_failed_is_named_and_the_rest_still_runs(clone, monkeypatch, capsys):
    monkeypatch.setattr(execution, "serve", forked_kernels.serve)
    write_notebook(clone / "notebooks" / "20_bad.ipynb", "1 / 0")
    (clone / "notebooks" / "30_damaged.ipynb").write_text("{")
    assert commands.main(["run", "--profile", "smoke"]) == 1
    printed = capsys.readouterr().out
    assert "20_bad, cell `1 / 0`: ZeroDivisionError" in printed
    assert "run --profile smoke --only 20_bad" in printed and "1 completed, 2 failed" in printed
    assert '"smoke\\n"' in Path("build/run/10_good.ipynb").read_text()


@pytest.mark.parametrize("cores, gigabytes, at_once", ((1, 64, 1), (8, 10, 3), (4, 1, 1)))
def test_as_many_run_as_cores_and_memory_allow_the_longest_first(
    cores, gigabytes, at_once, clone, monkeypatch, capsys
):
    for number, time in ((20, "7 minutes"), (30, "half a minute"), (40, "2 minutes")):
        header = f"Study: 1 minutes, and 2 for the exercises. Runs in {time} on two cores"
        (clone / "notebooks" / f"{number}_timed.ipynb").write_text(header)
    begun = []

    def execute(notebook, output, **options):
        begun.append(notebook.name[:2])
        return execution.Outcome(notebook, output)

    monkeypatch.setattr(execution, "execute", execute)
    monkeypatch.setattr(execution, "count_cores", lambda: cores)
    monkeypatch.setattr(execution, "count_memory", lambda: gigabytes * 1e9)
    monkeypatch.setattr(execution.os, "environ", {"MALLOC_TOP_PAD_": "0"})
    execution.run("smoke")
    expected = execution.MALLOC | {"MALLOC_TOP_PAD_": "0"}  # the user's own value stays
    assert execution.os.environ == expected | {"OMP_NUM_THREADS": str(cores // at_once)}
    assert f"{at_once} at a time" in capsys.readouterr().out
    assert sorted(begun) == ["10", "20", "30", "40"]
    assert begun == ["20", "40", "30", "10"] or at_once > 1  # else threads may overtake


def test_a_run_leaves_solutions_out_and_a_comparison_does_not(clone):
    path = clone / "notebooks" / "10_good.ipynb"
    book = nbformat.read(path, 4)
    book.cells.append(new_code_cell('print("so" + "lved")', metadata={"tags": ["solution"]}))
    nbformat.write(book, path)
    for command, is_solved in ("run", False), ("compare", True):
        assert commands.main([command]) == 0
        assert ('"solved' in Path("build", command, path.name).read_text()) == is_solved


@pytest.mark.parametrize("arguments", (["run", "--only", "99"], ["compare", "--to", ""]))
def test_wrong_arguments_are_refused(arguments, clone, monkeypatch):
    if "--to" in arguments:  # the library of another clone
        monkeypatch.setattr(commands, "LIBRARY", clone)
    assert commands.main(arguments) == 2


# ---- comparing


def test_a_renewed_notebook_is_the_same_until_a_number_changes(clone, capsys):
    path = clone / "notebooks" / "10_good.ipynb"
    assert commands.main(["compare", "--renew"]) == 0
    assert "10_good: no outputs are committed" in capsys.readouterr().out
    renewed = path.read_text()
    book = nbformat.from_dict(nbformat.reads(renewed, 4))
    assert files.normalise(nbformat.reads(renewed, 4)) == book
    assert compare.report("none", nbformat.v4.new_notebook(), book)  # nothing to differ from
    assert files.tags(book.cells[-1]) == ["footer"] and '"quick\\n"' in renewed
    assert commands.main(["compare"]) == 0
    assert "10_good: the same" in capsys.readouterr().out

    path.write_text(renewed.replace("0.30000000000000004", "0.3100"))
    assert commands.main(["compare"]) == 1
    said = "1 cells differ\n  cell 3 `0.1 + 0.2`\n    committed: 0.3100\n    now:       0.3000"
    assert said in capsys.readouterr().out
    assert commands.main(["compare", "--renew"]) == 0 and path.read_text() == renewed


def test_a_notebook_that_fails_is_not_renewed(clone):
    path = write_notebook(clone / "notebooks" / "20_bad.ipynb", "1 / 0")
    before = path.read_bytes()
    assert commands.main(["compare", "--only", "20", "--renew"]) == 1
    assert path.read_bytes() == before


def test_a_notebook_whose_data_are_missing_is_left_out(clone, data_of_the_clone, capsys):
    """Or it would differ, and `--renew` would write a page without its pictures."""
    cell = 'from unbraid.data import fetch\nprint(fetch.find("{}") is not None)'
    folder = clone / "notebooks"
    shown = write_notebook(folder / "20_shown.ipynb", cell.format("weather"))  # in every clone
    lacking = write_notebook(folder / "30_lacking.ipynb", cell.format("fsdd"))
    before = lacking.read_bytes()
    assert commands.main(["compare", "--renew"]) == 0
    printed = capsys.readouterr().out
    assert "30_lacking: left out without the data fsdd; run make data" in printed
    assert printed.count("left out") == 1 and "2 completed" in printed
    assert lacking.read_bytes() == before and '"True\\n"' in shown.read_text()
    assert commands.main(["compare", "--only", "30"]) == 0  # nothing is left to compare
    assert "completed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "old, new, is_close",
    (
        ("accuracy 0.91 of 2000", "accuracy 0.92 of 2001", True),
        ("accuracy 0.91", "accuracy 0.93", False),
        ("accuracy 0.912", "precision 0.912", False),
        ("8 clips", "9 clips", False),
        ("1.500e-05", "1.501e-05", True),
        ("1.5e-05", "1.5e-04", False),
        ("−0.00 nats", "0.00 nats", True),
        ("| 9.996 |---|", "| 10.00 |----|", True),
        ("<Axes at 0x7f12>", "<Axes at 0x7fab>", True),
        ("1 2 3", "1 2", False),
        ("nan", "0.5", False),
    ),
)
def test_lines_are_close_where_words_agree_and_numbers_nearly_do(old, new, is_close):
    assert compare.is_close(old, new) == is_close


@pytest.mark.parametrize(
    "tags, differs",
    (([], 1), (["tolerance=0.05"], 0), (["tolerance=0.01"], 1), (["no-compare"], 0)),
)
def test_a_tag_widens_what_a_cell_may_print(tags, differs):
    books = []
    for text in ("took 100.0 s\nthe end", "took 103.0 s\n", "took 103.0 s\nthe end"):
        cell = new_code_cell(
            "1", metadata={"tags": tags}, outputs=[new_output("stream", text=text)]
        )
        books.append(nbformat.v4.new_notebook(cells=[cell]))
    old, shorter, new = books
    assert len(compare.find_differences(old, new)) == differs
    assert len(compare.find_differences(old, shorter)) == ("no-compare" not in tags)


# ---- footers


def test_a_footer_leads_to_the_neighbours(clone):
    folder = clone / "notebooks"
    for number in (11, 12):
        shutil.copy(folder / "10_good.ipynb", folder / f"{number}_good.ipynb")
    assert len(footer.renew(folder=folder)) == 3 and footer.renew(folder=folder) == []
    texts = [nbformat.read(path, 4).cells[-1].source for path in sorted(folder.iterdir())]
    assert "[First page](../README.md) · Next: " in texts[0] and "(11_good.ipynb)" in texts[0]
    assert "[Map](10_good.ipynb) · Previous: " in texts[1] and "(12_good.ipynb)" in texts[1]
    assert "Next" not in texts[2] and "glossary.md" in texts[2]
