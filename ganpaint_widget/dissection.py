"""What the units of a layer know: units x concepts, after Network Dissection and GAN Dissection.

For every unit u of a layer and every concept c, the unit's activation, upsampled to the picture, is
thresholded and compared with the segmenter's map over many samples::

    IoU(u, c) = |on and c| / |on or c|

The threshold is chosen for each pair by the *information quality ratio*: mutual information over joint
entropy of the two binary maps (Bau et al. 2019; a fixed top quantile would cap the IoU of large classes). A
unit counts as interpretable for a concept from IoU > .05 and IQR > .01 on.

How much of that is the units' own doing? Two baselines answer in the same numbers: a random rotation of the
layer's axes (``dissect(..., rotation=random_rotation(...))``), and :func:`position_baseline`, a detector that
has seen where a concept usually is and never looks at the picture. What units *cause* is measured by
:func:`causal_effect` and, against their number, by :func:`causal_curve`.

Counting is spread over any ``concurrent.futures.Executor``, a pool of processes or the client of a cluster,
and gives the same numbers as without one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from .editing import DEFAULT_UNITS, Edit, Levels, Mask, apply
from .errors import GANPaintError
from .generators.checkpoints import read_safetensors, write_safetensors
from .generators.staged import StagedGenerator, State
from .jobs import Ticket
from .segmentation import Segmenter

THRESHOLDS = 100
"""Thresholds tried for each unit: log-spaced upper quantiles from 1e-3 to 1 (as in the public code)."""

POOL = 2**15
"""Values of each unit from which its thresholds are taken: 33 of them above the highest threshold."""

CHUNKS = 16
"""Into how many pieces counting is cut for an executor: each takes a copy of the generator along."""

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
        threshold: K x C, the activation above which a pair's IoU counts a unit as on; ``None`` where that is
            not known (published units, files of earlier versions).
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
    threshold: Tensor | None = None

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

    def on(self, concept: str, features: Tensor, count: int) -> Tensor:
        """Where the ``count`` best units of a concept are on: B x C x H x W to boolean B x count x H x W.

        A unit is on above its threshold; where that is not known, above its mean where the concept is.
        """
        units, row = self.units(concept, count), self.index(concept)
        least = self.present if self.threshold is None else self.threshold
        return features[:, units] > least[row, units].to(features).view(1, -1, 1, 1)

    def labels(self) -> list[str | None]:
        """Each unit's concept: that of its best IoU among those for which it is interpretable, if any."""
        known = (self.iou > MINIMUM_IOU) & (self.iqr > MINIMUM_IQR)
        best = torch.where(known, self.iou, torch.full_like(self.iou, -1)).max(dim=0)
        return [
            self.concepts[row] if value >= 0 else None
            for value, row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]

    def interpretable(self, concept: str) -> int:
        """How many units are interpretable for the concept."""
        row = self.index(concept)
        return int(((self.iou[row] > MINIMUM_IOU) & (self.iqr[row] > MINIMUM_IQR)).sum())

    def interpretable_units(self) -> int:
        """How many units are interpretable for at least one concept."""
        return int(((self.iou > MINIMUM_IOU) & (self.iqr > MINIMUM_IQR)).any(dim=0).sum())

    def table(self) -> list[dict[str, Any]]:
        """For each concept: its best unit with IoU and IQR, how many are interpretable, what edits cause."""
        best = self.iou.argmax(dim=1).tolist()
        return [
            {
                "concept": concept,
                "unit": unit,
                "iou": float(self.iou[row, unit]),
                "iqr": float(self.iqr[row, unit]),
                "interpretable": self.interpretable(concept),
                "added": float(self.effect[row, 0]),
                "removed": float(self.effect[row, 1]),
            }
            for row, (concept, unit) in enumerate(zip(self.concepts, best, strict=True))
        ]

    def quality(self, concept: str) -> float:
        """How well the generator knows the concept, 0 to 1: the mean of adding's and removing's effect."""
        return float(self.effect[self.index(concept)].mean().clamp(0, 1))

    def save(self, path: Path) -> None:
        """Write as safetensors, with names and colours in the metadata."""
        tensors = {name: getattr(self, name).contiguous() for name in TENSORS}
        if self.threshold is not None:
            tensors["threshold"] = self.threshold.contiguous()
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
            **{name: one.float() for name, one in tensors.items() if name in (*TENSORS, "threshold")},
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
    rotation: Tensor | None = None,
    colors: Mapping[str, str] | None = None,
    executor: Executor | None = None,
    ticket: Ticket | None = None,
) -> Dissection:
    """Dissect a layer on ``samples`` generated pictures, in memory that does not grow with their number.

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
        rotation: C x C, orthogonal: its rows are the "units" that are measured, instead of the layer's own.
        colors: concept to "#rrggbb", kept with the result.
        executor: where to count; generator and segmenter must be such as it can send (for processes: such
            as pickle can). Pools of processes should be spawned, for torch does not survive a fork well.
        ticket: progress and cancel.
    """
    layer = layer or generator.edit_layer
    if states is None:
        states = _drawn(generator, samples, seed, batch)
    samples = sum(len(state.features) for state in states)
    concepts = len(segmenter.classes)
    probe = _Probe(generator, segmenter, layer, pixels, seed, rotation)
    numbered = list(enumerate(states))

    first = numbered[: max(1, len(numbered) // 4)]
    share = max(1, POOL // len(first))

    def report(done: int) -> None:
        if ticket is not None:
            ticket.checkpoint(done / (len(first) + len(numbered)))

    gathered = _spread(executor, _Gather(probe, share), first, report)
    pool = torch.cat([values for chunk in gathered for values in chunk], dim=1).sort(dim=1).values
    channels = len(pool)
    thresholds = _thresholds(pool)
    high = pool[:, round(LEVEL_QUANTILE * (pool.shape[1] - 1))]

    counts = torch.zeros(channels, concepts, THRESHOLDS + 1, dtype=torch.int64)
    present_sum = torch.zeros(concepts, channels, dtype=torch.float64)
    present_count = torch.zeros(concepts, 1, dtype=torch.float64)

    counting = _spread(executor, _Count(probe, thresholds), numbered, lambda done: report(len(first) + done))
    for counted, sums in counting:
        counts += counted
        for of_batch, cells in sums:  # each by itself, so that the order of additions is always the same
            present_sum += of_batch
            present_count += cells
    iou, iqr, chosen = _best_threshold(counts.double())
    best = iou.argsort(dim=1, descending=True)[:, :DEFAULT_UNITS]
    weight = torch.zeros_like(iou).scatter_(1, best, 1.0)[:, None].expand(-1, len(MEASURED), -1)
    present = (present_sum / present_count.clamp_min(1)).float()
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
        threshold=thresholds.gather(1, chosen.T).T.contiguous(),
    )


Numbered = Sequence[tuple[int, State]]
Result = TypeVar("Result")


def _spread(
    executor: Executor | None,
    work: Callable[[Numbered], Result],
    batches: Numbered,
    report: Callable[[int], None],
) -> Iterable[Result]:
    """``work`` done on all batches, in order: one after the other here, or in chunks by an executor."""
    if executor is None:
        for done, one in enumerate(batches, start=1):
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
class _Probe:
    """Activations and labels of a batch, at random places that depend on the batch's number alone."""

    generator: StagedGenerator
    segmenter: Segmenter
    layer: str
    pixels: int
    seed: int
    rotation: Tensor | None

    def __call__(self, number: int, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features B x C x h x w, labels B x H x W; at P = B * pixels places labels and values C x P."""
        state = self.generator.run(state, until=self.layer)
        labels = self.segmenter.segment(self.generator.picture(self.generator.run(state)).clamp(-1, 1)).cpu()
        features = state.features.float().cpu()
        if self.rotation is not None:
            features = torch.einsum("dc,bchw->bdhw", self.rotation.to(features), features)
        places = _places(labels, self.pixels, self.seed, number)
        # Bilinear with half-pixel alignment.
        full = F.interpolate(features, size=labels.shape[-2:], mode="bilinear", align_corners=False)
        values = full.flatten(2).gather(2, places[:, None].expand(-1, features.shape[1], -1))
        chosen = labels.flatten(1).gather(1, places).flatten()
        return features, labels, chosen, values.transpose(0, 1).flatten(1).contiguous()


# Classes and not closures, because processes have to be sent them.


@dataclass(frozen=True)
class _Gather:
    """Some of each unit's values, from which the thresholds will be taken: C x ``share`` for each batch."""

    probe: _Probe
    share: int

    @torch.no_grad()
    def __call__(self, batches: Numbered) -> list[Tensor]:
        found = []
        for number, state in batches:
            values = self.probe(number, state)[3]
            found.append(values[:, :: max(1, values.shape[1] // self.share)][:, : self.share].clone())
        return found


@dataclass(frozen=True)
class _Count:
    """The counts of several batches, and of each the sums over the cells in which a concept is present."""

    probe: _Probe
    thresholds: Tensor

    @torch.no_grad()
    def __call__(self, batches: Numbered) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        concepts = len(self.probe.segmenter.classes)
        counts = torch.zeros(len(self.thresholds), concepts, THRESHOLDS + 1, dtype=torch.int64)
        sums = []
        for number, state in batches:
            features, labels, chosen, values = self.probe(number, state)
            counts += _tally(values, chosen, self.thresholds, concepts)
            shares = F.one_hot(labels, concepts).permute(0, 3, 1, 2).float()
            inside = (F.adaptive_avg_pool2d(shares, _grid(features)) > 0.5).double()
            of_batch = torch.einsum("bkhw,bchw->kc", inside, features.double())
            sums.append((of_batch, inside.sum(dim=(0, 2, 3))[:, None]))
        return counts, sums


def _drawn(generator: StagedGenerator, samples: int, seed: int, batch: int) -> list[State]:
    """States of ``samples`` latents, before the first stage."""
    device = next(generator.parameters()).device
    return [generator.start(z.to(device)) for z in torch.split(generator.sample_z(samples, seed), batch)]


def _thresholds(ranked: Tensor) -> Tensor:
    """C x T, growing: the quantiles of C x P values that are ranked already."""
    quantiles = 1 - torch.logspace(-3, 0, THRESHOLDS)
    return ranked[:, (quantiles * (ranked.shape[1] - 1)).round().long()].flip(1).contiguous()


def _places(labels: Tensor, pixels: int, seed: int, number: int) -> Tensor:
    """B x ``pixels`` random flat places in pictures, the same for the same batch ``number``."""
    random = torch.Generator().manual_seed(1 + seed + 1_000_003 * number)
    return torch.randint(labels[0].numel(), (len(labels), pixels), generator=random)


def _grid(features: Tensor) -> tuple[int, int]:
    return features.shape[-2], features.shape[-1]


def _tally(values: Tensor, chosen: Tensor, thresholds: Tensor, concepts: int) -> Tensor:
    """counts[u, c, b]: places of concept c at which unit u lies above exactly b of its thresholds.

    Args:
        values: C x P.
        chosen: P concepts.
        thresholds: C x T, growing.
    """
    bins = torch.searchsorted(thresholds, values)
    unit = torch.arange(len(values))[:, None]
    flat = (unit * concepts + chosen) * (thresholds.shape[1] + 1) + bins
    shape = (len(values), concepts, thresholds.shape[1] + 1)
    return torch.bincount(flat.flatten(), minlength=shape[0] * shape[1] * shape[2]).view(shape)


def _best_threshold(counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """IoU and IQR at each pair's best threshold, and which that is (K x C each), from C x K x (T + 1)."""
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
    return (
        iou.gather(2, best)[..., 0].T.float().contiguous(),
        iqr.gather(2, best)[..., 0].T.float().contiguous(),
        best[..., 0].T.contiguous(),
    )


# --- baselines ---


def random_rotation(channels: int, seed: int = 0) -> Tensor:
    """A random orthogonal matrix C x C, all directions alike (QR of a Gaussian one, its signs made even)."""
    source = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(channels, channels, generator=source, dtype=torch.float64))
    rotation: Tensor = q * r.diagonal().sign()
    return rotation.float()


@dataclass(frozen=True)
class PositionBaseline:
    """How well a concept can be found without looking: K concepts with ``iou`` and ``iqr`` (K each).

    A concept's best unit knows something of it where its IoU is above this one.
    """

    concepts: tuple[str, ...]
    iou: Tensor
    iqr: Tensor


@torch.no_grad()
def position_baseline(
    generator: StagedGenerator,
    segmenter: Segmenter,
    *,
    samples: int = 1000,
    states: Sequence[State] | None = None,
    seed: int = 0,
    batch: int = 25,
    pixels: int = 512,
) -> PositionBaseline:
    """The IoU of a detector that knows only how often each concept is at each pixel.

    The frequencies come from the first half of the samples; they are measured on the second half like the
    activations of a unit, the threshold chosen by IQR as for units.

    Args:
        generator, segmenter, samples, states, seed, batch, pixels: as for :func:`dissect`.
    """
    if states is None:
        states = _drawn(generator, samples, seed, batch)
    if len(states) < 2:
        raise GANPaintError("There is only one batch of samples.", "Take more samples, or smaller batches.")
    concepts = len(segmenter.classes)
    half = len(states) // 2
    often: Tensor | None = None
    for state in states[:half]:
        labels = segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1)).cpu()
        found = F.one_hot(labels, concepts).permute(0, 3, 1, 2).double().sum(dim=0)
        often = found if often is None else often + found
    assert often is not None
    frequency = (often / sum(len(state.features) for state in states[:half])).flatten(1).float()
    ranked = frequency.sort(dim=1).values
    thresholds = _thresholds(ranked)
    counts = torch.zeros(concepts, concepts, THRESHOLDS + 1, dtype=torch.int64)
    for number, state in enumerate(states[half:]):
        labels = segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1)).cpu()
        places = _places(labels, pixels, seed, number)
        chosen = labels.flatten(1).gather(1, places).flatten()
        counts += _tally(frequency[:, places.flatten()].contiguous(), chosen, thresholds, concepts)
    iou, iqr, _ = _best_threshold(counts.double())
    return PositionBaseline(tuple(segmenter.classes), iou.diagonal().clone(), iqr.diagonal().clone())


# --- units that cause artifacts ---


@dataclass(frozen=True)
class ArtifactCandidate:
    """A unit whose strongest pictures are unlike the others.

    Attributes:
        unit: its number.
        distance: Fréchet distance of its pictures' features from those of all.
        excess: by how many standard deviations that is above the distance of as many random pictures.
    """

    unit: int
    distance: float
    excess: float


@torch.no_grad()
def artifact_candidates(
    generator: StagedGenerator,
    features: Callable[[Tensor], Sequence[Tensor]],
    *,
    layer: str | None = None,
    real: Tensor | None = None,
    samples: int = 500,
    top: int = 25,
    seed: int = 0,
    batch: int = 25,
    ticket: Ticket | None = None,
) -> list[ArtifactCandidate]:
    """All units, those first that are the likeliest to cause artifacts: candidates for an eye to judge.

    After GAN Dissection (Bau et al. 2019, section 4.2), which ranks units by the Fréchet distance between
    real pictures and those samples that activate a unit most. Here any network's features will do, averaged
    over the picture, and the covariances are taken as diagonal: ``|m - m'|^2 + sum (sd - sd')^2``. Units of
    rare concepts rank high, too. To switch units off, see ``EditingSession.suppress``.

    Args:
        generator: G.
        features: pictures B x 3 x R x R in [-1, 1] to feature maps, for example a segmenter's.
        layer: the stage, the edit layer by default.
        real: pictures to compare with, N x 3 x R x R; by default all samples.
        samples: generated pictures.
        top: how many of them count as a unit's strongest.
        seed: of the latents.
        batch: pictures at a time.
        ticket: progress and cancel.
    """
    layer = layer or generator.edit_layer
    device = next(generator.parameters()).device

    def described(pictures: Tensor) -> Tensor:
        return torch.cat(
            [one.float().mean(dim=(2, 3)) for one in features(pictures.clamp(-1, 1))], dim=1
        ).cpu()

    strengths, descriptions = [], []
    for z in torch.split(generator.sample_z(samples, seed), batch):
        state = generator.run(generator.start(z.to(device)), until=layer)
        strengths.append(state.features.float().amax(dim=(2, 3)).cpu())
        descriptions.append(described(generator.picture(generator.run(state))))
        if ticket is not None:
            ticket.checkpoint(batch * len(strengths) / samples)
    strength, description = torch.cat(strengths), torch.cat(descriptions)
    usual = description if real is None else torch.cat([described(part) for part in torch.split(real, batch)])
    # Each feature in units of its own spread, or the largest ones would decide alone.
    scale = usual.std(dim=0).clamp_min(1e-6)
    mean, deviation = (usual / scale).mean(dim=0), (usual / scale).std(dim=0)

    def distance(chosen: Tensor) -> float:
        part = description[chosen] / scale
        return float((part.mean(dim=0) - mean).square().sum() + (part.std(dim=0) - deviation).square().sum())

    random = torch.Generator().manual_seed(seed)
    chance = torch.tensor([distance(torch.randperm(samples, generator=random)[:top]) for _ in range(200)])
    found = []
    for unit, order in enumerate(strength.argsort(dim=0, descending=True)[:top].T):
        value = distance(order)
        excess = (value - float(chance.mean())) / max(float(chance.std()), 1e-9)
        found.append(ArtifactCandidate(unit, value, excess))
    return sorted(found, key=lambda one: one.distance, reverse=True)


# --- what units cause ---


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


@torch.no_grad()
def likely_examples(
    generator: StagedGenerator, segmenter: Segmenter, concept: str, state: State, *, seed: int = 0
) -> list[Examples]:
    """Additions at likely places and removals of what is there, for a generator without ground truth.

    Around an addition the picture should show what it showed before.
    """
    row, random = segmenter.classes.index(concept), torch.Generator().manual_seed(seed)
    labels = segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1))
    found = labels == row
    cell = labels.shape[-1] // state.features.shape[-1]
    made = []
    patches = [_likely_patch(found, one, state, random, 2 + one % 2) for one in range(len(found))]
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

    After GAN Dissection's optimised interventions (Bau et al. 2019, section 3.2): gradient descent on the
    negative log probability, by the segmenter, of what the edited pictures should show, and a penalty on the
    mean weight. Here it counts inside the mask and, as much, around it: what spills over is lost. Where the
    true pictures are known, the colours inside the mask count, too. The level starts from ``present`` and may
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
    deviation = torch.cat([one.state.features for one in examples]).std(dim=(0, 2, 3))
    offset = torch.zeros_like(deviation).requires_grad_()
    logits = torch.stack([torch.full_like(deviation, 1.5), torch.zeros_like(deviation)]).requires_grad_()
    optimiser = torch.optim.Adam([offset, logits], lr=0.05)
    for _ in range(steps):
        level, weight = dissection.present[row] + deviation * offset, logits.sigmoid()
        loss = offset.square().mean() + 0.3 * weight.mean(dim=1).sum()
        for kind in examples:
            drawn = torch.randperm(len(kind.masks), generator=random)[:batch].tolist()
            loss = loss + _lesson(
                generator, segmenter, concept, wanted, kind, drawn, _Candidate(level, weight)
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    levels, weights = dissection.level.clone(), dissection.weight.clone()
    levels[row] = (dissection.present[row] + deviation * offset).detach()
    weights[row] = logits.sigmoid().detach()
    return replace(dissection, level=levels, weight=weights)


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
    masks, labels = examples.masks[drawn], examples.labels[drawn]
    edited = [
        apply(
            examples.state.one(one),
            [Edit("e", examples.verb, concept, _painted(mask))],
            candidate,
        ).features
        for one, mask in zip(drawn, masks, strict=True)
    ]
    picture = generator.picture(generator.run(examples.state.pick(drawn).replace(torch.cat(edited))))
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
        off = (picture - examples.pictures[drawn]).abs().mean(dim=1)
        loss = loss + 2 * (off * masks).sum() / masks.sum()
    return loss


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
    units: tuple[int, ...] | None = None,
    levels: Levels | None = None,
    samples: int = 100,
    state: State | None = None,
    seed: int = 10_000,
) -> tuple[float, float]:
    """How far adding and removing a concept with the editor's own edits works on generated pictures.

    For each sample one square patch of 3 x 3 cells is added where the concept is absent, at a cell drawn
    in proportion to how often the concept is found there (a *likely place*; the effect is read at that
    place, unlike in the public code), and the concept is removed under its own mask.

    Args:
        units, levels: of one's own (C values, float32), as a brush has them; by default the dissection's.
        samples, state, seed: generated pictures, or a batch of states at the layer to take instead.

    Returns:
        (added, removed): the mean share of the patch's pixels that became the concept, and the mean
        share of the concept's pixels that ceased to be it; each 0 where no sample offered a place.
    """
    if state is None:
        state = generator.run(generator.start(generator.sample_z(samples, seed)), until=dissection.layer)
    trial = _Trial(generator, segmenter, dissection, concept, state, seed)
    return trial.share("add", trial.patches, units, levels), trial.share("remove", trial.objects, units)


