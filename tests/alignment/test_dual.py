"""The weight of a budget, by hand; that it leads to the budget is a law of every method, in `test_kl_budget.py`."""

import math

import pytest
import torch

from bbo_bench.alignment.dual import LEAST, MOST, Dual

CPU = torch.device("cpu")


def test_the_weight_begins_where_normal_rewards_spend_the_budget():
    assert float(Dual(8.0, CPU).weight) == pytest.approx(1 / 4)


def test_the_weight_answers_at_once_by_the_square_of_what_is_spent():
    dual = Dual(8.0, CPU)
    dual.follow(torch.tensor(16.0), 10**9)  # a step so small that the multiplier stays
    assert float(dual.weight) == pytest.approx(4 / 4)
    dual.follow(torch.tensor(1e9), 10**9)  # counts as ten budgets, at a tenth of the average
    assert float(dual.weight) == pytest.approx((0.9 * 2 + 0.1 * 10) ** 2 / 4)


def test_the_multiplier_ascends_by_the_relative_excess():
    dual = Dual(8.0, CPU)
    dual.follow(torch.tensor(12.0), 4)
    assert float(dual.weight) == pytest.approx(math.exp(2 / 4 * 0.5) * 1.5**2 / 4)
    dual = Dual(8.0, CPU)
    dual.follow(torch.tensor(80.0), 4)
    assert float(dual.weight) == pytest.approx(math.exp(2 / 4) * 10**2 / 4), "by a whole step at most"


def test_the_weight_stays_in_its_bounds_and_says_so():
    dual = Dual(8.0, CPU)
    for _ in range(10):
        dual.follow(torch.tensor(0.0), 1)
    assert dual.diagnostics() == pytest.approx({"kl_weight": LEAST, "kl_unbound": 1.0})
    for _ in range(20):
        dual.follow(torch.tensor(1e9), 1)
    assert dual.diagnostics() == pytest.approx({"kl_weight": MOST, "kl_unbound": 0.0})


@pytest.mark.parametrize("budget", [0.0, -1.0, math.inf, math.nan])
def test_a_budget_is_a_number_of_nats(budget):
    with pytest.raises(ValueError, match="expected kl_budget > 0 nats"):
        Dual(budget, CPU)
