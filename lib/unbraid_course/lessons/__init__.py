"""The chapters' classes and functions as modules, written from the notebooks.

`n12` has what notebook 12 defines, word for word: short and without checks, as a lesson needs it.
"""

import ast
import builtins
import inspect
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

EXERCISE = {"stub", "expectation", "check", "solution", "solved"}  # tags of an exercise's cells


def read_statements(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """The statements of a notebook's cells, but those of its exercises, and their lines."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        tags = cell["metadata"].get("tags", [])
        if cell["cell_type"] == "code" and not EXERCISE & set(tags):
            source = "".join(cell["source"])
            for node in ast.parse(source).body:
                first = min([node, *getattr(node, "decorator_list", [])], key=lambda n: n.lineno)
                yield node, "\n".join(source.split("\n")[first.lineno - 1 : node.end_lineno])


def list_free(node: ast.AST) -> set[str]:
    """The names that a piece of code takes from outside."""
    own = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
    used: set[str] = set()
    for each in ast.walk(node):
        if isinstance(each, ast.Name):
            (used if isinstance(each.ctx, ast.Load) else own).add(each.id)
        elif isinstance(each, ast.FunctionDef | ast.ClassDef):
            own.add(each.name)
    return used - own - set(dir(builtins))


def open_lesson(number: str) -> ModuleType:
    """The module of a chapter. All of 11 stands in the library, whose model consists of it."""
    place = "unbraid.models.lesson_a" if number == "11" else f"{__name__}.n{number}"
    return import_module(place)


def note_changes(number: str) -> None:
    """Say what the reader's page of a chapter, which lies beside the one that runs, defines
    otherwise than the course does, whose module would silently take its place."""
    module = open_lesson(number)
    nodes = ast.parse(inspect.getsource(module)).body
    course = {node.name: ast.unparse(node) for node in nodes if hasattr(node, "name")}
    for path in sorted(Path().glob(f"{number}_*.ipynb")):
        try:
            pairs = [
                (getattr(node, "name", ""), ast.unparse(node)) for node, _ in read_statements(path)
            ]
        except SyntaxError as error:
            print(f"{path}: a cell cannot be read ({error.msg}), so this page uses the course's.")
            continue
        mine = dict(pairs)
        changed = [name for name in course if mine.get(name, course[name]) != course[name]]
        if changed:
            print(f"{path} defines {', '.join(changed)} otherwise than the course. This page uses")
            print("the course's. To use yours, copy its cells below this one and run them.")
