"""Paper C's heads: labels of series, predicted from their codes and, to compare, without them.

The heads and their training follow Berman et al. (ICML 2024, arXiv 2406.18131) and its code. For
fixed codes, which are not drawn anew at each pass, two things differ: the epoch is chosen on the
validation series, where their code takes the last one, and a code always meets the label of its own
series. Constants and linear models read no codes; they are fitted to what the heads are fitted to,
the training series.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss
from unbraid.measures.intervals import Interval

from papers.intervals import bootstrap_interval, score_of_rows

METRICS = {
    "auroc": roc_auc_score,
    "auprc": average_precision_score,
    "accuracy": lambda target, predicted: np.mean(predicted == target),
    "mae": lambda target, predicted: np.mean(np.abs(predicted - target)),
}
RANKED_METRICS = ("auprc", "auroc")  # of events, by the order of what is predicted
SPLITS = ("train", "validation", "test")

Codes = tuple[Tensor, Tensor, Tensor]  # static (N, D), dynamic (N, W, d), and lengths (N,) of it
HeadData = tuple[tuple[Tensor, ...], Tensor]  # a head's inputs and its target, of one split
Draw = Callable[[str], HeadData]  # of "train", "validation" or "test"


@dataclass(frozen=True)
class Prediction:
    """What heads, and the models that they are compared with, predict for N test series."""

    target: np.ndarray
    outputs: dict[str, np.ndarray]  # (S, N, ...) by predictor; S seeds for "head", else one

    def score(self, metric: str, predictor: str = "head") -> float:
        """The mean of a metric over the seeds of a predictor."""
        outputs = self.outputs[predictor]
        return float(np.mean([METRICS[metric](self.target, output) for output in outputs]))

    def interval(self, metric: str, predictor: str) -> Interval:
        """How sure the score of a predictor without seeds is, given so few test series.

        Series are drawn whole: the days of a month, which resemble each other, stay together.
        """
        (output,) = self.outputs[predictor]
        if metric in RANKED_METRICS:
            return bootstrap_interval(score_of_rows(metric, self.target, output), len(output))

        def score(rows: np.ndarray) -> float:
            return float(METRICS[metric](self.target[rows], output[rows]))

        return bootstrap_interval(score, len(self.target))


# ---- heads: (static (B, D), dynamic (B, W, d), lengths (B,)) to what they predict


class ClassHead(nn.Module):
    """To the logits of classes (B, C), from the static code alone."""

    def __init__(self, static: int, dynamic: int, classes: int):
        super().__init__()
        first = nn.Linear(static, classes)
        self.layers = nn.Sequential(first, nn.ReLU(), nn.Linear(classes, classes))

    def forward(self, static: Tensor, dynamic: Tensor, lengths: Tensor) -> Tensor:
        return self.layers(static)


class EventHead(nn.Module):
    """To the logit of an event (B,), from the last element that each series has."""

    def __init__(self, static: int, dynamic: int):
        super().__init__()
        self.recurrent = nn.LSTM(dynamic, 32, batch_first=True)
        first = nn.Linear(32 + static, 16)
        self.layers = nn.Sequential(first, nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 1))

    def forward(self, static: Tensor, dynamic: Tensor, lengths: Tensor) -> Tensor:
        outputs, _ = self.recurrent(dynamic)  # (B, W, 32)
        last = outputs[torch.arange(len(outputs)), lengths - 1]
        return self.layers(torch.cat([last, static], dim=1))[:, 0]


class ValueHead(nn.Module):
    """To a value of each element (B, W), from its code and the static one.

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

    def forward(self, static: Tensor, dynamic: Tensor, lengths: Tensor) -> Tensor:
        repeated = static[:, None].expand(-1, dynamic.shape[1], -1)
        codes = torch.cat([dynamic, repeated], dim=2)  # (B, W, d + D)
        values = self.layers(self.normalise(codes.flatten(0, 1)))[:, 0]
        return values.unflatten(0, codes.shape[:2])


# ---- their training


