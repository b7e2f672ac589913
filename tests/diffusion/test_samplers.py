"""The samplers of a diffusion: DDPM, DDIM, the score SDE; and of a rectified flow: their marginals of N(0, I)."""

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

from bbo_bench.diffusion.transition import Transition
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import SCHEDULER, moments, problem

SAMPLERS = {
    "ddpm": {"sampler": "ddpm"},
    "ddim": {"eta": 0.5},
    "score_sde": {"sampler": "score_sde"},
    "flow": {"eta": 0.7},
}


def transition(name, steps=50, **changes):
    scheduler = FlowMatchEulerDiscreteScheduler() if name == "flow" else DDIMScheduler(clip_sample=False, **SCHEDULER)
    return Transition(scheduler, steps, **SAMPLERS[name] | changes)


@pytest.mark.parametrize("name", SAMPLERS)
def test_marginals_are_the_datas_the_closer_the_more_steps(name):
    """Of the variance, to the discretization error: of order 1/T, and a flow's some per mille more."""
    errors = [abs(moments(transition(name, steps), torch.zeros(steps))[1] - 1) for steps in (25, 100, 400)]
    bounds = (0.5, 0.12, 0.03)
    assert all(error < bound for error, bound in zip(errors, bounds, strict=True)), errors


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_are_as_derived(name):
    gaussian = problem(50, flow=name == "flow")
    step = transition(name)
    *_, z = step.walk(gaussian.prior.denoiser, torch.randn(20_000, 2, generator=generator(0)), generator(1))
    expected = moments(step, torch.zeros(50))[1]
    torch.testing.assert_close(z.mean(0), torch.zeros(2), atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(0), torch.full((2,), expected), atol=0, rtol=0.04)


def test_ddpms_steps_are_ddims_of_full_noise():
    ddpm, ddim, k = transition("ddpm"), transition("ddim", eta=1.0), torch.arange(50)
    x, output = torch.randn(2, 50, 3, generator=generator(0))
    torch.testing.assert_close(ddpm.mean(k, x, output), ddim.mean(k, x, output), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ddpm.std, ddim.std, atol=1e-4, rtol=1e-3)


def test_the_score_sdes_noise_belongs_to_its_times():
    """x_t has the signal and noise that the network was trained with at the timestep that it is told."""
    step, scheduler = transition("score_sde"), DDIMScheduler(clip_sample=False, **SCHEDULER)
    assert (step.timesteps.diff() < 0).all()
    torch.testing.assert_close(step.alpha_bar, scheduler.alphas_cumprod[step.timesteps.long()], atol=1e-5, rtol=1e-4)
    k, (x0, noise) = torch.arange(50), torch.randn(2, 50, 3, generator=generator(0))
    x = step.noise(k, x0, noise)
    torch.testing.assert_close(step.denoise(k, x, step.target(k, x, x0)), x0)


def test_noising_back_undoes_a_step():
    """Of a point that lies at step k + 1, noised back, the law is that of step k."""
    for name in SAMPLERS:
        step = transition(name, 20)
        x0 = torch.full((40_000, 1), 2.0)
        for k in (0, 10, 18):
            noise = torch.randn(2, 40_000, 1, generator=generator(k))
            back = step.noise_back(k, step.noise(k + 1, x0, noise[0]), noise[1])
            direct = step.noise(k, x0, noise[0])
            assert float(back.mean()) == pytest.approx(float(direct.mean()), abs=0.03)
            assert float(back.std()) == pytest.approx(float(direct.std()), rel=0.03)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: transition("ddpm", sampler="euler"), "a sampler of ddpm, score_sde, or none, got 'euler'"),
        (lambda: transition("ddpm", eta=0.5), "ddpm is a diffusion's, with eta=1, got eta=0.5"),
        (lambda: transition("flow", sampler="ddpm", eta=1.0), "got eta=1.0, FlowMatchEulerDiscreteScheduler"),
    ],
)
def test_samplers_that_do_not_fit_are_refused(made, message):
    with pytest.raises(ValueError, match=message):
        made()
