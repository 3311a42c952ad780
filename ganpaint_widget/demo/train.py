"""``ganpaint train demo``: everything that the demo world ships, made from the scenes.

The generator takes hours and is resumable; the segmenter, the encoder, the initializer and the dissection
take minutes each and are made anew from the generator as it stands.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..dissection import Examples, causal_effect, dissect, likely_examples, tune
from ..images.metrics import psnr
from ..method.inversion import invert
from ..models.checkpoints import write_module
from ..models.encoder import Encoder
from ..models.generator import State
from ..models.model import Model
from ..models.progan import ProGAN
from ..models.reading import read_progan
from ..models.units import Dissection
from ..training.encoder import train_encoder
from ..training.initializer import train_initializer
from .data import CLASS_COLORS, SceneData, to_tensor
from .scenes import CONCEPTS, HELD_OUT, TRAINING, TUNING, Scene
from .segmenter import SceneSegmenter
from .train_generator import Painter, Recipe, train
from .train_segmenter import cached_segmenter, mean_iou
from .train_units import arrange_units

log = logging.getLogger(__name__)

TUNED = ("tree", "dome", "door", "window", "cloud", "path", "roof", "mountain", "sky", "grass", "wall")
"""The classes that people paint: at first those that are objects, then those that are grounds."""

MINIMUM_SHARE = 0.002
"""Smaller objects (33 of 128 x 128 pixels) are mostly hidden: nothing to learn from."""

MINIMUM_EFFECT = 0.25
"""A concept whose adding and removing turn less than this share of a patch (mean of both) is not offered."""


def train_demo(folder: Path, weights: Path, *, minutes: float) -> None:
    """Train the demo world's networks and write them, with their metrics, to ``weights``.

    Args:
        folder: where the checkpoint, the log, the sample sheets and the rendered scenes are kept.
        weights: where the safetensors and ``measures.json`` go.
        minutes: how long to train the generator, from its checkpoint on; 0 keeps it as it is.
    """
    if minutes > 0:
        train(folder / "generator", Recipe(), minutes=minutes)
    make_companions(folder, weights)


def make_companions(folder: Path, weights: Path) -> None:
    """The averaged generator in half precision, what belongs to it (see ``Model``), and its metrics."""
    weights.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    stored = torch.load(folder / "generator" / "checkpoint.pt", weights_only=True)
    recipe = stored["recipe"]
    recipe = Recipe(**{**recipe, "channels": tuple(recipe["channels"])})
    painter = Painter(recipe, stored["resolution"])
    painter.load_state_dict(stored["average"])
    size = painter.generator.resolution

    data = SceneData(folder / "scenes", size, TRAINING[: recipe.scenes])
    held_out = SceneData(folder / "scenes", size, HELD_OUT[:500])
    stored_at = folder / f"segmenter-{size}.pt"  # it knows nothing of the generator
    segmenter = cached_segmenter(stored_at, data, steps=500, seed=1, fold=size // recipe.base)
    write_module(weights / "segmenter.safetensors", "segmenter", segmenter, segmenter.config)
    miou, by_class = mean_iou(segmenter, held_out)

    arranged = _arranged(folder / "generator" / "arranged.pt", painter.generator, stored["shown"], segmenter)
    write_module(weights / "generator.safetensors", "generator", arranged, arranged.config)
    # From here on with the weights as they are shipped, rounded to half precision.
    generator = read_progan(weights / "generator.safetensors")

    encoder = train_encoder(generator, data, encoder=painter.encoder)
    write_module(weights / "encoder.safetensors", "encoder", encoder, encoder.config)

    initializer = train_initializer(generator, encoder, data)
    write_module(weights / "initialiser.safetensors", "initialiser", initializer, initializer.config)

    found = dissect_demo(generator, segmenter, encoder, to_tensor(data.images[:240].copy()))
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
            "pictures_shown": stored["shown"],
            "hours": round(stored["spent"] / 3600, 2),
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


def _arranged(path: Path, generator: ProGAN, shown: int, segmenter: SceneSegmenter) -> ProGAN:
    """The generator with its units arranged; kept in ``path`` until it has been trained further."""
    arranged = ProGAN(**generator.config)  # type: ignore[arg-type]
    if path.exists() and (stored := torch.load(path, weights_only=True))["shown"] == shown:
        arranged.load_state_dict(stored["generator"])
        return arranged
    arranged = arrange_units(generator, segmenter)
    torch.save({"shown": shown, "generator": arranged.state_dict()}, path)
    return arranged


def dissect_demo(
    generator: ProGAN, segmenter: SceneSegmenter, encoder: Encoder, x: torch.Tensor
) -> Dissection:
    """The dissection of the edit layer with its causal effects; concepts without an effect are left out.

    Measured on inverted scenes ``x`` (B x 3 x R x R), for it is their features that users edit. The concepts
    that are objects are tuned on scenes' counterfactuals, or where there are none on likely places in the
    last forty scenes, on which the causal effects are measured, too.
    """
    model = Model("demo", generator, encoder)
    states = [_inverted(model, batch) for batch in torch.split(x, 20)]
    found = dissect(generator, segmenter, states=states[:-2], colors=CLASS_COLORS)
    held = State(torch.cat([state.features for state in states[-2:]]), found.layer)
    for concept in TUNED:
        examples = (
            [counterfactual_examples(model, concept, verb) for verb in ("add", "remove")]
            if concept in CONCEPTS
            else likely_examples(generator, segmenter, concept, held)
        )
        found = tune(generator, segmenter, found, concept, examples, steps=40)
        log.info("tuned %s: %s", concept, causal_effect(generator, segmenter, found, concept, state=held))
    effects = torch.tensor(
        [causal_effect(generator, segmenter, found, one, state=held) for one in found.concepts]
    )
    kept = [row for row in range(len(found.concepts)) if float(effects[row].mean()) >= MINIMUM_EFFECT]
    names = tuple(found.concepts[row] for row in kept)
    return replace(
        found,
        concepts=names,
        iou=found.iou[kept],
        iqr=found.iqr[kept],
        present=found.present[kept],
        level=found.level[kept],
        weight=found.weight[kept],
        effect=effects[kept],
        colors={name: found.colors[name] for name in names},
        threshold=None if found.threshold is None else found.threshold[kept],
    )


def counterfactual_examples(model: Model, concept: str, verb: str, count: int = 12) -> Examples:
    """Additions or removals as the scenes' own program makes them, in inverted scenes of the tuning seeds."""
    size = model.generator.resolution
    pairs = []
    for seed in TUNING:
        scene = Scene.sample(seed)
        try:
            other = (scene.with_ if verb == "add" else scene.without)(concept, size=size)
        except ValueError:
            continue  # it has none to remove, or no place for one
        if (other.object_mask > 0).mean() >= MINIMUM_SHARE:
            pairs.append((scene, other))
        if len(pairs) == count:
            break
    before, after = (
        to_tensor(np.stack([one.render(size) for one in scenes]))
        for scenes in ([scene for scene, _ in pairs], [other.scene for _, other in pairs])
    )
    labels = np.stack([other.scene.label_map(size) for _, other in pairs])
    masks = np.stack([other.object_mask > 0 for _, other in pairs])
    return Examples(
        verb, _inverted(model, before), torch.from_numpy(masks), torch.from_numpy(labels).long(), after
    )


def _inverted(model: Model, x: torch.Tensor) -> State:
    return invert(model, x, steps=15).state


def dissection_metrics(found: Dissection) -> dict[str, dict[str, float]]:
    """What the card says of each concept."""
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
