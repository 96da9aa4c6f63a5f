"""python -m unbraid rekey: weights of papers A and B under the names of the lessons' classes.

Files that were written before 2026-12 have the names of classes that the library had beside them.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch

import unbraid.variants  # noqa: F401 - files name its classes
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.models.base import SequenceModel
from unbraid.support.tensors import DIGEST, read_tensors, read_weights, write_tensors

Tensors = dict[str, torch.Tensor]

RENAMED = {  # by class, also of those below it: how a name began, and how it begins now
    "IndependentPrediction": {
        "encoder.": "filter.encoder.",
        "posterior.head.": "filter.posterior.",
        "posterior.": "filter.posterior.",
        "transitions.": "filter.transitions.",
    },
    "UnorderedFrames": {
        "trunk.": "encoder.trunk.",
        "static_encoder.pair_convolution.": "encoder.static.pair.",
        "static_encoder.norm.": "encoder.static.convolution.1.",
        "static_encoder.": "encoder.static.",
        "dynamic_dense.": "encoder.dynamic.",
        "prior_dense.": "prior.",
    },
}


def list_parts(model: SequenceModel) -> dict[str, str]:
    """What RENAMED has of a model's class, and of paper B what depends on the layers it has."""
    kinds = [each.__name__ for each in type(model).__mro__ if each.__name__ in RENAMED]
    if kinds != ["UnorderedFrames"]:
        return RENAMED[kinds[0]] if kinds else {}
    config: Any = model.config
    step = 3 if config.normalise else 2  # layers: a convolution, its norm, a ReLU
    numbered: dict[str, str] = {}
    if config.normalise:
        numbered["static_encoder.convolution."] = "encoder.static.convolution.0."
    if not hasattr(config, "palette"):  # a decoder that paints has its old names
        count = len(config.widths) - 1
        numbered["decoder.first."] = "decoder.0."
        numbered["decoder.last."] = f"decoder.{3 + step * count}."
        for stage in range(count):
            numbered[f"decoder.stages.{stage}."] = f"decoder.{3 + step * stage}."
            numbered[f"decoder.norms.{stage}."] = f"decoder.{4 + step * stage}."
    return numbered | RENAMED["UnorderedFrames"]


def rename(name: str, parts: dict[str, str]) -> str:
    """A name with its beginning exchanged, by the first of the parts that fits; else as it is."""
    old = next((part for part in parts if name.startswith(part)), "")
    return parts.get(old, "") + name.removeprefix(old)


def rekey(path: Path | str) -> bool:
    """Give a file of weights today's names, and the records beside it its new digest.

    Returns whether there was anything to do. Raises `ResultsError` as `SequenceModel.load`, and
    for names that are neither today's nor the old ones; the file then stays as it was.
    """
    path = Path(path)
    old, described = read_weights(path)
    model = SequenceModel.make(described, path)
    if old.keys() == model.state_dict().keys():
        return False
    parts = list_parts(model)
    renamed = {name: rename(name, parts) for name in old}
    if unknown := sorted(set(renamed.values()) ^ model.state_dict().keys()):
        kind = f"old or new names of {type(model).__name__}"
        raise ResultsError(f"{path}: expected {kind}, found others, such as {unknown[0]}")
    new = path.with_name(f".{path.name}.new")
    try:
        description = {name: value for name, value in described.items() if name != DIGEST}
        write_tensors(new, {renamed[name]: old[name] for name in old}, "model", description)
        prove(old, renamed, read_tensors(new, "model")[0], model.state_dict())
        exchange(new, path)
    finally:
        new.unlink(missing_ok=True)
    return True


def prove(old: Tensors, renamed: dict[str, str], new: Tensors, wanted: Tensors) -> None:
    """Refuse tensors that are not the old ones, to the last bit, or have not the model's shapes."""
    for name, value in old.items():
        other, shape = new[renamed[name]], tuple(wanted[renamed[name]].shape)
        if tuple(value.shape) != shape:
            found = f"{tuple(value.shape)} in this file"
            raise ResultsError(f"{name}: expected the shape {shape}, found {found}")
        if value.dtype != other.dtype or not torch.equal(value, other):
            raise ResultsError(f"{name}: expected its values under a new name, found others")


def exchange(new: Path, path: Path) -> None:
    """Put a file in the place of another, and its digest in the record and figures beside it."""
    before, after = files.digest(path), files.digest(new)
    beside = [path.with_suffix(".run.json"), *path.parent.glob("metrics*.json")]
    texts = {each: each.read_text(encoding="utf-8") for each in beside if each.exists()}
    os.replace(new, path)
    for each in [each for each in texts if before in texts[each]]:
        content = json.loads(texts[each].replace(before, after))
        if "content_sha256" in content.get("protocol", {}):
            content["protocol"]["content_sha256"] = records.digest_content(content)
        records.write_json(each, content)
