"""The models of papers A and B, written a second time: the books are kept twice.

The library's models are made of what readers type in notebooks 11 and 22. These were the library's
before, and agree with them term by term and gradient by gradient (test_second_writing.py). They
take a config and noise of the library's, check nothing, and have weights under their own names.
"""

import torch
import torch.nn.functional as F
from torch import nn
from unbraid.distributions import DiagonalGaussian, gaussian_log_likelihood, kl_by_unit
from unbraid.models import Bound
from unbraid.networks import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    GaussianHead,
    activation,
    mlp,
)

# ---- paper A


def bounded(distribution):
    """The distribution with its log-variances kept from -10 to 4."""
    return DiagonalGaussian(distribution.mean, distribution.log_variance.clamp(-10.0, 4.0))


class FilteringPosterior(nn.Module):
    """q(z_t | z_{t-1}, x_t) of K d units: the frame combined with the prior's prediction."""

    def __init__(self, features, size):
        super().__init__()
        self.from_frame = nn.Linear(features, size)
        self.from_mean = nn.Linear(size, size)
        self.from_log_variance = nn.Linear(size, size)
        self.combine = nn.Linear(3 * size, size)
        self.head = GaussianHead(size, size)

    def forward(self, features, prior):
        """The posterior of one step, (B, K d), of its frame's features (B, g) and its prior."""
        parts = [self.from_frame(features), self.from_mean(prior.mean)]
        parts.append(self.from_log_variance(prior.log_variance))
        hidden = self.combine(F.leaky_relu(torch.cat(parts, -1)))
        return bounded(self.head(F.leaky_relu(hidden)))


class IndependentPrediction(nn.Module):
    """K factors of d units with independent transitions: codes factor_0, ..., each (B, T, d)."""

    def __init__(self, config):
        super().__init__()
        self.config, d, size = config, config.factor_size, config.factors * config.factor_size
        self.code_names = [f"factor_{index}" for index in range(config.factors)]
        paper = config.activation == "paper"
        kind = "leaky_relu" if paper else config.activation
        sizes = config.image_size, 3, config.width, config.features
        self.encoder = ConvolutionalEncoder(*sizes, config.normalise, kind)
        self.posterior = FilteringPosterior(config.features, size)
        self.transitions = nn.ModuleList()
        for _ in range(config.factors):
            self.transitions.append(mlp(d, config.hidden, 2 * d, config.hidden_layers))
        hidden, kind = getattr(config, "decoder_hidden", 0), "relu" if paper else config.activation
        sizes = config.image_size, 3, config.width, hidden or size
        more = config.normalise, kind, config.output, 0 if hidden else 1
        self.decoder = ConvolutionalDecoder(*sizes, *more)
        if hidden:
            self.decoder = nn.Sequential(nn.Linear(size, hidden), activation(kind), self.decoder)

    @staticmethod
    def rename(name):
        """The name here of a weight of the library's model."""
        name = name.removeprefix("filter.")
        for part in ("posterior.mean.", "posterior.log_variance."):
            name = name.replace(part, part.replace("posterior.", "posterior.head."))
        return name

    def prior(self, previous):
        """p(z_t | z_{t-1}) for z_{t-1} (B, K d): network i reads the d units of factor i alone."""
        parts = previous.split(self.config.factor_size, -1)
        # p_i(z_t^i | z_{t-1}^i) of each factor i; their product is p(z_t | z_{t-1}).
        outputs = [network(part) for network, part in zip(self.transitions, parts, strict=True)]
        mean, log_variance = torch.stack(outputs, -2).chunk(2, -1)  # (B, K, d) each
        return bounded(DiagonalGaussian(mean.flatten(-2), log_variance.flatten(-2)))

    def filter(self, frames, noise=None):
        """Posteriors, priors (B, T, K, d), latents (B, T, K d): a draw, or without noise means."""
        features = self.step_by_step(self.encoder, frames).unbind(1)
        draws = [None] * len(features) if noise is None else self.to_latents(noise).unbind(1)
        zeros = frames.new_zeros(len(frames), self.config.factors * self.config.factor_size)
        prior = DiagonalGaussian(zeros, zeros)  # of z_1, N(0, I)
        posteriors, priors, latents = [], [], []  # of each step
        for seen, draw in zip(features, draws, strict=True):
            if latents:
                prior = self.prior(latents[-1])  # p(z_t | z_{t-1})
            # q(z_t | z_{t-1}, x_t). It may use the prediction; only the KL term may shape it.
            posterior = self.posterior(seen, prior.detach())
            posteriors.append(posterior)
            priors.append(prior)
            latents.append(posterior.draw(draw))  # z_t, which the next step's prior reads
        return self.by_factor(posteriors), self.by_factor(priors), torch.stack(latents, 1)

    def by_factor(self, steps):
        """T distributions over (B, K d) as one over (B, T, K, d)."""
        shape = (self.config.factors, self.config.factor_size)
        mean = torch.stack([step.mean for step in steps], 1)
        log_variance = torch.stack([step.log_variance for step in steps], 1)
        return DiagonalGaussian(mean.unflatten(-1, shape), log_variance.unflatten(-1, shape))

    def elbo(self, frames, noise):
        """The bound of each sequence in nats."""
        posteriors, priors, latents = self.filter(frames, noise)
        means = self.step_by_step(self.decoder, latents)
        # sum_t log p(x_t | z_t) = log N(x_t; g(z_t), v I), (B,)
        log_likelihood = gaussian_log_likelihood(frames, means, self.config.variance).sum(1)
        # sum_t KL(q(z_t^i | z_{t-1}, x_t) || p_i(z_t^i | z_{t-1}^i)) of each factor, (B, K)
        by_factor = kl_by_unit(posteriors, priors).sum((1, 3))
        divergences = dict(zip(self.code_names, by_factor.unbind(-1), strict=True))
        return Bound(log_likelihood, divergences, frames.shape[1])

    def encode(self, frames, noise=None):
        latents = self.filter(frames, noise)[2]
        parts = latents.split(self.config.factor_size, -1)
        return dict(zip(self.code_names, parts, strict=True))

    def decode(self, codes):
        return self.step_by_step(self.decoder, self.to_latents(codes))

    def step_by_step(self, network, inputs):
        """Outputs (B, T, ...) of a network for images, for inputs (B, T, ...).

        Batch normalisation takes the statistics of one step at a time, as in the authors' code.
        """
        if self.config.normalise:
            return torch.stack([network(step) for step in inputs.unbind(1)], 1)
        return network(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])

    def to_latents(self, codes):
        return torch.cat([codes[name] for name in self.code_names], -1)

    def generate(self, count, length, noise):
        """Codes of new sequences: z_1 from N(0, I), then each factor by its own transition."""
        first, *later = self.to_latents(noise).unbind(1)
        latents = [first]
        for draw in later:
            latents.append(self.prior(latents[-1]).draw(draw))
        parts = torch.stack(latents, 1).split(self.config.factor_size, -1)
        return dict(zip(self.code_names, parts, strict=True))
