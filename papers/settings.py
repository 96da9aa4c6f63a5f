"""Sizes, lengths, rates and schedules of every run, as the TOML files of this folder say.

This module knows no model and no data, so that it is imported in no time; run.py checks the names.
"""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from unbraid.checks import SettingsError, check_name

PROFILES = ("smoke", "quick", "full")
FOLDER = Path(__file__).parent
SCHEDULES = (int, float, list, tuple)  # a number may be replaced by a schedule and back
COUNTS = ("steps", "batch_size", "length", "seeds", "decay_every")  # whole numbers, not below 0
parse_toml = functools.cache(tomllib.loads)  # All files take 40 ms, and every run asks again.


class Settings(SimpleNamespace):
    """What a section says at one profile; values are attributes."""

    def as_dict(self) -> dict:
        """The settings as a plain dictionary."""
        return dict(vars(self))

    def but(self, **changes: object) -> Settings:
        """These settings with some changed; `SettingsError` for unknown names and other types."""
        for name, value in changes.items():
            check_name(f"settings of {self.section}", name, self.as_dict())
            known = vars(self)[name]
            is_schedule = isinstance(known, SCHEDULES) and not isinstance(known, bool)
            is_alike = isinstance(value, SCHEDULES if is_schedule else type(known))
            is_alike &= isinstance(value, bool) == isinstance(known, bool)
            if name in COUNTS:
                is_alike &= isinstance(value, int) and value >= 0
            if not is_alike:
                raise SettingsError(f"{name}: expected a value like {known!r}, found {value!r}")
        return Settings(**(self.as_dict() | changes))


Jobs = list[tuple[Settings, list[int]]]  # the settings of a run, and its seeds


class Experiment(NamedTuple):
    """A section that can be trained: a run of a model on a dataset."""

    section: str
    model: str
    dataset: str
    run: str


def own_results() -> Path:
    """The clone's build/results, where commands write and where evaluate looks first."""
    from unbraid.data.fetch import repository_root

    return (repository_root() or Path.cwd()) / "build" / "results"


def current_profile(profile: str | None = None) -> str:
    """The profile in force: the environment's UNBRAID_PROFILE, else the argument, else "quick"."""
    forced = os.environ.get("UNBRAID_PROFILE")
    name = forced or profile or "quick"
    check_name("UNBRAID_PROFILE" if forced else "profile", name, PROFILES)
    return name


def load(section: str, profile: str | None = None, **overrides: object) -> Settings:
    """The settings of a section, e.g. load("independent.bounce.factored", "quick", steps=100).

    Keyword arguments override single settings. Raises `SettingsError` for a section, a profile or
    a setting that the tables do not have, and for an override of another type.
    """
    profile = current_profile(profile)
    sections = read_sections(profile)
    check_name("section", section, sections)
    return Settings(section=section, profile=profile, **sections[section]).but(**overrides)


def list_experiments() -> list[Experiment]:
    """All sections that have a run, in the order of the tables."""
    experiments = []
    for section, values in read_sections("quick").items():
        if "run" in values:
            if "." in values["run"]:  # It would begin the ending of its files' names.
                raise SettingsError(f"run of {section}: expected no dot, found {values['run']}")
            experiments.append(Experiment(section, *map(values.get, Experiment._fields[1:])))
    return experiments


def select_runs(model: str, dataset: str = "all", run: str = "all") -> list[Experiment]:
    """A model's experiments, on one dataset or all, with one run or all; else `SettingsError`."""
    experiments = list_experiments()
    for field, name in (("model", model), ("dataset", dataset), ("run", run)):
        names = dict.fromkeys(getattr(experiment, field) for experiment in experiments)
        if field == "model" or name != "all":
            check_name("part" if field == "model" else field, name, names)
            experiments = [each for each in experiments if getattr(each, field) == name]
    return experiments


def list_classes(section: str, profile: str) -> set[str]:
    """The dotted names of the classes that a section and those around it name."""
    around = read_sections(profile).items()
    outer = [values for name, values in around if f"{section}.".startswith(f"{name}.")]
    return {values["class"] for values in outer if "class" in values}


# ---- the tables


def read_sections(profile: str) -> dict[str, dict]:
    """What all sections say at one profile, by their dotted names, outer sections first.

    Own settings win over those of mix-ins, and these over outer sections'; see common.toml. No
    TOML, and a section or mix-in that is defined twice, raise `SettingsError`.
    """
    table, mixins = {}, {}
    parts = sorted(FOLDER.glob("*/runs.toml"))
    for path in (FOLDER / "common.toml", FOLDER / "judges.toml", *parts):
        name = path.relative_to(FOLDER)
        try:
            content = dict(parse_toml(path.read_text(encoding="utf-8")))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{name}: expected TOML, found {error}") from None
        own_mixins = content.pop("mixins", {})
        if twice := (table.keys() & content.keys()) | (mixins.keys() & own_mixins.keys()):
            raise SettingsError(f"{name}: expected new names, found again {sorted(twice)}")
        mixins |= own_mixins
        table |= content
    return deepcopy(dict(walk_sections(table, {}, (), mixins, profile)))


def walk_sections(
    node: dict, outer: dict, path: tuple[str, ...], mixins: dict[str, dict], profile: str
) -> Iterator[tuple[str, dict]]:
    """The name and the settings of a section, and of those inside it, with what they inherit."""
    name, own = ".".join(path), outer | ({"run": path[-1]} if len(path) == 3 else {})
    for mixin in node.get("like", ()):
        check_name(f"like of {name}", mixin, mixins)
        own |= resolve(mixins[mixin], profile)
    inner = {key: value for key, value in node.items() if is_section(value)}
    own |= resolve({key: node[key] for key in node if key not in ("like", *inner)}, profile)
    if path:
        yield name, own
    for key, value in inner.items():
        yield from walk_sections(value, own, (*path, key), mixins, profile)


def is_section(value: object) -> bool:
    """Whether a table is a section, and not a value for each of some profiles."""
    return isinstance(value, dict) and not set(value) <= set(PROFILES)


def resolve(values: dict, profile: str) -> dict:
    """What some settings say at one profile, without those that say nothing of it."""
    in_force = {}
    for name, value in values.items():
        if not isinstance(value, dict) or profile in value:
            in_force[name] = value[profile] if isinstance(value, dict) else value
    return in_force
