"""Paper A: how well factors predict each other (its Table 2), and which knows which digit."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from unbraid.codes import batches, generator_for
from unbraid.data.sequences import Sequences
from unbraid.measures.information import same_and_cross
from unbraid.models.independent import IndependentPrediction
from unbraid_course.lessons.n13 import sample_codes

from papers.a.pairs import (
    Pairs,
    best_partition,
    collect_pairs,
    consecutive_pairs,
    coordinate_scores,
)
from papers.datasets import Sampler, load_split, make_sampler
from papers.encoded import Evaluation, Figures, seeded
from papers.settings import RunSettings, at_smoke

SEQUENCES = {"smoke": 40, "quick": 1000, "full": 2000}  # of the test, behind the bound
PAIRS, DRAWS = 1000, 5  # N of the Kraskov estimates, as in the authors' code; averaged
LENGTHS = {"paper_width_long": 8, "long": 8}  # frames, of what was trained on fewer
AT_ONCE = 100  # sequences whose bound is computed at a time
LEAST_OWN, MOST_OTHER = 0.9, 0.1  # R2 of the places, for digits that count as separated
TESTS = 10_000  # the seed of test sequences and of what is drawn after them, plus the run's


def evaluate_moving_digits(
    model: IndependentPrediction, settings: RunSettings, seed: int
) -> Figures:
    """All figures of a model of two moving digits."""
    settings = at_evaluation_length(settings)
    sampler, generator = make_sampler(settings, "test"), seeded(TESTS + seed)
    test = sampler(SEQUENCES[settings.profile], generator)
    draws = draw_pairs(model, sampler, settings, generator)
    together, apart = draws[0]
    parts = order_units(together, settings, seed).reshape(-1, settings.judged_size)  # (K, d)
    scores = coordinate_scores(apart, parts)  # (K, digits, 2)

    figures = transition_bound(model, test, generator)
    figures |= digit_information(draws, settings, seed)
    figures |= position_scores(scores.mean(-1))
    figures |= name_coordinates(scores, tuple(apart.positions))
    return figures


def evaluate_street(model: IndependentPrediction, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model of a street's films, on which nothing is labelled."""
    test, generator = load_split(settings, "test", seed), seeded(TESTS + seed)
    figures = transition_bound(model, test, generator)
    (rows, steps), draws = consecutive_pairs(len(test), test.length), []
    for _ in range(at_smoke(settings, 1, DRAWS)):
        latents, _ = sample_codes(model, test, generator)
        draws.append((Pairs(latents[rows, steps], latents[rows, steps + 1], {}),))
    return figures | digit_information(draws, settings, seed)


def at_evaluation_length(settings: RunSettings) -> RunSettings:
    """Sequences have as many frames as in training, or those of LENGTHS."""
    return settings.replace(length=LENGTHS.get(settings.run, settings.length))


def load_moving_digits(settings: RunSettings, split: str, seed: int) -> Sequences:
    """As many sequences of moving digits as the bound is measured on."""
    sampler = make_sampler(at_evaluation_length(settings), split)
    return sampler(SEQUENCES[settings.profile], seeded(TESTS + seed))


# ---- the bound


@torch.no_grad()
def transition_bound(
    model: IndependentPrediction, test: Sequences, generator: torch.Generator
) -> Figures:
    """The bound and its likelihood in nats a frame, means over test sequences of one draw each."""
    number, rows = int(torch.randint(2**31, (1,), generator=generator)), []
    generator = generator_for(model, number)
    for batch in batches(model, test, AT_ONCE):
        bound = model.elbo(batch, generator)
        model.draw_noise(len(batch.frames), 1, generator)  # results/ was drawn after it
        rows.append(torch.stack([bound.per_frame, bound.log_likelihood / bound.length], 1))
    names = ("elbo_per_frame", "log_likelihood_per_frame")
    return dict(zip(names, torch.cat(rows).mean(0).tolist(), strict=True))


# ---- which factor knows what


def draw_pairs(
    model: IndependentPrediction,
    sampler: Sampler,
    settings: RunSettings,
    generator: torch.Generator,
) -> list[tuple[Pairs, Pairs]]:
    """DRAWS times pairs as paper A takes them, and pairs of one sequence each."""
    draws, given = [], (model, sampler, at_smoke(settings, 100, PAIRS), generator)
    for _ in range(at_smoke(settings, 1, DRAWS)):
        draws.append((collect_pairs(*given), collect_pairs(*given, apart=True)))
    return draws


def order_units(pairs: Pairs, settings: RunSettings, seed: int) -> np.ndarray:
    """The order of the units (K d), by factor; without factors the best of 20 partitions."""
    if settings.options["factors"] > 1:
        return np.arange(pairs.before.shape[1])
    return best_partition(pairs.before, pairs.after, settings.judged_size, seed=seed)[0]


def digit_information(
    draws: Sequence[tuple[Pairs, ...]], settings: RunSettings, seed: int
) -> Figures:
    """mi_same_bits, mi_cross_bits, as paper A's Table 2, and their ratio cross_to_same: Kraskov,
    k = 3, of all pairs of posterior samples of a sequence, means over draws of pairs."""
    rows = []
    for number, (pairs, *_) in enumerate(draws, start=seed):
        order = order_units(pairs, settings, number)
        parts = len(order) // settings.judged_size
        latents = pairs.before[:, order], pairs.after[:, order]
        before, after = (np.split(each, parts, axis=1) for each in latents)
        found = same_and_cross(before, after, seed=number, raw=True)
        rows.append((found.same, found.cross))
    same, cross = np.mean(rows, 0).tolist()
    return {"mi_same_bits": same, "mi_cross_bits": cross, "cross_to_same": cross / same}


def position_scores(scores: np.ndarray) -> Figures:
    """own_position_r2, other_position_r2: R2 of 15 nearest neighbours from a posterior sample of a
    factor to the position of its own and of the other digit in the same frame, see
    `coordinate_scores`; the assignment of factors to digits has the greatest sum.
    separated: 1 if both are good enough, else 0."""
    own = scores[linear_sum_assignment(scores, maximize=True)]
    others = (scores.sum() - own.sum()) / (scores.size - own.size)
    separated = own.mean() >= LEAST_OWN and others <= MOST_OTHER
    figures = {"own_position_r2": own.mean(), "other_position_r2": others, "separated": separated}
    return {name: float(value) for name, value in figures.items()}


def name_coordinates(scores: np.ndarray, digits: Sequence[str]) -> Figures:
    """r2_<factor>_<digit>_x and _y: the scores (K, digits, 2) behind `position_scores`, one by one.

    A factor with x of both digits has the same mean R2 of both as a mixture of them has: which of
    the two a run has found, only these show.
    """
    figures = {}
    for (factor, digit, coordinate), score in np.ndenumerate(scores):
        figures[f"r2_{factor}_{digits[digit]}_{'xy'[coordinate]}"] = float(score)
    return figures


MOVING = Evaluation(evaluate_moving_digits, load_moving_digits)
EVALUATIONS = {
    **dict.fromkeys(("circle", "circle_equal", "circle_opposite", "bounce"), MOVING),
    "street": Evaluation(evaluate_street, load_split),
}
