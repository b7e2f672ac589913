"""Train the diffusion prior of a task on its training data, by the recipe in the task's `prior.yaml`."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from diffusers.training_utils import EMAModel
from hydra.utils import instantiate
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import trange

from bbo_bench.core import Task
from bbo_bench.diffusion.consistency import FILE, distill, load, save
from bbo_bench.diffusion.prior import RECIPE, DiffusionPrior, read_recipe
from bbo_bench.diffusion.schedules import Scheduler, example
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.metrics import naturalness
from bbo_bench.seeding import generator, seeded

LEAST = {"precision": 0.5, "recall": 0.5, "validity": 0.75}
"""Below what share of the training designs' figures a prior is weak."""
MADE = re.compile(r"^made:.*\n?(?:[ \t].*\n?|\n)*", re.MULTILINE)
"""The block `made` of a recipe: its line, and what is indented below it."""

Known = Callable[[Tensor, Generator], Tensor]
"""Draws which numbers of `n x latent_shape` latents a network is shown without noise, and not asked for."""


def fit(
    denoiser: nn.Module,
    scheduler: Scheduler,
    data: Tensor,
    rng: Generator,
    *,
    steps: int,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    ema_decay: float = 0.999,
    jitter: float = 0.0,
    known: Known | None = None,
) -> float:
    """Train `denoiser` in place on `n x latent_shape` latents, and leave its averaged weights in it.

    The squared error of the outputs that `example` gives, over uniform timesteps; AdamW, cosine learning rate,
    exponential moving average of the weights.

    Args:
        denoiser: The network.
        scheduler: Noise schedule with v-prediction, or a rectified flow.
        data: Training latents, on the network's device.
        rng: Generator on that device.
        steps: Number of updates.
        batch_size: Latents per update.
        learning_rate: Initial learning rate; it falls to zero along a cosine.
        weight_decay: Weight decay of AdamW.
        ema_decay: Decay of the averaged weights.
        jitter: Standard deviation of Gaussian noise added to every drawn latent, which smooths a small data set.
        known: For in-painting.

    Returns:
        The mean loss over the last tenth of the updates.
    """
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = CosineAnnealingLR(optimizer, steps)
    average = EMAModel(denoiser.parameters(), decay=ema_decay, use_ema_warmup=True, power=0.75)
    tail = torch.zeros((), device=data.device)
    start_of_tail = steps - math.ceil(steps / 10)
    denoiser.train()
    for update in trange(steps, desc="training the prior", mininterval=1):
        rows = torch.randint(len(data), (batch_size,), generator=rng, device=data.device)
        loss = denoising_loss(denoiser, scheduler, data[rows] + jitter * _randn(data[rows], rng), rng, known)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        average.step(denoiser.parameters())
        if update >= start_of_tail:
            tail += loss.detach()
    average.copy_to(denoiser.parameters())
    denoiser.eval()
    return float(tail) / (steps - start_of_tail)


def denoising_loss(denoiser: nn.Module, scheduler: Scheduler, z: Tensor, rng: Generator, known: Known | None) -> Tensor:
    """Mean squared error of the outputs for `n x latent_shape` latents at uniform timesteps, where nothing is known."""
    i = torch.randint(scheduler.config.num_train_timesteps, (len(z),), generator=rng, device=z.device)
    x, t, target = example(scheduler, z, _randn(z, rng), i)
    if known is None:
        return nn.functional.mse_loss(denoiser(x, t), target)
    shown = known(z, rng)
    error: Tensor = (denoiser(torch.where(shown, z, x), t) - target).square()
    return error.masked_fill(shown, 0).sum() / (~shown).sum()


