"""``ganpaint edit`` and ``ganpaint adapt``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand

from ..errors import GANPaintError
from ..images.files import SUFFIXES
from .common import DeviceOption, GeneratorOption, JsonOption, plainly

if TYPE_CHECKING:
    from ..session import EditingSession

READ: Final = ("mask", "reference", "region")
"""The details of an edit that may be files, or a folder of them."""

DETAILS: Final = {
    "add": ("mask", "strength", "units", "target", "variant"),
    "remove": ("mask", "strength", "units"),
    "restyle": ("mask", "strength", "units", "reference", "region"),
}
"""The verbs, and the options that may follow each."""


class InOrder(TyperCommand):
    """A command that keeps the order of its options: --mask and others belong to the edit before them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta["ganpaint.order"] = [parameter.name for parameter in order]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


@dataclass
class Wish:
    """One edit of the command line: verb, concept, and its other options."""

    verb: str
    concept: str
    details: dict[str, Any] = field(default_factory=dict)


def edit(
    context: typer.Context,
    photos: Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The PNG to write; a folder for several photos.")
    ],
    add: Annotated[list[str] | None, typer.Option(help="A concept to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A concept to remove.")] = None,
    restyle: Annotated[list[str] | None, typer.Option(help="A concept to restyle after a reference.")] = None,
    mask: Annotated[
        list[Path] | None,
        typer.Option(
            help="Where to edit: bright or opaque pixels of a picture; a folder has one for each photo."
        ),
    ] = None,
    strength: Annotated[list[float] | None, typer.Option(help="How strongly, 0 to 4. Default: 1.")] = None,
    units: Annotated[
        list[str] | None, typer.Option(help="Which units: low, medium, high, or numbers such as 3,17,40.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="For additions: the target, tuned, quantile, mean or exemplar.")
    ] = None,
    variant: Annotated[
        list[int] | None, typer.Option(help="For additions: the number of another plausible version.")
    ] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="For restyles: a picture, or the seed of a sample.")
    ] = None,
    region: Annotated[
        list[Path] | None,
        typer.Option(help="For restyles: the part of the reference that counts, as for --mask."),
    ] = None,
    adapt: Annotated[bool, typer.Option(help="Blend into the photo, or write the plain preview.")] = True,
    generator: GeneratorOption = "demo",
    fit: Annotated[
        str, typer.Option(help="For a photo that is not square: crop edits its middle, pad all of it.")
    ] = "crop",
    project: Annotated[
        Path | None, typer.Option(help="Also keep the project there; a folder for several photos.")
    ] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Edit photos.

    Example: ganpaint edit photo.jpg --add tree --mask mask.png -o out.png

    One command may hold several edits. The options after an edit (--mask, --strength, ...) belong to it:

    ganpaint edit in/ --remove window --mask w.png --restyle dome --mask d.png --reference gold.jpg -o out/
    """
    said = {
        "add": add, "remove": remove, "restyle": restyle, "mask": mask, "strength": strength, "units": units,
        "target": target, "variant": variant, "reference": reference, "region": region,
    }  # fmt: skip
    with plainly(as_json):
        wishes = _wishes(context.meta["ganpaint.order"], said)
        jobs = _jobs(photos, output, project)
        _refuse_overwriting(jobs, wishes)
        for _, picture, _ in jobs:
            _refuse_other_suffix(picture)
        from ..models.devices import load

        load(generator, device)  # what is wrong with it is wrong for every photo
        session: EditingSession | None = None
        made = []
        for photo, picture, kept in jobs:
            began = time.monotonic()
            try:
                session = _opened(session, photo, generator, fit, device)
                for wish in wishes:
                    _carry_out(session, wish, photo)
                made.append(_written(session, photo, picture, kept, adapt, began, quiet=as_json))
            except GANPaintError as error:
                if len(jobs) == 1:
                    raise
                made.append({"photo": str(photo), "error": {"message": error.message, "hint": error.hint}})
            if not as_json:
                _tell_picture(made[-1])
    if as_json:
        typer.echo(json.dumps({"pictures": made}, indent=1))
    if any("error" in one for one in made):
        raise typer.Exit(1)


def adapt(
    project: Annotated[Path, typer.Argument(help="A project of `ganpaint edit --project` or of the editor.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")],
    generator: Annotated[
        str | None, typer.Option(help="The generator, if the project's has no name.")
    ] = None,
    save: Annotated[Path | None, typer.Option(help="Also keep the project with its blend there.")] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Blend the edits of a project into its photo.

    Example: ganpaint adapt edit.ganpaint -o out.png
    """
    with plainly(as_json):
        from ..session import EditingSession

        began = time.monotonic()
        _refuse_other_suffix(output)
        session = EditingSession.load(project, generator=generator, journal=False, device=device)
        made = _written(session, project, output, save, True, began, quiet=as_json)
    typer.echo(json.dumps(made, indent=1)) if as_json else _tell_picture(made)


