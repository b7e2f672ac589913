"""A budget of divergence for samplers that train nothing: α, or N, is what spends it.

For the reward b·x the shifts of α = 1 come to Σ_t σ_t² |s_t b|²/2 nats, where s_t is the slope of the value that a step
looks at; these are the methods' own, and for SVDD and DAS the tilted prior's.
"""

import math

import pytest
import torch

from bbo_bench.alignment.dual import LEAST
from bbo_bench.alignment.steering import chosen_nats
from bbo_bench.optimizers.best_of_n import MOST, BestOfN, nats
from bbo_bench.optimizers.das import DAS
from bbo_bench.optimizers.guidance import Guidance
from bbo_bench.optimizers.svdd import SVDD
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import Linear, check, moments, problem, tilting_shifts, tuned

STEPS, B = 20, Linear().b
METHODS = {
    "guidance": (Guidance, {"scale": None}),
    "svdd": (SVDD, {"proposals": 48}),
    "das": (DAS, {"particles": 16, "tempering": 1e6}),
}


def made(name, budget, **changes):
    method, own = METHODS[name]
    settings = {"proxy": Linear, "batch": 100_000, "kl_weight": None, "kl_budget": budget} | own | changes
    return method(problem(STEPS), generator(0), **settings)


def worth(name):
    """Nats of α = 1, and the shifts that it makes."""
    step = problem(STEPS).prior.transition
    shifts = tilting_shifts(step)
    if name == "guidance":
        optimizer = made(name, None, kl_weight=1.0)
        x = torch.zeros(1, 2)
        shifts = torch.stack(
            [(optimizer.guided(k, x, optimizer.look(k, x, gradient=True)) / B).mean() for k in range(STEPS)]
        )
    return float((shifts**2 / (2 * step.std**2)).sum() * B.square().sum()), shifts


@pytest.mark.parametrize("name", METHODS)
def test_a_sampler_finds_the_weight_that_a_budget_is_worth(name):
    budget, shifts = worth(name)
    optimizer = made(name, budget)
    mean, variance = moments(optimizer.transition, shifts)
    check(tuned(optimizer, 4000), mean * B, variance, shift=0.1)
    assert optimizer.diagnostics()["kl_weight"] == pytest.approx(1, rel=0.1)
    assert optimizer.diagnostics()["kl"] == pytest.approx(budget, rel=0.1)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("budget", [0.1, 200.0])
def test_budgets_out_of_proportion_stay_finite(name, budget):
    optimizer = made(name, budget)
    assert tuned(optimizer, 16).isfinite().all()
    assert all(map(math.isfinite, optimizer.diagnostics().values()))


def test_a_budget_that_is_never_spent_takes_the_least_weight_and_says_so():
    optimizer = made("svdd", 2 * STEPS * math.log(48))
    tuned(optimizer, 16)
    found = optimizer.diagnostics()
    assert found["kl_weight"] == LEAST and found["kl_unbound"] == 1 and found["kl"] < STEPS * math.log(48)


class Saved(Linear):
    def load_state_dict(self, state, device):
        assert state == {}


@pytest.mark.parametrize("name", METHODS)
def test_the_weight_that_was_found_is_part_of_the_state(name):
    first, second = (made(name, 2.0, proxy=Saved) for _ in range(2))
    tuned(first, 1)
    second.load_state_dict(first.state_dict() | {"y": first.y})
    assert second.diagnostics() == first.diagnostics() and second.kl_weight == first.kl_weight


def test_a_choice_spends_what_it_knows():
    assert chosen_nats(torch.zeros(1, 8)) == pytest.approx(0, abs=1e-6)
    assert chosen_nats(torch.tensor([[0.0, -1e3, -1e3, -1e3]])) == pytest.approx(math.log(4))


@pytest.mark.parametrize(("budget", "n"), [(0.1, 1), (0.2, 2), (1.0, 6), (2.0, 19), (4.0, 147), (nats(MOST), MOST)])
def test_the_best_of_as_many_as_a_budget_allows(budget, n):
    optimizer = BestOfN(problem(STEPS), generator(0), proxy=Linear, candidates=None, kl_budget=budget, batch=64)
    assert optimizer.per_design == n and nats(n) <= budget < nats(n + 1)
    assert optimizer.diagnostics()["kl"] == nats(n)


@pytest.mark.parametrize(
    "settings", [{"kl_budget": 1.0}, {"candidates": None}, {"candidates": None, "kl_budget": nats(MOST) + 0.1}]
)
def test_best_of_n_wants_one_of_both_and_a_number_that_can_be_drawn(settings):
    with pytest.raises(ValueError, match="kl_budget"):
        BestOfN(problem(STEPS), generator(0), proxy=Linear, batch=64, **{"candidates": 4} | settings)


@pytest.mark.parametrize("name", METHODS)
def test_a_weight_or_a_budget(name):
    with pytest.raises(ValueError, match="kl_budget"):
        made(name, 1.0, kl_weight=1.0)
    with pytest.raises(ValueError, match="kl_budget"):
        made(name, 0.0)
    with pytest.raises(ValueError, match="kl_budget"):
        made(name, None)


def test_the_nats_of_a_choice_among_n_by_hand():
    assert [nats(n) for n in (1, 2, 32)] == pytest.approx([0, math.log(2) - 1 / 2, math.log(32) - 31 / 32])
