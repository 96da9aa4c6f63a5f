"""python -m papers: from training to verified results, and mistakes answered by one message."""

import json
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from unbraid import store
from unbraid.data import street

from papers import claims, provenance, report, runs, settings
from papers import commands as cli

SMOKE = ("--profile", "smoke")
BOUNCE = ("--dataset", "bounce", *SMOKE)
FOLDER = ("independent", "bounce", "smoke")
SECTIONS = {each.run: each.section for each in settings.select_runs("independent", "bounce")}
RUNS = list(SECTIONS)


@pytest.fixture(autouse=True)
def without_other_results(data_of_the_clone, monkeypatch, tmp_path):
    """Only the data of the clone, and no build/results but that of the test."""
    monkeypatch.chdir(tmp_path)


def start(*arguments, program=("-m", "papers")):
    """A command in a process of its own, which Ctrl-C reaches also where the tests ignore it."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What train and evaluate at smoke left in build/results, and what they printed."""
    home, printed = tmp_path_factory.mktemp("made"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UNBRAID_MIRROR", raising=False)
        patch.setenv("UNBRAID_CACHE", str(home / "cache"))
        patch.chdir(home)
        for name, *more in (("train",), ("evaluate", "--write")):
            patch.setattr(sys, "argv", ["papers", name, "independent", *BOUNCE, *more])
            with redirect_stdout(StringIO()) as output, pytest.raises(SystemExit) as end:
                cli.main()
            assert not end.value.code, output.getvalue()
            printed.append(output.getvalue())
    return home / "build" / "results", printed


@pytest.fixture
def own(made, tmp_path):
    """A copy of these results that a test may change, and its folder of runs."""
    shutil.copytree(made[0], tmp_path / "own")
    return tmp_path / "own", tmp_path.joinpath("own", *FOLDER)


def test_training_leaves_weights_curve_and_record(made):
    where = made[0].joinpath(*FOLDER)
    assert not list(where.glob("*.checkpoint"))
    for run in RUNS:
        record = store.read_json(where / f"{run}-seed0.run.json")
        assert record["weights_sha256"] == store.digest(where / f"{run}-seed0.safetensors")
        assert record["settings"] == settings.load(SECTIONS[run], "smoke").as_dict()
        assert f"--run {run} --profile smoke --seed 0" in record["command"]
        assert record["versions"] == report.read_versions()
        assert str(Path.home()) not in json.dumps(record)
        assert "sample" in record["data"] and list(record["data_sha256"]) == ["mnist-sample"]
        curve = store.read_csv(where / f"{run}-seed0.training.csv")
        assert [row["step"] for row in curve] == list(range(1, record["steps"] + 1))


def test_train_and_evaluate_share_a_folder_and_say_so(made):
    trained, evaluated = made[1]
    assert "written: build/results/independent/bounce/smoke/factored-seed0" in trained
    assert "measure with: python -m papers evaluate independent" in trained
    assert "factored, seed 0: weights of build/results" in evaluated
    metrics = store.read_json(made[0].joinpath(*FOLDER, "metrics.json"))
    assert list(metrics) == [*RUNS, "protocol"] and provenance.form_faults(metrics) == []
    assert metrics["protocol"]["split"] == "test" and metrics["protocol"]["seeds"] == [0]
    assert f"{metrics['factored']['mi_same_bits']:.2f}".replace("-", "−") in evaluated
    assert list(made[0].joinpath(*FOLDER).glob("*.png"))
    assert len(evaluated.splitlines()) < 60


def test_figures_of_runs_whose_weights_are_gone_are_never_written_over(own, call, monkeypatch):
    results, folder = own
    monkeypatch.setattr(cli, "measure_runs", None)
    before = (folder / "metrics.json").read_bytes()
    (folder / f"{RUNS[-1]}-seed0.safetensors").unlink()
    code, printed = call("evaluate", "independent", *BOUNCE, "--results", results, "--write")
    assert code == 1 and f"found none of {RUNS[-1]}, seeds [0]" in printed
    assert (folder / "metrics.json").read_bytes() == before


def test_a_seed_more_joins_others_whose_weights_are_gone(own, call):
    results, folder = own
    before = store.read_json(folder / "metrics.json")
    more = (*BOUNCE, "--run", "factored", "--seed", 4, "--results", results)
    assert call("train", "independent", *more)[0] == 0
    (folder / "factored-seed0.safetensors").unlink()
    assert call("evaluate", "independent", *more, "--write")[0] == 0
    after = store.read_json(folder / "metrics.json")
    assert store.find_seeds(after, "factored") == [0, 4]
    one, two = (metrics["factored"]["by_seed"]["elbo_per_frame"] for metrics in (before, after))
    assert two[:1] == one and two[1] != two[0]
    assert {name: after[name] for name in RUNS[1:]} == {name: before[name] for name in RUNS[1:]}
    assert call("stamp", "--results", results)[0] == call("verify", "--results", results)[0] == 0

    after["protocol"]["versions"] = {"torch": "1.0"}
    report.write_metrics(folder / "metrics.json", after)
    assert call("evaluate", "independent", *more, "--write")[0] == 0
    protocol = store.read_json(folder / "metrics.json")["protocol"]
    assert protocol["versions"] == {"torch": "1.0"} and "versions_of" not in protocol
    files = protocol["files"]["factored"]
    assert files["4"]["versions"] == report.read_versions() and "versions" not in files["0"]

    del after["factored"]["by_seed"]["mi_same_bits"]
    report.write_metrics(folder / "metrics.json", after)
    code, printed = call("evaluate", "independent", *more, "--write")
    assert code == 1 and "['mi_same_bits'] are of some seeds alone" in printed


def test_a_dataset_without_weights_is_left_out(made, call, monkeypatch):
    asked = []
    monkeypatch.setattr(
        cli, "measure_runs", lambda jobs, places, accelerator: asked.append(jobs) or {}
    )
    code, printed = call("evaluate", "independent", "--profile", "smoke", "--results", made[0])
    assert code == 0 and "left out, weights" in printed
    assert [{job[0].dataset for job in jobs} for jobs in asked] == [{"bounce"}]


def test_a_finished_run_is_kept_and_verified(made, call):
    code, printed = call("train", "independent", *BOUNCE, "--results", made[0])
    assert code == 0 and printed.count("finished before") == len(RUNS)
    code, printed = call("verify", "--results", made[0])
    assert code == 0 and "agree" in printed


def test_what_was_measured_is_measured_again(own, call):
    """The sample of MNIST in the clone is enough, because these runs were measured on it."""
    results, folder = own
    command = ("verify", "--results", results, "--again", "--dataset", "bounce")
    code, printed = call(*command, "--run", "factored", "--seed", 0)
    assert code == 0 and printed.count("measured again: ") == 1
    assert "independent/bounce/smoke/factored-seed0: 0 faults" in printed and "agree" in printed

    path = folder / "metrics.json"
    metrics = store.read_json(path)
    figures = metrics["factored"]["by_seed"] | {"elbo_per_frame": [0.0]}
    metrics["factored"] = report.summarise([{name: figures[name][0] for name in figures}])
    report.write_metrics(path, metrics)
    assert call("verify", "--results", results)[0] == 0
    code, printed = call(*command, "--run", "factored")
    assert code == 1 and f"{path}: factored.elbo_per_frame, seed 0: found 0" in printed

    path.with_name("factored-seed0.safetensors").unlink()
    assert call("stamp", "--results", results)[0] == 0
    code, printed = call(*command, "--run", "factored")
    assert code == 1 and "not checked: independent/bounce/smoke/factored-seed0: its" in printed
    assert "not checked, as their weights do not ship: 1 runs" in printed


def test_the_runs_behind_claims_whose_weights_ship_are_measured_again_by_default(call, monkeypatch):
    asked = []
    monkeypatch.setattr(provenance, "verify_again", lambda runs: asked.append(runs) or [])
    monkeypatch.setattr(provenance, "verify_results", lambda folder: [])
    place = "independent/circle/quick"
    runs = {(place, "long", 0): True, (place, "long", 1): False, (place, "factored", 0): False}
    monkeypatch.setattr(claims, "list_runs", lambda claims: runs)
    code, printed = call("verify", "--again")
    assert code == 0 and "claims: 1 of 3 runs can be measured again" in printed
    assert call("verify", "--again", "--all")[0] == 0
    assert asked[0] == [(store.shipped() / place / "metrics.json", "long", 0)]
    everything = {path.parts[-4] for path, _, _ in asked[1]}
    assert everything == {*cli.PARTS, "judges"} and len(asked[1]) > 100


def test_a_run_that_was_named_and_not_checked_is_no_success(call):
    """Without MNIST the clone has a sample of it, on which figures are others."""
    options = ("--results", store.shipped() / "independent", "--dataset", "frames", "--run", "vae")
    code, printed = call("verify", "--again", *options)
    assert (
        code == 1 and "not checked: independent/frames/quick/vae-seed0: data: expected" in printed
    )


def test_trained_weights_are_found_in_the_shipped_results_too(call, monkeypatch):
    asked = []
    monkeypatch.setattr(
        cli, "measure_runs", lambda jobs, places, accelerator: asked.append(places) or {}
    )
    call("evaluate", "independent", "--dataset", "circle", "--run", "factored", "--seed", 0)
    assert asked == [{"independent/circle/quick/factored-seed0": store.shipped()}]


def test_missing_weights_are_named_with_the_command_that_trains_them(made, call, monkeypatch):
    monkeypatch.chdir(made[0].parents[1])
    monkeypatch.setattr(cli, "measure_runs", None)  # nothing is measured before all are found
    code, printed = call("evaluate", "independent", *BOUNCE, "--seed", 0, "--seed", 7)
    assert code == 1
    for run in RUNS:
        assert f"--dataset bounce --run {run} --profile smoke --seed 7" in printed
    code, printed = call("evaluate", "independent", *BOUNCE, "--results", "other")
    assert code == 1 and "--seed 0 --results other" in printed


@pytest.mark.parametrize("damage", ("{}", "[]", '{"settings": {}, "weights_sha256": "0"}'))
def test_a_damaged_run_is_named_before_anything_is_measured(own, call, damage, monkeypatch):
    results, folder = own
    monkeypatch.setattr(cli, "measure_runs", None)
    last = f"{RUNS[-1]}-seed0"
    (folder / f"{last}.run.json").write_text(damage)
    code, printed = call("evaluate", "independent", *BOUNCE, "--results", results)
    assert code == 1 and last in printed and printed.count("error:") == 1
    if "weights" not in damage:  # a record that cannot be read is not trained over
        code, printed = call("train", "independent", *BOUNCE, "--results", results)
        assert code == 1 and f"{last}.run.json: expected a run's record" in printed


def test_a_disk_that_fills_up_is_named_with_the_run(call, tmp_path, monkeypatch):
    def fill(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.training, "fit", fill)
    code, printed = call("train", "independent", *BOUNCE, "--results", tmp_path)
    assert code == 1 and f"left on device: '{tmp_path}/independent/bounce/smoke/" in printed
    assert "make room" in printed


def test_seeds_that_are_not_trained_are_left_out(made, call, monkeypatch):
    asked = []
    monkeypatch.chdir(made[0].parents[1])
    monkeypatch.setattr(
        cli, "measure_runs", lambda jobs, places, accelerator: asked.append(jobs) or {}
    )
    loaded = cli.load_settings
    monkeypatch.setattr(cli, "load_settings", lambda *names: loaded(*names, seeds=3))
    code, printed = call("evaluate", "independent", *BOUNCE, "--run", RUNS[0])
    assert code == 0 and "left out" in printed and "--seed 1 --seed 2" in printed
    assert [seeds for _, seeds in asked[0]] == [[0]]


def test_the_same_command_gives_the_same_weights_after_an_interruption(call, tmp_path):
    """Stopped by Ctrl-C after some updates; the same command then ends in the same bits."""
    arguments = ("train", "independent", "--run", "factored", *BOUNCE, "--steps", 40)
    folders = [("--results", tmp_path / name) for name in ("whole", "broken")]
    assert call(*arguments, *folders[0])[0] == 0
    process = start(*arguments, *folders[1])
    for line in process.stdout:
        if "step 3 " in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait() == 130 and "Traceback" not in rest
    assert "the same command goes on with factored-seed0 after update" in rest
    process = start(*arguments, *folders[1])
    printed = process.stdout.read()
    assert process.wait() == 0 and "goes on after update" in printed
    weights = [folder.joinpath(*FOLDER, "factored-seed0.safetensors") for _, folder in folders]
    assert store.digest(weights[0]) == store.digest(weights[1])


# A command in which Ctrl-C is pressed when the module named by the last argument is imported.
INTERRUPTED = """
import os, runpy, signal, sys

class Interruption:
    def __init__(self, module):
        self.module = module

    def find_spec(self, name, *_):
        if name == self.module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interruption(sys.argv.pop()))
runpy.run_module("papers", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["papers.commands", "torch"])
def test_an_interruption_while_modules_are_imported_has_no_traceback(module):
    process = start("train", "independent", *BOUNCE, module, program=("-c", INTERRUPTED))
    assert process.stdout.read() == "stopped\n"
    assert process.wait() == 130


LONG = ("--dataset", "circle", "--run", "long", "--profile", "full")
MISTAKES = {
    ("train", "dependent"): "part: expected one of independent",
    ("evaluate", "unordered", "--dataset", "cars"): "dataset: expected one of digits",
    ("train", "unordered", "--run", "no_pair"): "did you mean no_pairs",
    ("train", "unordered", "--dataset", "faces", "--run", "no_pairs"): "run: expected one of",
    ("train", "independent", "--run", "tenfold", "--profile", "full"): "--seed",
    ("train", "independent", *LONG, "--seed", "0"): "--run: expected one that the profile full has",
    ("train", "independent", "--precision", "33"): "--precision: expected one of 32-true",
    ("train", "independent", "--profile", "huge"): "profile: expected one of smoke, quick, full",
    ("train", "independent", *BOUNCE, "--results", "/proc/none"): "another folder with --results",
    ("train", "unordered", *SMOKE, "--dataset", "faces"): "data fetch cmu-faces",
    ("evaluate", "unordered", *SMOKE, "--dataset", "digits"): "--dataset digits --run dynamic_4",
    ("evaluate", "independent", "--write", "--seed", "0"): "--write",
    ("full", *SMOKE, "--results", "/proc/none"): "another folder with --results",
    ("judge", "weather"): "dataset: expected one of",
    ("verify", "--results", "none"): "expected results, found none",
    ("verify", "--part", "independent"): "--again: expected with",
    ("verify", "--again", "--run", "twofold"): "--again: expected a run",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_answered_by_one_message(call, arguments):
    code, printed = call(*arguments)
    assert code == 1 and printed.count("error:") == 1 and "Traceback" not in printed
    assert MISTAKES[arguments] in printed


def test_datasets_that_are_not_at_hand_are_left_out_of_all(call, monkeypatch):
    trained = []
    monkeypatch.setattr(runs, "train_run", lambda chosen, *_: trained.append(chosen.dataset))
    monkeypatch.setattr(runs, "make_sampler", lambda chosen: None)  # which composes all frames
    code, printed = call("train", "unordered", *SMOKE, "--run", "unordered")
    assert code == 0 and "faces" not in trained and "digits" in trained
    assert "data fetch cmu-faces" in printed


def test_a_package_that_only_the_course_needs_is_named(call, monkeypatch):
    street.read_video.cache_clear()
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    code, printed = call("train", "independent", "--dataset", "street", *SMOKE)
    assert code == 1 and "needs the package imageio_ffmpeg; python -m pip install" in printed


@pytest.mark.parametrize("arguments", (("-h",), ("--version",), ("tran",), ("train", "dependent")))
def test_help_and_typos_are_answered_without_importing_torch(arguments):
    code = "import sys; from papers.commands import main\ntry: main()\nfinally: "
    code += "print('torch' in sys.modules)"
    command = [sys.executable, "-c", code, *arguments]
    printed = subprocess.run(command, capture_output=True, text=True)
    assert printed.stdout.splitlines()[-1] == "False"
