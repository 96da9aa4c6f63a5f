"""Seven published scores of how a code's units and the data's known factors belong together.

All are 1 at best; 0 (explicitness: .5) says "nothing":

    disentanglement  a unit serves one factor only           Eastwood and Williams (ICLR 2018), from importances of gradient
    completeness     a factor sits in one unit only            boosting, as the MSD benchmark (arXiv 2510.17313): depth 3,
    informativeness  a factor can be read off all units        20 % for the test; accuracy
    modularity       a unit informs on one factor only       Ridgeway and Mozer (NeurIPS 2018, arXiv 1802.05312)
    explicitness     a linear model tells a class from the rest  the same; AUROC
    mig              gap between the two most telling units  Chen et al. (NeurIPS 2018, arXiv 1802.04942), over the entropy
    sap              the same gap for thresholds on a unit   Kumar et al. (ICLR 2018, arXiv 1711.00848)

They ask for more than disentangled *codes*: a factor that lives in three units of the right code loses completeness, mig and
sap though nothing leaks, and a code rotated by 45 degrees loses nearly all. Beware of disentanglement and completeness where
factors are hard to read: boosting then spends its trees on noise, and the figure tells of the number of trees (a noisy but
axis-aligned code of 8 units: .79, .69, .53, .41 with 10, 20, 50, 100 trees). Modularity counts every unit alike, so units
of mere noise pull it to a level that says nothing (.68 for a perfect code with as many noise units beside it).
Explicitness of a class in the middle of an ordered unit is chance, though the unit tells the factor perfectly.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from unbraid.measures.intervals import Interval

SCORES = (
    "disentanglement",
    "completeness",
    "informativeness",
    "modularity",
    "explicitness",
    "mig",
    "sap",
)
ON_TEST = {
    "informativeness",
    "explicitness",
    "sap",
}  # scored on held-out rows; the others on the rows they are made from


@dataclass(frozen=True, eq=False)
class FactorMetrics:
    """The seven scores with their intervals, and the tables they come from."""

    scores: dict[
        str, Interval
    ]  # by the names above; disentanglement and modularity are NaN for a single factor
    by_factor: dict[
        str, dict[str, float]
    ]  # completeness, informativeness, explicitness, mig, sap -> factor -> value
    importance: np.ndarray  # (D', F) mean over folds, each factor's importances adding up to 1
    information: (
        np.ndarray
    )  # (D', F) mutual information of unit and factor over the factor's entropy
    units: (
        np.ndarray
    )  # (D',) the units that vary, the rows of both tables; constant ones are left out
    factors: tuple[str, ...]

    def as_dict(self) -> dict:
        """Plain values for JSON: score -> value, interval, and by factor where it has one; None where not defined."""

        def plain(number):
            return None if np.isnan(number) else float(number)

        return {
            name: {
                "value": plain(i.mean),
                "interval": [plain(i.low), plain(i.high)],
                "by_factor": self.by_factor.get(name, {}),
            }
            for name, i in self.scores.items()
        }


def factor_metrics(
    codes, factors, trees=20, learning_rate=0.3, bins=20, folds=5, confidence=0.95, seed=0
):
    """All seven scores of one code; returns `FactorMetrics`.

    codes: (N, D), a row a sequence (rows count as independent), such as static codes, or dynamic ones averaged over time.
    factors: name -> (N,) classes (integers, strings, truth values). Numbers that are not whole are taken for continuous and cut
        at their quantiles into `bins` classes.
    trees, learning_rate: of gradient boosting; 100 and 0.1 are the published setting. The default is within .10 of its
        figures in a fifth of its time: at 2 000 rows about 0.01 s a fold for each unit and class (16 units, 6 factors of 6
        classes: 30 s in all; 256 units: 8 minutes).
    bins: of equal width between a unit's extremes, for mutual information (modularity, mig).

    The rows are cut at random into folds. Each in turn is the test set of informativeness, explicitness and sap, whose
    interval is Nadeau and Bengio's t of the folds' results; and is left out of what disentanglement, completeness, modularity and mig are
    made from, whose interval is that of the jackknife by groups. Both are about the expected figure at this N (of the
    first three and the two of boosting: at 4/5 of it) and have folds - 1 degrees of freedom: wide, and
    found to hold that expectation 93 to 100 times in 100.
    sap is scaled so that accuracy at chance counts 0 and a perfect one 1: the published figure times C / (C - 1) for C classes.
    Raises ValueError for NaN or infinity, rows that differ, no unit that varies, a factor with one class or with fewer than
    two rows a fold of some class.
    """
    if folds < 2 or bins < 2 or trees < 1:
        raise ValueError(
            f"folds, bins, trees: expected at least 2, 2 and 1, found {folds}, {bins}, {trees}"
        )
    codes, units = _checked_codes(codes)
    classes = {
        name: _classes(name, values, len(codes), bins, folds) for name, values in factors.items()
    }
    if not classes:
        raise ValueError("factors: expected at least one factor, found none")
    generator = np.random.default_rng(seed)
    fold = generator.permutation(len(codes)) % folds  # (N,)
    digits = np.stack([_histogram_bins(unit, bins) for unit in codes.T], axis=1)
    labels = np.stack(list(classes.values()), axis=1)  # (N, F)
    rounds = [
        _held_out(codes, digits, labels, fold == f, trees, learning_rate, seed)
        for f in range(folds)
    ]
    everywhere = information_matrix(digits, labels)
    whole = {"modularity": modularity(everywhere), "mig": _top_gap(everywhere)}
    scores = {
        name: _interval(
            name,
            np.array([_mean(one[name]) for one in rounds]),
            whole.get(name),
            confidence,
            len(codes),
        )
        for name in SCORES
    }
    tables = {
        name: _mean([one[name] for one in rounds], axis=0)
        for name in ("completeness", "informativeness", "explicitness", "sap")
    }
    by_factor = {
        name: dict(zip(classes, map(float, column)))
        for name, column in (tables | {"mig": whole["mig"]}).items()
    }
    importance = np.mean([one["importance"] for one in rounds], axis=0)
    return FactorMetrics(scores, by_factor, importance, everywhere, units, tuple(classes))


def disentanglement(importance):
    """Mean over units of 1 - entropy of their importances over factors, each unit weighted by its own share; from (D, F)."""
    importance = np.asarray(importance, dtype=np.float64)
    if importance.shape[1] == 1 or not importance.sum():
        return np.nan
    return float(np.sum(_evenness(importance) * importance.sum(axis=1) / importance.sum()))


def completeness(importance):
    """For each factor, 1 - entropy of its importances over units, (F,), from (D, F); 1 for a single unit."""
    return _evenness(np.asarray(importance, dtype=np.float64).T)


def modularity(information):
    """Mean over units of 1 - squared information on other factors over that on the unit's own, from (D, F)."""
    squared = np.asarray(information, dtype=np.float64) ** 2
    if squared.shape[1] == 1:
        return np.nan
    own = squared.max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        each = 1 - (squared.sum(axis=1) - own) / (own * (squared.shape[1] - 1))
    return float(
        np.mean(np.where(own > 0, each, 0.0))
    )  # a unit that knows nothing counts 0, as in disentanglement_lib


