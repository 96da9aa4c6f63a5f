"""How well does paper B's model separate moving digits, judged without the test split?

    python -m docs.trials.digits_held_out unordered.digits.long
    python -m docs.trials.digits_held_out unordered.grey_digits

Trains a section of papers/unordered.toml at `quick` on MNIST's training digits without the last
9 000, and measures it on paths of those 9 000. The probes learn on 3 000 paths. Writes
results/trials/<section>_held_out.json; some forty minutes on one busy core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from unbraid.data import moving_digits

from papers import report, runs, settings
from papers.evaluation import unordered

HELD_OUT = 9_000  # training digits, the last ones


def load_digits(split: str = "train") -> moving_digits.Digits:
    """Training digits; for "test" those that training does not use."""
    digits = moving_digits.load_digits("train")
    border = len(digits.images) - HELD_OUT
    part = slice(border) if split == "train" else slice(border, None)
    images, labels = digits.images[part], digits.labels[part]
    return digits._replace(images=images, labels=labels, split=split)


def main() -> None:
    """Train, measure, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=None)
    given = parser.parse_args()

    runs.load_digits = load_digits
    chosen = settings.load(given.section, "quick").but(evaluation_training=3000)
    model = runs.build(chosen, given.seed)
    sampler = runs.make_sampler(chosen, "train")
    every = chosen.steps // 20
    runs.train_model(model, sampler, chosen, given.seed, given.checkpoint, every=every)
    figures = unordered.evaluate_digits(model.eval(), chosen, given.seed)
    name = f"{given.section.replace('.', '_')}_held_out"
    command = f"python -m docs.trials.digits_held_out {given.section} --seed {given.seed}"
    print(report.write_trial(name, command, chosen.as_dict(), [given.seed], figures))


if __name__ == "__main__":
    main()
