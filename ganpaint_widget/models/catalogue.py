"""The public models, as data: where their files are, what is known of them, and under which terms.

``registry.load("church")`` reads them from the cache, ``download.fetch("church")`` gets them there. Of some
files the publishers give the first eight digits of the hash, as part of the file name; of NVIDIA's they give
none, and then the first that was fetched is trusted, and no other afterwards (:mod:`.download`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

# How many of a concept's best units an edit acts on: the three levels of GANPaint's public server.
UNITS: Final = {"low": 4, "medium": 10, "high": 15}
DEFAULT_UNITS: Final = UNITS["high"]


@dataclass(frozen=True)
class Brush:
    """A concept's units as they were published, best first.

    Attributes:
        ranked_by: what ``scores`` are: ``"ace"``, the weight in the optimized causal intervention of GAN
            Dissection, or ``"iou"``.
        units: numbers of the layer's units.
        scores: one of each unit, 0 to 1.
        activations: the 0.99 quantile of each unit's activation.
        removed: the part of the concept's pixels, over whole pictures, that ablating 20 units by their causal
            effect removes (GAN Dissection, ICLR 2019); ``None`` where none was published.
        color: for the palette, "#rrggbb"; ours.
    """

    ranked_by: Literal["ace", "iou"]
    units: tuple[int, ...]
    scores: tuple[float, ...]
    activations: tuple[float, ...]
    removed: float | None
    color: str


@dataclass(frozen=True)
class Source:
    """One file that holds a model.

    Attributes:
        file: its name.
        mirrors: the addresses of folders that have or had it, the likeliest first.
        sha256: how the file's SHA-256 begins, in hexadecimal; "" where its publishers say none.
    """

    file: str
    mirrors: tuple[str, ...]
    sha256: str = ""

    @property
    def pickled(self) -> bool:
        """Whether it is converted when it is fetched, since it could run code when it is read."""
        return self.file.endswith(".pkl")

    @property
    def kept(self) -> str:
        """The file's name in the cache: of a pickle, of what was made of it."""
        return self.file.removesuffix(".pkl") + ".safetensors" if self.pickled else self.file


@dataclass(frozen=True)
class Entry:
    """One public model.

    Attributes:
        name: how users call it.
        architecture: which class reads it.
        domain: what it draws.
        resolution: R of its pictures.
        sources: files with the same network or one of its kind, the likeliest to be had first.
        megabytes: the size, where it is known.
        license: of the weights, as far as their publishers say.
        source: who trained it, and who published the file.
        edit_layer: where edits are made; ``None`` for the architecture's default.
        channels: C of that layer, where units are published.
        artifact_units: units that draw visible artifacts and take no part in edits.
        brushes: the published units by concept.
        units_source: where those come from.
        encoder: the file of a published encoder; it is used where a user has put it into the cache.
    """

    name: str
    architecture: Literal["ProGAN", "StyleGAN2"]
    domain: str
    resolution: int
    sources: tuple[Source, ...]
    megabytes: int | None
    license: str
    source: str
    edit_layer: str | None = None
    channels: int = 0
    artifact_units: tuple[int, ...] = ()
    brushes: Mapping[str, Brush] = field(default_factory=dict)
    units_source: str = ""
    encoder: str | None = None


# --- the units of the church model's layer4 ---


