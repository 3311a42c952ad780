"""Edits: what a user paints, and what it does to a generator's features.

An :class:`Edit` says *what* (add, remove or restyle a concept), *where* (a mask in picture pixels) and
*how much*. :func:`apply` carries it out on the features of the edit layer. The equation is that of Bau,
Strobelt, Peebles, Wulff, Zhou, Zhu and Torralba, "Semantic Photo Manipulation with a Generative
Image Prior" (SIGGRAPH 2019), with the units and levels of "GAN Dissection" (ICLR 2019).

Importing this module does not import torch: the widget and the journal use edits, too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from .errors import GANPaintError

if TYPE_CHECKING:
    from torch import Tensor

    from .generators.staged import State

Mask = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.float32]

VERBS: Final = ("add", "remove", "restyle", "suppress")
MAX_STRENGTH: Final = 4.0

# How many of a concept's best units an edit acts on: the three levels of GANPaint's public server.
UNITS: Final = {"low": 4, "medium": 10, "high": 15}
DEFAULT_UNITS: Final = UNITS["high"]

TARGETS: Final = ("tuned", "quantile", "mean")
"""What an addition aims at: the level that dissection has tuned, the unit's 0.99 quantile over many samples
(GAN Dissection), or its mean over the places where the concept is (GANPaint)."""

HELD_DOWN: Final = 0.5
"""How far a removal holds the concept's units down in what it continues from the surroundings, which still
show a trace of what is removed."""

SIDEWAYS: Final = 3.0
"""How much more a removal is like what lies beside it than like what lies above and below: ground, horizon
and sky are layers."""

MAX_VARIANT: Final = 9999
MAX_SEED: Final = 2**31 - 1

_ID = re.compile(r"[A-Za-z0-9-]{1,32}")


@dataclass(frozen=True, eq=False)
class Reference:
    """Where a restyle takes the look of its concept from: a sample of the generator, or a picture.

    Attributes:
        seed: of the sample G(z); ``None`` for a picture.
        picture: uint8 R x R x 3, read-only; ``None`` for a sample.
        region: which part of it counts: uint8 R x R, 0 to 255, read-only; ``None``: where the segmenter
            sees the concept.
    """

    seed: int | None = None
    picture: npt.NDArray[np.uint8] | None = None
    region: Mask | None = None

    def __post_init__(self) -> None:
        for name in ("picture", "region"):
            _freeze(self, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        return (
            self.seed == other.seed
            and _same(self.picture, other.picture)
            and _same(self.region, other.region)
        )

    def __hash__(self) -> int:
        return hash((self.seed, self.picture is None, self.region is None))


@dataclass(frozen=True, eq=False)
class Edit:
    """One edit, immutable: a change makes a new one, so that undo only has to keep the old.

    Attributes:
        id: 1 to 32 characters of ``A-Z a-z 0-9 -``.
        verb: ``"add"``, ``"remove"``, ``"restyle"`` (draw the concept as a reference does) or
            ``"suppress"`` (switch units off whatever they draw, such as those that cause artifacts).
        concept: a concept that the generator's dissection knows, or the name of a brush (then the edit has
            units of its own, and levels if it adds); empty for ``"suppress"``.
        mask: uint8 R x R in picture pixels, 0 to 255, read-only.
        strength: s of the equation, 0 to 4. Without effect where p is 0 and when removing.
        enabled: an edit that is switched off stays in its place and does nothing.
        units: on which units it acts: ``None`` for all, each as far as the dissection says;
            ``"low"``, ``"medium"`` or ``"high"`` for the concept's best 4, 10 or 15; or their numbers.
        target: one of ``TARGETS``, for an addition.
        variant: which of several plausible versions of an addition this is; 0 is the plain one.
        levels: p of the equation where it does not come from the dissection alone, as for restyles,
            variants and brushes: float32, one for each unit, read-only.
        reference: where a restyle's ``levels`` come from.
    """

    id: str
    verb: str
    concept: str
    mask: Mask
    strength: float = 1.0
    enabled: bool = True
    units: str | tuple[int, ...] | None = None
    target: str = "tuned"
    variant: int = 0
    levels: Levels | None = None
    reference: Reference | None = None

    def __post_init__(self) -> None:
        for name in ("mask", "levels"):
            _freeze(self, name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Edit):
            return NotImplemented
        return (
            self._plain == other._plain
            and np.array_equal(self.mask, other.mask)
            and _same(self.levels, other.levels)
            and self.reference == other.reference
        )

    def __hash__(self) -> int:
        return hash(self._plain)

    def __repr__(self) -> str:
        off = "" if self.enabled else ", switched off"
        covered = np.count_nonzero(self.mask) / max(self.mask.size, 1)
        what = f"{self.verb} {self.concept}" if self.concept else f"{self.verb} units {self.units}"
        return f"<Edit {self.id}: {what}, strength {self.strength:g}, {covered:.1%}{off}>"

    @property
    def _plain(self) -> tuple[object, ...]:
        return (
            self.id, self.verb, self.concept, self.strength, self.enabled,
            self.units, self.target, self.variant,
        )  # fmt: skip


def _freeze(owner: object, name: str) -> None:
    """Replace an array attribute that can be written to by a copy that cannot."""
    array = getattr(owner, name)
    if array is not None and array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
        object.__setattr__(owner, name, array)


def _same(one: npt.NDArray[Any] | None, other: npt.NDArray[Any] | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


class Knowledge(Protocol):
    """What an edit has to know about a layer's units; a ``Dissection`` knows it."""

    def target(self, concept: str, by: str) -> Tensor:
        """C: the activation of each unit that stands for the concept, by one of ``TARGETS``."""

    def units(self, concept: str, count: int) -> Tensor:
        """The ``count`` best units of a concept, best first."""

    def weights(self, concept: str, verb: str) -> Tensor:
        """C: how far each unit takes part in an edit, 0 to 1."""


