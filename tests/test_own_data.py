"""Own data: what is written comes back, no split leaks, and bad files get one clear sentence."""

import unicodedata

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image
from unbraid.data import speech, sprites, weather
from unbraid_extras import own_data as own
from unbraid_extras import own_files

PSNR = 28.0  # dB; the worst of 99 sprite clips had 28.4, since x264 halves the colours' resolution


def write_film(path, frames):
    """A film of frames (T, H, W, 3), near the codec's best quality."""
    path.parent.mkdir(exist_ok=True)
    codec = "libvpx" if path.suffix == ".webm" else "libx264"
    options = {"fps": 8, "codec": codec, "quality": 10, "macro_block_size": 2}
    stream = imageio_ffmpeg.write_frames(str(path), frames.shape[2:0:-1], **options)
    stream.send(None)
    for frame in frames:
        stream.send(np.ascontiguousarray(frame))
    stream.close()


def ramp(count, height=16, width=16):
    """Frames (T, H, W, 3) whose number k is told by their brightness, 6 k."""
    levels = 6 * np.arange(count, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3))


def frame_numbers(clips):
    """The number of each frame (N, T) of films made by `ramp`."""
    return (clips.frames.float().mean((2, 3, 4)) / 6).round().int()


def write_pictures(folder, count, size=(16, 16), first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        Image.new("RGB", size, (6 * number, 0, 0)).save(folder / f"frame {number}.png")


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


def test_sprites_come_back_from_films_within_the_codecs_error(tmp_path):
    true = sprites.load("test").subset(slice(0, 90, 9)).frames
    for number, clip in enumerate(true):
        write_film(tmp_path / f"{number}.mp4", clip.permute(0, 2, 3, 1).numpy())
    data = own.load(tmp_path)
    read = by_name(data)
    assert len(read) == 10 and data.splits["train"].frames.dtype == torch.uint8
    for name, clip in read.items():
        errors = clip.double() - true[int(name.removesuffix(".mp4"))].double()
        assert 10 * torch.log10(255**2 / errors.square().mean()) > PSNR


def test_a_table_of_the_weather_gives_the_loaders_tensors(tmp_path):
    true = weather.load("test", scaled=False).subset(slice(0, 30))
    mask = true.mask if true.mask.ndim == 3 else true.mask[..., None].expand_as(true.frames)
    values = true.frames.double().where(mask, torch.nan).flatten(0, 1)
    table = pd.DataFrame(values.numpy(), columns=weather.WEATHER)
    table.insert(0, "series", np.repeat(np.arange(30), 24))
    table.insert(1, "hour", np.tile(np.arange(24), 30))
    station = np.array(weather.AIRPORTS)[true.labels["station"]]
    table["station"] = np.repeat(station, 24)
    table["light"] = np.where((table["hour"] > 6) & (table["hour"] < 18), "day", "night")
    table = table.sample(frac=1, random_state=0)  # Lines may come in any order.
    table.to_csv(tmp_path / "weather.csv", index=False)

    data = own.load(tmp_path / "weather.csv")
    rows = [int(name) for name in data.names["train"]]
    train = true.frames[rows].double().where(mask[rows], torch.nan).flatten(0, 1).numpy()
    mean, deviation = map(torch.from_numpy, (np.nanmean(train, 0), np.nanstd(train, 0)))
    for split, read in data.splits.items():
        rows = [int(name) for name in data.names[split]]
        expected = (true.frames[rows] - mean) / deviation * mask[rows]
        torch.testing.assert_close(read.frames, expected.float(), rtol=1e-5, atol=1e-5)
        assert torch.equal(read.mask.expand_as(mask[rows]), mask[rows])
        assert torch.equal(read.labels["station"], true.labels["station"][rows])
        assert read.static == ("station",) and read.dynamic == ("light",)
        assert read.classes["station"] == weather.AIRPORTS
        assert torch.equal(read.labels["light"][0], torch.tensor([1] * 7 + [0] * 11 + [1] * 6))


def test_pictures_come_back_exactly_in_the_order_of_their_numbers(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 11, 32, 32, 3), np.uint8)
    for name, clip in enumerate(pixels):
        (tmp_path / str(name)).mkdir()
        for number, picture in enumerate(clip):
            Image.fromarray(picture).save(tmp_path / str(name) / f"{number}.png")
    for name, clip in by_name(own.load(tmp_path)).items():
        assert np.array_equal(clip.permute(0, 2, 3, 1), pixels[int(name)])


