"""The scripts that train the papers' models on a GPU compute what the library computes."""

import copy
import inspect
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid.data import moving_digits, sprites
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames

from papers.a import full_size as paper_a
from papers.b import full_size as paper_b
from papers.c import full_size as paper_c

SCRIPTS = {"a": paper_a, "b": paper_b, "c": paper_c}
each_script = pytest.mark.parametrize("name", SCRIPTS)
LACKED = ("filelock", "pandas", "pooch", "requests", "scipy", "tqdm")


def random_bytes(*shape):
    """Coarse pictures, which batch normalisation tells apart, with a little noise."""
    blocks = torch.randint(0, 200, (*shape[:-2], 8, 8), generator=seeded(3))
    frames = blocks.repeat_interleave(8, -2).repeat_interleave(8, -1)
    return (frames + torch.randint(0, 56, shape, generator=seeded(4))).byte()


def list_silent(model):
    """The biases before batch normalisation, which subtracts them: their gradient is rounding."""
    names = set()
    for name, network in model.named_modules():
        if isinstance(network, nn.Sequential):
            for number, (_, after) in enumerate(pairwise(network)):
                if isinstance(after, nn.BatchNorm2d):
                    names.add(f"{name}.{number}.bias")
    return names


def compare(model, compute, expected):
    """Loss, gradients, running statistics and the two means of a script against the library's.

    compute: the script's losses of a model. expected: the library's bound and loss of one.
    """
    twin = copy.deepcopy(model)
    loss, means = compute(model)
    bound, wanted = expected(twin)
    loss.backward()
    wanted.backward()

    assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
    per_frame = bound.log_likelihood.mean().item() / bound.length
    assert means[0].item() == pytest.approx(per_frame, rel=1e-6)
    assert (means[0] - means[1]).item() == pytest.approx(bound.per_frame.mean().item(), rel=1e-6)
    largest = max(weight.grad.norm() for weight in twin.parameters())
    silent = list_silent(model)
    for (name, weight), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        if name in silent:
            assert max(weight.grad.norm(), other.grad.norm()) < 1e-6 * largest, name
        else:
            error = (weight.grad - other.grad).norm() / (other.grad.norm() + 1e-12 * largest)
            assert error < 1e-3, name
    for (name, values), other in zip(model.named_buffers(), twin.buffers(), strict=True):
        if values.is_floating_point():
            torch.testing.assert_close(values, other, rtol=1e-5, atol=1e-5, msg=name)


@pytest.fixture
def start(monkeypatch):
    """A function that gives a script's model in training, as started with these arguments."""

    def start_model(script, *arguments):
        monkeypatch.setattr(sys, "argv", ["full_size.py", *arguments])
        return script.start_model(script.read_options()).train()

    return start_model


@pytest.mark.parametrize("arguments", ((), ("--entangled",)), ids=("factored", "entangled"))
def test_paper_a_is_trained_on_the_librarys_bound(arguments, start):
    model = start(paper_a, *arguments)
    assert isinstance(model, IndependentPrediction)
    frames = random_bytes(3, 2, 3, 64, 64)  # (T, B, ...)
    noise = torch.randn(3, 2, 40, generator=seeded(2))
    constant = paper_a.CONSTANT

    def expected(twin):
        bound = twin.elbo(
            frames.transpose(0, 1).float() / 255, twin.to_codes(noise.transpose(0, 1))
        )
        return bound, bound.loss({"kl": 3.0}) + constant

    compare(model, lambda model: paper_a.losses(model, frames, noise, 3.0), expected)
    assert model.variance == paper_a.VARIANCE


@pytest.mark.parametrize("arguments", ((), ("--no-pairs",), ("--free-prior",)), ids=str)
def test_paper_b_is_trained_on_the_librarys_bound(arguments, start):
    model = start(paper_b, *arguments)
    assert isinstance(model, UnorderedFrames)
    assert model.config.pairs == ("--no-pairs" not in arguments)
    assert model.config.prior_given_static == ("--free-prior" not in arguments)
    frames = random_bytes(2, 3, 3, 64, 64)
    noise = model.draw_noise(2, 3, seeded(2))

    def expected(twin):
        bound = twin.elbo(frames.float() / 255, noise)
        return bound, bound.loss()

    compare(model, lambda model: paper_b.losses(model, frames, noise), expected)


@pytest.mark.parametrize("twice", (False, True))
def test_paper_c_is_trained_on_the_released_loss(twice, start):
    model = start(paper_c, *["--twice"] * twice)
    assert isinstance(model, SingleElement) and model.config.anchor_alone == twice
    frames = random_bytes(2, 3, 3, 64, 64)
    noise = model.draw_noise(2, 3, seeded(2))
    constant = (5 * 3 + 1) / 3 * paper_c.CONSTANT

    def expected(twin):
        bound = twin.elbo(frames.float() / 255, noise)
        return bound, bound.loss({"log_likelihood": 5.0, "anchor": 1.0}) + constant

    compare(model, lambda model: paper_c.losses(model, frames, noise, twice), expected)
    assert model.variance == paper_c.VARIANCE


# ---- data


