"""Files out of zip archives: found wherever they lie in them, never believed, never unpacked anywhere but in our own folder."""

import io
import random
import zipfile

import pytest
from fuzz import little_memory, mutations
from publisher import CONTENT, house, impatient, offer, publisher, source_file  # noqa: F401  (fixtures)
from unbraid.data import archives, downloads
from unbraid.data.archives import unpack
from unbraid.data.sources import DataError, fetch, find, verify

CONTENTS = {f"part/{name}.csv": random.Random(name).randbytes(3_000) for name in "abc"}
FILES = tuple(source_file(name, content) for name, content in CONTENTS.items())


def packed(contents: dict, **options) -> bytes:
    """A zip archive with these members."""
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content, **options)
    return buffer.getvalue()


def nested(**more) -> bytes:
    inner = packed({f"deep/{name}": content for name, content in CONTENTS.items()})
    return packed({"readme.txt": b"hello", "Inner Data.ZIP": inner, **more})


def unpacked(archive: bytes, folder, files=FILES) -> dict:
    (folder / "archive").write_bytes(archive)
    return {
        file.name: path.read_bytes() for file, path in unpack(folder / "archive", files, folder)
    }


FORMS = {
    "plain": packed(CONTENTS),
    "another folder": packed(
        {
            f"x/y/z-{number}/{name}": content
            for number, (name, content) in enumerate(CONTENTS.items())
        }
    ),
    "other files too": packed({"c.txt": b"?", **CONTENTS, "z.csv": b"?"}),
    "stored": packed(CONTENTS, compress_type=zipfile.ZIP_STORED),
    "nested": nested(),
    "partly nested": packed(
        {"in.zip": packed(dict(list(CONTENTS.items())[:2])), **dict(list(CONTENTS.items())[2:])}
    ),
    "a wrong one first": packed({"old/a.csv": b"x" * 3_000, "older/a.csv": b"", **CONTENTS}),
    "backslashes": packed({name.replace("/", "\\"): content for name, content in CONTENTS.items()}),
}


@pytest.mark.parametrize("form", FORMS)
def test_members_are_found_by_name_and_digest(tmp_path, form):
    assert unpacked(FORMS[form], tmp_path) == CONTENTS


@pytest.mark.parametrize("form", FORMS)
def test_a_publisher_who_offers_only_an_archive(offer, publisher, house, form):
    publisher.files["all.zip"] = FORMS[form]
    offer(files=FILES, archive="good/all.zip")
    assert {name: path.read_bytes() for name, path in fetch("thing").items()} == CONTENTS
    assert {state for _, state, _ in verify("thing")} == {"ok"} and publisher.asked == [
        "/good/all.zip"
    ]
    assert sorted(path.name for path in (house / "cache" / "thing").rglob("*")) == [
        "a.csv",
        "b.csv",
        "c.csv",
        "part",
    ]


@pytest.mark.parametrize("wrong", ["missing", "altered", "longer"])
def test_a_member_missing_or_wrong_is_told_and_the_right_ones_stay(offer, publisher, wrong):
    contents = dict(CONTENTS)
    contents["part/b.csv"] = {
        "altered": b"!" + contents["part/b.csv"][1:],
        "longer": bytes(4000),
    }.get(wrong, b"")
    if wrong == "missing":
        del contents["part/b.csv"]
    publisher.files["all.zip"] = packed(contents)
    offer(files=FILES, archive="good/all.zip")
    with pytest.raises(
        DataError,
        match="(?s)part/b.csv: not downloaded.*good/all.zip sent an archive that lacks 1 of 3 files",
    ):
        fetch("thing")
    assert set(find("thing", partial=True)) == {"part/a.csv", "part/c.csv"}
    publisher.files["all.zip"] = packed(CONTENTS)
    assert len(fetch("thing")) == 3


@pytest.mark.parametrize(
    ("manner", "words"),
    [
        ("absent", "404"),
        ("silent", "timed out"),
        ("cut", "connection not made or cut"),
        ("ended", "damaged archive"),
    ],
)
def test_an_archive_that_does_not_come(offer, publisher, impatient, manner, words):
    publisher.files["all.zip"] = packed({"filling": random.Random(1).randbytes(60_000), **CONTENTS})
    offer(files=FILES, archive=f"{manner}/all.zip")
    with pytest.raises(DataError, match=f"(?s)not downloaded.*{manner}/all.zip .*{words}"):
        fetch("thing")


def test_a_large_archive_goes_on_where_it_was_cut(offer, publisher):
    publisher.files["all.zip"] = packed({"filling": random.Random(1).randbytes(60_000), **CONTENTS})
    offer(files=FILES, archive="resumes/all.zip")
    assert len(fetch("thing")) == 3 and len(publisher.asked) == 4


@pytest.mark.parametrize(
    "archive", ["absent/all.zip", "wrong/all.zip", "good/empty.zip", "good/none.zip"]
)
def test_what_an_archive_lacks_comes_file_by_file(offer, publisher, monkeypatch, archive):
    monkeypatch.setattr(downloads, "FEW", 0)
    publisher.files |= {
        "all.zip": packed(CONTENTS),
        "empty.zip": packed({}),
        "none.zip": b"none",
        **CONTENTS,
    }
    offer("good", files=FILES, archive=archive)
    assert {name: path.read_bytes() for name, path in fetch("thing").items()} == CONTENTS
    assert publisher.asked[0] == f"/{archive}"


