"""Paper B's model: its blocks and pairs, what order and number of frames change, its bound, its codes, what it refuses."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Bernoulli, Normal, kl_divergence
from unbraid.interventions import generate_given
from unbraid.models.unordered import CONTRAST, UnorderedFrames, mean_over_pairs
from unbraid.networks import count_parameters

SMALL = dict(
    image_size=8, channels=2, widths=(5,), pair_width=6, hidden=9, static_size=4, dynamic_size=3
)
FRAMES = torch.rand(
    3, 5, 2, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64
)  # (B, T, C, H, W)
PARTS = (
    {},
    {"pairs": False},
    {"prior_given_static": False},
    {"posterior_given_static": False},
    {"image_size": 16, "widths": (4, 5), "normalise": True, "multiplied": True, "palette": 3},
)
NAMES = ("paper", "no pairs", "prior without f", "posterior without f", "normalised")


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def small_model(**changes):
    """One whose prior has learnt to heed f, which it does not begin with."""
    torch.manual_seed(0)
    model = UnorderedFrames(**{**SMALL, **changes})
    if model.prior_dense is not None:
        model.prior_dense[-1].reset_parameters()
    return model.double().eval()


def test_posteriors_begin_as_sharp_as_asked():
    usual, sharp = small_model(), small_model(initial_log_variance=-4.0)
    for name in ("static_dense", "dynamic_dense"):
        before, after = (getattr(model, name)[-1].bias.chunk(2) for model in (usual, sharp))
        assert torch.equal(before[0], after[0]) and torch.allclose(
            before[1] - 4, after[1], atol=1e-6
        )  # added in float32


def test_slope_is_the_trunks_alone():
    model = small_model(trunk_slope=0.3)
    slopes = [
        [layer.negative_slope for layer in part if isinstance(layer, torch.nn.LeakyReLU)]
        for part in (model.trunk, model.start, model.deconvolutions)
    ]
    assert slopes == [[0.3], [0.01], []]


def test_multiplied_decoder_by_hand():
    """One stage of a decoder of 16 pixels, written out: the first map, the product in it, and f added before normalisation."""
    model = small_model(image_size=16, widths=(4, 5), normalise=True, multiplied=True)
    f, z = (
        torch.randn(2, 4, generator=noise(), dtype=torch.float64),
        torch.randn(2, 3, 3, generator=noise(1), dtype=torch.float64),
    )
    logits = model.logits(f, z)
    (of_f, of_z), dense, (first, norm, _, last) = (
        model.product,
        model.start[0],
        model.deconvolutions,
    )
    for row, column in itertools.product(range(2), range(3)):
        a, b = f[row], z[row, column]
        start = F.leaky_relu(dense(torch.cat([a, b])) + of_f(a) * of_z(b)).reshape(1, 5, 4, 4)
        painted = first(start) + (model.painted[0].weight @ a).reshape(1, 4, 1, 1)
        by_hand = last(
            F.leaky_relu(
                (painted - norm.running_mean.reshape(1, 4, 1, 1))
                / (norm.running_var.reshape(1, 4, 1, 1) + norm.eps).sqrt()
            )
        )
        torch.testing.assert_close(logits[row, column], by_hand[0], rtol=1e-10, atol=1e-12)
    assert (
        len(small_model().product) == len(small_model().painted) == len(small_model().palette) == 0
    )


def test_palette_by_hand():
    """Each pixel written out: the paper's logit, and its shares of three colours that f mixes; the same as the plain model where all colours are one."""
    model = small_model(palette=3)
    f, z = (
        torch.randn(2, 4, generator=noise(), dtype=torch.float64),
        torch.randn(2, 3, 3, generator=noise(1), dtype=torch.float64),
    )
    logits, last = model.logits(f, z), model.deconvolutions[-1]
    assert logits.shape == (2, 3, 2, 8, 8) and last.out_channels == 2 + 3
    for row, column, y, x in itertools.product(range(2), range(3), (0, 5), (2, 7)):
        maps = last(model.start(torch.cat([f[row], z[row, column]])[None]))[0, :, y, x]
        share = maps[2:].exp() / maps[2:].exp().sum()
        colours = model.palette[0](f[row]).reshape(2, 3)  # (channels, colours)
        by_hand = [
            maps[c] + CONTRAST * sum(share[k] * colours[c, k] for k in range(3)) for c in range(2)
        ]
        torch.testing.assert_close(
            logits[row, column, :, y, x], torch.stack(by_hand), rtol=1e-10, atol=1e-12
        )
    before = logits.detach()
    model.palette[0].weight.data.zero_()
    model.palette[0].bias.data.fill_(0.5)  # one colour for all shares, which add up to 1
    plain = last(model.start(torch.cat([f[:, None].expand(-1, 3, -1), z], -1).flatten(0, 1)))[
        :, :2
    ].unflatten(0, (2, 3))
    torch.testing.assert_close(model.logits(f, z), plain + CONTRAST * 0.5, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(before, model.logits(f, z))


def test_the_prior_begins_as_a_standard_normal_one_for_every_f():
    prior = (
        UnorderedFrames(**SMALL)
        .double()
        .prior(torch.randn(3, 4, generator=noise(), dtype=torch.float64))
    )
    assert torch.equal(prior.mean, torch.zeros(3, 1, 3)) and torch.equal(
        prior.standard_deviation, torch.ones(3, 1, 3).double()
    )


def frames_for(model):
    return F.interpolate(FRAMES.flatten(0, 1), model.frame_shape[1:]).unflatten(0, (3, 5))


@pytest.fixture(scope="module")
def paper():
    return UnorderedFrames()


@pytest.mark.parametrize(
    "block, count",
    (
        ("trunk", 3_159_040),
        ("pair_convolution", 2_359_808),
        ("static_convolution", 2_359_808),
        ("static_dense", 4_720_128),
        ("prior_dense", 527_364),
        ("deconvolutions", 3_158_787),
        # not in the paper's table: dense layers over (f, 4 x 4 x 256 features), and from (f, z) to the first map
        ("dynamic_dense", (4096 + 512 + 1) * 512 + 513 * 512 + 513 * 4),
        ("start", (512 + 2 + 1) * 4096),
    ),
)
def test_parameter_counts_of_paper_b(paper, block, count):
    assert count_parameters(getattr(paper, block)) == count


def test_shapes_at_the_size_of_the_paper(paper):
    frames = torch.rand(1, 3, 3, 64, 64, generator=noise())
    with torch.no_grad():
        bound, codes = paper.elbo(frames, noise(1)), paper.infer(frames)
    assert codes["static"].shape == (1, 512) and codes["dynamic"].shape == (1, 3, 2)
    assert (
        bound.per_frame.isfinite().all()
        and bound.frames == 3
        and tuple(bound.kl) == paper.code_names
    )
    assert paper.trunk(frames[0]).shape == (3, 256, 4, 4) and paper.prior(
        codes["static"]
    ).mean.shape == (1, 1, 2)


def pair_by_pair(layer, features, pairs=True):
    """The pair layer as the paper draws it: lay one map on the other, convolve, for each pair; then the mean."""
    length = features.shape[1]
    chosen = [
        (i, j)
        for i in range(length)
        for j in range(length)
        if (i != j if pairs and length > 1 else i == j)
    ]
    return torch.stack(
        [F.relu(layer(torch.cat([features[:, i], features[:, j]], 1))) for i, j in chosen]
    ).mean(0)


@pytest.mark.parametrize("pairs", (True, False), ids=("pairs", "no pairs"))
@pytest.mark.parametrize("length", (1, 2, 3, 10))
def test_one_convolution_a_frame_gives_the_mean_over_pairs(length, pairs):
    """The same sums in another order: 1e-12 is some thousand roundings of a double."""
    model = small_model(pairs=pairs)
    features = torch.randn(
        2, length, 5, 4, 4, generator=noise(), dtype=torch.float64, requires_grad=True
    )
    with torch.no_grad():
        model.pair_convolution.bias.normal_(generator=noise(1))
    inputs, weights = (
        (features, *model.pair_convolution.parameters()),
        torch.randn(2, 6, 4, 4, generator=noise(2), dtype=torch.float64),
    )
    fast, slow = model.compare(features), pair_by_pair(model.pair_convolution, features, pairs)
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad((mean * weights).sum(), inputs) for mean in (fast, slow)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "dtype, tolerance", ((torch.float32, 1e-5), (torch.bfloat16, 2e-2)), ids=("float32", "bfloat16")
)
def test_many_frames_in_lower_precision(dtype, tolerance):
    """1 000 frames are 999 000 pairs. A bfloat16 has 8 bits: only rounding the inputs to it may cost, not the counts nor the sum."""
    first, second = torch.randn(2, 1, 1000, 8, generator=noise(), dtype=torch.float64)
    sums = F.relu(first[:, :, None] + second[:, None])
    expected = (sums.sum((1, 2)) - sums.diagonal(dim1=1, dim2=2).sum(-1)) / (1000 * 999)
    found = mean_over_pairs(first.to(dtype), second.to(dtype), range(1, 1000))
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_what_is_kept_for_the_gradient_grows_with_frames_not_with_pairs():
    def kept(length, function):
        features, sizes = (
            torch.rand(1, length, 5, 4, 4, dtype=torch.float64, requires_grad=True),
            {},
        )
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x: sizes.update({x.data_ptr(): x.untyped_storage().size()}) or x, lambda x: x
        ):
            function(features).sum().backward()
        return sum(sizes.values())

    model = small_model()
    weights = sum(parameter.numel() * 8 for parameter in model.pair_convolution.parameters())
    assert kept(32, model.compare) < 2.1 * (kept(16, model.compare))
    assert kept(32, lambda x: pair_by_pair(model.pair_convolution, x)) > 20 * (
        kept(32, model.compare) + weights
    )


