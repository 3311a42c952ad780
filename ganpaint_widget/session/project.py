"""The project file: a whole edit in one ``.ganpaint`` file, to continue or to share.

It is a zip archive of

==========================  ==========================================================================
``project.json``            format, versions, the generator's name and the hash of its weights, the
                            settings of the edits and their order
``photo.png``               x, R x R
``original``                the photo at its own size, in its own file format
``result.png``              G'(z_e), if there was a blend
``masks/N.png``             the mask of edit N, 8-bit gray
``references/N.png``        the reference of edit N, unless it is a sample
``regions/N.png``           the region of the reference
``tensors.safetensors``     z, the features of the edit layer, the activations of edits, delta; float32
==========================  ==========================================================================

It has z and the features, so nothing has to be inverted again, and the same machine draws the same picture,
bit for bit. It does not have the steps of undo.

A project may come from a stranger. The reader unpacks nothing to disk, executes nothing, and accepts only the
names above. It refuses compressed entries, which could grow without limit, and checks every size before it
reads or decodes anything.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import stat
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from .. import storage
from ..errors import GANPaintError
from ..images import files, framing
from ..images.arrays import Array
from ..method.edits import Edit, Mask, Reference
from ..validation import checked_finite, checked_scene, checked_tensors, checked_title
from ..version import __version__

Tensors = Mapping[str, npt.NDArray[np.float32]]

FORMAT: Final = 1

MAX_FILE_BYTES: Final = 512 * 2**20
MAX_MANIFEST_BYTES: Final = 8 * 2**20
MAX_PNG_BYTES: Final = 64 * 2**20
MAX_EDITS: Final = 400
"""The edits of the session and those of an earlier blend, at most 200 each."""
MAX_DIRECTORY_BYTES: Final = 2**20
"""The largest table of contents of an archive, which is read at once: some ten thousand names."""

_MANIFEST, _PHOTO, _RESULT, _TENSORS = "project.json", "photo.png", "result.png", "tensors.safetensors"
_ORIGINAL = "original"
_NUMBERED = re.compile(r"(?:masks|references|regions)/(?:0|[1-9]\d{0,2})\.png")
_LIMITS: Final = {
    _MANIFEST: MAX_MANIFEST_BYTES,
    _TENSORS: MAX_FILE_BYTES,
    _ORIGINAL: files.MAX_STORED_BYTES,
}
_END_RECORD = struct.Struct("<4s4H2LH")
_DATA_URL = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=\s]*)")


@dataclass(frozen=True, eq=False)
class StoredBlend:
    """A blend as it is stored in a project; see :class:`.session.Blend`."""

    array: Array
    edits: tuple[Edit, ...]
    before: float
    after: float
    survival: float | None
    delta: Tensors


@dataclass(frozen=True, eq=False)
class Project:
    """The content of a project file, with checked types and sizes. The session checks it against a generator.

    Attributes:
        generator: the generator's name; ``None`` if it was given as an object.
        weights: SHA-256 of its weights; see :func:`.storage.fingerprint`.
        kind, title, index: the picture's source. ``index`` is the scene or the sample's seed.
        photo: x, uint8 R x R x 3.
        z: 1 x latent_size.
        features: of the edit layer, 1 x C x H x W.
        extra: the other tensors of the generator's state, by name.
        edits: in their order.
        blend: the last blend, if there was one.
        original: the photo at its own size, if it is one.
        versions: of the programs that wrote it.
    """

    generator: str | None
    weights: str
    kind: str
    title: str
    index: int
    photo: Array
    z: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32]
    extra: Tensors
    edits: tuple[Edit, ...]
    blend: StoredBlend | None = None
    original: files.Original | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


# --- writing ---


def encode(project: Project) -> bytes:
    """Return the bytes of a project file.

    Raises:
        GANPaintError: :func:`read` would refuse the file.
    """
    from safetensors.numpy import save

    distinct: list[Edit] = list(project.edits)
    tensors = {"z": project.z, "features": project.features}
    tensors |= {f"extra/{name}": value for name, value in project.extra.items()}
    blend = None
    if project.blend is not None:
        distinct += [edit for edit in project.blend.edits if edit not in distinct]
        tensors |= {f"delta/{name}": value for name, value in project.blend.delta.items()}
        blend = {
            "edits": [distinct.index(edit) for edit in project.blend.edits],
            "before": checked_finite(project.blend.before, "PSNR before the blend"),
            "after": checked_finite(project.blend.after, "PSNR after the blend"),
            "survival": None
            if project.blend.survival is None
            else checked_finite(project.blend.survival, "survival of the edit"),
        }
    entries: dict[str, bytes] = {}
    described = []
    for number, edit in enumerate(distinct):
        entries[f"masks/{number}.png"] = files.encode_png(edit.mask)
        if edit.activations is not None:
            tensors[f"levels/{number}"] = edit.activations
        reference = edit.reference
        if reference is not None and reference.picture is not None:
            entries[f"references/{number}.png"] = files.encode_png(reference.picture)
        if reference is not None and reference.region is not None:
            entries[f"regions/{number}.png"] = files.encode_png(reference.region)
        described.append(
            {
                "id": edit.id,
                "verb": edit.verb,
                "concept": edit.concept,
                "strength": edit.strength,
                "enabled": edit.enabled,
                "units": edit.units,
                "target": edit.target,
                "variant": edit.variant,
                "reference": None if reference is None else {"seed": reference.seed},
            }
        )
    manifest = {
        "format": FORMAT,
        "versions": {"ganpaint_widget": __version__, "python": sys.version.split()[0]}
        | dict(project.versions),
        "generator": {"name": project.generator, "weights": project.weights},
        "picture": {
            "kind": project.kind,
            "title": checked_title(project.title),
            "index": checked_scene(project.index),
        }
        | ({} if project.original is None else {"fit": project.original.fit}),
        "edits": described,
        "stack": list(range(len(project.edits))),
        "blend": blend,
    }
    entries[_PHOTO] = files.encode_png(project.photo)
    if project.original is not None:
        entries[_ORIGINAL] = project.original.encoded()
    if project.blend is not None:
        entries[_RESULT] = files.encode_png(project.blend.array)
    whole = {name: np.ascontiguousarray(value) for name, value in checked_tensors(tensors).items()}
    entries = {_MANIFEST: json.dumps(manifest, indent=1).encode(), **entries, _TENSORS: save(whole)}
    if len(distinct) > MAX_EDITS:
        raise GANPaintError(
            f"The picture and its last blend together have more than {MAX_EDITS} edits.",
            "Blend again, so that both have the same edits, and save.",
        )
    large = [name for name, data in entries.items() if len(data) > _limit(name)]
    if large or sum(map(len, entries.values())) > MAX_FILE_BYTES - MAX_DIRECTORY_BYTES:
        raise GANPaintError(
            f"The project has more than {MAX_FILE_BYTES // 2**20} MB, so it could not be read again.",
            "Delete edits that you do not need, or open a smaller copy of the photo.",
        )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        # Not compressed: the pictures already are, and features hardly shrink.
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return target.getvalue()


def _limit(name: str) -> int:
    """Return the largest size, in bytes, of a file in the archive."""
    return _LIMITS.get(name, MAX_PNG_BYTES)


def write(path: Path, project: Project) -> None:
    """Write a project in one step, so that no partial file remains. GANPaintError if that fails."""
    storage.write(path, encode(project), "The project")


# --- reading ---


def read(source: str | Path | bytes) -> Project:
    """Read a project, from a file or its bytes.

    Raises:
        GANPaintError: the file does not exist, is not a project, is damaged or is too large.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = bytes(source)
    else:
        source = Path(source).expanduser()
    named = "of these bytes" if isinstance(source, bytes) else repr(source.name)
    try:
        with _stream(source, named) as file:
            _check_directory(named, file)
            with zipfile.ZipFile(file) as archive:
                return _parsed(named, _files(named, archive))
    except GANPaintError:
        raise
    except OSError as error:
        raise GANPaintError(f"The file {named} cannot be read: {error}.", "Check its permissions.") from error
    except Exception as error:  # damaged zip, JSON, PNG and safetensors raise different exceptions
        raise _refusal(named, "is damaged") from error


