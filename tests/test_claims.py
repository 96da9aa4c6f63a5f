"""The papers' claims: verdicts by their definition, and pages that a changed record turns red."""

import copy
import re
from math import nan

import pytest
from jinja2 import UndefinedError
from unbraid import records
from unbraid.checks import ResultsError
from unbraid.data.sprites import POSE_LABELS
from unbraid.measures.intervals import Interval

from papers import claims, ledger, pages

ENTRY = {
    "paper": "A",
    "claim": "c",
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
    assert claim.format_size() == "its own; 3 seeds, 70 % of the paper's updates"
    assert claim.list_verdict() == [
        "Verdict: inconclusive",
        "A full run: `make it`",
        "Better than the next best: in the mean",
    ]
    shared = toy([0.5, 0.5], figure={"bar": 0.4})  # as of a constant, which all seeds share
    assert show_ours(shared) == ["0.50"]
    assert shared.format_source() == "Table 1; our bar 0.4"
    many = toy([0.5, 0.6, 0.7, 0.8], figure={"bar": 0.4})
    assert show_ours(many) == ["0.65 ± 0.21"]
    two = toy([0.4, None, 0.6], figure={"bar": 0.4})  # 12.71 standard errors of .1
    assert show_ours(two) == ["0.50 ± 1.27 (seeds: **0.40**, 0.60)"]
    once = toy([0.5], remark="chance: so", figure={"bar": 0.4})
    assert show_ours(once) == ["**0.50**", "so"]
    assert once.format_size() == "its own; *one seed*, all of the paper's updates"


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
        "2 of 3 runs (share: 0.09 to 0.99)",  # Clopper and Pearson's
        "**0.92**, 0.92, 0.44 bits",
    ]
    alike = toy([0.92, 0.93, 0.94], figures=figures)
    assert show_ours(alike)[1] == "0.93 ± 0.02 bits (seeds: **0.92**, 0.93, 0.94)"
    assert "not yet" not in toy([0.92, 0.44], 1, figures=figures).list_verdict()[0]
    none = toy([0.41, 0.44], 1, figures=figures)
    assert none.list_verdict() == ["Verdict: inconclusive, not yet separated"]
    good, other_value = show_ours(none)
    assert "0 of 2 runs" in good and "±" in other_value
    assert show_ours(toy([0.4], figures=[state])) == ["0 of 1 run"]


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
    assert claim.format_size() == "its own; 2 seeds, 20 % to 33 % of the paper's updates"


def test_what_a_claim_needs_is_measured_before_it_is_judged(toy):
    lacking = toy([0.5] * 3, needs="r2_")
    assert lacking.find_verdict() == "inconclusive"
    assert toy([0.5] * 3, needs="r2_", more={"r2_x": [0.9, 0.9, None]}).find_verdict() == (
        "inconclusive"
    )
    assert toy([0.5] * 3, needs="r2_", more={"r2_x": [0.9] * 3}).find_verdict() == "reproduced"


def test_a_row_says_how_often_a_perfect_copy_would_pass(toy):
    """Three values with a standard error of .02 and a tolerance of .02: Phi(1) = .84."""
    values, figure = [0.4654, 0.5, 0.5346], {"published": 0.5, "margin": 0.02, "chance": 0.3}
    both = toy(values, figure=figure)
    assert both.list_verdict() == ["Verdict: reproduced", "A perfect copy would pass: 68 %"]
    upward = toy(values, figure=figure | {"better": "higher"})
    assert upward.list_verdict()[1] == "A perfect copy would pass: 84 %"
    assert claims.pass_share([0.5, 0.5], 0.01, one_sided=True) == 1
    for changes in ({"run": QUICK}, {"data": "others"}):
        assert "copy" not in "".join(toy(values, figure=figure, **changes).list_verdict())
    assert "copy" not in "".join(toy([0.5], figure=figure).list_verdict())


def test_a_figure_may_come_from_a_table(toy, tmp_path):
    path = tmp_path / "results" / "toy.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("run,seed,update,a\nx,0,10,1\nx,0,50,3\nx,1,50,5\ny,0,50,9\n")
    figure = claims.Figure("a", "a", table="toy.csv", rows={"run": "x", "update": 50})
    claim = toy([0.5], run="", figures=[figure], data="others")
    assert claim.read_values(figure) == {0: 3, 1: 5} and claim.list_runs() == []
    assert claim.find_verdict() == "not comparable"
    assert claim.format_size() == "its own; 2 seeds, 50 % of the paper's updates"
    for rows in ({"run": "x"}, {"run": "z"}):  # two rows of a seed, and none
        with pytest.raises(ResultsError, match="once a seed"):
            claims.read_table_figure("toy.csv", rows, "a")
    with pytest.raises(ResultsError, match="absent"):
        claims.read_table_figure("toy.csv", {"run": "x", "update": 50}, "absent")


