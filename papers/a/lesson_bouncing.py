"""Digits or coordinates? The class, small networks, loop and settings of notebook 12 on bouncing
digits, the paper's own law, and on four worlds that take one possible reason away.

    python -m papers.a.lesson_bouncing bounce            # and turned, small, dense, round

Runs whose rows are in a world's table are not made again. What each control was expected to show
was written down before the first run:

turned  a box turned by 45 degrees. Turning shrinks side and speed by a factor of 1.41. If walls are
        the reason for axes, factors take coordinates along the walls, and those along the pixels
        are not decided; if pixels are, it is the other way round.
small   a straight box of the same side and speed. If it gives fewer coordinates than the large one,
        the turned box says nothing.
dense   a straight box, and fully connected image networks, which know no pixel axes. If pixels are
        the reason, coordinates become rare; if walls are, they stay as frequent.
round   a round wall, which has no axes. If walls are the reason, no run has coordinates along the
        pixels; if pixels are, they stay.
"""

import math
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from unbraid import MovingDigits, kraskov, load_digits, records
from unbraid.data.moving_digits import PATHS
from unbraid_course.lessons import n12, n15

from papers.a.separation_rate import keep
from papers.measured_runs import train_missing, watch
from papers.settings import load

FOLDER = records.results() / "independent" / "bounce" / "quick"
MARKS = (1000, 2000, 4000, 8000, 16_000, 24_000)  # updates that are measured
END = 8000  # of a run; its weights are those of here
LONG = 3  # seeds of the paper's law that are trained to the last mark
SEEDS = {"bounce": 20, "turned": 10, "small": 10, "dense": 10, "round": 10}
SPEEDS = {"round": (0.3, 0.3)}  # else 0.1, the paper's
COORDINATES = ("orange_x", "orange_y", "blue_x", "blue_y")
KEPT = (3, 7, 8, 9)  # seeds whose weights notebook 15 opens


# ---- worlds


def turned(count: int, frames: Tensor, speeds: Tensor, generator: torch.Generator) -> Tensor:
    """Positions (B, T, 2, 2) in a box turned by 45 degrees, which touches all four edges."""
    x, y = (PATHS["bounce"](count, frames, speeds, generator) - 0.5).unbind(-1)
    return torch.stack([x - y, x + y], -1) / 2 + 0.5


def small(count: int, frames: Tensor, speeds: Tensor, generator: torch.Generator) -> Tensor:
    """Positions (B, T, 2, 2) in a straight box of the side and speed of the turned one."""
    return (PATHS["bounce"](count, frames, speeds, generator) - 0.5) / math.sqrt(2) + 0.5


def round_wall(count: int, frames: Tensor, speeds: Tensor, generator: torch.Generator) -> Tensor:
    """Positions (B, T, 2, 2) in a disc, whose wall mirrors the flight."""
    radius = 0.5
    start = draw_directions(count, generator) * radius
    start = start * torch.rand(count, 2, 1, generator=generator).sqrt()
    flight = draw_directions(count, generator) * speeds
    along = (start * flight).sum(-1, keepdim=True)
    squared = flight.square().sum(-1, keepdim=True)
    inside = radius**2 - start.square().sum(-1, keepdim=True)
    # Of p + t f the wall is met at t = (-p.f + sqrt((p.f)^2 + f.f (r^2 - p.p))) / f.f.
    root = (along**2 + squared * inside).sqrt()
    first, chord = (root - along) / squared, 2 * root / squared  # (B, 2, 1), in frames
    met = start + first * flight
    # All chords are alike: each is the last one turned by the same angle about the middle.
    normal = met / radius
    mirrored = flight - 2 * (flight * normal).sum(-1, keepdim=True) * normal
    following = met + chord * mirrored
    turn = torch.atan2(cross(met, following), (met * following).sum(-1, keepdim=True))
    steps = []
    for frame in frames.flatten().tolist():
        since = (frame - first).clamp(min=0)
        walls = torch.floor(since / chord)
        left = since - walls * chord
        place = rotate(met + left * mirrored, walls * turn)
        steps.append(torch.where(frame < first, start + frame * flight, place))
    return (torch.stack(steps, 1) + 0.5).clamp(0, 1)


def draw_directions(count: int, generator: torch.Generator) -> Tensor:
    """Unit vectors (B, 2, 2), one for each digit."""
    angle = 2 * math.pi * torch.rand(count, 2, 1, generator=generator)
    return torch.cat([angle.cos(), angle.sin()], -1)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product (..., 1) of vectors in the plane."""
    return a[..., :1] * b[..., 1:] - a[..., 1:] * b[..., :1]


def rotate(places: Tensor, angle: Tensor) -> Tensor:
    """Places (..., 2) turned about the origin by angles (..., 1)."""
    x, y = places.split(1, -1)
    return torch.cat([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], -1)


def seeded(seed: int) -> torch.Generator:
    """Random numbers of their own."""
    return torch.Generator().manual_seed(seed)


class World(MovingDigits):
    """Moving digits whose positions come from a function `follow` of this module."""

    follow: Callable[..., Tensor]

    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As of MovingDigits."""
        which = torch.randint(len(self.images), (count, 2), generator=generator)
        frames = torch.arange(self.length)[None, :, None, None]
        return which, self.follow(count, frames, self.speeds, generator)


WORLDS = {"turned": turned, "small": small, "round": round_wall}


def make_clips(world: str, split: str, length: int) -> MovingDigits:
    """The supply of a world's clips, drawn from the digits that the clone has."""
    kind = World if world in WORLDS else MovingDigits
    digits = load_digits(split, sample=split == "train")
    clips: Any = kind(digits, 32, length, speeds=SPEEDS.get(world, (0.1, 0.1)))
    if world in WORLDS:
        clips.follow = WORLDS[world]
    return clips


