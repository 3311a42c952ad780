"""The widget in real kernels, with a fake page on the other end of the wire.

How a page's messages reach the widget has changed from ipykernel 6 to 7 and again within 7, and what a
running cell holds up with it. So each version is started for real, over the one environment with torch:
`make test` puts them into folders, GANPAINT_KERNELS says where, and the folder comes first on PYTHONPATH.

The fake page does what JupyterLab does: where the kernel has subshells it asks for one and addresses its
comm messages to it (JupyterLab's default), or not (its setting commsOverSubshells: disabled). Everything
here waits for a condition, with a deadline; "while the cell runs" means until the test itself lets the cell
end.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager

VERSIONS = ["6.31.0", "7.3.0", "7.4.0"]
WAYS = [
    ("6.31.0", "main shell"),
    # between the oldest and the newest: rarely anything of its own
    pytest.param("7.3.0", "subshell", marks=pytest.mark.heavy),
    pytest.param("7.3.0", "main shell", marks=pytest.mark.heavy),
    ("7.4.0", "subshell"),
    ("7.4.0", "main shell"),
]
DEADLINE = 90.0
TESTS = Path(__file__).parent
PAGE = "page-in-a-test"

# The scope keeps a kernel for all tests of its version: starting one, and torch in it, takes seconds.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize(("kernel", "shell"), WAYS, indirect=["kernel"], scope="module"),
]

# A tiny model as in conftest.py, and an adaptation that goes on until a file appears: the test holds the end.
PREPARE = """
import os, sys, time
sys.path.insert(0, {tests!r})
import torch
import ganpaint_widget.method.adaptation
from conftest import SIZE, HeldAdaptation, random_dissection
from ganpaint_widget import EditingSession, GANPaint
from ganpaint_widget.models.model import Model
from ganpaint_widget.models.progan import ProGAN

torch.manual_seed(0)
generator = ProGAN(8, (16, 16, 16, 8)).eval()
dissection = random_dissection(generator.edit_layer, generator.shape(generator.edit_layer)[0])
model = Model("tiny", generator, encoder=None, dissection=dissection, gallery=None)

class File:
    path = None
    def wait(self, seconds):
        time.sleep(seconds)
        return os.path.exists(File.path)

held = HeldAdaptation()
held.proceed = File()
ganpaint_widget.method.adaptation.Fit.run = lambda fit, **how: held.run(fit, **how)

# From here on ipykernel 7.3 overlooks no message: see keep_awake in kernel.py.
GANPaint(session=EditingSession(generator=model)).close()
"""

UNTIL_THE_FILE = """
print("running", flush=True)
while not os.path.exists({path!r}):
    time.sleep(0.01)
