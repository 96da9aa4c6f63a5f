"""What notebook 32 defines; written by `python -m tools export`."""

import torch
import torch.nn.functional as F
from torch import nn

SMALL = {"features": 96, "hidden": 32, "units": 64, "S": 32, "D": 32}
PAPER = {"features": 256, "hidden": 64, "units": 256, "S": 256, "D": 256}


def kl(q, p=None):
    """KL(q || p), summed over units; without p, from N(0, I)."""
    (mean_q, log_q), (mean_p, log_p) = q, p or 2 * [torch.zeros_like(q[0])]
    squared = (mean_q - mean_p) ** 2 / log_p.exp()
    return 0.5 * ((log_q - log_p).exp() + squared - 1 + log_p - log_q).sum(-1)


def draw(q):
    """A draw from q, a pair of mean and log-variance."""
    return q[0] + (q[1] / 2).exp() * torch.randn_like(q[0])


class Head(nn.Module):
    """The mean and the log-variance of each unit of a code."""

    def __init__(self, inputs, size):
        super().__init__()
        self.mean = nn.Linear(inputs, size)  # (..., inputs) -> (..., size)
        self.log_variance = nn.Linear(inputs, size)  # (..., inputs) -> (..., size)

    def forward(self, h):
        return self.mean(h), self.log_variance(h)


def paper_networks(features, size):
    """The paper's image networks for 64 x 64; size is that of s and d together."""
    down = [
        nn.Conv2d(3, 64, 4, 2, 1),  # (N, 3, 64, 64) -> (N, 64, 32, 32)
        nn.Conv2d(64, 128, 4, 2, 1),  # -> (N, 128, 16, 16)
        nn.Conv2d(128, 256, 4, 2, 1),  # -> (N, 256, 8, 8)
        nn.Conv2d(256, 512, 4, 2, 1),  # -> (N, 512, 4, 4)
        nn.Conv2d(512, features, 4),  # -> (N, features, 1, 1)
    ]
    up = [
        nn.ConvTranspose2d(size, 512, 4),  # (N, size, 1, 1) -> (N, 512, 4, 4)
        nn.ConvTranspose2d(512, 256, 4, 2, 1),  # -> (N, 256, 8, 8)
        nn.ConvTranspose2d(256, 128, 4, 2, 1),  # -> (N, 128, 16, 16)
        nn.ConvTranspose2d(128, 64, 4, 2, 1),  # -> (N, 64, 32, 32)
        nn.ConvTranspose2d(64, 3, 4, 2, 1),  # -> (N, 3, 64, 64)
    ]
    return connect(down, up, size)


def connect(down, up, size):
    """Encoder and decoder: between convolutions, batch normalisation and leaky ReLU."""
    encoder, decoder = [], [nn.Unflatten(1, (size, 1, 1))]
    for layers, parts in ((down, encoder), (up, decoder)):
        for layer in layers:
            parts += [layer, nn.BatchNorm2d(layer.out_channels), nn.LeakyReLU(0.2)]
    encoder[-1:] = nn.Tanh(), nn.Flatten()  # features between -1 and 1
    decoder[-2:] = [nn.Sigmoid()]  # pixels between 0 and 1
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


class Posterior(nn.Module):
    """q(s | x_1) and q(d_t | x): s reads one frame, d what is left without it."""

    def __init__(self, encoder, features, hidden, units, S, D):
        super().__init__()
        self.encoder = encoder  # (N, 3, H, W) -> (N, features)
        self.dense = nn.Linear(features, hidden)  # (B, features) -> (B, hidden)
        self.static = Head(hidden, S)
        # Two layers, each both ways: (B, T, features) -> (B, T, 2 units).
        two = {"num_layers": 2, "bidirectional": True, "batch_first": True}
        self.read = nn.LSTM(features, units, **two)  # -> (B, T, 2 units)
        self.dynamic = Head(2 * units, D)

    def forward(self, x, fill):
        c = self.encoder(x.flatten(0, 1)).unflatten(0, x.shape[:2])  # (B, T, features)
        anchor = c[:, 0]  # idea 1: s reads a single frame
        rest = c[:, 1:] - anchor[:, None]  # idea 2: it is subtracted from all others
        inputs = torch.cat([fill(anchor)[:, None], rest], 1)  # its own would be 0
        q_s = self.static(torch.tanh(self.dense(anchor)))  # (B, S) twice
        return q_s, self.dynamic(self.read(inputs)[0])  # (B, T, D) twice


