"""Rectified flows: Flow-GRPO's sampler against its formulas and marginals, and training; DDIM is in test_transition."""

import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.schedules import coefficients, example
from bbo_bench.diffusion.train import fit
from bbo_bench.diffusion.transition import Transition
from bbo_bench.domains import Box
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import FLOW, moments, problem

STEPS = 20


def flow(steps=STEPS, eta=0.7, **settings):
    return Transition(FlowMatchEulerDiscreteScheduler(**settings), steps, eta)


def draws(n=STEPS):
    return torch.randn(2, n, 3, generator=generator(0))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_steps_are_euler_maruyamas_of_the_papers_sde(shift):
    step, (x, v) = flow(shift=shift), draws()
    t = step.timesteps / 1000
    dt = torch.cat([t[1:], torch.zeros(1)]) - t
    sigma = 0.7 * (t / torch.cat([1 - t[1:2], 1 - t[1:]])).sqrt()  # 1 - t of the next step where t = 1
    drift = v + (sigma**2 / (2 * t))[:, None] * (x + (1 - t)[:, None] * v)
    torch.testing.assert_close(step.mean(torch.arange(STEPS), x, v), x + dt[:, None] * drift)
    torch.testing.assert_close(step.std, (sigma * (-dt).sqrt()).clamp(min=0.01))
    if shift == 1:
        torch.testing.assert_close(t, torch.linspace(1, 1 / STEPS, STEPS))


def test_without_noise_it_is_the_schedulers_own_sampler():
    scheduler = FlowMatchEulerDiscreteScheduler()
    step, (x, v) = Transition(scheduler, STEPS, eta=0.0), draws()
    scheduler.set_timesteps(sigmas=torch.linspace(1, 1 / STEPS, STEPS).tolist())
    euler = [scheduler.step(v[k], t, x[k]).prev_sample for k, t in enumerate(scheduler.timesteps)]
    torch.testing.assert_close(step.mean(torch.arange(STEPS), x, v), torch.stack(euler))
    assert not step.std.any()


def test_noise_velocity_and_posterior_mean_belong_together():
    step, (x0, noise) = flow(), draws()
    k = torch.arange(STEPS)
    x, t = step.noise(k, x0, noise), step.timesteps[:, None] / 1000
    torch.testing.assert_close(x, (1 - t) * x0 + t * noise)
    torch.testing.assert_close(step.target(k, x, x0), noise - x0, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(step.denoise(k, x, noise - x0), x0)


@pytest.mark.parametrize("eta", [0.3, 0.7, 1.0])
def test_marginals_of_a_gaussian_are_the_flows_for_every_eta(eta):
    """Of x_0, to the discretization error: of order 1/T, but for some per mille from the singular time t = 1."""
    for steps, bound in ((20, 0.1), (100, 0.02), (400, 0.01)):
        assert moments(flow(steps, eta), torch.zeros(steps))[1] == pytest.approx(1, abs=bound)


def test_samples_of_a_flow_prior_have_its_moments():
    prior = problem(STEPS, flow=True).prior
    z = prior.sample(20_000, generator(1))
    variance = moments(prior.transition, torch.zeros(STEPS))[1]
    torch.testing.assert_close(z.var(0), torch.full((2,), variance), atol=0, rtol=0.05)
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=0.03, rtol=0)


def test_elbo_of_a_flow_prefers_what_is_likely():
    z = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    assert problem(STEPS, flow=True).prior.elbo(z).argsort(descending=True).tolist() == [0, 1, 2, 3]


def test_one_step_goes_from_noise_to_data():
    step, (x, v) = flow(steps=1), draws(1)
    g = 0.7**2 / 2
    torch.testing.assert_close(step.mean(0, x, v), (1 - g) * x - v)
    assert float(step.std[0]) == pytest.approx(0.7)


def test_training_fits_the_velocity():
    box = Box(torch.full((2,), -9.0), torch.full((2,), 9.0))
    net, target = MLP(2, width=32, depth=1), torch.tensor([1.0, -1.0])
    prior = DiffusionPrior(net, Standardize(box), FLOW, {"steps": 50})
    net.requires_grad_(True)
    data = target + 0.3 * torch.randn(2000, 2, generator=generator(0))
    fit(net, prior.scheduler, data, generator(1), steps=600, learning_rate=3e-3, ema_decay=0.99)
    z = prior.sample(2000, generator(2))
    torch.testing.assert_close(z.mean(0), target, atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(0), torch.full((2,), 0.3), atol=0.1, rtol=0)


def test_an_unknown_scheduler_is_refused():
    with pytest.raises(TypeError, match="expected a DDIMScheduler or FlowMatchEulerDiscreteScheduler, got object"):
        coefficients(object(), 5, 1.0)
    with pytest.raises(TypeError, match="got object"):
        example(object(), torch.zeros(1), torch.zeros(1), torch.zeros(1))
