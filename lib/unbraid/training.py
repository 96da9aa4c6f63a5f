"""fit(): the training loop of the library. It logs, writes checkpoints and resumes from them."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Generator, Tensor, nn

from unbraid import checks
from unbraid.checks import check_field, check_name, check_number, check_type, check_whole, refuse
from unbraid.models.base import Batch, BatchLike, Bound, SequenceModel
from unbraid.support.progress import progress_bar
from unbraid.support.schedules import Curve, check_curve, schedule_value
from unbraid.support.tensors import is_whole, read_tensors, write_tensors

# The type that weights and batches get, or None: they keep theirs. In float16 the bound overflows.
PRECISIONS = {
    "32-true": None,
    "bf16-mixed": None,  # matrix products in bfloat16, by autocast
    "bf16-true": torch.bfloat16,
    "64-true": torch.float64,
}
TERMS = ("elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame")  # in nats
COLUMNS = ("step", "sequences", "seconds", *TERMS)
WITHOUT_BF16 = ("DEFAULT", "AVX2")  # processors whose LSTM fails or is 3.5 times as slow
WARM_UP = 3  # updates before the recording
Update = Callable[[Batch, Mapping[str, float | Tensor]], Tensor]


class TrainingError(RuntimeError):
    """A run that diverged, or a checkpoint that belongs to another run."""


class Diverged(TrainingError):
    """The bound of a training is no longer finite."""


@contextmanager
def keep_alone(lock: Path, remedy: str, wait: bool = False) -> Iterator[None]:
    """Train here alone; where another process does, wait for it, or raise `TrainingError`."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=-1 if wait else 0):
            try:
                yield
            finally:
                with suppress(OSError):  # Some shares keep what is open.
                    lock.unlink()
    except Timeout:
        expected = "expected to train here alone, found another process that does"
        place = lock.with_suffix("")
        raise TrainingError(f"{place}: {expected}; wait for it, or {remedy}") from None