def information_matrix(digits, labels):
    """Mutual information of each unit's bins with each factor over the factor's entropy: (D, F), from 0 to 1.

    digits (N, D) and labels (N, F): integers from 0. The plug-in estimate: of independent ones it is not 0 but about
    (bins - 1)(classes - 1) / 2N nats, over the entropy.
    """
    entropies = np.array([_entropy(np.bincount(label)) for label in labels.T])
    matrix = np.empty((digits.shape[1], labels.shape[1]))
    for unit, digit in enumerate(digits.T):
        for factor, label in enumerate(labels.T):
            joint = _entropy(np.bincount(digit * (label.max() + 1) + label))
            matrix[unit, factor] = (
                _entropy(np.bincount(digit)) + entropies[factor] - joint
            ) / entropies[factor]
    return np.clip(matrix, 0, 1)  # rounding alone leaves [0, 1]


def _held_out(codes, digits, labels, test, trees, learning_rate, seed):
    """Everything for one test set (N,) bool: arrays over factors by the scores' names, and the importances."""
    train = ~test
    spread = codes[train].std(axis=0)
    scaled = (codes - codes[train].mean(axis=0)) / np.where(spread > 0, spread, 1)
    found = {name: [] for name in ("importance", "informativeness", "explicitness", "sap")}
    for label in labels.T:
        boosting = GradientBoostingClassifier(
            n_estimators=trees, learning_rate=learning_rate, max_depth=3, random_state=seed
        )
        boosting.fit(scaled[train], label[train])
        found["importance"].append(
            np.maximum(boosting.feature_importances_, 0)
        )  # rounding goes below 0
        found["informativeness"].append(np.mean(boosting.predict(scaled[test]) == label[test]))
        found["explicitness"].append(_explicitness(scaled, label, test))
        found["sap"].append(_top_gap(_threshold_accuracy(codes, label, test)[:, None])[0])
    importance, information = (
        np.array(found.pop("importance")).T,
        information_matrix(digits[train], labels[train]),
    )
    from_train = {
        "disentanglement": disentanglement(importance),
        "completeness": completeness(importance),
    }
    return (
        found
        | from_train
        | {
            "importance": importance,
            "modularity": modularity(information),
            "mig": _top_gap(information),
        }
    )


def _explicitness(scaled, label, test):
    """Mean over classes of the test AUROC of a logistic regression of that class against the rest."""
    areas, classes = [], np.unique(label)
    for one in classes if len(classes) > 2 else classes[1:]:  # two classes are each other's mirror
        if (
            0 < np.sum(label[test] == one) < test.sum()
        ):  # a class that the test set lacks has no AUROC there
            model = LogisticRegression(max_iter=1000).fit(scaled[~test], label[~test] == one)
            areas.append(roc_auc_score(label[test] == one, model.decision_function(scaled[test])))
    return np.mean(areas) if areas else np.nan


