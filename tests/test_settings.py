"""The one table of sizes and rates: every section in every profile, the paper's numbers at full, clear refusals."""

import tomllib
from importlib import resources

import pytest
from unbraid import settings
from unbraid.models.independent import IndependentPrediction
from unbraid.settings import PROFILES, SettingsError, load

SECTIONS = settings.sections(
    tomllib.loads(resources.files("unbraid").joinpath("profiles.toml").read_text(encoding="utf-8"))
)


@pytest.fixture(autouse=True)
def no_profile_from_outside(monkeypatch):
    monkeypatch.delenv("UNBRAID_PROFILE", raising=False)


def test_the_table_has_the_sections_of_part_one():
    assert {"independent", "independent.factored", "independent.entangled"} <= set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_loads_in_every_profile_with_the_same_names_and_types(section):
    loaded = [load(section, profile) for profile in PROFILES]
    kinds = [{name: type(value) for name, value in one.as_dict().items()} for one in loaded]
    assert kinds[0] == kinds[1] == kinds[2]
    assert set(kinds[0].values()) <= {int, float, bool, str, list}
    lists = [value for one in loaded for value in one.as_dict().values() if isinstance(value, list)]
    assert all(
        {type(item) for item in value} in (set(), {int}, {float}) for value in lists
    )  # channels, or shares of a run
    assert [(one.section, one.profile) for one in loaded] == [
        (section, profile) for profile in PROFILES
    ]


def test_an_inner_section_inherits_the_outer_one():
    outer, inner = (
        load("independent", "quick").as_dict(),
        load("independent.factored", "quick").as_dict(),
    )
    assert {name: inner[name] for name in outer if name != "section"} == {
        name: outer[name] for name in outer if name != "section"
    }
    assert set(inner) - set(outer) >= {"factors", "factor_size"}


def test_full_is_the_papers_scale():
    factored, entangled = (
        load("independent.factored", "full"),
        load("independent.entangled", "full"),
    )
    expected = {
        "image_size": 64,
        "length": 5,
        "step": 0.1,
        "batch_size": 100,
        "variance": 0.25,
        "learning_rate": 3e-4,
        "decay": 0.985,
        "decay_every": 320_000,
        "width": 64,
        "features": 32,
        "hidden": 128,
        "hidden_layers": 4,
        "normalise": True,
        "activation": "paper",
        "output": "sigmoid",
        "initial_log_variance": 0.0,
        "evaluation_pairs": 1000,
        "decoder_groups": 1,
    }
    for one in (factored, entangled):
        assert {name: getattr(one, name) for name in expected} == expected
    assert (factored.factors, factored.factor_size) == (2, 20)
    assert (entangled.factors, entangled.factor_size) == (1, 40)


def differing(first, second, profile):
    """Names of the settings in which two models of paper A differ, "section" aside."""
    one, other = (load(f"independent.{name}", profile).as_dict() for name in (first, second))
    return {name for name in one if one[name] != other[name]} - {"section"}


def test_at_the_papers_scale_the_models_differ_in_their_factors_alone():
    assert differing("factored", "entangled", "full") == {"factors", "factor_size"}


@pytest.mark.parametrize("profile", ("smoke", "quick"))
def test_in_small_each_difference_has_an_ablation_of_its_own(profile):
    assert differing("factored", "entangled", profile) == {
        "factors",
        "factor_size",
        "decoder_groups",
    }
    assert differing("factored", "entangled_two_decoders", profile) == {"factors", "factor_size"}
    assert differing("factored", "factored_one_decoder", profile) == {"decoder_groups"}


@pytest.mark.parametrize("profile", PROFILES)
def test_both_models_are_as_wide_and_judged_alike(profile):
    for name in ("factored", "entangled"):
        chosen = load(f"independent.{name}", profile)
        assert chosen.factors * chosen.factor_size == chosen.judged_factors * chosen.judged_size


@pytest.mark.parametrize("name", ("factored", "entangled"))
def test_a_model_is_made_of_smoke_settings(name):
    chosen = load(f"independent.{name}", "smoke")
    model = IndependentPrediction.from_settings(chosen)
    assert (model.factors, model.factor_size, model.variance) == (
        chosen.factors,
        chosen.factor_size,
        chosen.variance,
    )
    assert model.frame_shape == (3, chosen.image_size, chosen.image_size)


def test_the_default_is_quick_and_the_environment_wins(monkeypatch):
    assert settings.current_profile() == load("independent").profile == "quick"
    monkeypatch.setenv("UNBRAID_PROFILE", "smoke")
    assert settings.current_profile("full") == load("independent", "full").profile == "smoke"
    assert load("independent", "full").steps == load("independent", "smoke").steps
    monkeypatch.setenv("UNBRAID_PROFILE", "huge")
    with pytest.raises(
        SettingsError, match=r"UNBRAID_PROFILE: expected one of smoke, quick, full, found 'huge'"
    ):
        load("independent", "quick")


def test_overrides_change_single_settings():
    assert load("independent.factored", "quick", steps=3, factors=4).as_dict() == load(
        "independent.factored", "quick"
    ).as_dict() | {
        "steps": 3,
        "factors": 4,
    }


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(
        SettingsError, match=r"profile: expected one of smoke, quick, full, found 'Quick'"
    ):
        load("independent", "Quick")


@pytest.mark.parametrize(
    "section",
    ("dependent", "independent.other", "", "independent.", "independent.step", "independent.width"),
)
def test_an_unknown_section_is_refused_with_the_known_ones(section):
    with pytest.raises(SettingsError) as refusal:
        load(section, "quick")
    assert repr(section) in str(refusal.value)
    assert all(
        name in str(refusal.value) for name in ("independent.factored", "independent.entangled")
    )


def test_an_unknown_override_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError) as refusal:
        load("independent.factored", "quick", learning_rat=1e-3)
    assert (
        "learning_rat;" in str(refusal.value)
        and "learning_rate" in str(refusal.value)
        and "batch_size" in str(refusal.value)
    )


def test_a_refusal_is_a_value_error():
    assert issubclass(SettingsError, ValueError)
