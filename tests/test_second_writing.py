"""The library's models, which are what readers type, agree with their second writing.

Term by term and gradient by gradient, in doubles, for every model of papers A and B that ships;
and a wrong line of the one writing, in a lesson or in the library around it, is seen.
"""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import second_writing
import torch
from helpers import FACTORS, FRAMES_ALONE, example_frames, seeded, small
from test_frozen import list_weights
from unbraid import models, records, variants
from unbraid.models import independent, lesson_a, lesson_b, unordered
from unbraid.models.base import SequenceModel
from unbraid.variants import GatedPrediction

WRITTEN = {  # by class, also of those below it: the second writing, the lesson, the library's
    "IndependentPrediction": (second_writing.IndependentPrediction, lesson_a, independent),
    "UnorderedFrames": (second_writing.UnorderedFrames, lesson_b, unordered),
}


def find_written(model):
    """What WRITTEN has of a model's class or of one above it, else None."""
    names = [each.__name__ for each in type(model).__mro__]
    return next((WRITTEN[name] for name in names if name in WRITTEN), None)


def write_again(model):
    """The second writing of a model, with its weights."""
    kind = find_written(model)[0]
    second = kind(model.config).double()
    state = model.state_dict()
    second.load_state_dict({second.rename(name): value for name, value in state.items()})
    return second


def open_shipped(name):
    """A model of the clone as notebooks open it: what was trained behind a gate is open."""
    is_gated = records.read_record(name)["model"]["class"].endswith(".GatedPrediction")
    return (GatedPrediction if is_gated else SequenceModel).load(records.weights(name)).double()


def measure(model, is_training, frames, noise, rename):
    """Terms, codes, decoded frames and new codes, and the gradients of each term, by name.

    rename: gives the name under which the gradient at a weight is noted.
    """
    bound = model.train(is_training).elbo(frames, noise)
    found = {"log_likelihood": bound.log_likelihood} | bound.kl | bound.terms
    weights = {rename(name): weight for name, weight in model.named_parameters()}
    for term, value in list(found.items()):
        at = torch.autograd.grad(value.sum(), weights.values(), None, True, allow_unused=True)
        for weight, gradient in zip(weights, at, strict=True):
            found[f"gradient of {term} at {weight}"] = gradient
    with torch.no_grad():
        model.eval()
        for kind, draws in (("mean", None), ("sample", noise)):
            codes = model.encode(frames, draws)
            found |= {f"{kind} of {name}": code for name, code in codes.items()}
            found[f"frames of the {kind}"] = model.decode(codes)
        new = model.generate(*frames.shape[:2], noise)
    return found | {f"new {name}": code for name, code in new.items()}


def compare(model, second, is_training, frames=None):
    """The names of what differs by more than 1e-12 of the largest value.

    A bias before batch normalisation has the gradient 0 and its rounding, which is measured by the
    largest gradient of its term.
    """
    frames = example_frames(model, 2) if frames is None else frames
    noise = model.draw_noise(2, frames.shape[1], seeded(1))
    ours = measure(model, is_training, frames, noise, second.rename)
    theirs = measure(second, is_training, frames, noise, lambda name: name)
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


def is_written_twice(name):
    kind = records.read_record(name)["model"]["class"].rpartition(".")[2]
    found = getattr(variants, kind, getattr(models, kind, object))
    return any(each.__name__ in WRITTEN for each in found.__mro__)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("name", [*filter(is_written_twice, list_weights())])
