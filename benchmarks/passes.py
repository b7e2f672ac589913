"""The network passes that every fine-tuner's mathematics needs; `speed.py` times them beside the method."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bbo_bench.alignment.finetune import FineTuner


class Needs(NamedTuple):
    """Passes of one update, each over as many states as a pass of the policy with a gradient has."""

    trained: float = 1.0
    """Forward and backward through the policy."""
    frozen: float = 0.0
    """Forward, through a frozen network."""
    through: float = 0.0
    """Forward and backward through a frozen network, to its input."""
    short: tuple[int, int] = (0, 1)
    """Forward, through a frozen network: how many passes, over how many times as many states."""
    in_step: bool = False
    """Whether all states of a pass are at one timestep, as in a rollout."""


def chain(tuner: Any) -> Needs:
    """Of a differentiated rollout: all steps up to the last kept one, with the references of the kept ones."""
    kept = tuner.kept()
    steps = (kept * torch.arange(1, kept.shape[1] + 1, device=kept.device)).amax(1).float().mean()
    trained = float(kept.sum(1).float().mean())
    return Needs(trained, float(steps) - trained, trained * len(tuner.references()), in_step=True)


def short_rollouts(tuner: Any) -> Needs:
    """Of `variants` rollouts of `length` steps from every state, and of the outputs there, the prior's too."""
    return Needs(frozen=1 + bool(tuner.kl_weight), short=(tuner.length, tuner.variants))


NEEDS: dict[str, Needs | Callable[[Any], Needs]] = {
    "sqdf": Needs(frozen=1, through=1),  # the prior's mean; x̂_0 of the next state
    # the prior's means are computed once per rollout
    "ddpo": Needs(),
    "dpok": Needs(),
    "ppo_kl": Needs(),
    "grpo": Needs(),
    "b2_diffurl": Needs(),
    "sdpo": Needs(),
    "score_as_action": Needs(),
    "d3po": Needs(),
    "prdp": Needs(),
    # the prior's output for freshly noised latents
    "diffusion_dpo": Needs(frozen=1),
    "dmpo": Needs(frozen=1),
    "rwr": Needs(frozen=1),
    "raft": Needs(frozen=1),
    "awm": Needs(frozen=2),  # and the average policy's
    "diffusion_sharpening": short_rollouts,
    "draft": chain,
    "refl": chain,
    "alignprop": chain,
    "seiko": chain,
}


def needs_of(name: str, tuner: FineTuner) -> Needs:
    """Passes of an update of the optimizer of that name."""
    declared = NEEDS[name]
    return declared if isinstance(declared, Needs) else declared(tuner)


class Bare:
    """The passes that a method needs, and nothing else.

    Args:
        tuner: Whose policy and frozen network are passed.
        batch: States per pass.
    """

    def __init__(self, tuner: FineTuner, batch: int) -> None:
        self.policy, self.frozen, self.transition = tuner.policy, tuner.reference, tuner.transition
        self.x = tuner.prior.noise(batch, tuner.rng)
        self.k = torch.randint(self.transition.steps, (batch,), generator=tuner.rng, device=self.x.device)

    def rollout(self) -> None:
        """T passes of the policy without gradient, its LoRA weights merged."""
        net = self.policy.merged()
        with torch.no_grad():
            for k in range(self.transition.steps):
                net(self.x, self.transition.timesteps[k])

    def update(self, needs: Needs) -> None:
        """The passes of an update."""
        for x, t in self.batches(needs.trained, needs.in_step):
            self.policy.zero_grad()
            torch.autograd.backward(self.policy(x, t).square().mean())
        for x, t in self.batches(needs.through, needs.in_step):
            x = x.clone().requires_grad_()
            torch.autograd.grad(self.frozen(x, t).square().mean(), x)
        with torch.no_grad():
            for x, t in self.batches(needs.frozen, needs.in_step):
                self.frozen(x, t)
            passes, times = needs.short
            for _ in range(passes):
                self.frozen(
                    self.x.repeat_interleave(times, 0), self.transition.timesteps[self.k.repeat_interleave(times)]
                )

    def batches(self, passes: float, in_step: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """States and timesteps of so many passes; a part of a pass is one over a part of the batch."""
        t = self.transition.timesteps[self.k]
        while passes > 1e-6:
            rows = max(round(min(passes, 1.0) * len(t)), 1)
            yield self.x[:rows], t[0] if in_step else t[:rows]
            passes -= 1
