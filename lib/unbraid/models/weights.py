"""Files of weights: what they say of their model, whether they are whole, and which class opens."""

import contextlib
import importlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from torch import Tensor

from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.tensors import DIGEST, is_whole, read_tensors, write_tensors

if TYPE_CHECKING:
    from .base import SequenceModel


def describe_model(model: "SequenceModel") -> dict[str, object]:
    """The class of a model by its dotted name, and all fields of its config, as JSON holds them."""
    named = f"{type(model).__module__}.{type(model).__qualname__}"
    return {"class": named, "config": asdict(model.config)}


def write_weights(model: "SequenceModel", path: Path) -> None:
    """Write weights in half precision; `ResultsError` for what it cannot hold."""
    state = {}
    for name, value in model.state_dict().items():
        value = value.half() if value.is_floating_point() else value
        if not value.isfinite().all():
            values = f"NaN, infinity or more than 65504 in {name}"
            raise ResultsError(f"{path}: expected what half precision can hold, found {values}")
        state[name] = value
    write_tensors(path, state, "model", describe_model(model))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict]:
    """The tensors of a file of weights, and the class and the config of its model, which the record
    beside the file says, or the file itself where there is none.

    Raises `ResultsError` for a file that does not have the digest of the record, or its own.
    """
    if not path.is_file():
        advice = "unbraid.records.weights names the files of the clone"
        raise ResultsError(f"{path}: expected a file of weights, found none; {advice}")
    try:
        state, described = read_tensors(path, "model")
    except (SafetensorError, ValueError) as error:
        raise ResultsError(f"{path}: expected safetensors, found {error}; restore it") from None
    name = path.name.removesuffix(".safetensors")
    if path.with_name(f"{name}.run.json").exists():
        record = records.read_record(name, path.parent)
        expected, is_right = "the record", files.digest(path) == record["weights_sha256"]
        described = record.get("model", described)
    else:  # Files that were written before there was a digest have none.
        expected, is_right = "the file", DIGEST not in described or is_whole(state, described)
    if not is_right:
        raise ResultsError(
            f"{path}: expected the SHA-256 that {expected} names, found another: the weights are "
            f"damaged or of another run; {records.RESTORE}"
        )
    if not described:
        raise ResultsError(f"{path}: expected weights that save has written, found no class")
    return state, described


def find_class(
    named: str, wanted: "type[SequenceModel]", path: Path | str
) -> "type[SequenceModel]":
    """The class of a dotted name: the wanted one, or else one of this library or of a module that
    is imported already, because a file of weights shall not decide what runs on this machine.
    """
    module, _, own_name = named.rpartition(".")
    if wanted.__name__ == own_name:
        return wanted
    if module.startswith("unbraid."):
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    model_class = getattr(sys.modules.get(module), own_name, None)
    if model_class is None:
        advice = f"import {module} first"
        raise ResultsError(f"{path}: expected an imported class, found {named}; {advice}")
    return model_class
