"""What is written can be read, in every format; and a file that processes share loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from ganpaint_widget.course import handins
from ganpaint_widget.course.handins import HandIn
from ganpaint_widget.demo.data import SceneData
from ganpaint_widget.dissection import Dissection
from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.explorer.brushes import Brush, Shelf
from ganpaint_widget.images import files, framing
from ganpaint_widget.images.contours import contours
from ganpaint_widget.method import adaptation
from ganpaint_widget.method.edits import Edit, Reference
from ganpaint_widget.models.checkpoints import read_module, write_module
from ganpaint_widget.models.networks import private
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.registry import encoder_file, load
from ganpaint_widget.session import EditingSession, journal, project
from ganpaint_widget.session.worker import Worker
from ganpaint_widget.storage import fingerprint, locked, replacing, write, write_safetensors
from ganpaint_widget.validation import checked_edit

many = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZE, CHANNELS = 4, 5
CONCEPTS = ("tree", "dome")


def here(model: Any, *arguments: Any, **more: Any) -> EditingSession:
    return EditingSession(*arguments, generator=model, worker=Worker(start=False), **more)


# --- in one step ---


def test_who_is_interrupted_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path, b"old", "The file")

    def interrupted() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"new, but not all of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"old" and [*tmp_path.iterdir()] == [path]
    with pytest.raises(GANPaintError, match=r"The file cannot be written .*Choose another place\."):
        write(tmp_path / "no" / "folder", b"", "The file")


# --- between processes ---


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


COUNT = """
import sys
from pathlib import Path
from ganpaint_widget.storage import locked, replacing
path = Path(sys.argv[1])
for _ in range(25):
    with locked(path), replacing(path) as partial:
        partial.write_text(str(int(path.read_text()) + 1))
"""


def test_two_processes_count_together(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    both = [process(COUNT, path) for _ in range(2)]
    assert [one.wait(120) for one in both] == [0, 0]
    assert path.read_text() == "50"


PUT = """
import sys
from pathlib import Path
import numpy as np
from ganpaint_widget.explorer.brushes import Brush, Shelf
shelf = Shelf(5, Path(sys.argv[1]))
print("ready", flush=True)
for number in range(10):
    shelf.put(Brush(f"{sys.argv[2]} {number}", (number % 5,), np.full(5, number, np.float32)))
