"""How the figures of `drawn_sprites` are drawn: bodies, faces, hair, a sword and a glow, out of filled shapes.

Places are in units of a 64th of the picture, x to the right and y downwards; hair and face are given from the head's middle.
Seen from the side, a figure faces right; to the left it is drawn mirrored, except for the light, which always falls from above left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

POINTS = 256  # side of a drawing; a unit is 4 points
LINE, SHADE, BASE, LIGHT = range(
    4
)  # the four tones of a material; paint 4 material + tone, 0 where nothing is
(
    SKIN,
    HAIR,
    TOP,
    COLLAR,
    STRIPE,
    TIE,
    CROSSING,
    CUFF,
    TROUSERS,
    KNEE,
    SHOES,
    EYE,
    BLUSH,
    BLADE,
    HILT,
    GLOW,
) = range(1, 17)
PAINTS = 4 * (GLOW + 1)
Places = tuple[tuple[float, float], ...]
Strokes = tuple[
    tuple[str, str], ...
]  # of hair: a kind and its numbers, from the head's middle, see `_hair`


@dataclass(frozen=True)
class Stance:
    """What a figure does in one drawing. hands, feet: first those on the picture's left, or from the side the near ones."""

    hands: Places
    feet: Places
    shift: tuple[float, float] = (0, 0)  # of body and head
    eyes_closed: bool = False
    sword: float | None = (
        None  # angle of the blade in the first hand, degrees, counter-clockwise from the right
    )
    sweep: tuple[float, float] | None = None  # angles between which the blade has just passed
    glow: tuple[tuple[float, float, float], ...] = ()  # x, y, radius


_CIRCLE = np.stack(
    [function(np.linspace(0, 2 * np.pi, 48, endpoint=False)) for function in (np.cos, np.sin)],
    axis=1,
)


def _ellipse(x: float, y: float, across: float, down: float, turn: float = 0.0) -> np.ndarray:
    line = _CIRCLE * (across, down)
    if turn:
        cosine, sine = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
        line = line @ np.array([(cosine, sine), (-sine, cosine)])
    return line + (x, y)


def _limb(places: object, widths: object) -> list[np.ndarray]:
    """A line through places, as wide as `widths` at each of them, with round ends."""
    places = np.asarray(places, float)
    radii = np.broadcast_to(np.asarray(widths, float) / 2, len(places))
    pieces = [_ellipse(*place, radius, radius) for place, radius in zip(places, radii)]
    for start, end, first, last in zip(places, places[1:], radii, radii[1:]):
        across = (end - start)[::-1] * (-1, 1) / max(np.hypot(*(end - start)), 1e-6)
        pieces.append(
            np.stack(
                [
                    start + across * first,
                    end + across * last,
                    end - across * last,
                    start - across * first,
                ]
            )
        )
    return pieces


def _curve(places: np.ndarray) -> np.ndarray:
    """A closed smooth line through places (Catmull and Rom's spline)."""
    t = np.linspace(0, 1, 6, endpoint=False)[:, None, None]
    a, b, c, d = (np.roll(places, shift, axis=0) for shift in (1, 0, -1, -2))
    line = (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    ) / 2
    return line.transpose(1, 0, 2).reshape(-1, 2)


