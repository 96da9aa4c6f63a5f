"""The class that readers build gives the library's terms and gradients, and trains alone: paper C.

Notebook 32 defines it. The weights are those of the paper's own size.
"""

import math
from functools import cache

import pytest
import torch
from helpers import DOUBLE
from readers import check_form, each_device, list_differences, run_lesson
from safetensors.torch import load_file
from unbraid import Sequences, SingleElement, records
from unbraid.data import sprites
from unbraid_course.lessons import n32

# The reader's model with the paper's networks, and ours.
PAPERS = ["kl", "draw", "Head", "Posterior", "Prior", "SingleElement", "paper_networks", "connect"]
LARGE = records.weights("single_element/sprites/full/published-seed0")
SIZES = {"features": 256, "hidden": 64, "units": 256, "S": 256, "D": 256}
GRADIENTS = (  # by the library's names
    "codec.encoder.0.weight",
    "static_head.2.mean.weight",
    "prior.recurrent.weight_hh_l0",
)


def test_it_is_plain_torch_with_shapes_and_short():
    check_form("32", PAPERS)


# ---- It is the library's by its numbers


def open_reader(is_training, **change):
    """The reader's model with the weights of the paper's own size."""
    lesson = run_lesson("32", **change)
    reader = lesson.SingleElement(lesson.paper_networks(256, 512), **SIZES)
    reader.load_state_dict({lesson.rename(name): each for name, each in load_file(LARGE).items()})
    return reader.double().train(is_training)


def load_clips():
    return sprites.load("test", image_size=64).subset([5, 1234]).as_float().frames[:, :3].double()


@cache
def measure_library(is_training):
    """The library's terms per clip, and gradients, by name."""
    library, x = SingleElement.load(LARGE).double().train(is_training), load_clips()
    torch.manual_seed(0)  # the reader's class draws the anchor's noise first, then s, then d
    noise = {"anchor": torch.randn(2, 256, **DOUBLE), "static": torch.randn(2, 256, **DOUBLE)}
    noise |= {"dynamic": torch.randn(2, 3, 256, **DOUBLE), "lot": torch.zeros(2, **DOUBLE)}
    bound = library.elbo(x, noise)
    constant = 0.5 * math.log(math.pi) * x[0, 0].numel()  # per frame
    terms = {"frames": -bound.log_likelihood - 3 * constant}
    terms |= {"anchor": -bound.terms["anchor"] - constant} | bound.kl
    terms = {name: term.mean() for name, term in terms.items()}
    sum(terms.values()).backward()
    return terms | {name: library.get_parameter(name).grad for name in GRADIENTS}


def compare_models(is_training, **change):
    """Pairs of the reader's and the library's terms and gradients, by name."""
    reader, theirs = open_reader(is_training, **change), measure_library(is_training)
    torch.manual_seed(0)
    terms = reader.loss(load_clips())
    terms.sum().backward()
    ours = [*terms, *(reader.get_parameter(n32.rename(name)).grad for name in GRADIENTS)]
    return dict(zip(theirs, zip(ours, theirs.values(), strict=True), strict=True))


@pytest.mark.parametrize("is_training", [True, False])
def test_32_gives_each_term_and_gradient_of_the_library(is_training):
    pairs = compare_models(is_training)
    assert len(pairs) == 7 and list_differences(pairs) == set()


MUTANTS = [  # a line, what it becomes, and what must differ then
    ("error.sum(1), error[:, 0]", "error[:, 1:].sum(1), error[:, 0]", "frames"),
    ("error[:, 0], kl_s", "error[:, 1], kl_s", "anchor"),
    ("anchor = c[:, 0]", "anchor = c[:, 1]", "static"),
    ("- anchor[:, None]", "", "dynamic"),
    ("(0, 0, 1, -1)", "(0, 0, 0, 0)", "dynamic"),
    ("fill(anchor)", "0 * fill(anchor)", "dynamic"),
    ("(q[1] / 2).exp()", "q[1].exp()", "frames"),
    ("squared - 1", "squared", "static"),
    ("nn.Tanh(), nn.Flatten()", "nn.ReLU(), nn.Flatten()", "static"),
    ("kl(q_d, self.prior(d))", "kl(q_d, self.prior(d.detach()))", "codec.encoder.0.weight"),
]


@pytest.mark.parametrize("old, new, term", MUTANTS)
def test_a_wrong_line_is_seen(old, new, term):
    assert term in list_differences(compare_models(False, old=old, new=new))


def test_its_codes_and_swaps_are_the_librarys():
    reader, library, x = open_reader(False), SingleElement.load(LARGE).double(), load_clips()
    library.eval().fixed_noise = torch.zeros  # where the reader's means have 0
    with torch.no_grad():
        codes = library.encode(x)
        s, d = reader.encode(x)
        swapped = {"static": codes["static"][[1, 0]], "dynamic": codes["dynamic"]}
        pairs = {"s": (s, codes["static"]), "d": (d, codes["dynamic"])}
        pairs["swap"] = reader.swap(x, [1, 0]), library.decode(swapped)
    assert list_differences(pairs) == set()


# ---- It trains


@each_device
def test_the_loop_of_32_trains_on_a_device(device):
    lesson = run_lesson("32")
    clips = sprites.load("validation").subset(slice(36))
    model = lesson.give_start(lesson.small_model(0)).to(device)
    loop = lesson.train(model, clips.frames, 100, lesson.prices, 0)
    assert [update for update, _ in loop] == list(range(1, 101))
    x = clips.as_float().frames.to(device)
    with torch.no_grad():
        error = model.loss(x)[0]
    assert error < (x - x.mean((0, 1))).square().flatten(1).sum(1).mean()
    seen = lesson.score_swaps(clips, *lesson.swap_all(model.eval(), clips))
    assert all(0 <= share <= 1 for share in seen.values())


@pytest.mark.parametrize("share, s, d", [(0, 8, 0.05), (0.1, 8**0.5, 0.15**0.5), (1, 1, 3)])
def test_the_prices_of_the_head_start(share, s, d):
    weights = n32.prices(share)
    torch.testing.assert_close(weights, torch.tensor([5.0, 1.0, s, d]), rtol=1e-5, atol=0)


def test_the_scores_of_swaps_count_where_donors_differ():
    way, motion = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 4, 2])
    labels = {"direction": way, "motion": motion, "character": torch.tensor([7, 7, 8, 8])}
    clips = Sequences(torch.zeros(4, 2, 1, 4, 4), labels, tuple(labels), (), "test", "")
    gives_d, gives_s = torch.tensor([0, 1, 2, 3]), torch.tensor([2, 2, 0, 1])
    nearest = torch.tensor([2, 2, 0, 3])  # s, both have it, s, d; characters 8, 8, 7, 8
    seen = n32.score_swaps(clips, nearest, gives_s, gives_d)
    assert seen == {
        "swaps with s": pytest.approx(2 / 3),
        "swaps with d": pytest.approx(1 / 3),
        "motion with d": 0.25,
        "true clip nearest": 0.0,
    }
