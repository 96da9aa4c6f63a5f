"""What is run to check the functions of notebook 33; n33.toml knows the mistakes by name."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from unbraid import SingleElement, records
from unbraid.data import sprites
from unbraid.measures.judges import judge_clips, load_judge
from unbraid.measures.swaps import random_donors

from unbraid_course.workshop import Names, Part, Unfit, kind, protect, take, take_numbers

WANTED = ("score_model", "compute_scores", "Copier")
SCORES = ("Acc", "IS", "H(y|x)", "H(y)")
SHARES = ("swaps with the true clip", "swaps with the hair of the donor of s")


class Swaps(NamedTuple):
    """With what an instrument is run: numbers of swaps, and of classes or real clips."""

    swaps: int
    classes: int

    def __str__(self) -> str:
        return f"{self.swaps} swaps and {self.classes} classes"


CASES = (Swaps(90, 7), Swaps(30, 41))  # more swaps than classes, and fewer


def start_random(case: Swaps) -> np.random.Generator:
    """Random numbers that depend on the case alone."""
    return np.random.default_rng(case.swaps)


def run_true_clip(names: Names, case: Swaps) -> Names:
    """Of random donors, and of two whole numbers, as in the page's picture."""
    of_s, of_d = start_random(case).integers(9 * case.classes, size=(2, case.swaps))
    found = take_numbers("true_clip", names["true_clip"](of_s, of_d), "the true clips")
    if found["the true clips"].dtype.kind == "f":
        whole = "whole numbers are expected, which can be an index: divide by `//`"
        raise Unfit(f"`true_clip` gives numbers with a decimal point; {whole}.")
    try:
        given = names["true_clip"](int(of_s[0]), int(of_d[0]))
    except (TypeError, AttributeError) as error:
        both = "It must take two whole numbers as well, as `//` and `%` do"
        raise Unfit(f"{both}: there, your code raises {error}.") from None
    return found | take_numbers("true_clip", given, "the true clip of two numbers")


def run_find_nearest(names: Names, case: Swaps) -> Names:
    """Clips of a few bright pixels, on a ground of unlike brightness: half are near a real clip,
    some of them near their own."""
    random = start_random(case)
    real, made = (
        random.random((n, 4, 3, 2, 2)) ** 6 + random.random((n, 1, 1, 1, 1)) / 6
        for n in (case.classes, case.swaps)
    )
    near = np.arange(case.swaps) < case.swaps / 2
    own, far = np.arange(case.swaps), random.integers(case.classes, size=case.swaps)
    of = np.where(random.random(case.swaps) < 0.5, own % case.classes, far)
    made[near] = 0.8 * real[of[near]] + 0.2 * made[near]
    given = names["find_nearest"](*map(torch.from_numpy, (made, real)))
    if isinstance(given, tuple):
        raise Unfit("Several results; expected one array. Of `min(1)`, `indices` says where it is.")
    found = take_numbers("find_nearest", given, "the nearest real clips")
    hints = {
        (
            case.swaps,
            case.classes,
        ): "This has a number for each pair of clips: choose by `argmin(1)`.",
        made.shape[:2]: "You choose for each frame alone: add the errors of all frames first.",
        made.shape: "These are the clips themselves: give their numbers.",
    }
    if hint := hints.get(np.shape(given)):
        raise Unfit(hint)
    return found


def run_donor_shares(names: Names, case: Swaps) -> Names:
    """Classes of unlike frequency, one of which no clip has, and a judge that errs."""
    random, other = start_random(case), draw_truth(case)
    right = other[random_donors(case.swaps, 1)]
    lot, guessed = random.random(case.swaps), random.integers(case.classes, size=case.swaps)
    judged = np.select([lot < 0.5, lot < 0.7], [right, other], guessed)
    form = "share of the right donor's class", "share of the other donor's class"
    given = names["donor_shares"](judged, right, other)
    return take("donor_shares", as_results(given), form)


def draw_probabilities(case: Swaps, truth: np.ndarray) -> np.ndarray:
    """A judge's, (count, classes): mostly right, certain of the first clip, blind to a class."""
    p = start_random(case).dirichlet(np.full(case.classes, 0.5), case.swaps)
    p[np.arange(case.swaps), truth] += 0.7
    p[:, -1] = 0
    p[0] = np.eye(case.classes)[truth[0]]
    (p,) = protect(p / p.sum(1, keepdims=True))
    return p


def draw_truth(case: Swaps) -> np.ndarray:
    """Classes (count,) of unlike frequency, one of which does not occur."""
    return start_random(case).integers(case.classes - 1, size=case.swaps) ** 2 % (case.classes - 1)


def run_entropy(names: Names, case: Swaps) -> Names:
    """Of rows, of a single row, and of a certain answer."""
    p = draw_probabilities(case, draw_truth(case))
    places = {"each row": p, "a single row (classes,)": p[1], "a certain answer": p[0]}
    found: Names = {}
    for place, given in places.items():
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                each = names["entropy"](given)
            if np.shape(each) == given.shape:
                raise Unfit("Sum over the classes: one number for each row.")
            each = take_numbers("entropy", each, f"the entropy of {place}")
        except (TypeError, IndexError, ValueError) as error:
            if "math domain" in str(error) or "positive input" in str(error):
                raise Unfit("A probability of 0 has no logarithm: let 0 ln 0 be 0.") from None
            if not found:
                raise
            also = f"p may be {place} as well, such as the mean row"
            raise Unfit(f"{also}: there, your code raises {error}. Sum over axis -1.") from None
        found |= {name: value + 0.0 for name, value in each.items()}  # -0 becomes 0
    return found


