"""Which estimate of x_0 a prior's recorded quality speaks for."""

import pytest
import yaml

from bbo_bench.diffusion.estimates import best
from bbo_bench.testing.gaussian import problem

GOOD = {"validity": 0.98, "precision": 0.9}


@pytest.mark.parametrize(
    ("validity", "precision", "expected"),
    [(0.9, 0.9, "consistency"), (0.5, 0.9, "tweedie"), (0.98, 0.5, "tweedie")],
)
def test_a_consistency_model_is_taken_where_one_step_of_it_makes_natural_designs(
    tmp_path, validity, precision, expected
):
    prior = problem().prior
    assert best(prior) == "consistency", "where nothing is recorded"
    prior.folder = tmp_path
    model = {"quality": {"validity": validity, "precision": precision}}
    (tmp_path / "prior.yaml").write_text(yaml.safe_dump({"made": {"quality": GOOD, "consistency": model}}))
    assert best(prior) == expected
    (tmp_path / "prior.yaml").write_text(yaml.safe_dump({"made": {"quality": GOOD}}))
    assert best(prior) == "consistency"


@pytest.mark.parametrize(
    ("task", "expected"), [("airfoil", "consistency"), ("rna", "tweedie"), ("nav1d_expert", "tweedie")]
)
def test_shipped_priors_have_the_estimate_that_the_readme_says(task, expected):
    made = pytest.importorskip("bbo_bench.testing.probe").made
    assert best(made("task", task).prior()) == expected
