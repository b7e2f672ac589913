"""What all fine-tuners share, seen through the simplest of them."""

import re

import pytest
import torch

from bbo_bench.alignment.finetune import DivergedError, FineTuner, Training, pairs
from bbo_bench.record import Record
from bbo_bench.seeding import generator
from bbo_bench.testing.gaussian import Linear, problem
from bbo_bench.testing.probe import Probe, play


class Shift(FineTuner):
    """Moves the policy's output towards `target`, for three updates."""

    target = 1.0
    scales = (1.0, 1.0, 1.0)

    def losses(self):
        z = self.prior.noise(64, self.rng)
        for scale in self.scales:
            yield scale * (self.policy(z, self.transition.timesteps[0]) - self.target).square().mean()


def tuner(cls=Shift, **settings):
    settings = {"proxy": Linear, "training": Training(lora_rank=None)} | settings
    optimizer = cls(problem(5), generator(0), **settings)
    optimizer.y = torch.tensor([-1.0, 1.0])
    return optimizer


def test_diagnostics_tell_loss_and_divergence_from_the_prior():
    optimizer = tuner()
    optimizer.learn()
    numbers = optimizer.diagnostics()
    assert 0 < numbers["loss"] < 1 and numbers["kl"] > 0 and numbers["proxy_error"] == 0
    assert not optimizer.path_kl().requires_grad


class Parts(Shift):
    """The same, two updates by the same 64 latents in so many `parts`."""

    parts = 1

    def losses(self):
        z = self.prior.noise(64, generator(3))
        for part in torch.cat([z, z]).chunk(2 * self.parts):
            yield (self.policy(part, self.transition.timesteps[0]) - self.target).square().mean()


@pytest.mark.parametrize("parts", [2, 4])
def test_losses_of_parts_of_a_batch_make_the_step_of_the_whole(parts):
    weights = []
    for accumulate in (1, parts):
        optimizer = tuner(Parts, training=Training(lora_rank=None, accumulate=accumulate))
        optimizer.parts = accumulate
        assert optimizer.descend() > 0
        weights.append(optimizer.policy.trainable().values())
    for whole, apart in zip(*weights, strict=True):
        torch.testing.assert_close(apart, whole)


def test_losses_that_are_left_over_make_a_step():
    moved = []
    for accumulate in (2, 3):
        optimizer = tuner(training=Training(lora_rank=None, accumulate=accumulate))
        before = [weight.detach().clone() for weight in optimizer.policy.trainable().values()]
        optimizer.descend()
        pairs = zip(before, optimizer.policy.trainable().values(), strict=True)
        moved.append(sum(float((a - b.detach()).abs().sum()) for a, b in pairs))
    assert moved[0] > 1.5 * moved[1] > 0, "two steps of AdamW, not one"
    with pytest.raises(ValueError, match="accumulate=0"):
        Training(accumulate=0)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_divergence_names_method_round_and_step(scale):
    class Diverging(Shift):
        scales = (1.0, scale, 1.0)

    with pytest.raises(DivergedError, match=r"Diverging diverged: round 0, step 2 .* not finite.*learning_rate"):
        tuner(Diverging).learn()


def test_a_gradient_that_is_not_finite_is_divergence():
    class Cusp(Shift):
        def losses(self):
            yield (self.policy(self.prior.noise(4, self.rng), self.transition.timesteps[0]) * 0).sum().sqrt()

    with pytest.raises(DivergedError, match="step 1"):
        tuner(Cusp).learn()


def test_what_divergence_breaks_later_does_not_hide_it():
    class Broken(Shift):
        def losses(self):
            yield from (torch.nan * loss for loss in super().losses())
            torch.multinomial(torch.full((3,), torch.nan), 1)

    with pytest.raises(DivergedError, match="step 1"):
        tuner(Broken).learn()


def test_the_round_of_a_divergence_follows_from_the_data():
    optimizer = tuner()
    object.__setattr__(optimizer.problem, "budget", (2, 3, 4))
    for n, i in ((2, 0), (5, 1), (9, 2)):
        optimizer.y = torch.zeros(n)
        assert re.search(rf"round {i}, step 4", str(optimizer._diverged(3)))


