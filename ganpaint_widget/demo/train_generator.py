"""Training of the demo generator: a variational warm-up, then adversarial; resumable.

Two cores see perhaps a hundred thousand pictures an hour, far too few for a GAN from scratch. So the
generator first learns to draw as the decoder of a variational autoencoder, which sees every concept from the
first step and fits z to its normal prior, and then adversarially, which makes its own samples sharp:

* Beside its RGB output the generator has a 1x1 head for label maps, used in training only. Reconstructions
  are judged by mean absolute error, by the activations of a frozen segmenter that was itself fitted to
  scenes, and by cross entropy of the label map.
* The discriminator judges picture and label map together (the label map blurred by noise on both sides),
  with the relativistic pairing loss (Jolicoeur-Martineau 2019; Huang et al. 2024 with R1 and R2):
  ``softplus(-(D(real) - D(fake)))`` for D and the mirror image for G. The gradient penalties R1 and R2 are
  applied every few steps with their weight scaled up (lazy regularisation, Karras et al. 2020).
* Half of each batch of fakes are samples, half reconstructions; one batch serves both steps.
* Each sample must look to the segmenter as its own label map says, so that colours follow the layout.
* Exponential moving average of all weights.

Label maps take part in training, so the units of this generator are not purely emergent: the card says so.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..generators.progan import ProGAN, _Output
from .data import CLASS_COLORS, SceneData, channels_last
from .encoder import Encoder
from .scenes import CLASSES, TRAINING
from .train_segmenter import cached_segmenter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run; ``warm_up`` counts pictures, weights are those of the
    losses."""

    latent_size: int = 256
    channels: tuple[int, ...] = (256, 256, 192, 96, 48)
    scenes: int = 20_000
    teacher_steps: int = 600
    batch: int = 32
    warm_up: int = 52_000
    learning_rate_warm: float = 2.5e-3
    learning_rate: float = 1.2e-3
    divergence: float = 1.5e-4
    perceptual: float = 0.5
    label: float = 0.2
    agreement: float = 0.3
    adversarial: float = 0.1
    penalty: float = 1.0
    penalty_every: int = 8
    label_noise: float = 0.2
    ema: float = 0.996
    seed: int = 0


