"""python -m unbraid measure: four liars are named from their codes, and bad files get one line."""

import json

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from scipy.stats import norm
from typer.testing import CliRunner
from unbraid.__main__ import app
from unbraid.measures.leakage import LeakageMatrix
from unbraid_extras import measure as report
from unbraid_extras.arrays import read_arrays

N = 300
DYNAMIC = ("action", "direction")
NO_LEAK = (
    "No leak was found: each factor is told by a code that may hold it, and none clearly by a code "
    "that should not hold it."
)


def liars():
    """The codes of the honest model and of four liars of notebook 06, and the factors."""
    random = np.random.default_rng([0, 10])
    g, noise = random.standard_normal((N, 4)), random.standard_normal((N, 4))
    classes = np.floor(3 * norm.cdf(g)).astype(int)
    who, what = g[:, :2], g[:, 2:]
    v, w = random.standard_normal((2, N))
    w = np.abs(w) * np.sign(v) * np.where(classes[:, 0] == 0, 1, -1)
    codes = {
        "No leak": (who, what),
        "Useless": (noise[:, :2], noise[:, 2:]),
        "Mixed (rotated)": ((who + what) / 2**0.5, (who - what) / 2**0.5),
        "Hidden leak": (who, np.column_stack([what, v, w])),
        "Collapsed": (noise[:, :2], g),
    }
    return codes, dict(zip(("skin", "hair", *DYNAMIC), classes.T, strict=True))


@pytest.fixture
def fast(monkeypatch):
    """The verdict comes from the probes; the scores have a test of their own."""
    made = dict.fromkeys(report.MEANING, (0.5,) * 4)
    monkeypatch.setattr(report, "score_halves", lambda *_: [made, made])


@pytest.mark.parametrize("verdict", liars()[0])
def test_the_liars_are_named_from_their_codes(verdict, fast):
    codes, factors = liars()
    static, dynamic = codes[verdict]
    found = report.measure({"static": static, "dynamic": dynamic}, factors, dynamic=DYNAMIC)
    assert found.findings[0].startswith(verdict)
    assert found.own["skin"] == ("static",) and found.own["action"] == ("dynamic",)
    assert found.constants["skin"] == np.bincount(factors["skin"]).max() / N


def test_a_blurred_decoder_is_named_from_its_frames(fast):
    codes, factors = liars()
    static, dynamic = codes["No leak"]
    frames = np.random.default_rng(0).random((10, 3, 1, 8, 8))
    blurred = (frames + np.roll(frames, 1, -1) + np.roll(frames, 1, -2)) / 3
    for decoded, word in ((frames, "Sharp: "), (blurred, "Blurred: ")):
        pair = {"static": static, "dynamic": dynamic}
        found = report.measure(pair, factors, dynamic=DYNAMIC, frames=(frames, decoded))
        assert found.findings[0].startswith("No leak") and found.findings[1].startswith(word)


def test_a_code_of_which_no_factor_is_known_may_be_silent(fast):
    codes, factors = liars()
    static, dynamic = codes["No leak"]
    pair = {"static": static, "dynamic": dynamic}
    found = report.measure(pair, {"skin": factors["skin"]})
    assert found.findings == [NO_LEAK, "Of what is known nothing is clearly in dynamic."]
    found = report.measure(pair | {"static": 0 * static}, {"skin": factors["skin"]})
    assert found.findings == ["Useless: no probe reads any factor from any code."]


def test_a_factor_of_the_steps_and_a_continuous_one_are_read(fast):
    random = np.random.default_rng(0)
    who, moves = random.random(N), random.integers(2, size=(N, 4))
    static = who[:, None] + 0.05 * random.normal(size=(N, 2))
    dynamic = moves[..., None] + 0.1 * random.normal(size=(N, 4, 1))
    found = report.measure({"static": static, "dynamic": dynamic}, {"who": who, "move": moves})
    assert found.own == {"who": ("static",), "move": ("dynamic",)}
    assert found.kinds == {"who": "continuous", "move": "2 classes"}
    assert found.findings[0].startswith("No leak")


def test_a_code_that_tells_each_step_and_nothing_on_average_is_not_called_empty(fast):
    random = np.random.default_rng(0)
    who, moves = random.integers(3, size=N), random.integers(3, size=(N, 16))
    static = np.eye(3)[who] + 0.1 * random.normal(size=(N, 3))
    dynamic = np.eye(3)[moves] + 0.1 * random.normal(size=(N, 16, 3))
    dynamic -= dynamic.mean(1, keepdims=True)
    pair, factors = {"static": static, "dynamic": dynamic}, {"who": who, "move": moves}
    found = report.measure(pair, factors)
    assert found.findings == [NO_LEAK]
    assert abs(found.linear["dynamic, averaged", "move"]) < 0.1
    assert found.linear["dynamic, frames", "move"] > 0.8


