"""What frozen codes of a series tell of its labels: paper C's heads, beside what needs no codes.

The heads and their training follow Berman et al. (ICML 2024, arXiv 2406.18131) and its code. On
frozen codes two things differ: the epoch is chosen on the validation sequences, where their code
takes the last one, and a code always meets the label of its own sequence. A constant, a linear
model and gradient boosting on the raw means stand beside, fitted to training and validation, and
for a class that linear model on means of the one window that the static code reads.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss
from unbraid.checks import check_name
from unbraid.measures.intervals import Interval, bootstrap_interval, finite_array
from unbraid.readable import Readable

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
AXES = {
    "target": (1, 2),
    "static": (2,),
    "dynamic": (3,),
    "lengths": (1,),
    "raw": (2, 3),
    "window": (2,),
}
METRICS = {
    "auroc": roc_auc_score,
    "average_precision": average_precision_score,
    "accuracy": lambda target, predicted: np.mean(predicted == target),
    "mean_absolute_error": lambda target, predicted: np.mean(np.abs(predicted - target)),
}


@dataclass(frozen=True, eq=False)
class Examples:
    """Codes and labels of N sequences, row by row, as arrays or tensors.

    target: (N,) 0 or 1 for an event, or classes 0..C-1; (N, W) a value for each window.
    static: (N, D). dynamic: (N, W, d), one code a window. lengths: (N,) valid windows from 1 to W,
    by default all; what lies beyond is not read. raw: (N, F) or (N, W, F) plain numbers, such as
    means of features, for the models without codes. window: (N, F), the same of the one window that
    the static code reads.
    Raises ValueError for no sequences, lengths that differ, NaN in what is read.
    """

    target: np.ndarray
    static: np.ndarray | None = None
    dynamic: np.ndarray | None = None
    lengths: np.ndarray | None = None
    raw: np.ndarray | None = None
    window: np.ndarray | None = None

    def __post_init__(self):
        arrays = {n: np.asarray(array) for n, array in vars(self).items() if array is not None}
        for name, array in arrays.items():
            if array.ndim not in AXES[name]:
                raise ValueError(f"{name}: expected {AXES[name]} axes, found shape {array.shape}")
            if len(array) != len(arrays["target"]) or not len(array):
                expected = f"{len(arrays['target'])} >= 1 sequences, as target"
                raise ValueError(f"{name}: expected {expected}, found {len(array)}")
        if "dynamic" in arrays:
            windows = arrays["dynamic"].shape[1]
            lengths = arrays.setdefault("lengths", np.full(len(arrays["target"]), windows))
            if not np.isin(lengths, np.arange(1, windows + 1)).all():
                raise ValueError(f"lengths: expected 1 to {windows} windows, found {lengths}")
            valid = np.arange(windows) < lengths[:, None]  # (N, W)
            arrays["dynamic"] = np.where(valid[..., None], arrays["dynamic"], 0.0)
        for name, array in arrays.items():
            object.__setattr__(self, name, finite_array(name, array))

    def __len__(self):
        return len(self.target)


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Readable):
    """What the head, and all that stands beside it, say of the test sequences.

    outputs: predictor -> (S, N, ...) probability of the event, class, or values; S seeds for
    "head", one for the others. scores: predictor -> metric -> its mean over seeds.
    """

    target: np.ndarray
    outputs: dict[str, np.ndarray]
    metrics: tuple[str, ...]

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """The mean over seeds of each metric, by predictor and metric."""
        table = {}
        for name, outputs in self.outputs.items():
            table[name] = {}
            for metric in self.metrics:
                values = [METRICS[metric](self.target, output) for output in outputs]
                table[name][metric] = float(np.mean(values))
        return table

    def interval(self, metric, clusters=None, draws=1000, of="head", less=None) -> Interval:
        """A predictor's score, a mean over seeds, with its bootstrap interval over test sequences.

        clusters: (N,) sequences that are not independent, such as those of one day, share a number.
        less: another predictor, whose score on the same sequences is subtracted.
        Raises ValueError for an unknown metric or predictor, and as `bootstrap_interval`.
        """
        check_name("metric", metric, self.metrics)
        for name in (of,) if less is None else (of, less):
            check_name("of, less", name, self.outputs)
        ranks = metric in ("auroc", "average_precision")
        count = len(self.outputs[of])
        taken = () if less is None else self.outputs[less]

        def statistic(target, *outputs):
            if ranks and np.ptp(target) == 0:
                return np.nan  # the ranking of one class alone is not defined
            scores = [METRICS[metric](target, output) for output in outputs]
            return np.mean(scores[:count]) - (np.mean(scores[count:]) if len(taken) else 0.0)

        return bootstrap_interval(
            self.target,
            *self.outputs[of],
            *taken,
            statistic=statistic,
            clusters=clusters,
            rate=metric != "mean_absolute_error" and less is None,
            draws=draws,
            unit="sequence",
        )


def class_head(width: int, classes: int) -> nn.Module:
    """Static codes (B, D) to the logits of classes (B, C)."""
    return nn.Sequential(nn.Linear(width, classes), nn.ReLU(), nn.Linear(classes, classes))


class EventHead(nn.Module):
    """(static (B, D), dynamic (B, W, d), lengths (B,)) to the logit of an event (B,)."""

    def __init__(self, static, dynamic):
        super().__init__()
        self.recurrent = nn.LSTM(dynamic, 32, batch_first=True)
        self.layers = nn.Sequential(
            nn.Linear(32 + static, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1)
        )

    def forward(self, static, dynamic, lengths):
        """The logits (B,), from the last valid window of each sequence."""
        outputs, _ = self.recurrent(dynamic)  # (B, W, 32)
        last = outputs[torch.arange(len(outputs)), lengths - 1]
        return self.layers(torch.cat([last, static], dim=1))[:, 0]


class ValueHead(nn.Module):
    """(static (B, D), dynamic (B, W, d)) to a value for each window (B, W).

    last_activation: the paper's leaky ReLU after the last layer, which all but forbids negative
    values.
    """

    def __init__(self, static, dynamic, last_activation=False):
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

    def forward(self, static, dynamic):
        """The values (B, W), each from a window's code and the static one."""
        repeated = static[:, None].expand(-1, dynamic.shape[1], -1)
        codes = torch.cat([dynamic, repeated], dim=2)  # (B, W, d + D)
        values = self.layers(self.normalise(codes.flatten(0, 1)))[:, 0]
        return values.unflatten(0, codes.shape[:2])