def run_compute_scores(names: Names, case: Swaps) -> Names:
    """Of a judge that errs."""
    truth = draw_truth(case)
    given = names["compute_scores"](draw_probabilities(case, truth), truth)
    return take("compute_scores", as_results(given), SCORES)


def as_results(given: Any) -> Any:
    """Several results, also where they are one array, or what NumPy takes for one."""
    if isinstance(given, Tensor | tuple | list) or not np.ndim(given):
        return given
    return tuple(np.asarray(given))


def run_encode(names: Names, case: Swaps) -> Names:
    """Of the copier's codes, the one that is the clip; what the other is does not matter."""
    return {"the dynamic code": encode_clips(names["Copier"](), case)[1]["dynamic"]}


def run_decode(names: Names, case: Swaps) -> Names:
    """Swaps of the copier, all and some alone: each is the clip that gives d."""
    copier, donor = names["Copier"](), random_donors(case.swaps, 0)
    x, codes = encode_clips(copier, case)
    swapped = codes | {"static": codes["static"][donor]}
    found = take_numbers("Copier.decode", copier.decode(swapped), "the swaps")
    if np.array_equal(found["the swaps"], x[donor]):
        raise Unfit("This copies the donor of s, whose motion is wrong: Acc would find it out.")
    half = case.swaps // 2
    some = swapped | {name: swapped[name][:half] for name in ("static", "dynamic")}
    some["static"] = torch.rand_like(some["static"])  # whatever s is
    return found | take_numbers("Copier.decode", copier.decode(some), "the first half of them")


def encode_clips(copier: Any, case: Swaps) -> tuple[Tensor, dict[str, Tensor]]:
    """Clips and the copier's codes of them; Unfit if a swap could not be made of these."""
    x = torch.from_numpy(start_random(case).random((case.swaps, 4, 3, 2, 2)))
    codes = copier.encode(x)
    if not isinstance(codes, dict) or not {*codes} >= {"static", "dynamic"}:
        given = f"the keys {', '.join(codes)}" if isinstance(codes, dict) else f"a {kind(codes)}"
        raise Unfit(f'`encode` gives {given}; expected {{"static": ..., "dynamic": ...}}.')
    for name, code in ((name, codes[name]) for name in ("static", "dynamic")):
        if not isinstance(code, Tensor) or not code.ndim or len(code) != len(x):
            rows = f"a tensor with a row for each of {len(x)} clips"
            raise Unfit(f"The {name} code is a {kind(code)}; expected {rows}.")
    return x, codes


# ---- All together: who finds out the copier


class World(NamedTuple):
    """Real clips of 32 x 32, the judge of that size, and a model that swaps."""

    few: Any  # all nine clips of eight characters
    judge: Any
    model: Any
    seen: np.ndarray  # the judge's probabilities of the motions of all 2,664 test clips
    motion: np.ndarray


@cache
def load_world() -> World:
    """What the last check is run with."""
    clips = sprites.load("test", image_size=32)
    first = clips.labels["character"].argsort(stable=True)[:72]
    judge = load_judge("sprites", clips.classes)
    name = "single_element/sprites/quick/single_element-seed0"
    model = SingleElement.load(records.weights(name)).eval()
    seen = judge_clips(judge, clips.as_float().frames)["motion"].numpy()
    return World(clips.subset(first), judge, model, seen, clips.labels["motion"].numpy())


@torch.no_grad()
def find_copier(names: Names, _: Any) -> Names:
    """Six scores of a model and of a copier, and four of the copier on all test clips."""
    world = load_world()
    found: Names = {}
    for title, model in {"the model": world.model, "the copier": names["Copier"]()}.items():
        given = names["score_model"](model, world.few, random_donors(72, 0), world.judge)
        taken = take("score_model", as_results(given), (*SCORES, *SHARES))
        found |= {f"{title}: {name}": value for name, value in taken.items()}
    found["Acc rewards the copier"] = found["the copier: Acc"] > 0.99
    for name in SHARES:
        is_fewer = found[f"the copier: {name}"] < found[f"the model: {name}"] / 2
        found[f"the copier has fewer than half of the model's {name}"] = is_fewer

    given = names["compute_scores"](world.seen, world.motion)
    taken = take("compute_scores", as_results(given), SCORES)
    of_all = "of a copier of all 2,664 test clips"
    return found | {f"{name} {of_all}": value for name, value in taken.items()}


PARTS = {
    "true_clip": Part(run_true_clip, ("swap",), cases=CASES),
    "find_nearest": Part(run_find_nearest, ("swap",), cases=CASES),
    "donor_shares": Part(run_donor_shares, cases=CASES),
    "entropy": Part(run_entropy, ("row", "class"), cases=CASES),
    "compute_scores": Part(run_compute_scores, cases=CASES),
    "Copier.encode": Part(run_encode, ("clip", "number"), cases=CASES),
    "Copier.decode": Part(run_decode, ("swap", "frame"), cases=CASES),
    "the copier": Part(find_copier, cases=CASES[:1]),
}
