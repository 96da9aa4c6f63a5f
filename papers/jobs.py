"""The trainings and evaluations of a grid and what each may need, for `workflow/Snakefile`."""

from __future__ import annotations

import math
from pathlib import Path

from unbraid.checks import check_name
from unbraid.data.fetch import DataError

from papers import claims, judging
from papers.datasets import find_absent
from papers.prices import find_records, price_run
from papers.runs import find_record, run_name
from papers.settings import Settings, list_experiments, select_runs
from papers.settings import load as load_settings

# Minutes that are asked for where there is no record. The longest recorded runs took 107 minutes at
# quick and 209 at full, on one core. A training that is stopped goes on in the next call.
MINUTES = {"smoke": 15, "quick": 240, "full": 1440}
MEGABYTES = 4000  # likewise; no record of before 2026-11-24 says how much memory a run took
MARGIN = 3.0  # times the recorded seconds: the seeds of one run differ, and so do machines
MEMORY_MARGIN = 1.5  # times the recorded peak
START = 10  # minutes for imports, data, and a last checkpoint


def list_jobs(targets: list[str], profile: str, folder: Path) -> dict:
    """What `python -m papers runs` prints: the profile, the folder, `trainings`, `left_out`.

    A training has part, dataset, run, seed, the judge that its evaluation waits for (or None), and
    the megabytes and minutes that it may need. left_out: sentences on datasets that are not here.
    Raises `SettingsError` for a target that there is not, `DataError` where no dataset is here,
    and `TrainingError` where `folder` has a finished run of other settings.
    """
    chosen: dict[tuple, Settings] = {}
    for target in targets:
        for settings in select_settings(target, profile):
            chosen[settings.model, settings.dataset, settings.run] = settings
    absent = find_absent(sorted({settings.dataset for settings in chosen.values()}))
    left_out = [" ".join(str(error).split()) for error in absent.values()]
    trainings = []
    for settings in chosen.values():
        if settings.dataset not in absent:
            trainings += describe_trainings(settings, folder)
    if not trainings:
        reasons = " ".join(left_out) or f"the profile {profile} has none"
        raise DataError(f"TARGET: expected runs that can be trained, found none: {reasons}")
    return {"profile": profile, "folder": str(folder), "trainings": trainings, "left_out": left_out}


def select_settings(target: str, profile: str) -> list[Settings]:
    """The settings of the runs of a target: all, readme, <part> or <part>/<dataset>.

    readme: the runs behind the papers' claims, at this profile.
    """
    experiments = list_experiments()
    part, _, dataset = target.partition("/")
    parts = dict.fromkeys(experiment.model for experiment in experiments)
    check_name("TARGET", part, ["all", "readme", *parts])
    if target == "readme":
        shown = {key[:2] for key in claims.list_runs(claims.read_claims())}
        if profile == "quick":  # At the other profiles each claim has a run.
            shown = [(place, run) for place, run in shown if place.endswith("/quick")]
        names = {(*place.split("/")[:2], run) for place, run in shown}
        experiments = [each for each in experiments if each[1:] in names]
    elif part != "all":
        experiments = select_runs(part, dataset or "all")
    loaded = [load_settings(experiment.section, profile) for experiment in experiments]
    return [settings for settings in loaded if settings.seeds and settings.steps]


def describe_trainings(settings: Settings, folder: Path) -> list[dict]:
    """The trainings of one run, one per seed; see `list_jobs`."""
    for seed in range(settings.seeds):
        find_record(settings, folder / run_name(settings, seed), {})  # Another run is refused.
    described = {
        "part": settings.model,
        "dataset": settings.dataset,
        "run": settings.run,
        "judge": find_missing_judge(settings),
        "mem_mb": estimate_memory(settings, folder),
        "runtime": estimate_minutes(settings, folder),
    }
    return [described | {"seed": seed} for seed in range(settings.seeds)]


def find_missing_judge(settings: Settings) -> str | None:
    """The judge that must be trained before runs are measured; None where one ships or is needless.

    As in `python -m papers full`, runs at the papers' size have judges of that size. At the other
    profiles the judges in results/ serve.
    """
    judges = judging.name_judges(settings)
    if not judges or settings.profile != "full":
        return None
    name, profile, _ = judges[""]
    return None if judging.judge_path(name, profile).exists() else name


def estimate_minutes(settings: Settings, folder: Path) -> int:
    """Minutes that a training may take: thrice what finished runs say, or the profile's default."""
    seconds = price_run(settings, folder).seconds
    if seconds is None:
        return MINUTES[settings.profile]
    return START + math.ceil(MARGIN * seconds / 60)


def estimate_memory(settings: Settings, folder: Path) -> int:
    """Megabytes that a training may take: half more than the largest recorded peak."""
    peaks = []
    for seed in range(settings.seeds):
        for record in find_records(run_name(settings, seed), folder).values():
            costs = record.get("costs", {})  # which older records lack
            peaks.append(costs.get("peak_memory_mb") or 0)  # None on Windows
    return math.ceil(MEMORY_MARGIN * max(peaks, default=0)) or MEGABYTES
