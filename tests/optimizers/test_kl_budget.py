"""A budget of divergence on the Gaussian problem: all methods end at it, in the law of the weight that it is worth.

The reward is b·x. A method whose optimum shifts the prior's steps by s_t b/α has trajectories Σ_t |s_t b|²/(2σ_t² α²)
nats from the prior's. The budget is that of α = 1; the methods start with half or twice the weight. Regression has laws
of its own, and noise in its last steps of a good part of a nat: it has 8 nats to end at. A discount leaves SQDF a
sixtieth of a nat at α = 1: it has 2.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from bbo_bench.alignment.credit import Truncation
from bbo_bench.alignment.dual import LEAST, MOST, POWER, RESPONSE, SPAN, Dual
from bbo_bench.alignment.finetune import FineTuner, pairs
from bbo_bench.core import Problem
from bbo_bench.diffusion.transition import Transition
from bbo_bench.optimizers.alignprop import AlignProp
from bbo_bench.optimizers.awm import AWM
from bbo_bench.optimizers.b2_diffurl import B2DiffuRL
from bbo_bench.optimizers.d3po import D3PO
from bbo_bench.optimizers.ddpo import DDPO
from bbo_bench.optimizers.dibo import DiBO
from bbo_bench.optimizers.diffusion_dpo import DiffusionDPO
from bbo_bench.optimizers.diffusion_sharpening import DiffusionSharpening, DiffusionSharpeningDPO
from bbo_bench.optimizers.dmpo import DMPO
from bbo_bench.optimizers.dpok import DPOK
from bbo_bench.optimizers.draft import DRaFT
from bbo_bench.optimizers.grpo import GRPO
from bbo_bench.optimizers.ppo_kl import PPOKL
from bbo_bench.optimizers.prdp import PRDP
from bbo_bench.optimizers.qv_pg import QVPG
from bbo_bench.optimizers.raft import RAFT
from bbo_bench.optimizers.reinforce import Reinforce
from bbo_bench.optimizers.rwr import RWR
from bbo_bench.optimizers.score_as_action import ScoreAsAction
from bbo_bench.optimizers.sdpo import SDPO
from bbo_bench.optimizers.seiko import SEIKO
from bbo_bench.optimizers.sft import SFT
from bbo_bench.optimizers.sqdf import SQDF
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import (
    TRAINING,
    Linear,
    Quadratic,
    check,
    later_slopes,
    moments,
    problem,
    tilting_shifts,
)
from bbo_bench.testing.laws import noising, output_slopes, shift_problem
from tests.optimizers.test_d3po import attenuation

B = Linear().b
STEPS = 20
ON_POLICY = {"samples": 1024, "epochs": 1, "minibatches": 4, "clip": 0.2}
ADVANTAGES = ON_POLICY | {"max_advantage": 10.0}
PAIRS = {"iterations": 10, "samples": 256, "updates": 50, "batch_size": 256, "temperature": 1.0}
SETS = {"iterations": 25, "samples": 2048, "updates": 60, "batch_size": 1024}
CONTINUED = {"iterations": 25, "samples": 512, "updates": 30, "batch_size": 256, "variants": 3, "length": 3}
VALUE = {"value_updates": 10, "value_learning_rate": 5e-4}
WHOLE = {"truncation": Truncation(), "credit": None}
SEARCH = {"estimate": "tweedie", "gamma": 1.0, "updates": 400, "batch_size": 512, "rollouts": 64, "rollout_every": 20}


def denoiser_shifts(step):
    """Those of the denoiser of N(b, I), to which preferences between designs lead."""
    k, one = torch.arange(step.steps), torch.ones(step.steps, 1)
    return step.mean(k, 0 * one, -((1 - step.alpha_bar)[:, None] ** 0.5) * one)[:, 0]


def matching_shifts(step):
    """AWM's: `test_awm` derives them."""
    return -output_slopes(step) * noising(step)[1] * moments(step, torch.zeros(step.steps))[1]


def attenuated_shifts(step):
    """D3PO's: `test_d3po` derives them."""
    part = 2 * step.std**2 * later_slopes(step) ** 2 * float(B @ B)
    total = 2 * moments(step, torch.zeros(step.steps))[1] * float(B @ B)
    return torch.tensor([attenuation(v, total, 1.0) for v in part.tolist()]) * tilting_shifts(step)


class Method(NamedTuple):
    """How a method is tried, and what its steps' shifts are at α = 1."""

    cls: type[FineTuner]
    settings: dict[str, object]
    shifts: Callable[[Transition], torch.Tensor] = tilting_shifts
    steps: int = STEPS
    alone: bool = True
    """Whether α alone decides where it ends."""
    learning_rate: float = 2e-3
    on: Callable[[int], Problem] = problem
    within: float = 0.05
    nats: float | None = None
    """A budget other than that of α = 1."""


