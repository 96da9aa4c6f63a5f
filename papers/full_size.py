"""The papers' own size on one GPU: what papers/a, papers/b and papers/c/full_size.py share.

Each of these writes its model's `elbo` a second time, for speed alone: channels come last, the
first and the last layer are matrix products, the rest is compiled, and a whole update, with its
data and its noise, is recorded as one CUDA graph. They only make the weights that ship; lessons
and measurements use the library's own, with which tests/test_full_size.py compares them.

Convolutions and recurrent layers are computed in a precision that the caller names, in training 16
bits. All else is in the precision of the weights and the noise, in training 32 bits. A comparison
uses 64 bits throughout, because leaky ReLUs have a kink: if an input lies within rounding of zero,
the slope there, and with it each gradient before it, depends on the processor.

They run in the clone, or in any folder with lib/, papers/ and their data (mnist/, sprites-li/), and
need torch, NumPy, Pillow and safetensors. `python papers/a/full_size.py --seconds 560` trains so
long, and goes on when called again; with --cpu it compares a batch with the library, without a GPU.
"""

import argparse
import copy
import json
import math
import os
import platform
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Container
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from unbraid.data import sprites
from unbraid.models.base import Noise, SequenceModel

STARTED = time.perf_counter()
ROOT = Path(__file__).resolve().parent.parent
COLUMNS = ["step", "seconds", "elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame"]
WARM_UP = 4  # updates before the recording
SAME = 1e-9  # relative error, in 64 bits, that another order of sums may make; seen: 5e-14
KEPT = ("step", "seconds", "rows", "checks")  # what the state file has beside the weights


# ---- the data


def draw_characters(numbers: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The cells of each character, (characters, cells, 3, 64, 64) bytes."""
    return np.stack(list(sprites.draw_cells(numbers, cells, 64)))


def compose(numbers: np.ndarray, cells: np.ndarray) -> Tensor:
    """The same as a tensor, drawn by several processes."""
    workers = max(1, min(14, (os.cpu_count() or 2) - 2))
    parts = np.array_split(numbers, min(len(numbers), 4 * workers))
    with ProcessPoolExecutor(workers) as pool:
        drawn = list(pool.map(partial(draw_characters, cells=cells), parts))
    return torch.from_numpy(np.concatenate(drawn))


# ---- the forward pass, in the layout (N, H, W, C)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, on a GPU as torch compiles it; as it is where that fails."""
    if not torch.cuda.is_available():
        return function
    compiled_function = torch.compile(function, dynamic=False)
    torch._dynamo.config.suppress_errors = True
    return compiled_function


@compiled
def to_patches(frames: Tensor, dtype: torch.dtype) -> Tensor:
    """What a 4 x 4 convolution of stride 2 reads of bytes (N, 3, 64, 64): (N, 32, 32, 48)."""
    patches = F.pad(frames, (1, 1, 1, 1)).unfold(2, 4, 2).unfold(3, 4, 2)  # (N, 3, 32, 32, 4, 4)
    patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3)
    exact = torch.promote_types(dtype, torch.float32)  # at least 32 bits
    return (patches.to(exact) * (1 / 255)).to(dtype)


@compiled
def run_network(network: nn.Sequential, maps: Tensor, dtype: torch.dtype, steps: int = 1) -> Tensor:
    """The outputs of a network of images, its convolutions in `dtype`; see `convolve`.

    maps: patches (N, 32, 32, 48) for an encoder, codes (N, d) for a decoder. steps: how many
    batches the N are, one after the other, of which batch normalisation takes statistics.
    """
    for layer in network:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            maps = convolve(maps.to(dtype), layer)
        elif isinstance(layer, nn.BatchNorm2d):
            maps = normalise(maps, layer, steps)
        elif isinstance(layer, nn.Flatten):
            maps = maps.flatten(1)
        elif not isinstance(layer, nn.Unflatten):  # activations, and a dense layer of codes
            maps = layer(maps)
    return maps


