"""Two sentences of paper A on its posterior, tried on the model without pixels of notebook 14.

    python -m papers.a.posterior_inputs

Appendix A says that training became much faster when the posterior was passed the predicted values
of z_t, which are the mean and the log-variance of p(z_t | z_{t-1}). Here it is passed these, or
z_{t-1} itself, or nothing beside the frame. Section 2 says that a single frame is enough for an
estimate, and that a sequence makes it tighter.

A row of results/independent/posterior_inputs.csv is a start after some updates, measured on new
clips of four frames: the bound in nats per frame, and at each frame

deviation_1 ... deviation_4    the standard deviation of q, a geometric mean over clips and units
places_1 ... places_4          R2 of 15 nearest neighbours from a draw of the whole code to the
                               digits' places, a mean over coordinates
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor
from unbraid import records
from unbraid_course.lessons import n14

LAWS = ("circle", "bounce")
PASSED = ("predicted", "past", "nothing")
STARTS, UPDATES = 20, 1000
MARKS = (100, 200, 400, 700, 1000)  # updates that are measured
CLIPS = 2000


def make_filter(passed: str) -> type:
    """The notebook's Filter, whose posterior is passed something else beside the frame."""

    class Passed(n14.Filter):
        """It remembers z_{t-1}, and what the posterior's layers put out at each frame."""

        def __init__(self, *sizes: int):
            super().__init__(*sizes)
            self.from_prior.register_forward_pre_hook(self.replace)
            self.posterior.register_forward_hook(self.keep)
            self.past: Tensor | None = None
            self.posteriors: list[Tensor] = []

        def prior(self, z: Tensor) -> Tensor:
            self.past = z
            return super().prior(z)

        def replace(self, layer: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
            if passed == "predicted":
                return inputs
            (predicted,) = inputs  # mean and log-variance, (models, N, 2 units)
            other = torch.zeros_like(predicted)
            if passed == "past" and self.past is not None:
                other = torch.cat([self.past, other.chunk(2, -1)[1]], -1)
            return (other,)

        def keep(self, layer: Any, inputs: tuple[Tensor], outputs: Tensor) -> None:
            if not self.training:
                self.posteriors.append(outputs)

        def forward(self, *given: Any) -> tuple[Tensor, Tensor]:
            self.past, self.posteriors = None, []  # A clip begins without a past.
            return super().forward(*given)

    return Passed


@torch.no_grad()
def measure(filters: Any, law: str) -> list[dict[str, float]]:
    """The bound, deviations and scores of each of the models side by side, on new clips."""
    draws = torch.Generator().manual_seed(1)
    models, units = len(filters.posterior.weight), 2 * n14.WORLDS[law][1]
    x, places = n14.draw_clips(law, CLIPS, draws)
    noise = torch.randn(len(x), models, CLIPS, units, generator=draws)
    filters.eval()
    loss, codes = filters(x[:, None].expand(-1, models, -1, -1), noise)
    filters.train()
    half, rows = CLIPS // 2, []
    for model in range(models):
        row = {"bound": -loss[model].item()}
        frames = zip(filters.posteriors, codes.numpy(), places.numpy(), strict=True)
        for frame, (output, drawn, place) in enumerate(frames, start=1):
            log_variance, code = output[model].chunk(2, -1)[1], drawn[model]
            row[f"deviation_{frame}"] = (log_variance.mean() / 2).exp().item()
            guess = KNeighborsRegressor(15).fit(code[:half], place[:half]).predict(code[half:])
            row[f"places_{frame}"] = float(r2_score(place[half:], guess))
        rows.append({name: round(value, 5) for name, value in row.items()})
    return rows


def train_law(law: str, passed: str, starts: int, updates: int, marks: tuple) -> Iterator[dict]:
    """Rows of the table: starts side by side, at each mark."""
    torch.manual_seed(0)
    filters = make_filter(passed)(starts, n14.WORLDS[law][1])
    for update in n14.train(filters, law, updates, seed=0):
        if update in marks:
            for seed, figures in enumerate(measure(filters, law)):
                yield {"law": law, "passed": passed, "seed": seed, "update": update} | figures


def main() -> None:
    """Train and measure all, and write the table."""
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    rows: list[dict] = []
    for law in LAWS:
        for passed in PASSED:
            rows += train_law(law, passed, STARTS, UPDATES, MARKS)
            ends = [row["bound"] for row in rows[-STARTS:]]
            print(f"{law}, {passed}: bound {np.mean(ends):.3f}", flush=True)
    records.write_csv(records.results() / "independent" / "posterior_inputs.csv", rows)


if __name__ == "__main__":
    main()
