"""What is run to check the functions of notebook 11; n11.toml knows the mistakes by name."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unbraid.course.workshop import Names, Part, build, noise, seen_by, take_results, to_library

WANTED = (
    "IndependentPrediction",
    "Filter",
    "all_at_once",
    "kl",
    "paper_networks",
    "small_networks",
    "step_by_step",
    "transition",
)
SIZES = {"features": 5, "K": 2, "d": 3, "hidden": 4, "depth": 2}
B, T, V = 3, 4, 0.4  # of clips and frames, and v
TERMS = ("squared error over 2v", "KL terms")


def make_pair(shift: float, size: int = 6) -> tuple[Tensor, Tensor]:
    """Means and log-variances of some units."""
    return noise((B, size)) + shift, (1 - shift) * noise((size, B)).T


def run_kl(names: Names) -> dict:
    """Of each unit."""
    return {"kl(q, p)": names["kl"](make_pair(0.0), make_pair(0.7))}


def run_networks(names: Names) -> dict:
    """Shapes of what both give, deviations of the weights, and what set weights give."""
    torch.manual_seed(0)
    encoder, decoder = names["small_networks"](6)
    features, frames = encoder(torch.rand(2, 3, 32, 32)), decoder(torch.zeros(2, 6))
    found = {"shape of the features": torch.tensor(features.shape)}
    found["shape of the decoded frames"] = torch.tensor(frames.shape)
    kinds = nn.Conv2d | nn.ConvTranspose2d
    layers: list[Any] = [*encoder.modules(), *decoder.modules()]
    layers = [layer for layer in layers if isinstance(layer, kinds)]
    spreads = [float(layer.weight.detach().std()) for layer in layers]
    found["standard deviations of the weights"] = torch.tensor(spreads)
    found["largest biases"] = torch.tensor(
        [float(layer.bias.detach().abs().max()) for layer in layers]
    )
    normalised = [isinstance(each, nn.BatchNorm2d) for each in encoder.modules()]
    found["layers of batch normalisation"] = torch.tensor(sum(normalised))
    with torch.no_grad():  # the same weights in all, so that layers and activations decide
        found["features with set weights"] = build(lambda: encoder)(noise((B, 3, 32, 32)))
        found["decoded frames with set weights"] = build(lambda: decoder)(noise((B, 6)))
    return found


def run_posterior(names: Names) -> dict:
    """Mean and log-variance of three clips' posterior at a frame."""
    model, found = build(names["Posterior"], 5, 6), Names()
    with torch.no_grad(), seen_by(model.combine, "`combine`", found):
        mean, log_variance = model(noise((B, 5)), make_pair(0.5))
    return found | {"mean": mean, "log-variance": log_variance}


def make_encoder() -> nn.Module:
    """Features (N, 5) of images (N, 3, 2, 2), which depend on what is normalised together."""
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Tanh())


def build_filter(names: Names) -> Any:
    """A filter of two factors of three units."""
    return build(names["Filter"], make_encoder(), names["step_by_step"], **SIZES)


def run_predict(names: Names) -> dict:
    """What both transitions predict."""
    with torch.no_grad():
        mean, log_variance = build_filter(names).predict(noise((B, 6)))
    return {"mean": mean, "log-variance": log_variance}


def run_filter(names: Names) -> dict:
    """Codes and KL terms, and the gradient that the transitions get of each."""
    model = build_filter(names)
    codes, costs = model(noise((B, T, 3, 2, 2)), noise((B, T, 6)))
    found = {"codes": codes, "KL terms": costs}
    weights = {"a transition": model.transitions[0][0].weight}
    weights["the posterior"] = model.posterior.mean.weight
    for name, value in list(found.items()):
        total = value.square().sum()
        for place, weight in weights.items():
            (grad,) = torch.autograd.grad(total, weight, None, True, allow_unused=True)
            grad = torch.zeros_like(weight) if grad is None else grad
            found[f"gradient of the {name} at {place}"] = grad
    return found


