"""The class that readers build in notebook 11 has the library's bound, and 12 trains it.

Term by term and gradient by gradient the library's, which is made of it, is compared in
test_second_writing.py. The classes of B and C have test_readers_b.py and test_readers_c.py.
"""

import math

import numpy as np
import pytest
import torch
from helpers import DOUBLE, close, seeded
from readers import check_form, each_device, run_lesson
from safetensors.torch import load_file
from unbraid import IndependentPrediction, MovingDigits, load_digits, records
from unbraid_course.lessons import n12

# The reader's model with the paper's networks, and ours.
PAPERS = ["kl", "step_by_step", "all_at_once", "paper_networks", "Posterior", "transition"]
PAPERS += ["Filter", "IndependentPrediction"]


def test_it_is_plain_torch_with_shapes_and_short():
    check_form("11", PAPERS)


# ---- A: the loss of 11's class, which the library, whose parts are the same, does not use


PREDICTION = records.weights("independent/circle/quick/paper_width_long-seed0")


@pytest.mark.parametrize("is_training", [True, False])
def test_the_loss_of_11_is_the_librarys_bound_with_the_papers_networks(is_training):
    lesson, library = run_lesson("11"), IndependentPrediction.load(PREDICTION).double()
    sizes = {"features": 32, "K": 2, "d": 20, "hidden": 128, "depth": 4, "v": 0.25}
    reader = lesson.IndependentPrediction(lesson.paper_networks(40), lesson.step_by_step, **sizes)
    reader.load_state_dict(load_file(PREDICTION))
    x = torch.rand(3, 4, 3, 32, 32, generator=seeded(), **DOUBLE)
    noise = torch.randn(3, 4, 40, generator=seeded(1), **DOUBLE)
    error, costs = reader.double().train(is_training).loss(x, noise)
    bound = library.train(is_training).elbo(x, library.to_codes(noise))
    constant = 0.5 * x[0, 0].numel() * math.log(2 * math.pi * 0.25)
    close(error, -bound.log_likelihood.mean() / 4 - constant)
    close(costs, torch.stack([each.mean() / 4 for each in bound.kl.values()]))


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
