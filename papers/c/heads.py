"""Paper C's heads: labels of series, predicted from their codes and, to compare, without them.

The heads and their training follow Berman et al. (ICML 2024, arXiv 2406.18131) and its code. For
fixed codes, which are not drawn anew at each pass, two things differ: the epoch is chosen on the
validation series, where their code takes the last one, and a code always meets the label of its own
series. A constant, a linear model and gradient boosting read plain means of the series instead of
codes; they are fitted to training and validation series.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss
from unbraid.data.sequences import Sequences
from unbraid.measures.intervals import Interval, bootstrap_interval

BOOSTING = {"early_stopping": False, "random_state": 0}
CLASSIFIERS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
    "boosting": HistGradientBoostingClassifier(**BOOSTING),
}
REGRESSORS = {
    "ridge": make_pipeline(StandardScaler(), Ridge()),
    "boosting": HistGradientBoostingRegressor(loss="absolute_error", **BOOSTING),
}
LEARNING_RATE = 1e-3
METRICS = {
    "auroc": roc_auc_score,
    "auprc": average_precision_score,
    "accuracy": lambda target, predicted: np.mean(predicted == target),
    "mae": lambda target, predicted: np.mean(np.abs(predicted - target)),
}
RANKING = ("auroc", "auprc")  # metrics that need both classes
SPLITS = ("train", "validation", "test")

HeadData = tuple[tuple[Tensor, ...], Tensor]  # a head's inputs and its target, of one split
Draw = Callable[[str], HeadData]  # of "train", "validation" or "test"


@dataclass(frozen=True)
class CodedSeries:
    """N series of a split with their codes, and plain numbers for models without codes.

    static (N, D) and dynamic (N, W, d). lengths (N,): how many of the W elements each series has.
    raw: plain means of the whole series, (N, F), or of each element, (N, W, F). window (N, F): the
    same of the one window that the static code reads.
    """

    sequences: Sequences
    static: Tensor
    dynamic: Tensor
    lengths: Tensor
    raw: Tensor | None = None
    window: Tensor | None = None


@dataclass(frozen=True)
class Prediction:
    """What the head, and the models that it is compared with, predict for N test series.

    outputs: predictor -> (S, N, ...) probability of the event, class, or values; S seeds for
    "head", one for the others. metrics: the names of those that are reported.
    """

    target: np.ndarray
    outputs: dict[str, np.ndarray]
    metrics: tuple[str, ...]

    def score(self, metric: str, predictor: str = "head") -> float:
        """The mean of a metric over the seeds of a predictor."""
        values = [METRICS[metric](self.target, output) for output in self.outputs[predictor]]
        return float(np.mean(values))

    def interval(
        self,
        metric: str,
        clusters: np.ndarray | None = None,
        draws: int = 1000,
        of: str = "head",
        less: str | None = None,
    ) -> Interval:
        """The score of the predictor `of` with its bootstrap interval over test series.

        clusters: (N,) series that are not independent, such as those of one day, share a number.
        less: another predictor, whose score on the same series is subtracted.
        """
        count, other = len(self.outputs[of]), self.outputs[less] if less else ()

        def statistic(target, *outputs):
            if metric in RANKING and np.ptp(target) == 0:
                return np.nan  # the ranking of one class alone is not defined
            scores = [METRICS[metric](target, output) for output in outputs]
            return np.mean(scores[:count]) - (np.mean(scores[count:]) if less else 0.0)

        values = self.target, *self.outputs[of], *other
        how = {"rate": metric != "mae" and less is None, "draws": draws, "unit": "sequence"}
        return bootstrap_interval(*values, statistic=statistic, clusters=clusters, **how)


# ---- heads


def class_head(width: int, classes: int) -> nn.Module:
    """Static codes (B, D) to the logits of classes (B, C)."""
    return nn.Sequential(nn.Linear(width, classes), nn.ReLU(), nn.Linear(classes, classes))


class EventHead(nn.Module):
    """(static (B, D), dynamic (B, W, d), lengths (B,)) to the logit of an event (B,)."""

    def __init__(self, static: int, dynamic: int):
        super().__init__()
        self.recurrent = nn.LSTM(dynamic, 32, batch_first=True)
        self.layers = nn.Sequential(
            nn.Linear(32 + static, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1)
        )

    def forward(self, static: Tensor, dynamic: Tensor, lengths: Tensor) -> Tensor:
        """The logits (B,), from the last element that each series has."""
        outputs, _ = self.recurrent(dynamic)  # (B, W, 32)
        last = outputs[torch.arange(len(outputs)), lengths - 1]
        return self.layers(torch.cat([last, static], dim=1))[:, 0]


class ValueHead(nn.Module):
    """(static (B, D), dynamic (B, W, d)) to a value for each element (B, W).

    last_activation: the paper's leaky ReLU after the last layer, which all but forbids negative
    values.
    """

    def __init__(self, static: int, dynamic: int, last_activation: bool = False):
        super().__init__()
        self.normalise = nn.BatchNorm1d(dynamic + static)
        first = nn.Linear(dynamic + static, 32), nn.LeakyReLU()
        second = nn.Linear(32, 8), nn.LeakyReLU()
        end = nn.LeakyReLU() if last_activation else nn.Identity()
        self.layers = nn.Sequential(*first, *second, nn.Linear(8, 1), end)

    def forward(self, static: Tensor, dynamic: Tensor) -> Tensor:
        """The values (B, W), each from an element's code and the static one."""
        repeated = static[:, None].expand(-1, dynamic.shape[1], -1)
        codes = torch.cat([dynamic, repeated], dim=2)  # (B, W, d + D)
        values = self.layers(self.normalise(codes.flatten(0, 1)))[:, 0]
        return values.unflatten(0, codes.shape[:2])


