"""Paper C's evaluation on a made world, in which figures are known."""

import math
from types import SimpleNamespace

import pytest
import torch
from helpers import seeded
from torch import nn
from torch.nn.functional import one_hot
from unbraid.data import sprites
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES
from unbraid.models.base import Batch, Bound

from papers import datasets, evaluation, settings
from papers.c import evaluate as clips
from papers.c.evaluate import class_labels
from papers.encoded import encode, prior_means
from papers.run import build

PEOPLE, T = 60, 8


def paint(attributes, motion, size=8):
    """Frames (N, T, 3, size, size), black but for stamps of classes (N, 4) and motions (N, T)."""
    frames = torch.zeros(len(attributes), T, 3, size, size)
    frames[:, :, 0, 0, :4] = attributes[:, None].float() / 10
    frames[:, :, 1, 0, 0] = motion.float() / 10
    return frames


def read(frames):
    """The stamps: attributes (N, 4), and the motion of most frames, (N,)."""
    motion = (frames[:, :, 1, 0, 0] * 10).round().long().mode(1).values
    return (frames[:, 0, 0, 0, :4] * 10).round().long(), motion


def world(people=PEOPLE, seed=0):
    """`people` characters in nine motions each, character by character."""
    looks = torch.randperm(6**4, generator=seeded(seed))[:people]  # no two people are alike
    attributes = (looks[:, None] // 6 ** torch.arange(4) % 6).repeat_interleave(9, 0)
    motion = torch.arange(9).repeat(people)
    labels = dict(zip(ATTRIBUTES, attributes.T.contiguous(), strict=True))
    labels |= {"character": torch.arange(people).repeat_interleave(9), "motion": motion}
    labels |= {"action": motion // 3, "direction": motion % 3}
    classes = sprites.CLASSES | {"motion": sprites.MOTION_NAMES}
    classes |= {"action": sprites.ACTIONS[:3], "direction": sprites.DIRECTIONS[:3]}
    frames = paint(attributes, motion[:, None].expand(-1, T))
    return Sequences(frames, labels, tuple(labels), (), "test", "a made world", None, classes)


def test_the_characters_measured_are_drawn_at_random_each_in_all_motions(monkeypatch):
    monkeypatch.setattr(datasets, "load_sequences", lambda name, split, settings: world())
    monkeypatch.setattr(datasets, "CHARACTERS", {"test": (12, 12), "train": (30, 30)})
    chosen = settings.RunSettings(dataset="sprites")
    parts = {split: datasets.load_clips(chosen, split, 0) for split in ("test", "train")}
    for split, count in (("test", 12), ("train", 30)):
        labels = parts[split].labels
        character, motion = (labels[name].view(count, 9) for name in ("character", "motion"))
        assert (character == character[:, :1]).all()  # one character after the other
        assert motion.sort(1).values.tolist() == [list(range(9))] * count
        assert len(character[:, 0].unique()) == count
        assert character[:, 0].tolist() != list(range(count))  # not the first ones
    again = datasets.load_clips(chosen, "test", 1)  # the same characters for all seeds
    assert torch.equal(again.frames, parts["test"].frames)


class Painter(nn.Module):
    """static: attributes and the motion as indicators; dynamic: both as numbers.

    kind: "right" takes each from where it belongs; "direction" takes the direction from the static
    code, "collapsed" everything from the dynamic one; "stray" draws dynamic codes that are no
    motion, although their prior's means are.
    """

    def __init__(self, kind="right"):
        super().__init__()
        self.weight, self.kind = nn.Parameter(torch.zeros(1)), kind

    def encode(self, batch, noise=None):
        attributes, motion = read(Batch.of(batch).frames)
        kept = one_hot(motion, 9) * (self.kind == "direction")
        static = torch.cat([one_hot(attributes, 6).flatten(1), kept], 1)
        dynamic = torch.cat([motion[:, None], attributes], 1)[:, None].expand(-1, T, -1)
        return {"static": static.float(), "dynamic": dynamic.float()}

    def decode(self, codes):
        attributes = codes["static"][:, :24].unflatten(1, (4, 6)).argmax(2)
        kept = codes["static"][:, None, 24:].argmax(2)
        motion = codes["dynamic"][:, :, 0].round().long()
        if self.kind == "collapsed":
            attributes = codes["dynamic"][:, 0, 1:].round().long()
        if (codes["dynamic"] != codes["dynamic"].round()).any():
            attributes = torch.zeros_like(attributes)
        if self.kind == "direction":
            motion = motion // 3 * 3 + kept % 3
        return paint(attributes, motion)

    def generate(self, count, length, noise, given):
        attributes = torch.randint(6, (count, 4), generator=noise)
        motion = torch.randint(9, (count, 1), generator=noise).expand(-1, length)
        codes = self.encode(paint(attributes, motion))
        if self.kind == "stray":
            codes["dynamic"][..., 0] += 0.25
        return codes | given

    def prior(self, dynamic):
        return SimpleNamespace(mean=dynamic.round())

    def elbo(self, batch, noise):
        ones = torch.ones(len(Batch.of(batch).frames))
        return Bound(-3.0 * T * ones, {"static": 4 * ones, "dynamic": T * ones}, T)


class Reader:
    """A judge that reads the stamps, and so is always right."""

    sizes = {"image_size": 8}

    def probabilities(self, frames):
        attributes, motion = read(frames)
        named = dict(zip(ATTRIBUTES, one_hot(attributes, 6).float().unbind(1), strict=True))
        return named | {"motion": one_hot(motion, 9).float()}


@pytest.fixture(scope="module")
def test_clips():
    return world()


@pytest.mark.parametrize(
    "kind, leaking, nearest",
    [
        ("right", (), (1, 1)),
        ("direction", ("motion_direction",), (0.2, 0.45)),
        ("collapsed", ATTRIBUTES, (0, 0.02)),
    ],
)
def test_swaps_follow_the_right_donor_but_in_what_leaks(kind, leaking, nearest, test_clips):
    """Where the static code keeps the direction, a third of the pairs agree in it by chance."""
    model = Painter(kind)
    test, labels = encode(model, test_clips), class_labels(test_clips)
    figures = clips.swaps(model, test, Reader(), labels, 0)
    assert figures["plain_nearest"] == 1  # what is lost is lost in the swap
    for name, kinds in clips.SHARES.items():
        lost = name in leaking
        shares = {kind: figures.get(f"swap_{kind}{name}") for kind in ("", "differing_", "leak_")}
        assert [kind for kind, share in shares.items() if share is not None] == [*kinds]
        assert shares["leak_"] in (None, float(lost))
        assert shares["differing_"] in (None, float(not lost))
        assert shares[""] is None or (shares[""] < 0.4 if lost else shares[""] == 1)
    assert nearest[0] <= figures["swap_nearest"] <= nearest[1]


def test_the_nearest_clip_is_found_by_squared_error():
    """Against all distances one by one, on frames of noise."""
    known = world(10)
    frames, known.frames[:] = torch.rand(2, *known.frames.shape, generator=seeded())
    distances = torch.cdist(frames.flatten(1).double(), known.frames.flatten(1).double())
    nearest = distances.argmin(1)
    assert clips.share_nearest(frames, known, nearest) == 1
    assert clips.share_nearest(frames, known, (nearest + 1) % len(frames)) == 0


def test_codes_kept_and_codes_drawn(test_clips):
    def generate(kind):
        model = Painter(kind)
        test, labels = encode(model, test_clips), class_labels(test_clips)
        return clips.generations(model, test, Reader(), labels, 0)

    figures = generate("right")
    assert figures["accuracy"] == 1 and figures["inception_score"] == pytest.approx(9)
    assert figures["conditional_entropy"] == pytest.approx(0, abs=1e-9)
    assert figures["marginal_entropy"] == pytest.approx(math.log(9))
    stray = generate("stray")  # Kept on the means of the prior, not on draws.
    for name in ("hair", "skin"):
        assert figures[f"kept_{name}"] == stray[f"kept_{name}"] == 1


def test_the_means_of_the_prior_are_those_after_the_codes_that_were_drawn():
    model = build(settings.load("single_element.sprites", "smoke"), 0).eval()
    drawn = model.generate(3, 4, seeded())["dynamic"]
    means = prior_means(model, drawn)
    path = torch.cat([torch.zeros(3, 1, drawn.shape[2]), drawn[:, :-1]], 1)
    expected = model.prior.head(model.prior.recurrent(path)[0]).mean
    assert torch.allclose(means, expected, atol=1e-6) and not torch.allclose(means, drawn)
    drawn[:, 1] = 0  # as in the place of the anchor of the paper's formulas
    assert (prior_means(model, drawn)[:, 1] == 0).all()


def test_probes_tell_what_the_codes_hold(test_clips):
    """Twice the standard error of a skill over 540 clips of 60 characters is 0.1 of attributes."""
    train, test = (encode(Painter("direction"), part) for part in (world(120, seed=5), test_clips))
    for part in (train, test):
        part.codes["dynamic"] = part.codes["dynamic"][:, :, :1]
    figures = clips.clip_probes(train, test, 0)
    assert figures["static_probe_hair"] == 1 and abs(figures["dynamic_probe_hair"]) < 0.1
    assert figures["static_probe_motion_direction"] == 1


class Blurred(Painter):
    """The motion makes a small difference to s, and a draw is far wider."""

    def encode(self, batch, noise=None):
        codes = super().encode(batch)
        codes["static"][:, 24:] *= 0.01
        if noise is not None:
            codes["static"] += 0.2 * torch.randn(codes["static"].shape, generator=noise)
        return codes


def test_draws_hide_what_means_have_in_small_differences(test_clips):
    model, known = Blurred("direction"), world(120, seed=5)
    means = clips.clip_probes(encode(model, known), encode(model, test_clips), 0)
    draws = clips.draw_probes(model, known, test_clips, 0)
    assert means["static_probe_motion_direction"] == 1 and means["static_probe_hair"] == 1
    assert abs(draws["static_draw_probe_motion_direction"]) < 0.15
    assert draws["static_draw_probe_hair"] > 0.9
    assert draws == clips.draw_probes(model, known, test_clips, 0)


def test_all_figures_of_a_model_of_clips(monkeypatch, test_clips):
    worlds = {"train": world(30, seed=5), "test": test_clips}
    monkeypatch.setattr(datasets, "load_sequences", lambda name, split, settings: worlds[split])
    monkeypatch.setattr(clips, "open_judge", lambda *_, **__: Reader())
    names = {"model": "single_element", "dataset": "sprites", "profile": "smoke", "image_size": 8}
    sizes = settings.RunSettings(**names)
    figures = evaluation.evaluate(Painter(), sizes, 0)
    assert all(map(math.isfinite, figures.values()))
    assert figures["swap_hair"] == 1
    protocol = evaluation.describe_protocol(sizes)
    assert (protocol["data"], protocol["sequences"]) == ("a made world", 24 * 9)
