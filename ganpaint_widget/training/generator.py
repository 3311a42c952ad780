"""A GAN of one's own photos: ``ganpaint train generator``.

A GAN that starts from nothing needs days. This one is made in three stages, each of which has something to
go by from its first step: encoder and fine layers learn to read and draw the photos (``autoencoder.py``), the
early layers learn to make such features from z (``features.py``), and what belongs to a model is made from
the finished generator: the prior of its latents, the initializer, and concepts found without labels.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..dissection.discovery import PARTS, check_parts, discover
from ..errors import GANPaintError
from ..images.metrics import psnr
from ..models.checkpoints import write_module
from ..models.encoder import Encoder
from ..models.model import Model
from ..models.progan import ProGAN
from ..models.registry import dissection_file
from ..storage import replacing
from ..tickets import Report, Ticket
from ..version import __version__
from .autoencoder import AutoencoderRecipe, train_autoencoder
from .axes import turned
from .data import to_bytes, to_tensor
from .features import FeatureRecipe, train_features
from .initializer import train_initializer
from .painter import Painter
from .photos import HELD_OUT, Photos
from .prior import read_latents, train_prior

log = logging.getLogger(__name__)

SIZES = (32, 64, 128, 256)
CHANNELS = (256, 256, 192, 96, 48, 32, 24)
"""Of each resolution's two layers, beginning at 4 x 4."""

LATENT_SIZE = 256

AUTOENCODER_SHARE, FEATURES_SHARE = 0.5, 0.4
"""Of the time; the rest is for prior and initializer. Concepts take a few minutes more."""

PRIOR_STEPS, INITIALIZER_STEPS = 4_000, 350
FULL_STEPS_AFTER = 10.0
"""Minutes of the autoencoder's training after which prior and initializer take all of these steps. After a
shorter one, they take their share."""

TURNED_BY = 500
"""Photos whose features choose the edit layer's axes."""

