"""Files of tensors, weights and checkpoints: safetensors with a digest of what they contain."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.files import write_atomically

DIGEST = "sha256"  # its name in the description


def write_tensors(
    path: Path | str, tensors: Mapping[str, Tensor], kind: str, description: Mapping[str, Any]
) -> None:
    """Write tensors by their names, a description in JSON, and the digest of both.

    kind: of file, "model" or "run". It is the one name in the file's metadata, because safetensors
    writes several in a random order, and equal weights shall be equal files.
    """
    own = {}
    for name, tensor in tensors.items():
        # Clones, because safetensors refuses tensors that share their memory.
        own[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    described = {**description, DIGEST: digest_tensors(own, description)}
    write_atomically(path, save(own, {kind: json.dumps(described)}))


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a file and its description with the digest, empty where it has none."""
    content = path.read_bytes()  # Some shares do not let files be mapped into memory.
    tensors, length = load(content), int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    return tensors, json.loads(metadata.get(kind, "{}"))


def read_weights(path: Path, kind: str = "model") -> tuple[dict[str, Tensor], dict]:
    """The tensors of a file of weights, and what it or the record beside it says of its model.

    Raises `ResultsError` for a file that does not have the digest of the record, or its own.
    """
    if not path.is_file():
        advice = "unbraid.records.weights names the files of the clone"
        raise ResultsError(f"{path}: expected a file of weights, found none; {advice}")
    try:
        state, described = read_tensors(path, kind)
    except (SafetensorError, ValueError) as error:
        raise ResultsError(f"{path}: expected safetensors, found no whole ones ({error})") from None
    name = path.name.removesuffix(".safetensors")
    if path.with_name(f"{name}.run.json").exists():
        record = records.read_record(name, path.parent)
        expected, is_right = "the record", files.digest(path) == record["weights_sha256"]
        described = record.get(kind, described)
    else:  # Files that were written before there was a digest have none.
        expected, is_right = "the file", DIGEST not in described or is_whole(state, described)
    if not is_right:
        found = f"another: the weights are damaged or of another run; {records.RESTORE}"
        raise ResultsError(f"{path}: expected the SHA-256 that {expected} names, found {found}")
    if not described:
        raise ResultsError(f"{path}: expected a description of the {kind}, found none")
    return state, described


def is_whole(tensors: Mapping[str, Tensor], described: Mapping[str, Any]) -> bool:
    """Whether a file's digest is that of what was read from it; False where it has none."""
    description = {name: value for name, value in described.items() if name != DIGEST}
    return described.get(DIGEST) == digest_tensors(tensors, description)


def digest_tensors(tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> str:
    """SHA-256 of a description, and of names, types, shapes and values of tensors on the CPU."""
    shapes = {name: [str(each.dtype), list(each.shape)] for name, each in tensors.items()}
    total = hashlib.sha256(json.dumps([shapes, dict(description)], sort_keys=True).encode())
    for name in sorted(tensors):
        total.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
