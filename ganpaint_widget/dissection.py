"""What the units of a layer know: units x concepts, after Network Dissection and GAN Dissection.

For every unit u of a layer and every concept c, the unit's activation, upsampled to the picture, is
thresholded and compared with the segmenter's map over many samples::

    IoU(u, c) = |on and c| / |on or c|

The threshold is chosen for each pair by the *information quality ratio*: mutual information over joint
entropy of the two binary maps (Bau et al. 2019; a fixed top quantile would cap the IoU of large classes). A
unit counts as interpretable for a concept from IoU > .05 and IQR > .01 on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from .editing import DEFAULT_UNITS, Edit, apply
from .errors import GANPaintError
from .generators.checkpoints import read_safetensors, write_safetensors
from .generators.staged import StagedGenerator, State
from .jobs import Ticket
from .segmentation import Segmenter

THRESHOLDS = 100
"""Thresholds tried for each unit: log-spaced upper quantiles from 1e-3 to 1 (as in the public code)."""

MINIMUM_IOU, MINIMUM_IQR = 0.05, 0.01
"""From here on a unit is called interpretable (published for GANs)."""

TENSORS = ("iou", "iqr", "high", "present", "level", "weight", "effect")

MEASURED = ("add", "remove")
"""The verbs whose weights and effects are measured, in the order of the tables."""

MINIMUM_AREA = 16
"""Pixels of a concept in a picture from which on it counts as an object that can be removed."""

LEVEL_QUANTILE = 0.99
"""The published target of an addition: this quantile of the unit's activation over many samples."""


@dataclass(frozen=True)
class Dissection:
    """The measured relation of a layer's C units to K concepts.

    Attributes:
        layer: the dissected stage.
        concepts: the K names.
        iou: K x C, at each pair's best threshold.
        iqr: K x C, the information quality ratio there.
        high: C, each unit's 0.99 quantile.
        present: K x C, each unit's mean over the cells in which the concept is present.
        level: K x C, the activation that an addition aims at; :func:`dissect` takes ``present``,
            :func:`tune` improves on it.
        weight: K x 2 x C in [0, 1], how far each unit takes part in adding and in removing;
            :func:`dissect` takes 1 for the concept's best units, :func:`tune` improves on it.
        effect: K x 2, the shares of a painted patch that turn into the concept when it is added at a likely
            place, and that cease to be it when it is removed; see :func:`causal_effect`.
        colors: concept to "#rrggbb".
        samples: how many generated pictures were measured.
    """

    layer: str
    concepts: tuple[str, ...]
    iou: Tensor
    iqr: Tensor
    high: Tensor
    present: Tensor
    level: Tensor
    weight: Tensor
    effect: Tensor
    colors: Mapping[str, str]
    samples: int

    def index(self, concept: str) -> int:
        """The row of a concept; an unknown one raises and lists the known ones."""
        try:
            return self.concepts.index(concept)
        except ValueError:
            raise GANPaintError(
                f"This generator does not know the concept {concept!r}.",
                f"Choose one of: {', '.join(self.concepts)}.",
            ) from None

    def target(self, concept: str, by: str = "tuned") -> Tensor:
        """C activations that an addition aims at, by one of ``editing.TARGETS``."""
        row = self.index(concept)
        return {"tuned": self.level[row], "quantile": self.high, "mean": self.present[row]}[by]

    def weights(self, concept: str, verb: str) -> Tensor:
        """C values in [0, 1]: how far each unit takes part in an edit.

        Restyling takes the weights of adding: both put an activation in place of another.
        """
        return self.weight[self.index(concept), MEASURED.index("remove" if verb == "remove" else "add")]

    def units(self, concept: str, count: int) -> Tensor:
        """The ``count`` best units of a concept, best IoU first (int64)."""
        return self.iou[self.index(concept)].argsort(descending=True)[:count]

    def interpretable(self, concept: str) -> int:
        """How many units are interpretable for the concept."""
        row = self.index(concept)
        return int(((self.iou[row] > MINIMUM_IOU) & (self.iqr[row] > MINIMUM_IQR)).sum())

    def quality(self, concept: str) -> float:
        """How well the generator knows the concept, 0 to 1: the mean of adding's and removing's effect."""
        return float(self.effect[self.index(concept)].mean().clamp(0, 1))

    def save(self, path: Path) -> None:
        """Write as safetensors, with names and colours in the metadata."""
        tensors = {name: getattr(self, name).contiguous() for name in TENSORS}
        meta = {
            "layer": self.layer,
            "concepts": list(self.concepts),
            "colors": dict(self.colors),
            "samples": self.samples,
        }
        write_safetensors(path, tensors, {"kind": "dissection", "config": json.dumps(meta)})

    @classmethod
    def load(cls, path: Path) -> Dissection:
        """Read what :meth:`save` wrote; a foreign or damaged file raises one clear error."""
        tensors, config = read_safetensors(path, "dissection")
        return cls(
            layer=config["layer"],
            concepts=tuple(config["concepts"]),
            colors=config["colors"],
            samples=config["samples"],
            **{name: tensors[name].float() for name in TENSORS},
        )