def test_two_rows_are_compared_by_the_interval_of_their_difference(toy, tmp_path):
    """Both means are uncertain by 1 here, and their difference, in pairs of seeds, by .02."""
    figure = claims.Figure("a minus b", "score", minus="other")
    claim = toy([0.1, 0.4, 0.9], figures=[figure])
    folder = tmp_path / "results" / "toy" / "data" / "full"
    metrics = records.read_json(folder / "metrics.json")
    metrics["other"] = {"by_seed": {"score": [0.0, 0.31, 0.79]}}
    metrics["protocol"]["weights"]["other"] = metrics["protocol"]["weights"]["toy"]
    records.write_json(folder / "metrics.json", metrics)
    assert show_ours(claim) == ["0.10 [0.08 to 0.12]"]
    assert pages.show_difference("toy/data/full", "toy", "score", "other") == show_ours(claim)[0]
    rows = [{"v": v, "seed": seed, "x": v * seed} for v in (1, 2) for seed in range(3)]
    records.write_csv(tmp_path / "results" / "toy.csv", rows)
    of_rows = claims.Figure("2 minus 1", "x", table="toy.csv", rows={"v": 2}, minus={"v": 1})
    (shown,) = show_ours(toy([0.5], figures=[of_rows]))
    assert shown == pages.show_difference_cell("toy.csv", "x", {"v": 1}, v=2)
    assert shown == "1.00 [−1.48 to 3.48]"


def test_runs_that_diverged_are_counted_with_those_that_did_not(toy, tmp_path):
    toy([0.5, 0.6])
    assert pages.show_ended("toy/data/full", "toy", "diverged") == "neither of two runs"
    ledger.add_row(tmp_path / "results", "toy/data/full/toy-seed2", "diverged")
    ledger.add_row(tmp_path / "results", "toy/data/full/toy-seed1", "diverged")  # It has a record.
    assert pages.show_ended("toy/data/full", "toy", "diverged") == "one of three runs"


def test_runs_are_counted_by_what_they_have_found(toy, tmp_path):
    """One run has a digit in each factor, the other both in the first; 15's rule names them."""
    path = tmp_path / "results" / "toy.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [
        f"{factor}_{digit}_{axis}"
        for factor in "01"
        for digit in ("orange", "blue")
        for axis in "xy"
    ]
    runs = ("0,50,1,1,0,0,0,0,1,1", "1,50,1,1,1,1,0,0,0,0")
    path.write_text("\n".join([",".join(["seed", "update", *names]), *runs]))
    figure = {"name": "grouping", "table": "toy.csv", "rows": {"update": 50}, "least": 1}
    digits = claims.Figure("digits", groupings=["digits"], **figure)
    claim = toy([0.5], run="", figures=[digits], data="others")
    assert claim.read_values(digits) == {0: 1, 1: 0}
    assert claim.format_figure(digits).startswith("1 of 2 runs")
    assert pages.show_groupings("toy.csv", 50, "digits", "all in one") == "two of two runs"


def test_a_number_that_rounds_to_zero_has_no_minus():
    assert claims.format_number(-0.004, 2) == "0.00" and claims.format_number(-0.006, 2) == "−0.01"


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
            content["published"]["by_seed"]["swap_nearest"][0] = 0.5  # also in README's sentence
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


def test_templates_show_figures_as_they_are(toy, monkeypatch):
    toy([0.9996, 0.9994], more={"low": [0.2, 0.2], "low_low": [0.1, None], "low_high": [0.3, None]})
    place = "toy/data/full", "toy"
    assert pages.show_percent(*place, "score") == "99.95 %"  # never all of them
    assert (
        pages.show_percent(*place, "low") == "20 %" and pages.show_mean(*place, "low", 1) == "0.2"
    )
    assert pages.show_limits(*place, "low") == "0.20 [0.10 to 0.30]"
    assert pages.show_states(*place, "score", 0.9995) == "one of two runs"
    assert pages.show_share("toy/data/full/toy", 400) == "25 %"
    with pytest.raises(UndefinedError):
        pages.fill("{{ absent }}", **pages.name_helpers([]))


