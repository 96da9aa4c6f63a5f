"""Progress bars where somebody watches: in a terminal and in JupyterLab, not in headless runs."""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

SWITCH = "UNBRAID_PROGRESS"  # "off" in the environment hides all bars


def progress_bar(iterable: Iterable, label: str, **options: object) -> "tqdm":
    """Iterate under a bar; `options` are tqdm's, e.g. initial and total.

    It goes to the standard error, so that what a command prints can be piped on; in a notebook,
    where a red line would stay behind, to the standard output.
    """
    from tqdm import tqdm  # imported lazily: where models only train it may be missing

    file = sys.stdout if in_notebook() else sys.stderr
    return tqdm(iterable, desc=label, leave=False, disable=not is_watched(), file=file, **options)


def is_watched() -> bool:
    """Whether a person is likely to see a bar now."""
    if os.environ.get(SWITCH) == "off" or "PYTEST_CURRENT_TEST" in os.environ:
        return False
    if in_notebook():
        from IPython import get_ipython

        # Where nobody can be asked for input, as under papermill, nobody sees a bar either.
        kernel = getattr(get_ipython(), "kernel", None)
        return bool(getattr(kernel, "_allow_stdin", True))
    return sys.stderr.isatty()


def in_notebook() -> bool:
    """Whether this process is a notebook's."""
    return type(sys.stderr).__module__.startswith("ipykernel.")
