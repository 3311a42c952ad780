"""The dissection explorer's face: ipywidgets around a canvas."""

from __future__ import annotations

from .explorer import DissectionExplorer as DissectionExplorer
