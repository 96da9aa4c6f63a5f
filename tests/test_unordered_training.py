"""Paper B's model learns: two shapes in any place, seconds of training, and who it is goes to f, where it is to z."""

import pytest
import torch
from unbraid.models.unordered import UnorderedFrames
from unbraid.settings import Settings
from unbraid.training import fit

SHAPES = torch.tensor(
    [[[1, 1, 1], [1, 0, 1], [1, 1, 1]], [[0, 1, 0], [1, 1, 1], [0, 1, 0]]]
)  # a ring and a cross
PLACES = 36


def _pictures():
    """Both shapes in all 36 places of an 8 x 8 canvas: (2, 36, 1, 8, 8)."""
    canvas = torch.zeros(2, PLACES, 1, 8, 8)
    for place in range(PLACES):
        row, column = divmod(place, 6)
        canvas[:, place, 0, row : row + 3, column : column + 3] = SHAPES
    return canvas


PICTURES = _pictures()


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(count, generator, length=6):
    """Unordered sequences: one shape each, in so many different places; frames, shapes (count,), places (count, length)."""
    shapes = torch.randint(2, (count,), generator=generator)
    places = torch.rand(count, PLACES, generator=generator).argsort(1)[:, :length]
    return PICTURES[shapes[:, None], places], shapes, places


@pytest.fixture
def section():
    """Settings as a section of profiles.toml gives them."""
    names = dict(
        image_size=8,
        channels=1,
        widths=[4],
        pair_width=6,
        hidden=8,
        static_size=3,
        dynamic_size=2,
        normalise=True,
        trunk_slope=0.1,
        multiplied=True,
        initial_log_variance=-1.0,
        pairs=True,
        prior_given_static=True,
        posterior_given_static=False,
    )
    return Settings(**names, batch_size=4, steps=4, learning_rate=1e-3, decay=1.0, decay_every=100)


def test_the_training_loop_takes_it_as_any_model(section, tmp_path):
    torch.manual_seed(0)
    model = UnorderedFrames.from_settings(section)
    assert (
        model.frame_shape == (1, 8, 8)
        and model.dynamic_size == 2
        and not model.posterior_given_static
    )
    before = {name: value.clone() for name, value in model.named_parameters()}
    rows = fit(
        model,
        lambda count, generator: draw(count, generator)[0],
        section,
        folder=tmp_path,
        log_every=2,
    )
    assert [row["step"] for row in rows] == [2, 4] and not model.training
    assert [
        name for name, value in model.named_parameters() if torch.equal(value, before[name])
    ] == []
    again = UnorderedFrames.from_settings(section)  # takes the finished run from its checkpoint
    assert fit(again, None, section, folder=tmp_path, log_every=2) == rows
    assert all(
        torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items()
    )


@pytest.fixture(scope="module")
def trained():
    """500 updates, with the divergences' weight raised over the first half of them; and the bound per frame of each."""
    torch.manual_seed(0)
    model = UnorderedFrames(8, 1, (16,), pair_width=32, hidden=64, static_size=4, dynamic_size=2)
    optimizer, frames_noise, code_noise, curve = (
        torch.optim.Adam(model.parameters(), 8e-3),
        noise(1),
        noise(2),
        [],
    )
    for step in range(500):
        bound = model(draw(16, frames_noise)[0], code_noise)
        loss = bound.loss(min(1, (step + 1) / 250))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        curve.append(bound.per_frame.mean().item())
    return model.eval(), curve


@torch.no_grad()
def test_the_bound_rises_and_stays_below_what_is_possible(trained):
    """Six places of 36 and one shape of two have an entropy of 3.62 nats a frame: in the mean no bound is above minus that."""
    model, curve = trained
    frames = draw(200, noise(5))[0]
    bound = model.elbo(frames, noise(3)).per_frame.mean()
    assert sum(curve[:10]) / 10 < -30 and -13 < bound < -3.62


@torch.no_grad()
def test_static_tells_the_shapes_apart_and_a_swap_moves_them(trained):
    model, _ = trained
    frames, shapes, places = draw(200, noise(6))
    codes = model.infer(frames)
    centres = torch.stack(
        [codes["static"][:100][shapes[:100] == shape].mean(0) for shape in (0, 1)]
    )
    told = torch.cdist(codes["static"][100:], centres).argmin(1)
    assert (told == shapes[100:]).float().mean() >= 0.97
    swapped = model.decode({"static": codes["static"].roll(1, 0), "dynamic": codes["dynamic"]})
    nearest = (
        torch.cdist(swapped.flatten(0, 1).flatten(1), PICTURES.flatten(0, 1).flatten(1))
        .argmin(1)
        .view(200, 6)
    )
    assert (
        nearest % PLACES == places
    ).float().mean() > 0.75  # the place of its own z; by chance 1/36
    assert (
        nearest // PLACES == shapes.roll(1)[:, None]
    ).float().mean() > 0.75  # the shape of the other's f; by chance 1/2