@pytest.mark.parametrize("changes", PARTS, ids=NAMES)
def test_order_changes_nothing(changes):
    model, order = small_model(**changes), torch.tensor([3, 0, 4, 2, 1])
    frames, draws = frames_for(model), model.noise(3, 5, noise(1))
    shuffled = {**draws, "dynamic": draws["dynamic"][:, order]}  # each frame keeps its noise
    with torch.no_grad():
        codes, moved = model.infer(frames), model.infer(frames[:, order])
        bounds = [
            model.elbo(x, noise=e) for x, e in ((frames, draws), (frames[:, order], shuffled))
        ]
        model.float()  # the bar in the precision that is trained in
        single = [
            model.elbo(
                x.float(), noise={name: value.float() for name, value in e.items()}
            ).per_frame
            for x, e in ((frames, draws), (frames[:, order], shuffled))
        ]
    torch.testing.assert_close(moved["static"], codes["static"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(moved["dynamic"], codes["dynamic"][:, order], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(bounds[1].per_frame, bounds[0].per_frame, rtol=1e-10, atol=0)
    torch.testing.assert_close(bounds[1].kl, bounds[0].kl, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(*single, rtol=1e-6, atol=0)


def test_number_of_frames_does_not_bias_what_pairs_say():
    model = small_model()
    features = model.features(FRAMES)
    whole = model.compare(features)
    for size in (
        2,
        3,
        4,
    ):  # the mean over all choices of so many frames is what all five say: exact, for each pair is in as many
        parts = [
            model.compare(features[:, list(chosen)])
            for chosen in itertools.combinations(range(5), size)
        ]
        torch.testing.assert_close(torch.stack(parts).mean(0), whole, rtol=1e-10, atol=1e-12)
    alone = model.compare(features[:, :1])
    for length in (2, 7):  # a frame that is repeated says what it says alone
        torch.testing.assert_close(
            model.compare(features[:, :1].expand(-1, length, -1, -1, -1)),
            alone,
            rtol=1e-10,
            atol=1e-12,
        )


def test_repeating_all_frames_adds_the_pairs_of_a_frame_with_itself():
    """k copies of T frames have k T (k T - 1) pairs: k^2 of each pair of different frames, k (k - 1) of a frame with its like."""
    k, length, model = 3, 5, small_model()
    features = model.features(FRAMES)
    between, own = model.compare(features), small_model(pairs=False).compare(features)
    expected = (k * (length - 1) * between + (k - 1) * own) / (k * length - 1)
    torch.testing.assert_close(
        model.compare(features.repeat(1, k, 1, 1, 1)), expected, rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(
        small_model(pairs=False).compare(features.repeat(1, k, 1, 1, 1)),
        own,
        rtol=1e-10,
        atol=1e-12,
    )
    assert (between - own).abs().max() > 1e-3  # or nothing was shown


def slow_bound(
    model, frames, generator, pairs=True, prior_given_static=True, posterior_given_static=True, **_
):
    """Paper B's equations, frame by frame, pair by pair, in torch.distributions: (log-likelihood, KL of f, KL of z), each (B,)."""
    count, length = frames.shape[:2]
    normal = lambda outputs: Normal(outputs.chunk(2, -1)[0], torch.exp(outputs.chunk(2, -1)[1] / 2))  # noqa: E731
    features = torch.stack([model.trunk(frames[:, i]) for i in range(length)], 1)
    hidden = F.relu(
        model.static_norm(
            model.static_convolution(pair_by_pair(model.pair_convolution, features, pairs))
        )
    )
    q = normal(model.static_dense(hidden.reshape(count, -1)))
    f = q.mean + q.stddev * torch.randn(q.mean.shape, generator=generator, dtype=torch.float64)
    e = torch.randn(count, length, model.dynamic_size, generator=generator, dtype=torch.float64)
    kl_f, kl_z, log_likelihood = kl_divergence(q, Normal(0.0, 1.0)).sum(1), 0, 0
    p = (
        normal(model.prior_dense(f))
        if prior_given_static
        else Normal(torch.zeros_like(e[:, 0]), 1.0)
    )
    for i in range(length):
        seen = features[:, i].reshape(count, -1)
        q_z = normal(
            model.dynamic_dense(torch.cat([seen, f], 1) if posterior_given_static else seen)
        )
        z = q_z.mean + q_z.stddev * e[:, i]
        logits = (
            model.logits(f, z[:, None])[:, 0]
            if model.product
            else model.deconvolutions(model.start(torch.cat([f, z], 1)))
        )
        shown = Bernoulli(logits=logits, validate_args=False)
        log_likelihood = log_likelihood + shown.log_prob(frames[:, i]).sum((1, 2, 3))
        kl_z = kl_z + kl_divergence(q_z, p).sum(1)
    return log_likelihood, kl_f, kl_z


@pytest.mark.parametrize("changes", PARTS, ids=NAMES)
def test_bound_of_paper_b_against_a_slow_loop(changes):
    model = small_model(**changes)
    frames = frames_for(model)
    with torch.no_grad():
        bound, (log_likelihood, kl_f, kl_z) = (
            model(frames, noise(7)),
            slow_bound(model, frames, noise(7), **changes),
        )
    torch.testing.assert_close(bound.log_likelihood, log_likelihood, rtol=1e-10, atol=0)
    torch.testing.assert_close(bound.kl, {"static": kl_f, "dynamic": kl_z}, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        bound.per_frame, (log_likelihood - kl_f - kl_z) / 5, rtol=1e-10, atol=0
    )
    torch.testing.assert_close(bound.loss(), -bound.per_frame.mean())
    torch.testing.assert_close(bound.loss(0.25), (0.25 * (kl_f + kl_z) - log_likelihood).mean() / 5)


def exact_log_likelihood(model, frames, points):
    """log p(x) of black and white frames (T, ...) and codes of one unit each: both integrals on a grid of so many points."""
    grid = torch.linspace(-6, 6, points, dtype=torch.float64)
    log_weight = Normal(0.0, 1.0).log_prob(grid) + math.log(12 / (points - 1))
    f = grid[:, None]
    prior = model.prior(f)
    z = (
        prior.mean + prior.standard_deviation * grid[:, None]
    )  # (points, points, 1): z = mean + deviation x u, u normal
    logits = model.logits(f, z)
    by_frame = torch.stack(
        [Bernoulli(logits=logits).log_prob(frame).sum((-3, -2, -1)) for frame in frames]
    )  # (T, f, z)
    return ((by_frame + log_weight).logsumexp(-1).sum(0) + log_weight).logsumexp(0)


@torch.no_grad()
def test_the_bound_is_below_the_exact_log_likelihood_by_the_divergence_of_the_posterior():
    model = small_model(channels=1, static_size=1, dynamic_size=1)
    for layer in (
        model.start[0],
        model.deconvolutions[-1],
        model.prior_dense[-1],
        model.dynamic_dense[-1],
    ):
        layer.weight *= 1.4  # so that codes matter
    frames = (torch.rand(3, 1, 8, 8, generator=noise(2)) < 0.3).double()
    coarse, exact = (exact_log_likelihood(model, frames, points) for points in (161, 241))
    assert abs(coarse - exact) < 2e-3  # two steps, one value: both grids are fine enough
    many, count = frames.expand(4000, -1, -1, -1, -1), 4000
    draws = model.noise(count, 3, noise(3))
    bound, (q_f, q_z, codes) = model.elbo(many, noise=draws), model.encode(many, draws)
    f, z = codes["static"], codes["dynamic"]
    divergence = (
        q_f.log_prob(f)
        - Normal(0.0, 1.0).log_prob(f).sum(-1)
        + (q_z.log_prob(z) - model.prior(f).log_prob(z)).sum(1)
    )
    log_weights = bound.log_likelihood - divergence
    error = lambda values: float(values.std() / math.sqrt(count))  # noqa: E731
    assert abs((bound.elbo - log_weights).mean()) < 5 * error(
        bound.elbo - log_weights
    )  # closed-form KL and drawn log q - log p
    assert bound.elbo.mean() + 5 * error(bound.elbo) < exact  # a gap that is not chance
    weights = (
        log_weights - exact
    ).exp()  # p(x, f, z) / q(f, z) / p(x): their mean is 1 whatever q is
    assert abs(weights.mean() - 1) < 5 * error(weights) + 2e-3 and error(weights) < 0.1


@pytest.mark.parametrize("changes", PARTS, ids=NAMES)
def test_gradients_reach_every_parameter(changes):
    model = small_model(**changes).train()
    model(frames_for(model), noise(1)).loss().backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ] == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_codes_are_means_or_draws_and_decode_to_probabilities():
    model = small_model()
    with torch.no_grad():
        q_f, q_z, means = model.encode(FRAMES, None)
        codes, draws = (
            model.infer(FRAMES),
            [model.infer(FRAMES, True, noise(seed)) for seed in (3, 3, 4)],
        )
        shown = model.decode(codes)
    assert (
        torch.equal(codes["static"], q_f.mean)
        and torch.equal(codes["dynamic"], q_z.mean)
        and tuple(codes) == model.code_names
    )
    assert all(
        torch.equal(draws[0][name], draws[1][name])
        and not torch.equal(draws[0][name], draws[2][name])
        for name in codes
    )
    expected = q_f.mean + q_f.standard_deviation * model.noise(3, 5, noise(3))["static"]
    assert torch.equal(draws[0]["static"], expected)
    assert shown.shape == FRAMES.shape and 0 < shown.min() and shown.max() < 1
    assert torch.equal(shown, torch.sigmoid(model.logits(**codes)))
    grid = torch.zeros(3, 49, 3, dtype=torch.float64)  # a grid of z is a sequence like any other
    assert model.decode({"static": codes["static"], "dynamic": grid}).shape == (3, 49, 2, 8, 8)


@torch.no_grad()
def test_codes_from_the_prior_follow_what_is_given():
    model = small_model()
    for layer in model.prior_dense[::2]:
        layer.weight *= 3  # so that p(z | f) differs from f to f
    new = model.generate(4000, 2, noise())
    assert (
        new["static"].mean(0).abs().max() < 5 / 4000**0.5
        and (new["static"].var(0) - 1).abs().max() < 5 * (2 / 4000) ** 0.5
    )
    static = torch.randn(2, 4, generator=noise(1), dtype=torch.float64)
    drawn = model.generate(2, 4000, noise(2), {"static": static})
    prior = model.prior(static)
    assert torch.equal(drawn["static"], static)
    deviations = (drawn["dynamic"] - prior.mean) / prior.standard_deviation
    assert (
        deviations.mean(1).abs().max() < 5 / 4000**0.5
        and (deviations.var(1) - 1).abs().max() < 5 * (2 / 4000) ** 0.5
    )
    assert ((prior.mean[0] - prior.mean[1]).abs() > 0.05).any()
    codes = {"static": static, "dynamic": drawn["dynamic"][:, :3]}
    moved, renamed = (
        generate_given(model, codes, "static", noise(3)),
        generate_given(model, codes, "dynamic", noise(3)),
    )
    assert torch.equal(
        moved["dynamic"], model.generate(2, 3, noise(3), {"static": static})["dynamic"]
    )
    assert torch.equal(renamed["dynamic"], codes["dynamic"]) and torch.equal(
        renamed["static"], model.generate(2, 3, noise(3))["static"]
    )


@pytest.mark.parametrize(
    "spoil, message",
    (
        (lambda x: x[0], r"expected \(B, T, 2, 8, 8\), found \(5, 2, 8, 8\)"),
        (lambda x: list(x[0]), r"expected a tensor .* found list; resize to one size and stack"),
        (lambda x: x[..., :4], r"expected \(B, T, 2, 8, 8\), found \(3, 5, 2, 8, 4\)"),
        (
            lambda x: x[:, :0],
            r"expected at least one sequence of one frame, found \(3, 0, 2, 8, 8\)",
        ),
        (lambda x: x[:0], r"expected at least one sequence of one frame, found \(0, 5"),
        (
            lambda x: (x * 255).byte(),
            "expected torch.float64, as the model's weights, found torch.uint8; convert .* divide bytes by 255",
        ),
        (
            lambda x: x.float(),
            "expected torch.float64, as the model's weights, found torch.float32",
        ),
        (lambda x: x * 2 - 1, r"expected values in \[0, 1\], found -"),
        (lambda x: x.masked_fill(x > 0.9, math.nan), "expected finite numbers, found NaN"),
    ),
)
def test_bad_frames_are_named(spoil, message):
    for use in (
        small_model().elbo,
        small_model().infer,
        lambda x: small_model().infer(x, sample=True),
    ):
        with pytest.raises(ValueError, match=message):
            use(spoil(FRAMES))


@pytest.mark.parametrize(
    "act, message",
    (
        (
            lambda m: UnorderedFrames(image_size=32),
            "widths: expected one for each halving of 32 pixels down to 4, found 4",
        ),
        (
            lambda m: UnorderedFrames(image_size=4, widths=()),
            "widths: expected one for each halving of 4 pixels .* found 0",
        ),
        (
            lambda m: m.decode({"static": torch.zeros(1, 4)}),
            "codes: expected static, dynamic, found static",
        ),
        (
            lambda m: m.decode({"static": torch.zeros(2, 4), "dynamic": torch.zeros(1, 5, 3)}),
            r"expected .*found \(2, 4\) and \(1, 5, 3\)",
        ),
        (
            lambda m: m.decode({"static": torch.zeros(1, 4), "dynamic": torch.zeros(1, 5, 2)}),
            r"dynamic \(B, T, 3\), found .*\(1, 5, 2\)",
        ),
        (
            lambda m: m.generate(2, 5, None, {"action": torch.zeros(2, 5, 3)}),
            "given: expected some of static, dynamic, found 'action'",
        ),
        (
            lambda m: m.generate(2, 5, None, {"static": torch.zeros(3, 4)}),
            r"given\['static'\]: expected 2 sequences .* found \(3, 4\)",
        ),
        (
            lambda m: m.generate(2, 5, None, {"dynamic": torch.zeros(2, 4, 3)}),
            r"given\['dynamic'\]: expected 2 .* found \(2, 4, 3\)",
        ),
    ),
    ids=(
        "widths",
        "no widths",
        "missing",
        "count",
        "size",
        "unknown",
        "given count",
        "given length",
    ),
)
def test_what_cannot_be_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act(small_model())


@pytest.mark.parametrize("length", (1, 2, 100))
def test_any_number_of_frames(length):
    model = small_model()
    with torch.no_grad():
        bound = model.elbo(FRAMES[:, :1].expand(-1, length, -1, -1, -1), noise())
    assert bound.elbo.shape == (3,) and bound.elbo.isfinite().all() and bound.frames == length
