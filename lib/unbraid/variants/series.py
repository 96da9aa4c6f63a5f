"""The networks of series that paper C's authors published: Berman et al. (2024), arXiv 2406.18131.

Written from time_series/ of github.com/azencot-group/DBSE at commit ac0c5f6, which differs from the
paper's formulas and from `SingleElement`:

- a dense network reads each step alone; a GRU over the anchor's window gives s, and an LSTM inside
  each window gives its d_t, which depends on no other window;
- nothing is subtracted: their code computes the difference and then reads the plain features;
- the LSTM of the decoder starts at a function of s and d_t, reads noise, and gives the mean and the
  standard deviation of each value;
- the series is turned so that its anchor comes first.
"""

import copy
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator, Tensor, nn
from torch.distributions import Normal

from ..distributions import DiagonalGaussian
from ..models.base import Batch, Bound, Codes, Noise, NoiseSource
from ..models.elements import Codec, Posterior, SingleElementConfig
from ..models.single_element import SingleElement
from ..networks import GaussianHead, mlp

LARGEST_DEVIATION = 0.5  # of a decoded value
MISSING_SHARE = 0.7  # of its variables, from which the dynamic encoder does not read a step


@dataclass(frozen=True)
class PublishedSeriesConfig(SingleElementConfig):
    """The sizes of `PublishedSeries`; the defaults are those of the authors' run of air quality.

    width: units of the middle layers of the dense networks. features: of a step, and units of the
    recurrent networks. hidden: of the prior.
    monte_carlo_draws: how often each sequence stands in a training batch, with draws of its own.
    turn_mask: whether the mask is turned with the series. False is a slip of the authors' loader,
        by which hours count as missing that are not.
    """

    kind: str = "series"
    channels: int = 10
    window: int = 24
    features: int = 32
    static_size: int = 8
    dynamic_size: int = 8
    dynamic_hidden: int = 32  # is not read: the LSTM inside a window has `features` units
    anchor: str = "last"
    variance: float = 0.25
    initial_weights: str = "default"
    monte_carlo_draws: int = 15
    turn_mask: bool = False


class StepCodec(Codec):
    """Encoder (to g features of each step) and decoder of windows, step by step."""

    is_series = True

    def __init__(self, config: PublishedSeriesConfig):
        super().__init__()
        channels, width, features = config.channels, config.width, config.features
        code_size = config.static_size + config.dynamic_size
        self.window = config.window
        self.frame_shape = (channels,)
        first = nn.Linear(channels, features)
        rest = mlp(features, width, features, 1, "relu")
        self.encoder = nn.Sequential(first, nn.ReLU(), rest, nn.ReLU())
        self.start = nn.Sequential(nn.Linear(code_size, features), nn.Tanh())
        self.recurrent = nn.LSTM(features, features, batch_first=True)
        self.dense = mlp(features, width, features, 1, "relu")
        self.mean = nn.Linear(features, channels)
        self.deviation = nn.Linear(features, channels)

    def decode(self, static: Tensor, dynamic: Tensor, noise: Tensor) -> Normal:
        """What values (B, W, steps, C) s (B, D), d (B, W, d) and noise (B, W, steps, g) give."""
        static = static[:, None].expand(-1, dynamic.shape[1], -1)
        start = self.start(torch.cat([dynamic, static], -1)).flatten(0, 1)[None]  # (1, B W, g)
        hidden, _ = self.recurrent(noise.flatten(0, 1), (start, start))
        hidden = self.dense(hidden).unflatten(0, dynamic.shape[:2])  # (B, W, steps, g)
        deviation = LARGEST_DEVIATION * torch.sigmoid(self.deviation(hidden))
        # A deviation that underflows is found by the training loop, which says at which update.
        return Normal(self.mean(hidden), deviation, validate_args=False)


class WindowEncoder(nn.Module):
    """q(d_t | x) of the features of one window: the last output of an LSTM inside it."""

    def __init__(self, config: PublishedSeriesConfig):
        super().__init__()
        self.recurrent = nn.LSTM(config.features, config.features, batch_first=True)
        self.head = GaussianHead(config.features, config.dynamic_size)

    def forward(self, features: Tensor) -> DiagonalGaussian:
        outputs, _ = self.recurrent(features.flatten(0, 1))
        return self.head(outputs[:, -1].unflatten(0, features.shape[:2]))


def find_anchor(model: SingleElement, length: int) -> int:
    """The number of a model's anchor among `length` elements that were all observed."""
    return int(model.choose_anchor(torch.ones(1, length, dtype=torch.bool)))


