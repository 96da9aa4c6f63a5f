"""Paper C's model: its size, its bound and its weighted objective against plain loops, what each code sees, its codes."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from unbraid import results
from unbraid.models.single_element import SingleElement
from unbraid.networks import count_parameters

SMALL = dict(image_size=8, channels=2, width=3, features=4, hidden=5, static_size=3, dynamic_size=2)
SERIES = dict(
    kind="series",
    channels=3,
    window=2,
    width=6,
    features=4,
    hidden=5,
    static_size=3,
    dynamic_size=2,
)
FRAMES = torch.rand(
    3, 5, 2, 8, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64
)  # (B, T, C, H, W)
VALUES = torch.randn(
    3, 10, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64
)  # (B, T, D), five windows
OPTIONS = {
    "code": {},
    "formula": {"variant": "formula"},
    "middle": {"anchor": "middle"},
    "formula, last": {"variant": "formula", "anchor": "last"},
    "not subtracted": {"subtract": False},
    "formula, not subtracted": {"variant": "formula", "subtract": False},
    "causal": {"causal": True},
    "wide LSTM": {"dynamic_hidden": 7},
    "plain networks": {"normalise": False, "variance": 0.1},
    "context": {"context": True},
    "series": SERIES,
    "series, formula": {**SERIES, "variant": "formula", "anchor": "middle"},
}
each = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
noise = lambda seed=0: torch.Generator().manual_seed(seed)  # noqa: E731
frames_for = lambda model: FRAMES if model.kind == "images" else VALUES  # noqa: E731


def small_model(**changes):
    torch.manual_seed(0)
    return SingleElement(**{**SMALL, **changes}).double().eval()


@pytest.fixture(scope="module")
def sprites():
    return SingleElement()


@pytest.mark.parametrize(
    "block, count",
    (
        ("encoder", 4_856_384),
        ("static_head", 49_728),
        ("recurrent", 2_629_632),
        ("dynamic_head", 262_656),
        ("prior", 148_992),
        ("decoder", 6_952_771),
    ),
)
def test_parameter_counts_of_paper_c_on_sprites(sprites, block, count):
    assert count_parameters(getattr(sprites, block)) == count
    assert count_parameters(sprites) == 14_900_163


def test_parameter_count_of_paper_c_on_mug():
    assert (
        count_parameters(SingleElement(static_size=64, dynamic_size=64, features=128, hidden=256))
        == 8_784_515
    )


def test_shapes_at_the_size_of_the_paper(sprites):
    frames = torch.rand(2, 3, 3, 64, 64, generator=noise())
    with torch.no_grad():
        bound, codes = sprites.elbo(frames, noise(1)), sprites.eval().infer(frames)
    assert [tuple(codes[name].shape) for name in sprites.code_names] == [
        (2, 256),
        (2, 3, 256),
    ] and bound.per_frame.isfinite().all()
    assert (
        sprites.decode(codes).shape == frames.shape
        and bound.frames == 3
        and tuple(bound.kl) == sprites.code_names
    )


# ---- the bound, step by step


def cell(network, layer, suffix, x, state):
    """One step of an LSTM, from its weights: gates in, forget, candidate, out."""
    w, u, b, c = (
        getattr(network, f"{name}_l{layer}{suffix}")
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    i, f, g, o = (x @ w.T + b + state[0] @ u.T + c).chunk(4, -1)
    memory = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(memory), memory


def walk(network, steps):
    """A whole LSTM over a list of (B, inputs), layer by layer, forwards and if it is so built backwards."""
    for layer in range(network.num_layers):
        ways = []
        for suffix in ("", "_reverse")[: 1 + network.bidirectional]:
            order, outputs = (steps[::-1] if suffix else steps), []
            state = (torch.zeros(len(steps[0]), network.hidden_size, dtype=torch.float64),) * 2
            for x in order:
                state = cell(network, layer, suffix, x, state)
                outputs.append(state[0])
            ways.append(outputs[::-1] if suffix else outputs)
        steps = [torch.cat(both, -1) for both in zip(*ways)]
    return steps


def slow_terms(model, frames, draws, anchor=0):
    """Paper C's equations, element by element: log p(x_t | s, d_t) and log p(x_t | s, 0), lists of (B,); KL of s; KLs of d_t, a list."""
    normal = lambda head, x: Normal(head.mean(x), torch.exp(head.log_variance(x) / 2))  # noqa: E731
    parts = (
        list(frames.split(model.window, 1)) if model.kind == "series" else list(frames.unbind(1))
    )
    features = [model.encoder(part) for part in parts]
    if model.context is not None:
        features = walk(model.context, features)
    q_s = normal(model.static_head[2], torch.tanh(model.static_head[0](features[anchor])))
    s = q_s.mean + q_s.stddev * draws["static"]
    if model.variant == "code":
        inputs = [c - features[anchor] if model.subtract else c for c in features]
        inputs[anchor] = draws["anchor"]
        hidden = walk(model.recurrent, inputs)
    else:
        hidden = walk(model.recurrent, features)
        alone = walk(model.recurrent, [features[anchor]])[0]
        hidden = [h - alone if model.subtract else h for h in hidden]
    d, log_likelihood, still, kl_d = torch.zeros_like(draws["dynamic"][:, 0]), [], [], []
    show = lambda part, d: (
        Normal(model.decoder(torch.cat([d, s], 1)), math.sqrt(model.variance))
        .log_prob(part)
        .flatten(1)
        .sum(1)
    )  # noqa: E731
    state = [
        (torch.zeros(len(frames), model.prior.recurrent.hidden_size, dtype=torch.float64),) * 2
    ] * 2
    for t, part in enumerate(parts):
        state[0] = cell(model.prior.recurrent, 0, "", d, state[0])
        state[1] = cell(model.prior.recurrent, 1, "", state[0][0], state[1])
        q_d, p_d = normal(model.dynamic_head, hidden[t]), normal(model.prior.head, state[1][0])
        d = q_d.mean + q_d.stddev * draws["dynamic"][:, t]
        if model.variant == "formula" and t == anchor:
            d = torch.zeros_like(d)
        else:
            kl_d.append(kl_divergence(q_d, p_d).sum(1))
        log_likelihood.append(show(part, d))
        still.append(show(part, torch.zeros_like(d)))
    return log_likelihood, still, kl_divergence(q_s, Normal(0.0, 1.0)).sum(1), kl_d