@dataclass(frozen=True)
class Task:
    """A kind of label: its head, and how Adam trains it on mini-batches."""

    head: type[nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    metrics: tuple[str, ...]
    epochs: int
    batch: int
    clip: float | None = None  # the greatest norm of a gradient
    passes: int = 1  # over the training series, an epoch
    equal: bool = True  # batches in size, as can be; otherwise the last has what is left
    choose: bool = True  # the epoch of the smallest validation loss; otherwise the last


CLASS = Task(ClassHead, cross_entropy, ("accuracy",), epochs=40, batch=30, passes=5)
EVENT = Task(
    EventHead, binary_cross_entropy_with_logits, RANKED_METRICS, epochs=41, batch=30, clip=1.0
)
VALUE = Task(ValueHead, l1_loss, ("mae",), epochs=301, batch=10)


def fit_head(head: nn.Module, task: Task, draw: Draw) -> None:
    """Train a head in place, to eval mode; `ValueError` if no validation loss is finite."""
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    smallest, best = np.inf, None
    for _ in range(task.epochs):
        head.train()
        for _ in range(task.passes):
            inputs, target = draw("train")
            order = torch.randperm(len(target))
            parts = order.tensor_split(-(-len(order) // task.batch))
            for rows in parts if task.equal else order.split(task.batch):
                loss = task.loss(head(*(values[rows] for values in inputs)), target[rows])
                optimizer.zero_grad()
                loss.backward()
                if task.clip is not None:
                    nn.utils.clip_grad_norm_(head.parameters(), task.clip)
                optimizer.step()
        head.eval()
        if task.choose and (found := validate(head, task, draw)) < smallest:
            smallest, best = found, copy.deepcopy(head.state_dict())
    if task.choose:
        if best is None:
            raise ValueError("static, dynamic: expected a finite validation loss; scale the codes")
        head.load_state_dict(best)


@torch.no_grad()
def validate(head: nn.Module, task: Task, draw: Draw) -> float:
    """The mean validation loss of as many draws as an epoch has passes."""
    drawn = [draw("validation") for _ in range(task.passes)]
    return float(np.mean([float(task.loss(head(*inputs), target)) for inputs, target in drawn]))


def run_heads(
    build: Callable[[], nn.Module],
    task: Task,
    draw: Draw,
    seeds: Sequence[int],
    rounds: int = 1,
    tests: int = 1,
) -> Prediction:
    """What trained heads predict on the test, (seeds * rounds * tests, N, ...).

    Each is trained `rounds` times on from where it was, and then tested `tests` times. The seed
    rules weights, order and dropout, and leaves the caller's random numbers alone.
    """
    outputs = []
    for seed in seeds:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            head = build()
            for _ in range(rounds):
                fit_head(head, task, draw)
                for _ in range(tests):
                    inputs, target = draw("test")
                    with torch.no_grad():
                        outputs.append(head(*inputs))
    found = torch.stack(outputs)
    found = found.argmax(-1) if task.head is ClassHead else found.double()
    return Prediction(target.numpy(), {"head": found.numpy()})


# ---- heads on codes that stay as they are, and models without codes


def predict(
    task: Task,
    seeds: Sequence[int],
    targets: Sequence[Tensor],
    codes: Sequence[Codes],
    readings: Mapping[str, Sequence[Tensor]],
) -> Prediction:
    """What heads and models without codes predict: a class 0 ... C - 1 or an event (N,), or values.

    targets, codes: of training, validation and test series. Of models without codes see
    `fit_rivals`.
    """
    sizes = [codes[0][0].shape[1], codes[0][1].shape[2]]
    if task.head is ClassHead:
        sizes.append(int(targets[0].max()) + 1)
    splits = dict(zip(SPLITS, zip(codes, targets, strict=True), strict=True))
    found = run_heads(partial(task.head, *sizes), task, splits.__getitem__, seeds)
    rivals = fit_rivals(task, targets, readings)
    return Prediction(found.target, found.outputs | rivals.outputs)


def fit_rivals(
    task: Task, targets: Sequence[Tensor], readings: Mapping[str, Sequence[Tensor]]
) -> Prediction:
    """What models without codes predict, which learn from the training series alone, as heads do.

    targets: of training, validation and test series. "trivial" always says the commonest class; of
    values there is "constant_mean". readings: by the name of a linear model the plain numbers that
    it reads, (N, F), or of each element (N, W, F).
    """
    known, outputs = targets[0].flatten().numpy(), {}
    shape = (1, *targets[2].shape)
    if task.head is ValueHead:
        outputs["constant_mean"] = np.full(shape, known.mean())
    else:
        outputs["trivial"] = np.full(shape, np.bincount(known.astype(int)).argmax())

    for name, numbers in readings.items():
        model = Ridge() if task.head is ValueHead else LogisticRegression(max_iter=5000)
        rows = [part.double().flatten(0, -2).numpy() for part in numbers]
        fitted = make_pipeline(StandardScaler(), model).fit(rows[0], known)
        is_event = task.head is EventHead
        answer = fitted.predict_proba(rows[2])[:, 1] if is_event else fitted.predict(rows[2])
        outputs[name] = answer.reshape(shape)
    return Prediction(targets[2].numpy(), outputs)
