"""What is run to check the functions of notebook 32; n32.toml knows the mistakes by name."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unbraid_course.lessons import n32
from unbraid_course.workshop import (
    CASES,
    GRADIENT,
    Case,
    Line,
    Names,
    Part,
    Unfit,
    build,
    follow,
    gaussian,
    kind,
    noise,
    settled_noise,
    take,
    tiny_networks,
    to_library,
    with_gradients,
)

WANTED = ("SingleElement", "paper_networks", "small_networks", "train")
SIZES = {"features": 5, "hidden": 4, "units": 3, "S": 2, "D": 6}
TERMS = ("squared error", "squared error of the anchor", "KL of s", "KL of d")


def run_kl(names: Names, case: Case) -> Names:
    """With a prior, and from N(0, I); of clips, and of frames."""
    found: Names = {}
    for shape in ((case.clips, 3), (*case[:2], 3)):
        q, p = gaussian(*shape), gaussian(*shape, shift=0.7)
        given = f", of means {shape}" if len(shape) != 2 else ""
        for name, pair in {"kl(q, p)": (q, p), "kl(q)": (q,)}.items():
            value = take("kl", names["kl"](*pair), f"{name}{given}")
            found |= with_gradients(value, None, **dict(zip("qp", pair, strict=False)))
    return found


def run_draw(names: Names, _: Case) -> Names:
    """Of many draws the mean and the deviation, and the gradients that arrive at the mean."""
    torch.manual_seed(0)
    centre, width = torch.tensor([[1.0, -2.0, 3.0], [-3.0, 1.0, 2.0]])
    mean, log_variance = (each.repeat(20_000, 1).requires_grad_() for each in (centre, width))
    drawn = take("draw", names["draw"]((mean, log_variance)), "draw")["draw"]
    again = torch.as_tensor(names["draw"]((mean, log_variance)))
    found = {"mean of 20 000 draws": drawn.mean(0)}
    found["their standard deviation"] = drawn.std(0)
    apart = (drawn - drawn.mean(0)) / drawn.std(0)
    inside = (apart.abs() < 1).double().mean()
    found["half of the draws are below the mean"] = abs((apart < 0).double().mean() - 0.5) < 0.02
    found["68 % of the noise lies between -1 and 1"] = abs(inside - 0.683) < 0.02
    found["the noise of two units is not the same"] = apart.T.corrcoef()[0, 1:].abs().max() < 0.1
    found["each call draws anew"] = torch.tensor(not torch.equal(drawn, again))
    stays = torch.equal(mean[0], centre) and torch.equal(log_variance[0], width)
    found["q stays as it was"] = torch.tensor(stays)
    (drawn.square().mean() + 0 * (mean + log_variance).sum()).backward()
    inputs: Names = {"mean": mean, "log-variance": log_variance}
    for name, part in inputs.items():
        found[f"{GRADIENT}draws at the {name}"] = part.grad.sum(0)
    shape = names["draw"]([part.view(100, 200, 3) for part in (mean, log_variance)]).shape
    return {"the shape of draws of clips of frames": torch.tensor(shape)} | found


def run_posterior(names: Names, case: Case) -> Names:
    """Both posteriors; what `fill` gives no other noise does."""
    model = build(names["Posterior"], tiny_networks(1)[0], **SIZES).train(case.is_training)
    with settled_noise():
        given = model(noise((*case[:2], 3, 2, 2)), lambda anchor: 1 - noise(anchor.shape))
    form = [("mean of s", "log-variance of s"), ("mean of d", "log-variance of d")]
    return with_gradients(take("Posterior.forward", given, form), model)


def run_prior(names: Names, case: Case) -> Names:
    """The prior of codes of six units."""
    model, d = build(names["Prior"], 6, 4), noise((*case[:2], 6)).requires_grad_()
    found = take("Prior.forward", model(d), ("mean of d", "log-variance of d"))
    return with_gradients(found, model, codes=d)


def build_model(names: Names, case: Case) -> Any:
    """The whole model with tiny image networks, both with batch normalisation."""
    return build(names["SingleElement"], tiny_networks(8), **SIZES).train(case.is_training)


def run_loss(names: Names, case: Case) -> Names:
    """Each term, and the gradient of each part."""
    model = build_model(names, case)
    with settled_noise():
        terms = take_terms(model.loss(noise((*case[:2], 3, 2, 2)).sigmoid()))
    return with_gradients(dict(zip(TERMS, terms, strict=True)), model)


def take_terms(terms: Any) -> Tensor:
    """What `loss` gives, if it is one tensor of four terms."""
    if not isinstance(terms, Tensor):
        raise Unfit(f"`loss` gives a {kind(terms)}: join its terms by `torch.stack`.")
    if terms.shape != (4,):
        expected = "one tensor of the four terms, (4,): a mean over the clips of each"
        raise Unfit(f"`loss` gives a tensor {tuple(terms.shape)}; expected {expected}.")
    return terms


def run_swap(names: Names, case: Case) -> Names:
    """Clip 0 with the static code of clip 1, and so on; nobody needs a gradient here."""
    model, x = build_model(names, case).eval(), noise((*case[:2], 3, 2, 2))
    with settled_noise(), torch.no_grad():
        found = take("swap", model.swap(x, [*range(1, case.clips), 0]), "frames")
        return found | take("swap", model.swap(x, [0] * case.clips), "frames, one donor of all")


class FourTerms(Line):
    """Its terms need no noise and pull its weight to four places."""

    def loss(self, x: Tensor) -> Tensor:
        """The terms, (4,), of clips whose mean is 0.8."""
        self.given.append((x.detach().cpu(),))
        places = torch.tensor([1.01, 0.96, 1.05, 0.98]).to(x.device)
        mean = (1000 * x.float().mean()).round() / 1000  # a rounding error must not matter
        return (self.weight + mean - 0.8 - places) ** 2


def run_train(names: Names, _: Case) -> Names:
    """Updates on clips of the same mean: terms by update, what `weigh` and `loss` get."""
    device, shares = getattr(names["train"], "__globals__", {}).get("device", "cpu"), []
    clips = torch.full((6, 5, 3, 2, 2), 204, dtype=torch.uint8)
    number = torch.arange(6, dtype=torch.uint8)
    clips[:, 0, 0, 0, 0] += number  # each clip is marked, and its mean stays
    clips[:, 0, 0, 0, 1] -= number

    def weigh(share: float) -> Tensor:
        shares.append(share)
        return torch.tensor([5.0, 1.0, 1.0, 20 * share])

    def start(model: Line, seed: int) -> Any:
        return names["train"](model, clips, 12, weigh, seed, batch=4, rate=0.003)

    models = [FourTerms().to(device) for _ in range(3)]
    runs = zip(models, (0, 0, 1), strict=True)
    found = [follow(model, start(model, seed), 4) for model, seed in runs][0]

    def read_first(model: Line) -> list[Tensor]:  # a pixel of each batch
        return [x[:, 0, 0, 0, 0] for (x,) in model.given]

    drawn = [read_first(model) for model in models]
    first, again, other = (torch.cat(each) for each in drawn)
    found["shares given to weigh"] = torch.tensor(shares[:12])
    found["number of clips in each batch"] = torch.tensor([float(len(x)) for x in drawn[0]])
    found["different clips in all batches"] = torch.tensor(float(len(first.unique())))
    apart = any(not torch.equal(x, drawn[0][0]) for x in drawn[0])
    found["each batch is drawn anew"] = torch.tensor(apart)
    follows = torch.equal(first, again) and not torch.equal(first, other)
    found["the batches follow the seed"] = torch.tensor(follows)
    return found


GRADIENTS = ("codec.encoder.0", "static_head.2.mean", "prior.head.mean")  # at parts of the library


def run_equality(names: Names, case: Case, is_library: bool = False) -> Names:
    """Terms and gradients with our image networks, of a class or of the library's."""
    x = noise((*case[:2], 3, 32, 32)).sigmoid()
    networks = names["small_networks"](SIZES["features"], SIZES["S"] + SIZES["D"])
    model = build(names["SingleElement"], networks, **SIZES).train(case.is_training)
    model = to_library(model) if is_library else model
    with settled_noise():
        terms = measure_library(model, x) if is_library else take_terms(model.loss(x))
    terms.sum().backward()
    found: Names = dict(zip(TERMS, terms, strict=True))
    for part in GRADIENTS:
        mine = n32.rename(part)
        found[GRADIENT + mine] = model.get_submodule(part if is_library else mine).weight.grad
    return found


def measure_library(library: Any, x: Tensor) -> Tensor:
    """The four terms by the library's bound, with the noise that the typed class gets."""
    clips, frames = x.shape[:2]
    shapes = {"anchor": (clips, 5), "static": (clips, 2), "dynamic": (clips, frames, 6)}
    drawn = {name: torch.randn(shape, dtype=x.dtype) for name, shape in shapes.items()}
    bound = library.elbo(x, drawn | {"lot": torch.zeros(clips, dtype=x.dtype)})
    constant = math.log(math.pi) / 2 * x[0, 0].numel()  # per frame, at the variance 1/2
    terms = [-bound.log_likelihood - frames * constant, -bound.terms["anchor"] - constant]
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
    "draw": Part(run_draw, ("unit",), cases=CASES[:1], share=0.1),  # draws are rough
    "Posterior.forward": Part(run_posterior),
    "Prior.forward": Part(run_prior),
    "SingleElement.loss": Part(run_loss),
    "SingleElement.swap": Part(run_swap, ("clip", "frame")),
    "train": Part(run_train, ("update", "term"), cases=CASES[:1]),
    "the bound": Part(run_equality, right=partial(run_equality, is_library=True)),
}
