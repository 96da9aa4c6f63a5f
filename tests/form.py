"""What the tests of the repository's form share: one test for many files, and two rules."""

import ast
import re
from collections.abc import Callable, Iterable

import pytest

# A folder of one machine, in Python's, JSON's and the shell's spelling.
MACHINE_PATH = re.compile(
    r"(?<![\w.$~{}-])/(?:root|home|work|tmp|Users|private|opt|mnt)/\.?\w|/\.pyenv/"
    r"|\b[A-Z]:\\+(?:Users|Windows|Temp)"
)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def for_all(things: Iterable) -> Callable:
    """Makes a test of one thing a test of all: its failure says of each that fails why."""

    def make_test(check: Callable) -> Callable:
        def test():
            faults = []
            for thing in things:
                try:
                    check(thing)
                except Exception as fault:
                    faults.append(f"{thing}: {type(fault).__name__}: {fault}")
            if faults:
                pytest.fail("\n\n".join(faults), pytrace=False)

        test.__name__, test.__doc__, test.__module__ = (
            check.__name__,
            check.__doc__,
            check.__module__,
        )
        return test

    return make_test


def nested_loops(tree):
    """The lines of comprehensions with two loops, or with another comprehension inside."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            parts = [part for part in ast.walk(node) if isinstance(part, COMPREHENSIONS)]
            if len(parts) > 1 or len(node.generators) > 1:
                lines.append(node.lineno)
    return lines