Imagine = Callable[["State", str], "tuple[Tensor, Tensor]"]
"""What the generator itself would draw in place of a state, see ``Model.imagine``: features of the state's
shape, and B x 1 x H x W in [0, 1], how far they are free of a concept."""


def apply(
    state: State, edits: Iterable[Edit], dissection: Knowledge, imagine: Imagine | None = None
) -> State:
    """z to z_e: the edits carried out on the features of the edit layer, in their order.

    For every unit u and location i (Bau et al. 2019, section "Editing"; s is the strength there, too)::

        z_e[u,i] = (1 - alpha[u,i]) z[u,i] + alpha[u,i] (s p[u])

    alpha is the mask on the layer's grid, times the unit's weight for the concept, or 1 for each of the
    edit's own units. What is taken away takes every cell along that the mask touches, as in GANPaint
    (max-pooling), or remains of it would show; what is put there goes wholly into cells of which the mask
    covers two thirds, and less into others, or it would spill over by up to a cell. p is the unit's level for
    the concept when adding, the reference's when restyling, 0 when suppressing, and 0 when removing by units
    of the edit's own, as published. Zero is not "nothing here", though: a removal that is left to the
    dissection acts on all units, and its p is what surrounds the mask, :func:`continued` into it, with the
    concept's units held down. That is smooth, and a horizon behind a tree is not. So where the generator can
    be asked it draws the result anew, as ``imagine`` says, and p is what it drew there, matched to the
    surroundings, as far as that is free of the concept. The next edit starts from what this one has left;
    edits that are switched off are skipped.

    Args:
        state: the generator's state at the dissected layer, B x C x H x W; it is not changed.
        edits: in the order of their strokes.
        dissection: says which units draw a concept, and at which level.
        imagine: asks the generator, for removals; without it they go by the surroundings alone.
    """
    import torch
    from torch.nn import functional as F

    features = state.features
    for edit in edits:
        if not edit.enabled:
            continue
        mask = torch.from_numpy(edit.mask.astype(np.float32) / 255).to(features)
        height, width = features.shape[-2:]
        if edit.verb in ("add", "restyle"):
            reach = (1.5 * F.adaptive_avg_pool2d(mask[None, None], (height, width))).clamp_max(1)
        else:
            reach = F.adaptive_max_pool2d(mask[None, None], (height, width))
        if edit.units is None:
            weight = dissection.weights(edit.concept, edit.verb).to(features).view(1, -1, 1, 1)
        else:
            numbers = (
                dissection.units(edit.concept, UNITS[edit.units]).tolist()
                if isinstance(edit.units, str)
                else list(edit.units)
            )
            weight = features.new_zeros(1, features.shape[1], 1, 1)
            weight[:, numbers] = 1
        if edit.verb == "remove" and edit.units is None:
            hidden = reach[0, 0] > 0
            level = (1 - HELD_DOWN * weight) * continued(features, hidden)
            alpha = reach
            if imagine is not None and bool(hidden.any()):
                emptied = state.replace((1 - alpha) * features + alpha * level)
                imagined, free = imagine(emptied, edit.concept)
                level = level + free * (imagined + continued(features - imagined, hidden) - level)
        else:
            level = torch.zeros_like(weight)
            if edit.levels is not None:
                level = torch.tensor(edit.levels).to(features).view(1, -1, 1, 1)
            elif edit.verb == "add":
                level = dissection.target(edit.concept, edit.target).to(features).view(1, -1, 1, 1)
            alpha = weight * reach
        strength = 1.0 if edit.verb == "remove" else edit.strength
        features = (1 - alpha) * features + alpha * (strength * level)
    return state.replace(features)