def _wishes(order: Sequence[str], said: dict[str, list[Any] | None]) -> list[Wish]:
    """Return the edits, from the names of the options in their order and the values of each."""
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
                    f"Leave it out, or pass {', '.join(f'--{one}' for one in DETAILS[wishes[-1].verb])}.",
                )
            wishes[-1].details[name] = next(values[name])
    if not wishes:
        raise GANPaintError(
            "The command asks for no edit.", "Ask for an edit, for example --add tree --mask mask.png."
        )
    for wish in wishes:
        if "mask" not in wish.details:
            raise GANPaintError(
                f"The edit --{wish.verb} {wish.concept} lacks a mask.", "Pass --mask with a picture after it."
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
            inside = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
            if not inside:
                raise GANPaintError(
                    f"The folder {str(path)!r} does not hold pictures.", "Pass another folder."
                )
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


def _refuse_overwriting(jobs: Sequence[tuple[Path, Path, Path | None]], wishes: Sequence[Wish]) -> None:
    """Raise GANPaintError if the command would write over a file that it reads."""
    places = [photo for photo, _, _ in jobs]
    places += [Path(str(wish.details[name])) for wish in wishes for name in READ if name in wish.details]
    read = {path.resolve() for place in places for path in (place.iterdir() if place.is_dir() else [place])}
    for path in (one for _, *written in jobs for one in written if one is not None):
        if path.resolve() in read:
            raise GANPaintError(
                f"{path} would be overwritten, and the command reads it.", "Choose another place with -o."
            )


def _refuse_other_suffix(picture: Path) -> None:
    if picture.suffix.lower() != ".png":
        raise GANPaintError(
            f"Pictures are written as PNG files, and {picture.name!r} does not end in .png.",
            f"Name it {picture.with_suffix('.png').name!r}." if picture.name else "Name a file after -o.",
        )


def _opened(
    session: EditingSession | None, photo: Path, generator: str, fit: Any, device: str | None
) -> EditingSession:
    """Open the photo in the session, or in a new one if there is none yet, and return the session."""
    from ..session import EditingSession

    if session is None:
        return EditingSession(photo, generator, fit=fit, journal=False, device=device)
    session.open(photo, fit=fit)
    return session


def _carry_out(session: EditingSession, wish: Wish, photo: Path) -> None:
    details = dict(wish.details)
    mask = _of_photo(details.pop("mask"), photo)
    if "units" in details:
        details["units"] = _units(details["units"])
    if wish.verb == "restyle":
        told = details.pop("reference")
        details["reference"] = int(told) if told.isdecimal() and len(told) < 12 else told
    getattr(session, wish.verb)(wish.concept, mask, **details)


def _of_photo(place: Path, photo: Path) -> Path:
    """Return the path of a photo's mask: a file for all photos, or one of its name in a folder."""
    if not place.is_dir():
        return place
    for suffix in sorted(SUFFIXES):
        if (place / f"{photo.stem}{suffix}").is_file():
            return place / f"{photo.stem}{suffix}"
    raise GANPaintError(
        f"The folder {str(place)!r} does not hold a mask for {photo.name}.", f"Put {photo.stem}.png there."
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
        **session.metrics,
        "scores": asdict(session.scores()),
        "notice": None if notice is None else notice.text,
        "seconds": round(time.monotonic() - began, 3),
    }


def _tell_picture(made: dict[str, Any]) -> None:
    if "error" in made:
        typer.echo(f"{made['photo']}: {made['error']['message']} {made['error']['hint']}", err=True)
        return
    blend = made["blend"]
    kept = "" if blend is None else f", kept pixels {blend['before']:.1f} -> {blend['after']:.1f} dB"
    typer.echo(f"{made['output']}: reconstruction {made['reconstruction_psnr']:.1f} dB{kept}")
    if made["notice"]:
        typer.echo(made["notice"], err=True)


@contextmanager
def _progress(session: EditingSession, name: str) -> Iterator[None]:
    """Show a progress bar while a session blends, if standard error is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from ..session import events

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"blending {name}", total=1.0)

        def show(event: events.Event) -> None:
            if isinstance(event, events.Progress):
                told = "" if event.psnr is None else f" ({event.psnr:.1f} dB)"
                bar.update(task, completed=event.fraction, description=f"blending {name}{told}")

        leave = session.observe(show)
        try:
            yield
        finally:
            leave()
