"""fit(): the one training loop of the course. It logs, writes checkpoints and resumes from them."""

import atexit
import json
import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from torch import Generator, Tensor, nn

from unbraid import checks
from unbraid.checks import check_field, check_name, check_number, check_type, check_whole
from unbraid.models.base import Batch, BatchLike, Bound, SequenceModel
from unbraid.progress import progress_bar
from unbraid.schedules import Curve, check_curve, schedule_value
from unbraid.tensors import is_whole, read_tensors, write_tensors

if TYPE_CHECKING:
    from lightning_fabric import Fabric

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "64-true")  # In float16 the bound overflows.
WITHOUT_BF16 = ("DEFAULT", "AVX2")  # processors whose LSTM fails or is 3.5 times as slow
MACHINE = ("device", "threads", "torch")  # what a checkpoint knows, and may differ in
TERMS = ("elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame")  # in nats
COMPILE_FROM = 1000  # updates: so long a run on one CUDA GPU is compiled, for one or two minutes
COLUMNS = ("step", "sequences", "seconds", *TERMS)
KINDS: dict[str, tuple] = {  # of arguments; of some also None
    "model": (nn.Module,),
    "draw": (Callable,),
    "report": (Callable, type(None)),
    "on_progress": (Callable, type(None)),
    "weights": (Mapping, type(None)),
    "identity": (Mapping, type(None)),
    "checkpoint": (str, Path, type(None)),
    "compile": (bool, type(None)),
}


