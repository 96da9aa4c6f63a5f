"""Judges: classifiers that say what a clip or a frame shows, so that generated ones can be counted.

They learn from real clips alone (papers/judge.py), by the protocol of paper C (Berman et al. 2024);
their own accuracy belongs next to every figure they give.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from unbraid import files, records
from unbraid.checks import ResultsError, check_field, check_type
from unbraid.networks import frame_encoder

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
        fewest = min([len(set(names)) for names in self.classes.values()], default=0)
        check_field(fewest >= 2, "classes", "two or more for each label", self.classes)
        sizes = {"image_size": image_size, "channels": channels, "width": width}
        self.sizes = sizes | {"features": features, "hidden": hidden}
        self.trunk = frame_encoder(image_size, channels, width, features)
        # Convolutions run fastest in this layout.
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        device, training = next(self.parameters()).device, self.training
        self.eval()
        batches = [self(batch.to(device, torch.float32)) for batch in frames.split(JUDGED_AT_ONCE)]
        self.train(training)
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
            raise ValueError(f"frames: expected ({axes}) and {own}, found {shape}")
        is_float = frames.is_floating_point()
        check_field(is_float, "frames", "floats (divide bytes by 255)", frames.dtype)
        low, high = map(float, frames.aminmax())  # both are NaN if a single value is
        if not (low >= 0 and high <= 1):
            raise ValueError(f"frames: expected values in [0, 1], found {low:g} to {high:g}")


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
    """What a judge sees in frames (N, ..., C, H, W), averaged down to its size: (N, classes)."""
    size = judge.sizes["image_size"]
    if frames.shape[-1] != size and frames.shape[-1] == frames.shape[-2]:  # `check` refuses others
        frames = F.adaptive_avg_pool2d(frames.flatten(0, -4), size).unflatten(0, frames.shape[:-3])
    return judge.probabilities(frames.clamp(0, 1))


def judge_classes(judge: FrameJudge, frames: Tensor) -> dict[str, Tensor]:
    """What the judge names in frames (Q, C, H, W): class numbers (Q,) by label."""
    return {name: p.argmax(1) for name, p in judge_probabilities(judge, frames).items()}


def load_judge(name: Path | str, classes: Classes | None = None) -> FrameJudge:
    """A trained judge in eval mode.

    name: a .safetensors file with its record beside it, or the data whose shipped judge it is,
        such as "digits", "sprites" and "sprites_poses".
    classes: those of the data to be judged, which may have further labels. Raises `ResultsError`
        for others, and for missing or damaged files.
    """
    check_type((str, Path), name=name)
    path = Path(name)
    if path.suffix != ".safetensors":
        path = records.weights(f"judges/{name}/quick/judge-seed0")
    record_path = path.with_suffix(".run.json")
    record = records.read_json(record_path)
    try:
        described, digest = record["judge"], record["weights_sha256"]
        judge = KINDS[described["kind"]](described["classes"], **described["sizes"])
    except (KeyError, TypeError, ValueError) as error:
        message = f"expected a judge's record, found {error!r}; train the judge again"
        raise ResultsError(f"{record_path}: {message}") from None
    for label, names in judge.classes.items():
        found = names if classes is None else tuple(classes.get(label, ()))
        if found != names:
            raise ResultsError(f"{path}: expected the {label} of data among {names}, found {found}")
    if not path.exists() or files.digest(path) != digest:
        raise ResultsError(f"{path}: expected weights of the record's SHA-256; {records.RESTORE}")
    judge.load_state_dict(load_file(path))
    return judge.eval()
