"""Rivals of papers A, B and C under the same interface: models of single frames, and sequence VAEs.

`Averages`: z_t is a code of frame t alone, with the prior N(0, I). The static code is the mean of
z_t over the sequence, the dynamic code z_t minus that mean. Nothing in training asks for this.

`SequenceVAE` has the structure of DSVAE (Li and Mandt 2018, arXiv 1803.02991): the static code
reads the whole sequence, the dynamic code has an LSTM for a prior, and nothing is subtracted.

    p(x, s, d) = p(s) prod_t p(d_t | d_<t) p(x_t | s, d_t)            s ~ N(0, I)
    q(s, d | x) = q(s | x) prod_t q(d_t | x)

So that the comparison is not one of networks, image networks, likelihood, start and the rising
weight of the KL terms are those of the course's paper A, and the prior is paper C's. Of DSVAE's
posteriors, d_t has the one that reads the whole sequence without s.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from .. import networks
from ..checks import check_number
from ..distributions import DiagonalGaussian as Gaussian
from ..distributions import gaussian_log_likelihood, kl, standard_normal_like
from ..models.base import Batch, Bound, Codes, ModelConfig, Noise, NoiseSource, SequenceModel


@dataclass(frozen=True)
class RivalConfig(ModelConfig):
    """What all baselines share; variance: v of the likelihood N(decoded, v)."""

    image_size: int = 32  # height and width in pixels
    channels: int = 3
    width: int = 16  # channels of the first convolution
    features: int = 96  # of a frame
    activation: str = "silu"
    output: str = "linear"
    variance: float = 0.05
    initial_log_variance: float = -4.0  # of the posteriors

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(0, variance=self.variance)

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.image_size, self.image_size

    def make_encoder(self) -> networks.ConvolutionalEncoder:
        """What reads a frame."""
        look = self.image_size, self.channels, self.width, self.features
        return networks.ConvolutionalEncoder(*look, False, self.activation)

    def make_decoder(self, size: int) -> networks.ConvolutionalDecoder:
        """What paints a frame of `size` units."""
        look = self.image_size, self.channels, self.width, size
        return networks.ConvolutionalDecoder(*look, False, self.activation, self.output)


@dataclass(frozen=True)
class AveragesConfig(RivalConfig):
    """The sizes of `FrameVAE` and `PrincipalComponents`, which has no networks."""

    size: int = 32  # units of z_t, and so of both codes


class Averages(SequenceModel):
    """Codes static (B, D), the mean of the frames' codes, and dynamic (B, T, D), the rest.

    A subclass has `posterior` and `paint`.
    """

    config_class = AveragesConfig
    config: AveragesConfig
    code_names = ("static", "dynamic")

    def __init__(self, config: AveragesConfig | None = None, **values: Any):
        super().__init__(config, **values)
        self.frame_shape = self.config.frame_shape
        self.size = self.config.size
        self.code_sizes = dict.fromkeys(self.code_names, self.size)

    @abstractmethod
    def posterior(self, frames: Tensor) -> Gaussian:
        """q(z | x), (N, D), of frames (N, C, H, W)."""

    @abstractmethod
    def paint(self, latents: Tensor) -> Tensor:
        """The means (N, C, H, W) of p(x | z), of z (N, D)."""

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """Standard normal numbers of the shape of the frames' codes."""
        return {"frames": self.normal(generator, count, length, self.size)}

    def elbo(self, batch: Batch, noise: NoiseSource = None) -> Bound:
        """sum_t E log p(x_t | z_t) - sum_t KL(q(z_t | x_t) || N(0, I)), in nats.

        Its divergence is that of the frames' codes, because the two codes are made of the same z_t.
        """
        frames = self.whole_frames(batch)
        shape = frames.shape[:2]
        drawn = self.as_noise(noise, *shape)["frames"].flatten(0, 1)
        posterior = self.posterior(frames.flatten(0, 1))
        means = self.paint(posterior.draw(drawn)).view_as(frames)
        divergence = kl(posterior, standard_normal_like(posterior.mean)).view(shape).sum(1)
        log_likelihood = gaussian_log_likelihood(frames, means, self.config.variance).sum(1)
        return Bound(log_likelihood, {"frames": divergence}, shape[1])

    def encode(self, batch: Batch, noise: NoiseSource = None) -> Codes:
        """The mean over time of the frames' codes, and the rest; with noise those of a draw."""
        frames = self.whole_frames(batch)
        drawn = None
        if noise is not None:
            drawn = self.as_noise(noise, *frames.shape[:2])["frames"].flatten(0, 1)
        latents = self.posterior(frames.flatten(0, 1)).draw(drawn)
        return part(latents.unflatten(0, frames.shape[:2]))

    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W) of z_t, the sum of both codes."""
        self.check_codes(codes)
        latents = codes["static"][:, None] + codes["dynamic"]  # (B, T, D)
        return self.paint(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of new sequences, whose frames are drawn from N(0, I), each by itself."""
        given = self.check_given(given, count, length)
        return part(self.as_noise(noise, count, length)["frames"]) | given


