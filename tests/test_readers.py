"""Readers decide what is kept: figures, runs, weights, tables, sections and functions without one.

Readers are code cells, claims.toml, the tools behind make, and what is written by hand: sentences
of docs, README, CONTRIBUTING and NN.toml, and commands with their arguments. Tests, generated
pages, lists and commands that take a name read nothing. `python tests/test_readers.py` lists all.
"""

import ast
import json
import re
import tomllib
from collections import Counter, defaultdict
from pathlib import Path

from papers.settings import PROFILES, read_sections

ROOT = Path(__file__).resolve().parents[1]
INTERFACE = {"encode", "elbo", "decode", "generate", "load", "save", "forward"}  # of any model
COMMAND = re.compile(r"(?:train|evaluate|measure,)\s*(\w+) --dataset (\w+)(?: --run (\w+))?")


class Reader:
    """The texts of a page or a tool; what stands in braces of an f-string may be any of them."""

    def __init__(self, tree):
        nodes = list(ast.walk(tree))
        self.texts = {node.value for node in nodes if is_text(node)}
        code = ast.unparse(tree)
        for name in re.findall(r"load_judge\('(\w+)'", code):
            self.texts.add(f"judges/{name}/quick/judge-seed0")
        for old, new in re.findall(r"\.replace\('(\w+)', '(\w+)'\)", code):
            self.texts |= {text.replace(old, new) for text in self.texts if "/" in text}
        formats = [as_pattern(node) for node in nodes if isinstance(node, ast.JoinedStr)]
        self.patterns = [re.compile(each) for each in formats if re.search("[a-z]|/", each)]

    def has(self, name, depth=2):
        """Whether a text is this name, or an f-string may be."""
        if name in self.texts or name.isdigit():
            return True
        found = [pattern.fullmatch(name) for pattern in self.patterns if depth]
        groups = [match.groups() for match in found if match]
        return any(all(self.has(part, depth - 1) for part in parts) for parts in groups)

    def reads(self, path):
        """Whether it names a file of results/, at once or as a folder and what is in it."""
        folder, _, name = path.rpartition("/")
        return self.has(path) or (self.has(folder) and self.has(name))


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def as_pattern(node):
    """The texts that an f-string may be, a group for each pair of braces."""
    return "".join(re.escape(part.value) if is_text(part) else "(.*)" for part in node.values)


def read_cells(root, kind):
    """The sources of the notebooks' cells of one kind, one text a notebook."""
    for path in root.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)