def _stream(source: Path | bytes, named: str) -> BinaryIO:
    """Open the file, if it is a regular file of an allowed size."""
    if isinstance(source, bytes):
        size = len(source)
    elif source.is_file():  # a device or a pipe has no size and may never end
        size = source.stat().st_size
    elif source.is_dir():
        raise GANPaintError(f"{str(source)!r} is a folder.", "Pass the path of a .ganpaint file in it.")
    else:
        raise GANPaintError(f"The file {str(source)!r} does not exist.", "Check the path.")
    if size > MAX_FILE_BYTES:
        raise _refusal(named, f"has more than {MAX_FILE_BYTES // 2**20} MB")
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _refusal(named: str, why: str) -> GANPaintError:
    return GANPaintError(
        f"The file {named} {why} and cannot be opened as a project.",
        "Pass a file that EditingSession.save has written.",
    )


def _check_directory(named: str, file: BinaryIO) -> None:
    """Refuse an archive with a large table of contents, which ``zipfile`` reads before anything else."""
    file.seek(0, os.SEEK_END)
    size = file.tell()
    # The end record comes last here. Other archives may have a comment after it, or before it the locator of
    # an end record for archives of more than 4 GB.
    file.seek(max(0, size - _END_RECORD.size - 20))
    tail = file.read()
    if len(tail) < _END_RECORD.size:
        raise _refusal(named, "is not a zip archive")
    signature, *_, length, _, comment = _END_RECORD.unpack(tail[-_END_RECORD.size :])
    if signature != b"PK\x05\x06" or comment or tail.startswith(b"PK\x06\x07"):
        raise _refusal(named, "is not a zip archive of the usual kind")
    if length > MAX_DIRECTORY_BYTES:
        raise _refusal(named, "holds too many files")
    file.seek(0)