@dataclass(frozen=True)
class HeadTraining:
    """Adam on mini-batches.

    clip: the greatest norm of a gradient. passes: over the training sequences, an epoch.
    equal: batches are as equal in size as can be; otherwise the last has what is left.
    choose: the epoch with the smallest validation loss is kept, otherwise the last.
    """

    loss: Callable
    epochs: int
    batch: int
    clip: float | None = None
    passes: int = 1
    equal: bool = True
    choose: bool = True


def predict_event(train, validation, test, seeds=(0, 1, 2), epochs=41, batch=30) -> Prediction:
    """Does an event, such as death in hospital, follow? AUROC and average precision.

    train, validation, test: `Examples` with a target of 0 and 1, static and dynamic codes.
    Raises ValueError for codes that lack or differ in shape.
    """
    parts = train, validation, test
    inputs = ("static", "dynamic", "lengths")
    check_parts(parts, inputs)
    check_target(parts, "(N,) 0 or 1 for an event", most=1)
    build = partial(EventHead, train.static.shape[1], train.dynamic.shape[2])
    training = HeadTraining(binary_cross_entropy_with_logits, epochs, batch, clip=1.0)
    outputs = {"head": expit(head_outputs(build, inputs, training, parts, seeds))}
    outputs["trivial"] = np.zeros((1, len(test)))
    outputs |= outputs_on_raw(parts, CLASSIFIERS, lambda model, raw: model.predict_proba(raw)[:, 1])
    return Prediction(test.target, outputs, ("auroc", "average_precision"))


