"""Judges: classifiers that say what a clip or a frame shows, so that generated ones can be counted.

The protocol is that of paper C (Berman et al. 2024) and its predecessors: a DCGAN encoder sees each
frame, a bidirectional LSTM the clip, and every label has a head of its own. A judge is trained on
real clips alone, so its own `reliability` belongs next to every figure that it gives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from unbraid import store
from unbraid.measures.intervals import Interval, share_interval
from unbraid.measures.swaps import check_labels
from unbraid.networks import frame_encoder
from unbraid.progress import progress_bar
from unbraid.readable import Readable

JUDGED_AT_ONCE = 128  # frames or clips judged at a time

Classes = Mapping[str, tuple[str, ...]]


class FrameJudge(nn.Module):
    """Labels of single frames (N, C, H, W): paper C's frame encoder, and a head for each label.

    classes: names of the classes of each label, {"digit": ("0", "1", ...)}, at least two.
    image_size, channels: frames are (channels, image_size, image_size) with values in [0, 1].
    width, features: channels of the first convolution, outputs of the encoder.
    hidden: units of each head's hidden layer. Raises ValueError for a label without two classes.
    """

    recurrent = False

    def __init__(
        self,
        classes: Classes,
        image_size: int = 64,
        channels: int = 3,
        width: int = 64,
        features: int = 128,
        hidden: int = 256,
    ):
        super().__init__()
        self.classes = {name: tuple(map(str, names)) for name, names in classes.items()}
        distinct = [len(set(names)) == len(names) >= 2 for names in self.classes.values()]
        if not distinct or not all(distinct):
            raise ValueError(f"classes: expected two or more for each label, found {self.classes}")
        sizes = {"image_size": image_size, "channels": channels, "width": width}
        self.sizes = sizes | {"features": features, "hidden": hidden}
        encoder = frame_encoder(image_size, channels, width, features)
        # Convolutions run fastest in this layout.
        self.trunk = encoder.to(memory_format=torch.channels_last)
        inputs = 2 * hidden if self.recurrent else features
        self.heads = nn.ModuleDict()
        for name, names in self.classes.items():
            layers = nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, len(names))
            self.heads[name] = nn.Sequential(*layers)
        if self.recurrent:
            self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)

    def embed(self, frames: Tensor) -> Tensor:
        """The inputs of the heads, (N, features)."""
        return self.trunk(frames)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Logits (N, classes) of each label."""
        features = self.embed(frames)
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def probabilities(self, frames: Tensor) -> dict[str, Tensor]:
        """p(y | x) of each label, (N, classes) on the CPU; raises ValueError as `check`."""
        self.check(frames)
        device = next(self.parameters()).device
        training = self.training
        self.eval()
        batches = [self(batch.to(device, torch.float32)) for batch in frames.split(JUDGED_AT_ONCE)]
        self.train(training)
        probabilities = {}
        for name in self.classes:
            logits = torch.cat([batch[name] for batch in batches])
            probabilities[name] = logits.softmax(-1).cpu()
        return probabilities

    def check(self, frames: Tensor, labels: Mapping[str, Tensor] | None = None) -> None:
        """Refuse frames or labels (N,) that this judge was not made for; raises ValueError."""
        size = self.sizes["image_size"]
        frame_shape = (self.sizes["channels"], size, size)
        found = tuple(frames.shape)
        if len(found) != 4 + self.recurrent or found[-3:] != frame_shape or 0 in found:
            axes = "(N, T, ...)" if self.recurrent else "(N, ...)"
            raise ValueError(f"frames: expected {axes} of {frame_shape}, found {found}")
        if not frames.is_floating_point():
            raise ValueError(f"frames: expected floats, found {frames.dtype}; divide bytes by 255")
        low, high = map(float, frames.aminmax())  # both are NaN if a single value is
        if not (low >= 0 and high <= 1):
            raise ValueError(f"frames: expected values in [0, 1], found {low:g} to {high:g}")
        if labels is not None:
            for name, names in self.classes.items():
                check_labels(f"labels[{name!r}]", labels.get(name), len(names), len(frames))


