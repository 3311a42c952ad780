"""``ganpaint train demo``: everything that the demo world ships, made from the scenes.

Encoder and fine layers learn with edits in the loop (``train_edits.py``). Then the edit layer's axes are
turned (``training/axes.py``), the early layers learn to make such features from z
(``training/features.py``), a shaper learns to make objects (``shaping.py``), and the fine layers learn
details (``train_details.py``), to which the shaper adapts. Trainings resume. The prior of the latents, the
initializer and the dissection take minutes and are made anew from the generator as it stands.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from ..dissection import causal_effect, dissect, find_exemplars
from ..images.metrics import psnr
from ..models.checkpoints import read_module, write_module
from ..models.encoder import Encoder
from ..models.generator import State
from ..models.progan import ProGAN
from ..models.reading import read_progan
from ..models.shaper import Shaper
from ..models.units import Dissection
from ..storage import replacing
from ..training.axes import turned
from ..training.data import to_tensor
from ..training.features import FeatureRecipe, train_features, with_features
from ..training.initializer import train_initializer
from ..training.painter import Painter
from ..training.prior import read_latents, train_prior
from .data import CLASS_COLORS, SceneData
from .pairs import Pairs
from .scenes import CLASSES, HELD_OUT, TRAINING
from .segmenter import SceneSegmenter
from .shaping import shaper_of_scenes
from .train_details import DetailsRecipe, train_details, with_details
from .train_edits import DEMO, EditsRun, Recipe, new_painter, train_edits
from .train_segmenter import cached_segmenter, mean_iou

log = logging.getLogger(__name__)

SEGMENTER_STEPS = 500

EDITS_SHARE, FEATURES_SHARE = 0.6, 0.25
"""Of the time: what is left is for the details."""

TURNED_BY = 500
"""Scenes whose features choose the edit layer's axes."""

KNOWN_TO_PRIOR = TRAINING[:50_000]
"""Scenes whose latents the prior knows, each twice, half of the time mirrored."""

PRIOR_STEPS, PRIOR_STEP_LENGTH, PRIOR_LEARNING_RATE = 22_000, 0.008, 1e-3
"""Of the prior's training."""

MINIMUM_EFFECT = 0.25
"""A concept whose adding and removing turn less than this share of a patch (mean of both) is not offered."""


def train_demo(
    folder: Path, weights: Path, *, minutes: float, start: Path | None = None, device: str = "cpu"
) -> None:
    """Train the demo world's networks and write them, with their metrics, to ``weights``.

    Args:
        folder: where the checkpoints, the logs, the sheets and the rendered scenes are kept.
        weights: where the safetensors and ``measures.json`` go.
        minutes: how long to train, from the checkpoints on; 0 keeps the generator as it is.
        start: a folder of such weights to begin from, as long as ``folder`` lacks a checkpoint.
        device: where to train.
    """
    recipe = DEMO
    segmenter = demo_segmenter(folder, recipe)
    if minutes > 0:
        data = SceneData(folder / "scenes", recipe.resolution)
        begun = painter_from(start, recipe) if start is not None else None
        run = train_edits(
            folder / "generator",
            recipe,
            segmenter,
            minutes=EDITS_SHARE * minutes,
            start=begun,
            device=device,
        )
        painter = turned(run.average.eval(), to_tensor(data.images[:TURNED_BY]))
        painter = train_features(
            folder / "generator",
            painter,
            data,
            FeatureRecipe(),
            minutes=FEATURES_SHARE * minutes,
            classes=len(CLASSES),
            device=device,
        )
        # Those of an earlier training were learned from other features.
        for name in ("shaper.pt", "details.pt", "finished-shaper.pt"):
            (folder / "generator" / name).unlink(missing_ok=True)
        train_details(
            folder / "generator",
            painter,
            kept_shaper(folder, painter, recipe, segmenter),
            segmenter,
            data,
            Pairs(folder / "scenes", recipe.resolution, recipe.pairs),
            DetailsRecipe(),
            minutes=(1 - EDITS_SHARE - FEATURES_SHARE) * minutes,
            device=device,
        )
    make_companions(folder, weights, recipe, segmenter)