# ---- their training


@dataclass(frozen=True)
class HeadTraining:
    """Adam on mini-batches.

    clip: the greatest norm of a gradient. passes: over the training series, an epoch.
    equal: batches are as equal in size as can be; otherwise the last has what is left.
    choose: the epoch with the smallest validation loss is kept, otherwise the last.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    epochs: int
    batch: int
    clip: float | None = None
    passes: int = 1
    equal: bool = True
    choose: bool = True

    def cut(self, count: int) -> tuple[Tensor, ...]:
        """The numbers of all rows in a random order, in batches."""
        order = torch.randperm(count)
        return (
            order.tensor_split(-(-count // self.batch)) if self.equal else order.split(self.batch)
        )


CLASS = HeadTraining(cross_entropy, epochs=40, batch=30, passes=5)
EVENT = HeadTraining(binary_cross_entropy_with_logits, epochs=41, batch=30, clip=1.0)
VALUE = HeadTraining(l1_loss, epochs=301, batch=10)


def fit_head(head: nn.Module, training: HeadTraining, draw: Draw) -> None:
    """Train a head in place; it ends in eval mode.

    Raises ValueError if the epoch is to be chosen and none has a finite validation loss.
    """
    optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    smallest, best = np.inf, None
    for _ in range(training.epochs):
        head.train()
        for _ in range(training.passes):
            inputs, target = draw("train")
            for rows in training.cut(len(target)):
                loss = training.loss(head(*(values[rows] for values in inputs)), target[rows])
                optimizer.zero_grad()
                loss.backward()
                if training.clip is not None:
                    nn.utils.clip_grad_norm_(head.parameters(), training.clip)
                optimizer.step()
        head.eval()
        if training.choose and (found := validate(head, training, draw)) < smallest:
            smallest, best = found, copy.deepcopy(head.state_dict())
    if training.choose:
        if best is None:
            raise ValueError("static, dynamic: expected a finite validation loss; scale the codes")
        head.load_state_dict(best)


@torch.no_grad()
def validate(head: nn.Module, training: HeadTraining, draw: Draw) -> float:
    """The mean validation loss of as many draws as an epoch has passes."""
    losses = []
    for _ in range(training.passes):
        inputs, target = draw("validation")
        losses.append(float(training.loss(head(*inputs), target)))
    return float(np.mean(losses))


def run_heads(
    build: Callable[[], nn.Module],
    training: HeadTraining,
    draw: Draw,
    seeds: Sequence[int],
    rounds: int = 1,
    tests: int = 1,
) -> tuple[Tensor, Tensor]:
    """The outputs (seeds * rounds * tests, N, ...) of trained heads on the test, and its target.

    A head is trained `rounds` times, each time on from where it was with a new optimizer, and then
    tested `tests` times. The seed rules first weights, order and dropout, and leaves the caller's
    random numbers alone.
    """
    outputs = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = build()
            for _ in range(rounds):
                fit_head(head, training, draw)
                for _ in range(tests):
                    inputs, target = draw("test")
                    with torch.no_grad():
                        outputs.append(head(*inputs))
    return torch.stack(outputs), target


# ---- what is predicted; targets and codes are those of training, validation and test series


def predict_class(
    targets: Sequence[Tensor],
    coded: Sequence[CodedSeries],
    seeds: Sequence[int],
    training: HeadTraining = CLASS,
) -> Prediction:
    """A class 0 ... C - 1, such as a month or a ward, (N,), from the static code alone: accuracy.

    "trivial" always names the commonest class of training and validation; "logistic" and "boosting"
    read the plain numbers of the whole series, "window" is "logistic" on those of the window.
    """
    build = partial(class_head, coded[0].static.shape[1], int(targets[0].max()) + 1)
    draw = draw_from([(part.static,) for part in coded], targets)
    logits, target = run_heads(build, training, draw, seeds)  # (S, N, C)
    commonest = int(torch.cat(targets[:2]).bincount().argmax())
    outputs = {"head": logits.argmax(2).numpy(), "trivial": np.full((1, len(target)), commonest)}
    outputs |= fit_baselines(CLASSIFIERS, targets, [part.raw for part in coded])
    of_window = {"window": CLASSIFIERS["logistic"]}
    outputs |= fit_baselines(of_window, targets, [part.window for part in coded])
    return Prediction(target.numpy(), outputs, ("accuracy",))


def predict_event(
    targets: Sequence[Tensor],
    coded: Sequence[CodedSeries],
    seeds: Sequence[int],
    training: HeadTraining = EVENT,
) -> Prediction:
    """Whether an event (N,), such as death in hospital, follows: AUROC, AUPRC.

    "trivial" gives all the same score; "logistic" and "boosting" read the plain numbers.
    """
    build = partial(EventHead, coded[0].static.shape[1], coded[0].dynamic.shape[2])
    inputs = [(part.static, part.dynamic, part.lengths) for part in coded]
    draw = draw_from(inputs, [part.float() for part in targets])
    logits, _ = run_heads(build, training, draw, seeds)
    outputs = {
        "head": logits.double().sigmoid().numpy(),
        "trivial": np.zeros((1, len(targets[2]))),
    }
    outputs |= fit_baselines(CLASSIFIERS, targets, [part.raw for part in coded], of_event=True)
    return Prediction(targets[2].numpy(), outputs, ("auroc", "auprc"))


def predict_value(
    targets: Sequence[Tensor],
    coded: Sequence[CodedSeries],
    seeds: Sequence[int],
    training: HeadTraining = VALUE,
    last_activation: bool = False,
) -> Prediction:
    """A value of each element (N, W), such as a day's temperature: mean absolute error, its unit.

    "constant mean" and "constant median" are those of training and validation, "ridge" and
    "boosting" read the plain numbers of the element. last_activation: as `ValueHead`.
    """
    build = partial(ValueHead, coded[0].static.shape[1], coded[0].dynamic.shape[2], last_activation)
    inputs = [(part.static, part.dynamic) for part in coded]
    draw = draw_from(inputs, [part.float() for part in targets])
    values, _ = run_heads(build, training, draw, seeds)
    known, target = torch.cat(targets[:2]).double().numpy(), targets[2].double().numpy()
    outputs = {
        "head": values.double().numpy(),
        "constant mean": np.full((1, *target.shape), known.mean()),
        "constant median": np.full((1, *target.shape), np.median(known)),
    }
    outputs |= fit_baselines(REGRESSORS, targets, [part.raw for part in coded])
    return Prediction(target, outputs, ("mae",))


def draw_from(inputs: Sequence[tuple[Tensor, ...]], targets: Sequence[Tensor]) -> Draw:
    """A draw that gives the same codes at every pass."""
    return dict(zip(SPLITS, zip(inputs, targets, strict=True), strict=True)).__getitem__


def fit_baselines(
    models: dict[str, BaseEstimator],
    targets: Sequence[Tensor],
    numbers: Sequence[Tensor | None],
    of_event: bool = False,
) -> dict[str, np.ndarray]:
    """Models without codes, fitted to training and validation series: name -> (1, N, ...).

    numbers: the plain numbers (N, F), or of each element (N, W, F), that they read; without any
    there is no model. of_event: the probability of the event, otherwise a class or a value.
    """
    if numbers[0] is None:
        return {}
    width = numbers[0].shape[-1]
    rows = [part.double().reshape(-1, width).numpy() for part in numbers]
    target = torch.cat(targets[:2]).flatten().numpy()
    outputs = {}
    for name, model in models.items():
        fitted = clone(model).fit(np.concatenate(rows[:2]), target)
        named = fitted.predict_proba(rows[2])[:, 1] if of_event else fitted.predict(rows[2])
        outputs[name] = named.reshape(1, *targets[2].shape)
    return outputs
