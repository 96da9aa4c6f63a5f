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
from unbraid import records

from papers import __main__ as cli
from papers import claims, evaluation, settings, tables

SMOKE = ("--profile", "smoke")
BOUNCE = ("--dataset", "circle", *SMOKE)
FOLDER = ("independent", "circle", "smoke")
RUNS = ["factored", "plain_start"]
NAMED = ("--run", "factored", *BOUNCE)


@pytest.fixture(autouse=True)
def without_other_results(data_of_the_clone, monkeypatch, tmp_path):
    """Only the data of the clone, and no build/results but that of the test."""
    monkeypatch.setattr(settings, "own_results", lambda: tmp_path / "build" / "results")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What train and evaluate at smoke left of two runs, and what they printed."""
    home, printed = tmp_path_factory.mktemp("made"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UNBRAID_MIRROR", raising=False)
        patch.setenv("UNBRAID_CACHE", str(home / "cache"))
        patch.setattr(settings, "own_results", lambda: home / "results")
        for name, *more in (("train",), ("evaluate", "--write")):
            for each in RUNS:
                options = (*BOUNCE, "--run", each, *more)
                patch.setattr(sys, "argv", ["papers", name, "independent", *options])
                with redirect_stdout(StringIO()) as output, pytest.raises(SystemExit) as end:
                    cli.main()
                assert not end.value.code, output.getvalue()
                printed.append(output.getvalue())
    return home / "results", printed


@pytest.fixture
def own(made, tmp_path):
    """A copy of these results that a test may change, and its folder of runs."""
    shutil.copytree(made[0], tmp_path / "own")
    return tmp_path / "own", tmp_path.joinpath("own", *FOLDER)


def test_train_and_evaluate_share_a_folder_and_say_so(made):
    folder, printed = made[0].joinpath(*FOLDER), made[1]
    assert f"written: {folder}/factored-seed0.safetensors" in printed[0]
    assert "measure with: python -m papers evaluate independent" in printed[0]
    assert f"factored, seed 0: weights of {made[0]}" in printed[2]
    metrics = records.read_json(folder / "metrics.json")
    assert list(metrics) == [*RUNS, "protocol"] and metrics["protocol"]["split"] == "test"
    assert f"{metrics['factored']['mi_same_bits']:.2f}".replace("-", "−") in printed[2]
    record = records.read_json(folder / "factored-seed0.run.json")
    assert str(Path.home()) not in json.dumps(record)
    assert "sample" in record["data"] and list(record["data_sha256"]) == ["mnist-sample"]
    curve = records.read_csv(made[0].joinpath(*FOLDER, "factored-seed0.training.csv"))
    assert [row["step"] for row in curve] == list(range(1, record["steps"] + 1))


def test_a_seed_more_joins_others_whose_weights_are_gone(own, call):
    results, folder = own
    before = records.read_json(folder / "metrics.json")
    more = (*NAMED, "--seed", 4, "--results", results)
    assert call("train", "independent", *more)[0] == 0
    assert "finished before" in call("train", "independent", *more)[1]
    (folder / "factored-seed0.safetensors").unlink()
    assert call("evaluate", "independent", *more, "--write")[0] == 0
    after = records.read_json(folder / "metrics.json")
    assert tables.find_seeds(after, "factored") == [0, 4]
    one, two = (metrics["factored"]["by_seed"]["elbo_per_frame"] for metrics in (before, after))
    assert two[:1] == one and two[1] != two[0]
    assert after["plain_start"] == before["plain_start"]
    assert call("verify", "--results", results)[0] == 0


def test_what_was_measured_is_measured_again(own, call):
    """The sample of MNIST in the clone is enough, because these runs were measured on it."""
    results, folder = own
    command = ("verify", "--results", results, "--only", "*/factored-seed0")
    code, printed = call(*command)
    assert code == 0 and printed.count("measured again: ") == 1 and "agree" in printed

    path = folder / "metrics.json"
    metrics = records.read_json(path)
    metrics["factored"]["by_seed"]["elbo_per_frame"] = [0.0]
    tables.write_metrics(path, metrics)
    assert call("verify", "--results", results)[0] == 0
    code, printed = call(*command)
    assert code == 1 and f"{path}: factored.elbo_per_frame, seed 0: 0, again" in printed

    path.with_name("factored-seed0.safetensors").unlink()
    code, printed = call(*command)
    assert code == 1 and "not checked: independent/circle/smoke/factored-seed0: its" in printed


@pytest.fixture
def asked(monkeypatch):
    """What evaluate would measure: jobs, and the places of their weights."""
    seen = []
    monkeypatch.setattr(evaluation, "measure_runs", lambda *given: seen.append(given) or {})
    return seen


def test_what_is_not_trained_is_left_out_with_the_command_that_trains_it(made, call, asked):
    results = ("--results", made[0])
    code, printed = call("evaluate", "independent", *NAMED, "--seed", 0, "--seed", 7, *results)
    assert code == 0 and "left out" in printed and [s for _, s in asked[0][0]] == [[0]]
    assert "--dataset circle --run factored --profile smoke --seed 7" in printed
    code, printed = call("evaluate", "independent", *NAMED, "--results", "other")
    assert code == 1 and "--seed 0 --results other" in printed


def test_a_damaged_run_is_named(own, call):
    results, folder = own
    (folder / "factored-seed0.run.json").write_text("[]")
    code, printed = call("evaluate", "independent", *NAMED, "--results", results)
    assert code == 1 and "factored-seed0" in printed and printed.count("error:") == 1
    # A record that cannot be read is not trained over.
    code, printed = call("train", "independent", *NAMED, "--results", results)
    assert code == 1 and "factored-seed0.run.json: expected" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a process")
def test_ctrl_c_ends_in_a_sentence_and_the_same_command_goes_on(call, tmp_path):
    """In a process of its own, in any folder; Ctrl-C reaches it even where tests ignore it."""
    arguments = ("train", "independent", *NAMED, "--steps", "40", "--results", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "papers", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:
        if "step 3 " in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait() == 130 and "Traceback" not in rest
    assert "run the same command to continue factored-seed0" in rest
    code, printed = call(*arguments)
    assert code == 0 and "goes on after update" in printed


LONG = ("--dataset", "circle", "--run", "long", "--profile", "full")
BENEATH = Path(__file__) / "none"  # No folder can be made beneath a file.
MISTAKES = {
    ("train", "dependent"): "part: expected one of independent",
    ("evaluate", "unordered", "--dataset", "cars"): "dataset: expected one of digits",
    ("train", "unordered", "--run", "no_pair"): "did you mean no_pairs",
    ("train", "independent", *LONG, "--seed", "0"): "--run: expected one that the profile full has",
    ("train", "independent", *NAMED, "--precision", "33"): "precision: expected one of 32-true",
    ("train", "independent", *NAMED, "--results", str(BENEATH)): "another folder with --results",
    ("train", "unordered", *SMOKE, "--dataset", "faces"): "data fetch cmu-faces",
    ("verify", "--results", "none"): "expected results, found none",
}


@pytest.mark.parametrize("arguments", MISTAKES, ids=" ".join)
def test_a_mistake_is_answered_by_one_message(call, arguments):
    code, printed = call(*arguments)
    assert code == 1 and printed.count("error:") == 1 and "Traceback" not in printed
    assert MISTAKES[arguments] in printed


def test_the_trainings_of_a_grid_are_listed_once(call):
    code, printed = call("runs", "independent/circle", "single_element", *SMOKE)
    answer, _, left_out = printed.partition("left out")
    trainings = json.loads(answer)["trainings"]
    names = [(each["dataset"], each["run"], each["seed"]) for each in trainings]
    assert code == 0 and len(set(names)) == len(names) > 1 and names[0][0] == "circle"
    assert "timit" not in {name[0] for name in names} and "UNBRAID_TIMIT" in left_out


def test_targets_of_a_grid_are_all_a_part_a_dataset_or_the_claims():
    assert {each.model for each in cli.select_target("unordered", "quick")} == {"unordered"}
    (grey,) = cli.select_target("unordered/grey_digits", "smoke")
    assert (grey.section, grey.profile) == ("unordered.grey_digits", "smoke")
    shown = {run.rpartition("/") for run, _ in claims.list_runs(claims.read_claims().values())}
    rows = {(place, run) for place, _, run in shown}
    for profile in ("quick", "full"):
        chosen = cli.select_target("readme", profile)
        named = {(f"{each.model}/{each.dataset}/{profile}", each.run) for each in chosen}
        assert named >= {row for row in rows if row[0].endswith(profile)}
