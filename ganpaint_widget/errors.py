"""The one kind of error that users are meant to read."""

from __future__ import annotations

from collections.abc import Mapping

from .deprecated import Renamed


class GANPaintError(ValueError):
    """Something was asked for that cannot be done; nothing has changed.

    Attributes:
        message: one sentence that says what happened.
        hint: one sentence that says what to do about it.

    ``str(error)`` is both, so that a traceback in a notebook ends with them; the widget shows them apart.
    """

    what = Renamed("message")
    mend = Renamed("hint")

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}"


def kind_of(value: object) -> str:
    """Return what a value is, to begin a message with: "An int" or "A list"."""
    name = type(value).__name__
    return f"An {name}" if name[0] in "AEIOUaeiou" else f"A {name}"


def refuse_unknown(name: str, unknown: Mapping[str, object], known: str) -> None:
    """Raise if a constructor was given arguments that it does not have, which ipywidgets would let pass.

    Args:
        name: of the class.
        unknown: what was given too much.
        known: the arguments that there are, as words of a sentence.
    """
    if unknown:
        raise GANPaintError(
            f"{name} has no argument {', '.join(map(repr, unknown))}.", f"Its arguments are {known}."
        )
