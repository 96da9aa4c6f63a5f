"""Paper C's model: its bound against plain loops, what its codes see, anchors, masks, prior."""

import math

import pytest
import torch
from helpers import DOUBLE, ELEMENT, MODELS, SERIES, close, example_frames, seeded, small, within
from torch.distributions import Normal, kl_divergence
from unbraid.models import Batch, SingleElement
from unbraid.variants import AblatedElement, SpeechElement

KINDS = (SingleElement, AblatedElement, SpeechElement)
each = pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name][0] in KINDS])
POSITION = {"first": 0, "middle": 2, "last": 4}  # of five elements


def walk(network, steps):
    """A whole LSTM over a list of (B, inputs)."""
    return list(network(torch.stack(steps, 1))[0].unbind(1))


def normal(head, x):
    return Normal(head.mean(x), torch.exp(head.log_variance(x) / 2))


def slow_prior(prior, d):
    """p(d_t | d_<t) for a list of codes (B, d)."""
    return [normal(prior.head, h) for h in walk(prior.recurrent, [0 * d[0], *d[:-1]])]


def slow_dynamic_posterior(model, features, anchor, noise, hidden=None):
    """q(d_t) of a list of features (B, g), by the rule of the authors' code.

    hidden: the number of an element that was not observed, in whose place 0 is read.
    """
    subtract = getattr(model.config, "subtract", True)
    inputs = [c - features[anchor] if subtract else c for c in features]
    inputs[anchor] = noise["anchor"]
    if hidden is not None:
        inputs[hidden] = torch.zeros_like(inputs[hidden])
    states = walk(model.dynamic_encoder.recurrent, inputs)
    return [normal(model.dynamic_encoder.head, h) for h in states]


def slow_terms(model, frames, noise, anchor):
    """Paper C's equations, element by element.

    Lists of log p(x_t | s, d_t) and of log p(x_t | s, 0), the KL of s, and a list of KLs of d_t.
    """
    elements = model.codec.split(frames).unbind(1)
    features = [model.codec.encoder(x) for x in elements]
    if isinstance(model, SpeechElement):
        features = walk(model.context, features)
    from_all = getattr(model.config, "static_from", "anchor") == "all"
    read = sum(features) / len(features) if from_all else features[anchor]
    q_s = normal(model.static_head[2], torch.tanh(model.static_head[0](read)))
    s = q_s.mean + q_s.stddev * noise["static"]

    def log_p(x, d):
        decoded = Normal(model.codec.decoder(torch.cat([d, s], 1)), math.sqrt(model.variance))
        return decoded.log_prob(x).flatten(1).sum(1)

    q_d = slow_dynamic_posterior(model, features, anchor, noise)
    d = [q.mean + q.stddev * noise["dynamic"][:, t] for t, q in enumerate(q_d)]
    pairs = zip(q_d, slow_prior(model.prior, d), strict=True)
    kl_d = [kl_divergence(q, p).sum(1) for q, p in pairs]
    log_likelihood = [log_p(x, code) for x, code in zip(elements, d, strict=True)]
    still = [log_p(x, 0 * d[0]) for x in elements]
    return log_likelihood, still, kl_divergence(q_s, Normal(0.0, 1.0)).sum(1), kl_d


@each
@torch.no_grad()
def test_bound_and_terms_of_paper_c_against_a_slow_loop(name):
    model = small(name)
    frames, at = example_frames(model), POSITION[model.config.anchor]
    noise = model.draw_noise(3, 5, seeded(7))
    log_likelihood, still, kl_s, kl_d = slow_terms(model, frames, noise, at)
    bound = model(frames, noise)
    close(bound.log_likelihood, sum(log_likelihood))
    close(bound.kl, {"static": kl_s, "dynamic": sum(kl_d)})
    close(bound.per_frame, (sum(log_likelihood) - kl_s - sum(kl_d)) / frames.shape[1])
    terms = {"anchor": log_likelihood[at]}
    weights = {"log_likelihood": 5, "anchor": 1, "static_kl": 4, "dynamic_kl": 0.5}
    gain = 5 * sum(log_likelihood) + log_likelihood[at]
    if isinstance(model, SpeechElement):
        terms["still"], weights["still"] = sum(still), 2
        gain = gain + 2 * sum(still)
    close(bound.terms, terms)
    close(bound.loss(weights), (4 * kl_s + 0.5 * sum(kl_d) - gain).mean() / frames.shape[1])