def read_prose(root):
    """What is written by hand, with the Makefile, and the words in it that stand as code."""
    pages = [*root.glob("docs/**/*.md"), *root.glob("notebooks/*.toml"), root / "Makefile"]
    pages += [root / "README.md", root / "CONTRIBUTING.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages if page.exists()]
    prose = "\n".join([*texts, *read_cells(root, "markdown")])
    code = " ".join(re.findall(r"(?s:```.*?```)|`[^`\n]+`", prose))
    return prose, set(re.findall(r"[\w./-]+", code))


# ---- results


def read_claims(root):
    """What claims.toml names: runs and tables by their paths, figures as part:name; other data."""
    text = (root / "papers" / "claims.toml").read_text(encoding="utf-8")
    claims = tomllib.loads(text)["claim"].values()
    named, data = set(), {claim["data"] for claim in claims}
    for claim in claims:
        figures = claim.get("figures", ())
        named |= {figure["table"] for figure in figures if "table" in figure}
        for run in {claim.get("run"), claim.get("full", {}).get("run")} - {None}:
            folder, part = run.rpartition("/")[0], run.partition("/")[0]
            beside = {figure.get(key) for figure in figures for key in ("run", "minus")}
            named |= {run} | {f"{folder}/{each}" for each in beside if isinstance(each, str)}
            for key in ("name", "chance"):
                named |= {f"{part}:{figure[key]}" for figure in figures if key in figure}
            data.discard(run.split("/")[1])
    return named, data


class Results:
    """What of results/ and of the tables of runs somebody reads."""

    def __init__(self, root):
        self.folder = root / "results"
        self.claimed, self.data = read_claims(root)
        self.prose, self.words = read_prose(root)
        paths = [*root.glob("tools/**/*.py"), *root.glob("lib/**/*.py")]
        sources = [path.read_text(encoding="utf-8") for path in paths]
        self.readers = [Reader(ast.parse(text)) for text in (*sources, *read_cells(root, "code"))]
        self.runs, self.judges, self.sections = set(), set(), set()
        records = [*self.folder.rglob("*.run.json")]
        listed = {self.name(path).rpartition("-seed")[0] for path in records}
        often = Counter(run.rpartition("/")[2] for run in listed)
        for path in records:
            name, run = self.name(path), self.name(path).rpartition("-seed")[0]
            last = run.rpartition("/")[2]
            if self.has(run) or self.has(name) or (last in self.words and often[last] == 1):
                self.runs.add(run)
                self.sections.add(json.loads(path.read_text())["settings"].get("section"))
        for path in self.folder.rglob("metrics.json"):
            metrics, folder = json.loads(path.read_text()), self.name(path).rpartition("/")[0]
            if any(f"{folder}/{run}" in self.runs for run in metrics):
                self.judges |= metrics.get("protocol", {}).get("judges", {}).keys()
        self.runs |= {judge.rpartition("-seed")[0] for judge in self.judges}

    def name(self, path):
        return path.relative_to(self.folder).as_posix().partition(".")[0]

    def has(self, name):
        named = self.claimed | self.words | self.judges
        return name in named or any(reader.reads(name) for reader in self.readers)

    def list_files(self):
        """Kind and name of runs, weights and tables without a reader."""
        texts = self.prose + "\n".join(set().union(*(each.texts for each in self.readers)))
        for path in self.folder.glob("*/**/*.*"):
            name, kind = self.name(path), "".join(path.suffixes)
            if kind == ".run.json" and name.rpartition("-seed")[0] not in self.runs:
                yield "runs", name.rpartition("-seed")[0]
            if kind == ".safetensors" and not self.has(name):
                yield "weights", name
            is_named = path.name in texts or f"{name}{kind}" in self.claimed
            if kind in {".csv", ".swaps.csv"} and not is_named:
                yield "tables", f"{name}{kind}"

    def list_figures(self):
        """Kind and name of figures; the ends of an interval are read with it."""
        for path in self.folder.rglob("metrics.json"):
            part = self.name(path).partition("/")[0]
            readers = [each for each in self.readers if f"{part}/" in "\n".join(each.texts)]
            entries = json.loads(path.read_text()).values()
            for name in set().union(*(entry.get("by_seed", ()) for entry in entries)):
                spelt = {name, re.sub("_(low|high)$", "", name)}
                named = spelt & self.words or {f"{part}:{each}" for each in spelt} & self.claimed
                if not named and not any(each.has(word) for each in readers for word in spelt):
                    yield "figures", f"{part}: {name}"

    def sort_sections(self):
        """The names of sections that are read, each with its texts, and of those that are not."""
        made = {tuple(run.split("/")[place] for place in (0, 1, -1)) for run in self.runs}
        made |= {(*run.split("/")[:2], run.split("/")[-1]) for run in self.claimed if "/" in run}
        made |= set(COMMAND.findall(self.prose))
        every = [item for profile in PROFILES for item in read_sections(profile).items()]
        listed = [(name, values) for name, values in every if "run" in values]
        often = Counter(values["run"] for values in dict(listed).values())
        read = defaultdict(set)
        for name, values in listed:
            run = values["model"], values["dataset"], values["run"]
            is_read = {run, (*run[:2], "")} & made or name in self.sections or run[1] in self.data
            if is_read or (run[2] in self.words and often[run[2]] == 1):
                read[name] |= {value for value in values.values() if isinstance(value, str)}
        return read, dict(listed).keys() - read.keys()


# ---- code


class Unit:
    """What a definition, or the rest of its file, names: dotted names, attributes, texts, tables.

    A row of a dict that gives a function or a class a name is read when the name is.
    """

    def __init__(self, nodes, known):
        self.names, self.attributes, self.texts = set(), set(), set()
        self.rows, self.opened, waiting = [], [], [*nodes]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Attribute | ast.Name):
                first, _, others = ast.unparse(node).partition(".")
                self.names.add(".".join(filter(None, (known.get(first, first), others))))
                self.attributes.add(getattr(node, "attr", ""))
            elif is_text(node):
                self.texts.add(node.value)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "import_module":
                formats = [each for each in node.args if isinstance(each, ast.JoinedStr)]
                self.opened += [re.compile(as_pattern(each)) for each in formats]
            if isinstance(node, ast.Dict):
                rows = list(zip(node.keys, node.values, strict=True))
                named = [row for row in rows if isinstance(row[1], ast.Attribute | ast.Name)]
                named = [row for row in named if row[0] and is_text(row[0])]
                self.rows += [(key.value, Unit([value], known)) for key, value in named]
                waiting += [row[1] for row in rows if row not in named]
            elif not isinstance(node, ast.Import | ast.ImportFrom):
                waiting += ast.iter_child_nodes(node)

    def opens(self, module, name):
        """Whether it imports the module by a name that it makes, and names the definition."""
        is_named = not name or name in self.attributes
        return is_named and any(pattern.fullmatch(module) for pattern in self.opened)


