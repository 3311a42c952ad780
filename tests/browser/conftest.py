"""JupyterLab in a headless Chromium, driven through Playwright: a server of its own, in a folder of its own.

A test asks for `open_notebook` and gets a `Notebook`: the page, the commands that a user reaches by menu, and
what the editor on the page shows. Everything waits for a condition, never for a time.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright

SHOTS = Path(__file__).parent / "shots"
# ms for anything on the page: on two busy cores a kernel may take a minute to import torch or to adapt.
PATIENCE = 300_000

Pixels = npt.NDArray[np.int16]  # H x W x 3; signed, so that differences are differences


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Lets fixtures see whether their test has failed."""
    report: Any = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


FAILED = pytest.StashKey[bool]()


@pytest.fixture
def failed(request: pytest.FixtureRequest) -> Callable[[], bool]:
    """Whether the test has failed, for what comes after it."""
    return lambda: bool(request.node.stash.get(FAILED, False))


# --- the server ---


class Lab:
    """A server on a port of its own, with its files in `folder` and its settings in `settings`.

    A notebook's address lies under `notebooks`: in JupyterLab, or in Notebook 7.
    """

    def __init__(self, folder: Path, settings: Path, url: str, notebooks: str = "lab/tree") -> None:
        self.folder = folder
        self.settings = settings
        self.url = url
        self.notebooks = notebooks

    def ask(self, method: str, path: str) -> Any:
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


# Otherwise a new JupyterLab asks whether it may fetch news, in a box that lies on the page.
QUIET = {"@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False}}


@contextmanager
def running_lab(
    home: Path, application: str = "jupyterlab", chosen: dict[str, dict[str, object]] | None = None
) -> Iterator[Lab]:
    """Nobody's settings, nobody's kernels: all of JupyterLab's files lie in `home`.

    application: the module to start, `jupyterlab` or `notebook`. chosen: settings by their plugins.
    """
    files = home / "files"
    files.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment |= {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "IPYTHONDIR": str(home / "ipython"),
        "GANPAINT_JOURNAL": str(home / "journal"),
        "GANPAINT_CACHE": str(home / "cache"),
    }
    for plugin, values in (QUIET | (chosen or {})).items():
        settings = home / "settings" / f"{plugin}.jupyterlab-settings"
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps(values))

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = home / "lab.log"
    command = [
        sys.executable,
        "-m",
        application,
        "--no-browser",
        "--expose-app-in-browser",
        f"--port={port}",
    ]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0", "--IdentityProvider.token="]
    command += ["--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={files}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, cwd=files, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    running = Lab(files, home / "settings", url, "lab/tree" if application == "jupyterlab" else "notebooks")
    try:
        deadline = time.monotonic() + PATIENCE / 1000
        while True:
            assert server.poll() is None, f"JupyterLab ended: {log.read_text()}"
            try:
                running.ask("GET", "status")
                break
            except OSError:
                assert time.monotonic() < deadline, f"JupyterLab does not answer: {log.read_text()}"
                time.sleep(0.1)
        yield running
        for session in running.ask("GET", "sessions"):
            running.ask("DELETE", f"sessions/{session['id']}")
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(20)
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)  # its own process group: see start_new_session
            server.wait()


# Per module: as long as Playwright is open, an asyncio loop counts as running on this thread, and other tests
# that want one (nbclient) would stumble.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as chromium:
        yield chromium


@contextmanager
def running_browser(*arguments: str) -> Iterator[Browser]:
    """Debian's Chromium where there is one, otherwise the one that `playwright install chromium` brings."""
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, (shutil.which(name) for name in names)), None)
    quiet = [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", *quiet, *arguments]
        )
        yield chromium
        chromium.close()


# --- a notebook on the page ---


