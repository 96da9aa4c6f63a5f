"""Paper B: Helminger et al. (2018), arXiv 1812.03962.

Disentangled Dynamic Representations from Unordered Data.

    p(x, d, s) = p(s) prod_i p(d_i | s) p(x_i | s, d_i)          s ~ N(0, I)
    q(d, s | x) = q(s | x_1 ... x_N) prod_i q(d_i | s, x_i)

The paper calls s, the static code, f, and d_i, the dynamic code of a frame, z_i. The frames of a
sequence have no order: given s, every d_i is drawn from the same p(d | s). The posterior of s reads
what pairs of frames have in common. What else a frame contains has to go through two units of d_i.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..checks import check_name, check_whole, refuse
from ..distributions import DiagonalGaussian, bernoulli_log_likelihood, kl, standard_normal_like
from ..networks import draw_he_weights, draw_weights, halving_stages, mlp
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


class PairEncoder(nn.Module):
    """q(s | x_1 ... x_T), of what all pairs of frames have in common.

    That pairs are aggregated by the mean over i != j is our choice: it depends neither on the
    frames' order nor, in its scale, on their number.
    """

    def __init__(self, config: UnorderedFramesConfig):
        super().__init__()
        width = config.pair_width
        self.pairs = config.pairs
        self.pair_convolution = nn.Conv2d(2 * config.widths[-1], width, 3, padding=1)
        self.convolution = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if config.normalise else nn.Identity()
        self.dense = mlp(SIDE * SIDE * width, config.hidden, 2 * config.static_size, 1, "relu")

    def compare(self, features: Tensor) -> Tensor:
        """Mean over pairs of ReLU(W * [x_i, x_j] + b), (B, width, 4, 4).

        features: (B, T, channels, 4, 4). A single frame is paired with itself. The convolution of
        two stacked maps is a sum, W_1 * x_i + W_2 * x_j, so that frames are convolved, not pairs.
        """
        count, length = features.shape[:2]
        weight = torch.cat(self.pair_convolution.weight.chunk(2, 1))  # W_1 above W_2
        maps = F.conv2d(features.flatten(0, 1), weight, padding=1)
        first, second = maps.unflatten(0, (count, length)).chunk(2, 2)
        first = first + self.pair_convolution.bias[:, None, None]  # type: ignore[index]
        shifts = range(1, length) if self.pairs and length > 1 else (0,)
        pairs = [F.relu(first + second.roll(-shift, 1)).mean(1) for shift in shifts]
        return torch.stack(pairs).mean(0)

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """q(s | x), (B, D), of features (B, T, channels, 4, 4)."""
        hidden = F.relu(self.norm(self.convolution(self.compare(features))))
        return DiagonalGaussian.from_outputs(self.dense(hidden.flatten(1)))


class Decoder(nn.Module):
    """Logits of frames; its channels are those of the trunk in reverse order.

    That one dense layer makes the first 4 x 4 map of (s, d) is our choice.
    """

    def __init__(self, config: UnorderedFramesConfig, outputs: int | None = None):
        super().__init__()
        widths, normalise = config.widths, config.normalise
        self.slope = config.decoder_slope
        self.first = nn.Linear(config.static_size + config.dynamic_size, SIDE * SIDE * widths[-1])
        self.stages, self.norms = nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise(widths[::-1]):
            self.stages.append(nn.ConvTranspose2d(before, after, 4, 2, 1, bias=not normalise))
            self.norms.append(nn.BatchNorm2d(after) if normalise else nn.Identity())
        self.last = nn.ConvTranspose2d(widths[0], outputs or config.channels, 4, 2, 1)

    def forward(self, static: Tensor, dynamic: Tensor) -> Tensor:
        """Logits (N, C, H, W) of the values of p(x | s, d), of s (N, D) and d (N, d)."""
        maps = F.leaky_relu(self.first(torch.cat([static, dynamic], -1)), self.slope)
        maps = maps.unflatten(-1, (-1, SIDE, SIDE))
        for convolution, norm in zip(self.stages, self.norms, strict=True):
            maps = F.leaky_relu(norm(convolution(maps)), self.slope)
        return self.last(maps)


class UnorderedFrames(SequenceModel):
    """Codes static (B, D) and dynamic (B, T, d), of any number of frames in any order."""

    config_class = UnorderedFramesConfig
    config: UnorderedFramesConfig
    decoder_class: type[nn.Module] = Decoder
    code_names = ("static", "dynamic")

    def __init__(self, config: UnorderedFramesConfig | None = None, **values: Any):
        super().__init__(config, **values)
        config = self.config
        widths, size, hidden = config.widths, config.image_size, config.hidden
        self.frame_shape = (config.channels, size, size)
        self.static_size, self.dynamic_size = config.static_size, config.dynamic_size
        self.code_sizes = {"static": config.static_size, "dynamic": config.dynamic_size}

        normalise, slope = config.normalise, config.trunk_slope
        stages = halving_stages((config.channels, *widths), normalise, slope, bias=not normalise)
        self.trunk = nn.Sequential(*stages)
        self.static_encoder = PairEncoder(config)
        inputs = SIDE * SIDE * widths[-1] + self.static_size
        self.dynamic_dense = mlp(inputs, hidden, 2 * self.dynamic_size, 2, "relu")
        self.prior_dense = None
        if config.prior_given_static:
            self.prior_dense = mlp(self.static_size, hidden, 2 * self.dynamic_size, 2, "relu")
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
            draw_he_weights(self.static_encoder if config.normalise else self)
        for dense in (self.static_encoder.dense, self.dynamic_dense):
            last_bias = list(dense.parameters())[-1]
            last_bias.chunk(2)[1].add_(config.initial_log_variance)
        # p(d | s) begins as N(0, I), the same for every s.
        for parameter in self.prior_dense[-1].parameters() if self.prior_dense else ():
            nn.init.zeros_(parameter)

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """Standard normal numbers of the shape of the codes."""
        static = self.normal(generator, count, self.static_size)
        dynamic = self.normal(generator, count, length, self.dynamic_size)
        return {"static": static, "dynamic": dynamic}

    def features(self, frames: Tensor) -> Tensor:
        """The features of each frame, (B, T, channels, 4, 4)."""
        return self.trunk(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def prior(self, static: Tensor) -> DiagonalGaussian:
        """p(d | s), (B, 1, d), the same for all frames, of s (B, D)."""
        if self.prior_dense is None:
            return standard_normal_like(static.new_empty(len(static), 1, self.dynamic_size))
        return DiagonalGaussian.from_outputs(self.prior_dense(static[:, None]))

    def dynamic_posterior(self, features: Tensor, static: Tensor) -> DiagonalGaussian:
        """q(d_i | s, x_i), (B, T, d), of features (B, T, ...) and s (B, D).

        That it reads s is our reading of the paper; the true posterior depends on both.
        """
        s = static[:, None].expand(-1, features.shape[1], -1)
        inputs = torch.cat([features.flatten(2), s], -1)  # (B, T, ...)
        return DiagonalGaussian.from_outputs(self.dynamic_dense(inputs))

    def posterior(
        self, frames: Tensor, noise: NoiseSource = None
    ) -> tuple[DiagonalGaussian, DiagonalGaussian, Codes]:
        """q(s | x), q(d_i | s, x_i), and their codes: a draw, or without noise the means."""
        noise = {} if noise is None else self.as_noise(noise, *frames.shape[:2])
        features = self.features(frames)
        static = self.static_encoder(features)  # q(s | x_1 ... x_T), by pairs of frames
        s = static.draw(noise.get("static"))  # (B, D)
        dynamic = self.dynamic_posterior(features, s)  # q(d_i | s, x_i)
        d = dynamic.draw(noise.get("dynamic"))  # (B, T, d)
        return static, dynamic, {"static": s, "dynamic": d}

    def logits(self, static: Tensor, dynamic: Tensor) -> Tensor:
        """Logits (B, T, C, H, W) of the frames of s (B, D) and d (B, T, d)."""
        s = static[:, None].expand(-1, dynamic.shape[1], -1)
        logits = self.decoder(s.flatten(0, 1), dynamic.flatten(0, 1))
        return logits.unflatten(0, dynamic.shape[:2])

    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats, by one draw of s and of each d_i.

        sum_i E log p(x_i | s, d_i) - sum_i KL(q(d_i | s, x_i) || p(d_i | s)) - KL(q(s | x) || p(s))

        The likelihood is Bernoulli for each value; between 0 and 1 it is minus the cross-entropy.
        """
        frames = self.whole_frames(batch)
        noise = self.as_noise(noise, *frames.shape[:2])
        static, dynamic, codes = self.posterior(frames, noise)
        # sum_i log p(x_i | s, d_i), Bernoulli for each value
        log_likelihood = bernoulli_log_likelihood(frames, self.logits(**codes)).sum(1)
        divergences = {  # KL(q(s | x) || N(0, I)), and sum_i KL(q(d_i | s, x_i) || p(d_i | s))
            "static": kl(static, standard_normal_like(static.mean)),
            "dynamic": kl(dynamic, self.prior(codes["static"])).sum(1),
        }
        return Bound(log_likelihood, divergences, frames.shape[1])

    def encode(self, batch: BatchLike, noise: NoiseSource = None) -> Codes:
        return self.posterior(self.whole_frames(batch), noise)[2]

    def decode(self, codes: Codes) -> Tensor:
        """Means (B, T, C, H, W) of p(x | s, d), in [0, 1]."""
        self.check_codes(codes)
        return torch.sigmoid(self.logits(**codes))

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of new sequences: s from N(0, I), with given d too, then each d from p(d | s)."""
        given = self.check_given(given, count, length)
        noise = self.as_noise(noise, count, length)
        static = given.get("static", noise["static"])  # s from p(s) = N(0, I)
        # each d_i from p(d_i | s)
        dynamic = given.get("dynamic", self.prior(static).draw(noise["dynamic"]))
        return {"static": static, "dynamic": dynamic}
