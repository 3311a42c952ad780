"""Getting a public model into the cache, or saying exactly how to do it by hand.

The mirrors are tried in turn by pooch. A file is written beside its place and only renamed to its name once
its hash is right, so what is in the cache can be used; what a broken connection has left is gone on with.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..errors import GANPaintError
from ..storage import cache_folder
from .catalogue import CATALOGUE, Entry

TIMEOUT = 30
"""Seconds without a byte after which a mirror is given up."""


def offline() -> bool:
    """Whether ``GANPAINT_OFFLINE`` forbids the network."""
    return os.environ.get("GANPAINT_OFFLINE", "").strip().lower() not in ("", "0", "no", "false", "off")


def cached(entry: Entry) -> Path | None:
    """The entry's file in the cache, if it is there."""
    path = cache_folder() / entry.file
    return path if path.is_file() else None


def by_hand(entry: Entry) -> str:
    """A sentence that says where to get the file and where to put it."""
    addresses = " or ".join(f"{mirror}{entry.file}" for mirror in entry.mirrors)
    return f"Get {addresses} in any way you can, and put it as {entry.file} into {cache_folder()}."


def fetch(name: str, *, progress: bool = True) -> Path:
    """The file of a public model, from the cache or else from the first mirror that has it.

    Args:
        name: of the catalogue.
        progress: a bar on standard error.

    Returns:
        The file's path in the cache. Its hash has been checked when it was put there by this function.

    Raises:
        GANPaintError: there is no such model, no mirror has delivered a file with the right hash, there is no
            room for it, or ``GANPAINT_OFFLINE`` is set. It says what to do by hand.
    """
    try:
        entry = CATALOGUE[name]
    except KeyError:
        raise GANPaintError(
            f"There is no public model {name!r}.", f"Choose one of: {', '.join(CATALOGUE)}."
        ) from None
    if (path := cached(entry)) is not None:
        return path
    if offline():
        raise GANPaintError(
            f"The model {name!r} is not in the cache, and GANPAINT_OFFLINE forbids fetching it.",
            by_hand(entry),
        )
    path = cache_folder() / entry.file
    partial = path.with_name(f"{entry.file}.partial")
    failures = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for mirror in entry.mirrors:
            resumed = partial.exists()
            failure = _download(f"{mirror}{entry.file}", partial, entry, progress)
            if failure is not None and resumed and not partial.exists():  # what was left was of no use
                failure = _download(f"{mirror}{entry.file}", partial, entry, progress)
            if failure is None:
                partial.replace(path)
                return path
            failures.append(f"{mirror}{entry.file}: {failure}")
    except OSError as error:
        raise GANPaintError(
            f"The model {name!r} cannot be written to {path.parent}: {error.strerror or error}.",
            "Make room there, or set GANPAINT_CACHE to another folder.",
        ) from error
    raise GANPaintError(
        f"The model {name!r} could not be fetched from any of its mirrors ({'; '.join(failures)}).",
        by_hand(entry),
    )


def _download(address: str, partial: Path, entry: Entry, progress: bool) -> str | None:
    """Append what is missing to ``partial``; why the file is not right then, or ``None`` if it is.

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
    digest = hashlib.sha256()
    with partial.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    found = digest.hexdigest()[: len(entry.sha256)]
    if found != entry.sha256:
        partial.unlink()
        return f"the SHA-256 begins with {found} and not with {entry.sha256}"
    return None
