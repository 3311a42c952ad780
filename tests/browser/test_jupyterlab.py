"""The widget where people use it: JupyterLab, a real kernel, a real browser, pointer and keys."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import expect

pytestmark = pytest.mark.timeout(600)

NOTEBOOKS = Path(__file__).parent.parent.parent / "notebooks"

IMPORT = "import ganpaint_widget as gp"
UNSEEN = """
import pathlib, time
end = time.monotonic() + 60
while not (pages := [page['hidden'] for page in paint.stats()['pages'].values()]) == [True]:
    assert time.monotonic() < end, pages
    time.sleep(0.01)
sent = paint.stats()['sent']
for strength in (1.5, 2, 2.5, 3):
    paint.session.update(edit.id, strength=strength)
    paint.session.preview
assert paint.stats()['sent'] == sent
pathlib.Path('sent').write_text(str(sent))
"""
SHOW = "paint = gp.GANPaint()\npaint"
# Runs on until a file is there, as it is unless a test takes it away.
WAIT = (
    "import pathlib, time\nprint('on my way', flush=True)\n"
    "while not pathlib.Path('go-on').exists():\n    time.sleep(0.02)"
)
SPARE = "spare = 1"

# A tree, as a hand would scribble it: left of the middle, on the ground. Fractions of the picture.
TREE = [(0.16, 0.50), (0.24, 0.58), (0.16, 0.64), (0.25, 0.70), (0.17, 0.76), (0.24, 0.80)]
WINDOW = [(0.60, 0.45), (0.66, 0.55), (0.60, 0.60)]


def region(shape: tuple[int, ...], points: list[tuple[float, float]], margin: float) -> npt.NDArray[np.bool_]:
    """H x W: the box around a stroke, grown by a fraction of the picture."""
    height, width = shape[:2]
    y, x = np.mgrid[:height, :width] / np.array([[[height]], [[width]]])
    left, right = min(p[0] for p in points) - margin, max(p[0] for p in points) + margin
    top, bottom = min(p[1] for p in points) - margin, max(p[1] for p in points) + margin
    return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)


def difference(a: npt.NDArray[np.int16], b: npt.NDArray[np.int16]) -> npt.NDArray[np.float64]:
    """H x W: how far two pictures are apart, mean over the colors, in 0 to 255."""
    return np.asarray(np.abs(a - b).mean(-1))


def from_kernel(notebook, name: str, scale_to: tuple[int, ...] | None = None) -> npt.NDArray[np.int16]:
    """One of `paint.session`'s pictures, as Python has it."""
    notebook.ask(f"paint.session.{name}.save({name + '.png'!r})")
    with Image.open(notebook.lab.folder / f"{name}.png") as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int16)


@pytest.fixture
def editor(lab, shared: list, new_notebook, failed: Callable[[], bool], request: pytest.FixtureRequest):
    """A small notebook with the editor on the page, on an untouched scene.

    The tests that only use the editor share it: a kernel and a page take longer than they do.
    """
    if shared:
        (notebook,) = shared
        next_scene(notebook)
    else:
        (lab.folder / "go-on").touch()
        notebook = new_notebook("editor", IMPORT, SHOW, WAIT, SPARE)
        shared.append(notebook)
        notebook.run_all()
        notebook.wait_for_editor()
    assert notebook.errors() == []
    notebook.ask("assert not paint.session.edits")
    yield notebook
    if failed():
        shared.clear()
        notebook.tell_what_failed(request.node.name)
        notebook.close()


def next_scene(notebook) -> None:
    """Presses the button, and waits until the page shows another scene."""
    title = notebook.root.get_attribute("data-title")
    notebook.press('[data-action="scene"]')
    notebook.wait(
        "title => document.querySelector('[data-ganpaint-root]').dataset.title !== title",
        title,
    )
    notebook.wait_for_picture()


def another_photo(notebook, before):
    """The strip's photo, once it is another than before: the page decodes it when its title is there."""
    while not difference(photo := notebook.picture("photo"), before).any():
        notebook.page.evaluate("() => new Promise(requestAnimationFrame)")
    return photo


