"""The papers' claims: verdicts by their definition, and pages that a changed record turns red."""

import copy
import itertools
import re
from dataclasses import replace
from math import nan

import pytest
from jinja2 import UndefinedError
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.data.sprites import POSE_LABELS
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
    ),
)
def test_a_verdict_follows_its_definition(toy, values, steps, figure, verdict):
    assert toy(values, steps, figure).find_verdict() == verdict


def test_some_figures_of_several_are_in_part(toy):
    figures = [claims.Figure("a", "score", published=0.5), claims.Figure("b", "other", bar=0.9)]
    assert toy([0.5], figures=figures).find_verdict() == "in part"
    assert toy([0.9], figures=[*figures[1:], *figures[1:]]).find_verdict() == "agrees once"
    assert toy([0.3, 0.8], figures=figures).find_verdict() == "not reproduced"  # no mean
    late = [figures[0], claims.Figure("c", "late", published=0.9)]  # of one seed fewer
    fewer = toy([0.5] * 3, figures=late, more={"late": [0.9, 0.9, None]})
    assert fewer.find_verdict() == "reproduced once"


def test_chance_may_be_a_figure_of_the_run(toy):
    """Chance gets .49 here, so that 5 % of the effect are next to nothing."""
    figure = claims.Figure("score", "score", published=0.5, chance="other")
    assert toy([0.49] * 3, figures=[figure]).find_verdict() == "not reproduced"
    assert toy([0.49] * 3).find_verdict() == "reproduced"


@pytest.mark.parametrize(
    "changes, verdict",
    (
        ({"data": "others"}, "not comparable"),
        ({"data": "others", "run": QUICK}, "not comparable"),  # This is asked for first.
        ({"run": QUICK}, "inconclusive"),
        ({"length": 0}, "inconclusive"),
        ({"figures": [claims.Figure("score", "score")]}, "not comparable"),
        ({"figures": [claims.Figure("score", "score")], "length": 0}, "not comparable"),
        ({"figures": []}, "not tried"),
    ),
)
def test_what_is_not_the_papers_own_is_no_reproduction(toy, changes, verdict):
    assert toy([0.5] * 3, **changes).find_verdict() == verdict


def test_a_row_shows_mean_interval_and_seeds_and_marks_those_whose_weights_ship(toy):
    figure = {"published": 0.5, "next": 0.1, "better": "higher", "unit": "bits"}
    claim = toy([0.51, -0.2, 0.02], 70, figure, command="make it", run=QUICK)
    ours = "0.11 ± 0.90 bits (seeds: **0.51**, −0.20, 0.02)"  # 4.303 * .210
    assert claim.list_figures() == [("score", ours, "0.50 bits", "0.10 bits")]
    assert claim.format_size() == "its own; 3 seeds, 70 % of the paper's length"
    assert claim.print_verdict() == "Inconclusive."
    assert claim.print_runs() == (
        "Size: its own; 3 seeds, 70 % of the paper's length. At its size: `make it`. "
        "Better than the next best: in the mean."
    )
    shared = toy([0.5, 0.5], figure={"bar": 0.4})  # as of a constant, which all seeds share
    assert show_ours(shared) == ["0.50"]
    assert shared.format_source() == "Table 1; our bar 0.4"
    many = toy([0.5, 0.6, 0.7, 0.8], figure={"bar": 0.4})
    assert show_ours(many) == ["0.65 ± 0.21 (n = 4)"]
    two = toy([0.4, None, 0.6], figure={"bar": 0.4})  # 12.71 standard errors of .1
    assert show_ours(two) == ["0.50 ± 1.27 (seeds: **0.40**, 0.60)"]
    once = toy([0.5], figure={"bar": 0.4})
    assert show_ours(once) == ["**0.50**"]
    assert once.format_size() == "its own; *one seed*, all of the paper's length"


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


