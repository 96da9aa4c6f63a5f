"""fit() learns, repeats bit for bit, survives being killed, refuses checkpoints of other runs."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from unbraid import store, training
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.models.base import Bound
from unbraid.models.independent import IndependentPrediction
from unbraid.schedules import Schedule, Staircase, describe_schedule, schedule_value
from unbraid.store import ResultsError
from unbraid.training import TrainingError, fit

from papers import runs, settings

SQUARES = Digits(
    torch.full((2, 28, 28), 255, dtype=torch.uint8),
    torch.tensor([0, 1]),
    "train",
    "two white squares",
)


def tiny_settings(**overrides):
    sizes = {"width": 4, "batch_size": 4, "steps": 12} | overrides
    return settings.load("independent.bounce.factored", "smoke", **sizes)


def tiny_model(options, seed=0):
    torch.manual_seed(seed)
    return IndependentPrediction(runs.make_config(options))


def train(
    checkpoint=None, weights_seed=0, seed=0, *, kind=MovingDigits, every=4, report=None, **overrides
):
    """A tiny model trained on two white squares: its weights and its curve."""
    how = {"precision": overrides.pop("precision", "32-true"), "every": every, "report": report}
    options = tiny_settings(**overrides)
    model = tiny_model(options, weights_seed)
    digits = kind(SQUARES, options.image_size, options.length)
    rows = runs.train_model(model, digits, options, seed, checkpoint, **how)
    return {name: value.clone() for name, value in model.state_dict().items()}, rows


def equal_state(first, second):
    return store.contents(first) == store.contents(second)


def without_seconds(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def test_training_raises_the_bound_and_reports_it():
    reported = []
    _, rows = train(steps=150, batch_size=8, every=10, report=reported.append)
    assert reported == rows
    assert [row["step"] for row in rows] == list(range(10, 151, 10))
    assert [row["sequences"] for row in rows] == list(range(80, 1201, 80))
    assert rows[-1]["elbo_per_frame"] > rows[0]["elbo_per_frame"] + 200
    for row in rows:
        difference = row["log_likelihood_per_frame"] - row["kl_per_frame"]
        assert row["elbo_per_frame"] == pytest.approx(difference, rel=1e-4)


@pytest.mark.parametrize("precision", training.PRECISIONS)
def test_every_precision_trains(precision):
    assert train(precision=precision)[1][-1]["step"] == tiny_settings().steps


def test_a_checkpoint_belongs_to_its_precision_and_its_data_but_to_no_evaluation(tmp_path):
    path = tmp_path / "run.checkpoint"
    train(path)
    assert train(path, evaluation_pairs=7, seeds=9)[1]

    class Others(MovingDigits):
        digests = {"mnist": "0"}

    with pytest.raises(TrainingError, match="data None .*precision 32-true"):
        train(path, kind=Others, precision="bf16-mixed")


@pytest.mark.parametrize(
    "schedule, rates",
    (
        ({"decay": 0.5, "decay_every": 12}, [1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
        ({"learning_rate": [[0.5, 1.0], [1.0, 0.0]]}, [1, 1, 1, 1, 1, 0.75, 0.5, 0.25]),
    ),
    ids=("by a factor after so many sequences", "by knots, at last to zero"),
)
def test_the_rate_falls(schedule, rates):
    options = tiny_settings(steps=8, **{"decay": 1.0, "learning_rate": 1.0} | schedule)
    rate = runs.rate_schedule(options)
    found = [schedule_value(rate, update / 8) for update in range(8)]
    assert found == pytest.approx(rates)


def test_a_schedule_changes_by_equal_amounts_or_by_equal_factors():
    knots = [[0.0, 8.0], [0.5, 8.0], [1.0, 2.0]]
    assert schedule_value(knots, 0.2) == 8
    assert schedule_value(knots, 0.75) == pytest.approx(5)
    assert schedule_value(Schedule(knots, "logarithmic"), 0.75) == pytest.approx(4)
    assert schedule_value(lambda share: 4 * share, 0.75) == schedule_value(3, 0.75) == 3


@pytest.mark.parametrize("cycles", (2, 20, 25))
def test_a_cycle_begins_with_the_first_value_and_ends_with_the_last(cycles):
    schedule = Schedule([[0.0, 3.0], [1.0, 1.0]], cycles=cycles)
    assert schedule(0.0) == 3.0
    ends = [schedule(number / cycles) for number in range(1, cycles + 1)]
    assert ends == pytest.approx([1.0] * cycles)


def test_a_schedule_within_another_is_described_whole():
    inner = Staircase(Schedule([[0, 1], [1, 2]]), 0.5, 10, 2, 100)
    described = describe_schedule(inner)
    assert described["schedule"]["kind"] == "Schedule" and described["factor"] == 0.5
    values = describe_schedule(Staircase(lambda share: 2 * share, 0.5, 10, 2, 100))["schedule"]
    assert json.loads(json.dumps(values)) == pytest.approx([share / 50 for share in range(101)])


def test_schedules_of_weights_are_gone_through_once_a_cycle():
    cycled = {"weight_cycles": 2, "z_kl_weight": [[0.0, 0.0], [1.0, 1.0]]}
    options = settings.Settings(**tiny_settings(steps=8).as_dict() | cycled)
    found = [runs.term_weights(options, step)["z_kl"] for step in range(1, 9)]
    assert found == pytest.approx(2 * [0.25, 0.5, 0.75, 1])


def test_weights_and_rate_reach_the_optimiser(monkeypatch):
    """A model whose divergence is its one number: the gradient is the weight of the divergence."""

    class Slope(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.number = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, batch, noise):
            count = len(batch.frames)
            return Bound(
                torch.zeros(count) * self.number, {"z": (1.0 * self.number).expand(count)}, 1
            )

    model = Slope()
    updates, adam = [], torch.optim.Adam.step

    def step(optimizer, *arguments, **more):
        group = optimizer.param_groups[0]
        updates.append((float(model.number.grad), group["lr"], group["betas"]))
        return adam(optimizer, *arguments, **more)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    rows = fit(
        model,
        lambda count, _: torch.zeros(count, 2, 1, 1, 1),
        steps=4,
        batch_size=4,
        learning_rate=[[0.0, 0.0], [0.5, 0.0], [1.0, 1.0]],
        weights={"z_kl": lambda share: min(1.0, 2 * share)},
        betas=(0.9, 0.9),
        every=1,
    )
    gradients, rates, betas = zip(*updates, strict=True)
    assert gradients == pytest.approx([0.5, 1, 1, 1]) and set(betas) == {(0.9, 0.9)}
    assert rates == (0, 0, 0, 0.5)  # of the share before the update; weights of that after it
    assert [row["elbo_per_frame"] for row in rows] == [-2.0] * 4  # the bound has no weights


@pytest.mark.parametrize("longest, kept", ((0.01, True), (None, False)))
def test_longer_gradients_are_shortened(tmp_path, longest, kept):
    """After one update Adam's first moment is a tenth of the gradient."""
    options = tiny_settings(steps=1)
    if longest:
        options = settings.Settings(**options.as_dict() | {"gradient_norm": longest})
    digits = MovingDigits(SQUARES, options.image_size, options.length)
    runs.train_model(tiny_model(options), digits, options, checkpoint=tmp_path / "one")
    moments = store.load_tensors(tmp_path / "one")
    gradients = [10 * value for name, value in moments.items() if name.endswith("exp_avg")]
    norm = torch.stack([gradient.norm() for gradient in gradients]).norm().item()
    assert (norm == pytest.approx(0.01, rel=1e-3)) is kept


