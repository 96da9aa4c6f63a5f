"""Anybody's own data as `Sequences`: films, pictures, recordings, arrays, or a table of series.

`load` is a pipeline: find the sequences, add labels, draw the splits, cut clips, assemble.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from unbraid import checks
from unbraid.checks import check_field, check_name, check_names, check_seed, check_whole, fold
from unbraid.data.sequences import Sequences
from unbraid.data.series import make_series
from unbraid.data.speech import SpectrumScale
from unbraid.measures.doubts import doubt_factor
from unbraid.support.progress import progress_bar
from unbraid.support.readable import Readable

from unbraid_own import own_files, own_tables
from unbraid_own.arrays import join_names
from unbraid_own.own_files import RawSequences, Values
from unbraid_own.own_tables import Encoded

SPLITS = ("train", "validation", "test")
SPLIT_ENDS = (0.7, 0.85)  # of the training and the validation split, as shares
FEWEST_TESTED = 20  # of what the split keeps together, in the test; with fewer all is left open
ENOUGH = 4 * FEWEST_TESTED  # in all: from here on as many as that are tested
DRAWS = 100  # of the split, of which the best is taken
LENGTHS = range(8, 25)  # frames of a clip of films, if that many are in each
LOST = 0.05  # of the frames, which a usual length may leave out
LONGEST = 1000  # steps of a sequence that nobody asked to cut
ROUNDING = 1e-9  # by which equal values of a variable may differ, as a share of the largest
FEWEST_LEVELS = 16  # of 255, from the darkest value of frames to the brightest
SAID = 100  # MB of memory from which on they are said


@dataclass(frozen=True, repr=False)
class OwnData(Readable):
    """What was read, in three splits that share no film, folder, file or id.

    notes are sentences on what was found and what was done to it.
    """

    splits: dict[str, Sequences]  # "train", "validation" and "test"
    notes: list[str]
    names: dict[str, list[str]]  # by split of each sequence, as "walk.mp4 #3", a film's third clip
    kind: str = ""  # "films", "folders", "recordings", "rows" of an array, or "series"
    scale: SpectrumScale | None = None  # of recordings: by it spectra become magnitudes again
    sources: dict[str, list[int]] = field(default_factory=dict)  # what splits keep together of each
    unit: str = ""  # of these: the kind, or "groups of person"
    side: int = 0  # of frames: pixels of the shorter side, before they were scaled
    columns: Sequence[str] = ()  # of series: the names of their variables
    units: np.ndarray | None = None  # of series: mean, deviation (2, D) behind their z-scores
    times: dict[str, list[pd.Index]] = field(default_factory=dict)  # of each series' steps
    taken: list[tuple[str, str]] = field(default_factory=list)  # what the file was taken for

    def table(self) -> list[tuple[str, ...]]:
        """A row for each split, what the file was taken for, then the notes."""
        rows = [sequences.table()[0] for sequences in self.splits.values()]
        return [*rows, *self.taken, *((note,) for note in self.notes)]


@dataclass(frozen=True)
class Reading:
    """How `load` reads a file or a folder: its options.

    labels       a csv file: the first column names films, folders, files or ids, each other one is
                 a label; where names repeat, a column time or frame makes labels of steps. By
                 default labels.csv in the folder. Text and whole numbers are classes
    id_column    of a csv file of series: which column tells them apart; guessed by its name
    time_column  likewise: which column orders a series
    group        the label whose classes are kept together by the split, such as a person
    dynamic      labels of the motion; what is no label is refused before large files are read
    size         height and width of frames
    fit          "crop": frames are cut to their middle square; "pad": they get black borders
    length       steps of a clip; by default about 16 for films, such that few frames are left out,
                 and the others whole
    stride       steps from the beginning of a clip to that of the next; by default `length`, or
                 where a film or two have to be cut by time, a quarter of it, or a half
    seed         of the split
    """

    labels: Path | str | None = None
    id_column: str | None = None
    time_column: str | None = None
    group: str | None = None
    dynamic: Sequence[str] | None = None
    size: int = 32
    fit: str = "crop"
    length: int | None = None
    stride: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_name("size", self.size, (8, 16, 32, 64, 128, 256))
        check_name("fit", self.fit, ("crop", "pad"))
        check_seed(self.seed)
        given = ("labels", "id_column", "time_column", "group")
        checks.check_type((str, PathLike, type(None)), **{n: getattr(self, n) for n in given})
        check_whole(2, length=2 if self.length is None else self.length)
        check_whole(1, stride=1 if self.stride is None else self.stride)


def load(path: Path | str, **options: Any) -> OwnData:
    """Read anybody's own sequences and split them 70 : 15 : 15 so that nothing leaks.

    path: a folder of films (mp4, m4v, mov, webm, gif, avi, mkv), or one film; a folder with one
        folder of pictures per sequence; a folder of recordings (wav, flac); an npy or npz file with
        frames (N, T, C, H, W) or (N, T, H, W, C), or series (N, T, D), which may also hold a mask,
        True where values were observed, or lengths (N,), and labels (N,) or (N, T); a csv file of
        series.
    options: the fields of `Reading`.

    Films and pictures become bytes (N, T, 3, size, size), grey where they are transparent; each
    frame is a step, whatever the films' frame rates. Recordings become chunks as in
    `unbraid.data.speech`, series z-scores by the training split. What is missing or after the end
    is 0 and not in the mask. Frames take twice their bytes while they are read, overlapping clips
    of several films more; what is not free is refused before.
    Raises `ValueError` in one sentence that names the file and the remedy.
    """
    checks.check_path(path=path)
    check_names("options", options, [each.name for each in fields(Reading)])
    how, path = Reading(**options), Path(path)
    raw = add_label_file(find(path, how), path, how)
    labels = own_tables.encode_labels(raw.static), own_tables.encode_labels(raw.dynamic)
    known = labels[0] | labels[1]
    check_names("dynamic", join_names(how.dynamic, known) or (), known)
    parts = draw_parts(raw, labels[0], how)
    how = choose_clips(raw, parts, how)
    check_memory(raw, how)
    clips, notes = cut(raw, parts.split, how)
    data = assemble(raw, clips, labels, f"own data from {path.name}")
    counts = {len(clip.sequence[1]) for clip in clips}
    taken = [*own_tables.describe_source(raw, counts, *labels), *data.taken]
    notes = [*raw.notes, *parts.notes, *notes, *data.notes]
    for name, (numbers, classes) in known.items():
        values = numbers if classes is None else np.array(classes)[numbers]
        notes += [f"Careful: {doubt}." for doubt in doubt_factor(name, values)]
    for number, name in enumerate(SPLITS):
        chosen = [clip for clip in clips if clip.split == number]
        data.names[name] = [clip.name for clip in chosen]
        data.sources[name] = [int(parts.owner[clip.number]) for clip in chosen]
        if raw.times is not None:
            data.times[name] = [raw.times[clip.number][clip.window] for clip in chosen]
    side = min((min(size) for size in raw.sizes), default=0)
    return replace(data, unit=parts.unit, taken=taken, notes=notes, side=side)


def find(path: Path, how: Reading) -> RawSequences:
    """The sequences of a folder or a file, by its name."""
    suffix, films = path.suffix.lower(), own_files.SUFFIXES["films"]
    if path.is_file() and suffix == ".csv":
        return own_tables.find_series(path, how.id_column, how.time_column)
    check_field(how.id_column is None, "id_column", "a csv file, which has columns", path.name)
    if path.is_dir():
        raw = own_files.find_in_folder(path, how.size, how.fit)
        is_cut = raw.kind != "recordings" or not (how.length or how.stride)
        steps = how.length, how.stride
        check_field(is_cut, "length, stride", "none, since chunks have 200 ms", steps)
        return raw
    if path.is_file() and suffix in (".npy", ".npz"):
        return own_tables.find_arrays(path, how.size, how.fit)
    expected = f"a folder, or a file {', '.join(films)}, .npy, .npz or .csv"
    found = path.name if path.is_file() else f"no {path}"
    check_field(path.is_file() and suffix in films, "path", expected, found)
    return own_files.find_films([path], how.size, how.fit)


def add_label_file(raw: RawSequences, path: Path, how: Reading) -> RawSequences:
    """The sequences with the labels of the file that is named, or that lies in the folder."""
    file = Path(how.labels or path / own_files.LABELS)
    check_field(how.labels is None or file.is_file(), "labels", "a csv file", f"no {file}")
    return own_tables.add_label_file(file, raw, how.time_column) if file.is_file() else raw


class Parts(NamedTuple):
    """How U sequences are split."""

    owner: np.ndarray  # the number (U,) of what the split keeps together of each
    unit: str  # what these are: the kind, or "groups of person"
    split: np.ndarray | None  # the number (U,) of the split of each; None: each is cut by time
    notes: list[str]


def draw_parts(raw: RawSequences, static: Encoded, how: Reading) -> Parts:
    """Which split each sequence is in.

    Of `DRAWS` draws it is the first whose training split lacks the fewest classes. From `ENOUGH` on
    as many are tested as a conclusion needs.
    """
    group, owner, unit = how.group, np.arange(len(raw.names)), raw.kind
    if group is not None:
        expected = "a label with a value of each (text in the file, or --labels)"
        check_field(len(raw.static.columns), "group", expected, f"{group!r}, and no labels")
        check_name("group", group, raw.static)
        owner, unit = pd.factorize(raw.static[group].map(fold))[0], f"groups of {group}"
    count, can_cut = owner.max() + 1, group is None and raw.kind != "recordings"
    if count < 3 and can_cut and (how.length or raw.counts):
        note = f"Because there are fewer than 3 {unit}, each is split by time, 70 : 15 : 15, with a"
        return Parts(owner, unit, None, [f"{note} gap of one clip between the splits."])
    remedy = ", or a length (--length) to cut them by time" if can_cut else ""
    check_field(count >= 3, "group" if group else "path", f"3 {unit} or more{remedy}", count)

    random = np.random.default_rng(how.seed)
    tests = others = max(1, round((1 - SPLIT_ENDS[1]) * count))
    if count >= ENOUGH:
        tests = max(tests, FEWEST_TESTED)
    lots = [random.permutation(count)[owner] for _ in range(DRAWS)]
    draws = [2 - np.digitize(each, [tests, tests + others]) for each in lots]
    split = min(draws, key=lambda draw: sum(map(len, find_unseen(static, draw).values())))
    shares = f"{count - tests - others} train, {others} validate, {tests} test"
    notes = [f"No two splits share {unit}: {shares}."]
    if tests < FEWEST_TESTED:
        hint = ", or leave out --group" if group else ""
        few = f"Careful: {tests} {unit} in the test split are too few for the report to conclude"
        notes.append(f"{few} what the codes contain; bring {ENOUGH}{hint}.")
    for name, classes in find_unseen(static, split).items():
        if name != group:
            found = f"Careful: {len(classes)} classes of {name} never occur in training"
            says = "no model can learn these, and a label that names the split is no factor"
            notes.append(f"{found} ({', '.join(classes[:3])}): {says}.")
    return Parts(owner, unit, split, notes)


def find_unseen(static: Encoded, part: np.ndarray) -> dict[str, list[str]]:
    """By label the classes that occur, but not in training, if there are any."""
    unseen = {}
    for name, (numbers, classes) in static.items():
        missing = np.setdiff1d(numbers, numbers[part == 0])
        if classes is not None and len(missing):
            unseen[name] = [classes[number] for number in missing]
    return unseen


def choose_clips(raw: RawSequences, parts: Parts, how: Reading) -> Reading:
    """The options with the length of clips and the stride that are meant where none are given."""
    length, stride, usual = how.length or raw.length, how.stride, raw.length or 0
    if raw.counts and not how.length:
        counts = np.maximum(raw.counts, 2)
        lengths = [each for each in LENGTHS if each <= counts.min()] or [int(counts.min())]
        lost = {each: (counts % each).sum() for each in lengths}
        is_lost = counts.min() < usual or lost[usual] > LOST * counts.sum()
        if parts.split is not None and is_lost:
            length = min(lengths, key=lambda each: (lost[each], abs(each - usual)))
    if parts.split is None and length:
        stride = stride or max(1, length // (4 if len(raw.names) == 1 else 2))
    expected = "a length (--length) beside it, since none is cut without"
    check_field(length or not stride, "stride", expected, "none")
    return replace(how, length=length, stride=stride)


def check_memory(raw: RawSequences, how: Reading) -> None:
    """Say how much memory frames take, and refuse what is not free."""
    import psutil  # imported lazily, because only frames need it

    overlap = how.length / how.stride if how.length and how.stride and len(raw.names) > 1 else 1
    need, free = (1 + max(1, overlap)) * raw.planes * how.size**2 / 1e6, psutil.virtual_memory()
    expected = f"at most {free.available / 1e6:.0f} MB, which are free"
    found = f"{need:.0f} MB for {raw.kind}; a smaller --size or --length, or fewer files, need less"
    check_field(need < free.available / 1e6, "memory", expected, found)
    if need > SAID:
        print(f"Reading the {raw.kind} takes about {need:.0f} MB of memory.")


def describe_sizes(sizes: set[tuple[int, int]], fit: str) -> list[str]:
    """A sentence on what frames of these widths and heights lose, if they are not square."""
    side, change = (max, "with black borders to") if fit == "pad" else (min, "cut to the middle")
    uneven = ((w, h, side(w, h)) for w, h in sorted(sizes) if w != h)
    texts = [f"{w} x {h}, {change} {kept} x {kept}" for w, h, kept in uneven]
    return [f"Frames: {own_tables.list_some(texts)}."] if texts else []


class Clip(NamedTuple):
    """Some steps of a sequence; several clips of one sequence are counted in their names."""

    number: int  # of the sequence
    name: str
    split: int
    window: slice  # its steps
    sequence: Values  # the whole
    values: np.ndarray
    observed: np.ndarray


def cut(raw: RawSequences, part: np.ndarray | None, how: Reading) -> tuple[list[Clip], list[str]]:
    """Read the sequences, one after another, and cut them into clips, or take them whole; notes.

    Refuses one of fewer than two observed steps, and one too long to be taken whole.
    """
    length, clips, counts, unused = how.length, [], [], 0
    for number in progress_bar(range(len(raw.names)), f"reading {raw.kind}"):
        values, observed = raw.read(number)
        sequence, count, name = (values, observed), len(observed), raw.names[number]
        seen, expected = observed.sum(), "2 observed steps or more in each"
        found = f"{seen} in {name}" + " (axes are sequences, steps, variables)" * (count == 1)
        check_field(seen > 1, raw.kind, expected, found)
        expected = f"at most {LONGEST} steps in each, or a length (--length) of clips"
        check_field(length or count <= LONGEST, raw.kind, expected, f"{count} in {name}")
        steps = length or count
        split = None if part is None else int(part[number])
        starts = list_starts(count, steps, how.stride or steps, split)
        starts = [pair for pair in starts if observed[pair[0] : pair[0] + steps].sum() > 1]
        is_used = np.zeros(count, bool)
        for place, (start, owner) in enumerate(starts, 1):
            window = slice(start, min(start + steps, count))
            is_used[window] = True
            clip = name + f" #{place}" * (len(starts) > 1)
            parts = values[window], observed[window]
            clips.append(Clip(number, clip, owner, window, sequence, *parts))
        unused += int((~is_used & observed).sum())
        counts.append(count)

    sizes, notes = np.bincount([clip.split for clip in clips], minlength=3), []
    expected = f"clips of {length} steps in each split (a smaller --length, or more {raw.kind})"
    check_field(sizes.min() > 0, "length", expected, f"at most {max(counts)} steps")
    if length and length > max(counts):
        notes.append(f"No sequence has {length} steps; each is taken whole.")
    if len(clips) > len(counts):
        said = f"They are cut into {len(clips)} clips of {length} steps, one every"
        shares = f"{sizes[0]} train, {sizes[1]} validate, {sizes[2]} test"
        notes.append(f"{said} {how.stride or length}: {shares}.")
    if unused and part is not None:
        share = f"{unused / sum(counts):.1%} of the steps are in no clip"
        remedy = "another length (--length) or a smaller stride (--stride) keeps them"
        notes.append(f"{share}; {remedy}.")
    return clips, [*notes, *name_copies(raw, clips), *describe_sizes(raw.sizes, how.fit)]


def name_copies(raw: RawSequences, clips: list[Clip]) -> list[str]:
    """A sentence on sequences that are equal but not in one split, if there are any."""
    first: dict[bytes, Clip] = {}
    pairs = []
    for clip in {clip.number: clip for clip in clips}.values():
        same = first.setdefault(sha256(clip.sequence[0].tobytes()).digest(), clip)
        if same.split != clip.split:
            pairs.append(f"{raw.names[clip.number]} ({raw.names[same.number]})")
    said = "are copies of others in another split, so that the test is not new to the model"
    return [f"Careful: {own_tables.list_some(pairs)} {said}; remove them."] if pairs else []


def list_starts(count: int, length: int, stride: int, split: int | None) -> list[tuple[int, int]]:
    """The first step and the split of each clip of a sequence of `count` steps.

    split: that of the whole sequence; None: it is cut by time, and between the clips of two splits
    lies the length of a clip, since neighbouring frames are alike.
    """
    if split is None:
        one, two = (int(share * count) for share in SPLIT_ENDS)
        spans = [(0, one, 0), (one + length, two, 1), (two + length, count, 2)]
    else:
        spans = [(0, max(count, length), split)]
    starts = []
    for first, end, number in spans:
        starts += [(start, number) for start in range(first, end - length + 1, stride)]
    return starts


def assemble(
    raw: RawSequences, clips: list[Clip], labels: tuple[Encoded, Encoded], about: str
) -> OwnData:
    """The three splits, their clips padded to one length with what was not observed."""
    (static, dynamic), owner = labels, np.array([clip.number for clip in clips])
    steps = max(len(clip.observed) for clip in clips)
    known = {name: numbers[owner] for name, (numbers, _) in static.items()}
    for name, (numbers, _) in dynamic.items():
        known[name] = label_steps(name, numbers, raw, clips)
    classes = {name: names for name, (_, names) in (static | dynamic).items() if names is not None}
    split = np.array([clip.split for clip in clips])
    parts = {name: np.flatnonzero(split == number) for number, name in enumerate(SPLITS)}

    splits, notes, units, scale = {}, [], None, None
    if raw.columns:
        values = stack(clips, steps)[0].numpy()
        train = values[parts["train"]].astype(np.float64)
        check_variables(train, raw.columns)
        notes.append("Values are z-scores by the mean and deviation of the training split.")
        units = np.stack([np.nanmean(train, (0, 1)), np.nanstd(train, (0, 1))])
        for name in SPLITS:
            splits[name] = make_series(values, parts, name, known, classes, about)
    else:
        if raw.kind != "recordings":
            wholes = {clip.number: clip.sequence[0] for clip in clips}.values()  # (T, C, H, W) each
            ends = np.array([(x.min((0, 2, 3)), x.max((0, 2, 3))) for x in wholes], int)
            span = (ends[:, 1].max(0) - ends[:, 0].min(0)).max()
            check_field(span > 0, raw.kind, "frames that differ", "one colour in all of them")
            found = f"Careful: frames have hardly any contrast, {span} of 255: if they were"
            remedy = "saved with more than 8 bits per colour, scale them to 8 bits"
            notes += [f"{found} {remedy}."] * bool(span < FEWEST_LEVELS)
        is_whole = raw.kind != "recordings" and all(clip.observed.sum() == steps for clip in clips)
        for name, rows in parts.items():
            frames, observed = stack([clips[row] for row in rows], steps)
            of_rows = {label: torch.from_numpy(numbers[rows]) for label, numbers in known.items()}
            mask, source = None if is_whole else observed, f"{about}, {name} split"
            kinds = tuple(static), tuple(dynamic), name, source, mask, classes
            splits[name] = Sequences(frames, of_rows, *kinds)
    if raw.kind == "recordings":
        notes.append("Spectra are logarithms, whitened by the training split.")
        scale = SpectrumScale.fit(splits["train"])
        splits = {name: scale.transform(chunks) for name, chunks in splits.items()}
    missing = torch.cat([~sequences.observed.flatten() for sequences in splits.values()])
    share = f"{float(missing.float().mean()):.1%}, left out by the mask" * bool(missing.any())
    taken = [("missing, or after the end", share or "none")]
    return OwnData(
        splits, notes, {}, raw.kind, scale, columns=raw.columns, units=units, taken=taken
    )


def stack(clips: list[Clip], steps: int) -> tuple[Tensor, Tensor]:
    """The values (N, T, ...) of clips, and what was observed (N, T); ends are filled up."""
    sequence = clips[0].sequence
    starts = [clip.window.start for clip in clips]
    gaps = set(np.diff(starts).tolist())
    is_one = all(clip.sequence is sequence and len(clip.observed) == steps for clip in clips)
    if is_one and len(gaps) == 1:
        # Windows on one film, which take no memory of their own.
        wholes = [torch.from_numpy(whole[starts[0] : starts[-1] + steps]) for whole in sequence]
        frames, seen = (whole.unfold(0, steps, *gaps).movedim(-1, 1) for whole in wholes)
        return frames, seen
    empty = 0 if sequence[0].dtype == np.uint8 else np.nan
    values = np.full((len(clips), steps, *sequence[0].shape[1:]), empty, sequence[0].dtype)
    observed = np.zeros((len(clips), steps), bool)
    for row, clip in enumerate(clips):
        values[row, : len(clip.observed)] = clip.values
        observed[row, : len(clip.observed)] = clip.observed
    if values.dtype == np.uint8:
        values[~observed] = 0
    return torch.from_numpy(values), torch.from_numpy(observed)


def label_steps(name: str, numbers: np.ndarray, raw: RawSequences, clips: list[Clip]) -> np.ndarray:
    """A label of steps for each clip (N, T); where nothing was observed it keeps its last value."""
    column = pd.Series(numbers, raw.dynamic[name].index)
    values = {owner: part.droplevel(0) for owner, part in column.groupby(level=0)}
    steps = max(len(clip.observed) for clip in clips)
    rows = []
    for clip in clips:
        sequence, count = raw.names[clip.number], len(clip.sequence[1])
        times = pd.RangeIndex(count) if raw.times is None else raw.times[clip.number]
        times = times[clip.window]
        written, is_counted = values[sequence], raw.times is None
        row = written.reindex(times)
        lacks = row.isna().to_numpy() & clip.observed
        expected = "a value at each step" + ", counted from 0" * is_counted
        where = f"the label {name} of {sequence}"
        check_field(not lacks.any(), where, expected, f"none at {times[lacks.argmax()]}")
        found = f"{len(written)} labels for {count} steps"
        check_field(not is_counted or written.index.max() < count, where, expected, found)
        row = row.ffill().bfill().to_numpy(numbers.dtype)
        rows.append(np.pad(row, (0, steps - len(row)), "edge"))
    return np.stack(rows)


def check_variables(train: np.ndarray, columns: Sequence[str]) -> None:
    """Refuse variables of which the training split (N, T, D) has no two values, rounding apart."""
    values = pd.DataFrame(train.reshape(-1, len(columns)), columns=columns)
    differ = values.max() - values.min() > ROUNDING * values.abs().max()
    expected = "different values in the training split, or no such column"
    names, found = differ.index[~differ], "none or one"
    if len(names) and values[names[0]].nunique() > 1:
        found = "differences of less than a billionth of their size (subtract a constant)"
    check_field(differ.all(), ", ".join(names[:3]), expected, found)
