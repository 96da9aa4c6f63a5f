"""The house gets no thicker: no folder has more lines and statements than limits.toml says.

A number there only falls. `python tests/test_limits.py` prints what there is, as the file has it.
"""

import ast
import json
import subprocess
import tomllib
from collections import defaultdict
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("lib/unbraid_course", "lib/unbraid_own", "lib/unbraid", "papers", "tools")
WRITTEN = ("lib/unbraid/models/lesson_*.py", "lib/unbraid_course/lessons/n*.py")
KINDS = {".py", ".ipynb", ".md", ".toml", ".j2", ".html", ".css", ".js"}


def find_row(path):
    """In which row of limits.toml a program is counted."""
    if any(path.match(pattern) for pattern in WRITTEN):
        return "written from notebooks"
    if "tests" in path.parts:
        return "tests"
    return next((row for row in FOLDERS if path.is_relative_to(row)), "elsewhere")


def list_statements(source):
    """Statements at every depth, of which a docstring is one; none of what is not Python."""
    try:
        return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    except SyntaxError:
        return []


def list_code(table):
    """Statements in the strings of a TOML file; `x: y` and `x` are taken for words."""
    if isinstance(table, dict | list):
        parts = table.values() if isinstance(table, dict) else table
        return sum(map(list_code, parts), [])
    found = list_statements(table) if isinstance(table, str) else []
    is_code = any(not isinstance(node, ast.Expr | ast.AnnAssign) for node in found)
    return found if is_code else []


def read_parts(path):
    """What a file adds, each part with its row: lines or words, and statements."""
    if not (ROOT / path).exists():  # removed, and not yet committed
        return []
    text, rows = (ROOT / path).read_text(encoding="utf-8"), []
    if path.suffix == ".py":
        rows.append((find_row(path), text.splitlines(), list_statements(text)))
    elif path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                rows.append(("cells of notebooks", source.splitlines(), list_statements(source)))
            else:
                rows.append(("words of notebooks", source.split(), []))
    elif path.suffix == ".md" and path.is_relative_to("docs"):
        rows.append(("words of docs", text.split(), []))
    elif path.suffix == ".toml" and (code := list_code(tomllib.loads(text))):
        row = "tests" if "tests" in path.parts else "TOML with code"
        rows.append((row, text.splitlines(), code))
    elif path.suffix in {".toml", ".j2", ".html", ".css", ".js"}:
        rows.append(("TOML without code, templates, scripts", text.splitlines(), []))
    return rows


def count():
    """By row: lines, or words, and statements."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: which files are committed is not known")
    found = defaultdict(lambda: [0, 0])
    paths = [path for path in map(Path, listed.stdout.splitlines()) if path.suffix in KINDS]
    for row, lines, statements in chain(*map(read_parts, paths)):
        found[row][0] += len(lines)
        found[row][1] += len(statements)
    return dict(sorted(found.items()))


def test_no_folder_has_more_than_its_numbers():
    limits = tomllib.loads((ROOT / "tests" / "limits.toml").read_text(encoding="utf-8"))
    found, more = count(), {}
    assert found.keys() == limits.keys()
    for row, (lines, statements) in found.items():
        if lines > limits[row][0] or statements > limits[row][1]:
            more[row] = f"expected at most {limits[row]}, found {[lines, statements]}"
    assert more == {}, "take as much out"


if __name__ == "__main__":
    for row, numbers in count().items():
        print(f'"{row}" = {numbers}')
