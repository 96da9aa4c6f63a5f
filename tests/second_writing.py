"""The models of papers A and B, written a second time: the books are kept twice.

The library's models are made of what readers type in notebooks 11 and 22. These were the library's
before, and agree with them term by term and gradient by gradient (test_second_writing.py). They
take a config and noise of the library's, check nothing, and have weights under their own names.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from unbraid import rekey
from unbraid.distributions import (
    DiagonalGaussian,
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    kl,
    kl_by_unit,
    standard_normal_like,
)
from unbraid.models import Bound
from unbraid.networks import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    GaussianHead,
    activation,
    halving_stages,
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


# ---- paper B


class PairEncoder(nn.Module):
    """q(s | x_1 ... x_T), of what all pairs of frames have in common."""

    def __init__(self, config):
        super().__init__()
        width = config.pair_width
        self.pairs = config.pairs
        self.pair_convolution = nn.Conv2d(2 * config.widths[-1], width, 3, padding=1)
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if config.normalise else nn.Identity()
        self.dense = mlp(16 * width, config.hidden, 2 * config.static_size, 1, "relu")

    def compare(self, features):
        """Mean over pairs of ReLU(W_1 * x_i + W_2 * x_j + b), (B, width, 4, 4)."""
        count, length = features.shape[:2]
        weight = torch.cat(self.pair_convolution.weight.chunk(2, 1))  # W_1 above W_2
        maps = F.conv2d(features.flatten(0, 1), weight, padding=1)
        first, second = maps.unflatten(0, (count, length)).chunk(2, 2)
        first = first + self.pair_convolution.bias[:, None, None]
        shifts = range(1, length) if self.pairs and length > 1 else (0,)
        pairs = [F.relu(first + second.roll(-shift, 1)).mean(1) for shift in shifts]
        return torch.stack(pairs).mean(0)

    def forward(self, features):
        hidden = F.relu(self.norm(self.convolution(self.compare(features))))
        return DiagonalGaussian.from_outputs(self.dense(hidden.flatten(1)))


class FrameDecoder(nn.Module):
    """Logits of frames (N, C, H, W), of s (N, D) and d (N, d), painted if the config says so."""

    def __init__(self, config):
        super().__init__()
        widths, size = config.widths, config.static_size
        self.channels, self.slope = config.channels, config.decoder_slope
        palette = getattr(config, "palette", 0)
        self.first = nn.Linear(size + config.dynamic_size, 16 * widths[-1])
        self.stages, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise(widths[::-1]):
            layer = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=not config.normalise)
            self.stages.append(layer)
            self.norms.append(nn.BatchNorm2d(after) if config.normalise else nn.Identity())
        self.last = nn.ConvTranspose2d(widths[0], config.channels + palette, 4, 2, 1)
        self.multiplied = getattr(config, "multiplied", False)
        if self.multiplied:
            self.static_factor = nn.Linear(size, 16 * widths[-1])
            self.dynamic_factor = nn.Linear(config.dynamic_size, 16 * widths[-1])
            paints = [nn.Linear(size, width, bias=False) for width in widths[-2::-1]]
            self.paints = nn.ModuleList(paints)
        self.palette = nn.Linear(size, config.channels * palette) if palette else None

    def forward(self, static, dynamic):
        first = self.first(torch.cat([static, dynamic], -1))
        if self.multiplied:
            first = first + self.static_factor(static) * self.dynamic_factor(dynamic)
        maps = F.leaky_relu(first, self.slope).unflatten(-1, (-1, 4, 4))
        for number, (layer, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            maps = layer(maps)
            if self.multiplied:
                maps = maps + self.paints[number](static)[:, :, None, None]
            maps = F.leaky_relu(norm(maps), self.slope)
        maps = self.last(maps)
        if self.palette is None:
            return maps
        colours = self.palette(static).unflatten(-1, (self.channels, -1))  # (N, C, K)
        shares = maps[:, self.channels :].softmax(1)  # (N, K, H, W)
        return maps[:, : self.channels] + 3 * torch.einsum("nck,nkhw->nchw", colours, shares)


class UnorderedFrames(nn.Module):
    """Paper B's model and the painted variant. config: that of the library's class."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        widths, hidden, size = config.widths, config.hidden, config.static_size
        channels, bias = (config.channels, *widths), not config.normalise
        stages = halving_stages(channels, config.normalise, config.trunk_slope, bias=bias)
        self.trunk = nn.Sequential(*stages)
        self.static_encoder = PairEncoder(config)
        inputs = 16 * widths[-1] + size
        self.dynamic_dense = mlp(inputs, hidden, 2 * config.dynamic_size, 2, "relu")
        self.prior_dense = mlp(size, hidden, 2 * config.dynamic_size, 2, "relu")
        self.decoder = FrameDecoder(config)

    def rename(self, name):
        """The name here of a weight of the library's model."""
        parts = {new: old for old, new in rekey.list_parts(self).items()}
        return rekey.rename(name, parts)

    def posterior(self, frames, noise):
        """q(s | x), q(d_i | s, x_i), and their codes: a draw, or without noise the means."""
        features = self.trunk(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        static = self.static_encoder(features)
        s = static.draw(noise.get("static"))  # (B, D)
        of_s = s[:, None].expand(-1, frames.shape[1], -1)
        inputs = torch.cat([features.flatten(2), of_s], -1)
        dynamic = DiagonalGaussian.from_outputs(self.dynamic_dense(inputs))
        return static, dynamic, {"static": s, "dynamic": dynamic.draw(noise.get("dynamic"))}

    def logits(self, static, dynamic):
        s = static[:, None].expand(-1, dynamic.shape[1], -1)
        logits = self.decoder(s.flatten(0, 1), dynamic.flatten(0, 1))
        return logits.unflatten(0, dynamic.shape[:2])

    def prior(self, static):
        """p(d | s), (B, 1, d), the same for all frames."""
        return DiagonalGaussian.from_outputs(self.prior_dense(static[:, None]))

    def elbo(self, frames, noise):
        static, dynamic, codes = self.posterior(frames, noise)
        log_likelihood = bernoulli_log_likelihood(frames, self.logits(**codes)).sum(1)
        divergences = {
            "static": kl(static, standard_normal_like(static.mean)),
            "dynamic": kl(dynamic, self.prior(codes["static"])).sum(1),
        }
        return Bound(log_likelihood, divergences, frames.shape[1])

    def encode(self, frames, noise=None):
        return self.posterior(frames, noise or {})[2]

    def decode(self, codes):
        return torch.sigmoid(self.logits(**codes))

    def generate(self, count, length, noise):
        static = noise["static"]
        return {"static": static, "dynamic": self.prior(static).draw(noise["dynamic"])}
