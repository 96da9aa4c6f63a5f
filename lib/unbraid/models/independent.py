"""Paper A: Whitney & Fergus (2017), arXiv 1901.05590.

Disentangling Video with Independent Prediction.

    p(x, z) = p(z_1) prod_t prod_i p_i(z_t^i | z_{t-1}^i) prod_t p(x_t | z_t)

Each factor i has a transition network of its own, which reads only that factor's past. The
posterior q(z_t | z_{t-1}, x_t) is a filter. The hope is that each factor then describes one thing;
notebooks 12 to 14 measure when it does. A single factor, as wide as all, is the entangled baseline.

The filter, with posterior and transitions, is notebook 11's own, in `unbraid.models.lesson_a`.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ..checks import check_number
from ..distributions import DiagonalGaussian, gaussian_log_likelihood
from ..networks import ConvolutionalDecoder, ConvolutionalEncoder
from . import lesson_a
from .base import BatchLike, Bound, Codes, ModelConfig, Noise, NoiseSource, SequenceModel

# Trained models have log-variances from -7 to 0.4. Beyond these bounds, which no gradient crosses,
# a single batch can put out an infinite variance, and the bound is never finite again.
LOG_VARIANCE_BOUNDS = (-10.0, 4.0)

Pair = tuple[Tensor, Tensor]  # mean and log-variance of a Gaussian


def bounded(pair: Pair) -> Pair:
    """A Gaussian whose log-variances are kept within LOG_VARIANCE_BOUNDS."""
    return pair[0], pair[1].clamp(*LOG_VARIANCE_BOUNDS)


class Filter(lesson_a.Filter):
    """The filter of notebook 11, with log-variances that are kept within bounds."""

    def __init__(self, *sizes: Any):
        super().__init__(*sizes)
        self.posterior.register_forward_hook(lambda _, given, q: bounded(q))

    def predict(self, z: Tensor) -> Pair:
        """p(z_t | z_{t-1}) for z_{t-1} (B, K d): network i reads the d units of factor i alone."""
        return bounded(super().predict(z))


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
    """K factors of d units with independent transitions: codes factor_0, ..., each (B, T, d).

    Its parts have the names that they have in notebook 11's class: `filter` with `encoder`,
    `posterior` and `transitions`, and `decoder`, so that weights of one are weights of the other.
    """

    config_class = IndependentPredictionConfig
    config: IndependentPredictionConfig
    filter_class: type[Filter] = Filter
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

        nonlinearity = "leaky_relu" if config.activation == "paper" else config.activation
        look = config.image_size, 3, config.width, config.features
        encoder = ConvolutionalEncoder(*look, config.normalise, nonlinearity)
        # Batch normalisation takes the statistics of one step at a time, as in the authors' code.
        over_time = lesson_a.step_by_step if config.normalise else lesson_a.all_at_once
        sizes = config.features, self.factors, d, config.hidden, config.hidden_layers
        self.filter = self.filter_class(encoder, over_time, *sizes)
        if not config.hidden_layers:  # a linear transition, which the lesson does not have
            linear = [nn.Sequential(nn.Linear(d, 2 * d)) for _ in range(self.factors)]
            self.filter.transitions = nn.ModuleList(linear)
        self.decoder = self.make_decoder(self.factors * d)
        if config.normalise:
            draw_uniform_weights(self)
        with torch.no_grad():
            self.filter.posterior.log_variance.bias.add_(config.initial_log_variance)
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

    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats.

        sum_t E log p(x_t | z_t) - sum_t KL(q(z_t | z_{t-1}, x_t) || p(z_t | z_{t-1}))
        """
        frames = self.whole_frames(batch)
        draws = self.to_latents(self.as_noise(noise, *frames.shape[:2]))
        latents, costs = self.filter(frames, draws)  # (B, T, K d), (B, T, K)
        # sum_t log p(x_t | z_t) = log N(x_t; g(z_t), v I), (B,)
        means = self.filter.over_time(self.decoder, latents)
        log_likelihood = gaussian_log_likelihood(frames, means, self.variance).sum(1)
        divergences = dict(zip(self.code_names, costs.sum(1).unbind(1), strict=True))
        return Bound(log_likelihood, divergences, frames.shape[1])

    def encode(self, batch: BatchLike, noise: NoiseSource = None) -> Codes:
        return self.to_codes(self.filter(*self.read(batch, noise))[0])

    def read(self, batch: BatchLike, noise: NoiseSource) -> tuple[Tensor, Tensor]:
        """What the filter reads: frames, and noise (B, T, K d), without which a draw is a mean."""
        frames = self.whole_frames(batch)
        if noise is None:
            return frames, frames.new_zeros(*frames.shape[:2], self.factors * self.factor_size)
        return frames, self.to_latents(self.as_noise(noise, *frames.shape[:2]))

    def infer(
        self, batch: BatchLike, noise: NoiseSource = None
    ) -> tuple[DiagonalGaussian, DiagonalGaussian, Tensor]:
        """Posteriors, priors (B, T, K, d), latents (B, T, K d): a draw, or without noise means."""
        steps: list[tuple[Pair, Pair]] = []  # of each, what the posterior put out and was given
        hook = self.filter.posterior.register_forward_hook(
            lambda _, given, q: steps.append((q, given[1]))
        )
        with hook:
            latents, _ = self.filter(*self.read(batch, noise))
        posteriors, priors = (self.by_factor(each) for each in zip(*steps, strict=True))
        return posteriors, priors, latents

    def by_factor(self, steps: tuple[Pair, ...]) -> DiagonalGaussian:
        """T distributions over (B, K d) as one over (B, T, K, d)."""
        shape = (self.factors, self.factor_size)
        mean, log_variance = (torch.stack(each, 1) for each in zip(*steps, strict=True))
        return DiagonalGaussian(mean.unflatten(-1, shape), log_variance.unflatten(-1, shape))

    def decode(self, codes: Codes) -> Tensor:
        return self.filter.over_time(self.decoder, self.to_latents(codes))

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of new sequences: z_1 from N(0, I), then each factor by its own transition."""
        given = self.check_given(given, count, length)
        first, *later = self.to_latents(self.as_noise(noise, count, length)).unbind(1)
        latents = [first]
        for draw in later:
            mean, log_variance = self.filter.predict(latents[-1])  # p(z_t | z_{t-1})
            latents.append(mean + (log_variance / 2).exp() * draw)
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
