"""The TOML files of papers/: every section at every profile, paper A's numbers, clear refusals."""

import pytest

from papers import settings
from papers.settings import PROFILES, SettingsError, load

SCHEDULES = (int, float, list)


def kind(value):
    return "schedule" if type(value) in SCHEDULES else type(value)


@pytest.mark.parametrize("section", settings.read_sections())
def test_a_section_has_the_same_names_and_kinds_at_every_profile(section):
    columns = [load(section, profile) for profile in PROFILES]
    kinds = []
    for column in columns:
        kinds.append({name: kind(value) for name, value in column.as_dict().items()})
    assert kinds[0] == kinds[1] == kinds[2]
    assert [(column.section, column.profile) for column in columns] == [
        (section, profile) for profile in PROFILES
    ]


@pytest.mark.parametrize("section", [each.section for each in settings.list_experiments()])
def test_a_run_says_its_model_data_and_sampler_and_has_ordered_knots(section):
    for profile in PROFILES:
        values = load(section, profile).as_dict()
        assert {"model", "dataset", "run", "sampler", "steps", "batch_size"} <= set(values)
        # Any dataset can be measured by the generic evaluation, which reads these two.
        assert {"evaluation_training", "evaluation_sequences"} <= set(values)
        for name, value in values.items():
            if name.endswith("_weight") and isinstance(value, list):
                shares = [share for share, _ in value]
                assert shares == sorted(shares)
                assert 0 <= shares[0] <= shares[-1] <= 1


def test_no_two_runs_share_their_files():
    places = [tuple(experiment)[1:] for experiment in settings.list_experiments()]
    assert len(places) == len(set(places)) > 30


def test_an_inner_section_inherits_from_all_around_it():
    outer = load("independent", "quick").as_dict()
    inner = load("independent.bounce", "quick").as_dict()
    assert {name: inner[name] for name in outer if name != "section"} == {
        name: outer[name] for name in outer if name != "section"
    }
    assert set(inner) - set(outer) >= {"dataset", "motion", "speeds"}
    assert outer["second_moment_decay"] == 0.999  # stated before the first section


def test_a_section_takes_its_mixins_before_its_own_lines():
    table = {"outer": {"a": 1, "b": 1, "inner": {"like": ["m", "n"], "b": 4}}}
    mixins = {"m": {"a": 2, "b": 2, "c": 2}, "n": {"c": 3}}
    sections = dict(settings.walk_sections(table, {}, "", mixins))
    assert sections == {"outer": {"a": 1, "b": 1}, "outer.inner": {"a": 2, "b": 4, "c": 3}}
    table["outer"]["inner"]["like"] = ["k"]
    with pytest.raises(SettingsError, match=r"like of outer\.inner"):
        dict(settings.walk_sections(table, {}, "", mixins))


def test_no_section_says_again_what_it_inherits():
    sections = settings.read_sections()
    for name, node in walk_sections(settings.read_table()):
        outer = dict(sections.get(name.rpartition(".")[0], read_defaults()))
        for mixin in node.get("like", ()):
            outer |= settings.read_table()["mixins"][mixin]
        for key in node.keys() & outer.keys():
            for profile in PROFILES:
                if settings.resolve(node, profile)[key] != settings.resolve(outer, profile)[key]:
                    break
            else:
                raise AssertionError(f"{name}: {key} is inherited")


def walk_sections(table, outer=""):
    """Every section's dotted name with its own lines, of a table of sections."""
    for key, value in table.items():
        if isinstance(value, dict) and key not in ("mixins", "full") and not is_column(value):
            name = f"{outer}.{key}" if outer else key
            yield name, {n: v for n, v in value.items() if not isinstance(v, dict) or is_column(v)}
            yield from walk_sections(value, name)


def is_column(value):
    return set(value) <= set(PROFILES)


def read_defaults():
    """The lines before the first section."""
    return {n: v for n, v in settings.read_table().items() if not isinstance(v, dict)}


