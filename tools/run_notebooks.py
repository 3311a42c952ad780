"""Runs the lessons and keeps their outputs in the files, so that GitHub and the docs show pictures.

    python tools/run_notebooks.py [--only lesson3 solutions/lesson3] [--check]

To be run with the Python of .venv, after everything that changes what the lessons show: new weights, another
API. Says of each how long it took, how much memory its kernel had at the most, and how large the file is.
--check runs them all the same and writes nothing.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
LARGEST = 500_000
"""Bytes of a notebook with its outputs."""

PEAK = "open('/proc/self/status').read().split('VmHWM:')[1].split()[0]"
"""The most memory that a process on Linux has had, in kB, as an expression for its kernel."""


def execute(path: Path) -> tuple[NotebookNode, float, float]:
    """Return the notebook with its outputs, how many seconds it took, and its kernel's peak memory in MB."""
    notebook = nbformat.read(path, as_version=4)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANPAINT_JOURNAL"] = "off"
        client = NotebookClient(
            notebook,
            timeout=900,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},  # hand-ins and saved pictures go there
            coalesce_streams=True,
            store_widget_state=False,  # a notebook at rest shows the widgets' PNG
        )
        with client.setup_kernel():
            for number, cell in enumerate(notebook.cells):
                client.execute_cell(cell, number)
            asked = nbformat.v4.new_code_cell(PEAK)
            notebook.cells.append(asked)
            client.execute_cell(asked, len(notebook.cells) - 1)
            notebook.cells.pop()
        peak = float(asked.outputs[0]["data"]["text/plain"].strip("'")) / 1024
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.metadata.pop("execution", None)  # when each cell ran
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = None
                if "image/png" in output.get("data", {}):
                    output["data"] = smaller(output["data"])
    notebook.metadata.pop("widgets", None)
    return notebook, time.monotonic() - began, peak


def smaller(data: dict[str, str]) -> dict[str, str]:
    """Return an output's picture as JPEG where that takes less, as for rows of pictures; curves stay PNG."""
    source = data["image/png"]
    packed = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(source))) as picture:
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A") if "A" in picture.getbands() else None)
        flat.save(packed, "JPEG", quality=80, optimize=True, subsampling=0)
    text = base64.b64encode(packed.getvalue()).decode("ascii")
    if len(text) >= 0.8 * len(source):
        return data
    return {**{kind: value for kind, value in data.items() if kind != "image/png"}, "image/jpeg": text}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[""], metavar="NAME", help="how their names begin")
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    failed = False
    for path in sorted([*NOTEBOOKS.glob("lesson*.ipynb"), *NOTEBOOKS.glob("solutions/lesson*.ipynb")]):
        name = str(path.relative_to(NOTEBOOKS))
        if not name.startswith(tuple(arguments.only)):
            continue
        notebook, seconds, peak = execute(path)
        text = nbformat.writes(notebook) + "\n"
        failed |= len(text) > LARGEST
        print(f"{name}: {seconds:.0f} s, {peak:.0f} MB of memory, {len(text) / 1000:.0f} kB", flush=True)
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    if failed:
        print(f"A notebook is larger than {LARGEST / 1000:.0f} kB.", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
