"""Little church landscapes, drawn by a program that knows every object it draws.

A `Scene` is nothing but a vector of named numbers (`PARAMETERS`) and a texture seed. Drawing it is a
deterministic function of those, so two questions that photographs cannot answer are easy here:

* *What is where?* Every pixel has an exact label, one of `CLASSES`.
* *What would the picture be without this tree?* Change the one parameter `tree0_present` and draw again:
  everything that does not depend on the tree comes out identical, to the last bit.

The file reads in the order in which a picture comes about: the table of parameters, how a seed becomes
parameters, the canvas, the painters from the sky to the nearest tree, and last the `Scene` itself. It is long
because it is one story: each part uses the tables and the light of those before it.

Geometry lives in unit coordinates, x to the right and y downwards, both 0..1 across the picture, so the same
scene can be drawn at any size. Colors are sRGB in 0..1 until the very end.
"""

from __future__ import annotations

import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ..deprecated import renamed_arguments

__all__ = [
    "CLASSES",
    "CONCEPTS",
    "HELD_OUT",
    "PARAMETERS",
    "TEXTURE_SEEDS",
    "TRAINING",
    "TUNING",
    "Counterfactual",
    "Parameter",
    "Scene",
    "render_many",
]

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
Color = tuple[float, float, float]

# ------------------------------------------------------------------------------------------------------------
# Names and ranges
# ------------------------------------------------------------------------------------------------------------

CLASSES: tuple[str, ...] = (
    "sky",
    "cloud",
    "mountain",
    "grass",
    "path",
    "wall",
    "roof",
    "dome",
    "window",
    "door",
    "tree",
)
"""What a pixel can be; a label is an index into this tuple."""

SKY, CLOUD, MOUNTAIN, GRASS, PATH, WALL, ROOF, DOME, WINDOW, DOOR, TREE = range(len(CLASSES))

TRAINING = range(1_000_000)
"""Seeds a model may be trained on."""
TUNING = range(1_000_000, 1_100_000)
"""Seeds for choosing settings and thresholds."""
HELD_OUT = range(1_100_000, 1_200_000)
"""Seeds that only reported results may use."""

TEXTURE_SEEDS = range(8)
"""The random textures (grass blades, brick tones) come in this many versions and no more."""

_CLOUDS, _TREES, _WINDOWS = 3, 4, 5

_MATERIALS = ("brick", "stone", "plaster")
_ROOF_FORMS = ("gable", "hip", "flat")
_TOWER_FORMS = ("spire", "dome", "flat")
_PANE_FORMS = ("arched", "rectangular")
_TREE_FORMS = ("round", "conifer")


def _named(**percents: tuple[int, int, int]) -> Mapping[str, Color]:
    """Return colors by name, from their red, green and blue in percent."""
    return {name: (red / 100, green / 100, blue / 100) for name, (red, green, blue) in percents.items()}


_WALL_COLORS: Mapping[str, tuple[Color, ...]] = {
    "brick": ((0.66, 0.29, 0.23), (0.75, 0.42, 0.30), (0.83, 0.56, 0.38)),
    "stone": ((0.60, 0.60, 0.64), (0.71, 0.69, 0.67), (0.80, 0.75, 0.64)),
    "plaster": ((0.95, 0.93, 0.90), (0.96, 0.89, 0.72), (0.93, 0.76, 0.68)),
}
_ROOF_COLORS = _named(terracotta=(74, 29, 19), brown=(42, 26, 20), slate=(29, 34, 43), green=(29, 48, 41))
_DOME_COLORS = _named(
    gold=(95, 74, 24), teal=(35, 70, 62), blue=(28, 42, 76), white=(93, 93, 92), red=(76, 27, 23)
)
_DOOR_COLORS = _named(brown=(36, 21, 12), red=(50, 12, 12), green=(14, 30, 22))
_GRASS_COLORS: tuple[Color, ...] = ((0.25, 0.52, 0.20), (0.38, 0.57, 0.22), (0.54, 0.57, 0.25))
_FOLIAGE_COLORS: tuple[Color, ...] = (
    (0.13, 0.34, 0.17),
    (0.25, 0.48, 0.18),
    (0.47, 0.54, 0.18),
    (0.80, 0.46, 0.16),
)
_PATH_COLORS: tuple[Color, ...] = ((0.80, 0.70, 0.52), (0.78, 0.75, 0.69))


class Parameter(NamedTuple):
    """One number a scene is made of."""

    name: str
    low: float
    high: float
    unit: str
    meaning: str


def _choice(name: str, options: Iterable[str], meaning: str) -> Parameter:
    names = tuple(options)
    listed = ", ".join(f"{i} {option}" for i, option in enumerate(names))
    return Parameter(name, 0.0, float(len(names) - 1), "choice", f"{meaning}, rounded to one of: {listed}")


def _presence(name: str, what: str) -> Parameter:
    return Parameter(name, 0.0, 1.0, "presence", f"{what} is there from 0.5 upwards")


def _all_parameters() -> tuple[Parameter, ...]:
    """Return the table, object by object. "width" and "height" are fractions of the picture's."""
    table = [
        Parameter("sunset", 0.0, 1.0, "fraction", "0 full day, 1 the sun is setting"),
        Parameter("overcast", 0.0, 1.0, "fraction", "0 clear, 1 gray light without hard shadows"),
        Parameter("sun", -1.0, 1.0, "side", "the sun is -1 to the left, 0 behind the viewer, 1 to the right"),
        Parameter("sky_depth", 0.0, 1.0, "fraction", "how saturated the top of the sky is"),
        Parameter("horizon", 0.54, 0.66, "height", "the mean line where the meadow begins"),
        Parameter("hill", 0.0, 0.03, "height", "how far the horizon rolls up and down"),
        Parameter("hill_phase", 0.0, 1.0, "turn", "where the horizon's crests are"),
        Parameter("grass_tone", 0.0, 1.0, "fraction", "0 lush green, 1 dry olive"),
        _presence("mountain_present", "the mountain range"),
        Parameter("mountain_x", 0.0, 1.0, "width", "the main summit"),
        Parameter("mountain_height", 0.06, 0.22, "height", "of the summit over the horizon"),
        Parameter("mountain_width", 0.3, 0.8, "width", "the foot of the main mountain"),
        _presence("path_present", "the path to the door"),
        Parameter("path_foot", 0.1, 0.9, "width", "where the path leaves the picture at the bottom"),
        Parameter("path_bend", -0.6, 0.6, "fraction", "how far the path swings out on its way"),
        Parameter("path_width", 0.16, 0.32, "width", "of the path at the bottom edge"),
        Parameter("path_tone", 0.0, 1.0, "fraction", "0 sand, 1 pale gravel"),
        _presence("church_present", "the church with all that is attached to it"),
        Parameter("church_x", 0.35, 0.65, "width", "middle of the body and of the door"),
        Parameter("church_y", 0.70, 0.80, "height", "the ground line of the church"),
        Parameter("church_width", 0.34, 0.60, "width", "of the body"),
        Parameter("church_height", 0.26, 0.38, "height", "of the body's wall, ground to eaves"),
        _choice("wall_material", _MATERIALS, "what the walls are made of"),
        Parameter("wall_tone", 0.0, 1.0, "fraction", "place on the material's range of colors"),
        _choice("roof_form", _ROOF_FORMS, "the shape of the roof"),
        Parameter("roof_height", 0.07, 0.18, "height", "of a gable or hip roof"),
        _choice("roof_colour", _ROOF_COLORS, "color of roof and spires"),
        _presence("dome_present", "the central dome with its drum"),
        Parameter("dome_radius", 0.24, 0.40, "body width", "of the central dome"),
        Parameter("dome_rise", 0.8, 1.3, "radius", "height of the central dome"),
        _choice("dome_colour", _DOME_COLORS, "color of all domes"),
        _presence("tower0_present", "the left tower"),
        _presence("tower1_present", "the right tower"),
        _choice("tower_form", _TOWER_FORMS, "what the towers end in"),
        Parameter("tower_width", 0.09, 0.15, "width", "of a tower"),
        Parameter("tower_height", 0.04, 0.16, "height", "of a tower's wall over the eaves"),
        _presence("tower_window_present", "one window in each tower"),
        Parameter("window_count", 2.0, float(_WINDOWS), "windows", "places in the row, rounded"),
        *(_presence(f"window{i}_present", f"the window in place {i} of the row") for i in range(_WINDOWS)),
        _choice("window_form", _PANE_FORMS, "the shape of the windows"),
        Parameter("window_width", 0.0625, 0.085, "width", "of a window"),
        Parameter("window_height", 0.070, 0.100, "height", "of a window"),
        _presence("door_present", "the door"),
        _choice("door_form", _PANE_FORMS, "the shape of the door"),
        Parameter("door_width", 0.086, 0.130, "width", "of the door"),
        Parameter("door_height", 0.136, 0.185, "height", "of the door"),
        _choice("door_colour", _DOOR_COLORS, "color of the door"),
    ]
    for i in range(_CLOUDS):
        table += [
            _presence(f"cloud{i}_present", f"cloud {i}"),
            Parameter(f"cloud{i}_x", 0.0, 1.0, "width", "middle of the cloud"),
            Parameter(f"cloud{i}_y", 0.04, 0.45, "height", "middle of the cloud"),
            Parameter(f"cloud{i}_size", 0.14, 0.40, "width", "from end to end"),
            Parameter(f"cloud{i}_shape", 0.0, 1.0, "turn", "how the puffs are arranged"),
        ]
    for i in range(_TREES):
        table += [
            _presence(f"tree{i}_present", f"tree {i} with its shadow"),
            Parameter(f"tree{i}_x", 0.0, 1.0, "width", "foot of the trunk"),
            Parameter(f"tree{i}_y", 0.66, 0.97, "height", "foot of the trunk; nearer trees stand lower"),
            Parameter(f"tree{i}_size", 0.12, 0.42, "height", "from foot to top"),
            _choice(f"tree{i}_form", _TREE_FORMS, "the kind of tree"),
            Parameter(f"tree{i}_season", 0.0, 1.0, "fraction", "foliage, dark green over olive to orange"),
            Parameter(f"tree{i}_shape", 0.0, 1.0, "turn", "how a round crown's boughs are arranged"),
        ]
    return tuple(table)


