"""G' of a picture that is being edited: ``method/adaptation.py`` carried out for a session's edits.

:func:`blend` fits G' to the photo around the edits, on demand. :class:`Faithful` fits it once to the photo as
it is, when nothing else is to be done; from then on each preview can be faithful to the photo as well, and a
blend begins from there. Where the model has an initializer both begin with what that says in one pass: the
first picture is faithful at once. Everything here runs on the worker's thread (see ``worker.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from ...images import framing
from ...images.arrays import array_of, frozen
from ...tickets import Cancelled, Ticket
from ..document import Edits
from ..events import Array
from .opening import OpenedPicture

if TYPE_CHECKING:
    from torch import Tensor

    from ...models.generator import Modifier, StagedGenerator, State
    from ...models.model import Model
    from ..project import StoredBlend


@dataclass(frozen=True, eq=False)
class Blend:
    """A finished G'(z_e).

    Attributes:
        array: uint8 R x R x 3, read-only.
        revision, edits: what it shows.
        before, after: PSNR of the kept pixels against the photo, of G(z_e) and of G'(z_e).
        survival: ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| inside the edit, near 1 when the edit has
            survived; ``None`` without one.
        delta: the perturbation that makes G' of G, by fine layer; see ``adaptation.render``.
    """

    array: Array
    revision: int
    edits: Edits
    before: float
    after: float
    survival: float | None
    delta: Mapping[str, Tensor] = field(default_factory=dict)


class Faithful:
    """G' of a photo without edits, fitted bit by bit.

    Attributes:
        opened: the picture.
        modify: draws G'(z_e), see :func:`.adaptation.gates`; ``None`` until there is a first delta.
        fitted: whether it is as good as it gets.
    """

    def __init__(self, model: Model, opened: OpenedPicture) -> None:
        self.opened = opened
        self.modify: Mapping[str, Modifier] | None = None
        self.fitted = False
        self._model = model
        self._delta: Mapping[str, Tensor] = {}
        self._taken = 0

    def fit(self, ticket: Ticket, on_modify: Callable[[], None]) -> bool:
        """Go on until the ticket is cancelled, or it is done, which is returned.

        Args:
            on_modify: called whenever there is a new :attr:`modify`.
        """
        import torch

        from ...method import adaptation

        state, x = self.opened.fast.state, self.opened.x
        everything = torch.ones_like(x[:, :1])

        def found(delta: Mapping[str, Tensor]) -> None:
            self._delta = delta
            self.modify = adaptation.gates(self._model.generator, delta, state)
            on_modify()

        if not self._delta:
            first = self._model.first_delta(state, x, everything)
            if first is not None:
                found(first)
        adapted = adaptation.adapt(
            self._model.generator,
            state,
            x,
            everything,
            original=state,
            steps=adaptation.AdaptationConfig().steps - self._taken,
            start=self._delta,
            ticket=ticket,
        )
        self._delta, self._taken = adapted.delta, self._taken + adapted.steps
        if ticket.cancelled and self._taken < adaptation.AdaptationConfig().steps:
            return False
        self.fitted = True
        found(adapted.delta)
        return True

    def start(self, edited: State) -> Mapping[str, Tensor]:
        """Where a blend of edits may begin."""
        from ...method import adaptation

        return adaptation.gated(self._model.generator, self._delta, self.opened.fast.state, edited)


WARM_STEPS: Final = 12
"""Evaluations of the loss for a blend that begins from :class:`Faithful`: half of what it takes from nothing.
More would bring back more of the photo's own pixels, also where the edit is."""


def blend(
    model: Model,
    opened: OpenedPicture,
    edits: Edits,
    revision: int,
    ticket: Ticket,
    on_picture: Callable[[Array], None],
    faithful: Faithful | None = None,
) -> Blend:
    """G'(z_e) of an open picture.

    Args:
        on_picture: receives better and better ones on the way.
        faithful: of this picture, fitted, to begin from; otherwise the model's initializer says where.

    Raises:
        Cancelled: before there was anything to keep.
    """
    import torch

    from ...method import adaptation

    if ticket.cancelled:
        raise Cancelled
    generator = model.generator
    keep = kept(generator, opened, edits)
    with torch.no_grad():
        original = opened.fast.state
        edited = opened.fast.edited(edits)
    start = model.first_delta(edited, opened.x, keep) if faithful is None else faithful.start(edited)
    adapted = adaptation.adapt(
        generator,
        edited,
        opened.x,
        keep,
        original=original,
        steps=None if faithful is None else WARM_STEPS,
        start=start,
        ticket=ticket,
        on_picture=lambda picture, psnr: on_picture(array_of(picture)),
    )
    with torch.no_grad():
        array = array_of(adaptation.render(generator, edited, adapted.delta))
    return Blend(array, revision, edits, adapted.before, adapted.after, adapted.survival, dict(adapted.delta))


def kept(generator: StagedGenerator, opened: OpenedPicture, edits: Edits) -> Tensor:
    """How much each pixel must stay the photo's: 1 x 1 x R x R, see :func:`.adaptation.keep_mask`."""
    import torch

    from ...method import adaptation

    strokes = np.zeros(opened.photo.shape[:2], np.uint8)
    for edit in edits:
        # What is suppressed was never in the photo, which may come back there.
        if edit.enabled and edit.verb != "suppress":
            strokes = np.maximum(strokes, edit.mask)
    with torch.no_grad():
        painted = torch.from_numpy(strokes.astype(np.float32) / 255).to(opened.x)[None, None]
        return adaptation.keep_mask(generator, opened.fast.state, opened.fast.edited(edits), painted)


def pasted(generator: StagedGenerator, opened: OpenedPicture, edits: Edits, array: Array) -> Image.Image:
    """A picture of these edits in the photo at its own size, which stays as it is where nothing was edited.

    Args:
        array: G(z_e) or G'(z_e), uint8 R x R x 3; returned as it is where there is no larger photo.
    """
    original = opened.source.original
    if original is None:
        return Image.fromarray(array.copy())
    changed = (1 - kept(generator, opened, edits)[0, 0]).mul(255).round().cpu().numpy().astype(np.uint8)
    return framing.paste(original.image, array, original.fit, changed)


def restored(stored: StoredBlend, edits: Edits, revision: int, like: Tensor) -> Blend:
    """A blend from a project; its tensors are of the type and on the device of ``like``."""
    import torch

    delta = {name: torch.from_numpy(value).to(like) for name, value in stored.delta.items()}
    array = frozen(stored.array)
    return Blend(array, revision, edits, stored.before, stored.after, stored.survival, delta)
