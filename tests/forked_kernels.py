"""Kernels for the notebooks, forked from a process that has imported what takes longest.

A notebook needs about eight seconds to import torch, pandas and scikit-learn: a third of the time
of all at smoke. `python forked_kernels.py SOCKET` waits for requests, and `python forked_kernels.py
SOCKET ARGUMENTS` asks for a kernel with these arguments, and ends with it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

LONGEST = ("torch", "scipy.stats", "sklearn.linear_model", "matplotlib.pyplot")
NAME = "python3"  # of the kernel, as in the notebooks


@contextmanager
def serve():
    """Within it, Jupyter forks its kernels if its JUPYTER_PATH is the folder that is yielded."""
    with tempfile.TemporaryDirectory() as folder:
        if sys.platform == "linux":  # Elsewhere a fork of torch is not safe, or unknown.
            program = [sys.executable, __file__, f"{folder}/socket"]
            place = Path(folder, "kernels", NAME)
            place.mkdir(parents=True)
            argv = [*program, "-f", "{connection_file}"]
            known = {"argv": argv, "display_name": NAME, "language": "python"}
            (place / "kernel.json").write_text(json.dumps(known))
            environment = os.environ | {"PYTHONPATH": ""}  # with nothing of the tests
            with subprocess.Popen(program, stdout=subprocess.PIPE, env=environment) as server:
                server.stdout.readline()  # It listens.
                try:
                    yield folder
                finally:
                    server.kill()
        else:
            yield folder


def listen(path):
    """Fork a kernel for each request, until this process is killed."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as a kernel sets it
    sys.path.pop(0)  # the folder of the tests
    for name in LONGEST:
        import_module(name)
    import pandas
    from ipykernel.kernelapp import launch_new_instance

    pandas.set_option("display.max_columns", 20)  # as where it is imported in a notebook

    signal.alarm(7200)  # the end, also where nobody is left to kill it
    signal.signal(signal.SIGCHLD, lambda *_: os.waitpid(-1, os.WNOHANG))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        print(flush=True)
        while True:
            client, _ = server.accept()  # The kernel holds it open for as long as it lives.
            request = json.loads(client.makefile().readline())
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.chdir(request["folder"])
                os.environ.clear()
                os.environ.update(request["environment"])
                launch_new_instance(request["arguments"])
                os._exit(0)
            client.close()


def ask(path, *arguments):
    """Start a kernel, and wait for its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which Jupyter sends before it ends a kernel
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(json.dumps(request).encode() + b"\n")
        client.recv(1)


if __name__ == "__main__":
    listen(*sys.argv[1:]) if len(sys.argv) == 2 else ask(*sys.argv[1:])
