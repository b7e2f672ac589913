"""Best of N along a linear reward has the law of the largest of N normal variables, F^N; across it, the prior's."""

import pytest
import torch
from scipy import stats

from bbo_bench.optimizers.best_of_n import BestOfN
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import Linear, moments, problem, tuned


@pytest.mark.parametrize("candidates", [1, 4, 16])
def test_best_of_n_meets_the_law_of_the_maximum(candidates):
    optimizer = BestOfN(problem(5), generator(0), proxy=Linear, candidates=candidates, batch=50_000)
    _, variance = moments(optimizer.transition, torch.zeros(5))
    z = tuned(optimizer, 5000) / variance**0.5
    along = Linear().b / Linear().b.norm()
    across = torch.stack([-along[1], along[0]])
    assert (
        stats.kstest(-z @ along, stats.powernorm(candidates).cdf).pvalue > 0.01
    )  # the law of the least: signs turn it
    assert stats.kstest(z @ across, "norm").pvalue > 0.01


def test_a_batch_holds_whole_designs_at_least_one():
    sizes = []

    class Spied(BestOfN):
        def draw(self, n):
            sizes.append(n)
            return super().draw(n)

    for batch in (9, 2):
        spied = Spied(problem(5), generator(0), proxy=Linear, candidates=4, batch=batch)
        assert tuned(spied, 5).shape == (5, 2)
    assert sizes == [2, 2, 1, 1, 1, 1, 1, 1]


def test_the_oracles_best_are_shipped(build):
    optimizer = build("best_of_n_oracle", problem(5))
    x = optimizer.ask(32)
    optimizer.tell(x, x @ Linear().b)
    assert torch.equal(optimizer.recommend(4), x[(x @ Linear().b).argsort(descending=True)[:4]])


def test_no_candidates_are_refused(build):
    with pytest.raises(ValueError, match="counts of at least 1, got candidates=0"):
        build("best_of_n", problem(5), candidates=0, kl_budget=None)


def test_steering_needs_a_proxy_and_room(build):
    with pytest.raises(ValueError, match=r"expected a proxy.*got proxy=null"):
        build("best_of_n", problem(5), proxy=None)
    with pytest.raises(ValueError, match="expected batch >= 1, got batch=0"):
        build("best_of_n", problem(5), batch=0)
