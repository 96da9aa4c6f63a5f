"""Progress bars where somebody watches: in a terminal and in JupyterLab, not in headless runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from tqdm import tqdm

SWITCH = "UNBRAID_PROGRESS"  # "off" in the environment hides all bars


def progress_bar(iterable: Iterable, label: str, **options: object) -> tqdm:
    """Iterate under a bar on the standard error; `options` are tqdm's, e.g. initial and total."""
    return tqdm(iterable, desc=label, leave=False, disable=not is_watched(), **options)


def is_watched() -> bool:
    """Whether a person is likely to see a bar now."""
    if os.environ.get(SWITCH) == "off" or "PYTEST_CURRENT_TEST" in os.environ:
        return False
    in_notebook = type(sys.stderr).__module__.startswith("ipykernel.")
    return in_notebook or sys.stderr.isatty()
