"""What notebook 00 says of its clips, which it chose by their numbers."""

import torch
from unbraid.data import sprites
from unbraid.data.moving_digits import MovingDigits, load_digits

SHOWN = [
    {"motion": "spellcard front", "hair": "purple", "skin": "slate"},  # clip A
    {"motion": "slash right", "hair": "red", "skin": "tanned"},  # clip B
]


def test_the_digits_are_those_of_the_text_and_do_not_overlap_at_first():
    draw = MovingDigits(load_digits("test"), 32, 26, motion="circle", speeds=(0.5, -0.9))
    clips = draw(2, torch.Generator().manual_seed(362))
    assert clips.labels["red_digit"].tolist() == [0, 5]  # the first, shown in orange
    assert clips.labels["green_digit"].tolist() == [7, 1]
    orange, blue = clips.frames[:, 0, 0], clips.frames[:, 0, 1]
    assert (orange * blue).max() < 0.05


def test_the_figures_are_those_of_the_text():
    clips = sprites.load("test", image_size=64)
    shown = [
        {name: clips.classes[name][clips.labels[name][number]] for name in SHOWN[0]}
        for number in (192, 2492)
    ]
    assert shown == SHOWN
