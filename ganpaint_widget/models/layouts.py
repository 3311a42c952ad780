"""What a checkpoint is that this package cannot paint with: by the names of its tensors, or its first bytes.

People try the file that they have. A refusal is of use when it says what that file is and what to do; so the
layouts of other public projects stand here as a table. The names were read in the projects' own code. What
can be painted with is recognized elsewhere (:mod:`.reading`), and is not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WRAP: Final = (
    "Load the network with its own code and wrap it as a StagedGenerator: docs/bring_a_gan.md shows how."
)
ONE_CLASS: Final = (
    "Load it with its own code and wrap it as a StagedGenerator whose start() passes one fixed class: "
    "docs/bring_a_gan.md shows how."
)
NO_GAN: Final = "Pass a GAN that draws pictures from a latent; `ganpaint fetch --list` lists public ones."
TRANSLATES: Final = (
    "It turns one picture into another, and has no latent to edit: `ganpaint fetch --list` names generators."
)
GENERATOR_TOO: Final = (
    "Pass the file that holds the generator, preferably its moving average (g_ema or G_ema)."
)
STATE_DICT: Final = (
    "Load it in PyTorch where you trust it, and save its state_dict() with torch.save: "
    "docs/bring_a_gan.md names the layouts that are read."
)
AGAIN: Final = "Get the file from its source again, and check its size first."


@dataclass(frozen=True)
class Layout:
    """One kind of file.

    Attributes:
        what: what the file holds, after "holds": with an article.
        hint: what to do, one sentence.
        signs: regular expressions; a checkpoint is of this kind if each matches the end of some tensor's
            name, from the beginning of the name or from a dot.
    """

    what: str
    hint: str
    signs: tuple[str, ...] = ()


# The first that fits is told, so what is special stands before what is general.
LAYOUTS: Final = (
    # --- StyleGANs that are not read ---
    Layout("an EG3D", WRAP, (r"backbone\.synthesis\.b4\.const",)),
    Layout(
        "a class-conditional StyleGAN3 (or StyleGAN-XL)", ONE_CLASS,
        (r"synthesis\.input\.(freqs|weight)", r"mapping\.embed(\.\w+)?\.weight"),
    ),
    Layout("a StyleGAN3", WRAP, (r"synthesis\.input\.(freqs|weight|transform)",)),
    Layout("a StyleGAN3 in rosinality's layout", WRAP, (r"affine_fourier\.weight",)),
    Layout(
        "a class-conditional StyleGAN2", ONE_CLASS, (r"mapping\.embed\.weight", r"synthesis\.b4\.const")
    ),
    Layout(
        "a StyleGAN2 with residual connections", WRAP, (r"synthesis\.b8\.skip\.weight",)
    ),
    Layout("a SWAGAN, which draws wavelets", WRAP, (r"to_rgbs\.0\.iwt\.ll",)),
    Layout("a StyleSwin, which draws by attention", WRAP,
        (r"layers\.0\.blocks\.0\.attn\.0\.\w+", r"style\.1\.weight"),
    ),
    Layout(
        "a first-generation StyleGAN in rosinality's layout", WRAP, (r"progression\.\d+\.adain1\.style\..+",)
    ),
    Layout("a first-generation StyleGAN", WRAP, (r"g_synthesis\.blocks\.4x4\..+",)),
    Layout("a face restorer around a StyleGAN2 (GFPGAN)", TRANSLATES, (r"stylegan_decoder\..+",)),
    Layout("a StyleGAN2 in BasicSR's layout", WRAP, (r"style_convs?\d?\.(\d+\.)?modulated_conv\.weight",)),
    Layout(
        "a StyleGAN2 in MMGeneration's layout", WRAP, (r"convs\.0\.conv\.style_modulation\..+",)
    ),
    Layout(
        "a StyleGAN in GenForce's layout", WRAP,
        (r"synthesis\.layer0\.\w+(\.\w+)?", r"mapping\.dense0\.\w+(\.\w+)?")
    ),
    Layout("a ProGAN in GenForce's layout", WRAP, (r"layer0\.(conv\.)?weight", r"layer0\.(wscale\.)?bias")),
    Layout("a lightweight GAN of lucidrains", WRAP, (r"(G|GE)\.initial_conv\.\d\.weight",)),
    Layout(
        "a StyleGAN2 of lucidrains, whose layers are others than NVIDIA's", WRAP,
        (r"(S|SE)\.net\.\d+\.weight", r"(G|GE)\.initial_conv\.weight"),
    ),
    Layout("a projected GAN (FastGAN)", WRAP, (r"synthesis\.init\.init\.0\.weight_orig",)),
    Layout("a FastGAN", WRAP, (r"init\.init\.0\.weight(_orig)?", r"feat_8\..+")),
    Layout(
        "a discriminator of StyleGAN2", GENERATOR_TOO, (r"final_linear\.0\.weight", r"convs\.1\.conv1\..+")
    ),
    Layout("a discriminator of StyleGAN2", GENERATOR_TOO, (r"b\d+\.fromrgb\.weight",)),
    # --- other GANs ---
    Layout(
        "a ProGAN of pytorch_GAN_zoo", WRAP,
        (r"scaleLayers\.0\.0\.module\.weight", r"formatLayer\.module\.weight")
    ),
    Layout("a DCGAN of pytorch_GAN_zoo", WRAP, (r"main\.convTranspose1\.weight", r"formatLayer\.weight")),
    Layout(
        "a BigGAN, which is class-conditional", ONE_CLASS, (r"blocks\.0\.0\.conv1\.weight", r"shared\.weight")
    ),
    Layout(
        "a BigGAN, which is class-conditional", ONE_CLASS, (r"generator\.gen_z\.weight(_orig)?",)
    ),
    Layout("a GauGAN (SPADE)", TRANSLATES, (r"head_0\.norm_0\.mlp_shared\..+",)),
    Layout("a StarGAN v2", TRANSLATES, (r"decode\.0\.norm1\.fc\.weight",)),
    Layout("a CycleGAN or pix2pixHD", TRANSLATES, (r"model\.\d+\.conv_block\.\d+\.weight",)),
    Layout("a pix2pix U-Net", TRANSLATES, (r"model\.model\.1\.model\.\d\..+",)),
    Layout("an AnimeGAN", TRANSLATES, (r"block_a\.0\.\d\.weight",)),
    Layout(
        "a super-resolution network (ESRGAN)", TRANSLATES,
        (r"(body|RRDB_trunk)\.0\.(rdb|RDB)1\.conv1\.weight",),
    ),
    Layout("a self-attention GAN", WRAP, (r"attn1\.gamma", r"l1\.0\.(module\.)?weight\w*")),
    Layout("an SNGAN", WRAP, (r"block2\.c1\.weight\w*", r"l1\.weight\w*")),
    Layout("a DCGAN", WRAP, (r"main\.0\.weight", r"main\.1\.running_mean")),
    # --- what draws by other means than a GAN ---
    Layout("a LoRA, which is only the change of another model", NO_GAN,
        (r".*lora_(down|up|A|B)(\.\w+)?\.weight",)),
    Layout("a ControlNet", NO_GAN, (r"(controlnet_cond_embedding|control_model)\..+",)),
    Layout("a Stable Diffusion checkpoint", NO_GAN, (r"model\.diffusion_model\..+",)),
    Layout(
        "a diffusion model of diffusers", NO_GAN, (r"time_embedding\.linear_1\.weight", r"down_blocks\.0\..+")
    ),
    Layout("a diffusion transformer", NO_GAN, (r"(double_blocks|transformer_blocks|joint_blocks)\.0\..+",)),
    Layout("a guided diffusion model", NO_GAN, (r"time_embed\.0\.weight", r"input_blocks\.0\.0\.weight")),
    Layout("a denoising diffusion model", NO_GAN, (r"(temb\.dense\.0|time_mlp\.1)\.weight",)),
    Layout("a VQGAN, which draws from codes", NO_GAN, (r"quantize\.embedding\.weight",)),
    Layout(
        "an autoencoder of diffusers", NO_GAN, (r"decoder\.up_blocks\.0\..+", r"encoder\.down_blocks\.0\..+")
    ),
    # --- what draws nothing ---
    Layout(
        "the encoder of a ProGAN", "Put it beside the ProGAN in the cache: docs/photographs.md tells how.",
        (r"resnet\.layer5\.conv5\.bias",),
    ),
    Layout("a CLIP model", NO_GAN, (r"(visual\.conv1|text_model\.embeddings\.token_embedding)\.weight",)),
    Layout(
        "a language model", NO_GAN,
        (r"(h\.0\.attn\.c_attn|layers\.0\.self_attn\.q_proj|encoder\.layer\.0\.attention\.self\.query)\.weight",),
    ),
    Layout("a segmenter of pictures", NO_GAN, (r"(decode_head|mask_decoder)\..+",)),
    Layout("a vision transformer", NO_GAN, (r"patch_embed\.proj\.weight", r"blocks\.0\.attn\.qkv\.weight")),
    Layout("a ResNet, which names what it sees", NO_GAN, (r"layer1\.0\.conv1\.weight", r"fc\.weight")),
    Layout("a VGG, which names what it sees", NO_GAN, (r"features\.0\.weight", r"classifier\.0\.weight")),
)  # fmt: skip
"""Of checkpoints that are tensors by name."""


def described(names: Iterable[str]) -> Layout | None:
    """Return the layout that tensors of these names have, if it is one of :data:`LAYOUTS`."""
    text = "\n".join(names)
    for layout in LAYOUTS:
        if all(re.search(rf"(?m)^(?:.*\.)?(?:{sign})$", text) for sign in layout.signs):
            return layout
    return None


_BEGINNINGS: Final = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch it with `git lfs pull`."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", WRAP),
    (b"GGUF", "a GGUF file of a language model", NO_GAN),
    (b"\x93NUMPY", "a NumPy array", STATE_DICT),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first, and pass what was in it."),
    (b"Rar!", "a RAR archive", "Unpack it first, and pass what was in it."),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it first, and pass what was in it."),
    (b"\x89PNG", "a picture, not a network", "Pass it as the photo, and a network as the generator."),
    (b"\xff\xd8\xff", "a picture, not a network", "Pass it as the photo, and a network as the generator."),
)  # fmt: skip
_PRODUCERS: Final = (b"pytorch", b"onnx", b"tf2onnx", b"keras", b"paddle", b"skl2onnx", b"ONNX")

_ONNX: Final = Layout(
    "an ONNX graph, whose layers cannot be edited one by one",
    "Pass the PyTorch weights that it was exported from.",
)
_TENSORFLOW: Final = Layout(
    "a TensorFlow checkpoint",
    "Convert NVIDIA's pickle of the network instead (*.pkl), or load it yourself and wrap it.",
)
_SUFFIXES: Final = {
    ".onnx": _ONNX,
    ".h5": Layout("an HDF5 file, as Keras writes it", WRAP),
    ".keras": Layout("a Keras model", WRAP),
    ".tflite": Layout("a TensorFlow Lite model", WRAP),
    ".pb": _TENSORFLOW,
    ".index": _TENSORFLOW,
    ".meta": _TENSORFLOW,
    ".msgpack": Layout("the weights of a Flax model", WRAP),
    ".mlmodel": Layout("a Core ML model", WRAP),
    ".engine": Layout("a TensorRT engine", WRAP),
    ".json": Layout("settings, not weights", "Pass the file with the weights, which usually lies beside it."),
    ".yaml": Layout("settings, not weights", "Pass the file with the weights, which usually lies beside it."),
    ".tar": Layout("an archive of other files", "Unpack it first, and pass the file with the weights."),
}
_IN_FOLDERS: Final = {
    "model_index.json": Layout("a pipeline of diffusers", NO_GAN),
    "adapter_config.json": Layout("a LoRA, which is only the change of another model", NO_GAN),
    "saved_model.pb": Layout("a TensorFlow SavedModel", WRAP),
}
_FOLDER: Final = Layout(
    "other files", "Pass the path of one file in it, the one with the generator's weights."
)
_PAGE: Final = Layout(
    "a web page, not a network",
    "Open the address in a browser: it may ask for a click before it gives the file.",
)
_TORCHSCRIPT: Final = Layout(
    "a TorchScript program, which would have to be run",
    "If you trust it, load it with torch.jit.load, and wrap it or save its state_dict().",
)  # fmt: skip
_ZIPPED: Final = Layout(
    "a zip archive of other files", "Unpack it first, and pass the file with the weights."
)
_ARRAYS: Final = Layout("arrays of NumPy", STATE_DICT)


def other_format(path: Path, packed: Iterable[str] = ()) -> Layout | None:
    """Name a file or folder that is neither a PyTorch checkpoint nor safetensors, if its bytes tell.

    Args:
        path: it exists.
        packed: the names in it, if it is a zip archive.
    """
    if path.is_dir():
        inside = (layout for name, layout in _IN_FOLDERS.items() if (path / name).exists())
        return next(inside, _FOLDER)
    names = list(packed)
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return _TORCHSCRIPT
    if any(name.endswith(".npy") for name in names):
        return _ARRAYS
    if names and not any(name.endswith("data.pkl") for name in names):
        return _ZIPPED
    with path.open("rb") as file:
        begins = file.read(256)
    for beginning, what, hint in _BEGINNINGS:
        if begins.startswith(beginning):
            return Layout(what, hint)
    if re.match(rb"\s*<(!doctype|html|\?xml)", begins, re.IGNORECASE):
        return _PAGE
    # A protocol buffer: the version of ONNX's format, then who has written it.
    if begins[:1] == b"\x08" and begins[2:3] == b"\x12" and any(one in begins[:64] for one in _PRODUCERS):
        return _ONNX
    if ".data-00000-of-" in path.name:
        return _TENSORFLOW
    return None if begins[:2] in (b"PK", b"\x80\x02") else _SUFFIXES.get(path.suffix)