def test_what_only_all_steps_together_tell_is_found(fast):
    # A point that turns left or right on a circle: its mean and each of its places tell nothing.
    random = np.random.default_rng(1)
    who, turn = random.integers(3, size=N), random.integers(2, size=N)
    angle = random.uniform(0, 2 * np.pi, (N, 1)) + np.where(turn, 1, -1)[:, None] * np.arange(4)
    static = np.eye(3)[who] + 0.1 * random.normal(size=(N, 3))
    pair = {"static": static, "dynamic": np.stack([np.cos(angle), np.sin(angle)], 2)}
    found = report.measure(pair, {"who": who, "turn": turn}, dynamic=["turn"])
    assert found.findings == [NO_LEAK]
    assert found.nonlinear["dynamic, flattened", "turn"] > 0.8
    assert abs(found.nonlinear["dynamic, averaged", "turn"]) < 0.3


def test_of_three_codes_each_is_judged(fast):
    codes, factors = liars()
    who, what = codes["No leak"]
    random = np.random.default_rng(2)
    three = {
        "looks": who,
        "camera": random.normal(size=(N, 2)),
        "motion": what[:, None] + [[0], [0]],
    }
    found = report.measure(three, factors, dynamic=DYNAMIC)
    quiet = "Of what is known nothing is clearly in camera."
    assert found.own["skin"] == ("looks", "camera") and found.findings == [NO_LEAK, quiet]
    noise = three | {"looks": three["camera"][::-1]}
    found = report.measure(noise, factors, dynamic=DYNAMIC)
    assert found.findings[0].startswith("Collapsed: of what is known nothing is in looks, camera")
    three["motion"] = np.concatenate([three["motion"], who[:, None] + [[0], [0]]], 2)
    found = report.measure(three, factors, dynamic=DYNAMIC)
    assert found.findings == ["Leak: hair in motion, skin in motion.", quiet]


def test_a_leak_is_hidden_only_if_a_linear_probe_reads_nothing():
    own, pair = {"hair": ("static",), "move": ("dynamic",)}, ("dynamic", "hair")
    both = {("static", "hair"), ("dynamic", "move"), pair}
    assert report.describe_leak(own, set(), both).startswith("Hidden leak: only")
    assert report.describe_leak(own, {pair}, both) == "Leak: hair in dynamic."
    cells = np.array([[0.4, 0.4, 0.04]])
    p_values, names = np.array([[0.0005, 0.03, 0.0005]]), ("a", "b", "c")
    matrix = LeakageMatrix(cells, np.stack([cells, cells], 2), p_values, ("d",), names, "linear")
    assert report.told_by(matrix, 0.01) == {("d", "a")}
    assert report.told_by(matrix, 0.05) == {("d", "a"), ("d", "b")}


def test_one_factor_alone_is_not_mixed(fast):
    codes, factors = liars()
    who, what = codes["No leak"]
    pair = {"static": who, "dynamic": np.column_stack([what, who])}
    found = report.measure(pair, {"skin": factors["skin"]})
    assert found.findings == ["Leak: skin in dynamic."]


def test_factors_of_steps_fit_the_codes_or_are_of_sequences(fast):
    codes, factors = liars()
    who, what = codes["No leak"]
    pair = {"static": who, "dynamic": what[:, None] + np.zeros((1, 3, 1))}
    still = {"skin": np.repeat(factors["skin"][:, None], 3, 1), "action": factors["action"]}
    found = report.measure(pair, still, dynamic=["action"])
    assert found.own["skin"] == ("static",) and found.findings == [NO_LEAK]
    moving = {"skin": factors["skin"], "place": np.random.default_rng(3).random((N, 4))}
    with pytest.raises(ValueError, match=r"factor 'place': .*each of the 3 steps of the codes"):
        report.measure(pair, moving)


