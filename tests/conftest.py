"""A model so small that everything about it takes milliseconds, and quick doubles of the slow methods.

The generator is a ProGAN with random weights, the dissection is made up. What a session does around
inversion and adaptation is tested with doubles that can be held up and looked into; the methods
themselves have tests of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

import ganpaint_widget.method.adaptation
import ganpaint_widget.method.inversion
from ganpaint_widget.dissection import Dissection
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.processes.opening import GLANCE
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.tickets import Cancelled

# Tests run side by side, so one thread each; the kernels that they start inherit the variable.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# On a busy machine any example may take long; that says nothing about the code.
settings.register_profile("ganpaint", deadline=None)
settings.load_profile("ganpaint")

REAL = [
    (module, name, getattr(module, name))
    for module, names in [
        (ganpaint_widget.method.inversion, ["invert"]),
        (ganpaint_widget.method.adaptation, ["adapt", "render", "keep_mask"]),
    ]
    for name in names
]

# What several test files compare with. Without a package around the tests, files do not see each other.
_spec = importlib.util.spec_from_file_location("references", Path(__file__).parent / "references.py")
assert _spec is not None and _spec.loader is not None
sys.modules["references"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["references"])

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """Imports ``benchmarks.NAME``, which is no part of the wheel, without the checkout on the path."""
    spec = importlib.util.spec_from_file_location(
        "benchmarks", BENCHMARKS / "__init__.py", submodule_search_locations=[str(BENCHMARKS)]
    )
    assert spec is not None
    sys.modules.setdefault("benchmarks", importlib.util.module_from_spec(spec))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


CONCEPTS = ("tree", "dome", "window")
SIZE = 32

LONGEST_FIRST = ("test_jupyterlab", "test_demo", "test_kernels", "test_notebooks", "test_training")
"""`make test` has several workers, and a file's tests stay on one, since they share what is dear: a server,
a browser, a model. The workers take these files first, so that none of them is alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


def random_dissection(layer: str, channels: int) -> Dissection:
    """Three concepts with random rankings of the units; the levels are large, so that edits can be seen."""
    source = torch.Generator().manual_seed(1)
    table = torch.rand(len(CONCEPTS), channels, generator=source)
    return Dissection(
        layer=layer,
        concepts=CONCEPTS,
        iou=table,
        iqr=table,
        high=torch.full((channels,), 3.0),
        present=(level := 2 + torch.rand(len(CONCEPTS), channels, generator=source)),
        level=level,
        weight=torch.ones(len(CONCEPTS), 2, channels),
        effect=torch.tensor([[0.5, 0.7], [0.3, 0.5], [0.8, 1.0]]),
        colors={"tree": "#228833", "dome": "#ccbb44", "window": "#4477aa"},
        samples=1,
    )


class TinyGallery:
    """Three scenes: a dark, a gray and a bright one."""

    count = 3

    def picture(self, index: int) -> np.ndarray:
        return np.full((SIZE, SIZE, 3), 60 + 60 * index, np.uint8)

    def title(self, index: int) -> str:
        return f"scene {index}"


@pytest.fixture(scope="session")
def generator() -> ProGAN:
    torch.manual_seed(0)
    generator = ProGAN(8, (16, 16, 16, 8))
    # As large a bias as a trained one has: without it, every unit off would be the same as every unit on.
    for name, parameter in generator.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.3)
    return generator.eval()


@pytest.fixture
def model(generator: ProGAN) -> Any:
    dissection = random_dissection(generator.edit_layer, generator.shape(generator.edit_layer)[0])
    return Model("tiny", generator, encoder=None, dissection=dissection, gallery=None)


@pytest.fixture
def model_with_gallery(model: Any) -> Any:
    return Model("tiny", model.generator, dissection=model.dissection, gallery=TinyGallery())


class Shades:
    """A segmenter that calls dark places tree, middling ones dome and bright ones window."""

    classes = CONCEPTS

    def segment(self, pictures: torch.Tensor) -> torch.Tensor:
        gray = pictures.mean(dim=1)
        relative = gray - gray.mean(dim=(1, 2), keepdim=True)
        return (relative > 0).long() + (relative > 0.02).long()


