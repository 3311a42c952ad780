"""Scores of a layer's units against concepts, after Network Dissection and GAN Dissection.

Every unit u of a layer is compared with every concept c over many samples. The unit's activation is upsampled
to the picture and thresholded, and the segmenter gives the concept's map::

    IoU(u, c) = |on and c| / |on or c|

Each pair has its own threshold, which maximizes the *information quality ratio*: mutual information over
joint entropy of the two binary maps (Bau et al. 2019; a fixed top quantile would cap the IoU of large
classes). A unit counts as interpretable for a concept if IoU > .05 and IQR > .01.

Two baselines show how much of that the units themselves explain, in the same numbers. One rotates the layer's
axes at random (``dissect(..., rotation=random_rotation(...))``). The other, :func:`.position_baseline`, knows
the usual place of a concept and never looks at the picture. :func:`.causal_effect` measures what units
*cause*, and :func:`.causal_curve` measures it against their number.

Any ``concurrent.futures.Executor`` can share the counting, such as a pool of processes or the client of a
cluster. The numbers are the same as without one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..cpus import follow_load
from ..models.catalogue import DEFAULT_UNITS
from ..models.checking import check, check_segmenter
from ..models.generator import StagedGenerator, State
from ..models.model import Model, Segmenter
from ..models.networks import evaluated
from ..models.parts import Evidence
from ..models.units import MEASURED, Dissection
from ..tickets import Ticket
from .pictures import labeled, sampled

THRESHOLDS = 100
"""Thresholds tried for each unit: log-spaced upper quantiles from 1e-3 to 1 (as in the public code)."""

POOL = 2**15
"""Values of each unit that give its thresholds. The highest threshold has 33 of them above it."""

CHUNKS = 16
"""Pieces into which counting is cut for an executor. Each carries a copy of the generator."""

LEVEL_QUANTILE = 0.99
"""The published target of an addition: this quantile of the unit's activation over many samples."""


@evaluated
@torch.no_grad()
def dissect(
    generator: StagedGenerator | Model,
    segmenter: Segmenter,
    *,
    layer: str | None = None,
    samples: int = 1000,
    states: Sequence[State] | None = None,
    seed: int = 0,
    batch: int = 25,
    pixels: int = 512,
    rotation: Tensor | None = None,
    colors: Mapping[str, str] | None = None,
    executor: Executor | None = None,
    ticket: Ticket | None = None,
) -> Dissection:
    """Dissect a layer on ``samples`` generated pictures, in memory that does not grow with their number.

    The first quarter of the samples fixes the quantiles that serve as thresholds. A second pass over all of
    them counts units, bins and concepts at ``pixels`` random places of each picture.

    Args:
        generator: G, or a model with it.
        segmenter: names the pixels of G's pictures. A class that no sample shows gets no units.
        layer: the stage to dissect, the edit layer by default.
        samples: generated pictures.
        states: batches of states at or before ``layer``, to measure instead of ``samples`` drawn latents.
            The states of inverted photos have the features that users will edit.
        seed: of the latents and of the places.
        batch: pictures at a time.
        pixels: places in each picture at which activations and labels are compared.
        rotation: C x C, orthogonal. Its rows replace the layer's own axes as the "units" to measure.
        colors: concept to "#rrggbb", kept with the result.
        executor: counts elsewhere. It must be able to send the generator and the segmenter; for processes,
            both must be picklable. Spawn the processes of a pool, since torch does not survive a fork well.
        ticket: progress and cancel.

    Raises:
        GANPaintError: the generator, the segmenter, the layer or a number is none that can be used.
    """
    generator = check(generator)
    check_segmenter(segmenter)
    layer = layer or generator.edit_layer
    states = sampled(generator, samples, seed, batch) if states is None else states
    probe = Probe(generator, segmenter, layer, pixels, seed, rotation)
    evidence = count(probe, states, executor=executor, ticket=ticket)
    return tabulate(evidence, layer, segmenter.classes, colors or {})