def test_few_files_are_asked_for_without_the_archive(offer, publisher):
    publisher.files |= {"all.zip": packed(CONTENTS), **CONTENTS}
    offer("good", files=FILES, archive="good/all.zip")
    fetch("thing")
    assert sorted(publisher.asked) == [f"/good/part/{name}.csv" for name in "abc"]


@pytest.mark.parametrize(
    "prefix", ["../../", "/tmp/", "C:\\Windows\\", "..\\..\\", "part/../../../", "./"]
)
def test_paths_in_the_archive_lead_nowhere(tmp_path, prefix):
    """A member called ../../a.csv is a.csv, and lands where we say; other members land nowhere."""
    (tmp_path / "deep" / "folder").mkdir(parents=True)
    names = {prefix + name.removeprefix("part/"): content for name, content in CONTENTS.items()}
    assert (
        unpacked(packed({**names, prefix + "evil.txt": b"evil"}), tmp_path / "deep" / "folder")
        == CONTENTS
    )
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"deep/folder/archive", "deep/folder/outer-member"}


def test_bombs(tmp_path, monkeypatch):
    """A member that says it is small, one of its real size, and archives in the archive: no more is unpacked than allowed."""
    monkeypatch.setattr(archives, "LARGEST", 2**20)
    zeros = bytes(2**22)
    with pytest.raises(DataError, match="unpacks to more than 1057576 bytes"):
        unpacked(packed({"inner.zip": packed({"x": zeros}) + zeros}), tmp_path)
    with pytest.raises(DataError, match="unpacks to more than"):
        unpacked(
            packed(
                {
                    f"{number}.zip": packed({"x": bytes(2**19)}, compress_type=zipfile.ZIP_STORED)
                    for number in range(8)
                }
            ),
            tmp_path,
        )
    with pytest.raises(DataError, match="unpacks to more than"):
        unpacked(packed({f"{number}/a.csv": bytes(3_000) for number in range(400)}), tmp_path)
    assert (
        unpacked(
            packed({"zeros": zeros, "a.csv": zeros, "b.csv.zip.txt": zeros, **CONTENTS}), tmp_path
        )
        == CONTENTS
    )
    content = bytearray(packed({"a.csv": zeros}))
    for start in (
        22,
        content.rindex(b"PK\1\2") + 24,
    ):  # where the header and the directory tell the size unpacked
        content[start : start + 4] = (3_000).to_bytes(4, "little")
    try:
        assert unpacked(bytes(content), tmp_path) == {}
    except DataError:
        pass  # of its checksum
    assert (tmp_path / "outer-member").stat().st_size <= 2**20


def test_what_is_inside_two_archives_is_not_looked_for(tmp_path):
    assert unpacked(packed({"outer.zip": nested()}), tmp_path) == {}


def test_an_archive_larger_than_any_of_ours_is_not_taken(offer, publisher, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST", 5_000)
    publisher.files["all.zip"] = packed(CONTENTS)
    offer(files=FILES, archive="good/all.zip")
    with pytest.raises(DataError, match="sends more than 5000 bytes"):
        fetch("thing")


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"PK\5\6",
        b"no archive",
        CONTENT,
        packed(CONTENTS)[:-30],
        packed(CONTENTS)[100:],
        packed(CONTENTS, compress_type=zipfile.ZIP_LZMA),
        packed(CONTENTS, compress_type=zipfile.ZIP_BZIP2),
    ],
    ids=["empty", "magic", "text", "noise", "cut", "begun late", "lzma", "bzip2"],
)
def test_no_good_archive(tmp_path, archive):
    with pytest.raises(DataError, match="sent a damaged archive|packed in a way not used here"):
        unpacked(archive, tmp_path)


def test_a_member_under_a_password(tmp_path):
    content = bytearray(packed(CONTENTS))
    for start in (6, content.index(b"PK\1\2") + 8):
        content[start] |= 1
    with pytest.raises(DataError, match="damaged archive"):
        unpacked(bytes(content), tmp_path)


def test_files_that_differ_only_in_their_folders_cannot_be_told_apart(tmp_path):
    with pytest.raises(ValueError, match="different names"):
        unpacked(packed({}), tmp_path, (source_file("x/a", b""), source_file("y/a", b"")))


@pytest.mark.parametrize("form", ["plain", "nested"])
def test_fuzz(tmp_path, form):
    """500 damaged archives: right files, none, or a DataError; never another error, never other bytes."""
    outcomes = {"whole": 0, "part": 0, "refused": 0}
    for archive in mutations(FORMS[form], 500, seed=len(form)):
        try:
            with little_memory():
                found = unpacked(archive, tmp_path)
        except DataError:
            outcomes["refused"] += 1
        else:
            assert found.items() <= CONTENTS.items()
            outcomes["whole" if len(found) == 3 else "part"] += 1
    assert outcomes["refused"] > 150 and outcomes["whole"] > 5, outcomes
