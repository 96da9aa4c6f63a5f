"""Judges, the classifiers that name what models draw: their training, and how far to trust them.

judges/<dataset>/<profile>/judge-seed<seed>.{safetensors,training.csv,run.json}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from unbraid import store
from unbraid.checks import check_name
from unbraid.data.moving_digits import MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler, SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.measures.judges import (
    FrameJudge,
    SequenceJudge,
    blurred,
    fit_judge,
    load_judge,
    noisy,
    reliability,
)
from unbraid.measures.swaps import generation_scores

from papers import report
from papers.datasets import sources_of
from papers.runs import Sampler, load_sequences, print_row
from papers.settings import OWN_RESULTS, Settings
from papers.settings import load as load_settings


@dataclass(frozen=True)
class JudgeTask:
    """What a judge sees, the section of its settings, and the labels that it names.

    data: the dataset that it judges, where it does not bear its name.
    """

    kind: type[FrameJudge]
    section: str
    labels: tuple[str, ...]
    data: str = ""


WORN = ("skin", "trousers", "top", "hair")
JUDGES = {  # A clip's motion is its action and direction in one, as in the papers.
    "sprites": JudgeTask(SequenceJudge, "judge", ("motion", *WORN)),
    "sprites_roughened": JudgeTask(SequenceJudge, "judge.soft", ("motion", *WORN), "sprites"),
    "sprites_poses": JudgeTask(FrameJudge, "judge.poses", ("pose", "action", "direction", *WORN)),
    "digits": JudgeTask(FrameJudge, "judge.digits", ("red_digit", "green_digit")),
    "faces": JudgeTask(FrameJudge, "judge.faces", ("person",)),
    "mug": JudgeTask(SequenceJudge, "judge.mug", ("expression", "subject")),
}
JUDGED = {("single_element", "sprites"), ("single_element", "mug"), ("unordered", "sprites_poses")}
TEST_DIGITS = 2000  # frames of moving digits that the judge of digits is measured on
TEST_FRAMES = 10_000  # frames of a larger test set, drawn at random, that its judge is measured on


def judge_settings(dataset: str, profile: str | None = None) -> Settings:
    """The settings of a dataset's judge; `SettingsError` for a dataset without one."""
    check_name("dataset", dataset, JUDGES)
    return load_settings(JUDGES[dataset].section, profile)


def judge_examples(dataset: str, split: str, settings: Settings) -> tuple[Sampler, Sequences]:
    """What a judge learns from, and fixed examples that its reliability is measured on.

    Both are clips of sprites, and sequences of a single frame of all other datasets.
    """
    fixed = torch.Generator().manual_seed(1)
    if dataset == "digits":
        digits = load_digits(split)
        draw = MovingDigits(digits, settings.image_size, length=1)
        classes = dict.fromkeys(JUDGES[dataset].labels, tuple(map(str, range(10))))
        examples = replace(draw(TEST_DIGITS, fixed), classes=classes)
        return Sampler(draw, draw.provenance, (digits.source,)), examples
    data_name = JUDGES[dataset].data or dataset
    data = load_sequences(data_name, split, settings)
    sources = sources_of(data_name)
    if JUDGES[dataset].kind is SequenceJudge:
        return Sampler(SequenceSampler(data), data.provenance, sources), data.as_float()
    frames = FrameSampler(data, length=1)
    places = frames.observed.nonzero()  # (P, 2): a sequence and one of its observed frames

    def draw(count: int, generator: torch.Generator) -> Sequences:
        rows = torch.randint(len(places), (count,), generator=generator)
        return frames.take(places[rows, 0], places[rows, 1:])

    measured = places
    if len(places) > TEST_FRAMES:
        measured = places[torch.randperm(len(places), generator=fixed)[:TEST_FRAMES]]
    examples = frames.take(measured[:, 0], measured[:, 1:])
    return Sampler(draw, data.provenance, sources), examples


def show_judge(dataset: str, examples: Sequences) -> tuple[Tensor, dict[str, Tensor]]:
    """Frames (N, C, H, W) or clips (N, T, C, H, W), and (N,) of each label that the judge names."""
    single = JUDGES[dataset].kind is FrameJudge
    labels = {name: examples.labels[name] for name in JUDGES[dataset].labels}
    for name in labels:
        if name in examples.dynamic:
            labels[name] = labels[name][:, 0]
    return examples.frames[:, 0] if single else examples.frames, labels


def judge_path(dataset: str, profile: str, seed: int = 0, folder: Path | None = None) -> Path:
    """Where the weights of a judge lie."""
    where = (folder or store.shipped()) / "judges" / dataset / profile
    return where / f"judge-seed{seed}.safetensors"


def name_judges(settings: Settings) -> dict[str, tuple[str, str, int]]:
    """The judges that measure runs of these settings: dataset, profile and pixels of each.

    The first is that of the run's own dataset for the models and datasets in `JUDGED`; moving
    digits are judged in runs whose settings say so. Where the setting `evaluation_all_judges` is
    on, the other judges of clips of sprites follow. The keys stand before the names of figures.
    """
    is_judged = (settings.model, settings.dataset) in JUDGED
    name = settings.dataset if is_judged else getattr(settings, "evaluation_judge", None)
    if name is None:
        return {}
    judges = {"": (name, settings.profile, settings.image_size)}
    if getattr(settings, "evaluation_all_judges", False):
        judges["roughened_"] = ("sprites_roughened", "full", 64)
        judges["at_32_"] = ("sprites", "quick", 32)
    return judges


