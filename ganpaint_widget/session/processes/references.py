"""References: the look of a concept in another picture, and the activations that produce it.

A restyle refers to a picture or to a sample of the generator. A variant of an addition refers to an instance
among the samples. Both give p, the target activations of one edit. :meth:`References.activations` measures
them once for each edit, which keeps them while its stroke grows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ...errors import GANPaintError
from ...images import files, framing
from ...images.arrays import Array
from ...method.edits import MAX_SEED, Activations, Edit, Reference
from ...method.equation import mean_activations
from ...tickets import Report, Ticket
from ...validation import checked_number
from ..worker import Worker
from .inverting import Source, open_picture, searching
from .waiting import Waiting

if TYPE_CHECKING:
    from torch import Tensor

    from ...models.generator import State
    from ...models.model import Model

MAX_REFERENCES: Final = 16
"""Opened references to keep, newest first. A strip of samples has about as many."""

SAMPLES: Final = 32
"""Samples that are searched for a strip that shows a concept, or for one variant of it.

A concept that is rarer than one in so many samples may lack variants."""

MINIMUM_SHARE: Final = 0.004
"""The share of a picture that a concept must cover to serve as a reference: 16 of 64 x 64 pixels."""


@dataclass(frozen=True, eq=False)
class OpenedReference:
    """An inverted reference. It lacks the features of later layers, since it is not drawn again.

    Attributes:
        photo: uint8 R x R x 3, read-only; for a sample, G(z).
        reconstruction: the generator's version of it, in the same format.
        psnr: the PSNR of that version.
        state: at the edit layer.
    """

    photo: Array
    reconstruction: Array
    psnr: float
    state: State


class References:
    """Opens references, and measures the activations that edits take from them. Callers wait for it.

    Args:
        report: called with the progress.
    """

    def __init__(self, model: Model, worker: Worker, report: Callable[[Report], None]) -> None:
        self.model = model
        self._waiting = Waiting(
            worker,
            "The reference could not be opened",
            "Opening the reference was canceled",
            report,
            searching(model),
        )
        # Only the worker's thread uses these two.
        self._opened: OrderedDict[Reference, OpenedReference] = OrderedDict()
        self._shares: dict[int, dict[str, float]] = {}

    def open(self, reference: Reference) -> OpenedReference:
        """Open a reference like a photo. The last few are kept.

        Raises:
            GANPaintError: the reference cannot be opened, or this was cancelled.
        """
        return self._waiting.run(self._open, reference)

    def activations(self, edit: Edit) -> Activations:
        """Return p of a restyle, or of a variant of an addition.

        Raises:
            GANPaintError: the reference or the generator's samples do not show the concept, or this was
                cancelled.
        """
        return self._waiting.run(self._measure, edit)

    def showing(self, concept: str, count: int) -> list[int]:
        """Return the seeds of samples that show most of a concept, in that order; see ``samples``."""
        segmenter = self.model.segmenter
        if segmenter is None or concept not in segmenter.classes:
            return list(range(count))
        shown = self._waiting.run(self._look, concept)
        best = sorted(shown, key=lambda seed: (-shown[seed], seed))[:count]
        return [seed for seed in best if shown[seed] >= MINIMUM_SHARE]

    def cancel(self) -> None:
        """Abandon all openings and measurements. A waiting caller gets an error that says so."""
        self._waiting.cancel()

    def _open(self, ticket: Ticket, reference: Reference) -> OpenedReference:
        key = replace(reference, region=None)
        opened = self._opened.get(key)
        if opened is None:
            source = (
                Source("photo", "reference", 0, reference.picture)
                if reference.seed is None
                else Source("sample", f"sample {reference.seed}", reference.seed)
            )
            found = open_picture(self.model, source, ticket)
            opened = OpenedReference(found.photo, found.reconstruction, found.psnr, found.fast.state)
            self._opened[key] = opened
            while len(self._opened) > MAX_REFERENCES:
                self._opened.popitem(last=False)
        self._opened.move_to_end(key)
        return opened

    def _measure(self, ticket: Ticket, edit: Edit) -> Activations:
        if edit.reference is None:
            return variant_activations(self.model, edit.concept, edit.target, edit.variant, ticket)
        opened = self._open(ticket, edit.reference)
        return reference_activations(self.model, opened, edit.reference, edit.concept)

    def _look(self, ticket: Ticket, concept: str) -> dict[int, float]:
        """Return the share of each sample that shows a concept. Each sample is segmented once."""
        for seed in range(SAMPLES):
            if seed not in self._shares:
                self._shares[seed] = shares(self.model, seed)
                ticket.checkpoint((seed + 1) / SAMPLES)
        return {seed: self._shares[seed][concept] for seed in range(SAMPLES)}


def read_reference(reference: object, region: object, size: int) -> Reference:
    """Read a user's reference, and resize it to the generator's size R x R.

    Args:
        reference: a picture, the seed of a sample, or a ``Reference``, which may have a region.
        region: a mask, R x R or as large as the picture; ``None`` for that of a
            ``Reference``, or else for all pixels that show the concept.

    Raises:
        GANPaintError: an argument is not as above.
    """
    if isinstance(reference, Reference):
        return reference if region is None else replace(reference, region=files.read_mask(region, size))
    if isinstance(reference, (int, np.integer)) and not isinstance(reference, bool):
        seed = checked_number(reference, "seed of the reference", MAX_SEED)
        part = None if region is None else files.read_mask(region, size)
        return Reference(seed=seed, region=part)
    image = files.read(reference)
    part = None if region is None else files.read_mask(region, size, image)
    return Reference(picture=framing.fitted(image, size), region=part)


def reference_activations(
    model: Model, opened: OpenedReference, reference: Reference, concept: str
) -> Activations:
    """Return p for restyling a concept after an opened reference: C activations.

    Raises:
        GANPaintError: the generator's version of it does not show the concept, and no region is given.
    """
    import torch

    if reference.region is not None:
        region = torch.from_numpy(reference.region.astype(np.float32) / 255)
    else:
        region = _where(model, opened.state, concept, "Pass the region of the reference that counts.")
        if float(region.mean()) < MINIMUM_SHARE:
            raise GANPaintError(
                f"The generator's version of the reference does not show a {concept}.",
                "Choose another reference, or pass the region of it that counts.",
            )
    return _activations(mean_activations(opened.state, region))


def variant_activations(
    model: Model, concept: str, target: str, variant: int, ticket: Ticket | None = None
) -> Activations:
    """Return p for one of several plausible versions of an addition: C activations.

    The target is moved by the difference of one *instance* of the concept from the average: its mean
    activations over the concept's pixels, less the dissection's ``mean`` target. For variant n, the instance
    is the first among the samples of the seeds 32 n to 32 n + 31. Its choice does not depend on earlier
    calls.

    Raises:
        GANPaintError: none of these samples shows the concept.
    """
    import torch

    generator, dissection = model.generator, model.dissection
    assert dissection is not None
    for tried, seed in enumerate(range(SAMPLES * variant, SAMPLES * (variant + 1))):
        if ticket is not None:
            ticket.checkpoint(tried / SAMPLES)
        with torch.no_grad():
            state = generator.sampled(1, seed)
        region = _where(model, state, concept, "Leave the variant at 0.")
        if float(region.mean()) >= MINIMUM_SHARE:
            instance = mean_activations(state, region)
            moved = instance - dissection.target(concept, "mean").to(instance)
            return _activations(dissection.target(concept, target).to(instance) + moved)
    raise GANPaintError(
        f"None of {SAMPLES} samples shows a {concept} from which variant {variant} could be made.",
        "Choose another variant.",
    )


def shares(model: Model, seed: int) -> dict[str, float]:
    """Return the share of a sample that each of the segmenter's classes covers, 0 to 1."""
    from ...models.checking import segmented

    assert model.segmenter is not None
    opened = open_picture(model, Source("sample", f"sample {seed}", seed))
    labels = segmented(model.segmenter, opened.x)[0]
    return {
        name: float((labels == place).float().mean()) for place, name in enumerate(model.segmenter.classes)
    }


def _where(model: Model, state: State, concept: str, hint: str) -> Tensor:
    """Return where the segmenter sees a concept in the picture of a state: R x R, 0 or 1."""
    import torch

    from ...models.checking import segmented

    segmenter, generator = model.segmenter, model.generator
    if segmenter is None or concept not in segmenter.classes:
        raise GANPaintError(
            f"The generator {model.name!r} comes without a segmenter that could find a {concept}.", hint
        )
    with torch.no_grad():
        labels = segmented(segmenter, generator.picture(generator.run(state)).clamp(-1, 1))[0]
    return (labels == segmenter.classes.index(concept)).float()


def _activations(tensor: Tensor) -> Activations:
    return np.asarray(tensor.detach().float().cpu().numpy(), np.float32)
