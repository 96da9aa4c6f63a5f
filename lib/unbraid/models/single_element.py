"""Paper C: Berman et al. (2024), arXiv 2406.18131.

Sequential Disentanglement by Extracting Static Information From A Single Sequence Element.

    p(x, s, d) = p(s) prod_t p(d_t | d_<t) p(x_t | s, d_t)            s ~ N(0, I)
    q(s, d | x) = q(s | x_a) prod_t q(d_t | x)                        a: the anchor, one element

The static code reads one element alone, the anchor. The dynamic code reads every element's features
minus the anchor's features. As in the authors' code, the anchor's own, which would then be zero,
are replaced by N(0, I) noise, each d_t depends on the whole sequence, and the KL counts all t. The
paper's formulas differ, see the last box of notebook 31.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from .. import networks
from ..checks import check_field, check_name, refuse
from ..distributions import DiagonalGaussian, gaussian_log_likelihood, kl, standard_normal_like
from .base import Batch, BatchLike, Bound, Codes, Noise, NoiseSource, SequenceModel
from .elements import (
    CODECS,
    Codec,
    DynamicEncoder,
    Posterior,
    SingleElementConfig,
    find_observed,
    over_elements,
    take_element,
)


class SingleElement(SequenceModel):
    """A static code of one element, dynamic codes of the rest: static (B, D), dynamic (B, T, d).

    T counts elements: frames, or windows of a series. The bound's further term is "anchor",
    log p(x_a | s, d_a).

    Values that were not observed do not count. An element without any observed value is no anchor,
    and the dynamic LSTM reads 0 in its place. After the last observed element dynamic codes are 0.
    """

    config_class = SingleElementConfig
    config: SingleElementConfig
    code_names = ("static", "dynamic")
    codecs = CODECS  # by the kind of the data
    codec: Codec

    def read_static(self, features: Tensor, anchor: Tensor, observed: Tensor) -> Tensor:
        """The first idea: of all features (B, T, g) the static code reads the anchor's, (B, g)."""
        return take_element(features, anchor)

    def subtract_anchor(self, features: Tensor, anchor: Tensor) -> Tensor:
        """The second idea, (8) of a first version: features (B, T, g) minus the anchor's."""
        return features - take_element(features, anchor)[:, None]

    def __init__(self, config: SingleElementConfig | None = None, **values: Any):
        super().__init__(config, **values)
        config = self.config
        self.static_size, self.dynamic_size = config.static_size, config.dynamic_size
        self.code_sizes = {"static": config.static_size, "dynamic": config.dynamic_size}
        self.variance = config.variance
        check_name("kind", config.kind, self.codecs)
        self.codec = self.codecs[config.kind](config)
        self.build_posteriors()
        self.frame_shape = self.codec.frame_shape
        self.prior = networks.AutoregressivePrior(self.dynamic_size, config.hidden)
        if config.initial_weights == "small":
            draw = partial(nn.init.normal_, std=0.01)
            networks.draw_weights(self, (nn.Conv2d, nn.Linear), draw)
        # Last, as initialising weights again would undo it.
        self.dynamic_encoder.head.add_start(config.initial_log_variance, config.initial_gain)

    def build_posteriors(self) -> None:
        """Make what reads the features: the static head and the dynamic LSTM."""
        features, hidden = self.config.features, self.config.hidden
        dense, head = nn.Linear(features, hidden), networks.GaussianHead(hidden, self.static_size)
        self.static_head = nn.Sequential(dense, nn.Tanh(), head)
        self.dynamic_encoder = DynamicEncoder(self.config)

    def draw_noise(self, count: int, length: int, generator: Generator | None = None) -> Noise:
        """Both codes' noise; "anchor" (count, g) replaces the anchor, "lot" (count,) chooses it."""
        static = self.normal(generator, count, self.static_size)
        dynamic = self.normal(generator, count, length, self.dynamic_size)
        anchor = self.normal(generator, count, self.dynamic_encoder.recurrent.input_size)
        lot = torch.empty_like(anchor[:, 0]).uniform_(generator=generator)
        return {"static": static, "dynamic": dynamic, "anchor": anchor, "lot": lot}

    def fixed_noise(self, *shape: int) -> Tensor:
        """Always the same standard normal numbers, for what shall not be random."""
        return torch.randn(shape, generator=Generator().manual_seed(0)).to(next(self.parameters()))

    def features(
        self, elements: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The features of each element, (B, T, g), computed in one call."""
        return over_elements(self.codec.encoder, elements, mask)

    def choose_anchor(self, observed: Tensor, lot: Tensor | None = None) -> Tensor:
        """The number of each sequence's anchor, (B,); observed (B, T), lot (B,) from 0 to 1."""
        count = observed.sum(1)
        # Its rank among the observed elements.
        rank = {"middle": count // 2, "last": count - 1}.get(self.config.anchor, 0 * count)
        if self.config.anchor == "any" and self.training and lot is not None:
            rank = (lot * count).long().clamp(max=count - 1)
        # As many elements come before the one of this rank as its index says.
        return (observed.cumsum(1) <= rank[:, None]).sum(1)

    def dynamic_posterior(
        self,
        features: Tensor,
        anchor: Tensor,
        anchor_noise: Tensor,
        observed: Tensor,
        lengths: Tensor | None = None,
    ) -> DiagonalGaussian:
        """q(d_t | x), (B, T, d), of features (B, T, g) and what was observed, (B, T).

        anchor: its number in each sequence, (B,). anchor_noise: (B, g), which is read in its place,
        where the difference is zero. lengths: (B,), None for whole sequences.
        """
        inputs = self.subtract_anchor(features, anchor)
        is_anchor = F.one_hot(anchor, features.shape[1]).bool()[..., None]  # (B, T, 1)
        inputs = torch.where(is_anchor, anchor_noise[:, None].to(features.dtype), inputs)
        return self.dynamic_encoder(inputs * observed[..., None], lengths)

    def posterior(
        self, elements: Tensor, mask: Tensor | None = None, noise: NoiseSource = None
    ) -> Posterior:
        """The posterior of elements (B, T, ...) and its codes: a draw, or without noise the means.

        mask: booleans that broadcast to the elements. Without noise the LSTM reads one fixed draw
        in the anchor's place, so means are deterministic here; the authors' are random.
        """
        noise = {} if noise is None else self.as_noise(noise, *elements.shape[:2])
        observed, lengths = find_observed(elements, mask)
        anchor = self.choose_anchor(observed, noise.get("lot"))

        features = self.features(elements, lengths, mask)  # (B, T, g)
        anchor_noise = noise.get("anchor")
        if anchor_noise is None:
            anchor_noise = self.fixed_noise(features.shape[2]).expand(len(features), -1)
        static = self.static_head(self.read_static(features, anchor, observed))  # q(s | x_a)
        # q(d_t | x) for all t: the LSTM reads features minus the anchor's, in both directions.
        dynamic = self.dynamic_posterior(features, anchor, anchor_noise, observed, lengths)

        has_code = observed.flip(1).cumsum(1).flip(1) > 0  # up to the last observed element
        d = dynamic.draw(noise.get("dynamic")).masked_fill(~has_code[..., None], 0.0)
        codes = {"static": static.draw(noise.get("static")), "dynamic": d}
        return Posterior(static, dynamic, codes, anchor, has_code)

    def elbo(self, batch: BatchLike, noise: NoiseSource = None) -> Bound:
        """The bound of each sequence in nats, by one draw of each code.

        sum_t E log p(x_t | s, d_t) - sum_t KL(q(d_t | x) || p(d_t | d_<t)) - KL(q(s | x_a) || p(s))
        """
        elements, mask = self.check_batch(batch)
        noise = self.as_noise(noise, *elements.shape[:2])
        posterior = self.posterior(elements, mask, noise)
        means = self.decode_elements(**posterior.codes, mask=mask)
        by_element = self.log_likelihood(elements, means, mask)  # log p(x_t | s, d_t), (B, T)
        terms = self.further_terms(elements, mask, posterior, by_element)
        length = elements.shape[1] * self.codec.window
        return Bound(by_element.sum(1), self.divergences(posterior), length, terms)

    def log_likelihood(self, elements: Tensor, means: Tensor, mask: Tensor | None) -> Tensor:
        """Log N(elements; means, v) of what was observed of each element in nats, (B, T)."""
        dimensions = elements.ndim - 2
        return gaussian_log_likelihood(elements, means, self.variance, mask, dimensions)

    def divergences(self, posterior: Posterior) -> dict[str, Tensor]:
        """Those of both posteriors from their priors, (B,) each, in nats."""
        # KL(q(d_t | x) || p(d_t | d_<t)) for all t, (B, T); the prior reads the draws before t.
        by_step = kl(posterior.dynamic, self.prior(posterior.codes["dynamic"]))
        return {
            # KL(q(s | x_a) || N(0, I))
            "static": kl(posterior.static, standard_normal_like(posterior.static.mean)),
            "dynamic": (by_step * posterior.has_code).sum(1),
        }

    def further_terms(
        self, elements: Tensor, mask: Tensor | None, posterior: Posterior, by_element: Tensor
    ) -> dict[str, Tensor]:
        """The terms, (B,) each, that the authors' objectives contain and the bound does not."""
        return {"anchor": take_element(by_element, posterior.anchor)}  # log p(x_a | s, d_a)

    def encode(self, batch: BatchLike, noise: NoiseSource = None) -> Codes:
        elements, mask = self.check_batch(batch)
        return self.posterior(elements, mask, noise).codes

    def decode(self, codes: Codes) -> Tensor:
        """Means of p(x | s, d): frames (B, T, C, H, W), or series (B, T window, C)."""
        self.check_codes(codes)
        return self.codec.join(self.decode_elements(**codes))

    def decode_elements(
        self, static: Tensor, dynamic: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Mean elements (B, T, ...) of s (B, D) and d (B, T, d)."""
        s = static[:, None].expand(-1, dynamic.shape[1], -1)
        inputs = torch.cat([dynamic, s], -1)
        return over_elements(self.codec.decoder, inputs, mask)

    def generate(
        self, count: int, length: int, noise: NoiseSource = None, given: Codes | None = None
    ) -> Codes:
        """Codes of sequences of `length` elements: s from N(0, I), d from its prior."""
        given = self.check_given(given, count, length)
        noise = self.as_noise(noise, count, length)
        # s from p(s) = N(0, I); d_1, then each d_t from p(d_t | d_<t)
        return {"static": noise["static"], "dynamic": self.prior.roll(noise["dynamic"])} | given

    def check_batch(self, batch: BatchLike) -> tuple[Tensor, Tensor | None]:
        """Elements (B, T, ...), 0 where not observed, and their mask if it hides anything."""
        batch = Batch.of(batch)
        self.check_frames(batch.frames)
        window, steps = self.codec.window, batch.frames.shape[1]
        if steps % window:
            refuse("frames", f"windows of {window} steps", f"{steps}; cut, or pad and mask them")
        # The types differ only where a trainer in mixed precision has rounded the frames.
        frames, mask = batch.frames.to(self.prior.head.mean.weight.dtype), batch.mask
        if mask is None or mask.all():
            return self.codec.split(frames), None
        is_seen = mask.flatten(1).any(1).all()
        check_field(is_seen, "mask", "an observed value in every sequence", "a sequence without")
        mask = mask[(..., *[None] * (frames.ndim - mask.ndim))]
        return self.codec.split(frames * mask), self.codec.split(mask)