def test_sprites_are_drawn_as_the_librarys():
    """One character's nine motions for paper C, and its 178 poses for paper B."""
    number = sprites.characters("test")[:1]
    poses = np.array([pose.cell for pose in sprites.POSES])
    for script, cells in ((paper_c, poses[sprites.MOTION_POSES.flatten()]), (paper_b, poses)):
        (expected,) = sprites._draw(number, cells, 64)
        (drawn,) = script.draw_characters(number, cells)
        assert np.array_equal(drawn, expected)


@pytest.mark.parametrize("motion, speeds", (("bounce", (0.1, 0.1)), ("circle", (0.5, -0.9))))
def test_digits_move_as_the_librarys(motion, speeds):
    images = torch.randint(1, 256, (50, 28, 28), generator=seeded(0)).byte()
    digits = moving_digits.Digits(images, torch.arange(50) % 10, "train", "solid squares")
    sampler = moving_digits.MovingDigits(digits, motion=motion, speeds=speeds)
    law, generator = moving_digits.PATHS[motion], seeded(1)
    positions = law(20, torch.arange(5)[None, :, None, None], sampler.speeds, generator)
    which = torch.randint(50, (20, 2), generator=generator)
    expected = sampler.render(which, positions).mul(255).round().byte()
    drawn = paper_a.draw(images, 20, 5, law, torch.tensor(speeds)[:, None], seeded(1))
    assert torch.equal(drawn.transpose(0, 1), expected)


# ---- measurements and records


class Oracle:
    """A model of paper C's clips without a fault: s is the character's number, d the motion's."""

    def __init__(self, clips):
        self.clips = clips.flatten(1).float() / 255

    def encode(self, batch):
        number = torch.cdist(batch.flatten(1), self.clips).argmin(1)
        return {"static": number // 9, "dynamic": number % 9}

    def decode(self, codes):
        return self.clips[codes["static"] * 9 + codes["dynamic"]]


def test_swaps_without_a_fault_are_measured_as_such():
    numbers = sprites.characters("test")[:6]
    clips = torch.randint(0, 256, (54, 2, 3, 8, 8), generator=seeded(0)).byte()
    shares = paper_c.measure(Oracle(clips), clips, numbers)
    assert shares.pop("direction_with_s") == 0
    assert shares.pop("squared_error_per_frame") < 1e-3
    assert set(shares.values()) == {1.0}


@pytest.mark.parametrize(
    "name, arguments, section, changes",
    (
        ("a", "", "independent.bounce.published", {"factors": 2, "factor_size": 20}),
        (
            "a",
            "--entangled --circle 0.5,-0.9",
            "independent.circle.published_circle_entangled",
            {"factors": 1, "factor_size": 40, "speeds": [0.5, -0.9]},
        ),
        (
            "a",
            "--kl 0:.1,.5:4",
            "independent.bounce.published_weights",
            {"factors": 2, "factor_size": 20, "kl_weight": [[0.0, 0.1], [0.5, 4.0]]},
        ),
        ("b", "", "unordered.sprites_poses.published", {}),
        ("b", "--no-pairs", "unordered.sprites_poses.published_no_pairs", {"pairs": False}),
        ("c", "--twice", "single_element.sprites.published", {"anchor_alone": True}),
    ),
)
def test_a_record_says_what_was_trained(name, arguments, section, changes, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["full_size.py", *arguments.split()])
    script = SCRIPTS[name]
    run = section.rpartition(".")[2]
    expected = {"section": section, "run": run, "changes": changes}
    assert script.describe_run(script.read_options()) == expected


# ---- the files


def test_what_the_scripts_share_is_written_alike():
    """Each is one file that runs alone, so that a correction must reach all three."""
    names = "import_library find_folder say compiled to_patches convolve paint"
    shared = dict.fromkeys(names.split(), "abc") | {"Run": "ab"}
    for name, parts in (shared | {"draw_characters": "bc", "compose": "bc"}).items():
        functions = [getattr(SCRIPTS[part], name) for part in parts]
        assert len(set(map(inspect.getsource, functions))) == 1, name


@each_script
def test_a_script_runs_alone_beside_the_library(name, root, tmp_path):
    """From a folder with nothing but lib/, where the library's other packages are not installed."""
    source = Path(SCRIPTS[name].__file__)
    shutil.copy(source, tmp_path / f"{name}_full.py")
    (tmp_path / "lib").symlink_to(root / "lib")
    lacking = tmp_path / "lacking"
    lacking.mkdir()
    for package in LACKED:
        (lacking / f"{package}.py").write_text("raise ImportError(__name__)")
    environment = os.environ | {"PYTHONPATH": str(lacking)}

    def run(*arguments):
        command = [sys.executable, *arguments]
        options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        return subprocess.run(command, check=True, **options).stdout

    assert "--seconds" in run(f"{name}_full.py", "--help")
    program = (
        f"import sys, {name}_full as script\n"
        "model = script.start_model(script.read_options())\n"
        "script.import_library('data.sprites')\n"
        "script.import_library('data.moving_digits')\n"
        f"print(type(model).__name__, not sys.modules.keys() & set({LACKED}))\n"
    )
    kinds = {"a": "IndependentPrediction", "b": "UnorderedFrames", "c": "SingleElement"}
    assert run("-c", program).split() == [kinds[name], "True"]
