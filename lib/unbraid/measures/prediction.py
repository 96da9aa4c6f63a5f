"""What frozen codes of a series tell of its labels: the paper's small predictors, each beside what needs no codes at all.

The heads and their training are those of Berman et al. (ICML 2024, arXiv 2406.18131) and its code; three things differ. An
epoch is chosen on the validation sequences (their code takes the last for events and values). Codes and labels of a sequence
travel together in one `Examples` (their code collects the labels of values in one pass over a shuffling loader and the
codes in another, so that a code meets another sequence's label). Constants, and linear models and gradient boosting on the
series' raw means, stand in the same result: a head that does not beat them shows nothing. They choose nothing on the validation
sequences, so they are fitted to training and validation sequences together.

Heads take codes as given. The means of the posterior are meant; the paper's own figures are of samples, for which a caller
passes one sample in place of the mean (their code draws anew in every pass).
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.special import expit
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from unbraid.measures.ranking import (
    accuracy,
    auroc,
    average_precision,
    compare,
    finite,
    mean_absolute_error,
)

CLASSIFIERS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
    "gradient boosting": HistGradientBoostingClassifier(early_stopping=False, random_state=0),
}
REGRESSORS = {
    "ridge": make_pipeline(StandardScaler(), Ridge()),
    "gradient boosting": HistGradientBoostingRegressor(
        loss="absolute_error", early_stopping=False, random_state=0
    ),
}
INPUTS = {
    "event": ("static", "dynamic", "lengths"),
    "class": ("static",),
    "value": ("static", "dynamic"),
}
PARTS = ("train", "validation", "test")
METRICS = {
    "event": {"auroc": auroc, "average_precision": average_precision},
    "class": {"accuracy": accuracy},
    "value": {"mean_absolute_error": mean_absolute_error},
}


@dataclass(frozen=True, eq=False)
class Examples:
    """Codes and labels of N sequences, row by row; arrays or tensors without gradient, checked when made.

    target: (N,) 0 or 1 for an event, classes 0..C-1; (N, W) a value for each window. static: (N, D). dynamic: (N, W, d), one
    code a window. lengths: (N,) valid windows, 1..W, default all; what lies beyond is not read. raw: (N, F) plain numbers of
    each sequence, such as the means of its features, or (N, W, F) of each window, for the models that know no codes.
    Raises ValueError for no sequences, rows that differ, NaN or infinity in what is read, a length outside 1..W.
    """

    target: np.ndarray
    static: np.ndarray | None = None
    dynamic: np.ndarray | None = None
    lengths: np.ndarray | None = None
    raw: np.ndarray | None = None

    def __post_init__(self):
        given = {name: np.asarray(value) for name, value in vars(self).items() if value is not None}
        rows = {name: len(value) if value.ndim else 0 for name, value in given.items()}
        if len(set(rows.values())) != 1 or not rows.get("target"):
            raise ValueError(
                f"Examples: expected the same N >= 1 sequences in all arrays, found {rows}; pair them row by row"
            )
        for name, allowed in {
            "target": (1, 2),
            "static": (2,),
            "dynamic": (3,),
            "lengths": (1,),
            "raw": (2, 3),
        }.items():
            if name in given and given[name].ndim not in allowed:
                raise ValueError(
                    f"{name}: expected {' or '.join(map(str, allowed))} axes, found shape {given[name].shape}"
                )
        if "dynamic" in given:
            windows = given["dynamic"].shape[1]
            lengths = given.setdefault("lengths", np.full(rows["target"], windows))
            wrong = np.flatnonzero(
                (lengths < 1) | (lengths > windows) | (lengths != np.round(lengths))
            )
            if wrong.size:
                found = f"found {lengths[wrong[0]]} for sequence {wrong[0]}; leave out sequences without a valid window"
                raise ValueError(f"lengths: expected 1 to {windows} valid windows, {found}")
            valid = np.arange(windows) < lengths[:, None]
            given["dynamic"] = np.where(valid[..., None], given["dynamic"], 0.0)
        for name, value in given.items():
            object.__setattr__(self, name, finite(name, value))

    def __len__(self):
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Scores on the test sequences of the head and of all that stands beside it.

    outputs: predictor -> (S, N...) what it said of each test sequence: probability of the event, class, or values; S seeds
    for "head", one for the others. scores: predictor -> metric -> `ranking.Score`. chosen_epochs: one a seed, from 1.
    """

    task: str
    target: np.ndarray
    outputs: dict[str, np.ndarray]
    scores: dict[str, dict]
    seeds: tuple[int, ...]
    chosen_epochs: tuple[int, ...]
    sequences: dict[str, int]

    def compare(self, a, b, metric=None):
        """`ranking.compare` of predictors a and b, by their names, on the same test sequences; by the task's first metric."""
        if unknown := {a, b} - self.outputs.keys():
            raise ValueError(
                f"predictor: expected one of {', '.join(map(repr, self.outputs))}, found {unknown.pop()!r}"
            )
        return compare(
            metric or next(iter(METRICS[self.task])), self.target, self.outputs[a], self.outputs[b]
        )

    def as_dict(self) -> dict:
        """Plain values for JSON; the outputs are left out."""
        scores = {
            name: {metric: score.as_dict() for metric, score in of.items()}
            for name, of in self.scores.items()
        }
        about = {
            "seeds": list(self.seeds),
            "chosen_epochs": list(self.chosen_epochs),
            "sequences": dict(self.sequences),
        }
        return {"task": self.task, **about, "scores": scores}


