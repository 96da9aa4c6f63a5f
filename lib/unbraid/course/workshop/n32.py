"""What is run to check the functions of notebook 32; n32.toml knows the mistakes by name."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unbraid.course.workshop import (
    Names,
    Part,
    Unfit,
    build,
    noise,
    seen_by,
    settled_noise,
    to_library,
)

WANTED = ("SingleElement", "paper_networks", "small_networks", "train")
SIZES = {"features": 5, "hidden": 4, "units": 3, "S": 2, "D": 6}
B, T = 3, 5  # of clips and frames; unlike each other and by one, so that no axes fit by chance
TERMS = ("squared error", "squared error of the anchor", "KL of s", "KL of d")


def make_pair(shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Means and log-variances of three units."""
    return noise((2, 3)) + shift, (1 - shift) * noise((3, 2)).T


def run_kl(names: Names) -> dict:
    """With a prior, and from N(0, I)."""
    q, p = make_pair(), make_pair(0.7)
    return {"kl(q, p)": names["kl"](q, p), "kl(q)": names["kl"](q)}


def run_draw(names: Names) -> dict:
    """Of many draws the mean and the deviation, and the gradients that arrive at the mean."""
    torch.manual_seed(0)
    mean = torch.tensor([1.0, -2.0, 3.0]).repeat(20_000, 1).requires_grad_()
    log_variance = torch.tensor([-3.0, 1.0, 2.0]).repeat(20_000, 1).requires_grad_()
    drawn = names["draw"]((mean, log_variance))
    found = {"mean of 20 000 draws": drawn.mean(0), "their standard deviation": drawn.std(0)}
    (drawn.square().mean() + 0 * (mean + log_variance).sum()).backward()
    inputs: Names = {"mean": mean, "log-variance": log_variance}
    for name, part in inputs.items():
        found[f"gradient at the {name}"] = part.grad.sum(0)
    return found


def make_encoder() -> nn.Module:
    """Features (N, 5) of images (N, 3, 2, 2), with batch normalisation."""
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Tanh())


def run_posterior(names: Names) -> dict:
    """Both posteriors of three clips of five frames; what `fill` gives no other noise does."""
    model = build(names["Posterior"], make_encoder(), **SIZES)
    found: Names = {}
    with settled_noise(), torch.no_grad(), seen_by(model.read, "`read`", found):
        q_s, q_d = model(noise((B, T, 3, 2, 2)), lambda anchor: 1 - noise(anchor.shape))
    return found | name_moments("s", q_s) | name_moments("d", q_d)


def name_moments(code: str, q: tuple[Tensor, Tensor]) -> dict:
    """The mean and the log-variance of a code, by name."""
    mean, log_variance = q
    return {f"mean of {code}": mean, f"log-variance of {code}": log_variance}


def run_prior(names: Names) -> dict:
    """The prior of codes (3, 5, 6)."""
    model = build(names["Prior"], 6, 4)
    found: Names = {}
    with torch.no_grad(), seen_by(model.read, "`read`", found):
        q = model(noise((B, T, 6)))
    return found | name_moments("d", q)


def build_model(names: Names) -> Any:
    """The whole model with tiny image networks."""
    decoder = nn.Sequential(nn.Linear(8, 12), nn.Sigmoid(), nn.Unflatten(1, (3, 2, 2)))
    networks = make_encoder(), decoder
    return build(names["SingleElement"], networks, **SIZES)


def run_loss(names: Names) -> dict:
    """Each term, and the gradient of each part."""
    model = build_model(names)
    with settled_noise():
        terms = take_terms(model.loss(noise((B, T, 3, 2, 2))))
    found = dict(zip(TERMS, terms, strict=True))
    terms.sum().backward()
    for part in ("posterior.encoder.1", "posterior.dynamic.mean", "prior.head.mean"):
        weight = model.get_submodule(part).weight
        found[f"gradient of {part}"] = (
            torch.zeros_like(weight) if weight.grad is None else weight.grad
        )
    return found


def take_terms(terms: Any) -> Tensor:
    """What `loss` gives, if it is one tensor of four terms."""
    if not isinstance(terms, Tensor):
        raise Unfit(f"`loss` gives a {type(terms).__name__}: join its terms by `torch.stack`.")
    if terms.shape != (4,):
        expected = "one tensor of the four terms, (4,): a mean over the clips of each"
        raise Unfit(f"`loss` gives a tensor {tuple(terms.shape)}; expected {expected}.")
    return terms


def run_swap(names: Names) -> dict:
    """Clip 0 with the static code of clip 1, and so on."""
    model = build_model(names)
    with settled_noise(), torch.no_grad():
        return {"frames": model.eval().swap(noise((B, T, 3, 2, 2)), [1, 2, 0])}


