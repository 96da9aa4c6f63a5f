"""`verify` names every change to one file of results/, `verify --again` also consistent ones."""

import json
import os
import random
import shutil

import pytest
from unbraid import store
from unbraid.data import fetch

from papers import provenance, report

CIRCLE, FRAMES, JUDGE = (
    "independent/circle/quick",
    "independent/frames/quick",
    "judges/digits/quick",
)
TABLES = f"""
introduction = "# Results"
[[headline]]
paper = "A"
claim = "c"
results = "{CIRCLE}"
measured = "cross: {{factored.mi_cross_bits}} bits, read: {{long.decoded_name}}"
published = "-"
limits = "l"
where = "w"
[[table]]
title = "A"
introduction = ""
results = "{CIRCLE}"
columns = [{{ figure = "mi_cross_bits", title = "cross (bits)" }}]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A copy of a part of the clone: runs on two datasets, a judge, and the pages of tables."""
    home = tmp_path_factory.mktemp("clone")
    for folder in (CIRCLE, FRAMES, JUDGE):
        shutil.copytree(store.shipped() / folder, home / "results" / folder)
    (home / "notebooks").mkdir()
    (home / "data").mkdir()
    (home / "README.md").write_text("<!-- headline -->\n<!-- /headline -->\n")
    (home / "results" / "tables.toml").write_text(TABLES)
    trial = {"command": "c", "settings": {}, "figures": {"mae": 1.5}}
    store.write_json(home / "results" / "trials" / "a.json", trial)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNBRAID_HOME", str(home))
        report.write_tables()
    return home


@pytest.fixture(scope="module")
def contents(home):
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.fixture
def folder(home, contents, monkeypatch):
    """Its results, while it is the clone; every file that a test changes is restored."""
    monkeypatch.setenv("UNBRAID_HOME", str(home))
    written = {path: path.stat().st_mtime_ns for path in contents}
    yield home / "results"
    for path in home.rglob("*"):
        if path.is_file() and path not in contents:
            path.unlink()
    for path, time in written.items():
        if not path.exists() or path.stat().st_mtime_ns != time:
            path.write_bytes(contents[path])
            os.utime(path, ns=(time, time))  # The next change is seen on clocks that tick slowly.


# ---- changes to one file


def edit(change, write=store.write_json):
    """A forgery of JSON: what it holds is changed by a function, and written in the same form."""

    def forge(path):
        content = json.loads(path.read_text())
        change(content)
        write(path, content)

    return forge


def seal(change):
    """The same of metrics.json with a new digest of its content, so that other checks must tell."""
    return edit(change, report.write_metrics)


def put(value, *names):
    """A change that puts a value under nested names."""

    def change(content):
        for name in names[:-1]:
            content = content[name]
        assert content[names[-1]] != value
        content[names[-1]] = value

    return change


def drop(*names):
    """A change that takes an entry away."""

    def change(content):
        for name in names[:-1]:
            content = content[name]
        del content[names[-1]]

    return change


def better_cross(metrics):
    """The reviewers' forgery: mean and values are changed, the interval is not."""
    entry = metrics["factored"]
    entry["mi_cross_bits"] = 0.001
    entry["by_seed"]["mi_cross_bits"] = [0.001] * 5


def list_values(entry):
    """The figures of each seed by name, from an entry of metrics.json."""
    by_seed = entry["by_seed"]
    return [dict(zip(by_seed, row, strict=True)) for row in zip(*by_seed.values(), strict=True)]


def drop_last_seed(metrics):
    """A seed is taken out of values, means, intervals and seeds alike."""
    metrics["factored"] = report.summarise(list_values(metrics["factored"])[:-1])
    metrics["protocol"]["seeds_of"]["factored"] = [0, 1, 2, 3]


def add_seed(metrics):
    """A seed that nobody trained, with the values of another."""
    values = list_values(metrics["factored"])
    metrics["factored"] = report.summarise([*values, values[0]])
    metrics["protocol"]["seeds_of"]["factored"] = [0, 1, 2, 3, 4, 5]


