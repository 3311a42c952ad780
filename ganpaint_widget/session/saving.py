"""Files of a session: pictures with their provenance, and projects."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import GANPaintError
from ..images import files
from ..method.edits import Edit
from ..version import __version__
from . import project
from .document import MAX_EDITS, Edits
from .events import Noticed
from .making import completed
from .processes.blending import Blend
from .processes.inverting import CachedInversion, OpenedPicture, Source
from .state import SessionState

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.model import Model


def png(picture: Image.Image, edits: Edits, *, blended: bool, generator: str) -> bytes:
    """Return a picture as a PNG file, with its provenance as text chunks; see :meth:`.EditingSession.png`."""
    used = [
        {"verb": edit.verb, "concept": edit.concept, "strength": edit.strength}
        for edit in edits
        if edit.enabled
    ]
    chunks = {
        "Software": f"ganpaint_widget {__version__}",
        "ganpaint:edited": "true" if used else "false",
        "ganpaint:picture": "result" if blended else "preview",
        "ganpaint:generator": generator,
        "ganpaint:concepts": json.dumps(used),
    }
    return files.encode_png(picture, chunks)


def weights_of(model: Model) -> str:
    """Return the fingerprint of a model's generator."""
    from ..storage import fingerprint

    return fingerprint(model.generator)


def stored(
    generator: str | None, model: Model, picture: OpenedPicture, edits: Edits, blend: Blend | None
) -> project.Project:
    """Return a project of a picture, its edits and its blend.

    Args:
        generator: the name under which it was loaded; ``None`` if it was given as an object.
    """
    import torch

    state, source = picture.fast.state, picture.source
    return project.Project(
        generator=generator,
        weights=weights_of(model),
        kind=source.kind,
        title=source.title,
        index=source.index,
        photo=picture.photo,
        original=source.original,
        z=_numbers(picture.z),
        features=_numbers(state.features),
        extra={name: _numbers(value) for name, value in state.extra.items()},
        edits=edits,
        blend=None
        if blend is None
        else project.StoredBlend(
            blend.array,
            blend.edits,
            blend.before,
            blend.after,
            blend.survival,
            {name: _numbers(value) for name, value in blend.delta.items()},
        ),
        versions={"torch": torch.__version__, "numpy": np.__version__},
    )


def source_of(found: project.Project, model: Model) -> Source:
    """Return the picture of a project. If the weights differ, it is inverted again, with a notice."""
    cached = notice = None
    if weights_of(model) == found.weights:
        cached = CachedInversion(found.z, found.features, found.extra)
    else:
        notice = Noticed(
            "warning",
            f"The weights of {model.name!r} differ from those of the project: "
            "the photo was inverted again, and the edits may look different.",
        )
    kind: Any = found.kind
    return Source(kind, found.title, found.index, found.photo, cached, found.original, notice)


def source_in_place(found: project.Project, model: Model, generator: str | None) -> Source:
    """Return the picture of a project, for a session that already has a generator.

    Args:
        generator: the name under which that generator was loaded, if there is one.

    Raises:
        GANPaintError: the project was made with another generator.
    """
    source = source_of(found, model)
    if source.cached is None and (found.generator is None or found.generator != generator):
        raise GANPaintError(
            f"The project was made with another generator than {model.name!r}"
            f"{'.' if found.generator is None else f': {found.generator!r}.'}",
            "Open it in a cell: EditingSession.load(...).",
        )
    return source


def generator_of(found: project.Project) -> str:
    """Return the name of a project's generator.

    Raises:
        GANPaintError: it was an object or a file. Projects of strangers must not choose which files to open.
    """
    name = found.generator
    if name is None or Path(name).name != name or Path(name).suffix:
        raise GANPaintError(
            f"The project's generator {'was an object' if name is None else f'is the file {name!r}'}.",
            "Pass it with generator=, or on the command line with --generator.",
        )
    return name


def fitting_edits(
    found: project.Project, state: SessionState, picture: OpenedPicture
) -> tuple[Edits, Edits | None]:
    """Return a project's edits, and those of its blend if it can be kept. This may wait for the model.

    Args:
        found: the project.
        state: the session's state.
        picture: the project's picture, which need not have replaced the session's yet.

    Raises:
        GANPaintError: they do not fit the session's generator.
    """
    model = state.model
    same_weights = weights_of(model) == found.weights

    def fitting(edit: Edit) -> Edit:
        # Activations that were measured with other weights mean nothing here.
        return completed(state, edit if same_weights else replace(edit, activations=None), picture)

    if max(len(found.edits), 0 if found.blend is None else len(found.blend.edits)) > MAX_EDITS:
        raise GANPaintError(f"The project has more than {MAX_EDITS} edits.", "Open another one.")
    edits = tuple(map(fitting, found.edits))
    if found.blend is None or not same_weights:
        return edits, None
    generator = model.generator
    shapes = {name: value.shape for name, value in found.blend.delta.items()}
    own = generator.shapes([name for name in generator.stages if name in shapes])
    if shapes != {name: (1, *shape) for name, shape in own.items()}:
        raise GANPaintError(
            f"The project's blend does not fit the generator {model.name!r}.",
            "Open it with the generator that it was made with.",
        )
    return edits, tuple(map(fitting, found.blend.edits))


def _numbers(tensor: Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()
