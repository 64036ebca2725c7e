"""Who a face is (identity) and how it is seen in one photograph (appearance), drawn from keyed streams."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from lrfr.core.streams import Stream, stream

Color = tuple[float, float, float]
T = TypeVar("T")

SKIN_LIGHT: Color = (236.0, 196.0, 172.0)
SKIN_TAN: Color = (198.0, 146.0, 112.0)
SKIN_DARK: Color = (104.0, 68.0, 50.0)
HAIR_COLORS: tuple[Color, ...] = (
    (26, 22, 22),
    (44, 30, 24),
    (74, 48, 32),
    (112, 74, 44),
    (172, 132, 82),
    (132, 62, 34),
)
GRAY_HAIR: Color = (158.0, 156.0, 154.0)
IRIS_COLORS: tuple[Color, ...] = (
    (60, 36, 22),
    (78, 50, 30),
    (100, 84, 50),
    (76, 108, 90),
    (92, 122, 152),
    (112, 122, 128),
)
HAIR_STYLES = ("short", "side", "fringe", "long", "curly", "receding")


class Dice:
    """Successive numbers of one stream."""

    def __init__(self, source: Stream) -> None:
        self._source = source
        self._slot = 0

    def unit(self) -> float:
        """Return the next uniform number in [0, 1)."""
        self._slot += 1
        return self._source.u(self._slot)

    def between(self, low: float, high: float) -> float:
        """Return a uniform number in [low, high)."""
        return low + (high - low) * self.unit()

    def bell(self, spread: float) -> float:
        """Return a bell-shaped number of standard deviation ``spread``, within 3.47 of them (a sum of four
        uniforms).
        """
        return (sum(self.unit() for _ in range(4)) - 2.0) * 1.7320508 * spread

    def chance(self, probability: float) -> bool:
        """Return True with the given probability."""
        return self.unit() < probability

    def pick(self, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[int(self.unit() * len(options))]


@dataclass(frozen=True)
class Identity:
    """What stays the same in all photographs of one person; lengths in pixels of the 112 px crop, eyes at
    height 0.
    """

    male: bool
    bald: bool
    age: float
    width: float
    cheek: float
    jaw: float
    chin_y: float
    chin_w: float
    eye_x: float
    eye_w: float
    eye_open: float
    eye_tilt: float
    brow_y: float
    brow_thick: float
    brow_arch: float
    nose_y: float
    nose_w: float
    nose_len: float
    mouth_y: float
    mouth_w: float
    lip_up: float
    lip_low: float
    ear: float
    hairline: float
    hair_volume: float
    hair_style: str
    beard: str
    glasses: float
    skin: Color
    hair: Color
    iris: Color
    lips: Color
    marks: tuple[tuple[float, float, float], ...]
    cheekbone: float
    parting: float
    chubby: float
    frame_round: float

    @property
    def attributes(self) -> dict[str, int]:
        """Return the five soft-biometric labels (1 or 0) that the shape parameters imply."""
        return {
            "Male": int(self.male),
            "Bald": int(self.bald),
            "Big_Nose": int(self.nose_w > 9.6),
            "Chubby": int(self.chubby > 0.62),
            "Narrow_Eyes": int(self.eye_open < 3.3),
        }


@dataclass(frozen=True)
class Appearance:
    """What differs between the photographs of one person; angles in radians."""

    yaw: float
    pitch: float
    roll: float
    shift_x: float
    shift_y: float
    scale: float
    light: tuple[float, float, float]
    tint: Color
    ambient: float
    exposure: float
    shine: float
    smile: float
    mouth_open: float
    brow_raise: float
    lids: float
    gaze: float
    glasses: bool
    frame: Color
    shirt: Color
    grain: float


def mix(a: Color, b: Color, share: float) -> Color:
    """Return the color that is ``share`` of the way from ``a`` to ``b``."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def shade(color: Color, factor: float) -> Color:
    """Return the color, darker (factor below 1) or lighter."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def _skin(dice: Dice) -> Color:
    tone, warmth = dice.unit(), dice.between(-1.0, 1.0)
    base = mix(SKIN_LIGHT, SKIN_TAN, tone * 2.0) if tone < 0.5 else mix(SKIN_TAN, SKIN_DARK, tone * 2.0 - 1.0)
    return (base[0] + 6.0 * warmth, base[1], base[2] - 8.0 * warmth)


def _hair_color(dice: Dice, age: float, skin: Color) -> Color:
    known = HAIR_COLORS if skin[0] > 190.0 else HAIR_COLORS[:3]
    color = dice.pick(known)
    graying = max(0.0, age - 0.6) * 2.4 * dice.unit()
    return mix(color, GRAY_HAIR, min(1.0, graying))


def _beard(dice: Dice, male: bool) -> str:
    kind = dice.pick(("none", "none", "stubble", "full", "goatee", "moustache"))
    return kind if male else "none"


@functools.lru_cache(maxsize=64)
def identity_of(number: int, seed: int) -> Identity:
    """Return person ``number`` of the population ``seed``."""
    dice = Dice(stream(seed, b"face:%d" % number, 0, "identity"))
    male, age = dice.chance(0.5), dice.unit()
    m = 1.0 if male else 0.0
    chubby = dice.unit()
    bald = dice.chance(0.06 + 0.34 * m * age)
    skin = _skin(dice)
    hair = _hair_color(dice, age, skin)
    big_nose = dice.chance(0.3)
    narrow = dice.chance(0.25)
    style = dice.pick(HAIR_STYLES if male else HAIR_STYLES[1:5])
    width = 36.0 + dice.bell(1.3) + 3.4 * (chubby - 0.4)
    lips = mix(skin, (150.0, 50.0, 56.0), dice.between(0.25, 0.5) if male else dice.between(0.4, 0.85))
    marks = tuple(
        (dice.between(-26, 26), dice.between(-24, 50), dice.between(0.7, 1.3))
        for _ in range(dice.pick((0, 0, 1, 1, 2, 3)))
    )
    return Identity(
        male=male,
        bald=bald,
        age=age,
        width=width,
        cheek=width * (0.95 + dice.bell(0.015) + 0.07 * max(0.0, chubby - 0.4)),
        jaw=width * (0.76 + dice.bell(0.035) + 0.06 * m + 0.17 * max(0.0, chubby - 0.4)),
        chin_y=60.0 + dice.bell(2.2) + 2.0 * m,
        chin_w=10.0 + dice.bell(1.8) + 2.5 * m + 3.0 * max(0.0, chubby - 0.4),
        eye_x=17.4 + dice.bell(0.9),
        eye_w=7.4 + dice.bell(0.6) - 0.4 * m,
        eye_open=dice.between(2.5, 3.2) if narrow else dice.between(3.6, 5.0),
        eye_tilt=dice.bell(0.6),
        brow_y=-9.5 + dice.bell(1.2) + 1.2 * m,
        brow_thick=1.3 + dice.between(0.0, 1.5) + 0.9 * m,
        brow_arch=dice.between(0.2, 3.2) - 0.8 * m,
        nose_y=19.5 + dice.bell(1.5),
        nose_w=dice.between(9.7, 12.0) if big_nose else dice.between(6.4, 9.2),
        nose_len=10.5 + dice.bell(1.4) + (2.0 if big_nose else 0.0),
        mouth_y=40.5 + dice.bell(1.5),
        mouth_w=13.6 + dice.bell(1.3),
        lip_up=dice.between(1.4, 3.4) - 0.4 * m,
        lip_low=dice.between(2.2, 4.6) - 0.4 * m,
        ear=dice.between(3.0, 6.5),
        hairline=-33.0 + dice.bell(3.0) - 2.0 * age,
        hair_volume=dice.between(2.0, 9.0),
        hair_style=style,
        beard=_beard(dice, male),
        glasses=0.8 if dice.chance(0.16) else 0.04,
        skin=skin,
        hair=hair,
        iris=dice.pick(IRIS_COLORS if skin[0] > 200.0 else IRIS_COLORS[:2]),
        lips=lips,
        marks=marks,
        cheekbone=dice.between(0.5, 2.4),
        parting=dice.between(-10.0, 8.0),
        chubby=chubby,
        frame_round=dice.unit(),
    )


def appearance_of(person: Identity, number: int, image: int, seed: int) -> Appearance:
    """Return how photograph ``image`` shows person ``number``."""
    dice = Dice(stream(seed, b"face:%d:%d" % (number, image), 0, "appearance"))
    warm = dice.bell(0.045)
    light_x, light_y = dice.bell(0.55), dice.between(-0.75, 0.1)
    norm = (light_x * light_x + light_y * light_y + 1.0) ** 0.5
    return Appearance(
        yaw=max(-0.62, min(0.62, dice.bell(0.26))),
        pitch=dice.bell(0.1),
        roll=dice.bell(0.02),
        shift_x=dice.bell(0.9),
        shift_y=dice.bell(0.9),
        scale=1.0 + dice.bell(0.02),
        light=(light_x / norm, light_y / norm, 1.0 / norm),
        tint=(1.0 + warm, 1.0 + dice.bell(0.02), 1.0 - warm),
        ambient=dice.between(0.28, 0.62),
        exposure=dice.between(0.78, 1.16),
        shine=dice.between(0.0, 0.22),
        smile=max(-0.3, min(1.0, 0.35 + dice.bell(0.45))),
        mouth_open=max(0.0, dice.bell(1.6) - 0.4),
        brow_raise=dice.bell(1.0),
        lids=max(0.35, min(1.15, 1.0 + dice.bell(0.14))),
        gaze=dice.bell(1.1),
        glasses=dice.chance(person.glasses),
        frame=dice.pick(((24, 22, 26), (60, 40, 28), (120, 116, 112), (30, 34, 60))),
        shirt=(dice.between(20, 230), dice.between(20, 230), dice.between(20, 230)),
        grain=dice.between(0.6, 2.4),
    )
