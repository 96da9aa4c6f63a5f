"""The gate on decimals in prose: what counts as a source, and what does not."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import prose

PRINTED = "error 0.1749, share 59.3 %, 1_234.56 and 6e-3"


def find(text, name="10_independent_a", code="rate = .02"):
    """The decimals without a source in a notebook whose code prints `PRINTED`."""
    table = new_output("execute_result", {"text/html": "<td style='width: 7.7em'>8.25</td>"})
    outputs = [new_output("stream", text=PRINTED), table]
    cells = [new_markdown_cell(text), new_code_cell(code, outputs=outputs)]
    return [decimal for decimal, _ in prose.check_notebook(new_notebook(cells=cells), name)]


@pytest.mark.parametrize(
    "text",
    (
        "An error of .17 or 0.175 or −.1749.",
        "A share of 59.3 %, or .593, which is $.59$.",
        "At 1 234.6 and 0.006.",
        "With a rate of .02, and 8.25 in a table.",
        "$$x = 4.44 y$$",
        "## 4.4 A heading",
        "Section 3.7, exercise 11.2, table 4.1 and arXiv:1901.05590, under CC BY 4.0.",
        "It takes 3.7 minutes and 1.9 GB.",
        "See [this](../results/x-7777.77.json) and https://a.org/7777.77.",
        "```\n7777.77\n```",
        "They print 7777.77 [A, table 1](../docs/bibliography.md#whitney2017).",
    ),
)
def test_what_has_a_source_passes(text):
    assert find(text) == []


@pytest.mark.parametrize(
    "text, found",
    (
        ("An error of .18.", [".18"]),
        ("An error of .1750.", [".1750"]),
        ("A width of 7.7.", ["7.7"]),
        ("A share of 17.5 % is .175.", []),
        ("A share of 58.3217 %.", ["58.3217"]),
        ("$x=4.4$, 1.1/.59/2.2", ["4.4", "1.1", "2.2"]),
        ("They print 7777.77 [A](../docs/bibliography.md#nobody1900).", ["7777.77"]),
        ("They print 7777.77. Another [A](../docs/bibliography.md#whitney2017).", ["7777.77"]),
        ("| a | 7777.77 |\n|---|---|\n| b | 8888.88 |", ["7777.77", "8888.88"]),
    ),
)
def test_what_has_none_is_found(text, found):
    assert find(text) == found


def test_a_key_in_a_table_holds_for_the_table():
    key = "[A](../docs/bibliography.md#whitney2017)"
    assert find(f"| a | 7777.77 |\n|---|---|\n| b | 8888.88 {key} |") == []


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with a metrics.json of part A and a record of a trial."""
    for name, content in (
        ("results/independent/set/quick/metrics.json", '{"gain": 12.345, "share": 0.77}'),
        ("results/unordered/set/quick/metrics.json", "{}"),
        ("results/trials/slope.json", '{"accuracy": 0.4666}'),
    ):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    prose.read_metrics.cache_clear()
    yield tmp_path
    prose.read_metrics.cache_clear()


def test_metrics_of_the_part_support_three_digits_and_not_two(clone):
    assert find("A gain of 12.3.") == []
    assert find("A gain of 12.3.", "20_unordered_b") == ["12.3"]
    assert find("A share of .77.") == [".77"]


def test_a_linked_record_supports_its_sentence_alone(clone):
    link = "[record](../results/trials/slope.json)"
    assert find(f"It reached .47 {link}.") == []
    assert find(f"It reached .48 {link}.") == [".48"]
    assert find(f"It reached .47. See {link}.") == [".47"]


def test_footers_are_left_out_and_a_line_names_the_decimal(tmp_path):
    footer = new_markdown_cell("[A 7777.77](x)", metadata={"tags": ["footer"]})
    notebook = tmp_path / "10_a.ipynb"
    nbformat.write(new_notebook(cells=[new_markdown_cell("It is 9999.99."), footer]), notebook)
    assert prose.find_unsupported([notebook]) == ["10_a: 9999.99 in: It is 9999.99."]
