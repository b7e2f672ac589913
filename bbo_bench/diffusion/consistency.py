"""Consistency models: one step from any state of a prior's probability-flow ODE to the end of its trajectory."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialized
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

from bbo_bench.device import limited_threads
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.transition import Transition
from bbo_bench.seeding import generator

FILE = "consistency.safetensors"
CACHE = "BBO_BENCH_CACHE"
"""Environment variable: where models are kept that no task ships; by default `~/.cache/bbo_bench`."""


def consistency_model(prior: DiffusionPrior) -> nn.Module:
    """The network F of the prior's consistency model, frozen: f(x_t, t) is `Transition.denoise` of F's output.

    It is the file that the prior's folder ships, or one in the cache, which is made on first use. Both name the
    weights and the recipe that they were distilled with, and count for these alone.

    Raises:
        ValueError: If there is none, and none can be made.
    """
    digest = fingerprint(prior)
    device = prior.transition.std.device
    cached = cache() / f"consistency-{digest[:32]}-{device.type}.safetensors"
    shipped = [] if prior.folder is None else [prior.folder / FILE]
    found = [file for file in [*shipped, cached] if file.exists() and distilled_from(file) == digest]
    if not found:
        if not prior.distillable:
            raise ValueError("this prior has no consistency model: take its posterior mean, estimate=tweedie, or ddim2")
        with limited_threads(1):  # sums, and so the weights, depend on the number of threads
            save(distill(prior, generator(0, "consistency", device=device)), prior, cached)
    return load(found[0] if found else cached, prior.denoiser)


def distill(prior: DiffusionPrior, rng: Generator) -> nn.Module:
    """Regress f on the ends of trajectories of the probability-flow ODE, by DDIM steps with η = 0.

    f(x_t, t) = c_skip x_t + c_out F(x_t, t) has the coefficients that turn the denoiser's output into the posterior
    mean: √ā_t and -√(1 - ā_t) under v-prediction. So f(x_0, 0) = x_0 whatever F is (Song et al. 2023, eq. 5), and as F
    starts as the denoiser, f starts as the posterior mean. The loss is the error of v, which weighs late steps more.
    """
    recipe = prior.distillation
    teacher = prior.sampler(recipe.steps, eta=0.0)
    net = copy.deepcopy(prior.denoiser).requires_grad_(True)
    optimizer = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
    schedule = CosineAnnealingLR(optimizer, recipe.passes * recipe.steps)
    with tqdm(total=schedule.T_max, desc="distilling the consistency model", unit="update", mininterval=1) as bar:
        for _ in range(recipe.passes):
            x, k, x0 = trajectories(prior, teacher, recipe.trajectories, rng)
            for rows in torch.randperm(len(k), generator=rng, device=k.device).chunk(recipe.steps):
                output = net(x[rows], teacher.timesteps[k[rows]])
                error = (teacher.denoise(k[rows], x[rows], output) - x0[rows]).flatten(1).square().mean(1)
                optimizer.zero_grad()
                torch.autograd.backward((error / (1 - teacher.alpha_bar[k[rows]])).mean())
                optimizer.step()
                schedule.step()
                bar.update()
    return net.requires_grad_(False)


@torch.no_grad()
def trajectories(prior: DiffusionPrior, step: Transition, n: int, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """All states of `n` trajectories from noise, `nT x latent_shape`, their step numbers, and the x_0 they end in."""
    x = prior.noise(n, rng)
    states = [x, *step.walk(prior.denoiser, x, rng)]
    k = torch.arange(step.steps, device=x.device).repeat_interleave(n)
    return torch.cat(states[:-1]), k, states[-1].repeat(step.steps, *[1] * (x.ndim - 1))


def fingerprint(prior: DiffusionPrior) -> str:
    """A digest of all that a consistency model depends on: denoiser, noise schedule and recipe."""
    schedule = {key: value for key, value in prior.scheduler.config.items() if not key.startswith("_")}
    settings = [type(prior.scheduler).__name__, schedule, asdict(prior.distillation)]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, weight in sorted(prior.denoiser.state_dict().items()):
        digest.update(name.encode() + weight.cpu().numpy().tobytes())
    return digest.hexdigest()


def cache() -> Path:
    """The folder of models that are made on first use."""
    return Path(os.environ.get(CACHE) or Path.home() / ".cache" / "bbo_bench")


def save(net: nn.Module, prior: DiffusionPrior, file: Path) -> None:
    """Write a consistency model of the prior in half precision, aside first: other runs may be looking for it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f"{file.name}.{os.getpid()}.part")
    weights = {name: weight.half().cpu() for name, weight in net.state_dict().items()}
    aside.write_bytes(serialized(weights, {"prior": fingerprint(prior)}))
    aside.replace(file)


def distilled_from(file: Path) -> str:
    """The fingerprint of the prior that a file's model was distilled from."""
    with safe_open(file, "pt") as opened:
        return str((opened.metadata() or {}).get("prior"))


def load(file: Path, denoiser: nn.Module) -> nn.Module:
    """The model in a file, a network like the denoiser."""
    net = copy.deepcopy(denoiser)
    net.load_state_dict(load_file(file))
    return net
