"""Paper B's evaluation on made worlds, in which a model that does right, copies, or looks away has figures known beforehand."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from unbraid import judging, results, settings
from unbraid.data import catalogue
from unbraid.data.sampling import withhold
from unbraid.data.sequences import Sequences
from unbraid.data.sources import DataError
from unbraid.data.sprites import CLASSES, POSE_NAMES
from unbraid.distributions import DiagonalGaussian
from unbraid.evaluation import codes, poses, unordered
from unbraid.models.unordered import UnorderedFrames

PEOPLE, TIMES = 12, 10
WORN = tuple(CLASSES)


def world(alike=()):
    """12 characters in 10 poses: noise, but for two stamps, of who and of which pose. alike: two poses with the same picture."""
    frames = torch.randint(
        0,
        200,
        (PEOPLE, TIMES, 3, 8, 8),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.uint8,
    )
    frames[:, :, 0, 0, 0] = 10 * torch.arange(PEOPLE)[:, None]
    frames[:, :, 1, 0, 0] = 10 * torch.arange(TIMES)
    for first, second in alike:
        frames[:, second] = frames[:, first]
    pose = torch.arange(TIMES).expand(PEOPLE, -1)
    labels = {name: (torch.arange(PEOPLE) + shift) % 6 for shift, name in enumerate(WORN)}
    labels |= {"pose": pose, "action": pose // 4, "direction": pose % 4}
    names = {
        "pose": tuple(f"walk front {number}" for number in range(TIMES)),
        "action": ("walk", "cast", "slash"),
        "direction": ("front", "left", "right", "back"),
    }
    return Sequences(frames, labels, WORN, ("pose", "action", "direction"), classes=CLASSES | names)


def stamps(frames):
    """Who and which pose, read off frames (..., 3, 8, 8)."""
    return [(frames[..., channel, 0, 0] * 25.5).round().long() for channel in (0, 1)]


class Painter(nn.Module):
    """Knows all true frames. kind: "right" draws f's person in z's pose; "copy" the frame that z is of; "blind" one pose for all;
    "shifted" a pose that depends on f; "seen" is right, but draws black what is not in `seen`."""

    def __init__(self, known, kind="right", seen=None):
        super().__init__()
        self.weight, self.kind, self.seen = nn.Parameter(torch.zeros(1)), kind, seen
        self.frames = known.frames.float() / 255

    def features(self, frames):
        return frames

    def dynamic_posterior(self, features, static):
        who, pose = stamps(features)
        return DiagonalGaussian(torch.stack([pose, who], -1).float(), torch.zeros(*pose.shape, 2))

    def decode(self, codes):
        pose, who = (
            codes["dynamic"].round().long().clamp(min=0) % size for size in (TIMES, PEOPLE)
        )
        pose, donor, owner = (
            pose[..., 0],
            who[..., 1],
            codes["static"].argmax(-1)[:, None].expand_as(pose[..., 0]),
        )
        if self.kind == "copy":
            return self.frames[donor, pose]
        if self.kind == "blind":
            pose = torch.full_like(pose, 3)
        if self.kind == "shifted":
            pose = (pose + owner) % TIMES
        drawn = self.frames[owner, pose]
        return (
            drawn * self.seen[owner, pose][..., None, None, None] if self.kind == "seen" else drawn
        )


class Reader:
    """A judge that reads the stamps, and so is always right."""

    def __init__(self, known):
        self.known, self.classes, self.sizes = known, known.classes, {"image_size": 8}

    def probabilities(self, frames):
        who, pose = stamps(frames)
        labels = {name: self.known.labels[name][who % PEOPLE] for name in WORN} | {
            "pose": pose,
            "action": pose // 4,
            "direction": pose % 4,
        }
        return {
            name: nn.functional.one_hot(labels[name], len(names)).float()
            for name, names in self.classes.items()
        }


def transferred(kind, known=None):
    known = known or world()
    pairs = torch.stack([torch.arange(PEOPLE), (torch.arange(PEOPLE) + 1) % PEOPLE], 1)
    return (
        poses.transfer(Painter(known, kind), known, torch.eye(PEOPLE), pairs, judge=Reader(known)),
        known,
        pairs,
    )


# --- pose transfer ----------------------------------------------------------------------------------------------------


def test_ranks_count_what_is_strictly_nearer():
    candidates = torch.tensor([[0.0], [1.0], [2.0], [2.0], [5.0]])
    queries = torch.tensor([[0.4], [0.6], [2.0], [2.0], [4.9], [0.0]])
    assert poses.ranks(queries, torch.tensor([0, 0, 2, 3, 0, 4]), candidates).tolist() == [
        0,
        1,
        0,
        0,
        4,
        4,
    ]


def test_a_right_painter_hits_every_frame():
    found, known, _ = transferred("right")
    names = "top1", "top5", "both_top1", "both_top5", "rmse"
    assert poses.hits(found) == {
        f"pose_transfer_{name}": 0 if name == "rmse" else 1 for name in names
    }
    figures = poses.follow(found, known)
    assert (
        all(value == (0 if name.startswith("leak") else 1) for name, value in figures.items())
        and len(figures) == 11
    )


def test_one_who_copies_is_the_unchanged_frame():
    found, known, pairs = transferred("copy")
    unchanged = poses.trivial(known, pairs)["unchanged"]
    assert (
        poses.hits(found) == pytest.approx(poses.hits(unchanged))
        and poses.hits(found)["pose_transfer_both_top1"] == 0
    )
    figures = poses.follow(found, known)
    assert all(
        figures[name] == 0 and figures[f"leak_{name}"] == 1 for name in WORN
    )  # next to each other all differ
    assert figures["pose"] == figures["action"] == figures["direction"] == 1


def test_one_who_looks_away_hits_by_chance():
    found, known, _ = transferred("blind")
    ranked, judged = poses.hits(found, "_x"), poses.follow(found, known)
    assert (
        ranked["pose_transfer_top1_x"]
        == ranked["pose_transfer_both_top1_x"]
        == pytest.approx(1 / TIMES)
    )
    assert judged["pose"] == pytest.approx(1 / TIMES) and judged["hair"] == 1


def test_poses_that_look_alike_do_not_count_against_each_other():
    assert (
        poses.hits(transferred("right", world(alike=((1, 6), (3, 4))))[0])[
            "pose_transfer_both_top1"
        ]
        == 1
    )


def test_trivial_baselines():
    _, known, pairs = transferred("right")
    found = {name: poses.hits(one) for name, one in poses.trivial(known, pairs).items()}
    assert found["mean"]["pose_transfer_top1"] == pytest.approx(
        1 / TIMES
    )  # one frame, so the nearest is right once
    assert 0 < found["random"]["pose_transfer_top1"] < 0.3  # expected .1 of 120
    assert found["mean"]["pose_transfer_rmse"] < found["random"]["pose_transfer_rmse"]


def test_attributes_are_judged_where_the_sheets_have_them():
    shown = {
        name: set(torch.arange(178)[there].tolist())
        for name, there in poses.drawn_in(POSE_NAMES).items()
    }
    bare = 32 + 52  # drawings of thrust and of shoot
    assert {name: len(one) for name, one in shown.items()} == {
        "skin": 178,
        "trousers": 177 - bare,
        "top": 178 - bare,
        "hair": 178,
    }
    assert shown["top"] - shown["trousers"] == {POSE_NAMES.index("hurt front 4")}


def test_combinations_that_were_withheld():
    """A painter who can draw all, and one who can draw only what training showed."""
    known = withhold(world(), "action", 0.5, seed=1)
    figures = {}
    for kind in ("right", "seen"):
        model = Painter(known, kind, known.mask)
        figures[kind] = poses.unseen(
            model, known, torch.eye(PEOPLE), Reader(known), torch.Generator().manual_seed(0), 99
        )
    assert figures["right"] == {
        name: 0 if name == "unseen_rmse" else 1 for name in figures["right"]
    }
    assert figures["seen"]["unseen_pose_top1_both"] < 0.2 and figures["seen"]["unseen_rmse"] > 0.3


# --- grids --------------------------------------------------------------------------------------------------------------


def test_a_grid_covers_the_middle_of_the_codes():
    code = torch.stack(
        [torch.linspace(0, 1, 1001), torch.linspace(10, 30, 1001)[torch.randperm(1001)]], 1
    )
    points = poses.grid_points(code, 3)
    assert torch.allclose(
        points[:4],
        torch.tensor([[0.025, 10.5], [0.5, 10.5], [0.975, 10.5], [0.025, 20.0]]),
        atol=1e-4,
    )
    assert poses.grid_points(code[:, :1], 4).shape == (4, 1)
    wide = torch.randn(5000, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 9, 1, 5, 1]
    )
    points = poses.grid_points(wide, 7) - wide.mean(0)
    reach = points.abs().amax(0)
    assert points.shape == (49, 5) and reach[1] > 15 and reach[3] > 8 and reach[[0, 2, 4]].max() < 1


def test_agreement_is_the_share_of_the_commonest():
    assert poses.agreement(torch.tensor([[0, 0], [0, 1], [0, 1]])) == pytest.approx((1 + 2 / 3) / 2)


@pytest.mark.parametrize("kind, coherence", (("right", 1), ("shifted", 2 / PEOPLE)))
def test_grids_of_those_who_agree_and_those_who_do_not(kind, coherence):
    """Twelve people, each of whom begins in another of ten poses: at most two are in one."""
    known = world()
    points = torch.stack([torch.arange(TIMES), torch.zeros(TIMES)], 1)
    found = poses.grid_figures(
        Painter(known, kind),
        torch.eye(PEOPLE),
        points,
        points[:4],
        Reader(known),
        torch.Generator().manual_seed(0),
    )
    assert found["grid_identity"] == 1 and found["grid_coherence_chance"] < 0.5
    assert found["grid_coherence"] == pytest.approx(coherence) and found[
        "grid_coherence_posterior"
    ] == pytest.approx(coherence)


def test_a_copy_does_not_keep_identity():
    known = world()
    points = torch.stack(
        [torch.zeros(6), torch.arange(6)], 1
    )  # the second unit of this z is a person
    found = poses.grid_figures(
        Painter(known, "copy"),
        torch.eye(PEOPLE),
        points,
        points,
        Reader(known),
        torch.Generator().manual_seed(0),
    )
    assert found["grid_coherence"] == 1 and found["grid_identity"] == pytest.approx(1 / 6)


# --- codes --------------------------------------------------------------------------------------------------------------


def tiny(**changes):
    torch.manual_seed(0)
    return UnorderedFrames.from_settings(
        settings.load("unordered.sprites_poses", "smoke", **changes)
    ).eval()


class OfTwo(UnorderedFrames):
    """Compares the first two frames alone."""

    def compare(self, features):
        return super().compare(features[:, :2])


def test_order_changes_nothing_unless_a_model_looks_at_it():
    frames, model = torch.rand(3, 5, 3, 32, 32, generator=torch.Generator().manual_seed(0)), tiny()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert codes.shuffle_change(model, frames) < 1e-9
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.__class__ = OfTwo
    assert codes.shuffle_change(model, frames) > 1e-3


def test_bytes_and_floats_have_the_same_codes_and_few_at_a_time(monkeypatch):
    frames, model = (
        torch.randint(
            0, 256, (5, 4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
        ),
        tiny(),
    )
    whole = model.infer(frames.float() / 255)
    monkeypatch.setattr(codes, "FRAMES", 8)
    found = codes.infer(model, frames)
    assert all(torch.allclose(found[name], whole[name], atol=1e-6) for name in whole)
    assert torch.allclose(
        codes.dynamic_given(model, frames, whole["static"]), whole["dynamic"], atol=1e-6
    )
    assert torch.allclose(codes.decode(model, **whole), model.decode(whole), atol=1e-6)


def test_bound_terms_add_up():
    sample = SimpleNamespace(
        frames=torch.rand(6, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    )
    found = codes.bound_terms(tiny(), [sample, sample], 0)
    total = (
        found["log_likelihood_per_frame"] - found["kl_static"] / 4 - found["kl_dynamic_per_frame"]
    )
    assert found["elbo_per_frame"] == pytest.approx(total, rel=1e-5)
    assert (
        found
        == codes.bound_terms(tiny(), [sample, sample], 0)
        != codes.bound_terms(tiny(), [sample, sample], 1)
    )


def test_classes_are_read_where_they_are_written():
    """Codes that hold hair in f and pose in z, and nothing else; chance of six classes is .167, with a standard error of .03."""
    generator = torch.Generator().manual_seed(0)

    def made(count):
        labels = {
            "hair": torch.randint(6, (count,), generator=generator),
            "pose": torch.randint(6, (count, 5), generator=generator),
        }
        held = {
            "static": nn.functional.one_hot(labels["hair"], 6).float(),
            "dynamic": nn.functional.one_hot(labels["pose"], 6).float(),
        }
        return {
            name: code + 0.01 * torch.randn(code.shape, generator=generator)
            for name, code in held.items()
        }, labels

    (learn, of_train), (test, of_test) = made(200), made(150)
    found = codes.classes_read(learn, test, of_train, of_test, 0)
    assert all(
        found[name] == 1
        for name in (
            "static_probe_hair",
            "static_accuracy_hair",
            "dynamic_probe_pose",
            "dynamic_accuracy_pose",
        )
    )
    assert all(abs(found[name]) < 0.12 for name in ("static_probe_pose", "dynamic_probe_hair"))
    assert all(
        abs(found[name] - 1 / 6) < 0.1 for name in ("static_accuracy_pose", "dynamic_accuracy_hair")
    )


def test_accuracy_is_the_skill_less_chance():
    learn, truth = torch.tensor([2, 2, 1]), torch.tensor([2, 1, 1, 0])
    assert [codes.accuracy(skill, learn, truth) for skill in (0.0, 0.5, 1.0)] == [0.25, 0.625, 1]


def test_people_are_told_by_the_nearest():
    vectors = [torch.tensor([[0.0], [10.0]]), torch.tensor([[1.0], [4.0], [6.0]])]
    assert unordered.nearest(
        vectors, [torch.tensor([3, 5]), torch.tensor([3, 5, 5])]
    ) == pytest.approx(2 / 3)
    mask = torch.arange(9) < torch.tensor([[9], [4], [1]])
    half = unordered.halved(mask, torch.Generator().manual_seed(0))
    assert half.sum(1).tolist() == [5, 2, 1] and not (half & ~mask).any()


def test_the_mean_of_seen_frames_tells_more_of_those_than_of_others():
    """An oracle: the mean of the true places of four frames of a path. Of one of them it tells R^2 = 1/4 even where no frame tells
    of another; what the path as a whole tells comes on top, and is all that it tells of a frame it has not seen."""
    places = torch.rand(
        400, 20, 2, generator=torch.Generator().manual_seed(0)
    )  # each frame somewhere else: no path at all
    pictures = torch.zeros(400, 20, 1, 2, 2)
    bag = Sequences(
        pictures,
        {"place": places, "who": torch.zeros(400, dtype=torch.int64)},
        ("who",),
        ("place",),
    )
    seen, others = unordered.parts_of(bag, 4, torch.Generator().manual_seed(1))
    assert seen.length == 4 and others.length == 16
    together = torch.cat([seen.labels["place"], others.labels["place"]], 1)
    assert torch.equal(
        together[..., 0].sort(1).values, places[..., 0].sort(1).values
    )  # every frame once, in one part or the other
    share = lambda told: float(
        torch.corrcoef(torch.stack([seen.labels["place"].mean(1)[:, 0], told[:, 0, 0]]))[0, 1] ** 2
    )  # noqa: E731
    assert abs(share(seen.labels["place"]) - 0.25) < 0.1 and share(others.labels["place"]) < 0.03


# --- the whole ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ("drawn_poses", "digits", "faces"))
def test_every_figure_is_finite_and_drawn_by_the_seed(dataset, tmp_path, monkeypatch):
    section = "unordered.sprites_poses" if dataset == "drawn_poses" else f"unordered.{dataset}"
    few = {"evaluation_training": 140, "evaluation_sequences": 12, "evaluation_identities": 5}
    chosen = settings.load(
        section, "smoke", **few, **({"withheld": 0.1} if dataset == "drawn_poses" else {})
    )
    if dataset == "drawn_poses":  # the test characters, drawn once; some of them are for training
        known = catalogue.load(dataset, "test", image_size=32)
        parts = {"train": known.subset(slice(0, 140)), "test": known.subset(slice(140, 296))}
        monkeypatch.setattr(catalogue, "load", lambda name, split, **options: parts[split])
    torch.manual_seed(0)
    model = UnorderedFrames.from_settings(chosen)
    try:
        figures = unordered.evaluate(model, dataset, chosen, 0)
    except DataError as error:
        pytest.skip(str(error))
    assert (
        all(isinstance(value, float) and math.isfinite(value) for value in figures.values())
        and not model.training
    )
    assert {
        "elbo_per_frame",
        "kl_static",
        "kl_dynamic_per_frame",
        "shuffle_change",
        "reconstruct_rmse",
    } <= set(figures)
    read = {"drawn_poses": "hair", "digits": "digit", "faces": "person"}[dataset]
    assert dataset != "digits" or {
        "static_probe_position",
        "static_probe_position_seen",
        "dynamic_probe_position",
    } <= set(figures)
    assert {
        f"{kind}_{read}"
        for kind in ("static_probe", "dynamic_probe", "static_accuracy", "dynamic_accuracy")
    } <= set(figures)
    if dataset == "drawn_poses":
        names = (
            "pose_transfer_top1",
            "pose_transfer_both_top5_mean",
            "transfer_leak_top",
            "grid_coherence",
            "unseen_action",
        )
        assert set(names) <= set(figures)
    assert unordered.evaluate(model, dataset, chosen, 0) == figures
    unordered.draw(model, dataset, tmp_path / "new" / "grid.png")
    assert (tmp_path / "new" / "grid.png").read_bytes().startswith(b"\x89PNG")
    told = unordered.protocol(dataset, chosen)
    assert told["split"] == "test" and "probes" in told
    entry = results.summarise([figures], lambda values: None)
    assert results.form_faults({"unordered": entry, "protocol": told | {"seeds": [0]}}) == []


def test_an_unknown_dataset():
    with pytest.raises(
        ValueError,
        match="dataset: expected one of sprites_poses, drawn_poses, digits, faces, found 'sprites'",
    ):
        unordered.evaluate(tiny(), "sprites", None, 0)


def test_without_a_judge_of_this_profile_the_quick_one_is_asked(monkeypatch):
    monkeypatch.setattr(judging, "judge_of", lambda dataset, profile, classes: (dataset, profile))
    assert (
        unordered.judge_of("drawn_poses", "smoke", {})
        == unordered.judge_of("drawn_poses", "quick", {})
        == ("drawn_poses", "quick")
    )