@pytest.mark.timeout(900)  # it adapts twice
def test_a_newcomer_paints_a_tree_blends_and_undoes(open_notebook) -> None:
    """The first notebook from the menu's "Run All": the editor appears, and is used as its text says."""
    notebook = open_notebook(NOTEBOOKS / "01_paint.ipynb")
    notebook.run_all()
    notebook.wait_for_editor()
    assert notebook.errors() == []

    photo, reconstruction = notebook.picture("photo"), notebook.picture("reconstruction")
    large = notebook.pixels(notebook.canvas)
    revision = notebook.number("revision")

    notebook.choose("tree")
    notebook.stroke(TREE)
    notebook.wait_for_picture()
    assert notebook.number("revision") > revision

    # G(z_e): a change where the stroke is, and next to none far from it
    preview = notebook.picture("preview")
    change = difference(preview, reconstruction)
    near = region(preview.shape, TREE, 0.0)
    far = ~region(preview.shape, TREE, 0.25)
    assert change[near].mean() > 8
    assert change[near].mean() > 4 * change[far].mean()
    painted = difference(notebook.pixels(notebook.canvas), large)
    assert painted[region(large.shape, TREE, 0.0)].mean() > 8
    assert np.abs(from_kernel(notebook, "preview") - preview).mean() < 6

    # G'(z_e): the tree, and the photo around it
    notebook.press('[data-action="blend"]')
    notebook.wait_for_blend()
    notebook.ask("assert paint.session.result is not None")
    # The page may still show the last frame, a JPEG; Python has the picture itself.
    result = from_kernel(notebook, "result")
    assert np.abs(notebook.picture("result") - result).mean() < 6
    change = difference(result, photo)
    near, far = region(result.shape, TREE, 0.0), ~region(result.shape, TREE, 0.25)
    assert change[near].mean() > 8
    assert change[far].mean() < 8
    assert change[far].mean() < difference(reconstruction, photo)[far].mean()
    notebook.shot("newcomer")

    # undo: without the tree again, for Python too
    accepted = notebook.number("accepted")
    notebook.press('[data-action="undo"]')
    notebook.wait_for_accepted(accepted)
    notebook.press('[data-picture="preview"]')
    notebook.wait_for_picture()
    notebook.ask("assert not paint.session.edits, paint.session.edits")
    assert difference(notebook.picture("preview"), reconstruction).mean() < 3


def test_remove_and_the_next_scene(editor) -> None:
    photo = editor.picture("photo")
    editor.choose("window", "remove")
    editor.stroke(WINDOW)
    editor.wait_for_picture()
    editor.ask(
        "(edit,) = paint.session.edits; assert (edit.verb, edit.concept) == ('remove', 'window'), edit"
    )

    next_scene(editor)
    assert difference(another_photo(editor, photo), photo).mean() > 3
    editor.ask("assert not paint.session.edits")

    # and one that is chosen from the gallery
    photo = editor.picture("photo")
    editor.press('[data-action="gallery"]')
    editor.page.locator("dialog .gp-choice").nth(17).click()
    editor.wait("() => document.querySelector('[data-ganpaint-root]').dataset.title === 'Scene 17'")
    editor.wait_for_picture()
    assert difference(another_photo(editor, photo), photo).mean() > 3
    assert difference(editor.picture("photo"), from_kernel(editor, "photo")).mean() < 1
    editor.ask("assert (paint.session.scene, paint.session.title) == (17, 'Scene 17')")


def test_a_door_in_the_sky_is_explained_in_the_status_line(editor) -> None:
    editor.choose("door")
    editor.stroke([(0.82, 0.2), (0.92, 0.2), (0.92, 0.28), (0.82, 0.28)])
    line = editor.root.locator(".gp-status [role=status]")
    expect(line).to_contain_text("Hardly any door appears here; the generator draws", timeout=editor.patience)
    assert editor.errors() == []


def test_save_downloads_a_png(editor) -> None:
    editor.choose("tree")
    editor.stroke(TREE)
    with editor.page.expect_download() as download:
        editor.press('[data-action="save"]')
    assert download.value.suggested_filename.endswith(".png")
    with Image.open(download.value.path()) as picture:
        assert picture.format == "PNG"
        assert picture.width == picture.height
        said = picture.text
    assert said["ganpaint:edited"] == "true" and said["ganpaint:generator"] == "demo"
    assert [edit["concept"] for edit in json.loads(said["ganpaint:concepts"])] == ["tree"]


