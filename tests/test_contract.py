"""What holds for every model: one table of models, one of refusals."""

import math

import pytest
import torch
from helpers import MODELS, close, example_frames, example_noise, reads_masks, seeded, small
from unbraid.models.base import Batch
from unbraid.models.independent import IndependentPrediction

every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_gradients_reach_every_parameter(name):
    model = small(name).train()
    model(example_frames(model), seeded(1)).loss().backward()
    missed = [key for key, weight in model.named_parameters() if weight.grad is None]
    assert missed == []


@every_model
@pytest.mark.parametrize("direction", range(3))
def test_the_gradient_is_the_slope_of_the_bound(name, direction, monkeypatch):
    """A path that is cut (a detached code, a buffer for a parameter) gives another slope."""
    model = small(name)
    frames, noise = example_frames(model), example_noise(model)
    if isinstance(
        model, IndependentPrediction
    ):  # It cuts one path on purpose: test_second_writing.
        monkeypatch.setattr(torch.Tensor, "detach", lambda tensor: tensor)
    weights = list(model.parameters())
    starts = [weight.detach().clone() for weight in weights]
    steps = [torch.randn(w.shape, generator=seeded(direction), dtype=w.dtype) for w in weights]

    def terms():
        bound = model.elbo(frames, noise)
        return torch.stack([bound.log_likelihood.sum(), *(kl.sum() for kl in bound.kl.values())])

    @torch.no_grad()
    def terms_at(size):
        for weight, start, step in zip(weights, starts, steps, strict=True):
            weight.copy_(start + size * step)
        return terms()

    slopes = []
    for term in terms():
        found = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        pairs = zip(found, steps, strict=True)
        slopes.append(sum((one * step).sum() for one, step in pairs if one is not None))
    slopes = torch.stack([torch.as_tensor(slope, dtype=torch.float64) for slope in slopes])
    # A kink of an activation may lie between two points, but hardly between closer ones, too.
    sizes = 1e-6, 1e-7, 1e-8
    quotients = [(terms_at(size) - terms_at(-size)) / (2 * size) for size in sizes]
    limits = {"rtol": 1e-5, "atol": 1e-6 * float(quotients[0].abs().max())}
    fits = [torch.allclose(slopes, quotient, **limits) for quotient in quotients]
    assert any(fits), (slopes, quotients)


@every_model
@torch.no_grad()
def test_a_sequence_does_not_see_its_neighbours(name):
    model = small(name)
    frames = example_frames(model)
    whole = model.elbo(frames, example_noise(model))
    assert whole.elbo.shape == (3,) and whole.elbo.isfinite().all()
    codes = model.encode(frames)
    decoded = model.decode(codes)
    for code in codes.values():
        assert not torch.allclose(code[0], code[1])  # or the test would show nothing
    turned = model.encode(frames.flip(0))
    for key, code in codes.items():
        close(turned[key].flip(0), code)
    close(model.decode({key: code[1:] for key, code in codes.items()}), decoded[1:])


@every_model
@torch.no_grad()
def test_codes_are_means_or_draws(name):
    model = small(name)
    frames = example_frames(model)
    means, draws = model.encode(frames), model.encode(frames, seeded(3))
    assert tuple(means) == tuple(model.code_names)
    noise = example_noise(model, seed=3)
    for key, code in means.items():
        close(model.encode(frames)[key], code)
        assert draws[key].shape == code.shape and not torch.allclose(draws[key], code)
        close(model.encode(frames, noise)[key], draws[key])
    close(model.elbo(frames, seeded(3)).elbo, model.elbo(frames, noise).elbo)


@every_model
@torch.no_grad()
def test_decoding_gives_frames_and_is_not_random(name):
    model = small(name)
    frames = example_frames(model)
    codes = model.encode(frames)
    decoded = model.decode(codes)
    assert decoded.shape == frames.shape and torch.equal(decoded, model.decode(codes))
    if len(model.frame_shape) == 3:
        last = model.config.output if hasattr(model.config, "output") else "sigmoid"
        assert last == "linear" or 0 <= decoded.min() <= decoded.max() <= 1


@every_model
@torch.no_grad()
def test_codes_from_the_prior_keep_what_is_given(name):
    model = small(name)
    new = model.generate(4, 5, seeded())
    assert {key: code.shape[0] for key, code in new.items()} == dict.fromkeys(model.code_names, 4)
    for key, code in new.items():
        close(model.generate(4, 5, seeded())[key], code)
        kept = model.generate(4, 5, seeded(), {key: code + 1})
        assert torch.equal(kept[key], code + 1)
    decoded = model.decode(new)
    assert len(decoded) == 4 and decoded.isfinite().all()


