"""The editor's first view, which it shows while PyTorch is imported and the session is opened.

On a laptop, the import takes three seconds, and nothing of it is needed to show a picture and a palette. The
demo model is the one whose palette is known before it is loaded, and whose loading cannot fail for a reason
that a user could mend. With any other generator, or where a device is chosen, the editor waits.

The import happens on the thread of the cells, right after the cell with the editor. A thread of its own would
not do: if a cell then imported a part of PyTorch, such as ``torch.nn``, each thread would wait for the other,
and Python would end both imports with an error that only a new kernel mends.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from ..demo import outline
from ..demo.gallery import SceneGallery
from ..images.arrays import frozen
from ..session import Concept, View, sources
from ..session.processes.inverting import Source


def worth_showing_first(generator: object, device: str | None) -> bool:
    """Return whether opening the session takes seconds, its first view is known, and a cell is running."""
    chosen = device or os.environ.get("GANPAINT_DEVICE")
    demo = isinstance(generator, str) and generator == "demo"
    if not demo or chosen or "torch" in sys.modules:
        return False
    here = threading.current_thread() is threading.main_thread()
    return here and getattr(_shell(), "kernel", None) is not None


def after_cell(work: Callable[[], object]) -> None:
    """Have IPython call ``work`` once, when the running cell has ended."""
    events = _shell().events

    def once() -> None:
        events.unregister("post_execute", once)
        work()

    events.register("post_execute", once)


def _shell() -> Any:
    """Return IPython's shell; ``None`` in a program without IPython."""
    running = sys.modules.get("IPython")
    return None if running is None else running.get_ipython()


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