METHODS = {
    "sqdf": Method(SQDF, SEARCH | {"capacity": 1024, "replay": "random", "on_policy_fraction": None}),
    "sqdf_prioritized": Method(
        SQDF,
        SEARCH | {"gamma": 0.9, "capacity": 1024, "replay": "reward+gamma", "on_policy_fraction": None},
        nats=2.0,
    ),
    "draft_full_kl": Method(DRaFT, {"K": None, "renoised": 0, "updates": 300, "batch_size": 128}),
    "alignprop": Method(AlignProp, {"cut_mean": 0.0, "cut_std": 0.5, "updates": 300, "batch_size": 256}),
    "seiko": Method(
        SEIKO, {"kl_weight_previous": 0.25, "adaptive": True, "updates": 300, "batch_size": 128}, alone=False
    ),
    "qv_pg": Method(QVPG, WHOLE | {"updates": 300, "batch_size": 128}),
    "ddpo": Method(DDPO, ADVANTAGES | {"iterations": 80}, steps=10),
    "ddpo_sf": Method(DDPO, ADVANTAGES | {"iterations": 200, "minibatches": 1, "clip": None}, steps=10),
    "reinforce": Method(Reinforce, ADVANTAGES | WHOLE | {"iterations": 80}, steps=10),
    "reinforce_late": Method(
        Reinforce,
        ADVANTAGES | {"truncation": Truncation(None, 4), "credit": None, "iterations": 80},
        steps=10,
        nats=2.0,
        within=0.1,
    ),
    "dpok": Method(DPOK, ADVANTAGES | VALUE | {"iterations": 80}, steps=10),
    "ppo_kl": Method(PPOKL, ADVANTAGES | {"iterations": 80}, steps=10),
    "grpo": Method(GRPO, ADVANTAGES | {"iterations": 80, "group": 16, "group_std": False, "fraction": 0.6}, steps=10),
    "b2_diffurl": Method(
        B2DiffuRL,
        ADVANTAGES
        | {"iterations": 75, "samples": 3000, "minibatches": 2, "branches": 5, "first_stage": 1.0, "threshold": 0.5},
        steps=10,
    ),
    "sdpo": Method(
        SDPO,
        ADVANTAGES | {"iterations": 70, "samples": 2048, "gamma": 0.99, "ratio_weight": 1.0, "minibatches": 8},
        steps=3,
    ),
    "score_as_action": Method(ScoreAsAction, ADVANTAGES | VALUE | {"iterations": 80}, steps=10, within=0.1),
    "prdp": Method(PRDP, ON_POLICY | {"iterations": 250, "samples": 256, "minibatches": 2}),
    "dibo": Method(
        DiBO,
        {"iterations": 250, "samples": 128, "epochs": 1, "minibatches": 1, "log_z_rate": 0.1}
        | {"candidates": 1, "search_steps": 0, "search_rate": 0.01, "batch": 1024},
    ),
    "d3po": Method(
        D3PO, ON_POLICY | {"iterations": 120, "samples": 512, "minibatches": 2, "temperature": 1.0}, attenuated_shifts
    ),
    "diffusion_dpo": Method(DiffusionDPO, PAIRS | {"iterations": 30}, denoiser_shifts),
    "dmpo": Method(DMPO, PAIRS | {"iterations": 30, "smoothing": 1e-6}, denoiser_shifts, within=0.1),
    "awm": Method(
        AWM,
        {"iterations": 300, "samples": 512, "minibatches": 1, "timesteps": 4, "clip": 1.0, "max_advantage": 5.0}
        | {"weighting": "uniform", "ema_weight": 1.0, "ema_decay": 0.3},
        matching_shifts,
        learning_rate=0.01,
        on=shift_problem,
    ),
    "rwr": Method(RWR, SETS | {"temperature": 1.0}, learning_rate=5e-4, nats=8.0, within=0.15),
    "raft": Method(RAFT, SETS | {"candidates": 2, "ranking": "local"}, learning_rate=5e-4, nats=8.0, within=0.25),
    "sft": Method(
        SFT,
        SETS | {"best": 0.5, "unlikely": 0.0, "origin": "policy"},
        learning_rate=5e-4,
        nats=8.0,
        within=0.1,
    ),
    "diffusion_sharpening": Method(DiffusionSharpening, CONTINUED, learning_rate=1e-3),
    "diffusion_sharpening_dpo": Method(DiffusionSharpeningDPO, CONTINUED | {"beta": 1.0}, learning_rate=1e-3),
}


def divergence(step, shifts):
    """Nats of steps that are shifted by `shifts` times b."""
    return float((shifts**2 / (2 * step.std**2)).sum() * B.square().sum())


def made(name, budget, **changes):
    method = METHODS[name]
    optimizer = method.cls(
        method.on(method.steps),
        generator(0),
        training=replace(TRAINING, learning_rate=method.learning_rate),
        **{"proxy": Linear, "kl_weight": None, "kl_budget": budget} | method.settings | changes,
    )
    optimizer.x, optimizer.y = torch.full((2, 2), 9.0), torch.tensor([-1.0, 1.0]) / 2**0.5
    return optimizer


def settled(optimizer):
    rate = optimizer.training.learning_rate
    for part in (1, 4, 16, 16):
        optimizer.training = replace(optimizer.training, learning_rate=rate / part)
        optimizer.learn()
    return optimizer