def flip_digit(path, place=0.0):
    """One digit of the figures becomes the next one."""
    text = path.read_text()
    digits = [i for i, letter in enumerate(text[: text.index('"protocol"')]) if letter.isdigit()]
    at = digits[int(place * len(digits))]
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def empty(path):
    path.write_bytes(b"")


def delete(path):
    path.unlink()


def write(text):
    return lambda path: path.write_text(text)


def replace(old, new):
    """A forgery of text."""

    def forge(path):
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return forge


def copy_from(name):
    """A forgery by the file of another seed."""
    return lambda path: shutil.copyfile(path.with_name(name), path)


def change_last_number(path):
    """The bound at the end of a curve becomes better."""
    lines = path.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[3] = str(float(cells[3]) + 10)
    path.write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")


def drop_last_line(path):
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def swap_lines(path):
    lines = path.read_text().splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    path.write_text("\n".join(lines) + "\n")


METRICS, FIGURE = f"{CIRCLE}/metrics.json", "mi_cross_bits"
FILES = ("protocol", "files", "factored", "0")
JUDGE_FILES, RED_DIGIT = ("protocol", "files", "judge", "0"), "real_red_digit"
FACTORED = [f"{CIRCLE}/factored-seed{seed}" for seed in range(3)]
FORGERIES = {  # by file the kinds of change, and what is done to it
    METRICS: {
        "a mean": seal(put(0.001, "factored", FIGURE)),
        "a value of a seed": seal(put(0.001, "factored", "by_seed", FIGURE, 0)),
        "a limit": seal(put(0.041, "factored", "intervals", FIGURE, 1)),
        "no limits": seal(put(None, "factored", "intervals", FIGURE)),
        "mean and values, not limits": seal(better_cross),
        "a mean taken out": seal(drop("factored", FIGURE)),
        "limits taken out": seal(drop("factored", "intervals", FIGURE)),
        "all values taken out": seal(drop("factored", "by_seed")),
        "a value taken out": seal(drop("factored", "by_seed", FIGURE, 4)),
        "a value that is no number": seal(put("1", "long", "by_seed", FIGURE, 0)),
        "a seed fewer in the list": seal(put([0, 1, 2, 3], "protocol", "seeds")),
        "a seed twice in the list": seal(put([0, 0, 2, 3, 4], "protocol", "seeds")),
        "another seed in the list": seal(put([0, 1, 2, 3, 7], "protocol", "seeds")),
        "a seed left out": seal(drop_last_seed),
        "a seed that was never trained": seal(add_seed),
        "a run left out": seal(drop("plain_start")),
        "the protocol taken out": edit(drop("protocol")),
        "the sentence on the data": edit(put("all", "protocol", "data")),
        "digest of weights": seal(put("0", *FILES, "weights")),
        "digest of a record": seal(put("0", *FILES, "record")),
        "digest of a curve": seal(put("0", *FILES, "curve")),
        "weights said not to ship": seal(put(False, *FILES, "shipped")),
        "digests of a seed taken out": seal(drop(*FILES)),
        "digest of the judge": seal(put("0", "protocol", "judges", f"{JUDGE}/judge-seed0")),
        "digest of the content": edit(put("0", "protocol", "content_sha256")),
        "a digit of a figure": flip_digit,
        "half of the figures": truncate,
        "figures emptied": empty,
        "figures of another kind": write("[]"),
        "figures deleted": delete,
    },
    f"{FRAMES}/metrics.json": {"figures of one seed": flip_digit},
    f"{JUDGE}/metrics.json": {
        "judge: a figure outside its limits": seal(put(1.0, "judge", RED_DIGIT)),
        "judge: limits": seal(put([0.97, 0.99], "judge", "intervals", RED_DIGIT)),
        "judge: digest": seal(put("0", *JUDGE_FILES, "weights")),
        "judge: figures deleted": delete,
    },
    f"{JUDGE}/judge-seed0.safetensors": {
        "judge: weights": flip_byte,
        "judge: weights deleted": delete,
    },
    f"{JUDGE}/judge-seed0.run.json": {"judge: record": edit(put("noise", "judge", "kind"))},
    f"{JUDGE}/judge-seed0.training.csv": {"judge: curve": change_last_number},
    f"{FACTORED[0]}.run.json": {
        "record: steps": edit(put(60000, "steps")),
        "record: seed": edit(put(1, "seed")),
        "record: a setting": edit(put(8, "settings", "width")),
        "record: digest": edit(put("0", "weights_sha256")),
        "record: no digest": edit(drop("weights_sha256")),
        "record of another seed": copy_from("factored-seed1.run.json"),
        "record emptied": write("{}"),
        "record deleted": delete,
    },
    f"{CIRCLE}/plain_start-seed3.run.json": {"record without weights": edit(put(1, "seconds"))},
    f"{CIRCLE}/plain_start-seed3.training.csv": {"curve deleted": delete},
    f"{FACTORED[1]}.training.csv": {
        "curve emptied": empty,
        "curve of titles": write("step,seconds\n"),
        "curve cut": drop_last_line,
        "curve: a number": change_last_number,
        "curve: two rows": swap_lines,
        "curve of another seed": copy_from("factored-seed2.training.csv"),
    },
    f"{FACTORED[2]}.safetensors": {
        "weights: a byte": flip_byte,
        "weights cut": truncate,
        "weights of another seed": copy_from("factored-seed1.safetensors"),
        "weights deleted": delete,
    },
    "../README.md": {
        "README: a number": replace("cross: 0.", "cross: 1."),
        "README: no block": write("nothing"),
    },
    "README.md": {
        "results/README: a number": replace("| 0.", "| 1."),
        "results/README deleted": delete,
    },
    "tables.toml": {
        "tables.toml: damaged": replace("[[table]]", "[[table]"),
        "tables.toml: an unknown figure": replace("{factored.mi_cross", "{factored.x"),
    },
    "trials/a.json": {"a trial": truncate},
}


