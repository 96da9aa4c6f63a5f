"""The networks that models and judges share: image encoders and decoders, dense and recurrent."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from unbraid.checks import check_field, check_name, check_number, check_type, check_whole
from unbraid.distributions import DiagonalGaussian

Convolution = nn.Conv2d | nn.ConvTranspose2d

ACTIVATIONS = {
    "leaky_relu": nn.LeakyReLU,  # its slope below 0 is 0.01, as in paper A's code
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "selu": nn.SELU,
    "tanh": nn.Tanh,
}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Let a model be in evaluation mode for a while, and each layer in its own mode after it."""
    check_type(nn.Module, model=model)
    training = [layer for layer in model.modules() if layer.training]
    model.eval()
    try:
        yield
    finally:
        for layer in training:
            layer.training = True


def activation(name: str | float) -> nn.Module:
    """The activation of that name; a number is the slope of a leaky ReLU below 0."""
    if isinstance(name, float):
        check_number(activation=name)
        return nn.LeakyReLU(name)
    check_name("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def stage_widths(image_size: int, width: int, **sizes: int) -> list[int]:
    """Channels after each halving of an image down to 4 x 4: `width`, and then twice as many.

    sizes: others of the network, which are checked as well.
    """
    check_whole(1, image_size=image_size, width=width, **sizes)
    halvings = math.log2(image_size / 4)
    check_field(halvings in range(1, 20), "image_size", "8, 16, 32, 64, ...", image_size)
    return [width * 2**stage for stage in range(int(halvings))]


def stage(layer: Convolution, normalise: bool, nonlinearity: str | float) -> list[nn.Module]:
    """A convolution, batch normalisation where asked for, and an activation."""
    normalisation = [nn.BatchNorm2d(layer.out_channels)] if normalise else []
    return [layer, *normalisation, activation(nonlinearity)]


def halving_stages(
    channels: Sequence[int], normalise: bool, nonlinearity: str | float, bias: bool = True
) -> list[nn.Module]:
    """4 x 4 convolutions of stride 2 from each number of channels to the next."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layer = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
        layers += stage(layer, normalise, nonlinearity)
    return layers


class ConvolutionalEncoder(nn.Sequential):
    """DCGAN's discriminator: frames (N, C, H, W) to features (N, features).

    Each 4 x 4 convolution of stride 2 halves the image and doubles the channels, from `width` on,
    down to 4 x 4; a last one turns that into a vector.
    output: None ends in the other layers' activation, as paper A; "tanh" as paper C, normalised.
    """

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 3,
        width: int = 64,
        features: int = 32,
        normalise: bool = True,
        activation_name: str | float = "leaky_relu",
        output: str | None = None,
    ):
        widths = stage_widths(image_size, width, channels=channels, features=features)
        layers = halving_stages((channels, *widths), normalise, activation_name)
        last = nn.Conv2d(widths[-1], features, 4)
        layers += stage(last, normalise and output is not None, output or activation_name)
        super().__init__(*layers, nn.Flatten())
        if not normalise:
            draw_he_weights(self)


class ConvolutionalDecoder(nn.Sequential):
    """DCGAN's generator: codes (N, inputs) to frames (N, C, H, W).

    A linear layer, then transposed convolutions: one to 4 x 4, others that double the image.
    output: "sigmoid", as in the authors' code of papers A and C; or "linear", with which frames may
        leave [0, 1] a little, but gradients do not vanish near black.
    groups: 1, or 0, which leaves the first linear layer out, as paper C.
    """

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 3,
        width: int = 64,
        inputs: int = 40,
        normalise: bool = True,
        activation_name: str | float = "relu",
        output: str = "sigmoid",
        groups: int = 1,
    ):
        check_name("output", output, ("sigmoid", "linear"))
        widths = stage_widths(image_size, width, channels=channels, inputs=inputs)[::-1]
        layers: list[nn.Module] = [nn.Unflatten(1, (inputs, 1, 1))]
        if groups:
            layers = [nn.Linear(inputs, inputs), activation(activation_name), *layers]
        for number, (before, after) in enumerate(pairwise((inputs, *widths))):
            stride, padding = (2, 1) if number else (1, 0)
            layer = nn.ConvTranspose2d(before, after, 4, stride, padding)
            layers += stage(layer, normalise, activation_name)
        layers.append(nn.ConvTranspose2d(widths[-1], channels, 4, stride=2, padding=1))
        if output == "sigmoid":
            layers.append(nn.Sigmoid())
        super().__init__(*layers)
        if not normalise:
            draw_he_weights(self)


def frame_encoder(
    image_size: int, channels: int, width: int, features: int, normalise: bool = True
) -> ConvolutionalEncoder:
    """Paper C's image encoder, and that of all judges: features (N, features) in (-1, 1)."""
    return ConvolutionalEncoder(image_size, channels, width, features, normalise, 0.2, "tanh")


def draw_he_weights(network: nn.Module) -> None:
    """Draw the weights of convolutions so that the signal neither fades nor grows with depth.

    He et al. 2015, arXiv 1502.01852. A transposed convolution of stride s uses 1/s^2 of its kernel.
    """
    for layer in network.modules():
        if not isinstance(layer, Convolution):
            continue
        kernel = float(math.prod(layer.kernel_size))
        if isinstance(layer, nn.ConvTranspose2d):
            kernel = 1.0 if layer.stride[0] == 1 else kernel / layer.stride[0] ** 2
        fan_in = layer.in_channels * kernel
        nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_in))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def draw_weights(network: nn.Module, kinds: tuple, draw: Callable[[Tensor], Tensor]) -> None:
    """Draw the weights of all layers of these kinds; their biases become 0."""
    for layer in network.modules():
        if isinstance(layer, kinds):
            draw(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def mlp(
    inputs: int, hidden: int, outputs: int, hidden_layers: int, activation_name: str = "selu"
) -> nn.Sequential:
    """A dense network with a linear output, (..., inputs) to (..., outputs)."""
    check_whole(0, hidden_layers=hidden_layers)
    layers: list[nn.Module] = []
    for _ in range(hidden_layers):
        layers += [nn.Linear(inputs, hidden), activation(activation_name)]
        inputs = hidden
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class GaussianHead(nn.Module):
    """Two linear layers: features (..., inputs) to the distribution of a code (..., size)."""

    def __init__(self, inputs: int, size: int, initial_log_variance: float = 0.0):
        super().__init__()
        self.mean = nn.Linear(inputs, size)
        self.log_variance = nn.Linear(inputs, size)
        self.add_start(initial_log_variance)

    @torch.no_grad()
    def add_start(self, log_variance: float, gain: float = 1.0) -> None:
        """Add to the biases of the log-variance, and multiply the weights of the mean."""
        self.log_variance.bias.add_(log_variance)
        self.mean.weight *= gain

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """The distribution of the code, (..., size), of features (..., inputs)."""
        return DiagonalGaussian.made(self.mean(features), self.log_variance(features))


class AutoregressivePrior(nn.Module):
    """p(d_t | d_<t) of paper C: a two-layer LSTM reads d_0 = 0, d_1, ..., d_{t-1}."""

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.recurrent = nn.LSTM(size, hidden, 2, batch_first=True)
        self.head = GaussianHead(hidden, size)

    def forward(self, codes: Tensor) -> DiagonalGaussian:
        """Of each d_t given the codes before it, (B, T, d)."""
        return self.head(self.recurrent(F.pad(codes, (0, 0, 1, -1)))[0])

    def roll(self, noise: Tensor) -> Tensor:
        """Codes (B, T, d), drawn one after the other with noise (B, T, d)."""
        state: tuple[Tensor, Tensor] | None = None
        codes = [torch.zeros_like(noise[:, :1])]  # (B, 1, d) each
        for draw in noise.split(1, 1):
            hidden, state = self.recurrent(codes[-1], state)
            codes.append(self.head(hidden).draw(draw))
        return torch.cat(codes[1:], 1)


def run_recurrent(network: nn.LSTM, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Outputs (B, T, ...) over inputs (B, T, ...); with lengths (B,) of the first steps alone."""
    if lengths is None:
        return network(inputs)[0]
    packed = pack_padded_sequence(inputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
    outputs, _ = network(packed)
    return pad_packed_sequence(outputs, batch_first=True, total_length=inputs.shape[1])[0]
