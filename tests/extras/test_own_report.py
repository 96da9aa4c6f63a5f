"""Numbers and verdicts of a report on own data: known answers."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from unbraid.data.sequences import Sequences
from unbraid.measures.intervals import bootstrap_interval
from unbraid.measures.leakage import LeakageMatrix
from unbraid_extras import measure, own_data, own_labels, own_page, own_report, pages
from unbraid_extras.own_labels import AHEAD, BEHIND, EQUAL, MEAN_INPUTS, TOO_FEW, UNDECIDED

# ---- functions of sequences


def test_a_recoloured_clip_has_its_donors_mean_colour():
    frames, donors = torch.rand(5, 4, 3, 8, 8) * 0.2 + 0.4, torch.tensor([1, 2, 3, 4, 0])
    made = own_page.recolour(Sequences(frames), donors)
    torch.testing.assert_close(made.mean((1, 3, 4)), frames[donors].mean((1, 3, 4)))
    shape = made - made.mean((1, 3, 4), keepdim=True)
    torch.testing.assert_close(shape, frames - frames.mean((1, 3, 4), keepdim=True))


def test_what_was_not_observed_counts_in_no_mean():
    frames, mask = torch.full((2, 8, 3, 4, 4), 0.8), torch.ones(2, 8, dtype=torch.bool)
    mask[1, 2:] = False
    frames[1, 2:] = 0.0
    made = own_page.recolour(Sequences(frames, mask=mask), torch.tensor([1, 0]))
    torch.testing.assert_close(made, frames)
    frames = torch.tensor([[[1.0, 5.0], [3.0, 0.0]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    assert own_page.average(frames, mask).tolist() == [[2.0, 5.0]]


class Constant:
    """A model whose code of a step that does not exist is 9."""

    def encode(self, batch, noise=None):
        return {"dynamic": torch.where(batch.mask[..., None], batch.frames, 9.0)}

    def parameters(self):
        yield torch.zeros(1)


def test_the_code_of_a_step_that_does_not_exist_is_the_mean_of_the_others():
    mask = torch.tensor([[False, True, False, True, False]])
    part = Sequences(torch.tensor([[[0.0], [1.0], [0.0], [3.0], [0.0]]]), mask=mask)
    code = own_page.encode_observed(Constant(), part)["dynamic"]
    assert code.flatten().tolist() == [2.0, 1.0, 9.0, 3.0, 2.0]  # what is in a gap stays


@pytest.mark.parametrize(
    "is_shared, sources, expected",
    (
        (False, [0, 0, 1, 2], ([4, 4, 5, 5], "groups of owner")),  # the fewest
        (True, [0, 0, 1, 2], ([0, 0, 1, 2], "films")),
        (True, [3, 4, 1, 2], ([3, 4, 1, 2], "films")),
    ),
)
def test_groups_are_what_the_split_keeps_together(is_shared, sources, expected):
    """Films, or the classes of a label that no two splits share, if these are fewer."""
    owner, parts = torch.tensor([0, 0, 1, 1]), {}
    for number, name in enumerate(own_data.SPLITS):
        labels = {"owner": owner + 2 * number * (not is_shared), "hair": owner % 2}
        classes = {"owner": tuple("abcdef"), "hair": ("fair", "dark")}
        static = ("owner", "hair")
        parts[name] = Sequences(torch.zeros(4, 3, 2), labels, static, classes=classes)
    data = own_data.OwnData(parts, [], {}, "films", sources={"test": sources})
    groups, unit = own_page.find_groups(data, torch.arange(4))
    assert (groups.tolist(), unit) == expected


def test_a_label_may_be_called_file():
    packed = own_report.pack_arrays({"file": torch.arange(3), "x": torch.ones(2)})
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        assert arrays["file"].tolist() == [0, 1, 2] and arrays["x"].dtype == np.float32


# ---- figures


def test_a_gap_is_a_gap_and_lines_are_in_their_units_within_the_axes(tmp_path):
    """Pulses of 60 to 100 and temperatures near 37, each hour, one of them not taken."""
    lines = ["id,time,pulse (1/min),temperature"]
    for number in range(12):
        for hour in range(5):
            pulse = "" if hour == 2 else 60 + 10 * hour
            lines.append(f"{number},2026-01-01 0{hour}:00,{pulse},{37 + number / 20 + hour / 10}")
    (tmp_path / "vitals.csv").write_text("\n".join(lines))
    data = own_data.load(tmp_path / "vitals.csv")
    times, clock = own_page.read_clock(data, torch.arange(1))
    page = SimpleNamespace(data=data, test=data.splits["test"], times=times, clock=clock)
    part = page.test.subset([0])
    shown = {"observed": own_report.as_drawn(page, part.frames, part.observed)}
    shown["decoded"] = own_report.as_drawn(page, 9 * part.frames, torch.ones(1, 5, dtype=bool))
    figure = own_report.draw_lines(page, own_report.by_sequence(shown), times)
    pulse, temperature = figure.axes
    observed = pulse.lines[0].get_ydata()
    np.testing.assert_allclose(observed, [60, 70, np.nan, 90, 100], rtol=1e-6)
    assert pulse.lines[0].get_xdata()[1] == np.datetime64("2026-01-01T01:00")
    assert (pulse.get_ylabel(), temperature.get_xlabel()) == ("pulse (1/min)", "time (UTC)")
    for ax in (pulse, temperature):
        low, high = ax.get_ylim()
        values = np.concatenate([line.get_ydata() for line in ax.lines])
        assert low < np.nanmin(values) and np.nanmax(values) < high
    assert [text.get_text() for text in figure.legends[0].texts] == ["observed", "decoded"]


def test_the_numbers_of_a_matrix_stay_in_their_cells_and_its_names_apart():
    names = ("the colour of a coat, as seen by others", "another_name_of_a_single_long_word")
    limits = np.full((2, 2, 2), -0.88)
    matrix = LeakageMatrix(np.eye(2), limits, np.ones((2, 2)), names, names, "linear")
    figure = pages.plot_matrix(matrix)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    cell = ax.get_window_extent().width / 2
    assert all(text.get_window_extent().width < cell for text in ax.texts)
    first, second = (label.get_window_extent() for label in ax.get_xticklabels())
    assert first.x1 < second.x0


# ---- codes compared with linear models of inputs


GROUPS = np.arange(40)
BASE = np.ones(40)
EASY = np.arange(40) % 2 * 1.0  # losses of a probe that is right on every second sequence
WORSE = np.maximum(EASY, np.arange(40) % 4 == 0)  # It errs on ten sequences more.
RIGHT, FEW = np.zeros(40), (np.arange(40) < 3) * 1.0
CLIPS = np.zeros(400), np.repeat(FEW, 10), np.ones(400)
FIVE, SIX = ((np.arange(40) < wrong) * 1.0 for wrong in (5, 6))


def perfect(count):
    """A perfect probe, one that is never right, the constant, and groups, on so many sequences."""
    return np.zeros(count), np.ones(count), np.ones(count), np.arange(count)


def compare(first, second, base=BASE, groups=GROUPS):
    return own_labels.compare_losses(first[:, None], second[:, None], base, groups)


KNOWN = {  # losses of both probes and of the constant, groups, and the word
    "equal losses": (EASY, EASY, BASE, GROUPS, EQUAL),
    "it errs less": (EASY, WORSE, BASE, GROUPS, AHEAD),
    "it errs more": (WORSE, EASY, BASE, GROUPS, BEHIND),
    "three films of forty differ": (RIGHT, FEW, BASE, GROUPS, UNDECIDED),
    "ten clips of a film count as one": (*CLIPS, np.repeat(GROUPS, 10), UNDECIDED),
    "ten clips of ten films": (*CLIPS, np.arange(400), AHEAD),
    # All draws agree that a perfect probe is one better than the constant, even if one errs.
    "a sign test needs more than five": (RIGHT, FIVE, FIVE, GROUPS, UNDECIDED),
    "a sign test reaches 5 % with six": (RIGHT, SIX, SIX, GROUPS, AHEAD),
    "too few groups": (*perfect(own_labels.FEWEST_GROUPS - 1), TOO_FEW),
    "enough groups": (*perfect(own_labels.FEWEST_GROUPS), AHEAD),
}


@pytest.mark.parametrize("case", KNOWN)
def test_losses_of_known_answer_are_compared(case):
    *losses, groups, word = KNOWN[case]
    found = compare(*losses, groups)
    assert (found.word, found.difference.n) == (word, len(np.unique(groups)))


def test_a_difference_has_limits_and_a_sign():
    gain, loss = compare(EASY, WORSE).difference, compare(WORSE, EASY).difference
    assert gain.mean == -loss.mean == 0.25 and 0 < gain.low < 0.25 < gain.high


def test_a_paired_difference_is_decided_though_the_intervals_overlap():
    """Both probes fail on the same hard sequences, which makes both skills uncertain."""
    random = np.random.default_rng(0)
    hard = random.exponential(size=40)
    ours, theirs = 0.5 * hard, 0.5 * hard + 0.05 + 0.02 * random.random(40)
    limits = [bootstrap_interval(1 - losses) for losses in (ours, theirs)]
    assert limits[0].low < limits[1].mean < limits[0].mean < limits[1].high
    assert compare(ours, theirs).word == AHEAD
    assert compare(ours, random.permutation(theirs)).word == UNDECIDED


def test_of_few_skewed_groups_the_bootstrap_alone_does_not_decide():
    """Twenty squared errors of two equal probes, of a draw in which the bootstrap is mistaken."""
    ours, theirs = np.random.default_rng(6).normal(size=(2, 20)) ** 2
    found = compare(ours, theirs, 2 * np.ones(20), np.arange(20))
    assert found.difference.high < 0 and found.word == UNDECIDED


def test_swaps_are_compared_with_the_best_of_the_other_rows():
    right, wrong = np.zeros(40), np.ones(40)

    def say(*losses, groups=GROUPS):
        return own_labels.compare_swaps(np.stack(losses), np.ones(40), groups, "films")

    ahead = say(right, wrong, EASY)
    assert "more often than" in ahead and "+0.50" in ahead and "40 test films" in ahead
    assert "less often than" in say(EASY, wrong, right)
    assert "as often as" in say(EASY, wrong, EASY)
    assert say(EASY, 1 - EASY).startswith("It is open whether")
    assert say(right, wrong, EASY, groups=GROUPS // 4).startswith("Nothing can be concluded")


@pytest.mark.parametrize("code, inputs, word", ((0.1, 3.0, AHEAD), (3.0, 0.1, BEHIND)))
def test_codes_and_inputs_of_known_noise_are_ranked(code, inputs, word):
    """Values of a label, seen through noise."""
    random = np.random.default_rng(1)
    hair = random.normal(size=300)
    static, values = ((hair + noise * random.normal(size=300))[:, None] for noise in (code, inputs))
    pair = {"static": static}, {MEAN_INPUTS: values}
    probed = own_labels.probe(*pair, {"hair": hair}, "averaged", np.arange(300) >= 200)
    found = own_labels.compare_with_inputs(probed, "hair", ("static",), np.arange(100), "films")
    assert found.startswith("hair: ") and word in found and "100 test films" in found


def test_the_losses_are_those_behind_the_skills_of_the_matrix():
    random = np.random.default_rng(0)
    hair, turn = random.integers(3, size=90), random.normal(size=(90, 4))
    static = np.eye(3)[hair] + random.normal(size=(90, 3))
    steps = turn[..., None] + random.normal(size=(90, 4, 2))
    held_out = np.arange(90) >= 60
    for factors, rows, pooling in (
        ({"hair": hair}, {"static": static}, "averaged"),
        ({"turn": turn}, {"dynamic": steps}, "frames"),
    ):
        inputs = {MEAN_INPUTS: random.normal(size=next(iter(rows.values())).shape)}
        probed = own_labels.probe(rows, inputs, factors, pooling, held_out)
        for column, name in enumerate(factors):
            skills = 1 - probed.losses[name].sum(1) / probed.constant[name].sum()
            np.testing.assert_allclose(np.maximum(skills, -1), probed.matrix.value[:, column])


def test_labels_of_steps_are_read_where_all_sequences_have_a_step():
    """A code that holds the last label alone would be right at each step that is filled in."""
    generator = torch.Generator().manual_seed(0)
    splits, codes = {}, {}
    for name in ("train", "test"):
        moves = torch.randint(3, (200, 10), generator=generator)
        moves[1:, 4:] = moves[1:, 3:4]  # All but one sequence end after four steps.
        mask = torch.ones(200, 10, dtype=torch.bool)
        mask[1:, 4:] = False
        classes = {"move": ("a", "b", "c")}
        labels = {"labels": {"move": moves}, "dynamic": ("move",), "classes": classes}
        splits[name] = Sequences(torch.rand(200, 10, 2), mask=mask, **labels)
        codes[name] = {"static": torch.nn.functional.one_hot(moves[:, 3], 3).float()}
    page = SimpleNamespace(parts=splits, test=splits["test"], codes=codes, model=None, findings=[])
    page.common = own_page.Page.common.fget(page)
    assert own_labels.find_obstacle(page, "move") == ""
    (probed,) = own_labels.probe_labels(page, ["move"])
    assert "4 of 10 steps" in page.findings[0]
    assert 0.1 < probed.matrix["static", "move"] < 0.35  # One step of four is right, not seven.
    splits["train"].mask[0] = ~splits["train"].mask[1]
    page.common = own_page.Page.common.fget(page)
    assert "no step" in own_labels.find_obstacle(page, "move")


def test_the_length_of_a_sequence_is_no_leak():
    """Noise in series of two lengths, and a label that is the length."""
    generator = torch.Generator().manual_seed(0)
    splits, codes = {}, {}
    for name in ("train", "test"):
        visit = torch.arange(120) % 2
        mask = torch.ones(120, 12, dtype=torch.bool)
        mask[visit == 0, 6:] = False
        labels = {"labels": {"visit": visit}, "static": ("visit",)}
        values = torch.randn(120, 12, 2, generator=generator) * mask[..., None]
        splits[name] = Sequences(values, mask=mask, classes={"visit": ("a", "b")}, **labels)
        codes[name] = {"dynamic": values}
    page = make_page(120, True)
    page.parts, page.test, page.codes = splits, splits["test"], codes
    page.own = {"visit": ()}
    (probed,) = own_labels.probe_labels(page, ["visit"])
    assert probed.matrix[own_labels.WHICH_STEPS, "visit"] == 1
    own_labels.conclude(page, [probed], [])
    assert not page.verdict and page.findings[-1].startswith("visit: which steps")


# ---- the verdict


def make_page(groups, has_static):
    """What `conclude` reads of a page, with so many test films; codes of steps, or both kinds."""
    page = SimpleNamespace(groups=np.arange(groups), unit="films", verdict=[], findings=[])
    page.model = SimpleNamespace(code_names=("static", "dynamic"))
    page.data = SimpleNamespace(kind="films")
    labels = dict.fromkeys(("hair", "side", "coat"), np.zeros(4))
    codes = {"static": np.zeros((4, 2)), "dynamic": np.zeros((4, 3, 2))}
    kept = codes if has_static else {"dynamic": codes["dynamic"]}
    page.own = measure.assign_codes(kept, labels, ())
    return page


def make_probed(value, groups):
    """Skills of both codes and of inputs for hair and side; losses that agree with them."""
    rows = ("static", "dynamic", MEAN_INPUTS)
    p_value = np.where(value > 0.3, 0.0005, 1.0)
    limits = np.stack([value - 0.1, value + 0.1], -1)
    matrix = LeakageMatrix(value, limits, p_value, rows, ("hair", "side"), "linear")
    losses = {}
    for name, skills in zip(matrix.columns, value.T, strict=True):
        losses[name] = np.repeat(1 - skills[:, None], groups, 1)
    return own_labels.Probed(matrix, losses, dict.fromkeys(losses, np.ones(groups)))


@pytest.mark.parametrize(
    "static, dynamic, has_static, films, unprobed, verdict",
    (
        ([0.9, 0.9], [0.0, 0.6], True, 30, [], "Leak: side in dynamic."),
        ([0.9, 0.9], [0.0, 0.0], True, 30, [], "No leak was found"),
        ([0.0, 0.9], [0.0, 0.0], True, 30, [], "No leak was found. Lost: .*hair"),
        ([0.9, 0.9], [0.9, 0.9], True, 30, [], "Mixed .rotated."),
        ([0.0, 0.0], [0.0, 0.0], True, 30, [], "Useless: .*any label"),
        ([0.0, 0.0], [0.0, 0.0], True, 30, ["coat"], "Useless: .*hair, side .*coat"),
        ([0.9, 0.9], [0.0, 0.0], True, 30, ["coat"], "No leak .*coat"),
        ([0.0, 0.0], [0.0, 0.6], False, 30, [], "No code is meant .*side from dynamic"),
        ([0.9, 0.9], [0.0, 0.6], True, 10, [], "Cannot be concluded: too few test films"),
    ),
)
def test_the_verdict_follows_from_what_probes_read(
    static, dynamic, has_static, films, unprobed, verdict
):
    page = make_page(films, has_static)
    probed = make_probed(np.array([static, dynamic, [0.5, 0.5]]), films)
    own_labels.conclude(page, [probed], unprobed)
    assert len(page.verdict) == 1 and re.match(verdict, page.verdict[0])
    assert ("coat" in page.verdict[0]) == bool(unprobed)
    is_open = [TOO_FEW in sentence for sentence in page.findings]
    assert is_open == [films < own_labels.FEWEST_GROUPS] * 2
