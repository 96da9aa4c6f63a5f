"""Paper A's evaluation of one model (its Table 2), on the instruments every model of the course is measured with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from unbraid.data.sequences import Sequences
from unbraid.measures.correlation import block_fraction, cross_block
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix
from unbraid.measures.mutual_information import best_partition, ownership, same_and_cross
from unbraid.models.independent import IndependentPrediction

Draw = Callable[[int, torch.Generator], Sequences]


@dataclass(frozen=True)
class Pairs:
    """Samples of the latents at t and at t + 1 from the same sequences, and the positions at t + 1.

    before, after: (N, K d). positions: by digit's name, (N, 2) in [0, 1].
    """

    before: np.ndarray
    after: np.ndarray
    positions: dict[str, np.ndarray]


@torch.no_grad()
def bound_terms(
    model: IndependentPrediction, sequences: Sequences, generator: torch.Generator
) -> dict[str, float]:
    """The bound and its terms over a set of test sequences, in nats: means over sequences of one sample each.

    elbo_per_frame and log_likelihood_per_frame are averaged over the frames; kl_first_frame is that of t = 1, against
    N(0, I), and kl_per_transition the mean over the later frames.
    """
    rows = []
    for frames in batches(model, sequences.frames):
        bound = model.elbo(frames, generator)
        first = model.elbo(
            frames[:, :1], generator
        )  # a filter: its first frame knows nothing of the later ones
        kl, kl_first = (sum(one.kl.values()) for one in (bound, first))
        later = (kl - kl_first) / max(bound.frames - 1, 1)
        rows.append(
            torch.stack([bound.per_frame, bound.log_likelihood / bound.frames, kl_first, later], 1)
        )
    names = ("elbo_per_frame", "log_likelihood_per_frame", "kl_first_frame", "kl_per_transition")
    return dict(zip(names, torch.cat(rows).mean(0).tolist()))


@torch.no_grad()
def collect_pairs(
    model: IndependentPrediction,
    draw: Draw,
    count: int,
    generator: torch.Generator,
    apart: bool = False,
) -> Pairs:
    """`count` pairs (z_t, z_{t+1}) of posterior samples, t = 1 ... T - 1, from fresh test sequences.

    As the authors do it, all pairs of a sequence are among them. They resemble each other, which reads as information
    that is not there: about half a bit between true positions of digits that know nothing of each other. apart=True
    takes one pair a sequence, at a random step, and so has no such floor.
    """
    length = draw(1, torch.Generator().manual_seed(0)).length
    sequences = draw(count if apart else -(-count // (length - 1)), generator)
    latents = sample_latents(model, sequences, generator)
    if apart:
        rows, steps = torch.arange(count), torch.randint(length - 1, (count,), generator=generator)
        positions = {
            name: sequences.labels[name][rows, steps + 1].numpy() for name in sequences.dynamic
        }
        return Pairs(latents[rows, steps].numpy(), latents[rows, steps + 1].numpy(), positions)
    positions = {
        name: sequences.labels[name][:, 1:].flatten(0, 1)[:count].numpy()
        for name in sequences.dynamic
    }
    before, after = (
        part.flatten(0, 1)[:count].numpy() for part in (latents[:, :-1], latents[:, 1:])
    )
    return Pairs(before, after, positions)


@torch.no_grad()
def sample_latents(
    model: IndependentPrediction, sequences: Sequences, generator: torch.Generator
) -> Tensor:
    """Posterior samples of all sequences, (B, T, K d), on the CPU."""
    return torch.cat(
        [
            model.to_latents(model.infer(frames, True, code_noise(model, generator))).cpu()
            for frames in batches(model, sequences.frames)
        ]
    )


def code_noise(model: torch.nn.Module, generator: torch.Generator) -> torch.Generator:
    """A generator on the model's device, seeded from a CPU one."""
    device = next(model.parameters()).device
    return torch.Generator(device).manual_seed(int(torch.randint(2**31, (1,), generator=generator)))


def batches(model: torch.nn.Module, frames: Tensor, size: int = 100) -> Iterator[Tensor]:
    """Frames (B, T, C, H, W) a hundred sequences at a time, on the model's device."""
    device = next(model.parameters()).device
    return (part.to(device) for part in frames.split(size))


def split_factors(latents: np.ndarray, size: int) -> list[np.ndarray]:
    """(N, K d) as K arrays (N, d)."""
    return [latents[:, start : start + size] for start in range(0, latents.shape[1], size)]


def dependence(
    pairs: Pairs,
    factors: int,
    factor_size: int,
    entangled: bool,
    seed: int = 0,
    apart: Pairs | None = None,
) -> dict[str, float]:
    """Who predicts whom, and who knows which digit, in bits (Kraskov variant 1, k = 3).

    mi_same_bits, mi_cross_bits: paper A's Table 2. own_digit_bits, other_digit_bits: information of a factor on the
    position of the digit assigned to it, and on the other's. An entangled model has no factors: it gets the best of 20
    random partitions of its units, a favourable choice (paper A, and the authors' code).
    apart: pairs with one a sequence; if given, own and other digit are measured on them, and so are mi_same_bits_apart
    and mi_cross_bits_apart, with the partition found on `pairs`.
    """
    order = np.arange(factors * factor_size)
    if entangled:
        found = best_partition(pairs.before, pairs.after, factor_size, seed=seed)
        order = found.permutation
    else:
        found = same_and_cross(
            split_factors(pairs.before, factor_size),
            split_factors(pairs.after, factor_size),
            seed=seed,
        )
    known = apart or pairs
    before, after = (
        split_factors(part[:, order], factor_size) for part in (known.before, known.after)
    )
    owners = ownership(after, known.positions, seed=seed)
    figures = {
        "mi_same_bits": found.same,
        "mi_cross_bits": found.cross,
        "own_digit_bits": owners.own,
        "other_digit_bits": owners.other,
        "block_fraction": block_fraction(
            cross_block(pairs.before[:, order], pairs.after[:, order]), [factor_size] * factors
        ),
    }
    if apart:
        alone = same_and_cross(before, after, seed=seed)
        figures |= {"mi_same_bits_apart": alone.same, "mi_cross_bits_apart": alone.cross}
    return figures