class TrainingError(RuntimeError):
    """A run that diverged, or a checkpoint that belongs to another run."""


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
    devices: int = 1,
    num_nodes: int = 1,
    compile: bool | None = None,
    every: int | None = None,
    report: Callable[[dict], None] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> list[dict]:
    """Train a model in place by maximising its weighted bound; return the training curve.

    draw(count, generator): a batch of `count` sequences, as `Batch.of` takes it.
    steps: updates. batch_size: sequences behind each.
    learning_rate: Adam's; a number or a `Curve` over the share of the run before an update.
    weights: of the bound's terms, by `Bound.loss`'s names; curves over the share after an update.
    betas: Adam's, of its two moments. gradient_norm: gradients are clipped to this total norm.
    seed: of the data and of the posterior's noise. The caller has seeded the weights.
    checkpoint: a file, written with each row. A run that finds it continues from there, and in one
        process ends in the same bits as a run without interruption. The number of threads, the
        device and the version of PyTorch decide the last bits, too: others are warned of.
    identity: what a checkpoint must agree in beside these arguments, the model's config and
        `draw.digests`; values that JSON can hold.
    precision: one of `PRECISIONS`. accelerator: one of `ACCELERATORS`; "auto" takes a CUDA GPU
        where there is one, else the CPU. devices: of each of `num_nodes` machines.
    compile: whether torch.compile fuses the bound's operations and, on a GPU, records them as CUDA
        graphs; all batches must have one shape. None: on one CUDA GPU, from 1000 updates on.
    every: updates between two rows of the curve; by default a fiftieth of the run.
    report: is called with each new row. on_progress: before each update, with the share over.

    With several devices Lightning Fabric starts the script again for each of them. Each process
    draws its share of a batch with seeds of its own, when resumed others, and gradients are
    averaged; the first alone writes, reports and shows progress. On GPUs batch normalisation
    becomes `SyncBatchNorm`; on CPUs each process has its own batch statistics.

    A row holds `COLUMNS`: means over the updates since the last row, whatever the weights. Raises
    `TrainingError` where the bound is not finite, or the checkpoint is that of another run.
    """
    curves = check_arguments(locals())
    settings: dict[str, Any] = {"steps": steps, "batch_size": batch_size, "seed": seed, **curves}
    settings |= {"precision": precision, "betas": betas, "gradient_norm": gradient_norm}
    weights, every = dict(weights or {}), every or max(1, steps // 50)
    per_process = batch_size // (devices * num_nodes)

    fabric = start_processes(accelerator, devices, num_nodes, precision)
    settings |= {"device": fabric.device.type, "data": getattr(draw, "digests", None)}
    settings |= {"threads": torch.get_num_threads(), "torch": torch.__version__}
    run = Run(model.to(fabric.device), dict(identity or {}) | settings, fabric.global_rank)
    if compile is None:  # A short run would be over before its model is compiled.
        is_on_one_gpu = fabric.device.type == "cuda" and fabric.world_size == 1
        compile = is_on_one_gpu and steps >= COMPILE_FROM
    wrapped, optimizer = wrap(model, run.optimizer, fabric, compile)
    rows = run.resume(Path(checkpoint)) if checkpoint else []
    done, seconds = (rows[-1]["step"], rows[-1]["seconds"]) if rows else (0, 0.0)
    begun, terms = time.perf_counter() - seconds, []
    updates: Iterable[int] = range(done + 1, steps + 1)
    if fabric.is_global_zero:
        updates = progress_bar(updates, "updates", initial=done, total=steps)

    model.train()
    for step in updates:
        before, after = (step - 1) / steps, step / steps
        run.optimizer.param_groups[0]["lr"] = schedule_value(learning_rate, before)
        if on_progress:
            on_progress(before)

        batch = take(draw, per_process, run.noise["data"], fabric.device)
        bound = wrapped(batch, run.noise["codes"])
        loss = bound.loss({name: schedule_value(curve, after) for name, curve in weights.items()})
        optimizer.zero_grad()
        fabric.backward(loss)
        if gradient_norm:
            nn.utils.clip_grad_norm_(model.parameters(), gradient_norm)
        optimizer.step()

        terms.append(mean_terms(bound))  # of the bound itself, whatever the weights are
        if step % every == 0 or step == steps:
            seconds = round(time.perf_counter() - begun, 3)
            values = (step, step * batch_size, seconds, *reduce_terms(terms, step, fabric))
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            if report and fabric.is_global_zero:
                report(rows[-1])
            if checkpoint and fabric.is_global_zero:
                run.save(Path(checkpoint), rows)
    fabric.barrier()  # Whoever returns finds the last checkpoint.
    for buffer in model.buffers() if fabric.world_size > 1 else ():
        torch.distributed.broadcast(buffer, 0)  # running statistics of the first process
    model.eval()
    return rows


def check_arguments(given: dict[str, Any]) -> dict[str, list[float]]:
    """Refuse wrong arguments of `fit` by their names; returns the values of its curves."""
    for name, kinds in KINDS.items():
        check_type(kinds, **{name: given[name]})
    check_field(hasattr(given["model"], "config"), "model", "a SequenceModel", "no config")
    for name in ("steps", "batch_size", "devices", "num_nodes"):
        check_whole(1, **{name: given[name]})
    check_whole(1, every=1 if given["every"] is None else given["every"])
    rest = given["batch_size"] % (given["devices"] * given["num_nodes"])
    check_field(not rest, "batch_size", "a multiple of all devices", given["batch_size"])
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
    path = Path(given["checkpoint"] or "run.ck")
    if path.is_dir():
        raise ValueError(f"checkpoint: expected a file, found the folder {path}")
    values = {"learning_rate": check_curve("learning_rate", given["learning_rate"], 0)}
    check_field(max(values["learning_rate"]) > 0, "learning_rate", "values above 0", 0)
    for name, weight in (given["weights"] or {}).items():
        # Only the further terms of an objective may be weighed by less than nothing.
        least = 0 if name.endswith(("kl", "log_likelihood")) else -math.inf
        values[f"weights.{name}"] = check_curve(f"weights.{name}", weight, least)
    return values


def choose_accelerator(accelerator: str) -> str:
    """The accelerator that Fabric is to take; refuses other names and what this machine lacks."""
    check_name("accelerator", accelerator, ACCELERATORS)
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if accelerator == "auto":
        return "cuda" if there["cuda"] else "cpu"
    check_field(there.get(accelerator, True), "accelerator", "one of this machine's", accelerator)
    return accelerator


def start_processes(accelerator: str, devices: int, num_nodes: int, precision: str) -> "Fabric":
    """Lightning Fabric, one process for each device; a later call finds the same processes."""
    from lightning_fabric import Fabric  # imported lazily, because that takes a second

    count = devices * num_nodes
    started = int(os.environ.get("WORLD_SIZE", count))  # by torchrun, or by an earlier call
    if started != count:
        raise ValueError(
            f"devices: expected {started} in all, as many as are started, found {count}"
        )
    # Otherwise every process prints that it has begun.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator=choose_accelerator(accelerator),
        strategy="ddp" if count > 1 else "auto",
        devices=devices,
        num_nodes=num_nodes,
        precision=precision,  # type: ignore[arg-type]
    )
    fabric.launch()
    if fabric.world_size > 1:  # Threads of gloo that outlive Python can abort the process.
        group = torch.distributed
        atexit.register(lambda: group.is_initialized() and group.destroy_process_group())
    return fabric


def wrap(
    model: SequenceModel, optimizer: torch.optim.Optimizer, fabric: "Fabric", compile: bool
) -> tuple[Any, Any]:
    """Model and optimizer as Fabric calls them; their tensors are those of the two given."""
    on_gpu, is_alone = fabric.device.type == "cuda", fabric.world_size == 1
    if on_gpu and not is_alone:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if not compile or (on_gpu and find_spec("triton") is None):
        return fabric.setup(model, optimizer)
    compiled = torch.compile(model, mode="reduce-overhead", dynamic=False)
    wrapped, wrapped_optimizer = fabric.setup(cast(nn.Module, compiled), optimizer)
    # A new update may overwrite what the recorded one before has put out.
    wrapped.register_forward_pre_hook(lambda *_: torch.compiler.cudagraph_mark_step_begin())
    return wrapped, wrapped_optimizer


