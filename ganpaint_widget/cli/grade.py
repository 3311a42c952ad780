"""``ganpaint grade``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .common import JsonOption, plainly

if TYPE_CHECKING:
    from ..course import Graded


def grade(
    folder: Annotated[Path, typer.Argument(help="The folder with the hand-ins; subfolders count, too.")],
    as_json: JsonOption = False,
) -> None:
    """Grade the hand-ins of a class.

    Each answer is checked as in the lesson, and each edit is drawn again. Nothing in a file is executed.
    """
    with plainly(as_json):
        from ..course import grade_folder

        graded = [*grade_folder(folder)]
    if as_json:
        told = [{**asdict(one), "right": one.right, "score": one.score} for one in graded]
        typer.echo(json.dumps({"hand_ins": told}, indent=1))
    else:
        _tell_grades(graded)


def _tell_grades(graded: Sequence[Graded]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    def plain(text: str) -> Text:
        """Keep a stranger's text as it is: neither markup nor control characters may act."""
        return Text("".join(sign if sign.isprintable() else "?" for sign in text))

    table = Table(*(Column(name, no_wrap=True) for name in ("file", "student", "lesson", "right", "score")))
    table.add_column("answers")
    table.add_column("remarks")
    for one in graded:
        answers = "  ".join(
            f"{name} {'✓' if verdict.right else '✗' if verdict.right is False else '–'}"
            for name, verdict in one.verdicts.items()
        )
        table.add_row(
            plain(one.file),
            plain(one.student or ""),
            "" if one.lesson is None else str(one.lesson),
            f"{one.right}/{len(one.verdicts)}" if one.verdicts else "",
            "" if one.score is None else f"{one.score:.2f}",
            plain(answers),
            plain(" ".join(one.remarks)),
        )
    console = Console()
    # Where the table goes into a file, nothing is cut off.
    (console if console.is_terminal else Console(width=250)).print(table)
    whole = sum(one.verdicts != {} and one.right == len(one.verdicts) for one in graded)
    files = "1 file" if len(graded) == 1 else f"{len(graded)} files"
    typer.echo(f"{files}, {whole} of them with every answer right.")
