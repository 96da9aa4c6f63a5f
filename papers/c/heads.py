"""What frozen codes of a series tell of its labels: paper C's heads, beside what needs no codes.

The heads and their training follow Berman et al. (ICML 2024, arXiv 2406.18131) and its code. On
frozen codes two things differ: the epoch is chosen on the validation series, where their code
takes the last one, and a code always meets the label of its own series. A constant, a linear
model and gradient boosting on the raw means stand beside, fitted to training and validation, and
for a class that linear model on means of the one window that the static code reads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from collections.abc import Sequence as ListOf
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

CLASSIFIERS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
    "boosting": HistGradientBoostingClassifier(early_stopping=False, random_state=0),
}
REGRESSORS = {
    "ridge": make_pipeline(StandardScaler(), Ridge()),
    "boosting": HistGradientBoostingRegressor(
        loss="absolute_error", early_stopping=False, random_state=0
    ),
}
LEARNING_RATE = 1e-3
METRICS = {
    "auroc": roc_auc_score,
    "average_precision": average_precision_score,
    "accuracy": lambda target, predicted: np.mean(predicted == target),
    "mean_absolute_error": lambda target, predicted: np.mean(np.abs(predicted - target)),
}
RANKING = ("auroc", "average_precision")  # metrics that need both classes

Split = tuple[tuple[Tensor, ...], Tensor]  # the inputs of a head, and the target, of one split
Draw = Callable[[str], Split]  # of "train", "validation" or "test"


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
    """What the head, and all that stands beside it, say of N test series.

    outputs: predictor -> (S, N, ...) probability of the event, class, or values; S seeds for
    "head", one for the others.
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
        """A predictor's score with its bootstrap interval over test series.

        clusters: (N,) series that are not independent, such as those of one day, share a number.
        less: another predictor, whose score on the same series is subtracted.
        """
        count = len(self.outputs[of])
        other = () if less is None else self.outputs[less]

        def statistic(target, *outputs):
            if metric in RANKING and np.ptp(target) == 0:
                return np.nan  # the ranking of one class alone is not defined
            scores = [METRICS[metric](target, output) for output in outputs]
            return np.mean(scores[:count]) - (np.mean(scores[count:]) if less else 0.0)

        return bootstrap_interval(
            self.target,
            *self.outputs[of],
            *other,
            statistic=statistic,
            clusters=clusters,
            rate=metric != "mean_absolute_error" and less is None,
            draws=draws,
            unit="sequence",
        )


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
        self.layers = nn.Sequential(
            nn.Linear(dynamic + static, 32),
            nn.LeakyReLU(),
            nn.Linear(32, 8),
            nn.LeakyReLU(),
            nn.Linear(8, 1),
            nn.LeakyReLU() if last_activation else nn.Identity(),
        )

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
            for rows in cut_batches(len(target), training):
                loss = training.loss(head(*(values[rows] for values in inputs)), target[rows])
                optimizer.zero_grad()
                loss.backward()
                if training.clip is not None:
                    nn.utils.clip_grad_norm_(head.parameters(), training.clip)
                optimizer.step()
        head.eval()
        if training.choose:
            loss = validate(head, training, draw)
            if loss < smallest:
                smallest, best = loss, copy.deepcopy(head.state_dict())
    if training.choose:
        if best is None:
            raise ValueError("static, dynamic: expected a finite validation loss; scale the codes")
        head.load_state_dict(best)


