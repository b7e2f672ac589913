"""Scores have no unit: what is learnt from y is learnt from a y + b, however large b is."""

import pytest
import torch

from bbo_bench.oracle import finite
from bbo_bench.plugins import choices
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import made, problem_of, representatives, suited

CRITICS = {name for name, it in choices("optimizer").items() if "critic" in str(it.settings.get("proxy"))}
"""They value plans in the units of a data set's rewards."""
ROUNDS = (16, 16)


def learnt(name, slope, offset):
    """Designs that an optimizer asks for, and what it predicts of them in units of y, after one round."""
    build = made("optimizer", name)
    task = suited(build, ROUNDS)
    problem = problem_of(task, ROUNDS)
    optimizer = build(problem, generator(0, "build"))
    x = problem.prior.decode(problem.prior.sample(ROUNDS[0], generator(0, "first round")))
    exact = finite(task, task.evaluate(x).double())
    y = (exact * 1024).round() / 1024  # such numbers can be scaled and moved without rounding
    optimizer.rng.manual_seed(0)
    optimizer.tell(x, slope * y + offset)
    optimizer.rng.manual_seed(1)
    predicted = optimizer.predict(x)
    return optimizer.ask(ROUNDS[1]), None if predicted is None else (predicted - offset) / slope


@pytest.mark.every_plugin
@pytest.mark.parametrize("name", sorted(set(representatives("optimizer")) - CRITICS))
def test_scores_have_no_unit(name):
    asked, predicted = learnt(name, 1.0, 0.0)
    moved, shown = learnt(name, 2.0**-7, -(2.0**20))
    assert torch.allclose(moved, asked, rtol=0, atol=0.02)
    assert predicted is None or torch.allclose(shown, predicted, rtol=0, atol=0.02)
