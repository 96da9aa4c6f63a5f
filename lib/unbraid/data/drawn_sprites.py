"""Sprites drawn by our own code: small characters with the labels, motions and splits of `sprites`, where no file is at hand.

A figure is drawn for each pose and hairstyle as numbers that say which paint each of 256 x 256 points has; what an attribute
decides is only which colour its paints have. A pixel is the mean colour of its points, that is a sum of what skin, trousers,
top and hair give to it: so a character is put together by adding, exactly as if it had been drawn by itself.
"""

from __future__ import annotations

import numpy as np
import torch

from unbraid.data import drawn_figures as paint
from unbraid.data.drawn_figures import PAINTS, POINTS, Stance, figure
from unbraid.data.sequences import Sequences
from unbraid.data.sprites import (
    CLASSES,
    MOTION_POSES,
    POSES,
    SIZES,
    Pose,
    characters,
    sprite_sequences,
)

WHOSE = "sprites drawn by our own code (a stand-in for the real Sprites)"
WORN = tuple(CLASSES)
# Colours in the order of sprites.CLASSES, whose names fit both sets.
SKINS = ("#f6cfae", "#e2b06e", "#8d93a8", "#c9c6f2", "#a9714b", "#6b4230")
TROUSERS = (  # the cloth, the knees
    ("#e9e9ee", "#d5d6df"),
    ("#d99a22", "#ffdf70"),
    ("#b8202a", "#b8202a"),
    ("#7d8496", "#c3cad8"),
    ("#2f8f8f", "#2f8f8f"),
    ("#3f6a2c", "#3f6a2c"),
)
TOPS = (  # the cloth, collar, stripe, tie, where those two cross, cuffs and hem
    ("#7c2430", "#a6404a", "#7c2430", "#7c2430", "#7c2430", "#a6404a"),
    ("#27b3d0", "#27b3d0", "#e9f7fb", "#27b3d0", "#e9f7fb", "#27b3d0"),
    ("#efe3c0", "#c9985a", "#efe3c0", "#efe3c0", "#efe3c0", "#c9985a"),
    ("#98a2b5", "#d9b44a", "#98a2b5", "#c8d2e2", "#c8d2e2", "#5d6678"),
    ("#8a5a2e", "#4f3219", "#5c3b1e", "#8a5a2e", "#5c3b1e", "#4f3219"),
    ("#f4f4f8", "#f4f4f8", "#f4f4f8", "#3a4152", "#3a4152", "#c4c8d6"),
)
HAIRS = ("#35c22f", "#2f3fd6", "#f79a1c", "#dde2ee", "#d8283f", "#8e35c9")
TOP_PAINTS = [paint.TOP, paint.COLLAR, paint.STRIPE, paint.TIE, paint.CROSSING, paint.CUFF]
OTHERS = {paint.SHOES: "#8a5a34", paint.HILT: "#b98a2f", paint.BLADE: "#b9c6d8"}
EYES = ((24, 20, 38), (120, 52, 48), (58, 78, 140), (255, 255, 255))  # pupil, mouth, iris, white
GLOWS = ((18, 58, 92), (52, 140, 190), (140, 220, 245), (245, 253, 255))
# Hair of each style: strokes behind the body, strokes that cover the head; from the front, and facing right.
FROM_FRONT = (
    (  # green spikes
        (),
        (
            (
                "outline",
                "-12,3 -14.5,-4 -11.5,-4.5 -13.5,-11 -8,-9 -7,-15 -2,-11.3 2,-17 4.5,-11.5 10,-14 9.5,-8.5 14.5,-8 12,-3.5 "
                "14.5,-1 11.5,3 9.5,-2 7,.5 4.5,-3 1,.5 -2,-3 -5,.5 -7.5,-2.5 -9.8,-1",
            ),
        ),
    ),
    (  # a blue bun
        (
            ("balls", "0,-14.2,4.3"),
            ("strands", "-2.5,-15.5 .3,-13.6 2.6,-15.8"),
        ),
        (
            (
                "outline",
                "-11.6,6.5 -12.4,1 -12,-4 -9.5,-8.2 -5,-11.2 0,-12.2 5,-11.2 9.5,-8.2 12,-4 12.4,1 11.6,6.5 10,2 8.8,-1.6 "
                "6.8,-.6 5.2,-3.4 3.4,-1.8 2.4,-5.2 -1,-2 -3,-2.6 -5.6,.4 -7,-1.2 -9.2,1.2 -10,2.5",
            ),
            (
                "strands",
                "1.5,-11.5 -4,-9 -6.5,-2  2,-11.5 -.5,-8 -2,-3.5  2.5,-11 7.5,-8 8.8,-2.5  0,-11.8 -8,-9 -10.5,-1",
            ),
        ),
    ),
    (  # an orange mane
        (),
        (
            (
                "outline",
                "-12,6 -16,1 -13.5,-.5 -16.5,-6 -12,-6.5 -11.5,-12 -6,-11 -3,-15.5 1,-12 6,-15 8,-11 12.5,-11.5 12.5,-6.5 17,-5 "
                "14,-.5 15.5,2 12,6 10.5,-1 8,-3.5 5.5,.8 2,-3.5 -1.5,0 -5,-3.5 -8.5,.5 -10.5,-1.5",
            ),
        ),
    ),
    (  # long and white
        (
            (
                "outline",
                "-11.5,-3 -13,6 -12.5,14 -9,12 -6.5,15 -3,12.5 3,12.5 6.5,15 9,12 12.5,14 13,6 11.5,-3",
            ),
        ),
        (
            (
                "outline",
                "-11.2,12 -13,5 -12.9,-2 -10.8,-7.5 -6,-11.4 0,-12.6 6,-11.4 10.8,-7.5 12.9,-2 13,5 11.2,12 9.8,6 9.6,1 "
                "7.6,-2.2 5,-4.6 3.4,-7.2 2,-3.8 -1,-1.4 -3,-2 -5.6,.6 -7,-.4 -9.4,2 -9.8,6",
            ),
            (
                "strands",
                "3,-11.5 -3,-9 -4.5,-2  3,-11.5 -8,-8 -11,8  4,-11.5 10.5,-6 11,8  3,-12 1.5,-8 -.5,-3",
            ),
        ),
    ),
    (  # a red ponytail
        (("curve", "8,-7 14,-7 17.5,-1 18,7 15.5,15.5 13.5,9 12.5,3 8,0"),),
        (
            (
                "outline",
                "-11.6,6 -12.5,-1 -11,-6.5 -7,-10.8 0,-12.4 7,-10.8 11,-6.5 12.5,-1 11.6,6 9.9,3.5 9.2,-.8 6.6,-.4 6,-2.2 5,-.2 "
                ".6,-.2 0,-2 -.6,-.2 -5,-.2 -6,-2.2 -6.6,-.4 -9.2,-.8 -9.9,3.5",
            ),
            (
                "strands",
                "0,-11.5 -5,-8 -6,-2.5  0,-11.5 .5,-7 0,-2.5  0,-11.5 5.5,-8 6,-2.5  -1,-11.5 -9.5,-8 -10.8,3",
            ),
        ),
    ),
    (  # purple curls
        (),
        (
            (
                "balls",
                "-11,1,3.4 -12.3,-4,3.6 -9.5,-9,4 -4.5,-11.5,4.2 .8,-12.5,4.2 6,-11,4.2 10.3,-8,4 12.5,-3,3.6 11,1.5,3.2 "
                "-5.5,-5.5,3.4 0,-6,3.6 5.5,-5.5,3.4 -9.5,-3.5,3 9.5,-3.5,3",
            ),
        ),
    ),
)
FROM_SIDE = (
    (  # green spikes
        (),
        (
            (
                "outline",
                "-4,5 -8,7 -8.5,3 -14,3 -12,-1.5 -16,-5 -11.5,-6 -12.5,-12 -7,-10 -4,-15.5 0,-11.5 5,-15.5 6.5,-10.5 12.5,-11.5 "
                "11,-6 14,-3.5 11,-.5 9,-4 6.5,-.5 3.5,-4 1.5,-.5 -.5,-2 -1.5,1",
            ),
            ("ear", "-1.3,3.2,1.7,2.2"),
        ),
    ),
    (  # a blue bun
        (
            ("balls", "-4,-14.2,4.3"),
            ("strands", "-6.5,-15.5 -3.7,-13.6 -1.4,-15.8"),
        ),
        (
            (
                "outline",
                "-3.4,6.5 -6,7.5 -9.5,5 -12,0 -11.6,-5 -8.5,-9.4 -3,-11.8 3,-12 8.2,-9.6 11.2,-4.5 11.4,-1.2 8.6,-3.2 7,-.6 "
                "5,-3.4 3,-.6 1,-2.4 .6,4.5 -1.2,1.5 -2,4.5",
            ),
            (
                "strands",
                "-4,-10.5 -2,-4 -6,6  -4,-10.5 -8,-4 -9.5,3  -3,-11 4,-9 7,-3  -3,-11 1.5,-7 2.8,-2",
            ),
            ("ear", "-1.3,3.2,1.7,2.2"),
        ),
    ),
    (  # an orange mane
        (),
        (
            (
                "outline",
                "-3,6 -7,9 -8.5,5.5 -14,6.5 -12.5,2 -17.5,-1 -13,-4 -15.5,-9.5 -9.5,-9.5 -8,-14.5 -3,-11.8 1.5,-15.5 4.5,-11.5 "
                "10.5,-12.5 10,-8 14.5,-6 11,-.5 8.5,-3.5 6.5,.5 3.5,-3.5 1,0 -1,-1 -1.2,3",
            ),
            ("ear", "-1.3,3.2,1.7,2.2"),
        ),
    ),
    (  # long and white
        (("outline", "-11,-2 -13,6 -12.5,14 -9.5,12 -7,15 -4.5,12 -2,13.5 0,8 0,-4"),),
        (
            (
                "outline",
                "-1,12.5 -4.5,11 -7,14 -9.5,11 -12.4,13 -12.9,4 -12.3,-4 -8.5,-9.6 -3,-12.2 3,-12.4 8.4,-9.8 11.5,-4.5 11.3,-.8 "
                "8.2,-3.6 6,-.2 4,-2.6 2.6,1.5 1.8,7",
            ),
            (
                "strands",
                "0,-11.5 -4,-4 -6.5,11  0,-11.5 -9,-7 -10.5,9  1,-11.5 1,-5 -1.5,9  1,-11.8 5,-9 6.2,-2.5",
            ),
        ),
    ),
    (  # a red ponytail
        (("curve", "-9,-4 -14.5,-3 -17.5,3 -18,11 -15.5,18.5 -13.5,13 -12.5,7 -9,3"),),
        (
            (
                "outline",
                "-3.2,6.5 -8.5,7 -11.8,2.5 -12.3,-3 -9.5,-8.5 -4,-11.8 2,-12.3 8,-9.5 11.3,-4 11,-.2 7,-.4 6.3,-2.2 5.6,-.2 "
                "2,-.2 1.2,5.5 -.8,2 -1.6,4",
            ),
            (
                "strands",
                "4,-11 -3,-8 -9.5,-1  5,-10.5 -1,-5 -8.5,3  5,-11 6.5,-7 6.3,-3  4,-10.5 2,-5 -.2,1",
            ),
            ("band", "-10.6,-1,1.3,2.6"),
            ("ear", "-1.3,3.2,1.7,2.2"),
        ),
    ),
    (  # purple curls
        (),
        (
            (
                "balls",
                "-6,5,3.4 -10,2,3.8 -12,-3.5,3.8 -10,-8.5,4 -5,-11.5,4.2 .5,-12.3,4.2 5.8,-10.5,4 9.8,-7,3.6 -4,-5,4 1.5,-6,3.8 "
                "6,-4.8,3.2 -5,0,3.6 10.3,-3.6,2.3",
            ),
            ("ear", "-1.3,3.2,1.7,2.2"),
        ),
    ),
)