# ---- what a factor knows


def measure(model: Any, world: str, clips: Any) -> dict[str, float]:
    """R2 of each coordinate from each factor's draw at the last frame of clips (N, 8, ...), and
    bits between factors; in the turned box also along its walls, as `wall_...`."""
    places = [clips.labels[name][:, -1] for name in clips.dynamic]
    targets = dict(zip(COORDINATES, torch.cat(places, 1).unbind(1), strict=True))
    if world == "turned":
        for digit in ("orange", "blue"):
            x, y = targets[f"{digit}_x"], targets[f"{digit}_y"]
            targets |= {f"wall_{digit}_x": x + y, f"wall_{digit}_y": y - x}
    scores = n15.know(model, clips.frames, torch.stack([*targets.values()], 1))
    row = {}
    for (factor, name), score in zip(product((0, 1), targets), scores.flat, strict=True):
        row[f"{factor}_{name}"] = score
    noise = torch.randn(*clips.frames.shape[:2], model.K * model.d, generator=seeded(0))
    with torch.no_grad():
        codes, _ = model.filter(clips.frames, noise)  # (N, T, K d)
    return row | measure_bits(codes)


def measure_freeze(model: Any) -> dict[str, float]:
    """The share of its movement that a coordinate keeps while a factor waits, as notebook 15."""
    shares = n15.measure_travel(model, make_clips("bounce", "test", 16)(400, seeded(1)).frames)
    names = [f"freeze_{factor}_{name}" for factor, name in product((0, 1), COORDINATES)]
    return dict(zip(names, shares.ravel().tolist(), strict=True))


def measure_bits(codes: Tensor, draws: int = 3, count: int = 1000) -> dict[str, float]:
    """same and cross in bits, as the paper's Table 2: of each factor's draw at a frame and of its
    own, or of the other factor's, one frame later; a mean over draws of `count` pairs."""
    chosen, rows = np.random.default_rng(0), []
    for _ in range(draws):
        clip = chosen.permutation(len(codes))[:count]
        frame = chosen.integers(codes.shape[1] - 1, size=len(clip))
        before, after = (codes[clip, frame + later].chunk(2, 1) for later in (0, 1))
        bits = np.empty((2, 2))
        for i, j in np.ndindex(2, 2):
            estimate = kraskov(before[i].numpy(), after[j].numpy(), seed=0, raw=True)
            bits[i, j] = estimate.estimate
        rows.append((np.trace(bits) / 2, (bits.sum() - np.trace(bits)) / 2))
    same, other = np.mean(rows, 0).tolist()
    return {"same": same, "cross": other}


# ---- runs


def dense_networks(size: int, features: int = 96, hidden: int = 512) -> tuple[nn.Module, nn.Module]:
    """Fully connected image networks for codes of this size, with He weights."""
    widths = (3 * 32 * 32, hidden, 256)
    encoder: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in zip(widths, (*widths[1:], features), strict=True):
        encoder += [nn.Linear(inputs, outputs), nn.SiLU()]
    decoder: list[nn.Module] = []
    for inputs, outputs in zip((size, *widths[:0:-1]), widths[::-1], strict=True):
        decoder += [nn.Linear(inputs, outputs), nn.SiLU()]
    decoder[-1] = nn.Unflatten(1, (3, 32, 32))
    for layer in (*encoder, *decoder):
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=(2 / layer.in_features) ** 0.5)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def make_model(world: str, seed: int) -> Any:
    """The notebook's small model, in the dense world with other image networks."""
    if world != "dense":
        return n12.small_model(n15.SIZES["v"], seed)
    torch.manual_seed(seed)
    model = n12.IndependentPrediction(dense_networks(32), n12.all_at_once, **n15.SIZES)
    model.filter.posterior.log_variance.bias.data -= 4
    return model


def train_one(world: str, seed: int, updates: int) -> list[dict]:
    """A row at each mark: the loss of the last 500 updates, R2 and bits on test clips."""
    model = make_model(world, seed)
    film = make_clips(world, "train", 5)
    clips = make_clips(world, "test", 8)(1200, seeded(7))
    rate = 1e-3 if world == "dense" else 2e-3
    terms: list[tuple] = []

    def listen() -> Any:
        for update, error, costs in n12.train(model, film, updates, seed, rate=rate):
            terms.append((error, *costs))
            yield (update,)

    rows: list[dict] = []
    for update, seconds in watch(listen(), MARKS):
        error, *costs = np.mean(terms[-500:], 0).tolist()
        row = {"world": world, "seed": seed, "update": update, "seconds": seconds}
        row |= {"loss": error + sum(costs), "error": error}
        row |= {f"kl_{factor}": cost for factor, cost in enumerate(costs)}
        rows.append(row | measure(model, world, clips))
        if world == "bounce" and update == END:
            rows[-1] |= measure_freeze(model)
        if world == "bounce" and update == END and seed in KEPT:
            settings = load("independent.bounce.own", "quick")
            command = "python -m papers.a.lesson_bouncing bounce"
            keep(model, settings, command, FOLDER / "own", rows)
    return rows


def main(world: str) -> None:
    """Train what a world's table lacks; seeds that go on for longer come last."""
    tasks: list[dict[str, Any]] = []
    for seed in range(SEEDS[world]):
        updates = MARKS[-1] if world == "bounce" and seed < LONG else END
        tasks.append({"world": world, "seed": seed, "update": updates})
    tasks.sort(key=lambda task: task["update"])
    train_missing(FOLDER / f"own_{world}.csv", tasks, train_one)


if __name__ == "__main__":
    main(*sys.argv[1:])
