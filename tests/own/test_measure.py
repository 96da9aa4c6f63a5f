"""unbraid measure: known answers of the verdict, faults of files are named before the model."""

import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from bs4 import BeautifulSoup
from scipy.stats import norm
from typer.testing import CliRunner
from unbraid_own import __main__, measure, suspicion, verdict

N = 300
MOTION = ("action", "direction")
GOOD = np.arange(120) % 3
CODE = np.random.default_rng(0).random((120, 2))


@pytest.fixture
def fast(monkeypatch):
    """The verdict comes from the probes; bits and scores have tests of their own."""
    monkeypatch.setattr(measure, "tabulate_units", lambda *_: ([], {}))
    monkeypatch.setattr(measure, "measure_bits", lambda *_: ({}, None))


def liars():
    """The codes of the honest model and of four liars of notebook 41, and the factors."""
    random = np.random.default_rng([0, 10])
    g, noise = random.standard_normal((N, 4)), random.standard_normal((N, 4))
    classes = np.floor(3 * norm.cdf(g)).astype(int)
    who, what = g[:, :2], g[:, 2:]
    v, w = random.standard_normal((2, N))
    w = np.abs(w) * np.sign(v) * np.where(classes[:, 0] == 0, 1, -1)
    codes = {
        "No leak was found; the limits leave room for 0.": (who, what),
        "Nothing is found, and this may be the files' fault": (noise[:, :2], noise[:, 2:]),
        "Leak: skin in dynamic (0.43": ((who + what) / 2**0.5, (who - what) / 2**0.5),
        "Leak: skin in dynamic (0.51": (who, np.column_stack([what, v, w])),
        "Leak: skin in dynamic (0.97": (noise[:, :2], g),
    }
    return codes, dict(zip(("skin", "hair", *MOTION), classes.T, strict=True))


def one_hot(classes, noise, random):
    """Classes (...) as units (..., K) with noise."""
    units = np.eye(classes.max() + 1)[classes]
    return units + noise * random.normal(size=units.shape)


def judge(codes, factors, dynamic=(), **options):
    """The report on named codes, or on a pair of a static and a dynamic one."""
    if isinstance(codes, tuple):
        codes = dict(zip(("static", "dynamic"), codes, strict=True))
    return measure.measure(codes, factors, dynamic=dynamic, **options)


# ---- the verdict


@pytest.mark.parametrize("opening", liars()[0])
def test_the_liars_are_named_from_their_codes(opening, fast):
    codes, factors = liars()
    found = judge(codes[opening], factors, MOTION)
    assert found.findings[0].startswith(opening)
    assert found.own["skin"] == ("static",) and found.own["action"] == ("dynamic",)
    assert bool(found.leaks) == opening.startswith("Leak")
    if "(0.51" in opening:  # the leak that a linear probe does not see
        assert found.probes.cells["skin"]["dynamic"].probe == "nonlinear"
    if "(0.97" in opening:
        assert found.findings[1].startswith("No factor is clearly in static; are the rows")


def test_of_one_code_it_is_said_what_is_in_it(fast):
    codes, factors = liars()
    both = np.column_stack(codes["Leak: skin in dynamic (0.43"])[
        :, [0, 2]
    ]  # the first of who and of what, turned
    (said,) = judge({"z": both}, factors, None).findings
    contents, rest = said.split("; not surely: ")
    assert contents.startswith("z contains ") and rest == "hair, direction."
    assert contents.index("action") > 0 and contents.index("skin") > 0


def test_codes_of_both_kinds_without_the_motion_get_lists_and_the_option(fast):
    codes, factors = liars()
    who, what = codes["No leak was found; the limits leave room for 0."]
    found = judge((who, what), factors, None).findings
    assert [said.split()[0] for said in found] == ["static", "dynamic", "Leaks"]
    three = {"looks": who, "camera": np.random.default_rng(2).normal(size=(N, 2))}
    found = judge(three | {"motion": what[:, None] + [[0], [0]]}, factors, MOTION)
    assert found.own["skin"] == ("looks", "camera")
    assert found.findings[1].startswith("No factor is clearly in camera")


