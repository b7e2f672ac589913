"""A budget of divergence on the Gaussian problem: all methods end at it, in the law of the weight that it is worth.

The reward is b·x. A method whose optimum shifts the prior's steps by s_t b/α has trajectories Σ_t |s_t b|²/(2σ_t² α²)
nats from the prior's. The budget is that of α = 1; the methods start with half or twice the weight.
"""

import math
from dataclasses import replace

import pytest
import torch

from bbo_bench.diffusion.dual import LEAST, MOST, POWER, RESPONSE, SPAN, Dual
from bbo_bench.diffusion.finetune import pairs
from bbo_bench.optimizers.draft import DRaFT
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, check, moments, problem, tilting_shifts

B = Linear().b
BACKPROP = {"updates": 300, "batch_size": 128}
METHODS = {
    "sqdf": (
        SQDF,
        {"estimate": "tweedie", "gamma": 1.0, "updates": 400, "batch_size": 512, "rollouts": 64, "rollout_every": 20}
        | {"capacity": 1024, "replay": "random", "on_policy_fraction": None},
    ),
    "draft_full_kl": (DRaFT, BACKPROP | {"K": None, "renoised": 0}),
}
STEPS = 20


def divergence(step, shifts):
    """Nats of steps that are shifted by `shifts` times b."""
    return float((shifts**2 / (2 * step.std**2)).sum() * B.square().sum())


def made(name, budget, **settings):
    method, own = METHODS[name]
    optimizer = method(
        problem(STEPS),
        generator(0),
        proxy=Linear,
        training=TRAINING,
        **{"kl_weight": None, "kl_budget": budget} | own | settings,
    )
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def settled(optimizer):
    optimizer.learn()
    optimizer.training = replace(optimizer.training, learning_rate=optimizer.training.learning_rate / 6)
    optimizer.learn()
    return optimizer


@torch.no_grad()
def spent(optimizer, n=2048):
    """Nats of fresh trajectories."""
    step = optimizer.transition
    states, means = optimizer.paths(n)
    x, k = pairs(states)
    return float(step.kl(k, means.flatten(0, 1), step.mean_by(optimizer.reference, k, x)).sum() / n)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_ends_at_its_budget_in_the_law_of_its_weight(name, factor):
    shifts = tilting_shifts(problem(STEPS).prior.transition)
    budget = divergence(problem(STEPS).prior.transition, shifts)
    optimizer = made(name, budget)
    optimizer.dual._log_weight = torch.tensor(math.log(factor))
    settled(optimizer)
    assert spent(optimizer) == pytest.approx(budget, rel=0.05)
    mean, variance = moments(optimizer.transition, shifts)
    check(optimizer.sample(12_000), mean * B, variance)
    assert optimizer.diagnostics()["kl_weight"] == pytest.approx(1, rel=0.1)


def test_the_weight_rises_above_the_budget_and_falls_below_it():
    for kl, sign in ((50.0, 1), (0.0, -1)):
        dual = Dual(0.5, torch.device("cpu"))
        assert float(dual.weight) == pytest.approx(1.0), "normal rewards are 1/(2α²) nats away"
        for _ in range(50):
            dual.follow(torch.tensor(kl), 50)
        moved = SPAN + POWER * math.log(RESPONSE)
        assert float(dual.weight.log()) == pytest.approx(sign * moved), "so far in a round, and at once"


@pytest.mark.parametrize(("kl", "end"), [(0.0, LEAST), (math.inf, MOST)])
def test_the_weight_has_bounds_and_says_when_the_budget_binds_nothing(kl, end):
    dual = Dual(8.0, torch.device("cpu"))
    for _ in range(100):
        dual.follow(torch.tensor(kl), 5)
    assert dual.diagnostics() == {"kl_weight": pytest.approx(end), "kl_unbound": float(end == LEAST)}


@pytest.mark.parametrize("budget", [0.1, 200.0])
def test_budgets_out_of_proportion_stay_finite(budget):
    optimizer = made("draft_full_kl", budget, updates=10, batch_size=16)
    optimizer.learn()
    assert all(map(math.isfinite, optimizer.diagnostics().values()))


def test_the_state_round_trips():
    first, second = (made("draft_full_kl", 2.0, updates=4, batch_size=16) for _ in range(2))
    first.x = second.x = torch.zeros(0, 2)
    first.learn()
    second.policy.load_weights(first.policy.weights())
    second.dual.load_state_dict(first.dual.state_dict())
    for each in (first, second):
        each.rng.manual_seed(1)
        each.learn()
    assert first.diagnostics() == second.diagnostics()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kl_weight": None, "kl_budget": None}, "expected kl_weight or kl_budget, and null for the other"),
        ({"kl_weight": 0.1, "kl_budget": 2.0}, "got kl_weight=0.1, kl_budget=2.0"),
        ({"kl_weight": None, "kl_budget": 0.0}, "expected kl_budget > 0 nats, got 0.0"),
    ],
)
def test_a_weight_or_a_budget(settings, message):
    with pytest.raises(ValueError, match=message):
        made("sqdf", 1.0, **settings)


def test_losses_that_do_not_say_what_they_spend_have_no_budget():
    class Silent(DRaFT):
        def spend(self, kl):
            pass

    optimizer = Silent(
        problem(STEPS),
        generator(0),
        proxy=Linear,
        training=TRAINING,
        **{"kl_weight": None, "kl_budget": 2.0, "K": None, "renoised": 0, "updates": 2, "batch_size": 16},
    )
    optimizer.y = torch.tensor([-1.0, 1.0])
    with pytest.raises(ValueError, match="Silent knows no kl_budget"):
        optimizer.learn()
