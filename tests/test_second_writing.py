"""The library's models, which are what readers type, agree with their second writing.

Term by term and gradient by gradient, in doubles, for a model of papers A and B of each class and
profile that ships; and a wrong line of the one writing, in a lesson or in the library, is seen.
"""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import second_writing
import torch
from helpers import FACTORS, FRAMES_ALONE, example_frames, seeded, small
from test_frozen import list_weights
from unbraid import models, records
from unbraid.models import independent, lesson_a, lesson_b, unordered
from unbraid.models.base import SequenceModel
from unbraid.variants import GatedPrediction

WRITTEN = {  # by class, also of those below it: the second writing, the lesson, the library's
    "IndependentPrediction": (second_writing.IndependentPrediction, lesson_a, independent),
    "UnorderedFrames": (second_writing.UnorderedFrames, lesson_b, unordered),
}


def write_again(model):
    """The second writing of a model, with a copy of its layers."""
    names = [each.__name__ for each in type(model).__mro__]
    return next(WRITTEN[name][0] for name in names if name in WRITTEN)(model)


def measure(model, is_training, frames, noise, mean):
    """Terms, codes, decoded frames and new codes, and the gradients of each term, by name."""
    bound = model.train(is_training).elbo(frames, noise)
    found = {"log_likelihood": bound.log_likelihood} | bound.kl | bound.terms
    weights = {name.removeprefix("model."): each for name, each in model.named_parameters()}
    for term, value in list(found.items()):
        at = torch.autograd.grad(value.sum(), weights.values(), None, True, allow_unused=True)
        for weight, gradient in zip(weights, at, strict=True):
            found[f"gradient of {term} at {weight}"] = gradient
    with torch.no_grad():
        model.eval()
        for kind, draws in (("mean", mean), ("sample", noise)):
            codes = model.encode(frames, draws)
            found |= {f"{kind} of {name}": code for name, code in codes.items()}
            found[f"frames of the {kind}"] = model.decode(codes)
        new = model.generate(*frames.shape[:2], noise)
    return found | {f"new {name}": code for name, code in new.items()}


def compare(model, is_training):
    """The names of what differs by more than 1e-12 of the largest value.

    A bias before batch normalisation has the gradient 0 and its rounding, which is measured by the
    largest gradient of its term.
    """
    frames, second = example_frames(model, 2), write_again(model)
    noise = model.draw_noise(2, frames.shape[1], seeded(1))
    ours = measure(model, is_training, frames, noise, None)
    zeros = {name: torch.zeros_like(draw) for name, draw in noise.items()}
    theirs = measure(second, is_training, frames, noise, zeros)
    assert ours.keys() == theirs.keys()
    largest, wrong = {}, set()  # largest: value of a term's gradients
    for name, other in theirs.items():
        if other is not None:
            term = name.partition(" at ")[0]
            largest[term] = max(largest.get(term, 0.0), other.abs().max().item())
    for name, other in theirs.items():
        one, rounding = ours[name], 1e-14 * largest[name.partition(" at ")[0]]
        if one is None or other is None:
            wrong |= {name} if one is not other else set()
        elif not (one - other).abs().max() <= 1e-12 * other.abs().max() + rounding:
            wrong.add(name)
    return wrong


OPENED = {  # as notebooks open them: what was trained behind a gate is open
    "CanvasPrediction": SequenceModel,
    "GatedPrediction": GatedPrediction,
    "IndependentPrediction": SequenceModel,
    "UnorderedFrames": SequenceModel,
}


def list_shipped():
    """By class and profile, the name of the first model of papers A and B that ships."""
    names = {}
    for name in list_weights():
        kind = records.read_record(name)["model"]["class"].rpartition(".")[2]
        if kind in OPENED:
            names.setdefault((kind, name.split("/")[2]), name)
    return names


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("kind, name", [(key[0], name) for key, name in list_shipped().items()])
def test_a_shipped_model_gives_terms_gradients_codes_and_frames_of_its_second_writing(
    kind, name, is_training
):
    model = OPENED[kind].load(records.weights(name)).double()
    assert compare(model, is_training) == set()


PREDICTED = "independent", "independent, entangled", "independent, paper's activation", "canvases"
UNORDERED = "unordered", "unordered, no pairs", "unordered, plain prior", "painted"


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("name", [*PREDICTED, *UNORDERED])
def test_each_kind_of_model_agrees(name, is_training):
    """In training with batch normalisation, for A with the statistics of one step."""
    assert compare(small(name, normalise=is_training), is_training) == set()


# ---- a wrong line is seen


def run_source(module, source, name, **given):
    """A module from a changed source, under a name of its own."""
    new = ModuleType(name)
    vars(new).update(given, __package__=module.__package__, __file__=module.__file__)
    sys.modules[name] = new  # where dataclasses look for their own
    exec(compile(source, module.__file__, "exec"), vars(new))
    return new


def mutate(kind, old, new):
    """The library's class of this name, with a line of the lesson or of its own changed."""
    _, *modules = WRITTEN[kind]
    lesson, library = (Path(each.__file__).read_text(encoding="utf-8") for each in modules)
    assert (lesson + library).count(old) == 1, old
    lesson, library = lesson.replace(old, new), library.replace(old, new)
    name = modules[0].__name__.rpartition(".")[2]
    line = f"from . import {name}\n"
    assert library.count(line) == 1
    chapter = run_source(modules[0], lesson, f"changed_{name}")
    given = {name: chapter}
    return getattr(run_source(modules[1], library.replace(line, ""), "changed", **given), kind)


