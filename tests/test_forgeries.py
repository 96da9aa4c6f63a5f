"""`verify` names every change to one file of results/, `verify --again` also consistent ones."""

import json
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


@pytest.fixture
def folder(home, monkeypatch):
    """Its results, while it is the clone; every file that a test changes is restored."""
    monkeypatch.setenv("UNBRAID_HOME", str(home))
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    yield home / "results"
    for path in home.rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, content in before.items():
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


# ---- changes to one file


def edit(change, write=store.write_json):
    """A forgery of JSON: what it holds is changed by a function, and written in the same form."""

    def forge(path):
        content = json.loads(path.read_text())
        change(content)
        write(path, content)

    return forge


def edit_sealed(change):
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


def flip_digit(path, place=0.5):
    """One digit of the figures becomes the next one."""
    text = path.read_text()
    digits = [i for i, letter in enumerate(text[: text.index('"protocol"')]) if letter.isdigit()]
    at = digits[int(place * len(digits))]
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


def flip_read_digit(path):
    """The same to a digit that is read: some 17th digits make no other number."""
    text = path.read_text()
    for place in (0.5, 0.51, 0.52, 0.53, 0.54):
        flip_digit(path, place)
        if json.loads(path.read_text()) != json.loads(text):
            return
        path.write_text(text)
    raise AssertionError(f"{path}: expected a digit that is read, found none")


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


