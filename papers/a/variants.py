"""The gate of the course's short runs of paper A, which has none.

They find the digits with all units in use, then pass few units (the gate), too few for two digits
in one factor, and then use all units again.
"""

from typing import Any

import torch
from torch import Tensor
from unbraid.models.independent import Filter
from unbraid.models.lesson_a import kl
from unbraid.variants import prediction


class GatedFilter(Filter):
    """The filter of paper A's model; units that are not in use are 0 and cost nothing."""

    in_use: Tensor  # 1 or 0 of each unit, (K d,)

    def __init__(self, *sizes: Any):
        super().__init__(*sizes)
        self.register_buffer("in_use", torch.ones(self.K * self.d), persistent=False)

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Codes (B, T, K d) and KL terms (B, T, K), as notebook 12's `GatedFilter` gives them."""
        seen = self.over_time(self.encoder, x)
        p = (torch.zeros_like(noise[:, 0]),) * 2
        codes, costs = [], []
        for e, eps in zip(seen.unbind(1), noise.unbind(1), strict=True):
            q = self.posterior(e, [part.detach() for part in p])
            codes.append((q[0] + (q[1] / 2).exp() * eps) * self.in_use)
            costs.append((kl(q, p) * self.in_use).unflatten(1, (self.K, self.d)).sum(2))
            p = self.predict(codes[-1])
        return torch.stack(codes, 1), torch.stack(costs, 1)


class GatedPrediction(prediction.GatedPrediction):
    """A model whose `advance` is to be called in training (`fit`'s on_progress)."""

    filter_class = GatedFilter

    def __init__(self, config: prediction.GatedPredictionConfig | None = None, **values: Any):
        super().__init__(config, **values)
        # Weights that are loaded have the units of the end of their training.
        self.register_load_state_dict_post_hook(lambda model, _: model.advance(1.0))

    def advance(self, share: float) -> None:
        """Do what `opening` and `decoder_apart` say at this share of a run."""
        begin, end = self.config.decoder_apart
        if begin <= share < end:
            self.part_decoder()
        units = torch.ones(self.factors, self.factor_size)
        for since, counts in self.config.opening:
            if share >= since:
                units = (torch.arange(self.factor_size) < torch.tensor(counts)[:, None]).to(units)
        self.filter.in_use.copy_(units.flatten())

    @torch.no_grad()
    def part_decoder(self) -> None:
        """Before each update: set weights between features of different factors to 0."""
        weights = [weight for weight in self.decoder.parameters() if weight.ndim > 1]
        for weight in weights[:-1]:  # The last layer paints with the features of all.
            rows, columns = (torch.arange(size) * self.factors // size for size in weight.shape[:2])
            same_factor = (rows[:, None] == columns).to(weight)
            weight.mul_(same_factor.reshape(*same_factor.shape, *[1] * (weight.ndim - 2)))
