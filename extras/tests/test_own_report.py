"""Numbers and verdicts of a report on own data: known answers."""

import io
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from unbraid.data.sequences import Sequences
from unbraid.measures.leakage import LeakageMatrix
from unbraid_extras import measure, own_data, own_labels, own_page, own_report, pages
from unbraid_extras.own_labels import MEAN_INPUTS

# ---- functions of sequences


def test_what_was_not_observed_counts_in_no_mean():
    frames = torch.tensor([[[1.0, 5.0], [3.0, 0.0]]])
    mask = torch.tensor([[[True, True], [True, False]]])
    assert own_page.average(frames, mask).tolist() == [[2.0, 5.0]]


class Constant(torch.nn.Module):
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


@pytest.mark.parametrize("group", (None, "who"))
def test_groups_are_what_the_split_keeps_together(tmp_path, group):
    """Series, of which each has two clips, or the persons of four series each."""
    x = np.random.default_rng(0).random((40, 6, 2))
    np.savez(tmp_path / "a.npz", x=x, who=np.arange(40) // 4)
    data = own_data.load(tmp_path / "a.npz", group=group, length=3)
    assert data.unit == ("groups of who" if group else "rows")
    for name, sources in data.sources.items():
        owner = data.splits[name].labels["who"].tolist()
        rows = [int(row.partition(" ")[0]) for row in data.names[name]]
        assert sources == (owner if group else rows) and len(sources) > len(set(sources))


def test_a_label_may_be_called_file():
    with np.load(io.BytesIO(own_report.pack_arrays({"file": torch.arange(3)}))) as arrays:
        assert arrays["file"].tolist() == [0, 1, 2]


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
    figure = own_report.draw_lines(page, shown)
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
    with plt.rc_context({"text.usetex": True, "axes.facecolor": "black"}):  # of a reader's own
        other = pages.plot_matrix(matrix).axes[0]
    assert not other.title.get_usetex() and other.get_facecolor() == ax.get_facecolor()


# ---- codes compared with linear models of inputs


GROUPS, NONE = np.arange(40), np.zeros(40)
EASY = np.arange(40) % 2 * 1.0  # losses of a probe that is right on every second sequence
WORSE = np.maximum(EASY, np.arange(40) % 4 == 0)  # It errs on ten sequences more.
FIVE, SIX = ((np.arange(40) < wrong) * 1.0 for wrong in (5, 6))
CLIPS = np.zeros(400), np.repeat(FIVE, 10)
FEWEST = own_labels.FEWEST_TESTED


def compare(first, second, groups=GROUPS):
    return own_labels.compare_losses(first[:, None], second[:, None], groups)


KNOWN = {  # losses of both probes, groups, and the word
    "equal losses": (EASY, EASY, GROUPS, "open"),
    "it errs less": (EASY, WORSE, GROUPS, "more"),
    "it errs more": (WORSE, EASY, GROUPS, "less"),
    "a sign test needs more than five": (NONE, FIVE, GROUPS, "open"),
    "a sign test reaches 5 % with six": (NONE, SIX, GROUPS, "more"),
    "ten clips of a film count as one": (*CLIPS, np.repeat(GROUPS, 10), "open"),
    "ten clips of ten films": (*CLIPS, np.arange(400), "more"),
    "too few groups": (np.zeros(FEWEST - 1), np.ones(FEWEST - 1), np.arange(FEWEST - 1), "open"),
    "enough groups": (np.zeros(FEWEST), np.ones(FEWEST), np.arange(FEWEST), "more"),
}


@pytest.mark.parametrize("case", KNOWN)
def test_losses_of_known_answer_are_compared(case):
    first, second, groups, word = KNOWN[case]
    found = compare(first, second, groups)
    assert (found.word, found.count) == (word, len(np.unique(groups)))


def test_a_difference_has_a_p_value_that_can_be_counted():
    """Of the signs of six equal gains two of 64 patterns give as large a sum."""
    assert compare(NONE, SIX).p_value == pytest.approx(2 / 64, abs=0.006)


@pytest.mark.parametrize("code, inputs, word", ((0.1, 3.0, "more than"), (3.0, 0.1, "less than")))
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
    for factor, code, pooling in ((hair, static, "averaged"), (turn, steps, "frames")):
        inputs = {MEAN_INPUTS: random.normal(size=code.shape)}
        probed = own_labels.probe({"c": code}, inputs, {"f": factor}, pooling, np.arange(90) >= 60)
        skills = 1 - probed.losses["f"].sum(1) / probed.constant["f"].sum()
        np.testing.assert_allclose(np.maximum(skills, -1), probed.matrix.value[:, 0])


def test_labels_of_steps_are_read_where_all_sequences_have_a_step():
    """A code that holds the last label alone would be right at each step that is filled in."""
    generator = torch.Generator().manual_seed(0)
    splits, codes, known = {}, {}, {"dynamic": ("move",), "classes": {"move": ("a", "b", "c")}}
    for name in ("train", "test"):
        moves = torch.randint(3, (200, 10), generator=generator)
        moves[1:, 4:] = moves[1:, 3:4]  # All but one sequence end after four steps.
        mask = torch.ones(200, 10, dtype=torch.bool)
        mask[1:, 4:] = False
        splits[name] = Sequences(torch.rand(200, 10, 2), {"move": moves}, mask=mask, **known)
        codes[name] = {"static": torch.nn.functional.one_hot(moves[:, 3], 3).float()}
    page = SimpleNamespace(parts=splits, test=splits["test"], codes=codes, model=None, findings=[])
    page.common = own_page.Page.common.fget(page)
    (probed,) = own_labels.probe_labels(page, ["move"])
    assert "4 of 10 steps" in page.findings[0] and not own_labels.find_obstacle(page, "move")
    assert 0.1 < probed.matrix["static", "move"] < 0.35  # One step of four is right, not seven.
    page.common = torch.zeros(10, dtype=torch.bool)
    assert "none" in own_labels.find_obstacle(page, "move")


# ---- the verdict


def make_page(groups, has_static):
    """What `conclude` reads of a page, with so many test films; codes of steps, or both kinds."""
    page = SimpleNamespace(
        groups={"test": np.arange(groups)}, unit="films", verdict=[], findings=[]
    )
    page.model = SimpleNamespace(code_names=("static", "dynamic"))
    labels = dict.fromkeys(("hair", "side"), np.zeros(4))
    codes = {"static": np.zeros((4, 2)), "dynamic": np.zeros((4, 3, 2))}
    kept = codes if has_static else {"dynamic": codes["dynamic"]}
    page.own = measure.assign_codes(kept, labels, ())
    page.codes, page.test = {"test": kept}, SimpleNamespace(labels=labels)
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
    "static, dynamic, has_static, films, verdict",
    (
        ([0.9, 0.9], [0.0, 0.6], True, 30, "Leak: side in dynamic."),
        ([0.9, 0.9], [0.0, 0.0], True, 30, "No leak was found"),
        ([0.0, 0.9], [0.0, 0.0], True, 30, "No leak was found. Lost: .*hair"),
        ([0.9, 0.9], [0.9, 0.9], True, 30, "Mixed .rotated."),
        ([0.0, 0.0], [0.0, 0.0], True, 30, "Useless: .*hair, side"),
        ([0.0, 0.0], [0.0, 0.6], False, 30, "No code is meant .*side from dynamic"),
        ([0.9, 0.9], [0.0, 0.6], True, 10, "Cannot be concluded: too few test films"),
    ),
)
def test_the_verdict_follows_from_what_probes_read(static, dynamic, has_static, films, verdict):
    page = make_page(films, has_static)
    probed = make_probed(np.array([static, dynamic, [0.5, 0.5]]), films)
    own_labels.conclude(page, [probed])
    assert len(page.verdict) == 1 and re.match(verdict, page.verdict[0])
    assert len(page.findings) == 2


