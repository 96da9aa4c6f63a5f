"""Guesses: each page asks what the file beside it can answer, and answers it further down.

What a reader said is met there, in this session and the next, and nothing is ever lost or raised.
"""

import re

import nbformat
import pytest
from helpers import NOTEBOOKS, each_notebook
from unbraid_course import guesses

from tools import files

KEY, RIGHT, WRONG = "21.discount", "less", "the same"
QUESTIONS = {
    f"{path.name[:2]}.{name}": question
    for path in NOTEBOOKS
    for name, question in files.read_facts(path).get("guess", {}).items()
}
CALL = re.compile(r'^(guess|reveal)\("([^"]+)"(, .+)?\)$', re.MULTILINE)


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """What is shown by guesses in an empty folder, as a list of texts."""
    texts = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guesses, "show", texts.append)
    return texts


def find_faults_of_guesses(cells, number):
    """What is wrong with the questions of a notebook: their words, cells and answers."""
    faults, asked, revealed = [], [], []
    for before, cell in zip(cells, cells[1:], strict=False):
        calls = CALL.findall(cell.source) if cell.cell_type == "code" else []
        if bool(calls) != ("guess" in files.tags(cell)) or len(calls) > 1:
            faults.append(f"expected one call in a cell tagged guess: {cell.source}")
        for name, key, rest in calls:
            if key not in QUESTIONS or not key.startswith(f"{number}."):
                faults.append(f"{key} is no question of this page")
            elif name == "reveal":
                revealed += [key] * (key in asked)
            else:
                asked.append(key)
                faults += [f"{key}: committed with a guess"] * (rest != ', ""')
                words = [f"*{word}*".casefold() for word in QUESTIONS[key]["choices"]]
                named = before.source.rpartition("**Guess:**")[2].casefold()
                faults += [f"{key}: {word} is not named" for word in words if word not in named]
    faults += [f"{key} is asked twice" for key in set(asked) if asked.count(key) > 1]
    if sorted(set(asked)) != sorted(revealed):
        faults.append(f"asked {asked}, revealed further down {revealed}")
    return faults + [f"{len(asked)} questions"] * (len(asked) > 3)


@each_notebook
def test_a_page_names_the_choices_above_each_guess_and_reveals_its_answer_below(path):
    assert find_faults_of_guesses(nbformat.read(path, 4).cells, path.name[:2]) == []


def test_each_question_is_asked_and_is_one():
    sources = [path.read_text(encoding="utf-8") for path in NOTEBOOKS]
    asked = re.findall(r'"guess\(\\"([^"]+)\\", ', "".join(sources))
    assert sorted(asked) == sorted(QUESTIONS)
    assert len({key[:2] for key in asked}) >= 12
    for key, question in QUESTIONS.items():
        choices = question["choices"]
        assert 2 <= len(choices) <= 5, key
        assert question["answer"] in choices and question["why"].endswith("."), key
        assert all(choices) and len(set(map(guesses.fold, choices))) == len(choices), key


def test_a_guess_is_met_beside_its_answer_whether_right_or_wrong(shown, tmp_path):
    why = QUESTIONS[KEY]["why"]
    for word, verdict in ((RIGHT, "and so it is"), (WRONG, f"but here the answer is *{RIGHT}*")):
        guesses.guess(KEY, f" {word.upper()} ")
        assert f"*{word}*" in shown[-1]
        guesses.reveal(KEY)
        assert shown[-1] == f"You said *{word}*, {verdict}. {why}"
        assert (tmp_path / ".guesses" / KEY).read_text() == word
    guesses.reveal(KEY, WRONG)  # what this run found
    assert shown[-1] == f"You said *{WRONG}*, and so it is."
    count = len(shown)
    guesses.guess(KEY, "")  # of who only goes on, and loses nothing
    assert len(shown) == count
    guesses.reveal(KEY)
    assert shown[-1].startswith(f"You said *{WRONG}*, but")


def test_a_misspelt_guess_gets_the_choices_and_changes_nothing(shown, tmp_path):
    for wrong in ("les", "none", 3, ..., [RIGHT]):
        guesses.guess(KEY, wrong)
        assert all(word in shown[-1] for word in QUESTIONS[KEY]["choices"])
    guesses.reveal(KEY)
    assert list(tmp_path.iterdir()) == [] and len(shown) == 5
    for call in (guesses.guess, guesses.reveal):
        with pytest.raises(ValueError, match="key: .*21.discount"):
            call("21.discuont")
    with pytest.raises(ValueError, match="answer"):
        guesses.reveal(KEY, 3)


@pytest.mark.parametrize("damage", (b"", b"\xff\xfe", b"other", None))
def test_what_cannot_be_read_is_no_guess(shown, tmp_path, damage):
    file = tmp_path / ".guesses" / KEY
    if damage is None:
        file.parent.write_text("a file, where a folder is needed")
    else:
        file.parent.mkdir()
        file.write_bytes(damage)
    guesses.reveal(KEY)
    assert shown == []
    guesses.guess(KEY, WRONG)
    assert ("cannot be kept" in shown[0]) == (damage is None)


def test_a_workshop_keeps_its_guesses_beside_the_desk(shown, tmp_path, monkeypatch):
    (tmp_path / "workshop").mkdir()
    monkeypatch.chdir(tmp_path / "workshop")
    guesses.guess(KEY, WRONG)
    guesses.reveal(KEY)
    assert (tmp_path / ".guesses" / KEY).read_text() == WRONG and len(shown) == 2
    assert list((tmp_path / "workshop").iterdir()) == []
