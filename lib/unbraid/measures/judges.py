"""Judges: classifiers that say what a clip or a frame shows, so that generated ones can be counted.

They learn from real clips alone (papers/judge.py), by the protocol of paper C (Berman et al. 2024);
their own accuracy belongs next to every figure they give.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unbraid import records
from unbraid.checks import ResultsError, check_field, check_names, check_type, check_whole, refuse
from unbraid.networks import evaluating, frame_encoder
from unbraid.support.tensors import read_weights

JUDGED_AT_ONCE = 128  # frames judged at a time, in whole clips
STRAY = 0.1  # mean distance of pixels from [0, 1] up to which frames count as decoded ones

Classes = Mapping[str, tuple[str, ...]]


class FrameJudge(nn.Module):
    """Labels of single frames (N, C, H, W): paper C's frame encoder, and a head for each label.

    classes: names of the classes of each label, {"digit": ("0", "1", ...)}, at least two.
    image_size, channels: frames are (channels, image_size, image_size) with values in [0, 1].
    width, features: channels of the first convolution, outputs of the encoder.
    hidden: units of each head's hidden layer.
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
        check_type(Mapping, classes=classes)
        given = {name: check_names(f"classes[{name!r}]", each) for name, each in classes.items()}
        self.classes = {name: tuple(map(str, names)) for name, names in given.items()}
        fewest = min([len(set(names)) for names in self.classes.values()], default=0)
        check_field(fewest >= 2, "classes", "two or more for each label", self.classes)
        sizes = {"image_size": image_size, "channels": channels, "width": width}
        self.sizes = sizes | {"features": features, "hidden": hidden}
        check_whole((1, 2**14), **self.sizes)
        self.trunk = frame_encoder(image_size, channels, width, features)
        # Convolutions run fastest in this layout.
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = 2 * hidden if self.recurrent else features
        self.heads = nn.ModuleDict()
        for name, names in self.classes.items():
            check_field("." not in name, "classes", "labels without a dot in their names", name)
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
        device, length = next(self.parameters()).device, frames.shape[1] if self.recurrent else 1
        parts = frames.split(max(1, JUDGED_AT_ONCE // length))
        with evaluating(self):
            batches = [self(batch.to(device, torch.float32)) for batch in parts]
        joined = {}
        for name in self.classes:
            joined[name] = torch.cat([batch[name] for batch in batches]).softmax(-1).cpu()
        return joined

    def check(self, frames: Tensor) -> None:
        """Refuse frames that this judge was not made for; raises ValueError."""
        check_type(Tensor, frames=frames)
        size, shape = self.sizes["image_size"], tuple(frames.shape)
        own, axes = (self.sizes["channels"], size, size), "N, T" if self.recurrent else "N"
        if shape[-3:] != own or len(shape) != 4 + self.recurrent or 0 in shape:
            refuse("frames", f"({axes}) and {own}", shape)
        low, high = map(float, frames.aminmax())  # both are NaN if a single value is
        if not (frames.is_floating_point() and low >= 0 and high <= 1):
            refuse("frames", "floats in [0, 1]", f"{low:g} to {high:g}; divide bytes by 255")


class SequenceJudge(FrameJudge):
    """Labels of clips (N, T, C, H, W): frame encoder, bidirectional LSTM, a head for each label.

    hidden: also the LSTM's units each way. The heads see its forward output at the last frame and
    its backward output at the first. The default sizes are those of the paper.
    """

    recurrent = True

    def embed(self, frames: Tensor) -> Tensor:
        """The inputs of the heads, (N, 2 hidden)."""
        features = self.trunk(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])  # (N, T, g)
        outputs, _ = self.lstm(features)
        forward, backward = outputs.chunk(2, dim=-1)
        return torch.cat([forward[:, -1], backward[:, 0]], -1)


KINDS = {"frames": FrameJudge, "sequences": SequenceJudge}


def judge_probabilities(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """What a judge sees in frames (N, ..., C, H, W), averaged down to its size: (N, classes).

    Decoded frames may leave [0, 1] a little: they are cut. Frames of another range or of fewer
    pixels than the judge has learnt from are refused; raises ValueError.
    """
    check_field(hasattr(judge, "sizes"), "judge", "a FrameJudge", type(judge).__name__)
    check_type(Tensor, frames=frames)
    size, is_float = judge.sizes["image_size"], frames.is_floating_point()
    check_field(frames.numel() > 0, "frames", "one or more", tuple(frames.shape))
    if is_float and not float((frames - frames.clamp(0, 1)).abs().mean()) <= STRAY:
        low, high = map(float, frames.aminmax())
        refuse("frames", "values in [0, 1], or a little outside", f"{low:g} to {high:g}")
    is_larger = frames.ndim > 3 and frames.shape[-1] == frames.shape[-2] > size
    if is_larger and is_float:  # `check` refuses others
        frames = F.adaptive_avg_pool2d(frames.flatten(0, -4), size).unflatten(0, frames.shape[:-3])
    return judge.probabilities(frames.clamp(0, 1))


def judge_classes(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """What the judge names in frames (Q, C, H, W): class numbers (Q,) by label."""
    return {name: p.argmax(1) for name, p in judge_probabilities(judge, frames).items()}


def judge_clips(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """The judge's probabilities (N, classes) for clips (N, T, C, H, W), by label."""
    return {name: p.double() for name, p in judge_probabilities(judge, frames).items()}


def load_judge(name: Path | str, classes: Classes | None = None) -> FrameJudge:
    """A trained judge in eval mode.

    name: a .safetensors file with its record beside it, or the data whose shipped judge it is,
        such as "digits", "sprites" and "sprites_poses".
    classes: those of the data to be judged, which may have further labels; others are refused.
    """
    check_type((str, Path), name=name)
    check_type((Mapping, type(None)), classes=classes)
    path = Path(name)
    if path.suffix != ".safetensors":
        path = records.weights(Path("judges", name, "quick/judge-seed0").as_posix())
    state, described = read_weights(path, "judge")
    if described["kind"] not in KINDS:
        raise ResultsError(f"{path}: expected a judge's record, found {described['kind']!r}")
    judge = KINDS[described["kind"]](described["classes"], **described["sizes"])
    for label, names in judge.classes.items():
        found = names if classes is None else tuple(classes.get(label, ()))
        if found != names:
            raise ResultsError(f"{path}: expected the {label} of data among {names}, found {found}")
    judge.load_state_dict(state)
    return judge.eval()
