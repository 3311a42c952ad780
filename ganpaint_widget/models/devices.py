"""A model ready to be edited with, on the device that the caller or the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GANPaintError

if TYPE_CHECKING:
    import torch

    from .generator import StagedGenerator
    from .model import Model


def load(generator: str | Path | StagedGenerator | Model, device: str | torch.device | None = None) -> Model:
    """Return the model of :func:`.models.registry.load`, ready to be edited with: see :meth:`.Model.to`.

    Args:
        generator: as there.
        device: of torch, such as ``"cuda"``; by default what the environment's ``GANPAINT_DEVICE`` names,
            and without that where the generator is.

    Raises:
        GANPaintError: torch cannot use the device, generator or segmenter do not do what is asked of them
            (:func:`.checking.check`), or the model's parts do not belong together.
    """
    from . import registry
    from .checking import check, check_segmenter

    model = registry.load(generator)
    wanted = device or os.environ.get("GANPAINT_DEVICE")
    try:
        model = model.to(wanted)
    except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts
        raise GANPaintError(
            f"torch cannot use the device {str(wanted)!r} ({error}).",
            "`ganpaint doctor` lists the devices that work here; without `device=` and GANPAINT_DEVICE a "
            "generator stays where it is.",
        ) from error
    generator, dissection = check(model.generator), model.dissection
    if model.segmenter is not None:
        check_segmenter(model.segmenter)
    if dissection is None:
        return model
    if dissection.layer != generator.edit_layer:
        raise GANPaintError(
            f"The dissection is of {dissection.layer!r}, but this generator is edited at "
            f"{generator.edit_layer!r}.",
            "Dissect that layer, or set the generator's edit_layer.",
        )
    units = generator.shape(generator.edit_layer)[0]
    if len(dissection.high) != units:
        raise GANPaintError(
            f"The dissection is of {len(dissection.high)} units, but {dissection.layer!r} of this generator "
            f"has {units}.",
            "Dissect this generator, or pass the one that was dissected.",
        )
    return model