"""


def test_two_kernels_on_one_shelf_keep_all_brushes(tmp_path: Path) -> None:
    path = tmp_path / "brushes.json"
    ours = Shelf(5, path)
    ours.put(Brush("ours", (0,), np.ones(5, np.float32)))
    both = [process(PUT, path, name) for name in ("one", "other")]
    assert [one.wait(120) for one in both] == [0, 0]
    ours.put(Brush("ours again", (0,), np.ones(5, np.float32)))  # it has not looked since
    names = {brush.name for brush in Shelf(5, path).brushes}
    assert names == {"ours", "ours again", *(f"{who} {n}" for who in ("one", "other") for n in range(10))}
    assert names == {brush.name for brush in ours.brushes}
    ours.take("one 3")
    assert {brush.name for brush in Shelf(5, path).brushes} == names - {"one 3"}


def test_a_lock_that_is_held_too_long_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganpaint_widget.storage.LOCK_SECONDS", 0.2)
    hold = "import sys; from pathlib import Path; from ganpaint_widget.storage import locked\n"
    hold += "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "file")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with pytest.raises(GANPaintError, match="Another process"), locked(tmp_path / "file"):
        pass
    other.kill()  # which lets go of it
    other.wait(30)
    with locked(tmp_path / "file"):
        pass


# --- round trips: the writer refuses it, or the reader gives it back ---

texts = st.text(max_size=80)
numbers = st.one_of(st.integers(-5, 5), st.integers(), st.floats(), st.booleans())
floats = arrays(np.float32, (CHANNELS,), elements=st.floats(width=32))
masks = arrays(np.uint8, (SIZE, SIZE))
pictures = arrays(np.uint8, (SIZE, SIZE, 3))


@many
@given(
    st.builds(
        Brush,
        name=texts,
        units=st.lists(st.integers(-1, CHANNELS), max_size=4).map(tuple),
        activations=floats,
        concept=st.none() | texts,
        added=numbers,
        removed=numbers,
        color=st.from_regex("#[0-9a-fA-F]{6}", fullmatch=True) | texts,
    )
)
def test_brushes(tmp_path_factory: Any, brush: Brush) -> None:
    path = tmp_path_factory.mktemp("shelf") / "brushes.json"
    shelf = Shelf(CHANNELS, path)
    try:
        shelf.put(brush)
    except GANPaintError:
        assert not path.exists()
        return
    (kept,), (back,) = shelf.brushes, Shelf(CHANNELS, path).brushes
    assert (back.name, back.units, back.concept, back.color) == (
        kept.name, kept.units, kept.concept, kept.color
    )  # fmt: skip
    assert (back.added, back.removed) == (kept.added, kept.removed)
    units = list(kept.units)
    assert np.array_equal(back.activations[units], kept.activations[units])


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    verb = draw(st.sampled_from(["add", "remove", "restyle", "suppress"]))
    units = draw(
        st.none()
        | st.sampled_from(["low", "high"])
        | st.lists(st.integers(0, CHANNELS - 1), min_size=1).map(tuple)
    )
    reference = None
    if verb == "restyle":
        reference = draw(st.builds(Reference, seed=st.integers(0, 2**31 - 1), region=st.none() | masks))
        if draw(st.booleans()):
            reference = Reference(picture=draw(pictures), region=reference.region)
    return Edit(
        id=draw(st.from_regex("[A-Za-z0-9-]{1,32}", fullmatch=True)),
        verb=verb,
        concept="" if verb == "suppress" else draw(st.sampled_from(CONCEPTS) | texts),
        mask=draw(masks),
        strength=draw(st.floats(0, 4) | st.just(float("nan"))),
        enabled=draw(st.booleans()),
        units=units,
        target=draw(st.sampled_from(["tuned", "mean"])) if verb == "add" else "tuned",
        variant=draw(st.integers(0, 3)) if verb == "add" else 0,
        activations=draw(st.none() | floats),
        reference=reference,
    )


def sound(edit: Edit) -> Edit | None:
    """The edit if a session would make it."""
    try:
        return checked_edit(edit, CONCEPTS, "tiny", SIZE, CHANNELS)
    except GANPaintError:
        return None


@many
@given(edits())
def test_edits_in_a_journal(edit: Edit) -> None:
    made = sound(edit)
    if made is None:
        return
    operation = journal.painting((0, 0, SIZE, SIZE), made.mask, made, stroke=1, begins=True)
    read = json.loads(json.dumps(operation))
    back = journal.edit_of(read, SIZE)
    assert np.array_equal(journal.values_of(read), made.mask)
    plain = Edit(**{**vars(made), "mask": np.zeros_like(made.mask), "enabled": True})
    assert back == plain and sound(back) == plain


@many
@given(
    st.lists(edits(), max_size=3, unique_by=lambda edit: edit.id),
    pictures,
    texts,
    st.integers(-5, 5) | st.integers(),
    numbers,
    st.none() | numbers,
    arrays(np.float32, (1, 3), elements=st.floats(width=32)),
    st.booleans(),
)
def test_projects(
    drawn: list[Edit], photo: Any, title: str, index: int, before: Any, survival: Any, z: Any, large: bool
) -> None:
    made = tuple(edit for edit in map(sound, drawn) if edit is not None)
    original = files.Original(Image.fromarray(np.tile(photo, (2, 3, 1))), "pad") if large else None
    stored = project.Project(
        generator="tiny", weights="0", kind="photo", title=title, index=index, photo=photo, z=z,
        features=np.zeros((1, CHANNELS, 2, 2), np.float32), extra={"style": z}, edits=made, original=original,
        blend=project.StoredBlend(photo, made[:1], before, 30.0, survival, {"layer": z}),
    )  # fmt: skip
    try:
        data = project.encode(stored)
    except GANPaintError:
        return
    back = project.read(data)
    assert back.edits == made and back.blend is not None and back.blend.edits == made[:1]
    assert (back.index, back.kind, back.generator) == (index, "photo", "tiny")
    assert back.title == "".join(sign for sign in title if sign.isprintable())
    # A project keeps floats, which hold integers up to 2 ** 53.
    assert (back.blend.before, back.blend.survival) == (
        float(before),
        survival if survival is None else float(survival),
    )
    assert np.array_equal(back.z, z) and np.array_equal(back.photo, photo)
    if original is not None:
        assert back.original is not None and back.original.fit == "pad"
        assert np.array_equal(np.asarray(back.original.image), np.asarray(original.image))


answers = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=210),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@many
@given(
    st.text(max_size=110),
    st.integers(-2, 120),
    st.integers(-2, 2**31),
    st.dictionaries(texts, answers, max_size=3),
)
def test_hand_ins(student: str, lesson: int, seed: int, given_answers: dict[str, Any]) -> None:
    try:
        packed = {name: handins.packed(answer) for name, answer in given_answers.items()}
        data = handins.encode(HandIn(student, lesson, seed, "0" * 64, packed))
    except GANPaintError:
        return
    back = handins.decode(data)
    assert (back.student, back.lesson, back.seed) == (" ".join(student.split()), lesson, seed)
    assert back.answers == packed


class Intricate:
    """A session with a mask that no PNG makes small."""

    def __init__(self, size: int, count: int) -> None:
        mask = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
        self.edits = [Edit(f"e{number}", "add", "tree", mask) for number in range(count)]


@pytest.mark.parametrize(("size", "count", "words"), [(512, 1, "too detailed"), (256, 20, "more than 1 MB")])
def test_a_hand_in_that_nobody_could_read_is_refused_when_it_is_written(
    size: int, count: int, words: str
) -> None:
    with pytest.raises(GANPaintError, match=words):
        handins.encode(HandIn("Ada", 1, 1, "0", {"tree": handins.packed(Intricate(size, count))}))


def a_dissection(**other: Any) -> Dissection:
    table = torch.rand(2, CHANNELS)
    parts: dict[str, Any] = {
        "layer": "layer2", "concepts": CONCEPTS, "samples": 7, "threshold": None,
        "colors": {"tree": "#008800", "dome": "#888800"}, "high": torch.ones(CHANNELS),
        **{name: table.clone() for name in ("iou", "iqr", "present", "level")},
        "weight": torch.rand(2, 2, CHANNELS), "effect": torch.rand(2, 2),
    }  # fmt: skip
    return Dissection(**{**parts, **other})


@pytest.mark.parametrize("threshold", [None, torch.ones(2, CHANNELS)])
def test_dissections(tmp_path: Path, threshold: Any) -> None:
    made = a_dissection(threshold=threshold)
    made.save(tmp_path / "d.safetensors")
    back = Dissection.load(tmp_path / "d.safetensors")
    assert (back.layer, back.concepts, back.colors, back.samples) == (
        made.layer, made.concepts, made.colors, made.samples
    )  # fmt: skip
    for name in ("iou", "iqr", "high", "present", "weight", "effect"):
        assert torch.equal(getattr(back, name), getattr(made, name))
    assert (back.threshold is None) == (threshold is None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iou": torch.full((2, CHANNELS), float("nan"))}, {"high": torch.ones(3)}, {"colors": {}},
        {"concepts": ("tree",)}, {"concepts": ("tree", "tree")}, {"effect": torch.ones(2)}, {"samples": "7"},
    ],
    ids=["nan", "short", "no color", "one name", "twice", "flat", "text"],
)  # fmt: skip
def test_a_dissection_that_could_not_be_read_is_not_written(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        a_dissection(**wrong).save(tmp_path / "d.safetensors")
    assert not [*tmp_path.iterdir()]


def test_modules(tmp_path: Path, generator: ProGAN) -> None:
    path = tmp_path / "g.safetensors"
    write_module(path, "generator", generator, generator.config)
    back = read_module(path, "generator", ProGAN)
    for name, tensor in generator.state_dict().items():
        assert torch.allclose(back.state_dict()[name], tensor, atol=1e-3, rtol=1e-3)
    wrong = ProGAN(**generator.config)
    name, first = next(iter(wrong.named_parameters()))
    with torch.no_grad():
        first.fill_(1e6)  # more than half precision holds
    write_module(path, "generator", wrong, wrong.config)
    assert torch.equal(read_module(path, "generator", ProGAN).state_dict()[name], first)
    before = path.read_bytes()
    with torch.no_grad():
        first.fill_(float("nan"))
    with pytest.raises(GANPaintError, match="not all finite"):
        write_module(path, "generator", wrong, wrong.config)
    assert path.read_bytes() == before


# --- what sessions write ---


@pytest.mark.parametrize("scene", [-3, -1, 2**31, 1.5, "4", None, True, float("nan")])
def test_a_scene_that_could_not_be_stored_is_refused(model: Any, model_with_gallery: Any, scene: Any) -> None:
    for one in (model, model_with_gallery):
        with pytest.raises(GANPaintError, match="scene"):
            here(one, scene=scene)


@pytest.mark.parametrize("scene", [0, 2, 3, 2**31 - 1, np.int64(4)])
def test_every_other_scene_is_stored(model_with_gallery: Any, scene: int, mask: Any, tmp_path: Path) -> None:
    session = here(model_with_gallery, scene=scene)
    session.add("tree", mask)
    session.save(tmp_path / "a.ganpaint")
    session.close()
    for back in (
        EditingSession.load(
            tmp_path / "a.ganpaint", generator=model_with_gallery, worker=Worker(start=False)
        ),
        EditingSession.recover(generator=model_with_gallery, worker=Worker(start=False)),
    ):
        assert back.edits == session.edits and back.title == session.title


def test_a_photo_of_23_million_pixels_comes_back(model: Any, mask: Any, tmp_path: Path) -> None:
    """As a PNG it has 69 MB: more than a user's file may have, but this one we have written ourselves."""
    noise = np.random.default_rng(0).integers(0, 256, (4000, 5760, 3), dtype=np.uint8)
    session = here(model, Image.fromarray(noise))
    session.add("tree", mask)
    session.save(tmp_path / "a.ganpaint")
    session.close()
    back = EditingSession.load(
        tmp_path / "a.ganpaint", generator=model, worker=Worker(start=False), journal=False
    )
    again = EditingSession.recover(generator=model, worker=Worker(start=False), journal=False)
    for one in (back, again):
        assert one.edits == session.edits
        assert np.array_equal(np.asarray(one._state.picture.source.original.image), noise)


