"""Runs of every part: which there are, what they are trained on, and paper B's from training to verified results."""

import re

import pytest
import torch
from typer.testing import CliRunner
from unbraid import cli, readme, results, runs, settings
from unbraid.data import catalogue, sources
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.data.sequences import Sequences
from unbraid.settings import Settings

EVERY = [
    (part, dataset, model)
    for part, datasets in runs.PARTS.items()
    for dataset, models in datasets.items()
    for model in models
]
SQUARES = Digits(torch.ones(5, 28, 28, dtype=torch.uint8), torch.arange(5), "train", "five squares")
SMALL = Settings(image_size=32, length=3)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def poses(split="train", image_size=32):
    """Twenty characters in three actions of four frames each; a pixel is 10 x the character + the action."""
    action = torch.arange(3).repeat_interleave(4).expand(20, -1)
    frames = (
        (10 * torch.arange(20)[:, None] + action)
        .byte()[..., None, None, None]
        .expand(-1, -1, 3, image_size, image_size)
    )
    labels = {"character": torch.arange(20), "action": action}
    return Sequences(
        frames,
        labels,
        ("character",),
        ("action",),
        split,
        f"twenty squares, {split}",
        classes={"action": ("a", "b", "c")},
    )


@pytest.fixture
def drawn(monkeypatch):
    """The poses above in place of those that the catalogue would load."""
    monkeypatch.setattr(catalogue, "load", lambda name, split, image_size: poses(split, image_size))


# ---- what there is


def test_the_datasets_and_models_of_each_part():
    assert runs.PARTS["independent"] == {
        "moving_digits": ("factored", "entangled", "factored_one_decoder", "entangled_two_decoders")
    }
    assert set(runs.PARTS["unordered"]) == {"digits", "sprites_poses", "faces", "drawn_poses"}
    series = {"spoken_digits", "vowels", "weather", "air_quality", "etth1", "physionet"}
    assert set(runs.PARTS["single_element"]) == {"sprites", "drawn_sprites", *series}
    assert all(
        models[0] == part
        for part in ("unordered", "single_element")
        for models in runs.PARTS[part].values()
    )
    assert {"no_pairs", "free_prior", "wide"} <= set(runs.PARTS["unordered"]["sprites_poses"])


@pytest.mark.parametrize("part, dataset, model", EVERY, ids=["-".join(names) for names in EVERY])
def test_every_model_has_settings_and_is_built_from_them(part, dataset, model):
    section = runs.section_of(part, dataset, model)
    assert (section.split(".")[-1] == model) != (model == part)
    chosen = settings.load(section, "smoke")
    built, again = runs.build(chosen, 3).state_dict(), runs.build(chosen, 3)
    assert isinstance(again, runs.MODELS[part]) and results.equal_state(built, again.state_dict())
    assert not results.equal_state(built, runs.build(chosen, 4).state_dict())


def test_what_a_command_means():
    assert runs.meant("unordered") == runs.PARTS["unordered"]
    assert runs.meant("unordered", "drawn_poses") == {
        "drawn_poses": runs.PARTS["unordered"]["drawn_poses"]
    }
    assert runs.meant("unordered", model="no_pairs") == {
        "sprites_poses": ("no_pairs",)
    }  # where there is one
    assert runs.meant("unordered", model="unordered") == dict.fromkeys(
        runs.PARTS["unordered"], ("unordered",)
    )
    assert runs.meant("unordered", "sprites_poses", "wide") == {"sprites_poses": ("wide",)}


@pytest.mark.parametrize(
    "call, message",
    (
        (
            lambda: runs.meant("both"),
            "part: expected one of independent, unordered, single_element, found 'both'",
        ),
        (
            lambda: runs.folder_of("unordered", None, "quick"),
            "dataset: expected for unordered one of digits, .*, found None",
        ),
        (
            lambda: runs.load_model("unordered", "unordered", "quick", 0),
            "dataset: expected for unordered one of digits",
        ),
        (
            lambda: runs.section_of("unordered", "faces", "wide"),
            "model: expected for unordered on faces one of unordered.*, found 'wide'",
        ),
        (
            lambda: runs.meant("unordered", "faces", "no_pairs"),
            "model: expected all or one of unordered.*, found 'no_pairs'",
        ),
        (
            lambda: runs.supply_of("cars", "train", SMALL),
            "dataset: expected one of moving_digits, digits, .*, found 'cars'",
        ),
        (
            lambda: runs.supply_of("digits", "both", SMALL),
            "split: expected train or test, found 'both'",
        ),
    ),
)
def test_what_there_is_not_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---- what is trained on


