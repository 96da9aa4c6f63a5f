"""What is run to check the functions of notebook 11; n11.toml knows the mistakes by name."""

from typing import Any

import torch
from torch import nn

from unbraid_course.workshop import (
    CASES,
    GRADIENT,
    Case,
    Names,
    Part,
    build,
    gaussian,
    noise,
    take,
    tiny_networks,
    with_gradients,
)

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
V = 0.4  # v
TERMS = ("squared error over 2v", "KL terms")
GAUSSIAN = ("mean", "log-variance")


def run_kl(names: Names, case: Case) -> Names:
    """Of each unit."""
    q, p = gaussian(case.clips, 6), gaussian(case.clips, 6, shift=0.7)
    return with_gradients(take("kl", names["kl"](q, p), "kl(q, p)"), q=q, p=p)


def run_networks(names: Names, case: Case) -> Names:
    """Shapes of what both give, deviations of the weights, and what set weights give."""
    torch.manual_seed(0)
    encoder, decoder = names["small_networks"](6)
    features, frames = encoder(torch.rand(2, 3, 32, 32)), decoder(torch.zeros(2, 6))
    found = {"shape of the features": torch.tensor(features.shape)}
    found["shape of the decoded frames"] = torch.tensor(frames.shape)
    kinds = nn.Conv2d | nn.ConvTranspose2d
    layers: list[Any] = [*encoder.modules(), *decoder.modules()]
    layers = [layer for layer in layers if isinstance(layer, kinds)]
    inputs = (16, 16, 16, 16, 1, 4, 4, 4)  # pixels that reach one, of each channel
    pairs = list(zip(layers, inputs, strict=False))
    shares = [layer.weight.var() * layer.in_channels * n / 2 for layer, n in pairs]
    powers = torch.stack(shares).log2().round()  # draws are rough
    found["standard deviations of the weights, in powers of the root of 2 above He's"] = powers
    found["largest biases"] = torch.tensor(
        [float(layer.bias.detach().abs().max()) for layer in layers]
    )
    normalised = [isinstance(each, nn.BatchNorm2d) for each in encoder.modules()]
    found["layers of batch normalisation"] = torch.tensor(sum(normalised))
    for network, name, shape in (
        (encoder, "features with set weights", (case.clips, 3, 32, 32)),
        (decoder, "decoded frames with set weights", (case.clips, 6)),
    ):  # the same weights in all, so that layers and activations decide
        model = build(lambda chosen=network: chosen)
        found |= with_gradients({name: model(noise(shape))}, model)
    return found


def run_posterior(names: Names, case: Case) -> Names:
    """Mean and log-variance of the posterior at a frame."""
    model = build(names["Posterior"], 5, 6)
    given = model(noise((case.clips, 5)), gaussian(case.clips, 6, shift=0.5))
    return with_gradients(take("Posterior.forward", given, GAUSSIAN), model)


def build_filter(names: Names, case: Case) -> Any:
    """A filter of two factors of three units."""
    model = build(names["Filter"], tiny_networks(1)[0], names["step_by_step"], **SIZES)
    return model.train(case.is_training)


def run_predict(names: Names, case: Case) -> Names:
    """What both transitions predict."""
    model, z = build_filter(names, case), noise((case.clips, 6)).requires_grad_()
    return with_gradients(take("predict", model.predict(z), GAUSSIAN), model.transitions, codes=z)


def run_filter(names: Names, case: Case) -> Names:
    """Codes and KL terms, and the gradients that arrive of each: some must not."""
    model = build_filter(names, case)
    given = model(noise((*case[:2], 3, 2, 2)), noise((*case[:2], 6)))
    return with_gradients(take("Filter.forward", given, ("codes", "KL terms")), model)


def build_model(names: Names, case: Case) -> Any:
    """The whole model with tiny image networks, both with batch normalisation."""
    model = build(
        names["IndependentPrediction"], tiny_networks(6), names["step_by_step"], v=V, **SIZES
    )
    return model.train(case.is_training)


def run_loss(names: Names, case: Case) -> Names:
    """The error and the KL terms."""
    model = build_model(names, case)
    given = model.loss(noise((*case[:2], 3, 2, 2)), noise((*case[:2], 6)))
    return with_gradients(take("loss", given, TERMS), model)


def run_freeze(names: Names, case: Case) -> Names:
    """The decoded frames while each of the factors waits; nobody needs a gradient here."""
    model, x, found = build_model(names, case), noise((*case[:2], 3, 2, 2)), Names()
    with torch.no_grad():
        for factor in (0, 1):
            found |= take("freeze", model.freeze(x, factor), f"frames, factor {factor} waits")
    return found


def run_equality(names: Names, case: Case) -> Names:
    """Terms and their gradients with the paper's networks."""
    x, drawn = noise((case.clips, 2, 3, 32, 32)).sigmoid(), noise((case.clips, 2, 6))
    sizes, networks = SIZES | {"features": 32, "v": V}, names["paper_networks"](6)
    model: Any = build(names["IndependentPrediction"], networks, names["step_by_step"], **sizes)
    found = take("loss", model.train(case.is_training).loss(x, drawn), TERMS)
    sum(each.sum() for each in found.values()).backward()
    for name in ("encoder.0", "transitions.1.0", "posterior.log_variance"):
        found[GRADIENT + name] = model.filter.get_submodule(name).weight.grad
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
    "small_networks": Part(run_networks, ("layer",), cases=CASES[:1]),
    "the bound": Part(run_equality),
}