def load_drawn_sprites(split: str = "train", image_size: int = 64) -> Sequences:
    """Sequences of 8 frames, (N, 8, 3, 64, 64) bytes on black, drawn in memory: the splits, counts and labels of `sprites.load_sprites`.

    split: "train" (N = 9 000), "test" (2 664), or the parts of train "fit" (8 100) and "validation" (900). image_size: 64 or 32.
    The same version of Pillow draws the same bytes. Raises `ValueError` for another split or size.
    """
    chosen = characters(split)
    return sprite_sequences(_frames(chosen, image_size).flatten(0, 1), chosen, split, WHOSE)


def load_drawn_poses(split: str = "train", image_size: int = 64) -> Sequences:
    """The 9 motions of each character of `split`, 72 frames, as one unordered sequence, (N, 72, 3, 64, 64) bytes.

    The stand-in for `sprites.load_poses`, with its splits and labels: skin, trousers, top, hair, character, static; pose
    (numbered as there; 63 of the 178 occur), action (3), direction (3), position, dynamic. As in the benchmark's sequences
    some poses come twice, as one and the same picture. split, image_size, errors: as `load_drawn_sprites`.
    """
    chosen = characters(split)
    known = sprite_sequences(
        _frames(chosen, image_size).flatten(0, 1), chosen, split, f"all poses of {WHOSE}"
    )
    frames, names = (
        known.frames.unflatten(0, (-1, 9)).flatten(1, 2),
        ("pose", "action", "direction", "position"),
    )
    labels = {name: known.labels[name][::9] for name in (*WORN, "character")}
    for name in names:
        values = known.labels[name].unflatten(0, (-1, 9))
        labels[name] = (
            values if name in known.dynamic else values[..., None].expand(-1, -1, 8)
        ).flatten(1, 2)
    provenance = known.provenance.replace(f"{len(known)} sequences", f"{len(frames)} sequences")
    classes = {name: known.classes[name] for name in (*WORN, *names)}
    return Sequences(
        frames, labels, (*WORN, "character"), names, split, provenance, classes=classes
    )


