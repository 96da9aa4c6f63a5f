"""The building blocks every model of the course shares: image encoders and decoders, and small dense networks."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unbraid.distributions import DiagonalGaussian

ACTIVATIONS = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
}


def activation(name: str) -> nn.Module:
    """The activation of that name; leaky ReLU has PyTorch's slope of 0.01, as paper A's code."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {sorted(ACTIVATIONS)}, found {name!r}")
    return ACTIVATIONS[name]()


def _halvings(image_size: int) -> int:
    halvings = math.log2(image_size / 4)
    if halvings < 1 or halvings != int(halvings):
        raise ValueError(f"image_size must be 8, 16, 32, 64, ... found {image_size}")
    return int(halvings)


class ConvolutionalEncoder(nn.Sequential):
    """DCGAN discriminator, the image encoder of paper A: frames (N, C, H, W) to features (N, features).

    Each 4x4 convolution of stride 2 halves the image and doubles the channels, from `width` on, down to
    4x4; a last 4x4 convolution takes that to a vector. The last layer is not normalised.
    """

    def __init__(
        self,
        image_size=64,
        channels=3,
        width=64,
        features=32,
        normalise=True,
        activation_name="leaky_relu",
    ):
        layers = []
        for stage in range(_halvings(image_size)):
            outputs = width * 2**stage
            layers.append(nn.Conv2d(channels, outputs, 4, 2, 1))
            layers += [nn.BatchNorm2d(outputs)] if normalise else []
            layers.append(activation(activation_name))
            channels = outputs
        super().__init__(
            *layers,
            nn.Conv2d(channels, features, 4, 1, 0),
            activation(activation_name),
            nn.Flatten(),
        )
        if not normalise:
            keep_variance(self)


class ConvolutionalDecoder(nn.Sequential):
    """DCGAN generator, the image decoder of paper A: codes (N, inputs) to frames (N, C, H, W) in (0, 1).

    A linear layer, a transposed convolution to 4x4, then transposed convolutions of stride 2 that double the
    image and halve the channels. The last one ends in a sigmoid (as the authors' code; the paper's "ReLU after
    each layer" cannot be meant for it), or with output="linear" in nothing: then frames may leave [0, 1] a little, but
    gradients do not vanish where the sigmoid says "black" (almost everywhere, with moving digits).

    groups > 1 makes it additive: each of so many equal shares of the inputs is drawn by layers of its own, and only the
    last, linear layer adds their pictures.
    """

    def __init__(
        self,
        image_size=64,
        channels=3,
        width=64,
        inputs=40,
        normalise=True,
        activation_name="relu",
        output="sigmoid",
        groups=1,
    ):
        if output not in ("sigmoid", "linear"):
            raise ValueError(f"output: expected sigmoid or linear, found {output!r}")
        halvings = _halvings(image_size)
        if groups == 1:
            layers = [
                nn.Linear(inputs, inputs),
                activation(activation_name),
                nn.Unflatten(1, (inputs, 1, 1)),
            ]
        else:  # a 1 x 1 convolution is a linear layer that can be split in groups
            layers = [
                nn.Unflatten(1, (inputs, 1, 1)),
                nn.Conv2d(inputs, inputs, 1, groups=groups),
                activation(activation_name),
            ]
        for stage in range(halvings - 1, -1, -1):
            outputs = width * 2**stage
            stride, padding = (1, 0) if stage == halvings - 1 else (2, 1)
            layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, groups=groups))
            layers += [nn.BatchNorm2d(outputs)] if normalise else []
            layers.append(activation(activation_name))
            inputs = outputs
        layers.append(nn.ConvTranspose2d(inputs, channels, 4, 2, 1))
        super().__init__(*layers, *([nn.Sigmoid()] if output == "sigmoid" else []))
        if not normalise:
            keep_variance(self)


