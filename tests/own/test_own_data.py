"""Own data: what is written comes back, no split leaks, and each kind of fault is refused."""

import itertools
import re
import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image
from unbraid.files import repository_root
from unbraid_own import clips, series
from unbraid_own.data import load

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error"]
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv420p")


def encode(path, frames, *options, rate=8):
    """A film of frames (T, H, W, 3) by ffmpeg."""
    shape = ["-s", f"{frames.shape[2]}x{frames.shape[1]}", "-r", str(rate)]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", *shape, "-i", "-"]
    options = options or LOSSLESS
    program = [*FFMPEG, *source, *options, path]
    subprocess.run(program, input=np.ascontiguousarray(frames).tobytes(), check=True)
    return path


def ramp(count=6, height=32, width=32):
    """Frames (T, H, W, 3) whose number k is told by their brightness, 40 + 9 k."""
    levels = (40 + 9 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3))


def find_numbers(frames):
    """The numbers of frames (T, C, H, W) made by `ramp`."""
    return np.rint((np.asarray(frames, float).mean((1, 2, 3)) - 40) / 9).astype(int).tolist()


def write_films(folder, count=6, **options):
    for number in range(count):
        encode(folder / f"{number}.mp4", ramp(), **options)
    return folder


def write_pictures(folder, names=("0.png", "1.png", "2.png"), mode="L", count=6):
    """Folders a, b, ... of pictures that grow brighter."""
    for letter in "abcdefghij"[:count]:
        (folder / letter).mkdir(parents=True)
        for number, name in enumerate(names):
            Image.new("RGB", (40, 32), 3 * (40 + 30 * number,)).convert(mode).save(
                folder / letter / name
            )
    return folder


