"""Japanese Vowels: nine men say /ae/, as series of cepstrum coefficients (Kudo et al. 1999)."""

import gzip

import numpy as np

from unbraid.data.fetch import files
from unbraid.data.sequences import Sequences
from unbraid.data.series import make_series


def load(split: str = "train") -> Sequences:
    """Japanese Vowels: nine men say /ae/; series (N, 29, 12) of 12 cepstrum coefficients a step.

    split: "train", 30 utterances of each speaker, or "test", 24 to 88 of each: 370. Steps after the
    end, 7 at the earliest, are false in the mask (N, 29). Label: speaker (N,), static.
    """
    lines = []
    for part in ("TRAIN", "TEST"):
        with gzip.open(files("vowels")[f"JapaneseVowels_{part}.ts.gz"], "rt") as stream:
            lines += stream.read().partition("@data\n")[2].splitlines()
    values = np.full((len(lines), 29, 12), np.nan, np.float32)
    speaker = np.zeros(len(lines), np.int64)
    for row, line in enumerate(lines):  # twelve lists of steps and the speaker, between colons
        *variables, name = line.split(":")
        steps = np.array([variable.split(",") for variable in variables], np.float64)
        values[row, : steps.shape[1]] = steps.T
        speaker[row] = int(name) - 1
    parts = {"train": np.arange(270), "test": np.arange(270, 640)}
    classes = {"speaker": tuple(f"speaker {number}" for number in range(1, 10))}
    about = "Japanese Vowels, 12 cepstra of 9 speakers"
    return make_series(values, parts, split, {"speaker": speaker}, classes, about)