@evaluated
@torch.no_grad()
def count(
    probe: Probe, states: Sequence[State], *, executor: Executor | None = None, ticket: Ticket | None = None
) -> Evidence:
    """Count the evidence for :func:`dissect`, on batches of states at or before the probe's layer."""
    samples = sum(len(state.features) for state in states)
    concepts = len(probe.segmenter.classes)
    numbered = list(enumerate(states))

    first = numbered[: max(1, len(numbered) // 4)]
    share = max(1, POOL // len(first))

    def report(done: int) -> None:
        if ticket is not None:
            ticket.checkpoint(done / (len(first) + len(numbered)))

    gathered = _spread(executor, _Gather(probe, share), first, report)
    pool = torch.cat([values for chunk in gathered for values in chunk], dim=1).sort(dim=1).values
    channels = len(pool)
    thresholds = quantiles(pool)
    high = pool[:, round(LEVEL_QUANTILE * (pool.shape[1] - 1))]

    counts = torch.zeros(channels, concepts, THRESHOLDS + 1, dtype=torch.int64)
    present_sum = torch.zeros(concepts, channels, dtype=torch.float64)
    present_count = torch.zeros(concepts, dtype=torch.float64)

    counting = _spread(executor, _Count(probe, thresholds), numbered, lambda done: report(len(first) + done))
    for counted, sums in counting:
        counts += counted
        for of_batch, cells in sums:  # one by one, so that the order of additions is always the same
            present_sum += of_batch
            present_count += cells
    return Evidence(thresholds, high, counts, present_sum, present_count, samples)


def tabulate(evidence: Evidence, layer: str, classes: Sequence[str], colors: Mapping[str, str]) -> Dissection:
    """Return the dissection that follows from the evidence on a layer and a segmenter's classes."""
    iou, iqr, chosen = best_threshold(evidence.counts.double())
    best = iou.argsort(dim=1, descending=True)[:, :DEFAULT_UNITS]
    weight = torch.zeros_like(iou).scatter_(1, best, 1.0)[:, None].expand(-1, len(MEASURED), -1)
    shown = evidence.counts[0].sum(dim=1) > 0  # of the others, nothing is known
    present = (evidence.sums / evidence.cells.clamp_min(1)[:, None]).float()
    return Dissection(
        layer=layer,
        concepts=tuple(classes),
        iou=iou,
        iqr=iqr,
        high=evidence.high,
        present=present,
        level=present.clone(),
        weight=weight * shown[:, None, None],
        effect=torch.zeros(len(classes), 2),
        colors={name: colors.get(name, "#8888ff") for name in classes},
        samples=evidence.samples,
        threshold=evidence.thresholds.gather(1, chosen.T).T.contiguous(),
    )


Numbered = Sequence[tuple[int, State]]
Result = TypeVar("Result")


def _spread(
    executor: Executor | None,
    work: Callable[[Numbered], Result],
    batches: Numbered,
    report: Callable[[int], None],
) -> Iterable[Result]:
    """Yield the results of ``work`` in order: batch by batch here, or in chunks from an executor."""
    if executor is None:
        for done, one in enumerate(batches, start=1):
            follow_load()
            yield work([one])
            report(done)
        return
    length = -(-len(batches) // CHUNKS)
    chunks = [batches[start : start + length] for start in range(0, len(batches), length)]
    futures = [executor.submit(work, chunk) for chunk in chunks]
    try:
        for done, future in enumerate(futures, start=1):
            yield future.result()
            report(min(len(batches), done * length))
    finally:
        for future in futures:
            future.cancel()


@dataclass(frozen=True)
class Probe:
    """Activations and labels of a batch, at random places that depend on the batch's number alone."""

    generator: StagedGenerator
    segmenter: Segmenter
    layer: str
    pixels: int = 512
    seed: int = 0
    rotation: Tensor | None = None

    def features(self, state: State) -> tuple[State, Tensor]:
        """Return the state at the layer, and its units' activations, float32 B x C x h x w."""
        state = self.generator.run(state, until=self.layer)
        features = state.features.float().cpu()
        if self.rotation is not None:
            features = torch.einsum("dc,bchw->bdhw", self.rotation.to(features), features)
        return state, features

    def __call__(self, number: int, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return features B x C x h x w, labels B x H x W, and P = B * pixels labels and C x P values."""
        state, features = self.features(state)
        labels = labeled(self.generator, self.segmenter, state)
        height, width = labels.shape[-2:]
        places = random_places(len(labels), self.pixels, height * width, self.seed, number)
        chosen = labels.flatten(1).gather(1, places).flatten()
        return features, labels, chosen, values_at(features, places, height, width)


def random_places(count: int, pixels: int, most: int, seed: int, number: int) -> Tensor:
    """Return count x ``pixels`` random places of ``most``, the same for the same batch ``number``."""
    random = torch.Generator().manual_seed(1 + seed + 1_000_003 * number)
    return torch.randint(most, (count, pixels), generator=random)


def values_at(features: Tensor, places: Tensor, height: int, width: int) -> Tensor:
    """Return activations at some pixels of pictures, upsampled to them bilinearly.

    Args:
        features: B x C x h x w.
        places: B x P, flat places in ``height`` x ``width`` pixels.

    Returns:
        C x (B P).
    """
    at = torch.stack([(places % width + 0.5) / width, (places // width + 0.5) / height], dim=-1)
    values = F.grid_sample(features, 2 * at[:, None] - 1, padding_mode="border", align_corners=False)
    return values[:, :, 0].transpose(0, 1).flatten(1).contiguous()


# Classes rather than closures, because pickle can send them to processes.


@dataclass(frozen=True)
class _Gather:
    """The job that gathers values of each unit for the thresholds: C x ``share`` for each batch."""

    probe: Probe
    share: int

    @torch.no_grad()
    def __call__(self, batches: Numbered) -> list[Tensor]:
        found = []
        for number, state in batches:
            probe = self.probe
            _, features = probe.features(state)
            size = probe.generator.resolution
            places = random_places(len(features), probe.pixels, size**2, probe.seed, number)
            values = values_at(features, places, size, size)
            found.append(values[:, :: max(1, values.shape[1] // self.share)][:, : self.share].clone())
        return found


@dataclass(frozen=True)
class _Count:
    """The job that counts several batches, and sums each one's cells in which a concept is present."""

    probe: Probe
    thresholds: Tensor

    @torch.no_grad()
    def __call__(self, batches: Numbered) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        concepts = len(self.probe.segmenter.classes)
        counts = torch.zeros(len(self.thresholds), concepts, THRESHOLDS + 1, dtype=torch.int64)
        sums = []
        for number, state in batches:
            features, labels, chosen, values = self.probe(number, state)
            counts += tally(values, chosen, self.thresholds, concepts)
            shares = F.one_hot(labels, concepts).permute(0, 3, 1, 2).float()
            inside = (F.adaptive_avg_pool2d(shares, _grid(features)) > 0.5).double()
            of_batch = torch.einsum("bkhw,bchw->kc", inside, features.double())
            sums.append((of_batch, inside.sum(dim=(0, 2, 3))))
        return counts, sums


def quantiles(ranked: Tensor) -> Tensor:
    """Return the quantiles of C x P sorted values as rising thresholds: C x T."""
    quantiles = 1 - torch.logspace(-3, 0, THRESHOLDS)
    return ranked[:, (quantiles * (ranked.shape[1] - 1)).round().long()].flip(1).contiguous()


def _grid(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]


def tally(values: Tensor, chosen: Tensor, thresholds: Tensor, concepts: int) -> Tensor:
    """Return counts[u, c, b]: the places of concept c at which unit u is above exactly b thresholds.

    Args:
        values: C x P.
        chosen: P concepts.
        thresholds: C x T, rising.
    """
    bins = torch.searchsorted(thresholds, values)
    unit = torch.arange(len(values))[:, None]
    flat = (unit * concepts + chosen) * (thresholds.shape[1] + 1) + bins
    shape = (len(values), concepts, thresholds.shape[1] + 1)
    return torch.bincount(flat.flatten(), minlength=shape[0] * shape[1] * shape[2]).view(shape)


def best_threshold(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return IoU, IQR and number of each pair's best threshold (K x C each), from counts C x K x (T + 1)."""
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
    # IQR is as high for a unit that marks the concept's absence. Only units that go with the concept count.
    iqr = torch.where(above * total > on * of_concept, iqr, torch.zeros(()))
    best = iqr.argmax(dim=2, keepdim=True)
    return (
        iou.gather(2, best)[..., 0].T.float().contiguous(),
        iqr.gather(2, best)[..., 0].T.float().contiguous(),
        best[..., 0].T.contiguous(),
    )
