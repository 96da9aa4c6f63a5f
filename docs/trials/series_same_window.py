"""By how much do codes of series beat a linear model that reads the same window as they do?

    python -m docs.trials.series_same_window

Trains the heads on the static codes of all shipped models of series (seed 0), and compares their
accuracy with that of the linear model on the whole series and on the anchor's window, with limits
over test series. For the ward of a hospital stay it also says what the halves of that model's
inputs are worth: the means alone, and the shares of values observed alone. Writes
results/trials/series_same_window.json; two minutes on one core.
"""

from __future__ import annotations

import numpy as np
from unbraid import store
from unbraid.models.base import SequenceModel

from papers import report
from papers.evaluation import series
from papers.evaluation.encoded import Figures
from papers.heads import CLASSIFIERS, CodedSeries, Prediction, fit_baselines
from papers.settings import Settings

RUNS = (
    "weather/quick/single_element",
    "vowels/quick/single_element",
    "air_quality/quick/single_element",
    "air_quality/full/published",
    "physionet/quick/single_element",
    "physionet/full/published_ward",
    "physionet/full/published_death",
)


def measure_leads(model: SequenceModel, splits: list[CodedSeries], settings: Settings) -> Figures:
    """The heads' leads over the linear models, with limits over test series."""
    figures: Figures = {}
    for label in series.SERIES_LABELS[settings.dataset]:
        prediction = series.predict_label(model, splits, label, settings, 0)
        size = series.TOGETHER.get(settings.dataset, 1)
        clusters = np.arange(len(prediction.target)) // size
        for kind, other in (("linear", "logistic"), ("window", "window")):
            lead = prediction.interval("accuracy", clusters, series.SET_DRAWS, less=other)
            name = f"{label}_accuracy_less_{kind}"
            figures |= {name: lead.mean, f"{name}_low": lead.low, f"{name}_high": lead.high}
    return figures


def measure_halves(model: SequenceModel, splits: list[CodedSeries]) -> Figures:
    """The ward's accuracy from the window's means alone, and from its shares observed alone."""
    windows = [series.read_window(model, split.sequences) for split in splits]
    targets = [split.sequences.labels["icu"] for split in splits]
    half = windows[0].shape[1] // 2  # The shares come after the means.
    figures = {}
    for name, columns in (("means", slice(half)), ("shares", slice(half, None))):
        rows = [window[:, columns] for window in windows]
        models = {"window": CLASSIFIERS["logistic"]}
        outputs = fit_baselines(models, targets, rows)
        prediction = Prediction(targets[2].numpy(), outputs, ("accuracy",))
        figures |= series.head_intervals(prediction, "icu", f"_window_{name}", of="window")
    return figures


def main() -> None:
    """Measure all runs, and write the record."""
    figures = {}
    for path in RUNS:
        name = f"single_element/{path}-seed0"
        model = SequenceModel.load(name)
        settings = Settings(**store.read_record(name)["settings"])
        splits = series.encode_splits(model, series.load_splits(settings))
        leads = measure_leads(model, splits, settings)
        if path == "physionet/quick/single_element":
            leads |= measure_halves(model, splits)
        dataset, _, run = path.split("/")
        for name, value in leads.items():
            figures[f"{dataset}_{run}_{name}"] = value
            print(f"{path} {name} {value:+.3f}", flush=True)
    command = "python -m docs.trials.series_same_window"
    print(report.write_trial("series_same_window", command, {}, [0], figures))


if __name__ == "__main__":
    main()
