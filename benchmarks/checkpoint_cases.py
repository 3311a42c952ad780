"""Checkpoints as people have them, and what must happen to each: it opens, or a sentence says what it is.

The names and shapes are those of the public projects, thin: written from their code, not with it. Rows for
``benchmarks.inputs``, and the table of ``tests/test_layouts.py``.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ganpaint_widget.errors import GANPaintError
from ganpaint_widget.models import registry
from ganpaint_widget.models.progan import ProGAN
from ganpaint_widget.models.stylegan2 import StyleGAN2

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        name: what it is, in a few words.
        write: makes the file in a folder, and returns its path.
        says: what the refusal's sentence holds; "" if it opens.
        notice: what a warning holds while it opens; "" for none.
    """

    name: str
    write: Callable[[Path], Path]
    says: str = ""
    notice: str = ""


# --- those that open ---


def stylegan2_weights(rgb: int = 3, height: int = 4) -> dict[str, Tensor]:
    """Return a StyleGAN2 of 16 px in rosinality's layout, without ``latent_avg``, or an unsupported one."""
    torch.manual_seed(0)
    weights = dict(StyleGAN2((6, 5, 4), latent_size=5, style_size=6, mapping_layers=2).state_dict())
    weights.pop("latent_avg")
    for name, tensor in weights.items():
        if name.startswith("to_rgb") and name.endswith("conv.weight"):
            weights[name] = torch.randn(1, rgb, *tensor.shape[2:])
        elif name.startswith("to_rgb") and name.endswith(".bias") and tensor.dim() == 4:
            weights[name] = torch.zeros(1, rgb, 1, 1)
    weights["input.input"] = torch.randn(1, 6, height, 4)
    return weights


def progan_weights() -> dict[str, Tensor]:
    """Return a ProGAN of 16 px under the names of the converted files."""
    torch.manual_seed(0)
    return dict(ProGAN(8, (6, 5, 4)).state_dict())


def nvidia_weights(conditional: bool = False, skip: bool = False) -> dict[str, Tensor]:
    """Return a StyleGAN2 of 16 px under the names of NVIDIA's PyTorch code."""
    sizes = (6, 5, 4)
    found: dict[str, tuple[int, ...]] = {"mapping.w_avg": (7,), "synthesis.b4.const": (6, 4, 4)}
    for number, inputs in enumerate((14 if conditional else 5, 7)):
        found |= {f"mapping.fc{number}.weight": (7, inputs), f"mapping.fc{number}.bias": (7,)}
    if conditional:
        found |= {"mapping.embed.weight": (7, 10), "mapping.embed.bias": (7,)}
    for block, width in enumerate(sizes):
        size, at = 4 * 2**block, f"synthesis.b{4 * 2**block}"
        found[f"{at}.resample_filter"] = (4, 4)
        for half in (0, 1) if block else (1,):
            inputs = sizes[block - 1] if half == 0 else width
            found |= {
                f"{at}.conv{half}.weight": (width, inputs, 3, 3), f"{at}.conv{half}.bias": (width,),
                f"{at}.conv{half}.noise_const": (size, size), f"{at}.conv{half}.noise_strength": (),
                f"{at}.conv{half}.affine.weight": (inputs, 7), f"{at}.conv{half}.affine.bias": (inputs,),
                f"{at}.conv{half}.resample_filter": (4, 4),
            }  # fmt: skip
        if skip and block:
            found[f"{at}.skip.weight"] = (width, sizes[block - 1], 1, 1)
        found |= {
            f"{at}.torgb.weight": (3, width, 1, 1), f"{at}.torgb.bias": (3,),
            f"{at}.torgb.affine.weight": (width, 7), f"{at}.torgb.affine.bias": (width,),
        }  # fmt: skip
    return tensors(found)


def tensors(shapes: Shapes) -> dict[str, Tensor]:
    """Random tensors of these shapes."""
    source = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=source) for name, shape in shapes.items()}


def saved(content: Callable[[], object], name: str = "network.pt") -> Callable[[Path], Path]:
    """Write a file with ``torch.save``, or as safetensors if the name says so."""

    def write(folder: Path) -> Path:
        path = folder / name
        made = content()
        if path.suffix == ".safetensors":
            assert isinstance(made, dict)
            save_file(made, path)
        else:
            torch.save(made, path)
        return path

    return write


