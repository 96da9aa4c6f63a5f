"""Two processes train as one does: same data, noise, curve and weights, also after one is killed.

tests/processes.py is what they run. Each start of it takes some seconds, so there are two.
UPDATES=50 in the environment trains longer.
"""

import os
from functools import cache

import processes
import pytest
import torch
from helpers import close
from safetensors import safe_open
from unbraid import parallel, store
from unbraid.models.base import Bound
from unbraid.parallel import NoiseOfParts, Part, count_processes, divide
from unbraid.training import TrainingError, fit

from papers import runs, settings

TRAINED = ("A", "B", "C", "A normalised", "B normalised", "C normalised", "series")


train_alone = cache(processes.train)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes got, by case, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    cases = [*TRAINED, "A once, apart"]
    done = processes.run(folder, *cases, PROCESSES="2", RESULTS=str(folder / "results"))
    assert done.returncode == 0, done.stderr[-3000:]
    results = {"printed": done.stdout, "folder": folder / "results"}
    for case in cases:
        results[case] = [store.load_tensors(folder / f"{case}-{rank}") for rank in (0, 1)]
    return results


@pytest.mark.parametrize("case", TRAINED)
def test_two_processes_end_where_one_does(two, case):
    """Weights, running statistics and gradient of doubles; the curve is printed in single."""
    one = train_alone(case)
    first, second = two[case]
    assert store.contents(first) == store.contents(second)
    assert len(one["curve"]) == processes.UPDATES / 5
    torch.testing.assert_close(first["curve"], one["curve"], rtol=0, atol=1e-4)
    for name in one.keys() - {"curve"}:
        torch.testing.assert_close(first[name], one[name], rtol=1e-7, atol=1e-7)


def test_processes_leave_their_group_while_python_still_runs(two):
    """Threads of gloo that outlive it now and then abort the process."""
    assert "in a group: False" in two["printed"]
    assert "in a group: True" not in two["printed"]


def test_statistics_of_each_process_alone_give_another_gradient(two):
    """Also with uneven shares the gradient without them is that of one process in two parts."""
    whole = processes.train("A once")["gradient"]
    apart = [each["gradient"] for each in two["A once, apart"]]
    close(apart[0], apart[1])
    close(apart[0], processes.train("A once", accumulate=2)["gradient"])
    assert (apart[0] - whole).norm() > 0.05 * whole.norm()


def test_a_command_in_two_processes_prints_and_writes_once(two, tmp_path):
    assert two["printed"].count("begins: 6 updates") == two["printed"].count("written: ") == 1
    (record,) = two["folder"].rglob("*.run.json")
    assert store.read_json(record)["processes"] == 2
    assert len(list(record.parent.iterdir())) == 3  # neither lock nor checkpoint is left
    chosen = settings.load("single_element.weather", "smoke")
    runs.train_run(chosen, 0, runs.make_sampler(chosen), tmp_path)
    (alone,) = tmp_path.rglob("*.safetensors")
    (together,) = two["folder"].rglob("*.safetensors")
    weights = (store.load_tensors(path) for path in (together, alone))
    torch.testing.assert_close(*weights, rtol=1e-2, atol=1e-3)  # in half precision


def test_a_killed_process_ends_the_other_and_then_one_and_two_processes_go_on(tmp_path):
    """Rows of five updates: two processes reach 5, one reaches 10, and two finish."""
    done = processes.run(tmp_path, "two-one-two", PROCESSES="1")
    assert done.returncode == 0, done.stderr[-3000:]
    said, killed, alone, finished = done.stdout.splitlines()
    assert "process 0: processes: " in said and "goes on from the last checkpoint" in said
    assert (killed, alone, finished) == ("[1, -9] 1", "2", "[0, 0]")
    one = processes.train(processes.KILLED, checkpoint=tmp_path / "one")
    first, second = (store.load_tensors(tmp_path / f"killed-{rank}") for rank in (0, 1))
    assert store.contents(first) == store.contents(second)
    torch.testing.assert_close(first, one, rtol=1e-7, atol=1e-4)
    paths = tmp_path / f"{processes.KILLED}.checkpoint", tmp_path / "one"
    for name in ("noise.data", "noise.codes"):
        assert torch.equal(*(store.load_tensors(path)[name] for path in paths))


# ---- without other processes


@pytest.mark.parametrize("case", ("A", "B", "series"))
def test_parts_of_a_batch_give_its_gradient(case):
    """Of 7 sequences in 3 parts; batch normalisation has the statistics of each part."""
    whole, parts = train_alone(case), processes.train(case, accumulate=3)
    torch.testing.assert_close(whole["curve"], parts["curve"], rtol=0, atol=1e-4)
    for name in whole.keys() - {"curve"}:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-7, atol=1e-7)


def test_a_batch_is_divided_completely_and_without_repetition():
    shares = divide(7, 2, 2)
    parts = [part for share in shares for part in share]
    rows = [row for part in parts for row in range(part.start, part.stop)]
    assert rows == list(range(7)) and [len(share) for share in shares] == [2, 2]
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert {part.stop - part.start for part in parts} == {1, 2}
    with pytest.raises(TrainingError, match="^batch_size: expected at least 6.*found 5"):
        divide(5, 3, 2)


