"""The judge: a second segmenter, for measuring only.

The shipped segmenter takes part in training the generator and in choosing units, so what it says of samples
and edits is favorable. The judge is of another architecture (residual, dilated, group-normalized; no U-Net),
was trained on other scenes from other random weights, and nothing but benchmarks uses it.

    python -m benchmarks.judge            # how well it reads held-out scenes: half a minute
    python -m benchmarks.judge --train    # make it again: about five minutes on two cores
"""

from __future__ import annotations

import argparse
import json
import logging
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganpaint_widget.demo.data import SceneData
from ganpaint_widget.demo.scenes import CLASSES, HELD_OUT, TRAINING
from ganpaint_widget.demo.train_segmenter import mean_iou, train_segmenter
from ganpaint_widget.models.checkpoints import read_module, write_module

WEIGHTS = Path(__file__).parent / "judge.safetensors"

SCENES = TRAINING[500_000:512_000]
"""Scenes that neither the generator nor the shipped segmenter has seen."""


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=by, dilation=by) for by in (dilation, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(F.silu(norm(y)))
        return x + y


class Judge(nn.Module):
    """Pictures B x 3 x H x W in [-1, 1] (H and W multiples of four) to logits B x K x H x W."""

    classes = CLASSES

    def __init__(self, narrow: int = 32, wide: int = 64) -> None:
        super().__init__()
        self.config = {"narrow": narrow, "wide": wide}
        self.fine = nn.Sequential(nn.Conv2d(12, narrow, 3, padding=1), _Residual(narrow, 1))
        self.coarse = nn.Sequential(
            nn.Conv2d(narrow, wide, 4, stride=2, padding=1), *(_Residual(wide, by) for by in (1, 2, 4, 8))
        )
        self.merge = nn.Sequential(nn.Conv2d(wide + narrow, narrow, 1), _Residual(narrow, 1))
        self.head = nn.Conv2d(narrow, 4 * len(CLASSES), 1)

    def activations(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """At half and at quarter resolution: what perceptual distances compare."""
        fine = self.fine(F.pixel_unshuffle(pictures, 2))
        return fine, self.coarse(fine)

    def forward(self, pictures: Tensor) -> Tensor:
        fine, coarse = self.activations(pictures)
        whole = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        merged: Tensor = self.head(self.merge(torch.cat([whole, fine], dim=1)))
        return F.pixel_shuffle(merged, 2)

    @torch.no_grad()
    def segment(self, pictures: Tensor) -> Tensor:
        """Label maps (B x H x W, int64) of pictures B x 3 x H x W in [-1, 1]; it reads them at 128 x 128."""
        size = pictures.shape[-2:]
        if size != (128, 128):
            pictures = F.interpolate(pictures, size=(128, 128), mode="bilinear", align_corners=False)
        labels: Tensor = self(pictures).argmax(dim=1)
        if size != (128, 128):
            labels = F.interpolate(labels[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()
        return labels


@cache
def load_judge() -> Judge:
    """Return the stored judge."""
    return read_module(WEIGHTS, "judge", Judge)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", action="store_true", help="train and store it first")
    parser.add_argument("--folder", type=Path, help="where rendered scenes are kept (with --train: 800 MB)")
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    folder = options.folder or Path(__file__).parent / "cache"
    if options.train:
        torch.manual_seed(77)
        judge = train_segmenter(
            Judge(), SceneData(folder, 128, SCENES), steps=options.steps, batch=24, seed=77
        )
        write_module(WEIGHTS, "judge", judge, judge.config)
    miou, by_class = mean_iou(load_judge(), SceneData(folder, 128, HELD_OUT[:500]))
    print(json.dumps({"mean_iou": miou, "iou": by_class}, indent=1))


if __name__ == "__main__":
    main()
