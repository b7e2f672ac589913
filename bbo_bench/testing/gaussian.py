"""A fine-tuning problem that can be solved by hand: a standard normal prior, and a reward given in closed form.

An untrained `MLP` predicts v = 0, the exact denoiser of N(0, I), so the prior's steps are linear: x_{t-1} has the mean
A_t x_t; so it is with `Velocity` in a rectified flow. A method whose optimum has steps of mean a_t x_t + s_t gives x_0
the mean and variance of `moments`. Put a reward in the place of the proxy, and `tuned` samples what the method makes
of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Generator, Tensor, nn

from bbo_bench.alignment.finetune import FineTuner, Training
from bbo_bench.alignment.generative import Generative
from bbo_bench.core import Problem, State
from bbo_bench.diffusion.codecs import Prompted, Standardize
from bbo_bench.diffusion.denoisers import MLP
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.transition import Transition
from bbo_bench.domains import Box, Captioned
from bbo_bench.seeding import generator, seeded

SCHEDULER = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
FLOW = {"_target_": "diffusers.schedulers.scheduling_flow_match_euler_discrete.FlowMatchEulerDiscreteScheduler"}
MEANS = torch.tensor([[-2.0, 1.0], [2.0, -1.0]])
"""Of the prior's designs for each of two prompts."""
EASE = torch.tensor([0.0, 5.0])
"""What designs for the two prompts score whatever they are."""
TRAINING = Training(learning_rate=2e-3, weight_decay=0.0, lora_rank=None)
"""Training that comes close to an optimum in seconds."""


@dataclass
class Linear:
    """The reward b·x in the place of a proxy."""

    b: Tensor = field(default_factory=lambda: torch.tensor([1.0, 0.5]))
    error: float = 0.0

    def __call__(self, z: Tensor) -> Tensor:
        """Rewards of `n x 2` latents, an `n`-dim tensor."""
        return z @ self.b

    predict = __call__

    def fit(self, z: Tensor, y: Tensor, rng: Generator) -> None:
        """Nothing to learn."""

    def state_dict(self) -> State:
        """Nothing to save."""
        return {}


@dataclass
class Quadratic(Linear):
    """The reward -‖x - c‖²/2 in the place of a proxy."""

    c: Tensor = field(default_factory=lambda: torch.tensor([2.0, 1.0]))

    def __call__(self, z: Tensor) -> Tensor:
        """Rewards of `n x 2` latents, an `n`-dim tensor."""
        return -(z - self.c).square().sum(1) / 2

    predict = __call__


@dataclass
class Opposed(Linear):
    """The reward -b·x for the first prompt, b·x for the second, and what that scores anyway."""

    def __call__(self, z: Tensor) -> Tensor:
        """Rewards of `n x 3` latents, the last number of which is the code of a prompt, an `n`-dim tensor."""
        return z[:, 2] * (z[:, :2] @ self.b) + EASE[(z[:, 2] > 0).long()]

    predict = __call__


class Velocity(MLP):
    """An `MLP` added to the velocity of N(0, I), E[ε - x_0 | x_t] = (2t - 1) x_t / (t² + (1 - t)²)."""

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `MLP.forward`."""
        t = timestep.reshape(-1, 1) / 1000
        return (2 * t - 1) / (t**2 + (1 - t) ** 2) * x + super().forward(x, timestep)


def problem(steps: int = 20, *, flow: bool = False) -> Problem:
    """Two dimensions in a wide box, with a prior of so many steps: a diffusion, or a rectified flow."""
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    with seeded(generator(0, "gaussian")):
        denoiser = (Velocity if flow else MLP)(2, width=32, depth=1)
    distillation = {"steps": steps, "passes": 30, "trajectories": 256, "learning_rate": 3e-3}
    prior = DiffusionPrior(denoiser, Standardize(box), FLOW if flow else SCHEDULER, {"steps": steps}, distillation)
    return Problem(box, prior, (2,))


class OfPrompts(MLP):
    """An `MLP` added to v of N(m, I), -√(1 - ā) m, with the mean of the prompt whose code is a latent's last number."""

    def __init__(self) -> None:
        super().__init__(3, width=32, depth=1)
        alpha_bar: Tensor = DDIMScheduler(beta_schedule=SCHEDULER["beta_schedule"]).alphas_cumprod
        self.register_buffer("noise", (1 - alpha_bar).sqrt(), persistent=False)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `MLP.forward`."""
        mean = nn.functional.pad(MEANS[(x[:, 2] > 0).long()], (0, 1))
        return super().forward(x, timestep) - self.get_buffer("noise")[timestep.reshape(-1, 1)] * mean


def prompted(steps: int = 20) -> Problem:
    """The same for two prompts, whose designs have different means."""
    box = Box(torch.full((2,), -20.0), torch.full((2,), 20.0))
    with seeded(generator(0, "gaussian")):
        denoiser = OfPrompts()
    codec = Prompted(Standardize(box), torch.tensor([-1.0, 1.0]))
    prior = DiffusionPrior(denoiser, codec, SCHEDULER, {"steps": steps})
    return Problem(Captioned(box, ["left", "right"]), prior, (4,))


def slopes(transition: Transition) -> Tensor:
    """A_t of the prior's steps, noisiest first, a `T`-dim tensor."""
    k, one = torch.arange(transition.steps), torch.ones(transition.steps, 1)
    signal, noise = transition.noise(k, one, 0 * one), transition.noise(k, 0 * one, one)
    x0 = signal / (signal**2 + noise**2)  # E[x_0 | x_t = 1]
    return transition.mean(k, one, transition.target(k, one, x0))[:, 0]


