"""Judges: classifiers that say what a clip or a frame shows, so that what models generate can be counted.

The protocol of paper C (Berman et al. 2024) and of its predecessors: a DCGAN encoder sees each frame, a bidirectional LSTM
the clip, and every label has a head of its own. A judge is trained on real clips alone and knows nothing of the models it
judges; it may be fooled by what no real clip shows. Its own `reliability` belongs beside every figure it gives.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn
from tqdm import tqdm

from unbraid import results
from unbraid.measures.intervals import Interval, share_interval

LEARNING_RATE, BETAS = 1e-3, (0.5, 0.999)  # Adam, as the MSD benchmark trains its judges


class JudgeError(RuntimeError):
    """A judge that did not learn."""


def trunk(image_size: int, channels: int, width: int, features: int) -> nn.Sequential:
    """Paper C's frame encoder: frames (N, C, H, W) to features (N, features) in (-1, 1); 4x4 convolutions of stride 2 down to 4x4."""
    if image_size < 8 or image_size & (image_size - 1):
        raise ValueError(f"image_size: expected 8, 16, 32, 64, ... found {image_size}")
    layers: list[nn.Module] = []
    while image_size > 4:
        layers += [nn.Conv2d(channels, width, 4, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
        image_size, channels, width = image_size // 2, width, 2 * width
    layers += [
        nn.Conv2d(channels, features, 4, 1, 0),
        nn.BatchNorm2d(features),
        nn.Tanh(),
        nn.Flatten(),
    ]
    return nn.Sequential(*layers).to(
        memory_format=torch.channels_last
    )  # what these convolutions run fastest in


class FrameJudge(nn.Module):
    """Labels of single frames (N, C, H, W): the trunk, and a head for each label.

    classes: names of the classes of each label, {"digit": ("0", "1", ...)}; each label has at least two.
    image_size, channels: frames are (channels, image_size, image_size), values in [0, 1].
    width, features: channels of the first convolution, and g, the trunk's outputs. hidden: units of each head's hidden layer.
    seen: units that the heads see, where they are not the trunk's.
    """

    axes = ("N", "C", "H", "W")

    def __init__(
        self,
        classes: Mapping[str, tuple[str, ...]],
        image_size=64,
        channels=3,
        width=64,
        features=128,
        hidden=256,
        seen=None,
    ):
        super().__init__()
        self.classes = {name: tuple(map(str, names)) for name, names in classes.items()}
        if not self.classes or any(
            len(set(names)) != len(names) or len(names) < 2 for names in self.classes.values()
        ):
            raise ValueError(
                f"classes: expected labels with two or more different class names each, found {self.classes}"
            )
        self.sizes = {
            "image_size": image_size,
            "channels": channels,
            "width": width,
            "features": features,
            "hidden": hidden,
        }
        self.trunk = trunk(image_size, channels, width, features)
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(seen or features, hidden), nn.ReLU(), nn.Linear(hidden, len(names))
                )
                for name, names in self.classes.items()
            }
        )

    def embed(self, frames: Tensor) -> Tensor:
        """What the heads see."""
        return self.trunk(frames)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Logits (N, classes) of each label."""
        seen = self.embed(frames)
        return {name: head(seen) for name, head in self.heads.items()}

    @torch.no_grad()
    def probabilities(self, frames: Tensor, batch_size: int = 128) -> dict[str, Tensor]:
        """p(y | x) of each label, (N, classes) on the CPU; the judge is left as it was. Raises ValueError as `check`."""
        self.check(frames)
        device, training = next(self.parameters()).device, self.training
        self.eval()
        batches = [
            self(frames[start : start + batch_size].to(device, torch.float32))
            for start in range(0, len(frames), batch_size)
        ]
        self.train(training)
        return {
            name: torch.cat([batch[name] for batch in batches]).softmax(-1).cpu()
            for name in self.classes
        }

    def check(self, frames: Tensor) -> None:
        """Refuse what this judge was not made for: another shape, other values than floats in [0, 1], NaN."""
        size, shape = self.sizes["image_size"], tuple(frames.shape)
        if (
            len(shape) != len(self.axes)
            or shape[-3:] != (self.sizes["channels"], size, size)
            or 0 in shape
        ):
            expected = (*self.axes[:-3], self.sizes["channels"], size, size)
            raise ValueError(
                f"frames: expected ({', '.join(map(str, expected))}), none of them 0, found {shape}"
            )
        if not frames.is_floating_point():
            raise ValueError(
                f"frames: expected floats in [0, 1], found {frames.dtype}; divide integers by 255"
            )
        low, high = (float(value) for value in frames.aminmax())  # both NaN if a single value is
        if not (0 <= low and high <= 1):
            raise ValueError(
                f"frames: expected values in [0, 1], found {low:g} to {high:g}; clamp what a linear decoder draws"
            )

    def check_labels(self, labels: Mapping[str, Tensor], count: int) -> None:
        """Refuse labels that are missing, not (count,) integers, or classes this judge does not know."""
        for name, names in self.classes.items():
            if name not in labels:
                raise ValueError(
                    f"labels: expected {', '.join(self.classes)}, found {', '.join(labels) or 'none'}"
                )
            values = labels[name]
            if tuple(values.shape) != (count,) or values.is_floating_point() or values.is_complex():
                raise ValueError(
                    f"labels[{name!r}]: expected integers ({count},), found {values.dtype} {tuple(values.shape)}"
                )
            if not 0 <= int(values.min()) <= int(values.max()) < len(names):
                found = f"{int(values.min())} to {int(values.max())}"
                raise ValueError(
                    f"labels[{name!r}]: expected classes 0 to {len(names) - 1}, found {found}"
                )


class SequenceJudge(FrameJudge):
    """Labels of clips (N, T, C, H, W): the trunk, a bidirectional LSTM, and a head for each label.

    Sizes as in `FrameJudge`; hidden also counts the LSTM's units in each direction. The heads see its forward output at the
    last frame and its backward output at the first. The defaults are the paper's: with 9, 6, 6, 6 and 6 classes,
    5 263 073 parameters.
    """

    axes = ("N", "T", "C", "H", "W")

    def __init__(
        self,
        classes: Mapping[str, tuple[str, ...]],
        image_size=64,
        channels=3,
        width=64,
        features=128,
        hidden=256,
    ):
        super().__init__(classes, image_size, channels, width, features, hidden, seen=2 * hidden)
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)

    def embed(self, frames: Tensor) -> Tensor:
        """(N, 2 hidden)."""
        seen, _ = self.lstm(self.trunk(frames.flatten(0, 1)).unflatten(0, frames.shape[:2]))
        return torch.cat(
            [seen[:, -1, : self.lstm.hidden_size], seen[:, 0, self.lstm.hidden_size :]], -1
        )


Draw = Callable[[int, torch.Generator], tuple[Tensor, Mapping[str, Tensor]]]


def fit_judge(
    judge: FrameJudge,
    draw: Draw,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    log_every: int = 50,
    report: Callable[[dict], None] | None = None,
) -> list[dict]:
    """Train a judge in place by cross-entropy summed over its labels; returns the training curve.

    draw(batch_size, generator): real training frames in the judge's form, and labels by name, (batch_size,) integers.
    steps: updates of Adam with betas (.5, .999); over the last half the rate falls to zero along a cosine.
    seed: of what `draw` is given (the weights' own seed is the caller's). report: called with each row of the curve.

    A row holds step, seconds, cross_entropy (nats, summed over labels) and accuracy (over all labels), means over the steps
    since the last row. Raises ValueError for batches the judge was not made for, `JudgeError` if the loss is not finite.
    """
    device, generator = next(judge.parameters()).device, torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(judge.parameters(), learning_rate, BETAS)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 - 0.5 * math.cos(2 * math.pi * max(0.5, step / steps))
    )
    judge.train()
    rows, sums, counted, started = [], torch.zeros(2, device=device), 0, time.perf_counter()
    for step in tqdm(range(1, steps + 1), desc="judge", disable=None):
        frames, labels = draw(batch_size, generator)
        judge.check(frames)
        judge.check_labels(labels, len(frames))
        logits = judge(frames.to(device, torch.float32))
        truth = {name: labels[name].to(device, torch.long) for name in judge.classes}
        loss = sum(F.cross_entropy(logits[name], truth[name]) for name in judge.classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        correct = torch.stack(
            [(logits[name].argmax(-1) == truth[name]).float().mean() for name in judge.classes]
        ).mean()
        sums += torch.stack([loss.detach(), correct])
        counted += 1
        if step % log_every == 0 or step == steps:
            loss_mean, accuracy = (sums / counted).tolist()
            if not torch.isfinite(sums).all():
                raise JudgeError(
                    f"judge: the cross-entropy stopped being finite by step {step}; lower learning_rate or look at the data"
                )
            seconds = round(time.perf_counter() - started, 3)
            rows.append(
                {"step": step, "seconds": seconds, "cross_entropy": loss_mean, "accuracy": accuracy}
            )
            sums.zero_()
            counted = 0
            if report:
                report(rows[-1])
    judge.eval()
    return rows


def blurred(frames: Tensor, sigma: float) -> Tensor:
    """Each frame (..., H, W) smoothed by a Gaussian of `sigma` pixels; edges repeat the outermost pixel."""
    widths = [0.0] * (frames.ndim - 2) + [sigma, sigma]
    return torch.from_numpy(gaussian_filter(frames.cpu().numpy(), widths, mode="nearest")).clamp(
        0, 1
    )


def shifted(frames: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Each clip (N, ..., H, W) moved diagonally by `pixels`, in one of the four directions by chance; edges repeat."""
    directions = torch.randint(0, 2, (len(frames), 2), generator=generator) * 2 - 1
    rows, columns = (
        (torch.arange(side) + pixels * directions[:, axis, None]).clamp(0, side - 1)
        for axis, side in enumerate(frames.shape[-2:])
    )
    moved = [clip[..., row[:, None], column] for clip, row, column in zip(frames, rows, columns)]
    return torch.stack(moved)