class Line(nn.Module):
    """A model of one weight, whose four terms need no noise and pull it to four places."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.given: list[Tensor] = []  # the clips of each update

    def loss(self, x: Tensor) -> Tensor:
        """The terms, (4,), of clips whose mean is 0.8."""
        self.given.append(x.detach())
        places = torch.tensor([1.01, 0.96, 1.05, 0.98])
        return (self.weight + x.float().mean() - 0.8 - places) ** 2


def run_train(names: Names) -> dict:
    """Twelve updates on clips of the same mean: terms by update, what `weigh` and `loss` get."""
    model, shares = Line(), []
    clips = torch.full((10, T, 3, 2, 2), 204, dtype=torch.uint8)
    number = torch.arange(10, dtype=torch.uint8)
    clips[:, 0, 0, 0, 0] += number  # each clip is marked, and its mean stays
    clips[:, 0, 0, 0, 1] -= number

    def weigh(share: float) -> Tensor:
        shares.append(share)
        return torch.tensor([5.0, 1.0, 1.0, 20 * share])

    rows = list(names["train"](model, clips, 12, weigh, 0))
    terms = torch.tensor([[*map(float, row)] for _, row in rows])
    updates = torch.tensor([float(update) for update, _ in rows])
    found = {"numbers of the updates": updates, "shares given to weigh": torch.tensor(shares)}
    found |= {"terms": terms, "weight": model.weight.detach()}
    sizes = [float(len(x)) for x in model.given]
    drawn = torch.cat([x[:, 0, 0, 0, 0] for x in model.given])
    found["number of clips in each batch"] = torch.tensor(sizes)
    found["different clips in all batches"] = torch.tensor(float(len(drawn.unique())))
    apart = float(any(not torch.equal(x, model.given[0]) for x in model.given[1:]))
    return found | {"each batch is drawn anew (1 is yes)": torch.tensor(apart)}


GRADIENTS = {  # of the typed class: the library's name
    "posterior.encoder.0": "codec.encoder.0",
    "posterior.static.mean": "static_head.2.mean",
    "prior.head.mean": "prior.head.mean",
}


def run_equality(names: Names, is_library: bool = False) -> dict:
    """Terms and gradients with our image networks in both modes, of a class or of the library's."""
    found: Names = {}
    x = noise((B, T, 3, 32, 32)).sigmoid()
    for mode in ("training", "evaluation"):
        networks = names["small_networks"](SIZES["features"], SIZES["S"] + SIZES["D"])
        model = build(names["SingleElement"], networks, **SIZES)
        model.train(mode == "training")
        model = to_library(model) if is_library else model
        with settled_noise():
            terms = measure_library(model, x) if is_library else take_terms(model.loss(x))
        terms.sum().backward()
        found |= {f"{mode}, {name}": term for name, term in zip(TERMS, terms, strict=True)}
        for mine, theirs in GRADIENTS.items():
            layer = model.get_submodule(theirs if is_library else mine)
            found[f"{mode}, gradient of {mine}"] = layer.weight.grad
    return found


def measure_library(library: Any, x: Tensor) -> Tensor:
    """The four terms by the library's bound, with the noise that the typed class gets."""
    drawn = {"anchor": noise((B, 5)), "static": noise((B, 2)), "dynamic": noise((B, T, 6))}
    bound = library.elbo(x, drawn | {"lot": torch.zeros(B, dtype=torch.float64)})
    constant = math.log(math.pi) / 2 * x[0, 0].numel()  # per frame, at the variance 1/2
    terms = [-bound.log_likelihood - T * constant, -bound.terms["anchor"] - constant]
    return torch.stack([*terms, *bound.kl.values()]).mean(1)


def read_config(model: Any) -> Names:
    """The library's sizes of a typed model."""
    dense, read = model.posterior.dense, model.posterior.read
    layers = [layer for layer in model.posterior.encoder if isinstance(layer, nn.Conv2d)]
    return {
        "image_size": 4 * 2 ** (len(layers) - 1),
        "width": layers[0].out_channels,
        "features": dense.in_features,
        "hidden": dense.out_features,
        "static_size": model.posterior.static.mean.out_features,
        "dynamic_size": model.posterior.dynamic.mean.out_features,
        "dynamic_hidden": read.hidden_size,
    }


PARTS = {
    "kl": Part(run_kl, ("clip", "unit")),
    "draw": Part(run_draw, ("unit",), tolerance=0.05),
    "Posterior.forward": Part(run_posterior),
    "Prior.forward": Part(run_prior),
    "SingleElement.loss": Part(run_loss),
    "SingleElement.swap": Part(run_swap, ("clip", "frame")),
    "train": Part(run_train, ("update", "term")),
    "the bound": Part(run_equality, right=partial(run_equality, is_library=True)),
}
