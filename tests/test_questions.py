"""docs/questions: five or six a notebook and eight a part."""

import re

import pytest
from helpers import NOTEBOOKS, each_notebook
from unbraid.files import repository_root

FOLDER = repository_root() / "docs" / "questions"


@each_notebook
def test_a_page_has_as_many_answers_as_questions_and_a_message(path):
    text = (FOLDER / f"{path.name[:2]}.md").read_text(encoding="utf-8")
    title, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert title.startswith(f"# Questions on {path.name[:2]}\n")
    assert parts[::2] == ["Questions", "Answers", "Message"]
    asked, answered = (re.findall(r"^(\d+)\. \S", part, re.MULTILINE) for part in parts[1:5:2])
    assert asked == answered and asked in ([*"12345"], [*"123456"])


@pytest.mark.parametrize("part", "abcd")
def test_a_quiz_gives_a_reason_for_each_choice(part):
    page = FOLDER / f"quiz_{part}.md"
    title, *parts = re.split(r"^## (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    assert title.startswith("# Quiz on ") and parts[::2] == [
        "Questions",
        "Answers",
    ]
    asked, answered = (re.split(r"^\d\. ", text, flags=re.MULTILINE)[1:] for text in parts[1::2])
    assert len(asked) == len(answered) == 8
    right = [answer[2] for answer in answered]  # **A.**
    assert all(right.count(letter) == 2 for letter in "ABCD")
    longest, notebooks = 0, set()
    for question, answer, letter in zip(asked, answered, right, strict=True):
        choices = dict(re.findall(r"^   - \*\*([A-D])\.\*\* (.+)$", question, re.MULTILINE))
        reasons = re.findall(r"^   - \*\*([A-D])\*\* is wrong\. \S+", answer, re.MULTILINE)
        assert "".join(choices) == "ABCD" and "".join(reasons) == "ABCD".replace(letter, "")
        longest += max(choices, key=lambda each: len(choices[each])) == letter
        notebooks |= set(re.findall(r"\[notebook (\d\d)\]", question))
    assert longest <= 4  # length does not give the right choice away
    first = {number[0] for number in notebooks}
    assert first == {str("abcd".index(part) + 1)}
    every = {path.name[:2] for path in NOTEBOOKS if path.name[0] in first}
    assert notebooks == every
