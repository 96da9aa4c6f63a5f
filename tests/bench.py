"""Speed of this machine, as ratios: `make bench`.

What is compared runs in turns, in random order, in one process, so that other work on the machine
slows all of it alike. A ratio is the reference's seconds by a method's, of the same turn; above 1
the method is faster. Measured are training steps against those of the papers' authors, what options
of a training give at `quick`, measures against NPEET and plain loops, and the machine's own peaks.

It writes results/bench.json, and docs/speed.md as tables of it. Frames are random numbers, so that
no data are needed. --size tiny proves in seconds that everything runs. --clock processor, with
OMP_NUM_THREADS=1, is for a machine that other work keeps busy.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from unbraid import store
from unbraid.measures.information import kraskov, ross
from unbraid.measures.intervals import bootstrap_interval
from unbraid.measures.leakage import leakage_matrix
from unbraid.models.base import Batch, SequenceModel

from papers import report, runs
from papers.settings import Settings
from papers.settings import load as load_settings
from tests import reference_measures as plain
from tests.reference_steps import IndependentStep, SingleElementStep, concatenate_pairs

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DIGITS = "independent.bounce.factored"
POSES = "unordered.sprites_poses"
SPRITES = "single_element.sprites"
SERIES = {
    "ETTh1": ("single_element.etth1.published", 28),  # windows of a sequence
    "air quality": ("single_element.air_quality.published", 28),
}


@dataclass(frozen=True)
class Method:
    """A way to do a piece of work.

    items: sequences of a call, of which the seconds are. precision: of the machine's peak that its
    operations are compared with; None: they are not counted.
    """

    name: str
    call: Callable[[], object]
    items: int = 1
    precision: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Methods for one piece of work, the reference first, and how many turns they get."""

    work: str
    methods: list[Method]
    turns: int


# ---- measuring


def measure(function: Callable[[], object], clock: str = "wall") -> float:
    """The seconds of a call by one of CLOCKS, until the device has finished."""
    read = CLOCKS[clock]
    begin = read()
    function()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return read() - begin


def take_turns(methods: list[Method], turns: int, clock: str = "wall", seed: int = 0) -> np.ndarray:
    """Seconds per item, (methods, turns); every turn calls all methods once, in random order."""
    generator = np.random.default_rng(seed)
    seconds = np.empty((len(methods), turns))
    for turn in range(turns):
        for number in generator.permutation(len(methods)):
            method = methods[number]
            seconds[number, turn] = measure(method.call, clock) / method.items
    return seconds


def quartiles(values: np.ndarray) -> list[float]:
    """The median between the quartiles, with four digits."""
    return [float(f"{value:.4g}") for value in np.quantile(values, [0.25, 0.5, 0.75])]


def count_gflop(function: Callable[[], object]) -> float:
    """The operations of a call in matrix products and convolutions, in units of 10^9."""
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # With oneDNN an LSTM is one operation, of which the counter knows nothing.
        with torch.backends.mkldnn.flags(enabled=False), counter:
            function()
    return counter.get_total_flops() / 1e9


