"""What the leakage matrix costs, and the studies its settings were chosen by, on synthetic codes.

`python tests/bench_leakage.py` prints the row of the bench; with "probes", "reduction" or "bias" a study. `rows()` is for bench.py.
"""

import os
import resource
import sys
import time
import warnings

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.svm import SVC
from unbraid.measures import leakage
from unbraid.measures.discrete_information import bias_study


def sprites_like(count=2664, length=8, seed=0):
    """Codes and factors of the size of the sprites: static 256-d, dynamic 8 x 32; six factors; nothing leaks."""
    generator = np.random.default_rng(seed)
    look = {
        name: generator.integers(6, size=count) for name in ("skin", "hair", "shirt", "trousers")
    }
    motion = {name: generator.integers(3, size=count) for name in ("action", "direction")}
    phase = generator.uniform(0, 2 * np.pi, count)[:, None] + np.arange(length)
    still = np.hstack([np.eye(6)[one] for one in look.values()])
    moving = np.dstack(
        [
            np.sin(phase),
            np.cos(phase),
            *(np.eye(3)[one][:, None].repeat(length, 1) for one in motion.values()),
        ]
    )
    codes = {
        "static": still @ generator.normal(size=(24, 256)),
        "dynamic": moving @ generator.normal(size=(8, 32)),
    }
    return {
        name: code + 0.5 * generator.normal(size=code.shape) for name, code in codes.items()
    }, look | motion


def rows():
    """Seconds by the clock and of the processors for the whole matrix: linear probe with 100 bootstrap draws, and bits, from
    all sequences. Small matrix products gain nothing from threads, which wait for each other on a busy machine: on one with
    a load of 3, 15 s with OMP_NUM_THREADS=1 and 40 s with 2."""
    codes, factors = sprites_like()

    def clock():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return np.array([time.perf_counter(), used.ru_utime + used.ru_stime])

    started = clock()
    linear = leakage.leakage_matrix(codes, factors, bootstrap=100)
    middle = clock()
    bits = leakage.information_matrix(codes, factors, count=0)
    wall, processor = clock() - started
    assert linear["static", "hair"] > 0.95 and bits["static", "hair"] > 1
    seconds = {"wall_s": wall, "processor_s": processor, "probe_s": (middle - started)[0]}
    return [
        {"name": "leakage matrix, 2 codes x 6 factors, N=2664"}
        | {name: float(value) for name, value in seconds.items()}
    ]


def tasks(width, count=900, seed=0):
    """Synthetic codes of `width` units, name -> (x, y): what a probe must see and what it must not, rotated at random among
    units of little variance."""
    found = {}

    def add(name, units, y, noise=0.2):
        generator = np.random.default_rng([seed, width, len(found), 1])
        rest = noise * generator.normal(size=(count, max(width - units.shape[1], 0)))
        whole = np.hstack([units, rest])
        found[name] = whole @ np.linalg.qr(generator.normal(size=(whole.shape[1],) * 2))[0], y

    g = np.random.default_rng([seed, width])
    label, other = g.integers(6, size=(2, count))
    plane, bits = g.uniform(-1, 1, (count, 2)), g.integers(0, 2, (count, 2))
    often, cloud, more = (
        np.where(g.random(count) < 0.25, label, other),
        g.normal(size=(count, 2)),
        g.normal(size=(count, 2)),
    )
    angle = g.uniform(0, 2 * np.pi, count)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    add("clean classes", np.hstack([np.eye(6)[label], 0.3 * more]), label, 0.1)
    add(
        "noisy classes",
        np.hstack([np.eye(6)[label] + 0.45 * g.normal(size=(count, 6)), more]),
        label,
        0.5,
    )
    add(
        "classes of a quarter",
        np.hstack([2 * np.eye(6)[often] + 0.2 * g.normal(size=(count, 6)), more]),
        label,
        0.5,
    )
    add("no classes", g.normal(size=(count, width)), label)
    add("XOR of signs", np.hstack([cloud, more]), (cloud > 0).sum(1) % 2)
    add(
        "XOR of bits",
        np.hstack([2 * bits - 1 + 0.3 * g.normal(size=(count, 2)), more]),
        bits.sum(1) % 2,
    )
    add(
        "sectors of a ring",
        np.hstack([ring + 0.05 * g.normal(size=(count, 2)), 0.3 * more]),
        (np.cos(3 * angle) > 0).astype(int),
        0.05,
    )
    add("clean position", np.hstack([plane, 0.5 * more]), plane, 0.1)
    add("bent position", np.tanh(1.5 * plane @ g.normal(size=(2, 8))), plane, 0.05)
    add("product", np.hstack([cloud, more]), cloud[:, 0] * cloud[:, 1])
    add("no position", g.normal(size=(count, width)), plane)
    add(
        "classes in a row",
        cloud,
        np.floor(6 * np.argsort(np.argsort(cloud[:, 0])) / count).astype(int),
    )
    return found


