"""What notebook 22 defines; written by `python -m tools export`."""

import torch
import torch.nn.functional as F
from torch import nn
from unbraid.models.lesson_b import Encoder, PairEncoder, UnorderedFrames, dense, draw, kl

PAPER = {"C": 256, "width": 512, "hidden": 512, "D": 512, "d": 2}
SMALL = {"C": 96, "width": 64, "hidden": 128, "D": 64, "d": 2}
N = 4  # frames of a sample
BY_WORTH = ("hair", "top", "trousers", "skin")


def paper_networks(size, side=32):
    """The paper's trunk and decoder; size is D + d, the shapes are those of 32 x 32."""
    down = [
        nn.Conv2d(3, 256, 4, 2, 1),  # (M, 3, 32, 32) -> (M, 256, 16, 16)
        nn.Conv2d(256, 256, 4, 2, 1),  # -> (M, 256, 8, 8)
        nn.Conv2d(256, 256, 4, 2, 1),  # -> (M, 256, 4, 4)
    ]
    up = [
        nn.ConvTranspose2d(256, 256, 4, 2, 1),  # (M, 256, 4, 4) -> (M, 256, 8, 8)
        nn.ConvTranspose2d(256, 256, 4, 2, 1),  # -> (M, 256, 16, 16)
        nn.ConvTranspose2d(256, 3, 4, 2, 1),  # -> (M, 3, 32, 32)
    ]
    if side == 64:  # the paper's own size: one more layer each way
        down.append(nn.Conv2d(256, 256, 4, 2, 1))  # -> (M, 256, 4, 4)
        up.insert(0, nn.ConvTranspose2d(256, 256, 4, 2, 1))  # -> (M, 256, 8, 8)
    start = [nn.Linear(size, 4096), nn.Unflatten(1, (256, 4, 4))]  # from (M, size)
    trunk = sum([[layer, nn.LeakyReLU(0.2)] for layer in down], [])
    decoder = sum([[nn.LeakyReLU(0.2), layer] for layer in up], start)
    return nn.Sequential(*trunk), nn.Sequential(*decoder)


def small_networks(size):
    """Ours: the same layers with 32, 64 and 96 channels."""
    down = [
        nn.Conv2d(3, 32, 4, 2, 1),  # (M, 3, 32, 32) -> (M, 32, 16, 16)
        nn.Conv2d(32, 64, 4, 2, 1),  # -> (M, 64, 8, 8)
        nn.Conv2d(64, 96, 4, 2, 1),  # -> (M, 96, 4, 4)
    ]
    up = [
        nn.ConvTranspose2d(96, 64, 4, 2, 1),  # (M, 96, 4, 4) -> (M, 64, 8, 8)
        nn.ConvTranspose2d(64, 32, 4, 2, 1),  # -> (M, 32, 16, 16)
        nn.ConvTranspose2d(32, 3, 4, 2, 1),  # -> (M, 3, 32, 32)
    ]
    start = [nn.Linear(size, 1536), nn.Unflatten(1, (96, 4, 4))]  # from (M, size)
    trunk = sum([[layer, nn.LeakyReLU(0.2)] for layer in down], [])
    decoder = sum([[nn.LeakyReLU(0.2), layer] for layer in up], start)
    return nn.Sequential(*trunk), nn.Sequential(*decoder)


def H(mean):
    """The entropy in (3) of each value, in nats."""
    return -(torch.xlogy(mean, mean) + torch.xlogy(1 - mean, 1 - mean))


def pick(allowed, N, generator):
    """N different poses of each character, (B, N), of those allowed (B, 178)."""
    chances = torch.rand(allowed.shape, generator=generator) * allowed
    return chances.topk(N, dim=1).indices


def draw_sets(frames, seen, generator, count=8, N=4):
    """N frames of each of `count` random characters, (B, N, 3, H, W)."""
    rows = torch.randint(len(frames), (count,), generator=generator)
    poses = pick(seen[rows], N, generator)
    return frames[rows[:, None], poses].float() / 255


