"""Fine-tuning for two prompts at once, whose designs have different means, and whose rewards -b·x + 0 and b·x + 5.

Every prompt's designs come to its own tilted law: the prior's mean, shifted by -b/α or b/α as a method's law says. A
method that compares designs across prompts would learn nothing of the first one but that it scores less.
"""

from dataclasses import replace

import pytest
import torch

from bbo_bench.optimizers.best_of_n import BestOfN
from bbo_bench.optimizers.das import DAS
from bbo_bench.optimizers.guidance import Guidance
from bbo_bench.optimizers.svdd import SVDD
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    EASE,
    MEANS,
    TRAINING,
    Linear,
    Opposed,
    check,
    moments,
    problem,
    prompted,
    tilting_shifts,
    tuned,
)
from tests.optimizers.test_kl_budget import METHODS

B = Linear().b
PASSES = {"sqdf": (1,)}
"""Fewer than others need, for a test that is no slow one."""
TILTED = [name for name, method in METHODS.items() if method.nats is None and method.on is problem]
"""Methods whose law at α = 1 is a shift; regression has laws of its own, and AWM a network of its own."""


def made(name):
    method = METHODS[name]
    return method.cls(
        prompted(method.steps),
        generator(0),
        proxy=Opposed,
        kl_weight=1.0,
        training=replace(TRAINING, learning_rate=method.learning_rate),
        **method.settings,
    )


def tuned_to_scores(optimizer):
    """The same, with a first round's scores by which rewards are scores, less what a prompt's designs score anyway."""
    optimizer.x = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    optimizer.y = torch.tensor([-1.0, 1.0, -1.0, 1.0]) / 2**0.5 + EASE[[0, 0, 1, 1]]
    return optimizer


def check_prompts(z, mean, variance, within=0.05):
    """Both prompts have as many designs, and each the mean that is its prior's and a shift along b."""
    for sign, usual in zip((-1, 1), MEANS, strict=True):
        own = z[z[:, 2] == sign, :2]
        assert len(own) == len(z) / 2
        check(own - usual, sign * mean * B, variance, shift=within)


def test_the_prior_has_every_prompts_mean():
    prior = prompted().prior
    z = prior.sample(8000, generator(0))
    for sign, mean in zip((-1, 1), MEANS, strict=True):
        check(z[z[:, 2] == sign, :2], mean, moments(prior.transition, 0 * prior.transition.std)[1])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "name", [each if each in PASSES else pytest.param(each, marks=pytest.mark.slow) for each in TILTED]
)
def test_a_fine_tuner_meets_the_tilted_law_of_every_prompt(name):
    optimizer, rate = made(name), METHODS[name].learning_rate
    for part in PASSES.get(name, (1, 4, 16, 16)):
        optimizer.training = replace(optimizer.training, learning_rate=rate / part)
        z = tuned(optimizer)
    step = optimizer.transition
    mean, variance = moments(step, METHODS[name].shifts(step))
    check_prompts(z, mean, variance, 1.5 * METHODS[name].within)  # of half as many designs


@pytest.mark.slow
def test_ddpo_meets_the_tilted_laws_by_a_history_of_each_prompt():
    optimizer, rate = made("ddpo"), METHODS["ddpo"].learning_rate
    optimizer.history = 256
    for part in (1, 4, 16, 16):
        optimizer.training = replace(optimizer.training, learning_rate=rate / part)
        z = tuned(optimizer)
    mean, variance = moments(optimizer.transition, METHODS["ddpo"].shifts(optimizer.transition))
    check_prompts(z, mean, variance, 1.5 * METHODS["ddpo"].within)


def test_advantages_of_ddpo_are_z_scores_of_a_prompts_newest_rewards():
    optimizer = made("ddpo")
    optimizer.history, optimizer.iterations, optimizer.samples = 32, 3, 40
    tuned_to_scores(optimizer)
    seen = []
    before, after = optimizer.rollouts, optimizer.experience

    def rollouts(*counts):
        yield from (seen.append(rollout) or rollout for rollout in before(*counts))

    def experience(rollout):
        steps = after(rollout)
        code = torch.cat([each.trajectories.x0[:, 2] for each in seen])
        reward = torch.cat([each.reward for each in seen])
        for sign in (-1, 1):
            newest, own = reward[code == sign][-32:], rollout.trajectories.x0[:, 2] == sign
            score = (rollout.reward[own] - newest.mean()) / newest.std(unbiased=False)
            first = steps.advantage.reshape(len(own), -1)[own, -1]
            assert torch.allclose(first, score.clamp(-5, 5), atol=1e-4)
        return steps

    optimizer.rollouts, optimizer.experience, optimizer._kl_weight = rollouts, experience, 0.0
    for _ in optimizer.losses():
        pass
    assert len(seen) == 3


