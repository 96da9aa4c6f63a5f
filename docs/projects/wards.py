"""The experiment of the sample report: is the mask ahead of the code in other settings, too?

    python docs/projects/wards.py --figure docs/projects/wards.svg > docs/projects/wards.txt

It opens the shipped weights of notebook 36 and trains linear models alone, which takes less than a
minute of one core. It needs PhysioNet's stays (`make data`).
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

WEIGHTS = "single_element/physionet/full/published_ward-seed0"
HOURS = (1, 2, 4, 8, 16, 32)  # every stay has at least 40
CARDIAC = intensive_care.UNITS.index("cardiac surgery recovery")
DRAWS, SHUFFLES = 10_000, 99

Parts = list[np.ndarray]  # of the training and of the test stays


def read_windows(stays: Sequences, hours: int) -> tuple[np.ndarray, np.ndarray]:
    """The mask and the means of the first hours of each stay, (N, 10) each.

    A sign that was never measured has no mean; NaN stands for it.
    """
    values = stays.frames[:, :hours].numpy()
    measured = stays.mask[:, :hours].numpy()
    count = measured.sum(1)
    sums = np.where(measured, values, 0).sum(1)
    means = np.divide(sums, count, out=np.full(sums.shape, np.nan), where=count > 0)
    return count / hours, means


def fill_gaps(known: np.ndarray, new: np.ndarray) -> Parts:
    """Put the mean of the training stays where a sign was never measured."""
    usual = np.nanmean(known, axis=0)
    return [np.where(np.isnan(part), usual, part) for part in (known, new)]


def read_all(stays: list[Sequences], hours: int) -> dict[str, Parts]:
    """What each linear model reads."""
    masks, means = zip(*(read_windows(part, hours) for part in stays), strict=True)
    filled = fill_gaps(*means)
    both = [np.hstack(pair) for pair in zip(filled, masks, strict=True)]
    return {"mask": list(masks), "means": filled, "means and mask": both}


def name_wards(known: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The wards (M,) that a linear model names for new stays (M, F)."""
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000))
    return linear.fit(known, labels).predict(new)


def find_limits(scores: np.ndarray) -> tuple[float, float]:
    """The 95 % limits of a mean over stays (M,), which are drawn again with replacement."""
    random = np.random.default_rng(0)
    drawn = random.integers(len(scores), size=(DRAWS, len(scores)))
    low, high = np.quantile(scores[drawn].mean(1), (0.025, 0.975))
    return low, high


def compare(title: str, readings: dict[str, Parts], wards: Parts, kept: Parts) -> dict:
    """Print the share of wards that each reading names, and the mask's lead over each other.

    kept: which stays of each part take part. Returns each share with its limits.
    """
    known, truth = select(wards, kept)
    print(f"\n{title}: {len(known)} stays to learn from, {len(truth)} to name")
    print(f"{'a constant':15} {(truth == np.bincount(known).argmax()).mean():.3f}")
    right, found = {}, {}
    for name, parts in readings.items():
        old, new = select(parts, kept)
        right[name] = (name_wards(old, known, new) == truth).astype(float)
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


def select(parts: Parts, kept: Parts) -> Parts:
    """Some rows of each part."""
    return [part[rows] for part, rows in zip(parts, kept, strict=True)]


def shuffle_labels(reading: Parts, wards: Parts, kept: Parts) -> list[float]:
    """The shares that a reading names after the training labels were shuffled, again and again."""
    random = np.random.default_rng(0)
    (old, new), (known, truth) = select(reading, kept), select(wards, kept)
    wrong = [name_wards(old, random.permutation(known), new) for _ in range(SHUFFLES)]
    return [float((named == truth).mean()) for named in wrong]


def draw(found: dict[int, dict], path: str) -> None:
    """The shares against the length of the window, with their limits."""
    plt.rcParams["svg.hashsalt"] = "wards"
    figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    looks = {"mask": ("ks-", -0.06), "means": ("o--", 0), "means and mask": ("^:", 0.06)}
    for name, (look, shift) in looks.items():
        shares, low, high = np.array([found[hours][name] for hours in HOURS]).T
        places = np.log2(HOURS) + shift
        ax.errorbar(places, shares, (shares - low, high - shares), fmt=look, label=name)
    share, low, high = found[4]["code s"]
    limits = [[share - low], [high - share]]
    ax.errorbar([2.12], [share], limits, fmt="D", color="#D55E00", label="code s, one run")
    ax.set_xticks(np.log2(HOURS), HOURS)
    ax.set(xlabel="hours read, from the first on", ylabel="wards named correctly", ylim=(0.3, 0.8))
    ax.legend(loc="lower right", ncols=2)
    figure.savefig(path, metadata={"Date": None})


def main(figure: str) -> None:
    """All comparisons of the report."""
    stays = [intensive_care.load(split) for split in ("train", "test")]
    wards = [part.labels["icu"].numpy() for part in stays]
    model = PublishedSeries.load(records.weights(WEIGHTS))
    codes = [encode_all(model, part)["static"].numpy() for part in stays]

    everyone = [np.ones(len(ward), bool) for ward in wards]
    others = [ward != CARDIAC for ward in wards]
    four = read_all(stays, 4) | {"code s": codes}
    four["mask and s"] = [np.hstack(pair) for pair in zip(four["mask"], codes, strict=True)]
    found = {4: compare("all wards, 4 hours", four, wards, everyone)}
    compare("without cardiac surgery recovery, 4 hours", four, wards, others)
    shares = shuffle_labels(four["mask"], wards, others)
    print(f"mask, shuffled labels: mean {np.mean(shares):.3f}, largest {max(shares):.3f}")
    for hours in HOURS:
        if hours != 4:
            found[hours] = compare(f"{hours} hours", read_all(stays, hours), wards, everyone)
    if figure:
        draw(found, figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", default="", help="write the figure to this file")
    torch.set_num_threads(1)
    main(parser.parse_args().figure)
