"""docs/questions: five or six a notebook and eight a part, read with the Answers that stand."""

import re
import shutil

import nbformat
import pytest
from form import for_all
from helpers import NOTEBOOKS, each_notebook

from tools import questions


@for_all([path.name[:2] for path in NOTEBOOKS])
def test_the_questions_were_read_with_the_present_answer(number):
    """Red: an Answer has changed. Read the page with it, then run the command that is named."""
    assert questions.find_stale(number) == []


@each_notebook
def test_a_page_has_as_many_answers_as_questions_and_a_message(path):
    text = (questions.FOLDER / f"{path.name[:2]}.md").read_text(encoding="utf-8")
    title, *parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert title.startswith(f"# Questions on {path.name[:2]}\n")
    assert parts[::2] == ["Questions", "Answers", "Message"]
    asked, answered = (re.findall(r"^(\d+)\. \S", part, re.MULTILINE) for part in parts[1:5:2])
    assert asked == answered and asked in ([*"12345"], [*"123456"])


@pytest.mark.parametrize("part", "abcd")
def test_a_quiz_gives_a_reason_for_each_choice(part):
    page = questions.FOLDER / f"quiz_{part}.md"
    title, *parts = re.split(r"^## (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    assert title.startswith(f"# Quiz on part {part.upper()}: ") and parts[::2] == [
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
    assert notebooks == set(questions.read_marks(page))
    first = {number[0] for number in notebooks}
    assert first == {str("abcd".index(part) + 1)}
    every = {path.name[:2] for path in NOTEBOOKS if path.name[0] in first}
    assert notebooks == every


@pytest.fixture
def places(tmp_path):
    """A notebook and its page, copied, as `notebooks` and `folder`."""
    shutil.copy(NOTEBOOKS[3], tmp_path)
    shutil.copy(questions.FOLDER / f"{NOTEBOOKS[3].name[:2]}.md", tmp_path)
    return {"notebooks": tmp_path, "folder": tmp_path}


def edit(places, change):
    """Change the source of the first cell."""
    (path,) = places["notebooks"].glob("*.ipynb")
    book = nbformat.read(path, 4)
    before = book.cells[0].source
    book.cells[0].source = change(before)
    assert book.cells[0].source != before
    nbformat.write(book, path)


def test_a_changed_answer_is_seen_until_its_fingerprint_is_renewed(places, capsys):
    questions.renew(**places)
    page = next(places["folder"].glob("*.md")).read_text()
    assert questions.find_stale(**places) == [] and questions.renew(**places) == []

    edit(places, lambda text: text.replace("**Answer.** ", "**Answer.** Not "))
    (stale,) = questions.find_stale(**places)
    number = NOTEBOOKS[3].name[:2]
    assert f"docs/questions/{number}.md" in stale and f'questions --only "{number}"' in stale

    capsys.readouterr()
    assert len(questions.renew(**places)) == 1 and "Answer: Not " in capsys.readouterr().out
    assert questions.find_stale(**places) == []
    renewed = next(places["folder"].glob("*.md")).read_text()
    assert renewed != page and questions.COMMENT.sub("", renewed) == questions.COMMENT.sub("", page)


def test_a_changed_answer_makes_the_quiz_stale_too(places, capsys):
    number = NOTEBOOKS[3].name[:2]
    quiz = places["folder"] / "quiz_z.md"
    quiz.write_text(f"# Quiz\n\n<!-- read with the Answers 00:11111111 {number}:22222222 -->\n")
    assert any("quiz_z.md" in stale for stale in questions.find_stale(**places))
    assert quiz in questions.renew(**places) and questions.find_stale(**places) == []
    marks = questions.read_marks(quiz)
    assert marks["00"] == "11111111"  # of another notebook
    edit(places, lambda text: text.replace("**Answer.** ", "**Answer.** Not "))
    stale = [each for each in questions.find_stale(**places) if "quiz_z.md" in each]
    assert len(stale) == 1 and f"on {number}" in stale[0]


def test_another_title_or_line_break_leaves_the_questions_as_they_are(places):
    questions.renew(**places)
    edit(places, lambda text: text.replace("# ", "# Another title: ", 1))
    edit(places, lambda text: re.sub(r"(\*\*Answer\.\*\* \S+) ", r"\1\n", text))
    assert questions.find_stale(**places) == []


def test_a_page_without_a_fingerprint_is_stale(places):
    page = next(places["folder"].glob("*.md"))
    page.write_text(questions.COMMENT.sub("", page.read_text()))
    assert len(questions.find_stale(**places)) == 1
