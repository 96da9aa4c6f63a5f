"""What a notebook shows gives the numbers of the library's or of papers' own copy."""

import ast
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from unbraid import codes
from unbraid.data.moving_digits import Digits, MovingDigits
from unbraid.measures import information
from unbraid.measures.leakage import leakage_matrix, neighbour_scores
from unbraid.models.independent import IndependentPrediction

from papers.evaluation import independent


@pytest.fixture(scope="module")
def define(root):
    """A function that gives what a notebook's cells define, without running the rest of them."""

    def definitions(number: str, *names: str, **given) -> SimpleNamespace:
        """The functions and classes of these names, with what the notebook imports.

        number: of the notebook. given: further names that they read, such as `profile`.
        """
        (path,) = (root / "notebooks").glob(f"{number}_*.ipynb")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        statements = [statement for source in sources for statement in ast.parse(source).body]
        imports, named = [], {}
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                imports.append(statement)
            elif getattr(statement, "name", None) in names:
                named[statement.name] = statement
        assert named.keys() == set(names)
        module = ast.Module([*imports, *named.values()], type_ignores=[])
        space = dict(given)
        with torch.no_grad():
            exec(compile(module, str(path), "exec"), space)
        return SimpleNamespace(**{name: space[name] for name in names})

    return definitions


@pytest.fixture(autouse=True)
def without_gradients():
    """As in a notebook that learns nothing."""
    with torch.no_grad():
        yield


# ---- 12 and 13, paper A


@pytest.fixture(scope="module")
def model():
    """Paper A's model, small and not trained."""
    torch.manual_seed(0)
    sizes = {"image_size": 32, "width": 4, "features": 8, "hidden": 8, "factor_size": 3}
    return IndependentPrediction(**sizes, normalise=False, output="linear").eval()


@pytest.fixture(scope="module")
def sampler():
    """Moving digits of which each is a patch of noise."""
    images = torch.randint(256, (20, 28, 28), generator=seeded(0), dtype=torch.uint8)
    digits = Digits(images, torch.arange(20) % 10, "test", "noise")
    return MovingDigits(digits, image_size=32, length=4, motion="circle", speeds=(0.5, -0.9))


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def dependent_factors(factors, units=3, samples=120):
    """Lists of factors now and a frame later, (N, d) each, all of which depend on each other."""
    random = np.random.default_rng(0)
    now = random.normal(size=(factors, samples, units))
    later = 0.9 * now + 0.3 * now.mean(0) + 0.2 * random.normal(size=now.shape)
    return list(now), list(later)


def test_the_terms_that_12_watches(define, model, sampler):
    shown = define("12", "bound_terms").bound_terms
    sequences = sampler(20, seeded(1))
    terms = shown(model, sequences.frames, seeded(2))
    expected = independent.bound_terms(model, sequences, seeded(2))
    names = ("elbo_per_frame", "kl_first_frame", "kl_per_transition")
    assert list(terms.values()) == pytest.approx([expected[name] for name in names], rel=1e-5)


@pytest.mark.parametrize("apart", [False, True])
def test_the_pairs_of_13(define, model, sampler, apart):
    shown = define("13", "Pairs", "sample_codes", "collect_pairs")
    found = shown.collect_pairs(model, sampler, 130, seeded(3), apart)
    expected = codes.collect_pairs(model, sampler, 130, seeded(3), apart)
    assert np.array_equal(found.before, expected.before)
    assert np.array_equal(found.after, expected.after)
    assert found.positions.keys() == expected.positions.keys()
    for name, places in found.positions.items():
        assert np.array_equal(places, expected.positions[name])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("factors", [2, 3])
def test_same_and_cross_of_13(define, factors, full):
    shown = define("13", "FactorInformation", "same_and_cross").same_and_cross
    now, later = dependent_factors(factors)
    found, expected = (
        each(now, later, full=full, seed=4) for each in (shown, information.same_and_cross)
    )
    assert found.same == pytest.approx(expected.same)
    assert found.cross == pytest.approx(expected.cross)
    assert np.array_equal(found.matrix, expected.matrix, equal_nan=True)


