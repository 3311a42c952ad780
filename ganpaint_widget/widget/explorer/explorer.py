"""`DissectionExplorer`: a widget to look at the units of a layer and to try them.

`explorer/exploration.py` computes everything. The explorer contains a `GANPaint`, whose session does all
editing. Its editor shows the effects of units, and users paint a region there.

A control always shows the present state. If a change is refused, or another layer cannot be opened, the
control returns to its old value.

Threads. Controls are handled on one or several threads of the kernel, long jobs and heatmaps on the session's
worker. A thread that changes the display holds `_lock`, and does not wait for the worker meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ipywidgets import Button

from ... import session as events
from ...errors import GANPaintError, refuse_unknown
from ...explorer.brushes import Brush
from ...explorer.exploration import Exploration
from ...explorer.measured import Part
from ...explorer.parts import find
from ...session.worker import default_worker
from ...tickets import Ticket, share_of
from ..kernel import along
from ..paint import GANPaint
from .bars import Bars
from .controls import Controls
from .editors import Editors
from .further import Further
from .jobs import Jobs
from .kit import Kit, close_all, mark, replace_children
from .look import ANY, COMPANY, EVERYWHERE, HEAT, MODES, PAGE, SELECTED, SORTS, STYLE
from .pads import SHARPNESS
from .sheets import Sheets, columns, draw_column, read
from .switching import switch, switch_back, switch_others, switched
from .tables import note, unit_table

if TYPE_CHECKING:
    from ...models.generator import StagedGenerator
    from ...models.model import Model


class DissectionExplorer(Controls):
    """The units of a layer, as the last expression of a cell.

    Args:
        generator: a name, the path of a checkpoint or of a trained folder, a StagedGenerator or a Model.
        layer: the stage; by default the edit layer. If it has not been dissected, the explorer offers to do
            that. If it has no atlas, the explorer measures one and shows it as it grows, until that is
            cancelled.
        paint: an editor of the same generator, in which to try units. By default, the explorer makes one of
            its own, and closes it at the end.
        device: a device of torch, such as "cuda"; by default the environment's GANPAINT_DEVICE.

    `explorer.exploration` computes all results, and `explorer.paint` is the editor.

    Raises:
        GANPaintError: an unknown argument, generator, layer or device, or an editor of another generator.
    """

    # Class attributes, because ipywidgets may close a widget before __init__ ends.
    _leave: Callable[[], None] | None = None
    _closed = True

    def __init__(
        self,
        generator: str | Path | StagedGenerator | Model = "demo",
        layer: str | None = None,
        *,
        paint: GANPaint | None = None,
        device: str | None = None,
        **unknown: object,
    ) -> None:
        refuse_unknown("DissectionExplorer", unknown, "generator, layer, paint and device")
        self._generator, self._device = generator, device
        self._worker = default_worker()
        self._lock = threading.RLock()
        self._quiet = 0  # above 0 while the explorer itself sets controls
        self._editors = Editors(
            generator,
            device,
            paint,
            self._worker,
            self._lock,
            ready=self._editor_ready,
            failed=lambda text: self._say(text, wrong=True),
        )
        self._units: list[int] = []
        self._page = 0
        self._unit: int | None = None
        self._selection: list[int] = []
        self._label: str | None = None
        self._by = "IoU"
        # The worker reads the layer while the page loads the controls' code.
        reading = self._worker.submit(read, generator, layer, device)
        self._kit = Kit()
        self._bars = Bars(self._kit, lambda concept: self._guarded(partial(self._bar_clicked, concept)))
        self._build(self._kit, self._bars)
        self._jobs = Jobs(self._worker, self._lock, self._cancel)
        self._further = Further(
            self._kit,
            self._jobs,
            lambda: self._exploration,
            partial(Exploration, device=device),
            generator,
            lambda unit: self.show_unit(unit),
            self._other_concepts,
        )
        self._waiting = self._kit.html()
        self._pads = (*self._columns, self._heat, self._further.pair)
        self._below = (self._unit_row, self._act, self._editor, self._further.tab)
        second = self._kit.row([self._jobs.status, self._jobs.box, self._offer])
        second.add_class("gpx-line")
        self._rooms = [self._kit.html(STYLE), self._head, second, self._known]
        self._connect()
        self._closed = False
        try:
            self._exploration, self._sheets = self._worker.wait(reading)
            if paint is not None:
                if paint.session.model.generator is not self._exploration.model.generator:
                    raise GANPaintError(
                        "The editor's generator or layer is not the explorer's.",
                        "Pass an editor of the same generator, or none.",
                    )
                self._editors.open[self._exploration.layer] = paint
        except BaseException:
            self._close_controls()
            raise
        self._set(self._layer, options=self._exploration.model.generator.stages)
        super().__init__(children=self._rooms)
        self.add_class("gpx")
        with self._lock:
            self._enter()

    # --- for Python ---

    @property
    def exploration(self) -> Exploration:
        """The layer on display, as arrays, tables and figures."""
        return self._exploration

    @property
    def paint(self) -> GANPaint:
        """The editor in which units are tried. It opens when a page shows the atlas, and this waits for it.

        Raises:
            GANPaintError: the editor could not be opened, or the layer has not been dissected yet.
        """
        found = self._exploration
        self._editors.request(found)
        self._editors.wait(found.layer)
        return self._opened()

    @property
    def unit(self) -> int | None:
        """The unit on display; ``None`` before one was chosen."""
        return self._unit

    @property
    def selection(self) -> tuple[int, ...]:
        """The units to switch or to make a brush of: those that were added, else the unit on display."""
        if self._selection:
            return tuple(self._selection)
        return () if self._unit is None else (self._unit,)

    def show_unit(self, unit: int) -> None:
        """Show a unit, like a click on it. GANPaintError if the unit does not exist."""
        self._exploration.label(unit)
        with self._lock:
            self._unit = int(unit)
            self._show_cells()
            self._show_unit()
            self._retry()

    def select(self, units: Sequence[int]) -> None:
        """Choose the units to switch; an empty list stands for the unit on display.

        Raises:
            GANPaintError: a unit does not exist.
        """
        for unit in units:
            self._exploration.label(unit)
        with self._lock:
            self._selection = list(dict.fromkeys(int(unit) for unit in units))
            self._show_selection()
            self._retry()

    def close(self) -> None:
        """Remove the explorer and its controls from the page. Brushes and a given editor stay."""
        if not self._closed:
            with self._lock:
                self._guarded(self._let_go)
                self._closed = True
                self._editors.close()
                self._jobs.close()
            for pad in self._pads:
                pad.close()
            self._close_controls()
            self.layout.close()
        super().close()

    def _close_controls(self) -> None:
        """Close all controls, including those that are not on the page at present."""
        self._closed = True
        self._editors.close()
        self._bars.close()
        self._further.parts.close()
        given = self._editors.given
        controls = [*self._rooms, *self._below, self._waiting, *self._company, *self._editors.own]
        close_all(controls, [] if given is None else [given])
        self._kit.close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Return the live explorer, and the atlas's page as a picture for places without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None or self._exploration.dissection is None or self._exploration.atlas is None:
            return bundle
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        data["image/jpeg"] = self._sheets.stored(tuple(self._shown()))
        return bundle

    def __repr__(self) -> str:
        return f"<DissectionExplorer of {self._exploration.model.name!r}, {self._exploration.layer}>"

    # --- the controls ---

    def _connect(self) -> None:
        """Connect each control with its handler. :meth:`_enter` sets their values."""
        self._columns[0].canvas.on_client_ready(self._go_on_soon)
        for place, cell in enumerate(self._cells):
            self._on_click(cell, partial(self._cell_clicked, place))
        for other in self._company:
            self._on_click(other, partial(self._company_clicked, other))
        for control, changed in (
            (self._layer, self._layer_changed),
            (self._sort, self._order_changed),
            (self._concept, self._order_changed),
            (self._search, self._searched),
            (self._chosen, self._typed),
            (self._mode, self._switched),
            (self._region, self._switched),
            (self._strength, self._switched),
        ):
            control.observe(partial(self._on_change, changed), "value")
        self._texts = (self._search, self._chosen)
        for button, clicked in (
            (self._back, partial(self._turn, -1)),
            (self._next, partial(self._turn, 1)),
            (self._cancel, self._jobs.cancel),
            (self._offer, self._measure),
            (self._baseline, partial(self._measure_part, "baselines")),
            (self._add, self._add_clicked),
            (self._reset, self._reset_clicked),
            (self._brush, self._make_brush),
        ):
            self._on_click(button, clicked)

    def _on_click(self, button: Button, clicked: Callable[[], object]) -> None:
        button.on_click(lambda _: self._guarded(clicked))

    def _on_change(self, changed: Callable[[], object], change: Any) -> None:
        # Under the lock, so that another thread's values do not hide the user's change.
        with self._lock:
            if self._quiet:
                return
            # A typed text stays, so that the user can correct it. Any other control returns to its old value.
            if not self._guarded(changed) and change.owner not in self._texts:
                self._set(change.owner, value=change.old)

    def _guarded(self, handle: Callable[[], object]) -> bool:
        """Run a control's action; show an error in the status line. Return whether it succeeded."""
        return self._closed or self._jobs.guarded(handle)

    def _set(self, control: Any, **values: Any) -> None:
        """Set a control without calling its handler."""
        with self._lock:
            self._quiet += 1
            try:
                for name, value in values.items():
                    setattr(control, name, value)
            finally:
                self._quiet -= 1

    def _say(self, text: str, *, wrong: bool = False) -> None:
        self._jobs.say(text, wrong=wrong)

    # --- a layer ---

    def _enter(self) -> None:
        """Show the layer of ``_exploration``: its results, or the offer to measure it."""
        found = self._exploration
        self._page, self._unit, self._selection, self._label = 0, None, [], None
        self._set(self._layer, value=found.layer)
        known = not (found.dissection is None or (found.atlas is None and found.draft is None))
        self._known.layout.display = None if known else "none"
        self._show_offer()
        for control in (self._sort, self._concept, self._search, self._back, self._next):
            control.disabled = not known
        if not known:
            what = "has not been dissected yet" if found.dissection is None else "has no atlas yet"
            self._where.value = ""
            self._say(f"{found.layer} of {found.model.name} {what}; the result is measured once and kept.")
            if found.dissection is not None:
                self._measure()  # names without pictures say little
            return
        self._say_how_much()
        concepts = found.concepts
        self._set(self._concept, options=[ANY, *concepts], value=ANY)
        self._set(self._search, value="")
        self._set(self._mode, value="as it is")
        if SORTS[self._sort.value] == "effect" and found.effects is None:
            self._set(self._sort, value="IoU")
        self._further.enter()
        if found.layer in self._editors.open:
            self._attach(self._editors.open[found.layer])
        else:
            self._editor.children = (self._waiting,)
        self._show_order()
        self._show_bars()
        self._show_selection()
        self._show_brushes()
        self.show_unit(self._units[0])
        if self._columns[0].ready:
            self._go_on_soon()

    def _show_offer(self) -> None:
        """Offer to measure missing parts, unless that is under way."""
        missing = [part for part in ("dissection", "atlas") if part in self._exploration.missing]
        self._offer.layout.display = None if missing and not self._jobs.busy else "none"
        self._offer.description = "Find concepts" if self._nameless else f"Measure {' and '.join(missing)}"

    def _say_how_much(self) -> None:
        found = self._exploration
        atlas = found.atlas or found.draft
        assert atlas is not None
        so_far = "" if found.draft is None else " so far"
        self._say(f"{found.layer}: {found.channels} units in {atlas.samples} samples{so_far}.")
        self._waiting.value = note(
            "Opening the editor …" if found.draft is None else "The editor opens when the atlas is complete."
        )

    def _go_on_soon(self) -> None:
        """Build the controls below the atlas later, so that the page shows the atlas first."""
        if self._jobs.busy:
            self._worker.request((id(self), "below"), along(self._guarded, self._go_on))
        else:
            self._worker.idle((id(self), "below"), self._go_on)

    def _go_on(self, _: Ticket | None = None) -> bool:
        if self._closed:
            return True
        self._known.children = (self._known.children[0], *self._below)
        self._editors.request(self._exploration)
        return True

    def _editor_ready(self, layer: str, paint: GANPaint) -> None:
        if self._exploration.layer == layer:
            self._attach(paint)
            self._ask_for_heat()

    def _attach(self, paint: GANPaint) -> None:
        """Show an editor, and observe its session."""
        self._editor.children = (paint,)
        self._leave = paint.session.observe(self._on_event)

    def _let_go(self) -> None:
        """Stop observing the editor on display, and switch its units back."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        if self._exploration.layer in self._editors.open:
            self._switch_back()

    def _opened(self) -> GANPaint:
        """Return the editor, without waiting for it."""
        try:
            return self._editors.open[self._exploration.layer]
        except KeyError:
            raise GANPaintError("The editor has not been opened yet.", "Try again in a moment.") from None

    def _layer_changed(self) -> None:
        layer = self._layer.value
        self._jobs.start(
            f"Opening {layer}",
            lambda ticket: read(self._generator, layer, self._device),
            self._entered,
            otherwise=lambda: self._set(self._layer, value=self._exploration.layer),
        )

    def _entered(self, found: tuple[Exploration, Sheets]) -> None:
        self._let_go()
        self._exploration, self._sheets = found
        self._enter()

    @property
    def _nameless(self) -> bool:
        """Whether the layer has neither concepts nor a segmenter, so that concepts can be discovered."""
        found = self._exploration
        return found.dissection is None and found.model.segmenter is None

    def _measure(self) -> None:
        found, nameless = self._exploration, self._nameless

        def work(ticket: Ticket) -> object:
            rest: Ticket | None = ticket
            if nameless:
                find(found, ticket=share_of(ticket, 0, 0.7))
                rest = share_of(ticket, 0.7, 1)
            return found.measure(
                drafted=partial(self._guarded, partial(self._show_atlas, found)), ticket=rest
            )

        what = "Finding concepts in" if nameless else "Measuring"
        done, stopped = partial(self._show_atlas, found), self._show_offer
        self._jobs.start(f"{what} {found.layer}", work, lambda _: done(), stopped)
        self._show_offer()

    def _show_atlas(self, found: Exploration) -> None:
        """Show an atlas that is new, or has more samples than before."""
        if found is not self._exploration:
            return
        self._sheets = Sheets(found)
        if self._known.layout.display == "none":
            self._enter()
            return
        self._show_offer()
        self._say_how_much()
        self._show_page()
        self._show_unit()

    def _other_concepts(self) -> None:
        """Show renamed, merged, split or hidden concepts. The explorer's own editor is reopened with them."""
        layer = self._exploration.layer
        self._let_go()
        self._editors.drop(layer)
        self._enter()
        if layer in self._editors.open:
            self._say("The parts are kept. The editor that you passed still has the old ones.")

    def _measure_part(self, part: Part) -> None:
        found = self._exploration

        def done(_: object) -> None:
            self._show_order()
            self._show_bars()
            self._show_unit()

        self._jobs.start(f"Measuring {part}", lambda ticket: found.measure(part, ticket=ticket), done)

    # --- the atlas ---

    def _shown(self) -> list[int]:
        """Return the units on the page."""
        return self._units[self._page * PAGE : (self._page + 1) * PAGE]

    def _order_changed(self) -> None:
        self._page = 0
        self._show_order()
        self._show_unit()

    def _searched(self) -> None:
        found = self._exploration.search(self._search.value)
        if not found:
            raise GANPaintError(
                f"No concept matches {self._search.value!r}.",
                f"Known concepts: {', '.join(self._exploration.concepts)}.",
            )
        self._say("")
        if self._search.value.strip() and len(found) == 1:
            self._set(self._concept, value=found[0])
        elif not self._search.value.strip():
            self._set(self._concept, value=ANY)
        self._order_changed()
        self._show_bars()

    def _show_order(self) -> None:
        """Sort and filter the units; show the page."""
        found = self._exploration
        name = self._sort.value
        if SORTS[name] == "effect" and found.effects is None:
            self._measure_then_sort()
            self._set(self._sort, value=self._by)
        else:
            self._by = name
        concept = None if self._concept.value == ANY else self._concept.value
        self._units = found.order(SORTS[self._by], concept, self._label)
        self._page = min(self._page, max(0, (len(self._units) - 1) // PAGE))
        self._show_page()

    def _measure_then_sort(self) -> None:
        found = self._exploration

        def done(_: object) -> None:
            self._set(self._sort, value="causal effect")
            self._order_changed()

        self._jobs.start(
            "Measuring the effect of single units",
            lambda ticket: found.measure("effects", ticket=ticket),
            done,
        )

    def _turn(self, step: int) -> None:
        pages = max(1, -(-len(self._units) // PAGE))
        self._page = min(max(self._page + step, 0), pages - 1)
        self._show_page()

    def _show_page(self) -> None:
        units = self._shown()
        first = self._page * PAGE
        self._where.value = (
            f"<span class='gpx-note'>{first + 1}–{first + len(units)} of {len(self._units)}</span>"
            if units
            else "<span class='gpx-note'>no units</span>"
        )
        self._back.disabled = self._page == 0
        self._next.disabled = first + PAGE >= len(self._units)
        self._show_cells()
        sheets = self._sheets
        for pad, stage, shown in zip(self._columns, self._stages, columns(tuple(units)), strict=True):
            stage.layout.display = None if shown else "none"
            pad.show(partial(draw_column, shown, *sheets.drawn(shown)))
        ahead = columns(tuple(self._units[first + PAGE : first + 2 * PAGE]))

        def draw_ahead(_: Ticket) -> bool:
            return all(sheets.drawn(units) for units in ahead)

        self._worker.idle((id(self), "ahead"), draw_ahead)

    def _show_cells(self) -> None:
        """Show the captions of the page, and mark the current and the chosen units."""
        found, units = self._exploration, self._shown()
        by = SORTS[self._sort.value]
        concept = None if self._concept.value == ANY else self._concept.value
        values = found.scores("iou" if by == "number" else by, concept)
        name = {"iou": "IoU", "number": "IoU", "effect": "effect", "quality": "IQR"}[by]
        for place, cell in enumerate(self._cells):
            unit = units[place] if place < len(units) else None
            mark(cell, "gpx-none", unit is None)
            if unit is None:
                continue
            label = found.label(unit)
            with cell.hold_sync():
                cell.description = f"{unit} · {label or 'no label'} · {name} {values[unit]:.2f}"
                mark(cell, "gpx-current", unit == self._unit)
                mark(cell, "gpx-chosen", unit in self._selection)

    def _cell_clicked(self, place: int) -> None:
        units = self._shown()
        if place < len(units):
            self.show_unit(units[place])

    # --- the bars ---

    def _show_bars(self) -> None:
        found = self._exploration
        rows = [row for row in found.per_concept() if row.concept in found.search(self._search.value)]
        measured = found.baselines is not None
        self._bars.show(rows, self._label, measured)
        self._baseline.layout.display = "none" if measured else None

    def _bar_clicked(self, concept: str) -> None:
        self._label = None if self._label == concept else concept
        self._order_changed()
        self._show_bars()
        count = len(self._units)
        self._say("All units." if self._label is None else f"{count} units labeled {concept}.")

    # --- one unit ---

    def _show_unit(self) -> None:
        found, unit = self._exploration, self._unit
        if unit is None:
            return
        label = found.label(unit)
        concept = (None if self._concept.value == ANY else self._concept.value) or label
        told = label if label is not None else "not interpretable for any concept"
        self._named.value = f"<div class='gpx-title'>Unit {unit} · {escape(told)}</div>"
        self._rows.value = unit_table(found.unit(unit), concept)
        self._histogram.value = found.histogram_figure(unit, concept).inline
        for button, (other, correlation) in zip(
            self._company, found.coactive_units(unit, COMPANY), strict=False
        ):
            button.description, button.tooltip = str(other), f"Unit {other}: correlation {correlation:.2f}"
        self._together.children = self._company[: found.channels - 1]
        self._add.description = f"Add unit {unit}"
        self._ask_for_heat()

    def _company_clicked(self, button: Button) -> None:
        self.show_unit(int(button.description))

    def _ask_for_heat(self) -> None:
        # On the worker, which has the features, inside the checkpoints of a long job if one is running.
        self._worker.request((id(self), "heat"), along(self._guarded, self._show_heat))

    def _show_heat(self) -> None:
        found, unit = self._exploration, self._unit
        if unit is None or found.layer not in self._editors.open:
            return
        paint = self._opened()
        shown = found.heatmap_picture(unit, paint.shown, paint.session.features(), HEAT * SHARPNESS)
        array = np.asarray(shown)
        self._heat.show(lambda pad: pad.picture(array, 0, 0))

    def _on_event(self, event: events.Event) -> None:
        """Handle the session's events. During a stroke, the editor's own preview comes first."""
        if isinstance(event, events.Rendered):
            paint = self._editors.open.get(self._exploration.layer)
            if paint is not None and not paint.painting:
                self._ask_for_heat()
        elif isinstance(event, events.PaletteChanged):
            # Not on this thread: it may hold the lock of another explorer, which changed the brushes.
            self._worker.request((id(self), "brushes"), along(self._guarded, self._show_brushes))
        elif isinstance(event, events.Changed):
            self._worker.request((id(self), "switch"), along(self._guarded, self._show_mode))

    # --- switching units ---

    def _add_clicked(self) -> None:
        if self._unit is not None:
            self.select([*self._selection, self._unit])

    def _typed(self) -> None:
        words = self._chosen.value.replace(",", " ").split()
        if not all(word.isdecimal() for word in words):
            raise GANPaintError("These are not numbers of units.", "Write them like this: 4, 8, 15")
        self.select([int(word) for word in words])

    def _show_selection(self) -> None:
        self._set(self._chosen, value=", ".join(map(str, self._selection)))
        self._show_cells()

    def _switched(self) -> None:
        """Make the session's edits that the switches describe."""
        verb, everywhere = MODES[self._mode.value], self._region.value == EVERYWHERE
        session = self._opened().session
        if verb is None:
            self._switch_back()
            return
        units = self.selection
        if not units:
            raise GANPaintError("No units are chosen.", "Click one in the atlas.")
        strength = self._strength.value
        switch(session, self._exploration, units, verb, strength=strength, everywhere=everywhere)
        self._hint.value = "" if everywhere else (
            "<div class='gpx-note'>Paint the region in the editor below: choose “selected units” and "
            f"“{'Add' if verb == 'add' else 'Remove'}” there.</div>"
        )  # fmt: skip

    def _show_mode(self) -> None:
        """Show how the session's edits switch units: undo and the next scene change that as well."""
        paint = self._editors.open.get(self._exploration.layer)
        if paint is not None:
            verb = switched(paint.session)
            self._set(
                self._mode, value=next((name for name, one in MODES.items() if one == verb), "as it is")
            )
            if verb is None:
                self._hint.value = ""

    def _switch_back(self) -> None:
        """Undo all switches."""
        switch_back(self._opened().session, self._exploration)
        self._set(self._mode, value="as it is")
        self._hint.value = ""

    def _retry(self) -> None:
        """Switch the present choice of units in place of the old one."""
        if MODES[self._mode.value] is not None and self.selection:
            switch_others(self._opened().session, self._exploration, self.selection)

    def _reset_clicked(self) -> None:
        self._set(self._mode, value="as it is")
        self._set(self._strength, value=1.0)
        self._set(self._region, value=EVERYWHERE)
        self._switched()

    # --- brushes ---

    def _make_brush(self) -> None:
        found, name, units = self._exploration, self._brush_name.value.strip(), self.selection
        if not units:
            raise GANPaintError("No units are chosen.", "Click one in the atlas, or add several.")

        def done(brush: Brush) -> None:
            self._say(
                f"The brush “{brush.name}” is in every editor of {found.layer} now. It adds "
                f"{brush.concept} to {brush.added:.0%} of the painted area, and removes "
                f"{brush.removed:.0%} of what is there."
            )

        self._jobs.start(
            f"Testing the brush “{name}”",
            lambda ticket: found.make_brush(name, units, ticket=ticket),
            done,
        )

    def _drop_brush(self, name: str) -> None:
        self._exploration.shelf.take(name)
        self._show_brushes()

    def _show_brushes(self) -> None:
        shelf = self._exploration.shelf
        shown = []
        for brush in shelf.brushes:
            if brush.name == SELECTED:
                continue
            text = f"{brush.name} ({len(brush.units)})"
            button = partial(self._kit.button, layout=self._kit.auto)
            choose = button(description=text, tooltip="Choose its units")
            self._on_click(choose, partial(self.select, brush.units))
            drop = button(icon="trash", tooltip=f"Delete the brush {brush.name}")
            self._on_click(drop, partial(self._drop_brush, brush.name))
            shown += [choose, drop]
        replace_children(self._brushes, shown)