def keep_variance(network: nn.Module) -> None:
    """Initialise convolutions so that the signal neither fades nor grows with depth (He et al. 2015, arXiv 1502.01852).

    What batch normalisation does while training; without it PyTorch's default weights let the signal fade to a third at
    each layer. A transposed convolution of stride s sees 1/s^2 of its kernel at each output pixel.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            seen = layer.kernel_size[0] * layer.kernel_size[1]
            if isinstance(layer, nn.ConvTranspose2d):
                seen = 1 if layer.stride[0] == 1 else seen / layer.stride[0] ** 2
            nn.init.normal_(
                layer.weight, std=math.sqrt(2 / (layer.in_channels / layer.groups * seen))
            )
            nn.init.zeros_(layer.bias)


def frame_encoder(
    image_size: int, channels: int, width: int, features: int, normalise: bool = True
) -> nn.Sequential:
    """Paper C's image encoder: frames (N, C, H, W) to features (N, features) in (-1, 1).

    4x4 convolutions of stride 2 with leaky ReLU of slope 0.2, `width` channels after the first and twice as many after each
    next, down to 4x4; one more convolution takes that to a vector, which ends in tanh.
    """
    layers: list[nn.Module] = []
    for stage in range(_halvings(image_size)):
        outputs = width * 2**stage
        layers += [
            nn.Conv2d(channels, outputs, 4, 2, 1),
            *([nn.BatchNorm2d(outputs)] if normalise else []),
            nn.LeakyReLU(0.2),
        ]
        channels = outputs
    layers += [
        nn.Conv2d(channels, features, 4),
        *([nn.BatchNorm2d(features)] if normalise else []),
        nn.Tanh(),
        nn.Flatten(),
    ]
    network = nn.Sequential(*layers)
    if not normalise:
        keep_variance(network)
    return network


def frame_decoder(
    image_size: int, channels: int, width: int, inputs: int, normalise: bool = True
) -> nn.Sequential:
    """Paper C's image decoder, the encoder in reverse: codes (N, inputs) to frames (N, C, H, W) in (0, 1), by a sigmoid."""
    layers: list[nn.Module] = [nn.Unflatten(1, (inputs, 1, 1))]
    last = _halvings(image_size) - 1
    for stage in range(last, -1, -1):
        outputs, (stride, padding) = width * 2**stage, (1, 0) if stage == last else (2, 1)
        layers.append(nn.ConvTranspose2d(inputs, outputs, 4, stride, padding))
        layers += [*([nn.BatchNorm2d(outputs)] if normalise else []), nn.LeakyReLU(0.2)]
        inputs = outputs
    network = nn.Sequential(*layers, nn.ConvTranspose2d(inputs, channels, 4, 2, 1), nn.Sigmoid())
    if not normalise:
        keep_variance(network)
    return network


def mlp(
    inputs: int, hidden: int, outputs: int, hidden_layers: int, activation_name: str = "selu"
) -> nn.Sequential:
    """A dense network: `hidden_layers` hidden layers of `hidden` units, and a linear output; (..., inputs) to (..., outputs)."""
    layers: list[nn.Module] = []
    for _ in range(hidden_layers):
        layers += [nn.Linear(inputs, hidden), activation(activation_name)]
        inputs = hidden
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class GaussianHead(nn.Module):
    """Two linear layers: features (..., inputs) to the distribution of a code (..., size)."""

    def __init__(self, inputs: int, size: int):
        super().__init__()
        self.mean, self.log_variance = nn.Linear(inputs, size), nn.Linear(inputs, size)

    def forward(self, features: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(self.mean(features), self.log_variance(features))


class AutoregressivePrior(nn.Module):
    """p(d_t | d_<t), paper C's: a two-layer LSTM of `hidden` units reads d_0 = 0, d_1, ..., d_{t-1}."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.recurrent, self.head = (
            nn.LSTM(size, hidden, 2, batch_first=True),
            GaussianHead(hidden, size),
        )

    def forward(self, codes: Tensor) -> DiagonalGaussian:
        """The distribution of each d_t given the codes before it, (B, T, d)."""
        return self.head(self.recurrent(F.pad(codes, (0, 0, 1, -1)))[0])

    def roll(self, noise: Tensor, zero_at: int | None = None) -> tuple[Tensor, Tensor]:
        """Codes drawn one after the other with noise (B, T, d): the means along the way, and the draws, both (B, T, d).

        zero_at: number of a step whose code is 0 rather than drawn.
        """
        state, code, means, codes = None, torch.zeros_like(noise[:, :1]), [], []
        for step in range(noise.shape[1]):
            hidden, state = self.recurrent(code, state)
            prior, some = self.head(hidden), float(step != zero_at)
            code = some * (prior.mean + prior.standard_deviation * noise[:, step : step + 1])
            means.append(some * prior.mean)
            codes.append(code)
        return torch.cat(means, 1), torch.cat(codes, 1)


def run(network: nn.LSTM, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The outputs (B, T, ...) of a recurrent network over inputs (B, T, ...); with lengths (B,), as if each sequence ended there."""
    if lengths is None:
        return network(inputs)[0]
    packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(network(packed)[0], batch_first=True, total_length=inputs.shape[1])[
        0
    ]


def count_parameters(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def forward_flops(module: nn.Module, *inputs: Tensor) -> int:
    """Floating-point operations of one forward pass, counted by PyTorch."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()
