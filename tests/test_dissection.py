"""Dissection on a generator whose units are known, because the test made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganpaint_widget.dissection import Dissection, _best_threshold, causal_effect, dissect, tune
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.generators.staged import StagedGenerator, State


class Boxes(StagedGenerator):
    """Draws a bright box in a random quarter. Unit 0 says where, unit 1 where not, units 2 and 3 are
    noise."""

    stages = ("where", "draw")
    latent_size = 8
    resolution = 32
    edit_layer = "where"
    fine_layers = ("draw",)

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def start(self, z: Tensor) -> State:
        return State(z)

    def stage(self, name: str, state: State) -> State:
        if name == "draw":
            grown = torch.nn.functional.interpolate(state.features[:, :1], scale_factor=4.0)
            return State(grown, name)
        z = state.features
        features = torch.randn(
            len(z), 4, 8, 8, generator=torch.Generator().manual_seed(int(z.sum() * 1000) % 97)
        )
        features[:, :2] *= 0.1
        for one, quarter in zip(features, (z[:, :4].argmax(dim=1)).tolist(), strict=True):
            top, left = 4 * (quarter // 2), 4 * (quarter % 2)
            one[1] += 3
            one[0, top : top + 4, left : left + 4] += 3
            one[1, top : top + 4, left : left + 4] -= 3
        return State(features, name)

    def picture(self, state: State) -> Tensor:
        return (self.gain * state.features / 3 * 2 - 1).expand(-1, 3, -1, -1)


class Brightness:
    classes = ("ground", "box")

    def __call__(self, pictures: Tensor) -> Tensor:
        brightness = 5 * pictures.mean(dim=1)
        return torch.stack([-brightness, brightness], dim=1)

    def segment(self, pictures: Tensor) -> Tensor:
        return self(pictures).argmax(dim=1)


@pytest.fixture(scope="module")
def found() -> Dissection:
    return dissect(Boxes(), Brightness(), samples=100, batch=20, pixels=128)


def test_the_unit_that_draws_is_found(found: Dissection) -> None:
    box, ground = found.index("box"), found.index("ground")
    assert found.units("box", 1).tolist() == [0]
    assert found.units("ground", 1).tolist() == [1]
    assert found.iou[box, 0] > 0.8
    assert found.iqr[box, 0] > 0.4
    assert found.iou[box, 2] < 0.4
    assert found.iqr[box, 2] < 0.01
    assert found.interpretable("box") == 1
    assert found.present[box, 0] == pytest.approx(3, abs=0.1)
    assert found.present[ground, 0] == pytest.approx(0, abs=0.1)


def test_adding_and_removing_has_its_effect(found: Dissection) -> None:
    added, removed = causal_effect(Boxes(), Brightness(), found, "box", samples=20)
    assert added == 1
    assert removed == 1


def test_no_effect_without_the_units(found: Dissection) -> None:
    idle = replace(found, weight=torch.zeros_like(found.weight))
    assert causal_effect(Boxes(), Brightness(), idle, "box", samples=20) == (0, 0)


def test_tuning_finds_level_and_weights(found: Dissection) -> None:
    weak = replace(found, present=0.3 * found.present, level=0.3 * found.level, weight=0.2 * found.weight)
    boxes = Boxes()
    state = boxes.run(boxes.start(boxes.sample_z(20, 3)), until="where")
    assert sum(causal_effect(boxes, Brightness(), weak, "box", state=state)) < 0.1
    better = tune(boxes, Brightness(), weak, "box", state, steps=80)
    assert sum(causal_effect(boxes, Brightness(), better, "box", state=state)) > 1.8
    box = found.index("box")
    assert better.weight[box, 0, 0] > better.weight[box, 0, 2]
    assert torch.equal(better.weight[1 - box], weak.weight[1 - box])


def test_the_best_threshold_is_the_most_informative() -> None:
    # One unit, two concepts: above its second threshold it is on exactly where the concept is.
    counts = torch.tensor([[[50.0, 40.0, 0.0, 0.0], [0.0, 0.0, 5.0, 5.0]]])
    iou, iqr = _best_threshold(counts)
    assert iou[1, 0] == pytest.approx(1)
    assert iqr[1, 0] == pytest.approx(1)
    assert iqr[0, 0] == 0  # it marks the other concept's absence


def test_stored_and_read_again(found: Dissection, tmp_path: Path) -> None:
    path = tmp_path / "found.safetensors"
    found.save(path)
    again = Dissection.load(path)
    assert again.concepts == found.concepts
    assert again.colors == found.colors
    assert torch.equal(again.iou, found.iou)
    assert torch.equal(again.level, found.level)


def test_an_unknown_concept_lists_the_known(found: Dissection) -> None:
    with pytest.raises(GANPaintError, match="ground, box"):
        found.index("tree")
