"""Which class and which config a trained model has: of a file of weights, of a run's settings.

A section of profiles.toml, and the record of a run, name a model ("single_element"), or networks of
its own ("published_series"), and hold the fields of its config among other settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from unbraid import store
from unbraid.checks import check_name
from unbraid.models.base import ModelConfig, SequenceModel
from unbraid.models.formula import FormulaElement
from unbraid.models.gated import GatedPrediction
from unbraid.models.independent import IndependentPrediction
from unbraid.models.painted import PaintedFrames
from unbraid.models.published_series import PublishedSeries
from unbraid.models.published_speech import PublishedSpeech
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames

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


class Found(NamedTuple):
    """A model that lies in a file."""

    path: Path
    model_class: type[SequenceModel]
    config: ModelConfig
    digest: str | None  # SHA-256 of the file, where a record names it


def choose_class(settings: Mapping[str, object]) -> type[SequenceModel]:
    """The class of a run's model: the paper's, or what its settings say that it has beside it.

    Those are networks of its own, a gate, a painting decoder, or the paper's formula.
    """
    if "networks" in settings:
        check_name("networks", settings["networks"], NETWORKS)
        return NETWORKS[settings["networks"]]
    check_name("model", settings["model"], MODELS)
    model_class = MODELS[settings["model"]]
    if model_class is IndependentPrediction and (
        settings.get("opening") or any(settings.get("decoder_apart", ()))
    ):
        return GatedPrediction
    if model_class is UnorderedFrames and (settings.get("multiplied") or settings.get("palette")):
        return PaintedFrames
    if model_class is SingleElement and "variant" in settings:
        check_name("variant", settings["variant"], VARIANTS)
        return VARIANTS[settings["variant"]]
    return model_class


def read_config(settings: Mapping[str, object]) -> ModelConfig:
    """The config of a run's model: what its class has a field for among the run's settings."""
    # The bound has a term for the static code alone where the loss weighs it.
    still = bool(settings.get("still_weight", 0.0))
    return choose_class(settings).config_class.of({"still": still} | settings)


def find_model(name: str | Path, folder: Path | None, wanted: type[SequenceModel]) -> Found:
    """What `SequenceModel.load` loads.

    The file itself says its class and config. The record of a run (run.json beside it) says the
    digest, and of files of before the settings that class and config are made of.
    """
    path = Path(name)
    if not path.is_file():
        path = (folder or store.shipped()) / f"{name}.safetensors"
    record_path = path.with_name(f"{path.name.removesuffix('.safetensors')}.run.json")
    described = store.describe_weights(path)
    if described is not None and not record_path.exists():
        return Found(path, *read_description(path, described, wanted), None)

    record = read_record(record_path)
    if described is not None:
        return Found(path, *read_description(path, described, wanted), record["weights_sha256"])
    settings = record["settings"]
    found = choose_class(settings), read_config(settings)
    return Found(path, *found, record["weights_sha256"])


def read_record(path: Path) -> dict:
    """The record of a finished run; `ResultsError` where it is missing or damaged."""
    record = store.read_json(path)
    if not isinstance(record, dict) or not {"settings", "weights_sha256"} <= record.keys():
        raise store.ResultsError(
            f"{path}: expected a run's record, found no settings or no digest of weights; "
            f"{store.RESTORE}"
        )
    return record


def read_description(
    path: Path, described: Mapping, wanted: type[SequenceModel]
) -> tuple[type[SequenceModel], ModelConfig]:
    """Class and config that a file of weights names; a class of yours has to be imported."""
    classes = {each.__name__: each for each in (*list_subclasses(SequenceModel), wanted)}
    if described["class"] not in classes:
        raise store.ResultsError(
            f"{path}: expected a model that is imported, found {described['class']}; import its "
            "class first, and load the weights with it"
        )
    model_class = classes[described["class"]]
    return model_class, model_class.config_class(**described["config"])


def list_subclasses(parent: type) -> list[type]:
    """All classes below a class."""
    classes = []
    for child in parent.__subclasses__():
        classes += [child, *list_subclasses(child)]
    return classes
