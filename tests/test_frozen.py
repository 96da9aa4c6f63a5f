"""Shipped weights give the codes and the bound that they gave before the library was made thin.

frozen.json has, for each file of weights that ships, one number of the bound and one of each code,
in double precision on made frames. Where a model is changed on purpose, write it anew:
python tests/test_frozen.py.
"""

import json
from pathlib import Path

import pytest
import torch
from helpers import example_frames, seeded
from unbraid import records
from unbraid.models.base import SequenceModel
from unbraid.variants import GatedPrediction

import papers.a.variants
import papers.b.variants  # noqa: F401 - weights of its classes are opened here

FROZEN = Path(__file__).with_name("frozen.json")


def list_weights():
    """The names of all models whose weights ship."""
    paths = sorted(records.results().glob("*/*/*/*.safetensors"))
    names = [path.relative_to(records.results()).with_suffix("").as_posix() for path in paths]
    return [name for name in names if not name.startswith("judges/")]


def describe(name, kind=SequenceModel):
    """The bound per frame of made frames in nats, and the root mean square of each code."""
    model = kind.load(records.weights(name)).double().eval()
    frames = example_frames(model, count=2, length=getattr(model.config, "window", 1) * 4)
    with torch.no_grad():
        codes = model.encode(frames)
        noise = model.draw_noise(*codes[model.code_names[-1]].shape[:2], seeded(1))
        numbers = {"bound": model.elbo(frames, noise).per_frame.mean().item()}
    for code, values in codes.items():
        numbers[code] = values.square().mean().sqrt().item()
    return numbers


@pytest.mark.parametrize("name", list_weights())
def test_shipped_weights_compute_what_they_computed(name):
    """Also those of the gated class, by the class that notebooks open."""
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    is_gated = records.read_record(name)["model"]["class"].endswith(".GatedPrediction")
    for kind in {SequenceModel, GatedPrediction if is_gated else SequenceModel}:
        assert describe(name, kind) == pytest.approx(frozen[name], rel=1e-6)


if __name__ == "__main__":
    records.write_json(FROZEN, {name: describe(name) for name in list_weights()})
