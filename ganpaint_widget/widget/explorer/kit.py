"""Helpers that make and close the explorer's controls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, partial
from typing import Any

import ipywidgets
from ipywidgets import HTML, Button, Dropdown, HBox, Layout, Text, VBox
from ipywidgets.widgets.widget_description import DescriptionStyle
from ipywidgets.widgets.widget_string import HTMLStyle, TextStyle


class Kit:
    """Makes controls with shared layouts and styles, since each one adds a model to the page.

    ``kit.button(description=...)`` makes a button, and so on for ``html``, ``dropdown``, ``text``,
    ``switch``, ``row`` and ``column``.
    """

    def __init__(self) -> None:
        self.plain, self.auto = Layout(), Layout(width="auto")
        self.fitting = Layout(width="auto", align_self="flex-start")
        self.html = partial(HTML, layout=self.plain, style=HTMLStyle())
        self.button = partial(Button, layout=self.plain, style=ipywidgets.ButtonStyle())
        self.row = partial(HBox, layout=Layout(flex_flow="row wrap"))
        self.column = partial(VBox, layout=self.plain)
        self.dropdown = partial(Dropdown, style=DescriptionStyle(description_width="initial"))
        self.text = partial(Text, style=TextStyle(description_width="initial"))
        self.switch = partial(
            ipywidgets.ToggleButtons,
            style=ipywidgets.ToggleButtonsStyle(button_width="auto"),
            layout=self.plain,
        )
        self.width = cache(lambda pixels: Layout(width=f"{pixels}px"))

    def close(self) -> None:
        """Close the shared layouts and styles. The controls close themselves."""
        made = (self.html, self.button, self.row, self.column, self.dropdown, self.text, self.switch)
        shared = [value for one in made for value in one.keywords.values()]
        close_all([self.plain, self.auto, self.fitting, *shared])


def close_all(controls: Iterable[Any], keep: Sequence[Any] = ()) -> None:
    """Close controls with their children, layouts and styles, except those in ``keep``."""
    kept = {id(one) for one in keep}
    waiting = list(controls)
    while waiting:
        control = waiting.pop()
        if id(control) in kept:
            continue
        kept.add(id(control))
        waiting += getattr(control, "children", ())
        waiting += [one for name in ("layout", "style") if (one := getattr(control, name, None)) is not None]
        control.close()


def replace_children(box: HBox, controls: Sequence[Button]) -> None:
    """Put other controls into a box, and close the old ones without their shared layouts."""
    old, box.children = box.children, tuple(controls)
    for control in old:
        if control not in box.children:
            control.close()


def mark(control: Any, name: str, on: bool) -> None:
    """Add a CSS class to a control, or remove it."""
    if on:
        control.add_class(name)
    else:
        control.remove_class(name)