def list_forgeries():
    for name, kinds in FORGERIES.items():
        for kind, forge in kinds.items():
            yield pytest.param(name, forge, id=kind)


def test_the_honest_copy_has_no_fault_and_says_what_it_cannot_check(folder):
    assert provenance.verify_results(folder) == []
    title, runs = provenance.list_unchecked(folder)
    assert title == "not checked, as their weights do not ship: 15 runs"
    of_width = ["paper_width-seed0", "paper_width-seed1", "paper_width_entangled-seed0"]
    of_width += [f"paper_width_2500-seed{n}" for n in (0, 1, 2)]
    of_width += [
        "paper_width_entangled_2500-seed0",
        "paper_width_long-seed1",
        "paper_width_long-seed2",
    ]
    of_small = [f"{run}-seed{n}" for run in ("plain_start", "plain_entangled") for n in (2, 3, 4)]
    lacking = of_width + of_small
    place, names = runs.split(": ")
    assert (place, sorted(names.split(", "))) == (f"  {CIRCLE}", sorted(lacking))


@pytest.mark.parametrize("name, forge", list(list_forgeries()))
def test_a_change_to_one_file_is_named(folder, name, forge):
    path = (folder / name).resolve()
    before = path.read_bytes()
    forge(path)
    assert not path.exists() or path.read_bytes() != before
    faults = provenance.verify_results(folder)
    assert any(str(path) in fault for fault in faults), faults


def test_any_digit_of_the_figures_is_named(folder):
    """Also one so far behind the point that no mean tells it."""
    path = folder / JUDGE / "metrics.json"
    text = path.read_text()
    chance = random.Random(0)
    assert provenance.metrics_faults(path) == []
    for _ in range(40):
        flip_digit(path, chance.random())
        is_other = json.loads(path.read_text()) != json.loads(text)  # some 17th digits are not read
        assert bool(provenance.collect_faults(path, provenance.metrics_faults)) == is_other
        path.write_text(text)


