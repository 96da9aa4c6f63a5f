"""The figure and the table of the experiment on part C, of a made-up table."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from unbraid.course import recipes

from papers.c import ideas


@pytest.fixture
def table():
    """The rows of all runs: the number of a run, divided by a hundred, is what it measures."""
    rows = []
    for number, task in enumerate(ideas.list_tasks("sprites")):
        _, with_ideas, recipe = task["run"].split(", ")
        row = {"seed": task["seed"], "ideas": with_ideas, "recipe": recipe}
        rows.append(row | dict.fromkeys(recipes.MEASURES, number / 100))
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # in any order


@pytest.fixture
def figure(table):
    yield recipes.draw_recipes(table, ["both ideas", "neither"])
    plt.close("all")


def test_the_names_are_those_of_the_experiment():
    assert set(recipes.RECIPES) == set(ideas.RECIPES) and set(recipes.LOOKS) == set(ideas.IDEAS)


def test_a_column_is_the_runs_of_one_model_and_recipe_by_seed(table):
    found = recipes.select(table, "s reads all", "prices", "nearest")
    number = list(ideas.IDEAS).index("s reads all") * 4 + list(ideas.RECIPES).index("prices")
    assert found.tolist() == [(16 * seed + number) / 100 for seed in range(5)]


def test_a_panel_has_a_dot_for_each_run_of_the_chosen_models(figure, table):
    axes = figure.axes
    assert [ax.get_title() for ax in axes] == list(recipes.MEASURES.values())
    dots = [line for line in axes[1].lines if len(line.get_xdata()) == 5]
    drawn = [value for line in dots for value in line.get_ydata()]
    chosen = table[table["ideas"].isin(["both ideas", "neither"])]
    assert sorted(drawn) == sorted(chosen["appearance"]) and len(drawn) == 2 * 4 * 5
    places = [round(float(np.mean(line.get_xdata()))) for line in dots]
    assert sorted(places) == sorted(2 * [0, 1, 2, 3])


def test_only_the_chosen_measures_get_a_panel(table):
    (ax,) = recipes.draw_recipes(table, measures=["nearest"]).axes
    dots = [line.get_ydata() for line in ax.lines if len(line.get_xdata()) == 5]
    assert ax.get_title() == recipes.MEASURES["nearest"]
    assert sorted(np.concatenate(dots)) == sorted(table["nearest"])
    plt.close("all")


def test_runs_with_the_right_motion_are_counted(table):
    table.loc[table["ideas"] == "neither", "motion"] = table["seed"] / 4  # 0, .25, .5, .75, 1
    counted = recipes.count_recipes(table, ["neither"], level=0.5)
    assert counted["motion ≥ 0.5"].tolist() == 4 * ["3 of 5"]
    assert counted["motion"].iloc[0].startswith("0.50 (0.00 to 1.00)")
    assert counted.index.tolist()[0] == ("neither", "as released")
