"""What methods that learn from preferences share: pairs of designs or trajectories, log-ratios to the prior."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.finetune import FineTuner, Rollout, check_counts, pairs
from bbo_bench.alignment.groups import mates
from bbo_bench.alignment.on_policy import OnPolicy
from bbo_bench.core import Problem
from bbo_bench.diffusion.transition import Transition, squared


class Preference(FineTuner):
    """Asks the log-ratio of policy and prior to differ between two designs as their rewards do, divided by α.

    That is what the tilted prior p(x) exp(r(x)/α) does, for which no normalizing constant is needed (Rafailov et al.
    2023, eq. 5). The prior is the pretrained one in all rounds.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if not self.regularized:
            raise ValueError("preferences are explained by α times log-ratios: expected kl_weight > 0, got 0")


class DesignPairs(Preference):
    """Preferences between designs, whose log-likelihood is estimated by denoising them: Diffusion-DPO's estimate.

    Both of a pair are noised to the same step by the same noise. Log-likelihoods are estimated by one term of the
    ELBO -½ ∫ ‖x_0 - x̂_0(x_t)‖² / (1 - ā)² dā of continuous time (Kingma et al. 2021; SNR = ā / (1 - ā)), with steps
    drawn as ā uniform in [0, 1] falls on the sampler's.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        iterations: How often designs are drawn per round; without a proxy they are always the queried ones.
        samples: Designs that are drawn at once.
        updates: Gradient steps per draw.
        batch_size: Pairs per gradient step.
        temperature: τ of the labels P(a ≻ b) = σ((r_a - r_b)/τ); the optimum is the same for all.
        **shared: See `FineTuner`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        iterations: int,
        samples: int,
        updates: int,
        batch_size: int,
        temperature: float,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        check_counts(iterations=iterations, samples=samples, updates=updates, batch_size=batch_size)
        check_temperature(temperature)
        self.iterations, self.samples = iterations, samples
        self.updates, self.batch_size, self.temperature = updates, batch_size, temperature
        self._share, self._nats = continuous_elbo(self.transition)

    @property
    def gradient_steps(self) -> int:
        """See `FineTuner.gradient_steps`."""
        return self.iterations * self.updates

    @abstractmethod
    def divergence(self, logit: Tensor, label: Tensor) -> Tensor:
        """Losses of `n` logits of the policy's preferences, given `n` probabilities, an `n`-dim tensor."""

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for _ in range(self.iterations):
            z, reward = self.scored(self.samples)
            for _ in range(self.updates):
                rows = torch.randint(len(z), (2, self.batch_size), generator=self.rng, device=z.device)
                if self.prompted:
                    rows[1] = mates(self.prompt(z), rows[0], self.rng)
                yield self.loss(z[rows], reward[rows])

    def loss(self, z: Tensor, reward: Tensor) -> Tensor:
        """Loss of pairs: `2 x n x latent_shape` latents with `2 x n` rewards, a scalar."""
        k = torch.multinomial(self._share, z.shape[1], replacement=True, generator=self.rng)
        noise = torch.randn(z.shape[1:], generator=self.rng, device=z.device)
        label = ((reward[0] - reward[1]) / self.temperature).sigmoid()
        return self.divergence(self.logit(z, k, noise), label).mean()

    def logit(self, z: Tensor, k: Tensor, noise: Tensor) -> Tensor:
        """Logits that the first of each pair in `2 x n x latent_shape` is preferred, an `n`-dim tensor."""
        step, z, k = self.transition, z.flatten(0, 1), k.repeat(2)
        x, timestep = step.noise(k, z, torch.cat([noise, noise])), step.timesteps[k]
        target = step.target(k, x, z)
        with torch.no_grad():
            reference = self.reference(x, timestep)
        output = self.policy(x, timestep)
        self.spend(step.output_kl(k, output, reference) / self._share[k])
        error = squared(output - target) - squared(reference - target)
        first, second = (self._nats[k] * error).chunk(2)
        return self.kl_weight / self.temperature * (second - first)


class Paths(NamedTuple):
    """`n` trajectories of a rollout, with what stays the same while they are learnt from."""

    states: Tensor
    """`n x (T+1) x latent_shape`: x_T, ..., x_0."""
    reference: Tensor
    """`n x T x latent_shape`: the prior's means of x_{T-1}, ..., x_0."""
    behaviour: Tensor
    """`n x T`: the log-ratios of policy and prior when the steps were drawn."""
    reward: Tensor
    """`n` rewards of x_0."""


