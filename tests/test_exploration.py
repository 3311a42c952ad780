"""Exploration on a generator whose units are known, because the test made them; and on the demo's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from references import Brightness, FollowedBoxes

from ganpaint_widget.dissection import Dissection
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.explorer import brushes, charts, measured
from ganpaint_widget.explorer.atlas import STRONGEST, Atlas, make_atlas
from ganpaint_widget.explorer.brushes import Brush, Shelf
from ganpaint_widget.explorer.curves import published_removal
from ganpaint_widget.explorer.exploration import Exploration, compare
from ganpaint_widget.images.contours import contours
from ganpaint_widget.models.catalogue import CATALOGUE
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.registry import published
from ganpaint_widget.session import EditingSession, PaletteChanged
from ganpaint_widget.tickets import Cancelled, Ticket


@pytest.fixture
def boxes() -> Model:
    return Model("boxes", FollowedBoxes().eval(), segmenter=Brightness())


@pytest.fixture
def found(boxes: Model) -> Exploration:
    return Exploration(boxes).measure(samples=60)


# --- measuring and keeping ---


def test_one_in_a_hundred_cells_of_the_samples_is_active() -> None:
    """Whatever pictures the dissection was measured on: the demo's were scenes, not samples."""
    found = Exploration("demo").measure(samples=40)
    for unit in found.order()[::16]:
        counts, edges = found.histogram(unit)
        level = found.active_level(unit)
        assert abs(counts[edges[:-1] >= level].sum() / counts.sum() - 0.01) < 0.01
        assert found.outlines(unit)[0].size, "the strongest sample has an active region"


