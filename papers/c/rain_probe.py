"""Wet and dry days in the static code of Beijing's air, as in figure 3 of paper C.

The paper draws static codes of days by t-SNE: wet and dry days lie apart, whatever the season. Rain
is none of the ten variables that the model reads. Here a probe says how far they lie apart.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from unbraid.codes import encode_all
from unbraid.data.sequences import Sequences
from unbraid.measures.intervals import Interval
from unbraid.models.single_element import SingleElement
from unbraid.variants import PublishedSeries

from papers.c import series
from papers.encoded import Evaluation, Figures
from papers.intervals import bootstrap_interval, score_of_rows
from papers.settings import RunSettings

DAY = 24  # hours
SHUFFLES = 19  # of the known days' labels
WET = 1.0  # mm of rain from which on a day is wet, as in climate statistics


def evaluate_air(model: SingleElement, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model of air quality: those of other series, and `wet_days`."""
    figures = series.evaluate_series(model, settings, seed)
    if isinstance(model, PublishedSeries):  # which reads s from one day
        known, new = (series.load_series(settings, split) for split in ("train", "test"))
        figures |= wet_days(model, known, new, seed)
    return figures


def wet_days(model: SingleElement, known: Sequences, new: Sequences, seed: int) -> Figures:
    """How well a logistic regression tells wet from dry days: AUROC, .5 by chance, on new days.

    wet_day_auroc: from s of the day. _shuffled: from s, the known days' labels shuffled, a mean
    over `SHUFFLES`; _shuffled_largest of them. _window: from the day's means, as
    `series.plain_means`. _month: from the share of wet days in this month of the known years.
    _within_months: from s, a mean over the months of the new days, so that the season cannot help.
    _low and _high: limits of the interval, by a bootstrap of the new days' calendar months, because
    stations of one city share their rain.
    """
    labels = [is_wet(part) for part in (known, new)]
    months = [
        part.labels["month"].repeat_interleave(len(wet) // len(part)).numpy()
        for part, wet in zip((known, new), labels, strict=True)
    ]
    codes = [day_codes(model, part).numpy() for part in (known, new)]
    share = np.array([labels[0][months[0] == month].mean() for month in range(12)])
    means = []
    for part in (known, new):
        hours = [part.frames, series.observed_values(part)]
        days = [each.unflatten(1, (-1, DAY)).flatten(0, 1) for each in hours]  # (28 N, 24, C)
        means.append(series.plain_means(days[0], days[1], part.mask is not None).numpy())

    from_code = fit_and_score(codes, labels[0])
    predicted = {"": from_code, "_month": share[months[1]]}
    predicted["_window"] = fit_and_score(means, labels[0])
    figures = {}
    for name, scores in predicted.items():
        found = score_months(labels[1], scores, months[1])
        for ending, value in zip(("", "_low", "_high"), found, strict=True):
            figures[f"wet_day_auroc{name}{ending}"] = value
    random, shuffled, within = np.random.default_rng(seed), [], []
    for _ in range(SHUFFLES):
        scores = fit_and_score(codes, random.permutation(labels[0]))
        shuffled.append(roc_auc_score(labels[1], scores))
    for month in np.unique(months[1]):
        rows = months[1] == month
        if 0 < labels[1][rows].mean() < 1:
            within.append(roc_auc_score(labels[1][rows], from_code[rows]))
    figures["wet_day_auroc_shuffled_largest"] = float(max(shuffled))
    return figures | {"wet_day_auroc_within_months": float(np.mean(within))}


def score_months(wet: np.ndarray, scores: np.ndarray, months: np.ndarray) -> Interval:
    """The AUROC of the scores of days (N,), and its interval over the calendar months (N,)."""
    days = [np.flatnonzero(months == month) for month in np.unique(months)]
    score = score_of_rows("auroc", wet, scores)
    return bootstrap_interval(
        lambda drawn: score(np.concatenate([days[k] for k in drawn])), len(days)
    )


def fit_and_score(numbers: list[np.ndarray], wet: np.ndarray) -> np.ndarray:
    """The logits of new days, of a logistic regression on the numbers (N, F) of known days."""
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return linear.fit(numbers[0], wet).decision_function(numbers[1])


# ---- days of months


def is_wet(months: Sequences) -> np.ndarray:
    """Booleans (28 N,): whether it rained `WET` mm or more on each day of N months."""
    return (months.labels["rain"].unflatten(1, (-1, DAY)).sum(2) >= WET).flatten().numpy()


def day_codes(model: SingleElement, months: Sequences) -> Tensor:
    """The means of s (28 N, D) of each day of N months: a day alone is its own anchor."""
    days = months.frames.unflatten(1, (-1, DAY)).flatten(0, 1)  # (28 N, 24, C)
    return encode_all(model, days, size=1024)["static"]


EVALUATIONS = {"air_quality": Evaluation(evaluate_air, series.load_series)}