def cut_batches(count: int, training: HeadTraining) -> tuple[Tensor, ...]:
    """The numbers of all rows in a random order, in batches."""
    order = torch.randperm(count)
    if training.equal:
        return order.tensor_split(-(-count // training.batch))
    return order.split(training.batch)


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
    seeds: ListOf[int],
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


def predict_on_draws(
    build: Callable[[], nn.Module],
    training: HeadTraining,
    draw: Draw,
    metrics: tuple[str, ...],
    seeds: ListOf[int] = (0,),
    rounds: int = 1,
) -> Prediction:
    """What heads trained as in paper C's code say: codes are drawn anew at every pass.

    The outputs are those of each seed, round and pass over the test; see `run_heads`.
    """
    outputs, target = run_heads(build, training, draw, seeds, rounds, training.passes)
    if training.loss is cross_entropy:
        outputs = outputs.argmax(2)
    return Prediction(target.numpy(), {"head": outputs.numpy()}, metrics)


# ---- heads on codes that stay as they are, beside models without codes

SPLITS = ("train", "validation", "test")


def predict_class(
    targets: ListOf[Tensor], coded: ListOf[CodedSeries], seeds: ListOf[int], epochs: int = 40
) -> Prediction:
    """Which class, such as a month or a ward, does the static code alone tell? Accuracy.

    targets (N,), classes 0 ... C - 1, and codes: of training, validation and test series. An epoch
    passes five times over the training series, as in the authors' code. "trivial" always names the
    commonest class of training and validation; "logistic" and "boosting" read the plain numbers of
    the whole series, "window" is "logistic" on those of the window.
    """
    inputs = [(part.static,) for part in coded]
    build = partial(class_head, coded[0].static.shape[1], int(targets[0].max()) + 1)
    training = HeadTraining(cross_entropy, epochs, batch=30, passes=5)
    logits = run_on_codes(build, training, inputs, targets, seeds)  # (S, N, C)
    commonest = int(torch.cat(targets[:2]).bincount().argmax())
    outputs = {
        "head": logits.argmax(2).numpy(),
        "trivial": np.full((1, len(targets[2])), commonest),
    }
    outputs |= fit_baselines(CLASSIFIERS, targets, [part.raw for part in coded])
    window = [part.window for part in coded]
    outputs |= fit_baselines({"window": CLASSIFIERS["logistic"]}, targets, window)
    return Prediction(targets[2].numpy(), outputs, ("accuracy",))


def predict_event(
    targets: ListOf[Tensor],
    coded: ListOf[CodedSeries],
    seeds: ListOf[int],
    epochs: int = 41,
    batch: int = 30,
) -> Prediction:
    """Does an event, such as death in hospital, follow? AUROC and average precision.

    targets (N,) of 0 and 1, and codes: of training, validation and test series. "trivial" gives all
    the same score; "logistic" and "boosting" read the plain numbers of the whole series.
    """
    inputs = [(part.static, part.dynamic, part.lengths) for part in coded]
    build = partial(EventHead, coded[0].static.shape[1], coded[0].dynamic.shape[2])
    training = HeadTraining(binary_cross_entropy_with_logits, epochs, batch, clip=1.0)
    logits = run_on_codes(build, training, inputs, [part.float() for part in targets], seeds)
    outputs = {
        "head": logits.double().sigmoid().numpy(),
        "trivial": np.zeros((1, len(targets[2]))),
    }
    outputs |= fit_baselines(CLASSIFIERS, targets, [part.raw for part in coded], of_event=True)
    return Prediction(targets[2].numpy(), outputs, ("auroc", "average_precision"))


def predict_value(
    targets: ListOf[Tensor],
    coded: ListOf[CodedSeries],
    seeds: ListOf[int],
    epochs: int = 301,
    batch: int = 10,
    last_activation: bool = False,
) -> Prediction:
    """A number for each element, such as a day's mean temperature: mean absolute error, its unit.

    targets (N, W), and codes with as many elements: of training, validation and test series.
    "constant mean" and "constant median" are those of training and validation, "ridge" and
    "boosting" read the plain numbers of the element. last_activation: as `ValueHead`.
    """
    inputs = [(part.static, part.dynamic) for part in coded]
    build = partial(ValueHead, coded[0].static.shape[1], coded[0].dynamic.shape[2], last_activation)
    training = HeadTraining(l1_loss, epochs, batch)
    values = run_on_codes(build, training, inputs, [part.float() for part in targets], seeds)
    known = torch.cat(targets[:2]).double().numpy()
    target = targets[2].double().numpy()
    outputs = {
        "head": values.double().numpy(),
        "constant mean": np.full((1, *target.shape), known.mean()),
        "constant median": np.full((1, *target.shape), np.median(known)),
    }
    outputs |= fit_baselines(REGRESSORS, targets, [part.raw for part in coded])
    return Prediction(target, outputs, ("mean_absolute_error",))


def run_on_codes(
    build: Callable[[], nn.Module],
    training: HeadTraining,
    inputs: ListOf[tuple[Tensor, ...]],
    targets: ListOf[Tensor],
    seeds: ListOf[int],
) -> Tensor:
    """What one head per seed says of the test series, (S, N, ...)."""
    splits = dict(zip(SPLITS, zip(inputs, targets, strict=True), strict=True))
    outputs, _ = run_heads(build, training, splits.__getitem__, seeds)
    return outputs


def fit_baselines(
    models: dict[str, BaseEstimator],
    targets: ListOf[Tensor],
    numbers: ListOf[Tensor | None],
    of_event: bool = False,
) -> dict[str, np.ndarray]:
    """Models without codes, fitted to training and validation series: name -> (1, N, ...).

    numbers: the plain numbers (N, F), or of each element (N, W, F), that they read; none: no model.
    of_event: they give the probability of the event, otherwise a class or a value.
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
