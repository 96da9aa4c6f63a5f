"""What notebook 12 defines; written by `python -m tools export`."""

import numpy as np
import torch
from sklearn.neighbors import KNeighborsRegressor
from unbraid.checkpoints import load, resume
from unbraid.measures.information import same_and_cross
from unbraid.models.lesson_a import Filter, IndependentPrediction, all_at_once, kl, paper_networks, small_networks, step_by_step
from unbraid.paper_size import Row, print_verdict

PAPER = {"features": 32, "K": 2, "d": 20, "hidden": 128, "depth": 4}
RECIPE = {"updates": 200_000, "batch": 100, "rate": 3e-4}  # the authors'


def small_model(v, seed):
    torch.manual_seed(seed)
    sizes = {"features": 96, "K": 2, "d": 16, "hidden": 64, "depth": 2, "v": v}
    model = IndependentPrediction(small_networks(32), all_at_once, **sizes)
    model.filter.posterior.log_variance.bias.data -= 4  # begin nearly without noise
    return model


def train(model, film, updates, seed, batch=8, rate=2e-3, path=None):
    """The training loop; after each update it gives the terms of the loss."""
    device = next(model.parameters()).device
    on_gpu = device.type == "cuda"
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), rate, fused=on_gpu)
    parts = {"model": model, "optimizer": optimizer, "generator": generator}
    in_16_bits = on_gpu and path is not None  # in the optional end
    for update in resume(path, updates, **parts):  # 1, 2, ...
        x = film(batch, generator).frames.to(device)  # (B, T, 3, H, W)
        size = batch, x.shape[1], model.K * model.d
        noise = torch.randn(size, generator=generator).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=in_16_bits):
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


def build_paper_size(seed):
    torch.manual_seed(seed)
    networks = paper_networks(40, side=64)
    big = IndependentPrediction(networks, step_by_step, v=0.25, **PAPER)
    big.decoder[-2].bias.data += 0.5  # the authors' frames begin grey
    return big


def train_paper_size(path, film, seed, device, **recipe):
    """Called again, it continues at the checkpoint that `path` names."""
    big = build_paper_size(seed).to(device)
    loop = train(big, film, seed=seed, path=path, **recipe)
    for update, error, costs in loop:
        if update % 1000 == 0:
            print(f"update {update}: {error:.1f} + {sum(costs):.1f} nats")


def judge_paper_size(path, clips, device):
    """The reloaded model beside Table 2; its films with a factor frozen."""
    big = build_paper_size(0).to(device)
    done, x = load(path, model=big), clips.frames.to(device)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(*x.shape[:2], 40, generator=generator).to(device)
    with torch.no_grad():
        films = [big.eval().freeze(x[:1], factor) for factor in (0, 1)]
        z = big.filter(x, noise)[0].cpu().numpy()  # (N, T, K d)
        error, costs = big.loss(x, noise)
    before, after = (np.split(z[:, t], 2, 1) for t in (-2, -1))
    found = same_and_cross(before, after, raw=True)
    constant = x[0, 0].numel() / 2 * np.log(2 * np.pi * big.v)
    bound = -(error + costs.sum()).item() - constant
    print(f"after {done:,} updates")
    rows = [
        Row("own next value (bits)", found.same, 4.61),
        Row("cross divided by own", found.cross / found.same, 0.163, "lower"),
        Row("bound (nats per frame)", bound, -2902, tolerance=6),
    ]
    print_verdict("the paper, Table 2", rows, done / RECIPE["updates"])
    return torch.cat([x[:1], *films]).cpu()
