"""The training steps of the papers' authors, as plain modules with which our bounds are compared.

They are written anew, from what the public code does at the commits named below; neither of the two
has a licence, so nothing is copied. What only fills a log is left out. Each module returns the loss
of a batch of frames (B, T, 3, H, W) in [0, 1].
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def encoder(channels: tuple[int, ...], features: int, slope: float) -> list[nn.Module]:
    """DCGAN's discriminator for 3 colours, without what follows its last convolution."""
    layers: list[nn.Module] = []
    for before, after in pairwise((3, *channels)):
        convolution = nn.Conv2d(before, after, 4, 2, 1)
        layers += [convolution, nn.BatchNorm2d(after), nn.LeakyReLU(slope)]
    return [*layers, nn.Conv2d(channels[-1], features, 4)]


def decoder(channels: tuple[int, ...], inputs: int, colours: int, activation: nn.Module) -> list:
    """DCGAN's generator, which ends in a sigmoid."""
    widths = channels[::-1]
    layers = [nn.ConvTranspose2d(inputs, widths[0], 4), nn.BatchNorm2d(widths[0]), activation]
    for before, after in pairwise(widths):
        convolution = nn.ConvTranspose2d(before, after, 4, 2, 1)
        layers += [convolution, nn.BatchNorm2d(after), activation]
    return [*layers, nn.ConvTranspose2d(widths[-1], colours, 4, 2, 1), nn.Sigmoid()]


def draw(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A reparameterised draw."""
    return mean + torch.exp(log_variance / 2) * torch.randn_like(mean)


def divergence(mean: Tensor, log_variance: Tensor, of_mean: Tensor, of_log_variance: Tensor):
    """KL of one Gaussian from another, summed over units and averaged over sequences."""
    ratio = torch.exp(log_variance - of_log_variance)
    squared = (mean - of_mean) ** 2 * torch.exp(-of_log_variance)
    total = ratio + squared - 1 + of_log_variance - log_variance
    return total.sum() / (2 * len(mean))


class IndependentStep(nn.Module):
    """Paper A: willwhitney/structure-experiments, branch trans-1markov, commit 973ae36.

    Of one frame, because the prior of the next goes through other layers than ours. The decoder
    paints six channels, of which three are read.
    """

    def __init__(
        self, channels: tuple[int, ...], features: int, latents: int, variance: float = 0.25
    ):
        super().__init__()
        self.variance = variance
        self.encoder = nn.Sequential(*encoder(channels, features, 0.01), nn.LeakyReLU())
        self.from_frame = nn.Linear(features, latents)
        self.combine = nn.Linear(3 * latents, latents)
        self.mean = nn.Linear(latents, latents)
        self.log_variance = nn.Linear(latents, latents)
        self.first = nn.Linear(latents, latents)
        self.decoder = nn.Sequential(*decoder(channels, latents, 6, nn.ReLU()))

    def forward(self, frames: Tensor) -> Tensor:
        frame, count = frames[:, 0], len(frames)
        seen = F.leaky_relu(self.from_frame(self.encoder(frame).flatten(1)))
        prior = torch.zeros_like(seen)  # mean and log-variance
        hidden = F.leaky_relu(self.combine(torch.cat([seen, prior, prior], 1)))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        picture = F.relu(self.first(draw(mean, log_variance)))[..., None, None]
        decoded = self.decoder(picture)[:, :3]
        error = (decoded - frame).square().sum() / (2 * self.variance * count)
        return error + divergence(mean, log_variance, prior, prior)


class SingleElementStep(nn.Module):
    """Paper C: azencot-group/DBSE, video/ at commit ac0c5f6, with its objective of Sprites.

    The first frame is decoded a second time for a term of its own, and the prior goes from step to
    step, although all codes are known.
    """

    def __init__(
        self,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        features: int = 256,
        hidden: int = 64,
        static: int = 256,
        dynamic: int = 256,
    ):
        super().__init__()
        normalised = nn.BatchNorm2d(features), nn.Tanh()
        self.encoder = nn.Sequential(*encoder(channels, features, 0.2), *normalised)
        self.static = nn.Sequential(nn.Linear(features, hidden), nn.Tanh())
        self.static_mean = nn.Linear(hidden, static)
        self.static_log_variance = nn.Linear(hidden, static)
        self.recurrent = nn.LSTM(features, dynamic, 2, batch_first=True, bidirectional=True)
        self.mean = nn.Linear(2 * dynamic, dynamic)
        self.log_variance = nn.Linear(2 * dynamic, dynamic)
        self.prior_first = nn.LSTMCell(dynamic, hidden)
        self.prior_second = nn.LSTMCell(hidden, hidden)
        self.prior_mean = nn.Linear(hidden, dynamic)
        self.prior_log_variance = nn.Linear(hidden, dynamic)
        inputs, activation = static + dynamic, nn.LeakyReLU(0.2)
        self.decoder = nn.Sequential(*decoder(channels, inputs, 3, activation))

    def decode(self, codes: Tensor) -> Tensor:
        """Frames (B, T, 3, H, W) of the codes (B, T, D + d)."""
        return self.decoder(codes.flatten(0, 1)[..., None, None]).unflatten(0, codes.shape[:2])

    def prior(self, dynamic: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log-variances (B, T, d) of each d_t given the ones before it, (B, T, d)."""
        first = second = None
        before, hidden = torch.zeros_like(dynamic[:, 0]), []
        for after in dynamic.unbind(1):
            first = self.prior_first(before, first)
            second = self.prior_second(first[0], second)
            hidden.append(second[0])
            before = after
        outputs = torch.stack(hidden, 1)
        return self.prior_mean(outputs), self.prior_log_variance(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        count, length = frames.shape[:2]
        features = self.encoder(frames.flatten(0, 1)).flatten(1).unflatten(0, (count, length))
        summary = self.static(features[:, 0])
        static_mean = self.static_mean(summary)
        static_log_variance = self.static_log_variance(summary)
        static = draw(static_mean, static_log_variance)

        change = features - features[:, :1]
        change = torch.cat([torch.randn_like(change[:, :1]), change[:, 1:]], 1)
        hidden, _ = self.recurrent(change)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        dynamic = draw(mean, log_variance)

        codes = torch.cat([dynamic, static[:, None].expand(-1, length, -1)], 2)
        every, first = self.decode(codes), self.decode(codes[:, :1])
        none = torch.zeros_like(static_mean)
        return (
            5 * (every - frames).square().sum() / count
            + (first - frames[:, :1]).square().sum() / count
            + divergence(static_mean, static_log_variance, none, none)
            + divergence(mean, log_variance, *self.prior(dynamic))
        )
