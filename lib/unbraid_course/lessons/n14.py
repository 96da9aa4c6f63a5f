"""What notebook 14 defines; written by `python -m tools export`."""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from torch import nn
from unbraid import DiagonalGaussian
from unbraid.data.moving_digits import PATHS
from unbraid.distributions import kl_by_unit

WORLDS = {  # their speeds, the units of a factor, and what the theory expects
    "circle": ((0.5, -0.9), 2, "digits"),
    "circle_equal": ((0.7, 0.7), 2, "any mixture"),
    "circle_opposite": ((0.7, -0.7), 2, "any mixture"),
    "bounce": ((0.1, 0.1), 4, "coordinates"),
    "bounce_two_speeds": ((0.04, 0.16), 4, "coordinates"),
}
MIXING = torch.linalg.qr(  # orthogonal
    torch.randn(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
).Q


def turn(angle):
    """The rotation R(angle) of a plane, (2, 2)."""
    angle = torch.as_tensor(angle)
    return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)


def join(first, second):
    """The motion A of both digits, (4, 4): each turns by its own angle per frame."""
    return torch.block_diag(turn(first), turn(second))


def move(scene, A, frames):
    """The path (frames, 4) of a scene (4,): x and y of digit one, then of digit two."""
    path = [scene]
    for _ in range(frames - 1):
        path.append(A @ path[-1])
    return torch.stack(path)


def misfit(L, A):
    """Sum of squares of L A (I - L'L), for L (..., d, 4) with orthonormal rows."""
    moved = L @ A
    return (moved - moved @ L.mT @ L).square().sum((-2, -1))


def mix(degrees):
    """The plane (2, 4) that mixes the digits: 0 is digit one, 90 is digit two."""
    angle = torch.deg2rad(torch.tensor(float(degrees)))
    return torch.cat([angle.cos() * torch.eye(2), angle.sin() * torch.eye(2)], 1)


def draw_clips(law, count, draws):
    """Clips of four frames: mixed numbers (4, N, 8), places behind them (4, N, 4)."""
    speeds = torch.tensor(WORLDS[law][0])[:, None]
    follow = PATHS[law.split("_")[0]]
    paths = follow(count, torch.arange(5)[:, None, None], speeds, draws)  # (N, 5, 2, 2)
    places = (paths.double() - 0.5).flatten(2).swapaxes(0, 1)  # (5, N, 4)
    steps = places.diff(dim=0)
    state = torch.cat([places[1:] / places.std(), steps / steps.std()], -1)
    return state @ MIXING, places[1:]


class Layer(nn.Module):
    """Linear layers side by side: (models, N, inputs) to (models, N, outputs)."""

    def __init__(self, models, inputs, outputs):
        super().__init__()
        bound = inputs**-0.5  # nn.Linear begins alike
        weight = torch.empty(models, inputs, outputs).uniform_(-bound, bound)
        bias = torch.empty(models, 1, outputs).uniform_(-bound, bound)
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x):
        return torch.baddbmm(self.bias, x, self.weight)


class Networks(nn.Module):
    def __init__(self, models, d):
        super().__init__()
        self.from_frame = Layer(models, 8, 32)
        self.from_prior = Layer(models, 4 * d, 32)  # of p(z_t | z_{t-1})
        self.combine = Layer(models, 64, 32)
        self.posterior = Layer(models, 32, 4 * d)
        self.posterior.bias.data[..., 2 * d :] -= 4  # codes begin nearly without noise
        sizes = (d, 64), (64, 64), (64, 2 * d)
        first, second, last = (Layer(2 * models, *size) for size in sizes)
        self.transitions = nn.Sequential(first, nn.SELU(), second, nn.SELU(), last)
        self.decoder = Layer(models, 2 * d, 8)


class Filter(Networks):
    """Paper A's prior, posterior and bound, for two factors of d units."""

    def prior(self, z):
        """Mean and log-variance of p(z_t | z_{t-1}): each factor reads itself alone."""
        models, count, units = z.shape
        own = z.view(models, count, 2, units // 2).swapaxes(1, 2)  # (models, 2, N, d)
        out = self.transitions(own.flatten(0, 1)).view(models, 2, count, 2, -1)
        return out.permute(3, 0, 2, 1, 4).flatten(-2).clamp(-10, 10)  # (2, ..., N, 2 d)

    def forward(self, x, noise, v=0.2):
        """Minus the bound per frame (models,), and codes, for x (T, models, N, 8)."""
        prior, codes, loss = torch.zeros_like(noise[:2]), [], 0  # p(z_1) = N(0, I)
        for frame, draw in zip(x, noise):
            if codes:
                prior = self.prior(codes[-1])
            expected = self.from_prior(torch.cat([*prior], -1).detach())
            hidden = F.leaky_relu(torch.cat([self.from_frame(frame), expected], -1))
            hidden = F.leaky_relu(self.combine(hidden))
            mean, log_variance = self.posterior(hidden).chunk(2, -1)
            codes.append(mean + (log_variance / 2).exp() * draw)  # z_t from q
            error = (frame - self.decoder(codes[-1])).square().sum(-1) / (2 * v)
            q, p = DiagonalGaussian(mean, log_variance), DiagonalGaussian(*prior)
            loss = loss + (error + kl_by_unit(q, p).sum(-1)).mean(-1)
        return loss / len(x), torch.stack(codes)


def train(filters, law, updates, seed, batch=32):
    """Models side by side, each on clips of its own; after each update, its number."""
    models, units, _ = filters.decoder.weight.shape
    draws = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(filters.parameters(), fused=True)
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 0.01 * min(1, 2 - 2 * update / updates)
        x, _ = draw_clips(law, models * batch, draws)
        noise = torch.randn(4, models, batch, units, generator=draws)
        loss, _ = filters(x.view(4, models, batch, 8), noise)

        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        yield update + 1


@torch.no_grad()
def measure(filters, law, seed, count=2000):
    """R² of each coordinate from each factor, (models, 2, 4), and the losses."""
    draws = torch.Generator().manual_seed(seed + 1)
    models, units, _ = filters.decoder.weight.shape
    x, places = draw_clips(law, count, draws)
    noise = torch.randn(4, models, count, units, generator=draws)
    loss, codes = filters(x[:, None].expand(-1, models, -1, -1), noise)
    half, places, tables = count // 2, places[-1].numpy(), torch.empty(models, 2, 4)
    for model, factor in np.ndindex(models, 2):
        code = codes[-1, model].chunk(2, -1)[factor].numpy()
        neighbours = KNeighborsRegressor(15).fit(code[:half], places[:half])
        guess = neighbours.predict(code[half:])
        scores = r2_score(places[half:], guess, multioutput="raw_values")
        tables[model, factor] = torch.from_numpy(scores)
    return tables, loss


def own_and_other(tables):
    """Mean R² of the own and of the other digit, for the better assignment."""
    by_digit = tables.unflatten(-1, (2, 2)).mean(-1)  # (..., factor, digit)
    straight = by_digit.diagonal(0, -2, -1).mean(-1)
    crossed = by_digit.flip(-1).diagonal(0, -2, -1).mean(-1)
    return torch.maximum(straight, crossed), torch.minimum(straight, crossed)