def test_pictures_of_other_sizes_are_cut_to_their_middle_square(tmp_path):
    """The left and right quarters of a wide picture are cut off, the rest is halved."""
    for name in "abc":
        write_pictures(tmp_path / name, 2, (64, 32))
        wide = np.zeros((32, 64, 3), np.uint8)
        wide[:, 16:48] = 200
        Image.fromarray(wide).save(tmp_path / name / "frame 1.png")
        Image.new("L", (5, 7), 100).save(tmp_path / name / "frame 2.png")
    for clip in by_name(own.load(tmp_path, size=16)).values():
        assert clip.shape == (3, 3, 16, 16)
        assert (clip[1] == 200).all() and (clip[2] == 100).all()


def test_films_of_all_formats_are_cut_to_their_middle_square(tmp_path):
    levels = np.array([200, 180, 160, 140])
    wide = np.zeros((4, 32, 64, 3), np.uint8)
    wide[:, :, 16:48] = levels[:, None, None, None]
    for name in ("a: 1.mp4", "b.mov", "c.MKV", "d.webm"):
        write_film(tmp_path / name, wide)
    first, *others = map(Image.fromarray, wide)
    first.save(tmp_path / "ü.gif", save_all=True, append_images=others)
    clips = by_name(own.load(tmp_path, size=16))
    assert len(clips) == 5
    for name, clip in clips.items():
        inside = clip[..., 2:-2].double() - torch.from_numpy(levels)[:, None, None, None]
        assert clip.shape == (4, 3, 16, 16) and inside.abs().max() < 6, name


def test_recordings_become_the_chunks_of_speech(tmp_path):
    random = np.random.default_rng(0)
    waves = [random.normal(0, 0.1, (6000 + 700 * number, 2)) for number in range(4)]
    for number, wave in enumerate(waves):
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000, "FLOAT")
    data = own.load(tmp_path)
    waveforms = [speech.equal_level(torch.from_numpy(wave.mean(1)).float()) for wave in waves]
    chunks = speech.cut(speech.Utterances(waveforms, {}, {}, 16_000, "", ""))
    names = []
    for number, chunk in zip(chunks.labels["utterance"], chunks.labels["chunk"], strict=True):
        names.append(f"{number}.wav #{chunk + 1}")
    rows = [names.index(name) for name in data.names["train"]]
    scale = speech.SpectrumScale.fit(chunks.subset(rows))
    for split, read in data.splits.items():
        expected = chunks.subset([names.index(name) for name in data.names[split]])
        assert torch.equal(read.mask, expected.mask)
        frames = scale.transform(expected).frames
        torch.testing.assert_close(read.frames, frames, rtol=1e-3, atol=1e-3)


def test_other_rates_are_resampled(tmp_path):
    """A tone of 1 000 Hz is at 1 000 Hz, spectrum 25 of 40 Hz each, whatever the rate."""
    for number, rate in enumerate((16_000, 22_050, 48_000)):
        tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate // 2) / rate)
        soundfile.write(tmp_path / f"{number}.wav", tone, rate)
    found = own_files.find_in_folder(tmp_path, 32)
    for number in range(3):
        assert (found.read(number)[0][2:18].argmax(1) == 25).all()
    assert "Recordings of 16000, 22050, 48000 Hz are read at 16000 Hz" in found.notes[0]


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
    data = own.load(arrays(pictures=values, who=who, step=steps)(tmp_path), size=16)
    for name, clip in by_name(data).items():
        assert clip.dtype == torch.uint8 and np.array_equal(clip, pixels[int(name)])
    assert data.splits["train"].mask is None
    assert data.splits["train"].classes == {"who": ("a", "ü"), "step": ("0", "1", "2")}
    for name, label in by_name(data, lambda split: split.labels["who"]).items():
        assert label == int(name) % 2
    assert any("last axis" in note for note in data.notes) == (colours == "last")


