"""The one dataset type: what it accepts, what it refuses and says, and how it is cut, moved and drawn from."""

import numpy as np
import pytest
import torch

from unbraid.data.sequences import Sequences


def example(**changes):
    count, length = 6, 4
    values = {
        "frames": torch.rand(count, length, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        "labels": {"digit": torch.arange(count), "position": torch.arange(count * length * 2.0).view(count, length, 2)},
        "static": ("digit",),
        "dynamic": ("position",),
        "split": "test",
        "provenance": "made for the tests",
    }
    return Sequences(**(values | changes))


def series(**changes):
    return Sequences(**({"frames": torch.randn(5, 7, 2) * 100} | changes))


def test_frames_and_series():
    assert example().kind == "frames" and len(example()) == 6 and example().length == 4
    assert series().kind == "series" and len(series()) == 5 and series().length == 7
    assert len(example(frames=torch.zeros(0, 4, 3, 8, 8), labels={}, static=(), dynamic=())) == 0


def test_labels_may_come_as_arrays():
    labels = {"digit": np.arange(6), "position": np.zeros((6, 4, 2))}
    assert isinstance(example(labels=labels).labels["digit"], torch.Tensor)
    assert example(static=["digit"]).static == ("digit",)


def changed(value):
    frames = torch.rand(6, 4, 3, 8, 8)
    frames[2, 1, 0, 3, 3] = value
    return frames


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frames": torch.rand(6, 4, 8, 8)}, r"frames: expected .*\(N, T, C, H, W\).*found the shape \(6, 4, 8, 8\)"),
        ({"frames": np.zeros((6, 4, 3, 8, 8))}, "frames: expected a tensor, found ndarray"),
        ({"frames": torch.zeros(6, 4, 3, 8, 8, dtype=torch.uint8)}, "floating-point numbers, found torch.uint8; divide by 255"),
        ({"frames": torch.zeros(6, 4, 0, 8, 8)}, "at least one"),
        ({"frames": torch.zeros(6, 0, 3, 8, 8)}, "at least one step"),
        ({"frames": changed(float("nan"))}, "frames: expected finite numbers, found 1 that"),
        ({"frames": changed(float("inf"))}, "frames: expected finite numbers, found 1 that"),
        ({"frames": changed(1.5)}, r"frames: expected values in \[0, 1\], found .* to 1.5"),
        ({"frames": changed(-0.5)}, r"frames: expected values in \[0, 1\], found -0.5 to"),
        ({"labels": {"digit": torch.arange(5), "position": torch.zeros(6, 4)}}, r"\['digit'\]: .*\(6,\) \(static\), found \(5,\)"),
        ({"labels": {"digit": torch.arange(6), "position": torch.zeros(6, 3)}}, r"\(6, 4\) \(dynamic\), found \(6, 3\)"),
        ({"labels": {"digit": torch.arange(6), "position": torch.zeros(6)}}, r"labels\['position'\]: .*found \(6,\)"),
        ({"labels": {"digit": torch.arange(6), "position": torch.full((6, 4), float("nan"))}}, "finite numbers, found 24 that"),
        ({"labels": {"digit": list("abcdef"), "position": torch.zeros(6, 4)}}, r"labels\['digit'\]: expected a tensor"),
        ({"static": ("digit", "colour")}, r"names of labels \['digit', 'position'\], found \['colour'\]"),
        ({"static": ("digit", "position")}, r"found \['position'\] in both"),
        ({"dynamic": ()}, r"found \['position'\] in neither"),
        ({"static": "digit"}, "static: expected a tuple of names, found the text 'digit'"),
        ({"mask": torch.ones(6, 4)}, "mask: expected a boolean tensor, found torch.float32"),
        ({"mask": torch.ones(6, 5, dtype=torch.bool)}, r"mask: expected the shape \(6, 4\), found \(6, 5\)"),
    ],
)  # fmt: skip
def test_what_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        example(**changes)


def test_series_have_no_range_but_must_be_finite():
    assert series().frames.abs().max() > 1
    with pytest.raises(ValueError, match="finite"):
        series(frames=torch.full((2, 3, 1), float("nan")))


def test_masks():
    assert series(mask=torch.ones(5, 7, dtype=torch.bool)).mask.shape == (5, 7)
    assert series(mask=torch.ones(5, 7, 2, dtype=torch.bool)).subset([0, 2]).mask.shape == (2, 7, 2)


def test_it_is_frozen():
    with pytest.raises(AttributeError):
        example().split = "train"


@pytest.mark.parametrize("indices", [[4, 1], torch.tensor([4, 1]), np.array([4, 1])])
def test_subset_keeps_what_belongs_together(indices):
    whole, part = example(), example().subset(indices)
    assert torch.equal(part.frames, whole.frames[[4, 1]]) and part.labels["digit"].tolist() == [4, 1]
    assert torch.equal(part.labels["position"], whole.labels["position"][[4, 1]])
    for name in ("static", "dynamic", "split", "provenance"):
        assert getattr(part, name) == getattr(whole, name)


def test_other_subsets():
    assert example().subset(slice(1, 5, 2)).labels["digit"].tolist() == [1, 3]
    assert example().subset(example().labels["digit"] > 3).labels["digit"].tolist() == [4, 5]
    assert len(example().subset([])) == 0


@pytest.mark.parametrize("indices", [[6], [-1], [0.5], [[0]], torch.ones(5, dtype=torch.bool)])
def test_indices_that_are_none(indices):
    with pytest.raises(ValueError, match="indices: expected"):
        example().subset(indices)


def test_to():
    there = example(mask=torch.ones(6, 4, dtype=torch.bool)).to("meta")
    assert {there.frames.device.type, there.mask.device.type, there.labels["digit"].device.type} == {"meta"}
    assert len(there) == 6 and there.split == "test"


def test_batches_in_order():
    assert [batch.labels["digit"].tolist() for batch in example().batches(4)] == [[0, 1, 2, 3], [4, 5]]
    with pytest.raises(ValueError, match="size: expected at least 1, found 0"):
        next(example().batches(0))


def test_batches_shuffled_are_repeatable_and_complete():
    def passes(seed):
        generator = torch.Generator().manual_seed(seed)
        return [[n for batch in example().batches(4, generator) for n in batch.labels["digit"].tolist()] for _ in range(2)]

    assert passes(0) == passes(0) != passes(1)
    first, second = passes(0)
    assert first != second and sorted(first) == sorted(second) == [0, 1, 2, 3, 4, 5]


def test_a_batch_keeps_frames_and_labels_together():
    whole = example()
    for batch in whole.batches(4, torch.Generator().manual_seed(3)):
        assert torch.equal(batch.frames, whole.frames[batch.labels["digit"]])