METRICS, OF_JUDGE = f"{CIRCLE}/metrics.json", f"{JUDGE}/metrics.json"
FILES = ("protocol", "files", "factored", "0")
FIGURE = "mi_cross_bits"
FORGERIES = {  # a kind of change: the file, and what is done to it
    "a mean": (METRICS, edit_sealed(put(0.001, "factored", FIGURE))),
    "a value of a seed": (METRICS, edit_sealed(put(0.001, "factored", "by_seed", FIGURE, 0))),
    "a limit": (METRICS, edit_sealed(put(0.041, "factored", "intervals", FIGURE, 1))),
    "no limits": (METRICS, edit_sealed(put(None, "factored", "intervals", FIGURE))),
    "mean and values, not limits": (METRICS, edit_sealed(better_cross)),
    "a mean taken out": (METRICS, edit_sealed(drop("factored", FIGURE))),
    "limits taken out": (METRICS, edit_sealed(drop("factored", "intervals", FIGURE))),
    "all values taken out": (METRICS, edit_sealed(drop("factored", "by_seed"))),
    "a value taken out": (METRICS, edit_sealed(drop("factored", "by_seed", FIGURE, 4))),
    "a value that is no number": (METRICS, edit_sealed(put("1", "long", "by_seed", FIGURE, 0))),
    "a seed fewer in the list": (METRICS, edit_sealed(put([0, 1, 2, 3], "protocol", "seeds"))),
    "a seed twice in the list": (METRICS, edit_sealed(put([0, 0, 2, 3, 4], "protocol", "seeds"))),
    "another seed in the list": (METRICS, edit_sealed(put([0, 1, 2, 3, 7], "protocol", "seeds"))),
    "a seed left out": (METRICS, edit_sealed(drop_last_seed)),
    "a seed that was never trained": (METRICS, edit_sealed(add_seed)),
    "a run left out": (METRICS, edit_sealed(drop("plain_start"))),
    "the protocol taken out": (METRICS, edit(drop("protocol"))),
    "the sentence on the data": (METRICS, edit(put("all", "protocol", "data"))),
    "digest of weights": (METRICS, edit_sealed(put("0", *FILES, "weights"))),
    "digest of a record": (METRICS, edit_sealed(put("0", *FILES, "record"))),
    "digest of a curve": (METRICS, edit_sealed(put("0", *FILES, "curve"))),
    "weights said not to ship": (METRICS, edit_sealed(put(False, *FILES, "shipped"))),
    "digests of a seed taken out": (METRICS, edit_sealed(drop(*FILES))),
    "digest of the judge": (
        METRICS,
        edit_sealed(put("0", "protocol", "judges", f"{JUDGE}/judge-seed0")),
    ),
    "digest of the content": (METRICS, edit(put("0", "protocol", "content_sha256"))),
    "a digit of a figure": (METRICS, flip_read_digit),
    "half of the figures": (METRICS, truncate),
    "figures emptied": (METRICS, empty),
    "figures of another kind": (METRICS, write("[]")),
    "figures deleted": (METRICS, delete),
    "figures of one seed": (f"{FRAMES}/metrics.json", flip_read_digit),
    "judge: a figure outside its limits": (
        OF_JUDGE,
        edit_sealed(put(1.0, "judge", "real_red_digit")),
    ),
    "judge: limits": (
        OF_JUDGE,
        edit_sealed(put([0.97, 0.99], "judge", "intervals", "real_red_digit")),
    ),
    "judge: digest": (
        OF_JUDGE,
        edit_sealed(put("0", "protocol", "files", "judge", "0", "weights")),
    ),
    "judge: figures deleted": (OF_JUDGE, delete),
    "judge: weights": (f"{JUDGE}/judge-seed0.safetensors", flip_byte),
    "judge: weights deleted": (f"{JUDGE}/judge-seed0.safetensors", delete),
    "judge: record": (f"{JUDGE}/judge-seed0.run.json", edit(put("noise", "judge", "kind"))),
    "judge: curve": (f"{JUDGE}/judge-seed0.training.csv", change_last_number),
    "record: steps": (f"{CIRCLE}/factored-seed0.run.json", edit(put(60000, "steps"))),
    "record: seed": (f"{CIRCLE}/factored-seed0.run.json", edit(put(1, "seed"))),
    "record: a setting": (f"{CIRCLE}/factored-seed0.run.json", edit(put(8, "settings", "width"))),
    "record: digest": (f"{CIRCLE}/factored-seed0.run.json", edit(put("0", "weights_sha256"))),
    "record: no digest": (f"{CIRCLE}/factored-seed0.run.json", edit(drop("weights_sha256"))),
    "record of another seed": (
        f"{CIRCLE}/factored-seed0.run.json",
        copy_from("factored-seed1.run.json"),
    ),
    "record without weights": (f"{CIRCLE}/plain_start-seed3.run.json", edit(put(1, "seconds"))),
    "record emptied": (f"{CIRCLE}/factored-seed0.run.json", write("{}")),
    "record deleted": (f"{CIRCLE}/factored-seed0.run.json", delete),
    "curve emptied": (f"{CIRCLE}/factored-seed1.training.csv", empty),
    "curve of titles": (f"{CIRCLE}/factored-seed1.training.csv", write("step,seconds\n")),
    "curve cut": (f"{CIRCLE}/factored-seed1.training.csv", drop_last_line),
    "curve: a number": (f"{CIRCLE}/factored-seed1.training.csv", change_last_number),
    "curve: two rows": (f"{CIRCLE}/factored-seed1.training.csv", swap_lines),
    "curve of another seed": (
        f"{CIRCLE}/factored-seed1.training.csv",
        copy_from("factored-seed2.training.csv"),
    ),
    "curve deleted": (f"{CIRCLE}/plain_start-seed3.training.csv", delete),
    "weights: a byte": (f"{CIRCLE}/factored-seed2.safetensors", flip_byte),
    "weights cut": (f"{CIRCLE}/factored-seed2.safetensors", truncate),
    "weights of another seed": (
        f"{CIRCLE}/entangled-seed0.safetensors",
        copy_from("entangled-seed1.safetensors"),
    ),
    "weights deleted": (f"{CIRCLE}/factored-seed2.safetensors", delete),
    "README: a number": ("../README.md", replace("cross: 0.", "cross: 1.")),
    "README: no block": ("../README.md", write("nothing")),
    "results/README: a number": ("README.md", replace("| 0.", "| 1.")),
    "results/README deleted": ("README.md", delete),
    "tables.toml: damaged": ("tables.toml", replace("[[table]]", "[[table]")),
    "tables.toml: an unknown figure": ("tables.toml", replace("{factored.mi_cross", "{factored.x")),
    "a trial": ("trials/a.json", truncate),
}


