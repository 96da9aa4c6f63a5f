"""Sequences of which a mask hides something: sprites in some directions, an action withheld."""

from dataclasses import replace

import torch
from unbraid.checks import check_field
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import DIRECTIONS, POSE_LABELS, load_poses


def load_directions(split: str = "train", image_size: int = 32) -> Sequences:
    """All poses of sprites, of which the mask (N, 178) shows one, two or four directions.

    A set of ours: with hair 0 or 1 a character is seen from the front only, with 2 or 3 from the
    left and the right, with 4 or 5 from all sides, so p(z | f) differs from its average over f.
    """
    poses = load_poses(split, image_size)
    front = POSE_LABELS["direction"] == DIRECTIONS.index("front")
    back = POSE_LABELS["direction"] == DIRECTIONS.index("back")
    shown = torch.stack([front, ~front & ~back, torch.ones_like(front)])
    mask = shown[poses.labels["hair"] // 2]
    provenance = poses.provenance.replace("all 178 poses", "poses in 1, 2 or 4 directions")
    return replace(poses, mask=mask, provenance=provenance)


def withhold(sequences: Sequences, label: str, share: float = 0.2, seed: int = 0) -> Sequences:
    """The same frames, of which a `share` of the sequences lacks one class of a dynamic label.

    Which sequences and which class of each is drawn with `seed`.
    """
    classes = [name for name in sequences.dynamic if name in sequences.classes]
    check_field(label in classes, "label", f"one of the dynamic classes {classes}", repr(label))
    check_field(0 < share < 1, "share", "between 0 and 1", share)
    generator = torch.Generator().manual_seed(seed)
    count = round(share * len(sequences))
    rows = torch.randperm(len(sequences), generator=generator)[:count]
    absent = torch.randint(len(sequences.classes[label]), (count,), generator=generator)
    mask = sequences.observed.clone()
    mask[rows] &= sequences.labels[label][rows] != absent[:, None]  # (rows, T)
    return replace(sequences, mask=mask)