PARAMETERS: tuple[Parameter, ...] = _all_parameters()
"""Every parameter of a scene, in the order of `Scene.values`."""

_INDEX: Mapping[str, int] = {parameter.name: i for i, parameter in enumerate(PARAMETERS)}


# ------------------------------------------------------------------------------------------------------------
# From a seed to parameters
# ------------------------------------------------------------------------------------------------------------


def _draw_parameters(seed: int) -> tuple[dict[str, float], int]:
    """Parameters and texture seed of the scene with this number.

    The distribution is made to be learned by a small network: one church, large and near the middle, whose
    parts have few forms, and trees that stand to its sides.
    """
    random = np.random.Generator(np.random.PCG64(seed))

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    def chance(probability: float) -> float:
        return float(random.random() < probability)

    def pick(weights: Sequence[float]) -> float:
        return float(random.choice(len(weights), p=np.asarray(weights) / sum(weights)))

    texture_seed = int(random.integers(len(TEXTURE_SEEDS)))
    p: dict[str, float] = {}

    weather = pick([0.56, 0.26, 0.18])
    p["sunset"] = between(0.7, 1.0) if weather == 1 else between(0.0, 0.12)
    p["overcast"] = between(0.6, 1.0) if weather == 2 else between(0.0, 0.15)
    p["sun"] = (2 * chance(0.5) - 1) * between(0.5, 1.0)
    p["sky_depth"] = between(0.0, 1.0)

    p["horizon"] = between(0.57, 0.64)
    p["hill"] = between(0.0, 0.022)
    p["hill_phase"] = between(0.0, 1.0)
    p["grass_tone"] = between(0.0, 1.0)
    p["mountain_present"] = chance(0.45)
    p["mountain_x"] = between(0.05, 0.95)
    p["mountain_height"] = between(0.10, 0.20)
    p["mountain_width"] = between(0.4, 0.75)

    church = chance(0.88)
    p["church_present"] = church
    p["church_x"] = between(0.46, 0.54)
    p["church_y"] = between(0.73, 0.78)
    p["church_width"] = between(0.37, 0.55)
    p["church_height"] = between(0.28, 0.35)
    p["wall_material"] = pick([0.36, 0.28, 0.36])
    p["wall_tone"] = between(0.0, 1.0)

    # A path without a church would lead nowhere.
    p["path_present"] = chance(0.68) * church
    p["path_foot"] = between(0.32, 0.68)
    p["path_bend"] = between(-0.3, 0.3)
    p["path_width"] = between(0.20, 0.28)
    p["path_tone"] = between(0.0, 1.0)

    # A dome rests well on a flat or hip roof and awkwardly on a steep gable, so gables rarely carry one.
    p["dome_present"] = dome = chance(0.42)
    p["roof_form"] = pick([0.04, 0.36, 0.60] if dome else [0.42, 0.43, 0.15])
    p["roof_height"] = between(0.08, 0.12) if dome else between(0.10, 0.15)
    p["roof_colour"] = pick([0.40, 0.18, 0.24, 0.18])
    p["dome_radius"] = between(0.27, 0.36)
    p["dome_rise"] = between(0.92, 1.18)
    p["dome_colour"] = pick([0.30, 0.25, 0.20, 0.12, 0.13])

    towers = pick([0.42, 0.17, 0.17, 0.24])
    p["tower0_present"] = float(towers in (1, 3))
    p["tower1_present"] = float(towers in (2, 3))
    p["tower_form"] = pick([0.45, 0.35, 0.20])
    p["tower_width"] = between(0.10, 0.13)
    p["tower_height"] = between(0.07, 0.13)
    p["tower_window_present"] = chance(0.85)

    p["window_width"] = between(0.0635, 0.076)
    places = _window_places(p["church_width"], p["window_width"])
    p["window_count"] = float(random.integers(2, min(_WINDOWS, places) + 1))
    windows = chance(0.94)
    for i in range(_WINDOWS):
        p[f"window{i}_present"] = windows
    p["window_form"] = pick([0.7, 0.3])
    p["window_height"] = between(0.074, 0.092)

    p["door_present"] = chance(0.94)
    p["door_form"] = pick([0.7, 0.3])
    p["door_width"] = between(0.094, 0.122)
    p["door_height"] = between(0.140, 0.168)
    p["door_colour"] = pick([0.55, 0.25, 0.20])

    # Each cloud keeps to its own part of the sky: left, right, and higher in the middle.
    for i, (x, y) in enumerate(((0.18, 0.22), (0.82, 0.24), (0.50, 0.11))):
        p[f"cloud{i}_present"] = chance((0.62, 0.62, 0.35)[i])
        p[f"cloud{i}_x"] = x + between(-0.12, 0.12)
        p[f"cloud{i}_y"] = y + (between(-0.02, 0.02) if i == 2 else between(-0.05, 0.10))
        p[f"cloud{i}_size"] = between(0.22, 0.34)
        p[f"cloud{i}_shape"] = between(0.0, 1.0)

    # Trees 0 and 1 stand in front, left and right; 2 and 3 further back. They share a season, nearly.
    season = between(0.0, 0.72) if chance(0.8) else between(0.75, 1.0)
    for i in range(_TREES):
        front, right = i < 2, i % 2 == 1
        x = between(0.05, 0.26) if front else between(0.02, 0.30)
        p[f"tree{i}_present"] = chance(0.42)
        p[f"tree{i}_x"] = 1.0 - x if right else x
        p[f"tree{i}_y"] = between(0.81, 0.92) if front else between(0.68, 0.72)
        p[f"tree{i}_size"] = between(0.28, 0.38) if front else between(0.20, 0.28)
        p[f"tree{i}_form"] = pick([0.66, 0.34])
        p[f"tree{i}_season"] = min(max(season + between(-0.12, 0.12), 0.0), 1.0)
        p[f"tree{i}_shape"] = between(0.0, 1.0)
    return p, texture_seed


# ------------------------------------------------------------------------------------------------------------
# The canvas: anti-aliased shapes, one over the other, with a record of who owns each pixel
# ------------------------------------------------------------------------------------------------------------


class _Polygon(NamedTuple):
    points: Sequence[tuple[float, float]]


class _Ellipse(NamedTuple):
    x: float
    y: float
    rx: float
    ry: float


_Shape = Sequence[_Polygon | _Ellipse]  # the union of its parts

_SUPERSAMPLING = 4


class _Patch(NamedTuple):
    """The rectangle of pixels a shape touches: unit coordinates of the pixel centers, and its place."""

    x: FloatArray  # 1 x w
    y: FloatArray  # h x 1
    rows: slice
    columns: slice


_Paint = Callable[[_Patch], FloatArray]  # returns h x w x 3, or anything that broadcasts to it