def test_variants_references_the_faithful_preview_and_a_project(editor, tmp_path: Path) -> None:
    """What the panel offers beyond painting, on the demo generator."""
    page, root = editor.page, editor.root
    editor.choose("tree")
    editor.stroke(TREE)
    before = editor.number("accepted")
    editor.press('[data-panel="tuning"] summary')
    other = root.locator('[data-panel="tuning"] [data-choice="1"]')
    other.wait_for()
    other.click()
    editor.wait_for_accepted(before)
    editor.ask("(edit,) = paint.session.edits; assert edit.variant == 1, edit.variant")
    before = editor.number("accepted")
    page.locator('[data-select="units"]').select_option("medium")
    editor.wait_for_accepted(before)
    editor.ask("(edit,) = paint.session.edits; assert edit.units == 'medium', edit.units")

    # the look of a sample, then of a part of a picture of one's own, beside which is what G makes of it
    editor.choose("tree", "restyle")
    sample = root.locator(".gp-references .gp-choice").nth(1)
    sample.wait_for()
    sample.click()
    editor.stroke(WINDOW)
    editor.ask(
        "edit = paint.session.edits[-1]; assert edit.verb == 'restyle' and edit.reference.seed is not None"
    )
    Image.effect_noise((90, 90), 80).convert("RGB").save(tmp_path / "noise.png")
    before = editor.number("accepted")
    page.locator(".gp-references input[type=file]").set_input_files(tmp_path / "noise.png")
    editor.wait_for_accepted(before)  # a new picture is taken at once
    assert root.locator(".gp-references .gp-choice[aria-pressed=true]").get_attribute("title") == (
        "A picture of your own"
    )
    photo, made = (editor.pixels(root.locator(".gp-chosen canvas").nth(place)) for place in (0, 1))
    assert photo.shape == made.shape and difference(photo, made).mean() > 5
    before = editor.number("accepted")
    root.locator(".gp-refers").focus()
    for key in ["Enter", "ArrowLeft", "Shift+ArrowDown"]:
        page.keyboard.press(key)
    editor.wait_for_accepted(before)
    editor.ask("assert paint.session.edits[-1].reference.region.any()")

    # the faithful preview is nearer to the photo, where nothing was painted
    editor.wait_for_picture()
    plain = difference(editor.picture("preview"), editor.picture("photo"))
    kept = ~(region(plain.shape, TREE, 0.15) | region(plain.shape, WINDOW, 0.15))
    page.locator('[data-action="faithful"]').check()
    page.get_by_text("keeps to the photo", exact=True).wait_for()
    editor.wait_for_picture()
    deadline = time.monotonic() + 200  # it is fitted while nothing else is to be done
    while difference(editor.picture("preview"), editor.picture("photo"))[kept].mean() >= plain[kept].mean():
        assert time.monotonic() < deadline
        page.wait_for_timeout(200)
    page.locator('[data-action="faithful"]').uncheck()

    # a project, out and in again; and beside the kernel
    with page.expect_download() as download:
        editor.press(".gp-menu summary")
        editor.press('[data-save="project-page"]')
    project = tmp_path / download.value.suggested_filename
    download.value.save_as(project)
    assert project.suffix == ".ganpaint"
    editor.press(".gp-menu summary")
    editor.press('[data-save="picture-kernel"]')
    page.get_by_text("Saved beside the notebook's kernel").wait_for()
    assert list(editor.lab.folder.glob("*-ganpaint*.png"))
    next_scene(editor)
    root.locator(".gp-bar input[type=file]").set_input_files(project)
    root.locator("[data-edit]").nth(1).wait_for()
    editor.ask("assert [edit.variant for edit in paint.session.edits] == [1, 0]")
    assert editor.errors() == []
    assert editor.complaints == []


def test_open_a_picture_of_ones_own(editor, tmp_path: Path) -> None:
    """It is cropped to a square on request, with a notice; a file that is not a picture changes nothing."""
    y, x = np.mgrid[:80, :120]
    own = tmp_path / "own.png"
    Image.fromarray(np.stack([x * 2, y * 3, 0 * x + 40], -1).astype(np.uint8)).save(own)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is not a picture")

    def open_file(path: Path) -> None:
        accepted = editor.number("accepted")
        with editor.page.expect_file_chooser() as chooser:
            editor.press('[data-action="open"]')
        chooser.value.set_files(path)
        if path == own:
            editor.page.locator("[data-fit=crop]").click()
        editor.wait_for_accepted(accepted)

    title, before = editor.root.get_attribute("data-title"), editor.picture("photo")
    open_file(own)
    editor.wait("title => document.querySelector('[data-ganpaint-root]').dataset.title !== title", title)
    editor.wait_for_picture()
    photo = another_photo(editor, before)
    assert photo[..., 2].std() < 12  # its blue is even
    assert photo[..., 0].std() > 20
    editor.ask("paint.session.preview\nassert paint.session.notice")  # once it is inverted
    banner = editor.root.locator(".gp-banner").filter(has_text="outside")
    banner.wait_for()
    assert re.search(r"inversion \d+\.\d dB", editor.root.locator(".gp-generator").inner_text())

    open_file(broken)
    card = editor.root.locator("[role=alert] .gp-card p").inner_text()
    assert re.fullmatch(r"The file cannot be read as a picture\. Pass a PNG, [^.]+\.", card), card
    editor.canvas.press("Escape")
    assert difference(editor.picture("photo"), photo).mean() < 1
    editor.ask("assert paint.session.photo.size[0] == paint.session.size")