def test_a_row_says_of_each_figure_whether_it_is_better_than_next(toy):
    first = claims.Figure("a", "score", published=0.5, better="higher", next=0.1)
    second = claims.Figure("b", "other", published=0.5, better="higher", next=0.49)
    assert toy([0.5] * 3, figures=[first]).print_next() == "Better than the next best: yes"
    both = toy([0.48, 0.5, 0.55], figures=[first, second])
    assert both.print_next() == "Better than the next best: a yes; b in the mean"
    assert toy([0.05], figures=[first], data="others").print_next() == ""
    # A constant has its interval from the test set.
    constant = claims.Figure("c", "score", better="higher", next=0.4, baseline=True)
    limits = {"score_low": [0.3, None], "score_high": [0.7, None]}
    without = toy([0.5, 0.5], figures=[constant], more=limits)
    assert without.print_next() == "Better than the next best: in the mean"
    assert without.list_figures() == [("c", "0.50 [0.30 to 0.70]", "", "0.40")]


def test_runs_in_two_states_are_counted_and_have_no_mean(toy):
    state = claims.Figure("good", "score", least=0.5)
    other = claims.Figure("other", "other", unit="bits", published=0.9)
    figures = [state, other]
    mixed = toy([0.92, 0.92, 0.44], figures=figures)
    assert show_ours(mixed) == [
        "2 of 3 (share: 0.09 to 0.99)",  # Clopper and Pearson's
        "**0.92**, 0.92, 0.44 bits",
    ]
    alike = toy([0.92, 0.93, 0.94], figures=figures)
    assert show_ours(alike)[1] == "0.93 ± 0.02 bits (seeds: **0.92**, 0.93, 0.94)"
    assert "not yet" not in toy([0.92, 0.44], 1, figures=figures).print_verdict()
    none = toy([0.41, 0.44], 1, figures=figures)
    assert none.print_verdict() == "Inconclusive, not yet separated."
    good, other_value = show_ours(none)
    assert "0 of 2 (" in good and "±" in other_value
    assert show_ours(toy([0.4], figures=[state])) == ["0 of 1"]


def test_a_row_of_runs_of_different_length_says_so(toy, tmp_path):
    """As the bounds of paper B's pairs, which come from short runs, and the hits from long ones."""
    figures = [claims.Figure("a", "score"), claims.Figure("b", "score", run="longer")]
    claim = toy([0.5, 0.6], 20, figures=figures, data="others")
    folder = tmp_path / "results" / "toy" / "data" / "full"
    metrics = records.read_json(folder / "metrics.json")
    metrics["longer"] = metrics["toy"]
    metrics["protocol"]["weights"]["longer"] = {"0": "", "1": ""}
    records.write_json(folder / "metrics.json", metrics)
    for seed in (0, 1):
        record = records.read_json(folder / f"toy-seed{seed}.run.json") | {"steps": 33}
        records.write_json(folder / f"longer-seed{seed}.run.json", record)
    assert claim.format_size() == "its own; 2 seeds, 20 % to 33 % of the paper's length"


def test_what_a_claim_needs_is_measured_before_it_is_judged(toy):
    for more in ({}, {"r2_x": [0.9, 0.9, None]}):
        assert toy([0.5] * 3, needs="r2_", more=more).find_verdict() == "inconclusive"
    assert toy([0.5] * 3, needs="r2_", more={"r2_x": [0.9] * 3}).find_verdict() == "reproduced"


def test_a_row_says_how_often_a_perfect_copy_would_pass(toy):
    """Three values with a standard error of .02 and a tolerance of .02: Phi(1) = .84."""
    values, figure = [0.4654, 0.5, 0.5346], {"published": 0.5, "margin": 0.02, "chance": 0.3}
    both = toy(values, figure=figure)
    assert both.print_runs().endswith("length. A perfect copy would pass: 68 %.")
    upward = toy(values, figure=figure | {"better": "higher"})
    assert upward.print_power() == "A perfect copy would pass: 84 %"
    assert claims.pass_share([0.5, 0.5], 0.01, one_sided=True) == 1
    for changes in ({"run": QUICK}, {"data": "others"}):
        assert toy(values, figure=figure, **changes).print_power() == ""
    assert toy([0.5], figure=figure).print_power() == ""


def test_a_number_that_rounds_to_zero_has_no_minus():
    assert claims.format_number(-0.004, 2) == "0.00" and claims.format_number(-0.006, 2) == "−0.01"


