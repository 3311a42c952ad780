"""Safe drawing on ipycanvas.

All canvases of a process share one manager, and a page handles its commands one after the other. An error on
one canvas can therefore stop all of them. This module avoids four traps:

- ``hold_canvas`` has no ``finally``: after an exception inside it, all commands are held for ever. Here each
  sketch collects its commands separately, and one that raises sends nothing.
- The manager remembers the last canvas that it drew on, but a reloaded page does not. Here every sketch names
  its canvas first.
- A command that the page cannot carry out (a picture that does not decode, a canvas that is gone) ends its
  queue. Here only freshly encoded pictures are sent, and nothing goes to a closed canvas.
- A canvas swallows wheel and touch, so that the notebook does not scroll over it, and reports every move of
  the pointer to the kernel. Here real buttons lie above it, which keys can reach as well.

The first three need private parts of ipycanvas: the canvas's ``_canvas_manager``, and its ``_caching``,
``_commands_cache``, ``_buffers_cache`` and ``_current_canvas``. They are the same in 0.13 and 0.14, and only
this module uses them. If one is missing, a sketch raises before anything is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ipywidgets
import numpy as np
from ipycanvas import Canvas
from ipycanvas.canvas import COMMANDS
from numpy.typing import NDArray

from ...images.files import encode_jpeg

SHARPNESS = 2
"""Canvas pixels for each CSS pixel, for sharp pictures on screens of twice the usual density."""

_drawing = threading.RLock()

Sketch = Callable[["Pad"], object]


class Pad:
    """A canvas of ``width`` x ``height`` CSS pixels that remembers its drawing.

    A pad keeps its drawing as a function, a *sketch*, and runs it again for every page that opens. All
    measures in a sketch are CSS pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.canvas = Canvas(
            width=width * SHARPNESS,
            height=height * SHARPNESS,
            layout=ipywidgets.Layout(
                width=f"{width}px", height=f"{height}px", grid_area="1 / 1 / 2 / 2", flex="none"
            ),
        )
        self.canvas.add_class("gpx-canvas")
        self.canvas.on_client_ready(self._page_is_ready)
        self.drawn = 0
        self._sketch: Sketch | None = None
        self.ready = False

    def show(self, sketch: Sketch) -> None:
        """Replace the drawing.

        Exceptions of the sketch pass through, and the canvas then keeps its picture.
        """
        if self.ready:
            self._draw(sketch)
        self._sketch = sketch

    def picture(self, array: NDArray[np.uint8], x: float, y: float) -> None:
        """Draw a picture inside a sketch, uint8 H x W x 3 in canvas pixels, with its corner at x, y."""
        self.encoded(encode_jpeg(array), x, y)

    def encoded(self, file: bytes, x: float, y: float) -> None:
        """Draw a picture inside a sketch that :func:`.encode_jpeg` has encoded."""
        place = [round(x * SHARPNESS), round(y * SHARPNESS)]
        self.canvas._canvas_manager.send_draw_command(self.canvas, COMMANDS["putImageData"], place, [file])

    def wipe(self, x: float, y: float, width: float, height: float) -> None:
        """Clear a rectangle inside a sketch, so that the page behind the canvas is visible."""
        self.canvas.clear_rect(*(SHARPNESS * value for value in (x, y, width, height)))

    def lines(self, segments: NDArray[np.float32], color: str, width: float) -> None:
        """Draw N segments inside a sketch, N x 2 x 2 of x and y."""
        if len(segments):
            self.canvas.stroke_style = color
            self.canvas.line_width = width * SHARPNESS
            self.canvas.line_cap = "round"
            self.canvas.stroke_line_segments(np.ascontiguousarray(segments * SHARPNESS, np.float32))

    def close(self) -> None:
        """Stop drawing."""
        self.ready = False
        self._sketch = None

    def _page_is_ready(self) -> None:
        self.ready = True
        if self._sketch is not None:
            self._draw(self._sketch)

    def _draw(self, sketch: Sketch) -> None:
        if self.canvas.comm is None:
            return
        manager: Any = self.canvas._canvas_manager
        with _drawing:
            names = ("_caching", "_commands_cache", "_buffers_cache", "_current_canvas")
            before: dict[str, Any] = {name: getattr(manager, name) for name in names}
            manager._caching, manager._current_canvas = True, None
            manager._commands_cache, manager._buffers_cache = [], []
            try:
                self.canvas.clear()
                sketch(self)
                manager.flush()
                before["_current_canvas"] = self.canvas
                self.drawn += 1
            finally:
                for name, value in before.items():
                    setattr(manager, name, value)