def test_unordered_digits_are_different_frames_of_one_path_in_any_order():
    supply, paths = runs.UnorderedDigits(SQUARES, 32, 6), MovingDigits(SQUARES, 32, runs.PATH)
    which, positions = supply.draw(50, noise(1))
    of_paths, whole = paths.draw(50, noise(1))
    assert torch.equal(which, of_paths) and positions.shape == (50, 6, 2, 2)
    step = (
        (positions[:, :, None] == whole[:, None]).all(-1).all(-1).int().argmax(2)
    )  # (50, 6): which frame of the path
    assert torch.equal(whole[torch.arange(50)[:, None], step], positions)
    assert all(len(row.unique()) == 6 for row in step) and len(step.unique()) == runs.PATH
    assert (step.diff(dim=1) > 0).float().mean() == pytest.approx(
        0.5, abs=0.1
    )  # 250 of them, in no order
    batch = supply.batch(50, noise(1))
    assert batch.frames.shape == (50, 6, 3, 32, 32) and torch.equal(
        batch.labels["red_position"], positions[:, :, 0]
    )


def test_more_frames_than_a_path_has_are_refused():
    with pytest.raises(
        ValueError, match="length: expected at most 20, the frames of a path, found 21"
    ):
        runs.UnorderedDigits(SQUARES, 32, 21)


@pytest.mark.parametrize("dataset", ("moving_digits", "digits"))
def test_supplies_of_digits(dataset):
    supply = runs.supply_of(dataset, "train", SMALL, "mnist-sample")
    frames, batch = supply.frames(4, noise()), supply.batch(4, noise())
    assert frames.shape == (4, 3, 3, 32, 32) and torch.equal(frames, batch.frames)
    assert "the clone's sample of 5 000 MNIST digits, train split" in supply.provenance
    if dataset == "digits":
        assert supply.provenance.startswith("3 of 20 frames of moving digits 32 x 32")
        assert list(supply.digests) == ["digests/mnist-sample.txt"]
    else:
        assert supply.digests == {
            file.name: file.sha256 for file in sources.SOURCES["mnist-sample"].files
        }
    other = runs.supply_of(dataset, "test", SMALL, "mnist-sample", "train")
    assert torch.equal(other.frames(4, noise()), frames)  # from the same digits, when asked
    assert not torch.equal(
        runs.supply_of(dataset, "test", SMALL, "mnist-sample").frames(4, noise()), frames
    )


@pytest.mark.parametrize("dataset", ("sprites_poses", "drawn_poses"))
def test_supplies_of_poses(drawn, dataset):
    supply = runs.supply_of(dataset, "train", SMALL)
    batch = supply.batch(200, noise())
    assert torch.equal(batch.frames, supply.frames(200, noise())) and batch.frames.shape == (
        200,
        3,
        3,
        32,
        32,
    )
    values = (255 * batch.frames[:, :, 0, 0, 0]).round().long()
    assert torch.equal(
        values, 10 * batch.labels["character"][:, None] + batch.labels["action"]
    )  # each sample of one character
    assert supply.provenance == "3 frames at a time of twenty squares, train"
    assert list(supply.digests) == ([] if dataset == "drawn_poses" else ["digests/sprites-li.txt"])
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in supply.digests.values())


def test_supplies_of_whole_sequences():
    supply = runs.supply_of("weather", "train", settings.load("single_element.weather", "smoke"))
    (frames, mask), batch = supply.frames(5, noise()), supply.batch(5, noise())
    assert (
        frames.shape == (5, 24, 8)
        and torch.equal(frames, batch.frames)
        and torch.equal(mask, batch.mask)
    )
    assert "weather of 3 New York airports" in supply.provenance and list(supply.digests) == [
        "digests/weather.txt"
    ]
    clips = runs.supply_of(
        "drawn_sprites", "test", settings.load("single_element.drawn_sprites", "smoke")
    )
    assert clips.frames(2, noise()).shape == (2, 8, 3, 32, 32) and clips.digests == {}


def seen(supply):
    """(character, action) pairs among a thousand samples."""
    batch = supply.batch(1000, noise(2))
    return set(
        zip(
            batch.labels["character"][:, None].expand(-1, 3).flatten().tolist(),
            batch.labels["action"].flatten().tolist(),
        )
    )


def test_what_is_withheld_is_never_trained_on_and_said(drawn):
    chosen = Settings(image_size=32, length=3, withheld=0.2)
    supply = runs.supply_of("sprites_poses", "train", chosen)
    everything = {(character, action) for character in range(20) for action in range(3)}
    lacking = everything - seen(supply)
    assert (
        len(lacking) == 4 and len({character for character, _ in lacking}) == 4
    )  # of a fifth of twenty characters one action
    assert supply.provenance.endswith("twenty squares, train, one action withheld of 20 % of them")
    assert seen(runs.supply_of("sprites_poses", "test", chosen)) == everything
    assert (
        seen(
            runs.supply_of("sprites_poses", "train", Settings(image_size=32, length=3, withheld=0))
        )
        == everything
    )


# ---- paper B from training to results

DIGITS = ("unordered", "--dataset", "digits", "--profile", "smoke")
FOLDER = ("unordered", "digits", "smoke")
MODELS = runs.PARTS["unordered"]["digits"]


