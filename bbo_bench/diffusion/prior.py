"""DiffusionPrior: a pretrained diffusion model as a generator of natural designs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import torch
import yaml
from hydra.utils import instantiate
from safetensors.torch import load_file, save
from torch import Generator, Tensor, nn

from bbo_bench.core import Prior
from bbo_bench.diffusion.codecs import Codec
from bbo_bench.diffusion.denoisers import Holding
from bbo_bench.diffusion.distillation import Distillation
from bbo_bench.diffusion.likelihood import elbo
from bbo_bench.diffusion.schedules import Scheduler
from bbo_bench.diffusion.transition import Transition
from bbo_bench.plugins import PluginError
from bbo_bench.seeding import generator, seeded, single_precision

WEIGHTS, RECIPE = "prior.safetensors", "prior.yaml"
DDIM = {
    "_target_": "diffusers.schedulers.scheduling_ddim.DDIMScheduler",
    "clip_sample": False,
    "timestep_spacing": "trailing",
}


def read_recipe(folder: Path) -> dict[str, Any]:
    """What `prior.yaml` in a task's folder says.

    Raises:
        PluginError: If there is none.
    """
    if not (folder / RECIPE).exists():
        raise PluginError(
            f"expected {folder / RECIPE}: how the prior is made, written by hand as CONTRIBUTING.md shows; "
            "`bbo-bench prior train task=NAME` makes it then"
        )
    recipe: dict[str, Any] = yaml.safe_load((folder / RECIPE).read_text())
    return recipe


class DiffusionPrior(Prior):
    """A denoiser with the noise schedule and the codec that it was trained with; frozen.

    Args:
        denoiser: Network of `bbo_bench.diffusion.denoisers`.
        codec: Maps designs to latents and back.
        scheduler: Settings of diffusers' `DDIMScheduler`, or of the scheduler that `_target_` names:
            `FlowMatchEulerDiscreteScheduler` for a rectified flow, whose denoiser predicts the velocity ε - x_0.
        sampler: Settings of `Transition`: steps, eta, min_std, sampler.
        consistency: Settings of the `Distillation` of its consistency model, where they differ from the defaults.
        folder: Where a consistency model may lie ready.
        distillable: Whether a consistency model can be made where none lies ready; False for priors of hundreds of
            millions of weights.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        codec: Codec,
        scheduler: dict[str, Any],
        sampler: dict[str, Any],
        consistency: dict[str, Any] | None = None,
        folder: Path | None = None,
        distillable: bool = True,
    ) -> None:
        if codec.given is not None and not isinstance(denoiser, Holding):
            denoiser = Holding(denoiser, codec.given)
        self.denoiser = denoiser.eval().requires_grad_(False)
        self.codec = codec
        self.scheduler: Scheduler = instantiate(scheduler if "_target_" in scheduler else DDIM | scheduler)
        self.transition = Transition(self.scheduler, **sampler, given=codec.given)
        self.latent_shape, self.lossy = codec.latent_shape, codec.lossy
        self.distillation = Distillation(**(consistency or {}))
        self.folder, self.distillable = folder, distillable
        self._settings = (scheduler, sampler, consistency, folder, distillable)

    @property
    def size(self) -> int:
        """How many numbers of a latent are designed: all that are not given."""
        given = self.codec.given
        return self.latent_shape.numel() - (0 if given is None else int(given.sum()))

    @contextmanager
    def drawing(self, contexts: range | Tensor) -> Iterator[None]:
        """Noise and samples are for other prompts, or from other starts, in the meantime; see `Codec.drawing`."""
        with self.codec.drawing(contexts):
            yield

    @contextmanager
    def every_prompt(self) -> Iterator[None]:
        """Noise and samples are for all prompts in the meantime, also those not asked for, if there are such."""
        with self.drawing(range(self.codec.prompts)) if self.codec.prompts else nullcontext():
            yield

    @torch.no_grad()
    @single_precision()
    def sample(self, n: int, rng: Generator, copies: int = 1) -> Tensor:
        """See `Prior.sample`; with `copies`, as many samples of each of `n` contexts as that, one after the other."""
        *_, z = self.transition.walk(self.denoiser, self.noise(n, rng, copies), rng)
        return z

    def sampler(self, steps: int, **changes: float) -> Transition:
        """The same sampler with another number of steps, or with other settings of `Transition` too."""
        settings: dict[str, Any] = {**self._settings[1], **changes, "steps": steps}
        if settings.get("eta", 1) != 1:
            settings["sampler"] = None  # only DDIM has other η
        return Transition(self.scheduler, **settings, given=self.codec.given).to(self.transition.std.device)

    @single_precision()
    def noise(self, n: int, rng: Generator, copies: int = 1) -> Tensor:
        """`n·copies x latent_shape` standard normal latents, where sampling starts.

        Where a part of a latent is given, it is that of `n` contexts, of which each is there `copies` times.
        """
        noise = torch.randn(n * copies, *self.latent_shape, generator=rng, device=rng.device)
        if self.codec.given is None:
            return noise
        return self.transition.held(noise, self.codec.context(n, rng).repeat_interleave(copies, 0))

    @single_precision()
    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        return self.codec.decode(z)

    @single_precision()
    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return self.codec.encode(x)

    @single_precision()
    def elbo(self, z: Tensor) -> Tensor:
        """Denoising ELBO of `n x latent_shape` latents in nats, an `n`-dim tensor."""
        return elbo(self.denoiser, self.transition, z)

    def to(self, device: torch.device) -> Self:
        """See `Prior.to`."""
        moved = type(self)(self.denoiser.to(device), self.codec.moved(device), *self._settings)
        moved.transition = moved.transition.to(device)
        return moved

    def save(self, folder: Path, precision: torch.dtype = torch.float32) -> None:
        """Write the weights of denoiser and codec to `folder`, the denoiser's in `precision`."""
        parts = {"denoiser": self.denoiser.state_dict(), "codec": self.codec.state_dict()}
        parts["denoiser"] = {key: t.to(precision) for key, t in parts["denoiser"].items()}
        tensors = {f"{part}.{key}": t.cpu() for part, weights in parts.items() for key, t in weights.items()}
        (folder / WEIGHTS).write_bytes(save(tensors))  # save_file hides files from other users

    @classmethod
    @single_precision()
    def load(cls, folder: Path, codec: Codec, **sampler: Any) -> Self:
        """The prior that a task's folder ships: `prior.safetensors`, made by the recipe in `prior.yaml`.

        Its sampler has the recipe's settings but for those that are given.
        """
        recipe = read_recipe(folder)
        if not (folder / WEIGHTS).exists():
            raise PluginError(
                f"the prior in {folder} has no weights yet: make them by `bbo-bench prior train task={folder.name}`"
            )
        with seeded(generator(0, "weights")):  # they are replaced below, but their first values are drawn
            denoiser = instantiate(recipe["denoiser"])
        prior = cls(
            denoiser, codec, recipe["scheduler"], recipe["sampler"] | sampler, recipe.get("consistency"), folder
        )
        tensors = load_file(folder / WEIGHTS)
        for part, net in {"denoiser": prior.denoiser, "codec": prior.codec}.items():
            net.load_state_dict({k.removeprefix(f"{part}."): t for k, t in tensors.items() if k.startswith(f"{part}.")})
        return prior
