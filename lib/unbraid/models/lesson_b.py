"""What notebook 22 defines; written by `python -m tools export`."""

import torch
import torch.nn.functional as F
from torch import nn


class PairEncoder(nn.Module):
    """q(s | x_1 ... x_N): what pairs of frames have in common."""

    def __init__(self, C, width, hidden, D):
        super().__init__()
        self.pair = nn.Conv2d(2 * C, width, 3, padding=1)  # 2 C -> width channels
        self.convolution = nn.Conv2d(width, width, 3, padding=1)  # width -> width
        self.dense = nn.Sequential(  # (B, 16 width) -> (B, 2 D)
            nn.Linear(16 * width, hidden),  # (B, 16 width) -> (B, hidden)
            nn.ReLU(),
            nn.Linear(hidden, 2 * D),  # (B, hidden) -> (B, 2 D)
        )

    def compare(self, h):
        """Equation (2), from maps (B, N, C, 4, 4) to (B, width, 4, 4)."""
        i, j = (~torch.eye(h.shape[1], dtype=torch.bool)).nonzero().T  # all i != j
        pairs = torch.cat([h[:, i], h[:, j]], 2)  # (B, N (N - 1), 2 C, 4, 4)
        maps = F.relu(self.pair(pairs.flatten(0, 1)))  # (B N (N - 1), width, 4, 4)
        return maps.unflatten(0, pairs.shape[:2]).mean(1)

    def forward(self, h):
        """Mean and log-variance of s, (B, D) each, from maps (B, N, C, 4, 4)."""
        maps = F.relu(self.convolution(self.compare(h)))  # (B, width, 4, 4)
        return self.dense(maps.flatten(1)).chunk(2, 1)


def draw(q, noise):
    """A sample of a Gaussian; q: mean, log-variance. All have one shape."""
    mean, log_variance = q
    return mean + (log_variance / 2).exp() * noise


def kl(q, p):
    """KL(q || p) of means and log-variances, summed over units, (..., D) -> (...)."""
    (mean_q, log_q), (mean_p, log_p) = q, p
    squared = (mean_q - mean_p) ** 2 / log_p.exp()
    return 0.5 * ((log_q - log_p).exp() + squared - 1 + log_p - log_q).sum(-1)


def dense(inputs, hidden, outputs):
    """Three dense layers, (..., inputs) -> (..., outputs)."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),  # (..., inputs) -> (..., hidden)
        nn.ReLU(),
        nn.Linear(hidden, hidden),  # (..., hidden) -> (..., hidden)
        nn.ReLU(),
        nn.Linear(hidden, outputs),  # (..., hidden) -> (..., outputs)
    )


class Encoder(nn.Module):
    """q(s | x_1 ... x_N) and q(d_i | s, x_i), and a sample of both codes."""

    def __init__(self, trunk, C, width, hidden, D, d):
        super().__init__()
        self.trunk = trunk
        self.static = PairEncoder(C, width, hidden, D)
        self.dynamic = dense(16 * C + D, hidden, 2 * d)

    def extract(self, x):
        """The maps of all frames, (B, N, 3, H, W) -> (B, N, C, 4, 4)."""
        return self.trunk(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def read_d(self, h, s):
        """Mean and log-variance of each d_i, (B, N, d) each, from maps and s (B, D)."""
        s = s[:, None].expand(-1, h.shape[1], -1)  # (B, N, D)
        return self.dynamic(torch.cat([h.flatten(2), s], 2)).chunk(2, 2)

    def forward(self, x, noise_s, noise_d):
        h = self.extract(x)
        q_s = self.static(h)
        s = draw(q_s, noise_s)  # one for all frames, (B, D)
        q_d = self.read_d(h, s)
        return q_s, q_d, s, draw(q_d, noise_d)


class UnorderedFrames(nn.Module):  # s of all frames together, d of each
    def __init__(self, networks, C, width, hidden, D, d):
        super().__init__()
        trunk, self.decoder = networks
        self.encoder = Encoder(trunk, C, width, hidden, D, d)
        self.prior = dense(D, hidden, 2 * d)  # p(d | s)

    def loss(self, x, noise_s, noise_d):  # nats of each sample, three times (B,)
        q_s, q_d, s, d = self.encoder(x, noise_s, noise_d)
        p_s = torch.zeros_like(s), torch.zeros_like(s)  # p(s) = N(0, I)
        p_d = self.prior(s)[:, None].chunk(2, 2)  # the same for all frames
        a = self.logits(s, d)
        error = F.softplus(a) - x * a  # -log p(x | s, d), Bernoulli, of each value
        return error.flatten(1).sum(1), kl(q_s, p_s), kl(q_d, p_d).sum(1)

    def logits(self, s, d):  # (B, D), (B, N, d) -> (B, N, 3, H, W)
        codes = torch.cat([s[:, None].expand(-1, d.shape[1], -1), d], 2)
        return self.decoder(codes.flatten(0, 1)).unflatten(0, d.shape[:2])

    def encode(self, x):  # without noise, a sample is the mean
        return self.encoder(x, 0, 0)[2:]

    def decode(self, s, d):  # (B, N, 3, H, W), values between 0 and 1
        return torch.sigmoid(self.logits(s, d))