class Notebook:
    """One notebook, open in JupyterLab in one page. patience: ms for anything that it waits for."""

    def __init__(self, lab: Lab, page: Page, name: str, patience: float = PATIENCE) -> None:
        self.lab = lab
        self.page = page
        self.name = name
        self.patience = patience
        page.set_default_timeout(patience)
        self.complaints: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())  # "leave the page?" at a reload

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def open(self) -> None:
        """Loads the page and waits until the notebook is there and its kernel answers."""
        self.page.goto(f"{self.lab.url}/{self.lab.notebooks}/{self.name}?reset")
        self.wait_for_kernel("idle")

    def reload(self) -> None:
        self.page.reload()
        self.wait_for_kernel("idle")

    # JupyterLab

    def wait(self, condition: str, argument: Any = None) -> None:
        """Waits until a function of the page is true."""
        self.page.wait_for_function(condition, arg=argument)

    def wait_for_kernel(self, status: str) -> None:
        self.wait(
            """status => {
                const notebook = window.jupyterapp?.shell.currentWidget;
                const kernel = notebook?.sessionContext?.session?.kernel;
                return notebook?.content?.model?.cells?.length && kernel?.connectionStatus === "connected"
                    && kernel.status === status;
            }""",
            status,
        )

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """One of JupyterLab's commands, without waiting for what it starts."""
        self.page.evaluate(
            "([n, a]) => void window.jupyterapp.commands.execute(n, a)", [name, arguments or {}]
        )

    def activate(self, cell: int) -> None:
        """Selects a cell (negative: from the end), in command mode."""
        self.page.evaluate(
            """cell => {
                const { content } = window.jupyterapp.shell.currentWidget;
                content.activeCellIndex = cell < 0 ? content.widgets.length + cell : cell;
                content.mode = "command";
                content.activate();
            }""",
            cell,
        )

    def run_all(self) -> None:
        """What the menu's "Run All Cells" does, to the end of the last cell."""
        self.command("notebook:run-all-cells")
        self.wait(
            """() => window.jupyterapp.shell.currentWidget.content.widgets.every(
                ({ model }) => model.type !== "code" || model.executionCount
            )"""
        )

    def start(self, cell: int) -> None:
        """Starts a cell that prints something, waits until it has, and not for the cell's end."""
        self.activate(cell)
        self.command("notebook:run-cell")
        self.page.locator(".jp-CodeCell").nth(cell).locator(".jp-OutputArea-output").first.wait_for()

    def is_running(self, cell: int) -> bool:
        """By the cell's prompt: the kernel says "idle" after every message, those beside the cell too."""
        prompt = self.page.locator(".jp-CodeCell").nth(cell).locator(".jp-InputPrompt").first
        return "*" in prompt.inner_text()

    def wait_for_cell(self, cell: int) -> None:
        """Waits until a cell has ended: it has its number then."""
        self.wait(
            "cell => window.jupyterapp.shell.currentWidget.content.widgets[cell].model.executionCount", cell
        )

    def run(self, cell: int) -> None:
        """Runs a cell to its end."""
        self.activate(cell)
        self.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-cell')")

    def ask(self, code: str) -> None:
        """Runs code in the notebook's kernel, beside the notebook's cells, and waits for its end."""
        reply = self.page.evaluate(
            """async code => {
                const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
                const request = { code, silent: false, store_history: false };
                // The reply, not the future's "done": that waits for an "idle" of its own as well,
                // which may be lost among those of the subshell's messages.
                const future = kernel.requestExecute(request);
                const { content } = await new Promise(resolve => { future.onReply = resolve; });
                return content.status === "ok" ? "" : `${content.ename}: ${content.evalue}`;
            }""",
            code,
        )
        assert reply == "", reply

    def save(self) -> None:
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def cells(self) -> list[str]:
        """The notebook's cells: what their sources say, in order."""
        found = self.page.evaluate(
            """() => {
                const { widgets } = window.jupyterapp.shell.currentWidget.content;
                return widgets.map(widget => widget.model.sharedModel.getSource());
            }"""
        )
        return list(found)

    def errors(self) -> list[str]:
        """Tracebacks and warnings that cells show; a progress bar writes to stderr too."""
        stderr = self.page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').all_inner_texts()
        tracebacks = self.page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
        return tracebacks + [text for text in stderr if "Warning" in text]

    def theme(self, name: str) -> None:
        """`JupyterLab Light` or `JupyterLab Dark`."""
        change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
        self.page.evaluate(change, name)
        light = "true" if "Light" in name else "false"
        self.wait("light => document.body.dataset.jpThemeLight === light", light)

    # the editor

    @property
    def root(self) -> Locator:
        return self.page.locator("[data-ganpaint-root]").first

    @property
    def canvas(self) -> Locator:
        """The large canvas that is painted on. It says which messages its picture covers."""
        return self.root.locator("[data-ganpaint-canvas]").first

    def wait_for_editor(self) -> None:
        self.page.locator("[data-ganpaint-root][data-ready]").first.wait_for()
        self.root.scroll_into_view_if_needed()

    def number(self, name: str) -> int:
        """One of the root's counts: `accepted`, `revision`."""
        return int(self.root.get_attribute(f"data-{name}") or 0)

    def press(self, selector: str) -> None:
        self.root.locator(selector).first.click()

    def choose(self, concept: str, verb: str = "add") -> None:
        self.press(f'[data-verb="{verb}"]')
        self.press(f'[data-concept="{concept}"]')

    def stroke(self, points: list[tuple[float, float]]) -> None:
        """Draws through points (fractions of the canvas), and waits until the kernel has accepted it."""
        before = self.number("accepted")
        self.draw(points)
        self.wait_for_accepted(before)

    def draw(self, points: list[tuple[float, float]]) -> None:
        self.canvas.scroll_into_view_if_needed()
        box = self.canvas.bounding_box()
        assert box is not None
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=8)
        self.page.mouse.up()

    def wait_for_accepted(self, before: int) -> None:
        """Waits until the kernel has accepted something after `before`, and all that was sent."""
        self.wait(
            """before => {
                const { accepted, sent } = document.querySelector("[data-ganpaint-root]").dataset;
                return Number(accepted) > before && Number(accepted) >= Number(sent);
            }""",
            before,
        )

    def wait_for_picture(self) -> None:
        """Waits until the canvas shows a picture that covers everything that the page has sent."""
        self.wait(
            """() => {
                const root = document.querySelector("[data-ganpaint-root]");
                const canvas = root.querySelector("[data-ganpaint-canvas]");
                return Number(canvas.dataset.sequence) >= Number(root.dataset.sent);
            }"""
        )

    def wait_for_blend(self) -> None:
        """Waits until a blend has ended whose result the page shows."""
        self.wait(
            """() => {
                const root = document.querySelector("[data-ganpaint-root]");
                const { job, kernel } = root.dataset;
                return root.querySelector('[data-picture="result"]:enabled') && !job && kernel === "answers";
            }"""
        )

    def pixels(self, element: Locator) -> Pixels:
        """What a canvas or a picture on the page shows, at its own resolution."""
        data = element.evaluate(
            """async element => {
                const kinds = "canvas, img";
                const source = element.matches(kinds) ? element : element.querySelector(kinds);
                if (source instanceof HTMLImageElement) await source.decode();
                const canvas = document.createElement("canvas");
                canvas.width = source.naturalWidth ?? source.width;
                canvas.height = source.naturalHeight ?? source.height;
                canvas.getContext("2d").drawImage(source, 0, 0);
                return canvas.toDataURL("image/png");
            }"""
        )
        with Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))) as picture:
            return np.asarray(picture.convert("RGB")).astype(np.int16)

    def picture(self, name: str) -> Pixels:
        """One of the strip's four: `photo`, `reconstruction`, `preview`, `result`."""
        return self.pixels(self.root.locator(f'[data-picture="{name}"]').first)

    # the end

    def close(self) -> None:
        """Closes the page and ends the notebook's kernel."""
        self.page.context.close()
        for session in self.lab.ask("GET", "sessions"):
            if session["path"] == self.name:
                self.lab.ask("DELETE", f"sessions/{session['id']}")

    def tell_what_failed(self, test: str) -> None:
        with suppress(Exception):
            self.shot(f"failed-{test}")
        print(f"{self.name} on the page's console:", *self.complaints, sep="\n  ")
        with suppress(Exception):
            print("cells complain:", *self.errors(), sep="\n  ")

    def shot(self, name: str) -> None:
        SHOTS.mkdir(exist_ok=True)
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")
        self.page.screenshot(path=SHOTS / f"{name}.png")


