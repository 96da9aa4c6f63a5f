"""The TOML files of papers/: what a section inherits, paper A's numbers, and clear refusals."""

import pytest

from papers import settings
from papers.run import make_config
from papers.settings import PROFILES, SettingsError, load

EXPERIMENTS = settings.list_experiments()


@pytest.mark.parametrize("section", [each.section for each in EXPERIMENTS])
def test_a_run_says_all_that_it_needs_and_nothing_that_is_not_read(section):
    for profile in PROFILES:
        chosen = load(section, profile)
        assert {"class", "model", "dataset", "sampler", "steps", "batch_size"} <= set(chosen.given)
        if chosen.steps:
            make_config(chosen)
        assert len(section.split(".")) <= 3


def test_no_two_runs_share_their_files():
    places = [tuple(experiment)[1:] for experiment in EXPERIMENTS]
    assert len(places) == len(set(places)) > 30


def test_a_section_inherits_from_those_around_it_and_from_its_mixins():
    table = {"a": {"quick": 2, "full": 1}, "b": 2, "inner": {"b": 4}}
    table["inner"]["run"] = {"like": ["m", "n"], "c": 5}
    mixins = {"m": {"b": {"full": 6}, "d": 7}, "n": {"d": 8}}

    def walk(profile):
        read = {name: settings.resolve(lines, profile) for name, lines in mixins.items()}
        return dict(settings.walk_sections("outer", table, {}, read, profile))

    at_quick, at_full = walk("quick"), walk("full")
    assert at_quick["outer"] == {"a": 2, "b": 2} == at_full["outer"] | {"a": 2}
    assert at_quick["outer.inner"] == {"a": 2, "b": 4}
    run = at_quick["outer.inner.run"]
    assert run == {"a": 2, "b": 4, "c": 5, "d": 8, "run": "run"}
    assert at_full["outer.inner.run"] == run | {"a": 1, "b": 6}
    table["inner"]["run"]["like"] = ["k"]
    with pytest.raises(SettingsError, match=r"like of outer\.inner\.run"):
        walk("quick")


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A function that puts a table of one's own beside those of the papers."""
    for path in (*settings.FOLDER.glob("*.toml"), *settings.FOLDER.glob("*/runs.toml")):
        place = tmp_path / path.relative_to(settings.FOLDER)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(path.read_bytes())
    monkeypatch.setattr(settings, "FOLDER", tmp_path)

    def write(text):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / "runs.toml").write_text(text)

    return write


def test_a_table_of_ones_own_adds_sections_and_replaces_none(mine):
    before = settings.read_sections("quick")
    mine('[mine]\nlike = ["entangled"]\nsteps = 3\n')
    after = settings.read_sections("quick")
    assert after.pop("mine")["factors"] == 1
    assert after == before
    chosen = load("mine", "quick")
    assert (chosen.steps, chosen.decay, chosen.options["factor_size"]) == (3, 1.0, 32)
    for content in ("[independent]\nsteps = 1\n", "[mixins.gate]\nsteps = 1\n", '[a]\nb = "c\n'):
        mine(content)
        with pytest.raises(SettingsError, match=r"mine/runs\.toml"):
            settings.read_sections("quick")
    mine("[mine]\nsteps = { smoke = 20, quick = 400 }\n")
    assert load("mine", "quick").steps == 400 and load("mine", "full", steps=1).steps == 1
    with pytest.raises(SettingsError, match=r"steps of mine at full: .*steps = { full = 0 }"):
        load("mine", "full")
    mine('[mine]\nmodel = "independent"\ndataset = "circle"\nrun = "beta0.5"\n')
    with pytest.raises(SettingsError, match=r"run of mine: .*beta0\.5"):
        settings.list_experiments()


@pytest.mark.parametrize(
    "lines, found",
    (
        ("palete = 12", "palete'; did you mean palette"),
        ("static_kl_wieght = 1.0", "static_kl_wieght"),
        ("judged_sise = 3", "did you mean judged_size"),
        ("judged_size = 3.5", "judged_size: expected int"),
        ('learning_rate = "falling"', "learning_rate: expected"),
        ("factors = 2", "factors"),
        ('class = "unbraid.variants.PaintedFrame"', "class: .*PaintedFrame"),
    ),
)
def test_a_misspelt_setting_is_refused_by_its_name(mine, lines, found):
    text = '[mine]\nclass = "unbraid.variants.PaintedFrames"\nmodel = "mine"\ndataset = "digits"\n'
    mine(f"{text}steps = 1\n[mine.digits]\nrun = 'one'\n{lines}\n")
    with pytest.raises(SettingsError, match=found):
        make_config(load("mine.digits", "quick"))


def test_full_is_paper_a():
    expected = {"image_size": 64, "length": 5, "speeds": [0.1, 0.1], "kl_weight": 1.0}
    expected |= {"batch_size": 100, "learning_rate": 3e-4, "decay": 0.985, "decay_every": 320_000}
    paper = load("independent.bounce.published", "full")
    factored = paper.as_dict()
    entangled = load("independent.bounce.published_entangled", "full").as_dict()
    assert factored["class"] == "unbraid.models.independent.IndependentPrediction"
    found = vars(paper) | paper.options
    assert {name: found[name] for name in expected} == expected and "opening" not in factored
    differing = {name for name in entangled if factored.get(name) != entangled[name]}
    assert differing == {"section", "run", "factors", "factor_size"}


def test_the_default_is_quick_and_the_environment_wins(monkeypatch):
    assert settings.current_profile() == load("independent").profile == "quick"
    monkeypatch.setenv("UNBRAID_PROFILE", "smoke")
    assert load("independent", "full").profile == "smoke"
    monkeypatch.setenv("UNBRAID_PROFILE", "huge")
    with pytest.raises(SettingsError, match="UNBRAID_PROFILE"):
        load("independent", "quick")
    monkeypatch.delenv("UNBRAID_PROFILE")
    with pytest.raises(SettingsError, match="profile"):
        load("independent", "fast")


def test_an_unknown_section_is_refused_with_the_known_ones():
    with pytest.raises(SettingsError, match=r"section.*independent\.bounce\.factored_long"):
        load("independent.steps", "quick")
