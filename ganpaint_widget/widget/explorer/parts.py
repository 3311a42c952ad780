"""The explorer's tab of discovered concepts, with pictures and names side by side.

Its controls rename, merge, split or hide a part. New parts are tried in a job with progress and Cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import numpy as np
from ipywidgets import Button, Image, Layout, Text

from ...dissection import hide, merge, rename, show, split
from ...explorer import parts
from ...explorer.exploration import Exploration
from ...images.files import encode_jpeg
from .jobs import Jobs
from .kit import Kit, close_all, mark

CROPS = 6
"""Pictures of each part."""


class PartsTab:
    """The tab, and the actions of its buttons.

    Args:
        kit: makes the controls.
        jobs: runs long jobs.
        found: returns the exploration on display.
        changed: called when the concepts have changed.
    """

    def __init__(
        self, kit: Kit, jobs: Jobs, found: Callable[[], Exploration], changed: Callable[[], object]
    ) -> None:
        self._kit, self._jobs, self._found, self._changed = kit, jobs, found, changed
        self._partner: str | None = None
        self._swatch = Layout(width="14px", height="48px", margin="0 6px 0 0", flex="none")
        self._strip = Layout(width=f"{48 * CROPS}px", height="48px", margin="0 8px 0 0", flex="none")
        self.look = kit.button(description="Show parts", layout=kit.fitting)
        self.word = kit.html()
        self.rows: Any = kit.column([])
        self.box: Any = kit.column([self.look, self.word, self.rows])
        self.look.on_click(lambda _: jobs.guarded(self._look))

    def enter(self) -> None:
        """Begin with another layer, or with other concepts."""
        self._partner = None
        found = self._found().dissection
        discovered = found is not None and found.parts is not None
        self.look.disabled = not discovered
        self.word.value = (
            "<div class='gpx-note'>These were found without labels. Rename them, and merge those that "
            "belong together.</div>"
            if discovered
            else "<div class='gpx-note'>These concepts were named by a segmenter.</div>"
        )
        self._clear()

    def close(self) -> None:
        """Close the rows and their shared layouts."""
        close_all([self.box, self._swatch, self._strip])

    def _clear(self) -> None:
        old, self.rows.children = self.rows.children, ()
        for row in old:
            for control in (*row.children, row):
                control.close()  # without their layouts, which the next rows use

    def _look(self) -> None:
        found = self._found()
        self._jobs.start(
            "Cutting out pictures of the parts",
            lambda ticket: parts.shown(found, crops=CROPS, ticket=ticket),
            self._show,
        )

    def _show(self, shown: list[parts.Part]) -> None:
        self._clear()
        self.rows.children = tuple(self._row(part) for part in shown)

    def _row(self, part: parts.Part) -> Any:
        kit = self._kit
        swatch = kit.html(
            f"<div style='background:{part.color};width:14px;height:48px'></div>", layout=self._swatch
        )
        strip = Image(value=_strip(part), format="jpeg", layout=self._strip)
        strip.alt = f"Places that show {part.name}"
        name = kit.text(value=part.name, continuous_update=False, layout=kit.width(150))
        name.observe(lambda change: self._named(name, part.name, str(change.new)), "value")
        buttons: list[Button] = []

        def button(label: str, tooltip: str, clicked: Callable[[], object], disabled: bool = False) -> None:
            made = kit.button(description=label, tooltip=tooltip, layout=kit.auto, disabled=disabled)
            made.on_click(lambda _: self._jobs.guarded(clicked))
            buttons.append(made)

        button("Merge", f"Merge {part.name} with another part", partial(self._merge, part.name))
        button(
            "Split", f"Split {part.name} into two parts", partial(self._split, part.name), part.clusters < 2
        )
        if part.hidden:
            button("Show", f"Offer {part.name} for painting", partial(self._change, show, part.name))
        else:
            button("Hide", f"Do not offer {part.name} for painting", partial(self._change, hide, part.name))
        told = kit.html(f"<span class='gpx-note'>{part.quality:.0%} · {escape(str(part.clusters))}</span>")
        row = kit.row([swatch, strip, name, *buttons, told])
        mark(row, "gpx-hidden", part.hidden)
        return row

    def _named(self, field: Text, old: str, new: str) -> None:
        if new == old:
            return
        if not self._jobs.guarded(lambda: self._change(rename, old, new.strip())):
            field.value = old

    def _merge(self, name: str) -> None:
        if self._partner is None:
            self._partner = name
            self._jobs.say(f"Click Merge on the part to merge with “{name}”, or again on “{name}” to stop.")
            return
        first, self._partner = self._partner, None
        if first == name:
            self._jobs.say("Nothing is merged.")
            return
        self._change(merge, first, name)

    def _split(self, name: str) -> None:
        self._change(split, name)

    def _change(self, verb: Callable[..., Any], *names: str) -> None:
        """Carry out one of the verbs, and show the parts anew afterwards."""
        found = self._found()
        before = found.dissection
        assert before is not None
        verb(before, *names)  # an impossible change raises at once

        def work(ticket: Any) -> list[parts.Part]:
            parts.rearrange(found, lambda one: verb(one, *names), ticket=ticket)
            return parts.shown(found, crops=CROPS)

        def done(shown: list[parts.Part]) -> None:
            self._changed()
            self._show(shown)

        self._jobs.start(f"Changing “{names[0]}”", work, done)


def _strip(part: parts.Part) -> bytes:
    """Return a part's crops in a row, as JPEG, with gray tiles for missing ones."""
    side = part.crops[0].shape[0] if part.crops else 48
    blank = np.full((side, side, 3), 128, np.uint8)
    tiles = [*part.crops, *([blank] * (CROPS - len(part.crops)))]
    return encode_jpeg(np.concatenate(tiles, axis=1))
