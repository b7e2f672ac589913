"""AWM: advantage weighted matching."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner, check_counts
from bbo_bench.alignment.policy_gradient import clipped
from bbo_bench.core import Problem, State
from bbo_bench.diffusion.transition import Denoiser
from bbo_bench.scale import deviation

WEIGHTINGS = ("uniform", "elbo")
MAX_LOG_RATIO = 20.0
"""Far beyond any clip, and far below where ratios overflow; beyond it they go on along the tangent."""


class Noised(NamedTuple):
    """`n` latents noised to some steps."""

    x: Tensor
    """`n x latent_shape`: x_t."""
    k: Tensor
    """`n` step numbers."""
    target: Tensor
    """`n x latent_shape`: the network's output that leads back to the latent."""
    advantage: Tensor
    """`n` advantages of the latents."""
    behaviour: Tensor
    """`n` values of ℓ by the policy that the set is of; empty where a set is for one gradient step, and ρ = 1."""


class AWM(FineTuner):
    """Policy gradient that takes the denoising loss for the log-likelihood (Xue et al. 2025).

    With ℓ_θ = -w_t |v_θ(x_t) - v|² of re-noised samples, v the output that leads back to x_0, and ρ = exp(ℓ_θ - ℓ_old),
    the loss is max(-A ρ, -A clip(ρ)) + w_t (α/s |v_θ - v_p|² + β |v_θ - v_ema|²), with the output v_p of the prior and
    v_ema of a moving average of the policy. A = (r - mean)/s is clipped at ±`max_advantage`, then divided by it, as is
    α/s.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        iterations: Sets of samples per round; with oracle rewards every set is all queried designs.
        samples: Fresh samples of the policy per set.
        minibatches: Gradient steps per set.
        timesteps: Noise levels, drawn anew for every set, to which every sample is noised.
        clip: Ratios outside 1 ± clip give no gradient where they would go further.
        max_advantage: Where standardized advantages are clipped.
        weighting: `uniform`, or `elbo`, with which ℓ is the evidence lower bound in nats.
        ema_weight: β. From 1 on, the loss is convex in v_θ however bad a sample is.
        ema_decay: Decay of the moving average per gradient step.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        iterations: int,
        samples: int,
        minibatches: int,
        timesteps: int,
        clip: float,
        max_advantage: float,
        weighting: str,
        ema_weight: float,
        ema_decay: float,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(iterations=iterations, samples=samples, minibatches=minibatches, timesteps=timesteps)
        if min(clip, max_advantage) <= 0 or ema_weight < 0 or not 0 <= ema_decay < 1:
            raise ValueError(
                "expected clip > 0, max_advantage > 0, ema_weight >= 0 and 0 <= ema_decay < 1, "
                f"got {clip=}, {max_advantage=}, {ema_weight=}, {ema_decay=}"
            )
        if weighting not in WEIGHTINGS:
            raise ValueError(f"expected weighting to be one of {', '.join(WEIGHTINGS)}, got {weighting=}")
        self.iterations, self.samples, self.minibatches, self.timesteps = iterations, samples, minibatches, timesteps
        self.clip, self.max_advantage = clip, max_advantage
        step = self.transition
        self.weight = step.kl_per_error * step.steps if weighting == "elbo" else torch.ones_like(step.std)
        self.ema_weight, self.ema_decay = ema_weight, ema_decay
        self.ema = copy.deepcopy(self.policy)

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return self.iterations * self.minibatches

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for _ in range(self.iterations):
            noised = self.noised(*self.scored(self.samples))
            order = torch.randperm(len(noised.k), generator=self.rng, device=noised.k.device)
            for rows in order.chunk(self.minibatches):
                yield self.loss(Noised(*(part[rows] if len(part) else part for part in noised)))
                self.average()

    @torch.no_grad()
    def noised(self, z: Tensor, reward: Tensor) -> Noised:
        """`n x latent_shape` latents with `n` rewards, each noised to some steps."""
        reward = self.comparable(reward, z)
        self.scale = self.max_advantage * (deviation(reward) + 1e-8)
        advantage = ((reward - reward.mean()) / self.scale).clamp(-1, 1).repeat_interleave(self.timesteps)
        z = z.repeat_interleave(self.timesteps, 0)
        k = torch.randint(self.transition.steps, (len(z),), generator=self.rng, device=z.device)
        x = self.transition.noise(k, z, self.prior.noise(len(z), self.rng))
        noised = Noised(x, k, self.transition.target(k, x, z), advantage, z.new_empty(0))
        if self.minibatches == 1:
            return noised
        old = self.output(self.policy.merged(), noised)
        return noised._replace(behaviour=-self.distance(old, noised.target, noised.k))

    def loss(self, noised: Noised) -> Tensor:
        """The loss of a minibatch."""
        output = self.output(self.policy, noised)
        matching = -self.distance(output, noised.target, noised.k)
        behaviour = noised.behaviour if len(noised.behaviour) else matching.detach()
        loss = -clipped(bounded_exp(matching - behaviour), noised.advantage, self.clip)
        if self.regularized:
            prior = self.fixed(self.reference, noised)
            self.spend(self.transition.steps * self.transition.output_kl(noised.k, output, prior))
            loss = loss + self.kl_weight / self.scale * self.distance(output, prior, noised.k)
        if self.ema_weight:
            average = self.fixed(self.ema.merged(), noised)
            loss = loss + self.ema_weight * self.distance(output, average, noised.k)
        return loss.mean()

    def output(self, denoiser: Denoiser, noised: Noised) -> Tensor:
        """A network's output for re-noised latents, of their shape."""
        return denoiser(noised.x, self.transition.timesteps[noised.k])

    @torch.no_grad()
    def fixed(self, denoiser: Denoiser, noised: Noised) -> Tensor:
        """The same without a gradient."""
        return self.output(denoiser, noised)

    def distance(self, output: Tensor, other: Tensor, k: Tensor) -> Tensor:
        """Weighted squared distance of `n x latent_shape` outputs, an `n`-dim tensor."""
        return self.weight[k] * (output - other).flatten(1).square().sum(1)

    @torch.no_grad()
    def average(self) -> None:
        """Move the average policy towards the policy."""
        for mean, weight in zip(self.ema.trainable().values(), self.policy.trainable().values(), strict=True):
            mean.lerp_(weight, 1 - self.ema_decay)

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"ema": self.ema.weights()}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self.ema.load_weights(state["ema"])


def bounded_exp(x: Tensor) -> Tensor:
    """exp(x) to `MAX_LOG_RATIO` and its tangent beyond, where a bad sample's gradient is kept and nothing overflows."""
    return x.clamp(max=MAX_LOG_RATIO).exp() * (1 + (x - MAX_LOG_RATIO).clamp(min=0))
