"""Sizes, step counts and rates of every run: three columns (smoke, quick, full) of the one table profiles.toml."""

from __future__ import annotations

import os
import tomllib
from importlib import resources
from types import SimpleNamespace

PROFILES = ("smoke", "quick", "full")


class SettingsError(ValueError):
    """A profile, section or setting that profiles.toml does not know."""


class Settings(SimpleNamespace):
    """One column of one section of profiles.toml; values are attributes."""

    def as_dict(self) -> dict:
        """The settings as a plain dictionary."""
        return dict(vars(self))


def current_profile(profile: str | None = None) -> str:
    """The profile in force: the environment's UNBRAID_PROFILE, else the argument, else "quick"."""
    chosen = os.environ.get("UNBRAID_PROFILE") or profile or "quick"
    if chosen not in PROFILES:
        source = "UNBRAID_PROFILE" if os.environ.get("UNBRAID_PROFILE") else "profile"
        raise SettingsError(f"{source}: expected one of {', '.join(PROFILES)}, found {chosen!r}")
    return chosen


def load(section: str, profile: str | None = None, **overrides) -> Settings:
    """The settings of a section, e.g. load("independent.factored", "quick", steps=100).

    A value that is the same in every profile is written once; one that differs is a table of the three
    profiles. Keyword arguments override single settings and must be names the section knows.
    """
    profile = current_profile(profile)
    table = tomllib.loads(
        resources.files("unbraid").joinpath("profiles.toml").read_text(encoding="utf-8")
    )
    values: dict = {"section": section, "profile": profile}
    node = table
    for part in section.split("."):
        if (
            not isinstance(node, dict)
            or not isinstance(node.get(part), dict)
            or set(node[part]) <= set(PROFILES)
        ):
            raise SettingsError(
                f"settings: profiles.toml has no section {section!r}; it has {', '.join(sections(table))}"
            )
        node = node[part]
        for name, value in node.items():  # an inner section inherits what the outer one says
            if isinstance(value, dict) and not set(value) <= set(PROFILES):
                continue
            if isinstance(value, dict) and profile not in value:
                raise SettingsError(
                    f"settings: {section}.{name} has no value for the profile {profile!r}"
                )
            values[name] = value[profile] if isinstance(value, dict) else value
    unknown = set(overrides) - set(values)
    if unknown:
        raise SettingsError(
            f"settings: {section} has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(set(values) - {'section', 'profile'}))}"
        )
    return Settings(**{**values, **overrides})


def sections(table: dict, prefix: str = "") -> list[str]:
    """Names of all sections in the table, dotted."""
    found = []
    for name, value in table.items():
        if isinstance(value, dict) and not set(value) <= set(PROFILES):
            found += [prefix + name, *sections(value, prefix + name + ".")]
    return found
