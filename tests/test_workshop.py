"""The workshop edition: stubs that the lesson's bodies solve, checks that know faults by name.

With UNBRAID_MUTANTS set, as in a weekly job, also each mistake of n32.toml gets its own answer.
"""

import ast
import inspect
import os
import re
from functools import cache
from importlib import import_module

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
from workshop_answers import MUTANTS, VARIANTS

from tools import desk, editions, files
from tools import workshop as edition

EDITIONS = sorted({number for number, *_ in VARIANTS})
SMALL = {"03": {"rows": 150}}  # sizes of a quick last check
# Of instruments: a fault that the last check sees. For models it is the KL term's.
FAULTS = {
    "03": ("find_box", "distance_x < epsilon", "distance_x <= epsilon"),
    "13": ("inside", "(C**2).sum()", "C.sum()"),
    "33": ("true_clip", "9 * (of_s // 9) + of_d % 9", "of_d"),
}
GIVEN = {"device": torch.device("cpu"), "seed": 0}  # what a page has before its definitions
SHARED = "unbraid.models.lesson_b"  # what the library has of 22
each_edition = pytest.mark.parametrize("number", EDITIONS)
weekly = pytest.mark.skipif(not os.environ.get("UNBRAID_MUTANTS"), reason="a weekly job runs this")


