"""The generators and an encoder written out in float64, and a generator whose units are known.

Each is one formula after the other, from the state dict.

Imported as ``references`` by tests; ``conftest.py`` makes it known.
"""

from __future__ import annotations

import math

import torch

from ganpaint_widget.models.generator import StagedGenerator, State
from ganpaint_widget.models.stylegan2 import StyleGAN2

Weights = dict[str, torch.Tensor]


# --- ProGAN ---


def progan(weights: Weights, z: torch.Tensor, layers: int, size: int) -> torch.Tensor:
    """ProGAN's forward pass written out in float64, one formula after the other."""

    def normalized(x):
        return x / (x.pow(2).mean(1, keepdim=True) + 1e-8).sqrt()

    x = z.double()[:, :, None, None]
    for n in range(1, layers + 1):
        kernel = weights[f"layer{n}.conv.weight"].double()
        x = normalized(x)
        if n >= 3 and n % 2 == 1:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        x = torch.conv2d(x, kernel, padding=3 if n == 1 else 1)
        x = x * math.sqrt(2) / kernel.shape[-1] / math.sqrt(kernel.shape[1])
        x = x + weights[f"layer{n}.wscale.b"].double()[None, :, None, None]
        x = torch.where(x > 0, x, 0.2 * x)
    kernel = weights[f"output_{size}x{size}.conv.weight"].double()
    x = torch.conv2d(normalized(x), kernel) / math.sqrt(kernel.shape[1])
    return x + weights[f"output_{size}x{size}.wscale.b"].double()[None, :, None, None]


# --- StyleGAN2 ---


def randomized(model: StyleGAN2, seed: int = 0) -> StyleGAN2:
    """Every parameter and buffer as if it had been trained: no bias, no noise strength is left at zero."""
    source = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith(("bias", "noise.weight", "latent_avg")):
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=source))
        elif name.endswith("kernel"):  # another blur than the usual, and not symmetric
            tensor.add_(0.05 * torch.randn(tensor.shape, generator=source))
    return model.eval()


def upfirdn(x: torch.Tensor, kernel: torch.Tensor, up: int, before: int, after: int) -> torch.Tensor:
    """Zeros between the pixels, zeros around them, and a true convolution, by loops over the kernel."""
    channels, height, width = x.shape
    big = torch.zeros(channels, height * up + before + after, width * up + before + after, dtype=x.dtype)
    big[:, before : before + height * up : up, before : before + width * up : up] = x
    rows, columns = kernel.shape
    out = torch.zeros(channels, big.shape[1] - rows + 1, big.shape[2] - columns + 1, dtype=x.dtype)
    for a in range(rows):
        for b in range(columns):
            part = big[:, a : a + out.shape[1], b : b + out.shape[2]]
            out += kernel[rows - 1 - a, columns - 1 - b] * part
    return out


