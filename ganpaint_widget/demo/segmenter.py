"""The demo world's segmenter: a small U-Net from pictures to the scene's classes.

It is trained on scenes, whose label maps are exact, and reads pictures of any size that is a
multiple of eight times its ``fold``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (24, 48, 72, 96)
"""Channels at full, half, quarter and eighth resolution."""


def _block(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.1),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.LeakyReLU(0.1),
    )


class SceneSegmenter(nn.Module):
    """Pictures B x 3 x H x W in [-1, 1] to class logits B x K x H x W.

    Args:
        classes: the names of the K classes, in the order of the channels.
        widths: channels at full, half, quarter and eighth resolution.
        fold: every fold x fold pixels become channels on the way in, and channels become pixels on the way
            out, to save time on larger pictures; "full" resolution above is then that of the folded picture.
    """

    def __init__(
        self, classes: tuple[str, ...], widths: tuple[int, int, int, int] = WIDTHS, fold: int = 1
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.fold = fold
        self.config = {"classes": list(classes), "widths": list(widths), "fold": fold}
        w0, w1, w2, w3 = widths
        self.down0 = _block(3 * fold**2, w0)
        self.down1 = _block(w0, w1, stride=2)
        self.down2 = _block(w1, w2, stride=2)
        self.down3 = _block(w2, w3, stride=2)
        self.up_quarter = _block(w3 + w2, w2)
        self.up_half = _block(w2 + w1, w1)
        self.up_full = _block(w1 + w0, w0)
        self.head = nn.Conv2d(w0, len(classes) * fold**2, 1)

    def features(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the activations on the way down, at full, half, quarter and eighth resolution."""
        full = self.down0(F.pixel_unshuffle(pictures, self.fold))
        half = self.down1(full)
        quarter = self.down2(half)
        return full, half, quarter, self.down3(quarter)

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.classify(self.features(pictures))
        return logits

    def classify(self, features: tuple[Tensor, ...]) -> Tensor:
        """Return the logits from the four activations of :meth:`features`."""
        full, half, quarter, x = features
        for skip, block in ((quarter, self.up_quarter), (half, self.up_half), (full, self.up_full)):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return F.pixel_shuffle(self.head(x), self.fold)

    @torch.no_grad()
    def segment(self, pictures: Tensor) -> Tensor:
        """Return the label map (B x H x W, int64) of pictures B x 3 x H x W in [-1, 1]."""
        labels: Tensor = self(pictures).argmax(dim=1)
        return labels
