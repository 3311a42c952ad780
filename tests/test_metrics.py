"""PSNR and SSIM against their formulas, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ganpaint_widget.images.metrics import HIGHEST_PSNR, psnr, ssim


def pictures(seed: int, size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 3, size, size, generator=source) * 2 - 1
    return (x + 0.2 * torch.randn(x.shape, generator=source)), x


@given(st.integers(0, 1000), st.booleans())
def test_psnr_is_its_formula(seed: int, weighted: bool):
    picture, x = pictures(seed)
    keep = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(seed)) if weighted else None
    weights = np.ones((2, 1, 16, 16)) if keep is None else keep.numpy()
    squared = (picture.clamp(-1, 1).numpy().astype(float) - x.numpy()) ** 2
    mean = (squared * weights).sum() / (weights.sum() * 3)
    assert psnr(picture, x, keep) == pytest.approx(10 * math.log10(4 / mean), abs=1e-3)


def test_the_same_picture_has_the_highest_values():
    _, x = pictures(0)
    assert psnr(x, x) == HIGHEST_PSNR
    assert ssim(x, x) == pytest.approx(1, abs=1e-6)


def ssim_by_hand(picture: np.ndarray, x: np.ndarray) -> float:
    """Wang et al. 2004 with loops, one channel."""
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    values = []
    for row in range(x.shape[0] - 10):
        for column in range(x.shape[1] - 10):
            p, q = (one[row : row + 11, column : column + 11] + 1 for one in (picture, x))
            mp, mq = (kernel * p).sum(), (kernel * q).sum()
            vp, vq = (kernel * (p - mp) ** 2).sum(), (kernel * (q - mq) ** 2).sum()
            cov = (kernel * (p - mp) * (q - mq)).sum()
            c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_ssim_is_its_formula(seed: int):
    picture, x = pictures(seed)
    clamped = picture.clamp(-1, 1).numpy().astype(float)
    expected = np.mean([ssim_by_hand(clamped[b, c], x.numpy()[b, c]) for b in range(2) for c in range(3)])
    assert ssim(picture, x) == pytest.approx(expected, abs=1e-4)


def test_structure_counts_and_a_shift_of_brightness_hardly():
    """What PSNR cannot tell apart: the same error as noise and as an offset."""
    _, x = pictures(1, 32)
    x = torch.nn.functional.avg_pool2d(0.5 * x, 5, 1, 2) * 3
    shifted = x + 0.2
    noisy = x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).sign()
    assert psnr(shifted, x) == pytest.approx(psnr(noisy, x), abs=0.3)
    assert ssim(shifted, x) > ssim(noisy, x) + 0.1