class Prior(nn.Module):
    """p(d_t | d_<t): an LSTM reads the codes before t."""

    def __init__(self, D, hidden):
        super().__init__()
        self.read = nn.LSTM(D, hidden, 2, batch_first=True)  # -> (B, T, hidden)
        self.head = Head(hidden, D)

    def forward(self, d):
        before = F.pad(d, (0, 0, 1, -1))  # 0, d_1, ..., d_{T-1}
        return self.head(self.read(before)[0])  # (B, T, D) twice


class SingleElement(nn.Module):
    """Paper C: a static code of one frame, dynamic codes of what differs from it."""

    def __init__(self, networks, features, hidden, units, S, D):
        super().__init__()
        self.posterior = Posterior(networks[0], features, hidden, units, S, D)
        self.prior, self.decoder = Prior(D, hidden), networks[1]

    def loss(self, x):  # the four terms of (1) without their weights, means over clips
        q_s, q_d = self.posterior(x, torch.randn_like)
        s, d = draw(q_s), draw(q_d)
        error = (self.decode(s, d) - x).square().flatten(2).sum(2)  # (B, T)
        kl_s, kl_d = kl(q_s), kl(q_d, self.prior(d)).sum(1)  # (B,) each
        return torch.stack([error.sum(1), error[:, 0], kl_s, kl_d]).mean(1)  # (4,)

    def encode(self, x):  # the means, (B, S) and (B, T, D)
        return [mean for mean, _ in self.posterior(x, torch.zeros_like)]

    def decode(self, s, d):  # -> (B, T, 3, H, W)
        both = torch.cat([d, s[:, None].expand(-1, d.shape[1], -1)], 2)  # (B, T, D + S)
        return self.decoder(both.flatten(0, 1)).unflatten(0, d.shape[:2])

    def swap(self, x, donor):  # clip n with the static code of clip donor[n]
        s, d = self.encode(x)
        return self.decode(s[donor], d)


def small_networks(features, size):
    """Ours, for 32 x 32: a layer less each way, and a quarter of the channels."""
    down = [
        nn.Conv2d(3, 16, 4, 2, 1),  # (N, 3, 32, 32) -> (N, 16, 16, 16)
        nn.Conv2d(16, 32, 4, 2, 1),  # -> (N, 32, 8, 8)
        nn.Conv2d(32, 64, 4, 2, 1),  # -> (N, 64, 4, 4)
        nn.Conv2d(64, features, 4),  # -> (N, features, 1, 1)
    ]
    up = [
        nn.ConvTranspose2d(size, 64, 4),  # (N, size, 1, 1) -> (N, 64, 4, 4)
        nn.ConvTranspose2d(64, 32, 4, 2, 1),  # -> (N, 32, 8, 8)
        nn.ConvTranspose2d(32, 16, 4, 2, 1),  # -> (N, 16, 16, 16)
        nn.ConvTranspose2d(16, 3, 4, 2, 1),  # -> (N, 3, 32, 32)
    ]
    return connect(down, up, size)


def rename(name):
    """Our name of a weight of the stored run."""
    parts = {
        "codec.decoder": "decoder",
        "codec.encoder": "posterior.encoder",
        "static_head.0": "posterior.dense",
        "static_head.2": "posterior.static",
        "dynamic_encoder.recurrent": "posterior.read",
        "dynamic_encoder.head": "posterior.dynamic",
        "prior.recurrent": "prior.read",
        "prior.head": "prior.head",
    }
    (part,) = [part for part in parts if name.startswith(part)]
    return name.replace(part, parts[part])


