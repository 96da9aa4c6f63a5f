"""Japanese Vowels: nine men say /ae/, as series of cepstrum coefficients (Kudo et al. 1999)."""

from __future__ import annotations

import gzip

import numpy as np

from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences
from unbraid.data.series import make_series


def load(split: str = "train", scaled: bool = True) -> Sequences:
    """Japanese Vowels: nine men say /ae/; 12 cepstrum coefficients per step (Kudo et al. 1999).

    split: "train", 30 utterances of each speaker, or "test", 24 to 88 of each: 370.
    scaled: z-scores by the observed entries of "train", or with false the published coefficients.
    Series (N, 29, 12) of 7 to 29 steps; those after the end are false in the mask (N, 29).
    Label: speaker (N,), static.
    """
    values = np.full((640, 29, 12), np.nan, np.float32)
    lines = []
    for part in ("TRAIN", "TEST"):
        with gzip.open(files("vowels")[f"JapaneseVowels_{part}.ts.gz"], "rt") as stream:
            lines += stream.read().partition("@data\n")[2].splitlines()
    speakers = []
    for row, line in enumerate(lines):  # twelve lists of steps and the speaker, between colons
        *variables, speaker = line.split(":")
        steps = np.array([variable.split(",") for variable in variables], np.float64)
        values[row, : steps.shape[1]] = steps.T
        speakers.append(int(speaker) - 1)
    parts = {"train": np.arange(270), "test": np.arange(270, 640)}
    labels = {"speaker": np.array(speakers)}
    classes = {"speaker": tuple(f"speaker {number}" for number in range(1, 10))}
    about = "Japanese Vowels, 12 cepstra of 9 speakers"
    return make_series(values, parts, split, scaled, labels, classes, about)
