"""The command line: ``ganpaint --help``.

A command that fails prints two sentences, what happened and what to do, and exits with status 1. Every
command that makes something takes ``--json``, and then prints one JSON object that describes what it made;
``train demo`` always does.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ..version import __version__
from . import dissect, doctor, edit, grade, models, train

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ganpaint_widget {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Edit photos with a generative image prior: paint concepts, blend them in, look at units."""


# The help lists them in this order.
app.command()(doctor.doctor)
app.command(cls=edit.InOrder)(edit.edit)
app.command()(edit.adapt)
app.command()(dissect.dissect)
app.command()(grade.grade)
app.command()(models.convert)
app.command()(models.fetch)
app.command()(models.sample)
app.add_typer(train.train, name="train")