def _frames(chosen: np.ndarray, image_size: int) -> torch.Tensor:
    """The frames of characters in each motion, (n, 9, 8, 3, S, S) bytes."""
    if image_size not in SIZES:
        raise ValueError(f"image_size: expected 64 or 32, found {image_size}")
    frames = torch.empty(len(chosen), 9, 8, 3, image_size, image_size, dtype=torch.uint8)
    used = sorted(set(np.ravel(MOTION_POSES).tolist()))
    slots = np.searchsorted(used, np.array(MOTION_POSES))
    worn = np.stack(np.unravel_index(chosen, (6, 6, 6, 6)), axis=1)
    for style in range(6):
        skins, trousers, tops, rest = _contributions(
            [POSES[number] for number in used], style, image_size
        )
        for row in np.flatnonzero(worn[:, 3] == style):
            skin, lower, upper, _ = worn[row]
            total = skins[skin] + trousers[lower] + tops[upper] + rest
            frames[row] = torch.from_numpy((total >> 8).astype(np.uint8)[slots])
    return frames


def stance(action: str, direction: str, position: int) -> Stance:
    """What a figure does in the drawing at `position` of an action: 1 ... 8 of walk, 0 ... 6 of spellcard, 0 ... 5 of slash."""
    side = direction != "front"
    if action == "walk":
        return _walk(2 * np.pi * (position - 1) / 8, side)
    stances = {"spellcard": _spellcard, "slash": _slash}[action]
    return stances(position, side)


