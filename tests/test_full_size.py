"""The scripts that train the papers' models on a GPU compute what the library computes."""

import copy
import os
import subprocess
import sys
from itertools import pairwise
from shutil import copytree

import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid import records
from unbraid.data import fetch, moving_digits, sprites
from unbraid.models.base import SequenceModel

from papers import full_size as engine
from papers import import_run
from papers.a import full_size as paper_a
from papers.b import full_size as paper_b
from papers.c import full_size as paper_c

RUNS = {
    "a": (paper_a, paper_a.DigitsRun),
    "b": (paper_b, paper_b.PosesRun),
    "c": (paper_c, paper_c.SpritesRun),
}
SAME = 1e-9  # relative error that another order of sums of doubles may make; seen: 5e-14
LACKED = """filelock pandas pooch requests scipy sklearn threadpoolctl tqdm
typer"""


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


@pytest.fixture
def start(monkeypatch):
    """A function that gives a paper's run, on the CPU, as started with these arguments."""

    def start_run(name, *arguments):
        monkeypatch.setattr(sys, "argv", ["full_size.py", "--cpu", *arguments])
        script, run_class = RUNS[name]
        return run_class(script.read_options())

    return start_run


@pytest.mark.parametrize(
    "name, arguments, config, weights",
    (
        ("a", "", {"factors": 2, "factor_size": 20}, {"kl": 3.0}),
        ("a", "--entangled", {"factors": 1, "factor_size": 40}, {}),
        ("b", "", {"pairs": True, "prior_given_static": True}, {}),
        ("b", "--no-pairs", {"pairs": False, "prior_given_static": True}, {}),
        ("b", "--free-prior", {"pairs": True, "prior_given_static": False}, {}),
        ("c", "", {"anchor_alone": False}, {"log_likelihood": 5.0, "anchor": 1.0}),
        ("c", "--twice", {"anchor_alone": True}, {"log_likelihood": 5.0, "anchor": 1.0}),
    ),
)
def test_a_paper_is_trained_on_the_librarys_loss(name, arguments, config, weights, start):
    """Loss, gradients, running statistics and the two means of a run against the library's.

    In 64 bits the two differ by 5e-14 at most. A single number of 32 bits on the way makes this
    1e-7, and then, on some processor, an input of a leaky ReLU lies on the other side of its kink.
    """
    run = start(name, *arguments.split())
    run.model = model = run.start_model().double().train()
    assert {field: getattr(model.config, field) for field in config} == config
    twin = copy.deepcopy(model)
    frames = random_bytes(2, 3, 3, 64, 64)
    noise = model.draw_noise(2, 3, seeded(2))
    run.kl_weight = weights.get("kl", 1.0)  # which paper A's alone reads
    loss, means = run.losses(frames, noise, torch.float64)
    bound = twin.elbo(frames.double() / 255, noise)
    wanted = bound.loss(weights)
    loss.backward()
    wanted.backward()

    assert loss.item() == pytest.approx(wanted.item(), rel=SAME)
    per_frame = bound.log_likelihood.mean().item() / bound.length
    assert means[0].item() == pytest.approx(per_frame, rel=SAME)
    assert (means[0] - means[1]).item() == pytest.approx(bound.per_frame.mean().item(), rel=SAME)
    largest = max(weight.grad.norm() for weight in twin.parameters())
    silent = list_silent(model)
    for (name, weight), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert weight.grad.dtype == other.grad.dtype == torch.float64, name
        if name in silent:
            assert max(weight.grad.norm(), other.grad.norm()) < SAME * largest, name
        else:
            error = (weight.grad - other.grad).norm() / (other.grad.norm() + 1e-12 * largest)
            assert error < SAME, name
    for (name, values), other in zip(model.named_buffers(), twin.buffers(), strict=True):
        if values.is_floating_point():
            torch.testing.assert_close(values, other, rtol=SAME, atol=SAME, msg=name)


def list_errors(model, twin):
    """The relative error of each unit's gradient, (units,): a unit is a row of a weight."""
    errors = []
    for weight, other in zip(model.parameters(), twin.parameters(), strict=True):
        if weight.ndim > 1:
            difference = (weight.grad - other.grad).flatten(1).norm(dim=1)
            length = other.grad.flatten(1).norm(dim=1)
            errors.append((difference / length)[length > 0])
    return torch.cat(errors)


@pytest.mark.filterwarnings("ignore:TF32 acceleration:UserWarning")  # of mkldnn.flags
@pytest.mark.parametrize("name", RUNS)
def test_rounding_leaves_most_units_the_librarys_gradient(name, start):
    """In the precisions of training, where the slope at some kinks is the other one.

    Such a kink spoils the gradient of what comes before it, so the median over units is compared.
    """
    run = start(name)
    run.kl_weight = 1.0
    run.model = model = run.start_model().train()
    twin = copy.deepcopy(model).double()
    frames = random_bytes(2, 2, 3, 64, 64)
    noise = model.draw_noise(2, 2, seeded(2))
    exact = {code: numbers.double() for code, numbers in noise.items()}
    wanted = twin.elbo(frames.double() / 255, exact).loss(run.weights)
    wanted.backward()
    for precision, of_loss, of_units in ((torch.float32, 1e-6, 0.03), (torch.bfloat16, 1e-4, 0.3)):
        model.zero_grad()
        # Without oneDNN, whose LSTM refuses 16 bits where a processor has no AVX-512.
        with torch.backends.mkldnn.flags(enabled=precision == torch.float32 or name != "c"):
            loss, _ = run.losses(frames, noise, precision)
            loss.backward()
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(wanted.item(), rel=of_loss)
        assert list_errors(model, twin).median() < of_units


