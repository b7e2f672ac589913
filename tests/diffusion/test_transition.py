"""The table of coefficients against the DDIM formulas, derived by hand."""

import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch.distributions import Independent, Normal, kl_divergence

from bbo_bench.diffusion.transition import Transition

STEPS = 20


def scheduler(prediction: str = "v_prediction", **settings: object) -> DDIMScheduler:
    return DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type=prediction,
        timestep_spacing="trailing",
        **{"clip_sample": False, **settings},
    )


def formulas(
    transition: Transition, eta: float, x: torch.Tensor, eps: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and std of x_{t-1} of Song et al. 2021, eq. 12 and 16, for one x_t per step."""
    a = transition.alpha_bar.double()
    a_prev = torch.cat([a[1:], torch.ones(1)])
    sigma = eta * ((1 - a_prev) / (1 - a) * (1 - a / a_prev)).sqrt()
    x0 = (x - (1 - a).sqrt()[:, None] * eps) / a.sqrt()[:, None]
    return a_prev.sqrt()[:, None] * x0 + (1 - a_prev - sigma**2).clamp(min=0).sqrt()[:, None] * eps, sigma


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_steps_agree_with_the_ddim_formulas(eta):
    transition = Transition(scheduler(), STEPS, eta, min_std=0.01)
    x, eps = torch.randn(2, STEPS, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    a = transition.alpha_bar.double()[:, None]
    x0 = (x - (1 - a).sqrt() * eps) / a.sqrt()
    v = a.sqrt() * eps - (1 - a).sqrt() * x0
    mean, sigma = formulas(transition, eta, x, eps)
    k = torch.arange(STEPS)
    # the first step starts from almost pure noise, where x_0 is a quotient of almost nothing
    torch.testing.assert_close(transition.mean(k, x, v)[1:], mean[1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(transition.denoise(k, x, v)[1:], x0[1:], atol=1e-5, rtol=1e-5)
    floor = 0.01 if eta else 0.0
    torch.testing.assert_close(transition.std.double(), sigma.clamp(min=floor), atol=1e-5, rtol=1e-5)


def test_target_is_the_output_that_denoises_to_x0():
    transition = Transition(scheduler(), STEPS)
    x0, noise = torch.randn(2, STEPS, 3, generator=torch.Generator().manual_seed(0))
    k = torch.arange(STEPS)
    x = transition.noise(k, x0, noise)
    torch.testing.assert_close(transition.denoise(k, x, transition.target(k, x, x0)), x0, atol=1e-4, rtol=1e-4)
    a = transition.alpha_bar[:, None]
    v = a.sqrt() * noise - (1 - a).sqrt() * x0
    torch.testing.assert_close(transition.target(k, x, x0), v, atol=1e-3, rtol=1e-3)


def test_log_probability_and_kl_are_sums_over_dimensions():
    transition = Transition(scheduler(), STEPS)
    a, b = torch.randn(2, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    k = torch.tensor([0, 3, 7, 18, 19])
    std = transition.std[k][:, None, None].expand_as(a)
    p, q = (Independent(Normal(mean, std), 2) for mean in (a, b))
    torch.testing.assert_close(transition.log_prob(k, a, b), p.log_prob(b))
    torch.testing.assert_close(transition.kl(k, a, b), kl_divergence(p, q))


def test_the_last_step_has_a_density():
    assert float(Transition(scheduler(), STEPS, min_std=0.02).std[-1]) == pytest.approx(0.02)


def test_one_step_number_for_all_equals_one_for_each():
    transition = Transition(scheduler(), STEPS)
    x, output = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    for k in range(STEPS):
        assert transition.mean(k, x, output).equal(transition.mean(torch.full((4,), k), x, output))


def test_walk_draws_from_the_chain_of_a_gaussian():
    """Under v-prediction the denoiser of N(0, 1) is 0, so variances follow v_{t-1} = A_t² v_t + σ_t²."""
    transition = Transition(scheduler(), 50)
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(20_000, 1, generator=rng)
    *_, z = transition.walk(lambda x, t: torch.zeros_like(x), x, rng)
    zero, one = torch.zeros(50, 1), torch.ones(50, 1)
    variance = 1.0
    for a, std in zip(transition.mean(torch.arange(50), one, zero)[:, 0], transition.std, strict=True):
        variance = float(a) ** 2 * variance + float(std) ** 2
    assert variance == pytest.approx(0.9143, abs=1e-4)
    assert float(z.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / len(z)))


def test_a_clipped_scheduler_is_refused():
    with pytest.raises(ValueError, match="clip_sample=False"):
        Transition(scheduler(clip_sample=True))


@pytest.mark.parametrize("steps", [0, 1001])
def test_more_steps_than_timesteps_are_refused(steps):
    with pytest.raises(ValueError, match=f"expected 1 to 1000 sampling steps, .*got {steps=}"):
        Transition(DDIMScheduler(clip_sample=False), steps)


def test_the_mean_of_a_step_tells_the_posterior_mean():
    transition = Transition(scheduler(), STEPS)
    x, output = torch.randn(2, STEPS, 3, generator=torch.Generator().manual_seed(0))
    k = torch.arange(STEPS)
    found = transition.denoise_by_mean(k, x, transition.mean(k, x, output))
    torch.testing.assert_close(found[1:], transition.denoise(k, x, output)[1:], atol=1e-3, rtol=1e-3)


def test_the_divergence_of_outputs_is_that_of_the_steps_they_lead_to():
    transition = Transition(scheduler(), STEPS)
    x, output, other = torch.randn(3, STEPS, 3, generator=torch.Generator().manual_seed(0))
    k = torch.arange(STEPS)
    steps = transition.kl(k, transition.mean(k, x, output), transition.mean(k, x, other))
    torch.testing.assert_close(transition.output_kl(k, output, other), steps, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("k", [0, 7, STEPS - 1])
def test_noising_a_step_back_keeps_the_law_of_what_is_noised(k):
    transition = Transition(scheduler(), STEPS)
    n, rng = 200_000, torch.Generator().manual_seed(0)
    x0, noise, more = torch.full((n, 1), 1.5), *torch.randn(2, n, 1, generator=rng)
    ahead = transition.noise(k + 1, x0, noise) if k + 1 < STEPS else x0
    back, directly = transition.noise_back(k, ahead, more), transition.noise(k, x0, noise)
    assert float(back.mean()) == pytest.approx(float(directly.mean()), abs=0.01)
    assert float(back.std()) == pytest.approx(float(directly.std()), abs=0.01)


def test_the_noise_within_is_what_was_put_in():
    transition = Transition(scheduler(), STEPS)
    x0, noise = torch.randn(2, STEPS, 3, generator=torch.Generator().manual_seed(0))
    k = torch.arange(STEPS)
    torch.testing.assert_close(transition.noise_in(k, transition.noise(k, x0, noise), x0), noise, atol=1e-4, rtol=1e-4)
