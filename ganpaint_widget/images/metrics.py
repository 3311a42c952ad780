"""How near two pictures are to each other: PSNR and SSIM. Pictures are B x 3 x H x W in [-1, 1]."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

HIGHEST_PSNR: Final = 99.0
"""What stands for "the same picture", whose PSNR has no bound."""


@torch.no_grad()
def psnr(picture: Tensor, x: Tensor, keep: Tensor | None = None) -> float:
    """Return the PSNR in dB of a picture, clamped to [-1, 1], against the photo, at most 99.

    ``10 log10(peak^2 / mean squared error)`` with a peak-to-peak range of 2.

    Args:
        picture, x: B x 3 x H x W; the error is averaged over the batch.
        keep: weights of the pixels, B x 1 x H x W in [0, 1]; all alike by default.
    """
    squared = (picture.clamp(-1, 1) - x).square()
    if keep is None:
        mean = float(squared.mean())
    else:
        mean = float((squared * keep).sum() / (keep.sum() * x.shape[1]).clamp_min(1e-6))
    return min(HIGHEST_PSNR, 10 * math.log10(4 / max(mean, 1e-12)))


@torch.no_grad()
def ssim(picture: Tensor, x: Tensor) -> float:
    """Return the structural similarity of a picture, clamped to [-1, 1], and the photo; 1 means "the same".

    Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to Structural
    Similarity" (2004): a Gaussian window of 11 x 11 with sigma 1.5, K1 = .01 and K2 = .03; the mean over the
    places that the window fits in, over the channels and the batch. Pictures are at least 11 pixels a side.
    """
    # From 0 to 2: with means of either sign the term of luminance would mean nothing.
    picture, x = picture.clamp(-1, 1) + 1, x + 1
    offsets = torch.arange(-5, 6, dtype=x.dtype, device=x.device)
    kernel = torch.exp(-offsets.square() / (2 * 1.5**2))
    kernel = kernel / kernel.sum()

    def blurred(value: Tensor) -> Tensor:
        value = value.flatten(0, 1)[:, None]
        return F.conv2d(F.conv2d(value, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    mean_p, mean_x = blurred(picture), blurred(x)
    variance_p = blurred(picture.square()) - mean_p.square()
    variance_x = blurred(x.square()) - mean_x.square()
    covariance = blurred(picture * x) - mean_p * mean_x
    luminance = (2 * mean_p * mean_x + c1) / (mean_p.square() + mean_x.square() + c1)
    structure = (2 * covariance + c2) / (variance_p + variance_x + c2)
    return float((luminance * structure).mean())