class EventHead(nn.Module):
    """(static (B, D), dynamic (B, W, d), lengths (B,)) to the logit of an event (B,), read at the last valid window."""

    def __init__(self, static, dynamic):
        super().__init__()
        self.recurrent = nn.LSTM(dynamic, 32, batch_first=True)
        self.layers = nn.Sequential(
            nn.Linear(32 + static, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1)
        )

    def forward(self, static, dynamic, lengths):
        outputs, _ = self.recurrent(dynamic)  # (B, W, 32)
        last = outputs[torch.arange(len(outputs)), lengths - 1]
        return self.layers(torch.cat([last, static], dim=1))[:, 0]


class ValueHead(nn.Module):
    """(static (B, D), dynamic (B, W, d)) to a value for each window (B, W).

    last_activation: the paper's leaky ReLU after the last layer, which all but forbids negative values.
    """

    def __init__(self, static, dynamic, last_activation=False):
        super().__init__()
        self.normalise = nn.BatchNorm1d(dynamic + static)
        layers = [
            nn.Linear(dynamic + static, 32),
            nn.LeakyReLU(),
            nn.Linear(32, 8),
            nn.LeakyReLU(),
            nn.Linear(8, 1),
        ]
        self.layers = nn.Sequential(*layers, *([nn.LeakyReLU()] if last_activation else []))

    def forward(self, static, dynamic):
        both = torch.cat(
            [dynamic, static[:, None].expand(-1, dynamic.shape[1], -1)], dim=2
        )  # (B, W, d + D)
        return self.layers(self.normalise(both.flatten(0, 1)))[:, 0].unflatten(0, both.shape[:2])


def predict_event(
    train, validation, test, seeds=(0, 1, 2), epochs=41, batch=30, learning_rate=1e-3, clip=1.0
):
    """Does an event, such as death in hospital, follow? AUROC and average precision; returns `Prediction`.

    train, validation, test: `Examples` with a target of 0 and 1, static, dynamic and, for the models on raw means, raw.
    Raises ValueError for one class only in train or in test, arrays that are missing or of another width.
    """
    parts = _checked("event", train, validation, test)
    settings = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "clip": clip}
    head = partial(EventHead, train.static.shape[1], train.dynamic.shape[2])
    logits, chosen = _fit(
        "event", parts, head, nn.functional.binary_cross_entropy_with_logits, seeds, **settings
    )
    outputs = {"head": expit(logits), "constant": np.zeros((1, len(test)))}
    outputs |= _on_raw_means(parts, CLASSIFIERS, lambda model, raw: model.predict_proba(raw)[:, 1])
    return _result("event", parts, outputs, seeds, chosen)


