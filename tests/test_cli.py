"""python -m unbraid: from training to verified results in a folder of its own, and mistakes told in one message."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner
from unbraid import cli, results, runs, settings
from unbraid.data import sources

SMALL = ("--profile", "smoke", "--digits", "mnist-sample")
FOLDER = ("independent", "moving_digits", "smoke")
MODELS = runs.PARTS["independent"]["moving_digits"]


def call(*arguments):
    """The command run in this process: its result, which holds what it printed."""
    return CliRunner().invoke(
        cli.app, [str(argument) for argument in arguments], catch_exceptions=False
    )


def mistake(monkeypatch, capsys, *arguments) -> str:
    """What the command says to a mistake; it must end with code 1 and one message, nothing else."""
    monkeypatch.setattr(sys, "argv", ["unbraid", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr()
    assert end.value.code == 1
    assert (
        told.err.startswith("error: ")
        and told.err.count("error:") == 1
        and "Traceback" not in told.err
    )
    return told.err


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder made by train and evaluate at smoke, and what both printed."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UNBRAID_PROFILE", raising=False)
        trained = call("train", "independent", *SMALL, "--results", folder)
        evaluated = call("evaluate", "independent", *SMALL, "--results", folder, "--write")
    assert trained.exit_code == evaluated.exit_code == 0, trained.output + evaluated.output
    return folder, trained.output, evaluated.output


def test_training_leaves_weights_curve_and_record_and_no_checkpoint(made):
    where = made[0].joinpath(*FOLDER)
    names = {
        f"{model}-seed0.{kind}"
        for model in MODELS
        for kind in ("safetensors", "training.csv", "run.json")
    }
    assert {path.name for path in where.iterdir()} == names | {
        "metrics.json",
        "independent_generations.png",
    }
    for model in MODELS:
        record = results.read_json(where / f"{model}-seed0.run.json")
        assert record["weights_sha256"] == results.digest(where / f"{model}-seed0.safetensors")
        assert record["settings"] == settings.load(f"independent.{model}", "smoke").as_dict()
        assert record["data_sha256"] == {
            file.name: file.sha256 for file in sources.SOURCES["mnist-sample"].files
        }
        assert (
            record["command"]
            == f"python -m unbraid train independent --model {model} --profile smoke --seed 0"
        )
        assert "sample" in record["data"] and record["steps"] == record["settings"]["steps"]
        curve = results.read_csv(where / f"{model}-seed0.training.csv")
        assert [row["step"] for row in curve] == list(range(1, record["steps"] + 1))


def test_what_is_printed_tells_of_data_and_figures(made):
    folder, trained, evaluated = made
    assert (
        "factored-seed0: 6 updates of 8 sequences; the clone's sample of 5 000 MNIST digits, train split"
        in trained
    )
    assert "nats a frame" in trained
    metrics = results.read_json(folder.joinpath(*FOLDER, "metrics.json"))
    assert f"mi_same_bits             {metrics['factored']['mi_same_bits']:.2f}" in evaluated


def test_metrics_have_the_one_form(made):
    metrics = results.read_json(made[0].joinpath(*FOLDER, "metrics.json"))
    assert results.form_faults(metrics) == []
    assert {
        "elbo_per_frame",
        "mi_same_bits",
        "mi_cross_bits",
        "own_digit_bits",
        "other_digit_bits",
    } <= set(metrics["factored"])
    assert (
        metrics["protocol"]["split"],
        metrics["protocol"]["seeds"],
        metrics["protocol"]["pairs"],
    ) == ("test", [0], 100)
    assert (
        "mnist" in metrics["protocol"]["data"].lower()
        and "test split" in metrics["protocol"]["data"]
    )


def test_the_results_are_verified_and_a_fault_turns_the_exit_code(made, tmp_path):
    green = call("verify", "--results", made[0])
    assert green.exit_code == 0 and "all digests right" in green.output
    copy = tmp_path / "copy" / "smoke"
    copy.mkdir(parents=True)
    for path in made[0].joinpath(*FOLDER).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    content = json.loads((copy / "metrics.json").read_text())
    content["factored"]["elbo_per_frame"] += 1
    (copy / "metrics.json").write_text(json.dumps(content))
    red = call("verify", "--results", tmp_path / "copy")
    assert (
        red.exit_code == 1
        and "factored.elbo_per_frame: expected the mean" in red.output
        and "1 faults" in red.output
    )


def test_trained_weights_are_loaded_by_their_record(made):
    model = runs.load_model("independent", "entangled", "smoke", 0, made[0])
    assert model.factors == 1 and not model.training
    path = made[0].joinpath(*FOLDER, "entangled-seed0.safetensors")
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-2] + b"\0\1")
        with pytest.raises(results.ResultsError, match="expected SHA-256"):
            runs.load_model("independent", "entangled", "smoke", 0, made[0])
    finally:
        path.write_bytes(content)


def test_the_same_command_gives_the_same_weights(made, tmp_path):
    assert call("train", "--model", "factored", *SMALL, "--results", tmp_path).exit_code == 0
    assert (
        len(
            {
                results.digest(folder.joinpath(*FOLDER, "factored-seed0.safetensors"))
                for folder in (made[0], tmp_path)
            }
        )
        == 1
    )


def test_seeds_are_chosen_one_by_one(tmp_path):
    done = call(
        "train",
        "--model",
        "factored",
        *SMALL,
        "--seed",
        4,
        "--seed",
        2,
        "--steps",
        2,
        "--results",
        tmp_path,
    )
    assert done.exit_code == 0
    records = [
        results.read_json(tmp_path.joinpath(*FOLDER, f"factored-seed{seed}.run.json"))
        for seed in (2, 4)
    ]
    assert [record["seed"] for record in records] == [2, 4] and records[0][
        "weights_sha256"
    ] != records[1]["weights_sha256"]


def test_an_interrupted_run_goes_on_and_a_finished_one_is_left_alone(tmp_path, monkeypatch):
    """Interrupted in the third update of the second seed: the first is not trained again, the second goes on."""
    arguments = (
        "train",
        "--model",
        "factored",
        *SMALL,
        "--seed",
        0,
        "--seed",
        1,
        "--steps",
        4,
        "--results",
        tmp_path,
    )
    told = []

    def tell(row):
        told.append(row["step"])
        if len(told) == 7:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "say", tell)
    assert call(*arguments).exit_code != 0 and told == [1, 2, 3, 4, 1, 2, 3]
    first = tmp_path.joinpath(*FOLDER, "factored-seed0.safetensors")
    assert first.exists() and not first.with_name("factored-seed1.safetensors").exists()
    assert call(*arguments).exit_code == 0 and told[7:] == [3, 4]
    assert results.read_json(first.with_name("factored-seed1.run.json"))["steps"] == 4
    assert not list(tmp_path.rglob("*.checkpoint"))


@pytest.mark.parametrize(
    "arguments, message",
    (
        (
            ("train", "dependent"),
            "part: expected one of independent, unordered, single_element, found 'dependent'",
        ),
        (
            ("evaluate", "dependent"),
            "part: expected one of independent, unordered, single_element, found 'dependent'",
        ),
        (
            ("train", "independent", "--dataset", "digits"),
            "dataset: expected for independent one of moving_digits, found 'digits'",
        ),
        (
            ("evaluate", "unordered", "--dataset", "cars"),
            "dataset: expected for unordered one of digits, sprites_poses",
        ),
        (("train", "unordered", "--model", "tangled"), "model: expected all or one of unordered, "),
        (
            ("train", "unordered", "--dataset", "faces", "--model", "no_pairs"),
            "model: expected all or one of unordered, ",
        ),
        (
            ("evaluate", "unordered", *SMALL),
            "--digits, --digits-from: expected with the part independent only",
        ),
        (
            ("evaluate", "unordered", *SMALL[:2]),
            "digits/smoke/unordered-seed0.run.json: expected a result, found no file",
        ),
        (
            ("train", "--model", "factored_one_decoder", "--profile", "full"),
            "'full' does without the model factored_one_decoder",
        ),
        (
            ("evaluate", "--model", "factored_one_decoder", "--profile", "full"),
            "'full' does without the model factored_one_decoder",
        ),
        (("train", "--model", "tangled"), "model: expected all or one of factored, entangled"),
        (
            ("train", "--profile", "huge"),
            "profile: expected one of smoke, quick, full, found 'huge'",
        ),
        (
            ("train", *SMALL[:2], "--digits", "emnist"),
            "source: expected auto, mnist or mnist-sample, found 'emnist'",
        ),
        (
            ("evaluate", *SMALL, "--digits-from", "both"),
            "split: expected train or test, found 'both'",
        ),
        (
            ("evaluate", *SMALL),
            "factored-seed0.run.json: expected a result, found no file; make it with: python -m unbraid train",
        ),
        (("verify",), "expected results, found none"),
        (("data", "fetch", "emnist"), "dataset: not known"),
        (("data", "verify", "emnist"), "dataset: not known"),
    ),
)
def test_a_mistake_is_one_clear_message(monkeypatch, capsys, tmp_path, arguments, message):
    where = ("--results", tmp_path / "none") if arguments[0] != "data" else ()
    assert message in mistake(monkeypatch, capsys, *arguments, *where)


def test_a_wrong_profile_in_the_environment_is_named(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("UNBRAID_PROFILE", "huge")
    assert "UNBRAID_PROFILE: expected one of smoke, quick, full, found 'huge'" in mistake(
        monkeypatch, capsys, "train", "--results", tmp_path
    )


@pytest.mark.parametrize("steps", (0, -3))
def test_no_updates_are_refused(tmp_path, steps):
    done = CliRunner().invoke(
        cli.app, ["train", *SMALL, "--steps", str(steps), "--results", str(tmp_path)]
    )
    assert done.exit_code == 2 and "--steps" in done.output and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("choice", (("--model", "factored"), ("--seed", "7")))
def test_part_of_the_figures_does_not_replace_them_all(made, choice):
    path = made[0].joinpath(*FOLDER, "metrics.json")
    before = results.read_json(path)
    CliRunner().invoke(cli.app, ["evaluate", *SMALL, *choice, "--results", str(made[0]), "--write"])
    after = results.read_json(path)
    assert (
        after.keys() == before.keys() and after["protocol"]["seeds"] == before["protocol"]["seeds"]
    )
    assert after["entangled"] == before["entangled"]


def test_a_mistake_at_the_shell_has_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "unbraid", "evaluate", *SMALL, "--results", str(tmp_path)],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "UNBRAID_PROFILE"}
        | {"OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and len(done.stderr.strip().splitlines()) == 1


def test_data_is_listed_with_licence_and_place():
    done = call("data", "list")
    assert done.exit_code == 0
    assert all(
        name in done.output and source.licence in done.output
        for name, source in sources.SOURCES.items()
    )
    assert "mnist-sample" in done.output and "here: " in done.output


def test_the_clones_data_is_verified():
    done = call("data", "verify", "mnist-sample")
    assert done.exit_code == 0
    assert [line.split()[:2] for line in done.output.splitlines()] == [
        ["ok", f"mnist-sample/{file.name}"] for file in sources.SOURCES["mnist-sample"].files
    ]


def test_missing_data_turns_the_exit_code(monkeypatch, tmp_path):
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path))
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    done = call("data", "verify", "mnist")
    assert done.exit_code == 1 and done.output.count("missing") == 4


def test_help_names_every_command():
    done = call("--help")
    assert done.exit_code == 0 and all(
        word in done.output for word in ("train", "evaluate", "verify", "data")
    )
