"""Variants of paper B's model: distinct frames for s, which its authors propose in section 5, and a
Normal likelihood, to which they prefer the Bernoulli.
"""

from dataclasses import dataclass

from unbraid.checks import check_number
from unbraid.distributions import (
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.base import Batch, BatchLike, Bound, NoiseSource
from unbraid.models.unordered import UnorderedFrames, UnorderedFramesConfig
from unbraid.variants.painted import PaintedFrames


class DistinctFrames(PaintedFrames):
    """`PaintedFrames`, trained on frames that s has not read.

    Any q(s) gives a lower bound of log p(x), so q(s | y) of other frames y of the sequence does,
    too. It cannot tell anything about single frames x. Codes, and the bound of a model that is not
    in training, are as in `PaintedFrames`: s is read from the frames that are scored.
    """

    def elbo(self, batch: Batch, noise: NoiseSource = None) -> Bound:
        """In training the bound of the second half of the frames, with s of the first half.

        sum_i E log p(x_i | s, d_i) - sum_i KL(q(d_i | s, x_i) || p(d_i | s)) - KL(q(s | y) || p(s))
        """
        if not self.training:
            return super().elbo(batch, noise)
        frames = self.whole_frames(batch)
        count, length = frames.shape[:2]
        if length % 2:
            raise ValueError(f"frames: expected an even number to divide, found {length}")
        noise = self.as_noise(noise, count, length)
        read, scored = self.features(frames).chunk(2, 1)
        static = self.static_posterior(read)
        s = static.draw(noise["static"])
        dynamic = self.dynamic_posterior(scored, s)
        d = dynamic.draw(noise["dynamic"][:, length // 2 :])
        log_likelihood = bernoulli_log_likelihood(frames[:, length // 2 :], self.logits(s, d))
        divergences = {
            "static": kl(static, standard_normal_like(s)),
            "dynamic": kl(dynamic, self.dynamic_prior(s)).sum(1),
        }
        return Bound(log_likelihood.sum(1), divergences, length // 2)


@dataclass(frozen=True)
class NormalFramesConfig(UnorderedFramesConfig):
    """The sizes of `NormalFrames`. variance: v of p(x | s, d) = N(decoded, v I)."""

    variance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(0, variance=self.variance)


class NormalFrames(UnorderedFrames):
    """`UnorderedFrames` with N(x; decoded, v I) for Bernoulli. The means are decoded as there, so
    that the likelihood alone differs; the two bounds cannot be compared (density, probability)."""

    config_class = NormalFramesConfig
    config: NormalFramesConfig

    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats, as `UnorderedFrames.elbo`."""
        frames = self.whole_frames(batch)
        noise = self.as_noise(noise, *frames.shape[:2])
        static, dynamic, codes = self.posterior(frames, noise)
        means, variance = self.decode(codes), self.config.variance
        divergences = {
            "static": kl(static, standard_normal_like(static.mean)),
            "dynamic": kl(dynamic, self.dynamic_prior(codes["static"])).sum(1),
        }
        log_likelihood = gaussian_log_likelihood(frames, means, variance).sum(1)  # (B,)
        return Bound(log_likelihood, divergences, frames.shape[1])
