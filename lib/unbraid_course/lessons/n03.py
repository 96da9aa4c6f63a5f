"""What notebook 03 defines; written by `python -m tools export`."""

import numpy as np
from scipy.special import digamma


def draw_shapes(count, random):
    """Four kinds of pairs: name -> (x, y), (count,) each."""
    x, noise, more = random.standard_normal((3, count))
    angle, wide = random.uniform(0, 2 * np.pi, count), random.uniform(-2, 2, count)
    return {
        "line": (x, 0.9 * x + np.sqrt(1 - 0.9**2) * noise),
        "parabola": (wide, wide**2 - 1 + 0.4 * noise),
        "ring": (np.cos(angle) + 0.1 * noise, np.sin(angle) + 0.1 * more),
        "independent": (x, noise),
    }


def turn(factor, angle):  # (N, 2)
    cosine, sine = np.cos(angle), np.sin(angle)
    return factor @ np.array([[cosine, sine], [-sine, cosine]])


def mix(zero, one):  # sum and difference, with the same variance
    return (zero + one) / np.sqrt(2), (zero - one) / np.sqrt(2)


def draw_worlds(count, random):
    """Name -> both factors at t, and both at t + 1; (count, 2) each."""
    zero, one, noise_0, noise_1 = random.standard_normal((4, count, 2))
    next_0 = 0.9 * turn(zero, 0.5) + np.sqrt(1 - 0.9**2) * noise_0
    next_1 = 0.9 * turn(one, -0.9) + np.sqrt(1 - 0.9**2) * noise_1
    linked = next_1.copy()
    square = (zero[:, 0] ** 2 - 1) / np.sqrt(2)  # of mean 0 and deviation 1
    linked[:, 0] = 0.9 * square + np.sqrt(1 - 0.9**2) * noise_1[:, 0]
    return {
        "separate": ((zero, one), (next_0, next_1)),
        "mixed": (mix(zero, one), mix(next_0, next_1)),
        "hidden link": ((zero, one), (next_0, linked)),
    }


def find_box(i, x, y, k=3):
    """Point i's k neighbours, half the side of its box, and n_x and n_y.

    x (N, d), y (N, e); n_x and n_y count the points *strictly* inside the strips.
    """
    others = np.delete(np.arange(len(x)), i)
    distance_x = np.abs(x[others] - x[i]).max(1)  # (N - 1,)
    distance_y = np.abs(y[others] - y[i]).max(1)
    nearest = np.argsort(np.maximum(distance_x, distance_y))[:k]
    epsilon = max(distance_x[nearest].max(), distance_y[nearest].max())
    n_x, n_y = np.sum(distance_x < epsilon), np.sum(distance_y < epsilon)
    return others[nearest], epsilon, n_x, n_y


def ksg(x, y, k=3):  # equation (6), in bits; x (N, d), y (N, e)
    counts = [find_box(i, x, y, k)[2:] for i in range(len(x))]
    n_x, n_y = np.array(counts).T
    mean = np.mean(digamma(n_x + 1) + digamma(n_y + 1))
    return (digamma(k) + digamma(len(x)) - mean) / np.log(2)


def shuffle_pairs(measure, a, b, random, count=20):
    """The measure of a (N, d) and b (N, e), whose rows are shuffled, (count,)."""
    return [measure(a, random.permutation(b)) for _ in range(count)]


def p_value(value, shuffled):
    """The share of all values, this one among them, that are as large."""
    return (1 + np.sum(np.array(shuffled) >= value)) / (1 + len(shuffled))


def ross(x, labels, k=3):  # equation (9), in bits; x (N, d), labels (N,)
    terms = []
    for i in range(len(x)):
        distance = np.abs(x - x[i]).max(1)  # (N,), and 0 to the point itself
        own = np.sort(distance[labels == labels[i]])  # (N_y,), the 0 first
        n_x = np.sum(distance < own[k]) - 1  # without the point
        terms.append(digamma(n_x + 1) + digamma(len(own)))
    return (digamma(k) + digamma(len(x)) - np.mean(terms)) / np.log(2)


def plant_bit(x, bit):
    """A copy of x (N, d), whose units 0 and 1 have equal signs where bit is 1."""
    planted = x.copy()
    sign = np.sign(x[:, 0]) * np.where(bit == 1, 1, -1)
    planted[:, 1] = sign * np.abs(x[:, 1])
    return planted