def test_a_shipped_model_gives_terms_gradients_codes_and_frames_of_its_second_writing(
    name, is_training
):
    model = open_shipped(name)
    assert compare(model, write_again(model), is_training) == set()


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
    ("(mean_q - mean_p) ** 2", "(mean_q - mean_p).abs()"),
    ("squared - 1 + log_p - log_q", "squared - 1 + log_q - log_p"),
    ("squared = (mean_q - mean_p) ** 2 / log_p.exp()", "squared = (mean_q - mean_p) ** 2"),
    ("[network(step) for step in x.unbind(1)]", "[network(x[:, 0]) for _ in x.unbind(1)]"),
    ("lesson_a.step_by_step if config.normalise", "lesson_a.all_at_once if config.normalise"),
    ("h = F.leaky_relu(torch.cat(parts, 1))", "h = F.relu(torch.cat(parts, 1))"),
    ("h = F.leaky_relu(self.combine(h))", "h = self.combine(h)"),
    ("return self.mean(h), self.log_variance(h)", "return self.mean(h), self.mean(h)"),
    (
        "[self.from_frame(seen), self.from_mean(mean)]",
        "[self.from_frame(seen), self.from_mean(seen.mean() + 0 * mean)]",
    ),
    ("for _ in range(depth - 1)", "for _ in range(depth - 2)"),
    ("(hidden, hidden), nn.SELU()]", "(hidden, hidden), nn.ReLU()]"),
    ("z.chunk(self.K, 1)  #", "z.chunk(self.K, 1)[::-1]  #"),
    ("torch.stack(outputs, 1).chunk(2, 2)", "torch.stack(outputs, 2).chunk(2, 1)"),
    (
        "return means.flatten(1), log_variances.flatten(1)",
        "return log_variances.flatten(1), means.flatten(1)",
    ),
    ("p = (torch.zeros_like(noise[:, 0]),) * 2  #", "p = (torch.ones_like(noise[:, 0]),) * 2  #"),
    ("[part.detach() for part in p])  # look", "p)  # look"),
    ("[part.detach() for part in p])  # look", "[0 * part for part in p])  # look"),
    ("(q[1] / 2).exp() * eps)  # draw", "q[1].exp() * eps)  # draw"),
    ("(q[1] / 2).exp() * eps)  # draw", "(q[1] / 2).exp().detach() * eps)  # draw"),
    (
        "costs.append(kl(q, p).unflatten(1, (self.K, self.d)).sum(2))  # (B",
        "costs.append(kl(p, q).unflatten(1, (self.K, self.d)).sum(2))  # (B",
    ),
    ("(self.K, self.d)).sum(2))  # (B, K)", "(self.K, self.d)).mean(2))  # (B, K)"),
    ("(self.K, self.d)).sum(2))  # (B, K)", "(self.d, self.K)).sum(1))  # (B, K)"),
    ("self.predict(codes[-1])  # predict", "self.predict(codes[0])  # predict"),
    ("self.predict(codes[-1])  # predict", "self.predict(q[0])  # predict"),
    ("costs.sum(1).unbind(1)", "costs.mean(1).unbind(1)"),
    ("costs.sum(1).unbind(1)", "costs[:, 1:].sum(1).unbind(1)"),
    ("means, self.variance).sum(1)", "means, self.variance).mean(1)"),
    ("(self.decoder, latents)", "(self.decoder, latents.detach())"),
    ("means, self.variance)", "means, self.variance**2)"),
    ("frames, frames.new_zeros(", "frames, frames.new_ones("),
    ("mean + (log_variance / 2).exp() * draw)", "mean)"),
    ("predict(latents[-1])", "predict(latents[0])"),
    ("latents.split(self.factor_size, -1)", "latents.split(self.factor_size, -1)[::-1]"),
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
            seen |= compare(wrong, write_again(model), True)
        except (RuntimeError, ValueError) as error:  # a layer less; a code that is infinite
            assert "state_dict" in str(error) or "finite" in str(error)
            seen.add("refused")
    assert seen


def test_the_small_model_of_the_mutants_agrees():
    for shift in (0.0, 100.0):
        model = build(models.IndependentPrediction, shift)
        assert compare(model, write_again(model), True) == set()


