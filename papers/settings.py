"""Sizes, lengths, rates and schedules of every run, as the TOML files of this folder say.

<paper>/runs.toml has a section for each run, [<model>.<dataset>.<run>] or, for a dataset's main
run, [<model>.<dataset>] with a `run`. Files of results bear these names. A section inherits from
those around it. `like` names mix-ins, lines that sections of different surroundings share, which a
section takes before its own. A setting is a field of `RunSettings`, `class` (the dotted name of a
model), a field of the class's config, the weight of a term of the bound (<term>_weight), or an
option of the dataset's loader; any other is refused. What no section says has the default of
`RunSettings` or of the config. A value holds in every profile; a table has values for some of them,
and the others inherit; `steps` must be said of each:

smoke  proves the mechanics in seconds
quick  takes minutes on a laptop with two cores
full   is the paper's scale, for one GPU

This module knows no model and no data, so that it is imported in no time; run.py checks the names
of what is not a field of `RunSettings`.
"""

import functools
import os
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self, get_args, get_type_hints

from unbraid.checks import SettingsError, check_name

PROFILES = ("smoke", "quick", "full")
FOLDER = Path(__file__).parent
# In every record, even where a section leaves them to the default; a checkpoint must agree in them.
RECORDED = ("learning_rate", "decay", "decay_every", "second_moment_decay", "weight_interpolation")
parse_toml = functools.cache(tomllib.loads)  # All files take 40 ms, and every run asks again.

Knots = float | list | tuple
"""A schedule: a number, or knots [[share of the updates, value], ...] with values in between."""


@dataclass(frozen=True)
class RunSettings:
    """What a section says at one profile: what may stand beside a model's config, with defaults.

    Make them with `load`. Everything else that a section says is in `options`.
    """

    section: str = ""
    profile: str = "quick"
    model: str = ""
    dataset: str = ""
    run: str = ""
    seeds: int = 1  # 0: the profile has no such run

    # training
    steps: int = 0  # updates; 0: the profile has no such run
    batch_size: int = 0  # sequences
    learning_rate: Knots = 1e-3
    decay: float = 1.0  # factor on the rate ...
    decay_every: int = 1  # ... after this number of sequences
    second_moment_decay: float = 0.999  # Adam's beta_2
    gradient_norm: float | None = None  # that a larger gradient is cut to
    weight_interpolation: str = "linear"  # between knots of the terms' weights; or "logarithmic"
    weight_cycles: int = 1  # how many times the knots of the terms' weights are repeated

    # data
    sampler: str = ""  # one of papers/datasets.py
    image_size: int = 64
    channels: int = 3
    length: int = 0  # frames of a sequence, where a sampler draws them
    frames_drawn: int | None = None  # in place of `length`, for a model that divides them
    motion: str = "bounce"  # of moving digits
    speeds: list | tuple = (0.1, 0.1)
    withheld: float = 0.0  # share of the sequences that lack one action in training
    scaled: bool = True  # whether spectra and series are standardised
    split_by: str | None = None  # the loader's `by`
    training_split: str = "train"  # what is learnt from, such as "fit" without validation

    judged_size: int = 0  # units of each block of a code that is judged

    options: dict[str, Any] = field(default_factory=dict)  # of the model, its bound and the loader
    given: tuple[str, ...] = RECORDED  # the names of what is not left to a default

    def replace(self, **changes: Any) -> Self:
        """A copy with changes of any name; `SettingsError` for a value of another type."""
        fields = {name: value for name, value in changes.items() if name in FIELD_TYPES}
        for name, value in fields.items():
            check_kind(name, value)
        options = {name: value for name, value in changes.items() if name not in FIELD_TYPES}
        given = tuple(dict.fromkeys((*self.given, *changes)))
        return replace(self, **fields, options=self.options | options, given=given)

    def as_dict(self) -> dict[str, Any]:
        """What is not left to a default, by name, as a record has it."""
        everything = vars(self) | self.options
        return {name: everything[name] for name in self.given}


FIELD_TYPES = get_type_hints(RunSettings)  # the types of its fields
del FIELD_TYPES["options"], FIELD_TYPES["given"]


def check_kind(name: str, value: object) -> None:
    """Refuse a value that is not of its field's type, and whole numbers below 0."""
    kinds = set(get_args(FIELD_TYPES[name]) or (FIELD_TYPES[name],))
    kinds |= {int} if float in kinds else set()
    is_kind = isinstance(value, tuple(kinds)) and isinstance(value, bool) == (bool in kinds)
    if not is_kind or (float not in kinds and isinstance(value, int) and value < 0):
        expected = str(getattr(FIELD_TYPES[name], "__name__", FIELD_TYPES[name]))
        expected += ", 0 or more" if int in kinds and float not in kinds else ""
        raise SettingsError(f"{name}: expected {expected}, found {value!r}")


def at_smoke(settings: RunSettings, few: int, many: int) -> int:
    """The first of two sizes of an evaluation at the profile smoke, else the second."""
    return few if settings.profile == "smoke" else many


Jobs = list[tuple[RunSettings, list[int]]]  # the settings of a run, and its seeds


Table = dict[str, Any]  # settings by their names