def test_the_honest_copy_has_no_fault_and_says_what_it_cannot_check(folder):
    assert provenance.verify_results(folder) == []
    title, runs = provenance.list_unchecked(folder)
    assert title == "not checked, as their weights do not ship: 13 runs"
    of_width = ["paper_width-seed0", "paper_width-seed1", "paper_width_entangled-seed0"]
    of_width += [f"paper_width_2500-seed{n}" for n in (0, 1, 2)]
    of_width += ["paper_width_entangled_2500-seed0"]
    of_small = [f"{run}-seed{n}" for run in ("plain_start", "plain_entangled") for n in (2, 3, 4)]
    lacking = of_width + of_small
    place, names = runs.split(": ")
    assert (place, sorted(names.split(", "))) == (f"  {CIRCLE}", sorted(lacking))


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_change_to_one_file_is_named(folder, kind):
    assert provenance.verify_results(folder) == []
    name, forge = FORGERIES[kind]
    path = (folder / name).resolve()
    before = path.read_bytes()
    forge(path)
    assert not path.exists() or path.read_bytes() != before
    faults = provenance.verify_results(folder)
    assert any(str(path) in fault for fault in faults), faults


def test_any_digit_of_the_figures_is_named(folder):
    """Also one so far behind the point that no mean tells it."""
    path = folder / OF_JUDGE
    text = path.read_text()
    chance = random.Random(0)
    for _ in range(40):
        assert provenance.metrics_faults(path) == []
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


def copy_seed(folder):
    """All three files of one seed take the place of another's: two seeds are one."""
    for suffix in provenance.FILES.values():
        path = folder / CIRCLE / f"entangled-seed0{suffix}"
        shutil.copyfile(path.with_name(f"entangled-seed1{suffix}"), path)


def copy_seed_and_rename(folder):
    copy_seed(folder)
    path = folder / CIRCLE / "entangled-seed0.run.json"
    edit(put(0, "seed"))(path)


def forge_file(name, forge):
    return lambda folder: forge(folder / name)


CONTRADICTIONS = {  # the forgery, and what the fault says
    "another seed's files": (copy_seed, "entangled-seed0.run.json: expected the record of"),
    "the same with the seed's number": (copy_seed_and_rename, "expected weights of its own for"),
    "a curve cut": (
        forge_file(f"{CIRCLE}/factored-seed1.training.csv", drop_last_line),
        "factored-seed1.training.csv: expected a last row of",
    ),
    "fewer steps": (
        forge_file(f"{CIRCLE}/factored-seed1.run.json", edit(put(600, "steps"))),
        "factored-seed1.training.csv: expected a last row of",
    ),
    "fewer seconds": (
        forge_file(f"{CIRCLE}/factored-seed1.run.json", edit(put(60.0, "seconds"))),
        "factored-seed1.training.csv: expected a last row of",
    ),
    "another run": (
        forge_file(f"{CIRCLE}/factored-seed1.run.json", edit(put("long", "settings", "run"))),
        "factored-seed1.run.json: expected the record of",
    ),
    "another profile": (
        forge_file(f"{CIRCLE}/factored-seed1.run.json", edit(put("full", "profile"))),
        "factored-seed1.run.json: expected the record of",
    ),
    "weights that are not the record's": (
        forge_file(f"{CIRCLE}/factored-seed1.safetensors", flip_byte),
        "factored-seed1.safetensors: expected SHA-256",
    ),
    "the judge of another dataset": (
        forge_file(f"{JUDGE}/judge-seed0.run.json", replace("judge digits", "judge faces")),
        "judge-seed0.run.json: expected the record of",
    ),
}


@pytest.mark.parametrize("kind", CONTRADICTIONS)
def test_contradictions_are_named_even_if_all_digests_are_replaced(folder, kind):
    assert provenance.verify_results(folder) == []
    forge, text = CONTRADICTIONS[kind]
    forge(folder)
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


def forge_values(folder):
    """A figure of the only seed with its mean, and the digest of the content."""
    path = folder / FRAMES / "metrics.json"
    metrics = json.loads(path.read_text())
    name = "elbo_per_frame"
    value = metrics["vae"][name] + 0.5
    metrics["vae"][name], metrics["vae"]["by_seed"][name] = value, [value]
    report.write_metrics(path, metrics)


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
    "values": (
        forge_values,
        ("independent", "frames"),
        f"{FRAMES}/metrics.json: vae.elbo_per_frame",
    ),
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
    if kind == "values":  # The others measure the same honest figures.
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
    edit_sealed(put("a sample", "protocol", "data"))(path)
    with pytest.raises(fetch.DataError, match="a sample"):
        provenance.measure_again(path, "vae", 0)
