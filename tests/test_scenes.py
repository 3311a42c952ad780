"""The procedural scenes: reproducible, exactly labeled, and changed only where a counterfactual says so."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from ganpaint_widget.demo import scenes
from ganpaint_widget.demo.scenes import CLASSES, PARAMETERS, Scene

COUNTERFACTUAL_CONCEPTS = ("tree", "dome", "door", "window", "cloud", "path", "mountain")


def label(name: str) -> int:
    return CLASSES.index(name)


def plain_church() -> Scene:
    """A church with everything that can be taken away, and no tree in front of it."""
    scene = Scene.sample(7)
    settings = {parameter.name: 0.5 * (parameter.low + parameter.high) for parameter in PARAMETERS}
    settings.update(
        {name: 1.0 for name in settings if name.endswith("_present")},
        sun=0.7,
        sunset=0.0,
        overcast=0.0,
        roof_form=1.0,
        tower_form=1.0,
        window_count=3.0,
        mountain_x=0.9,
        path_foot=0.4,
        church_x=0.5,
        church_width=0.45,
        church_height=0.3,
        cloud0_x=0.15,
        cloud0_y=0.2,
        cloud1_x=0.85,
        cloud1_y=0.2,
        cloud2_x=0.15,
        cloud2_y=0.4,
        cloud2_size=0.2,
        tree0_x=0.10,
        tree0_y=0.90,
        tree0_form=0.0,
        tree1_x=0.90,
        tree1_y=0.90,
        tree1_form=1.0,
        tree2_x=0.02,
        tree2_y=0.70,
        tree3_x=0.98,
        tree3_y=0.70,
    )
    return scene.replace(**settings)


@pytest.fixture(scope="module")
def many() -> list[Scene]:
    return [Scene.sample(seed) for seed in range(200)]


def box_of(mask: np.ndarray) -> tuple[int, int]:
    """Width and height of the smallest box around the marked pixels."""
    rows, columns = np.nonzero(mask)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


def test_the_same_seed_gives_the_same_scene_and_picture() -> None:
    first, second, other = Scene.sample(42), Scene.sample(42), Scene.sample(43)
    assert first == second
    assert hash(first) == hash(second)
    assert first != other
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, second.labels)
    assert not np.array_equal(first.image, other.image)
    again = pickle.loads(pickle.dumps(first))
    assert again == first
    assert np.array_equal(again.image, first.image)


def test_pictures_have_the_promised_form_and_are_cached() -> None:
    scene = Scene.sample(3)
    assert scene.image.shape == (128, 128, 3)
    assert scene.image.dtype == np.uint8
    assert scene.labels.shape == (128, 128)
    assert scene.labels.dtype == np.uint8
    assert scene.render(48).shape == (48, 48, 3)
    assert scene.render(48) is scene.render(48)
    assert not scene.image.flags.writeable
    assert scene.labels.max() < len(CLASSES)


def test_every_parameter_is_named_once_and_sampled_inside_its_range(many: list[Scene]) -> None:
    assert len({parameter.name for parameter in PARAMETERS}) == len(PARAMETERS)
    values = np.array([scene.values for scene in many])
    for column, parameter in zip(values.T, PARAMETERS, strict=True):
        assert parameter.low < parameter.high
        assert parameter.meaning
        assert parameter.unit
        assert parameter.low <= column.min()
        assert column.max() <= parameter.high
        assert np.ptp(column) > 0, f"{parameter.name} never varies"
    assert {scene.texture_seed for scene in many} == set(scenes.TEXTURE_SEEDS)


def test_every_parameter_does_something() -> None:
    """Moving any one parameter shows somewhere, in a scene where everything is there."""
    scene = plain_church().replace(window_count=5, church_width=0.58, window_width=0.0625, tree1_form=0)
    before = scene.render(64)
    for parameter in PARAMETERS:
        start = scene.parameters[parameter.name]
        end = parameter.low if start > 0.5 * (parameter.low + parameter.high) else parameter.high
        changed = scene.replace(**{parameter.name: end}).render(64)
        assert (changed != before).any(), parameter.name
    textured = scene.replace(texture_seed=(scene.texture_seed + 1) % len(scenes.TEXTURE_SEEDS))
    difference = np.abs(textured.render(64).astype(int) - before)
    assert 0 < difference.mean() < 8, "textures should differ, but subtly"
    assert np.array_equal(textured.label_map(64), scene.label_map(64))


def test_all_classes_occur_as_often_as_they_should(many: list[Scene]) -> None:
    present = np.array([[(scene.label_map(64) == k).any() for k in range(len(CLASSES))] for scene in many])
    frequency = dict(zip(CLASSES, present.mean(0), strict=True))
    expected = {
        "sky": (1.0, 1.0),
        "grass": (1.0, 1.0),
        "cloud": (0.75, 0.99),
        "mountain": (0.25, 0.6),
        "path": (0.45, 0.75),
        "wall": (0.80, 0.95),
        "roof": (0.80, 0.95),
        "dome": (0.35, 0.62),
        "window": (0.75, 0.93),
        "door": (0.72, 0.92),
        "tree": (0.78, 0.98),
    }
    for name, (low, high) in expected.items():
        assert low <= frequency[name] <= high, (name, frequency[name])


def test_churches_are_large_and_near_the_middle(many: list[Scene]) -> None:
    for scene in many:
        walls = scene.labels == label("wall")
        if not walls.any():
            continue
        assert 0.35 <= scene.parameters["church_width"] <= 0.60
        columns = np.nonzero(walls)[1]
        assert 0.38 < columns.mean() / 128 < 0.62


def test_doors_and_windows_are_big_enough_at_128_pixels(many: list[Scene]) -> None:
    trees = {f"tree{i}_present": 0.0 for i in range(4)}
    seen = 0
    for scene in many[:80]:
        clear = scene.replace(tower0_present=0, tower1_present=0, **trees)
        if clear.parameters["church_present"] and clear.parameters["door_present"]:
            width, height = box_of(clear.without("door").object_mask)
            assert width >= 10, width
            assert height >= 16, height
            seen += 1
        if clear.parameters["church_present"] and clear.parameters["window0_present"]:
            for index in range(round(clear.parameters["window_count"])):
                size = box_of(clear.without("window", index).object_mask)
                assert max(size) >= 8, size
                assert min(size) >= 4, size
    assert seen > 40


def test_windows_are_dark_and_bluish() -> None:
    scene = plain_church()
    red, green, blue = scene.image[scene.labels == label("window")].astype(float).mean(0)
    assert blue > red
    assert blue > green
    assert red + green + blue < 300


@pytest.mark.parametrize("concept", COUNTERFACTUAL_CONCEPTS)
def test_taking_a_concept_away_and_putting_it_back(concept: str) -> None:
    scene = plain_church()
    removed = scene.without(concept)
    assert (scene.labels == label(concept)).any()
    assert not (removed.scene.labels == label(concept)).any()
    assert np.array_equal(removed.object_mask > 0, scene.labels == label(concept))
    differs = (scene.image != removed.scene.image).any(2) | (scene.labels != removed.scene.labels)
    assert np.array_equal(removed.change_mask > 0, differs)
    assert removed.object_mask.dtype == removed.change_mask.dtype == np.uint8
    assert set(np.unique(removed.object_mask)) == set(np.unique(removed.change_mask)) == {0, 255}
    # Nearly all of the object shows as a change; a few pixels may happen to have the color behind it.
    assert (differs & (removed.object_mask > 0)).sum() > 0.98 * (removed.object_mask > 0).sum()

    with pytest.raises(ValueError, match=r"no .*\. .*\."):
        removed.scene.without(concept)
    added = removed.scene.with_(concept)
    became = added.object_mask > 0
    assert became.any()
    assert (added.scene.labels[became] == label(concept)).all()
    assert (removed.scene.labels[became] != label(concept)).all()
    differs = (added.scene.image != removed.scene.image).any(2)
    assert np.array_equal(added.change_mask > 0, differs | (added.scene.labels != removed.scene.labels))


def test_one_object_of_several() -> None:
    scene = plain_church()
    all_trees = scene.without("tree").object_mask > 0
    union = np.zeros_like(all_trees)
    for index in range(4):
        one = scene.without("tree", index)
        changed = [n for n, v in scene.parameters.items() if one.scene.parameters[n] != v]
        assert changed == [f"tree{index}_present"]
        assert not (union & (one.object_mask > 0)).any(), "objects own different pixels"
        union |= one.object_mask > 0
    assert np.array_equal(union, all_trees)
    # A tree on the left changes nothing in the right half.
    assert not scene.without("tree", 0).change_mask[:, 64:].any()
    # Neither a missing neighbor nor a missing tower moves a window.
    middle = scene.without("window", 1)
    assert np.array_equal(
        middle.scene.labels == label("window"), (scene.labels == label("window")) & (middle.object_mask == 0)
    )
    # Adding the row marks the row alone, not the windows the towers had already.
    bare = scene.replace(**{f"window{i}_present": 0.0 for i in range(5)})
    assert (bare.labels == label("window")).any()
    row = bare.with_("window").object_mask > 0
    assert row.any()
    assert not (row & (bare.labels == label("window"))).any()
    # The domes of towers are there without the central one.
    assert (scene.without("dome", 0).scene.labels == label("dome")).any()
    assert (scene.without("dome", 1).scene.labels == label("dome")).any()


@pytest.mark.parametrize(
    ("concept", "color"),
    [
        ("dome", "blue"),
        ("roof", "slate"),
        ("door", "red"),
        ("wall", 0.9),
        ("path", 1.0),
        ("grass", 0.9),
        ("tree", 0.9),
    ],
)
def test_restyling_changes_a_color_and_nothing_else(concept: str, color: str | float) -> None:
    scene = plain_church().replace(
        dome_colour=0, roof_colour=0, door_colour=0, wall_tone=0, path_tone=0, grass_tone=0
    )
    result = scene.restyled(concept, color=color)
    inside, changed = result.object_mask > 0, result.change_mask > 0
    assert np.array_equal(result.scene.labels, scene.labels)
    assert np.array_equal(inside, scene.labels == label(concept))
    assert np.array_equal(result.scene.image[~changed], scene.image[~changed])
    assert changed[inside].mean() > 0.9
    assert result.scene.restyled(concept, color=color).change_mask.max() == 0


def test_counterfactuals_at_other_sizes() -> None:
    result = plain_church().without("door", size=64)
    assert result.object_mask.shape == result.change_mask.shape == (64, 64)
    assert result.object_mask.any()


def test_shadows_on_grass_remain_grass() -> None:
    scene = plain_church().replace(church_present=0, path_present=0)
    removed = scene.without("tree", 0)
    shadow = (removed.change_mask > 0) & (scene.labels == label("grass"))
    assert shadow.sum() > 50
    before, after = scene.image[shadow].astype(int).sum(), removed.scene.image[shadow].astype(int).sum()
    assert before < after
    assert (removed.scene.labels[shadow] == label("grass")).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.replace(tree9_present=1), "no parameter 'tree9_present'"),
        (lambda s: s.replace(sunset=float("nan")), "sunset = nan"),
        (lambda s: s.replace(church_width=0.9), "from 0.34 to 0.6"),
        (lambda s: s.replace(sunset="late"), "not a number"),
        (lambda s: s.replace(texture_seed=8), "from 0 to 7"),
        (lambda s: Scene((0.5,)), "values were given"),
        (lambda s: Scene.sample(-1), "negative"),
        (lambda s: s.render(31), "from 32 to 1024"),
        (lambda s: s.label_map(1025), "from 32 to 1024"),
        (lambda s: s.without("submarine"), "Use one of: tree"),
        (lambda s: s.restyled("cloud", color=1), "Use one of: dome"),
        (lambda s: s.restyled("dome", color="mauve"), "Use one of: gold"),
        (lambda s: s.restyled("grass", color="green"), "Pass a number"),
        (lambda s: s.restyled("grass", color=2), "outside"),
        (lambda s: s.restyled("tree", 4, color=1), "0 to 3"),
        (lambda s: s.replace(church_present=0).restyled("door", color="red"), "no door to restyle"),
        (lambda s: s.without("tree", 4), "from 0 to 3"),
        (lambda s: s.with_("tree"), "already"),
        (lambda s: s.with_("dome"), "already"),
        (lambda s: s.with_("window"), "already"),
        (lambda s: s.replace(church_present=0).with_("door"), "church_present=1"),
        (lambda s: s.replace(church_present=0).without("door"), "no door to take away"),
        (lambda s: s.replace(window_count=2, window4_present=0).with_("window", 4), "no place"),
        (lambda s: scenes.render_many([1], size=20), "from 32 to 1024"),
    ],
)
def test_errors_say_what_happened_and_what_to_do(call, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call(plain_church())
    text = str(caught.value)
    assert message in text
    assert text.count(". ") == 1, text
    assert text.endswith("."), text


def test_replacing_leaves_the_original_alone() -> None:
    scene = Scene.sample(5)
    image = scene.image.copy()
    changed = scene.replace(sunset=0.5)
    assert changed.parameters["sunset"] == 0.5
    assert changed.texture_seed == scene.texture_seed
    assert scene.parameters["sunset"] != 0.5
    assert np.array_equal(scene.image, image)
    assert scene.replace() == scene
    with pytest.raises(TypeError):
        scene.parameters["sunset"] = 0.1  # type: ignore[index]


def test_seed_ranges_do_not_overlap() -> None:
    ranges = (scenes.TRAINING, scenes.TUNING, scenes.HELD_OUT)
    assert [len(r) for r in ranges] == [1_000_000, 100_000, 100_000]
    assert all(r.step == 1 for r in ranges)
    assert scenes.TRAINING.stop <= scenes.TUNING.start
    assert scenes.TUNING.stop <= scenes.HELD_OUT.start


def test_the_same_scene_at_any_size(many: list[Scene]) -> None:
    for scene in many[:40]:
        large, small = scene.labels, scene.label_map(64)
        corners = np.stack([large[i::2, j::2] for i in (0, 1) for j in (0, 1)])
        assert (corners == small).any(0).mean() > 0.99
        assert (corners[0] == small).mean() >= 0.90
        means = scene.image.reshape(64, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(means - scene.render(64)).mean() < 4
    for size in (32, 33, 100, 511, 1024):
        assert many[0].render(size).shape == (size, size, 3)
        assert set(np.unique(many[0].label_map(size))) <= set(range(len(CLASSES)))


def test_labels_are_neither_shrunk_nor_shifted(many: list[Scene]) -> None:
    """A label means more than half covered: on average area and place agree with a much finer picture."""
    coarse = np.stack([scene.label_map(64) for scene in many[:16]])
    fine = np.stack([scene.label_map(512) for scene in many[:16]])
    for name in ("cloud", "path", "wall", "roof", "dome", "window", "door", "tree"):
        small, large = coarse == label(name), fine == label(name)
        assert abs(small.mean() / large.mean() - 1) < 0.08, name
        for axis in (1, 2):
            shift = (np.nonzero(small)[axis].mean() + 0.5) / 64 - (np.nonzero(large)[axis].mean() + 0.5) / 512
            assert abs(shift) < 0.4 / 64, name


def test_the_path_leads_to_the_door() -> None:
    scene = plain_church()
    path, door = scene.labels == label("path"), scene.labels == label("door")
    top, bottom = np.nonzero(path)[0].min(), np.nonzero(path)[0].max()
    assert bottom == 127
    assert abs(top - np.nonzero(door)[0].max()) <= 3
    assert abs(np.nonzero(path[top])[0].mean() - np.nonzero(door)[1].mean()) <= 4
    assert path[bottom].sum() > 1.3 * path[top + 1].sum(), "the path widens towards the viewer"


@pytest.mark.parametrize("processes", [1, 2])
def test_rendering_many_keeps_the_order(processes: int) -> None:
    seeds = list(range(70, 0, -1))  # more than one chunk of work
    images, labels = scenes.render_many(seeds, 32, processes=processes)
    assert images.shape == (70, 32, 32, 3)
    assert labels.shape == (70, 32, 32)
    assert images.dtype == labels.dtype == np.uint8
    for place in (0, 63, 64, 69):
        scene = Scene.sample(seeds[place])
        assert np.array_equal(images[place], scene.render(32))
        assert np.array_equal(labels[place], scene.label_map(32))
