"""Does a model of speech know voices that it has not been trained on?

    python -m docs.trials.unseen_speakers
    python -m docs.trials.unseen_speakers --published

Leaves one of the six speakers out at a time: the scale and a model are fitted to the training
recordings of the five others. Error rates are over those pairs of test recordings that contain the
speaker left out. The same pairs are scored by a model that has heard all six, trained as long.
Writes results/trials/unseen_speakers.json, or with --published, for the published networks, which
read magnitudes, results/trials/unseen_speakers_published.json. The settings are those of
`single_element.spoken_digits` at quick, or of its section `published` at full, but for the number
of updates; nothing is chosen by these figures.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from unbraid import store
from unbraid.data import speech
from unbraid.data.sampling import SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.data.speech import SPEAKERS, SpectrumScale
from unbraid.measures.verification import equal_error_rate, speaker_trials

from papers import runs, settings
from papers.evaluation.speech import collect_recordings

SMALL = "single_element.spoken_digits"
PUBLISHED = "single_element.spoken_digits.published"


def fit_voices(train: Sequences, test: Sequences, known, seed: int) -> dict[str, torch.Tensor]:
    """The vectors (U, ...) of the test recordings by scale and model of these training chunks."""
    scale, of_magnitudes = SpectrumScale.fit(train), None
    if known.section == PUBLISHED:
        of_magnitudes = scale
    else:
        train, test = scale.transform(train), scale.transform(test)
    model = runs.build(known, seed)
    runs.train_model(model, SequenceSampler(train), known, seed)
    recordings = collect_recordings(model.cpu().eval(), test, seed, of_magnitudes)
    return {
        "static": recordings.static_mean,
        "dynamic": recordings.dynamic_mean_drawn,
        "dynamic_means": recordings.dynamic_mean,
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


def main(steps: int, seed: int, published: bool) -> None:
    """Seven trainings, and their record."""
    known = settings.load(SMALL, "quick", steps=steps)
    name, added = "unseen_speakers", ""
    if published:
        known = settings.load(PUBLISHED, "full", steps=steps)
        name, added = "unseen_speakers_published", " --published"
    train, test = (speech.load(split) for split in ("train", "test"))
    heard = test.subset(test.mask.any(1))
    _, rows = np.unique(heard.labels["utterance"].numpy(), return_index=True)
    speakers = heard.labels["speaker"].numpy()[rows]
    started = time.perf_counter()
    all_six = fit_voices(train, test, known, seed)

    by_speaker = {}
    for number, speaker in enumerate(SPEAKERS):
        others = train.subset(train.labels["speaker"] != number)
        unseen = error_rates(fit_voices(others, test, known, seed), speakers, number)
        seen = error_rates(all_six, speakers, number)
        by_speaker[speaker] = {"unseen": unseen, "seen": seen}
        line = ", ".join(f"{key} {unseen[key]:.3f} ({seen[key]:.3f})" for key in unseen)
        print(f"{speaker} unseen (seen): {line}", flush=True)

    means = {}
    for condition in ("unseen", "seen"):
        for key in all_six:
            rates = [entry[condition][key] for entry in by_speaker.values()]
            means[f"{condition}_{key}"] = sum(rates) / len(rates)
    record = {
        "command": f"python -m docs.trials.unseen_speakers --steps {steps} --seed {seed}{added}",
        "settings": known.as_dict(),
        "seed": seed,
        "split": "test recordings of six speakers, of whom training has heard five, or all six",
        "seconds": round(time.perf_counter() - started, 1),
        "figures": means,
        "by_speaker": by_speaker,
    }
    store.write_json(store.shipped() / "trials" / f"{name}.json", record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--published", action="store_true", help="the published networks")
    options = parser.parse_args()
    main(options.steps, options.seed, options.published)