def try_change(number, name, old, new):
    """What the check says of the lesson's definition with this change."""
    typed = workshop.change(open_lesson(number), name, old, new)[name.split(".")[0]]
    return workshop.check(number, name, typed)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The workshop editions, by number."""
    folder = tmp_path_factory.mktemp("student")
    paths = editions.write_edition("student", folder, " ".join(EDITIONS))
    return {path.name[:2]: nbformat.read(path, 4) for path in paths}


def read_code(book):
    return [cell.source for cell in book.cells if cell.cell_type == "code"]


def define(sources, names):
    """Add what cells import and define, without running the rest of them."""
    for source in sources:
        tree = ast.parse(source)
        kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
        tree.body = [node for node in tree.body if isinstance(node, kinds)]
        exec(compile(tree, "<cell>", "exec"), names)


# ---- The edition


@each_edition
def test_it_leaves_five_to_seven_functions_and_checks_each(number, made):
    book, texts = made[number], workshop.read_texts(number)
    nbformat.validate(book)
    assert len({cell.id for cell in book.cells}) == len(book.cells)
    assert 5 <= len(texts) <= 7
    assert not any(cell.get("outputs") or edition.KEY in cell.metadata for cell in book.cells)
    code = "\n".join(read_code(book))
    for name, said in texts.items():
        assert code.count(f'raise NotImplementedError("{name}")') == 1
        assert code.count(f'workshop.check("{number}", "{name}"') == 1
        assert said["hint"] in "\n".join(cell.source for cell in book.cells)
        assert said["minutes"] > 0 and said["difficulty"] in ("easy", "middle", "hard")
    note = next(cell.source for cell in book.cells if cell.id == "workshop")
    assert f"{workshop.name_file(number)}.py" in note and ("estimated" in note or "clocked" in note)
    assert f'workshop.save("{number}")' in code and f"model_{number} import" not in code
    checked = [name for name in import_module(f"{workshop.__name__}.n{number}").PARTS]
    assert checked[:-1] == list(texts) and f'"{checked[-1]}"' in code


@each_edition
def test_what_is_not_typed_yet_is_said(number, made):
    names = dict(GIVEN)
    define(read_code(made[number]), names)
    for name in workshop.read_texts(number):
        verdict = workshop.check(number, name, names[name.split(".")[0]])
        assert not verdict.is_right and "not typed yet" in verdict.text


@each_edition
def test_the_lessons_bodies_solve_it_and_are_written(number, made, tmp_path, monkeypatch, capsys):
    """The stubs' cells become the lesson's; what is written then is a module that stands alone."""
    (path,) = files.select_notebooks(None, number)
    solved = {cell.id: cell.source for cell in nbformat.read(path, 4).cells}
    sources = [solved.get(cell.id, cell.source) for cell in made[number].cells if is_code(cell)]
    names = dict(GIVEN)
    define(sources, names)
    for name in import_module(f"{workshop.__name__}.n{number}").PARTS:
        assert workshop.check(number, name, *find_typed(number, name, names)).text == "right", name

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="still to be typed"):
        workshop.save(number, read_code(made[number]))
    workshop.save(number, [*read_code(made[number]), "a = (", *sources])
    written = {}
    exec((tmp_path / f"{workshop.name_file(number)}.py").read_text(), written)
    assert set(_wanted(number)) <= set(written)
    last = checked_last(number)
    assert workshop.check(number, last, *find_typed(number, last, written)).is_right
    capsys.readouterr()


@each_edition
def test_the_bound_is_that_of_the_readers_class(number):
    """A fault anywhere in it is seen at the end, too; and without a class nothing is right."""
    lesson, last = open_lesson(number), checked_last(number)
    fault = FAULTS.get(number, ("kl", "0.5 * ", ""))
    typed = workshop.change(lesson, *fault)
    for name, each in vars(lesson).items():
        if getattr(each, "__module__", "") in (lesson.__name__, SHARED) and name != fault[0]:
            exec(inspect.getsource(each), typed)
    assert not workshop.check(number, last, *find_typed(number, last, typed)).is_right
    assert workshop.check(number, last).text.startswith("give this check your ")
    right = find_typed(number, last, vars(lesson))
    assert workshop.check(number, last, *right).text == "right"


def is_code(cell):
    return cell.cell_type == "code"


def find_typed(number, part, names):
    """What a page hands to the check of a part: a function, a class, or all instruments."""
    place, wanted = part.split(".")[0], _wanted(number)
    if place in names:
        return [names[place]]
    return [names[name] for name in (wanted[:1] if number in workshop.NUMBERS.values() else wanted)]


def checked_last(number):
    return [*import_module(f"{workshop.__name__}.n{number}").PARTS][-1]


def test_what_was_typed_before_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model_32.py").write_text("mine = 1\n")
    cells = [f"def {name}():\n    return {name}" for name in ("kl", *_wanted("32"))]
    workshop.save("32", cells)
    (kept,) = tmp_path.glob("model_32_*.py")
    assert kept.read_text() == "mine = 1\n" and kept.name in capsys.readouterr().out
    workshop.save(
        "32", [*cells, "import math as m\nHALF = m.pi / 2\ndef train():\n    return HALF"]
    )
    assert len([*tmp_path.glob("model_32_*.py")]) == 2
    text = (tmp_path / "model_32.py").read_text()
    assert text.startswith("import math as m\n") and "HALF = m.pi / 2" in text
    assert "return train" not in text and "def kl" not in text  # nobody needs it
    workshop.save(
        "32", [*cells, "import math as m\nHALF = m.pi / 2\ndef train():\n    return HALF"]
    )
    assert len([*tmp_path.glob("model_32_*.py")]) == 2
    with pytest.raises(ValueError, match="train is not defined yet"):
        workshop.save("32", cells[:-1])


def _wanted(number):
    return import_module(f"{workshop.__name__}.n{number}").WANTED


def test_the_instruments_of_all_pages_are_one_file(tmp_path, monkeypatch, capsys):
    """A page that is saved again changes its own, and nothing that others need."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workshop, "solved", set())
    order = ("33", "03", "13")
    sources = {number: read_lesson(number) for number in order}
    for number, source in sources.items():
        workshop.save(number, [source])
    path, written = tmp_path / "measures.py", {}
    exec(path.read_text(), written)
    assert {name for number in order for name in _wanted(number)} <= set(written)
    said = capsys.readouterr().out  # and what only adds to the file keeps no other
    assert not [*tmp_path.glob("measures_*.py")] and "not checked" in said and "ross" in said
    for number in order:
        last = checked_last(number)
        assert workshop.check(number, last, *find_typed(number, last, written)).is_right

    before = workshop.read_made(path.read_text())
    mine = ["SCALE = 2", "def ksg(x, y, k=3):\n    return SCALE * k", sources["03"]]
    workshop.save("03", [mine[2], *mine[:2]])
    after = workshop.read_made(path.read_text())
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"SCALE", "ksg"}  # find_box was typed, though nothing calls it now
    assert len([*tmp_path.glob("measures_*.py")]) == 1
    workshop.save("33", [sources["33"]])  # as it was, so nothing is renamed
    assert workshop.read_made(path.read_text()) == after
    with pytest.raises(ValueError, match="^SCALE: .*measures.py"):
        workshop.save("13", [sources["13"] + "\nSCALE = 3\ndef inside(C):\n    return SCALE"])


