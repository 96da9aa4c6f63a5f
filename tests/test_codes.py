"""Codes of many sequences: how parts are joined, and the error of decoded frames."""

import pytest
import torch
from helpers import example_frames, small
from unbraid import codes
from unbraid.codes import (
    bound_per_frame,
    concatenate,
    decode_all,
    dynamic_given,
    encode_all,
    generator_for,
    root_mean_square,
)

FRAMES = torch.rand(3, 4, 1, 2, 2)


def test_the_error_is_of_the_values_that_the_mask_shows():
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[0, 1] = True
    other = FRAMES + 0.25
    other[1] = 7
    assert root_mean_square(FRAMES, other, mask) == pytest.approx(0.25)
    bytes_of_frames = torch.tensor([0, 255], dtype=torch.uint8)
    assert root_mean_square(bytes_of_frames, torch.zeros(2)) == pytest.approx(0.5**0.5)


def test_parts_are_joined_by_name():
    first = {"a": torch.ones(2), "b": torch.zeros(2, 3)}
    joined = concatenate([first, {"a": torch.zeros(1), "b": torch.ones(1, 3)}])
    assert joined["a"].tolist() == [1, 1, 0] and joined["b"].shape == (3, 3)


@pytest.mark.parametrize("name, more", (("unordered", {"normalise": True}), ("element", {})))
def test_a_model_in_training_is_evaluated_and_then_trains_on(name, more):
    """A batch must not decide its sequences' codes, nor change what the model has learnt."""
    model = small(name, **more)
    frames = example_frames(model)

    def measure(size):
        codes = encode_all(model, frames, size=size)
        made = [*codes.values(), decode_all(model, codes)]
        if name == "unordered":
            made.append(dynamic_given(model, frames, codes["static"]))
        return [*made, torch.tensor(list(bound_per_frame(model, [frames], 0, size).values()))]

    expected, known = measure(None), {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    list(model.children())[-1].eval()  # stays as it is
    modes = [layer.training for layer in model.modules()]
    for found in (measure(None), measure(1)):
        for one, other in zip(found[:-1], expected[:-1], strict=True):
            torch.testing.assert_close(one, other)
    torch.testing.assert_close(measure(None)[-1], expected[-1])
    assert [layer.training for layer in model.modules()] == modes and not all(modes)
    torch.testing.assert_close(dict(model.state_dict()), known, rtol=0, atol=0)


def test_a_seed_draws_the_same_codes_however_many_frames_are_read_for_means(monkeypatch):
    model = small("element")
    data = example_frames(model).repeat(4, 1, 1, 1, 1)
    read = [encode_all(model, data), encode_all(model, data, generator_for(model, 0))]
    sizes, encode = [], model.encode

    def count(batch, noise):
        sizes.append(len(batch.frames))
        return encode(batch, noise)

    monkeypatch.setattr(codes, "FOR_MEANS", {"cpu": 2 * data.shape[1]})
    monkeypatch.setattr(model, "encode", count)
    again = [encode_all(model, data), encode_all(model, data, generator_for(model, 0))]
    assert sizes == [2] * (len(data) // 2) + [len(data)]
    torch.testing.assert_close(again[0], read[0])
    torch.testing.assert_close(again[1], read[1], rtol=0, atol=0)


def test_the_bound_of_samples_of_one_length_does_not_depend_on_their_order():
    model = small("element")
    first, second = example_frames(model), example_frames(model).flip(0, 1)
    means = [
        bound_per_frame(model, pair, 0)["kl_static"] for pair in ([first, second], [second, first])
    ]
    assert means[0] == pytest.approx(means[1])
    with pytest.raises(ValueError, match="^samples: .*5 steps, found 3"):
        bound_per_frame(model, [first, second[:, :3]], 0)