def part(latents: Tensor) -> Codes:
    """The mean over time (B, D) of latents (B, T, D), and the rest (B, T, D)."""
    mean = latents.mean(1)
    return {"static": mean, "dynamic": latents - mean[:, None]}


class FrameVAE(Averages):
    """`Averages` of a VAE of single frames."""

    def __init__(self, config: AveragesConfig | None = None, **values: Any):
        super().__init__(config, **values)
        own = self.config
        self.encoder = own.make_encoder()
        self.head = networks.GaussianHead(own.features, own.size, own.initial_log_variance)
        self.decoder = own.make_decoder(own.size)

    def posterior(self, frames: Tensor) -> Gaussian:
        """q(z | x), (N, D), of frames (N, C, H, W)."""
        return self.head(self.encoder(frames))

    def paint(self, latents: Tensor) -> Tensor:
        """The means (N, C, H, W) of p(x | z), of z (N, D)."""
        return self.decoder(latents)


@dataclass(frozen=True)
class SequenceVAEConfig(RivalConfig):
    """The sizes of `SequenceVAE`."""

    hidden: int = 64  # units of each LSTM, in each direction
    static_size: int = 32  # D
    dynamic_size: int = 12  # d


class SequenceVAE(SequenceModel):
    """Codes static (B, D), of the whole sequence, and dynamic (B, T, d), of each step."""

    config_class = SequenceVAEConfig
    config: SequenceVAEConfig
    code_names = ("static", "dynamic")

    def __init__(self, config: SequenceVAEConfig | None = None, **values: Any):
        super().__init__(config, **values)
        own = self.config
        hidden, self.frame_shape = own.hidden, own.frame_shape
        static, dynamic = own.static_size, own.dynamic_size
        self.code_sizes = {"static": static, "dynamic": dynamic}
        self.encoder = own.make_encoder()
        self.context = nn.LSTM(own.features, hidden, batch_first=True, bidirectional=True)
        self.recurrent = nn.LSTM(2 * hidden, hidden, batch_first=True)
        start = own.initial_log_variance
        self.static_head = networks.GaussianHead(2 * hidden, static, start)
        self.dynamic_head = networks.GaussianHead(hidden, dynamic, start)
        self.prior = networks.AutoregressivePrior(dynamic, hidden)
        self.decoder = own.make_decoder(static + dynamic)

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """Standard normal numbers of the shape of the codes."""
        static = self.normal(generator, count, self.code_sizes["static"])
        dynamic = self.normal(generator, count, length, self.code_sizes["dynamic"])
        return {"static": static, "dynamic": dynamic}

    def posteriors(self, frames: Tensor) -> dict[str, Gaussian]:
        """q(s | x), (B, D), and q(d_t | x), (B, T, d), of frames (B, T, C, H, W)."""
        features = self.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])  # (B, T, g)
        outputs, _ = self.context(features)  # (B, T, 2 hidden)
        forward, backward = outputs.chunk(2, -1)
        whole = torch.cat([forward[:, -1], backward[:, 0]], -1)
        dynamic = self.dynamic_head(self.recurrent(outputs)[0])
        return {"static": self.static_head(whole), "dynamic": dynamic}

    def elbo(self, batch: Batch, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats, by one draw of each code.

        sum_t E log p(x_t | s, d_t) - sum_t KL(q(d_t | x) || p(d_t | d_<t)) - KL(q(s | x) || p(s))
        """
        frames = self.whole_frames(batch)
        noise = self.as_noise(noise, *frames.shape[:2])
        q = self.posteriors(frames)
        codes = {name: each.draw(noise[name]) for name, each in q.items()}
        means, variance = self.decode(codes), self.config.variance
        log_likelihood = gaussian_log_likelihood(frames, means, variance).sum(1)
        divergences = {
            "static": kl(q["static"], standard_normal_like(q["static"].mean)),
            "dynamic": kl(q["dynamic"], self.prior(codes["dynamic"])).sum(1),
        }
        return Bound(log_likelihood, divergences, frames.shape[1])

    def encode(self, batch: Batch, noise: NoiseSource = None) -> Codes:
        """Codes s (B, D) and d (B, T, d) of q(s, d | x): means, or with noise a draw."""
        frames = self.whole_frames(batch)
        noise = {} if noise is None else self.as_noise(noise, *frames.shape[:2])
        return {name: each.draw(noise.get(name)) for name, each in self.posteriors(frames).items()}

    def decode(self, codes: Codes) -> Tensor:
        """Means of p(x | s, d), (B, T, C, H, W)."""
        self.check_codes(codes)
        static = codes["static"][:, None].expand(-1, codes["dynamic"].shape[1], -1)
        inputs = torch.cat([static, codes["dynamic"]], -1)
        return self.decoder(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of new sequences: s from N(0, I), d from its prior. The two are independent."""
        given = self.check_given(given, count, length)
        noise = self.as_noise(noise, count, length)
        return {"static": noise["static"], "dynamic": self.prior.roll(noise["dynamic"])} | given
