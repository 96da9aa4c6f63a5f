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
PAIR = re.compile(r'\("([\w/]+)/\w+", "(\w+)"')  # of a claim's sentence: a run and its figure


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def list_names(node):
    """The names and attributes that code mentions."""
    nodes = [each for each in ast.walk(node) if isinstance(each, ast.Name | ast.Attribute)]
    return {getattr(each, "id", getattr(each, "attr", "")) for each in nodes}


class Page:
    """The texts of a notebook or a program, and what each of its names is given."""

    def __init__(self, tree):
        self.nodes, self.given, parameters = [*ast.walk(tree)], defaultdict(list), {}
        for node in self.nodes:
            if isinstance(node, ast.FunctionDef):
                parameters[node.name] = [argument.arg for argument in node.args.args]
                self.given[node.name].append(node)
            value = getattr(node, "iter", getattr(node, "value", None))  # of loops, assignments
            targets = getattr(node, "targets", [getattr(node, "target", ast.Pass())])
            for target in targets if isinstance(value, ast.AST) else ():
                for name in list_names(target):
                    self.given[name].append(value)
        for node in self.nodes:
            if isinstance(node, ast.Call):
                names = parameters.get(getattr(node.func, "id", ""), ())
                for name, value in zip(names, node.args, strict=False):
                    self.given[name].append(value)

    def spell(self, *waiting, depth=2):
        """Patterns of the texts in expressions and in what their names are given.

        What stands in braces of an f-string is one of its own texts, or a number.
        """
        patterns, seen, waiting = set(), set(), [*waiting]
        while waiting:
            node = waiting.pop()
            if is_text(node):
                patterns.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                patterns.add("".join(self.spell_part(part, depth) for part in node.values))
            elif isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                waiting += self.given[node.id]
            elif not isinstance(node, ast.FunctionDef):
                waiting += ast.iter_child_nodes(node)
        return patterns

    def spell_part(self, part, depth):
        if is_text(part):
            return re.escape(part.value)
        texts = self.spell(part.value, depth=depth - 1) if depth else set()
        return f"(?:{'|'.join(sorted(texts | {r'[0-9]+'}))})"

    def list_paths(self):
        """Patterns of all texts, with what `load_judge` and `replace` make of them."""
        formats = [node for node in self.nodes if isinstance(node, ast.JoinedStr)]
        formats = [node for node in formats if re.search("/|-seed|[.]csv", ast.unparse(node))]
        patterns = self.spell(*formats)
        patterns |= {re.escape(node.value) for node in self.nodes if is_text(node)}
        for node in [node for node in self.nodes if isinstance(node, ast.Call)]:
            words = [each.value for each in node.args if is_text(each)]
            called = list_names(node.func)
            if "load_judge" in called and words:
                patterns.add(f"judges/{words[0]}/quick/judge-seed0")
            if "replace" in called and len(words) == 2:
                patterns |= {each.replace(*words) for each in patterns if "/" in each}
        return re.compile("|".join(f"(?:{pattern})" for pattern in sorted(patterns)))

    def list_figures(self):
        """Patterns of the folders whose metrics it reads, and of the figures that it takes of them.

        A figure is a text in a statement that names what comes from `read_metrics`: a text that
        chooses a curve's column is none.
        """
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        calls = [node for node in calls if "read_metrics" in list_names(node.func)]
        if not calls:
            return re.compile("(?!)"), set()
        mentions = {name: set().union(*map(list_names, self.given[name])) for name in self.given}
        named = {"read_metrics"}
        while more := {name for name in mentions if mentions[name] & named} - named:
            named |= more
        lines = [node for node in self.nodes if isinstance(node, ast.stmt)]
        lines = [node for node in lines if not hasattr(node, "body") and list_names(node) & named]
        folders = self.spell(*[each for call in calls for each in call.args])
        return re.compile("|".join(f"{folder}/" for folder in sorted(folders))), self.spell(*lines)