def predict_class(train, validation, test, seeds=(0, 1, 2), epochs=40) -> Prediction:
    """Which class, such as a month or a ward, does the static code alone tell? Accuracy.

    train, validation, test: `Examples` with classes 0..C-1 as target and static codes. An epoch
    passes five times over the training sequences, as in the authors' code. "trivial" always
    names the commonest class of training and validation. "window" is "logistic" on the plain
    numbers of the window instead of those of the whole sequence. Raises ValueError as
    `predict_event`.
    """
    parts = train, validation, test
    check_parts(parts, ("static",))
    check_target(parts, "(N,) classes 0, 1, ...")
    width, classes = train.static.shape[1], int(train.target.max()) + 1

    build = partial(class_head, width, classes)
    training = HeadTraining(cross_entropy, epochs, batch=30, passes=5)
    logits = head_outputs(build, ("static",), training, parts, seeds)  # (S, N, C)
    commonest = np.bincount(joined(parts, "target").astype(int)).argmax()
    outputs = {"head": logits.argmax(axis=2), "trivial": np.full((1, len(test)), commonest)}
    outputs |= outputs_on_raw(parts, CLASSIFIERS, lambda model, raw: model.predict(raw))
    outputs |= outputs_on_window(parts)
    return Prediction(test.target, outputs, ("accuracy",))


def predict_value(
    train, validation, test, seeds=(0, 1, 2), epochs=301, batch=10, last_activation=False
) -> Prediction:
    """A number for each window, such as a day's mean temperature; mean absolute error in its unit.

    train, validation, test: `Examples` with a target (N, W), static codes, and dynamic codes of as
    many windows. last_activation: as `ValueHead`. Raises ValueError as `predict_event`.
    """
    parts = train, validation, test
    check_parts(parts, ("static", "dynamic"))
    for part in parts:
        if part.target.shape != part.dynamic.shape[:2]:
            found = f"{part.target.shape} and {part.dynamic.shape[:2]}"
            raise ValueError(f"target, dynamic: expected the same windows, found {found}")
    build = partial(ValueHead, train.static.shape[1], train.dynamic.shape[2], last_activation)
    training = HeadTraining(l1_loss, epochs, batch)
    outputs = {"head": head_outputs(build, ("static", "dynamic"), training, parts, seeds)}
    values = joined(parts, "target")
    outputs["constant mean"] = np.full((1, *test.target.shape), values.mean())
    outputs["constant median"] = np.full((1, *test.target.shape), np.median(values))
    outputs |= outputs_on_raw(parts, REGRESSORS, lambda model, raw: model.predict(raw))
    return Prediction(test.target, outputs, ("mean_absolute_error",))


def head_outputs(build, inputs, training: HeadTraining, parts, seeds) -> np.ndarray:
    """What one head a seed says of the test sequences, (S, N, ...). inputs: names of its inputs."""
    data = {}
    for split, part in zip(("train", "validation", "test"), parts, strict=True):
        tensors = [as_tensor(getattr(part, name), name == "lengths") for name in inputs]
        data[split] = tensors, as_tensor(part.target, training.loss is cross_entropy)
    outputs, _ = run_heads(build, training, data.__getitem__, seeds)
    return outputs.double().numpy()


def as_tensor(values, whole: bool) -> torch.Tensor:
    """An array as single precision or, where it counts or names classes, as whole numbers."""
    return torch.as_tensor(values, dtype=torch.long if whole else torch.float32)


def predict_on_draws(
    build, training: HeadTraining, draw, metrics, seeds=(0,), rounds=1
) -> Prediction:
    """What heads trained as in paper C's code say: codes are drawn anew at every pass.

    draw: as in `fit_head`, and of the split "test" too, with new draws of the codes.
    rounds: so many times the same head is trained on, with a new optimizer, and tested after each.
    metrics: names of METRICS. The outputs are those of each seed, round and pass over the test.
    Raises ValueError as `fit_head`.
    """
    outputs, target = run_heads(build, training, draw, seeds, rounds, training.passes)
    if training.loss is cross_entropy:
        outputs = outputs.argmax(2)
    return Prediction(target.numpy(), {"head": outputs.numpy()}, tuple(metrics))


