"""Put what a full_size.py wrote beside the other results: weights, curve and record of a run.

The script leaves <name>.json, <name>-0.safetensors, <name>-1.safetensors ... and knows nothing of
`papers`. Here its model is built as the run's section says, and all is written in the form of any
other run, so that `evaluate`, `verify` and notebooks find it.
"""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.models.base import SequenceModel

from papers.provenance import read_commit
from papers.run import build, run_name, write_run
from papers.settings import load

SCRIPTS = {"independent": "a", "unordered": "b", "single_element": "c"}  # by model
COPIED = ("seed", "device", "versions", "steps", "seconds", "precision")  # as they are
REQUIRED = ("section", "changes", "columns", "rows", *COPIED)


def import_run(source: Path, folder: Path) -> Path:
    """Write the run of <source>.json into a folder of results; `ResultsError` if it cannot be."""
    written = records.read_json(source.with_name(f"{source.name}.json"))
    if missing := ", ".join(name for name in REQUIRED if name not in written):
        remedy = "write it with papers/a, b or c/full_size.py"
        found = f"expected {', '.join(REQUIRED)}, found no {missing}"
        raise ResultsError(f"{source}.json: {found}; {remedy}")
    settings = load(written["section"], "full").replace(**written["changes"])
    path = folder / run_name(settings, written["seed"])
    if path.with_suffix(".run.json").exists():
        remedy = "move it, or name another folder"
        raise ResultsError(f"{path}: expected no run of this seed, found one; {remedy}")
    model = read_weights(build(settings, written["seed"]), source)

    script = f"python papers/{SCRIPTS[settings.model]}/full_size.py --seed {written['seed']}"
    record = {"command": script, "commit": written.get("commit") or read_commit()}
    record |= {"profile": settings.profile, "settings": settings.as_dict()}
    record |= {name: written[name] for name in COPIED}
    if checks := written.get("checks"):
        records.write_csv(path.with_suffix(".swaps.csv"), checks)
        record["swaps_sha256"] = files.digest(path.with_suffix(".swaps.csv"))
    rows = [dict(zip(written["columns"], row, strict=True)) for row in written["rows"]]
    write_run(model, rows, path, record)
    return path


def read_weights(model: SequenceModel, source: Path) -> SequenceModel:
    """The model with the weights of all parts <source>-<number>.safetensors."""
    parts = sorted(source.parent.glob(f"{source.name}-[0-9].safetensors"))
    state: dict[str, Tensor] = {}
    try:
        for part in parts:
            state |= load_file(part)
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        expected = f"all weights of {type(model).__name__} in {len(parts)} parts"
        raise ResultsError(f"{source}: expected {expected}, found others: {error}") from None
    return model.eval()
