"""The sample report's experiment: does the mask name more wards than the code in every setting?

    python docs/projects/wards.py [--figure FILE.svg]

It opens the shipped weights of notebook 36 and trains linear models alone, about a minute on one
core. It needs PhysioNet's stays (`make data`).
"""

from __future__ import annotations

import argparse

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from unbraid import encode_all, records
from unbraid.data import intensive_care
from unbraid.data.sequences import Sequences
from unbraid.variants import PublishedSeries

HOURS = (1, 2, 4, 8, 16, 32)  # every stay has at least 40
CARDIAC = intensive_care.UNITS.index("cardiac surgery recovery")
DRAWS, SHUFFLES = 10_000, 99
WEIGHTS = "single_element/physionet/full/published_ward-seed0"


def read_windows(stays: Sequences, hours: int) -> dict[str, np.ndarray]:
    """The mask and the means of the first hours of each stay, (N, 10) each.

    A sign that was never measured has no mean; NaN stands for it.
    """
    values = stays.frames[:, :hours].numpy()
    measured = stays.mask[:, :hours].numpy()
    count = measured.sum(1)
    sums = np.where(measured, values, 0).sum(1)
    means = np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)
    return {"mask": count / hours, "means": means}


def fill_gaps(known: np.ndarray, new: np.ndarray) -> list[np.ndarray]:
    """Put the mean of the training stays where a sign was never measured."""
    usual = np.nanmean(known, axis=0)
    return [np.where(np.isnan(part), usual, part) for part in (known, new)]


def name_wards(known: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The wards (M,) that a linear model names for new stays (M, F)."""
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return linear.fit(known, labels).predict(new)


def find_limits(right: np.ndarray) -> tuple[float, float]:
    """The 95 % limits of a mean over stays (M,), which are drawn again with replacement."""
    random = np.random.default_rng(0)
    drawn = random.integers(len(right), size=(DRAWS, len(right)))
    low, high = np.quantile(right[drawn].mean(1), (0.025, 0.975))
    return low, high


def read_all(hours: int, codes: list[np.ndarray] | None = None) -> dict[str, list[np.ndarray]]:
    """What each linear model reads of the training and of the test stays."""
    windows = [read_windows(part, hours) for part in STAYS]
    masks = [window["mask"] for window in windows]
    means = fill_gaps(*(window["means"] for window in windows))
    readings = {"mask": masks, "means": means}
    readings["means and mask"] = [np.hstack(pair) for pair in zip(means, masks, strict=True)]
    if codes:
        readings["code s"] = codes
        readings["mask and s"] = [np.hstack(pair) for pair in zip(masks, codes, strict=True)]
    return readings


def compare(title: str, readings: dict[str, list[np.ndarray]], kept: list[np.ndarray]) -> dict:
    """Print the share of wards that each reading names, and the mask's lead over each other."""
    labels = [ward[rows] for ward, rows in zip(WARDS, kept, strict=True)]
    usual = np.bincount(labels[0]).argmax()
    print(f"\n{title}: {len(labels[0])} stays to learn from, {len(labels[1])} to name")
    print(f"{'a constant':15} {(labels[1] == usual).mean():.3f}")
    right, found = {}, {}
    for name, parts in readings.items():
        known, new = (part[rows] for part, rows in zip(parts, kept, strict=True))
        right[name] = (name_wards(known, labels[0], new) == labels[1]).astype(float)
    for name, hits in right.items():
        low, high = find_limits(hits)
        found[name] = hits.mean(), low, high
        line = f"{name:15} {hits.mean():.3f} ({low:.3f} to {high:.3f})"
        if name != "mask":
            lead = right["mask"] - hits
            low, high = find_limits(lead)
            line += f"   mask ahead by {lead.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        print(line)
    return found


def shuffle_labels(readings: list[np.ndarray], kept: list[np.ndarray]) -> list[float]:
    """The shares that a reading names after the training labels were shuffled, again and again."""
    random = np.random.default_rng(0)
    known, new = (part[rows] for part, rows in zip(readings, kept, strict=True))
    labels = [ward[rows] for ward, rows in zip(WARDS, kept, strict=True)]
    wrong = [name_wards(known, random.permutation(labels[0]), new) for _ in range(SHUFFLES)]
    return [float((named == labels[1]).mean()) for named in wrong]


def draw(found: dict[int, dict], path: str) -> None:
    """The shares against the length of the window, with their limits."""
    figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    looks = {"mask": "ks-", "means": "o--", "means and mask": "^:"}
    for shift, (name, look) in zip((-0.06, 0, 0.06), looks.items(), strict=True):
        shares, low, high = np.array([found[hours][name] for hours in HOURS]).T
        places = np.log2(HOURS) + shift
        ax.errorbar(places, shares, (shares - low, high - shares), fmt=look, label=name)
    share, low, high = found[4]["code s"]
    limits = [[share - low], [high - share]]
    ax.errorbar([2.12], [share], limits, fmt="D", color="#D55E00", label="code s, one run")
    ax.set_xticks(np.log2(HOURS), HOURS)
    ax.set(xlabel="hours read, from the first on", ylabel="wards named correctly", ylim=(0.35, 0.8))
    ax.legend(loc="lower right", ncols=2)
    plt.rcParams["svg.hashsalt"] = "wards"
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", default="", help="write the figure to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)

    STAYS = [intensive_care.load(split) for split in ("train", "test")]
    WARDS = [part.labels["icu"].numpy() for part in STAYS]
    model = PublishedSeries.load(records.weights(WEIGHTS))
    codes = [encode_all(model, part)["static"].numpy() for part in STAYS]

    everyone = [np.ones(len(ward), bool) for ward in WARDS]
    others = [ward != CARDIAC for ward in WARDS]
    four = read_all(4, codes)
    found = {4: compare("all wards, 4 hours", four, everyone)}
    compare("without cardiac surgery recovery, 4 hours", four, others)
    shares = shuffle_labels(four["mask"], others)
    print(f"mask, shuffled labels: mean {np.mean(shares):.3f}, largest {max(shares):.3f}")
    for hours in HOURS:
        if hours != 4:
            found[hours] = compare(f"all wards, {hours} hours", read_all(hours), everyone)
    if options.figure:
        draw(found, options.figure)
