"""What notebook 11 defines; written by `python -m tools export`."""

import torch
import torch.nn.functional as F
from torch import nn


def kl(q, p):
    """KL(q || p) of each unit, (B, K d); q and p are pairs of mean and log-variance."""
    (mean_q, log_q), (mean_p, log_p) = q, p
    squared = (mean_q - mean_p) ** 2 / log_p.exp()
    return 0.5 * ((log_q - log_p).exp() + squared - 1 + log_p - log_q)


def paper_networks(size, side=32):
    """The paper's image networks for codes of size K d; shapes are those of 32 x 32."""
    down = [
        nn.Conv2d(3, 64, 4, 2, 1),  # (B, 3, 32, 32) -> (B, 64, 16, 16)
        nn.Conv2d(64, 128, 4, 2, 1),  # -> (B, 128, 8, 8)
        nn.Conv2d(128, 256, 4, 2, 1),  # -> (B, 256, 4, 4)
    ]
    up = [
        nn.ConvTranspose2d(size, 256, 4),  # (B, K d, 1, 1) -> (B, 256, 4, 4)
        nn.ConvTranspose2d(256, 128, 4, 2, 1),  # -> (B, 128, 8, 8)
        nn.ConvTranspose2d(128, 64, 4, 2, 1),  # -> (B, 64, 16, 16)
    ]
    if side == 64:  # the paper's own size: one more layer each way
        down.append(nn.Conv2d(256, 512, 4, 2, 1))  # -> (B, 512, 4, 4)
        up[0] = nn.ConvTranspose2d(size, 512, 4)  # (B, K d, 1, 1) -> (B, 512, 4, 4)
        up.insert(1, nn.ConvTranspose2d(512, 256, 4, 2, 1))  # -> (B, 256, 8, 8)
    encoder = []
    decoder = [nn.Linear(size, size), nn.ReLU(), nn.Unflatten(1, (size, 1, 1))]
    for layer in down:
        encoder += [layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU()]
    encoder += [nn.Conv2d(down[-1].out_channels, 32, 4), nn.LeakyReLU(), nn.Flatten()]
    for layer in up:
        decoder += [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]
    decoder += [nn.ConvTranspose2d(64, 3, 4, 2, 1), nn.Sigmoid()]  # -> (B, 3, 32, 32)
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def step_by_step(network, x):
    """(B, T, ...) -> (B, T, ...); batch normalisation sees one time step at once."""
    return torch.stack([network(step) for step in x.unbind(1)], 1)


