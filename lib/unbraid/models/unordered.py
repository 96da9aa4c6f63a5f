"""Paper B: Helminger et al. (2018), arXiv 1812.03962.

Disentangled Dynamic Representations from Unordered Data.

    p(x, d, s) = p(s) prod_i p(d_i | s) p(x_i | s, d_i)          s ~ N(0, I)
    q(d, s | x) = q(s | x_1 ... x_N) prod_i q(d_i | s, x_i)

The paper calls s, the static code, f, and d_i, the dynamic code of a frame, z_i. The frames of a
sequence have no order: given s, every d_i is drawn from the same p(d | s). The posterior of s reads
what pairs of frames have in common. What else a frame contains has to go through two units of d_i.

The networks and the bound are notebook 22's, word for word (`lesson_b`), and the weights
on the disk have its names.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..checks import check_name, check_whole, refuse
from ..distributions import DiagonalGaussian
from ..networks import draw_he_weights, draw_weights, halving_stages, stage
from . import lesson_b
from .base import BatchLike, Bound, Codes, ModelConfig, Noise, NoiseSource, SequenceModel

SIDE = 4  # height and width of the smallest feature map, in pixels


@dataclass(frozen=True)
class UnorderedFramesConfig(ModelConfig):
    """The sizes of `UnorderedFrames`; the defaults are the paper's (its table of layers).

    widths: channels of the trunk's convolutions, each of which halves the image, down to 4 x 4.
    normalise: batch normalisation, which the paper does not list.
    pairs: False leaves the paper's idea out and compares each frame with itself alone.
    initial_weights: "he", of the convolutions, or "glorot", of all layers. The paper does not say;
        "glorot" is the default of the library in whose style it is written.
    """

    image_size: int = 64  # height and width in pixels
    channels: int = 3  # of a frame
    widths: tuple[int, ...] = (256, 256, 256, 256)
    pair_width: int = 512  # channels of the pair and of the static convolution
    hidden: int = 512  # units of each dense layer
    static_size: int = 512  # D
    dynamic_size: int = 2  # d
    normalise: bool = False
    trunk_slope: float = 0.2  # of leaky ReLUs below 0
    decoder_slope: float = 0.2
    pairs: bool = True
    prior_given_static: bool = True  # p(d | s), or else N(0, I)
    initial_weights: str = "glorot"
    initial_log_variance: float = 0.0  # is added to both posteriors' before training

    def __post_init__(self) -> None:
        super().__post_init__()
        check_name("initial_weights", self.initial_weights, ("he", "glorot"))
        for width in self.widths:
            check_whole(1, widths=width)
        if not self.widths or self.image_size != SIDE * 2 ** len(self.widths):
            expected = f"one for each halving of {self.image_size} pixels down to {SIDE}"
            refuse("widths", expected, list(self.widths))


class PairEncoder(lesson_b.PairEncoder):
    """Notebook 22's, faster, for any number of frames, and without pairs if the config says so.

    lesson: its layers are taken; `normalise` puts batch normalisation behind the second one.
    """

    def __init__(self, lesson: lesson_b.PairEncoder, config: UnorderedFramesConfig):
        nn.Module.__init__(self)
        self.pairs = config.pairs
        self.pair, self.convolution, self.dense = lesson.pair, lesson.convolution, lesson.dense
        if config.normalise:
            norm = nn.BatchNorm2d(config.pair_width)
            self.convolution = nn.Sequential(lesson.convolution, norm)

    def compare(self, h: Tensor) -> Tensor:
        """Mean over pairs of ReLU(W * [h_i, h_j] + b), (B, width, 4, 4).

        h: (B, T, channels, 4, 4). A single frame is paired with itself. The convolution of two
        stacked maps is a sum, W_1 * h_i + W_2 * h_j, so that frames are convolved, not pairs.
        """
        count, length = h.shape[:2]
        weight = torch.cat(self.pair.weight.chunk(2, 1))  # W_1 above W_2
        maps = F.conv2d(h.flatten(0, 1), weight, padding=1)
        first, second = maps.unflatten(0, (count, length)).chunk(2, 2)
        first = first + self.pair.bias[:, None, None]
        shifts = range(1, length) if self.pairs and length > 1 else (0,)
        pairs = [F.relu(first + second.roll(-shift, 1)).mean(1) for shift in shifts]
        return torch.stack(pairs).mean(0)


class StandardPrior(nn.Module):
    """What the prior's layers put out for N(0, I), whatever s is."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, static: Tensor) -> Tensor:
        """Means and log-variances of d, (B, 2 d), of s (B, D)."""
        return static.new_zeros(len(static), 2 * self.size)


class Decoder(nn.Sequential):
    """Logits (N, C, H, W) of s and d (N, D + d); its channels are the trunk's in reverse order.

    That one dense layer makes the first 4 x 4 map of both codes is our choice.
    """

    def __init__(self, config: UnorderedFramesConfig):
        widths, normalise, slope = config.widths, config.normalise, config.decoder_slope
        first = nn.Linear(config.static_size + config.dynamic_size, SIDE * SIDE * widths[-1])
        layers = [first, nn.Unflatten(1, (widths[-1], SIDE, SIDE)), nn.LeakyReLU(slope)]
        for before, after in pairwise(widths[::-1]):
            doubling = nn.ConvTranspose2d(before, after, 4, 2, 1, bias=not normalise)
            layers += stage(doubling, normalise, slope)
        super().__init__(*layers, nn.ConvTranspose2d(widths[0], config.channels, 4, 2, 1))