def seen_by(model, code):
    """Which elements a code depends on, by gradient: of static (T,), of dynamic (t, T)."""
    frames = example_frames(model).requires_grad_()
    codes = model.encode(frames)[code]
    rows = [codes] if code == "static" else codes.unbind(1)
    seen = []
    for row in rows:
        gradient = torch.zeros_like(frames)
        if row.requires_grad:
            gradient = torch.autograd.grad(row.sum(), frames, retain_graph=True)[0]
        seen.append(model.codec.split(gradient).flatten(2).any(2).any(0).tolist())
    return seen[0] if code == "static" else seen


@pytest.mark.parametrize("name", ("element", "element, series"))
@pytest.mark.parametrize("anchor, at", (("first", 0), ("middle", 2), ("last", 4), ("any", 0)))
def test_the_static_code_sees_the_anchor_alone(name, anchor, at):
    assert seen_by(small(name, anchor=anchor), "static") == [t == at for t in range(5)]


def test_what_reads_all_elements():
    assert all(seen_by(small("speech element"), "static"))
    assert all(map(all, seen_by(small("element"), "dynamic")))
    with pytest.raises(ValueError, match="^features: "):  # half of them for each direction
        SpeechElement(image_size=8, width=2, features=5)


@pytest.mark.parametrize("kind", ({}, SERIES), ids=("images", "series"))
def test_a_static_code_from_all_sees_all_that_was_observed(kind):
    model = small("static from all", **kind)
    frames = example_frames(model).requires_grad_()
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    mask[:, : model.codec.window] = False  # the first element
    model.encode(Batch(frames, mask))["static"].sum().backward()
    gradient = model.codec.split(frames.grad).flatten(2)
    assert not gradient[:, 0].any() and gradient[:, 1:].any(2).all()


def new_model(**changes):
    torch.manual_seed(0)
    return SingleElement(**ELEMENT | changes)


@torch.no_grad()
def test_divergences_of_a_new_model_are_those_of_the_authors():
    """Nats per sequence of the model of Sprites, in training mode, on frames of even noise."""
    torch.manual_seed(0)
    model = SingleElement(initial_weights="small")
    frames = torch.rand(16, 8, *model.frame_shape, generator=seeded())
    found = model.elbo(frames, seeded(1)).kl
    assert found["static"].mean().item() == pytest.approx(0.012, rel=0.1)
    assert found["dynamic"].mean().item() == pytest.approx(0.29, rel=0.1)
    upwards = new_model(initial_weights="small").codec.decoder[-2]  # keeps its defaults
    assert upwards.weight.std() > 0.02


def test_a_new_model_starts_as_pytorch_does():
    """A model of one's own trains from the start that its layers bring; "small" is for a recipe."""
    for layer in SingleElement(kind="series", channels=42, width=64).modules():
        if isinstance(layer, torch.nn.Linear):  # uniform within 1 / sqrt(inputs)
            bound = layer.in_features**-0.5
            assert 0.9 * bound < layer.weight.abs().max() <= bound


@pytest.mark.parametrize("kind", ("default", "small"))
def test_where_the_dynamic_code_begins(kind):
    plain = new_model(initial_weights=kind).dynamic_encoder.head
    start = {"initial_log_variance": -3.0, "initial_gain": 4.0}
    begun = new_model(initial_weights=kind, **start).dynamic_encoder.head
    torch.testing.assert_close(begun.log_variance.bias, plain.log_variance.bias - 3)
    assert torch.equal(begun.mean.weight, 4 * plain.mean.weight)
    if kind == "small":
        wide = new_model(features=64, dynamic_hidden=64, initial_weights=kind).dynamic_encoder.head
        assert wide.mean.weight.std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    "anchor, expected",
    (("first", [0, 0, 2]), ("middle", [2, 1, 3]), ("last", [4, 2, 4]), ("any", [0, 0, 2])),
)
def test_the_anchor_is_chosen_among_observed_elements(anchor, expected):
    observed = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]).bool()
    assert small("element", anchor=anchor).choose_anchor(observed).tolist() == expected


def test_any_anchor_is_drawn_in_training_and_the_first_otherwise():
    model = small("element", anchor="any").train()
    observed = torch.tensor([[1, 0, 1, 1]]).bool().expand(3000, -1)
    lot = model.draw_noise(3000, 4, seeded())["lot"]
    counts = model.choose_anchor(observed, lot).bincount(minlength=4)
    assert counts[1] == 0
    assert (counts[[0, 2, 3]] - 1000).abs().max() < 5 * math.sqrt(3000 * 2 / 9)
    assert not model.eval().choose_anchor(observed, lot).any()


