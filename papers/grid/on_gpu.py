"""python on_gpu.py COUNT COMMAND ...: run a command on one of the first COUNT GPUs that is free.

Those in CUDA_VISIBLE_DEVICES, if it is set. Snakemake counts GPUs but does not say which is whose,
so a lock of the operating system does. It ends with the command.
"""

import fcntl
import os
import sys
import tempfile
import time
from pathlib import Path


def take_free(devices: list[str]) -> str:
    """Lock one of these devices, as soon as one is free, until this process ends."""
    while True:
        for device in devices:
            path = Path(tempfile.gettempdir()) / f"unbraid-{os.getuid()}-gpu-{device}.lock"
            lock = os.open(path, os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            os.set_inheritable(lock, True)  # The command keeps it.
            return device
        time.sleep(1)


if __name__ == "__main__":
    count, *command = sys.argv[1:]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(int(count))))
    os.environ["CUDA_VISIBLE_DEVICES"] = take_free(visible.split(",")[: int(count)])
    os.execvp(command[0], command)