class PathRatios(Preference, OnPolicy):
    """Learns from trajectories by their log-ratios to the prior, which are known step by step.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        **shared: See `OnPolicy`.

    Raises:
        ValueError: If a setting is out of range.
    """

    @torch.no_grad()
    def experience(self, rollout: Rollout) -> Paths:
        """The trajectories of a rollout."""
        states, means = rollout.trajectories
        x, k = pairs(states)
        reference = self.transition.mean_by(self.reference, k, x).reshape(means.shape)
        return Paths(states, reference, self._log_ratio(states, means, reference), rollout.reward)

    def log_ratio(self, paths: Paths) -> Tensor:
        """Log-ratios of p_θ(x_{t-1} | x_t) to the prior's, of every step, `n x T`, in nats."""
        x, k = pairs(paths.states)
        means = self.transition.mean_by(self.policy, k, x).reshape(paths.reference.shape)
        self.spend(self.transition.kl(k, means.flatten(0, 1), paths.reference.flatten(0, 1)) * self.transition.steps)
        return self._log_ratio(paths.states, means, paths.reference)

    def _log_ratio(self, states: Tensor, means: Tensor, reference: Tensor) -> Tensor:
        farther = (states[:, 1:] - reference).square() - (states[:, 1:] - means).square()
        return farther.flatten(2).sum(2) / (2 * self.transition.std**2)


class PathPairs(PathRatios):
    """Preferences between the policy's own trajectories.

    All pairs of one prompt within a minibatch are compared: that costs no pass of a network. Log-ratios enter as they
    are, or clipped to what they were when the step was drawn ± clip, whichever is worse: beyond the clip a policy that
    goes on in the right direction learns no more from this rollout, and one that goes the wrong way is corrected (Deng
    et al. 2024).

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        clip: How far a step's log-ratio is followed from where it was when the rollout was drawn, in nats.
        **shared: See `OnPolicy`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self, problem: Problem, rng: Generator, *, clip: float, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        if clip <= 0:
            raise ValueError(f"expected clip > 0, got {clip=}")
        self.clip = clip
        if self.samples < 2 * self.minibatches:
            raise ValueError(
                "expected two trajectories per minibatch or more, "
                f"got samples={self.samples}, minibatches={self.minibatches}"
            )

    @abstractmethod
    def error(self, ratio: Tensor, reward: Tensor) -> Tensor:
        """How badly `n x T` log-ratios explain the differences of `n` rewards, `n x n` or `n x n x T`."""

    def loss(self, paths: Paths) -> Tensor:
        """Loss of a minibatch of trajectories, a scalar."""
        ratio = self.log_ratio(paths)
        clipped = ratio.clamp(paths.behaviour - self.clip, paths.behaviour + self.clip)
        error = torch.maximum(self.error(ratio, paths.reward), self.error(clipped, paths.reward))
        if not self.prompted:
            return error.mean()
        prompt = self.prompt(paths.states[:, -1])
        return error[prompt[:, None] == prompt].mean()

    def shuffled(self, n: int, device: torch.device) -> Sequence[Tensor]:
        """See `OnPolicy.shuffled`; trajectories of one prompt come together, the prompts in random order."""
        if not self.prompted:
            return super().shuffled(n, device)
        order = torch.randperm(n, generator=self.rng, device=device)
        place = torch.randperm(int(self._prompt.max()) + 1, generator=self.rng, device=device)
        return order[place[self._prompt[order]].argsort(stable=True)].chunk(self.minibatches)

    @torch.no_grad()
    def experience(self, rollout: Rollout) -> Paths:
        """See `PathRatios.experience`."""
        self._prompt = self.prompt(rollout.trajectories.x0)
        return super().experience(rollout)


def continuous_elbo(transition: Transition) -> tuple[Tensor, Tensor]:
    """`T` parts of ā's way from 0 to 1 that lie between the steps; `T` factors from an output's error to nats.

    The error of x̂_0 weighs 1 / 2(1 - ā)² in the ELBO per unit of ā.
    """
    one = torch.ones_like(transition.std)
    alpha_bar = torch.cat([transition.alpha_bar, one[:1]])
    return alpha_bar.diff(), transition.x0_per_output**2 / (2 * (1 - alpha_bar[:-1]) ** 2)


def differences(values: Tensor) -> Tensor:
    """How much each of `n x ...` values exceeds each other, `n x n x ...`."""
    return values[:, None] - values


def check_temperature(temperature: float) -> None:
    """Raise `ValueError` unless the temperature is positive."""
    if temperature <= 0:
        raise ValueError(f"expected temperature > 0, got {temperature=}")
