"""Paper C's evaluation on a made world, in which a model that does right, or leaks in one way or another, has figures known beforehand."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot
from unbraid import results, runs, settings
from unbraid.data import catalogue
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import ACTIONS, CLASSES, DIRECTIONS, MOTION_NAMES
from unbraid.evaluation import clips as counting
from unbraid.evaluation import single_element
from unbraid.judging import WORN

PEOPLE, T = 60, 8


def painted(worn, motion, size=8):
    """Frames (N, T, 3, size, size), black but for stamps: worn (N, 4) classes, motion (N, T)."""
    frames = torch.zeros(len(worn), T, 3, size, size)
    frames[:, :, 0, 0, :4] = worn[:, None].float() / 10
    frames[:, :, 1, 0, 0] = motion.float() / 10
    return frames


def read(frames):
    """The stamps: worn (N, 4), and the motion of most frames, (N,)."""
    return (frames[:, 0, 0, 0, :4] * 10).round().long(), (
        frames[:, :, 1, 0, 0] * 10
    ).round().long().mode(1).values


def world(people=PEOPLE, size=8, seed=0):
    """`people` characters in nine motions each; not one after the other, but motion by motion."""
    worn = torch.randint(6, (people, 4), generator=torch.Generator().manual_seed(seed)).repeat(9, 1)
    motion = torch.arange(9).repeat_interleave(people)
    labels = dict(zip(WORN, worn.T.contiguous())) | {"character": torch.arange(people).repeat(9)}
    labels |= {"motion": motion, "action": motion // 3, "direction": motion % 3}
    classes = CLASSES | {"motion": MOTION_NAMES, "action": ACTIONS[:3], "direction": DIRECTIONS[:3]}
    return Sequences(
        painted(worn, motion[:, None].expand(-1, T), size),
        labels,
        tuple(labels),
        (),
        "test",
        "a made world",
        None,
        classes,
    )


class Painter(nn.Module):
    """static (N, 24 + 9): what is worn and the motion, as indicators; dynamic (N, T, 5): the motion and what is worn, as numbers.

    kind: "right" takes each from where it belongs; "direction" takes the direction from the static code, "pose" the whole motion
    (the static code keeps it), "collapsed" everything from the dynamic one. turned: static codes are rotated at random.
    """

    def __init__(self, kind="right", turned=False):
        super().__init__()
        self.weight, self.kind = nn.Parameter(torch.zeros(1)), kind
        random = torch.randn(
            33, 33, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        self.turn = (
            torch.linalg.qr(random)[0] if turned else torch.eye(33, dtype=torch.float64)
        ).float()

    def infer(self, frames):
        worn, motion = read(frames)
        static = torch.cat(
            [
                one_hot(worn, 6).flatten(1),
                one_hot(motion, 9) * (self.kind in ("direction", "pose")),
            ],
            1,
        ).float()
        dynamic = torch.cat([motion[:, None], worn], 1)[:, None].expand(-1, T, -1)
        return {"static": static @ self.turn, "dynamic": dynamic.float()}

    def decode(self, codes):
        static = codes["static"] @ self.turn.T
        worn, kept = static[:, :24].unflatten(1, (4, 6)).argmax(2), static[:, None, 24:].argmax(2)
        motion = codes["dynamic"][:, :, 0].round().long()
        if self.kind == "collapsed":
            worn = codes["dynamic"][:, 0, 1:].round().long()
        if self.kind == "pose":
            motion = kept.expand_as(motion)
        if self.kind == "direction":
            motion = motion // 3 * 3 + kept % 3
        return painted(worn, motion)

    def generate(self, count, length, generator, given):
        drawn = painted(
            torch.randint(6, (count, 4), generator=generator),
            torch.randint(9, (count, 1), generator=generator).expand(-1, length),
        )
        return self.infer(drawn) | given


class Reader:
    """A judge that reads the stamps, and so is always right."""

    sizes = {"image_size": 8}

    def probabilities(self, frames):
        worn, motion = read(frames)
        return dict(zip(WORN, one_hot(worn, 6).float().unbind(1))) | {
            "motion": one_hot(motion, 9).float()
        }


def measured(kind="right", turned=False, known=None):
    known = known or world()
    model = Painter(kind, turned)
    return counting.Clips(
        model,
        Reader(),
        model.infer(known.frames),
        counting.labels_of(known),
        known.labels["character"].numpy(),
    )


# --- swaps and drawn codes ------------------------------------------------------------------------------------------------


def test_who_does_right_follows_the_right_donor_in_everything():
    found = counting.swapped(measured())
    for name in counting.KNOWN:
        assert (
            found[f"swap_{name}"] == found[f"swap_{name}_high"] == 1
            and 0.9 < found[f"swap_{name}_low"] < 1
        )
        assert found[f"swap_leak_{name}"] == found[f"swap_leak_{name}_chance"] == 0
        assert found[f"swap_other_{name}"] == found[f"swap_other_{name}_chance"] < 0.45
    assert (
        found["swap_together"] == 1 and found["swap_score"] > 0.97
    )  # off by how often classes of 60 characters agree


def test_a_direction_that_leaks_is_seen_in_its_part_of_the_motion_alone():
    found = counting.swapped(measured("direction"))
    assert found["swap_motion_action"] == 1 and found["swap_leak_motion_action"] == 0
    assert (
        found["swap_leak_motion_direction"] == 1
        and found["swap_leak_motion_direction_chance"] == 0.5
    )
    assert found["swap_motion_direction"] == pytest.approx(1 / 3, abs=0.05) == found["swap_action"]
    assert all(found[f"swap_{name}"] == 1 for name in WORN)


@pytest.mark.parametrize("kind, wrong", (("pose", counting.MOTION), ("collapsed", WORN)))
def test_who_looks_at_one_code_alone_follows_the_wrong_donor(kind, wrong):
    found = counting.swapped(measured(kind))
    for name in counting.KNOWN:
        assert found[f"swap_leak_{name}"] == (name in wrong)
        assert (found[f"swap_{name}"] < 0.4) == (name in wrong)
    assert found["swap_together"] < 0.15 and found["swap_score"] < (
        0.85 if kind == "pose" else 0.4
    )  # one label in five, or four


def test_codes_kept_and_codes_drawn():
    found = counting.generated(measured())
    assert (
        found["accuracy"] == 1
        and found["inception_score"] == pytest.approx(9)
        and found["entropy_conditional"] == 0
    )
    assert found["entropy_marginal"] == pytest.approx(math.log(9))
    for name in WORN:
        assert (
            found[f"kept_{name}"] == 1
            and abs(found[f"fallen_{name}"] - found[f"fallen_{name}_chance"]) < 0.06
        )
        assert (
            found[f"drawn_entropy_marginal_{name}"] > 0.98 * math.log(6)
            and found[f"drawn_entropy_conditional_{name}"] == 0
        )
    assert abs(found["fallen_action"] - 1 / 9) < 0.06 and found["sample_score"] > 0.97
    names = ("inception_score", "entropy_conditional", "entropy_marginal")
    for ending in ("", *(f"_{name}" for name in WORN)):
        score, conditional, marginal = (found[name + ending] for name in names)
        assert score == pytest.approx(math.exp(marginal - conditional))


def test_a_static_code_that_collapsed_keeps_no_attribute_when_dynamics_are_drawn():
    found = counting.generated(measured("collapsed"))
    assert all(
        abs(found[f"kept_{name}"] - 1 / 6) < 0.06 and found[f"fallen_{name}"] == 1 for name in WORN
    )


def test_reconstructions_and_larger_frames():
    clips = measured()
    decoded = clips.model.decode(clips.codes)
    assert set(counting.reconstructed(clips, decoded).values()) == {1.0}
    large = decoded.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert all(
        torch.equal(one, clips.judged(decoded)[name]) for name, one in clips.judged(large).items()
    )


def test_intervals_are_over_characters():
    """Nine clips of each of 60 characters that share one fate are 60 units, not 540: three times as wide, as sqrt(9)."""
    clips = measured()
    fate = clips.character % 2 == 0
    found = clips.share("x", fate, clips.character)
    alone = clips.share("x", fate, np.arange(len(fate)))
    assert found["x"] == alone["x"] == 0.5
    assert (found["x_high"] - found["x_low"]) / (alone["x_high"] - alone["x_low"]) == pytest.approx(
        3, rel=0.15
    )


# --- one attribute at a time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", (False, True))
def test_one_attribute_is_kept_by_its_directions_and_where_units_serve_one_each_by_its_units(
    turned,
):
    clips, learn = measured(turned=turned), world(300, seed=5)
    found = counting.retained(
        clips, clips.model.infer(learn.frames)["static"].double().numpy(), counting.labels_of(learn)
    )
    assert found["retain_action"] == 1 and all(
        found[f"retain_directions_{name}"] == 1 for name in WORN
    )
    assert found["retain_directions_score"] > 0.97
    worst = min(found[f"retain_{name}"] for name in WORN)
    assert worst < 0.9 if turned else worst == 1


def test_shares_of_a_sum_are_its_parts():
    """s is a sum of a vector for each attribute's class and a little noise: the share of each gives back its difference."""
    random = np.random.default_rng(0)
    labels = {name: random.integers(0, 6, 900) for name in WORN}
    vectors = {name: random.standard_normal((6, 30)) for name in WORN}
    static = sum(vectors[name][labels[name]] for name in WORN) + 0.01 * random.standard_normal(
        (900, 30)
    )
    shares = counting.direction_shares(static, labels)
    own, other = torch.from_numpy(static[:450]), torch.from_numpy(static[450:])
    for name in WORN:
        part = vectors[name][labels[name][:450]] - vectors[name][labels[name][450:]]
        assert (
            np.abs(
                counting.keep_share(own, other, shares[name]).numpy() - static[450:] - part
            ).max()
            < 0.15
        )  # vectors are of length 5
    units = counting.unit_shares(
        np.concatenate([np.eye(6)[labels[name]] for name in WORN], 1), labels
    )
    assert [np.flatnonzero(units[name].diagonal()).tolist() for name in WORN] == [
        list(range(6 * n, 6 * n + 6)) for n in range(4)
    ]


