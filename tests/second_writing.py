"""The bounds of papers A and B, written a second time: the books are kept twice.

The library's models are made of what readers type in notebooks 11 and 22. Here the same is written
from the layers of a model alone, term by term; test_second_writing.py compares both.
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn
from unbraid.distributions import (
    DiagonalGaussian,
    bernoulli_log_likelihood,
    gaussian_log_likelihood,
    kl,
    kl_by_unit,
    standard_normal_like,
)
from unbraid.models import Bound


class Second(nn.Module):
    """What a model computes from a copy of its layers; it checks nothing."""

    def __init__(self, model):
        super().__init__()
        self.model, self.config = copy.deepcopy(model), model.config


def dense(layers, inputs, nonlinearity):
    """The linear layers of a network, with a nonlinearity between them."""
    *hidden, last = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for layer in hidden:
        inputs = nonlinearity(layer(inputs))
    return last(inputs)


def bounded(mean, log_variance):
    """A Gaussian with log-variances from -10 to 4."""
    return DiagonalGaussian(mean, log_variance.clamp(-10.0, 4.0))


class IndependentPrediction(Second):
    """Paper A: K factors of d units with independent transitions, each (B, T, d)."""

    def posterior(self, features, prior):
        """q(z_t | z_{t-1}, x_t) of its frame's features (B, g) and of its prior."""
        layers = self.model.filter.posterior
        parts = [layers.from_frame(features), layers.from_mean(prior.mean)]
        parts.append(layers.from_log_variance(prior.log_variance))
        hidden = F.leaky_relu(layers.combine(F.leaky_relu(torch.cat(parts, -1))))
        return bounded(layers.mean(hidden), layers.log_variance(hidden))

    def prior(self, previous):
        """p(z_t | z_{t-1}) for z_{t-1} (B, K d): network i reads the d units of factor i alone."""
        parts = zip(self.model.filter.transitions, self.split(previous), strict=True)
        outputs = [dense(network, part, F.selu) for network, part in parts]
        mean, log_variance = torch.stack(outputs, -2).chunk(2, -1)  # (B, K, d) each
        return bounded(mean.flatten(-2), log_variance.flatten(-2))

    def filter(self, frames, noise):
        """KL terms (B, K), and latents (B, T, K d)."""
        features = self.step_by_step(self.model.filter.encoder, frames).unbind(1)
        zeros = frames.new_zeros(len(frames), self.config.factors * self.config.factor_size)
        prior, latents, costs = DiagonalGaussian(zeros, zeros), [], 0.0
        for seen, draw in zip(features, self.join(noise).unbind(1), strict=True):
            if latents:
                prior = self.prior(latents[-1])
            # The posterior may use the prediction; only the KL term may shape it.
            posterior = self.posterior(seen, prior.detach())
            latents.append(posterior.draw(draw))
            by_factor = self.split(kl_by_unit(posterior, prior))
            costs = costs + torch.stack([each.sum(-1) for each in by_factor], -1)
        return costs, torch.stack(latents, 1)

    def elbo(self, frames, noise):
        costs, latents = self.filter(frames, noise)
        means = self.step_by_step(self.model.decoder, latents)
        log_likelihood = gaussian_log_likelihood(frames, means, self.config.variance).sum(1)
        return Bound(log_likelihood, self.name(costs.unbind(-1)), frames.shape[1])

    def encode(self, frames, noise):
        return self.name(self.split(self.filter(frames, noise)[1]))

    def decode(self, codes):
        return self.step_by_step(self.model.decoder, self.join(codes))

    def generate(self, count, length, noise):
        """Codes of new sequences: z_1 from N(0, I), then each factor by its own transition."""
        first, *later = self.join(noise).unbind(1)
        latents = [first]
        for draw in later:
            latents.append(self.prior(latents[-1]).draw(draw))
        return self.name(self.split(torch.stack(latents, 1)))

    def step_by_step(self, network, inputs):
        """Batch normalisation takes the statistics of one step at a time."""
        if self.config.normalise:
            return torch.stack([network(step) for step in inputs.unbind(1)], 1)
        return network(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])

    def split(self, latents):
        return latents.split(self.config.factor_size, -1)

    def join(self, codes):
        return torch.cat([codes[name] for name in self.model.code_names], -1)

    def name(self, factors):
        return dict(zip(self.model.code_names, factors, strict=True))


