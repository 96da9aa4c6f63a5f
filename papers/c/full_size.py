"""Paper C's model at its own size, trained on one GPU: Sprites, 64 x 64.

This is a second, faster writing of `SingleElement.elbo` that only makes the weights that ship; the
lesson and every measurement use the library's own. Channels come last, the first and the last
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
VARIANCE = 0.5
CONSTANT = -0.5 * 3 * 64 * 64 * math.log(2 * math.pi * VARIANCE)  # of the likelihood, per frame
RECONSTRUCTION = 5.0  # the released weight of the log-likelihood; all others are 1
MARKS = (1000, 3500, 5000, 10000, *range(20000, 140000, 20000))
WARM_UP, CHUNK, ROW = 4, 250, 1000  # updates before the recording, between two clocks, of a row
RESERVE = 20  # seconds for the last measurement and the files


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


def list_layers(network: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """Its convolutions, and its layers of batch normalisation."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convolutions = [layer for layer in network if isinstance(layer, kinds)]
    return convolutions, [layer for layer in network if isinstance(layer, nn.BatchNorm2d)]


def normalise(maps: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """Batch normalisation of maps (N, H, W, C), which moves the running statistics."""
    given = norm.running_mean, norm.running_var, norm.weight, norm.bias
    maps = F.batch_norm(maps.permute(0, 3, 1, 2), *given, True, norm.momentum, norm.eps)
    return maps.permute(0, 2, 3, 1)


@compiled
def encode(network: nn.Sequential, patches: Tensor, dtype: torch.dtype) -> Tensor:
    """Features (N, 256) of patches (N, 32, 32, 48)."""
    (first, *middle, last), norms = list_layers(network)
    maps = F.linear(patches, first.weight.flatten(1).to(dtype), first.bias.to(dtype))
    maps = F.leaky_relu(normalise(maps, norms[0]), 0.2)
    for layer, norm in zip(middle, norms[1:-1], strict=True):
        maps = F.leaky_relu(normalise(convolve(maps, layer, dtype), norm), 0.2)
    weight = last.weight.permute(0, 2, 3, 1).flatten(1)  # (256, 4 x 4 x C)
    features = F.linear(maps.flatten(1), weight.to(dtype), last.bias.to(dtype))
    return torch.tanh(normalise(features[:, None, None], norms[-1]).flatten(1))


@compiled
def decode(network: nn.Sequential, codes: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean frames (N, 64, 64, 3) of codes (N, 512)."""
    (first, *middle, last), norms = list_layers(network)
    weight = first.weight.permute(0, 2, 3, 1).flatten(1)  # (512, 4 x 4 x C)
    maps = (codes @ weight.to(dtype)).unflatten(1, (4, 4, -1)) + first.bias.to(dtype)
    maps = F.leaky_relu(normalise(maps, norms[0]), 0.2)
    for layer, norm in zip(middle, norms[1:], strict=True):
        maps = F.leaky_relu(normalise(convolve(maps, layer, dtype), norm), 0.2)
    return torch.sigmoid(paint(maps, last, dtype))


@compiled
def score(frames: Tensor, means: Tensor) -> Tensor:
    """Log-likelihoods (B, T) without their constant, of bytes (B, T, 3, 64, 64) and means."""
    values = frames.flatten(0, 1).permute(0, 2, 3, 1).float() * (1 / 255)
    squared = (values - means).square().flatten(1).sum(1)
    return (squared * (-0.5 / VARIANCE)).unflatten(0, frames.shape[:2])


def run_lstm(network: nn.LSTM, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    """The outputs (B, T, ...) of an LSTM, computed in `dtype`, in 32 bits."""
    if dtype == torch.float32:
        return network(inputs)[0]
    with torch.autocast("cuda", dtype):
        return nn.LSTM.forward(network, inputs)[0].float()


def losses(
    model: nn.Module,
    frames: Tensor,
    noise: dict[str, Tensor],
    twice: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """The released loss per frame; and log-likelihood and KL of the bound in nats per frame, (2,).

    frames: bytes (B, T, 3, 64, 64). noise: as `SingleElement.draw_noise`. twice: whether the anchor
    is decoded once more, with batch statistics of its own, as the authors' code does. The loss
    leaves out the likelihood's constant, which has no gradient; the other two numbers have it.
    """
    from unbraid.distributions import kl, standard_normal_like

    count, length = frames.shape[:2]
    patches = to_patches(frames.flatten(0, 1), dtype)
    features = encode(model.codec.encoder, patches, dtype).float()
    features = features.unflatten(0, (count, length))  # (B, T, 256)

    static = model.static_head(features[:, 0])
    inputs = torch.cat([noise["anchor"][:, None], features[:, 1:] - features[:, :1]], 1)
    dynamic = model.dynamic_encoder.head(run_lstm(model.dynamic_encoder.recurrent, inputs, dtype))
    s, d = static.draw(noise["static"]), dynamic.draw(noise["dynamic"])  # (B, 256), (B, T, 256)
    prior = model.prior.head(run_lstm(model.prior.recurrent, F.pad(d, (0, 0, 1, -1)), dtype))
    divergence = kl(static, standard_normal_like(s)) + kl(dynamic, prior).sum(1)

    codes = torch.cat([d, s[:, None].expand(-1, length, -1)], 2).to(dtype)
    means = decode(model.codec.decoder, codes.flatten(0, 1), dtype)
    by_frame = score(frames, means)
    anchor = by_frame[:, 0]
    if twice:
        means = decode(model.codec.decoder, codes[:, 0], dtype)
        anchor = score(frames[:, :1], means)[:, 0]

    likelihood = by_frame.sum(1)
    loss = -(RECONSTRUCTION * likelihood + anchor - divergence).mean() / length
    per_frame = torch.stack([likelihood.detach().mean(), divergence.detach().mean()]) / length
    return loss, torch.stack([per_frame[0].double() + CONSTANT, per_frame[1].double()])


# ---- what is measured at the marks


@torch.no_grad()
def measure(model: nn.Module, clips: Tensor, numbers: np.ndarray) -> dict[str, float]:
    """Swaps of all test clips with random donors, named by the nearest of all test clips.

    clips: bytes (9 N, 8, 3, 64, 64), the motions of each of the characters `numbers` (N,). What is
    decoded has the clip's d and its donor's s. "direction_with_d" is the share that shows the
    clip's direction, of pairs with different directions; the other shares likewise.
    """
    donors = torch.randperm(len(clips), generator=torch.Generator().manual_seed(1)).to(clips.device)
    values = clips.flatten(1).float() / 255
    center = values.mean(0)
    values = values - center
    lengths = values.square().sum(1)
    codes = [model.encode(batch.float() / 255) for batch in clips.split(128)]
    lent = torch.cat([code["static"] for code in codes])[donors].split(128)
    nearest, errors = [], []
    for code, static, true in zip(codes, lent, values.split(128), strict=True):
        swapped = model.decode(code | {"static": static}).flatten(1) - center
        nearest.append((lengths - 2 * swapped @ values.T).argmin(1))
        errors.append((model.decode(code).flatten(1) - center - true).square().sum(1))
    nearest = torch.cat(nearest)

    motion = torch.arange(9, device=clips.device).repeat(len(numbers))
    names = torch.from_numpy(np.stack([numbers, *np.unravel_index(numbers, (6, 6, 6, 6))]))
    character, *clothes = names.to(clips.device).repeat_interleave(9, 1)
    is_true = (motion[nearest] == motion) & (character[nearest] == character[donors])
    found = {"nearest": is_true.float()}
    moving = {"direction": motion % 3, "action": motion // 3}
    staying = dict(zip(("skin", "trousers", "top", "hair"), clothes, strict=True))
    for name, label in (moving | staying).items():
        differ = label != label[donors]
        if name in moving:
            found[f"{name}_with_d"] = (label[nearest] == label)[differ].float()
        if name != "action":
            found[f"{name}_with_s"] = (label[nearest] == label[donors])[differ].float()
    found["squared_error_per_frame"] = torch.cat(errors) / clips.shape[1]
    return {name: round(value.mean().item(), 4) for name, value in found.items()}


# ---- training


def say(*words: object) -> None:
    """Print a line with the seconds since the start."""
    print(f"[{time.perf_counter() - STARTED:6.1f}]", *words, flush=True)


def set_short_products(allowed: bool) -> None:
    """Whether products of 32-bit numbers may be made in TF32, of which 10 bits are exact."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


class SpritesRun:
    """The training of paper C's model on clips, bytes (N, 8, 3, 64, 64), on one GPU.

    test_clips: nine of each of the characters `numbers`. checks: what is measured, by the update.
    """

    kept = ("step", "seconds", "rows", "checks")  # what a call leaves to the next

    def __init__(self, options: argparse.Namespace, model: nn.Module):
        sprites = import_library("data.sprites")
        cells = np.array([sprites.POSES[pose].cell for pose in sprites.MOTION_POSES.flatten()])
        self.numbers = sprites.characters("test")
        people = sprites.characters("train")[: options.people], self.numbers
        # Composed by processes that know no GPU.
        clips = [compose(part, cells).reshape(-1, 8, 3, 64, 64) for part in people]
        self.train_clips, self.test_clips = (part.cuda() for part in clips)
        torch.backends.cudnn.benchmark = True
        set_short_products(True)
        self.options = options
        self.model = model.cuda().train().to(memory_format=torch.channels_last)
        weights = self.model.parameters()
        self.optimizer = torch.optim.Adam(weights, lr=2e-3, fused=True, capturable=True)
        self.totals = torch.zeros(2, dtype=torch.float64, device="cuda")  # of the next row
        self.step, self.seconds, self.rows = 0, 0.0, []  # seconds of updates alone, over all calls
        self.checks: dict[int, dict[str, float]] = {}
        torch.manual_seed(1000 + options.seed)
        if options.state.exists():
            state = torch.load(options.state, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.cuda.set_rng_state(state["generator"])
            vars(self).update(state["kept"])
            say("goes on at", self.step)

    def draw_losses(self) -> tuple[Tensor, Tensor]:
        """`losses` of a new batch and new noise."""
        count = self.options.batch
        rows = torch.randint(len(self.train_clips), (count,), device="cuda")
        noise = {
            "static": torch.randn(count, 256, device="cuda"),
            "dynamic": torch.randn(count, 8, 256, device="cuda"),
            "anchor": torch.randn(count, 256, device="cuda"),
        }
        frames, twice = self.train_clips[rows], self.options.twice
        return losses(self.model, frames, noise, twice, torch.bfloat16)

    def look(self) -> None:
        """`measure`, with exact products."""
        set_short_products(False)
        self.checks[self.step] = measure(self.model.eval(), self.test_clips, self.numbers)
        self.model.train()
        set_short_products(True)
        say(self.checks[self.step])

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
            graph = self.record()
        deadline = STARTED + options.seconds - RESERVE
        while self.step < options.steps and time.perf_counter() < deadline:
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
            if self.step in MARKS:
                self.look()
                self.save()
        if self.step not in self.checks:
            self.look()
        self.save()
        self.write()
        say("ended at", self.step)

    def save(self) -> None:
        """Write the state file; a call that is killed leaves the old one whole."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        state["generator"] = torch.cuda.get_rng_state()
        state["kept"] = {name: getattr(self, name) for name in self.kept}
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


def describe_run(options: argparse.Namespace) -> dict[str, object]:
    """Section and run of the project's settings, and what is changed in them."""
    changes = {"anchor_alone": options.twice}
    if options.people != 1000:
        changes["people"] = options.people
    section = "single_element.sprites.published"
    return {"section": section, "run": "published", "changes": changes}


def start_model(options: argparse.Namespace) -> nn.Module:
    """The library's model with its initial weights."""
    library = import_library("models.single_element")
    torch.manual_seed(options.seed)
    return library.SingleElement(library.SingleElementConfig(anchor_alone=options.twice))


def read_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=500, help="the whole call may take")
    parser.add_argument("--steps", type=int, default=140000, help="updates in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=128, help="clips of an update")
    parser.add_argument("--people", type=int, default=1000, help="characters to train on")
    parser.add_argument("--twice", action="store_true", help="decode the anchor a second time")
    parser.add_argument("--state", type=Path, default=Path("/tmp/c_state.pt"), help="to go on from")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "/tmp/c_out")))
    parser.add_argument("--name", default="c", help="with which the files begin")
    return parser.parse_args()


def main() -> None:
    """Train, or go on training, and write weights, the curve and what was measured."""
    options = read_options()
    SpritesRun(options, start_model(options)).train()


if __name__ == "__main__":
    main()