def test_few_sequences_conclude_nothing_and_wide_limits_are_undecided(fast, monkeypatch):
    codes, factors = liars()
    few = {name: values[:40] for name, values in factors.items()}
    found = judge(tuple(code[:40] for code in codes["Leak: skin in dynamic (0.43"]), few, MOTION)
    assert found.findings[0].startswith("Cannot be concluded: 40 sequences are too few")
    half, z = {"skin": few["skin"]}, np.column_stack(codes["Leak: skin in dynamic (0.97"])[:40]
    found = judge({"z": z}, half, other={"z": -z[:, :2]}).findings
    assert [said.split(": ")[1] for said in found] == ["Cannot be concluded"] * 2
    monkeypatch.setattr(verdict, "LARGE", 0.1)
    found = judge(codes["No leak was found; the limits leave room for 0."], factors, MOTION)
    assert found.findings[0].startswith("Undecided: no leak is sure")


def test_a_factor_of_the_steps_and_a_continuous_one_are_read(fast):
    random = np.random.default_rng(0)
    who, moves = random.random(N), random.integers(2, size=(N, 4))
    static = who[:, None] + 0.05 * random.normal(size=(N, 2))
    dynamic = moves[..., None] + 0.1 * random.normal(size=(N, 4, 1))
    found = judge((static, dynamic), {"who": who, "move": moves, "still": moves[:, :1] + [[0] * 4]})
    assert found.own["move"] == ("dynamic",) and found.own["who"] == found.own["still"]
    assert (
        found.factors[1] == ("who", "measured", "static")
        and found.probes.cells["move"]["dynamic"].value > 0.95
    )
    assert found.findings[0].startswith("No leak: still in dynamic")


def test_what_only_all_steps_together_tell_is_found(fast):
    # A point that turns left or right on a circle: its mean and each of its places tell nothing.
    random = np.random.default_rng(1)
    who, turn = random.integers(3, size=N), random.integers(2, size=N)
    angle = random.uniform(0, 2 * np.pi, (N, 1)) + np.where(turn, 1, -1)[:, None] * np.arange(4)
    steps = np.stack([np.cos(angle), np.sin(angle)], 2)
    found = judge((one_hot(who, 0.1, random), steps), {"who": who, "turn": turn}, ["turn"])
    assert found.findings[0].startswith("No leak was found")
    assert found.probes.cells["turn"]["dynamic"].row == "dynamic, flattened"


@pytest.mark.parametrize("planted", (False, True))
def test_what_one_step_tells_is_open_and_more_is_a_leak(planted, fast):
    """A static code of a frame that shows the motion in half of the clips, or of the motion too."""
    random = np.random.default_rng(0)
    hair, move = random.integers(3, size=(2, N))
    seen = np.where(random.random(N) < 0.5, move, random.integers(3, size=N))
    static = np.hstack([one_hot(hair, 0.2, random), one_hot(seen, 0.2, random)])
    if planted:
        static = np.hstack([static, one_hot(move, 0.3, random)])
    steps = one_hot(np.repeat(move[:, None], 5, 1), 0.8, random)
    factors = {"hair": hair, "move": move, "luck": random.integers(3, size=N)}
    found = judge((static, steps), factors, ["move"])
    opening = (
        "Leak: move in static" if planted else "Leak, unless one frame shows it: move in static"
    )
    assert found.findings[0].startswith(opening) and found.leaks == [("static", "move")] * planted
    assert found.probes.cells["move"]["static"].is_sure
    assert found.findings[1] == "Lost: no probe surely predicts luck."