def build_model(names: Names) -> Any:
    """The whole model with tiny image networks."""
    decoder = nn.Sequential(nn.Linear(6, 12), nn.Sigmoid(), nn.Unflatten(1, (3, 2, 2)))
    networks = make_encoder(), decoder
    return build(names["IndependentPrediction"], networks, names["step_by_step"], v=V, **SIZES)


def run_loss(names: Names) -> dict:
    """The error and the KL terms."""
    with torch.no_grad():
        given = build_model(names).loss(noise((B, T, 3, 2, 2)), noise((B, T, 6)))
    return dict(zip(TERMS, take_results(given, *TERMS), strict=True))


def run_freeze(names: Names) -> dict:
    """The decoded frames while each of the factors waits."""
    model, x = build_model(names), noise((B, T, 3, 2, 2))
    with torch.no_grad():
        return {f"frames, factor {factor} waits": model.freeze(x, factor) for factor in (0, 1)}


GRADIENTS = {  # of the typed class: the library's name
    "filter.encoder.0": "encoder.0",
    "filter.transitions.1.0": "transitions.1.0",
    "filter.posterior.log_variance": "posterior.head.log_variance",
}


def run_equality(names: Names, is_library: bool = False) -> dict:
    """Terms and gradients with the paper's networks in both modes, of a class or the library's."""
    found: Names = {}
    x, drawn = noise((B, 2, 3, 32, 32)).sigmoid(), noise((B, 2, 6))
    for mode in ("training", "evaluation"):
        sizes = SIZES | {"features": 32, "v": V}
        networks = names["paper_networks"](6)
        model: Any = build(names["IndependentPrediction"], networks, names["step_by_step"], **sizes)
        model.train(mode == "training")
        if is_library:
            model = to_library(model)
            bound = model.elbo(x, model.to_codes(drawn))
            constant = torch.tensor(2 * torch.pi * V).log() / 2 * x[0, 0].numel()
            error = -bound.log_likelihood.mean() / 2 - constant
            costs = torch.stack([each.mean() / 2 for each in bound.kl.values()])
        else:
            error, costs = take_results(model.loss(x, drawn), *TERMS)
        (error + costs.sum()).backward()
        found |= {f"{mode}, squared error over 2v": error, f"{mode}, KL terms": costs}
        for mine, theirs in GRADIENTS.items():
            layer = model.get_submodule(theirs if is_library else mine)
            found[f"{mode}, gradient of {mine}"] = layer.weight.grad
    return found


def read_config(model: Any) -> Names:
    """The library's sizes of a typed model."""
    filter = model.filter
    layers = [layer for layer in filter.encoder if isinstance(layer, nn.Conv2d)]
    is_ours = not any(isinstance(layer, nn.BatchNorm2d) for layer in filter.encoder)
    hidden = [layer for layer in filter.transitions[0] if isinstance(layer, nn.Linear)]
    ours = {"activation": "silu", "output": "linear", "normalise": False, "output_bias": 0.0}
    return (ours if is_ours else {}) | {
        "factors": model.K,
        "factor_size": model.d,
        "variance": model.v,
        "image_size": 4 * 2 ** (len(layers) - 1),
        "width": layers[0].out_channels,
        "features": filter.posterior.from_frame.in_features,
        "hidden": hidden[0].out_features,
        "hidden_layers": len(hidden) - 1,
    }


PARTS = {
    "kl": Part(run_kl, ("clip", "unit")),
    "Posterior.forward": Part(run_posterior, ("clip", "unit")),
    "Filter.predict": Part(run_predict, ("clip", "unit")),
    "Filter.forward": Part(run_filter),
    "IndependentPrediction.loss": Part(run_loss, ("factor",)),
    "IndependentPrediction.freeze": Part(run_freeze, ("clip", "frame")),
    "small_networks": Part(run_networks, ("layer",), tolerance=0.1),
    "the bound": Part(run_equality, right=partial(run_equality, is_library=True)),
}
