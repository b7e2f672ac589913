"""Fine-tuning on a problem that can be solved by hand: a standard normal prior and a linear reward b·x.

The exact denoiser of N(0, I) is v = 0, so every step of the prior is linear, mean A_t x_t. SQDF's optimum shifts each
step's mean by σ_t² γ^{t-1} √ā_{t-1} b/α, since its estimate of x_0 from x_{t-1} is √ā_{t-1} x_{t-1}. With γ = 1 the sum
of these shifts gives the prior tilted by exp(r/α), which is the optimum of any method that maximizes the reward minus α
times the KL divergence of whole paths, as DDPO with its KL term does. Covariances stay the prior's.
"""

import pytest
import torch

from bbo_bench.core import Problem
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.finetune import Training
from bbo_bench.diffusion.prior import DiffusionPrior, Standardize
from bbo_bench.domains import Box
from bbo_bench.optimizers.ddpo import DDPO
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator

STEPS = 20
B = torch.tensor([1.0, 0.5])
SCHEDULER = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
TRAINING = Training(learning_rate=2e-3, weight_decay=0.0, lora_rank=None)


class Linear:
    """The score b·x itself in the place of a proxy."""

    error = 0.0

    def __call__(self, z):
        return z @ B

    predict = __call__

    def fit(self, z, y, rng):
        """Nothing to learn."""


@pytest.fixture
def problem():
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    prior = DiffusionPrior(MLP(2, width=32, depth=1), Standardize(box), SCHEDULER, {"steps": STEPS})
    return Problem(box, prior, (2,))


def optimum(prior: DiffusionPrior, gamma: float, kl_weight: float) -> tuple[float, float]:
    """Mean along b (per unit of b) and variance of x_0, by the recursion over steps."""
    step = prior.transition
    mean, variance = 0.0, 1.0
    one, zero = torch.ones(STEPS, 1), torch.zeros(STEPS, 1)
    slopes = step.mean(torch.arange(STEPS), one, zero)[:, 0].tolist()
    next_alpha_bar = [*step.alpha_bar[1:].tolist(), 1.0]
    for k, (a, std, alpha_bar) in enumerate(zip(slopes, step.std.tolist(), next_alpha_bar, strict=True)):
        mean = a * mean + std**2 * gamma ** (STEPS - 1 - k) * alpha_bar**0.5 / kl_weight
        variance = a**2 * variance + std**2
    return mean, variance


def tuned(optimizer) -> torch.Tensor:
    """Samples of the policy after one fine-tuning with two scores ±1/√2, which standardize to themselves."""
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5
    optimizer._descend()
    return torch.cat([optimizer.trajectories(4000)[:, -1] for _ in range(3)])


def check(z: torch.Tensor, mean: float, variance: float, tolerance: float) -> None:
    along = float(z.mean(0) @ B / B.square().sum())
    across = float(z.mean(0) @ torch.tensor([-0.5, 1.0])) / 1.25**0.5
    assert along == pytest.approx(mean, rel=tolerance, abs=0.012)
    assert abs(across) < 0.06
    assert z.var(0).tolist() == pytest.approx([variance] * 2, rel=0.1)


def test_the_recursion_gives_the_published_numbers(problem):
    assert optimum(problem.prior, 1.0, 1.0)[0] == pytest.approx(0.8118, abs=2e-3)
    assert optimum(problem.prior, 0.9 ** (50 / STEPS), 1.0)[0] == pytest.approx(0.0978, abs=1e-3)


@pytest.mark.parametrize(("replay", "gamma"), [("random", 1.0), ("random", 0.9), ("reward+gamma", 1.0)])
def test_sqdf_meets_its_optimum(problem, replay, gamma):
    sqdf = SQDF(
        problem,
        generator(0),
        proxy=Linear,
        kl_weight=1.0,
        gamma=gamma,
        updates=800,
        batch_size=512,
        rollouts=64,
        rollout_every=20,
        capacity=1024,
        replay=replay,
        training=TRAINING,
    )
    check(tuned(sqdf), *optimum(problem.prior, sqdf.gamma, 1.0), tolerance=0.05)


def test_ddpo_with_kl_meets_the_tilted_distribution(problem):
    ddpo = DDPO(
        problem,
        generator(0),
        proxy=Linear,
        kl_weight=1.0,
        iterations=250,
        samples=256,
        epochs=1,
        minibatches=4,
        clip=0.2,
        max_advantage=5.0,
        training=TRAINING,
    )
    check(tuned(ddpo), *optimum(problem.prior, 1.0, 1.0), tolerance=0.06)