def test_runs_that_lack_what_they_need_are_counted(toy):
    with_figures = toy([0.5], more={"r2_x": [0.9]}, needs="r2_")
    assert pages.count_needed([with_figures, with_figures]) == (1, 1)
    assert pages.count_needed([toy([0.5], needs="r2_"), toy([0.5])]) == (0, 1)


# ---- what the pages say


def test_reproduction_has_a_sentence_and_the_numbers_of_every_claim():
    """As it stands in the clone: a row of section 2 leads to a part of section 4."""
    page = (records.results().parent / "REPRODUCTION.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| [")]
    assert len(rows) == len(claims.read_claims())
    for claim, row in zip(claims.read_claims(), rows, strict=True):
        name, text, result, verdict = row[2:-2].split(" | ")
        link = re.fullmatch(r"\[(\w+)\]\(#(\w+)\)", name)
        assert link and link[1].lower() == link[2] and link[1][0] == claim.paper
        assert text == claim.claim and verdict == claim.find_verdict()
        assert (result == "We have no run.") == (not claim.result)
        assert claim.result or verdict == "not tried"
        part = page.partition(f"\n### {link[1]}\n\n")[2].partition("\n### ")[0]
        assert part.startswith(f"{claim.claim} ({claim.format_source()})")
        for _title, *values in claim.list_figures():
            assert all(f"| {value} |" in part for value in values if value)


def test_the_numbers_of_a_claim_have_no_empty_column(toy):
    figures = [
        claims.Figure("a", "score", published=0.4, unit="bits"),
        claims.Figure("b", "other", better="higher", next=0.3),
    ]
    text = pages.render_numbers("A1", toy([0.5] * 3, 70, figures=figures, remark="chance: 0.1"))
    assert text.splitlines() == [
        "### A1",
        "",
        "c (Table 1)",
        "",
        "- Verdict: not reproduced",
        "- Better than the next best: yes",
        "- A perfect copy would pass: 100 %",
        "- Our runs: its own; 3 seeds, 70 % of the paper's updates",
        "",
        "| figure | ours | paper | next best |",
        "|---|---|---|---|",
        "| a | 0.50 bits | 0.40 bits |  |",
        "| b | 0.50 |  | 0.30 |",
        "| chance | 0.1 |  |  |",
    ]
    alone = pages.render_numbers("A1", toy([0.5], figure={"bar": 0.4}))
    assert "| figure | ours |\n|---|---|\n| score | **0.50** |" in alone
    untried = pages.render_numbers("A1", toy([0.5], run="", size="–", figures=[]))
    assert untried.splitlines()[2:] == ["c (Table 1)", "", "- Verdict: not tried"]


def find_unsure(size, values):
    """Of our values of a claim, those that have neither an interval nor the seeds of two states.

    size: what the page says of our runs.
    """
    if "*one seed*" in size or not re.search(r"\bseeds\b", size):
        return []
    marks = r"±|\[.* to .*\]|of \d+ runs \(share"
    unsure = [value for value in values if value and not re.search(marks, value)]
    if any(re.search(r"^\d of \d runs", value) for value in values):
        unsure = [value for value in unsure if value.count(", ") < 2]
    return unsure


def test_every_value_has_an_interval_or_says_one_seed():
    for claim in claims.read_claims():
        # Percentiles of a constant, and chance, have none.
        rows = [row for row in claim.list_figures() if not re.search("percentile|chance", row[0])]
        assert find_unsure(claim.format_size(), [row[1] for row in rows]) == [], claim.claim
        # A claim with a run says of how many, and no other does.
        is_tried = claim.find_verdict() != "not tried"
        says = re.search(r"\d seeds|\*one seed\*", claim.format_size())
        assert is_tried == bool(says), claim.claim


def test_a_value_without_interval_is_found():
    assert find_unsure("3 seeds", ["0.50 ± 0.10", "0.30 [0.20 to 0.40]", ""]) == []
    assert find_unsure("3 seeds", ["0.50"]) == ["0.50"]
    assert find_unsure("2 seeds", ["2.72, 2.32"]) == ["2.72, 2.32"]
    states = "2 of 3 runs (share: 0.1 to 0.9)"
    assert find_unsure("3 seeds", [states, "0.5", "0.5, 0.5, 0.4 bits"]) == ["0.5"]
    assert find_unsure("*one seed*", ["0.50"]) == []


def test_no_mean_of_a_share_has_an_interval_beyond_all_or_nothing():
    """A share or R2 near 1 with an interval beyond 1 is the mean of two states."""
    for claim in claims.read_claims():
        for figure in claim.list_measured():
            values = [*claim.read_values(figure).values()]
            is_share = all(0 <= value <= 1 for value in values) and not figure.unit
            if is_share and len(values) > 2 and "±" in claim.format_figure(figure):
                found = claim.read_interval(figure)
                assert found.low >= -0.02 and found.high <= 1.02, (claim.claim, figure.title)


