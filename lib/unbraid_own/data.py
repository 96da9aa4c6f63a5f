"""Anybody's own sequences, read, labelled and split, as `Sequences`.

`load` reads a folder of clips or a csv file of series, and says in a table what it takes them for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from unbraid.checks import check_field, check_path, check_seed, fold
from unbraid.data.sequences import Sequences
from unbraid.data.series import make_series
from unbraid.support.readable import Readable

from unbraid_own import clips, series, suspicion
from unbraid_own.series import LABELS, Encoded, Found, list_some

SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}  # of the sequences


@dataclass(frozen=True, repr=False)
class OwnData(Readable):
    """What was read, in three splits that share no clip, series or group."""

    splits: dict[str, Sequences]  # "train", "validation" and "test"
    names: dict[str, list[str]]  # by split, of each sequence
    owners: dict[str, np.ndarray]  # by split, the number of what each is kept together with
    taken: list[tuple[str, str]]  # what the files were taken for

    @property
    def count(self) -> int:
        """How many clips, series or groups there are that are independent of each other."""
        return len(np.unique(np.concatenate([*self.owners.values()])))

    def table(self) -> list[tuple[str, ...]]:
        """What the files were taken for, a row each."""
        return [*self.taken]


def load(
    path: Path | str, labels: Path | str | None = None, group: str | None = None, seed: int = 0
) -> OwnData:
    """Read anybody's own sequences and split them 70 : 15 : 15 so that nothing leaks.

    path: a folder with a film (mp4, m4v, mov) or a folder of pictures (png, jpg) for each clip, or
        a csv file of series with columns id and time.
    labels: a csv file with a column id, and time where they change; by default labels.csv in the
        folder. Text and whole numbers are classes, numbers with a decimal point are measured.
    group: the label whose classes are kept together by the split, such as a person.
    seed: of the split.

    Frames become bytes (N, T, 3, 32, 32), series z-scores by the training split. What is missing or
    after the end is 0 and not in the mask. Raises `ValueError` in one sentence that names the file
    and what makes it readable.
    """
    check_path(path=path)
    check_seed(seed, 2**32 - 1)
    path = Path(path)
    is_read = path.is_dir() or (path.is_file() and path.suffix.lower() == ".csv")
    expected = "a folder of clips, or a csv file with columns id and time"
    given = path.name if path.exists() else f"nothing at {path}"
    check_field(is_read, "data", f"{expected} ({clips.name_remedy([path])})", given)
    found = clips.find_clips(path) if path.is_dir() else series.find_series(path)
    file, taken = Path(labels or path / LABELS), [*found.taken]
    known: dict[str, Encoded] = {}
    check_field(labels is None or file.is_file(), "labels", "a csv file", f"nothing at {file}")
    if file.is_file():
        known, doubt = series.read_labels(file, found.names, found.times)
        taken += [("doubt", doubt)] * bool(doubt)
    for name, (each, classes) in known.items():
        kind = f"{len(classes)} classes: {list_some(classes)}" if classes else "measured"
        taken.append((f"label {name}", kind + ", of each step" * (each.ndim > 1)))
    owners, unit = find_owners(found, known, group)
    numbers = {name: each for name, (each, _) in known.items()}
    varied = [each for name, each in numbers.items() if name != group]
    rows = suspicion.draw_parts(SHARES, varied, owners, seed)
    sizes = ", ".join(f"{len(rows[name])} {name}" for name in SHARES)
    taken.append(("split", f"{sizes}; no two share {unit}"))
    taken += [("doubt", doubt) for doubt in suspicion.doubt_parts(rows, SHARES)]

    values, observed = pad(found.read(), bool(found.columns))
    of_classes = {name: names for name, (_, names) in known.items() if names is not None}
    splits, about = {}, f"own data from {path.name}"
    for name, chosen in rows.items():
        if found.columns:
            splits[name] = make_series(values, rows, name, numbers, of_classes, about)
            continue
        mask = None if observed.all() else torch.from_numpy(observed[chosen])
        own = {label: torch.as_tensor(each[chosen]) for label, each in numbers.items()}
        still = tuple(label for label, each in own.items() if each.ndim == 1)
        moving = tuple(label for label in own if label not in still)
        frames, source = torch.from_numpy(values[chosen]), f"{about}, {name} split"
        splits[name] = Sequences(frames, own, still, moving, name, source, mask, of_classes)
    names = {name: np.array(found.names)[chosen].tolist() for name, chosen in rows.items()}
    return OwnData(splits, names, {name: owners[chosen] for name, chosen in rows.items()}, taken)


def find_owners(
    found: Found, labels: dict[str, Encoded], group: str | None
) -> tuple[np.ndarray, str]:
    """The numbers (N,) of what a split keeps together, and what that is."""
    owners, unit = found.names, found.taken[0][0]
    if group:
        values, classes = labels.get(group, (np.zeros(0), None))
        expected = f"a label with a class of each sequence, of {list_some(labels) or 'no labels'}"
        check_field(classes is not None and values.ndim == 1, "group", expected, group)
        owners = [fold(np.array(classes)[value]) for value in values]
        unit = f"groups of {group}"
    expected = f"three {unit} or more, since the parts of one are not independent"
    check_field(len({*owners}) >= 3, "data", expected, len({*owners}))
    return np.unique(owners, return_inverse=True)[1], unit


def pad(sequences: Sequence[np.ndarray], is_series: bool) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (N, T, ...) of one length, and which steps (N, T) they have."""
    steps, first = max(map(len, sequences)), sequences[0]
    empty = np.nan if is_series else 0
    values = np.full((len(sequences), steps, *first.shape[1:]), empty, first.dtype)
    observed = np.zeros((len(sequences), steps), bool)
    for number, each in enumerate(sequences):
        values[number, : len(each)], observed[number, : len(each)] = each, True
    return values, observed
