"""Paper C: Berman et al. (2024), Sequential Disentanglement by Extracting Static Information From A Single Sequence Element.

    p(x, s, d) = p(s) prod_t p(d_t | d_<t) p(x_t | s, d_t)            s ~ N(0, I)
    q(s, d | x) = q(s | x_a) prod_t q(d_t | x)                        a: the anchor, one element of the sequence

The static code sees one element alone, the dynamic one what is left of all elements once that of the anchor is subtracted.
The paper's formulas and its authors' code differ; `variant` chooses:
    "code"     subtracts the encoder's features of the anchor; the anchor's own, then zero, give way to fresh N(0, I) noise, so
               that d_a is a draw like any other; d_t is told of the whole sequence; KL over all t.
    "formula"  subtracts the anchor's recurrent state; d_a = 0 and no draw; d_t is told of x_<=t (and by subtraction of x_a);
               KL over t other than a. q(d_t | d_<t, x_<=t) is read without d_<t, which x_<t tells but for its noise.
Both are true bounds: in "code" a bound of each noise, and so on average.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unbraid.distributions import LOG_TWO_PI, DiagonalGaussian, kl, standard_normal_like
from unbraid.models.interface import Bound, Codes, SequenceModel
from unbraid.networks import (
    AutoregressivePrior,
    GaussianHead,
    frame_decoder,
    frame_encoder,
    mlp,
    run,
)

ANCHORS, VARIANTS, KINDS = (
    ("first", "middle", "last", "any"),
    ("code", "formula"),
    ("images", "series"),
)


@dataclass
class Posterior:
    """q(s | x_a) (B, D), q(d_t | x) (B, T, d), the codes drawn, the anchor a (B,), and which d_t are drawn, (B, T) of 1 and 0."""

    static: DiagonalGaussian
    dynamic: DiagonalGaussian
    codes: Codes
    anchor: Tensor
    drawn: Tensor


class SingleElement(SequenceModel):
    """Static code of one element, dynamic codes of the rest. Codes static (B, D) and dynamic (B, T, d).

    kind: "images", frames (B, T, channels, image_size, image_size) in [0, 1]; or "series", (B, T, channels) in any unit, whose
        elements are windows of `window` steps, so that dynamic codes are (B, T / window, d) and T is a multiple of it.
    width: channels of the first convolution; of series, units of each of the two hidden dense layers. features: the encoder's
        outputs. hidden: units of the static head and of the prior. dynamic_hidden: of the dynamic LSTM, each way; 0: dynamic_size.
    normalise: batch normalisation in the networks of images (there is none in those of series).
    variant: see above. subtract: False leaves the subtraction out, and nothing else: "code" still puts noise in the anchor's place.
    causal: in "code", a dynamic LSTM that only reads forwards; in "formula" it always does.
    context: a bidirectional LSTM over the encoder's features before the anchor is taken from them, as in the authors' model of
        speech: the anchor has then seen the whole sequence. Not for "formula".
    anchor: the first, middle (number T // 2, from 0) or last of the observed elements, or the number of one, as text or integer.
        "any": in training drawn anew for each sequence of each batch among its observed elements; else the first.
    variance: v of the likelihood N(decoded, v). At 1/2 the squared error is the log-likelihood, a constant aside, and the
        weights are the authors'.
    sequence_weight, anchor_weight: what training maximises is sequence_weight sum_t log p(x_t | s, d_t) + anchor_weight
        log p(x_a | s, d_a) - static_kl_weight KL_s - dynamic_kl_weight KL_d; the sum leaves out a where not anchor_in_sequence,
        as in the formula. (The authors decode the anchor a second time, to the same picture but for batch normalisation.)
    static_kl_start, dynamic_kl_start: these weights up to update turn_from; from there to update turn_to they turn, evenly on a
        logarithmic scale, into static_kl_weight and dynamic_kl_weight. 0: these from the start.
    initial_log_variance, initial_gain: what is added to the last layer of the log-variance of q(d_t | x), and what multiplies that
        of its mean, before training. -5 and 5 make d speak from the start; else s is first to learn what both see, a direction.
    static_weight: of sum_t log p(x_t | s, d_t = 0) beside them, a second decoding, as in the authors' model of speech.

    Masks, (B, T) or for series (B, T, channels), are true where a value was observed. Others have no share in the likelihood; an
    element without any is no anchor, and the dynamic LSTM reads 0 in its place. A sequence ends with its last observed element: what
    follows has no dynamic code (it is 0) and changes nothing (but, in training, batch statistics). Any length will do.
    """

    code_names = ("static", "dynamic")

    def __init__(
        self,
        kind="images",
        image_size=64,
        channels=3,
        window=1,
        width=64,
        features=256,
        hidden=64,
        static_size=256,
        dynamic_size=256,
        dynamic_hidden=0,
        normalise=True,
        variant="code",
        subtract=True,
        causal=False,
        context=False,
        anchor="first",
        variance=0.5,
        sequence_weight=5.0,
        anchor_weight=1.0,
        anchor_in_sequence=True,
        static_weight=0.0,
        static_kl_weight=1.0,
        dynamic_kl_weight=1.0,
        static_kl_start=0.0,
        dynamic_kl_start=0.0,
        turn_from=0,
        turn_to=0,
        initial_log_variance=0.0,
        initial_gain=1.0,
    ):
        super().__init__()
        for name, value, known in (("kind", kind, KINDS), ("variant", variant, VARIANTS)):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, found {value!r}")
        if context and (variant == "formula" or features % 2):
            raise ValueError(
                f"context: expected variant code and an even number of features, found {variant} and {features}"
            )
        if variance <= 0 or window < 1 or (kind == "images" and window != 1):
            raise ValueError(
                f"variance, window: expected both positive, and a window of 1 for images, found {variance} and {window}"
            )
        values, codes = window * channels, static_size + dynamic_size
        if kind == "images":
            self.encoder = frame_encoder(image_size, channels, width, features, normalise)
            self.decoder = frame_decoder(image_size, channels, width, codes, normalise)
        else:  # tanh, so that features are of the size of the noise that takes the anchor's place
            self.encoder = nn.Sequential(
                nn.Flatten(), mlp(values, width, features, 2, "relu"), nn.Tanh()
            )
            self.decoder = nn.Sequential(
                mlp(codes, width, values, 2, "relu"), nn.Unflatten(1, (window, channels))
            )
        self.context = (
            nn.LSTM(features, features // 2, batch_first=True, bidirectional=True)
            if context
            else None
        )
        self.static_head = nn.Sequential(
            nn.Linear(features, hidden), nn.Tanh(), GaussianHead(hidden, static_size)
        )
        both_ways, units = variant == "code" and not causal, dynamic_hidden or dynamic_size
        self.recurrent = nn.LSTM(features, units, 2, batch_first=True, bidirectional=both_ways)
        self.dynamic_head = GaussianHead(2 * units if both_ways else units, dynamic_size)
        self.dynamic_head.log_variance.bias.data.add_(initial_log_variance)
        self.dynamic_head.mean.weight.data.mul_(initial_gain)
        self.prior = AutoregressivePrior(dynamic_size, hidden)
        self.kind, self.window, self.variant, self.subtract, self.variance = (
            kind,
            window,
            variant,
            subtract,
            variance,
        )
        self.anchor = check_anchor(anchor)
        self.sizes = {"static": static_size, "dynamic": dynamic_size, "anchor": features}
        self.sequence_weight, self.anchor_weight, self.anchor_in_sequence = (
            sequence_weight,
            anchor_weight,
            anchor_in_sequence,
        )
        self.static_weight, self.turn = static_weight, (turn_from, turn_to)
        self.kl_schedule = {
            "static": (static_kl_start or static_kl_weight, static_kl_weight),
            "dynamic": (dynamic_kl_start or dynamic_kl_weight, dynamic_kl_weight),
        }
        self.begin(0)
        self.frame_shape = (channels, image_size, image_size) if kind == "images" else (channels,)

    @classmethod
    def from_settings(cls, settings) -> SingleElement:
        """The model that a section of profiles.toml describes."""
        return cls(**{name: getattr(settings, name) for name in inspect.signature(cls).parameters})

    def begin(self, step: int) -> None:
        """The weights of the divergences at this update."""
        share = (
            1.0
            if step >= self.turn[1]
            else max(0, step - self.turn[0]) / (self.turn[1] - self.turn[0])
        )
        self.kl_weights = {
            name: first ** (1 - share) * last**share
            for name, (first, last) in self.kl_schedule.items()
        }

    def elements(self, values: Tensor) -> Tensor:
        """Frames, or their mask, (B, T, ...) as elements (B, T / window, window, ...), those of images as (B, T, C, H, W)."""
        return values if self.kind == "images" else values.unflatten(1, (-1, self.window))

    def features(self, elements: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What the encoder makes of each element, (B, T, features), all in one call."""
        features = self.encoder(elements.flatten(0, 1)).unflatten(0, elements.shape[:2])
        return features if self.context is None else run(self.context, features, lengths)

    def choose_anchor(
        self, observed: Tensor, lot: Tensor, anchor: str | int | None = None
    ) -> Tensor:
        """The anchor of each sequence, (B,), of observed (B, T) booleans and for "any" lots (B,) from 0 to 1."""
        anchor = self.anchor if anchor is None else check_anchor(anchor)
        count = observed.sum(1)
        if isinstance(anchor, int):
            if not 0 <= anchor < observed.shape[1] or not observed[:, anchor].all():
                raise ValueError(
                    f"anchor: expected an observed element from 0 to {observed.shape[1] - 1}, found {anchor}"
                )
            return torch.full_like(count, anchor)
        lots = (
            (lot * count).long().clamp(max=count - 1) if self.training else torch.zeros_like(count)
        )
        rank = {
            "first": torch.zeros_like(count),
            "middle": count // 2,
            "last": count - 1,
            "any": lots,
        }[anchor]
        return (observed.cumsum(1) <= rank[:, None]).sum(1)

    def dynamic_posterior(
        self, features: Tensor, anchor: Tensor, noise: Tensor, observed=None, lengths=None
    ) -> DiagonalGaussian:
        """q(d_t | x), (B, T, d), of features (B, T, g), the anchor (B,), and in "code" the noise (B, g) in the anchor's place."""
        at = F.one_hot(anchor, features.shape[1]).bool()[..., None]
        of_anchor = features.gather(1, anchor[:, None, None].expand(-1, 1, features.shape[2]))
        inputs = features
        if self.variant == "code":
            inputs = torch.where(
                at,
                noise[:, None].to(features.dtype),
                inputs - of_anchor if self.subtract else inputs,
            )
        if observed is not None:
            inputs = inputs * observed[..., None]
        hidden = run(self.recurrent, inputs, lengths)
        if self.variant == "formula" and self.subtract:
            hidden = hidden - run(
                self.recurrent, of_anchor
            )  # the state after the anchor alone; where it is first, h_a - h_a = 0
        return self.dynamic_head(hidden)

    def noise(self, count: int, length: int, generator: torch.Generator | None = None) -> Codes:
        """Noise behind a draw: normal static (count, D), dynamic (count, length, d), anchor (count, g), and uniform lot (count,)."""
        weight = self.prior.head.mean.weight
        shapes = {
            name: (count, *([length] if name == "dynamic" else []), size)
            for name, size in self.sizes.items()
        }
        like = {"generator": generator, "device": weight.device, "dtype": weight.dtype}
        return {name: torch.randn(shape, **like) for name, shape in shapes.items()} | {
            "lot": torch.rand(count, **like)
        }

    def encode(
        self,
        frames: Tensor,
        noise: Codes | None = None,
        mask: Tensor | None = None,
        anchor: str | int | None = None,
    ) -> Posterior:
        """The posterior of frames, and codes: mean + standard deviation x noise, or without static and dynamic noise the means.

        Without noise for the anchor's place: one fixed draw, the same for every sequence. The authors' means are random.
        """
        noise, elements, ends = noise or {}, self.elements(frames), None
        count, length = elements.shape[:2]
        observed = torch.ones(count, length, dtype=torch.bool, device=frames.device)
        if mask is not None:
            observed = self.elements(mask).flatten(2).any(2)
            ends = (observed * torch.arange(1, length + 1, device=mask.device)).amax(1)
        at = self.choose_anchor(observed, noise.get("lot", frames.new_zeros(count)), anchor)
        features = self.features(elements, ends)
        static = self.static_head(features[torch.arange(count, device=at.device), at])
        if (in_place := noise.get("anchor")) is None:
            in_place = (
                torch.randn(self.sizes["anchor"], generator=torch.Generator().manual_seed(0))
                .to(features)
                .expand(count, -1)
            )
        dynamic = self.dynamic_posterior(
            features, at, in_place, None if mask is None else observed, ends
        )
        drawn = (
            torch.ones_like(observed)
            if ends is None
            else torch.arange(length, device=at.device) < ends[:, None]
        )
        if self.variant == "formula":
            drawn = drawn & ~F.one_hot(at, length).bool()
        both = {"static": static, "dynamic": dynamic}
        codes = {
            name: one.mean + one.standard_deviation * noise[name] if name in noise else one.mean
            for name, one in both.items()
        }
        codes["dynamic"] = codes["dynamic"].masked_fill(~drawn[..., None], 0.0)
        return Posterior(static, dynamic, codes, at, drawn.to(codes["dynamic"].dtype))

    def log_likelihood(self, elements: Tensor, means: Tensor, seen: Tensor | None = None) -> Tensor:
        """Log N(elements; means, v) of each element in nats, (B, T); of values with seen = 1, where that is given."""
        squared = (elements - means).square()
        if seen is None:
            return -0.5 * (
                math.prod(elements.shape[2:]) * (LOG_TWO_PI + math.log(self.variance))
                + squared.flatten(2).sum(-1) / self.variance
            )
        return -0.5 * (
            (LOG_TWO_PI + math.log(self.variance) + squared / self.variance) * seen
        ).flatten(2).sum(-1)

    def forward(
        self, frames: Tensor, generator: torch.Generator | None = None, mask: Tensor | None = None
    ) -> Bound:
        """The bound; what the training loop calls, with a mask where the supply hands one out."""
        return self.elbo(frames, generator, mask=mask)

    def elbo(
        self,
        frames: Tensor,
        generator: torch.Generator | None = None,
        noise: Codes | None = None,
        mask: Tensor | None = None,
        anchor: str | int | None = None,
    ) -> Bound:
        """sum_t E log p(x_t | s, d_t) - sum_t KL(q(d_t | x) || p(d_t | d_<t)) - KL(q(s | x_a) || p(s)), per sequence in nats.

        One draw of each code, from `generator` or `noise`. The bound has no weights; its `objective` has them.
        """
        frames, mask = self.check(frames, mask)
        if noise is None:
            noise = self.noise(len(frames), frames.shape[1] // self.window, generator)
        found, elements = self.encode(frames, noise, mask, anchor), self.elements(frames)
        seen = None if mask is None else self.elements(mask)
        by_element = self.log_likelihood(elements, self.show(**found.codes), seen)
        divergence = (kl(found.dynamic, self.prior(found.codes["dynamic"])) * found.drawn).sum(1)
        divergences = {
            "static": kl(found.static, standard_normal_like(found.static.mean)),
            "dynamic": divergence,
        }
        of_anchor = by_element.gather(1, found.anchor[:, None])[:, 0]
        extra = self.anchor_weight - (0.0 if self.anchor_in_sequence else self.sequence_weight)
        gain = self.sequence_weight * by_element.sum(1) + extra * of_anchor
        if self.static_weight:
            still = self.show(
                found.codes["static"], torch.zeros_like(found.codes["dynamic"][:, :1])
            )
            gain = gain + self.static_weight * self.log_likelihood(elements, still, seen).sum(1)
        cost = sum(self.kl_weights[name] * divergences[name] for name in divergences)
        return Bound(by_element.sum(1), divergences, frames.shape[1], (gain, cost))

    def infer(
        self,
        frames: Tensor,
        sample: bool = False,
        generator: torch.Generator | None = None,
        mask: Tensor | None = None,
        anchor: str | int | None = None,
    ) -> Codes:
        """Static (B, D) and dynamic (B, T, d): the means of q (in "code" for the fixed noise, or a generator's), or a draw."""
        frames, mask = self.check(frames, mask)
        noise = (
            self.noise(len(frames), frames.shape[1] // self.window, generator)
            if sample or generator
            else {}
        )
        return self.encode(
            frames,
            noise if sample else {name: noise[name] for name in noise if name in ("anchor", "lot")},
            mask,
            anchor,
        ).codes

    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W), in (0, 1), of static (B, D) and dynamic (B, T, d); of a series (B, T window, channels)."""
        self.check_codes(codes)
        static, dynamic = codes["static"], codes["dynamic"]
        wide = self.sizes["static"], self.sizes["dynamic"]
        if (
            dynamic.ndim != 3
            or dynamic.shape[2] != wide[1]
            or tuple(static.shape) != (len(dynamic), wide[0])
        ):
            expected = f"static (B, {wide[0]}) and dynamic (B, T, {wide[1]})"
            raise ValueError(
                f"codes: expected {expected}, found {tuple(static.shape)} and {tuple(dynamic.shape)}"
            )
        shown = self.show(static, dynamic)
        return shown if self.kind == "images" else shown.flatten(1, 2)

    def show(self, static: Tensor, dynamic: Tensor) -> Tensor:
        """Mean elements of s (B, D) and d (B, T, d): (B, T, C, H, W) or (B, T, window, channels)."""
        inputs = torch.cat([dynamic, static[:, None].expand(-1, dynamic.shape[1], -1)], -1)
        return self.decoder(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])

    def generate(
        self,
        count: int,
        length: int,
        generator: torch.Generator | None = None,
        given: Codes | None = None,
    ) -> Codes:
        """Codes of `count` sequences of `length` elements: s from N(0, I), d from its prior, one element after the other.

        Neither knows of the other, so what is given changes nothing in what is drawn. In "formula" the anchor's d is 0.
        """
        given, noise = self.check_given(given, count, length), self.noise(count, length, generator)
        return {"static": noise["static"], "dynamic": self.roll(noise["dynamic"])[1]} | given

    def roll(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The prior's means along a draw with this noise (B, T, d), and the draw; the authors judge the means."""
        zero_at = None
        if self.variant == "formula":
            zero_at = {
                "first": 0,
                "any": 0,
                "middle": noise.shape[1] // 2,
                "last": noise.shape[1] - 1,
            }.get(self.anchor, self.anchor)
        return self.prior.roll(noise, zero_at)

    def check(self, frames: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Refuse frames and masks that cannot be. Returns frames, 0 where not observed, and the mask with as many axes, if it hides any."""
        if self.kind == "images":
            self.check_frames(frames)
        else:
            self.check_series(frames)
        frames = frames.to(
            self.prior.head.mean.weight.dtype
        )  # which it is, but where a trainer in mixed precision has rounded it
        if mask is None:
            return frames, None
        allowed = {
            tuple(frames.shape[:2]),
            *([tuple(frames.shape)] if self.kind == "series" else []),
        }
        if (
            not isinstance(mask, Tensor)
            or mask.dtype != torch.bool
            or tuple(mask.shape) not in allowed
        ):
            found = (
                f"{mask.dtype} {tuple(mask.shape)}"
                if isinstance(mask, Tensor)
                else type(mask).__name__
            )
            raise ValueError(
                f"mask: expected booleans of the shape {' or '.join(map(str, sorted(allowed)))}, found {found}"
            )
        if not (some := mask.flatten(1).any(1)).all():
            raise ValueError(
                f"mask: expected an observed value in every sequence, found none in number {int((~some).nonzero()[0])}"
            )
        mask = mask[(..., *[None] * (frames.ndim - mask.ndim))]
        return (frames, None) if mask.all() else (frames * mask, mask)

    def check_series(self, series: Tensor) -> None:
        """Refuse a batch that is not (B, T, channels) of the weights' type, whole windows long, and finite."""
        channels, own = self.frame_shape[0], self.prior.head.mean.weight.dtype
        if (
            not isinstance(series, Tensor)
            or series.ndim != 3
            or series.shape[2] != channels
            or not series.numel()
        ):
            found = tuple(series.shape) if isinstance(series, Tensor) else type(series).__name__
            raise ValueError(f"series: expected (B, T, {channels}), none of them 0, found {found}")
        if series.shape[1] % self.window:
            raise ValueError(
                f"series: expected whole windows of {self.window} steps, found {series.shape[1]} steps; cut, or pad and mask them"
            )
        if series.dtype != own and not torch.is_autocast_enabled(series.device.type):
            raise ValueError(
                f"series: expected {own}, as the model's weights, found {series.dtype}; convert them"
            )
        if not series.isfinite().all():
            raise ValueError(
                "series: expected finite numbers, found NaN or infinity; set what is missing to 0 and give a mask"
            )


def check_anchor(anchor: str | int) -> str | int:
    """One of ANCHORS, or the number of an element as an integer; ValueError for anything else."""
    if anchor in ANCHORS:
        return anchor
    if not str(anchor).isdecimal():
        raise ValueError(
            f"anchor: expected {', '.join(ANCHORS)} or the number of an element from 0, found {anchor!r}"
        )
    return int(anchor)
