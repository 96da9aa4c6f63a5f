"""What is run to check the functions of notebook 13; n13.toml knows the mistakes by name."""

from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor
from unbraid import IndependentPrediction, MovingDigits, load_digits, records

from unbraid_course.lessons import n13
from unbraid_course.workshop import Names, Part, Unfit, build, kind, noise, take_numbers

WANTED = ("correlate", "inside", "inside_by_chance", "freeze", "measure_use", "score_places")
TAKEN = ("sample_codes",)  # of the lesson, with which the last check reads the models
RUNS = "independent/circle/quick"  # in results/


class Case(NamedTuple):
    """What an instrument is run with: in words, as numbers, and, of a trained model, its run."""

    called: str
    sizes: dict[str, int]  # over what a mean may stand for a sum
    run: int = 0

    def __str__(self) -> str:
        return self.called

    def __hash__(self) -> int:
        return hash(self.called)


DEAD = "6 units, one of which never changes"
MATRICES = Case("4 units", {"clips": 120, "units": 4}), Case(DEAD, {"clips": 200, "units": 6})
PLACES = Case("4 units and 2 places", {"clips": 90, "units": 4})  # as the page's `inspect`
FILMS = (
    Case("2 factors, 4 clips of 5 frames", {"factors": 2, "clips": 4, "frames": 5}),
    Case("3 factors, 2 clips of 4 frames", {"factors": 3, "clips": 2, "frames": 4}),
)
MODELS = (
    Case("the second model", {"factors": 2}, run=1),
    Case("a model that separates the digits", {"factors": 2}, run=4),
)


