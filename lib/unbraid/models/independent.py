"""Paper A: Whitney & Fergus (2017), Disentangling Video with Independent Prediction, arXiv 1901.05590.

    p(x, z) = p(z_1) prod_t prod_i p_i(z_t^i | z_{t-1}^i) prod_t p(x_t | z_t)

Each factor i has a transition network of its own, which sees only that factor's past; the posterior
q(z_t | z_{t-1}, x_t) filters. What can be predicted alone ends up in a factor of its own. One factor as wide as
all of them together is the entangled baseline.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unbraid.distributions import (
    DiagonalGaussian,
    gaussian_log_likelihood,
    kl,
    standard_normal_like,
)
from unbraid.models.interface import Bound, Codes, SequenceModel
from unbraid.networks import ConvolutionalDecoder, ConvolutionalEncoder, mlp


class Posterior(nn.Module):
    """q(z_t | z_{t-1}, x_t): features of the frame combined with the prior's prediction (paper A)."""

    def __init__(self, features: int, size: int, initial_log_variance: float = 0.0):
        super().__init__()
        self.from_frame = nn.Linear(features, size)
        self.from_mean = nn.Linear(size, size)
        self.from_log_variance = nn.Linear(size, size)
        self.combine = nn.Linear(3 * size, size)
        self.mean = nn.Linear(size, size)
        self.log_variance = nn.Linear(size, size)
        with torch.no_grad():
            self.log_variance.bias += initial_log_variance

    def forward(self, from_frame: Tensor, prior: DiagonalGaussian) -> DiagonalGaussian:
        """`from_frame` (B, size) is leaky_relu(self.from_frame(features)), computed for all frames at once."""
        parts = [
            from_frame,
            F.leaky_relu(self.from_mean(prior.mean)),
            F.leaky_relu(self.from_log_variance(prior.log_variance)),
        ]
        hidden = F.leaky_relu(self.combine(torch.cat(parts, -1)))
        return DiagonalGaussian(self.mean(hidden), self.log_variance(hidden))


