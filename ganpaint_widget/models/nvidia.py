"""StyleGAN2 under NVIDIA's names: of its PyTorch code, and of the older TensorFlow code before it.

Tensors in, tensors out: :mod:`.convert` takes them out of pickles, :mod:`.reading` out of saved state
dicts. The facts are those of NVIDIA's own converter, ``legacy.py`` in stylegan2-ada-pytorch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..errors import GANPaintError
from .layouts import WRAP


def own_names(theirs: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Convert the names and scales of NVIDIA's PyTorch code to those of :mod:`.stylegan2`.

    A convolution's weights are stored there as they are used, here without ``1 / sqrt(fan in)``; the blur's
    kernel sums to one there and to four here, since it is always used after zeros were put in.

    Args:
        theirs: a generator's tensors, ``mapping.fc0.weight``, ``synthesis.b4.const`` and so on.
        name: of the file, for messages.

    Raises:
        GANPaintError: it is another network, or not complete.
    """
    what = None
    if any(one.startswith("mapping.embed") for one in theirs):
        what = "is conditional on a class"
    elif any(one.startswith("synthesis.input.") for one in theirs):
        what = "is a StyleGAN3"
    elif "synthesis.b4.const" not in theirs or "mapping.fc0.weight" not in theirs:
        what = "is not a StyleGAN2"
    if what is not None:
        raise GANPaintError(
            f"The generator in {name} {what}.",
            "Pass an unconditional StyleGAN2; `ganpaint fetch --list` lists public ones.",
        )
    ours: dict[str, Tensor] = {}
    try:
        number = 0
        while f"mapping.fc{number}.weight" in theirs:
            for kind in ("weight", "bias"):
                ours[f"style.{number + 1}.{kind}"] = theirs[f"mapping.fc{number}.{kind}"]
            number += 1
        ours["latent_avg"] = theirs["mapping.w_avg"]
        ours["input.input"] = theirs["synthesis.b4.const"][None]
        block, _ = 0, theirs["synthesis.b4.conv1.weight"]
        while f"synthesis.b{4 * 2**block}.conv1.weight" in theirs:
            at = f"synthesis.b{4 * 2**block}"
            for half in (0, 1) if block else (1,):
                index = 2 * block - 1 + half if block else 0
                ours |= _layer(theirs, f"{at}.conv{half}", f"convs.{index - 1}" if index else "conv1")
                ours[f"noises.noise_{index}"] = theirs[f"{at}.conv{half}.noise_const"][None, None]
            rgb = f"to_rgbs.{block - 1}" if block else "to_rgb1"
            ours[f"{rgb}.conv.weight"] = theirs[f"{at}.torgb.weight"][None]
            for kind in ("weight", "bias"):
                ours[f"{rgb}.conv.modulation.{kind}"] = theirs[f"{at}.torgb.affine.{kind}"]
            ours[f"{rgb}.bias"] = theirs[f"{at}.torgb.bias"].view(1, -1, 1, 1)
            if block:
                ours[f"{rgb}.upsample.kernel"] = 4 * theirs[f"{at}.resample_filter"]
                ours[f"convs.{2 * block - 2}.conv.blur.kernel"] = 4 * theirs[f"{at}.conv0.resample_filter"]
            block += 1
    except (KeyError, IndexError, RuntimeError) as error:
        raise GANPaintError(
            f"The generator in {name} is not a complete StyleGAN2 with skip connections.",
            WRAP,
        ) from error
    return ours


def _layer(theirs: Mapping[str, Tensor], at: str, to: str) -> dict[str, Tensor]:
    weight = theirs[f"{at}.weight"]
    return {
        f"{to}.conv.weight": weight[None] * math.sqrt(weight[0].numel()),
        f"{to}.conv.modulation.weight": theirs[f"{at}.affine.weight"],
        f"{to}.conv.modulation.bias": theirs[f"{at}.affine.bias"],
        f"{to}.noise.weight": theirs[f"{at}.noise_strength"].view(1),
        f"{to}.activate.bias": theirs[f"{at}.bias"],
    }


def pytorch_names(variables: Mapping[str, Tensor], kernel: Sequence[float]) -> dict[str, Tensor]:
    """Convert variables of NVIDIA's TensorFlow code to the names and axes of its PyTorch code.

    Args:
        variables: ``dlatent_avg``, ``mapping/Dense0/weight``, ``synthesis/8x8/Conv0_up/weight`` and so on.
            Convolutions are height x width x inputs x outputs there, matrices are inputs x outputs.
        kernel: the blur in one direction, ``resample_kernel``.

    Raises:
        KeyError, IndexError, RuntimeError: it is not a complete StyleGAN2.
    """
    row = torch.tensor(kernel, dtype=torch.float32)
    blur = row[:, None] * row / row.sum() ** 2
    found = {
        "mapping.w_avg": variables["dlatent_avg"],
        "synthesis.b4.const": variables["synthesis/4x4/Const/const"][0],
    }
    number = 0
    while f"mapping/Dense{number}/weight" in variables:
        found[f"mapping.fc{number}.weight"] = variables[f"mapping/Dense{number}/weight"].T
        found[f"mapping.fc{number}.bias"] = variables[f"mapping/Dense{number}/bias"]
        number += 1
    block = 0
    while f"synthesis/{(size := 4 * 2**block)}x{size}/ToRGB/weight" in variables:
        there, here = f"synthesis/{size}x{size}", f"synthesis.b{size}"
        layers = {"conv0": "Conv0_up", "conv1": "Conv1"} if block else {"conv1": "Conv"}
        for half, (ours, theirs) in enumerate(layers.items()):
            found |= _convolution(variables, f"{there}/{theirs}", f"{here}.{ours}")
            found[f"{here}.{ours}.noise_strength"] = variables[f"{there}/{theirs}/noise_strength"]
            number = 2 * block - 1 + half if block else 0  # 2 log2(size) - 5 for Conv0_up, - 4 for Conv1
            found[f"{here}.{ours}.noise_const"] = variables[f"synthesis/noise{number}"][0, 0]
        found |= _convolution(variables, f"{there}/ToRGB", f"{here}.torgb")
        if block:  # a transposed convolution, which mirrors
            found[f"{here}.conv0.weight"] = found[f"{here}.conv0.weight"].flip(2, 3)
            found[f"{here}.conv0.resample_filter"] = found[f"{here}.resample_filter"] = blur
        block += 1
    return found


def _convolution(variables: Mapping[str, Tensor], at: str, to: str) -> dict[str, Tensor]:
    return {
        f"{to}.weight": variables[f"{at}/weight"].permute(3, 2, 0, 1),
        f"{to}.bias": variables[f"{at}/bias"],
        f"{to}.affine.weight": variables[f"{at}/mod_weight"].T,
        f"{to}.affine.bias": variables[f"{at}/mod_bias"] + 1,
    }
