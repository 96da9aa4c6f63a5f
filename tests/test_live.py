"""The live page's models: the reduced decoder paints what the whole one does, in few bits."""

from pathlib import Path

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


def test_the_page_names_each_part_once():
    folder = Path(live.__file__).parent / "live_page"
    page = (folder / "page.html").read_text(encoding="utf-8")
    files = ("page.css", "page.js", "worker.js")
    for name in (*files, *["FACTS", "ATLAS", "CODES", "DECODER", "WASM", "MODULE", "ENGINE"]):
        assert page.count(f"<!--{name}-->") == 1