def test_a_mask_and_missing_values_are_kept(tmp_path):
    series = np.random.default_rng(0).normal(3, 2, (8, 5, 2))
    series[2, 1, 0] = np.nan
    mask = np.ones((8, 5), bool)
    mask[3, 4:] = False
    series[3, 4] = 1e6  # It must not count.
    data = own.load(arrays(x=series, mask=mask)(tmp_path))
    true = np.repeat(mask[..., None], 2, 2)
    true[2, 1, 0] = False
    for name, observed in by_name(data, lambda split: split.mask).items():
        assert np.array_equal(observed, true[int(name)])
    assert max(split.frames.abs().max() for split in data.splits.values()) < 5
    train = data.splits["train"]
    for number in range(2):
        values = train.frames[..., number][train.mask[..., number]]
        assert abs(values.mean()) < 1e-5 and abs(values.std(correction=0) - 1) < 1e-5


# ---- clips and splits


def test_clips_of_a_film_stay_in_one_split_and_short_films_are_masked(tmp_path):
    for number in range(7):
        write_film(tmp_path / f"{number}.mp4", ramp(3 if number == 0 else 11))
    data = own.load(tmp_path, length=4, stride=3, size=16)
    films = {}
    for split, names in data.names.items():
        films[split] = {name.partition(" #")[0] for name in names}
    assert [len(films[split]) for split in own.SPLITS] == [5, 1, 1]
    assert len(set.union(*films.values())) == 7
    clips, masks = by_name(data), by_name(data, lambda split: split.mask)
    assert len(clips) == 1 + 6 * 3
    for name, clip in clips.items():
        film, _, place = name.partition(" #")
        first = 3 * int(place or 1) - 3
        expected = [first, first + 1, first + 2, first + 3]
        assert masks[name].tolist() == [True, True, True, film != "0.mp4"]
        numbers = (clip.float().mean((1, 2, 3)) / 6).round().int()
        assert numbers[masks[name]].tolist() == expected[: masks[name].sum()]
    assert "cut into 19 clips of 4 steps" in " ".join(data.notes)


def test_one_film_is_split_by_time_without_a_shared_frame(tmp_path):
    write_film(tmp_path / "one.mp4", ramp(40))
    data = own.load(tmp_path / "one.mp4", length=3, size=16)
    numbers = {split: frame_numbers(clips) for split, clips in data.splits.items()}
    for clips in numbers.values():
        assert (clips.diff(dim=1) == 1).all() and (clips[:, 0].diff() == 1).all()
    ends = [(int(clips.min()), int(clips.max())) for clips in numbers.values()]
    assert ends == [(0, 27), (31, 33), (37, 39)]  # Of 28, 6 and 6 frames, 3 are left out twice.
    assert data.names["validation"] == ["one.mp4 #27"]
    assert "each is split by time" in " ".join(data.notes)


def test_groups_stay_together_and_the_seed_draws(tmp_path):
    x, group = np.random.default_rng(0).random((40, 3, 2)), np.arange(40) // 4
    path = arrays(x=x, who=group, kind=np.arange(40) % 2)(tmp_path)
    drawn = []
    for seed in (0, 0, 1):
        data = own.load(path, group="who", seed=seed)
        groups = [set(split.labels["who"].tolist()) for split in data.splits.values()]
        assert [len(part) for part in groups] == [6, 2, 2] and len(set.union(*groups)) == 10
        drawn.append(data.names)
    assert drawn[0] == drawn[1] != drawn[2]
    (warning,) = (note for note in data.notes if note.startswith("Careful"))
    assert "4 classes of who never occur in training" in warning


@pytest.mark.parametrize("seed", range(5))
def test_training_has_every_class_if_it_can(tmp_path, seed):
    rare = np.array(["usual"] * 36 + ["rare"] * 2 + ["other"] * 2)
    x = np.random.default_rng(0).random((40, 3, 2))
    data = own.load(arrays(x=x, label=rare)(tmp_path), seed=seed)
    assert len(data.splits["train"].labels["label"].unique()) == 3
    assert not any(note.startswith("Careful") for note in data.notes)


# ---- labels


def test_names_match_in_any_unicode_form_and_without_their_ending(tmp_path):
    for name in ("ü", "ö", "a", "b"):
        write_pictures(tmp_path / unicodedata.normalize("NFD", name), 2)
    lines = "name,who,age,day\nü,Zoë,1.5,1\nö,Ann,2.5,2\na,Zoë,1,1\nb,Ann,1,2\nother,Bob,0,3\n"
    write_text(tmp_path / "labels.csv", unicodedata.normalize("NFC", lines))
    data = own.load(tmp_path)
    train = data.splits["train"]
    assert train.classes == {"who": ("Ann", "Zoë"), "day": ("1", "2")}
    ages = by_name(data, lambda split: split.labels["age"])
    assert {name: float(age) for name, age in ages.items()} == {"ü": 1.5, "ö": 2.5, "a": 1, "b": 1}
    assert "1 lines of labels.csv name no folders that are here." in data.notes