@pytest.mark.parametrize("planted", (False, True))
def test_of_dependent_factors_only_what_is_beyond_is_a_leak(planted, fast):
    """Seven of ten actions have the class of their hair, of three classes that are alike."""
    random = np.random.default_rng(1)
    hair = random.integers(3, size=600)
    action = np.where(random.random(600) < 0.7, hair, random.integers(3, size=600))
    static = one_hot(hair, 0.1, random)
    if planted:
        static = np.hstack([static, one_hot(action, 0.5, random)])
    steps = one_hot(np.repeat(action[:, None], 4, 1), 0.1, random)
    found = judge((static, steps), {"hair": hair, "action": action}, ["action"])
    if planted:
        assert found.findings[0].startswith("Leak, unless one frame shows it: action in static")
        return
    assert not found.leaks and len(found.findings) == 1
    assert found.findings[0].count("is not surely more than what") == 2


def test_rows_of_one_group_are_not_independent(fast):
    random = np.random.default_rng(4)
    person = np.repeat(np.arange(120), 5)
    look, mood = random.normal(size=(120, 3)), random.integers(2, size=120)  # They are unrelated.
    code = {"a": look[person] + 0.3 * random.normal(size=(600, 3))}
    alone = judge(code, {"mood": mood[person]}, groups=np.arange(600)).probes.cells["mood"]["a"]
    found = judge(code, {"mood": mood[person]}, groups=person)
    cell = found.probes.cells["mood"]["a"]
    assert alone.is_sure and not cell.is_sure and "120 groups" in found.sample
    assert cell.high - cell.low > 1.5 * (alone.high - alone.low)  # limits of other persons


def test_wide_codes_are_reduced_on_training_rows_and_a_leak_is_still_found(fast):
    random = np.random.default_rng(0)
    who, act = random.integers(3, size=(2, N))
    steps = (
        random.normal(size=(N, 6, 300))
        + (one_hot(act, 0, random) @ random.normal(size=(3, 300)))[:, None]
    )
    steps[..., :100] += who[:, None, None]
    found = judge((one_hot(who, 0.1, random), steps), {"who": who, "act": act}, ["act"])
    assert found.leaks == [("dynamic", "who")] and "200 components" in found.doubts[0]
    assert found.probes.rows["dynamic, frames"].shape == (N, 6, 200)


# ---- what is wrong with files


def clean(random, count=400):
    """Codes that contain their factors, and the factors."""
    hair, act = random.integers(4, size=(2, count))
    static = one_hot(hair, 0.1, random) @ random.normal(size=(4, 6))
    return (static, one_hot(act, 0.1, random) @ random.normal(size=(4, 6))), {
        "hair": hair,
        "act": act,
    }


def test_rows_in_another_order_are_suspected_before_the_model(fast):
    random = np.random.default_rng(0)
    codes, factors = clean(random)
    for order in (random.permutation(400), np.roll(range(400), 32)):
        found = judge(tuple(code[order] for code in codes), factors, ["act"])
        assert "the files' fault" in found.findings[0] and "in one order" in found.findings[0]
    one = judge((codes[0][order], codes[1]), factors, ["act"])
    assert one.findings[1].startswith("No factor is clearly in static; are the rows of all files")


@pytest.mark.parametrize("noise", (0, 0.02))
def test_copies_are_kept_together_and_tell_nothing(noise, fast):
    random = np.random.default_rng(3)
    codes = random.normal(size=(90, 3)), random.normal(size=(90, 5, 2))
    factors = {"mood": random.integers(3, size=90), "act": random.integers(3, size=90)}
    four = [np.concatenate([code] * 4) for code in codes]
    four = tuple(code + noise * random.normal(size=code.shape) for code in four)
    found = judge(four, {name: np.tile(values, 4) for name, values in factors.items()}, ["act"])
    assert found.findings[0].startswith("360 rows are 90 different ones")
    assert found.findings[1].startswith("Nothing is found")