def _extent(shape: _Shape) -> tuple[float, float, float, float]:
    xs: list[float] = []
    ys: list[float] = []
    for part in shape:
        if isinstance(part, _Ellipse):
            xs += [part.x - part.rx, part.x + part.rx]
            ys += [part.y - part.ry, part.y + part.ry]
        else:
            xs += [point[0] for point in part.points]
            ys += [point[1] for point in part.points]
    return min(xs), min(ys), max(xs), max(ys)


class _Canvas:
    """A picture in the making.

    `owners` holds for each pixel 8 * label + instance of the topmost layer that covers more than half of it,
    so the label map and the mask of a single object both follow from it.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pixels: FloatArray = np.zeros((size, size, 3), np.float32)
        self.owners: ByteArray = np.zeros((size, size), np.uint8)
        self.ground: FloatArray = np.zeros((size, size), np.float32)
        centers = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
        self.x: FloatArray = centers[None, :]
        self.y: FloatArray = centers[:, None]

    def _patch(self, extent: tuple[float, float, float, float], margin: float) -> _Patch | None:
        left, top, right, bottom = extent
        x0 = max(math.floor((left - margin) * self.size), 0)
        y0 = max(math.floor((top - margin) * self.size), 0)
        x1 = min(math.ceil((right + margin) * self.size), self.size)
        y1 = min(math.ceil((bottom + margin) * self.size), self.size)
        if x0 >= x1 or y0 >= y1:
            return None
        return _Patch(self.x[:, x0:x1], self.y[y0:y1], slice(y0, y1), slice(x0, x1))

    def _stencil(self, shape: _Shape, patch: _Patch, scale: int) -> Image.Image:
        """Return the shape in white on black, `scale` times as fine as the picture."""
        x0, y0 = patch.columns.start, patch.rows.start
        width, height = patch.columns.stop - x0, patch.rows.stop - y0
        stencil = Image.new("L", (width * scale, height * scale))
        pen = ImageDraw.Draw(stencil)
        factor = self.size * scale

        def across(x: float) -> float:
            # The half: a drawing coordinate names a pixel's center.
            return float(x * factor - x0 * scale - 0.5)

        def down(y: float) -> float:
            return float(y * factor - y0 * scale - 0.5)

        for part in shape:
            if isinstance(part, _Ellipse):
                pen.ellipse(
                    (
                        across(part.x - part.rx),
                        down(part.y - part.ry),
                        across(part.x + part.rx),
                        down(part.y + part.ry),
                    ),
                    fill=255,
                )
            else:
                pen.polygon([(across(x), down(y)) for x, y in part.points], fill=255)
        return stencil

    def paint(self, shape: _Shape, label: int, instance: int, paint: _Paint) -> None:
        """Lay `shape`, colored by `paint`, over what is there."""
        patch = self._patch(_extent(shape), 0.0)
        if patch is None:
            return
        stencil = self._stencil(shape, patch, _SUPERSAMPLING).reduce(_SUPERSAMPLING)
        coverage = np.asarray(stencil)  # exactly half covered comes out as 128
        alpha = coverage.astype(np.float32)[:, :, None] * np.float32(1 / 255)
        below = self.pixels[patch.rows, patch.columns]
        below += alpha * (paint(patch) - below)
        self.owners[patch.rows, patch.columns][coverage > 128] = 8 * label + instance
        if label == GRASS:
            ground = self.ground[patch.rows, patch.columns]
            np.maximum(ground, alpha[:, :, 0], out=ground)

    def shade_ground(self, shape: _Shape, strength: float, softness: float) -> None:
        """Darken the ground inside `shape` by up to `strength`, with an edge about `softness` wide."""
        patch = self._patch(_extent(shape), 2 * softness)
        if patch is None or strength <= 0:
            return
        blur = ImageFilter.GaussianBlur(softness * self.size)
        shadow = np.asarray(self._stencil(shape, patch, 1).filter(blur)).astype(np.float32)
        darkness = shadow * self.ground[patch.rows, patch.columns] * np.float32(strength / 255)
        # Shadows are lit by the sky alone, so they keep a little more blue.
        tint = np.asarray([1.0, 0.96, 0.80], np.float32)
        self.pixels[patch.rows, patch.columns] *= 1 - darkness[:, :, None] * tint

    def finished(self) -> tuple[ByteArray, ByteArray]:
        image = (np.clip(self.pixels, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
        image.setflags(write=False)
        self.owners.setflags(write=False)
        return image, self.owners


# ------------------------------------------------------------------------------------------------------------
# Textures: multipliers around 1, fixed in the picture, the same for every scene with the same texture seed
# ------------------------------------------------------------------------------------------------------------

_TEXTURE_SIZE = 512


def _smooth_noise(random: np.random.Generator, rows: int, columns: int) -> FloatArray:
    """Random values on a coarse grid, in -1..1 and interpolated to the texture's size."""
    grid = random.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((_TEXTURE_SIZE, _TEXTURE_SIZE), Image.Resampling.BICUBIC))


def _masonry(
    random: np.random.Generator, course: float, length: float, joint: float, tones: float
) -> FloatArray:
    """Blocks in shifted courses: each its own tone, with lighter joints between them."""
    at = (np.arange(_TEXTURE_SIZE) + 0.5) / _TEXTURE_SIZE
    row = np.floor(at / course).astype(int)
    shifted = at[None, :] / length + 0.5 * (row[:, None] % 2)
    column = np.floor(shifted).astype(int)
    tone = random.uniform(-tones, tones, (row.max() + 1, column.max() + 1))
    blocks = 1 + tone[row[:, None], column]
    in_joint = (at / course - row < joint)[:, None] | (shifted - column < joint * course / length)
    return np.where(in_joint, 1.10, blocks).astype(np.float32)


@lru_cache(maxsize=48)
def _texture(kind: str, texture_seed: int, size: int) -> FloatArray:
    """Return the multiplier map `kind` at `size` x `size`."""
    kinds = ("grass", "brick", "stone", "plaster", "tiles")
    random = np.random.Generator(np.random.PCG64([texture_seed, kinds.index(kind)]))
    if kind == "grass":
        texture = 1 + 0.10 * _smooth_noise(random, 26, 64) + 0.07 * _smooth_noise(random, 14, 10)
    elif kind == "brick":
        texture = _masonry(random, course=1 / 32, length=1 / 16, joint=0.22, tones=0.055)
    elif kind == "stone":
        texture = _masonry(random, course=3 / 64, length=5 / 64, joint=0.12, tones=0.045)
    elif kind == "plaster":
        texture = 1 + 0.025 * _smooth_noise(random, 12, 12)
    else:
        rows = np.arange(_TEXTURE_SIZE) / _TEXTURE_SIZE * 32 % 1
        texture = 1.07 - 0.16 * rows[:, None] ** 2 + 0.03 * _smooth_noise(random, 32, 32)
    picture = Image.fromarray(np.ascontiguousarray(texture, dtype=np.float32))
    scaled = np.array(picture.resize((size, size), Image.Resampling.BICUBIC))
    scaled.setflags(write=False)
    return scaled


# ------------------------------------------------------------------------------------------------------------
# Color and light
# ------------------------------------------------------------------------------------------------------------


def _rgb(color: Color) -> FloatArray:
    return np.asarray(color, np.float32)


def _mix(first: FloatArray, second: FloatArray, amount: float) -> FloatArray:
    return np.asarray(first + (second - first) * np.float32(amount), np.float32)


def _ramp(colors: Sequence[Color], position: float) -> FloatArray:
    """Return the color at `position` in 0..1 along a row of colors."""
    place = position * (len(colors) - 1)
    first = min(int(place), len(colors) - 2)
    return _mix(_rgb(colors[first]), _rgb(colors[first + 1]), place - first)


def _tinted(brightness: FloatArray, color: FloatArray) -> FloatArray:
    return np.asarray(brightness[..., None] * color, np.float32)


def _half(t: FloatArray) -> FloatArray:
    """Return a smooth step from 0 at t = -1 to 1 at t = 1."""
    s = np.clip(0.5 * t + 0.5, 0, 1)
    return np.asarray(s * s * (3 - 2 * s), np.float32)


class _Light(NamedTuple):
    """What the weather does to colors."""

    side: float  # -1 from the left .. 1 from the right
    hardness: float  # how much stronger the sun is than the sky, 0..1
    tint: FloatArray  # multiplies the color of everything on the ground
    haze: FloatArray  # the color far things fade to


def _weathered(p: Mapping[str, float], day: Color, sunset: Color, overcast: Color) -> FloatArray:
    return _mix(_mix(_rgb(day), _rgb(sunset), p["sunset"]), _rgb(overcast), p["overcast"])


