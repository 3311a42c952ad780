"""Stored measurements of a layer: its strongest samples, its baselines, and its units' effects."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..dissection import (
    dissect,
    position_baseline,
    random_rotation,
    unit_effects,
)
from ..images.arrays import Array, Floats, array_of
from ..images.files import encode_jpeg
from ..models.generator import StagedGenerator
from ..models.networks import evaluated
from ..models.units import Dissection
from ..storage import damaged, read_safetensors, write_safetensors
from ..tickets import Ticket, share_of

STRONGEST: Final = 4
"""Samples of each unit that the atlas keeps."""

THUMBNAIL: Final = 128
"""The largest side of the atlas's samples, in pixels."""

BINS: Final = 48
"""Bins of each unit's histogram."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """The samples that activate each of a layer's C units most, and statistics over many samples.

    Attributes:
        samples: the number of samples: those of ``generator.sample_z(samples, seed)``.
        seed: of their latents.
        files: a JPEG of each sample that is among some unit's strongest; ``strongest`` counts them from 0.
        numbers: the number of the sample in each file.
        strongest: C x S, the files of the S samples with the highest activation anywhere, highest first.
        peaks: C x S, those activations.
        maps: float16 C x S x h x w, the unit's activation in them.
        counts: C x B, the histogram over all cells of all samples. The outer bins include values beyond them.
        edges: C x (B + 1), the bins' edges.
        correlation: C x C, Pearson's, over all cells of all samples.
    """

    samples: int
    seed: int
    files: tuple[bytes, ...]
    numbers: tuple[int, ...]
    strongest: npt.NDArray[np.int64]
    peaks: Floats
    maps: npt.NDArray[np.float16]
    counts: npt.NDArray[np.int64]
    edges: Floats
    correlation: Floats

    def sample(self, file: int) -> Array:
        """Decode one of the files: uint8 T x T x 3."""
        return _decoded(self.files[file])

    def tile(self, file: int, size: int) -> Array:
        """Decode and resize one of the files: uint8 size x size x 3."""
        return _decoded(self.files[file], size)

    def quantile(self, unit: int, share: float) -> float:
        """Return the activation below which a share of all cells of all samples lies, from the histogram."""
        below = np.concatenate([[0], np.cumsum(self.counts[unit])])
        return float(np.interp(share * below[-1], below, self.edges[unit]))

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        arrays = {name: getattr(self, name) for name in _ATLAS}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        tensors["files"] = torch.frombuffer(bytearray(b"".join(self.files)), dtype=torch.uint8)
        config = {
            "samples": self.samples,
            "seed": self.seed,
            "numbers": self.numbers,
            "lengths": [len(file) for file in self.files],
        }
        _write(path, tensors, "atlas", config)

    @classmethod
    def load(cls, path: Path) -> Atlas:
        """Read what :meth:`save` wrote; a foreign or damaged file raises one clear error."""
        tensors, config = read_safetensors(path, "atlas")
        try:
            whole = tensors["files"].numpy().tobytes()
            ends = np.cumsum([0, *config["lengths"]]).tolist()
            files = tuple(whole[start:end] for start, end in pairwise(ends))
            arrays = {name: tensors[name].numpy() for name in _ATLAS}
            found = cls(config["samples"], config["seed"], files, tuple(config["numbers"]), **arrays)
            if ends[-1] != len(whole):
                raise ValueError("files of other lengths")
            found._check()
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, "atlas", error) from error
        return found

    def _check(self) -> None:
        """Raise ValueError if the parts do not fit together. Files are only decoded when they are shown."""
        units, strongest = self.strongest.shape
        shapes = {
            "peaks": (units, strongest),
            "maps": (units, strongest, *self.maps.shape[2:]),
            "counts": (units, self.counts.shape[-1]),
            "edges": (units, self.counts.shape[-1] + 1),
            "correlation": (units, units),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise ValueError(f"{name} of the shape {array.shape}, or not finite")
        if self.maps.ndim != 4 or not (type(self.samples) is type(self.seed) is int):
            raise ValueError("no maps, or no numbers of samples")
        if len(self.numbers) != len(self.files) or not all(type(number) is int for number in self.numbers):
            raise ValueError(f"{len(self.numbers)} numbers of {len(self.files)} files")
        if self.strongest.size and not 0 <= self.strongest.min() <= self.strongest.max() < len(self.files):
            raise ValueError("a file that is not there")
        if any(file[:2] != b"\xff\xd8" or file[-2:] != b"\xff\xd9" for file in self.files):
            raise ValueError("a file that is not a whole JPEG")


_ATLAS = ("strongest", "peaks", "maps", "counts", "edges", "correlation")


@lru_cache(maxsize=1024)
def _decoded(file: bytes, size: int | None = None) -> Array:
    if size is None:
        with Image.open(io.BytesIO(file)) as image:
            array = np.asarray(image.convert("RGB"))
    else:
        array = _decoded(file)
        if array.shape[:2] != (size, size):
            array = np.asarray(Image.fromarray(array).resize((size, size), Image.Resampling.LANCZOS))
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Baselines:
    """Numbers of units that would look interpretable by chance, for K concepts in the same samples.

    Attributes:
        samples: the number of samples.
        concepts: their names.
        units: units per concept (by label), for the layer's own axes.
        rotated: the same for randomly rotated axes.
        position: IoU of a detector that knows the usual place of a concept and never looks at the picture.
    """

    samples: int
    concepts: tuple[str, ...]
    units: tuple[int, ...]
    rotated: tuple[int, ...]
    position: tuple[float, ...]

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        tensors = {name: torch.tensor(getattr(self, name)) for name in ("units", "rotated", "position")}
        _write(path, tensors, "baselines", {"samples": self.samples, "concepts": self.concepts})

    @classmethod
    def load(cls, path: Path) -> Baselines:
        """Read what :meth:`save` wrote; a foreign or damaged file raises one clear error."""
        tensors, config = read_safetensors(path, "baselines")
        try:
            columns = {name: tuple(column.tolist()) for name, column in tensors.items()}
            found = cls(config["samples"], tuple(config["concepts"]), **columns)
            if {len(column) for column in columns.values()} - {len(found.concepts)}:
                raise ValueError("columns of several lengths")
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, "baselines", error) from error
        return found


@dataclass(frozen=True)
class Effects:
    """Average causal effects of single units; see ``dissection.unit_effects``. ``effect`` is K x C."""

    samples: int
    concepts: tuple[str, ...]
    effect: Tensor

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        config = {"samples": self.samples, "concepts": self.concepts}
        _write(path, {"effect": self.effect.contiguous()}, "effects", config)

    @classmethod
    def load(cls, path: Path) -> Effects:
        """Read what :meth:`save` wrote; a foreign or damaged file raises one clear error."""
        tensors, config = read_safetensors(path, "effects")
        try:
            found = cls(config["samples"], tuple(config["concepts"]), tensors["effect"])
            if found.effect.ndim != 2 or len(found.effect) != len(found.concepts):
                raise ValueError(f"effects of the shape {tuple(found.effect.shape)}")
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, "effects", error) from error
        return found


@evaluated
@torch.no_grad()
def make_atlas(
    generator: StagedGenerator,
    layer: str,
    *,
    samples: int = 500,
    seed: int = 0,
    batch: int = 12,
    draft: Callable[[Atlas], object] | None = None,
    ticket: Ticket | None = None,
) -> Atlas:
    """Find the generated pictures that activate each unit of a layer most.

    Memory does not grow with the number of pictures: each picture is kept as a JPEG, and only while it is
    among some unit's strongest.

    Args:
        generator, layer: G and the stage.
        samples, seed: the number of pictures, and the seed of their latents.
        batch: pictures at a time.
        draft: called with an atlas of the samples so far, after the first batch and each time that their
            number has doubled.
        ticket: progress and cancel.
    """
    channels, height, width = generator.shape(layer)
    peaks, numbers = torch.empty(channels, 0), torch.empty(channels, 0, dtype=torch.int64)
    maps = torch.empty(channels, 0, height, width, dtype=torch.float16)
    edges = torch.empty(0)
    counts = torch.zeros(channels, BINS, dtype=torch.int64)
    total, squares = torch.zeros(channels).double(), torch.zeros(channels, channels).double()
    cells = first = 0
    kept: dict[int, bytes] = {}

    def so_far() -> Atlas:
        order = sorted(kept)
        place = {number: index for index, number in enumerate(order)}
        mean = total / cells
        covariance = squares / cells - torch.outer(mean, mean)
        deviation = covariance.diagonal().clamp_min(1e-12).sqrt()
        return Atlas(
            first,
            seed,
            tuple(kept[number] for number in order),
            tuple(order),
            numbers.clone().apply_(lambda number: place[number]).numpy(),
            peaks.numpy(),
            maps.numpy(),
            counts.numpy().copy(),
            edges.numpy(),
            (covariance / torch.outer(deviation, deviation)).float().numpy(),
        )

    due = 0
    for z in torch.split(generator.sample_z(samples, seed), batch):
        state = generator.run(generator.start(generator.here(z)), until=layer)
        pictures = generator.picture(generator.run(state))
        features = state.features.float().cpu().transpose(0, 1)  # C x B x h x w

        flat = features.flatten(1)
        if not len(edges):
            low, high = flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True)
            room = 0.1 * (high - low).clamp_min(1e-6)
            edges = low - room + (high - low + 2 * room) * torch.linspace(0, 1, BINS + 1)
        bins = torch.searchsorted(edges[:, 1:-1].contiguous(), flat.contiguous())
        counts.scatter_add_(1, bins, torch.ones_like(bins))
        wide = flat.double()
        total += wide.sum(dim=1)
        squares += wide @ wide.T
        cells += flat.shape[1]

        peaks = torch.cat([peaks, features.amax(dim=(2, 3))], dim=1)
        numbers = torch.cat([numbers, torch.arange(first, first + len(z)).expand(channels, -1)], dim=1)
        maps = torch.cat([maps, features.half()], dim=1)
        best = peaks.argsort(dim=1, descending=True)[:, :STRONGEST]
        peaks, numbers = peaks.gather(1, best), numbers.gather(1, best)
        maps = maps[torch.arange(channels)[:, None], best]
        shown = set(numbers.flatten().tolist())
        kept = {number: file for number, file in kept.items() if number in shown}
        for number in shown - kept.keys():
            kept[number] = thumbnail(array_of(pictures[number - first : number - first + 1]))
        first += len(z)
        if draft is not None and due <= first < samples:
            draft(so_far())
            due = 2 * first
        if ticket is not None:
            ticket.checkpoint(first / samples)
    return so_far()


@torch.no_grad()
def measure_baselines(
    generator: StagedGenerator,
    segmenter: Any,
    layer: str,
    *,
    samples: int = 300,
    seed: int = 0,
    ticket: Ticket | None = None,
) -> Baselines:
    """Score the layer's own axes, rotated ones and a position-only detector on the same samples."""
    channels = generator.shape(layer)[0]
    given: dict[str, Any] = {"samples": samples, "seed": seed}
    own = dissect(generator, segmenter, layer=layer, ticket=share_of(ticket, 0.0, 0.45), **given)
    rotated = dissect(
        generator,
        segmenter,
        layer=layer,
        rotation=random_rotation(channels, seed),
        ticket=share_of(ticket, 0.45, 0.9),
        **given,
    )
    position = position_baseline(generator, segmenter, ticket=share_of(ticket, 0.9, 1.0), **given)
    concepts = tuple(segmenter.classes)

    def per_concept(found: Dissection) -> tuple[int, ...]:
        labels = found.labels()
        return tuple(labels.count(concept) for concept in concepts)

    return Baselines(samples, concepts, per_concept(own), per_concept(rotated), tuple(position.iou.tolist()))


def measure_effects(
    generator: StagedGenerator,
    segmenter: Any,
    layer: str,
    activations: Tensor,
    *,
    samples: int = 8,
    ticket: Ticket | None = None,
) -> Effects:
    """Measure the effect of every single unit; see :func:`.causality.unit_effects`."""
    effect = unit_effects(generator, segmenter, layer, activations, samples=samples, ticket=ticket)
    return Effects(samples, tuple(segmenter.classes), effect)


def thumbnail(array: Array) -> bytes:
    """Encode uint8 H x W x 3 as a file of an :class:`Atlas`."""
    image = Image.fromarray(array)
    if max(image.size) > THUMBNAIL:
        image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return encode_jpeg(image, quality=92)


def _write(path: Path, tensors: dict[str, Tensor], kind: str, config: dict[str, Any]) -> None:
    write_safetensors(path, tensors, {"kind": kind, "config": json.dumps(config)})