def _walk(phase: float, side: bool) -> Stance:
    along, lift = np.cos(phase), np.sin(phase)
    high = (max(0, lift), max(0, -lift))  # of the one foot, of the other
    if side:
        hands = (
            (32.5 - 7 * along, 45 - 1.5 * abs(along)),
            (33.5 + 7 * along, 44.5 - 1.5 * abs(along)),
        )
        return Stance(
            hands,
            ((32 + 6.5 * along, 55.5 - 4.2 * high[0]), (32 - 6.5 * along, 55.5 - 4.2 * high[1])),
            (0, -0.9 * abs(lift)),
        )
    hands = (
        (21.5 + 1.5 * max(0, -along), 45.2 - 2.6 * along),
        (42.5 - 1.5 * max(0, along), 45.2 + 2.6 * along),
    )
    feet = (
        (28 - 0.3 * lift, 55.5 + 0.8 * along - 4 * high[0]),
        (36 - 0.3 * lift, 55.5 - 0.8 * along - 4 * high[1]),
    )
    return Stance(hands, feet, (0.8 * lift, -0.9 * abs(lift)))


def _spellcard(position: int, side: bool) -> Stance:
    """The hands meet, the eyes close, the arms rise with a light, and sink."""
    rise, closed = (0, 0.3, 0.6, 0.3, -0.3, -1, 0)[position], position in (2, 3)
    if side:
        x, y = (
            (33.5, 46),
            (38.5, 42.5),
            (40.5, 40),
            (42.5, 38.5),
            (43.3, 35.5),
            (42.5, 30),
            (41, 43),
        )[position]
        glow = (
            None,
            None,
            (42.8, 38.3, 2.2),
            (45.3, 36.6, 1.8),
            (46.6, 33, 2.8),
            (46.2, 24.8, 4),
            None,
        )[position]
        lean = (0, 0.3, 0.4, 0.3, 0, -0.6, 0)[position]
        feet = ((33.5, 55.5), (30.5, 55))
        return Stance(
            ((x, y), (x + 1.5, y - 1)), feet, (lean, rise), closed, glow=(glow,) if glow else ()
        )
    x, y = ((9.8, 44.5), (7, 41), (2.2, 39.8), (9, 38), (13.5, 33.5), (13.8, 27.5), (12, 40.5))[
        position
    ]
    glow = (None, None, (0, 39, 2.2), (9.6, 36.2, 1.6), (14.8, 30.8, 2.6), (15.2, 23.4, 3.8), None)[
        position
    ]
    glows = tuple((32 + sign * glow[0], *glow[1:]) for sign in (-1, 1)) if glow else ()
    return Stance(
        ((32 - x, y), (32 + x, y)), ((28, 55.5), (36, 55.5)), (0, rise), closed, glow=glows
    )


