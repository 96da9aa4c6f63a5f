"""Kernels that need not import PyTorch anew: forked from one process that has.

A kernel spends three to four seconds on the packages that every notebook imports. On Linux,
`execution` takes its kernels from a process of the standard library's fork server, which has
imported these once; the course's own library each kernel imports for itself. The seed of the
hashes of strings and what PyTorch reads of the environment as it is imported, such as
OMP_NUM_THREADS, are those of that process.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from importlib.metadata import EntryPoint

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

PACKAGES = ("ipykernel.kernelapp", "scipy.stats", "seaborn", "sklearn.linear_model", "torch")
LAUNCHER = "ipykernel_launcher"
INLINE = "module://matplotlib_inline.backend_inline"
NAME = "forked-provisioner"


class ForkedProcess:
    """A kernel's process, with the part of `subprocess.Popen` that jupyter_client asks for."""

    stdin = stdout = stderr = None

    def __init__(self, command: list[str], environment: dict[str, str], folder: str | None):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PACKAGES))
        arguments = (command, environment, folder, find_path())
        self.process = context.Process(target=become_kernel, args=arguments, daemon=True)
        self.process.start()
        self.pid = self.process.pid

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        return self.process.exitcode

    def wait(self) -> int | None:
        """The same, once it has ended."""
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        """Any signal, by its number."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkedProvisioner(LocalProvisioner):
    """jupyter_client's own, but for where a kernel of this Python comes from."""

    async def launch_kernel(self, cmd: list[str], **options) -> KernelConnectionInfo:
        if cmd[:3] == [sys.executable, "-m", LAUNCHER]:
            with contextlib.suppress(OSError, EOFError):  # Without a fork server it is a new one.
                self.process = ForkedProcess(cmd, dict(options["env"]), options.get("cwd"))
                self.pid = self.pgid = self.process.pid
                return self.connection_info
        return await super().launch_kernel(cmd, **options)

    async def send_signal(self, signum: int) -> None:
        if self.process and self.process.poll() is None:  # The number may be another's by now.
            await super().send_signal(signum)


@functools.cache
def find_path() -> list[str]:
    """Where a new kernel looks for modules: not in the folder of a program such as this one."""
    code = "import json, sys; print(json.dumps(sys.path[1:]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return json.loads(done.stdout)


def become_kernel(
    command: list[str], environment: dict[str, str], folder: str | None, path: list[str]
) -> None:
    """What a kernel's command does, in a process that is there already."""
    import matplotlib
    import numpy
    import pandas
    from ipykernel import kernelapp

    os.setsid()  # A group of its own: a signal to the kernel reaches what it has started.
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    multiprocessing.current_process().daemon = False  # It may have children, ...
    multiprocessing.set_start_method(None, force=True)  # ... started as they are by default.
    os.environ.clear()
    os.environ |= environment
    if folder:
        os.chdir(folder)
    sys.path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] == "tools"]:
        del sys.modules[name]
    numpy.random.seed()
    # Both look at import whether they are in a notebook, and these were not.
    pandas.set_option("display.max_columns", 20)
    matplotlib.rcParams["backend"] = os.environ.get("MPLBACKEND") or INLINE
    sys.argv = command[command.index(LAUNCHER) :]
    try:
        kernelapp.launch_new_instance()
    finally:
        atexit._run_exitfuncs()  # multiprocessing would leave them out, and folders behind


def end_with_parent() -> None:
    """End this process and what it has started as soon as the one that asked for it has ended."""
    multiprocessing.parent_process().join()
    os.killpg(0, signal.SIGKILL)


def fork_kernels() -> None:
    """From now on, kernels of this process are forked, where the system does it safely."""
    if sys.platform == "linux":
        factory = KernelProvisionerFactory.instance()
        entry = f"{__name__}:{ForkedProvisioner.__name__}"
        factory.provisioners[NAME] = EntryPoint(NAME, entry, factory.GROUP_NAME)
        factory.default_provisioner_name = NAME
