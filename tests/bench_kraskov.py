"""Speed of the Kraskov estimator beside a plain k-d tree loop: `python tests/bench_kraskov.py [--all]`.

`--all` also times both searches at every size, which is how the rule in `neighbour_counts` was chosen: the tree up to six
joint dimensions, blocks above. Seconds on two busy cores, fewest of several, tree / blocks (loop), Gaussians of correlation .9:

| d on each side | N = 1000           | N = 3000           | N = 10 000         |
|----------------|--------------------|--------------------|--------------------|
| 1              | .009 / .014 (.008) | .008 / .047 (.028) | .027 / .52 (.11)   |
| 2              | .011 / .014 (.012) | .023 / .069 (.042) | .095 / .66 (.17)   |
| 3              | .012 / .015        | .033 / .047        | .20  / .51         |
| 5              | .020 / .016 (.028) | .11  / .12  (.14)  | .62  / .72 (.74)   |
| 10             | .073 / .018 (.078) | .46  / .10  (.55)  | 4.2  / .95 (6.1)   |
| 20             | .14  / .025 (.16)  | 1.5  / .16  (1.5)  | 18.8 / 1.5 (19.9)  |
| 25             | .16  / .024 (.19)  | 1.6  / .23  (1.9)  | 21.7 / 1.9 (24.9)  |

Independent pairs cost the tree about twice as much from d = 2 on; blocks cost the same.
"""

import sys
import time

import numpy as np
from scipy.spatial import cKDTree
from unbraid.measures.mutual_information import neighbour_counts

SIZES = [(1000, 1), (1000, 20), (10_000, 1), (10_000, 20)]  # N, d on each side
ALL_SIZES = [(count, width) for count in (1000, 3000, 10_000) for width in (1, 2, 5, 10, 20, 25)]


def tree_loop(x, y, k):
    """The usual implementation: k-d trees, the neighbours of one point after the other, as NPEET's."""
    joint = np.hstack([x, y])
    radius = np.nextafter(cKDTree(joint).query(joint, [k + 1], p=np.inf)[0][:, 0], 0)
    counts = []
    for side in (x, y):
        tree = cKDTree(side)
        counts.append(
            [len(tree.query_ball_point(point, r, p=np.inf)) - 1 for point, r in zip(side, radius)]
        )
    return np.array(counts)


def seconds(function, repeats):
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - start)
    return best, result


def rows(sizes=SIZES, searches=False, k=3):
    """One row a size: seconds (fewest of several) of the library and of the loop, on Gaussian pairs of correlation .9."""
    generator = np.random.default_rng(0)
    found = []
    for count, width in sizes:
        x = generator.normal(size=(count, width))
        y = 0.9 * x + np.sqrt(1 - 0.81) * generator.normal(size=(count, width))
        slow = count * width > 50_000
        ours, counts = seconds(lambda: neighbour_counts(x, y, k, variant=1), 2 if slow else 5)
        loop, expected = seconds(lambda: tree_loop(x, y, k), 1 if slow else 3)
        assert np.array_equal(counts, expected), f"counts differ at N = {count}, d = {width}"
        row = {
            "name": f"Kraskov N={count} d={width}",
            "ours_s": ours,
            "tree_loop_s": loop,
            "speedup": loop / ours,
        }
        if searches:
            for search in ("tree", "blocks"):
                repeats = 1 if slow and search == "tree" else 3
                row[f"{search}_s"] = seconds(lambda: neighbour_counts(x, y, k, 1, search), repeats)[
                    0
                ]
        found.append(row)
    return found


if __name__ == "__main__":
    everything = "--all" in sys.argv
    for size in ALL_SIZES if everything else SIZES:
        for row in rows([size], searches=everything):
            print(
                f"{row.pop('name'):24}",
                *(f"{key} {value:8.4f}" for key, value in row.items()),
                sep="  ",
                flush=True,
            )
