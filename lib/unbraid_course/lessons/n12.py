"""What notebook 12 defines; written by `python -m tools export`."""

import numpy as np
import torch
from sklearn.neighbors import KNeighborsRegressor
from unbraid.models.lesson_a import Filter, IndependentPrediction, all_at_once, kl, paper_networks, small_networks, step_by_step


def small_model(v, seed):
    torch.manual_seed(seed)
    sizes = {"features": 96, "K": 2, "d": 16, "hidden": 64, "depth": 2, "v": v}
    model = IndependentPrediction(small_networks(32), all_at_once, **sizes)
    model.filter.posterior.log_variance.bias.data -= 4  # begin nearly without noise
    return model


def paper_model(seed):  # with the profile full
    torch.manual_seed(seed)
    sizes = {"features": 32, "K": 2, "d": 20, "hidden": 128, "depth": 4, "v": 0.25}
    model = IndependentPrediction(paper_networks(40, side=64), step_by_step, **sizes)
    model.decoder[-2].bias.data += 0.5  # the authors' frames begin grey
    return model


def train(model, film, updates, seed, batch=8, rate=2e-3):
    """The training loop; after each update it gives the terms of the loss."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for update in range(1, updates + 1):
        x = film(batch, generator).frames.to(device)  # (B, T, 3, H, W)
        size = batch, x.shape[1], model.K * model.d
        noise = torch.randn(size, generator=generator).to(device)
        error, costs = model.loss(x, noise)
        loss = error + costs.sum()  # minus the bound in nats per frame

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield update, error.item(), costs.tolist()


def know_places(model, clips):
    """R² of each digit's place in the last frame, by factor: (factor, digit)."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(*clips.frames.shape[:2], model.K * model.d, generator=generator)
    with torch.no_grad():
        z = model.filter(clips.frames.to(device), noise.to(device))[0][:, -1]
    if not z.isfinite().all():
        return np.full((model.K, 2), np.nan)  # the training has diverged
    scores, half = np.zeros((model.K, 2)), len(z) // 2
    for factor, code in enumerate(z.cpu().chunk(model.K, 1)):  # (N, d)
        for digit, name in enumerate(clips.dynamic):
            place = clips.labels[name][:, -1]  # (N, 2)
            neighbours = KNeighborsRegressor(15).fit(code[:half], place[:half])
            scores[factor, digit] = neighbours.score(code[half:], place[half:])
    return scores


def name_state(scores):
    """The state of a run by its R², (factor, digit)."""
    holds = scores > 0.5
    copies = holds.sum(0)  # of each digit
    if copies.min() == 0:
        return "a digit dropped"
    if copies.max() == 2:
        return "a digit in both factors"
    return "separated" if holds.any(1).all() else "both digits in one factor"


@torch.no_grad()
def freeze_each(run, x):
    """What a run decodes: nothing waits, factor 0 waits, factor 1 waits."""
    films = [run.decode(run.encode(x)), *(run.freeze(x, k) for k in (0, 1))]
    return (2 * torch.cat(films)).clamp(0, 1).cpu()[:, :, :2]  # (3, T, 2, H, W)


class GatedFilter(Filter):
    """The filter of notebook 11; of each factor only the first `units` are in use."""

    units = 3

    def forward(self, x, noise):
        in_use = torch.arange(self.K * self.d, device=x.device) % self.d < self.units
        seen = self.over_time(self.encoder, x)
        p = (torch.zeros_like(noise[:, 0]),) * 2
        codes, costs = [], []
        for e, eps in zip(seen.unbind(1), noise.unbind(1), strict=True):
            q = self.posterior(e, [part.detach() for part in p])
            codes.append((q[0] + (q[1] / 2).exp() * eps) * in_use)  # closed: zero ...
            costs.append((kl(q, p) * in_use).unflatten(1, (self.K, self.d)).sum(2))
            p = self.predict(codes[-1])
        return torch.stack(codes, 1), torch.stack(costs, 1)  # ... and free
