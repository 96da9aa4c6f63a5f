"""What is wrong with files more often than with a model: looked for before every verdict.

Copies, a group that nobody named, splits that groups make lopsided, axes that are exchanged. A user
sees none of these in a table of numbers, and each changes the verdict. (Rows in another order are
suspected by `verdict.decide`, where nothing is predicted.)
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold
from unbraid.checks import check_field, to_index
from unbraid.measures import doubts
from unbraid.measures.independence import are_kinds, group_copies
from unbraid.measures.leakage import differs

from unbraid_own.arrays import Arrays, Inputs

FOLDS = 20  # of groups, which are dealt to the parts of a split
SPLITS = 20  # that are drawn at most, until each factor differs in all parts
UNEVEN = 0.1  # by which the share of a part may be off
GROUP_VALUES, GROUP_ROWS = 30, 20  # at least so many values of at most so many rows are a group
ALIKE = 0.9  # the share of rows with equal codes that have equal factors, of copies
SMOOTH, ROUGH = 0.5, 1.5  # squared steps by variance: of a smooth axis, of a rough one; noise has 2


def suspect(inputs: Inputs) -> tuple[list[str], Inputs]:
    """Sentences on the files, and the inputs with groups of copies, where none are given.

    Groups of one row each say that rows are independent, and are none.
    """
    groups, found = inputs.groups, []
    if groups is None:
        groups = find_copies(inputs.codes, inputs.factors)
        if groups is not None:
            says = f"{len(groups)} rows are {groups.max() + 1} different ones, the others copies"
            found.append(f"{says}, exact or near; they are kept together (--group names groups).")
    elif groups.max() + 1 == len(groups):
        groups = None
    if inputs.left_out:
        listed = ", ".join(f"{name} ({why})" for name, why in inputs.left_out.items())
        found.append(f"Left out are {listed}.")
    for name, code in inputs.codes.items():
        found += doubt_axes(name, code) if code.ndim == 3 else []
    return found, replace(inputs, groups=groups)


def refuse_group(factors: Arrays) -> None:
    """Refuse a factor of many values, of a few rows each, that fix other factors."""
    classes = {n: to_index(n, v) for n, v in factors.items() if v.ndim == 1 and v.dtype.kind != "f"}
    for name, index in classes.items():
        count, fixed = index.max() + 1, []
        for other, each in classes.items():
            kinds = np.unique(np.stack([index, each]), axis=1).shape[1]
            if kinds == count >= 2 * (each.max() + 1):
                fixed.append(other)
        if fixed and count >= GROUP_VALUES and 2 * count <= len(index) <= GROUP_ROWS * count:
            says = f"{count} values of about {len(index) / count:.0f} rows fix {', '.join(fixed)}"
            option = f"--group {name!r} keeps its rows together, --group '' says that it is none"
            raise ValueError(f"{name} looks like a group ({says}): {option}")


def draw_parts(
    shares: Mapping[str, float], factors: Sequence[np.ndarray], groups: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """The rows of each part of a split, as nearly of these shares as whole groups (N,) allow.

    factors: numbers (N, ...) each, which differ in every part if one of some draws has it so. Folds
    of groups, with classes in balance, are dealt to the part that lacks most, the largest first.
    """
    count, folds = len(groups), min(FOLDS, int(groups.max()) + 1)
    check_field(folds >= len(shares), "groups", f"{len(shares)} or more", folds)
    plain = [each for each in factors if each.ndim == 1 and each.dtype.kind in "biu"]
    often = [each for each in plain if np.bincount(to_index("", each)).max() >= folds]
    balanced = max(often, key=lambda each: len(np.unique(each)), default=np.zeros(count, int))
    for draw in range(SPLITS):
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=seed + draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of classes rarer than folds
            tested = [rows for _, rows in cut.split(groups, balanced, groups)]
        lacking = {name: share * count for name, share in shares.items()}
        part_of = np.empty(count, dtype=object)
        for rows in sorted(tested, key=len, reverse=True):
            part_of[rows] = max(lacking, key=lacking.__getitem__)
            lacking[max(lacking, key=lacking.__getitem__)] -= len(rows)
        if all(differs(each, part_of == name) for each, name in product(factors, shares)):
            break
    return {name: np.flatnonzero(part_of == name) for name in shares}


def doubt_parts(parts: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> list[str]:
    """A sentence on each part of a split whose share is far from what it should be."""
    count, found = sum(map(len, parts.values())), []
    for name, rows in parts.items():
        says = f"the {name} split has {len(rows)} of {count} sequences, not {shares[name]:.0%}"
        if abs(len(rows) / count - shares[name]) > UNEVEN:
            found.append(f"{says}, as a group is very large; bring more groups, or part of it.")
    return found


def find_copies(codes: Arrays, factors: Arrays) -> np.ndarray | None:
    """Numbers (N,) of groups of copies, near or exact, in codes and in factors; or None.

    Codes that take few values, such as those of a code book, come again by chance: where codes are
    alike and factors are not, rows are no copies.
    """
    count = len(next(iter(codes.values())))
    units = np.hstack([code.reshape(count, -1) for code in codes.values()])  # (N, P)
    indices = {name: to_index(name, v).reshape(count, -1) for name, v in factors.items()}
    classes = [each[:, 0] for n, each in indices.items() if factors[n].dtype.kind != "f"]
    near = group_copies(units)
    if near.max() + 1 < count and not are_kinds(int(near.max()) + 1, classes):
        return near
    of_codes = np.unique(units, axis=0, return_inverse=True)[1].reshape(-1, 1)
    both = np.unique(np.hstack([of_codes, *indices.values()]), axis=0, return_inverse=True)
    different, groups = of_codes.max() + 1, both[1].ravel()
    is_alike = count - 1 - groups.max() >= ALIKE * (count - different) > 0
    is_fine = any(len(np.unique(unit)) > max(20, different / 2) for unit in units.T)
    return groups if is_alike and is_fine else None


def doubt_axes(name: str, code: np.ndarray) -> list[str]:
    """Sentences on steps (N, T, d): last steps that are equal, and a last axis that is the time."""
    found = [f"{name}: {each}" for each in doubts.doubt_padding(code, "Cut all to one length")]
    steps, units = (
        np.square(np.diff(code, axis=axis)).sum()
        / (code.var(axis).sum() * code.shape[axis] + 1e-99)
        for axis in (1, 2)
    )
    if min(code.shape[1:]) > 3 and units < SMOOTH and steps > ROUGH:
        says = f"{name}: neighbours along the last axis are alike, and along the second are not"
        found.append(f"{says}: are its axes exchanged? x.swapaxes(1, 2) makes (N, T, d) of it.")
    return found
