"""The classes that readers build give the terms and gradients of their second writing, and train
alone: A.

Those of B and C have files of their own, test_readers_b.py and test_readers_c.py.
"""

import math

import numpy as np
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
from test_second_writing import write_again
from torch import nn
from unbraid import IndependentPrediction, MovingDigits, load_digits, records
from unbraid_course.lessons import n12

# The reader's model with the paper's networks, and ours.
PAPERS = ["kl", "step_by_step", "all_at_once", "paper_networks", "Posterior", "transition"]
PAPERS += ["Filter", "IndependentPrediction"]
MODEL = [*PAPERS, "small_networks"]


def test_it_is_plain_torch_with_shapes_and_short():
    check_form("11", PAPERS)


# ---- A: 11's class is the second writing by its numbers

PREDICTION = records.weights("independent/circle/quick/paper_width_long-seed0")
GRADIENTS = ("encoder.0", "transitions.1.4", "posterior.log_variance")  # of the filter


def compare_predictions(is_training, **change):
    """Pairs of terms, in nats per frame, and gradients, of the reader's model and the second
    writing, by name; both have the weights of the paper's networks."""
    lesson, library = run_lesson("11", **change), IndependentPrediction.load(PREDICTION).double()
    sizes = {"features": 32, "K": 2, "d": 20, "hidden": 128, "depth": 4, "v": 0.25}
    reader = lesson.IndependentPrediction(lesson.paper_networks(40), lesson.step_by_step, **sizes)
    reader.load_state_dict(load_file(PREDICTION))
    second = write_again(library).train(is_training)
    world = MovingDigits(load_digits("test"), 32, 4, motion="circle", speeds=(0.5, -0.9))
    x = world(3, seeded()).frames.double()
    noise = torch.randn(3, 4, 40, generator=seeded(1), **DOUBLE)
    error, costs = reader.double().train(is_training).loss(x, noise)
    bound = second.elbo(x, library.to_codes(noise))
    constant = 0.5 * x[0, 0].numel() * math.log(2 * math.pi * 0.25)
    pairs = {"error": (error, -bound.log_likelihood.mean() / 4 - constant)}
    for mine, (name, other) in zip(costs, bound.kl.items(), strict=True):
        pairs[name] = mine, other.mean() / 4
    (error + costs.sum()).backward(), bound.loss().backward()
    for name in GRADIENTS:
        mine, other = f"filter.{name}.weight", second.rename(f"filter.{name}.weight")
        pairs[name] = reader.get_parameter(mine).grad, second.get_parameter(other).grad
    return pairs


@pytest.mark.parametrize("is_training", [True, False])
def test_11_gives_each_term_and_gradient_of_the_second_writing(is_training):
    assert list_differences(compare_predictions(is_training)) == set()


MUTANTS = [  # a line, what it becomes, and what must differ then
    ("error.mean() / (2 * self.v)", "error.mean() / self.v", "error"),
    ("network(step) for step in x.unbind(1)]", "network(x[:, 0]) for _ in x[0]]", "error"),
    ("(q[1] / 2).exp()", "q[1].exp()", "error"),
    ("/ log_p.exp()", "", "factor_0"),
    ("z.chunk(self.K, 1)  #", "z.chunk(self.K, 1)[::-1]  #", "factor_1"),
    ("costs.append(kl(q, p)", "costs.append(kl(p, q)", "factor_1"),
    ("[part.detach() for part in p]", "p", "transitions.1.4"),
]


@pytest.mark.parametrize("old, new, term", MUTANTS)
def test_a_wrong_line_is_seen(old, new, term):
    assert term in list_differences(compare_predictions(True, old=old, new=new))


def test_a_clip_that_is_normalised_as_a_whole_is_seen():
    body = "return torch.stack([network(step) for step in x.unbind(1)], 1)"
    whole = "return network(x.flatten(0, 1)).unflatten(0, x.shape[:2])"
    assert "error" in list_differences(compare_predictions(True, old=body, new=whole))
    assert list_differences(compare_predictions(False, old=body, new=whole)) == set()


