"""That everything that is given a generator works wherever it is, and leaves it as it was found.

Every public function below the session is in :data:`CASES`, which a test compares with the package. Each is
run on the strict device of ``strict_device.py``, with networks that are in training, and in other types of
numbers.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strict_device import DEVICE, NAME, is_there, strict_device
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ganpaint_widget import DissectionExplorer, EditingSession, Exploration, GANPaintError
from ganpaint_widget.dissection import (
    artifacts,
    baselines,
    causality,
    choosing,
    discovery,
    exemplars,
    measure,
    pictures,
)
from ganpaint_widget.explorer import atlas, curves
from ganpaint_widget.method import ablation, adaptation, edits, equation, forecast, inversion, preview
from ganpaint_widget.models import devices
from ganpaint_widget.models.encoder import Encoder
from ganpaint_widget.models.generator import StagedGenerator, State
from ganpaint_widget.models.initializer import Initializer
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.networks import evaluating
from ganpaint_widget.models.parts import Evidence, PartNetwork, Parts
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.registry import load
from ganpaint_widget.models.shaper import Shaper
from ganpaint_widget.models.stylegan2 import StyleGAN2
from ganpaint_widget.models.units import Dissection, Exemplars
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.training import encoder as train_encoder
from ganpaint_widget.training import initializer as train_initializer
from ganpaint_widget.training.data import SampleBatches

pytestmark = pytest.mark.usefixtures("real_methods")

SIZE = 32


class Normal(ProGAN):
    """With statistics that a batch in training mode would change, behind its first layer."""

    def __init__(self) -> None:
        super().__init__(8, (16, 16, 16, 8))
        self.norm = nn.BatchNorm2d(16)

    def stage(self, name: str, state: State) -> State:
        state = super().stage(name, state)
        return state.replace(self.norm(state.features)) if name == "layer1" else state


class Shades(nn.Module):
    """A segmenter with statistics of its own, which a batch in training mode would change."""

    classes = ("tree", "dome", "window")

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 3, padding=1))

    def features(self, pictures: Tensor) -> list[Tensor]:
        return [self.net(pictures)]

    def forward(self, pictures: Tensor) -> Tensor:
        return 4 * self.net(pictures)

    @torch.no_grad()
    def segment(self, pictures: Tensor) -> Tensor:
        return self(pictures).argmax(dim=1)


class Wrapped:
    """A user's segmenter that is not a module, but has one."""

    classes = Shades.classes

    def __init__(self) -> None:
        self.inner = Shades()

    def segment(self, pictures: Tensor) -> Tensor:
        return self.inner.segment(pictures)


def made(kind: str) -> Model:
    """A user's model: all networks as their constructors leave them, in training mode and with gradients."""
    torch.manual_seed(0)
    generator: StagedGenerator
    if kind == "progan":
        generator = Normal()
    else:
        generator = StyleGAN2((16, 16, 16, 8), latent_size=8, style_size=8, mapping_layers=2)
    for name, one in generator.named_parameters():
        if name.endswith((".b", ".bias")):
            nn.init.normal_(one, std=0.3)
    shape = generator.shape(generator.edit_layer)
    table = torch.rand(3, shape[0])
    dissection = Dissection(
        layer=generator.edit_layer,
        concepts=Shades.classes,
        iou=table,
        iqr=table,
        high=torch.full(shape[:1], 3.0),
        present=2 + table,
        level=2 + table,
        weight=torch.ones(3, 2, shape[0]),
        effect=torch.full((3, 2), 0.5),
        colors=dict.fromkeys(Shades.classes, "#228833"),
        samples=1,
        shaper=Shaper(shape[0], ["tree", "dome"], width=8, depth=1),
    )
    nn.init.normal_(dissection.shaper.last[1].weight, std=0.3)
    shapes = {name: generator.shape(name) for name in generator.fine_layers}
    encoder = Encoder(SIZE, 8, shape, width=8)
    return Model("own", generator, encoder, dissection, None, Shades(), Initializer(shapes, width=8))


def networks(model: Model) -> list[nn.Module]:
    return [one for one in vars(model).values() if isinstance(one, nn.Module)]


