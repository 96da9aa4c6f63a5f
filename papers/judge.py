"""Judges, the classifiers that name what models draw: their training, and how far to trust them.

results/judges/<dataset>/<profile>/judge-seed<seed>.{safetensors,training.csv,run.json}

`unbraid.measures.judges` has their networks, judges.toml their sizes. A judge learns from real
clips alone, so its own accuracy on test clips belongs next to every figure that it gives.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor
from unbraid import files, records
from unbraid.checks import ResultsError, check_name, check_whole
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler, SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.measures.judges import Classes, FrameJudge, SequenceJudge, load_judge
from unbraid.support.progress import progress_bar
from unbraid.support.schedules import schedule_value

from papers import settings as sections
from papers.datasets import Sampler, load_sequences, sources_of
from papers.encoded import at_first_step
from papers.provenance import describe_cpu, make_record, print_row, read_versions
from papers.settings import RunSettings
from papers.tables import summarise, write_metrics

TEST_DIGITS = 2000  # frames of moving digits that the judge of digits is measured on
TEST_FRAMES = 10_000  # frames of a larger test set, drawn at random, that its judge is measured on


class JudgeTask(NamedTuple):
    """What a judge sees, and the section of its settings."""

    kind: type[FrameJudge]
    section: str
    labels: tuple[str, ...]  # that it names


WORN = ("skin", "trousers", "top", "hair")
JUDGES = {  # A clip's motion is its action and direction in one, as in the papers.
    "sprites": JudgeTask(SequenceJudge, "judge", ("motion", *WORN)),
    "sprites_poses": JudgeTask(FrameJudge, "judge.poses", ("pose", "action", "direction", *WORN)),
    "digits": JudgeTask(FrameJudge, "judge.digits", ("red_digit", "green_digit")),
    "mug": JudgeTask(SequenceJudge, "judge.mug", ("expression", "subject")),
}
JUDGED = {("single_element", "sprites"), ("single_element", "mug"), ("unordered", "sprites_poses")}


def judge_settings(dataset: str, profile: str | None = None) -> RunSettings:
    """The settings of a dataset's judge; `SettingsError` for a dataset without one."""
    check_name("dataset", dataset, JUDGES)
    return sections.load(JUDGES[dataset].section, profile)


# ---- which judge measures what


def judge_path(dataset: str, profile: str, seed: int = 0, folder: Path | None = None) -> Path:
    """Where the weights of a judge lie, by default in the clone's results/."""
    where = (folder or records.results()) / "judges" / dataset / profile
    return where / f"judge-seed{seed}.safetensors"


def find_judged(settings: RunSettings) -> tuple[str, str, int]:
    """The judge that measures runs of these settings: its dataset, profile and pixels."""
    # Poses have none at 64: frames are averaged down to its size.
    size = 32 if settings.dataset == "sprites_poses" else settings.image_size
    return settings.dataset, settings.profile, size


def find_judge(dataset: str, profile: str, size: int | None = None) -> Path:
    """The weights of a dataset's judge of this profile or, where there is none, of quick.

    They are those in results/, else in build/results. size: pixels of what it judges, by default
    the profile's. Raises `ResultsError` where there is no judge of this size.
    """
    size = size or judge_settings(dataset, profile).image_size
    for name in dict.fromkeys((profile, "quick")):
        for folder in (records.results(), sections.own_results()):
            path = judge_path(dataset, name, folder=folder)
            if path.exists():
                record = records.read_json(path.with_suffix(".run.json"))
                if record["judge"]["sizes"]["image_size"] == size:
                    return path
    remedy = f"train it with python -m papers judge {dataset} --profile {profile}"
    found = f"that of {dataset} for {size} x {size} pixels, found none"
    raise ResultsError(f"judge: expected {found}; {remedy}")


def open_judge(
    dataset: str, profile: str = "quick", size: int | None = None, classes: Classes | None = None
) -> FrameJudge:
    """The judge that `find_judge` finds; classes: of the data that it is to judge, or an error."""
    return load_judge(find_judge(dataset, profile, size), classes)