class UnorderedFrames(Second):
    """Paper B: codes static (B, D) and dynamic (B, T, d), of frames in any order."""

    def compare(self, features):
        """Mean over pairs of ReLU(W_1 * x_i + W_2 * x_j + b), (B, width, 4, 4)."""
        pair = self.model.encoder.static.pair
        first_of, second_of = pair.weight.chunk(2, 1)
        maps = []
        for i, one in enumerate(features.unbind(1)):
            for j, other in enumerate(features.unbind(1)):
                if i == j and self.config.pairs or i != j and not self.config.pairs:
                    continue
                first = F.conv2d(one, first_of, pair.bias, padding=1)
                maps.append(F.relu(first + F.conv2d(other, second_of, padding=1)))
        return torch.stack(maps).mean(0)

    def posterior(self, frames, noise):
        """q(s | x), q(d_i | s, x_i), and a draw of both codes."""
        layers = self.model.encoder
        features = layers.trunk(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        hidden = F.relu(layers.static.convolution(self.compare(features))).flatten(1)
        static = DiagonalGaussian.from_outputs(dense(layers.static.dense, hidden, F.relu))
        s = static.draw(noise["static"])  # (B, D)
        inputs = torch.cat([features.flatten(2), self.repeat(s, frames.shape[1])], -1)
        dynamic = DiagonalGaussian.from_outputs(dense(layers.dynamic, inputs, F.relu))
        return static, dynamic, {"static": s, "dynamic": dynamic.draw(noise["dynamic"])}

    def prior(self, static):
        """p(d | s), (B, 1, d), the same for all frames."""
        if not self.config.prior_given_static:
            return standard_normal_like(static.new_zeros(len(static), 1, self.config.dynamic_size))
        return DiagonalGaussian.from_outputs(dense(self.model.prior, static[:, None], F.relu))

    def logits(self, static, dynamic):
        codes = torch.cat([self.repeat(static, dynamic.shape[1]), dynamic], -1).flatten(0, 1)
        if not isinstance(self.model.decoder, nn.Sequential):  # which paints
            return self.model.decoder(codes).unflatten(0, dynamic.shape[:2])
        kinds = (nn.Linear, nn.ConvTranspose2d, nn.BatchNorm2d)
        first, *layers = [layer for layer in self.model.decoder if isinstance(layer, kinds)]
        slope = self.config.decoder_slope
        maps = F.leaky_relu(first(codes), slope).unflatten(-1, (-1, 4, 4))
        for layer in layers[:-1]:
            maps = layer(maps)
            if isinstance(layer, nn.BatchNorm2d) or not self.config.normalise:
                maps = F.leaky_relu(maps, slope)
        return layers[-1](maps).unflatten(0, dynamic.shape[:2])

    def elbo(self, frames, noise):
        static, dynamic, codes = self.posterior(frames, noise)
        log_likelihood = bernoulli_log_likelihood(frames, self.logits(**codes)).sum(1)
        divergences = {
            "static": kl(static, standard_normal_like(static.mean)),
            "dynamic": kl(dynamic, self.prior(codes["static"])).sum(1),
        }
        return Bound(log_likelihood, divergences, frames.shape[1])

    def encode(self, frames, noise):
        return self.posterior(frames, noise)[2]

    def decode(self, codes):
        return torch.sigmoid(self.logits(**codes))

    def generate(self, count, length, noise):
        static = noise["static"]
        return {"static": static, "dynamic": self.prior(static).draw(noise["dynamic"])}

    def repeat(self, static, length):
        return static[:, None].expand(-1, length, -1)
