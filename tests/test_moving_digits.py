"""Moving digits: the walk against a plain bounce, the pixels against the positions, the splits against each other."""

import math

import pytest
import torch
from unbraid.data import moving_digits, sources
from unbraid.data.moving_digits import Digits, MovingDigits, load_digits
from unbraid.data.sources import DataError

SIZES = {64: (28, 36), 32: (14, 18)}  # canvas -> a digit's side, and how far its corner travels


@pytest.fixture(scope="module")
def solid():
    """Fifty digits without a black pixel, so that what is drawn can be found again in the frame."""
    images = torch.randint(1, 256, (50, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
    return Digits(images, torch.arange(50) % 10, "train", "solid squares")


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def plain_bounce(place: float, speed: float, steps: int) -> list[float]:
    """A ball between two walls, step by step."""
    path = [place]
    for _ in range(steps):
        place += speed
        if place < 0:
            place, speed = -place, -speed
        elif place > 1:
            place, speed = 2 - place, -speed
        path.append(place)
    return path


@pytest.mark.parametrize("step", (0.1, 0.37))
def test_a_digit_walks_and_bounces_as_a_plain_simulation(solid, step):
    positions = MovingDigits(solid, 64, 60, step).draw(300, seeded(1))[1].double()
    assert positions.shape == (300, 60, 2, 2)
    walks = positions.transpose(1, 2).flatten(0, 1)  # (600, 60, 2)
    velocity = walks[:, 1] - walks[:, 0]
    clear = (
        velocity.norm(dim=-1) - step
    ).abs() < 1e-5  # no wall within the first step, so this is the true velocity
    walks, velocity = walks[clear][:100], velocity[clear][:100]
    assert len(walks) == 100
    expected = torch.tensor(
        [
            [plain_bounce(float(p), float(v), 59) for p, v in zip(*pair)]
            for pair in zip(walks[:, 0], velocity)
        ]
    )
    assert (walks - expected.transpose(1, 2)).abs().max() < 5e-4
    assert (
        ((walks[:, 1:] - walks[:, :-1]).norm(dim=-1) < step - 1e-3).any(dim=1).all()
    )  # every walk met a wall


def test_between_walls_each_step_is_as_long_as_asked(solid):
    positions = MovingDigits(solid, 64, 8, 0.1).draw(500, seeded(2))[1]
    lengths = (positions[:, 1:] - positions[:, :-1]).norm(dim=-1)
    assert lengths.max() <= 0.1 + 1e-5
    inside = ((positions > 0.11) & (positions < 0.89)).all(dim=-1)
    free = inside[:, :-1] & inside[:, 1:]
    assert free.sum() > 1000 and (lengths[free] - 0.1).abs().max() < 1e-5
    assert 0 <= positions.min() and positions.max() <= 1


def test_start_and_direction_are_uniform_and_the_digits_independent(solid):
    positions = MovingDigits(solid, 64, 2, 0.01).draw(20_000, seeded(3))[1]
    start = positions[:, 0].flatten(1)
    assert (start.mean(0) - 0.5).abs().max() < 0.01 and (start.var(0) - 1 / 12).abs().max() < 0.003
    off = torch.corrcoef(start.T) - torch.eye(4)
    assert off.abs().max() < 0.03
    move = positions[:, 1] - positions[:, 0]
    angle = torch.atan2(move[..., 1], move[..., 0])
    sectors = torch.histc(angle.flatten(), 8, -math.pi, math.pi) / angle.numel()
    assert (sectors - 1 / 8).abs().max() < 0.01


@pytest.mark.parametrize("size", SIZES)
def test_frames_show_each_digit_in_its_plane_where_its_position_says(solid, size):
    side, travel = SIZES[size]
    supply = MovingDigits(solid, size, 6)
    frames, which, positions = supply.frames(20, seeded(4))
    assert supply.travel == travel
    assert frames.shape == (20, 6, 3, size, size) and frames.dtype == torch.float32
    assert 0 <= frames.min() and frames.max() <= 1
    assert not frames[:, :, 2].any()
    pixels = solid.images.float() / 255
    if size == 32:
        pixels = pixels.view(-1, 14, 2, 14, 2).mean(dim=(2, 4))
    for plane in range(2):
        ink = frames[:, :, plane] > 0
        left, top = (
            ink.any(dim=axis).float().argmax(-1) for axis in (-2, -1)
        )  # the first column, the first row with ink
        corner = torch.stack([left, top], -1)
        assert torch.equal(corner, (positions[:, :, plane] * travel).round().long())
        assert (ink.sum(dim=(-2, -1)) == side * side).all()
        for sequence in range(20):
            for step in range(6):
                x, y = corner[sequence, step]
                shown = frames[sequence, step, plane, y : y + side, x : x + side]
                torch.testing.assert_close(shown, pixels[which[sequence, plane]], atol=1e-6, rtol=0)


def test_positions_at_the_walls_stay_on_the_canvas(solid, monkeypatch):
    supply = MovingDigits(solid, 32, 2)
    edges = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).expand(3, 2, 2, 2)
    monkeypatch.setattr(
        supply, "draw", lambda count, generator: (torch.zeros(3, 2, dtype=torch.long), edges)
    )
    frames = supply.frames(3, seeded(0))[0]
    assert frames[0, 0, 0, 0, 0] > 0 and frames[0, 0, 1, 31, 31] > 0
    assert (frames[:, :, :2] > 0).sum(dim=(-2, -1)).eq(14 * 14).all()


def test_step_zero_stands_still_and_one_crosses_the_canvas(solid):
    assert MovingDigits(solid, 64, 4, 0.0).draw(5, seeded(0))[1].diff(dim=1).abs().max() == 0
    far = MovingDigits(solid, 64, 9, 1.0).draw(50, seeded(0))[1]
    assert 0 <= far.min() and far.max() <= 1


def test_the_same_generator_gives_the_same_batch_and_moves_on(solid):
    supply = MovingDigits(solid, 32, 3)
    first, again, other = (
        supply.batch(4, seeded(5)),
        supply.batch(4, seeded(5)),
        supply.batch(4, seeded(6)),
    )
    assert torch.equal(first.frames, again.frames) and not torch.equal(first.frames, other.frames)
    generator = seeded(5)
    assert torch.equal(supply.batch(4, generator).frames, first.frames)
    assert not torch.equal(supply.batch(4, generator).frames, first.frames)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    supply.batch(4, seeded(5))
    assert torch.equal(state, torch.get_rng_state())  # nothing is drawn from the global generator


@pytest.mark.parametrize("size", SIZES)
def test_a_buffer_holds_what_a_fresh_batch_would(solid, size):
    supply = MovingDigits(solid, size, 4)
    buffer = torch.rand(7, 4, 3, size, size)
    drawn, generator = [], seeded(7)
    for _ in range(3):
        frames = supply.frames(7, generator, out=buffer)[0]
        assert frames.data_ptr() == buffer.data_ptr()
        drawn.append(frames.clone())
    generator = seeded(7)
    assert all(torch.equal(frames, supply.frames(7, generator)[0]) for frames in drawn)


@pytest.mark.parametrize(
    "shape", ((6, 4, 3, 32, 32), (8, 4, 3, 32, 32), (7, 4, 1, 32, 32), (7, 4, 3, 64, 64))
)
def test_a_buffer_of_another_shape_is_refused(solid, shape):
    with pytest.raises(ValueError, match=r"out: expected .*\(7, 4, 3, 32, 32\)"):
        MovingDigits(solid, 32, 4).frames(7, seeded(0), out=torch.zeros(shape))


def test_a_batch_carries_what_is_known(solid):
    supply = MovingDigits(solid, 32, 5)
    sequences = supply.batch(6, seeded(8))
    _, which, positions = supply.frames(6, seeded(8))
    assert (sequences.static, sequences.dynamic) == (
        ("red_digit", "green_digit"),
        ("red_position", "green_position"),
    )
    assert torch.equal(sequences.labels["red_digit"], solid.labels[which[:, 0]])
    assert torch.equal(sequences.labels["green_digit"], solid.labels[which[:, 1]])
    assert torch.equal(sequences.labels["green_position"], positions[:, :, 1])
    assert (
        sequences.split == "train"
        and "32 x 32" in sequences.provenance
        and "solid squares" in sequences.provenance
    )


@pytest.mark.parametrize(
    "arguments, message",
    (
        ({"image_size": 48}, "image_size: expected 32 or 64, found 48"),
        ({"length": 0}, "found length 0"),
        ({"step": -0.1}, "step -0.1"),
        ({"step": 1.5}, "step 1.5"),
        ({"step": float("nan")}, "step nan"),
    ),
)
def test_sizes_that_cannot_be_are_refused(solid, arguments, message):
    with pytest.raises(ValueError, match=message):
        MovingDigits(solid, **arguments)


def test_the_sample_is_read_and_says_so():
    train, test = (load_digits(split, "mnist-sample") for split in ("train", "test"))
    assert (len(train), len(test)) == (4000, 1000)
    assert train.images.shape == (4000, 28, 28) and train.images.dtype == torch.uint8
    assert set(test.labels.tolist()) == set(range(10))
    assert "sample" in train.provenance and "train split, 4000 digits" in train.provenance
    shared = {image.numpy().tobytes() for image in train.images} & {
        image.numpy().tobytes() for image in test.images
    }
    assert not shared


def test_auto_takes_the_sample_where_mnist_is_not_at_hand(monkeypatch):
    find = sources.find
    monkeypatch.setattr(moving_digits, "find", lambda name: None if name == "mnist" else find(name))
    assert "sample" in load_digits("test").provenance
    with pytest.raises(DataError, match=r"mnist: .*data fetch mnist"):
        load_digits("test", "mnist")


def test_training_digits_of_mnist_leave_out_the_samples_test_digits():
    if sources.find("mnist") is None:
        pytest.skip("MNIST is not at hand: run make data, or set UNBRAID_MIRROR")
    train, test, sample = (
        load_digits("train", "mnist"),
        load_digits("test", "mnist"),
        load_digits("test", "mnist-sample"),
    )
    seen = {image.numpy().tobytes() for image in train.images}
    assert 58_900 < len(train) <= 59_000 and len(test) == 10_000
    assert not seen & {image.numpy().tobytes() for image in sample.images}
    assert {
        image.numpy().tobytes() for image in load_digits("train", "mnist-sample").images
    } <= seen
    assert load_digits("train").provenance == train.provenance  # auto prefers it


@pytest.mark.parametrize(
    "arguments, message",
    (
        (("validation",), "split: expected train or test, found 'validation'"),
        (("train", "emnist"), "source: expected auto, mnist or mnist-sample, found 'emnist'"),
    ),
)
def test_unknown_splits_and_sources_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_digits(*arguments)