class World:
    """A model and what functions take beside it, made as a user would: on the model's device."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.generator: Any = model.generator
        self.segmenter: Any = model.segmenter
        self.dissection: Any = model.dissection
        self.encoder: Any = model.encoder

    @cached_property
    def states(self) -> State:
        with torch.no_grad():
            return self.generator.run(
                self.generator.start(self.generator.sample_z(4, 1)), until=self.generator.edit_layer
            )

    @cached_property
    def original(self) -> State:
        return self.states.one(0)

    @cached_property
    def edited(self) -> State:
        features = self.original.features.clone()
        features[:, :8, 2:4, 2:4] = 3
        return self.original.replace(features)

    @cached_property
    def x(self) -> Tensor:
        with torch.no_grad():
            drawn = self.generator.picture(self.generator.run(self.original))
        return (0.7 * drawn + 0.2).clamp(-1, 1)

    @cached_property
    def strokes(self) -> Tensor:
        strokes = torch.zeros_like(self.x[:, :1])
        strokes[..., 8:16, 8:16] = 1
        return strokes

    @cached_property
    def keep(self) -> Tensor:
        return 1 - self.strokes

    @cached_property
    def delta(self) -> dict[str, Tensor]:
        like = self.x
        return {
            name: torch.full((1, *self.generator.shape(name)), 0.1).to(like)
            for name in self.generator.fine_layers
        }

    @cached_property
    def discovered(self) -> Dissection:
        """What was found on the CPU, as it is read from a file."""
        torch.manual_seed(0)
        units, random = self.generator.shape(self.generator.edit_layer)[0], torch.Generator().manual_seed(2)
        centroids = nn.functional.normalize(torch.randn(4, units, generator=random), dim=1)
        evidence = Evidence(
            torch.linspace(-1, 1, 5).expand(units, -1).contiguous(),
            torch.ones(units),
            torch.randint(1, 9, (units, 4, 6), generator=random),
            torch.rand(4, units, generator=random),
            torch.ones(4),
            4,
        )
        member = torch.tensor([0, 0, 1, 1])
        network = PartNetwork(4, 8).eval().requires_grad_(False)
        parts = Parts(
            network,
            classes=("part 1", "part 2"),
            centroids=centroids,
            tree=torch.tensor([[0, 1], [2, 3], [4, 5]]),
            member=member,
            evidence=evidence,
        )
        names = parts.classes
        tables = measure.tabulate(evidence.grouped(member, 2), self.generator.edit_layer, names, {})
        return dataclasses.replace(tables, parts=parts.eval().requires_grad_(False))

    def edit(self, verb: str, units: Any = None) -> edits.Edit:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[8:16, 8:16] = 255
        return edits.Edit("e", verb, "tree", mask, units=units)


def _adapted(world: World) -> Any:
    found = adaptation.adapt(
        world.generator,
        world.edited,
        world.x,
        world.keep,
        original=world.original,
        steps=4,
        start=world.delta,
    )
    return found.delta, found.before, found.after, found.survival


def _gated(world: World) -> Any:
    modify = adaptation.gates(world.generator, world.delta, world.original)
    with evaluating(world.generator):
        return world.generator.run(world.edited, modify=modify).features


def _inverted(world: World, **how: Any) -> Any:
    found = inversion.invert(world.model, world.x, steps=2, **how)
    return found.z, found.state.features, found.scores


def _discovered(world: World) -> Any:
    """What does not hang on the last digit of a network's training: clusters, their tree and their number."""
    found = discovery.discover(world.generator, 3, samples=6, batch=3, steps=2)
    parts = discovery.parts_of(found)
    return parts.centroids, parts.tree, len(found.high)


def _sampled(batches: SampleBatches) -> Tensor:
    """Whose generator is frozen, as in the trainings."""
    with torch.no_grad():
        return batches.beside(batches.generator(batches.latents()))


def _previewed(world: World) -> Any:
    shown = preview.Preview(world.model, world.original)
    drawn = [shown.render([world.edit(verb)]) for verb in ("add", "remove", "suppress")]
    level = world.dissection.level[0].cpu().numpy()
    exemplary = dataclasses.replace(world.edit("add"), target="exemplar", activations=level)
    return [
        *drawn,
        shown.render([exemplary]),
        shown.render([world.edit("remove", "low")]),
        shown.edited([world.edit("remove")]).features,
    ]