class UnorderedFrames(SequenceModel):
    """Codes static (B, D) and dynamic (B, T, d), of any number of frames in any order."""

    config_class = UnorderedFramesConfig
    config: UnorderedFramesConfig
    decoder_class: type[nn.Module] = Decoder
    code_names = ("static", "dynamic")
    # What notebook 22 writes: the terms of the bound, and logits (B, T, C, H, W) of s and d.
    loss, logits = lesson_b.UnorderedFrames.loss, lesson_b.UnorderedFrames.logits

    def __init__(self, config: UnorderedFramesConfig | None = None, **values: Any):
        super().__init__(config, **values)
        config = self.config
        self.frame_shape = (config.channels, config.image_size, config.image_size)
        self.static_size, self.dynamic_size = config.static_size, config.dynamic_size
        self.code_sizes = {"static": config.static_size, "dynamic": config.dynamic_size}

        widths, normalise, slope = config.widths, config.normalise, config.trunk_slope
        stages = halving_stages((config.channels, *widths), normalise, slope, bias=not normalise)
        sizes = config.pair_width, config.hidden, config.static_size, config.dynamic_size
        lesson = lesson_b.UnorderedFrames((nn.Sequential(*stages), None), widths[-1], *sizes)
        self.encoder, self.prior = lesson.encoder, lesson.prior
        self.encoder.static = PairEncoder(lesson.encoder.static, config)
        if not config.prior_given_static:
            self.prior = StandardPrior(config.dynamic_size)
        self.decoder = self.decoder_class(config)
        self.draw_weights()

    @torch.no_grad()
    def draw_weights(self) -> None:
        config = self.config
        if config.initial_weights == "glorot":  # of variance 2 / (fan in + fan out), Glorot 2010
            kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
            draw_weights(self, kinds, nn.init.xavier_uniform_)
        else:
            # Batch normalisation keeps the variance of the signals in trunk and decoder.
            draw_he_weights(self.encoder.static if config.normalise else self)
        for dense in (self.encoder.static.dense, self.encoder.dynamic):
            dense[-1].bias.chunk(2)[1].add_(config.initial_log_variance)
        # p(d | s) begins as N(0, I), the same for every s.
        for parameter in self.prior[-1].parameters() if config.prior_given_static else ():
            nn.init.zeros_(parameter)

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """Standard normal numbers of the shape of the codes."""
        static = self.normal(generator, count, self.static_size)
        dynamic = self.normal(generator, count, length, self.dynamic_size)
        return {"static": static, "dynamic": dynamic}

    def features(self, frames: Tensor) -> Tensor:
        """The features of each frame, (B, T, channels, 4, 4)."""
        return self.encoder.extract(frames)

    def static_posterior(self, features: Tensor) -> DiagonalGaussian:
        """q(s | x_1 ... x_T), (B, D), of features (B, T, ...)."""
        return DiagonalGaussian(*self.encoder.static(features))

    def dynamic_posterior(self, features: Tensor, static: Tensor) -> DiagonalGaussian:
        """q(d_i | s, x_i), (B, T, d), of features (B, T, ...) and s (B, D).

        That it reads s is our reading of the paper; the true posterior depends on both.
        """
        return DiagonalGaussian(*self.encoder.read_d(features, static))

    def dynamic_prior(self, static: Tensor) -> DiagonalGaussian:
        """p(d | s), (B, 1, d), the same for all frames, of s (B, D)."""
        return DiagonalGaussian.from_outputs(self.prior(static)[:, None])

    def posterior(
        self, frames: Tensor, noise: NoiseSource = None
    ) -> tuple[DiagonalGaussian, DiagonalGaussian, Codes]:
        """q(s | x), q(d_i | s, x_i), and their codes: a draw, or without noise the means."""
        noise = {} if noise is None else self.as_noise(noise, *frames.shape[:2])
        parts = self.encoder(frames, noise.get("static", 0), noise.get("dynamic", 0))
        static, dynamic, s, d = parts
        codes = {"static": s, "dynamic": d}
        return DiagonalGaussian(*static), DiagonalGaussian(*dynamic), codes

    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats, by one draw of s and of each d_i.

        sum_i E log p(x_i | s, d_i) - sum_i KL(q(d_i | s, x_i) || p(d_i | s)) - KL(q(s | x) || p(s))

        The likelihood is Bernoulli for each value; between 0 and 1 it is minus the cross-entropy.
        """
        frames = self.whole_frames(batch)
        noise = self.as_noise(noise, *frames.shape[:2])
        error, kl_s, kl_d = self.loss(frames, noise["static"], noise["dynamic"])
        return Bound(-error, {"static": kl_s, "dynamic": kl_d}, frames.shape[1])

    def encode(self, batch: BatchLike, noise: NoiseSource = None) -> Codes:
        return self.posterior(self.whole_frames(batch), noise)[2]

    def decode(self, codes: Codes) -> Tensor:
        """Means (B, T, C, H, W) of p(x | s, d), in [0, 1]."""
        self.check_codes(codes)
        return torch.sigmoid(self.logits(codes["static"], codes["dynamic"]))

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of new sequences: s from N(0, I), with given d too, then each d from p(d | s)."""
        given = self.check_given(given, count, length)
        noise = self.as_noise(noise, count, length)
        static = given.get("static", noise["static"])  # s from p(s) = N(0, I)
        # each d_i from p(d_i | s)
        dynamic = given.get("dynamic", self.dynamic_prior(static).draw(noise["dynamic"]))
        return {"static": static, "dynamic": dynamic}
