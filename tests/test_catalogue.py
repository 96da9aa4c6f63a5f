"""Datasets by name: what each opens, and what is refused."""

import pytest
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES_OF

from papers.datasets import LOADERS, load

OWN_COPIES = ("mug", "timit")


def test_every_source_has_a_dataset_and_every_dataset_its_sources():
    assert set(SOURCES_OF) == {"moving_digits", *LOADERS} - set(OWN_COPIES)
    assert all(source.datasets for source in fetch.SOURCES.values())


@pytest.mark.parametrize("name", ["faces", "spoken_digits", "air_quality", "etth1", "physionet"])
def test_missing_files_are_named_with_what_brings_them(name, data_of_the_clone):
    with pytest.raises(fetch.DataError, match=f"data fetch {SOURCES_OF[name][0]}"):
        load(name, "test")


@pytest.mark.parametrize(
    ("field", "arguments", "options"),
    [
        ("name.*did you mean sprites", ("Sprites",), {}),
        ("name", (["sprites"],), {}),
        ("split", ("sprites", "valid"), {}),
        ("split", ("vowels", "validation"), {}),
        ("split", ("faces", "validation"), {}),
        ("split", ("spoken_digits", "validation"), {}),
        ("image_size", ("sprites", "test"), {"image_size": 32.0}),
        ("image_size", ("faces", "test"), {"image_size": 48}),
        ("by", ("street", "test"), {"by": "day"}),
        ("months", ("etth1", "test"), {"months": "seasons"}),
    ],
)
def test_what_there_is_not_is_refused(field, arguments, options):
    with pytest.raises(ValueError, match=field):
        load(*arguments, **options)
