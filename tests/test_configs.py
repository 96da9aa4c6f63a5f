"""Models are made of typed configs, whose defaults are the papers' values."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import count_parameters
from unbraid.data.sampling import SequenceSampler
from unbraid.data.sequences import Sequences
from unbraid.models.independent import IndependentPrediction, IndependentPredictionConfig
from unbraid.models.single_element import SingleElement, SingleElementConfig
from unbraid.models.unordered import UnorderedFrames, UnorderedFramesConfig
from unbraid.training import fit
from unbraid.variants import AblatedElement, PublishedSeries, PublishedSpeech

from papers import run, settings
from papers.a.variants import GatedPrediction

PAPERS = {
    "independent.bounce.factored_long": IndependentPrediction,
    "unordered.sprites_poses": UnorderedFrames,
    "single_element.sprites": SingleElement,
    "single_element.air_quality.published": PublishedSeries,
    "single_element.timit": PublishedSpeech,
}
SMALL_START = ("single_element.sprites", "single_element.timit")
COUNTS = tomllib.loads(Path(__file__).with_name("counts.toml").read_text())


@pytest.mark.parametrize("section, kind", PAPERS.items(), ids=PAPERS)
def test_a_configs_defaults_are_the_papers_values(section, kind):
    start = {"initial_weights": "small"} if section in SMALL_START else {}  # what a recipe sets
    assert run.make_config(settings.load(section, "full")) == kind.config_class(**start)


@pytest.mark.parametrize("section", COUNTS)
def test_models_have_as_many_parameters_as_the_papers_or_the_authors_code(section):
    model = run.build(settings.load(section, "full"), 0)
    parts = {"model": model} | dict(model.named_modules())
    counts = {block: count_parameters(parts[block]) for block in COUNTS[section]}
    assert counts == COUNTS[section]


SMALL = {"image_size": np.int64(8), "width": np.int32(4)}


@pytest.mark.parametrize(
    "make",
    (
        lambda: IndependentPrediction(factors=np.int32(2), variance=np.float32(0.5), **SMALL),
        lambda: UnorderedFrames(image_size=8, widths=(np.int64(4),), static_size=np.int64(4)),
        lambda: SingleElement(static_size=np.int64(4), normalise=np.True_, **SMALL),
    ),
)
def test_numbers_of_numpy_become_numbers_that_are_trained_and_saved(make, tmp_path):
    model = make()
    values = [*vars(model.config).values()]
    assert all(type(each) in (bool, int, float, str, tuple) for each in values)
    draw = SequenceSampler(Sequences(torch.rand(2, 3, 3, 8, 8)))
    fit(model, draw, steps=1, batch_size=2, accelerator="cpu", checkpoint=tmp_path / "run.ck")
    model.save(tmp_path / "a.safetensors")
    assert type(model).load(tmp_path / "a.safetensors").config == model.config


@pytest.mark.parametrize(
    "make, field",
    (
        (lambda: SingleElement(static_sise=4), "static_size"),
        (lambda: SingleElement(static_size=0), "^static_size"),
        (lambda: SingleElement(static_size="4"), "^static_size"),
        (lambda: SingleElement(normalise=1), "^normalise"),
        (lambda: SingleElement(variance=0.0), "^variance"),
        (lambda: SingleElement(anchor="frist"), "^anchor.*did you mean first"),
        (lambda: SingleElement(SingleElementConfig(), static_size=4), "^config.*static_size"),
        (lambda: SingleElement(UnorderedFramesConfig()), "^config.*UnorderedFramesConfig"),
        (lambda: SingleElement(settings.load("single_element.sprites", "smoke")), "^config"),
        (lambda: SingleElement(kind="sound"), "^kind"),
        (lambda: SingleElement(image_size=12), "^image_size"),
        (lambda: UnorderedFrames(widths=(4, 0, 4, 4)), "^widths"),
        (lambda: UnorderedFrames(image_size=32), "^widths"),
        (lambda: UnorderedFrames(initial_weights="small"), "^initial_weights"),
        (lambda: IndependentPrediction(variance=float("nan")), "^variance"),
        (lambda: IndependentPredictionConfig(factors=True), "^factors"),
        (lambda: AblatedElement(static_from="none"), "^static_from"),
        (lambda: GatedPrediction(opening=3), "^opening"),
    ),
)
def test_a_bad_value_is_refused_with_its_field(make, field):
    with pytest.raises(ValueError, match=field):
        make()


def test_a_gate_opens_in_place_and_stays_shut_after_loading(tmp_path):
    sizes = {"image_size": 8, "width": 2, "features": 3, "factor_size": 3}
    model = GatedPrediction(opening=((0.0, (3, 3)), (0.5, (1, 2))), **sizes)
    in_use = model.filter.in_use
    model.advance(0.2)
    assert in_use.tolist() == [1] * 6
    model.advance(1.0)
    assert in_use is model.filter.in_use and in_use.tolist() == [1, 0, 0, 1, 1, 0]
    model.save(tmp_path / "model.safetensors")
    assert GatedPrediction.load(tmp_path / "model.safetensors").filter.in_use.equal(in_use)
