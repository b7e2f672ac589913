"""RAFT: reward-ranked fine-tuning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.core import Problem
from bbo_bench.diffusion.finetune import check_counts
from bbo_bench.diffusion.matching import Matching

RANKINGS = ("local", "global")


class RAFT(Matching):
    """Fits the policy to the best of its samples, as if they were data (Dong et al. 2023).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        candidates: K, of which one is kept.
        ranking: `local` keeps the best of every K samples, `global` the best 1/K of a whole set.
        **shared: See `Matching`.

    Raises:
        ValueError: If a setting is out of range, or a set has fewer than K samples.
    """

    def __init__(self, problem: Problem, rng: Generator, *, candidates: int, ranking: str, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(candidates=candidates)
        if ranking not in RANKINGS:
            raise ValueError(f"expected ranking to be one of {', '.join(RANKINGS)}, got {ranking=}")
        smallest = self.samples if self.proxy is not None else problem.budget[0]
        if candidates > smallest:
            raise ValueError(f"expected candidates <= {smallest}, the samples of a set, got {candidates=}")
        self.candidates, self.ranking = candidates, ranking

    def weights(self, reward: Tensor) -> Tensor:
        """See `Matching.weights`: alike for what is kept, 0 for all else."""
        groups = len(reward) // self.candidates
        if self.ranking == "global":
            kept = reward.topk(groups).indices
        else:
            best = reward[: groups * self.candidates].reshape(groups, -1).argmax(1)
            kept = best + self.candidates * torch.arange(groups, device=reward.device)
        return torch.zeros_like(reward).index_fill(0, kept, 1 / groups)
