"""Paper B: Helminger et al. (2018), Disentangled Dynamic Representations from Unordered Data, arXiv 1812.03962.

    p(x, z, f) = p(f) prod_i p(z_i | f) p(x_i | f, z_i)          f ~ N(0, I)
    q(z, f | x) = q(f | x_1 ... x_N) prod_i q(z_i | f, x_i)

The frames of a sequence have no order: given f, their z_i are drawn from one and the same p(z | f). What pairs of frames
have in common tells f, and what is left to say of a single frame has to go through a z_i of two units.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unbraid.distributions import (
    DiagonalGaussian,
    bernoulli_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.interface import Bound, Codes, SequenceModel
from unbraid.networks import keep_variance, mlp

SIDE = 4  # of the smallest feature map, in pixels
CONTRAST = 3.0  # what a colour of the palette is multiplied by: a logit of 3 is a value of .95, and colours differ from the first update on


class UnorderedFrames(SequenceModel):
    """A static code for all frames of a sequence, a dynamic one for each. Codes static (B, D) and dynamic (B, T, d).

    Any number of frames, in any order. A lone frame is paired with itself.

    image_size, channels: frames are (channels, image_size, image_size).
    widths: channels of the trunk's convolutions, each of which halves the image, down to 4 x 4; the decoder goes back through
        them. For 64 pixels four, for 32 three.
    pair_width: channels of the pair convolution and of the static convolution after it.
    hidden: units of each hidden dense layer.
    static_size, dynamic_size: D of f and d of z.
    normalise: batch normalisation in trunk, static convolution and decoder. The paper lists none.
    trunk_slope: of the trunk's leaky ReLUs below 0. The paper names no slope; 0.01 is the custom.
    multiplied: the decoder's first map has a product as well, of one dense map of f and one of z, and f is added to each later map,
        the same to all its pixels: what colour, and where, meet in every layer. The paper says nothing of either.
    palette: K colours that f mixes, and among which the decoder shares each pixel out: CONTRAST sum_k softmax_k(m) c_k(f) is added to
        the logits. 0: none, as in the paper.
    initial_log_variance: of both posteriors, added to what their last layers begin with. Far below 0 the codes say something from
        the first update on, so that the decoder learns to listen; at 0 it learns to ignore them first.
    pairs: False compares each frame with itself alone, by the same layers: the mean over frames, the paper's idea left out.
    prior_given_static: False makes the prior of z N(0, I) instead of p(z | f).
    posterior_given_static: False makes the posterior q(z | x) instead of q(z | f, x); the paper's table leaves this open.

    The paper's table does not say how pairs are aggregated (here: the mean over i != j, which no order changes, and which is for
    any number of frames drawn from a set the same in expectation) nor how (f, z) becomes the decoder's first 4 x 4 map (here:
    one dense layer and leaky ReLU).
    """

    code_names = ("static", "dynamic")

    def __init__(
        self,
        image_size=64,
        channels=3,
        widths=(256, 256, 256, 256),
        pair_width=512,
        hidden=512,
        static_size=512,
        dynamic_size=2,
        normalise=False,
        trunk_slope=0.01,
        multiplied=False,
        palette=0,
        initial_log_variance=0.0,
        pairs=True,
        prior_given_static=True,
        posterior_given_static=True,
    ):
        super().__init__()
        if not widths or image_size != SIDE * 2 ** len(widths):
            raise ValueError(
                f"widths: expected one for each halving of {image_size} pixels down to {SIDE}, found {len(widths)}: {widths}"
            )
        cells = SIDE * SIDE
        stages = [
            stage
            for sizes in pairwise((channels, *widths))
            for stage in convolution(*sizes, normalise, slope=trunk_slope)
        ]
        self.trunk = nn.Sequential(*stages)
        self.pair_convolution = nn.Conv2d(2 * widths[-1], pair_width, 3, padding=1)
        self.static_convolution = nn.Conv2d(pair_width, pair_width, 3, padding=1)
        self.static_norm = nn.BatchNorm2d(pair_width) if normalise else nn.Identity()
        self.static_dense = mlp(cells * pair_width, hidden, 2 * static_size, 1, "relu")
        told = static_size if posterior_given_static else 0
        self.dynamic_dense = mlp(cells * widths[-1] + told, hidden, 2 * dynamic_size, 2, "relu")
        self.prior_dense = (
            mlp(static_size, hidden, 2 * dynamic_size, 2, "relu") if prior_given_static else None
        )
        self.start = nn.Sequential(
            nn.Linear(static_size + dynamic_size, cells * widths[-1]),
            nn.LeakyReLU(),
            nn.Unflatten(1, (widths[-1], SIDE, SIDE)),
        )
        stages = [
            stage
            for sizes in pairwise(widths[::-1])
            for stage in convolution(*sizes, normalise, nn.ConvTranspose2d)
        ]
        self.deconvolutions = nn.Sequential(
            *stages, nn.ConvTranspose2d(widths[0], channels + palette, 4, 2, 1)
        )
        product = (
            [nn.Linear(size, cells * widths[-1]) for size in (static_size, dynamic_size)]
            if multiplied
            else []
        )
        self.product = nn.ModuleList(product)
        self.painted = nn.ModuleList(
            nn.Linear(static_size, width, bias=False) for width in widths[-2::-1] if multiplied
        )
        self.palette = nn.ModuleList(
            [nn.Linear(static_size, channels * palette)] if palette else []
        )
        for part in (self.pair_convolution, self.static_convolution) if normalise else (self,):
            keep_variance(part)  # what batch normalisation does where there is one
        for dense in (self.static_dense, self.dynamic_dense):
            dense[-1].bias.data.chunk(2)[1].add_(initial_log_variance)
        if self.prior_dense is not None:
            for parameter in (
                self.prior_dense[-1].parameters()
            ):  # p(z | f) begins as N(0, I), the same for every f, and departs where it pays
                nn.init.zeros_(parameter)
        self.static_size, self.dynamic_size = static_size, dynamic_size
        self.pairs, self.posterior_given_static = pairs, posterior_given_static
        self.frame_shape = (channels, image_size, image_size)

    @classmethod
    def from_settings(cls, settings) -> UnorderedFrames:
        """The model that a section of profiles.toml describes."""
        names = (
            "image_size",
            "channels",
            "widths",
            "pair_width",
            "hidden",
            "static_size",
            "dynamic_size",
            "normalise",
            "trunk_slope",
            "multiplied",
            "initial_log_variance",
            "pairs",
            "prior_given_static",
            "posterior_given_static",
        )
        palette = getattr(
            settings, "palette", 0
        )  # of characters alone; the sections of digits and of grey faces name none
        return cls(**{name: getattr(settings, name) for name in names}, palette=palette)

    def features(self, frames: Tensor) -> Tensor:
        """What the trunk makes of each frame: (B, T, C, H, W) to (B, T, widths[-1], 4, 4), all in one call."""
        return self.trunk(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])

    def compare(self, features: Tensor) -> Tensor:
        """Mean over pairs of ReLU(W * [x_i, x_j] + b), the pair convolution's: (B, T, widths[-1], 4, 4) to (B, pair_width, 4, 4).

        Pairs are all ordered ones of two different frames. The convolution of two maps laid one on the other is the sum of two
        convolutions, W_1 * x_i + W_2 * x_j, so one call does T frames instead of T (T - 1) pairs.
        """
        length, layer = features.shape[1], self.pair_convolution
        both = torch.cat(
            layer.weight.chunk(2, 1)
        )  # W_1 above W_2, (2 pair_width, widths[-1], 3, 3)
        first, second = (
            F.conv2d(features.flatten(0, 1), both, padding=1)
            .unflatten(0, features.shape[:2])
            .chunk(2, 2)
        )
        shifts = range(1, length) if self.pairs and length > 1 else (0,)
        return mean_over_pairs(first + layer.bias[:, None, None], second, shifts).to(features.dtype)

    def static_posterior(self, features: Tensor) -> DiagonalGaussian:
        """q(f | x_1 ... x_T), (B, D), of features (B, T, ...)."""
        hidden = F.relu(self.static_norm(self.static_convolution(self.compare(features))))
        return gaussian(self.static_dense(hidden.flatten(1)))

    def dynamic_posterior(self, features: Tensor, static: Tensor) -> DiagonalGaussian:
        """q(z_i | f, x_i) of each frame, (B, T, d), of features (B, T, ...) and f (B, D); q(z_i | x_i) where the model is built so."""
        inputs = [features.flatten(2)]
        if self.posterior_given_static:
            inputs.append(static[:, None].expand(-1, features.shape[1], -1))
        return gaussian(self.dynamic_dense(torch.cat(inputs, -1)))

    def prior(self, static: Tensor) -> DiagonalGaussian:
        """p(z | f), (B, 1, d), one for all frames, of f (B, D); N(0, I) where the model is built so."""
        if self.prior_dense is None:
            return standard_normal_like(static.new_empty(len(static), 1, self.dynamic_size))
        return gaussian(self.prior_dense(static[:, None]))

    def logits(self, static: Tensor, dynamic: Tensor) -> Tensor:
        """Logits (B, T, C, H, W) of the frames of f (B, D) and z (B, T, d)."""
        whose, which = (
            static[:, None].expand(-1, dynamic.shape[1], -1).flatten(0, 1),
            dynamic.flatten(0, 1),
        )
        first = self.start[0](torch.cat([whose, which], -1))
        if self.product:
            first = first + self.product[0](whose) * self.product[1](which)
        maps, colours = self.start[1:](first), iter(self.painted)
        for stage in self.deconvolutions:
            maps = stage(maps)
            if (
                isinstance(stage, nn.ConvTranspose2d)
                and (colour := next(colours, None)) is not None
            ):
                maps = maps + colour(whose)[:, :, None, None]
        if self.palette:
            channels = self.frame_shape[0]
            mixed, shares = (
                self.palette[0](whose).unflatten(1, (channels, -1)),
                maps[:, channels:].softmax(1),
            )
            maps = maps[:, :channels] + CONTRAST * torch.einsum("nck,nkhw->nchw", mixed, shares)
        return maps.unflatten(0, dynamic.shape[:2])

    def noise(self, count: int, length: int, generator: torch.Generator | None = None) -> Codes:
        """Standard normal numbers behind a draw of the codes: static (count, D), then dynamic (count, length, d)."""
        weight = self.pair_convolution.weight
        shapes = {
            "static": (count, self.static_size),
            "dynamic": (count, length, self.dynamic_size),
        }
        return {
            name: torch.randn(shape, generator=generator, device=weight.device, dtype=weight.dtype)
            for name, shape in shapes.items()
        }

    def encode(
        self, frames: Tensor, noise: Codes | None
    ) -> tuple[DiagonalGaussian, DiagonalGaussian, Codes]:
        """q(f | x), q(z_i | f, x_i) and the codes: mean + standard deviation x noise, or with None the means."""
        features = self.features(frames)
        of_static = self.static_posterior(features)
        static = of_static.mean if noise is None else move(of_static, noise["static"])
        of_dynamic = self.dynamic_posterior(features, static)
        dynamic = of_dynamic.mean if noise is None else move(of_dynamic, noise["dynamic"])
        return of_static, of_dynamic, {"static": static, "dynamic": dynamic}

    def elbo(
        self, frames: Tensor, generator: torch.Generator | None = None, noise: Codes | None = None
    ) -> Bound:
        """sum_i E log p(x_i | f, z_i) - sum_i KL(q(z_i | f, x_i) || p(z_i | f)) - KL(q(f | x) || p(f)), per sequence in nats.

        One draw of f and of each z_i, from `generator`, or from `noise` where two bounds are to be compared at the same draws.
        The likelihood is the paper's, Bernoulli for each value; for values between 0 and 1, minus the cross-entropy, whose
        greatest value is not 0 but minus the entropy of the values themselves.
        """
        self.check_frames(frames)
        of_static, of_dynamic, codes = self.encode(
            frames, noise or self.noise(*frames.shape[:2], generator)
        )
        log_likelihood = bernoulli_log_likelihood(frames, self.logits(**codes)).sum(1)
        of_static_prior, of_dynamic_prior = (
            standard_normal_like(of_static.mean),
            self.prior(codes["static"]),
        )
        divergences = {
            "static": kl(of_static, of_static_prior),
            "dynamic": kl(of_dynamic, of_dynamic_prior).sum(1),
        }
        return Bound(log_likelihood, divergences, frames.shape[1])

    def infer(
        self, frames: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> Codes:
        """Static (B, D) and dynamic (B, T, d): the mean of q(f | x) and of q(z_i | that mean, x_i), or a draw of both."""
        self.check_frames(frames)
        return self.encode(frames, self.noise(*frames.shape[:2], generator) if sample else None)[2]

    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W), in (0, 1), of static (B, D) and dynamic (B, T, d)."""
        self.check_codes(codes)
        static, dynamic = codes["static"], codes["dynamic"]
        fits = (
            dynamic.ndim == 3
            and dynamic.shape[2] == self.dynamic_size
            and tuple(static.shape) == (len(dynamic), self.static_size)
        )
        if not fits:
            expected = f"static (B, {self.static_size}) and dynamic (B, T, {self.dynamic_size})"
            raise ValueError(
                f"codes: expected {expected}, found {tuple(static.shape)} and {tuple(dynamic.shape)}"
            )
        return torch.sigmoid(self.logits(static, dynamic))

    def generate(
        self,
        count: int,
        length: int,
        generator: torch.Generator | None = None,
        given: Codes | None = None,
    ) -> Codes:
        """Codes of `count` new sequences: f from N(0, I), then `length` times z from p(z | f).

        given: static, and z is drawn from p(z | this f); or dynamic, and f is drawn from N(0, I), not from p(f | z), which has
        no closed form: the same movements for new identities, as in the paper's grids.
        """
        given, noise = self.check_given(given, count, length), self.noise(count, length, generator)
        static = given.get("static", noise["static"])
        return {
            "static": static,
            "dynamic": given.get("dynamic", move(self.prior(static), noise["dynamic"])),
        }


