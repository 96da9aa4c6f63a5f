"""python -m unbraid_extras measure: four liars are named from their codes, faults are refused."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from scipy.stats import norm
from unbraid.measures.leakage import LeakageMatrix
from unbraid_extras import __main__, measure
from unbraid_extras.arrays import read_arrays

N = 300
DYNAMIC = ("action", "direction")


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
    made = dict.fromkeys(measure.MEANING, (0.5,) * 4)
    monkeypatch.setattr(measure, "score_halves", lambda *_: (made, made))


def judge(codes, factors, **options):
    """The report on named codes, or on a pair of a static and a dynamic one."""
    if isinstance(codes, tuple):
        codes = dict(zip(("static", "dynamic"), codes, strict=True))
    return measure.measure(codes, factors, **options)


def begin(found, *openings):
    """Whether the findings are as many sentences as are given, which begin so."""
    pairs = zip(found.findings, openings, strict=True)
    return all(sentence.startswith(opening) for sentence, opening in pairs)


@pytest.mark.parametrize("verdict", liars()[0])
def test_the_liars_are_named_from_their_codes(verdict, fast):
    codes, factors = liars()
    found = judge(codes[verdict], factors, dynamic=DYNAMIC)
    assert found.findings[0].startswith(verdict)
    assert found.own["skin"] == ("static",) and found.own["action"] == ("dynamic",)
    assert found.constants["skin"] == np.bincount(factors["skin"]).max() / N


def test_a_blurred_decoder_is_named_from_its_frames(fast):
    codes, factors = liars()
    frames = np.random.default_rng(0).random((10, 3, 1, 8, 8))
    blurred = (frames + np.roll(frames, 1, -1) + np.roll(frames, 1, -2)) / 3
    for decoded, word in ((frames, "Sharp: "), (blurred, "Blurred: ")):
        found = judge(codes["No leak"], factors, dynamic=DYNAMIC, frames=(frames, decoded))
        assert begin(found, "No leak", word)
    last = [np.moveaxis(each.repeat(3, 2), 2, -1) for each in (frames, blurred)]  # colours
    expected = measure.compare_sharpness(frames, blurred)
    assert measure.compare_sharpness(*last) == pytest.approx(expected) and expected < 0.9


def test_a_code_of_which_no_factor_is_known_may_be_silent(fast):
    codes, factors = liars()
    (static, dynamic), known = codes["No leak"], {"skin": factors["skin"]}
    quiet = "Of what is known nothing is clearly in dynamic."
    assert begin(judge((static, dynamic), known), "No leak", quiet)
    assert begin(judge((0 * static, dynamic), known), "Useless")
    both = np.column_stack([dynamic, static])
    assert judge((static, both), known).findings == ("Leak: skin in dynamic.",)  # It is not mixed.


def test_a_factor_of_the_steps_and_a_continuous_one_are_read(fast):
    random = np.random.default_rng(0)
    who, moves = random.random(N), random.integers(2, size=(N, 4))
    static = who[:, None] + 0.05 * random.normal(size=(N, 2))
    dynamic = moves[..., None] + 0.1 * random.normal(size=(N, 4, 1))
    found = judge((static, dynamic), {"who": who, "move": moves})
    assert found.own == {"who": ("static",), "move": ("dynamic",)}
    assert found.kinds == {"who": "continuous", "move": "2 classes"}
    assert begin(found, "No leak")


def test_a_code_that_tells_each_step_and_nothing_on_average_is_not_called_empty(fast):
    random = np.random.default_rng(0)
    who, moves = random.integers(3, size=N), random.integers(3, size=(N, 16))
    static = np.eye(3)[who] + 0.1 * random.normal(size=(N, 3))
    dynamic = np.eye(3)[moves] + 0.1 * random.normal(size=(N, 16, 3))
    dynamic -= dynamic.mean(1, keepdims=True)
    found = judge((static, dynamic), {"who": who, "move": moves})
    assert begin(found, "No leak")
    assert abs(found.linear["dynamic, averaged", "move"]) < 0.1
    assert found.linear["dynamic, frames", "move"] > 0.8


def test_what_only_all_steps_together_tell_is_found(fast):
    # A point that turns left or right on a circle: its mean and each of its places tell nothing.
    random = np.random.default_rng(1)
    who, turn = random.integers(3, size=N), random.integers(2, size=N)
    angle = random.uniform(0, 2 * np.pi, (N, 1)) + np.where(turn, 1, -1)[:, None] * np.arange(4)
    static = np.eye(3)[who] + 0.1 * random.normal(size=(N, 3))
    dynamic = np.stack([np.cos(angle), np.sin(angle)], 2)
    found = judge((static, dynamic), {"who": who, "turn": turn}, dynamic=["turn"])
    assert begin(found, "No leak")
    assert found.nonlinear["dynamic, flattened", "turn"] > 0.8
    assert abs(found.nonlinear["dynamic, averaged", "turn"]) < 0.3


def test_of_three_codes_each_is_judged(fast):
    codes, factors = liars()
    who, what = codes["No leak"]
    camera = np.random.default_rng(2).normal(size=(N, 2))
    three = {"looks": who, "camera": camera, "motion": what[:, None] + [[0], [0]]}
    found = judge(three, factors, dynamic=DYNAMIC)
    quiet = "Of what is known nothing is clearly in camera."
    assert found.own["skin"] == ("looks", "camera") and begin(found, "No leak", quiet)
    found = judge(three | {"looks": camera[::-1]}, factors, dynamic=DYNAMIC)
    assert found.findings[0].startswith("Collapsed: of what is known nothing is in looks, camera")
    three["motion"] = np.concatenate([three["motion"], who[:, None] + [[0], [0]]], 2)
    found = judge(three, factors, dynamic=DYNAMIC)
    assert found.findings == ("Leak: hair in motion, skin in motion.", quiet)


def test_a_leak_is_hidden_only_if_a_linear_probe_reads_nothing():
    own, pair = {"hair": ("static",), "move": ("dynamic",)}, ("dynamic", "hair")
    both = {("static", "hair"), ("dynamic", "move"), pair}
    assert measure.describe_leak(own, set(), both).startswith("Hidden leak")
    assert measure.describe_leak(own, {pair}, both) == "Leak: hair in dynamic."
    cells = np.array([[0.4, 0.4, 0.04]])
    p_values, names = np.array([[0.0005, 0.03, 0.0005]]), ("a", "b", "c")
    matrix = LeakageMatrix(cells, np.stack([cells, cells], 2), p_values, ("d",), names, "linear")
    assert measure.clear_pairs(matrix, 0.01) == {("d", "a")}
    assert measure.clear_pairs(matrix, 0.05) == {("d", "a"), ("d", "b")}


def test_factors_of_steps_fit_the_codes_or_are_of_sequences(fast):
    codes, factors = liars()
    who, what = codes["No leak"]
    pair = who, what[:, None] + np.zeros((1, 3, 1))
    still = {"skin": np.repeat(factors["skin"][:, None], 3, 1), "action": factors["action"]}
    found = judge(pair, still, dynamic=["action"])
    assert found.own["skin"] == ("static",) and begin(found, "No leak")
    moving = {"skin": factors["skin"], "place": np.random.default_rng(3).random((N, 4))}
    with pytest.raises(ValueError, match="factor 'place': .*3 steps"):
        judge(pair, moving)


def test_kinds_of_factors_are_doubted(fast):
    codes, factors = liars()
    given = {name: values[:, None] for name, values in factors.items()}  # as columns
    given |= {"skin": factors["skin"].astype(float), "age": np.arange(N) % 40}
    found = judge(codes["No leak"], given, dynamic=DYNAMIC)
    assert (found.kinds["hair"], found.kinds["skin"]) == ("3 classes", "continuous")
    assert {doubt.partition(":")[0] for doubt in found.doubts} == {"skin", "age"}


def test_with_few_sequences_nothing_is_concluded(fast):
    codes, factors = liars()
    few = {name: values[:40] for name, values in factors.items()}
    found = judge(tuple(code[:40] for code in codes["Collapsed"]), few, dynamic=DYNAMIC)
    assert found.findings[0].startswith("Cannot be concluded: 40 sequences")


def test_many_units_and_many_bits_are_doubted():
    random = np.random.default_rng(0)
    wide, x = random.standard_normal((N, 12)), random.standard_normal(N)
    _, doubts = measure.estimate_information({"wide": wide}, {"f": wide[:, 0]}, 0)
    assert len(doubts) == 1 and "12 units" in doubts[0]
    _, doubts = measure.estimate_information({"x": x[:, None]}, {"f": x + 1e-6}, 0)
    assert len(doubts) == 1 and "300 sequences" in doubts[0]


def test_columns_of_a_table_are_read_without_the_spaces_around_them(tmp_path):
    (tmp_path / "f.csv").write_text("hair , action\nfair ,1\n dark,2\n")
    columns = read_arrays(tmp_path / "f.csv", "factors")
    assert columns["hair"].tolist() == ["fair", "dark"] and columns["action"].tolist() == [1, 2]


# ---- the command


@pytest.mark.parametrize("kind", ("npz", "csv"))
def test_the_command_writes_a_table_json_and_a_page(kind, tmp_path, capsys):
    codes, factors = liars()
    static, dynamic = codes["Hidden leak"]
    steps = np.repeat(dynamic[:, None], 3, 1)  # the same at each of three steps
    np.savez(tmp_path / "codes.npz", static=static, dynamic=steps)
    np.savez(tmp_path / "factors.npz", **factors)
    pd.DataFrame(factors).to_csv(tmp_path / "factors.csv", index=False)
    files = [tmp_path / name for name in ("codes.npz", f"factors.{kind}", "o.json", "o.html")]
    options = ("--dynamic", "action, direction", "--json", files[2], "--html", files[3])
    __main__.run(["measure", *map(str, [*files[:2], *options])])
    verdict = "Hidden leak: only the non-linear probe reads skin in dynamic."
    written = json.loads(files[2].read_text())
    assert verdict in capsys.readouterr().out and written["findings"] == [verdict]
    assert written["own"]["action"] == ["dynamic"] and written["sharpness"] is None
    assert len(written["linear"]["value"]) == 4  # static, and dynamic read in three ways
    page = BeautifulSoup(files[3].read_text(), "html.parser")
    assert page.li.text == verdict and len(page.find_all("img")) == 2
    assert all("skin" in image["alt"] for image in page.find_all("img"))
    cells = {cell.text for cell in page.find_all("td")}
    assert measure.MEANING.keys() < cells
    for score in ("by_code", "by_unit"):  # The page has the numbers of the JSON file.
        assert f"{written[score]['explicitness'][0]:.2f}" in cells
    bits, shuffled = written["bits"]["static"]["skin"]
    assert f"{bits:.2f} (shuffled {shuffled:.2f})" in cells


def test_mistakes_end_in_one_message(monkeypatch, tmp_path):
    def lack(*arguments, **options):
        raise ModuleNotFoundError("No module named 'soundfile'", name="soundfile")

    monkeypatch.setattr("unbraid_extras.own_data.load", lack)
    (tmp_path / "films").mkdir()
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["train", "single_element", "--data", "films"], "error: this needs the package soundfile"),
        (["measure", "none.npz", "none.csv"], "error: codes: "),
    ):
        monkeypatch.setattr(sys, "argv", ["unbraid_extras", *words])
        with pytest.raises(SystemExit, match=f"^{message}"):
            __main__.main()


GOOD = np.arange(120) % 3
CODE = np.random.default_rng(0).random((120, 2))
CODES = {  # arrays of codes that are refused, and what the message names
    "NaN": ({"a": CODE * np.nan}, "code 'a'"),
    "no rows": ({"a": CODE[:0]}, "codes 'a'"),
    "rows lacking": ({"a": CODE[1:]}, "codes, factors"),
    "nothing": ({}, "codes"),
}
FACTORS = {  # the same of a factor "f"
    "one class": (GOOD * 0, "factor 'f'"),
    "three axes": (CODE[..., None], "factor 'f'"),
    "names": (np.arange(120), "factor 'f': .*120 classes"),
    "nearly one class": (np.arange(120) < 2, "factor 'f': .*2"),
    "of steps alone": (np.stack([GOOD, (GOOD + 1) % 3], 1), "factors"),
}
OTHERS = {  # the command's words instead of good ones
    "a folder": ((".", "f.csv"), "codes: "),
    "another kind": (("a.txt", "f.csv"), "codes: .*a.txt"),
    "no zip": (("text.npz", "f.csv"), "codes: text.npz"),
    "objects": (("objects.npz", "f.csv"), "codes: objects.npz"),
    "gaps": (("codes.npz", "gaps.csv"), "factors 'f': .*line 4"),
    "no csv": (("codes.npz", "bytes.csv"), "factors: bytes.csv"),
    "names alike": (("codes.npz", "alike.csv"), "factors: .*alike.csv"),
    "wrong name": (("codes.npz", "f.csv", "--dynamic", "actoin"), "dynamic: .*action"),
    "a folder in place of a page": (("codes.npz", "f.csv", "--html", "."), "^.: .*file"),
    "no folder": (("codes.npz", "f.csv", "--html", "no/x.html"), "no/x.html"),
    "other frames": (("codes.npz", "f.csv", "--frames", "1.npy", "2.npy"), "frames: .*shape"),
    "one colour": (("codes.npz", "f.csv", "--frames", "1.npy", "1.npy"), "frames: .*colour"),
}


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """We are in a folder of files that cannot be measured, and of some that can."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("1 2 3")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "objects.npz", a=np.array([{}, []], dtype=object))
    np.savez(tmp_path / "codes.npz", a=CODE)
    pairs = "".join(f"{value},{value % 2}\n" for value in GOOD)
    (tmp_path / "f.csv").write_text(f"f,action\n{pairs}")
    (tmp_path / "alike.csv").write_text("a, a\n1,2\n")
    (tmp_path / "gaps.csv").write_text("e,f\n0,1\n1,2\n2,\n" + "1,1\n" * 117)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x01" * 30)
    np.save(tmp_path / "1.npy", np.zeros((2, 1, 4, 4)))
    np.save(tmp_path / "2.npy", np.zeros((2, 1, 4, 5)))


@pytest.mark.parametrize("case", [*CODES, *FACTORS, *OTHERS])
def test_faults_are_refused_before_anything_is_scored(case, strange, monkeypatch):
    monkeypatch.setattr(measure, "score_halves", None)
    bad, named = (CODES | FACTORS | OTHERS)[case]
    words = bad if case in OTHERS else ("bad.npz", "f.csv")
    if case in CODES:
        np.savez("bad.npz", **bad)
    elif case in FACTORS:
        np.savez("bad.npz", f=bad)
        words = ("codes.npz", "bad.npz")
    with pytest.raises(ValueError, match=named) as refusal:
        __main__.run(["measure", *words])
    assert "\n" not in str(refusal.value).strip()
