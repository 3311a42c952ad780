"""Getting a public model into the cache, or saying exactly how to do it by hand.

The mirrors are tried in turn by pooch. A file is written beside its place and only renamed to its name once
its hash is right, so what is in the cache can be used; what a broken connection has left is gone on with.
NVIDIA's pickles are converted, which runs nothing (:mod:`.convert`); the safetensors file is what is kept.

Where nobody has published a file's hash, the first file that arrives is trusted: its hash is told, and kept
beside it (:func:`record_file`), and another file under the same name is refused from then on.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import GANPaintError
from ..storage import cache_folder, explained_writing, file_fingerprint
from .catalogue import CATALOGUE, Entry, Source

if TYPE_CHECKING:
    from .stylegan2 import StyleGAN2

TIMEOUT = 30
"""Seconds without a byte after which a mirror is given up."""

AGAIN: Final = "delete it if you trust the new file, and fetch again"


def offline() -> bool:
    """Return whether ``GANPAINT_OFFLINE`` forbids the network."""
    return os.environ.get("GANPAINT_OFFLINE", "").strip().lower() not in ("", "0", "no", "false", "off")


def cached(entry: Entry) -> Path | None:
    """Return the entry's file in the cache, if one is there."""
    paths = (cache_folder() / source.kept for source in entry.sources)
    return next((path for path in paths if path.is_file()), None)


def record_file(source: Source) -> Path:
    """Return the file that keeps a hash whose publishers say none, once it was trusted."""
    return cache_folder() / f"{source.file}.trusted.json"


def by_hand(entry: Entry) -> str:
    """Return a sentence that says where to get the file and where to put it."""
    ways = []
    for source in entry.sources:
        addresses = " or ".join(f"{mirror}{source.file}" for mirror in source.mirrors)
        ways.append(f"{addresses} as {source.file} into {cache_folder()}")
    return (
        f"Download {', or '.join(ways)}, and run `ganpaint fetch {entry.name}`. For a file that you have "
        f"already, run `ganpaint fetch {entry.name} --file PATH`."
    )


def _tell(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def fetch(
    name: str, *, progress: bool = True, file: Path | None = None, tell: Callable[[str], None] = _tell
) -> Path:
    """Return the file of a public model, from the cache or else from the first mirror that has it.

    Args:
        name: of the catalogue.
        progress: a bar on standard error.
        file: one that you got by other means; it is checked like a fetched file.
        tell: called with what the user should know, such as the hash of a file that had none.

    Returns:
        The file's path in the cache. Its hash has been checked, also that of a file that was there before.

    Raises:
        GANPaintError: the model does not exist, its file in the cache has changed, no mirror has delivered a
            file with the right hash, the disk is full, or ``GANPAINT_OFFLINE`` is set. The hint says what to
            do by hand.
    """
    try:
        entry = CATALOGUE[name]
    except KeyError:
        raise GANPaintError(
            f"The catalog does not list the public model {name!r}.",
            f"Choose one of: {', '.join(CATALOGUE)}.",
        ) from None
    with explained_writing(f"The model {name!r}", cache_folder()):
        if file is not None:
            return _taken(entry, file.expanduser(), tell)
        if (path := _checked(entry)) is not None:
            return path
        for source in entry.sources:  # a pickle that was put there by hand
            if (cache_folder() / source.file).is_file():
                return _taken(entry, cache_folder() / source.file, tell)
        if offline():
            raise GANPaintError(
                f"The model {name!r} is not in the cache, and GANPAINT_OFFLINE forbids fetching it.",
                by_hand(entry),
            )
        cache_folder().mkdir(parents=True, exist_ok=True)
        failures = []
        for source in entry.sources:
            for mirror in source.mirrors:
                failure = _fetched(entry, source, f"{mirror}{source.file}", progress, tell)
                if failure is None:
                    return cache_folder() / source.kept
                failures.append(f"{mirror}{source.file}: {failure}")
    raise GANPaintError(
        f"The model {name!r} could not be fetched from any of its mirrors ({'; '.join(failures)}).",
        by_hand(entry),
    )


def _fetched(
    entry: Entry, source: Source, address: str, progress: bool, tell: Callable[[str], None]
) -> str | None:
    """Get a file from one address into the cache; why it is not there then, or ``None`` if it is."""
    partial = cache_folder() / f"{source.file}.partial"
    resumed = partial.exists()
    failure = _download(address, partial, progress) or _refused(source, partial)
    if failure is not None and resumed and not partial.exists():  # what was left was of no use
        failure = _download(address, partial, progress) or _refused(source, partial)
    if failure is not None:
        if partial.exists() and partial.stat().st_size == 0:
            partial.unlink()
        return failure
    try:
        generator = _converted(entry, source, partial)
    except GANPaintError as error:
        partial.unlink()
        return error.message
    _keep(source, partial, generator, address, tell)
    partial.unlink(missing_ok=True)
    return None


def _download(address: str, partial: Path, progress: bool) -> str | None:
    """Append what is missing to ``partial``; why it is not complete then, or ``None`` if it is.

    ``partial`` is left to be gone on with unless it cannot become the right file any more. OSErrors of the
    disk come through; those of the network are reasons to try another mirror.
    """
    import pooch
    import requests

    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    get = pooch.HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=TIMEOUT, headers=headers)
    with partial.open("ab") as file:
        try:
            get(address, file, None)
        except (requests.RequestException, ValueError) as error:
            response = getattr(error, "response", None)
            if response is None:
                return type(error).__name__
            if response.status_code == 416:  # the range begins behind the file's end
                partial.unlink()
            return f"status {response.status_code}"
    return None