class Code:
    """All definitions by module and name, and those that are read from the roots."""

    def __init__(self, root):
        self.units, self.imports, self.read = {}, {}, set()
        for top in (root / "lib", root / "papers", root / "tools"):
            for path in top.rglob("*.py"):
                place = path.relative_to(top if top.name == "lib" else root).with_suffix("")
                self.add(".".join(place.parts).removesuffix(".__init__"), path)

    def add(self, module, path):
        """Take in a file: its definitions, methods, and what stands outside both."""
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        known = self.imports[module] = list_imports(tree, package)
        kinds = ast.FunctionDef | ast.ClassDef
        definitions = [node for node in tree.body if isinstance(node, kinds)]
        local = known | {node.name: f"{module}.{node.name}" for node in definitions}
        others = [node for node in tree.body if not isinstance(node, kinds)]
        others = [node for node in others if not ast.unparse(node).startswith("__all__")]
        self.units[module, ""] = Unit(others, local)
        for node in definitions:
            parts = list(ast.iter_child_nodes(node))
            if isinstance(node, ast.ClassDef):
                methods = [part for part in parts if isinstance(part, ast.FunctionDef)]
                parts = [part for part in parts if part not in methods]
                for each in methods:
                    self.units[module, f"{node.name}.{each.name}"] = Unit([each], local)
            self.units[module, node.name] = Unit(parts, local)

    def find(self, name):
        """Module and definition of a dotted name, also where a package hands it on, or None."""
        parts = name.split(".")
        for count in range(len(parts) - 1, 0, -1):
            module, first = ".".join(parts[:count]), parts[count]
            handed = self.imports.get(module, {}).get(first, name)
            if (module, first) in self.units:
                return module, first
            if handed != name:
                return self.find(handed)
            if (module, "") in self.units:  # a constant
                return module, ""
        return None

    def mark(self, keys):
        """The units of these that were not marked before, with the rest of their files."""
        new = {*keys, *((module, "") for module, _ in keys)} - self.read
        self.read |= new
        return [self.units[key] for key in new]

    def follow(self, waiting, texts):
        """Mark what these units name, what that names, and so on; texts: what else is named."""
        attributes, rows = set(INTERFACE), []
        while waiting:
            attributes |= set().union(*(unit.attributes | unit.texts for unit in waiting))
            texts = texts.union(*(unit.texts for unit in waiting))
            rows += [row for unit in waiting for row in unit.rows]
            named = set().union(*(unit.names for unit in waiting), texts)
            keys = set(map(self.find, named)) - {None}
            keys |= {key for key in self.units if any(unit.opens(*key) for unit in waiting)}
            for module, name in self.units.keys() - self.read:
                owner, _, method = name.partition(".")
                if (method in attributes or method.startswith("__")) and (
                    module,
                    owner,
                ) in self.read:
                    keys.add((module, name))
            waiting = self.mark(keys) + [unit for name, unit in rows if name in texts]
            rows = [(name, unit) for name, unit in rows if name not in texts]


def list_imports(tree, package):
    """What the names that a file imports stand for."""
    known, above = {}, package.split(".")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {each.asname: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom):
            outer = above[: len(above) + 1 - node.level] if node.level else []
            place = ".".join([*outer, *filter(None, [node.module])])
            known |= {each.asname or each.name: f"{place}.{each.name}" for each in node.names}
    return known