def test_a_figure_that_was_not_measured_is_named(toy):
    claim = toy([0.5], figures=[claims.Figure("a", "absent", published=0.5)])
    with pytest.raises(ResultsError, match="absent of toy/data/full/toy"):
        claim.find_verdict()


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


def test_two_rows_are_compared_by_the_interval_of_their_difference(toy, rows, tmp_path):
    """Both means are uncertain by 1 here, and their difference, in pairs of seeds, by .02."""
    claim = toy([0.1, 0.4, 0.9], figures=[claims.Figure("a minus b", "score", minus="other")])
    path = tmp_path / "results" / "toy" / "data" / "full" / "metrics.json"
    metrics = records.read_json(path)
    metrics["other"] = {"by_seed": {"score": [0.0, 0.31, 0.79]}}
    metrics["protocol"]["weights"]["other"] = metrics["protocol"]["weights"]["toy"]
    records.write_json(path, metrics)
    assert show_ours(claim) == ["0.10 [0.08 to 0.12] (3 pairs)"]
    assert pages.show_limits("toy/data/full/toy", "score", minus="other") == "0.10 [0.08 to 0.12]"
    rows([{"v": v, "seed": seed, "x": v * seed} for v in (1, 2) for seed in range(3)])
    shown = pages.show_limits("toy.csv", "x", rows={"v": 2}, minus={"v": 1})
    assert shown == "1.00 [−1.48 to 3.48]"


@pytest.mark.parametrize(
    "seeds, others, counted",
    (
        (range(10), range(3), "3 pairs"),  # as of B3, whose rows have 10 runs and 3
        (range(2, 5), range(10), "3 pairs"),
        (range(3), range(1, 4), "3 and 3 runs"),
    ),
)
def test_a_difference_says_how_many_runs_it_compares(rows, toy, seeds, others, counted):
    drawn = [(1, seed) for seed in seeds] + [(2, seed) for seed in others]
    rows([{"v": v, "seed": seed, "x": v + 0.1 * seed} for v, seed in drawn])
    figure = claims.Figure("a", "x", table="toy.csv", rows={"v": 1}, minus={"v": 2})
    assert show_ours(toy([0.5], run="", figures=[figure]))[0].endswith(f"] ({counted})")


def test_every_row_of_runs_and_every_difference_says_its_n():
    """As they stand in the clone: seeds are listed, counted, or one."""
    for name, claim in claims.read_claims().items():
        for figure in claim.list_measured():
            values, shown = figure.read_values(), claim.format_figure(figure)
            if figure.minus:
                assert re.search(r"\((\d+ pairs|\d+ and \d+ runs)\)", shown), (name, shown)
            elif not figure.baseline and len(set(values.values())) > 1:
                listed = shown.rpartition("seeds: ")[2].count(",") + 1
                counts = re.findall(r"n = (\d+)|of (\d+) \(", shown)
                count = int("".join(counts[0])) if counts else listed
                assert count == len(values), (name, shown)


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


def test_templates_show_figures_as_they_are(toy):
    toy([0.9996, 0.9994], more={"low": [0.2, 0.2], "low_low": [0.1, None], "low_high": [0.3, None]})
    run = "toy/data/full/toy"
    assert pages.show_percent(run, "score") == "99.95 %"  # never all of them
    assert pages.show_percent(run, "low") == "20 %" and pages.show_mean(run, "low", 1) == "0.2"
    assert pages.show_value(run, "score", 4) == "0.9995 ± 0.0013"
    assert pages.show_limits(run, "low") == "0.20 [0.10 to 0.30]"
    assert pages.show_states(run, "score", 0.9995) == "one of two runs"
    assert pages.show_share(run, 400) == "25 %"
    assert pages.show_all_but(run, "score", 2000) == "all but one of 2,000"
    with pytest.raises(UndefinedError):
        pages.fill("{{ unknown }}")