def _refused(source: Source, path: Path) -> str | None:
    """Why a complete download has the wrong hash, after which it is gone; ``None`` if all is well."""
    wrong = _wrong_hash(source, file_fingerprint(path))
    if wrong is not None:
        path.unlink()
    return wrong


def _wrong_hash(source: Source, found: str, *, kept: bool = False) -> str | None:
    """Why a file with this hash is not the source's; ``None`` if it is, or if nobody can know.

    Args:
        found: the file's SHA-256.
        kept: whether that is the file in the cache, which for a pickle is what was made of it.
    """
    converted = kept and source.pickled
    if source.sha256 and not converted:
        if found.startswith(source.sha256):
            return None
        return f"the SHA-256 begins with {found[: len(source.sha256)]} and not with {source.sha256}"
    record = record_file(source)
    if not record.is_file():
        return None
    try:
        recorded = json.loads(record.read_text(encoding="utf-8"))
        # Records from before a pickle's conversion was hashed do not have its hash.
        trusted = str(recorded.get("kept_sha256", found) if converted else recorded["sha256"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"its record {record} is damaged: {AGAIN}"
    if found == trusted:
        return None
    return f"the SHA-256 begins with {found[:8]}, and {trusted[:8]} was trusted before ({record}: {AGAIN})"


def _checked(entry: Entry) -> Path | None:
    """:func:`cached`, hashed again. GANPaintError if the file is not what was put there."""
    for source in entry.sources:
        path = cache_folder() / source.kept
        if not path.is_file():
            continue
        found = file_fingerprint(path)
        wrong = _wrong_hash(source, found, kept=True)
        if wrong is not None:
            raise GANPaintError(
                f"The file {path} is damaged, or differs from the file that was fetched: {wrong}.",
                f"Delete it, and run `ganpaint fetch {entry.name}` again.",
            )
        return path
    return None


def _taken(entry: Entry, path: Path, tell: Callable[[str], None]) -> Path:
    """Return a user's own file, into the cache. GANPaintError if it is none of the entry's."""
    if not path.is_file():
        raise GANPaintError(f"The file {str(path)!r} does not exist.", "Check the path.")
    found = file_fingerprint(path)
    named = [source for source in entry.sources if source.file == path.name]
    unnamed = [source for source in entry.sources if Path(source.file).suffix == path.suffix]
    hashed = [source for source in entry.sources if source.sha256 and found.startswith(source.sha256)]
    source = next(iter([*hashed, *named, *unnamed]), None)
    wrong = "it has another suffix" if source is None else _wrong_hash(source, found)
    if source is None or wrong is not None:
        raise GANPaintError(f"The file {path.name} is not that of {entry.name!r}: {wrong}.", by_hand(entry))
    cache_folder().mkdir(parents=True, exist_ok=True)
    _keep(source, path, _converted(entry, source, path), str(path), tell)
    return cache_folder() / source.kept


def _converted(entry: Entry, source: Source, path: Path) -> StyleGAN2 | None:
    """Return the network in a pickle, ``None`` for other files. GANPaintError if it is of another kind."""
    if not source.pickled:
        return None
    from .convert import read_pickled

    generator = read_pickled(path)
    if generator.resolution != entry.resolution:
        raise GANPaintError(
            f"The network in {path.name} draws {generator.resolution} px, not {entry.resolution} px.",
            by_hand(entry),
        )
    return generator


def _keep(
    source: Source, path: Path, generator: StyleGAN2 | None, origin: str, tell: Callable[[str], None]
) -> None:
    """Put a file whose hash was checked into the cache, and record the hash if nobody has published it.

    Args:
        generator: what is kept in place of a pickle.
        origin: an address or a path, for the record.
    """
    found, kept = file_fingerprint(path), cache_folder() / source.kept
    if generator is not None:
        from .convert import write_generator

        write_generator(kept, generator)
    elif path != kept:
        partial = kept.with_name(f"{kept.name}.partial")
        if path != partial:
            shutil.copyfile(path, partial)
        partial.replace(kept)
    record = record_file(source)
    first = not source.sha256 and not record.is_file()
    if not first and generator is None:
        return
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    content = {"file": source.file, "sha256": found, "from": origin, "trusted": when}
    if generator is not None:
        content["kept_sha256"] = file_fingerprint(kept)
    written = record.with_name(f"{record.name}.partial")
    written.write_text(json.dumps(content, indent=1), encoding="utf-8")
    written.replace(record)
    if not first:
        return
    tell(
        f"Nobody has published the SHA-256 of {source.file}. This one's is {found}. The package trusts "
        f"this first file, records the hash in {record}, and refuses any other file under this name."
    )
