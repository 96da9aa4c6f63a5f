"""Paper C's model in use: anchors, masks and lengths, order of a batch, codes from the prior, training, settings, what it refuses."""

import math
import tomllib
from importlib import resources

import pytest
import torch
from test_single_element import FRAMES, OPTIONS, SERIES, VALUES, frames_for, noise, small_model
from unbraid import settings
from unbraid.interventions import generate_given
from unbraid.models.interface import Bound
from unbraid.models.single_element import SingleElement
from unbraid.networks import count_parameters
from unbraid.training import fit

SECTIONS = settings.sections(
    tomllib.loads(resources.files("unbraid").joinpath("profiles.toml").read_text(encoding="utf-8"))
)
SECTIONS = [name for name in SECTIONS if name.split(".")[0] == "single_element"]
each = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def close(found, expected):
    """The same sums in a batch of another shape: 1e-10 is far above the rounding of doubles."""
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


# ---- anchors


@pytest.mark.parametrize(
    "anchor, expected",
    (
        ("first", [0, 0, 2]),
        ("middle", [2, 1, 3]),
        ("last", [4, 2, 4]),
        ("any", [0, 0, 2]),
        (2, [2, 2, 2]),
    ),
)
def test_the_anchor_is_chosen_among_observed_elements(anchor, expected):
    observed = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 1, 1]]).bool()
    assert small_model(anchor=anchor).choose_anchor(observed, torch.rand(3)).tolist() == expected


@pytest.mark.parametrize("length, middle", ((1, 0), (2, 1), (8, 4), (28, 14)))
def test_the_middle(length, middle):
    assert small_model(anchor="middle").choose_anchor(
        torch.ones(1, length).bool(), torch.rand(1)
    ).tolist() == [middle]


