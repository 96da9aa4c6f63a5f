"""What several test files share: workers and threads, commands, the clone's folder."""

import ast
import itertools
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
# tools/ is in no installed package; commands in processes of their own find it too.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])
)
# Small models gain nothing from a second thread, and on a busy machine threads wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`, one more than cores: a notebook's test often waits for its kernel."""
    has_affinity = hasattr(os, "sched_getaffinity")  # Linux has it
    return 1 + (len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1)


@pytest.fixture(autouse=True)
def no_profile_from_outside(monkeypatch):
    """What a test sees of the environment does not depend on the caller's."""
    monkeypatch.delenv("UNBRAID_PROFILE", raising=False)


@pytest.fixture
def data_of_the_clone(monkeypatch, tmp_path):
    """No other data than what travels with the clone; the cache, which is empty."""
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def call_program(monkeypatch, capsys):
    """A function that runs a program's `main` in this process: exit code, and what it printed."""

    def run(main, *arguments):
        monkeypatch.setattr(sys, "argv", ["program", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out + printed.err

    return run


@pytest.fixture
def call(call_program):
    """The same for `python -m papers`."""
    from papers import __main__ as commands

    return partial(call_program, commands.main)


@pytest.fixture
def held():
    """A function that has another process hold a lock file."""
    processes = []
    code = "import filelock, sys\nwith filelock.FileLock(sys.argv[1]): print(flush=True), input()"

    def start(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", code, str(path)]
        pipe = subprocess.PIPE
        processes.append(subprocess.Popen(command, stdin=pipe, stdout=pipe))
        processes[-1].stdout.readline()
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def root() -> Path:
    """The clone."""
    return ROOT


@pytest.fixture(scope="session")
def define(root):
    """A function that gives what a notebook's cells define, without running the rest of them."""

    def definitions(number: str, *names: str, **given) -> SimpleNamespace:
        """The functions, classes and constants of these names, with what the notebook imports.

        number: of the notebook. given: further names that they read, such as `profile`.
        """
        from unbraid_course.lessons import read_statements

        (path,) = (root / "notebooks").glob(f"{number}_*.ipynb")
        imports, named = [], {}
        for statement, _ in read_statements(path):
            if isinstance(statement, ast.Import | ast.ImportFrom):
                imports.append(statement)
                continue
            for name in given_names(statement):
                if name in names:
                    named[name] = statement
        assert named.keys() == set(names)
        once = {id(statement): statement for statement in named.values()}
        module = ast.Module([*imports, *once.values()], type_ignores=[])
        space = dict(given)
        import torch

        with torch.no_grad():
            exec(compile(module, str(path), "exec"), space)
        return SimpleNamespace(**{name: space[name] for name in names})

    return definitions


def given_names(statement):
    """The names that a statement defines: a function, a class, or what it assigns to."""
    if isinstance(statement, ast.Assign):
        nodes = [ast.walk(target) for target in statement.targets]
        return [node.id for node in itertools.chain(*nodes) if isinstance(node, ast.Name)]
    return [getattr(statement, "name", None)]


@pytest.fixture(scope="module")
def lesson_14():
    """The module of notebook 14, which computes in double precision."""
    import torch

    from tools.export import write_module

    exec(write_module("14"), vars(lesson := ModuleType("n14")))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield lesson
    torch.set_default_dtype(before)


def move(module, device=None, *_, memory_format=None):
    """`Module.to` for fake tensors, which cannot take a parameter's place in memory."""
    import torch

    for part in module.modules() if device else ():
        for name, weight in part._parameters.items():
            part._parameters[name] = torch.nn.Parameter(weight.detach().to(device))
        for name, values in part._buffers.items():
            part._buffers[name] = values.to(device)
    return module


def check_loss(loss):
    """In place of `backward`, which wants a driver: the loss lies on the GPU, in 32 bits."""
    assert loss.is_cuda and str(loss.dtype) == "torch.float32"


@pytest.fixture
def fake_cuda(monkeypatch):
    """The device of tensors that lie on a GPU, with a shape and a type, and have no values."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    cuda = torch.cuda
    monkeypatch.setattr(torch.nn.Module, "to", move)
    monkeypatch.setattr(torch.Tensor, "backward", check_loss)
    monkeypatch.setattr(torch.nn.LSTM, "flatten_parameters", lambda layer: None)
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    monkeypatch.setattr(cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(cuda, "is_bf16_supported", lambda *how: True)
    monkeypatch.setattr(cuda, "is_current_stream_capturing", lambda: True)
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield torch.device("cuda:0")
