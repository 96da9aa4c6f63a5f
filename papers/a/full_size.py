"""Paper A's model at its own size, trained on one GPU: two moving digits, 64 x 64.

This is a second, faster writing of `IndependentPrediction.elbo` that only makes the weights that
ship; the lesson and every measurement use the library's own. Channels come last, the first and the
last layer are matrix products, the rest is compiled, and a whole update, with its data and its
noise, is recorded as one CUDA graph. tests/test_full_size.py compares it with the library's.

The file runs in the clone, or alone beside lib/ and mnist/ (the training file), and needs torch,
NumPy and safetensors. `python full_size.py --seconds 560` trains so long, and goes on when called
again.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

STARTED = time.perf_counter()
HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "lib").is_dir() else HERE.parent.parent  # of lib/
COLUMNS = ["step", "seconds", "elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame"]

VARIANCE = 0.25
CONSTANT = -0.5 * 3 * 64 * 64 * math.log(2 * math.pi * VARIANCE)  # of the likelihood, per frame
WARM_UP, CHUNK, ROW = 4, 250, 1000  # updates before the recording, between two clocks, of a row
RESERVE = 8  # seconds for the files
UNWEIGHTED = [[0.0, 1.0]]  # the paper's KL term: a weight of 1 from the first update on


# ---- the library and the data


def import_library(module: str) -> ModuleType:
    """A module of the library in lib/, such as "models.base".

    A GPU machine may lack packages with which the library fetches files and reads results. During
    the import stand-ins take their places; nothing here calls them. They go again afterwards,
    because torch's compiler looks at what is installed.
    """
    absent = []
    for name in ("filelock", "pandas", "pooch", "requests", "scipy", "tqdm"):
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = MagicMock()
            absent.append(name)
    sys.path.insert(0, str(ROOT / "lib"))
    try:
        return importlib.import_module(f"unbraid.{module}")
    finally:
        for name in absent:
            del sys.modules[name]


def find_folder(name: str) -> Path:
    """A folder or file of data: beside this one, in the clone's data/ or cache, or the mirror."""
    mirror = Path(os.environ.get("UNBRAID_MIRROR", HERE))
    places = [HERE, ROOT / "data", ROOT / "data" / "cache", mirror]
    for place in places:
        if (place / name).exists():
            return place / name
    raise FileNotFoundError(f"{name}: expected in one of {', '.join(map(str, places))}")


def load_digits() -> Tensor:
    """MNIST's digits for training, bytes (M, 28, 28), without the thousand that are held out."""
    library = import_library("data.moving_digits")
    paths = [find_folder(f"mnist/{name}") for name in library.FILES["train"]]
    images, numbers = (torch.from_numpy(library.read_idx(path)) for path in paths)
    held_out = torch.from_numpy(library.in_turns(numbers.numpy())[4000:5000])
    return images[torch.ones(len(images), dtype=torch.bool).index_fill(0, held_out, False)]


