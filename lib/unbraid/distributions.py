"""Gaussians, their divergences and the likelihoods of an image. Everything is in nats."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass
class DiagonalGaussian:
    """A normal distribution with independent coordinates, N(mean, diag(exp(log_variance))).

    Both tensors have shape (..., d). Whatever is summed is summed over the last dimension.
    """

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self):
        if self.mean.shape != self.log_variance.shape:
            raise ValueError(
                f"DiagonalGaussian: mean and log_variance must have one shape, "
                f"found {tuple(self.mean.shape)} and {tuple(self.log_variance.shape)}"
            )

    @property
    def standard_deviation(self) -> Tensor:
        """Shape (..., d)."""
        return torch.exp(0.5 * self.log_variance)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A reparameterised draw, mean + standard deviation x noise, shape (..., d)."""
        noise = torch.randn(
            self.mean.shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device
        )
        return self.mean + self.standard_deviation * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of `value` (..., d) in nats, summed over the last dimension."""
        squared = (value - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (LOG_TWO_PI + self.log_variance + squared).sum(-1)

    def entropy(self) -> Tensor:
        """Differential entropy in nats, summed over the last dimension."""
        return 0.5 * (LOG_TWO_PI + 1 + self.log_variance).sum(-1)


def standard_normal_like(tensor: Tensor) -> DiagonalGaussian:
    """N(0, I) with the shape, type and device of `tensor` (..., d)."""
    return DiagonalGaussian(torch.zeros_like(tensor), torch.zeros_like(tensor))


def kl(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """KL(q || p) in nats, in closed form, summed over the last dimension.

    0.5 * sum_j [ exp(lq - lp) + (mq - mp)^2 exp(-lp) - 1 + lp - lq ], where l is a log-variance.
    """
    return 0.5 * (
        torch.exp(q.log_variance - p.log_variance)
        + (q.mean - p.mean).square() * torch.exp(-p.log_variance)
        - 1
        + p.log_variance
        - q.log_variance
    ).sum(-1)


def gaussian_log_likelihood(frames: Tensor, mean: Tensor, variance: float) -> Tensor:
    """Log N(frames; mean, variance I) with its constant, in nats, summed over (C, H, W).

    `frames` and `mean` are (..., C, H, W); the result has the leading shape. `variance` is v, not its
    square root: paper A prints v = 0.25 for moving digits and 0.05 for the street.
    """
    if variance <= 0:
        raise ValueError(f"variance must be positive, found {variance}")
    squared = (frames - mean).square().flatten(-3).sum(-1)
    dimensions = math.prod(frames.shape[-3:])
    return -0.5 * (dimensions * (LOG_TWO_PI + math.log(variance)) + squared / variance)


def best_log_likelihood(dimensions: int, variance: float) -> float:
    """The most a frame of that many values can score: a perfect mean, -D/2 log(2 pi v), in nats."""
    return -0.5 * dimensions * (LOG_TWO_PI + math.log(variance))


def bernoulli_log_likelihood(frames: Tensor, logits: Tensor) -> Tensor:
    """Log Bernoulli(frames; sigmoid(logits)) in nats, summed over (C, H, W); both are (..., C, H, W)."""
    return -F.binary_cross_entropy_with_logits(logits, frames, reduction="none").flatten(-3).sum(-1)
