"""What is run to check the instruments of notebook 03; n03.toml knows the mistakes by name."""

from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from unbraid.measures import information

from unbraid_course.workshop import (
    Names,
    Part,
    Unfit,
    kind,
    noise,
    protect,
    refuse_nothing,
    take_numbers,
)

WANTED = ("ksg", "ross", "shuffle_pairs", "p_value", "plant_bit")
TAKEN = ("draw_shapes", "draw_worlds")  # what the last check takes from the page


class Samples(NamedTuple):
    """What an instrument is run with: the numbers of samples, of units of both codes, and k."""

    rows: int
    x_units: int
    y_units: int
    k: int
    depends: bool = True  # whether y depends on x

    def __str__(self) -> str:
        return f"{self.rows} samples of {self.x_units} and {self.y_units} units, k = {self.k}"


CASES = (
    Samples(40, 1, 1, 3),
    Samples(36, 3, 2, 5),
    Samples(22, 2, 1, 2, depends=False),  # where both estimates are negative
    Samples(12, 1, 1, 3),  # the page's own number of points
)


def draw(case: Samples) -> tuple[np.ndarray, ...]:
    """Codes x (N, d) and y (N, e) of unlike scales; a little noise would change no count."""
    x, y = (noise((case.rows, units, 1)).numpy()[..., 0] for units in case[1:3])
    x, y = x.copy(), np.roll(y, 5, 0)
    if case.depends:
        y[:, 0] += 2 * x[:, 0] ** 2
    return protect(2 * x, y)


def read_k(case: Samples) -> list[int]:
    """The page's calls leave out k where it is 3, as by default."""
    return [] if case.k == 3 else [case.k]


def run_box(names: Names, case: Samples) -> Names:
    """The box of each point."""
    x, y = draw(case)
    said = ("neighbours", "half the side of the box", "n_x", "n_y")
    rows: list[list[Any]] = []
    for i in range(case.rows):
        given = names["find_box"](i, x, y, *read_k(case))
        refuse_nothing("find_box", given)
        shapes = [np.shape(each) for each in given] if isinstance(given, tuple | list) else []
        if shapes != [(case.k,), (), (), ()]:
            found = f"results of the shapes {shapes}" if shapes else f"a {kind(given)}"
            wanted = f"{case.k} numbers of neighbours, half the side, n_x, n_y"
            raise Unfit(f"`find_box` gives {found}; expected four results: {wanted}.")
        rows.append([np.sort(given[0]), *given[1:]])
    columns = dict(zip(said, zip(*rows, strict=True), strict=True))
    return {f"{name} of each point": np.array(column) for name, column in columns.items()}


def run_ksg(names: Names, case: Samples) -> Names:
    """The estimate."""
    x, y = draw(case)
    return take_numbers("ksg", names["ksg"](x, y, *read_k(case)), "bits")