def draw_codes(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Codes at a frame and at the next, (N, units) each, of unlike means and deviations."""
    units = case.sizes["units"]
    now, more = noise((2, *case.sizes.values())).numpy()
    later = 0.6 * now + 0.5 * now[:, ::-1] ** 2 + 0.4 * more
    codes = np.stack([now, later]) * np.arange(1, units + 1) + 3
    codes[:, :, 1] = 1.0 if case.called == DEAD else codes[:, :, 1]
    return codes[0], codes[1]


def run_correlate(names: Names, case: Case) -> Names:
    """The matrix of all units, one of which may be constant."""
    now, later = draw_codes(case)
    later = later[:, :2] if case is PLACES else later
    with np.errstate(all="ignore"):
        return take_numbers("correlate", names["correlate"](now, later), "correlations")


def run_inside(names: Names, case: Case) -> Names:
    """Of a matrix whose four blocks differ, and whose signs do."""
    C = n13.correlate(*draw_codes(case))
    return take_numbers("inside", names["inside"](C), "share inside")


def run_chance(names: Names, case: Case) -> Names:
    """The mean share, which no single division of the units gives."""
    units, what = case.sizes["units"], "mean share"
    half = units // 2
    is_own = np.kron(np.eye(2), np.ones((half, half)))
    signs = noise((units, units)).sign().numpy()
    C = (0.15 + 0.65 * is_own + 0.1 * np.eye(units)) * signs
    found = take_numbers("inside_by_chance", names["inside_by_chance"](C.copy(), 3, 2000), what)
    if found[what].ndim:
        raise Unfit(f"`inside_by_chance` gives {kind(found[what])}: take the mean.")
    for first in combinations(range(len(C)), half):
        order = [*first, *set(range(len(C))).difference(first)]
        if abs(n13.inside(C[np.ix_(order, order)]) - found[what]) < 1e-9:
            of = "the factors' own blocks" if order == sorted(order) else "a single division"
            raise Unfit(f"This is the share inside {of}: take the mean of all random orders.")
    again = names["inside_by_chance"](C.copy(), 3, 2000)
    return found | {"one seed gives one share": np.asarray(again) == found[what]}


def build_model(case: Case) -> Any:
    """A model of the library with tiny networks, in which each unit counts."""
    sizes = {"image_size": 8, "width": 3, "features": 5, "factor_size": 3, "hidden": 4}
    model = build(
        IndependentPrediction, None, factors=case.sizes["factors"], hidden_layers=1, **sizes
    )
    return model.eval()


def draw_films(case: Case) -> tuple[Tensor, Tensor]:
    """Two sets of clips, (N, T, 3, 8, 8)."""
    _, clips, frames = case.sizes.values()
    return tuple(noise((2, clips, frames, 3, 8, 8)).sigmoid())


def run_freeze(names: Names, case: Case) -> Names:
    """The frames while each factor waits."""
    model, (x, _), found = build_model(case), draw_films(case), Names()
    with torch.no_grad():
        for name in model.code_names:
            frames = names["freeze"](model, x, name)
            found |= take_numbers("freeze", frames, f"frames, {name} waits")
        again = take_numbers("freeze", names["freeze"](model, x, name), "again")["again"]
    is_same = np.array_equal(again, [*found.values()][-1])
    return found | {"one clip gives one film, since `encode(x)` gives means": np.array(is_same)}


def run_use(names: Names, case: Case) -> Names:
    """The use of each factor; both sets of clips differ in each."""
    with torch.no_grad():
        use = names["measure_use"](build_model(case), *draw_films(case))
    return take_numbers("measure_use", use, "use")


def run_scores(names: Names, case: Case) -> Names:
    """R² of places that the first factor has, the second one, or both."""
    now, later = draw_codes(case)
    half = case.sizes["units"] // 2
    ends = [0, half - 1]  # units that change in all cases
    places = [now[:, ends] + later[:, ends], now[:, half : half + 2] + now[:, ends]]
    return take_numbers("score_places", names["score_places"](later, places), "R²")


# ---- The models of the clone


@lru_cache(2)
def open_model(run: int) -> tuple[Any, list[np.ndarray], Tensor]:
    """A model, the pairs and places of the page, and some of its clips."""
    model = IndependentPrediction.load(records.weights(f"{RUNS}/own_v10-seed{run}"))
    sampler = MovingDigits(load_digits("test"), 32, 8, motion="circle", speeds=(0.5, -0.9))
    draws = Generator().manual_seed(1000)
    clips = sampler(1000, draws)
    with torch.no_grad():
        z, _ = n13.sample_codes(model, clips, draws)
    rows, t = torch.arange(1000), torch.randint(7, (1000,), generator=draws)
    places = [clips.labels[name][rows, t + 1].numpy() for name in clips.dynamic]
    watched = sampler(64, Generator().manual_seed(3000)).frames[:16]  # others say no more
    codes = [z[rows, t].astype(float), z[rows, t + 1].astype(float)]
    return model.double(), [*codes, *places], watched.double()  # loops and sums then agree


def run_models(names: Names, case: Case) -> Names:
    """What the page's figures show of a model: only some of it says that a factor is empty."""
    model, (now, later, *places), x = open_model(case.run)
    with torch.no_grad():
        C = np.asarray(names["correlate"](now, later))
        found = take_numbers("inside", names["inside"](C), "share inside")
        chance = names["inside_by_chance"](C, 0)
        is_near = abs(chance - n13.inside_by_chance(C, 0)) < 0.05
        found["the share inside by chance is near the page's"] = np.asarray(is_near)
        scores = names["score_places"](later, places)
        found |= take_numbers("score_places", scores, "R²")
        use = names["measure_use"](model, x, x.roll(1, 0))
        found |= take_numbers("measure_use", use, "use")
        decoded = model.decode(model.encode(x[:8]))
        for name in model.code_names:
            change = names["freeze"](model, x[:8], name) - decoded
            found[f"change of each frame while {name} waits"] = change.square().mean((0, 2, 3, 4))
    return {name: np.asarray(each) for name, each in found.items()}


PARTS = {
    "correlate": Part(run_correlate, ("unit at t", "unit at t + 1"), cases=(*MATRICES, PLACES)),
    "inside": Part(run_inside, (), cases=MATRICES),
    "inside_by_chance": Part(run_chance, (), cases=MATRICES[:1], share=0.03),
    "freeze": Part(run_freeze, ("clip", "frame"), cases=FILMS),
    "measure_use": Part(run_use, ("factor",), cases=FILMS),
    "score_places": Part(run_scores, ("factor", "digit"), cases=MATRICES),
    "the second model": Part(run_models, ("factor", "digit"), cases=MODELS, share=1e-4),
}
