"""Weights: written, read back, and refused. Those that ship: test_frozen.py."""

import json
import subprocess
import sys

import pytest
import torch
from helpers import flip_bytes, seeded
from safetensors.torch import save_file
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.models.base import SequenceModel
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames
from unbraid.support.tensors import read_tensors
from unbraid.variants import AblatedElement

SMALL = {"image_size": 16, "width": 4, "features": 8, "hidden": 8}


@pytest.fixture
def saved(tmp_path):
    """A small model of paper C, and its file of weights."""
    torch.manual_seed(0)
    model = SingleElement(**SMALL)
    model.save(tmp_path / "model.safetensors")
    return model.eval(), tmp_path / "model.safetensors"


def test_a_saved_model_comes_back_in_half_precision(saved, tmp_path):
    model, path = saved
    for loaded in (SingleElement.load(path), SequenceModel.load(str(path))):
        assert type(loaded) is SingleElement and loaded.config == model.config
        assert not loaded.training
        for name, value in loaded.state_dict().items():
            assert value.equal(model.state_dict()[name].half().to(value))
    frames = torch.rand(2, 4, 3, 16, 16, generator=seeded(1))
    codes, again = model.encode(frames), SingleElement.load(path).encode(frames)
    torch.testing.assert_close(again["dynamic"], codes["dynamic"], atol=0.01, rtol=0)
    SingleElement.load(path).save(tmp_path / "again.safetensors")
    assert files.digest(path) == files.digest(tmp_path / "again.safetensors")
    assert list(tmp_path.glob("*.part")) == []


def test_a_class_outside_the_library_is_named_where_it_is_not_imported():
    name = "independent/circle/quick/long-seed0"
    code = "from unbraid import records\nfrom unbraid.models.base import SequenceModel\n"
    code += f"SequenceModel.load(records.weights({name!r}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ResultsError" in ended.stderr and "import GatedPrediction first" in ended.stderr


def test_weights_of_another_class_missing_damaged_and_foreign_ones_are_refused(saved, tmp_path):
    _, path = saved
    with pytest.raises(ValueError, match="expected weights of UnorderedFrames"):
        UnorderedFrames.load(path)
    with pytest.raises(ResultsError, match="none.safetensors: expected a file of weights"):
        SingleElement.load(tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ResultsError, match="cut.safetensors: expected safetensors"):
        SingleElement.load(cut)
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ResultsError, match="description of the model, found none"):
        SingleElement.load(tmp_path / "foreign.safetensors")


def test_a_field_that_the_class_no_longer_has_is_left_out_where_it_was_off(saved, tmp_path):
    tensors, described = read_tensors(saved[1], "model")
    described.pop("sha256")
    for value in (False, True):
        other = described | {"config": described["config"] | {"gone": value}}
        save_file(tensors, tmp_path / "old.safetensors", {"model": json.dumps(other)})
        if value:
            with pytest.raises(TypeError, match="'gone'"):
                SingleElement.load(tmp_path / "old.safetensors")
        else:
            assert SingleElement.load(tmp_path / "old.safetensors").config == saved[0].config


def test_a_class_that_has_moved_into_the_library_is_found_by_its_own_name():
    name = "single_element/sprites/quick/whole-seed0"
    assert records.read_record(name)["model"]["class"] == "papers.c.variants.AblatedElement"
    assert type(SequenceModel.load(records.weights(name))) is AblatedElement


@pytest.mark.parametrize("count", (1, 2000))
@pytest.mark.parametrize("seed", range(5))
def test_other_bytes_within_the_tensors_are_refused(saved, tmp_path, count, seed):
    """By the digest in the file, and of files without one by the record beside them."""
    damaged = flip_bytes(saved[1], tmp_path / "own.safetensors", count, seed)
    with pytest.raises(ResultsError, match=r"own.safetensors: expected the SHA-256.*restore"):
        SequenceModel.load(damaged)
    name = "single_element/etth1/full/published-seed0"  # written before files had a digest
    shipped = records.weights(name)
    assert "sha256" not in read_tensors(shipped, "model")[1]
    damaged = flip_bytes(shipped, tmp_path / f"{shipped.stem}.safetensors", count, seed)
    records.write_json(tmp_path / f"{shipped.stem}.run.json", records.read_record(name))
    with pytest.raises(ResultsError, match=r"published-seed0.safetensors: .*SHA-256.*restore"):
        SequenceModel.load(damaged)


def test_another_config_in_the_file_is_refused_and_files_without_a_digest_are_not(saved, tmp_path):
    tensors, described = read_tensors(saved[1], "model")
    other = described | {"config": described["config"] | {"variance": 0.6}}
    save_file(tensors, tmp_path / "other.safetensors", {"model": json.dumps(other)})
    with pytest.raises(ResultsError, match="other.safetensors: expected the SHA-256"):
        SequenceModel.load(tmp_path / "other.safetensors")
    described.pop("sha256")
    save_file(tensors, tmp_path / "old.safetensors", {"model": json.dumps(described)})
    assert SequenceModel.load(tmp_path / "old.safetensors").config == saved[0].config
    records.write_json(tmp_path / "old.run.json", {"settings": {}, "weights_sha256": "0"})
    with pytest.raises(ResultsError, match=r"old.safetensors: .* that the record names"):
        SequenceModel.load(tmp_path / "old.safetensors")


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path):
    model = IndependentPrediction(image_size=16, width=4, features=8, hidden=8)
    with torch.no_grad():
        next(model.parameters()).fill_(1e6)
    with pytest.raises(ResultsError, match="half precision"):
        model.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named_with_what_to_do(tmp_path):
    """For weights, checkpoints and all other files that are written whole or not at all."""
    resource = pytest.importorskip("resource")  # Windows has none.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    model = UnorderedFrames(image_size=32, widths=(16, 16, 16))
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="expected to write this file .*make room") as refusal:
            model.save(tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refusal.value.filename == str(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
