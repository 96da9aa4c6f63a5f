"""What paper C's model reads and draws elements with: frames, or windows of a series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from unbraid.networks import ConvolutionalDecoder, frame_encoder, mlp

if TYPE_CHECKING:
    from unbraid.models.single_element import SingleElementConfig


class ImageCodec(nn.Module):
    """Convolutional encoder (to g features) and decoder of frames; an element is one frame."""

    window = 1

    def __init__(self, config: SingleElementConfig):
        super().__init__()
        size, channels, normalise = config.image_size, config.channels, config.normalise
        inputs = config.static_size + config.dynamic_size
        self.frame_shape = (channels, size, size)
        self.encoder = frame_encoder(size, channels, config.width, config.features, normalise)
        self.decoder = ConvolutionalDecoder(
            size, channels, config.width, inputs, normalise, 0.2, groups=0
        )

    def split(self, frames: Tensor) -> Tensor:
        """Elements (B, T, C, H, W) of frames, which are these frames."""
        return frames

    def join(self, elements: Tensor) -> Tensor:
        """Frames (B, T, C, H, W) of elements, which are these elements."""
        return elements


class Windows(nn.Module):
    """Series (B, T, ...) as elements (B, T / window, window, ...), and back."""

    window: int

    def split(self, series: Tensor) -> Tensor:
        """Elements (B, T / window, window, ...) of series (B, T, ...)."""
        return series.unflatten(1, (-1, self.window))

    def join(self, elements: Tensor) -> Tensor:
        """Series (B, T, ...) of elements (B, T / window, window, ...)."""
        return elements.flatten(1, 2)


class SeriesCodec(Windows):
    """Dense encoder (to g features) and decoder of windows of a series."""

    def __init__(self, config: SingleElementConfig):
        super().__init__()
        shape = (config.window, config.channels)
        values, width = config.window * config.channels, config.width
        inputs = config.static_size + config.dynamic_size
        self.window = config.window
        self.frame_shape = (config.channels,)
        # tanh makes the features about as large as the noise that replaces the anchor's.
        dense = mlp(values, width, config.features, 2, "relu")
        self.encoder = nn.Sequential(nn.Flatten(), dense, nn.Tanh())
        self.decoder = nn.Sequential(mlp(inputs, width, values, 2, "relu"), nn.Unflatten(1, shape))


CODECS = {"images": ImageCodec, "series": SeriesCodec}
