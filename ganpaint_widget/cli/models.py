"""``ganpaint convert`` and ``ganpaint fetch``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..errors import GANPaintError
from .common import JsonOption, plainly


def convert(
    source: Annotated[Path, typer.Argument(help="A StyleGAN2 network of NVIDIA's, *.pkl.")],
    to: Annotated[
        Path | None, typer.Option(help="The safetensors file; by default beside the pickle.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert an NVIDIA pickle to safetensors, without running any of the code that is in it."""
    with plainly(as_json):
        from ..models.convert import convert as convert_pickle

        target = source.with_suffix(".safetensors") if to is None else to
        resolution = convert_pickle(source, target).resolution
    if as_json:
        typer.echo(json.dumps({"output": str(target), "resolution": resolution}))
    else:
        typer.echo(f"{target} holds a generator of {resolution} px pictures.")


def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Public models, for example church.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Say which there are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Get public models into the cache: GANPAINT_CACHE says where, GANPAINT_OFFLINE=1 forbids it."""
    with plainly(as_json):
        from ..models import download as fetching
        from ..models.catalogue import CATALOGUE

        if not names and not listed:
            raise GANPaintError("No model is named.", "Name one of those of `ganpaint fetch --list`.")
        told = []
        for name in names or CATALOGUE:
            path = None if listed else fetching.fetch(name, progress=not as_json)
            entry = CATALOGUE[name]
            about = {
                "name": name, "domain": entry.domain, "resolution": entry.resolution,
                "megabytes": entry.megabytes,
                "licence": entry.license, "source": entry.source, "concepts": list(entry.brushes),
            }  # fmt: skip
            told.append({**about, "path": str(path or fetching.cached(entry) or "")})
            if not as_json and listed:
                size = "" if entry.megabytes is None else f", {entry.megabytes} MB"
                typer.echo(f"{name}: {entry.domain}, {entry.resolution} px, {entry.architecture}{size}")
            elif not as_json:
                typer.echo(f"{path}\nLicense: {entry.license}. Source: {entry.source}.")
    if as_json:
        typer.echo(json.dumps(told, indent=1))
