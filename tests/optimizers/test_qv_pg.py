"""QV-PG against DRaFT's gradient, which it is without credit weights, and known gradients with them."""

import pytest
import torch

from bbo_bench.alignment.credit import Decreasing, Similarity, Truncation
from bbo_bench.optimizers.draft import DRaFT
from bbo_bench.optimizers.qv_pg import QVPG
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, Quadratic, check, later_slopes, moments, problem, tuned

STEPS = 20
B = Linear().b


def method(cls=QVPG, proxy=Linear, **settings):
    defaults = {"updates": 1, "batch_size": 128, "training": TRAINING}
    own = {"truncation": Truncation(), "credit": None} if cls is QVPG else {"renoised": 0}
    made = cls(problem(STEPS), generator(0), proxy=proxy, **(defaults | own | settings))
    made.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return made


def first_gradient(made):
    made.rng.manual_seed(0)
    torch.nn.init.normal_(made.policy.network.out.weight, std=0.3, generator=generator(1))
    for p in made.policy.parameters():
        p.grad = None
    torch.autograd.backward(next(made.losses()))
    return [p.grad for p in made.policy.trainable().values()]


@pytest.mark.parametrize(("K", "kl_weight"), [(STEPS, 0.0), (STEPS, 0.5), (3, 0.0)])
def test_without_credit_it_is_plain_truncated_backpropagation(K, kl_weight):
    ours = method(proxy=Quadratic, truncation=Truncation(K, K), kl_weight=kl_weight)
    draft = method(DRaFT, proxy=Quadratic, K=K, kl_weight=kl_weight)
    for got, expected in zip(first_gradient(ours), first_gradient(draft), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_credit_weighs_what_each_output_does_to_x0(checkpoint):
    made = method(truncation=Truncation(4, 4), credit=Decreasing(0.9), checkpoint=checkpoint)
    step = made.transition
    k, one = torch.arange(STEPS), torch.ones(STEPS, 1)
    each = (step.mean(k, 0 * one, one)[:, 0] * later_slopes(step))[-4:]
    weight = 0.9 ** (50 / STEPS * torch.arange(3.0, -1, -1))
    torch.autograd.backward(next(made.losses()))
    *_, bias = (p.grad for p in made.policy.trainable().values())
    torch.testing.assert_close(bias, -(weight / weight.mean() * each).sum() * B, rtol=1e-4, atol=0)


def test_weights_do_not_compound_through_later_steps_of_a_trained_network():
    """Σ_t w_t J_tᵀ g_t: g_t the whole gradient of the reward by the output of step t, J_t its slope by the weights."""
    made = method(proxy=Quadratic, truncation=Truncation(6, 6), credit=Decreasing(0.7))
    got = first_gradient(made)
    made.rng.manual_seed(0)
    step, policy, x = made.transition, made.policy, made.start(made.batch_size)
    outputs, states = [], []
    for k in range(STEPS):
        x = x.detach() if k <= STEPS - 6 else x
        states.append(x)
        outputs.append(policy(x, step.timesteps[k]))
        x = step.step(k, step.mean(k, x, outputs[-1]), made.rng)
    by_output = torch.autograd.grad(-made.reward(x).mean(), outputs[-6:])
    weight = 0.7 ** (50 / STEPS * torch.arange(5.0, -1, -1))
    weight = weight / weight.mean()
    parts = [
        w * (g * policy(x.detach(), step.timesteps[k])).sum()
        for w, g, x, k in zip(weight, by_output, states[-6:], range(STEPS - 6, STEPS), strict=True)
    ]
    for ours, expected in zip(got, torch.autograd.grad(sum(parts), policy.trainable().values()), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


def test_weights_of_1_change_nothing():
    plain, weighed = (
        method(proxy=Quadratic, kl_weight=0.5),
        method(proxy=Quadratic, kl_weight=0.5, credit=Decreasing(1.0)),
    )
    for got, expected in zip(first_gradient(weighed), first_gradient(plain), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_with_kl_it_meets_the_tilted_distribution():
    made = method(updates=400, batch_size=256, kl_weight=1.0)
    _, variance = moments(made.transition, torch.zeros(STEPS))
    check(tuned(made), variance * B, variance)


def test_the_reward_ascends_with_the_credit_of_similarity():
    before = float(Quadratic()(method().sample(2000)).mean())
    z = tuned(method(proxy=Quadratic, updates=50, truncation=Truncation(10, 2), credit=Similarity()), 2000)
    assert float(Quadratic()(z).mean()) > before + 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"truncation": Truncation(21, 1)}, "K <= 20.*first=21"), ({"proxy": None}, "QVPG follows, got proxy=null")],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        method(**settings)