def build(kind, variance_of):
    """A small model in doubles; its log-variances are far above what is let through, or not."""
    torch.manual_seed(0)
    model = kind(**FACTORS | {"normalise": True, "activation": "paper"}).double()
    with torch.no_grad():
        model.filter.posterior.log_variance.bias += variance_of
    return model


MUTANTS_OF_A = [  # a line, and what it becomes
    ("squared - 1 + log_p - log_q", "squared - 1 + log_q - log_p"),
    ("squared = (mean_q - mean_p) ** 2 / log_p.exp()", "squared = (mean_q - mean_p) ** 2"),
    ("[network(step) for step in x.unbind(1)]", "[network(x[:, 0]) for _ in x.unbind(1)]"),
    ("lesson_a.step_by_step if config.normalise", "lesson_a.all_at_once if config.normalise"),
    ("(hidden, hidden), nn.SELU()]", "(hidden, hidden), nn.ReLU()]"),
    ("z.chunk(self.K, 1)  #", "z.chunk(self.K, 1)[::-1]  #"),
    ("[part.detach() for part in p])  # look", "p)  # look"),
    ("(q[1] / 2).exp() * eps)  # draw", "q[1].exp() * eps)  # draw"),
    (
        "costs.append(kl(q, p).unflatten(1, (self.K, self.d)).sum(2))  # (B",
        "costs.append(kl(p, q).unflatten(1, (self.K, self.d)).sum(2))  # (B",
    ),
    ("self.predict(codes[-1])  # predict", "self.predict(codes[0])  # predict"),
    ("(self.decoder, latents)", "(self.decoder, latents.detach())"),
    ("means, self.variance)", "means, self.variance**2)"),
    ("mean + (log_variance / 2).exp() * draw)", "mean)"),
    ("predict(latents[-1])", "predict(latents[0])"),
    ("pair[1].clamp(*LOG_VARIANCE_BOUNDS)", "pair[1]"),
    ("return bounded(super().predict(z))", "return super().predict(z)"),
    ("self.posterior.register_forward_hook(lambda _, given, q: bounded(q))", "pass"),
]


@pytest.mark.parametrize("old, new", MUTANTS_OF_A)
def test_a_wrong_line_of_a_is_seen(old, new):
    kind, seen = mutate("IndependentPrediction", old, new), set()
    for shift in (0.0, 100.0, 1e3):
        if seen:
            break
        model = build(models.IndependentPrediction, shift)
        with torch.no_grad():
            model.filter.transitions[0][-1].bias += shift
        try:
            wrong = build(kind, 0.0)
            wrong.load_state_dict(model.state_dict())
            seen |= compare(wrong, True)
        except (RuntimeError, ValueError) as error:  # a layer less; a code that is infinite
            assert "state_dict" in str(error) or "finite" in str(error)
            seen.add("refused")
    assert seen


def test_the_small_model_of_the_mutants_agrees():
    for shift in (0.0, 100.0):
        model = build(models.IndependentPrediction, shift)
        assert compare(model, True) == set()


MUTANTS_OF_B = [
    ("squared = (mean_q - mean_p) ** 2 / log_p.exp()", "squared = (mean_q - mean_p) ** 2"),
    ("mean + (log_variance / 2).exp() * noise", "mean + log_variance.exp() * noise"),
    ("q_d = self.read_d(h, s)", "q_d = self.read_d(h, s.detach())"),
    ("self.prior(s)[:, None].chunk(2, 2)", "self.prior(q_s[0])[:, None].chunk(2, 2)"),
    ("F.softplus(a) - x * a", "F.softplus(a) + x * a"),
    ("kl(q_s, p_s), kl(q_d, p_d).sum(1)", "kl(p_s, q_s), kl(q_d, p_d).sum(1)"),
    ("-1, d.shape[1], -1), d], 2)", "-1, d.shape[1], -1), d.flip(1)], 2)"),
    ("second.roll(-shift, 1)", "second.roll(-shift, 0)"),
    ("range(1, length) if", "range(1, length - 1) if"),
    ("torch.stack(pairs).mean(0)", "torch.stack(pairs).sum(0)"),
    ("[F.relu(first + second", "[(first + second"),
    ("nn.LeakyReLU(slope)]", "nn.LeakyReLU(slope / 2)]"),
    (
        'Bound(-error, {"static": kl_s, "dynamic": kl_d}',
        'Bound(error, {"static": kl_s, "dynamic": kl_d}',
    ),
    ('{"static": kl_s, "dynamic": kl_d}', '{"static": kl_d, "dynamic": kl_s}'),
    ('noise.get("static", 0), noise', "0, noise"),
    ('self.dynamic_prior(static).draw(noise["dynamic"])', 'noise["dynamic"]'),
]


@pytest.mark.parametrize("old, new", MUTANTS_OF_B)
def test_a_wrong_line_of_b_is_seen(old, new):
    changes = {"normalise": "norm" in new + old, "decoder_slope": 0.3}
    model = small("unordered", **changes)
    try:
        wrong = mutate("UnorderedFrames", old, new)(**FRAMES_ALONE | changes).double()
        wrong.load_state_dict(model.state_dict())
        assert compare(wrong, True)
    except RuntimeError as error:  # a layer less
        assert "state_dict" in str(error)
