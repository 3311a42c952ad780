"""The adapter to scene-parsing models: with a small SegFormer, and without transformers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from typer.testing import CliRunner

from ganpaint_widget.cli import app
from ganpaint_widget.dissection import Dissection, dissect
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import registry
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.segmentation import ADE20K_CONCEPTS, OTHER, ADE20KSegmenter, ade20k
from ganpaint_widget.session import EditingSession

LABELS = {0: "wall", 1: "building;edifice", 2: "sky", 3: "tree", 4: "palm, palm tree", 5: "grass", 6: "ship"}


class Colors(nn.Module):
    """Has a model's face: the logits of a class are how near a pixel's color is to that of the class."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(id2label=LABELS)
        source = torch.Generator().manual_seed(0)
        self.colors = 2 * torch.rand(len(LABELS), 3, generator=source) - 1

    def forward(self, pixel_values: torch.Tensor) -> Any:
        mean = torch.tensor(ADE20KSegmenter.MEAN).view(1, 3, 1, 1)
        deviation = torch.tensor(ADE20KSegmenter.DEVIATION).view(1, 3, 1, 1)
        pictures = (pixel_values * deviation + mean) * 2 - 1
        distance = (pictures[:, None] - self.colors[None, :, :, None, None]).square().sum(dim=2)
        return SimpleNamespace(logits=nn.functional.avg_pool2d(-50 * distance, 4))


def painted(classes: list[list[int]]) -> torch.Tensor:
    """A picture whose cells of 32 px have the colors of classes."""
    cells = Colors().colors[torch.tensor(classes)].permute(2, 0, 1)
    return cells.repeat_interleave(32, 1).repeat_interleave(32, 2)[None]


def test_classes_become_brushes() -> None:
    segmenter = ADE20KSegmenter(Colors(), size=64)
    assert segmenter.classes == ("tree", "grass", "sky", "building", "wall", OTHER)
    labels = segmenter.segment(painted([[2, 3], [4, 6]]))
    assert labels.shape == (1, 64, 64) and labels.dtype == torch.int64
    names = [[segmenter.classes[labels[0, y, x]] for x in (8, 56)] for y in (8, 56)]
    assert names == [["sky", "tree"], ["tree", OTHER]]


def test_logits_agree_with_labels() -> None:
    segmenter = ADE20KSegmenter(Colors(), size=64)
    pictures = painted([[0, 1], [5, 6]])
    logits = segmenter(pictures)
    assert logits.shape == (1, 6, 64, 64)
    inner = [(y, x) for y in (8, 56) for x in (8, 56)]
    labels = segmenter.segment(pictures)
    assert all(logits[0, :, y, x].argmax() == labels[0, y, x] for y, x in inner)
    # two classes of one brush share its odds
    both = torch.logsumexp(segmenter.logits(pictures)[0, 3:5, 0, 0], dim=0)
    assert logits[0, 0, 0, 0] == pytest.approx(float(both))


def test_a_generator_is_dissected_with_it(generator: ProGAN) -> None:
    found = dissect(generator, ADE20KSegmenter(Colors(), size=32), samples=8, batch=4)
    assert found.concepts[-1] == OTHER and found.iou.shape == (6, generator.shape(generator.edit_layer)[0])


def test_models_that_do_not_do() -> None:
    other = Colors()
    other.config = SimpleNamespace(id2label={0: "LABEL_0", 1: "LABEL_1"})
    with pytest.raises(GANPaintError, match="any of the concepts"):
        ADE20KSegmenter(other)


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(GANPaintError, match="pip install transformers"):
        ade20k()


@pytest.fixture
def segformer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a small SegFormer with random weights."""
    monkeypatch.setenv("GANPAINT_OFFLINE", "1")
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], decoder_hidden_size=16, num_labels=len(LABELS)
    )
    config.id2label = LABELS
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(tmp_path / "segformer")
    return tmp_path / "segformer"


def test_a_small_segformer(segformer: Path) -> None:
    segmenter = ade20k(segformer, size=64)
    assert segmenter.classes == ("tree", "grass", "sky", "building", "wall", OTHER)
    labels = segmenter.segment(torch.rand(2, 3, 48, 48) * 2 - 1)
    assert labels.shape == (2, 48, 48) and int(labels.max()) < len(segmenter.classes)
    with pytest.raises(GANPaintError, match="cannot be loaded"):
        ade20k(segformer.parent / "nowhere")


def test_a_file_is_dissected_and_painted_with_from_then_on(
    generator: ProGAN, segformer: Path, tmp_path: Path
) -> None:
    path = tmp_path / "mine.pth"
    torch.save(generator.state_dict(), path)
    assert registry.load(path).dissection is None
    given = ["dissect", "--generator", str(path), "--samples", "6", "--segmenter"]
    refused = CliRunner().invoke(app, [*given, str(tmp_path / "nowhere")])
    assert refused.exit_code == 1 and "cannot be loaded" in refused.output
    done = CliRunner().invoke(app, [*given, str(segformer), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    classes = ade20k(segformer).classes
    assert [row["concept"] for row in told["concepts"]] == list(classes)
    found = Dissection.load(Path(told["output"]))
    assert found.layer == generator.edit_layer and found.concepts == classes

    session = EditingSession(None, path, journal=False)
    assert session.concepts == found.offered, "those that a sample shows"
    session.add("tree", np.full((session.size, session.size), 255, np.uint8))
    assert session.preview.size == (session.size, session.size)

    other = tmp_path / "other.pth"
    torch.save(ProGAN(8, (16, 24, 16, 8)).state_dict(), other)
    registry.dissection_file(path).rename(registry.dissection_file(other))
    with pytest.raises(GANPaintError, match="not of the generator"):
        registry.load(other)
    nowhere = CliRunner().invoke(app, ["dissect", "--samples", "1"])
    assert nowhere.exit_code == 1 and "--output" in nowhere.output


def test_every_class_belongs_to_one_brush() -> None:
    claimed = [name for names in ADE20K_CONCEPTS.values() for name in names]
    assert len(claimed) == len(set(claimed))