def list_unread_code(root, words, texts):
    """Public definitions of lib to which no page, sentence or command leads."""
    code, roots = Code(root), []
    for tree in map(ast.parse, read_cells(root, "code")):
        roots.append(Unit([tree], list_imports(tree, "")))
    tools = [unit.texts for (module, _), unit in code.units.items() if module.startswith("tools.")]
    words |= set(re.findall(r"([\w.]+)\(", "\n".join(set().union(*tools))))  # in cells they write
    often = Counter(name for _, name in code.units)
    for module, name in [*code.units]:
        spelt = {f"{module}.{name}", f"{module.rpartition('.')[2]}.{name}"}
        spelt |= {name} if often[name] == 1 else set()
        is_root = module.endswith("__main__") or module.startswith("tools.")
        if is_root or (name and spelt & words) or re.search(r"lessons\.n|lesson_", module):
            roots += code.mark({(module, name)})
    code.follow(roots, texts)
    left = [f"{module}.{name}" for module, name in code.units.keys() - code.read if name]
    return [name for name in left if name.startswith("unbraid") and not re.search(r"\._", name)]


def find_unread(root):
    """By kind, the names of all that nobody reads."""
    results, unread = Results(root), defaultdict(set)
    sections, unread["sections"] = results.sort_sections()
    texts = results.data.union(*sections.values())
    unread["functions"] = {*list_unread_code(root, results.words, texts)}
    for kind, name in (*results.list_files(), *results.list_figures()):
        unread[kind].add(name)
    return {kind: sorted(names) for kind, names in unread.items() if names}


def test_everything_has_a_reader():
    lines = [f"{kind}: {name}" for kind, names in find_unread(ROOT).items() for name in names]
    assert lines == [], "\n".join(
        ["delete it, or let a page, a claim or a sentence read it", *lines]
    )


CELL = """
from unbraid import records
from unbraid.data import read
FOLDER, seeds = "a/set/quick", [0]
files = [records.weights(f"{FOLDER}/run-seed{seed}") for seed in seeds]
bound = records.read_metrics(FOLDER)["run"]["bound"], read.load("test")
"""
LOADERS = (
    "from unbraid.data import planted, read\nLOADERS = {'planted': planted.load, 'read': read.load}"
)
RUN = {"settings": {"section": "a.set.run"}}
TREE = {
    "notebooks/1.ipynb": json.dumps({"cells": [{"cell_type": "code", "source": [CELL]}]}),
    "papers/claims.toml": "[claim]",
    "papers/__main__.py": f"{LOADERS}\n\n\ndef load(name):\n    return LOADERS[name]()",
    "lib/unbraid/records.py": "def weights(name): ...\n\n\ndef read_metrics(name): ...",
    "lib/unbraid/data/read.py": "def load(split):\n    return cut()\n\n\ndef cut(): ...",
    "results/a/set/quick/run-seed0.run.json": json.dumps(RUN),
    "results/a/set/quick/run-seed0.safetensors": "",
    "results/a/set/quick/metrics.json": '{"run": {"by_seed": {"bound": [1]}}}',
}
PLANTED = {
    "lib/unbraid/records.py": f"{TREE['lib/unbraid/records.py']}\n\n\ndef planted(): ...",
    "lib/unbraid/data/planted.py": "def load(split): ...",
    "results/a/set/quick/metrics.json": '{"run": {"by_seed": {"bound": [1], "planted": [2]}}}',
    "results/a/set/quick/planted-seed0.run.json": json.dumps(RUN),
    "results/a/set/quick/planted-seed0.safetensors": "",
    "results/a/planted.csv": "",
}


def test_what_is_planted_is_found(tmp_path):
    for tree in (TREE, PLANTED):
        for name, text in tree.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        unread = find_unread(tmp_path)
        del unread["sections"]  # which are the clone's
        assert (unread == {}) == (tree is TREE)
    assert unread.pop("functions") == ["unbraid.data.planted.load", "unbraid.records.planted"]
    run = "a/set/quick/planted"
    files = {"runs": [run], "weights": [f"{run}-seed0"], "tables": ["a/planted.csv"]}
    assert unread == {"figures": ["a: planted"], **files}


if __name__ == "__main__":
    for kind, names in find_unread(ROOT).items():
        print(f"{len(names)} {kind}", *names, sep="\n  ")
