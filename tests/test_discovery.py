"""Concepts that are found without labels, on worlds whose things the test has made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from references import Boxes, Brightness
from torch import Tensor, nn
from torch.nn import functional as F

import ganpaint_widget as gp
from ganpaint_widget.dissection import (
    discover,
    discovery,
    dissect,
    exemplar_crops,
    hide,
    merge,
    remeasure,
    rename,
    show,
    split,
)
from ganpaint_widget.dissection.clusters import (
    Borders,
    borders_of,
    branches,
    cut,
    kmeans,
    linkage,
    places_of,
    visible,
)
from ganpaint_widget.dissection.discovery import parts_of
from ganpaint_widget.dissection.measure import Probe, count, tabulate
from ganpaint_widget.dissection.pictures import sampled, states_of
from ganpaint_widget.dissection.regions import joined, region_means, superpixels
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.explorer.exploration import Exploration
from ganpaint_widget.explorer.parts import find, rearrange, shown
from ganpaint_widget.models.generator import StagedGenerator, State
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.parts import Parts
from ganpaint_widget.models.registry import discovery_file, keep_discovery, load
from ganpaint_widget.models.shaper import Shaper
from ganpaint_widget.models.units import Dissection
from ganpaint_widget.session import EditingSession
from ganpaint_widget.session.events import PaletteChanged, Progress
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.storage import fingerprint
from ganpaint_widget.tickets import Cancelled, Ticket

QUICK: Any = {"samples": 60, "steps": 60, "batch": 20}


@pytest.fixture(scope="module")
def found() -> Dissection:
    return discover(Boxes(), 4, **QUICK)


# --- clusters ---


def planted(groups: int, each: int, spread: float = 0.05, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Unit vectors around as many orthogonal directions, and of which direction each is."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(groups).repeat_interleave(each)
    points = torch.eye(8)[labels] + spread * torch.randn(len(labels), 8, generator=random)
    return F.normalize(points, dim=1), labels


def test_kmeans_finds_what_was_planted() -> None:
    points, labels = planted(5, 40)
    centroids = kmeans(points, 5, seed=3)
    nearest = (points @ centroids.T).argmax(dim=1)
    assert len({*zip(labels.tolist(), nearest.tolist(), strict=True)}) == 5  # one to one
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(5))
    assert torch.equal(centroids, kmeans(points, 5, seed=3))


def test_kmeans_makes_no_more_clusters_than_there_are_points() -> None:
    points = torch.eye(8)[torch.arange(3).repeat(10)]
    assert sorted(kmeans(points, 7).argmax(dim=1).tolist()) == [0, 1, 2]


def test_linkage_joins_what_is_nearest_and_measures_unions_anew() -> None:
    """Against mean directions computed from all members, step by step."""
    centroids = F.normalize(torch.randn(9, 5, generator=torch.Generator().manual_seed(4)), dim=1)
    groups = {node: [node] for node in range(9)}
    for step, (one, other) in enumerate(linkage(centroids, torch.full((9,), 1 / 9)).tolist()):
        means = {node: F.normalize(centroids[some].sum(dim=0), dim=0) for node, some in groups.items()}
        distance = {
            (a, b): float(1 - means[a] @ means[b]) / (len(groups[a]) * len(groups[b])) ** (1 / 16)
            for a in groups
            for b in groups
            if a < b
        }
        assert distance[min(one, other), max(one, other)] == pytest.approx(min(distance.values()), rel=1e-4)
        groups[9 + step] = groups.pop(one) + groups.pop(other)
    assert len(groups) == 1


def test_large_clusters_are_joined_first() -> None:
    """Two pairs equally far apart: a sky's, and a window's."""
    centroids = F.normalize(
        torch.tensor([[1, 0.3, 0, 0], [1, -0.3, 0, 0], [0, 0, 1, 0.3], [0, 0, 1, -0.3]]), dim=1
    )
    first = linkage(centroids, torch.tensor([0.05, 0.05, 0.45, 0.45]))[0].tolist()
    assert first == [2, 3]
    assert linkage(centroids, torch.tensor([0.45, 0.45, 0.05, 0.05]))[0].tolist() == [0, 1]


def test_a_tree_is_cut_and_parted_at_its_last_steps() -> None:
    points, labels = planted(3, 4)
    tree = linkage(points, torch.full((12,), 1 / 12))
    member = cut(tree, 3)
    assert len({*zip(labels.tolist(), member.tolist(), strict=True)}) == 3
    assert sorted(cut(tree, 1).tolist()) == [0] * 12
    assert sorted(cut(tree, 12).tolist()) == list(range(12))
    # Two of the three groups, whatever lies between them in the tree.
    sides = branches(tree, [0, 1, 2, 3, 8, 9, 10, 11])
    assert sorted(sides) == [[0, 1, 2, 3], [8, 9, 10, 11]]


def test_what_cannot_be_seen_is_no_part() -> None:
    """A group without area joins the one that it is most like, and another one is cut in its place."""
    points, labels = planted(4, 3)
    even = torch.full((12,), 1 / 12)
    tree, area = linkage(points, even), torch.full((12,), 0.1)
    area[labels == 3] = 0
    points[labels == 3] = F.normalize(points[labels == 3] + points[:3], dim=1)
    member = visible(linkage(points, even), points, area, 3)
    assert len({*member.tolist()}) == 3
    assert {*member[labels == 3].tolist()} <= {*member[labels == 0].tolist()}
    assert int(visible(tree, points, torch.zeros(12), 3).max()) == 0


def test_clusters_at_the_same_places_are_joined_first() -> None:
    """Two pairs equally far apart: one at the same places, the other at opposite ones."""
    centroids = F.normalize(
        torch.tensor([[1, 0.3, 0, 0], [1, -0.3, 0, 0], [0, 0, 1, 0.3], [0, 0, 1, -0.3]]), dim=1
    )
    labels = torch.full((2, 8, 8), 0)
    labels[0, :4], labels[1, :4] = 0, 1
    labels[:, 4:, :4], labels[:, 4:, 4:] = 2, 3
    places = places_of(labels, 4)
    torch.testing.assert_close(places.sum(dim=1), torch.ones(4))
    even = torch.full((4,), 0.25)
    assert linkage(centroids, even, places)[0].tolist() == [0, 1]
    swapped = [2, 3, 0, 1]
    assert linkage(centroids[swapped], even, places[swapped])[0].tolist() == [2, 3]


def test_clusters_that_flow_into_each_other_are_joined_first() -> None:
    """Two pairs equally far apart: bands of a sky, and a window in its wall."""
    centroids = F.normalize(
        torch.tensor([[1, 0.3, 0, 0], [1, -0.3, 0, 0], [0, 0, 1, 0.3], [0, 0, 1, -0.3]]), dim=1
    )
    labels = torch.arange(4).repeat_interleave(8).expand(2, 16, -1)
    pictures = torch.zeros(2, 3, 32, 64)
    pictures[..., :16], pictures[..., 32:48] = 0.1, 0.9
    borders = borders_of(pictures, labels, 4)
    assert borders.lengths[0, 1] == borders.lengths[1, 0] == 2 * 16
    assert borders.lengths[0, 2] == borders.lengths[1, 1] == 0
    assert float(borders.contrasts[2, 3] / borders.lengths[2, 3]) == pytest.approx(0.9 * 3**0.5)
    even = torch.full((4,), 0.25)
    longer = Borders(100 * borders.lengths, 100 * borders.contrasts)  # long enough to count
    assert linkage(centroids, even, borders=longer)[0].tolist() == [0, 1]
    swapped = torch.tensor([2, 3, 0, 1])
    turned = Borders(longer.lengths[swapped][:, swapped], longer.contrasts[swapped][:, swapped])
    assert linkage(centroids[swapped], even, borders=turned)[0].tolist() == [2, 3]


def test_a_tree_stays_apart_from_grass_of_its_color() -> None:
    """A tree looks much like the grass, and a door little like its wall, but it has a place of its own."""
    alike, unlike = 0.25, 0.8
    centroids = F.normalize(
        torch.tensor([[1, 0, 0, 0], [1, alike, 0, 0], [0, 0, 1, 0], [0, 0, 1, unlike]]), dim=1
    )
    labels = torch.full((1, 8, 8), 0)
    labels[:, 4:] = 2
    labels[:, :2, :4] = 1  # high up, where its ground never is
    labels = labels.repeat(2, 1, 1)
    labels[1, 4:, ::2] = 3  # everywhere where its ground is
    even = torch.full((4,), 0.25)
    assert linkage(centroids, even)[0].tolist() == [0, 1]
    assert linkage(centroids, even, places_of(labels, 4))[0].tolist() == [2, 3]


def test_slivers_do_not_take_the_place_of_a_part() -> None:
    """Two large things that are a little alike, and something that is like neither."""
    centroids = F.normalize(torch.tensor([[1, 0, 0], [0.3, 1, 0], [0, 0, 1.0]]), dim=1)
    assert linkage(centroids, torch.tensor([0.5, 0.4, 0.1]))[0].tolist() == [0, 1]
    assert 2 in linkage(centroids, torch.tensor([0.599, 0.4, 0.001]))[0].tolist()


# --- regions ---


def test_superpixels_keep_to_the_edges_of_a_picture() -> None:
    """A disc that lies across the grid on which superpixels begin."""
    row, column = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    disc = (row - 13.3) ** 2 + (column - 17.7) ** 2 < 60
    pictures = torch.where(disc, 0.8, -0.8).expand(2, 3, -1, -1)
    labels = superpixels(pictures, 8)
    assert labels.shape == (2, 32, 32) and int(labels.max()) < 64
    shares, areas = region_means(disc.float().expand(2, 1, -1, -1), labels, 64)
    pure = ((shares[:, :, 0] < 0.01) | (shares[:, :, 0] > 0.99)).float()
    assert float((pure * areas).sum() / areas.sum()) > 0.97
    assert len(labels[0].unique()) > 40


def test_means_of_regions_are_those_of_their_pixels() -> None:
    random = torch.Generator().manual_seed(0)
    maps = torch.randn(2, 3, 6, 6, generator=random)
    labels = torch.randint(0, 4, (2, 6, 6), generator=random)
    means, areas = region_means(maps, labels, 5)
    for one in range(2):
        for region in range(4):
            inside = maps[one][:, labels[one] == region]
            torch.testing.assert_close(means[one, region], inside.mean(dim=1))
            assert areas[one, region] == inside.shape[1]
    assert float(means[:, 4].abs().max()) == 0 and float(areas[:, 4].max()) == 0


def test_regions_are_joined_where_they_touch_and_are_alike() -> None:
    """A row of five, in two pictures: 0 is like 4, which it does not touch, and 1 is like 2."""
    labels = torch.arange(5).repeat_interleave(2).expand(2, 4, -1).clone()
    described = torch.tensor([[0.0], [1.0], [1.1], [3.0], [0.0]]).repeat(2, 1, 1)
    described[1, :, 0] = torch.tensor([0.0, 5.0, 9.0, 9.1, 20.0])
    member = joined(described, torch.full((2, 5), 8.0), labels, left=4)
    assert member.tolist() == [[0, 1, 1, 3, 4], [0, 1, 2, 2, 4]]
    member = joined(described, torch.full((2, 5), 8.0), labels, left=1)
    assert all(len({*one}) == 1 for one in member.tolist())
    apart = labels.clone()
    assert torch.equal(
        joined(described, torch.full((2, 5), 8.0), apart, left=5), torch.arange(5).repeat(2, 1)
    )


# --- discovering ---


def matched(parts: Parts, generator: StagedGenerator, truth: Any) -> dict[str, float]:
    """Of each true class the best IoU with a part, on samples that were not looked at."""
    with torch.no_grad():
        pictures = generator.sample(40, seed=77).clamp(-1, 1)
    true, seen = truth.segment(pictures), parts.segment(pictures)
    best = {}
    for row, name in enumerate(truth.classes):
        overlaps = [
            float(((true == row) & (seen == part)).sum() / ((true == row) | (seen == part)).sum())
            for part in range(len(parts.classes))
        ]
        best[name] = max(overlaps)
    return best


def test_what_a_world_shows_is_found_without_a_label() -> None:
    made = discover(Boxes(), 2, **QUICK)
    assert made.parts is not None
    found_again = matched(made.parts, Boxes(), Brightness())
    assert min(found_again.values()) > 0.8, found_again
    box = max(made.concepts, key=lambda name: float(made.present[made.index(name), 0]))
    assert made.units(box, 1).tolist() == [0]  # the unit that says where the box is
    assert made.concepts == ("part 1", "part 2")
    assert box == "part 2"  # a box covers a quarter, and the largest part is the first
    added, removed = made.effect[made.index(box)].tolist()
    assert added > 0.6
    assert removed > 0.6
    assert made.has_exemplars(box)
    assert made.exemplar(box, torch.zeros(1, 4, 8, 8))[0] == pytest.approx(3, abs=0.6)


class Reading(nn.Module):
    """Reads twice the activations that latents draw, as an encoder's differ from those of samples."""

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        box = F.avg_pool2d(pictures[:, :1], 4)
        features = torch.cat([3 * (box + 1), 3 * (1 - box), 0.1 * box, -0.1 * box], dim=1)
        return torch.zeros(len(pictures), 8), features