# ---- changes to several files that contradict each other, with all digests replaced


def stamp_anew(folder, *names):
    """Replace all digests, as a forger would."""
    for name in names or (CIRCLE, FRAMES, JUDGE):
        path = folder / name / "metrics.json"
        metrics = json.loads(path.read_text())
        del metrics["protocol"]["files"]
        metrics["protocol"].pop("judges", None)
        store.write_json(path, metrics)
        provenance.stamp_metrics(path)


def copy_seed(path):
    """All three files of one seed take the place of another's: two seeds are one."""
    for suffix in provenance.FILES.values():
        own = path.with_name(f"entangled-seed0{suffix}")
        shutil.copyfile(own.with_name(f"entangled-seed1{suffix}"), own)


def copy_seed_and_rename(path):
    copy_seed(path)
    edit(put(0, "seed"))(path)


ENTANGLED, OF_JUDGE = f"{CIRCLE}/entangled-seed0.run.json", f"{JUDGE}/judge-seed0.run.json"
LAST_ROW = "factored-seed1.training.csv: expected a last row of"
RECORD, OTHER_RECORD = f"{FACTORED[1]}.run.json", "factored-seed1.run.json: expected the record of"
CONTRADICTIONS = {  # the file, the forgery, and what the fault says
    "another seed's files": (ENTANGLED, copy_seed, "entangled-seed0.run.json: expected the record"),
    "the same with the seed's number": (ENTANGLED, copy_seed_and_rename, "weights of its own for"),
    "a curve cut": (f"{FACTORED[1]}.training.csv", drop_last_line, LAST_ROW),
    "fewer steps": (RECORD, edit(put(600, "steps")), LAST_ROW),
    "fewer seconds": (RECORD, edit(put(60.0, "seconds")), LAST_ROW),
    "another run": (RECORD, edit(put("long", "settings", "run")), OTHER_RECORD),
    "another profile": (RECORD, edit(put("full", "profile")), OTHER_RECORD),
    "weights that are not the record's": (
        f"{FACTORED[1]}.safetensors",
        flip_byte,
        "factored-seed1.safetensors: expected SHA-256",
    ),
    "the judge of another dataset": (
        OF_JUDGE,
        replace("judge digits", "judge faces"),
        "judge-seed0.run.json: expected the record of",
    ),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_contradictions_are_named_even_if_all_digests_are_replaced(folder, kind):
    name, forge, text = CONTRADICTIONS[kind]
    forge(folder / name)
    stamp_anew(folder)
    faults = provenance.verify_results(folder)
    assert any(text in fault for fault in faults), faults


def test_a_stamp_keeps_the_digests_that_there_are(folder):
    path = folder / CIRCLE / "factored-seed1.safetensors"
    before = (folder / METRICS).read_bytes()
    provenance.stamp_metrics(folder / METRICS)
    assert (folder / METRICS).read_bytes() == before
    flip_byte(path)
    provenance.stamp_metrics(folder / METRICS)
    assert (folder / METRICS).read_bytes() == before
    path.unlink()  # These weights ship no more.
    provenance.stamp_metrics(folder / METRICS)
    report.write_tables()
    assert provenance.verify_results(folder) == []
    assert any("factored-seed1" in line for line in provenance.list_unchecked(folder))


def test_runs_that_nothing_has_measured_are_faults_only_in_the_clone(folder, home, monkeypatch):
    (folder / FRAMES / "metrics.json").unlink()
    (fault,) = provenance.verify_results(folder)
    assert "expected figures of vae-seed0" in fault
    monkeypatch.delenv("UNBRAID_HOME")
    assert provenance.verify_results(folder) == []
    assert provenance.list_unchecked(folder)[-2:] == [
        "measured nowhere: 1 runs",
        f"  {FRAMES}: vae-seed0",
    ]


def test_weights_without_a_record_and_a_folder_without_results_are_faults(folder, home):
    shutil.copyfile(
        folder / FRAMES / "vae-seed0.safetensors", folder / FRAMES / "vae-seed9.safetensors"
    )
    faults = provenance.verify_results(folder)
    assert any("vae-seed9.*: expected a record" in fault for fault in faults), faults
    with pytest.raises(store.ResultsError, match="found none"):
        provenance.verify_results(home / "notebooks")


# ---- consistent forgeries: nothing contradicts them but a new measurement

needs_mnist = pytest.mark.skipif(
    fetch.find("mnist") is None, reason="needs MNIST: make data, or UNBRAID_MIRROR"
)


def change_weights(path):
    """Weights a little larger, with the digest that their record names."""
    tensors = store.load_tensors(path)
    for name, value in tensors.items():
        tensors[name] = value * 1.01 if value.is_floating_point() else value
    digest = store.save_tensors(path, tensors)
    edit(put(digest, "weights_sha256"))(path.with_suffix(".run.json"))


def forge_weights(folder):
    """Other weights, with their record and all digests."""
    change_weights(folder / FRAMES / "vae-seed0.safetensors")
    stamp_anew(folder, FRAMES)


def forge_judge(folder):
    """Another judge, with its record and all digests, also where it has measured."""
    change_weights(folder / JUDGE / "judge-seed0.safetensors")
    stamp_anew(folder)


CONSISTENT = {  # the forgery, what is measured again, and the file that is named
    "weights": (forge_weights, ("independent", "frames"), f"{FRAMES}/metrics.json: vae."),
    "judge": (forge_judge, ("judges", "digits"), f"{JUDGE}/metrics.json: judge."),
}


@needs_mnist
@pytest.mark.parametrize("kind", CONSISTENT)
def test_a_consistent_forgery_is_named_when_its_figures_are_measured_again(
    folder, kind, call, monkeypatch
):
    forge, (part, dataset), text = CONSISTENT[kind]
    command = ("verify", "--results", folder)
    options = ("--again", "--part", part, "--dataset", dataset)
    if kind == "weights":  # The honest figures agree.
        monkeypatch.delenv("UNBRAID_HOME")
        code, printed = call(*command, *options)
        assert (
            code == 0 and "measured again: independent/frames/quick/vae-seed0: 0 faults" in printed
        )
        monkeypatch.setenv("UNBRAID_HOME", str(folder.parent))
    forge(folder)
    code, printed = call(*command)
    assert code == 0, printed
    monkeypatch.delenv("UNBRAID_HOME")  # The data may be in the real clone.
    code, printed = call(*command, *options)
    assert code == 1 and text in printed, printed


def test_values_forged_with_mean_and_interval_differ_from_what_is_measured(folder):
    path = folder / METRICS
    metrics = json.loads(path.read_text())
    values = list_values(metrics["factored"])
    honest = dict(values[0])
    assert provenance.figure_faults(path, "factored", 0, honest | {"new": 1.0}) == []
    near = {name: value + 9e-5 for name, value in honest.items()}
    assert provenance.figure_faults(path, "factored", 0, near) == []
    values[0][FIGURE] -= 0.01
    metrics["factored"] = report.summarise(values)
    report.write_metrics(path, metrics)
    report.write_tables()
    assert provenance.verify_results(folder) == []
    (fault,) = provenance.figure_faults(path, "factored", 0, honest)
    assert f"factored.{FIGURE}, seed 0" in fault
    honest.pop("mi_same_bits")
    assert len(provenance.figure_faults(path, "factored", 0, honest)) == 2


@needs_mnist
def test_other_data_are_not_taken_for_those_that_were_measured(folder):
    path = folder / FRAMES / "metrics.json"
    seal(put("a sample", "protocol", "data"))(path)
    with pytest.raises(fetch.DataError, match="a sample"):
        provenance.measure_again(path, "vae", 0)