def predict_class(
    train, validation, test, seeds=(0, 1, 2), epochs=40, batch=30, learning_rate=1e-3, passes=5
):
    """Which class, such as a month or a ward, does the static code alone tell? Accuracy; returns `Prediction`.

    train, validation, test: `Examples` with classes 0..C-1 as target, static and, for the models on raw means, raw.
    passes: over the training sequences an epoch; the authors' code makes five. "majority" always names the commonest class
    of training and validation. Raises ValueError for one class only in train or in test, a class train does not have.
    """
    parts = _checked("class", train, validation, test)
    width, classes = train.static.shape[1], int(train.target.max()) + 1

    def head():
        return nn.Sequential(nn.Linear(width, classes), nn.ReLU(), nn.Linear(classes, classes))

    settings = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "passes": passes}
    logits, chosen = _fit("class", parts, head, nn.functional.cross_entropy, seeds, **settings)
    commonest = np.bincount(_joined(parts, "target").astype(int)).argmax()
    outputs = {"head": logits.argmax(axis=2), "majority": np.full((1, len(test)), commonest)}
    outputs |= _on_raw_means(parts, CLASSIFIERS, lambda model, raw: model.predict(raw))
    return _result("class", parts, outputs, seeds, chosen)


def predict_value(
    train,
    validation,
    test,
    seeds=(0, 1, 2),
    epochs=301,
    batch=10,
    learning_rate=1e-3,
    last_activation=False,
):
    """A number for each window, such as a day's mean temperature; mean absolute error in its unit; returns `Prediction`.

    train, validation, test: `Examples` with a target (N, W), static, dynamic and, for the models on raw means, raw. L1 loss.
    last_activation: as `ValueHead`. Raises ValueError for arrays that are missing or of another width, windows that are not
    valid or not as many as values, fewer than 4 test sequences.
    """
    parts = _checked("value", train, validation, test)
    arrays = [
        a
        for part in parts
        for a in (part.target, part.dynamic, part.raw)
        if a is not None and (a is not part.raw or a.ndim == 3)
    ]
    windows = {array.shape[1] for array in arrays}
    if len(windows) > 1 or any((part.lengths < part.dynamic.shape[1]).any() for part in parts):
        raise ValueError(
            f"target and dynamic: expected as many windows in all (and in raw), each valid, found {sorted(windows)} windows"
        )
    head = partial(ValueHead, train.static.shape[1], train.dynamic.shape[2], last_activation)
    settings = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate}
    output, chosen = _fit("value", parts, head, nn.functional.l1_loss, seeds, **settings)
    values = _joined(parts, "target")
    constants = {
        f"constant {of.__name__}": np.full((1, *test.target.shape), of(values))
        for of in (np.mean, np.median)
    }
    beside = _on_raw_means(parts, REGRESSORS, lambda model, raw: model.predict(raw))
    return _result("value", parts, {"head": output} | constants | beside, seeds, chosen)