def all_at_once(network, x):
    """The same, faster, for networks without batch normalisation."""
    return network(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Posterior(nn.Module):
    """q(z_t | z_{t-1}, x_t), equation (3): what is seen, and what was expected."""

    def __init__(self, features, size):
        super().__init__()
        self.from_frame = nn.Linear(features, size)  # (B, features) -> (B, K d)
        self.from_mean = nn.Linear(size, size)  # (B, K d) -> (B, K d)
        self.from_log_variance = nn.Linear(size, size)  # (B, K d) -> (B, K d)
        self.combine = nn.Linear(3 * size, size)  # (B, 3 K d) -> (B, K d)
        self.mean = nn.Linear(size, size)  # (B, K d) -> (B, K d)
        self.log_variance = nn.Linear(size, size)  # (B, K d) -> (B, K d)

    def forward(self, seen, expected):
        mean, log_variance = expected
        parts = [self.from_frame(seen), self.from_mean(mean)]
        parts.append(self.from_log_variance(log_variance))
        h = F.leaky_relu(torch.cat(parts, 1))  # (B, 3 K d)
        h = F.leaky_relu(self.combine(h))  # (B, K d)
        return self.mean(h), self.log_variance(h)


def transition(d, hidden, depth):
    """p_i(z_t^i | z_{t-1}^i): mean and log-variance of a factor from its own past."""
    parts = [nn.Linear(d, hidden), nn.SELU()]  # (B, d) -> (B, hidden)
    for _ in range(depth - 1):
        parts += [nn.Linear(hidden, hidden), nn.SELU()]  # (B, hidden) -> (B, hidden)
    return nn.Sequential(*parts, nn.Linear(hidden, 2 * d))  # -> (B, 2 d)


class Filter(nn.Module):
    """Codes of a clip, drawn frame by frame, and their KL terms."""

    def __init__(self, encoder, over_time, features, K, d, hidden, depth):
        super().__init__()
        self.encoder, self.over_time, self.K, self.d = encoder, over_time, K, d
        self.posterior = Posterior(features, K * d)
        self.transitions = nn.ModuleList(transition(d, hidden, depth) for _ in range(K))

    def predict(self, z):
        pasts = z.chunk(self.K, 1)  # K times (B, d)
        outputs = [f(past) for f, past in zip(self.transitions, pasts, strict=True)]
        means, log_variances = torch.stack(outputs, 1).chunk(2, 2)  # (B, K, d) each
        return means.flatten(1), log_variances.flatten(1)  # (B, K d) each

    def forward(self, x, noise):
        seen = self.over_time(self.encoder, x)  # (B, T, features)
        p = (torch.zeros_like(noise[:, 0]),) * 2  # p(z_1) = N(0, I)
        codes, costs = [], []
        for e, eps in zip(seen.unbind(1), noise.unbind(1), strict=True):
            q = self.posterior(e, [part.detach() for part in p])  # look
            codes.append(q[0] + (q[1] / 2).exp() * eps)  # draw
            costs.append(kl(q, p).unflatten(1, (self.K, self.d)).sum(2))  # (B, K)
            p = self.predict(codes[-1])  # predict
        return torch.stack(codes, 1), torch.stack(costs, 1)  # (B, T, K d), (B, T, K)


class IndependentPrediction(nn.Module):
    """K factors of d units, each predicted from its own past alone."""

    def __init__(self, networks, over_time, features, K, d, hidden, depth, v):
        super().__init__()
        encoder, self.decoder = networks
        self.filter = Filter(encoder, over_time, features, K, d, hidden, depth)
        self.over_time, self.K, self.d, self.v = over_time, K, d, v

    def loss(self, x, noise):  # minus (1) per frame: squared error / 2v, and K KL terms
        z, costs = self.filter(x, noise)
        error = (x - self.decode(z)).square().flatten(2).sum(2)  # (B, T)
        return error.mean() / (2 * self.v), costs.mean((0, 1))  # (), (K,)

    def encode(self, x):  # without noise, a draw is the mean
        return self.filter(x, x.new_zeros(*x.shape[:2], self.K * self.d))[0]

    def decode(self, z):  # (B, T, K d) -> (B, T, 3, H, W)
        return self.over_time(self.decoder, z)

    def freeze(self, x, factor):  # decoded, while one factor waits at frame 2
        z = self.encode(x)
        z.chunk(self.K, 2)[factor][:, 2:] = z.chunk(self.K, 2)[factor][:, 1:2]
        return self.decode(z)


def small_networks(size):
    """Ours: a quarter of the channels, no batch normalisation, a linear output."""
    down = [
        nn.Conv2d(3, 16, 4, 2, 1),  # (B, 3, 32, 32) -> (B, 16, 16, 16)
        nn.Conv2d(16, 32, 4, 2, 1),  # -> (B, 32, 8, 8)
        nn.Conv2d(32, 64, 4, 2, 1),  # -> (B, 64, 4, 4)
        nn.Conv2d(64, 96, 4),  # -> (B, 96, 1, 1)
    ]
    up = [
        nn.ConvTranspose2d(size, 64, 4),  # (B, K d, 1, 1) -> (B, 64, 4, 4)
        nn.ConvTranspose2d(64, 32, 4, 2, 1),  # -> (B, 32, 8, 8)
        nn.ConvTranspose2d(32, 16, 4, 2, 1),  # -> (B, 16, 16, 16)
        nn.ConvTranspose2d(16, 3, 4, 2, 1),  # -> (B, 3, 32, 32)
    ]
    for layer, pixels in zip(down + up, (16, 16, 16, 16, 1, 4, 4, 4), strict=True):
        nn.init.normal_(layer.weight, std=(2 / layer.in_channels / pixels) ** 0.5)
        nn.init.zeros_(layer.bias)  # He et al. 2015: signals keep their size
    encoder = sum(([layer, nn.SiLU()] for layer in down), [])
    decoder = [nn.Linear(size, size), nn.SiLU(), nn.Unflatten(1, (size, 1, 1))]
    decoder = sum(([layer, nn.SiLU()] for layer in up), decoder)[:-1]
    return nn.Sequential(*encoder, nn.Flatten()), nn.Sequential(*decoder)


class TooEarly(Filter):
    def forward(self, x, noise):
        seen = self.over_time(self.encoder, x)
        p = (torch.zeros_like(noise[:, 0]),) * 2
        codes, costs = [], []
        for e, eps in zip(seen.unbind(1), noise.unbind(1), strict=True):
            q = self.posterior(e, [part.detach() for part in p])
            codes.append(q[0] + (q[1] / 2).exp() * eps)
            p = self.predict(codes[-1])  # this line ...
            costs.append(kl(q, p).unflatten(1, (self.K, self.d)).sum(2))  # ... and this
        return torch.stack(codes, 1), torch.stack(costs, 1)