def compare(comparison: Comparison, peaks: dict[str, float], clock: str = "wall") -> list[dict]:
    """A row for each method; one that fails, as torch.compile may, has the error in place of times.

    The first call is not counted. Its seconds, by the wall clock, are kept as `first_call`, because
    torch.compile compiles in it.
    """
    rows, working = [], []
    for method in comparison.methods:
        row = {"work": comparison.work, "method": method.name}
        try:
            row["first_call"] = float(f"{measure(method.call):.4g}")
            working.append(method)
        except Exception as error:  # whatever a compiler may raise
            if method is comparison.methods[0]:
                raise
            row["error"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        rows.append(row)
    seconds = take_turns(working, comparison.turns, clock)
    measured = [row for row in rows if "error" not in row]
    for method, row, own in zip(working, measured, seconds, strict=True):
        row |= {"seconds": quartiles(own), "ratio": quartiles(seconds[0] / own)}
        if method.precision:
            gflop = count_gflop(method.call) / method.items
            peak = max(peaks[f"{work}, {method.precision}"] for work in ("product", "convolution"))
            row["gflop"] = round(gflop, 3)
            row["share_of_peak"] = round(gflop / row["seconds"][1] / peak, 3)
    return rows


def measure_peaks(size: int, clock: str = "wall") -> dict[str, float]:
    """GFLOP/s of matrix products of `size`, and of a convolution of paper C, there and back."""
    peaks = {}
    frames = torch.randn(size // 32, 128, 16, 16, device=DEVICE)
    frames = frames.to(memory_format=torch.channels_last).requires_grad_()
    convolution = nn.Conv2d(128, 256, 4, 2, 1, device=DEVICE).to(memory_format=torch.channels_last)

    def convolve(kind: torch.dtype) -> None:
        with torch.autocast(DEVICE.type, kind, enabled=kind != torch.float32):
            outputs = convolution(frames)
        outputs.sum().backward()

    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.randn(size, size, device=DEVICE).to(kind)
        for work, call in (
            ("product", partial(torch.mm, matrix, matrix)),
            ("convolution", partial(convolve, kind)),
        ):
            seconds = np.median([measure(call, clock) for _ in range(12)][2:])
            peaks[f"{work}, {name}"] = float(f"{count_gflop(call) / seconds:.3g}")
    return peaks


# ---- training steps


def make_step(
    network: nn.Module,
    find_loss: Callable[[], torch.Tensor],
    bfloat16: bool = False,
    **adam: object,
) -> Callable[[], None]:
    """An update of a network by Adam with these options."""
    optimizer = torch.optim.Adam(network.parameters(), **{"lr": 1e-4} | adam)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bfloat16):
            loss = find_loss()
        loss.backward()
        optimizer.step()

    return step


def author_step(network: nn.Module, frames: torch.Tensor) -> Callable[[], None]:
    """An update as the authors make it."""
    network = network.to(DEVICE).train()
    return make_step(network, lambda: network(frames), lr=network.rate)


def our_step(
    settings: Settings,
    frames: torch.Tensor,
    model: SequenceModel | None = None,
    channels_last: bool = True,
    compiled: bool = False,
    **options: object,
) -> Callable[[], None]:
    """An update as `fit` makes it, without its log, of the settings' model or of another one."""
    model = (model or runs.build(settings, 0)).to(DEVICE).train()
    if channels_last:
        model.to(memory_format=torch.channels_last)
    weights = runs.term_weights(settings, settings.steps)
    called = torch.compile(model) if compiled else model

    def find_loss() -> torch.Tensor:
        noise = model.draw_noise(*frames.shape[:2])
        return called(frames, noise).loss(weights)

    return make_step(model, find_loss, **options)


def draw_frames(settings: Settings, count: int, length: int) -> torch.Tensor:
    """Random frames (count, length, C, H, W) of the size that a model reads."""
    size, generator = settings.image_size, torch.Generator().manual_seed(0)
    return torch.rand(count, length, 3, size, size, generator=generator).to(DEVICE)


def stage_channels(settings: Settings) -> tuple[int, ...]:
    """The channels of the convolutions that halve an image, as the authors' networks take them."""
    halvings = settings.image_size.bit_length() - 3
    return tuple(settings.width * 2**stage for stage in range(halvings))


def list_author_steps(tiny: bool) -> Iterator[Comparison]:
    """Our steps against the authors', at the papers' sizes and with smaller batches."""
    profile, turns = ("smoke", 2) if tiny else ("full", 7)
    settings = load_settings(DIGITS, profile)
    count = 2 if tiny else 12
    frames = draw_frames(settings, count, settings.length)
    sizes = settings.features, settings.factors, settings.factor_size, settings.hidden
    theirs = IndependentStep(stage_channels(settings), *sizes, settings.variance)
    yield compare_steps(f"A {profile}, {count} clips", settings, frames, theirs, turns)

    settings = load_settings(SPRITES, profile)
    count = 2 if tiny else 8
    frames = draw_frames(settings, count, 8)
    sizes = settings.features, settings.hidden, settings.static_size, settings.dynamic_size
    theirs = SingleElementStep(stage_channels(settings), *sizes)
    yield compare_steps(f"C {profile}, {count} clips", settings, frames, theirs, turns)

    sizes = [("smoke", 3, 2)] if tiny else [("quick", 4, 8), ("quick", 10, 8), ("full", 10, 2)]
    for profile, length, count in sizes:
        settings = load_settings(POSES, profile)
        frames = draw_frames(settings, count, length)
        stacked = our_step(settings, frames, concatenate_pairs(runs.build(settings, 0)))
        work = f"B {profile}, {count} sets of {length} frames"
        methods = [Method("stacked pairs", stacked, count, "float32")]
        yield Comparison(work, methods + our_methods(settings, frames), turns)


def compare_steps(
    work: str, settings: Settings, frames: torch.Tensor, theirs: nn.Module, turns: int
) -> Comparison:
    """The authors' step first, then ours."""
    call = author_step(theirs, frames)
    methods = [Method("authors, float32", call, len(frames), "float32")]
    return Comparison(work, methods + our_methods(settings, frames), turns)


def our_methods(settings: Settings, frames: torch.Tensor) -> list[Method]:
    """Our step in two precisions."""
    single = our_step(settings, frames)
    mixed = our_step(settings, frames, bfloat16=True)
    return [
        Method("ours, float32", single, len(frames), "float32"),
        Method("ours, bf16-mixed", mixed, len(frames), "bfloat16"),
    ]


def list_options(tiny: bool, compiled: bool) -> Iterator[Comparison]:
    """What options of a training give at `quick`, and by how much a larger batch is cheaper."""
    profile, turns = ("smoke", 2) if tiny else ("quick", 15)
    for paper, section, length in (("A", DIGITS, None), ("B", POSES, None), ("C", SPRITES, 8)):
        settings = load_settings(section, profile)
        count, length = settings.batch_size, length or settings.length
        frames = draw_frames(settings, count, length)
        larger = draw_frames(settings, 4 * count, length)
        step = partial(our_step, settings, frames)
        methods = [
            Method("as fit has it", step(), count),
            Method("bf16-mixed", step(bfloat16=True), count),
            Method("Adam, fused", step(fused=True), count),
            Method("Adam, foreach", step(foreach=True), count),
            Method("without channels_last", step(channels_last=False), count),
            Method("batches four times as large", our_step(settings, larger), 4 * count),
        ]
        if compiled:
            methods.append(Method("torch.compile", step(compiled=True), count))
        yield Comparison(f"options, {paper} {profile}, batches of {count}", methods, turns)


def list_series(tiny: bool) -> Iterator[Comparison]:
    """The released networks of series, which encode a batch once, against once for every draw."""
    for name, (section, windows) in SERIES.items():
        settings = load_settings(section, "smoke" if tiny else "full")
        model = runs.build(settings, 0).to(DEVICE)
        weights = runs.term_weights(settings, settings.steps)
        count, draws = 2, settings.monte_carlo_draws
        shape = count, windows * settings.window, settings.channels
        series = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(DEVICE)
        repeated = series.repeat(draws, 1, 1)
        noise = model.draw_noise(draws * count, windows)

        def find_loss(
            is_training: bool,
            batch: torch.Tensor,
            model: SequenceModel = model,
            noise: dict = noise,
            weights: dict = weights,
        ) -> torch.Tensor:
            # In evaluation a batch is read as it is. Nothing else differs in these networks.
            return model.train(is_training)(Batch(batch), noise).loss(weights)

        every = make_step(model, partial(find_loss, False, repeated))
        once = make_step(model, partial(find_loss, True, series))
        methods = [Method("encodes every draw", every, count), Method("ours", once, count)]
        yield Comparison(f"series, {name}, {count} x {draws} draws", methods, 2 if tiny else 5)


# ---- measures


def list_measures(tiny: bool) -> Iterator[Comparison]:
    """Our measures against NPEET and against plain loops."""
    generator = np.random.default_rng(0)
    sizes = [(200, 1), (200, 20)]
    if not tiny:
        sizes = [(1000, 1), (1000, 5), (1000, 20), (5000, 5), (10_000, 1), (10_000, 20)]
    for count, units in sizes:
        x = generator.normal(size=(count, units))
        y = 0.5 * x + generator.normal(size=x.shape)
        labels = generator.integers(5, size=count)
        informed = x + labels[:, None]
        turns = 2 if tiny else max(3, 30_000 // count)
        shape = f"{count} x {units}"
        theirs = Method("NPEET, mi", partial(plain.npeet_mi, x, y))
        yield Comparison(
            f"Kraskov, {shape}", [theirs, Method("ours", partial(kraskov, x, y))], turns
        )
        theirs = Method("NPEET, micd", partial(plain.npeet_micd, informed, labels))
        ours = Method("ours", partial(ross, informed, labels))
        yield Comparison(f"Ross, {shape}", [theirs, ours], turns)

    count, turns = (200, 2) if tiny else (1000, 9)
    values = generator.normal(size=count)
    methods = [
        Method("loop, percentiles", partial(plain.bootstrap_by_loop, values)),
        Method("ours, BCa", partial(bootstrap_interval, values)),
    ]
    yield Comparison(f"bootstrap of a mean, {count} rows, 2000 draws", methods, turns)
    codes = {name: generator.normal(size=(count, 32)) for name in ("static", "dynamic")}
    factors = {f"factor {number}": generator.integers(6, size=count) for number in range(6)}
    methods = [
        Method("loop, accuracies alone", partial(plain.leakage_by_loop, codes, factors)),
        Method("ours, with limits and p-values", partial(leakage_matrix, codes, factors)),
    ]
    yield Comparison(f"leakage, 2 codes of 32 units, 6 factors, {count} rows", methods, turns)


# ---- the record and its page

CAVEATS = {  # by the clock: what other work on the machine does to the numbers
    "wall": "With more processes than cores all times are too long, and peaks too low; ratios are "
    "of work that was slowed alike.",
    "processor": "Times are therefore seconds of the processor, of one thread, in which the others "
    "are not counted; they still share its caches and its clock rate.",
}


def render_page(record: dict) -> str:
    """docs/speed.md: the tables of a record of the bench."""
    parts = [
        "# Speed",
        f"This page is written by `{record['command']}` from `results/bench.json`. "
        "What is compared ran in turns in one process. A ratio is the reference's time by a "
        "method's of the same turn: above 1 the method is faster. Each number is a median, with "
        "the quartiles in brackets. Times are those of one sequence, of a measure those of a call.",
        f"Machine: {record['machine']}; PyTorch {record['versions']['torch']}. "
        "Its peaks in GFLOP/s: "
        + ", ".join(f"{name} {value:g}" for name, value in record["peaks"].items())
        + ". GFLOP are those of products and convolutions in an update, there and back, for one "
        "sequence. Their share of the peak is that of the higher one in a method's own precision.",
    ]
    if loads := record["loads"]:
        parts.append(
            f"While it ran, {min(loads):g} to {max(loads):g} processes wanted one of the machine's "
            f"{record['cores']} cores. {CAVEATS[record['clock']]}"
        )
    for work in dict.fromkeys(row["work"] for row in record["rows"]):
        rows = [row for row in record["rows"] if row["work"] == work]
        heads = ("method", "ratio", "milliseconds", "GFLOP", "share of the peak")
        lines = [heads, ("---",) * len(heads)]
        for row in rows:
            if "error" in row:
                lines.append((row["method"], "–", f"failed: {row['error']}", "", ""))
                continue
            cells = [format_quartiles(row["ratio"], 1), format_quartiles(row["seconds"], 1000)]
            arithmetic = ("", "")
            if "gflop" in row:
                arithmetic = (f"{row['gflop']:.3g}", f"{row['share_of_peak']:.0%}")
            lines.append((row["method"], *cells, *arithmetic))
        parts += [f"## {work}", store.markdown_table(lines)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def format_quartiles(values: list[float], factor: float) -> str:
    """ "median [first, third]", with three digits each."""
    low, middle, high = (f"{factor * value:.3g}" for value in values)
    return f"{middle} [{low}, {high}]"


def describe_machine() -> str:
    """The processor and what it computes with, or the GPU."""
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{report.describe_cpu()}, {torch.backends.cpu.get_cpu_capability()}"


def run_bench(tiny: bool, compiled: bool, clock: str) -> dict:
    """Measure all, print each row when it is there, and return the record."""
    peaks = measure_peaks(128 if tiny else 2048, clock)
    options = (" --size tiny" if tiny else "") + ("" if compiled else " --no-compile")
    options += "" if clock == "wall" else f" --clock {clock}"
    record = {
        "command": f"python -m tests.bench{options}",
        "machine": describe_machine(),
        "versions": report.read_versions(),
        "clock": clock,
        "cores": os.cpu_count(),
        "loads": [],  # of the machine, after each comparison
        "peaks": peaks,
        "rows": [],
    }
    print(f"{record['machine']}; GFLOP/s: {peaks}\n", flush=True)
    comparisons = (list_author_steps(tiny), list_options(tiny, compiled), list_series(tiny))
    for kind in (*comparisons, list_measures(tiny)):
        for comparison in kind:
            print(comparison.work, flush=True)
            for row in compare(comparison, peaks, clock):
                record["rows"].append(row)
                print_row(row)
            if hasattr(os, "getloadavg"):  # not on Windows
                record["loads"].append(round(os.getloadavg()[0], 1))
    return record


def print_row(row: dict) -> None:
    """A method on one line."""
    text = row.get("error")
    if text is None:
        ratio = format_quartiles(row["ratio"], 1)
        text = f"{ratio:24}{format_quartiles(row['seconds'], 1000)} ms"
        if "gflop" in row:
            text += f", {row['gflop']:.3g} GFLOP, {row['share_of_peak']:.0%} of the peak"
    print(f"  {row['method']:32}{text}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--size", choices=("tiny", "full"), default="full")
    parser.add_argument("--folder", type=Path, help="write bench.json and speed.md there instead")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    chosen = parser.parse_args(arguments)
    tiny = chosen.size == "tiny"
    if tiny and chosen.folder is None:
        parser.error("--folder: expected with --size tiny, whose numbers mean nothing, found none")
    if chosen.clock == "processor" and (torch.get_num_threads() > 1 or DEVICE.type == "cuda"):
        parser.error("--clock processor: expected one thread of a CPU; set OMP_NUM_THREADS=1")
    results = chosen.folder or store.shipped()
    page = (chosen.folder or store.shipped().parent / "docs") / "speed.md"
    store.check_writable(results)
    record = run_bench(tiny, chosen.compile and not tiny, chosen.clock)
    store.write_json(results / "bench.json", record)
    store.write_atomically(page, render_page(record).encode())
    print(f"\nwritten: {results / 'bench.json'}, {page}")


if __name__ == "__main__":
    main()