class PublishedSeries(SingleElement):
    """Paper C's model of series as its authors run it: static (B, D), dynamic (B, W, d).

    W counts windows. The bound's further terms are "mean_log_likelihood", its log-likelihood
    divided by T C, and "anchor": a second decoding of the anchor's first step, log p(x_a1 | s,
    d_a), as a mean over C, in which missing values count as observed zeros. With the authors'
    weights the loss is theirs divided by T. As in their code windows after the end of a series have
    codes, too, and the dynamic encoder reads 0 for a step most of whose variables are missing.
    """

    config_class = PublishedSeriesConfig
    config: PublishedSeriesConfig
    codecs = {"series": StepCodec}
    codec: StepCodec

    def build_posteriors(self) -> None:
        features = self.config.features
        self.anchor_recurrent = nn.GRU(features, features, batch_first=True)
        self.static_head = nn.Sequential(
            nn.Linear(features, features), nn.Tanh(), GaussianHead(features, self.static_size)
        )
        self.dynamic_encoder = WindowEncoder(self.config)  # type: ignore[assignment]

    def with_anchor(self, anchor: str) -> Self:
        """A model that shares the weights and has another anchor."""
        model = copy.copy(self)
        model.config = replace(self.config, anchor=anchor)
        return model

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        noise = super().draw_noise(count, length, generator)
        size = noise["anchor"].shape[1]
        noise["decoder"] = self.normal(generator, count, length, self.codec.window, size)
        return noise | {"anchor_decoder": self.normal(generator, count, 1, 1, size)}

    def check_batch(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Windows (B, W, window, C), the anchor's first, and their mask if it hides anything."""
        windows, mask = super().check_batch(batch)
        turn = find_anchor(self, windows.shape[1])
        if mask is not None:
            mask = mask.expand_as(windows)
            mask = mask.roll(-turn, 1) if self.config.turn_mask else mask
        return windows.roll(-turn, 1), mask

    def posterior(
        self, elements: Tensor, mask: Tensor | None = None, noise: NoiseSource = None
    ) -> Posterior:
        """As the base class's, of windows (B, W, window, C), the anchor's first."""
        count, length, window = elements.shape[:3]
        if isinstance(noise, Generator):
            noise = super().draw_noise(count, length, noise)  # none for the decoder
        noise = noise or {}
        features = self.codec.encoder(elements)  # (B, W, window, g)
        static = self.static_head(self.anchor_recurrent(features[:, 0])[1][0])

        # Of the anchor d_t reads noise, the same at each step of the window.
        anchor_noise = noise.get("anchor", self.fixed_noise(features.shape[3]).expand(count, -1))
        repeated = anchor_noise[:, None, None].expand(-1, 1, window, -1)  # (B, 1, window, g)
        features = torch.cat([repeated, features[:, 1:]], 1)
        if mask is not None:
            missing = mask.logical_not().sum(3, keepdim=True)  # (B, W, window, 1)
            features = features * (missing < int(MISSING_SHARE * mask.shape[3]))
        both = {"static": static, "dynamic": self.dynamic_encoder(features)}
        codes = {name: each.draw(noise.get(name)) for name, each in both.items()}
        has_code = torch.ones(count, length, dtype=torch.bool, device=elements.device)
        return Posterior(**both, codes=codes, anchor=0 * has_code[:, 0].long(), has_code=has_code)

    def elbo(self, batch: Batch, noise: NoiseSource = None) -> Bound:
        """The bound; in training of monte_carlo_draws times as many sequences as the batch.

        Their noise is that of all first draws before that of all second ones.
        """
        elements, mask = self.check_batch(batch)
        draws = self.config.monte_carlo_draws if self.training else 1
        elements = elements.repeat(draws, 1, 1, 1)
        mask = None if mask is None else mask.repeat(draws, 1, 1, 1)
        noise = self.as_noise(noise, *elements.shape[:2])
        posterior = self.posterior(elements, mask, noise)
        static, dynamic = posterior.codes["static"], posterior.codes["dynamic"]
        by_value = self.codec.decode(static, dynamic, noise["decoder"]).log_prob(elements)
        if mask is not None:
            by_value = by_value * mask
        log_likelihood = by_value.flatten(1).sum(1)
        first_step = self.codec.decode(static, dynamic[:, :1], noise["anchor_decoder"])
        terms = {
            "anchor": first_step.log_prob(elements[:, :1, :1]).flatten(1).mean(1),
            "mean_log_likelihood": log_likelihood / elements[0].numel(),
        }
        length = elements.shape[1] * self.codec.window
        return Bound(log_likelihood, self.divergences(posterior), length, terms)

    def encode(self, batch: Batch, noise: NoiseSource = None) -> Codes:
        """Codes s (B, D) and d (B, W, d) of q(s, d | x), windows in order: means, or a draw."""
        return self.turn_back(super().encode(batch, noise))

    def turn_back(self, codes: Codes) -> Codes:
        """The same codes, in the order of the windows and not the anchor first."""
        dynamic = codes["dynamic"]
        return codes | {"dynamic": dynamic.roll(find_anchor(self, dynamic.shape[1]), 1)}

    def decode_elements(
        self, static: Tensor, dynamic: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Mean windows (B, W, window, C) of s (B, D) and d (B, W, d), for one fixed noise."""
        noise = self.fixed_noise(self.codec.window, self.codec.recurrent.input_size)
        noise = noise.expand(*dynamic.shape[:2], -1, -1)
        return self.codec.decode(static, dynamic, noise).mean

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes s (B, D) from N(0, I), d (B, W, d) from its prior, which begins at the anchor."""
        codes = super().generate(count, length, noise)
        return self.turn_back(codes) | self.check_given(given, count, length)