def test_what_is_missing_is_measured_once_and_kept(boxes: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = Exploration(boxes)
    assert fresh.missing == ("dissection", "atlas", "baselines", "effects")
    with pytest.raises(GANPaintError, match="not been dissected"):
        fresh.order()
    fresh.measure(samples=60)
    assert fresh.missing == ("baselines", "effects")
    fresh.measure("baselines", "effects", samples=60)

    monkeypatch.setattr(measured, "dissect", None)  # nothing is measured again
    monkeypatch.setattr(measured, "make_atlas", None)
    again = Exploration(boxes).measure()
    assert again.missing == ()
    assert torch.equal(again.dissection.iou, fresh.dissection.iou)
    assert torch.equal(again.dissection.threshold, fresh.dissection.threshold)
    assert again.atlas.files == fresh.atlas.files and again.atlas.numbers == fresh.atlas.numbers
    for name in ("strongest", "peaks", "maps", "counts", "edges", "correlation"):
        assert np.array_equal(getattr(again.atlas, name), getattr(fresh.atlas, name))
    assert again.baselines == fresh.baselines
    assert torch.equal(again.effects.effect, fresh.effects.effect)


def test_other_weights_know_nothing_of_it(boxes: Model, found: Exploration) -> None:
    other = FollowedBoxes().eval()
    with torch.no_grad():
        other.gain.mul_(1.5)
    assert Exploration(replace(boxes, generator=other)).missing[0] == "dissection"


def test_cancelled_it_keeps_what_was_whole(boxes: Model) -> None:
    ticket = Ticket(observer=lambda report: ticket.cancel() if report.fraction > 0.6 else None)
    explored = Exploration(boxes)
    with pytest.raises(Cancelled):
        explored.measure(samples=100, ticket=ticket)
    assert explored.missing[0] == "atlas" and Exploration(boxes).missing[0] == "atlas"


def test_drafts_of_an_atlas_are_atlases_of_fewer_samples(boxes: Model) -> None:
    found, sizes = Exploration(boxes), []

    def look() -> None:
        assert found.draft is not None and found.atlas is None
        found.draft._check()
        sizes.append((found.draft.samples, int(found.draft.counts[0].sum())))

    found.measure("atlas", samples=60, drafted=look)
    cells = found.atlas.maps[0, 0].size
    assert sizes == [(samples, samples * cells) for samples in (12, 24, 48)]
    assert found.draft is None
    again = make_atlas(boxes.generator, found.layer, samples=24)
    whole = make_atlas(boxes.generator, found.layer, samples=60)
    assert np.array_equal(found.atlas.peaks, whole.peaks)  # drafts change nothing
    assert (again.peaks <= whole.peaks).all()


def test_a_damaged_file_is_measured_anew(boxes: Model, found: Exploration) -> None:
    """Whatever has become of what was measured, the layer can be explored, and measured again."""
    for part in ("dissection", "atlas"):
        whole = (found.folder / f"{part}.safetensors").read_bytes()
        half = whole[: len(whole) // 2]
        for damaged in (b"", b"nothing", half, whole[:-1], whole.replace(b"config", b"conf1g")):
            (found.folder / f"{part}.safetensors").write_bytes(damaged)
            assert part in Exploration(boxes).missing
        (found.folder / f"{part}.safetensors").write_bytes(whole)
    # Whole files whose parts do not fit together.
    atlas = found.atlas
    assert atlas is not None
    for wrong in (
        replace(atlas, files=atlas.files[:-1]),
        replace(atlas, files=(b"no JPEG", *atlas.files[1:])),
        replace(atlas, peaks=atlas.peaks[:, :1]),
        replace(atlas, correlation=np.full_like(atlas.correlation, np.nan)),
        replace(atlas, strongest=atlas.strongest + 1000),
    ):
        wrong.save(found.folder / "atlas.safetensors")
        assert "atlas" in Exploration(boxes).missing
    again = Exploration(boxes).measure("atlas", samples=30)
    assert not {"dissection", "atlas"} & {*again.missing} and again.top(0).pictures.shape[0] == STRONGEST
    assert "atlas" not in Exploration(boxes).missing


def test_without_a_segmenter_nothing_can_be_named(boxes: Model) -> None:
    with pytest.raises(GANPaintError, match="has no segmenter"):
        Exploration(boxes.generator).measure()


def test_no_such_layer(boxes: Model) -> None:
    with pytest.raises(GANPaintError, match="where, draw"):
        Exploration(boxes, "layer9")


def test_another_layer_is_explored_and_edited_like_any(boxes: Model) -> None:
    """Without its own dissection at first; its sessions edit there, and share the weights."""
    other = Exploration(boxes, "draw").measure(samples=60)
    assert other.model.generator is not boxes.generator and boxes.generator.edit_layer == "where"
    assert other.channels == 1 and other.label(0) == "box"
    session = EditingSession(generator=other.model, journal=False)
    before = np.asarray(session.preview)
    session.suppress([0])
    assert np.asarray(session.preview).max() < before.max()
    comparison = compare(Exploration(boxes).measure(samples=60), other)
    assert {row.concept for row in comparison} == {"ground", "box"}
    box = next(row for row in comparison if row.concept == "box")
    assert box.other.units == 1 and box.other.share == 1 and box.one.best in (0, 4)


# --- the atlas ---


def test_the_atlas_has_the_strongest_samples(boxes: Model, found: Exploration) -> None:
    generator = boxes.generator
    z = generator.sample_z(60, 0)
    state = generator.run(generator.start(z), until="where")
    peaks = state.features.amax(dim=(2, 3))
    for unit in range(found.channels):
        best = peaks[:, unit].argsort(descending=True)[:STRONGEST].tolist()
        top = found.top(unit)
        assert sorted(top.seeds) == sorted(best)
        assert top.maps[0] == pytest.approx(state.features[best[0], unit].numpy(), abs=0.01)
        shown = found.intervene(seed=0, state=state.one(best[0]))[0]
        assert np.abs(top.pictures[0].astype(int) - shown).mean() < 3  # a JPEG
    # 0.99 quantile: the region is small where the unit is spread, and lies where the unit is active
    top = found.top(0)
    assert top.regions.any() and top.regions.mean() < 0.3


def test_histograms_and_company(found: Exploration) -> None:
    counts, edges = found.histogram(0)
    assert counts.sum() == 60 * 64 and len(edges) == len(counts) + 1
    assert (np.diff(edges) > 0).all()
    middle = (edges[:-1] + edges[1:]) / 2
    above = counts[middle > 1.5].sum() / counts.sum()
    assert above == pytest.approx(1 / 4, abs=0.02)  # a quarter of the picture is box
    assert found.coactive_units(0, 2)[0][0] == 4
    assert found.coactive_units(0, 2)[0][1] > 0.9
    assert dict(found.coactive_units(0, 4))[1] < -0.9


@given(arrays(np.float32, (6, 6), elements=st.floats(-2, 2, width=32)), st.floats(-1.5, 1.5))
def test_contours_separate_high_from_low(values: np.ndarray, level: float) -> None:
    (segments,) = contours(values[None], level)
    assert segments.min(initial=0) >= 0 and segments.max(initial=1) <= 1
    assert (len(segments) > 0) == bool((values > level).any())


def test_a_contour_runs_around_its_region() -> None:
    values = np.zeros((8, 8), np.float32)
    values[2:6, 3:7] = 1
    none, segments = contours(np.stack([0 * values, values]), 0.5)
    assert none.shape == (0, 2, 2)
    assert segments[..., 0].min() == pytest.approx(3 / 8, abs=0.07)
    assert segments[..., 0].max() == pytest.approx(7 / 8, abs=0.07)
    assert segments[..., 1].min() == pytest.approx(2 / 8, abs=0.07)
    # closed: every end is met by another one
    ends, times = np.unique(segments.reshape(-1, 2).round(4), axis=0, return_counts=True)
    assert (times % 2 == 0).all() and len(ends) > 8


def test_pictures(found: Exploration) -> None:
    sheet = found.picture([0, 1, 2], columns=2, tile=32)
    assert isinstance(sheet, Image.Image) and sheet.width > 2 * 4 * 32
    assert found.strip(0, 40).shape == (40, 4 * 40, 3)
    features = found.state(3).features[0].numpy()
    heat = found.heatmap(0, features)
    assert heat.shape == (32, 32) and heat.min() >= 0 and heat.max() <= 1
    inside = np.kron(features[0] > 1.5, np.ones((4, 4), bool))
    assert heat[inside].mean() > 0.6 and heat[~inside].mean() < 0.2
    shown = found.heatmap_picture(0, np.zeros((32, 32, 3), np.uint8), features, 64)
    assert shown.size == (64, 64) and np.asarray(shown).max() > 100


# --- orders and tables ---


def test_orders(found: Exploration) -> None:
    assert found.order("number") == [0, 1, 2, 3, 4]
    assert set(found.order("iou", "box")[:2]) == {0, 4} and found.order("iou", "ground")[0] == 1
    assert set(found.order("quality", "box")[:2]) == {0, 4}
    assert set(found.order("iou", label="box")) == {0, 4}
    with pytest.raises(GANPaintError, match="not been measured"):
        found.order("effect", "box")
    found.measure("effects")
    assert found.order("effect", "box")[0] == 0  # only unit 0 is drawn
    assert found.effects.effect[1, 0] == pytest.approx(1)
    assert float(found.effects.effect[:, 1:].abs().max()) == 0
    for wrong in [("size", None), ("iou", "tree")]:
        with pytest.raises(GANPaintError):
            found.order(*wrong)
    assert found.search("BO") == ("box",) and found.search(" ") == ("ground", "box")
    for unit in (-1, 5, 1.5, "0"):
        with pytest.raises(GANPaintError, match="does not have the units"):
            found.label(unit)


def test_tables(found: Exploration) -> None:
    found.measure("baselines", samples=60)
    units = found.table(concept="box")
    assert [row.unit for row in units] == found.order(concept="box")
    row = found.unit(0)[0]
    assert row.concept == "box" and row.iou > 0.8
    assert row.threshold is not None and 0.2 < row.threshold < 3
    bars = {row.concept: row for row in found.per_concept()}
    assert bars["box"].units == bars["box"].above_position == 2
    assert bars["box"].position_iou is not None and bars["box"].position_iou < 0.5
    assert bars["box"].rotated is not None and bars["box"].rotated <= 5
    assert compare(found, found)[0].one == compare(found, found)[0].other


def test_names_of_earlier_versions_go_on_for_a_release(found: Exploration) -> None:
    with pytest.warns(DeprecationWarning, match="per_concept"):
        bars = found.bars()
    with pytest.warns(DeprecationWarning, match=r"row\.units"):
        assert bars[0]["units"] == bars[0].units
    with pytest.warns(DeprecationWarning, match="coactive_units"):
        assert found.together(0, 2) == found.coactive_units(0, 2)


def test_figures_are_svg(found: Exploration) -> None:
    from xml.etree import ElementTree

    found.measure("baselines", samples=60)
    figures = [
        found.concept_figure(),
        found.histogram_figure(0, "box"),
        found.curve("box", units=(1, 2, 3), samples=6, draws=1).figure(),
    ]
    for figure in figures:
        for text in (figure.inline, figure._repr_svg_()):
            root = ElementTree.fromstring(text)
            assert root.tag.endswith("svg") and float(root.get("width")) == figure.width
    assert "threshold, box" in figures[1].inline
    hostile = charts.bars(["<script>"], {"a&b": [1]}, "x<y")
    ElementTree.fromstring(hostile.inline)


# --- switching ---


def test_interventions(found: Exploration) -> None:
    before, after = found.intervene(off=[0], seed=3)
    assert before.max() > 200 and after.max() < 80
    mask = np.zeros((32, 32), np.uint8)
    mask[:16] = 255
    before, after = found.intervene(on=[0], mask=mask, seed=3)
    assert after[:16].min() > 200
    assert np.array_equal(after[16:], before[16:])
    weak = found.intervene(on=[0], mask=mask, seed=3, strength=0.6)[1]
    assert weak[:16].mean() < after[:16].mean()
    plain, with_it = found.before_after(0, 2)
    assert plain.shape == with_it.shape == (2, 32, 32, 3) and with_it.max() < plain.max()
    for wrong in [{"off": [9]}, {"on": [0], "strength": 9}, {"off": [0], "mask": mask[:3]}]:
        with pytest.raises(GANPaintError):
            found.intervene(**wrong)


def test_curves_stand_beside_chance_and_what_was_published(found: Exploration) -> None:
    curves = found.curve("box", units=(1, 2, 5, 99), samples=10, draws=2)
    assert curves.curve.units == (1, 2, 5)
    assert curves.curve.ablated[-1] == pytest.approx(1)
    assert curves.random.ablated[-1] == pytest.approx(1)
    assert curves.random.ablated[0] < 1
    assert curves.published is None and len(curves.table()) == 3

    entry = CATALOGUE["church"]
    removed, source = published_removal("church", entry.edit_layer, "tree")
    assert removed == entry.brushes["tree"].removed and source
    assert published_removal("church", "layer9", "tree") == (None, "")
    assert published_removal("boxes", entry.edit_layer, "tree") == (None, "")
    assert published_removal("church", entry.edit_layer, "no such") == (None, "")
    assert published(entry).threshold is None


def test_artifact_candidates(found: Exploration) -> None:
    fractions: list[float] = []
    ticket = Ticket(observer=lambda report: fractions.append(report.fraction))
    ranked = found.artifact_candidates(samples=50, ticket=ticket)
    assert sorted(one.unit for one in ranked) == [0, 1, 2, 3, 4] and fractions[-1] == pytest.approx(1)


# --- brushes ---


def test_a_brush_is_scored_kept_and_offered_everywhere(boxes: Model, found: Exploration) -> None:
    sessions = [EditingSession(generator=found.model, journal=False) for _ in range(2)]
    heard: list[object] = []
    sessions[1].observe(heard.append)
    brush = found.make_brush("my box", [0], samples=20)
    assert brush.concept == "box" and brush.added > 0.95 and brush.removed > 0.95
    assert found.make_brush("noise", [2, 3], concept="box", samples=20).quality == 0
    for session in sessions:
        assert session.concepts == ("ground", "box", "my box", "noise")
    assert any(isinstance(event, PaletteChanged) for event in heard)

    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    before = np.asarray(sessions[0].preview)
    edit = sessions[0].add("my box", mask)
    assert edit.units == (0,) and edit.activations is not None
    after = np.asarray(sessions[0].preview)
    assert after[8:24, 8:24].min() > 200 and np.array_equal(after[:8], before[:8])
    sessions[0].update(edit.id, strength=0.1)
    assert np.asarray(sessions[0].preview)[12:20, 12:20].max() < 100
    sessions[0].undo()
    sessions[0].undo()
    sessions[0].remove("my box", np.full((32, 32), 255, np.uint8))
    assert np.asarray(sessions[0].preview).max() < 60

    # a later kernel finds it in the cache
    again = Shelf(5, found.folder / "brushes.json")
    kept = again.get("my box")
    assert (kept.units, kept.concept, kept.added, kept.color) == ((0,), "box", brush.added, brush.color)
    assert kept.activations[0] == pytest.approx(float(brush.activations[0]))
    found.shelf.take("my box")
    assert sessions[1].concepts == ("ground", "box", "noise")
    assert [brush.name for brush in Shelf(5, found.folder / "brushes.json").brushes] == ["noise"]
    assert len(sessions[0].edits) == 1  # what was painted stays


def test_edits_outlive_their_brush(found: Exploration, tmp_path: Path) -> None:
    """Recovered and loaded without it: they carry what they need."""
    found.make_brush("my box", [0], samples=4)
    session = EditingSession(generator=found.model, journal=tmp_path / "journal")
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    session.add("my box", mask, 0.9)
    session.remove("my box", mask)
    session.save(tmp_path / "one.ganpaint")
    session.close()
    found.shelf.take("my box")
    (journal,) = (tmp_path / "journal").iterdir()
    recovered = EditingSession.recover(journal, generator=found.model, journal=False)
    loaded = EditingSession.load(tmp_path / "one.ganpaint", generator=found.model, journal=False)
    for other in (recovered, loaded):
        assert other.edits == session.edits
        assert other.notice is None or other.notice.level == "info"
        assert np.array_equal(np.asarray(other.preview), np.asarray(session.preview))


@pytest.mark.parametrize(
    ("name", "units"),
    [("box", [0]), ("", [0]), ("x" * 65, [0]), ("a\nb", [0]), ("ok", []), ("ok", [7]), ("ok", ["0"])],
)
def test_what_cannot_be_a_brush_changes_nothing(found: Exploration, name: str, units: list) -> None:
    with pytest.raises(GANPaintError):
        found.make_brush(name, units, samples=4)
    assert found.shelf.brushes == () and not (found.folder / "brushes.json").exists()


def test_a_full_disk_keeps_no_brush(found: Exploration, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(GANPaintError, match="No space left"):
        found.make_brush("my box", [0], samples=4)
    assert found.shelf.brushes == ()


GOOD = {
    "name": "a",
    "units": [0],
    "levels": [1],
    "concept": None,
    "added": 0,
    "removed": 0,
    "color": "#123456",
}


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[1]",
        "{}",
        "[" * 100_000,
        *(
            json.dumps([GOOD | wrong])
            for wrong in [
                {"units": [99]},
                {"units": []},
                {"levels": [float("inf")]},
                {"levels": [1, 2, 3]},
                {"added": float("nan")},
                {"color": "red"},
                {"name": ""},
            ]
        ),
    ],
)
def test_a_damaged_shelf_is_empty_and_nothing_of_it_is_lost(tmp_path: Path, text: str) -> None:
    path = tmp_path / "brushes.json"
    path.write_text(json.dumps([GOOD]))
    assert len(Shelf(5, path).brushes) == 1
    path.write_text(text)
    shelf = Shelf(5, path)
    assert shelf.brushes == ()
    shelf.put(Brush("mine", (1,), np.ones(5, np.float32)))
    assert text in [one.read_text() for one in tmp_path.glob("brushes.damaged-*.json")]


def test_one_damaged_brush_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "brushes.json"
    path.write_text(json.dumps([GOOD, GOOD | {"name": "b", "color": "red"}, GOOD | {"name": "c"}]))
    shelf = Shelf(5, path)
    assert [brush.name for brush in shelf.brushes] == ["a", "c"]
    shelf.put(Brush("mine", (1,), np.ones(5, np.float32)))
    assert [brush.name for brush in Shelf(5, path).brushes] == ["a", "c", "mine"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"color": "red"}, {"color": "#12345g"}, {"name": ""}, {"units": ()}, {"units": (5,)}, {"added": 2.0},
        {"removed": float("nan")}, {"activations": np.full(5, np.nan)}, {"activations": np.ones(4)},
        {"activations": np.full(5, 1e60)}, {"concept": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_brush_that_could_not_be_read_again_is_refused(tmp_path: Path, wrong: dict) -> None:
    path = tmp_path / "brushes.json"
    shelf = Shelf(5, path)
    shelf.put(Brush("a", (0,), np.ones(5, np.float32)))
    before = path.read_text()
    with pytest.raises(GANPaintError):
        shelf.put(replace(Brush("b", (0,), np.ones(5, np.float32)), **wrong))
    assert path.read_text() == before and len(shelf.brushes) == 1


def test_a_shelf_holds_so_many() -> None:
    shelf = Shelf(3)
    activations = np.ones(3, np.float32)
    for number in range(brushes.MAX_BRUSHES):
        shelf.put(Brush(f"b{number}", (0,), activations))
    with pytest.raises(GANPaintError, match="shelf is full"):
        shelf.put(Brush("one more", (0,), activations))
    shelf.put(Brush("b0", (1,), activations))  # in place of the old one
    assert shelf.get("b0").units == (1,) and len(shelf.brushes) == brushes.MAX_BRUSHES


def test_a_session_that_is_gone_is_told_nothing() -> None:
    class Watcher:
        told = 0

        def changed(self) -> None:
            Watcher.told += 1

    shelf, watcher = Shelf(3), Watcher()
    shelf.watch(watcher.changed)
    shelf.put(Brush("a", (0,), np.ones(3, np.float32)))
    del watcher
    shelf.put(Brush("b", (0,), np.ones(3, np.float32)))
    assert Watcher.told == 1


# --- the demo ---


def test_the_demo_is_ready_but_for_its_atlas(tmp_path: Path) -> None:
    demo = Exploration("demo")
    assert "dissection" not in demo.missing
    atlas = make_atlas(demo.model.generator, demo.layer, samples=12, batch=6)
    atlas.save(tmp_path / "atlas.safetensors")
    again = Atlas.load(tmp_path / "atlas.safetensors")
    assert again.sample(0).shape == atlas.sample(0).shape
    assert (
        isinstance(demo.dissection, Dissection) and len(demo.order("iou", demo.concepts[0])) == demo.channels
    )