def find_judge(dataset: str, profile: str = "quick", image_size: int | None = None) -> Path:
    """The weights of a dataset's judge of this profile or, where there is none, of quick.

    They are those in results/, else those in build/results, where the command `judge` writes.
    image_size: the side in pixels of the frames that it is to judge, by default that of the
    profile's judge. Raises `ResultsError` where there is no judge of this size.
    """
    size = image_size or judge_settings(dataset, profile).image_size
    others = []
    for name in dict.fromkeys((profile, "quick")):
        for folder in (store.shipped(), OWN_RESULTS):
            path = judge_path(dataset, name, folder=folder)
            if path.exists():
                record = store.read_json(path.with_suffix(".run.json"))
                others.append(record["judge"]["sizes"]["image_size"])
                if others[-1] == size:
                    return path
    found = f"of {', '.join(map(str, others))} pixels" if others else "none"
    raise store.ResultsError(
        f"judge: expected that of {dataset} for {size} x {size} pixels, found {found}; "
        f"train it with python -m papers judge {dataset} --profile {profile}"
    )


def open_judge(
    dataset: str,
    profile: str = "quick",
    classes: Mapping[str, tuple[str, ...]] | None = None,
    image_size: int | None = None,
) -> FrameJudge:
    """The judge of a dataset, as `find_judge` finds it.

    classes: those of the data that it is to judge. Raises `ResultsError` where they are others, or
    where there is no judge of this size.
    """
    return load_judge(find_judge(dataset, profile, image_size), classes)


def save_judge(judge: FrameJudge, path: Path, record: Mapping) -> None:
    """Write <name>.safetensors and <name>.run.json: `record`, what rebuilds the judge, a digest.

    Weights are in half precision: measure `reliability` on the judge that `load_judge` gives back.
    """
    description = {
        "kind": "sequences" if judge.recurrent else "frames",
        "classes": judge.classes,
        "sizes": judge.sizes,
    }
    digest = store.save_weights(Path(path), judge)
    content = {**record, "judge": description, "weights_sha256": digest}
    store.write_json(Path(path).with_suffix(".run.json"), content)


def train_judge(
    dataset: str, profile: str, folder: Path | None = None, seed: int = 0
) -> FrameJudge:
    """Train a judge, write its weights, record and curve, and return the judge as written."""
    settings = judge_settings(dataset, profile)
    sampler, examples = judge_examples(dataset, "train", settings)
    classes = {name: examples.classes[name] for name in JUDGES[dataset].labels}
    channels = examples.frames.shape[-3]
    sizes = (settings.width, settings.features, settings.hidden)
    torch.manual_seed(seed)
    judge = JUDGES[dataset].kind(classes, settings.image_size, channels, *sizes)

    def draw(count: int, generator: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        frames, labels = show_judge(dataset, sampler(count, generator))
        return roughen(frames, settings.roughened, generator), labels

    every = max(1, settings.steps // 40)
    optimiser = (settings.batch_size, settings.learning_rate)
    rows = fit_judge(judge, draw, settings.steps, *optimiser, seed, every, print_row)
    path = judge_path(dataset, settings.profile, seed, folder)
    store.write_csv(path.with_suffix(".training.csv"), rows)
    record = report.run_record(
        f"python -m papers judge {dataset} --profile {settings.profile} --seed {seed}",
        settings,
        seed,
        rows,
        device=report.describe_cpu(),  # Judges train on it everywhere.
        precision="32-true",
        data=sampler.provenance,
        data_sha256=sampler.digests,
    )
    save_judge(judge, path, record)
    return load_judge(path)


def roughen(frames: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The last `share` of a batch (N, ...) blurred by 0.3 to 1 pixel and with noise up to 0.1.

    Decoders draw softer frames than any real one. A judge that has never seen such frames names
    their attributes by chance, and a model would be blamed for it.
    """
    kept = len(frames) - round(share * len(frames))
    if kept == len(frames):
        return frames
    sigma, deviation = torch.rand(2, generator=generator).tolist()
    rough = noisy(blurred(frames[kept:], 0.3 + 0.7 * sigma), 0.1 * deviation, generator)
    return torch.cat([frames[:kept], rough])


def measure_judge(judge: FrameJudge, dataset: str, profile: str, seed: int = 0) -> dict:
    """How far a judge is to be trusted on the test split, in the form of metrics.json.

    <condition>_<label>: accuracy on examples as they are (real), blurred, shifted and noisy.
    inception_score_<label>, conditional_entropy_<label> (nats): of real examples, which no model
        can be expected to surpass; only for labels all of whose classes are in the test set.
    """
    sampler, examples = judge_examples(dataset, "test", judge_settings(dataset, profile))
    frames, labels = show_judge(dataset, examples)
    reliabilities = reliability(judge, frames, labels, seed=seed)
    figures = {}
    for condition, accuracies in reliabilities.accuracy.items():
        figures |= {f"{condition}_{label}": figure for label, figure in accuracies.items()}
    for label, probabilities in judge.probabilities(frames).items():
        if len(labels[label].unique()) < len(judge.classes[label]):
            continue
        scores = generation_scores(probabilities, labels[label])
        figures[f"inception_score_{label}"] = scores.inception_score
        figures[f"conditional_entropy_{label}"] = scores.conditional_entropy
    entry = {name: figure.mean for name, figure in figures.items()}
    entry["by_seed"] = {name: [figure.mean] for name, figure in figures.items()}
    entry["intervals"] = {name: [figure.low, figure.high] for name, figure in figures.items()}
    protocol = {
        "data": sampler.provenance,
        "split": "test",
        "seeds": [seed],
        "examples": reliabilities.clips,
        "conditions": reliabilities.conditions,
        "intervals": "95 %, over test examples: Wilson's for accuracies, bootstrap for scores",
        "versions": report.read_versions(),
    }
    return {"judge": entry, "protocol": protocol}