@pytest.mark.parametrize("page", ("README.md", "REPRODUCTION.md"))
def test_numbers_can_be_read_aloud(page):
    """ "0.57", never ".57"; thousands with a comma. README: its generated part."""
    text = pages.render_pages()[records.results().parent / page]
    if page == "README.md":
        (text,) = re.findall(pages.BLOCK, text, flags=re.DOTALL)
    assert re.findall(r"(?<![\w).`/-])\.\d\S*", text) == []
    assert re.findall(r"\b\d{1,3} \d{3}\b", text) == []


def test_readme_has_few_sentences_on_each_paper_and_no_table():
    text = pages.render_readme()
    (block,) = re.findall(pages.BLOCK, text, flags=re.DOTALL)
    lines = block.splitlines()
    assert [line[:13] for line in lines] == [f"- **Paper {letter}.*" for letter in "ABC"]
    assert "|" not in block
    for line in lines:
        assert len(re.findall(r"[.!?](?= |$)", line.partition("** ")[2])) <= 3, line
        assert re.search(r"\d+ of|\w+ of \w+ runs|one run|three seeds", line), line


def test_words_beside_rows_are_true():
    by_claim = {claim.claim: claim for claim in claims.read_claims()}
    actions, directions = (POSE_LABELS[name].tolist() for name in ("action", "direction"))
    motions = set(zip(actions, directions, strict=True))
    (unseen,) = [each for each in by_claim.values() if "unseen" in each.claim]
    assert (
        unseen.remark == f"chance, a guess among the {len(motions)} motions: {1 / len(motions):.2f}"
    )
    (oil,) = [each for each in by_claim.values() if "oil" in each.claim]
    assert "constant (baseline) in the mean" in oil.print_next()  # as the legend says
    (ward,) = [each for each in by_claim.values() if "ward" in each.claim]
    assert re.search(r"would pass: (7[5-9]|8[0-4]) %", ward.print_power())  # four in five
    by_name = {figure.name: ward.read_interval(figure) for figure in ward.figures}
    accuracy = by_name["icu_accuracy_authors_protocol"].mean
    assert by_name["icu_accuracy_mask"].low > accuracy  # so README's words


def test_what_we_found_is_true_where_it_names_no_number():
    """Of results/, as the sentences in claims.toml compare them."""
    rows, names = claims.read_claims(), {}
    for paper in "ABC":
        names |= pages.name_claims(rows, paper)

    def read(name):
        """The figures of a claim with their values by seed, and their intervals."""
        figures = names[name].list_measured()
        values = [[*names[name].read_values(figure).values()] for figure in figures]
        return figures, values, [names[name].read_interval(figure) for figure in figures]

    if "updates" in names["A1"].result:  # not yet the full run
        figures, values, _ = read("A1")
        assert max(values[0]) < figures[0].published and max(values[3]) < figures[3].published
    _, _, (_, cross, bound, _, other_cross, other_bound, *differences) = read("A5")
    assert cross.mean < other_cross.mean and bound.mean > other_bound.mean
    assert all(each.low < 0 < each.high for each in differences)
    early, late, *circling = read("A6")[2][8:]
    assert early.high < 0 < late.low and all(each.high < 0 for each in circling)
    _, _, (_, second, fourth, *_) = read("A7")
    assert fourth.mean >= second.mean
    assert all(each.low < 0 < each.high for each in read("B3")[2][4:])
    sharper, equal = read("B4")[2][3:]
    assert sharper.low > 0 and equal.low < 0 < equal.high
    short = "unordered/sprites_poses/quick/short"
    assert not ledger.find_ended(records.results(), short, "diverged")
    figures, _, intervals = read("C5")
    for figure, found in zip(figures[:2], intervals[:2], strict=True):
        assert found.low < figure.next < found.mean < figure.published < found.high
    figures, _, (error, right, constant, *_) = read("C6")
    assert figures[0].published < error.mean < right.mean and constant.mean < right.mean
    figures, _, (month, _) = read("C7")
    assert month.mean < figures[0].next < figures[0].published and figures[0].next < month.high
    _, _, (_, _, within, shuffled, _) = read("C8")
    assert shuffled.mean < within.mean < shuffled.mean + 0.05
    _, _, (static, dynamic) = read("C10")
    assert static.mean > dynamic.mean > 0.3  # error rates
