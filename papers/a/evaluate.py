"""Paper A: how well factors predict each other (its Table 2), and which knows which digit."""

from __future__ import annotations

import copy
from itertools import permutations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import r2_score
from torch import Tensor
from unbraid.codes import batches
from unbraid.data.sequences import Sequences
from unbraid.measures.information import same_and_cross
from unbraid.measures.judges import judge_probabilities
from unbraid.measures.leakage import leakage_matrix
from unbraid.models.independent import IndependentPrediction

from papers.a.pairs import (
    SEQUENCES,
    Pairs,
    best_partition,
    collect_pairs,
    consecutive_pairs,
    derived_generator,
    neighbour_scores,
    sample_latents,
)
from papers.datasets import Sampler, make_sampler
from papers.encoded import Evaluation, Figures, load_split, seeded
from papers.judge import open_judge
from papers.settings import Settings

HORIZON = 20  # frames that factors are rolled forward
HORIZONS = (1, 5, 10, HORIZON)  # frames ahead whose errors are written down
LEAST_OWN, MOST_OTHER = 0.9, 0.1  # R2 of the places, for digits that count as separated
TESTS = 10_000  # the seed of test sequences and of what is drawn after them, plus the run's


def evaluate_moving_digits(model: IndependentPrediction, settings: Settings, seed: int) -> Figures:
    """All figures of a model of two moving digits."""
    settings = at_evaluation_length(settings)
    sampler, generator = make_sampler(settings, "test"), seeded(TESTS + seed)
    test = sampler(settings.evaluation_sequences, generator)
    draws = draw_pairs(model, sampler, settings, generator)
    together, apart = draws[0]
    parts = order_units(together, settings, seed).reshape(-1, settings.judged_size)  # (K, d)
    scores = neighbour_scores(apart, parts)  # (K, digits)

    figures = transition_bound(model, test, settings, generator)
    figures |= digit_information(draws, settings, seed)
    figures |= digit_leakage(model, sampler, parts, scores, settings, seed)
    figures |= position_scores(scores)
    figures |= motion_forecast(model, settings, seed)
    figures |= digit_swaps(model, sampler, parts[scores[:, 0].argmax()], settings, seed)
    return figures


def evaluate_street(model: IndependentPrediction, settings: Settings, seed: int) -> Figures:
    """All figures of a model of a street's films, on which nothing is labelled."""
    test, generator = load_split(settings, "test", seed), seeded(TESTS + seed)
    figures = transition_bound(model, test, settings, generator)
    figures |= street_information(model, test, settings, generator, seed)
    return figures


def evaluate_frames(model: IndependentPrediction, settings: Settings, seed: int) -> Figures:
    """All figures of a model of single frames, a plain VAE."""
    test = load_moving_digits(settings, "test", seed)
    return transition_bound(model, test, settings, seeded(TESTS + seed))


def at_evaluation_length(settings: Settings) -> Settings:
    """Sequences have evaluation_length frames where it is set, else as many as in training."""
    length = getattr(settings, "evaluation_length", None)
    return settings.but(length=length) if length else settings


def load_moving_digits(settings: Settings, split: str, seed: int) -> Sequences:
    """As many sequences of moving digits as the bound is measured on."""
    sampler = make_sampler(at_evaluation_length(settings), split)
    return sampler(settings.evaluation_sequences, seeded(TESTS + seed))


# ---- the bound


def transition_bound(
    model: IndependentPrediction, test: Sequences, settings: Settings, generator: torch.Generator
) -> Figures:
    """Terms of the bound in nats, means over test sequences of one draw each; kl_first_frame is
    that of the first frame against N(0, I), kl_per_transition the mean over the later ones. A
    model with batch normalisation is measured with running statistics, and
    elbo_per_frame_batch_statistics is the bound with those of each step of 100 sequences, as in
    the authors' code."""
    generator = derived_generator(model, generator)
    figures = bound_terms(model, test, generator)
    if settings.normalise:
        terms = bound_terms(with_batch_statistics(model), test, generator)
        figures["elbo_per_frame_batch_statistics"] = terms["elbo_per_frame"]
    return figures


