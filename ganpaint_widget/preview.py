"""G(z_e) while the user paints: only what an edit can change is computed again.

Edits act on the output of the edit layer, so everything up to there is the same for all edits of a
picture and is computed once. A preview is then the edit equation and the layers that follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .editing import Edit, apply

if TYPE_CHECKING:
    from .generators.staged import Modifier, State
    from .generators.zoo import Model


class Preview:
    """The fast path of G(z_e) for one picture.

    Args:
        model: its generator draws, its dissection says which units an edit acts on. A model without
            a dissection can draw G(z) only.
        state: the picture's state at the edit layer, from inversion or sampling.
    """

    def __init__(self, model: Model, state: State) -> None:
        if state.stage != model.generator.edit_layer:
            raise ValueError(
                f"The state comes from stage {state.stage!r}, but edits are made at "
                f"{model.generator.edit_layer!r}. Run the generator up to there first."
            )
        self.model = model
        self.state = state

    def edited(self, edits: Sequence[Edit]) -> State:
        """The state at the edit layer with the edits carried out."""
        if self.model.dissection is None:
            return self.state
        return apply(self.state, edits, self.model.dissection)

    def render(self, edits: Sequence[Edit], modify: Mapping[str, Modifier] | None = None) -> Tensor:
        """G(z_e): 1 x 3 x R x R, nominally in [-1, 1], not clamped. On the thread that owns the model.

        Args:
            modify: as in :meth:`StagedGenerator.run`; with :func:`.adaptation.gates` the picture is the
                faithful preview G'(z_e).
        """
        generator = self.model.generator
        with torch.inference_mode():
            return generator.picture(generator.run(self.edited(edits), modify=modify))
