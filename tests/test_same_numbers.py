"""Models train as they did before configs and plain arguments took the place of the table.

The numbers are of commit 3e1ba16: six updates in double precision, on noise. They are the bound of
the last row and the sum of all weights' sizes.
"""

import pytest
import torch
from unbraid.models.base import Batch

from papers import run, settings

BEFORE = {
    "independent.bounce.factored": (-8149.03125, 4826.59007813535),
    "independent.circle.long": (-8193.9775390625, 3777.3573820070437),
    "independent.street.factored": (-8528.890625, 22915.322817644537),
    "unordered.sprites_poses": (-2164.948974609375, 2519.574035944408),
    "unordered.faces": (-742.3583374023438, 1779.7937876766732),
    "unordered.sprites_poses.no_pairs": (-2165.11767578125, 2520.1744381509234),
    "single_element.sprites": (-2031.1998291015625, 1758.2954643897788),
    "single_element.sprites.whole_no_subtraction": (-2031.2154541015625, 1758.3313051437158),
    "single_element.mug": (-2022.23681640625, 1407.3037114631688),
    "single_element.spoken_digits": (-131.41983032226562, 2813.7534076051884),
    "single_element.air_quality.published": (-55.62089920043945, 679.2973213700502),
    "single_element.timit": (-302.9090881347656, 4800.145794568017),
}


def draw_for(model):
    """Noise that the model can read: frames, or series with gaps."""

    def draw(count, generator):
        if len(model.frame_shape) == 3:
            return torch.rand(count, 4, *model.frame_shape, generator=generator)
        length = 3 * model.codec.window
        values = torch.randn(count, length, *model.frame_shape, generator=generator)
        mask = torch.rand(values.shape, generator=generator) < 0.9
        return Batch(values * mask, mask)

    return draw


@pytest.mark.parametrize("section, before", BEFORE.items(), ids=BEFORE)
def test_six_updates_end_where_they_ended_before(section, before):
    options = settings.load(section, "smoke")
    model = run.build(options, 0)
    rows = run.train_model(model, draw_for(model), options, 1, every=6, precision="64-true")
    size = sum(float(values.detach().abs().sum()) for values in model.parameters())
    # The numbers above were rounded to single precision.
    assert rows[-1]["elbo_per_frame"] == pytest.approx(before[0], rel=1e-6)
    # Processors without AVX-512 differ by less than 1e-9 of it.
    assert size == pytest.approx(before[1], rel=1e-8)
