"""The one dataset type: what it accepts, what it refuses and says, and how it is cut, moved and drawn from."""

import time

import numpy as np
import pytest
import torch

from unbraid.data.sequences import Sequences


def example(**changes):
    count, length = 6, 4
    values = {
        "frames": torch.rand(count, length, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
        "labels": {
            "digit": torch.arange(count),
            "position": torch.arange(count * length * 2.0).view(count, length, 2),
        },
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
        (
            {"frames": torch.rand(6, 4, 8, 8)},
            r"frames: expected .*\(N, T, C, H, W\).*found the shape \(6, 4, 8, 8\)",
        ),
        ({"frames": np.zeros((6, 4, 3, 8, 8))}, "frames: expected a tensor, found ndarray"),
        (
            {"frames": torch.zeros(6, 4, 3, 8, 8, dtype=torch.int32)},
            r"numbers, or for images bytes \(uint8\), found torch.int32",
        ),
        (
            {"frames": torch.zeros(6, 4, 3, dtype=torch.uint8)},
            "floating-point numbers, .* found torch.uint8",
        ),
        ({"frames": torch.zeros(6, 4, 0, 8, 8)}, "at least one"),
        ({"frames": torch.zeros(6, 0, 3, 8, 8)}, "at least one step"),
        ({"frames": changed(float("nan"))}, "frames: expected finite numbers, found 1 that"),
        ({"frames": changed(float("inf"))}, "frames: expected finite numbers, found 1 that"),
        ({"frames": changed(1.5)}, r"frames: expected values in \[0, 1\], found .* to 1.5"),
        ({"frames": changed(-0.5)}, r"frames: expected values in \[0, 1\], found -0.5 to"),
        (
            {"labels": {"digit": torch.arange(5), "position": torch.zeros(6, 4)}},
            r"\['digit'\]: .*\(6,\) \(static\), found \(5,\)",
        ),
        (
            {"labels": {"digit": torch.arange(6), "position": torch.zeros(6, 3)}},
            r"\(6, 4\) \(dynamic\), found \(6, 3\)",
        ),
        (
            {"labels": {"digit": torch.arange(6), "position": torch.zeros(6)}},
            r"labels\['position'\]: .*found \(6,\)",
        ),
        (
            {"labels": {"digit": torch.arange(6), "position": torch.full((6, 4), float("nan"))}},
            "finite numbers, found 24 that",
        ),
        (
            {"labels": {"digit": list("abcdef"), "position": torch.zeros(6, 4)}},
            r"labels\['digit'\]: expected a tensor",
        ),
        (
            {"static": ("digit", "colour")},
            r"names of labels \['digit', 'position'\], found \['colour'\]",
        ),
        ({"static": ("digit", "position")}, r"found \['position'\] in both"),
        ({"dynamic": ()}, r"found \['position'\] in neither"),
        ({"static": "digit"}, "static: expected a tuple of names, found the text 'digit'"),
        ({"mask": torch.ones(6, 4)}, "mask: expected a boolean tensor, found torch.float32"),
        (
            {"mask": torch.ones(6, 5, dtype=torch.bool)},
            r"mask: expected the shape \(6, 4\), found \(6, 5\)",
        ),
        (
            {"classes": {"colour": ("red",)}},
            r"classes: expected names of labels \['digit', 'position'\], found 'colour'",
        ),
        (
            {"classes": {"digit": "abcdef"}},
            r"classes\['digit'\]: expected a tuple of names, found the text 'abcdef'",
        ),
        (
            {"classes": {"digit": tuple("abcde")}},
            r"labels\['digit'\]: expected integers 0 to 4, .*found 0 to 5",
        ),
        (
            {"classes": {"position": ("left", "right")}},
            r"labels\['position'\]: expected integers 0 to 1, .*found floating-point numbers",
        ),
    ],
)
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
    whole = example(classes={"digit": "zero one two three four five".split()})
    part = whole.subset(indices)
    assert torch.equal(part.frames, whole.frames[[4, 1]]) and part.labels["digit"].tolist() == [
        4,
        1,
    ]
    assert torch.equal(part.labels["position"], whole.labels["position"][[4, 1]])
    for name in ("static", "dynamic", "split", "provenance", "classes"):
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
    assert {
        there.frames.device.type,
        there.mask.device.type,
        there.labels["digit"].device.type,
    } == {"meta"}
    assert len(there) == 6 and there.split == "test"


