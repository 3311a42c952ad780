"""What ``benchmarks.quality`` measures: edits of held-out scenes with their truth, cheats and rivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganpaint_widget.demo.scenes import HELD_OUT, Scene
from ganpaint_widget.images.arrays import array_of, tensor_of
from ganpaint_widget.method import adaptation, edits, equation
from ganpaint_widget.method.adaptation import AdaptationConfig, dilate
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.model import Model

CONCEPTS = ("tree", "dome", "cloud", "door", "window")
SMALL = 0.002
"""Objects below this share of the picture (33 of 128 x 128 pixels) are mostly hidden: not asked for."""

Render = Callable[[State], Tensor]
"""An adapted generator: a state at the edit layer to a picture, 1 x 3 x R x R."""


# --- cases ---


@dataclass(frozen=True)
class Case:
    """One scene, inverted, with one edit painted on it, and the truth.

    ``x`` is the photo, ``truth`` the counterfactual's picture (1 x 3 x R x R in [-1, 1]); ``mask`` (1 x 1 x
    R x R, 0 or 1) is what was painted; ``labels`` and ``true_labels`` (R x R) are the scenes' own.
    """

    seed: int
    verb: str
    concept: str
    x: Tensor
    truth: Tensor
    mask: Tensor
    labels: Tensor
    true_labels: Tensor
    original: State
    edited: State
    other: State
    keep: Tensor


def counterfactual(scene: Scene, verb: str, concept: str, size: int, choice: int) -> Any:
    """One that the scene offers, by ``choice`` where there are several objects; ``None`` if there is none."""
    indices: Sequence[int | None] = {"tree": (0, 1, 2, 3), "cloud": (0, 1, 2)}.get(concept, (None,))
    for turn in range(len(indices)):
        index = indices[(choice + turn) % len(indices)]
        try:
            other = (scene.with_ if verb == "add" else scene.without)(concept, index, size=size)
        except ValueError:
            continue  # it has none to remove, or no place to add one
        if (other.object_mask > 0).mean() >= SMALL:
            return other
    return None


def inverted(model: Model, x: Tensor) -> State:
    """The photo as it is opened."""
    return invert(model, x).state


@torch.no_grad()
def drawn(model: Model, x: Tensor) -> State:
    """The generator's own version of the photo: what its z alone gives, with no features of the photo's."""
    assert model.encoder is not None
    generator = model.generator
    return generator.run(generator.start(model.encoder(x)[0]), until=generator.edit_layer)


def cases(model: Model, count: int, opened: Callable[[Model, Tensor], State] = inverted) -> Iterator[Case]:
    """Concepts and verbs in turn; a scene that does not offer what is due is passed over."""
    assert model.dissection is not None
    generator, size = model.generator, model.generator.resolution
    known = [one for one in CONCEPTS if one in model.dissection.concepts]
    made, index = 0, 0
    while made < count:
        concept, verb = known[made % len(known)], edits.VERBS[(made // len(known)) % 2]
        seed = HELD_OUT[index]
        index += 1
        scene = Scene.sample(seed)
        other = counterfactual(scene, verb, concept, size, choice=index)
        if other is None:
            continue
        x = tensor_of(scene.render(size), "cpu")
        original = opened(model, x)
        edit = edits.Edit("e", verb, concept, other.object_mask, 1.0)
        with torch.no_grad():
            edited = equation.apply(original, [edit], model.dissection, model.imagine)
            z = generator.sample_z(1, seed=index)
            another = generator.run(generator.start(z), until=generator.edit_layer)
        mask = torch.from_numpy((other.object_mask > 0).astype(np.float32))[None, None]
        made += 1
        yield Case(
            seed=seed,
            verb=verb,
            concept=concept,
            x=x,
            truth=tensor_of(other.scene.render(size), "cpu"),
            mask=mask,
            labels=torch.from_numpy(scene.label_map(size).astype(np.int64)),
            true_labels=torch.from_numpy(other.scene.label_map(size).astype(np.int64)),
            original=original,
            edited=edited,
            other=another,
            keep=adaptation.keep_mask(generator, original, edited, mask),
        )


# --- what is compared ---

WAYS = {
    "pyramid (ours)": AdaptationConfig(),
    "pyramid, added": AdaptationConfig(combine="add"),
    "pyramid, no regularisation": AdaptationConfig(regularization=0),
    "direct": AdaptationConfig("direct"),
    "network (published)": AdaptationConfig("network", regularization=0.1),
    "weights": AdaptationConfig("weights"),
}
"""Ours first, and the others to compare with it."""


def plain(model: Model, state: State) -> Tensor:
    """G."""
    return model.generator.picture(model.generator.run(state))


def adapted(model: Model, case: Case, way: AdaptationConfig | None = None) -> Render:
    """G' by this package, as a blend makes it; from nothing in a ``way`` that is compared with others."""
    start = model.first_delta(case.edited, case.x, case.keep) if way is None else None
    found = adaptation.adapt(
        model.generator, case.edited, case.x, case.keep, original=case.original, config=way, start=start
    )
    return lambda state: adaptation.render(model.generator, state, found.delta)