class Corners:
    """Boxes in the upper left quarter only, which samples show in a quarter of all cases."""

    count = 30

    def picture(self, index: int) -> np.ndarray[Any, Any]:
        picture = np.zeros((32, 32, 3), np.uint8)
        picture[:16, :16] = 255
        return picture

    def title(self, index: int) -> str:
        return f"Corner {index}"


def test_a_model_shows_its_gallery_as_its_encoder_reads_it() -> None:
    boxes = Boxes()
    model = Model("boxes", boxes, Reading(), gallery=Corners())
    states = states_of(model, "where", 40, seed=0, batch=16)
    assert [len(state.features) for state in states] == [16, 16, 8]
    assert all(state.stage == "where" for state in states)
    features = torch.cat([state.features for state in states])
    upper_left = features[:, 0, :4, :4].mean(dim=(1, 2)) > 3
    assert bool(upper_left[:30].all()), "the gallery's pictures come first"
    assert 0 < int(upper_left[30:].sum()) < 10, "samples follow when they are used up"
    torch.testing.assert_close(features[:30, 0, :4, :4], torch.full((30, 4, 4), 6.0))


def test_without_an_encoder_samples_are_looked_at() -> None:
    boxes = Boxes()
    latents = boxes.sample_z(6, 3)
    for model in (Model("boxes", boxes), Model("boxes", boxes, gallery=Corners())):
        states = states_of(model, "where", 6, seed=3, batch=4)
        torch.testing.assert_close(torch.cat([state.features for state in states]), latents)


