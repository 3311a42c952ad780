"""``ganpaint train ...``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from .common import DeviceOption, JsonOption, plainly

train = typer.Typer(
    help="Train a generator on your own photos, an encoder, or the demo.",
    no_args_is_help=True,
)


@train.callback()
def _train() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")


@train.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where checkpoints, logs, sheets and scenes are kept.")],
    weights: Annotated[Path, typer.Option(help="Where the finished weights go.")],
    minutes: Annotated[float, typer.Option(help="Minutes of training; 0 keeps the generator.")] = 60,
    start: Annotated[
        Path | None, typer.Option(help="Weights to start with, if the folder lacks a checkpoint.")
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Train the demo world: generator and encoder (resuming from their checkpoint), then their companions."""
    import os

    from ..demo.train import train_demo

    where = device or os.environ.get("GANPAINT_DEVICE") or "cpu"
    train_demo(folder, weights, minutes=minutes, start=start, device=where)
    typer.echo(json.dumps({"weights": sorted(path.name for path in weights.iterdir())}))


@train.command()
def generator(
    photos: Annotated[Path, typer.Argument(help="A folder of photos; subfolders count, too.")],
    size: Annotated[int, typer.Option(help="Pixels per side: 32, 64, 128 or 256.")] = 128,
    minutes: Annotated[float, typer.Option(help="Minutes of training.", min=0.1)] = 60,
    name: Annotated[str | None, typer.Option(help="The generator's name. Default: the folder's.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to keep it. Default: in the cache.")
    ] = None,
    license: Annotated[str, typer.Option(help="The photos' license, for the model card.")] = "not stated",
    concepts: Annotated[
        int, typer.Option(help="The number of concepts to find at the end; 0 for none.")
    ] = 12,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a generator on your own photos, with an encoder and concepts, for GANPaint(generator=NAME)."""
    with plainly(as_json):
        import os

        from ..models.registry import trained_folder
        from ..training.generator import train_generator

        called = name or photos.expanduser().resolve().name
        folder = out or trained_folder(called)
        where = device or os.environ.get("GANPAINT_DEVICE") or "cpu"
        if not as_json:
            typer.echo(
                f"Training for about {minutes:g} minutes on {where}; interrupt and resume at any time. Then, "
                "some minutes more for samples, first blends and concepts."
            )
        made = train_generator(
            photos.expanduser(),
            folder,
            size=size,
            minutes=minutes,
            license=license,
            device=where,
            concepts=concepts,
        )
    if as_json:
        typer.echo(json.dumps({"folder": str(made.folder), **made.metrics}))
    else:
        shown = called if out is None else str(folder)
        typer.echo(f"{folder}\nUse it: GANPaint(generator={shown!r}). Look: {folder / 'samples.png'}")


@train.command()
def encoder(
    generator: Annotated[str, typer.Option(help="The generator: its name, or the path of its file.")],
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=1)] = 2000,
    batch: Annotated[
        int, typer.Option(help="Samples per step. Fewer need less memory, and train a weaker encoder.", min=2)
    ] = 16,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an encoder for any generator, on its own samples; photos open with it from then on.

    An initializer is trained with it, for a quarter of the steps; blends start with it. Both go into the
    cache (GANPAINT_CACHE), under the hash of the generator's weights.
    """
    with plainly(as_json):
        import torch

        from ..images.metrics import psnr
        from ..models.checkpoints import write_module
        from ..models.devices import load
        from ..models.registry import encoder_file, initializer_file
        from ..training.encoder import train_encoder
        from ..training.initializer import train_initializer

        made_for = load(generator, device).generator
        found = train_encoder(made_for, steps=steps, batch=batch)
        drawn = []
        with torch.no_grad():
            pictures = [made_for(z).clamp(-1, 1) for z in torch.split(made_for.sample_z(32, seed=1), 2)]
            for some in pictures:
                z, features = found(some)
                state = made_for.run(made_for.start(z), until=made_for.edit_layer).replace(features)
                drawn.append(made_for.picture(made_for.run(state)).clamp(-1, 1))
        path = encoder_file(made_for)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_module(path, "encoder", found, found.config)
        first = train_initializer(made_for, found, steps=-(-steps // 4), batch=batch)
        write_module(initializer_file(made_for), "initialiser", first, first.config)
    redrawn = round(psnr(torch.cat(drawn), torch.cat(pictures)), 2)
    if as_json:
        typer.echo(json.dumps({"encoder": str(path), "psnr": redrawn}))
    else:
        typer.echo(f"{path} redraws the generator's own pictures at {redrawn} dB.")
