"""Records of before are given class and config of their model, and the figures' digests follow."""

import json
import shutil

import pytest
from unbraid import store
from unbraid.models.base import SequenceModel, describe_model

from papers import provenance, report
from papers.c.variants import AblatedElement
from papers.convert import convert_records

FOLDER = "single_element/sprites/quick"
RUN = "whole_no_subtraction-seed0"


@pytest.fixture
def older(tmp_path):
    """A copy of results of one dataset as they were before records named their model."""
    place = tmp_path / FOLDER
    shutil.copytree(store.shipped() / FOLDER, place)
    metrics = store.read_json(place / "metrics.json")
    for path in place.glob("*.run.json"):
        record = store.read_json(path)
        del record["model"]
        store.write_json(path, record)
    for run, seeds in metrics["protocol"]["files"].items():
        for seed, tied in seeds.items():
            tied["record"] = store.digest(place / f"{run}-seed{seed}.run.json")
    report.write_metrics(place / "metrics.json", metrics)
    return tmp_path


def test_a_record_of_before_is_refused_until_it_is_converted_and_then_all_fits(older):
    with pytest.raises(store.ResultsError, match="papers convert"):
        SequenceModel.load(f"{FOLDER}/{RUN}", older)
    count = len(list(older.rglob("*.run.json")))
    assert convert_records(older) == count
    model = SequenceModel.load(f"{FOLDER}/{RUN}", older)
    assert type(model) is AblatedElement
    record = store.read_record(f"{FOLDER}/{RUN}", older)
    assert record["model"] == json.loads(json.dumps(describe_model(model)))
    assert provenance.verify_results(older) == []
    for path in older.rglob("*.run.json"):  # The order of entries differs in runs that are younger.
        converted = store.read_json(path)
        shipped = store.read_json(store.shipped() / path.relative_to(older))
        # A config has got fields since, which a converted record names with their defaults.
        assert shipped["model"]["config"].items() <= converted.pop("model")["config"].items()
        assert converted.items() <= shipped.items()
    assert convert_records(older) == 0


def test_a_forged_record_stays_a_fault(older):
    path = older / FOLDER / f"{RUN}.run.json"
    path.write_text(path.read_text().replace('"steps": ', '"steps": 1'))
    forged = path.read_bytes()
    convert_records(older)
    assert path.read_bytes() == forged
    assert any(path.name in fault for fault in provenance.verify_results(older))
