"""Between pictures outside, as arrays, and tensors inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def frozen(array: Array) -> Array:
    """Return a read-only copy, to be passed to observers and kept."""
    array = np.array(array, np.uint8)
    array.setflags(write=False)
    return array


def array_of(picture: Tensor) -> Array:
    """Convert 1 x 3 x R x R in [-1, 1] to uint8 R x R x 3, read-only."""
    # By NumPy, on one thread: so little is done here that PyTorch's threads would mostly wait for each other.
    numbers = picture.detach()[0].float().cpu().numpy().transpose(1, 2, 0)
    array: Array = np.rint((numbers.clip(-1, 1) + 1) * np.float32(127.5)).astype(np.uint8, order="C")
    array.setflags(write=False)
    return array


def tensor_of(array: Array, device: Any) -> Tensor:
    """Convert uint8 R x R x 3 to 1 x 3 x R x R in [-1, 1]."""
    import torch

    scaled = torch.from_numpy(array.astype(np.float32) / 127.5 - 1)
    return scaled.permute(2, 0, 1)[None].contiguous().to(device)
