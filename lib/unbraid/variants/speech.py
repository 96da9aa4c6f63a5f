"""Paper C's models of speech: small networks of ours, and those that the authors published.

Berman et al. (2024), arXiv 2406.18131. `PublishedSpeech` is written from audio/ of
github.com/azencot-group/DBSE at commit ac0c5f6, which differs from `SingleElement` with dense
networks:

- a bidirectional LSTM, and no dense network, reads all spectra before the anchor is taken;
- the static head ends in leaky ReLUs, also that of the log-variance;
- the decoder is an LSTM over time, so that a decoded spectrum depends on all codes before it;
- padding is no gap in the data: it is silence, which is read, decoded and counted.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import check_field
from ..distributions import DiagonalGaussian
from ..models import elements, single_element
from ..models.base import Batch
from ..networks import GaussianHead, run_recurrent

SLOPE = 0.2  # of the static head's leaky ReLUs below 0


class SpeechElement(single_element.SingleElement):
    """`SingleElement` with two parts of the authors' model of speech.

    An LSTM in both directions runs over the features of all elements before the anchor is taken,
    and the bound has a further term "still", sum_t log p(x_t | s, d_t = 0).
    """

    def build_posteriors(self) -> None:
        """Make the LSTM, the static head and the dynamic LSTM."""
        features = self.config.features
        check_field(features % 2 == 0, "features", "an even number, a half each way", features)
        self.context = nn.LSTM(features, features // 2, batch_first=True, bidirectional=True)
        super().build_posteriors()

    def features(
        self, elements: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The features (B, T, g) of each element, after what is around it."""
        return run_recurrent(self.context, super().features(elements, lengths, mask), lengths)

    def further_terms(
        self,
        elements: Tensor,
        mask: Tensor | None,
        posterior: elements.Posterior,
        by_element: Tensor,
    ) -> dict[str, Tensor]:
        """The base class's, and log p(x_t | s, d_t = 0)."""
        terms = super().further_terms(elements, mask, posterior, by_element)
        codes = posterior.codes
        means = self.decode_elements(codes["static"], torch.zeros_like(codes["dynamic"]), mask)
        return terms | {"still": self.log_likelihood(elements, means, mask).sum(1)}


@dataclass(frozen=True)
class PublishedSpeechConfig(single_element.SingleElementConfig):
    """The sizes of `PublishedSpeech`; the defaults are those of the authors' run of TIMIT."""

    kind: str = "series"
    channels: int = 201  # frequency bins
    features: int = 201  # as many as bins
    hidden: int = 256  # units of the static head and of the prior
    static_size: int = 128
    dynamic_size: int = 128
    dynamic_hidden: int = 128


class LeakyHead(GaussianHead):
    """A Gaussian head whose mean and log-variance (..., size) go through leaky ReLUs."""

    def forward(self, features: Tensor) -> DiagonalGaussian:
        code = super().forward(features)
        ends = (F.leaky_relu(end, SLOPE) for end in (code.mean, code.log_variance))
        return DiagonalGaussian(*ends)


class SpectraCodec(elements.Codec):
    """Recurrent encoder (to g features) and decoder of chunks; an element is one spectrum."""

    is_series = True

    def __init__(self, config: PublishedSpeechConfig):
        super().__init__()
        bins, features = config.channels, config.features
        code_size = config.static_size + config.dynamic_size
        self.frame_shape = (bins,)
        self.recurrent = nn.LSTM(bins, features, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(2 * features, features)
        self.decoder_recurrent = nn.LSTM(code_size, features, batch_first=True)
        self.decoder_linear = nn.Linear(features, bins)

    def encoder(self, spectra: Tensor) -> Tensor:  # type: ignore[override]
        """The features (B, T, g) of spectra (B, T, bins)."""
        return self.linear(self.recurrent(spectra)[0])

    def decoder(self, codes: Tensor) -> Tensor:  # type: ignore[override]
        """The spectra (B, T, bins) of codes (B, T, d + D), read one after the other."""
        return self.decoder_linear(self.decoder_recurrent(codes)[0])


class PublishedSpeech(SpeechElement):
    """Paper C's model of speech as its authors run it: static (B, D), dynamic (B, T, d).

    At v = 1/2 and with the authors' weights the loss is theirs, divided by T, and a constant.
    """

    config_class = PublishedSpeechConfig
    config: PublishedSpeechConfig
    codecs = {"series": SpectraCodec}
    codec: SpectraCodec

    def build_posteriors(self) -> None:
        features, hidden = self.config.features, self.config.hidden
        self.static_head = nn.Sequential(
            nn.Linear(features, hidden), nn.Tanh(), LeakyHead(hidden, self.static_size)
        )
        self.dynamic_encoder = elements.DynamicEncoder(self.config)

    def check_batch(self, batch: Batch) -> tuple[Tensor, None]:
        return super().check_batch(batch)[0], None

    def features(self, elements: Tensor, *_: Tensor | None) -> Tensor:
        """The features (B, T, g) of elements (B, T, 1, bins), each of the whole chunk."""
        return self.codec.encoder(self.codec.join(elements))

    def decode_elements(
        self, static: Tensor, dynamic: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Mean elements (B, T, 1, bins) of s (B, D) and d (B, T, d)."""
        static = static[:, None].expand(-1, dynamic.shape[1], -1)
        return self.codec.split(self.codec.decoder(torch.cat([dynamic, static], -1)))
