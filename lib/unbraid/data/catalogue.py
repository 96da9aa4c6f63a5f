"""One door to every dataset of the course: `unbraid.data.load(name, split)`."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from unbraid.data import sources
from unbraid.data.sequences import Sequences


@dataclass(frozen=True)
class Dataset:
    """One row of the catalogue.

    loader   the function that loads it, as module:function of this package
    folders  the sources it reads (names of `sources.SOURCES`), those preferred first; none for what code draws
    about    one sentence: what it is, and for which set that is not to be had it stands in
    kind     "real", "drawn" (by the library's own code) or "own copy" (lent to those who sign for it)
    splits   what may be asked for
    """

    loader: str
    folders: tuple[str, ...]
    about: str
    kind: str = "real"
    splits: tuple[str, ...] = ("train", "test")


_HELD_OUT = ("train", "validation", "test")
_SPRITES = ("train", "fit", "validation", "test")  # fit and validation are parts of train

DATASETS: dict[str, Dataset] = {
    "moving_digits": Dataset(
        "moving_digits:load_moving_digits",
        ("mnist", "mnist-sample"),
        "two real MNIST digits that travel and bounce, each in a colour of its own; the clone's 5 000 digits, or all of MNIST",
    ),
    "sprites": Dataset(
        "sprites:load_sprites",
        ("sprites-li",),
        "the Sprites benchmark (Y. Li, S. Mandt 2018), composed from its sheets: 1 296 characters, 9 motions of 8 frames",
        splits=_SPRITES,
    ),
    "sprites_poses": Dataset(
        "sprites:load_poses",
        ("sprites-li",),
        "the same 1 296 characters in all 178 poses of their sheets, without an order",
        splits=_SPRITES,
    ),
    "drawn_sprites": Dataset(
        "drawn_sprites:load_drawn_sprites",
        (),
        "characters drawn by this library's code, labelled and laid out as sprites: its stand-in",
        "drawn",
        _SPRITES,
    ),
    "drawn_poses": Dataset(
        "drawn_sprites:load_drawn_poses",
        (),
        "each drawn character's 9 motions as one unordered sequence of 72 frames: the stand-in for sprites_poses",
        "drawn",
        _SPRITES,
    ),
    "faces": Dataset(
        "faces:load_faces",
        ("cmu-faces",),
        "CMU Face Images: 624 photographs of 20 people by pose, expression and eyes",
    ),
    "street": Dataset(
        "street:load_street",
        ("street",),
        "films of two fixed street cameras: the stand-in for 5th Avenue, never published",
    ),
    "spoken_digits": Dataset(
        "speech:load_spoken_digits",
        ("fsdd",),
        "Free Spoken Digit Dataset: 3 000 recordings of 6 speakers: the stand-in for timit",
    ),
    "vowels": Dataset(
        "series:load_vowels",
        ("vowels",),
        "Japanese Vowels: 640 utterances of 9 speakers, 12 cepstra each 7 to 29 steps",
    ),
    "weather": Dataset(
        "weather:load_weather",
        ("weather",),
        "hourly weather of 3 New York airports in 2013",
        splits=_HELD_OUT,
    ),
    "air_quality": Dataset(
        "series:load_air_quality",
        ("beijing-air",),
        "hourly air quality at 12 stations of Beijing, 2013 to 2017",
        splits=_HELD_OUT,
    ),
    "etth1": Dataset(
        "series:load_etth1",
        ("etth1",),
        "an electricity transformer's hourly loads and oil temperature, 2016 to 2018",
        splits=_HELD_OUT,
    ),
    "physionet": Dataset(
        "clinical:load_physionet",
        ("physionet-2012",),
        "PhysioNet Challenge 2012, set A: 4 000 stays in intensive care",
        splits=_HELD_OUT,
    ),
    "mug": Dataset(
        "own_copies:load_mug",
        (),
        "MUG Facial Expression Database: clips of 52 people with six expressions",
        "own copy",
    ),
    "timit": Dataset(
        "own_copies:load_timit", (), "TIMIT: 6 300 sentences read by 630 speakers", "own copy"
    ),
    "aff_wild": Dataset(
        "own_copies:load_aff_wild",
        (),
        "Aff-Wild: films of faces, with valence and arousal of each frame",
        "own copy",
    ),
}


def load(name: str, split: str = "train", **options: object) -> Sequences:
    """The sequences of a dataset: their frames or series, labels, masks, and a sentence on the data really used.

    name     one of `DATASETS`
    split    "train" or "test"; some sets also have "validation"
    options  those of the set's own loader, such as `image_size`; its docstring (`loader(name)`) tells of them

    Raises `ValueError` for a name, split or option that there is not, `DataError` where the files are missing or damaged.
    """
    row, function = dataset(name), loader(name)
    if split not in row.splits:
        raise ValueError(f"split: expected for {name} {_one_of(row.splits)}, found {split!r}")
    known = [option for option in inspect.signature(function).parameters if option != "split"]
    if unknown := [option for option in options if option not in known]:
        raise ValueError(
            f"options: expected for {name} some of {', '.join(known)}, found {', '.join(unknown)}"
        )
    return function(split, **options)


def dataset(name: str) -> Dataset:
    """The row of `name`. Raises `ValueError` for a name that is not in the catalogue."""
    if name not in DATASETS:
        raise ValueError(f"name: expected {_one_of(DATASETS)}, found {name!r}")
    return DATASETS[name]


def loader(name: str) -> Callable[..., Sequences]:
    """The function that loads `name`, called with a split and options. Only its own module is imported."""
    module, function = dataset(name).loader.split(":")
    return getattr(importlib.import_module(f"unbraid.data.{module}"), function)


def folders(names: Iterable[str]) -> list[str]:
    """The sources of `names`, which are datasets (sprites) or sources (sprites-li), each once and in this order.

    Raises `DataError` for a name that is neither, and for a set that each reader must obtain.
    """
    found: dict[str, None] = {}
    for name in names:
        row = DATASETS.get(name)
        if row and row.kind == "own copy":
            raise sources.problem(
                f"{name}: cannot be fetched",
                "your own copy",
                "a set that is only lent",
                _obtain(name),
            )
        if not row and name not in sources.SOURCES:
            known = ", ".join(dict.fromkeys([*DATASETS, *sources.SOURCES]))
            raise sources.problem(
                "dataset: not known", f"one of {known}", repr(name), "use a name of the list"
            )
        found |= dict.fromkeys(row.folders if row else (name,))
    return list(found)


def describe(name: str) -> list[str]:
    """The lines on a dataset in `python -m unbraid data list`: what it is, its splits; of each source licence, bytes, and where it is."""
    row = dataset(name)
    lines = [f"{name:<14} {row.kind}: {row.about} [{', '.join(row.splits)}]"]
    if row.kind == "own copy":
        lines.append(f"    {_obtain(name)}")
    if row.kind == "drawn":
        lines.append("    here: no files")
    for folder in row.folders:
        source = sources.SOURCES[folder]
        try:
            here = sources.find(folder, partial=True)
        except sources.DataError:  # the other lines are still worth reading
            state = f"damaged; python -m unbraid data verify {folder}"
        else:
            state = f"here: {' and '.join(map(str, sources.homes(here)))}"
            if len(here) < len(source.files):
                state = f"{len(here)} of {len(source.files)} files here" if here else "not here"
                state += f"; python -m unbraid data fetch {folder}"
        size = sum(file.bytes for file in source.files) / 1e6
        lines.append(f"    {folder:<14} {size:5.1f} MB  {source.licence}  {state}")
    return lines


def _obtain(name: str) -> str:
    from unbraid.data.own_copies import OWN  # late: with it comes all that reads pictures and sound

    variable, obtain, meanwhile = OWN[name]
    here = (
        f"; {variable} names {os.environ[variable]}"
        if os.environ.get(variable)
        else f"; then set {variable} to its folder"
    )
    return f"{obtain}{here}; meanwhile use {meanwhile}"


def _one_of(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