def prefixed(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the same under longer names."""
    return {prefix + name: tensor for name, tensor in weights.items()}


def training_checkpoint() -> dict[str, Any]:
    """As ``train.py`` of rosinality's stylegan2-pytorch saves it: networks, optimizers and options."""
    average, trained = stylegan2_weights(), stylegan2_weights()
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(3), "exp_avg_sq": torch.zeros(3)}
    group = {"lr": 0.0016, "betas": (0.0, 0.9919), "eps": 1e-8, "amsgrad": False, "params": [0]}
    optimizer = {"state": {0: moments}, "param_groups": [group]}  # Adam's
    return {
        "g": {name: tensor + 1 for name, tensor in trained.items()},
        "d": tensors(
            {
                "convs.0.0.weight": (4, 3, 1, 1),
                "convs.1.conv1.0.weight": (4, 4, 3, 3),
                "final_linear.0.weight": (4, 64),
            }
        ),
        "g_ema": average,
        "g_optim": optimizer,
        "d_optim": optimizer,
        "args": argparse.Namespace(
            path="lmdb", arch="stylegan2", size=16, n_mlp=2, lr=0.002, ckpt=None, wandb=False
        ),
        "ada_aug_p": 0.0,
    }


def without(part: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if part not in name}


SEED = "the fixed seed 0 draws them"
_OPENING = (
    Case(
        "rosinality, converted", saved(lambda: {"g_ema": stylegan2_weights(), "latent_avg": torch.zeros(6)})
    ),
    Case("rosinality, in training", saved(training_checkpoint, "150000.pt")),
    Case("rosinality, no noises", saved(lambda: {"g_ema": without("noises", stylegan2_weights())}), "", SEED),
    Case("rosinality, blurs not stored", saved(lambda: {"g_ema": without("kernel", stylegan2_weights())})),
    Case("DataParallel", saved(lambda: {"g_ema": prefixed("module.", stylegan2_weights())})),
    Case("torch.compile", saved(lambda: prefixed("_orig_mod.", stylegan2_weights()))),
    Case("both", saved(lambda: {"g": prefixed("module._orig_mod.", stylegan2_weights())}, "last.ckpt")),
    Case("under any key", saved(lambda: {"model_weights": stylegan2_weights(), "step": 3}, "a.pth")),
    Case("two levels", saved(lambda: {"state": {"models": {"g_ema": stylegan2_weights()}}}, "a.pth.tar")),
    Case("Lightning", saved(lambda: {"state_dict": prefixed("generator.", progan_weights()), "epoch": 1})),
    Case(
        "pSp, an encoder around rosinality",
        saved(
            lambda: {
                "state_dict": {
                    **prefixed("decoder.", stylegan2_weights()),
                    **tensors({"encoder.input_layer.0.weight": (4, 3, 3, 3)}),
                },
                "latent_avg": torch.zeros(6, 6),
                "opts": {"size": 16},
            }
        ),
    ),
    Case("NVIDIA's state dict", saved(lambda: nvidia_weights(), "a.safetensors"), "", "conv_clamp"),
    Case("ProGAN, converted", saved(progan_weights, "progan.pth")),
    Case("ProGAN in safetensors", saved(progan_weights, "progan.safetensors")),
)


# --- those that are something else: by the names of their tensors ---

