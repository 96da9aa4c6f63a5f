"""The README's tables are those of results/: rendered from metrics.json, and a fault wherever they are not."""

import pytest
from unbraid import readme, results
from unbraid.cli import interval_or_none as interval
from unbraid.results import ResultsError


BLOCK = "<!-- part/one/quick -->\n{}\n<!-- /part/one/quick -->"


def entry(**values):
    """An entry of metrics.json: of each figure its values by seed."""
    count = len(next(iter(values.values())))
    return results.summarise(
        [{name: numbers[seed] for name, numbers in values.items()} for seed in range(count)],
        interval,
    )


def metrics():
    return {
        "factored": entry(elbo_per_frame=[1.0, 2.0, 3.0], mi_same_bits=[2.0, 4.0, 6.0]),
        "entangled": entry(elbo_per_frame=[-4.0, -4.5, -5.0], mi_same_bits=[-8.0, -9.0, -10.0]),
        "protocol": {"seeds": [0, 1, 2]},
    }


def test_a_table_has_a_row_a_model():
    table = results.metrics_table(
        metrics(), {"elbo_per_frame": "ELBO", "mi_same_bits": "same (bits)"}, {"elbo_per_frame": 1}
    )
    assert table.splitlines() == [
        "| model | ELBO | same (bits) |",
        "|---|---|---|",
        "| factored | 2.0 ± 2.5 | 4.00 ± 4.97 |",
        "| entangled | −4.5 ± 1.2 | −9.00 ± 2.48 |",
    ]
    one = {"only": entry(x=[1.0]), "protocol": {}}
    assert results.metrics_table(one, {"x": "x"}, {}).splitlines()[-1] == "| only | 1.00 |"


def test_a_figure_that_a_model_does_not_have_is_a_dash_and_one_that_none_has_an_error():
    some = metrics()
    some["factored"]["only_here"], some["factored"]["intervals"]["only_here"] = 0.5, [0.25, 0.75]
    table = results.metrics_table(some, {"mi_same_bits": "same", "only_here": "x"}, {})
    assert table.splitlines()[2:] == [
        "| factored | 4.00 ± 4.97 | 0.50 ± 0.25 |",
        "| entangled | −9.00 ± 2.48 | – |",
    ]
    with pytest.raises(
        ResultsError,
        match="metrics: expected absent, missing, found them of no model; run: python -m unbraid evaluate",
    ):
        results.metrics_table(some, {"absent": "a", "mi_same_bits": "same", "missing": "m"}, {})


def test_a_block_of_the_readme_is_replaced_and_nothing_else():
    text = "a\n<!-- one -->\nold\nlines\n<!-- /one -->\nb\n<!-- two -->\nkept\n<!-- /two -->\n"
    new = readme.replace_block(text, "one", r"| \1 new \g<0> |")
    assert new == text.replace("old\nlines", r"| \1 new \g<0> |")
    assert readme.replace_block(new, "one", "old\nlines") == text
    with pytest.raises(ResultsError, match=r"README: expected a block <!-- three -->"):
        readme.replace_block(text, "three", "")


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone of its own with the results of two tables, and a README with a block for the first."""
    for name in ("notebooks", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("UNBRAID_HOME", str(tmp_path))
    tables = {
        "part/one/quick": ({"a": "A"}, {}),
        "part/two/quick": ({"b": "B"}, {"b": 0}),
        "part/two/quick more": ({"c": "C"}, {}),
    }
    monkeypatch.setattr(readme, "README_TABLES", tables)
    path = tmp_path / "results" / "part" / "one" / "quick" / "metrics.json"
    results.write_json(path, {"m": entry(a=[1.5] * 3), "protocol": {"seeds": [0, 1, 2]}})
    (tmp_path / "README.md").write_text(f"before\n{BLOCK.format('| old |')}\nafter\n")
    return tmp_path


def test_tables_that_do_not_agree_are_found_and_mended(clone):
    """A README with other numbers is a fault until it is rendered anew; a table of a run not yet made is none."""
    page, folder = clone / "README.md", clone / "results"
    assert readme.verify(folder) == [
        "README.md: expected the tables of results/, found others; run: python -m unbraid evaluate --write"
    ]
    assert page.read_text().count("old") == 1  # looking changes nothing
    assert readme.render() is False and readme.render() is True
    assert readme.verify(folder) == []
    table = "| model | A |\n|---|---|\n| m | 1.50 ± 0.00 |"
    assert page.read_text() == f"before\n{BLOCK.format(table)}\nafter\n"


def test_results_that_the_readme_does_not_show_are_a_fault(clone):
    """The second folder has two tables; both must have their block."""
    page, folder = clone / "README.md", clone / "results"
    readme.render()
    results.write_json(
        folder / "part" / "two" / "quick" / "metrics.json",
        {"m": entry(b=[2.0], c=[3.0]), "protocol": {"seeds": [0]}},
    )
    for block in ("part/two/quick", "part/two/quick more"):
        told = f"README: expected a block <!-- {block} --> … <!-- /{block} -->, found none; put both where its table shall stand"
        assert readme.verify(folder) == [told]
        with pytest.raises(ResultsError, match=f"expected a block <!-- {block} -->"):
            readme.render()
        page.write_text(page.read_text() + f"<!-- {block} -->\n\n<!-- /{block} -->\n")
    readme.render()
    assert readme.verify(folder) == []
    text = page.read_text()
    assert (
        "| m | 2 |\n<!-- /part/two/quick -->" in text
        and "| m | 3.00 |\n<!-- /part/two/quick more -->" in text
    )


def test_metrics_without_the_figures_of_their_table_are_a_fault(clone):
    path = clone / "results" / "part" / "one" / "quick" / "metrics.json"
    results.write_json(path, {"m": entry(z=[1.0]), "protocol": {"seeds": [0]}})
    assert readme.verify(clone / "results") == [
        f"{path}: expected a, found them of no model; run: python -m unbraid evaluate --write"
    ]


def test_what_is_printed_of_a_part_is_what_its_tables_show():
    assert readme.shown("independent")[0] == "elbo_per_frame" and "mi_cross_bits" in readme.shown(
        "independent"
    )
    assert {"pose_transfer_both_top1", "static_probe_digit", "static_person_1nn"} <= set(
        readme.shown("unordered")
    )
    assert all(len(columns) <= 7 for columns, _ in readme.README_TABLES.values())
