"""SDPO: stepwise diffusion policy optimization."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bbo_bench.alignment.finetune import Rollout
from bbo_bench.alignment.groups import deviations
from bbo_bench.alignment.policy_gradient import PolicyGradient, Steps
from bbo_bench.core import Problem
from bbo_bench.scale import deviation


class SDPO(PolicyGradient):
    """Regression of log-ratio differences on the advantage differences of dense rewards (Zhang et al. 2024).

    Two trajectories of one noise x_T are a pair. A step's reward is that of the posterior mean x̂_0 which it leads to,
    queried at the first, the last and an anchor step and interpolated between them; its return is the discounted mean
    of this reward and all later ones.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        gamma: Discount per denoising step.
        ratio_weight: λ: log-ratio differences are asked to be 1/λ times the advantage differences.
        clip: Ratios outside 1 ± clip give no gradient where the loss is smaller than at the bound.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, gamma: float, ratio_weight: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if self.proxy is None:
            raise ValueError("SDPO scores three posterior means per trajectory by a proxy, got proxy=null")
        if self.transition.steps < 3 or self.samples % 2:
            raise ValueError(f"expected steps >= 3 and even samples, got {self.transition.steps=}, {self.samples=}")
        if not 0 < gamma <= 1 or ratio_weight <= 0 or self.clip >= 1:
            raise ValueError(
                "expected 0 < gamma <= 1, ratio_weight > 0 and 0 < clip < 1, "
                f"got {gamma=}, {ratio_weight=}, clip={self.clip}"
            )
        self.ratio_weight = ratio_weight
        step = torch.arange(self.transition.steps, device=rng.device)
        discount = (gamma ** (step - step[:, None]).clamp(min=0)).triu()
        self.average = discount / discount.sum(1, keepdim=True)

    def start(self, n: int) -> Tensor:
        """See `FineTuner.start`; the second half has the first's noise."""
        return self.prior.noise(n // 2, self.rng).repeat(2, *[1] * len(self.prior.latent_shape))

    def advantages(self, rollout: Rollout, kl: Tensor) -> Tensor:
        """Discounted mean rewards less α times the later KL divergences, standardized for every step, `n x T`."""
        later = kl.flip(1).cumsum(1).flip(1) - kl
        returns = self.dense(rollout) @ self.average.T - self.kl_weight * later
        if self.prompted:
            returns, _ = deviations(returns, self.prompt(rollout.trajectories.x0))
        return self.normalized(returns - returns.mean(0), deviation(returns, 0))

    def dense(self, rollout: Rollout) -> Tensor:
        """Rewards of the posterior means that the steps lead to, `n x T`, of which three are queried, x_0's among them.

        The anchor is the mean that resembles first and last the least. Means in between have interpolated rewards, by
        their cosine distances to the two queried ones around them.
        """
        means = torch.cat([self.estimates(rollout.trajectories)[:, 1:], rollout.trajectories.x0[:, None]], 1)
        unit = nn.functional.normalize(means.flatten(2), dim=2)
        row = torch.arange(len(unit), device=unit.device)
        first, last = cosine_distance(unit, unit[:, 0]), cosine_distance(unit, unit[:, -1])
        anchor = (first + last)[:, 1:-1].argmax(1) + 1
        distance = torch.stack([first, cosine_distance(unit, unit[row, anchor]), last], 2)
        queried = torch.stack([self.reward(means[:, 0]), self.reward(means[row, anchor]), rollout.reward], 1)
        before = (torch.arange(means.shape[1], device=unit.device) > anchor[:, None]).long()
        near, far = (distance.gather(2, around[..., None]).squeeze(2) for around in (before, before + 1))
        share = near / (near + far).clamp(min=1e-12)
        return torch.lerp(queried.gather(1, before), queried.gather(1, before + 1), share)

    def shuffled(self, n: int, device: torch.device) -> Sequence[Tensor]:
        """See `OnPolicy.shuffled`; the steps of a pair come together."""
        return [torch.cat([rows, rows + n // 2]) for rows in super().shuffled(n // 2, device)]

    def loss(self, steps: Steps) -> Tensor:
        """Squared errors of log-ratio differences, plus the KL to the prior; at ratio 1 a policy gradient's."""
        log_ratio, kl = self.log_ratio(steps)
        bounded = log_ratio.clamp(math.log(1 - self.clip), math.log(1 + self.clip))
        error = torch.maximum(self.error(log_ratio, steps), self.error(bounded, steps))
        return error.mean() / (4 * self.ratio_weight) + kl.mean()

    def error(self, log_ratio: Tensor, steps: Steps) -> Tensor:
        """Squared errors of pairs, half as many as steps."""
        first, second = (self.ratio_weight * log_ratio - steps.advantage).chunk(2)
        return (first - second).square()


def cosine_distance(x: Tensor, y: Tensor) -> Tensor:
    """1 - cosine similarity, `n x T`, of `n x T x d` and `n x d` unit vectors; exactly 0 where they are equal."""
    return (x - y[:, None]).square().sum(2) / 2
