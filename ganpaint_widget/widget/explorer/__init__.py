"""The dissection explorer's widget: ipywidgets around canvases."""

from __future__ import annotations

from .explorer import DissectionExplorer as DissectionExplorer