def describe_judges(settings: RunSettings) -> dict[str, str]:
    """The judge that measures runs of these settings, if any: name, and SHA-256 of its weights."""
    if (settings.model, settings.dataset) not in JUDGED:
        return {}
    path = find_judge(*find_judged(settings))
    return {"/".join(path.with_suffix("").parts[-4:]): files.digest(path)}


# ---- what judges learn from


def judge_examples(dataset: str, split: str, settings: RunSettings) -> tuple[Sampler, Sequences]:
    """What a judge learns from, and fixed examples to measure it on: clips, or single frames."""
    fixed, task = torch.Generator().manual_seed(1), JUDGES[dataset]
    if dataset == "digits":
        digits = load_digits(split)
        draw = MovingDigits(digits, settings.image_size, length=1)
        classes = dict.fromkeys(task.labels, tuple(map(str, range(10))))
        examples = replace(draw(TEST_DIGITS, fixed), classes=classes)
        return Sampler(draw, draw.provenance, (digits.source,)), examples

    data, sources = load_sequences(dataset, split, settings), sources_of(dataset)
    if task.kind is SequenceJudge:
        return Sampler(SequenceSampler(data), data.provenance, sources), data.as_float()

    frames = FrameSampler(data, length=1)
    places = frames.observed.nonzero()  # (P, 2): a sequence and one of its observed frames

    def draw_frames(count: int, generator: torch.Generator) -> Sequences:
        rows = torch.randint(len(places), (count,), generator=generator)
        return frames.take(places[rows, 0], places[rows, 1:])

    kept = places
    if len(places) > TEST_FRAMES:
        kept = places[torch.randperm(len(places), generator=fixed)[:TEST_FRAMES]]
    return Sampler(draw_frames, data.provenance, sources), frames.take(kept[:, 0], kept[:, 1:])


