"""Own data: what is written comes back, no split leaks, and each kind of fault is refused."""

import functools
import itertools
import re
import subprocess
import tempfile
import tracemalloc
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image
from unbraid.data import speech, sprites
from unbraid_own import own_data, own_files

PSNR = 26.0  # dB; the worst clip has 28.3, because codecs halve the colours' resolution


def write_film(path, frames, **options):
    """A film of frames (T, H, W, 3), near the codec's best quality; a folder of pictures."""
    path.parent.mkdir(exist_ok=True)
    pages = [Image.fromarray(frame) for frame in frames]
    if path.suffix == ".gif":
        pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    elif not path.suffix:
        path.mkdir(exist_ok=True)
        for number, page in enumerate(pages):
            page.save(path / f"frame {number}{options.get('suffix', '.png')}")
    else:
        codec = "libvpx" if path.suffix == ".webm" else "libx264"
        options = {"fps": 8, "codec": codec, "quality": 10, "macro_block_size": 2} | options
        stream = imageio_ffmpeg.write_frames(str(path), frames.shape[2:0:-1], **options)
        stream.send(None)
        for frame in frames:
            stream.send(np.ascontiguousarray(frame))
        stream.close()


def ramp(count, height=16, width=16):
    """Frames (T, H, W, 3) whose number k is told by their brightness, 6 k."""
    levels = 6 * np.arange(count, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3))


def squares(count, steps=20):
    """Films (N, T, 16, 16) of squares on straight lines between the walls."""
    random, time = np.random.default_rng(0), np.arange(steps) / 9
    start, speed = random.random((2, count, 2, 1))
    places = 2 * (6 * abs((start + speed * time) % 2 - 1)).astype(int)  # (N, 2, T)
    rows = np.arange(16) - places[..., None]  # of each axis, (N, 2, T, 16)
    inside = (rows >= 0) & (rows < 4)
    return 200 * (inside[:, 0, :, :, None] & inside[:, 1, :, None]).astype(np.uint8)


def run_ffmpeg(path, frames, pixels, *options):
    """A film, or pictures such as %d.png, of frames (T, H, W[, C]) whose pixels have this form."""
    source = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{frames.shape[2]}x{frames.shape[1]}"]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *source, "-i", "-"]
    subprocess.run([*program, *options, path], input=frames.tobytes(), check=True)


def frame_numbers(frames):
    """The number of each frame (..., T) of films made by `ramp`."""
    return (frames.float().mean((-3, -2, -1)) / 6).round().int()


