"""The model that readers build in notebook 22 has the stored run's numbers, and trains alone."""

from functools import partial

import pytest
import torch
from helpers import DOUBLE, close, seeded
from readers import check_form, each_device
from safetensors.torch import load_file
from unbraid import load_judge, records
from unbraid.data.sprites import POSE_LABELS, load_poses
from unbraid.measures.judges import judge_classes
from unbraid_course.lessons import n22

FOLDER = records.results() / "unordered" / "sprites_poses" / "quick"
RUN = FOLDER / "paper_width-seed0.safetensors"
PAPERS = ["PairEncoder", "paper_networks", "draw", "kl", "dense", "Encoder", "UnorderedFrames"]
PAPER = {"C": 256, "width": 512, "hidden": 512, "D": 512, "d": 2}
SMALL = {"C": 96, "width": 64, "hidden": 128, "D": 64, "d": 2}


def test_it_is_plain_torch_with_shapes_and_short():
    check_form("22", PAPERS)


# ---- it has the stored run's numbers; that it is the library's, test_second_writing.py holds


def test_22_opens_the_papers_weights_and_finds_the_terms_of_their_record():
    """The record's terms were measured when the class of the library was another."""
    reader = n22.UnorderedFrames(n22.paper_networks(514), **PAPER)
    reader.load_state_dict(load_file(RUN))
    sheets = load_poses("test", image_size=32).frames[::6]  # of 50 characters
    poses = n22.pick(torch.ones(len(sheets), 178), 4, seeded(10_000))
    x = sheets[torch.arange(len(sheets))[:, None], poses].float() / 255
    noise_s, noise_d = (torch.randn(50, *shape, generator=seeded(1)) for shape in ((512,), (4, 2)))
    with torch.no_grad():
        error, kl_s, kl_d = (term.mean().item() for term in reader.loss(x, noise_s, noise_d))
    record = records.read_metrics("unordered/sprites_poses/quick")["paper_width"]
    assert -error / 4 == pytest.approx(record["log_likelihood_per_frame"], rel=0.03)
    assert kl_s == pytest.approx(record["kl_static"], rel=0.03)
    assert kl_d / 4 == pytest.approx(record["kl_dynamic_per_frame"], rel=0.03)


def test_codes_do_not_depend_on_the_order_and_are_swapped():
    model = n22.UnorderedFrames(n22.small_networks(66), **SMALL).double()
    x = torch.rand(2, 4, 3, 32, 32, generator=seeded(), **DOUBLE)
    s, d = model.encode(x)
    decoded = model.decode(s.flip(0), d)  # each in the poses of the other
    assert (s.shape, d.shape, decoded.shape) == ((2, 64), (2, 4, 2), x.shape)
    close(model.encode(x[:, [2, 0, 3, 1]])[0], s)  # the order says nothing


# ---- it trains


@each_device
def test_the_loop_of_22_trains_on_a_device(device):
    frames = load_poses("train", image_size=32).frames[:40]
    model = n22.small_model(0).to(device)
    draw = partial(n22.draw_sets, frames, torch.ones(40, 178), count=4)
    loop = n22.train(model, 60, 0, rate=4e-3, draw=draw)
    losses = [sum(terms) for _, terms in loop]
    assert len(losses) == 60 and sum(losses[-10:]) / 10 < losses[0] / 2


def test_only_allowed_poses_are_drawn():
    allowed = (torch.rand(30, 178, generator=seeded()) < 0.1).float()
    poses = n22.pick(allowed, 3, seeded(1))
    assert poses.shape == (30, 3) and allowed.gather(1, poses).all()
    assert all(len(set(row)) == 3 for row in poses.tolist())


# ---- its measures and its record


def test_coherence_is_the_share_of_the_most_common_motion():
    motions = torch.tensor([[0, 1], [0, 2], [0, 2], [3, 2]])  # (characters, points)
    assert n22.coherence(motions) == 0.75


def test_a_perfect_painter_is_right_in_absent_actions():
    """The judge of true frames agrees with the labels that `count_right` compares."""
    test = load_poses("test", image_size=32)
    judge = partial(judge_classes, load_judge("sprites_poses", test.classes))
    motion, pose = 4 * POSE_LABELS["action"] + POSE_LABELS["direction"], torch.arange(0, 178, 3)
    frames = test.frames[torch.arange(len(pose)), pose].float() / 255
    assert n22.count_right(frames, pose, judge, motion) > 0.9
    assert n22.count_right(frames, pose.flip(0), judge, motion) < 0.3
