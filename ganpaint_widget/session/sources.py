"""Sources of a session's picture: a photo, a scene, a sample, or a recorded journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import GANPaintError
from ..images import files, framing
from ..images.arrays import frozen
from ..method.edits import MAX_SEED
from ..validation import checked_number, checked_title
from .events import Noticed
from .journal import Recording
from .processes.inverting import Source

if TYPE_CHECKING:
    from ..models.model import Gallery


def photo(photo: object, size: int, *, title: str | None, fit: framing.Fit, beside: int) -> Source:
    """Read a photo that a user has given.

    Args:
        photo: what :func:`.files.read_original` reads.
        size: R of the edited square.
        title: the title; by default the file's name.
        fit: which square of the photo is edited.
        beside: the scene from which the next one is counted.

    Raises:
        GANPaintError: the photo cannot be read, or ``title`` is not a valid title.
    """
    original = files.read_original(photo, fit)
    title = checked_title(original.name or "photo" if title is None else title)
    square = frozen(framing.fitted(original.image, size, fit))
    notice = None if original.remark is None else Noticed("info", original.remark)
    return Source("photo", title, beside, square, original=original, notice=notice)


def scene(gallery: Gallery | None, number: int) -> Source:
    """Return a scene of the gallery, starting over after the last; without a gallery, a sample."""
    if gallery is None:
        return Source("sample", f"sample {number}", number)
    return Source("scene", gallery.title(number % gallery.count), number)


def chosen(gallery: Gallery | None, index: object) -> Source:
    """Return a scene of the gallery that a user has chosen; without a gallery, the sample with this seed.

    Raises:
        GANPaintError: the scene does not exist.
    """
    what, largest = ("seed", MAX_SEED) if gallery is None else ("scene", gallery.count - 1)
    return scene(gallery, checked_number(index, what, largest))


def generator_of(recording: Recording) -> str:
    """Return the name of a recorded session's generator.

    Raises:
        GANPaintError: the journal does not have it.
    """
    name = recording.opening.get("generator")
    if name is None:
        raise GANPaintError(
            "That session's generator was given as an object, which the journal cannot keep.",
            "Pass it again: EditingSession.recover(generator=...).",
        )
    return str(name)


def recorded(recording: Recording) -> Source:
    """Return the picture of a session whose kernel has ended.

    Raises:
        GANPaintError: the journal is damaged.
    """
    opening = recording.opening
    kind = opening.get("kind")
    if kind not in ("photo", "scene", "sample") or not isinstance(opening.get("index"), int):
        raise GANPaintError(
            f"The journal in {str(recording.path)!r} is damaged.",
            "Pass the folder of another journal: recover(path).",
        )
    return Source(
        kind,
        str(opening.get("title", "")),
        opening["index"] % (MAX_SEED + 1),  # journals of earlier versions may have negative ones
        recording.photo,
        original=recording.original,
    )
