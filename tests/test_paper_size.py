"""The full branch of notebooks 12, 22 and 32: it trains, resumes, reloads, and ends in a verdict.

Two updates, with tiny batches; with UNBRAID_PAPER_SIZE set, as in a weekly job, with the paper's.
"""

import inspect
import json
import os
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from helpers import NOTEBOOKS, seeded
from readers import run_lesson
from torch import nn
from unbraid import MovingDigits, checkpoints, load_digits, load_judge, paper_size
from unbraid.data import sprites
from unbraid.figures import plots

from papers import claims

IS_PAPERS = bool(os.environ.get("UNBRAID_PAPER_SIZE"))
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TINY = {"12": {"batch": 2}, "22": {"batch": 1, "count": 2}, "32": {"batch": 2}}
each_page = pytest.mark.parametrize("number", TINY)
pytestmark = pytest.mark.timeout(3000 if IS_PAPERS else 300)


class Counted:
    """A tensor of sequences that counts how often a batch is drawn of it, as a film does."""

    def __init__(self, frames):
        self.frames, self.draws = frames, 0

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, rows):
        self.draws += 1
        return self.frames[rows]

    def __call__(self, batch, generator):
        rows = torch.randint(len(self), (batch,), generator=generator)
        return SimpleNamespace(frames=self[rows] / 255)


def make_data(number):
    """A few sequences of the paper's size, without a file: (M, T, 3, 64, 64) bytes."""
    shape = {"12": (9, 5), "22": (9, 178), "32": (9, 8)}[number]
    return Counted(torch.randint(256, (*shape, 3, 64, 64), generator=seeded(1)).byte())


def set_recipe(lesson, number, updates):
    """The arguments of a training by the page's recipe, so long."""
    tiny = {} if IS_PAPERS else TINY[number]
    return lesson.RECIPE | tiny | {"updates": updates}


def train_branch(lesson, number, path, updates):
    """The model after so many updates of the full branch, and how many were made in this call."""
    data = make_data(number)
    recipe = set_recipe(lesson, number, updates) | {"device": DEVICE}
    lesson.train_paper_size(path, data, seed=3, **recipe)
    return lesson.build_paper_size(0).to(DEVICE), data.draws