def write_text(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def arrays(**named):
    """A function that writes arrays into a folder, and gives the file's path."""

    def make(folder):
        np.savez(folder / "a.npz", **named)
        return folder / "a.npz"

    return make


def by_name(data, get=lambda sequences: sequences.frames):
    """The sequences of all splits by their names."""
    pairs = []
    for split, names in data.names.items():
        pairs += zip(names, get(data.splits[split]), strict=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


# ---- what is written comes back


def test_the_middle_of_films_of_all_formats_comes_back_within_the_codecs_error(tmp_path):
    true = sprites.load("test").subset(slice(0, 90, 9)).frames[:, :, :, ::2, ::2]  # 10 clips
    wide = torch.nn.functional.pad(true.repeat_interleave(4, 3).repeat_interleave(4, 4), (64, 64))
    for number, clip in enumerate(wide.permute(0, 1, 3, 4, 2).numpy()):
        suffix = (".mp4", ".mov", ".MKV", ".webm")[number % 4]
        write_film(tmp_path / f"{number}: ü{suffix}", clip)
    data = own_data.load(tmp_path, size=true.shape[-1])
    read = by_name(data)
    assert len(read) == 10 and data.splits["train"].frames.dtype == torch.uint8
    for name, clip in read.items():
        errors = clip.double() - true[int(name[0])].double()
        assert 10 * torch.log10(255**2 / errors.square().mean()) > PSNR, name


def test_a_table_becomes_z_scores_with_its_gaps_and_labels(tmp_path):
    random = np.random.default_rng(0)
    values = random.normal(5, [1, 20], (30, 6, 2))
    values[random.random(values.shape) < 0.1] = np.nan
    table = pd.DataFrame(values.reshape(-1, 2), columns=["warmth", "wind"])
    table.insert(0, "series", np.repeat(np.arange(30), 6))
    table.insert(1, "hour", np.tile(np.arange(6), 30))
    table["place"] = np.repeat(np.array(["sea", "hill"])[np.arange(30) % 2], 6)
    table["light"] = np.where(table["hour"] > 3, "day", "night")
    # Lines may come in any order, and with the numbers of the rows.
    table.sample(frac=1, random_state=0, ignore_index=True).to_csv(tmp_path / "weather.csv")

    data = own_data.load(tmp_path / "weather.csv")
    train = values[[int(name) for name in data.names["train"]]].reshape(-1, 2)
    mean, deviation = np.nanmean(train, 0), np.nanstd(train, 0)
    for split, read in data.splits.items():
        rows = [int(name) for name in data.names[split]]
        expected = np.nan_to_num((values[rows] - mean) / deviation)
        np.testing.assert_allclose(read.frames, expected, rtol=1e-5, atol=1e-5)
        assert np.array_equal(read.mask, ~np.isnan(values[rows]))
        assert read.labels["place"].tolist() == [1 - row % 2 for row in rows]
        assert read.static == ("place",) and read.dynamic == ("light",)
        assert read.classes["place"] == ("hill", "sea")
        assert read.labels["light"][0].tolist() == [1, 1, 1, 1, 0, 0]
    assert "A column without a name is left out." in data.notes


def test_pictures_come_back_exactly_in_the_order_of_their_numbers(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 11, 32, 32, 3), np.uint8)
    for name, clip in enumerate(pixels):
        write_film(tmp_path / str(name), clip, suffix=(".png", ".pgm", ".BMP")[name % 3])
        write_text(tmp_path / str(name) / "5.heif", "another picture")
    for name in (".hidden", "__MACOSX"):
        (tmp_path / name).mkdir()
    write_text(tmp_path / "notes.txt", "mine")
    data = own_data.load(tmp_path)
    for name, clip in by_name(data).items():
        assert np.array_equal(clip.permute(0, 2, 3, 1), pixels[int(name)])
    for said in ("1, are left out, such as notes.txt.", "5, are left out, such as 5.heif, 5.heif"):
        assert any(note.startswith(f"Other files, {said}") for note in data.notes)


@pytest.mark.parametrize(
    "names",
    (
        *("f-1 f-2 f-10", "1.1 1.2 1.9 1.10", "0.05 0.10 0.50", "first last"),
        *("2025.12.31 2026.01.01 2026.01.02", "ab3f c0d1 d9"),
    ),
)
def test_numbers_in_names_order_pictures(names, tmp_path):
    paths = [tmp_path / f"{name}.png" for name in sorted(names.split())]
    paths.sort(key=own_files.natural_order)
    own_files.check_numbers(paths, "a")
    assert " ".join(path.stem for path in paths) == names


def test_films_of_other_rates_are_noted(tmp_path):
    for number, rate in enumerate((10, 10, 10, 60)):
        write_film(tmp_path / f"{number}.mp4", ramp(20), fps=rate)
    assert any("10 to 60 frames a second" in note for note in own_data.load(tmp_path).notes)
    path = tmp_path / "a.gif"
    write_film(path, ramp(40), duration=[40] * 20 + [400] * 20)
    assert any("2.5 to 25 frames a second" in note for note in own_data.load(path, length=2).notes)
    path = tmp_path / "a.mp4"
    varied = ["-vf", "setpts='N+5*max(0,N-20)'", "-fps_mode", "vfr", "-enc_time_base", "1/8"]
    write_film(path, ramp(40), output_params=varied)
    assert any("to 8 frames a second" in note for note in own_data.load(path, length=2).notes)


def test_films_of_a_wide_range_of_brightness_are_noted(tmp_path):
    options = {"output_params": ["-vf", "setparams=color_trc=smpte2084"]}
    write_film(tmp_path / "a.mp4", ramp(40), **options)
    assert any("HDR" in note for note in own_data.load(tmp_path / "a.mp4", length=2).notes)


def test_pixels_that_are_not_square_are_shown_as_such(tmp_path):
    """A film of 16 x 16 pixels, each twice as wide as high: its middle square has half of them."""
    wide = np.repeat(np.arange(16, dtype=np.uint8) * 12 + 30, 3).reshape(1, 1, 16, 3)
    for name in ("a.mp4", "b.webm", "c.mkv"):
        options = {"output_params": ["-vf", "setsar=2"]}
        write_film(tmp_path / name, np.tile(wide, (4, 16, 1, 1)), **options)
    data = own_data.load(tmp_path, size=16, length=2)
    assert "Frames: 32 x 16, cut to the middle 16 x 16." in data.notes
    columns = data.splits["train"].frames.float().mean((0, 1, 2, 3))
    assert (columns - torch.arange(4, 12).repeat_interleave(2) * 12 - 30).abs().max() < 8


def test_series_of_other_rates_are_noted(tmp_path):
    for first, rate in itertools.product((0, 100), (2, 1)):
        lines = [(k, first * k + t * (rate if k > 3 else 1), t) for k in range(6) for t in range(5)]
        path = table("".join(f"{k},{time},{x}\n" for k, time, x in lines))(tmp_path)
        noted = [n for n in own_data.load(path).notes if "2 times as long as others'" in n]
        assert len(noted) == rate - 1


def test_spellings_of_one_name_are_one_group_and_noted(tmp_path):
    names = ["Ana", "ana", "Ben", "b\u200ben", "Zo\u00eb", "zoe\u0308", "Dia", "dia "]
    names += ["Eva", "E\xadVA"]
    x = np.random.default_rng(0).random((30, 3, 2))
    data = own_data.load(arrays(x=x, who=np.array(names * 3))(tmp_path), group="who")
    persons = [{int(name) % 10 // 2 for name in part} for part in data.names.values()]
    assert len(set.union(*persons)) == 5 == sum(map(len, persons))
    assert any("'Ana' and 'ana'" in note and "write them alike" in note for note in data.notes)
    data = own_data.load(arrays(x=x, who=np.arange(30) // 3)(tmp_path), group="who")
    assert not any("alike" in note for note in data.notes)


def test_copies_in_two_splits_are_noted(tmp_path):
    films = np.random.default_rng(0).random((9, 6, 2))
    path = arrays(x=np.concatenate([films, films]))(tmp_path)
    assert any("are copies of others in another split" in n for n in own_data.load(path).notes)
    path = arrays(x=films)(tmp_path)
    assert not any("copies" in note for note in own_data.load(path).notes)


def test_names_that_are_no_text_can_be_written(tmp_path):
    for number in range(3):
        write_film(tmp_path / f"{number}\udce4.gif", ramp(20))
    assert "0\\udce4.gif" in by_name(own_data.load(tmp_path))


def test_pictures_of_other_sizes_are_put_upright_and_cut_to_their_middle_square(tmp_path):
    """The left and right quarters of a wide picture are cut off, the rest is halved."""
    wide = np.zeros((32, 64, 3), np.uint8)
    wide[:, 16:48] = np.repeat(np.array([200, 100]), 16)[:, None, None]
    turned = Image.Exif()
    turned[0x0112] = 8  # It is to be turned by 90 degrees to the left.
    for name in "abc":
        (tmp_path / name).mkdir()
        Image.fromarray(wide).save(tmp_path / name / "0.png")
        upside = Image.fromarray(wide).rotate(-90, expand=True)
        upside.save(tmp_path / name / "1.png", exif=turned)
        Image.new("L", (5, 7), 100).save(tmp_path / name / "2.png")
    for clip in by_name(own_data.load(tmp_path, size=16)).values():
        assert clip.shape == (3, 3, 16, 16)
        assert (clip[:2, :, :8] == 200).all() and (clip[:2, :, 8:] == 100).all()
        assert (clip[2] == 100).all()


@pytest.mark.parametrize("suffix", ("", ".gif"))
def test_what_is_transparent_is_grey(tmp_path, suffix):
    """Black figures without a background, as pictures and as a film, do not vanish."""
    pixels = np.zeros((3, 8, 8, 4), np.uint8)
    for step, frame in enumerate(pixels):
        frame[2:5, step : step + 3, 3] = 255
    for name in "abc":
        write_film(tmp_path / f"{name}{suffix}", pixels, disposal=2, duration=100)
    frames = own_data.load(tmp_path, size=8, length=3).splits["train"].frames[0]
    assert set(frames.unique().tolist()) == {0, 128}
    assert ((frames == 0).sum((1, 2, 3)) == 27).all()


@pytest.mark.parametrize(
    "suffix, options",
    (
        (".mov", ("-c:v", "qtrle")),
        (".mov", ("-c:v", "png")),
        (".mkv", ("-c:v", "ffv1", "-pix_fmt", "yuva444p")),
        (".webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p", "-b:v", "1M")),
        (".webm", ("-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", "0", "-b:v", "1M")),
    ),
)
def test_what_is_transparent_in_films_is_grey(tmp_path, suffix, options):
    """Nothing is left of what was drawn under an alpha channel; half of it is half as strong."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 24, 4), np.uint8)
    pixels[..., 3] = 0
    pixels[:, 8:, 12:] = 240, 240, 240, 255
    pixels[:, 8:, :12] = 0, 0, 0, 128
    run_ffmpeg(tmp_path / f"a{suffix}", pixels, "rgba", *options)
    frames = own_files.find_films([tmp_path / f"a{suffix}"], 16, "crop").read(0)[0].astype(int)
    assert (abs(frames[..., :7, :] - 128) < 2).all()
    assert (abs(frames[..., 10:, :6] - 64) < 6).all()
    assert (abs(frames[..., 10:, 10:] - 240) < 6).all()


@pytest.mark.parametrize("brightest, is_noted", ((2000, True), (65_000, False)))
def test_frames_of_more_bits_than_are_used_are_noted(tmp_path, brightest, is_noted):
    """Of 16 bits the upper 8 are read: hardly anything is left of a depth in millimetres."""
    random = np.random.default_rng(0)
    for number in range(4):
        colour = random.integers(0, brightest, (6, 8, 8, 3), np.uint16)
        (tmp_path / "pictures" / str(number)).mkdir(parents=True)
        (tmp_path / "films").mkdir(exist_ok=True)
        run_ffmpeg(tmp_path / "films" / f"{number}.mkv", colour[..., 0], "gray16le", "-c:v", "ffv1")
        run_ffmpeg(tmp_path / "pictures" / str(number) / "%d.png", colour, "rgb48le")
    for kind in ("films", "pictures"):
        notes = own_data.load(tmp_path / kind, size=8, length=6).notes
        assert any(re.search("hardly any contrast, [78] of 255", n) for n in notes) == is_noted


def test_recordings_become_the_chunks_of_speech(tmp_path):
    random = np.random.default_rng(0)
    waves = [random.normal(0, 0.1, (6000 + 700 * number, 2)) for number in range(4)]
    for number, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000, "FLOAT")
    data = own_data.load(tmp_path)
    waveforms = [speech.equal_level(torch.from_numpy(wave.mean(1)).float()) for wave in waves]
    chunks = speech.cut(speech.Utterances(waveforms, {}, {}, 16_000, "", ""))
    pairs = zip(chunks.labels["utterance"], chunks.labels["chunk"], strict=True)
    names = [f"{number}.wav #{chunk + 1}" for number, chunk in pairs]
    rows = {split: [names.index(name) for name in data.names[split]] for split in data.splits}
    scale = speech.SpectrumScale.fit(chunks.subset(rows["train"]))
    for split, read in data.splits.items():
        expected = scale.transform(chunks.subset(rows[split]))
        assert torch.equal(read.mask, expected.mask)
        torch.testing.assert_close(read.frames, expected.frames, rtol=1e-3, atol=1e-3)


def test_other_rates_are_resampled(tmp_path):
    """A tone of 1 000 Hz is at 1 000 Hz, spectrum 25 of 40 Hz each, whatever the rate."""
    for number, rate in enumerate((16_000, 22_050, 48_000)):
        tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate // 2) / rate)
        soundfile.write(tmp_path / f"{number}.wav", tone, rate)
    raw = own_files.find_in_folder(tmp_path, 32, "crop")
    for number in range(3):
        assert (raw.read(number)[0][2:18].argmax(1) == 25).all()


@pytest.mark.parametrize("scale", (1, 255))
@pytest.mark.parametrize("colours", ("first", "last", "none"))
def test_frames_of_arrays_keep_their_values(tmp_path, scale, colours):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 3, 3, 16, 16))
    values = (pixels / scale).astype(np.float32 if scale == 255 else np.uint8)
    if colours == "last":
        values = np.moveaxis(values, 2, 4)
    if colours == "none":
        values, pixels = values[:, :, 0], pixels[:, :, :1]
    who = np.array(["a", "ü"] * 3)
    steps = np.tile(np.arange(3), (6, 1))
    data = own_data.load(arrays(pictures=values, who=who, step=steps)(tmp_path), size=16)
    for name, clip in by_name(data).items():
        assert clip.dtype == torch.uint8 and np.array_equal(clip, pixels[int(name)])
    assert data.splits["train"].mask is None
    assert data.splits["train"].classes == {"who": ("a", "ü"), "step": ("0", "1", "2")}
    for name, label in by_name(data, lambda split: split.labels["who"]).items():
        assert label == int(name) % 2


@pytest.mark.parametrize(
    "brightest, dtype, read",
    ((2, np.uint8, 2), (1, np.uint8, 255), (1.02, np.float32, 255), (0.2, np.float32, 51)),
)
def test_the_range_of_frames_is_recognised(tmp_path, brightest, dtype, read):
    """Dark bytes stay dark, bytes of 0 and 1 are black and white, filtered floats overshoot."""
    frames = np.full((3, 2, 3, 8, 8), brightest, dtype)
    frames[..., 0] = 0
    np.save(tmp_path / "a.npy", frames)
    rows = own_data.load(tmp_path / "a.npy", size=8).splits["train"].frames
    assert (rows[..., 1:] == read).all() and (rows[..., 0] == 0).all()


def test_masks_and_missing_values_are_kept(tmp_path):
    series = np.random.default_rng(0).normal(3, 2, (8, 5, 2))
    series[2, 1, 0] = np.nan
    mask = np.ones((8, 5), bool)
    mask[3, 4:] = False
    series[3, 4] = 1e6  # It must not count.
    data = own_data.load(arrays(x=series, mask=mask)(tmp_path))
    true = np.repeat(mask[..., None], 2, 2)
    true[2, 1, 0] = False
    for name, observed in by_name(data, lambda split: split.mask).items():
        assert np.array_equal(observed, true[int(name)])
    assert max(split.frames.abs().max() for split in data.splits.values()) < 5
    grey = np.full((8, 5, 3, 8, 8), 126, np.uint8)
    grey[..., 0] = 100
    frames = by_name(own_data.load(arrays(x=grey, mask=mask)(tmp_path), size=8))
    assert (frames["3"][:4, ..., 1:] == 126).all() and (frames["3"][4] == 0).all()


@pytest.mark.parametrize("fill", (0.0, 9.5, np.nan))
@pytest.mark.parametrize("axes", (2, 3))
def test_a_mask_is_true_where_series_were_observed(tmp_path, fill, axes):
    """The other meaning, that of numpy.ma, is told by what was written into the gaps."""
    random = np.random.default_rng(0)
    there = random.random((12, 20, 3)[:axes]) < 0.6
    whole = there if axes == 3 else np.repeat(there[..., None], 3, 2)
    series = np.where(whole, random.normal(5, 1, whole.shape).cumsum(1), fill)
    data = own_data.load(arrays(series=series, mask=there)(tmp_path))
    for name, observed in by_name(data, lambda split: split.mask).items():
        assert np.array_equal(observed, there[int(name)])
    with pytest.raises(ValueError, match="a.npz, mask: expected True where .*, ~mask"):
        own_data.load(arrays(series=series, mask=~there)(tmp_path))


def test_a_mask_is_true_where_frames_were_observed(tmp_path):
    films, there = squares(12) + np.uint8(20), np.arange(20) < np.arange(8, 20)[:, None]
    films[:, ::2] //= 2  # A flickering lamp: brightness differs in time.
    films[~there] = 0
    data = own_data.load(arrays(x=films, mask=there)(tmp_path), size=16)
    for name, observed in by_name(data, lambda split: split.mask).items():
        assert np.array_equal(observed, there[int(name)])
    with pytest.raises(ValueError, match="a.npz, mask: expected True where .*, ~mask"):
        own_data.load(arrays(x=films, mask=~there)(tmp_path), size=16)
    # What is mostly one value, such as rain, has a mask that keeps most of it.
    rain = np.where(np.random.default_rng(0).random((12, 20, 2)) < 0.9, 0, films[..., 0, :2])
    broken = rain + 5000.0 * there[..., None]
    rain = np.where(np.arange(20)[:, None] % 9 == 3, broken, rain)
    own_data.load(arrays(x=rain, mask=np.arange(20) % 9 + 0 * there != 3)(tmp_path))


def test_lengths_beside_an_array_are_its_mask(tmp_path):
    random = np.random.default_rng(0)
    lengths = random.integers(3, 11, 9)
    steps = np.arange(10) < lengths[:, None]
    series = np.where(steps[..., None], random.normal(9, 1, (9, 10, 2)), 0)
    frames = np.where(steps[..., None, None], random.integers(9, 255, (9, 10, 8, 8)), 0)
    for values, kind in ((series, int), (frames.astype(np.uint8), float)):
        data = own_data.load(arrays(x=values, lengths=lengths.astype(kind))(tmp_path), size=8)
        for name, mask in by_name(data, lambda split: split.observed).items():
            assert np.array_equal(mask.reshape(10, -1)[:, 0], steps[int(name)])
        assert data.splits["train"].static == () and "padding" not in str(data.notes)
        lines = table("".join(f"{k},{t},{x}\n" for (k, t), x in np.ndenumerate(series[..., 0])))
        shares, turned = arrays(x=values, lengths=lengths / 10), arrays(x=values[:, ::-1])
        for make, place in zip((lines, shares, turned), ("last", "last", "first"), strict=True):
            said = f"Careful: the {place} steps of {(lengths < 9).sum()} sequences are equal"
            assert said in str(own_data.load(make(tmp_path), size=8).notes)
    data = own_data.load(arrays(x=series, lengths=lengths + 150)(tmp_path))  # of persons, in cm
    assert data.splits["train"].static == ("lengths",) and data.splits["train"].observed.all()


def test_films_that_were_trimmed_are_read_whole(tmp_path):
    """A cut between key frames, as a telephone makes it: frames of before the cut are lacking."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error"]
    source = ["-f", "lavfi", "-i", "testsrc2=size=32x16:rate=25:duration=3", "-pix_fmt", "yuv420p"]
    coded = ["-c:v", "libx264", "-x264-params", "open-gop=1:b-pyramid=2:bframes=3:keyint=25"]
    subprocess.run([*ffmpeg, *source, *coded, tmp_path / "whole.mp4"], check=True)
    path = tmp_path / "cut.mp4"
    subprocess.run([*ffmpeg, "-ss", "1.3", "-i", tmp_path / "whole.mp4", "-c", "copy", path])
    played = subprocess.run([*ffmpeg, "-i", path, "-f", "null", "-"], capture_output=True)
    assert played.stderr and not played.returncode
    data = own_data.load(path, size=16, length=2)
    assert ("found", "1 films of 42 steps") in data.taken
    assert "Frames: 32 x 16, cut to the middle 16 x 16." in data.notes


OTHERS = {  # than the picture that is read, in films of 40 frames, and what adds them
    "Video: 4x7 90 fps.mp4": ("-metadata:s:v", "handler_name=GoPro 240 fps"),
    "text.mkv": ("-metadata", "title=Video: 9x8, 60 fps, smpte2084, rgba, alpha_mode  : 1"),
    "sound.mp4": ("-f", "lavfi", "-t", "9", "-i", "sine"),
    "two.mp4": ("-f", "lavfi", "-i", "testsrc=s=64x32:d=1", "-map", "0", "-map", "1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_texts_sound_and_further_pictures_of_a_film_change_nothing(tmp_path, name):
    run_ffmpeg(tmp_path / name, np.array(ramp(40)), "rgb24", *OTHERS[name], "-pix_fmt", "yuv420p")
    raw = own_files.find_films([tmp_path / name], 16, "crop")
    assert (raw.sizes, raw.counts, raw.notes) == ({(16, 16)}, (40,), [])
    assert abs(raw.read(0)[0].mean((1, 2, 3)) - 6 * np.arange(40)).max() < 6


@pytest.mark.parametrize("name, codec", (("a.webm", "vp8"), ("a.mkv", "ffv1"), ("a.avi", "mjpeg")))
def test_damage_in_the_middle_of_a_film_is_refused(tmp_path, name, codec):
    noise = np.random.default_rng(0).integers(256, size=(40, 16, 16, 3), dtype=np.uint8)
    run_ffmpeg(tmp_path / name, noise, "rgb24", "-c:v", codec)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:8000] + noise.tobytes()[:300] + content[8300:])
    with pytest.raises(ValueError, match=f"{name} cannot be decoded"):
        own_files.find_films([tmp_path / name], 16, "crop").read(0)


@pytest.mark.parametrize("suffix", (".mp4", "", ".npz"))
def test_frames_can_keep_all_of_their_width(tmp_path, suffix):
    wide = np.repeat(np.linspace(50, 200, 16, dtype=np.uint8), 3).reshape(1, 1, 16, 3)
    wide = np.tile(wide, (3, 8, 1, 1))
    path = tmp_path
    if suffix == ".npz":
        path = arrays(x=np.stack([wide] * 3))(tmp_path)
    else:
        for name in "abc":
            write_film(path / f"{name}{suffix}", wide)
    data = own_data.load(path, size=8, fit="pad", length=2)
    frames = data.splits["train"].frames[0].float()
    assert (frames[..., [0, 1, 6, 7], :] == 0).all()
    expected = torch.from_numpy(wide[0, 0, :, 0].reshape(8, 2).mean(1))
    assert (frames[..., 2:6, :] - expected).abs().max() < 6
    assert "Frames: 16 x 8, with black borders to 16 x 16." in data.notes


@pytest.mark.parametrize("count, stride", ((1, None), (1, 1), (2, None), (4, None)))
def test_memory_is_said_and_bounded(tmp_path, monkeypatch, capsys, count, stride):
    for number in range(count):
        frames = np.resize(ramp(40, 64, 64), (480 // count, 64, 64, 3))
        write_film(tmp_path / f"{number}.mp4", frames)
    decoded = 480 * 3 * 64**2
    monkeypatch.setattr(own_data, "SAID", 1)
    tracemalloc.start()
    data = own_data.load(tmp_path, size=64, stride=stride)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * decoded and "MB of memory" in capsys.readouterr().out
    assert data.splits["train"].subset([1, 0]).frames.is_contiguous()
    free = SimpleNamespace(available=1.5 * decoded)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(ValueError, match="memory: .*--size"):
        own_data.load(tmp_path, size=64)


# ---- clips and splits


def test_clips_of_a_film_stay_in_one_split_and_short_films_are_masked(tmp_path):
    for number in range(7):
        write_film(tmp_path / f"{number}.mp4", ramp(3 if number == 0 else 11))
    data = own_data.load(tmp_path, length=4, stride=3, size=16)
    films = {}
    for split, names in data.names.items():
        films[split] = {name.partition(" #")[0] for name in names}
    assert [len(films[split]) for split in own_data.SPLITS] == [5, 1, 1]
    assert len(set.union(*films.values())) == 7
    clips, masks = by_name(data), by_name(data, lambda split: split.mask)
    assert len(clips) == 1 + 6 * 3
    for name, clip in clips.items():
        film, _, place = name.partition(" #")
        first = 3 * int(place or 1) - 3
        expected = [first, first + 1, first + 2, first + 3]
        assert masks[name].tolist() == [True, True, True, film != "0.mp4"]
        assert frame_numbers(clip)[masks[name]].tolist() == expected[: masks[name].sum()]


def test_one_film_is_split_by_time_without_a_shared_frame(tmp_path):
    write_film(tmp_path / "one.mp4", ramp(40))
    data = own_data.load(tmp_path / "one.mp4", length=3, size=16)
    numbers = {split: frame_numbers(clips.frames) for split, clips in data.splits.items()}
    for clips in numbers.values():
        assert (clips.diff(dim=1) == 1).all() and (clips[:, 0].diff() == 1).all()
    ends = [(int(clips.min()), int(clips.max())) for clips in numbers.values()]
    assert ends == [(0, 27), (31, 33), (37, 39)]  # Of 28, 6 and 6 frames, 3 are left out twice.
    assert data.names["validation"] == ["one.mp4 #27"]


def test_groups_stay_together_and_the_seed_draws(tmp_path):
    x, group = np.random.default_rng(0).random((40, 3, 2)), np.arange(40) // 4
    path = arrays(x=x, who=group, kind=np.arange(40) % 2)(tmp_path)
    drawn = []
    for seed in (0, 0, 1):
        data = own_data.load(path, group="who", seed=seed)
        groups = [set(split.labels["who"].tolist()) for split in data.splits.values()]
        assert [len(part) for part in groups] == [6, 2, 2] and len(set.union(*groups)) == 10
        drawn.append(data.names)
    assert drawn[0] == drawn[1] != drawn[2]
    assert any(note.startswith("Careful: 2 groups of who in the test") for note in data.notes)
    assert not any("of who never occur" in note for note in data.notes)  # as was asked for


@pytest.mark.parametrize(
    "count, sizes", ((79, (55, 12, 12)), (80, (48, 12, 20)), (120, (82, 18, 20)))
)
def test_from_eighty_on_twenty_are_tested(tmp_path, count, sizes):
    path = arrays(x=np.random.default_rng(0).random((count, 3, 2)))(tmp_path)
    data = own_data.load(path)
    assert tuple(map(len, data.splits.values())) == sizes
    assert any("too few" in note for note in data.notes) == (sizes[2] < 20)


@pytest.mark.parametrize("frames, length", ((16, 16), (24, 12), (40, 20), (9, 9), (33, 16)))
def test_the_usual_length_loses_no_films_and_hardly_a_frame(tmp_path, frames, length):
    for number in range(3):
        write_film(tmp_path / f"{number}.gif", ramp(frames), duration=100)
    data = own_data.load(tmp_path, size=8)
    assert data.splits["train"].length == length and data.splits["train"].mask is None
    lost = frames * 3 - sum(len(part) * part.length for part in data.splits.values())
    assert lost <= 0.05 * 3 * frames


def test_training_has_every_class_if_it_can(tmp_path):
    rare = np.array(["usual"] * 36 + ["rare"] * 2 + ["other"] * 2)
    path = arrays(x=np.random.default_rng(0).random((40, 3, 2)), label=rare)(tmp_path)
    for seed in range(3):
        assert len(own_data.load(path, seed=seed).splits["train"].labels["label"].unique()) == 3


def test_steps_in_no_clip_are_counted_and_clips_without_values_left_out(tmp_path):
    series = np.random.default_rng(0).random((6, 9, 1))
    series[2, 3:6] = series[4, 4:6] = np.nan
    data = own_data.load(arrays(x=series)(tmp_path), length=3)
    names = by_name(data).keys()
    assert len(names) == 16 and {"2 #2", "4 #2"} < names and not {"2 #3", "4 #3"} & names
    path = arrays(x=np.random.default_rng(0).random((6, 20, 2)))(tmp_path)
    assert any(n.startswith("20.0% of the steps") for n in own_data.load(path, length=16).notes)


# ---- labels


def test_names_match_in_any_unicode_form_and_without_their_ending(tmp_path):
    for name in ("ü", "ö", "a", "b"):
        write_film(tmp_path / unicodedata.normalize("NFD", name), ramp(2))
    lines = "name,who,age,day\nü,Zoë,1.5,1\nö,Ann,2.5,2\na,Zoë,1,1\nb,Ann,1,2\nother,Bob,0,3\n"
    write_text(tmp_path / "labels.csv", unicodedata.normalize("NFC", lines))
    data = own_data.load(tmp_path)
    assert data.splits["train"].classes == {"who": ("Ann", "Zoë"), "day": ("1", "2")}
    ages = by_name(data, lambda split: split.labels["age"])
    assert {name: float(age) for name, age in ages.items()} == {"ü": 1.5, "ö": 2.5, "a": 1, "b": 1}
    assert any(note.startswith("1 lines of labels.csv") for note in data.notes)


def test_labels_of_steps_follow_the_clips(tmp_path):
    lines = ["film,frame,who,number,half"]
    for film in range(4):
        write_film(tmp_path / "films" / f"{film}.mp4", ramp(8))
        lines += [f"{film},{k},{'ab'[film % 2]},{k},{k / 2}" for k in range(8)]
    labels = write_text(tmp_path / "mine.csv", "\n".join(lines))
    data = own_data.load(tmp_path / "films", labels=labels, length=3, stride=2, size=16)
    for split in data.splits.values():
        assert split.static == ("who",) and split.dynamic == ("number", "half")
        assert torch.equal(split.labels["number"].int(), frame_numbers(split.frames))
        assert torch.equal(split.labels["half"], frame_numbers(split.frames) / 2)
        films = [int(name[0]) % 2 for name in data.names[split.split]]
        assert split.labels["who"].tolist() == films


def test_series_lie_on_one_grid_if_they_share_times(tmp_path):
    lines = ["id,date,x,what"]
    for name in "abcd":
        days = (1, 2, 4) if name == "a" else (1, 2, 3, 4)
        lines += [f"{name},2020-01-{day:02},{day}.5,{'xyzx'[day - 1]}" for day in days]
    data = own_data.load(write_text(tmp_path / "a.csv", "\n".join(lines)))
    masks = by_name(data, lambda split: split.mask)
    assert masks["a"].tolist() == [True, True, False, True] and masks["b"].all()
    what = by_name(data, lambda split: split.labels["what"])
    assert what["a"].tolist() == [0, 1, 1, 0]  # In a gap a label keeps its last value.
    assert what["b"].tolist() == [0, 1, 2, 0]
    assert not any("usual time" in note for note in data.notes)


def test_lines_that_lack_in_all_series_are_noted(tmp_path):
    days = (1, 2, 3, 4, 24, 25, 26, 27)
    lines = "".join(f"{name},2020-01-{day:02},{day}.5\n" for name in "abcd" for day in days)
    notes = own_data.load(table(lines, "id,date,x")(tmp_path)).notes
    assert any("before 2020-01-24 00:00:00+00:00 lies 20 times" in note for note in notes)
    folder = called("a1-7.png", "a1-8.png", "a1-9.png", "a1-19.png")(tmp_path)
    note, _ = own_files.find_in_folder(folder, 8, "crop").notes
    assert note.startswith("Careful: before a/a1-19.png lies 10 times the usual time; ")


def test_numbers_of_other_widths_are_read_alike(tmp_path):
    true = own_data.load(arrays(x=X)(tmp_path)).splits["train"].frames
    for kind in (">f8", "g", "f2"):
        read = own_data.load(arrays(x=X.astype(kind), epoch=5)(tmp_path)).splits["train"].frames
        assert (read - true).abs().max() < 0.01
    kind = np.arange(8) % 2
    for labels, classes in ((np.array([b"a", b"b"])[kind], "ab"), (kind.astype(">i4"), "01")):
        data = own_data.load(arrays(x=X, kind=labels)(tmp_path))
        assert data.splits["train"].classes["kind"] == tuple(classes)


def test_series_that_share_no_times_keep_their_own_steps(tmp_path):
    lines = ["id,time,x,age"]
    for number, name in enumerate(("007", "7", "NA", "null", "e")):
        times = range(100 * number, 100 * number + 4 + (number == 0))
        lines += [f"{name},{time},{time % 100},{number}" for time in times]
    lines[1:] = reversed(lines[1:])
    data = own_data.load(write_text(tmp_path / "a.csv", "\n".join(lines)))
    masks = by_name(data, lambda split: split.mask)
    assert sorted(masks) == ["007", "7", "NA", "e", "null"]
    for name, mask in masks.items():
        assert mask.tolist() == [True] * 4 + [name == "007"]
    for name, frames in by_name(data).items():
        assert (frames[:4, 0].diff() > 0).all(), name


def test_words_like_na_are_classes(tmp_path):
    words = ("NA", "None", "null", "EU", "NA", "EU")
    lines = "".join(f"{k},{t},{t + k},{words[k]}\n" for k, t in np.ndindex(6, 5))
    data = own_data.load(table(lines, "id,time,x,region")(tmp_path))
    assert data.splits["train"].classes["region"] == ("EU", "NA", "None", "null")


@pytest.mark.parametrize("fill", (9999.9, -200, 1e20, -32768, 99))
def test_a_value_that_comes_again_far_from_all_others_is_doubted(fill, tmp_path):
    """In a column of a table, a variable of an array, and a measured label."""
    random = np.random.default_rng(0)
    series = random.normal(20, 5, (40, 12, 2)).round(1)
    series[::3, 5, 1] = fill
    weight = random.normal(20, 5, 40)
    weight[[3, 9]] = fill
    notes = own_data.load(arrays(x=series, weight=weight)(tmp_path), length=13).notes
    assert "No sequence has 13 steps; each is taken whole." in notes
    begin, says = f"Careful: {fill:.10g} in", "a missing value? Leave the cell empty."
    assert f"{begin} {14 / 480:.0%} of variable 1: {says}" in notes
    assert any(f"{fill:.10g} in 5% of weight" in note for note in notes)
    assert not any("of variable 0" in note for note in notes)
    lines = "".join(f"{k},{t},{x}\n" for (k, t), x in np.ndenumerate(series[..., 1]))
    assert any(f"{fill:.10g} in 3% of x" in n for n in own_data.load(table(lines)(tmp_path)).notes)


def test_usual_values_are_no_gaps(tmp_path):
    """Two values, counts, pulses on a level, a sensor at its end, one far value in ten thousand."""
    random = np.random.default_rng(0)
    normal = random.normal(size=(60, 50))
    lone = np.where(np.arange(3000).reshape(60, 50) == 7, 1e6, normal)
    pulses = np.where(random.random((60, 50)) < 0.1, 5 + normal, 0)
    columns = [normal > 1, random.poisson(2, (60, 50)), pulses, normal.clip(max=1.5), lone]
    notes = own_data.load(arrays(x=np.stack([1.0 * each for each in columns], 2))(tmp_path)).notes
    notes += own_data.load(arrays(x=pulses[..., None])(tmp_path)).notes
    assert not any(re.search("missing value|padding", note) for note in notes)


def test_films_along_the_first_axis_are_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 8, 8), np.uint8)
    alike = squares(1)[:, :6] + np.arange(5, dtype=np.uint8)[:, None, None, None]
    high = squares(30, 16)[..., :12]  # as many steps as rows, but not as columns
    lines = np.moveaxis(squares(30), 1, 3)[:, :, None]  # as whoever gives five axes has checked
    still = np.repeat(noise[:, :1], 6, 1)
    for films in (squares(30), squares(4), noise, still, alike, high, lines):
        np.save(tmp_path / "a.npy", films)
        assert len(own_data.load(tmp_path / "a.npy", size=8).splits["train"]) >= 2


@pytest.mark.parametrize("text", ("31.01.2026", "1.2.3", "192.168.0.1", "A12", "12-34", "0171 23"))
def test_text_that_is_no_number_is_a_label(text, tmp_path):
    lines = "".join(f"{k},{t},{t * k},{text}{k}\n" for k, t in np.ndindex(6, 8))
    assert own_data.load(table(lines, "id,time,x,who")(tmp_path)).splits["train"].static == ("who",)


@pytest.mark.parametrize("texts", (("1st", "2nd"), ("5a", "6b"), ("<18", "<65"), ("3.OG", "2.OG")))
def test_texts_that_begin_with_a_number_are_classes(texts, tmp_path):
    lines = "".join(f"{k},{t},{t * k},{texts[t % 2]}\n" for k, t in np.ndindex(6, 8))
    train = own_data.load(table(lines, "id,time,x,what")(tmp_path)).splits["train"]
    assert train.dynamic == ("what",) and train.classes["what"] == tuple(sorted(texts))
    rooms = file("labels.csv", "n,room\na,1\nb,2\nc,2b\nd,2\n", pictures)(tmp_path)
    assert own_data.load(rooms).splits["train"].classes["room"] == ("1", "2", "2b")


@pytest.mark.parametrize(
    "form",
    (
        *("{:.0f}°", "{:.1f} mmHg", "{:.2f}m/s²", "£{:.0f}", "US${:.1f}", "{:.0f} €", "{:.1f}‰"),
        *("1 {:03.0f}", "12\u00a0{:03.0f}.5", "3\u202f{:03.0f}", "4’{:03.0f}", "5.{:03.0f},5"),
    ),
)
def test_numbers_with_marks_around_them_are_refused(form, tmp_path):
    lines = "".join(f'{k},{t},{t * k},"{form.format(t + k / 2)}"\n' for k, t in np.ndindex(6, 8))
    found = f"a.csv, y: expected numbers .*, found {re.escape(repr(form.format(0)))} in line 2"
    with pytest.raises(ValueError, match=found):
        own_data.load(table(lines, "id,time,x,y")(tmp_path))


MIXED = {  # the cells of a column y beside x, and what is said of it
    "a mark": (lambda k: "ND" if k % 10 < 7 else k / 8, "y: .*found 'ND' in"),
    "two marks": (lambda k: ("-", "ND", k, "-")[k % 4], "y: expected numbers .*found '-' in"),
    "minutes": (lambda k: f"1:{k % 40:02}", "Careful: y is read as 40 classes, such as 1:00"),
    "powers": (lambda k: f"0.{k % 6} × 10^2", "y is read as 6 classes.*plain numbers"),
    "many texts": (lambda k: f"~{k}", "y: .*plain numbers.* found 120 classes, such as ~0"),
    "ages": (lambda k: f"{k % 4}8-{k % 4}9", ""),
    "not seen": (lambda k: f"{k}\u200b", ""),
    "floats": (lambda k: f"{k // 10 % 3}.0", "y: its 3 whole values look like class numbers; if"),
    "tiny": (lambda k: f"{k}e-200", "expected numbers from 1e-35 .* in y"),
    "nanoseconds": (lambda k: 17 * 10**17 + 999 * k, "y: .*billionth .*subtract a constant"),
}


@pytest.mark.parametrize("name", MIXED)
def test_columns_of_odd_forms_are_named(name, tmp_path):
    cell, says = MIXED[name]
    lines = "".join(f"{k // 10},{k % 10},{k % 7},{cell(k)}\n" for k in range(120))
    try:
        said = "\n".join(own_data.load(table(lines, "id,time,x,y")(tmp_path)).notes)
    except ValueError as error:
        said = str(error)
    assert re.search(says or "^(?!.*(expected|y is read))", said, re.DOTALL)


# ---- faults: how each is made, and the file or the field that the refusal names

X = np.random.default_rng(0).random((8, 3, 2))
FILM = np.repeat(squares(1)[0][:, None], 3, 1)  # of three colours
RED = FILM * np.array([1, 0, 0], np.uint8)[:, None, None]
FRAMES = np.zeros((8, 2, 3, 16, 16), np.uint8)
LINES = "n,y\na,0\nb,1\nc,0\nd,1\n"
EIGHT = "n,y\n" + "".join(f"{number},1\n" for number in range(8))
STEPS = "n,frame,y\n" + "".join(f"{name},1,1\n{name},2,2\n" for name in "abcd")
TWICE = "n,frame,y\nz,0,1\nz,0,1\na,0,1\na,0,1\nb,0,1\nc,0,1\nd,0,1\n"
MORE = "n,frame,y\n" + "".join(f"{name},{step},{step}\n" for name in "abcd" for step in range(5))
HOURS = "a,2026-01-31,7,3\na,2026-01-31,8,4\n"
TEXTS = "".join(f"{k % 6},{k},1,t{k}\n" for k in range(90))
TONE = 0.1 * np.sin(np.arange(8000))
NOT_CLOSED = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data" + bytes(99)
INFINITE, GAPS, ALIKE = X.copy(), X.copy(), X.copy()
INFINITE[1], GAPS[1, 1:], ALIKE[..., 1] = np.inf, np.nan, 7


def here(folder):
    return folder


def file(name, content="", beside=here):
    """A file in a folder, in which `beside` makes other things."""

    def make(folder):
        made = beside(folder)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return made

    return make


@functools.cache
def film_bytes():
    with tempfile.TemporaryDirectory() as folder:
        write_film(Path(folder, "a.mp4"), ramp(3))
        return Path(folder, "a.mp4").read_bytes()


def films(folder, content=None):
    for name in "abcd":
        (folder / f"{name}.mp4").write_bytes(content or film_bytes())
    return folder


def damaged(suffix):
    """Films or recordings of which the last is cut, or a byte of it is changed."""

    def make(folder):
        path = folder / f"z{suffix}"
        if suffix in own_files.SUFFIXES["recordings"]:
            soundfile.write(path, TONE, 16_000)
            sounds(TONE)(folder)
        else:
            write_film(path, ramp(20))
            films(folder)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(content if suffix == ".flac" else content[: len(content) * 2 // 3])
        return folder

    return make


def pictures(folder, count=2, names="abcd"):
    for name in names:
        write_film(folder / name, ramp(count))
    return folder


def in_class(folder):
    (folder / "c").mkdir()
    return pictures(folder / "c" / "walk").parents[1]


def odd_folder(folder):
    (folder / "a").mkdir()
    return file("a/1.heif", "x", functools.partial(pictures, names="bcd"))(folder)


def called(*names):
    """A folder of four pictures of a name each."""

    def make(folder):
        for name in names:
            (folder / "a").mkdir(exist_ok=True)
            Image.new("L", (8, 8)).save(folder / "a" / name)
        return folder

    return make


def odd_picture(name, mode="L", more=0):
    """Folders of pictures, one of an odd kind; more: further pictures in its file."""

    def make(folder):
        pages = [Image.new(mode, (8, 8), shade) for shade in range(more + 1)]
        pages[0].save(pictures(folder) / "b" / name, save_all=more > 0, append_images=pages[1:])
        return folder

    return make


def sounds(wave, rate=16_000):
    def make(folder):
        for name in "abc":
            soundfile.write(folder / f"{name}.wav", wave, rate, "FLOAT")
        return folder

    return make


def table(lines, header="id,time,x"):
    return lambda folder: write_text(folder / "a.csv", f"{header}\n{lines}")


def series(more="", count=6, ends=("1", "2", "4"), add=""):
    pairs = itertools.product(range(count), enumerate(ends))
    return "".join(f"{k},{t},{x}{add}\n" for k, (t, x) in pairs) + more


def labelled(text):
    return file("labels.csv", text, films)


WIDE, LABELLED = table("a,1,2\nb,3,4\n", "id,t0,t1"), arrays(x=X, y=np.arange(8))


BAD = {
    "an empty folder": (here, "an empty folder"),
    "a text file": (file("a.txt", beside=lambda p: p / "a.txt"), "path: .*a.txt"),
    "mixed kinds": (lambda p: films(pictures(p)), "4 folders .a., 4 films .a.mp4."),
    "no films": (lambda p: films(p, b"no film"), "a.mp4"),
    "an empty film": (file("0.mov", beside=films), "0.mov: .*empty"),
    "a playlist": (file("0.mov", "ffconcat version 1.0\nfile a.mp4\n", films), "0.mov"),
    "torn wav": (damaged(".wav"), "z.wav: .*bytes"),
    "torn avi": (damaged(".avi"), "z.avi: .*bytes"),
    "two pictures lack": (lambda p: pictures(p, 1), "the folder a: "),
    "a level too high": (file("raw/0.mp4", "", lambda p: pictures(p, 1, ["raw"])), "raw meant"),
    "films by class": (file("a/0.mp4", "", lambda p: pictures(p, 1)), "folder a: .*labels.csv"),
    "folders by class": (in_class, "folder c: .*labels.csv"),
    "endings in a folder": (odd_folder, "folder a: .*.png, .*.pgm.*found .'1.heif'"),
    "other endings": (file("a.mp3", "x"), "recordings alone.*.flac.*a.mp3"),
    "decimal names": (called("t.9.png", "t0.5.png", "t0.15.png"), "folder a: .*whole number alone"),
    "names with a minus": (called("1.png", "0.png", "-1.png", "-2.png"), "a: .*1.png and -2.png"),
    "masks": (called("1.png", "1_mask.png", "2.png", "2_mask.png"), "2.png and 2_mask.png"),
    "a picture twice": (called("1.png", "1.jpg", "2.png"), "folder a: .*1.jpg and 2.png"),
    "one clip only": (lambda p: pictures(p, 2, "a"), "path: .*3 folders"),
    "too low a rate": (sounds(TONE, 4000), "a.wav: .*8000"),
    "steps of a recording": (file("labels.csv", STEPS, sounds(TONE)), "labels.csv: "),
    "no recording": (file("a.wav", "text"), "a.wav"),
    "a stride without length": (arrays(x=X), "stride: .*--length", {"stride": 2}),
    "length of sound": (sounds(TONE), "length, stride: ", {"length": 5}),
    "too large a size": (here, "size: ", {"size": 31}),
    "id of no table": (arrays(x=X), "id_column: .*a.npz", {"id_column": "k"}),
    "two arrays": (arrays(x=X, y=X), "a.npz: .*x .*y "),
    "one film": (arrays(x=FILM), r"a.npz: .*one film\? give x\[None\]; else np.swapaxes"),
    "one red film": (arrays(x=RED), r"a.npz: .*one film\? give x\[None\]; else np.swapaxes"),
    "one film, colours last": (arrays(x=np.moveaxis(FILM, 1, 3)), r"a.npz: .*give x\[None\]"),
    "infinity": (arrays(x=INFINITE), "a.npz: .*infinity"),
    "nearly black": (arrays(x=FRAMES * 1.0 + 2), "a.npz: .*2 to "),
    "five colours": (arrays(x=np.zeros((8, 2, 5, 9, 9))), "a.npz: .*colours"),
    "other mask": (arrays(x=X, mask=X[0]), "a.npz, mask: "),
    "other labels": (arrays(x=X, y=np.arange(7)), "a.npz, y: "),
    "one-hot": (arrays(x=X, y=np.eye(3)[np.arange(8) % 3]), "a.npz, y: .*class numbers .*argmax"),
    "two groups": (arrays(x=X, who=np.arange(8) % 2), "group: .*3 .*who", {"group": "who"}),
    "no such group": (arrays(x=X, who=np.arange(8)), "group: .*who", {"group": "whom"}),
    "a wide table": (WIDE, "time_column: .*DataFrame.melt"),
    "a wide table of a time": (WIDE, "a.csv: .*several.* each id.*melt", {"time_column": "t0"}),
    "no time": (table("1,0,2", "id,k,x"), "time_column: .*id, k, x .--time-column"),
    "a column of pandas": (table("1,2,3", "id,Unnamed: 0,x"), "a.csv: .*index=False.*column 2"),
    "other name": (table(series()), "id_column: .*k", {"id_column": "k"}),
    "one column twice": (table(series()), "time_column: ", {"id_column": "time"}),
    "a name lacks": (table(series(",3,1")), "a.csv, id: .*line 20"),
    "times of words": (table(series("1,soon,1")), "a.csv, time: .*line 2"),
    "complex labels": (arrays(x=X, y=np.arange(8) * 1j), "a.npz, y: .*text.*complex128"),
    "records": (arrays(x=X, y=np.zeros(8, "i4,f4")), "a.npz, y: .*numbers.*f4"),
    "a half": (arrays(x=X, y=np.float16([np.inf] * 8)), "label y: .*infinity"),
    "ragged": (arrays(x=X[0], y=X[0][:2]), "a.npz: .*padded, beside an array of lengths"),
    "date and time": (table("a,1,2,3\n", "id,date,time,x"), "join date and time to one column"),
    "an hour": (table(HOURS, "id,date,hour,x"), ": .*join date and hour", {"time_column": "date"}),
    "summer time": (table("a,2026-10-25 02:00,1\n" * 2), "time: .*offset, as .01:00.*a second"),
    "a stamp twice": (table(series("1,0,9")), "a.csv, time: .*each id, found a second .*line 20"),
    "a comma in a number": (table(series('1,9,"2,5"')), "a.csv, x: .*line 20"),
    "thousands": (table(series(add=',"1,234"'), "id,time,x,y"), "y: .*without other .*line 2"),
    "below a limit": (table(series(add=",<0.5") + "9,8,7,2.5\n", "id,time,x,y"), "y: .* line 2"),
    "another minus": (table(series(ends=("\u22121", "\u22122", "4"))), "a.csv, x: .*line 2"),
    "no names": (table(series(), "0,1.5,2.25"), "a.csv: .*first line of names"),
    "the line of Excel": (table(series(), "sep=,\nid,time,x"), "a.csv: .*names.* sep=,"),
    "a comment first": (table(series(), "of 2026\nid,time,x"), "a.csv: .*a comment. leave it out"),
    "a page": (file("a.npz", "<html>", beside=lambda p: p / "a.npz"), "a.npz: .*text, b'<html"),
    "infinite": (table(series("1,9,inf")), "a.csv: .*infinity"),
    "many texts": (table(TEXTS, "id,time,x,w"), "the column w: "),
    "a group of numbers alone": (table(series()), "group: ", {"group": "x"}),
    "labels without names": (labelled(LINES[4:]), "labels.csv: .*first line of names"),
    "labels lack": (labelled(LINES[:-4]), "labels.csv: .*1 .*d.mp4"),
    "a name misspelt": (labelled(LINES.replace("d,", "dd.mp4,")), r"is dd.mp4 meant for d.mp4\?"),
    "a label is empty": (labelled(f"{LINES},\n"), "labels.csv, y: .*line 6"),
    "a name twice": (labelled(f"{LINES}a,1\n"), "labels.csv: .*a.mp4 twice"),
    "a step twice": (labelled(TWICE), "labels.csv, frame: .*line 5"),
    "no labels there": (films, "labels: .*none.csv", {"labels": "none.csv"}),
    "a label twice": (file("mine.csv", EIGHT, LABELLED), "mine.csv: ", {"labels": "mine.csv"}),
    "decimal commas": (labelled('n,y\na,"0,5"\nb,"1,25"\nc,"2,5"\nd,3\n'), "y: .*'0,5' in line 2"),
    "an infinite label": (labelled(f"{LINES[:-2]}inf\n"), "the label y: .*infinity"),
}
READ = {  # what is seen only when the files are read
    "torn mov": (damaged(".mov"), "z.mov"),
    "torn mkv": (damaged(".mkv"), "z.mkv"),
    "torn gif": (damaged(".gif"), "z.gif"),
    "a damaged flac": (damaged(".flac"), "z.flac"),
    "nothing observed": (arrays(x=GAPS), "rows: .*1 in 1"),
    "steps last": (arrays(x=np.zeros((8, 1, 40))), "1 in 0 .axes are sequences, steps, variables"),
    "one colour": (arrays(x=FRAMES * 0), "rows: .*one colour"),
    "a stack": (odd_picture("z.tif", more=2), "b/z.tif .*3 pictures"),
    "no picture": (lambda p: file("z.png")(pictures(p) / "b").parent, "b/z.png"),
    "deep colours": (odd_picture("deep.png", "I;16"), "b/deep.png .*8 bits"),
    "no sound": (sounds(TONE[:0]), "a.wav: .*samples"),
    "a recording not closed": (file("d.wav", NOT_CLOSED, sounds(TONE)), "d.wav: .*header .*ffmpeg"),
    "NaN in a sound": (sounds(TONE * np.nan), "a.wav: .*nan"),
    "silence": (sounds(TONE * 0 + 0.1), "a.wav: .*one level"),
    "far too loud": (sounds(TONE * 1e30), "a.wav: .*-1 to 1"),
    "channels that cancel": (sounds(np.stack([TONE, 1e-5 - TONE], 1)), "a.wav: .*cancel"),
    "too short": (arrays(x=X[:2]), "length: .*3 steps", {"length": 2}),
    "too long": (arrays(x=np.zeros((4, 1001, 1))), "rows: .*1000 steps"),
    "one value": (arrays(x=ALIKE), "variable 1: "),
    "time first": (arrays(x=squares(30).swapaxes(0, 1)), r"a.npz: .*np.swapaxes\(x, 0, 1\)"),
    "few, time first": (arrays(x=squares(9)[:, :6].swapaxes(0, 1)), "a.npz: .*np.swapaxes"),
    "steps lack": (file("labels.csv", STEPS, pictures), "the label y of a: "),
    "time last": (arrays(x=np.moveaxis(squares(30), 1, 3)), r"time; np.moveaxis\(x, -1, 1\) mends"),
    "labels of more frames": (labelled(MORE), "the label y of a.mp4: .*5 labels for 3 steps"),
}


@pytest.mark.parametrize("name", [*BAD, *READ])
def test_faults_are_refused_by_name(name, tmp_path, monkeypatch):
    make, names, *more = (BAD | READ)[name]
    options = more[0] if more else {}
    path = make(tmp_path)
    if "labels" in options:
        options = options | {"labels": tmp_path / options["labels"]}
    if name in BAD:
        monkeypatch.setattr(own_data, "cut", None)  # No film is decoded, nor any picture read.
    with pytest.raises(ValueError, match=names) as refusal:
        own_data.load(path, **options)
    assert "\n" not in str(refusal.value).strip()
