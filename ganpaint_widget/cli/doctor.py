"""``ganpaint doctor``."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.model import Model


def doctor() -> None:
    """Check the package, its front end, its weights and your devices, and print the versions."""
    from ..widget.paint import static_file

    failed = False
    typer.echo(f"Python {sys.version.split()[0]}")
    for name in (
        "ganpaint_widget", "torch", "numpy", "pillow", "ipywidgets", "anywidget", "ipykernel", "jupyterlab",
    ):  # fmt: skip
        try:
            typer.echo(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            needed = name not in ("ipykernel", "jupyterlab")
            failed |= needed
            typer.echo(f"{name} is not installed{'' if needed else ' (only notebooks need it)'}")
    try:
        for name in ("widget.js", "widget.css"):
            static_file(name)
        typer.echo("The front end is built.")
        from ..models.registry import load

        model = load("demo")
        known = ", ".join(model.dissection.concepts) if model.dissection else "none"
        typer.echo(f"The demo generator draws {model.generator.resolution} px pictures and knows: {known}.")
        for device in _devices():
            sound, said = _compared(model, device)
            failed |= not sound
            typer.echo(said, err=not sound)
    except ValueError as error:
        typer.echo(str(error), err=True)
        failed = True
    raise typer.Exit(1 if failed else 0)


TOLERANCE: Final = 0.02
"""Of pictures in [-1, 1]. The reduced precision of GPUs stays far below; a wrong kernel does not."""


def _devices() -> list[str]:
    """Return the accelerators that torch can use here."""
    import torch

    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def _compared(model: Model, device: str) -> tuple[bool, str]:
    """Whether a device agrees with the CPU, and a sentence about it."""
    advice = "Do not trust its results; use the CPU, or another torch."
    try:
        there = _trial(model.to(device))
    except (AssertionError, RuntimeError, TypeError) as error:  # what torch raises for what a device lacks
        return False, f"WARNING: THE DEVICE {device} FAILS ({error}). {advice}"
    apart = {what: float((there[what] - here).abs().max()) for what, here in _trial(model).items()}
    wrong = [what for what, off in apart.items() if not off <= TOLERANCE]  # a NaN is not an agreement
    if wrong:
        return False, (
            f"WARNING: THE DEVICE {device} DRAWS DIFFERENTLY: {', '.join(wrong)} up to "
            f"{max(apart[what] for what in wrong):.3g} of 1 apart from the CPU's. {advice}"
        )
    return True, (
        f"The device {device} draws as the CPU does: {', '.join(apart)} at most "
        f"{max(apart.values()):.1e} of 1 apart."
    )


def _trial(model: Model) -> dict[str, Tensor]:
    """Return a picture of each thing that the editor does, on the CPU: 1 x 3 x R x R in [-1, 1]."""
    import numpy as np
    import torch

    from ..method.adaptation import adapt, render
    from ..method.edits import Edit
    from ..method.inversion import invert
    from ..method.preview import Preview

    generator, dissection = model.generator, model.dissection
    assert dissection is not None
    size = generator.resolution
    with torch.no_grad():
        state = generator.sampled(1, 0)
        drawn = generator.picture(generator.run(state)).clamp(-1, 1)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : size // 2, size // 4 : size // 2] = 255
    preview = Preview(model, state)
    removal = Edit("e", "remove", dissection.concepts[0], mask)
    x = 0.8 * drawn  # a photo that is not quite what the generator draws
    found = invert(model, x, steps=2)
    with torch.no_grad():
        edited = preview.edited([removal])
        inverted = generator.picture(generator.run(found.state))
        keep = 1 - generator.here(torch.from_numpy(mask))[None, None] / 255
        blend = adapt(generator, edited, x, keep, original=state, steps=2)
        pictures = {
            "pictures": drawn,
            "removals": preview.render([removal]),
            "inversions": inverted,
            "blends": render(generator, edited, blend.delta),
        }
    return {what: picture.clamp(-1, 1).cpu() for what, picture in pictures.items()}