def test_keys_of_the_notebook_are_left_alone(editor) -> None:
    """X cuts a cell, Z undoes that, D D deletes one: not while the editor has the focus."""
    before = editor.cells()
    editor.choose("tree")
    editor.stroke(TREE)
    editor.root.locator("[data-concept=tree]").first.focus()
    for key in ["x", "z", "d", "d", "a", "b", "m"]:
        editor.page.keyboard.press(key)
    editor.canvas.click(position={"x": 5, "y": 5})
    for key in ["x", "z", "d", "d"]:
        editor.page.keyboard.press(key)
    assert editor.cells() == before

    # ... and the keys are alive: on a cell they do what they always do
    editor.activate(-1)
    editor.page.keyboard.press("d")
    editor.page.keyboard.press("d")
    editor.wait(
        "count => window.jupyterapp.shell.currentWidget.content.widgets.length === count", len(before) - 1
    )
    assert editor.cells() == before[:-1]


# Does random things to the editor's controls, by `seed`, until so many have changed something; then takes all
# back, and does all again. After each step it notes the revision and what the page shows: the rows with their
# masks.
WANDER = """async ([seed, steps]) => {
    const root = document.querySelector("[data-ganpaint-root]");
    const canvas = root.querySelector("[data-ganpaint-canvas]");
    const random = most => {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        return Math.floor((most * seed) / 2 ** 32);
    };
    const any = list => list[random(list.length)];
    const frame = () => new Promise(requestAnimationFrame);
    const find = selector => [...root.querySelectorAll(selector)];
    const click = selector => root.querySelector(selector).click();

    // The thumbnail has the mask's own size, and its values as opacity.
    const sum = thumbnail => {
        const { data } = thumbnail.getContext("2d").getImageData(0, 0, thumbnail.width, thumbnail.height);
        let crc = -1;
        for (let at = 3; at < data.length; at += 4) crc = (crc >>> 8) ^ table[(crc ^ data[at]) & 255];
        return (crc ^ -1) >>> 0;
    };
    const table = Array.from({ length: 256 }, (_, value) => {
        for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
        return value;
    });
    const text = (row, selector) => row.querySelector(selector).textContent;
    // The oldest first, as Python has them.
    const look = () => JSON.stringify(find("[data-edit]").reverse().map(row => [
        row.dataset.edit, text(row, ".gp-name"), text(row, ".gp-detail"), sum(row.querySelector("canvas")),
    ]));
    const accepted = async () => {
        while (Number(root.dataset.accepted) < Number(root.dataset.sent)) await frame();
    };

    const drag = async places => {
        const box = canvas.getBoundingClientRect();
        for (const [index, [x, y]] of places.entries()) {
            const type = index === 0 ? "pointerdown" : "pointermove";
            for (const each of index === places.length - 1 ? [type, "pointerup"] : [type]) {
                canvas.dispatchEvent(new PointerEvent(each, {
                    pointerId: 1, pointerType: "mouse", isPrimary: true, bubbles: true, cancelable: true,
                    button: each === "pointermove" ? -1 : 0, buttons: each === "pointerup" ? 0 : 1,
                    clientX: box.left + x * box.width, clientY: box.top + y * box.height,
                }));
            }
            if (index % 2) await frame();  // a message a frame: a stroke takes several
        }
    };
    const place = () => [0.05 + random(90) / 100, 0.05 + random(90) / 100];
    const stroke = async tool => {
        click(`[data-tool="${tool}"]`);
        await drag(tool === "segment" ? [place(), place()] : [place(), place(), place(), place()]);
    };
    const slide = (name, value) => {
        const slider = root.querySelector(`[data-slider="${name}"]`);
        for (const part of [0.4, 0.7, 1]) {
            slider.value = String(part * value);
            slider.dispatchEvent(new Event("input", { bubbles: true }));
        }
        slider.dispatchEvent(new Event("change", { bubbles: true }));
    };
    const operate = async () => {
        const rows = find("[data-edit]");
        const row = rows.length ? any(rows) : null;
        const kind = rows.length < 2 ? 0 : rows.length > 7 ? 19 : random(20);
        if (kind < 7) {
            click(`[data-verb="${any(["add", "remove"])}"]`);
            any(find("[data-concept]")).click();
            slide("size", 2 + random(14));
            await stroke(any(["brush", "brush", "rectangle", "lasso", "segment"]));
        } else if (kind < 10) {
            row.querySelector(".gp-select").click();
            await stroke("eraser");
        } else if (kind < 14) {
            row.querySelector(".gp-select").click();
            await frame();
            if (kind < 13) slide("strength", random(80) / 20);
            else {
                const units = root.querySelector('[data-select="units"]');
                units.value = any(["", "low", "medium", "high"]);
                units.dispatchEvent(new Event("change", { bubbles: true }));
            }
        } else if (kind < 16) row.querySelector('[data-action="toggle"]').click();
        else if (kind < 19) {
            const key = any(["ArrowUp", "ArrowDown"]);
            row.querySelector('[data-action="move"]').dispatchEvent(
                new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true })
            );
        } else row.querySelector('[data-action="delete"]').click();
    };

    const note = () => [Number(root.dataset.revision), look()];
    const states = [note()];
    while (states.length <= steps) {
        const { sent, revision } = root.dataset;
        await operate();
        await frame();
        await accepted();
        await frame();
        // A change of nothing, such as a stroke over painted pixels, is not a step.
        if (root.dataset.sent !== sent && root.dataset.revision !== revision) states.push(note());
    }
    const lead = async (action, expected) => {
        const seen = [];
        for (const state of expected) {
            const button = root.querySelector(`[data-action="${action}"]`);
            while (button.disabled) await frame();
            button.click();
            await accepted();
            await frame();
            // Until the page shows it; what it never shows is noted as it is.
            for (let tries = 0; look() !== state && tries < 200; tries++) await frame();
            seen.push(note());
        }
        return seen;
    };
    const looks = states.map(([, look]) => look);
    const back = await lead("undo", looks.slice(0, -1).reverse());
    return { states, back, again: await lead("redo", looks.slice(1)) };
}"""