@torch.no_grad()
def bound_terms(
    model: IndependentPrediction, sequences: Sequences, generator: torch.Generator
) -> Figures:
    """The terms of `transition_bound`."""
    rows = []
    for batch in batches(model, sequences, SEQUENCES):
        bound = model.elbo(batch, generator)
        # The model is a filter: the posterior of a first frame does not depend on later ones.
        first = model.elbo(batch.frames[:, :1], generator)
        kl, kl_first = sum(bound.kl.values()), sum(first.kl.values())
        later = (kl - kl_first) / max(bound.length - 1, 1)
        likelihood = bound.log_likelihood / bound.length
        rows.append(torch.stack([bound.per_frame, likelihood, kl_first, later], 1))
    names = ("elbo_per_frame", "log_likelihood_per_frame", "kl_first_frame", "kl_per_transition")
    return dict(zip(names, torch.cat(rows).mean(0).tolist(), strict=True))


def with_batch_statistics(model: torch.nn.Module) -> torch.nn.Module:
    """A copy that normalises by the statistics of each batch."""
    twin = copy.deepcopy(model)
    for layer in twin.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.train()
    return twin


# ---- which factor knows what


def draw_pairs(
    model: IndependentPrediction, sampler: Sampler, settings: Settings, generator: torch.Generator
) -> list[tuple[Pairs, Pairs]]:
    """evaluation_draws times pairs as paper A takes them, and pairs of one sequence each."""
    draws = []
    for _ in range(settings.evaluation_draws):
        together = collect_pairs(model, sampler, settings.evaluation_pairs, generator)
        apart = collect_pairs(model, sampler, settings.evaluation_pairs, generator, apart=True)
        draws.append((together, apart))
    return draws


def order_units(pairs: Pairs, settings: Settings, seed: int) -> np.ndarray:
    """The order of the units (K d) in which each `judged_size` of them are a factor.

    Of a model without factors the best of 20 random partitions, as in the authors' code.
    """
    if max(settings.factors, getattr(settings, "decoder_groups", 1)) > 1:
        return np.arange(pairs.before.shape[1])
    return best_partition(pairs.before, pairs.after, settings.judged_size, seed=seed)[0]


def table_2(draw: tuple[Pairs, ...], settings: Settings, seed: int) -> list[float]:
    """Same and cross bits, as paper A's Table 2, of each set of pairs; the first orders units."""
    order, bits = order_units(draw[0], settings, seed), []
    factors = len(order) // settings.judged_size
    for pairs in draw:
        latents = pairs.before[:, order], pairs.after[:, order]
        table = same_and_cross(*(np.split(each, factors, axis=1) for each in latents), seed=seed)
        bits += [table.same, table.cross]
    return bits


def digit_information(draws: list[tuple[Pairs, Pairs]], settings: Settings, seed: int) -> Figures:
    """Kraskov, k = 3, bits, on posterior samples, means over evaluation_draws draws of
    evaluation_pairs pairs. mi_*_bits: all pairs of a sequence, as paper A; *_apart: one pair a
    sequence. A model without parts: the best of 20 partitions. cross_to_same: of mi_*_bits."""
    rows = [table_2(draw, settings, number) for number, draw in enumerate(draws, start=seed)]
    names = ("mi_same_bits", "mi_cross_bits", "mi_same_bits_apart", "mi_cross_bits_apart")
    figures = dict(zip(names, np.mean(rows, 0).tolist(), strict=True))
    return figures | {"cross_to_same": figures["mi_cross_bits"] / figures["mi_same_bits"]}


def street_information(
    model: IndependentPrediction,
    test: Sequences,
    settings: Settings,
    generator: torch.Generator,
    seed: int,
) -> Figures:
    """mi_same_bits, mi_cross_bits: Kraskov, k = 3, on posterior samples of all pairs of
    consecutive frames of the test chunks, means over evaluation_draws samples. A model without
    parts: the best of 20 partitions. cross_to_same: the ratio of the two means."""
    rows, steps = consecutive_pairs(len(test), test.length)
    bits = []
    for number in range(seed, seed + settings.evaluation_draws):
        latents = sample_latents(model, test, generator).numpy()
        pairs = Pairs(latents[rows, steps], latents[rows, steps + 1], {})
        bits.append(table_2((pairs,), settings, number))
    same, cross = np.mean(bits, 0).tolist()
    return {"mi_same_bits": same, "mi_cross_bits": cross, "cross_to_same": cross / same}


