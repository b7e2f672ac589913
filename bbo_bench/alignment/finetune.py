"""What every fine-tuning method shares: policy, rollouts, training. A method is its losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from bbo_bench.alignment.dual import Dual
from bbo_bench.alignment.generative import Generative
from bbo_bench.alignment.policy import Policy
from bbo_bench.archive import places
from bbo_bench.core import Problem, State
from bbo_bench.diffusion.transition import Denoiser
from bbo_bench.progress import tick

DIAGNOSED = 64
"""Trajectories in the estimate of the KL divergence to the prior."""


class DivergedError(RuntimeError):
    """Training came to a loss that is not finite."""


@dataclass(frozen=True)
class Training:
    """How a policy is trained, by AdamW, which starts anew in every round.

    Attributes:
        learning_rate: Learning rate.
        weight_decay: Weight decay.
        max_grad_norm: Gradients are clipped to this norm.
        accumulate: Losses whose mean gradient makes a step: batches that memory holds in the place of a larger one.
        lora_rank: Rank of the trained LoRA matrices; None trains all weights.
        lora_targets: Layers that have them, by the ends of their names; None for all linear and convolutional ones.

    Raises:
        ValueError: If a number is out of range.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    max_grad_norm: float = 1.0
    accumulate: int = 1
    lora_rank: int | None = 16
    lora_targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.learning_rate, self.max_grad_norm) <= 0 or self.weight_decay < 0:
            raise ValueError(f"learning_rate and max_grad_norm must be positive, weight_decay at least 0, got {self}")
        check_counts(accumulate=self.accumulate)
        if self.lora_rank is not None and self.lora_rank < 1:
            raise ValueError(f"lora_rank must be at least 1, or null to train all weights, got {self.lora_rank}")


Phase = Callable[..., "FineTuner"]
"""Makes a fine-tuner, a part of another method, from a problem and a generator."""


class Trajectories(NamedTuple):
    """Denoising trajectories."""

    states: Tensor
    """`n x (T+1) x latent_shape`: x_T, ..., x_0; fewer if they begin later."""
    means: Tensor
    """`n x T x latent_shape`: the means around which x_{T-1}, ..., x_0 were drawn."""

    @property
    def x0(self) -> Tensor:
        """`n x latent_shape`: where they end."""
        return self.states[:, -1]


class Rollout(NamedTuple):
    """Trajectories with the rewards of their ends."""

    trajectories: Trajectories
    reward: Tensor
    """`n` rewards of x_0."""


class Tuned(Generative):
    """Has a policy, whose weights are what it has learnt, and numbers that tell of the last fine-tuning.

    Args:
        problem: With a `DiffusionPrior`.
        rng: Generator on the prior's device.
        **shared: See `Generative`.
    """

    policy: Policy

    def __init__(self, problem: Problem, rng: Generator, **shared: Any) -> None:
        super().__init__(problem, rng, **shared)
        self._numbers: dict[str, float] = {}

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"policy": self.policy.weights(), "diagnostics": self._numbers}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self.policy.load_weights(state["policy"])
        self._numbers = state["diagnostics"]

    def diagnostics(self) -> dict[str, float]:
        """Numbers of the last fine-tuning, held-out proxy error."""
        return self._numbers | super().diagnostics()