def test_the_command_that_measures_what_was_written_is_said(tmp_path):
    film, data = np.arange(60) // 2, own_data.OwnData({"test": range(60)}, [], {}, unit="films")
    assert "--labels" in own_report.suggest_measure(data, tmp_path, ["kind"])
    np.savez(tmp_path / "codes.npz", static=np.random.default_rng(0).normal(size=(60, 2)))
    np.savez(tmp_path / "factors.npz", kind=np.arange(60) % 3, films=film)
    said = own_report.suggest_measure(data, tmp_path, ["kind", "left out"])
    assert said.endswith("factors.npz --dynamic kind --group films")
    assert "codes.npz has 60 test sequences; to" in said
    data.splits["test"] = range(9)  # the rest is of the training split
    said = own_report.suggest_measure(data, tmp_path, ["kind"])
    assert "codes.npz has 60 sequences, training and test, as a verdict needs 100 films; to" in said
    np.savez(tmp_path / "codes.npz", static=np.random.default_rng(0).normal(size=(900, 2)))
    np.savez(tmp_path / "factors.npz", kind=np.arange(900) % 3, films=np.arange(900) // 40)
    data.splits["test"] = range(1000)  # of which 300 are taken, with 600 of the training split
    assert "900 sequences, training and test" in own_report.suggest_measure(data, tmp_path, [])