def _light(p: Mapping[str, float]) -> _Light:
    tint = _weathered(p, (1.0, 1.0, 1.0), (1.0, 0.80, 0.66), (0.84, 0.87, 0.91))
    haze = _weathered(p, (0.70, 0.84, 0.97), (0.97, 0.70, 0.48), (0.80, 0.83, 0.86))
    return _Light(p["sun"], 1 - 0.75 * p["overcast"], tint, haze)


def _ball_shading(patch: _Patch, balls: Sequence[tuple[float, float, float]], light: _Light) -> FloatArray:
    """Brightness, about -1..1, of a heap of soft balls (x, y, radius) lit from above and the sun's side."""
    ball = np.asarray(balls, np.float32)[:, :, None, None]
    dx = (patch.x[None] - ball[:, 0]) / ball[:, 2]
    dy = (patch.y[None] - ball[:, 1]) / ball[:, 2]
    towards_viewer = 1 - dx * dx - dy * dy
    # The ball that stands out furthest decides, softly, so that no hard seams appear between balls.
    weight = np.exp(np.clip(towards_viewer, -4, 1) * np.float32(7.0))
    facing = np.clip(dx, -1, 1) * np.float32(0.6 * light.side) - np.clip(dy, -1, 1) * np.float32(0.8)
    return np.asarray((weight * facing).sum(0) / weight.sum(0), np.float32)


# ------------------------------------------------------------------------------------------------------------
# Painters, from the sky to the ground
# ------------------------------------------------------------------------------------------------------------


def _paint_sky(canvas: _Canvas, p: Mapping[str, float]) -> None:
    deep = p["sky_depth"]
    day_top = (0.30 - 0.14 * deep, 0.56 - 0.12 * deep, 0.92 - 0.06 * deep)
    top = _weathered(p, day_top, (0.33 - 0.08 * deep, 0.29 - 0.04 * deep, 0.50), (0.60, 0.65, 0.71))
    middle = _weathered(p, (0.50, 0.73, 0.96), (0.80, 0.50, 0.46), (0.73, 0.77, 0.81))
    bottom = _weathered(p, (0.80, 0.91, 0.99), (1.0, 0.73, 0.44), (0.85, 0.87, 0.88))
    height = np.clip(canvas.y / np.float32(0.64), 0, 1)[:, :, None]
    low = np.clip(2 * height - 1, 0, 1)
    sky = top + (middle - top) * np.minimum(2 * height, 1) + (bottom - middle) * low
    # The sun itself is outside the picture; towards it the low sky glows.
    distance = (canvas.x - np.float32(0.5 + 0.6 * p["sun"])) ** 2 + (canvas.y - np.float32(0.62)) ** 2
    glow = np.exp(-distance / np.float32(0.16)) * np.float32(0.22 * (1 - 0.8 * p["overcast"]))
    warm = _weathered(p, (1.0, 1.0, 0.95), (1.0, 0.88, 0.50), (0.95, 0.95, 0.95))
    canvas.pixels[:] = sky + glow[:, :, None] * (warm - sky)


def _paint_cloud(canvas: _Canvas, p: Mapping[str, float], light: _Light, index: int) -> None:
    x, y, size = (p[f"cloud{index}_{part}"] for part in ("x", "y", "size"))
    turn = 2 * math.pi * p[f"cloud{index}_shape"]
    # Puffs along a flat base: large in the middle, small at the ends, each a little higher or lower.
    balls: list[tuple[float, float, float]] = []
    places = ((-0.35, 0.13), (-0.18, 0.18), (0.02, 0.23), (0.21, 0.18), (0.36, 0.12))
    for k, (along, radius) in enumerate(places):
        radius *= 1 + 0.16 * math.sin(turn + 2.4 * k)
        balls.append((x + along * size, y + (0.08 - 0.72 * radius) * size, radius * size))
    base = y + 0.10 * size
    # The flat base: one long low ellipse through all of them.
    shape = [_Ellipse(bx, by, r, r) for bx, by, r in balls]
    shape.append(_Ellipse(x, base - 0.03 * size, 0.49 * size, 0.075 * size))
    lit = _weathered(p, (1.0, 1.0, 1.0), (1.0, 0.84, 0.72), (0.93, 0.94, 0.95))
    dark = _weathered(p, (0.72, 0.80, 0.90), (0.74, 0.52, 0.52), (0.70, 0.73, 0.77))

    def paint(patch: _Patch) -> FloatArray:
        shading = _ball_shading(patch, balls, light)
        # Towards the base the single puffs count less and less: the underside is evenly dark.
        above = base - patch.y
        puffs = np.clip(above / np.float32(0.16 * size), 0, 1)
        sunny = _half(0.9 * shading * puffs + (above - 0.09 * size) / np.float32(0.15 * size) + 0.5)
        return dark + _tinted(sunny, lit - dark)

    canvas.paint(shape, CLOUD, index, paint)


def _paint_mountain(canvas: _Canvas, p: Mapping[str, float], light: _Light) -> None:
    x, height, width = p["mountain_x"], p["mountain_height"], p["mountain_width"]
    foot = p["horizon"] + 0.05
    away = -1 if x > 0.5 else 1  # the lower peak stands on the side with more room
    color = _weathered(p, (0.43, 0.50, 0.64), (0.42, 0.33, 0.43), (0.47, 0.50, 0.55))
    peaks = ((x + away * 0.42 * width, 0.62 * height, 0.8 * width, 0.35), (x, height, width, 0.15))
    for peak_x, peak_height, peak_width, faded in peaks:
        top = p["horizon"] - peak_height
        left, right = peak_x - peak_width / 2, peak_x + peak_width / 2
        shoulder = top + 0.45 * (foot - top)
        outline = [
            (left, foot),
            (peak_x - 0.24 * peak_width, shoulder),
            (peak_x - 0.03 * peak_width, top + 0.008),
            (peak_x, top),
            (peak_x + 0.04 * peak_width, top + 0.012),
            (peak_x + 0.22 * peak_width, shoulder),
            (right, foot),
        ]
        body = _mix(color, light.haze, faded)

        def paint(
            patch: _Patch,
            at: float = peak_x,
            top: float = top,
            wide: float = peak_width,
            body: FloatArray = body,
        ) -> FloatArray:
            down = (patch.y - np.float32(top)) / np.float32(foot - top)
            # The ridge wanders a little to the side on its way down; one flank is lit, one is not.
            ridge = at + 0.05 * wide * np.sin(down * np.float32(7.0))
            flank = _half((patch.x - ridge) / np.float32(0.05 * wide)) * 2 - 1
            brightness = np.asarray(1 + np.float32(0.13 * light.side * light.hardness) * flank, np.float32)
            mist = (0.3 * down)[..., None]
            return np.asarray(_tinted(brightness, body) * (1 - mist) + light.haze * mist, np.float32)

        canvas.paint([_Polygon(outline)], MOUNTAIN, 0, paint)


def _paint_meadow(canvas: _Canvas, p: Mapping[str, float], light: _Light, texture_seed: int) -> None:
    texture = _texture("grass", texture_seed, canvas.size)
    color = _ramp(_GRASS_COLORS, p["grass_tone"]) * light.tint
    steps = [k / 32 for k in range(33)]

    def ridge(level: float, roll: float, waves: float, phase: float) -> list[tuple[float, float]]:
        line = [(x, level + roll * math.sin(2 * math.pi * (waves * x + phase))) for x in steps]
        return [(-0.01, 1.01), (-0.01, line[0][1]), *line, (1.01, line[-1][1]), (1.01, 1.01)]

    far = _mix(color, light.haze, 0.30)

    def paint_far(patch: _Patch) -> FloatArray:
        return _tinted(np.asarray(texture[patch.rows, patch.columns] ** np.float32(0.4), np.float32), far)

    def paint_near(patch: _Patch) -> FloatArray:
        # Brighter towards the horizon, darker towards the viewer's feet.
        depth = np.clip((patch.y - np.float32(p["horizon"])) / np.float32(0.42), 0, 1)
        brightness = (1.12 - 0.36 * depth) * texture[patch.rows, patch.columns]
        return _tinted(np.asarray(brightness, np.float32), color)

    roll = p["hill"]
    canvas.paint([_Polygon(ridge(p["horizon"], roll, 1.3, p["hill_phase"]))], GRASS, 0, paint_far)
    near = ridge(p["horizon"] + 0.030, 0.7 * roll, 0.9, p["hill_phase"] + 0.45)
    canvas.paint([_Polygon(near)], GRASS, 0, paint_near)