_LAYOUTS: tuple[tuple[str, str, Shapes], ...] = (
    (
        "NVIDIA StyleGAN3",
        "a StyleGAN3",
        {
            "mapping.fc0.weight": (4, 4),
            "synthesis.input.freqs": (4, 2),
            "synthesis.input.transform": (3, 3),
            "synthesis.L0_36_512.weight": (4, 4, 3, 3),
        },
    ),
    (
        "StyleGAN-XL",
        "class-conditional StyleGAN3",
        {
            "mapping.embed.embed.weight": (10, 4),
            "synthesis.input.freqs": (4, 2),
            "synthesis.L0_36_512.weight": (4, 4, 3, 3),
        },
    ),
    (
        "rosinality alias-free",
        "StyleGAN3 in rosinality's",
        {
            "style.1.weight": (4, 4),
            "affine_fourier.weight": (4, 4),
            "convs.0.conv.weight": (1, 4, 4, 3, 3),
            "convs.0.activation.upsample_filter": (12,),
        },
    ),
    (
        "EG3D",
        "an EG3D",
        {
            "backbone.mapping.fc0.weight": (4, 4),
            "backbone.synthesis.b4.const": (4, 4, 4),
            "decoder.net.0.weight": (4, 4),
        },
    ),
    (
        "rosinality StyleGAN 1",
        "first-generation StyleGAN in rosinality's",
        {
            "generator.progression.0.conv1.0.input": (1, 4, 4, 4),
            "generator.progression.0.adain1.style.linear.weight_orig": (8, 4),
            "style.1.linear.weight_orig": (4, 4),
        },
    ),
    (
        "lernapparat StyleGAN 1",
        "a first-generation StyleGAN",
        {
            "g_mapping.dense0.weight": (4, 4),
            "g_synthesis.blocks.4x4.const": (1, 4, 4, 4),
            "g_synthesis.torgb.weight": (3, 4, 1, 1),
        },
    ),
    (
        "BasicSR StyleGAN2",
        "StyleGAN2 in BasicSR's",
        {
            "style_mlp.1.weight": (4, 4),
            "constant_input.weight": (1, 4, 4, 4),
            "style_conv1.modulated_conv.weight": (1, 4, 4, 3, 3),
            "style_convs.0.modulated_conv.weight": (1, 4, 4, 3, 3),
            "to_rgb1.modulated_conv.weight": (1, 3, 4, 1, 1),
            "noises.noise0": (1, 1, 4, 4),
        },
    ),
    (
        "GFPGAN",
        "a face restorer",
        {
            "conv_body_first.weight": (4, 3, 1, 1),
            "stylegan_decoder.style_convs.0.modulated_conv.weight": (1, 4, 4, 3, 3),
            "condition_scale.0.0.weight": (4, 4, 3, 3),
        },
    ),
    (
        "MMGeneration StyleGAN2",
        "MMGeneration's",
        {
            "generator_ema.style_mapping.1.bias": (4,),
            "generator_ema.constant_input.const": (1, 4, 4, 4),
            "generator_ema.conv1.conv.weight": (1, 4, 4, 3, 3),
            "generator_ema.convs.0.conv.style_modulation.weight_orig": (4, 4),
            "generator_ema.convs.0.noise_injector.weight": (1,),
        },
    ),
    (
        "GenForce StyleGAN2",
        "StyleGAN in GenForce's",
        {
            "mapping.dense0.weight": (4, 4),
            "truncation.w_avg": (4,),
            "synthesis.early_layer.const": (1, 4, 4, 4),
            "synthesis.layer0.weight": (3, 3, 4, 4),
            "synthesis.layer0.style.weight": (4, 4),
        },
    ),
    (
        "GenForce ProGAN",
        "ProGAN in GenForce's",
        {
            "lod": (),
            "layer0.weight": (4, 4, 4, 4),
            "layer0.wscale.bias": (4,),
            "layer1.weight": (4, 4, 3, 3),
            "output6.weight": (3, 4, 1, 1),
        },
    ),
    (
        "HiGAN ProGAN",
        "ProGAN in GenForce's",
        {
            "layer0.conv.weight": (4, 4, 4, 4),
            "layer0.wscale.bias": (4,),
            "layer1.conv.weight": (4, 4, 3, 3),
            "output6.conv.weight": (3, 4, 1, 1),
        },
    ),
    (
        "lucidrains StyleGAN2",
        "StyleGAN2 of lucidrains",
        {
            "GAN.S.net.0.weight": (4, 4),
            "GAN.G.initial_block": (1, 4, 4, 4),
            "GAN.G.initial_conv.weight": (4, 4, 3, 3),
            "GAN.G.blocks.0.to_style1.weight": (4, 4),
            "GAN.D.blocks.0.conv_res.weight": (4, 3, 1, 1),
            "GAN.GE.initial_conv.weight": (4, 4, 3, 3),
        },
    ),
    (
        "lucidrains lightweight GAN",
        "lightweight GAN of lucidrains",
        {
            "GAN.G.initial_conv.0.weight": (4, 8, 4, 4),
            "GAN.G.initial_conv.1.weight": (8,),
            "GAN.G.out_conv.weight": (3, 4, 3, 3),
            "GAN.GE.initial_conv.0.weight": (4, 8, 4, 4),
        },
    ),
    (
        "FastGAN",
        "a FastGAN",
        {
            "g.module.init.init.0.weight_orig": (4, 8, 4, 4),
            "g.module.feat_8.1.weight_orig": (8, 4, 3, 3),
            "g.module.se_64.main.1.weight_orig": (4, 4, 4, 4),
            "g.module.to_big.weight_orig": (3, 4, 3, 3),
        },
    ),
    (
        "Projected GAN",
        "a projected GAN",
        {"synthesis.init.init.0.weight_orig": (4, 8, 4, 4), "synthesis.feat_8.1.weight_orig": (8, 4, 3, 3)},
    ),
    (
        "StyleSwin",
        "a StyleSwin",
        {
            "g_ema.style.1.weight": (4, 4),
            "g_ema.input.input": (1, 4, 4, 4),
            "g_ema.layers.0.blocks.0.attn.0.relative_position_bias_table": (49, 4),
            "g_ema.to_rgbs.0.conv.weight": (3, 4, 1, 1),
        },
    ),
    (
        "SWAGAN",
        "a SWAGAN",
        {
            "style.1.weight": (4, 4),
            "conv1.conv.modulation.weight": (4, 4),
            "conv1.conv.weight": (1, 4, 4, 3, 3),
            "to_rgb1.conv.weight": (1, 12, 4, 1, 1),
            "to_rgbs.0.iwt.ll": (2, 2),
        },
    ),
    (
        "StyleGAN2 discriminator",
        "a discriminator",
        {
            "d.convs.0.0.weight": (4, 3, 1, 1),
            "d.convs.1.conv1.0.weight": (4, 4, 3, 3),
            "d.final_linear.0.weight": (4, 64),
        },
    ),
    (
        "NVIDIA discriminator",
        "a discriminator",
        {"b16.fromrgb.weight": (4, 3, 1, 1), "b16.conv0.weight": (4, 4, 3, 3), "b4.out.weight": (1, 4)},
    ),
    (
        "pytorch_GAN_zoo PGAN",
        "a ProGAN of pytorch_GAN_zoo",
        {
            "netG.formatLayer.module.weight": (64, 4),
            "netG.scaleLayers.0.0.module.weight": (4, 4, 3, 3),
            "netG.toRGBLayers.0.module.weight": (3, 4, 1, 1),
            "netD.scaleLayers.0.0.module.weight": (4, 4, 3, 3),
        },
    ),
    (
        "pytorch_GAN_zoo DCGAN",
        "a DCGAN of pytorch_GAN_zoo",
        {
            "netG.formatLayer.weight": (4, 8, 4, 4),
            "netG.main.batchNorm0.weight": (8,),
            "netG.main.convTranspose1.weight": (8, 4, 4, 4),
        },
    ),
    (
        "BigGAN, ajbrock",
        "a BigGAN",
        {
            "shared.weight": (10, 4),
            "linear.weight": (8, 4),
            "linear.u0": (1, 8),
            "blocks.0.0.conv1.weight": (4, 4, 3, 3),
            "blocks.0.0.bn1.gain.weight": (4, 4),
        },
    ),
    (
        "BigGAN, Hugging Face",
        "a BigGAN",
        {
            "embeddings.weight": (4, 10),
            "generator.gen_z.weight_orig": (8, 4),
            "generator.layers.0.bn_0.scale.weight_orig": (4, 4),
        },
    ),
    (
        "self-attention GAN",
        "a self-attention GAN",
        {
            "l1.0.module.weight_bar": (4, 8, 4, 4),
            "attn1.gamma": (1,),
            "attn1.query_conv.weight": (1, 4, 1, 1),
        },
    ),
    (
        "SNGAN, mimicry",
        "an SNGAN",
        {
            "model_state_dict.l1.weight": (8, 4),
            "model_state_dict.block2.c1.weight": (4, 4, 3, 3),
            "model_state_dict.block2.b1.weight": (4,),
        },
    ),
    (
        "DCGAN, PyTorch's example",
        "a DCGAN",
        {
            "main.0.weight": (8, 8, 4, 4),
            "main.1.weight": (8,),
            "main.1.running_mean": (8,),
            "main.3.weight": (8, 4, 4, 4),
        },
    ),
    (
        "CycleGAN",
        "a CycleGAN",
        {
            "model.1.weight": (4, 3, 7, 7),
            "model.10.conv_block.1.weight": (4, 4, 3, 3),
            "model.26.weight": (3, 4, 7, 7),
        },
    ),
    (
        "pix2pix",
        "a pix2pix",
        {
            "model.model.0.weight": (4, 3, 4, 4),
            "model.model.1.model.1.weight": (8, 4, 4, 4),
            "model.model.3.weight": (8, 3, 4, 4),
        },
    ),
    (
        "SPADE",
        "a GauGAN",
        {
            "fc.weight": (8, 4, 3, 3),
            "head_0.conv_0.weight_orig": (4, 4, 3, 3),
            "head_0.norm_0.mlp_shared.0.weight": (4, 4, 3, 3),
        },
    ),
    (
        "StarGAN v2",
        "a StarGAN v2",
        {
            "generator.from_rgb.weight": (4, 3, 3, 3),
            "generator.decode.0.norm1.fc.weight": (8, 4),
            "mapping_network.shared.0.weight": (4, 4),
        },
    ),
    (
        "AnimeGAN v2",
        "an AnimeGAN",
        {"block_a.0.1.weight": (4, 3, 7, 7), "block_a.0.2.weight": (4,), "out_layer.0.weight": (3, 4, 1, 1)},
    ),
    (
        "Real-ESRGAN",
        "a super-resolution network",
        {
            "params_ema.conv_first.weight": (4, 3, 3, 3),
            "params_ema.body.0.rdb1.conv1.weight": (4, 4, 3, 3),
            "params_ema.conv_last.weight": (3, 4, 3, 3),
        },
    ),
    (
        "ESRGAN",
        "a super-resolution network",
        {"conv_first.weight": (4, 3, 3, 3), "RRDB_trunk.0.RDB1.conv1.weight": (4, 4, 3, 3)},
    ),
    (
        "LoRA, kohya",
        "a LoRA",
        {
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 8),
            "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight": (8, 4),
            "lora_unet_down_blocks_0_attentions_0_proj_in.alpha": (),
        },
    ),
    (
        "LoRA, PEFT",
        "a LoRA",
        {
            "base_model.model.unet.down_blocks.0.attn.to_q.lora_A.weight": (4, 8),
            "base_model.model.unet.down_blocks.0.attn.to_q.lora_B.weight": (8, 4),
        },
    ),
    (
        "ControlNet",
        "a ControlNet",
        {
            "controlnet_cond_embedding.conv_in.weight": (4, 3, 3, 3),
            "time_embedding.linear_1.weight": (8, 4),
            "down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3),
        },
    ),
    (
        "Stable Diffusion",
        "a Stable Diffusion",
        {
            "model.diffusion_model.input_blocks.0.0.weight": (4, 4, 3, 3),
            "first_stage_model.decoder.conv_in.weight": (4, 4, 3, 3),
            "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (8, 4),
        },
    ),
    (
        "diffusers U-Net",
        "a diffusion model of diffusers",
        {
            "conv_in.weight": (4, 4, 3, 3),
            "time_embedding.linear_1.weight": (8, 4),
            "down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3),
        },
    ),
    (
        "diffusers VAE",
        "an autoencoder",
        {
            "encoder.down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3),
            "decoder.up_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3),
            "quant_conv.weight": (8, 8, 1, 1),
        },
    ),
    (
        "FLUX",
        "a diffusion transformer",
        {"img_in.weight": (8, 4), "double_blocks.0.img_attn.qkv.weight": (12, 4)},
    ),
    (
        "guided diffusion",
        "a guided diffusion",
        {
            "time_embed.0.weight": (8, 4),
            "input_blocks.0.0.weight": (4, 3, 3, 3),
            "out.2.weight": (6, 4, 3, 3),
        },
    ),
    (
        "DDPM",
        "a denoising diffusion",
        {"conv_in.weight": (4, 3, 3, 3), "temb.dense.0.weight": (8, 4), "down.0.block.0.norm1.weight": (4,)},
    ),
    (
        "VQGAN",
        "a VQGAN",
        {
            "state_dict.encoder.down.0.block.0.norm1.weight": (4,),
            "state_dict.quantize.embedding.weight": (8, 4),
            "state_dict.decoder.conv_in.weight": (4, 4, 3, 3),
        },
    ),
    ("CLIP", "a CLIP", {"visual.conv1.weight": (4, 3, 8, 8), "transformer.resblocks.0.ln_1.weight": (4,)}),
    ("GPT-2", "a language model", {"wte.weight": (8, 4), "h.0.attn.c_attn.weight": (4, 12)}),
    (
        "Llama",
        "a language model",
        {"model.embed_tokens.weight": (8, 4), "model.layers.0.self_attn.q_proj.weight": (4, 4)},
    ),
    (
        "SegFormer",
        "a segmenter",
        {
            "segformer.encoder.block.0.0.layer_norm_1.weight": (4,),
            "decode_head.classifier.weight": (150, 4, 1, 1),
        },
    ),
    (
        "ViT",
        "a vision transformer",
        {"patch_embed.proj.weight": (4, 3, 8, 8), "blocks.0.attn.qkv.weight": (12, 4)},
    ),
    (
        "ResNet",
        "a ResNet",
        {"conv1.weight": (4, 3, 7, 7), "layer1.0.conv1.weight": (4, 4, 3, 3), "fc.weight": (10, 4)},
    ),
    ("VGG", "a VGG", {"features.0.weight": (4, 3, 3, 3), "classifier.0.weight": (8, 4)}),
    (
        "the published ProGAN encoder",
        "the encoder of a ProGAN",
        {
            "resnet.conv1.weight": (4, 3, 7, 7),
            "resnet.layer5.conv5.bias": (4,),
            "inv4.conv1.weight": (4, 4, 3, 3),
        },
    ),
)


