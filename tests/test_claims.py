"""The papers' claims: verdicts by their definition, and pages that a changed record turns red."""

import copy

import pytest
from unbraid import records
from unbraid.checks import ResultsError

from papers import claims, pages

ENTRY = {
    "paper": "A",
    "claim": "c",
    "source": "Table 1",
    "size": "its own",
    "run": "toy/data/full/toy",
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
OIL = {"published": 11.21, "margin": 0.01, "chance": 11.85, "better": "lower"}  # 5 % are .032


@pytest.mark.parametrize(
    "values, steps, figure, verdict",
    (
        # the length: at least two thirds
        ([0.5] * 3, 1, {"published": 0.5}, "not decided"),  # 1 % of it proves nothing
        ([0.5] * 3, 66, {"published": 0.5}, "not decided"),
        ([0.5] * 3, 67, {"published": 0.5}, "reproduced"),
        ([0.9] * 3, 66, {"published": 0.5}, "not decided"),
        ([0.9] * 3, 67, {"published": 0.5}, "not reached"),
        # the seeds: at least three, and their mean
        ([0.5], 100, {"published": 0.5}, "reproduced once"),
        ([0.5, 0.5], 100, {"published": 0.5}, "reproduced once"),
        ([0.3, 0.5, 0.7], 100, {"published": 0.5}, "reproduced"),
        ([0.5, 0.7, 0.9], 100, {"published": 0.5}, "not reached"),  # a lucky seed
        ([0.7], 100, HIGHER, "reproduced once"),
        ([0.7] * 3, 100, HIGHER | {"better": "lower"}, "not reached"),
        # the published ±
        ([0.54] * 3, 100, {"published": 0.5, "margin": 0.0401}, "reproduced"),
        ([0.54] * 3, 100, {"published": 0.5, "margin": 0.0399}, "not reached"),
        # 5 % of the value, or of what is more than chance
        ([0.524] * 3, 100, {"published": 0.5}, "reproduced"),
        ([0.526] * 3, 100, {"published": 0.5}, "not reached"),
        ([0.512] * 3, 100, {"published": 0.5, "chance": 0.25}, "reproduced"),
        ([0.513] * 3, 100, {"published": 0.5, "chance": 0.25}, "not reached"),
        ([0.526] * 3, 100, {"published": 0.5, "chance": 2.0}, "not reached"),  # the smaller one
        ([11.24] * 3, 100, OIL, "reproduced"),
        ([11.25] * 3, 100, OIL, "not reached"),  # within 5 % of the value, near the constant
        ([11.97] * 3, 100, OIL, "not reached"),
        ([9.0] * 3, 100, OIL, "reproduced"),
        ([-2966.0] * 3, 100, {"published": -2902.0, "tolerance": 6}, "not reached"),
        ([-2907.0] * 3, 100, {"published": -2902.0, "tolerance": 6}, "reproduced"),
        # no published number
        ([0.99], 100, {"bar": 0.99}, "agrees"),
        ([0.98], 100, {"bar": 0.99}, "not reached"),
        ([0.99], 66, {"bar": 0.99}, "not decided"),
        ([0.98], 100, {"shown": "see Table 1"}, "not comparable"),
    ),
)
def test_a_verdict_follows_its_definition(toy, values, steps, figure, verdict):
    assert toy(values, steps, figure).find_verdict() == verdict


def test_some_figures_of_several_are_in_part(toy):
    figures = [claims.Figure("a", "score", published=0.5), claims.Figure("b", "other", bar=0.9)]
    assert toy([0.5], figures=figures).find_verdict() == "in part"
    assert toy([0.9], figures=[*figures[1:], *figures[1:]]).find_verdict() == "agrees"
    assert toy([0.3, 0.8], figures=figures).find_verdict() == "not reached"  # no mean


def test_chance_may_be_a_figure_of_the_run(toy):
    """Chance gets .49 here, so that 5 % of the effect are next to nothing."""
    figure = claims.Figure("score", "score", published=0.5, chance="other")
    assert toy([0.49] * 3, figures=[figure]).find_verdict() == "not reached"
    assert toy([0.49] * 3).find_verdict() == "reproduced"


@pytest.mark.parametrize(
    "changes, verdict",
    (
        ({"comparable": False}, "not comparable"),
        ({"at_size": False}, "not decided"),
        ({"length": 0}, "not decided"),
        ({"run": ""}, "not tried"),
    ),
)
def test_what_is_not_the_papers_own_is_no_reproduction(toy, changes, verdict):
    assert toy([0.5] * 3, **changes).find_verdict() == verdict


def test_a_row_shows_mean_interval_and_seeds_and_marks_those_whose_weights_ship(toy):
    figure = {"published": 0.5, "next": 0.1, "better": "higher"}
    claim = toy([0.51, -0.2, 0.02], 70, figure, command="make it", at_size=False)
    assert claim.print_row() == (
        "c (Table 1)",
        "score 0.11 ± 0.90 (**0.51** −0.20 0.02); paper 0.50, next 0.10",  # 4.303 * .210
        "its own<br>3 seeds, 70 % of its updates",
        "not decided: `make it`<br>better than next: yes",
    )
    assert claim.print_row(with_command=False)[-1] == "not decided<br>better than next: yes"
    assert claim.print_short_row() == ("A: c", "score 0.11 ± 0.90 (paper 0.50)", "not decided")
    assert toy([0.05], figure=figure).print_next() == "<br>better than next: no"
    assert toy([0.05], figure=figure, comparable=False).print_next() == ""
    shared = toy([0.5, 0.5], figure={"bar": 0.4})  # a baseline, which all seeds share
    assert (
        shared.print_ours() == "score 0.50" and shared.print_row()[0] == "c (Table 1; our bar 0.4)"
    )
    many = toy([0.5, 0.6, 0.7, 0.8], figure={"bar": 0.4})
    assert many.print_ours() == "score 0.65 ± 0.21"
    once = toy([0.5], remark="so", figure={"bar": 0.4})
    assert once.print_ours() == "score **0.50**<br>so" and "all its updates" in once.print_size()


def test_a_number_that_rounds_to_zero_has_no_minus():
    assert claims.print_number(-0.004, 2) == "0.00" and claims.print_number(-0.006, 2) == "−0.01"


def test_of_two_seeds_the_values_stand_alone_and_one_that_lacks_the_figure_is_left_out(toy):
    claim = toy([0.4, None, 0.6], figure={"bar": 0.4})
    assert claim.print_ours() == "score **0.40**, 0.60"


def test_a_figure_that_was_not_measured_is_named(toy):
    claim = toy([0.5], figures=[claims.Figure("a", "absent", published=0.5)])
    with pytest.raises(ResultsError, match="absent of toy/data/full, toy"):
        claim.find_verdict()


def test_the_pages_are_those_of_results_and_a_changed_record_turns_them_red(monkeypatch):
    assert pages.table_faults() == []
    read = records.read_json

    def read_changed(path):
        content = copy.deepcopy(read(path))
        if path.parts[-4:] == ("single_element", "sprites", "full", "metrics.json"):
            content["published"]["by_seed"]["swap_nearest"][0] = 0.5
        return content

    monkeypatch.setattr(records, "read_json", read_changed)
    faults = " ".join(pages.table_faults())
    for name in ("README.md", "REPRODUCTION.md", "30_data_single_element.ipynb"):
        assert name in faults
    assert "10_data_independent.ipynb" not in faults


def test_an_unknown_entry_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "read_table", lambda: {"claim": [ENTRY | {"figures": [], "x": 1}]})
    with pytest.raises(ResultsError, match="claims.toml, c: .*x"):
        claims.read_claims()