# Python's own notes: by revision, what the page says of the edits, and all else that there is to them. Taken
# when they change, by the thread that changes them: the worker, which tells of pictures, may find them half
# changed.
NOTE = """
import zlib
from ganpaint_widget.session import Changed
notes = {}
def described(edit):
    verb = edit.verb.capitalize()
    detail = f"\u00d7 {edit.strength:.2f}" + ("" if edit.enabled else " \u00b7 off")
    return [edit.id, f"{verb} {edit.concept}", detail, zlib.crc32(edit.mask.tobytes())]
def note(event):
    if isinstance(event, Changed):
        edits = paint.session.edits
        notes[event.revision] = [[described(edit), [edit.strength, edit.units]] for edit in edits]
note(Changed(paint.session.revision))
stop_noting = paint.session.observe(note)
"""


@pytest.mark.parametrize("steps", [60, pytest.param(200, marks=pytest.mark.heavy)])
def test_undo_and_redo_lead_back_through_all_states(editor, steps: int) -> None:
    """Take random steps with the page's controls, undo them all and redo them all.

    After each step, page and kernel have what they had, the masks to the pixel.
    """
    editor.ask(NOTE)
    found = editor.page.evaluate(WANDER, [7, steps])
    editor.ask("stop_noting()\nimport json\njson.dump(notes, open('notes.json', 'w'))")
    notes = json.loads((editor.lab.folder / "notes.json").read_text())

    def of_kernel(states: list[tuple[int, str]]) -> list[Any]:
        return [notes[str(revision)] for revision, _ in states]

    states, back, again = found["states"], found["back"], found["again"]
    assert len(states) == steps + 1 and states[0][1] == "[]"
    assert len({look for _, look in states}) > 3 * steps / 4
    for way in (states, back, again):
        for (_, look), edits in zip(way, of_kernel(way), strict=True):
            assert json.loads(look) == [shown for shown, _ in edits]
    assert of_kernel(back) == of_kernel(states)[-2::-1]
    assert of_kernel(again) == of_kernel(states)[1:]