def test_parts_of_a_model_aim_at_what_its_encoder_reads() -> None:
    made = discover(Model("boxes", Boxes(), Reading(), gallery=Corners()), 2, **QUICK)
    box = max(made.concepts, key=lambda name: float(made.present[made.index(name), 0]))
    assert made.has_exemplars(box)
    assert made.exemplar(box, torch.zeros(1, 4, 8, 8))[0] == pytest.approx(6, abs=0.6)
    again = remeasure(Model("boxes", Boxes(), Reading()), made, box, samples=20, batch=20)
    assert again.exemplar(box, torch.zeros(1, 4, 8, 8))[0] == pytest.approx(6, abs=0.6)
    model = Model("boxes", Boxes(), Reading(), gallery=Corners())
    crops = exemplar_crops(model, made, crops=9, samples=9, side=32)
    assert len(crops[box]) == 9, "of the gallery, every picture shows a box"


def test_effects_are_measured_on_other_pictures_than_those_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exemplars come from the gallery; how well they serve is tried on samples."""
    tried = []

    def effect(*given: Any, state: State, **named: Any) -> tuple[float, float]:
        tried.append(state.features[:, 0, :4, :4].mean(dim=(1, 2)) > 3)
        return 0.5, 0.5

    monkeypatch.setattr(discovery, "causal_effect", effect)
    discover(Model("boxes", Boxes(), Reading(), gallery=Corners()), 2, **(QUICK | {"samples": 30}))
    assert len(tried) == 2
    assert not tried[0].all(), "all trials are of the gallery"


def test_reading_a_gallery_can_be_cancelled() -> None:
    class Slow(Corners):
        count = 10_000
        shown = 0

        def picture(self, index: int) -> np.ndarray[Any, Any]:
            Slow.shown += 1
            return super().picture(index)

    ticket = Ticket(observer=lambda report: ticket.cancel())
    with pytest.raises(Cancelled):
        discover(Model("boxes", Boxes(), Reading(), gallery=Slow()), 2, samples=10_000, ticket=ticket)
    assert Slow.shown < 100


def test_a_gallery_of_another_size_is_refused() -> None:
    class Large(Corners):
        def picture(self, index: int) -> np.ndarray[Any, Any]:
            return np.zeros((48, 48, 3), np.uint8)

    with pytest.raises(GANPaintError, match="48"):
        discover(Model("boxes", Boxes(), Reading(), gallery=Large()), 2, **QUICK)


def test_the_same_seed_finds_the_same(found: Dissection) -> None:
    again = discover(Boxes(), 4, **QUICK)
    assert again.concepts == found.concepts
    assert torch.equal(again.iou, found.iou)
    assert torch.equal(again.effect, found.effect)
    other = discover(Boxes(), 4, **(QUICK | {"seed": 5}))
    assert not torch.equal(parts_of(other).centroids, parts_of(found).centroids)


def test_parts_keep_the_shaper_of_their_generator(found: Dissection, tmp_path: Path) -> None:
    known = replace(found, shaper=Shaper(len(found.high), ["tree"], width=8, depth=1))
    assert known.shaper is not None and not known.shaper.knows("part 1")
    nn.init.normal_(known.shaper.last[1].weight)
    made = discover(Model("boxes", Boxes(), dissection=known), 2, **QUICK)
    renamed = rename(made, "part 1", "sky")
    renamed.save(tmp_path / "a.safetensors")
    kept = Dissection.load(tmp_path / "a.safetensors").shaper
    assert kept is not None and kept.knows("sky") and kept.knows("part 2")
    assert torch.equal(kept.last[1].weight, known.shaper.last[1].weight.half().float())
    elsewhere = Model("boxes", Boxes(), dissection=replace(known, layer="another"))
    assert discover(elsewhere, 2, **QUICK).shaper is None


def test_soft_masks_of_any_picture_sum_to_one(found: Dissection) -> None:
    pictures = torch.rand(2, 3, 50, 50) * 2 - 1  # of another size, and of another world
    masks = parts_of(found).masks(pictures)
    assert masks.shape == (2, 4, 50, 50)
    torch.testing.assert_close(masks.sum(dim=1), torch.ones(2, 50, 50))
    assert parts_of(found).segment(pictures).max() < 4


@pytest.mark.parametrize("parts", [1, 0, 65])
def test_a_number_of_parts_that_cannot_be(parts: int) -> None:
    with pytest.raises(GANPaintError, match="out of range"):
        discover(Boxes(), parts, **QUICK)


class Flat(Boxes):
    """All cells are the same."""

    def stage(self, name: str, state: State) -> State:
        after = super().stage(name, state)
        return after if name == "draw" else after.replace(torch.ones_like(after.features))


def test_a_layer_without_differences_is_refused() -> None:
    with pytest.raises(GANPaintError, match="same direction"):
        discover(Flat(), 4, **QUICK)


def test_progress_grows_and_a_search_can_be_cancelled() -> None:
    told: list[float] = []

    def report(report: Any) -> None:
        told.append(report.fraction)
        if report.fraction > 0.3:
            ticket.cancel()

    ticket = Ticket(observer=report)
    with pytest.raises(Cancelled):
        discover(Boxes(), 4, ticket=ticket, **QUICK)
    assert all(before <= after for before, after in pairwise(told))
    assert told[-1] < 0.5
    assert len(told) > 10


# --- files ---


def test_what_was_found_is_read_as_it_was_written(found: Dissection, tmp_path: Path) -> None:
    changed = hide(rename(found, "part 2", "the box"), "part 3")
    changed.save(tmp_path / "units.safetensors")
    read = Dissection.load(tmp_path / "units.safetensors")
    assert read.concepts == changed.concepts
    assert read.offered == ("part 1", "the box", "part 4")
    for table in ("iou", "iqr", "present", "level", "weight", "effect", "threshold", "high"):
        assert torch.equal(getattr(read, table), getattr(changed, table)), table
    pictures = torch.rand(2, 3, 32, 32)
    assert torch.equal(parts_of(read).segment(pictures), parts_of(changed).segment(pictures))
    # What follows from counts is the same afterwards, too.
    torch.testing.assert_close(merge(read, "part 1", "part 4").iou, merge(changed, "part 1", "part 4").iou)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("parts.member", lambda one: one * 0),  # parts without clusters
        ("parts.member", lambda one: one + 50),
        ("parts.tree", lambda one: one * 0),
        ("parts.centroids", lambda one: one[:, :-1]),
        ("parts.counts", lambda one: one[..., :-1]),
        ("parts.sums", lambda one: one * torch.nan),
        ("parts.network.head.weight", lambda one: one[:-1]),
        ("parts.network.head.weight", lambda one: one * torch.inf),
    ],
)
def test_a_damaged_file_is_refused(found: Dissection, tmp_path: Path, name: str, spoil: Any) -> None:
    import json

    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "units.safetensors"
    found.save(path)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    assert json.loads(metadata["config"])["parts"]["classes"] == list(found.concepts)
    save_file({**tensors, name: spoil(tensors[name]).contiguous()}, path, metadata)
    with pytest.raises(GANPaintError, match="damaged"):
        Dissection.load(path)


# --- what people do with parts ---


class Joined:
    """The parts of a segmenter with two of them taken as one, by hand."""

    def __init__(self, parts: Parts, kept: int, gone: int) -> None:
        self.parts, self.kept, self.gone = parts, kept, gone
        self.classes = tuple(name for row, name in enumerate(parts.classes) if row != gone)

    def segment(self, pictures: Tensor) -> Tensor:
        labels = self.parts.segment(pictures)
        labels = torch.where(labels == self.gone, self.kept, labels)
        return labels - (labels > self.gone).long()


def test_merged_parts_are_exactly_their_union(found: Dissection) -> None:
    """As if everything had been counted anew with a segmenter that never knew the two apart."""
    merged = merge(found, "part 1", "part 3", "both")
    assert merged.concepts == ("both", "part 2", "part 4")
    union = Joined(parts_of(found), 0, 2)
    pictures = Boxes().sample(6, seed=9).detach().clamp(-1, 1)
    assert torch.equal(parts_of(merged).segment(pictures), union.segment(pictures))
    evidence = count(Probe(Boxes(), union, "where"), sampled(Boxes(), 60, seed=0, batch=20))
    anew = tabulate(evidence, "where", union.classes, {})
    for table in ("iou", "iqr", "threshold"):
        assert torch.equal(getattr(merged, table), getattr(anew, table)), table
    one, other, both = (
        float(table.effect[table.index(name), 0])
        for table, name in ((found, "part 1"), (found, "part 3"), (merged, "both"))
    )
    assert min(one, other) <= both <= max(one, other)
    assert merged.colors["both"] in (found.colors["part 1"], found.colors["part 3"])
    assert torch.equal(merged.iou[1], found.iou[1])  # the others are as they were


def test_splitting_takes_merged_parts_apart_again(found: Dissection) -> None:
    clusters = {name: parts_of(found).clusters_of(row) for row, name in enumerate(found.concepts)}
    apart = split(merge(found, "part 1", "part 2"), "part 1")
    assert apart.concepts == ("part 1", "part 1 2", "part 3", "part 4")
    halves = [parts_of(apart).clusters_of(row) for row in (0, 1)]
    # The cut of the tree has made the two: where they part is where it joins them.
    assert sorted(halves) == sorted([clusters["part 1"], clusters["part 2"]])
    assert apart.colors["part 1"] != apart.colors["part 1 2"]
    assert apart.exemplars is not None
    assert found.exemplars is not None
    assert int(apart.exemplars.counts[:2].sum()) <= int(found.exemplars.counts[:2].sum())


def test_parts_are_split_down_to_single_clusters(found: Dissection) -> None:
    name = max(found.concepts, key=lambda one: len(parts_of(found).clusters_of(found.index(one))))
    amount, now = len(parts_of(found).clusters_of(found.index(name))), found
    for _ in range(amount - 1):
        rows = [row for row, one in enumerate(now.concepts) if one.startswith(name)]
        largest = max(rows, key=lambda row: len(parts_of(now).clusters_of(row)))
        now = split(now, now.concepts[largest])
    assert sum(one.startswith(name) for one in now.concepts) == amount
    with pytest.raises(GANPaintError, match="split any further"):
        split(now, name)


def test_a_split_part_is_measured_anew(found: Dissection) -> None:
    row = max(range(len(found.concepts)), key=lambda one: len(parts_of(found).clusters_of(one)))
    name = found.concepts[row]
    halves = split(found, name)
    assert torch.equal(halves.effect[row], halves.effect[row + 1])  # an estimate
    tried = remeasure(Boxes(), halves, name, f"{name} 2", samples=40, batch=20)
    assert not torch.equal(tried.effect[row : row + 2], halves.effect[row : row + 2])
    others = [one for one in range(len(halves.concepts)) if one not in (row, row + 1)]
    assert torch.equal(tried.effect[others], halves.effect[others])


def test_names_and_what_is_hidden(found: Dissection) -> None:
    named = rename(found, "part 2", "Fenster & Türen")
    assert named.concepts == ("part 1", "Fenster & Türen", "part 3", "part 4")
    assert parts_of(named).classes == named.concepts
    assert found.concepts[1] == "part 2"  # nothing has happened to what it was made of
    hidden = hide(named, "part 1")
    assert hidden.offered == named.concepts[1:]
    assert parts_of(hidden).segment(torch.rand(1, 3, 32, 32)).shape == (1, 32, 32)
    assert show(hidden, "part 1").offered == named.concepts
    renamed = rename(hidden, "part 1", "sky")
    assert "sky" not in renamed.offered  # it is still hidden


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda one: rename(one, "part 1", "part 2"), "already"),
        (lambda one: rename(one, "part 1", ""), "cannot be the name"),
        (lambda one: rename(one, "part 9", "x"), "does not know"),
        (lambda one: merge(one, "part 1", "part 1"), "with itself"),
        (lambda one: merge(one, "part 1", "part 2", "part 3"), "already"),
        (lambda one: split(one, "no"), "does not know"),
        (lambda one: hide(hide(hide(hide(one, "part 1"), "part 2"), "part 3"), "part 4"), "last part"),
        (lambda one: rename(replace(one, parts=None), "part 1", "x"), "named by a segmenter"),
    ],
)
def test_what_cannot_be_done_is_said(found: Dissection, change: Any, says: str) -> None:
    with pytest.raises(GANPaintError, match=says):
        change(found)


def test_crops_show_where_a_part_is(found: Dissection) -> None:
    crops = exemplar_crops(Boxes(), found, crops=3, samples=12, side=24)
    assert crops.keys() == {*found.concepts}
    assert all(crop.shape == (24, 24, 3) and crop.dtype == np.uint8 for one in crops.values() for crop in one)
    assert max(len(one) for one in crops.values()) == 3
    bright = max(found.concepts, key=lambda name: float(found.present[found.index(name), 0]))
    dark = min(found.concepts, key=lambda name: float(found.present[found.index(name), 0]))
    assert np.mean(crops[bright]) > np.mean(crops[dark]) + 30
    assert exemplar_crops(Boxes(), found, crops=3, samples=12, side=24).keys() == crops.keys()


# --- a GAN of one's own, paintable by discovery alone ---


def scenes(z: Tensor) -> Tensor:
    """The world that the GAN below draws: a blue sky, green ground, and a red house at a place of its own."""
    rows, columns = torch.arange(32.0)[:, None], torch.arange(32.0)[None]
    horizon = 16 + 3 * z[:, 0].tanh()[:, None, None]
    left = 12 + 9 * z[:, 1].tanh()[:, None, None]
    ground = torch.sigmoid(3 * (rows - horizon))[:, None]
    house = (
        torch.sigmoid(3 * (columns - left))
        * torch.sigmoid(3 * (left + 9 - columns))
        * torch.sigmoid(3 * (rows - horizon + 7))
        * torch.sigmoid(3 * (horizon + 4 - rows))
    )[:, None]
    blue, green, red = (
        torch.tensor(one).view(1, 3, 1, 1) for one in ((-0.4, 0.1, 0.9), (-0.6, 0.5, -0.7), (0.9, -0.5, -0.5))
    )
    return (1 - house) * ((1 - ground) * blue + ground * green) + house * red


class DCGAN(nn.Module):
    """As people write it, on 32 x 32 pixels. Taught by pairs and not by a rival: a test has seconds."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def up(inputs: int, outputs: int, stride: int = 2, padding: int = 1) -> nn.Sequential:
            convolution = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

        self.head = up(4, 4 * width, stride=1, padding=0)
        self.block8 = up(4 * width, 2 * width)
        self.block16 = up(2 * width, width)
        self.rgb = nn.ConvTranspose2d(width, 3, 4, 2, 1)

    def forward(self, z: Tensor) -> Tensor:
        made: Tensor = self.rgb(self.block16(self.block8(self.head(z[:, :, None, None])))).tanh()
        return made