class FineTuner(Tuned):
    """Fine-tunes the denoiser of a diffusion prior. Every round goes on from the policy of the round before.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        kl_weight: Weight α of the KL divergence to the prior, in prior standard deviations of the score per nat; None
            with `kl_budget`.
        kl_budget: Nats that the policy's trajectories may be from the prior's, in the place of the weight, which then
            follows from it; see `Dual`. None with `kl_weight`.
        training: How the policy is trained.
        steps: Number T of the policy's sampling steps; None is the prior's.
        **shared: See `Generative`.

    Raises:
        ValueError: If a number is out of range, not exactly one of weight and budget is given, or the sampler is
            deterministic.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        kl_weight: float | None = 0.0,
        kl_budget: float | None = None,
        training: Training,
        steps: int | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if steps is not None:
            check_counts(steps=steps)
            self.transition = self.prior.sampler(steps)
        if (kl_weight is None) == (kl_budget is None):
            raise ValueError(f"expected kl_weight or kl_budget, and null for the other, got {kl_weight=}, {kl_budget=}")
        if kl_weight is not None and kl_weight < 0:
            raise ValueError(f"kl_weight must be at least 0, got {kl_weight}")
        self.check_stochastic()
        self.training = training
        self.policy = self.untrained()
        self._kl_weight = kl_weight or 0.0
        self.dual = None if kl_budget is None else Dual(kl_budget, rng.device)
        self._asked: Trajectories | None = None

    @abstractmethod
    def losses(self) -> Iterator[Tensor]:
        """Losses to descend, one after the other; AdamW takes a step after each, or after `accumulate` of them."""

    @property
    def gradient_steps(self) -> int:
        """About how many losses there are in a round, in which α comes to what a budget asks for."""
        return 100

    @property
    def kl_weight(self) -> float | Tensor:
        """α; under a budget a scalar tensor, which changes from loss to loss."""
        return self._kl_weight if self.dual is None else self.dual.weight

    @property
    def regularized(self) -> bool:
        """Whether the KL divergence to the prior has a weight."""
        return self.dual is not None or self._kl_weight > 0

    def spend(self, kl: Tensor) -> None:
        """Let α follow what a batch shows of the trajectories' KL divergence to the prior; no step without a budget.

        Args:
            kl: Nats of `n` trajectories, or of `n` steps times T, whose mean counts.
        """
        self._spent = True
        if self.dual is not None:
            self.dual.follow(kl.detach().mean(), self.gradient_steps)

    def untrained(self) -> Policy:
        """A policy that does what the prior does."""
        return Policy(self.reference, self.training.lora_rank, self.rng, self.training.lora_targets)

    def learn(self) -> None:
        """Fine-tune the policy; the numbers are the mean loss, and the KL of its trajectories to the prior's."""
        self._numbers = {"loss": self.descend(), "kl": float(self.path_kl())}
        if self.dual is not None:
            self._numbers |= self.dual.diagnostics()
        self._asked = None

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | ({} if self.dual is None else {"dual": self.dual.state_dict()})

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        if self.dual is not None:
            self.dual.load_state_dict(state["dual"])

    def descend(self) -> float:
        """Descend `losses` by AdamW, which starts anew; their mean.

        Raises:
            DivergedError: If one is not finite.
        """
        weights = list(self.policy.trainable().values())
        training = self.training
        optimizer = torch.optim.AdamW(weights, lr=training.learning_rate, weight_decay=training.weight_decay)
        total, finite = torch.zeros(2, device=self.rng.device)
        steps, self._spent = 0, False
        try:
            losses = self.losses()
            while True:
                optimizer.zero_grad()
                taken = 0
                for loss in islice(losses, training.accumulate):
                    torch.autograd.backward(loss / training.accumulate)
                    total += loss.detach()
                    taken += 1
                if not taken:
                    break
                norm = nn.utils.clip_grad_norm_(weights, training.max_grad_norm)
                optimizer.step()
                finite += taken * (total + norm).isfinite()  # once it is not finite, the total never is again
                steps += taken
                tick(steps, self.gradient_steps)
        except (RuntimeError, ValueError) as error:
            if int(finite) == steps:
                raise
            raise self._diverged(int(finite)) from error
        if int(finite) < steps:
            raise self._diverged(int(finite))
        if self.dual is not None and steps and not self._spent:
            raise ValueError(
                f"{type(self).__name__} knows no kl_budget: its losses do not say by `spend` how far they are from the "
                "prior; set kl_weight"
            )
        return float(total) / max(steps, 1)

    def ask(self, n: int) -> Tensor:
        """Fresh samples of the policy; without a proxy they are learnt from, and their trajectories are kept."""
        if self.proxy is not None:
            return super().ask(n)
        with self.prior.codec.comparing():
            self._asked = self.fresh(n)
        return self.prior.decode(self._asked.x0)

    def tell(self, x: Tensor, y: Tensor) -> None:
        """See `Generative.tell`; only trajectories that led to told designs are learnt from, whatever their order."""
        if self._asked is not None:
            at = places(x, self.prior.decode(self._asked.x0))
            order = (at >= 0).byte().argsort(stable=True)  # what was asked for last, where rewards are read
            x, y, at = x[order], y[order], at[order]
            self._asked = Trajectories(*(part[at[at >= 0]] for part in self._asked)) if (at >= 0).any() else None
        super().tell(x, y)

    def sample(self, n: int) -> Tensor:
        """Fresh samples of the policy."""
        return self.paths(n).x0

    def paths(self, n: int) -> Trajectories:
        """`n` fresh trajectories of the policy that end in designs; they may begin later than with x_T."""
        return self.trajectories(self.prior.noise(n, self.rng))

    def start(self, n: int) -> Tensor:
        """`n x latent_shape` noise x_T, from which trajectories start that are learnt from."""
        return self.prior.noise(n, self.rng)

    def fresh(self, n: int) -> Trajectories:
        """`n` fresh trajectories of the policy that are learnt from; they may begin later than with x_T."""
        return self.trajectories(self.start(n))

    def network(self) -> Denoiser:
        """What the policy's trajectories are denoised by."""
        return self.policy.merged()

    @torch.no_grad()
    def trajectories(self, x: Tensor, first: int = 0, end: int | None = None) -> Trajectories:
        """Fresh trajectories of the policy, from `n x latent_shape` states, by steps `first`, ..., `end` - 1."""
        net = self.network()
        states, means = [x], []
        for k in range(first, self.transition.steps if end is None else end):
            means.append(self.transition.mean_by(net, k, states[-1]))
            states.append(self.transition.step(k, means[-1], self.rng))
        return Trajectories(torch.stack(states, 1), torch.stack(means, 1))

    @torch.no_grad()
    def rollout(self, n: int) -> Rollout:
        """`n` fresh trajectories of the policy with rewards by the proxy."""
        trajectories = self.fresh(n)
        return Rollout(trajectories, self.reward(trajectories.x0))

    def rollouts(self, iterations: int, samples: int) -> Iterator[Rollout]:
        """What to learn from in a round: `iterations` fresh rollouts of `samples` trajectories.

        Without a proxy it is one: the trajectories that led to the round's designs, with the oracle's scores; none in
        the first round, whose designs no trajectory of the policy led to.
        """
        if self.proxy is not None:
            for _ in range(iterations):
                yield self.rollout(samples)
        elif self._asked is not None:
            x0 = self._asked.x0
            yield Rollout(self._asked, self.standardized(self.y[-len(x0) :], x0) + self.bonus(x0))

    @torch.no_grad()
    def scored(self, n: int) -> tuple[Tensor, Tensor]:
        """Latents with rewards: `n` fresh samples by the proxy; without one, all queried designs by the oracle."""
        if self.proxy is not None:
            z = self.sample(n)
            return z, self.reward(z)
        z = self.prior.encode(self.x)
        return z, self.standardized(self.y, z) + self.bonus(z)

    def denoising_error(self, denoiser: Denoiser, z: Tensor, k: Tensor, noise: Tensor) -> Tensor:
        """Squared error of the network's output for `n x latent_shape` latents noised to steps `k`, an `n`-dim tensor.

        A sum over dimensions: times `transition.kl_per_error[k]` it is the KL divergence, in nats, of the step from
        x_t to the step that knows x_0.
        """
        x = self.transition.noise(k, z, noise)
        output = denoiser(x, self.transition.timesteps[k])
        return (output - self.transition.target(k, x, z)).flatten(1).square().sum(1)

    @torch.no_grad()
    def path_kl(self) -> Tensor:
        """KL divergence, in nats, of fresh trajectories of the policy to the prior's, a scalar."""
        step = self.transition
        states, means = self.paths(DIAGNOSED)
        x, k = pairs(states, step.steps - means.shape[1])
        prior = step.mean_by(self.reference, k, x)
        return step.kl(k, means.flatten(0, 1), prior).sum() / DIAGNOSED

    def _diverged(self, finite: int) -> DivergedError:
        i = self.round
        kept = f"; its folder keeps the state after round {i - 1}" if i else ""
        remedy = "a lower learning_rate or a higher kl_weight" if self.regularized else "a lower learning_rate"
        return DivergedError(
            f"{type(self).__name__} diverged: round {i}, step {finite + 1} has a loss or gradient that is not finite; "
            f"make a run of another name= with {remedy}{kept}"
        )


def check_counts(**counts: int) -> None:
    """Raise `ValueError` unless all counts are at least 1; names those that are not."""
    wrong = ", ".join(f"{name}={count}" for name, count in counts.items() if count < 1)
    if wrong:
        raise ValueError(f"expected counts of at least 1, got {wrong}")


def pairs(states: Tensor, first: int = 0) -> tuple[Tensor, Tensor]:
    """All x_t that a step is taken from, `nT x latent_shape`, and their step numbers, of `n x (T+1) x latent_shape`.

    The trajectories begin with step `first`.
    """
    n, length = states.shape[:2]
    k = torch.arange(first, first + length - 1, device=states.device).repeat(n)
    return states[:, :-1].flatten(0, 1), k
