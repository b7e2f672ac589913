"""A learned value function of denoising states, and what policy gradients share that learn one."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.embeddings import Timesteps
from torch import Generator, Size, Tensor, nn

from bbo_bench.alignment.finetune import check_counts
from bbo_bench.alignment.policy_gradient import PolicyGradient
from bbo_bench.core import Problem, State
from bbo_bench.seeding import seeded

TIME = 64
"""Size of a timestep's embedding."""


class Value:
    """V(x_t, t), the reward that is expected from a state on: a multilayer perceptron, 0 everywhere before training.

    Args:
        latent_shape: Of x_t.
        rng: Generator of the initial weights.
        updates: Gradient steps per fit, by Adam.
        learning_rate: Learning rate.
        batch_size: States per gradient step.
        width: Size of the hidden layers.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        latent_shape: Size,
        rng: Generator,
        *,
        updates: int,
        learning_rate: float,
        batch_size: int = 256,
        width: int = 128,
    ) -> None:
        check_counts(updates=updates, batch_size=batch_size, width=width)
        if learning_rate <= 0:
            raise ValueError(f"expected learning_rate > 0, got {learning_rate=}")
        self.updates, self.batch_size = updates, batch_size
        self.embed_time = Timesteps(TIME, True, 0)
        with seeded(rng):
            layers = [nn.Linear(latent_shape.numel() + TIME, width), nn.Linear(width, width), nn.Linear(width, 1)]
        nn.init.zeros_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)
        self.network = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2]).to(rng.device)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate)

    def __call__(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Values of `n x latent_shape` states at `n` timesteps, an `n`-dim tensor."""
        value: Tensor = self.network(torch.cat([x.flatten(1), self.embed_time(timestep)], 1)).squeeze(1)
        return value

    @torch.enable_grad()
    def fit(self, x: Tensor, timestep: Tensor, reward: Tensor, rng: Generator, *, scale: Tensor | None = None) -> None:
        """Go on learning, from `n x latent_shape` states, their `n` timesteps and the `n` rewards they led to.

        With `scale`, `n` factors of the values, it is the scaled values that come to the rewards.
        """
        scale = torch.ones_like(reward) if scale is None else scale
        for _ in range(self.updates):
            rows = torch.randint(len(x), (self.batch_size,), generator=rng, device=x.device)
            loss = (scale[rows] * self(x[rows], timestep[rows]) - reward[rows]).square().mean()
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            self.optimizer.step()

    def state_dict(self) -> State:
        """Weights and what Adam remembers."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Take up a state that `state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


class ActorCritic(PolicyGradient):
    """A policy gradient with a value function, which a subclass fits and uses.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        value_updates: Gradient steps of the value function per rollout.
        value_learning_rate: Its learning rate.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, value_updates: int, value_learning_rate: float, **shared: Any
    ) -> None:
        super().__init__(problem, rng, **shared)
        self.value = Value(self.prior.latent_shape, rng, updates=value_updates, learning_rate=value_learning_rate)

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"value": self.value.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self.value.load_state_dict(state["value"])