def _searched(world: World) -> Any:
    """Without an encoder."""
    alone = World(dataclasses.replace(world.model, encoder=None))
    alone.x = world.x
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inversion, "SEARCH_STEPS", 2)
        patch.setattr(inversion, "DRAWS", 4)
        return _inverted(alone, starts=2)


def _best_fitting(world: World) -> Any:
    """Which exemplar was chosen of three."""
    shown = torch.linspace(-3, 3, 3).view(1, 3, 1).expand(3, 3, len(world.dissection.high)).contiguous()
    known = dataclasses.replace(
        world.dissection, exemplars=Exemplars(shown, torch.zeros_like(shown), torch.tensor([3] * 3))
    )
    whole = np.full((SIZE, SIZE), 255, np.uint8)
    addition = edits.Edit("e", "add", "dome", whole, target="exemplar")

    def carried_out(some: Any) -> State:
        return equation.apply(world.original, some, known)

    model = dataclasses.replace(world.model, dissection=known)
    return choosing.best_fitting(model, world.original, [], addition, carried_out).variant


CASES: dict[str, Callable[[World], Any]] = {
    "method.adaptation.render": lambda w: adaptation.render(w.generator, w.edited, w.delta),
    "method.ablation.render": lambda w: [
        ablation.render(w.generator, w.edited, {f"{sign}{name}": one for name, one in w.delta.items()})
        for sign in ("", "+")
    ],
    "method.adaptation.gated": lambda w: adaptation.gated(w.generator, w.delta, w.original, w.edited),
    "method.adaptation.gates": _gated,
    "method.adaptation.keep_mask": lambda w: adaptation.keep_mask(
        w.generator, w.original, w.edited, w.strokes
    ),
    "method.adaptation.adapt": _adapted,
    "method.adaptation.adapt in other ways": lambda w: [
        adaptation.adapt(
            w.generator, w.edited, w.x, w.keep, original=w.original, steps=2, config=ablation.Ablation(*way)
        ).after
        for way in (("network",), ("direct",), ("weights",), ("pyramid", "add"))
    ],
    "method.adaptation.Fit": lambda w: (
        adaptation.Fit(w.generator, w.edited, w.x, w.keep, original=w.original).before
    ),
    "method.adaptation.survival": lambda w: adaptation.survival(
        w.generator, w.original, w.edited, w.delta, w.keep
    ),
    "method.inversion.default_metric": lambda w: inversion.default_metric(w.model) is not None,
    "method.inversion.invert": lambda w: (_inverted(w), _inverted(w, perceptual=w.segmenter.features)),
    "method.inversion.invert without an encoder": _searched,
    "method.inversion.score": lambda w: inversion.score(w.model, w.x, w.x.flip(2)),
    "method.inversion.in_domain": lambda w: inversion.in_domain(w.model, w.x),
    "method.inversion.distance": lambda w: inversion.distance(w.model, w.x),
    "method.forecast.forecast": lambda w: (
        forecast.forecast(dataclasses.replace(w.model, encoder=None)) is not None
    ),
    "method.preview.Preview": _previewed,
    "dissection.artifacts.artifact_candidates": lambda w: artifacts.artifact_candidates(
        w.generator, w.segmenter.features, real=w.x.repeat(3, 1, 1, 1), samples=6, top=2, batch=3
    ),
    "dissection.baselines.position_baseline": lambda w: baselines.position_baseline(
        w.generator, w.segmenter, samples=4, batch=2, pixels=16
    ),
    "dissection.causality.causal_effect": lambda w: [
        causality.causal_effect(w.generator, w.segmenter, w.dissection, "tree", samples=4),
        causality.causal_effect(w.generator, w.segmenter, w.dissection, "tree", state=w.states),
    ],
    "dissection.causality.unit_effects": lambda w: causality.unit_effects(
        w.generator, w.segmenter, w.generator.edit_layer, w.dissection.high, samples=2
    ),
    "dissection.causality.causal_curve": lambda w: causality.causal_curve(
        w.generator, w.segmenter, w.dissection, "tree", units=(1, 4), samples=4
    ),
    "dissection.discovery.discover": lambda w: _discovered(w),
    "dissection.discovery.remeasure": lambda w: (
        discovery.remeasure(w.generator, w.discovered, "part 1", samples=4, batch=2).exemplars
    ),
    "dissection.discovery.exemplar_crops": lambda w: discovery.exemplar_crops(
        w.generator, w.discovered, crops=1, samples=2, side=8
    ),
    "dissection.discovery.distill": lambda w: list(
        discovery.distill(
            w.generator,
            torch.ones(4, 3, 32, 32),
            torch.zeros(4, 16, 16).long(),
            torch.arange(3),
            steps=2,
            batch=2,
        )
        .state_dict()
        .values()
    ),
    "dissection.choosing.best_fitting": _best_fitting,
    "dissection.exemplars.find_exemplars": lambda w: (
        exemplars.find_exemplars(w.generator, w.segmenter, w.dissection, samples=4, batch=2).exemplars
    ),
    "dissection.measure.dissect": lambda w: [
        measure.dissect(w.generator, w.segmenter, samples=4, batch=2, pixels=16, rotation=rotation).iou
        for rotation in (None, baselines.random_rotation(16))
    ],
    "dissection.measure.Probe": lambda w: measure.count(
        measure.Probe(w.generator, w.segmenter, w.generator.edit_layer, pixels=16),
        pictures.sampled(w.generator, 4, 0, 2),
    ),
    "dissection.pictures.sampled": lambda w: len(pictures.sampled(w.generator, 4, 0, 2)),
    "dissection.pictures.drawn": lambda w: pictures.drawn(w.generator, w.states),
    "dissection.pictures.states_of": lambda w: [
        state.features for state in pictures.states_of(w.model.to(), w.generator.edit_layer, 4, 0, 2)
    ],
    "dissection.pictures.labeled": lambda w: pictures.labeled(w.generator, w.segmenter, w.states),
    "explorer.atlas.make_atlas": lambda w: (
        atlas.make_atlas(w.generator, w.generator.edit_layer, samples=4, batch=2).peaks
    ),
    "explorer.atlas.measure_baselines": lambda w: (
        atlas.measure_baselines(w.generator, w.segmenter, w.generator.edit_layer, samples=50).rotated
    ),
    "explorer.atlas.measure_effects": lambda w: atlas.measure_effects(
        w.generator, w.segmenter, w.generator.edit_layer, w.dissection.high, samples=2
    ),
    "explorer.curves.measure_curves": lambda w: (
        curves.measure_curves(
            w.generator,
            w.segmenter,
            w.dissection,
            "tree",
            list(range(16)),
            (None, ""),
            units=(1, 4),
            samples=4,
            draws=1,
            seed=0,
        ).curve
    ),
    "training.data.SampleBatches": lambda w: _sampled(SampleBatches(w.generator, None, 3, 0)),
    "training.encoder.new_encoder": lambda w: train_encoder.new_encoder(w.generator).config,
    "training.encoder.train_encoder": lambda w: len(
        train_encoder.train_encoder(w.generator, steps=2, batch=2).config
    ),
    "training.initializer.train_initializer": lambda w: len(
        train_initializer.train_initializer(w.generator, w.encoder, steps=2, batch=3).config
    ),
}
"""Each public function that takes a generator or a model, by the name of its module and its own."""

