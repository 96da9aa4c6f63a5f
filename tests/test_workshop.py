"""The workshop edition: stubs that the lesson's bodies solve, checks that know faults by name.

Of the known mistakes of n32.toml a few get their answers here, and all of them with UNBRAID_MUTANTS
set, as in a weekly job. Answers that are none of these stand in workshop_answers.toml.
"""

import ast
import inspect
import os
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import NOTEBOOKS, close
from readers import read_lesson
from unbraid import records
from unbraid.figures.images import read_facts
from unbraid_course import workshop
from unbraid_course.lessons import open_lesson

from tools import desk, editions, files
from tools import workshop as edition

EDITIONS = workshop.EDITIONS
ANSWERS = tomllib.loads(Path(__file__).with_name("workshop_answers.toml").read_text("utf-8"))
SMALL = {"03": {"rows": 150}}  # sizes of a quick last check
FAULTS = {  # that the last check sees, too
    "03": ("find_box", "distance_x < epsilon", "distance_x <= epsilon"),
    "11": ("kl", "0.5 * ", ""),
    "13": ("inside_by_chance", "C[np.ix_(order, order)]", "C"),
    "22": ("kl", "0.5 * ", ""),
    "32": ("kl", "0.5 * ", ""),
    "33": ("true_clip", "9 * (of_s // 9) + of_d % 9", "of_d"),
}
GIVEN = {"device": torch.device("cpu"), "seed": 0}  # what a page has before its definitions
STEP = 1 if os.environ.get("UNBRAID_MUTANTS") else 9  # of how many known mistakes one is tried
each_edition = pytest.mark.parametrize("number", EDITIONS)


def open_notebook(number):
    return import_module(f"{workshop.__name__}.n{number}")


def name_last(number):
    """The check of all that was typed."""
    return [*open_notebook(number).PARTS][-1]


def try_change(number, name, old, new):
    """What the check says of the lesson's definition with this change."""
    typed = workshop.change(open_lesson(number), name, old, new)[name.split(".")[0]]
    return workshop.check(number, name, typed)


def run_changed(number, name, old, new):
    """What a page has whose lesson has this change, also where others call what is changed."""
    own, names = inspect.getsource(getattr(open_lesson(number), name.split(".")[0])), {}
    assert own.count(old) == 1
    exec(read_lesson(number).replace(own, own.replace(old, new)), names)
    return names


