"""Paper B's evaluation on made worlds, where the figures of right and of wrong models are known."""

import math
from dataclasses import replace

import pytest
import torch
from helpers import seeded
from torch import nn
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ATTRIBUTES, CLASSES, POSE_NAMES
from unbraid.distributions import DiagonalGaussian

from papers import datasets, evaluation, settings
from papers.b import evaluate as unordered
from papers.encoded import Encoded, code_probes
from papers.run import build

PEOPLE, TIMES = 12, 10
LOOKS = tuple(f"transfer_{name}" for name in ATTRIBUTES)


def world():
    """12 characters in 10 poses: noise, but for two stamps, of who and of which pose."""
    shape = (PEOPLE, TIMES, 3, 8, 8)
    frames = torch.randint(0, 200, shape, generator=seeded(), dtype=torch.uint8)
    frames[:, :, 0, 0, 0] = 10 * torch.arange(PEOPLE)[:, None]
    frames[:, :, 1, 0, 0] = 10 * torch.arange(TIMES)
    pose = torch.arange(TIMES).expand(PEOPLE, -1)
    labels = {name: (torch.arange(PEOPLE) + shift) % 6 for shift, name in enumerate(ATTRIBUTES)}
    labels |= {"pose": pose, "action": pose // 4, "direction": pose % 4}
    names = {
        "pose": tuple(name for name in POSE_NAMES if name.startswith("walk"))[:TIMES],
        "action": ("walk", "cast", "slash"),
        "direction": ("front", "left", "right", "back"),
    }
    return Sequences(
        frames, labels, ATTRIBUTES, ("pose", "action", "direction"), classes=CLASSES | names
    )


def read_stamps(frames):
    """Who and which pose, read off frames (..., 3, 8, 8)."""
    return [(frames[..., channel, 0, 0] * 25.5).round().long() for channel in (0, 1)]


class Painter(nn.Module):
    """Knows all true frames.

    kind: "right" draws f's person in z's pose; "copy" the frame that z is of; "blind" one pose for
    all; "shifted" a pose that depends on f.
    """

    def __init__(self, sequences, kind="right"):
        super().__init__()
        self.weight, self.kind = nn.Parameter(torch.zeros(1)), kind
        self.frames = sequences.frames.float() / 255

    def features(self, frames):
        return frames

    def dynamic_posterior(self, features, static):
        who, pose = read_stamps(features)
        return DiagonalGaussian(torch.stack([pose, who], -1).float(), torch.zeros(*pose.shape, 2))

    def decode(self, codes):
        numbers = codes["dynamic"].round().long().clamp(min=0)
        pose, donor = numbers[..., 0] % TIMES, numbers[..., 1] % PEOPLE
        owner = codes["static"].argmax(-1)[:, None].expand_as(pose)
        if self.kind == "copy":
            return self.frames[donor, pose]
        if self.kind == "blind":
            pose = torch.full_like(pose, 3)
        if self.kind == "shifted":
            pose = (pose + owner) % TIMES
        return self.frames[owner, pose]


class Reader:
    """A judge that reads the stamps, and so is always right."""

    def __init__(self, sequences):
        self.labels, self.classes = sequences.labels, sequences.classes
        self.sizes = {"image_size": 8}

    def probabilities(self, frames):
        who, pose = read_stamps(frames)
        pose = pose % TIMES
        labels = {name: self.labels[name][who % PEOPLE] for name in ATTRIBUTES}
        labels |= {"pose": pose, "action": pose // 4, "direction": pose % 4}
        names = self.classes.items()
        return {name: nn.functional.one_hot(labels[name], len(of)).float() for name, of in names}


def transfer(kind, sequences=None):
    sequences = sequences or world()
    pairs = torch.stack([torch.arange(PEOPLE), (torch.arange(PEOPLE) + 1) % PEOPLE], 1)
    painter, judge = Painter(sequences, kind), Reader(sequences)
    transferred = unordered.transfer(painter, sequences, torch.eye(PEOPLE), pairs, judge=judge)
    return unordered.transfers(transferred, sequences)


def test_candidates_that_are_nearer_are_counted():
    candidates = torch.tensor([[0.0], [1.0], [2.0], [2.0], [5.0]])
    queries = torch.tensor([[0.4], [0.6], [2.0], [2.0], [4.9], [0.0]])
    nearer = unordered.count_nearer(queries, torch.tensor([0, 0, 2, 3, 0, 4]), candidates)
    assert nearer.tolist() == [0, 1, 0, 0, 4, 4]


def test_a_right_painter_hits_every_frame():
    figures = transfer("right")
    hits = ("pose_transfer_top1", "pose_transfer_both_top1", *LOOKS)
    assert {figures[name] for name in hits} == {1}


def test_who_copies_keeps_the_donors_attributes_and_who_looks_away_hits_by_chance():
    copied = transfer("copy")
    assert {copied[name] for name in ("pose_transfer_both_top1", *LOOKS)} == {0}
    blind = transfer("blind")
    assert blind["pose_transfer_top1"] == pytest.approx(1 / TIMES)
    assert blind["transfer_hair"] == 1


def test_a_repainted_frame_is_right_where_looks_and_poses_add_up():
    """Half of the people look as they like in each pose; the others are a look plus a pose."""
    looks = torch.rand(PEOPLE, 1, 3, 8, 8, generator=seeded())
    poses = torch.rand(TIMES, 3, 8, 8, generator=seeded(1))
    frames = (looks + poses) / 2
    wild = torch.arange(PEOPLE) % 2 == 1
    frames[wild] = torch.rand(6, TIMES, 3, 8, 8, generator=seeded(2))
    people = Sequences(frames)
    tame = torch.arange(0, PEOPLE, 2)
    name = "pose_transfer_both_top1_repainted"

    def repaint(b):
        return unordered.repainted_transfers(people, people, torch.stack([tame, b], 1))

    assert set(repaint(tame.roll(1)).values()) == {1}
    half = repaint(torch.where(tame % 4 == 0, tame.roll(2), tame + 1))
    assert half[name] == 0.5 and half[f"{name}_low"] < 0.3 and half[f"{name}_high"] > 0.7


@pytest.mark.parametrize("kind, coherence", [("right", 1), ("shifted", 2 / PEOPLE)])
def test_grids_of_those_who_agree_and_those_who_do_not(kind, coherence):
    """Twelve people, each of whom begins in another of ten poses: at most two are in one. Whoever
    wears the trousers of another number is never seen in the own one."""
    sequences, count = world(), TIMES * PEOPLE
    codes = torch.stack([torch.arange(TIMES).repeat(PEOPLE), torch.zeros(count)], 1)
    worn = {name: sequences.labels[name].clone() for name in ATTRIBUTES}
    worn["trousers"][:3] += 6
    others = torch.eye(PEOPLE), codes, 3, Reader(sequences), worn, seeded()
    figures = unordered.coherence(Painter(sequences, kind), *others)
    for name in ("grid_coherence", "grid_pose_coherence"):
        assert figures[name] == pytest.approx(coherence)
    assert figures["grid_skin"] == 1 and figures["grid_trousers"] == pytest.approx(9 / PEOPLE)
    assert figures["grid_pose_coherence_chance"] < 1


def test_what_no_pose_of_a_grid_shows_has_no_figure(monkeypatch):
    sequences = world()
    codes = torch.stack([torch.arange(TIMES), torch.zeros(TIMES)], 1)
    others = torch.eye(PEOPLE), codes, 3, Reader(sequences), sequences.labels, seeded()
    seen = {name: torch.full((TIMES,), name != "trousers") for name in ATTRIBUTES}
    monkeypatch.setattr(unordered, "visible_attributes", lambda poses: seen)
    figures = unordered.coherence(Painter(sequences, "right"), *others)
    assert "grid_trousers" not in figures and figures["grid_skin"] == 1


# ---- sharpness


class Edges(nn.Module):
    """Decodes frames as they are, times `contrast`."""

    def __init__(self, contrast):
        super().__init__()
        self.weight, self.contrast = nn.Parameter(torch.zeros(1)), contrast

    def encode(self, batch, noise=None):
        return {"dynamic": batch.frames.flatten(2)}

    def decode(self, codes):
        return self.contrast * codes["dynamic"].unflatten(2, (3, 8, 8))


@pytest.mark.parametrize("contrast", [1.0, 0.5])
def test_half_the_contrast_has_half_the_gradient(contrast):
    """A black frame with one white pixel in each channel."""
    frames = torch.zeros(PEOPLE, TIMES, 3, 8, 8)
    frames[..., 4, 4] = 1
    options = settings.RunSettings(length=4)
    figures = unordered.sharpness(Edges(contrast), Sequences(frames), options, 0)
    assert figures["reconstruct_gradient"] == pytest.approx(contrast)


def test_steps_between_neighbours_are_counted_across_and_down():
    ramp = torch.arange(4.0).expand(1, 1, 4, 4) * 0.1
    assert unordered.mean_step(ramp) == pytest.approx(0.1)
    assert unordered.mean_step(ramp + 2 * ramp.mT) == pytest.approx(0.3)


# ---- the prior of d


@pytest.mark.parametrize(("wide", "expected"), [(1e-3, 1 / TIMES), (1e3, 1 - 0.9**TIMES)])
def test_samples_of_a_wide_prior_show_most_poses_and_of_a_narrow_one_a_single_one(wide, expected):
    """Of ten poses in ten draws: 1 - .9^10 are seen if all are drawn alike."""
    sequences = world()
    painter = Painter(sequences)
    painter.encode = lambda batch, noise=None: {"static": torch.eye(PEOPLE)[: len(batch.frames)]}
    mean = torch.tensor([[[5000.0, 0.0]]]).expand(PEOPLE, 1, 2)
    log_variance = torch.tensor([2 * math.log(wide), -9.0]).expand(PEOPLE, 1, 2)
    painter.dynamic_prior = lambda static: DiagonalGaussian(mean, log_variance)
    draws = [unordered.sampled_poses(painter, sequences, Reader(sequences), s) for s in range(5)]
    found = sum(each["sampled_poses"] for each in draws) / len(draws)
    assert found == pytest.approx(expected, abs=0.04)


# ---- probes


def test_classes_are_read_where_they_are_written():
    """The static code holds `who`, the dynamic codes hold `what` of each frame."""
    generator, parts = seeded(0), []
    for count in (200, 100):
        who, what = torch.arange(count) % 4, torch.randint(3, (count, 5), generator=generator)
        codes = {}
        for name, classes in (("static", who), ("dynamic", what)):
            code = nn.functional.one_hot(classes).float()
            codes[name] = code + 0.1 * torch.randn(code.shape, generator=generator)
        parts.append(Encoded(Sequences(codes["dynamic"]), codes, {"who": who, "what": what}))
    figures = code_probes(*parts, seed=0)
    assert figures["static_probe_who"] == figures["dynamic_probe_what"] == 1
    assert abs(figures["dynamic_probe_who"]) < 0.1 and abs(figures["static_probe_what"]) < 0.15


def test_a_label_that_all_share_at_the_first_step_is_read_step_by_step_alone():
    """The hour is the number of the step, which the dynamic codes hold."""
    hour, parts = torch.arange(6), []
    for count in (60, 30):
        labels = {"hour": hour.repeat(count, 1), "who": torch.arange(count) % 2}
        dynamic = nn.functional.one_hot(labels["hour"]).float()
        codes = {"static": labels["who"][:, None].float(), "dynamic": dynamic}
        parts.append(Encoded(Sequences(dynamic), codes, labels))
    figures = code_probes(*parts, seed=0)
    assert figures.keys() == {"static_probe_who", "dynamic_probe_hour", "dynamic_probe_who"}
    assert figures["static_probe_who"] == figures["dynamic_probe_hour"] == 1


def test_a_small_model_has_every_figure_of_characters(monkeypatch):
    options, small = settings.load("unordered.sprites_poses", "smoke"), world()
    frames = small.frames.repeat_interleave(4, -1).repeat_interleave(4, -2)
    sequences = replace(small, frames=frames)
    monkeypatch.setattr(datasets, "load_sequences", lambda *_: sequences)
    monkeypatch.setattr(
        unordered, "open_judge", lambda *_, **__: Reader(sequences)
    )  # of 8 x 8 pixels
    figures = evaluation.evaluate(build(options, 0), options, 0)
    assert all(map(math.isfinite, figures.values()))
    assert {"sampled_poses", "transfer_top", "grid_coherence"} <= figures.keys()
    assert 0 < figures["sampled_poses"] <= 1