def test_the_noise_of_parts_is_that_of_the_whole():
    """Of a model that reads the batch three times over, too; the generator moves once."""
    model, _, _ = processes.make("series")
    generator, same = (torch.Generator().manual_seed(4) for _ in range(2))
    parts = divide(7, 1, 2)[0]
    noise = NoiseOfParts(model, generator, parts)
    drawn = []
    for part in parts:
        noise.of(part)
        drawn.append(noise.draw(3 * (part.stop - part.start), 5))
    whole = model.draw_noise(21, 5, same)
    assert torch.equal(generator.get_state(), same.get_state())
    for name, values in whole.items():
        first, second = (each[name].unflatten(0, (3, -1)) for each in drawn)
        assert torch.equal(torch.cat([first, second], 1).flatten(0, 1), values)
    with pytest.raises(TrainingError, match="^draw_noise: expected a call for 4 .*found 5"):
        noise.draw(5, 5)


@pytest.mark.parametrize("name", ("contrastive_vae", "pca"))
def test_an_objective_that_compares_sequences_is_not_divided(name):
    chosen = settings.load(f"benchmark.circle.{name}", "smoke")
    model = runs.build(chosen, seed=0)
    assert NoiseOfParts(model, torch.Generator(), divide(4, 1, 1)[0]).is_whole
    with pytest.raises(TrainingError, match="expected whole batches"):
        NoiseOfParts(model, torch.Generator(), divide(4, 1, 2)[0])


def test_noise_of_another_device_is_refused_with_a_remedy(tmp_path):
    train, path = processes.train, tmp_path / "run.checkpoint"
    train("A once", checkpoint=path)
    tensors, metadata = store.load_tensors(path), {}
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors["noise.codes"] = torch.zeros(16, dtype=torch.uint8)  # as of a GPU
    metadata["contents"] = store.contents(tensors)
    store.save_tensors(path, tensors, metadata)
    with pytest.raises(TrainingError, match="of another device.*--accelerator"):
        train("A once", checkpoint=path)


class Slope(torch.nn.Module):
    """A model of one number, which draws its noise itself."""

    def __init__(self):
        super().__init__()
        self.number = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, batch, noise):
        draws = torch.randn(len(batch.frames), generator=noise)
        return Bound(draws * self.number, {"z": draws * self.number}, 1)


class Undivided(Slope):
    def draw_noise(self, count, length, generator=None):
        return {}


@pytest.mark.parametrize("kind", (Slope, Undivided))
def test_noise_that_cannot_be_divided_is_refused(kind):
    def draw(count, generator):
        return torch.zeros(count, 2, 1, 1, 1)

    assert fit(kind(), draw, steps=2, batch_size=4)
    with pytest.raises(TrainingError, match="^draw_noise: expected .*draws? .*without accumulate"):
        fit(kind(), draw, steps=1, batch_size=4, accumulate=2)


def test_a_model_is_as_it_was_after_training():
    model, draw, arguments = processes.make("A normalised")
    layers = parallel.find_normalising(model)
    with pytest.raises(KeyboardInterrupt):
        fit(model, processes.stop_at(1)(draw), **arguments | {"accumulate": 2})
    with parallel.divided(model, torch.Generator(), [Part(0, 3, 7)], True, 2):
        assert "draw_noise" in vars(model) and all("forward" in vars(layer) for layer in layers)
    assert "draw_noise" not in vars(model) and layers
    assert not any("forward" in vars(layer) for layer in layers)


@pytest.mark.parametrize("case, is_refused", (("A", False), ("A normalised", True)))
def test_a_checkpoint_belongs_to_its_statistics(case, is_refused, tmp_path):
    short = {"steps": 2, "every": 1, "checkpoint": tmp_path / "a"}
    with pytest.raises(KeyboardInterrupt):
        processes.train(case, processes.stop_at(1), **short)
    if is_refused:
        with pytest.raises(TrainingError, match="batch_normalisation_parts None .*this run: 3"):
            processes.train(case, **short, accumulate=3)
    else:
        assert len(processes.train(case, **short, accumulate=3)["curve"]) == 2


TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}


@pytest.mark.parametrize(
    "environment, asked, found",
    (
        ({}, (1, 1), (1, 1)),
        ({}, (2, 3), (2, 3)),
        (TORCHRUN, (1, 1), (3, 2)),
        (TORCHRUN, (3, 2), (3, 2)),
        (TORCHRUN, (2, 1), "torchrun: expected .*2 x 1.*found 6"),
        (SLURM, (1, 1), (2, 2)),
        (SLURM, (4, 1), (4, 1)),
        (SLURM, (4, 2), "SLURM: expected .*4 x 2.*found 4"),
        ({"WORLD_SIZE": "1"}, (1, 1), (1, 1)),
        ({"WORLD_SIZE": "2"}, (2, 1), (2, 1)),
        ({"WORLD_SIZE": "2"}, (1, 1), "WORLD_SIZE: expected .*1 x 1.*found 2"),
    ),
)
def test_processes_are_those_that_were_asked_for_or_started(monkeypatch, environment, asked, found):
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if isinstance(found, tuple):
        assert count_processes(*asked) == found
    else:
        with pytest.raises(TrainingError, match=f"^{found}"):
            count_processes(*asked)
