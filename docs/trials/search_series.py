"""Can codes of paper C's quick model beat a linear model on plain means? A search on validation.

    python -m docs.trials.search_series physionet quick
    python -m docs.trials.search_series etth1 quick --seed 1
    python -m docs.trials.search_series etth1 all --seed 0 --seed 1 --seed 2 --test

A trial trains the model of `single_element.<dataset>` at quick with a few changes and writes
results/trials/series_<dataset>_<trial>_seed<k>.json. Four readers predict death in hospital
(PhysioNet) or the oil temperature of a day (ETTh1): linear ones of plain means, of the codes and of
both, and the papers' head of the codes. All choose on training series: the strength of a linear
model's penalty by cross-validation, the epoch of a head on a fifth of them. Scores are of the
validation series. Only --test opens the test series; readers are then fitted to training and
validation series together, and the codes of all seeds stand side by side.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import torch
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, mean_absolute_error, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss
from unbraid import store
from unbraid.data.sampling import SequenceSampler
from unbraid.data.series import held_out
from unbraid.measures.intervals import bootstrap_interval
from unbraid.models.base import SequenceModel
from unbraid.networks import mlp

from papers import report, runs, settings
from papers.evaluation import series
from papers.heads import SPLITS, EventHead, HeadTraining, ValueHead, run_heads

# What a trial changes: settings of the quick model, and three changes of what is read.
# indicators: whether a value was observed, and the hour, are variables, too.
# hidden: the share of the observed values that is hidden from the model in each update.
# timed: whether the decoder reads which window of the series it decodes.
SHORT = {"steps": 400}  # a third of the updates of quick on PhysioNet
WHOLE = {"static_from": "all"}
LOUD = {"static_kl_weight": 0.0, "dynamic_kl_weight": 0.0}
SEEN = {**SHORT, "indicators": True, **WHOLE}
TRIALS = {
    "quick": {},
    "short": SHORT,
    "all": {**SHORT, **WHOLE},
    "indicators": {**SHORT, "indicators": True},
    "indicators_all": SEEN,
    "indicators_all_wide": {**SEEN, "static_size": 32},
    "indicators_all_hidden": {**SEEN, "hidden": 0.3},
    "indicators_all_loud": {**SEEN, **LOUD},
    "all_loud": {**SHORT, **WHOLE, **LOUD},
    "all_wide": {**SHORT, **WHOLE, "static_size": 16},
    "all_hidden": {**SHORT, **WHOLE, "hidden": 0.3},
    "all_long": {**WHOLE, "steps": 1500},
    "all_long_loud": {**WHOLE, **LOUD, "steps": 1500},
    "all_whole": {**SHORT, **WHOLE, "subtract": False},
    "timed": {**SHORT, "timed": True},
    "all_timed": {**SHORT, **WHOLE, "timed": True},
    "indicators_all_timed": {**SEEN, "timed": True},
}
PENALTIES = np.logspace(-4, 1, 11)


class TimedDecoder(torch.nn.Module):
    """The series decoder with one more input for each of the series' windows: 1 for its own."""

    def __init__(self, known, windows):
        super().__init__()
        shape = (known.window, known.channels)
        inputs = known.static_size + known.dynamic_size + windows
        self.dense = mlp(inputs, known.width, known.window * known.channels, 2, "relu")
        self.unflatten = torch.nn.Unflatten(1, shape)
        self.register_buffer("which", torch.eye(windows))

    def forward(self, codes):
        which = self.which.repeat(len(codes) // len(self.which), 1)  # all windows of each series
        return self.unflatten(self.dense(torch.cat([codes, which], 1)))


def change_series(part, changes):
    """Series with the indicators and the hour as further variables, if the trial has them."""
    if not changes.get("indicators"):
        return part
    count, length = part.frames.shape[:2]
    observed = series.observed_values(part)  # (N, T, D)
    within = observed.any(2)
    within = within.flip(1).cummax(1).values.flip(1)[..., None]  # up to the last observed step
    hour = torch.linspace(-1.7, 1.7, length).expand(count, length)[..., None]
    frames = torch.cat([part.frames, 2 * observed.float() - 1, hour], 2) * within
    known = within.expand(-1, -1, observed.shape[2] + 1)
    return replace(part, frames=frames, mask=torch.cat([observed, known], 2))


def train_model(dataset, changes, parts, seed):
    """The trial's settings, its trained model, and how many seconds that took."""
    known = settings.load(f"single_element.{dataset}", "quick")
    own = {name: changes[name] for name in changes if name not in ("indicators", "hidden", "timed")}
    known = known.but(**own, channels=parts[0].frames.shape[2])
    sampler, share = SequenceSampler(parts[0]), changes.get("hidden", 0.0)

    def draw(count, generator):
        batch = sampler(count, generator)
        if not share:
            return batch
        kept = torch.rand(batch.frames.shape, generator=generator) >= share
        mask = series.observed_values(batch) & kept
        mask[:, 0] |= ~mask.flatten(1).any(1)[:, None]
        return replace(batch, frames=batch.frames * mask, mask=mask)

    name, start = runs.run_name(known, seed), time.perf_counter()
    if not changes and (store.shipped() / f"{name}.safetensors").exists():
        return known, SequenceModel.load(name), 0.0  # the same settings and seed
    model = runs.build(known, seed)
    if changes.get("timed"):
        windows = parts[0].frames.shape[1] // known.window
        model.codec.decoder = TimedDecoder(known, windows)
    runs.train_model(model, draw, known, seed)
    return known, model, time.perf_counter() - start


def mean_of_steps(coded):
    """The mean dynamic code (N, d) over the elements that each series has."""
    is_there = torch.arange(coded.dynamic.shape[1]) < coded.lengths[:, None]
    return (coded.dynamic * is_there[..., None]).sum(1) / coded.lengths[:, None]


def describe(dataset, coded, plain):
    """Rows for linear readers: codes, plain means, and both, as arrays (rows, F)."""
    if dataset == "physionet":
        last = coded.dynamic[torch.arange(len(coded.dynamic)), coded.lengths - 1]
        codes = torch.cat([coded.static, mean_of_steps(coded), last], 1)
    else:
        static = coded.static[:, None].expand(-1, coded.dynamic.shape[1], -1)
        codes = torch.cat([static, coded.dynamic], 2).flatten(0, 1)
        plain = plain.flatten(0, 1)
    return {"means": plain, "codes": codes, "codes_and_means": torch.cat([codes, plain], 1)}


def fit_linear(dataset, rows, target, groups):
    """A linear model of standardised rows; its penalty has the best cross-validated score."""
    if dataset == "physionet":
        last, grid = LogisticRegression(max_iter=5000), {"logisticregression__C": PENALTIES}
        folds, score = StratifiedKFold(5, shuffle=True, random_state=0), "average_precision"
    else:
        last, grid = Ridge(), {"ridge__alpha": 1 / PENALTIES}
        folds, score = GroupKFold(7), "neg_mean_absolute_error"
    search = GridSearchCV(make_pipeline(StandardScaler(), last), grid, scoring=score, cv=folds)
    return search.fit(rows, target, groups=groups if dataset == "etth1" else None)


def read_by_head(dataset, train, target, other, seeds=(0, 1, 2)):
    """What the papers' heads predict, a mean over heads; the epoch by a fifth of the training."""
    kept, chosen = held_out(len(target), 0.8, seed=1)
    names = ("static", "dynamic", "lengths") if dataset == "physionet" else ("static", "dynamic")
    head, loss = EventHead, HeadTraining(binary_cross_entropy_with_logits, 41, 30, clip=1.0)
    if dataset == "etth1":
        head, loss = ValueHead, HeadTraining(l1_loss, 301, 10)
    inputs = [getattr(train, name) for name in names]

    def rows(which):
        which = torch.as_tensor(which)
        return [values[which] for values in inputs], target[which].float()

    data = {"train": rows(kept), "validation": rows(chosen)}
    data["test"] = [getattr(other, name) for name in names], None
    sizes = train.static.shape[1], train.dynamic.shape[2]
    outputs, _ = run_heads(lambda: head(*sizes), loss, data.__getitem__, seeds)
    outputs = outputs.double().numpy()
    return np.mean(expit(outputs) if dataset == "physionet" else outputs, 0).ravel()


def score(dataset, target, predicted):
    """The figures of one reader."""
    if dataset == "physionet":
        return {
            "auprc": average_precision_score(target, predicted),
            "auroc": roc_auc_score(target, predicted),
        }
    return {"mae": mean_absolute_error(target, predicted)}


def targets_of(dataset, part):
    return part.labels["mortality"] if dataset == "physionet" else series.oil_of_days(part)


def join(codes):
    """The codes of several models side by side."""
    static = torch.cat([each.static for each in codes], 1)
    return replace(codes[0], static=static, dynamic=torch.cat([c.dynamic for c in codes], 2))


def read_all(dataset, known, other):
    """Predictions (rows,) of the other series by each reader, and the truth.

    known, other: codes, plain means and targets.
    """
    rows, tested = (describe(dataset, coded, plain) for coded, plain, _ in (known, other))
    target, truth = known[2].numpy().ravel(), other[2].numpy().ravel()
    groups = np.arange(len(known[2])).repeat(target.size // len(known[2]))
    predicted = {}
    for name, values in rows.items():
        fitted = fit_linear(dataset, values.numpy(), target, groups)
        if dataset == "physionet":
            predicted[name] = fitted.predict_proba(tested[name].numpy())[:, 1]
        else:
            predicted[name] = fitted.predict(tested[name].numpy())
    predicted["head"] = read_by_head(dataset, known[0], known[2], other[0])
    predicted["constant"] = np.full(truth.shape, np.mean(target))
    return predicted, truth


def compare(dataset, predicted, truth, clusters):
    """Scores of each reader, and how far each is ahead of plain means (BCa, whole series)."""
    figures = {}
    sign = 1 if dataset == "physionet" else -1
    for name, values in predicted.items():
        figures |= {f"{name}_{key}": value for key, value in score(dataset, truth, values).items()}
    for name in ("codes", "codes_and_means", "head"):
        for key in score(dataset, truth, truth):

            def ahead(target, first, second, key=key):
                if dataset == "physionet" and np.ptp(target) == 0:
                    return np.nan
                scores = [score(dataset, target, values)[key] for values in (first, second)]
                return sign * (scores[0] - scores[1])

            limits = bootstrap_interval(
                *(truth, predicted[name], predicted["means"]),
                statistic=ahead,
                clusters=clusters,
                draws=400,
            )
            figures[f"{name}_{key}_ahead_of_means"] = limits.mean
            figures[f"{name}_{key}_ahead_of_means_low"] = limits.low
            figures[f"{name}_{key}_ahead_of_means_high"] = limits.high
    return {name: round(float(value), 5) for name, value in figures.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", choices=("physionet", "etth1"))
    parser.add_argument("trial", choices=TRIALS)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--test", action="store_true", help="open the test series")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    torch.set_num_threads(1)
    dataset, changes, seeds = options.dataset, TRIALS[options.trial], options.seed or [0]

    known = settings.load(f"single_element.{dataset}", "quick")
    originals = [series.load_series(known, split) for split in SPLITS]
    parts = [change_series(part, changes) for part in originals]
    plain = plain_means(dataset, originals)
    targets = [targets_of(dataset, part) for part in originals]
    coded, seconds = [], 0.0
    for seed in seeds:
        known, model, spent = train_model(dataset, changes, parts, seed)
        model, seconds = model.cpu().eval(), seconds + spent
        coded.append([series.encode_series(model, part) for part in parts])
    coded = [join(codes) for codes in zip(*coded, strict=True)]

    fitted_on, scored_on = (0,), 1
    if options.test:
        fitted_on, scored_on = (0, 1), 2
    fitted = []
    for values in (plain, targets):
        fitted.append(torch.cat([values[i] for i in fitted_on]))
    codes = replace(
        coded[0],
        static=torch.cat([coded[i].static for i in fitted_on]),
        dynamic=torch.cat([coded[i].dynamic for i in fitted_on]),
        lengths=torch.cat([coded[i].lengths for i in fitted_on]),
    )
    other = coded[scored_on], plain[scored_on], targets[scored_on]
    predicted, truth = read_all(dataset, (codes, *fitted), other)
    clusters = np.arange(len(other[2])).repeat(truth.size // len(other[2]))
    figures = compare(dataset, predicted, truth, clusters)
    command = " ".join(["python -m docs.trials.search_series", *sys.argv[1:]])
    split = SPLITS[scored_on]
    name = f"series_{dataset}_{options.trial}_seed{'_'.join(map(str, seeds))}_{split}"
    record = {"changes": changes, "split": split, "series": len(other[2]), "seconds": seconds}
    report.write_trial(name, command, known.as_dict() | record, seeds, figures)
    print(name, {key: value for key, value in figures.items() if "_ahead" not in key}, flush=True)


def plain_means(dataset, parts):
    """Means of each variable's observed values, and what share was observed, as the library's."""
    if dataset == "etth1":
        return [series.daily_mean(part.frames) for part in parts]
    means = []
    for part in parts:
        observed = series.observed_values(part)
        count = observed.sum(1)
        mean = part.frames.sum(1) / count.clamp(min=1)
        means.append(torch.cat([mean, count / observed.shape[1]], 1))
    return means


if __name__ == "__main__":
    main()
