"""Speed of this machine on the course's work: `python tests/bench.py` (`make bench`), four to five minutes on two cores.

Five things, each beside what one would write without care, taken in turns so that a busy machine slows both alike; medians.
  Kraskov     the library's search beside a loop over a k-d tree (bench_kraskov.py)
  training    fit() beside a plain loop over time steps that encodes, filters and decodes one frame after the other
  generator   MovingDigits.frames into a buffer beside a loop over sequences, digits and frames that pastes with NumPy
  throughput  frames a second, and the share of this machine's matmul peak that they come to; paper B's beside paper A's
  pairs       an update of paper B's model beside one whose pair convolution sees every pair of frames laid one on the other
Then what has a bar of its own: the leakage matrix (bench_leakage.py), a judge's frames a second, and the loading of sprites
beside what a training step consumes.
"""

import functools
import itertools
import math
import os
import statistics
import time

import bench_kraskov
import bench_leakage
import bench_single_element
import numpy as np
import torch
import torch.nn.functional as F
from unbraid import judging, settings
from unbraid.data import load
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.data.sources import DataError
from unbraid.distributions import (
    DiagonalGaussian,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.measures.judges import SequenceJudge
from unbraid.measures.resampling import bootstrap_interval
from unbraid.models.independent import IndependentPrediction
from unbraid.models.unordered import UnorderedFrames
from unbraid.networks import forward_flops
from unbraid.training import fit

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def clock() -> float:
    """Seconds, once the device has done all it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(function) -> float:
    started = clock()
    function()
    return clock() - started


def in_turns(first, second, turns: int) -> tuple[float, float]:
    """Median seconds of both, and so of their ratio, measured one after the other `turns` times after one warm-up."""
    first(), second()
    pairs = [(timed(first), timed(second)) for _ in range(turns)]
    return tuple(statistics.median(column) for column in zip(*pairs))


def plain_step(model, optimizer, frames, generator) -> None:
    """One update as a notebook writes it down: the model's networks on one frame after the other. The same bound as elbo()."""
    length = frames.shape[1]
    prior = standard_normal_like(frames.new_zeros(len(frames), model.factors * model.factor_size))
    loss = 0.0
    for t in range(length):
        from_frame = F.leaky_relu(model.posterior.from_frame(model.encoder(frames[:, t])))
        posterior = model.posterior(
            from_frame, DiagonalGaussian(prior.mean.detach(), prior.log_variance.detach())
        )
        code = posterior.sample(generator)
        likelihood = gaussian_log_likelihood(frames[:, t], model.decoder(code), model.variance)
        loss = loss + (kl(posterior, prior) - likelihood).mean() / length
        halves = [
            network(part).chunk(2, -1)
            for network, part in zip(model.transitions, code.split(model.factor_size, -1))
        ]
        prior = DiagonalGaussian(
            torch.cat([mean for mean, _ in halves], -1),
            torch.cat([spread for _, spread in halves], -1),
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def training_step(profile: str, turns: int) -> tuple[float, float, IndependentPrediction, object]:
    """Median seconds of one update of fit(), data aside, and of the plain loop in its memory format; model and settings.

    fit() asks for frames once a step: from the end of one call to the beginning of the next is one update of the library,
    and the plain update is made in between.
    """
    chosen = settings.load("independent.factored", profile, steps=turns + 2)
    torch.manual_seed(0)
    ours, plain = (IndependentPrediction.from_settings(chosen) for _ in range(2))
    plain = plain.to(DEVICE).train()
    optimizer = torch.optim.Adam(plain.parameters(), lr=chosen.learning_rate)
    supply = MovingDigits(
        load_digits("train", "mnist-sample"), chosen.image_size, chosen.length, chosen.step
    )
    noise = torch.Generator(DEVICE).manual_seed(0)
    marks, of_plain = [], []

    def draw(count, generator):
        marks.append(clock())
        frames = supply.frames(count, generator)[0].to(DEVICE)
        of_plain.append(timed(lambda: plain_step(plain, optimizer, frames, noise)))
        marks.append(clock())
        return frames

    fit(ours, draw, chosen, 0, log_every=10)
    of_ours = [marks[i + 1] - marks[i] for i in range(1, len(marks) - 1, 2)]
    return statistics.median(of_ours[1:]), statistics.median(of_plain[1:-1]), ours, chosen


class PairByPair(UnorderedFrames):
    """Paper B's model as printed: each ordered pair of different frames goes through the pair convolution by itself."""

    def compare(self, features: torch.Tensor) -> torch.Tensor:
        """The same mean as the library's, of T (T - 1) convolutions of twice as many channels instead of T."""
        first, second = zip(*itertools.permutations(range(features.shape[1]), 2))
        pairs = torch.cat(
            [features[:, list(first)], features[:, list(second)]], 2
        )  # (B, T (T - 1), 2 C, 4, 4)
        return (
            F.relu(self.pair_convolution(pairs.flatten(0, 1))).unflatten(0, pairs.shape[:2]).mean(1)
        )


def unordered_updates(
    section: str, length: int, turns: int
) -> tuple[list[float], list[float], object]:
    """Seconds of `turns` updates of the model of a section at quick with so many frames a sequence, data aside, and of the direct
    version's, made in turns from the same weights; and the settings."""
    chosen = settings.load(section, "quick")
    torch.manual_seed(0)
    ours, direct = UnorderedFrames.from_settings(chosen), PairByPair.from_settings(chosen)
    direct.load_state_dict(ours.state_dict())
    frames = torch.rand(
        chosen.batch_size, length, *ours.frame_shape, generator=torch.Generator().manual_seed(1)
    ).to(DEVICE)
    updates = []
    for model in (ours, direct):
        model.to(DEVICE, memory_format=torch.channels_last).train()
        optimizer, noise = (
            torch.optim.Adam(model.parameters(), lr=chosen.learning_rate),
            model.noise(chosen.batch_size, length),
        )
        updates.append(functools.partial(update, model, optimizer, frames, noise))
    with torch.no_grad():
        noise = ours.noise(chosen.batch_size, length)
        bounds = [model.elbo(frames, noise=noise).elbo for model in (ours, direct)]
    torch.testing.assert_close(*bounds, rtol=1e-5, atol=0)
    for one in updates:
        one()
    return *zip(*[[timed(one) for one in updates] for _ in range(turns)]), chosen


def update(
    model: UnorderedFrames,
    optimizer: torch.optim.Optimizer,
    frames: torch.Tensor,
    noise: dict[str, torch.Tensor],
) -> None:
    """One step of Adam on minus the bound."""
    optimizer.zero_grad()
    model.elbo(frames, noise=noise).loss().backward()
    optimizer.step()


def paste_loop(
    images: np.ndarray,
    count: int,
    length: int,
    step: float,
    size: int,
    generator: np.random.Generator,
) -> torch.Tensor:
    """Moving digits drawn sequence by sequence, digit by digit, frame by frame; images (N, side, side) bytes."""
    side, sequences = images.shape[-1], []
    for _ in range(count):
        frames = np.zeros((length, 3, size, size), np.float32)
        for plane in range(2):
            digit = images[generator.integers(len(images))]
            place, angle = generator.random(2), 2 * np.pi * generator.random()
            velocity = step * np.array([np.cos(angle), np.sin(angle)])
            for t in range(length):
                left, top = (int(round(p * (size - side))) for p in place)
                window = frames[t, plane, top : top + side, left : left + side]
                frames[t, plane, top : top + side, left : left + side] = np.maximum(window, digit)
                place = place + velocity
                for axis in range(2):
                    if place[axis] < 0:
                        place[axis], velocity[axis] = -place[axis], -velocity[axis]
                    elif place[axis] > 1:
                        place[axis], velocity[axis] = 2 - place[axis], -velocity[axis]
        sequences.append(torch.from_numpy(frames) / 255)
    return torch.stack(sequences)


def generator_speed(profile: str) -> tuple[float, float, int]:
    """Median seconds of one batch by the library and by the loop, and its frames."""
    chosen = settings.load("independent.factored", profile)
    supply = MovingDigits(
        load_digits("train", "mnist-sample"), chosen.image_size, chosen.length, chosen.step
    )
    noise, scalars = torch.Generator().manual_seed(0), np.random.default_rng(0)
    buffer = supply.frames(chosen.batch_size, noise)[0]
    bytes_ = (supply.images * 255).round().byte().numpy()
    ours, loop = in_turns(
        lambda: supply.frames(chosen.batch_size, noise, out=buffer),
        lambda: paste_loop(
            bytes_, chosen.batch_size, chosen.length, chosen.step, chosen.image_size, scalars
        ),
        15,
    )
    return ours, loop, chosen.batch_size * chosen.length


def matmul_peak(size: int = 2048) -> float:
    """Floating-point operations a second of a large float32 matrix product: the best of five."""
    a, b = torch.randn(2, size, size, device=DEVICE)
    a @ b
    return 2 * size**3 / min(timed(lambda: a @ b) for _ in range(5))


def judged_frames() -> float:
    """Frames a second of the quick judge of clips at 64 pixels."""
    chosen = judging.settings_of("sprites", "quick")
    judge = SequenceJudge(
        dict.fromkeys("abcde", tuple("123456")), 64, 3, chosen.width, chosen.features, chosen.hidden
    ).to(DEVICE)
    clips = torch.rand(128, 8, 3, 64, 64)
    judge.probabilities(clips)
    return clips[:, :, 0, 0, 0].numel() / min(
        timed(lambda: judge.probabilities(clips)) for _ in range(5)
    )


def loaded_frames(name: str) -> float:
    """Frames a second of a shuffled pass over a dataset at 32 pixels, as float batches of 32."""
    data = load(name, "train", image_size=32)
    passing = lambda: sum(
        len(batch) for batch in data.batches(32, torch.Generator().manual_seed(0))
    )  # noqa: E731
    passing()
    return len(data) * data.length / min(timed(passing) for _ in range(3))


def line(name: str, ours: str, other: str, ratio: float, bar: float | None) -> None:
    verdict = "" if bar is None else f"{'met' if ratio >= bar else 'NOT met'} (bar {bar:g})"
    print(f"{name:<42} {ours:>15} {other:>15} {ratio:8.2f}  {verdict}", flush=True)


def pairs_rows(consumed: float) -> None:
    """Paper B's rows; consumed: paper A's frames a second at quick."""
    usual, sprites = (
        "unordered",
        "unordered.sprites_poses",
    )  # 16 sequences an update; half of them, and a decoder that takes longer
    for section, length, turns, bar in (
        (sprites, settings.load(sprites, "quick").length, 15, None),
        (sprites, 10, 15, 1 / 0.6),
        (usual, 10, 15, 1 / 0.6),
        (usual, 20, 5, None),
    ):
        ours, direct, chosen = unordered_updates(section, length, turns)
        ours_s, direct_s, count = (
            statistics.median(ours),
            statistics.median(direct),
            chosen.batch_size * length,
        )
        if length == chosen.length:
            line(
                "training, unordered beside A (frames/s)",
                f"{count / ours_s:,.0f}",
                f"{consumed:,.0f}",
                count / ours_s / consumed,
                None,
            )
        line(
            f"pairs, {section.split('.')[-1]}, N = {length} (s)",
            f"{ours_s:.3f}",
            f"{direct_s:.3f}",
            direct_s / ours_s,
            bar,
        )
        share = bootstrap_interval(np.divide(ours, direct), statistic=np.median)
        print(
            f"{'':42} {share.mean:.2f} [{share.low:.2f}, {share.high:.2f}] of the direct version's time, median of {turns} turns"
        )


def main() -> None:
    place = (
        torch.cuda.get_device_name()
        if DEVICE.type == "cuda"
        else f"CPU, {torch.get_num_threads()} threads"
    )
    print(f"{place}; load {os.getloadavg()[0]:.1f}; torch {torch.__version__}\n")
    print(f"{'measure':<42} {'library':>15} {'plain':>15} {'ratio':>8}")
    for row in bench_kraskov.rows([(10_000, 20)]):
        line(
            row["name"] + " (s)",
            f"{row['ours_s']:.2f}",
            f"{row['tree_loop_s']:.2f}",
            row["speedup"],
            1 / 1.5,
        )
    for profile in ("full", "quick"):
        ours, loop, frames = generator_speed(profile)
        size = settings.load("independent", profile).image_size
        line(
            f"generator, {size} pixels (frames/s)",
            f"{frames / ours:,.0f}",
            f"{frames / loop:,.0f}",
            loop / ours,
            20,
        )
    (matrix,) = bench_leakage.rows()
    line(f"{matrix['name']} (s)", f"{matrix['wall_s']:.1f}", "60.0", 60 / matrix["wall_s"], 1)
    judged = judged_frames()
    line("judge, 64 pixels (frames/s)", f"{judged:,.0f}", "2,000", judged / 2000, 1)
    peak, consumed = matmul_peak(), None
    for profile, turns, bar in (
        ("quick", 40, 2),
        ("full", 3 if DEVICE.type == "cpu" else 40, None),
    ):
        ours, plain, model, chosen = training_step(profile, turns)
        count = chosen.batch_size * chosen.length
        consumed = consumed or count / ours  # at quick
        line(
            f"training, {profile} (frames/s)",
            f"{count / ours:,.0f}",
            f"{count / plain:,.0f}",
            plain / ours,
            bar,
        )
        some = torch.rand(2, chosen.length, 3, chosen.image_size, chosen.image_size, device=DEVICE)
        work = (
            3 * forward_flops(model.eval(), some) / 2 * chosen.batch_size
        )  # forward, and twice as much backward
        share = work / ours / peak
        print(
            f"{'':42} {work / ours / 1e9:,.0f} GFLOP/s, {share:.0%} of the float32 matmul peak of {peak / 1e9:,.0f} GFLOP/s"
        )
        assert math.isfinite(share)
    pairs_rows(consumed)
    found = bench_single_element.frames_per_second(device=DEVICE.type)
    for name, bar in (("library", None), ("bfloat16", 2)):
        ratio = found[name] / found["plain"]
        line(
            f"paper C's step, {name} (frames/s)",
            f"{found[name]:,.0f}",
            f"{found['plain']:,.0f}",
            ratio,
            bar,
        )
    for name in ("drawn_sprites", "sprites"):
        try:
            fed = loaded_frames(name)
        except DataError:
            print(f"loading, {name}: not at hand; python -m unbraid data fetch {name}")
        else:
            line(
                f"loading, {name}, 32 pixels (frames/s)",
                f"{fed:,.0f}",
                f"{consumed:,.0f}",
                fed / consumed,
                5,
            )


if __name__ == "__main__":
    main()