def test_labels_of_steps_follow_the_clips(tmp_path):
    lines = ["film,frame,who,number,half"]
    for film in range(4):
        write_film(tmp_path / "films" / f"{film}.mp4", ramp(8))
        lines += [f"{film},{k},{'ab'[film % 2]},{k},{k / 2}" for k in range(8)]
    labels = write_text(tmp_path / "mine.csv", "\n".join(lines))
    data = own.load(tmp_path / "films", labels=labels, length=3, stride=2, size=16)
    for split in data.splits.values():
        assert split.static == ("who",) and split.dynamic == ("number", "half")
        assert torch.equal(split.labels["number"].int(), frame_numbers(split))
        assert torch.equal(split.labels["half"], frame_numbers(split) / 2)
        films = [int(name[0]) % 2 for name in data.names[split.split]]
        assert split.labels["who"].tolist() == films


def test_series_of_unequal_lengths_lie_on_one_grid_if_they_share_times(tmp_path):
    lines = ["id,date,x"]
    for name in "abcd":
        days = (1, 2, 4) if name == "a" else (1, 2, 3, 4)
        lines += [f"{name},2020-01-{day:02},{day}.5" for day in days]
    data = own.load(write_text(tmp_path / "a.csv", "\n".join(lines)))
    masks = by_name(data, lambda split: split.mask)
    assert masks["a"].tolist() == [True, True, False, True] and masks["b"].all()


def test_series_that_share_no_times_keep_their_own_steps(tmp_path):
    lines = ["id,time,x,age"]
    for number, name in enumerate(("007", "7", "NA", "null", "e")):
        times = range(100 * number, 100 * number + 4 + (number == 0))
        lines += [f"{name},{time},{time % 100},{number}" for time in times]
    lines[1:] = reversed(lines[1:])
    data = own.load(write_text(tmp_path / "a.csv", "\n".join(lines)))
    masks = by_name(data, lambda split: split.mask)
    assert sorted(masks) == ["007", "7", "NA", "e", "null"]
    for name, mask in masks.items():
        assert mask.tolist() == [True] * 4 + [name == "007"]
    for name, frames in by_name(data).items():
        assert (frames[:4, 0].diff() > 0).all(), name
    assert "They share few times" in " ".join(data.notes)
    assert "age never change within a series" in " ".join(data.notes)


def test_a_file_that_is_none_of_them_is_left_out_and_named(tmp_path):
    for name in "abc":
        write_pictures(tmp_path / name, 2)
    write_text(tmp_path / "notes.txt", "mine")
    (tmp_path / ".hidden").mkdir()
    data = own.load(tmp_path)
    assert "Other files, 1, are left out, such as notes.txt." in data.notes
    assert "2 of 2 steps" not in repr(data) and "1 of 2 steps, frames of 3 x 32 x 32" in repr(data)


def test_labels_of_steps_keep_their_last_value_where_nothing_was_observed(tmp_path):
    lines = ["name,frame,what"]
    for folder, count in zip("abc", (3, 5, 5), strict=True):
        write_pictures(tmp_path / "clips" / folder, count)
        lines += [f"{folder},{k},{'xyz'[k % 3]}" for k in range(count)]
    labels = write_text(tmp_path / "labels.csv", "\n".join(lines))
    data = own.load(tmp_path / "clips", labels=labels)
    what = by_name(data, lambda split: split.labels["what"])
    assert what["a"].tolist() == [0, 1, 2, 2, 2] and what["b"].tolist() == [0, 1, 2, 0, 1]

    lines = ["id,time,x,what"]
    for name in "abc":
        times = (0, 1, 4) if name == "a" else range(5)
        lines += [f"{name},{time},{time},{'xyz'[time % 3]}" for time in times]
    data = own.load(write_text(tmp_path / "a.csv", "\n".join(lines)))
    what = by_name(data, lambda split: split.labels["what"])
    assert what["a"].tolist() == [0, 1, 1, 1, 1] and what["b"].tolist() == [0, 1, 2, 0, 1]


