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
  applied every few steps with their weight scaled up (lazy regularization, Karras et al. 2020).
* A second, cheap discriminator reads the frozen segmenter's activations (as Projected GANs do; Sauer et al.
  2021): it judges content from the first step, where pixels teach it slowly.
* A third, tiny one tells encoded latents from drawn ones (as in adversarial autoencoders; Makhzani et al.
  2015): what the encoder leaves empty of the normal prior, samples would fall into.
* A quarter of each batch of fakes are reconstructions, the rest samples; one batch serves both steps.
* Each sample must look to the segmenter as its own label map says, so that colors follow the layout.
* Once grown, classes must be present as often, and cover as much, in samples as in scenes (``Balance``):
  what is a little too frequent fools the discriminators for long.
* Exponential moving average of all weights.
* All that happens at a small ``base`` resolution, where a step costs least. The generator then grows to its
  full size: its new layers alone learn to refine what the others draw, and the whole goes on adversarially.

Label maps take part in training, so the units of this generator are not purely emergent, and a last stage
arranges them (``train_units.py``): the card says so.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..models.encoder import Encoder
from ..models.progan import ProGAN, _Output, pixel_norm
from ..training.data import channels_last
from .data import CLASS_COLORS, SceneData, to_bytes
from .scenes import CLASSES, TRAINING
from .segmenter import WIDTHS as SEGMENTER_WIDTHS
from .train_segmenter import cached_segmenter

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run; ``warm_up``, ``grow`` and ``refine`` count pictures, the
    weights are those of the losses."""

    latent_size: int = 256
    channels: tuple[int, ...] = (256, 256, 192, 96, 48, 24)
    edit_layer: str = "layer6"
    base: int = 64
    scenes: int = 60_000
    teacher_steps: int = 600
    batch: int = 32
    warm_up: int = 52_000
    grow: int = 108_000
    refine: int = 12_000
    learning_rate_warm: float = 2.5e-3
    learning_rate_fresh: float = 1e-2
    learning_rate: float = 1.2e-3
    divergence: float = 1.5e-4
    divergence_later: float = 5e-4
    perceptual: float = 0.5
    label: float = 0.2
    agreement: float = 0.3
    adversarial: float = 0.3
    adversarial_grown: float = 0.6
    adversarial_features: float = 0.3
    adversarial_latent: float = 0.05
    balance: float = 2.0
    penalty: float = 1.0
    penalty_every: int = 12
    label_noise: float = 0.2
    ema: float = 0.996
    seed: int = 0

    @property
    def resolution(self) -> int:
        """Of the finished generator."""
        return 4 << (len(self.channels) - 1)

    def at(self, resolution: int) -> tuple[int, ...]:
        """The channels of the generator when it has this resolution."""
        return self.channels[: len(self.channels) - (self.resolution // resolution).bit_length() + 1]


class Painter(nn.Module):
    """All that draws: the ProGAN, its label head, and the encoder with its spread.

    The label head stays where it was trained, at the base resolution. A painter above that also keeps the RGB
    output of the resolution below, which its new layers are taught by.
    """

    def __init__(self, recipe: Recipe, resolution: int) -> None:
        super().__init__()
        channels = recipe.at(resolution)
        self.generator = ProGAN(recipe.latent_size, channels, recipe.edit_layer)
        generator = self.generator
        base = recipe.at(recipe.base)
        self.label = _Output(base[-1], len(CLASSES))
        self.labeled = f"layer{2 * len(base)}"
        self.coarse = _Output(channels[-2]) if resolution > recipe.base else None
        self.encoder = Encoder(
            generator.resolution,
            generator.latent_size,
            generator.shape(generator.edit_layer),
            fold=resolution // recipe.base,
        )
        self.spread = nn.Linear(self.encoder.latent.in_features, recipe.latent_size)

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B x latent each, float32) of the posterior over z."""
        deep = self.encoder.deep(self.encoder.shared(pictures))
        return self.encoder.latent(deep).float(), self.spread(deep).float().clamp(-8, 4)

    def draw(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures B x 3 x R x R and label logits B x K x base x base, float32."""
        generator = self.generator
        state = generator.run(generator.start(z), until=self.labeled)
        logits = self.label(state.features).float()
        return generator.picture(generator.run(state)).float(), logits

    def draw_refined(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures with a gradient for the newest layers only, and as the layers before drew them."""
        generator = self.generator
        assert self.coarse is not None
        with torch.no_grad():
            state = generator.run(generator.start(z), until=generator.stages[-3])
            coarse = self.coarse(state.features).float()
        return generator.picture(generator.run(state)).float(), coarse


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

    The stem folds pixels into channels down to half the base resolution, and each block pools between its
    two convolutions. Above the base resolution a small branch reads the finer pixels.
    """

    def __init__(self, recipe: Recipe, resolution: int) -> None:
        super().__init__()
        channels = recipe.at(recipe.base)
        self.fold = 2 * resolution // recipe.base
        self.stem = _Conv(self.fold**2 * 3 + 4 * len(CLASSES), channels[-2], 3)
        self.fine = None
        if resolution > recipe.base:
            first, second = _Conv(3 * (self.fold // 2) ** 2, 32, 3), _Conv(32, 48, 3)
            silent = _Conv(48, channels[-2], 3)
            nn.init.zeros_(silent.weight)
            relu = nn.LeakyReLU(0.2)
            self.fine = nn.Sequential(first, relu, second, relu, nn.AvgPool2d(2), silent)
        self.blocks = nn.ModuleList(
            nn.ModuleList([_Conv(wide, wide, 3), _Conv(wide, narrow, 3)])
            for wide, narrow in zip(channels[-2:0:-1], channels[-3::-1], strict=True)
        )
        self.last = _Conv(channels[0] + 1, channels[0], 3)
        self.dense = nn.Linear(channels[0] * 16, channels[0])
        self.score = nn.Linear(channels[0], 1)

    def forward(self, picture: Tensor, label: Tensor) -> Tensor:
        """Scores (B) of pictures B x 3 x R x R with label probabilities B x K x base x base."""
        folded = [F.pixel_unshuffle(picture, self.fold), F.pixel_unshuffle(label, 2)]
        features = self.stem(torch.cat(folded, dim=1).contiguous(memory_format=torch.channels_last))
        if self.fine is not None:
            finer = F.pixel_unshuffle(picture, self.fold // 2)
            features = features + self.fine(finer.contiguous(memory_format=torch.channels_last))
        features = F.leaky_relu(features, 0.2)
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


class FeatureDiscriminator(nn.Module):
    """Judges pictures by a frozen segmenter's activations at four scales: one small network a scale.

    Activations are divided by their root mean square on real pictures, which the first call measures.
    """

    def __init__(self, resolution: int, widths: tuple[int, ...], channels: int = 64) -> None:
        super().__init__()
        self.heads = nn.ModuleList()
        for level, width in enumerate(widths):
            self.register_buffer(f"rms{level}", torch.zeros(1, width, 1, 1))
            layers: list[nn.Module] = []
            before, size = width, resolution >> level
            while size > 4:
                layers += [_Conv(before, channels, 3), nn.LeakyReLU(0.2), nn.AvgPool2d(2)]
                before, size = channels, size // 2
            layers += [_Conv(before, channels, 3), nn.LeakyReLU(0.2), _Conv(channels, 1, 1, gain=1)]
            self.heads.append(nn.Sequential(*layers))

    @torch.no_grad()
    def measure(self, features: Sequence[Tensor]) -> None:
        """Take the scale of the activations from these, unless it is known already."""
        for level, x in enumerate(features):
            rms = self.get_buffer(f"rms{level}")
            if not rms.any():
                rms.copy_(x.float().square().mean(dim=(0, 2, 3), keepdim=True).sqrt() + 1e-3)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Scores B x 4 scales x 16 places."""
        scores = [
            head(x / self.get_buffer(f"rms{level}")).float().flatten(1)
            for level, (head, x) in enumerate(zip(self.heads, features, strict=True))
        ]
        return torch.stack(scores, dim=1)


class LatentDiscriminator(nn.Sequential):
    """Scores (B) of latents B x latent; only their direction counts, as in the generator."""

    def __init__(self, latent_size: int, width: int = 512) -> None:
        super().__init__(
            nn.Linear(latent_size, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        )
        self.append(nn.Linear(width, 1))

    def forward(self, z: Tensor) -> Tensor:
        score: Tensor = super().forward(pixel_norm(z))  # type: ignore[no-untyped-call]
        return score.squeeze(1)


class Balance:
    """How often and how large a segmenter sees each class in samples, relative to scenes.

    Per picture and class it takes the area a and, in place of the step from absent to present, a / (a + s),
    whose gradient vanishes nowhere. Areas are counted of nearly decided pixels: undecided ones, of which
    samples have more, would make up for area that no segmenter sees in the end. Means over some 1,600
    pictures say how far samples are off; the loss has the gradient that half the squared relative error would
    have, were a batch as large as that.
    """

    SMALL = 0.003
    KEPT = 0.98
    DECIDED = 3
    """The power of the probabilities."""

    def __init__(self) -> None:
        self.scenes = torch.zeros(2, len(CLASSES))
        self.samples = torch.zeros(2, len(CLASSES))

    def statistics(self, seen: Tensor) -> Tensor:
        """2 x K (area, presence) of class probabilities B x K x H x W."""
        decided = seen**self.DECIDED
        area = (decided / decided.sum(dim=1, keepdim=True)).mean(dim=(2, 3))
        return torch.stack([area.mean(dim=0), (area / (area + self.SMALL)).mean(dim=0)])

    def off(self) -> Tensor:
        """2 x K: relative errors of the samples' means."""
        return self.samples / self.scenes.clamp_min(1e-4) - 1

    def __call__(self, scenes: Tensor, samples: Tensor) -> Tensor:
        """The loss, from class probabilities B x K x H x W of scenes and of samples."""
        of_scenes, of_samples = self.statistics(scenes), self.statistics(samples)
        keep = self.KEPT if self.scenes.any() else 0.0
        self.scenes = keep * self.scenes + (1 - keep) * of_scenes.detach()
        self.samples = keep * self.samples + (1 - keep) * of_samples.detach()
        return (self.off().clamp(-1, 1) * of_samples / self.scenes.clamp_min(1e-4)).sum()


class Players:
    """Everything that learns, at one resolution, with its optimizers."""

    def __init__(self, recipe: Recipe, resolution: int) -> None:
        self.resolution = resolution
        self.painter = channels_last(Painter(recipe, resolution))
        self.average = copy.deepcopy(self.painter).requires_grad_(False)
        self.discriminator = channels_last(Discriminator(recipe, resolution))
        self.connoisseur = channels_last(FeatureDiscriminator(recipe.base, SEGMENTER_WIDTHS))
        self.gatekeeper = LatentDiscriminator(recipe.latent_size)
        adam = {"lr": recipe.learning_rate, "betas": (0.0, 0.99), "eps": 1e-8, "fused": True}
        judges = [
            parameter
            for one in (self.discriminator, self.connoisseur, self.gatekeeper)
            for parameter in one.parameters()
        ]
        self.optimize_g = torch.optim.Adam(self.painter.parameters(), **adam)  # type: ignore[arg-type]
        self.optimize_d = torch.optim.Adam(judges, **adam)  # type: ignore[arg-type]

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {name: part for name, part in vars(self).items() if name != "resolution"}

    def grown(self, recipe: Recipe) -> Players:
        """The same at twice the resolution. The new layers are fresh; all judge the new pictures as they
        judged the old ones, for what read pixels now reads their averages."""
        larger = Players(recipe, 2 * self.resolution)
        for name in ("painter", "average"):
            before, after = getattr(self, name), getattr(larger, name)
            state = before.state_dict()
            output = f"generator.{before.generator.output_name}"
            weight = state["encoder.trunk.0.0.weight"]
            state["encoder.trunk.0.0.weight"] = weight.repeat_interleave(4, dim=1) / 4
            for key in list(state):
                if key.startswith(output):
                    state[key.replace(output, "coarse")] = state.pop(key)
            after.load_state_dict(state, strict=False)
        # The stem's weights: 3 x fold x fold inputs for the picture, then those for the label map.
        state = self.discriminator.state_dict()
        fold, weight = self.discriminator.fold, state["stem.weight"]
        picture, label = weight[:, : 3 * fold**2], weight[:, 3 * fold**2 :]
        picture = picture.unflatten(1, (3, fold, fold)).repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        stem = torch.cat([picture.flatten(1, 3), label], dim=1)
        # The equalised learning rate divides by the number of inputs, which has changed.
        state["stem.weight"] = stem * self.discriminator.stem.scale / larger.discriminator.stem.scale
        larger.discriminator.load_state_dict(state, strict=False)
        larger.connoisseur.load_state_dict(self.connoisseur.state_dict())
        larger.gatekeeper.load_state_dict(self.gatekeeper.state_dict())
        return larger


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
    shown, step, spent = 0, 0, 0.0
    checkpoint = folder / "checkpoint.pt"
    players = Players(recipe, recipe.base)
    if checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        players = Players(recipe, stored["resolution"])
        for name, part in players.parts().items():
            part.load_state_dict(stored[name])
        shown, step, spent = stored["shown"], stored["step"], stored["spent"]
        log.info("going on from %d pictures shown", shown)
    data = SceneData(folder.parent / "scenes", recipe.resolution, TRAINING[: recipe.scenes])
    segmenter = cached_segmenter(
        folder / "teacher.pt", data, size=recipe.base, steps=recipe.teacher_steps, seed=1234
    ).requires_grad_(False)
    batches = data.batches(recipe.batch, recipe.seed + step)
    watched = next(data.batches(8, 0))[0]
    balance = Balance()

    def save() -> None:
        partial = checkpoint.with_suffix(".partial")
        numbers = {"shown": shown, "step": step, "spent": spent, "recipe": asdict(recipe)}
        numbers["resolution"] = players.resolution
        torch.save({name: part.state_dict() for name, part in players.parts().items()} | numbers, partial)
        partial.replace(checkpoint)
        write_samples(
            players.average,
            F.avg_pool2d(watched, recipe.resolution // players.resolution),
            folder / f"samples-{shown // 1000:05d}k.png",
        )

    def noisy(label: Tensor) -> Tensor:
        return label + recipe.label_noise * torch.randn_like(label)

    started = saved = logged = time.monotonic()
    while time.monotonic() - started < 60 * minutes and shown < budget:
        if shown >= recipe.grow and players.resolution < recipe.resolution:
            players = players.grown(recipe)
        painter, discriminator = players.painter, players.discriminator
        connoisseur, gatekeeper = players.connoisseur, players.gatekeeper
        warm = shown < recipe.warm_up
        refining = recipe.grow <= shown < recipe.grow + recipe.refine
        rate = recipe.learning_rate_warm if warm else recipe.learning_rate
        if refining:  # fresh layers have far to go, and then to settle
            rate = recipe.learning_rate_fresh * (1 - 0.9 * (shown - recipe.grow) / recipe.refine)
        for group in players.optimize_g.param_groups:
            group["lr"] = rate
            # Momentum serves regression and hurts the game of two.
            group["betas"] = (0.8, 0.99) if warm or refining else (0.0, 0.99)
        pictures, labels = next(batches)
        shrink = recipe.resolution // players.resolution
        pictures = F.avg_pool2d(pictures, shrink).contiguous(memory_format=torch.channels_last)
        to_base = players.resolution // recipe.base
        labels = labels[:, :: shrink * to_base, :: shrink * to_base]
        coded = recipe.batch if warm else recipe.batch // 4
        line: dict[str, float] = {}

        with torch.autocast("cpu", torch.bfloat16):
            with torch.set_grad_enabled(not refining):
                mean, log_variance = painter.encode(pictures[:coded])
            z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
            z = torch.cat([z, torch.randn(recipe.batch - coded, recipe.latent_size)])
            if refining:
                fake, coarse = painter.draw_refined(z)
            else:
                fake, logits = painter.draw(z)
        error = (fake[:coded] - pictures[:coded]).abs().mean()
        line["error"] = float(error.detach())
        if refining:
            drift = (F.avg_pool2d(fake, 2) - coarse).abs().mean()
            loss = error + drift
            line["drift"] = float(drift.detach())
        else:
            # The segmenter reads what its resolution is: the base one.
            with torch.autocast("cpu", torch.bfloat16):
                with torch.no_grad():
                    seen_real = segmenter.features(F.avg_pool2d(pictures, to_base))
                fake_base = F.avg_pool2d(fake, to_base).contiguous(memory_format=torch.channels_last)
                seen = segmenter.features(fake_base)
            perceptual = sum(
                (
                    (a[:coded] - b[:coded]).abs().mean() / b.abs().mean()
                    for a, b in zip(seen, seen_real, strict=True)
                ),
                torch.zeros(()),
            )
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()
            # Once samples are judged, what z holds must be what a sample's z holds, too.
            weight = recipe.divergence if warm else recipe.divergence_later
            loss = error + recipe.perceptual * perceptual / len(seen) + weight * divergence
            loss = loss + recipe.label * F.cross_entropy(logits[:coded], labels[:coded])
            line |= {"perceptual": float(perceptual.detach()), "nats": float(divergence.detach())}

        if not warm and not refining:
            fake_label = logits.softmax(dim=1)
            real_label = F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()
            connoisseur.measure(seen_real)
            seen_fake = [x.detach() for x in seen]
            with torch.autocast("cpu", torch.bfloat16):
                score_real = discriminator(pictures, noisy(real_label))
                gap = score_real - discriminator(fake.detach(), noisy(fake_label.detach()))
                content_real = connoisseur(seen_real)
                content_gap = content_real - connoisseur(seen_fake)
            drawn_z = torch.randn(coded, recipe.latent_size)
            score_z = gatekeeper(drawn_z)
            loss_d = F.softplus(-gap).mean() + F.softplus(-content_gap).mean()
            loss_d = loss_d + F.softplus(gatekeeper(z[:coded].detach()) - score_z).mean()
            if step % recipe.penalty_every == 0:
                half = recipe.batch // 2
                # The second half: samples, not reconstructions, on the fakes' side.
                for picture, label, features in (
                    (pictures, real_label, seen_real),
                    (fake.detach(), fake_label.detach(), seen_fake),
                ):
                    inputs = [
                        picture[half:].clone().requires_grad_(),
                        noisy(label[half:]).requires_grad_(),
                    ]
                    activations = [x[half:].clone().requires_grad_() for x in features]
                    with torch.autocast("cpu", torch.bfloat16):
                        score = discriminator(*inputs).sum() + connoisseur(activations).mean(dim=(1, 2)).sum()
                    gradients = torch.autograd.grad(score, inputs + activations, create_graph=True)
                    squared = sum(g.float().square().sum(dim=(1, 2, 3)).mean() for g in gradients)
                    loss_d = loss_d + 0.5 * recipe.penalty * recipe.penalty_every * squared
                for latent in (drawn_z, z[:coded].detach().clone()):
                    latent.requires_grad_()
                    (gradient,) = torch.autograd.grad(gatekeeper(latent).sum(), latent, create_graph=True)
                    squared = gradient.square().sum(dim=1).mean()
                    loss_d = loss_d + 0.5 * recipe.penalty * recipe.penalty_every * squared
            players.optimize_d.zero_grad(set_to_none=True)
            loss_d.backward()  # type: ignore[no-untyped-call]
            players.optimize_d.step()

            for judge in (discriminator, connoisseur, gatekeeper):
                judge.requires_grad_(False)
            with torch.autocast("cpu", torch.bfloat16):
                # The real scores are those of before D's step: one forward pass less.
                fooling = F.softplus(score_real.detach() - discriminator(fake, noisy(fake_label))).mean()
                content = F.softplus(content_real.detach() - connoisseur(seen)).mean()
                found = segmenter.classify(tuple(x[coded:] for x in seen)).float().log_softmax(dim=1)
            disagreement = -(fake_label[coded:].detach() * found).sum(dim=1).mean()
            grown = players.resolution > recipe.base
            weight = recipe.adversarial_grown if grown else recipe.adversarial
            loss = loss + weight * fooling + recipe.adversarial_features * content
            if grown:
                with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                    in_scenes = segmenter.classify(seen_real).float().softmax(dim=1)
                loss = loss + recipe.balance * balance(in_scenes, found.exp())
                line["imbalance"] = float(balance.off().abs().mean())
            empty = F.softplus(score_z.detach() - gatekeeper(z[:coded])).mean()
            loss = loss + recipe.agreement * disagreement + recipe.adversarial_latent * empty
            for judge in (discriminator, connoisseur, gatekeeper):
                judge.requires_grad_(True)
            line |= {
                "gap": float(gap.detach().mean()),
                "content_gap": float(content_gap.detach().mean()),
                "latent": float(empty.detach()),
                "disagreement": float(disagreement.detach()),
            }
        players.optimize_g.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        players.optimize_g.step()

        step += 1
        shown += recipe.batch
        with torch.no_grad():
            # A short memory at the start, so that the first samples are not those of the initial weights.
            newly = step if shown < recipe.grow else (shown - recipe.grow) // recipe.batch
            keep = min(recipe.ema, (1 + newly) / (10 + newly))
            average = players.average
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
    palette = np.array(colors, np.uint8)
    times = picture.shape[-1] // logits.shape[-1]
    labels = logits.argmax(dim=1).repeat_interleave(times, 1).repeat_interleave(times, 2)
    samples, maps = to_bytes(picture), palette[labels.numpy()]
    rows = []
    for first in range(0, count, 8):
        rows += [samples[first : first + 8], maps[first : first + 8]]
    rows += [to_bytes(watched), to_bytes(drawn)]
    sheet = Image.fromarray(np.concatenate([np.concatenate(list(row), axis=1) for row in rows]))
    scale = max(1, 112 // samples.shape[1])
    sheet.resize((sheet.width * scale, sheet.height * scale), Image.Resampling.NEAREST).save(path)
