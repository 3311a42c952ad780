"""The encoders that were published for the church and bedroom ProGANs.

Bau et al., "Seeing What a GAN Cannot Generate" (ICCV 2019), section 3.2: a ResNet-18 (He et al. 2016) whose
head is a 1 x 1 convolution reads the features of ``layer4``; small networks then invert layers 4, 3, 2 and 1,
one after the other, down to z. The module names are those of the public files, so that a state dict of theirs
loads as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import GANPaintError
from .checkpoints import checked_tensors, module_of, read_torch
from .progan import pixel_norm


class _Residual(nn.Module):
    """ResNet's basic block: two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if stride != 1:
            self.downsample.extend(
                [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
            )

    def forward(self, x: Tensor) -> Tensor:
        way = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        joined: Tensor = self.downsample(x) + way
        return joined.relu()


class _PixelNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(x)


def _resnet(width: int, features: int) -> nn.Sequential:
    """R x R pictures to features on a grid of R / 32."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, width, 7, 2, 3, bias=False),
        bn1=nn.BatchNorm2d(width),
        relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, 2, 1),
    )
    before = width
    for number in range(4):
        wide = width * 2**number
        first = _Residual(before, wide, 1 if number == 0 else 2)
        parts[f"layer{number + 1}"] = nn.Sequential(first, _Residual(wide, wide, 1))
        before = wide
    parts["layer5"] = nn.Sequential(
        OrderedDict(conv5=nn.Conv2d(before, features, 1), relu5=nn.LeakyReLU(0.2))
    )
    return nn.Sequential(parts)


def _inverse(channels: int, *, stride: int = 1, last: bool = True) -> nn.Sequential:
    """Convert a layer's output to its input."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(pnorm=_PixelNorm())
    for number in (1, 2):
        parts[f"conv{number}"] = nn.Conv2d(channels, channels, 3, padding=1)
        parts[f"bn{number}"] = nn.BatchNorm2d(channels)
        parts[f"relu{number}"] = nn.LeakyReLU(0.2)
    if last:
        parts["conv3"] = nn.Conv2d(channels, channels, 1, stride)
    return nn.Sequential(parts)


class HybridEncoder(nn.Module):
    """E: pictures B x 3 x 256 x 256 in [-1, 1] to z (B x latent) and layer4's features (B x C x 8 x 8).

    Args:
        width: channels after the first convolution (64 in the public files).
        features: C (512), of all four layers.
        latent_size: components of z (512).
    """

    def __init__(self, width: int = 64, features: int = 512, latent_size: int = 512) -> None:
        super().__init__()
        self.shape = (features, latent_size)
        self.resnet = _resnet(width, features)
        self.inv4 = _inverse(features)
        self.inv3 = _inverse(features, stride=2)
        self.inv2 = _inverse(features, last=False)
        self.inv1 = nn.Sequential(
            OrderedDict(
                pnorm=_PixelNorm(),
                conv1=nn.Conv2d(features, features, 4),
                bn1=nn.BatchNorm2d(features),
                relu1=nn.LeakyReLU(0.2),
                conv2=nn.Conv2d(features, latent_size, 1),
                pnormout=_PixelNorm(),
            )
        )

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        features = self.resnet(pictures)
        z = self.inv1(self.inv2(self.inv3(self.inv4(features))))
        return z.flatten(1), features


def read_hybrid_encoder(path: Path) -> HybridEncoder:
    """Read a public encoder's file: a state dict, perhaps inside ``state_dict``, perhaps with ``model.``.

    Raises:
        GANPaintError: it is damaged, or no such encoder.
    """
    content = read_torch(path)
    wrapped = content.get("state_dict")
    tensors = checked_tensors(wrapped if isinstance(wrapped, Mapping) else content, path.name)
    tensors = {name.removeprefix("model."): one for name, one in tensors.items()}
    try:
        config = {
            "width": tensors["resnet.conv1.weight"].shape[0],
            "features": tensors["resnet.layer5.conv5.weight"].shape[0],
            "latent_size": tensors["inv1.conv2.weight"].shape[0],
        }
    except (KeyError, IndexError) as error:
        raise GANPaintError(
            f"The file {path.name} holds no encoder of a public ProGAN.",
            "Get the file from its source again, or train one with `ganpaint train encoder`.",
        ) from error
    # Batch normalization counts its batches in whole numbers; files of before 2018 do not have them.
    for name in [name for name in tensors if name.endswith(".running_mean")]:
        tensors[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    return module_of(path.name, HybridEncoder, config, tensors)
