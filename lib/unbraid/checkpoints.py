"""Checkpoints of a training loop of your own, which continues where it was stopped."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from unbraid.checks import ResultsError, check_field, check_file, check_whole
from unbraid.files import write_atomically


def save(path: Path | str, update: int, **parts: Any) -> None:
    """Write the states of all parts after an update; a process that is killed leaves the old file.

    parts: models, optimisers and objects of `torch.Generator`, by name.
    """
    check_whole(0, update=update)
    check_parts(path, parts)
    states: dict[str, Any] = {"update": int(update)}
    for name, part in parts.items():
        is_generator = isinstance(part, torch.Generator)
        states[f"part.{name}"] = part.get_state() if is_generator else part.state_dict()
    file = io.BytesIO()
    torch.save(states, file)
    write_atomically(path, file.getvalue())


def check_parts(path: Path | str, parts: Mapping[str, Any]) -> None:
    """Refuse what is no path, and parts without a state that can be kept."""
    check_file(path=path)
    for name, part in parts.items():
        is_part = isinstance(part, torch.Generator) or hasattr(type(part), "load_state_dict")
        check_field(is_part, name, "a model, optimiser or torch.Generator", type(part).__name__)


def load(path: Path | str, **parts: Any) -> int:
    """Give the parts the states of a file, and return its update; 0 where there is no file.

    Parts that are not named stay as they are. Raises `ResultsError` for a file that `save` has not
    written or that has no such parts, and where a state does not fit, with PyTorch's words.
    """
    check_parts(path, parts)
    if not Path(path).exists():
        return 0
    states: dict[str, Any] = {}
    try:
        states = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            is_generator = isinstance(part, torch.Generator)
            (part.set_state if is_generator else part.load_state_dict)(states[f"part.{name}"])
        return states["update"]
    except OSError:  # It may be whole, and cannot be read.
        raise
    except Exception as error:  # of another file PyTorch and pickle raise nearly anything
        found = f"{[*states]}: {error}" if states else f"another file: {type(error).__name__}"
        raise ResultsError(f"{path}: expected states of {[*parts]}, found {found}") from error


def resume(path: Path | str | None, updates: int, every: int = 1000, **parts: Any) -> Iterator[int]:
    """The numbers of the updates that are still to be made, for a `for` loop.

    path: of a checkpoint, which is written after each `every`-th update and after the last; None
    for a training that keeps nothing. parts: as of `save`; PyTorch's own generators, of the CPU and
    of each GPU, are kept as well.
    """
    check_whole(0, updates=updates)
    check_whole(1, every=every)
    check_field(parts or not path, "parts", "one or more, such as model=model", "none")
    if torch.cuda.is_available():
        torch.cuda.init()  # Before, it has no generators.
    own = (torch.default_generator, *torch.cuda.default_generators)
    parts |= {f"own generator {number}": each for number, each in enumerate(own)}
    done = load(path, **parts) if path else 0
    for update in range(done + 1, updates + 1):
        yield update
        # Here the loop asks for the next number, so this update is made.
        if path and (update % every == 0 or update == updates):
            save(path, update, **parts)
