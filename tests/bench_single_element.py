"""Paper C's training step at its paper's size, 16 clips of 8 frames of 64 x 64, beside the authors' configuration written plainly.

Plainly: batch norm, LSTM cells of the prior called one after the other, the anchor decoded a second time, weights as they come.
The library: one LSTM call for the prior, one decoding, channels last; and the same in bfloat16 where the machine has it.
"""

import statistics
import time

import torch
from torch import Tensor, nn
from unbraid.models.single_element import SingleElement

CLIPS, LENGTH = 16, 8


class PlainSingleElement(nn.Module):
    """The loss of papers.md 3.2, term by term, with the networks of `model` and a prior of two LSTM cells."""

    def __init__(self, model: SingleElement, size: int = 256, hidden: int = 64):
        super().__init__()
        self.model, self.cells = (
            model,
            nn.ModuleList([nn.LSTMCell(size, hidden), nn.LSTMCell(hidden, hidden)]),
        )

    def forward(self, frames: Tensor) -> Tensor:
        model, count, length = self.model, *frames.shape[:2]
        features = model.encoder(frames.flatten(0, 1)).unflatten(0, (count, length))
        q = model.static_head(features[:, 0])
        s = q.mean + q.standard_deviation * torch.randn_like(q.mean)
        rest = features[:, 1:] - features[:, :1]
        p = model.dynamic_head(
            model.recurrent(torch.cat([torch.randn_like(rest[:, :1]), rest], 1))[0]
        )
        d = p.mean + p.standard_deviation * torch.randn_like(p.mean)
        code, states, means, log_variances = torch.zeros_like(d[:, 0]), [None, None], [], []
        for t in range(length):
            states[0] = self.cells[0](code, states[0])
            states[1] = self.cells[1](states[0][0], states[1])
            prior, code = model.prior.head(states[1][0]), d[:, t]
            means.append(prior.mean)
            log_variances.append(prior.log_variance)
        m, v = torch.stack(means, 1), torch.stack(log_variances, 1)
        decoded = model.decoder(
            torch.cat([d, s[:, None].expand(-1, length, -1)], -1).flatten(0, 1)
        ).unflatten(0, (count, length))
        anchor = model.decoder(torch.cat([d[:, 0], s], -1))
        static = 0.5 * (q.mean**2 + q.log_variance.exp() - 1 - q.log_variance).sum()
        dynamic = (
            0.5
            * (v - p.log_variance + (p.log_variance.exp() + (p.mean - m) ** 2) / v.exp() - 1).sum()
        )
        return (
            5 * (decoded - frames).square().sum()
            + (anchor - frames[:, 0]).square().sum()
            + static
            + dynamic
        ) / count


def frames_per_second(turns: int = 5, device: str = "cpu") -> dict[str, float]:
    """Frames a second of a whole update, median of `turns` updates in turns: plain, library, library in bfloat16."""
    frames = torch.rand(CLIPS, LENGTH, 3, 64, 64, device=device)
    plain, model = (
        PlainSingleElement(SingleElement()).to(device),
        SingleElement().to(device, memory_format=torch.channels_last),
    )
    optimizers = {id(one): torch.optim.Adam(one.parameters(), lr=2e-3) for one in (plain, model)}

    def update(one: nn.Module, loss) -> float:
        started = time.perf_counter()
        optimizers[id(one)].zero_grad()
        loss().backward()
        optimizers[id(one)].step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def rounded() -> Tensor:
        with torch.autocast(device, torch.bfloat16):
            return model(frames).loss()

    ways = {
        "plain": (plain, lambda: plain(frames)),
        "library": (model, lambda: model(frames).loss()),
        "bfloat16": (model, rounded),
    }
    seconds = [{name: update(*way) for name, way in ways.items()} for _ in range(turns + 1)][
        1:
    ]  # the first turn warms up
    return {
        name: CLIPS * LENGTH / statistics.median(turn[name] for turn in seconds) for name in ways
    }
