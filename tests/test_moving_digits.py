"""Moving digits: the walk against a plain bounce, the pixels against positions, the two splits."""

import math
from itertools import product

import pytest
import torch
from helpers import seeded
from unbraid.data import fetch, moving_digits
from unbraid.data.moving_digits import Digits, MovingDigits, in_turns, load_digits

from papers.selections import DigitPaths

SIZES = {64: (28, 36), 32: (14, 18)}  # canvas: a digit's side, and how far its corner travels


@pytest.fixture(scope="module")
def solid():
    """Fifty digits without a black pixel, so that a digit can be found again in a frame."""
    images = torch.randint(1, 256, (50, 28, 28), generator=seeded(0)).byte()
    return Digits(images, torch.arange(50) % 10, "train", "solid squares")


def bounce(place, speed, steps):
    """The path of a ball between two walls, step by step."""
    path = [place]
    for _ in range(steps):
        place += speed
        if place < 0:
            place, speed = -place, -speed
        elif place > 1:
            place, speed = 2 - place, -speed
        path.append(place)
    return path


def test_a_digit_walks_and_bounces_as_a_plain_simulation(solid):
    steps = torch.tensor([0.1, 0.37])  # of the two digits
    sampler = MovingDigits(solid, 64, 60, speeds=tuple(steps.tolist()))
    positions = sampler.draw(200, seeded(1))[1].double()  # (200, 60, 2, 2)
    velocity = positions[:, 1] - positions[:, 0]
    # Where no wall was met within the first step, this is the true velocity.
    clear = ((velocity.norm(dim=-1) - steps).abs() < 1e-5).all(1)
    assert clear.sum() > 30
    walks, velocity = positions[clear].flatten(2), velocity[clear].flatten(1)
    for walk, speed in zip(walks, velocity, strict=True):
        for axis in range(4):
            expected = torch.tensor(bounce(float(walk[0, axis]), float(speed[axis]), 59))
            assert (walk[:, axis] - expected).abs().max() < 5e-4


def test_a_digit_circles_with_its_own_angle_about_the_middle(solid):
    speeds = (0.5, -0.9)
    positions = MovingDigits(solid, 64, 15, "circle", speeds).draw(400, seeded(1))[1].double() - 0.5
    radii = positions.norm(dim=-1)  # (400, 15, 2)
    assert (radii - radii[:, :1]).abs().max() < 1e-5
    assert 0.15 <= radii.min() < 0.16 and 0.49 < radii.max() <= 0.5
    complex_positions = torch.complex(positions[..., 0], positions[..., 1])
    turned = torch.angle(complex_positions[:, 1:] / complex_positions[:, :-1])
    assert (turned - torch.tensor(speeds)).abs().max() < 1e-4


def test_start_and_direction_are_uniform_and_the_digits_independent(solid):
    positions = MovingDigits(solid, 64, 2, speeds=(0.01, 0.01)).draw(20_000, seeded(3))[1]
    start = positions[:, 0].flatten(1)
    assert (start.mean(0) - 0.5).abs().max() < 0.01 and (start.var(0) - 1 / 12).abs().max() < 0.003
    assert (torch.corrcoef(start.T) - torch.eye(4)).abs().max() < 0.03
    angle = torch.atan2(*(positions[:, 1] - positions[:, 0]).unbind(-1))
    sectors = torch.histc(angle.flatten(), 8, -math.pi, math.pi) / angle.numel()
    assert (sectors - 1 / 8).abs().max() < 0.01


@pytest.mark.parametrize("size", SIZES)
def test_frames_show_each_digit_in_its_plane_where_its_position_says(solid, size):
    side, travel = SIZES[size]
    sampler = MovingDigits(solid, size, 6)
    which, positions = sampler.draw(20, seeded(4))
    positions[0, :2] = torch.tensor([0.0, 1.0])[:, None, None]  # the walls too
    frames = sampler.render(which, positions)
    assert frames.shape == (20, 6, 3, size, size) and frames.dtype == torch.float32
    assert not frames[:, :, 2].any()
    pixels = solid.images.float() / 255
    if size == 32:
        pixels = pixels.view(-1, 14, 2, 14, 2).mean(dim=(2, 4))
    expected = torch.zeros_like(frames)
    corners = (positions * travel).round().long()
    for sequence, step, plane in product(range(20), range(6), range(2)):
        x, y = corners[sequence, step, plane]
        digit = pixels[which[sequence, plane]]
        expected[sequence, step, plane, y : y + side, x : x + side] = digit
    torch.testing.assert_close(frames, expected, atol=1e-6, rtol=0)


