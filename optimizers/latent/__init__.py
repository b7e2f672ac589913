"""Search in the prior's noise space, by any optimizer of boxes: designs are where a deterministic sampler leads."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from bbo_bench.archive import places
from bbo_bench.core import Optimizer, Prior, Problem, State, UnsuitableError
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.transition import Denoiser, Transition
from bbo_bench.domains import Box, Captioned

__all__ = ["Latent", "inverted"]

REACH = 5.0
"""Half the side of the box of noise: a normal number is beyond it once in two million."""
ITERATIONS = 3
"""Of the fixed point by which a step is undone."""


class Noise(Prior):
    """Standard normal noise: what a search in it finds natural.

    Args:
        shape: Of a latent.
    """

    def __init__(self, shape: torch.Size) -> None:
        self.latent_shape = shape

    def sample(self, n: int, rng: Generator) -> Tensor:
        """See `Prior.sample`."""
        return torch.randn(n, *self.latent_shape, generator=rng, device=rng.device).clamp(-REACH, REACH)

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        return z

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return x

    def to(self, device: torch.device) -> Noise:
        """See `Prior.to`; there is nothing to move."""
        return self


class Latent(Optimizer):
    """Searches x_T, from which steps without noise lead to a design (η = 0), by an optimizer of a box.

    Round 0's designs are led back to their x_T. What is asked for is brought close to the shell ‖x_T‖ = √d, where
    nearly all noise lies, and off which a denoiser has seen nothing.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        inner: Makes the optimizer that searches the box of noise.
        steps: Of the sampler.
        width: How far from the shell noise may be, in numbers of the latent; None for as far as it likes.

    Raises:
        UnsuitableError: If the problem's prior is no `DiffusionPrior`, or designs are made for prompts.
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        inner: Callable[[Problem, Generator], Optimizer],
        steps: int,
        width: float | None,
    ) -> None:
        super().__init__(problem, rng)
        prior = problem.prior
        if not isinstance(prior, DiffusionPrior):
            raise UnsuitableError(
                f"{type(self).__name__} searches a DiffusionPrior's noise, got {type(prior).__name__}"
            )
        if isinstance(problem.domain, Captioned):
            raise UnsuitableError(
                f"{type(self).__name__} ships designs of an archive, which has none for prompts never asked for"
            )
        if steps < 1 or (width is not None and width <= 0):
            raise ValueError(f"expected steps >= 1 and width > 0 or null, got {steps=}, {width=}")
        self.prior, self.width = prior, width
        self.transition = prior.sampler(steps, eta=0.0)
        edge = torch.full(prior.latent_shape, REACH, device=rng.device)
        self.inner = inner(Problem(Box(-edge, edge), Noise(prior.latent_shape), problem.budget), rng)
        self._asked: tuple[Tensor, Tensor] | None = None

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        noise = self.near(self.inner.ask(n))
        self._asked = self.made(noise), noise
        return self._asked[0]

    def tell(self, x: Tensor, y: Tensor) -> None:
        """See `Optimizer.tell`; the noise of designs that it has not asked for, as round 0's, is found."""
        if self._asked is None:
            noise = self.found(x)
        else:
            asked, of = self._asked
            at = places(x, asked)
            noise = of[at]
            if (other := at < 0).any():
                noise[other] = self.found(x[other])
        self._asked = None
        self.inner.tell(noise, y)

    def recommend(self, n: int) -> Tensor:
        """See `Optimizer.recommend`."""
        return self.made(self.near(self.inner.recommend(n)))

    def predict(self, x: Tensor) -> Tensor | None:
        """See `Optimizer.predict`."""
        return self.inner.predict(self.found(x))

    def near(self, noise: Tensor) -> Tensor:
        """`n x latent_shape` noise within `width` of the shell, and in the box."""
        if self.width is None:
            return noise
        radius = noise.flatten(1).norm(dim=1)
        shell = math.sqrt(noise[0].numel())
        factor = radius.clamp(shell - self.width, shell + self.width) / radius.clamp(min=1e-12)
        scaled: Tensor = noise * factor.reshape(-1, *[1] * (noise.ndim - 1))
        return scaled.clamp(-REACH, REACH)

    @torch.no_grad()
    def made(self, noise: Tensor) -> Tensor:
        """`n x shape` designs of `n x latent_shape` noise."""
        *_, z = self.transition.walk(self.prior.denoiser, noise, self.rng)
        return self.prior.decode(z)

    def found(self, x: Tensor) -> Tensor:
        """`n x latent_shape` noise that leads to `n x shape` designs, or close to them."""
        noise = inverted(self.prior.denoiser, self.transition, self.prior.encode(x))
        return self.near(noise.clamp(-REACH, REACH))

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return self.inner.state_dict()

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        self.inner.load_state_dict(state)

    def diagnostics(self) -> dict[str, float]:
        """What the search in noise says of itself."""
        return self.inner.diagnostics()


@torch.no_grad()
def inverted(denoiser: Denoiser, step: Transition, z: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """`n x latent_shape` noise from which steps without noise lead to `z`, by a fixed point for every step.

    A step x_{t-1} = a x_t + b v(x_t) is undone by x_t ← (x_{t-1} - b v(x_t)) / a, from x_{t-1} on.
    """
    for k in range(step.steps - 1, -1, -1):
        a, b = step.on_state[k], step.on_output[k]
        x = z
        for _ in range(iterations):
            x = (z - b * denoiser(x, step.timesteps[k])) / a
        z = x
    return z