def digit_leakage(
    model: IndependentPrediction,
    sampler: Sampler,
    parts: np.ndarray,
    scores: np.ndarray,
    settings: Settings,
    seed: int,
) -> Figures:
    """own_identity_skill, other_identity_skill: skill (0 chance, 1 perfect) of a non-linear probe
    on posterior samples of 2 x evaluation_pairs whole sequences, 30 % of them to test, off a
    factor for the identity of its own and of the other digit; means over factors."""
    sequences = sampler(2 * settings.evaluation_pairs, seeded(20_000 + seed))
    latents = sample_latents(model, sequences, seeded(30_000 + seed)).numpy()  # (N, T, K d)
    codes = {f"factor_{number}": latents[..., units] for number, units in enumerate(parts)}
    identities = {name: sequences.labels[name].numpy() for name in sequences.static}
    skills = leakage_matrix(
        codes, identities, probe="nonlinear", pooling="flattened", permutations=1, seed=seed
    ).value  # (factors, digits)
    owners, digits = linear_sum_assignment(scores, maximize=True)
    factor_of = dict(zip(digits, owners, strict=True))
    own = [skills[factor_of[digit], digit] for digit in digits]
    other = [skills[factor_of[digit], not_own] for digit, not_own in permutations(digits, 2)]
    return {
        "own_identity_skill": float(np.mean(own)),
        "other_identity_skill": float(np.mean(other)),
    }


def position_scores(scores: np.ndarray) -> Figures:
    """own_position_r2, other_position_r2: R2 of 15 nearest neighbours from a posterior sample of a
    factor to the position of its own and of the other digit in the same frame; of evaluation_pairs
    test sequences one frame each, half of them to test. Each digit's own factor is the one of the
    assignment with the greatest sum. factor_<i>_<digit>_r2: all of them. separated: 1 if own is at
    least 0.9 and other at most 0.1, else 0. A model without parts: the best of 20 partitions by
    information."""
    figures = {}
    for (factor, digit), score in np.ndenumerate(scores):
        figures[f"factor_{factor}_{('red', 'green')[digit]}_r2"] = float(score)
    own = scores[linear_sum_assignment(scores, maximize=True)]
    others = (scores.sum() - own.sum()) / (scores.size - own.size)
    figures["own_position_r2"], figures["other_position_r2"] = float(own.mean()), float(others)
    separated = own.mean() >= LEAST_OWN and others <= MOST_OTHER
    return figures | {"separated": float(separated)}


# ---- what is decoded of predicted and of exchanged factors


def centroids(frames: Tensor) -> Tensor:
    """The places x, y of both digits in pixels, (..., 2, 2), in frames (..., 3, H, W).

    In a plane without any light, the middle.
    """
    planes = frames[..., :2, :, :].clamp(min=0) + 1e-6
    weights = planes / planes.sum((-2, -1), keepdim=True)
    x = (weights.sum(-2) * torch.arange(frames.shape[-1], device=frames.device)).sum(-1)
    y = (weights.sum(-1) * torch.arange(frames.shape[-2], device=frames.device)).sum(-1)
    return torch.stack([x, y], -1)


@torch.no_grad()
def roll_forward(model: IndependentPrediction, latents: Tensor, steps: int) -> Tensor:
    """The means of the next `steps` latents (B, steps, K d) after those (B, K d) seen last."""
    path = []
    for _ in range(steps):
        latents = model.prior(latents).mean
        path.append(latents)
    return torch.stack(path, 1)


@torch.no_grad()
def forecast_errors(
    model: IndependentPrediction, frames: Tensor, seen: int
) -> tuple[Tensor, Tensor]:
    """Distances in pixels from the places of digits (B, T - seen, digits) in the frames to come.

    Of the model, which encodes the first `seen` of frames (B, T, 3, H, W), and of the last of them
    as it is.
    """
    latents = model.to_latents(model.encode(frames[:, :seen]))
    future = roll_forward(model, latents[:, -1], frames.shape[1] - seen)
    truth = centroids(frames[:, seen:])
    predicted = centroids(model.decode_latents(future))
    last = centroids(frames[:, seen - 1 : seen])
    return (predicted - truth).norm(dim=-1), (last - truth).norm(dim=-1)