"""


class Kernel:
    """A running kernel and our end of its wires."""

    def __init__(self, version: str, client: BlockingKernelClient) -> None:
        self.version, self.client = version, client

    def subshell(self) -> str:
        """Ask for a subshell as JupyterLab does: by a message on the control channel."""
        request = self.client.session.msg("create_subshell_request", {})
        self.client.control_channel.send(request)
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            reply = self.client.get_control_msg(timeout=DEADLINE)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                return str(reply["content"]["subshell_id"])
        raise TimeoutError("The kernel made no subshell.")


class Page:
    """A fake front end: remembers what comes, acknowledges frames, and can be asked to wait for something."""

    def __init__(self, kernel: Kernel, subshell: str | None) -> None:
        self.kernel, self.client, self.subshell = kernel, kernel.client, subshell
        self.comm = ""
        self.sequence = self.strokes = 0
        self.messages: list[dict[str, Any]] = []
        self.state: dict[str, Any] = {}
        self.running: set[str] = set()
        self.statuses: list[tuple[str, str]] = []  # the state, and the type of the message that it is about
        self.output = ""

    # --- cells ---

    def start(self, code: str) -> str:
        cell: str = self.client.execute(code)
        self.running.add(cell)
        return cell

    def run(self, code: str) -> str:
        """Run a cell to its end; returns what it printed."""
        before = len(self.output)
        cell = self.start(code)
        self.wait(lambda: cell not in self.running)
        return self.output[before:].strip()

    # --- what the kernel sends ---

    def wait(self, condition: Callable[[], object], seconds: float = DEADLINE) -> None:
        end = time.monotonic() + seconds
        while not condition():
            left = end - time.monotonic()
            if left <= 0:
                brief = [{k: v for k, v in m.items() if k != "buffer"} for m in self.messages[-20:]]
                pytest.fail(f"waited {seconds:.0f} s in vain; cells {self.running}; {self.output!r}; {brief}")
            try:
                self._take(self.client.get_iopub_msg(timeout=min(left, 1)))
            except queue.Empty:
                continue

    def _take(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            self.output += content["text"]
        elif kind == "error":
            pytest.fail("\n".join(content["traceback"]))
        elif kind == "status":
            self.statuses.append((content["execution_state"], message["parent_header"].get("msg_type", "")))
            if content["execution_state"] == "idle":
                self.running.discard(message["parent_header"].get("msg_id"))
        elif kind == "comm_open" and "_esm" in content["data"]["state"]:
            self.comm = content["comm_id"]
            self.state = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["comm_id"] == self.comm:
            data = content["data"]
            if data["method"] == "update":
                buffers = [bytes(buffer) for buffer in message["buffers"]]
                files = {path[0]: file for path, file in zip(data["buffer_paths"], buffers, strict=True)}
                self.state |= data["state"] | files
            else:
                # Which cells were running when it came is what these tests are about.
                self.messages.append(data["content"] | {"during": set(self.running)})
                if data["content"]["type"] == "frame":
                    self.send({"type": "ack", "page": PAGE, "frame": data["content"]["frame"]})

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            message
            for message in self.messages
            if message["type"] == kind and all(message[key] == value for key, value in fields.items())
        ]

    # --- what the page sends ---

    def send(self, content: Any, buffers: list[bytes] | None = None) -> None:
        data = {"comm_id": self.comm, "data": {"method": "custom", "content": content}}
        message = self.client.session.msg("comm_msg", data)
        if self.subshell is not None:
            message["header"]["subshell_id"] = self.subshell
        message["buffers"] = buffers or []
        self.client.shell_channel.send(message)

    def hello(self) -> None:
        self.send({"type": "hello", "version": 1, "page": PAGE})

    def stroke(self) -> int:
        self.sequence += 1
        self.strokes += 1
        content = {
            "type": "stroke",
            "page": PAGE,
            "sequence": self.sequence,
            "stroke": self.strokes,
            "last": True,
            "edit": f"e{self.strokes}",
            "verb": "add",
            "concept": "tree",
            "strength": 1,
            "rect": [self.strokes, 4, 8, 8],
        }
        self.send(content, [b"\xff" * 64])
        return self.sequence

    def shown(self, sequence: int) -> bool:
        """Accepted, and covered by a frame."""
        return bool(
            [m for m in self.of("accepted") if m["sequence"] >= sequence]
            and [m for m in self.of("frame") if m["covers"].get(PAGE, 0) >= sequence]
        )


@pytest.fixture(scope="module")
def kernel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    version: str = request.param
    place = os.environ.get("GANPAINT_KERNELS")
    if not place or not (Path(place) / version).is_dir():
        pytest.fail(
            f"ipykernel {version} is not prepared: GANPAINT_KERNELS must name the folder with "
            f"{', '.join(VERSIONS)} in it. Run `make test`, which makes it."
        )
    scratch = tmp_path_factory.mktemp("kernel")
    python_path = [str(Path(place) / version), *filter(None, [os.environ.get("PYTHONPATH")])]
    spec = scratch / "kernels" / "tested" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        json.dumps(
            {
                "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": f"ipykernel {version}",
                "language": "python",
                "env": {
                    "PYTHONPATH": os.pathsep.join(python_path),
                    "GANPAINT_JOURNAL": str(scratch / "journal"),
                    "IPYTHONDIR": str(scratch / "ipython"),
                },
            }
        )
    )
    specs = KernelSpecManager(kernel_dirs=[str(spec.parent.parent)], ensure_native_kernel=False)
    manager = KernelManager(kernel_name="tested", kernel_spec_manager=specs)
    manager.start_kernel(cwd=str(scratch))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=DEADLINE)
        running = Kernel(version, client)
        page = Page(running, None)
        page.run(PREPARE.format(tests=str(TESTS)))
        assert page.run("import ipykernel; print(ipykernel.__version__)") == version
        yield running
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def page(kernel: Kernel, shell: str) -> Page:
    """A page before there is a widget, addressing its messages to a subshell or to the main shell."""
    return Page(kernel, kernel.subshell() if shell == "subshell" else None)


@pytest.fixture
def painting(page: Page) -> Iterator[Page]:
    """A page with a widget that has said hello to it."""
    page.run("paint = GANPaint(session=EditingSession(generator=model)); paint")
    page.hello()
    page.wait(lambda: page.of("welcome") and page.of("frame"))
    yield page
    page.run("paint.close()")


@pytest.fixture
def cell(page: Page, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Start a cell that runs until `end()`, which the fixture calls too."""
    file = tmp_path / "end"

    def start(code: str = "") -> str:
        before = page.output.count("running")
        id = page.start(code + UNTIL_THE_FILE.format(path=str(file)))
        page.wait(lambda: page.output.count("running") > before)
        return id

    start.end = file.touch  # type: ignore[attr-defined]
    yield start
    file.touch()
    page.wait(lambda: not page.running)


