"""python -m unbraid_own train: from a folder or a table to weights and a page, or a refusal."""

import contextlib
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from bs4 import BeautifulSoup
from PIL import Image
from unbraid import files, records
from unbraid.data.sequences import Sequences
from unbraid.models.base import SequenceModel
from unbraid.training import TrainingError
from unbraid_own import own_data, own_report, own_training
from unbraid_own.__main__ import explain
from unbraid_own.__main__ import run as run_command

TRY, PARTS = "What to try", ["What was read", "How it was trained", "Reconstructions", "Swaps"]
LABELS = "What the codes contain, compared with the inputs"
MADE = "How this page was made"
FILES = {"report.html", "codes.npz", own_training.BEGUN}
FILES |= {*own_training.RESULTS, *own_training.WORKING}
QUICK = ("--size", 8, "--length", 4, "--steps", 10, "--batch-size", 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Films of a square that moves in one of two colours, and a table of waves; labels of both.

    Of the waves' labels `half` is the same in all series, and `place` has one class. There are
    also films without colours, and a folder with one film alone.
    """
    folder = tmp_path_factory.mktemp("own")
    films = folder / "films"
    films.mkdir()
    lines = ["film,colour,person"]
    for number in range(24):
        colour = (255, 128, 0) if number % 2 else (0, 128, 255)
        frames = []
        for step in range(4):
            frame = Image.new("RGB", (16, 16))
            left = (number + 3 * step) % 12
            frame.paste(colour, (left, 4, left + 4, 8))
            frames.append(frame)
        frames[0].save(films / f"{number}.gif", save_all=True, append_images=frames[1:])
        lines.append(f"{number}.gif,{'orange' if number % 2 else 'blue'},{number // 6}")
    (films / "labels.csv").write_text("\n".join(lines))
    shutil.copytree(films, folder / "one", ignore=lambda *_: [f"{n}.gif" for n in range(1, 24)])
    (folder / "one" / "labels.csv").unlink()
    np.save(folder / "grey.npy", np.random.default_rng(0).random((24, 4, 1, 8, 8)))
    rows = []
    for number in range(140):
        for step in range(6):
            values = np.sin(step + number), np.cos(step * (1 + number % 2))
            texts = "ab"[number % 2], "up" if step > 2 else "down"
            turn = ("ab", "cd", "ef")[(number + step) % 3]
            rows.append((number, step, *values, *texts, turn, "here"))
    columns = ["id", "time", "x", "y", "kind", "half", "turn", "place"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "waves.csv", index=False)
    return folder


def run(*arguments):
    """What the command prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_command(["train", *map(str, arguments)])
    return printed.getvalue()


def parts_of(folder):
    page = BeautifulSoup((folder / "report.html").read_text(encoding="utf-8"), "html.parser")
    for image in page.find_all("img"):
        assert image["src"].startswith("data:image/png;base64,") and len(image["alt"].split()) > 4
    assert not page.find_all(["link", "script"])
    first = [part.name for part in page.main.find_all(recursive=False)[:3]]
    assert first == ["h1", "p", "div"]  # title, verdict, film and matrix: the first screen
    assert all(title.find_parent(["details", "div"]) for title in page.find_all("h2"))
    assert "default-src 'none'" in page.find("meta", attrs={"http-equiv": True})["content"]
    films, pauses = page.find_all(class_="film"), page.find_all(type="checkbox")
    assert len(films) == len(pauses)
    return page


@pytest.mark.parametrize("model", own_training.MODELS)
def test_films_become_weights_and_a_page(model, folder, tmp_path):
    group = ("--group", "person") if model == "unordered" else ()
    printed = run(model, "--data", folder / "films", *group, *QUICK, "--to", tmp_path)
    read = set() if group else {"factors.npz"}  # Four persons are too few.
    assert {path.name for path in tmp_path.iterdir()} == FILES | read
    loaded = SequenceModel.load(tmp_path / "model.safetensors")
    assert type(loaded) is own_training.MODELS[model]
    record = records.read_json(tmp_path / "model.run.json")
    assert record["weights_sha256"] == files.digest(tmp_path / "model.safetensors")
    made = record["provenance"]
    assert made["command"].startswith(f"python -m unbraid_own train {model} --data")
    assert made["threads"] == torch.get_num_threads() and "torch" in made["versions"]
    for reason in record["reasons"]:
        assert reason in printed
    assert "update 10 of 10 (100%), 0.0 min left: training " in printed
    assert re.search(r"I take this for:\nfound +24 films of 4 steps\n", printed)
    page = parts_of(tmp_path)
    titles = [title.text for title in page.find_all("h2")]
    assert titles == [TRY, *PARTS, *[LABELS][: len(read)], MADE]
    said = page.find(class_="verdict").text + page.find(class_="found").text
    few = "of no label .*colour: .*10 groups or more, found 4" if group else "24 sequences are too"
    assert re.search(f"Cannot be concluded: {few}", said, re.DOTALL)
    assert len(page.find_all("img")) == 3
    with np.load(tmp_path / "codes.npz") as codes:
        frame = {"inputs_static_frame"} if model == "single_element" else set()
        assert set(codes) == {*loaded.code_names, "inputs_mean"} | frame
        assert {len(codes[name]) for name in codes} == {24}  # all splits


def test_a_table_becomes_a_page_and_is_not_trained_twice(folder, tmp_path):
    command = ("single_element", "--data", folder / "waves.csv", "--steps", 60, "--to", tmp_path)
    run(*command)
    config = SequenceModel.load(tmp_path / "model.safetensors").config
    assert (config.static_size, config.dynamic_size, config.anchor) == (16, 4, "middle")
    page = parts_of(tmp_path)
    assert [title.text for title in page.find_all("h2")] == [TRY, *PARTS, LABELS, MADE]
    assert not page.find(class_="verdict").text.startswith("Cannot")  # 21 test series
    sentences = [item.text for item in page.find(class_="found").find_all("li")]
    # Labels that cannot be probed are named, once each.
    for name in ("place:", "kind:", "turn:", "half:"):
        assert sum(sentence.startswith(name) for sentence in sentences) == 1

    curve = records.read_csv(tmp_path / "model.training.csv")
    best = max(curve, key=lambda row: row["validation"])
    assert records.read_json(tmp_path / "model.run.json")["best_update"] == best["step"]
    before = files.digest(tmp_path / "model.safetensors")
    (tmp_path / "report.html").unlink()
    printed = run(*command)
    assert "trained before" in printed and "has 140 sequences of all splits" in printed
    assert "to measure them: python -m unbraid_own measure" in printed
    assert files.digest(tmp_path / "model.safetensors") == before
    assert (tmp_path / "report.html").exists()


def test_recordings_become_a_page(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "voices").mkdir()
    for number in range(6):
        tone = np.sin(2 * np.pi * (200 + 50 * number) * np.arange(6000) / 8000)
        tone += 0.01 * random.normal(size=6000)
        soundfile.write(tmp_path / "voices" / f"{number}.wav", tone, 8000)
    to = ("--steps", 4, "--batch-size", 4, "--to", tmp_path / "out")
    run("single_element", "--data", tmp_path / "voices", *to)
    page = parts_of(tmp_path / "out")
    assert [title.text for title in page.find_all("h2")] == [TRY, *PARTS, MADE]
    assert SequenceModel.load(tmp_path / "out" / "model.safetensors").config.window == 5


def test_an_interrupted_run_ends_in_the_same_bits(folder, tmp_path, monkeypatch):
    arguments = ("single_element", "--data", folder / "films", *QUICK, "--to")
    run(*arguments, tmp_path / "whole")
    watched = own_training.Watch.__call__

    def press(self, row):
        watched(self, row)  # The bound of update 6 is kept, and its checkpoint is lost.
        if row["step"] == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(own_training.Watch, "__call__", press)
    with pytest.raises(KeyboardInterrupt):
        run(*arguments, tmp_path / "broken")
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    monkeypatch.undo()
    assert "goes on after update 5" in run(*arguments, tmp_path / "broken")
    for name in ("model.safetensors", "codes.npz"):
        digests = {files.digest(tmp_path / each / name) for each in ("whole", "broken")}
        assert len(digests) == 1
    left = {path.name for path in (tmp_path / "broken").iterdir()}
    assert left == FILES | {"factors.npz"}


def test_two_do_not_train_in_one_folder(folder, tmp_path):
    arguments = ("single_element", "--data", folder / "grey.npy", *QUICK, "--to", tmp_path)
    with (
        own_training.keep_alone(tmp_path / own_training.LOCK, ""),
        pytest.raises(TrainingError, match="alone"),
    ):
        run(*arguments)
    assert list(tmp_path.iterdir()) == []
    run(*arguments)
    assert not (tmp_path / own_training.LOCK).exists()


def test_the_weights_of_the_best_validation_bound_are_kept(folder, tmp_path, monkeypatch):
    bounds = iter([1.0, 2.0, *range(0, -100, -1)])
    fakes = (dict.fromkeys(["elbo_per_frame"], bound) for bound in bounds)
    monkeypatch.setattr(own_training, "bound_per_frame", lambda *_: next(fakes))
    saved, save = [], SequenceModel.save
    monkeypatch.setattr(SequenceModel, "save", lambda *a: saved.append(a) or save(*a))
    run("--data", folder / "grey.npy", *QUICK, "--to", tmp_path)  # by the model that is not named
    record = records.read_json(tmp_path / "model.run.json")
    assert record["best_update"] == 2 and record["updates"] == 10 and len(saved) == 2
    assert record["settings"]["model"] == "single_element"


def test_a_folder_belongs_to_one_run(folder, tmp_path):
    films, grey = (("--data", folder / name, *QUICK) for name in ("films", "grey.npy"))
    run("single_element", *films, "--to", tmp_path)
    refusals = (
        ((*films, "--seed", 1), TrainingError, "seed, data_sha256; --again"),
        (grey, TrainingError, "channels, data_sha256; --again"),
        ((*grey, "--again", "--accelerator", "gpu"), ValueError, "accelerator"),
    )
    for options, error, named in refusals:
        with pytest.raises(error, match=named):
            run("single_element", *options, "--to", tmp_path)
    assert (tmp_path / "model.safetensors").exists() and (tmp_path / "factors.npz").exists()
    # Codes of new data with the factors of old data would be measured together.
    run("single_element", *grey, "--to", tmp_path, "--again")
    assert (tmp_path / "codes.npz").exists() and not (tmp_path / "factors.npz").exists()


def test_a_refused_run_leaves_no_folder_and_rows_say_how_far_it_is(folder, tmp_path, monkeypatch):
    films = ("single_element", "--data", folder / "films", *QUICK, "--to", tmp_path / "run")
    with pytest.raises(ValueError, match="length"):
        run(*films, "--length", 1)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="to: .*is --data a level too high"):
        run(*films[:-1], folder / "films" / "run")
    monkeypatch.setattr(own_training, "SILENCE", -1)  # seconds
    printed = run(*films)
    assert printed.startswith(f"reading {folder / 'films'} ...")
    assert printed.count(" of 10 (") == 10 and "two cores of a server take about 0.0 min" in printed


