"""VSD: variational search distributions."""

from __future__ import annotations

from bbo_bench.alignment.exceeding import Exceeding
from bbo_bench.alignment.policy_gradient import PolicyGradient


class VSD(Exceeding, PolicyGradient):
    """The law of designs above a threshold, as far as a policy can be it (Steinberg et al. 2025).

    Maximizes E[log P(y > τ | x)] - α KL to the prior, by the score function; with α = 1 the optimum is the prior given
    that y > τ. See `Exceeding` for the threshold, `PolicyGradient` for all else.
    """
