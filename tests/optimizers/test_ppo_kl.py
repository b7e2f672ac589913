"""PPO+KL: with the log-ratios of the drawn steps in the reward, the optimum is DDPO's.

E[∇ log p_θ(path) (r - α log p_θ(path)/p(path))] is the gradient of E[r] - α KL(p_θ(path) ‖ p(path)), as E[∇ log p_θ]
is 0; log-ratios of earlier steps drop out, as they do not depend on a step's action. So the optimum is that of DDPO:
the tilted prior for a linear reward, that of `tempering_steps` for the quadratic one.
"""

import pytest
import torch

from bbo_bench.optimizers.ddpo import DDPO
from bbo_bench.optimizers.ppo_kl import PPOKL
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    check,
    moments,
    problem,
    settled,
    tempering_steps,
    tilting_shifts,
    tuned,
)

STEPS = 10


def made(method=PPOKL, **changes):
    settings = {
        "proxy": Linear,
        "kl_weight": 1.0,
        "iterations": 100,
        "samples": 1024,
        "epochs": 1,
        "minibatches": 4,
        "clip": 0.2,
        "max_advantage": 5.0,
        "training": TRAINING,
    }
    optimizer = method(problem(STEPS), generator(0), **settings | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def test_a_linear_reward_tilts_the_prior():
    optimizer = made(iterations=60)
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check(settled(optimizer), mean * Linear().b, variance)


@pytest.mark.slow
def test_a_quadratic_reward_is_met_as_by_ddpo():
    optimizer = made(proxy=Quadratic)
    slope, shift = tempering_steps(optimizer.transition)
    mean, variance = moments(optimizer.transition, shift, slope)
    check(settled(optimizer), mean * Quadratic().c, variance)


def shifted(optimizer):
    """Its policy with an output shifted by a constant, away from the prior."""
    with torch.no_grad():
        optimizer.policy.network.out.bias += torch.tensor([0.5, -0.3])
    return optimizer


def gradient(optimizer, rollout):
    loss = optimizer.loss(optimizer.experience(rollout)) * optimizer.scale
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(optimizer.policy.trainable().values()))])


def test_the_log_ratio_of_a_drawn_step_is_its_kl_on_average():
    optimizer = shifted(made())
    steps = optimizer.experience(optimizer.rollout(20_000))
    step = optimizer.transition
    mean = step.mean_by(optimizer.policy, steps.k, steps.x).detach()
    drawn = optimizer.divergence(steps.k, mean, steps.reference, steps.following).reshape(-1, STEPS)
    exact = step.kl(steps.k, mean, steps.reference).reshape(-1, STEPS)
    error = drawn.std(0) / 20_000**0.5
    assert ((drawn - exact).mean(0).abs() < 4 * error).all()
    assert (drawn.var(0) / (2 * exact.mean(0))).sub(1).abs().max() < 0.1  # log-ratios of normals: variance 2 KL


def test_the_gradient_away_from_the_prior_is_that_of_ddpo():
    """The same expectation from the sampled and the exact divergence, on the same rollout."""
    sampled, exact = shifted(made(kl_weight=0.3)), shifted(made(DDPO, kl_weight=0.3))
    rollout = sampled.rollout(40_000)
    ours, theirs = gradient(sampled, rollout), gradient(exact, rollout)
    assert float(torch.cosine_similarity(ours, theirs, 0)) > 0.98


def test_without_kl_it_is_ddpo():
    ppo, ddpo = made(kl_weight=0.0), made(DDPO, kl_weight=0.0)
    rollout = ppo.rollout(64)
    torch.testing.assert_close(gradient(ppo, rollout), gradient(ddpo, rollout))


def test_without_kl_the_reward_ascends():
    assert float((tuned(made(kl_weight=0.0, iterations=20), 4000) @ Linear().b).mean()) > 0.5


def test_a_clip_out_of_range_is_refused():
    with pytest.raises(ValueError, match="expected clip > 0, got clip=-1"):
        made(clip=-1.0)