def take(
    draw: Callable[[int, Generator], BatchLike], count: int, noise: Generator, device: torch.device
) -> Batch:
    """The next batch on the device."""
    batch = Batch.of(draw(count, noise))
    if len(batch.frames) != count:
        raise ValueError(f"draw: expected {count} sequences, found {len(batch.frames)}")
    if device.type == "cuda" and batch.frames.device.type == "cpu":
        # From pinned memory the GPU fetches frames by itself, while Python goes on.
        batch.frames = batch.frames.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


def mean_terms(bound: Bound) -> Tensor:
    """The mean bound, log-likelihood and divergence of a batch in nats per frame, (3,)."""
    likelihood = bound.log_likelihood.detach().mean() / bound.length
    divergence = cast(Tensor, sum(bound.kl.values())).detach().mean() / bound.length
    return torch.stack([likelihood - divergence, likelihood, divergence])


def reduce_terms(terms: list[Tensor], step: int, fabric: "Fabric") -> list[float]:
    """The means of updates' terms (3,) over them and all processes; empties the list."""
    means = cast(Tensor, fabric.all_reduce(torch.stack(terms).mean(0))).tolist()
    terms.clear()
    if not all(map(math.isfinite, means)):
        found = f"{means[0]} by update {step}; lower learning_rate or look at the data"
        raise TrainingError(f"bound: expected finite numbers, found {found}")
    return means


class Run:
    """What a run continues from: weights, Adam's moments, the states of noise, its identity."""

    def __init__(self, model: SequenceModel, settings: dict[str, Any], rank: int):
        on_gpu = next(model.parameters()).device.type != "cpu"
        if on_gpu or getattr(model.config, "image_size", 0) <= 32:  # where it is the fastest
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model, self.seed, self.rank = model, int(settings["seed"]), rank
        self.optimizer = torch.optim.Adam(model.parameters(), betas=settings["betas"])
        config = {f"model.{name}": value for name, value in asdict(model.config).items()}
        settings = settings | {"model": type(model).__name__} | config
        self.identity = json.loads(json.dumps(settings, default=str))  # as in a file
        self.noise = {"data": Generator(), "codes": Generator(next(model.parameters()).device)}
        self.seed_noise(0)

    def seed_noise(self, done: int) -> None:
        """Seed the noise, of the first process as if it were alone."""
        seed = hash((self.seed, self.rank, done)) % 2**32 if self.rank else self.seed
        for number, generator in enumerate(self.noise.values()):
            generator.manual_seed(seed + number)

    def save(self, path: Path, rows: list[dict]) -> None:
        """Write a checkpoint atomically, and without pickle."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": value for name, value in moments.items()}
        tensors |= {f"noise.{name}": each.get_state() for name, each in self.noise.items()}
        write_tensors(path, tensors, "run", {"identity": self.identity, "rows": rows})

    def resume(self, path: Path) -> list[dict]:
        """Put back what a checkpoint holds and return its rows; none where there is no file."""
        if not path.exists():
            return []
        rows, theirs, tensors = read_checkpoint(path)
        names = sorted(self.identity.keys() | theirs.keys())
        other = [name for name in names if self.identity.get(name) != theirs.get(name)]
        refused = [name for name in other if name not in MACHINE]
        if refused:
            found = f"one with another {', '.join(refused)}; name another file to start anew"
            raise TrainingError(f"{path}: expected a checkpoint of this run, found {found}")
        if other and not self.rank:
            made = f"{path}: made with another {', '.join(other)}"
            warnings.warn(f"{made}; the run goes on, and ends in other bits", stacklevel=3)
        moments: dict[int, dict[str, Tensor]] = {}  # of each parameter, by its number
        for name in [name for name in tensors if name.startswith("adam.")]:
            _, number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = tensors.pop(name)
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.seed_noise(rows[-1]["step"])
        for name, generator in self.noise.items():
            state = tensors.pop(f"noise.{name}")
            if not self.rank:
                generator.set_state(state)
        self.model.load_state_dict({name.removeprefix("model."): tensors[name] for name in tensors})
        return rows


def read_checkpoint(path: Path) -> tuple[list[dict], dict[str, Any], dict[str, Tensor]]:
    """Rows, identity and tensors of a checkpoint; `TrainingError` for what is none."""
    try:
        tensors, written = read_tensors(path, "run")
        rows, identity = written["rows"], written["identity"]
    except (SafetensorError, KeyError, ValueError) as error:
        found = f"{error!r}; delete it to start anew"
        raise TrainingError(f"{path}: expected one of this version, found {found}") from None
    if not is_whole(tensors, written):
        found = "another: it is damaged; delete it to start anew"
        raise TrainingError(f"{path}: expected the SHA-256 that the file names, found {found}")
    return rows, identity, tensors


def read_rows(checkpoint: Path | str) -> list[dict]:
    """The training curve that a checkpoint holds; no rows where there is no file."""
    return read_checkpoint(Path(checkpoint))[0] if Path(checkpoint).exists() else []
