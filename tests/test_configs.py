"""Models are made of typed configs, whose defaults are the papers' values."""

import pytest
from unbraid.models.independent import IndependentPrediction, IndependentPredictionConfig
from unbraid.models.single_element import SingleElement, SingleElementConfig
from unbraid.models.unordered import UnorderedFrames, UnorderedFramesConfig
from unbraid.networks import count_parameters

from papers import run, settings
from papers.a.variants import GatedPrediction
from papers.c.published_series import PublishedSeries
from papers.c.published_speech import PublishedSpeech
from papers.c.variants import AblatedElement

PAPERS = {
    "independent.bounce.factored": IndependentPrediction,
    "unordered.sprites_poses": UnorderedFrames,
    "single_element.sprites": SingleElement,
    "single_element.air_quality.published": PublishedSeries,
    "single_element.timit": PublishedSpeech,
}
COUNTS = {  # parameters of models at full by settings' section, and of their parts
    "independent.bounce.factored": {"": 6_235_915},
    "independent.bounce.entangled": {"": 6_186_251},
    "unordered.sprites_poses": {
        "trunk": 3_159_040,
        "static_encoder.pair_convolution": 2_359_808,
        "static_encoder.convolution": 2_359_808,
        "static_encoder.dense": 4_720_128,
        "prior_dense": 527_364,
        "decoder.stages": 3 * (256 * 256 * 16 + 256),
        "decoder.last": 256 * 3 * 16 + 3,
        # These are not in the paper's table.
        "dynamic_dense": (4096 + 512 + 1) * 512 + 513 * 512 + 513 * 4,
        "decoder.first": (512 + 2 + 1) * 4096,
    },
    "single_element.sprites": {
        "codec.encoder": 4_856_384,
        "static_head": 49_728,
        "dynamic_encoder.recurrent": 2_629_632,
        "dynamic_encoder.head": 262_656,
        "prior": 148_992,
        "codec.decoder": 6_952_771,
        "": 14_900_163,
    },
    "single_element.mug": {"": 8_784_515},
    "single_element.physionet.published_death": {"": 88_548},
    "single_element.physionet.published_ward": {"": 88_548},
    "single_element.air_quality.published": {"": 88_548},
    "single_element.etth1.published": {
        "codec.encoder": 4_416,
        "anchor_recurrent": 6_336,
        "static_head": 1_584,
        "dynamic_encoder": 8_976,
        "prior": 53_264,
        "codec.start": 544,
        "codec.recurrent": 8_448,
        "codec.dense": 4_192,
        "": 88_156,
    },
    "single_element.timit": {
        "codec.recurrent": 649_632,
        "codec.linear": 81_003,
        "static_head": 117_504,
        "dynamic_encoder": 800_000,
        "prior": 987_392,
        "codec.decoder_recurrent": 369_036,
        "codec.decoder_linear": 40_602,
        "": 3_045_169,
    },
}


@pytest.mark.parametrize("section, kind", PAPERS.items(), ids=PAPERS)
def test_a_configs_defaults_are_the_papers_values(section, kind):
    assert run.make_config(settings.load(section, "full")) == kind.config_class()


@pytest.mark.parametrize("section", COUNTS)
def test_models_have_as_many_parameters_as_the_papers_or_the_authors_code(section):
    model = run.build(settings.load(section, "full"), 0)
    parts = {block: model.get_submodule(block) for block in COUNTS[section]}
    assert {block: count_parameters(part) for block, part in parts.items()} == COUNTS[section]


@pytest.mark.parametrize(
    "make, field",
    (
        (lambda: SingleElement(static_sise=4), "static_size"),
        (lambda: SingleElement(static_size=0), "^static_size"),
        (lambda: SingleElement(static_size="4"), "^static_size"),
        (lambda: SingleElement(still=1), "^still"),
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
    in_use = model.in_use
    model.advance(0.2)
    assert in_use.tolist() == [[1, 1, 1], [1, 1, 1]]
    model.advance(1.0)
    assert in_use is model.in_use and in_use.tolist() == [[1, 0, 0], [1, 1, 0]]
    model.save(tmp_path / "model.safetensors")
    assert GatedPrediction.load(tmp_path / "model.safetensors").in_use.equal(in_use)
