"""Diffusion-DPO: direct preference optimization of a diffusion model."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bbo_bench.alignment.preference import DesignPairs


class DiffusionDPO(DesignPairs):
    """Maximum likelihood of preferences between denoised designs (Wallace et al. 2024, eq. 14), with soft labels.

    KL(label ‖ policy) of the preferences, up to the label's entropy: the cross-entropy of σ((r_a - r_b)/τ) and the
    policy's σ(u), u = (α/τ) (estimate of log p_θ/p at a, minus that at b). At hard labels it is the paper's -log σ(u).
    """

    def divergence(self, logit: Tensor, label: Tensor) -> Tensor:
        """See `DesignPairs.divergence`."""
        return binary_cross_entropy_with_logits(logit, label, reduction="none")
