"""The data sets that runs read, by the names that the tables of runs give them.

To add one, write a loader (a function of the split that returns `Sequences`) and its row here. A
set that is downloaded also needs a section in unbraid/data/sources.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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
from unbraid.data.fetch import SOURCES_OF, DataError, files, locate
from unbraid.data.sequences import Sequences

from papers import own_copies

LOADERS: dict[str, Callable[..., Sequences]] = {
    "moving_digits": moving_digits.load,
    "sprites": sprites.load,
    "sprites_poses": sprites.load_poses,
    "sprites_directions": sprites.load_directions,
    "faces": faces.load,
    "street": street.load,
    "spoken_digits": speech.load,
    "vowels": vowels.load,
    "weather": weather.load,
    "air_quality": air_quality.load,
    "etth1": etth1.load,
    "physionet": intensive_care.load,
    "mug": own_copies.load_mug,
    "timit": own_copies.load_timit,
    "aff_wild": own_copies.load_aff_wild,
}


def get_loader(name: str) -> Callable[..., Sequences]:
    """The loader of a dataset. Raises `ValueError` for a name that is not in the table."""
    check_name("name", name, LOADERS)
    return LOADERS[name]


def sources_of(name: str) -> tuple[str, ...]:
    """The names in sources.toml of a dataset's files, the preferred ones first.

    There are none for a set that is computed, or that each reader must obtain.
    """
    return tuple(SOURCES_OF.get(name, ()))


def load(name: str, split: str = "train", **options: object) -> Sequences:
    """The sequences of a split of a dataset; options are those of its loader.

    Raises `ValueError` for a name, split or value that there is not, `DataError` where files are
    missing or damaged.
    """
    return get_loader(name)(split, **options)


def check_at_hand(name: str) -> None:
    """Raise `DataError`, with the remedy, unless a dataset's files are here.

    A name that is not in the table is that of computed data.
    """
    if name in own_copies.OWN:
        own_copies.own_folder(name)
    sources = sources_of(name)
    if sources and not any(map(locate, sources)):
        files(sources[0])  # It raises the error.


def find_absent(names: Iterable[str]) -> dict[str, DataError]:
    """The datasets whose files are not here, each with the error that says how to get them."""
    absent = {}
    for name in names:
        try:
            check_at_hand(name)
        except DataError as error:
            absent[name] = error
    return absent
