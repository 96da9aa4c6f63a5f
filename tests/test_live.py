"""The live page's models: the reduced decoder paints what the whole one does, in few bits."""

import numpy as np
import torch
from helpers import seeded
from unbraid import records
from unbraid.data import sprites
from unbraid.models.single_element import SingleElement

from tools.site import live


@torch.no_grad()
def test_the_reduced_decoder_paints_what_the_whole_one_does(data_of_the_clone, monkeypatch):
    model = SingleElement.load(records.weights(live.SPRITES)).eval()
    decoder = live.ReducedDecoder(model, films=100).eval()
    few = sprites.characters("test")[:2]
    monkeypatch.setattr(sprites, "characters", lambda split: few)
    clips = sprites.load("test", image_size=64).subset(torch.tensor([0, 4, 17]))

    codes = model.encode(clips.as_float().frames)
    codes["static"] = codes["static"].roll(1, 0)  # swaps
    painted = decoder(decoder.reduce(codes).flatten(0, 1))

    assert decoder.reduce(codes).shape[-1] == 12 + live.RANK
    assert (painted - model.decode(codes).flatten(0, 1)).abs().max() < 0.02


def test_weights_in_blocks_stay_near():
    values = torch.randn(6, 32, generator=seeded(0)).numpy()
    whole, scale = live.quantise(values)
    assert whole.dtype == np.int8 and scale.shape == (12, 1)
    near = (whole * scale.astype("float32")).reshape(values.shape)
    assert abs(near - values).max() <= 0.51 * scale.astype("float32").max()


@torch.no_grad()
def test_the_second_model_exchanges_left_and_right_but_not_whether_a_figure_faces_us(
    data_of_the_clone,
):
    clips = live.choose_clips()
    said, frames = live.describe(clips), clips.as_float().frames
    rows = [9 * n + 4 * n % 9 for n in range(live.CLIPS)]
    faces_us = [said[row]["how"].endswith("us") for row in rows]
    first, second = live.OPENS
    assert faces_us[first] != faces_us[second]
    for name, is_right in ((live.SPRITES, lambda a, b: True), (live.TWIN, lambda a, b: a == b)):
        model = SingleElement.load(records.weights(name)).eval()
        codes = model.encode(frames[rows])
        for a, b in (live.OPENS, live.OPENS[::-1], (second, 12), (5, 7), (7, 5), (14, 22)):
            code = {"static": codes["static"][a][None], "dynamic": codes["dynamic"][b][None]}
            near = (model.decode(code) - frames).square().flatten(1).sum(1).argmin()
            asked = 9 * a + rows[b] % 9
            assert (near == asked) == is_right(faces_us[a], faces_us[b]), (name, a, b)


@torch.no_grad()
def test_units_are_named_by_what_they_change(data_of_the_clone, monkeypatch):
    monkeypatch.setattr(sprites, "characters", lambda split: sprites.ORDER[1000:1002])

    class Painter(torch.nn.Module):
        """A painter whose first unit chooses the hair of a character, and whose second nothing."""

        def forward(self, codes):
            hair = (codes[:, 0] > 2).long() * 3
            return drawn[hair]

    cell = np.array([sprites.POSES[18].cell])
    numbers = np.arange(6)  # they differ in the hair alone
    drawn = torch.from_numpy(np.stack(list(sprites.draw_cells(numbers, cell, 64))))
    drawn = drawn.flatten(1).float() / 255
    shares = live.measure_units(Painter(), torch.zeros(3, 2), torch.zeros(1), 18)
    assert shares[0] == {"skin": 0, "trousers": 0, "top": 0, "hair": 0.25}  # one setting of four
    assert set(shares[1].values()) == {0}
    assert [live.name_unit(each) for each in shares] == ["hair 25%", "hardly anything"]
    assert live.name_unit({"skin": 0.2, "top": 0.5, "hair": 0.3}) == "top 50%, hair 30%"