def test_fewer_steps_than_the_prior():
    optimizer = tuner(steps=3)
    trajectories = optimizer.trajectories(optimizer.prior.noise(7, optimizer.rng))
    assert trajectories.states.shape == (7, 4, 2) and trajectories.means.shape == (7, 3, 2)
    assert optimizer.prior.transition.steps == 5
    with pytest.raises(ValueError, match="steps=0"):
        tuner(steps=0)


def test_states_of_a_trajectory_are_drawn_around_its_means():
    optimizer = tuner()
    states, means = optimizer.trajectories(optimizer.prior.noise(50_000, optimizer.rng))
    noise = (states[:, 1:] - means) / optimizer.transition.std[:, None]
    torch.testing.assert_close(noise.mean((0, 2)), torch.zeros(5), atol=0.02, rtol=0)
    torch.testing.assert_close(noise.std((0, 2)), torch.ones(5), atol=0.02, rtol=0)


def test_the_denoising_error_is_the_divergence_to_the_step_that_knows_x0():
    optimizer = tuner()
    step, z = optimizer.transition, optimizer.prior.noise(6, optimizer.rng)
    k, noise = torch.tensor([0, 1, 2, 3, 4, 2]), optimizer.prior.noise(6, optimizer.rng)
    x = step.noise(k, z, noise)
    knowing = step.mean(k, x, step.target(k, x, z))
    kl = step.kl(k, step.mean_by(optimizer.policy, k, x), knowing)
    error = optimizer.denoising_error(optimizer.policy, z, k, noise)
    torch.testing.assert_close(step.kl_per_error[k] * error, kl)


def test_diversity_rewards_distance_to_the_batch():
    optimizer = tuner(diversity=2.0)
    z = torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 1.0]], requires_grad=True)
    distance = (10 / 2) ** 0.5
    bonus = optimizer.reward(z) - optimizer.standardized(z @ Linear().b, z)
    torch.testing.assert_close(bonus, torch.tensor([distance, distance, 2 * distance]), atol=1e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad(bonus.sum(), z)
    assert gradient.isfinite().all() and gradient[2] @ z[2] > 0 > gradient[0] @ z[2]
    assert not tuner().bonus(z).any() and not optimizer.bonus(z[:1]).any()
    with pytest.raises(ValueError, match="diversity must be at least 0, got -1"):
        tuner(diversity=-1)


def test_without_a_proxy_the_rounds_designs_are_the_only_rollout():
    optimizer = tuner(proxy=None)
    assert list(optimizer.rollouts(5, 8)) == []
    asked = optimizer.ask(2)
    optimizer.x, optimizer.y = torch.cat([asked, asked]), torch.tensor([-1.0, 1.0, 3.0, 5.0])
    [(trajectories, reward)] = optimizer.rollouts(5, 8)
    torch.testing.assert_close(trajectories.x0, asked)
    torch.testing.assert_close(reward, torch.tensor([3.0, 5.0]) / 2**0.5)
    z, rewards = optimizer.scored(100)
    assert len(z) == len(rewards) == 4


def test_divergence_leaves_the_last_finite_state(tmp_path):
    class Late(Shift):
        def losses(self):
            scale = torch.nan if len(self.y) > 8 else 1.0
            yield from (scale * loss for loss in super().losses())

    def build(problem, rng):
        return Late(problem, rng, proxy=None, training=Training(lora_rank=2))

    with pytest.raises(DivergedError, match="Late diverged: round 1, step 1"):
        play(tmp_path, build, Probe(), (8, 8, 8))
    with Record(tmp_path, {"rounds": [8, 8, 8], "seed": 0}) as record:
        assert record.rounds == 1
        weights = record.state["policy"].values()
        assert all(w.isfinite().all() for w in weights) and any(w.any() for w in weights)


def test_pairs_are_all_states_that_a_step_is_taken_from_with_its_number():
    states = torch.arange(2 * 4).reshape(2, 4, 1)
    x, k = pairs(states)
    assert x.flatten().tolist() == [0, 1, 2, 4, 5, 6] and k.tolist() == [0, 1, 2] * 2
    assert pairs(states, 5)[1].tolist() == [5, 6, 7] * 2
