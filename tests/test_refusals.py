"""What functions refuse: one table of faults, each with the field that the message names."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import unbraid.distributions as dist
from matplotlib.figure import Figure
from unbraid import checks, networks, records, training
from unbraid.codes import (
    batches,
    bound_per_frame,
    concatenate,
    decode_all,
    dynamic_given,
    encode_all,
    generator_for,
    root_mean_square,
)
from unbraid.data import fetch, series, speech, sprites
from unbraid.data.moving_digits import Digits, MovingDigits, load_digits
from unbraid.data.sampling import FrameSampler, SequenceSampler
from unbraid.data.sequences import Sequences, as_float
from unbraid.distributions import DiagonalGaussian
from unbraid.figures import films, plots
from unbraid.files import write_atomically
from unbraid.interventions import move_one, swap, traverse
from unbraid.measures.information import cross_block, kraskov, ross, same_and_cross
from unbraid.measures.intervals import difference_interval, mean_interval
from unbraid.measures.judges import FrameJudge, SequenceJudge, judge_classes, load_judge
from unbraid.measures.leakage import leakage_matrix
from unbraid.measures.planting import plant
from unbraid.measures.swaps import entropies, random_donors
from unbraid.models.base import Bound
from unbraid.models.independent import IndependentPrediction
from unbraid.models.single_element import SingleElement
from unbraid.models.unordered import UnorderedFrames
from unbraid.support.schedules import Schedule, schedule_value
from unbraid.variants import PublishedSeries
from unbraid_course import exercises, workshop
from unbraid_course.tell import tell
from unbraid_course.watch import watch
from unbraid_own.data import load

from papers.judge import fit_judge
from papers.run import LogarithmicSchedule, weight_schedules
from papers.selections import DigitPaths, withhold
from papers.settings import RunSettings

X, Y = np.random.default_rng(0).normal(size=(2, 20, 2))
CONSTANT, NAN = np.column_stack([X[:, 0], np.full(20, 7.0)]), np.where(X[3, 1] == X, np.nan, X)
HAIR, CODE = np.arange(60) % 6, np.random.default_rng(1).normal(size=(60, 4))
STEPS = np.ones((60, 9, 2)) + CODE[:, None, :2]
P = np.eye(2)[[0, 1, 0, 1]]
VALUES = torch.rand(2, 3, 4, 4)
WIDE = DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 3))
NARROW = DiagonalGaussian(torch.zeros(2, 1), torch.zeros(2, 1))
MODEL = torch.nn.Linear(1, 1)  # has a device, which is all that is asked before a refusal
FRAMES, NONE = torch.rand(3, 4, 1, 2, 2), torch.zeros(3, 4, dtype=torch.bool)
ROW, STEP = torch.arange(3), torch.arange(12).view(3, 4)
MASK = STEP != 11  # The last sequence has three frames.
NAMES = {"step": tuple(map(str, range(12)))}
SHORT = Sequences(FRAMES, {"row": ROW, "step": STEP}, ("row",), ("step",), mask=MASK, classes=NAMES)
DIGITS = Digits(torch.zeros(2, 28, 28).byte(), torch.arange(2), "train", "black")
JUDGE = SequenceJudge({"motion": ("left", "right")}, 16, 3, 8, 16, 16)
CLIPS = torch.rand(2, 4, 3, 16, 16)
SMALL = CLIPS[..., :8, :8]
FACTORS = {"factor_0": torch.rand(3, 5, 6), "factor_1": torch.rand(3, 5, 6)}
FIRST = {name: code[:1] for name, code in FACTORS.items()}
PREDICTION = IndependentPrediction(image_size=16, width=4, factor_size=2)
PAIRS = UnorderedFrames(image_size=8, widths=(4,), static_size=4, dynamic_size=2)
STATIC = torch.rand(3, 4)
ELEMENT = SingleElement(image_size=8, width=4)
PEOPLE, CUT = np.arange(60) // 10, np.arange(60) % 3 == 0
MATRIX = leakage_matrix({"x": CODE}, {"y": HAIR}, permutations=1)
PLACES = torch.rand(1, 5, 2, 2)


def leak(codes=CODE, factor=HAIR, **options):
    return leakage_matrix({"x": codes}, {"y": factor}, **options)


def fit(**options):
    draw = SequenceSampler(Sequences(SMALL))
    options = {"batch_size": 2, **options}
    return training.fit(ELEMENT, draw, steps=1, accelerator="cpu", **options)


def answer(judge, found):
    exercises.expect("0.0", judge=judge)
    return exercises.check("0.0", found)


FAULTS = (  # the field, and the call
    ("k", lambda: kraskov(X, Y, k=20)),
    ("shuffles", lambda: kraskov(X, Y, shuffles=1.5)),
    ("jitter", lambda: kraskov(X, Y, jitter=1e6)),
    ("x, y", lambda: kraskov(X, Y[:15])),
    ("x", lambda: kraskov(NAN, Y)),
    ("x", lambda: kraskov(X[:1], Y[:1])),
    ("y", lambda: kraskov(X, CONSTANT)),
    ("labels", lambda: ross(X, Y[:, 0])),
    ("labels", lambda: ross(X, np.zeros(20, int))),
    ("before, after", lambda: same_and_cross([X], [Y, Y])),
    ("before, after", lambda: same_and_cross(np.stack([X, X], 1), np.stack([Y, Y], 1))),
    ("before, after", lambda: cross_block(X, Y[:5])),
    ("codes", lambda: leakage_matrix(CODE, HAIR)),
    ("code 'x'", lambda: leak(np.arange(60.0))),
    ("codes, factors", lambda: leak(CODE[:50])),
    ("codes", lambda: leakage_matrix({"x": STEPS, "z": STEPS[:, 1:]}, {"y": HAIR})),
    ("codes", lambda: leakage_matrix({1: CODE}, {"y": HAIR})),
    ("factors", lambda: leakage_matrix({"x": CODE}, {})),
    ("code 'x'", lambda: leak([[1.0], [2.0, 3.0]])),
    ("factor 'y'", lambda: leak(factor=[[1], [2, 3]] * 30)),
    ("factor 'y': .*None", lambda: leak(factor=["a", None, "b"] * 20)),
    ("factor 'y': .*one-hot", lambda: leak(factor=np.eye(6)[HAIR])),
    ("factor 'y': .*one-hot", lambda: leak(factor=np.eye(6, dtype=bool)[HAIR])),
    ("factor 'y': .*one-hot", lambda: leak(STEPS[:, :6], np.eye(6, dtype=int)[HAIR])),
    ("groups: .*one$", lambda: leak(groups=["one"] * 60)),
    ("test", lambda: leak(test=np.float32(1.5))),
    ("probe", lambda: leak(probe="deep")),
    ("pooling", lambda: leak(pooling="mean")),
    ("groups", lambda: leak(groups=HAIR[:9])),
    ("groups", lambda: leak(groups=["a", None] * 30)),
    ("test", lambda: leak(test=np.ones(60, bool))),
    ("test", lambda: leak(test=[1, 2, 99])),
    ("test", lambda: leak(test=np.nan)),
    ("factor 'y'", lambda: leak(factor=np.zeros(60, int))),
    ("factor 'y'", lambda: leak(CODE[:1], HAIR[:1])),
    ("factor 'y'", lambda: leak(STEPS, np.arange(300).reshape(60, 5))),
    ("factor 'y'", lambda: leak(factor=np.arange(60) < 1, test=np.arange(9, 20))),
    ("values", lambda: mean_interval([])),
    (r"values: expected \(n,\)", lambda: mean_interval(CODE)),
    ("values", lambda: mean_interval([1.0, np.nan])),
    ("values", lambda: mean_interval(["a", "b"])),
    ("probabilities", lambda: entropies(P * [[1, np.nan]])),
    ("probabilities", lambda: entropies(P * 0.999)),
    ("count", lambda: random_donors(1)),
    ("data", lambda: encode_all(MODEL, FRAMES[:0])),
    ("model: .*meta", lambda: encode_all(torch.nn.Linear(1, 1, device="meta"), FRAMES)),
    ("samples: .*Sequences", lambda: bound_per_frame(MODEL, SHORT, seed=0)),
    ("size", lambda: encode_all(MODEL, FRAMES, size=0)),
    ("samples", lambda: bound_per_frame(MODEL, [], seed=0)),
    ("second", lambda: root_mean_square(FRAMES, FRAMES[:1])),
    ("first", lambda: root_mean_square(FRAMES[:0], FRAMES[:0])),
    ("observed", lambda: dist.gaussian_log_likelihood(VALUES, VALUES, 0.1, VALUES)),
    ("observed", lambda: dist.gaussian_log_likelihood(VALUES, VALUES, 0.1, NONE)),
    ("dimensions", lambda: dist.gaussian_log_likelihood(VALUES, VALUES, 0.1, None, 9)),
    ("frames", lambda: dist.bernoulli_log_likelihood(VALUES * 9, VALUES)),
    ("frames", lambda: dist.bernoulli_log_likelihood(VALUES * math.nan, VALUES)),
    ("noise", lambda: WIDE.draw(0)),
    ("variance", lambda: dist.gaussian_log_likelihood(VALUES, VALUES, 0)),
    ("variance", lambda: dist.gaussian_log_likelihood(VALUES, VALUES, math.nan)),
    ("variance: .*tensor", lambda: dist.gaussian_log_likelihood(VALUES, VALUES, VALUES.mean())),
    ("values: .*255", lambda: dist.gaussian_log_likelihood(VALUES.byte(), VALUES, 0.1)),
    ("mean", lambda: dist.gaussian_log_likelihood(VALUES, VALUES[:1], 0.1)),
    ("logits", lambda: dist.bernoulli_log_likelihood(VALUES, VALUES[:1])),
    ("log_variance", lambda: DiagonalGaussian.from_outputs(torch.zeros(2, 5))),
    ("log_variance", lambda: DiagonalGaussian(VALUES, VALUES[..., :1])),
    ("p", lambda: dist.kl(WIDE, NARROW)),
    ("noise", lambda: WIDE.draw(torch.zeros(3, 3))),
    ("value", lambda: WIDE.log_prob(torch.zeros(2, 1))),
    ("source", lambda: fetch.find("wether")),
    ("source", lambda: fetch.fetch("wether")),
    ("only", lambda: fetch.verify("weather", ["weather.cvs"])),
    ("motion", lambda: DigitPaths(DIGITS, 32, 5, motion="spiral")),
    ("speeds", lambda: DigitPaths(DIGITS, 32, 5, speeds=(1.0,))),
    ("kept", lambda: DigitPaths(DIGITS, 32, 5, kept=6)),
    ("length", lambda: FrameSampler(SHORT, 0)),
    ("length", lambda: FrameSampler(SHORT, 1.5)),
    ("length", lambda: FrameSampler(SHORT, 4)),
    ("sequences", lambda: FrameSampler(FRAMES, 1)),
    ("sequences", lambda: FrameSampler(Sequences(torch.zeros(3, 5, 2)), 1)),
    ("count", lambda: FrameSampler(SHORT, 1)(-1, torch.Generator())),
    ("generator", lambda: FrameSampler(SHORT, 1)(2, 0)),
    ("count", lambda: MovingDigits(DIGITS, 32, 5)(2.5, torch.Generator())),
    ("generator", lambda: MovingDigits(DIGITS, 32, 5)(2, None)),
    ("label", lambda: withhold(SHORT, "row", 0.5)),
    ("share", lambda: withhold(SHORT, "step", 1)),
    ("frames", lambda: JUDGE.probabilities(CLIPS[..., :8])),
    ("frames", lambda: JUDGE.probabilities(CLIPS.mul(255).byte())),
    ("frames", lambda: judge_classes(JUDGE, CLIPS.mul(255).byte())),
    ("frames", lambda: JUDGE.probabilities(CLIPS + 0.5)),
    ("frames", lambda: JUDGE.probabilities(CLIPS * math.nan)),
    ("steps", lambda: fit_judge(JUDGE, None, 0)),
    ("classes", lambda: SequenceJudge({"motion": ("left",)})),
    ("image_size", lambda: SequenceJudge({"motion": ("left", "right")}, 0)),
    ("width", lambda: SequenceJudge({"motion": ("left", "right")}, 16, 3, 0)),
    ("name", lambda: swap(FACTORS, FACTORS, "static")),
    ("factor_0", lambda: swap(FACTORS, FIRST, "factor_0")),
    ("name", lambda: move_one(FACTORS, "dynamic")),
    ("codes", lambda: move_one(STATIC, "static")),
    ("b", lambda: move_one({"a": FRAMES[0], "b": FRAMES[0, :, :, 0]}, "a")),
    ("codes", lambda: traverse(FACTORS, "factor_0", 0, torch.zeros(2))),
    ("unit", lambda: traverse(FIRST, "factor_0", 6, torch.zeros(2))),
    ("unit", lambda: traverse(FIRST, "factor_0", 0.0, torch.zeros(2))),
    ("values", lambda: traverse(FIRST, "factor_0", 0, torch.tensor([math.nan, 1]))),
    ("values", lambda: traverse(FIRST, "factor_0", 0, torch.zeros(0))),
    ("knots", lambda: Schedule([[0, 1e-3], [100, 1e-4]])),
    ("knots", lambda: Schedule([[0.5, 1], [0.2, 2]])),
    ("knots", lambda: Schedule([[0, math.nan]])),
    ("knots", lambda: Schedule([])),
    ("knots", lambda: Schedule([0, 1])),
    ("knots", lambda: LogarithmicSchedule([[0, 0], [1, 1]])),
    ("weight_interpolation", lambda: weight_schedules(RunSettings(weight_interpolation="cubic"))),
    ("x", lambda: kraskov(X * 1e200, Y)),
    ("code 'x'", lambda: leak(CODE * 1e-310)),
    ("factor 'y'", lambda: leak(factor=np.ma.masked_array(HAIR, HAIR > 1))),
    ("value", lambda: WIDE.log_prob(np.zeros((2, 3)))),
    ("first", lambda: root_mean_square(CODE, CODE)),
    ("frames", lambda: JUDGE.probabilities(CLIPS.numpy())),
    ("frames", lambda: judge_classes(JUDGE, CLIPS[..., :8])),
    ("frames", lambda: judge_classes(JUDGE, 255 * CLIPS)),
    ("frames", lambda: judge_classes(JUDGE, 2 * CLIPS - 1)),
    ("frames", lambda: judge_classes(JUDGE, CLIPS[..., ::2, ::2])),
    ("frames", lambda: judge_classes(JUDGE, CLIPS[0, 0])),
    ("frames", lambda: judge_classes(JUDGE, CLIPS.numpy())),
    ("name", lambda: load_judge(None)),
    ("rows", lambda: FrameSampler(SHORT, 1).take(ROW - 1, STEP[:, :1])),
    ("steps", lambda: FrameSampler(SHORT, 1).take(ROW, STEP[:, :1] + 4)),
    ("rows", lambda: FrameSampler(SHORT, 1).take(ROW / 2, STEP[:, :1])),
    (r"labels\['row'\]: .* from 0 to 2", lambda: replace(SHORT, classes={"row": ("a",)})),
    ("frames", lambda: Sequences(torch.rand(2, 3, 4, 4, 1))),
    (r"labels\['a'\]", lambda: Sequences(FRAMES, {"a": ROW / 0.0 * 0}, ("a",))),
    ("weights.kl", lambda: Bound(ROW, {"a": ROW}, 3).loss({"kl": -1.0})),
    ("weights", lambda: Bound(ROW, {"a": ROW}, 3).loss(0.5)),
    ("codes", lambda: decode_all(PREDICTION, {"static": STATIC})),
    ("model: .*UnorderedFrames", lambda: dynamic_given(ELEMENT, FRAMES, STATIC)),
    ("path", lambda: UnorderedFrames.load(None)),
    ("name: .*inside", lambda: records.weights("/etc/passwd")),
    ("name: .*inside", lambda: records.weights("../../etc/passwd")),
    ("static", lambda: dynamic_given(PAIRS, torch.rand(2, 3, 3, 8, 8), torch.zeros(1, 4))),
    ("share", lambda: series.held_out(10, 85, 0)),
    ("values", lambda: series.daily_mean(torch.zeros(2, 25))),
    ("waveform", lambda: speech.equal_level(torch.tensor([math.nan]))),
    ("chunks", lambda: speech.magnitudes(torch.ones(2, 1600, dtype=int), 8000)),
    ("train", lambda: speech.SpectrumScale.fit(Sequences(-torch.rand(2, 3, 4)))),
    ("whole", lambda: speech.cut([torch.rand(800)])),
    ("samples: .*4 steps", lambda: bound_per_frame(PAIRS, [SMALL, SMALL[:, :3]], 0)),
    ("test: .*groups", lambda: leak(groups=PEOPLE, test=CUT)),
    ("factor 'y': .*30 classes", lambda: leak(factor=[f"clip {row}" for row in range(60)])),
    ("cell", lambda: MATRIX["static"]),
    ("cell", lambda: MATRIX["id"]),
    ("value: .*matrix.value", lambda: plots.leakage(MATRIX)),
    ("digits", lambda: MovingDigits(DIGITS._replace(images=DIGITS.images / 255), 32, 5)),
    ("digits", lambda: MovingDigits(DIGITS._replace(labels=torch.arange(3)), 32, 5)),
    ("digits", lambda: MovingDigits(DIGITS._replace(labels=torch.rand(2)), 32, 5)),
    ("frames: .*int64", lambda: as_float(torch.arange(256))),
    ("frames: .*ndarray", lambda: as_float(np.zeros(3, np.uint8))),
    ("values", lambda: traverse(FIRST, "factor_0", 0, torch.zeros(3, 2))),
    ("window", lambda: SingleElement(image_size=8, width=4, window=3)),
    ("rows", lambda: records.as_csv([{"a": 1}, {"b": 2}])),
    ("rows: .*none", lambda: records.as_csv([])),
    ("name", lambda: records.weights(None)),
    ("poses", lambda: sprites.visible_attributes(["qwerty"])),
    ("sizes", lambda: plots.blocks(None, 3)),
    ("count", lambda: series.held_out(-3, 0.5, 0)),
    ("generator: .*torch.* numpy", lambda: FrameSampler(SHORT, 1)(2, np.random.default_rng())),
    ("sequences: .*Sequences", lambda: plots.grid(SHORT)),
    ("sequences", lambda: plots.grid(CLIPS[:0])),
    ("clips", lambda: films.film(CLIPS[0], "A clip of noise.")),
    ("figure", lambda: plots.show(None, "A figure without one.")),
    ("draw", lambda: films.animate(print, 2, "Figures that are not returned.")),
    ("codes: .*Tensor", lambda: decode_all(PAIRS, STATIC)),
    ("codes: .*Sequences", lambda: decode_all(PAIRS, SHORT)),
    ("model: .*the class", lambda: encode_all(SingleElement, SHORT)),
    ("seed", lambda: generator_for(MODEL, 0.1)),
    ("kl", lambda: Bound(ROW, ROW, 3)),
    ("classes", lambda: FrameJudge(["a"])),
    ("classes", lambda: load_judge("sprites", ["a"])),
    ("x", lambda: same_and_cross([STEPS], [STEPS])),
    ("exercise", lambda: exercises.check(1.1, 0)),
    ("number: .*11.*, 22, 32", lambda: workshop.check("12", "kl", None)),
    ("dynamic: .*none", lambda: checks.check_name("dynamic", "x", [])),
    ("labels: .{,300}$", lambda: checks.refuse("labels", "others", STEPS)),
    ("length", lambda: Bound(ROW, {"a": ROW}, 0)),
    # flags
    ("sample: .*bool, found str", lambda: load_digits(sample="no")),
    ("raw: .*bool, found str", lambda: kraskov(X, Y, raw="no")),
    # what is no array
    *[("factor 'y': .*list", lambda y=y: leak(factor=y)) for y in (None, 3, "y", {"a": 1}, {1, 2})],
    ("factor 'y': .*found <map", lambda: leak(factor=map(int, HAIR))),
    ("factor 'y': .*found <function", lambda: leak(factor=leak)),
    *[("x: .*found .*list", lambda x=x: kraskov(x, Y)) for x in ({"x": X}, SHORT, iter(X), {1, 2})],
    ("x: .*found NoneType; leave", lambda: kraskov([1.0, None] * 10, Y)),
    ("x: .*str_; .*unique", lambda: kraskov(["a", "b"] * 10, Y)),
    (r"labels\['a'\]: .*unique", lambda: Sequences(FRAMES, {"a": ["x", "y", "z"]}, ("a",))),
    (r"labels\['a'\]: .*found set", lambda: Sequences(FRAMES, {"a": {1, 2}}, ("a",))),
    # what the message has to tell
    ("samples: .*Tensor", lambda: bound_per_frame(PAIRS, SMALL, 0)),
    ("observed: .*list", lambda: dist.gaussian_log_likelihood(VALUES, VALUES, 0.1, [True])),
    ("mean: .*int64", lambda: DiagonalGaussian(ROW, ROW)),
    ("ours: .*list", lambda: difference_interval([1.0], [2.0])),
    ("count: .* to 16777216", lambda: FrameSampler(SHORT, 1)(10**12, torch.Generator())),
    ("test: .*rows as a list .*found 30", lambda: leak(test=30)),
    ("test: .*share.*found '0.3'", lambda: leak(test="0.3")),
    ("test: .*whole numbers, found .1.0", lambda: leak(test=[1.0, 2.0])),
    ("pooling: .*one or more of flattened, .*found none", lambda: leak(STEPS, pooling=())),
    ("factor 'y': .*in the test", lambda: leak(CODE, PEOPLE < 1, groups=PEOPLE, test=PEOPLE > 2)),
    ("static: .*list of names", lambda: Sequences(FRAMES, {"hair": ROW}, "hair")),
    (r"static: expected \(2, 4\)", lambda: dynamic_given(PAIRS, SMALL, STATIC[:2, :3])),
    ("batch_size: .* to 16777216", lambda: fit(batch_size=10**12)),
    ("log_variance: .*finite", lambda: DiagonalGaussian(VALUES, VALUES + math.inf)),
    # names
    ("poses: .*list of names", lambda: sprites.visible_attributes("walk front 0")),
    ("poses: .*did you mean", lambda: sprites.visible_attributes(["walk front 9"])),
    ("poses: .{,2000}$", lambda: sprites.visible_attributes(["walk"])),
    ("dynamic: .*found True", lambda: checks.check_names("dynamic", True)),
    (r"classes\['row'\]: .*differ", lambda: replace(SHORT, classes={"row": ("a", "a", "b")})),
    (r"classes\['row'\]: .*list of names", lambda: replace(SHORT, classes={"row": "abc"})),
    (r"classes\['side'\]: .*list of names", lambda: FrameJudge({"side": "left"})),
    ("classes: .*a dot", lambda: FrameJudge({"top.colour": ("red", "blue")})),
    ("number: expected one of .*'?11'?, .*22", lambda: workshop.check(11, "kl", None)),
    # functions and loops
    ("draw: .*Callable", lambda: films.explore("draw", unit=(0, 3))),
    ("draw: .*Callable", lambda: list(watch(range(3), None, "A figure of nothing."))),
    ("training: .*Iterable", lambda: list(watch(3, print, "A figure of nothing."))),
    ("samples: .*SingleElement", lambda: bound_per_frame(MODEL, ELEMENT, 0)),
    ("judge: .*str, found bool", lambda: answer(lambda found: found > 2, 3)),
    # paths
    ("path: .*None", lambda: ELEMENT.save(None)),
    ("path: .*None", lambda: records.read_json(None)),
    ("path: .*None", lambda: plots.show_svg(None, "A drawing of nothing.")),
    ("path: .*dict", lambda: records.write_json({"loss": 1}, "w.json")),
    ("checkpoint: .*int", lambda: fit(checkpoint=5)),
    # objects of other classes
    ("judge: .*SingleElement", lambda: judge_classes(ELEMENT, CLIPS[:, 0])),
    ("frames: .*one or more", lambda: judge_classes(JUDGE, CLIPS[:0])),
    ("ax: .*Axes or None, found str", lambda: plots.grid(CLIPS, ax="left")),
    ("ax: .*Axes or None, found str", lambda: plots.heatmap(X, ax="left")),
    ("matrix: .*<U1", lambda: plots.heatmap([["a", "b"]])),
    ("matrix: .*object", lambda: plots.heatmap(MATRIX)),
    ("matrix: .*infinity", lambda: plots.heatmap([[1, math.inf]])),
    ("high", lambda: plots.heatmap(X, high=0)),
    ("digits", lambda: plots.heatmap(X, digits=-1)),
    ("p_values: .*0 to 1", lambda: plots.leakage(X, p_values=100 * X)),
    ("rows", lambda: plots.table_axes(0, 3)),
    ("values: .*list", lambda: IndependentPrediction.config_class.of(["factors"])),
    # numbers of rows
    (r"rows: .*\(B\) from 0 to 2", lambda: FrameSampler(SHORT, 1).steps([0, 3], torch.Generator())),
    ("generator", lambda: FrameSampler(SHORT, 1).each(0)),
    (r"steps: .*\(3, N\)", lambda: FrameSampler(SHORT, 1).take(ROW, ROW)),
    ("which: .*0 to 1", lambda: MovingDigits(DIGITS, 32, 5).render([[0, -1]], PLACES)),
    (r"which: .*\(1, 2\)", lambda: MovingDigits(DIGITS, 32, 5).render([[0, 1]] * 2, PLACES)),
    ("which", lambda: MovingDigits(DIGITS, 32, 5).render([[0.0, 1.0]], PLACES)),
    ("seed", lambda: series.held_out(20, 0.5, -1)),
    ("values: .*ndarray", lambda: series.daily_mean(np.zeros((2, 48)))),
    ("waveform: .*one recording", lambda: speech.equal_level(torch.rand(2, 800))),
    # what is written
    (r"w.json\['a'\]\[1\]: .*nan", lambda: records.write_json("w.json", {"a": [0, math.nan]})),
    (r"w.json\['a'\]: .*float32", lambda: records.write_json("w.json", {"a": np.float32(1)})),
    ("a name in w.json: .*int64", lambda: records.write_json("w.json", {np.int64(1): 0})),
    (r"identity\['data'\]: .*object", lambda: fit(identity={"data": object()})),
    (r"identity\['data'\]: .*tolist", lambda: fit(identity={"data": X})),
    (r"rows\[0\]: .*found str", lambda: records.write_csv("w.csv", {"loss": 1})),
    ("content: .*ndarray", lambda: write_atomically("w", X)),
    # a single thing for a list, an array for a name, a table for a path, a misspelt option
    ("ours, others: .*one seed", lambda: difference_interval({}, {})),
    ("labels: .*found dict; of a dict", lambda: ross(X, {"a": HAIR})),
    ("units: expected 1", lambda: plant(CODE, HAIR, units=[0.5])),
    ("labels: expected a list, found 3", lambda: plots.grid(CLIPS, labels=3)),
    ("rows: .*list", lambda: plots.heatmap(X, rows=None)),
    ("name: expected one of", lambda: swap(FACTORS, FACTORS, X)),
    ("split: .*None", lambda: Sequences(FRAMES, split=None)),
    ("draw: .*of count, generator", lambda: training.fit(ELEMENT, id, steps=1, batch_size=1)),
    ("draw: .*no argument", lambda: list(watch([1], lambda step: step, "A figure of nothing."))),
    # shares and sizes
    ("share", lambda: schedule_value([[0, 1], [1, 0]], 50)),
    ("share", lambda: Schedule([[0, 1], [1, 0]])(math.nan)),
    ("features", lambda: FrameJudge({"digit": ("0", "1")}, 16, features=8.0)),
    ("kind: .*series", lambda: PublishedSeries(kind="images", window=1)),
    ("hidden_layers", lambda: networks.mlp(1, 1, 1, -1)),
    ("activation: .*nan", lambda: networks.activation(math.nan)),
    ("frames", lambda: list(batches(MODEL, VALUES, frames=0))),
    (r"noise: .*each of \(2, 3\), found \(3,\)", lambda: WIDE.draw(torch.zeros(3))),
    ("train: .*vary", lambda: series.standardise(STEPS[:, :, :1], CODE[:, None, :1] * 0)),
    # what does not fit beside another thing
    ("a: .*one width", lambda: concatenate([{"a": STEP}, {"a": ROW[:, None]}])),
    ("a: .*one width", lambda: concatenate([{"a": STEP}, {"b": STEP}])),
    ("ours, others: .*one type", lambda: difference_interval({0: 1.0}, {"0": 1.0})),
    ("draw: .*one size", lambda: films.animate(lambda n: Figure((n + 1, 1)), 2, "Two figures.")),
    # a module without weights, a generator of another kind, a place elsewhere
    ("model: .*weights", lambda: generator_for(torch.nn.Identity(), 0)),
    ("model: .*Module, found str", lambda: networks.evaluating("model").__enter__()),
    ("generator: .*numpy", lambda: ELEMENT.draw_noise(1, 2, np.random.default_rng(0))),
    ("name: .*inside results", lambda: load_judge(Path("/judges"))),
    ("path: .*DataFrame", lambda: load(pd.DataFrame())),
    # pages' and teachers' calls
    ("prepared: .*Mapping, found str", lambda: films.explore(print, {"n": 1}, n=(0, 3))),
    (r"calls\[0\]: .*tuple", lambda: exercises.expect("0.0", len, calls=["ab"])),
    ("decimals", lambda: exercises.expect("0.0", 0.5, decimals="2")),
    ("answers: .*answer_13_1", lambda: exercises.check_all(answer131=0)),
    ("run: .*gathers", lambda: tell("12", [1, 2])),
    ("run: .*gathers", lambda: tell("15", [(0, np.eye(2))])),
    ("number: .*did you mean", lambda: workshop.save(11)),
    ("cells: .*one text", lambda: workshop.save("11", "def kl(q, p): ...")),
)


@pytest.mark.parametrize("field, call", FAULTS)
def test_what_would_give_another_number_is_refused_by_name(field, call):
    with pytest.raises(ValueError, match=f"^{field}" + ": " * (": " not in field)):
        call()
