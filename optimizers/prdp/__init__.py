"""PRDP: proximal reward difference prediction."""

from __future__ import annotations

from torch import Tensor

from bbo_bench.alignment.preference import PathPairs, differences


class PRDP(PathPairs):
    """Log-ratios of whole trajectories predict the differences of their rewards (Deng et al. 2024).

    The error of a pair is (α (log ρ^a - log ρ^b) - (r_a - r_b))² with log ρ = Σ_t log ρ_t, ρ_t = p_θ/p of x_{t-1} given
    x_t.
    """

    def error(self, ratio: Tensor, reward: Tensor) -> Tensor:
        """See `PathPairs.error`; `n x n`."""
        return differences(self.kl_weight * ratio.sum(1) - reward).square()
