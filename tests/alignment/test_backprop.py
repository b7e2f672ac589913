"""The gradient through a trajectory, against finite differences and against what is known of its cut versions."""

import pytest
import torch
from torch import nn

from bbo_bench.alignment.backprop import Backprop
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import TRAINING, Linear, Quadratic, bias_slope, problem

STEPS = 10
MASKS = {
    "all": torch.ones(STEPS, dtype=torch.bool),
    "last": torch.arange(STEPS) == STEPS - 1,
    "suffix": torch.arange(STEPS) >= 6,
    "scattered": torch.arange(STEPS) % 3 == 1,
}


class Masked(Backprop):
    """Keeps the steps that it is told to keep."""

    def __init__(self, problem, mask, **settings):
        super().__init__(problem, generator(0), updates=1, batch_size=256, training=TRAINING, **settings)
        self.mask = mask
        self.y = torch.tensor([-1.0, 1.0]) / 2**0.5

    def kept(self):
        return self.mask[None]

    def evaluated(self):
        """The loss with the same noise every time."""
        self.rng.manual_seed(0)
        return next(self.losses())

    def gradient(self):
        """Of the loss by every weight."""
        weights = self.policy.trainable().values()
        return torch.autograd.grad(self.evaluated(), weights, allow_unused=True, materialize_grads=True)


def curved(kl_weight):
    """A prior and a policy that are unlike each other, and far from linear."""
    task = problem(STEPS)
    nn.init.normal_(task.prior.denoiser.out.weight, std=0.3, generator=generator(1))
    method = Masked(task, MASKS["all"], proxy=Quadratic, kl_weight=kl_weight)
    nn.init.normal_(method.policy.network.out.weight, std=0.3, generator=generator(2))
    return method


@pytest.mark.parametrize("mask", MASKS)
def test_the_first_gradient_is_what_the_kept_steps_contribute(mask):
    method = Masked(problem(STEPS), MASKS[mask], proxy=Linear)
    *_, bias = method.gradient()
    assert torch.allclose(bias, -bias_slope(method.transition, MASKS[mask]) * Linear().b, rtol=1e-4)


@pytest.mark.parametrize("kl_weight", [0.0, 0.5])
def test_the_gradient_through_all_steps_is_the_objectives(kl_weight):
    method, step, rng = curved(kl_weight), 3e-3, generator(3)
    gradient, weights = method.gradient(), list(method.policy.trainable().values())
    scale = torch.stack([g.norm() for g in gradient]).norm()
    for _ in range(5):
        direction = [
            torch.randn(w.shape, generator=rng) * g.norm() / w.numel() ** 0.5 / scale
            for w, g in zip(weights, gradient, strict=True)
        ]
        expected = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
        losses = []
        with torch.no_grad():
            for sign in (1, -2, 1):
                for w, d in zip(weights, direction, strict=True):
                    w += sign * step * d
                losses.append(method.evaluated())
        assert torch.isclose((losses[0] - losses[1]) / (2 * step), expected, rtol=1e-2, atol=2e-3 * float(scale))


def test_a_cut_step_takes_part_in_the_rollout_all_the_same():
    method = curved(0.0)
    whole = method.evaluated()
    method.mask = MASKS["scattered"]
    assert torch.allclose(method.evaluated(), whole, rtol=1e-5)


def test_only_kept_steps_diverge_from_the_reference():
    method = curved(1.0)
    method.rng.manual_seed(0)
    _, divergence = method.path([False] * STEPS)
    assert divergence.count_nonzero() == 0


def test_checkpoints_keep_the_gradient_and_no_activations():
    method, sizes = curved(0.5), []

    def kept(tensor):
        sizes.append(tensor.numel())
        return tensor

    expected = method.gradient()
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        method.evaluated()
    plain, sizes = sum(sizes), []
    method.checkpoint = True
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        method.evaluated()
    assert sum(sizes) < plain / 4
    assert all(torch.allclose(g, e) for g, e in zip(method.gradient(), expected, strict=True))


def test_steps_that_are_held_have_the_gradient_of_their_own_divergence_alone():
    """The states that the prior of the steps is compared in are those of a rollout, which no gradient passes."""
    method = curved(1.0)
    method.mask, method.hold_all = torch.zeros(STEPS, dtype=torch.bool), True
    got = method.gradient()
    method.rng.manual_seed(0)
    x, step, expected = method.start(method.batch_size), method.transition, []
    for k in range(STEPS):
        mean = step.mean_by(method.policy, k, x)
        expected.append(step.kl(k, mean, step.mean_by(method.reference, k, x)))
        x = step.step(k, mean, method.rng).detach()
    weights = method.policy.trainable().values()
    alone = torch.autograd.grad(torch.stack(expected).sum(0).mean(), weights, allow_unused=True, materialize_grads=True)
    assert all(torch.allclose(g, e, rtol=1e-4, atol=1e-6) for g, e in zip(got, alone, strict=True))