KNOWN = 9_000
"""How many photos, mirrored ones among them, the second stage and the prior know at most."""


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes:
        folder: ``generator``, ``encoder`` and ``initialiser.safetensors``, ``measures.json``, ``CARD.md`` and
            ``samples.png``; checkpoints, logs and sheets in ``training/``.
        metrics: what ``measures.json`` says.
    """

    folder: Path
    metrics: dict[str, Any]


def new_painter(size: int) -> Painter:
    """Return a ProGAN of a size with random weights, and an encoder for it.

    Raises:
        GANPaintError: the size is none of ``SIZES``.
    """
    if size not in SIZES:
        raise GANPaintError(
            f"The training does not support pictures of {size} pixels.",
            f"Choose a size of {', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]}.",
        )
    generator = ProGAN(LATENT_SIZE, CHANNELS[: size.bit_length() - 2])
    shape = generator.shape(generator.edit_layer)
    fold = max(1, size // max(64, 2 * shape[-1]))
    return Painter(generator, Encoder(size, LATENT_SIZE, shape, fold=fold, residual=(1, 2)))


def train_generator(
    photos: Path,
    folder: Path,
    *,
    size: int = 128,
    minutes: float = 60,
    license: str = "not stated",
    device: str = "cpu",
    seed: int = 0,
    concepts: int = PARTS,
) -> Trained:
    """Train a generator on a folder of photos, with its encoder, its initializer and concepts to paint with.

    A training that was interrupted goes on where it stopped, for ``minutes`` more.

    Args:
        photos: the folder; see :class:`.Photos`.
        folder: where everything is written.
        size: pixels a side of its pictures, 32 to 256.
        minutes: how long to train.
        license: of the photos, as the card should say it.
        device: where to train.
        seed: of the weights and batches.
        concepts: how many to find without labels in the finished generator; 0 finds none.

    Raises:
        GANPaintError: the photos are missing or too few, the size is none of ``SIZES``, or ``concepts`` is
            out of range.
        OSError: the folder cannot be written.
    """
    if concepts:
        check_parts(concepts)
    torch.manual_seed(seed)
    painter = new_painter(size)
    data = Photos(photos, size)
    began = time.monotonic()
    training = folder / "training"
    run = train_autoencoder(
        training,
        painter,
        data,
        AutoencoderRecipe(seed=seed),
        minutes=AUTOENCODER_SHARE * minutes,
        device=device,
    )
    recipe = FeatureRecipe(known=min(KNOWN, 4 * len(data)), augment=True, seed=seed)
    some = to_tensor(data.images[:TURNED_BY]).to(device)
    painter = turned(run.average.eval(), some)
    painter = train_features(training, painter, data, recipe, minutes=FEATURES_SHARE * minutes, device=device)
    generator, encoder = painter.generator, painter.encoder
    assert isinstance(generator, ProGAN)
    latents = read_latents(painter, data, recipe.known, seed)
    share = min(1.0, run.seconds / (60 * FULL_STEPS_AFTER))
    generator.prior = train_prior(latents, steps=max(1, round(share * PRIOR_STEPS)), seed=seed)
    file = folder / "generator.safetensors"
    found = dissection_file(file)
    # Concepts of an earlier, shorter training are not those of these weights.
    found.unlink(missing_ok=True)
    write_module(file, "generator", generator, generator.config)
    write_module(folder / "encoder.safetensors", "encoder", encoder, encoder.config)
    _write_samples(folder / "samples.png", generator)
    steps = max(1, round(share * INITIALIZER_STEPS))
    initializer = train_initializer(generator, encoder, data, steps=steps, seed=seed)
    write_module(folder / "initialiser.safetensors", "initialiser", initializer, initializer.config)
    names: tuple[str, ...] = ()
    if concepts:
        model = Model(folder.name, generator, encoder, gallery=data)
        parts = discover(model, concepts, seed=seed, ticket=_logged("Finding concepts"))
        parts.save(found)
        names = parts.concepts
    metrics = {
        "photos": len(data) + len(data.held_out),
        "left_out": len(data.refused),
        "size": size,
        "pictures_drawn": run.shown,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "device": device,
        "psnr_of_held_out_photos": round(_redrawn(painter, data.held_out, device), 2),
        "concepts": len(names),
        "parameters": sum(p.numel() for p in generator.parameters()),
    }
    with replacing(folder / "measures.json") as partial:
        partial.write_text(json.dumps(metrics, indent=1) + "\n")
    with replacing(folder / "CARD.md") as partial:
        partial.write_text(_card(folder.name, metrics, license))
    return Trained(folder, metrics)


def _logged(job: str) -> Ticket:
    """Return a ticket that says in the log how far a job is, at each tenth."""
    tenths = -1

    def tell(report: Report) -> None:
        nonlocal tenths
        if int(10 * report.fraction) > tenths:
            tenths = int(10 * report.fraction)
            log.info("%s: %d %%", job, 10 * tenths)

    return Ticket(observer=tell)


@torch.no_grad()
def _write_samples(path: Path, generator: ProGAN) -> None:
    """64 unselected samples in eight rows."""
    device = next(generator.parameters()).device
    pictures = [generator(z.to(device)) for z in torch.split(generator.sample_z(64, seed=0).cpu(), 8)]
    rows = [np.concatenate(list(to_bytes(row)), axis=1) for row in pictures]
    Image.fromarray(np.concatenate(rows)).save(path)


@torch.no_grad()
def _redrawn(painter: Painter, photos: np.ndarray, device: str) -> float:
    """Return the mean PSNR at which photos come back from their features, in dB."""
    found = []
    for some in np.array_split(photos, -(-len(photos) // 16)):
        x = to_tensor(some).to(device)
        drawn = painter.draw(painter.encode(x)).clamp(-1, 1)
        found += [psnr(one, photo) for one, photo in zip(drawn, x, strict=True)]
    return float(np.mean(found))


def _card(name: str, metrics: dict[str, Any], license: str) -> str:
    """Return the model card."""
    size = metrics["size"]
    return f"""# {name}

A ProGAN of {size} x {size} pixels with an encoder and an initializer. `ganpaint train generator` of
ganpaint_widget {__version__} trained it. It found {metrics["concepts"]} concepts without labels.

| | |
| --- | --- |
| photos | {metrics["photos"]}; training never saw one in {HELD_OUT} |
| files that could not be read | {metrics["left_out"]} |
| license of the photos | {license} |
| pictures drawn in training | {metrics["pictures_drawn"]} |
| time | {metrics["minutes"]} minutes on {metrics["device"]} |
| held-out photos, redrawn from the encoder's features | {metrics["psnr_of_held_out_photos"]} dB PSNR |
| parameters | {metrics["parameters"]} |

`samples.png` shows 64 unselected samples. The generator knows nothing but these photos: people, places and
habits that they lack, it cannot draw, and what they show too often, it draws too often. A sample may
resemble a photo that it was trained on, so share samples as you would share the photos.
"""
