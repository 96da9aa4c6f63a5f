"""Models are made of typed configs, which say the papers' sizes, and come back from files."""

import json

import pytest
import torch
from helpers import MODELS
from safetensors.torch import save_file
from unbraid import store
from unbraid.models.base import SequenceModel, describe_model
from unbraid.models.independent import IndependentPrediction, IndependentPredictionConfig
from unbraid.models.single_element import SingleElement, SingleElementConfig
from unbraid.models.unordered import UnorderedFrames, UnorderedFramesConfig
from unbraid.networks import count_parameters

from papers import runs, settings
from papers.a.variants import CanvasPrediction, GatedPrediction
from papers.c.published_series import PublishedSeries
from papers.c.published_speech import PublishedSpeech
from papers.c.variants import AblatedElement, FormulaElement

PAPERS = {
    "independent.bounce.factored": IndependentPrediction,
    "unordered.sprites_poses": UnorderedFrames,
    "single_element.sprites": SingleElement,
    "single_element.air_quality.published": PublishedSeries,
    "single_element.timit": PublishedSpeech,
}
SMALL = dict(MODELS.values())  # by class: sizes of one of its small models
SMALL[GatedPrediction] = SMALL[GatedPrediction] | {"opening": ((0.5, (1, 2, 2)),)}
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
    "single_element.physionet.published_death.ward": {"": 88_548},
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
FORMULAE = settings.load("single_element.sprites", "smoke", variant="formulas")
every_model = pytest.mark.parametrize("kind", SMALL, ids=lambda kind: kind.__name__)


@pytest.mark.parametrize("section, kind", PAPERS.items(), ids=PAPERS)
def test_a_configs_defaults_are_the_papers_values(section, kind):
    assert runs.make_config(settings.load(section, "full")) == kind.config_class()


@pytest.mark.parametrize("section", COUNTS)
def test_models_have_as_many_parameters_as_the_papers_or_the_authors_code(section):
    model = runs.build(settings.load(section, "full"), 0)
    parts = {block: model.get_submodule(block) for block in COUNTS[section]}
    assert {block: count_parameters(part) for block, part in parts.items()} == COUNTS[section]


@every_model
def test_a_model_is_made_of_a_config_or_of_its_fields_by_name(kind):
    sizes = SMALL[kind]
    made, named = kind(kind.config_class(**sizes)), kind(**sizes)
    assert made.config == named.config != kind.config_class()
    shapes = [{name: value.shape for name, value in m.state_dict().items()} for m in (made, named)]
    assert shapes[0] == shapes[1]


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
        (lambda: FormulaElement(context=True), "^context"),
        (lambda: GatedPrediction(opening=3), "^opening"),
        (lambda: GatedPrediction(decoder_apart=(0.2, 0.5), decoder_groups=3), "^decoder_apart"),
        (lambda: CanvasPrediction(decoder_hidden=8, decoder_groups=2), "^decoder_hidden"),
        (lambda: runs.build(FORMULAE, 0), "^variant.*did you mean formula"),
        (lambda: IndependentPredictionConfig(factors=True), "^factors"),
    ),
)
def test_a_bad_value_is_refused_with_its_field(make, field):
    with pytest.raises(ValueError, match=field):
        make()


@every_model
def test_a_saved_model_comes_back_with_its_class_and_its_config(kind, tmp_path):
    torch.manual_seed(0)
    model, path = kind(**SMALL[kind]), tmp_path / "any.name.safetensors"
    digest = model.save(path)
    assert digest == store.digest(path) == kind.load(path).save(tmp_path / "again.safetensors")
    for loaded in (kind.load(path), SequenceModel.load(str(path)), kind.load("any.name", tmp_path)):
        assert type(loaded) is kind and loaded.config == model.config and not loaded.training
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value.half().to(value.dtype)), name


def test_weights_of_another_class_and_altered_ones_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    SingleElement(**SMALL[SingleElement]).save(path)
    with pytest.raises(ValueError, match=r"UnorderedFrames, found .*SingleElement\.load"):
        UnorderedFrames.load(path)
    tensors, described = store.load_tensors(path), store.describe_weights(path)
    metadata = {"model": json.dumps(described)}
    tensors["prior.head.mean.bias"] += 1
    save_file(tensors, path, metadata)
    with pytest.raises(store.ResultsError, match="found others"):
        SingleElement.load(path)
    save_file(tensors, path, {"model": metadata["model"].replace("SingleElement", "Unknown")})
    with pytest.raises(store.ResultsError, match=r"imported, found .*\.Unknown"):
        SequenceModel.load(path)


@pytest.mark.parametrize(
    "made, of_before",
    (
        (
            CanvasPrediction(image_size=8, width=2, features=3, decoder_groups=2),
            {"class": "IndependentPrediction"},
        ),
        (
            AblatedElement(image_size=8, width=2, features=4, static_from="all"),
            {"class": "SingleElement"},
        ),
        (GatedPrediction(image_size=8, width=2, features=3), {"class": "GatedPrediction"}),
    ),
    ids=lambda value: type(value).__name__,
)
def test_a_file_of_before_its_class_was_divided_still_loads(made, of_before, tmp_path):
    path = tmp_path / "model.safetensors"
    store.save_weights(path, made, describe_model(made) | of_before)
    loaded = SequenceModel.load(path)
    assert type(loaded) is type(made) and loaded.config == made.config


def test_a_gate_that_stays_shut_is_shut_after_loading(tmp_path):
    sizes = {"image_size": 8, "width": 2, "features": 3, "factor_size": 3}
    model = GatedPrediction(opening=((0.0, (3, 3)), (0.5, (1, 2))), **sizes)
    model.advance(1.0)
    model.save(tmp_path / "model.safetensors")
    loaded = SequenceModel.load(tmp_path / "model.safetensors")
    assert loaded.in_use.tolist() == model.in_use.tolist() == [[1, 0, 0], [1, 1, 0]]


def test_fields_that_no_class_has_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    model = SingleElement(**SMALL[SingleElement])
    described = describe_model(model)
    described["config"]["taste"] = 1
    store.save_weights(path, model, described)
    with pytest.raises(store.ResultsError, match="SingleElementConfig, found .*taste"):
        SequenceModel.load(path)
