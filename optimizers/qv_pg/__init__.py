"""QV-PG: the gradient of a value through the last denoising steps, with credit weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.backprop import Backprop
from bbo_bench.alignment.credit import Credited
from bbo_bench.alignment.finetune import Trajectories
from bbo_bench.core import Problem
from bbo_bench.diffusion.transition import Denoiser


class QVPG(Credited, Backprop):
    """Ascends E[∇_θ Σ_t w_t Q(x_0(θ))], a deterministic policy gradient through the sampler (Huh and Mohapatra, eq. 9).

    Q is the proxy's reward, or a critic's value of a plan. w_t weighs what the network's weights do to x_0 at step t,
    not the KL of that step; the sum is over the last K steps, before which gradients stop. What passes on through x_t
    to earlier steps is not weighed, so that weights do not compound: with them, a kept step takes two forward passes.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        **shared: See `Credited` and `Backprop`.

    Raises:
        ValueError: If a setting is out of range, or K is above T.
    """

    def __init__(self, problem: Problem, rng: Generator, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        self._states: list[Tensor] = []
        self._weight = torch.ones(0)
        self._own, self._passed = torch.empty(0), torch.empty(0)
        self._frozen: Denoiser = self.reference

    def kept(self) -> Tensor:
        """See `Backprop.kept`: the last K."""
        k = torch.arange(self.transition.steps)
        return (k >= len(k) - self.last).expand(self.updates, -1)

    def loss(self, kept: Sequence[bool]) -> Tensor:
        """See `Backprop.loss`; the backward pass reads the weights, which are known once the path has ended."""
        self._states = []
        self._frozen = self.policy.frozen()
        x0, divergence = self.path(kept)
        if self.credit is not None:
            states = torch.stack([*self._states, x0.detach()], 1)
            late = Trajectories(states, states[:, 1:])
            self._weight = self.credit(late, self.transition.steps)
        return (divergence - self.reward(x0)).mean()

    def output(self, network: Denoiser, k: int, x: Tensor) -> Tensor:
        """See `Backprop.output`; with credit weights, the policy's is the sum of a part by θ and one by x_t."""
        if self.credit is None or network is self.reference:
            return super().output(network, k, x)
        self._own = super().output(network, k, x.detach())
        through = super().output(self._frozen, k, x)
        self._passed = through - through.detach()
        return self._own + self._passed

    def onward(self, k: int, x: Tensor, mean: Tensor, output: Tensor) -> Tensor:
        """See `Backprop.onward`: what comes back to the network's weights is weighed."""
        if self.credit is None:
            return mean
        place = len(self._states)
        self._states.append(x.detach())
        weighed = self._own.view_as(self._own)

        def weigh(gradient: Tensor) -> Tensor:
            return gradient * self._weight[:, place].reshape(-1, *[1] * (x.ndim - 1))

        weighed.register_hook(weigh)  # type: ignore[no-untyped-call]
        return self.transition.mean(k, x, weighed + self._passed)
