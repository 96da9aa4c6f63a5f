"""Does paper B's static code identify people whom nobody has trained on?

    python -m docs.trials.strangers

Leaves four of the twenty people of the CMU Face Images out at a time. A model and a whitening are
fitted to all photographs of the sixteen others. A photograph of a stranger then asks for its
person: its nearest neighbour among the photographs of all twenty people in one other pose, by f, by
pixels and by whitened pixels. Writes results/trials/strangers.json. The settings are those of
`unordered.faces` at quick, but for the number of updates; nothing is chosen by these figures.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import torch
from unbraid import store
from unbraid.codes import as_float, encode_all
from unbraid.data import faces
from unbraid.data.sampling import FrameSampler
from unbraid.data.sequences import Sequences

from papers import runs, settings
from papers.evaluation import faces as evaluation

FOLDS = 5


def load_people(size: int) -> Sequences:
    """All photographs of all people, a row each: those of both splits, side by side in time."""
    train, test = (faces.load(split, image_size=size) for split in ("train", "test"))
    labels = {"person": train.labels["person"]}
    for name in train.dynamic:
        labels[name] = torch.cat([train.labels[name], test.labels[name]], 1)
    return replace(
        train,
        frames=torch.cat([train.frames, test.frames], 1),
        mask=torch.cat([train.mask, test.mask], 1),
        labels=labels,
        provenance="CMU Face Images, all photographs of 20 people",
    )


def are_right(
    codes: torch.Tensor, person: torch.Tensor, pose: torch.Tensor, strangers: torch.Tensor
) -> dict[int, list[bool]]:
    """Whether the nearest neighbour names each stranger, for each photograph and other pose."""
    answers: dict[int, list[bool]] = {int(number): [] for number in strangers}
    of_stranger = torch.isin(person, strangers)
    for given in pose.unique():
        known, asked = pose == given, of_stranger & (pose != given)
        named = person[known][torch.cdist(codes[asked], codes[known]).argmin(1)]
        for number, right in zip(person[asked].tolist(), named == person[asked], strict=True):
            answers[number].append(bool(right))
    return answers


def main(steps: int, seed: int) -> None:
    """Five trainings, and their record."""
    known = settings.load("unordered.faces", "quick", steps=steps)
    people = load_people(known.image_size)
    labels = evaluation.labels_of_photographs(people)
    person, pose = labels["person"], labels["pose"]
    photographs = as_float(people.frames)[people.mask]  # (n, 1, H, W)
    pixels = photographs.flatten(1)
    numbers = torch.arange(len(people))
    started, by_person = time.perf_counter(), {}
    for fold in range(FOLDS):
        strangers = numbers[numbers % FOLDS == fold]
        others = people.subset(numbers[numbers % FOLDS != fold])
        model = runs.build(known, seed)
        runs.train_model(model, FrameSampler(others, known.length), known, seed)
        codes = {
            "f": encode_all(model.cpu().eval(), photographs[:, None])["static"],
            "pixels": pixels,
            "whitened": pixels @ evaluation.fit_whitening(others),
        }
        for name, values in codes.items():
            for number, answers in are_right(values, person, pose, strangers).items():
                entry = by_person.setdefault(people.classes["person"][number], {})
                entry |= {"questions": len(answers), name: sum(answers) / len(answers)}
        print(fold, {name: by_person[name] for name in list(by_person)[-4:]}, flush=True)

    total = sum(entry["questions"] for entry in by_person.values())
    figures = {}
    for name in codes:
        right = sum(entry[name] * entry["questions"] for entry in by_person.values())
        figures[f"{name}_person_other_pose"] = right / total
    record = {
        "command": f"python -m docs.trials.strangers --steps {steps} --seed {seed}",
        "settings": known.as_dict(),
        "seed": seed,
        "split": "photographs of four of twenty people, of whom training has seen sixteen",
        "seconds": round(time.perf_counter() - started, 1),
        "figures": figures,
        "by_person": by_person,
    }
    store.write_json(store.shipped() / "trials" / "strangers.json", record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.steps, options.seed)