def _threshold_accuracy(codes, label, test):
    """Balanced accuracy of C - 1 thresholds on each unit alone, scaled to 0 at chance and 1 at best: (D,)."""
    count = len(np.unique(label))
    accuracies = []
    for unit in codes.T:
        tree = DecisionTreeClassifier(max_leaf_nodes=count, class_weight="balanced", random_state=0)
        right = tree.fit(unit[~test, None], label[~test]).predict(unit[test, None]) == label[test]
        accuracies.append(
            np.mean([right[label[test] == one].mean() for one in np.unique(label[test])])
        )
    return np.maximum((np.array(accuracies) - 1 / count) / (1 - 1 / count), 0)


def _interval(name, rounds, whole, confidence, count):
    """The score's value and interval from its five rounds, or those of them where it is defined; `whole` is the value on all rows
    where there is one."""
    rounds = rounds[~np.isnan(rounds)] if not np.isnan(rounds).all() else rounds
    folds = len(rounds)
    if folds == 1:
        return Interval(
            float(rounds[0]),
            np.nan,
            np.nan,
            count,
            "sequence",
            "the score is defined in one fold only: its spread cannot be told",
        )
    # Folds share training rows, which is what 1 / (folds - 1) makes up for: Nadeau and Bengio, Machine Learning 52, 239 (2003).
    variance = (
        rounds.var(ddof=1) * (1 / folds + 1 / (folds - 1))
        if name in ON_TEST
        else (folds - 1) * rounds.var()
    )
    value = float(rounds.mean() if whole is None else np.mean(whole))
    half = float(student_t.ppf(0.5 + confidence / 2, folds - 1) * np.sqrt(variance))
    if half <= 1e-9:  # also for what is not defined, NaN
        return Interval(
            value,
            np.nan,
            np.nan,
            count,
            "sequence",
            "the score is the same in every fold: its spread cannot be told",
        )
    return Interval(value, value - half, value + half, count, "sequence")


def _mean(values, axis=None):
    """The mean of what is defined: a test set that lacks the rare one of two classes has no explicitness of that factor."""
    values = np.ma.masked_invalid(np.asarray(values, dtype=np.float64))
    return np.ma.filled(values.mean(axis), np.nan)


def _top_gap(matrix):
    """Greatest minus second greatest of each column; the second is 0 where there is one unit only."""
    ordered = np.sort(np.vstack([np.zeros(matrix.shape[1]), matrix]), axis=0)
    return ordered[-1] - ordered[-2]


def _evenness(rows):
    """1 - entropy of each row over its greatest possible; 0 for a row of zeros, 1 where there is one column."""
    if rows.shape[1] == 1:
        return np.ones(len(rows))
    entropies = np.array([_entropy(row) if row.sum() else np.log(rows.shape[1]) for row in rows])
    return 1 - entropies / np.log(rows.shape[1])


def _entropy(counts):
    """Entropy in nats of counts or weights."""
    share = counts[counts > 0] / counts.sum()
    return float(-np.sum(share * np.log(share)))


def _histogram_bins(unit, bins):
    """The bin of each value, 0..bins - 1, of equal width between the extremes."""
    return np.clip(((unit - unit.min()) / np.ptp(unit) * bins).astype(int), 0, bins - 1)


def _classes(name, values, count, bins, folds):
    """Factor values as integers 0..C-1, checked."""
    values = np.asarray(values)
    if values.shape != (count,):
        raise ValueError(
            f"factor {name!r}: expected one class a row, shape ({count},), found {values.shape}; give static factors"
        )
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError(
                f"factor {name!r}: expected finite numbers, found {values[~np.isfinite(values)][0]}; drop these rows"
            )
        if (values != np.round(values)).any():
            values = np.searchsorted(
                np.unique(np.quantile(values, np.arange(1, bins) / bins)), values, side="right"
            )
    found, classes, sizes = np.unique(values, return_inverse=True, return_counts=True)
    if len(found) < 2 or sizes.min() < 2 * folds:
        raise ValueError(
            f"factor {name!r}: expected at least 2 classes of at least {2 * folds} rows each, found {len(found)} classes, the "
            f"rarest with {sizes.min()} rows; give more rows or join classes"
        )
    return classes


def _checked_codes(codes):
    """(N, D') units that vary and their numbers."""
    codes = np.asarray(codes, dtype=np.float64)
    if codes.ndim != 2 or not codes.size:
        raise ValueError(
            f"codes: expected shape (N, D), found {codes.shape}; average or flatten time"
        )
    if not np.isfinite(codes).all():
        row, unit = np.argwhere(~np.isfinite(codes))[0]
        raise ValueError(
            f"codes: expected finite numbers, found {codes[row, unit]} at row {row}, unit {unit}; mend these rows"
        )
    units = np.flatnonzero(np.ptp(codes, axis=0) > 0)
    if not units.size:
        raise ValueError(
            "codes: expected a unit that varies, found every unit constant: a collapsed code has no scores"
        )
    return codes[:, units], units