def continued(features: Tensor, hidden: Tensor) -> Tensor:
    """What surrounds the hidden cells, continued into them: each becomes the mean of its four neighbours.

    Those to the left and right count ``SIDEWAYS`` times in that mean; at the picture's border a cell has only
    the neighbours that there are. This is Laplace's equation with the cells around as its boundary values,
    solved for all cells at once.

    Args:
        features: B x C x H x W.
        hidden: H x W, boolean. Where all cells are hidden there is nothing to continue: they become 0.

    Returns:
        ``features`` with other values in the hidden cells.
    """
    import torch

    if bool(hidden.all()):
        return torch.zeros_like(features)
    index = torch.arange(hidden.numel(), device=features.device).view(hidden.shape)
    laplacian = features.new_zeros(hidden.numel(), hidden.numel())
    for weight, one, other in ((SIDEWAYS, index[:, :-1], index[:, 1:]), (1, index[:-1], index[1:])):
        laplacian[one, other] = laplacian[other, one] = -weight
    laplacian.diagonal().copy_(-laplacian.sum(dim=1))
    inside = hidden.flatten().to(features.device)
    flat = features.flatten(2)
    drawn = laplacian[inside][:, ~inside] @ flat[..., ~inside].transpose(1, 2)
    result = flat.clone()
    result[..., inside] = -torch.linalg.solve(laplacian[inside][:, inside], drawn).transpose(1, 2)
    return result.view_as(features)


def mean_levels(state: State, region: Tensor) -> Tensor:
    """p of a reference: each unit's mean activation over a region (Bau et al. 2019, section "Editing")::

        p[u] = sum_i m[i] z[u,i] / sum_i m[i]

    m[i] is the share of cell i that the region covers, so that this is the mean over the region's pixels of
    the features brought to the picture's size without interpolation.

    Args:
        state: the reference's state at the edit layer, one picture.
        region: R x R, 0 to 1, with at least one pixel above 0.

    Returns:
        C levels.
    """
    from torch.nn import functional as F

    features = state.features[0]
    height, width = features.shape[-2:]
    share = F.adaptive_avg_pool2d(region.to(features)[None, None], (height, width))[0, 0]
    return (features * share).sum(dim=(1, 2)) / share.sum()


# --- checks: everything that comes from outside goes through one of these ---


def checked_verb(verb: object) -> str:
    """``verb`` if there is such a verb, else GANPaintError."""
    if not (isinstance(verb, str) and verb in VERBS):
        raise GANPaintError(f"There is no verb {_shown(verb)}.", f"Choose one of: {', '.join(VERBS)}.")
    return verb


