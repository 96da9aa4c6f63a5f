"""Numbers and verdicts of a report on own data: known answers."""

import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from unbraid.data.sequences import Sequences
from unbraid_own import own_data, own_page, own_report

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


# ---- the verdict


def test_the_command_that_measures_what_was_written_is_said(tmp_path):
    film, data = np.arange(60) // 2, own_data.OwnData({"test": range(60)}, [], {}, unit="films")
    assert "--labels" in own_report.suggest_measure(data, tmp_path, ["kind"])
    np.savez(tmp_path / "codes.npz", static=np.random.default_rng(0).normal(size=(60, 2)))
    np.savez(tmp_path / "factors.npz", kind=np.arange(60) % 3, films=film)
    said = own_report.suggest_measure(data, tmp_path, ["kind", "left out"])
    assert "factors.npz --dynamic kind --group films --html" in said
    assert "codes.npz has 60 test sequences; to" in said
    data.splits["test"] = range(9)  # the rest is of the other splits
    said = own_report.suggest_measure(data, tmp_path, ["left out"])
    assert "codes.npz has 60 sequences of all splits, as a verdict needs 80 films; to" in said
    assert "factors.npz --dynamic '' --group films --html" in said


def test_what_is_advised_has_its_minutes():
    for best, left, said in (
        (
            80,
            0.5,
            "at update 80 of 96, and 50% .* --steps 192 .* from there, in about 4.8 min more",
        ),
        (60, 0.5, "promise little .*best at update 60 of 96.*50% .* bring more"),
        (95, 1.2, "promise little .*120% .* bring more"),
        (95, 0.04, "^$"),
        (60, 0.2, "^$"),
    ):
        record = {"updates": 96, "best_update": best, "seconds": 288}
        advice = own_report.advise(SimpleNamespace(left=left), record)
        assert re.search(said, " ".join(advice))