def test_floats_that_may_be_classes_are_doubted(fast):
    codes, factors = liars()
    static, dynamic = codes["No leak"]
    pair = {"static": static, "dynamic": dynamic}
    found = report.measure(pair, factors | {"skin": factors["skin"].astype(float)}, dynamic=DYNAMIC)
    assert any(doubt.startswith("skin: its") for doubt in found.doubts)
    assert ("skin", "continuous") in [row[:2] for row in found.table()]
    ages = {"age": np.arange(N) % 40} | factors
    found = report.measure(pair, ages, dynamic=DYNAMIC)
    assert any(doubt.startswith("age: its 40 whole numbers") for doubt in found.doubts)
    as_column = {name: values[:, None] for name, values in factors.items()}
    assert report.measure(pair, as_column, dynamic=DYNAMIC).kinds["skin"].endswith("classes")


def test_frames_may_have_their_colours_last():
    true = np.random.default_rng(0).random((2, 3, 8, 8))
    blurred = (true + np.roll(true, 1, -1) + np.roll(true, 1, -2)) / 3
    first = report.compare_sharpness(true, blurred)
    last = report.compare_sharpness(*(np.moveaxis(x, 1, -1) for x in (true, blurred)))
    assert first == pytest.approx(last) and first < 0.9


def test_spaces_beside_a_name_are_none_of_it(tmp_path):
    (tmp_path / "f.csv").write_text("hair , action\nfair ,1\n dark,2\n")
    columns = read_arrays(tmp_path / "f.csv", "factors")
    (tmp_path / "g.csv").write_text("a, a\n1,2\n")
    with pytest.raises(ValueError, match="factors: expected names that differ in g.csv, found 'a'"):
        read_arrays(tmp_path / "g.csv", "factors")
    assert columns["hair"].tolist() == ["fair", "dark"] and columns["action"].tolist() == [1, 2]


def test_with_few_sequences_nothing_is_concluded(fast):
    codes, factors = liars()
    few = {name: values[:40] for name, values in factors.items()}
    static, dynamic = (code[:40] for code in codes["Collapsed"])
    found = report.measure({"static": static, "dynamic": dynamic}, few, dynamic=DYNAMIC)
    assert found.findings[0].startswith("Cannot be concluded: 40 sequences")


def test_many_units_and_many_bits_are_doubted():
    random = np.random.default_rng(0)
    wide = random.standard_normal((N, 12))
    _, doubts = report.estimate_information({"wide": wide}, {"f": wide[:, 0]}, 0)
    assert len(doubts) == 1 and doubts[0].startswith("wide: its 12 units")
    x = random.standard_normal(N)
    _, doubts = report.estimate_information({"x": x[:, None]}, {"f": x + 1e-6}, 0)
    assert len(doubts) == 1 and "near what 300 sequences can show" in doubts[0]


@pytest.fixture
def files(tmp_path):
    codes, factors = liars()
    static, dynamic = codes["Hidden leak"]
    steps = np.repeat(dynamic[:, None], 3, 1)  # the same at each of three steps
    np.savez(tmp_path / "codes.npz", static=static, dynamic=steps)
    np.savez(tmp_path / "factors.npz", **factors)
    pd.DataFrame(factors).to_csv(tmp_path / "factors.csv", index=False)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(app, ["measure", *map(str, arguments)])


@pytest.mark.parametrize("factors", ("factors.npz", "factors.csv"))
def test_the_command_writes_a_table_json_and_a_page(files, factors):
    wanted = [files / "codes.npz", files / factors, "--dynamic", "action, direction"]
    result = call(*wanted, "--json", files / "out.json", "--html", files / "out.html")
    assert result.exit_code == 0, result.output
    assert "Hidden leak: only the non-linear probe reads skin in dynamic." in result.output
    written = json.loads((files / "out.json").read_text())
    assert written["own"]["action"] == ["dynamic"] and written["sharpness"] is None
    assert len(written["linear"]["value"]) == 4  # static, and dynamic read in three ways
    page = BeautifulSoup((files / "out.html").read_text(), "html.parser")
    assert page.li.text in result.output and len(page.find_all("img")) == 2
    assert all("skin" in image["alt"] for image in page.find_all("img"))
    assert all(name in page.text for name in report.MEANING)


def test_text_with_gaps_is_refused_by_its_name():
    gaps = np.array(["x", np.nan] * 60, dtype=object)
    with pytest.raises(ValueError, match="factor 'f': expected labels .* none missing"):
        report.measure({"a": CODE}, {"f": gaps})