def _slash(position: int, side: bool) -> Stance:
    """The sword is drawn back, lifted, and swept down; the front foot steps forward."""
    if side:
        hand = ((36.5, 44), (25, 41.5), (26, 28.5), (43, 37), (41.8, 43), (37, 46))[position]
        other = ((36, 44.5), (39, 43), (30, 44), (27, 43.5), (26, 44), (27.5, 45))[position]
        near, far = (
            ((34, 33, 35, 38.5, 39, 37.5)[position], 55.5),
            ((30.5, 30, 29.5, 27.5, 27, 28)[position], 55),
        )
        shift = ((0, 0), (-1, 0), (-0.3, -0.6), (1.2, 0.4), (1.5, 1), (1, 0.6))[position]
        angle, sweep = (
            (38, 150, 112, 12, -38, -68)[position],
            (None, None, None, (100, 15), (60, -35), (5, -68))[position],
        )
        return Stance((hand, other), (near, far), shift, sword=angle, sweep=sweep)
    hand = ((22, 44.5), (19.5, 37.5), (20.5, 28.5), (24, 42), (31, 43.5), (37.5, 42))[position]
    other = ((42, 45), (43, 43.5), (44, 41), (43, 44), (42.5, 45.5), (42, 46))[position]
    left = ((27.5, 55.5), (27, 55.5), (27, 55.3), (26.5, 56.2), (26, 56.4), (26.5, 56))[position]
    right = ((36.5, 55.5), (37, 55.3), (37, 55.5), (37.5, 54.8), (38, 54.6), (37.5, 55))[position]
    shift = ((0, 0), (0.8, 0.3), (0.5, -0.8), (-0.5, 0.5), (0, 1), (0.5, 0.6))[position]
    angle, sweep = (
        (118, 150, 116, 222, 285, 335)[position],
        (None, None, None, (110, 215), (185, 290), (270, 340))[position],
    )
    return Stance((hand, other), (left, right), shift, sword=angle, sweep=sweep)


