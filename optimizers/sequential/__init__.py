"""Sequential: reinforcement learning, preferences and regression by turns, on one policy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner, Phase, Tuned, check_counts
from bbo_bench.core import Problem
from bbo_bench.metrics.diversity import pairwise

JUDGED = 256
"""Fresh samples by which a block is judged."""
SURE = 1.645
"""Standard errors that a fall of their mean reward is certain beyond, at 95% on one side."""


class Sequential(Tuned):
    """Cycles through phases, each to convergence, all on the LoRA weights of one policy (Huh and Mohapatra 2025).

    A phase is another method. It descends its losses in blocks, one round's worth of them each, and has converged when
    the mean reward of fresh samples has grown by less than `tolerance` in a block, or `blocks` are done. A block after
    which samples are less than `narrowest` as far apart as the prior's, or their mean reward has fallen by more than
    `tolerance` and more than chance, is taken back, and the phase goes on at half its learning rate; after `cuts` of
    these it ends. The samples before and after a block are of the same noise, and are compared one by one.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        phases: The methods by name, in their order; they use this optimizer's proxy.
        passes: How often per round they are gone through.
        blocks: Most blocks of a phase.
        tolerance: In prior standard deviations of the score.
        narrowest: Least mean distance of samples, as a share of the prior's.
        cuts: Most cuts of the learning rate in a phase.
        **shared: See `Generative`; `diversity` is the entropy term, in the rewards of all phases.

    Raises:
        ValueError: If a setting is out of range, or there is no proxy.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        phases: Mapping[str, Phase],
        passes: int,
        blocks: int,
        tolerance: float,
        narrowest: float,
        cuts: int,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(phases=len(phases), passes=passes, blocks=blocks)
        if self.proxy is None:
            raise ValueError("blocks are judged by a proxy's rewards: expected a proxy, got proxy=null")
        if tolerance < 0 or not 0 <= narrowest < 1 or cuts < 0:
            raise ValueError(
                f"expected tolerance >= 0, 0 <= narrowest < 1 and cuts >= 0, got {tolerance=}, {narrowest=}, {cuts=}"
            )
        self.phases = [
            make(problem, rng, proxy=lambda: self.proxy, diversity=self.diversity) for make in phases.values()
        ]
        ranks = [phase.training.lora_rank for phase in self.phases]
        if len(set(ranks)) > 1:
            raise ValueError(f"expected one lora_rank for all phases, as they train one policy, got {ranks}")
        self.policy = self.phases[0].policy
        for phase in self.phases:
            phase.policy = self.policy
        self.passes, self.blocks, self.tolerance = passes, blocks, tolerance
        self.narrowest, self.cuts = narrowest, cuts

    def sample(self, n: int) -> Tensor:
        """Fresh samples of the policy."""
        return self.phases[0].sample(n)

    def learn(self) -> None:
        """Go through the phases; the numbers are blocks, how many were taken back, and the KL to the prior."""
        least = self.narrowest * spread(self.prior.sample(JUDGED, self.rng))
        done, undone = 0, 0
        for phase in self.phases * self.passes:
            phase.follow(self)
            blocks, cuts = self.converge(phase, least)
            done, undone = done + blocks, undone + cuts
        self._numbers = {"blocks": float(done), "cuts": float(undone), "kl": float(self.phases[0].path_kl())}

    def converge(self, phase: FineTuner, least: float) -> tuple[int, int]:
        """Go on with a phase until it has converged; how many blocks it took, and how many were taken back.

        Args:
            phase: The method.
            least: Mean distance of samples at which the policy counts as collapsed.
        """
        training, done, cuts = phase.training, 0, 0
        while done < self.blocks and cuts <= self.cuts:
            done += 1
            before = {name: weight.clone() for name, weight in self.policy.weights().items()}
            noise = self.rng.get_state()
            reward, _ = self.judged()
            phase.training = replace(training, learning_rate=training.learning_rate / 2**cuts)
            phase.descend()
            outcome, distance = self.judged(noise)
            gain, error = paired(reward, outcome)
            if distance < least or gain < -max(self.tolerance, SURE * error):
                self.policy.load_weights(before)
                cuts += 1
            elif gain < self.tolerance:
                break
        phase.training = training
        return done, cuts

    @torch.no_grad()
    def judged(self, noise: Tensor | None = None) -> tuple[Tensor, float]:
        """Rewards of `JUDGED` samples, and their mean distance.

        Args:
            noise: State of the generator that they are drawn with; None draws on.
        """
        onward = self.rng.get_state()
        if noise is not None:
            self.rng.set_state(noise)
        z = self.sample(JUDGED)
        if noise is not None:
            self.rng.set_state(onward)
        return self.reward(z), spread(z)


def paired(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Mean difference of `n` paired rewards, and its standard error."""
    difference = after - before
    return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))


def spread(z: Tensor) -> float:
    """Mean distance of `n x latent_shape` latents."""
    return pairwise(z.flatten(1))