class SequenceJudge(FrameJudge):
    """Labels of clips (N, T, C, H, W): frame encoder, bidirectional LSTM, a head for each label.

    hidden also counts the units of the LSTM in each direction. The heads see its forward output at
    the last frame and its backward output at the first. The default sizes are those of the paper.
    """

    recurrent = True

    def embed(self, frames: Tensor) -> Tensor:
        """The inputs of the heads, (N, 2 hidden)."""
        features = self.trunk(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])  # (N, T, g)
        outputs, _ = self.lstm(features)
        forward, backward = outputs.chunk(2, dim=-1)
        return torch.cat([forward[:, -1], backward[:, 0]], -1)


def fit_judge(
    judge: FrameJudge,
    draw: Callable[[int, torch.Generator], tuple[Tensor, Mapping[str, Tensor]]],
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    log_every: int = 50,
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train a judge in place by cross-entropy summed over its labels; returns the training curve.

    draw(batch_size, generator): real training frames in the judge's form, and labels by name.
    steps: updates of Adam, as the MSD benchmark trains its judges; over the last half the rate
    falls to zero along a cosine. seed: that of the generator which `draw` is given.
    report: called with each row of the curve: step, seconds, cross_entropy (nats, summed over
    labels) and accuracy (mean over labels), averaged over the updates since the last row.
    Raises ValueError for no steps, a loss that diverges, and frames or labels as `check`.
    """
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, found {steps}")
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
        judge.check(frames, labels)
        logits = judge(frames.to(device, torch.float32))
        truth = {name: labels[name].to(device, torch.long) for name in judge.classes}
        loss = sum(F.cross_entropy(logits[name], truth[name]) for name in judge.classes)

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

        right = [(logits[name].argmax(-1) == truth[name]).float().mean() for name in judge.classes]
        log.append(torch.stack([loss.detach(), torch.stack(right).mean()]))
        if step % log_every == 0 or step == steps:
            cross_entropy, accuracy = torch.stack(log).mean(0).tolist()
            if not math.isfinite(cross_entropy):
                raise ValueError(f"learning_rate: expected a finite loss, step {step} has none")
            seconds = round(time.perf_counter() - started, 3)
            row = {"step": step, "seconds": seconds, "cross_entropy": cross_entropy}
            rows.append(row | {"accuracy": accuracy})
            log.clear()
            if report:
                report(rows[-1])
    judge.eval()
    return rows


def blurred(frames: Tensor, sigma: float) -> Tensor:
    """Each frame (..., H, W) smoothed by a Gaussian of `sigma` pixels; edges repeat."""
    widths = [0.0] * (frames.ndim - 2) + [sigma, sigma]
    smooth = gaussian_filter(frames.cpu().numpy(), widths, mode="nearest")
    return torch.from_numpy(smooth).clamp(0, 1)


def shifted(frames: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Each clip (N, ..., H, W) moved by `pixels` along a random diagonal; edges repeat."""
    height, width = frames.shape[-2:]
    directions = torch.randint(0, 2, (len(frames), 2), generator=generator) * 2 - 1
    rows = (torch.arange(height) + pixels * directions[:, :1]).clamp(0, height - 1)  # (N, H)
    columns = (torch.arange(width) + pixels * directions[:, 1:]).clamp(0, width - 1)  # (N, W)
    moved = [clip[..., i[:, None], j] for clip, i, j in zip(frames, rows, columns, strict=True)]
    return torch.stack(moved)


def noisy(frames: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Frames with Gaussian noise of this standard deviation on each value, clamped to [0, 1]."""
    noise = torch.randn(frames.shape, generator=generator).to(frames)
    return (frames + deviation * noise).clamp(0, 1)


@dataclass(frozen=True, repr=False)
class Reliability(Readable):
    """A judge's own accuracy on real clips, or frames, and on damaged ones."""

    accuracy: dict[str, dict[str, Interval]]  # by condition and label
    conditions: dict[str, str]  # what was done to the clips
    clips: int


def reliability(
    judge: FrameJudge, frames: Tensor, labels: Mapping[str, Tensor], seed: int = 0
) -> Reliability:
    """The judge's accuracy on real test clips, and on blurred, shifted and noisy copies of them.

    frames, labels: real clips the judge was not trained on, and labels by name, (N,) integers. Of
    32 pixels of the image's side, the blur is of one, the shift of two. Raises as `check`.
    """
    judge.check(frames, labels)
    generator = torch.Generator().manual_seed(seed)
    sigma = judge.sizes["image_size"] / 32
    pixels = max(1, judge.sizes["image_size"] // 16)
    changes = {
        "real": lambda clips: clips,
        "blurred": lambda clips: blurred(clips, sigma),
        "shifted": lambda clips: shifted(clips, pixels, generator),
        "noisy": lambda clips: noisy(clips, 0.1, generator),
    }
    conditions = {
        "real": "test clips as they are",
        "blurred": f"smoothed by a Gaussian, sigma {sigma:g} px",
        "shifted": f"moved diagonally by {pixels} pixels",
        "noisy": "Gaussian noise of standard deviation 0.1",
    }
    unit = "clip" if judge.recurrent else "frame"
    accuracy = {condition: {} for condition in conditions}
    for condition, change in changes.items():
        batches = frames.split(JUDGED_AT_ONCE)
        parts = [judge.probabilities(change(batch.float())) for batch in batches]
        for name in judge.classes:
            predicted = torch.cat([part[name].argmax(-1) for part in parts])
            right = int((predicted == labels[name].cpu()).sum())
            accuracy[condition][name] = share_interval(right, len(frames), unit=unit)
    return Reliability(accuracy, conditions, len(frames))


KINDS = {"frames": FrameJudge, "sequences": SequenceJudge}


# ---- what a judge sees


def judge_probabilities(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """What a judge sees in frames (N, ..., C, H, W), averaged down to its size: (N, classes)."""
    size = judge.sizes["image_size"]
    if frames.shape[-1] != size:
        small = F.adaptive_avg_pool2d(frames.flatten(0, -4), size)
        frames = small.unflatten(0, frames.shape[:-3])
    return judge.probabilities(frames.clamp(0, 1))


def judge_classes(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """What the judge names in frames (Q, C, H, W): class numbers (Q,) by label."""
    return {name: p.argmax(1) for name, p in judge_probabilities(judge, frames).items()}


def judge_clips(judge: SequenceJudge, frames: Tensor) -> dict[str, Tensor]:
    """The judge's probabilities (N, classes) for clips (N, T, C, H, W), by label."""
    probabilities = judge_probabilities(judge, frames)
    probabilities = {name: values.double() for name, values in probabilities.items()}
    if "motion" not in probabilities:
        return probabilities
    motion = probabilities.pop("motion")
    parts = motion.unflatten(1, (-1, 3))  # A motion's number is 3 action + direction.
    summed = {"motion_action": parts.sum(2), "motion_direction": parts.sum(1)}
    return {"action": motion} | summed | probabilities


# ---- judges that ship


def load_judge(name: Path | str, classes: Classes | None = None) -> FrameJudge:
    """A trained judge in eval mode, with its record beside it.

    name: a .safetensors file, or the data whose shipped judge it is, such as "sprites".
    classes: those of the data to be judged, which may have further labels. Raises `ResultsError`
        for others, and for missing or damaged files.
    """
    path = Path(name)
    if path.suffix != ".safetensors":
        path = store.shipped() / "judges" / name / "quick" / "judge-seed0.safetensors"
    record_path = path.with_suffix(".run.json")
    record = store.read_json(record_path)
    try:
        description = record["judge"]
        digest = record["weights_sha256"]
        judge = KINDS[description["kind"]](description["classes"], **description["sizes"])
    except (KeyError, TypeError, ValueError) as error:
        raise store.ResultsError(
            f"{record_path}: expected a judge's record, found {error!r}; train the judge again"
        ) from None
    for name, names in judge.classes.items():
        if classes is not None and tuple(classes.get(name, ())) != names:
            found = ", ".join(map(str, classes.get(name, ()))) or "no such label"
            raise store.ResultsError(
                f"{path}: expected data labelled {name} = {', '.join(names)}, found {found}"
            )
    store.load_weights(judge, path, digest)
    return judge.eval()
