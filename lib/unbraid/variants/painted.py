"""A variant of paper B's model that the paper does not have: colours reach everywhere."""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..models.unordered import SIDE, UnorderedFrames, UnorderedFramesConfig

CONTRAST = 3.0
"""Multiplies the palette's colours, so that they differ: a logit of 3 is a value of .95."""


@dataclass(frozen=True)
class PaintedFramesConfig(UnorderedFramesConfig):
    """The sizes of `PaintedFrames`.

    multiplied: the product of a dense map of s and one of d is added to the first map, and a dense
        map of s to all pixels of each later one.
    palette: K colours c_k(s), 0 for none. CONTRAST sum_k softmax_k(m) c_k(s) is added to the
        logits of each pixel.
    """

    multiplied: bool = True
    palette: int = field(default=12, metadata={"least": 0})


class PaintingDecoder(nn.Module):
    """Logits of frames (N, C, H, W) of s and d (N, D + d), painted as the config says."""

    def __init__(self, config: PaintedFramesConfig):
        super().__init__()
        widths, normalise = config.widths, config.normalise
        self.sizes, self.slope = (config.static_size, config.dynamic_size), config.decoder_slope
        self.first = nn.Linear(sum(self.sizes), SIDE * SIDE * widths[-1])
        self.stages, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise(widths[::-1]):
            self.stages.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=not normalise))
            self.norms.append(nn.BatchNorm2d(after) if normalise else nn.Identity())
        self.last = nn.ConvTranspose2d(widths[0], config.channels + config.palette, 4, 2, 1)
        self.channels = config.channels
        self.multiplied = config.multiplied
        if self.multiplied:
            values = self.first.out_features
            self.static_factor = nn.Linear(config.static_size, values)
            self.dynamic_factor = nn.Linear(config.dynamic_size, values)
            self.paints = nn.ModuleList()
            for width in config.widths[-2::-1]:
                self.paints.append(nn.Linear(config.static_size, width, bias=False))
        self.palette = None
        if config.palette:
            self.palette = nn.Linear(config.static_size, config.channels * config.palette)

    def forward(self, codes: Tensor) -> Tensor:
        """Logits (N, C, H, W) of the values of p(x | s, d), of s and d (N, D + d)."""
        static, dynamic = codes.split(self.sizes, -1)
        first = self.first(codes)
        if self.multiplied:
            first = first + self.static_factor(static) * self.dynamic_factor(dynamic)
        maps = F.leaky_relu(first, self.slope).unflatten(-1, (-1, SIDE, SIDE))
        for number, (convolution, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            maps = convolution(maps)
            if self.multiplied:
                maps = maps + self.paints[number](static)[:, :, None, None]
            maps = F.leaky_relu(norm(maps), self.slope)
        maps = self.last(maps)  # (N, C + K, H, W)
        if self.palette is None:
            return maps
        colours = self.palette(static).unflatten(-1, (self.channels, -1))  # (N, C, K)
        shares = maps[:, self.channels :].softmax(1)  # (N, K, H, W)
        mixed = torch.einsum("nck,nkhw->nchw", colours, shares)
        return maps[:, : self.channels] + CONTRAST * mixed


class PaintedFrames(UnorderedFrames):
    """`UnorderedFrames` with a `PaintingDecoder`."""

    config_class = PaintedFramesConfig
    decoder_class = PaintingDecoder