@each_page
def test_the_full_branch_trains_stops_goes_on_and_is_reloaded(number, tmp_path):
    lesson, path = run_lesson(number), tmp_path / "checkpoint"
    states = []
    for updates in (1, 2):
        model, made = train_branch(lesson, number, path, updates)
        assert made == 1 and checkpoints.load(path, model=model) == updates
        states.append(model.state_dict())
    changed = [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
    assert changed and all(weight.isfinite().all() for weight in states[1].values())


def train_loop(lesson, number, path, updates, device="cpu"):
    """The same of the page's loop and its small model."""
    data = make_data(number)
    data.frames = data.frames[..., ::2, ::2]
    if number == "12":
        model = lesson.small_model(0.1, 0).to(device)
        loop = lesson.train(model, data, updates, 0, path=path)
    elif number == "22":
        model = lesson.small_model(0).to(device)
        draw = partial(lesson.draw_sets, data, torch.ones(9, 178))
        loop = lesson.train(model, updates, 0, draw=draw, path=path)
    else:
        model = lesson.small_model(0).to(device)
        loop = lesson.train(model, data, updates, lesson.released, 0, path=path)
    assert sum(1 for _ in loop) == data.draws
    return model.state_dict(), data.draws


def find_restart(lesson, number, folder):
    """What is wrong with a training that is stopped after an update: its number of updates, or
    weights that are not those of a training without a stop."""
    whole, _ = train_loop(lesson, number, None, 3)
    train_loop(lesson, number, folder / "parts", 1)
    parts, made = train_loop(lesson, number, folder / "parts", 3)
    if made != 2:
        return f"{made} updates where two were left"
    names = [name for name in whole if not torch.allclose(whole[name], parts[name], 1e-4, 1e-6)]
    return ", ".join(names)


@each_page
def test_a_loop_that_was_stopped_ends_in_the_same_weights(number, tmp_path):
    assert find_restart(run_lesson(number), number, tmp_path) == ""


@pytest.mark.parametrize(
    "old, new",
    (
        ("resume(path, updates, **parts)", "range(1, updates + 1)"),
        ('"optimizer": optimizer, ', ""),
        (', "generator": generator', ""),
    ),
)
def test_a_loop_that_does_not_resume_is_seen(old, new, tmp_path):
    assert find_restart(run_lesson("12", old, new), "12", tmp_path)


def test_the_noise_of_pytorch_itself_goes_on_and_an_unfinished_file_is_no_checkpoint(
    tmp_path, monkeypatch
):
    path, numbers, part = tmp_path / "checkpoint", [], torch.nn.Linear(1, 1)
    for update in checkpoints.resume(path, 4, every=2, part=part):
        numbers.append(torch.rand(1).item())
        if update == 3:
            break  # as if it were stopped here: update 3 is not written
    monkeypatch.setattr(os, "replace", None)
    with pytest.raises(TypeError):  # in the middle of writing
        checkpoints.save(path, 3)
    monkeypatch.undo()
    torch.rand(5)
    again = [torch.rand(1).item() for _ in checkpoints.resume(path, 4, part=part)]
    assert again[0] == numbers[2] and len(again) == 2 and len(os.listdir(tmp_path)) == 1
    assert checkpoints.load(path) == 4 and [*checkpoints.resume(path, 4, part=part)] == []
    assert [*checkpoints.resume(None, 2)] == [1, 2]


# ---- devices, without a GPU


@pytest.fixture
def fake_gpu(fake_cuda, monkeypatch):
    """In place of values that a page reads: nothing."""
    monkeypatch.setattr(torch.Tensor, "item", lambda values: 0.0)
    monkeypatch.setattr(torch.Tensor, "tolist", lambda values: [0.0] * len(values))
    # The pairs of N frames are found by values, of which there are none.
    pairs = torch.tensor([[0, 1], [1, 0]])
    monkeypatch.setattr(torch.Tensor, "nonzero", lambda mask: pairs)
    return fake_cuda


def run_loop(lesson, number, device):
    """Two updates of the page's own loop, with its small model."""
    lesson.N = 2
    train_loop(lesson, number, None, 2, device)


def run_branch(lesson, number, device):
    """Two updates of its full branch, in 16 bits, without a checkpoint, which needs values."""
    lesson.resume = lambda path, updates, **parts: range(1, updates + 1)
    recipe = lesson.RECIPE | TINY[number] | {"updates": 2, "device": device}
    lesson.train_paper_size("checkpoint", make_data(number), seed=3, **recipe)


@each_page
@pytest.mark.parametrize("run", (run_loop, run_branch))
def test_all_tensors_of_an_update_are_on_the_gpu(number, run, fake_gpu):
    run(run_lesson(number), number, fake_gpu)


@pytest.mark.parametrize("run", (run_loop, run_branch))
@pytest.mark.parametrize(
    "number, old, new",
    (
        ("12", "randn(size, generator=generator).to(device)", "randn(size, generator=generator)"),
        ("22", "D, generator=generator).to(device)", "D, generator=generator)"),
        ("32", "clips[rows].to(device)", "clips[rows]"),
        (
            "32",
            "q[0] + (q[1] / 2).exp() * torch.randn_like(q[0])",
            "q[0] + torch.randn(q[0].shape)",
        ),
    ),
)
def test_a_tensor_that_stays_on_the_cpu_is_seen(number, old, new, run, fake_gpu):
    with pytest.raises(RuntimeError, match="two devices|should be the same"):
        run(run_lesson(number, old, new), number, fake_gpu)


# ---- the end: reload, measure, judge


SOURCES = {  # of the claim in claims.toml that a page judges
    "12": "Table 2, MNIST, factored",
    "22": "figure of Sprites",
    "32": "figures of swaps",
}
ENDS = {  # figures of claims.toml, by their titles on the page
    "own next value (bits)": "mi_same_bits",
    "cross divided by own": "cross_to_same",
    "bound (nats per frame)": "elbo_per_frame",
    "same motion at a point": "grid_coherence",
    "own trousers on the plane": "grid_trousers",
    "own skin on the plane": "grid_skin",
    "direction with d": "swap_differing_motion_direction",
    "true clip": "swap_nearest",
}
LEFT_OUT = {"32": {f"swap_differing_{name}" for name in ("skin", "trousers", "top", "hair")}}


def judge(lesson, number, path, updates):
    """What the full branch shows of the model that it starts from, as if after so many updates."""
    checkpoints.save(path, updates, model=lesson.build_paper_size(0))
    if number == "12":
        clips = MovingDigits(load_digits("test"))(40, seeded(7))
        return lesson.judge_paper_size(path, clips, DEVICE)
    test = sprites.load_poses("test", image_size=32)
    if number == "22":
        classes = load_judge("sprites_poses", test.classes).classes
        visible = sprites.visible_attributes(test.classes["pose"])

        def name_one(frames):  # one motion for all, and what is worn
            return {name: torch.zeros(len(frames), dtype=torch.long) for name in classes}

        lesson.FOUR, test = [0, 1, 0, 1], test.subset(slice(2))
        large = test.frames.repeat_interleave(2, -1).repeat_interleave(2, -2)
        test = replace(test, frames=large)
        return lesson.judge_paper_size(path, test, name_one, visible, DEVICE)
    clips = sprites.load("test", image_size=64).subset(slice(0, 99, 4))
    return lesson.judge_paper_size(path, clips, DEVICE)


@each_page
def test_the_end_judges_by_the_numbers_of_claims(number, tmp_path):
    lesson, given = run_lesson(number), []
    lesson.print_verdict = lambda *arguments, **named: given.append((*arguments, named))
    shown = judge(lesson, number, tmp_path / "checkpoint", lesson.RECIPE["updates"] // 2)
    if number != "32":
        assert shown.shape == ({"12": (3, 5), "22": (4, 9)}[number] + (3, 64, 64))
    ((_, rows, share, options),) = given
    (claim,) = (each for each in claims.read_claims().values() if each.source == SOURCES[number])
    judged = {each.name: each for each in claim.figures if each.is_judged()}
    assert share == 0.5 and lesson.RECIPE["updates"] == claim.length
    assert {ENDS[row.title] for row in rows} == judged.keys() - LEFT_OUT.get(number, set())
    for row in rows:
        figure, near = judged[ENDS[row.title]], 0.0 if options else paper_size.NEAR
        near = near * abs(row.wanted) if row.tolerance is None else row.tolerance
        assert bool(options) == (figure.published is None)
        for value in row.wanted * torch.tensor([0.9, 0.96, 1.0, 1.04, 1.1]).double():
            reached = paper_size.is_reached(value.item(), row.wanted, row.better, near)
            assert reached == figure.is_reached(value.item(), 0.0), row.title


@pytest.mark.parametrize(
    "rows, share, by_bar, verdict",
    (
        ([(4.6, 4.61, ""), (0.1, 0.163, "lower")], 1.0, False, "reproduced once"),
        ([(4.6, 4.61, ""), (0.2, 0.163, "lower")], 1.0, False, "in part"),
        ([(5.5, 4.61, "")], 1.0, False, "not reproduced"),
        ([(4.6, 4.61, "")], 0.6, False, "inconclusive"),
        ([(0.9, 0.9, "higher")], 0.7, True, "agrees once"),
        ([(0.89, 0.9, "higher")], 0.7, True, "not reproduced"),  # a bar has no tolerance
    ),
)
def test_the_verdict_of_one_run(rows, share, by_bar, verdict, capsys):
    rows = [paper_size.Row("figure", *row) for row in rows]
    paper_size.print_verdict("source", rows, share, by_bar)
    assert capsys.readouterr().out.endswith(f"updates: {verdict}\n")


# ---- the cell that runs the branch


def read_last_cell(number):
    (path,) = (path for path in NOTEBOOKS if path.name.startswith(number))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (source,) = (each for each in sources if each.startswith("# On a GPU this cell trains"))
    return source


@each_page
def test_the_cell_trains_then_judges_then_shows(number, monkeypatch):
    lesson, done = run_lesson(number), []
    films = {"12": torch.zeros(3, 5, 3, 8, 8), "22": torch.zeros(4, 9, 3, 8, 8), "32": nn.ReLU()}
    page = vars(lesson) | {"profile": "full", "device": torch.device("cuda"), "seed": 0}

    def stand_in(name, made):  # It is called as the page's own function can be.
        signature = inspect.signature(getattr(lesson, name))
        return lambda *given, **named: (
            signature.bind(*given, **named) and (done.append(name), made)[1]
        )

    page |= {"train_paper_size": stand_in("train_paper_size", None), "plots": plots}
    page |= {"judge_paper_size": stand_in("judge_paper_size", films[number])}
    page |= {"MovingDigits": MovingDigits, "load_digits": lambda split: load_digits("test")}
    small = sprites.load("test", image_size=32).subset(slice(9))
    page |= {"sprites": SimpleNamespace(load=lambda split, image_size: small)}
    page |= {"load_poses": lambda split, image_size: small, "judge": None, "visible": None}
    page |= {"show_swaps": lambda model: done.append("32.paper_size")}
    monkeypatch.setattr(plots, "show", lambda figure, alt: done.append(alt))
    exec(read_last_cell(number), page)
    assert done == ["train_paper_size", "judge_paper_size", f"{number}.paper_size"]
