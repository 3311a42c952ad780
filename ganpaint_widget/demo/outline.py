"""What is known of the demo model without PyTorch, whose import takes seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

WEIGHTS: Final = Path(__file__).parent / "weights"

RESOLUTION: Final = 128
"""R: its pictures are R x R."""

CELLS: Final = (16, 16)
"""The grid of its edit layer: cells across and down."""


def concepts() -> list[tuple[str, str, float]]:
    """Return its concepts, each with its color as "#rrggbb" and its quality; see :meth:`.Dissection.quality`.

    They are read from the dissection's file without tensors.
    """
    from safetensors import safe_open

    with safe_open(WEIGHTS / "dissection.safetensors", framework="numpy") as file:
        config = json.loads(file.metadata()["config"])
        qualities = file.get_tensor("effect").mean(axis=1).clip(0, 1).tolist()
    names: list[str] = config["concepts"]
    return [(name, config["colors"][name], quality) for name, quality in zip(names, qualities, strict=True)]
