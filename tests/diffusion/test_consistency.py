"""Consistency models of N(0, I), whose ODE is solved by hand, and where they are kept."""

import subprocess
import sys

import pytest
import torch

from bbo_bench.diffusion import consistency
from bbo_bench.diffusion.consistency import CACHE, FILE, consistency_model, fingerprint, save
from bbo_bench.diffusion.distillation import Distillation
from bbo_bench.diffusion.estimates import ESTIMATES
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import ode_scales, problem
from bbo_bench.testing.probe import Probe

STEPS = 20


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def counted(monkeypatch):
    """How many models have been distilled."""
    made = []
    distill = consistency.distill
    monkeypatch.setattr(consistency, "distill", lambda prior, rng: made.append(prior) or distill(prior, rng))
    return made


def scales(estimate: str, *, flow: bool = False) -> torch.Tensor:
    """x̂_0 of x = 1 at every step, and where none is left."""
    prior = problem(STEPS, flow=flow).prior
    one = torch.ones(STEPS + 1, 2)
    return ESTIMATES[estimate](prior, prior.transition)(torch.arange(STEPS + 1), one)


def test_the_ode_of_a_gaussian_keeps_its_states():
    """Its steps turn x by cos(φ_t - φ_{t-1}), where cos φ_t = √ā_t; the more steps, the closer x_0 is to x_t."""
    step = problem(STEPS).prior.transition
    angles = torch.cat([step.alpha_bar.sqrt().arccos(), torch.zeros(1)])
    turned = (angles[:-1] - angles[1:]).cos().flip(0).cumprod(0).flip(0)
    torch.testing.assert_close(ode_scales(problem(STEPS).prior, STEPS)[:-1], turned, atol=1e-5, rtol=0)
    torch.testing.assert_close(ode_scales(problem(500).prior, 500), torch.ones(501), atol=0.01, rtol=0)


@pytest.mark.parametrize("flow", [False, True])
def test_a_consistency_model_of_a_gaussian_is_the_end_of_its_ode(flow):
    expected = ode_scales(problem(STEPS, flow=flow).prior, STEPS)
    torch.testing.assert_close(scales("consistency", flow=flow), expected[:, None].expand(-1, 2), atol=0.03, rtol=0)


def test_the_posterior_mean_of_a_gaussian_is_a_shorter_state():
    alpha_bar = problem(STEPS).prior.transition.alpha_bar
    torch.testing.assert_close(scales("tweedie")[:-1, 0], alpha_bar.sqrt())


def test_two_steps_of_a_gaussian_go_by_the_middle():
    alpha_bar = torch.cat([problem(STEPS).prior.transition.alpha_bar, torch.ones(1)])
    k = torch.arange(STEPS + 1)
    middle = alpha_bar[(k + STEPS + 1) // 2]
    expected = middle * alpha_bar.sqrt() + (middle * (1 - middle) * (1 - alpha_bar)).sqrt()
    torch.testing.assert_close(scales("ddim2")[:, 0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("estimate", ESTIMATES)
def test_where_no_step_is_left_every_estimate_is_the_identity(estimate):
    prior = problem(STEPS).prior
    prior.denoiser.requires_grad_(True)
    torch.nn.init.normal_(prior.denoiser.out.weight, generator=generator(0))
    prior.denoiser.requires_grad_(False)
    x = torch.randn(4, 2, generator=generator(1)).requires_grad_()
    x0 = ESTIMATES[estimate](prior, prior.transition)(torch.full((4,), STEPS), x)
    assert x0.equal(x)
    [slope] = torch.autograd.grad(x0.sum(), x)
    assert slope.equal(torch.ones_like(x))


def test_a_model_is_distilled_once_and_then_taken_from_the_cache(counted, kept):
    first = consistency_model(Probe().prior()).state_dict()
    again = consistency_model(Probe().prior()).state_dict()
    assert len(counted) == 1 and len(list(kept.iterdir())) == 1
    assert all(first[name].equal(again[name]) for name in first)


@pytest.mark.slow
def test_a_model_made_anew_is_the_same_in_any_process(kept):
    program = "from bbo_bench.diffusion.consistency import *; from bbo_bench.testing import Probe; "
    subprocess.run([sys.executable, "-c", program + "consistency_model(Probe().prior())"], check=True)
    [file] = kept.iterdir()
    theirs = file.read_bytes()
    file.unlink()
    consistency_model(Probe().prior())
    assert file.read_bytes() == theirs


def test_a_shipped_model_counts_for_the_prior_that_it_was_distilled_from_alone(counted, tmp_path):
    prior = Probe().prior()
    prior.folder = tmp_path
    shipped = consistency.distill(prior, generator(7))
    counted.clear()
    save(shipped, prior, tmp_path / FILE)
    assert consistency_model(prior).state_dict()["embed.weight"].equal(shipped.embed.weight.half().float())
    assert not counted
    prior.denoiser.out.bias += 1
    consistency_model(prior)
    assert len(counted) == 1


def test_a_fingerprint_knows_weights_schedule_and_recipe():
    priors = [Probe().prior() for _ in range(4)]
    priors[1].denoiser.out.bias += 1
    priors[2].scheduler.register_to_config(beta_schedule="linear")
    priors[3].distillation = Distillation(passes=3)
    assert len({fingerprint(prior) for prior in priors}) == 4
    assert fingerprint(Probe().prior()) == fingerprint(priors[0])


def test_a_distillation_without_passes_is_refused():
    with pytest.raises(ValueError, match=r"positive numbers, got .*passes=0"):
        Distillation(passes=0)