def test_painting_while_a_cell_runs(editor) -> None:
    """Strokes are accepted, and pictures come, though a cell keeps the kernel busy (ipykernel 7)."""
    notebook = editor
    go_on = notebook.lab.folder / "go-on"
    reconstruction = notebook.picture("reconstruction")
    go_on.unlink()
    try:
        notebook.start(2)
        notebook.choose("tree")
        notebook.stroke(TREE)
        notebook.wait_for_picture()
        assert difference(notebook.picture("preview"), reconstruction).mean() > 0.5
        assert notebook.is_running(2)
    finally:
        go_on.touch()
    notebook.wait_for_cell(2)
    notebook.ask("(edit,) = paint.session.edits; assert edit.mask.any()")

    # Nobody sees the page: no frames are sent. When it is seen again, it has the newest one.
    see = """hidden => {
        Object.defineProperty(document, "hidden", { get: () => hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    notebook.page.evaluate(see, True)
    notebook.ask(UNSEEN)
    notebook.page.evaluate(see, False)
    frame = "document.querySelector('[data-ganpaint-canvas]').dataset.frame"
    notebook.wait(f"sent => Number({frame}) > sent", int((notebook.lab.folder / "sent").read_text()))


def test_a_reload_keeps_what_was_painted(editor) -> None:
    editor.choose("tree")
    editor.stroke(TREE)
    editor.wait_for_picture()
    editor.ask("before = [(e.id, e.mask.sum()) for e in paint.session.edits]; assert before")
    preview = editor.picture("preview")
    editor.save()

    editor.reload()
    editor.wait_for_editor()
    editor.wait(
        "revision => Number(document.querySelector('[data-ganpaint-root]').dataset.revision) >= revision", 1
    )
    assert difference(editor.picture("preview"), preview).mean() < 4
    editor.ask("assert before == [(e.id, e.mask.sum()) for e in paint.session.edits]")

    # and it goes on: the page that came back paints too
    editor.choose("tree")
    editor.stroke([(x + 0.55, y) for x, y in TREE])
    editor.wait_for_picture()
    editor.ask("assert sum(int((e.mask > 0).sum()) for e in paint.session.edits) > 0")
    assert difference(editor.picture("preview"), preview).mean() > 0.5


def test_looks(editor) -> None:
    """Pictures to look at, in tests/browser/shots; and the editor follows the theme."""
    editor.choose("tree")
    editor.stroke(TREE)
    editor.wait_for_picture()
    for theme in ("Dark", "Light"):
        editor.theme(f"JupyterLab {theme}")
        editor.shot(f"editor-{theme.lower()}")
        background, text = editor.root.evaluate(
            """root => {
                let shown = root;  // the first thing behind the editor that is painted at all
                while (shown.parentElement
                    && /, 0\\)$|transparent/.test(getComputedStyle(shown).backgroundColor))
                    shown = shown.parentElement;
                const gray = color =>
                    color.match(/[0-9.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b);
                return [gray(getComputedStyle(shown).backgroundColor), gray(getComputedStyle(root).color)];
            }"""
        )
        assert (background > text) == (theme == "Light"), (theme, background, text)


SLOW_TORCH = """
import pathlib, sys, time

class Slow:  # lets the import of PyTorch begin when a file is there
    def find_spec(self, name, path=None, target=None):
        while name == "torch" and not pathlib.Path("load-torch").exists():
            time.sleep(0.02)

sys.meta_path.insert(0, Slow())
"""


def test_in_a_new_kernel_one_can_paint_while_torch_is_loaded(open_notebook) -> None:
    notebook = open_notebook(SLOW_TORCH, f"{IMPORT}\n{SHOW}")
    notebook.run(0)
    notebook.activate(1)
    notebook.command("notebook:run-cell")  # it runs until PyTorch is loaded
    notebook.page.locator("[data-ganpaint-canvas][data-revision]").wait_for()
    expect(notebook.root.locator(".gp-status")).to_contain_text("The kernel is loading PyTorch")
    assert notebook.root.get_attribute("data-ready") is None
    photo = notebook.picture("photo")
    notebook.choose("tree")
    notebook.draw(TREE)
    assert notebook.number("sent") == 0 or notebook.number("accepted") == 0

    (notebook.lab.folder / "load-torch").touch()
    notebook.wait_for_accepted(0)
    notebook.wait_for_picture()
    expect(notebook.root.locator(".gp-status")).not_to_contain_text("loading PyTorch")
    changed = difference(notebook.picture("preview"), photo)
    tree = region(changed.shape, TREE, 0)
    assert changed[tree].mean() > 2 * changed[~region(changed.shape, TREE, 0.1)].mean()
    assert notebook.errors() == []
