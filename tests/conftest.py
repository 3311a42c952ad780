"""A model so small that everything about it takes milliseconds.

The generator is a ProGAN with random weights, the dissection is made up. What a session does is tested with
the real methods. Inversions have small budgets, and a blend can be held up to be looked into.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from ganpaint_widget.dissection import Dissection
from ganpaint_widget.method import adaptation as adaptation_module
from ganpaint_widget.method import inversion
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.processes import inverting
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.tickets import Ticket
from ganpaint_widget.training import muon, precision

# Tests run side by side, so one thread each; the kernels that they start inherit the variable.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# On a busy machine any example may take long; that says nothing about the code.
# Each run tries the same examples, so that it fails for what was changed. `make fuzz` tries others.
settings.register_profile("ganpaint", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None)
settings.load_profile(os.environ.get("GANPAINT_HYPOTHESIS", "ganpaint"))

# What several test files compare with. Without a package around the tests, files do not see each other.
for _name in ("references", "strict_device"):
    _spec = importlib.util.spec_from_file_location(_name, Path(__file__).parent / f"{_name}.py")
    assert _spec is not None and _spec.loader is not None
    sys.modules[_name] = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules[_name])

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="session")
def benchmark_module() -> Callable[[str], ModuleType]:
    """Import ``benchmarks.NAME``, which the wheel does not hold, without the checkout on the path."""
    spec = importlib.util.spec_from_file_location(
        "benchmarks", BENCHMARKS / "__init__.py", submodule_search_locations=[str(BENCHMARKS)]
    )
    assert spec is not None
    sys.modules.setdefault("benchmarks", importlib.util.module_from_spec(spec))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


CONCEPTS = ("tree", "dome", "window")
SIZE = 32

LONGEST_FIRST = (
    "test_jupyterlab", "test_course", "test_editor", "test_hosts", "test_explorer", "test_durability",
    "test_devices", "test_kernels", "test_demo", "test_training", "test_tools", "test_notebooks",
    "test_dissection", "test_docs",
)  # fmt: skip
"""`make test` has several workers, and a file's tests stay on one, since they share what is dear: a server,
a browser, a model. The workers take these files first, so that none of them is alone with one at the end."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    order = {name: place for place, name in enumerate(LONGEST_FIRST)}
    if not config.option.markexpr:  # `make test-all`, whose longest file is that of the lessons
        order["test_notebooks"] = -1
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


SHORT_BUDGETS = [
    (inversion, "STEPS", 6),
    (inversion, "DRAWS", 4),
    (inversion, "SEARCH_STEPS", 2),
    (inverting, "GLANCE", 2),
]
FULL_BUDGETS = [(module, name, getattr(module, name)) for module, name, _ in SHORT_BUDGETS]


@pytest.fixture(autouse=True)
def short_inversion(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real method, but not for long: in most tests a photo only has to be open."""
    for module, name, budget in SHORT_BUDGETS:
        monkeypatch.setattr(module, name, budget)


@pytest.fixture
def real_methods(short_inversion: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many steps of an inversion as users get, in this test."""
    for module, name, budget in FULL_BUDGETS:
        monkeypatch.setattr(module, name, budget)


class HeldAdaptation:
    """The real adaptation, held up after it has handed out its first picture, until it may go on.

    Attributes:
        running: set once it has handed out that.
        proceed: it goes on when this is set.
        error: raised at the end, if set.
    """

    def __init__(self) -> None:
        self.running = threading.Event()
        self.proceed = threading.Event()
        self.proceed.set()
        self.error: Exception | None = None
        self._run = adaptation_module.Fit.run

    def run(self, fit: Any, *, ticket: Any = None, on_picture: Any = None, **how: Any) -> None:
        """In place of ``Fit.run``."""
        if on_picture is None:  # nobody looks at what is fitted in idle moments
            self._run(fit, ticket=ticket, **how)
            return
        held = self

        class Holding(Ticket):
            shown = False

            def checkpoint(self, fraction: float, **numbers: float) -> None:
                ticket.checkpoint(fraction, **numbers)
                while self.shown and not held.proceed.wait(0.005):
                    held.running.set()
                    ticket.checkpoint(fraction, **numbers)

        holding = Holding()

        def show(picture: Any, psnr: float) -> None:
            on_picture(picture, psnr)
            holding.shown = True

        self._run(fit, ticket=holding, on_picture=show, **how)
        if self.error is not None:
            raise self.error


@pytest.fixture(params=["bfloat16", "float32"])
def in_both_precisions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have training compute in one precision, then in the other: elsewhere the machine decides."""
    for module in (precision, muon):
        monkeypatch.setattr(module, "quick_in_bfloat16", lambda _: request.param == "bfloat16")


@pytest.fixture
def adaptation(monkeypatch: pytest.MonkeyPatch) -> HeldAdaptation:
    """For a test that looks into a running blend: clear ``adaptation.proceed`` to hold it up."""
    held = HeldAdaptation()
    monkeypatch.setattr(adaptation_module.Fit, "run", lambda fit, **how: held.run(fit, **how))
    return held


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
