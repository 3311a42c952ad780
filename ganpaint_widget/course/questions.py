"""The questions of the lessons, each a function from a student's task and answer to a verdict.

What is right is computed here, from the generator as it is installed, by the same means that the lesson
teaches; no number is written down. Numbers are right within a tolerance, where several answers are as good
all of them are, and of the usual slips each has its own hint. The notebooks and ``ganpaint grade`` ask the
same functions. The seven lessons share one file, for their questions share the pictures that they measure on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from ..errors import GANPaintError
from .handins import Answer, edits_of

if TYPE_CHECKING:
    from torch import Tensor

    from ..demo.scenes import Counterfactual
    from ..dissection import CausalCurve
    from ..method.edits import Edit
    from ..models.model import Model
    from ..models.units import Dissection
    from ..session.processes.inverting import OpenedPicture

T = TypeVar("T")

SCENES: Final = 12
"""The first so many of the gallery are given to students: few, so that a class is graded in minutes."""

SAMPLES: Final = 50
"""Of lesson 3: enough for a first look at a layer, in seconds."""

CURVE_SAMPLES: Final = 12
STRENGTHS: Final = (0.5, 1.0, 2.0, 4.0)
WIDTHS: Final = (16, 24, 32, 40)
OBJECTS: Final = (5, 9, 18)
"""Sides in pixels of the objects of lesson 6."""

REMOVABLE: Final = ("tree", "window", "dome", "cloud", "door")


@dataclass(frozen=True)
class Verdict:
    """What a check says.

    Attributes:
        right: whether the answer is right; ``None`` while there is none.
        text: what the student reads: a hint where it is wrong.
        score: for an edit, how good it is, from 0 to 1; else ``None``.
    """

    right: bool | None
    text: str
    score: float | None = None

    def __repr__(self) -> str:
        mark = {True: "✓ Right.", False: "✗ Not yet.", None: "… No answer yet."}[self.right]
        return f"{mark} {self.text}".rstrip()


@dataclass(frozen=True)
class Task:
    """One student's version of a lesson: it follows from the seed alone."""

    seed: int

    @property
    def scene(self) -> int:
        """The number of the student's scene in the gallery."""
        return self.seed % SCENES

    def choose(self, options: Sequence[T]) -> T:
        """Return one of the options, the student's own."""
        return options[(self.seed // SCENES) % len(options)]


Check = Callable[[Task, Answer], Verdict]

QUESTIONS: dict[int, dict[str, Check]] = {}
"""By lesson, in the order in which they are asked."""


def _question(lesson: int) -> Callable[[Check], Check]:
    def registered(check: Check) -> Check:
        QUESTIONS.setdefault(lesson, {})[check.__name__] = check
        return check

    return registered


def verdict(lesson: int, name: str, task: Task, answer: Answer) -> Verdict:
    """Check an answer to a question, and return the verdict.

    Raises:
        GANPaintError: the question does not exist.
    """
    questions = QUESTIONS.get(lesson, {})
    if name not in questions:
        raise GANPaintError(
            f"Lesson {lesson} has no question {name!r}.",
            f"Choose one of: {', '.join(questions)}."
            if questions
            else f"Pass a lesson from 1 to {max(QUESTIONS)}.",
        )
    if answer is None:
        return Verdict(None, "Replace the None above with your own answer, and run this cell again.")
    try:
        return questions[name](task, answer)
    except GANPaintError as error:
        return Verdict(False, str(error))


# --- ways to compare ---


@dataclass(frozen=True)
class Slip:
    """A wrong value that is easily come by, and what to say of it."""

    value: float
    hint: str


def near(
    answer: Answer,
    truth: float,
    tolerance: float,
    hint: str,
    slips: Sequence[Slip] = (),
    also: float | None = None,
) -> Verdict:
    """Accept a number within the tolerance of the truth, or of ``also``."""
    if isinstance(answer, bool) or not isinstance(answer, (int, float)):
        return Verdict(False, f"The answer is one number, not a {type(answer).__name__}.")
    if min(abs(answer - one) for one in (truth, truth if also is None else also)) <= tolerance:
        return Verdict(True, "")
    for slip in slips:
        if abs(answer - slip.value) <= min(tolerance, abs(slip.value - truth) / 2):
            return Verdict(False, slip.hint)
    return Verdict(False, f"Your number is too {'large' if answer > truth else 'small'}. {hint}")


def one_of(answer: Answer, right: Sequence[str], options: Sequence[str], hint: str) -> Verdict:
    """Accept one of the words ``right``."""
    if not isinstance(answer, str):
        return Verdict(False, f"The answer is a word in quotes, one of: {', '.join(options)}.")
    word = answer.strip().casefold()
    if word in right:
        return Verdict(True, "")
    return Verdict(False, hint if word in options else f"Choose one of: {', '.join(options)}.")


# --- what is looked at ---


def model() -> Model:
    """Return the generator that the course is about."""
    from ..models.devices import load

    return load("demo")


def dissection() -> Dissection:
    found = model().dissection
    assert found is not None
    return found


@cache
def opened(scene: int) -> OpenedPicture:
    """Return a scene of the gallery, as a session opens it."""
    from ..session.processes.inverting import Source, open_picture

    return open_picture(model(), Source("scene", f"Scene {scene}", scene))


def picture(scene: int, edits: Sequence[Edit] = ()) -> Tensor:
    """Return G(z_e) of a scene, 1 x 3 x R x R, clamped to [-1, 1]."""
    return opened(scene).fast.render(edits).clamp(-1, 1)


def labels(pictures: Tensor) -> npt.NDArray[np.int64]:
    """Return what the model's segmenter sees: R x R, indices into its classes."""
    segmenter = model().segmenter
    assert segmenter is not None
    seen: npt.NDArray[np.int64] = segmenter.segment(pictures)[0].cpu().numpy()
    return seen


def row(concept: str) -> int:
    segmenter = model().segmenter
    assert segmenter is not None
    return segmenter.classes.index(concept)


def ellipse() -> npt.NDArray[np.uint8]:
    """Return the mask that several lessons paint: a tree's place, on the left."""
    size = model().generator.resolution
    y, x = np.mgrid[:size, :size] / size
    inside = ((x - 0.14) / 0.12) ** 2 + ((y - 0.68) / 0.22) ** 2 < 1
    mask: npt.NDArray[np.uint8] = inside.astype(np.uint8) * np.uint8(255)
    return mask


# --- 1: paint an edit ---


@_question(1)
def cell(task: Task, answer: Answer) -> Verdict:
    """Check the side of one cell of the edit layer, in pixels of the picture."""
    generator = model().generator
    cells = generator.shape(generator.edit_layer)[2]
    side = generator.resolution / cells
    return near(
        answer, side, 0.01, "Divide the picture's pixels by the cells across.",
        [
            Slip(cells, "That is how many cells there are across. How many pixels does each of them have?"),
            Slip(side**2, "That is a cell's area. The question asks for its side."),
            Slip(1 / side, "Upside down: that is how many cells one pixel has."),
        ],
    )  # fmt: skip


@_question(1)
def strengths(task: Task, answer: Answer) -> Verdict:
    """Check the mean absolute change inside the mask, from 0 to 255, at each of ``STRENGTHS``."""
    from ..dissection.choosing import best_fitting
    from ..method.edits import Edit

    if not (isinstance(answer, list) and len(answer) == len(STRENGTHS) and all(map(_is_number, answer))):
        return Verdict(False, f"The answer is a list of {len(STRENGTHS)} numbers, one for each strength.")
    mask, before = ellipse(), _bytes(picture(task.scene))
    plain = Edit("e", "add", "tree", mask, target=dissection().default_target("tree"))
    fast = opened(task.scene).fast
    edit = best_fitting(model(), fast.state, [], plain, fast.edited)
    for strength, one in zip(STRENGTHS, answer, strict=True):
        after = _bytes(picture(task.scene, [replace(edit, strength=strength)]))
        difference = after.astype(int) - before
        truth = float(np.abs(difference)[mask > 0].mean())
        wrapped = float((after - before)[mask > 0].mean())
        said = near(
            one, truth, 0.5 + 0.08 * truth,
            "Take the mean of |preview - reconstruction| over the painted pixels only, and over the colors.",
            [
                Slip(wrapped, "Differences of uint8 wrap around at 0: turn the pictures into int first."),
                Slip(abs(float(difference[mask > 0].mean())), "Take the absolute value before the mean."),
                Slip(-abs(float(difference[mask > 0].mean())), "Take the absolute value before the mean."),
                Slip(truth / 255, "Leave the pictures on their scale from 0 to 255."),
                Slip(float(np.abs(difference).mean()), "That is the mean over the whole picture."),
            ],
        )  # fmt: skip
        if not said.right:
            return Verdict(said.right, f"At strength {strength:g}: {said.text}")
    return Verdict(True, "Up to 1, the change grows with the strength. Beyond, it saturates.")


@_question(1)
def tree(task: Task, answer: Answer) -> Verdict:
    """Check a session on the student's scene: a tree must have grown where there was none."""
    edits = [edit for edit in edits_of(answer, model()) if edit.verb == "add" and edit.concept == "tree"]
    if not edits:
        return Verdict(False, 'The session holds no added tree: session.add("tree", mask).')
    painted = np.max([edit.mask for edit in edits], axis=0) > 127
    free = painted & (labels(picture(task.scene)) != row("tree"))
    share = painted.mean()
    if not 0.02 <= share <= 0.25:
        return Verdict(
            False, f"You have painted {share:.1%} of the picture. Paint more than 2 % and less than 25 %."
        )
    if free.sum() < painted.sum() / 2:
        return Verdict(False, "There are trees already where you have painted. Choose another place.")
    grown = labels(picture(task.scene, edits_of(answer, model()))) == row("tree")
    score = float(grown[free].mean())
    told = f"{score:.0%} of what you painted has become tree."
    if score < 1 / 3:
        hint = "A tree needs ground: paint lower, on the meadow beside the church, and reach up from there."
        return Verdict(False, f"{told} {hint}", score)
    return Verdict(True, told, score)


# --- 2: inversion ---


@_question(2)
def psnr(task: Task, answer: Answer) -> Verdict:
    """Return the PSNR of G(z) against the photo, in dB."""
    found = opened(task.scene)
    difference = _bytes(picture(task.scene)).astype(float) - found.photo
    error = float(np.square(difference).mean())
    return near(
        answer, 10 * math.log10(255**2 / error), 0.2,
        "The error is squared first, then averaged over all pixels and "
            "colors; 10 times the logarithm comes last.",
        [
            Slip(10 * math.log10(1 / error), "What is the peak? Pixels go from 0 to 255."),
            Slip(-10 * math.log10(255**2 / error), "Peak over error, not error over peak."),
            Slip(10 * math.log10(255 / error), "The peak is squared, like the error."),
            Slip(10 * math.log(255**2 / error), "Take the logarithm to the base of 10: np.log10."),
            Slip(20 * math.log10(255 / np.abs(difference).mean()), "Square the error before you average."),
            Slip(
                10 * math.log10(255**2 / _wrapped(found, task)),
                "Differences of uint8 wrap around at 0: turn the pictures into float first.",
            ),
        ],
    )  # fmt: skip


def _wrapped(found: OpenedPicture, task: Task) -> float:
    return max(1e-6, float(np.square(_bytes(picture(task.scene)) - found.photo).mean()))


@_question(2)
def gain(task: Task, answer: Answer) -> Verdict:
    """Return by how many dB optimizing the features improves on the encoder's guess."""
    from ..method.inversion import invert

    found = opened(task.scene)
    guess, best = invert(model(), found.x, steps=0).scores.psnr, found.psnr
    return near(
        answer, best - guess, 0.35, "Compare invert(model, x) with invert(model, x, steps=0), both in dB.",
        [
            Slip(guess - best, "It is a gain: the later picture minus the earlier one."),
            Slip(best, "That is where optimization arrives. How far is that from where it began?"),
            Slip(guess, "That is where optimization begins. How far does it get from there?"),
        ],
    )  # fmt: skip


@_question(2)
def worst(task: Task, answer: Answer) -> Verdict:
    """Check the class whose pixels have the largest mean error."""
    found = opened(task.scene)
    seen = labels(found.x)
    error = np.abs(_bytes(picture(task.scene)).astype(float) - found.photo).mean(axis=2)
    segmenter = model().segmenter
    assert segmenter is not None
    means = {name: error[seen == k].mean() for k, name in enumerate(segmenter.classes) if (seen == k).any()}
    right = [name for name, mean in means.items() if mean >= 0.9 * max(means.values())]
    hint = "Take the mean over the pixels of each class: the sum would favor the classes that are large."
    if isinstance(answer, str) and answer in segmenter.classes and answer not in means:
        hint = "Your scene does not show any."
    return one_of(answer, right, segmenter.classes, hint)


# --- 3: what units know ---


@_question(3)
def interpretable(task: Task, answer: Answer) -> Verdict:
    """Check the numbers of the units that are interpretable for the student's concept."""
    from ..models.units import MINIMUM_IOU, MINIMUM_IQR

    concept = task.choose(known_concepts())
    if not (isinstance(answer, list) and all(map(_is_number, answer))):
        return Verdict(False, "The answer is a list of the units' numbers.")
    found, said = dissection(), {int(one) for one in answer}
    rows = {name: _numbers(found.iou[k] > MINIMUM_IOU) for k, name in enumerate(found.concepts)}
    k = found.index(concept)
    by_iou, by_iqr = rows[concept], _numbers(found.iqr[k] > MINIMUM_IQR)
    if said == by_iou & by_iqr:
        return Verdict(True, f"{len(said)} of {found.iou.shape[1]} units are interpretable for {concept}.")
    if said in (by_iou, by_iqr):
        return Verdict(False, "That is one of the two conditions. Both must hold: IoU and IQR.")
    if {one - 1 for one in said} == by_iou & by_iqr:
        return Verdict(False, "Units are counted from 0.")
    others = [
        name for name in rows if said == rows[name] & _numbers(found.iqr[found.index(name)] > MINIMUM_IQR)
    ]
    if others:
        return Verdict(False, f"Those are the units for {others[0]}; yours are those for {concept}.")
    extra, missing = len(said - (by_iou & by_iqr)), len((by_iou & by_iqr) - said)
    return Verdict(
        False, f"{extra} of these do not belong, and {missing} are missing. Look at the row of {concept}."
    )


@_question(3)
def iou(task: Task, answer: Answer) -> Verdict:
    """Return the IoU of the best unit of the student's concept, above its 0.9 quantile, on 24 samples."""
    on, shown = unit_and_concept(task.choose(known_concepts()))
    both, either = float((on & shown).sum()), float((on | shown).sum())
    truth = both / max(1.0, either)
    return near(
        answer, truth, 0.01 + 0.06 * truth,
        "Count pixels over all pictures: those in both maps, divided by those in at least one of them.",
        [
            Slip(both / max(1.0, float(on.sum())), "That is the precision: you have divided by the unit's "
                "pixels."),
            Slip(both / max(1.0, float(shown.sum())), "That is the recall: you have divided by the concept's "
                "pixels."),
            Slip(2 * both / max(1.0, float(on.sum() + shown.sum())), "That is Dice's measure; IoU is asked "
                "for."),
        ],
    )  # fmt: skip


@cache
def unit_and_concept(concept: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where the concept's best unit is in its upper tenth, and where the concept is, on 24 samples."""
    import torch
    from torch.nn import functional as F

    generator, segmenter, found = model().generator, model().segmenter, dissection()
    assert segmenter is not None
    unit = int(found.units(concept, 1)[0])
    with torch.no_grad():
        state = generator.run(generator.start(generator.sample_z(24, seed=0)), until=found.layer)
        shown = segmenter.segment(generator.picture(generator.run(state)).clamp(-1, 1)) == row(concept)
        activation = state.features[:, unit : unit + 1]
        full = F.interpolate(activation, size=shown.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    values = full.numpy()
    return values > np.quantile(values, 0.9), shown.numpy()


@_question(3)
def position(task: Task, answer: Answer) -> Verdict:
    """Check the concepts whose best unit does not beat the position alone."""
    ratios = position_ratios()
    if not (isinstance(answer, list) and all(isinstance(one, str) for one in answer)):
        return Verdict(False, "The answer is a list of concepts.")
    unknown = [one for one in answer if one not in ratios]
    if unknown:
        return Verdict(False, f"The concept {unknown[0]!r} does not exist.")
    # What is within a tenth of the other may be called either way.
    wrong = [one for one in answer if ratios[one] > 1.1]
    missing = [one for one, ratio in ratios.items() if ratio < 0.9 and one not in answer]
    if set(answer) == {one for one, ratio in ratios.items() if ratio > 1} and wrong:
        return Verdict(
            False, "Those are the others: the concepts whose best unit is better than the position alone."
        )
    if wrong or missing:
        return Verdict(
            False,
            f"{len(wrong)} of these do not belong, and {len(missing)} are missing. "
            "Compare the largest IoU of each "
            "row with the baseline's.",
        )
    return Verdict(True, "For these, one unit alone says no more than where the concept usually is.")


@cache
def position_ratios() -> Mapping[str, float]:
    """Return, for each class, the best unit's IoU over that of the position alone, on the same samples."""
    from ..dissection import dissect, position_baseline

    generator, segmenter = model().generator, model().segmenter
    assert segmenter is not None
    best = dissect(generator, segmenter, samples=SAMPLES).iou.max(dim=1).values
    baseline = position_baseline(generator, segmenter, samples=SAMPLES).iou
    return {name: float(best[k]) / max(1e-6, float(baseline[k])) for k, name in enumerate(segmenter.classes)}


def known_concepts() -> tuple[str, ...]:
    """Return the concepts for which the dissection calls some unit interpretable."""
    found = dissection()
    return tuple(name for name in found.concepts if found.interpretable(name)) or found.concepts


# --- 4: causality ---


@_question(4)
def ablated(task: Task, answer: Answer) -> Verdict:
    """Check the share of the concept's pixels that change class when its 20 best units are off everywhere."""
    before, after = ablation(task.choose(known_concepts()))
    counts = [float(one.sum()) for one in before if one.any()]
    gone = [float((one & ~other).sum()) for one, other in zip(before, after, strict=True) if one.any()]
    truth = sum(gone) / max(1.0, sum(counts))
    mean = float(np.mean([one / count for one, count in zip(gone, counts, strict=True)])) if counts else 0.0
    fewer = 1 - float(after.sum()) / max(1.0, float(before.sum()))
    return near(
        answer, truth, 0.03, "Count the pixels that were the concept before; what share of them "
            "shows something else afterwards?",
        [
            Slip(1 - truth, "That is the share that is left."),
            Slip(fewer, "Look at the pixels that were the concept; those that have become it "
                "elsewhere do not count."),
            Slip(float((before & ~after).mean()), "Divide by the concept's pixels, not by all pixels."),
        ],
        also=mean,
    )  # fmt: skip


@cache
def ablation(concept: str) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return where a concept is in 16 samples, before and after its 20 best units are switched off."""
    import torch

    generator, segmenter, found = model().generator, model().segmenter, dissection()
    assert segmenter is not None
    with torch.no_grad():
        state = generator.run(generator.start(generator.sample_z(16, seed=4)), until=found.layer)
        features = state.features.clone()
        features[:, found.units(concept, 20)] = 0
        before, after = (
            (segmenter.segment(generator.picture(generator.run(one)).clamp(-1, 1)) == row(concept)).numpy()
            for one in (state, state.replace(features))
        )
    return before, after


@_question(4)
def enough(task: Task, answer: Answer) -> Verdict:
    """Check the smallest number of units at which the ablation curve reaches half of its best."""
    curve = causal(task.choose(known_concepts()))
    if not _is_number(answer):
        return Verdict(False, "The answer is a number of units.")
    if int(answer) not in curve.units:
        return Verdict(False, f"Choose one of the curve's numbers: {', '.join(map(str, curve.units))}.")
    half = max(curve.ablated) / 2
    place = curve.units.index(int(answer))
    # Within .05 of the half counts as either side of it.
    if curve.ablated[place] < half - 0.05:
        return Verdict(False, "This number of units reaches less than half of the highest value.")
    if any(one > half + 0.05 for one in curve.ablated[:place]):
        return Verdict(False, "A smaller number already reaches half of the highest value.")
    return Verdict(True, "")


@_question(4)
def harder(task: Task, answer: Answer) -> Verdict:
    """Return which is harder with the units by IoU: "insert" or "ablate"."""
    curve = causal(task.choose(known_concepts()))
    inserted, removed = max(curve.added), max(curve.ablated)
    right = ["insert"] if inserted < removed else ["ablate"]
    if abs(inserted - removed) < 0.05:
        right = ["insert", "ablate"]
    return one_of(answer, right, ("insert", "ablate"), "Compare the highest points of the two curves.")


def counts() -> tuple[int, ...]:
    """Return 1, 2, 4 and so on, and last the number of all units."""
    units = dissection().iou.shape[1]
    return (*(2**k for k in range(12) if 2**k < units), units)


@cache
def causal(concept: str) -> CausalCurve:
    from ..dissection import causal_curve

    segmenter = model().segmenter
    assert segmenter is not None
    return causal_curve(
        model().generator, segmenter, dissection(), concept, units=counts(), samples=CURVE_SAMPLES
    )


# --- 5: image-specific adaptation ---


@_question(5)
def kept(task: Task, answer: Answer) -> Verdict:
    """Return the PSNR of the pixels that must stay, of the preview with the lesson's edit, in dB."""
    from ..images.metrics import psnr

    found, keep = opened(task.scene), _kept(task.scene)[1]
    drawn = picture(task.scene, [_lesson_edit()])
    return near(
        answer, psnr(drawn, found.x, keep), 0.25, "Use metrics.psnr with the keep-mask as its third "
            "argument.",
        [
            Slip(psnr(drawn, found.x), "That counts all pixels, the edit's as well. Pass the keep-mask."),
            Slip(psnr(drawn, found.x, 1 - keep), "The other way round: that counts only the edit."),
            Slip(found.psnr, "That is G(z), without the edit. Look at G(z_e)."),
        ],
    )  # fmt: skip


@_question(5)
def survival(task: Task, answer: Answer) -> Verdict:
    """Return ||G'(z_e) - G'(z)|| / ||G(z_e) - G(z)|| over what need not be kept, after adaptation."""
    truth = _survival(task.scene)
    return near(
        answer, truth, 0.06,
        "The change that the edit makes in the adapted pictures, over the change that it makes in G's.",
        [
            Slip(1 / max(truth, 1e-6), "Upside down."),
            Slip(truth**2, "Take the norms, not their squares."),
        ],
    )  # fmt: skip


def _lesson_edit() -> Edit:
    from ..method.edits import Edit

    return Edit("e", "add", "tree", ellipse(), 1.0)


@cache
def _kept(scene: int) -> tuple[Any, Tensor]:
    """z_e of the lesson's edit, and the keep-mask."""
    import torch

    from ..method.adaptation import keep_mask

    found = opened(scene)
    edited = found.fast.edited([_lesson_edit()])
    strokes = torch.from_numpy(ellipse() / np.float32(255))[None, None]
    return edited, keep_mask(model().generator, found.fast.state, edited, strokes)


@cache
def _survival(scene: int) -> float:
    from ..method.adaptation import adapt

    found, (edited, keep) = opened(scene), _kept(scene)
    fitted = adapt(model().generator, edited, found.x, keep, original=found.fast.state)
    return 0.0 if fitted.survival is None else fitted.survival


# --- 6: bring your own ---


@_question(6)
def shape(task: Task, answer: Answer) -> Verdict:
    """Return channels, height and width of ``block8`` in the lesson's DCGAN of the student's width."""
    width = task.choose(WIDTHS)
    truth = [4 * width, 8, 8]
    if not (isinstance(answer, list) and all(map(_is_number, answer))):
        return Verdict(False, "The answer is three numbers: generator.shape(stage).")
    said = [int(one) for one in answer]
    if said == truth:
        return Verdict(True, "")
    if said in ([1, *truth], [2, *truth]):
        return Verdict(False, "Leave the batch out: channels, height and width.")
    if said == [8, 8, truth[0]]:
        return Verdict(False, "PyTorch has the channels first.")
    if said[:1] != truth[:1] and said[1:] == [8, 8] and said[:1] in [[4 * one] for one in WIDTHS]:
        return Verdict(False, f"That is a DCGAN of another width; yours is {width}.")
    return Verdict(False, "Ask the generator that you have wrapped: generator.shape(generator.edit_layer).")


@_question(6)
def stage(task: Task, answer: Answer) -> Verdict:
    """Check the coarsest stage of the DCGAN whose cells are not larger than the student's object."""
    sides = {"head": 16, "block8": 8, "block16": 4, "block32": 2}
    side = task.choose(OBJECTS)
    right = max((one for one in sides if sides[one] <= side), key=sides.__getitem__)
    hint = f"A cell of that stage has a side of {sides.get(str(answer), 0)} pixels, the object one of {side}."
    return one_of(answer, [right], tuple(sides), hint)


@_question(6)
def lost(task: Task, answer: Answer) -> Verdict:
    """Return by how many dB the encoder's guess is worse for the student's scene upside down."""
    from ..method.inversion import invert

    x = opened(task.scene).x
    upright, turned = (invert(model(), one, steps=0).scores.psnr for one in (x, x.flip(2).contiguous()))
    return near(
        answer, upright - turned, 0.35, "Compare the two in dB, each with invert(model, x, "
            "steps=0).scores.psnr.",
        [
            Slip(turned - upright, "It is a loss: the upright one minus the other."),
            Slip(turned, "That is the PSNR upside down. How much is it below the upright one?"),
        ],
    )  # fmt: skip


# --- 7: measuring an edit against the truth ---


@cache
def removal(scene: int) -> tuple[str, Counterfactual]:
    """Return the concept to remove from a scene, the first of ``REMOVABLE`` in it, and the truth without it.

    Raises:
        GANPaintError: it shows none of them.
    """
    from ..demo.gallery import SceneGallery
    from ..demo.scenes import Scene

    size = model().generator.resolution
    there = Scene.sample(SceneGallery(size).seed(scene))
    for concept in REMOVABLE:
        if concept in dissection().concepts and (there.label_map(size) == row(concept)).mean() >= 0.01:
            return concept, there.without(concept, size=size)
    raise GANPaintError(f"Scene {scene} shows nothing to remove.", "Take another scene.")


@_question(7)
def error(task: Task, answer: Answer) -> Verdict:
    """Return the PSNR of G(z_e) against the truth inside the mask, for the plain removal."""
    from ..images.metrics import psnr

    drawn, truth, inside = _removed(task.scene)
    return near(
        answer, psnr(drawn, truth, inside), 0.25,
        "Use metrics.psnr with the object's mask, as 0 and 1, as its third argument.",
        [
            Slip(psnr(drawn, truth), "That counts all pixels. Pass the mask."),
            Slip(psnr(drawn, opened(task.scene).x, inside), "That compares with the photo, not with the "
                "truth."),
            Slip(psnr(picture(task.scene), truth, inside), "That is G(z), before the removal."),
            Slip(psnr(drawn, truth, 1 - inside), "The other way round: that counts what was not painted."),
        ],
    )  # fmt: skip


@_question(7)
def agree(task: Task, answer: Answer) -> Verdict:
    """Check the share of the mask on which the segmenter sees in G(z_e) what is truly there."""
    drawn, _, inside = _removed(task.scene)
    _, other = removal(task.scene)
    seen, painted = labels(drawn), inside[0, 0].numpy() > 0
    size = len(seen)
    same = seen == other.scene.label_map(size)
    there = opened(task.scene).x
    return near(
        answer, float(same[painted].mean()), 0.03, "Compare two label maps, over the painted pixels only.",
        [
            Slip(float(same.mean()), "That is over the whole picture. Only what was painted counts."),
            Slip(1 - float(same[painted].mean()), "That is the share on which they differ."),
            Slip(float((seen == labels(there))[painted].mean()), "That compares with the photo, not with the "
                "truth."),
        ],
    )  # fmt: skip


@_question(7)
def remove(task: Task, answer: Answer) -> Verdict:
    """Check a session: it must remove the object nearly as well as the plain removal."""
    concept, other = removal(task.scene)
    edits = edits_of(answer, model())
    if not edits:
        return Verdict(False, f'The session holds no edit yet: session.remove("{concept}", mask).')
    truth = other.scene.label_map(model().generator.resolution)

    def wrong(drawn: Tensor) -> int:
        """Return where something else is shown than in the truth, so that what is spoilt counts as well."""
        return int((labels(drawn) != truth).sum())

    before = max(1, wrong(picture(task.scene)))
    score = 1 - wrong(picture(task.scene, edits)) / before
    plain = 1 - wrong(_removed(task.scene)[0]) / before
    told = (
        f"Your edit sets {score:.0%} of the wrong pixels right; with the object's own mask it is {plain:.0%}."
    )
    if score <= max(0.0, 0.75 * plain):
        hint = "Mask what belongs to the object, and hardly anything else."
        return Verdict(False, f"{told} {hint}", max(0.0, score))
    return Verdict(True, told, score)


@cache
def _removed(scene: int) -> tuple[Tensor, Tensor, Tensor]:
    """G(z_e) of the plain removal, the true picture, and the mask as 0 and 1."""
    import torch

    from ..images.arrays import tensor_of
    from ..method.edits import Edit

    concept, other = removal(scene)
    drawn = picture(scene, [Edit("e", "remove", concept, other.object_mask)])
    truth = tensor_of(other.scene.render(model().generator.resolution), "cpu")
    inside = torch.from_numpy((other.object_mask > 0).astype(np.float32))[None, None]
    return drawn, truth, inside


# --- small things ---


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _numbers(which: Tensor) -> set[int]:
    return set(which.nonzero().flatten().tolist())


def _bytes(drawn: Tensor) -> npt.NDArray[np.uint8]:
    from ..images.arrays import array_of

    return array_of(drawn)
