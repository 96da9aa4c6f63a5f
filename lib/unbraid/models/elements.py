"""What `SingleElement` is made of: its config, networks that read and paint elements, selections.

An element is a frame, or a window of a series.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import networks
from ..checks import check_field, check_name, check_number
from ..distributions import DiagonalGaussian
from .base import Batch, Codes, ModelConfig

BatchNorm = nn.modules.batchnorm._BatchNorm  # what all kinds of it share


@dataclass(frozen=True)
class SingleElementConfig(ModelConfig):
    """The sizes of `SingleElement`; the defaults are those of the authors' code for Sprites, but
    for `initial_weights`.

    That is video/ of github.com/azencot-group/DBSE at commit ac0c5f6, which decodes the anchor a
    second time, with batch statistics of its own.

    variance: v of the likelihood N(decoded, v). At 1/2 the log-likelihood is minus the squared
        error and a constant, as in the authors' objective.
    anchor: "first", "middle" (number T // 2, from 0) or "last" of the observed elements, or "any":
        in training a new one for each sequence, otherwise the first.
    initial_weights: "default", PyTorch's, or "small", the authors', which suit their images alone:
        from there, the populations of notebook 42 swap at correlations of .50 and .36, not .99.
    """

    kind: str = "images"  # or "series"
    image_size: int = 64  # height and width in pixels, of images
    channels: int = 3  # of images; of series, variables
    window: int = 1  # steps that make an element of a series
    width: int = 64  # channels of the first convolution; of series, units of each dense layer
    normalise: bool = True  # batch normalisation in the networks of images
    features: int = 256  # g, of an element; the anchor's are subtracted
    hidden: int = 64  # units of the static head and of the prior
    static_size: int = 256  # D
    dynamic_size: int = 256  # d
    dynamic_hidden: int = 256  # units of the dynamic LSTM in each direction
    variance: float = 0.5
    anchor: str = "first"
    initial_weights: str = "default"
    initial_log_variance: float = 0.0  # of the dynamic posterior
    initial_gain: float = 1.0  # scales its mean

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("anchor", self.anchor, ("first", "middle", "last", "any"))
        check_name("kind", self.kind, CODECS)
        check_name("initial_weights", self.initial_weights, ("default", "small"))
        check_number(0, variance=self.variance)
        check_field(self.kind == "series" or self.window == 1, "window", "1 of images", self.window)


class Codec(nn.Module):
    """Encoder (N, ...) to g features and decoder of elements: frames, or windows of a series."""

    encoder: nn.Module
    decoder: nn.Module
    frame_shape: tuple[int, ...]
    is_series = False  # Then an element is a window.
    window: int = 1

    def split(self, frames: Tensor) -> Tensor:
        """Elements (B, T, ...) of frames; of a series (B, T / window, window, ...)."""
        return frames.unflatten(1, (-1, self.window)) if self.is_series else frames

    def join(self, elements: Tensor) -> Tensor:
        """Frames of elements (B, T, ...)."""
        return elements.flatten(1, 2) if self.is_series else elements


class ImageCodec(Codec):
    """Convolutional encoder and decoder of frames."""

    def __init__(self, config: SingleElementConfig):
        super().__init__()
        size, channels, normalise = config.image_size, config.channels, config.normalise
        inputs = config.static_size + config.dynamic_size
        self.frame_shape = (channels, size, size)
        sizes = size, channels, config.width
        self.encoder = networks.frame_encoder(*sizes, config.features, normalise)
        self.decoder = networks.ConvolutionalDecoder(*sizes, inputs, normalise, 0.2, groups=0)


class SeriesCodec(Codec):
    """Dense encoder (to g features) and decoder of windows of a series."""

    is_series = True

    def __init__(self, config: SingleElementConfig):
        super().__init__()
        shape = (config.window, config.channels)
        values, width = config.window * config.channels, config.width
        inputs = config.static_size + config.dynamic_size
        self.window = config.window
        self.frame_shape = (config.channels,)
        # tanh makes the features about as large as the noise that replaces the anchor's.
        dense = networks.mlp(values, width, config.features, 2, "relu")
        self.encoder = nn.Sequential(nn.Flatten(), dense, nn.Tanh())
        dense = networks.mlp(inputs, width, values, 2, "relu")
        self.decoder = nn.Sequential(dense, nn.Unflatten(1, shape))


CODECS: dict[str, type] = {"images": ImageCodec, "series": SeriesCodec}


class DynamicEncoder(nn.Module):
    """A two-layer LSTM over all elements, and the distributions of the dynamic codes."""

    def __init__(self, config: SingleElementConfig):
        super().__init__()
        features, hidden = config.features, config.dynamic_hidden
        self.recurrent = nn.LSTM(features, hidden, 2, batch_first=True, bidirectional=True)
        self.head = networks.GaussianHead(2 * hidden, config.dynamic_size)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> DiagonalGaussian:
        """The distributions of all d_t, (B, T, d), of inputs (B, T, g)."""
        return self.head(networks.run_recurrent(self.recurrent, inputs, lengths))


@dataclass
class Posterior:
    """The posterior of both codes, and codes from it."""

    static: DiagonalGaussian  # q(s | x_a), (B, D)
    dynamic: DiagonalGaussian  # q(d_t | x), (B, T, d)
    codes: Codes  # a draw, or the means
    anchor: Tensor  # the anchor's number in each sequence, (B,)
    has_code: Tensor  # booleans (B, T), False where d_t is no code but 0


def over_elements(network: nn.Module, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
    """Outputs (B, T, ...) of a network that reads single elements, for inputs (B, T, ...).

    mask: (B, T, ...) of the elements. Batch normalisation counts whatever it reads, so a network
    that has it reads observed elements alone; the outputs for the others are 0.
    """
    if mask is None or not any(isinstance(layer, BatchNorm) for layer in network.modules()):
        return network(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
    observed = mask.flatten(2).any(2)
    outputs = network(inputs[observed])
    whole = outputs.new_zeros(*observed.shape, *outputs.shape[1:])
    whole[observed] = outputs
    return whole


def take_element(values: Tensor, number: Tensor) -> Tensor:
    """Of values (B, T, ...) one element of each sequence, (B, ...), by its number (B,)."""
    places = number.view(-1, *[1] * (values.ndim - 1))
    return torch.take_along_dim(values, places, 1)[:, 0]


def find_observed(elements: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Which elements have an observed value, (B, T), and the lengths (B,), None where whole."""
    if mask is None:
        return torch.ones(elements.shape[:2], dtype=torch.bool, device=elements.device), None
    observed = mask.flatten(2).any(2)
    return observed, Batch(elements, observed).lengths
