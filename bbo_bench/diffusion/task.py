"""Tasks whose folder ships a diffusion prior."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from bbo_bench.core import Task
from bbo_bench.diffusion.codecs import Codec
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.seeding import single_precision

SAMPLERS: dict[str, dict[str, Any]] = {
    "ddpm": {"sampler": "ddpm"},
    "ddim": {"eta": 0.5},
    "score_sde": {"sampler": "score_sde"},
    "flow": {},
}
"""Settings of `Transition`."""


class DiffusionTask(Task):
    """A task with `prior.yaml` and `prior.safetensors` beside its module, made by `bbo-bench prior train`."""

    sampler: str | None = None
    """How the prior and what is made of it are sampled, of `SAMPLERS`; None for what the recipe says.

    `flow` has another prior, a rectified flow, in another folder.
    """

    @abstractmethod
    def training_data(self) -> Tensor:
        """`n x shape` real designs on which the prior is trained."""

    @abstractmethod
    def codec(self, data: Tensor | None = None) -> Codec:
        """What maps designs to latents and back; fitted to `data`, or blank, for weights to be loaded."""

    @cached_property
    def folder(self) -> Path:
        """Where the prior lies: with the task's module; below it where variants have priors of their own."""
        return Path(inspect.getfile(type(self))).parent

    @property
    def recipe(self) -> Path:
        """The folder whose `prior.yaml` says how the prior is made: its own, unless another's will do."""
        return self.folder

    @single_precision()
    def prior(self) -> DiffusionPrior:
        """See `Task.prior`."""
        return DiffusionPrior.load(self.folder, self.codec(), **(SAMPLERS[self.sampler] if self.sampler else {}))


def checked(sampler: str | None) -> str | None:
    """A task's `sampler`.

    Raises:
        ValueError: If there is no such sampler.
    """
    if sampler is not None and sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {sampler!r}")
    return sampler
