"""That nothing mixes devices: on torch's "meta" device, whose tensors have a place and no values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganpaint_widget import GANPaintError
from ganpaint_widget.images import arrays
from ganpaint_widget.method import adaptation, edits, equation
from ganpaint_widget.models import devices
from ganpaint_widget.models.registry import load

pytestmark = pytest.mark.usefixtures("real_methods")


@torch.no_grad()
def test_a_stroke_and_its_adaptation_stay_on_one_device() -> None:
    model = load("demo").to("meta")
    mask = np.zeros((128, 128), np.uint8)
    mask[40:80, 40:80] = 255
    generator, dissection = model.generator, model.dissection
    assert dissection is not None and model.segmenter is not None
    x = arrays.tensor_of(np.zeros((128, 128, 3), np.uint8), "meta")
    state = generator.run(generator.start(generator.sample_z(1, 0).to("meta")), until=generator.edit_layer)
    with pytest.raises(RuntimeError, match="device"):  # what mixes them is noticed
        _ = state.features * torch.ones(generator.shape(generator.edit_layer))
    edit = edits.Edit("e", "add", "tree", mask, 1.0)
    edited = equation.apply(state, [edit], dissection, model.imagine)
    delta = model.first_delta(edited, x, torch.ones_like(x[:, :1]))
    assert delta is not None
    modify = adaptation.gates(generator, delta, state)
    for picture in (
        generator.picture(generator.run(edited, modify=modify)),
        adaptation.render(generator, edited, delta),
        adaptation.render(generator, edited, adaptation.gated(generator, delta, state, edited)),
        model.segmenter.segment(x),
        *model.imagine(edited, "tree"),
    ):
        assert picture.device.type == "meta"
    fitted = adaptation.Pyramid({name: generator.shape(name) for name in generator.fine_layers})
    assert {one.device.type for one in fitted.to("meta")().values()} == {"meta"}


def test_sessions_use_the_device_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    here = devices.load("demo")
    assert load("demo").to("cpu") is here
    monkeypatch.setenv("GANPAINT_DEVICE", "meta")
    there = devices.load("demo")
    assert next(there.generator.parameters()).device.type == "meta"
    assert devices.load("demo") is there, "moved once"
    assert next(here.generator.parameters()).device.type == "cpu", "the other is left where it was"
    monkeypatch.setenv("GANPAINT_DEVICE", "cuda:99")
    with pytest.raises(GANPaintError, match="'cuda:99'"):
        devices.load("demo")
