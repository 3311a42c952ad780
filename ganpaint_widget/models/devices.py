"""A model ready to be edited with, on the device that the environment names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import GANPaintError

if TYPE_CHECKING:
    from .generator import StagedGenerator
    from .model import Model


def load(generator: str | Path | StagedGenerator | Model) -> Model:
    """The model of :func:`.models.registry.load`, ready to be edited with. GANPaintError when it is not.

    Where the environment's ``GANPAINT_DEVICE`` names a device of torch, such as ``cuda``, it is there.
    """
    from . import registry

    model = registry.load(generator)
    device = os.environ.get("GANPAINT_DEVICE")
    if device:
        model = _on(model, device)
    model.generator.eval().requires_grad_(False)
    if model.dissection is not None and model.dissection.layer != model.generator.edit_layer:
        raise GANPaintError(
            f"The dissection is of {model.dissection.layer!r}, but this generator is edited at "
            f"{model.generator.edit_layer!r}.",
            "Dissect that layer, or set the generator's edit_layer.",
        )
    return model


_moved: dict[str, tuple[Model, Model]] = {}
"""By device: the last model that was moved there, as it was and as it is there."""


def _on(model: Model, device: str) -> Model:
    """The model on a device; all sessions share its copy there. GANPaintError without such a device."""
    was, there = _moved.get(device, (None, None))
    if was is model and there is not None:
        return there
    try:
        there = model.to(device)
        _moved[device] = model, there
        return there
    except (AssertionError, RuntimeError) as error:  # torch without CUDA asserts
        raise GANPaintError(
            f"torch cannot use the device {device!r} that GANPAINT_DEVICE names ({error}).",
            "`ganpaint doctor` lists the devices that work here; without GANPAINT_DEVICE it is the CPU.",
        ) from error