class Experiment(NamedTuple):
    """A section that can be trained: a run of a model on a dataset."""

    section: str
    model: str
    dataset: str
    run: str


def own_results() -> Path:
    """The clone's build/results, where commands write and where evaluate looks first."""
    from unbraid.files import repository_root

    return (repository_root() or Path.cwd()) / "build" / "results"


def current_profile(profile: str | None = None) -> str:
    """The profile in force: the environment's UNBRAID_PROFILE, else the argument, else "quick"."""
    forced = os.environ.get("UNBRAID_PROFILE")
    name = forced or profile or "quick"
    check_name("UNBRAID_PROFILE" if forced else "profile", name, PROFILES)
    return name


def load(section: str, profile: str | None = None, **overrides: object) -> RunSettings:
    """The settings of a section, e.g. load("independent.circle.factored", "quick", steps=100).

    Keyword arguments override single settings. Raises `SettingsError` for a section or a profile
    that the tables do not have, for a value of another type, and where nobody says `steps`.
    """
    profile = current_profile(profile)
    sections = read_sections(profile)
    check_name("section", section, sections)
    values = deepcopy(sections[section])
    if "steps" not in values | overrides:
        expected = "a number of updates here, or in a section around it"
        remedy = f"say steps = {{ {profile} = 0 }} if the profile has no such run"
        place = f"steps of {section} at {profile}"
        raise SettingsError(f"{place}: expected {expected}, found none; {remedy}")
    return RunSettings().replace(section=section, profile=profile, **values | overrides)


def list_experiments() -> list[Experiment]:
    """All sections that have a run, in the order of the tables."""
    experiments = []
    for section, values in read_sections("quick").items():
        if "run" in values:
            names = [values[name] for name in Experiment._fields[1:]]
            if "." in names[-1]:  # It would begin the ending of its files' names.
                raise SettingsError(f"run of {section}: expected no dot, found {names[-1]}")
            experiments.append(Experiment(section, *names))
    return experiments


def select_runs(model: str, dataset: str = "all", run: str = "all") -> list[Experiment]:
    """A model's experiments, on one dataset or all, with one run or all; else `SettingsError`."""
    experiments = list_experiments()
    for kind, name in (("model", model), ("dataset", dataset), ("run", run)):
        names = dict.fromkeys(getattr(experiment, kind) for experiment in experiments)
        if kind == "model" or name != "all":
            check_name("part" if kind == "model" else kind, name, names)
            experiments = [each for each in experiments if getattr(each, kind) == name]
    return experiments


def list_classes(section: str, profile: str) -> set[str]:
    """The dotted names of the classes that a section and those around it name."""
    around = read_sections(profile).items()
    outer = [values for name, values in around if f"{section}.".startswith(f"{name}.")]
    return {values["class"] for values in outer if "class" in values}


# ---- the tables


def read_sections(profile: str) -> dict[str, Table]:
    """What all sections say at one profile, by their dotted names, outer sections first.

    Own settings win over those of mix-ins, and these over outer sections'. No TOML, and a section
    or mix-in that is defined twice, raise `SettingsError`.
    """
    outermost: dict[str, dict] = {}  # the lines of each
    mixins: dict[str, Table] = {}
    for path in (FOLDER / "judges.toml", *sorted(FOLDER.glob("*/runs.toml"))):
        file = path.relative_to(FOLDER).as_posix()
        try:
            content = dict(parse_toml(path.read_text(encoding="utf-8")))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{file}: expected TOML, found {error}") from None
        own_mixins = content.pop("mixins", {})
        if twice := (outermost.keys() & content.keys()) | (mixins.keys() & own_mixins.keys()):
            raise SettingsError(f"{file}: expected new names, found again {sorted(twice)}")
        for name, lines in own_mixins.items():
            mixins[name] = resolve(lines, profile)
        outermost |= content
    sections: dict[str, Table] = {}
    for name, lines in outermost.items():
        sections |= walk_sections(name, lines, {}, mixins, profile)
    return sections


def walk_sections(
    name: str, lines: dict, outer: Table, mixins: dict[str, Table], profile: str
) -> Iterator[tuple[str, Table]]:
    """The name and the settings of a section, and of those inside it, with what they inherit."""
    own, parts = dict(outer), name.split(".")
    if len(parts) == 3:
        own["run"] = parts[2]
    for mixin in lines.get("like", ()):
        check_name(f"like of {name}", mixin, mixins)
        own |= mixins[mixin]
    own |= resolve(lines, profile)
    yield name, own
    for key, value in lines.items():
        if is_section(value):
            yield from walk_sections(f"{name}.{key}", value, own, mixins, profile)


def is_section(value: object) -> bool:
    """Whether a table is a section, and not a value for each of some profiles."""
    return isinstance(value, dict) and not set(value) <= set(PROFILES)


def resolve(lines: dict[str, Any], profile: str) -> Table:
    """What lines say at one profile, without those that say nothing of it."""
    in_force: Table = {}
    for name, value in lines.items():
        if not isinstance(value, dict) and name != "like":
            in_force[name] = value
        elif isinstance(value, dict) and profile in value and not is_section(value):
            in_force[name] = value[profile]
    return in_force
