"""SEIKO's optimum of every round: the tilted geometric mixture of the prior and the last round's policy.

E[r] - α KL(p ‖ p_0) - β KL(p ‖ p_{i-1}) is -(α + β) KL(p ‖ q) up to a constant, where q is the density of paths
∝ exp(r/(α + β)) p_0^{α/(α+β)} p_{i-1}^{β/(α+β)}. For b·x all of these have the prior's covariance v_0, and q has the
mean v_0 m_i b with m_i = (1 + β m_{i-1}) / (α + β): 1/(α + β) after the first round, 1/α in the end.

Dropping steps at random moves none of the optima below. Let λ be the gradient by x_{t-1} of what comes after a step,
and g that of the step's own divergences by its mean, so that λ + g = 0 at the optimum. With the step's coefficients a
of x_t and b of the output, a kept step passes (a + b J) λ + b J g = a λ on to x_t, whatever the output's Jacobian J; a
dropped one passes on a λ. (The references' Jacobians are 0 in all these cases.)
"""

import pytest
import torch

from bbo_bench.optimizers.seiko import SEIKO
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    bias_slope,
    check,
    moments,
    problem,
    tilting_shifts,
    tuned,
)

STEPS = 20
ALPHA, BETA = 0.75, 0.5


def method(proxy=Linear, budget=(2,), **settings):
    defaults = {"kl_weight": ALPHA, "kl_weight_previous": BETA, "adaptive": True, "updates": 500, "batch_size": 128}
    task = problem(STEPS)
    task = type(task)(task.domain, task.prior, budget)
    made = SEIKO(task, generator(0), proxy=proxy, training=TRAINING, **(defaults | settings))
    made.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return made


def test_the_mixture_of_equal_covariances_has_the_mixed_shifts():
    """What the docstring says of means is true of chains of steps, whose shifts mix as the means do."""
    step = problem(STEPS).prior.transition
    _, variance = moments(step, torch.zeros(STEPS))
    second = (1 + BETA / (ALPHA + BETA)) * tilting_shifts(step, ALPHA + BETA)
    assert moments(step, second) == pytest.approx((variance * (1 + BETA / (ALPHA + BETA)) / (ALPHA + BETA), variance))


@pytest.mark.slow
def test_two_rounds_meet_their_tilted_mixtures_of_a_linear_reward():
    made = method()
    _, variance = moments(made.transition, torch.zeros(STEPS))
    first = 1 / (ALPHA + BETA)
    check(tuned(made), first * variance * Linear().b, variance)
    second = (1 + BETA * first) / (ALPHA + BETA)
    check(tuned(made), second * variance * Linear().b, variance)


@pytest.mark.slow
def test_a_first_round_meets_the_tilted_distribution_of_a_quadratic_reward():
    made = method(Quadratic)
    _, natural = moments(made.transition, torch.zeros(STEPS))
    variance = 1 / (1 / natural + 1 / (ALPHA + BETA))
    check(tuned(made), variance / (ALPHA + BETA) * Quadratic().c, variance)


def test_a_step_keeps_its_gradient_the_more_often_the_later_it_is():
    kept = method(updates=40_000).kept().float()
    assert (kept[:, -1] == 1).all()
    earlier = kept[:, :-1]
    assert torch.allclose(earlier.mean(0), torch.arange(1, STEPS) / (STEPS + 1), atol=0.015)
    assert torch.allclose(earlier.T.corrcoef(), torch.eye(STEPS - 1), atol=0.03)


def test_the_first_gradient_is_that_of_the_kept_steps():
    made = method(updates=1)
    [kept] = method(updates=1).kept()
    [bias] = torch.autograd.grad(next(made.losses()), made.policy.network.out.bias)
    assert torch.allclose(bias, -bias_slope(made.transition, kept) * Linear().b, rtol=1e-4)


def test_without_adaptation_it_learns_from_all_rounds_at_once():
    made = method(budget=(2, 2), adaptive=False, updates=2)
    made.x, made.y = torch.empty(0, 2), torch.empty(0)
    x, y = torch.zeros(2, 2), torch.tensor([-1.0, 1.0])
    made.tell(x, y)
    assert made.diagnostics()["kl"] == 0
    made.tell(x, y)
    assert made.diagnostics()["kl"] > 0


def test_without_adaptation_it_takes_the_updates_of_all_rounds():
    assert len(method(budget=(2, 2, 2), adaptive=False, updates=5).kept()) == 15


@pytest.mark.parametrize(
    ("settings", "got"),
    [({"kl_weight_previous": -1.0}, "got kl_weight_previous=-1.0"), ({"proxy": None}, "SEIKO.*got proxy=null")],
)
def test_settings_out_of_range_are_refused(settings, got):
    with pytest.raises(ValueError, match=f"expected .*{got}"):
        method(**settings)