def motion_forecast(model: IndependentPrediction, settings: Settings, seed: int) -> Figures:
    """forecast_error_<h>, still_error_<h>: mean distance in pixels between the centroids of the
    true and of the decoded digits h frames after the last one seen, for the transitions' means and
    for the last frame repeated; from 500 test sequences of `length` + 20 frames. forecast_ratio:
    the greatest ratio of the two over all 20 horizons."""
    sampler = make_sampler(settings.but(length=settings.length + HORIZON), "test")
    sequences = sampler(settings.evaluation_sequences // 2, seeded(50_000 + seed))
    of_model, of_last = [], []
    for batch in batches(model, sequences, SEQUENCES):
        moved, still = forecast_errors(model, batch.frames, settings.length)
        of_model.append(moved.mean(2).cpu())
        of_last.append(still.mean(2).cpu())
    moved, still = torch.cat(of_model).mean(0), torch.cat(of_last).mean(0)  # (HORIZON,)
    figures = {"forecast_ratio": float((moved / still).max())}
    for horizon in HORIZONS:
        figures[f"forecast_error_{horizon}"] = float(moved[horizon - 1])
        figures[f"still_error_{horizon}"] = float(still[horizon - 1])
    return figures


def digit_swaps(
    model: IndependentPrediction,
    sampler: Sampler,
    moved: np.ndarray,
    settings: Settings,
    seed: int,
) -> Figures:
    """Frames decoded as they are, and after the factor that knows most of the red digit's place
    was exchanged with that of another sequence. swap_place, swap_kept_place: R2 from the centroids
    of decoded digits to the true ones after the swap, of the red digit of the other sequence and
    of the green one of the own. decoded_name, swap_name, swap_kept_name: how often
    a judge names these digits right, for runs whose digits are judged (evaluation_judge). The last
    frames of evaluation_pairs test sequences; the mean paths of the posterior; a model without
    parts: the best of 20 partitions."""
    sequences = sampler(settings.evaluation_pairs, seeded(60_000 + seed))
    decoded, swapped = decode_swapped(model, sequences, torch.from_numpy(moved))
    places, found = centroids(sequences.frames[:, -1]), centroids(swapped)
    figures = {
        "swap_place": float(r2_score(places[:, 0].roll(1, 0), found[:, 0])),
        "swap_kept_place": float(r2_score(places[:, 1], found[:, 1])),
    }
    judged = getattr(settings, "evaluation_judge", None)
    if not judged:
        return figures
    judge = open_judge(judged, settings.profile, image_size=settings.image_size)
    of_decoded, of_swapped = (judge_probabilities(judge, each) for each in (decoded, swapped))

    def share_named(read: dict[str, Tensor], digit: str, shift: int = 0) -> float:
        """How often the judge reads `digit` of the sequence `shift` before."""
        right = read[digit].argmax(1) == sequences.labels[digit].roll(shift)
        return right.float().mean().item()

    as_they_are = [share_named(of_decoded, digit) for digit in ("red_digit", "green_digit")]
    return figures | {
        "decoded_name": sum(as_they_are) / 2,
        "swap_name": share_named(of_swapped, "red_digit", shift=1),
        "swap_kept_name": share_named(of_swapped, "green_digit"),
    }


@torch.no_grad()
def decode_swapped(
    model: IndependentPrediction, sequences: Sequences, moved: Tensor
) -> tuple[Tensor, Tensor]:
    """The last frames (N, 3, H, W) from the posterior's means, and with the units `moved` of the
    sequence before."""
    parts = [model.encode(batch) for batch in batches(model, sequences, SEQUENCES)]
    latents = torch.cat([model.to_latents(codes)[:, -1:] for codes in parts])
    exchanged = latents.clone()
    exchanged[..., moved] = latents.roll(1, 0)[..., moved]
    decoded = []
    for rows in (latents, exchanged):
        frames = [model.decode_latents(part)[:, 0] for part in rows.split(SEQUENCES)]
        decoded.append(torch.cat(frames).clamp(0, 1).cpu())
    return decoded[0], decoded[1]


OF_DIGITS = (digit_information, digit_leakage, position_scores, motion_forecast, digit_swaps)
MOVING = Evaluation(evaluate_moving_digits, load_moving_digits, (transition_bound, *OF_DIGITS))
EVALUATIONS = {
    **dict.fromkeys(("circle", "circle_equal", "circle_opposite"), MOVING),
    **dict.fromkeys(("bounce", "bounce_two_speeds"), MOVING),
    "street": Evaluation(evaluate_street, load_split, (transition_bound, street_information)),
    "frames": Evaluation(evaluate_frames, load_moving_digits, (transition_bound,)),
}