def draw(
    images: Tensor,
    count: int,
    length: int,
    law: Callable[..., Tensor],
    speeds: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sequences of two moving digits, bytes (T, B, 3, 64, 64), on the device of the images.

    images: bytes (M, 28, 28). law: `bounce` or `circle` of unbraid.data.moving_digits. speeds:
    (2, 1), as the law reads them. Red is the first digit.
    """
    with images.device:
        positions = law(count, torch.arange(length)[None, :, None, None], speeds, generator)
        which = torch.randint(len(images), (count, 2), generator=generator)
        frames = torch.zeros(length, count, 3, 64, 64, dtype=torch.uint8)
        plane = torch.arange(length * count).view(length, count, 1) * 3 + torch.arange(2)
        offset = (torch.arange(28)[:, None] * 64 + torch.arange(28)).flatten()  # (784,)
    corner = (positions * 36).round().long().transpose(0, 1)  # (T, B, 2, 2): digit; x, then y
    first = plane * 64 * 64 + corner[..., 1] * 64 + corner[..., 0]
    digits = images[which].expand(length, count, 2, 28, 28)
    frames.view(-1).scatter_(0, (first[..., None] + offset).flatten(), digits.reshape(-1))
    return frames


# ---- the forward pass, in the layout (N, H, W, C)


def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
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
    return (patches.to(torch.float32) * (1 / 255)).to(dtype)


def convolve(maps: Tensor, layer: nn.Conv2d | nn.ConvTranspose2d, dtype: torch.dtype) -> Tensor:
    """A convolution of stride 2, or a transposed one, of maps (N, H, W, C)."""
    function = F.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else F.conv2d
    weight, bias = layer.weight.to(dtype), layer.bias.to(dtype)
    return function(maps.permute(0, 3, 1, 2), weight, bias, 2, 1).permute(0, 2, 3, 1)


def paint(maps: Tensor, layer: nn.ConvTranspose2d, dtype: torch.dtype) -> Tensor:
    """The last transposed convolution, of maps (N, 32, 32, C): (N, 64, 64, 3) in 32 bits.

    One matrix product paints a patch of 4 x 4 pixels at each place. Patches stand two pixels apart,
    so that each pixel is the sum of two of them in either direction.
    """
    weight = layer.weight.permute(0, 2, 3, 1).flatten(1)  # (C, 4 x 4 x 3)
    patches = (maps.flatten(0, 2) @ weight.to(dtype)).reshape(*maps.shape[:3], 4, 4, 3)
    above = F.pad(patches[:, :-1, :, 3], (0, 0, 0, 0, 0, 0, 1, 0))
    below = F.pad(patches[:, 1:, :, 0], (0, 0, 0, 0, 0, 0, 0, 1))
    rows = torch.stack([patches[:, :, :, 1] + above, patches[:, :, :, 2] + below], 2)
    rows = rows.flatten(1, 2)  # (N, 64, 32, 4, 3)
    left = F.pad(rows[:, :, :-1, 3], (0, 0, 1, 0))
    right = F.pad(rows[:, :, 1:, 0], (0, 0, 0, 1))
    pixels = torch.stack([rows[:, :, :, 1] + left, rows[:, :, :, 2] + right], 3)
    return pixels.flatten(2, 3).float() + layer.bias


def list_layers(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Its convolutions, and its layers of batch normalisation."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convolutions = [layer for layer in network if isinstance(layer, kinds)]
    return convolutions, [layer for layer in network if isinstance(layer, nn.BatchNorm2d)]


def normalise(maps: Tensor, norm: nn.BatchNorm2d, length: int) -> Tensor:
    """Batch normalisation of maps (T B, H, W, C) with the statistics of one step at a time."""
    steps = maps.unflatten(0, (length, -1)).float()  # (T, B, H, W, C)
    count = steps.shape[1] * steps.shape[2] * steps.shape[3]
    variance, mean = torch.var_mean(steps, (1, 2, 3), correction=0)  # (T, C)
    with torch.no_grad():
        for step in range(length):
            norm.running_mean.lerp_(mean[step], norm.momentum)
            norm.running_var.lerp_(variance[step] * (count / (count - 1)), norm.momentum)
    scale = torch.rsqrt(variance + norm.eps) * norm.weight
    shift = norm.bias - mean * scale
    steps = steps * scale[:, None, None, None] + shift[:, None, None, None]
    return steps.flatten(0, 1).to(maps.dtype)


@compiled
def encode(network: nn.Sequential, patches: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """Features (T B, 32) of patches (T B, 32, 32, 48)."""
    (first, *middle, last), norms = list_layers(network)
    maps = F.linear(patches, first.weight.flatten(1).to(dtype), first.bias.to(dtype))
    maps = F.leaky_relu(normalise(maps, norms[0], length))
    for layer, norm in zip(middle, norms[1:], strict=True):
        maps = F.leaky_relu(normalise(convolve(maps, layer, dtype), norm, length))
    weight = last.weight.permute(0, 2, 3, 1).flatten(1)  # (32, 4 x 4 x C)
    return F.leaky_relu(F.linear(maps.flatten(1), weight.to(dtype), last.bias.to(dtype)))


@compiled
def decode(network: nn.Sequential, latents: Tensor, length: int, dtype: torch.dtype) -> Tensor:
    """Mean frames (T B, 64, 64, 3) of latents (T B, 40)."""
    (first, *middle, last), norms = list_layers(network)
    hidden = F.relu(network[0](latents)).to(dtype)
    weight = first.weight.permute(0, 2, 3, 1).flatten(1)  # (40, 4 x 4 x C)
    maps = (hidden @ weight.to(dtype)).unflatten(1, (4, 4, -1)) + first.bias.to(dtype)
    maps = F.relu(normalise(maps, norms[0], length))
    for layer, norm in zip(middle, norms[1:], strict=True):
        maps = F.relu(normalise(convolve(maps, layer, dtype), norm, length))
    return torch.sigmoid(paint(maps, last, dtype))


@compiled
def score(frames: Tensor, means: Tensor) -> Tensor:
    """Log-likelihoods (T, B) without their constant, of bytes (T, B, 3, 64, 64) and means."""
    values = frames.flatten(0, 1).permute(0, 2, 3, 1).float() * (1 / 255)
    squared = (values - means).square().flatten(1).sum(1)
    return (squared * (-0.5 / VARIANCE)).unflatten(0, frames.shape[:2])


@compiled
def filter_codes(model: nn.Module, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (T, B, K d) and KL (B,) of features (T, B, 32) and noise (T, B, K d)."""
    from unbraid.distributions import DiagonalGaussian, kl

    prior = DiagonalGaussian(torch.zeros_like(noise[0]), torch.zeros_like(noise[0]))
    latents, divergences = [], []
    for seen, drawn in zip(features, noise, strict=True):
        if latents:
            prior = model.prior(latents[-1])
        # The posterior may use the prediction; only the KL term may shape it.
        posterior = model.posterior(seen, prior.detach())
        latents.append(posterior.draw(drawn))
        divergences.append(kl(posterior, prior))
    return torch.stack(latents), torch.stack(divergences).sum(0)


def losses(
    model: nn.Module,
    frames: Tensor,
    noise: Tensor,
    kl_weight: float | Tensor = 1.0,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Minus the bound per frame; and its log-likelihood and KL in nats per frame, (2,).

    frames: bytes (T, B, 3, 64, 64). noise: (T, B, K d). The loss leaves out the likelihood's
    constant, which has no gradient; the other two numbers have it.
    """
    length = len(frames)
    patches = to_patches(frames.flatten(0, 1), dtype)
    features = encode(model.encoder, patches, length, dtype).float()
    features = features.unflatten(0, frames.shape[:2])  # (T, B, 32)
    latents, divergence = filter_codes(model, features, noise)
    means = decode(model.decoder, latents.flatten(0, 1), length, dtype)
    likelihood = score(frames, means).sum(0)  # (B,)
    loss = -(likelihood - kl_weight * divergence).mean() / length
    per_frame = torch.stack([likelihood.detach().mean(), divergence.detach().mean()]) / length
    return loss, torch.stack([per_frame[0].double() + CONSTANT, per_frame[1].double()])


# ---- training


def say(*words: object) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.perf_counter() - STARTED:6.1f}]", *words, flush=True)


class Run:
    """A training on one GPU, and what a call leaves to the next.

    A subclass has draw_losses(), `losses` of a new batch and new noise, and prepare(), which sets
    what changes from one chunk of updates to the next.
    """

    def __init__(self, options: argparse.Namespace, model: nn.Module, rate: float | Tensor):
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # in TF32, of which 10 bits are exact
        self.options = options
        self.model = model.cuda().train().to(memory_format=torch.channels_last)
        weights = self.model.parameters()
        self.optimizer = torch.optim.Adam(weights, lr=rate, fused=True, capturable=True)
        self.totals = torch.zeros(2, dtype=torch.float64, device="cuda")  # of the next row
        self.step, self.seconds, self.rows = 0, 0.0, []  # seconds of updates alone, over all calls
        torch.manual_seed(1000 + options.seed)
        if options.state.exists():
            state = torch.load(options.state, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.cuda.set_rng_state(state["generator"])
            vars(self).update(state["kept"])
            say("goes on at", self.step)

    def prepare(self) -> None:
        """Nothing changes."""

    def update(self) -> None:
        """One update of the weights; adds log-likelihood and KL to `totals`."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, means = self.draw_losses()
        loss.backward()
        self.optimizer.step()
        self.totals.add_(means)

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
        options, since = self.options, 0
        if self.step < options.steps:
            self.prepare()
            graph = self.record()
        deadline = STARTED + options.seconds - RESERVE
        while self.step < options.steps and time.perf_counter() < deadline:
            self.prepare()
            count = min(CHUNK - self.step % CHUNK, options.steps - self.step)
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
            if self.step % ROW == 0:
                values = [self.seconds, likelihood - kl, likelihood, kl]
                self.rows.append([self.step, *[round(value, 4) for value in values]])
                say(*self.rows[-1])
                self.totals.zero_()
                since = 0
            if self.step % (20 * ROW) == 0:
                self.save()
        self.save()
        self.write()
        say("ended at", self.step)

    def save(self) -> None:
        """Write the state file; a call that is killed leaves the old one whole."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        state["generator"] = torch.cuda.get_rng_state()
        state["kept"] = {name: getattr(self, name) for name in ("step", "seconds", "rows")}
        part = self.options.state.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.options.state)

    def write(self) -> None:
        """Write the record, and the weights in half precision in files of at most 15 MiB."""
        options, parts, room = self.options, [], 0
        options.out.mkdir(parents=True, exist_ok=True)
        found = describe_run(options) | {"seed": options.seed, "steps": self.step}
        found |= {"seconds": round(self.seconds, 1), "device": torch.cuda.get_device_name()}
        versions = {"python": platform.python_version(), "torch": str(torch.__version__)}
        found |= {"versions": versions | {"numpy": np.__version__}, "precision": "bf16-mixed"}
        found |= {"columns": COLUMNS, "rows": self.rows}
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


class DigitsRun(Run):
    """The training of paper A's model on moving digits."""

    def __init__(self, options: argparse.Namespace, model: nn.Module):
        self.rate = torch.tensor(3e-4, device="cuda")  # where the recorded update reads it
        self.kl_weight = torch.tensor(1.0, device="cuda")
        super().__init__(options, model, self.rate)
        for group in self.optimizer.param_groups:  # A state file brings a rate of its own.
            group["lr"] = self.rate
        laws, self.digits = import_library("data.moving_digits"), load_digits().cuda()
        self.law = laws.circle if options.circle else laws.bounce
        self.speeds = torch.tensor(options.circle or [0.1, 0.1], device="cuda")[:, None]

    def prepare(self) -> None:
        """The rate falls by 1.5 % every 320 000 sequences; the KL term weighs as asked."""
        options = self.options
        self.rate.fill_(3e-4 * 0.985 ** (self.step * options.batch // 320000))
        shares, weights = zip(*options.kl, strict=True)
        self.kl_weight.fill_(float(np.interp(self.step / options.steps, shares, weights)))

    def draw_losses(self) -> tuple[Tensor, Tensor]:
        """As in `Run`."""
        count, length = self.options.batch, self.options.length
        frames = draw(self.digits, count, length, self.law, self.speeds)
        noise = torch.randn(length, count, 40, device="cuda")
        return losses(self.model, frames, noise, self.kl_weight, torch.bfloat16)


def describe_run(options: argparse.Namespace) -> dict[str, object]:
    """Section and run of the project's settings, and what is changed in them."""
    changes = {"factors": 2, "factor_size": 20}
    dataset, run = "bounce", "published"
    if options.circle:
        dataset, run = "circle", "published_circle"
        changes["speeds"] = options.circle
    if options.kl != UNWEIGHTED:
        run += "_weights"
        changes["kl_weight"] = options.kl
    if options.entangled:
        run += "_entangled"
        changes |= {"factors": 1, "factor_size": 40}
    if options.length != 5:
        changes["length"] = options.length
    return {"section": f"independent.{dataset}.{run}", "run": run, "changes": changes}


def start_model(options: argparse.Namespace) -> nn.Module:
    """The library's model with its initial weights."""
    library = import_library("models.independent")
    sizes = {"factors": 1, "factor_size": 40} if options.entangled else {}
    torch.manual_seed(options.seed)
    return library.IndependentPrediction(library.IndependentPredictionConfig(**sizes))


def read_numbers(text: str) -> list[float]:
    """Numbers between commas."""
    return [float(part) for part in text.split(",")]


def read_knots(text: str) -> list[list[float]]:
    """Knots [share of the updates, weight], written share:weight, between commas."""
    return [read_numbers(part.replace(":", ",")) for part in text.split(",")]


def read_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=500, help="the whole call may take")
    parser.add_argument("--steps", type=int, default=200000, help="updates in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=100, help="sequences of an update")
    parser.add_argument("--length", type=int, default=5, help="frames of a sequence")
    parser.add_argument("--entangled", action="store_true", help="one factor of 40 units")
    parser.add_argument("--circle", type=read_numbers, help="two speeds in rad, e.g. 0.5,-0.9")
    parser.add_argument("--kl", type=read_knots, default=UNWEIGHTED, help="e.g. 0:.1,.1:1,.5:4")
    parser.add_argument("--state", type=Path, default=Path("/tmp/a_state.pt"), help="to go on from")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "/tmp/a_out")))
    parser.add_argument("--name", default="a", help="with which the files begin")
    return parser.parse_args()


def main() -> None:
    """Train, or go on training, and write weights and the curve."""
    options = read_options()
    DigitsRun(options, start_model(options)).train()


if __name__ == "__main__":
    main()
