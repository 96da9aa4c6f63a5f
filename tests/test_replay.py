"""Replayed updates: what is refused, and which tensors a recorded update reads, on a pretended GPU.

What they compute is compared with plain updates on a real one, which these tests do not need.
"""

from contextlib import contextmanager, nullcontext

import pytest
import torch
from test_training import SQUARES, tiny_model, tiny_settings
from unbraid import replay, training
from unbraid.data.moving_digits import MovingDigits
from unbraid.models.base import Batch
from unbraid.schedules import Schedule
from unbraid.training import TrainingError, fit

from papers.runs import Machine


class PretendedGraph:
    """Counts what a CUDA graph is asked for."""

    def __init__(self):
        self.generators, self.replays, self.recording = [], 0, False

    def register_generator_state(self, generator):
        self.generators.append(generator)

    def replay(self):
        self.replays += 1


class PretendedStream:
    def wait_stream(self, other):
        pass


@pytest.fixture
def pretended(monkeypatch):
    """A CUDA whose graphs do not compute anything."""

    @contextmanager
    def graph(graph, stream):
        graph.recording = True
        yield
        graph.recording = False

    monkeypatch.setattr(torch.cuda, "CUDAGraph", PretendedGraph)
    monkeypatch.setattr(torch.cuda, "Stream", PretendedStream)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", PretendedStream)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)


def test_a_recorded_update_reads_each_new_batch_weight_and_rate(pretended):
    calls = []

    def update(batch, weights):
        calls.append((batch.frames, weights))
        return torch.tensor([1.0, 2.0, 3.0])

    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([parameter], lr=0.5)
    optimizer.state[parameter]["step"] = torch.tensor(7.0)
    generator = torch.Generator()
    replayed = replay.Replay(update, optimizer, generator, ["kl"])
    for number in range(6):
        training.set_rate(optimizer, 0.1 * number)
        batch = Batch(torch.full((2, 3), float(number)))
        terms = replayed(batch, {"kl": 10.0 * number, "log_likelihood": 5.0})
    # Three updates one kernel at a time, one that is recorded, and no other in Python.
    assert len(calls) == 4 and replayed.graph.replays == 3
    assert [float(frames[0, 0]) for frames, _ in calls[:3]] == [0.0, 1.0, 2.0]
    frames, weights = calls[3]
    assert torch.equal(frames, torch.full((2, 3), 5.0))
    assert isinstance(weights["kl"], torch.Tensor) and float(weights["kl"]) == 50.0
    assert weights["log_likelihood"] == 5.0
    group = optimizer.param_groups[0]
    assert group["capturable"] and float(group["lr"]) == pytest.approx(0.5)
    assert replayed.graph.generators == [generator]
    assert terms.tolist() == [1.0, 2.0, 3.0] and terms is not replayed.terms


def test_batches_with_masks_are_refused(pretended):
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(2))])
    replayed = replay.Replay(lambda batch, weights: None, optimizer, torch.Generator(), [])
    hidden = torch.ones(2, 3, dtype=torch.bool)
    hidden[0, 0] = False
    with pytest.raises(ValueError, match="^replay: expected batches without masks"):
        replayed(Batch(torch.zeros(2, 3, 1), hidden), {})


def test_weights_that_change_are_told_from_those_that_do_not():
    weights = {"kl": Schedule([[0, 0], [1, 1]]), "anchor": 2.0, "still": [[0, 1], [1, 0]], "b": 1}
    assert training.list_changing(weights) == ["kl", "still"]


@pytest.mark.parametrize(
    ("device", "processes", "on_progress", "found"),
    [
        ("cpu", 1, None, "found cpu"),
        ("cuda", 2, None, "found 2 processes"),
        ("cuda", 1, print, "on_progress"),
    ],
)
def test_what_cannot_be_recorded_is_refused(device, processes, on_progress, found):
    class Fabric:
        world_size = processes

    Fabric.device = torch.device(device)
    with pytest.raises(TrainingError, match=f"^replay: expected .*{found}.*leave replay out"):
        training.check_replay(Fabric(), on_progress)


def test_fit_refuses_to_replay_on_a_cpu():
    digits = MovingDigits(SQUARES, 32, 2)
    with pytest.raises(TrainingError, match="^replay: "):
        fit(tiny_model(tiny_settings()), digits, steps=1, batch_size=1, replay=True)


def test_the_command_in_a_record_names_what_is_not_the_default():
    machine = Machine("cuda", synchronise=False, accumulate=2, replay=True)
    assert machine.options == " --accelerator cuda --no-synchronise --accumulate 2 --replay"
    assert Machine().options == ""
