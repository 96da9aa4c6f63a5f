"""Paper C on clips: the static or the dynamic code is exchanged, drawn, or kept in part.

The protocol is that of the paper and its predecessors, and of the benchmark MSD (arXiv
2510.17313). A judge names the papers' action, nine motions; its parts, action and direction, are
read off its probabilities, because a direction that leaks is the first thing to go wrong. On your
own copy of MUG the expression is what changes in a clip, and the subject what stays.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor
from unbraid.codes import concatenate
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import MOTION_LABELS, class_labels  # noqa: F401
from unbraid.measures.judges import SequenceJudge, judge_clips
from unbraid.measures.swaps import generation_scores, random_donors
from unbraid.models.base import Codes, SequenceModel

from papers import datasets
from papers.evaluation import common, generic
from papers.evaluation.common import ATTRIBUTES, Evaluation, Examined, Figures
from papers.experiments import open_judge

BENCHMARK = ("action", *ATTRIBUTES)
STATIC_LABELS = (*ATTRIBUTES, "subject")  # what the static code should carry
SCORES = ("accuracy", "inception_score", "conditional_entropy", "marginal_entropy")
REPEATS = 5  # of draws, as in the authors' code
CLIPS_AT_ONCE = 32  # decoded, and judged or compared


def judge_codes(model: SequenceModel, judge: SequenceJudge, codes: Codes) -> dict[str, np.ndarray]:
    """The judge's probabilities (N, classes) for decoded codes, by label."""
    parts = []
    for rows in torch.arange(len(codes["static"])).split(CLIPS_AT_ONCE):
        frames = common.decode_all(model, {name: code[rows] for name, code in codes.items()})
        parts.append(judge_clips(judge, frames))
    return {name: values.numpy() for name, values in concatenate(parts).items()}


def true_swaps(clips: Sequences, donors: np.ndarray) -> Tensor:
    """The number of the true clip (N,) of each swap: the donor's character in the own motion.

    Raises ValueError for a character that is not in all motions.
    """
    characters, character = clips.labels["character"].unique(return_inverse=True)
    motion = clips.labels["motion"].long()
    numbers = torch.full((len(characters), int(motion.max()) + 1), -1)
    numbers[character, motion] = torch.arange(len(clips))
    if (numbers < 0).any():
        raise ValueError("clips: expected every character in every motion, found one that is not")
    return numbers[character[torch.as_tensor(donors)], motion]


def share_nearest(frames: Tensor, clips: Sequences, expected: Tensor) -> float:
    """Share of frames (N, T, C, H, W) to which, of all clips, the expected one (N,) is nearest."""
    true = common.as_float(clips.frames).flatten(1)  # (clips, pixels)
    centre = true.mean(0)  # Small numbers lose less to rounding.
    true = true - centre
    lengths, nearest = true.square().sum(1), []
    for part, rows in zip(frames.split(CLIPS_AT_ONCE), expected.split(CLIPS_AT_ONCE), strict=True):
        # Squared distances (n, clips), less what is the same for all clips.
        distances = lengths - 2 * (part.flatten(1) - centre) @ true.T
        nearest.append(distances.gather(1, rows[:, None])[:, 0] <= distances.amin(1))
    return float(torch.cat(nearest).double().mean())


def load_clips(settings, split: str, seed: int) -> Sequences:
    """The clips of randomly chosen characters, one character after the other."""
    clips = datasets.load(settings.dataset, split, image_size=settings.image_size)
    count = settings.evaluation_characters
    if split == "train":
        count = settings.evaluation_training_characters
    character = clips.labels["character"]
    people = len(character.unique())
    order = character.argsort(stable=True).view(people, -1)  # each in all motions
    chosen = torch.randperm(people, generator=torch.Generator().manual_seed(0))[:count]
    return clips.subset(order[chosen.sort().values].flatten())


def examine_clips(model: SequenceModel, settings, seed: int, load) -> Examined:
    """Codes of training and test clips, the judge of clips, and the labels (N,) that it names."""
    model.to(memory_format=torch.channels_last)  # Convolutions run fastest in this layout.
    examined = common.examine(model, settings, seed, load)
    examined.labels = class_labels(examined.test)
    examined.judge = open_judge(settings.dataset, settings.profile, examined.test.classes)
    return examined


def clip_reconstruction(examined: Examined) -> Figures:
    """reconstruct_<label>: share of decoded test clips in which the judge, trained on real clips,
    names the label; reconstruct_nearest: in which the true clip is the nearest of all test clips;
    reconstruct_rmse: of pixels in [0, 1]. action: the papers', nine classes; motion_action and
    motion_direction: its parts, three each; skin, trousers, top, hair: six. On faces: expression,
    six, and subject."""
    decoded = common.decode_all(examined.model, examined.test_codes)
    figures = {
        "reconstruct_rmse": common.root_mean_square(decoded, examined.test.frames),
        "reconstruct_nearest": share_nearest(decoded, examined.test, torch.arange(len(decoded))),
    }
    for name, probabilities in judge_clips(examined.judge, decoded).items():
        right = probabilities.numpy().argmax(1) == examined.labels[name]
        figures[f"reconstruct_{name}"] = float(right.mean())
    return figures