def fit_head(
    build, loss, train, validation, epochs, batch, learning_rate, clip=None, passes=1, seed=0
):
    """Train `build()` by Adam and keep the epoch with the smallest validation loss; returns (head, that epoch from 1).

    train, validation: (inputs, target), inputs a tuple of tensors that the head takes in that order, all of N rows; a batch
    takes the same rows of inputs and target, batches as equal in size as can be. clip: greatest gradient norm. The seed rules
    first weights, order and dropout, and leaves the caller's random numbers alone.
    """
    if epochs < 1 or passes < 1 or batch < 1:
        raise ValueError(
            f"epochs, passes, batch: expected at least 1 each, found {epochs}, {passes}, {batch}"
        )
    inputs, target = train
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = build()
        optimiser = torch.optim.Adam(head.parameters(), lr=learning_rate)
        best = (np.inf, None, 0)
        for epoch in range(1, epochs + 1):
            head.train()
            for _ in range(passes):
                for rows in torch.randperm(len(target)).tensor_split(-(-len(target) // batch)):
                    optimiser.zero_grad()
                    loss(head(*(value[rows] for value in inputs)), target[rows]).backward()
                    if clip is not None:
                        nn.utils.clip_grad_norm_(head.parameters(), clip)
                    optimiser.step()
            head.eval()
            with torch.no_grad():
                found = float(loss(head(*validation[0]), validation[1]))
            if found < best[0]:
                best = (
                    found,
                    {name: value.clone() for name, value in head.state_dict().items()},
                    epoch,
                )
    if best[1] is None:
        raise ValueError(
            "validation loss: expected a finite number in some epoch, found none; scale the codes or lower learning_rate"
        )
    head.load_state_dict(best[1])
    return head, best[2]


def _fit(task, parts, build, loss, seeds, **settings):
    """One head a seed: what each says of the test sequences (S, N...), and the epochs chosen."""
    if not len(seeds):
        raise ValueError("seeds: expected at least one, found none")
    inputs = [tuple(_tensor(name, getattr(part, name)) for name in INPUTS[task]) for part in parts]
    targets = [
        torch.as_tensor(part.target, dtype=torch.long if task == "class" else torch.float32)
        for part in parts
    ]
    data = list(zip(inputs, targets))
    fitted = [fit_head(build, loss, data[0], data[1], seed=seed, **settings) for seed in seeds]
    with torch.no_grad():
        return np.stack([head(*inputs[2]).double().numpy() for head, _ in fitted]), tuple(
            epoch for _, epoch in fitted
        )


def _on_raw_means(parts, models, predict):
    """Models that know no codes, fitted to training and validation sequences: name -> (1, N...) of the test sequences."""
    if parts[0].raw is None:
        return {}

    def rows(
        raw, target
    ):  # one row a label: the windows of a sequence one by one, each with its sequence's numbers if need be
        if target.ndim == 2 and raw.ndim == 2:
            raw = np.repeat(raw[:, None], target.shape[1], axis=1)
        return raw.reshape(target.size, -1)

    target, test = _joined(parts, "target"), parts[2]
    raw, unseen = rows(_joined(parts, "raw"), target), rows(test.raw, test.target)
    fitted = {name: clone(model).fit(raw, target.ravel()) for name, model in models.items()}
    return {
        f"{name} on raw means": predict(model, unseen).reshape(1, *test.target.shape)
        for name, model in fitted.items()
    }


def _result(task, parts, outputs, seeds, chosen):
    target = parts[2].target
    scores = {
        name: {metric: score(target, output) for metric, score in METRICS[task].items()}
        for name, output in outputs.items()
    }
    return Prediction(
        task, target, outputs, scores, tuple(seeds), chosen, dict(zip(PARTS, map(len, parts)))
    )


def _checked(task, *parts):
    """The three parts, which must have the arrays the task needs, alike in all but N."""
    needed, axes = INPUTS[task], 2 if task == "value" else 1
    for name, part in zip(PARTS, parts):
        missing = [array for array in needed if getattr(part, array) is None]
        if missing:
            raise ValueError(
                f"{name}: expected {' and '.join(needed)}, found no {missing[0]}; pass it to Examples"
            )
        if part.target.ndim != axes:
            raise ValueError(
                f"{name}.target: expected {'(N,)' if axes == 1 else '(N, W)'}, found shape {part.target.shape}"
            )
        if task != "value":
            found, known = (
                np.unique(part.target),
                [0, 1] if task == "event" else np.unique(parts[0].target).tolist(),
            )
            if name != "validation" and len(found) < 2:
                raise ValueError(
                    f"{name}.target: expected at least two classes, found only {found.tolist()}; one class tells nothing"
                )
            if not np.isin(found, known).all() or (found % 1).any() or found[0] < 0:
                allowed = (
                    "0 and 1"
                    if task == "event"
                    else f"whole numbers from 0 that train has, {known}"
                )
                raise ValueError(
                    f"{name}.target: expected {allowed}, found {found[:20].tolist()}; number the classes from 0"
                )
    for array in (*needed, "raw"):
        shapes = {
            None if getattr(part, array) is None else getattr(part, array).shape[1:]
            for part in parts
        }
        if len(shapes) > 1:
            raise ValueError(
                f"{array}: expected the same shape in train, validation and test, found {sorted(map(str, shapes))}"
            )
    return parts


def _joined(parts, name):
    return np.concatenate([getattr(part, name) for part in parts[:2]])


def _tensor(name, array):
    return torch.as_tensor(array, dtype=torch.long if name == "lengths" else torch.float32)