@pytest.mark.skipif("not __import__('PIL.features').features.check('avif')")
def test_a_photo_that_others_may_not_read_is_kept_as_one_that_all_can(model: Any, tmp_path: Path) -> None:
    Image.effect_noise((64, 48), 50).convert("RGB").save(tmp_path / "photo.avif")
    session = here(model, tmp_path / "photo.avif")
    stored = project.read(session.project_file())
    assert stored.original is not None and stored.original.encoded()[:4] == b"\x89PNG"
    assert session.title == "photo.avif"


def test_a_project_that_would_not_be_read_is_not_written(
    model: Any, mask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = here(model)
    session.add("tree", mask)
    session.save(tmp_path / "a.ganpaint")
    before = (tmp_path / "a.ganpaint").read_bytes()
    monkeypatch.setattr(project, "MAX_FILE_BYTES", len(before) // 2 + project.MAX_DIRECTORY_BYTES)
    with pytest.raises(GANPaintError, match="could not be read again"):
        session.save(tmp_path / "a.ganpaint")
    assert (tmp_path / "a.ganpaint").read_bytes() == before


def test_tensors_that_cannot_be_written_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        write_safetensors(tmp_path / "no" / "a.safetensors", {"x": torch.ones(1)}, {"kind": "generator"})


def test_a_fingerprint_is_that_of_the_copy_that_a_session_works_with(model: Any) -> None:
    half = deepcopy(model.generator).half()
    assert fingerprint(half) == fingerprint(private(half)) != fingerprint(model.generator)


# --- caches ---


def test_a_damaged_encoder_in_the_cache_is_as_if_it_was_not_there(
    model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = encoder_file(model.generator)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    assert load(model.generator).encoder is None
    assert "of no use" in caplog.text


def test_damaged_scenes_in_the_cache_are_drawn_again(tmp_path: Path) -> None:
    seeds = range(3)
    first = np.array(SceneData(tmp_path, 32, seeds).images)
    for path in tmp_path.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-20])
    again = SceneData(tmp_path, 32, seeds)
    assert np.array_equal(again.images, first) and again.labels.shape == (3, 32, 32)


# --- what operations on masks cost ---


class Work(TorchDispatchMode):
    """Counts multiplications of convolutions and, of everything else, the elements that come out."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        result = function(*arguments, **(keywords or {}))
        if isinstance(result, torch.Tensor) and not function.is_view:
            kernel = arguments[1][0].numel() if "convolution" in str(function) else 1
            self.count += result.numel() * kernel
        return result


class Plain:
    """A generator of which only the pictures are looked at."""

    def __init__(self, size: int) -> None:
        self.resolution = size

    def run(self, state: Any) -> Any:
        return state

    def picture(self, state: Any) -> torch.Tensor:
        size = self.resolution
        return torch.full((1, 3, size, size), float(state.features.mean()))


@pytest.mark.usefixtures("real_methods")
def test_masks_of_1024_pixels_cost_little_work() -> None:
    """At most some thousand operations a pixel; the disc of before took 13,000 for ``dilate`` alone."""
    size = 1024
    strokes = torch.zeros(1, 1, size, size)
    strokes[..., 300:500, 300:500] = 1
    with Work() as work:
        adaptation.dilate(strokes, size // 16)
    assert work.count / size**2 < 1000

    class Features:
        features = torch.zeros(1, 1, 32, 32)

    with Work() as work:
        adaptation.keep_mask(Plain(size), Features(), Features(), strokes)  # type: ignore[arg-type]
    assert work.count / size**2 < 3000


def seconds(work: Callable[[], object]) -> float:
    """Of this process, the quickest of three."""
    found = []
    for _ in range(3):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def ring(size: int) -> np.ndarray:
    away = np.hypot(*(np.mgrid[:size, :size] - size / 2))
    return np.asarray(np.where((away < size / 3) & (away > size / 6), 255, 0), np.uint8)


@pytest.mark.parametrize(
    "work",
    [
        lambda mask: contours(mask[None].astype(np.float32), 127),
        lambda mask: framing.square_mask(np.hstack([mask, mask]), len(mask)),
        lambda mask: framing.square_mask(np.hstack([mask, mask]), len(mask), "pad"),
        lambda mask: framing.paste(
            Image.new("RGB", (2 * len(mask), len(mask))), np.repeat(mask[..., None], 3, 2), where=mask
        ),
        lambda mask: files.read_mask(mask / 255, len(mask)),
        lambda mask: files.read_mask(Image.fromarray(mask), len(mask)),
        lambda mask: files.encode_png(mask),
    ],
    ids=["contours", "crop", "pad", "paste", "read an array", "read a picture", "encode"],
)
def test_masks_of_1024_pixels_take_as_long_as_they_have_pixels(work: Callable[[Any], object]) -> None:
    """Four times the pixels of 512: eight times the time would be one power too many."""
    small, large = ring(512), ring(1024)
    work(small)
    assert seconds(lambda: work(large)) < 8 * seconds(lambda: work(small)) + 0.02


def test_dilation_is_that_of_a_disc() -> None:
    random = torch.Generator().manual_seed(0)
    for _ in range(40):
        height, width, radius = (int(one) for one in torch.randint(1, 24, (3,), generator=random))
        mask = (torch.rand(2, 1, height, width, generator=random) < 0.05).float()
        offsets = torch.arange(-radius, radius + 1)
        disc = (offsets[:, None].square() + offsets[None].square() <= radius**2).float()
        slow = (torch.nn.functional.conv2d(mask, disc[None, None], padding=radius) > 0.5).float()
        assert torch.equal(adaptation.dilate(mask, radius), slow)
    assert torch.equal(adaptation.dilate(mask, 0), mask)