class StagedDCGAN(StagedGenerator):
    """As docs/bring_a_gan.md wraps one."""

    stages = ("head", "block8", "block16")
    latent_size, resolution = 4, 32
    edit_layer, fine_layers = "block8", ("block16",)

    def start(self, z: Tensor) -> State:
        return State(z[:, :, None, None])

    def stage(self, name: str, state: State) -> State:
        return State(self.gan.get_submodule(name)(state.features), name)

    def picture(self, state: State) -> Tensor:
        made: Tensor = self.gan.rgb(state.features).tanh()  # type: ignore[operator, union-attr]
        return made


class Colors:
    """Names the pixels of that world by their color."""

    classes = ("sky", "ground", "house")

    def segment(self, pictures: Tensor) -> Tensor:
        red, green, blue = pictures.unbind(dim=1)
        return torch.stack([blue, green, red], dim=1).argmax(dim=1)


@pytest.fixture(scope="module")
def dcgan() -> StagedDCGAN:
    torch.manual_seed(0)
    gan = DCGAN()
    optimizer = torch.optim.Adam(gan.parameters(), lr=0.005)
    for _ in range(400):
        z = torch.randn(32, 4)
        loss = (gan(z) - scenes(z)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.12
    return StagedDCGAN(gan=gan).eval()


@pytest.fixture
def short_discovery(monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(discovery, "TRIED", 8)
    monkeypatch.setattr(discovery.discover, "__kwdefaults__", {**discovery.discover.__kwdefaults__, **QUICK})


def row_of(session: EditingSession, dcgan: StagedDCGAN, true: str) -> str:
    """The concept that covers most of a true class in the session's picture."""
    labels = session.labels
    assert labels is not None
    with torch.no_grad():
        x = torch.from_numpy(np.array(session.photo)).permute(2, 0, 1)[None].float() / 127.5 - 1
    where = Colors().segment(x)[0].numpy() == Colors.classes.index(true)
    return session.classes[int(np.bincount(labels[where]).argmax())]


def test_a_gan_of_ones_own_is_painted_with_what_was_found(
    dcgan: StagedDCGAN, worker: Worker, short_discovery: None
) -> None:
    session = EditingSession(generator=dcgan, worker=worker)
    assert session.concepts == ()
    assert session.labels is None
    events: list[Any] = []
    session.observe(events.append)
    palette = session.find_concepts(4)
    assert len(palette) == 4
    assert [event for event in events if isinstance(event, PaletteChanged)]
    fractions = [event.fraction for event in events if isinstance(event, Progress)]
    assert {event.job for event in events if isinstance(event, Progress)} == {"discover"}
    assert len(fractions) > 20
    assert fractions == sorted(fractions)

    # Its parts are the world's own things.
    assert session.model.dissection is not None
    overlap = matched(parts_of(session.model.dissection), dcgan, Colors())
    assert min(overlap.values()) > 0.5, overlap

    # A click on a segment takes it, and removing it takes it away.
    house = row_of(session, dcgan, "house")
    labels = session.labels
    assert labels is not None
    where = labels == session.classes.index(house)
    before = np.array(session.preview).astype(int)
    session.remove(house, where)
    after = np.array(session.preview).astype(int)

    def red(picture: Any, place: Any) -> float:
        return float((picture[..., 0] - picture[..., 1])[place].mean())

    assert red(before, where) > 100
    assert red(after, where) < 0.5 * red(before, where)
    session.undo()

    # Adding it elsewhere makes one there.
    elsewhere = np.zeros((32, 32), bool)
    columns = np.flatnonzero(where.any(axis=0))
    left = 2 if columns.mean() > 16 else 20
    elsewhere[10:22, left : left + 10] = True
    session.add(house, elsewhere)
    added = np.array(session.preview).astype(int)
    assert red(added, elsewhere) > red(before, elsewhere) + 60
    far = ~elsewhere
    far[:, max(0, left - 6) : left + 16] = False
    assert np.abs(added - before)[far].mean() < 10

    # A restyle finds its region in a sample by itself.
    assert session.samples(house, 2)
    session.restyle(house, where, 3)
    with pytest.raises(GANPaintError, match="already has concepts"):
        session.find_concepts()


def test_found_concepts_are_there_the_next_time(
    dcgan: StagedDCGAN, worker: Worker, short_discovery: None
) -> None:
    first = EditingSession(generator=dcgan, worker=worker)
    first.find_concepts(3)
    mask = np.zeros((32, 32), np.uint8)
    mask[4:12, 4:12] = 255
    first.add(first.concepts[0], mask)
    first.close()
    assert discovery_file(dcgan).is_file()
    second = EditingSession.recover(generator=dcgan, worker=worker)
    assert second.concepts == first.concepts
    assert [edit.concept for edit in second.edits] == [first.concepts[0]]
    # A name that was given since counts, also for who comes with the older dissection.
    old = load(dcgan).dissection
    assert old is not None
    keep_discovery(dcgan, rename(old, "part 1", "meadow"))
    for source in (dcgan, Model("mine", dcgan), Model("mine", dcgan, dissection=old)):
        assert "meadow" in EditingSession(generator=source, worker=worker).concepts


def test_concepts_of_another_discovery_stay(dcgan: StagedDCGAN) -> None:
    keep_discovery(dcgan, discover(dcgan, 3, **QUICK))
    own = discover(dcgan, 4, **(QUICK | {"seed": 1}))
    assert load(Model("mine", dcgan, dissection=own)).dissection is own


def test_concepts_of_another_layer_or_wrapper_lie_apart(dcgan: StagedDCGAN) -> None:
    class Labeled(StagedDCGAN):
        label = 0

    def wrapped(label: int = 0, layer: str = "block8") -> StagedDCGAN:
        made = Labeled(gan=dcgan.gan)
        made.label, made.edit_layer, made.fine_layers = label, layer, ("block16",)
        return made.eval()

    def keep(generator: StagedDCGAN, samples: int) -> None:
        keep_discovery(generator, dissect(generator, Colors(), samples=samples))

    keep(wrapped(), 1)
    keep(wrapped(layer="head"), 2)
    keep(wrapped(label=1), 3)

    def samples(generator: StagedDCGAN) -> int | None:
        dissection = load(generator).dissection
        return None if dissection is None else dissection.samples

    assert [samples(one) for one in (wrapped(), wrapped(layer="head"), wrapped(1))] == [1, 2, 3]
    assert samples(wrapped(2)) is samples(dcgan) is None
    # Earlier versions had one file for the weights.
    path = discovery_file(wrapped())
    path.rename(path.with_name(f"{fingerprint(dcgan)}.safetensors"))
    assert [samples(one) for one in (wrapped(), dcgan, wrapped(layer="head"))] == [1, 1, 2]


def test_concepts_of_a_generator_in_half_precision_are_there_the_next_time(
    dcgan: StagedDCGAN, worker: Worker, short_discovery: None
) -> None:
    half = deepcopy(dcgan).half()
    EditingSession(generator=half, worker=worker).find_concepts(3)
    assert load(half).dissection is not None


@pytest.mark.parametrize("parts", ["6", 2.5, True])
def test_the_number_of_parts_is_whole(dcgan: StagedDCGAN, parts: Any) -> None:
    with pytest.raises(GANPaintError, match="out of range"):
        discover(dcgan, parts)
    with pytest.raises(GANPaintError, match="samples is out of range: 0"):
        discover(dcgan, 3, samples=0)


def test_a_search_is_cancelled_and_nothing_has_changed(
    dcgan: StagedDCGAN, worker: Worker, short_discovery: None
) -> None:
    session = EditingSession(generator=dcgan, worker=worker)
    running = threading.Event()
    session.observe(
        lambda event: running.set() if isinstance(event, Progress) and event.fraction > 0.2 else None
    )
    caught: list[GANPaintError] = []

    def search() -> None:
        try:
            session.find_concepts(4)
        except GANPaintError as error:
            caught.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    assert running.wait(60)
    with pytest.raises(GANPaintError, match="already"):
        session.find_concepts(4)
    session.cancel()
    thread.join(60)
    assert [error.message for error in caught] == ["Finding concepts was canceled."]
    assert session.concepts == ()
    assert not discovery_file(dcgan).exists()
    assert session.model.dissection is None


def test_a_picture_that_was_opened_meanwhile_is_painted_too(
    dcgan: StagedDCGAN, worker: Worker, short_discovery: None
) -> None:
    """Previews, and other pictures, are served while concepts are looked for."""
    session = EditingSession(generator=dcgan, worker=worker)
    opened = threading.Event()

    def open_another(event: Any) -> None:
        if isinstance(event, Progress) and event.job == "discover" and not opened.is_set():
            opened.set()
            session.open_scene(7)

    session.observe(open_another)
    session.find_concepts(3)
    assert session.title == "sample 7"
    before = np.array(session.preview).astype(int)
    session.add(session.concepts[-1], np.ones((32, 32), bool))
    assert np.abs(np.array(session.preview) - before).mean() > 3


def told(paint: gp.GANPaint, name: str, sequence: int) -> None:
    """A page's command."""
    content = {
        "type": "command",
        "page": "page-0001",
        "sequence": sequence,
        "name": name,
        "arguments": {},
    }
    paint._handle_msg({"content": {"data": {"method": "custom", "content": content}}, "buffers": []})


def answered(said: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The first message of a kind, as soon as it is there: a search has a thread of its own."""
    for _ in range(6000):
        for one in list(said):
            if one["type"] == kind:
                return one
        time.sleep(0.01)
    raise AssertionError(f"no {kind}")


def test_a_page_asks_for_concepts_and_finds_them_in_the_state(
    dcgan: StagedDCGAN, worker: Worker, short_discovery: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint = gp.GANPaint(session=EditingSession(generator=dcgan, worker=worker))
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(paint, "send", lambda content, buffers=None: said.append(content))
    assert paint._state["concepts"] == []
    assert paint._state["classes"] == []
    told(paint, "discover", 1)
    answered(said, "accepted")
    assert [one["name"] for one in paint._state["concepts"]] == [*paint.session.concepts]
    assert paint._state["classes"] == [*paint.session.classes]
    assert paint._segments[:4] == b"\x89PNG"
    assert {one["job"] for one in said if one["type"] == "progress"} == {"discover"}
    told(paint, "discover", 2)  # a second click that was on its way
    assert "already" in answered(said, "error")["what"]
    paint.close()


# --- models ---


def test_parts_are_the_segmenter_of_their_model(found: Dissection) -> None:
    model = Model("boxes", Boxes(), dissection=found)
    assert model.segmenter is found.parts
    renamed = replace(model, dissection=rename(found, "part 1", "ground"))
    assert renamed.segmenter is not None
    assert renamed.segmenter.classes[0] == "ground"
    own = Model("boxes", Boxes(), dissection=found, segmenter=Brightness())
    assert isinstance(own.segmenter, Brightness)


# --- the explorer ---


@pytest.fixture
def explorer(found: Dissection) -> Iterator[gp.DissectionExplorer]:
    boxes = Boxes().eval()
    keep_discovery(boxes, found)
    Exploration(boxes).measure(samples=40)
    explorer = gp.DissectionExplorer(boxes)
    settle(explorer)
    yield explorer
    explorer.close()


def settle(explorer: gp.DissectionExplorer) -> None:
    """Until the worker has done what it was asked for."""
    for _ in range(2):
        explorer._worker.call(lambda: None)


def parts_shown(explorer: gp.DissectionExplorer) -> dict[str, Any]:
    """The rows of the tab: name to its controls, the buttons by what they say."""
    rows = {}
    for row in explorer._further.parts.rows.children:
        _, strip, name, *buttons, told = row.children
        assert bytes(strip.value)[:3] == b"\xff\xd8\xff"
        rows[name.value] = {"name": name, "told": told.value} | {one.description: one for one in buttons}
    return rows


def test_parts_are_named_merged_split_and_hidden_by_clicks(explorer: gp.DissectionExplorer) -> None:
    old, tab = explorer.paint, explorer._further.parts
    tab.look.click()
    settle(explorer)
    assert [*parts_shown(explorer)] == ["part 1", "part 2", "part 3", "part 4"]
    parts_shown(explorer)["part 2"]["name"].value = "the box"
    settle(explorer)
    assert explorer.exploration.concepts[1] == "the box"
    parts_shown(explorer)["part 3"]["Merge"].click()
    parts_shown(explorer)["part 4"]["Merge"].click()
    settle(explorer)
    assert [*parts_shown(explorer)] == ["part 1", "the box", "part 3"]
    parts_shown(explorer)["part 3"]["Split"].click()
    settle(explorer)
    assert [*parts_shown(explorer)] == ["part 1", "the box", "part 3", "part 3 2"]
    parts_shown(explorer)["part 1"]["Hide"].click()
    settle(explorer)
    assert "Show" in parts_shown(explorer)["part 1"]
    # Its editor, opened anew, and every later one paints with what was made of them.
    assert explorer.paint is not old and old.comm is None
    assert explorer.paint.session.concepts == ("the box", "part 3", "part 3 2")
    again = EditingSession(generator=explorer.exploration.model.generator)
    assert again.concepts == ("the box", "part 3", "part 3 2")
    assert len(explorer._bars.box.children) > 1


def test_a_name_that_is_taken_is_refused_and_the_field_goes_back(explorer: gp.DissectionExplorer) -> None:
    explorer._further.parts.look.click()
    settle(explorer)
    field = parts_shown(explorer)["part 2"]["name"]
    field.value = "part 1"
    assert field.value == "part 2"
    assert "already" in explorer._jobs.status.value
    parts_shown(explorer)["part 1"]["Merge"].click()
    parts_shown(explorer)["part 1"]["Merge"].click()
    assert "Nothing is merged" in explorer._jobs.status.value
    assert explorer.exploration.concepts == ("part 1", "part 2", "part 3", "part 4")


def test_the_explorer_finds_concepts_where_nothing_could_name_them(short_discovery: None) -> None:
    explorer = gp.DissectionExplorer(Boxes().eval())
    try:
        assert explorer._offer.description == "Find concepts"
        explorer._offer.click()
        settle(explorer)
        assert len(explorer.exploration.concepts) > 1
        assert explorer.exploration.atlas is not None
        assert explorer._known.layout.display is None
    finally:
        explorer.close()


def test_what_was_measured_of_the_old_concepts_is_gone(found: Dissection) -> None:
    exploration = Exploration(Model("boxes", Boxes(), dissection=found))
    exploration.measure("effects", "baselines", samples=40)
    rearrange(exploration, lambda one: merge(one, "part 1", "part 2", "all"))
    assert exploration.effects is None
    assert exploration.baselines is None
    assert Exploration(Model("boxes", Boxes(), dissection=found)).concepts[0] == "all"
    with pytest.raises(GANPaintError, match="already has concepts"):
        find(exploration)
    named = Exploration(
        Model("boxes", Boxes(), dissection=replace(found, parts=None), segmenter=Brightness())
    )
    with pytest.raises(GANPaintError, match="does not have discovered parts"):
        rearrange(named, lambda one: one)
    assert shown(named) == []


def test_another_layer_keeps_its_parts_apart(found: Dissection) -> None:
    """What is discovered at another layer is not offered where pictures are edited."""
    exploration = Exploration(Model("boxes", Boxes(), dissection=found), "draw")
    assert exploration.dissection is None
    find(exploration, 2)
    assert Exploration(Model("boxes", Boxes(), dissection=found), "draw").concepts == ("part 1", "part 2")
    assert Exploration(Model("boxes", Boxes(), dissection=found)).concepts == found.concepts