def initialise(model, draw_weights=nn.init.xavier_uniform_):
    """Initial weights, the paper's or others; returns the model."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            draw_weights(layer.weight)
            nn.init.zeros_(layer.bias)
    nn.init.zeros_(model.prior[-1].weight)  # p(d | s) starts out as N(0, I)
    return model


def small_model(seed, draw_weights=nn.init.xavier_uniform_):
    torch.manual_seed(seed)
    model = UnorderedFrames(small_networks(66), **SMALL)
    return initialise(model, draw_weights)


def paper_model(seed):  # with the profile full
    torch.manual_seed(seed)
    return initialise(UnorderedFrames(paper_networks(514, side=64), **PAPER))


def add(error, kl_s, kl_d):
    return error + kl_s + kl_d  # minus the bound


def train(model, updates, seed, objective=add, rate=1e-3, *, draw):
    """The training loop; after each update it gives the terms of the loss."""
    generator = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(model.parameters(), rate)
    device = next(model.parameters()).device
    D, d = model.prior[0].in_features, model.prior[-1].out_features // 2
    for update in range(1, updates + 1):
        x = draw(generator).to(device)  # (B, N, 3, H, W)
        noise_s = torch.randn(len(x), D, generator=generator).to(device)
        noise_d = torch.randn(*x.shape[:2], d, generator=generator).to(device)
        terms = model.loss(x, noise_s, noise_d)  # nats of each sample
        loss = objective(*terms).mean() / x.shape[1]  # per frame

        adam.zero_grad()
        loss.backward()
        adam.step()
        yield update, [term.mean().item() for term in terms]


@torch.no_grad()
def judge_watched(model, test, poses, judge, visible):
    """Codes of test characters in these poses, and the shares right when decoded."""
    who = torch.arange(len(poses))[:, None]
    x = (test.frames[who, poses].float() / 255).to(next(model.parameters()).device)
    s, d = model.encode(x)
    named = judge(model.decode(s, d).cpu().flatten(0, 1))
    shares = {}
    for name in BY_WORTH:
        is_right = named[name].view_as(poses) == test.labels[name][who]
        shares[name] = is_right[visible[name][poses]].float().mean().item()
    return s, d, shares


def make_grid(d, side, share):
    """Points (side², 2) over this middle share of both units of codes d (B, N, 2)."""
    ends = torch.tensor([0.5 - share / 2, 0.5 + share / 2])
    low, high = torch.quantile(d.cpu().flatten(0, 1), ends, dim=0)
    lines = [torch.linspace(low[unit], high[unit], side) for unit in (0, 1)]
    return torch.cartesian_prod(*lines).to(d)


@torch.no_grad()
def judge_plane(model, s, points, judge):
    """The motion that the judge names at each point with each s, (characters, points)."""
    motions = []
    for one in s.split(1):
        named = judge(model.decode(one, points[None])[0].cpu())
        motions.append(4 * named["action"] + named["direction"])
    return torch.stack(motions)


def coherence(motions):
    """The share of characters with the most common motion, a mean over the points."""
    return (F.one_hot(motions).sum(0).max(1).values / len(motions)).mean().item()


def tenfold(error, kl_s, kl_d):
    return error + 10 * kl_s + kl_d


@torch.no_grad()
def draw_absent(model, s, frames, seen, test, on_test=False):
    """Characters in poses they lack; d is a test character's, or on_test all is."""
    generator = torch.Generator().manual_seed(0)
    allowed, sheets = seen[::5][: len(s)], frames[::5][: len(s)]
    who = torch.arange(len(s))[:, None]
    own = sheets[who, pick(allowed, N, generator)].float() / 255
    pose = pick(1 - allowed, 1, generator)  # (B, 1): never in training
    other = (test.frames[who, pose].float() / 255).to(s.device)
    d, _ = model.encoder.read_d(model.encoder.extract(other), s)
    s = s if on_test else model.encode(own.to(s.device))[0]
    return model.decode(s, d)[:, 0].cpu(), pose[:, 0]


def count_right(drawn, pose, judge, motion):
    """How often the judge names the motion of the pose, action and direction."""
    named = judge(drawn)
    is_right = 4 * named["action"] + named["direction"] == motion[pose]
    return is_right.float().mean().item()