@torch.no_grad()
def unit_effects(
    generator: StagedGenerator,
    segmenter: Segmenter,
    layer: str,
    levels: Tensor,
    *,
    samples: int = 8,
    seed: int = 10_000,
    ticket: Ticket | None = None,
) -> Tensor:
    """The average causal effect of every single unit on every class's area: K x C, as shares of the picture.

    With one unit u set to its level at all places, and with it set to 0 at all places (GAN Dissection, ICLR
    2019, section 3.2)::

        ACE(u, c) = mean over pictures of area(c; u on) - area(c; u off)

    Units work together, so that a single one often causes little; :func:`causal_curve` is about sets.

    Args:
        generator, segmenter: G, and what names its pixels.
        layer: whose C units.
        levels: C, the activations that mean "on": as published, each unit's 0.99 quantile.
        samples: pictures; each is drawn 2 C times.
        seed: of the pictures.
        ticket: progress and cancel.
    """
    device = next(generator.parameters()).device
    state = generator.run(generator.start(generator.sample_z(samples, seed).to(device)), until=layer)
    classes = len(segmenter.classes)
    effects = torch.zeros(classes, len(levels))
    for unit, level in enumerate(levels.tolist()):
        areas = []
        for value in (level, 0.0):
            features = state.features.clone()
            features[:, unit] = value
            picture = generator.picture(generator.run(state.replace(features)))
            labels = segmenter.segment(picture.clamp(-1, 1)).flatten()
            areas.append(torch.bincount(labels.cpu(), minlength=classes) / labels.numel())
        effects[:, unit] = areas[0] - areas[1]
        if ticket is not None:
            ticket.checkpoint((unit + 1) / len(levels))
    return effects


