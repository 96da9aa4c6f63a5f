"""Paper A: how well factors predict each other (its Table 2), and which knows which digit."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from itertools import permutations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import r2_score
from torch import Tensor
from unbraid.codes import (
    SEQUENCES,
    batches,
    collect_pairs,
    consecutive_pairs,
    derived_generator,
    sample_latents,
)
from unbraid.data.sequences import Sequences
from unbraid.measures.information import (
    best_partition,
    block_fraction,
    cross_block,
    ownership,
    same_and_cross,
)
from unbraid.measures.leakage import LeakageMatrix, leakage_matrix, neighbour_scores
from unbraid.models.independent import IndependentPrediction

from papers.evaluation import common
from papers.evaluation.common import Evaluation, Examined, Figures
from papers.experiments import make_sampler, open_judge

LAWS = ("circle", "circle_equal", "circle_opposite", "bounce", "bounce_two_speeds")
HORIZON = 20  # frames that factors are rolled forward
LEAST_OWN, MOST_OTHER = 0.9, 0.1  # R2 of the places, for digits that count as separated


def load_test_digits(settings, split: str, seed: int) -> Sequences:
    """As many sequences of a split as the bound is measured on."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    return make_sampler(settings, split)(settings.evaluation_sequences, generator)


def examine_plainly(model: IndependentPrediction, settings, seed: int, load) -> Examined:
    """The model with test data of which the measures draw no more.

    Sequences have evaluation_length frames where it is set, else as many as in training.
    """
    if length := getattr(settings, "evaluation_length", None):
        settings = settings.but(length=length)
    examined = common.examine(model, settings, seed, load)
    examined.generator = torch.Generator().manual_seed(10_000 + seed)
    examined.entangled = max(settings.factors, settings.decoder_groups) == 1
    return examined


def examine_independent(model: IndependentPrediction, settings, seed: int, load) -> Examined:
    """The model with its test sequences, their sampler, and the parts it is judged by."""
    examined = examine_plainly(model, settings, seed, load)
    examined.sampler = make_sampler(examined.settings, "test")
    examined.test = examined.sampler(settings.evaluation_sequences, examined.generator)
    choose_parts(examined)
    return examined


def choose_parts(examined: Examined) -> None:
    """Add what most measures of digits share.

    pairs: evaluation_draws times pairs as paper A takes them, and pairs apart (`collect_pairs`).
    parts: the units of each factor on the first draw, (K, d). scores: their `neighbour_scores`.
    """
    settings, generator = examined.settings, examined.generator
    draw = partial(collect_pairs, examined.model, examined.sampler, settings.evaluation_pairs)
    examined.pairs = []
    for _ in range(settings.evaluation_draws):
        examined.pairs.append((draw(generator), draw(generator, apart=True)))
    together, apart = examined.pairs[0]
    order = order_units(examined, together.before, together.after)
    examined.parts = order.reshape(-1, settings.judged_size)
    examined.scores = neighbour_scores(apart, examined.parts)


def order_units(examined: Examined, before, after, number: int = 0) -> np.ndarray:
    """The order of the units (K d), on the `number`-th draw, in which `judged_size` are a factor.

    Of an entangled model the best of 20 random partitions, as in the authors' code.
    """
    if not examined.entangled:
        return np.arange(before.shape[1])
    size, seed = examined.settings.judged_size, examined.seed + number
    return best_partition(before, after, size, seed=seed).permutation


@torch.no_grad()
def bound_terms(model: IndependentPrediction, sequences, generator: torch.Generator) -> Figures:
    """The terms of `transition_bound`."""
    rows = []
    for batch in batches(model, sequences, SEQUENCES):
        bound = model.elbo(batch, generator)
        # The model is a filter: the posterior of a first frame does not depend on later ones.
        first = model.elbo(batch.frames[:, :1], generator)
        kl, kl_first = sum(bound.kl.values()), sum(first.kl.values())
        later = (kl - kl_first) / max(bound.frames - 1, 1)
        likelihood = bound.log_likelihood / bound.frames
        rows.append(torch.stack([bound.per_frame, likelihood, kl_first, later], 1))
    names = ("elbo_per_frame", "log_likelihood_per_frame", "kl_first_frame", "kl_per_transition")
    return dict(zip(names, torch.cat(rows).mean(0).tolist(), strict=True))