def train_prior(task: DiffusionTask, name: str, folder: Path | None = None, device: str = "cpu") -> dict[str, Any]:
    """Make the prior of the task `name` by its recipe; write weights and the recipe with its outcome to `folder`.

    Returns:
        The recipe with `made`: command, digest of the data, loss and quality of the prior.
    """
    folder = folder or task.folder
    folder.mkdir(parents=True, exist_ok=True)  # before the work, which a missing folder would lose
    recipe = read_recipe(task.recipe)
    rng = generator(recipe["seed"], "prior", device=device)
    data = task.training_data()
    with seeded(rng):
        denoiser = instantiate(recipe["denoiser"]).to(device)
    codec = task.codec(data)
    prior = DiffusionPrior(denoiser, codec, recipe["scheduler"], recipe["sampler"])
    settings = instantiate(recipe["training"], _convert_="all")
    if codec.given is not None:
        settings["known"] = partial(_given, codec.given.to(device), settings.get("known"))
    prior.denoiser.requires_grad_(True)
    loss = fit(prior.denoiser, prior.scheduler, codec.encode(data).to(device), rng, **settings)
    prior.denoiser.requires_grad_(False)
    prior = prior.to(torch.device("cpu"))
    precision = getattr(torch, recipe.get("precision", "float32"))
    prior.denoiser.load_state_dict({key: t.to(precision) for key, t in prior.denoiser.state_dict().items()})
    with prior.every_prompt():
        x = prior.decode(prior.sample(len(task.reference()), generator(0, "quality")))
    recipe["made"] = {
        "command": f"bbo-bench prior train task={name}",
        "data_sha256": hashlib.sha256(data.numpy().tobytes()).hexdigest(),
        "weights": sum(p.numel() for p in denoiser.parameters()),
        "loss": round(loss, 5),
        "quality": quality(task, x),
    }
    prior.save(folder, precision)
    _write_made((task.recipe / RECIPE).read_text(), recipe["made"], folder)
    return recipe


def distill_prior(task: DiffusionTask, name: str, folder: Path | None = None, device: str = "cpu") -> dict[str, Any]:
    """Make the consistency model of the prior in `folder`, by default that of the task `name`, and write it beside it.

    Returns:
        The recipe with `made.consistency`: command, and the quality of designs made in one step from noise.
    """
    folder = folder or task.folder
    recipe = read_recipe(folder)
    prior = DiffusionPrior.load(folder, task.codec()).to(torch.device(device))
    with prior.every_prompt():
        save(distill(prior, generator(recipe["seed"], "consistency", device=device)), prior, folder / FILE)
    prior = prior.to(torch.device("cpu"))
    with prior.every_prompt():
        z = prior.noise(len(task.reference()), generator(0, "quality"))
    output = load(folder / FILE, prior.denoiser)(z, prior.transition.timesteps[0])
    recipe["made"]["consistency"] = {
        "command": f"bbo-bench prior distill task={name}",
        "quality": quality(task, prior.decode(prior.transition.denoise(0, z, output))),
    }
    _write_made((folder / RECIPE).read_text(), recipe["made"], folder)
    return recipe


def weaknesses(task: DiffusionTask, figures: dict[str, float]) -> list[str]:
    """In what the `quality` of a prior's samples falls far below that of as many training designs, a line each.

    Far is less than the share of theirs that `LEAST` says.
    """
    data, n = task.training_data(), len(task.reference())
    typical = quality(task, data[torch.randperm(len(data), generator=generator(0, "typical"))[:n]])
    return [
        f"{key} is {figures[key]:.3g}, below {share:.0%} of the training designs' {typical[key]:.3g}"
        for key, share in LEAST.items()
        if not figures[key] >= share * typical[key]
    ]


def quality(task: Task, samples: Tensor) -> dict[str, float]:
    """How `n x shape` designs compare with as many held-out ones: Fréchet distance, precision, recall, validity."""
    reference = task.reference()
    features, real = task.features(samples).double(), task.features(reference).double()
    return {
        "frechet": round(naturalness.frechet(features, real), 5),
        "precision": round(naturalness.precision(features, real), 3),
        "recall": round(naturalness.recall(features, real), 3),
        "validity": round(float(task.valid(samples).double().mean()), 3),
        "validity_of_reference": round(float(task.valid(reference).double().mean()), 3),
    }


def _given(given: Tensor, known: Known | None, z: Tensor, rng: Generator) -> Tensor:
    """What a network is always shown, and what a recipe shows it too."""
    always = given.expand_as(z)
    return always if known is None else always | known(z, rng)


def _write_made(text: str, made: dict[str, Any], folder: Path) -> None:
    """Write a recipe to `folder` as it stands in `text`, comments too, but for its block `made`."""
    kept = MADE.sub("", text).rstrip("\n")
    (folder / RECIPE).write_text(f"{kept}\n{yaml.safe_dump({'made': made}, sort_keys=False)}")


def _randn(like: Tensor, rng: Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, device=like.device, dtype=like.dtype)