def test_a_batch_carries_what_is_known_and_the_generator_alone_moves_on(solid):
    sampler, state = MovingDigits(solid, 32, 5), torch.get_rng_state()
    batch, (which, positions) = sampler(6, seeded(8)), sampler.draw(6, seeded(8))
    for number, colour in enumerate(("red", "green")):
        assert torch.equal(batch.labels[f"{colour}_digit"], solid.labels[which[:, number]])
        assert torch.equal(batch.labels[f"{colour}_position"], positions[:, :, number])
    assert torch.equal(batch.frames, sampler.render(which, positions))
    assert torch.equal(state, torch.get_rng_state())


def test_frames_are_rendered_where_the_images_lie(solid):
    sampler = MovingDigits(solid)
    which, positions = sampler.draw(3, seeded(1))
    there = sampler.to("meta")
    assert there.render(which, positions).is_meta and not sampler.images.is_meta
    assert torch.equal(sampler.to("cpu")(3, seeded(1)).frames, sampler.render(which, positions))


def test_unordered_digits_are_different_frames_of_a_path(solid):
    which, positions = DigitPaths(solid, 32, 20, kept=6).draw(200, seeded(9))
    same, path = MovingDigits(solid, 32, 20).draw(200, seeded(9))
    assert torch.equal(which, same)
    hits = (positions[:, :, None] == path[:, None]).all(-1).all(-1)  # (200, 6, 20)
    assert (hits.sum(-1) == 1).all() and (hits.sum(1) <= 1).all()
    assert (hits.float().argmax(-1).diff(dim=1) < 0).any()


def test_grey_digits_hide_each_other_and_are_named_in_order(solid):
    sequences = MovingDigits(solid, 32, 5)(40, seeded(8))
    grey = DigitPaths(solid, 32, 5, grey=True)(40, seeded(8))
    red, green = sequences.frames[:, :, 0], sequences.frames[:, :, 1]
    assert torch.equal(grey.frames[:, :, 0], torch.where(red > green, red, green))
    assert grey.frames.shape == (40, 5, 1, 32, 32) and grey.kind == "frames"
    for sequence in range(40):
        found = {}
        for size in ("smaller", "larger"):
            place = grey.labels[f"{size}_position"][sequence].flatten().tolist()
            found[tuple(place)] = int(grey.labels[f"{size}_digit"][sequence])
        assert list(found.values()) == sorted(found.values())
        for colour in ("red", "green"):
            place = sequences.labels[f"{colour}_position"][sequence].flatten().tolist()
            assert found[tuple(place)] == int(sequences.labels[f"{colour}_digit"][sequence])


def pictures(digits):
    return {image.numpy().tobytes() for image in digits.images}


def test_the_test_digits_are_those_of_mnist_and_travel_with_the_clone(data_of_the_clone):
    train = load_digits("train")
    assert len(train.images) == 4000 and train.labels.bincount().tolist() == [400] * 10
    assert train.source == "mnist-sample" and "sample" in train.provenance
    test = load_digits("test")
    assert test.provenance == "MNIST, test split, 10000 digits" and test.source == "mnist"
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_digits_in_turns():
    numbers = torch.arange(10).repeat(3).numpy()
    assert in_turns(numbers).tolist() == list(range(30))
    assert in_turns(numbers[::-1]).tolist()[:11] == [*range(9, -1, -1), 19]


@pytest.mark.skipif(not fetch.find("mnist"), reason="needs MNIST: make data, or UNBRAID_MIRROR")
def test_the_sample_comes_first_in_turns_and_the_next_thousand_are_left_out(monkeypatch):
    paths = fetch.files("mnist", moving_digits.FILES["train"])
    images, numbers = (torch.from_numpy(moving_digits.read_idx(path)) for path in paths.values())
    order = in_turns(numbers.numpy())
    train = load_digits("train")
    monkeypatch.setattr(moving_digits, "find", lambda *_: None)
    sample = load_digits("train")
    assert torch.equal(sample.images, images[order[:4000]])
    assert torch.equal(sample.labels, numbers[order[:4000]].long())
    assert len(train.images) == 59_000 and train.source == "mnist"
    left_out = {image.numpy().tobytes() for image in images[order[4000:5000]]}
    assert len(left_out) == 1000 and not pictures(train) & left_out
    assert pictures(train) >= pictures(sample)