def convolve(maps: Tensor, layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """A 4 x 4 convolution of maps (N, H, W, C), in their precision.

    The first and the last layer of encoder and decoder are matrix products: from patches to maps,
    from maps of 4 x 4 to one place, from codes (N, d) to maps of 4 x 4, and `paint`.
    """
    weight, bias = layer.weight.to(maps.dtype), cast(Tensor, layer.bias).to(maps.dtype)
    if isinstance(layer, nn.Conv2d) and layer.in_channels == 3:
        return F.linear(maps, weight.flatten(1), bias)
    if isinstance(layer, nn.Conv2d) and layer.stride == (1, 1):
        return F.linear(maps.flatten(1), weight.permute(0, 2, 3, 1).flatten(1), bias)[:, None, None]
    if maps.ndim == 2:
        return (maps @ weight.permute(0, 2, 3, 1).flatten(1)).unflatten(1, (4, 4, -1)) + bias
    if layer.out_channels == 3:
        return paint(maps, cast(nn.ConvTranspose2d, layer))
    function = F.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else F.conv2d
    return function(maps.permute(0, 3, 1, 2), weight, bias, 2, 1).permute(0, 2, 3, 1)


def paint(maps: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """The last transposed convolution, of maps (N, 32, 32, C): (N, 64, 64, 3).

    The products have the precision of the maps, the result that of the weights.
    One matrix product paints a patch of 4 x 4 pixels at each place. Patches stand two pixels apart,
    so that each pixel is the sum of two of them in either direction.
    """
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 4 x 4 x 3)
    patches = (maps.flatten(0, 2) @ weight.to(maps.dtype)).reshape(*maps.shape[:3], 4, 4, 3)
    above = F.pad(patches[:, :-1, :, 3], (0, 0, 0, 0, 0, 0, 1, 0))
    below = F.pad(patches[:, 1:, :, 0], (0, 0, 0, 0, 0, 0, 0, 1))
    rows = torch.stack([patches[:, :, :, 1] + above, patches[:, :, :, 2] + below], 2)
    rows = rows.flatten(1, 2)  # (N, 64, 32, 4, 3)
    left = F.pad(rows[:, :, :-1, 3], (0, 0, 1, 0))
    right = F.pad(rows[:, :, 1:, 0], (0, 0, 0, 1))
    pixels = torch.stack([rows[:, :, :, 1] + left, rows[:, :, :, 2] + right], 3)
    bias = cast(Tensor, layer.bias)
    return pixels.flatten(2, 3).to(bias.dtype) + bias


def normalise(maps: Tensor, norm: nn.BatchNorm2d, steps: int) -> Tensor:
    """Batch normalisation of maps (steps B, H, W, C) with the statistics of one step at a time."""
    by_step = maps.unflatten(0, (steps, -1)).to(norm.weight.dtype)  # (steps, B, H, W, C)
    size = by_step[0, ..., 0].numel()
    variance, mean = torch.var_mean(by_step, (1, 2, 3), correction=0)  # (steps, C)
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum
    with torch.no_grad():
        for step in range(steps):
            norm.running_mean.lerp_(mean[step], norm.momentum)
            norm.running_var.lerp_(variance[step] * (size / (size - 1)), norm.momentum)
    scale = torch.rsqrt(variance + norm.eps) * norm.weight
    shift = norm.bias - mean * scale
    by_step = by_step * scale[:, None, None, None] + shift[:, None, None, None]
    return by_step.flatten(0, 1).to(maps.dtype)


@compiled
def score(frames: Tensor, means: Tensor, variance: float) -> Tensor:
    """Log-likelihoods (N,) in nats, Gaussian, of bytes (N, 3, 64, 64) and means in this layout."""
    values = frames.permute(0, 2, 3, 1).to(means.dtype) * (1 / 255)
    squared = (values - means).square().flatten(1).sum(1) / variance
    return -0.5 * (squared + 3 * 64 * 64 * math.log(2 * math.pi * variance))


# ---- training


def say(*words: object) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.perf_counter() - STARTED:6.1f}]", *words, flush=True)


