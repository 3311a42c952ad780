"""What docs/ shows in Python works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganpaint_widget.session import EditingSession

DOCS = Path(__file__).parent.parent / "docs"


class Brightness:
    classes = ("dark", "bright")

    def segment(self, pictures: torch.Tensor) -> torch.Tensor:
        grey = pictures.mean(dim=1)
        return (grey > grey.mean(dim=(1, 2), keepdim=True)).long()


@pytest.fixture(scope="module")
def shown() -> dict[str, Any]:
    """The names that the code blocks of bring_a_gan.md define, run one after the other."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "bring_a_gan.md").read_text(), re.DOTALL)
    assert len(blocks) == 4
    torch.manual_seed(0)
    names: dict[str, Any] = {"__name__": "bring_a_gan"}
    for block in blocks:
        exec(compile(block, "docs/bring_a_gan.md", "exec"), names)
    return names


def test_a_dcgan_is_brought_in_about_ten_lines(shown: dict[str, Any]) -> None:
    text = (DOCS / "bring_a_gan.md").read_text()
    body = text[text.index("class StagedDCGAN") :].split("```")[0]
    assert len([line for line in body.splitlines() if line.strip()]) <= 15
    generator, dcgan = shown["generator"], shown["dcgan"]
    z = generator.sample_z(2, seed=3)
    with torch.no_grad():
        assert torch.equal(generator(z), dcgan(z))
        for stage in generator.stages:
            part = generator.run(generator.start(z), until=stage)
            assert torch.equal(generator.picture(generator.run(part)), dcgan(z))


def test_the_dcgan_can_be_painted_with(shown: dict[str, Any], real_methods: None) -> None:
    assert shown["session"].preview.size == (64, 64)
    model = shown["with_concepts"](shown["generator"], Brightness(), samples=8)
    session = EditingSession(generator=model, journal=False)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    before = np.asarray(session.preview).astype(int)
    session.add("bright", mask, strength=4)
    assert np.abs(np.asarray(session.preview) - before)[20:44, 20:44].max() > 0
