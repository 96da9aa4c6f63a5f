"""The benchmark: rivals against known answers, instruments on codes that are made right."""

import math

import numpy as np
import torch
from helpers import close, example_frames, seeded, small
from unbraid.data.sequences import Sequences
from unbraid.networks import count_parameters

from papers import settings
from papers.encoded import Encoded
from papers.run import build
from papers.side_by_side import evaluate as benchmark
from papers.side_by_side.variants import PrincipalComponents

SMOKE = settings.load("benchmark.circle.independent", "smoke")
RUNS = [run for run in settings.list_experiments() if run.model == "benchmark"]


# ---- the rivals


def test_the_bound_of_principal_components_is_the_likelihood_of_their_gaussian():
    model = PrincipalComponents(image_size=8, channels=1, size=3, variance=0.01).double()
    frames = torch.rand(20, 5, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    frames[..., 2:, :] *= 0.1
    model.train()(frames)
    model.eval()
    weight, mean = model.weight.detach(), model.mean.detach()
    covariance = weight @ weight.T + 0.01 * torch.eye(64, dtype=torch.float64)
    gaussian = torch.distributions.MultivariateNormal(mean, covariance)
    exact = gaussian.log_prob(frames.flatten(2)).sum(1)
    noise = [model.draw_noise(20, 5, seeded(seed)) for seed in range(400)]
    with torch.no_grad():
        bounds = torch.stack([model.elbo(frames, each).elbo for each in noise])
    error = bounds.std(0) / math.sqrt(len(bounds))
    assert ((bounds.mean(0) - exact).abs() < 5 * error + 1e-9).all()
    assert ((weight.T @ weight).fill_diagonal_(0).abs() < 1e-9).all()


@torch.no_grad()
def test_the_static_code_is_the_mean_over_time_and_the_rest_is_dynamic():
    model = small("frame VAE")
    frames = example_frames(model)
    codes, of_still = model.encode(frames), model.encode(frames[:, :1].expand_as(frames))
    close(codes["dynamic"].mean(1), torch.zeros_like(codes["static"]))
    close(of_still["dynamic"], torch.zeros_like(codes["dynamic"]))
    close(model.encode(frames.flip(1))["static"], codes["static"])
    assert not torch.allclose(of_still["static"], codes["static"])


# ---- the instruments


class Oracle(torch.nn.Module):
    """A model whose codes are which digits, and where they are: looks and motion, or two things."""

    def __init__(self, draw, by_thing):
        super().__init__()
        self.draw, self.by_thing = draw, by_thing
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def decode(self, codes):
        if self.by_thing:
            parts = list(codes.values())  # (N, T, 3): which, x and y of one digit
            which = torch.stack([part[:, 0, 0] for part in parts], 1)
            places = torch.stack([part[..., 1:] for part in parts], 2)
        else:
            which, places = codes["static"], codes["dynamic"].unflatten(2, (2, 2))
        return self.draw.render(which.long(), places)


def make_oracle(by_thing):
    """An oracle, and test digits with the codes that it would give them."""
    draw = benchmark.digits_of(SMOKE, "test")
    test = benchmark.load_benchmark(SMOKE, "test", 0)
    places = [test.labels[name] for name in benchmark.DIGITS.dynamic]  # (N, T, 2) each
    which = test.labels["which"].float()
    codes = {"static": which, "dynamic": torch.cat(places, 2)}
    if by_thing:
        codes = {}
        for number, name in enumerate(("factor_0", "factor_1")):
            names = which[:, number, None, None].expand(-1, test.length, 1)
            codes[name] = torch.cat([names, places[number]], 2)
    return Oracle(draw, by_thing), Encoded(test, codes, test.labels)


def test_a_model_that_keeps_looks_and_motion_apart_swaps_them_and_not_the_things():
    oracle, test = make_oracle(by_thing=False)
    figures = benchmark.swaps(oracle, test, SMOKE, "static", 0)
    assert figures["swap_right"] == 1 and figures["swap_looks"] > 0.8
    assert figures["plain_right"] == 1 and figures["plain_looks"] > 0.8
    digits = [figures[f"swap_looks_{name}"] for name in benchmark.DIGITS.static]
    assert math.isclose(figures["swap_looks"], sum(digits) / 2)
    reversed_roles = benchmark.swaps(oracle, test, SMOKE, "dynamic", 0)
    assert reversed_roles["swap_right"] == 0 and reversed_roles["swap_looks"] < 0.5
    assert reversed_roles["plain_right"] == 1 and reversed_roles["plain_looks"] > 0.8
    things = benchmark.exchanged_things(oracle, test, ("dynamic", "static"), 0)
    assert things["thing_right"] < 0.5


def test_a_model_that_keeps_two_things_apart_exchanges_them_and_not_the_looks():
    oracle, test = make_oracle(by_thing=True)
    things = benchmark.assign(test, benchmark.THINGS, 0, free=True)
    assert things == ("factor_0", "factor_1")
    found = benchmark.exchanged_things(oracle, test, things, 0)
    assert found == {"red_code": 0, "thing_right": 1}
    assert benchmark.swaps(oracle, test, SMOKE, things[0], 0)["swap_right"] < 0.5


def test_leakage_tells_right_codes_from_mixed_ones():
    random = np.random.default_rng(0)
    name, path = random.integers(2, size=600), random.normal(size=(600, 4, 2))
    labels = {"name": torch.as_tensor(name), "place": torch.as_tensor(path)}
    known = benchmark.Known(("name",), ("place",))
    looks = torch.as_tensor(2.0 * name[:, None] + 0.1 * random.normal(size=(600, 3)))
    mixed = torch.cat([looks, labels["place"].flatten(1)], 1)
    found = {}
    for title, code in (("right", looks), ("mixed", mixed)):
        halves = []
        for rows in (slice(300), slice(300, None)):
            own = {key: values[rows] for key, values in labels.items()}
            codes = {"dynamic": labels["place"][rows], "static": code[rows]}
            halves.append(Encoded(Sequences(own["place"]), codes, own))
        found[title] = benchmark.leakage(*halves, known, "static", 0)
    assert found["right"]["static_leaks"] < 0.1 and found["right"]["static_code"] == 1
    assert found["right"]["static_probe_name"] > 0.9 and found["mixed"]["static_leaks"] > 0.5


# ---- what makes it fair


def test_runs_have_near_equal_sizes_and_the_same_batches():
    sizes, batches = {}, set()
    for run in RUNS:
        chosen = settings.load(run.section, "quick")
        if run.run != "pca":
            sizes[run.section] = count_parameters(build(chosen, 0))
            batches.add((chosen.batch_size, chosen.length, chosen.image_size))
    assert batches == {(8, 8, 32)}
    assert max(sizes.values()) < 1.6 * min(sizes.values()), sizes