def test_any_anchor_is_drawn_in_training_and_the_first_otherwise():
    model = small_model(anchor="any").train()
    observed = torch.tensor([[1, 0, 1, 1]]).bool().expand(3000, -1)
    drawn = model.choose_anchor(observed, model.noise(3000, 4, noise())["lot"])
    counts = drawn.bincount(minlength=4)
    assert counts[1] == 0 and (counts[[0, 2, 3]] - 1000).abs().max() < 5 * math.sqrt(3000 * 2 / 9)
    assert not model.eval().choose_anchor(observed, torch.rand(3000)).any()
    model.train()
    first, again, other = (model.elbo(FRAMES, noise(seed)).kl["static"] for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


# ---- masks and lengths


@each
@torch.no_grad()
def test_what_follows_the_end_changes_nothing(options):
    model = small_model(**options)
    frames, window = frames_for(model), model.window
    mask = torch.ones(frames.shape[:2], dtype=torch.bool)
    mask[1, 3 * window :] = False  # the second sequence has three elements
    draws = model.noise(3, 5, noise(2))
    short = {
        name: value[1:2, :3] if name == "dynamic" else value[1:2] for name, value in draws.items()
    }
    junk = frames.clone()
    junk[1, 3 * window :] = 0.7
    for given in (frames, junk):
        bound, codes = model.elbo(given, noise=draws, mask=mask), model.infer(given, mask=mask)
        alone, own = (
            model.elbo(frames[1:2, : 3 * window], noise=short),
            model.infer(frames[1:2, : 3 * window]),
        )
        close(bound.elbo[1:2], alone.elbo)
        close(bound.objective[0][1:2], alone.objective[0])
        close(codes["static"][1:2], own["static"])
        close(codes["dynamic"][1:2, :3], own["dynamic"])
        assert not codes["dynamic"][1, 3:].any()
        close(bound.elbo[::2], model.elbo(frames, noise=draws).elbo[::2])  # the others are whole


@torch.no_grad()
def test_only_observed_values_count():
    model, mask = small_model(**SERIES), torch.rand(3, 10, 3, generator=noise(4)) < 0.6
    mask[:, :2], mask[0, 4:6] = True, False  # one whole window is missing
    draws = model.noise(3, 5, noise(2))
    bound, found = (
        model.elbo(VALUES, noise=draws, mask=mask),
        model.encode(VALUES * mask, draws, mask),
    )
    means = model.show(**found.codes).flatten(1, 2)
    by_value = torch.distributions.Normal(means, math.sqrt(model.variance)).log_prob(VALUES)
    close(bound.log_likelihood, (by_value * mask).sum((1, 2)))
    junk = torch.where(mask, VALUES, 9.0)
    close(model.elbo(junk, noise=draws, mask=mask).elbo, bound.elbo)
    assert torch.equal(
        model.elbo(VALUES, noise=draws, mask=torch.ones_like(mask)).elbo,
        model.elbo(VALUES, noise=draws).elbo,
    )
    by_step = torch.ones(3, 10, dtype=torch.bool)
    by_step[2, 6:8] = False
    close(
        model.elbo(VALUES, noise=draws, mask=by_step).elbo,
        model.elbo(VALUES, noise=draws, mask=by_step[..., None].repeat(1, 1, 3)).elbo,
    )


@torch.no_grad()
def test_an_element_without_values_is_read_as_zero():
    model, read = small_model(**SERIES), []
    model.recurrent.register_forward_pre_hook(
        lambda module, inputs: read.append(
            inputs[0].data if hasattr(inputs[0], "batch_sizes") else inputs[0]
        )
    )
    mask = torch.ones(1, 10, dtype=torch.bool)
    mask[:, 4:6] = False
    model.infer(VALUES[:1], mask=mask)
    assert [bool(step.any()) for step in read[0]] == [True, True, False, True, True]


@each
@pytest.mark.parametrize("length", (1, 2, 40))
@torch.no_grad()
def test_any_length(options, length):
    """One element: in "code" d comes of noise alone, in "formula" there is none, and its divergence is 0."""
    model = small_model(**{**options, "anchor": "middle"})
    frames = frames_for(model)[:, :1].repeat(
        1, length * model.window, *[1] * (frames_for(model).ndim - 2)
    )
    bound, codes = model.elbo(frames, noise()), model.infer(frames)
    assert bound.elbo.isfinite().all() and codes["dynamic"].shape == (3, length, 2)
    assert (bound.kl["dynamic"] == 0).all() == (length == 1 and model.variant == "formula")
    assert model.decode(codes).shape == frames.shape


# ---- codes


@each
@torch.no_grad()
def test_the_order_of_a_batch_changes_nothing(options):
    model, order = small_model(**options), torch.tensor([2, 0, 1])
    frames, draws = frames_for(model), model.noise(3, 5, noise(1))
    moved = {name: value[order] for name, value in draws.items()}
    close(model.elbo(frames[order], noise=moved).elbo, model.elbo(frames, noise=draws).elbo[order])
    codes, again = model.infer(frames), model.infer(frames[order])
    close(again, {name: code[order] for name, code in codes.items()})
    close(model.infer(frames[:1])["dynamic"], codes["dynamic"][:1])  # nor who else is in it


@torch.no_grad()
def test_codes_are_means_or_draws():
    model = small_model()
    codes, again = model.infer(FRAMES), model.infer(FRAMES)
    assert (
        all(torch.equal(codes[name], again[name]) for name in codes)
        and tuple(codes) == model.code_names
    )
    fresh = [
        model.infer(FRAMES, generator=noise(seed)) for seed in (3, 3, 4)
    ]  # means, with fresh noise in the anchor's place
    assert torch.equal(fresh[0]["static"], codes["static"]) and torch.equal(
        fresh[0]["dynamic"], fresh[1]["dynamic"]
    )
    assert not torch.equal(fresh[0]["dynamic"], fresh[2]["dynamic"]) and not torch.equal(
        fresh[0]["dynamic"], codes["dynamic"]
    )
    draws = model.noise(3, 5, noise(3))
    found, drawn = model.encode(FRAMES, draws), model.infer(FRAMES, True, noise(3))
    assert torch.equal(found.dynamic.mean, fresh[0]["dynamic"])
    assert torch.equal(
        drawn["static"], found.static.mean + found.static.standard_deviation * draws["static"]
    )
    assert torch.equal(
        drawn["dynamic"], found.dynamic.mean + found.dynamic.standard_deviation * draws["dynamic"]
    )
    formula = small_model(variant="formula")
    assert torch.equal(
        formula.infer(FRAMES)["dynamic"], formula.infer(FRAMES, generator=noise())["dynamic"]
    )  # it knows no such noise


@pytest.mark.parametrize(
    "options, zero_at",
    (({}, None), ({"variant": "formula"}, 0), ({"variant": "formula", "anchor": "middle"}, 2)),
)
@torch.no_grad()
def test_codes_from_the_prior(options, zero_at):
    model = small_model(**options)
    for weight in (*model.prior.recurrent.parameters(), model.prior.head.mean.weight):
        weight *= 4  # so that the past matters
    new = model.generate(4000, 4, noise())
    assert (
        new["static"].mean(0).abs().max() < 5 / 4000**0.5
        and (new["static"].var(0) - 1).abs().max() < 5 * (2 / 4000) ** 0.5
    )
    told = model.prior(new["dynamic"])  # what it says of each draw, given the draws before it
    deviations = (new["dynamic"] - told.mean) / told.standard_deviation
    drawn = [t for t in range(4) if t != zero_at]
    assert (
        deviations[:, drawn].mean(0).abs().max() < 5 / 4000**0.5
        and (deviations[:, drawn].var(0) - 1).abs().max() < 5 * (2 / 4000) ** 0.5
    )
    assert told.mean[:, 3].std(0).max() > 0.1
    means, codes = model.roll(model.noise(4000, 4, noise())["dynamic"])
    assert torch.equal(codes, new["dynamic"])
    close(means[:, drawn], told.mean[:, drawn])
    if zero_at is not None:
        assert not codes[:, zero_at].any() and not means[:, zero_at].any()
    for name in model.code_names:  # what is kept stays, and changes nothing in what is drawn
        other = model.code_names[name == "static"]
        kept = model.generate(4000, 4, noise(), {name: new[name] + 1})
        assert torch.equal(kept[name], new[name] + 1) and torch.equal(kept[other], new[other])
    codes = {name: code[:3] for name, code in new.items()}
    assert model.decode(codes).shape == (3, 4, 2, 8, 8)
    assert torch.equal(
        generate_given(model, codes, "static", noise(5))["dynamic"],
        model.generate(3, 4, noise(5))["dynamic"],
    )


# ---- training


class Weighed(torch.nn.Module):
    """A model whose gradient is what its objective says, not its bound."""

    def __init__(self):
        super().__init__()
        self.gain, self.cost = (torch.nn.Parameter(torch.tensor(1.0)) for _ in range(2))
        self.masks = []

    def begin(self, step): ...

    def forward(self, frames, generator, mask=None):
        self.masks.append(mask)
        bound = Bound(self.gain.expand(4), {"z": self.cost.expand(4)}, 2)
        return Bound(
            bound.log_likelihood, bound.kl, 2, (6 * bound.log_likelihood, 3 * self.cost.expand(4))
        )


def test_training_follows_the_objective_and_logs_the_bound(monkeypatch):
    model, gradients, adam = Weighed(), [], torch.optim.Adam.step
    seen = lambda: gradients.append((float(model.gain.grad), float(model.cost.grad)))  # noqa: E731
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *a, **k: (seen(), adam(self, *a, **k))[1]
    )
    chosen = settings.Settings(
        batch_size=4, steps=4, learning_rate=0.0, decay=1.0, decay_every=10, kl_warm_up=0.5
    )
    rows = fit(
        model,
        lambda count, generator: (torch.zeros(4, 2), torch.ones(4, 2).bool()),
        chosen,
        log_every=1,
    )
    assert gradients == [(-3.0, 0.75), (-3.0, 1.5), (-3.0, 1.5), (-3.0, 1.5)]
    assert [row["elbo_per_frame"] for row in rows] == [0.0] * 4 and all(
        mask.all() and mask.shape == (4, 2) for mask in model.masks
    )
    bound = model(torch.zeros(4, 2), None)
    assert bound.loss(0.5).item() == (0.5 * 3 - 6) / 2 and bound.elbo.tolist() == [0.0] * 4


