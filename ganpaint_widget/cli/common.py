"""Options and error output that all commands share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..errors import GANPaintError

JsonOption = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
GeneratorOption = Annotated[str, typer.Option(help="The generator: its name, or the path of its file.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="A device of torch, such as cuda. Default: GANPAINT_DEVICE, or the CPU.")
]


@contextmanager
def plainly(as_json: bool) -> Iterator[None]:
    """Print errors as two sentences on standard error, or as JSON on standard output; exit with status 1."""
    try:
        yield
    except GANPaintError as error:
        if as_json:
            typer.echo(json.dumps({"error": {"message": error.message, "hint": error.hint}}, indent=1))
        else:
            typer.echo(f"{error.message}\n{error.hint}", err=True)
        raise typer.Exit(1) from None
