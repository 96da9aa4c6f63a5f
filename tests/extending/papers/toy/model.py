"""A model with a static and a dynamic code: linear layers, in and out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from unbraid.distributions import (
    DiagonalGaussian,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.base import (
    Batch,
    BatchLike,
    Bound,
    Codes,
    ModelConfig,
    Noise,
    NoiseSource,
    SequenceModel,
)


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    """The sizes of `Toy`."""

    image_size: int = 8
    code_size: int = 2


class Toy(SequenceModel):
    """Two linear layers read the static code off the mean frame, the dynamic one off each."""

    config_class = ToyConfig
    config: ToyConfig
    code_names = ("static", "dynamic")

    def __init__(self, config: ToyConfig | None = None, **values: Any):
        super().__init__(config, **values)
        image_size, self.code_size = self.config.image_size, self.config.code_size
        self.frame_shape = (1, image_size, image_size)
        self.encoders = nn.ModuleDict()
        for name in self.code_names:
            self.encoders[name] = nn.Linear(image_size**2, 2 * self.code_size)
        self.decoder = nn.Linear(2 * self.code_size, image_size**2)

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        static = self.normal(generator, count, self.code_size)  # (B, D)
        dynamic = self.normal(generator, count, length, self.code_size)  # (B, T, d)
        return {"static": static, "dynamic": dynamic}

    def posterior(self, frames: Tensor) -> dict[str, DiagonalGaussian]:
        pixels = frames.flatten(2)  # (B, T, H W)
        static = DiagonalGaussian.from_outputs(self.encoders["static"](pixels.mean(1)))
        dynamic = DiagonalGaussian.from_outputs(self.encoders["dynamic"](pixels))
        return {"static": static, "dynamic": dynamic}

    def encode(self, batch: BatchLike, noise: NoiseSource = None) -> Codes:
        frames = Batch.of(batch).frames
        posterior = self.posterior(frames)
        if noise is None:
            return {name: gaussian.mean for name, gaussian in posterior.items()}
        noise = self.as_noise(noise, *frames.shape[:2])
        return {name: gaussian.draw(noise[name]) for name, gaussian in posterior.items()}

    def decode(self, codes: Codes) -> Tensor:
        static = codes["static"][:, None].expand_as(codes["dynamic"])
        pixels = torch.sigmoid(self.decoder(torch.cat([static, codes["dynamic"]], -1)))
        return pixels.unflatten(-1, self.frame_shape)

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        return self.as_noise(noise, count, length) | self.check_given(given, count, length)

    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        frames = Batch.of(batch).frames
        noise = self.as_noise(noise, *frames.shape[:2])
        decoded = self.decode(self.encode(batch, noise))

        divergences = {}
        for name, gaussian in self.posterior(frames).items():
            divergences[name] = kl(gaussian, standard_normal_like(gaussian.mean))
        divergences["dynamic"] = divergences["dynamic"].sum(1)  # of all steps, (B,)
        likelihood = gaussian_log_likelihood(frames, decoded, 0.1).sum(1)
        return Bound(likelihood, divergences, frames.shape[1])
