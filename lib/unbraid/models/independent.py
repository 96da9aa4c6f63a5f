"""Paper A: Whitney & Fergus (2017), arXiv 1901.05590.

Disentangling Video with Independent Prediction.

    p(x, z) = p(z_1) prod_t prod_i p_i(z_t^i | z_{t-1}^i) prod_t p(x_t | z_t)

Each factor i has a transition network of its own, which reads only that factor's past. The
posterior q(z_t | z_{t-1}, x_t) is a filter. The hope is that each factor then describes one thing;
notebooks 12 to 14 measure when it does. A single factor, as wide as all, is the entangled baseline.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..checks import check_number, check_shape
from ..distributions import DiagonalGaussian, gaussian_log_likelihood, kl_by_unit
from ..networks import ConvolutionalDecoder, ConvolutionalEncoder, GaussianHead, mlp
from .base import BatchLike, Bound, Codes, ModelConfig, Noise, NoiseSource, SequenceModel

# Trained models have log-variances from -7 to 0.4. Beyond these bounds, which no gradient crosses,
# a single batch can put out an infinite variance, and the bound is never finite again.
LOG_VARIANCE_BOUNDS = (-10.0, 4.0)


def bounded(distribution: DiagonalGaussian) -> DiagonalGaussian:
    """The distribution with its log-variances kept within LOG_VARIANCE_BOUNDS."""
    log_variance = distribution.log_variance.clamp(*LOG_VARIANCE_BOUNDS)
    return DiagonalGaussian(distribution.mean, log_variance)


class FilteringPosterior(nn.Module):
    """q(z_t | z_{t-1}, x_t) of K d units: the frame combined with the prior's prediction."""

    def __init__(self, features: int, size: int, initial_log_variance: float = 0.0):
        super().__init__()
        self.from_frame = nn.Linear(features, size)
        self.from_mean = nn.Linear(size, size)
        self.from_log_variance = nn.Linear(size, size)
        self.combine = nn.Linear(3 * size, size)
        self.head = GaussianHead(size, size, initial_log_variance)

    def forward(self, features: Tensor, prior: DiagonalGaussian) -> DiagonalGaussian:
        """The posterior of one step, (B, K d), of its frame's features (B, g) and its prior."""
        parts = [self.from_frame(features), self.from_mean(prior.mean)]
        parts.append(self.from_log_variance(prior.log_variance))
        hidden = self.combine(F.leaky_relu(torch.cat(parts, -1)))
        return bounded(self.head(F.leaky_relu(hidden)))


@dataclass(frozen=True)
class IndependentPredictionConfig(ModelConfig):
    """The sizes of `IndependentPrediction`; the defaults are the paper's for two digits.

    What the paper does not say is as in its authors' code, willwhitney/structure-experiments.

    normalise: batch normalisation, with statistics of one step and initial weights as the authors'.
    activation: of all convolutions; "paper" is leaky ReLU in the encoder, ReLU in the decoder.
    hidden_layers: 4 in the paper, which counts Linear(d, 128) and three Linear(128, 128).
    initial_log_variance: of the posterior; at 0 codes start as noise, at -4 as an autoencoder's.
    output_bias: is added to the decoder's last bias before training; 0.5 in the authors' code.
    """

    factors: int = 2  # K
    factor_size: int = 20  # d, units of each factor
    variance: float = 0.25  # v of the likelihood N(decoded, v), in squared units of a pixel
    image_size: int = 64  # height and width in pixels
    width: int = 64  # channels of the first convolution
    features: int = 32  # of a frame
    normalise: bool = True
    activation: str = "paper"
    output: str = "sigmoid"  # of the decoder, or "linear"
    output_bias: float = 0.5
    hidden: int = 128  # units of each layer of a transition network
    hidden_layers: int = field(default=4, metadata={"least": 0})
    initial_log_variance: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(0, variance=self.variance)