def set_short_products(allowed: bool) -> None:
    """Whether products of 32-bit numbers may use TF32, which keeps 10 bits of each fraction."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


class Run(ABC):
    """A training on one GPU, and what a call leaves to the next; a subclass is a paper's."""

    chunk, row = 250, 1000  # updates between two looks at the clock, and of a row of the curve
    reserve = 8  # seconds for the files
    marks: Container[int] = range(0, 10**9, 20000)  # updates at which the state file is written
    weights: ClassVar[dict[str, float]] = {}  # of the bound's terms, as `Bound.loss` takes them
    model_class: type[SequenceModel]
    model: SequenceModel
    rate: float | Tensor  # of Adam
    precision = torch.bfloat16  # of convolutions and recurrent layers

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.device = torch.device("cpu" if options.cpu else "cuda")
        self.step, self.seconds = 0, 0.0  # seconds of updates alone, over all calls
        self.rows: list[list[float]] = []
        self.checks: dict[int, dict[str, float]] = {}  # what was measured, by the update

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Section and run of the project's settings, and what is changed in them."""

    @abstractmethod
    def load(self) -> None:
        """Bring the data to the device; for a comparison on the CPU a few are enough."""

    @abstractmethod
    def draw(self, count: int) -> Tensor:
        """Sequences of a new batch, bytes (B, T, 3, 64, 64)."""

    @abstractmethod
    def terms(self, frames: Tensor, noise: Noise, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Objective, log-likelihood and KL of each sequence in nats, (B,) each.

        dtype: of convolutions and recurrent layers. Noise has the precision of the weights.
        """

    def start_model(self) -> SequenceModel:
        """The library's model of what `describe` says, with its initial weights."""
        config = self.model_class.config_class.of(self.describe()["changes"])
        torch.manual_seed(self.options.seed)
        return self.model_class(config)

    def prepare(self) -> int:
        """How many updates are made before the next look at the clock; nothing changes in them."""
        return min(self.chunk - self.step % self.chunk, self.options.steps - self.step)

    def losses(self, frames: Tensor, noise: Noise, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Minus the objective per frame; and log-likelihood and KL in nats per frame, (2,)."""
        terms = self.terms(frames, noise, dtype)
        objective, *means = (term.mean() / frames.shape[1] for term in terms)
        return -objective, torch.stack(means).detach().double()

    def update(self) -> None:
        """One update of the weights; adds log-likelihood and KL to `totals`."""
        self.optimizer.zero_grad(set_to_none=True)
        frames = self.draw(self.options.batch)
        noise = self.model.draw_noise(*frames.shape[:2])
        loss, means = self.losses(frames, noise, self.precision)
        loss.backward()
        self.optimizer.step()
        self.totals.add_(means)

    def start(self) -> None:
        """Load the data, and make the model and its optimiser or go on from the state file."""
        options = self.options
        self.load()
        torch.backends.cudnn.benchmark = True
        set_short_products(True)
        self.model = self.start_model().to(self.device).train()
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = self.model.parameters()
        self.optimizer = torch.optim.Adam(weights, lr=self.rate, fused=True, capturable=True)
        self.totals = torch.zeros(2, dtype=torch.float64, device=self.device)  # of the next row
        torch.manual_seed(1000 + options.seed)
        if options.state.exists():
            state = torch.load(options.state, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            for group in self.optimizer.param_groups:  # A state file brings a rate of its own.
                group["lr"] = self.rate
            torch.cuda.set_rng_state(state["generator"])
            vars(self).update(state["kept"])
            say("goes on at", self.step)

    def record(self) -> torch.cuda.CUDAGraph:
        """Make WARM_UP updates, in which functions are compiled, and record one."""
        stream = torch.cuda.Stream()  # Before a recording, updates need a stream of their own.
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.update()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.step += WARM_UP
        say("log-likelihood, KL", (self.totals / WARM_UP).tolist())
        self.totals.zero_()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.update()
        return graph

    def train(self) -> None:
        """Make updates until all are made or the time is up, and write what is there then."""
        self.start()
        options, since = self.options, 0
        if self.step < options.steps:
            self.prepare()
            graph = self.record()
        deadline = STARTED + options.seconds - self.reserve
        while self.step < options.steps and time.perf_counter() < deadline:
            count = self.prepare()
            start = time.perf_counter()
            for _ in range(count):
                graph.replay()
            torch.cuda.synchronize()
            self.seconds += time.perf_counter() - start
            self.step += count
            since += count
            likelihood, kl = means = (self.totals / since).tolist()
            if not all(map(math.isfinite, means)):  # The state file of before stays.
                sys.exit(f"step {self.step}: expected finite numbers, found {means}")
            if self.step % self.row == 0:
                values = [self.seconds, likelihood - kl, likelihood, kl]
                self.rows.append([self.step, *[round(value, 4) for value in values]])
                say(*self.rows[-1])
                self.totals.zero_()
                since = 0
            if self.step in self.marks:
                self.save()
        self.save()
        self.write()
        say("ended at", self.step)

    def save(self) -> None:
        """Write the state file; a call that is killed leaves the old one whole."""
        state: dict[str, Any] = {"model": self.model.state_dict()}
        state["optimizer"] = self.optimizer.state_dict()
        state["generator"] = torch.cuda.get_rng_state()
        state["kept"] = {name: getattr(self, name) for name in KEPT}
        part = self.options.state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.options.state)

    def write(self) -> None:
        """Write the record, and the weights in half precision in files of at most 15 MiB."""
        options, room = self.options, 0
        parts: list[dict[str, Tensor]] = []
        options.out.mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = self.describe() | {"seed": options.seed, "steps": self.step}
        found |= {"seconds": round(self.seconds, 1), "device": torch.cuda.get_device_name()}
        versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
        found |= {"versions": versions | {"numpy": np.__version__}, "precision": "bf16-mixed"}
        found |= {"columns": COLUMNS, "rows": self.rows}
        if self.checks:
            found["checks"] = [{"step": step} | values for step, values in self.checks.items()]
        path = options.out / f"{options.name}.json"
        path.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
        for name, value in self.model.state_dict().items():
            value = value.half() if value.is_floating_point() else value
            if value.nbytes > room:
                parts.append({})
                room = 15 * 2**20
            parts[-1][name] = value.cpu().contiguous()
            room -= value.nbytes
        for number, part in enumerate(parts):
            save_file(part, options.out / f"{options.name}-{number}.safetensors")

    def compare(self) -> None:
        """Say how far a batch's loss and gradients are from the library's, and exit if too far.

        All of it is computed in 64 bits, so that no kink lies between the two.
        """
        self.load()
        self.model = self.start_model().double().train()
        twin = copy.deepcopy(self.model)
        frames = self.draw(3)
        noise = self.model.draw_noise(*frames.shape[:2])
        loss, _ = self.losses(frames, noise, torch.float64)
        expected = twin.elbo(frames.double() / 255, noise).loss(self.weights)
        own = torch.autograd.grad(loss, list(self.model.parameters()))
        true = torch.autograd.grad(expected, list(twin.parameters()))
        # Biases before batch normalisation have gradients of nothing but rounding.
        least = 1e-3 * max(grad.norm() for grad in true)
        pairs = zip(own, true, strict=True)
        worst = torch.stack([(a - b).norm() / (b.norm() + least) for a, b in pairs]).max()
        error = abs(loss.item() / expected.item() - 1)
        say(f"relative error of the loss {error:.1e}, of a weight's gradient {worst:.1e}")
        if not (error < SAME and worst < SAME):
            sys.exit(f"expected the library's, up to {SAME}")


# ---- the command line


def make_parser(about: str, name: str, steps: int, batch: int) -> argparse.ArgumentParser:
    """The options that all three have; about: the script's docstring."""
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=500, help="the whole call may take")
    parser.add_argument("--steps", type=int, default=steps, help="updates in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=batch, help="sequences of an update")
    parser.add_argument("--cpu", action="store_true", help="compare with the library, then end")
    state, out = Path(f"/tmp/{name}_state.pt"), Path(os.environ.get("OUT", f"/tmp/{name}_out"))
    parser.add_argument("--state", type=Path, default=state, help="file to go on from")
    parser.add_argument("--out", type=Path, default=out, help="folder for what is written")
    parser.add_argument("--name", default=name, help="with which the files begin")
    return parser


def main(run: Run) -> None:
    """Train, or go on training, and write weights and curve; or compare."""
    os.environ.setdefault("UNBRAID_MIRROR", str(ROOT))  # where data may lie, too
    if run.options.cpu:
        run.compare()
    else:
        run.train()