class Painter(nn.Module):
    """All that draws: the ProGAN, its label head, and the encoder with its spread."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.generator = ProGAN(recipe.latent_size, recipe.channels)
        generator = self.generator
        self.label = _Output(recipe.channels[-1], len(CLASSES))
        self.encoder = Encoder(
            generator.resolution, generator.latent_size, generator.shape(generator.edit_layer)
        )
        self.spread = nn.Linear(self.encoder.latent.in_features, recipe.latent_size)

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B x latent each, float32) of the posterior over z."""
        deep = self.encoder.deep(self.encoder.trunk(pictures))
        return self.encoder.latent(deep).float(), self.spread(deep).float().clamp(-8, 4)

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures B x 3 x R x R and label logits B x K x R x R, float32."""
        state = self.generator.run(self.generator.start(z))
        return self.generator.picture(state).float(), self.label(state.features).float()


class _Conv(nn.Module):
    """A convolution with the equalised learning rate."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, gain: float = math.sqrt(2)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.scale = gain / kernel / math.sqrt(in_channels)
        self.padding = kernel // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class Discriminator(nn.Module):
    """The ProGAN discriminator over picture and label map, at less than half its cost.

    The stem folds 2 x 2 pixels into channels, and each block pools between its two convolutions.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        channels = recipe.channels
        self.stem = _Conv(4 * (3 + len(CLASSES)), channels[-2], 3)
        self.blocks = nn.ModuleList(
            nn.ModuleList([_Conv(wide, wide, 3), _Conv(wide, narrow, 3)])
            for wide, narrow in zip(channels[-2:0:-1], channels[-3::-1], strict=True)
        )
        self.last = _Conv(channels[0] + 1, channels[0], 3)
        self.dense = nn.Linear(channels[0] * 16, channels[0])
        self.score = nn.Linear(channels[0], 1)

    def forward(self, picture: Tensor, label: Tensor) -> Tensor:
        """Scores (B) of pictures B x 3 x R x R with label probabilities B x K x R x R."""
        x = F.pixel_unshuffle(torch.cat([picture, label], dim=1), 2)
        features = F.leaky_relu(self.stem(x.contiguous(memory_format=torch.channels_last)), 0.2)
        for block in self.blocks:
            first, second = block.children()
            features = F.avg_pool2d(F.leaky_relu(first(features), 0.2), 2)
            features = F.leaky_relu(second(features), 0.2)
        # Minibatch standard deviation in groups of four: the mean over everything, as one more plane.
        groups = features.float().view(4, -1, *features.shape[1:])
        spread = (groups.var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
        plane = spread.repeat(4).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).to(features.dtype)
        features = F.leaky_relu(self.last(torch.cat([features, plane], dim=1)), 0.2)
        features = F.leaky_relu(self.dense(features.flatten(1)), 0.2)
        score: Tensor = self.score(features).float().squeeze(1)
        return score


def train(
    folder: Path, recipe: Recipe, *, minutes: float, budget: float = math.inf, log_every: int = 50
) -> None:
    """Train for ``minutes``, or until ``budget`` pictures have been shown in all.

    It goes on from ``folder/checkpoint.pt`` where there is one.

    Writes there: ``checkpoint.pt`` (every five minutes and at the end), ``log.jsonl`` and ``samples-*.png``
    (24 unselected samples of the averaged generator above their label maps, then scenes above their
    reconstructions).
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    painter = channels_last(Painter(recipe))
    average = copy.deepcopy(painter).requires_grad_(False)
    discriminator = channels_last(Discriminator(recipe))
    adam = {"lr": recipe.learning_rate, "betas": (0.0, 0.99), "eps": 1e-8, "fused": True}
    optimise_g = torch.optim.Adam(painter.parameters(), **adam)  # type: ignore[arg-type]
    optimise_d = torch.optim.Adam(discriminator.parameters(), **adam)  # type: ignore[arg-type]
    parts: dict[str, nn.Module | torch.optim.Optimizer] = {
        "painter": painter,
        "average": average,
        "discriminator": discriminator,
        "optimise_g": optimise_g,
        "optimise_d": optimise_d,
    }
    shown, step, spent = 0, 0, 0.0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(stored[name])
        shown, step, spent = stored["shown"], stored["step"], stored["spent"]
        log.info("going on from %d pictures shown", shown)
    size = painter.generator.resolution
    data = SceneData(folder.parent / "scenes", size, TRAINING[: recipe.scenes])
    segmenter = cached_segmenter(
        folder / "teacher.pt", data, steps=recipe.teacher_steps, seed=1234
    ).requires_grad_(False)
    batches = data.batches(recipe.batch, recipe.seed + step)
    watched = next(data.batches(8, 0))[0]

    def save() -> None:
        partial = checkpoint.with_suffix(".partial")
        numbers = {"shown": shown, "step": step, "spent": spent, "recipe": asdict(recipe)}
        torch.save({name: part.state_dict() for name, part in parts.items()} | numbers, partial)
        partial.replace(checkpoint)
        write_samples(average, watched, folder / f"samples-{shown // 1000:05d}k.png")

    def noisy(label: Tensor) -> Tensor:
        return label + recipe.label_noise * torch.randn_like(label)

    started = saved = logged = time.monotonic()
    while time.monotonic() - started < 60 * minutes and shown < budget:
        warm = shown < recipe.warm_up
        for group in optimise_g.param_groups:
            group["lr"] = recipe.learning_rate_warm if warm else recipe.learning_rate
            # Momentum serves regression and hurts the game of two.
            group["betas"] = (0.8, 0.99) if warm else (0.0, 0.99)
        pictures, labels = next(batches)
        pictures = pictures.contiguous(memory_format=torch.channels_last)
        coded = recipe.batch if warm else recipe.batch // 2
        line: dict[str, float] = {}

        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = painter.encode(pictures[:coded])
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            z = torch.cat([z, torch.randn(recipe.batch - coded, recipe.latent_size)])
            fake, logits = painter.draw(z)
            with torch.no_grad():
                seen_real = segmenter.features(pictures[:coded])
            seen = segmenter.features(fake.contiguous(memory_format=torch.channels_last))
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()
        error = (fake[:coded] - pictures[:coded]).abs().mean()
        perceptual = sum(
            ((a[:coded] - b).abs().mean() / b.abs().mean() for a, b in zip(seen, seen_real, strict=True)),
            torch.zeros(()),
        )
        loss = error + recipe.perceptual * perceptual / len(seen) + recipe.divergence * divergence
        loss = loss + recipe.label * F.cross_entropy(logits[:coded], labels[:coded])
        line |= {
            "error": float(error.detach()),
            "perceptual": float(perceptual.detach()),
            "nats": float(divergence.detach()),
        }

        if not warm:
            fake_label = logits.softmax(dim=1)
            real_label = F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()
            with torch.autocast("cpu", torch.bfloat16):
                score_real = discriminator(pictures, noisy(real_label))
                gap = score_real - discriminator(fake.detach(), noisy(fake_label.detach()))
            loss_d = F.softplus(-gap).mean()
            if step % recipe.penalty_every == 0:
                half = recipe.batch // 2
                # The second half: samples, not reconstructions, on the fakes' side.
                for picture, label in ((pictures, real_label), (fake.detach(), fake_label.detach())):
                    inputs = [
                        picture[half:].clone().requires_grad_(),
                        noisy(label[half:]).requires_grad_(),
                    ]
                    with torch.autocast("cpu", torch.bfloat16):
                        score = discriminator(*inputs)
                    gradients = torch.autograd.grad(score.sum(), inputs, create_graph=True)
                    squared = sum(g.float().square().sum(dim=(1, 2, 3)).mean() for g in gradients)
                    loss_d = loss_d + 0.5 * recipe.penalty * recipe.penalty_every * squared
            optimise_d.zero_grad(set_to_none=True)
            loss_d.backward()  # type: ignore[no-untyped-call]
            optimise_d.step()

            discriminator.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16):
                # The real scores are those of before D's step: one forward pass less.
                fooling = F.softplus(score_real.detach() - discriminator(fake, noisy(fake_label))).mean()
                found = segmenter.classify(tuple(x[coded:] for x in seen)).float().log_softmax(dim=1)
            disagreement = -(fake_label[coded:].detach() * found).sum(dim=1).mean()
            loss = loss + recipe.adversarial * fooling + recipe.agreement * disagreement
            discriminator.requires_grad_(True)
            line |= {"gap": float(gap.detach().mean()), "disagreement": float(disagreement.detach())}
        optimise_g.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimise_g.step()

        step += 1
        shown += recipe.batch
        with torch.no_grad():
            # A short memory at the start, so that the first samples are not those of the initial weights.
            keep = min(recipe.ema, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.parameters()), list(painter.parameters()), 1 - keep)
            for old, new in zip(average.buffers(), painter.buffers(), strict=True):
                old.copy_(new)
        now = time.monotonic()
        if step % log_every == 0:
            line |= {"shown": shown, "images_per_s": log_every * recipe.batch / (now - logged)}
            line = {name: round(value, 3) for name, value in line.items()}
            with open(folder / "log.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
            log.info("%s", line)
            logged = now
        if now - saved > 300:
            spent += now - saved
            saved = now
            save()
    spent += time.monotonic() - saved
    save()


@torch.no_grad()
def write_samples(average: Painter, watched: Tensor, path: Path, count: int = 24) -> None:
    """Unselected samples (seed 7) and their label maps, row by row; then scenes and their reconstructions."""
    average.eval()
    picture, logits = average.draw(average.generator.sample_z(count, seed=7))
    drawn, _ = average.draw(average.encode(watched)[0])
    average.train()
    colors = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in CLASS_COLORS.values()]
    palette = torch.tensor(colors).byte()

    def bytes_of(pictures: Tensor) -> Tensor:
        return ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)

    samples, maps = bytes_of(picture), palette[logits.argmax(dim=1)]
    rows = []
    for first in range(0, count, 8):
        rows += [samples[first : first + 8], maps[first : first + 8]]
    rows += [bytes_of(watched), bytes_of(drawn)]
    sheet = Image.fromarray(torch.cat([torch.cat(list(row), dim=1) for row in rows]).numpy())
    scale = max(1, 112 // samples.shape[1])
    sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST).save(path)
