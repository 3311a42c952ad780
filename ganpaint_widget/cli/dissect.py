"""``ganpaint dissect``."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import GANPaintError
from ..storage import explained_writing
from .common import DeviceOption, GeneratorOption, JsonOption, plainly

if TYPE_CHECKING:
    from ..models.model import Model
    from ..models.units import Dissection

MOST_DISCOVERED = 400
"""Pictures in which concepts are discovered, at most: what is known of their regions is kept in memory."""

ELSEWHERE = "Choose another place with --output."

EXEMPLAR_SAMPLES = 400
"""Pictures among which exemplars are looked for, at most: they show more objects than are kept."""


def dissect(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The safetensors file to write. Default: beside the generator's file, where the package "
            "looks for it.",
        ),
    ] = None,
    generator: GeneratorOption = "demo",
    layer: Annotated[str | None, typer.Option(help="The stage to dissect. Default: the edit layer.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many pictures to measure.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the pictures.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="How many processes share the work.")] = 1,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="The segmenter: ade20k, or the folder or name of another transformers model with ADE20K's "
            "classes (needs transformers). Default: the generator's own."
        ),
    ] = None,
    discover: Annotated[
        int | None,
        typer.Option(
            help="Find this many concepts without a segmenter, for example 12, in at most 400 pictures. A "
            "model with an encoder shows the pictures of its gallery first.",
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Also measure a detector that knows only the position, and rotated axes.")
    ] = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what the units of a layer draw.

    Example: ganpaint dissect --generator network.pth --segmenter ade20k

    Without a segmenter: ganpaint dissect --generator network.pth --discover 12
    """
    with plainly(as_json):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        from .. import dissection
        from ..models import devices

        if discover is not None and (segmenter is not None or baselines or processes > 1):
            raise GANPaintError(
                "--discover works without a segmenter, and in one process.",
                "Leave out --segmenter, --baselines and --processes, or --discover.",
            )
        began = time.monotonic()
        model = devices.load(generator, device)
        if segmenter is not None:
            from ..models.segmentation import ade20k

            model = replace(model, segmenter=ade20k() if segmenter == "ade20k" else ade20k(segmenter))
        if model.segmenter is None and discover is None:
            raise GANPaintError(
                f"The generator {model.name!r} has no segmenter.",
                "Pass --discover 12 or --segmenter ade20k, or call ganpaint_widget.dissection.dissect with "
                "your own.",
            )
        output = output or _beside(generator)
        _check_place(output)
        layer = layer or model.generator.edit_layer
        if layer not in model.generator.stages:
            raise GANPaintError(
                f"The generator {model.name!r} has no layer {layer!r}.",
                f"Choose one of: {', '.join(model.generator.stages)}.",
            )
        given: dict[str, Any] = {"layer": layer, "samples": samples, "seed": seed}
        if discover is not None:
            found = _discover(model, discover, given, quiet=as_json)
            told = _told(output, model.name, layer, found)
            _keep(found, output)
            told["seconds"] = round(time.monotonic() - began, 3)
            _say(told, as_json)
            return
        assert model.segmenter is not None
        # Spawned: torch's threads do not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, spawn) if processes > 1 else nullcontext() as executor:
            found = dissection.dissect(model.generator, model.segmenter, executor=executor, **given)
            found = dissection.find_exemplars(
                model.generator, model.segmenter, found, samples=min(samples, EXEMPLAR_SAMPLES), seed=seed
            )
            told = _told(output, model.name, layer, found)
            if baselines:
                rotation = dissection.random_rotation(found.iou.shape[1], seed)
                rotated = dissection.dissect(
                    model.generator, model.segmenter, executor=executor, rotation=rotation, **given
                )
                position = dissection.position_baseline(
                    model.generator, model.segmenter, samples=samples, seed=seed
                )
                told["interpretable_units_rotated"] = rotated.interpretable_units()
                for row, one in enumerate(told["concepts"]):
                    one["position_iou"] = float(position.iou[row])
        _keep(found, output)
        told["seconds"] = round(time.monotonic() - began, 3)
    _say(told, as_json)


def _discover(model: Model, parts: int, given: dict[str, Any], *, quiet: bool) -> Dissection:
    """Concepts without labels, with a bar on the terminal."""
    from tqdm import tqdm

    from ..dissection import discover
    from ..tickets import Report, Ticket

    with tqdm(
        total=1.0,
        desc="Finding concepts",
        bar_format="{desc}: {percentage:.0f} %, {remaining} left",
        delay=3,
        leave=False,
        disable=quiet,
    ) as bar:

        def report(report: Report) -> None:
            bar.update(report.fraction - bar.n)

        given = {**given, "samples": min(given["samples"], MOST_DISCOVERED)}
        return discover(model, parts, ticket=Ticket(observer=report), **given)


def _told(output: Path, generator: str, layer: str, found: Dissection) -> dict[str, Any]:
    """Return what is said of a dissection, for programs."""
    return {
        "output": str(output),
        "generator": generator,
        "layer": layer,
        "samples": found.samples,
        "interpretable_units": found.interpretable_units(),
        "units": found.iou.shape[1],
        "concepts": found.table(),
    }


def _say(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    else:
        _tell_dissection(told)


def _check_place(output: Path) -> None:
    """Raise GANPaintError if no file can be written there: measuring takes minutes."""
    if not output.parent.is_dir():
        raise GANPaintError(
            f"The folder {str(output.parent)!r} does not exist.", "Make it, or choose another."
        )
    with explained_writing("The dissection", output, ELSEWHERE):
        if output.is_dir():
            raise GANPaintError(f"The output {str(output)!r} is a folder.", "Name a file in it.")
        NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.").close()


def _keep(found: Dissection, output: Path) -> None:
    with explained_writing("The dissection", output, ELSEWHERE):
        found.save(output)


def _beside(generator: str) -> Path:
    """Where the dissection of a generator is looked for that was named on the command line."""
    from ..models.catalogue import CATALOGUE
    from ..models.download import cached
    from ..models.registry import dissection_file, trained_at

    if generator == "demo":
        raise GANPaintError(
            "The demo already has its dissection.", "Name a file for another one with --output."
        )
    path = cached(CATALOGUE[generator]) if generator in CATALOGUE else Path(generator).expanduser()
    if generator not in CATALOGUE and (folder := trained_at(generator)) is not None:
        path = folder / "generator.safetensors"
    assert path is not None  # it has been loaded from there
    return dissection_file(path)


def _tell_dissection(told: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ["concept", "unit", "iou", "iqr", "interpretable", "position_iou"]
    shown = [name for name in columns if name in told["concepts"][0]]
    table = Table(*(name.replace("_", " ") for name in shown))
    for one in told["concepts"]:
        table.add_row(
            *(f"{one[name]:.3f}" if isinstance(one[name], float) else str(one[name]) for name in shown)
        )
    Console().print(table)
    rotated = told.get("interpretable_units_rotated")
    beside = "" if rotated is None else f" ({rotated} of a random rotation's)"
    typer.echo(
        f"{told['interpretable_units']} of {told['units']} units of {told['layer']} are "
        f"interpretable{beside}. Kept in {told['output']}."
    )
