"""Files of weights: what they say of their model, and which class opens them."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from unbraid.checks import ResultsError
from unbraid.tensors import write_tensors

ModelClass = TypeVar("ModelClass", bound=type)


def describe_model(model: Any) -> dict[str, object]:
    """The class of a model by its dotted name, and all fields of its config."""
    named = f"{type(model).__module__}.{type(model).__qualname__}"
    return {"class": named, "config": asdict(model.config)}


def write_weights(model: Any, path: Path) -> None:
    """Write weights in half precision; `ResultsError` for values beyond it."""
    state = {}
    for name, value in model.state_dict().items():
        value = value.half() if value.is_floating_point() else value
        if not value.isfinite().all():
            values = f"NaN, infinity or more than 65504 in {name}"
            raise ResultsError(f"{path}: expected values of half precision, found {values}")
        state[name] = value
    write_tensors(path, state, "model", describe_model(model))


def find_class(named: str, wanted: ModelClass, path: Path | str) -> ModelClass:
    """The class of a dotted name: the wanted one or another that is imported already, because a
    file of weights shall not decide what runs on this machine.

    Files are not written again where a class has moved into this library: its own name is enough.
    """
    module, _, own_name = named.rpartition(".")
    if wanted.__name__ == own_name:
        return wanted
    library = {each.__name__: each for each in list_subclasses(wanted)}
    model_class = getattr(sys.modules.get(module), own_name, library.get(own_name))
    if model_class is None:
        advice = f"import {own_name} first, as from unbraid.variants"
        raise ResultsError(f"{path}: expected an imported class, found {named}; {advice}")
    return model_class


def list_subclasses(parent: Any) -> list[Any]:
    """The imported classes of this library that are below a class."""
    found: list[Any] = []
    for each in parent.__subclasses__():
        found += list_subclasses(each)
        if each.__module__.startswith("unbraid."):
            found.append(each)
    return found
