"""papers/c/ideas.py: notebook 32's model without its ideas, and what its swaps are asked."""

from functools import partial

import pytest
import torch
from unbraid import MovingDigits, load_digits
from unbraid.data import sprites
from unbraid_course.lessons import n32

from papers.c import ideas


@pytest.fixture(scope="module")
def clips():
    """Nine motions of twelve characters of the test split."""
    return sprites.load("test", 32).subset(slice(108))


class Perfect(torch.nn.Module):
    """A model whose static code is the number of the clip, and whose swaps are the true clips."""

    def __init__(self, clips, gives_motion=True):
        super().__init__()
        self.clips, self.frames, self.gives_motion = clips, clips.frames / 255, gives_motion

    def posterior(self, x, fill):
        same = (self.frames[:, None] == x[None]).flatten(2).all(2)  # (N, B)
        number = same.double().argmax(0)[:, None].float()  # (B, 1)
        path = number[:, None].expand(-1, x.shape[1], 1)
        return (number, torch.full_like(number, -20)), (path, None)

    def decode(self, s, d):
        who, what = s[:, 0].long(), d[:, 0, 0].long()
        labels = self.clips.labels
        if not self.gives_motion:
            what = who
        is_true = labels["character"][None] == labels["character"][who][:, None]
        is_true &= labels["motion"][None] == labels["motion"][what][:, None]
        return self.frames[is_true.double().argmax(1)]


def test_a_perfect_swap_is_right_by_all_measures(clips):
    torch.manual_seed(0)
    row = ideas.measure_sprites(Perfect(clips), clips)
    for name in ("motion", "direction", "action", "nearest", "of_four"):
        assert row[name] == 1, name
    assert row["appearance"] > 0.95


def test_a_model_that_returns_the_donor_has_its_looks_and_not_the_motion(clips):
    torch.manual_seed(0)
    row = ideas.measure_sprites(Perfect(clips, gives_motion=False), clips)
    assert row["direction"] == row["action"] == row["of_four"] == 0
    assert row["appearance"] > 0.95


@pytest.mark.parametrize("which", ideas.IDEAS)
def test_what_each_code_reads_is_what_the_ideas_say(which):
    model = n32.small_model(0)
    torch.manual_seed(0)
    x = torch.rand(2, 8, 3, 32, 32)
    plain_s, plain_d = model.eval().posterior(x, torch.zeros_like)
    ideas.leave_out(model.posterior, *ideas.IDEAS[which])
    with torch.no_grad():
        (s, _), (d, _) = model.posterior(x, torch.zeros_like)
        late = x.clone()
        late[:, 5] = 0  # a later frame, which s sees if it reads all
        (other, _), _ = model.posterior(late, torch.zeros_like)
        early = x.clone()
        early[:, 0] = 0  # the anchor, which d sees only through the subtraction
        _, (changed, _) = model.posterior(early, torch.zeros_like)
    one_element, subtract = ideas.IDEAS[which]
    alike = partial(torch.allclose, atol=1e-5)  # with and without gradients, last bits differ
    assert alike(s, other) == one_element
    assert alike(d, changed) == (not subtract)
    assert alike(s, plain_s[0]) == one_element and alike(d, plain_d[0]) == subtract


def test_a_run_has_a_row_and_circling_digits_are_measured(monkeypatch):
    monkeypatch.setattr(ideas, "CLIPS", 40)
    (row,) = ideas.train_one("circle, both ideas, both", 0, 3)
    assert 0 <= row["of_four"] <= 1 and 0 <= row["appearance"] <= 1 and row["update"] == 3
    draw = MovingDigits(load_digits("test"), 32, 8, **ideas.LAW)
    clips = draw(40, torch.Generator().manual_seed(4))
    which, _ = draw.draw(40, torch.Generator().manual_seed(4))
    assert torch.equal(
        draw.render(
            which, torch.stack([clips.labels["red_position"], clips.labels["green_position"]], 2)
        ),
        clips.frames,
    )


def test_tasks_are_all_combinations():
    names = {(task["run"], task["seed"]) for task in ideas.list_tasks("sprites")}
    assert len(names) == 4 * 4 * 5 and len(ideas.list_tasks("circle")) == 4 * 5
