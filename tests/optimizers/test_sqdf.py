"""SQDF's known bias: its estimate of x_0 has no spread, so that it overshoots where the reward curves down."""

import pytest
import torch

from bbo_bench.diffusion.transition import Transition
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Quadratic, check, moments, problem, slopes, tuned


def shrinkage(step: Transition) -> torch.Tensor:
    """1 + σ² ā_{t-1} of every step.

    For α = γ = 1 a step's loss |√ā m - c|²/2 + |m - A x|²/2σ² has its minimum at m = (A x + σ² √ā c) / (1 + σ² ā).
    """
    return 1 + step.std**2 * torch.cat([step.alpha_bar[1:], torch.ones(1)])


def optima(step: Transition) -> tuple[float, float, float]:
    """For α = γ = 1 mean, per unit of c, and variance of SQDF's optimum; both of the tilted prior, which are equal."""
    shrink = shrinkage(step)
    mean, variance = moments(step, (step.std**2 * (shrink - 1)).sqrt() / shrink, slopes(step) / shrink)
    _, natural = moments(step, torch.zeros(step.steps))
    return mean, variance, 1 / (1 / natural + 1)


def test_the_numbers_of_the_readme():
    assert optima(problem(50).prior.transition) == pytest.approx((0.595, 0.432, 0.478), abs=5e-4)


@pytest.mark.slow
def test_sqdf_overshoots_a_quadratic_reward_as_derived():
    sqdf = SQDF(
        problem(20),
        generator(0),
        proxy=Quadratic,
        kl_weight=1.0,
        estimate="tweedie",
        gamma=1.0,
        updates=800,
        batch_size=512,
        rollouts=64,
        rollout_every=20,
        capacity=1024,
        replay="random",
        on_policy_fraction=None,
        training=TRAINING,
    )
    mean, variance, tilted = optima(sqdf.transition)
    assert mean > 1.2 * tilted
    check(tuned(sqdf), mean * Quadratic().c, variance)


def test_the_published_divergence_is_a_mean_of_squares():
    """α times the mean over dimensions of Δμ²/σ², without ½, is 2α/d per nat."""
    settings = {
        "proxy": Quadratic,
        "kl_weight": 3.0,
        "estimate": "tweedie",
        "gamma": 1.0,
        "updates": 1,
        "batch_size": 64,
        "rollouts": 8,
        "rollout_every": 1,
        "capacity": 8,
        "replay": "random",
        "on_policy_fraction": None,
        "training": TRAINING,
    }
    published = SQDF(problem(20), generator(0), kl_of_mean=True, **settings)
    step, k = published.transition, torch.arange(20)
    shift = torch.randn(20, 2, generator=generator(1))
    squares = (shift.square() / step.std[:, None] ** 2).mean(1)
    torch.testing.assert_close(published.kl_weight * step.kl(k, shift, 0 * shift), 3 * squares)


SMALL = {
    "kl_weight": 3.0,
    "estimate": "tweedie",
    "gamma": 0.9,
    "updates": 6,
    "batch_size": 64,
    "rollouts": 8,
    "rollout_every": 2,
    "capacity": 1024,
    "replay": "random",
    "on_policy_fraction": None,
    "training": TRAINING,
}


def test_the_discount_is_per_step_of_a_chain_of_fifty():
    assert SQDF(problem(20), generator(0), proxy=Quadratic, **SMALL).gamma == 0.9**2.5


def test_the_divergence_is_from_the_pretrained_prior_in_every_round():
    """In the second round the policy begins away from the prior: without a reward the loss is α KL, not 0."""
    sqdf = SQDF(problem(20), generator(0), proxy=Quadratic, **SMALL)
    tuned(sqdf, 1)
    sqdf.reward = lambda z: 0 * z.sum(1)
    drawn = []
    sqdf.loss = lambda *batch: drawn.append(batch) or SQDF.loss(sqdf, *batch)
    first = float(next(sqdf.losses()).detach())
    [(x, k, _)] = drawn
    step = sqdf.transition
    kl = step.kl(k, step.mean_by(sqdf.policy, k, x), step.mean_by(problem(20).prior.denoiser, k, x))
    assert first == pytest.approx(3 * float(kl.mean().detach())) and first > 1e-3


def test_every_round_begins_with_an_empty_buffer():
    sqdf = SQDF(problem(20), generator(0), proxy=Quadratic, **SMALL)
    buffers, make = [], sqdf.buffer
    sqdf.buffer = lambda: buffers.append(make()) or buffers[-1]
    for _ in range(2):
        tuned(sqdf, 1)
    assert [len(buffer._kept[1]) for buffer in buffers] == [8 * 6 // 2] * 2


def test_rewards_are_the_proxys_optimism_and_predictions_its_mean():
    class Optimistic(Quadratic):
        def __call__(self, z):
            return self.predict(z) + 5

        def predict(self, z):
            return z.sum(1)

    sqdf = SQDF(problem(20), generator(0), proxy=Optimistic, **SMALL)
    sqdf.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    z = torch.randn(8, 2, generator=generator(1))
    torch.testing.assert_close(sqdf.reward(z), z.sum(1) + 5)
    torch.testing.assert_close(sqdf.predict(sqdf.prior.decode(z)), z.sum(1))
