"""Paper C's evaluation: what becomes of a clip whose static or dynamic code is exchanged or drawn, and what each code tells.

`evaluate` gives the figures of one model, `protocol` what their names mean, `draw` its swaps as a file. Images are judged, by
`evaluation.clips`; speech and series have instruments of their own, `evaluation.speech` and `evaluation.series`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from unbraid import plots
from unbraid.data import catalogue
from unbraid.data.sequences import Sequences
from unbraid.evaluation.clips import (
    KNOWN,
    MOTION,
    RETAINED,
    Clips,
    generated,
    labels_of,
    reconstructed,
    retained,
    swapped,
)
from unbraid.evaluation.codes import bound_terms, decode, device_of, infer, root_mean_square
from unbraid.evaluation.unordered import judge_of
from unbraid.interventions import swap
from unbraid.measures.leakage import leakage_matrix
from unbraid.models.interface import Codes, SequenceModel

IMAGES, SPEECH, SERIES = (
    ("sprites", "drawn_sprites"),
    ("spoken_digits",),
    ("vowels", "weather", "air_quality", "etth1", "physionet"),
)
CHARACTERS = {
    "smoke": {"train": 60, "test": 24},
    "quick": {"train": 333, "test": None},
}  # all of whose clips are looked at
COMPONENTS = 100  # principal components of the anchor's pixels, which the probes beside the static code's read


def evaluate(
    model: SequenceModel, dataset: str, chosen, seed: int, profile: str = "quick"
) -> dict[str, float]:
    """All figures of one model by name; `protocol` says what they are; of an ablation those of bound, judge and linear probes.
    The model is put into eval mode.

    chosen: the settings it was trained with. seed: of all that is drawn here. profile: of the judge of clips; where there is none
    of this profile, the quick one. Raises `ValueError` for an unknown dataset, `DataError` and `ResultsError` where data or the
    judge are missing.
    """
    check(dataset)
    model.eval()
    if dataset in SPEECH:
        from unbraid.evaluation.speech import evaluate_speech

        return evaluate_speech(model, chosen, seed)
    if dataset in SERIES:
        from unbraid.evaluation.series import evaluate_series

        return evaluate_series(model, dataset, chosen, seed)
    return evaluate_clips(model, dataset, chosen, seed, profile)


@torch.no_grad()
def evaluate_clips(
    model: SequenceModel, dataset: str, chosen, seed: int, profile: str
) -> dict[str, float]:
    """The figures of a model of clips."""
    learn, test = (data_of(dataset, split, chosen) for split in ("train", "test"))
    train, codes = infer(model, learn.frames), infer(model, test.frames)
    clips = Clips(
        model,
        judge_of(dataset, profile, test.classes),
        codes,
        labels_of(test),
        test.labels["character"].numpy(),
        seed,
    )
    decoded = decode(model, codes["static"], codes["dynamic"])
    figures = bound_terms(model, [test], seed) | {
        "reconstruct_rmse": root_mean_square(decoded, test.frames)
    }
    figures |= reconstructed(clips, decoded) | swapped(clips) | generated(clips)
    both = [
        {"static": one["static"], "dynamic": one["dynamic"].flatten(1)} for one in (train, codes)
    ]
    if chosen.section.count(".") > 1:  # an ablation
        return figures | read_off(*both, learn, test, seed, ("linear",))
    figures |= retained(clips, train["static"].double().numpy(), labels_of(learn))
    told = read_off(*both, learn, test, seed)
    shown = anchor_read(dataset, chosen.profile, chosen.image_size, chosen.anchor)
    keys = [key for name in MOTION for key in (name, f"{name}_nonlinear")]
    beyond = {
        f"static_excess_{key}": told[f"static_probe_{key}"] - shown[f"anchor_pixels_probe_{key}"]
        for key in keys
    }
    return figures | told | shown | beyond


def check(dataset: str) -> None:
    """Refuse a dataset that part C is not measured on."""
    if dataset not in (known := (*IMAGES, *SPEECH, *SERIES)):
        raise ValueError(f"dataset: expected one of {', '.join(known)}, found {dataset!r}")


def data_of(dataset: str, split: str, chosen) -> Sequences:
    """The clips that probes learn from ("train") or that all is measured on ("test"), one character after the other."""
    known = catalogue.load(dataset, split, image_size=chosen.image_size)
    character = known.labels["character"]
    people = character.unique()
    count = CHARACTERS.get(chosen.profile, CHARACTERS["quick"])[split]
    order = character.argsort(stable=True).view(len(people), -1)  # each in all motions
    some = (
        torch.randperm(len(people), generator=torch.Generator().manual_seed(0))[
            : count or len(people)
        ]
        .sort()
        .values
    )
    return known.subset(order[some].flatten())


def read_off(
    train: Codes,
    test: Codes,
    learn: Sequences,
    tried: Sequences,
    seed: int,
    probes=("linear", "nonlinear"),
) -> dict[str, float]:
    """<code>_probe_<label>: skill of a linear probe on codes (N, D), learnt from training clips and scored on test clips; with the
    ending _nonlinear of a non-linear one. Intervals are over test characters, whose clips are in a row.
    """
    known = [labels_of(one) for one in (learn, tried)]
    clips = len(tried) // len(tried.labels["character"].unique())  # of a character
    labels = {
        name: np.concatenate([one[name] for one in known]).reshape(-1, clips) for name in KNOWN
    }
    held_out = np.arange(len(labels["action"])) >= len(learn) // clips
    figures = {}
    for code in train:
        both = np.concatenate([np.asarray(train[code]), np.asarray(test[code])]).reshape(
            len(held_out), clips, -1
        )
        for probe in probes:
            found = leakage_matrix(
                {code: both},
                labels,
                probe=probe,
                pooling="frames",
                test=held_out,
                bootstrap=100,
                permutations=1,
                seed=seed,
            )
            for name, value, (low, high) in zip(
                found.columns, found.value[0].tolist(), found.test_interval[0].tolist()
            ):
                key = f"{code}_probe_{name}" + ("_nonlinear" if probe == "nonlinear" else "")
                figures |= {key: value, f"{key}_low": low, f"{key}_high": high}
    return figures


@lru_cache(maxsize=16)
def anchor_read(dataset: str, profile: str, image_size: int, anchor: str | int) -> dict[str, float]:
    """anchor_pixels_probe_<label>: what the same probes read off the pixels of the element that the static code is told of."""
    chosen = SimpleNamespace(image_size=image_size, profile=profile)
    learn, test = (data_of(dataset, split, chosen) for split in ("train", "test"))
    at = {"first": 0, "any": 0, "middle": test.length // 2, "last": test.length - 1}.get(
        anchor, anchor
    )
    pixels = [one.frames[:, int(at)].flatten(1).float().numpy() / 255 for one in (learn, test)]
    components = PCA(min(COMPONENTS, len(learn) - 1), random_state=0).fit(pixels[0])
    found = read_off(
        *({"anchor_pixels": components.transform(one)} for one in pixels), learn, test, 0
    )
    return {name: value for name, value in found.items() if not name.endswith(("_low", "_high"))}


def protocol(dataset: str, chosen) -> dict:
    """What the figures of `evaluate` mean, for metrics.json: the data, sizes, and a sentence on each group of names."""
    check(dataset)
    if dataset in SPEECH:
        from unbraid.evaluation.speech import protocol_speech

        return protocol_speech(chosen)
    if dataset in SERIES:
        from unbraid.evaluation.series import protocol_series

        return protocol_series(dataset, chosen)
    test = data_of(dataset, "test", chosen)
    return {
        "data": test.provenance,
        "split": "test",
        "sequences": len(test),
        "characters": len(test.labels["character"].unique()),
        **PROTOCOL,
    }


PROTOCOL = {
    "labels": "action: the papers', nine classes; motion_action and motion_direction: its parts, three classes each; skin, trousers, top, "
    "hair: six classes each. Codes are posterior means, of one fixed noise in the anchor's place",
    "intervals of names": "<name>_low, <name>_high: 95 % over test characters, whose clips are drawn together (of entropies and scores over "
    "clips): of this model, not over seeds; here means over seeds of these limits",
    "bound": "nats, mean over test clips, one draw of the codes each; kl_static is of a clip, kl_dynamic_per_frame of a frame",
    "reconstruct": "share of decoded test clips in which the judge, trained on real clips, names the label; rmse of pixels in [0, 1]",
    "swap": "each test clip's dynamic code with another's static code: share in which the judge names the dynamic donor's action, the static "
    "donor's attributes (swap_together: all five). swap_leak_*: where the two differ, the other donor's; _chance: if those judged wrong "
    "were spread evenly over the other classes. swap_other_*: the other donor's in all pairs; _chance: how often the two agree anyway",
    "generation": "dynamics kept, static drawn from N(0, I): accuracy of the action, and on as many clips of each class entropy_conditional "
    "H(y given x) and entropy_marginal H(y) in nats, inception_score = exp(H(y) - H(y given x)). Static kept, dynamics drawn from their prior: "
    "kept_<attribute>, and the same three ending in the attribute's name. fallen_*: the label agrees with the clip's though its code "
    "was drawn; _chance: if unrelated. drawn_entropy_*: of what was drawn, all clips",
    "benchmark": "MSD (arXiv 2510.17313): swap_score and sample_score, two factors. retain_<label>: one label's share of the codes is kept, all "
    f"else is another clip's, {RETAINED} clips: units of s by a random forest's importances; retain_directions_*: directions of s in which "
    "the attribute's classes differ; retain_score, retain_directions_score over the five labels",
    "probes": "<code>_probe_<label>: skill, 0 for the commonest class, 1 if always right, of a linear probe, and _nonlinear; trained on codes "
    f"of clips of {CHARACTERS['quick']['train']} training characters, scored on test characters. dynamic: all its steps side by side. "
    f"anchor_pixels: {COMPONENTS} principal components of the anchor's pixels. static_excess_* = static_probe_* - anchor_pixels_probe_*",
}


@torch.no_grad()
def draw(model: SequenceModel, dataset: str, path: Path) -> None:
    """Two test sequences, decoded, with the other's dynamic code, without one (d = 0), and with codes drawn: a file."""
    check(dataset)
    model.eval()
    if dataset in SPEECH:
        from unbraid.evaluation.speech import data_of as heard

        test = heard("test")
    else:
        test = catalogue.load(
            dataset, "test", **({"image_size": model.frame_shape[-1]} if dataset in IMAGES else {})
        )
    rows, device = (
        torch.tensor([1, len(test) // 2]),
        device_of(model),
    )  # of sprites: two motions of two characters
    pair = test.subset(rows).as_float().to(device)
    mask = {} if pair.mask is None else {"mask": pair.mask}
    codes, generator = model.infer(pair.frames, **mask), torch.Generator(device).manual_seed(0)
    other = swap(codes, {name: code.flip(0) for name, code in codes.items()}, "dynamic")[0]
    made = {
        "decoded": codes,
        "the other's d": other,
        "d = 0": codes | {"dynamic": torch.zeros_like(codes["dynamic"])},
    }
    for name in ("dynamic", "static"):
        kept = {one: code for one, code in codes.items() if one != name}
        made[f"{name[0]} drawn"] = model.generate(2, codes["dynamic"].shape[1], generator, kept)
    shown = {"sequence": pair.frames} | {label: model.decode(some) for label, some in made.items()}
    plots.use_style()
    figure = films(shown) if dataset in IMAGES else curves(shown, pair.mask)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def films(shown: dict[str, Tensor]) -> plt.Figure:
    """Two clips side by side, each (2, T, C, H, W) of `shown` a row."""
    figure, axes = plt.subplots(1, 2, figsize=(13, 0.75 * len(shown) + 0.6))
    for number, (ax, title) in enumerate(zip(axes, "AB")):
        plots.grid(
            torch.stack([frames[number] for frames in shown.values()]).cpu(),
            () if number else list(shown),
            ax,
        )
        ax.set_title(f"sequence {title}")
    return figure


def curves(shown: dict[str, Tensor], mask: Tensor | None) -> plt.Figure:
    """Two series as pictures, variables downwards, steps to the right, each (2, T, variables) of `shown` a row."""
    figure, axes = plt.subplots(
        len(shown), 2, figsize=(9, 1.1 * len(shown) + 0.6), sharex=True, sharey=True, squeeze=False
    )
    first = shown["sequence"]
    spread = first.flatten(0, 1).std(0).clamp(min=1e-6)
    for row, (label, series) in zip(axes, shown.items()):
        for number, ax in enumerate(row):
            values = ((series[number] - first.flatten(0, 1).mean(0)) / spread).cpu()
            if mask is not None and label == "sequence":
                values = values.masked_fill(~mask[number].view(len(values), -1).cpu(), torch.nan)
            ax.imshow(
                values.T.numpy(),
                aspect="auto",
                cmap="cividis",
                vmin=-2.5,
                vmax=2.5,
                interpolation="nearest",
            )
        row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], "AB"):
        ax.set_title(f"sequence {title}")
    axes[-1][0].set_xlabel("step; variables downwards, in standard deviations")
    return figure
