"""What the training of a run costs: its seconds, its processor's, threads and memory."""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

try:
    import resource
except ModuleNotFoundError:  # on Windows
    resource = None

MEGABYTE = 1e6 if sys.platform == "darwin" else 1e3  # in the units of ru_maxrss


class Meter:
    """Measures this process from its construction on; of several processes, each its own."""

    def __init__(self):
        self.begin = time.process_time()

    def read(self, rows: list[dict], updates_before: int) -> dict[str, float | None]:
        """The costs of a training with this curve, as run.json keeps them.

        updates_before: of a run that was interrupted, those that are not of this process.
        update_seconds: see `median_update`. cpu_seconds: of all threads, for `cpu_updates` updates.
        peak_memory_mb: the largest memory that the process ever had, also in runs before this one;
            None on Windows.
        """
        return {
            "update_seconds": median_update(rows),
            "cpu_seconds": round(time.process_time() - self.begin, 1),
            "cpu_updates": rows[-1]["step"] - updates_before,
            "threads": torch.get_num_threads(),
            "peak_memory_mb": read_peak_memory(),
        }


def read_peak_memory() -> int | None:
    """The largest memory that this process ever had, in megabytes; None on Windows."""
    if resource is None:
        return None
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE)


def median_update(rows: list[dict]) -> float:
    """Seconds of an update: the median over the rows of a training curve.

    Unlike the mean, it is that of the undisturbed machine as long as less than half of the rows
    were made beside other work, or over a pause.
    """
    steps = [0, *(row["step"] for row in rows)]
    seconds = [0, *(row["seconds"] for row in rows)]
    return float(np.median(np.diff(seconds) / np.diff(steps)))