def _paint_path(canvas: _Canvas, p: Mapping[str, float], light: _Light, texture_seed: int) -> None:
    texture = _texture("grass", texture_seed, canvas.size)
    start_x, start_y = p["church_x"], p["church_y"] - 0.004
    foot, bend, width = p["path_foot"], p["path_bend"], p["path_width"]
    left: list[tuple[float, float]] = []
    right: list[tuple[float, float]] = []
    for k in range(17):
        t = k / 16
        x = start_x + (foot - start_x) * t + 0.35 * bend * t * (1 - t)
        half = 0.5 * (0.10 + (width - 0.10) * t)
        y = start_y + (1.01 - start_y) * t
        left.append((x - half, y))
        right.append((x + half, y))
    color = _ramp(_PATH_COLORS, p["path_tone"]) * light.tint

    def paint(patch: _Patch) -> FloatArray:
        depth = (patch.y - np.float32(start_y)) / np.float32(1.01 - start_y)
        brightness = (1.0 - 0.12 * depth) * texture[patch.rows, patch.columns] ** np.float32(0.5)
        return _tinted(np.asarray(brightness, np.float32), color)

    canvas.paint([_Polygon(left + right[::-1])], PATH, 0, paint)


# ------------------------------------------------------------------------------------------------------------
# The church
# ------------------------------------------------------------------------------------------------------------


def _box(left: float, top: float, right: float, bottom: float) -> _Polygon:
    return _Polygon([(left, top), (right, top), (right, bottom), (left, bottom)])


def _pane(x: float, bottom: float, width: float, height: float, form: str) -> _Shape:
    """Return the shape of a window or door: a box, perhaps ending in a half circle."""
    half = width / 2
    if form == "rectangular":
        return [_box(x - half, bottom - height, x + half, bottom)]
    spring = bottom - height + half
    arch = [(x - half * math.cos(a), spring - half * math.sin(a)) for a in np.linspace(0, math.pi, 13)]
    return [_Polygon([(x - half, bottom), *arch, (x + half, bottom)])]


def _window_places(church_width: float, window_width: float) -> int:
    """How many windows fit side by side between the places where the towers may stand."""
    return max(2, int((church_width - 0.10) / (1.3 * window_width)))


def _pick_name(options: Iterable[str], value: float) -> str:
    return tuple(options)[round(value)]


def _paint_dome(
    canvas: _Canvas,
    instance: int,
    x: float,
    base: float,
    radius: float,
    rise: float,
    color: FloatArray,
    light: _Light,
) -> None:
    """Paint a dome of half-width `radius` and height `rise`, with a finial on top."""
    outline = [(x - radius * math.cos(a), base - rise * math.sin(a)) for a in np.linspace(0, math.pi, 33)]
    stem, ball = 0.05 * radius + 0.002, 0.09 * radius + 0.003
    tip = base - rise - 0.16 * radius - 0.016
    finial: _Shape = [_box(x - stem, tip, x + stem, base - rise + 0.01), _Ellipse(x, tip + ball, ball, ball)]

    def paint(patch: _Patch) -> FloatArray:
        dx = np.clip((patch.x - np.float32(x)) / np.float32(radius), -1, 1)
        up = np.clip((np.float32(base) - patch.y) / np.float32(rise), 0, 1)
        facing = np.sqrt(np.clip(1 - dx * dx - up * up, 0, 1))
        sunny = np.float32(0.62 * light.side) * dx + np.float32(0.42) * up + np.float32(0.66) * facing
        across = np.clip(dx / np.sqrt(np.clip(1 - up * up, 0.02, 1)), -1, 1)
        ribs = np.cos(np.arcsin(across) * np.float32(10.0))
        strength = np.float32(0.35 + 0.20 * light.hardness)
        brightness = 0.62 + strength * sunny + np.float32(0.035) * ribs * (1 - up)
        shine = np.clip(sunny - 0.78, 0, 1) ** 2 * np.float32(2.2 * light.hardness)
        return np.asarray(_tinted(np.asarray(brightness, np.float32), color) + shine[..., None], np.float32)

    canvas.paint(finial, DOME, instance, lambda patch: color * np.float32(0.9))
    canvas.paint([_Polygon(outline)], DOME, instance, paint)


def _paint_church(canvas: _Canvas, p: Mapping[str, float], light: _Light, texture_seed: int) -> None:
    x, ground, width = p["church_x"], p["church_y"], p["church_width"]
    eaves = ground - p["church_height"]
    left, right = x - width / 2, x + width / 2
    material = _pick_name(_MATERIALS, p["wall_material"])
    wall_texture = _texture(material, texture_seed, canvas.size)
    wall = _ramp(_WALL_COLORS[material], p["wall_tone"]) * light.tint
    tiles = _texture("tiles", texture_seed, canvas.size)
    roof = _rgb(tuple(_ROOF_COLORS.values())[round(p["roof_colour"])]) * light.tint
    dome = _rgb(tuple(_DOME_COLORS.values())[round(p["dome_colour"])]) * light.tint
    trim = _mix(wall, _rgb((1.0, 0.98, 0.94)) * light.tint, 0.5)

    def masonry(at: float, wide: float, top: float, lift: float, roundness: float) -> _Paint:
        """Paint a wall: lighter towards the sun, shaded under the edge above it and at its foot."""

        def paint(patch: _Patch) -> FloatArray:
            across = (patch.x - np.float32(at)) / np.float32(wide / 2)
            side = np.float32(roundness * light.side * light.hardness) * across
            under = np.exp(-np.clip(patch.y - np.float32(top), 0, 1) / np.float32(0.016))
            foot = np.exp(-np.clip(np.float32(ground) - patch.y, 0, 1) / np.float32(0.020))
            brightness = (lift + side) * (1 - 0.28 * under) * (1 - 0.16 * foot)
            return _tinted(np.asarray(brightness * wall_texture[patch.rows, patch.columns], np.float32), wall)

        return paint

    def tiling(at: float, wide: float, top: float, bottom: float, roundness: float) -> _Paint:
        def paint(patch: _Patch) -> FloatArray:
            across = (patch.x - np.float32(at)) / np.float32(wide / 2)
            down = (patch.y - np.float32(top)) / np.float32(bottom - top)
            brightness = 1.10 - 0.20 * down + np.float32(roundness * light.side * light.hardness) * across
            return _tinted(np.asarray(brightness * tiles[patch.rows, patch.columns], np.float32), roof)

        return paint

    def paint_window(instance: int, at: float, bottom: float) -> None:
        form = _pick_name(_PANE_FORMS, p["window_form"])
        high = p["window_height"]
        frame = _pane(at, bottom + 0.007, p["window_width"] + 0.014, high + 0.014, form)
        canvas.paint(frame, WALL, 0, lambda patch: trim)
        glass = _weathered(p, (0.13, 0.18, 0.36), (0.15, 0.13, 0.29), (0.13, 0.17, 0.30))

        def paint(patch: _Patch) -> FloatArray:
            up = np.clip((np.float32(bottom) - patch.y) / np.float32(high), 0, 1)
            return _tinted(np.asarray(0.85 + 0.55 * up, np.float32), glass)

        canvas.paint(_pane(at, bottom, p["window_width"], high, form), WINDOW, instance, paint)

    # The body, then its roof. A flat roof shows only as a cornice.
    canvas.paint([_box(left, eaves - 0.002, right, ground)], WALL, 0, masonry(x, width, eaves, 1.0, 0.10))
    form = _pick_name(_ROOF_FORMS, p["roof_form"])
    overhang = 0.022
    eave_line = eaves + 0.008
    if form == "flat":
        ridge = eaves - 0.034
        canvas.paint(
            [_box(left - 0.012, ridge, right + 0.012, eave_line)],
            ROOF,
            0,
            tiling(x, width, ridge, eave_line + 0.04, 0.08),
        )
        seat = ridge
    else:
        ridge = eaves - p["roof_height"]
        inset = width / 2 if form == "gable" else 0.18 * width + 0.02
        outline = [
            (left - overhang, eave_line),
            (left + inset, ridge),
            (right - inset, ridge),
            (right + overhang, eave_line),
        ]
        canvas.paint([_Polygon(outline)], ROOF, 0, tiling(x, width, ridge, eave_line, 0.08))
        seat = ridge + (0.55 if form == "gable" else 0.12) * (eaves - ridge)

    if p["dome_present"] >= 0.5:
        radius = p["dome_radius"] * width
        drum = seat - 0.034
        canvas.paint(
            [_box(x - 0.94 * radius, drum, x + 0.94 * radius, seat)],
            WALL,
            0,
            masonry(x, 2 * radius, drum - 0.01, 1.0, 0.16),
        )
        canvas.paint(
            [_box(x - 1.03 * radius, drum - 0.008, x + 1.03 * radius, drum + 0.006)],
            WALL,
            0,
            lambda patch: trim,
        )
        _paint_dome(canvas, 0, x, drum - 0.006, radius, p["dome_rise"] * radius, dome, light)

    # The row of windows has fixed places: neither a tower nor a missing neighbor moves a window.
    count = min(round(p["window_count"]), _window_places(width, p["window_width"]))
    pitch = (width - 0.10) / count
    sill = eaves + 0.030 + p["window_height"]
    for i in range(count):
        if p[f"window{i}_present"] >= 0.5:
            paint_window(i, x + pitch * (i - (count - 1) / 2), sill)

    if p["door_present"] >= 0.5:
        door_form = _pick_name(_PANE_FORMS, p["door_form"])
        door_width, door_height = p["door_width"], p["door_height"]
        door = _rgb(tuple(_DOOR_COLORS.values())[round(p["door_colour"])]) * light.tint
        canvas.paint(
            _pane(x, ground, door_width + 0.020, door_height + 0.010, door_form), WALL, 0, lambda patch: trim
        )

        def paint_door(patch: _Patch) -> FloatArray:
            # Two leaves: a dark seam in the middle, darker towards the arch above.
            seam = np.exp(-(((patch.x - np.float32(x)) / np.float32(0.006)) ** 2))
            up = np.clip((np.float32(ground) - patch.y) / np.float32(door_height), 0, 1)
            return _tinted(np.asarray((1.12 - 0.35 * up) * (1 - 0.35 * seam), np.float32), door)

        canvas.paint(_pane(x, ground, door_width, door_height, door_form), DOOR, 0, paint_door)

    # Towers stand on the corners, in front of the body.
    tower_form = _pick_name(_TOWER_FORMS, p["tower_form"])
    half = p["tower_width"] / 2
    top = eaves - p["tower_height"]
    for side, at in enumerate((left, right)):
        if p[f"tower{side}_present"] < 0.5:
            continue
        canvas.paint(
            [_box(at - half, top, at + half, ground + 0.004)], WALL, 0, masonry(at, 2 * half, top, 1.04, 0.17)
        )
        if tower_form == "flat":
            # Merlons over a projecting ledge.
            out = half + 0.008
            parts = [_box(at - out, top - 0.012, at + out, top + 0.006)]
            parts += [
                _box(at + k * out - 0.28 * out, top - 0.034, at + k * out + 0.28 * out, top)
                for k in (-0.72, 0.0, 0.72)
            ]
            canvas.paint(parts, WALL, 0, masonry(at, 2 * half, top - 0.2, 1.08, 0.15))
        else:
            canvas.paint(
                [_box(at - half - 0.007, top - 0.008, at + half + 0.007, top + 0.006)],
                WALL,
                0,
                lambda patch: trim,
            )
        if tower_form == "dome":
            _paint_dome(canvas, 1 + side, at, top - 0.006, 1.02 * half, 1.2 * half, dome, light)
        elif tower_form == "spire":
            peak = top - 0.008 - 2.6 * half
            spire = [(at - half - 0.010, top - 0.006), (at, peak), (at + half + 0.010, top - 0.006)]
            canvas.paint([_Polygon(spire)], ROOF, 1 + side, tiling(at, 2 * half, peak, top, 0.20))
        if p["tower_window_present"] >= 0.5:
            paint_window(_WINDOWS + side, at, top + 0.034 + p["window_height"])


