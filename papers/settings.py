"""Sizes, numbers of updates, rates and schedules of every run, as this folder's TOML files say."""

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
parse_toml = functools.cache(tomllib.loads)  # All files take 40 ms, and every run asks again.
OWN_RESULTS = Path("build/results")  # where the commands write, and where evaluate looks first
SCHEDULES = (int, float, list, tuple)  # a number may be replaced by a schedule and back
COUNTS = ("steps", "batch_size", "length", "seeds", "decay_every")  # whole numbers, not below 0


class Settings(SimpleNamespace):
    """What a section says at one profile; values are attributes."""

    def as_dict(self) -> dict:
        """The settings as a plain dictionary."""
        return dict(vars(self))

    def but(self, **changes) -> Settings:
        """The same settings with some of them changed.

        Raises `SettingsError` for a name that they lack and for a value of another type.
        """
        values = self.as_dict()
        for name, value in changes.items():
            check_name(f"settings of {self.section}", name, values)
            model = values[name]
            kinds = type(model)
            if isinstance(model, SCHEDULES) and not isinstance(model, bool):
                kinds = SCHEDULES
            is_alike = isinstance(value, kinds) and isinstance(value, bool) == isinstance(
                model, bool
            )
            if name in COUNTS and (not isinstance(value, int) or value < 0) or not is_alike:
                raise SettingsError(f"{name}: expected a value like {model!r}, found {value!r}")
        return Settings(**(values | changes))


Jobs = list[tuple[Settings, list[int]]]  # the settings of a run, and its seeds


def current_profile(profile: str | None = None) -> str:
    """The profile in force: the environment's UNBRAID_PROFILE, else the argument, else "quick"."""
    forced = os.environ.get("UNBRAID_PROFILE")
    name = forced or profile or "quick"
    check_name("UNBRAID_PROFILE" if forced else "profile", name, PROFILES)
    return name


def load(section: str, profile: str | None = None, **overrides) -> Settings:
    """The settings of a section, e.g. load("independent.bounce.factored", "quick", steps=100).

    A section inherits from the sections around it. A value that is the same in every profile is
    written once; one that differs is a table with one value per profile. Keyword arguments
    override single settings.

    Raises `SettingsError` for a section, a profile or a setting that the table does not have, and
    for an override of another type.
    """
    profile = current_profile(profile)
    table = read_sections()
    check_name("section", section, table)
    values = {"section": section, "profile": profile} | resolve(table[section], profile)
    return Settings(**values).but(**overrides)


def resolve(values: dict, profile: str) -> dict:
    """What a section says at one profile."""
    columns = {name: value for name, value in values.items() if isinstance(value, dict)}
    return values | {name: column[profile] for name, column in columns.items()}


class Experiment(NamedTuple):
    """A section that can be trained: a run of a model on a dataset."""

    section: str
    model: str
    dataset: str
    run: str


def list_experiments() -> list[Experiment]:
    """All sections that have a run, in the order of the table."""
    experiments = []
    for section, values in read_sections().items():
        if "run" in values:
            check_run_name(section, values["run"])
            names = values["model"], values["dataset"], values["run"]
            experiments.append(Experiment(section, *names))
    return experiments


def check_run_name(section: str, name: str) -> None:
    """Refuse a run with a dot, which would begin the ending of its files' names."""
    if "." in name:
        raise SettingsError(f"run of {section}: expected a name without a dot, found {name}")


def select_runs(model: str, dataset: str = "all", run: str = "all") -> list[Experiment]:
    """The experiments of a model, on one dataset or on all, with one run or with all.

    Raises `SettingsError` for a name that the table does not have.
    """
    experiments = list_experiments()
    for field, name in (("model", model), ("dataset", dataset), ("run", run)):
        names = dict.fromkeys(getattr(experiment, field) for experiment in experiments)
        if field == "model" or name != "all":
            check_name("part" if field == "model" else field, name, names)
            experiments = [each for each in experiments if getattr(each, field) == name]
    return experiments


def read_table() -> dict:
    """The TOML files of this folder as one nested dictionary: papers' sections, and mix-ins.

    Raises `SettingsError` for a file that is no TOML, and where two files define the same section
    or mix-in.
    """
    table: dict = {"mixins": {}}
    parts = sorted(FOLDER.glob("*/runs.toml"))
    for path in (FOLDER / "common.toml", FOLDER / "judges.toml", *parts):
        name = path.relative_to(FOLDER).with_suffix("")
        text = path.read_text(encoding="utf-8")
        try:
            content = deepcopy(parse_toml(text))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{name}.toml: expected TOML, found {error}") from None
        mixins = content.pop("mixins", {})
        if twice := (table.keys() & content.keys()) | (table["mixins"].keys() & mixins.keys()):
            raise SettingsError(f"{name}.toml: expected new names, found again {sorted(twice)}")
        table["mixins"] |= mixins
        table |= content
    return table


def read_order() -> list[str]:
    """Every "<model>/<dataset>" in the order in which `python -m papers full` makes them."""
    return read_table()["full"]["order"]


def read_sections() -> dict[str, dict]:
    """The settings of all sections by their dotted names, outer sections first.

    A section has its own settings, before them those of the mix-ins that it is `like`, and before
    these those of the sections around it.
    """
    table = read_table()
    mixins = table.pop("mixins")
    table.pop("full")
    return dict(walk_sections(table, {}, "", mixins))


def walk_sections(
    node: dict, outer: dict, name: str, mixins: dict[str, dict]
) -> Iterator[tuple[str, dict]]:
    """The name and the settings of a section, and of those inside it, with what they inherit."""
    own, inner = dict(outer), {}
    for mixin in node.get("like", ()):
        check_name(f"like of {name}", mixin, mixins)
        own |= mixins[mixin]
    for key, value in node.items():
        is_section = isinstance(value, dict) and not set(value) <= set(PROFILES)
        if key != "like":
            (inner if is_section else own)[key] = value
    if name:
        yield name, own
    for key, value in inner.items():
        yield from walk_sections(value, own, f"{name}.{key}" if name else key, mixins)