def _files(named: str, archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the archive's files by name, after checking their names and sizes."""
    entries: dict[str, bytes] = {}
    left = MAX_FILE_BYTES
    for entry in archive.infolist():
        name = entry.filename
        known = name in (_MANIFEST, _PHOTO, _ORIGINAL, _RESULT, _TENSORS) or _NUMBERED.fullmatch(name)
        plain = entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1
        plain = plain and not stat.S_ISLNK(entry.external_attr >> 16)
        if not known or name in entries or not plain:
            raise _refusal(named, "holds something that does not belong to a project")
        limit = min(left, _limit(name))
        if entry.file_size > limit:  # the declared size; the real size is checked as well
            raise _refusal(named, "holds something that is too large")
        with archive.open(entry) as packed:
            data = packed.read(limit + 1)
        if len(data) > limit:
            raise _refusal(named, "holds something that is too large")
        left -= len(data)
        entries[name] = data
    return entries


def _parsed(named: str, entries: Mapping[str, bytes]) -> Project:
    """Return the project in the files. Any exception means that they are damaged."""
    from safetensors.numpy import load

    manifest = json.loads(entries[_MANIFEST])
    if manifest["format"] != FORMAT:
        raise GANPaintError(
            f"The project {named} was written by another version.",
            "Install the newest ganpaint_widget.",
        )
    tensors = checked_tensors(load(entries[_TENSORS]))
    photo = _picture(entries[_PHOTO])
    size = len(photo)
    described = _of(manifest["edits"], list)
    if len(described) > MAX_EDITS:
        raise _refusal(named, "has too many edits")
    edits = [_edit(_of(one, dict), number, entries, tensors, size) for number, one in enumerate(described)]

    def stack(numbers: object) -> tuple[Edit, ...]:
        chosen = tuple(edits[_count(number)] for number in _of(numbers, list))
        if len({edit.id for edit in chosen}) < len(chosen):
            raise ValueError("Two edits have the same id.")
        return chosen

    blend = None
    if manifest["blend"] is not None:
        stored = _of(manifest["blend"], dict)
        survival = stored["survival"]
        blend = StoredBlend(
            _picture(entries[_RESULT], size),
            stack(stored["edits"]),
            checked_finite(stored["before"], "PSNR before the blend"),
            checked_finite(stored["after"], "PSNR after the blend"),
            None if survival is None else checked_finite(survival, "survival of the edit"),
            _under("delta/", tensors),
        )
    name = manifest["generator"]["name"]
    picture = manifest["picture"]
    kind = _of(picture["kind"], str)
    if kind not in ("photo", "scene", "sample"):
        raise ValueError("The kind of picture is unknown.")
    return Project(
        generator=None if name is None else _of(name, str),
        weights=_of(manifest["generator"]["weights"], str),
        kind=kind,
        title=checked_title(picture["title"]),
        index=checked_scene(picture["index"]),
        photo=photo,
        z=tensors["z"],
        features=tensors["features"],
        extra=_under("extra/", tensors),
        edits=stack(manifest["stack"]),
        blend=blend,
        original=files.read_original(entries[_ORIGINAL], picture["fit"], limit=files.MAX_STORED_BYTES)
        if _ORIGINAL in entries
        else None,
        versions={_of(key, str): _of(value, str) for key, value in manifest["versions"].items()},
    )


def _edit(
    described: Mapping[str, Any], number: int, entries: Mapping[str, bytes], tensors: Tensors, size: int
) -> Edit:
    units, reference = described["units"], None
    if described["reference"] is not None:
        picture, region = entries.get(f"references/{number}.png"), entries.get(f"regions/{number}.png")
        reference = Reference(
            described["reference"]["seed"],
            None if picture is None else _picture(picture, size),
            None if region is None else _gray(region, size),
        )
    return Edit(
        id=described["id"],
        verb=described["verb"],
        concept=described["concept"],
        mask=_gray(entries[f"masks/{number}.png"], size),
        strength=described["strength"],
        enabled=described["enabled"],
        units=tuple(units) if isinstance(units, list) else units,
        target=described["target"],
        variant=described["variant"],
        activations=tensors.get(f"levels/{number}"),
        reference=reference,
    )


def _picture(data: bytes, size: int | None = None) -> Array:
    """Return a PNG of the project: a square, whose side must be ``size`` if that is given."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("It is not a PNG.")
    width, height = struct.unpack(">II", data[16:24])
    if width != height or size not in (None, width):
        raise ValueError("The picture has another size than the photo.")
    return np.array(files.read(data))


def _gray(data: bytes, size: int) -> Mask:
    return np.ascontiguousarray(_picture(data, size)[:, :, 0])


def _under(prefix: str, tensors: Tensors) -> dict[str, npt.NDArray[np.float32]]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _of(value: Any, kind: Callable[..., Any]) -> Any:
    if type(value) is not kind:
        raise TypeError("A value has the wrong type.")
    return value


def _count(value: Any) -> int:
    if _of(value, int) < 0 or value > 2**31 - 1:
        raise ValueError("A number is out of range.")
    return int(value)


# --- GANPaint Studio ---


def read_interventions(source: object, size: int) -> list[tuple[str, str, float, Mask]]:
    """Read a recording of GANPaint Studio: the verb, concept, strength and mask of each edit.

    A recording is a JSON list of objects ``{"erase": bool, "feature": concept, "strength": number,
    "value_mask": "data:image/png;base64,..."}``.

    Args:
        source: the path of a JSON file, or the list in it.
        size: R. The masks are resized to uint8 R x R.

    Raises:
        GANPaintError: it is not such a recording, or has more than 64 MB.
    """
    recorded = source
    if isinstance(source, (str, os.PathLike)):
        recorded = _json_file(Path(os.fspath(source)).expanduser())
    if not isinstance(recorded, list) or len(recorded) > MAX_EDITS:
        raise _no_recording(f"a list of at most {MAX_EDITS} objects")
    found = []
    for one in recorded:
        if not isinstance(one, dict) or type(one.get("erase")) is not bool:
            raise _no_recording("objects that say whether they erase")
        address = one.get("value_mask")
        url = _DATA_URL.fullmatch(address) if isinstance(address, str) else None
        if url is None or len(url[1]) > MAX_PNG_BYTES:
            raise _no_recording("masks as PNG data URLs")
        if not isinstance(one.get("feature"), str):
            raise _no_recording("the names of features")
        try:
            data = base64.b64decode(url[1])
        except ValueError as error:
            raise _no_recording("masks in base64") from error
        mask = files.mask_of(data)
        mask = framing.square_mask(mask, size)
        found.append(("remove" if one["erase"] else "add", one["feature"], one.get("strength", 1.0), mask))
    return found


def _json_file(path: Path) -> object:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PNG_BYTES + 1)
    except (OSError, ValueError) as error:
        raise GANPaintError(f"The file {str(path)!r} cannot be read: {error}.", "Check the path.") from error
    if len(data) > MAX_PNG_BYTES:
        raise _no_recording(f"at most {MAX_PNG_BYTES // 2**20} MB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _no_recording("JSON") from error


def _no_recording(lacks: str) -> GANPaintError:
    return GANPaintError(
        f"This is not a recording of GANPaint Studio: it does not hold {lacks}.",
        "Pass a JSON list of objects with erase, feature, strength and value_mask.",
    )
