"""Diffusion-BBO: designs given a score that an acquisition function chooses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from bbo_bench.alignment.conditioned import Conditioned
from bbo_bench.alignment.finetune import check_counts
from bbo_bench.alignment.inverse import Inverse, importances
from bbo_bench.alignment.policy import Policy
from bbo_bench.core import Problem, State
from bbo_bench.seeding import seeded


class Members(nn.Module):
    """Conditioned denoisers, and the mean of their outputs.

    Args:
        networks: The members.
    """

    def __init__(self, networks: list[Conditioned]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    condition: Tensor
    """See `Conditioned.condition`."""

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `Denoiser`."""
        for network in self.networks:
            network.condition = self.condition
        return torch.stack([network(x, timestep) for network in self.networks]).mean(0)


class DiffusionBBO(Inverse):
    """Samples designs at the score that is the best less what is uncertain of designs with it (Wu et al. 2024).

    An ensemble of models of p(x | y), each trained on batches and from weights of its own. The target maximizes
    y - `caution` Δ(y) over `targets` scores from the mean of all to `reach` times the best, standardized. Δ, the
    epistemic part of the variance, is that between the members of their mean latent, summed over dimensions. Designs
    are drawn by the mean of the members' outputs.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        members: Models of the ensemble.
        caution: Weight of the uncertainty.
        reach: Highest score that is considered, as a multiple of the best so far above the mean.
        targets: Scores that are considered.
        designs: Designs of a member at each of them.
        **shared: See `Inverse`.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        members: int,
        caution: float,
        reach: float,
        targets: int,
        designs: int,
        **shared: Any,
    ) -> None:
        self.members = members
        if members < 2:
            raise ValueError(f"expected at least two members, whose spread is the uncertainty, got {members=}")
        super().__init__(problem, rng, **shared)
        check_counts(targets=targets, designs=designs)
        if caution < 0 or reach <= 0:
            raise ValueError(f"expected caution >= 0 and reach > 0, got {caution=}, {reach=}")
        self.caution, self.reach, self.targets, self.designs = caution, reach, targets, designs
        self._target = torch.zeros((), device=rng.device)

    def untrained(self) -> Policy:
        """See `FineTuner.untrained`."""
        with seeded(self.rng):
            network = Members([self.conditioned() for _ in range(self.members)])
        return Policy(network.to(self.rng.device), None, self.rng)

    @property
    def ensemble(self) -> nn.ModuleList:
        """The members."""
        network = self.policy.network
        assert isinstance(network, Members)
        return network.networks

    def learn(self) -> None:
        """Train a new ensemble, and choose the target."""
        super().learn()
        candidates = self.told().max() * torch.linspace(0, self.reach, self.targets, device=self.rng.device)
        self._target = self.chosen(candidates, self.uncertainty(candidates))
        self._numbers |= {"target": float(self._target)}

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        z, told = self.prior.encode(self.x), self.told()
        weight = importances(told)
        for _ in range(self.updates):
            yield torch.stack([self.loss(network, z, told, weight) for network in self.ensemble]).sum()

    def target(self) -> Tensor:
        """The score that was chosen."""
        return self._target

    def chosen(self, candidates: Tensor, uncertainty: Tensor) -> Tensor:
        """Which of `n` scores maximizes uncertainty-aware exploration, given their `n` uncertainties, a scalar."""
        return candidates[(candidates - self.caution * uncertainty).argmax()]

    @torch.no_grad()
    def uncertainty(self, candidates: Tensor) -> Tensor:
        """Δ of `n` scores, an `n`-dim tensor: variance between the members of their mean latent, over all dimensions.

        All members have the same noise, so that it makes no difference between their designs.
        """
        device = candidates.device
        seed = int(torch.randint(2**31 - 1, (), generator=self.rng, device=device))
        target, means = candidates.repeat_interleave(self.designs), []
        for network in self.ensemble:
            rng = Generator(device).manual_seed(seed)
            start = self.prior.noise(len(target), rng)
            *_, z = self.transition.walk(self.guided(network, target), start, rng)
            means.append(z.reshape(len(candidates), self.designs, -1).mean(1))
        return torch.stack(means).var(0, correction=0).sum(1)

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | {"target": self._target}

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        self._target = state["target"].to(self.rng.device)