def noisy(frames: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Frames with Gaussian noise of this standard deviation on each value, clamped to [0, 1]."""
    return (frames + deviation * torch.randn(frames.shape, generator=generator).to(frames)).clamp(
        0, 1
    )


@dataclass(frozen=True)
class Reliability:
    """A judge's own accuracy, to stand beside every result it judged.

    accuracy[condition][label]: share of clips (or frames) judged right, with Wilson's interval.
    conditions: what was done to the clips under each name.
    """

    accuracy: dict[str, dict[str, Interval]]
    conditions: dict[str, str]
    clips: int

    def as_dict(self) -> dict:
        """Plain numbers for a record: {"clips": n, "conditions": {...}, "accuracy": {condition: {label: {mean, low, high, ...}}}}."""
        return asdict(self)


def reliability(
    judge: FrameJudge,
    frames: Tensor,
    labels: Mapping[str, Tensor],
    sigma: float | None = None,
    pixels: int | None = None,
    deviation: float = 0.1,
    seed: int = 0,
    batch_size: int = 128,
) -> Reliability:
    """The judge's accuracy for each label on real test clips, and on blurred, shifted and noisy copies of them.

    frames, labels: real clips the judge was not trained on, in its form, and labels by name, (N,) integers.
    sigma, pixels: of the blur and of the shift; by default one pixel and two pixels in every 32 of the image's side.
    deviation: of the noise, frames being in [0, 1]. seed: of noise and shifts. Raises ValueError as `FrameJudge.check`.
    """
    judge.check(frames)
    judge.check_labels(labels, len(frames))
    side = judge.sizes["image_size"]
    sigma, pixels = (
        side / 32 if sigma is None else sigma,
        max(1, side // 16) if pixels is None else pixels,
    )
    generator = torch.Generator().manual_seed(seed)
    degrade = {
        "real": (lambda clips: clips, "test clips as they are"),
        "blurred": (
            lambda clips: blurred(clips, sigma),
            f"smoothed by a Gaussian of {sigma:g} pixels",
        ),
        "shifted": (
            lambda clips: shifted(clips, pixels, generator),
            f"moved diagonally by {pixels} pixels",
        ),
        "noisy": (
            lambda clips: noisy(clips, deviation, generator),
            f"Gaussian noise of standard deviation {deviation:g}",
        ),
    }
    accuracy = {}
    for condition, (change, _) in degrade.items():
        parts = [
            judge.probabilities(change(part.float()), batch_size)
            for part in frames.split(batch_size)
        ]
        right = {
            name: int(
                (torch.cat([part[name] for part in parts]).argmax(-1) == labels[name].cpu()).sum()
            )
            for name in judge.classes
        }
        accuracy[condition] = {
            name: share_interval(count, len(frames), unit="clip" if frames.ndim == 5 else "frame")
            for name, count in right.items()
        }
    return Reliability(accuracy, {name: words for name, (_, words) in degrade.items()}, len(frames))


KINDS = {"frames": FrameJudge, "sequences": SequenceJudge}


def save_judge(judge: FrameJudge, path: Path, record: Mapping) -> None:
    """Write <name>.safetensors, and beside it <name>.run.json: what rebuilds the judge, the weights' digest, and `record`.

    Weights are kept in half precision: measure `reliability` on the judge that `load_judge` gives back.
    """
    kind = next(name for name, type_ in KINDS.items() if type(judge) is type_)
    made_of = {
        "kind": kind,
        "classes": {name: list(names) for name, names in judge.classes.items()},
        "sizes": judge.sizes,
    }
    results.write_json(
        record_path(path),
        {**record, "judge": made_of, "weights_sha256": results.save_weights(Path(path), judge)},
    )


def load_judge(path: Path, classes: Mapping[str, tuple[str, ...]] | None = None) -> FrameJudge:
    """The judge of a .safetensors file and its record, ready to judge; the digest is checked.

    classes: those of the data to be judged, such as `Sequences.classes`. A judge of other labels or other class names is
    refused; labels it knows nothing of are let be. Raises `ResultsError` for that, and for missing or damaged files.
    """
    record = results.read_json(record_path(path))
    try:
        made_of, expected = record["judge"], record["weights_sha256"]
        judge = KINDS[made_of["kind"]](made_of["classes"], **made_of["sizes"])
    except (KeyError, TypeError, ValueError) as error:
        found = f"found none ({error!r}); train the judge again"
        raise results.ResultsError(
            f"{record_path(path)}: expected a judge's record, {found}"
        ) from None
    if classes is not None:
        for name, names in judge.classes.items():
            if tuple(classes.get(name, ())) != names:
                found = ", ".join(map(str, classes.get(name, ()))) or "no such label"
                raise results.ResultsError(
                    f"{path}: expected data labelled {name} = {', '.join(names)}, found {found}; take the judge of these data"
                )
    results.load_weights(judge, path, expected)
    return judge.eval()


def record_path(path: Path) -> Path:
    """The record beside a judge's weights."""
    return Path(path).with_suffix(".run.json")