def returns_photo(model: Model, case: Case) -> Render:
    """A cheat: the photo itself."""
    return lambda state: case.x


def pastes_photo(model: Model, case: Case) -> Render:
    """A cheat: the photo pasted around the mask, the plain preview inside."""
    inside = dilate(case.mask, case.mask.shape[-1] // 16)
    return lambda state: inside * plain(model, state) + (1 - inside) * case.x


def returns_preview(model: Model, case: Case) -> Render:
    """A cheat: G(z_e), nothing adapted."""
    return lambda state: plain(model, state)


def returns_blur(model: Model, case: Case) -> Render:
    """A cheat: the photo, blurred where it was painted."""
    return lambda state: blurred_fill(case)


def returns_noise(model: Model, case: Case) -> Render:
    """A cheat: noise."""
    source = torch.Generator().manual_seed(case.seed)
    return lambda state: torch.rand(case.x.shape, generator=source) * 2 - 1


CHEATS = (returns_photo, pastes_photo, returns_preview, returns_blur, returns_noise)


def blurred_fill(case: Case) -> Tensor:
    """The mask filled with a wide blur of what surrounds it."""
    outside = 1 - dilate(case.mask, 1)
    size = case.x.shape[-1] // 4 * 2 + 1
    blur = [
        F.avg_pool2d(F.pad(one, (size // 2,) * 4, mode="replicate"), size, stride=1)
        for one in (case.x * outside, outside)
    ]
    return case.x * outside + blur[0] / blur[1].clamp_min(1e-3) * (1 - outside)


def inpainted(case: Case) -> Tensor:
    """OpenCV's inpainting after Telea (2004)."""
    import cv2

    mask = (dilate(case.mask, 1)[0, 0].numpy() * 255).astype(np.uint8)
    filled = cv2.inpaint(array_of(case.x), mask, 3, cv2.INPAINT_TELEA)
    return tensor_of(np.asarray(filled, np.uint8), "cpu")


def poisson(case: Case, preview: Tensor) -> Tensor:
    """The preview's inside blended into the photo by its gradients (Pérez et al. 2003, by OpenCV)."""
    import cv2

    mask = (dilate(case.mask, 2)[0, 0].numpy() * 255).astype(np.uint8)
    mask[[0, -1]] = 0
    mask[:, [0, -1]] = 0
    x, y, width, height = cv2.boundingRect(mask)
    middle = (x + width // 2, y + height // 2)
    blended = cv2.seamlessClone(array_of(preview), array_of(case.x), mask, middle, cv2.NORMAL_CLONE)
    return tensor_of(np.asarray(blended, np.uint8), "cpu")