class IndependentPrediction(SequenceModel):
    """K factors of d units with independent transitions: codes factor_0, ..., each (B, T, d)."""

    config_class = IndependentPredictionConfig
    config: IndependentPredictionConfig
    decoder: nn.Module

    def __init__(self, config: IndependentPredictionConfig | None = None, **values: Any):
        super().__init__(config, **values)
        config = self.config
        self.factors = config.factors
        self.factor_size = d = config.factor_size
        self.code_names = tuple(f"factor_{index}" for index in range(self.factors))
        self.code_sizes = dict.fromkeys(self.code_names, d)
        self.variance = config.variance
        self.frame_shape = (3, config.image_size, config.image_size)

        size, normalise = self.factors * d, config.normalise
        nonlinearity = "leaky_relu" if config.activation == "paper" else config.activation
        sizes = config.image_size, 3, config.width, config.features
        self.encoder = ConvolutionalEncoder(*sizes, normalise, nonlinearity)
        self.posterior = FilteringPosterior(config.features, size, config.initial_log_variance)
        self.transitions = nn.ModuleList()
        for _ in range(self.factors):
            self.transitions.append(mlp(d, config.hidden, 2 * d, config.hidden_layers))

        self.decoder = self.make_decoder(size)
        if normalise:
            draw_uniform_weights(self)
        with torch.no_grad():
            list(self.decoder.parameters())[-1].add_(config.output_bias)

    def make_decoder(self, inputs: int, groups: int = 1) -> ConvolutionalDecoder:
        """The decoder of this many inputs."""
        config = self.config
        nonlinearity = "relu" if config.activation == "paper" else config.activation
        sizes = config.image_size, 3, config.width, inputs
        return ConvolutionalDecoder(*sizes, config.normalise, nonlinearity, config.output, groups)

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """Standard normal numbers of the shape of the codes, drawn step by step."""
        size = self.factors * self.factor_size
        steps = [self.normal(generator, count, size) for _ in range(length)]
        return self.to_codes(torch.stack(steps, 1))

    def prior(self, previous: Tensor) -> DiagonalGaussian:
        """p(z_t | z_{t-1}) for z_{t-1} (B, K d): network i reads the d units of factor i alone."""
        check_shape("previous", previous.shape, (self.factors * self.factor_size,))
        parts = previous.split(self.factor_size, -1)
        # p_i(z_t^i | z_{t-1}^i) of each factor i; their product is p(z_t | z_{t-1}).
        outputs = [network(part) for network, part in zip(self.transitions, parts, strict=True)]
        mean, log_variance = torch.stack(outputs, -2).chunk(2, -1)  # (B, K, d) each
        return bounded(DiagonalGaussian(mean.flatten(-2), log_variance.flatten(-2)))

    def filter(
        self, frames: Tensor, noise: Noise | None = None
    ) -> tuple[DiagonalGaussian, DiagonalGaussian, Tensor]:
        """Posteriors, priors (B, T, K, d), latents (B, T, K d): a draw, or without noise means."""
        features = self.step_by_step(self.encoder, frames).unbind(1)
        draws = [None] * len(features) if noise is None else self.to_latents(noise).unbind(1)

        zeros = frames.new_zeros(len(frames), self.factors * self.factor_size)
        prior = DiagonalGaussian(zeros, zeros)  # of z_1, N(0, I)
        posteriors, priors = [], []  # of each step
        latents: list[Tensor] = []
        for seen, draw in zip(features, draws, strict=True):
            if latents:
                prior = self.prior(latents[-1])  # p(z_t | z_{t-1})
            # q(z_t | z_{t-1}, x_t). It may use the prediction; only the KL term may shape it.
            posterior = self.posterior(seen, prior.detach())
            posteriors.append(posterior)
            priors.append(prior)
            latents.append(posterior.draw(draw))  # z_t, which the next step's prior reads
        return self.by_factor(posteriors), self.by_factor(priors), torch.stack(latents, 1)

    def by_factor(self, steps: list[DiagonalGaussian]) -> DiagonalGaussian:
        """T distributions over (B, K d) as one over (B, T, K, d)."""
        shape = (self.factors, self.factor_size)
        mean = torch.stack([step.mean for step in steps], 1)
        log_variance = torch.stack([step.log_variance for step in steps], 1)
        return DiagonalGaussian(mean.unflatten(-1, shape), log_variance.unflatten(-1, shape))

    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats.

        sum_t E log p(x_t | z_t) - sum_t KL(q(z_t | z_{t-1}, x_t) || p(z_t | z_{t-1}))
        """
        frames = self.whole_frames(batch)
        noise = self.as_noise(noise, *frames.shape[:2])
        posteriors, priors, latents = self.filter(frames, noise)
        means = self.decode_latents(latents)
        # sum_t log p(x_t | z_t) = log N(x_t; g(z_t), v I), (B,)
        log_likelihood = gaussian_log_likelihood(frames, means, self.variance).sum(1)
        # sum_t KL(q(z_t^i | z_{t-1}, x_t) || p_i(z_t^i | z_{t-1}^i)) of each factor, (B, K)
        by_factor = kl_by_unit(posteriors, priors).sum((1, 3))
        divergences = dict(zip(self.code_names, by_factor.unbind(-1), strict=True))
        return Bound(log_likelihood, divergences, frames.shape[1])

    def encode(self, batch: BatchLike, noise: NoiseSource = None) -> Codes:
        frames = self.whole_frames(batch)
        if noise is not None:
            noise = self.as_noise(noise, *frames.shape[:2])
        return self.to_codes(self.filter(frames, noise)[2])

    def decode(self, codes: Codes) -> Tensor:
        return self.decode_latents(self.to_latents(codes))

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Mean frames (B, T, C, H, W) of latents (B, T, K d)."""
        check_shape("latents", latents.shape, (self.factors * self.factor_size,))
        return self.step_by_step(self.decoder, latents)

    def step_by_step(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """Outputs (B, T, ...) of a network for images, for inputs (B, T, ...).

        Batch normalisation takes the statistics of one step at a time, as in the authors' code.
        """
        if self.config.normalise:
            return torch.stack([network(step) for step in inputs.unbind(1)], 1)
        return network(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of new sequences: z_1 from N(0, I), then each factor by its own transition."""
        given = self.check_given(given, count, length)
        first, *later = self.to_latents(self.as_noise(noise, count, length)).unbind(1)
        latents = [first]
        for draw in later:
            latents.append(self.prior(latents[-1]).draw(draw))  # z_t from p(z_t | z_{t-1})
        return self.to_codes(torch.stack(latents, 1)) | given

    def to_codes(self, latents: Tensor) -> Codes:
        """Latents (B, T, K d) as named factors (B, T, d)."""
        return dict(zip(self.code_names, latents.split(self.factor_size, -1), strict=True))

    def to_latents(self, codes: Codes) -> Tensor:
        """Named factors (B, T, d) as latents (B, T, K d); `ValueError` as `check_codes`."""
        self.check_codes(codes)
        return torch.cat([codes[name] for name in self.code_names], -1)


def draw_uniform_weights(network: nn.Module) -> None:
    """Draw the weights of convolutions and batch normalisation as PyTorch 0.2, paper A's, did.

    Weights and biases are uniform within 1/sqrt(inputs x kernel); of a transposed convolution
    today's PyTorch takes the outputs. Gains of the normalisation, now 1, are uniform in (0, 1).
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            bound = 1 / math.sqrt(layer.in_channels * math.prod(layer.kernel_size))
            for parameter in layer.parameters():  # weights, then biases
                nn.init.uniform_(parameter, -bound, bound)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight)
