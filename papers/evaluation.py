"""What is measured on trained models: each model and dataset has its evaluation, or the generic."""

import math
import time
from pathlib import Path

import torch
from unbraid import records
from unbraid.checks import ResultsError, SettingsError
from unbraid.codes import bound_per_frame, decode_all, root_mean_square
from unbraid.data.fetch import DataError
from unbraid.data.sequences import Sequences
from unbraid.measures.judges import load_judge
from unbraid.models.base import SequenceModel

from papers import encoded, judge, tables
from papers.a import evaluate as independent
from papers.b import evaluate as unordered
from papers.c import evaluate as clips
from papers.c import rain_probe, series, speech
from papers.datasets import load_split, make_sampler
from papers.encoded import Evaluation, Figures, code_probes, encode, seeded
from papers.provenance import read_versions
from papers.run import FILES, load_run, run_name
from papers.settings import Jobs, RunSettings, load, select_runs

TOLERANCE = 1e-4  # of a figure that is measured again, relative where it is larger than 1
EVALUATIONS: dict[str, dict[str, Evaluation]] = {  # by model and dataset
    "independent": independent.EVALUATIONS,
    "unordered": unordered.EVALUATIONS,
    "single_element": (
        clips.EVALUATIONS | speech.EVALUATIONS | series.EVALUATIONS | rain_probe.EVALUATIONS
    ),
}


def find_evaluation(settings: RunSettings) -> Evaluation:
    """The evaluation of a run; the generic one for models and datasets that have none."""
    generic = Evaluation(evaluate_any, load_samples)
    return EVALUATIONS.get(settings.model, {}).get(settings.dataset, generic)


def evaluate(model: SequenceModel, settings: RunSettings, seed: int) -> Figures:
    """All figures of one model by name; seed: of all that is drawn here.

    The model is put into eval mode. Raises `DataError` and `ResultsError` where data or the judge
    are missing.
    """
    return find_evaluation(settings).evaluate(model.eval(), settings, seed)


def describe_protocol(settings: RunSettings) -> dict[str, object]:
    """What the figures are measured on, for metrics.json."""
    test = find_evaluation(settings).load(settings, "test", 0)
    return {"data": test.provenance, "split": "test", "sequences": len(test)}


# ---- the generic evaluation, of any model on any dataset


def evaluate_any(model: SequenceModel, settings: RunSettings, seed: int) -> Figures:
    """All figures of a model that has no evaluation of its own; reconstruct_rmse: of test sequences
    decoded from the means of their codes."""
    train, test = (encode(model, load_samples(settings, s, seed)) for s in ("train", "test"))
    figures = bound_per_frame(model, [test.sequences], seed)
    frames, mask = test.sequences.frames, test.sequences.mask
    decoded = decode_all(model, test.codes)
    figures["reconstruct_rmse"] = root_mean_square(decoded, frames, mask)
    figures |= code_probes(train, test, seed)
    return figures


def load_samples(settings: RunSettings, split: str, seed: int) -> Sequences:
    """As many sequences as the settings say, drawn as in training, but whole ones once each."""
    count = encoded.count_evaluated(settings, split)
    generator = seeded(2 * seed + (split == "test"))
    if settings.sampler == "sequences":
        sequences = load_split(settings, split, seed)
        rows = torch.randperm(len(sequences), generator=generator)[:count]
        return sequences.subset(rows).as_float()
    return make_sampler(settings, split)(count, generator)


# ---- trained runs, measured and measured again


def measure_runs(jobs: Jobs, places: dict[str, Path]) -> dict:
    """metrics.json of the runs on one dataset: the figures of each, and how they were measured.

    places: the folder of each run's weights.
    """
    metrics: dict[str, dict] = {}
    weights: dict[str, dict[str, str]] = {}
    judges: dict[str, str] = {}
    for settings, seeds in jobs:
        by_seed, weights[settings.run] = [], {}
        judges |= judge.describe_judges(settings)
        for seed in seeds:
            name = run_name(settings, seed)
            print(f"{settings.dataset} {settings.run}, seed {seed}: weights of {places[name]}")
            by_seed.append(evaluate(load_run(settings, seed, places[name]), settings, seed))
            record = records.read_record(name, places[name])
            weights[settings.run][str(seed)] = record["weights_sha256"]
        metrics[settings.run] = tables.summarise(by_seed)
    protocol = {"versions": read_versions(), "weights": weights}
    protocol |= {"judges": judges} if judges else {}
    return metrics | {"protocol": describe_protocol(jobs[0][0]) | protocol}


def verify_again(runs: list[tuple[Path, str, int]]) -> list[str]:
    """Measure runs again; figures of before that differ, and runs that cannot be measured.

    runs: each a metrics.json, and a run and a seed that it has.
    """
    faults = []
    for path, run, seed in runs:
        name = f"{'/'.join(path.resolve().parts[-4:-1])}/{run}-seed{seed}"
        begin = time.perf_counter()
        try:
            measured = measure_again(path, run, seed)
        except (DataError, ResultsError, SettingsError) as error:
            faults.append(f"not checked: {name}: {' '.join(str(error).split())}")
            continue
        found = []
        for figure, kept in tables.split_seeds(records.read_json(path), run)[seed].items():
            again = measured.get(figure, math.nan)
            if not abs(again - kept) <= TOLERANCE * max(1, abs(again)):
                found.append(f"{path}: {run}.{figure}, seed {seed}: {kept:.6g}, again {again:.6g}")
        seconds = time.perf_counter() - begin
        print(f"measured again: {name}: {len(found)} faults, {seconds:.0f} s", flush=True)
        faults += found
    return faults


def measure_again(path: Path, run: str, seed: int) -> dict[str, float]:
    """All figures of a run of a metrics.json; raises if its weights or data are not at hand."""
    part, dataset, profile = path.resolve().parts[-4:-1]
    weights = path.with_name(f"{run}-seed{seed}{FILES['weights']}")
    if not weights.exists():
        raise DataError("its weights do not ship")
    if part == "judges":
        metrics = judge.measure_judge(load_judge(weights), dataset, profile, seed)
        figures, found = metrics["judge"], metrics["protocol"]["data"]
    else:
        (experiment,) = select_runs(part, dataset, run)
        settings = load(experiment.section, profile)
        found = describe_protocol(settings)["data"]
    expected = records.read_json(path)["protocol"]["data"]
    if found != expected:  # such as a sample in place of the whole
        remedy = "python -m unbraid data fetch brings the others"
        raise DataError(f"data: expected {expected}, found {found}; {remedy}")
    if part != "judges":
        figures = evaluate(load_run(settings, seed, path.parents[3]), settings, seed)
    return figures
