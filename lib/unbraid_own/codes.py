"""The codes of one's own sequences, as `measure` reads them, and whether swaps of them are right.

A swap decodes the static code of a test sequence with the dynamic codes of another one, the donor.
A judge that has learnt from real sequences names what is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from unbraid.codes import concatenate, decode_all, encode_all
from unbraid.data.sequences import Sequences
from unbraid.figures import films, images
from unbraid.measures.judges import SequenceJudge
from unbraid.measures.swaps import random_donors, show, swap_scores
from unbraid.models.base import SequenceModel
from unbraid.models.single_element import SingleElement
from unbraid.networks import evaluating
from unbraid.support.progress import progress_bar

from unbraid_own import pages
from unbraid_own.data import OwnData
from unbraid_own.verdict import FEWEST

UPDATES, BATCH, RATE = 300, 16, 2e-3  # of the judge
SIZES = {"image_size": 32, "width": 16, "features": 64, "hidden": 64}  # of its networks
MOST_CLASSES = 20  # of a label that it names
AT_ONCE = 64  # sequences judged at a time
SHOWN = 3  # test sequences in the film
TILE = 160  # pixels of the page for a frame, about

Labels = Mapping[str, Tensor]
Swaps = tuple[pages.Picture, list[tuple[str, ...]]]


class Sample(NamedTuple):
    """What `measure` reads, and the splits that it is of."""

    codes: dict[str, np.ndarray]
    factors: dict[str, np.ndarray]
    owners: np.ndarray  # (N,), the number of what each row is kept together with
    splits: list[str]


def encode(model: SequenceModel, data: OwnData) -> Sample:
    """Codes and labels of the test split, or of all where that is too small for a verdict.

    A model never sees labels, so that its training sequences may be measured. Steps that not all
    sequences have are left out.
    """
    is_enough = len(np.unique(data.owners["test"])) >= FEWEST
    splits = ["test"] if is_enough else [*data.splits]
    parts = [data.splits[name] for name in splits]
    steps, codes, factors = count_common(parts), {}, {}
    for name, code in concatenate([encode_all(model, part) for part in parts]).items():
        codes[name] = (code if code.ndim == 2 else code[:, :steps]).numpy()
    for name, values in concatenate([part.labels for part in parts]).items():
        numbers = (values if values.ndim == 1 else values[:, :steps]).numpy()
        classes = parts[0].classes.get(name)
        factors[name] = numbers if classes is None else np.array(classes)[numbers]
    owners = np.concatenate([data.owners[name] for name in splits])
    return Sample(codes, factors, owners, splits)


def count_common(parts: Sequence[Sequences]) -> int:
    """How many steps the shortest of all sequences has."""
    number = torch.arange(1, parts[0].length + 1)
    seen = (part.observed.reshape(len(part), part.length, -1).any(2) for part in parts)
    return min(int((steps * number).amax(1).min()) for steps in seen)


# ---- swaps


def swap(model: SingleElement, data: OwnData, dynamic: Sequence[str], seed: int = 0) -> Swaps:
    """A film of swaps of the test split, an image of series, and a row a label, if any is judged.

    A row has the shares that are named right in real, decoded and swapped sequences. dynamic: the
    labels of the motion.
    """
    steps = count_common([*data.splits.values()])
    train, test = (data.splits[name].as_float() for name in ("train", "test"))
    donors = torch.from_numpy(random_donors(len(test), seed))
    codes, columns = encode_all(model, test), {"sequence": test.frames}
    columns |= {"decoded": decode_all(model, codes), "donor": test.frames[donors]}
    for name, code in codes.items():
        columns[f"{name} of donor"] = decode_all(model, codes | {name: code[donors]})
    columns = {name: clips[:, :steps] for name, clips in columns.items()}
    if test.kind == "frames":
        columns = {name: clips.clamp(0, 1) for name, clips in columns.items()}
    picture = film({name: clips[:SHOWN] for name, clips in columns.items()})
    judged = [n for n in test.static if 2 <= len(test.classes.get(n, ())) <= MOST_CLASSES]
    # A class that training lacks cannot be named, as where a label is the group of the split.
    judged = [n for n in judged if set(test.labels[n].tolist()) <= set(train.labels[n].tolist())]
    if not judged:
        return picture, []
    classes = {name: test.classes[name] for name in judged}
    judge = fit_judge(train.frames[:, :steps], train.labels, classes, seed)
    real, plain, mixed = (
        name_classes(judge, columns[name], judged)
        for name in ("sequence", "decoded", "dynamic of donor")
    )
    own = {name: test.labels[name].numpy() for name in judged}
    theirs = {name: labels[donors] for name, labels in own.items()}
    groups = np.stack([data.owners["test"], data.owners["test"][donors]], 1)
    moving = [name for name in judged if name in dynamic]
    scores = swap_scores(mixed, own, theirs, moving, plain=plain, groups=groups)
    of_real = swap_scores(real, own, theirs, [], groups=groups)
    rows: list[tuple[str, ...]] = [
        ("label", "real", "reconstructed", "swapped", "if both differ", "chance", "should be")
    ]
    for name, each in scores.factors.items():
        shares = of_real.factors[name].right, each.plain, each.right, each.moved
        should = "the donor's" if each.role == "changes" else "its own"
        rows.append((name, *map(show, shares), f"{each.chance:.2f}", should))
    return picture, rows


def fit_judge(
    clips: Tensor, labels: Labels, classes: Mapping[str, tuple[str, ...]], seed: int = 0
) -> SequenceJudge:
    """A judge of classes of whole sequences, that has learnt from real ones (N, T, ...)."""
    torch.manual_seed(seed)
    # By numbers, because PyTorch gives no layer a name such as type or half.
    judge = SequenceJudge({str(n): each for n, each in enumerate(classes.values())}, **SIZES)
    if clips.ndim == 3:  # series, whose steps are no pictures
        features = SIZES["features"]
        layers = nn.Linear(clips.shape[2], features), nn.ReLU(), nn.Linear(features, features)
        judge.trunk = nn.Sequential(*layers)  # type: ignore[assignment]
    optimizer = torch.optim.Adam(judge.parameters(), RATE)
    rates = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, UPDATES)
    for _ in progress_bar(range(UPDATES), "fitting the judge"):
        rows = torch.randint(len(clips), (BATCH,))
        pairs = zip(judge(clips[rows]).values(), classes, strict=True)
        losses = [F.cross_entropy(logits, labels[name][rows]) for logits, name in pairs]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        optimizer.step()
        rates.step()
    return judge


@torch.no_grad()
def name_classes(
    judge: SequenceJudge, clips: Tensor, names: Iterable[str]
) -> dict[str, np.ndarray]:
    """What the judge of these labels names in sequences (N, T, ...): class numbers (N,)."""
    with evaluating(judge):
        parts = [[*judge(part).values()] for part in clips.split(AT_ONCE)]
    logits = map(torch.cat, zip(*parts, strict=True))
    return {name: each.argmax(1).numpy() for name, each in zip(names, logits, strict=True)}


def film(columns: Mapping[str, Tensor]) -> pages.Picture:
    """Clips (N, T, C, H, W) of several columns with titles, as frames that follow each other.

    Of series (N, T, D) it is one image: a row for each variable, time to the right.
    """
    clips = torch.stack(list(columns.values()), 1).flatten(0, 1)  # row by row
    if clips.ndim == 3:
        low, high = clips.quantile(0.01), clips.quantile(0.99)
        clips = ((clips - low) / (high - low)).clamp(0, 1).mT[:, None, None]
    zoom, drawn = max(1, TILE // max(clips.shape[-2:])), []
    for frames in clips.unbind(1):
        pixels = images.picture(frames, len(clips) // len(columns)).repeat(zoom, 0).repeat(zoom, 1)
        image = Image.fromarray((255 * pixels).astype("uint8"))
        drawn.append(np.asarray(films.write_above(image, list(columns))))
    alt = f"Pairs of test sequences: {', '.join(columns)}"
    return pages.embed(Image.fromarray(np.concatenate(drawn)), alt, frames=len(drawn))
