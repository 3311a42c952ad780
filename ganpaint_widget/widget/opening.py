"""The editor's first view, which it shows while PyTorch is imported and the session is opened.

On a laptop, the import takes three seconds, and nothing of it is needed to show a picture and a palette. The
demo model is the one whose palette is known before it is loaded, and whose loading cannot fail for a reason
that a user could mend. With any other generator, or where a device is chosen, the editor waits.
"""

from __future__ import annotations

import os
import sys

from ..demo import outline
from ..demo.gallery import SceneGallery
from ..images.arrays import frozen
from ..session import Concept, View, sources
from ..session.processes.inverting import Source


def worth_showing_first(generator: object, device: str | None) -> bool:
    """Return whether opening the session takes seconds, and its first view is known."""
    chosen = device or os.environ.get("GANPAINT_DEVICE")
    demo = isinstance(generator, str) and generator == "demo"
    return demo and not chosen and "torch" not in sys.modules


def first_view(photo: object) -> tuple[Source, View]:
    """Return the source of the demo session that is about to be opened, and how it looks until then.

    Args:
        photo: as for an EditingSession.

    Raises:
        GANPaintError: the photo cannot be read.
    """
    gallery = SceneGallery(outline.RESOLUTION)
    if photo is None:
        source = sources.scene(gallery, 0)
        square = frozen(gallery.picture(0))
    else:
        source = sources.photo(photo, outline.RESOLUTION, title=None, fit="crop", beside=0)
        assert source.array is not None
        square = source.array
    view = View(
        generator_name="demo",
        palette=tuple(Concept(*one) for one in outline.concepts()),
        cells=outline.CELLS,
        classes=(),
        has_gallery=True,
        journals=(),
        photo=square,
        original=source.original,
        reconstruction=square,
        preview=square,
        labels=None,
        title=source.title,
        scene=0 if photo is None else None,
        revision=0,
        edits=(),
        can_undo=False,
        can_redo=False,
        blend=None,
        notice=source.notice,
        job=None,
        metrics={"reconstruction_psnr": float("nan"), "blend": None},
        faithful=False,
        is_faithful=False,
        loading=True,
    )
    return source, view
