"""A replayed update computes what a plain one does; without a GPU, by a recording of operations."""

from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from helpers import MODELS, hide
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from unbraid import training
from unbraid.models.base import Batch
from unbraid.training import Replay, fit

from papers.run import build, weight_schedules
from papers.settings import load

PUBLISHED = ("independent.bounce.published", "unordered.sprites_poses.published")
PUBLISHED += ("independent.bounce.published_entangled", "single_element.sprites.published")
NAMES = ("independent", "unordered", "painted", "element", "released element")


def list_tensors(*values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


class Tape(TorchDispatchMode):
    """As a CUDA graph: the operations of an update with their tensors, which a replay repeats."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def register_generator_state(self, generator):
        self.generator = generator

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        made = operation(*given, **named or {})
        call = tree_map_only(torch.Tensor, lambda tensor: tensor.data, (given, named or {}, made))
        self.operations.append((operation, *call))
        return made

    def replay(self):
        for operation, given, named, made in self.operations:
            again = operation(*given, **named)
            for old, new in zip(list_tensors(made), list_tensors(again), strict=True):
                if old.untyped_storage().data_ptr() != new.untyped_storage().data_ptr():
                    old.copy_(new)


def start(name, is_recorded):
    """A run of a small model whose Adam reads its rate from a tensor, and its update."""
    kind, sizes = MODELS[name]
    torch.manual_seed(3)
    settings = {"betas": (0.9, 0.99), "precision": "32-true", "gradient_norm": 5.0, "seed": 1}
    run = training.Run(kind(**sizes).train(), settings)
    run.optimizer = torch.optim.Adam(run.model.parameters(), torch.tensor(1e-3), fused=True)
    return run, Replay(run.update, run.generators["codes"]) if is_recorded else run.update


def read_state(run):
    moments = run.optimizer.state_dict()["state"].values()
    states = [run.model.state_dict().values(), *(each.values() for each in moments)]
    return [tensor for values in states for tensor in values]


@pytest.fixture
def pretended(monkeypatch):
    """CUDA graphs on a CPU. While one is recorded nothing changes, as on a GPU."""

    @contextmanager
    def record(tape, stream):
        before = [tensor.clone() for tensor in read_state(tape.run)], tape.generator.get_state()
        with tape:
            yield
        for tensor, value in zip(read_state(tape.run), before[0], strict=True):
            tensor.copy_(value)
        tape.generator.set_state(before[1])

    stream = SimpleNamespace(wait_stream=lambda other: None)
    names = {"CUDAGraph": Tape, "graph": record, "Stream": lambda: stream}
    names |= {"current_stream": lambda: stream, "stream": lambda stream: nullcontext()}
    for name, value in names.items():
        monkeypatch.setattr(torch.cuda, name, value)


def train(name, is_recorded, count=7):
    """The weights, moments and terms after updates whose frames, rate and weights all change."""
    run, update = start(name, is_recorded)
    if is_recorded:
        update.graph.run = run
    generator, terms = torch.Generator().manual_seed(2), []
    for number in range(count):
        training.set_rate(run.optimizer, 1e-2 / (number + 1))
        frames = torch.rand(3, 4, *run.model.frame_shape, generator=generator)
        terms.append(update(Batch(frames), {"kl": 0.1 * number, "log_likelihood": 2.0}))
    return [*read_state(run), *terms, run.generators["codes"].get_state()]


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_reads_new_frames_noise_weights_and_rates(name, pretended):
    """To the last bit; the tape has the update as it was recorded, whatever Python does later."""
    plain, replayed = train(name, False), train(name, True)
    assert all(torch.equal(one, other) for one, other in zip(plain, replayed, strict=True))


def test_a_mask_or_another_shape_is_updated_plainly(pretended):
    run, update = start("element", True)
    update.graph.run = run
    frames = torch.rand(3, 6, *run.model.frame_shape)
    for batch in (*[Batch(frames)] * 4, hide(frames), Batch(frames[:, :5])):
        assert update(batch, {}).isfinite().all()
    assert update.calls == 4


# ---- what a recording refuses


class Refusing(TorchDispatchMode):
    """Refuses what a CUDA graph cannot record: values read by Python, tensors of the CPU."""

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        made = operation(*given, **named or {})
        for tensor in list_tensors(given, named, made):
            assert tensor.is_cuda or tensor.ndim == 0, f"{operation} with a tensor of the CPU"
        return made


@pytest.mark.parametrize("section", PUBLISHED)
def test_a_paper_at_its_own_size_has_nothing_that_a_recording_refuses(section, fake_cuda):
    settings = load(section, "full")
    model = build(settings, 0).to(fake_cuda).train()
    length = settings.length or 8
    frames = torch.zeros(settings.batch_size, length, 3, 64, 64, device=fake_cuda)
    numbers = {name: torch.zeros((), device=fake_cuda) for name in weight_schedules(settings)}
    adam = SimpleNamespace(zero_grad=lambda: None, step=lambda: None)
    run = SimpleNamespace(model=model, optimizer=adam, generators={"codes": None})
    vars(run).update(precision="bf16-mixed", gradient_norm=None)
    with Refusing():
        assert training.Run.update(run, Batch(frames), numbers).shape == (3,)


def test_moments_are_read_in_the_layout_of_their_weights(tmp_path):
    """A step of one kernel wants it."""
    run, update = start("unordered", False)
    update(Batch(torch.rand(2, 3, *run.model.frame_shape)), {})
    run.save(tmp_path / "checkpoint", [])
    run.resume(tmp_path / "checkpoint")
    state = run.optimizer.state
    strides = {weight.stride() == state[weight]["exp_avg"].stride() for weight in state}
    assert strides == {True} and not next(run.model.parameters()).is_contiguous()


# ---- on a GPU


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("name", ("independent", "unordered", "released element"))
def test_on_a_gpu_both_end_in_the_same_weights(name, tmp_path):
    """Also a replayed run that was interrupted."""
    kind, sizes = MODELS[name]

    def train_there(replay, *stops):
        torch.manual_seed(0)
        model, path = kind(**sizes), tmp_path / f"{replay}-{len(stops)}"
        options = {"batch_size": 4, "accelerator": "cuda", "every": 4, "checkpoint": path}
        options |= {"learning_rate": [[0.0, 1e-3], [1.0, 0.0]], "weights": {"kl": [[0, 0], [1, 1]]}}
        for stop in (*stops, 12):
            options["report"] = lambda row, stop=stop: row["step"] == stop
            fit(model, draw, steps=12, replay=replay, **options)
        return model.state_dict()

    def draw(count, generator):
        return torch.rand(count, 4, *kind(**sizes).frame_shape, generator=generator)

    plain = train_there(False)
    for other in (train_there(True), train_there(True, 8)):
        for one, weight in plain.items():
            torch.testing.assert_close(other[one], weight, rtol=1e-4, atol=1e-6, msg=one)
