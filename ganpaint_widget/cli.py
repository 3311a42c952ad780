"""The command line: ``ganpaint --help``.

Errors are one sentence saying what happened and one saying what to do, and the exit status 1. Every command
that makes something takes ``--json``, and then says on standard output what it has made, as one JSON object.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from .errors import GANPaintError

if TYPE_CHECKING:
    from .course import Graded
    from .generators.staged import StagedGenerator
    from .session import EditingSession

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
        for device in _devices():
            apart = _apart(model.generator, device)
            failed |= not apart <= TOLERANCE
            if apart <= TOLERANCE:
                typer.echo(f"The device {device} draws as the CPU does (at most {apart:.1e} of 1 apart).")
            else:
                typer.echo(
                    f"WARNING: THE DEVICE {device} DRAWS DIFFERENTLY: pictures are up to {apart:.3g} of 1 "
                    "apart from the CPU's. Do not trust its results; use the CPU, or another torch.",
                    err=True,
                )
    except ValueError as error:
        typer.echo(str(error), err=True)
        failed = True
    raise typer.Exit(1 if failed else 0)


TOLERANCE: Final = 0.02
"""Of pictures in [-1, 1]. Reduced precision, as GPUs have it for convolutions, stays far below; a wrong
kernel does not."""


def _devices() -> list[str]:
    """The accelerators that torch can use here."""
    import torch

    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def _apart(generator: StagedGenerator, device: str) -> float:
    """How far a picture drawn on a device is from the CPU's, at the worst pixel; infinite if it fails."""
    import copy

    import torch

    z = generator.sample_z(1, seed=0)
    try:
        with torch.no_grad():
            there = copy.deepcopy(generator).to(device)(z.to(device)).cpu()
            apart = float((there - generator(z)).abs().max())
    except RuntimeError:
        return float("inf")
    return apart if apart == apart else float("inf")  # a NaN is no agreement


# --- editing ---

PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
DETAILS: Final = {
    "add": ("mask", "strength", "units", "target", "variant"),
    "remove": ("mask", "strength", "units"),
    "restyle": ("mask", "strength", "units", "reference", "region"),
}
"""The verbs, and which options may follow each."""

JsonOption = Annotated[bool, typer.Option("--json", help="Say what was made as JSON on standard output.")]
GeneratorOption = Annotated[str, typer.Option(help="Its name, or the path of its file.")]


class InOrder(TyperCommand):
    """A command that knows the order of its options: --mask and the like belong to the edit before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta["ganpaint.order"] = [parameter.name for parameter in order]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


@dataclass
class Wish:
    """One edit as the command line asks for it: verb, concept, and whatever else was said of it."""

    verb: str
    concept: str
    details: dict[str, Any] = field(default_factory=dict)


@app.command(cls=InOrder)
def edit(
    context: typer.Context,
    photos: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The PNG to write; for several photos a folder.")
    ],
    add: Annotated[list[str] | None, typer.Option(help="A concept to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A concept to remove.")] = None,
    restyle: Annotated[
        list[str] | None, typer.Option(help="A concept to draw as the reference does.")
    ] = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where: bright or opaque pixels of a picture; a folder has one of each photo's name."
        ),
    ] = None,
    strength: Annotated[list[float] | None, typer.Option(help="0 to 4; 1 is the usual one.")] = None,
    units: Annotated[list[str] | None, typer.Option(help="low, medium, high, or numbers: 3,17,40.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Of an addition: tuned, quantile or mean.")] = None,
    variant: Annotated[
        list[int] | None, typer.Option(help="Of an addition: another plausible version.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="Of a restyle: a picture, or the seed of a sample.")
    ] = None,
    region: Annotated[
        list[Path] | None, typer.Option(help="Of a restyle: which part of the reference, as for --mask.")
    ] = None,
    adapt: Annotated[bool, typer.Option(help="Blend into the photo, or write the plain preview.")] = True,
    generator: GeneratorOption = "demo",
    fit: Annotated[
        str, typer.Option(help="Of a photo that is no square: crop edits its middle, pad all of it.")
    ] = "crop",
    project: Annotated[
        Path | None, typer.Option(help="Keep the project there as well; for several photos a folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Edit photos: ganpaint edit photo.jpg --add tree --mask mask.png -o out.png

    There may be several edits. What is said after one (--mask, --strength, ...) belongs to it:

    ganpaint edit in/ --remove window --mask w.png --restyle dome --mask d.png --reference gold.jpg -o out/
    """
    said = {
        "add": add, "remove": remove, "restyle": restyle, "mask": mask, "strength": strength, "units": units,
        "target": target, "variant": variant, "reference": reference, "region": region,
    }  # fmt: skip
    with _plainly(as_json):
        wishes = _wishes(context.meta["ganpaint.order"], said)
        jobs = _jobs(photos, output, project)
        from .opening import load

        load(generator)  # what is wrong with it is wrong for every photo
        session: EditingSession | None = None
        made = []
        for photo, picture, kept in jobs:
            began = time.monotonic()
            try:
                session = _opened(session, photo, generator, fit)
                for wish in wishes:
                    _carry_out(session, wish, photo, fit)
                made.append(_written(session, photo, picture, kept, adapt, began, quiet=as_json))
            except GANPaintError as error:
                if len(jobs) == 1:
                    raise
                made.append({"photo": str(photo), "error": {"what": error.what, "mend": error.mend}})
            if not as_json:
                _tell_picture(made[-1])
    if as_json:
        typer.echo(json.dumps({"pictures": made}, indent=1))
    if any("error" in one for one in made):
        raise typer.Exit(1)