def _joint(start: object, end: object, length: float, side: int, most: float = 9.0) -> np.ndarray:
    """The elbow or knee of two equal parts between two places: to their right (1) or left (-1), `most` units off at most."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    distance = max(np.hypot(*(end - start)), 1e-6)
    off = min(np.sqrt(max(length**2 - distance**2 / 4, 0)), most)
    return (start + end) / 2 + side * off * (end - start)[::-1] * (-1, 1) / distance


def _numbers(text: str, columns: int) -> np.ndarray:
    return np.array(text.replace(",", " ").split(), float).reshape(-1, columns)


class _Drawing:
    """A picture of paints, (256, 256) bytes."""

    def __init__(self, mirrored: bool):
        self.paint, self.mirrored = np.zeros((POINTS, POINTS), np.uint8), mirrored

    def inside(self, *pieces: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
        """The points inside polygons: a window of the picture, 12 points wider where there is room, and its mask."""
        scaled = [
            (piece * (-1, 1) + (64, 0) if self.mirrored else piece) * 4 - 0.5 for piece in pieces
        ]
        every = np.concatenate(scaled)
        low = np.maximum(np.floor(every.min(axis=0)).astype(int) - 12, 0)
        high = np.maximum(np.minimum(np.ceil(every.max(axis=0)).astype(int) + 13, POINTS), low + 1)
        image = Image.new("L", tuple(int(side) for side in high - low))
        draw = ImageDraw.Draw(image)
        for piece in scaled:
            draw.polygon([tuple(place) for place in (piece - low).round(3).tolist()], fill=1)
        return (slice(low[1], high[1]), slice(low[0], high[0])), np.asarray(image).astype(bool)

    def shape(
        self,
        material: int,
        *pieces: np.ndarray,
        line: float = 0.9,
        shade: float = 1.2,
        light: float = 0.0,
    ) -> np.ndarray:
        """Fill polygons, with a line around, shade below right and light above left, so many units wide; their mask (256, 256)."""
        window, mask = self.inside(*pieces)
        part, width = self.paint[window], round(4 * line)
        slant, grown = round(2.84 * line), mask.copy()
        for one, other in ((width, 0), (0, width), (slant, slant), (slant, -slant)):
            grown |= np.roll(mask, (one, other), (0, 1)) | np.roll(mask, (-one, -other), (0, 1))
        part[grown & ~mask] = 4 * material + LINE
        part[mask] = 4 * material + BASE
        for tone, width in ((LIGHT, round(4 * light)), (SHADE, -round(4 * shade))):
            if width:
                part[mask & ~np.roll(mask, (width, width), (0, 1))] = 4 * material + tone
        whole = np.zeros(self.paint.shape, bool)
        whole[window] = mask
        return whole

    def over(
        self, material: int, within: np.ndarray, *pieces: np.ndarray, tone: int | None = None
    ) -> None:
        """Change the material where polygons lie within a mask; the tones stay as they are unless one is given."""
        window, mask = self.inside(*pieces)
        mask &= within[window]
        self.paint[window][mask] = 4 * material + (
            self.paint[window][mask] % 4 if tone is None else tone
        )

    def spot(self, material: int, tone: int, *pieces: np.ndarray) -> None:
        """Fill polygons with one tone."""
        window, mask = self.inside(*pieces)
        self.paint[window][mask] = 4 * material + tone


def figure(direction: str, stance: Stance, behind: Strokes, covering: Strokes) -> np.ndarray:
    """A figure as paints, (256, 256) bytes. direction: front, left or right; hair: behind the body, and covering the head."""
    drawing = _Drawing(mirrored=direction == "left")
    (_from_front if direction == "front" else _from_side)(
        drawing, 32 + stance.shift[0], stance.shift[1], stance, behind, covering
    )
    return drawing.paint


def _from_front(
    drawing: _Drawing, x: float, y: float, stance: Stance, behind: Strokes, covering: Strokes
) -> None:
    _hair(drawing, behind, x, y + 21.5)
    for side, foot in zip((-1, 1), stance.feet):
        _leg(drawing, (x + 3.5 * side, y + 44), foot, side, toe=0)
    waist = [(-6, -6), (6, -6), (7.6, -2), (6.9, 6), (0, 7), (-6.9, 6), (-7.6, -2)]
    _torso(
        drawing,
        x,
        y + 38.5,
        drawing.shape(TOP, _curve(np.add(waist, (x, y + 38.5))), shade=1.6, light=0.8),
        tie=x,
    )
    in_front = [abs(spot[0] - 32) <= 4 for spot in stance.glow]
    for spot, front in zip(stance.glow, in_front):
        if not front:
            _glow(drawing, *spot)
    for side, hand, sword in zip((-1, 1), stance.hands, (stance.sword, None)):
        _arm(drawing, (x + 6.6 * side, y + 35.6), hand, -side, sword, most=2.6)
    y += 21.5
    for side in (-1, 1):
        drawing.shape(SKIN, _ellipse(x + 10.6 * side, y + 2.8, 2, 2.4), shade=0.8)
    head = [(-10.3, -1), (-6, -10), (6, -10), (10.3, -1), (9, 6), (4, 9.8), (-4, 9.8), (-9, 6)]
    drawing.shape(SKIN, _curve(np.add(head, (x, y))), shade=1.6)
    for side in (-1, 1):
        drawing.spot(BLUSH, BASE, _ellipse(x + 6.6 * side, y + 5.6, 1.8, 1.1))
        _eye(drawing, x + 4.5 * side, y + 2.2, stance.eyes_closed, 1.0)
    drawing.spot(EYE, SHADE, _ellipse(x, y + 7.2, 1.3, 0.55))  # the mouth
    _hair(drawing, covering, x, y, shine=x)
    for spot, front in zip(stance.glow, in_front):
        if front:
            _glow(drawing, *spot)
    if stance.sweep:
        _sweep(drawing, x, y + 17.5, *stance.sweep)


def _from_side(
    drawing: _Drawing, x: float, y: float, stance: Stance, behind: Strokes, covering: Strokes
) -> None:
    _hair(drawing, behind, x + 1, y + 21.5)
    _arm(drawing, (x + 0.8, y + 35.5), stance.hands[1], -1)
    _leg(drawing, (x + 0.6, y + 44), stance.feet[1], -1, toe=1)
    _leg(drawing, (x - 0.4, y + 44.3), stance.feet[0], -1, toe=1)
    waist = [(-4.8, -5.5), (4.5, -5.5), (6, 0), (5.3, 6.2), (0, 7), (-5.3, 6.2), (-5.6, 0)]
    _torso(
        drawing,
        x,
        y + 38.5,
        drawing.shape(TOP, _curve(np.add(waist, (x, y + 38.5))), shade=1.4, light=0.8),
        tie=x + 3.6,
    )
    head = [
        (-10.3, -2),
        (-6, -10),
        (4, -10.3),
        (9.8, -4),
        (10.4, 1.4),
        (11.5, 3.4),
        (9.8, 5),
        (8.5, 8.3),
        (3, 10),
        (-4, 9.3),
        (-8.5, 6),
    ]
    x, y = x + 1, y + 21.5
    drawing.shape(SKIN, _curve(np.add(head, (x, y))), shade=1.6)
    drawing.spot(BLUSH, BASE, _ellipse(x + 4.3, y + 5.4, 1.7, 1.1))
    _eye(drawing, x + 6.8, y + 2.2, stance.eyes_closed, 0.85)
    drawing.spot(EYE, SHADE, _ellipse(x + 8, y + 7.2, 1.1, 0.5, -20))
    _hair(drawing, covering, x, y, shine=x + 1)
    if stance.sweep:
        _sweep(drawing, x - 1, y + 17.5, *stance.sweep)
    for spot in stance.glow:
        _glow(drawing, *spot)
    _arm(drawing, (x - 1.6, y + 14.5), stance.hands[0], -1, stance.sword)


def _hair(
    drawing: _Drawing, strokes: Strokes, x: float, y: float, shine: float | None = None
) -> None:
    """Strokes around (x, y). outline: straight lines between places; curve: a smooth line through them; balls: x, y, radius;

    strands: from where, towards where, to where; ear, band (in the hilt's colour): an ellipse's middle and radii. shine: where the
    gleam's middle is, across.
    """
    for kind, text in strokes:
        if kind in ("outline", "curve"):
            line = _numbers(text, 2) + (x, y)
            mask = drawing.shape(HAIR, _curve(line) if kind == "curve" else line, light=1.1)
            if shine is not None:
                plain = mask & (drawing.paint == 4 * HAIR + BASE)
                drawing.over(
                    HAIR, plain, _gleam(shine, y, 62, 128), _gleam(shine, y, 28, 52), tone=LIGHT
                )
        elif kind == "balls":
            balls = _numbers(text, 3) + (x, y, 0)
            drawing.shape(HAIR, *(_ellipse(*ball[:2], ball[2], ball[2]) for ball in balls), shade=0)
            for ball in balls:
                drawing.shape(
                    HAIR,
                    _ellipse(*ball[:2], ball[2] - 0.7, ball[2] - 0.7),
                    line=0,
                    shade=1.1,
                    light=0.8,
                )
        elif kind == "strands":
            t = np.linspace(0, 1, 7)[:, None]
            for start, towards, end in _numbers(text, 2).reshape(-1, 3, 2) + (x, y):
                line = (1 - t) ** 2 * start + 2 * t * (1 - t) * towards + t**2 * end
                drawing.over(
                    HAIR,
                    drawing.paint // 4 == HAIR,
                    *_limb(line, np.linspace(0.5, 1.1, 7)),
                    tone=SHADE,
                )
        else:
            across, down, *radii = _numbers(text, 4)[0]
            if kind == "ear":
                drawing.shape(SKIN, _ellipse(x + across, y + down, *radii), line=0.5, shade=0.6)
            else:
                drawing.spot(HILT, BASE, _ellipse(x + across, y + down, *radii, -12))


def _gleam(x: float, y: float, start: float, end: float) -> np.ndarray:
    """A gleam on the crown of the head, thin at both ends."""
    angles, bulge = (
        np.deg2rad(np.linspace(start, end, 16)),
        2.2 * np.sin(np.linspace(0.15, np.pi - 0.15, 16)),
    )
    direction = np.stack([np.cos(angles), -np.sin(angles)], axis=1)
    outer = direction * (8.6, 8.2)
    return np.concatenate([outer, (outer - direction * bulge[:, None])[::-1]]) + (x, y)


def _leg(drawing: _Drawing, hip: object, foot: tuple[float, float], side: int, toe: int) -> None:
    knee = _joint(hip, (foot[0], foot[1] - 1.2), 6.1, side, 9.0 if toe else 0.6)
    widths = (6, 5.4, 4.7) if toe else (5.6, 5.2, 4.7)
    mask = drawing.shape(
        TROUSERS, *_limb([hip, knee, (foot[0], foot[1] - 1.5)], widths), shade=1.3, light=0.7
    )
    drawing.over(KNEE, mask, _ellipse(*knee, 3.2, 2.2))
    drawing.shape(
        SHOES,
        _ellipse(foot[0] + 1.3 * toe, foot[1] + 1.2, 3.1 + 0.3 * toe, 2.3),
        shade=0.9,
        light=0.6,
    )


def _arm(
    drawing: _Drawing,
    shoulder: object,
    hand: object,
    side: int,
    sword: float | None = None,
    most: float = 9.0,
) -> None:
    elbow, hand = _joint(shoulder, hand, 5.6, side, most), np.asarray(hand, float)
    wrist = hand + 0.42 * (elbow - hand)
    if sword is not None:
        _sword(drawing, hand, sword)
    drawing.shape(SKIN, _ellipse(*hand, 2.5, 2.5), shade=0.8)
    mask = drawing.shape(TOP, *_limb([shoulder, elbow, wrist], (5, 4.6, 4.4)), shade=1.1, light=0.6)
    drawing.over(CUFF, mask, *_limb([wrist + 0.05 * (elbow - wrist), hand], 6.5))


def _sword(drawing: _Drawing, hand: np.ndarray, angle: float) -> None:
    along = np.array([np.cos(np.deg2rad(angle)), -np.sin(np.deg2rad(angle))])
    frame = np.stack(
        [along, (along[1], -along[0])]
    )  # places below are (along the blade, across it)
    blade = np.array([(3, 1.5), (13, 1.2), (16, 0), (13, -1.2), (3, -1.5)]) @ frame + hand
    drawing.shape(BLADE, blade, line=0.7, shade=0)
    drawing.spot(BLADE, LIGHT, np.array([(3, 0.2), (14, 0.1), (13, 1), (3, 1.2)]) @ frame + hand)
    grip = [
        *_limb(np.array([(-2.6, 0), (2, 0)]) @ frame + hand, 1.8),
        *_limb(np.array([(2.6, 3), (2.6, -3)]) @ frame + hand, 1.7),
    ]
    drawing.shape(HILT, *grip, line=0.6, shade=0)


def _sweep(drawing: _Drawing, x: float, y: float, start: float, end: float) -> None:
    """The blade's trace: a crescent that widens towards where the blade is now."""
    angles, width = np.deg2rad(np.linspace(start, end, 24)), np.linspace(0, 1, 24) ** 1.2
    direction = np.stack([np.cos(angles), -0.8 * np.sin(angles)], axis=1)
    for tone, widest in ((SHADE, 6.5), (BASE, 4.0), (LIGHT, 1.8)):
        inner = direction * (22 - widest * width)[:, None]
        drawing.spot(GLOW, tone, np.concatenate([22 * direction, inner[::-1]]) + (x, y))


def _glow(drawing: _Drawing, x: float, y: float, radius: float) -> None:
    for tone, part in ((LINE, 1.75), (SHADE, 1.35), (BASE, 1.0), (LIGHT, 0.55)):
        drawing.spot(GLOW, tone, _ellipse(x, y, part * radius, part * radius))
    if radius > 2.5:
        drawing.spot(
            GLOW, LIGHT, _ellipse(x, y, 2.1 * radius, 0.5), _ellipse(x, y, 0.5, 2.1 * radius)
        )


def _eye(drawing: _Drawing, x: float, y: float, closed: bool, wide: float) -> None:
    if closed:
        lid = [(-2.2, -0.3), (-1, 1.1), (1, 1.1), (2.2, -0.3), (1, 2), (-1, 2)]
        drawing.spot(EYE, LINE, np.array(lid) * (wide, 1) + (x, y))
        return
    for tone, down, across, high in (
        (LINE, -0.2, 2.3, 3.2),
        (LIGHT, 0.3, 2, 2.6),
        (BASE, 0.1, 1.5, 2.4),
        (LINE, -0.3, 1, 1.5),
    ):
        drawing.spot(EYE, tone, _ellipse(x, y + down, across * wide, high))
    drawing.spot(EYE, LIGHT, _ellipse(x - 0.5 * wide, y - 1.1, 0.65, 0.75))


def _torso(drawing: _Drawing, x: float, y: float, mask: np.ndarray, tie: float) -> None:
    """What makes tops different, where `mask` has the torso: collar, stripe, tie and hem."""
    strip = np.add([(-1.2, -6), (1.2, -6), (1.7, 3.4), (0, 5), (-1.7, 3.4)], (tie, y))
    drawing.over(STRIPE, mask, np.add([(-9, 0.2), (9, 0.2), (9, 2.9), (-9, 2.9)], (x, y)))
    crossing = mask & (drawing.paint // 4 == STRIPE)
    drawing.over(TIE, mask, strip)
    drawing.over(CROSSING, crossing, strip)
    drawing.over(COLLAR, mask, np.add([(-9, -8), (9, -8), (9, -4.9), (-9, -4.9)], (x, y)))
    drawing.over(CUFF, mask, np.add([(-9, 5), (9, 5), (9, 9), (-9, 9)], (x, y)))