def find_typed(number, part, names):
    """What a page hands to the check of a part: a function, a class, or all instruments."""
    place, wanted = part.split(".")[0], open_notebook(number).WANTED
    if place in names:
        return [names[place]]
    return [names[name] for name in (wanted[:1] if number in workshop.NUMBERS.values() else wanted)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workshop editions, by number."""
    folder = tmp_path_factory.mktemp("student")
    paths = editions.write_edition("student", folder, " ".join(EDITIONS))
    return {path.name[:2]: nbformat.read(path, 4) for path in paths}


def read_code(book):
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def define(sources):
    """What cells import and define, without running the rest of them."""
    names = dict(GIVEN)
    for source in sources:
        tree = ast.parse(source)
        kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
        tree.body = [node for node in tree.body if isinstance(node, kinds)]
        exec(compile(tree, "<cell>", "exec"), names)
    return names


# ---- The edition


@each_edition
def test_it_leaves_five_to_seven_functions_and_checks_each(number, made):
    book, texts = made[number], workshop.read_texts(number)
    nbformat.validate(book)
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    assert 5 <= len(texts) <= 7
    assert not any(cell.get("outputs") or edition.KEY in cell.metadata for cell in book.cells)
    code, names = "\n".join(read_code(book)), define(read_code(book))
    for name, said in texts.items():
        assert code.count(f'raise NotImplementedError("{name}")') == 1
        assert code.count(f'workshop.check("{number}", "{name}"') == 1
        assert said["hint"] in "\n".join(cell.source for cell in book.cells)
        assert said["minutes"] > 0 and said["difficulty"] in ("easy", "middle", "hard")
        verdict = workshop.check(number, name, names[name.split(".")[0]])
        assert not verdict.is_right and "not typed yet" in verdict.text
    note = next(cell.source for cell in book.cells if cell.id == "workshop")
    assert f"{workshop.name_file(number)}.py" in note and ("estimated" in note or "clocked" in note)
    assert f'workshop.save("{number}")' in code and f"model_{number} import" not in code
    parts = [*open_notebook(number).PARTS]
    assert parts[:-1] == list(texts) and f'"{parts[-1]}"' in code


@each_edition
def test_the_lessons_bodies_solve_it_and_are_written(number, made, tmp_path, monkeypatch):
    """The stubs' cells become the lesson's; what is written then is a module that stands alone."""
    (path,) = files.select_notebooks(None, number)
    solved = {cell.id: cell.source for cell in nbformat.read(path, 4).cells}
    cells = [cell for cell in made[number].cells if cell.cell_type == "code"]
    sources = [solved.get(cell.id, cell.source) for cell in cells]
    names = define(sources)
    for name in open_notebook(number).PARTS:
        assert workshop.check(number, name, *find_typed(number, name, names)).text == "right", name

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="still to be typed"):
        workshop.save(number, read_code(made[number]))
    workshop.save(number, [*read_code(made[number]), "a = (", *sources])
    written = {}
    exec((tmp_path / f"{workshop.name_file(number)}.py").read_text(), written)
    assert set(open_notebook(number).WANTED) <= set(written)
    last = name_last(number)
    assert workshop.check(number, last, *find_typed(number, last, written)).is_right


@each_edition
def test_a_fault_anywhere_is_seen_at_the_end_and_nothing_is_not_right(number):
    last = name_last(number)
    typed = run_changed(number, *FAULTS[number])
    assert not workshop.check(number, last, *find_typed(number, last, typed)).is_right
    assert workshop.check(number, last).text.startswith("give this check your ")


def test_what_was_typed_before_is_kept_and_what_is_not_right_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workshop, "solved", set())
    kl = open_lesson("32").kl
    assert workshop.check("32", "kl", kl).is_right
    cells = [f"def {name}():\n    return {name}" for name in ("kl", *open_notebook("32").WANTED)]
    cells += ["import math as m\nHALF = m.pi / 2\ndef train():\n    return HALF"]
    workshop.save("32", cells)
    said = capsys.readouterr().out
    assert "not checked since the start: draw" in said
    path = tmp_path / "model_32.py"
    text = path.read_text()
    assert text.startswith("import math as m\n") and "HALF = m.pi / 2" in text
    assert "return train" not in text and "def kl" not in text  # nobody needs it

    assert not workshop.check("32", "kl", lambda q, p=None: q[0]).is_right
    workshop.save("32", cells)
    assert "not checked since the start: kl, draw" in capsys.readouterr().out
    assert [*tmp_path.iterdir()] == [path]  # the same again
    workshop.save("32", [*cells, "HALF = 1"])
    assert (tmp_path / "model_32_before.py").read_text() == text
    assert "model_32_before.py" in capsys.readouterr().out
    with pytest.raises(ValueError, match="train is not defined yet"):
        workshop.save("32", cells[:-2])


def test_the_desk_has_it_once_and_writes_over_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))  # of signatures
    lessons = tmp_path / "notebooks"
    (lessons / "figures").mkdir(parents=True)
    for path in NOTEBOOKS:
        if path.name[:2] in ("10", *EDITIONS):
            (lessons / path.name).write_bytes(path.read_bytes())
    lines = desk.lay_out(tmp_path)
    typed = sorted((tmp_path / "mine" / "workshop").glob("*.ipynb"))
    assert len(typed) == len(EDITIONS) and f"workshop/{typed[-1].name}: new" in lines
    mine = typed[-1]
    text = mine.read_text(encoding="utf-8")
    assert "raise NotImplementedError" in text and '"output_type"' not in text
    assert f"](../{mine.name[:2]}" not in text or (tmp_path / "mine" / mine.name).exists()

    written = mine.parent / "model_33.py"
    written.write_text("mine")
    book = nbformat.read(mine, 4)
    book.cells[2].source = "# mine"
    files.write(book, mine)
    assert desk.lay_out(tmp_path) == []
    assert "# mine" in [cell.source for cell in nbformat.read(mine, 4).cells]
    assert written.read_text() == "mine"


# ---- Right and wrong answers


@cache
def measure_right(number, case):
    """What the last check of a page expects, which is the same for all answers."""
    part = workshop.find_part(number, name_last(number))
    return (part.right or part.run)(vars(open_lesson(number)), case)


@pytest.mark.parametrize("number, name, old, new", ANSWERS["right"])
def test_another_right_answer_passes_and_gives_the_librarys_numbers(number, name, old, new):
    assert try_change(number, name, old, new).text == "right"
    part = workshop.find_part(number, name_last(number))
    case = part.cases[0]._replace(**SMALL.get(number, {}))
    ours, theirs = part.run(run_changed(number, name, old, new), case), measure_right(number, case)
    for each in theirs:  # as a page prints
        np.testing.assert_allclose(*map(workshop.as_array, (ours[each], theirs[each])), 1e-9, 1e-9)


@pytest.mark.parametrize("number, name, old, new, says", ANSWERS["wrong"])
def test_a_fault_is_named(number, name, old, new, says):
    verdict = try_change(number, name, old, new)
    assert not verdict.is_right and says in verdict.text, verdict.text


@each_edition
@pytest.mark.timeout(1800)
def test_each_known_mistake_gets_its_own_answer(number):
    texts = workshop.read_texts(number)
    rows = [(name, *row) for name, text in texts.items() for row in text["mistakes"]]
    for name, old, new, says in rows[::STEP]:
        assert says in try_change(number, name, old, new).text, (name, old, new)


# ---- The library


@pytest.mark.parametrize("number", ["11", "22", "32"])
def test_a_typed_model_becomes_the_librarys(number):
    torch.manual_seed(0)
    lesson = open_lesson("12" if number == "11" else number)
    sizes = (0.1, 0) if number == "11" else (0,)
    typed, x = lesson.small_model(*sizes).double().eval(), torch.rand(2, 3, 3, 32, 32).double()
    library = workshop.to_library(typed)
    library.fixed_noise = torch.zeros  # where the typed class's means have 0
    assert not library.training
    with torch.no_grad():
        codes, mine = library.encode(x), typed.encode(x)
        if number == "11":
            close(library.to_latents(codes), mine)
            frames = typed.decode(mine)
        else:
            close((codes["static"], codes["dynamic"]), tuple(mine))
            frames = typed.decode(*mine)
        close(library.decode(codes), frames)
    with pytest.raises(TypeError, match="^model: .*library"):
        workshop.to_library(library)


def test_the_instruments_of_13_show_what_the_share_inside_hides():
    """Of a model with an empty factor and of one without; R² is as in the training's record."""
    cases, part = open_notebook("13").MODELS, workshop.find_part("13", "the second model")
    empty, full = (part.run(vars(open_lesson("13")), case) for case in cases)
    assert abs(empty["share inside"] - full["share inside"]) < 0.01
    assert empty["use"][1] < 1e-4 and full["use"].min() > 0.4
    assert empty["R²"][1].max() < 0.05 and full["R²"].diagonal().min() > 0.9
    runs = pd.read_csv(records.results() / "independent/circle/quick/coin.csv", comment="#")
    for case, found in zip(cases, (empty, full), strict=True):
        row = runs[(runs["run"] == "ours 0.1") & (runs["seed"] == case.run)].iloc[-1]
        recorded = row[["r2_00", "r2_01", "r2_10", "r2_11"]].to_numpy(float).reshape(2, 2)
        np.testing.assert_allclose(found["R²"], recorded, atol=0.1)  # of other clips
    alt = read_facts("13")["alt"]
    assert f"{empty['share inside']:.2f} for the second model" in alt["averages"]


def test_what_rewards_a_copier_is_not_right():
    """And by the lesson's own instruments all holds: a check compares with them alone."""
    notebook, lesson = open_notebook("33"), open_lesson("33")
    found = notebook.PARTS["the copier"].run(vars(lesson), None)
    assert all(each for each in found.values() if each.dtype == torch.bool)
    names = run_changed("33", *FAULTS["33"])
    verdict = workshop.check("33", "the copier", *map(names.get, notebook.WANTED))
    assert "the copier has fewer" in verdict.text and "true clip" in verdict.text
