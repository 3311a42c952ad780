"""What is said before an inversion without an encoder begins, and samples for a seed and a psi."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from references import randomized
from typer.testing import CliRunner

from ganpaint_widget.cli import app
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.method import forecast as forecasting
from ganpaint_widget.method.forecast import PASSES, forecast
from ganpaint_widget.method.inversion import invert
from ganpaint_widget.models import registry
from ganpaint_widget.models.convert import write_generator
from ganpaint_widget.models.generator import State
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.stylegan2 import StyleGAN2
from ganpaint_widget.session import EditingSession


@pytest.fixture(scope="module")
def stylegan2() -> StyleGAN2:
    torch.manual_seed(2)
    return randomized(StyleGAN2((6, 5, 4), latent_size=5, style_size=6, mapping_layers=2))


def test_it_is_said_within_a_second(stylegan2: StyleGAN2) -> None:
    model = Model("mine", stylegan2)
    forecast(model)  # torch's own first pass
    began = time.monotonic()
    told = forecast(model)
    assert time.monotonic() - began < 1
    assert told is not None and told.seconds > 0 and "\n" not in told.sentence
    said = r"^mine has no encoder\. .* about \d+ (seconds|minutes|hours) on .*`ganpaint train encoder`"
    assert re.search(said, told.sentence)


def test_nothing_is_said_with_an_encoder() -> None:
    assert forecast(registry.load("demo")) is None


@pytest.mark.usefixtures("real_methods")
def test_the_passes_are_those_of_an_inversion(stylegan2: StyleGAN2, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0
    real = StyleGAN2.picture

    def counted(generator: StyleGAN2, state: State) -> torch.Tensor:
        nonlocal passes
        passes += 3 if torch.is_grad_enabled() else 1
        return real(generator, state)

    # Of the class: inversions use a copy of the network.
    monkeypatch.setattr(StyleGAN2, "picture", counted)
    with torch.no_grad():
        x = stylegan2.sample(1, seed=3).clamp(-1, 1)
    passes = 0
    invert(Model("mine", stylegan2), x)
    assert passes == pytest.approx(PASSES, rel=0.05)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 seconds"), (7.4, "7 seconds"), (42, "40 seconds"), (700, "12 minutes"), (9000, "2 hours")],
)
def test_how_long_it_is(seconds: float, said: str) -> None:
    assert forecasting._spoken(seconds) == said


def test_a_session_says_it_before_it_searches(
    stylegan2: StyleGAN2, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganpaint_widget.method.inversion.SEARCH_STEPS", 1)
    monkeypatch.setattr(forecasting, "PASSES", 10**7)  # so long that it is said at once
    session = EditingSession(generator=Model("mine", stylegan2), journal=False)
    told = []
    session.observe(told.append)
    session.open(np.zeros((16, 16, 3), np.uint8))
    texts = [event.text for event in told if hasattr(event, "text")]
    assert any("mine has no encoder" in text for text in texts)
    assert "mine has no encoder" in capsys.readouterr().err
    session.open_scene(3)  # a sample is drawn, and nothing is searched
    assert sum("has no encoder" in event.text for event in told if hasattr(event, "text")) == 1


# --- samples ---


def test_samples_for_a_seed_and_a_psi(stylegan2: StyleGAN2) -> None:
    first = stylegan2.sample(2, seed=5)
    assert torch.equal(first, stylegan2.sample(2, seed=5)) and not torch.equal(
        first, stylegan2.sample(2, seed=6)
    )
    with torch.no_grad():
        assert torch.allclose(first, stylegan2(stylegan2.sample_z(2, 5)), atol=1e-5)
        mean = stylegan2.picture(stylegan2.run(stylegan2.start_w(stylegan2.latent_avg[None])))
    assert torch.allclose(stylegan2.sample(2, 5, truncation_psi=0)[:1], mean, atol=1e-5)
    half = stylegan2.sample(1, 5, truncation_psi=0.5)
    assert not torch.allclose(half, first[:1], atol=1e-3)
    other = registry.load_generator(stylegan2, truncation_psi=0.5)
    assert torch.allclose(other.sample(1, 5), half, atol=1e-5) and stylegan2.truncation_psi == 1


def test_what_has_no_style_says_so() -> None:
    generator = ProGAN(8, (6, 5, 4))
    assert generator.sample(1, seed=2).shape == (1, 3, 16, 16)
    with pytest.raises(GANPaintError, match="A ProGAN does not support truncation"):
        generator.sample(1, truncation_psi=0.5)
    with pytest.raises(GANPaintError, match="A ProGAN does not support truncation"):
        registry.load_generator(generator, truncation_psi=0.5)


def test_the_command(tmp_path: Path, stylegan2: StyleGAN2) -> None:
    network = tmp_path / "network.safetensors"
    write_generator(network, stylegan2)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["sample", "--generator", str(network), *arguments])
        assert done.exit_code == 0, done.output
        return done.output

    run("--seed", "7", "-o", str(tmp_path / "a.png"))
    run("--seed", "6", "--count", "2", "-o", str(tmp_path / "many"))
    run("--seed", "7", "--truncation-psi", "0.3", "-o", str(tmp_path / "b.png"))
    pictures = {name: np.asarray(Image.open(tmp_path / name)) for name in ("a.png", "many/7.png", "b.png")}
    assert np.array_equal(pictures["a.png"], pictures["many/7.png"])
    assert not np.array_equal(pictures["a.png"], pictures["b.png"])