def test_a_weight_of_an_unknown_term_is_refused():
    bound = Bound(torch.zeros(2), {"z": torch.ones(2)}, 1, {"anchor": torch.ones(2)})
    assert float(bound.loss({"anchor": 3.0, "z_kl": 0.5, "log_likelihood": 2.0})) == 0.5 - 3.0
    assert float(bound.loss()) == 1.0  # the bound's own terms, and no further one
    with pytest.raises(ValueError, match="weights"):
        bound.loss({"static_kl": 1.0})


def test_the_same_seeds_give_the_same_bits_and_others_do_not():
    first, rows = train()
    torch.manual_seed(77)  # the global generator has no say once the weights are made
    again, rows_again = train()
    assert equal_state(first, again)
    assert without_seconds(rows) == without_seconds(rows_again)
    assert not equal_state(first, train(seed=1)[0])
    assert not equal_state(first, train(weights_seed=1)[0])


def test_checkpoints_change_nothing_and_a_finished_run_is_not_run_again(tmp_path):
    plain, rows = train(every=5)
    kept, rows_kept = train(tmp_path / "a.checkpoint", every=5)
    assert [row["step"] for row in rows] == [5, 10, 12]  # the last one is no round number
    assert equal_state(plain, kept)
    assert without_seconds(rows) == without_seconds(rows_kept)
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]
    resumed, rows_resumed = train(tmp_path / "a.checkpoint", weights_seed=5, every=5)
    assert equal_state(plain, resumed)
    assert rows_resumed == rows_kept