FOREIGN = {  # files of the user's, in the folder that --to names, and options
    "the data": ("codes.npz", ("--data", "codes.npz")),
    "the labels": ("model.training.csv", ("--labels", "model.training.csv")),
    "a page": ("report.html", ()),
    "weights": ("model.safetensors", ("--again",)),
    "a marker": ("model.begun.json", ("--again",)),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_nothing_of_the_users_is_written_over(case, folder, tmp_path, monkeypatch):
    name, options = FOREIGN[case]
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "grey.npy", "data.npy")
    Path(name).write_text("mine")
    with pytest.raises(ValueError, match=name):
        run("single_element", "--data", "data.npy", *QUICK, "--to", ".", *options)
    assert Path(name).read_text() == "mine" and {*map(str, Path().iterdir())} == {name, "data.npy"}


def test_a_file_put_in_the_place_of_a_runs_own_stays_and_leftovers_go(folder, tmp_path):
    command = ("single_element", "--data", folder / "grey.npy", *QUICK, "--to", tmp_path)
    left = [".codes.npz.4194305", ".report.html.4194305", ".model.best.4194305"]
    kept = [".report.html.old", ".model.notes", "model.note.part"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("")
    run(*command)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {*kept}
    for again in ((), ("--again",)):
        (tmp_path / "report.html").write_text("mine")
        with pytest.raises(ValueError, match="report.html"):
            run(*command, *again)
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_full_disk_is_named_and_the_run_goes_on_afterwards(folder, tmp_path):
    command = ("single_element", "--data", folder / "grey.npy", *QUICK, "--to", tmp_path)
    resource = pytest.importorskip("resource")  # Windows has none.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError) as refusal:
            run(*command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert explain(refusal.value).startswith(f"{tmp_path / 'model.best'}: expected room")
    run(*command)
    assert (tmp_path / "report.html").exists()


def test_too_little_memory_has_a_sentence_and_a_fault_is_raised():
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")):
        assert "--batch-size" in explain(error)
    with pytest.raises(RuntimeError, match="a fault"):
        explain(RuntimeError("a fault"))


@pytest.mark.filterwarnings("error")
def test_one_test_sequence_has_no_swaps(tmp_path):
    frames = np.random.default_rng(0).random((6, 6, 3, 8, 8))  # One of six is for the test.
    np.save(tmp_path / "six.npy", frames)
    run("single_element", "--data", tmp_path / "six.npy", *QUICK, "--to", tmp_path / "out")
    page = parts_of(tmp_path / "out")
    assert "Swaps" not in [title.text for title in page.find_all("h2")]
    assert "NaN" not in page.text


BAD = [  # model, data, options, and what the refusal names
    ("independant", "films", (), "model: .*independent"),
    ("unordered", "waves.csv", (), "model: .*single_element"),
    ("single_element", "one", (), "length: "),
    ("unordered", "films", ("--to", "/proc/none"), "--to"),
    ("unordered", "films", ("--dynamic", "speed", *QUICK), "dynamic: "),
    ("independent", "grey.npy", ("--size", 8), "data: .*grey"),
    ("unordered", "films", ("--accelerator", "cuda"), "accelerator: .*cuda"),
    ("unordered", "films", ("--to", "films/out"), "to: .*--to"),
    ("unordered", "films", ("--steps", 0), "steps: "),
    ("unordered", "none", (), "data: "),
    ("unordered", "films", ("--seed", 2**32), "seed: .*4294967295"),
    ("unordered", "films", ("--seed", -1), "seed: "),
]


@pytest.mark.parametrize("model, data, options, named", BAD)
def test_a_bad_request_leaves_nothing(model, data, options, named, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if "--dynamic" in options:  # Names of labels are checked before films are read.
        monkeypatch.setattr(own_data, "cut", None)
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match=named) as refusal:
        run(model, "--data", data, "--to", tmp_path, *options)
    assert "\n" not in str(refusal.value)
    assert not list(tmp_path.iterdir()) and not (folder / "films" / "out").exists()


def test_few_sequences_and_those_of_unequal_length_are_refused():
    mask = torch.ones(6, 4, dtype=torch.bool)
    mask[2, 3] = False
    whole = Sequences(torch.zeros(6, 4, 3, 8, 8), mask=mask)
    few = whole.subset([0, 1, 2])
    odd, short = (own_data.OwnData(dict.fromkeys(own_data.SPLITS, x), [], {}) for x in (whole, few))
    with pytest.raises(ValueError, match="data: .*--length 3"):
        own_training.choose("unordered", odd)
    with pytest.raises(ValueError, match="data: .*4 training sequences"):
        own_training.choose("single_element", short)
    assert any("are few" in each for each in own_training.choose("single_element", odd).reasons)
    for name, value in (("steps", 10.0), ("steps", "9"), ("batch_size", 0), ("seed", 0.1)):
        with pytest.raises(ValueError, match=f"^{name}: expected a whole number"):
            own_training.choose("single_element", odd, **{name: value})


SIX = Sequences(torch.rand(6, 4, 3, 8, 8), {"hair": torch.arange(6)}, ("hair",))
DATA = own_data.OwnData(dict.fromkeys(own_data.SPLITS, SIX), [], {}, "films")
PLAN = own_training.choose("single_element", DATA, steps=1)
DONE = own_training.Trained(PLAN, PLAN.model_class(PLAN.config), {}, [])


@pytest.mark.parametrize(
    "field, call",
    (
        ("data: .*OwnData, found Sequences", lambda to: own_training.choose("single_element", SIX)),
        ("data: .*OwnData, found str", lambda to: own_training.choose("single_element", "a.npz")),
        ("plan: .*Plan, found OwnData", lambda to: own_training.train(DATA, PLAN, to)),
        ("data: .*OwnData, found Plan", lambda to: own_training.train(PLAN, PLAN, to)),
        ("again: .*bool, found str", lambda to: own_training.train(PLAN, DATA, to, again="no")),
        ("folder: .*None", lambda to: own_training.train(PLAN, DATA, None)),
        ("folder: .*the file", lambda to: own_training.train(PLAN, DATA, __file__)),
        ("trained: .*SingleElement", lambda to: own_report.write(DONE.model, DATA, to)),
        ("data: .*Sequences", lambda to: own_report.write(DONE, SIX, to)),
        ("dynamic: .*list of names", lambda to: own_report.write(DONE, DATA, to, "hair")),
        ("dynamic: .*did you mean hair", lambda to: own_report.write(DONE, DATA, to, ["hiar"])),
        ("folder: .*that of the training", lambda to: own_report.write(DONE, DATA, to)),
        ("folder: .*None", lambda to: own_report.write(DONE, DATA, None)),
        ("words: .*list", lambda to: run_command(f"train --data a.npz --to {to}")),
    ),
)
def test_wrong_objects_are_refused_by_name_and_nothing_is_written(field, call, tmp_path):
    with pytest.raises(ValueError, match=f"^{field}"):
        call(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", (8, 16, 32, 64, 128, 256))
@pytest.mark.parametrize("model", own_training.MODELS)
def test_each_size_of_frames_has_a_config(model, size):
    frames = torch.zeros(4, 2, 3, size, size)
    parts = {name: Sequences(frames, split=name) for name in own_data.SPLITS}
    plan = own_training.choose(model, own_data.OwnData(parts, [], {}, "films"))
    with torch.device("meta"):
        assert own_training.MODELS[model](plan.config).frame_shape == (3, size, size)
