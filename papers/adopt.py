"""Put what a `full_size.py` wrote beside the other results: weights, curve and record of a run.

The script leaves <name>.json, <name>-0.safetensors, <name>-1.safetensors ... It knows nothing of
`papers`; here its file is read, the model is built as the run's section says, and all is written in
the form of any other run, so that `evaluate`, `verify` and notebooks find it.
"""

from __future__ import annotations

import re
from pathlib import Path

from unbraid import store
from unbraid.models.base import SequenceModel

from papers.runs import build, describe_model, run_name
from papers.settings import Settings
from papers.settings import load as load_settings

SCRIPTS = {"independent": "a", "unordered": "b", "single_element": "c"}  # by model
NEEDED = (
    "section",
    "seed",
    "steps",
    "seconds",
    "columns",
    "rows",
    "device",
    "versions",
    "precision",
)


def adopt(source: Path, folder: Path) -> Path:
    """Write the run that <source>.json describes into a folder of results; returns its path.

    Raises `ResultsError` where an entry or a weight is missing, or where the run is there already.
    """
    written = store.read_json(source.with_name(f"{source.name}.json"))
    if missing := [name for name in NEEDED if name not in written]:
        raise store.ResultsError(
            f"{source}.json: expected {', '.join(NEEDED)}, found no {', '.join(missing)}; "
            "write it with papers/a, b or c/full_size.py"
        )
    settings = load_settings(written["section"], "full").but(**written.get("changes", {}))
    path = folder / run_name(settings, written["seed"])
    if path.with_suffix(".run.json").exists():
        raise store.ResultsError(
            f"{path}: expected no run of this seed, found one; move it, or name another folder"
        )
    model = read_weights(build(settings, written["seed"]), source)

    rows = [dict(zip(written["columns"], row, strict=True)) for row in written["rows"]]
    store.write_csv(path.with_suffix(".training.csv"), rows)
    more = {}
    if checks := written.get("checks"):
        store.write_csv(path.with_suffix(".swaps.csv"), checks)
        more["swaps_sha256"] = store.digest(path.with_suffix(".swaps.csv"))
    described = {
        "model": describe_model(model),
        "weights_sha256": model.save(path.with_suffix(".safetensors")),
    }
    record = describe_source(written, settings) | more | described
    store.write_json(path.with_suffix(".run.json"), record)
    return path


def read_weights(model: SequenceModel, source: Path) -> SequenceModel:
    """The model with the weights of all parts <source>-<number>.safetensors."""
    found = sorted(source.parent.glob(f"{source.name}-*.safetensors"))
    parts = [part for part in found if re.fullmatch(r".*-\d+", part.stem)]
    state = {}
    for part in parts:
        state |= store.load_tensors(part)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise store.ResultsError(
            f"{source}: expected all weights of {type(model).__name__} in {len(parts)} parts, "
            f"found others: {error}"
        ) from None
    return model.eval()


def describe_source(written: dict, settings: Settings) -> dict:
    """What a record says of a run beside its files."""
    return {
        "command": f"python papers/{SCRIPTS[settings.model]}/full_size.py --seed {written['seed']}",
        "profile": settings.profile,
        "seed": written["seed"],
        "settings": settings.as_dict(),
        "device": written["device"],
        "versions": written["versions"],
        "steps": written["steps"],
        "seconds": round(written["seconds"], 1),
        "precision": written["precision"],
    }