def test_clips_with_less_than_two_steps_observed_are_left_out(tmp_path):
    series = np.random.default_rng(0).random((6, 9, 1))
    series[2, 3:6] = series[4, 4:6] = np.nan
    names = by_name(own.load(arrays(x=series)(tmp_path), length=3)).keys()
    assert len(names) == 16 and {"2 #2", "4 #2"} < names and not {"2 #3", "4 #3"} & names


def test_dark_bytes_stay_dark_and_zeros_and_ones_are_black_and_white(tmp_path):
    for brightest, expected in ((2, 2), (1, 255)):
        frames = np.full((3, 2, 3, 8, 8), brightest, np.uint8)
        frames[..., 0] = 0
        np.save(tmp_path / "a.npy", frames)
        data = own.load(tmp_path / "a.npy", size=8)
        assert (data.splits["train"].frames[..., 1:] == expected).all()
        assert any("black and white" in note for note in data.notes) == (brightest == 1)


def test_floats_a_little_above_one_are_white(tmp_path):
    frames = np.full((3, 2, 3, 8, 8), 0.2, np.float32)
    frames[..., 0] = 1.02  # as a filter leaves it
    np.save(tmp_path / "a.npy", frames)
    data = own.load(tmp_path / "a.npy", size=8)
    assert data.splits["train"].frames[0, 0, 0, 0].tolist() == [255] + 7 * [51]
    assert "Values above 1, up to 1.02, are read as 1." in data.notes


def test_what_is_transparent_is_grey(tmp_path):
    """Black figures on nothing, as pictures and as a film, are no black frames."""
    for name in "abc":
        (tmp_path / "pictures" / name).mkdir(parents=True)
        pictures = []
        for step in range(3):
            pixels = np.zeros((8, 8, 4), np.uint8)
            pixels[2:5, step : step + 3, 3] = 255
            pictures.append(Image.fromarray(pixels))
            pictures[-1].save(tmp_path / "pictures" / name / f"{step}.png")
        (tmp_path / "films").mkdir(exist_ok=True)
        options = {"append_images": pictures[1:], "disposal": 2, "duration": 100}
        pictures[0].save(tmp_path / "films" / f"{name}.gif", save_all=True, **options)
    for kind in ("pictures", "films"):
        frames = own.load(tmp_path / kind, size=8, length=3).splits["train"].frames[0]
        assert set(frames.unique().tolist()) == {0, 128}, kind
        assert ((frames == 0).sum((1, 2, 3)) == 27).all()


def test_what_is_read_as_what_is_said(tmp_path):
    series, steps = np.divmod(np.arange(48), 8)
    who = np.array(["a", "b"])[series % 2]
    columns = {"id": series, "time": steps, "x": series * steps, "act": steps % 3 + 1, "who": who}
    table = pd.DataFrame(columns)
    table.to_csv(tmp_path / "a.csv")  # with the numbers of the rows
    data = own.load(tmp_path / "a.csv")
    assert data.splits["train"].frames.shape[2] == 2
    table.set_index("id").to_csv(tmp_path / "b.csv", index_label="")
    named = own.load(tmp_path / "b.csv", id_column="Unnamed: 0")
    assert torch.equal(named.splits["test"].frames, data.splits["test"].frames)
    for note in (
        "A column without a name is left out.",
        "Variables: x, act.",
        "Labels of sequences: who (2 classes).",
        "Careful: act have few whole values and are read as variables: if they are labels, write "
        "them as text.",
    ):
        assert note in data.notes


@pytest.mark.parametrize("text", ("31.01.2026", "1.2.3", "192.168.0.1", "A12", "12-34", "0171 23"))
def test_text_that_is_no_number_is_a_label(text, tmp_path):
    lines = "".join(f"{k},{t},{t * k},{text}{k}\n" for k in range(6) for t in range(8))
    (tmp_path / "a.csv").write_text(f"id,time,x,who\n{lines}")
    assert own.load(tmp_path / "a.csv").splits["train"].static == ("who",)


def test_steps_in_no_clip_are_counted(tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((6, 20, 2)))
    notes = own.load(tmp_path / "a.npy", length=16).notes
    assert any(note.startswith("20.0% of the steps are in no clip") for note in notes)
    assert not any("no clip" in note for note in own.load(tmp_path / "a.npy", length=10).notes)


