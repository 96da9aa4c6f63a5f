"""python -m unbraid: data of the clone, mistakes in one message, commands that have moved."""

import subprocess
import sys
from functools import partial

import pytest
from unbraid import __main__ as command


@pytest.fixture
def call(data_of_the_clone, call_program):
    """A function that runs a command with the clone's data alone: its exit code and its output."""
    return partial(call_program, command.main)


def test_the_data_of_the_clone_are_verified_and_what_is_missing_is_named(call):
    code, printed = call("data", "verify")
    assert code == 0 and "mnist-sample: 4 ok" in printed and "cmu-faces" in printed
    code, printed = call("data", "verify", "cmu-faces")
    assert code == 1 and "missing" in printed
    code, printed = call("data", "list", "sprites")
    assert code == 0 and "sprites-li" in printed


def test_each_source_is_listed_once(call):
    code, printed = call("data", "list")
    names = [line.split()[0] for line in printed.splitlines() if not line.startswith(" ")]
    assert code == 0 and len(names) == len(set(names)) > 5


MISTAKES = {("data", "list", "Sprites"): "did you mean sprites", ("data", "fetch", "emn"): "emn"}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_answered_by_one_message(call, arguments):
    code, printed = call(*arguments)
    assert code == 1 and printed.count("error:") == 1 and MISTAKES[arguments] in printed


@pytest.mark.parametrize("name", command.MOVED)
def test_a_command_that_has_moved_names_its_successor(call, name):
    code, printed = call(name, "independent", "--run", "factored")
    assert code == 2 and printed.startswith(f"python -m unbraid {name} has moved")
    assert printed.endswith(f"python -m papers {name} independent --run factored\n")


def test_a_fault_of_the_library_is_no_mistake_of_the_user(call, monkeypatch):
    def fail(**_):
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(RuntimeError, match="shapes differ"):
        command.main()


@pytest.mark.parametrize("arguments", (("-h",), ("--version",), ("dat",), ("data", "list", "-h")))
def test_help_and_typos_are_answered_without_importing_torch(arguments):
    code = "import sys; from unbraid.__main__ import main\ntry: main()\nfinally: "
    code += "print('torch' in sys.modules)"
    started = [sys.executable, "-c", code, *arguments]
    printed = subprocess.run(started, capture_output=True, text=True)
    assert printed.stdout.splitlines()[-1] == "False"
