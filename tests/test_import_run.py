"""What a full_size.py wrote becomes a run like any other."""

import json

import pytest
import torch
from safetensors.torch import save_file
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.models.base import SequenceModel

from papers import import_run, provenance, verify
from papers.run import build
from papers.settings import load

SECTION = "single_element.vowels"
COLUMNS = ["step", "seconds", "elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame"]


@pytest.fixture
def written(tmp_path):
    """A function that writes the files of a script, in two parts, with another run beside them."""
    settings = load(SECTION, "full")
    model = build(settings, 3)

    def write(**changes):
        source = tmp_path / "c"
        state = {name: value.half() for name, value in model.state_dict().items()}
        names = sorted(state)
        for part, some in enumerate((names[:4], names[4:])):
            save_file({name: state[name] for name in some}, f"{source}-{part}.safetensors")
        save_file({"a": torch.zeros(1)}, f"{source}-other-0.safetensors")  # of a run "c-other"
        content = {
            "section": SECTION,
            "changes": {"anchor": "last"},
            "seed": 3,
            "steps": 1010,
            "seconds": 10.1,
            "columns": COLUMNS,
            "rows": [[500, 5.0, -3.0, -2.0, 1.0], [1002, 10.02, -2.0, -1.0, 1.0]],
            "checks": [{"step": 1010, "fresh_statistics": 0, "nearest": 0.5}],
            "device": "a GPU",
            "versions": {"torch": "2.11.0"},
            "precision": "bf16-mixed",
        }
        source.with_name("c.json").write_text(json.dumps(content | changes))
        return source

    write.model = model
    return write


def test_it_is_written_with_its_curve_its_record_and_its_class(written, tmp_path):
    path = import_run.import_run(written(), tmp_path / "results")
    assert path == tmp_path / "results/single_element/vowels/full/single_element-seed3"
    model = SequenceModel.load(path.with_suffix(".safetensors"))
    assert model.config.anchor == "last"
    for name, value in written.model.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value.half().to(value.dtype))
    record = records.read_json(path.with_suffix(".run.json"))
    assert record["steps"] == 1010 and record["settings"]["anchor"] == "last"
    assert record["command"] == "python papers/c/full_size.py --seed 3"
    assert record["commit"] == provenance.read_commit()  # the scripts may name their own
    other = import_run.import_run(written(commit="theirs"), tmp_path / "others")
    assert records.read_json(other.with_suffix(".run.json"))["commit"] == "theirs"
    assert records.read_csv(path.with_suffix(".swaps.csv"))[0]["nearest"] == 0.5
    assert verify.verify_results(tmp_path / "results") == []
    path.with_suffix(".swaps.csv").write_text("step,fresh_statistics,nearest\n1010,0,0.9\n")
    (fault,) = verify.verify_results(tmp_path / "results")
    assert "swaps.csv: expected SHA-256" in fault


def test_a_run_that_is_there_is_never_written_over(written, tmp_path):
    import_run.import_run(written(), tmp_path / "results")
    with pytest.raises(ResultsError, match="found one"):
        import_run.import_run(written(), tmp_path / "results")


def test_what_is_missing_is_named(written, tmp_path):
    source = written()
    content = json.loads(source.with_name("c.json").read_text())
    del content["rows"]
    source.with_name("c.json").write_text(json.dumps(content))
    with pytest.raises(ResultsError, match="found no rows"):
        import_run.import_run(source, tmp_path / "results")
    source = written()
    source.with_name("c-1.safetensors").unlink()
    with pytest.raises(ResultsError, match="all weights of SingleElement in 1 parts"):
        import_run.import_run(source, tmp_path / "results")
    assert not (tmp_path / "results").exists()
