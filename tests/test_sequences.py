"""The one dataset type: what it accepts and refuses, and how it is cut and moved."""

from types import MappingProxyType

import numpy as np
import pytest
import torch
from unbraid.data.sequences import Sequences, as_float

LABELS = {"digit": torch.arange(6), "position": torch.arange(48.0).view(6, 4, 2)}


def example(**changes):
    values = {
        "frames": torch.rand(6, 4, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        "labels": LABELS,
        "static": ("digit",),
        "dynamic": ("position",),
        "split": "test",
        "provenance": "made for the tests",
    }
    return Sequences(**(values | changes))


def changed(value):
    frames = torch.rand(6, 4, 3, 8, 8)
    frames[2, 1, 0, 3, 3] = value
    return frames


def test_frames_and_series():
    assert example().kind == "frames" and len(example()) == 6 and example().length == 4
    mask = torch.ones(5, 7, 2, dtype=torch.bool)
    series = Sequences(torch.randn(5, 7, 2) * 100, mask=mask)  # no range, a mask of variables
    assert series.kind == "series" and len(series) == 5 and series.length == 7
    assert series.subset([0, 2]).mask.shape == (2, 7, 2)
    assert len(example(frames=torch.zeros(0, 4, 3, 8, 8), labels={}, static=(), dynamic=())) == 0


def test_arrays_become_tensors():
    labels = {"digit": np.arange(6), "position": np.zeros((6, 4, 2))}
    arrays = example(frames=np.zeros((6, 4, 3, 8, 8)), labels=labels, mask=np.ones((6, 4), bool))
    for values in (arrays.frames, arrays.mask, *arrays.labels.values()):
        assert isinstance(values, torch.Tensor)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("frames", {"frames": torch.rand(6, 4, 8, 8)}),
        ("frames", {"frames": [[1, 2], [3]]}),
        ("digit", {"labels": LABELS | {"digit": [*"abcdef"]}}),
        ("frames", {"frames": torch.zeros(6, 4, 3, 8, 8, dtype=torch.int32)}),
        ("frames", {"frames": torch.full((6, 4, 3), float("inf"))}),
        ("frames", {"frames": torch.zeros(6, 0, 3, 8, 8)}),
        ("frames.*channels last", {"frames": torch.rand(6, 4, 16, 16, 3)}),
        ("frames", {"frames": changed(float("nan"))}),
        ("frames", {"frames": changed(1.5)}),
        ("digit", {"labels": LABELS | {"digit": torch.arange(5)}}),
        ("position", {"labels": LABELS | {"position": torch.zeros(6, 3)}}),
        ("static", {"static": ("digit", "colour")}),
        ("dynamic", {"dynamic": ()}),
        ("mask", {"mask": torch.ones(6, 4)}),
        ("mask", {"mask": torch.ones(6, 5, dtype=torch.bool)}),
        ("mask", {"mask": torch.zeros(6, 4, dtype=torch.bool)}),
        ("classes", {"classes": ["a", "b"]}),
        ("classes", {"classes": {"colour": ("red",)}}),
        ("digit", {"classes": {"digit": tuple("abcde")}}),
        ("position", {"classes": {"position": ("left", "right")}}),
    ],
)
def test_what_is_refused(field, changes):
    with pytest.raises(ValueError, match=field):
        example(**changes)


@pytest.mark.parametrize("indices", [[4, 1], torch.tensor([4, 1]), np.array([4, 1])])
def test_subset_keeps_what_belongs_together(indices):
    whole = example(classes={"digit": [*"012345"]})
    part = whole.subset(indices)
    assert torch.equal(part.frames, whole.frames[[4, 1]])
    assert part.labels["digit"].tolist() == [4, 1]
    assert torch.equal(part.labels["position"], whole.labels["position"][[4, 1]])
    for name in ("static", "dynamic", "split", "provenance", "classes"):
        assert getattr(part, name) == getattr(whole, name)
    assert whole.subset(slice(1, 5, 2)).labels["digit"].tolist() == [1, 3]
    assert whole.subset(whole.labels["digit"] > 3).labels["digit"].tolist() == [4, 5]
    assert len(whole.subset([])) == 0
    assert whole.subset(slice(4, None, -2)).labels["digit"].tolist() == [4, 2, 0]


@pytest.mark.parametrize("indices", [[6], [-1], [0.5], torch.ones(5, dtype=torch.bool)], ids=str)
def test_indices_that_there_are_not(indices):
    with pytest.raises(IndexError, match="indices: expected some of 0 to 5"):
        example().subset(indices)


def test_a_mask_of_0_and_1_is_not_read_as_row_numbers():
    whole = Sequences(torch.rand(10, 2, 3))
    with pytest.raises(IndexError, match="indices: .*booleans"):
        whole.subset(torch.arange(10) % 2)
    assert len(whole.subset(torch.arange(10) % 2 == 1)) == 5
    with pytest.raises(IndexError, match="indices: .*booleans"):
        example().subset([0, 1, 0, 1, 0, 1])


def test_bytes_are_kept_and_handed_out_as_floats():
    frames = torch.arange(6 * 4 * 3 * 8 * 8).remainder(256).byte().view(6, 4, 3, 8, 8)
    whole = example(frames=frames, mask=torch.ones(6, 4, dtype=torch.bool))
    assert whole.subset([3, 1]).frames.dtype == torch.uint8
    floats = whole.as_float()
    assert floats.frames.dtype == torch.float32 and floats.frames.max() == 1
    assert torch.equal((floats.frames * 255).round().byte(), frames)  # no value is lost or moved
    assert whole.frames is frames and floats.as_float().frames is floats.frames


def test_classes_are_any_mapping_of_names():
    whole = example(classes=MappingProxyType({"digit": [*"abcdef"]}))
    assert whole.classes == {"digit": tuple("abcdef")}


def test_it_prints_what_it_is_and_no_tensor():
    shown = repr(example(classes={"digit": [*"abcdef"]}))
    for words in ("6 of 4 steps", "3 x 8 x 8", "digit", "dynamic", "(6, 4, 2)", "a, b, c, d"):
        assert words in shown
    assert "tensor" not in shown


def test_bytes_become_shares_and_floats_stay():
    assert as_float(torch.tensor([0, 51, 255]).byte()).tolist() == pytest.approx([0, 0.2, 1])
    assert as_float(torch.tensor([0.5, 3])).tolist() == [0.5, 3]