def _contributions(
    poses: list[Pose], style: int, image_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What skin, trousers and top give to the pixels, (6, poses, 3, S, S), in 256ths; all else, (poses, 3, S, S), with 128 to round by."""
    side = POINTS // image_size  # of the points that make up a pixel
    rows = np.arange(POINTS) // side
    first = (rows[:, None] * image_size + rows) * PAINTS  # of a pixel's counters
    colours = _colours(style)
    parts = np.empty((19, len(poses), 3, image_size, image_size), np.uint16)
    for number, pose in enumerate(poses):
        hair = (FROM_FRONT if pose.direction == "front" else FROM_SIDE)[style]
        points = figure(pose.direction, stance(*pose[:3]), *hair)
        counts = np.bincount((first + points).ravel(), minlength=image_size**2 * PAINTS).reshape(
            -1, PAINTS
        )
        sums = (
            counts.astype(np.float32) @ colours * (256 / side**2)
        )  # whole numbers below 2^16, exact
        parts[:, number] = sums.reshape(image_size, image_size, 19, 3).transpose(2, 3, 0, 1)
    return parts[:6], parts[6:12], parts[12:18], parts[18] + 128


def _colours(style: int) -> np.ndarray:
    """Colours of the paints, (paints, 57): three columns for each skin, trousers and top, and for all else; 0 where another decides."""
    table = np.zeros((19, PAINTS // 4, 4, 3))
    for number, skin in enumerate(SKINS):
        table[number, paint.SKIN] = _tones(skin, line=0.42, shade=0.82)
        table[number, paint.BLUSH] = 0.78 * _tones(skin)[paint.BASE] + 0.22 * np.array(
            (230, 90, 90)
        )
    for number, cloths in enumerate(TROUSERS):
        table[6 + number, [paint.TROUSERS, paint.KNEE]] = [_tones(cloth) for cloth in cloths]
    for number, cloths in enumerate(TOPS):
        table[12 + number, TOP_PAINTS] = [_tones(cloth) for cloth in cloths]
    table[18, paint.HAIR] = _tones(HAIRS[style])
    for material, colour in OTHERS.items():
        table[18, material] = _tones(colour, light=0.9 if material == paint.BLADE else 0.35)
    table[18, paint.EYE], table[18, paint.GLOW] = EYES, GLOWS
    return (
        table.clip(0, 255)
        .round()
        .reshape(19, PAINTS, 3)
        .transpose(1, 0, 2)
        .reshape(PAINTS, 57)
        .astype(np.float32)
    )


def _tones(colour: str, line: float = 0.28, shade: float = 0.72, light: float = 0.35) -> np.ndarray:
    """The tones line, shade, base and light of a colour, (4, 3): the dark ones a little bluer, as in the shade."""
    base, blue = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], float), (0.95, 0.92, 1.1)
    return np.stack([base * line * blue, base * shade * blue, base, base + (255 - base) * light])
