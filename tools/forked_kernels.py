"""Kernels for the notebooks, forked from a process that has imported what takes longest.

A notebook needs two to eight seconds to import torch, pandas and scikit-learn. `python
forked_kernels.py SOCKET` waits for requests, for as long as its standard input is open, and `python
forked_kernels.py SOCKET ARGUMENTS` asks for a kernel with these arguments, and ends with it.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from select import select
from typing import Any

LONGEST = ("torch", "scipy.stats", "sklearn.linear_model", "matplotlib.pyplot")
NAME = "python3"  # of the kernel, as in the notebooks


@contextmanager
def serve(environment: Mapping[str, str]) -> Iterator[str]:
    """Within it, Jupyter forks its kernels if its JUPYTER_PATH is the folder that is yielded.

    environment: of the process that imports; a kernel has that of the process that asks for it.
    """
    with tempfile.TemporaryDirectory() as folder:
        if sys.platform == "linux":  # Elsewhere a fork of torch is not safe, or unknown.
            program = [sys.executable, __file__, f"{folder}/socket"]
            place = Path(folder, "kernels", NAME)
            place.mkdir(parents=True)
            argv = [*program, "-f", "{connection_file}"]
            known = {"argv": argv, "display_name": NAME, "language": "python"}
            (place / "kernel.json").write_text(json.dumps(known))
            pipe = subprocess.PIPE
            with subprocess.Popen(program, env=environment, stdin=pipe, stdout=pipe) as server:
                assert server.stdout is not None
                server.stdout.readline()  # It listens.
                try:
                    yield folder
                finally:
                    server.kill()
        else:
            yield folder


def listen(path: str) -> None:
    """Fork a kernel for each request, until nobody is left to ask."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as a kernel sets it
    sys.path.pop(0)  # the folder of this file
    for name in LONGEST:
        import_module(name)
    import pandas
    from ipykernel.kernelapp import launch_new_instance

    pandas.set_option("display.max_columns", 20)  # as where it is imported in a notebook

    signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print(flush=True)
        while server in select([server, sys.stdin], [], [])[0]:
            client, _ = server.accept()  # The kernel holds it open for as long as it lives.
            request = json.loads(client.makefile().readline())
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.chdir(request["folder"])
                os.environ.clear()
                os.environ.update(request["environment"])
                threading.Thread(target=end_with, args=[client], daemon=True).start()
                launch_new_instance(request["arguments"])
                os._exit(0)
            client.close()


def end_with(client: socket.socket) -> None:
    """End this process with the one that has asked for it, which Jupyter takes for the kernel."""
    client.recv(1)
    os._exit(1)


def ask(path: str, *arguments: str) -> None:
    """Start a kernel, and wait for its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which Jupyter sends before it ends a kernel
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(json.dumps(request).encode() + b"\n")
        client.recv(1)


def run_papermill(environment: dict[str, str], *files: Path, profile: str, **options: Any) -> str:
    """Run a notebook in this process; the error where it ended by another one than a cell's.

    It stands here, where a process that is forked to run it imports nothing else.
    """
    from papermill import PapermillExecutionError, execute_notebook

    os.environ.clear()
    os.environ.update(environment)
    logging.disable()
    options |= {"kernel_name": "python3", "progress_bar": False}
    try:
        execute_notebook(*files, {"profile": profile}, **options)
    except PapermillExecutionError:
        pass  # It is in the output.
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    listen(*sys.argv[1:]) if len(sys.argv) == 2 else ask(*sys.argv[1:])
