"""The one kind of error that users are meant to read."""

from __future__ import annotations


class GANPaintError(ValueError):
    """Something was asked for that cannot be done; nothing has changed.

    Attributes:
        what: one sentence that says what happened.
        mend: one sentence that says what to do about it.

    ``str(error)`` is both, so that a traceback in a notebook ends with them; the widget shows them apart.
    """

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what, mend)
        self.what = what
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.what} {self.mend}"
