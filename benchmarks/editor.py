"""How long does one wait for the editor, and for a blend that one has cancelled?

    python -m benchmarks.editor [--starts 5] [--repeats 3] [--json FILE] [--check]

A real JupyterLab, its kernel and a headless browser, all on this machine; the demo generator. The measures:

* ``first picture``: seconds from running the notebook's first cell in a new kernel, which imports the package
  and makes the editor, to the photo on the canvas, with the palette beside it; the bar is 3.
* ``first stroke``: seconds from there to the picture with a stroke that is painted at once. PyTorch is
  imported meanwhile.
* ``cancel: acknowledged``: milliseconds from the click on Cancel to the kernel's answer in the page, the
  slowest of all; the bar is 200.
* ``cancel: steps``: steps of the optimization that ended after the kernel had heard of it, the most of all;
  the bar is 1, the one that was under way.
* ``cancel: done``: milliseconds from the click until the page shows that the blend has ended, the slowest.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.figures import Figure, Report, parser
from tests.browser.conftest import Notebook, opened, running_browser, running_lab

FIRST_PICTURE = 3.0  # s
ACKNOWLEDGED = 200.0  # ms
STEPS = 1

FIRST_CELL = "import ganpaint_widget as gp\n\npaint = gp.GANPaint()\npaint"

RUN = """async () => {
    const began = performance.now();
    void window.jupyterapp.commands.execute("notebook:run-cell");
    while (!document.querySelector("[data-ganpaint-canvas][data-revision]"))
        await new Promise(requestAnimationFrame);
    return (performance.now() - began) / 1000;
}"""

# Clicks on Cancel; when the kernel's notice has come, and when the page shows no blend any more.
CANCEL = """async () => {
    const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const root = document.querySelector("[data-ganpaint-root]");
    const began = performance.now();
    const answered = new Promise(resolve => {
        const hear = (_, message) => {
            if (message.content?.data?.content?.type !== "notice") return;
            kernel.iopubMessage.disconnect(hear);
            resolve(performance.now() - began);
        };
        kernel.iopubMessage.connect(hear);
    });
    root.querySelector('[data-action="cancel"]').click();
    const acknowledged = await answered;
    while (root.dataset.job) await new Promise(requestAnimationFrame);
    return { acknowledged, done: performance.now() - began };
}"""

# What happens in the kernel, in order; every step of a blend reports its progress once.
WATCH = """
import json
happened = []
paint.session.observe(lambda event: happened.append(type(event).__name__))
heard = paint.session.cancel
def cancel():
    happened.append("cancel")
    heard()
paint.session.cancel = cancel
"""


def main() -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--starts", type=int, default=5, help="how many kernels to start")
    arguments.add_argument("--repeats", type=int, default=3, help="how many blends to cancel")
    options = arguments.parse_args()

    with tempfile.TemporaryDirectory() as home:
        found = measure(Path(home), options.starts, options.repeats)
    report = Report()
    cancels = found["cancels"]
    for name, high in (("first picture", FIRST_PICTURE), ("first stroke", None)):
        median, interval = np.median(found[name]), tuple(np.quantile(found[name], (0.25, 0.75)))
        report.add(Figure(name, float(median), interval, high=high, note="s, median and quartiles"))
    bars = ("acknowledged", ACKNOWLEDGED, "ms"), ("steps", STEPS, ""), ("done", None, "ms")
    for name, high, unit in bars:
        worst = max(cancel[name] for cancel in cancels)
        report.add(Figure(f"cancel: {name}", worst, high=high, note=unit))
    return report.finish(options, **found)


def measure(home: Path, starts: int, repeats: int) -> dict[str, Any]:
    first: dict[str, list[float]] = {"first picture": [], "first stroke": []}
    with running_lab(home) as lab, running_browser() as chromium:
        for number in range(starts):
            notebook = opened(lab, chromium, f"editor-{number}.ipynb", FIRST_CELL)
            notebook.activate(0)
            first["first picture"].append(notebook.page.evaluate(RUN))
            began = time.monotonic()
            notebook.choose("tree")
            notebook.stroke([(0.2, 0.6), (0.3, 0.65)])
            notebook.wait_for_picture()
            first["first stroke"].append(time.monotonic() - began)
            if number < starts - 1:
                notebook.close()
        notebook.ask(WATCH)
        return {**first, "cancels": [cancel(notebook) for _ in range(repeats)]}


def cancel(notebook: Notebook) -> dict[str, float]:
    """Begins a blend, and cancels it when there is a first blended picture."""
    notebook.ask("happened.clear()")
    notebook.press('[data-action="blend"]')
    notebook.wait(
        """() => {
            const canvas = document.querySelector("[data-ganpaint-canvas]");
            const root = document.querySelector("[data-ganpaint-root]");
            return root.dataset.job && canvas.dataset.shown === "result";
        }"""
    )
    found: Any = notebook.page.evaluate(CANCEL)
    notebook.ask("open('happened.json', 'w').write(json.dumps(happened))")
    happened = json.loads((notebook.lab.folder / "happened.json").read_text())
    after = happened[happened.index("cancel") : happened.index("Finished")]
    return {**found, "steps": after.count("Progress")}


if __name__ == "__main__":
    sys.exit(main())