@torch.inference_mode(False)  # because in a caller's inference mode no gradient would flow
@torch.enable_grad()
def fit(  # noqa: PLR0913 - all but the first two go by name
    model: SequenceModel,
    draw: Callable[[int, Generator], BatchLike],
    *,
    steps: int,
    batch_size: int,
    learning_rate: Curve = 1e-3,
    weights: Mapping[str, Curve] | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    gradient_norm: float | None = None,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    identity: Mapping[str, object] | None = None,
    precision: str = "32-true",
    accelerator: str = "auto",
    replay: bool = False,
    every: int | None = None,
    report: Callable[[dict], bool | None] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> list[dict]:
    """Train a model in place by maximising its weighted bound; return the training curve.

    draw(count, generator): a batch of `count` sequences, as `Batch.of` takes it.
    steps: updates. batch_size: sequences behind each.
    learning_rate: Adam's; a number or a `Curve` over the share of the run before an update.
    weights: of the bound's terms, by `Bound.loss`'s names; curves over the share after an update.
    betas: Adam's, of its two moments. gradient_norm: gradients are clipped to this total norm.
    seed: of the data and of the posterior's noise. The caller has seeded the weights.
    checkpoint: a file, written with each row. A run that finds it continues from there, and on the
        same machine ends in the same bits as a run without interruption.
    identity: what a checkpoint must agree in beside these arguments, the model's config and
        `draw.digests`; values of JSON.
    precision: one of `PRECISIONS`. accelerator: "cpu", "cuda", "mps" or "auto", a CUDA GPU
        where there is one, else the CPU.
    replay: on a CUDA GPU the fourth update is recorded and from then on replayed, see `Replay`;
        without `on_progress`, and not for a model that decides in Python what an update computes.
    every: updates between two rows of the curve; by default a fiftieth of the run.
    report: is called with each new row, and ends the run if it returns True. on_progress: before
        each update, with the share over.

    A row has `COLUMNS`: means over the updates since the last row, whatever the weights. Raises
    `TrainingError` where the bound is not finite, or the checkpoint is that of another run.
    """
    curves = check_arguments(locals())  # the first line, because here locals() are the arguments
    steps, batch_size, seed = int(steps), int(batch_size), int(seed)  # of NumPy's, for JSON
    path = Path(checkpoint).expanduser() if checkpoint else None
    settings: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "seed": seed, **curves}
    settings |= {"precision": precision, "betas": betas, "gradient_norm": gradient_norm}
    weights, every = dict(weights or {}), every or max(1, steps // 50)
    settings["data"] = getattr(draw, "digests", None)

    device, dtype = torch.device(choose_accelerator(accelerator)), PRECISIONS[precision]
    run = Run(model.to(device, dtype), dict(identity or {}) | settings)
    update: Update = run.update
    if replay and device.type == "cuda" and not on_progress:
        update = Replay(run.update, run.generators["codes"])
    rows = run.resume(path) if path else []
    done, seconds = (rows[-1]["step"], rows[-1]["seconds"]) if rows else (0, 0.0)
    begun, terms = time.perf_counter() - seconds, []
    updates = progress_bar(range(done + 1, steps + 1), "updates", initial=done, total=steps)

    model.train()
    for step in updates:
        before, after = (step - 1) / steps, step / steps
        set_rate(run.optimizer, schedule_value(learning_rate, before))
        if on_progress:
            on_progress(before)

        batch = Batch.of(draw(batch_size, run.generators["data"])).to(device, dtype)
        if len(batch.frames) != batch_size:
            refuse("draw", f"{batch_size} sequences", len(batch.frames))
        now = {name: schedule_value(curve, after) for name, curve in weights.items()}
        terms.append(update(batch, now))
        if step % every == 0 or step == steps:
            seconds = round(time.perf_counter() - begun, 3)
            values = (step, step * batch_size, seconds, *average(terms, step))
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            is_enough = report is not None and report(rows[-1])
            if path:
                run.save(path, rows)
            if is_enough:
                break
    model.eval()
    return rows


def check_arguments(given: dict[str, Any]) -> dict[str, list[float]]:
    """Refuse wrong arguments of `fit` by their names; returns the values of its curves."""
    check_field(hasattr(given["model"], "config"), "model", "a SequenceModel", "no config")
    checks.check_function("count", "generator", draw=given["draw"])
    check_type((Mapping, type(None)), weights=given["weights"], identity=given["identity"])
    check_type(bool, replay=given["replay"])
    checks.check_json("identity", given["identity"])
    checks.check_json("draw.digests", getattr(given["draw"], "digests", None))
    check_whole(1, steps=given["steps"])
    check_whole((1, checks.LARGEST_BATCH), batch_size=given["batch_size"])
    check_whole(1, every=1 if given["every"] is None else given["every"])
    started = os.environ.get("WORLD_SIZE", "1")  # by torchrun; all would write the same files
    check_field(started == "1", "WORLD_SIZE", "one process that trains a model", started)
    checks.check_seed(given["seed"])
    check_name("precision", given["precision"], PRECISIONS)
    is_on_cpu = choose_accelerator(given["accelerator"]) == "cpu"
    can_halve = not is_on_cpu or torch.backends.cpu.get_cpu_capability() not in WITHOUT_BF16
    expected = "32-true or 64-true, since this processor has no AVX-512"
    is_half = given["precision"].startswith("bf16")
    check_field(can_halve or not is_half, "precision", expected, given["precision"])
    betas = checks.finite_array("betas", given["betas"])
    are_decays = betas.shape == (2,) and ((betas >= 0) & (betas < 1)).all()
    check_field(are_decays, "betas", "two numbers from 0 to below 1", given["betas"])
    if given["gradient_norm"] is not None:
        check_number(0, gradient_norm=given["gradient_norm"])
    if given["checkpoint"] is not None:
        checks.check_path(checkpoint=given["checkpoint"])
    values = {"learning_rate": check_curve("learning_rate", given["learning_rate"], 0)}
    check_field(max(values["learning_rate"]) > 0, "learning_rate", "values above 0", 0)
    for name, weight in (given["weights"] or {}).items():
        # Only the further terms of an objective may be weighed by less than nothing.
        least = 0 if name.endswith(("kl", "log_likelihood")) else -math.inf
        values[f"weights.{name}"] = check_curve(f"weights.{name}", weight, least)
    return values


def choose_accelerator(accelerator: str) -> str:
    """The type of the device to train on; refuses other names and what this machine lacks."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    check_type(str, accelerator=accelerator)
    if accelerator == "auto":
        return "cuda" if there["cuda"] else "cpu"
    names = ["cpu", *(name for name in there if there[name])]
    if accelerator in [*there] and accelerator not in names:
        expected = f"expected one of {', '.join(names)}, found {accelerator!r}"
        raise checks.SettingsError(f"accelerator: {expected}, of which this machine has none")
    check_name("accelerator", accelerator, names)
    return accelerator


def mean_terms(bound: Bound) -> Tensor:
    """The mean bound, log-likelihood and divergence of a batch in nats per frame, (3,)."""
    likelihood = bound.log_likelihood.detach().mean() / bound.length
    divergence = cast(Tensor, sum(bound.kl.values())).detach().mean() / bound.length
    return torch.stack([likelihood - divergence, likelihood, divergence])


def average(terms: list[Tensor], step: int) -> list[float]:
    """The means of updates' terms (3,) over them; empties the list."""
    means = torch.stack(terms).mean(0).tolist()
    terms.clear()
    if not all(map(math.isfinite, means)):
        found = f"{means[0]} by update {step}; lower learning_rate or look at the data"
        raise Diverged(f"bound: expected finite numbers, found {found}")
    return means


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give Adam its learning rate, on a CUDA GPU in the tensor that a recorded update reads."""
    group = optimizer.param_groups[0]
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


class Replay:
    """Updates that a CUDA GPU records once and replays: one call starts all of their kernels.

    A small network keeps a GPU waiting, because to start one of the thousand kernels of an update
    takes the processor longer than the GPU needs to run it. A replay computes the same numbers:
    what differs between updates (frames, weights of terms, rate, noise) is read from tensors.
    Batches with a mask, or of another shape than the first, are not replayed.
    """

    def __init__(self, update: Update, generator: Generator):
        self.update, self.calls = update, 0
        self.graph, self.stream = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        self.graph.register_generator_state(generator)  # so that each replay draws new noise
        self.batch: Batch | None = None  # where a replay finds its frames ...
        self.weights: dict[str, Tensor] = {}  # ... and the weights of the bound's terms

    def __call__(self, batch: Batch, weights: Mapping[str, float | Tensor]) -> Tensor:
        self.batch = self.batch or Batch(torch.empty_like(batch.frames))
        if batch.mask is not None or batch.frames.shape != self.batch.frames.shape:
            return self.update(batch, weights)
        self.batch.frames.copy_(batch.frames)
        for name, weight in weights.items():
            self.weights.setdefault(name, batch.frames.new_zeros((), dtype=torch.float64))
            self.weights[name].fill_(weight)
        self.calls += 1
        if self.calls <= WARM_UP:
            return self.warm_up()
        if self.calls == WARM_UP + 1:
            with torch.cuda.graph(self.graph, stream=self.stream):  # It records and runs nothing.
                self.terms = self.update(self.batch, self.weights)
        self.graph.replay()
        return self.terms.clone()

    def warm_up(self) -> Tensor:
        """An update on the stream of the recording, in which PyTorch's libraries allocate."""
        assert self.batch
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            terms = self.update(self.batch, self.weights)
        torch.cuda.current_stream().wait_stream(self.stream)
        return terms


class Run:
    """What a run continues from: weights, Adam's moments, the states of noise, its identity."""

    def __init__(self, model: SequenceModel, settings: dict[str, Any]):
        device = next(model.parameters()).device
        if device.type != "cpu" or getattr(model.config, "image_size", 0) <= 32:
            # There this layout is the fastest.
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        adam: dict[str, Any] = {"betas": settings["betas"]}
        if device.type == "cuda":  # a step of one kernel, whose rate and count are on the GPU
            adam |= {"lr": torch.full((), 1e-3, device=device), "fused": True, "capturable": True}
        self.optimizer = torch.optim.Adam(model.parameters(), **adam)
        self.precision, self.gradient_norm = settings["precision"], settings["gradient_norm"]
        config = {f"model.{name}": value for name, value in asdict(model.config).items()}
        settings = settings | {"model": type(model).__name__} | config
        self.identity = json.loads(json.dumps(settings, default=float))  # as in a file
        self.generators = {"data": Generator(), "codes": Generator(device)}
        for number, generator in enumerate(self.generators.values()):
            generator.manual_seed(int(settings["seed"]) + number)

    def update(self, batch: Batch, weights: Mapping[str, float | Tensor]) -> Tensor:
        """Train on a batch with these weights of terms; returns `mean_terms`, without weights."""
        is_mixed, device = self.precision == "bf16-mixed", batch.frames.device
        with torch.autocast(device.type, torch.bfloat16, enabled=is_mixed):
            bound = self.model.elbo(batch, self.generators["codes"])
        if self.precision.startswith("bf16"):  # sums over a sequence need more digits
            bound = bound.to(torch.float32)
        self.optimizer.zero_grad()
        bound.loss(weights).backward()
        if self.gradient_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.gradient_norm)
        self.optimizer.step()
        return mean_terms(bound)

    def save(self, path: Path, rows: list[dict]) -> None:
        """Write a checkpoint atomically, and without pickle."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        tensors |= {f"noise.{name}": each.get_state() for name, each in self.generators.items()}
        write_tensors(path, tensors, "run", {"identity": self.identity, "rows": rows})

    def resume(self, path: Path) -> list[dict]:
        """Restore what is in a checkpoint and return its rows; none where there is no file."""
        if not path.exists():
            return []
        rows, theirs, tensors = read_checkpoint(path)
        names = sorted(self.identity.keys() | theirs.keys())
        other = [name for name in names if self.identity.get(name) != theirs.get(name)]
        if other:
            found = f"one with another {', '.join(other)}; name another file to start anew"
            raise TrainingError(f"{path}: expected a checkpoint of this run, found {found}")
        own = {f"model.{name}" for name in self.model.state_dict()}
        if {name for name in tensors if name.startswith("model.")} != own:
            found = "other names of weights; name another file to start anew"
            raise TrainingError(f"{path}: expected a checkpoint of this version, found {found}")
        moments: dict[int, dict[str, Tensor]] = {}  # of each parameter, by its number
        weights = list(self.model.parameters())
        for name in [name for name in tensors if name.startswith("adam.")]:
            _, number, moment = name.split(".")
            value = tensors.pop(name)
            if moment != "step":  # in the layout of its parameter, as a step of one kernel wants it
                value = torch.empty_like(weights[int(number)]).copy_(value)
            moments.setdefault(int(number), {})[moment] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        for name, generator in self.generators.items():
            generator.set_state(tensors.pop(f"noise.{name}"))
        self.model.load_state_dict({name.removeprefix("model."): tensors[name] for name in tensors})
        return rows


def read_checkpoint(path: Path) -> tuple[list[dict], dict[str, Any], dict[str, Tensor]]:
    """Rows, identity and tensors of a checkpoint; `TrainingError` for what is none."""
    try:
        tensors, written = read_tensors(path, "run")
        rows, identity = written["rows"], written["identity"]
    except (SafetensorError, KeyError, ValueError) as error:
        found = f"a damaged or another file ({error!r}); name another file to start anew"
        raise TrainingError(f"{path}: expected one of this version, found {found}") from None
    if not is_whole(tensors, written):
        found = "another: it is damaged; name another file to start anew"
        raise TrainingError(f"{path}: expected the SHA-256 that the file names, found {found}")
    return rows, identity, tensors


def read_rows(checkpoint: Path | str) -> list[dict]:
    """The training curve in a checkpoint; no rows where there is no file."""
    checks.check_path(checkpoint=checkpoint)
    return read_checkpoint(Path(checkpoint))[0] if Path(checkpoint).exists() else []