def _nested(shapes: Shapes, wrapper: tuple[str, ...]) -> dict[str, Any]:
    """Tensors, those under a wrapper's name in a dictionary of their own, as they are saved."""
    flat = tensors(shapes)
    found: dict[str, Any] = {name: tensor for name, tensor in flat.items() if not name.startswith(wrapper)}
    for one in wrapper:
        inside = {name[len(one) :]: tensor for name, tensor in flat.items() if name.startswith(one)}
        if inside:
            found[one.rstrip(".")] = inside
    return found


_WRAPPERS = (
    "GAN.",
    "netG.",
    "netD.",
    "state_dict.",
    "params_ema.",
    "model_state_dict.",
    "g.",
    "d.",
    "g_ema.",
)
_OTHERS = (
    ("class-conditional StyleGAN2", "class-conditional StyleGAN2", lambda: nvidia_weights(conditional=True)),
    ("StyleGAN2, residual", "residual connections", lambda: nvidia_weights(skip=True)),
    ("gray StyleGAN2", "gray pictures, of 1 channel", lambda: {"g_ema": stylegan2_weights(rgb=1)}),
    (
        "StyleGAN2 with transparency",
        "4 channels, with transparency",
        lambda: {"g_ema": stylegan2_weights(rgb=4)},
    ),
    ("StyleGAN2 of six channels", "pictures of 6 channels", lambda: {"g_ema": stylegan2_weights(rgb=6)}),
    ("StyleGAN-Human, oblong", "oblong pictures", lambda: {"g_ema": stylegan2_weights(height=8)}),
    (
        "an incomplete StyleGAN2",
        "'convs.1.activate.bias' is missing",
        lambda: without("convs.1.activate", stylegan2_weights()),
    ),
    ("two generators", "several generators", lambda: {"A": progan_weights(), "B": progan_weights()}),
    (
        "an unknown network",
        "neither to a ProGAN nor to a StyleGAN2",
        lambda: tensors({"first.weight": (3, 3)}),
    ),
    ("an empty dictionary", "neither to a ProGAN nor to a StyleGAN2", dict),
    ("a list", "not a dictionary of tensors", lambda: [1, 2]),
)


