"""A model, a dataset and a measure that only this file knows are trained, measured and shown.

And the proof that whoever adds one touches the files that CONTRIBUTING.md counts, and no others.
"""

import ast
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from unbraid import store
from unbraid.data import catalogue
from unbraid.data.sequences import Sequences
from unbraid.distributions import (
    DiagonalGaussian,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models import registry
from unbraid.models.base import Batch, Bound, ModelConfig, SequenceModel

from papers import commands as cli
from papers import evaluation, experiments, settings

LIBRARY = Path(settings.__file__).parent
SECTION = """
[toy]
model = "toy"
sampler = "sequences"
image_size = 8
code_size = 2
seeds = 1
evaluation_training = 40
evaluation_sequences = 40
batch_size = 8
steps = 20
learning_rate = 1e-2

[toy.squares]
dataset = "squares"
run = "toy"
"""
TABLES = """
introduction = "# Results"
headline = []

[[table]]
title = "Squares"
introduction = "How bright they are."
results = "toy/squares/smoke"
columns = [{ figure = "brightness", title = "brightness", digits = 3 }]
"""


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    """The sizes of `Toy`."""

    image_size: int = 8
    code_size: int = 2


class Toy(SequenceModel):
    """Two linear layers read the static code off the mean frame, the dynamic one off each."""

    config_class = ToyConfig
    code_names = ("static", "dynamic")

    def __init__(self, config=None, **values):
        super().__init__(config, **values)
        image_size = self.config.image_size
        self.frame_shape = (1, image_size, image_size)
        self.code_size = code_size = self.config.code_size
        self.encoders = nn.ModuleDict()
        for name in self.code_names:
            self.encoders[name] = nn.Linear(image_size**2, 2 * code_size)
        self.decoder = nn.Linear(2 * code_size, image_size**2)

    def draw_noise(self, count, length, generator=None):
        static = torch.randn(count, self.code_size, generator=generator)
        dynamic = torch.randn(count, length, self.code_size, generator=generator)
        return {"static": static, "dynamic": dynamic}

    def posterior(self, batch):
        pixels = Batch.of(batch).frames.flatten(2)  # (B, T, H W)
        static = DiagonalGaussian.from_outputs(self.encoders["static"](pixels.mean(1)))
        dynamic = DiagonalGaussian.from_outputs(self.encoders["dynamic"](pixels))
        return {"static": static, "dynamic": dynamic}

    def encode(self, batch, noise=None):
        posterior = self.posterior(batch)
        if noise is None:
            return {name: gaussian.mean for name, gaussian in posterior.items()}
        noise = self.as_noise(noise, *Batch.of(batch).frames.shape[:2])
        return {name: gaussian.draw(noise[name]) for name, gaussian in posterior.items()}

    def decode(self, codes):
        static = codes["static"][:, None].expand_as(codes["dynamic"])
        pixels = torch.sigmoid(self.decoder(torch.cat([static, codes["dynamic"]], -1)))
        return pixels.unflatten(-1, self.frame_shape)

    def generate(self, count, length, noise=None, given=None):
        return self.as_noise(noise, count, length) | self.check_given(given, count, length)

    def elbo(self, batch, noise=None):
        frames = Batch.of(batch).frames
        decoded = self.decode(self.encode(batch, self.as_noise(noise, *frames.shape[:2])))
        gaussians = self.posterior(batch)
        divergences = {name: kl(q, standard_normal_like(q.mean)) for name, q in gaussians.items()}
        divergences["dynamic"] = divergences["dynamic"].sum(1)
        likelihood = gaussian_log_likelihood(frames, decoded, 0.1).sum(1)
        return Bound(likelihood, divergences, frames.shape[1])


def load_squares(split="train", image_size=8):
    """Forty sequences of a grey square each: how grey is static, its column is dynamic."""
    generator = torch.Generator().manual_seed(len(split))
    grey = torch.randint(2, (40,), generator=generator)
    column = torch.randint(2, (40, 3), generator=generator)
    frames = torch.zeros(40, 3, 1, image_size, image_size, dtype=torch.uint8)
    for row in range(40):
        for step in range(3):
            start = int(column[row, step]) * image_size // 2
            frames[row, step, :, :, start : start + image_size // 2] = 100 + 100 * int(grey[row])
    return Sequences(
        frames,
        {"grey": grey, "column": column},
        ("grey",),
        ("column",),
        split,
        f"forty squares, {split}",
        classes={"grey": ("dark", "light"), "column": ("left", "right")},
    )


def brightness(examined):
    """brightness: the mean of all decoded pixels of the test sequences."""
    codes = examined.model.encode(examined.test.as_float())
    return {"brightness": examined.model.decode(codes).mean().item()}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The toys in the registries, their section in the table, and a clone with their table."""
    table = settings.read_table() | tomllib.loads(SECTION)
    monkeypatch.setattr(settings, "read_table", lambda: table)
    monkeypatch.setitem(registry.MODELS, "toy", Toy)
    monkeypatch.setitem(catalogue.DATASETS, "squares", catalogue.Dataset(load_squares))
    monkeypatch.setitem(evaluation.MEASURES, "brightness", brightness)
    for name in ("notebooks", "data", "results"):
        (tmp_path / name).mkdir()
    (tmp_path / "README.md").write_text("<!-- headline -->\n\n<!-- /headline -->\n")
    (tmp_path / "results" / "tables.toml").write_text(TABLES)
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_toys_are_trained_measured_and_shown(toy, monkeypatch):
    smoke = ("toy", "--profile", "smoke", "--results", "results")
    for command, *options in (("train",), ("evaluate", "--write"), ("verify",)):
        arguments = smoke if command != "verify" else ()
        monkeypatch.setattr(sys, "argv", ["unbraid", command, *arguments, *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert not end.value.code, command
    where = toy / "results" / "toy" / "squares" / "smoke"
    curve = store.read_csv(where / "toy-seed0.training.csv")
    assert curve[-1]["elbo_per_frame"] > curve[0]["elbo_per_frame"]
    metrics = store.read_json(where / "metrics.json")
    assert 0.05 < metrics["toy"]["brightness"] < 0.95 and "elbo_per_frame" in metrics["toy"]
    assert "decoded pixels" in metrics["protocol"]["brightness"]
    page = (toy / "results" / "README.md").read_text()
    assert f"| toy | {metrics['toy']['brightness']:.3f} |" in page
    model = experiments.load_model("toy/squares/smoke/toy-seed0", toy / "results")
    assert isinstance(model, Toy)


# ---- what has to be touched


def files_with(name):
    """The files of the library that have a name as a string, or a part of a string's path."""
    paths = set()
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value == name:
                paths.add(str(path.relative_to(LIBRARY)))
    return paths


def is_papers_own(path):
    """Whether a file measures what one paper measures, as no new model or dataset needs."""
    return path.startswith("evaluation/")


@pytest.mark.parametrize("model", sorted(registry.MODELS))
def test_a_model_is_named_in_its_file_one_registry_and_the_table(model):
    files = {path for path in files_with(model) if not is_papers_own(path)}
    assert files <= {f"models/{model}.py", "models/registry.py", "experiments.py"}
    assert model in {experiment.model for experiment in settings.list_experiments()}


@pytest.mark.parametrize("dataset", sorted(catalogue.DATASETS))
def test_a_dataset_is_named_in_its_file_one_registry_and_the_table(dataset):
    own = catalogue.DATASETS[dataset].loader.__module__.rsplit(".", 1)[1]
    files = {path for path in files_with(dataset) if not is_papers_own(path)}
    others = {"data/catalogue.py", "data/own_copies.py", "experiments.py"}
    assert files <= {f"data/{own}.py", *others}  # own_copies name free sets as substitutes
    if "experiments.py" in files:  # as a sampler's name or a judge's, which need not be
        assert dataset in {*experiments.SAMPLERS, *experiments.JUDGES}
