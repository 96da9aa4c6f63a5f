"""A model with a static and a dynamic code: linear layers, in and out."""

from dataclasses import dataclass

import torch
from torch import nn
from unbraid.distributions import (
    DiagonalGaussian,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.base import Batch, Bound, ModelConfig, SequenceModel


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    """The sizes of `Toy`."""

    image_size: int = 8
    code_size: int = 2


class Toy(SequenceModel):
    """Two linear layers read the static code off the mean frame, the dynamic one off each."""

    config_class = ToyConfig
    code_names = ("static", "dynamic")

    def __init__(self, config=None, **values):
        super().__init__(config, **values)
        image_size = self.config.image_size
        self.frame_shape = (1, image_size, image_size)
        self.code_size = code_size = self.config.code_size
        self.encoders = nn.ModuleDict()
        for name in self.code_names:
            self.encoders[name] = nn.Linear(image_size**2, 2 * code_size)
        self.decoder = nn.Linear(2 * code_size, image_size**2)

    def draw_noise(self, count, length, generator=None):
        static = torch.randn(count, self.code_size, generator=generator)
        dynamic = torch.randn(count, length, self.code_size, generator=generator)
        return {"static": static, "dynamic": dynamic}

    def posterior(self, batch):
        pixels = Batch.of(batch).frames.flatten(2)  # (B, T, H W)
        static = DiagonalGaussian.from_outputs(self.encoders["static"](pixels.mean(1)))
        dynamic = DiagonalGaussian.from_outputs(self.encoders["dynamic"](pixels))
        return {"static": static, "dynamic": dynamic}

    def encode(self, batch, noise=None):
        posterior = self.posterior(batch)
        if noise is None:
            return {name: gaussian.mean for name, gaussian in posterior.items()}
        noise = self.as_noise(noise, *Batch.of(batch).frames.shape[:2])
        return {name: gaussian.draw(noise[name]) for name, gaussian in posterior.items()}

    def decode(self, codes):
        static = codes["static"][:, None].expand_as(codes["dynamic"])
        pixels = torch.sigmoid(self.decoder(torch.cat([static, codes["dynamic"]], -1)))
        return pixels.unflatten(-1, self.frame_shape)

    def generate(self, count, length, noise=None, given=None):
        return self.as_noise(noise, count, length) | self.check_given(given, count, length)

    def elbo(self, batch, noise=None):
        frames = Batch.of(batch).frames
        decoded = self.decode(self.encode(batch, self.as_noise(noise, *frames.shape[:2])))
        gaussians = self.posterior(batch)
        divergences = {name: kl(q, standard_normal_like(q.mean)) for name, q in gaussians.items()}
        divergences["dynamic"] = divergences["dynamic"].sum(1)
        likelihood = gaussian_log_likelihood(frames, decoded, 0.1).sum(1)
        return Bound(likelihood, divergences, frames.shape[1])
