"""Street: decoding against clips drawn for the test, the counts of the real videos, and that no split looks into the other."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from fuzz import check_reader
from unbraid.data import sources, street
from unbraid.data.sources import DataError
from unbraid.data.street import VIDEOS, Video, chunk_frames, load_street, read_video

ENCODERS = {".avi": "msmpeg4", ".mp4": "libx264"}  # those of vtest.avi and car-detection.mp4


def encode(path, frames):
    """Write frames (T, H, W, 3) of bytes as a video at `path`."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-y",
        "-loglevel",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
    ]
    command += [
        "-s",
        f"{frames.shape[2]}x{frames.shape[1]}",
        "-r",
        "10",
        "-i",
        "-",
        "-c:v",
        ENCODERS[path.suffix],
    ]
    command += ["-q:v", "2", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True, timeout=60)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A clip of each format: ten frames of 96 x 64, frame t a grey of 20 t, left half, and a red right half."""
    frames = np.zeros((10, 64, 96, 3), np.uint8)
    frames[:, :, :48] = (20 * np.arange(10, dtype=np.uint8))[:, None, None, None]
    frames[:, :, 48:] = (200, 20, 20)
    paths = {suffix: tmp_path_factory.mktemp("clips") / f"clip{suffix}" for suffix in ENCODERS}
    for path in paths.values():
        encode(path, frames)
    return paths


@pytest.fixture(scope="module")
def real():
    """Every split of the real videos."""
    if sources.find("street") is None:
        pytest.skip("the street videos are not both at hand: run make data, or set UNBRAID_MIRROR")
    options = [
        (split, by, phases)
        for split in ("train", "test")
        for by in ("chunk", "time")
        for phases in ("all", "first")
    ]
    return {key: load_street(key[0], by=key[1], phases=key[2]) for key in options}


@pytest.mark.parametrize("suffix", ENCODERS)
def test_all_frames_come_in_order_and_squeezed(clips, suffix):
    frames = read_video(clips[suffix], 32)
    assert frames.shape == (10, 3, 32, 32) and frames.dtype == np.uint8
    grey = frames[:, :, 4:28, 2:14].mean(
        axis=(2, 3)
    )  # away from the edge between the halves, which stays in the middle
    assert (
        np.abs(grey - 20 * np.arange(10)[:, None]).max() < 8
    )  # what lossy coding and a rounded colour space leave
    red = frames[:, :, 4:28, 18:30].mean(axis=(0, 2, 3))
    assert np.abs(red - (200, 20, 20)).max() < 12


@pytest.mark.parametrize("suffix", ENCODERS)
@pytest.mark.parametrize("damage", ("empty", "cut", "longer", "blank", "other format"))
def test_damaged_videos(clips, suffix, damage, tmp_path):
    content, path = clips[suffix].read_bytes(), tmp_path / f"bad{suffix}"
    other = clips[next(name for name in ENCODERS if name != suffix)].read_bytes()
    changed = {
        "empty": b"",
        "cut": content[:-7],
        "longer": content + b"1234",
        "blank": bytes(len(content)),
        "other format": other,
    }
    path.write_bytes(changed[damage])
    with pytest.raises(
        DataError,
        match=rf"bad\{suffix}: damaged video(.|\n)*expected(.|\n)*found(.|\n)*data fetch street",
    ):
        read_video(path)


def test_a_list_of_other_files_is_not_followed(clips, tmp_path):
    path = tmp_path / "list.avi"
    path.write_text(f"ffconcat version 1.0\nfile '{clips['.avi']}'\n")
    with pytest.raises(DataError, match="list.avi"):
        read_video(path)


def test_a_file_that_is_not_there_and_a_name_that_is_no_video(tmp_path):
    with pytest.raises(DataError, match="none.mp4"):
        read_video(tmp_path / "none.mp4")
    with pytest.raises(ValueError, match=r"ends in \.avi or \.mp4, found film.mov"):
        read_video(tmp_path / "film.mov")


def test_too_many_frames_are_refused(clips, monkeypatch):
    monkeypatch.setattr(street, "MOST_FRAMES", 9)
    with pytest.raises(DataError, match="1 to 9 frames"):
        read_video(clips[".mp4"])


def test_a_decoder_that_hangs_is_stopped(clips, tmp_path, monkeypatch):
    script = tmp_path / "sleeper"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(script))
    with pytest.raises(DataError, match=r"still decoding after 0\.5 s"):
        read_video(clips[".avi"], seconds=0.5)


@pytest.mark.parametrize("suffix, count", ((".avi", 500), (".mp4", 500)))
def test_a_thousand_damaged_clips(clips, suffix, count, tmp_path):
    """Half of a thousand for each format: every one whose length fits its headers goes through ffmpeg."""
    outcomes = check_reader(
        read_video,
        suffix,
        clips[suffix].read_bytes(),
        tmp_path,
        count,
        looks_right=lambda frames: frames.shape[1:] == (3, 64, 64) and 1 <= len(frames) <= 20,
    )
    assert outcomes["refused"] > count / 2


def test_counts(real):
    shapes = {key: len(sequences) for key, sequences in real.items()}
    assert shapes == {
        ("train", "chunk", "all"): 185,
        ("train", "chunk", "first"): 35,
        ("train", "time", "all"): 174,
        ("train", "time", "first"): 33,
        ("test", "chunk", "all"): 42,
        ("test", "chunk", "first"): 8,
        ("test", "time", "all"): 42,
        ("test", "time", "first"): 8,
    }
    for sequences in real.values():
        assert (
            sequences.frames.shape[1:] == (5, 3, 64, 64) and sequences.frames.dtype == torch.uint8
        )
        assert (sequences.static, sequences.dynamic) == (("video",), ("time",))
    by_video = [
        int((real["train", "chunk", "all"].labels["video"] == number).sum()) for number in range(2)
    ]
    assert by_video == [25 * 5, 10 * 6]


def test_about_two_frames_a_second(real):
    for sequences in real.values():
        steps = sequences.labels["time"].diff(dim=1)
        expected = torch.tensor([0.5, 0.48])[sequences.labels["video"]]
        assert (steps - expected[:, None]).abs().max() < 1e-4


def test_frames_are_those_of_the_video_at_their_times(real):
    found, sequences = sources.find("street"), real["test", "chunk", "all"]
    for number, video in enumerate(VIDEOS.values()):
        frames = read_video(found[video.file])
        assert len(frames) == video.frames
        here = sequences.labels["video"] == number
        which = (sequences.labels["time"][here] * video.rate).round().long()
        assert torch.equal(torch.from_numpy(frames)[which], sequences.frames[here])


@pytest.mark.parametrize("by", ("chunk", "time"))
@pytest.mark.parametrize("video", VIDEOS.values(), ids=VIDEOS)
def test_no_moment_is_in_both_splits(video, by):
    train, test = (
        chunk_frames(video, split, by, 5, "all", np.random.default_rng(0))
        for split in ("train", "test")
    )
    assert train.min() >= 0 and test.max() < video.frames
    assert (
        len(np.unique(train)) == train.size and len(np.unique(test)) == test.size
    )  # no frame twice, whatever the phase
    span = 5 * video.stride
    assert not set(train.ravel() // span) & set(test.ravel() // span)
    if by == "time":
        assert test.min() - train.max() > span  # the span between them is left out
        assert test.max() >= video.frames - 2 * span


@pytest.mark.parametrize("by", ("chunk", "time"))
def test_the_first_phase_is_one_of_all(by):
    video = VIDEOS["vtest"]
    every, first = (
        chunk_frames(video, "train", by, 5, phases, np.random.default_rng(0))
        for phases in ("all", "first")
    )
    assert np.array_equal(every[::5], first) and (first % 25 == 5 * np.arange(5)).all()


def test_the_seed_decides_on_the_random_split_alone():
    def spans(by, seed):
        return set(
            chunk_frames(VIDEOS["vtest"], "test", by, 5, "first", np.random.default_rng(seed))[:, 0]
            // 25
        )

    assert spans("chunk", 0) == spans("chunk", 0) != spans("chunk", 1)
    assert spans("time", 0) == spans("time", 1) == set(range(25, 31))


def test_chunks_by_hand():
    video = Video("short.avi", 10.0, 31, 2)  # five spans of six frames, and one frame over
    assert chunk_frames(video, "test", "time", 3, "all", np.random.default_rng()).tolist() == [
        [24, 26, 28],
        [25, 27, 29],
    ]
    assert chunk_frames(video, "train", "time", 3, "first", np.random.default_rng()).tolist() == [
        [0, 2, 4],
        [6, 8, 10],
        [12, 14, 16],
    ]


def test_one_camera_and_another_length_and_size():
    sequences = load_street(
        "test", "car-detection", "time", 10, "first", image_size=32
    )  # this video travels with the clone
    assert sequences.frames.shape == (1, 10, 3, 32, 32)
    assert sequences.labels["video"].tolist() == [1] and sequences.classes["video"] == (
        "vtest",
        "car-detection",
    )


@pytest.mark.parametrize(
    "missing, used", (("vtest.avi", "car-detection"), ("car-detection.mp4", "vtest"))
)
def test_with_one_video_only_it_says_which(monkeypatch, missing, used):
    found = sources.find("street", partial=True)
    if VIDEOS[used].file not in found:
        pytest.skip(f"{VIDEOS[used].file} is not at hand: run make data, or set UNBRAID_MIRROR")
    monkeypatch.setattr(
        street,
        "find",
        lambda name, partial: {file: path for file, path in found.items() if file != missing},
    )
    alone = load_street("test")
    assert used in alone.provenance and missing.split(".")[0] not in alone.provenance
    with pytest.raises(
        DataError, match=f"street: not at hand(.|\n)*{missing}(.|\n)*data fetch street"
    ):
        load_street(video=missing.split(".")[0])


def test_decoded_frames_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    first = load_street("test", "car-detection")
    monkeypatch.setattr(street, "read_video", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(load_street("test", "car-detection").frames, first.frames)


def test_a_video_that_decodes_to_fewer_frames_is_not_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    monkeypatch.setattr(
        street, "read_video", lambda path, size: np.zeros((376, 3, size, size), np.uint8)
    )
    with pytest.raises(DataError, match=r"decoded wrongly(.|\n)*377(.|\n)*376"):
        load_street("test", "car-detection")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "options",
    (
        {"split": "validation"},
        {"video": "5th"},
        {"by": "frame"},
        {"phases": "some"},
        {"image_size": 4},
    ),
)
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="expected .* found"):
        load_street(**options)


@pytest.mark.parametrize("length", (0, -1, 13))
def test_lengths_that_leave_no_test(length):
    with pytest.raises(
        ValueError, match=rf"length: expected 1 to 12 frames for car-detection.mp4, found {length}"
    ):
        load_street(video="car-detection", length=length)