# --- probes --------------------------------------------------------------------------------------------------------------


def in_turn(known):
    """The clips of each character in a row, as `data_of` hands them out."""
    return known.subset(known.labels["character"].argsort(stable=True))


def test_probes_read_what_the_codes_tell():
    """Chance is 0; twice the standard error of a skill over 540 clips of 60 characters is .05 (of attributes .1)."""
    learn, tried = in_turn(world(120, seed=5)), in_turn(world(seed=6))
    model = Painter("direction")
    codes = [
        {"static": found["static"], "dynamic": found["dynamic"][:, :, :1].flatten(1)}
        for found in map(model.infer, (learn.frames, tried.frames))
    ]
    for number, one in enumerate(
        codes
    ):  # without the direction; and no dynamic code is quite as another
        one["static"][:, 24:] = 0
        one["dynamic"] = one["dynamic"] + 0.01 * torch.rand(
            one["dynamic"].shape, generator=torch.Generator().manual_seed(number)
        )
    found = single_element.read_off(*codes, learn, tried, 0)
    for ending in ("", "_nonlinear"):
        assert all(
            found[f"static_probe_{name}{ending}"] == 1
            and abs(found[f"dynamic_probe_{name}{ending}"]) < 0.1
            for name in WORN
        )
        assert all(found[f"static_probe_{name}{ending}"] < 0.06 for name in counting.MOTION)
    assert (
        found["dynamic_probe_action_nonlinear"] == 1
        and found["dynamic_probe_action_nonlinear_low"] < 1
    )