def probe_study(widths=(8, 64, 256), count=900, seeds=(0, 1), only=""):
    """Mean skill of candidate probes over `tasks`; the chosen ones stand in `leakage.PROBES`. Rows with every task's skill."""
    candidates = {}
    for c in (0.001, 0.01, 0.1, 1.0):
        candidates[f"linear classes C={c}"] = lambda width, c=c: LogisticRegression(
            C=c, max_iter=1000
        )
    for c in (0.3, 1.0, 3.0, 10.0):
        candidates[f"linear classes C={c}/width"] = lambda width, c=c: LogisticRegression(
            C=c / width, max_iter=1000
        )
    for a in (1.0, 10.0, 30.0, 100.0, 300.0):
        candidates[f"linear continuous alpha={a}"] = lambda width, a=a: Ridge(alpha=a)
    for c in (0.3, 1.0, 3.0, 10.0):
        candidates[f"SVM classes C={c}"] = lambda width, c=c: SVC(C=c, gamma=1 / width)
    for a in (0.1, 0.3, 1.0):
        candidates[f"kernel ridge continuous alpha={a}"] = lambda width, a=a: KernelRidge(
            alpha=a, kernel="rbf", gamma=1 / width
        )
    for a in (0.1, 1.0, 10.0):
        candidates[f"MLP classes alpha={a}"] = lambda width, a=a: MLPClassifier(
            hidden_layer_sizes=(256,), alpha=a, random_state=0
        )
        candidates[f"MLP continuous alpha={a}"] = lambda width, a=a: MLPRegressor(
            hidden_layer_sizes=(256,), alpha=a, random_state=0
        )
    candidates["boosting classes"] = lambda width: HistGradientBoostingClassifier(random_state=0)
    candidates["boosting continuous"] = lambda width: MultiOutputRegressor(
        HistGradientBoostingRegressor(random_state=0)
    )
    candidates["random trees classes"] = lambda width: ExtraTreesClassifier(200, random_state=0)
    candidates["random trees continuous"] = lambda width: ExtraTreesRegressor(200, random_state=0)
    found, chosen = [], dict(leakage.PROBES)
    for name, model in candidates.items():
        if only not in name:
            continue
        kind = "classes" if "classes" in name else "continuous"
        leakage.PROBES["linear", kind] = model
        skills, started = {}, time.process_time()
        for width in widths:
            for seed in seeds:
                for task, (x, y) in tasks(width, count, seed).items():
                    if (y.dtype.kind == "i") == (kind == "classes"):
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore")
                            matrix = leakage.leakage_matrix(
                                {"x": x},
                                {"y": y},
                                test=1 / 3,
                                permutations=1,
                                bootstrap=20,
                                seed=seed,
                            )
                        skills.setdefault(f"{task} {width}", []).append(matrix["x", "y"])
        skills = {task: float(np.mean(values)) for task, values in skills.items()}
        found.append(
            {
                "name": name,
                "mean": float(np.mean(list(skills.values()))),
                "seconds": time.process_time() - started,
            }
            | skills
        )
        print(
            f"{name:34} mean {found[-1]['mean']:.3f} {found[-1]['seconds']:6.1f} s ",
            *(f"{v:.2f}" for v in skills.values()),
            flush=True,
        )
    leakage.PROBES.update(chosen)
    return found


def reduction_study(width=64, count=1000, repeats=3):
    """Bits of a leak that are left after a reduction to p principal components: XOR of the signs of two units (1 bit), and six
    classes (2.58 bits), in units of a given spread among others of spread 1, all rotated in `width` units. Printed rows."""
    sizes = (2, 4, 6, 8, 10, 16, 32)
    print(f"{'leak, its spread, other units':34}", *(f"{p:5d}" for p in sizes))
    for leak in ("XOR", "classes"):
        for spread in (0.5, 1.0, 2.0):
            for others in (2, 6, 20):
                bits = []
                for repeat in range(repeats):
                    g = np.random.default_rng([repeat, others])
                    y = g.integers(6, size=count)
                    units = 3 * np.eye(6)[y] + 0.6 * g.normal(size=(count, 6))
                    if leak == "XOR":
                        units = g.normal(size=(count, 2))
                        y = (units > 0).sum(1) % 2
                    rest = width - others - units.shape[1]
                    x = np.hstack(
                        [
                            spread * units,
                            g.normal(size=(count, others)),
                            0.1 * g.normal(size=(count, rest)),
                        ]
                    )
                    x = x @ np.linalg.qr(g.normal(size=(width, width)))[0]
                    cheap = {"shuffles": 2, "interval": 1}
                    bits.append(
                        [
                            leakage.information_matrix(
                                {"x": x}, {"y": y}, components=p, **cheap
                            ).value[0, 0]
                            for p in sizes
                        ]
                    )
                print(
                    f"{leak:8} {spread:4} {others:20d}",
                    *(f"{v:5.2f}" for v in np.mean(bits, axis=0)),
                    flush=True,
                )


if __name__ == "__main__":
    print(f"threads {os.environ.get('OMP_NUM_THREADS', 'all')}, load {os.getloadavg()[0]:.1f}")
    if "probes" in sys.argv:
        probe_study(only=sys.argv[-1] if sys.argv[-1] != "probes" else "")
    elif "reduction" in sys.argv:
        reduction_study()
    elif "bias" in sys.argv:
        for settings in ({}, {"informative": 1}, {"labels": 6}):
            for row in bias_study(
                true=2.0 if "labels" not in settings else 1.5, repeats=5, **settings
            ):
                print(settings, *(f"{key} {value:.2f}" for key, value in row.items()))
    else:
        for row in rows():
            print(row)