def with_nan(frames):
    return frames.masked_fill(frames == frames.max(), math.nan)


def masked(mask):
    """What gives frames a mask, made of booleans (B, T) that are all True."""
    return lambda frames: Batch(frames, mask(torch.ones(frames.shape[:2], dtype=torch.bool)))


FRAMES = {  # what is done to frames (B, T, ...), and the message about it
    "an array": (lambda frames: frames.numpy(), "^batch: .* ndarray; torch.from_numpy"),
    "a list": (list, "^batch: .* list; .*stack"),
    "one axis less": (lambda frames: frames[0], "^frames: "),
    "other channels": (lambda frames: frames.repeat_interleave(2, 2), "^frames: .*resize"),
    "no steps": (lambda frames: frames[:, :0], "^frames: "),
    "another type": (lambda frames: frames.float(), "^frames: .*float32"),
    "NaN": (with_nan, "^frames: .*finite"),
    "a mask of numbers": (masked(torch.Tensor.float), "^mask: "),
    "a mask of another length": (masked(lambda mask: mask[:, 1:]), "^mask: "),
    "a mask in NumPy": (masked(torch.Tensor.numpy), "^mask: "),
}
IMAGES = {
    "channels last": (lambda frames: frames.movedim(2, -1), r"come last .*movedim\(-1, 2\)"),
    "another size": (lambda frames: frames[..., :4], "^frames: .*resize"),
    "bytes": (lambda frames: frames * 255, "^frames: .*255"),
    "negative": (lambda frames: frames * 2 - 1, "^frames: .*255"),
}
SERIES = {"no whole windows": (lambda frames: frames[:, :9], "^frames: ")}
NOTHING_SEEN = {"nothing observed": (masked(torch.zeros_like), "^mask: .*observed value in every")}
HIDDEN = {"a mask that hides": (masked(torch.zeros_like), "^mask: expected none")}
ONE_OF_EACH = ("independent", "unordered", "element", "element, series", "released series")


def list_refusals():
    """(model, what is done, message) of all that each kind of model refuses."""
    for name in ONE_OF_EACH:
        model = small(name)
        cases = FRAMES | (IMAGES if len(model.frame_shape) == 3 else SERIES)
        cases |= NOTHING_SEEN if reads_masks(model) else HIDDEN
        for case, (spoil, message) in cases.items():
            yield pytest.param(name, spoil, message, id=f"{name}: {case}")


@pytest.mark.parametrize("name, spoil, message", list(list_refusals()))
def test_bad_frames_are_refused_with_a_remedy(name, spoil, message):
    model = small(name)
    spoilt = spoil(example_frames(model))
    for use in (model.elbo, model.encode):
        with pytest.raises(ValueError, match=message):
            use(spoilt)


def spoil_code(code):
    """Codes that no model has in place of this one."""
    wider = torch.cat([code, code], -1)
    return (wider, code[:1], code[None], code.float(), code.long(), code.numpy())


@every_model
@torch.no_grad()
def test_other_codes_are_refused(name):
    model = small(name)
    codes = model.encode(example_frames(model))
    (first, code), *others = codes.items()
    wrongs = [dict(others), codes | {"action": code}]
    wrongs.append({key: torch.cat([value, value], -1) for key, value in codes.items()})
    spoilt = spoil_code(code) if others else spoil_code(code)[2:]  # alone it sets the number
    wrongs += [codes | {first: wrong} for wrong in spoilt]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"^codes"):
            model.decode(wrong)


@every_model
@torch.no_grad()
def test_what_cannot_be_drawn_is_refused(name):
    model = small(name)
    for field, count, length in (("count", -1, 5), ("length", 2, 0)):
        with pytest.raises(ValueError, match=rf"^{field}: "):
            model.generate(count, length)
    for other in ({"action": torch.zeros(3, 5, 2)}, torch.zeros(3, 5, 2)):
        with pytest.raises(ValueError, match=r"^given"):
            model.generate(3, 5, None, other)
    for key, code in model.generate(3, 5, seeded()).items():
        wrongs = [*spoil_code(code), code / 0, code.expand(2, *code.shape)[:, 0]]
        wrongs += [code[:, 1:]] if code.ndim == 3 else []
        for wrong in wrongs:
            with pytest.raises(ValueError, match=r"^given"):
                model.generate(3, 5, None, {key: wrong})