def checked_concept(concept: object, known: Sequence[str], generator: str) -> str:
    """``concept`` if the generator knows it, else GANPaintError with those that it knows."""
    if not known:
        raise GANPaintError(
            f"The generator {generator!r} has no dissection, so it knows no concepts to paint with.",
            "Measure one with `ganpaint dissect`, or choose a generator that comes with one.",
        )
    if not (isinstance(concept, str) and concept in known):
        raise GANPaintError(
            f"The generator {generator!r} knows no concept {_shown(concept)}.",
            f"Choose one of: {', '.join(known)}.",
        )
    return concept


def checked_name(name: object) -> str:
    """``name`` if a brush can be called so: 1 to 64 visible characters, else GANPaintError."""
    if not (isinstance(name, str) and 0 < len(name.strip()) == len(name) <= 64 and name.isprintable()):
        raise GANPaintError(f"{_shown(name)} cannot be the name of a brush.", "Use 1 to 64 characters.")
    return name


def checked_strength(strength: Any) -> float:
    """``strength`` as a float from 0 to 4, else GANPaintError."""
    try:
        value = math.nan if isinstance(strength, (str, bytes, bool)) else float(strength)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not 0 <= value <= MAX_STRENGTH:  # false for NaN, too
        raise GANPaintError(
            f"The strength is {_shown(strength)}.",
            f"Pass a number from 0 to {MAX_STRENGTH:g}; 1 is the usual one.",
        )
    return value


def checked_units(units: object, channels: int) -> str | tuple[int, ...] | None:
    """``units`` as ``None``, one of ``UNITS``, or distinct numbers below ``channels``, else GANPaintError."""
    if units is None or (isinstance(units, str) and units in UNITS):
        return units
    try:
        numbers = [] if isinstance(units, (str, bytes)) else list(units)  # type: ignore[call-overload]
    except TypeError:
        numbers = []
    whole = [int(one) for one in numbers if isinstance(one, (int, np.integer)) and not isinstance(one, bool)]
    if not numbers or len(whole) < len(numbers) or not all(0 <= one < channels for one in whole):
        raise GANPaintError(
            f"{_shown(units)} are no units of this layer.",
            f"Pass one of {', '.join(UNITS)}, or numbers from 0 to {channels - 1}.",
        )
    return tuple(sorted(set(whole)))


def checked_target(target: object) -> str:
    """``target`` if there is such a target, else GANPaintError."""
    if not (isinstance(target, str) and target in TARGETS):
        raise GANPaintError(
            f"There is no target {_shown(target)} for an addition.", f"Choose one of: {', '.join(TARGETS)}."
        )
    return target


