"""Diffusion-BBO: the score that a hand calculation chooses, the law of designs given it, what members disagree on."""

import pytest
import torch
from torch import nn

from bbo_bench.core import UnsuitableError
from bbo_bench.optimizers.diffusion_bbo import DiffusionBBO, Members
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, moments, problem, prompted, scored

B = Linear().b
ACROSS = torch.stack([-B[1], B[0]]) / B.norm()
SETTINGS = {
    "proxy": None,
    "guidance": 0.0,
    "members": 2,
    "caution": 1.0,
    "reach": 1.0,
    "targets": 6,
    "designs": 16,
    "updates": 500,
    "batch_size": 256,
    "width": 64,
    "training": TRAINING,
}


def made(task=None, **changes):
    return DiffusionBBO(task or problem(), generator(0), **SETTINGS | changes)


def taught(n=4000, **changes):
    return scored(made(**changes), n)


@pytest.mark.parametrize(("caution", "best"), [(0.0, 3.0), (0.25, 2.0), (0.5, 1.0), (100.0, 0.0)])
def test_the_target_is_the_score_less_its_uncertainty(caution, best):
    """Of y - c y² it is 1/(2c), or the highest that is considered."""
    candidates = torch.arange(4.0)
    assert float(made(caution=caution).chosen(candidates, candidates**2)) == best


class Shifted(nn.Module):
    """A denoiser that ends where the prior does, moved by m y: v of N(m y, I)."""

    def __init__(self, optimizer, slope):
        super().__init__()
        self.step, self.prior, self.slope = optimizer.transition, optimizer.reference, slope
        self.number = {int(t): k for k, t in enumerate(self.step.timesteps)}

    def forward(self, x, timestep):
        k = self.number[int(timestep)]
        noise = (1 - self.step.alpha_bar[k]).sqrt()
        return self.prior(x, timestep) - noise * self.slope * self.condition


def test_uncertainty_is_the_variance_of_the_members_mean_designs():
    """Members whose designs are at ±m y differ by m² y² in each of two dimensions: noise in common cancels."""
    optimizer = made()
    optimizer.policy.network.networks = nn.ModuleList([Shifted(optimizer, slope) for slope in (0.5, -0.5)])
    y = torch.tensor([0.0, 1.0, 2.0])
    step = optimizer.transition
    shift = step.mean(torch.arange(step.steps), torch.zeros(step.steps, 1), -(1 - step.alpha_bar)[:, None].sqrt())[:, 0]
    m = 0.5 * moments(step, shift)[0]
    torch.testing.assert_close(optimizer.uncertainty(y), 2 * (m * y) ** 2, rtol=1e-3, atol=1e-6)
    optimizer.caution = 1 / (4 * m**2)
    assert float(optimizer.chosen(y, optimizer.uncertainty(y))) == 1, "where y - c 2 m² y² is highest"


def test_the_mean_of_the_outputs_is_what_is_sampled_by():
    optimizer = made()
    network = Members([Shifted(optimizer, slope) for slope in (1.0, 0.0)])
    x, t = torch.randn(5, 2, generator=generator(1)), optimizer.transition.timesteps[3]
    network.condition = torch.ones(5, 1)
    alone = Shifted(optimizer, 0.5)
    alone.condition = network.condition
    torch.testing.assert_close(network(x, t), alone(x, t))


def test_designs_have_the_score_that_was_chosen():
    """Along b the law is that of the score, across it the data's; with many data members agree, so it is the best."""
    optimizer = taught()
    optimizer.learn()
    z, target = optimizer.sample(4000), optimizer.diagnostics()["target"]
    assert target == pytest.approx(float(optimizer.told().max()))
    assert float((z @ B).mean()) == pytest.approx(target * float(optimizer.y.std()), rel=0.1)
    assert float((z @ B).std()) < 0.3 * float(optimizer.y.std())
    assert abs(float((z @ ACROSS).mean())) < 0.2
    assert float((z @ ACROSS).std()) == pytest.approx(1, rel=0.2)


def test_untrained_it_is_the_prior():
    optimizer = made(guidance=2.0)
    z, t = torch.randn(5, 2, generator=generator(1)), optimizer.transition.timesteps[3]
    torch.testing.assert_close(optimizer.network()(z, t), optimizer.reference(z, t))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"members": 1}, "at least two members, whose spread is the uncertainty, got members=1"),
        ({"caution": -1.0}, "caution >= 0.*got caution=-1.0"),
        ({"reach": 0.0}, "reach > 0.*reach=0.0"),
        ({"targets": 0}, "got targets=0"),
        ({"proxy": Linear}, "DiffusionBBO trains all weights.*set proxy=null"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        made(**setting)


def test_prompts_are_refused():
    with pytest.raises(UnsuitableError, match="DiffusionBBO samples at one score"):
        made(prompted())