ELSEWHERE = {
    "explorer.brushes.folder",  # names only
    "explorer.measured.MeasuredLayer",  # what Exploration derives from
    "explorer.exploration.Exploration",  # these three have tests of their own below
    "method.ablation.Ablation",  # what adapt() does with it has a case
    "method.adaptation.AdaptationConfig",
    "method.adaptation.PyramidFit",
    "models.devices.load",
    "models.model.Model",
    "models.registry.discovery_file",  # names only
    "models.registry.encoder_file",
    "models.registry.initializer_file",
    "models.registry.keep_discovery",  # writes what it is given
    "models.registry.load",
    "models.registry.load_generator",
    "training.painter.Painter",  # a pair of networks; what trains it takes a device
}


def test_every_function_that_takes_a_generator_has_its_case() -> None:
    found = set()
    for room in ("method", "dissection", "explorer", "training", "models"):
        package = importlib.import_module(f"ganpaint_widget.{room}")
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, one in vars(importlib.import_module(info.name)).items():
                if name.startswith("_") or not callable(one) or getattr(one, "__module__", "") != info.name:
                    continue
                parameters = inspect.signature(one).parameters.values() if _signed(one) else ()
                if any(
                    part in str(each.annotation)
                    for each in parameters
                    for part in ("StagedGenerator", "Model")
                ):
                    found.add(f"{info.name.removeprefix('ganpaint_widget.')}.{name}")
    assert found - ELSEWHERE == {name.split(" ")[0] for name in CASES}


