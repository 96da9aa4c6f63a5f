"""For how long do the authors' networks go on learning from the spoken digits?

    python -m docs.trials.speech_length --steps 8000

Trains `single_element.spoken_digits.published` without takes 5 to 9 of the training recordings,
and measures the objective (notebook 35, equation 5) on those takes at each row of the curve: the
number of updates with the largest value is the one for the shipped models. It then evaluates the
last state on the held-out recordings. Writes results/trials/speech_length.json.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from unbraid import store
from unbraid.data import speech
from unbraid.data.sampling import SequenceSampler
from unbraid.models.base import Batch

from papers import runs, settings
from papers.evaluation import speech as evaluation

SECTION = "single_element.spoken_digits.published"
HELD_OUT = range(5, 10)  # takes; 0 to 4 are the test recordings


def objective(model, chunks, known, seed: int) -> float:
    """Minus the loss on all chunks, per spectrum, with the same draw of the codes each time."""
    noise = torch.Generator().manual_seed(seed)
    weights = runs.term_weights(known, step=1)
    total = 0.0
    model.eval()
    with torch.no_grad():
        for rows in torch.arange(len(chunks)).split(256):
            batch = Batch(chunks.frames[rows], chunks.mask[rows])
            total -= len(rows) * model.elbo(batch, noise).loss(weights).item()
    model.train()
    return total / len(chunks)


def main(steps: int, seed: int, checkpoint: Path | None) -> None:
    """Train, measure at each row, and write the record."""
    known = settings.load(SECTION, "full", steps=steps)
    chunks = speech.load("train")
    chunks = chunks.subset(chunks.mask.any(1))
    apart = torch.isin(chunks.labels["take"], torch.tensor(HELD_OUT))
    parts = {"train": chunks.subset(~apart), "test": chunks.subset(apart)}
    model = runs.build(known, seed)
    started, curve = time.perf_counter(), []

    def measure(row: dict) -> None:
        value = objective(model, parts["test"], known, seed)
        curve.append({"step": row["step"], "held_out_objective": round(value, 3)})
        print(curve[-1], flush=True)

    sampler, every = SequenceSampler(parts["train"]), max(1, steps // 40)
    runs.train_model(model, sampler, known, seed, checkpoint, every=every, report=measure)
    with torch.no_grad():
        model = model.cpu().eval()
        heard, test = evaluation.encode_recordings(model, *parts.values(), known, seed)
        figures = evaluation.speech_bound(model, test, seed)
        figures |= evaluation.error_rates(test)
        figures |= evaluation.voice_probes(heard, test, seed)
        figures |= evaluation.voices(model, heard, test, seed)
    command = f"python -m docs.trials.speech_length --steps {steps} --seed {seed}"
    record = {
        "command": command,
        "settings": known.as_dict(),
        "seed": seed,
        "split": "trained without takes 5 to 9, measured on them",
        "seconds": round(time.perf_counter() - started, 1),
        "figures": figures,
        "curve": curve,
    }
    store.write_json(store.shipped() / "trials" / "speech_length.json", record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=None)
    options = parser.parse_args()
    main(options.steps, options.seed, options.checkpoint)
