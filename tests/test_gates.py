"""The gates themselves: each kind of bad notebook turns its gate red, and a good one none."""

import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from exercise_notebook import write_notebook as write
from jupyter_client.connect import LocalPortCache
from nbformat.v4 import new_code_cell
from papermill.iorw import papermill_io

from tools import __main__ as commands
from tools import execution, files, footer, kernels, stamp

BAD = {
    "broken": ("1 / 0", "ZeroDivisionError"),
    "hung": ("import time\ntime.sleep(60)", "timed out"),
    "killed": ("import os\nos.kill(os.getpid(), 9)", "died"),
    "left": ("import sys\nsys.exit(0)", "SystemExit"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good notebook with its outputs, made by the command that makes the committed ones."""
    folder = tmp_path_factory.mktemp("good")
    notebook = write(folder / "notebooks" / "10_good.ipynb", "print(profile, seed)\nseed", "1 + 1")
    (outcome,) = execution.renew(folder=notebook.parent, to=folder / "build")
    assert outcome.fault == ""
    return notebook


def test_renewing_again_changes_nothing(good, tmp_path):
    again = tmp_path / good.name
    shutil.copy(good, again)
    (outcome,) = execution.renew(folder=tmp_path, to=tmp_path / "build")
    assert outcome.fault == "" and again.read_bytes() == good.read_bytes()
    book = nbformat.read(good, 4)
    assert files.normalise(nbformat.from_dict(book)) == book


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_notebook_fails_papermills_gate(kind, tmp_path):
    source, reason = BAD[kind]
    notebook = write(tmp_path / "10_bad.ipynb", source)
    outcome = execution.execute(notebook, tmp_path / "out.ipynb", "smoke", seconds=2)
    assert reason in outcome.fault and f"`{source.splitlines()[0]}`" in outcome.fault


@pytest.mark.parametrize(
    "source, reasons",
    (
        ("1 / 0", ("ZeroDivisionError",)),
        ("import os\nos.urandom(8)", ("another run at smoke differs", "os.urandom")),
    ),
)
def test_what_fails_or_differs_from_run_to_run_is_not_renewed(source, reasons, tmp_path):
    notebook = write(tmp_path / "notebooks" / "10_bad.ipynb", source)
    before = notebook.read_bytes()
    (outcome,) = execution.renew(folder=notebook.parent, to=tmp_path / "build")
    assert all(reason in outcome.fault for reason in reasons)
    assert notebook.read_bytes() == before and not execution.has_repeated(notebook)
    assert list(notebook.parent.iterdir()) == [notebook]


def test_a_notebook_that_has_repeated_itself_says_so_until_something_changes(
    good, tmp_path, monkeypatch
):
    assert execution.has_repeated(good)
    changed = tmp_path / good.name
    changed.write_text(good.read_text().replace("1 + 1", "1 + 2"))
    assert not execution.has_repeated(changed)
    monkeypatch.setattr(stamp, "read_versions", lambda: {"torch": "1.0"})
    assert not execution.has_repeated(good)


def test_a_forked_kernel_does_as_a_new_one_and_leaves_nothing_behind(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    sources = (
        f"import os, tempfile\nfolder = tempfile.TemporaryDirectory(dir={str(kept)!r})",
        "import pandas\npandas.DataFrame({f'column number {i}': [i] for i in range(12)})",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.get_backend()",
        "os.path.basename(os.getcwd()), os.environ['LENT'], os.read(0, 1)",
        "import multiprocessing as m\nm.current_process().daemon, m.get_start_method()",
        "import importlib.util\n[importlib.util.find_spec(name) for name in ('papers', 'tools')]",
    )
    notebook = write(tmp_path / "notebooks" / "10_forked.ipynb", *sources)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LENT", "now")  # after the process that it is forked from has started
        patch.delenv("PYTHONPATH")
        patch.setattr(kernels, "find_path", kernels.find_path.__wrapped__)
        outcome = execution.execute(notebook, notebook.parent / "out.ipynb", "smoke")
        assert outcome.fault == "" and list(kept.iterdir()) == []
        assert execution.find_difference(outcome) == ""  # nbval's kernel is a new process
    assert "image/png" in outcome.output.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels are not forked")
def test_a_kernel_has_the_packages_but_not_the_library(tmp_path):
    source = "import sys\nprint('torch' in sys.modules, 'unbraid' in sys.modules)"
    outcome = execution.execute(write(tmp_path / "10_a.ipynb", source), tmp_path / "out.ipynb")
    assert outcome.fault == "" and "True False" in outcome.output.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere kernels are not forked")
def test_a_kernel_ends_with_the_process_that_asked_for_it(tmp_path):
    source = "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(250)"
    notebook, pid = write(tmp_path / "10_a.ipynb", source), tmp_path / "pid"
    code = "import sys; from tools import execution; execution.execute(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(notebook), str(tmp_path / "out.ipynb")]
    parent = subprocess.Popen(command)
    wait_for(lambda: pid.exists() and pid.read_text())
    state = Path("/proc", pid.read_text(), "stat")
    assert state.exists()
    parent.kill()
    parent.wait()
    wait_for(lambda: not state.exists() or state.read_text().split()[2] == "Z")


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_unknown_parameter_is_refused_before_anything_runs(good, tmp_path):
    outcome = execution.execute(good, tmp_path / "out.ipynb", "smoke", {"sede": 1})
    assert "sede" in outcome.fault and not outcome.output.exists()


@pytest.mark.parametrize("taken_starts, fault", ((1, ""), (9, "Kernel died before replying")))
def test_a_kernel_whose_ports_were_taken_is_started_anew(
    taken_starts, fault, good, tmp_path, monkeypatch
):
    """Other programs may take a port before the kernel does; here one of this test's has it."""
    choose = LocalPortCache.find_available_port
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = iter([other.getsockname()[1]] * 5 * taken_starts)  # a kernel has five ports
        monkeypatch.setattr(
            LocalPortCache,
            "find_available_port",
            lambda cache, ip: next(taken, None) or choose(cache, ip),
        )
        outcome = execution.execute(good, tmp_path / good.name, "smoke")
    assert (fault in outcome.fault) if fault else not outcome.fault
    assert len(list(taken)) == 5 * max(0, taken_starts - execution.STARTS)


def test_a_run_leaves_solutions_out_and_renewing_does_not(good, tmp_path, monkeypatch):
    book = nbformat.read(good, 4)
    book.cells.append(new_code_cell('print("so" + "lved")', metadata={"tags": ["solution"]}))
    notebook = tmp_path / "notebooks" / good.name
    notebook.parent.mkdir()
    nbformat.write(book, notebook)
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    for command, is_solved in (("run", False), ("run --solutions", True), ("notebooks", True)):
        assert commands.main(command.split()) == 0
        output = tmp_path / "build" / command.split()[0] / good.name
        assert ('"solved' in output.read_text()) == is_solved
        assert "checked" in output.read_text()


def test_what_failed_is_named_and_the_rest_still_runs(good, tmp_path, capsys, monkeypatch):
    write(tmp_path / "notebooks" / "10_bad.ipynb", "1 / 0")
    shutil.copy(good, tmp_path / "notebooks" / "20_good.ipynb")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert commands.main(["run", "--profile", "smoke"]) == 1
    printed = capsys.readouterr().out
    assert "10_bad, cell `1 / 0`: ZeroDivisionError" in printed
    assert "run --profile smoke --only 10_bad" in printed and "1 completed, 1 failed" in printed
    assert "smoke 0" in (tmp_path / "build/run/20_good.ipynb").read_text()


def test_outputs_lie_where_they_belong_and_the_folder_stays(good, tmp_path, monkeypatch):
    """papermill enters the notebooks' folder while other threads start."""
    folder = good.parent
    for number in range(20, 25):
        shutil.copy(good, folder / f"{number}_good.ipynb")
    monkeypatch.chdir(tmp_path)
    handler = papermill_io.get_handler("local")
    before = handler._cwd
    outcomes = execution.run("smoke", "out", folder=folder)
    assert handler._cwd == before  # What papermill remembers must not reach the next run.
    assert {outcome.output.parent for outcome in outcomes} == {tmp_path / "out"}
    assert all(outcome.output.exists() and not outcome.fault for outcome in outcomes)
    assert Path.cwd() == tmp_path and not (folder / "out").exists()


def test_a_notebook_without_an_output_has_not_completed(tmp_path):
    assert "found no file" in execution.find_fault(tmp_path / "10_lost.ipynb")


def test_the_command_line_refuses_wrong_arguments(good, monkeypatch):
    monkeypatch.setattr(files, "ROOT", good.parents[1])
    assert commands.main(["run", "--only", "99"]) == 2
    assert commands.main(["run", "--cell-seconds", "-1"]) == 2
    with pytest.raises(SystemExit, match="2"):
        commands.main(["pages", "--profile", "full"])  # what is no option of a command


def test_the_library_of_another_clone_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(footer, "LIBRARY", tmp_path)
    assert commands.main(["fresh"]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_the_old_command_names_the_new_one():
    command = [sys.executable, "-m", "unbraid.course", "fresh", "--only", "00"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith("python -m tools fresh --only 00\n")


@pytest.mark.parametrize("switch, watched", (("off", False), ("on", True)))
def test_bars_of_progress_are_shown_unless_a_run_without_a_reader_hides_them(
    tmp_path, monkeypatch, switch, watched
):
    monkeypatch.setenv("UNBRAID_PROGRESS", switch)
    monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)
    source = "from unbraid.progress import *\nlist(progress_bar(range(3), 'updates'))\nis_watched()"
    outcome = execution.execute(write(tmp_path / "10_bar.ipynb", source), tmp_path / "out.ipynb")
    output = outcome.output.read_text()
    assert outcome.fault == "" and f'"{watched}"' in output
    assert watched or "stderr" not in output