def _shade_under_church(canvas: _Canvas, p: Mapping[str, float], light: _Light) -> None:
    x, y, half = p["church_x"], p["church_y"], p["church_width"] / 2 + 0.02
    away = -light.side
    # Seen from slightly above, the shadow is a low wedge towards the viewer and away from the sun.
    wedge = [
        (x - half, y - 0.02),
        (x + half, y - 0.02),
        (x + half, y + 0.004),
        (x + half + 0.16 * away, y + 0.05),
        (x - half + 0.16 * away, y + 0.05),
        (x - half, y + 0.004),
    ]
    canvas.shade_ground([_Polygon(wedge)], 0.20 + 0.32 * light.hardness, 0.012)


# ------------------------------------------------------------------------------------------------------------
# Trees
# ------------------------------------------------------------------------------------------------------------


def _shade_under_tree(canvas: _Canvas, p: Mapping[str, float], light: _Light, index: int) -> None:
    x, y, size = (p[f"tree{index}_{part}"] for part in ("x", "y", "size"))
    shadow = _Ellipse(x - 0.16 * light.side * size, y + 0.01 * size, 0.36 * size, 0.085 * size)
    canvas.shade_ground([shadow], 0.22 + 0.34 * light.hardness, 0.035 * size)


def _paint_tree(canvas: _Canvas, p: Mapping[str, float], light: _Light, index: int) -> None:
    x, y, size = (p[f"tree{index}_{part}"] for part in ("x", "y", "size"))
    form = _pick_name(_TREE_FORMS, p[f"tree{index}_form"])
    season = p[f"tree{index}_season"]
    turn = 2 * math.pi * p[f"tree{index}_shape"]
    bark = _rgb((0.34, 0.23, 0.15)) * light.tint

    def paint_trunk(patch: _Patch) -> FloatArray:
        across = np.clip((patch.x - np.float32(x)) / np.float32(0.05 * size), -1, 1)
        brightness = 1 + np.float32(0.3 * light.side * light.hardness) * across
        return _tinted(np.broadcast_to(brightness, (patch.y.shape[0], patch.x.shape[1])), bark)

    waist, root = 0.028 * size, 0.048 * size
    trunk = [(x - root, y), (x - waist, y - 0.36 * size), (x + waist, y - 0.36 * size), (x + root, y)]
    canvas.paint([_Polygon(trunk)], TREE, index, paint_trunk)

    if form == "round":
        color = _ramp(_FOLIAGE_COLORS, season) * light.tint
        # Outer boughs make the outline, inner ones only the light and shade inside it.
        middle = y - 0.63 * size
        balls: list[tuple[float, float, float]] = []
        for boughs_here, reach, usual in ((9, 0.24, 0.125), (5, 0.12, 0.13)):
            for k in range(boughs_here):
                angle = turn + 2 * math.pi * k / boughs_here + 0.25 * math.sin(2 * turn + 2.7 * k)
                far = reach * (1 + 0.10 * math.sin(turn + 3.9 * k)) * size
                radius = usual * (1 + 0.22 * math.sin(turn + 2.2 * k)) * size
                balls.append((x + far * math.cos(angle), middle + 0.92 * far * math.sin(angle), radius))
        shape = [_Ellipse(x, middle, 0.30 * size, 0.28 * size)]
        shape += [_Ellipse(bx, by, r, r) for bx, by, r in balls]
        whole = [(x, middle, 0.40 * size)]

        def paint_crown(patch: _Patch) -> FloatArray:
            boughs = _ball_shading(patch, balls, light)
            crown = _ball_shading(patch, whole, light)
            strength = np.float32(0.55 + 0.45 * light.hardness)
            brightness = 0.94 + strength * (0.24 * boughs + 0.40 * crown)
            return _tinted(np.asarray(brightness, np.float32), color)

        canvas.paint(shape, TREE, index, paint_crown)
        return

    # A conifer: four tiers, the lower ones wider; evergreen, so the season shows only faintly.
    color = _mix(_rgb((0.10, 0.31, 0.20)), _rgb((0.24, 0.39, 0.20)), season) * light.tint
    top, bottom, tiers = y - size, y - 0.13 * size, 4
    tier = (bottom - top) / (tiers + 0.6)
    parts: list[_Polygon | _Ellipse] = []
    for k in range(tiers):
        high, low = top + k * tier, top + (k + 1.6) * tier
        half = (0.105 + 0.058 * k) * size
        parts.append(_Polygon([(x, high), (x + half, low), (x, low + 0.10 * tier), (x - half, low)]))

    def paint_needles(patch: _Patch) -> FloatArray:
        across = (patch.x - np.float32(x)) / np.float32(0.28 * size)
        # Each tier is bright where it sticks out at its lower edge, dark where the tier above covers it.
        within = (patch.y - np.float32(top + 0.6 * tier)) / np.float32(tier) % 1
        side = np.float32(0.55 * light.side * light.hardness) * np.clip(across, -1, 1)
        return _tinted(np.asarray((0.80 + 0.42 * within) * (1 + side), np.float32), color)

    canvas.paint(parts, TREE, index, paint_needles)