def demo_segmenter(folder: Path, recipe: Recipe) -> SceneSegmenter:
    """Return the segmenter of the demo world; trained on scenes where ``folder`` has none yet."""
    size = recipe.resolution
    scenes = SceneData(folder / "scenes", size)
    return cached_segmenter(
        folder / f"segmenter-{size}.pt", scenes, steps=SEGMENTER_STEPS, seed=1, fold=max(1, size // 64)
    )


def painter_from(weights: Path, recipe: Recipe) -> Painter:
    """Return a painter that starts with the stored generator and encoder, its channels perhaps wider.

    What a stored tensor covers is taken over; further output channels begin small, so that the pictures
    begin as they were.
    """
    painter = new_painter(recipe)
    generator = read_progan(weights / "generator.safetensors")
    encoder = read_module(weights / "encoder.safetensors", "encoder", Encoder)
    own: nn.Module
    module: nn.Module
    for own, module in ((painter.generator, generator), (painter.encoder, encoder)):
        state = own.state_dict()
        for key, old in module.state_dict().items():
            if key not in state or state[key].dim() != old.dim():
                continue  # a block that is new, behind those that were there
            covered = tuple(slice(0, min(pair)) for pair in zip(state[key].shape, old.shape, strict=True))
            if state[key].is_floating_point():
                state[key] *= 0.2
            state[key][covered] = old[covered]
        own.load_state_dict(state)
    return painter


def kept_shaper(
    folder: Path,
    painter: Painter,
    recipe: Recipe,
    segmenter: SceneSegmenter,
    start: Shaper | None = None,
) -> Shaper:
    """Return the shaper that ``folder/generator`` keeps; where there is none, it is trained and kept.

    Args:
        folder: where the run keeps its files.
        painter: what draws.
        recipe: of the scenes in pairs.
        segmenter: see :func:`.shaper_of_scenes`.
        start: the shaper from before the fine layers learned details, for the one that goes on with them.
    """
    path = folder / "generator" / ("shaper.pt" if start is None else "finished-shaper.pt")
    if not path.exists():
        pairs = Pairs(folder / "scenes", recipe.resolution, recipe.pairs)
        with replacing(path) as partial:
            torch.save(shaper_of_scenes(painter, segmenter, pairs, start=start).packed(), partial)
    return Shaper.unpacked(*torch.load(path, weights_only=True))


def make_companions(folder: Path, weights: Path, recipe: Recipe, segmenter: SceneSegmenter) -> None:
    """Write the averaged generator in half precision, what belongs to it (see ``Model``), and its metrics."""
    weights.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    size = recipe.resolution
    run = EditsRun(recipe, segmenter)
    run.load(folder / "generator" / "edits.pt")
    data = SceneData(folder / "scenes", size)
    painter = turned(run.average.eval(), to_tensor(data.images[:TURNED_BY]))
    painter = with_features(painter, folder / "generator")
    shaper = kept_shaper(folder, painter, recipe, segmenter)
    painter = with_details(painter, folder / "generator")
    shaper = kept_shaper(folder, painter, recipe, segmenter, start=shaper)
    assert isinstance(painter.generator, ProGAN)
    known = SceneData(folder / "scenes", size, KNOWN_TO_PRIOR)
    painter.generator.prior = train_prior(
        read_latents(painter, known, 2 * len(known)),
        steps=PRIOR_STEPS,
        step_length=PRIOR_STEP_LENGTH,
        learning_rate=PRIOR_LEARNING_RATE,
    )
    held_out = SceneData(folder / "scenes", size, HELD_OUT[:500])
    write_module(weights / "segmenter.safetensors", "segmenter", segmenter, segmenter.config)
    miou, by_class = mean_iou(segmenter, held_out)

    write_module(weights / "generator.safetensors", "generator", painter.generator, painter.generator.config)
    write_module(weights / "encoder.safetensors", "encoder", painter.encoder, painter.encoder.config)
    # From here on with the weights as they are shipped, rounded to half precision.
    generator = read_progan(weights / "generator.safetensors")
    encoder = read_module(weights / "encoder.safetensors", "encoder", Encoder)

    initializer = train_initializer(generator, encoder, data)
    write_module(weights / "initialiser.safetensors", "initialiser", initializer, initializer.config)

    found = dissect_demo(generator, segmenter, encoder, to_tensor(data.images[:440].copy()), shaper)
    found.save(weights / "dissection.safetensors")

    x = to_tensor(held_out.images[:200])
    with torch.no_grad():
        z, features = encoder(x)
        state = generator.run(generator.start(z), until=generator.edit_layer)
        by_z = generator.picture(generator.run(state))
        by_features = generator.picture(generator.run(state.replace(features)))
        _, adapted = initializer(generator, state.replace(features), x, torch.ones_like(x[:, :1]))
    metrics = {
        "generator": {
            "pictures_shown": run.shown,
            "hours": round(run.seconds / 3600, 2),
            "parameters": sum(p.numel() for p in generator.parameters()),
        },
        "segmenter": {"mean_iou": round(miou, 3), "iou": {k: round(v, 3) for k, v in by_class.items()}},
        "encoder": {
            "decibel_by_z": round(_mean_psnr(by_z, x), 2),
            "decibel_by_features": round(_mean_psnr(by_features, x), 2),
        },
        "initialiser": {"decibel": round(_mean_psnr(adapted, x), 2)},
        "dissection": dissection_metrics(found),
        "seconds_for_companions": round(time.monotonic() - began),
    }
    (weights / "measures.json").write_text(json.dumps(metrics, indent=1) + "\n")
    log.info("%s", json.dumps(metrics, indent=1))


def dissect_demo(
    generator: ProGAN,
    segmenter: SceneSegmenter,
    encoder: Encoder,
    x: torch.Tensor,
    shaper: Shaper | None = None,
) -> Dissection:
    """Return the dissection of the edit layer with its exemplars and causal effects.

    Measured on scenes ``x`` (B x 3 x R x R) as the encoder reads them, for it is their features that users
    edit; causal effects on the last forty. Concepts without an effect are left out. All units take part in
    every edit, as they did in training. Exemplars are tried with the ``shaper``.
    """
    with torch.no_grad():
        states = [State(encoder(batch)[1], generator.edit_layer) for batch in torch.split(x, 20)]
    found = dissect(generator, segmenter, states=states[:-2], colors=CLASS_COLORS)
    found = replace(found, weight=torch.ones_like(found.weight), shaper=shaper)
    found = find_exemplars(generator, segmenter, found, states=states[:-2])
    held = State(torch.cat([state.features for state in states[-2:]]), found.layer)
    effects = torch.tensor(
        [causal_effect(generator, segmenter, found, one, state=held) for one in found.concepts]
    )
    kept = [row for row in range(len(found.concepts)) if float(effects[row].mean()) >= MINIMUM_EFFECT]
    return replace(found, effect=effects).only(kept)


def dissection_metrics(found: Dissection) -> dict[str, dict[str, float]]:
    """Return the numbers of the card for each concept."""
    return {
        concept: {
            "best_iou": round(float(found.iou[row].max()), 3),
            "interpretable_units": found.interpretable(concept),
            "added": round(float(found.effect[row, 0]), 3),
            "removed": round(float(found.effect[row, 1]), 3),
        }
        for row, concept in enumerate(found.concepts)
    }


def _mean_psnr(pictures: torch.Tensor, x: torch.Tensor) -> float:
    return sum(psnr(p, one) for p, one in zip(pictures, x, strict=True)) / len(x)
