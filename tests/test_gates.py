"""The gates themselves: each kind of bad notebook turns its gate red, and a good one leaves all of them green."""

import base64
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from unbraid import course

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TITLE = """# A toy
The reader will be able to see a gate work.

| You will learn | You need | Minutes and memory (smoke / quick / full) | Paper section |
|---|---|---|---|
| gates | nothing | 0.1 / 0.1 / 0.1, 0.1 GB | none |"""
FIGURE = f"""from base64 import b64decode
from IPython.display import Image, display
display(Image(data=b64decode("{PIXEL}"), metadata={{"alt": "one grey pixel"}}))"""


def write(
    path, *sources, parameters='profile: str = "quick"  # smoke, quick or full\nseed: int = 0'
):
    """A notebook after the template with code cells of these sources."""
    cells = [new_markdown_cell(TITLE), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    cells += [
        new_code_cell('print("checked")', metadata={"tags": ["nbval-check-output"]}),
        *map(new_code_cell, sources),
    ]
    cells += [new_code_cell(f"answer = {n}", metadata={"tags": ["solution"]}) for n in (1, 2)]
    book = new_notebook(cells=[*cells, new_markdown_cell("## What we did\n- a toy")])
    book.metadata["kernelspec"] = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good notebook with its outputs, made by the command that makes the committed ones."""
    folder = tmp_path_factory.mktemp("good")
    notebook = write(folder / "notebooks" / "10_good.ipynb", FIGURE, "print(profile, seed)\nseed")
    (outcome,) = course.renew(folder=notebook.parent, to=folder / "build")
    assert outcome.fault == ""
    return notebook


def test_a_good_notebook_is_green_everywhere(good, tmp_path, nbval):
    assert course.check_hygiene(good) == []
    outcome = course.execute(good, tmp_path / good.name, "smoke")
    assert outcome.fault == ""
    for path, mode in ((good, "--nbval-lax"), (outcome.output, "--nbval")):
        code, report = nbval(path, mode)
        assert code == 0, report


def test_renewing_again_changes_nothing(good, tmp_path):
    again = tmp_path / good.name
    shutil.copy(good, again)
    (outcome,) = course.renew(folder=tmp_path, to=tmp_path / "build")
    assert outcome.fault == "" and again.read_bytes() == good.read_bytes()
    book = nbformat.read(good, 4)
    assert course.normalise(nbformat.from_dict(book)) == book


BAD = {
    "broken": ("1 / 0", "ZeroDivisionError"),
    "hung": ("import time\ntime.sleep(60)", "timed out"),
    "killed": ("import os\nos.kill(os.getpid(), 9)", "died"),
    "left": ("import sys\nsys.exit(0)", "SystemExit"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_notebook_fails_papermills_gate(kind, tmp_path):
    source, reason = BAD[kind]
    outcome = course.execute(
        write(tmp_path / "10_bad.ipynb", source), tmp_path / "out.ipynb", "smoke", seconds=2
    )
    assert reason in outcome.fault and f"`{source.splitlines()[0]}`" in outcome.fault
    assert outcome.seconds < 20


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_notebook_fails_nbvals_gate(kind, tmp_path, nbval):
    code, report = nbval(write(tmp_path / "10_bad.ipynb", BAD[kind][0]), "--nbval-lax", seconds=2)
    assert code == 1, report


def test_a_notebook_that_ends_itself_in_its_last_cell_fails(tmp_path):
    notebook = write(tmp_path / "10_bad.ipynb")
    book = nbformat.read(notebook, 4)
    book.cells.append(new_code_cell("import sys\nsys.exit(0)"))
    nbformat.write(book, notebook)
    assert "SystemExit" in course.execute(notebook, tmp_path / "out.ipynb", "smoke").fault


def test_a_checked_output_that_changes_fails_nbvals_gate(good, tmp_path, nbval):
    changed = tmp_path / good.name
    changed.write_text(good.read_text().replace('"checked\\n"', '"something else\\n"'))
    code, report = nbval(changed, "--nbval-lax")
    assert code == 1 and "something else" in report


def test_a_notebook_that_differs_from_run_to_run_fails_the_strict_gate(tmp_path, nbval):
    notebook = write(tmp_path / "10_bad.ipynb", "import os\nprint(os.urandom(8))")
    outcome = course.execute(notebook, tmp_path / "out.ipynb", "smoke")
    assert outcome.fault == ""
    assert nbval(outcome.output, "--nbval")[0] == 1


def test_an_unknown_parameter_is_refused_before_anything_runs(good, tmp_path):
    outcome = course.execute(good, tmp_path / "out.ipynb", "smoke", {"sede": 1})
    assert outcome.fault == "10_good.ipynb has no parameter sede; it has profile, seed"
    assert not outcome.output.exists()


def test_the_table_names_what_failed_and_the_rest_still_runs(good, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(
        good, write(tmp_path / "notebooks" / "10_bad.ipynb", "1 / 0").with_name("20_good.ipynb")
    )
    outcomes = course.run(
        "smoke", "build/run", parameters={"seed": 7}, folder=tmp_path / "notebooks"
    )
    assert [outcome.result for outcome in outcomes] == ["failed", "completed"]
    printed = capsys.readouterr()
    assert "`1 / 0` ZeroDivisionError: division by zero" in printed.out and printed.err == ""
    assert "build/run/20_good.ipynb" in printed.out and "1 completed, 1 failed" in printed.out
    assert "smoke 7" in outcomes[1].output.read_text()


@pytest.mark.parametrize(
    "arguments", (["run", "--only", "99"], ["run", "--profile", "vast"], ["run", "-p", "seed"])
)
def test_the_command_line_refuses_wrong_arguments(arguments, good, monkeypatch):
    monkeypatch.setattr(course, "repository_root", lambda: good.parents[1])
    try:
        code = course.main(arguments)
    except SystemExit as error:  # argparse's own refusal
        code = error.code
    assert code == 2


def test_the_command_line_says_by_its_exit_code_whether_all_is_well(good, tmp_path, monkeypatch):
    write(tmp_path / "notebooks" / "10_bad.ipynb", "1 / 0")
    shutil.copy(good, tmp_path / "notebooks" / "20_good.ipynb")
    monkeypatch.setattr(course, "repository_root", lambda: tmp_path)
    for only, code in (("20", 0), ("10", 1)):
        assert (
            course.main(
                ["run", "--profile", "smoke", "--to", str(tmp_path / "out"), "--only", only]
            )
            == code
        )


@pytest.mark.parametrize(
    "source",
    ("1 / 0", 'import sys\nprint("noise", file=sys.stderr)', 'print("/" + "home/someone")'),
)
def test_renewing_leaves_a_notebook_with_faults_as_it_was(source, tmp_path):
    notebook = write(tmp_path / "notebooks" / "10_bad.ipynb", source)
    before = notebook.read_bytes()
    (outcome,) = course.renew(folder=notebook.parent, to=tmp_path / "build")
    assert (
        outcome.fault
        and notebook.read_bytes() == before
        and list(notebook.parent.iterdir()) == [notebook]
    )


def _output(**fields):
    return nbformat.from_dict({"output_type": "stream", "name": "stdout", "text": "x\n"} | fields)


def _code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def _drop_outputs(book):
    for cell in _code(book):
        cell.outputs, cell.execution_count = [], None


def _drop_alt(book):
    next(
        output
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ).metadata = {}


UNFIT = {
    "no outputs": _drop_outputs,
    "execution counts": lambda book: _code(book)[1].update(execution_count=9),
    "stderr": lambda book: _code(book)[1].outputs.append(_output(name="stderr")),
    "an error among": lambda book: _code(book)[1].update(
        outputs=[nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[])]
    ),
    "an absolute path: /tmp/": lambda book: _code(book)[1].outputs.append(
        _output(text="first\n/tmp/" + "x\n")
    ),
    "an absolute path: C:": lambda book: _code(book)[1].outputs.append(
        _output(text="C:" + "\\Users\\x")
    ),
    "without alt text": _drop_alt,
    "alt texts in cells": lambda book: [cell.metadata.pop("mystnb", None) for cell in book.cells],
    "widget state": lambda book: book.metadata.update(widgets={}),
    "kernel other than python3": lambda book: book.metadata.kernelspec.update(name="mine"),
    "not normalised": lambda book: book.cells[0].update(id="another"),
    "bytes, expected at most": lambda book: _code(book)[1].outputs.append(
        _output(text="x" * course.LARGEST)
    ),
    "0 code cells tagged parameters": lambda book: _code(book)[0].metadata.pop("tags"),
    "literals only": lambda book: _code(book)[0].update(
        source='profile: str = "quick"\nseed: int = max(1, 2)'
    ),
    "expected profile and seed": lambda book: _code(book)[0].update(
        source='profile: str = "quick"'
    ),
    "quick as the committed profile": lambda book: _code(book)[0].update(
        source='profile: str = "full"\nseed: int = 0'
    ),
    "only lines such as": lambda book: _code(book)[0].update(
        source='profile: str = "quick"\nseed: int = 0\nwidth = 3'
    ),
    "expected a title": lambda book: book.cells.pop(0),
    "nothing on you need": lambda book: book.cells[0].update(source=TITLE.replace("You need", "")),
    "nbval-check-output": lambda book: _code(book)[1].metadata.pop("tags"),
    "1 cells tagged solution": lambda book: _code(book)[-1].metadata.pop("tags"),
    "What we did": lambda book: book.cells.pop(),
    "one of 71 lines": lambda book: _code(book)[2].update(source="\n".join("x" * 71)),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_an_unfit_notebook_is_told_its_fault(fault, good, tmp_path):
    book = nbformat.read(good, 4)
    UNFIT[fault](book)
    nbformat.write(book, tmp_path / good.name)
    assert any(fault in found for found in course.check_hygiene(tmp_path / good.name)), (
        course.check_hygiene(tmp_path / good.name)
    )


def test_a_file_that_is_no_notebook_is_told_so(tmp_path):
    (tmp_path / "10_bad.ipynb").write_text('{"cells": [')
    assert "not a readable notebook" in course.check_hygiene(tmp_path / "10_bad.ipynb")[0]
    assert course.execute(tmp_path / "10_bad.ipynb", tmp_path / "out.ipynb", "smoke").fault


def test_a_pictures_bytes_are_not_searched_for_paths(good, tmp_path):
    book = nbformat.read(good, 4)
    output = next(
        output
        for cell in book.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    )
    output.data["image/png"] = base64.b64encode(base64.b64decode("AAAA/tmp/AAA")).decode() + "\n"
    nbformat.write(book, tmp_path / good.name)
    assert course.check_hygiene(tmp_path / good.name) == []
