"""Does the quick model of speech know voices that it has not been trained on?

    python docs/trials/unseen_speakers.py

Leaves one of the six speakers out at a time: the scale and a model are fitted to the training
recordings of the five others. Error rates are over those pairs of test recordings that contain the
speaker left out. The same pairs are scored by a model that has heard all six, trained as long.
Writes results/trials/unseen_speakers.json. The settings are those of
`single_element.spoken_digits` at quick with fewer updates; nothing is chosen by these figures.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from unbraid import data, experiments, results, settings, training
from unbraid.data.sampling import SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.data.speech import SPEAKERS, SpectrumScale
from unbraid.evaluation.speech import collect_recordings
from unbraid.measures.verification import equal_error_rate, speaker_trials

SECTION = "single_element.spoken_digits"


def fit_voices(train: Sequences, test: Sequences, known, seed: int) -> dict[str, torch.Tensor]:
    """The vectors (U, ...) of the test recordings by scale and model of these training chunks."""
    scale = SpectrumScale.fit(train)
    model = experiments.build(known, seed)
    training.fit(model, SequenceSampler(scale.transform(train)), known, seed)
    recordings = collect_recordings(model.cpu().eval(), scale.transform(test), seed)
    return {
        "static": recordings.voice,
        "dynamic": recordings.course,
        "dynamic_means": recordings.course_means,
        "even_spectrum": recordings.spectrum,
    }


def error_rates(vectors: dict[str, torch.Tensor], speakers: np.ndarray, left_out: int) -> dict:
    """The equal error rate of each kind of vector over pairs that contain the speaker left out."""
    first, second = np.triu_indices(len(speakers), 1)
    pairs = (speakers[first] == left_out) | (speakers[second] == left_out)
    rates = {}
    for name, values in vectors.items():
        scores, targets = speaker_trials(values, speakers)
        rates[name] = equal_error_rate(scores[pairs], targets[pairs])
    return rates


def main(steps: int, seed: int) -> None:
    """Seven trainings, and their record."""
    known = settings.load(SECTION, "quick", steps=steps)
    train, test = (data.load(known.dataset, split) for split in ("train", "test"))
    heard = test.subset(test.mask.any(1))
    _, rows = np.unique(heard.labels["utterance"].numpy(), return_index=True)
    speakers = heard.labels["speaker"].numpy()[rows]
    started = time.perf_counter()
    all_six = fit_voices(train, test, known, seed)

    by_speaker = {}
    for number, name in enumerate(SPEAKERS):
        others = train.subset(train.labels["speaker"] != number)
        unseen = error_rates(fit_voices(others, test, known, seed), speakers, number)
        seen = error_rates(all_six, speakers, number)
        by_speaker[name] = {"unseen": unseen, "seen": seen}
        line = ", ".join(f"{key} {unseen[key]:.3f} ({seen[key]:.3f})" for key in unseen)
        print(f"{name} unseen (seen): {line}", flush=True)

    means = {}
    for condition in ("unseen", "seen"):
        for key in all_six:
            rates = [entry[condition][key] for entry in by_speaker.values()]
            means[f"{condition}_{key}"] = sum(rates) / len(rates)
    record = {
        "command": f"python docs/trials/unseen_speakers.py --steps {steps} --seed {seed}",
        "settings": known.as_dict(),
        "seed": seed,
        "split": "test recordings of six speakers, of whom training has heard five, or all six",
        "seconds": round(time.perf_counter() - started, 1),
        "figures": means,
        "by_speaker": by_speaker,
    }
    results.write_json(results.shipped() / "trials" / "unseen_speakers.json", record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.steps, options.seed)
