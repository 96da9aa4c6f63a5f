"""Which class and which config a run's model has, of its settings.

A section of settings, and the record of a run, name a model ("single_element"), or networks of its
own ("published_series"), and hold the fields of its config among other settings.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping

from unbraid.checks import SettingsError, check_name
from unbraid.models.base import ModelConfig, SequenceModel
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames

from papers.a.variants import CanvasPrediction, GatedPrediction
from papers.b.variants import PaintedFrames
from papers.c.published_series import PublishedSeries
from papers.c.published_speech import PublishedSpeech
from papers.c.variants import AblatedElement, FormulaElement

MODELS: dict[str, type[SequenceModel]] = {
    "independent": IndependentPrediction,
    "unordered": UnorderedFrames,
    "single_element": SingleElement,
}
NETWORKS: dict[str, type[SequenceModel]] = {  # of a model, other than those that it has itself
    "published_series": PublishedSeries,
    "published_speech": PublishedSpeech,
}
VARIANTS = {"code": SingleElement, "formula": FormulaElement}  # of paper C: its code, its formulas


def choose_class(settings: Mapping[str, object]) -> type[SequenceModel]:
    """The class of a run's model: the paper's, or what its settings say that it has beside it.

    Those are networks of its own, a gate, another decoder, the paper's formula, or an idea less. A
    model that is no paper's is named by its setting `class`, such as "unbraid.models.new.New".
    """
    if "class" in settings:
        return import_class(settings["class"])
    if "networks" in settings:
        check_name("networks", settings["networks"], NETWORKS)
        return NETWORKS[settings["networks"]]
    check_name("model", settings["model"], MODELS)
    model_class = MODELS[settings["model"]]
    if model_class is IndependentPrediction:
        return choose_prediction(settings)
    if model_class is UnorderedFrames and (settings.get("multiplied") or settings.get("palette")):
        return PaintedFrames
    if model_class is SingleElement:
        return choose_element(settings)
    return model_class


def import_class(name: str) -> type[SequenceModel]:
    """The model of a dotted name; `SettingsError` where there is none."""
    module, _, own_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), own_name, None)
    except (ModuleNotFoundError, ValueError):  # ValueError: a name without a module
        found = None
    if not (isinstance(found, type) and issubclass(found, SequenceModel)):
        raise SettingsError(f"class: expected the dotted name of a model, found {name}")
    return found


def choose_prediction(settings: Mapping[str, object]) -> type[IndependentPrediction]:
    """The class of a run of paper A's model."""
    if settings.get("opening") or any(settings.get("decoder_apart", ())):
        return GatedPrediction
    if settings.get("decoder_groups", 1) > 1 or settings.get("decoder_hidden", 0):
        return CanvasPrediction
    return IndependentPrediction


def choose_element(settings: Mapping[str, object]) -> type[SingleElement]:
    """The class of a run of paper C's model, with the networks of the course."""
    variant = settings.get("variant", "code")
    check_name("variant", variant, VARIANTS)
    is_whole = settings.get("subtract", True) and settings.get("static_from", "anchor") == "anchor"
    if is_whole:
        return VARIANTS[variant]
    if variant != "code":
        raise SettingsError(
            f"variant: expected code where the subtraction or the anchor is left out, found "
            f"{variant}; no model has both"
        )
    return AblatedElement


def read_config(settings: Mapping[str, object]) -> ModelConfig:
    """The config of a run's model: what its class has a field for among the run's settings."""
    # The bound has a term for the static code alone where the loss weighs it.
    still = bool(settings.get("still_weight", 0.0))
    return choose_class(settings).config_class.of({"still": still} | settings)
