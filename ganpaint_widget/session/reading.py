"""The reads of a session: pictures, edits, numbers, files."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from .. import storage
from ..deprecated import Renamed
from ..errors import GANPaintError
from ..images.files import Original
from ..method.edits import MAX_VARIANT, Edit, Mask, Reference
from ..validation import checked_concept, checked_number
from . import making, project, saving
from .document import Edits, with_edit
from .events import Array, Noticed, Progress, Rendered
from .palette import Concept
from .processes.blending import Blend, pasted
from .processes.references import MAX_REFERENCES, read_reference
from .processes.rendering import Frame, draw
from .state import SessionState

if TYPE_CHECKING:
    from ..method.inversion import Scores
    from ..models.model import Model


@dataclass(frozen=True, eq=False)
class Referred:
    """A restyle's reference, to be passed to :meth:`EditingSession.restyle`, and how it looks.

    Attributes:
        reference: the reference, which can serve several edits.
        photo: the picture, R x R; for a sample, G(z).
        reconstruction: the generator's version of it.
        psnr: the PSNR of that version.
    """

    reference: Reference
    photo: Image.Image
    reconstruction: Image.Image
    psnr: float

    decibel = Renamed("psnr")


@dataclass(frozen=True, eq=False)
class View:
    """The visible state of a session at one moment. Arrays are read-only, R x R.

    The attributes that are not listed here have the meaning of the session's attributes of the same name.

    Attributes:
        photo: x.
        original: the photo at its own size; ``None`` for anything else.
        reconstruction: G(z).
        preview: the newest G(z_e) or G'(z_e), which may lack the last edits.
        labels: see :attr:`EditingSession.labels`.
        faithful: whether the preview is to be faithful to the photo.
        is_faithful: whether it already can be.
        loading: whether the session is still being opened, and the photo stands for its other pictures.
    """

    generator_name: str
    palette: tuple[Concept, ...]
    cells: tuple[int, int]
    classes: tuple[str, ...]
    has_gallery: bool
    journals: tuple[str, ...]

    photo: Array
    original: Original | None
    reconstruction: Array
    preview: Array
    labels: Array | None
    title: str
    scene: int | None
    revision: int
    edits: Edits
    can_undo: bool
    can_redo: bool
    blend: Blend | None
    notice: Noticed | None
    job: Progress | None
    metrics: dict[str, Any]
    faithful: bool
    is_faithful: bool
    loading: bool = False


class Reading:
    """The reads of an :class:`.EditingSession`. They only need the state that is declared here."""

    _state: SessionState

    @property
    def concepts(self) -> tuple[str, ...]:
        """The names of all concepts: the dissection's, and the brushes made of its units."""
        return tuple(concept.name for concept in self.palette)

    @property
    def palette(self) -> tuple[Concept, ...]:
        """The concepts with their colors, and how well the generator knows them."""
        return self._state.palette.concepts

    @property
    def edits(self) -> Edits:
        """The edits in the order in which they apply."""
        return self._state.history.edits

    @property
    def revision(self) -> int:
        """A count that grows by one with every change of the edits or of the picture."""
        return self._state.history.revision

    @property
    def can_undo(self) -> bool:
        return self._state.history.can_undo

    @property
    def can_redo(self) -> bool:
        return self._state.history.can_redo

    @property
    def title(self) -> str:
        return self._state.picture.source.title

    @property
    def size(self) -> int:
        """R: all pictures and masks are R x R."""
        return self._state.model.generator.resolution

    @property
    def cells(self) -> tuple[int, int]:
        """The edited layer's grid: cells across and down. A painted pixel edits its whole cell."""
        down, across = self._state.picture.fast.state.features.shape[-2:]
        return across, down

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the segmenter's classes; none where the generator comes without a segmenter."""
        return () if self._state.model.segmenter is None else tuple(self._state.model.segmenter.classes)

    @property
    def labels(self) -> Array | None:
        """The photo's classes: uint8 R x R, indices into ``classes``; ``None`` without a segmenter."""
        return self._state.picture.labels

    @property
    def journals(self) -> tuple[str, ...]:
        """The name of this session's journal, then of those that it continues; empty without a journal."""
        return self._state.history.journals

    @property
    def acknowledged(self) -> dict[str, int]:
        """The last message of each page that the journal has, including those from before a recovery."""
        with self._state.lock:
            return dict(self._state.history.acknowledged)

    @property
    def model(self) -> Model:
        """The generator with its companions. Sessions share it."""
        return self._state.model

    @property
    def generator_name(self) -> str:
        return self._state.model.name

    @property
    def has_gallery(self) -> bool:
        return self._state.model.gallery is not None

    @property
    def scene_count(self) -> int:
        """The number of scenes in the gallery; 0 without one."""
        return 0 if self._state.model.gallery is None else self._state.model.gallery.count

    @property
    def scene(self) -> int | None:
        """The number of the open scene of the gallery; ``None`` for a photo or a sample."""
        source = self._state.picture.source
        return source.index % self.scene_count if source.kind == "scene" and self.scene_count else None

    def scenes(self, first: int = 0, count: int = 20) -> tuple[tuple[str, Image.Image], ...]:
        """Return scenes of the gallery, to choose one for :meth:`open_scene`. The model is not needed.

        Args:
            first: the first scene, from 0.
            count: how many; fewer at the end of the gallery.

        Returns:
            The title and the picture of each scene, R x R.

        Raises:
            GANPaintError: the generator has no gallery, or the first scene does not exist.
        """
        gallery = self._state.model.gallery
        if gallery is None:
            raise GANPaintError(
                f"The generator {self.generator_name!r} has no gallery of scenes.",
                "Open a photo, or call next_scene() for a sample of the generator.",
            )
        first = checked_number(first, "first scene", gallery.count - 1)
        last = min(first + checked_number(count, "number of scenes", sys.maxsize), gallery.count)
        return tuple((gallery.title(index), image(gallery.picture(index))) for index in range(first, last))

    @property
    def notice(self) -> Noticed | None:
        """The present notice for the user: about the last stroke, else about the picture."""
        state = self._state
        with state.lock:
            stroke = state.rendering.notice or state.reviewing.notice
            return stroke or state.history.notice or state.picture.notice

    @property
    def job(self) -> Progress | None:
        """The progress of the running blend; ``None`` when none runs."""
        return self._state.blending.progress

    @property
    def metrics(self) -> dict[str, Any]:
        """Scores of how close the pictures come to the photo.

        ``reconstruction_psnr`` is the PSNR of G(z), at most 99; ``blend`` is ``None`` or has
        ``before``, ``after`` and ``survival``, see :class:`Blend`.
        """
        with self._state.lock:
            blend = self._state.blending.result
            return {
                "reconstruction_psnr": self._state.picture.psnr,
                "blend": None
                if blend is None
                else {"before": blend.before, "after": blend.after, "survival": blend.survival},
            }

    @property
    def _measures(self) -> dict[str, Any]:
        """The metrics with the keys of earlier versions."""
        found = self.metrics
        return {"reconstruction_decibel": found["reconstruction_psnr"], "blend": found["blend"]}

    retune = Renamed("update")
    heard = Renamed("acknowledged")
    measures = Renamed("_measures")

    @property
    def blend(self) -> Blend | None:
        """The last finished blend of this picture. Its ``revision`` tells whether later edits exist."""
        return self._state.blending.result

    @property
    def photo(self) -> Image.Image:
        """x: the picture as it was opened, R x R."""
        return image(self._state.picture.photo)

    @property
    def reconstruction(self) -> Image.Image:
        """G(z): the generator's version of the photo."""
        return image(self._state.picture.reconstruction)

    @property
    def preview(self) -> Image.Image:
        """G(z_e), or G'(z_e) if it is to be faithful, with all edits made so far. This waits for it.

        Raises:
            GANPaintError: the preview failed.
        """
        return image(self._state.frame().array)

    @property
    def result(self) -> Image.Image | None:
        """G'(z_e) of the last blend; ``None`` before. It lacks later edits: see ``blend``."""
        blend = self._state.blending.result
        return None if blend is None else image(blend.array)

    @property
    def rendered(self) -> Rendered:
        """The newest finished G(z_e), which may lack the last edits. This waits for nothing."""
        newest = self._state.rendering.newest
        return Rendered("preview", newest.array, newest.revision, newest.exact)

    @property
    def is_faithful(self) -> bool:
        """Whether :attr:`faithful` is on, and the preview shows it."""
        with self._state.lock:
            return self._state.fitting.modify(self._state.picture) is not None

    @property
    def view(self) -> View:
        """Everything visible, read under one lock, so that all parts belong to one picture. Does not wait."""
        with self._state.lock:
            picture, frame = self._state.picture, self._state.rendering.newest
            return View(
                generator_name=self.generator_name,
                palette=self.palette,
                cells=self.cells,
                classes=self.classes,
                has_gallery=self.has_gallery,
                journals=self.journals,
                photo=picture.photo,
                original=picture.source.original,
                reconstruction=picture.reconstruction,
                preview=frame.array,
                labels=picture.labels,
                title=self.title,
                scene=self.scene,
                revision=self.revision,
                edits=self.edits,
                can_undo=self.can_undo,
                can_redo=self.can_redo,
                blend=self.blend,
                notice=self.notice,
                job=self.job,
                metrics=self.metrics,
                faithful=self._state.fitting.on,
                is_faithful=self._state.fitting.modify(picture) is not None,
            )

    def features(self) -> npt.NDArray[np.float32]:
        """Return the activations of the edit layer's units with all edits made so far: C x h x w."""
        picture, edits = self._state.inverted()

        def read() -> npt.NDArray[np.float32]:
            return picture.fast.edited(edits).features[0].detach().float().cpu().numpy()

        return self._state.worker.ask(read)

    def scores(self) -> Scores:
        """Measure the reconstruction: PSNR, SSIM, perceptual distance, and the photo's in-domain score.

        The first call takes a moment.
        """
        from ..method.inversion import score

        state = self._state
        picture, _ = state.inverted()
        return state.worker.ask(lambda: score(state.model, picture.fast.render(()).clone(), picture.x))

    def reference(self, edit_id: str) -> Referred:
        """Return the reference of a restyle, and G of it. GANPaintError if the restyle does not exist."""
        with self._state.lock:
            edit = self._state.history.edit(edit_id)
        if edit.reference is None:
            raise GANPaintError(f"The edit {edit_id!r} has no reference.", "Pass the id of a restyle.")
        return self.refer(edit.reference)

    def refer(self, reference: object, region: object = None) -> Referred:
        """Open a reference for restyles, and return the generator's version of it; see :meth:`restyle`."""
        read = read_reference(reference, region, self.size)
        opened = self._state.references.open(read)
        return Referred(read, image(opened.photo), image(opened.reconstruction), opened.psnr)

    def samples(self, concept: str, count: int = 8) -> tuple[Referred, ...]:
        """Return samples of the generator that show a concept, as references for restyles.

        Of the first 32 seeds, these are the samples in which the segmenter sees most of the concept. Without
        a segmenter, they are the first seeds.

        Args:
            concept: one of ``concepts``.
            count: how many, 0 to 16.

        Raises:
            GANPaintError: the concept does not exist, or the number is out of range.
        """
        checked_concept(concept, self.concepts, self.generator_name)
        count = checked_number(count, "number of samples", MAX_REFERENCES)
        return tuple(self.refer(seed) for seed in self._state.references.showing(concept, count))

    def variants(self, edit_id: str, count: int = 4) -> tuple[Image.Image, ...]:
        """Return G(z_e) with the variants 0 to ``count`` - 1 of an addition. Choose one with :meth:`update`.

        Args:
            edit_id: of an addition.
            count: how many, 0 to 10000.

        Raises:
            GANPaintError: the addition does not exist, the number is out of range, or the generator's
                samples do not show its concept.
        """
        count = checked_number(count, "number of variants", MAX_VARIANT + 1)
        state = self._state
        state.inverting.wait()
        with state.lock:
            picture, edits, place = state.picture, state.history.edits, state.history.place(edit_id)
        versions = [
            making.completed(state, replace(edits[place], variant=variant, activations=None))
            for variant in range(count)
        ]
        return tuple(
            image(state.worker.ask(draw, picture, with_edit(edits, place, version))) for version in versions
        )

    def footprint(self, edit: str | Edit | None = None) -> Mask:
        """Return how much an edit changes each pixel of G(z_e): uint8 R x R, the largest of three channels.

        An edit acts on cells of the edit layer, and the layers behind carry it further. The footprint is
        therefore larger than the mask. It is 0 where the generator refuses an edit.

        Args:
            edit: the id of an edit; an edit that has not been made, which then comes last; or ``None`` for
                all edits together.

        Raises:
            GANPaintError: the edit does not exist, or does not fit this picture.
        """
        state = self._state
        if isinstance(edit, Edit) and any(one is edit for one in self.edits):
            edit = edit.id
        unmade = making.completed(state, edit) if isinstance(edit, Edit) else None
        state.inverting.wait()
        with state.lock:
            picture, edits = state.picture, state.history.edits
            before, after = edits[:0], edits
            if unmade is not None:
                before, after = edits, (*edits, unmade)
            elif edit is not None:
                place = state.history.place(edit)  # type: ignore[arg-type]
                before = edits[:place] + edits[place + 1 :]
        one, other = (state.worker.ask(draw, picture, stack).astype(np.int16) for stack in (before, after))
        change: Mask = np.abs(one - other).max(axis=2).astype(np.uint8)
        return change

    @property
    def full(self) -> Image.Image:
        """The result, or else the preview, pasted into the photo at the photo's own size.

        The seam is feathered, and unedited places keep the photo's own pixels. For a scene or a sample, the
        picture is R x R.
        """
        return self._pasted(self._current())

    def png(self) -> bytes:
        """Return the picture :attr:`full` as a PNG file, with its provenance as text chunks.

        The chunks: ``Software``; ``ganpaint:edited`` ("true" or "false"); ``ganpaint:picture``
        ("result" or "preview"); ``ganpaint:generator``; ``ganpaint:concepts``, a JSON list of
        objects with ``verb``, ``concept`` and ``strength``.
        """
        shown = self._current()
        blended = isinstance(shown, Blend)
        if blended and shown.revision != self.revision:
            text = "The saved picture is the last blend, without later edits. Blend again to include them."
            self._state.observers.tell(Noticed("info", text))
        return saving.png(self._pasted(shown), shown.edits, blended=blended, generator=self.generator_name)

    def save_png(self, path: str | Path) -> None:
        """Write :meth:`png` to a file. GANPaintError if that fails."""
        storage.write(Path(path).expanduser(), self.png(), "The picture")

    def save(self, path: str | Path) -> None:
        """Save the session in one ``.ganpaint`` file, which :meth:`load` opens; see ``project.py``.

        It contains the photo, the inversion, the edits with their masks and references, and the last blend,
        but not the steps of undo.

        Raises:
            GANPaintError: the file cannot be written.
        """
        project.write(Path(path).expanduser(), self._stored())

    def project_file(self) -> bytes:
        """Return the bytes that :meth:`save` would write, for places without files."""
        return project.encode(self._stored())

    def _stored(self) -> project.Project:
        state = self._state
        state.inverting.wait()
        with state.lock:
            picture, edits, blend = state.picture, state.history.edits, state.blending.result
        return saving.stored(state.generator_name, state.model, picture, edits, blend)

    def _current(self) -> Blend | Frame:
        """Return the last blend, or else the preview, for saving. Both carry their picture."""
        return self._state.blending.result or self._state.frame()

    def _pasted(self, shown: Blend | Frame) -> Image.Image:
        generator = self._state.model.generator
        return self._state.worker.ask(pasted, generator, shown.picture, shown.edits, shown.array)


def image(array: Array) -> Image.Image:
    return Image.fromarray(array.copy())