def run_ross(names: Names, case: Samples) -> Names:
    """The estimate for three classes of unlike sizes, whose numbers leave some out."""
    x, y = draw(case)
    labels = np.searchsorted(np.sort(y[:, 0])[[case.rows // 5, case.rows // 2]], y[:, 0])
    (classes,) = protect(np.array([4, 1, 9])[labels])
    return take_numbers("ross", names["ross"](x, classes, *read_k(case)), "bits")


def run_labels(names: Names) -> Names:
    """Of labels, as the page shuffles them for `ross`, and as many as it asks for."""
    sizes: list[tuple[int, ...]] = []

    def measure(x: np.ndarray, y: np.ndarray) -> float:
        sizes.append((len(np.unique(x)), len(np.unique(y))))
        return float(x[:, 0] @ y)

    numbers = protect(np.arange(40.0).reshape(20, 2), np.arange(20))
    given = names["shuffle_pairs"](measure, *numbers, np.random.default_rng(0))
    values = take_numbers("shuffle_pairs", given, "values")["values"]
    holds = len(values) == 20 and {*sizes} == {(40, 20)} and len(np.unique(values)) > 5
    return {"there are 20 values, each of all labels in another order": np.array(holds)}


def run_shuffle(names: Names, case: str) -> Names:
    """What becomes of pairs whose numbers say from which row they are."""
    if case == LABELS:
        return run_labels(names)
    a, b = np.arange(40.0).reshape(20, 2), 100 + np.arange(60.0).reshape(20, 3)
    pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def product(x: np.ndarray, y: np.ndarray) -> float:  # of both signs, and no whole number
        return float(np.mean((x[:, 0] - 19) * (y[:, 0] - 128.5))) / 40

    def measure(x: np.ndarray, y: np.ndarray) -> float:
        pairs.append((np.array(x), np.array(y)))
        return product(x, y)

    def shuffle(seed: int, count: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        given = names["shuffle_pairs"](measure, *protect(a, b), random, count)
        return take_numbers("shuffle_pairs", given, "values")["values"]

    values = shuffle(0, 6)
    if values.shape != (6,) or len(pairs) < 6:
        found = f"gives {kind(values)} and calls `measure` {len(pairs)} times"
        raise Unfit(f"`shuffle_pairs` {found}; expected `count` values, here 6.")
    orders = [(x[:, 0] / 2, (y[:, 0] - 100) / 3) for x, y in pairs]
    mates = [tuple(y[np.argsort(x)]) for x, y in orders]  # of each row of a, the row of b
    same = max(np.mean(np.array(each) == np.arange(20)) for each in mates)
    whole = [np.ptp(x - a[:1], 1).max() + np.ptp(y - b[:1], 1).max() == 0 for x, y in pairs]
    once = [np.array_equal(np.sort(each), np.arange(20)) for each in chain(*orders)]
    measured = [product(*pair) for pair in pairs[:6]]
    again, other = shuffle(0, 6), shuffle(1, 6)
    follows = np.array_equal(again, values) and not np.array_equal(other, values)
    holds = {
        "the rows of a and b stay whole": all(whole),
        "each row of a and of b occurs once": all(once),
        "a or b comes in another order": any(np.diff([*orders[0]]).ravel() != 1),
        "hardly a row of b stays with its row of a": same < 0.4,
        "the orders are no shifts": any(np.diff(mates[0]) % 20 != 1) or same == 1,
        "each order is another one": len({*mates}) == len(mates) == 6,
        "the values are those of the shuffled pairs, with signs and decimals": np.allclose(
            np.sort(values), np.sort(measured)
        ),
        "the values are in the order of the shuffles": np.allclose(values, measured),
        "the orders follow the generator `random`": follows,
    }
    return {name: np.array(bool(each)) for name, each in holds.items()}


def run_p(names: Names, _: Any) -> Names:
    """The p of a value above all others, below them, between them, and equal to some."""
    shuffled, found = [0.3, -0.1, 0.2, 0.2, 0.05, -0.4, 0.0], Names()
    for value in (0.9, -0.7, 0.04, 0.2):
        given = names["p_value"](value, yours := [*shuffled])
        found |= take_numbers("p_value", given, f"p of {value} among {shuffled}")
        found[f"the values keep their order, with {value}"] = np.array(yours == shuffled)
    return found


def run_plant(names: Names, _: Any) -> Names:
    """What must hold of a planted bit, in codes of two units and of the page's eight."""
    found: dict[str, Any] = {}
    for width in (2, 8):
        x, coin = noise((400, width)).numpy().copy(), noise((399, 1)).numpy()[:, 0] > 0
        x, bit = protect(x[1:], coin.astype(int))
        given = names["plant_bit"](x, bit)
        z = take_numbers("plant_bit", given, "a code")["a code"]
        if z.shape != x.shape:
            raise Unfit(f"`plant_bit` gives an {kind(z)}; expected the shape of x, {x.shape}.")
        signs, says, of = np.sign(z), 2 * bit - 1, f", with {width} units" * (width > 2)
        product = signs[:, 0] * signs[:, 1]
        alone = [abs(np.mean(signs[:, unit] * says)) for unit in (0, 1)]
        found |= {f"share of the samples with the right signs{of}": np.mean(product == says)}
        holds = {
            "each unit alone says nothing of the bit": max(alone) < 0.25,
            "units 0 and 1 have equal signs where the bit is 1": all(product[bit == 1] == 1),
            "they have opposite signs where the bit is 0": all(product[bit == 0] == -1),
            "all sizes stay as they were": np.allclose(abs(z), abs(x)),
            "the other units stay as they were": np.allclose(z[:, 2:], x[:, 2:]),
        }
        found |= {name + of: bool(each) for name, each in holds.items()}
    return {name: np.array(each) for name, each in found.items()}


def run_page(names: Names, case: Samples, is_library: bool = False) -> Names:
    """Numbers that the page prints, by instruments or by those of the library."""

    def measure(a: np.ndarray, b: np.ndarray) -> Any:
        if is_library:
            return information.kraskov(a, b, jitter=0).estimate
        return names["ksg"](a / a.std(0), b / b.std(0))

    shapes = names["draw_shapes"](case.rows, np.random.default_rng(0))
    (zero, _), (_, one) = names["draw_worlds"](case.rows, np.random.default_rng([0, 1]))[LINK]
    wave = np.random.default_rng([0, 13]).uniform(-2, 2, (case.rows, 1))
    pairs: Names = {name: np.stack(shapes[name])[..., None] for name in ("line", "parabola")}
    pairs |= {LINK: [zero, one], "fast wave": [wave, np.sin(2 * np.pi * 20 * wave)]}
    found = Names()
    for name, pair in pairs.items():
        found |= take_numbers("ksg", measure(*pair), f"bits of the {name}")

    few = [code[:100] for code in pairs["parabola"]]
    shuffled = names["shuffle_pairs"](measure, *few, np.random.default_rng(0))
    found["the shuffled values are around 0"] = np.array(abs(np.mean(shuffled)) < 0.25)
    p = names["p_value"](measure(*few), shuffled)
    found |= take_numbers("p_value", p, "p of the parabola")

    random = np.random.default_rng([0, 17])
    bit = random.integers(2, size=400)
    z = names["plant_bit"](random.standard_normal((400, 8)), bit)[:, :2]
    given, right = names["ross"](z / z.std(0), bit), information.ross(z, bit).estimate
    found["most of the planted bit is found"] = np.array(given > 0.8)
    return found | take_numbers("ross", given - right, "bits of it that the library does not find")


LABELS = "labels b (20,)"
LINK = "hidden link"
PARTS = {
    "find_box": Part(run_box, ("point", "neighbour"), cases=CASES),
    "ksg": Part(run_ksg, (), cases=CASES, share=1e-5),
    "shuffle_pairs": Part(run_shuffle, (), cases=("two codes", LABELS)),
    "p_value": Part(run_p, (), cases=CASES[:1], share=1e-5),
    "ross": Part(run_ross, (), cases=CASES[:3], share=1e-5),
    "plant_bit": Part(run_plant, (), cases=CASES[:1]),
    "the numbers of the page": Part(
        run_page, (), partial(run_page, is_library=True), (Samples(1000, 1, 1, 3),), share=1e-5
    ),
}
