"""The model that readers build in notebook 22 is the library's by its numbers, and trains alone."""

from functools import partial

import pandas as pd
import pytest
import torch
from helpers import DOUBLE, close, seeded
from readers import (
    check_form,
    each_device,
    list_differences,
    run_lesson,
)
from safetensors.torch import load_file
from torch import nn
from unbraid import UnorderedFrames, load_judge, records
from unbraid.data.sprites import load_poses
from unbraid.lessons import n22

from papers.b import own_plane

FOLDER = records.results() / "unordered" / "sprites_poses" / "quick"
RUN = FOLDER / "paper_width-seed0.safetensors"
PAPERS = ["PairEncoder", "paper_networks", "draw", "kl", "dense", "Encoder", "UnorderedFrames"]
PAPER = {"C": 256, "width": 512, "hidden": 512, "S": 512, "d": 2}
SMALL = {"C": 96, "width": 64, "hidden": 128, "S": 64, "d": 2}
GRADIENTS = {  # by the library's name: the reader's
    "static_encoder.pair_convolution.weight": "encoder.static.pair.weight",
    "prior_dense.2.weight": "prior.2.weight",
    "decoder.last.weight": "decoder.7.weight",
}


def test_it_is_plain_torch_with_shapes_and_short():
    check_form("22", PAPERS)


# ---- it is the library's by its numbers


def draw_batch():
    """Frames of a character, and noise of both codes."""
    x = load_poses("test", image_size=32).frames[7:8, [3, 60, 140]].double() / 255
    return (
        x,
        torch.randn(1, 512, **DOUBLE, generator=seeded(1)),
        torch.randn(1, 3, 2, **DOUBLE, generator=seeded(2)),
    )


@pytest.fixture(scope="module")
def references():
    """The library's terms in nats per sample, and gradients, in training and in evaluation mode."""
    x, noise_s, noise_d = draw_batch()
    found = {}
    for is_training in (True, False):
        library = UnorderedFrames.load(RUN).double().train(is_training)
        bound = library.elbo(x, {"static": noise_s, "dynamic": noise_d})
        (-bound.elbo.mean()).backward()
        values = {"error": -bound.log_likelihood, "KL s": bound.kl["static"]}
        values["KL d"] = bound.kl["dynamic"]
        values |= {name: library.get_parameter(name).grad for name in GRADIENTS}
        found[is_training] = values
    return found


def read_class(is_training, old="", new=""):
    """The reader's terms and gradients, with the weights of the paper's networks."""
    lesson = run_lesson("22", old=old, new=new)
    model = lesson.UnorderedFrames(lesson.paper_networks(514), **PAPER)
    model.load_state_dict({lesson.rename(name): w for name, w in load_file(RUN).items()})
    terms = model.double().train(is_training).loss(*draw_batch())
    sum(terms).mean().backward()
    values = dict(zip(("error", "KL s", "KL d"), terms, strict=True))
    return values | {theirs: model.get_parameter(ours).grad for theirs, ours in GRADIENTS.items()}


def compare(references, is_training, **change):
    """What differs, by name."""
    mine = read_class(is_training, **change)
    return list_differences({name: (mine[name], references[is_training][name]) for name in mine})


@pytest.mark.parametrize("is_training", [True, False])
def test_22_gives_each_term_and_gradient_of_the_library(references, is_training):
    assert compare(references, is_training) == set()


MUTANTS = [  # a line, what it becomes, and what must differ then
    ("error.flatten(1).sum(1)", "error.flatten(1).mean(1)", "error"),
    ("kl(q_s, p_s)", "kl(p_s, q_s)", "KL s"),
    ("kl(q_d, p_d).sum(1)", "kl(q_d, p_d).mean(1)", "KL d"),
    ("self.prior(s)[:", "self.prior(q_s[0])[:", "KL d"),
    ("(log_variance / 2).exp()", "log_variance.exp()", "error"),
    ("(~torch.eye(h.shape[1], dtype=torch.bool))", "torch.ones(2 * h.shape[1:2])", "KL s"),
    ("F.relu(self.pair(pairs.flatten(0, 1)))", "self.pair(pairs.flatten(0, 1))", "KL s"),
    ("q_d = self.read_d(h, s)", "q_d = self.read_d(h, 0 * s)", "KL d"),
]


@pytest.mark.parametrize("old, new, term", MUTANTS)
def test_a_wrong_line_is_seen(references, old, new, term):
    assert term in compare(references, True, old=old, new=new)


