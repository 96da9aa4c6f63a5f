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
from unbraid import UnorderedFrames, load_judge, records
from unbraid.data.sprites import load_poses
from unbraid.lessons import n22

from papers.b import lesson_plane

FOLDER = records.results() / "unordered" / "sprites_poses" / "quick"
RUN = FOLDER / "paper_width-seed0.safetensors"
PAPERS = ["PairEncoder", "paper_networks", "draw", "kl", "dense", "Encoder", "UnorderedFrames"]
PAPER = {"C": 256, "width": 512, "hidden": 512, "D": 512, "d": 2}
SMALL = {"C": 96, "width": 64, "hidden": 128, "D": 64, "d": 2}
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


def test_codes_do_not_depend_on_the_order_and_are_swapped():
    lesson = run_lesson("22")
    model = lesson.UnorderedFrames(lesson.small_networks(66), **SMALL).double()
    x = torch.rand(2, 4, 3, 32, 32, generator=seeded(), **DOUBLE)
    s, d = model.encode(x)
    decoded = model.decode(s.flip(0), d)  # each in the poses of the other
    assert (s.shape, d.shape, decoded.shape) == ((2, 64), (2, 4, 2), x.shape)
    close(model.encode(x[:, [2, 0, 3, 1]])[0], s)  # the order says nothing


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


def test_three_seeds_of_each_start_reach_one_plane_and_their_record_is_whole():
    runs = pd.read_csv(FOLDER / "own_plane.csv")
    ends = runs[runs["update"] == lesson_plane.UPDATES]
    for run in lesson_plane.INITIAL:
        assert sorted(ends.loc[ends["run"] == run, "seed"]) == list(range(lesson_plane.SEEDS)), run
    assert (ends["coherence"] > ends["chance"] + 0.4).all()


def test_the_starts_differ_in_the_weights_alone():
    """He weights have the variance 2 over the inputs, where the paper's have 2 over in and out."""
    models = {name: n22.small_model(0, draw) for name, draw in lesson_plane.INITIAL.items()}
    layers = {name: model.encoder.static.dense[0] for name, model in models.items()}
    inputs, outputs = layers["ours"].in_features, layers["ours"].out_features
    variances = {name: layer.weight.var().item() for name, layer in layers.items()}
    assert variances["ours"] == pytest.approx(2 / inputs, rel=0.05)
    assert variances["paper"] == pytest.approx(2 / (inputs + outputs), rel=0.05)
    for model in models.values():
        assert not any(weight.any() for name, weight in model.named_parameters() if "bias" in name)
        assert not model.prior[-1].weight.any()
