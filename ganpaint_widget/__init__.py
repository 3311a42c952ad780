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

if TYPE_CHECKING:
    from .demo.scenes import Scene as Scene
    from .dissection import dissect as dissect
    from .exploration import Exploration as Exploration
    from .generators.staged import StagedGenerator as StagedGenerator
    from .generators.staged import State as State
    from .generators.zoo import Model as Model
    from .generators.zoo import load_generator as load_generator
    from .session import EditingSession as EditingSession
    from .widget.explorer import DissectionExplorer as DissectionExplorer
    from .widget.paint import GANPaint as GANPaint

__version__ = "0.1.0"

_HOMES = {
    "GANPaint": ".widget.paint",
    "EditingSession": ".session",
    "StagedGenerator": ".generators.staged",
    "State": ".generators.staged",
    "Model": ".generators.zoo",
    "load_generator": ".generators.zoo",
    "Scene": ".demo.scenes",
    "dissect": ".dissection",
    "Exploration": ".exploration",
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