@app.command()
def adapt(
    project: Annotated[Path, typer.Argument(help="A project, as `edit --project` and the editor keep it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    generator: Annotated[
        str | None, typer.Option(help="Needed where the project's generator was no named one.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Keep the project with its blend there.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Blend the edits of a project into its photo: ganpaint adapt edit.ganpaint -o out.png"""
    with _plainly(as_json):
        from .session import EditingSession

        began = time.monotonic()
        session = EditingSession.load(project, generator=generator, journal=False)
        made = _written(session, project, output, save, True, began, quiet=as_json)
    typer.echo(json.dumps(made, indent=1)) if as_json else _tell_picture(made)


@app.command()
def dissect(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The safetensors file to write; by default beside the generator's, where it is found from "
            "then on.",
        ),
    ] = None,
    generator: GeneratorOption = "demo",
    layer: Annotated[str | None, typer.Option(help="The stage; by default where edits are made.")] = None,
    samples: Annotated[int, typer.Option(min=1, help="Generated pictures to measure.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the pictures.")] = 0,
    processes: Annotated[int, typer.Option(min=1, help="Over how many processes to spread the work.")] = 1,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="What names the pixels: ade20k, or the folder or name of another model of transformers that "
            "knows ADE20K's classes (needs ganpaint_widget[segmenter]). By default the generator's own."
        ),
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Measure also a detector that knows the position only, and rotated axes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find what the units of a layer draw: ganpaint dissect --generator network.pth --segmenter ade20k"""
    with _plainly(as_json):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        from . import dissection
        from .generators import zoo

        began = time.monotonic()
        model = zoo.load(generator)
        if segmenter is not None:
            from .segmentation import ade20k

            model = replace(model, segmenter=ade20k() if segmenter == "ade20k" else ade20k(segmenter))
        if model.segmenter is None:
            raise GANPaintError(
                f"The generator {model.name!r} comes with no segmenter, which has to name what it draws.",
                "Say --segmenter ade20k, or call ganpaint_widget.dissection.dissect with one of your own.",
            )
        output = output or _beside(generator)
        if not output.parent.is_dir():
            raise GANPaintError(f"There is no folder {str(output.parent)!r}.", "Make it, or choose another.")
        layer = layer or model.generator.edit_layer
        if layer not in model.generator.stages:
            raise GANPaintError(
                f"The generator {model.name!r} has no layer {layer!r}.",
                f"Choose one of: {', '.join(model.generator.stages)}.",
            )
        given: dict[str, Any] = {"layer": layer, "samples": samples, "seed": seed}
        # Spawned: torch's threads do not survive a fork.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, spawn) if processes > 1 else nullcontext() as executor:
            found = dissection.dissect(model.generator, model.segmenter, executor=executor, **given)
            told: dict[str, Any] = {
                "output": str(output),
                "generator": model.name,
                "layer": layer,
                "samples": found.samples,
                "interpretable_units": found.interpretable_units(),
                "units": found.iou.shape[1],
                "concepts": found.table(),
            }
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
        found.save(output)
        told["seconds"] = round(time.monotonic() - began, 3)
    if as_json:
        typer.echo(json.dumps(told, indent=1))
    else:
        _tell_dissection(told)


def _beside(generator: str) -> Path:
    """Where the dissection of a generator is looked for that was named on the command line."""
    from .generators.catalogue import CATALOGUE
    from .generators.fetch import cached
    from .generators.zoo import dissection_file

    if generator == "demo":
        raise GANPaintError("The demo has its dissection.", "Say with --output where another one is to go.")
    path = cached(CATALOGUE[generator]) if generator in CATALOGUE else Path(generator)
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


def _wishes(order: Sequence[str], said: dict[str, list[Any] | None]) -> list[Wish]:
    """The edits, from the names of the options in their order and the values of each."""
    values = {name: iter(given or []) for name, given in said.items()}
    wishes: list[Wish] = []
    for name in order:
        if name in DETAILS:
            wishes.append(Wish(name, next(values[name])))
        elif name in values:
            if not wishes:
                raise GANPaintError(
                    f"--{name} comes before any edit.",
                    "Put it after the verb that it is for.",
                )
            if name in wishes[-1].details:
                raise GANPaintError(
                    f"--{name} is given twice for one edit.", "Give each edit its own, after its verb."
                )
            if name not in DETAILS[wishes[-1].verb]:
                raise GANPaintError(
                    f"--{name} does not belong to --{wishes[-1].verb}.",
                    f"What does: {', '.join(f'--{one}' for one in DETAILS[wishes[-1].verb])}.",
                )
            wishes[-1].details[name] = next(values[name])
    if not wishes:
        raise GANPaintError(
            "There is nothing to do.", "Ask for an edit, for example --add tree --mask mask.png."
        )
    for wish in wishes:
        if "mask" not in wish.details:
            raise GANPaintError(
                f"It is not said where to {wish.verb} {wish.concept}.", "Pass --mask with a picture after it."
            )
        if wish.verb == "restyle" and "reference" not in wish.details:
            raise GANPaintError(
                f"--restyle {wish.concept} has no reference.", "Pass --reference with a picture after it."
            )
    return wishes


def _jobs(photos: Sequence[Path], output: Path, project: Path | None) -> list[tuple[Path, Path, Path | None]]:
    """For each photo, the picture to write and the project to keep."""
    found: list[Path] = []
    for path in photos:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() in PICTURES and one.is_file())
            if not inside:
                raise GANPaintError(f"There are no pictures in {str(path)!r}.", "Pass another folder.")
            found += inside
        else:
            found.append(path)
    many = len(found) > 1 or any(path.is_dir() for path in photos)
    if not many:
        return [(found[0], output / f"{found[0].stem}.png" if output.is_dir() else output, project)]
    stems = [path.stem for path in found]
    names = [path.stem if stems.count(path.stem) == 1 else path.name for path in found]
    if len(set(names)) < len(names):
        raise GANPaintError(
            "Several photos have the same name, and their results would overwrite each other.",
            "Edit the folders one by one, each with an output of its own.",
        )
    for folder in filter(None, (output, project)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GANPaintError(
                f"The folder {str(folder)!r} cannot be made: {error}.", "Choose another place."
            ) from error
    return [
        (path, output / f"{name}.png", None if project is None else project / f"{name}.ganpaint")
        for path, name in zip(found, names, strict=True)
    ]


def _opened(session: EditingSession | None, photo: Path, generator: str, fit: Any) -> EditingSession:
    """A session with this photo; the one that there is goes on with it."""
    from .session import EditingSession

    if session is None:
        return EditingSession(photo, generator, fit=fit, journal=False)
    session.open(photo, fit=fit)
    return session


def _carry_out(session: EditingSession, wish: Wish, photo: Path, fit: Any) -> None:
    from . import pictures

    details = dict(wish.details)
    place = details.pop("mask")
    mask = pictures.read_mask(_of_photo(place, photo), session.size, fit)
    if "units" in details:
        details["units"] = _units(details["units"])
    if wish.verb == "restyle":
        told = details.pop("reference")
        details["reference"] = int(told) if told.isdecimal() and len(told) < 12 else told
        if "region" in details:
            details["region"] = pictures.read_mask(details["region"], session.size)
    getattr(session, wish.verb)(wish.concept, mask, **details)


def _of_photo(place: Path, photo: Path) -> Path:
    """The mask for a photo: a file for all, or in a folder that of the photo's name."""
    if not place.is_dir():
        return place
    for suffix in sorted(PICTURES):
        if (place / f"{photo.stem}{suffix}").is_file():
            return place / f"{photo.stem}{suffix}"
    raise GANPaintError(
        f"There is no mask for {photo.name} in {str(place)!r}.", f"Put {photo.stem}.png there."
    )


def _units(text: str) -> str | list[int]:
    parts = text.split(",")
    return [int(part) for part in parts] if all(part.strip().isdecimal() for part in parts) else text


def _written(
    session: EditingSession,
    photo: Path,
    picture: Path,
    kept: Path | None,
    adapt: bool,
    began: float,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """Blend if wished, write picture and project, and tell what was made."""
    if adapt and (session.blend is None or session.blend.revision != session.revision):
        with nullcontext() if quiet else _progress(session, photo.name):
            session.adapt()
    session.save_png(picture)
    if kept is not None:
        session.save(kept)
    notice = session.notice
    return {
        "photo": str(photo),
        "output": str(picture),
        "project": None if kept is None else str(kept),
        "generator": session.generator_name,
        "edits": [
            {"verb": one.verb, "concept": one.concept, "strength": one.strength} for one in session.edits
        ],
        **session.measures,
        "scores": asdict(session.scores()),
        "notice": None if notice is None else notice.text,
        "seconds": round(time.monotonic() - began, 3),
    }


def _tell_picture(made: dict[str, Any]) -> None:
    if "error" in made:
        typer.echo(f"{made['photo']}: {made['error']['what']} {made['error']['mend']}", err=True)
        return
    blend = made["blend"]
    kept = "" if blend is None else f", kept pixels {blend['before']:.1f} -> {blend['after']:.1f} dB"
    typer.echo(f"{made['output']}: reconstruction {made['reconstruction_decibel']:.1f} dB{kept}")
    if made["notice"]:
        typer.echo(made["notice"], err=True)


@contextmanager
def _progress(session: EditingSession, name: str) -> Iterator[None]:
    """A bar on the terminal while a session blends; nothing where there is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from . import events

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"blending {name}", total=1.0)

        def show(event: events.Event) -> None:
            if isinstance(event, events.Progress):
                told = "" if event.decibel is None else f" ({event.decibel:.1f} dB)"
                bar.update(task, completed=event.fraction, description=f"blending {name}{told}")

        leave = session.observe(show)
        try:
            yield
        finally:
            leave()


@contextmanager
def _plainly(as_json: bool) -> Iterator[None]:
    """Errors as two sentences on standard error, or as JSON on standard output, and the exit status 1."""
    try:
        yield
    except GANPaintError as error:
        if as_json:
            typer.echo(json.dumps({"error": {"what": error.what, "mend": error.mend}}, indent=1))
        else:
            typer.echo(f"{error.what}\n{error.mend}", err=True)
        raise typer.Exit(1) from None


# --- the course ---


@app.command()
def grade(
    folder: Annotated[Path, typer.Argument(help="With the hand-ins, in folders inside it if you like.")],
    as_json: JsonOption = False,
) -> None:
    """Grade what a class has handed in: ganpaint grade FOLDER

    Each answer is checked as in the lesson, each edit is drawn again. Nothing in a file is executed.
    """
    with _plainly(as_json):
        from .course import grade_folder

        graded = [*grade_folder(folder)]
    if as_json:
        told = [{**asdict(one), "right": one.right, "score": one.score} for one in graded]
        typer.echo(json.dumps({"hand_ins": told}, indent=1))
    else:
        _tell_grades(graded)


def _tell_grades(graded: Sequence[Graded]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    def plain(text: str) -> Text:
        """As it is: the files are a stranger's, and neither markup nor control characters are to act."""
        return Text("".join(sign if sign.isprintable() else "?" for sign in text))

    table = Table(*(Column(name, no_wrap=True) for name in ("file", "student", "lesson", "right", "score")))
    table.add_column("answers")
    table.add_column("remarks")
    for one in graded:
        answers = "  ".join(
            f"{name} {'✓' if verdict.right else '✗' if verdict.right is False else '–'}"
            for name, verdict in one.verdicts.items()
        )
        table.add_row(
            plain(one.file),
            plain(one.student or ""),
            "" if one.lesson is None else str(one.lesson),
            f"{one.right}/{len(one.verdicts)}" if one.verdicts else "",
            "" if one.score is None else f"{one.score:.2f}",
            plain(answers),
            plain(" ".join(one.remarks)),
        )
    console = Console()
    # Where the table goes into a file, nothing is cut off.
    (console if console.is_terminal else Console(width=250)).print(table)
    whole = sum(one.verdicts != {} and one.right == len(one.verdicts) for one in graded)
    typer.echo(f"{len(graded)} files, {whole} of them with every answer right.")


# --- generators ---


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="A StyleGAN2 network of NVIDIA's, *.pkl.")],
    to: Annotated[
        Path | None, typer.Option(help="The safetensors file; by default beside the pickle.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert an NVIDIA pickle to safetensors, without running any of the code that is in it."""
    with _plainly(as_json):
        from .generators.convert import convert as convert_pickle

        target = source.with_suffix(".safetensors") if to is None else to
        resolution = convert_pickle(source, target).resolution
    if as_json:
        typer.echo(json.dumps({"output": str(target), "resolution": resolution}))
    else:
        typer.echo(f"{target} holds a generator of {resolution} px pictures.")


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Public models, for example church.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Say which there are.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Get public models into the cache: GANPAINT_CACHE says where, GANPAINT_OFFLINE=1 forbids it."""
    with _plainly(as_json):
        from .generators import fetch as fetching
        from .generators.catalogue import CATALOGUE

        if not names and not listed:
            raise GANPaintError("No model is named.", "Name one of those of `ganpaint fetch --list`.")
        told = []
        for name in names or CATALOGUE:
            path = None if listed else fetching.fetch(name, progress=not as_json)
            entry = CATALOGUE[name]
            about = {
                "name": name, "domain": entry.domain, "resolution": entry.resolution,
                "megabytes": entry.megabytes,
                "licence": entry.licence, "source": entry.source, "concepts": list(entry.brushes),
            }  # fmt: skip
            told.append({**about, "path": str(path or fetching.cached(entry) or "")})
            if not as_json and listed:
                size = "" if entry.megabytes is None else f", {entry.megabytes} MB"
                typer.echo(f"{name}: {entry.domain}, {entry.resolution} px, {entry.architecture}{size}")
            elif not as_json:
                typer.echo(f"{path}\nLicence: {entry.licence}. Source: {entry.source}.")
    if as_json:
        typer.echo(json.dumps(told, indent=1))


# --- training ---

train = typer.Typer(help="Train an encoder, or what ships with the package.", no_args_is_help=True)
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


@train.command()
def encoder(
    generator: Annotated[str, typer.Option(help="A generator by its name or file.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.", min=1)] = 2000,
    batch: Annotated[
        int, typer.Option(help="Samples a step; fewer need less memory and are read less well.", min=2)
    ] = 16,
    as_json: JsonOption = False,
) -> None:
    """An encoder for any generator, from its own samples: photos open by it from then on.

    With it goes an initialiser, a quarter of as many steps: blends begin from it. Both go into the cache
    (GANPAINT_CACHE), under the hash of the generator's weights.
    """
    with _plainly(as_json):
        import torch

        from .demo.train_encoder import train_encoder
        from .demo.train_initialiser import train_initialiser
        from .generators.checkpoints import write_module
        from .generators.zoo import encoder_file, initialiser_file, load
        from .measures import decibel

        made_for = load(generator).generator
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
        first = train_initialiser(made_for, found, steps=-(-steps // 4), batch=batch)
        write_module(initialiser_file(made_for), "initialiser", first, first.config)
    redrawn = round(decibel(torch.cat(drawn), torch.cat(pictures)), 2)
    if as_json:
        typer.echo(json.dumps({"encoder": str(path), "decibel": redrawn}))
    else:
        typer.echo(f"{path} redraws the generator's own pictures at {redrawn} dB.")