def test_a_file_beside_the_papers_adds_sections_and_replaces_none(tmp_path, monkeypatch):
    for path in settings.FOLDER.glob("*.toml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    before = settings.read_sections()
    (tmp_path / "mine.toml").write_text('[mine]\nlike = ["plain"]\nsteps = 3\n')
    after = settings.read_sections()
    assert after.pop("mine").items() >= {"steps": 3, "kl_weight": 1.0, "decay": 1.0}.items()
    assert after == before
    for content in ("[independent]\nsteps = 1\n", "[mixins.plain]\nsteps = 1\n"):
        (tmp_path / "mine.toml").write_text(content)
        with pytest.raises(SettingsError, match=r"mine\.toml"):
            settings.read_sections()
    (tmp_path / "mine.toml").write_text('[mine]\nlike = "plain\n')
    with pytest.raises(SettingsError, match=r"mine\.toml: expected TOML.*line 2"):
        settings.read_sections()
    run = 'model = "independent"\ndataset = "circle"\nrun = "beta0.5"'
    (tmp_path / "mine.toml").write_text(f"[mine]\n{run}\n")
    with pytest.raises(SettingsError, match=r"run of mine: .*beta0\.5"):
        settings.list_experiments()


def test_full_is_paper_a():
    expected = {
        "image_size": 64,
        "length": 5,
        "speeds": [0.1, 0.1],
        "output_bias": 0.5,
        "opening": [],
        "kl_weight": 1.0,
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
        "decoder_groups": 1,
        "decoder_hidden": 0,
    }
    factored = load("independent.bounce.factored", "full").as_dict()
    entangled = load("independent.bounce.entangled", "full").as_dict()
    assert {name: factored[name] for name in expected} == expected
    assert {name for name in factored if factored[name] != entangled[name]} == {
        "section",
        "run",
        "factors",
        "factor_size",
    }
    assert (factored["factors"], factored["factor_size"]) == (2, 20)


def test_the_default_is_quick_and_the_environment_wins(monkeypatch):
    assert settings.current_profile() == load("independent").profile == "quick"
    monkeypatch.setenv("UNBRAID_PROFILE", "smoke")
    assert settings.current_profile("full") == load("independent", "full").profile == "smoke"
    monkeypatch.setenv("UNBRAID_PROFILE", "huge")
    with pytest.raises(SettingsError, match="UNBRAID_PROFILE"):
        load("independent", "quick")
    monkeypatch.delenv("UNBRAID_PROFILE")
    with pytest.raises(SettingsError, match="profile"):
        load("independent", "fast")


def test_overrides_change_single_settings():
    plain = load("independent.bounce.factored", "quick")
    changed = load(
        "independent.bounce.factored", "quick", steps=3, learning_rate=[[0.5, 1.0], [1.0, 0]]
    )
    assert (changed.steps, changed.learning_rate) == (3, [[0.5, 1.0], [1.0, 0]])
    assert changed == plain.but(steps=3, learning_rate=[[0.5, 1.0], [1.0, 0]])
    assert plain.steps == load("independent.bounce.factored", "quick").steps


@pytest.mark.parametrize(
    "changes", ({"step_count": 3}, {"steps": -1}, {"steps": "many"}, {"normalise": 3})
)
def test_a_wrong_override_is_refused_by_its_name(changes):
    name = next(iter(changes))
    with pytest.raises(SettingsError, match=name):
        load("independent.bounce.factored", "quick", **changes)
    with pytest.raises(SettingsError, match=name):
        load("independent.bounce.factored", "quick").but(**changes)


@pytest.mark.parametrize("section", ("", "independent.", "independent.steps", "nothing"))
def test_an_unknown_section_is_refused_with_the_known_ones(section):
    with pytest.raises(SettingsError, match=r"section.*independent\.bounce\.factored"):
        load(section, "quick")