def _brushes(file: str) -> Mapping[str, Brush]:
    """Read the brushes in a file beside this one: JSON, by concept, with the fields of :class:`Brush`."""
    written = json.loads(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    return MappingProxyType({concept: _brush(fields) for concept, fields in written.items()})


def _brush(fields: dict[str, Any]) -> Brush:
    lists = {name: tuple(fields[name]) for name in ("units", "scores", "activations")}
    return Brush(**{**fields, **lists})


CHURCH_BRUSHES: Final = _brushes("church_units.json")
"""Seven brushes: the rankings and levels that GAN Dissection published for the demonstration of GANPaint."""

# --- the models ---

_PROGAN_MIRRORS: Final = (
    "https://dissect.csail.mit.edu/models/",
    "http://gandissect.csail.mit.edu/models/",
)
_ENCODERS: Final = {
    "church": "church_invert_hybrid_cse-43e52428.pth",
    "bedroom": "bedroom_invert_hybrid_cse-b943528e.pth",
}
_STYLEGAN2_MIRRORS: Final = (
    "https://rewriting.csail.mit.edu/data/models/",
    "http://rewriting.csail.mit.edu/data/models/",
)
_NVIDIA: Final = "https://nvlabs-fi-cdn.nvidia.com/"
_TENSORFLOW_MIRRORS: Final = (
    f"{_NVIDIA}stylegan2/networks/",
    "http://d36zk2xti64re0.cloudfront.net/stylegan2/networks/",  # the address before, in code until 2021
)
_ADA_MIRRORS: Final = (f"{_NVIDIA}stylegan2-ada-pytorch/pretrained/",)
_NGC_MIRRORS: Final = ("https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan2/versions/1/files/",)
_NVIDIA_LICENSE: Final = "NVIDIA Source Code License-NC: for research and evaluation, not for commerce"


def _progan(name: str, stem: str, sha256: str, domain: str) -> Entry:
    church = name == "church"
    return Entry(
        name=name,
        architecture="ProGAN",
        domain=domain,
        resolution=1024 if name == "celebahq" else 256,
        sources=(Source(f"proggan_{stem}-{sha256}.pth", _PROGAN_MIRRORS, sha256),),
        megabytes=None if name == "celebahq" else 73,  # 18.34 million parameters of four bytes
        license="CC BY-NC 4.0 (NVIDIA's pretrained networks)",
        source="Karras et al., ICLR 2018; converted by Bau et al., GAN Dissection, ICLR 2019",
        edit_layer=None if name == "celebahq" else "layer4",
        channels=512,
        artifact_units=(418,) if church else (),
        brushes=CHURCH_BRUSHES if church else {},
        units_source="GAN Dissection, the rankings of the GANPaint demonstration" if church else "",
        encoder=_ENCODERS.get(name),
    )


def _stylegan2(
    name: str, domain: str, resolution: int = 256, *, sha256: str = "", nvidia: str = "", csail: str = ""
) -> Entry:
    """From NVIDIA's TensorFlow pickle of configuration F, if there is one, and CSAIL's file."""
    pickles = (Source(f"stylegan2-{nvidia}-config-f.pkl", _TENSORFLOW_MIRRORS),) if nvidia else ()
    converted = Source(f"stylegan2_{csail or name}-{sha256}.pt", _STYLEGAN2_MIRRORS, sha256)
    return Entry(
        name=f"stylegan2-{name}",
        architecture="StyleGAN2",
        domain=domain,
        resolution=resolution,
        sources=(*pickles, converted),
        megabytes=None,
        license=_NVIDIA_LICENSE if nvidia else f"{_NVIDIA_LICENSE}; ask the publishers about this one",
        source="Karras et al., CVPR 2020; the .pt by Bau et al., Rewriting a Deep Generative Model, 2020",
    )


def _ada(name: str, domain: str, resolution: int, *, ada: bool = False) -> Entry:
    """From NVIDIA's PyTorch pickles: in the catalogue NGC, and some beside StyleGAN2-ADA's code."""
    files = (Source(f"{name}.pkl", _ADA_MIRRORS),) if ada else ()
    return Entry(
        name=f"stylegan2-{name}" if name != "ffhq" else f"stylegan2-ffhq-{resolution}",
        architecture="StyleGAN2",
        domain=domain,
        resolution=resolution,
        sources=(*files, Source(f"stylegan2-{name}-{resolution}x{resolution}.pkl", _NGC_MIRRORS)),
        megabytes=None,
        license=_NVIDIA_LICENSE,
        source="Karras et al., Training GANs with Limited Data, NeurIPS 2020; published by NVIDIA",
    )


CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            _progan("church", "churchoutdoor", "7e701dd5", "LSUN churches from outside"),
            _progan("bedroom", "bedroom", "d8a89ff1", "LSUN bedrooms"),
            _progan("conferenceroom", "conferenceroom", "21e85882", "LSUN conference rooms"),
            _progan("diningroom", "diningroom", "3aa0ab80", "LSUN dining rooms"),
            _progan("kitchen", "kitchen", "67f1e16c", "LSUN kitchens"),
            _progan("livingroom", "livingroom", "5ef336dd", "LSUN living rooms"),
            _progan("restaurant", "restaurant", "b8578299", "LSUN restaurants"),
            _progan("celebahq", "celebhq", "620d161c", "CelebA-HQ faces"),
            _stylegan2("church", "LSUN churches from outside", sha256="e8ca9fd0", nvidia="church"),
            _stylegan2("bedroom", "LSUN bedrooms", sha256="6fa55a6e"),
            _stylegan2("kitchen", "LSUN kitchens", sha256="b3a526e9"),
            _stylegan2("horse", "LSUN horses", sha256="499b5380", nvidia="horse"),
            _stylegan2("cat", "LSUN cats", sha256="d8dc98b2", nvidia="cat"),
            _stylegan2("places", "Places365 scenes", sha256="a3b72d71"),
            _stylegan2("car", "LSUN cars, between black bars", 512, sha256="3659b4b6", nvidia="car"),
            _stylegan2("ffhq", "FFHQ faces", 1024, sha256="2858cc2e", nvidia="ffhq", csail="faces"),
            _stylegan2("faces", "FFHQ faces: stylegan2-ffhq", 1024, sha256="2858cc2e", nvidia="ffhq"),
            _ada("ffhq", "FFHQ faces", 256),
            _ada("celebahq", "CelebA-HQ faces", 256),
            _ada("lsundog", "LSUN dogs", 256),
            _ada("afhqcat", "AFHQ cats", 512, ada=True),
            _ada("afhqdog", "AFHQ dogs", 512, ada=True),
            _ada("afhqwild", "AFHQ wild animals", 512, ada=True),
            _ada("afhqv2", "AFHQ v2 animals", 512),
            _ada("metfaces", "MetFaces, faces in works of art", 1024, ada=True),
            _ada("brecahad", "BreCaHAD, stained breast tissue", 512, ada=True),
        )
    }
)
"""By name. The resolution of a file is read from it; the one here is what was published."""
