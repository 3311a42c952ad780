"""``ganpaint convert``, ``ganpaint fetch`` and ``ganpaint sample``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import GANPaintError
from ..method.edits import MAX_SEED
from ..storage import explained_writing
from .common import GeneratorOption, JsonOption, plainly


def convert(
    source: Annotated[Path, typer.Argument(help="NVIDIA's StyleGAN2, *.pkl, or another checkpoint.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The safetensors file. Default: beside the checkpoint."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The earlier name of --output.", hidden=True)] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a checkpoint to safetensors, without running any code in it."""
    with plainly(as_json):
        from ..models.convert import convert as convert_checkpoint

        if to is not None:
            typer.echo("--to is called --output (-o) now; the old name goes with the next release.", err=True)
        if to is not None and output is not None:
            raise GANPaintError("The output is named twice, by --output and --to.", "Leave --to out.")
        target = output or to or source.with_suffix(".safetensors")
        if target.exists() and target.samefile(source):
            raise GANPaintError(f"{source.name} would be overwritten.", "Name another file with --output.")
        resolution = convert_checkpoint(source, target).resolution
    if as_json:
        typer.echo(json.dumps({"output": str(target), "resolution": resolution}))
    else:
        typer.echo(f"{target} holds a generator of {resolution} px pictures.")


def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Public models, for example church.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="The model's file, if you have it: it is checked and kept.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the public models.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Download public models into the cache (GANPAINT_CACHE), unless GANPAINT_OFFLINE=1."""
    with plainly(as_json):
        from ..models import download as fetching
        from ..models.catalogue import CATALOGUE

        if not names and not listed:
            raise GANPaintError(
                "No model is named.", "Name one, such as church; `ganpaint fetch --list` lists them."
            )
        if file is not None and len(names or ()) != 1:
            raise GANPaintError("--file needs exactly one model.", "Name one model.")
        told = []
        for name in names or CATALOGUE:
            notes: list[str] = []
            path = None
            if not listed:
                path = fetching.fetch(name, progress=not as_json, file=file, tell=notes.append)
            entry = CATALOGUE[name]
            about = {
                "name": name, "domain": entry.domain, "resolution": entry.resolution,
                "megabytes": entry.megabytes,
                "license": entry.license, "source": entry.source, "concepts": list(entry.brushes),
            }  # fmt: skip
            told.append({**about, "path": str(path or fetching.cached(entry) or ""), "notes": notes})
            if not as_json and listed:
                size = "" if entry.megabytes is None else f", {entry.megabytes} MB"
                typer.echo(f"{name}: {entry.domain}, {entry.resolution} px, {entry.architecture}{size}")
            elif not as_json:
                for note in notes:
                    typer.echo(note)
                typer.echo(f"{path}\nLicense: {entry.license}. Source: {entry.source}.")
    if as_json:
        typer.echo(json.dumps(told, indent=1))


def sample(
    generator: GeneratorOption = "demo",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The PNG to write; a folder for several samples.")
    ] = Path("samples"),
    count: Annotated[int, typer.Option(min=1, max=10_000, help="How many samples.")] = 1,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED - 10_000, help="The first sample's seed; the others follow.")
    ] = 0,
    truncation_psi: Annotated[
        float | None,
        typer.Option(min=0, max=2, help="For StyleGAN2: below 1, it trades variety for quality."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw samples of a generator.

    Example: ganpaint sample --generator stylegan2-church --seed 7 -o a.png
    """
    with plainly(as_json):
        from PIL import Image

        from ..images.arrays import array_of
        from ..models.devices import load

        found = load(generator).generator
        single = count == 1 and output.suffix.lower() == ".png"
        written = []
        with explained_writing("The pictures", output, "Choose another place with --output."):
            (output.parent if single else output).mkdir(parents=True, exist_ok=True)
            for number in range(seed, seed + count):
                path = output if single else output / f"{number}.png"
                picture = array_of(found.sample(1, number, truncation_psi))
                Image.fromarray(picture).save(path)
                written.append(str(path))
    typer.echo(json.dumps({"output": written}, indent=1) if as_json else "\n".join(written))
