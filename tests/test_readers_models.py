"""The classes that readers build give the library's terms and gradients, and train alone.

They are taken out of the notebooks' cells, without cells of exercises.
"""

import ast
import math
import subprocess
import sys
import textwrap
from functools import cache
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import DOUBLE, NOTEBOOKS, close, seeded
from safetensors.torch import load_file
from sklearn.neighbors import KNeighborsRegressor
from torch import nn
from unbraid import records
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.models.independent import IndependentPrediction

from tools import files

EXERCISE = {"stub", "expectation", "solution"}
TORCH = "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
# By notebook: what is the reader's model with the paper's networks, and what are ours.
MODELS = {
    "11": (
        "kl step_by_step all_at_once paper_networks Posterior transition Filter "
        "IndependentPrediction",
        "small_networks",
    ),
}
NAMES = [(number, name) for number in MODELS for name in " ".join(MODELS[number]).split()]


@cache
def read_sources(number):
    """The source of each function and class that a notebook's cells define, by name."""
    (path,) = [path for path in NOTEBOOKS if path.name.startswith(number)]
    sources = {}
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "code" and not EXERCISE & set(files.tags(cell)):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    sources[node.name] = ast.get_source_segment(cell.source, node)
    return sources


def run_lesson(number, *names, old="", new="", **given):
    """What a notebook defines, all or these names; `old`, which occurs once, becomes `new`."""
    sources = read_sources(number)
    source = "\n\n".join(sources[name] for name in names or sources)
    assert not old or source.count(old) == 1, old
    namespace = {"torch": torch, "nn": nn, "F": F, "math": math, "np": np} | given
    exec(source.replace(old, new) if old else source, namespace)
    return SimpleNamespace(**namespace)


@pytest.mark.parametrize("number, name", NAMES)
def test_it_is_plain_torch_with_shapes(number, name):
    source = read_sources(number)[name]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            assert [ast.unparse(base) for base in node.bases] == ["nn.Module"]
        assert not isinstance(node, ast.Import | ast.ImportFrom | ast.Assert | ast.Raise)
    for line in source.splitlines():
        is_layer = line.strip().startswith(("self.", "nn.Conv", "up", "down")) and "= nn." in line
        assert not is_layer or "->" in line or "nn.ModuleList" in line, line


@pytest.mark.parametrize("number", MODELS)
def test_it_is_short(number):
    sources = read_sources(number)
    lines = [[sources[name].count("\n") + 1 for name in part.split()] for part in MODELS[number]]
    assert sum(lines[0]) <= 130 and sum(lines[1]) <= 25 and max(map(max, lines)) <= 25


def test_12_repeats_the_class_of_11():
    for name in " ".join(MODELS["11"]).split():
        assert read_sources("12")[name] == read_sources("11")[name]


# ---- A: 11's class is the library's by its numbers

PREDICTION = records.weights("independent/circle/quick/paper_width_long-seed0")
GRADIENTS = {  # by the library's name: the reader's
    "encoder.0.weight": "filter.encoder.0.weight",
    "transitions.1.4.weight": "filter.transitions.1.4.weight",
    "posterior.head.log_variance.weight": "filter.posterior.log_variance.weight",
}


def open_prediction(is_training, **change):
    """The reader's model and the library's, with the weights of the paper's networks."""
    lesson = run_lesson("11", *" ".join(MODELS["11"]).split(), "rename", **change)
    sizes = {"features": 32, "K": 2, "d": 20, "hidden": 128, "depth": 4, "v": 0.25}
    reader = lesson.IndependentPrediction(lesson.paper_networks(40), lesson.step_by_step, **sizes)
    weights = {lesson.rename(name): weight for name, weight in load_file(PREDICTION).items()}
    reader.load_state_dict(weights)
    library = IndependentPrediction.load(PREDICTION)
    return reader.double().train(is_training), library.double().train(is_training)


def compare_predictions(is_training, **change):
    """Pairs of the reader's and the library's terms, in nats per frame, and gradients, by name."""
    reader, library = open_prediction(is_training, **change)
    world = MovingDigits(load_digits("test"), 32, 4, motion="circle", speeds=(0.5, -0.9))
    x = world(3, seeded()).frames.double()
    noise = torch.randn(3, 4, 40, generator=seeded(1), **DOUBLE)
    error, costs = reader.loss(x, noise)
    bound = library.elbo(x, library.to_codes(noise))
    constant = 0.5 * x[0, 0].numel() * math.log(2 * math.pi * 0.25)
    pairs = {"error": (error, -bound.log_likelihood.mean() / 4 - constant)}
    for mine, (name, other) in zip(costs, bound.kl.items(), strict=True):
        pairs[name] = mine, other.mean() / 4
    (error + costs.sum()).backward(), bound.loss().backward()
    for theirs, ours in GRADIENTS.items():
        pairs[theirs] = reader.get_parameter(ours).grad, library.get_parameter(theirs).grad
    return pairs


def list_differences(pairs):
    """The names of the pairs that differ by more than a hundred thousandth."""
    return {
        name
        for name, (mine, other) in pairs.items()
        if (mine - other).abs().max() > 1e-5 * other.abs().max()
    }


@pytest.mark.parametrize("is_training", [True, False])
def test_11_gives_each_term_and_gradient_of_the_library(is_training):
    assert list_differences(compare_predictions(is_training)) == set()


MUTANTS = [  # a line, what it becomes, and what must differ then
    ("error.mean() / (2 * self.v)", "error.mean() / self.v", "error"),
    ("network(step) for step in x.unbind(1)]", "network(x[:, 0]) for _ in x[0]]", "error"),
    ("(q[1] / 2).exp()", "q[1].exp()", "error"),
    ("/ log_p.exp()", "", "factor_0"),
    ("z.chunk(self.K, 1)  #", "z.chunk(self.K, 1)[::-1]  #", "factor_1"),
    ("costs.append(kl(q, p)", "costs.append(kl(p, q)", "factor_1"),
    ("[part.detach() for part in p]", "p", "transitions.1.4.weight"),
]


