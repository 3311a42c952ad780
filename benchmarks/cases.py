"""What ``benchmarks.quality`` measures: edits of held-out scenes with their truth, cheats and rivals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ganpaint_widget.demo.scenes import HELD_OUT, Scene
from ganpaint_widget.dissection.choosing import best_fitting
from ganpaint_widget.images.arrays import array_of, tensor_of
from ganpaint_widget.method import ablation, adaptation, edits, equation
from ganpaint_widget.method.ablation import Ablation
from ganpaint_widget.method.adaptation import AdaptationConfig, dilate
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.models.checkpoints import read_module
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.reading import read_progan
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.units import Dissection

CONCEPTS = ("tree", "dome", "cloud", "door", "window")
SMALL = 0.002
"""Objects below this share of the picture (33 of 128 x 128 pixels) are mostly hidden: not asked for."""

Render = Callable[[State], Tensor]
"""An adapted generator: a state at the edit layer to a picture, 1 x 3 x R x R."""


# --- models ---


def stored(folder: Path) -> Model:
    """Return the demo world's model with the weights in a folder like the package's own.

    Without an initializer in it adaptation begins with nothing; an encoder or a segmenter that is missing is
    the package's.
    """
    demo = load("demo")

    def read(name: str, like: Any) -> Any:
        path = folder / f"{name}.safetensors"
        return read_module(path, name, type(like)) if path.is_file() else None

    return replace(
        demo,
        name=folder.name,
        generator=read_progan(folder / "generator.safetensors"),
        encoder=read("encoder", demo.encoder) or demo.encoder,
        dissection=Dissection.load(folder / "dissection.safetensors"),
        initializer=read("initialiser", demo.initializer),
        segmenter=read("segmenter", demo.segmenter) or demo.segmenter,
    )


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
    """Return the photo as it is opened."""
    return invert(model, x).state


@torch.no_grad()
def drawn(model: Model, x: Tensor) -> State:
    """Return the generator's own version of the photo: G(z) of its z alone, without the photo's features."""
    assert model.encoder is not None
    generator = model.generator
    return generator.run(generator.start(model.encoder(x)[0]), until=generator.edit_layer)


def painted(model: Model, x: Tensor, original: State, verb: str, concept: str, mask: edits.Mask) -> State:
    """z_e: what a mask (uint8 R x R) painted at strength 1 makes of an opened photo ``x``, as in the editor.

    The one place where the benchmarks of looks and quality make an edit.
    """
    assert model.dissection is not None
    target = model.dissection.default_target(concept) if verb == "add" else edits.TARGETS[0]
    dissection, edit = model.dissection, edits.Edit("e", verb, concept, mask, 1.0, target=target)

    def carried_out(some: Sequence[edits.Edit]) -> State:
        with torch.no_grad():
            return equation.apply(original, some, dissection, model.imagine)

    return carried_out([best_fitting(model, original, [], edit, carried_out)])


def repainted(model: Model, case: Case, mask: edits.Mask) -> Case:
    """Return the same case with another mask (uint8 R x R, 0 or 255) painted; its truth stays what it was."""
    edited = painted(model, case.x, case.original, case.verb, case.concept, mask)
    where = tensor_of_mask(mask)
    keep = adaptation.keep_mask(model.generator, case.original, edited, where)
    return replace(case, mask=where, edited=edited, keep=keep)


def tensor_of_mask(mask: edits.Mask) -> Tensor:
    """uint8 R x R to 1 x 1 x R x R, 0 or 1."""
    return torch.from_numpy((mask > 0).astype(np.float32))[None, None]


def cases(
    model: Model,
    count: int,
    opened: Callable[[Model, Tensor], State] = inverted,
    *,
    verbs: Sequence[str] = edits.VERBS[:2],
    seeds: Sequence[int] = HELD_OUT,
) -> Iterator[Case]:
    """Concepts and ``verbs`` in turn; a scene that does not offer what is due is passed over."""
    assert model.dissection is not None
    generator, size = model.generator, model.generator.resolution
    known = [one for one in CONCEPTS if one in model.dissection.concepts]
    made, index = 0, 0
    while made < count:
        concept, verb = known[made % len(known)], verbs[(made // len(known)) % len(verbs)]
        seed = seeds[index]
        index += 1
        scene = Scene.sample(seed)
        other = counterfactual(scene, verb, concept, size, choice=index)
        if other is None:
            continue
        x = tensor_of(scene.render(size), "cpu")
        original = opened(model, x)
        edited = painted(model, x, original, verb, concept, other.object_mask)
        with torch.no_grad():
            z = generator.sample_z(1, seed=index)
            another = generator.run(generator.start(z), until=generator.edit_layer)
        mask = tensor_of_mask(other.object_mask)
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
    "pyramid, added": Ablation(combine="add"),
    "pyramid, no regularization": AdaptationConfig(regularization=0),
    "direct": Ablation("direct"),
    "network (published)": Ablation("network", regularization=0.1),
    "weights": Ablation("weights"),
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
    return lambda state: ablation.render(model.generator, state, found.delta)


def returns_photo(model: Model, case: Case) -> Render:
    """Return a cheat: the photo itself."""
    return lambda state: case.x


def pastes_photo(model: Model, case: Case) -> Render:
    """Return a cheat: the photo pasted around the mask, the plain preview inside."""
    inside = dilate(case.mask, case.mask.shape[-1] // 16)
    return lambda state: inside * plain(model, state) + (1 - inside) * case.x


def returns_preview(model: Model, case: Case) -> Render:
    """Return a cheat: G(z_e), nothing adapted."""
    return lambda state: plain(model, state)


def returns_blur(model: Model, case: Case) -> Render:
    """Return a cheat: the photo, blurred where it was painted."""
    return lambda state: blurred_fill(case)


def returns_noise(model: Model, case: Case) -> Render:
    """Return a cheat: noise."""
    source = torch.Generator().manual_seed(case.seed)
    return lambda state: torch.rand(case.x.shape, generator=source) * 2 - 1


CHEATS = (returns_photo, pastes_photo, returns_preview, returns_blur, returns_noise)


def blurred_fill(case: Case) -> Tensor:
    """Return the mask filled with a wide blur of what surrounds it."""
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
    """Return the preview's inside blended into the photo."""
    return cloned(preview, case.x, case.mask)


