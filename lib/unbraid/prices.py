"""What all runs of a profile cost, in hours on two cores and on a GPU, before the first begins.

A price is the seconds of one update times the updates that are left. The seconds come from the
record of a run of the same settings, else from three small updates on random numbers, here and now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from unbraid import experiments, results
from unbraid.measures.judges import SequenceJudge
from unbraid.models.base import Batch
from unbraid.settings import Settings, list_experiments, read_table
from unbraid.settings import load as load_settings
from unbraid.training import term_weights

FEW, MORE = 2, 4  # sequences in the two batches that are timed
TWO_CORES = 0.55  # of the seconds of one core, as measured on the largest models
# Without a GPU its seconds are a guess. One core does 0.085 TFLOP/s in the largest models, a large
# GPU about 50 in TF32, and it needs 15 ms more for launches and drawing.
GPU_FACTOR, GPU_OVERHEAD = 600, 0.015


@dataclass(frozen=True)
class Price:
    """What one run, or one judge, still costs with all of its seeds.

    updates: those that are left. core_seconds, gpu_seconds: of one update. origin: where they are
    from.
    """

    name: str
    seeds: int
    updates: int
    core_seconds: float
    gpu_seconds: float
    origin: str

    def row(self) -> dict[str, object]:
        """The row of the table."""
        return {
            "run": self.name,
            "seeds": self.seeds,
            "updates left": self.updates,
            "s/update": f"{self.core_seconds:.3g}",
            "h, two cores": self.updates * self.core_seconds / 3600,
            "h, GPU": self.updates * self.gpu_seconds / 3600,
            "from": self.origin,
        }


def order_datasets(profile: str) -> list[tuple[str, str]]:
    """The model and dataset of all runs of a profile, in the order of their worth.

    Those that the table does not order come last.
    """
    order = [tuple(place.split("/")) for place in read_table()["everything"]["order"]]
    pairs = []
    for run in list_experiments():
        if load_settings(run.section, profile).seeds:
            pairs.append((run.model, run.dataset))
    rank = {pair: number for number, pair in enumerate(order)}
    return sorted(dict.fromkeys(pairs), key=lambda pair: rank.get(pair, len(order)))


def price_run(settings: Settings, folder: Path) -> Price:
    """The price of one run with all its seeds, less what lies finished or begun in a folder."""
    left, seconds, origin = 0, None, "measured now"
    for seed in range(settings.seeds):
        path = folder / experiments.run_name(settings, seed)
        record = find_record(path, settings)
        if record is None:
            left += settings.steps - experiments.last_update(path.with_suffix(".checkpoint"))
        elif "CPU" in record["device"]:
            seconds, origin = record["seconds"] / record["steps"], "its record"
    if seconds is None:
        seconds = time_run(settings) if left else 0.0
    name = "/".join((settings.model, settings.dataset, settings.run))
    gpu_seconds = time_run(settings, "cuda") if has_gpu() and left else guess_gpu(seconds)
    return Price(name, settings.seeds, left, seconds, gpu_seconds, origin if left else "finished")


def price_judge(dataset: str, profile: str, folder: Path) -> Price:
    """The price of the judge of a dataset, which is trained in one go."""
    settings = experiments.judge_settings(dataset, profile)
    name = f"judge of {dataset}"
    if is_judged(dataset, profile, folder):
        return Price(name, 1, 0, 0.0, 0.0, "finished")
    seconds = time_judge(dataset, settings)
    gpu_seconds = time_judge(dataset, settings, "cuda") if has_gpu() else guess_gpu(seconds)
    return Price(name, 1, settings.steps, seconds, gpu_seconds, "measured now")


def is_judged(dataset: str, profile: str, folder: Path) -> bool:
    """Whether a judge lies there, trained and measured."""
    path = experiments.judge_path(dataset, profile, folder=folder)
    return path.exists() and path.with_name("metrics.json").exists()


def tabulate_prices(prices: list[Price]) -> str:
    """The table of prices as text, with their sum."""
    rows = [price.row() for price in prices]
    total = {name: "" for name in rows[0]} | {"run": "all"}
    for column in ("h, two cores", "h, GPU"):
        total[column] = sum(row[column] for row in rows)
    table = pd.DataFrame([*rows, total])
    gpu = "measured" if has_gpu() else "a guess for a large one, from two cores"
    note = f"GPU: {gpu}. Evaluations are not counted."
    return f"{table.to_string(index=False, float_format=lambda hours: f'{hours:.2f}')}\n{note}"


def find_record(path: Path, settings: Settings) -> dict | None:
    """The record of a finished run of these settings, if there is one."""
    file = path.with_suffix(".run.json")
    record = results.read_json(file) if file.exists() else None
    is_same = record is not None and experiments.has_settings(record, settings)
    return record if is_same and path.with_suffix(".safetensors").exists() else None


def has_gpu() -> bool:
    """Whether PyTorch finds a GPU."""
    return torch.cuda.is_available()


def guess_gpu(core_seconds: float) -> float:
    """Seconds of an update on a large GPU, from those on two cores."""
    return GPU_OVERHEAD + core_seconds / TWO_CORES / GPU_FACTOR


def time_run(settings: Settings, device: str = "cpu") -> float:
    """Seconds of one update of a run on two cores or a GPU, measured on random numbers."""
    with torch.device("meta"):  # no weights are drawn to count them
        model = experiments.model_class(settings).from_settings(settings)
    parameters = sum(weights.numel() for weights in model.parameters())
    shape = (count_steps(settings), *model.frame_shape)
    # Runs of one kind and one size have one price, so that each is measured once.
    key = (type(model), f"{parameters:.1e}", shape, settings.batch_size, device)
    if key not in TIMES:
        TIMES[key] = time_model(settings, shape, device)
    return TIMES[key]


TIMES: dict[tuple, float] = {}  # seconds of an update, by what decides them


def time_model(settings: Settings, shape: tuple[int, ...], device: str) -> float:
    """Seconds of one update of a new model with sequences of a shape."""
    model = experiments.build(settings, 0).to(device)
    generator = torch.Generator(device).manual_seed(0)
    weights = term_weights(settings, 1)

    def loss(frames: Tensor) -> Tensor:
        return model(Batch(frames), generator).loss(weights)

    return time_update(model, loss, settings.batch_size, shape)


def time_judge(dataset: str, settings: Settings, device: str = "cpu") -> float:
    """Seconds of one update of a judge, measured on random numbers."""
    kind = experiments.JUDGES[dataset].kind
    classes = {name: ("no", "yes") for name in experiments.JUDGES[dataset].labels}
    sizes = (settings.width, settings.features, settings.hidden)
    judge = kind(classes, settings.image_size, 3, *sizes).to(device)
    length = (count_steps(Settings(dataset=dataset)),) if kind is SequenceJudge else ()
    shape = (*length, 3, settings.image_size, settings.image_size)

    def loss(frames: Tensor) -> Tensor:
        return sum(logits.sum() for logits in judge(frames).values())

    return time_update(judge, loss, settings.batch_size, shape)


def count_steps(settings: Settings) -> int:
    """The steps of one sequence that a model reads: of its section, the table, or the data."""
    lengths = read_table()["everything"]["lengths"]
    if hasattr(settings, "length"):
        return settings.length
    if settings.dataset in lengths:
        return lengths[settings.dataset]
    return experiments.make_sampler(settings)(1, torch.Generator()).frames.shape[1]


def time_update(
    network: nn.Module, loss: Callable[[Tensor], Tensor], batch_size: int, shape: tuple[int, ...]
) -> float:
    """Seconds of one update of Adam with a batch of sequences of a shape; on two cores, or a GPU.

    On a GPU that batch is timed. On the processor two small ones are, by the seconds that one core
    works, so that other programs do not count; a straight line leads to the whole batch.
    """
    device = next(network.parameters()).device
    network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters())
    clock = time.perf_counter if device.type == "cuda" else time.process_time

    def update(count: int) -> float:
        frames = torch.rand(count, *shape, device=device)
        started = clock()
        optimizer.zero_grad()
        loss(frames).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - started

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        update(FEW)  # warms up
        if device.type == "cuda":
            return update(batch_size)
        few, more = update(FEW), update(MORE)
        each = max(0.0, (more - few) / (MORE - FEW))
        return TWO_CORES * (few + each * (batch_size - FEW))
    finally:
        torch.set_num_threads(threads)
