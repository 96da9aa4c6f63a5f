"""Made voices, which stand in for the spoken digits where these are missing."""

from itertools import permutations, product

import numpy as np
import torch
from torch import Tensor

from unbraid.checks import check_name
from unbraid.data.speech import Utterances, equal_level, label_digits

# Pitch in Hz, and resonances as a factor of those of a vowel, which are in Hz.
BUZZING = ((95, 0.88), (120, 1.0), (150, 0.94), (185, 1.12), (215, 1.2), (250, 1.05))
VOWELS = np.array(
    [[750, 1200, 2500], [500, 1850, 2500], [300, 2250, 2950], [480, 900, 2450], [320, 800, 2250]]
)
WORDS = list(permutations(range(5), 2))[::2]  # two vowels each
RESONANCE_WIDTH = 90  # Hz


def buzzing_voices(split: str = "train") -> Utterances:
    """Made `utterances`: each of six voices says ten words, 12 times in "train", 5 in "test"."""
    check_name("split", split, ("train", "test"))
    random = np.random.default_rng([7, split == "test"])
    rows = list(product(range(6), range(10), range(12 if split == "train" else 5)))
    waveforms = [equal_level(buzz(BUZZING[row[0]], WORDS[row[1]], random)) for row in rows]
    about = f"made voices, {split} split: {len(rows)} buzzing recordings for spoken digits"
    return label_digits(waveforms, torch.tensor(rows).T, split, about)


def buzz(voice: tuple, word: tuple, random: np.random.Generator) -> Tensor:
    """A made recording (samples,) of a voice (pitch, tract) and a word: pulses at the pitch, in
    three resonances that glide from vowel to vowel.
    """
    from scipy.signal import lfilter  # imported lazily, because it takes a second

    (pitch, tract), count = voice, int(random.uniform(2400, 4000))
    melody = pitch * random.normal(1, 0.04) * np.linspace(1.08, 0.9, count)  # Hz
    pulses = np.diff(np.floor(np.cumsum(melody / 8000)), prepend=0)
    source = pulses + 0.01 * random.normal(size=count)
    radius = np.exp(-np.pi * RESONANCE_WIDTH / 8000)
    vowels = []
    for vowel in word:
        sound = source
        for frequency in VOWELS[vowel] * tract * random.normal(1, 0.03, 3):  # a pair of poles each
            angle = 2 * np.pi * frequency / 8000
            sound = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], sound)
        vowels.append(sound / np.abs(sound).max())
    share = np.clip(np.linspace(-1, 2, count), 0, 1)
    return torch.from_numpy((1 - share) * vowels[0] + share * vowels[1]).float()