@pytest.mark.parametrize("name", ["rwr", "raft", "sft"])
def test_regression_chooses_within_a_prompt(name):
    """The easy prompt's designs are chosen as often as the other's, and the best of each."""
    optimizer = made(name)
    z = tuned_to_scores(optimizer).prior.sample(400, generator(0))
    reward = optimizer.reward(z) + 3 * z[:, 2]
    chances = optimizer.chances(z, reward)
    for code in (-1, 1):
        own = z[:, 2] == code
        assert float(chances[own].sum()) == pytest.approx(0.5)
        assert float(chances[own] @ reward[own]) / 0.5 > float(reward[own].mean())


def test_advantages_of_awm_are_within_a_prompt():
    optimizer = tuned_to_scores(made("awm"))
    z = optimizer.prior.sample(400, generator(0))
    noised = optimizer.noised(z, optimizer.reward(z) + 3 * z[:, 2])
    for code in (-1, 1):
        assert float(noised.advantage[noised.x[:, 2] == code].mean()) == pytest.approx(0, abs=1e-6)


def test_guidance_tilts_every_prompt():
    optimizer = Guidance(prompted(100), generator(0), proxy=Opposed, kl_weight=1.0, scale=None, batch=50_000)
    check_prompts(tuned(optimizer, 8000), 1.0, 1.0)


@pytest.mark.slow
def test_svdd_tilts_every_prompt():
    optimizer = SVDD(prompted(), generator(0), proxy=Opposed, kl_weight=1.0, proposals=48, batch=100_000)
    mean, variance = moments(optimizer.transition, tilting_shifts(optimizer.transition))
    check_prompts(tuned(optimizer, 3000), mean, variance, within=0.1)


def test_particles_of_a_design_are_of_its_prompt():
    optimizer = DAS(
        prompted(), generator(0), proxy=Opposed, kl_weight=1.0, particles=100, tempering=0.008, batch=10_000
    )
    tuned(optimizer, 2)
    x, log_weight = optimizer.population(400)
    assert (x[..., 2].std(1) == 0).all()
    variance = moments(optimizer.transition, torch.zeros(20))[1]
    for sign, usual in zip((-1, 1), MEANS, strict=True):
        own = x[:, 0, 2] == sign
        mean = (log_weight[own].softmax(1)[..., None] * x[own][..., :2]).sum((0, 1)) / own.sum()
        assert torch.allclose(mean - usual, sign * variance * B, rtol=0.1)


def test_the_best_of_n_is_chosen_within_a_prompt():
    optimizer = BestOfN(prompted(), generator(0), proxy=Opposed, candidates=4, batch=50_000)
    variance = moments(optimizer.transition, torch.zeros(20))[1]
    z = tuned(optimizer, 8000)
    for sign, usual in zip((-1, 1), MEANS, strict=True):
        own = z[z[:, 2] == sign, :2]
        assert len(own) == 4000
        best = 1.0294 * variance**0.5 * B / B.norm()  # of four normal numbers the largest is 1.0294 on average
        assert torch.allclose((own.mean(0) - usual) * sign, best, atol=0.05)


def test_few_designs_at_once_are_for_every_prompt_as_often():
    optimizer = SVDD(prompted(4), generator(0), proxy=Opposed, kl_weight=1.0, proposals=3, batch=10)
    z = tuned(optimizer, 11)
    assert sorted(torch.bincount(optimizer.prompt(z)).tolist()) == [5, 6]


def test_rewards_are_standardized_within_a_prompt():
    """What one prompt's designs score anyway is no reward, and what is given has no gradient."""
    optimizer = Guidance(prompted(4), generator(0), proxy=Opposed, kl_weight=1.0, scale=None, batch=10)
    tuned(optimizer, 2)
    z = torch.tensor([[1.0, 2.0, -1.0], [1.0, 2.0, 1.0]], requires_grad=True)
    reward = optimizer.reward(z)
    assert reward.tolist() == pytest.approx([-2.0, 2.0])
    (gradient,) = torch.autograd.grad(reward.sum(), z)
    assert torch.allclose(gradient, torch.tensor([[-1.0, -0.5, 0.0], [1.0, 0.5, 0.0]]))