def test_batches_in_order():
    assert [batch.labels["digit"].tolist() for batch in example().batches(4)] == [
        [0, 1, 2, 3],
        [4, 5],
    ]
    with pytest.raises(ValueError, match="size: expected at least 1, found 0"):
        next(example().batches(0))


def test_batches_shuffled_are_repeatable_and_complete():
    def passes(seed):
        generator = torch.Generator().manual_seed(seed)
        return [
            [n for batch in example().batches(4, generator) for n in batch.labels["digit"].tolist()]
            for _ in range(2)
        ]

    assert passes(0) == passes(0) != passes(1)
    first, second = passes(0)
    assert first != second and sorted(first) == sorted(second) == [0, 1, 2, 3, 4, 5]


def test_a_batch_keeps_frames_and_labels_together():
    whole = example()
    for batch in whole.batches(4, torch.Generator().manual_seed(3)):
        assert torch.equal(batch.frames, whole.frames[batch.labels["digit"]])


# --- frames kept as bytes --------------------------------------------------------------------------------------------


def compact(count=6, **changes):
    """Bytes of which every value occurs."""
    frames = torch.arange(count * 4 * 3 * 8 * 8).remainder(256).byte().view(count, 4, 3, 8, 8)
    return Sequences(
        frames,
        {"number": torch.arange(count)},
        ("number",),
        classes={"number": tuple(map(str, range(count)))},
        **changes,
    )


def test_bytes_are_kept_and_handed_out_as_floats():
    whole = compact(mask=torch.ones(6, 4, dtype=torch.bool))
    assert (
        whole.frames.dtype
        == whole.subset([3, 1]).frames.dtype
        == whole.to("cpu").frames.dtype
        == torch.uint8
    )
    floats = whole.as_float()
    assert floats.frames.dtype == torch.float32 and (floats.frames.min(), floats.frames.max()) == (
        0,
        1,
    )
    assert torch.equal(
        (floats.frames * 255).round().byte(), whole.frames
    )  # no value is lost or moved
    assert (
        floats.classes == whole.classes == {"number": ("0", "1", "2", "3", "4", "5")}
        and floats.mask is whole.mask
    )
    assert floats.as_float() is floats


def test_floats_stay_as_they_are():
    for kept in (
        example(),
        series(),
        example(frames=torch.rand(6, 4, 3, 8, 8, dtype=torch.float64)),
    ):
        assert kept.as_float() is kept
        assert next(kept.batches(2)).frames.dtype == kept.frames.dtype


@pytest.mark.parametrize("seed", [None, 3])
def test_batches_of_bytes_are_floats_with_their_labels(seed):
    whole, seen = compact(), []
    for batch in whole.batches(4, None if seed is None else torch.Generator().manual_seed(seed)):
        number = batch.labels["number"]
        assert batch.frames.dtype == torch.float32 and torch.equal(
            batch.frames, whole.frames[number].float() / 255
        )
        assert batch.classes == whole.classes
        seen += number.tolist()
    assert sorted(seen) == list(range(6)) and (seed is None) == (seen == sorted(seen))


def test_a_shuffled_pass_over_bytes_is_quick():
    """A quarter of the sprites' test split, 66 MB of bytes; one core needs some 0.05 s, and a training step far more."""
    frames = torch.randint(
        0, 256, (666, 8, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    whole, started = Sequences(frames), time.process_time()
    assert sum(len(batch) for batch in whole.batches(64, torch.Generator().manual_seed(0))) == 666
    assert time.process_time() - started < 1


def test_classes_of_labels():
    labels = {
        "action": torch.tensor([0, 2]),
        "walking": torch.tensor([[True, False], [False, False]]),
    }
    names = {"action": ["walk", "cast", "slash"], "walking": ("no", "yes")}
    whole = Sequences(torch.rand(2, 2, 5), labels, ("action",), ("walking",), classes=names)
    assert whole.classes == {"action": ("walk", "cast", "slash"), "walking": ("no", "yes")}
    assert example().classes == {} and len(whole.subset([]).classes) == 2
