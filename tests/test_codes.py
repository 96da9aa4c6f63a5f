"""Codes of many sequences: how parts are joined, and the error of decoded frames."""

import pytest
import torch
from unbraid.codes import concatenate, root_mean_square

FRAMES = torch.rand(3, 4, 1, 2, 2)


def test_the_error_is_of_the_values_that_the_mask_shows():
    mask = torch.zeros(3, 4, dtype=torch.bool)
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