def mean_over_pairs(first: Tensor, second: Tensor, shifts) -> Tensor:
    """Mean over the pairs (i, i + shift mod T) of ReLU(first_i + second_j): two (B, T, ...) to one (B, ...).

    ReLU(a + b) is a + b for some pairs and 0 for the others. So the sum over pairs is sum_i n_i first_i + sum_j m_j second_j,
    where n_i and m_j count the pairs of i and of j that are positive. The pairs are only counted, one shift at a time, and no
    (B, T, T, ...) is kept for the gradient, which is the counts themselves. Equal to the plain way, in value and gradient.
    """
    with torch.no_grad():
        threshold = -second
        of_first, of_second = (
            torch.zeros_like(half, dtype=torch.float32) for half in (first, second)
        )
        for shift in shifts:
            positive = first > threshold.roll(-shift, 1)
            of_first += positive
            of_second += positive.roll(shift, 1)
    return ((first * of_first).sum(1) + (second * of_second).sum(1)) / (
        first.shape[1] * len(shifts)
    )


def convolution(
    inputs: int,
    outputs: int,
    normalise: bool,
    kind: type[nn.Module] = nn.Conv2d,
    slope: float = 0.01,
) -> list[nn.Module]:
    """A 4 x 4 convolution of stride 2, or a transposed one, with leaky ReLU; (N, inputs, H, W) to half or twice H and W."""
    middle = [nn.BatchNorm2d(outputs)] if normalise else []
    return [kind(inputs, outputs, 4, 2, 1, bias=not normalise), *middle, nn.LeakyReLU(slope)]


def gaussian(outputs: Tensor) -> DiagonalGaussian:
    """A network's outputs (..., 2 d) as means and log-variances (..., d)."""
    return DiagonalGaussian(*outputs.chunk(2, -1))


def move(distribution: DiagonalGaussian, noise: Tensor) -> Tensor:
    """A reparameterised draw from noise that is there already: mean + standard deviation x noise."""
    return distribution.mean + distribution.standard_deviation * noise
