"""What would each factor gain if its prediction could read the other factors, too?"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from unbraid.checks import check_field
from unbraid.measures.intervals import Interval


@threadpool_limits.wrap(limits=1)
def refit(codes: Mapping[str, ArrayLike], updates: int = 1500, seed: int = 0) -> Interval:
    """The nats a predicted frame that all factors together gain, with a 95 % interval over clips.

    codes: samples of two factors or more by name, (N, T, d) each, which are held. Predictions are
    fitted on one half of the clips, from a factor's own past and from that of all. There a gain is
    read too high, and on the other half too low by as much (Akaike 1974): the mean is returned.
    """
    factors = [torch.as_tensor(np.asarray(code), dtype=torch.float32) for code in codes.values()]
    is_one = len(factors) > 1 and all(code.ndim == 3 for code in factors)
    check_field(is_one, "codes", "(N, T, d) of two factors or more", [*map(np.shape, factors)])
    factors = [(code - code.mean((0, 1))) / (code.std((0, 1)) + 1e-6) for code in factors]
    gains, half = torch.zeros(len(factors[0])), len(factors[0]) // 2
    everything = torch.cat(factors, 2)[:, :-1]
    for code in factors:
        gains += fit(code, [code[:, :-1]], half, updates, seed)
        gains -= fit(code, [code[:, :-1], everything], half, updates, seed)
    parts = [part.double() for part in gains.split([half, len(gains) - half])]
    mean = float(sum(part.mean() for part in parts) / 2)
    width = 1.96 * float(sum(part.var() / len(part) for part in parts) ** 0.5 / 2)
    return Interval(mean, mean - width, mean + width)


@torch.enable_grad()
@torch.random.fork_rng(devices=())
def fit(code: Tensor, pasts: list[Tensor], half: int, updates: int, seed: int) -> Tensor:
    """The negative log-likelihood of each clip, a mean over predicted frames, (N,)."""
    torch.manual_seed(seed)
    random, size = np.random.default_rng(seed), 2 * code.shape[2]  # mean and log-variance
    networks = nn.ModuleList()
    for past in pasts:
        layers = nn.Linear(past.shape[2], 32), nn.SiLU(), nn.Linear(32, size)
        networks.append(nn.Sequential(*layers))

    def loss(rows: Tensor) -> Tensor:
        outputs = [f(past[rows]) for f, past in zip(networks, pasts, strict=True)]
        mean, log_variance = torch.stack(outputs).sum(0).chunk(2, 2)
        squared = (code[rows, 1:] - mean).square() / log_variance.exp()
        return 0.5 * (squared + log_variance).sum(2).mean(1)

    adam = torch.optim.Adam(networks.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, updates)
    for _ in range(updates):
        adam.zero_grad()
        loss(torch.from_numpy(random.integers(half, size=128))).mean().backward()
        adam.step()
        schedule.step()
    return loss(torch.arange(len(code))).detach()
