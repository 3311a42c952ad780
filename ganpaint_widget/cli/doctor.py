"""``ganpaint doctor``."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Final

import typer

if TYPE_CHECKING:
    from ..models.generator import StagedGenerator


def doctor() -> None:
    """Check that the package, its front end and its weights are all there, and say which versions run."""
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
            typer.echo(f"{name} is not installed{'' if needed else ' (needed only on the notebook server)'}")
    try:
        for name in ("widget.js", "widget.css"):
            static_file(name)
        typer.echo("The front end is built.")
        from ..models.registry import load

        model = load("demo")
        known = ", ".join(model.dissection.concepts) if model.dissection else "none"
        typer.echo(f"The demo generator draws {model.generator.resolution} px pictures and knows: {known}.")
        for device in _devices():
            apart = _apart(model.generator, device)
            failed |= not apart <= TOLERANCE
            if apart <= TOLERANCE:
                typer.echo(f"The device {device} draws as the CPU does (at most {apart:.1e} of 1 apart).")
            else:
                typer.echo(
                    f"WARNING: THE DEVICE {device} DRAWS DIFFERENTLY: pictures are up to {apart:.3g} of 1 "
                    "apart from the CPU's. Do not trust its results; use the CPU, or another torch.",
                    err=True,
                )
    except ValueError as error:
        typer.echo(str(error), err=True)
        failed = True
    raise typer.Exit(1 if failed else 0)


TOLERANCE: Final = 0.02
"""Of pictures in [-1, 1]. Reduced precision, as GPUs have it for convolutions, stays far below; a wrong
kernel does not."""


def _devices() -> list[str]:
    """The accelerators that torch can use here."""
    import torch

    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def _apart(generator: StagedGenerator, device: str) -> float:
    """How far a picture drawn on a device is from the CPU's, at the worst pixel; infinite if it fails."""
    import copy

    import torch

    z = generator.sample_z(1, seed=0)
    try:
        with torch.no_grad():
            there = copy.deepcopy(generator).to(device)(z.to(device)).cpu()
            apart = float((there - generator(z)).abs().max())
    except RuntimeError:
        return float("inf")
    return apart if apart == apart else float("inf")  # a NaN is no agreement