@dataclass(frozen=True)
class CausalCurve:
    """What the best 1, 2, ... units of a concept cause; all tuples are as long as ``units``.

    Attributes:
        concept: its name.
        units: numbers of units.
        added: mean share of a patch at a likely place that became the concept.
        removed: mean share of the concept's pixels that ceased to be it, with the units off at these pixels.
        ablated: the same with the units off in the whole picture, as published in GAN Dissection.
    """

    concept: str
    units: tuple[int, ...]
    added: tuple[float, ...]
    removed: tuple[float, ...]
    ablated: tuple[float, ...]


@torch.no_grad()
def causal_curve(
    generator: StagedGenerator,
    segmenter: Segmenter,
    dissection: Dissection,
    concept: str,
    *,
    units: Sequence[int] = range(1, 41),
    ranking: Sequence[int] | None = None,
    samples: int = 50,
    state: State | None = None,
    seed: int = 10_000,
    ticket: Ticket | None = None,
) -> CausalCurve:
    """Added and removed shares against the number of units, which act wholly, one after the other.

    All numbers of units are tried at the same places of the same pictures; see :func:`causal_effect`.

    Args:
        units: which numbers of units to try, each at most C.
        ranking: the order in which units come in; by default that of their IoU.
        samples, state, seed: generated pictures, or a batch of states at the layer to take instead.
        ticket: progress and cancel.
    """
    if state is None:
        state = generator.run(generator.start(generator.sample_z(samples, seed)), until=dissection.layer)
    trial = _Trial(generator, segmenter, dissection, concept, state, seed)
    everywhere = {one: torch.ones_like(patch) for one, patch in trial.objects.items()}
    rows = []
    for done, count in enumerate(units, start=1):
        order = dissection.units(concept, count).tolist() if ranking is None else ranking
        chosen = tuple(order[:count])
        rows.append(
            (
                trial.share("add", trial.patches, chosen),
                trial.share("remove", trial.objects, chosen),
                trial.share("remove", everywhere, chosen),
            )
        )
        if ticket is not None:
            ticket.checkpoint(done / len(units))
    added, removed, ablated = (tuple(column) for column in zip(*rows, strict=True)) if rows else ((), (), ())
    return CausalCurve(concept, tuple(units), added, removed, ablated)