def test_codes_of_few_values_come_again_by_chance():
    random = np.random.default_rng(0)
    who, book = random.integers(60, size=N), random.normal(size=(60, 4))
    for code, other in ((np.eye(3)[who % 3], who % 3), (book[who], random.integers(9, size=N))):
        assert suspicion.find_copies({"a": code}, {"f": other}) is None
    code = random.normal(size=(N, 4))
    code[10] = code[20] = code[0]
    groups = suspicion.find_copies({"a": code}, {"f": np.zeros(N, int)})
    assert groups[0] == groups[10] == groups[20] and groups.max() == N - 3


def test_a_factor_that_looks_like_a_group_is_named_before_any_interval(fast):
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(90), 6)
    factors = {"person": who, "skin": random.integers(4, size=90)[who]}
    code = {"z": random.normal(size=(90, 5))[who] + random.normal(size=(540, 5))}
    with pytest.raises(ValueError, match=r"^person looks like a group \(90 .* fix skin\): --group"):
        judge(code, factors | {"mood": random.integers(4, size=540)})
    assert judge(code, factors, groups=np.arange(540)).probes.cells["person"]
    skin = {"skin": factors["skin"]}
    suspicion.refuse_group(skin | {"n": np.arange(540) % 60})  # It fixes nothing.
    two = {"skin": factors["skin"], "mood": random.integers(4, size=540)}
    one = judge(code, two | {"home": who // 3}, groups=who // 3)
    assert "home" not in one.own and one.findings[0].startswith("Left out are home (each class")


@pytest.mark.parametrize(
    "sizes, expected",
    (
        ([280, *[4] * 30], (280, 60, 60)),
        ([280, 60, 60], (280, 60, 60)),
        ([4] * 100, (280, 60, 60)),
        ([280, 110, 10], (280, 110, 10)),
    ),
)
def test_a_split_by_group_is_as_near_to_its_shares_as_groups_allow(sizes, expected):
    groups = np.repeat(np.arange(len(sizes)), sizes)
    shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
    factor = np.random.default_rng(0).integers(3, size=400)
    parts = suspicion.draw_parts(shares, [factor], groups, seed=0)
    assert np.sort(np.concatenate([*parts.values()])).tolist() == [*range(400)]
    assert np.abs(np.subtract([len(rows) for rows in parts.values()], expected)).max() <= 8
    met = [set(groups[rows]) for rows in parts.values()]
    assert not met[0] & met[1] and not (met[0] | met[1]) & met[2]
    doubts = suspicion.doubt_parts(parts, shares)
    assert len(doubts) == (2 if 110 in sizes else 0)


def test_exchanged_axes_and_padding_are_said():
    random = np.random.default_rng(0)
    walk = random.normal(size=(N, 20, 6)).cumsum(1)
    assert suspicion.doubt_axes("d", walk) == []
    (said,) = suspicion.doubt_axes("d", walk.swapaxes(1, 2))
    assert said.startswith("d: ") and "x.swapaxes(1, 2)" in said
    walk *= (np.arange(20) < 8 + random.integers(9, size=(N, 1)))[..., None]
    assert "the last steps of" in suspicion.doubt_axes("d", walk)[0]


def test_odd_factors_are_doubted_or_left_out(fast):
    random = np.random.default_rng(0)
    hair = random.integers(3, size=N)
    names, known = np.array(["fair", "dark", "red"], dtype=object), np.arange(N) % 3 > 0
    factors = {
        "hair": (hair[:, None], ""),  # as a column
        "name": (names[hair], ""),
        "skin": (hair.astype(float), "skin: its 3 whole values"),
        "act": (np.array(["Walk", "walk", "run "])[hair], "act: 'Walk' and 'walk' are"),
        "void": (np.where(known, hair, 255), "255 in 33% of void"),
        "word": (np.where(known, names[hair], "Unknown"), "Unknown in 33% of word"),
        "one": (np.zeros(N), "one (it does not differ"),
        "many": (np.arange(N) % 90, "many (90 classes in 300 rows; bring 360"),
        "each": (np.arange(N), "each (300 classes"),
        "rare": (np.arange(N) < 4, "rare (4 rows outside"),
    }
    index = {"index": np.array([5, 60, 17])[hair][:, None]}
    found = judge(index, {name: odd for name, (odd, _) in factors.items()})
    left_out = found.findings[0].removeprefix("Left out are ").split("), ")
    said = [*found.doubts, *left_out]
    for expected in (
        "index: its whole numbers look",
        *(each for _, each in factors.values() if each),
    ):
        assert sum(sentence.startswith(expected) for sentence in said) == 1, expected


FAULTS = {  # codes, factors, and what the message names
    "NaN": ({"a": CODE * np.nan}, {}, "code 'a'"),
    "names of rows": ({"a": CODE, "films": GOOD.astype(str)}, {}, "code 'films'"),
    "lengths": ({"a": CODE, "lengths": GOOD}, {}, "codes: .*cut all to one length"),
    "a factor": ({"a": CODE, "f": GOOD}, {}, "code 'f': .*of one unit x"),
    "few rows": ({"a": CODE[:9]}, {"f": GOOD[:9]}, "codes, factors: .*20 sequences"),
    "rows lacking": ({"a": CODE[1:]}, {}, "codes, factors: .*one row per.*119, 120"),
    "one class": ({"a": CODE}, {"f": GOOD * 0}, "factors: .*'f': it does not differ"),
    "durations": ({"a": CODE}, {"f": GOOD.astype("m8[s]")}, "factor 'f': .*x.astype.float"),
    "one-hot": ({"a": CODE}, {"f": np.eye(3)[GOOD]}, "factor 'f': .*one-hot; x.argmax"),
    "other steps": (
        {"a": CODE[:, None]},
        {"f": np.random.random((120, 4))},
        "factor 'f': .*each of the .1. steps",
    ),
    "missing": ({"a": CODE}, {"f": np.where(GOOD, "b", None)}, "factor 'f'.*none missing"),
    "one order of steps": ({"a": CODE}, {"f": np.tile([0, 1, 2], (120, 1))}, "factors: .*'f'"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_refused_by_name(case):
    codes, factors, named = FAULTS[case]
    with pytest.raises(ValueError, match=f"^{named}"):
        measure.measure(codes, factors or {"f": GOOD})


# ---- two codes


def know(classes, share, random):
    """A code that knows the class of a share of its rows, and else has one at random."""
    known = np.where(
        random.random(len(classes)) < share, classes, random.integers(4, size=len(classes))
    )
    return one_hot(known, 0.1, random) @ np.linalg.qr(random.normal(size=(4, 4)))[0]


def test_a_planted_difference_of_two_codes_is_in_its_interval_and_a_null_is_no_alarm(fast):
    random = np.random.default_rng(0)
    hair, skin = random.integers(4, size=(2, 500))
    shares = ((0.9, 0.5), (0.3, 0.5))  # of hair and skin, in each code
    codes = [np.hstack([know(hair, a, random), know(skin, b, random)]) for a, b in shares]
    names = "ours", "theirs"
    found = judge({"z": codes[0]}, {"hair": hair, "skin": skin}, other={"y": codes[1]}, names=names)
    row = {name: each["z"] for name, each in found.differences.items()}
    assert row["hair"].low < 0.6 < row["hair"].high and row["hair"].is_sure
    assert row["skin"].low < 0 < row["skin"].high and not row["skin"].is_sure
    assert found.findings[0].startswith("ours less theirs: hair in z 0.")
    value = found.probes.cells["hair"]["z"].value - found.second.probes.cells["hair"]["z"].value
    assert abs(row["hair"].value - value) < 0.05
    assert found.findings[1].startswith("ours: z contains hair")
    same = judge({"z": codes[0]}, {"hair": hair}, other={"z": codes[0]}, names=names)
    each = same.differences["hair"]["z"]
    assert each.value == 0 and each.low < 0 < each.high and not each.is_sure
    assert same.findings[0].startswith("Undecided between ours and theirs")
    for wrong in ({"a": codes[0], "b": codes[0]}, {"z": codes[0][:, None]}):
        with pytest.raises(ValueError, match="^other codes: "):
            judge({"z": codes[0]}, {"hair": hair}, other=wrong)


def test_p_values_of_signs_are_exact_and_corrected_for_their_number():
    assert abs(verdict.flip_signs(np.ones((6, 1)))[0] - 2 / 2**6) < 0.012  # all signs, or none
    gains = np.random.default_rng(0).normal(size=(40, 9)) + 0.4 * (np.arange(9) == 0)
    alone, both = verdict.flip_signs(gains[:, :1])[0], verdict.flip_signs(gains)
    assert 2 * alone < both[0] < 10 * alone and (both[1:] >= both[0]).all()


# ---- bits and units


def test_bits_depend_on_no_unit_of_measurement():
    random = np.random.default_rng(0)
    pitch, label = random.normal(size=N), random.integers(4, size=N)
    code = np.stack([pitch + 0.1 * random.normal(size=N), random.normal(size=N)], 1)
    beside = np.stack([label + 0.1 * random.normal(size=N), random.normal(size=N)], 1)
    for scale in (0.001, 1, 1000):  # of the factor, and of a unit that knows nothing
        assert abs(measure.read_bits(code * [1, scale], 50 * scale * pitch)[0] - 2.4) < 0.4
        assert measure.read_bits(beside * [1, scale], label)[0] > 1.7


@pytest.mark.parametrize(
    "code, factor, groups",
    (
        (CODE[:, :1], GOOD, None),
        (CODE, CODE[:, 0].astype(np.float16), None),
        (CODE, GOOD, np.arange(120) % 12),
        (CODE, np.arange(120) % 30, None),
        (0 * CODE, GOOD, None),
        (np.repeat(CODE[:, None], 2, 1), np.stack([GOOD, GOOD[::-1]], 1), None),
    ),
)
def test_odd_sizes_have_a_report(code, factor, groups):
    found = measure.measure({"a": code}, {"f": factor}, groups=groups)
    assert json.loads(found.as_json())["findings"] == found.findings and found.as_html()


# ---- the command


@pytest.fixture
def files(tmp_path, monkeypatch):
    """We are in a folder of codes of three steps, others, and factors."""
    monkeypatch.chdir(tmp_path)
    codes, factors = liars()
    static, dynamic = codes["Leak: skin in dynamic (0.51"]
    factors["skin"] = factors["skin"].astype("S")  # bytes are text
    np.savez("codes.npz", static=static, dynamic=np.repeat(dynamic[:, None], 3, 1), epoch=7)
    np.savez("other.npz", static=static, dynamic=np.repeat(dynamic[:, None, :2], 3, 1))
    np.savez("factors.npz", **factors)
    return tmp_path


def run(*words):
    """What the command prints; its errors are raised."""
    result = CliRunner().invoke(__main__.app, ["measure", *words], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_command_prints_twelve_lines_and_writes_a_page_and_a_record(files):
    said = run("codes.npz", "other.npz", "factors.npz", "--dynamic", "action, direction")
    lines, page = (
        said.splitlines(),
        BeautifulSoup((files / "measured.html").read_text(), "html.parser"),
    )
    record = json.loads((files / "measured.json").read_text())
    assert (
        len(lines) <= 12 and lines[0] == record["findings"][0] == page.find(class_="verdict").text
    )
    assert lines[0].startswith("codes less other: ") and "skin in dynamic 0." in lines[0]
    assert lines[1].startswith("codes: Leak: skin in dynamic")
    (leak,) = page.select(".cells .leak")
    cell = record["probes"]["cells"]["skin"]["dynamic"]
    assert leak.text.startswith(f"{cell['value']:.2f}*") and cell["is_sure"]
    assert record["second"]["probes"]["cells"]["skin"]["dynamic"]["value"] < cell["value"]
    texts = {text.text for text in page.find_all("td")}
    assert {*record["units"][1]} <= texts and record["bits"]["static"]["skin"] in page.text
    assert "unbraid" in record["made"] and record["made"] in page.main.text
    # What it has written it replaces; what anybody else has written it leaves.
    run("codes.npz", "factors.npz")
    (files / "measured.json").write_text("mine")
    with pytest.raises(ValueError, match="measured.json"):
        run("codes.npz", "factors.npz")


def test_many_factors_are_twelve_lines(fast):
    random = np.random.default_rng(0)
    factors = {f"f{number}": random.integers(2, size=120) for number in range(30)}
    found = judge({"a": CODE}, factors)
    assert len(found.lines("page")) == 12 and found.lines("page")[-2].startswith("... 2")
    assert len(replace(found, findings=["x"] * 30).lines("page")) == 12


WORDS = {  # of the command, instead of good ones, and what the message names
    "a folder": ((".", "factors.npz"), "^codes: "),
    "nothing": (("none.npz", "factors.npz"), "^codes: .*none.npz"),
    "text": (("text.npz", "factors.npz"), "^codes: text.npz .*not a zip"),
    "csv": (("codes.npz", "a.csv"), r"^factors: .*np.savez.*a.csv"),
    "objects": (("objects.npz", "factors.npz"), "^codes: objects.npz .*astype"),
    "too large": (("large.npz", "factors.npz"), "^codes: large.npz: .*million"),
    "no array": (("empty.npz", "factors.npz"), "^codes: empty.npz: .*none"),
    "another member": (("member.npz", "factors.npz"), "^codes: member.npz"),
    "no group": (("codes.npz", "factors.npz", "--group", "actoin"), "^group: .*action"),
    "few groups": (("codes.npz", "factors.npz", "--group", "action"), "^groups: .*3"),
    "no motion": (("codes.npz", "factors.npz", "--dynamic", "actoin"), "^dynamic: .*action"),
    "one file": (("codes.npz",), "^files: "),
    "an input": (("codes.npz", "factors.npz", "--to", "codes.npz"), "^codes.npz: .*name another"),
    "no folder": (("codes.npz", "factors.npz", "--to", "none/a.html"), "^none/a.html: "),
}


@pytest.mark.parametrize("case", WORDS)
def test_bad_files_and_words_are_refused_before_work_begins(case, files, monkeypatch):
    monkeypatch.setattr(measure, "read", None)
    monkeypatch.setattr("unbraid_own.arrays.MOST_VALUES", 10**4)
    (files / "text.npz").write_text("version https://git-lfs.github.com/spec/v1")
    (files / "a.csv").write_text("1,2")
    np.savez("objects.npz", a=np.array([{}, []], dtype=object))
    np.savez("large.npz", a=np.zeros((100, 101)))
    np.savez("empty.npz", epoch=3)
    with zipfile.ZipFile("member.npz", "w") as archive:
        archive.writestr("a.txt", "1 2 3")
    words, named = WORDS[case]
    with pytest.raises(ValueError, match=named) as refusal:
        run(*words)
    assert "\n" not in str(refusal.value).strip()


def test_a_mistake_is_one_message_before_anything_large_is_imported(files):
    program = (
        "import sys; from unbraid_own.__main__ import main\n"
        "try: main()\n"
        "finally: assert not {'torch', 'sklearn', 'matplotlib'} & {*sys.modules}"
    )
    command = [sys.executable, "-c", program, "measure", "codes.npz", "factors.npz"]
    done = subprocess.run([*command, "--dynamic", "actoin"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: dynamic: ")
    assert done.stderr.count("\n") == 1