@pytest.fixture
def model_with_segmenter(model: Any) -> Any:
    return Model("tiny", model.generator, dissection=model.dissection, segmenter=Shades())


@pytest.fixture
def mask() -> np.ndarray:
    """A square in the upper left quarter."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[4:14, 6:16] = 255
    return mask


@pytest.fixture
def full_mask() -> np.ndarray:
    return np.full((SIZE, SIZE), 255, np.uint8)


@pytest.fixture(autouse=True)
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's real journals and brushes are touched: where this test's journals are."""
    root = tmp_path / "journals"
    monkeypatch.setenv("GANPAINT_JOURNAL", str(root))
    monkeypatch.setenv("GANPAINT_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture(autouse=True)
def quick_inversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inversion that answers at once: a latent that depends on the picture, whatever it looks like."""

    def invert(model: Any, x: torch.Tensor, *, steps: int = 60, ticket: Any = None) -> Any:
        if ticket is not None:
            ticket.checkpoint(0.5)
        generator = model.generator
        z = generator.sample_z(1, seed=int(x.mean() * 1000) % 997 + (997 if steps == GLANCE else 0))
        with torch.inference_mode():
            state = generator.run(generator.start(z), until=generator.edit_layer)
            psnr = float(
                -10 * torch.log10((generator.picture(generator.run(state)) - x).square().mean() / 4)
            )
        return SimpleNamespace(z=z, state=state, psnr=psnr)

    monkeypatch.setattr(ganpaint_widget.method.inversion, "invert", invert)


class SlowAdaptation:
    """A double of adapt() that goes on, checkpoint after checkpoint, until it is allowed to end.

    Attributes:
        running: set once it has handed out its first picture.
        proceed: it ends when this is set.
        error: raised at the end, if set.
    """

    def __init__(self) -> None:
        self.running = threading.Event()
        self.proceed = threading.Event()
        self.error: Exception | None = None

    def adapt(self, generator, edited, x, keep, *, original, ticket=None, on_picture=None, **how) -> Any:
        assert keep.shape == (1, 1, SIZE, SIZE)
        assert not edited.features.is_inference()
        layer = generator.fine_layers[0]
        delta = {layer: torch.full((1, *generator.shape(layer)), 0.5)}
        step = 0
        try:
            while True:
                step += 1
                fraction = 1 - 0.9**step
                ticket.checkpoint(fraction, psnr=20 + 10 * fraction)
                if on_picture is not None:
                    on_picture(x, 20 + 10 * fraction)
                self.running.set()
                if self.proceed.wait(0.005):
                    break
        except Cancelled:
            if step == 1:
                raise
        if self.error is not None:
            raise self.error
        return SimpleNamespace(delta=delta, before=12.0, after=28.5, survival=0.9)

    @staticmethod
    def render(generator, state, delta) -> torch.Tensor:
        with torch.inference_mode():
            return 0.5 * generator.picture(generator.run(state))

    @staticmethod
    def keep_mask(generator, original, edited, strokes) -> torch.Tensor:
        return 1 - strokes


@pytest.fixture(autouse=True)
def adaptation(monkeypatch: pytest.MonkeyPatch) -> SlowAdaptation:
    """Blends in these tests end at once unless a test clears ``adaptation.proceed``."""
    double = SlowAdaptation()
    double.proceed.set()
    monkeypatch.setattr(ganpaint_widget.method.adaptation, "adapt", double.adapt)
    monkeypatch.setattr(ganpaint_widget.method.adaptation, "render", double.render)
    monkeypatch.setattr(ganpaint_widget.method.adaptation, "keep_mask", double.keep_mask)
    return double


@pytest.fixture
def real_methods(quick_inversion: None, adaptation: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """No doubles in this test."""
    for module, name, function in REAL:
        monkeypatch.setattr(module, name, function)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """A worker with a thread, ended after the test."""
    worker = Worker()
    yield worker
    worker.close(timeout=5)


@pytest.fixture
def session(model: Any) -> EditingSession:
    """A session on a sample of the tiny generator, worked by hand: nothing happens behind a test's back."""
    return EditingSession(generator=model, worker=Worker(start=False))


@pytest.fixture
def live(model: Any, worker: Worker) -> EditingSession:
    """The same with a thread at work."""
    return EditingSession(generator=model, worker=worker)