GOOD = np.arange(120) % 3
CODE = np.random.default_rng(0).random((120, 2))
CODES = {  # arrays of codes that a stranger may give, and what the message names
    "one axis": ({"a": CODE[:, 0]}, "code 'a'"),
    "four axes": ({"a": CODE[..., None, None]}, "code 'a'"),
    "NaN": ({"a": CODE * np.nan}, "code 'a': .*finite"),
    "complex": ({"a": CODE * 1j}, "code 'a': .*real"),
    "text": ({"a": CODE.astype(str)}, "code 'a'"),
    "a scalar": ({"a": 3.0}, "codes 'a': "),
    "no rows": ({"a": CODE[:0]}, "codes 'a': "),
    "rows lacking": ({"a": CODE[1:]}, "one row a sequence"),
    "unequal steps": ({"a": CODE[:, None], "b": CODE.reshape(120, 2, 1)}, "equally many frames"),
    "nothing": ({}, "codes: .* has none"),
}
FACTORS = {  # the same of a factor "f"
    "one class": (GOOD * 0, "factor 'f': .*differ"),
    "three axes": (CODE[..., None], "factor 'f': "),
    "names": (np.arange(120), "factor 'f': .* 120 classes"),
    "nearly one class": (np.arange(120) < 2, "factor 'f': .* 10 rows .* found 2"),
    "of steps alone": (np.stack([GOOD, (GOOD + 1) % 3], 1), "factors: .*per sequence"),
}
OTHERS = {  # the command's words instead of good ones
    "no file": (("none.npz", "f.csv"), "codes: .* does not exist"),
    "a folder": ((".", "f.csv"), "codes: .* is a folder"),
    "another kind": (("a.txt", "f.csv"), "codes: .* a.txt"),
    "no zip": (("text.npz", "f.csv"), "codes: text.npz cannot be read"),
    "objects": (("objects.npz", "f.csv"), "codes: .* not of objects"),
    "gaps": (("codes.npz", "gaps.csv"), "factors 'f': .* line 4"),
    "no csv": (("codes.npz", "bytes.csv"), "factors: bytes.csv is no"),
    "an empty csv": (("codes.npz", "nothing.csv"), "factors: nothing"),
    "wrong name": (("codes.npz", "f.csv", "--dynamic", "actoin"), "dynamic: .* mean action"),
    "a folder in place of a page": (("codes.npz", "f.csv", "--html", "."), ".: .* found a folder"),
    "no folder": (("codes.npz", "f.csv", "--html", "no/x.html"), "no/x.html: .* folder"),
    "other frames": (("codes.npz", "f.csv", "--frames", "1.npy", "2.npy"), "frames: .*shape"),
    "bytes beside floats": (
        ("codes.npz", "f.csv", "--frames", "1.npy", "bytes.npy"),
        "frames: .*both bytes or both floats, found float64",
    ),
    "NaN in frames": (("codes.npz", "f.csv", "--frames", "nan.npy", "1.npy"), "frames: .*finite"),
    "one colour": (("codes.npz", "f.csv", "--frames", "1.npy", "1.npy"), "frames: .*colour"),
}


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """We are in a folder of what strangers have."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("1 2 3")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "objects.npz", a=np.array([{}, []], dtype=object))
    np.savez(tmp_path / "codes.npz", a=CODE)
    pairs = "".join(f"{value},{value % 2}\n" for value in GOOD)
    (tmp_path / "f.csv").write_text(f"f,action\n{pairs}")
    (tmp_path / "gaps.csv").write_text("e,f\n0,1\n1,2\n2,\n" + "1,1\n" * 117)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01" * 30)
    (tmp_path / "nothing.csv").write_text("")
    np.save(tmp_path / "1.npy", np.zeros((2, 1, 4, 4)))
    np.save(tmp_path / "2.npy", np.zeros((2, 1, 4, 5)))
    np.save(tmp_path / "bytes.npy", np.zeros((2, 1, 4, 4), np.uint8))
    np.save(tmp_path / "nan.npy", np.full((2, 1, 4, 4), np.nan))


@pytest.mark.parametrize("case", [*CODES, *FACTORS, *OTHERS])
def test_bad_files_get_one_clear_sentence_before_anything_is_measured(case, strange, monkeypatch):
    monkeypatch.setattr(report, "score_halves", None)  # nothing is measured
    bad, named = (CODES | FACTORS | OTHERS)[case]
    words = bad if case in OTHERS else ("bad.npz", "f.csv")
    if case in CODES:
        np.savez("bad.npz", **bad)
    elif case in FACTORS:
        np.savez("bad.npz", f=bad)
        words = ("codes.npz", "bad.npz")
    with pytest.raises(ValueError, match=named) as refusal:
        raise call(*words).exception
    assert "\n" not in str(refusal.value).strip()