def split_factors(latents: np.ndarray, size: int) -> list[np.ndarray]:
    """Cut latents (..., K d) into K arrays (..., d)."""
    return [latents[..., start : start + size] for start in range(0, latents.shape[-1], size)]


def table_2(before: np.ndarray, after: np.ndarray, size: int, seed: int) -> Figures:
    """Paper A's Table 2 of latents (N, K d), of which each `size` units are a factor."""
    table = same_and_cross(split_factors(before, size), split_factors(after, size), seed=seed)
    sizes = [size] * (before.shape[1] // size)
    return {
        "mi_same_bits": table.same,
        "mi_cross_bits": table.cross,
        "block_fraction": block_fraction(cross_block(before, after), sizes),
    }


def read_labels(
    model: IndependentPrediction, sequences: Sequences, size: int, order: np.ndarray, seed: int
) -> LeakageMatrix:
    """What a non-linear probe reads of each label off posterior samples of each factor, as skill.

    Static labels are read off the code of a whole sequence, dynamic ones at each frame off the
    code of that frame. order: of the units, of which each `size` are a factor.
    """
    generator = torch.Generator().manual_seed(30_000 + seed)
    latents = sample_latents(model, sequences, generator).numpy()[..., order]
    factors = split_factors(latents, size)
    codes = {f"factor_{number}": factor for number, factor in enumerate(factors)}
    parts: list[LeakageMatrix] = []
    for names, pooling in ((sequences.static, "flattened"), (sequences.dynamic, "frames")):
        labels = {name: sequences.labels[name].numpy() for name in names}
        options = {"probe": "nonlinear", "pooling": pooling, "permutations": 1, "seed": seed}
        parts.append(leakage_matrix(codes, labels, **options))
    cells = {}
    for name in ("value", "test_interval", "p_value"):
        blocks = [getattr(part, name) for part in parts]
        cells[name] = np.concatenate(blocks, 1)
    columns = parts[0].columns + parts[1].columns
    return replace(parts[0], **cells, rows=tuple(codes), columns=columns)


def transition_bound(examined: Examined) -> Figures:
    """Terms of the bound in nats, means over test sequences of one draw each; kl_first_frame is
    that of the first frame against N(0, I), kl_per_transition the mean over the later ones. A
    model with batch normalisation is measured with running statistics, and elbo and log_likelihood
    (*_batch_statistics) also with those of each step of 100 sequences, as in the authors' code."""
    generator = derived_generator(examined.model, examined.generator)
    figures = bound_terms(examined.model, examined.test, generator)
    if examined.settings.normalise:
        # The authors' log holds the bound; its divergences are reported once, as above.
        terms = bound_terms(with_batch_statistics(examined.model), examined.test, generator)
        for name in ("elbo_per_frame", "log_likelihood_per_frame"):
            figures[f"{name}_batch_statistics"] = terms[name]
    return figures


def with_batch_statistics(model: torch.nn.Module) -> torch.nn.Module:
    """A copy that normalises by the statistics of each batch."""
    twin = copy.deepcopy(model)
    for layer in twin.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.train()
    return twin


def digit_information(examined: Examined) -> Figures:
    """Kraskov, k = 3, bits, on posterior samples, means over evaluation_draws draws of
    evaluation_pairs pairs. mi_*_bits: all pairs of a sequence, as paper A; *_apart, own and other
    digit: one pair a sequence. A model without parts: the best of 20 partitions."""
    draws, size = [], examined.settings.judged_size
    for number, (together, apart) in enumerate(examined.pairs):
        seed = examined.seed + number
        order = order_units(examined, together.before, together.after, number)
        figures = table_2(together.before[:, order], together.after[:, order], size, seed)
        before = split_factors(apart.before[:, order], size)
        after = split_factors(apart.after[:, order], size)
        table = same_and_cross(before, after, seed=seed)
        owners = ownership(after, apart.positions, seed=seed)
        draws.append(
            figures
            | {"mi_same_bits_apart": table.same, "mi_cross_bits_apart": table.cross}
            | {"own_digit_bits": owners.own, "other_digit_bits": owners.other}
        )
    return average_bits(draws)


def average_bits(draws: list[Figures]) -> Figures:
    """The means of all figures over draws, and the ratio of cross to same bits."""
    figures = {}
    for name in draws[0]:
        figures[name] = float(np.mean([draw[name] for draw in draws]))
    return figures | {"cross_to_same": figures["mi_cross_bits"] / figures["mi_same_bits"]}


def digit_leakage(examined: Examined) -> Figures:
    """leakage_<digit>_factor_<label>: skill (0 chance, 1 perfect) of a non-linear probe on
    posterior samples of 2 x evaluation_pairs sequences, 30 % of them to test, off the factor that
    owns the digit; identities off whole sequences, positions off frames. own_*_skill and
    other_*_skill: means over a factor's own and the other digit."""
    settings, seed = examined.settings, examined.seed
    generator = torch.Generator().manual_seed(20_000 + seed)
    sequences = examined.sampler(2 * settings.evaluation_pairs, generator)
    order = examined.parts.flatten()
    skills = read_labels(examined.model, sequences, settings.judged_size, order, seed)
    digits, figures = digit_names(examined), {}
    for factor, digit in zip(*linear_sum_assignment(examined.scores, maximize=True), strict=True):
        for label in skills.columns:
            name = f"leakage_{digits[digit]}_factor_{label}"
            figures[name] = skills[f"factor_{factor}", label]
    for kind, ending in (("identity", "digit"), ("position", "position")):
        own = [figures[f"leakage_{digit}_factor_{digit}_{ending}"] for digit in digits]
        other = [figures[f"leakage_{a}_factor_{b}_{ending}"] for a, b in permutations(digits, 2)]
        figures[f"own_{kind}_skill"] = float(np.mean(own))
        figures[f"other_{kind}_skill"] = float(np.mean(other))
    return figures


def position_scores(examined: Examined) -> Figures:
    """own_position_r2, other_position_r2: R2 of 15 nearest neighbours from a posterior sample of a
    factor to the position of its own and of the other digit in the same frame; of evaluation_pairs
    test sequences one frame each, half of them to test. Each digit's own factor is the one of the
    assignment with the greatest sum. factor_<i>_<digit>_r2: all of them. separated: 1 if own is at
    least 0.9 and other at most 0.1, else 0. A model without parts: the best of 20 partitions by
    information."""
    scores, names = examined.scores, digit_names(examined)
    own = scores[linear_sum_assignment(scores, maximize=True)]
    figures = {}
    for (factor, digit), score in np.ndenumerate(scores):
        figures[f"factor_{factor}_{names[digit]}_r2"] = float(score)
    others = (scores.sum() - own.sum()) / (scores.size - own.size)
    figures["own_position_r2"], figures["other_position_r2"] = float(own.mean()), float(others)
    separated = figures["own_position_r2"] >= LEAST_OWN and others <= MOST_OTHER
    return figures | {"separated": float(separated)}


def digit_names(examined: Examined) -> list[str]:
    """The names of the digits, in the order of the columns of `neighbour_scores`."""
    _, apart = examined.pairs[0]
    return [name.removesuffix("_position") for name in apart.positions]


def centroids(frames: Tensor) -> Tensor:
    """The places x, y of both digits in pixels, (..., 2, 2), in frames (..., 3, H, W).

    A plane without any light has its middle.
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


def motion_forecast(examined: Examined) -> Figures:
    """forecast_error_<h>, still_error_<h>: mean distance in pixels between the centroids of the
    true and of the decoded digits h frames after the last one seen, for the transitions' means and
    for the last frame repeated; from 500 test sequences of `length` + 20 frames. forecast_ratio:
    the greatest ratio of the two over all 20 horizons."""
    settings = examined.settings
    sampler = make_sampler(settings.but(length=settings.length + HORIZON), "test")
    generator = torch.Generator().manual_seed(50_000 + examined.seed)
    sequences = sampler(settings.evaluation_sequences // 2, generator)
    model, still, moved = examined.model, [], []
    for batch in batches(model, sequences, SEQUENCES):
        forecast, standing = forecast_errors(model, batch.frames, settings.length)
        moved.append(forecast.mean(2).cpu())
        still.append(standing.mean(2).cpu())
    moved, still = torch.cat(moved).mean(0), torch.cat(still).mean(0)  # (horizons,)
    figures = {"forecast_ratio": float((moved / still).max())}
    for horizon in (1, 5, 10, HORIZON):
        figures[f"forecast_error_{horizon}"] = float(moved[horizon - 1])
        figures[f"still_error_{horizon}"] = float(still[horizon - 1])
    return figures


def digit_swaps(examined: Examined) -> Figures:
    """Frames decoded as they are, and after the factor that knows most of the red digit's place
    was exchanged with that of another sequence. decoded_place, swap_place, swap_kept_place: R2
    from the centroids of decoded digits to the true ones; after the swap, of the red digit of the
    other sequence and the green one of the own. decoded_name, swap_name, swap_kept_name: how often
    a judge names these digits right, for runs whose digits are judged (evaluation_judge). The last
    frames of evaluation_pairs test sequences; the mean paths of the posterior; a model without
    parts: the best of 20 partitions."""
    generator = torch.Generator().manual_seed(60_000 + examined.seed)
    owner = examined.scores[:, 0].argmax()
    sequences = examined.sampler(examined.settings.evaluation_pairs, generator)
    moved = torch.from_numpy(examined.parts[owner])
    decoded, swapped = decode_swapped(examined.model, sequences, moved)
    places = centroids(sequences.frames[:, -1])

    def place(frames: Tensor, plane: int, shift: int = 0) -> float:
        """R2 from a digit's centroid to the true one of the sequence `shift` before."""
        return float(r2_score(places[:, plane].roll(shift, 0), centroids(frames)[:, plane]))

    figures = {
        "decoded_place": (place(decoded, 0) + place(decoded, 1)) / 2,
        "swap_place": place(swapped, 0, shift=1),
        "swap_kept_place": place(swapped, 1),
    }
    if not (judged := getattr(examined.settings, "evaluation_judge", None)):
        return figures
    judge = open_judge(judged, examined.settings.profile)
    of_decoded = common.judge_probabilities(judge, decoded)
    of_swapped = common.judge_probabilities(judge, swapped)

    def name(read: dict[str, Tensor], digit: str, shift: int = 0) -> float:
        """How often the judge reads `digit` of the sequence `shift` before."""
        right = read[digit].argmax(1) == sequences.labels[digit].roll(shift)
        return right.float().mean().item()

    return figures | {
        "decoded_name": (name(of_decoded, "red_digit") + name(of_decoded, "green_digit")) / 2,
        "swap_name": name(of_swapped, "red_digit", shift=1),
        "swap_kept_name": name(of_swapped, "green_digit"),
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


# ---- a street, whose things nobody has labelled


def street_information(examined: Examined) -> Figures:
    """mi_same_bits, mi_cross_bits: Kraskov, k = 3, on posterior samples of all pairs of
    consecutive frames of the test chunks, means over evaluation_draws samples. A model without
    parts: the best of 20 partitions. pairs: their number."""
    test, settings, draws = examined.test, examined.settings, []
    rows, steps = consecutive_pairs(len(test), test.length)
    for number in range(settings.evaluation_draws):
        latents = sample_latents(examined.model, test, examined.generator).numpy()
        before, after = latents[rows, steps], latents[rows, steps + 1]
        order, seed = order_units(examined, before, after, number), examined.seed + number
        draws.append(table_2(before[:, order], after[:, order], settings.judged_size, seed))
    return average_bits(draws) | {"pairs": float(len(rows))}


DIGIT_MEASURES = (
    transition_bound,
    digit_information,
    digit_leakage,
    position_scores,
    motion_forecast,
    digit_swaps,
)
INDEPENDENT = Evaluation(load_test_digits, examine_independent, DIGIT_MEASURES)
STREET = Evaluation(common.load_split, examine_plainly, (transition_bound, street_information))
SINGLE_FRAMES = Evaluation(load_test_digits, examine_plainly, (transition_bound,))