@pytest.mark.parametrize("old, new, term", MUTANTS)
def test_a_wrong_line_is_seen(old, new, term):
    assert term in list_differences(compare_predictions(True, old=old, new=new))


def test_a_clip_that_is_normalised_as_a_whole_is_seen():
    body = "return torch.stack([network(step) for step in x.unbind(1)], 1)"
    whole = "return network(x.flatten(0, 1)).unflatten(0, x.shape[:2])"
    assert "error" in list_differences(compare_predictions(True, old=body, new=whole))
    assert list_differences(compare_predictions(False, old=body, new=whole)) == set()


def test_11_gives_the_closed_form_of_a_linear_filter():
    lesson, steps = run_lesson("11", *" ".join(MODELS["11"]).split(), "closed_form"), 3
    A, U, H = (torch.randn(shape, generator=seeded(4), **DOUBLE) for shape in ((2, 2),) * 3)
    G, Q, v, s = torch.randn(2, 2, generator=seeded(5), **DOUBLE), 0.3, 0.4, 0.2
    clip = torch.randn(steps, 2, generator=seeded(6), **DOUBLE)

    class Linear(nn.Module):
        def forward(self, seen, expected):
            mean = expected[0] @ H.T + seen @ G.T
            return mean, torch.full_like(mean, math.log(s))

    def predict(z):
        return torch.cat([z @ A.T, torch.full_like(z, math.log(Q))], 1)

    networks = nn.Identity(), lambda z: z @ U.T
    sizes = {"features": 2, "K": 1, "d": 2, "hidden": 1, "depth": 1, "v": v}
    model = lesson.IndependentPrediction(networks, lesson.all_at_once, **sizes)
    model.filter.posterior, model.filter.predict = Linear(), lambda z: predict(z).chunk(2, 1)
    axes = torch.eye(2 * steps, **DOUBLE) * math.sqrt(2 * steps)
    points = torch.cat([axes, -axes]).view(-1, steps, 2)
    error, costs = model.loss(clip.expand(len(points), steps, 2), points)
    bound = -steps * (error + costs.sum() + math.log(2 * math.pi * v))
    close(bound, lesson.closed_form(clip, A, Q, U, v, H, G, s))


# ---- A: it trains

SCRIPT = """
import sys
for name in ("unbraid", "papers", "tools"):
    sys.modules[name] = None  # an import of it fails
{imports}
{source}

clips = torch.load("clips.pt")  # (N, T, 3, 32, 32)
torch.manual_seed(0)
sizes = {{"features": 96, "K": 2, "d": 16, "hidden": 64, "depth": 2, "v": 0.05}}
model = IndependentPrediction(small_networks(32), all_at_once, **sizes)
model.filter.posterior.log_variance.bias.data -= 4
optimizer = torch.optim.Adam(model.parameters(), 2e-3)
for update in range(100):
    x = clips[8 * update : 8 * update + 8]
    error, costs = model.loss(x, torch.randn(8, x.shape[1], 32))
    optimizer.zero_grad()
    (error + costs.sum()).backward()
    optimizer.step()
with torch.no_grad():
    error, costs = model.loss(clips, torch.randn(*clips.shape[:2], 32))
mean = (clips - clips.mean((0, 1))).square().flatten(2).sum(2).mean() / (2 * model.v)
print((error + costs.sum()).item(), mean.item())
"""


def test_11_trains_with_torch_alone(tmp_path):
    world = MovingDigits(load_digits("train"), 32, 5, motion="circle", speeds=(0.5, -0.9))
    torch.save(world(800, seeded()).frames, tmp_path / "clips.pt")
    names = " ".join(MODELS["11"]).split()
    source = "\n\n\n".join(read_sources("11")[name] for name in names)
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT).format(imports=TORCH, source=source))
    command = [sys.executable, "-I", str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loss, of_mean_frame = map(float, done.stdout.split())
    assert loss < of_mean_frame


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA GPU"))]  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
def test_the_loop_of_12_trains_on_a_device(device):
    lesson = run_lesson("12", device=torch.device(device), KNeighborsRegressor=KNeighborsRegressor)
    world = MovingDigits(load_digits("test"), 32, 5, motion="circle", speeds=(0.5, -0.9))
    model, frames = lesson.small_model(0.1, 0), world(8, seeded()).frames.to(device)

    def measure():
        with torch.no_grad():
            error, costs = model.loss(frames, torch.zeros(8, 5, 32, device=device))
        return (error + costs.sum()).item()

    before = measure()
    assert [update for update, *_ in lesson.train(model, world, 20, 0)] == list(range(1, 21))
    assert measure() < before
    assert lesson.know_places(model, world(60, seeded())).shape == (2, 2)


@pytest.mark.parametrize(
    "scores, state",
    [
        ([[0.95, -0.05], [0.02, 0.93]], "separated"),
        ([[0.0, 0.95], [0.92, -0.1]], "separated"),
        ([[0.95, 0.3], [0.0, 0.93]], "a digit in both factors"),
        ([[0.95, 0.94], [0.0, 0.0]], "both digits in one factor"),
        ([[0.95, 0.1], [0.0, 0.0]], "a digit dropped"),
        ([[0.85, 0.0], [0.0, 0.85]], "nearly separated"),
    ],
)
def test_12_names_a_state(scores, state):
    assert run_lesson("12", "name_state").name_state(np.array(scores)) == state
