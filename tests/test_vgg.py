"""VGG16 from torchvision's file: its layout, narrower, against the plain network; and when it is taken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ganpaint_widget import GANPaintError
from ganpaint_widget.method import inversion
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.vgg import FILE, VGG16, cached_vgg16, read_vgg16


def plain(widths: tuple[int, ...] = (4, 6, 8, 8, 8)) -> nn.Sequential:
    """The ``features`` of torchvision's VGG16, narrower."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    before = 3
    for width, count in zip(widths, (2, 2, 3, 3, 3), strict=True):
        for _ in range(count):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        layers += [nn.MaxPool2d(2)]
    return nn.Sequential(*layers)


def stored(path: Path) -> nn.Sequential:
    network = plain()
    tensors = {f"features.{name}": value for name, value in network.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(tensors | {"classifier.0.weight": torch.zeros(4, 8)}, path)
    return network


def test_its_maps_are_the_networks_own(tmp_path: Path) -> None:
    network = stored(tmp_path / FILE)
    found = read_vgg16(tmp_path / FILE)
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    x = (pictures / 2 + 0.5 - torch.tensor(VGG16.MEAN).view(3, 1, 1)) / torch.tensor(VGG16.DEVIATION).view(
        3, 1, 1
    )
    wanted: list[Tensor] = []
    for layer in network:
        if isinstance(layer, nn.MaxPool2d):
            wanted.append(x)
        x = layer(x)
    maps = found(pictures)
    assert len(maps) == len(wanted) == 5
    for one, other in zip(maps, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_it_is_the_metric_of_models_without_a_segmenter_once_it_is_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANPAINT_CACHE", str(tmp_path))
    demo = load("demo")
    bare = replace(demo, segmenter=None)
    assert cached_vgg16() is None and inversion.default_metric(bare) is None
    stored(tmp_path / FILE)
    metric = inversion.default_metric(bare)
    assert isinstance(metric, VGG16)
    assert inversion.default_metric(demo) is not metric, "a segmenter knows its world better"
    x = demo.generator(demo.generator.sample_z(1, 4)).clamp(-1, 1).detach()
    assert inversion.score(bare, x, x, domain=False).perceptual == 0
    assert inversion.score(bare, -x, x, domain=False).perceptual > 0  # type: ignore[operator]


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / FILE)
    with pytest.raises(GANPaintError, match="not VGG16's"):
        read_vgg16(tmp_path / FILE)
