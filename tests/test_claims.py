"""The papers' claims: verdicts by their definition, and pages that a changed record turns red."""

import copy

import pytest
from unbraid import records
from unbraid.checks import ResultsError

from papers import claims, tables

ENTRY = {
    "paper": "A",
    "claim": "c",
    "source": "Table 1",
    "size": "its own",
    "results": "toy/data/full",
    "run": "toy",
    "at_size": True,
    "length": 100,
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A function that writes a clone with a run of some values and updates, and makes its claim."""
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path))
    for name in ("notebooks", "data"):
        (tmp_path / name).mkdir()

    def write(values, steps=100, figure=None, **changes):
        folder = tmp_path / "results" / "toy" / "data" / "full"
        protocol = {"weights": {"toy": {str(seed): "" for seed in range(len(values))}}}
        metrics = {"toy": {"by_seed": {"score": values, "other": values}}, "protocol": protocol}
        records.write_json(folder / "metrics.json", metrics)
        for seed in range(len(values)):
            record = {"settings": {}, "weights_sha256": "", "steps": steps}
            records.write_json(folder / f"toy-seed{seed}.run.json", record)
        (folder / "toy-seed0.safetensors").touch()  # which ships
        figures = [claims.Figure(title="score", name="score", **(figure or {"published": 0.5}))]
        return claims.Claim(**(ENTRY | {"figures": figures} | changes))

    return write


HIGHER = {"published": 0.5, "better": "higher"}


@pytest.mark.parametrize(
    "values, steps, figure, verdict",
    (
        ([0.48, 0.52], 100, {"published": 0.5}, "reproduced"),  # the mean counts
        ([0.3, 0.7], 100, {"published": 0.5}, "reproduced"),
        ([0.5, 0.7], 100, {"published": 0.5}, "in part"),  # one seed of two
        ([0.7, 0.7], 50, {"published": 0.5}, "not reached"),
        ([0.7, 0.7], 49, {"published": 0.5}, "not tried"),  # too short to tell
        ([0.7, 0.7], 100, HIGHER, "reproduced"),
        ([0.7], 100, {"published": 0.5, "better": "lower"}, "not reached"),
        ([0.47], 100, {"published": 0.5, "margin": 0.04}, "reproduced"),
        ([0.47], 100, {"published": 0.5, "margin": 0.001}, "not reached"),
        ([-2966.0], 100, {"published": -2902.0, "tolerance": 6}, "not reached"),  # not 5 % of it
        ([0.99], 10, {"bar": 0.99}, "reproduced"),
        ([0.98], 10, {"bar": 0.99}, "not tried"),
        ([0.98], 100, {"shown": "see Table 1"}, "–"),
    ),
)
def test_a_verdict_follows_its_definition(toy, values, steps, figure, verdict):
    assert toy(values, steps, figure).find_verdict() == verdict


def test_some_figures_of_several_are_in_part(toy):
    figures = [claims.Figure("a", "score", published=0.5), claims.Figure("b", "other", bar=0.9)]
    assert toy([0.5], figures=figures).find_verdict() == "in part"
    assert toy([0.3, 0.7], figures=figures).find_verdict() == "in part"  # the mean alone


@pytest.mark.parametrize(
    "changes, verdict",
    (
        ({"comparable": False}, "not comparable"),
        ({"at_size": False}, "not tried"),
        ({"run": ""}, "not tried"),
    ),
)
def test_what_is_not_the_papers_own_is_no_reproduction(toy, changes, verdict):
    assert toy([0.5], **changes).find_verdict() == verdict


def test_a_row_shows_all_seeds_and_marks_those_whose_weights_ship(toy):
    claim = toy([0.51, -0.2], 70, command="make it", at_size=False)
    assert claim.print_row() == (
        "c",
        "score 0.50 (Table 1)",
        "score **0.51** −0.20",
        "its own<br>2 seeds, 70 % of its updates",
        "not tried (too small): `make it`",
    )
    assert toy([0.5, 0.5]).print_ours() == "score 0.50"  # a baseline, which all seeds share


def test_a_figure_that_was_not_measured_is_named(toy):
    claim = toy([0.5], figures=[claims.Figure("a", "absent", published=0.5)])
    with pytest.raises(ResultsError, match="absent of toy/data/full, toy"):
        claim.find_verdict()


def test_words_stand_for_a_verdict_only_where_no_number_decides(toy):
    assert toy([0.7], steps=49, found="in small").print_row()[-1] == "in small"
    assert toy([0.7], figure={"published": None}, found="half").print_row()[-1] == "half"
    assert toy([0.5], found="half").print_row()[-1] == "reproduced"


def test_the_pages_are_those_of_results_and_a_changed_record_turns_them_red(monkeypatch):
    assert tables.table_faults() == []
    read = records.read_json

    def read_changed(path):
        content = copy.deepcopy(read(path))
        if path.parts[-4:] == ("single_element", "sprites", "full", "metrics.json"):
            content["published"]["by_seed"]["swap_nearest"][0] = 0.5
        return content

    monkeypatch.setattr(records, "read_json", read_changed)
    faults = " ".join(tables.table_faults())
    for name in ("README.md", "REPRODUCTION.md", "30_data_single_element.ipynb"):
        assert name in faults
    assert "10_data_independent.ipynb" not in faults


def test_an_unknown_entry_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "read_table", lambda: {"claim": [ENTRY | {"figures": [], "x": 1}]})
    with pytest.raises(ResultsError, match="claims.toml, c: .*x"):
        claims.read_claims()
