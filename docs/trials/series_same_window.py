"""By how much do codes of series beat a linear model that reads the same window as they do?

    python -m docs.trials.series_same_window

Trains the heads on the static codes of all shipped models of series (seed 0), and compares their
accuracy with that of the linear model on the whole series and on the anchor's window, with limits
over test series. For the ward of a hospital stay it also says what the halves of that model's
inputs are worth: the means alone, and the shares of values observed alone. Writes
results/trials/series_same_window.json; two minutes on one core.
"""

from __future__ import annotations

from papers.evaluation.common import Figures
from unbraid import store
from unbraid.models.base import SequenceModel

from papers import report
from papers.evaluation import series
from papers.heads import Examples, Prediction, outputs_on_window
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


def measure_leads(path: str) -> tuple[series.Examined, Figures]:
    """What was examined of a run's seed 0, and the heads' leads over both linear models."""
    name = f"single_element/{path}-seed0"
    model = SequenceModel.load(name)
    settings = Settings(**store.read_record(name)["settings"])
    examined = series.examine_series(model, settings, 0, series.load_series)
    figures = series.classes(examined)
    return examined, {name: value for name, value in figures.items() if "_less_" in name}


def measure_halves(examined: series.Examined) -> Figures:
    """The ward's accuracy from the window's means alone, and from its shares observed alone."""
    windows = [series.read_window(examined.model, part) for part in examined.splits]
    half = windows[0].shape[1] // 2  # The shares come after the means.
    figures = {}
    for name, columns in (("means", slice(half)), ("shares", slice(half, None))):
        parts = []
        for part, window in zip(examined.splits, windows, strict=True):
            parts.append(Examples(part.labels["icu"], window=window[:, columns]))
        prediction = Prediction(parts[2].target, outputs_on_window(parts), ("accuracy",))
        figures |= series.head_intervals(prediction, "icu", f"_window_{name}", of="window")
    return figures


def main() -> None:
    """Measure all runs, and write the record."""
    figures = {}
    for path in RUNS:
        examined, leads = measure_leads(path)
        if path == "physionet/quick/single_element":
            leads |= measure_halves(examined)
        dataset, _, run = path.split("/")
        for name, value in leads.items():
            figures[f"{dataset}_{run}_{name}"] = value
            print(f"{path} {name} {value:+.3f}", flush=True)
    command = "python -m docs.trials.series_same_window"
    print(report.write_trial("series_same_window", command, {}, [0], figures))


if __name__ == "__main__":
    main()
