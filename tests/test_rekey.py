"""python -m unbraid rekey: weights in old names get today's, or are refused and stay."""

import json
import shutil

import pytest
import torch
from helpers import MODELS, example_frames, seeded
from safetensors.torch import load_file, save_file
from test_second_writing import WRITTEN, find_written
from unbraid import __main__ as command
from unbraid import files, records
from unbraid.checks import ResultsError
from unbraid.models.base import SequenceModel
from unbraid.rekey import RENAMED, rekey
from unbraid.support.tensors import DIGEST, read_tensors, write_tensors

OLD = [
    name for name, (kind, _) in MODELS.items() if {k.__name__ for k in kind.__mro__} & {*WRITTEN}
]


@pytest.fixture(params=OLD)
def old(request, tmp_path):
    """A small model, and its file under the names of the second writing, which were the old."""
    kind, sizes = MODELS[request.param]
    torch.manual_seed(0)
    model = kind(**sizes)
    model.save(tmp_path / "run-seed0.safetensors")
    make_old(tmp_path / "run-seed0.safetensors", model)
    return model.half().float().eval(), tmp_path / "run-seed0.safetensors"


def make_old(path, model):
    """Give a file the names that it had before."""
    state, described = read_tensors(path, "model")
    described.pop(DIGEST, None)
    rename = find_written(model)[0](model.config).rename
    write_tensors(path, {rename(name): value for name, value in state.items()}, "model", described)


def test_every_second_writing_has_a_table_that_it_is_tried_with():
    assert set(WRITTEN) <= set(RENAMED) and OLD


def test_a_file_in_old_names_is_refused_with_the_command_that_converts_it(old, capsys, monkeypatch):
    model, path = old
    with pytest.raises(ResultsError, match=rf"python -m unbraid rekey {path}"):
        SequenceModel.load(path)
    before = load_file(path)
    monkeypatch.setattr("sys.argv", ["unbraid", "rekey", str(path)])
    with pytest.raises(SystemExit) as end:
        command.main()
    assert end.value.code == 0 and "every value as it was" in capsys.readouterr().out
    loaded = SequenceModel.load(path)
    rename = find_written(model)[0](model.config).rename
    for name, value in load_file(path).items():
        assert value.equal(before[rename(name)])
    frames = example_frames(model).float()
    noise = model.draw_noise(*frames.shape[:2], seeded(1))
    assert loaded.elbo(frames, noise).elbo.equal(model.elbo(frames, noise).elbo)
    content = path.read_bytes()
    assert not rekey(path) and path.read_bytes() == content  # a second time nothing is to do
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_the_record_and_the_figures_beside_it_name_the_new_digest(old):
    _, path = old
    digest = files.digest(path)
    described = read_tensors(path, "model")[1]
    described.pop(DIGEST)
    record = {"settings": {}, "weights_sha256": digest, "model": described}
    records.write_json(path.with_suffix(".run.json"), record)
    figures = {"run": {"elbo": -1.5}, "protocol": {"weights": {"run": {"0": digest}}}}
    figures["protocol"]["content_sha256"] = records.digest_content(figures)
    records.write_json(path.with_name("metrics.json"), figures)
    assert rekey(path)
    record = records.read_record("run-seed0", path.parent)
    metrics = json.loads(path.with_name("metrics.json").read_text())
    assert files.digest(path) == record["weights_sha256"] != digest
    assert metrics["protocol"]["weights"]["run"]["0"] == record["weights_sha256"]
    assert metrics["protocol"]["content_sha256"] == records.digest_content(metrics)
    SequenceModel.load(path)


def test_what_is_not_known_is_refused_and_stays(old, capsys, monkeypatch):
    _, path = old
    state, described = read_tensors(path, "model")
    described.pop(DIGEST)
    extra = state | {"another.weight": torch.zeros(2)}
    write_tensors(path, extra, "model", described)
    content = path.read_bytes()
    with pytest.raises(ResultsError, match=r"expected old or new names .* another.weight"):
        rekey(path)
    larger = {name: torch.stack([value, value]) for name, value in state.items()}
    write_tensors(path, larger, "model", described)
    with pytest.raises(ResultsError, match="expected the shape "):
        rekey(path)
    write_tensors(path, state, "model", described | {"class": "mine.Model"})
    with pytest.raises(ResultsError, match=r"found mine\.Model"):
        rekey(path)
    save_file({"weight": torch.zeros(2)}, path.with_name("foreign.safetensors"))
    path.write_bytes(content[:-100])
    for name in (path, path.with_name("foreign.safetensors"), path.with_name("none.safetensors")):
        monkeypatch.setattr("sys.argv", ["unbraid", "rekey", str(name)])
        with pytest.raises(SystemExit) as end:
            command.main()
        assert end.value.code == 1 and f"error: {name}: expected" in capsys.readouterr().err
    assert path.read_bytes() == content[:-100]
    assert {each.name for each in path.parent.iterdir()} == {path.name, "foreign.safetensors"}


def test_a_model_of_paper_c_has_the_names_that_it_had(tmp_path):
    shipped = records.weights("single_element/sprites/quick/whole-seed0")
    for each in (shipped, shipped.with_name("whole-seed0.run.json")):
        shutil.copy(each, tmp_path)
    assert not rekey(tmp_path / shipped.name)
    assert files.digest(tmp_path / shipped.name) == files.digest(shipped)