@each
@torch.no_grad()
def test_what_follows_the_end_changes_nothing(name):
    model = small(name)
    frames, end = example_frames(model), 3 * model.codec.window
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    mask[1, end:] = False  # the second sequence has three elements
    noise = model.draw_noise(3, 5, seeded(2))
    own_noise = {name: value[1:2] for name, value in noise.items()}
    own_noise["dynamic"] = own_noise["dynamic"][:, :3]
    alone, own_codes = model.elbo(frames[1:2, :end], own_noise), model.encode(frames[1:2, :end])
    junk = frames.clone()
    junk[1, end:] = 0.7
    bound, codes = model.elbo(Batch(junk, mask), noise), model.encode(Batch(junk, mask))
    close(bound.elbo[1:2], alone.elbo)
    close({name: term[1:2] for name, term in bound.terms.items()}, alone.terms)
    close(codes["static"][1:2], own_codes["static"])
    close(codes["dynamic"][1:2, :3], own_codes["dynamic"])
    assert not codes["dynamic"][1, 3:].any()
    close(bound.elbo[::2], model.elbo(frames, noise).elbo[::2])  # the others are whole


@each
@torch.no_grad()
def test_batch_normalisation_does_not_see_padding(name):
    """In training, where its statistics are those of the batch."""
    model = small(name).train()
    frames, noise = example_frames(model), model.draw_noise(3, 5, seeded(2))
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    mask[1, 3 * model.codec.window :] = False
    shortest = model.elbo(Batch(frames, mask), noise)
    for more in (3, 59):  # elements
        extra = torch.ones(3, more, 2, **DOUBLE)
        longer = noise | {"dynamic": torch.cat([noise["dynamic"], extra], 1)}
        padding = frames.new_full((3, more * model.codec.window, *model.frame_shape), 0.9)
        hidden = torch.zeros(padding.shape[:2], dtype=torch.bool)
        padded = Batch(torch.cat([frames, padding], 1), torch.cat([mask, hidden], 1))
        found = model.elbo(padded, longer)
        close(found.elbo, shortest.elbo)
        close(found.terms, shortest.terms)


@each
@torch.no_grad()
def test_the_dynamic_lstm_reads_zero_in_place_of_an_element_that_was_not_observed(name):
    model, hidden = small(name), 3
    frames = example_frames(model)
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    mask[:, model.codec.window * hidden : model.codec.window * (hidden + 1)] = False
    noise = model.draw_noise(3, 5, seeded(2))
    elements, seen = model.check_batch(Batch(frames, mask))
    found = model.posterior(elements, seen, noise).dynamic
    features = [model.codec.encoder(x) for x in elements.unbind(1)]
    if isinstance(model, SpeechElement):
        if not model.codec.is_series:  # Networks with batch normalisation skip it.
            features[hidden] = torch.zeros_like(features[hidden])
        features = walk(model.context, features)
    expected = slow_dynamic_posterior(model, features, POSITION[model.config.anchor], noise, hidden)
    close(found.mean, torch.stack([q.mean for q in expected], 1))


@torch.no_grad()
def test_only_observed_values_count():
    model = small("element, series")
    values = example_frames(model)  # (B, T, D), five windows
    mask = torch.rand(3, 10, 3, generator=seeded(4)) < 0.6
    mask[:, :2] = True
    mask[0, 4:6] = False  # one whole window is missing
    noise = model.draw_noise(3, 5, seeded(2))
    bound = model.elbo(Batch(values, mask), noise)
    means = model.decode(model.encode(Batch(values, mask), noise))
    by_value = Normal(means, math.sqrt(model.variance)).log_prob(values)
    close(bound.log_likelihood, (by_value * mask).sum((1, 2)))
    alone = small("released element", **SERIES)
    close(alone.elbo(Batch(values, mask), noise).terms, bound.terms)
    junk = torch.where(mask, values, 9.0)
    close(model.elbo(Batch(junk, mask), noise).elbo, bound.elbo)
    whole = Batch(values, torch.ones_like(mask))
    assert torch.equal(model.elbo(whole, noise).elbo, model.elbo(values, noise).elbo)


@torch.no_grad()
def test_codes_from_the_prior():
    model = small("element")
    for weight in (*model.prior.recurrent.parameters(), model.prior.head.mean.weight):
        weight *= 6  # so that the past matters
    new = model.generate(4000, 4, seeded())
    assert within(new["static"], 0.0) and within(new["static"].square(), 1.0)
    prior = model.prior(new["dynamic"])  # of each draw, given the draws before it
    deviations = (new["dynamic"] - prior.mean) / prior.standard_deviation
    for t in range(4):
        assert within(deviations[:, t], 0.0) and within(deviations[:, t].square(), 1.0)
    assert prior.mean[:, 3].std(0).max() > 0.1