def show_judge(dataset: str, examples: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
    """Frames (N, C, H, W) or clips (N, T, C, H, W), and (N,) of each label that the judge names."""
    single = JUDGES[dataset].kind is FrameJudge
    labels = {name: examples.labels[name] for name in JUDGES[dataset].labels}
    return examples.frames[:, 0] if single else examples.frames, at_first_step(labels)


def roughen(frames: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The last `share` of a batch (N, ..., H, W) blurred by 0.3 to 1 pixel, and noise up to 0.1.

    Decoders draw softer frames than any real one, which a judge would else name by chance.
    """
    kept = len(frames) - round(share * len(frames))
    if kept == len(frames):
        return frames
    sigma, deviation = torch.rand(2, generator=generator).tolist()
    widths = [0.0] * (frames.ndim - 2) + [0.3 + 0.7 * sigma] * 2
    smooth = gaussian_filter(frames[kept:].cpu().numpy(), widths, mode="nearest")
    soft = torch.from_numpy(smooth).clamp(0, 1)
    noise = torch.randn(soft.shape, generator=generator).to(soft)
    return torch.cat([frames[:kept], (soft + 0.1 * deviation * noise).clamp(0, 1)])


# ---- training


def fit_judge(
    judge: FrameJudge,
    draw: Callable[[int, torch.Generator], tuple[Tensor, Mapping[str, Tensor]]],
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> list[dict]:
    """Train a judge in place by cross-entropy summed over its labels; returns the training curve.

    draw(batch_size, generator): real training frames in the judge's form, and labels by name.
    steps: updates of Adam, as the MSD benchmark trains its judges; over the last half the rate
    falls to zero along a cosine. A row of the curve has the cross_entropy (nats) and the accuracy
    (mean over labels) of the updates since the last one.
    """
    check_whole(1, steps=steps)
    device = next(judge.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(judge.parameters(), learning_rate, betas=(0.5, 0.999))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 - 0.5 * math.cos(2 * math.pi * max(0.5, step / steps))
    )
    rows, log = [], []
    started = time.perf_counter()
    judge.train()
    for step in progress_bar(range(1, steps + 1), "judge"):
        frames, labels = draw(batch_size, generator)
        judge.check(frames)
        logits = judge(frames.to(device, torch.float32))
        truth = {name: labels[name].to(device, torch.long) for name in judge.classes}
        losses = (F.cross_entropy(logits[name], truth[name]) for name in judge.classes)
        loss = sum(losses, torch.zeros((), device=device))

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

        right = [(logits[name].argmax(-1) == truth[name]).float().mean() for name in judge.classes]
        log.append(torch.stack([loss.detach(), torch.stack(right).mean()]))
        if step % max(1, steps // 40) == 0 or step == steps:
            cross_entropy, accuracy = torch.stack(log).mean(0).tolist()
            if not math.isfinite(cross_entropy):
                raise ValueError(f"learning_rate: expected a finite loss, step {step} has none")
            row = {"step": step, "seconds": round(time.perf_counter() - started, 3)}
            rows.append(row | {"cross_entropy": cross_entropy, "accuracy": accuracy})
            log.clear()
            print_row(rows[-1])
    judge.eval()
    return rows


def make_judge(dataset: str, profile: str, folder: Path, seed: int = 0) -> dict:
    """Train a judge; write its weights, record, curve and metrics.json, and return the last."""
    settings = judge_settings(dataset, profile)
    sampler, examples = judge_examples(dataset, "train", settings)
    classes = {name: examples.classes[name] for name in JUDGES[dataset].labels}
    channels = examples.frames.shape[-3]
    sizes = [settings.options[name] for name in ("width", "features", "hidden")]
    torch.manual_seed(seed)
    judge = JUDGES[dataset].kind(classes, settings.image_size, channels, *sizes)

    def draw(count: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        frames, labels = show_judge(dataset, sampler(count, generator))
        return roughen(frames, settings.options["roughened"], generator), labels

    rate = schedule_value(settings.learning_rate, 0.0)
    rows = fit_judge(judge, draw, settings.steps, settings.batch_size, rate, seed)

    path = judge_path(dataset, profile, seed, folder)
    curve = path.with_suffix(".training.csv")
    records.write_csv(curve, rows)
    command = f"python -m papers judge {dataset} --profile {profile} --seed {seed}"
    record = make_record(command, settings, seed, rows)
    record |= {"device": describe_cpu(), "precision": "32-true", "data": sampler.provenance}
    record |= {"data_sha256": sampler.digests, "curve_sha256": files.digest(curve)}
    save_judge(judge, path, record)

    metrics = measure_judge(load_judge(path), dataset, profile, seed)  # in half precision
    metrics["protocol"]["weights"] = {"judge": {str(seed): files.digest(path)}}
    written = f"metrics-seed{seed}.json" if seed else "metrics.json"
    write_metrics(path.with_name(written), metrics)
    print(f"written: {path}")
    return metrics


def save_judge(judge: FrameJudge, path: Path, record: Mapping) -> None:
    """Write <name>.safetensors and <name>.run.json: `record`, what rebuilds the judge, a digest.

    Weights are in half precision: measure the judge that `load_judge` gives back.
    """
    state = {}
    for name, value in judge.state_dict().items():
        value = value.half() if value.is_floating_point() else value
        state[name] = value.cpu().contiguous()
    files.write_atomically(path, safetensors.torch.save(state))
    kind = "sequences" if judge.recurrent else "frames"
    described = {"kind": kind, "classes": judge.classes, "sizes": judge.sizes}
    content = {**record, "judge": described, "weights_sha256": files.digest(path)}
    records.write_json(path.with_suffix(".run.json"), content)


def measure_judge(judge: FrameJudge, dataset: str, profile: str, seed: int = 0) -> dict:
    """How far a judge is to be trusted, as metrics.json: real_<label>, its accuracy on the test."""
    sampler, examples = judge_examples(dataset, "test", judge_settings(dataset, profile))
    frames, labels = show_judge(dataset, examples)
    figures = {}
    for label, probabilities in judge.probabilities(frames).items():
        figures[f"real_{label}"] = float((probabilities.argmax(1) == labels[label]).double().mean())
    protocol: dict[str, object] = {"data": sampler.provenance, "split": "test", "seeds": [seed]}
    protocol |= {"examples": len(frames), "versions": read_versions()}
    return {"judge": summarise([figures]), "protocol": protocol}