@pytest.mark.parametrize("section", SECTIONS)
def test_the_models_of_the_settings_train_alike_from_the_same_seed(section):
    chosen = settings.load(section, "smoke", steps=2)

    def trained():
        torch.manual_seed(0)
        model = SingleElement.from_settings(chosen)
        shape = (4, model.window * 4, *model.frame_shape)
        return model, fit(
            model,
            lambda count, generator: (
                torch.rand(shape, generator=generator),
                torch.ones(shape[:2]).bool(),
            ),
            chosen,
            log_every=1,
        )

    (model, rows), (again, _) = trained(), trained()
    assert all(
        torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items()
    )
    assert len(rows) == 2 and all(math.isfinite(row["elbo_per_frame"]) for row in rows)


def test_full_is_the_papers_scale():
    assert (
        count_parameters(
            SingleElement.from_settings(settings.load("single_element.sprites", "full"))
        )
        == 14_900_163
    )
    assert {
        f"single_element.{name}"
        for name in ("sprites.formula", "drawn_sprites", "spoken_digits", "physionet")
    } <= set(SECTIONS)


@each
def test_gradients_reach_every_parameter(options):
    model = small_model(**options).train()
    model(frames_for(model), noise(1)).loss().backward()
    assert [
        name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ] == []


def test_where_the_dynamic_code_begins():
    plain, begun = (
        model.dynamic_head
        for model in (small_model(), small_model(initial_log_variance=-3.0, initial_gain=4.0))
    )
    torch.testing.assert_close(
        begun.log_variance.bias, plain.log_variance.bias - 3, rtol=1e-6, atol=0
    )
    assert torch.equal(begun.mean.weight, 4 * plain.mean.weight)


@pytest.mark.parametrize("precision", ("32-true", "bf16-mixed"))
def test_a_few_updates_raise_the_bound(precision):
    model = small_model(sequence_weight=1.0, variance=0.02).float()
    chosen = settings.Settings(
        batch_size=3, steps=60, learning_rate=1e-2, decay=1.0, decay_every=10
    )
    rows = fit(
        model, lambda count, generator: FRAMES.float(), chosen, log_every=10, precision=precision
    )
    assert rows[-1]["elbo_per_frame"] > rows[0]["elbo_per_frame"] + 2


