"""Semantic photo editing with a GAN, inside Jupyter.

>>> import ganpaint_widget as gp
>>> gp.GANPaint()                       # the editor, as the last expression of a cell
>>> gp.EditingSession("church.jpg")     # the same editing with no widget

Nothing heavy is imported before it is used: this module alone imports neither torch nor ipywidgets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import GANPaintError
from .version import __version__

if TYPE_CHECKING:
    from .demo.scenes import Scene as Scene
    from .dissection import discover as discover
    from .dissection import dissect as dissect
    from .explorer.exploration import Exploration as Exploration
    from .models.generator import StagedGenerator as StagedGenerator
    from .models.generator import State as State
    from .models.model import Model as Model
    from .models.registry import load_generator as load_generator
    from .session import EditingSession as EditingSession
    from .widget.explorer import DissectionExplorer as DissectionExplorer
    from .widget.paint import GANPaint as GANPaint

_HOMES = {
    "GANPaint": ".widget.paint",
    "EditingSession": ".session",
    "StagedGenerator": ".models.generator",
    "State": ".models.generator",
    "Model": ".models.model",
    "load_generator": ".models.registry",
    "Scene": ".demo.scenes",
    "discover": ".dissection",
    "dissect": ".dissection",
    "Exploration": ".explorer.exploration",
    "DissectionExplorer": ".widget.explorer",
}

__all__ = [
    "DissectionExplorer",
    "EditingSession",
    "Exploration",
    "GANPaint",
    "GANPaintError",
    "Model",
    "Scene",
    "StagedGenerator",
    "State",
    "__version__",
    "discover",
    "dissect",
    "load_generator",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value  # so that this function is asked only once a name
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
