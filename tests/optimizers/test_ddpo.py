"""DDPO: its gradient is REINFORCE's and exact, and its optimum holds the KL of all steps.

It maximizes E[r(x_0) - α Σ_t KL_t]. With a linear reward that gives the tilted prior (`test_closed_form`), as
it would without later divergences in the returns. With the quadratic reward it does so only with them: the optimum is
that of `tempering_steps`, the tilted prior but for the fixed width of the steps. DPOK, which leaves them out, ends
elsewhere (`test_dpok`).
"""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from bbo_bench.optimizers.ddpo import DDPO
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    check,
    later_slopes,
    moments,
    problem,
    settled,
    tempering_steps,
    tuned,
)

STEPS = 10
B = Linear().b


def ddpo(**changes):
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
    optimizer = DDPO(problem(STEPS), generator(0), **settings | changes)
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def gradient(optimizer, loss):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(optimizer.policy.trainable().values()))])


def moved(optimizer):
    """The same policy for all, away from the prior."""
    rng = generator(1)
    with torch.no_grad():
        for p in optimizer.policy.trainable().values():
            p += 0.05 * torch.randn(p.shape, generator=rng)
    return optimizer


def reinforce(optimizer, steps):
    """-A log p_θ(x_{t-1} | x_t) + α/s KL(p_θ ‖ p) of all steps, by torch's normal distributions."""
    transition = optimizer.transition
    std = transition.std[steps.k, None]
    policy = Normal(transition.mean_by(optimizer.policy, steps.k, steps.x), std)
    prior = Normal(transition.mean_by(optimizer.reference, steps.k, steps.x), std)
    kl = kl_divergence(policy, prior).sum(1) * optimizer.kl_weight / optimizer.scale
    return (kl - steps.advantage * policy.log_prob(steps.following).sum(1)).mean()


@pytest.mark.parametrize("others", [0, 2])
def test_without_a_proxy_trajectories_have_the_scores_of_their_own_designs(others, monkeypatch):
    """Told in another order, some not at all, and some that nobody asked for."""
    optimizer, learnt_from = ddpo(proxy=None), []
    monkeypatch.setattr(optimizer, "learn", lambda: learnt_from.extend(optimizer.rollouts(1, 1)))
    asked, other = optimizer.ask(10), optimizer.recommend(others)
    optimizer.tell(torch.cat([asked[[7, 2, 9]], other]), torch.tensor([3.0, 1.0, 2.0] + [9.0] * others))
    [rollout] = learnt_from
    assert torch.equal(optimizer.prior.decode(rollout.trajectories.x0), asked[[7, 2, 9]])
    assert rollout.reward.argsort().tolist() == [1, 2, 0]


def test_without_a_proxy_nothing_is_learnt_from_designs_that_nobody_asked_for(monkeypatch):
    optimizer, learnt_from = ddpo(proxy=None), []
    monkeypatch.setattr(optimizer, "learn", lambda: learnt_from.extend(optimizer.rollouts(1, 1)))
    optimizer.ask(10)
    optimizer.tell(optimizer.recommend(10), torch.zeros(10))
    assert not learnt_from


@pytest.mark.parametrize("kl_weight", [0.0, 1.0])
def test_the_surrogates_gradient_at_ratio_1_is_reinforces_and_that_of_the_score_function(kl_weight):
    clipped = moved(ddpo(kl_weight=kl_weight))
    steps = clipped.experience(clipped.rollout(256))
    score = moved(ddpo(kl_weight=kl_weight, clip=None, minibatches=1))
    score.scale = clipped.scale
    expected = gradient(clipped, reinforce(clipped, steps))
    close = {"rtol": 1e-3, "atol": 1e-4 * float(expected.abs().max())}
    torch.testing.assert_close(gradient(clipped, clipped.loss(steps)), expected, **close)
    torch.testing.assert_close(gradient(score, score.loss(steps)), expected, **close)


def exact_gradient(optimizer, n=20_000):
    """∇E[b·x_0] at the prior: x_0 depends on a step's mean by the product of the later slopes, for normal x_t."""
    step = optimizer.transition
    k = torch.arange(STEPS).repeat(n)
    variance = torch.tensor([moments_until(step, i) for i in range(STEPS)])
    x = variance.sqrt()[k, None] * torch.randn(n * STEPS, 2, generator=generator(2))
    return gradient(optimizer, (later_slopes(step)[k] * (step.mean_by(optimizer.policy, k, x) @ B)).sum() / n)


def moments_until(step, end):
    """Variance of the state that step `end` is taken from, under the prior."""
    variance = 1.0
    for k in range(end):
        one = torch.ones(1, 1)
        variance = float(step.mean(k, one, 0 * one)) ** 2 * variance + float(step.std[k]) ** 2
    return variance


@pytest.mark.parametrize("clip", [0.2, None])
def test_without_kl_the_first_gradient_is_the_exact_policy_gradient(clip):
    optimizer = ddpo(kl_weight=0.0, clip=clip, minibatches=1)
    steps = optimizer.experience(optimizer.rollout(20_000))
    ours = -gradient(optimizer, optimizer.loss(steps)) * STEPS * optimizer.scale
    exact = exact_gradient(optimizer)
    assert float(torch.cosine_similarity(ours, exact, 0)) > 0.98
    assert float(ours @ exact / (exact @ exact)) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("clip", "minibatches"), [(0.2, 4), (None, 1)])
def test_without_kl_the_reward_ascends(clip, minibatches):
    optimizer = ddpo(kl_weight=0.0, clip=clip, minibatches=minibatches, iterations=20)
    assert float((tuned(optimizer, 4000) @ B).mean()) > 0.5


@pytest.mark.slow
def test_the_quadratic_reward_is_met_with_the_kl_of_later_steps():
    optimizer = ddpo(proxy=Quadratic)
    slope, shift = tempering_steps(optimizer.transition)
    mean, variance = moments(optimizer.transition, shift, slope)
    check(settled(optimizer), mean * Quadratic().c, variance)


def test_its_optimum_has_the_tilted_priors_mean():
    step = problem(50).prior.transition
    slope, shift = tempering_steps(step)
    mean, variance = moments(step, shift, slope)
    _, natural = moments(step, torch.zeros(step.steps))
    tilted = 1 / (1 / natural + 1)
    assert mean == pytest.approx(tilted, rel=1e-5)
    assert tilted < variance < 1.02 * tilted


def test_the_score_function_is_refused_more_than_one_step_per_rollout():
    with pytest.raises(ValueError, match="set epochs=1 and minibatches=1, or a clip, got epochs=2"):
        ddpo(clip=None, minibatches=1, epochs=2)


def test_a_round_has_a_gradient_step_per_minibatch_pass_and_rollout():
    assert ddpo(iterations=7, epochs=3, minibatches=4).gradient_steps == 84
    assert ddpo(iterations=7, epochs=3, minibatches=4, proxy=None).gradient_steps == 12