@pytest.mark.parametrize("entry, named", (("x = 1", "'x'"), ('size = "s"', "'found'")))
def test_an_unknown_entry_and_a_claim_without_findings_are_refused(
    entry, named, tmp_path, monkeypatch
):
    monkeypatch.setattr(claims.records, "results", lambda: tmp_path / "results")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "claims.toml").write_text(
        f'[claim.A1]\nclaim = "c"\nsource = "s"\n{entry}\n'
    )
    with pytest.raises(ResultsError, match=f"claims.toml, A1: .*{named}"):
        claims.read_claims()


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


def test_a_claim_with_a_run_says_of_how_many_and_no_other_does():
    for name, claim in claims.read_claims().items():
        says = re.search(r"\d seeds|\*one seed\*", claim.format_size())
        assert bool(says) == (claim.find_verdict() != "not tried"), name


def test_no_mean_of_a_share_has_an_interval_beyond_all_or_nothing():
    """A share or R2 near 1 with an interval beyond 1 is the mean of two states."""
    for name, claim in claims.read_claims().items():
        for figure in claim.list_measured():
            values = [*figure.read_values().values()]
            is_share = all(0 <= value <= 1 for value in values) and not figure.unit
            if is_share and len(values) > 2 and "±" in claim.format_figure(figure):
                found = figure.read_interval()
                assert found.low >= -0.02 and found.high <= 1.02, (name, figure.title)


def test_readme_says_what_each_paper_does_in_60_words_and_what_is_undecided():
    (block,) = re.findall(pages.BLOCK, pages.render_readme(), flags=re.DOTALL)
    papers = {claim.paper for claim in claims.read_claims().values()}
    assert len(block.replace("- **", "**").split()) <= 60 * len(papers)
    for paper in papers:
        assert f"| **{paper}**, [" in pages.render_reproduction()
        (line,) = re.findall(rf"^- \*\*Paper {paper}.*$", block, re.MULTILINE)
        assert "undecided" in line


def test_a_claim_stands_in_the_column_of_its_verdict(toy):
    assert [*map(pages.find_group, (toy([0.5] * 3), toy([0.9] * 3), toy([0.5], run=QUICK)))] == [
        "decided",
        "decided",
        "open",
    ]
    assert pages.label(toy([0.5] * 3)) == "**hold:** " and pages.label(toy([0.9] * 3)) == "do not: "
    assert pages.label(toy([0.5], run=QUICK, command="make gpu")) == "needs a GPU: "
    other = toy([0.5], data="others")
    assert pages.find_group(other) == "smaller" and pages.label(other) == ""


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


def test_the_ward_is_reproduced_alone_and_the_mask_is_better():
    named = claims.read_claims()
    series = [claim.find_verdict() for claim in named.values() if "Table 3" in claim.source]
    series += [claim.find_verdict() for claim in named.values() if "Table 4" in claim.source]
    assert len(series) == 4 and series.count("reproduced") == 1  # "one of four"
    assert re.search(r"would pass: (7[5-9]|8[0-4]) %", named["C4"].print_power())  # four in five
    by_name = {figure.name: figure.read_interval() for figure in named["C4"].list_measured()}
    accuracy = by_name["icu_accuracy_authors_protocol"].mean
    assert by_name["icu_accuracy_mask"].low > accuracy  # so README's words
    labels = zip(*(POSE_LABELS[name].tolist() for name in ("action", "direction")), strict=True)
    motions = len(set(labels))
    assert f"guessing would give {100 / motions:.0f} %" in named["B2"].found


def test_numbers_of_the_text_are_those_of_results(root):
    """Test items and times of training, which the text has without a helper."""
    page, of_series = (root / "REPRODUCTION.md").read_text(encoding="utf-8"), []
    for name, words in {
        "physionet": "{} stays",
        "etth1": "{} months",
        "air_quality": "{} days of air",
    }.items():
        folder = f"single_element/{name}/full"
        assert words.format(records.read_metrics(folder)["protocol"]["sequences"]) in page
        of_series += [*(records.results() / folder).glob("*.run.json")]
    seconds = [records.read_json(path)["seconds"] for path in of_series]
    assert f"{min(seconds) / 60:.0f} minutes to {max(seconds) / 3600:.1f} hours" in page
