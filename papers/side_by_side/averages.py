"""Models of single frames, whose time average is static and whose rest is dynamic.

z_t is a code of frame t alone, with the prior N(0, I). The static code is the mean of z_t over the
sequence, the dynamic code z_t less that mean. Nothing in training asks for this division.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.decomposition import PCA
from torch import Generator, Tensor, nn
from unbraid.checks import check_number
from unbraid.distributions import (
    DiagonalGaussian,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.base import (
    Batch,
    Bound,
    Codes,
    ModelConfig,
    Noise,
    NoiseSource,
    SequenceModel,
)
from unbraid.networks import ConvolutionalDecoder, ConvolutionalEncoder, GaussianHead


@dataclass(frozen=True)
class AveragesConfig(ModelConfig):
    """What the two models of this file share; variance: v of the likelihood N(decoded, v)."""

    image_size: int = 32  # height and width in pixels
    channels: int = 3
    size: int = 32  # units of z_t, and so of both codes
    output: str = "linear"
    variance: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        check_number(0, variance=self.variance)


class Averages(SequenceModel):
    """Codes static (B, D), the mean of the frames' codes, and dynamic (B, T, D), the rest.

    A subclass has `posterior`, q(z | x) of single frames, and `paint`, the mean of p(x | z).
    """

    config_class = AveragesConfig
    code_names = ("static", "dynamic")

    def __init__(self, config: AveragesConfig | None = None, **values: object):
        super().__init__(config, **values)
        self.size = self.config.size
        self.frame_shape = (self.config.channels, *2 * [self.config.image_size])

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """Standard normal numbers of the shape of the frames' codes."""
        return {"frames": self.normal(generator, count, length, self.size)}

    def elbo(self, batch: Batch, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats.

        sum_t E log p(x_t | z_t) - sum_t KL(q(z_t | x_t) || N(0, I))

        Its divergence is that of the frames' codes, because the two codes are made of the same z_t.
        """
        frames = self.whole_frames(batch)
        noise = self.as_noise(noise, *frames.shape[:2])
        posterior = self.posterior(frames.flatten(0, 1))
        latents = posterior.draw(noise["frames"].flatten(0, 1))
        means = self.paint(latents).view_as(frames)
        log_likelihood = gaussian_log_likelihood(frames, means, self.config.variance).sum(1)
        divergence = kl(posterior, standard_normal_like(posterior.mean))
        return Bound(
            log_likelihood, {"frames": divergence.view(frames.shape[:2]).sum(1)}, frames.shape[1]
        )

    def encode(self, batch: Batch, noise: NoiseSource = None) -> Codes:
        """The mean over time of the frames' codes, and the rest; with noise those of a draw."""
        frames = self.whole_frames(batch)
        draw = None
        if noise is not None:
            draw = self.as_noise(noise, *frames.shape[:2])["frames"].flatten(0, 1)
        latents = self.posterior(frames.flatten(0, 1)).draw(draw)
        return part(latents.unflatten(0, frames.shape[:2]))

    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W) of z_t, the sum of both codes."""
        self.check_sizes(codes, self.size, self.size)
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


@dataclass(frozen=True)
class FrameVAEConfig(AveragesConfig):
    """The sizes of `FrameVAE`; its networks are those of the course's paper A."""

    width: int = 16  # channels of the first convolution
    features: int = 96  # of a frame
    activation: str = "silu"
    initial_log_variance: float = -4.0  # of the posterior


class FrameVAE(Averages):
    """`Averages` of a VAE of single frames."""

    config_class = FrameVAEConfig

    def __init__(self, config: FrameVAEConfig | None = None, **values: object):
        super().__init__(config, **values)
        config = self.config
        look = config.image_size, config.channels, config.width
        self.encoder = ConvolutionalEncoder(*look, config.features, False, config.activation)
        self.head = GaussianHead(config.features, config.size, config.initial_log_variance)
        self.decoder = ConvolutionalDecoder(
            *look, config.size, False, config.activation, config.output
        )

    def posterior(self, frames: Tensor) -> DiagonalGaussian:
        """q(z | x), (N, D), of frames (N, C, H, W)."""
        return self.head(self.encoder(frames))

    def paint(self, latents: Tensor) -> Tensor:
        """The means (N, C, H, W) of p(x | z), of z (N, D)."""
        return self.decoder(latents)


class PrincipalComponents(Averages):
    """`Averages` of probabilistic PCA of single frames (Tipping and Bishop 1999), without training.

    Its one update computes mean and components of the frames of its batch, so that its learning
    rate is 0. With W = U (L - v)^(1/2), of eigenvectors U and eigenvalues L, the posterior is exact
    and the bound is the likelihood.
    """

    compares_sequences = True  # so that a batch cannot be divided

    def __init__(self, config: AveragesConfig | None = None, **values: object):
        super().__init__(config, **values)
        pixels = self.config.channels * self.config.image_size**2
        self.mean = nn.Parameter(torch.zeros(pixels))
        self.weight = nn.Parameter(0.01 * torch.randn(pixels, self.size))

    @torch.no_grad()
    def learn(self, frames: Tensor) -> None:
        """Set mean and components by the frames (N, C, H, W)."""
        found = PCA(self.size, random_state=0).fit(frames.flatten(1).cpu().numpy())
        scale = torch.from_numpy(found.explained_variance_ - self.config.variance).clamp(min=0)
        self.mean.copy_(torch.from_numpy(found.mean_))
        self.weight.copy_(torch.from_numpy(found.components_.T) * scale.sqrt())

    def forward(self, batch: Batch, noise: NoiseSource = None) -> Bound:
        """The bound; in training of components that are first computed of this batch."""
        if self.training:
            self.learn(self.whole_frames(batch).flatten(0, 1))
        return self.elbo(batch, noise)

    def posterior(self, frames: Tensor) -> DiagonalGaussian:
        """q(z | x), (N, D), of frames (N, C, H, W)."""
        eigenvalues = self.weight.square().sum(0) + self.config.variance
        mean = (frames.flatten(1) - self.mean) @ self.weight / eigenvalues
        log_variance = (self.config.variance / eigenvalues).log()
        return DiagonalGaussian(mean, log_variance.expand_as(mean))

    def paint(self, latents: Tensor) -> Tensor:
        """The means (N, C, H, W) of p(x | z), of z (N, D)."""
        return (self.mean + latents @ self.weight.T).unflatten(1, self.frame_shape)