def test_data_are_handed_out_character_by_character(monkeypatch):
    monkeypatch.setattr(
        catalogue,
        "load",
        lambda name, split, image_size: world(400 if split == "train" else PEOPLE),
    )
    for profile, split, count in (
        ("quick", "train", 333),
        ("quick", "test", PEOPLE),
        ("smoke", "test", 24),
        ("full", "train", 333),
    ):
        found = single_element.data_of(
            "sprites", split, SimpleNamespace(image_size=8, profile=profile)
        )
        character = found.labels["character"].view(count, 9)
        assert (character == character[:, :1]).all() and len(character.unique()) == count
        assert (found.labels["motion"].view(count, 9) == torch.arange(9)).all()


# --- the whole -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(
        catalogue, "load", lambda name, split, image_size=32: world(60, 32, int(split == "train"))
    )
    single_element.anchor_read.cache_clear()
    yield
    single_element.anchor_read.cache_clear()


@pytest.mark.filterwarnings(
    "ignore:.*is constant.*"
)  # untrained models may see no difference between stamps
@pytest.mark.parametrize(
    "model, options",
    (("formula", {"variant": "formula"}), ("anchor_last", {"anchor": "last"})),
    ids=("formula", "last"),
)
def test_every_figure_is_finite_and_drawn_by_the_seed(model, options, made, tmp_path):
    chosen = settings.load("single_element.sprites", "smoke", **options)
    built = runs.build(chosen, 0)
    figures = single_element.evaluate(built, "drawn_sprites", chosen, 0)
    assert (
        all(isinstance(value, float) and math.isfinite(value) for value in figures.values())
        and not built.training
    )
    names = (
        "elbo_per_frame",
        "swap_action",
        "swap_leak_hair",
        "accuracy",
        "inception_score",
        "kept_skin",
        "static_probe_motion_direction",
    )
    assert {
        *names,
        "retain_top",
        "dynamic_probe_hair_nonlinear",
        "anchor_pixels_probe_action",
        "static_excess_action",
    } <= set(figures)
    assert figures["anchor_pixels_probe_hair"] > 0.2  # the stamps, in one pixel's grey
    chosen.section += f".{model}"
    of_ablation = single_element.evaluate(built, "drawn_sprites", chosen, 0)  # fewer of the same
    assert of_ablation == {name: figures[name] for name in of_ablation} and {*names} <= set(
        of_ablation
    ) < set(figures)
    told = single_element.protocol("drawn_sprites", chosen)
    assert (told["split"], told["characters"], told["sequences"]) == ("test", 24, 216)
    entry = results.summarise([figures], lambda values: None)
    assert results.form_faults({model: entry, "protocol": told | {"seeds": [0]}}) == []
    single_element.draw(built, "drawn_sprites", tmp_path / "new" / "swaps.png")
    assert (tmp_path / "new" / "swaps.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("dataset", ("weather", "vowels"))
def test_series_are_drawn(dataset, tmp_path):
    chosen = settings.load(runs.section_of("single_element", dataset, "single_element"), "smoke")
    single_element.draw(runs.build(chosen, 0), dataset, tmp_path / "series.png")
    assert (tmp_path / "series.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_dataset():
    with pytest.raises(
        ValueError,
        match="dataset: expected one of sprites, drawn_sprites, spoken_digits, .*, found 'digits'",
    ):
        single_element.evaluate(Painter(), "digits", None, 0)
