"""The experiment on part C: what do its two ideas do, and what does the recipe of training?

papers/c/ideas.py trains notebook 32's model with and without each idea, by four recipes. Its table
has a row for each run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RECIPES = {  # of the table: on an axis
    "released": "as\nreleased",
    "start": "start\nalone",
    "prices": "prices\nalone",
    "both": "start and\nprices",
}
WITH, WITHOUT = "#009E73", "#CC79A7"  # the subtraction, by colour
LOOKS = {"both ideas": (WITH, "o"), "s reads all": (WITH, "s")}  # a circle: s reads one element
LOOKS |= {"no subtraction": (WITHOUT, "o"), "neither": (WITHOUT, "s")}
MEASURES = {
    "motion": "right motion",
    "appearance": "right appearance",
    "nearest": "true clip nearest of all",
}


def select(table: pd.DataFrame, ideas: str, recipe: str, measure: str) -> np.ndarray:
    """A measure of the runs with these ideas and this recipe, in the order of their seeds."""
    runs = table[(table["ideas"] == ideas) & (table["recipe"] == recipe)]
    return runs.sort_values("seed")[measure].to_numpy(dtype=float)


def draw_recipes(
    table: pd.DataFrame,
    ideas: Sequence[str] = tuple(LOOKS),
    measures: Sequence[str] = tuple(MEASURES),
) -> Figure:
    """A panel for each measure, with a dot for each run.

    table: as papers/c/ideas.py writes it. ideas, measures: which are drawn, by their names there.
    """
    size = (3.2 * max(len(measures), 2), 4.4)  # the legend needs two panels' width
    figure, (axes,) = plt.subplots(1, len(measures), figsize=size, sharey=True, squeeze=False)
    for ax, measure in zip(axes, measures, strict=True):
        for number, name in enumerate(ideas):
            aside = 0.2 * (number - (len(ideas) - 1) / 2)
            for place, recipe in enumerate(RECIPES):
                values = select(table, name, recipe, measure)
                draw_runs(ax, place + aside, values, *LOOKS[name])
        ax.set(title=MEASURES[measure], xlim=(-0.5, len(RECIPES) - 0.5), ylim=(-0.03, 1.03))
        ax.set_xticks(range(len(RECIPES)), list(RECIPES.values()))
        ax.grid(axis="y", color="0.92")
    axes[0].set_ylabel("share of the swaps")
    for name in ideas:
        colour, marker = LOOKS[name]
        axes[0].plot([], [], marker, color=colour, label=name)
    figure.legend(loc="outside lower center", ncols=len(ideas))
    return figure


def draw_runs(ax: Axes, place: float, values: np.ndarray, colour: str, marker: str) -> None:
    """The runs of one column, beside each other."""
    beside = place + np.linspace(-0.07, 0.07, len(values))
    ax.plot(beside, values, marker, color=colour, alpha=0.7, markersize=5)


def count_recipes(
    table: pd.DataFrame, ideas: Sequence[str] = tuple(LOOKS), level: float = 0.9
) -> pd.DataFrame:
    """For each model and recipe: each measure's mean, lowest and highest value, and in how many
    runs the motion is right in at least `level` of the swaps."""
    import pandas as pd  # imported lazily, because that takes a second

    rows = {}
    for name in ideas:
        for recipe, words in RECIPES.items():
            motion = select(table, name, recipe, "motion")
            row = {f"motion ≥ {level:g}": f"{(motion >= level).sum()} of {len(motion)}"}
            for measure in MEASURES:
                values = select(table, name, recipe, measure)
                row[measure] = f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"
            rows[name, words.replace("\n", " ")] = row
    return pd.DataFrame.from_dict(rows, orient="index")
