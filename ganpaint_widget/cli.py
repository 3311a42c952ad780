"""The command line: ``ganpaint --help``."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import GANPaintError

app = typer.Typer(
    help="Semantic photo editing with a generative image prior.", no_args_is_help=True, add_completion=False
)


@app.callback()
def main() -> None:
    """Semantic photo editing with a generative image prior."""


@app.command()
def doctor() -> None:
    """Check that the package, its front end and its weights are all there, and say which versions run."""
    from .widget.paint import static_file

    failed = False
    typer.echo(f"Python {sys.version.split()[0]}")
    for name in (
        "ganpaint_widget", "torch", "numpy", "pillow", "ipywidgets", "anywidget", "ipykernel", "jupyterlab",
    ):  # fmt: skip
        try:
            typer.echo(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            needed = name not in ("ipykernel", "jupyterlab")
            failed |= needed
            typer.echo(f"{name} is not installed{'' if needed else ' (needed only on the notebook server)'}")
    try:
        for name in ("widget.js", "widget.css"):
            static_file(name)
        typer.echo("The front end is built.")
        from .generators.zoo import load

        model = load("demo")
        known = ", ".join(model.dissection.concepts) if model.dissection else "none"
        typer.echo(f"The demo generator draws {model.generator.resolution} px pictures and knows: {known}.")
    except ValueError as error:
        typer.echo(str(error), err=True)
        failed = True
    raise typer.Exit(1 if failed else 0)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A StyleGAN2 network of NVIDIA's, *.pkl.")],
    to: Annotated[
        Path | None, typer.Option(help="The safetensors file; by default beside the pickle.")
    ] = None,
) -> None:
    """Convert an NVIDIA pickle to safetensors, without running any of the code that is in it."""
    from .generators.convert import convert as convert_pickle

    target = source.with_suffix(".safetensors") if to is None else to
    try:
        generator = convert_pickle(source, target)
    except GANPaintError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    typer.echo(f"{target} holds a generator of {generator.resolution} px pictures.")


train = typer.Typer(help="Train what ships with the package.", no_args_is_help=True)
app.add_typer(train, name="train")


@train.callback()
def _train() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


@train.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Checkpoints, logs, sample sheets and rendered scenes.")],
    weights: Annotated[Path, typer.Option(help="Where the finished safetensors go.")],
    minutes: Annotated[
        float, typer.Option(help="How long to train the generator; 0 keeps it as it is.")
    ] = 60,
) -> None:
    """The demo world: the generator (resumes from its checkpoint), then segmenter, encoder and dissection."""
    from .demo.train import train_demo

    train_demo(folder, weights, minutes=minutes)
    typer.echo(json.dumps({"weights": sorted(path.name for path in weights.iterdir())}))