# --- other files ---


class Whole(nn.Module):
    """A network that was saved whole, with ``torch.save(model)``."""


def _bytes(name: str, data: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def _script(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have it exported
        torch.jit.script(nn.Linear(2, 2)).save(str(folder / "network.pt"))  # type: ignore[no-untyped-call]
    return folder / "network.pt"


def _folder(inside: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "network").mkdir()
        (folder / "network" / inside).write_text("{}")
        return folder / "network"

    return write


_FILES = (
    Case("TorchScript", _script, "a TorchScript program"),
    Case("ONNX", _bytes("network.onnx", b"\x08\x07\x12\x07pytorch\x1a\x051.0:\x00"), "an ONNX graph"),
    Case("ONNX, renamed", _bytes("network.pth", b"\x08\x07\x12\x07pytorch\x1a\x051.0:\x00"), "an ONNX graph"),
    Case("Keras", _bytes("network.h5", b"\x89HDF\r\n\x1a\n" + bytes(32)), "an HDF5 file"),
    Case("TensorFlow checkpoint", _bytes("model.ckpt.index", b"\0\0" + bytes(30)), "a TensorFlow checkpoint"),
    Case("TensorFlow data", _bytes("model.ckpt.data-00000-of-00001", bytes(32)), "a TensorFlow checkpoint"),
    Case(
        "Git LFS pointer",
        _bytes("a.pt", b"version https://git-lfs.github.com/spec/v1\n"),
        "a Git LFS pointer",
    ),
    Case("a web page", _bytes("a.pt", b"<!DOCTYPE html><title>Google Drive</title>"), "a web page"),
    Case("a picture", _bytes("photo.png", b"\x89PNG\r\n\x1a\n" + bytes(40)), "a picture, not a network"),
    Case("settings", _bytes("config.json", b'{"z_dim": 512}'), "settings, not weights"),
    Case("GGUF", _bytes("a.gguf", b"GGUF" + bytes(20)), "a GGUF file"),
    Case("packed", _bytes("a.pth.gz", b"\x1f\x8b" + bytes(20)), "a gzip archive"),
    Case("a pipeline of diffusers", _folder("model_index.json"), "a pipeline of diffusers"),
    Case("a folder", _folder("notes.txt"), "holds other files"),
    Case("a whole network", saved(Whole), "Whole'), as a whole pickled object"),
    Case("an NVIDIA pickle", _bytes("a.pkl", b"\x80\x04}."), "a pickle"),
    Case("a truncated file", _bytes("a.pt", b"PK\x03\x04" + bytes(50)), "damaged"),
)


def wrong_with(case: Case, folder: Path) -> str | None:
    """Return what is wrong with what becomes of a checkpoint, or ``None``.

    Those that open are generators of 16 px. A refusal is two plain sentences, which name what the file is.
    """
    path = case.write(folder)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            generator = registry.load(path).generator
    except GANPaintError as error:
        if case.says == "":
            return f"was refused: {error}"
        if case.says not in error.message:
            return f"was refused for another reason: {error}"
        plain = "\n" not in str(error) and len(str(error)) < 400 and error.hint.endswith((".", "`"))
        useful = "Install the package again" not in error.hint
        return None if plain and useful else f"was refused in other than plain sentences: {error}"
    except Exception as error:
        return f"ended in {type(error).__name__}: {error}"
    if case.says:
        return "was taken"
    notices = [str(one.message) for one in told]
    if [case.notice in notice for notice in notices] != ([True] if case.notice else []):
        return f"has the warnings {notices}"
    with torch.no_grad():
        shape = tuple(generator(generator.sample_z(1, seed=0)).shape)
    return None if shape == (1, 3, 16, 16) else f"draws pictures of the shape {shape}"


def cases() -> list[Case]:
    """All of them: about eighty, more than fifty of which are layouts of other projects."""
    named = [
        Case(name, saved(lambda shapes=shapes: _nested(shapes, _WRAPPERS)), says)  # type: ignore[misc]
        for name, says, shapes in _LAYOUTS
    ]
    others = [Case(name, saved(make), says) for name, says, make in _OTHERS]
    return [*_OPENING, *named, *others, *_FILES]