def test_11_gives_the_bound_that_02_computes_for_a_linear_filter(define):
    lesson, steps, v = run_lesson("11"), 3, 0.4
    A, U, H, G = (torch.randn(2, 2, generator=seeded(seed)) for seed in (4, 5, 6, 7))
    clip = torch.randn(1, steps, 2, generator=seeded(8))
    Q, spread = torch.tensor(0.3), torch.tensor(0.2).log().expand(steps, 2)

    class Linear(nn.Module):
        def forward(self, seen, expected):
            return expected[0] @ H.T + seen @ G.T, spread[0].expand(len(seen), 2)

    networks = nn.Identity(), lambda z: z @ U.T
    sizes = {"features": 2, "K": 1, "d": 2, "hidden": 1, "depth": 1, "v": v}
    model = lesson.IndependentPrediction(networks, lesson.all_at_once, **sizes)
    model.filter.posterior = Linear()
    model.filter.predict = lambda z: (z @ A.T, Q.log().expand_as(z))
    axes = torch.eye(2 * steps) * math.sqrt(2 * steps)  # points with the moments of the noise
    points = torch.cat([axes, -axes]).view(-1, steps, 2)
    error, costs = model.loss(clip.expand(len(points), steps, 2), points)
    bound = -steps * (error + costs.sum() + math.log(2 * math.pi * v))

    parts = ("Model", "Filter", "prior_at", "posterior_at", "log_likelihood", "bound")
    shown = define("02", *parts)
    linear = shown.Filter((H @ A).expand(steps, 2, 2), G.expand(steps, 2, 2), spread)
    expected = shown.bound(clip, shown.Model(A, Q * torch.eye(2), U, v), linear)[0]
    assert bound.item() == pytest.approx(expected.item(), rel=1e-5)


# ---- A: it trains


@each_device
def test_the_loop_of_12_trains_on_a_device(device):
    lesson = run_lesson("12")
    world = MovingDigits(load_digits("test"), 32, 5, motion="circle", speeds=(0.5, -0.9))
    model, frames = lesson.small_model(0.05, 0).to(device), world(60, seeded()).frames.to(device)
    assert [update for update, *_ in lesson.train(model, world, 100, 0)] == list(range(1, 101))
    with torch.no_grad():
        error, costs = model.loss(frames, torch.zeros(60, 5, 32, device=device))
    of_mean_frame = (frames - frames.mean((0, 1))).square().flatten(2).sum(2).mean() / 0.1
    assert error + costs.sum() < of_mean_frame
    assert lesson.know_places(model, world(60, seeded())).shape == (2, 2)


def test_the_gate_of_12_closes_units_and_frees_them():
    lesson = run_lesson("12")
    plain, gated = (lesson.small_model(0.1, 0).filter.double() for _ in range(2))
    gated.__class__ = lesson.GatedFilter
    x = torch.rand(3, 4, 3, 32, 32, generator=seeded(), **DOUBLE)
    noise = torch.randn(3, 4, 32, generator=seeded(1), **DOUBLE)
    codes, costs = gated(x, noise)
    used = (codes != 0).any(0).any(0).view(2, 16)
    assert used.sum(1).tolist() == [gated.units] * 2 and used[:, : gated.units].all()
    gated.units = 16
    close(gated(x, noise), plain(x, noise))
    assert (costs < plain(x, noise)[1])[:, 0].all()


@pytest.mark.parametrize(
    "scores, state",
    [
        ([[0.95, -0.05], [0.02, 0.93]], "separated"),
        ([[0.0, 0.95], [0.92, -0.1]], "separated"),
        ([[0.95, 0.6], [0.0, 0.93]], "a digit in both factors"),
        ([[0.95, 0.9], [0.0, 0.6]], "a digit in both factors"),
        ([[0.95, 0.94], [0.0, 0.0]], "both digits in one factor"),
        ([[0.95, 0.1], [0.0, 0.0]], "a digit dropped"),
        ([[0.0, 0.9], [0.0, 0.9]], "a digit dropped"),
    ],
)
def test_12_names_a_state(scores, state):
    assert n12.name_state(np.array(scores)) == state