def leakage(
    model: IndependentPrediction,
    sequences: Sequences,
    factor_size: int,
    order: np.ndarray | None = None,
    seed: int = 0,
) -> LeakageMatrix:
    """What can be read of each known factor off each code, 0 as by chance and 1 perfectly; rows factor_0, factor_1, ...

    Columns: the sequences' static labels, read off the code of the whole sequence, and their dynamic ones, read at each
    frame off the code of that frame; both by the non-linear probe, from sequences it was not trained on, on posterior samples.
    order: of the units, e.g. of an entangled model's best partition; then each `factor_size` of them are a factor.
    """
    generator = torch.Generator().manual_seed(30_000 + seed)
    latents = sample_latents(model, sequences, generator).numpy()
    latents = latents if order is None else latents[..., order]
    codes = {
        f"factor_{start // factor_size}": latents[..., start : start + factor_size]
        for start in range(0, latents.shape[-1], factor_size)
    }
    static, dynamic = (
        leakage_matrix(
            codes,
            {name: sequences.labels[name].numpy() for name in names},
            probe="nonlinear",
            pooling=pooling,
            seed=seed,
        )
        for names, pooling in ((sequences.static, "flattened"), (sequences.dynamic, "frames"))
    )
    both = {
        name: np.concatenate([getattr(static, name), getattr(dynamic, name)], 1)
        for name in ("value", "test_interval", "p_value")
    }
    return replace(static, **both, rows=tuple(codes), columns=static.columns + dynamic.columns)


def leakage_figures(
    model: IndependentPrediction,
    draw: Draw,
    count: int,
    factors: int,
    factor_size: int,
    entangled: bool,
    seed: int = 0,
) -> dict[str, float]:
    """The leakage matrix as flat figures, its rows named by the digit each factor is assigned to, as in `dependence`.

    leakage_<digit>_factor_<column>: the cells, e.g. leakage_red_factor_green_position, on 2 `count` sequences.
    own_position_skill, other_position_skill: their means, of a factor on the position of its own digit and of the other;
    own_identity_skill, other_identity_skill: on which of the ten digits it is.
    """
    generator = torch.Generator().manual_seed(
        20_000 + seed
    )  # its own, so that no other figure depends on this one
    together, apart = (
        collect_pairs(model, draw, count, generator, one_each) for one_each in (False, True)
    )
    order = (
        best_partition(together.before, together.after, factor_size, seed=seed).permutation
        if entangled
        else np.arange(factors * factor_size)
    )
    owner = ownership(
        split_factors(apart.after[:, order], factor_size), apart.positions, seed=seed
    ).owner
    matrix = leakage(model, draw(2 * count, generator), factor_size, order, seed)
    digits = [name.removesuffix("_position") for name in apart.positions]
    cells = {
        (of, column): matrix[f"factor_{owner[f'{of}_position']}", column]
        for of in digits
        for column in matrix.columns
    }
    figures = {f"leakage_{of}_factor_{column}": cell for (of, column), cell in cells.items()}
    for kind, ending in (("identity", "digit"), ("position", "position")):
        own, other = (
            [
                cells[of, f"{about}_{ending}"]
                for of in digits
                for about in digits
                if (of == about) == same
            ]
            for same in (True, False)
        )
        figures |= {
            f"own_{kind}_skill": float(np.mean(own)),
            f"other_{kind}_skill": float(np.mean(other)),
        }
    return figures


def evaluate_independent(
    model: IndependentPrediction, draw: Draw, settings, seed: int = 0
) -> dict[str, float]:
    """All figures of one model on test sequences; see bound_terms, dependence and leakage_figures.

    draw(count, generator): test sequences. settings: evaluation_sequences, evaluation_pairs, evaluation_draws, and the
    blocks (judged_factors, judged_size) that factors are compared in, the same for all models. Information is the
    mean over evaluation_draws draws of evaluation_pairs pairs. mi_same_bits and mi_cross_bits are on the paper's pairs,
    all of a sequence; the same names with _apart, and what factors know of the digits, on one pair a sequence.
    """
    model.eval()
    generator = torch.Generator().manual_seed(10_000 + seed)
    terms = bound_terms(
        model, draw(settings.evaluation_sequences, generator), code_noise(model, generator)
    )
    blocks = (
        settings.judged_factors,
        settings.judged_size,
        max(model.factors, model.decoder_groups) == 1,
    )
    draws = []
    for number in range(settings.evaluation_draws):
        together, apart = (
            collect_pairs(model, draw, settings.evaluation_pairs, generator, one_each)
            for one_each in (False, True)
        )
        draws.append(dependence(together, *blocks, seed + number, apart))
    information = {name: float(np.mean([one[name] for one in draws])) for name in draws[0]}
    return {
        **terms,
        **information,
        "cross_to_same": information["mi_cross_bits"] / information["mi_same_bits"],
        **leakage_figures(model, draw, settings.evaluation_pairs, *blocks, seed),
    }
