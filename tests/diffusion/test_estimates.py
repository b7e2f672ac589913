"""Which estimate of x_0 a prior's recorded quality speaks for."""

import pytest
import torch
import yaml

from bbo_bench.diffusion.estimates import best, ddim2
from bbo_bench.seeding import generator
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


@pytest.mark.parametrize(("k", "middle"), [(0, 3), (1, 3), (2, 4), (3, 4)])
def test_two_ddim_steps_part_what_is_left_in_the_middle(k, middle):
    prior = problem(5).prior
    step, asked, denoiser = prior.transition, [], prior.denoiser

    class Spy(torch.nn.Module):
        def forward(self, x, timestep):
            asked.append(timestep)
            return denoiser(x, timestep)

    prior.denoiser = Spy()
    x = prior.noise(3, generator(0))
    found = ddim2(prior, step)(torch.full((3,), k), x)
    assert torch.equal(torch.stack(asked), step.timesteps[torch.tensor([[k] * 3, [middle] * 3])])
    x0 = step.denoise(torch.full((3,), k), x, denoiser(x, step.timesteps[torch.full((3,), k)]))
    halfway = step.alpha_bar[middle].sqrt() * x0 + (1 - step.alpha_bar[middle]).sqrt() * (
        (x - step.alpha_bar[k].sqrt() * x0) / (1 - step.alpha_bar[k]).sqrt()
    )
    to = torch.full((3,), middle)
    expected = step.denoise(to, halfway, denoiser(halfway, step.timesteps[to]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_last_step_is_left_to_the_posterior_mean():
    prior = problem(5).prior
    step, x, k = prior.transition, prior.noise(3, generator(0)), torch.full((3,), 4)
    expected = step.denoise(k, x, prior.denoiser(x, step.timesteps[k]))
    assert torch.equal(ddim2(prior, step)(k, x), expected)