def test_codes_swaps_and_a_reading_without_pairs():
    lesson = run_lesson("22")
    model = lesson.UnorderedFrames(lesson.small_networks(66), **SMALL).double()
    x = torch.rand(2, 4, 3, 32, 32, generator=seeded(), **DOUBLE)
    s, d = model.encode(x)
    decoded = model.decode(s.flip(0), d)  # each in the poses of the other
    assert (s.shape, d.shape, decoded.shape) == ((2, 64), (2, 4, 2), x.shape)
    close(model.encode(x[:, [2, 0, 3, 1]])[0], s)  # the order says nothing
    alone = lesson.Alone(96, 64, 128, 64).double()
    alone.load_state_dict(model.encoder.static.state_dict())
    h = model.encoder.look(x)
    same = h[:, :1].expand(-1, 3, -1, -1, -1)
    close(alone.compare(same), model.encoder.static.compare(same))
    assert (alone.compare(h) - model.encoder.static.compare(h)).abs().max() > 1e-3


def test_the_palette_mixes_pots():
    lesson = run_lesson("22")
    drawing = nn.Sequential(nn.Linear(6, 12 * 4), nn.Unflatten(1, (12, 2, 2)))
    palette = lesson.Palette(drawing, S=4).double()
    z = torch.randn(3, 6, generator=seeded(), **DOUBLE)
    logits = palette(z)
    pots = palette.pots(z[:, :4]).unflatten(1, (3, 12))
    assert logits.shape == (3, 3, 2, 2)
    assert (logits.flatten(2).amax(2) <= 3 * pots.amax(2)).all()
    with torch.no_grad():
        drawing[0].weight.zero_()
        drawing[0].bias.zero_()  # equal shares
    close(palette(z)[:, :, 0, 0], 3 * pots.mean(2))


# ---- it trains


@each_device
def test_the_loop_of_22_trains_on_a_device(device):
    frames = load_poses("train", image_size=32).frames[:40]
    given = {"frames": frames, "seen": torch.ones(40, 178)}
    lesson = run_lesson("22", device=torch.device(device), **given)
    model = lesson.small_model(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    draw = partial(lesson.draw_sets, count=4)
    loop = lesson.train(model, 60, 0, adam=optimizer, draw=draw)
    losses = [sum(terms) for _, terms in loop]
    assert len(losses) == 60 and sum(losses[-10:]) / 10 < losses[0] / 2


def test_only_allowed_poses_are_drawn():
    allowed = (torch.rand(30, 178, generator=seeded()) < 0.1).float()
    poses = n22.pick(allowed, 3, seeded(1))
    assert poses.shape == (30, 3) and allowed.gather(1, poses).all()
    assert all(len(set(row)) == 3 for row in poses.tolist())


# ---- its measures and its record


def test_coherence_is_the_share_of_the_most_common_motion():
    motions = torch.tensor([[0, 1], [0, 2], [0, 2], [3, 2]])  # (characters, points)
    assert n22.coherence(motions) == 0.75


def test_a_perfect_painter_is_right_in_absent_actions():
    """The judge of true frames agrees with the labels that `count_absent` compares."""
    test = load_poses("test", image_size=32)
    judge, pose = load_judge("sprites_poses", test.classes), torch.arange(0, 178, 3)
    frames = test.frames[torch.arange(len(pose)), pose].float() / 255
    given = {"judge": judge}
    lesson = run_lesson("22", draw_absent=lambda *_: (frames, pose), **given)
    assert lesson.count_absent(None, None) > 0.9
    wrong = {"draw_absent": lambda *_: (frames, pose.flip(0))}
    assert run_lesson("22", **given | wrong).count_absent(None, None) < 0.3


def test_three_seeds_reach_one_plane_and_their_record_is_whole():
    runs = pd.read_csv(FOLDER / "own_plane.csv")
    for kind, (updates, seeds) in own_plane.RUNS.items():
        ends = runs[(runs["run"] == kind) & (runs["update"] == updates)]
        assert sorted(ends["seed"]) == list(range(seeds)), kind
    ends = runs[(runs["run"] == "paper") & (runs["update"] == own_plane.RUNS["paper"][0])]
    assert (ends["coherence"] > ends["chance"] + 0.4).all()


@pytest.mark.parametrize("kind", [kind for kind in own_plane.RUNS if kind != "paper"])
def test_each_change_changes_the_training(kind, monkeypatch):
    frames = load_poses("train", image_size=32).frames[:10]
    monkeypatch.setattr(n22, "frames", frames)
    monkeypatch.setattr(n22, "seen", torch.ones(10, 178))
    first = {}
    for name in ("paper", kind):
        model = own_plane.make_model(name, 0)
        objective = own_plane.make_objective(name, 2)
        optimizer = own_plane.make_optimizer(model, name, 2)
        runs = n22.train(model, 2, 0, objective, optimizer)
        first[name] = [sum(terms) for _, terms in runs][-1]
    assert first["paper"] != first[kind]
