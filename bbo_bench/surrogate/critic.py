"""Implicit Q-learning: a critic of actions, learnt from a control task's data set, that values whole plans."""

from __future__ import annotations

from itertools import accumulate, pairwise

import torch
from torch import Generator, Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from bbo_bench.core import Problem, State, Transitions, UnsuitableError
from bbo_bench.scale import Scale
from bbo_bench.surrogate.networks import Weights, copied, forward, initial

LARGEST_RETURN = 1e15
"""Size of a plan's return, in usual returns of the data set, up to which its square fits in single precision."""


class IQL:
    """Implicit Q-learning (Kostrikov et al. 2022), in the place of a proxy of the score.

    V(s) is the τ-expectile of min Q(s, a) over the actions of the data (eq. 5), Q(s, a) comes to r + γ V(s') (eq. 6):
    no action is valued that the data lack. A plan is worth V(s_0) + Σ_t γᵗ [Q(s_t, a_t) - V(s_t)], which telescopes to
    its return, with V of where it ends, where Q(s, a) = r + γ V(s') and the states are what the actions lead to. Where
    scores are relative to the first observation, V(s_0) is left out.

    It learns from the data set at the first `fit`. With `online` it learns at every fit from queried plans too: from
    the transitions of executing them, half of a batch, where the task tells them; else their scores are H-step returns
    of Q(s_0, a_0).

    Args:
        updates: Gradient steps on the data set.
        online: Gradient steps per fit that see what was queried; 0 is offline.
        batch_size: Transitions, and plans, per gradient step.
        width: Size of the two hidden layers.
        learning_rate: Adam's first; it falls to 0 by a cosine.
        expectile: τ; 1/2 is the mean action's worth, 1 the best one's.
        target_rate: Share of the way that the target of Q goes to Q in every gradient step.
        discount: γ; None for the data set's.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        *,
        updates: int = 5000,
        online: int = 0,
        batch_size: int = 512,
        width: int = 128,
        learning_rate: float = 2e-3,
        expectile: float = 0.7,
        target_rate: float = 0.1,
        discount: float | None = None,
    ) -> None:
        if min(updates, batch_size, width) < 1 or online < 0 or learning_rate <= 0:
            raise ValueError(
                "expected positive updates, batch_size, width and learning_rate, and online >= 0, "
                f"got {updates=}, {batch_size=}, {width=}, {learning_rate=}, {online=}"
            )
        if not (0 < expectile < 1 and 0 < target_rate <= 1 and 0 < (1.0 if discount is None else discount) <= 1):
            raise ValueError(
                "expected 0 < expectile < 1, 0 < target_rate <= 1 and 0 < discount <= 1, "
                f"got {expectile=}, {target_rate=}, {discount=}"
            )
        self.updates, self.online, self.batch_size, self.width = updates, online, batch_size, width
        self.learning_rate, self.expectile = learning_rate, expectile
        self.target_rate, self.discount = target_rate, discount
        self.error = float("nan")
        """Root mean squared error of the queried plans' values before the last fit, in standard deviations."""
        self._seen: Transitions | None = None
        self._q: Weights = []
        self._target: Weights = []
        self._v: Weights = []

    def bind(self, problem: Problem) -> None:
        """Take up the data set of a problem.

        Raises:
            UnsuitableError: If it has none.
            ValueError: If its scores are not what `online` could learn from.
        """
        if problem.offline is None:
            raise UnsuitableError(
                "a critic learns from the transitions of a control task's data set, and this task has none: "
                "choose a task such as nav1d, or a proxy that learns from scores: bbo_bench.surrogate.ensemble.Ensemble"
            )
        if problem.offline.relative and self.online and not problem.offline.executed:
            raise ValueError("scores that are relative to the first observation are no returns: set online=0")
        data = self._data = problem.offline
        self._decode = problem.prior.decode
        both = torch.cat([data.observation, data.action], 1)
        self._mean, self._std = both.mean(0), both.std(0).clamp(min=1e-6)
        self.gamma = data.discount if self.discount is None else self.discount
        ends = data.done.sum().clamp(min=max(1, (1 - self.gamma) * len(data.done)))  # a discount ends episodes too
        self._scale = (data.reward.abs().sum() / ends).clamp(min=1e-6)  # a usual return

    def extend(self, transitions: Transitions) -> None:
        """Add what executing plans has shown to what the next `fit` learns from, if it is online."""
        if self.online:
            before = self._seen or Transitions(*(each[:0] for each in transitions))
            self._seen = Transitions(*map(torch.cat, zip(before, transitions, strict=True)))

    def fit(self, z: Tensor, y: Tensor, rng: Generator) -> None:
        """Learn from the data set, once; then, if online, from `n x latent_shape` plans with their `n` scores too."""
        if not self._q:
            size = len(self._mean)
            sizes = [self.width, self.width, 1]
            self._q = initial(2, [size, *sizes], self._mean, rng)
            self._v = initial(1, [self._data.observation.shape[1], *sizes], self._mean, rng)
            self._target = copied(self._q)
            self._train(self.updates, rng)
        if len(y):
            self.error = float((self.predict(z).detach() - y).square().mean().sqrt() / Scale.of(y).std)
        if self.online and self._seen is not None:
            self._train(self.online, rng, seen=self._seen)
        elif self.online and len(y):
            if float(y.abs().max() / self._scale) > LARGEST_RETURN:
                raise ValueError(
                    f"IQL learns from returns in the units of its data set, {float(self._scale):.3g}, and its squares "
                    f"overflow with scores up to {float(y.abs().max()):.3g}: set online=0, or scale the rewards"
                )
            observation, action = self._data.steps(self._decode(z))
            start = torch.cat([observation[:, 0], action[:, 0]], 1)
            self._train(self.online, rng, returns=(start, (y / self._scale).to(start.dtype)))

    def predict(self, z: Tensor) -> Tensor:
        """Values of `n x latent_shape` plans, an `n`-dim tensor, differentiable in the latents."""
        above, first = self._parts(z)
        return above if self._data.relative else above + first

    __call__ = predict

    def advantage(self, z: Tensor) -> Tensor:
        """What the actions of `n x latent_shape` plans have above their states' values, an `n`-dim tensor of sums."""
        return self._parts(z)[0]

    def value(self, observation: Tensor) -> Tensor:
        """V of `n x o` observations, an `n`-dim tensor."""
        size = observation.shape[1]
        return self._scale * forward(self._v, (observation - self._mean[:size]) / self._std[:size])[0]

    def action_value(self, observation: Tensor, action: Tensor) -> Tensor:
        """Q of `n x o` observations and `n x a` actions, the smaller of the twins', an `n`-dim tensor."""
        return self._scale * self._twins(self._q, torch.cat([observation, action], 1)).amin(0)

    def state_dict(self) -> State:
        """All that `fit` has changed."""
        seen = {} if self._seen is None else {"seen": list(self._seen)}
        return {"q": self._q, "target": self._target, "v": self._v, "error": self.error} | seen

    def load_state_dict(self, state: State, device: torch.device) -> None:
        """Take up a state that `state_dict` gave."""
        self._q, self._target, self._v = ([w.to(device) for w in state[key]] for key in ("q", "target", "v"))
        self.error = state["error"]
        if "seen" in state:
            self._seen = Transitions(*(each.to(device) for each in state["seen"]))

    def _parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Σ_t γᵗ [Q(s_t, a_t) - V(s_t)] and V(s_0) of `n x latent_shape` plans."""
        observation, action = self._data.steps(self._decode(z))
        v = self.value(observation.flatten(0, 1)).reshape(observation.shape[:2])
        q = self.action_value(observation.flatten(0, 1), action.flatten(0, 1)).reshape(v.shape)
        discounts = self.gamma ** torch.arange(v.shape[1], device=v.device)
        return (discounts * (q - v)).sum(1), v[:, 0]

    def _twins(self, weights: Weights, both: Tensor) -> Tensor:
        return forward(weights, (both - self._mean) / self._std)

    @torch.enable_grad()
    def _train(
        self,
        updates: int,
        rng: Generator,
        *,
        seen: Transitions | None = None,
        returns: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        """Learn from the data set, and from as many transitions `seen`, or from first steps and their returns."""
        sets = [self._data.transitions, *([] if seen is None else [seen])]
        share = self.batch_size // len(sets)
        spans = list(pairwise([0, *accumulate(len(each.reward) for each in sets)]))
        observation, action, reward, following, done = map(torch.cat, zip(*sets, strict=True))
        size = observation.shape[1]
        both = torch.cat([observation, action], 1)
        following = (following - self._mean[:size]) / self._std[:size]
        reward, going = reward / self._scale, self.gamma * (~done).to(reward)
        nets = [[weight.requires_grad_(True) for weight in net] for net in (self._v, self._q)]
        optimizers = [Adam(net, lr=self.learning_rate) for net in nets]
        schedules = [CosineAnnealingLR(each, updates) for each in optimizers]
        for _ in range(updates):
            drawn = [torch.randint(*ends, (share,), generator=rng, device=both.device) for ends in spans]
            rows = torch.cat(drawn)
            with torch.no_grad():
                best = self._twins(self._target, both[rows]).amin(0)
            above = best - self.value(observation[rows]) / self._scale
            loss = (torch.where(above > 0, self.expectile, 1 - self.expectile) * above.square()).mean()
            _step(optimizers[0], schedules[0], loss)
            with torch.no_grad():
                goal = reward[rows] + going[rows] * forward(self._v, following[rows])[0]
            loss = (self._twins(self._q, both[rows]) - goal).square().mean(1).sum()
            if returns is not None:
                start, score = returns
                plans = torch.randint(len(start), (self.batch_size,), generator=rng, device=both.device)
                loss = loss + (self._twins(self._q, start[plans]) - score[plans]).square().mean(1).sum()
            _step(optimizers[1], schedules[1], loss)
            for target, weight in zip(self._target, self._q, strict=True):
                target.lerp_(weight.detach(), self.target_rate)
        self._q, self._v = copied(self._q), copied(self._v)


def _step(optimizer: Adam, schedule: LRScheduler, loss: Tensor) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    schedule.step()
