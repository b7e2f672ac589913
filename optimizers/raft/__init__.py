"""RAFT: reward-ranked fine-tuning."""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import check_counts
from bbo_bench.alignment.matching import Matching
from bbo_bench.core import Problem

RANKINGS = ("local", "global")


class RAFT(Matching):
    """Fits the policy to the best of its samples, as if they were data (Dong et al. 2023).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        candidates: K, of which one is kept; of queried designs, as long as they are fewer, the best one.
        ranking: `local` keeps the best of every K samples, `global` the best 1/K of a whole set.
        **shared: See `Matching`.

    Raises:
        ValueError: If a setting is out of range, or K is above `samples`.
    """

    def __init__(self, problem: Problem, rng: Generator, *, candidates: int, ranking: str, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(candidates=candidates)
        if ranking not in RANKINGS:
            raise ValueError(f"expected ranking to be one of {', '.join(RANKINGS)}, got {ranking=}")
        if self.proxy is not None and candidates > self.samples:
            raise ValueError(f"expected candidates <= {self.samples}, the samples of a set, got {candidates=}")
        self.candidates, self.ranking = candidates, ranking

    def weights(self, reward: Tensor) -> Tensor:
        """See `Matching.weights`: alike for what is kept, 0 for all else."""
        groups = max(len(reward) // self.candidates, 1)
        if self.ranking == "global":
            kept = reward.topk(groups).indices
        else:
            best = reward[: groups * self.candidates].reshape(groups, -1).argmax(1)
            kept = best + self.candidates * torch.arange(groups, device=reward.device)
        return torch.zeros_like(reward).index_fill(0, kept, 1 / groups)
