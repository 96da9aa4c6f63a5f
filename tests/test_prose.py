"""The counter of the notebooks' language: texts whose figures are known."""

import pytest

from tools import prose
from tools.__main__ import main

PAGE = """\
## 1. A section

This sentence has exactly seven short words. It stops here. **Because** it is short, it is bold.

| a table | is no prose |
|---|---|

- Is this a question? See [12](12_training_independent.ipynb), where the share is .57: a half.

$$x = 1. Not a sentence.$$
"""


def test_sentences_are_split_and_tables_headings_and_formulas_left_out():
    assert prose.split_sentences(PAGE) == [
        "This sentence has exactly seven short words.",
        "It stops here.",
        "**Because** it is short, it is bold.",
        "Is this a question?",
        "See 12, where the share is .57: a half.",
    ]


def test_figures_of_a_text_are_those_counted_by_hand():
    figures = prose.count([PAGE])
    assert figures == prose.Figures(
        sentences=5,
        words=pytest.approx(30 / 5),  # 7, 3, 7, 4 and 9 words
        short=pytest.approx(40),  # two of five
        long=0,
        connectives=pytest.approx(1000 / 30),  # because
        bold=1,
        sections=1,
        questions=1,
        colons=pytest.approx(20),
        bare_links=1,
        bare_decimals=1,
    )
    assert figures.find_beyond() == {"short", "bare_links", "bare_decimals"}


def test_an_exercise_may_ask():
    task = "Which of the two numbers is larger, and why?"
    assert prose.count([], [task]).questions == 0
    assert prose.count([task]).questions == prose.count([], [task]).sentences == 1


@pytest.mark.parametrize(
    "text, beyond",
    (
        ("Because it is long enough, this sentence needs no mark.", set()),
        ("This sentence is long enough, and it has no word of that kind.", {"connectives"}),
        ("Because it is **bold**, this long sentence without a section is marked.", {"bold"}),
        (6 * "Because it is asked six times, is this question one too many? ", {"questions"}),
    ),
)
def test_what_is_beyond_a_limit_is_marked(text, beyond):
    assert prose.count([text]).find_beyond() == beyond
    line = prose.print_line("00", prose.count([text]))
    assert line.count("*") == len(beyond)


def test_the_command_prints_a_line_for_each_notebook_and_never_fails(capsys):
    assert main(["prose", "--only", "00 12"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:3].strip() for line in lines] == ["not", "00", "12", "all"]