def swaps(examined: Examined) -> Figures:
    """Each test clip's dynamic code with another's static code. swap_<label>: share in which the
    judge names the dynamic donor's action (of faces: expression), the static donor's attributes
    (subject). swap_leak_*: where the two differ, the other donor's. swap_other_*: the other donor's
    in all pairs; _chance: how often the two agree anyway. swap_nearest, of sprites, without a
    judge: share in which the true clip, the static donor's character in the dynamic donor's motion,
    is the nearest of all test clips by squared error."""
    donors, figures = random_donors(len(examined.test), examined.seed), {}
    codes = examined.test_codes | {"static": examined.test_codes["static"][donors]}
    frames = common.decode_all(examined.model, codes)
    for name, probabilities in judge_clips(examined.judge, frames).items():
        judged, expected = probabilities.numpy().argmax(1), examined.labels[name]
        other = expected[donors]
        if name in STATIC_LABELS:
            expected, other = other, expected
        right, leaked = common.donor_shares(judged, expected, other)
        figures[f"swap_{name}"] = right
        figures[f"swap_leak_{name}"] = leaked
        if name in BENCHMARK:
            figures[f"swap_other_{name}"] = float((judged == other).mean())
            figures[f"swap_other_{name}_chance"] = float((expected == other).mean())
    if "motion" in examined.test.labels:
        expected = true_swaps(examined.test, donors)
        figures["swap_nearest"] = share_nearest(frames, examined.test, expected)
    return figures


def generations(examined: Examined) -> Figures:
    """Dynamics kept, static drawn from N(0, I): accuracy of the action (of faces: expression), and
    on as many clips of each class inception_score = exp(H(y) - H(y given x)), conditional_entropy
    H(y given x) and marginal_entropy H(y) in nats. Static kept, on every third clip (of
    Sprites the one that looks to the front): share in which
    the judge names the clip's attribute (subject), kept_<attribute> with the means of the dynamic
    prior along a drawn path, as the authors of the paper do, kept_drawn_<attribute> with the draws
    themselves. Of faces, leak_subject: the clip's subject where the static code is drawn;
    leak_expression: its expression where the dynamic one is. All are means over 5 repeats."""
    model, codes, labels = examined.model, examined.test_codes, examined.labels
    moving, *others = labels
    thirds = {name: code[::3] for name, code in codes.items()}
    generator = common.generator_for(model, 30_000 + examined.seed)
    repeats = defaultdict(list)

    def add_share(figure: str, seen: dict[str, np.ndarray], name: str, every: int) -> None:
        repeats[figure].append((seen[name].argmax(1) == labels[name][::every]).mean())

    for _ in range(REPEATS):
        drawn = common.draw_others(model, codes, "dynamic", generator)
        seen = judge_codes(model, examined.judge, drawn)
        scores = generation_scores(seen[moving], labels[moving], draws=1)
        for name in SCORES:
            repeats[name].append(getattr(scores, name).mean)
        if moving == "expression":
            add_share("leak_subject", seen, "subject", every=1)
        drawn = common.draw_others(model, thirds, "static", generator)
        means = drawn | {"dynamic": prior_means(model, drawn["dynamic"])}
        for prefix, made in {"kept": means, "kept_drawn": drawn}.items():
            seen = judge_codes(model, examined.judge, made)
            for name in (label for label in others if label in STATIC_LABELS):
                add_share(f"{prefix}_{name}", seen, name, every=3)
        if moving == "expression":
            add_share("leak_expression", seen, "expression", every=3)
    return {name: float(np.mean(values)) for name, values in repeats.items()}


@torch.no_grad()
def prior_means(model: SequenceModel, dynamic: Tensor) -> Tensor:
    """The means of p(d_t | d_<t) along a path of draws (B, T, d), on the CPU; 0 stays 0."""
    means = model.prior(dynamic.to(common.device_of(model))).mean.cpu()
    return means.masked_fill((dynamic == 0).all(2, keepdim=True), 0.0)


def clip_probes(examined: Examined) -> Figures:
    """<code>_probe_<label>: skill, 0 for the commonest class, 1 if always right, of a linear probe
    trained on codes of clips of training characters, scored on test characters. dynamic: all its
    steps side by side."""
    codes = []
    for code in (examined.train_codes, examined.test_codes):
        codes.append({"static": code["static"], "dynamic": code["dynamic"].flatten(1)})
    labels = class_labels(examined.train), class_labels(examined.test)
    return common.probe_figures(common.probe(*codes, *labels, "linear", examined.seed))


CLIP_MEASURES = (generic.bound, clip_reconstruction, swaps, generations, clip_probes)
CLIPS = Evaluation(load_clips, examine_clips, CLIP_MEASURES)
FACE_CLIPS = Evaluation(common.load_split, examine_clips, CLIP_MEASURES)
