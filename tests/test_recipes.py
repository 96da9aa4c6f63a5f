"""The figure of the experiment on part C, of a made-up table."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd

from papers.c import ideas


def test_each_column_has_a_dot_for_each_run_of_its_recipe():
    rows = []
    for number, task in enumerate(ideas.list_tasks("sprites")):
        _, of_model, recipe = task["run"].split(", ")
        rows.append({"ideas": of_model, "recipe": recipe, "motion": number / 100})
    table = pd.DataFrame(rows).sample(frac=1, random_state=0)  # in any order
    (ax,) = ideas.draw_recipes(table).axes
    dots = [line for line in ax.lines if len(line.get_xdata())]
    for place, recipe in enumerate(ideas.RECIPES):
        drawn = [line for line in dots if round(line.get_xdata().mean()) == place]
        values = [value for line in drawn for value in line.get_ydata()]
        assert sorted(values) == sorted(table[table["recipe"] == recipe]["motion"])
    plt.close("all")