def show_pairs(is_training, ours, theirs, typed, library):
    mode = "training" if is_training else "evaluation"
    print(f"{mode} mode: ours, the library's")
    names = "frames", "anchor", "KL of s", "KL of d"
    for name, mine, other in zip(names, ours, theirs, strict=True):
        print(f"  {name:8} {mine:15.8f} {other:15.8f}")
    for part in ("codec.encoder.0", "static_head.2.mean", "prior.head.mean"):
        norms = typed.get_submodule(rename(part)), library.get_submodule(part)
        mine, other = (layer.weight.grad.norm() for layer in norms)
        print(f"  gradient {mine:14.8f} {other:15.8f}  of {rename(part)}")


def released(share):
    """The weights of (1); they are the same throughout."""
    return torch.tensor([5.0, 1.0, 1.0, 1.0])


def prices(share):
    """At first a nat in s is expensive and one in d is cheap; then it is the reverse."""
    ramp = min(1, max(0, (share - 0.07) / 0.06))  # from 7 % to 13 % of the run
    return torch.tensor([5.0, 1.0, 8 * (1 / 8) ** ramp, 0.05 * 60**ramp])


def small_model(seed):
    torch.manual_seed(seed)
    return SingleElement(small_networks(96, 32 + 32), **SMALL)


def paper_model(seed):  # with the profile full
    torch.manual_seed(seed)
    model = SingleElement(paper_networks(256, 512), **PAPER)
    for layer in model.modules():  # the first weights of the authors' code
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return model


def give_start(model):
    """d begins with larger means and little noise."""
    model.posterior.dynamic.mean.weight.data *= 5
    model.posterior.dynamic.log_variance.bias.data -= 5
    return model


def train(model, clips, updates, weigh, seed, batch=8, rate=2e-3):
    """The training loop; after each update it gives the four terms."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for update in range(1, updates + 1):
        rows = torch.randint(len(clips), (batch,), generator=generator)
        x = clips[rows].to(device) / 255  # (B, T, 3, H, W)
        terms = model.loss(x)  # (4,)
        loss = (terms * weigh(update / updates).to(device)).sum()

        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield update, terms.tolist()


def swap_all(model, clips, step=4):
    """Every step-th clip with another's s: the nearest of all clips, and both donors."""
    real, device = clips.frames / 255, next(model.parameters()).device
    gives_d = torch.arange(0, len(real), step)
    chance = torch.Generator().manual_seed(0)
    gives_s = torch.randint(len(real), gives_d.shape, generator=chance)
    nearest = []
    with torch.no_grad():
        codes = [model.encode(part.to(device)) for part in real.split(300)]
        s, d = (torch.cat(code) for code in zip(*codes, strict=True))
        for i, j in zip(gives_s.split(100), gives_d.split(100), strict=True):
            swaps = model.decode(s[i], d[j]).cpu()  # (100, T, 3, H, W)
            nearest.append(torch.cdist(swaps.flatten(1), real.flatten(1)).argmin(1))
    return torch.cat(nearest), gives_s, gives_d


def score_swaps(clips, nearest, gives_s, gives_d):
    """Shares of the swaps: whose direction they show, and whether all of it is right."""
    way, motion, who = (clips.labels[k] for k in ("direction", "motion", "character"))
    differ = way[gives_s] != way[gives_d]
    motion_right = motion[nearest] == motion[gives_d]
    true = motion_right & (who[nearest] == who[gives_s])
    found = {"swaps with s": (way[nearest] == way[gives_s])[differ]}
    found |= {"swaps with d": (way[nearest] == way[gives_d])[differ]}
    found |= {"motion with d": motion_right, "true clip nearest": true}
    return {name: hits.double().mean().item() for name, hits in found.items()}
