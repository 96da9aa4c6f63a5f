"""The data sets that runs read, by the names that the tables of runs give them.

To add one, write a loader (a function of the split that returns `Sequences`) and its row here. A
set that is downloaded also needs a section in unbraid/data/sources.toml.
"""

from __future__ import annotations

from collections.abc import Callable
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
from unbraid.data.fetch import SOURCES_OF, files, locate
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


class Dataset(NamedTuple):
    """One row: the loader, a function of the split and of its own options, and what it reads.

    sources: the names in sources.toml of the files, the preferred ones first; none for a set that
    is computed, or that each reader must obtain.
    """

    loader: Callable[..., Sequences]
    sources: tuple[str, ...] = ()


DATASETS: dict[str, Dataset] = {}
for name, loader in LOADERS.items():
    DATASETS[name] = Dataset(loader, tuple(SOURCES_OF.get(name, ())))


def get_dataset(name: str) -> Dataset:
    """The row of a dataset. Raises `ValueError` for a name that is not in the table."""
    check_name("name", name, DATASETS)
    return DATASETS[name]


def load(name: str, split: str = "train", **options: object) -> Sequences:
    """The sequences of a split of a dataset; options are those of its loader.

    Raises `ValueError` for a name, split or value that there is not, `DataError` where files are
    missing or damaged.
    """
    return get_dataset(name).loader(split, **options)


def check_at_hand(name: str) -> None:
    """Raise `DataError`, with the remedy, unless a dataset's files are here.

    A name that is not in the table is that of computed data.
    """
    if name in own_copies.OWN:
        own_copies.own_folder(name)
    sources = DATASETS[name].sources if name in DATASETS else ()
    if sources and not any(map(locate, sources)):
        files(sources[0])  # It raises the error.
