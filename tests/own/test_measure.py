"""python -m unbraid_own measure: four liars are named from their codes, faults are refused."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from bs4 import BeautifulSoup
from scipy.stats import norm
from unbraid.files import digest
from unbraid.measures.leakage import LeakageMatrix
from unbraid_own import __main__, measure, verdict
from unbraid_own.arrays import read_arrays, read_codes
from unbraid_own.outputs import check_outputs
from unbraid_own.own_files import RawSequences
from unbraid_own.own_tables import add_label_file

N = 300
DYNAMIC = ("action", "direction")
SCORED = (*[dict.fromkeys(measure.MEANING, (0.5, 0.1))] * 2, [])


def liars():
    """The codes of the honest model and of four liars of notebook 41, and the factors."""
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
    monkeypatch.setattr(measure, "score", lambda *_: SCORED)


def judge(codes, factors, **options):
    """The report on named codes, or on a pair of a static and a dynamic one."""
    if isinstance(codes, tuple):
        codes = dict(zip(("static", "dynamic"), codes, strict=True))
    return measure.measure(codes, factors, **{"dynamic": (), **options})


def begin(found, *openings):
    """Whether the verdict has as many sentences as are given, which begin so."""
    pairs = zip(found.verdict.findings, openings, strict=True)
    return all(sentence.startswith(opening) for sentence, opening in pairs)


@pytest.mark.parametrize("verdict", liars()[0])
def test_the_liars_are_named_from_their_codes(verdict, fast):
    codes, factors = liars()
    found = judge(codes[verdict], factors, dynamic=DYNAMIC)
    assert found.findings[0].startswith(verdict)
    assert found.own["skin"] == ("static",) and found.own["action"] == ("dynamic",)
    assert found.constants["skin"] == np.bincount(factors["skin"]).max() / N


def test_a_code_of_which_no_factor_is_known_may_be_silent(fast):
    codes, factors = liars()
    (static, dynamic), known = codes["No leak"], {"skin": factors["skin"]}
    quiet = "No factor is clearly in dynamic."
    assert begin(judge((static, dynamic), known), "No leak", quiet)
    assert begin(judge((0 * static, dynamic), known), "Useless")
    both = np.column_stack([dynamic, static])
    assert begin(judge((static, both), known), "Leak: skin in dynamic (")  # It is not mixed.


def test_a_factor_of_the_steps_and_a_continuous_one_are_read(fast):
    random = np.random.default_rng(0)
    who, moves = random.random(N), random.integers(2, size=(N, 4))
    static = who[:, None] + 0.05 * random.normal(size=(N, 2))
    dynamic = moves[..., None] + 0.1 * random.normal(size=(N, 4, 1))
    found = judge((static, dynamic), {"who": who, "move": moves})
    assert found.own == {"who": ("static",), "move": ("dynamic",)}
    assert found.kinds == {"who": "continuous", "move": "2 classes"}
    assert begin(found, "No leak")


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
    quiet = "No factor is clearly in camera."
    assert found.own["skin"] == ("looks", "camera") and begin(found, "No leak", quiet)
    found = judge(three | {"looks": camera[::-1]}, factors, dynamic=DYNAMIC)
    assert found.findings[0].startswith("Collapsed: of the factors none is in looks, camera")


def test_a_pair_is_clear_by_its_p_value_and_its_size():
    cells = np.array([[0.4, 0.4, 0.04]])
    p_values, names = np.array([[0.0005, 0.03, 0.0005]]), ("a", "b", "c")
    matrix = LeakageMatrix(cells, np.stack([cells, cells], 2), p_values, ("d",), names, "linear")
    assert verdict.clear_pairs(matrix, 0.01) == {("d", "a")}
    assert verdict.clear_pairs(matrix, 0.05) == {("d", "a"), ("d", "b")}


def test_no_leak_is_said_of_factors_alone_whose_place_was_said(fast):
    codes, factors = liars()
    who, what = codes["No leak"]
    moves = np.random.default_rng(4).integers(2, size=(N, 3))
    steps = np.dstack([moves + 0.0, *np.broadcast_to(what.T[..., None], (2, N, 3))])
    both = (np.column_stack([who, what[:, 0]]), steps)  # The static code contains the first motion.
    found = judge(both, factors | {"x": moves}, dynamic=None)
    assert begin(found, "No leak was found for x: each factor", "No verdict on skin, hair, action")
    assert all("no verdict" in said for said in found.verdict.each[:4]) and "eak:" not in str(found)


def test_factors_of_steps_that_never_change_are_of_sequences_and_others_fit_the_codes(fast):
    codes, factors = liars()
    pair = codes["No leak"][0], codes["No leak"][1][:, None] + np.zeros((1, 3, 1))
    still = {"skin": np.repeat(factors["skin"][:, None], 3, 1), "action": factors["action"]}
    assert judge(pair, still, dynamic=["action"]).own["skin"] == ("static",)
    with pytest.raises(ValueError, match="factor 'skin': .*one-hot; x.argmax"):
        judge(pair, factors | {"skin": np.eye(3)[factors["skin"]]})
    with pytest.raises(ValueError, match="factor 'place': .*3 steps"):
        judge(pair, factors | {"place": np.random.default_rng(3).random((N, 4))})


def test_the_verdict_is_told_before_anything_is_scored(monkeypatch):
    codes, factors = liars()
    told = []
    monkeypatch.setattr(measure, "score", lambda *_: SCORED if told else pytest.fail("early"))
    monkeypatch.setattr(measure, "estimate_information", lambda *_: ({}, ["a doubt"]))
    found = judge(codes["Collapsed"], factors, dynamic=DYNAMIC, on_verdict=told.append)
    assert told[0].findings == found.findings and found.findings[0].startswith("Collapsed")
    assert told[0].verdict_table() == found.verdict_table() and found.doubts == ["a doubt"]


@pytest.mark.parametrize("name, value", (("on_verdict", "print"), ("dynamic", True)))
def test_no_function_and_no_list_are_refused_before_anything_is_read(name, value):
    found = f"^{name}: expected .*, found {type(value).__name__}"
    with pytest.raises(ValueError, match=found):
        measure.measure({}, {}, **{name: value})


def test_odd_codes_and_factors_are_doubted(fast):
    (static, _), (skin, hair, action, _) = liars()[0]["No leak"], liars()[1].values()
    random, names = np.random.default_rng(0), np.array(["fair", "dark", "red"], dtype=object)
    order, is_known, index = random.permutation(N), np.arange(N) % 3 > 0, "its whole numbers look"
    codes = {
        "static": (static, ()),
        "frames": (static[order // 4], "frames: 300 rows are 75 different ones"),
        "index": (np.array([5, 60, 17])[skin][:, None], f"index: {index}"),
        "tokens": (random.integers(99, size=(N, 3)), f"tokens: {index}"),
    }
    factors = {
        "hair": (hair[:, None], ()),  # as a column
        "name": (names[hair], ()),
        "who": (order // 4 % 5, ()),
        "skin": (skin.astype(float), "skin: its 3 whole values"),
        "age": (np.arange(N) % 40, "age: its 40 whole numbers"),
        "act": (np.array(["Walk", "walk", "run "])[action], "act: 'Walk' and 'walk' are"),
        "both": (np.stack([skin, hair], 1), "both: its 2 columns are read as steps"),
        "void": (np.where(is_known, hair, 255), "255 in 33% of void"),
        "below": (np.where(is_known, hair, -1), "-1 in 33% of below"),
        "word": (np.where(is_known, names[hair], "Unknown"), "Unknown in 33% of word"),
    }
    found = judge(*({name: odd for name, (odd, _) in each.items()} for each in (codes, factors)))
    assert (found.kinds["name"], found.kinds["skin"]) == ("3 classes", "continuous, or classes?")
    said = sorted(doubt for doubt in found.doubts if not doubt.startswith("bits of"))
    expected = sorted(says for _, says in (codes | factors).values() if says)
    assert all(map(str.startswith, said, expected)) and len(said) == len(expected)
    steps = random.normal(size=(N, 6, 2)) * (np.arange(6) < 2 + order[:, None] % 5)[..., None]
    doubts = judge({"code": steps}, {"hair": hair}).doubts
    assert doubts[0].startswith("code: the last steps of 180 sequences are equal, 20% of all")


def test_with_few_sequences_nothing_is_concluded(fast):
    codes, factors = liars()
    few = {name: values[:40] for name, values in factors.items()}
    found = judge(tuple(code[:40] for code in codes["Collapsed"]), few, dynamic=DYNAMIC)
    assert found.findings[0].startswith("Cannot be concluded: 40 sequences")


def test_many_units_and_many_bits_are_doubted():
    random = np.random.default_rng(0)
    wide, x = random.standard_normal((N, 12)), random.standard_normal(N)
    _, doubts = measure.estimate_information({"wide": wide}, {"f": wide[:, 0]}, 0)
    assert len(doubts) == 1 and doubts[0].startswith("bits of wide and f: 300 rows are few")
    _, doubts = measure.estimate_information({"x": x[:, None]}, {"f": x + 1e-6}, 0)
    assert len(doubts) == 1 and "near the most that 300 rows" in doubts[0]
    twice = np.repeat(random.standard_normal((N // 2, 2)), 2, axis=0)
    with pytest.warns(UserWarning, match="100% of the rows equal others"):
        _, doubts = measure.estimate_information({"x": twice[:, :1]}, {"f": twice[:, 1]}, 0)
    assert len(doubts) == 1 and doubts[0].startswith("bits of x and f: 100% of the rows equal")


# ---- units, rare classes, rows that are not independent


def test_bits_depend_on_no_unit_of_measurement():
    random = np.random.default_rng(0)
    pitch, label = random.normal(size=N), random.integers(4, size=N)
    code = np.stack([pitch + 0.1 * random.normal(size=N), random.normal(size=N)], 1)
    beside = np.stack([label + 0.1 * random.normal(size=N), random.normal(size=N)], 1)
    expected = None
    for scale in (0.001, 1, 1000):  # of the factor, and of a unit that knows nothing
        codes = {"a": code * [1, scale], "b": beside * [1, scale]}
        factors = {"pitch": 150 + 50 * scale * pitch, "label": label}
        bits, _ = measure.estimate_information(codes, factors, 0)
        found = np.array([list(cells.values()) for cells in bits.values()])
        expected = found if expected is None else expected
        assert np.abs(found - expected).max() < 0.01
    assert found[0, 0, 0] > 2 and found[1, 1, 0] > 1.7


@pytest.mark.parametrize(("count", "rare", "seed"), [(1500, 12, 0), (1500, 12, 1), (20000, 40, 0)])
def test_a_rare_class_is_measured_or_named(count, rare, seed, monkeypatch):
    monkeypatch.setattr(verdict, "FEWEST_PERMUTATIONS", 99)
    random = np.random.default_rng(seed)
    label, other = np.zeros(count, int), random.integers(2, size=count)
    label[random.permutation(count)[:rare]] = 1
    code = random.normal(size=(count, 2)) + np.stack([6 * label, 3 * other], 1)
    found = measure.measure({"s": code}, {"rare": label, "other": other}, seed=seed)
    assert found.linear["s", "other"] > 0.7 and found.linear["s", "rare"] > 0.3
    assert found.bits["s"]["other"][0] > 0.5


def test_samples_hold_some_of_each_class_and_are_else_random():
    label = np.repeat([0, 1], [4000, 5])
    order = np.random.default_rng(0).permutation(4005)
    rows = measure.draw_rows([label], 100, order)
    assert (label[rows] == 1).sum() >= 4 and len(set(rows)) == len(rows) <= 104
    assert set(order[:100]) <= set(rows)
    kept = measure.draw_rows([np.arange(4005) % 2], 100, order)
    assert kept.tolist() == order[:100].tolist()


@pytest.mark.parametrize("count", (75, 300))
def test_copies_of_rows_tell_nothing(count, fast):
    random = np.random.default_rng(3)
    codes = random.normal(size=(count, 3)), random.normal(size=(count, 5, 2))
    factors = {"mood": random.integers(3, size=count), "act": random.integers(3, size=count)}
    four = {name: np.tile(values, 4) for name, values in factors.items()}
    found = judge(tuple(np.concatenate([code] * 4) for code in codes), four, dynamic=["act"])
    assert "no probe predicts any" in found.findings[0] and found.count == count
    assert any(f"{3 * count} of {4 * count} rows" in doubt for doubt in found.doubts)
    once = judge(codes, factors, dynamic=["act"])
    assert (once.linear.value == found.linear.value).all() and once.bits == found.bits


def test_codes_of_few_values_come_again_by_chance():
    random = np.random.default_rng(0)
    who, book = random.integers(60, size=N), random.normal(size=(60, 4))
    for code, other in ((np.eye(3)[who % 3], who % 3), (book[who], random.integers(9, size=N))):
        assert not measure.find_copies({"a": code}, {"f": other}).any()
    code = random.normal(size=(N, 4))
    code[10] = code[20] = code[0]
    found = measure.find_copies({"a": code}, {"f": np.zeros(N, int)})
    assert np.flatnonzero(found).tolist() == [10, 20]


def test_rows_of_one_group_are_not_independent(fast):
    random = np.random.default_rng(4)
    person = np.repeat(np.arange(120), 5)
    look, mood = random.normal(size=(120, 3)), random.integers(2, size=120)  # They are unrelated.
    code = {"a": look[person] + 0.1 * random.normal(size=(600, 3))}
    alone = measure.measure(code, {"mood": mood[person]})
    assert alone.nonlinear["a", "mood"] > 0.2 and alone.count == 600
    found = measure.measure(code, {"mood": mood[person]}, groups=person)
    assert found.findings[0].startswith("Useless") and found.count == 120
    low, high = found.linear.test_interval[0, 0]
    spelt = np.where(np.arange(600) % 5, "Ana {}", "ana  {} ")
    spelt = np.array([text.format(number) for text, number in zip(spelt, person, strict=True)])
    assert measure.measure(code, {"mood": mood[person]}, groups=spelt).count == 120
    few = alone.linear.test_interval[0, 0]
    assert high - low > 1.5 * (few[1] - few[0])  # Limits are those of other persons.


def test_rows_of_groups_in_one_order_are_shuffled_and_their_bits_are_of_one_row_each(fast):
    """All 60 persons act in the same order; the code shows the act, and the person."""
    random, act = np.random.default_rng(0), np.tile([0, 1, 2], 120)
    person = np.repeat(np.arange(60), 6)
    look = random.normal(size=(60, 2))[person]
    codes = {"a": np.column_stack([3 * act, look]) + 0.3 * random.normal(size=(360, 3))}
    found = measure.measure(codes, {"act": act, "look": look[:, 0]}, groups=person)
    assert found.linear.p_value.max() < 0.01 and not found.findings[0].startswith("Useless")
    bits, shuffled = found.bits["a"]["act"]
    assert 1 < bits < 1.7 and shuffled < 0.4  # of 60 rows; of all 360 persons would come back
    assert any("60 rows are few for 4 columns" in doubt for doubt in found.doubts)


def foreign(seed, leak):
    """Codes of a static and a dynamic kind, and four factors; one leaks, or none."""
    random = np.random.default_rng(seed)
    kinds = random.integers(3, size=(4, 400))
    own = np.eye(3)[kinds] + 0.3 * random.normal(size=(4, 400, 3))
    static, dynamic = np.hstack(own[:2]), np.hstack(own[2:])
    if leak:
        dynamic = np.hstack([dynamic, own[seed % 2]])
    dynamic = dynamic[:, None] + 0.1 * random.normal(size=(400, 4, dynamic.shape[1]))
    names = ("who", "coat", "act", "side")
    return (static, dynamic), dict(zip(names, kinds, strict=True)), names[seed % 2]


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_leak_is_named_if_the_motion_is_and_else_there_is_no_verdict(seed, fast):
    codes, factors, leaked = foreign(seed, leak=True)
    assert begin(judge(codes, factors, dynamic=("act", "side"), seed=seed), f"Leak: {leaked} in d")
    for leak in (True, False):
        found = judge(*foreign(seed, leak)[:2], dynamic=None, seed=seed)
        assert begin(found, "No verdict on who, coat, act, side: it is not said")
        assert "leak" not in " ".join(found.findings) and "act,side)" in found.findings[0]


# ---- files


ODD = {  # tables with names, then a label and a number; with what both doors say of them
    "plain": (b"name,hair,n\na,fair,1\nb,dark,2\n", ""),
    "spaces": (b"name, hair , n\na, fair , 1\nb,dark,2 \n", ""),
    "byte-order mark": (b"\xef\xbb\xbfname,hair,n\na,fair,1\nb,dark,2\n", ""),
    "Windows": (b"name,hair,n\r\na,fair,1\r\nb,dark,2\r\n", ""),
    "blank lines": (b"name,hair,n\n\na,fair,1\n\nb,dark,2\n\n", ""),
    "quotes": (b'name,"hair, or fur",n\na,"fair\nish",1\nb,dark,2\n', ""),
    "row numbers of pandas": (b",name,hair,n\n0,a,fair,1\n1,b,dark,2\n", ""),
    "the same, read again": (b"Unnamed: 0,name,hair,n\n0,a,fair,1\n1,b,dark,2\n", ""),
    "None": (b"name,hair,n\na,None,1\nb,NA,2\n", ""),
    "long numbers": (b"name,hair,n\na,12345678901234567890123,1\nb,1,2\n", ""),
    "cells beyond": (b"name,hair\na,fair,1\nb,dark,2\n", "3 in line 2"),
    "comma at the end": (b"name,hair,n\na,fair,1,\nb,dark,2,\n", "4 in line 2"),
    "cells lacking": (b"name,hair,n\na,fair,1\nb,dark\n", "2 in line 3"),
    "empty cell": (b"name,hair,n\na,,1\nb,dark,2\n", "hair.*gap.*line 2"),
    "gap of a number": (b"name,hair,n\na,fair,NA\nb,dark,2\n", "n.*gap.*line 2"),
    "a word among numbers": (b"name,hair,n\na,fair,?\nb,dark,0.5\n", "n: .*'[?]' in line 2"),
    "units": (b"name,hair,n\na,fair,1.5 kg\nb,dark,2 kg\n", "n: .*'1.5 kg' in line 2"),
    "classes": (b"name,hair,n\na,1b,1\nb,dark,2\n", ""),
    "semicolons": (b"name;hair;n\na;fair;1\nb;dark;2\n", "commas"),
    "tabs": (b"name\thair\tn\na\tfair\t1\nb\tdark\t2\n", "commas"),
    "names alike": (b"name,hair, hair\na,fair,1\nb,dark,2\n", "'hair' twice"),
    "no name": (b"name,hair,\na,fair,1\nb,dark,2\n", "column 3"),
    "open quote": (b'name,hair,n\na,"fair,1\nb,dark,2\n', "quotes"),
    "Latin-1": ("name,hair,n\na,grün,1\nb,dark,2\n".encode("latin-1"), "UTF-8"),
    "UTF-16": ("name,hair,n\na,fair,1\nb,dark,2\n".encode("utf-16"), "UTF-16"),
    "no rows": (b"name,hair,n\n", "line of names"),
    "nothing": (b"", "line of names"),
}


@pytest.mark.parametrize("kind", ODD)
def test_both_doors_read_a_table_alike(kind, tmp_path):
    content, reason = ODD[kind]
    path = tmp_path / "t.csv"
    path.write_bytes(content)

    def read_labels():
        raw = RawSequences("films", ["a", "b"], lambda number: None)
        return add_label_file(path, raw, None).static

    if reason:
        for read in (read_labels, lambda: read_arrays(path, "factors")):
            with pytest.raises(ValueError, match=rf"t\.csv.*{reason}|factors.*{reason}"):
                read()
        return
    columns, labels = read_arrays(path, "factors"), read_labels()
    assert [*columns][1:] == [*labels] and len(columns) == 3
    for name in labels:
        assert columns[name].tolist() == labels[name].tolist()
    last = {"None": "NA", "long numbers": "1"}.get(kind, "dark")
    assert columns[[*columns][1]].tolist()[1] == last and columns[[*columns][2]].tolist() == [1, 2]


def test_a_first_column_that_counts_rows_is_no_factor(tmp_path):
    table = pd.DataFrame({"hair": ["fair", "dark"], "n": [0.1, 0.2 + 0.1]})
    table.to_csv(tmp_path / "t.csv")
    found = read_arrays(tmp_path / "t.csv", "factors")
    assert {name: [*values] for name, values in found.items()} == table.to_dict("list")
    table.set_index("n").rename_axis(None).to_csv(tmp_path / "t.csv")
    with pytest.raises(ValueError, match="t.csv: .*name"):
        read_arrays(tmp_path / "t.csv", "factors")


def test_codes_come_from_csv_and_pt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    units = np.random.default_rng(0).normal(size=(5, 12))
    names = [*(f"b_{number}" for number in range(11)), "a_0"]
    pd.DataFrame(units, columns=names).to_csv("c.csv", index=False)
    found = read_codes("c.csv")
    assert (found["b"] == units[:, :11]).all() and (found["a"] == units[:, 11:]).all()
    pd.DataFrame(units).to_csv("c.csv")
    assert (read_codes("c.csv")["c"] == units).all()
    np.savetxt("c.csv", units, delimiter=",", header=",".join(names))
    assert np.allclose(read_codes("c.csv")["b"], units[:, :11])
    np.savetxt("c.csv", units, delimiter=",")
    with pytest.raises(ValueError, match="c.csv: expected a first line of names"):
        read_codes("c.csv")
    torch.save({"static": torch.tensor(units, requires_grad=True), "epoch": 3}, "c.pt")
    assert (read_codes("c.pt")["static"] == units).all()
    whole = Path("c.pt").read_bytes()
    place = whole.index(units.tobytes()[:8])
    Path("c.pt").write_bytes(whole[:place] + b"?" + whole[place + 1 :])
    with pytest.raises(ValueError, match="c.pt .*other bytes"):
        read_codes("c.pt")
    mean = torch.tensor(units)
    for parts in ((mean, mean), {"z": [*mean.split(1)]}, [{"z": mean}], {"model": {"z": mean}}):
        torch.save(parts, "c.pt")
        with pytest.raises(ValueError, match="codes: c.pt .*a dict of .*found a (tuple|list|dict)"):
            read_codes("c.pt")
    torch.save({"static": Path("x")}, "c.pt")
    pd.DataFrame(units, columns=[*names[:-1], "other"]).to_csv("c.csv")
    for name, found in (("c.csv", "other"), ("c.pt", "c.pt.*torch.save")):
        with pytest.raises(ValueError, match=f"codes: .*{found}"):
            read_codes(name)


def test_nothing_that_was_there_before_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("c.npz", a=CODE)
    Path("f.csv").write_text("f\n" + "".join(f"{value}\n" for value in GOOD))
    Path("mine.html").write_text("<p>python -m unbraid_own measure c.npz f.csv")
    Path("link.html").symlink_to("gone.html")
    Path("same.json").hardlink_to("f.csv")
    before = {path: path.read_bytes() for path in Path().glob("*.*") if path.exists()}
    monkeypatch.setattr("unbraid_own.arrays.read_codes", None)  # It is refused before.
    for words, named in (
        (["--json", "c.npz"], "c.npz"),
        (["--html", "./f.csv"], "f.csv"),
        (["--json", "same.json"], "same.json"),
        (["--json", "x", "--html", "x"], "x: .*written"),
        (["--html", "mine.html"], "mine.html: .*lost"),
        (["--html", "link.html"], "link.html"),
        (["--html", "/dev/null"], "null"),
        (["--html", "."], r"^\.: .*file"),
        (["--html", "no/x.html"], "no.x.html"),
        (["--seed", str(2**32)], "seed: .*4294967295"),
        (["--seed", "-1"], "seed: "),
    ):
        with pytest.raises(ValueError, match=named):
            __main__.run(["measure", "c.npz", "f.csv", *words])
    assert before == {path: path.read_bytes() for path in before} and not Path("x").exists()


# ---- the command


def test_the_command_writes_a_table_json_and_a_page(tmp_path, capsys):
    codes, factors = liars()
    static, dynamic = codes["Hidden leak"]
    steps = np.repeat(dynamic[:, None], 3, 1)  # the same at each of three steps
    np.savez(tmp_path / "codes.npz", static=static, dynamic=steps)
    pd.DataFrame(factors).to_csv(tmp_path / "factors.csv", index=False)
    files = [tmp_path / name for name in ("codes.npz", "factors.csv", "o.json", "o.html")]
    options = ("--dynamic", "action, direction", "--json", files[2], "--html", files[3])
    __main__.run(["measure", *map(str, [*files[:2], *options])])
    said = "Hidden leak: only the non-linear probe predicts skin in dynamic ("
    written = json.loads(files[2].read_text())
    assert said in capsys.readouterr().out and written["findings"][0].startswith(said)
    assert written["own"]["action"] == ["dynamic"]
    assert len(written["linear"]["value"]) == 4  # static, and dynamic read in three ways
    page = BeautifulSoup(files[3].read_text(), "html.parser")
    assert page.find(class_="verdict").text == written["findings"][0]
    (leak,) = page.select(".cells .leak")
    assert leak.text.startswith(f"{written['verdict']['cells']['skin']['dynamic']['value']:.2f}*")
    cells = {cell.text for cell in page.find_all("td")}
    assert {"DCI disentanglement", "MIG gap", "SAP separation", "InfoM modularity"} < cells
    for score in ("by_code", "by_unit"):  # The page has the numbers of the JSON file.
        assert f"{written[score]['explicitness'][0]:.2f}" in cells
    bits, shuffled = written["bits"]["static"]["skin"]
    assert f"{bits:.2f} (shuffled {shuffled:.2f})" in cells
    made = written["provenance"]
    assert made["sha256"]["codes.npz"] == digest(files[0]) and made["versions"]["numpy"]
    assert made["command"].startswith("python -m unbraid_own measure ")
    assert page.main and made["sha256"]["codes.npz"] in cells
    # What it has written it replaces, and what a killed run has left it removes.
    left = tmp_path / ".o.json.4194304"
    left.write_text("half")
    check_outputs(files[2:], files[:2], measure.MADE_BY)
    assert not left.exists()
    files[3].write_text("mine")
    with pytest.raises(ValueError, match="o.html"):
        check_outputs(files[2:], files[:2], measure.MADE_BY)


def test_who_stops_reading_gets_the_page_all_the_same(tmp_path):
    codes, factors = liars()
    np.savez(tmp_path / "codes.npz", static=codes["No leak"][0][:60])
    np.savez(tmp_path / "factors.npz", skin=factors["skin"][:60])
    words = ("measure", "codes.npz", "factors.npz", "--json", "o.json", "--html", "o.html")
    command = [sys.executable, "-u", "-m", "unbraid_own", *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path}
    with subprocess.Popen(command, **pipes) as measuring:
        measuring.stdout.close()
        said = measuring.stderr.read().decode()
        assert measuring.wait() == 0 and "rror" not in said
    assert (tmp_path / "o.html").exists() and (tmp_path / "o.json").exists()


def test_columns_of_a_table_stand_below_each_other(capsys):
    __main__.show([("a sentence",), ("name", "x"), ("longer name", "y"), ("end",)])
    assert capsys.readouterr().out == "a sentence\nname         x\nlonger name  y\nend\n"


def test_a_mistake_is_told_before_anything_large_is_imported(tmp_path):
    program = (
        "import sys; from unbraid_own.__main__ import run\n"
        "try: run(['measure', 'c.npz', 'f.csv', '--dynamic', 'actoin'])\n"
        "except ValueError as error: print(error)\n"
        "assert not {'torch', 'sklearn', 'matplotlib'} & {*sys.modules}"
    )
    np.savez(tmp_path / "c.npz", a=CODE)
    pd.DataFrame({"action": GOOD}).to_csv(tmp_path / "f.csv")
    done = subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, text=True)
    assert "dynamic: " in done and "action" in done


def test_a_page_is_written_without_pytorch(tmp_path):
    program = (
        "import sys; from unbraid_own.__main__ import run\n"
        "run(['measure', 'c.npz', 'f.csv', '--dynamic', 'action', '--html', 'o.html'])\n"
        "assert 'torch' not in sys.modules"
    )
    np.savez(tmp_path / "c.npz", static=CODE, dynamic=CODE[:, :1])
    pd.DataFrame({"action": GOOD, "who": GOOD[::-1]}).to_csv(tmp_path / "f.csv", index=False)
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert 'class="cells"' in (tmp_path / "o.html").read_text(encoding="utf-8")


def test_mistakes_end_in_one_message(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.chdir(tmp_path)
    Path("voices").mkdir()
    Path("voices/a.wav").write_text("text")
    for words, message in (
        (["train", "single_element", "--data", "voices"], "this needs the package soundfile"),
        (["measure", "none.npz", "none.csv"], "codes: "),
        (["train", "unordered", "--data=~/none"], f"data: .* none at {Path.home()}/none"),
    ):
        monkeypatch.setattr(sys, "argv", ["unbraid_own", *words])
        with pytest.raises(SystemExit, match=f"^error: {message}"):
            __main__.main()


def test_a_factor_may_be_left_out(tmp_path, capsys):
    np.savez(tmp_path / "codes.npz", static=CODE)
    np.savez(tmp_path / "factors.npz", kind=GOOD, **{"no, always": 0 * GOOD})
    words = ["measure", *(str(tmp_path / f"{name}.npz") for name in ("codes", "factors"))]
    with pytest.raises(ValueError, match="factor 'no, always': .*leave it out .--leave-out."):
        __main__.run(words)
    with pytest.raises(ValueError, match="leave-out: .*found 'alway'; did you mean no, always"):
        __main__.run([*words, "--leave-out", "alway"])
    __main__.run([*words, "--leave-out", "no,always"])
    assert "always" not in capsys.readouterr().out


GOOD = np.arange(120) % 3
CODE = np.random.default_rng(0).random((120, 2))
CODES = {  # arrays of codes that are refused, and what the message names
    "NaN": ({"a": CODE * np.nan}, "code 'a'"),
    "too large": ({"a": CODE * 1e300}, "code 'a'"),
    "no rows": ({"a": CODE[:0]}, "codes 'a'"),
    "names of rows": ({"a": CODE, "films": GOOD.astype(str)}, "codes 'films': .*leave names out"),
    "lengths": ({"a": CODE, "lengths": GOOD}, "code 'lengths': .*cut all to one length"),
    "a factor": ({"a": CODE, "f": GOOD}, "code 'f': .*factors have a file of their own"),
    "few rows": ({"a": CODE[:9]}, "codes, factors: .*bring 20 "),
    "rows lacking": ({"a": CODE[1:]}, "codes, factors: .*one row for each.*119.*120"),
    "nothing": ({}, "codes"),
}
FACTORS = {  # the same of a factor "f"
    "one class": (GOOD * 0, "factor 'f'"),
    "durations": (GOOD.astype("m8[s]"), "factor 'f': .*x.astype.float.*timedelta64"),
    "three axes": (CODE[..., None], "factor 'f'"),
    "names": (np.arange(120), "factor 'f': .*120 classes.*--group"),
    "nearly one class": (np.arange(120) < 2, "factor 'f': .*2; bring 600"),
    "many classes": (np.arange(120) % 40, "factor 'f': .*40 classes in 120 rows; bring 160"),
    "of steps in one order": (np.tile([0, 1, 2], (120, 1)), "factor 'f': .*between sequences"),
}
OTHERS = {  # the command's words instead of good ones
    "a folder": ((".", "f.csv"), "codes: "),
    "another kind": (("a.txt", "f.csv"), "codes: .*a.txt"),
    "no zip": (("text.npz", "f.csv"), "codes: text.npz"),
    "objects": (("objects.npz", "f.csv"), "codes: objects.npz"),
    "gaps": (("codes.npz", "gaps.csv"), "factors 'f': .*line 4"),
    "few groups": (("codes.npz", "f.csv", "--group", "action"), "groups: .*2"),
    "no group": (("codes.npz", "f.csv", "--group", "actoin"), "group: .*action"),
    "another member": (("member.npz", "f.csv"), "codes 'a.txt': .*toarray"),
}


@pytest.fixture
def strange(tmp_path, monkeypatch):
    """We are in a folder of files that cannot be measured, and of some that can."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("1 2 3")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "objects.npz", a=np.array([{}, []], dtype=object))
    np.savez(tmp_path / "codes.npz", a=CODE)
    with zipfile.ZipFile(tmp_path / "member.npz", "w") as archive:
        archive.writestr("a.txt", "1 2 3")
    pairs = "".join(f"{value},{value % 2}\n" for value in GOOD)
    (tmp_path / "f.csv").write_text(f"f,action\n{pairs}")
    (tmp_path / "gaps.csv").write_text("e,f\n0,1\n1,2\n2,\n" + "1,1\n" * 117)


@pytest.mark.parametrize("case", [*CODES, *FACTORS, *OTHERS])
def test_faults_are_refused_before_anything_is_scored(case, strange, monkeypatch):
    monkeypatch.setattr(measure, "score", None)
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
