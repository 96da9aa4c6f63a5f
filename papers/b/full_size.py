"""Paper B's model at its own size, trained on one GPU: all 178 poses of the sprites, 64 x 64.

This is a second, faster writing of `UnorderedFrames.elbo` that only makes the weights that ship;
the lesson and every measurement use the library's own. Channels come last, the first and the last
layer are matrix products, the rest is compiled, and a whole update, with its data and its noise, is
recorded as one CUDA graph. tests/test_full_size.py compares it with the library's.

The file runs in the clone, or alone beside lib/ and sprites-li/, and needs torch, NumPy, Pillow and
safetensors. `python full_size.py --seconds 560` trains so long, and goes on when called again.
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
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

STARTED = time.perf_counter()
HERE = Path(__file__).resolve().parent
ROOT = HERE if (HERE / "lib").is_dir() else HERE.parent.parent  # of lib/
COLUMNS = ["step", "seconds", "elbo_per_frame", "log_likelihood_per_frame", "kl_per_frame"]

LAYERS = ("body", "bottomwear", "topwear", "hair")  # of a character, which shoes/1 completes
SLOPE = 0.2  # of all leaky ReLUs below 0
WARM_UP, CHUNK, ROW = 4, 125, 500  # updates before the recording, between two clocks, of a row
RESERVE = 12  # seconds for the files


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


def draw_characters(numbers: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The cells of each character, (characters, cells, 3, 64, 64) bytes: layers over black.

    cells: row x 13 + column of the artists' sheets.
    """
    folder, strips = find_folder("sprites-li"), {}
    for name in [f"{layer}/{k}" for layer, k in product(LAYERS, range(6))] + ["shoes/1"]:
        with Image.open(folder / f"{name}.png") as image:
            sheet = np.array(image.convert("RGBA")).reshape(21, 64, 13, 64, 4)
        strips[name] = Image.fromarray(sheet[cells // 13, :, cells % 13].reshape(-1, 64, 4))
    frames = np.empty((len(numbers), len(cells), 3, 64, 64), np.uint8)
    for row, number in enumerate(numbers):
        canvas = Image.new("RGBA", (64, 64 * len(cells)), "black")
        for layer, k in zip(LAYERS, np.unravel_index(number, (6, 6, 6, 6)), strict=True):
            canvas = Image.alpha_composite(canvas, strips[f"{layer}/{k}"])
        canvas = Image.alpha_composite(canvas, strips["shoes/1"])
        frames[row] = np.asarray(canvas)[..., :3].reshape(-1, 64, 64, 3).transpose(0, 3, 1, 2)
    return frames


def compose(numbers: np.ndarray, cells: np.ndarray) -> Tensor:
    """The same as a tensor, drawn by several processes."""
    workers = max(1, min(14, (os.cpu_count() or 2) - 2))
    parts = np.array_split(numbers, 4 * workers)
    with ProcessPoolExecutor(workers) as pool:
        drawn = list(pool.map(partial(draw_characters, cells=cells), parts))
    return torch.from_numpy(np.concatenate(drawn))


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


@compiled
def encode(network: nn.Sequential, patches: Tensor, dtype: torch.dtype) -> Tensor:
    """Features (N, 256, 4, 4) in 32 bits of patches (N, 32, 32, 48)."""
    first, *rest = (layer for layer in network if isinstance(layer, nn.Conv2d))
    maps = F.linear(patches, first.weight.flatten(1).to(dtype), first.bias.to(dtype))
    maps = F.leaky_relu(maps, SLOPE)
    for layer in rest:
        maps = F.leaky_relu(convolve(maps, layer, dtype), SLOPE)
    return maps.permute(0, 3, 1, 2).float().contiguous()


@compiled
def decode(decoder: nn.Module, f: Tensor, z: Tensor, dtype: torch.dtype) -> Tensor:
    """Logits (N, 64, 64, 3) of f (N, 512) and z (N, 2)."""
    first = decoder.first
    maps = F.linear(torch.cat([f, z], 1).to(dtype), first.weight.to(dtype), first.bias.to(dtype))
    maps = F.leaky_relu(maps, SLOPE).unflatten(1, (-1, 4, 4)).permute(0, 2, 3, 1)
    for layer in decoder.stages:
        maps = F.leaky_relu(convolve(maps, layer, dtype), SLOPE)
    return paint(maps, decoder.last, dtype)


@compiled
def score(frames: Tensor, logits: Tensor) -> Tensor:
    """Log-likelihoods (N,) in nats, Bernoulli, of bytes (N, 3, 64, 64) and logits."""
    values = frames.permute(0, 2, 3, 1).float() * (1 / 255)
    return -(F.softplus(logits) - logits * values).flatten(1).sum(1)


def losses(
    model: nn.Module,
    frames: Tensor,
    noise: dict[str, Tensor],
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """Minus the bound per frame; and its log-likelihood and KL in nats per frame, (2,).

    frames: bytes (B, T, 3, 64, 64). noise: as `UnorderedFrames.draw_noise`. The encoders behind the
    convolutions and the prior are the library's own, in 32 bits.
    """
    from unbraid.distributions import kl, standard_normal_like

    count, length = frames.shape[:2]
    flat = frames.flatten(0, 1)
    features = encode(model.trunk, to_patches(flat, dtype), dtype)
    features = features.unflatten(0, (count, length))  # (B, T, 256, 4, 4)
    static = model.static_encoder(features)
    f = static.draw(noise["static"])  # (B, 512)
    dynamic = model.dynamic_posterior(features, f)
    z = dynamic.draw(noise["dynamic"])  # (B, T, 2)
    divergence = kl(static, standard_normal_like(f)) + kl(dynamic, model.prior(f)).sum(1)

    by_frame = f[:, None].expand(-1, length, -1).flatten(0, 1)
    logits = decode(model.decoder, by_frame, z.flatten(0, 1), dtype)
    likelihood = score(flat, logits).unflatten(0, (count, length)).sum(1)
    loss = -(likelihood - divergence).mean() / length
    per_frame = torch.stack([likelihood.detach().mean(), divergence.detach().mean()]) / length
    return loss, per_frame.double()


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


class PosesRun(Run):
    """The training of paper B's model on all poses of characters, bytes (P, 178, 3, 64, 64)."""

    def __init__(self, options: argparse.Namespace, model: nn.Module):
        sprites = import_library("data.sprites")
        cells = np.array([pose.cell for pose in sprites.POSES])
        people = compose(sprites.characters("train"), cells)  # by processes that know no GPU
        super().__init__(options, model, options.rate)
        self.people = people.cuda()

    def draw_losses(self) -> tuple[Tensor, Tensor]:
        """As in `Run`: characters with replacement, of each some poses without."""
        count, length = self.options.batch, self.options.frames
        rows = torch.randint(len(self.people), (count,), device="cuda")
        poses = torch.rand(count, 178, device="cuda").topk(length, 1).indices
        noise = {
            "static": torch.randn(count, 512, device="cuda"),
            "dynamic": torch.randn(count, length, 2, device="cuda"),
        }
        frames = self.people[rows[:, None], poses]
        return losses(self.model, frames, noise, torch.bfloat16)


def describe_run(options: argparse.Namespace) -> dict[str, object]:
    """Section and run of the project's settings, and what is changed in them."""
    run, changes = "published", {}
    if options.no_pairs:
        run += "_no_pairs"
        changes["pairs"] = False
    if options.free_prior:
        run += "_free_prior"
        changes["prior_given_static"] = False
    if options.rate != 1e-4:
        changes["learning_rate"] = options.rate
    if options.frames != 10:
        changes["length"] = options.frames
    return {"section": f"unordered.sprites_poses.{run}", "run": run, "changes": changes}


def start_model(options: argparse.Namespace) -> nn.Module:
    """The library's model with its initial weights."""
    library = import_library("models.unordered")
    choices = {"pairs": not options.no_pairs, "prior_given_static": not options.free_prior}
    torch.manual_seed(options.seed)
    return library.UnorderedFrames(library.UnorderedFramesConfig(**choices))


def read_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=500, help="the whole call may take")
    parser.add_argument("--steps", type=int, default=43000, help="updates in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=120, help="characters of an update")
    parser.add_argument("--frames", type=int, default=10, help="drawn of each character")
    parser.add_argument("--rate", type=float, default=1e-4, help="of Adam")
    parser.add_argument("--no-pairs", action="store_true", help="each frame with itself alone")
    parser.add_argument("--free-prior", action="store_true", help="z from N(0, I)")
    parser.add_argument("--state", type=Path, default=Path("/tmp/b_state.pt"), help="to go on from")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "/tmp/b_out")))
    parser.add_argument("--name", default="b", help="with which the files begin")
    return parser.parse_args()


def main() -> None:
    """Train, or go on training, and write weights and the curve."""
    options = read_options()
    PosesRun(options, start_model(options)).train()


if __name__ == "__main__":
    main()