def test_painting_while_idle(painting: Page) -> None:
    page = painting
    for _ in range(3):
        sequence = page.stroke()
        page.wait(lambda: page.shown(sequence))  # noqa: B023 - waited for before it changes
    page.wait(lambda: page.state["_state"]["covers"].get(PAGE) == 3)
    assert [edit["id"] for edit in page.state["_state"]["edits"]] == ["e1", "e2", "e3"]
    assert page.run("print(len(paint.session.edits), paint.mask.any())") == "3 True"


def test_painting_never_looks_busy(painting: Page) -> None:
    page = painting
    page.statuses.clear()
    sequence = page.stroke()
    page.wait(lambda: page.shown(sequence) and ("idle", "comm_msg") in page.statuses)
    assert ("busy", "comm_msg") not in page.statuses
    # Other comms' messages and cells are announced as ever.
    page.run("pass")
    page.client.shell_channel.send(page.client.session.msg("comm_msg", {"comm_id": "another", "data": {}}))
    page.wait(lambda: ("busy", "comm_msg") in page.statuses)
    assert ("busy", "execute_request") in page.statuses


def test_a_handler_that_hangs_looks_busy(painting: Page, tmp_path: Path) -> None:
    page, file = painting, tmp_path / "end"
    page.run(f"""def hang():
    while not os.path.exists({str(file)!r}):
        time.sleep(0.01)
paint.session.undo = hang""")
    page.statuses.clear()
    page.sequence += 1
    page.send({"type": "command", "page": PAGE, "sequence": page.sequence, "name": "undo", "arguments": {}})
    page.wait(lambda: ("busy", "comm_msg") in page.statuses)
    assert not page.of("accepted")
    page.statuses.clear()
    file.touch()
    page.wait(lambda: page.of("accepted") and ("idle", "comm_msg") in page.statuses)


def test_painting_while_a_cell_runs(painting: Page, cell: Any) -> None:
    page = painting
    # The cell also edits and so has things sent: that must not draw the page's messages to its own shell.
    running = cell("import numpy as np; paint.session.add('dome', np.full((SIZE, SIZE), 90, 'uint8'))\n")
    if page.subshell is not None:
        for _ in range(3):
            sequence = page.stroke()
            page.wait(lambda: page.shown(sequence))  # noqa: B023
        page.wait(lambda: page.state["_state"]["covers"].get(PAGE) == 3)
        assert running in page.running
    else:
        sequence = page.stroke()
    cell.end()
    page.wait(lambda: page.shown(sequence) and running not in page.running)
    during = {bool(message["during"]) for message in page.of("accepted")}
    assert during == {page.subshell is not None}


def test_a_widget_made_in_the_cell_that_runs_on(page: Page, cell: Any) -> None:
    running = cell("paint = GANPaint(session=EditingSession(generator=model)); display(paint)\n")
    page.wait(lambda: page.comm)
    page.hello()
    sequence = page.stroke()
    if page.subshell is not None:
        page.wait(lambda: page.of("welcome") and page.shown(sequence))
        assert running in page.running
    cell.end()
    page.wait(lambda: page.of("welcome") and page.shown(sequence))


def test_a_blocking_blend_in_a_cell_shows_its_progress_and_ends(painting: Page, tmp_path: Path) -> None:
    page = painting
    sequence = page.stroke()
    page.wait(lambda: page.shown(sequence))
    file = tmp_path / "end"
    running = page.start(f"File.path = {str(file)!r}; result = paint.session.adapt()")
    # Sent from the worker's thread, so on every kernel it comes while the cell is blocked.
    page.wait(lambda: page.of("frame", picture="result") and len(page.of("progress")) > 2)
    assert all(running in message["during"] for message in page.of("frame", picture="result"))
    assert running in page.running
    if page.subshell is not None:
        sequence = page.stroke()
        page.wait(lambda: page.shown(sequence))
        page.send({"type": "cancel", "page": PAGE})
    else:
        file.touch()
    page.wait(lambda: running not in page.running)
    page.wait(lambda: page.state["_state"]["job"] is None and page.state.get("_result"))
    assert page.run("print(result.size)") == "(32, 32)"


def test_the_kernel_outlives_nonsense(painting: Page) -> None:
    page = painting
    for nonsense in [None, 7, [], {}, {"type": "stroke"}, {"type": "command", "page": PAGE, "sequence": 1}]:
        page.send(nonsense)
    page.wait(lambda: len(page.of("error")) == 6)
    page.sequence = 1
    sequence = page.stroke()
    page.wait(lambda: page.shown(sequence))
    assert page.run("print(1 + 1)") == "2"