MUTANTS_OF_B = [
    ("squared - 1 + log_p - log_q", "squared + log_p - log_q"),
    ("squared = (mean_q - mean_p) ** 2 / log_p.exp()", "squared = (mean_q - mean_p) ** 2"),
    ("0.5 * ((log_q - log_p).exp()", "0.5 * ((log_p - log_q).exp()"),
    ("mean + (log_variance / 2).exp() * noise", "mean + log_variance.exp() * noise"),
    ("mean + (log_variance / 2).exp() * noise", "mean - (log_variance / 2).exp() * noise"),
    ("nn.Linear(hidden, hidden),  # (..., hidden) -> (..., hidden)", "nn.Identity(),"),
    ("self.trunk(x.flatten(0, 1)).unflatten(0", "self.trunk(x.flatten(0, 1)).relu().unflatten(0"),
    (
        "self.dynamic(torch.cat([h.flatten(2), s], 2))",
        "self.dynamic(torch.cat([h.mean(1, True).expand_as(h).flatten(2), s], 2))",
    ),
    ("q_d = self.read_d(h, s)", "q_d = self.read_d(h, q_s[0])"),
    ("q_d = self.read_d(h, s)", "q_d = self.read_d(h, s.detach())"),
    ("s[:, None].expand(-1, h.shape[1], -1)  # (B, N, D)", "s.mean(0).expand(*h.shape[:2], -1)"),
    ("return q_s, q_d, s, draw(q_d, noise_d)", "return q_s, q_d, s, q_d[0]"),
    (
        "p_s = torch.zeros_like(s), torch.zeros_like(s)",
        "p_s = torch.zeros_like(s), torch.ones_like(s)",
    ),
    ("self.prior(s)[:, None].chunk(2, 2)", "self.prior(q_s[0])[:, None].chunk(2, 2)"),
    ("self.prior(s)[:, None].chunk(2, 2)", "self.prior(s)[:, None].chunk(2, 2)[::-1]"),
    ("self.prior(s)[:, None].chunk(2, 2)", "[0 * d, 0 * d]"),
    ("F.softplus(a) - x * a", "F.softplus(a) + x * a"),
    ("error.flatten(1).sum(1), kl", "error.flatten(1).mean(1), kl"),
    ("kl(q_s, p_s), kl(q_d, p_d).sum(1)", "kl(p_s, q_s), kl(q_d, p_d).sum(1)"),
    ("kl(q_s, p_s), kl(q_d, p_d).sum(1)", "kl(q_s, p_s), kl(q_d, p_d).mean(1)"),
    ("-1, d.shape[1], -1), d], 2)", "-1, d.shape[1], -1), d.flip(1)], 2)"),
    (
        "first = first + self.pair.bias[:, None, None]",
        "first = first + 0 * self.pair.bias[:, None, None]",
    ),
    ("second.roll(-shift, 1)", "second.roll(-shift, 0)"),
    ("range(1, length) if", "range(1, length - 1) if"),
    ("range(1, length) if", "range(length) if"),
    ("torch.stack(pairs).mean(0)", "torch.stack(pairs).sum(0)"),
    ("[F.relu(first + second", "[(first + second"),
    ("nn.Sequential(lesson.convolution, norm)", "nn.Sequential(lesson.convolution)"),
    ("nn.LeakyReLU(slope)]", "nn.LeakyReLU(slope / 2)]"),
    ("widths[-1], SIDE, SIDE)), nn.LeakyReLU(slope)]", "widths[-1], SIDE, SIDE))]"),
    (
        'Bound(-error, {"static": kl_s, "dynamic": kl_d}',
        'Bound(error, {"static": kl_s, "dynamic": kl_d}',
    ),
    ('{"static": kl_s, "dynamic": kl_d}', '{"static": kl_d, "dynamic": kl_s}'),
    ('noise.get("static", 0), noise', "0, noise"),
    ("torch.sigmoid(self.logits(codes", "torch.tanh(self.logits(codes"),
    ('self.dynamic_prior(static).draw(noise["dynamic"])', 'noise["dynamic"]'),
    (
        "DiagonalGaussian.from_outputs(self.prior(static)[:, None])",
        "DiagonalGaussian.from_outputs(0 * self.prior(static)[:, None])",
    ),
]


@pytest.mark.parametrize("old, new", MUTANTS_OF_B)
def test_a_wrong_line_of_b_is_seen(old, new):
    changes = {"normalise": "norm" in new + old, "decoder_slope": 0.3}
    model = small("unordered", **changes)
    try:
        wrong = mutate("UnorderedFrames", old, new)(**FRAMES_ALONE | changes).double()
        wrong.load_state_dict(model.state_dict())
        assert compare(wrong, write_again(model), True)
    except RuntimeError as error:  # a layer less
        assert "state_dict" in str(error)


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("name", ["unordered", "unordered, no pairs", "painted"])
def test_small_models_of_b_agree(name, is_training):
    model = small(name, normalise=name != "unordered")
    assert compare(model, write_again(model), is_training) == set()
