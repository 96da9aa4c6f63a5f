"""Gaussians, their divergences and the likelihoods of data. Everything is in nats."""

import math
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from unbraid.checks import check_field, check_number, check_shape, check_type, check_whole, refuse

LOG_TWO_PI = math.log(2 * math.pi)


@dataclass
class DiagonalGaussian:
    """N(mean, diag(exp(log_variance))), both (..., d); sums run over the last dimension."""

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        check_type(Tensor, mean=self.mean, log_variance=self.log_variance)
        check_shape("log_variance", self.log_variance.shape, self.mean.shape)
        check_field(self.mean.is_floating_point(), "mean", "floats", self.mean.dtype)
        # Of a training that diverges the bound tells, without a look at each update's values.
        if not self.log_variance.requires_grad and has_values(self.log_variance):
            is_right = not self.standard_deviation.isinf().any()
            check_field(is_right, "log_variance", "logarithms of finite variances", "others")

    @classmethod
    def made(cls, mean: Tensor, log_variance: Tensor) -> Self:
        """Of tensors that the library has just made alike, which it does not check."""
        made = cls.__new__(cls)
        made.mean, made.log_variance = mean, log_variance
        return made

    @classmethod
    def from_outputs(cls, outputs: Tensor) -> Self:
        """Mean and log-variance (..., d) from a network's outputs (..., 2 d)."""
        check_type(Tensor, outputs=outputs)
        return cls(*outputs.chunk(2, -1))

    @property
    def standard_deviation(self) -> Tensor:
        return torch.exp(0.5 * self.log_variance)  # (..., d)

    def draw(self, noise: Tensor | torch.Generator | None = None) -> Tensor:
        """A reparameterised draw, mean + standard deviation x noise; without noise the mean.

        noise: standard normal numbers (..., d), or a generator that makes them.
        """
        if noise is None:
            return self.mean
        if isinstance(noise, torch.Generator):
            like = self.mean
            noise = torch.randn(like.shape, generator=noise, dtype=like.dtype, device=like.device)
        check_type(Tensor, noise=noise)
        check_shape("noise", noise.shape, self.mean.shape)
        shape, is_whole = tuple(noise.shape), noise.numel() >= self.mean.numel()
        check_field(is_whole, "noise", f"a number for each of {tuple(self.mean.shape)}", shape)
        return self.mean + self.standard_deviation * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density of `value` (..., d) in nats, (...)."""
        check_type(Tensor, value=value)
        check_shape("value", value.shape, self.mean.shape)
        squared = (value - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (LOG_TWO_PI + self.log_variance + squared).sum(-1)

    def detach(self) -> Self:
        return self.made(self.mean.detach(), self.log_variance.detach())


def standard_normal_like(tensor: Tensor) -> DiagonalGaussian:
    """N(0, I) with the shape, type and device of `tensor` (..., d)."""
    check_type(Tensor, tensor=tensor)
    return DiagonalGaussian.made(torch.zeros_like(tensor), torch.zeros_like(tensor))


def kl(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """KL(q || p) in nats, in closed form, summed over the last dimension.

    0.5 * sum_j [ exp(lq - lp) + (mq - mp)^2 exp(-lp) - 1 + lp - lq ], where l is a log-variance.
    """
    return kl_by_unit(q, p).sum(-1)


def kl_by_unit(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """The terms of that sum, (..., d)."""
    check_type(DiagonalGaussian, q=q, p=p)
    check_shape("p", p.mean.shape, q.mean.shape)
    lq, lp = q.log_variance, p.log_variance
    squared = (q.mean - p.mean).square() * torch.exp(-lp)
    return 0.5 * (torch.exp(lq - lp) + squared - 1 + lp - lq)


def gaussian_log_likelihood(
    values: Tensor,
    mean: Tensor,
    variance: float,
    observed: Tensor | None = None,
    dimensions: int = 3,
) -> Tensor:
    """Log N(values; mean, variance I) with its constant, in nats.

    values, mean: (..., C, H, W). dimensions: how many of the last ones are summed over.
    variance: v, not its square root; paper A states v = 0.25 for moving digits.
    observed: booleans that broadcast to the values; only values where it is True count.
    """
    check_type(Tensor, values=values, mean=mean)
    check_number(0, variance=variance)
    check_field(values.is_floating_point(), "values", "floats; divide bytes by 255", values.dtype)
    check_whole((1, values.ndim), dimensions=dimensions)
    check_field(mean.shape == values.shape, "mean", tuple(values.shape), tuple(mean.shape))
    squared = (values - mean).square()
    count: Tensor | int = math.prod(values.shape[-dimensions:])
    if observed is not None:
        check_type(Tensor, observed=observed)
        pairs = zip(observed.shape[::-1], values.shape[::-1], strict=False)
        if observed.dtype != torch.bool or not all(a in (1, b) for a, b in pairs):
            found = f"{observed.dtype} {tuple(observed.shape)}"
            refuse("observed", f"booleans that broadcast to {tuple(values.shape)}", found)
        squared = squared * observed
        observed = observed.expand_as(squared).flatten(-dimensions)
        count = observed.sum(-1, dtype=squared.dtype)
    constant = LOG_TWO_PI + math.log(variance)
    return -0.5 * (count * constant + squared.flatten(-dimensions).sum(-1) / variance)


def has_values(tensor: Tensor) -> bool:
    """Whether there are values to check: none while PyTorch compiles, or records a CUDA graph."""
    if torch.compiler.is_compiling():
        return False
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


def bernoulli_log_likelihood(frames: Tensor, logits: Tensor) -> Tensor:
    """Log Bernoulli(frames; sigmoid(logits)) in nats, summed over (C, H, W); frames in [0, 1]."""
    check_type(Tensor, frames=frames, logits=logits)
    check_field(logits.shape == frames.shape, "logits", tuple(frames.shape), tuple(logits.shape))
    if has_values(frames):
        inside = bool(((frames >= 0) & (frames <= 1)).all())
        check_field(inside, "frames", "values in [0, 1]", "others; divide bytes by 255")
    return -F.binary_cross_entropy_with_logits(logits, frames, reduction="none").flatten(-3).sum(-1)
