"""Guesses that a page keeps: what a reader expected, beside the answer.

`guess("31.drawn", "figure")` keeps the choice, and `reveal("31.drawn")` further down compares it
with the answer. Choices and answers of a page stand in its file, such as notebooks/31.toml; without
it guesses say nothing. Each guess is a file of its own in .guesses beside the reader's notebooks,
so pages that are open at once cannot lose one another's.
"""

from pathlib import Path
from typing import Any

from unbraid.checks import check_name, check_type, shorten
from unbraid.figures.images import read_facts
from unbraid.files import write_atomically


def guess(key: str, choice: object = "") -> None:
    """Keep a reader's guess, also for later sessions; "" changes nothing and says nothing.

    choice: one of the question's choices, however spaced and in any case. Of anything else the
    choices are shown, and the page goes on, as it does where nothing can be written.
    """
    choices = read_question(key).get("choices", [])
    words = {fold(each): each for each in choices}
    if not choices or choice == "":
        return
    if fold(choice) not in words:
        listed = ", ".join(f"*{each}*" for each in choices)
        show(f"*{shorten(choice)}* is none of the choices. Please write one of them: {listed}.")
        return
    word = words[fold(choice)]
    try:
        write_atomically(find_file(key), word.encode())
        show(f"Your guess, *{word}*, is kept. You will meet it again beside the answer.")
    except OSError as error:
        show(f"Your guess cannot be kept: {error}")


def reveal(key: str, answer: str = "") -> None:
    """Say beside an answer what the reader guessed and why it came so; nothing without a guess.

    answer: what this run has found, where runs differ; else the answer in the page's file, for
    which alone there is a reason.
    """
    question = read_question(key)
    check_type(str, answer=answer)
    try:
        word = find_file(key).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return
    if word not in question.get("choices", []):  # a damaged file
        return
    answer = answer or question["answer"]
    verdict = f"but here the answer is *{answer}*" if word != answer else "and so it is"
    why = question["why"] if answer == question["answer"] else ""
    show(f"You said *{word}*, {verdict}. {why}".strip())


def read_question(key: str) -> dict[str, Any]:
    """Choices, answer and why of a question; {} where the page lies without its file.

    Refuses a key that the file does not have.
    """
    check_type(str, key=key)
    page, _, name = key.partition(".")
    if not (facts := read_facts(page)):
        return {}
    check_name("key", key, [f"{page}.{each}" for each in facts.get("guess", {})])
    return facts["guess"][name]


def fold(choice: object) -> str:
    """A choice as it is compared."""
    return "".join(str(choice).split()).casefold()


def find_file(key: str) -> Path:
    """Where a guess is kept: beside the notebooks, also for those in the folder workshop."""
    here = Path.cwd()
    return (here.parent if here.name == "workshop" else here) / ".guesses" / key


def show(text: str) -> None:
    """Show a text of Markdown below the cell."""
    from IPython.display import Markdown, display  # imported lazily: the library needs no IPython

    display(Markdown(text))
