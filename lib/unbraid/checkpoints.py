"""Checkpoints of a training loop of your own, which continues where it was stopped."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from unbraid.files import write_atomically


def save(path: Path | str, update: int, **parts: Any) -> None:
    """Write the states of all parts after an update; a process that is killed leaves the old file.

    parts: models, optimisers and objects of `torch.Generator`, by name.
    """
    states: dict[str, Any] = {"update": update}
    for name, part in parts.items():
        is_generator = isinstance(part, torch.Generator)
        states[f"part.{name}"] = part.get_state() if is_generator else part.state_dict()
    file = io.BytesIO()
    torch.save(states, file)
    write_atomically(Path(path), file.getvalue())


def load(path: Path | str, **parts: Any) -> int:
    """Give the parts the states of a file, and return its update; 0 where there is no file.

    Parts that are not named stay as they are. PyTorch's errors say which state does not fit.
    """
    if not Path(path).exists():
        return 0
    states = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        set_state = part.set_state if isinstance(part, torch.Generator) else part.load_state_dict
        set_state(states[f"part.{name}"])
    return states["update"]


def resume(path: Path | str | None, updates: int, every: int = 1000, **parts: Any) -> Iterator[int]:
    """The numbers of the updates that are still to be made, for a `for` loop.

    path: of a checkpoint, which is written after each `every`-th update and after the last; None
    for a training that keeps nothing. parts: as of `save`; PyTorch's own generators, of the CPU and
    of each GPU, are kept as well.
    """
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
