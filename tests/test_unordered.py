"""Paper B's model: its pairs, what order and number of frames change, its bound and its codes."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from helpers import DOUBLE, FRAMES_ALONE, close, example_frames, seeded, small, within
from unbraid.models.unordered import UnorderedFrames
from unbraid.variants.painted import CONTRAST
from unbraid_course.lessons import n22


def new_model(**changes):
    """The paper's model, small, with new weights."""
    torch.manual_seed(0)
    return UnorderedFrames(**FRAMES_ALONE | changes).double().eval()


def test_what_training_begins_with():
    usual, sharp = new_model(), new_model(initial_log_variance=-4.0)
    for name in ("encoder.static.dense", "encoder.dynamic"):
        before, after = (model.get_submodule(name)[-1].bias.chunk(2) for model in (usual, sharp))
        assert torch.equal(before[0], after[0])
        assert torch.allclose(before[1] - 4, after[1], atol=1e-6)
    for model in (usual, new_model(initial_weights="he")):
        prior = model.dynamic_prior(torch.randn(3, 4, generator=seeded(), **DOUBLE))
        assert not prior.mean.any() and not prior.log_variance.any()
    for layer in (usual.encoder.static.dense[-1], usual.encoder.dynamic[0], usual.decoder[0]):
        bound = (6 / (layer.in_features + layer.out_features)) ** 0.5  # Glorot's, uniform
        assert 0.9 * bound < layer.weight.abs().max() <= bound and not layer.bias.any()


def test_trunk_and_decoder_have_slopes_of_their_own():
    model = new_model(trunk_slope=0.2, decoder_slope=0.01)
    for part, slope in ((model.encoder.trunk, 0.2), (model.decoder, 0.01)):
        layers = [layer for layer in part.modules() if isinstance(layer, torch.nn.LeakyReLU)]
        assert layers and {layer.negative_slope for layer in layers} == {slope}


def test_multiplied_decoder_by_hand():
    """The first map, the product in it, and s added before normalisation, frame by frame."""
    model = small("painted")
    decoder, norm = model.decoder, model.decoder.norms[0]
    s = torch.randn(2, 4, generator=seeded(), **DOUBLE)
    d = torch.randn(2, 3, 3, generator=seeded(1), **DOUBLE)
    logits = model.logits(s, d)
    assert logits.shape == (2, 3, 2, 16, 16)
    for row, column in itertools.product(range(2), range(3)):
        a, b = s[row], d[row, column]
        first = decoder.first(torch.cat([a, b]))
        first = first + decoder.static_factor(a) * decoder.dynamic_factor(b)
        maps = decoder.stages[0](F.leaky_relu(first, 0.2).reshape(1, 5, 4, 4))
        maps = maps + (decoder.paints[0].weight @ a).reshape(1, 4, 1, 1)
        numbers = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        mean, variance, gain, bias = (values.reshape(1, 4, 1, 1) for values in numbers)
        normalised = (maps - mean) / (variance + norm.eps).sqrt() * gain + bias
        maps = decoder.last(F.leaky_relu(normalised, 0.2))[0]
        shares = maps[2:].exp() / maps[2:].exp().sum(0)
        colours = decoder.palette(a).reshape(2, 3)
        for channel in range(2):
            mixed = sum(shares[k] * colours[channel, k] for k in range(3))
            close(logits[row, column, channel], maps[channel] + CONTRAST * mixed)


def pair_by_pair(layer, features, pairs=True):
    """The pair layer as the paper draws it: one convolution for each pair; then the mean."""
    steps = range(features.shape[1])
    indices = [(i, j) for i in steps for j in steps if (i != j) == (pairs and len(steps) > 1)]
    maps = [layer(torch.cat([features[:, i], features[:, j]], 1)) for i, j in indices]
    return F.relu(torch.stack(maps)).mean(0)


@pytest.mark.parametrize("pairs", (True, False), ids=("pairs", "no pairs"))
@pytest.mark.parametrize("length", (1, 2, 3, 10))
def test_one_convolution_a_frame_gives_the_mean_over_pairs(length, pairs):
    encoder = small("unordered", pairs=pairs).encoder.static
    layer = encoder.pair
    features = torch.randn(2, length, 5, 4, 4, generator=seeded(), **DOUBLE).requires_grad_()
    with torch.no_grad():
        layer.bias.normal_(generator=seeded(1))
    inputs = (features, *layer.parameters())
    weights = torch.randn(2, 6, 4, 4, generator=seeded(2), **DOUBLE)
    fast, slow = encoder.compare(features), pair_by_pair(layer, features, pairs)
    close(fast, slow)
    if pairs and length > 1:  # as the lesson has it, pair by pair
        close(n22.PairEncoder.compare(encoder, features), slow)
    close(*(torch.autograd.grad((mean * weights).sum(), inputs) for mean in (fast, slow)))


@pytest.mark.parametrize("name", ("unordered", "painted"))
@torch.no_grad()
def test_the_order_of_frames_changes_nothing(name):
    model, order = small(name), torch.tensor([3, 0, 4, 2, 1])
    frames, noise = example_frames(model), model.draw_noise(3, 5, seeded(7))
    moved = model.elbo(frames[:, order], noise | {"dynamic": noise["dynamic"][:, order]})
    close(moved.per_frame, model.elbo(frames, noise).per_frame)
    codes, moved = model.encode(frames), model.encode(frames[:, order])
    close(moved, codes | {"dynamic": codes["dynamic"][:, order]})


@torch.no_grad()
def test_codes_from_the_prior_follow_what_is_given():
    model = small("unordered")
    for layer in model.prior[::2]:
        layer.weight *= 3  # so that p(d | s) differs from s to s
    new = model.generate(4000, 2, seeded())
    assert within(new["static"], 0.0) and within(new["static"].square(), 1.0)
    static = torch.randn(2, 4, generator=seeded(1), **DOUBLE)
    dynamic = model.generate(2, 4000, seeded(2), {"static": static})["dynamic"]
    prior = model.dynamic_prior(static)
    deviations = ((dynamic - prior.mean) / prior.standard_deviation).transpose(0, 1)
    assert within(deviations, 0.0) and within(deviations.square(), 1.0)
    assert ((prior.mean[0] - prior.mean[1]).abs() > 0.05).any()
    others = model.generate(2, 3, seeded(3), {"dynamic": dynamic[:, :3]})
    assert torch.equal(others["static"], model.generate(2, 3, seeded(3))["static"])
