"""Variants of paper B's model: a decoder that colours reach everywhere, distinct frames for s, and
a Normal likelihood.

The paper does not have the first; its authors propose the second in section 5, and prefer the
Bernoulli likelihood to the third.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from unbraid.checks import check_number
from unbraid.distributions import (
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.base import Batch, BatchLike, Bound, NoiseSource
from unbraid.models.unordered import SIDE, Decoder, UnorderedFrames, UnorderedFramesConfig

CONTRAST = 3.0
"""Multiplies the palette's colours, so that they differ: a logit of 3 is a value of .95."""


@dataclass(frozen=True)
class PaintedFramesConfig(UnorderedFramesConfig):
    """The sizes of `PaintedFrames`.

    multiplied: the product of a dense map of s and one of d is added to the first map, and a dense
        map of s to all pixels of each later one.
    palette: K colours c_k(s), 0 for none. CONTRAST sum_k softmax_k(m) c_k(s) is added to the
        logits of each pixel.
    """

    multiplied: bool = True
    palette: int = field(default=12, metadata={"least": 0})


class PaintingDecoder(Decoder):
    """Logits of frames (N, C, H, W) of s (N, D) and d (N, d), painted as the config says."""

    def __init__(self, config: PaintedFramesConfig):
        super().__init__(config, config.channels + config.palette)
        self.channels = config.channels
        self.multiplied = config.multiplied
        if self.multiplied:
            values = self.first.out_features
            self.static_factor = nn.Linear(config.static_size, values)
            self.dynamic_factor = nn.Linear(config.dynamic_size, values)
            self.paints = nn.ModuleList()
            for width in config.widths[-2::-1]:
                self.paints.append(nn.Linear(config.static_size, width, bias=False))
        self.palette = None
        if config.palette:
            self.palette = nn.Linear(config.static_size, config.channels * config.palette)

    def forward(self, static: Tensor, dynamic: Tensor) -> Tensor:
        """Logits (N, C, H, W) of the values of p(x | s, d), of s (N, D) and d (N, d)."""
        first = self.first(torch.cat([static, dynamic], -1))
        if self.multiplied:
            first = first + self.static_factor(static) * self.dynamic_factor(dynamic)
        maps = F.leaky_relu(first, self.slope).unflatten(-1, (-1, SIDE, SIDE))
        for number, (convolution, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            maps = convolution(maps)
            if self.multiplied:
                maps = maps + self.paints[number](static)[:, :, None, None]
            maps = F.leaky_relu(norm(maps), self.slope)
        maps = self.last(maps)  # (N, C + K, H, W)
        if self.palette is None:
            return maps
        colours = self.palette(static).unflatten(-1, (self.channels, -1))  # (N, C, K)
        shares = maps[:, self.channels :].softmax(1)  # (N, K, H, W)
        mixed = torch.einsum("nck,nkhw->nchw", colours, shares)
        return maps[:, : self.channels] + CONTRAST * mixed


class PaintedFrames(UnorderedFrames):
    """`UnorderedFrames` with a `PaintingDecoder`."""

    config_class = PaintedFramesConfig
    decoder_class = PaintingDecoder


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
        static = self.static_encoder(read)
        s = static.draw(noise["static"])
        dynamic = self.dynamic_posterior(scored, s)
        d = dynamic.draw(noise["dynamic"][:, length // 2 :])
        log_likelihood = bernoulli_log_likelihood(frames[:, length // 2 :], self.logits(s, d))
        divergences = {
            "static": kl(static, standard_normal_like(s)),
            "dynamic": kl(dynamic, self.prior(s)).sum(1),
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
            "dynamic": kl(dynamic, self.prior(codes["static"])).sum(1),
        }
        log_likelihood = gaussian_log_likelihood(frames, means, variance).sum(1)  # (B,)
        return Bound(log_likelihood, divergences, frames.shape[1])