@pytest.mark.parametrize("positive", [True, False])
def test_the_best_partition_of_13(define, positive):
    names = ("FactorInformation", "same_and_cross", "Partition", "best_partition")
    shown = define("13", *names).best_partition
    now, later = (np.hstack(each) for each in dependent_factors(2))
    if not positive:  # no partition has both figures above zero, so all are candidates
        later = np.random.default_rng(1).normal(size=later.shape)
    found = shown(now, later, 3, tries=6, seed=5)
    expected = information.best_partition(now, later, 3, tries=6, seed=5)
    assert found.permutation.tolist() == expected.permutation.tolist()
    assert found.tried == pytest.approx(expected.tried)
    assert (found.same, found.cross) == pytest.approx((expected.same, expected.cross))


def test_the_blocks_of_13(define):
    shown = define("13", "cross_block", "block_fraction")
    now, later = (np.hstack(each) for each in dependent_factors(2))
    block = shown.cross_block(now, later)
    assert block == pytest.approx(information.cross_block(now, later))
    expected = information.block_fraction(block, [4, 2])
    assert shown.block_fraction(block, [4, 2]) == pytest.approx(expected)


def test_the_places_and_labels_of_13(define, model, sampler):
    shown = define("13", "sample_codes", "score_places", "find_bits", "read_labels")
    pairs = codes.collect_pairs(model, sampler, 100, seeded(6), apart=True)
    parts = np.array([[0, 2, 4], [1, 3, 5]])
    assert shown.score_places(pairs, parts) == pytest.approx(neighbour_scores(pairs, parts))

    order, sequences = parts.flatten(), sampler(60, seeded(7))
    latents = codes.sample_latents(model, sequences, seeded(30_008)).numpy()
    factors = {f"factor_{row}": latents[..., part] for row, part in enumerate(parts)}
    names = {name: sequences.labels[name].numpy() for name in sequences.static}
    how = {"probe": "nonlinear", "pooling": "flattened", "permutations": 1, "seed": 8}
    skills = shown.read_labels(model, sequences, 3, order, 8)
    assert skills.shape == (2, 4)
    assert skills[:, :2] == pytest.approx(leakage_matrix(factors, names, **how).value)


def test_the_bits_of_13_do_not_depend_on_the_unit_of_length(define):
    """Next to metres a coordinate in kilometres would seem constant."""
    find_bits = define("13", "find_bits").find_bits
    random = np.random.default_rng(0)
    place = random.normal(size=(300, 2))
    noisy = place + 0.1 * random.normal(size=(300, 2))
    parts = [[0], [1]]
    bits = []
    for unit in (1, 1000):
        pairs = SimpleNamespace(after=noisy, positions={"place": place * [1, unit]})
        bits.append(find_bits(pairs, parts))
    assert bits[0] == pytest.approx(bits[1], abs=1e-6)
    assert (bits[0] > 1.5).all()
    expected = information.kraskov(noisy[:, :1], place / place.std(0)).estimate
    assert bits[0][0, 0] == pytest.approx(expected)


def test_the_forecasts_of_13(define, model, sampler):
    shown = define("13", "roll_forward", "centroids", "forecast_errors")
    frames = sampler(6, seeded(9)).frames
    assert torch.equal(shown.centroids(frames), independent.centroids(frames))
    latents = torch.randn(6, 6, generator=seeded(10))
    ahead = independent.roll_forward(model, latents, 3)
    assert torch.equal(shown.roll_forward(model, latents, 3), ahead)
    pairs = zip(
        shown.forecast_errors(model, frames, 2),
        independent.forecast_errors(model, frames, 2),
        strict=True,
    )
    assert all(torch.equal(found, expected) for found, expected in pairs)
