"""The public models, as data: where their files are, what is known of them, and under which terms.

``registry.load("church")`` reads them from the cache, ``download.fetch("church")`` gets them there. Of some
files the publishers give the first eight digits of the hash, as part of the file name; of NVIDIA's they give
none, and then the first that was fetched is trusted, and no other afterwards (:mod:`.download`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

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

# fmt: off
CHURCH_BRUSHES: Final[Mapping[str, Brush]] = MappingProxyType(
    {
        "tree": Brush(
            ranked_by="ace",
            units=(
                119, 125, 157, 195, 365, 374, 418, 426, 408, 3, 343, 322, 445, 490, 361, 78, 336, 247, 68,
                477,
            ),
            scores=(
                1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.84789, 0.613, 0.48481, 0.4646, 0.45516, 0.45378,
                0.45313, 0.38608, 0.36278, 0.35431, 0.35291, 0.30116, 0.29155,
            ),
            activations=(
                8.0176, 10.2972, 10.7059, 6.4786, 11.3075, 8.4801, 76.1622, 7.332, 6.4417, 11.3, 8.5415,
                7.9366, 13.841, 7.2253, 4.2631, 8.8084, 6.3359, 7.8472, 7.1053, 6.2879,
            ),
            removed=0.598,
            color="#2e7d32",
        ),
        "grass": Brush(
            ranked_by="ace",
            units=(
                14, 125, 153, 365, 380, 503, 349, 450, 418, 387, 209, 511, 171, 263, 159, 149, 2, 75, 13,
                199,
            ),
            scores=(
                1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.99694, 0.92634, 0.91001, 0.87012, 0.79818, 0.70098,
                0.53781, 0.47818, 0.45103, 0.39417, 0.38726, 0.35468, 0.3509, 0.34631,
            ),
            activations=(
                11.4008, 10.2972, 7.7978, 11.3075, 8.3641, 8.2095, 15.6715, 7.3838, 76.1622, 8.6613,
                5.3861, 7.3955, 7.1362, 6.6397, 7.8298, 10.1568, 6.5222, 6.9886, 9.3359, 6.6446,
            ),
            removed=None,
            color="#7cb342",
        ),
        "door": Brush(
            ranked_by="ace",
            units=(
                279, 300, 443, 418, 288, 426, 236, 408, 334, 106, 189, 250, 462, 77, 84, 29, 266, 10, 276,
                325,
            ),
            scores=(
                1.0, 1.0, 0.94085, 0.91861, 0.60791, 0.50982, 0.49801, 0.37899, 0.37297, 0.32314, 0.29582,
                0.29579, 0.29485, 0.2887, 0.28355, 0.26179, 0.26037, 0.25872, 0.23979, 0.23339,
            ),
            activations=(
                8.4269, 8.5104, 8.3615, 76.1622, 6.2098, 7.332, 9.5178, 6.4417, 8.808, 8.3485, 8.7292,
                6.9534, 7.1061, 6.375, 7.4563, 5.6251, 9.6588, 6.3525, 7.9635, 9.7684,
            ),
            removed=0.534,
            color="#8d5a2b",
        ),
        "sky": Brush(
            ranked_by="iou",
            units=(
                257, 302, 375, 181, 507, 395, 437, 205, 337, 360, 438, 168, 198, 238, 425, 418, 17, 246,
                504, 440,
            ),
            scores=(
                0.52212, 0.50791, 0.49447, 0.45493, 0.44828, 0.41288, 0.40164, 0.3957, 0.39342, 0.39288,
                0.379, 0.36288, 0.36213, 0.36014, 0.35243, 0.34994, 0.34928, 0.34711, 0.33637, 0.33551,
            ),
            activations=(
                9.976, 8.5287, 11.0642, 11.0945, 7.3829, 8.5881, 6.9329, 8.7185, 8.6247, 9.2812, 7.55,
                7.0914, 7.1279, 9.2279, 7.0013, 76.1622, 6.8717, 7.4818, 7.5947, 8.0821,
            ),
            removed=None,
            color="#64a8e8",
        ),
        "cloud": Brush(
            ranked_by="iou",
            units=(
                257, 440, 205, 163, 181, 395, 302, 246, 168, 219, 438, 285, 238, 132, 198, 360, 36, 504,
                425, 437,
            ),
            scores=(
                0.29801, 0.2774, 0.27194, 0.27189, 0.2718, 0.266, 0.26492, 0.25449, 0.24507, 0.23396,
                0.22759, 0.22732, 0.22353, 0.20827, 0.20457, 0.20196, 0.20113, 0.19413, 0.19132, 0.1895,
            ),
            activations=(
                9.976, 8.0821, 8.7185, 8.0045, 11.0945, 8.5881, 8.5287, 7.4818, 7.0914, 6.1051, 7.55,
                8.4758, 9.2279, 7.4345, 7.1279, 9.2812, 7.466, 7.5947, 7.0013, 6.9329,
            ),
            removed=0.275,
            color="#dfe6ee",
        ),
        "brick": Brush(
            ranked_by="iou",
            units=(
                204, 237, 34, 478, 145, 265, 362, 474, 106, 92, 203, 41, 417, 281, 468, 84, 155, 511, 29,
                361,
            ),
            scores=(
                0.03931, 0.03423, 0.03097, 0.03061, 0.02791, 0.02763, 0.02624, 0.02454, 0.0243, 0.02406,
                0.02341, 0.02332, 0.02298, 0.02259, 0.02242, 0.02188, 0.02112, 0.02097, 0.02058, 0.02055,
            ),
            activations=(
                7.2227, 7.0542, 6.5901, 9.9085, 16.0358, 6.1104, 10.3689, 7.7468, 8.3485, 5.0478, 6.9538,
                7.1827, 6.5672, 6.5557, 7.7668, 7.4563, 6.282, 7.3955, 5.6251, 4.2631,
            ),
            removed=None,
            color="#b5543a",
        ),
        "dome": Brush(
            ranked_by="iou",
            units=(
                43, 419, 86, 370, 233, 282, 70, 226, 78, 482, 402, 396, 363, 501, 430, 454, 208, 211, 494,
                54,
            ),
            scores=(
                0.05856, 0.05562, 0.04802, 0.03438, 0.01226, 0.01184, 0.01131, 0.00951, 0.00946, 0.00818,
                0.008, 0.00712, 0.0068, 0.00676, 0.0066, 0.0059, 0.00574, 0.00551, 0.00515, 0.0048,
            ),
            activations=(
                8.0367, 6.1475, 6.4181, 6.3388, 7.4649, 7.5286, 7.0411, 8.5867, 8.8084, 8.5254, 7.4118,
                4.9186, 6.3463, 3.3819, 6.2869, 6.8876, 6.0527, 5.9526, 6.4482, 5.8373,
            ),
            removed=0.774,
            color="#d9a520",
        ),
    }
)
# fmt: on
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
