"""What all commands share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from ..errors import GANPaintError

JsonOption = Annotated[bool, typer.Option("--json", help="Say what was made as JSON on standard output.")]
GeneratorOption = Annotated[str, typer.Option(help="Its name, or the path of its file.")]


@contextmanager
def plainly(as_json: bool) -> Iterator[None]:
    """Errors as two sentences on standard error, or as JSON on standard output, and the exit status 1."""
    try:
        yield
    except GANPaintError as error:
        if as_json:
            typer.echo(json.dumps({"error": {"message": error.message, "hint": error.hint}}, indent=1))
        else:
            typer.echo(f"{error.message}\n{error.hint}", err=True)
        raise typer.Exit(1) from None
