"""The one interface through which everything else reaches a generator.

A generator is a sequence of named *stages*. What flows from one stage to the next is a
:class:`State`: the feature tensor that edits and perturbations act on, and whatever else the
generator has to carry along (StyleGAN2 carries its w, its skip RGB and its noise; ProGAN nothing).

Editing, preview, adaptation and dissection are written against this file alone::

    state = generator.run(generator.start(z), until="layer6")     # G_H: z -> r
    state = state.replace(edited_features)                        # z_e = edit(z)
    picture = generator.picture(generator.run(state))             # G_F: r -> x_e
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from ..deprecated import Renamed
from ..errors import GANPaintError, kind_of
from .networks import evaluated
from .prior import Prior

Modifier = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class State:
    """What a generator holds between two stages.

    Attributes:
        features: float tensor B x C x H x W, the output of ``stage``. Edits act on this.
        stage: name of the stage that made ``features``; ``None`` before the first one.
        extra: what else the generator needs to go on, by name. Stages read and replace it;
            nobody outside the generator looks inside.
    """

    features: Tensor
    stage: str | None = None
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def replace(self, features: Tensor) -> State:
        """Return the same state with other features of the same shape."""
        if features.shape != self.features.shape:
            raise ValueError(
                f"The features for stage {self.stage!r} have shape {tuple(features.shape)}, "
                f"not {tuple(self.features.shape)}. Pass a tensor of the stage's own shape."
            )
        return replace(self, features=features)

    def to(self, like: Tensor) -> State:
        """Return the same state on the device of a tensor, with floating-point numbers of its type."""
        extra = {
            name: tensor.to(like) if tensor.is_floating_point() else tensor.to(like.device)
            for name, tensor in self.extra.items()
        }
        return replace(self, features=self.features.to(like), extra=extra)

    def pick(self, indices: Sequence[int]) -> State:
        """Return the state of some pictures of the batch."""
        chosen = list(indices)
        extra = {name: tensor[chosen] for name, tensor in self.extra.items()}
        return replace(self, features=self.features[chosen], extra=extra)

    def one(self, index: int) -> State:
        """Return the state of one picture of the batch (its batch size is 1)."""
        return self.pick([index])


class WeightCache:
    """What follows from one of a module's weights, computed once, until the weight is trained or written."""

    def __init__(self) -> None:
        self._made: tuple[object, Tensor] = (None, torch.empty(0))

    def __call__(self, weight: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """``compute()``, or what it returned for the weight as it is."""
        if weight.is_inference() or (torch.is_grad_enabled() and weight.requires_grad):
            return compute()
        # The version grows with everything that is written into the weight.
        made_of = weight.data_ptr(), weight._version, weight.dtype, weight.device
        if self._made[0] != made_of:
            with torch.inference_mode(False), torch.no_grad():  # it is kept for the next caller
                self._made = made_of, compute()
        return self._made[1]

    def __deepcopy__(self, memo: object) -> WeightCache:
        """Of a copied module: it has weights of its own."""
        return WeightCache()


class StagedGenerator(nn.Module, ABC):
    """A generator as a sequence of named stages; subclass it to bring a GAN of your own.

    A subclass sets the attributes below and implements :meth:`start`, :meth:`stage` and
    :meth:`picture`; all the rest of the package works from those.

    Attributes:
        stages: names of the stages in order. A stage's output is B x C x H x W.
        latent_size: number of components of z.
        resolution: the picture is ``resolution`` x ``resolution`` pixels.
        edit_layer: the stage at whose output edits are made (the end of G_H).
        fine_layers: the stages after ``edit_layer`` whose outputs the image-specific
            adaptation perturbs.
        reach: how far a stage after ``edit_layer`` (and :meth:`picture`) looks around, in cells of
            its input: with 3 x 3 convolutions 1. Previews then compute only what an edit can change.
            That needs stages which take any part of a grid, see no further, pad with zeros and have
            no ``extra``; ``None`` where one of these does not hold.
        prior: makes latents of standard normal numbers; ``None`` where latents are standard normal.
    """

    stages: tuple[str, ...]
    latent_size: int
    resolution: int
    edit_layer: str
    fine_layers: tuple[str, ...]
    reach: int | None = None
    prior: Prior | None

    def __init__(self, **parts: nn.Module) -> None:
        """Hold the modules that a subclass draws with, each under its name."""
        super().__init__()
        self.register_module("prior", None)
        for name, part in parts.items():
            self.add_module(name, part)

    @abstractmethod
    def start(self, z: Tensor) -> State:
        """Return the state before the first stage, from latents z (B x ``latent_size``)."""

    @abstractmethod
    def stage(self, name: str, state: State) -> State:
        """Run the single stage ``name`` on the state that the stage before it left."""

    @abstractmethod
    def picture(self, state: State) -> Tensor:
        """Return the picture of the last stage's state: B x 3 x R x R, nominally in [-1, 1], not clamped."""

    def extended(self, z: Tensor) -> Tensor:
        """Convert latents z to the space in which inversions search, B x ...: by default, z itself."""
        return z

    def start_extended(self, latents: Tensor) -> State:
        """Continue like :meth:`start`, from a place in the space of :meth:`extended`."""
        return self.start(latents)

    def run(
        self,
        state: State,
        *,
        until: str | None = None,
        modify: Mapping[str, Modifier] | None = None,
    ) -> State:
        """Run the stages that follow ``state`` up to and including ``until``.

        Args:
            state: where to begin; its ``stage`` says what has been run already.
            until: the last stage to run, the generator's last one by default.
            modify: for a stage's name, a function of its output features (B x C x H x W to the
                same shape) that is applied before the next stage sees them.

        Raises:
            GANPaintError: ``until`` is not a stage of this generator.
            ValueError: it lies before ``state``.
        """
        first = 0 if state.stage is None else self.stage_index(state.stage) + 1
        last = len(self.stages) - 1 if until is None else self.stage_index(until)
        if last < first - 1:
            raise ValueError(
                f"Stage {until!r} lies before {state.stage!r}, which has been run already. "
                "Begin from an earlier state."
            )
        for name in self.stages[first : last + 1]:
            state = self.stage(name, state)
            if modify is not None and name in modify:
                state = state.replace(modify[name](state.features))
        return state

    def forward(self, z: Tensor) -> Tensor:
        """Draw G(z): latents B x ``latent_size`` to pictures B x 3 x R x R."""
        return self.picture(self.run(self.start(z)))

    def stage_index(self, stage: str) -> int:
        """Return the index of a stage's name in ``stages``; GANPaintError names the known ones."""
        try:
            return self.stages.index(stage)
        except ValueError:
            raise GANPaintError(
                f"This generator has no stage {stage!r}.", f"Choose one of: {', '.join(self.stages)}."
            ) from None

    position = Renamed("stage_index")

    def sample_z(self, count: int, seed: int) -> Tensor:
        """Draw ``count`` latents (count x ``latent_size``), where the generator computes.

        They are standard normal, or have the distribution of the generator's :attr:`prior`. The random
        numbers are drawn on the CPU, and so are the same for the same seed on every device.
        """
        source = torch.Generator().manual_seed(seed)
        return self.latents(torch.randn(count, self.latent_size, generator=source))

    def latents(self, noise: Tensor) -> Tensor:
        """Return latents for standard normal numbers, both B x ``latent_size``, where the generator computes.

        They are the numbers themselves without a :attr:`prior`.
        """
        noise = self.here(noise)
        if self.prior is None:
            return noise
        with torch.no_grad():
            latents: Tensor = self.prior(noise)
        return latents

    def sampled(self, count: int, seed: int, *, until: str | None = None) -> State:
        """Return the state of ``count`` latents of :meth:`sample_z` at ``until``, or at the edit layer."""
        return self.run(self.start(self.here(self.sample_z(count, seed))), until=until or self.edit_layer)

    def here(self, tensor: Tensor) -> Tensor:
        """Return the tensor where the generator computes: on its device and in its type of numbers."""
        return tensor.to(next(self.parameters()))

    def truncated(self, truncation_psi: float) -> StagedGenerator:
        """Return the same generator with its styles moved towards their mean.

        Args:
            truncation_psi: 1 moves nothing, 0 all the way; between them variety is traded for quality
                (StyleGAN, CVPR 2019). 0.7 is usual.

        Raises:
            GANPaintError: psi is not 1, and this generator has no style.
        """
        if truncation_psi == 1:
            return self
        raise GANPaintError(
            f"{kind_of(self)} does not support truncation: it lacks a style space.",
            "Leave truncation_psi at 1; it is for StyleGAN2.",
        )

    @evaluated
    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, truncation_psi: float | None = None) -> Tensor:
        """Draw ``count`` pictures of its world, count x 3 x R x R in about [-1, 1], the same for one seed.

        Args:
            truncation_psi: as in :meth:`truncated`; ``None`` leaves it as it is.

        Raises:
            GANPaintError: as in :meth:`truncated`.
        """
        generator = self if truncation_psi is None else self.truncated(truncation_psi)
        return torch.cat([generator(one[None]) for one in self.sample_z(count, seed)])

    def shape(self, stage: str) -> tuple[int, int, int]:
        """Return (C, H, W) of a stage's output, found by running it once on a sample."""
        return self.shapes([stage])[stage]

    @evaluated
    @torch.no_grad()
    def shapes(self, stages: Sequence[str]) -> dict[str, tuple[int, int, int]]:
        """Return the same for several stages, which are in their order, from one run."""
        state = self.start(self.here(self.sample_z(1, 0)))
        found = {}
        for stage in stages:
            state = self.run(state, until=stage)
            _, channels, height, width = state.features.shape
            found[stage] = channels, height, width
        return found
