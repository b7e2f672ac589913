"""Search in the prior's noise: what leads to a design is found again, and any optimizer of boxes searches it."""

import math

import pytest
import torch

from bbo_bench.core import UnsuitableError
from bbo_bench.library import load_task
from bbo_bench.optimizers.latent import REACH, inverted
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe, PromptedProbe, SequenceProbe
from bbo_bench.testing.probe import made, problem_of

NAMES = ("cma_es_latent", "genetic_latent", "turbo_latent", "qlogei_latent")


@pytest.mark.parametrize(("task", "error"), [("airfoil", 0.002), ("tfbind8", 0.01)])
def test_the_noise_of_a_latent_leads_back_to_it(task, error):
    prior = load_task(task).prior()
    step = prior.sampler(50, eta=0.0)
    *_, z = step.walk(prior.denoiser, prior.noise(64, generator(0)), generator(1))
    *_, again = step.walk(prior.denoiser, inverted(prior.denoiser, step, z), generator(2))
    assert float((again - z).norm() / z.norm()) < error


def test_of_a_normal_law_noise_and_design_are_the_same_but_for_a_factor():
    """An untrained network predicts v = 0, so that every step scales its state."""
    prior = Probe().prior()
    step = prior.sampler(5, eta=0.0)
    z = torch.randn(10, 2, generator=generator(0))
    torch.testing.assert_close(inverted(prior.denoiser, step, z) * step.on_state.prod(), z)


@pytest.mark.parametrize("name", NAMES)
def test_it_finds_more_than_the_prior_gives(name):
    task, rounds = Probe(), (32, 32, 32)
    optimizer = made("optimizer", name)(problem_of(task, rounds), generator(0))
    x = task.prior().decode(task.prior().sample(32, generator(1)))
    first = task.evaluate(x).max()
    for i in range(3):
        optimizer.rng.manual_seed(i)
        x = optimizer.ask(32) if i else x
        optimizer.tell(x, task.evaluate(x).double())
    best = optimizer.recommend(1)
    assert task.evaluate(best) > first or task.evaluate(best) > -0.01
    optimizer.problem.domain.check(optimizer.recommend(8))


def test_designs_are_known_in_another_order_and_if_some_have_no_score():
    task = Probe()
    optimizer = made("optimizer", "genetic_latent")(problem_of(task, (16, 16)), generator(0))
    x = task.prior().decode(task.prior().sample(16, generator(1)))
    optimizer.tell(x, task.evaluate(x).double())
    asked = optimizer.ask(16)
    noise, told = optimizer._asked[1], torch.randperm(16, generator=generator(0))[:15]
    optimizer.tell(torch.cat([x[:1], asked[told]]), torch.zeros(16).double())
    assert torch.equal(optimizer.inner.rounds[1][0], torch.cat([optimizer.found(x[:1]), noise[told]]))


def test_what_is_shipped_is_what_was_queried():
    task = Probe()
    optimizer = made("optimizer", "genetic_latent")(problem_of(task, (16, 16)), generator(0))
    x = task.prior().decode(task.prior().sample(16, generator(1)))
    optimizer.tell(x, task.evaluate(x).double() - 100)
    x = optimizer.ask(16)
    optimizer.tell(x, task.evaluate(x).double())
    shipped = optimizer.recommend(16)
    assert (torch.cdist(shipped, x).amin(1) < 1e-4).all()


def test_noise_stays_near_the_shell_and_in_the_box():
    optimizer = made("optimizer", "cma_es_latent", {"width": 0.5})(problem_of(SequenceProbe(), (8, 8)), generator(0))
    noise = torch.randn(50, 6, 4, generator=generator(1)) * torch.linspace(0.1, 3, 50)[:, None, None]
    near = optimizer.near(noise)
    assert (near.flatten(1).norm(dim=1) - math.sqrt(24)).abs().max() < 0.5 + 1e-4
    torch.testing.assert_close(
        torch.nn.functional.normalize(near.flatten(1)), torch.nn.functional.normalize(noise.flatten(1))
    )
    assert optimizer.inner.problem.domain.upper.max() == REACH
    free = made("optimizer", "cma_es_latent", {"width": None})(problem_of(Probe(), (8, 8)), generator(0))
    assert torch.equal(free.near(noise), noise)


def test_sequences_open_to_what_searches_boxes():
    for name in NAMES:
        optimizer = made("optimizer", name)(problem_of(SequenceProbe(), (8, 8)), generator(0))
        x = SequenceProbe.domain.sample(8, generator(1))
        optimizer.tell(x, SequenceProbe().evaluate(x).clamp(min=-1))
        assert SequenceProbe.domain.check(optimizer.ask(4)).shape == (4, 6)


def test_other_priors_and_prompts_are_refused(problem):
    with pytest.raises(UnsuitableError, match="searches a DiffusionPrior's noise, got Gaussian"):
        made("optimizer", "cma_es_latent")(problem, generator(0))
    with pytest.raises(UnsuitableError, match="none for prompts never asked for"):
        made("optimizer", "cma_es_latent")(problem_of(PromptedProbe(), (8, 8)), generator(0))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"width": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected steps >= 1 and width > 0 or null"):
        made("optimizer", "cma_es_latent", wrong)(problem_of(Probe(), (8, 8)), generator(0))