def run_heads(build, training: HeadTraining, draw, seeds, rounds=1, tests=1):
    """The outputs (seeds * rounds * tests, N, ...) of trained heads on the test, and its target.

    The seed rules first weights, order and dropout, and leaves the caller's random numbers alone.
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


def fit_head(head: nn.Module, training: HeadTraining, draw) -> None:
    """Train a head in place.

    draw(split): a list of inputs, which the head takes in that order, and the target of "train" or
    "validation", all of N rows. Raises ValueError if no epoch has a finite validation loss.
    """
    optimizer = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    smallest, best = np.inf, None
    for _ in range(training.epochs):
        head.train()
        for _ in range(training.passes):
            train_pass(head, optimizer, training, *draw("train"))
        head.eval()
        if not training.choose:
            continue

        losses = []
        for _ in range(training.passes):
            inputs, target = draw("validation")
            with torch.no_grad():
                losses.append(float(training.loss(head(*inputs), target)))
        if np.mean(losses) < smallest:
            smallest, best = np.mean(losses), copy.deepcopy(head.state_dict())
    if training.choose and best is None:
        raise ValueError("static, dynamic: expected a finite validation loss; scale the codes")
    if training.choose:
        head.load_state_dict(best)


def train_pass(head, optimizer, training: HeadTraining, inputs, target) -> None:
    """One pass over the training sequences in a random order."""
    order, size = torch.randperm(len(target)), training.batch
    parts = order.tensor_split(-(-len(order) // size)) if training.equal else order.split(size)
    for rows in parts:
        optimizer.zero_grad()
        output = head(*(values[rows] for values in inputs))
        training.loss(output, target[rows]).backward()
        if training.clip is not None:
            nn.utils.clip_grad_norm_(head.parameters(), training.clip)
        optimizer.step()


def outputs_on_window(parts) -> dict[str, np.ndarray]:
    """The classes that the linear model names from the window alone: "window" -> (1, N)."""
    models = {"window": CLASSIFIERS["logistic"]}
    return outputs_on_raw(parts, models, lambda model, raw: model.predict(raw), "window")


def outputs_on_raw(parts, models, predict, numbers="raw") -> dict[str, np.ndarray]:
    """Models without codes, fitted to training and validation sequences: name -> (1, N, ...).

    numbers: which plain numbers they read, "raw" or "window".
    """
    *_, test = parts
    if getattr(test, numbers) is None:
        return {}

    def rows(raw, target):
        """A row a label: each window has its sequence's numbers where it has none of its own."""
        if raw.ndim == target.ndim:
            raw = np.repeat(raw[:, None], target.shape[1], axis=1)
        return raw.reshape(target.size, -1)

    target = joined(parts, "target")
    outputs = {}
    for name, model in models.items():
        fitted = clone(model).fit(rows(joined(parts, numbers), target), target.ravel())
        predicted = predict(fitted, rows(getattr(test, numbers), test.target))
        outputs[name] = predicted.reshape(1, *test.target.shape)
    return outputs


def joined(parts, name) -> np.ndarray:
    """An array of training and validation sequences in one."""
    return np.concatenate([getattr(part, name) for part in parts[:2]])


def check_target(parts, expected: str, most=np.inf) -> None:
    """Refuse parts whose target is not (N,) whole numbers from 0 to `most`."""
    for part in parts:
        values = part.target
        if values.ndim != 1 or (values % 1).any() or values.min() < 0 or values.max() > most:
            found = f"{values.min():g} to {values.max():g} in {values.shape}"
            raise ValueError(f"target: expected {expected}, found {found}")


def check_parts(parts, needed) -> None:
    """Refuse parts without a needed array, or of other widths than train."""
    for name in (*needed, "raw", "window"):
        arrays = [getattr(part, name) for part in parts]
        shapes = {None if array is None else array.shape[1:] for array in arrays}
        if len(shapes) > 1 or (name in needed and None in shapes):
            raise ValueError(f"{name}: expected the same shape in every part, found {shapes}")
