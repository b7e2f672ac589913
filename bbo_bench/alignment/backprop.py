"""What methods share that follow the proxy's gradient through their own sampler: a rollout that is differentiated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint as recomputed

from bbo_bench.alignment.finetune import FineTuner, check_counts
from bbo_bench.core import Problem
from bbo_bench.diffusion.transition import Denoiser


class Backprop(FineTuner):
    """Maximizes E[r(x_0) - α Σ_t KL_t] by the gradient through fresh trajectories, cut at some of their steps.

    A subclass says which steps keep the gradient of their network output. The others are constants to autograd, and
    cost no more than a rollout; what of x_t passes them unchanged still carries a gradient.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        updates: Gradient steps per round.
        batch_size: Trajectories per gradient step.
        hold_all: Whether the KL divergence of the other steps counts too, with a gradient of the step's own output, but
            none in x_t.
        checkpoint: Whether networks are evaluated again in the backward pass, where the activations of all kept steps
            are too large to keep (Chen et al. 2016, arXiv:1604.06174).
        **shared: See `FineTuner`.

    Raises:
        ValueError: If there is no proxy, or a number is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        updates: int,
        batch_size: int,
        hold_all: bool = False,
        checkpoint: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if self.proxy is None:
            raise ValueError(f"expected a proxy, whose gradient {type(self).__name__} follows, got proxy=null")
        check_counts(updates=updates, batch_size=batch_size)
        self.updates, self.batch_size = updates, batch_size
        self.hold_all, self.checkpoint = hold_all, checkpoint

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return self.updates

    @abstractmethod
    def kept(self) -> Tensor:
        """Which steps keep the gradient of their network output, `updates x T` bools, noisiest step first."""

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for kept in self.kept().tolist():
            yield self.loss(kept)

    def loss(self, kept: Sequence[bool]) -> Tensor:
        """Minus the rewards of fresh trajectories, plus the divergence of their steps that are held, a scalar."""
        x0, divergence = self.path(kept)
        return (divergence - self.reward(x0)).mean()

    def references(self) -> list[tuple[float | Tensor, Denoiser]]:
        """What the policy is to stay close to, and the weights of the KL divergences to it."""
        return [(self.kl_weight, self.reference)] if self.regularized else []

    def path(self, kept: Sequence[bool]) -> tuple[Tensor, Tensor]:
        """States after the first `len(kept)` steps, `n x latent_shape`, and the weighted divergences so far, `n`.

        A KL divergence is differentiated in x_t too, through the policy and through what it is compared with: the
        gradient of kept steps is that of the objective, nothing is left out. Under a budget the prior passes the other
        steps too, whose divergence counts.
        """
        transition, references = self.transition, self.references()
        policy, merged = self.policy.composed(), self.policy.merged()
        x = self.start(self.batch_size)
        divergence, spent = x.new_zeros(2, len(x))
        for k, keep in enumerate(kept):
            if keep or (self.hold_all and references):
                known = x if keep else x.detach()
                output = self.output(policy, k, known)
                mean = transition.mean(k, known, output)
                for weight, reference in references:
                    prior = transition.mean(k, known, self.output(reference, k, known))
                    kl = transition.kl(k, mean, prior)
                    divergence = divergence + weight * kl
                    if reference is self.reference:
                        spent = spent + kl.detach()
                mean = self.onward(k, x, mean, output) if keep else transition.mean(k, x, output.detach())
            else:
                with torch.no_grad():
                    output = merged(x, transition.timesteps[k])
                mean = transition.mean(k, x, output)
                if self.dual is not None:
                    with torch.no_grad():
                        spent = spent + transition.kl(k, mean, transition.mean_by(self.reference, k, x))
            x = transition.step(k, mean, self.rng)
        self.spend(spent)
        return x, divergence

    def onward(self, k: int, x: Tensor, mean: Tensor, output: Tensor) -> Tensor:
        """The mean of a kept step as later states follow from it, given x_t and the policy's output: itself."""
        return mean

    def output(self, network: Denoiser, k: int, x: Tensor) -> Tensor:
        """The network's output for `n x latent_shape` x_t, differentiable."""
        if not self.checkpoint:
            return network(x, self.transition.timesteps[k])
        output: Tensor = recomputed(
            network, x, self.transition.timesteps[k], use_reentrant=False, preserve_rng_state=False
        )
        return output
