"""Which units an edit of a concept acts on, and how far, found by trying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ..method.edits import Edit
from ..method.equation import apply
from ..models.generator import StagedGenerator, State
from ..models.model import Segmenter
from ..models.networks import evaluated
from ..models.units import MEASURED, Dissection
from .causality import MINIMUM_AREA, likely_patch, painted
from .pictures import labeled


@dataclass(frozen=True)
class Examples:
    """N edits of one kind and what they should show: what :func:`tune` learns from.

    Attributes:
        verb: "add" or "remove".
        state: what is edited, at the layer.
        masks: where, bool N x R x R.
        labels: the class that each pixel of the edited picture should show, int64 N x R x R in the
            segmenter's order; -1 where it may show anything, or, in the mask of a removal, anything else.
        pictures: how the edited pictures should look, N x 3 x R x R in [-1, 1], where that is known.
    """

    verb: str
    state: State
    masks: Tensor
    labels: Tensor
    pictures: Tensor | None = None


@evaluated
@torch.no_grad()
def likely_examples(
    generator: StagedGenerator, segmenter: Segmenter, concept: str, state: State, *, seed: int = 0
) -> list[Examples]:
    """Additions at likely places and removals of what is there, for a generator without ground truth.

    Around an addition the picture should show what it showed before.
    """
    row, random = segmenter.classes.index(concept), torch.Generator().manual_seed(seed)
    labels = labeled(generator, segmenter, state)
    found = labels == row
    cell = labels.shape[-1] // state.features.shape[-1]
    made = []
    patches = [likely_patch(found, one, state, random, 2 + one % 2) for one in range(len(found))]
    adding = [one for one, patch in enumerate(patches) if patch is not None]
    if adding:
        masks = torch.stack([patch for patch in patches if patch is not None])
        around = F.max_pool2d(masks[:, None].float(), 2 * cell + 1, stride=1, padding=cell)[:, 0] > 0
        wanted = labels[adding].masked_fill(around, -1).masked_fill(masks, row)
        made.append(Examples("add", state.pick(adding), masks, wanted))
    removing = [one for one in range(len(found)) if int(found[one].sum()) >= MINIMUM_AREA]
    if removing:
        masks = found[removing]
        made.append(Examples("remove", state.pick(removing), masks, labels[removing].masked_fill(masks, -1)))
    return made


class _Candidate:
    """A level and weights on trial, in the place of a dissection's."""

    def __init__(self, level: Tensor, weight: Tensor) -> None:
        self.level, self.weight = level, weight

    def target(self, concept: str, by: str) -> Tensor:
        return self.level

    def weights(self, concept: str, verb: str) -> Tensor:
        return self.weight[MEASURED.index(verb)]

    def units(self, concept: str, count: int) -> Tensor:
        raise AssertionError("tuning is for edits that are left to the dissection")

    def exemplar(self, concept: str, features: Tensor, variant: int = 0) -> Tensor:
        raise AssertionError("tuning is for targets that all pictures share")


@evaluated
def tune(
    generator: StagedGenerator,
    segmenter: Segmenter,
    dissection: Dissection,
    concept: str,
    examples: Sequence[Examples],
    *,
    steps: int = 60,
    batch: int = 8,
    seed: int = 0,
) -> Dissection:
    """Improve a concept's level and weights by what the editor's own edits with them cause.

    After GAN Dissection's optimized interventions (Bau et al. 2019, section 3.2): gradient descent on the
    negative log probability, by the segmenter, of what the edited pictures should show, and a penalty on the
    mean weight. Here it counts inside the mask and, as much, around it: what spills over is lost. Where the
    true pictures are known, the colors inside the mask count, too. The level starts from ``present`` and may
    move away from it at the price of the mean squared distance in units of each unit's own standard
    deviation, and the picture must stay within [-1, 1]: it has to be a level that the generator could have.

    Args:
        generator: G.
        segmenter: must also give logits, B x K x R x R, when called (a module).
        dissection: of the layer; its other concepts are kept as they are.
        concept: which one to tune.
        examples: what is learned from; see :func:`likely_examples`.
        steps: of Adam at 0.05.
        batch: examples of each kind a step.
        seed: of the choice of examples.
    """
    row, wanted = dissection.index(concept), segmenter.classes.index(concept)
    random = torch.Generator().manual_seed(seed)
    deviation = torch.cat([one.state.features for one in examples]).float().std(dim=(0, 2, 3))
    present = dissection.present[row].to(deviation)
    offset = torch.zeros_like(deviation).requires_grad_()
    logits = torch.stack([torch.full_like(deviation, 1.5), torch.zeros_like(deviation)]).requires_grad_()
    optimizer = torch.optim.Adam([offset, logits], lr=0.05)
    for _ in range(steps):
        level, weight = present + deviation * offset, logits.sigmoid()
        loss = offset.square().mean() + 0.3 * weight.mean(dim=1).sum()
        for kind in examples:
            drawn = torch.randperm(len(kind.masks), generator=random)[:batch].tolist()
            loss = loss + _lesson(
                generator, segmenter, concept, wanted, kind, drawn, _Candidate(level, weight)
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=[offset, logits])  # type: ignore[no-untyped-call]
        optimizer.step()
    activations, weights = dissection.level.clone(), dissection.weight.clone()
    activations[row] = (present + deviation * offset).detach().to(activations)
    weights[row] = logits.sigmoid().detach().to(weights)
    return replace(dissection, level=activations, weight=weights)


def _lesson(
    generator: StagedGenerator,
    segmenter: Segmenter,
    concept: str,
    wanted: int,
    examples: Examples,
    drawn: Sequence[int],
    candidate: _Candidate,
) -> Tensor:
    """How far the edits number ``drawn`` are from what they should show."""
    edited = [
        apply(
            examples.state.one(one),
            [Edit("e", examples.verb, concept, painted(mask))],
            candidate,
        ).features
        for one, mask in zip(drawn, examples.masks[drawn], strict=True)
    ]
    picture = generator.picture(generator.run(examples.state.pick(drawn).replace(torch.cat(edited)))).float()
    masks, labels = (one[drawn].to(picture.device) for one in (examples.masks, examples.labels))
    scores = segmenter(picture.clamp(-1, 1)).float().log_softmax(dim=1)  # type: ignore[operator]
    reach = labels.shape[-1] // 8
    near = F.max_pool2d(masks[:, None].float(), 2 * reach + 1, stride=1, padding=reach)[:, 0] > 0
    missed = F.nll_loss(scores, labels.clamp_min(0), reduction="none")
    if examples.verb == "remove":
        present = scores[:, wanted].exp().clamp_max(0.9999)
        missed = torch.where(masks & (labels < 0), -torch.log1p(-present), missed)
    loss = 5 * (picture.abs() - 1).clamp_min(0).mean()
    for part in (masks, near & ~masks):
        known = (part & ((labels >= 0) | (masks & (examples.verb == "remove")))).float()
        loss = loss + (missed * known).sum() / known.sum().clamp_min(1)
    if examples.pictures is not None:
        off = (picture - examples.pictures[drawn].to(picture)).abs().mean(dim=1)
        loss = loss + 2 * (off * masks).sum() / masks.sum()
    return loss