# ------------------------------------------------------------------------------------------------------------
# The whole picture
# ------------------------------------------------------------------------------------------------------------


def _render(p: Mapping[str, float], texture_seed: int, size: int) -> tuple[ByteArray, ByteArray]:
    canvas = _Canvas(size)
    light = _light(p)
    _paint_sky(canvas, p)
    for i in range(_CLOUDS):
        if p[f"cloud{i}_present"] >= 0.5:
            _paint_cloud(canvas, p, light, i)
    if p["mountain_present"] >= 0.5:
        _paint_mountain(canvas, p, light)
    _paint_meadow(canvas, p, light, texture_seed)
    if p["path_present"] >= 0.5:
        _paint_path(canvas, p, light, texture_seed)

    # Everything that stands on the grass: first all shadows, then the things, the farthest first.
    standing: list[tuple[float, int]] = []
    if p["church_present"] >= 0.5:
        standing.append((p["church_y"], -1))
    standing += [(p[f"tree{i}_y"], i) for i in range(_TREES) if p[f"tree{i}_present"] >= 0.5]
    standing.sort()
    for _, which in standing:
        if which < 0:
            _shade_under_church(canvas, p, light)
        else:
            _shade_under_tree(canvas, p, light, which)
    for _, which in standing:
        if which < 0:
            _paint_church(canvas, p, light, texture_seed)
        else:
            _paint_tree(canvas, p, light, which)
    return canvas.finished()


# ------------------------------------------------------------------------------------------------------------
# Scenes
# ------------------------------------------------------------------------------------------------------------


class _Concept(NamedTuple):
    """How a concept is switched: per index the presence parameters, and the instance numbers they draw."""

    label: int
    switches: tuple[tuple[str, ...], ...]
    instances: tuple[tuple[int, ...], ...]
    needs_church: bool


CONCEPTS: tuple[str, ...] = ("tree", "dome", "door", "window", "cloud", "path", "mountain")
"""What `Scene.without` and `Scene.with_` understand."""

_COLORS: Mapping[str, tuple[str, Mapping[str, Color] | None]] = {
    "dome": ("dome_colour", _DOME_COLORS),
    "roof": ("roof_colour", _ROOF_COLORS),
    "door": ("door_colour", _DOOR_COLORS),
    "wall": ("wall_tone", None),
    "path": ("path_tone", None),
    "grass": ("grass_tone", None),
    "tree": ("tree{}_season", None),
}
"""For `Scene.restyled`: the parameter that colors a concept, and the names of the colors, if any."""

_CONCEPTS: Mapping[str, _Concept] = {
    "tree": _Concept(
        TREE, tuple((f"tree{i}_present",) for i in range(_TREES)), tuple((i,) for i in range(_TREES)), False
    ),
    "cloud": _Concept(
        CLOUD,
        tuple((f"cloud{i}_present",) for i in range(_CLOUDS)),
        tuple((i,) for i in range(_CLOUDS)),
        False,
    ),
    "mountain": _Concept(MOUNTAIN, (("mountain_present",),), ((0,),), False),
    "path": _Concept(PATH, (("path_present",),), ((0,),), False),
    "door": _Concept(DOOR, (("door_present",),), ((0,),), True),
    # Index 0 is the central dome; index 1 the domes of the towers, which turn flat when taken away.
    "dome": _Concept(DOME, (("dome_present",), ("tower_form",)), ((0,), (1, 2)), True),
    # Indices 0..4 are the places in the row; index 5 the windows of the towers.
    "window": _Concept(
        WINDOW,
        (*((f"window{i}_present",) for i in range(_WINDOWS)), ("tower_window_present",)),
        (*((i,) for i in range(_WINDOWS)), (_WINDOWS, _WINDOWS + 1)),
        True,
    ),
}


@dataclass(frozen=True)
class Counterfactual:
    """A scene with one concept removed or added, and where that shows.

    `object_mask` (uint8, HxW, 0 or 255) marks the pixels that were the removed object's or became the added
    one's. `change_mask` (same form) marks every pixel that differs, which adds soft edges, frames, shadows.
    """

    scene: Scene
    object_mask: ByteArray
    change_mask: ByteArray


