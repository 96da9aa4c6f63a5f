"""The papers' claims: verdicts by their definition, and pages that a changed record turns red."""

import copy
import itertools
from dataclasses import replace
from math import nan

import pytest
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.measures.intervals import Interval

from papers import claims, pages

ENTRY = {
    "paper": "A",
    "claim": "c",
    "found": "We see.",
    "source": "Table 1",
    "size": "its own",
    "run": "toy/data/full/toy",
    "data": "data",
    "length": 100,
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A function that writes a clone with a run of some values and updates, and makes its claim."""
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path))
    for name in ("notebooks", "data"):
        (tmp_path / name).mkdir()

    def write(values, steps=100, figure=None, more=None, **changes):
        more = more or {}
        folder = (tmp_path / "results" / changes.get("run", ENTRY["run"])).parent
        protocol = {"weights": {"toy": {str(seed): "" for seed in range(len(values))}}}
        by_seed = {"score": values, "other": values} | more
        metrics = {"toy": {"by_seed": by_seed}, "protocol": protocol}
        records.write_json(folder / "metrics.json", metrics)
        for seed in range(len(values)):
            record = {"settings": {}, "weights_sha256": "", "steps": steps}
            records.write_json(folder / f"toy-seed{seed}.run.json", record)
        (folder / "toy-seed0.safetensors").touch()  # which ships
        figures = [claims.Figure(title="score", name="score", **(figure or {"published": 0.5}))]
        return claims.Claim(**(ENTRY | {"figures": figures} | changes))

    return write


def show_ours(claim):
    """Our values of a claim's figures, as the page shows them."""
    return [row[1] for row in claim.list_figures()]


QUICK = "toy/data/quick/toy"
HIGHER = {"published": 0.5, "better": "higher"}
BARS = {"near": {"published": 0.5}, "high": {"bar": 0.9}}
OIL = {"published": 11.21, "margin": 0.01, "chance": 11.85, "better": "lower"}  # 5 % are .032


@pytest.mark.parametrize(
    "values, steps, figure, verdict",
    (
        # the length: at least two thirds
        ([0.5] * 3, 1, {"published": 0.5}, "inconclusive"),  # 1 % of it proves nothing
        ([0.5] * 3, 66, {"published": 0.5}, "inconclusive"),
        ([0.5] * 3, 67, {"published": 0.5}, "reproduced"),
        ([0.9] * 3, 66, {"published": 0.5}, "inconclusive"),
        ([0.9] * 3, 67, {"published": 0.5}, "not reproduced"),
        # the seeds: at least three, and their mean
        ([0.5], 100, {"published": 0.5}, "reproduced once"),
        ([0.5, 0.5], 100, {"published": 0.5}, "reproduced once"),
        ([0.3, 0.5, 0.7], 100, {"published": 0.5}, "reproduced"),
        ([0.5, 0.7, 0.9], 100, {"published": 0.5}, "not reproduced"),  # a lucky seed
        ([0.7], 100, HIGHER, "reproduced once"),
        ([0.7] * 3, 100, HIGHER | {"better": "lower"}, "not reproduced"),
        # the published ±
        ([0.54] * 3, 100, {"published": 0.5, "margin": 0.0401}, "reproduced"),
        ([0.54] * 3, 100, {"published": 0.5, "margin": 0.0399}, "not reproduced"),
        # 5 % of the value, or of what is more than chance
        ([0.524] * 3, 100, {"published": 0.5}, "reproduced"),
        ([0.526] * 3, 100, {"published": 0.5}, "not reproduced"),
        ([0.512] * 3, 100, {"published": 0.5, "chance": 0.25}, "reproduced"),
        ([0.513] * 3, 100, {"published": 0.5, "chance": 0.25}, "not reproduced"),
        ([0.526] * 3, 100, {"published": 0.5, "chance": 2.0}, "not reproduced"),  # the smaller one
        ([11.24] * 3, 100, OIL, "reproduced"),
        ([11.25] * 3, 100, OIL, "not reproduced"),  # within 5 % of the value, near the constant
        ([11.97] * 3, 100, OIL, "not reproduced"),
        ([9.0] * 3, 100, OIL, "reproduced"),
        ([-2966.0] * 3, 100, {"published": -2902.0, "tolerance": 6}, "not reproduced"),
        ([-2907.0] * 3, 100, {"published": -2902.0, "tolerance": 6}, "reproduced"),
        # no published number
        ([0.995] * 3, 100, {"bar": 0.99}, "agrees"),
        ([0.995], 100, {"bar": 0.99}, "agrees once"),
        ([0.995, 1.0], 100, {"bar": 0.99}, "agrees once"),
        ([0.98] * 3, 100, {"bar": 0.99}, "not reproduced"),
        ([0.995], 66, {"bar": 0.99}, "inconclusive"),
        ([0.98], 100, {"shown": "see Table 1"}, "not comparable"),
        # chance may be a figure: it gets .49 here, so that 5 % of the effect are next to nothing
        ([0.49] * 3, 100, {"published": 0.5}, "reproduced"),
        ([0.49] * 3, 100, {"published": 0.5, "chance": "other"}, "not reproduced"),
    ),
)
def test_a_verdict_follows_its_definition(toy, values, steps, figure, verdict):
    assert toy(values, steps, figure).find_verdict() == verdict


NEAR, HIGH = (claims.Figure(name, "score", **bar) for name, bar in BARS.items())
LATE = {"figures": [NEAR, claims.Figure("c", "late", published=0.5)]}  # of one seed fewer
UNSAID = claims.Figure("d", "score")


@pytest.mark.parametrize(
    "values, changes, verdict",
    (
        ([0.5], {"figures": [NEAR, HIGH]}, "in part"),
        ([0.9], {"figures": [HIGH, HIGH]}, "agrees once"),
        ([0.3, 0.8], {"figures": [NEAR, HIGH]}, "not reproduced"),  # no mean
        ([0.5] * 3, LATE | {"more": {"late": [0.5, 0.5, None]}}, "reproduced once"),
        ([0.5] * 3, {"data": "others"}, "not comparable"),
        ([0.5] * 3, {"data": "others", "run": QUICK}, "not comparable"),  # this is asked for first
        ([0.5] * 3, {"run": QUICK}, "inconclusive"),
        ([0.5] * 3, {"length": 0}, "inconclusive"),
        ([0.5] * 3, {"figures": [UNSAID], "length": 0}, "not comparable"),
        ([0.5] * 3, {"figures": []}, "not tried"),
        ([0.5] * 3, {"needs": "r2_"}, "inconclusive"),
        ([0.5] * 3, {"needs": "r2_", "more": {"r2_x": [0.9, 0.9, None]}}, "inconclusive"),
        ([0.5] * 3, {"needs": "r2_", "more": {"r2_x": [0.9] * 3}}, "reproduced"),
    ),
)
def test_a_verdict_needs_the_papers_data_size_and_figures(toy, values, changes, verdict):
    assert toy(values, **changes).find_verdict() == verdict


@pytest.mark.parametrize(
    "better, interval, answer",
    (
        ("higher", (0.6, 0.51, 0.69), "yes"),
        ("higher", (0.6, 0.49, 0.71), "in the mean"),  # it holds the next score
        ("higher", (0.6, nan, nan), "in the mean"),  # one seed
        ("higher", (0.4, 0.35, 0.45), "no"),
        ("higher", (0.4, 0.2, 0.6), "no"),
        ("lower", (0.4, 0.31, 0.49), "yes"),
        ("lower", (0.4, 0.29, 0.51), "in the mean"),
        ("lower", (0.6, 0.55, 0.65), "no"),
        ("", (0.6, 0.55, 0.65), "no"),
    ),
)
def test_better_than_next_is_yes_only_where_the_interval_excludes_it(better, interval, answer):
    figure = claims.Figure("score", better=better, next=0.5)
    assert figure.compare_next(Interval(*interval)) == answer


@pytest.fixture
def rows(tmp_path):
    """A function that writes toy.csv in results/."""
    return lambda content: records.write_csv(tmp_path / "results" / "toy.csv", content)


def test_a_figure_may_come_from_a_table(toy, rows):
    rows(
        [{"v": v, "seed": seed, "update": 50, "a": v + 2 * seed} for v in (3, 4) for seed in (0, 1)]
    )
    figure = claims.Figure("a", "a", table="toy.csv", rows={"v": 3, "update": 50})
    claim = toy([0.5], run="", figures=[figure], data="others")
    assert figure.read_values() == {0: 3, 1: 5} and claim.list_runs() == []
    assert claim.find_verdict() == "not comparable"
    assert claim.format_size() == "its own; 2 seeds, 50 % of the paper's length"
    for wrong in ({"update": 50}, {"v": 9}):  # two rows of a seed, and none
        with pytest.raises(ResultsError, match="once a seed"):
            claims.Figure("a", "a", table="toy.csv", rows=wrong).read_values()
    with pytest.raises(ResultsError, match="absent"):
        claims.Figure("a", "absent", table="toy.csv", rows={"v": 3}).read_values()


def test_runs_are_counted_by_what_they_have_found(toy, rows):
    """One run has a digit in each factor, the other both in the first; 15's rule names them."""
    places = itertools.product("01", ("orange", "blue"), "xy")
    names = ["_".join(place) for place in places]
    found = ((1, 1, 0, 0, 0, 0, 1, 1), (1, 1, 1, 1, 0, 0, 0, 0))
    rows([{"seed": n} | dict(zip(names, row, strict=True)) for n, row in enumerate(found)])
    digits = claims.Figure("digits", "grouping", table="toy.csv", groupings=["digits"], least=1)
    assert digits.read_values() == {0: 1, 1: 0}
    assert show_ours(toy([0.5], run="", figures=[digits])) == ["1 of 2 (share: 0.01 to 0.99)"]
    beside = toy([0.5, 0.6], figures=[digits, claims.Figure("a", "score")])
    assert "±" in show_ours(beside)[1]  # The two states are those of other runs.
    assert pages.show_states("toy.csv", "grouping", groupings=["x with x"]) == "neither of two runs"


def test_the_pages_are_those_of_results_and_a_changed_record_turns_them_red(monkeypatch):
    assert pages.table_faults() == []
    read = records.read_json

    def read_changed(path):
        content = copy.deepcopy(read(path))
        if path.parts[-4:] == ("single_element", "sprites", "full", "metrics.json"):
            content["published"]["by_seed"]["swap_nearest"][0] = 0.5  # also in README's sentence
        return content

    monkeypatch.setattr(records, "read_json", read_changed)
    faults = " ".join(pages.table_faults())
    assert "README.md" in faults and "REPRODUCTION.md" in faults


# ---- what the pages say


# ---- what claims.toml and reproduction.md.j2 say in words, or in numbers without a helper


def read(name):
    """The figures of a claim with their values by seed, and their intervals."""
    figures = claims.read_claims()[name].list_measured()
    values = [[*figure.read_values().values()] for figure in figures]
    return figures, values, [figure.read_interval() for figure in figures]


def test_what_we_found_is_true_where_it_names_no_number():
    named = claims.read_claims()
    if not named["A1"].is_full:
        figures, values, _ = read("A1")
        assert max(values[0]) < figures[0].published and max(values[3]) < figures[3].published
        assert not named["A1"].has_needed() and not named["A2"].has_needed()  # "neither has them"
    _, _, (_, cross, bound, _, other_cross, other_bound, *differences) = read("A5")
    assert cross.mean < other_cross.mean and bound.mean > other_bound.mean
    assert all(each.low < 0 < each.high for each in differences)
    early, late, *circling = read("A6")[2]
    assert early.high < 0 < late.low and all(each.high < 0 for each in circling)
    bouncing = named["A6"].list_measured()[0]
    for update in (100, 200, 400):  # "lower until 700 updates"
        rows = bouncing.rows | {"update": update}
        assert replace(bouncing, rows=rows).read_interval().mean < 0
    _, _, (_, second, fourth, *_) = read("A7")
    assert fourth.mean >= second.mean
    assert all(each.low < 0 < each.high for each in read("B3")[2][4:])
    sharper, equal = read("B4")[2][3:]
    assert sharper.low > 0 and equal.low < 0 < equal.high
    figures, _, intervals = read("C5")
    for figure, found in zip(figures[:2], intervals[:2], strict=True):
        assert found.low < figure.next < found.mean < figure.published < found.high
    figures, _, (error, right, constant, *_) = read("C6")
    assert figures[0].published < error.mean < right.mean and constant.mean < right.mean
    assert "constant (baseline) in the mean" in named["C6"].print_next()
    figures, _, (month, _) = read("C7")
    assert month.mean < figures[0].next < figures[0].published and figures[0].next < month.high
    _, _, (_, _, within, shuffled, _) = read("C8")
    assert shuffled.mean < within.mean < shuffled.mean + 0.05
    _, _, (static, dynamic) = read("C10")
    assert static.mean > dynamic.mean > 0.3  # error rates


def test_shares_by_hand():
    """A standard error of .02 and a tolerance of .02: Phi(1) = .84 on one side, .68 on two."""
    values = [0.4654, 0.5, 0.5346]
    assert claims.pass_share(values, 0.02, one_sided=True) == pytest.approx(0.84, abs=0.01)
    assert claims.pass_share(values, 0.02, one_sided=False) == pytest.approx(0.68, abs=0.01)
    assert claims.print_states([0.4], 0.5) == "0 of 1"