def test_the_comparison_ends_well_or_says_what_it_expected(start, capsys):
    run = start("c")
    run.load = lambda: None
    run.draw = lambda count: random_bytes(2, 3, 3, 64, 64)
    run.compare()
    assert "relative error of the loss" in capsys.readouterr().out

    terms = run.terms

    def heavier_terms(*arguments):
        objective, likelihood, divergence = terms(*arguments)
        return objective + 0.01 * likelihood, likelihood, divergence

    run.terms = heavier_terms
    with pytest.raises(SystemExit, match="expected the library's"):
        run.compare()


# ---- data


def test_characters_are_drawn_in_their_order_by_several_processes():
    numbers = sprites.characters("test")[:3]
    cells = sprites.MOTION_POSES[0].numpy()
    drawn = engine.compose(numbers, cells)
    for frames, expected in zip(drawn, sprites.draw_cells(numbers, cells, 64), strict=True):
        assert torch.equal(frames, torch.from_numpy(expected.copy()))


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
    assert torch.equal(drawn, expected)


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
def test_a_record_says_what_was_trained(name, arguments, section, changes, start):
    run = section.rpartition(".")[2]
    expected = {"section": section, "run": run, "changes": changes}
    assert start(name, *arguments.split()).describe() == expected


# ---- a training, and the files


def test_a_training_goes_on_where_it_ended_and_is_imported(start, no_gpu, monkeypatch, tmp_path):
    images = torch.randint(1, 256, (50, 28, 28), generator=seeded(0)).byte()
    digits = moving_digits.Digits(images, torch.arange(50) % 10, "train", "solid squares")
    monkeypatch.setattr(fetch, "files", lambda *source: {})
    monkeypatch.setattr(moving_digits, "load_digits", lambda split: digits)
    monkeypatch.setattr(engine.Run, "chunk", 2)
    monkeypatch.setattr(engine.Run, "row", 2)

    def train(steps, out):
        places = f"--state {tmp_path}/{out}.pt --out {tmp_path}/{out}"
        arguments = f"--steps {steps} --seconds 9999 --batch 2 --length 2 --kl 0:1,1:3 {places}"
        run = start("a", *arguments.split())
        run.train()
        return run

    whole = train(4, "whole")
    assert whole.kl_weight == 2 and whole.rate == pytest.approx(3e-4)
    train(2, "parts")
    parts = train(4, "parts")
    assert [row[0] for row in parts.rows] == [2, 4]
    for row, expected in zip(parts.rows, whole.rows, strict=True):
        assert row[2:] == pytest.approx(expected[2:], rel=1e-3)
    path = import_run.import_run(tmp_path / "parts/a", tmp_path / "results")
    record = records.read_json(path.with_suffix(".run.json"))
    assert record["steps"] == 4 and record["settings"]["length"] == 2
    imported = SequenceModel.load(path.with_suffix(".safetensors")).state_dict()
    for name, value in parts.model.state_dict().items():
        torch.testing.assert_close(imported[name], value.half().to(value.dtype), msg=name)


def test_digits_are_never_those_of_the_clones_sample(start, monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_MIRROR", str(tmp_path))
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    with pytest.raises(fetch.DataError, match="mnist"):
        start("a").load()


@pytest.fixture(scope="module")
def run_bare(root, tmp_path_factory):
    """A function that runs Python in a folder of lib/, papers/ and a copy of each script.

    So they travel to a GPU machine, on which many of the library's packages are not installed.
    """
    folder = tmp_path_factory.mktemp("travels")
    (folder / "lib").symlink_to(root / "lib")
    copytree(root / "papers", folder / "papers")
    for name in RUNS:
        (folder / f"{name}_full.py").write_text((root / f"papers/{name}/full_size.py").read_text())
    lacking = folder / "lacking"
    lacking.mkdir()
    for package in LACKED.split():
        (lacking / f"{package}.py").write_text("raise ImportError(__name__)")

    def run(*arguments, path=""):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(lacking), path])}
        options = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
        return subprocess.run([sys.executable, *arguments], check=True, **options).stdout

    return run


def test_models_pictures_and_scripts_import_with_few_packages(run_bare):
    program = (
        "import unbraid.models, unbraid.data.moving_digits, unbraid.data.sprites, sys\n"
        "from papers.a import full_size as a\n"
        "from papers.b import full_size as b\n"
        "from papers.c import full_size as c\n"
        f"print(sys.modules.keys() & set({LACKED.split()}), a.DigitsRun, b.PosesRun, c.SpritesRun)"
    )
    assert run_bare("-c", program, path="lib").startswith("set()")


@pytest.mark.parametrize("script", ("a_full.py", "papers/c/full_size.py"))
def test_a_script_runs_beside_the_library_and_in_its_folder(script, run_bare):
    assert "--seconds" in run_bare(script, "--help")