POSITION = {"first": 0, "middle": 2, "last": 4}  # of five elements


@each
@torch.no_grad()
def test_bound_of_paper_c_against_a_slow_loop(options):
    """The same sums in another order: 1e-10 of some hundred nats is far above the rounding of doubles."""
    model = small_model(**options)
    frames = frames_for(model)
    draws = model.noise(3, 5, noise(7))
    log_likelihood, _, kl_s, kl_d = slow_terms(model, frames, draws, POSITION[model.anchor])
    for bound in (model(frames, noise(7)), model.elbo(frames, noise=draws)):
        torch.testing.assert_close(
            bound.log_likelihood, sum(log_likelihood), rtol=1e-10, atol=1e-10
        )
        torch.testing.assert_close(
            bound.kl, {"static": kl_s, "dynamic": sum(kl_d)}, rtol=1e-10, atol=1e-12
        )
        assert bound.frames == frames.shape[1]
        torch.testing.assert_close(
            bound.per_frame,
            (sum(log_likelihood) - kl_s - sum(kl_d)) / bound.frames,
            rtol=1e-10,
            atol=1e-10,
        )
    assert len(kl_d) == (5 if model.variant == "code" else 4)


@pytest.mark.parametrize(
    "options", ({}, {"variant": "formula"}, {"anchor": "last"}), ids=("code", "formula", "last")
)
@pytest.mark.parametrize("inside", (True, False), ids=("anchor in the sum", "anchor apart"))
@torch.no_grad()
def test_the_objective_has_the_weights_and_the_bound_none(options, inside):
    weights = dict(
        sequence_weight=7.0,
        anchor_weight=3.0,
        static_weight=0.5,
        static_kl_weight=4.0,
        dynamic_kl_weight=0.25,
    )
    model, plain = (
        small_model(**options, **weights, anchor_in_sequence=inside),
        small_model(**options),
    )
    draws = model.noise(3, 5, noise(7))
    log_likelihood, still, kl_s, kl_d = slow_terms(
        model, FRAMES, draws, at := POSITION[model.anchor]
    )
    bound = model.elbo(FRAMES, noise=draws)
    gain, cost = bound.objective
    in_sum = [one for t, one in enumerate(log_likelihood) if inside or t != at]
    torch.testing.assert_close(
        gain, 7 * sum(in_sum) + 3 * log_likelihood[at] + 0.5 * sum(still), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(cost, 4 * kl_s + 0.25 * sum(kl_d), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(bound.loss(0.5), (0.5 * cost - gain).mean() / 5)
    torch.testing.assert_close(bound.elbo, plain.elbo(FRAMES, noise=draws).elbo)
    unit = small_model(**options, sequence_weight=1.0, anchor_weight=0.0).elbo(FRAMES, noise=draws)
    torch.testing.assert_close(unit.loss(), -unit.per_frame.mean())
    turn = dict(static_kl_start=4.0, dynamic_kl_start=0.25, turn_from=10, turn_to=20)
    turning = small_model(**options, static_kl_weight=1.0, dynamic_kl_weight=4.0, **turn)
    for step, on_s, on_d in ((1, 4, 0.25), (10, 4, 0.25), (15, 2, 1), (20, 1, 4), (99, 1, 4)):
        turning.begin(step)
        torch.testing.assert_close(
            turning.elbo(FRAMES, noise=draws).objective[1],
            on_s * kl_s + on_d * sum(kl_d),
            rtol=1e-10,
            atol=1e-12,
        )


@pytest.mark.parametrize("variant, counted", (("code", 5), ("formula", 4)))
@torch.no_grad()
def test_divergences_by_hand(variant, counted):
    """Heads that say the same whatever they see: N(m, e^l) against N(p, e^k) costs (e^(l-k) + (m-p)^2 e^-k - 1 + k - l) / 2 a unit."""
    model = small_model(variant=variant)
    said = (
        (model.static_head[2], 0.5, -1.0),
        (model.dynamic_head, 0.3, 0.2),
        (model.prior.head, -0.4, 0.6),
    )
    for head, mean, log_variance in said:
        for layer, value in ((head.mean, mean), (head.log_variance, log_variance)):
            layer.weight.zero_()
            layer.bias.fill_(value)
    kl = model.elbo(FRAMES, noise()).kl
    by_unit = (math.exp(-0.4) + 0.7**2 * math.exp(-0.6) - 1 + 0.4) / 2
    torch.testing.assert_close(
        kl["static"], torch.full((3,), 3 * (math.exp(-1) + 0.25 - 1 + 1) / 2, dtype=torch.float64)
    )
    torch.testing.assert_close(
        kl["dynamic"], torch.full((3,), 2 * counted * by_unit, dtype=torch.float64)
    )


def exact_log_likelihood(model, series, points):
    """log p(x) of a series (2, channels) and codes of one unit each: the integral over s, d_1 and d_2 on a grid."""
    grid = torch.linspace(-5.5, 5.5, points, dtype=torch.float64)
    weight = Normal(0.0, 1.0).log_prob(grid) + math.log(11 / (points - 1))
    log_p = lambda x, d: model.log_likelihood(
        x.expand(points, *d.shape[1:2], 1, -1), model.show(grid[:, None], d)
    )  # noqa: E731
    first = model.prior(torch.zeros(1, 1, 1, dtype=torch.float64))
    d_1 = (first.mean + first.standard_deviation * grid[:, None, None])[:, :, 0] * (
        model.variant == "code"
    )  # (points, 1); d_1 = 0 in the formula
    second = model.prior(torch.nn.functional.pad(d_1[..., None], (0, 0, 0, 1)))
    d_2 = (
        second.mean[:, 1] + second.standard_deviation[:, 1] * grid
    )  # (points of d_1, points of d_2)
    shown = log_p(series[0], d_1.T[..., None].expand(points, -1, -1))  # (s, d_1)
    later = log_p(series[1], d_2.flatten()[None, :, None].expand(points, -1, -1)).unflatten(
        1, (points, points)
    )  # (s, d_1, d_2)
    return ((((later + weight).logsumexp(2) + shown + weight).logsumexp(1)) + weight).logsumexp(0)


@pytest.mark.parametrize("options", ({}, {"variant": "formula"}), ids=("code", "formula"))
@torch.no_grad()
def test_the_bound_is_below_the_exact_log_likelihood_by_the_divergence_of_the_posterior(options):
    model = small_model(
        **{**SERIES, "window": 1, "channels": 2, "static_size": 1, "dynamic_size": 1}, **options
    )
    for layer in (model.decoder[0][0], model.prior.head.mean, model.static_head[2].mean):
        layer.weight *= 2  # so that codes matter
    series, count = torch.tensor([[0.3, -0.5], [-0.2, 0.6]], dtype=torch.float64), 4000
    coarse, exact = (exact_log_likelihood(model, series, points) for points in (41, 61))
    assert abs(coarse - exact) < 1e-3  # two steps, one value: both grids are fine enough
    many, draws = series.expand(count, -1, -1), model.noise(count, 2, noise(3))
    if (
        not options
    ):  # one noise in the anchor's place: each has a posterior, and so a bound, of its own
        draws["anchor"] = draws["anchor"][:1].expand(count, -1)
    bound, found = model.elbo(many, noise=draws), model.encode(many, draws)
    s, d, prior = found.codes["static"], found.codes["dynamic"], model.prior(found.codes["dynamic"])
    divergence = found.static.log_prob(s) - Normal(0.0, 1.0).log_prob(s).sum(-1)
    divergence = divergence + ((found.dynamic.log_prob(d) - prior.log_prob(d)) * found.drawn).sum(1)
    log_weights = bound.log_likelihood - divergence
    error = lambda values: float(values.std() / math.sqrt(count))  # noqa: E731
    assert abs((bound.elbo - log_weights).mean()) < 5 * error(
        bound.elbo - log_weights
    )  # closed-form KL and drawn log q - log p
    assert bound.elbo.mean() + 5 * error(bound.elbo) < exact  # a gap that is not chance
    weights = (
        log_weights - exact
    ).exp()  # p(x, s, d) / q(s, d) / p(x): their mean is 1 whatever q is
    assert abs(weights.mean() - 1) < 5 * error(weights) + 1e-3 and error(weights) < 0.1


# ---- what each code sees


def seen_by(model, code, frames=None, **how):
    """Which elements (T,) a code says anything of, by gradient: of static (T,), of dynamic (t, T)."""
    frames = (frames_for(model) if frames is None else frames).clone().requires_grad_()
    found = model.infer(frames, **how)[code]
    rows = [found] if code == "static" else found.unbind(1)
    gradients = [
        torch.autograd.grad(row.sum(), frames, retain_graph=True)[0]
        if row.requires_grad
        else frames * 0
        for row in rows
    ]
    touched = torch.stack(
        [model.elements(one).abs().flatten(2).sum((0, 2)) > 0 for one in gradients]
    )
    return touched[0] if code == "static" else touched


@pytest.mark.parametrize("kind", ({}, SERIES), ids=("images", "series"))
@pytest.mark.parametrize("variant", ("code", "formula"))
@pytest.mark.parametrize(
    "anchor, at", (("first", 0), ("middle", 2), ("last", 4), ("any", 0), (3, 3), ("1", 1))
)
def test_the_static_code_sees_the_anchor_alone(kind, variant, anchor, at):
    model = small_model(**kind, variant=variant, anchor=anchor)
    assert seen_by(model, "static").tolist() == [t == at for t in range(5)]
    elsewhere = seen_by(
        small_model(**kind, variant=variant), "static", anchor=anchor
    )  # the same, said at the call
    assert elsewhere.tolist() == [t == at for t in range(5)]


def test_with_context_the_static_code_sees_all():
    assert seen_by(small_model(context=True), "static").all()


def test_training_teaches_the_static_head_by_the_anchor_alone():
    """A change of any other frame leaves the static head's output, and so what its gradient is made of, as it was."""
    model, moved = small_model(), FRAMES.clone()
    moved[:, 1:] = moved[:, 1:].flip(1)
    bounds = [model.elbo(frames, noise(1)) for frames in (FRAMES, moved)]
    gradients = [
        torch.autograd.grad(one.kl["static"].sum(), model.static_head[2].mean.weight)[0]
        for one in bounds
    ]
    assert torch.equal(*gradients) and not torch.equal(
        bounds[0].kl["dynamic"], bounds[1].kl["dynamic"]
    )


def test_dynamic_codes_of_the_formula_see_no_future():
    seen = seen_by(small_model(variant="formula"), "dynamic")
    assert not seen[0].any()  # the anchor's is 0, whatever the frames
    assert seen[1:].tolist() == [[at <= t for at in range(5)] for t in range(1, 5)]
    last = seen_by(small_model(variant="formula", anchor="last"), "dynamic")
    assert (
        last[:4].tolist() == [[at <= t or at == 4 for at in range(5)] for t in range(4)]
        and not last[4].any()
    )
    without = seen_by(small_model(variant="formula", anchor="last", subtract=False), "dynamic")
    assert without[:4].tolist() == [[at <= t for at in range(5)] for t in range(4)]


def test_dynamic_codes_of_the_code_see_all_or_with_causal_the_past():
    assert seen_by(small_model(), "dynamic").all()
    causal = seen_by(small_model(causal=True), "dynamic")
    assert not causal[0].any()  # of the anchor first in line it reads noise alone
    assert causal[1:].tolist() == [[at <= t for at in range(5)] for t in range(1, 5)]
    bare = seen_by(
        small_model(causal=True, subtract=False), "dynamic"
    )  # noise hides the anchor, and nothing is subtracted
    assert bare.tolist() == [[0 < at <= t for at in range(5)] for t in range(5)]


@pytest.mark.parametrize("subtract", (True, False))
def test_the_dynamic_network_of_the_code_reads_noise_in_the_anchors_place(subtract):
    model, read = small_model(anchor="middle", subtract=subtract), []
    model.recurrent.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    draws = model.noise(3, 5, noise(1))
    with torch.no_grad():
        model.elbo(FRAMES, noise=draws)
        features = model.features(FRAMES)
    expected = features - features[:, 2:3] * subtract
    expected[:, 2] = draws["anchor"]
    assert torch.equal(read[0], expected)


@torch.no_grad()
def test_the_formula_subtracts_the_state_after_the_anchor_alone():
    model, read = small_model(variant="formula"), []
    model.dynamic_head.register_forward_pre_hook(lambda module, inputs: read.append(inputs[0]))
    model.infer(FRAMES)
    assert (
        torch.equal(read[0][:, 0], torch.zeros(3, 2, dtype=torch.float64))
        and (read[0][:, 1:].abs() > 0).all()
    )


@torch.no_grad()
def test_half_precision_weights_come_back(tmp_path):
    """Weights rounded to half precision are what is shipped: the same rounding here gives the same codes, bit for bit."""
    model, other = small_model().float(), small_model(anchor="middle").float()
    for parameter in other.parameters():
        parameter += 1
    digest = results.save_weights(tmp_path / "model.safetensors", model)
    results.load_weights(other, tmp_path / "model.safetensors", digest)
    model.load_state_dict(
        {
            name: value.half() if value.is_floating_point() else value
            for name, value in model.state_dict().items()
        }
    )
    codes, again = model.infer(FRAMES.float()), other.infer(FRAMES.float(), anchor="first")
    assert all(torch.equal(codes[name], again[name]) for name in codes)