def modulated(d: Weights, at: str, x: torch.Tensor, w: torch.Tensor, demodulate: bool) -> torch.Tensor:
    """The convolution of one picture with its own weights; the first of a resolution doubles the size."""
    affine = d[f"{at}.modulation.weight"]
    style = affine @ w / math.sqrt(affine.shape[1]) + d[f"{at}.modulation.bias"]
    kernel = d[f"{at}.weight"][0]
    kernel = kernel / math.sqrt(kernel[0].numel()) * style[None, :, None, None]
    if demodulate:
        kernel = kernel / (kernel.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if f"{at}.blur.kernel" not in d:
        return torch.conv2d(x[None], kernel, padding=kernel.shape[-1] // 2)[0]
    _, height, width = x.shape
    # Each pixel leaves a stamp of 3 x 3, and the next one's begins two further on.
    spread = torch.zeros(len(kernel), 2 * height + 1, 2 * width + 1, dtype=x.dtype)
    for a in range(3):
        for b in range(3):
            stamps = torch.einsum("oi,ihw->ohw", kernel[:, :, a, b], x)
            spread[:, a : a + 2 * height : 2, b : b + 2 * width : 2] += stamps
    return upfirdn(spread, d[f"{at}.blur.kernel"], 1, 1, 1)


def stylegan2_layer(
    d: Weights, at: str, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    x = modulated(d, f"{at}.conv", x, w, True)
    x = x + d[f"{at}.noise.weight"] * noise + d[f"{at}.activate.bias"][:, None, None]
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def stylegan2(weights: Weights, z: torch.Tensor, blocks: int, psi: float = 1.0) -> torch.Tensor:
    """StyleGAN2's forward pass in float64, from a state dict with the public names."""
    d = {name: tensor.double() for name, tensor in weights.items()}
    pictures = []
    for w in z.double():
        w = w / (w.square().mean() + 1e-8).sqrt()
        n = 1
        while f"style.{n}.weight" in d:
            matrix = d[f"style.{n}.weight"]
            w = matrix @ w * 0.01 / math.sqrt(matrix.shape[1]) + 0.01 * d[f"style.{n}.bias"]
            w = torch.where(w > 0, w, 0.2 * w) * math.sqrt(2)
            n += 1
        w = d["latent_avg"] + psi * (w - d["latent_avg"])
        x = stylegan2_layer(d, "conv1", d["input.input"][0], w, d["noises.noise_0"][0, 0])
        rgb = modulated(d, "to_rgb1.conv", x, w, False) + d["to_rgb1.bias"][0]
        for block in range(blocks - 1):
            for half in (0, 1):
                i = 2 * block + half
                x = stylegan2_layer(d, f"convs.{i}", x, w, d[f"noises.noise_{i + 1}"][0, 0])
            more = modulated(d, f"to_rgbs.{block}.conv", x, w, False) + d[f"to_rgbs.{block}.bias"][0]
            # up 2 with a kernel of 4: padded by 2 before and 1 after, and one zero after the last pixel
            rgb = more + upfirdn(rgb, d[f"to_rgbs.{block}.upsample.kernel"], 2, 2, 1)
        pictures.append(rgb)
    return torch.stack(pictures)


# --- the encoder of the public ProGANs ---


def hybrid_encoder(weights: Weights, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures' z and features of layer 4: a ResNet-18 without its head, and each layer's inverse."""
    d = {name: tensor.double() for name, tensor in weights.items()}

    def conv(at: str, x: torch.Tensor, stride: int = 1, padding: int | None = None) -> torch.Tensor:
        weight = d[f"{at}.weight"]
        found = torch.conv2d(x, weight, None, stride, weight.shape[-1] // 2 if padding is None else padding)
        return found + d[f"{at}.bias"][:, None, None] if f"{at}.bias" in d else found

    def norm(at: str, x: torch.Tensor) -> torch.Tensor:
        scale = d[f"{at}.weight"] / (d[f"{at}.running_var"] + 1e-5).sqrt()
        shift = d[f"{at}.bias"] - d[f"{at}.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def pixel_norm(x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    def leaky(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, 0.2 * x)

    x = norm("resnet.bn1", conv("resnet.conv1", x.double(), 2)).relu()
    x = torch.nn.functional.max_pool2d(x, 3, 2, 1)
    for layer in range(1, 5):
        for block in range(2):
            at, stride = f"resnet.layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            way = norm(f"{at}.bn1", conv(f"{at}.conv1", x, stride)).relu()
            way = norm(f"{at}.bn2", conv(f"{at}.conv2", way))
            if stride == 2:
                x = norm(f"{at}.downsample.1", conv(f"{at}.downsample.0", x, 2))
            x = (x + way).relu()
    features = x = leaky(conv("resnet.layer5.conv5", x))
    for at, stride in (("inv4", 1), ("inv3", 2), ("inv2", 1)):
        x = leaky(norm(f"{at}.bn1", conv(f"{at}.conv1", pixel_norm(x))))
        x = leaky(norm(f"{at}.bn2", conv(f"{at}.conv2", x)))
        if f"{at}.conv3.weight" in d:
            x = conv(f"{at}.conv3", x, stride)
    x = leaky(norm("inv1.bn1", conv("inv1.conv1", pixel_norm(x), padding=0)))
    return pixel_norm(conv("inv1.conv2", x)).flatten(1), features


# --- a generator whose units are known ---


class Boxes(StagedGenerator):
    """Draws a bright box in a random quarter. Unit 0 says where, unit 1 where not, the others are noise."""

    units = 4

    stages = ("where", "draw")
    latent_size = 8
    resolution = 32
    edit_layer = "where"
    fine_layers = ("draw",)

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def start(self, z: torch.Tensor) -> State:
        return State(z)

    def stage(self, name: str, state: State) -> State:
        if name == "draw":
            return State(torch.nn.functional.interpolate(state.features[:, :1], scale_factor=4.0), name)
        features = torch.zeros(len(state.features), self.units, 8, 8)
        for one, z in zip(features, state.features, strict=True):
            source = torch.Generator().manual_seed(int(z.abs().sum() * 1e4))
            one.copy_(torch.randn(self.units, 8, 8, generator=source))
            one[:2] *= 0.1
            quarter = int(z[:4].argmax())
            top, left = 4 * (quarter // 2), 4 * (quarter % 2)
            one[1] += 3
            one[0, top : top + 4, left : left + 4] += 3
            one[1, top : top + 4, left : left + 4] -= 3
        return State(features, name)

    def picture(self, state: State) -> torch.Tensor:
        return (self.gain * state.features[:, :1] / 3 * 2 - 1).expand(-1, 3, -1, -1)


class FollowedBoxes(Boxes):
    """The same with a fifth unit, which follows unit 0."""

    units = 5

    def stage(self, name: str, state: State) -> State:
        after = super().stage(name, state)
        if name == "where":
            after.features[:, 4] = 0.5 * after.features[:, 0] + 0.05 * after.features[:, 4]
        return after


class Brightness(torch.nn.Module):
    classes = ("ground", "box")

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        brightness = 5 * pictures.mean(dim=1)
        return torch.stack([-brightness, brightness], dim=1)

    def segment(self, pictures: torch.Tensor) -> torch.Tensor:
        return self(pictures).argmax(dim=1)

    def features(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        return [pictures[:, :1]]