def call(*arguments):
    return CliRunner().invoke(
        cli.app, [str(argument) for argument in arguments], catch_exceptions=False
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A results folder of paper B's model on digits at smoke, and what train, train again and evaluate printed."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UNBRAID_PROFILE", raising=False)
        patch.delenv("UNBRAID_MIRROR", raising=False)
        patch.setenv("UNBRAID_CACHE", str(tmp_path_factory.mktemp("empty")))
        done = [
            call(command, *DIGITS, "--results", folder, *more)
            for command, *more in (("train",), ("train",), ("evaluate", "--write"))
        ]
    assert [one.exit_code for one in done] == [0, 0, 0], [one.output for one in done]
    return folder, [one.output for one in done]


def test_paper_b_is_trained_with_curve_weights_and_record(made):
    where = made[0].joinpath(*FOLDER)
    record = results.read_json(where / "unordered-seed0.run.json")
    assert (
        record["command"]
        == "python -m unbraid train unordered --dataset digits --model unordered --profile smoke --seed 0"
    )
    assert record["settings"] == settings.load("unordered.digits", "smoke").as_dict()
    assert record["weights_sha256"] == results.digest(where / "unordered-seed0.safetensors")
    assert (
        list(record["data_sha256"]) == ["digests/mnist-sample.txt"] and "sample" in record["data"]
    )
    assert len(results.read_csv(where / "unordered-seed0.training.csv")) == record["steps"] == 6
    assert not list(made[0].rglob("*.checkpoint"))


def test_a_finished_run_is_left_alone(made):
    first, second, _ = made[1]
    assert (
        "unordered-seed0: 6 updates of 4 sequences; 3 of 20 frames of moving digits" in first
        and first.count("  update ") == 6 * len(MODELS)
    )
    assert second.count("finished before") == len(MODELS) and "  update " not in second


def test_a_checkpoint_that_a_killed_run_left_behind_goes(made, monkeypatch):
    """Killed after its record was written and before its checkpoint was deleted."""
    left = made[0].joinpath(*FOLDER, "unordered-seed0.checkpoint")
    left.write_bytes(b"left")
    assert (
        "finished before"
        in call("train", *DIGITS, "--digits", "mnist-sample", "--results", made[0]).output
        and not left.exists()
    )


def test_paper_b_is_measured_in_the_one_form(made):
    metrics = results.read_json(made[0].joinpath(*FOLDER, "metrics.json"))
    assert results.form_faults(metrics) == [] and list(metrics) == [*MODELS, "protocol"]
    columns, _ = readme.README_TABLES["unordered/digits/quick"]
    assert set(columns) <= set(metrics["unordered"])
    assert metrics["protocol"]["seeds"] == [0] and {
        "data",
        "split",
        "intervals",
        "versions",
    } <= set(metrics["protocol"])
    assert f"elbo_per_frame           {metrics['unordered']['elbo_per_frame']:.2f}" in made[1][2]
    assert made[0].joinpath(*FOLDER, "unordered_digits.png").stat().st_size > 1000
    assert call("verify", "--results", made[0]).exit_code == 0


def test_paper_b_is_loaded_by_its_record(made):
    model = runs.load_model("unordered", "unordered", "smoke", 0, made[0], "digits")
    assert isinstance(model, runs.UnorderedFrames) and not model.training and model.static_size == 8
    kept = results.load_tensors(made[0].joinpath(*FOLDER, "unordered-seed0.safetensors"))
    assert all(
        torch.equal(value.half() if value.is_floating_point() else value, kept[name])
        for name, value in model.state_dict().items()
    )


def test_an_interrupted_run_of_paper_b_ends_as_an_unbroken_one(made, tmp_path, monkeypatch):
    told = []

    def tell(row):
        told.append(row["step"])
        if len(told) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli, "say", tell)
    arguments = (
        "train",
        *DIGITS,
        "--model",
        "unordered",
        "--digits",
        "mnist-sample",
        "--results",
        tmp_path,
    )
    assert call(*arguments).exit_code != 0 and not list(tmp_path.rglob("*.run.json"))
    assert call(*arguments).exit_code == 0 and told == [
        1,
        2,
        3,
        4,
        4,
        5,
        6,
    ]  # from the checkpoint of update 3
    digests = [
        results.digest(folder.joinpath(*FOLDER, "unordered-seed0.safetensors"))
        for folder in (made[0], tmp_path)
    ]
    assert digests[0] == digests[1]


def test_data_that_is_missing_is_found_out_before_anything_is_trained(tmp_path, monkeypatch):
    """Digits are in the clone; the sheets of the sprites are not."""
    monkeypatch.setenv("UNBRAID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("UNBRAID_MIRROR", raising=False)
    with pytest.raises(sources.DataError, match="python -m unbraid data fetch sprites-li"):
        call("train", "unordered", "--profile", "smoke", "--results", tmp_path / "results")
    assert not (tmp_path / "results").exists()