@torch.no_grad()
def spent(optimizer, n=2048):
    """Nats of fresh trajectories."""
    step = optimizer.transition
    states, means = optimizer.paths(n)
    x, k = pairs(states)
    return float(step.kl(k, means.flatten(0, 1), step.mean_by(optimizer.reference, k, x)).sum() / n)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_ends_at_its_budget_in_the_law_of_its_weight(name, factor):
    method = METHODS[name]
    step = method.on(method.steps).prior.transition
    shifts = method.shifts(step)
    budget = method.nats or divergence(step, shifts)
    optimizer = made(name, budget)
    optimizer.dual._log_weight = torch.tensor(math.log(factor))
    settled(optimizer)
    assert spent(optimizer) == pytest.approx(budget, rel=method.within)
    if method.nats:
        assert float((optimizer.sample(4000) @ B).mean()) > 0.3, "up, though its laws are other than the tilted prior"
        return
    mean, variance = moments(step, shifts)
    check(optimizer.sample(12_000), mean * B, variance)
    if method.alone:
        assert optimizer.diagnostics()["kl_weight"] == pytest.approx(1, rel=0.1)


def test_the_weight_rises_above_the_budget_and_falls_below_it():
    for kl, sign in ((50.0, 1), (0.0, -1)):
        dual = Dual(0.5, torch.device("cpu"))
        assert float(dual.weight) == pytest.approx(1.0), "normal rewards are 1/(2α²) nats away"
        for _ in range(50):
            dual.follow(torch.tensor(kl), 50)
        moved = SPAN + POWER * math.log(RESPONSE)
        assert float(dual.weight.log()) == pytest.approx(sign * moved), "so far in a round, and at once"


@pytest.mark.parametrize(("kl", "end"), [(0.0, LEAST), (math.inf, MOST)])
def test_the_weight_has_bounds_and_says_when_the_budget_binds_nothing(kl, end):
    dual = Dual(8.0, torch.device("cpu"))
    for _ in range(100):
        dual.follow(torch.tensor(kl), 5)
    assert dual.diagnostics() == {"kl_weight": pytest.approx(end), "kl_unbound": float(end == LEAST)}


@pytest.mark.parametrize("budget", [0.1, 200.0])
@pytest.mark.parametrize("name", METHODS)
def test_budgets_out_of_proportion_stay_finite(name, budget):
    few = {key: 2 for key in ("iterations", "updates") if key in METHODS[name].settings}
    optimizer = made(name, budget, **few)
    optimizer.learn()
    assert all(map(math.isfinite, optimizer.diagnostics().values()))
    assert optimizer.sample(8).isfinite().all()


def test_branches_count_the_steps_before_they_fork():
    optimizer = made("b2_diffurl", 4.0, proxy=Quadratic, iterations=2, first_stage=0.5)
    optimizer.learn()
    optimizer.stage = 0
    seen = []
    optimizer.dual.follow = lambda kl, steps: seen.append(float(kl))
    rollout = optimizer.rollout(4096)
    optimizer.loss(optimizer.experience(rollout))
    assert rollout.trajectories.means.shape[1] == 5
    assert seen == [pytest.approx(spent(optimizer, 4096), rel=0.05)] and seen[0] > 0.01


def test_an_optimum_nearer_than_the_budget_takes_the_least_weight_and_says_so():
    optimizer = made("draft_full_kl", 200.0, proxy=Quadratic, updates=60)
    for _ in range(2):
        optimizer.learn()
    found = optimizer.diagnostics()
    assert found["kl_unbound"] == 1 and found["kl_weight"] == pytest.approx(LEAST) and 1 < found["kl"] < 100


def test_the_state_round_trips():
    first, second = (made("draft_full_kl", 2.0, updates=4, batch_size=16) for _ in range(2))
    first.x = second.x = torch.zeros(0, 2)
    first.learn()
    second.policy.load_weights(first.policy.weights())
    second.dual.load_state_dict(first.dual.state_dict())
    for each in (first, second):
        each.rng.manual_seed(1)
        each.learn()
    assert first.diagnostics() == second.diagnostics()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kl_weight": None, "kl_budget": None}, "expected kl_weight or kl_budget, and null for the other"),
        ({"kl_weight": 0.1, "kl_budget": 2.0}, "got kl_weight=0.1, kl_budget=2.0"),
        ({"kl_weight": None, "kl_budget": 0.0}, "expected kl_budget > 0 nats, got 0.0"),
    ],
)
def test_a_weight_or_a_budget(settings, message):
    with pytest.raises(ValueError, match=message):
        made("sqdf", 1.0, **settings)


def test_losses_that_do_not_say_what_they_spend_have_no_budget():
    class Silent(DRaFT):
        def spend(self, kl):
            pass

    optimizer = Silent(
        problem(STEPS),
        generator(0),
        proxy=Linear,
        training=TRAINING,
        **{"kl_weight": None, "kl_budget": 2.0, "K": None, "renoised": 0, "updates": 2, "batch_size": 16},
    )
    optimizer.y = torch.tensor([-1.0, 1.0])
    with pytest.raises(ValueError, match="Silent knows no kl_budget"):
        optimizer.learn()
