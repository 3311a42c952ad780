"""Does anything pile up when a user paints all day?

    python -m benchmarks.soak [--strokes 10000] [--json FILE] [--check]

A real JupyterLab, its kernel, a headless browser, the demo generator; stroke after stroke by pointer events
that the page itself makes, each awaited until the kernel has accepted it, and every third one undone. What
150 strokes paint, the next 150 erase, so that each changes something. The measures, from every fiftieth part
of the way, without the first fifth:

* ``kernel``: slope of the kernel's resident memory, in kB a stroke; the bar is 1.
* ``heap``: slope of the page's JavaScript heap, with garbage collected, in kB a stroke; the bar is 1.

Against replays every Jupyter kernel remembers the signatures of the last 65,536 messages that it was sent,
some 10 MB in all, whatever they were about. A stroke is five messages or so, and 10,000 strokes would not
fill that. It is filled before the first stroke, as in a kernel that has been at work for a while.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import CDPSession

from benchmarks.figures import Figure, Report, parser
from tests.browser.conftest import Notebook, opened, running_browser, running_lab

MEASURES = "kernel", "heap"
BAR = 1.0  # kB a stroke
SAMPLES = 50
WARM_UP = 0.2
PATIENCE = 1_200_000  # ms for anything that is waited for: the machine may be busy with other things, too

# The kernel's own memory of messages, full.
FILL = """
import secrets
session = get_ipython().kernel.session
session.digest_history.update(secrets.token_hex(32).encode() for _ in range(session.digest_history_size))
"""

# Paints strokes from number `from` up to `to`; the mouse's pointer is number 1.
PAINT = """async ([from, to, patience]) => {
    const root = document.querySelector("[data-ganpaint-root]");
    const canvas = root.querySelector("[data-ganpaint-canvas]");
    const box = canvas.getBoundingClientRect();
    const point = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
        pointerId: 1, pointerType: "mouse", isPrimary: true, bubbles: true, cancelable: true,
        button: type === "pointermove" ? -1 : 0, buttons: type === "pointerup" ? 0 : 1, altKey: erasing,
        clientX: box.left + x * box.width, clientY: box.top + y * box.height,
    }));
    const accepted = async () => {
        const late = performance.now() + patience;
        do {
            if (performance.now() > late) throw new Error(`not accepted: ${JSON.stringify(root.dataset)}`);
            await new Promise(requestAnimationFrame);
        } while (Number(root.dataset.accepted) < Number(root.dataset.sent));
    };
    let erasing = false;
    for (let count = from; count < to; count++) {
        erasing = count % 300 >= 150;
        const place = 150 * Math.floor(count / 300) + (count % 150);
        const x = 0.5 + 0.4 * Math.sin(0.83 * place), y = 0.5 + 0.4 * Math.sin(0.617 * place + 1);
        point("pointerdown", x, y);
        for (const step of [0.03, 0.06]) {
            point("pointermove", x + step, y);
            await new Promise(requestAnimationFrame);
        }
        point("pointerup", x + 0.06, y);
        await accepted();
        if (count % 3 === 2) {
            root.querySelector('[data-action="undo"]').click();
            await accepted();
        }
    }
}"""


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--strokes", type=int, default=10_000, help="how many strokes to paint")
    options = arguments.parse_args()
    # Beside other work, threads that wait for each other make minutes of seconds; nothing here is timed.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    with tempfile.TemporaryDirectory() as home:
        found = measure(Path(home), options.strokes)
    report = Report()
    for name in MEASURES:
        at_last = found["samples"][-1][name] / 1e6
        report.add(
            Figure(f"{name}: slope", found[name], high=BAR, note=f"kB a stroke; {at_last:.0f} MB at the end")
        )
    return report.finish(options, **found)


def measure(home: Path, strokes: int) -> dict[str, Any]:
    with running_lab(home) as lab, running_browser() as chromium:
        cells = "import ganpaint_widget as gp, gc, psutil", "paint = gp.GANPaint()\npaint"
        notebook = opened(lab, chromium, "soak.ipynb", *cells, patience=PATIENCE)
        tell("JupyterLab shows the notebook")
        notebook.run_all()
        notebook.wait_for_editor()
        notebook.choose("tree")
        notebook.root.locator('[data-slider="size"]').fill("2")
        notebook.canvas.scroll_into_view_if_needed()
        notebook.ask(FILL)
        tell("the editor is ready")
        devtools = notebook.page.context.new_cdp_session(notebook.page)
        samples = []
        began = time.monotonic()
        counts = [round(strokes * part / SAMPLES) for part in range(SAMPLES + 1)]
        for before, count in itertools.pairwise(counts):
            notebook.page.evaluate(PAINT, [before, count, PATIENCE])
            samples.append({"strokes": count, **memory(notebook, devtools)})
            tell(f"{time.monotonic() - began:.0f} s: {samples[-1]}")
        notebook.ask("assert paint.session.edits and paint.stats()['failures'] == 0")
        sent = notebook.number("sent")
        assert sent > strokes, f"only {sent} messages came of {strokes} strokes"
        seconds = time.monotonic() - began
    return {**slopes(samples), "seconds": seconds, "samples": samples}


def tell(what: str) -> None:
    """Progress, beside what is measured."""
    print(what, file=sys.stderr, flush=True)


def memory(notebook: Notebook, devtools: CDPSession) -> dict[str, int]:
    """Bytes that the kernel and the page's heap hold now."""
    notebook.ask("gc.collect()\nopen('memory.txt', 'w').write(str(psutil.Process().memory_info().rss))")
    devtools.send("HeapProfiler.collectGarbage")
    heap = devtools.send("Runtime.getHeapUsage")["usedSize"]
    return {"kernel": int((notebook.lab.folder / "memory.txt").read_text()), "heap": int(heap)}


def slopes(samples: list[dict[str, int]]) -> dict[str, float]:
    """Return kB per stroke, by least squares over the samples after the warm-up."""
    settled = samples[round(WARM_UP * len(samples)) :]
    strokes = [sample["strokes"] for sample in settled]
    return {name: float(np.polyfit(strokes, [s[name] / 1000 for s in settled], 1)[0]) for name in MEASURES}


if __name__ == "__main__":
    sys.exit(main())
