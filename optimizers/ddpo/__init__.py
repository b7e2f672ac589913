"""DDPO: denoising diffusion policy optimization."""

from __future__ import annotations

from bbo_bench.alignment.policy_gradient import PolicyGradient


class DDPO(PolicyGradient):
    """Policy gradient over denoising steps (Black et al. 2024).

    By clipped importance ratios, or, with `clip=None`, by the score function: DDPO-IS, and DDPO-SF.
    """