KILLED_RUNS = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_training
from unbraid import store

checkpoint = Path(sys.argv[2])

def run_until_killed(where, after):
    count = 0

    def die_after(function, place):
        def wrapped(*arguments, **more):
            nonlocal count
            value = function(*arguments, **more)
            count += where == place
            if where == place and count > after:
                if where == "half":
                    os.truncate(arguments[0], os.path.getsize(arguments[0]) // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return value
        return wrapped

    draw = test_training.MovingDigits.__call__
    test_training.MovingDigits.__call__ = die_after(draw, "draw")
    os.chmod = die_after(os.chmod, "half")
    os.fsync = die_after(os.fsync, "written")
    os.replace = die_after(os.replace, "moved")
    test_training.train(checkpoint, steps=30, every=3)

for where, after in zip(sys.argv[3::2], map(int, sys.argv[4::2])):
    child = os.fork()
    if not child:
        run_until_killed(where, after)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, where
    rows = store.load_tensors(checkpoint)["rows"]  # the file is whole, or this raises
    print(int(rows[-1, 0]))
"""


def test_a_run_killed_in_many_places_ends_in_the_same_bits(tmp_path):
    """Each killed run is a process of its own, a copy of one that has imported everything."""
    whole, rows = train(steps=30, every=3)
    kills = [("half", 1), ("draw", 4), ("written", 1), ("moved", 0), ("draw", 7)]
    arguments = [Path(__file__).parent, tmp_path / "a.checkpoint", *itertools.chain(*kills)]
    command = [sys.executable, "-c", KILLED_RUNS, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    steps = [int(step) for step in done.stdout.split()]
    assert len(steps) == len(kills)
    assert steps == sorted(steps)
    assert 0 < steps[0] < steps[-1] < 30
    resumed, rows_resumed = train(tmp_path / "a.checkpoint", steps=30, every=3)
    assert equal_state(whole, resumed)
    assert without_seconds(rows) == without_seconds(rows_resumed)
    assert [path.name for path in tmp_path.iterdir()] == ["a.checkpoint"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "a.checkpoint"
    train(path)
    return path


@pytest.fixture
def checkpoint(trained, tmp_path):
    return Path(shutil.copy(trained, tmp_path))


@pytest.mark.parametrize("changes", ({"steps": 16}, {"learning_rate": 1e-4}, {"seed": 1}))
def test_a_checkpoint_of_another_run_is_refused(checkpoint, changes):
    before = checkpoint.read_bytes()
    ((name, value),) = changes.items()
    found = rf"a\.checkpoint: .* found one with {name} [^,]* \(of this run: {value}\); delete it"
    with pytest.raises(TrainingError, match=found):
        train(checkpoint, **changes)
    assert checkpoint.read_bytes() == before


def fit_plainly(checkpoint, weight=1.0, **sizes):
    """Two updates of a model that no table knows."""

    def draw(count, generator):
        return torch.rand(count, 2, 3, 8, 8, generator=generator)

    torch.manual_seed(0)
    model = IndependentPrediction(image_size=8, width=2, features=3, hidden=4, **sizes)
    weights = {"kl": weight}
    return fit(model, draw, steps=2, batch_size=2, weights=weights, checkpoint=checkpoint)


@pytest.mark.parametrize(
    "changes, found",
    (
        ({"factor_size": 3}, r"model\.factor_size 20 \(of this run: 3\)"),
        ({"weight": 2.0}, r"weights\.kl \[0\.0, 0\.01, .*of this run: 2\.0"),
        ({"weight": lambda share: share**2}, r"weights\.kl \[0\.0, 0\.01, "),
    ),
)
def test_a_checkpoint_belongs_to_its_config_and_its_weights(tmp_path, changes, found):
    first = {"weight": lambda share: share}
    rows = fit_plainly(tmp_path / "a", **first)
    assert fit_plainly(tmp_path / "a", weight=lambda share: 1 * share) == rows
    with pytest.raises(TrainingError, match=found):
        fit_plainly(tmp_path / "a", **first | changes)


def test_progress_is_told_before_each_update_and_arguments_are_checked():
    draw, shares = MovingDigits(SQUARES, 32, 2), []
    sizes = {"steps": 4, "batch_size": 1}
    fit(tiny_model(tiny_settings()), draw, **sizes, on_progress=shares.append)
    assert shares == [0, 0.25, 0.5, 0.75]
    for name, value in {"steps": 0, "batch_size": 1.5, "precision": "16-mixed"}.items():
        with pytest.raises(ValueError, match=f"^{name}"):
            fit(tiny_model(tiny_settings()), draw, **sizes | {name: value})


def test_apple_silicon_is_used_only_when_it_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    training.tell_of_apple.cache_clear()
    assert training.choose_accelerator("auto") == training.choose_accelerator("auto") == "cpu"
    assert capsys.readouterr().out.count('accelerator="mps"') == 1  # said once
    assert training.choose_accelerator("mps") == "mps"
    assert training.choose_accelerator("cpu") == "cpu" and not capsys.readouterr().out
    training.tell_of_apple.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training.choose_accelerator("auto") == "auto" and not capsys.readouterr().out
    with pytest.raises(ValueError, match="^accelerator: .*did you mean mps"):
        training.choose_accelerator("mp")


@pytest.mark.parametrize("share", (0.0, 0.5, 0.999))
@pytest.mark.parametrize("damage", ("truncated", "altered"))
def test_a_damaged_checkpoint_is_refused(checkpoint, damage, share):
    content = bytearray(checkpoint.read_bytes())
    place = int(share * len(content))
    if damage == "truncated":
        del content[place:]
    else:
        content[place] ^= 64
    checkpoint.write_bytes(content)
    with pytest.raises((TrainingError, ResultsError), match=r"a\.checkpoint"):
        train(checkpoint)


def test_a_checkpoint_of_older_code_is_refused_with_its_name(checkpoint):
    """Such as one that was left when a layer or a generator got another name."""
    with safe_open(checkpoint, "pt") as file:
        metadata = file.metadata()
    for prefix in ("model.", "noise.", "rows"):
        tensors = store.load_tensors(checkpoint)
        older = {name: value for name, value in tensors.items() if not name.startswith(prefix)}
        path = checkpoint.with_name(f"{prefix}checkpoint")
        store.save_tensors(path, older, metadata | {"contents": store.contents(older)})
        with pytest.raises(TrainingError, match=f"{path}: .*older code.*delete it"):
            train(path)
    with pytest.raises(TrainingError, match="older code"):
        runs.last_update(path)


def test_a_run_that_diverges_stops_and_keeps_nothing(tmp_path):
    with pytest.raises(TrainingError, match="bound"):
        train(tmp_path / "a.checkpoint", learning_rate=1e30)
    assert list(tmp_path.iterdir()) == []
