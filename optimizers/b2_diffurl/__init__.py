"""B²-DiffuRL: backward-progressive training on branches of a common noisy state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Generator, Tensor

from bbo_bench.alignment.finetune import Rollout, Trajectories
from bbo_bench.alignment.groups import deviations, grouped
from bbo_bench.alignment.policy_gradient import PolicyGradient
from bbo_bench.core import Problem, State
from bbo_bench.scale import deviation


class B2DiffuRL(PolicyGradient):
    """Policy gradient over the last s denoising steps of contrasting branches that fork from one x_s (Hu et al. 2025).

    s grows from rollout to rollout, over the whole run, until it is all T steps. Of each group of branches the best and
    the worst are learnt from, if they stand out.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        branches: Trajectories that fork from a common x_s.
        first_stage: Share of the T steps that is trained at first, in (0, 1].
        threshold: A group's best and worst are learnt from if they differ from the mean of the others by so many
            standard deviations, of all branches from their groups.
        **shared: See `PolicyGradient`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        branches: int,
        first_stage: float,
        threshold: float,
        **shared: Any,
    ) -> None:
        super().__init__(problem, rng, **shared)
        if not 2 <= branches <= self.samples:
            raise ValueError(f"expected 2 <= branches <= samples, got {branches=}, samples={self.samples}")
        if not 0 < first_stage <= 1 or threshold < 0:
            raise ValueError(f"expected 0 < first_stage <= 1 and threshold >= 0, got {first_stage=}, {threshold=}")
        self.branches, self.first_stage, self.threshold = branches, first_stage, threshold
        rounds = len(problem.budget)
        self.stages = rounds * self.iterations if self.proxy is not None else rounds - 1
        self.stage = 0

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for rollout in self.rollouts(self.iterations, self.samples):
            self.stage += 1
            chosen = self.contrasting(rollout)
            if len(chosen.reward) > 1:
                yield from self.passes(self.experience(chosen))

    def trained(self) -> int:
        """The number s of last steps that the present stage trains."""
        progress = min(self.stage / max(self.stages - 1, 1), 1.0)
        return max(round((self.first_stage + (1 - self.first_stage) * progress) * self.transition.steps), 1)

    def fresh(self, n: int) -> Trajectories:
        """`n` branches, from x_s on."""
        group = self.groups(n)
        first = self.transition.steps - self.trained()
        x = self.start(int(group.max()) + 1)
        if first:
            early = self.trajectories(x, end=first)
            self.leave(early)
            x = early.states[:, -1]
        return self.trajectories(x[group], first)

    def groups(self, n: int) -> Tensor:
        """Which of `n` branches fork from the same state."""
        return grouped(n, self.branches, self.rng.device, self.prior.codec.turns)

    def contrasting(self, rollout: Rollout) -> Rollout:
        """Best and worst of every group, with what their rewards have above the others', if that is much or little.

        The extremes' rewards vary more than all branches' do, and they are scaled back by as much: where a reward is
        linear in what was drawn, the expected gradient is that of all branches, in proportion to the KL to the prior.
        """
        group = self.groups(len(rollout.reward))
        above = deviations(rollout.reward[:, None], group)[0][:, 0]
        best, worst = (
            above.new_zeros(len(group)).scatter_reduce(0, group, above, way, include_self=False)[group]
            for way in ("amax", "amin")
        )
        threshold = self.threshold * deviation(above)
        chosen = ((above == best) & (above > threshold)) | ((above == worst) & (above < -threshold))
        scale = above.square().mean() / above[chosen].square().mean()
        return Rollout(Trajectories(*(part[chosen] for part in rollout.trajectories)), above[chosen] * scale)

    def centered(self, returns: Tensor, rollout: Rollout) -> Tensor:
        """See `PolicyGradient.centered`; what is learnt from has been compared with its own branches already."""
        return self.normalized(returns - returns.mean(0), deviation(returns))

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"stage": self.stage}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self.stage = state["stage"]
