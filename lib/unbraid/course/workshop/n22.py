"""What is run to check the functions of notebook 22; n22.toml knows the mistakes by name."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unbraid.course.workshop import Names, Part, build, noise, seen_by, take_results, to_library

WANTED = ("UnorderedFrames", "paper_networks", "small_networks", "train")
WIDTHS = (2, 3, 5, 4, 2)  # C, width, hidden, units of s and of d
B, N = 3, 4  # of samples and frames
TERMS = ("-log p(x | s, d)", "KL of s", "KL of d")


def make_pair(shift: float) -> tuple[Tensor, Tensor]:
    """Means and log-variances (3, 4, 2) of two units."""
    return noise((B, N, 2)) + shift, (1 - shift) * noise((N, B, 2)).transpose(0, 1)


def run_kl(names: Names) -> dict:
    """For each frame of each sample."""
    return {"kl(q, p)": names["kl"](make_pair(0.0), make_pair(0.7))}


def run_draw(names: Names) -> dict:
    """A draw with given noise, and the gradient that arrives at the pair."""
    mean, log_variance = (each.requires_grad_() for each in make_pair(0.3))
    drawn = names["draw"]((mean, log_variance), noise((B, 2, N)).transpose(1, 2))
    (drawn.square().sum() + 0 * (mean + log_variance).sum()).backward()
    found = {"draw": drawn, "gradient at the mean": mean.grad}
    return found | {"gradient at the log-variance": log_variance.grad}


def run_compare(names: Names) -> dict:
    """What pairs of maps have in common, also if there are two frames only."""
    model = build(names["PairEncoder"], *WIDTHS[:4])
    found: Names = {}
    with torch.no_grad(), seen_by(model.pair, "`pair`", found):
        found["with four frames"] = model.compare(noise((B, N, 2, 4, 4)))
    with torch.no_grad():
        return found | {"with two frames": model.compare(noise((B, 2, 2, 4, 4)))}


def make_trunk() -> nn.Module:
    """Maps (M, 2, 4, 4) of images (M, 3, 4, 4)."""
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.LeakyReLU(0.2))


def run_read(names: Names) -> dict:
    """q(d_i | s, x_i) of each frame."""
    model = build(names["Encoder"], make_trunk(), *WIDTHS)
    found: Names = {}
    with torch.no_grad(), seen_by(model.dynamic, "`dynamic`", found):
        mean, log_variance = model.read_d(noise((B, N, 2, 4, 4)), noise((B, 4)))
    return found | {"mean of d": mean, "log-variance of d": log_variance}


def run_encoder(names: Names) -> dict:
    """Both posteriors and both draws, and the gradient of d at the layers of s."""
    model = build(names["Encoder"], make_trunk(), *WIDTHS)
    q_s, q_d, s, d = model(noise((B, N, 3, 4, 4)), noise((B, 4)), noise((B, N, 2)))
    d.square().sum().backward()
    weight = model.static.convolution.weight
    grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    found = {"mean of s": q_s[0], "log-variance of s": q_s[1], "draw of s": s}
    found |= {"mean of d": q_d[0], "log-variance of d": q_d[1], "draw of d": d}
    return found | {"gradient of d at the convolution of s": grad}


def build_model(names: Names) -> Any:
    """The whole model with tiny image networks."""
    decoder = nn.Sequential(nn.Linear(6, 48), nn.Unflatten(1, (3, 4, 4)))
    return build(names["UnorderedFrames"], (make_trunk(), decoder), *WIDTHS)


def run_loss(names: Names) -> dict:
    """The terms of each sample, and the gradient of each part."""
    model, x = build_model(names), noise((B, N, 3, 4, 4)).sigmoid()
    terms = take_results(model.loss(x, noise((B, 4)), noise((B, N, 2))), *TERMS)
    torch.stack([term.sum() for term in terms]).sum().backward()
    found = dict(zip(TERMS, terms, strict=True))
    for part in ("encoder.trunk.0", "encoder.dynamic.4", "prior.4"):
        weight = model.get_submodule(part).weight
        grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        found[f"gradient of {part}"] = grad
    return found


class Line(nn.Module):
    """A model of one weight whose three terms pull it to three places."""

    def __init__(self) -> None:
        super().__init__()
        self.prior = nn.Sequential(nn.Linear(4, 4))  # sizes of s and d are read off it
        self.weight = nn.Parameter(torch.ones(1))
        self.given: list[tuple[Tensor, ...]] = []  # of each update: x and both noises

    def loss(self, x: Tensor, *noises: Tensor) -> list[Tensor]:
        """The terms of each sample, (B,) each."""
        self.given.append((x, *noises))
        places = (1.02, 0.96, 1.05)
        return [(self.weight + 0 * x.flatten(1).mean(1) - place) ** 2 for place in places]


def run_train(names: Names) -> dict:
    """Twelve updates: numbers, terms, the weight at the end, and what `loss` was given."""
    (first, found), (again, _), (other, _) = (train_line(names, seed) for seed in (0, 0, 1))
    yes = describe_given(first.given)
    noises = [model.given[0][1] for model in (first, again, other)]  # of s, in the first update
    follows = torch.equal(noises[0], noises[1]) and not torch.equal(noises[0], noises[2])
    yes["the noise follows the seed"] = follows and describe_given(other.given) == yes
    return found | {f"{name} (1 is yes)": torch.tensor(float(each)) for name, each in yes.items()}


def describe_given(given: list[tuple[Tensor, ...]]) -> dict[str, bool]:
    """Whether what `loss` was given in all updates is what any right loop gives."""
    frames, *noises = (torch.stack(each) for each in zip(*given, strict=True))
    yes = {"the frames are drawn anew in each update": differs(frames, 0)}
    for name, each in zip(("s", "d"), noises, strict=True):
        is_normal = abs(each.mean()) < 0.25 and 0.8 < each.std() < 1.2 and each.abs().max() > 2
        yes[f"the noise of {name} is standard normal"] = bool(is_normal)
        yes[f"the noise of {name} is drawn anew in each update"] = differs(each, 0)
        yes[f"the noise of {name} is drawn for each sample"] = differs(each, 1)
    yes["the noise of d is drawn for each frame"] = differs(noises[1], 2)
    s, d = noises
    yes["both noises are drawn apart"] = not torch.isin(s, d).any()
    return yes


def differs(values: Tensor, axis: int) -> bool:
    """Whether no number is the same all along an axis."""
    return bool((values.amax(axis) > values.amin(axis)).all())


def train_line(names: Names, seed: int) -> tuple[Line, Names]:
    """Twelve updates of a line by plain gradients, whose size shows how the loss is divided."""
    model = Line()

    def objective(error: Tensor, kl_s: Tensor, kl_d: Tensor) -> Tensor:
        return error + 3 * kl_s + kl_d

    def draw(generator: torch.Generator) -> Tensor:
        return torch.rand(B, N, 3, 4, 4, generator=generator)

    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.05)
    rows = list(names["train"](model, 12, seed, objective, optimizer, draw))
    terms = torch.tensor([[*map(float, row)] for _, row in rows])
    updates = torch.tensor([float(update) for update, _ in rows])
    found = {"numbers of the updates": updates, "terms": terms}
    return model, found | {"weight": model.weight.detach()}


GRADIENTS = {  # of the typed class: the library's name
    "encoder.trunk.0": "trunk.0",
    "encoder.static.convolution": "static_encoder.convolution",
    "prior.4": "prior_dense.4",
}


def run_equality(names: Names, is_library: bool = False) -> dict:
    """Terms and gradients with our image networks, of a class or of the library's."""
    found: Names = {}
    x = noise((B, N, 3, 32, 32)).sigmoid()
    drawn = {"static": noise((B, 4)), "dynamic": noise((B, N, 2))}
    networks = names["small_networks"](6)
    model = build(names["UnorderedFrames"], networks, 96, *WIDTHS[1:])
    if is_library:
        model = to_library(model)
        bound = model.elbo(x, drawn)
        terms = [-bound.log_likelihood, *bound.kl.values()]
    else:
        terms = take_results(model.loss(x, drawn["static"], drawn["dynamic"]), *TERMS)
    torch.stack([term.sum() for term in terms]).sum().backward()
    found |= zip(TERMS, terms, strict=True)
    for mine, theirs in GRADIENTS.items():
        layer = model.get_submodule(theirs if is_library else mine)
        found[f"gradient of {mine}"] = layer.weight.grad
    return found


def read_config(model: Any) -> Names:
    """The library's sizes of a typed model."""
    trunk = [layer for layer in model.encoder.trunk if isinstance(layer, nn.Conv2d)]
    return {
        "image_size": 4 * 2 ** len(trunk),
        "widths": tuple(layer.out_channels for layer in trunk),
        "pair_width": model.encoder.static.pair.out_channels,
        "hidden": model.prior[0].out_features,
        "static_size": model.prior[0].in_features,
        "dynamic_size": model.prior[-1].out_features // 2,
    }


PARTS = {
    "PairEncoder.compare": Part(run_compare, ("sample", "channel")),
    "draw": Part(run_draw, ("sample", "frame", "unit")),
    "kl": Part(run_kl, ("sample", "frame")),
    "Encoder.read_d": Part(run_read, ("sample", "frame", "unit")),
    "Encoder.forward": Part(run_encoder, ("sample", "frame", "unit")),
    "UnorderedFrames.loss": Part(run_loss, ("sample",)),
    "train": Part(run_train, ("update", "term")),
    "the bound": Part(run_equality, right=partial(run_equality, is_library=True)),
}