def later_slopes(transition: Transition) -> Tensor:
    """For every step, the product of the slopes of all later ones: the slope of E[x_0 | x_{t-1}], a `T`-dim tensor."""
    a = slopes(transition)
    return torch.cat([a[1:].flip(0).cumprod(0).flip(0), torch.ones(1)])


def ode_scales(prior: DiffusionPrior, steps: int) -> Tensor:
    """Where DDIM (η = 0) takes x_t = 1: x_0 for every step it may be at, and 1 where none is left, a `T+1`-dim tensor.

    The probability-flow ODE of N(0, I) stands still, so these are 1 but for the error of so many steps.
    """
    step = prior.sampler(steps, eta=0.0)
    later = later_slopes(step)
    return torch.cat([slopes(step)[:1] * later[:1], later])


def tilting_shifts(transition: Transition, kl_weight: float = 1.0) -> Tensor:
    """The steps' shifts, per unit of b, that tilt the prior by exp(b·x/α): σ_t² (slope of E[x_0 | x_{t-1}]) / α."""
    return transition.std**2 * later_slopes(transition) / kl_weight


def tempering_steps(transition: Transition, kl_weight: float = 1.0) -> tuple[Tensor, Tensor]:
    """Slopes and shifts, per unit of c, of the steps that maximize E[-‖x_0 - c‖²/2 - α Σ_t KL_t] with the prior's std.

    With V(x_{t-1}) = -h x²/2 + g x + const, a step's best mean is (α A_t x + σ_t² g) / (α + σ_t² h), and V(x_t) has
    h A_t² and g A_t times α / (α + σ_t² h); h = g = 1 at x_0. Its x_0 has the tilted prior's mean, and a larger
    variance, as the steps cannot be narrower than the prior's.
    """
    h, g = 1.0, 1.0
    steps = []
    for a, std in zip(slopes(transition).flip(0).tolist(), transition.std.flip(0).tolist(), strict=True):
        shrink = kl_weight / (kl_weight + std**2 * h)
        steps.append((shrink * a, shrink * std**2 * g / kl_weight))
        h, g = shrink * a**2 * h, shrink * a * g
    slope, shift = torch.tensor(steps).flip(0).unbind(1)
    return slope, shift


def bias_slope(transition: Transition, kept: Tensor) -> float:
    """The gradient of E[b·x_0] by the output layer's bias, per unit of b, if only these steps of a diffusion have one.

    An output of step t adds to x_{t-1} in proportion, and from there by the slope of E[x_0 | x_{t-1}] to x_0.
    """
    k, one = torch.arange(transition.steps), torch.ones(transition.steps, 1)
    return float((transition.mean(k, 0 * one, one)[:, 0] * later_slopes(transition))[kept].sum())


def moments(
    transition: Transition, shift: Tensor, slope: Tensor | None = None, std: Tensor | None = None
) -> tuple[float, float]:
    """Mean and variance of x_0, per dimension, after steps N(slope_t x_t + shift_t, std_t²) from N(0, 1).

    Slopes and standard deviations are the prior's unless they are given.
    """
    mean, variance = 0.0, 1.0
    slope = slopes(transition) if slope is None else slope
    std = transition.std if std is None else std
    for a, s, noise in zip(slope.tolist(), shift.tolist(), std.tolist(), strict=True):
        mean, variance = a * mean + s, a**2 * variance + noise**2
    return mean, variance


def tuned(optimizer: Generative, n: int = 12_000) -> Tensor:
    """`n x 2` samples of the policy after one fine-tuning, for which scores are rewards already."""
    optimizer.y = torch.tensor([-1.0, 1.0]) / 2**0.5  # they standardize to themselves
    if optimizer.prompted:
        number = torch.tensor([0, 0, 1, 1])
        optimizer.x = torch.cat([torch.zeros(4, 2), number[:, None]], 1)
        optimizer.y = optimizer.y.repeat(2) + EASE[number]
    optimizer.learn()
    return optimizer.sample(n)


def scored(optimizer: FineTuner, n: int) -> FineTuner:
    """An optimizer that knows `n` designs: even along b, where `Linear` is their score, normal across it."""
    b = Linear().b
    across = torch.stack([-b[1], b[0]]) / b.norm()
    along = 6 * torch.rand(n, 1, generator=generator(1)) - 3
    spread = torch.randn(n, 1, generator=generator(2))
    optimizer.x = optimizer.prior.decode(along * b / b.norm() + spread * across)
    optimizer.y = (optimizer.x @ b).double()
    return optimizer


def settled(optimizer: FineTuner, n: int = 12_000) -> Tensor:
    """As `tuned`, after a second fine-tuning with a smaller learning rate, for methods of much noise."""
    tuned(optimizer, 1)
    optimizer.training = replace(optimizer.training, learning_rate=optimizer.training.learning_rate / 6)
    return tuned(optimizer, n)


def check(z: Tensor, mean: Tensor, variance: float, *, shift: float = 0.05, spread: float = 0.1) -> None:
    """Fail unless samples have this mean, to a part `shift` of its length, and this variance, to a part `spread`."""
    wrong = float((z.mean(0) - mean).norm() / mean.norm())
    assert wrong < shift, f"expected the mean {mean.tolist()}, got {z.mean(0).tolist()}: {wrong:.1%} off"
    ratio = (z.var(0) / variance - 1).abs()
    assert float(ratio.max()) < spread, f"expected the variance {variance}, got {z.var(0).tolist()}"
