"""fit(): it learns, repeats bit for bit, survives being killed anywhere, and refuses what does not belong to it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from unbraid import settings, training
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.models.independent import IndependentPrediction
from unbraid.models.interface import Bound
from unbraid.results import ResultsError, equal_state, load_tensors
from unbraid.training import TrainingError, fit

SQUARES = Digits(
    torch.full((2, 28, 28), 255, dtype=torch.uint8),
    torch.tensor([0, 1]),
    "train",
    "two white squares",
)


def setup(seed=0, **overrides):
    """A tiny model, its supply of frames, and its settings."""
    chosen = settings.load(
        "independent.factored", "smoke", **{"width": 4, "batch_size": 4, "steps": 12, **overrides}
    )
    supply = MovingDigits(SQUARES, chosen.image_size, chosen.length)
    torch.manual_seed(seed)
    return (
        IndependentPrediction.from_settings(chosen),
        lambda count, generator: supply.frames(count, generator)[0],
        chosen,
    )


def trained(folder=None, weights_seed=0, seed=0, every=4, **overrides):
    model, draw, chosen = setup(weights_seed, **overrides)
    rows = fit(model, draw, chosen, seed, folder, "model", log_every=every, checkpoint_every=every)
    return {name: value.clone() for name, value in model.state_dict().items()}, rows


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_training_raises_the_bound():
    model, draw, chosen = setup(steps=150, batch_size=8)
    told = []
    rows = fit(model, draw, chosen, 0, log_every=10, report=told.append)
    assert told == rows and [row["step"] for row in rows] == list(range(10, 151, 10))
    assert [row["sequences"] for row in rows] == list(range(80, 1201, 80))
    assert rows[-1]["elbo_per_frame"] > rows[0]["elbo_per_frame"] + 200
    assert all(
        row["elbo_per_frame"]
        == pytest.approx(row["log_likelihood_per_frame"] - row["kl_per_frame"], rel=1e-4)
        for row in rows
    )
    assert all(later["seconds"] >= row["seconds"] for row, later in zip(rows, rows[1:]))
    assert not model.training  # handed back ready for evaluation
    frames = draw(50, torch.Generator().manual_seed(9))
    with torch.no_grad():
        learnt, fresh = (
            float(one.eval().elbo(frames).per_frame.mean()) for one in (model, setup()[0])
        )
    assert learnt > fresh + 200


def test_the_last_step_is_logged_when_it_is_no_round_one():
    rows = trained(steps=10, every=4)[1]
    assert [row["step"] for row in rows] == [4, 8, 10]


def test_the_rate_falls_with_the_sequences_seen(monkeypatch):
    rates, adam = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *a, **k: (rates.append(self.param_groups[0]["lr"]), adam(self, *a, **k))[1],
    )
    trained(steps=8, decay=0.5, decay_every=12, learning_rate=1e-3)
    assert rates == pytest.approx([1e-3 * 0.5 ** (4 * step // 12) for step in range(1, 9)])


class Slope(torch.nn.Module):
    """A model whose divergence is its one number, so that the gradient is the weight it was given."""

    def __init__(self):
        super().__init__()
        self.number, self.told = torch.nn.Parameter(torch.tensor(2.0)), []

    def begin(self, step):
        self.told.append(step)

    def forward(self, frames, noise):
        count = len(frames)
        return Bound(torch.zeros(count) * self.number, {"z": self.number.expand(count)}, 1)


@pytest.mark.parametrize(
    "share, weights", ((0.5, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]), (0.0, [1] * 8), (None, [1] * 8))
)
def test_divergences_are_weighed_up_over_their_share_of_the_run(monkeypatch, share, weights):
    gradients, adam = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *a, **k: (gradients.append(float(model.number.grad)), adam(self, *a, **k))[1],
    )
    _, draw, chosen = setup(steps=8, learning_rate=0.0)
    model = Slope()
    chosen = settings.Settings(
        **chosen.as_dict(), **({} if share is None else {"kl_warm_up": share})
    )
    rows = fit(model, draw, chosen, log_every=1)
    assert gradients == pytest.approx(weights) and model.told == list(range(1, 9))
    assert [row["elbo_per_frame"] for row in rows] == [
        -2.0
    ] * 8  # what is logged is the bound, warmed up or not


def test_one_code_may_wait_with_its_divergence(monkeypatch):
    """KL(z) of the model above weighs .02 for the first half of eight updates, then rises to 1 by three quarters."""
    gradients, adam = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *a, **k: (gradients.append(float(model.number.grad)), adam(self, *a, **k))[1],
    )
    _, draw, chosen = setup(steps=8, learning_rate=0.0)
    model = Slope()
    fit(
        model, draw, settings.Settings(**chosen.as_dict(), kl_warm_up=0.5, z_kl_warm_up=[0.5, 0.75])
    )
    assert gradients == pytest.approx([0.02] * 4 + [0.51, 1, 1, 1])


@pytest.mark.parametrize("decay, expected", ((None, 0.999), (0.9, 0.9)))
def test_second_moment_decay_is_that_of_adam(monkeypatch, decay, expected):
    seen, adam = [], torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam,
        "step",
        lambda self, *a, **k: (seen.append(self.param_groups[0]["betas"]), adam(self, *a, **k))[1],
    )
    model, draw, chosen = setup(steps=1)
    fit(
        model,
        draw,
        settings.Settings(
            **chosen.as_dict(), **({} if decay is None else {"second_moment_decay": decay})
        ),
    )
    assert seen == [(0.9, expected)]


def test_the_same_seeds_give_the_same_bits_and_others_do_not():
    first, rows = trained()
    again, rows_again = trained()
    assert equal_state(first, again) and without_seconds(rows) == without_seconds(rows_again)
    torch.manual_seed(77)  # the global generator has no say once the weights are made
    model, draw, chosen = setup()
    torch.rand(5)
    fit(model, draw, chosen, 0)
    assert equal_state(first, model.state_dict())
    assert not equal_state(first, trained(seed=1)[0])
    assert not equal_state(first, trained(weights_seed=1)[0])


def test_checkpoints_change_nothing_and_a_finished_run_is_not_run_again(tmp_path):
    plain, rows = trained(every=4)
    kept, rows_kept = trained(tmp_path, every=4)
    assert equal_state(plain, kept) and without_seconds(rows) == without_seconds(rows_kept)
    assert [path.name for path in tmp_path.iterdir()] == ["model.checkpoint"]
    resumed, rows_resumed = trained(
        tmp_path, weights_seed=5, every=4
    )  # all of it comes from the checkpoint
    assert equal_state(plain, resumed) and rows_resumed == rows_kept


# ---- killed and resumed: SIGKILL at ten random points of one run, each followed by a resumption from what lies in the folder

DRIVER = '''
import json, os, random, signal, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import test_training
from unbraid import results, training

place, chance = Path(sys.argv[2]), random.Random(int(sys.argv[3]))
STEPS, EVERY = 90, 3

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def kill_in_draw(draw, after):
    """Killed while a batch is drawn, the `after`-th of this process."""
    left = [after]
    def drawing(count, generator):
        left[0] -= 1
        return die() if left[0] < 0 else draw(count, generator)
    return drawing

def kill_in_checkpoint(where, after):
    """Killed within the writing of the `after`-th checkpoint: half of it written, all of it written, or just moved."""
    left, save, sync, move = [after], results.save_file, os.fsync, os.replace
    def saving(tensors, path, metadata):
        save(tensors, path, metadata)
        left[0] -= 1
        if left[0] < 0 and where == "half":
            os.truncate(path, os.path.getsize(path) // 2)
            die()
    def syncing(handle):
        sync(handle)
        if left[0] < 0 and where == "written":
            die()
    def moving(old, new):
        move(old, new)
        if left[0] < 0 and where == "moved":
            die()
    results.save_file, os.fsync, os.replace = saving, syncing, moving

def child(folder, kill=None):
    """A forked process that trains in `folder`, and kills itself as `kill` says. Returns its id."""
    process = os.fork()
    if process:
        return process
    model, draw, chosen = test_training.setup(steps=STEPS)
    if kill and kill[0] == "draw":
        draw = kill_in_draw(draw, kill[1])
    elif kill and kill[0] != "outside":
        kill_in_checkpoint(*kill)
    (folder / "started").touch()
    rows = training.fit(model, draw, chosen, 0, folder, "model", log_every=EVERY, checkpoint_every=EVERY)
    results.save_tensors(folder / "final.safetensors", model.state_dict())
    results.write_json(folder / "rows.json", {"rows": rows})
    os._exit(0)

def ended(process):
    status = os.waitpid(process, 0)[1]
    return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else os.waitstatus_to_exitcode(status)

def look(folder):
    """What a reader finds under final names after a kill: the step of the checkpoint, or None; anything damaged raises."""
    strays = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.name != "started")
    assert found in ([], ["model.checkpoint"]), found
    step = int(results.load_tensors(folder / "model.checkpoint")["rows.step"][-1]) if found else None
    return {"step": step, "strays": strays}

(place / "whole").mkdir(), (place / "killed").mkdir()
whole = ended(child(place / "whole"))
kinds = ["half", "written", "moved", "half", "draw", "draw", "draw", "outside", "outside", "outside"]
chance.shuffle(kinds)
report = []
for kind in kinds:
    kill = (kind, {"draw": chance.randint(0, 7)}.get(kind, chance.randint(0, 1)))
    (place / "killed" / "started").unlink(missing_ok=True)
    process = child(place / "killed", kill)
    if kind == "outside":
        while not (place / "killed" / "started").exists():
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.1))
        os.kill(process, signal.SIGKILL)
    report.append({"kill": kill, "end": ended(process), **look(place / "killed")})
print(json.dumps({"whole": whole, "points": report, "last": ended(child(place / "killed"))}))
'''


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """(folder, report) of a run that was killed ten times, beside one that was left alone."""
    folder, seed = tmp_path_factory.mktemp("killed"), int.from_bytes(os.urandom(3))
    tests = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, tests, str(folder), str(seed)],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stdout[-3000:]}{done.stderr[-6000:]}"
    return folder, json.loads(done.stdout.strip().splitlines()[-1]) | {"seed": seed}


def test_ten_kills_hit_and_leave_only_whole_files(killed):
    report = killed[1]
    assert report["whole"] == report["last"] == 0, report
    assert [point["end"] for point in report["points"]] == ["killed"] * 10, report
    steps = [point["step"] or 0 for point in report["points"]]
    assert steps == sorted(steps) and 0 < steps[-1] < 90, (
        report
    )  # each resumption went on from where the last one was


def test_a_killed_run_ends_in_the_same_bits(killed):
    folder, report = killed
    whole, resumed = (
        load_file(folder / name / "final.safetensors") for name in ("whole", "killed")
    )
    assert equal_state(whole, resumed), report
    rows, rows_resumed = (
        json.loads((folder / name / "rows.json").read_text())["rows"]
        for name in ("whole", "killed")
    )
    assert without_seconds(rows) == without_seconds(rows_resumed), report
    checkpoints = [load_file(folder / name / "model.checkpoint") for name in ("whole", "killed")]
    for checkpoint in checkpoints:
        del checkpoint["rows.seconds"]
    assert equal_state(*checkpoints), (
        report
    )  # Adam's moments and the states of both generators, too


def test_what_killed_runs_left_behind_is_swept_up(killed):
    folder, report = killed
    assert any(point["strays"] for point in report["points"]), report
    assert sorted(path.name for path in (folder / "killed").iterdir()) == [
        "final.safetensors",
        "model.checkpoint",
        "rows.json",
        "started",
    ]


# ---- what does not belong


@pytest.fixture
def checkpoint(tmp_path):
    trained(tmp_path)
    return tmp_path / "model.checkpoint"


@pytest.mark.parametrize(
    "overrides", ({"steps": 16}, {"learning_rate": 1e-4}, {"factor_size": 3, "judged_size": 3})
)
def test_a_checkpoint_of_other_settings_is_refused(checkpoint, overrides):
    before = checkpoint.read_bytes()
    with pytest.raises(
        TrainingError,
        match=r"model\.checkpoint: expected a checkpoint of these settings.*, found .*; delete it to start anew",
    ):
        trained(checkpoint.parent, **overrides)
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_of_another_seed_is_refused(checkpoint):
    with pytest.raises(TrainingError, match=r"model\.checkpoint: expected .*seed"):
        trained(checkpoint.parent, seed=1)


@pytest.mark.parametrize("share", (0.0, 0.001, 0.5, 0.999))
def test_a_truncated_checkpoint_is_refused(checkpoint, share):
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(share * len(content))])
    with pytest.raises(
        ResultsError, match=r"model\.checkpoint: expected a safetensors file, found .*train again"
    ):
        trained(checkpoint.parent)


@pytest.mark.parametrize("share", (0.3, 0.6, 0.999))
def test_an_altered_checkpoint_is_refused(checkpoint, share):
    content = bytearray(checkpoint.read_bytes())
    content[int(share * len(content))] ^= 64
    checkpoint.write_bytes(content)
    with pytest.raises(ResultsError, match=r"model\.checkpoint: expected "):
        trained(checkpoint.parent)


def test_a_file_that_is_no_checkpoint_is_refused(checkpoint):
    save_file({"weight": torch.zeros(3)}, checkpoint)
    with pytest.raises((TrainingError, ResultsError), match=r"model\.checkpoint: expected "):
        trained(checkpoint.parent)


def test_a_write_that_fails_leaves_the_last_checkpoint(checkpoint, monkeypatch):
    before = checkpoint.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        training.save_checkpoint(checkpoint, *checkpoint_arguments())
    assert checkpoint.read_bytes() == before and [
        path.name for path in checkpoint.parent.iterdir()
    ] == ["model.checkpoint"]
    load_tensors(checkpoint)


def checkpoint_arguments():
    """What save_checkpoint is given besides the path, for a run of one step."""
    model, draw, chosen = setup(steps=1)
    kept = []
    original = training.save_checkpoint
    try:
        training.save_checkpoint = lambda path, *rest: kept.append(rest)
        fit(model, draw, chosen, 0, Path("nowhere"), "model")
    finally:
        training.save_checkpoint = original
    return kept[0]


@pytest.mark.parametrize("what", ("rate", "frames"))
def test_a_run_that_diverges_stops_with_its_reason(tmp_path, what):
    model, draw, chosen = setup(**({"learning_rate": 1e30} if what == "rate" else {}))
    if what == "frames":
        with torch.no_grad():
            model.posterior.mean.bias[0] = math.inf
    with pytest.raises(
        TrainingError,
        match=r"slow: the bound stopped being finite by step 4; lower learning_rate or look at the data",
    ):
        fit(model, draw, chosen, 0, tmp_path, "slow", log_every=4, checkpoint_every=4)
    assert list(tmp_path.iterdir()) == []  # nothing that is not finite is kept


def test_frames_that_are_none_stop_the_run():
    model, _, chosen = setup()
    with pytest.raises(ValueError, match="frames: expected finite numbers, found NaN"):
        fit(model, lambda count, generator: torch.full((count, 4, 3, 32, 32), math.nan), chosen)


def test_the_record_names_all_that_made_the_run():
    rows = trained(steps=4)[1]
    record = training.run_record(
        "python -m unbraid train",
        setup()[2],
        3,
        rows,
        "32-true",
        "two white squares",
        {"file": "abc"},
        "def",
    )
    assert {
        "command",
        "profile",
        "seed",
        "settings",
        "device",
        "precision",
        "versions",
        "data",
        "data_sha256",
        "steps",
        "seconds",
        "weights_sha256",
    } <= set(record)
    assert (record["seed"], record["steps"], record["data"], record["profile"]) == (
        3,
        4,
        "two white squares",
        "smoke",
    )
    assert record["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert not any(str(Path.home()) in str(value) for value in record.values())
    json.dumps(record, allow_nan=False)
