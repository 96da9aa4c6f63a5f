"""Executed notebooks against committed ones: text strictly, figures by bytes."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from unbraid.course import comparison, execution


def write(path, text="a\nb", picture="iVBORw" * 50, html=""):
    """A notebook whose one code cell puts these out."""
    data = {"text/html": f'{html}<img alt="A curve." src="data:image/png;base64,{picture}">'}
    outputs = [new_output("stream", text=text), new_output("display_data", data)]
    cells = [new_code_cell("show()", outputs=outputs, execution_count=1)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


@pytest.mark.parametrize(
    "changes, said",
    (
        ({}, ""),
        ({"picture": "iVBORx" * 50}, "src="),
        ({"text": "a\nc"}, "c"),
        ({"html": "<p>"}, "<p>"),
    ),
)
def test_differences_are_told(tmp_path, changes, said):
    committed = write(tmp_path / "10_a.ipynb")
    executed = write(tmp_path / "executed.ipynb", **changes)
    lines = comparison.list_differences(committed, executed)
    assert any(line.startswith("+") and said in line for line in lines) == bool(changes)
    assert all(len(line) <= 160 for line in lines)


def test_a_notebook_that_gives_something_else_or_fails_is_no_match(tmp_path, monkeypatch, capsys):
    committed = write(tmp_path / "10_a.ipynb")
    other = write(tmp_path / "executed.ipynb", text="c")
    outcomes = [execution.Outcome(committed, committed, 1.0)]
    monkeypatch.setattr(comparison, "run", lambda *_: outcomes)
    assert comparison.compare_with_committed()
    outcomes.append(execution.Outcome(committed, other, 1.0))
    outcomes.append(execution.Outcome(committed, other, 1.0, "it died"))
    assert not comparison.compare_with_committed()
    assert "executed anew" in capsys.readouterr().out