@dataclass(frozen=True)
class Scene:
    """A landscape: `values` in the order of `PARAMETERS`, and a `texture_seed` in `TEXTURE_SEEDS`.

    Make one with `Scene.sample(seed)` and change it with `replace`, `without`, `with_` and `restyled`.
    Scenes are immutable, compare by value and can be pickled. Pictures are drawn when first asked for, then
    kept.
    """

    values: tuple[float, ...]
    texture_seed: int = 0
    _renders: dict[int, tuple[ByteArray, ByteArray]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if len(self.values) != len(PARAMETERS):
            raise ValueError(
                f"A scene has {len(PARAMETERS)} parameters, but {len(self.values)} values were given. "
                "Use Scene.sample(seed) and replace() to make scenes."
            )
        if self.texture_seed not in TEXTURE_SEEDS:
            raise ValueError(
                f"texture_seed {self.texture_seed!r} is not one of the {len(TEXTURE_SEEDS)} textures. "
                f"Pass an integer from 0 to {TEXTURE_SEEDS[-1]}."
            )
        for parameter, value in zip(PARAMETERS, self.values, strict=True):
            if not parameter.low <= value <= parameter.high:  # also catches NaN
                raise ValueError(
                    f"{parameter.name} = {value!r} is outside its range. "
                    f"Pass a number from {parameter.low:g} to {parameter.high:g}."
                )

    @staticmethod
    def sample(seed: int) -> Scene:
        """Return the scene of number `seed`, a non-negative integer: the same scene for the same number.

        Take seeds from `TRAINING`, `TUNING` or `HELD_OUT`. Raises `ValueError` for a negative seed.
        """
        if seed < 0:
            raise ValueError(f"Seed {seed} is negative. Pass 0 or a positive integer.")
        parameters, texture_seed = _draw_parameters(seed)
        return Scene(tuple(parameters[parameter.name] for parameter in PARAMETERS), texture_seed)

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name (read-only); ranges and meanings are in `PARAMETERS`."""
        return MappingProxyType(
            {parameter.name: value for parameter, value in zip(PARAMETERS, self.values, strict=True)}
        )

    def replace(self, *, texture_seed: int | None = None, **parameters: float) -> Scene:
        """Return a new scene with some parameters changed and all others the same.

        Raises `ValueError` for an unknown name and for a value that is NaN or outside the parameter's range.
        """
        values = list(self.values)
        for name, value in parameters.items():
            if name not in _INDEX:
                raise ValueError(
                    f"A scene has no parameter {name!r}. Use one of the names in scenes.PARAMETERS."
                )
            if not isinstance(value, (int, float, np.integer, np.floating, np.bool_)):
                raise ValueError(f"{name} = {value!r} is not a number. Pass one as in scenes.PARAMETERS.")
            values[_INDEX[name]] = float(value)
        return Scene(tuple(values), self.texture_seed if texture_seed is None else texture_seed)

    def _with_values(self, parameters: Mapping[str, float]) -> Scene:
        return self.replace(texture_seed=None, **parameters)

    def _drawn(self, size: int) -> tuple[ByteArray, ByteArray]:
        if size not in self._renders:
            _check_size(size)
            self._renders[size] = _render(self.parameters, int(self.texture_seed), size)
        return self._renders[size]

    def render(self, size: int = 128) -> ByteArray:
        """Return the picture: uint8 size x size x 3, sRGB, read-only. `size`: 32 to 1024, or `ValueError`."""
        return self._drawn(size)[0]

    def label_map(self, size: int = 128) -> ByteArray:
        """Return the class of each pixel: uint8 size x size, indices into `CLASSES`.

        Each is the topmost layer that covers more than half of the pixel. Shadows on grass are grass.
        `size` is 32 to 1024, else `ValueError`.
        """
        return (self.instance_map(size) >> 3).astype(np.uint8)

    def instance_map(self, size: int = 128) -> ByteArray:
        """Return the object of each pixel: uint8 size x size, read-only.

        The value is 8 times the class's index, plus the number of the object within its class. `size` is
        32 to 1024, else `ValueError`.
        """
        return self._drawn(size)[1]

    @property
    def image(self) -> ByteArray:
        """The picture at 128 pixels: uint8, 128 x 128 x 3."""
        return self.render()

    @property
    def labels(self) -> ByteArray:
        """The label map at 128 pixels: uint8, 128 x 128."""
        return self.label_map()

    def without(self, concept: str, index: int | None = None, size: int = 128) -> Counterfactual:
        """Remove `concept` (one of `CONCEPTS`) from this scene, with everything else identical.

        `index` picks one object, None takes all of the concept. Trees have indices 0..3, clouds 0..2, windows
        0..4 in the row and 5 for those in the towers, domes 0 for the central one and 1 for those on towers.
        Masks are `size` x `size`. Raises `ValueError` when there is nothing visible to take away.
        """
        switches, _ = self._switches(concept, index)
        off = {name: 0.0 for name in switches if self._on(name)}
        if "tower_form" in off:
            off["tower_form"] = float(_TOWER_FORMS.index("flat"))
        changed = self._with_values(off)
        mask = self._object_mask(concept, index, size)
        if not mask.any():
            raise ValueError(
                f"The scene shows no {_called(concept, index)} to take away. "
                f"Pass a scene that has one, or add one first with with_({concept!r})."
            )
        return self._counterfactual(changed, mask, size)

    def with_(self, concept: str, index: int | None = None, size: int = 128) -> Counterfactual:
        """Add `concept` (one of `CONCEPTS`) to this scene, with everything else identical.

        `index` as in `without`; None adds the first tree or cloud that is missing, the central dome, or the
        whole row of windows. Dome 1 replaces the spires or merlons of the towers. Masks are `size` x `size`.
        Raises `ValueError` when the concept is there already, or when what was added cannot be seen (a door
        without a church, a cloud behind a tower).
        """
        known, needs_church = self._switches(concept, index)
        if needs_church and self.parameters["church_present"] < 0.5:
            raise ValueError(
                f"The scene has no church that could carry a {concept}. "
                "Add one with replace(church_present=1)."
            )
        if concept == "window" and index is None:
            missing = known[:_WINDOWS] if not any(self._on(name) for name in known[:_WINDOWS]) else ()
        elif concept == "dome" and index is None:
            missing = () if self._on("dome_present") else ("dome_present",)
        else:
            missing = tuple(name for name in known if not self._on(name))[:1]
        if not missing:
            raise ValueError(
                f"The scene has its {_called(concept, index)} already. Take it away first with "
                f"without({concept!r}), or pass a scene that lacks it."
            )
        changed = self._with_values(dict.fromkeys(missing, 1.0))
        if concept == "window" and index is None:
            added: int | None = None
        else:
            added = [missing[0] in group for group in _CONCEPTS[concept].switches].index(True)
        mask = changed._object_mask(concept, added, size)
        mask[self._object_mask(concept, added, size) > 0] = 0  # the towers' windows may have been there
        if not mask.any():
            raise ValueError(
                f"The added {_called(concept, added)} is hidden or has no place to stand. "
                "Pass another index, or change its position with replace()."
            )
        return self._counterfactual(changed, mask, size)

    @renamed_arguments(colour="color")  # codespell:ignore
    def restyled(
        self, concept: str, index: int | None = None, *, color: str | float, size: int = 128
    ) -> Counterfactual:
        """Give `concept` another color in this scene, with everything else identical.

        `color` is a name for domes (gold, teal, blue, white, red), roofs (terracotta, brown, slate, green)
        and doors (brown, red, green), and a number from 0 to 1 on the scale of `wall_tone`, `path_tone`,
        `grass_tone` or a tree's season for the others. `index` picks one tree, None takes all. The object
        mask marks the concept, the change mask what differs. Raises `ValueError` for a concept or color that
        is not known, and when none of it can be seen.
        """
        if concept not in _COLORS:
            raise ValueError(f"{concept!r} cannot be restyled. Use one of: {', '.join(_COLORS)}.")
        name, names = _COLORS[concept]
        if index is not None and (concept != "tree" or not 0 <= index < _TREES):
            raise ValueError(f"No {concept} has the index {index}. Pass None, or 0 to 3 for a tree.")
        if names is not None:
            if color not in names:
                raise ValueError(f"No {concept} is {color!r}. Use one of: {', '.join(names)}.")
            value = float(tuple(names).index(color))
        elif isinstance(color, str):
            raise ValueError(
                f"The color of a {concept} is a number from 0 to 1, not {color!r}. Pass a number."
            )
        else:
            value = float(color)
        if concept == "tree":
            mask = self._object_mask(concept, index, size)
        else:
            mask = np.where(self.label_map(size) == CLASSES.index(concept), 255, 0).astype(np.uint8)
        if not mask.any():
            raise ValueError(
                f"The scene shows no {_called(concept, index)} to restyle. Pass a scene that has one."
            )
        which = range(_TREES) if index is None else (index,)
        changed = self._with_values({name.format(one): value for one in which})
        return self._counterfactual(changed, mask, size)

    def _on(self, name: str) -> bool:
        if name == "tower_form":
            return self._tower_domes()
        return self.parameters[name] >= 0.5

    def _tower_domes(self) -> bool:
        return _pick_name(_TOWER_FORMS, self.parameters["tower_form"]) == "dome"

    def _switches(self, concept: str, index: int | None) -> tuple[tuple[str, ...], bool]:
        """Return the presence parameters behind a concept, and whether it needs a church."""
        if concept not in _CONCEPTS:
            raise ValueError(
                f"{concept!r} is not a concept that can be added or taken away. "
                f"Use one of: {', '.join(CONCEPTS)}."
            )
        entry = _CONCEPTS[concept]
        if index is None:
            return tuple(name for group in entry.switches for name in group), entry.needs_church
        if not 0 <= index < len(entry.switches):
            raise ValueError(
                f"No {concept} has the index {index}. Pass an index from 0 to {len(entry.switches) - 1}."
            )
        return entry.switches[index], entry.needs_church

    def _object_mask(self, concept: str, index: int | None, size: int) -> ByteArray:
        entry = _CONCEPTS[concept]
        groups = entry.instances if index is None else entry.instances[index : index + 1]
        owners = [8 * entry.label + instance for group in groups for instance in group]
        return np.where(np.isin(self._drawn(size)[1], owners), 255, 0).astype(np.uint8)

    def _counterfactual(self, changed: Scene, object_mask: ByteArray, size: int) -> Counterfactual:
        differs = (self.render(size) != changed.render(size)).any(2)
        differs |= self.label_map(size) != changed.label_map(size)
        return Counterfactual(changed, object_mask, np.where(differs, 255, 0).astype(np.uint8))


def _check_size(size: int) -> None:
    if not 32 <= size <= 1024:
        raise ValueError(f"Size {size} is not supported. Pass a size from 32 to 1024 pixels.")


def _called(concept: str, index: int | None) -> str:
    return concept if index is None else f"{concept} {index}"


# ------------------------------------------------------------------------------------------------------------
# Many scenes at once
# ------------------------------------------------------------------------------------------------------------


def _render_chunk(task: tuple[Sequence[int], int]) -> tuple[ByteArray, ByteArray]:
    seeds, size = task
    scenes = [Scene.sample(seed) for seed in seeds]
    return np.stack([s.render(size) for s in scenes]), np.stack([s.label_map(size) for s in scenes])


def render_many(
    seeds: Iterable[int], size: int = 128, processes: int | None = None
) -> tuple[ByteArray, ByteArray]:
    """Render pictures and label maps of the scenes with these seeds.

    Returns uint8 arrays N x size x size x 3 and N x size x size, in the order of `seeds`. `processes` worker
    processes share the work (default: one per processor; 1 stays in this process). Raises `ValueError` for a
    negative seed and for a size outside 32..1024.
    """
    _check_size(size)
    wanted = [int(seed) for seed in seeds]
    images = np.empty((len(wanted), size, size, 3), np.uint8)
    labels = np.empty((len(wanted), size, size), np.uint8)
    chunk = 64
    tasks = [(wanted[start : start + chunk], size) for start in range(0, len(wanted), chunk)]
    workers = min(processes or os.cpu_count() or 1, len(tasks))

    def collect(results: Iterable[tuple[ByteArray, ByteArray]]) -> None:
        for number, (some_images, some_labels) in enumerate(results):
            place = slice(number * chunk, number * chunk + len(some_images))
            images[place], labels[place] = some_images, some_labels

    if workers <= 1:
        collect(map(_render_chunk, tasks))
    else:
        with multiprocessing.Pool(workers) as pool:
            collect(pool.imap(_render_chunk, tasks))
    return images, labels
