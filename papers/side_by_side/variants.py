"""Principal components under the interface of the models: what no training needs."""

from typing import Any

import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn
from unbraid.distributions import DiagonalGaussian as Gaussian
from unbraid.models.base import Batch, Bound, NoiseSource
from unbraid.variants.rivals import Averages, AveragesConfig


class PrincipalComponents(Averages):
    """`Averages` of probabilistic PCA of single frames (Tipping and Bishop 1999), without training.

    Its one update takes mean and components of its batch. With W = U (L - v)^(1/2), of
    eigenvectors U and eigenvalues L, the posterior is exact and the bound is the likelihood.
    """

    def __init__(self, config: AveragesConfig | None = None, **values: Any):
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

    def posterior(self, frames: Tensor) -> Gaussian:
        """q(z | x), (N, D), of frames (N, C, H, W)."""
        eigenvalues = self.weight.square().sum(0) + self.config.variance
        mean = (frames.flatten(1) - self.mean) @ self.weight / eigenvalues
        log_variance = (self.config.variance / eigenvalues).log()
        return Gaussian(mean, log_variance.expand_as(mean))

    def paint(self, latents: Tensor) -> Tensor:
        """The means (N, C, H, W) of p(x | z), of z (N, D)."""
        return (self.mean + latents @ self.weight.T).unflatten(1, self.frame_shape)
