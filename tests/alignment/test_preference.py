"""The ELBO in continuous time agrees with the sampler's own, step by step."""

import torch

from bbo_bench.alignment.preference import continuous_elbo
from bbo_bench.testing.gaussian import problem


def test_a_part_of_the_elbo_is_the_steps_kl_but_for_its_length():
    """½ Δā/(1 - ā_t)² against ½ (SNR_{t-1} - SNR_t) = ½ Δā/((1 - ā_{t-1})(1 - ā_t)), where std is not floored."""
    step = problem(200).prior.transition
    share, nats = continuous_elbo(step)
    length = (1 - step.alpha_bar[1:]) / (1 - step.alpha_bar[:-1])
    torch.testing.assert_close((share * nats)[:-2], (step.kl_per_error[:-1] * length)[:-1], rtol=1e-3, atol=1e-6)


def test_the_parts_sum_to_one():
    share, _ = continuous_elbo(problem(20).prior.transition)
    assert abs(float(share.sum()) - 1) < 1e-4
    assert float(share.min()) > 0