def test_masked_frames_are_zero(tmp_path):
    mask = np.ones((6, 3), bool)
    mask[:, 2] = False
    grey = np.full((6, 3, 3, 8, 8), 126, np.uint8)
    grey[..., 0] = 100
    for split in own.load(arrays(x=grey, mask=mask)(tmp_path), size=8).splits.values():
        assert (split.frames[:, :2, ..., 1:] == 126).all() and (split.frames[:, 2] == 0).all()


def test_a_turned_photograph_is_put_upright(tmp_path):
    upright = Image.fromarray(np.repeat(np.array([[0], [200]], np.uint8), 8, 0).repeat(16, 1))
    exif = Image.Exif()
    exif[0x0112] = 8  # It is to be turned by 90 degrees to the left.
    upright.rotate(-90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(own_files.read_picture(tmp_path / "turned.png", 16)[0], upright)


# ---- bad input: what a stranger may have, and what the one sentence names

X = np.random.default_rng(0).random((8, 3, 2))
FRAMES = np.zeros((8, 2, 3, 16, 16), np.uint8)
LINES = "n,y\na,0\nb,1\nc,0\nd,1\n"
COMMAS = "n,y\na,0,5\nb,1,5\nc,0,5\nd,1,5\n"
EIGHT = "n,y\n" + "".join(f"{number},1\n" for number in range(8))
STEPS = "n,frame,y\n" + "".join(f"{name},{k},{k}\n" for name in "abcd" for k in (1, 2))
TWICE = "n,frame,y\nz,0,1\nz,0,1\na,0,1\na,0,1\nb,0,1\nc,0,1\nd,0,1\n"
TEXTS = "".join(f"{k % 6},{k},1,t{k}\n" for k in range(90))
REGIONS = "".join(f"{k},{t},{t + k},{'NA' if k < 3 else 'EU'}\n" for k in range(6) for t in (0, 1))


def case(make, names, **options):
    """make(folder) gives the path; names: what the message matches; options of `own.load`."""
    return make, names, options


def here(folder):
    return folder


def objects(folder):
    np.save(folder / "a.npy", np.array([{}, []], dtype=object))
    return folder / "a.npy"


def changed(values, index, value):
    values = values.copy()
    values[index] = value
    return values


def file(name, content="", beside=here):
    """A file in a folder, in which `beside` makes other things."""

    def make(folder):
        made = beside(folder)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return made

    return make


def films(folder, content=b"no film"):
    for name in "abcd":
        (folder / f"{name}.mp4").write_bytes(content)
    return folder


def torn(suffix):
    """Films of which the second ends too early."""

    def make(folder):
        for name in "abc":
            write_film(folder / f"{name}{suffix}", ramp(20))
        path = folder / f"b{suffix}"
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        return folder

    return make


def gifs(folder):
    for name in "abc":
        Image.new("RGB", (16, 16)).save(folder / f"{name}.gif")
    return folder


def pictures(folder, count=2, names="abcd"):
    for name in names:
        write_pictures(folder / name, count)
    return folder


def deep(folder):
    with Image.new("I;16", (16, 16)) as image:
        image.save(pictures(folder) / "b" / "deep.png")
    return folder


def two_forms(folder):
    """Two folders whose names look the same."""
    for form in ("NFC", "NFD"):
        write_pictures(folder / unicodedata.normalize(form, "ü"), 2)
    if len(list(folder.iterdir())) == 1:
        pytest.skip("this file system knows one form of Unicode only")
    return pictures(folder)


def stack(folder):
    """Three pictures in one file, as microscopes write them."""
    pages = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (1, 2, 3)]
    pages[0].save(pictures(folder) / "b" / "z.tif", save_all=True, append_images=pages[1:])
    return folder


def sounds(rate=16_000, samples=8000, value=0.1):
    def make(folder):
        for name in "abc":
            soundfile.write(folder / f"{name}.wav", np.full(samples, value), rate, "FLOAT")
        return folder

    return make


def table(lines, header="id,time,x"):
    return lambda folder: write_text(folder / "a.csv", f"{header}\n{lines}")


def series(more="", count=6, ends=("1", "2", "4"), add=""):
    lines = "".join(f"{k},{t},{x}{add}\n" for k in range(count) for t, x in enumerate(ends))
    return lines + more


def labelled(text):
    return file("labels.csv", text, films)