def read_cells(root, kind):
    """The sources of the notebooks' cells of one kind, one text a notebook."""
    for path in root.glob("notebooks/*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)


def read_prose(root):
    """What is written by hand, with the Makefile, and the words in it that stand as code."""
    pages = [*root.glob("docs/**/*.md"), *root.glob("notebooks/*.toml"), root / "Makefile"]
    pages += [root / "README.md", root / "CONTRIBUTING.md"]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    prose = "\n".join([*texts, *read_cells(root, "markdown")])
    code = " ".join(re.findall(r"(?s:```.*?```)|`[^`\n]+`", prose))
    return prose, set(re.findall(r"[\w./-]+", code))


# ---- results


class Results:
    """What of results/ and of the tables of runs somebody reads."""

    def __init__(self, root):
        self.folder = root / "results"
        self.read_claims((root / "papers" / "claims.toml").read_text(encoding="utf-8"))
        self.prose, self.words = read_prose(root)
        paths = [*root.glob("tools/**/*.py"), *root.glob("lib/**/*.py")]
        sources = [*(path.read_text(encoding="utf-8") for path in paths), *read_cells(root, "code")]
        self.pages = [Page(ast.parse(source)) for source in sources]
        self.paths = [page.list_paths() for page in self.pages]
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
                self.judges |= metrics["protocol"].get("judges", {}).keys()
        self.runs |= {judge.rpartition("-seed")[0] for judge in self.judges}

    def read_claims(self, text):
        """Runs and tables that claims name, their figures by folder, and data of other claims."""
        claims = tomllib.loads(text)["claim"].values()
        self.claimed, self.data = set(), {claim["data"] for claim in claims}
        self.figures = {*PAIR.findall(text)}
        for claim in claims:
            figures = claim.get("figures", ())
            self.claimed |= {figure["table"] for figure in figures if "table" in figure}
            for run in {claim.get("run"), claim.get("full", {}).get("run")} - {None}:
                folder = run.rpartition("/")[0]
                beside = {figure.get(key) for figure in figures for key in ("run", "minus")}
                beside = {f"{folder}/{each}" for each in beside if isinstance(each, str)}
                self.claimed |= {run} | beside
                for figure in figures:
                    self.figures |= {(folder, figure.get(key)) for key in ("name", "chance")}
                self.data.discard(run.split("/")[1])

    def name(self, path):
        return path.relative_to(self.folder).as_posix().partition(".")[0]

    def has(self, path):
        """Whether somebody names a file, at once or as a folder and what is in it."""
        folder, _, name = path.rpartition("/")
        if path in self.claimed | self.words | self.judges:
            return True
        pairs = ([path], [folder, name])
        return any(all(map(page.fullmatch, pair)) for page in self.paths for pair in pairs)

    def list_files(self):
        """Kind and name of runs, weights and tables without a reader."""
        for path in self.folder.glob("*/**/*.*"):
            name, kind = self.name(path), "".join(path.suffixes)
            if kind == ".run.json" and name.rpartition("-seed")[0] not in self.runs:
                yield "runs", name.rpartition("-seed")[0]
            if kind == ".safetensors" and not self.has(name):
                yield "weights", name
            is_named = path.name in self.prose or self.has(f"{name}{kind}")
            if kind in {".csv", ".swaps.csv"} and not is_named:
                yield "tables", f"{name}{kind}"

    def list_figures(self):
        """Kind and name of figures that nobody reads; the ends of an interval are read with it.

        A figure is read in one of the folders that one evaluation fills: those with all the same
        figures, or all of a part for what each of them has, as the bound.
        """
        names, read = {}, defaultdict(set)
        taken = [page.list_figures() for page in self.pages]
        for path in self.folder.rglob("metrics.json"):
            metrics, folder = json.loads(path.read_text()), self.name(path).rpartition("/")[0]
            metrics.pop("protocol")
            names[folder] = set().union(
                *metrics.values(), *(m["by_seed"] for m in metrics.values())
            )
            names[folder].discard("by_seed")
            read[folder] |= {re.escape(str(name)) for each, name in self.figures if each == folder}
            for folders, figures in taken:
                if folders.match(f"{folder}/"):
                    read[folder] |= figures
        for folder in names:
            part = [each for each in names if each.split("/")[0] == folder.split("/")[0]]
            shared = set.intersection(*(names[each] for each in part))
            for name in names[folder] - self.words:
                spelt = {name, re.sub("_(low|high)$", "", name)}
                alike = [each for each in part if names[each] == names[folder] or name in shared]
                patterns = set().union(*(read[each] for each in alike))
                if not any(re.fullmatch(each, word) for each in patterns for word in spelt):
                    yield "figures", f"{folder}: {name}"

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
    """What a definition, or the rest of its file, names: dotted names, attributes and texts.

    rows: of its dicts, a text and the function or class that has it for a name, and is read with
    it. opened: modules that it imports by names that it makes.
    """

    def __init__(self, nodes, known):
        self.names, self.words, self.rows, self.opened, waiting = set(), set(), [], [], [*nodes]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Attribute | ast.Name):
                first, _, others = ast.unparse(node).partition(".")
                self.names.add(".".join(filter(None, (known.get(first, first), others))))
                self.words.add(getattr(node, "attr", ""))
            elif is_text(node):
                self.words.add(node.value)
            elif isinstance(node, ast.Call) and "import_module" in list_names(node.func):
                self.opened.append(re.sub(r"\{.*?\}", ".*", ast.unparse(node.args[0])[2:-1]))
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    is_row = is_text(key) and isinstance(value, ast.Attribute | ast.Name)
                    waiting += [] if is_row else [value]
                    self.rows += [(key.value, Unit([value], known))] if is_row else []
            elif not isinstance(node, ast.Import | ast.ImportFrom):
                waiting += ast.iter_child_nodes(node)