# ---- what it refuses


@pytest.mark.parametrize(
    "spoil, message",
    (
        (lambda x: x[0], r"expected \(B, T, 2, 8, 8\), found \(5, 2, 8, 8\)"),
        (
            lambda x: x[:, :0],
            r"expected at least one sequence of one frame, found \(3, 0, 2, 8, 8\)",
        ),
        (lambda x: x.masked_fill(x > 0.9, math.nan), "expected finite numbers, found NaN"),
        (lambda x: x * 2, r"expected values in \[0, 1\]"),
    ),
)
def test_bad_frames_are_named(spoil, message):
    for use in (small_model().elbo, small_model().infer):
        with pytest.raises(ValueError, match=f"frames: {message}"):
            use(spoil(FRAMES))


@pytest.mark.parametrize(
    "spoil, message",
    (
        (lambda x: x[0], r"series: expected \(B, T, 3\), none of them 0, found \(10, 3\)"),
        (lambda x: x[..., :2], r"series: expected \(B, T, 3\), none of them 0, found \(3, 10, 2\)"),
        (lambda x: x[:0], r"series: expected .*found \(0, 10, 3\)"),
        (lambda x: x.tolist(), r"series: expected .*found list"),
        (
            lambda x: x[:, :9],
            "series: expected whole windows of 2 steps, found 9 steps; cut, or pad and mask them",
        ),
        (
            lambda x: x.float(),
            "series: expected torch.float64, as the model's weights, found torch.float32",
        ),
        (
            lambda x: x.masked_fill(x > 2, math.nan),
            "series: expected finite numbers, found NaN or infinity; set what is missing to 0",
        ),
        (lambda x: x / 0, "series: expected finite numbers"),
    ),
)
def test_bad_series_are_named(spoil, message):
    with pytest.raises(ValueError, match=message):
        small_model(**SERIES).elbo(spoil(VALUES))


@pytest.mark.parametrize(
    "mask, message",
    (
        (
            torch.zeros(3, 5).bool(),
            "mask: expected an observed value in every sequence, found none in number 0",
        ),
        (torch.tensor([[1] * 5, [1] * 5, [0] * 5]).bool(), "found none in number 2"),
        (
            torch.ones(3, 5),
            r"mask: expected booleans of the shape \(3, 5\), found torch.float32 \(3, 5\)",
        ),
        (
            torch.ones(3, 4).bool(),
            r"mask: expected booleans of the shape \(3, 5\), found torch.bool \(3, 4\)",
        ),
        ([True], "mask: expected booleans .* found list"),
    ),
)
def test_bad_masks_are_named(mask, message):
    with pytest.raises(ValueError, match=message):
        small_model().infer(FRAMES, mask=mask)


@pytest.mark.parametrize(
    "act, message",
    (
        (
            lambda: small_model(anchor="start"),
            "anchor: expected first, middle, last, any or the number of an element from 0, found 'start'",
        ),
        (lambda: small_model(anchor=-1), "anchor: expected .* found -1"),
        (
            lambda: small_model(anchor=5).infer(FRAMES),
            "anchor: expected an observed element from 0 to 4, found 5",
        ),
        (
            lambda: small_model().infer(
                FRAMES, anchor=4, mask=torch.tensor([[1, 1, 1, 1, 0]] * 3).bool()
            ),
            "anchor: expected an observed .* found 4",
        ),
        (
            lambda: small_model(variant="paper"),
            "variant: expected one of code, formula, found 'paper'",
        ),
        (lambda: small_model(kind="sound"), "kind: expected one of images, series, found 'sound'"),
        (
            lambda: small_model(window=2),
            "variance, window: expected .* a window of 1 for images, found 0.5 and 2",
        ),
        (lambda: small_model(variance=0.0), "variance, window: expected both positive"),
        (lambda: small_model(context=True, variant="formula"), "context: expected variant code"),
        (lambda: small_model(image_size=12), "image_size must be 8, 16"),
        (
            lambda: small_model().decode({"static": torch.zeros(1, 3)}),
            "codes: expected static, dynamic, found static",
        ),
        (
            lambda: small_model().decode(
                {"static": torch.zeros(2, 3), "dynamic": torch.zeros(1, 5, 2)}
            ),
            r"found \(2, 3\) and \(1, 5, 2\)",
        ),
        (
            lambda: small_model().generate(2, 5, None, {"static": torch.zeros(3, 3)}),
            r"given\['static'\]: expected 2 sequences .* found \(3, 3\)",
        ),
    ),
)
def test_what_cannot_be_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()