BAD = {
    "nothing there": case(lambda p: p / "none", "path: .* found no"),
    "an empty folder": case(here, "an empty folder"),
    "text files alone": case(file("a.txt"), "1 other files .a.txt."),
    "a text file": case(file("a.txt", beside=lambda p: p / "a.txt"), "path: .* found a.txt"),
    "mixed kinds": case(lambda p: films(pictures(p)), "4 folders .a., 4 films .a.mp4."),
    "loose pictures": case(lambda p: pictures(p) / "a", "found 2 pictures"),
    "films in folders": case(lambda p: films(pictures(p, 0) / "a").parent, "the folder a: "),
    "an empty film": case(lambda p: films(p, b""), "a.mp4: .* empty"),
    "two pictures lack": case(lambda p: pictures(p, 1), "the folder a: "),
    "one clip only": case(lambda p: pictures(p, 2, "a"), "path: .* 3 folders .* found 1"),
    "two rows": case(arrays(x=X[:2]), "path: .* 3 rows .* found 2"),
    "names alike": case(two_forms, "different names"),
    "too low a rate": case(sounds(4000), "a.wav: .* 8000"),
    "steps of a recording": case(
        file("labels.csv", STEPS, sounds()), "labels.csv: .* each recording"
    ),
    "no recording": case(file("a.wav", "text"), "a.wav is no recording"),
    "length of sound": case(sounds(), "length, stride: ", length=5),
    "too large a size": case(here, "size: ", size=31),
    "length 1": case(here, "length: ", length=1),
    "stride 0": case(here, "stride: ", stride=0),
    "id of no table": case(arrays(x=X), "id_column: .* a.npz", id_column="k"),
    # arrays
    "pickled": case(objects, "a.npy cannot be read .* not of objects"),
    "two arrays": case(arrays(x=X, y=X), "a.npz: .* x .* y "),
    "two axes": case(arrays(x=X[0]), "a.npz: "),
    "text": case(arrays(x=X.astype(str)), "a.npz: .* found x .* of <U"),
    "infinity": case(arrays(x=changed(X, 1, np.inf)), "a.npz: .* infinity"),
    "NaN in frames": case(arrays(x=FRAMES * np.nan), "a.npz: .* nan to nan"),
    "negative": case(arrays(x=FRAMES - 1.0), "a.npz: .* -1 to -1"),
    "nearly black": case(arrays(x=FRAMES * 1.0 + 2), "a.npz: .* found 2 to "),
    "one film": case(arrays(x=FRAMES[0].swapaxes(1, 3)), "a.npz: .* frames"),
    "five colours": case(arrays(x=np.zeros((8, 2, 5, 9, 9))), "a.npz: .* colours"),
    "other mask": case(arrays(x=X, mask=X[0]), "a.npz, mask: "),
    "other labels": case(arrays(x=X, y=np.arange(7)), "a.npz, y: "),
    "labels with NaN": case(arrays(x=X, y=X[:, 0, 0] * np.nan), "the label y: .* at ..0"),
    "two groups": case(arrays(x=X, who=np.arange(8) % 2), "group: .* 3 .* who", group="who"),
    "no such group": case(arrays(x=X, who=np.arange(8)), "group: .* mean who", group="whom"),
    # tables
    "no csv": case(file("a.csv", b"\xff\xfe\x00\x01" * 30, lambda p: p / "a.csv"), "a.csv: "),
    "semicolons": case(table("a;0;1", "id;time;x"), "a.csv: .* commas"),
    "no lines": case(table(""), "a.csv: .* lines"),
    "no id": case(table("1,0,2", "k,time,x"), "id_column: .* k, time, x"),
    "no time": case(table("1,0,2", "id,k,x"), "time_column: .* id, k, x .--time-column"),
    "two times": case(table("1,0,2", "id,year,month"), "time_column: .* found year, month"),
    "other name": case(table(series()), "id_column: .* found k", id_column="k"),
    "one column twice": case(table(series()), "time_column: ", id_column="time"),
    "a name lacks": case(table(series(",3,1")), "a.csv, id: .* line 20"),
    "a time lacks": case(table(series("1,,1")), "a.csv, time: .* line 20"),
    "times of words": case(table(series("1,soon,1")), "a.csv, time: .* line 2"),
    "repeated times": case(table(series("1,0,9")), "a.csv, time: .* line 20"),
    "a comma in a number": case(table(series('1,9,"2,5"')), "a.csv, x: .* line 20"),
    "thousands": case(
        table(series(add=',"1,234"'), "id,time,x,y"), "y: .* thousands, found '1,234'"
    ),
    "percent": case(table(series(add=",12%"), "id,time,x,y"), "y: .* found '12%'"),
    "text alone": case(table(series(ends="ab")), "a.csv: .* numbers"),
    "infinite": case(table(series("1,9,inf")), "a.csv: .* infinity"),
    "gaps in a text": case(table("9,0,1,\n" + series(add=",t"), "id,time,x,w"), "the label w: "),
    "many texts": case(table(TEXTS, "id,time,x,w"), "the column w: "),
    "two series": case(table(series(count=2)), "path: .* 3 series .* length"),
    "decimal commas": case(table(series(add=",5")), "a.csv: .* decimals"),
    "no usual id": case(table(series(), "station,time,x"), "id_column: .*--id-column COLUMN"),
    "a text like NA": case(table(REGIONS, "id,time,x,region"), "the label region: .* NA"),
    "a group of numbers alone": case(table(series()), "group: ", group="x"),
    # labels
    "labels of others": case(labelled("n,y\nz,1\n"), "labels.csv: .* 4 .* a.mp4.* has .'z'"),
    "labels lack": case(labelled(LINES[:-4]), "labels.csv: .* 1 .* d.mp4"),
    "a label is empty": case(labelled(f"{LINES},\n"), "labels.csv, y: .* line 6"),
    "a name twice": case(labelled(f"{LINES}a,1\n"), "labels.csv: .* a.mp4 twice"),
    "a step twice": case(labelled(TWICE), "labels.csv, frame: .* line 5"),
    "no labels there": case(films, "labels: .*none.csv", labels="none.csv"),
    "a label twice": case(
        file("mine.csv", EIGHT, arrays(x=X, y=np.arange(8))), "mine.csv: ", labels="mine.csv"
    ),
    "one long line": case(labelled("n,y\na,0\nb,1,5\nc,1\n"), "labels.csv: .* line 3"),
    "decimal commas in labels": case(labelled(COMMAS), "labels.csv: .* decimals"),
    "an infinite label": case(labelled(f"{LINES[:-2]}inf\n"), "the label y: .* infinity"),
}
READ = {  # what is seen only when the files are read
    "torn": case(torn(".mp4"), "b.mp4 cannot be decoded"),
    "torn, but readable": case(torn(".mkv"), "b.mkv cannot be .*; copy it again"),
    "no films": case(films, "a.mp4 cannot be decoded"),
    "one frame": case(gifs, "films: .* found 1 in a.gif"),
    "one step": case(arrays(x=X[:, :1]), "rows: .* found 1 in 0"),
    "nothing observed": case(arrays(x=changed(X, (1, slice(1, 3)), np.nan)), "rows: .* 1 in 1"),
    "a line alone": case(table(series("new,0,3")), "series: .* 1 in new"),
    "one colour": case(arrays(x=FRAMES * 0), "rows: .* one colour"),
    "a stack": case(stack, "b/z.tif cannot be read .it holds 3 pictures"),
    "no picture": case(lambda p: file("z.png")(pictures(p) / "b").parent, "b/z.png cannot be read"),
    "deep colours": case(deep, "b/deep.png cannot be read .*8 bits"),
    "no sound": case(sounds(samples=0), "a.wav: .* samples"),
    "NaN in a sound": case(sounds(value=np.nan), "a.wav: .* NaN"),
    "too short": case(arrays(x=X[:2]), "length: .* 3 steps", length=2),
    "too long": case(arrays(x=np.zeros((4, 1001, 1))), "rows: .* 1000 steps"),
    "one value": case(arrays(x=changed(X, (..., 1), 7)), "variable 1: "),
    "a column of gaps": case(table(series(add=","), "id,time,x,y"), "y: "),
    "steps lack": case(file("labels.csv", STEPS, pictures), "the label y of a: .* none at 0"),
}


@pytest.mark.parametrize("name", [*BAD, *READ])
def test_bad_input_gets_one_clear_sentence(name, tmp_path, monkeypatch):
    make, names, options = (BAD | READ)[name]
    path = make(tmp_path)
    if "labels" in options:
        options = options | {"labels": tmp_path / options["labels"]}
    if name in BAD:
        monkeypatch.setattr(own, "cut", None)  # No film is decoded, nor any picture read.
    with pytest.raises(ValueError, match=names) as refusal:
        own.load(path, **options)
    assert "\n" not in str(refusal.value).strip()