class IndependentPrediction(SequenceModel):
    """K factors of d units with independent transitions. Codes factor_0 ... factor_{K-1}, each (B, T, d).

    image_size, channels: frames are (channels, image_size, image_size).
    factors, factor_size: K and d; K = 1 and d = total is the entangled baseline.
    width, features: channels of the first convolution, and of the encoder's output.
    normalise, activation: batch normalisation and non-linearity of the convolutions ("paper": leaky ReLU in the
        encoder, ReLU in the decoder).
    output: what the decoder ends in, "sigmoid" (the paper's) or "linear".
    hidden, hidden_layers: of each transition network (SELU). The paper counts Linear(d, 128) and then three
        Linear(128, 128): four hidden layers here.
    variance: v of the Gaussian likelihood.
    decoder_groups: 1 is the paper's one decoder for all units; K lets each factor draw a picture of its own, and adds them.
    initial_log_variance: of the posterior before training. At 0 the codes start as noise, and a small network may give
        up on a digit before they carry anything; at -4 they start as an autoencoder's.
    """

    def __init__(
        self,
        image_size=64,
        channels=3,
        factors=2,
        factor_size=20,
        width=64,
        features=32,
        normalise=True,
        activation="paper",
        output="sigmoid",
        hidden=128,
        hidden_layers=4,
        variance=0.25,
        decoder_groups=1,
        initial_log_variance=0.0,
    ):
        super().__init__()
        size = factors * factor_size
        in_encoder, in_decoder = (
            ("leaky_relu", "relu") if activation == "paper" else (activation, activation)
        )
        self.encoder = ConvolutionalEncoder(
            image_size, channels, width, features, normalise, in_encoder
        )
        self.posterior = Posterior(features, size, initial_log_variance)
        self.transitions = nn.ModuleList(
            mlp(factor_size, hidden, 2 * factor_size, hidden_layers) for _ in range(factors)
        )
        self.decoder = ConvolutionalDecoder(
            image_size, channels, width, size, normalise, in_decoder, output, decoder_groups
        )
        self.factors, self.factor_size, self.variance, self.decoder_groups = (
            factors,
            factor_size,
            variance,
            decoder_groups,
        )
        self.frame_shape = (channels, image_size, image_size)
        self.code_names = tuple(f"factor_{index}" for index in range(factors))

    @classmethod
    def from_settings(cls, settings) -> IndependentPrediction:
        """The model that a section of profiles.toml describes."""
        names = (
            "image_size",
            "factors",
            "factor_size",
            "width",
            "features",
            "normalise",
            "activation",
            "output",
            "hidden",
            "hidden_layers",
            "variance",
            "decoder_groups",
            "initial_log_variance",
        )
        return cls(**{name: getattr(settings, name) for name in names})

    def prior(self, previous: Tensor) -> DiagonalGaussian:
        """p(z_t | z_{t-1}) for z_{t-1} (B, K d): network i reads the d units of factor i and no others."""
        outputs = [
            network(part)
            for network, part in zip(self.transitions, previous.split(self.factor_size, -1))
        ]
        halves = [output.chunk(2, -1) for output in outputs]
        return DiagonalGaussian(
            torch.cat([mean for mean, _ in halves], -1),
            torch.cat([spread for _, spread in halves], -1),
        )

    def filter(self, frames: Tensor, sample: bool = True, generator: torch.Generator | None = None):
        """Posteriors, priors and codes of all frames, each (B, T, K d): the filtering pass of the model.

        The convolutions see all B T frames in one call; only the small latent networks walk through time.
        """
        batch, length = frames.shape[:2]
        features = self.encoder(frames.flatten(0, 1))
        from_frames = F.leaky_relu(self.posterior.from_frame(features)).unflatten(
            0, (batch, length)
        )
        prior = standard_normal_like(from_frames[:, 0])  # at t = 1: mean 0 and log-variance 0
        posteriors, priors, codes = [], [], []
        for t in range(length):
            # detached: the posterior may use the prediction, but must not shape it (the KL does that)
            detached = DiagonalGaussian(prior.mean.detach(), prior.log_variance.detach())
            posterior = self.posterior(from_frames[:, t], detached)
            code = posterior.sample(generator) if sample else posterior.mean
            posteriors.append(posterior)
            priors.append(prior)
            codes.append(code)
            if t + 1 < length:
                prior = self.prior(code)
        return stack(posteriors), stack(priors), torch.stack(codes, 1)

    def elbo(self, frames: Tensor, generator: torch.Generator | None = None) -> Bound:
        """sum_t E log p(x_t | z_t) - sum_t KL(q(z_t | z_{t-1}, x_t) || p(z_t | z_{t-1})), per sequence in nats."""
        self.check_frames(frames)
        posteriors, priors, codes = self.filter(frames, True, generator)
        log_likelihood = gaussian_log_likelihood(
            frames, self.decode_latents(codes), self.variance
        ).sum(1)
        by_factor = kl(
            split_units(posteriors, self.factors), split_units(priors, self.factors)
        ).sum(1)  # (B, K)
        return Bound(
            log_likelihood, dict(zip(self.code_names, by_factor.unbind(-1))), frames.shape[1]
        )

    def infer(
        self, frames: Tensor, sample: bool = False, generator: torch.Generator | None = None
    ) -> Codes:
        """Factors of each frame, (B, T, d) each: samples along one filtered path, or means along the path of means."""
        self.check_frames(frames)
        return self.to_codes(self.filter(frames, sample, generator)[2])

    def decode(self, codes: Codes) -> Tensor:
        """Mean frames (B, T, C, H, W) of the factors."""
        return self.decode_latents(self.to_latents(codes))

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Mean frames (B, T, C, H, W) of latents (B, T, K d)."""
        return self.decoder(latents.flatten(0, 1)).unflatten(0, latents.shape[:2])

    def roll_forward(
        self,
        codes: Codes,
        length: int,
        sample: bool = False,
        generator: torch.Generator | None = None,
    ) -> Codes:
        """Codes of `length` further steps, each factor predicted from its own last state alone."""
        state, states = self.to_latents(codes)[:, -1], []
        for _ in range(length):
            prior = self.prior(state)
            state = prior.sample(generator) if sample else prior.mean
            states.append(state)
        return self.to_codes(torch.stack(states, 1))

    def generate(
        self,
        count: int,
        length: int,
        generator: torch.Generator | None = None,
        given: Codes | None = None,
    ) -> Codes:
        """Codes of `count` new sequences: z_1 from N(0, I), then each factor by its own transition, sampled.

        given: factors to keep. No factor knows of another, so what is kept changes nothing in those that are drawn.
        """
        given, weight = self.check_given(given, count, length), self.posterior.mean.weight
        start = torch.randn(
            count, 1, weight.shape[0], generator=generator, device=weight.device, dtype=weight.dtype
        )
        drawn = self.to_codes(start)
        if length > 1:
            later = self.roll_forward(drawn, length - 1, True, generator)
            drawn = {name: torch.cat([drawn[name], later[name]], 1) for name in self.code_names}
        return drawn | given

    def to_codes(self, latents: Tensor) -> Codes:
        """Latents (B, T, K d) as named factors (B, T, d)."""
        return dict(zip(self.code_names, latents.split(self.factor_size, -1)))

    def to_latents(self, codes: Codes) -> Tensor:
        """Named factors (B, T, d) as latents (B, T, K d)."""
        self.check_codes(codes)
        return torch.cat([codes[name] for name in self.code_names], -1)


def stack(distributions: list[DiagonalGaussian]) -> DiagonalGaussian:
    """T distributions over (B, d) as one over (B, T, d)."""
    return DiagonalGaussian(
        torch.stack([one.mean for one in distributions], 1),
        torch.stack([one.log_variance for one in distributions], 1),
    )


def split_units(distribution: DiagonalGaussian, factors: int) -> DiagonalGaussian:
    """(..., K d) as (..., K, d)."""
    return DiagonalGaussian(
        distribution.mean.unflatten(-1, (factors, -1)),
        distribution.log_variance.unflatten(-1, (factors, -1)),
    )
