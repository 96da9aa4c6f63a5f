"""How often intervals of 95 % contain the truth: the table of docs/intervals.md.

python -m docs.trials.interval_coverage  (a few minutes of one core; nearly all of it is the
bootstrap). Each row starts from its own random numbers, so every run prints the same shares.
"""

from functools import partial

import numpy as np
from unbraid.measures.intervals import bootstrap_interval, mean_interval, share_interval

SEQUENCES = 1000  # that each trained model is tested on
ACCURACY = 0.85  # mean over all models that training could give
SPREAD = 0.03  # standard deviation between models
SEEDS = (2, 3, 5, 10)
RIGHT, FAILED = 0.99, 0.35  # figures of a seed that works, and of one that fails
FAILING = 0.2  # share of the seeds that fail


def draw_seeds(random):
    return mean_interval(random.normal(size=5)), 0.0


def draw_share(random):
    return share_interval(int(random.binomial(60, 0.8)), 60), 0.8


def draw_right_answers(random):
    """Right answers of five models on their test sequences, (5,)."""
    accuracy = np.clip(ACCURACY + SPREAD * random.standard_normal(5), 0, 1)
    return random.binomial(SEQUENCES, accuracy)


def draw_over_models(random):
    return mean_interval(draw_right_answers(random) / SEQUENCES), ACCURACY


def draw_pooled(random):
    return share_interval(int(draw_right_answers(random).sum()), 5 * SEQUENCES), ACCURACY


def draw_failing(random, count):
    """Seeds of which one in five fails, as where only some runs separate the factors."""
    failed = random.random(count) < FAILING
    truth = FAILING * FAILED + (1 - FAILING) * RIGHT
    return mean_interval(np.where(failed, FAILED, RIGHT)), truth


def draw_accurate(random, count):
    """Seeds near the ceiling: accuracies with a beta(20, 1) distribution, whose mean is 20 / 21."""
    return mean_interval(random.beta(20, 1, count)), 20 / 21


def draw_items(random):
    return bootstrap_interval(random.normal(size=50), draws=500), 0.0


def draw_skewed(random, count):
    """Four rows in each of `count` clusters, whose own means are exponential with mean 1."""
    clusters = np.repeat(np.arange(count), 4)
    values = random.exponential(size=count)[clusters] + random.normal(size=4 * count)
    return values, clusters


def draw_many_clusters(random):
    values, clusters = draw_skewed(random, 25)
    return bootstrap_interval(values, clusters=clusters, draws=500), 1.0


def draw_rows_of_clusters(random):
    values, _ = draw_skewed(random, 25)
    return bootstrap_interval(values, draws=500), 1.0


def draw_few_clusters(random):
    values, clusters = draw_skewed(random, 6)
    return bootstrap_interval(values, clusters=clusters, draws=500), 1.0


ROWS = (
    ("t over 5 seeds", draw_seeds, 4000),
    ("t over 5 models", draw_over_models, 4000),
    ("Wilson, 5 models pooled", draw_pooled, 4000),
    *((f"t, {n} seeds, one in five fails", partial(draw_failing, count=n), 20_000) for n in SEEDS),
    *((f"t, {n} seeds near the ceiling", partial(draw_accurate, count=n), 20_000) for n in SEEDS),
    ("Wilson, 60 items", draw_share, 4000),
    ("bootstrap, 50 items", draw_items, 1000),
    ("bootstrap, 25 clusters", draw_many_clusters, 1000),
    ("bootstrap, their rows", draw_rows_of_clusters, 1000),
    ("bootstrap, 6 clusters", draw_few_clusters, 600),
)


if __name__ == "__main__":
    for name, draw, repeats in ROWS:
        random = np.random.default_rng(0)
        hits = 0
        for _ in range(repeats):
            interval, truth = draw(random)
            hits += interval.low <= truth <= interval.high
        print(f"{name:32} {100 * hits / repeats:.1f} % of {repeats}", flush=True)