def write_table(path, rows, header="id,time,x"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def lines(count=6, steps=5, change=lambda number, step, x: f"s{number},{step},{x}"):
    """Lines of series that differ; change: makes a line."""
    pairs = itertools.product(range(count), range(steps))
    return [change(n, t, (3 * n + t**3) % 11 + n / 50) for n, t in pairs]


def by_name(own, get=lambda split: split.frames):
    """What splits have of each sequence, by name."""
    pairs = [zip(own.names[name], get(part), strict=True) for name, part in own.splits.items()]
    return dict(itertools.chain.from_iterable(pairs))


# ---- what is written comes back


def test_films_come_back_frame_by_frame(tmp_path):
    """Their middle squares, of any size, with sound, further pictures and misleading texts."""
    left = np.concatenate([np.full_like(ramp(), 250), ramp(), ramp()[::-1]], 2)  # 96 wide
    encode(tmp_path / "wide: ü.mov", left)
    encode(tmp_path / "tall.m4v", left.swapaxes(1, 2))
    encode(tmp_path / "large.mp4", ramp(6, 128, 128))
    sound = ("-f", "lavfi", "-t", "9", "-i", "sine", "-metadata:s:v", "handler_name=90 fps, rgba")
    encode(tmp_path / "sound.mp4", ramp(), *sound, *LOSSLESS)
    other = ("-f", "lavfi", "-i", "testsrc=s=64x32:d=1:r=8", "-map", "0", "-map", "1", *LOSSLESS)
    encode(tmp_path / "two.mp4", ramp(), *other)
    encode(tmp_path / "frames between.mp4", ramp(), "-c:v", "libx264", "-bf", "3", *LOSSLESS[2:])
    own = load(tmp_path)
    read = by_name(own)
    assert {find_numbers(frames) == [*range(6)] for frames in read.values()} == {True}
    assert read["two.mp4"].shape == (6, 3, 32, 32) and own.splits["test"].mask is None
    taken = dict(own.taken)
    assert taken["clips"] == "6 of 6 frames" and "8 a second" in taken["one step"]


def test_films_are_upright_and_as_wide_as_they_are_shown(tmp_path):
    """Turned by telephones, and of pixels twice as wide as high: the middle has half of them."""
    shades = np.linspace(40, 200, 32).astype(np.uint8)
    frames = np.broadcast_to(shades[None, None, :, None], (6, 32, 32, 3))
    encode(tmp_path / "a.mp4", frames)
    turn = [*FFMPEG, "-display_rotation", "90", "-i", tmp_path / "a.mp4", "-c", "copy"]
    subprocess.run([*turn, tmp_path / "b.mp4"], check=True)
    encode(tmp_path / "c.mp4", frames, "-vf", "setsar=2", *LOSSLESS)
    read = {name: frames[0].float().mean(0) for name, frames in by_name(load(tmp_path)).items()}
    flat, turned, wide = (read[f"{name}.mp4"] for name in "abc")
    assert (flat - torch.from_numpy(shades)).abs().max() < 6
    assert (turned - flat.T.flip(0)).abs().max() < 6
    assert (wide[0] - flat[0, 8:24].repeat_interleave(2)).abs().max() < 6


def test_pictures_come_back_in_the_order_of_their_numbers(tmp_path):
    names = ("f 8.png", "f 9.png", "f 10.png")
    write_pictures(tmp_path, names)
    (tmp_path / "a" / ".hidden").write_text("x")
    (tmp_path / "a" / "Thumbs.db").write_text("x")
    for frames in by_name(load(tmp_path)).values():
        assert frames.float().mean((1, 2, 3)).tolist() == [40, 70, 100]
    frames = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it to the right
    upright = frames.swapaxes(0, 1)[:, ::-1]
    Image.fromarray(frames).save(tmp_path / "a" / "f 8.png", exif=exif)
    read = by_name(load(tmp_path))["a"][0]
    assert np.array_equal(read.permute(1, 2, 0), upright[8:40])


def test_shorter_clips_are_masked_and_their_labels_follow(tmp_path):
    for number in range(6):
        encode(tmp_path / f"{number}.mp4", ramp(4 + number))
    rows = [f"{n}.mp4,{t},{'up' if t > 1 else 'down'},{n}" for n in range(6) for t in range(4 + n)]
    write_table(tmp_path / "labels.csv", rows, "id,time,way,who")
    own = load(tmp_path)
    for name, mask in by_name(own, lambda split: split.observed).items():
        assert mask.tolist() == [step < 4 + int(name[0]) for step in range(9)]
    test = own.splits["test"]
    assert (test.static, test.dynamic) == (("who",), ("way",))
    assert test.classes == {"way": ("down", "up"), "who": tuple("012345")}
    assert test.labels["way"][0].tolist() == [0, 0] + [1] * 7


def test_a_table_becomes_z_scores_with_its_gaps_dates_and_labels(tmp_path):
    gap = lambda n, t, x: f'"s{n}",2026-0{t + 1}-01,{"" if (n, t) == (2, 3) else x}, -1e1{t}'  # noqa: E731
    path = write_table(tmp_path / "a.csv", lines(change=gap)[::-1], "id,time,x,y")
    labels = [f"s{n},{n}.5,{n % 2}, {'é' if n % 2 else 'Ben'} " for n in range(7)]
    write_table(tmp_path / "b.csv", labels, "id,size,odd,who")
    own = load(path, tmp_path / "b.csv")
    train, read = own.splits["train"], by_name(own)
    assert train.frames[train.observed[..., 0]][:, 0].mean().abs() < 1e-6
    mask = by_name(own, lambda split: split.observed)["s2"]
    assert mask.tolist() == [[True, True]] * 3 + [[False, True]] + [[True, True]]
    seen = [0, 1, 2, 4]
    true = np.array([(6 + t**3) % 11 for t in seen])
    assert np.corrcoef(read["s2"][seen, 0], true)[0, 1] == pytest.approx(1)
    assert train.classes == {"odd": ("0", "1"), "who": ("Ben", "é")}
    assert by_name(own, lambda split: split.labels["size"])["s3"] == 3.5
    said = dict(own.taken)
    assert "30 days" in said["one step"] and "1.7% of the values" in said["variables"]
    assert said["doubt"] == "1 ids of b.csv name nothing that is here."


# ---- splits


def test_groups_stay_together_and_splits_are_near_their_shares(tmp_path):
    """In /cases/R05 one person has 70 of 100 series: training gets them, and a doubt says it."""
    path = write_table(tmp_path / "a.csv", lines(100))
    person = ["A" if n < 70 else "BCDE"[n % 4] for n in range(100)]
    rows = [f"s{n},{'a' if n == 5 else who},{n % 2}" for n, who in enumerate(person)]
    write_table(tmp_path / "l.csv", rows, "id,who,odd")
    own = load(path, tmp_path / "l.csv", "who")
    groups = [{person[int(name[1:])] for name in names} for names in own.names.values()]
    assert sum(map(len, groups)) == 5 == own.count
    sizes = {name: len(part) for name, part in own.splits.items()}
    assert 70 <= sizes["train"] <= 86 and min(sizes.values()) >= 7
    own = load(path, tmp_path / "l.csv")
    assert [len(part) for part in own.splits.values()] == [70, 15, 15]
    for part in own.splits.values():
        is_first = np.array(part.classes["who"])[part.labels["who"]] == "A"
        assert abs(is_first.mean() - 0.7) < 0.11
    assert load(path, tmp_path / "l.csv").names == own.names != load(path, seed=1).names


def test_sentinels_and_padding_are_doubted(tmp_path):
    fill = lambda n, t, x: f"s{n},{t},{-999 if t == n % 8 else x}"  # noqa: E731
    last = lambda n, t, x: f"s{n},{t},{0 if t > 2 + n % 5 else x}"  # noqa: E731
    for change, says in ((fill, "-999 in 12% of x"), (last, "padding?")):
        own = load(write_table(tmp_path / "a.csv", lines(12, 8, change=change)))
        assert any(says in text for kind, text in own.taken if kind == "doubt"), says
    assert "doubt" not in dict(load(write_table(tmp_path / "a.csv", lines(12, 7))).taken)


# ---- faults: how each is made, and what the refusal names


def film(name, *options, count=6):
    """Films, and another one of an odd kind."""
    return lambda folder: encode(write_films(folder) / name, ramp(count), *options).parent


def file(name, content=b"x", make=lambda folder: folder):
    """A further file, with this content."""

    def beside(folder):
        made = make(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return made

    return beside


def torn(folder):
    """Films, of which one lacks its end."""
    noise = np.random.default_rng(0).integers(256, size=(30, 32, 32, 3), dtype=np.uint8)
    path = encode(write_films(folder) / "z.mp4", noise, "-movflags", "faststart", *LOSSLESS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return folder


def damaged(folder):
    """Films, of which one has other bytes in its middle."""
    torn(folder)
    noise = np.random.default_rng(0).integers(256, size=(30, 32, 32, 3), dtype=np.uint8)
    path = encode(folder / "z.mp4", noise, *LOSSLESS)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    path.write_bytes(content)
    return folder


def pictures(*names, mode="L"):
    return lambda folder: write_pictures(folder, names, mode)


def odd_picture(name, image, **options):
    return lambda folder: image.save(write_pictures(folder) / "b" / name, **options) or folder


def table(rows=None, header="id,time,x", **options):
    rows = lines(**options) if rows is None else rows
    return lambda folder: write_table(folder / "a.csv", rows, header)


def labelled(*rows, header="id,y"):
    """Six pairs of pictures, and a file of labels."""
    return file("labels.csv", "\n".join([header, *rows]), pictures("0.png", "1.png"))


def each(form):
    return [form.format(letter, number) for number, letter in enumerate("abcdef")]


GREY, STEPS = Image.new("L", (40, 32), 90), (lambda n, t, x: f"s{n},{t + 5 * (t > 2)},{x}")
UNEVEN = ("-vf", "setpts='if(gt(N,2),N+4,N)/8/TB'", "-fps_mode", "vfr", *LOSSLESS)
ALPHA = ("-c:v", "qtrle", "-pix_fmt", "argb")
FAULTS = {
    # films
    "no film": (file("z.mp4", b"no film", write_films), "z.mp4 is no film .*ffmpeg -i old"),
    "a playlist": (file("z.mov", "ffconcat version 1.0\nfile 0.mp4\n", write_films), "z.mov is no"),
    "another container": (file("z.webm", b"x", write_films), "films .*.mp4.*ffmpeg.*z.webm"),
    "alpha": (film("z.mov", *ALPHA), "z.mov: .*without alpha .ffmpeg.*argb"),
    "ten bits": (film("z.mp4", *LOSSLESS[:2], "-pix_fmt", "yuv420p10le"), "z.mp4: .*8 bits"),
    "a rate that varies": (film("z.mp4", *UNEVEN), "z.mp4: .*equal times .*125 to 625 ms"),
    "other rates": (film("z.mp4", "-r", "25", *LOSSLESS), "one rate.*8 frames .* 25 frames"),
    "a long film": (film("z.mp4", count=70), "z.mp4: .*at most 64 frames .*fps=8.*--group"),
    "one frame": (film("z.mp4", count=1), "z.mp4: .*two frames"),
    "a torn film": (torn, "z.mp4 cannot be decoded to its end .*ffmpeg"),
    "a damaged film": (damaged, "z.mp4 cannot be decoded to its end .*ffmpeg"),
    "a film for itself": (lambda p: encode(p / "a.mp4", ramp()), "data: .*folder of clips.*a.mp4"),
    # folders
    "nothing": (lambda p: p / "no", "data: .*nothing at"),
    "an empty folder": (lambda p: p, "alone .*, found nothing"),
    "mixed kinds": (lambda p: write_films(write_pictures(p)), "alone .*0.mp4 and a"),
    "pictures without folders": (file("0.png"), "a folder of pictures alone for each clip.*0.png"),
    "recordings": (file("0.wav"), "speech encoder .*unbraid measure.*0.wav"),
    "a text": (file("notes.txt", b"x", write_films), "read_excel|move.*notes.txt"),
    "two films": (lambda p: write_films(p, 2), "data: .*three clips or more.*2"),
    # pictures
    "one picture": (pictures("0.png"), "folder a: .*two pictures.*0.png"),
    "no numbers": (pictures("x.png", "y.png"), "folder a: .*number alone"),
    "a gap": (pictures("0.png", "1.png", "3.png"), "counts up by one.*3.png after 1.png"),
    "a counter that begins anew": (
        pictures("9998.png", "9999.png", "0001.png", "0002.png"),
        "path.rename.*9998.png after 0002.png",
    ),
    "other pictures": (file("a/1.tif", b"x", write_pictures), "Image.open.*1.tif"),
    "a folder in a folder": (file("a/b", b"x", write_pictures), "folder a: .*found b"),
    "no picture": (file("a/0.png", b"x", write_pictures), "0.png cannot be read"),
    "a torn picture": (odd_picture("1.png", GREY), ""),
    "palettes": (pictures("0.png", "1.png", mode="P"), "L or RGB .Image.open.*, P"),
    "alpha in a picture": (pictures("0.png", "1.png", mode="RGBA"), "convert.'RGB'.*RGBA"),
    "a colour that is clear": (odd_picture("1.png", GREY, transparency=9), "1.png: .*L or RGB"),
    "sixteen bits": (pictures("0.png", "1.png", mode="I;16"), "of 16 bits after / 257"),
    "a film in a picture": (
        odd_picture("1.png", GREY, save_all=True, append_images=[Image.new("L", (40, 32))]),
        "1.png: .*PNG of 2",
    ),
    # tables
    "another table": (file("a.xlsx", make=lambda p: p / "a.xlsx"), "data: .*read_excel.*a.xlsx"),
    "a wide table": (table(["a,1,2"], "id,t0,t1"), "columns id, time .*pd.melt"),
    "names twice": (table(header="id,time,time"), "different names"),
    "semicolons": (table(["a;0;1,5"], "id;time;x"), "sep=';', decimal=','"),
    "shifted lines": (table([*lines(), "s9,1"]), "a.csv: .*3 cells .*2 in line 32"),
    "an open quote": (table([*lines(), 's9,1,"1']), "a.csv: "),
    "no lines": (table([]), "a.csv: .*above 0 lines"),
    "another encoding": (
        lambda p: file("a.csv", "id,time,ü\n".encode("latin-1"))(p) / "a.csv",
        "UTF-8 .*encoding",
    ),
    "an id lacks": (table([*lines(), ",1,1"]), "a.csv, id: .*line 32"),
    "a word": (table([*lines(), "s5,5,low"]), "a.csv, x: .*'low' in line 32"),
    "Fortran": (table([*lines(), "s5,5,1.25D+01"]), "'1.25D.01' in line 32"),
    "far too large": (table([*lines(), "s5,5,1e38"]), "1e.30 .scale"),
    "days first": (table(change=lambda n, t, x: f"s{n},{t + 1}.01.2026,{x}"), "2026-01-31 12:00"),
    "a time twice": (table([*lines(), "s5,4.0,1"]), "drop_duplicates.*pivot.*session"),
    "a gap in time": (table(change=STEPS), "equal steps .*reindex.*1.0 in s0 and 6.0 in s0"),
    "another rate": (
        table(change=lambda n, t, x: f"s{n},{t * (1 + n // 5)},{x}"),
        "equal steps .*1.0 in s0 and 2.0 in s5",
    ),
    "one line each": (table(steps=1), "two lines or more .*melt"),
    "a long series": (table(steps=1001), "at most 1000 steps .*cumcount.*--group"),
    "a constant": (table(change=lambda n, t, x: f"s{n},{t},{n}"), "change within.*labels.csv"),
    "rounding": (table(change=lambda n, t, x: f"s{n},{t},{1e9 + x / 9}"), "change within"),
    "nothing but times": (table(["a,0", "a,1"], "id,time"), "a column of numbers"),
    # labels
    "labels lack": (labelled("a,x", "b,y"), "labels.csv: .*each of 6 .*none for c, d .4."),
    "no ids": (labelled("a,x", header="name,y"), "labels.csv: .*columns id"),
    "no label": (labelled(*"abcdef", header="id"), "a column for each label"),
    "a label is empty": (labelled(*each("{},")), "labels.csv, y: .*no gaps.*line 2"),
    "an id twice": (labelled(*each("{},1"), "a,1"), "each id once"),
    "labels of more steps": (
        labelled(*[f"{n},{t},{t}" for n in "abcdef" for t in range(3)], header="id,time,y"),
        "csv, a: .*a line for each step.*3 for 2",
    ),
    "labels of fewer steps": (
        labelled(*[f"{n},{t},{t}" for n in "abcdef" for t in (0, 2)], header="id,time,y"),
        "csv, a: .*2 for 2, see .1",
    ),
    "decimal commas in labels": (labelled(*each('{},"{},5"')), "y: .*'0,5' in line 2"),
    "a word among measured": (labelled(*each("{},{}.5")[1:], "a,NA"), "y: .*'NA' in line 7"),
}
OPTIONS = {
    "no such group": ({"group": "who"}, "group: .*who"),
    "a measured group": ({"group": "y"}, "group: .*of y, z, found y"),
    "a group of two": ({"group": "z"}, "data: .*three groups of z"),
    "a seed": ({"seed": -1}, "seed: "),
}


@pytest.mark.parametrize("name", [*FAULTS])
def test_faults_are_refused_by_name_with_the_line_that_mends_them(name, tmp_path):
    make, says = FAULTS[name]
    if name == "a torn picture":
        path = make(tmp_path) / "b" / "1.png"
        path.write_bytes(path.read_bytes()[:-30])
        make, says = (lambda folder: folder), "1.png cannot be read"
    with pytest.raises(ValueError, match=says) as refusal:
        load(make(tmp_path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", [*OPTIONS])
def test_wrong_options_are_refused_by_name(name, tmp_path):
    options, says = OPTIONS[name]
    labelled(*each("{},{}.5,0"), header="id,y,z")(tmp_path)
    with pytest.raises(ValueError, match=says):
        load(tmp_path, **options)


def test_text_that_is_no_number_is_a_class(tmp_path):
    for texts in (("1st", "2nd"), ("5a", "6b"), ("<18", "<65"), ("3.OG", "2.OG"), ("1.2.3", "A12")):
        rows = [f"{letter},{texts[letter > 'c']}" for letter in "abcdef"]
        path = write_table(tmp_path / "labels.csv", rows, "id,y")
        known, _ = series.read_labels(path, [*"abcdef"], [])
        assert known["y"][1] == tuple(sorted(texts))


def test_each_line_of_a_refusal_stands_in_the_document():
    """docs/own-data.md has what mends each form, as the refusals say it."""
    page = (repository_root() / "docs" / "own-data.md").read_text("utf-8")
    lines = [*clips.OTHERS.values(), clips.SHORTEN, clips.COUNT, series.MELT, series.COMMAS]
    lines += [series.UTF8, series.TWICE, series.EVEN, series.CUT]
    for line in lines:
        for piece in re.findall(r"(?:ffmpeg -i|pd\.|Image\.|path\.|df\.)[^ ,]*", line):
            assert piece in page, piece
