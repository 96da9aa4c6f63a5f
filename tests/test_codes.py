"""Codes of many sequences: what is refused, and the error of decoded frames."""

import pytest
import torch
from unbraid.codes import bound_over, bound_per_frame, concatenate, encode_all, root_mean_square

MODEL = torch.nn.Linear(1, 1)  # has a device, which is all that is asked before a refusal
FRAMES = torch.rand(3, 4, 1, 2, 2)
NONE = torch.zeros(3, 4, dtype=torch.bool)


def test_the_error_is_of_the_values_that_the_mask_shows():
    mask = NONE.clone()
    mask[0, 1] = True
    other = FRAMES + 0.25
    other[1] = 7
    assert root_mean_square(FRAMES, other, mask) == pytest.approx(0.25)
    assert root_mean_square(FRAMES[:1], other[:1]) == pytest.approx(0.25)
    bytes_of_frames = torch.tensor([0, 255], dtype=torch.uint8)
    assert root_mean_square(bytes_of_frames, torch.zeros(2)) == pytest.approx(0.5**0.5)


def test_parts_are_joined_by_name():
    first = {"a": torch.ones(2), "b": torch.zeros(2, 3)}
    joined = concatenate([first, {"a": torch.zeros(1), "b": torch.ones(1, 3)}])
    assert joined["a"].tolist() == [1, 1, 0] and joined["b"].shape == (3, 3)


@pytest.mark.parametrize(
    "call, field",
    [
        (lambda: encode_all(MODEL, FRAMES[:0]), "data"),
        (lambda: bound_over(MODEL, [], seed=0), "samples"),
        (lambda: bound_per_frame(MODEL, [], seed=0), "samples"),
        (lambda: root_mean_square(FRAMES, FRAMES[:1]), "second"),
        (lambda: root_mean_square(FRAMES, FRAMES, NONE), "mask"),
        (lambda: root_mean_square(FRAMES, FRAMES, NONE[:, :2]), "mask"),
        (lambda: root_mean_square(FRAMES, FRAMES, NONE + 1.0), "mask"),
        (lambda: root_mean_square(FRAMES[:0], FRAMES[:0]), "first"),
        (lambda: encode_all(MODEL, FRAMES, size=0), "size"),
    ],
)
def test_what_gives_no_number_is_refused(call, field):
    with pytest.raises(ValueError, match=f"^{field}:"):
        call()