def checked_number(value: object, name: str, largest: int) -> int:
    """``value`` as a whole number from 0 to ``largest``, else GANPaintError that calls it ``name``."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not (whole and 0 <= value <= largest):  # type: ignore[operator]
        raise GANPaintError(f"The {name} is {_shown(value)}.", f"Pass a whole number from 0 to {largest}.")
    return int(value)  # type: ignore[call-overload, no-any-return]


def checked_edit(edit: Edit, known: Sequence[str], generator: str, size: int, channels: int) -> Edit:
    """An edit whose fields may hold anything, as one that can be carried out, else GANPaintError.

    Args:
        edit: to be checked, for example from a file; its arrays are arrays.
        known: the concepts of the generator.
        generator: what to call it in messages.
        size: R of its pictures.
        channels: C of its edit layer.
    """
    checked_id(edit.id)
    verb = checked_verb(edit.verb)
    units = checked_units(edit.units, channels)
    # A brush's edit: it says itself what its name stands for, so that it outlives the brush.
    own = isinstance(units, tuple) and (verb == "remove" or edit.levels is not None)
    if own and edit.concept not in known:
        checked_name(edit.concept)
    elif verb != "suppress" or edit.concept != "":
        checked_concept(edit.concept, known, generator)
    if verb == "suppress" and not isinstance(units, tuple):
        raise GANPaintError("It is not said which units are to be suppressed.", "Pass their numbers.")
    variant = checked_number(edit.variant, "variant", MAX_VARIANT)
    target = checked_target(edit.target)
    if verb != "add" and (variant or target != TARGETS[0]):
        raise GANPaintError(
            f"The verb {verb} has neither variants nor targets.", "Leave them out; only an addition has them."
        )
    if verb == "restyle" and (edit.reference is None or edit.levels is None):
        raise GANPaintError(
            "A restyle needs a reference.", "Pass a picture, or the seed of one of the generator's samples."
        )
    if verb != "restyle" and edit.reference is not None:
        raise GANPaintError(f"The verb {verb} takes no reference.", "Leave it out, or restyle instead.")
    if edit.levels is not None and not (
        edit.levels.shape == (channels,)
        and edit.levels.dtype == np.float32
        and np.isfinite(edit.levels).all()
        and (verb == "restyle" or variant or (verb == "add" and own))
    ):
        raise GANPaintError(
            "The edit's levels do not fit this generator.", "Make the edit anew with this generator."
        )
    if verb == "add" and variant and edit.levels is None:
        raise GANPaintError("The variant comes without its levels.", "Make the edit anew.")
    if edit.reference is not None:
        _check_reference(edit.reference, size)
    if not isinstance(edit.enabled, (bool, np.bool_)):
        raise GANPaintError("An edit is switched with True or False.", "Pass one of the two.")
    return replace(
        edit,
        mask=checked_mask(edit.mask, size, size),
        strength=checked_strength(edit.strength),
        enabled=bool(edit.enabled),
        units=units,
        variant=variant,
    )


def _check_reference(reference: Reference, size: int) -> None:
    if (reference.seed is None) == (reference.picture is None):
        raise GANPaintError("The reference is neither a sample nor a picture.", "Pass one of the two.")
    if reference.seed is not None:
        checked_number(reference.seed, "seed of the reference", MAX_SEED)
    elif reference.picture is not None and (
        reference.picture.shape != (size, size, 3) or reference.picture.dtype != np.uint8
    ):
        raise GANPaintError(
            f"The reference's picture has the shape {reference.picture.shape}.",
            f"Pass one of {size} x {size} x 3.",
        )
    if reference.region is not None:
        checked_mask(reference.region, size, size)
        if not reference.region.any():
            raise GANPaintError("The region of the reference is empty.", "Paint where its concept is.")


def checked_id(edit: object) -> str:
    """``edit`` if it can be the id of an edit, else GANPaintError."""
    if not (isinstance(edit, str) and _ID.fullmatch(edit)):
        raise GANPaintError(
            f"{_shown(edit)} cannot be the id of an edit.", "Use 1 to 32 letters, digits and hyphens."
        )
    return edit


def checked_mask(mask: object, height: int, width: int) -> Mask:
    """``mask`` as uint8 ``height`` x ``width``, else GANPaintError. Boolean masks become 0 and 255."""
    try:
        array = np.asarray(mask)
    except (TypeError, ValueError) as error:  # ragged lists, for one
        raise GANPaintError(
            "The mask is no array.", f"Pass a uint8 array of the shape {height} x {width}."
        ) from error
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype != np.uint8:
        raise GANPaintError(
            f"The mask has the data type {array.dtype}.",
            "Pass uint8 values from 0 (not painted) to 255 (painted).",
        )
    if array.shape != (height, width):
        raise GANPaintError(
            f"The mask has the shape {array.shape}.",
            f"Pass one of {height} x {width}, in the picture's own pixels.",
        )
    return array


def checked_rect(rect: object, size: int) -> tuple[int, int, int, int]:
    """``rect`` as x, y, width, height inside ``size`` x ``size``, else GANPaintError."""
    numbers = list(rect) if isinstance(rect, (tuple, list)) else []
    whole = all(isinstance(number, (int, np.integer)) and not isinstance(number, bool) for number in numbers)
    if len(numbers) == 4 and whole:
        x, y, width, height = (int(number) for number in numbers)
        if min(x, y, width, height) >= 0 and x + width <= size and y + height <= size:
            return x, y, width, height
    raise GANPaintError(
        f"{_shown(rect)} is no rectangle inside the picture.",
        f"Pass four whole numbers x, y, width, height within {size} x {size} pixels.",
    )


def _shown(value: object) -> str:
    """``value`` for an error message: input from outside may be of any length."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
