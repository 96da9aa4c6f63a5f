"""One door to every dataset of the course: `load(name, split)`.

To add a dataset, write a loader (a function of the split that returns `Sequences`) and its row in
`DATASETS`. A set that is downloaded also needs a section in sources.toml.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import NamedTuple

from unbraid.checks import check_name
from unbraid.data import (
    air_quality,
    etth1,
    faces,
    intensive_care,
    moving_digits,
    speech,
    sprites,
    street,
    vowels,
    weather,
)
from unbraid.data.fetch import SOURCES, files, locate
from unbraid.data.sequences import Sequences, check_choice, check_field

from papers.own_copies import OWN, load_aff_wild, load_mug, load_timit, own_folder

THREE = ("train", "validation", "test")
FOUR = ("train", "fit", "validation", "test")  # fit and validation are parts of train


class Dataset(NamedTuple):
    """One row of the catalogue.

    loader   a function of the split and of its own options; the first line of its docstring says
             what the set is
    sources  the names in sources.toml of the files that it reads, the preferred ones first; none
             for a set that is computed, or that each reader must obtain
    splits   the splits that the loader knows
    """

    loader: Callable[..., Sequences]
    sources: tuple[str, ...] = ()
    splits: tuple[str, ...] = ("train", "test")


DATASETS: dict[str, Dataset] = {
    "moving_digits": Dataset(moving_digits.load, ("mnist", "mnist-sample")),
    "sprites": Dataset(sprites.load, ("sprites-li",), FOUR),
    "sprites_poses": Dataset(sprites.load_poses, ("sprites-li",), FOUR),
    "sprites_directions": Dataset(sprites.load_directions, ("sprites-li",), FOUR),
    "faces": Dataset(faces.load, ("cmu-faces",)),
    "street": Dataset(street.load, ("street",)),
    "spoken_digits": Dataset(speech.load, ("fsdd",)),
    "vowels": Dataset(vowels.load, ("vowels",)),
    "weather": Dataset(weather.load, ("weather",), THREE),
    "air_quality": Dataset(air_quality.load, ("beijing-air",), THREE),
    "etth1": Dataset(etth1.load, ("etth1",), THREE),
    "physionet": Dataset(intensive_care.load, ("physionet-2012",), THREE),
    "mug": Dataset(load_mug),
    "timit": Dataset(load_timit),
    "aff_wild": Dataset(load_aff_wild),
}


def load(name: str, split: str = "train", **options: object) -> Sequences:
    """The sequences of a dataset: their frames or series, labels, masks, and what they really are.

    name     one of `DATASETS`
    split    "train" or "test"; some sets also have "validation"
    options  those of the set's own loader, such as `image_size`

    Raises `ValueError` for a name, split or option that there is not, `DataError` where files are
    missing or damaged.
    """
    dataset = get_dataset(name)
    check_choice("split", split, dataset.splits)
    known = list(inspect.signature(dataset.loader).parameters)[1:]
    check_field(set(options) <= set(known), "options", f"for {name} some of {known}", [*options])
    return dataset.loader(split, **options)


def get_dataset(name: str) -> Dataset:
    """The row of a dataset. Raises `ValueError` for a name that is not in the catalogue."""
    check_name("name", name, DATASETS)
    return DATASETS[name]


def check_at_hand(name: str) -> None:
    """Raise `DataError`, with the remedy, unless a dataset's files are here.

    A name that is not in the catalogue is that of computed data.
    """
    if name in OWN:
        own_folder(name)
    sources = DATASETS[name].sources if name in DATASETS else ()
    if sources and not any(map(locate, sources)):
        files(sources[0])  # It raises the error.


def select_sources(names: Iterable[str]) -> list[str]:
    """The sources of `names`, which are datasets (sprites) or sources (sprites-li), each once.

    Raises `ValueError` for a name that is neither, `DataError` for an own copy that is not here.
    """
    selected = []
    for name in names:
        if name in OWN:
            own_folder(name)
        check_name("name", name, dict.fromkeys([*DATASETS, *SOURCES]))
        selected += DATASETS[name].sources if name in DATASETS else [name]
    return list(dict.fromkeys(selected))


def describe(name: str) -> list[str]:
    """Lines that say what a dataset is, and what licence, size and place each source has."""
    dataset = get_dataset(name)
    about = (inspect.getdoc(dataset.loader) or "").partition("\n")[0].replace("`", "")
    lines = [f"{name:<14} {about} [{', '.join(dataset.splits)}]"]
    if name in OWN:
        variable, obtain, layout = OWN[name]
        lines.append(f"    {obtain}; {variable} names its folder: {layout}")
    for source in dataset.sources:
        row, paths = SOURCES[source], locate(source)
        folders = {str(path.parents[file.count("/")]) for file, path in paths.items()}
        place = f"here: {' and '.join(sorted(folders))}"
        if len(paths) < len(row.files):
            place = f"{len(paths)} of {len(row.files)} files here; {row.remedy}"
        lines.append(f"    {source:<14} {row.bytes / 1e6:5.1f} MB  {row.licence}  {place}")
    return lines