def _signed(one: Any) -> bool:
    try:
        return bool(inspect.signature(one))
    except (TypeError, ValueError):
        return False


def _numbers(result: Any) -> list[Any]:
    """The tensors, arrays and numbers in what a function returned, on the CPU."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = vars(result)
    found: list[Any] = []
    for one in tree_leaves(result):
        if dataclasses.is_dataclass(one) and not isinstance(one, type):
            found += _numbers(vars(one))
        elif isinstance(one, Tensor):
            found.append(one.detach().cpu().float().numpy())
        elif isinstance(one, (int, float, np.ndarray)):
            found.append(np.asarray(one, np.float32))
    return found


@pytest.mark.filterwarnings("ignore:.*Disabling autocast")
@pytest.mark.parametrize("kind", ["progan", "stylegan2"])
@pytest.mark.parametrize("name", CASES)
def test_it_runs_on_another_device_and_finds_the_same(kind: str, name: str) -> None:
    torch.manual_seed(0)
    wanted = _numbers(CASES[name](World(made(kind).to("cpu"))))
    with strict_device():
        model = made(kind).to(NAME)
        assert all(is_there(one) for network in networks(model) for one in network.parameters())
        torch.manual_seed(0)
        found = CASES[name](World(model))
        found = _numbers(found)
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_a_network_in_training_is_left_as_it_was(name: str) -> None:
    """Its statistics, its weights and where they lie, its gradients and what learns."""
    model = made("progan")
    generator = model.generator
    plain = {
        id(network): {k: v.clone() for k, v in network.state_dict().items()} for network in networks(model)
    }
    layouts = [one.stride() for network in networks(model) for one in network.parameters()]
    world = World(model)
    with torch.no_grad():
        generator.eval()
        _ = world.states, world.x, world.original  # made by this test, not by the function
        generator.train()
    CASES[name](world)
    for network in networks(model):
        assert all(module.training for module in network.modules())
        assert all(one.requires_grad and one.grad is None for one in network.parameters())
        for key, value in network.state_dict().items():
            assert torch.equal(value, plain[id(network)][key]), key
    assert layouts == [one.stride() for network in networks(model) for one in network.parameters()]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_other_types_of_numbers_are_no_raw_error(name: str, dtype: torch.dtype) -> None:
    model = made("progan").to("cpu")
    model = dataclasses.replace(model, generator=made("progan").generator.eval().to(dtype))
    found = CASES[name](World(model))
    assert all(np.isfinite(one).all() for one in _numbers(found))


@pytest.mark.parametrize("change", ["train", "half", "double", "wrapped"])
def test_opening_a_picture_changes_nothing_of_a_users_model(change: str, worker: Worker) -> None:
    model = made("progan")
    if change in ("half", "double"):
        for network in networks(model):
            getattr(network, change)()
    wrapped = Wrapped()
    if change == "wrapped":
        model = dataclasses.replace(model, segmenter=wrapped)
    before = {
        id(one): {k: v.clone() for k, v in one.state_dict().items()}
        for one in (*networks(model), wrapped.inner)
    }
    session = EditingSession(np.full((SIZE, SIZE, 3), 90, np.uint8), model, worker=worker)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:16, 8:16] = 255
    session.add("tree", mask)
    session.remove("dome", mask)
    session.restyle("window", mask, 1)
    session.adapt()
    for network in (*networks(model), wrapped.inner):
        assert all(module.training for module in network.modules())
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[id(network)][key]), key


def test_a_session_works_on_another_device() -> None:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[8:16, 8:16] = 255
    with strict_device():
        worker = Worker()
        session = EditingSession(
            np.full((SIZE, SIZE, 3), 90, np.uint8), made("progan"), device=NAME, worker=worker
        )
        session.add("tree", mask)
        session.remove("dome", mask)
        session.restyle("window", mask, 1)
        session.adapt()
        assert np.asarray(session.result).shape == (SIZE, SIZE, 3)
        session.start_faithful()
        assert np.asarray(session.preview).shape == (SIZE, SIZE, 3)
        worker.close(timeout=30)


def test_an_exploration_works_on_another_device() -> None:
    with strict_device():
        exploration = Exploration(made("progan"), device=NAME)
        assert next(exploration.model.generator.parameters()).device == DEVICE


def test_an_explorer_works_on_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with strict_device():
        worker = Worker()
        monkeypatch.setattr("ganpaint_widget.widget.explorer.explorer.default_worker", lambda: worker)
        explorer = DissectionExplorer(made("progan"), device=NAME)
        assert next(explorer.exploration.model.generator.parameters()).device == DEVICE
        explorer.close()
        worker.close(timeout=30)


def test_the_environment_and_the_argument_name_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    here = devices.load("demo")
    assert load("demo").to("cpu") is here
    with strict_device():
        there = devices.load("demo", "cuda")
        assert is_there(next(there.generator.parameters()))
        assert devices.load("demo", "cuda:0").generator is there.generator, "the same device, one copy"
        monkeypatch.setenv("GANPAINT_DEVICE", "cuda:0")
        assert devices.load("demo").generator is there.generator
        assert devices.load("demo", "cpu").generator is here.generator, "the argument comes first"
    assert next(here.generator.parameters()).device.type == "cpu", "the other is left where it was"
    monkeypatch.setenv("GANPAINT_DEVICE", "cuda:99")
    with pytest.raises(GANPaintError, match="'cuda:99'"):
        devices.load("demo")


def test_a_copy_follows_the_weights_that_it_was_made_of() -> None:
    """A user trains a model on between two sessions."""
    model = made("progan")
    first = devices.load(model).generator
    assert devices.load(model).generator is first
    with torch.no_grad():
        model.generator.layer1.conv.weight.add_(1)
    z = first.sample_z(1, 0)
    again = devices.load(model).generator
    assert torch.equal(again(z), model.generator.eval()(z).detach())
    own = made("progan").generator.half()
    assert devices.load(own).generator.layer1.conv.weight.dtype == torch.float32


# --- what a removal continues ---


@given(
    st.integers(1, 7),
    st.integers(1, 7),
    st.lists(st.booleans(), min_size=49, max_size=49),
    st.integers(0, 99),
)
def test_hidden_cells_are_the_mean_of_their_neighbors(
    rows: int, columns: int, places: list[bool], seed: int
) -> None:
    hidden = torch.tensor(places[: rows * columns]).view(rows, columns)
    features = torch.randn(2, 3, rows, columns, generator=torch.Generator().manual_seed(seed))
    filled = equation.continued(features, hidden)
    if hidden.all():
        assert not filled.any()
        return
    assert torch.equal(filled[..., ~hidden], features[..., ~hidden])
    for row, column in hidden.nonzero().tolist():
        around = [
            (weight, filled[..., row + down, column + right])
            for weight, down, right in (
                (1, -1, 0),
                (1, 1, 0),
                (equation.SIDEWAYS, 0, -1),
                (equation.SIDEWAYS, 0, 1),
            )
            if 0 <= row + down < rows and 0 <= column + right < columns
        ]
        mean = sum(weight * value for weight, value in around) / sum(weight for weight, _ in around)
        assert torch.allclose(filled[..., row, column], mean, atol=1e-5)


def test_a_large_grid_is_continued_in_little_memory() -> None:
    """A matrix of all cells against all others would be a gigabyte at this size."""
    hidden = torch.zeros(128, 128, dtype=torch.bool)
    hidden[2:-2, 2:-2] = True
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            sizes = [one.numel() for one in tree_leaves(result) if isinstance(one, Tensor)]
            largest = max([largest, *sizes])
            return result

    features = torch.ones(1, 4, 128, 128)
    with Watch():
        filled = equation.continued(features, hidden)
    assert torch.allclose(filled, features, atol=1e-4)
    assert largest <= 128**3