class Code:
    """All definitions by module and name, and those that are read from the roots."""

    def __init__(self, root):
        self.units, self.imports, self.methods, self.read = {}, {}, {}, set()
        for top in (root / "lib", root / "papers", root / "tools"):
            for path in top.rglob("*.py"):
                place = path.relative_to(top if top.name == "lib" else root).with_suffix("")
                self.add(".".join(place.parts).removesuffix(".__init__"), path)

    def add(self, module, path):
        """Take in a file: its definitions, and what stands outside them."""
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
            self.units[module, node.name] = Unit(ast.iter_child_nodes(node), local)
            parts = node.body if isinstance(node, ast.ClassDef) else []
            parts = [part.name for part in parts if isinstance(part, ast.FunctionDef)]
            self.methods[module, node.name] = parts

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

    def follow(self, waiting, keys, words):
        """Mark what units name, what that names, and so on; words: what else is named."""
        rows = []
        while waiting or keys:
            words = words.union(*(unit.words for unit in waiting))
            rows += [row for unit in waiting for row in unit.rows]
            keys |= {self.find(name) for unit in waiting for name in unit.names} - {None}
            keys |= {self.find(word) for unit in waiting for word in unit.words} - {None}
            for unit in [unit for unit in waiting if unit.opened]:
                opened = re.compile("|".join(unit.opened))
                named = [key for key in self.units if not key[1] or key[1] in unit.words]
                keys |= {key for key in named if opened.fullmatch(key[0])}
            keys = {*keys, *((module, "") for module, _ in keys)} - self.read
            self.read |= keys
            waiting = [self.units[key] for key in keys]
            waiting += [unit for name, unit in rows if name in words]
            rows, keys = [row for row in rows if row[0] not in words], set()
        return words


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
    """Public definitions and methods of lib to which no page, sentence or command leads."""
    code, trees = Code(root), [*map(ast.parse, read_cells(root, "code"))]
    keys = {*map(code.find, texts)} - {None}
    roots = [Unit([tree], list_imports(tree, "")) for tree in trees]
    tools = [unit.words for (module, _), unit in code.units.items() if module.startswith("tools.")]
    words |= set(re.findall(r"([\w.]+)\(", "\n".join(set().union(*tools))))  # in cells they write
    often = Counter(name for _, name in code.units)
    for module, name in code.units:
        spelt = {f"{module}.{name}", f"{module.rpartition('.')[2]}.{name}"}
        spelt |= {name} if often[name] == 1 else set()
        is_root = module.endswith("__main__") or module.startswith("tools.")
        if is_root or (name and spelt & words) or re.search(r"lessons\.n|lesson_", module):
            keys.add((module, name))
    named = code.follow(roots, keys, texts) | words | INTERFACE
    left = [f"{module}.{name}" for module, name in code.units.keys() - code.read if name]
    for module, name in code.methods.keys() & code.read:
        methods = [method for method in code.methods[module, name] if method not in named]
        left += [f"{module}.{name}.{method}" for method in methods]
    return [name for name in left if re.match(r"unbraid(?!.*(\._|lesson))", name)]


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


if __name__ == "__main__":
    for kind, names in find_unread(ROOT).items():
        print(f"{len(names)} {kind}", *names, sep="\n  ")
