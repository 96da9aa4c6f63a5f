"""Speed of the Kraskov estimator beside a plain k-d tree loop: `python tests/bench_kraskov.py [--all]`.

`--all` also times both searches at every size, which is how the rule in `neighbour_counts` was chosen.
TABLE
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
        counts.append([len(tree.query_ball_point(point, r, p=np.inf)) - 1 for point, r in zip(side, radius)])
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
        row = {"name": f"Kraskov N={count} d={width}", "ours_s": ours, "tree_loop_s": loop, "speedup": loop / ours}
        if searches:
            for search in ("tree", "blocks"):
                repeats = 1 if slow and search == "tree" else 3
                row[f"{search}_s"] = seconds(lambda: neighbour_counts(x, y, k, 1, search), repeats)[0]
        found.append(row)
    return found


if __name__ == "__main__":
    everything = "--all" in sys.argv
    for size in ALL_SIZES if everything else SIZES:
        for row in rows([size], searches=everything):
            print("  ".join(f"{key} {value}" if isinstance(value, str) else f"{key} {value:8.4f}" for key, value in row.items()), flush=True)