@torch.no_grad()
def dissect(
    generator: StagedGenerator,
    segmenter: Segmenter,
    *,
    layer: str | None = None,
    samples: int = 1000,
    states: Sequence[State] | None = None,
    seed: int = 0,
    batch: int = 25,
    pixels: int = 512,
    colors: Mapping[str, str] | None = None,
    ticket: Ticket | None = None,
) -> Dissection:
    """Dissect a layer on ``samples`` generated pictures, in constant memory.

    A first quarter of the samples fixes the quantiles that serve as thresholds; a second pass over all
    of them counts, for each unit, bin and concept, at ``pixels`` random places of each picture.

    Args:
        generator: G.
        segmenter: names the pixels of G's pictures.
        layer: the stage to dissect, the edit layer by default.
        samples: generated pictures.
        states: what to measure instead of ``samples`` drawn latents: batches of states at or before
            ``layer``, for example of inverted photos, whose features are those that users will edit.
        seed: of the latents and of the places.
        batch: pictures at a time.
        pixels: places a picture at which activations and labels are compared.
        colors: concept to "#rrggbb", kept with the result.
        ticket: progress and cancel.
    """
    layer = layer or generator.edit_layer
    random = torch.Generator().manual_seed(seed + 1)
    if states is None:
        latents = torch.split(generator.sample_z(samples, seed), batch)
        states = [generator.start(z) for z in latents]
    samples = sum(len(state.features) for state in states)
    concepts = len(segmenter.classes)
    channels, height, width = generator.shape(layer)

    def upsampled(activation: Tensor, places: Tensor, size: int) -> Tensor:
        """Activations (B x C x P) at flat picture places (B x P), bilinear with half-pixel alignment."""
        full = F.interpolate(activation, size=(size, size), mode="bilinear", align_corners=False).flatten(2)
        return full.gather(2, places[:, None].expand(-1, channels, -1))

    def measured(state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        state = generator.run(state, until=layer)
        labels = segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1))
        places = torch.randint(labels[0].numel(), (len(labels), pixels), generator=random)
        values = upsampled(state.features, places, labels.shape[-1])
        return state.features, labels, labels.flatten(1).gather(1, places), values

    first = states[: max(1, len(states) // 4)]
    gathered = [measured(state)[3].transpose(0, 1).flatten(1)[:, ::4] for state in first]
    pool = torch.cat(gathered, dim=1).sort(dim=1).values
    quantiles = 1 - torch.logspace(-3, 0, THRESHOLDS)
    thresholds = pool[:, (quantiles * (pool.shape[1] - 1)).round().long()].flip(1).contiguous()
    high = pool[:, round(LEVEL_QUANTILE * (pool.shape[1] - 1))]

    # counts[u, c, b]: places of concept c at which unit u lies above exactly b of its thresholds.
    counts = torch.zeros(channels, concepts, THRESHOLDS + 1)
    present_sum, present_count = torch.zeros(concepts, channels), torch.zeros(concepts, 1)
    unit = torch.arange(channels)[:, None]
    for done, state in enumerate(states, start=1):
        features, labels, chosen, values = measured(state)
        values = values.transpose(0, 1).flatten(1).contiguous()
        bins = torch.searchsorted(thresholds, values)
        flat = (unit * concepts + chosen.flatten()) * (THRESHOLDS + 1) + bins
        counts += torch.bincount(flat.flatten(), minlength=counts.numel()).view_as(counts)
        cells = F.adaptive_avg_pool2d(
            F.one_hot(labels, concepts).permute(0, 3, 1, 2).float(), (height, width)
        )
        inside = (cells > 0.5).float()
        present_sum += torch.einsum("bkhw,bchw->kc", inside, features)
        present_count += inside.sum(dim=(0, 2, 3))[:, None]
        if ticket is not None:
            ticket.checkpoint(done / len(states))
    iou, iqr = _best_threshold(counts)
    best = iou.argsort(dim=1, descending=True)[:, :DEFAULT_UNITS]
    weight = torch.zeros_like(iou).scatter_(1, best, 1.0)[:, None].expand(-1, len(MEASURED), -1)
    present = present_sum / present_count.clamp_min(1)
    known = {name: (colors or {}).get(name, "#8888ff") for name in segmenter.classes}
    return Dissection(
        layer=layer,
        concepts=tuple(segmenter.classes),
        iou=iou,
        iqr=iqr,
        high=high,
        present=present,
        level=present.clone(),
        weight=weight.clone(),
        effect=torch.zeros(concepts, 2),
        colors=known,
        samples=samples,
    )


def _best_threshold(counts: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and IQR (K x C each) at each pair's best threshold, from counts C x K x (T + 1)."""
    # above[u, c, t]: places of concept c where unit u exceeds threshold t.
    above = counts.flip(2).cumsum(2).flip(2)[:, :, 1:]
    total = counts.sum() / counts.shape[0]
    of_concept = counts.sum(2, keepdim=True)
    on = above.sum(1, keepdim=True)
    iou = above / (on + of_concept - above).clamp_min(1)

    def entropy_term(joint: Tensor) -> Tensor:
        share = joint / total
        return -share * share.clamp_min(1e-12).log()

    cells = (above, on - above, of_concept - above, total - on - of_concept + above)
    joint = sum((entropy_term(cell) for cell in cells), torch.zeros(()))
    marginal = (
        entropy_term(on)
        + entropy_term(total - on)
        + entropy_term(of_concept)
        + entropy_term(total - of_concept)
    )
    iqr = (marginal - joint) / joint.clamp_min(1e-9)
    # Only where the unit goes with the concept, not where it marks the concept's absence.
    iqr = torch.where(above * total > on * of_concept, iqr, torch.zeros(()))
    best = iqr.argmax(dim=2, keepdim=True)
    return iou.gather(2, best)[..., 0].T.contiguous(), iqr.gather(2, best)[..., 0].T.contiguous()


def tune(
    generator: StagedGenerator,
    segmenter: Segmenter,
    dissection: Dissection,
    concept: str,
    state: State,
    *,
    steps: int = 60,
    batch: int = 8,
    seed: int = 0,
) -> Dissection:
    """Improve a concept's levels and weights by what they cause.

    After GAN Dissection's optimised interventions (Bau et al. 2019, section 3.2): gradient descent on the
    negative log probability, by the segmenter, that a patch added at a likely place shows the concept and
    that a removed object does not, plus a penalty on the mean weight. Besides, the level may move away from
    ``present``, at the price of the mean squared distance in units of each unit's own standard deviation, and
    the picture must stay within [-1, 1]: both keep it a level that the generator itself could have.

    Args:
        generator: G.
        segmenter: must also give logits, B x K x H x W, when called (a module).
        dissection: of the layer; its other concepts are kept as they are.
        concept: which one to tune.
        state: a batch of states at the layer, of samples or of inverted photos.
        steps: of Adam at 0.05.
        batch: states a step.
        seed: of the choice of states and places.
    """
    row = dissection.index(concept)
    random = torch.Generator().manual_seed(seed)
    count = len(state.features)
    deviation = state.features.std(dim=(0, 2, 3))
    with torch.no_grad():
        found = _found(generator, segmenter, state, row)
    shown = [one for one in range(count) if int(found[one].sum()) >= MINIMUM_AREA]
    offset = torch.zeros_like(deviation).requires_grad_()
    logits = torch.stack([torch.full_like(deviation, 1.5), torch.zeros_like(deviation)]).requires_grad_()
    optimiser = torch.optim.Adam([offset, logits], lr=0.05)
    for step in range(steps):
        level = dissection.present[row] + deviation * offset
        weight = logits.sigmoid()
        loss = offset.square().mean() + 0.3 * weight.mean(dim=1).sum()
        drawn = torch.randperm(count, generator=random)[:batch].tolist()
        placed = [(one, _likely_patch(found, one, state, random, 2 + step % 2)) for one in drawn]
        adding = [(one, patch) for one, patch in placed if patch is not None]
        removing = (
            [shown[int(i)] for i in torch.randint(len(shown), (batch,), generator=random)] if shown else []
        )
        for verb, chosen, masks in (
            (0, [one for one, _ in adding], [patch for _, patch in adding]),
            (1, removing, [found[one] for one in removing]),
        ):
            if not chosen:
                continue
            mask = torch.stack(masks).float()
            features = state.features[chosen]
            alpha = weight[verb].view(1, -1, 1, 1) * F.adaptive_max_pool2d(mask[:, None], features.shape[-2:])
            edited = (1 - alpha) * features + alpha * (level.view(1, -1, 1, 1) if verb == 0 else 0)
            picture = generator.picture(generator.run(state.pick(chosen).replace(edited)))
            scores = segmenter(picture.clamp(-1, 1)).log_softmax(dim=1)[:, row]  # type: ignore[operator]
            wanted = scores if verb == 0 else torch.log1p(-scores.exp().clamp_max(0.9999))
            loss = loss - (wanted * mask).sum() / mask.sum()
            loss = loss + 5 * (picture.abs() - 1).clamp_min(0).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    levels, weights = dissection.level.clone(), dissection.weight.clone()
    levels[row] = (dissection.present[row] + deviation * offset).detach()
    weights[row] = logits.sigmoid().detach()
    return replace(dissection, level=levels, weight=weights)


def _found(generator: StagedGenerator, segmenter: Segmenter, state: State, row: int) -> Tensor:
    """Where a class is in each picture of a batch of states: bool B x H x W."""
    return segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1)) == row


def _likely_patch(
    found: Tensor, one: int, state: State, random: torch.Generator, cells: int
) -> Tensor | None:
    """A square of ``cells`` x ``cells`` cells where picture ``one`` lacks the concept: bool H x W.

    Its place is drawn in proportion to how often the concept is there in the whole batch ``found``; None if
    there is no such place.
    """
    grid = state.features.shape[-1]
    cell = found.shape[-1] // grid
    share = F.avg_pool2d(found.float()[:, None], cell)[:, 0]
    near = F.max_pool2d(share[one][None], 3, stride=1, padding=1)[0]
    chance = (share.mean(dim=0) * (near == 0)).flatten()
    if float(chance.sum()) <= 0:
        return None
    top, left = divmod(int(torch.multinomial(chance, 1, generator=random)), grid)
    patch = torch.zeros_like(found[one])
    rows = slice(max(0, top - 1) * cell, (top - 1 + cells) * cell)
    patch[rows, max(0, left - 1) * cell : (left - 1 + cells) * cell] = True
    return patch


@torch.no_grad()
def causal_effect(
    generator: StagedGenerator,
    segmenter: Segmenter,
    dissection: Dissection,
    concept: str,
    *,
    samples: int = 100,
    state: State | None = None,
    seed: int = 10_000,
) -> tuple[float, float]:
    """How far adding and removing a concept with the editor's own edits works on generated pictures.

    For each sample one square patch of 3 x 3 cells is added where the concept is absent, at a cell drawn
    in proportion to how often the concept is found there (a *likely place*; the effect is read at that
    place, unlike in the public code), and the concept is removed under its own mask.

    Returns:
        (added, removed): the mean share of the patch's pixels that became the concept, and the mean
        share of the concept's pixels that ceased to be it; each 0 where no sample offered a place.
    """
    row = dissection.index(concept)
    random = torch.Generator().manual_seed(seed)
    if state is None:
        state = generator.run(generator.start(generator.sample_z(samples, seed)), until=dissection.layer)
    found = _found(generator, segmenter, state, row)
    shares: dict[str, list[float]] = {verb: [] for verb in MEASURED}
    for one in range(len(state.features)):
        patches = {"add": _likely_patch(found, one, state, random, 3)}
        if int(found[one].sum()) >= MINIMUM_AREA:
            patches["remove"] = found[one]
        for verb, patch in patches.items():
            if patch is None:
                continue
            edit = Edit("e", verb, concept, (patch * 255).byte().numpy(), 1.0)
            edited = apply(state.one(one), [edit], dissection)
            inside = float(_found(generator, segmenter, edited, row)[0][patch].float().mean())
            shares[verb].append(inside if verb == "add" else 1 - inside)
    added, removed = (sum(shares[verb]) / max(1, len(shares[verb])) for verb in MEASURED)
    return added, removed