def test_the_library_has_the_numbers_that_03_prints():
    (path,) = files.select_notebooks(None, "03")
    outputs = [out for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", [])]
    printed = "".join(out.get("text", "") for out in outputs)
    if "; shuffled pairs" not in printed:
        pytest.skip("the outputs of 03 are to be renewed")
    part = import_module(f"{workshop.__name__}.n03").PARTS[checked_last("03")]
    found = part.right(vars(open_lesson("03")), part.cases[0])
    for name in ("line", "parabola", "hidden link", "fast wave"):
        bits = found[f"bits of the {name}"].item()
        assert re.search(rf"^{name} +{bits:5.2f} bits", printed, re.MULTILINE), name


# ---- The desk


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

    (mine.parent / f"model_{mine.name[:2]}.py").write_text("mine")
    book = nbformat.read(mine, 4)
    book.cells[2].source = "# mine"
    files.write(book, mine)
    assert desk.lay_out(tmp_path) == []
    assert "# mine" in [cell.source for cell in nbformat.read(mine, 4).cells]
    assert (mine.parent / f"model_{mine.name[:2]}.py").read_text() == "mine"


# ---- Right and wrong answers


@cache
def measure_right(number, case):
    """What the last check of a page expects, which is the same for all answers."""
    part = workshop.find_part(number, checked_last(number))
    return (part.right or part.run)(vars(open_lesson(number)), case)


@pytest.mark.parametrize("number, name, old, new", VARIANTS)
def test_another_right_answer_passes_and_gives_the_librarys_numbers(number, name, old, new):
    assert try_change(number, name, old, new).text == "right"
    part = import_module(f"{workshop.__name__}.n{number}").PARTS[checked_last(number)]
    lesson, changed, typed = open_lesson(number), name.split(".")[0], {}
    own = inspect.getsource(getattr(lesson, changed))
    exec(read_lesson(number).replace(own, own.replace(old, new)), typed)
    case = part.cases[0]._replace(**SMALL.get(number, {}))
    ours, theirs = part.run(typed, case), measure_right(number, case)
    for each in theirs.keys() - {n for n in theirs if workshop.RANDOM in n}:  # as a page prints
        torch.testing.assert_close(ours[each], theirs[each], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("number, name, old, new, says", MUTANTS)
def test_a_fault_is_named(number, name, old, new, says):
    verdict = try_change(number, name, old, new)
    assert not verdict.is_right and says in verdict.text, verdict.text


@weekly
@each_edition
@pytest.mark.timeout(1800)
def test_each_known_mistake_gets_its_own_answer(number):
    for name, texts in workshop.read_texts(number).items():
        for old, new, says in texts["mistakes"]:
            assert says in try_change(number, name, old, new).text, (name, old, new)


# ---- The library


def test_a_typed_model_becomes_the_librarys():
    lesson = open_lesson("32")
    torch.manual_seed(0)
    typed = lesson.small_model(0).eval()
    library, x = workshop.to_library(typed), torch.rand(2, 3, 3, 32, 32)
    assert not library.training
    library.fixed_noise = torch.zeros  # where the typed class's means have 0
    with torch.no_grad():
        s, d = typed.encode(x)
        codes = library.encode(x)
        close(codes["static"], s), close(codes["dynamic"], d)
        close(library.decode(codes), typed.decode(s, d))
    with pytest.raises(TypeError, match="model"):
        workshop.to_library(torch.nn.Linear(1, 1))
    with pytest.raises(TypeError, match="^model: .*library"):
        workshop.to_library(library)


def test_a_typed_model_of_a_has_the_librarys_names():
    torch.manual_seed(0)
    typed, x = open_lesson("12").small_model(0.1, 0).eval(), torch.rand(2, 3, 3, 32, 32)
    library = workshop.to_library(typed)
    with torch.no_grad():
        close(library.to_latents(library.encode(x)), typed.encode(x))
        close(library.decode(library.encode(x)), typed.decode(typed.encode(x)))


def test_a_typed_model_of_b_has_the_librarys_names():
    typed, x = open_lesson("22").small_model(0).double(), torch.rand(2, 3, 3, 32, 32).double()
    library = workshop.to_library(typed)
    with torch.no_grad():
        codes, frames = library.encode(x), typed.decode(*typed.encode(x))
        close((codes["static"], codes["dynamic"]), tuple(typed.encode(x)))
        close(library.decode(codes), frames)


# ---- Results of another kind, and what a check has found right


@pytest.mark.parametrize("number, name, old, new, says", [
    ("32", "SingleElement.loss", "torch.stack([error.sum(1), error[:, 0], kl_s, kl_d]).mean(1)",
     "error.sum(1), error[:, 0], kl_s, kl_d", "`torch.stack`"),
    ("32", "SingleElement.loss", "kl_s, kl_d]).mean(1)", "kl_s, kl_d]).mean()", "four terms, (4,)"),
    ("11", "IndependentPrediction.loss", "error.mean() / (2 * self.v), costs.mean((0, 1))",
     "error.mean() / (2 * self.v) + costs.mean((0, 1)).sum()", "expected 2 results"),
])  # fmt: skip
def test_results_of_another_kind_are_said(number, name, old, new, says):
    verdict = try_change(number, name, old, new)
    assert not verdict.is_right and says in verdict.text, verdict.text


def test_what_is_not_right_is_said_when_it_is_written(tmp_path, monkeypatch, capsys):
    """Right is what its own check has found right, until that finds it wrong."""
    lesson = open_lesson("11")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workshop, "solved", set())
    assert workshop.check("11", "kl", lesson.kl).is_right
    workshop.save("11", [inspect.getsource(lesson)])
    said = capsys.readouterr().out
    assert "not checked" in said and "Filter.predict" in said and "kl," not in said
    assert not workshop.check("11", "kl", lambda q, p: q[0] - p[0]).is_right
    workshop.save("11", [inspect.getsource(lesson)])
    said = capsys.readouterr().out
    assert "start: kl, Posterior.forward," in said


def test_the_instruments_of_13_show_what_the_share_inside_hides():
    """Of a model with an empty factor and of one without; R² is as in the training's record."""
    cases, read = import_module(f"{workshop.__name__}.n13").MODELS, open_lesson("13")
    part = import_module(f"{workshop.__name__}.n13").PARTS["the second model"]
    empty, full = (part.run(vars(read), case) for case in cases)
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
    notebook, lesson = import_module(f"{workshop.__name__}.n33"), open_lesson("33")
    found = notebook.PARTS["the copier"].run(vars(lesson), None)
    assert all(each for each in found.values() if each.dtype == torch.bool)
    names = {}
    exec(inspect.getsource(lesson).replace("9 * (of_s // 9) + of_d % 9", "of_d"), names)
    verdict = workshop.check("33", "the copier", *map(names.get, notebook.WANTED))
    assert "the copier has fewer" in verdict.text and "true clip" in verdict.text
