"""The command line: ``ganpaint --help``.

Errors are one sentence saying what happened and one saying what to do, and the exit status 1. Every command
that makes something takes ``--json``, and then says on standard output what it has made, as one JSON object.
"""

from __future__ import annotations

import typer

from . import dissect, doctor, edit, grade, models, train

app = typer.Typer(
    help="Semantic photo editing with a generative image prior.", no_args_is_help=True, add_completion=False
)


@app.callback()
def main() -> None:
    """Semantic photo editing with a generative image prior."""


# In the order in which the help lists them.
app.command()(doctor.doctor)
app.command(cls=edit.InOrder)(edit.edit)
app.command()(edit.adapt)
app.command()(dissect.dissect)
app.command()(grade.grade)
app.command()(models.convert)
app.command()(models.fetch)
app.command()(models.sample)
app.add_typer(train.train, name="train")
