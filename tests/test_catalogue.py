"""Datasets by name: what each opens, and what is refused."""

from pathlib import Path

import pytest
from unbraid.data import fetch
from unbraid.data.fetch import SOURCES, SOURCES_OF

from papers.datasets import LOADERS, load
from papers.licensed_sets import OWN

ROOT = Path(__file__).resolve().parents[1]


class Asked(Exception):
    """A loader has asked for the files of a source, which is named."""


def test_every_source_is_read_by_datasets_that_there_are():
    assert all(source.datasets for source in SOURCES.values())
    assert set(SOURCES_OF) <= {"moving_digits", *LOADERS} - set(OWN)


@pytest.mark.parametrize("name", [name for name in LOADERS if name not in OWN])
def test_a_dataset_asks_for_its_own_sources_or_is_computed(name, data_of_the_clone, monkeypatch):
    def ask(source, only=()):
        raise Asked(source)

    monkeypatch.setattr(fetch, "verify", ask)
    try:
        sequences = load(name, "test")
    except Asked as asked:
        assert asked.args[0] in SOURCES_OF.get(name, ())
    else:
        assert len(sequences) and name not in SOURCES_OF


def test_data_that_travel_with_the_clone_have_a_row_and_a_licence():
    page = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    licences = (ROOT / "REUSE.toml").read_text(encoding="utf-8")
    folders = {path.name for path in (ROOT / "data").iterdir() if path.is_dir()} - {"cache"}
    assert [name for name in sorted({*SOURCES, *folders}) if f"| `{name}/` |" not in page] == []
    assert [name for name in sorted(folders) if f"data/{name}/" not in licences] == []


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