class _Trial:
    """Pictures with places at which a concept can be added and removed, and the effect of doing it.

    Attributes:
        patches: for the number of a picture, a likely place that lacks the concept: bool H x W.
        objects: for the number of a picture, where the concept is.
    """

    BATCH = 16

    def __init__(
        self,
        generator: StagedGenerator,
        segmenter: Segmenter,
        dissection: Dissection,
        concept: str,
        state: State,
        seed: int,
    ) -> None:
        self.generator, self.segmenter, self.dissection = generator, segmenter, dissection
        self.concept, self.state = concept, state
        # The dissection may know fewer concepts than the segmenter.
        self.row = segmenter.classes.index(concept)
        random = torch.Generator().manual_seed(seed)
        found = torch.cat(
            [
                _found(generator, segmenter, state.pick(part), self.row)
                for part in _parts(range(len(state.features)), self.BATCH)
            ]
        )
        self.patches: dict[int, Tensor] = {}
        self.objects: dict[int, Tensor] = {}
        for one in range(len(found)):
            patch = _likely_patch(found, one, state, random, 3)
            if patch is not None:
                self.patches[one] = patch
            if int(found[one].sum()) >= MINIMUM_AREA:
                self.objects[one] = found[one]

    def share(
        self,
        verb: str,
        masks: Mapping[int, Tensor],
        units: tuple[int, ...] | None,
        levels: Levels | None = None,
    ) -> float:
        """The mean share of what is looked at that has become the concept, or for removing ceased to be.

        Looked at is the mask when adding, and where the concept was when removing. ``levels`` are those of
        the edit, where they are not the dissection's.
        """
        shares: list[float] = []
        for part in _parts(list(masks), self.BATCH):
            edited = [
                apply(
                    self.state.one(one),
                    [Edit("e", verb, self.concept, _painted(masks[one]), units=units, levels=levels)],
                    self.dissection,
                ).features
                for one in part
            ]
            state = self.state.pick(part).replace(torch.cat(edited))
            found = _found(self.generator, self.segmenter, state, self.row)
            for one, after in zip(part, found, strict=True):
                place = masks[one] if verb == "add" else self.objects[one]
                inside = float(after[place].float().mean())
                shares.append(inside if verb == "add" else 1 - inside)
        return sum(shares) / max(1, len(shares))


def _painted(mask: Tensor) -> Mask:
    """A mask of an edit from a boolean one."""
    painted: Mask = (mask * 255).byte().cpu().numpy()
    return painted


def _parts(numbers: Sequence[int], length: int) -> list[list[int]]:
    return [list(numbers[start : start + length]) for start in range(0, len(numbers), length)]