def code_notebook(*sources: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in sources],
        metadata={"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
    )


def opened(
    lab: Lab, browser: Browser, name: str, *cells: str, scale: float = 1, patience: float = PATIENCE
) -> Notebook:
    """A notebook with these cells (without any: the one that is there) in a page of its own."""
    if cells:
        nbformat.write(code_notebook(*cells), lab.folder / name)
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, device_scale_factor=scale)
    notebook = Notebook(lab, context.new_page(), name, patience)
    notebook.open()
    return notebook


OpenNotebook = Callable[..., Notebook]


@pytest.fixture(scope="module")
def new_notebook(lab: Lab, browser: Browser) -> OpenNotebook:
    """Open a notebook (a file's path, or the sources of its cells) under a name and in a page of its own.

    Without any content, open one that is there already. The caller closes it.
    """

    def open_one(name: str, *content: str | Path, scale: float = 1) -> Notebook:
        file = f"{name}.ipynb"
        if content and isinstance(content[0], Path):
            shutil.copy(content[0], lab.folder / file)
            content = ()
        return opened(lab, browser, file, *map(str, content), scale=scale)

    return open_one


@pytest.fixture
def open_notebook(
    new_notebook: OpenNotebook, failed: Callable[[], bool], request: pytest.FixtureRequest
) -> Iterator[OpenNotebook]:
    """The same for one test, after which it is closed; without content a second page of the first one."""
    opened: list[Notebook] = []

    def open_one(*content: str | Path, scale: float = 1) -> Notebook:
        name = f"{request.node.name}-{len(opened) if content else 0}"
        opened.append(new_notebook(name, *content, scale=scale))
        return opened[-1]

    yield open_one

    for notebook in opened:
        if failed():
            notebook.tell_what_failed(request.node.name)
        notebook.close()


@pytest.fixture(scope="module")
def shared(browser: Browser) -> Iterator[list[Notebook]]:
    """What the tests of a module leave open for each other. A test that fails takes its notebook away."""
    notebooks: list[Notebook] = []
    yield notebooks
    for notebook in notebooks:
        notebook.close()