def pasted(case: Case, picture: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Copy and paste: an object of another picture (1 x 3 x R x R) put where the case's mask is.

    Picture and mask are scaled from the one mask's box to the other's, and the object is blended in.

    Returns:
        The picture; and where in it the object is, 1 x 1 x R x R, 0 or 1.
    """
    import cv2

    size = case.x.shape[-1]
    source, target = ((one[0, 0].numpy() * 255).astype(np.uint8) for one in (mask, case.mask))
    (x, y, width, height), (to_x, to_y, to_width, to_height) = map(cv2.boundingRect, (source, target))
    across, down = to_width / width, to_height / height
    # Pixel centers are whole numbers: the box begins half a pixel before them.
    move = np.array([[across, 0, to_x - 0.5 - across * (x - 0.5)], [0, down, to_y - 0.5 - down * (y - 0.5)]])
    scaled = cv2.warpAffine(array_of(picture), move, (size, size), borderMode=cv2.BORDER_REPLICATE)
    where = np.where(cv2.warpAffine(source, move, (size, size)) > 127, 255, 0).astype(np.uint8)
    moved = tensor_of(np.asarray(scaled, np.uint8), "cpu")
    return cloned(moved, case.x, tensor_of_mask(where)), tensor_of_mask(where)


def cloned(source: Tensor, photo: Tensor, mask: Tensor) -> Tensor:
    """Blend the inside of a mask of one picture into a photo with its gradients (Pérez et al. 2003).

    OpenCV leaves out the outer 3 px of the mask that it is given. So it is given a margin of 5 px, or the
    edges of what is cloned would be lost, and those of what was there would stay; and pictures that go on
    beyond their borders.
    """
    import cv2

    border = 12
    inside = (mask[0, 0].numpy() * 255).astype(np.uint8)
    wide = [
        cv2.copyMakeBorder(one, border, border, border, border, cv2.BORDER_REPLICATE)
        for one in (array_of(source), array_of(photo), inside)
    ]
    margin = cv2.dilate(wide[2], np.ones((11, 11), np.uint8))
    margin[[0, -1]] = 0
    margin[:, [0, -1]] = 0
    x, y, width, height = cv2.boundingRect(margin)
    middle = (x + width // 2, y + height // 2)
    blended = cv2.seamlessClone(wide[0], wide[1], margin, middle, cv2.NORMAL_CLONE)
    return tensor_of(np.asarray(blended, np.uint8)[border:-border, border:-border], "cpu")
