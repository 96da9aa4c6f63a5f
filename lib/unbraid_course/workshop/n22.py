"""What is run to check the functions of notebook 22; n22.toml knows the mistakes by name."""

from typing import Any

import torch
from torch import Tensor, nn

from unbraid_course.workshop import (
    CASES,
    GRADIENT,
    Case,
    Line,
    Names,
    Part,
    build,
    follow,
    gaussian,
    noise,
    take,
    with_gradients,
)

WANTED = ("UnorderedFrames", "paper_networks", "small_networks", "train")
WIDTHS = (2, 3, 5, 4, 2)  # C, width, hidden, units of s and of d
TERMS = ("-log p(x | s, d)", "KL of s", "KL of d")


def run_kl(names: Names, case: Case) -> Names:
    """For each frame of each sample, and for each sample."""
    found: Names = {}
    for shape in ((*case[:2], 2), (case.clips, 2)):
        q, p = gaussian(*shape), gaussian(*shape, shift=0.7)
        given = f"kl(q, p), of means {shape}" if len(shape) != 3 else "kl(q, p)"
        found |= with_gradients(take("kl", names["kl"](q, p), given), q=q, p=p)
    return found


def run_draw(names: Names, case: Case) -> Names:
    """A draw with given noise."""
    q, eps = gaussian(*case[:2], 2, shift=0.3), noise((case.clips, 2, case.frames)).transpose(1, 2)
    found = take("draw", names["draw"](q, eps), "draw")
    return with_gradients(found | take("draw", names["draw"](q, 0), "with 0 for the noise"), q=q)


def run_compare(names: Names, case: Case) -> Names:
    """What pairs of maps have in common, also if there are two frames only."""
    model = build(names["PairEncoder"], *WIDTHS[:4])
    few = take("compare", model.compare(noise((case.clips, 2, 2, 4, 4))), "with two frames")
    h = noise((*case[:2], 2, 4, 4)).requires_grad_()
    found = take("compare", model.compare(h), f"with {case.frames} frames") | few
    return with_gradients(found, maps=h)


def make_trunk() -> nn.Module:
    """Maps (M, 2, 4, 4) of images (M, 3, 4, 4)."""
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.LeakyReLU(0.2))


def run_read(names: Names, case: Case) -> Names:
    """q(d_i | s, x_i) of each frame."""
    model = build(names["Encoder"], make_trunk(), *WIDTHS)
    h, s = noise((*case[:2], 2, 4, 4)).requires_grad_(), noise((case.clips, 4)).requires_grad_()
    found = take("Encoder.read_d", model.read_d(h, s), ("mean of d", "log-variance of d"))
    return with_gradients(found, model.dynamic, maps=h, s=s)


def run_encoder(names: Names, case: Case) -> Names:
    """Both posteriors and both draws."""
    model = build(names["Encoder"], make_trunk(), *WIDTHS)
    given = model(noise((*case[:2], 3, 4, 4)), noise((case.clips, 4)), noise((*case[:2], 2)))
    pairs = [(f"mean of {code}", f"log-variance of {code}") for code in "sd"]
    found = take("Encoder.forward", given, [*pairs, "draw of s", "draw of d"])
    *_, s, d = model(noise((*case[:2], 3, 4, 4)), 0, 0)
    return with_gradients(found | {"s, with 0 for the noise": s, "d, with 0 for it": d}, model)


def build_model(names: Names) -> Any:
    """The whole model with tiny image networks."""
    decoder = nn.Sequential(nn.Linear(6, 48), nn.Unflatten(1, (3, 4, 4)))
    return build(names["UnorderedFrames"], (make_trunk(), decoder), *WIDTHS)


def run_loss(names: Names, case: Case) -> Names:
    """The terms of each sample."""
    model, x = build_model(names), noise((*case[:2], 3, 4, 4)).sigmoid()
    given = model.loss(x, noise((case.clips, 4)), noise((*case[:2], 2)))
    return with_gradients(take("loss", given, TERMS), model)


class ThreeTerms(Line):
    """A line whose three terms pull its weight to three places."""

    def __init__(self) -> None:
        super().__init__()
        self.prior = nn.Sequential(nn.Linear(4, 4))  # sizes of s and d are read off it

    def loss(self, x: Tensor, *noises: Tensor) -> list[Tensor]:
        """The terms of each sample, (B,) each."""
        self.given.append(tuple(each.detach().cpu() for each in (x, *noises)))
        places = (1.02, 0.96, 1.05)
        number = torch.arange(len(x)).to(x) / 100 + 0 * x.flatten(1).mean(1)
        return [(self.weight + number - place) ** 2 for place in places]


def run_train(names: Names, _: Case) -> Names:
    """Updates: numbers, terms, the weight, what `loss` was given, and a step at the usual rate."""
    device = getattr(names["train"], "__globals__", {}).get("device", "cpu")

    def objective(error: Tensor, kl_s: Tensor, kl_d: Tensor) -> Tensor:
        return error + 3 * kl_s + kl_d

    def draw(generator: torch.Generator) -> Tensor:
        return torch.rand(3, 4, 3, 4, 4, generator=generator)

    def start(model: Line, updates: int, seed: int = 0, **rate: float) -> Any:
        return names["train"](model, updates, seed, objective, **rate, draw=draw)

    models = [ThreeTerms().to(device) for _ in range(3)]
    runs = zip(models, (0, 0, 1), strict=True)
    found = [follow(model, start(model, 12, seed, rate=0.05), 3) for model, seed in runs][0]
    first, again, other = models
    yes = describe_given(first.given)
    pairs = [zip(first.given[0], model.given[0], strict=True) for model in (again, other)]
    again_same = [torch.equal(*two) for two in pairs[0]]
    other_same = [torch.equal(*two) for two in pairs[1]]
    follows = all(again_same) and not any(other_same)
    yes["the noise follows the seed"] = follows and describe_given(other.given) == yes
    found |= {name: torch.tensor(each) for name, each in yes.items()}
    alone = follow(again, start(again, 1), 3)["weight after each"] - models[0].weight.item()
    found["the first step of the Adam that `train` makes, its learning rate"] = abs(alone).sum()
    return found


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


GRADIENTS = ("encoder.trunk.0", "encoder.static.convolution", "prior.4")  # at these layers


def run_equality(names: Names, case: Case) -> Names:
    """Terms and gradients with our image networks."""
    x = noise((*case[:2], 3, 32, 32)).sigmoid()
    networks = names["small_networks"](6)
    model = build(names["UnorderedFrames"], networks, 96, *WIDTHS[1:]).train(case.is_training)
    drawn = noise((case.clips, 4)), noise((*case[:2], 2))
    found = take("loss", model.loss(x, *drawn), TERMS)
    sum(term.sum() for term in found.values()).backward()
    for name in GRADIENTS:
        found[GRADIENT + name] = model.get_submodule(name).weight.grad
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
    "train": Part(run_train, ("update", "term"), cases=CASES[:1]),
    "the bound": Part(run_equality),
}
