"""Cascade: a second model turns a design into a better one: the fourth alignment of "Maximize Your Diffusion"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from bbo_bench.alignment.conditioned import Conditioned
from bbo_bench.alignment.finetune import FineTuner, Phase, Trajectories, check_counts, pairs
from bbo_bench.alignment.groups import mates
from bbo_bench.alignment.inpainting import Prefix, inpaint
from bbo_bench.alignment.policy import Policy
from bbo_bench.core import Problem, State
from bbo_bench.seeding import seeded

SHARED = ("latent", "segment", "nothing")


class Cascade(FineTuner):
    """Learns p(x^w | x^l) from pairs, x^w of higher value, and appends it to the prior (Huh and Mohapatra 2025).

    The second model starts as the prior, all of its weights are trained, by the denoising loss on x^w. At inference a
    sample of the prior, or of a policy that another method has aligned, goes through it `passes` times. A pair is a
    sample of the cascade so far and a variation of it that the prior makes; the proxy, or a critic, orders the two.
    Without a proxy, pairs are of queried designs. The second model may itself be aligned then, by REINFORCE on the
    steps of the last pass, with nothing that holds it.

    Args:
        problem: With a `DiffusionPrior` whose sampler is stochastic.
        rng: Generator on the prior's device.
        shared: What the two of a pair have in common: `latent`, the noisy latent x_t from which they are denoised; a
            `segment`, a causal prefix, the rest painted in anew; or `nothing`.
        step: Number of the step of that latent, as a share of T; from there on designs are passed on, too.
        passes: At inference, 1 to 3.
        trained: Passes that are trained for: x^l has gone through 0, ..., `trained` - 1 of them.
        iterations: Sets of pairs per round.
        samples: Pairs of a set.
        updates: Gradient steps per set.
        batch_size: Pairs per gradient step.
        width: Of the perceptron that reads the condition.
        aligned: The method that aligns what is passed on, in every round before this one; it uses this optimizer's
            proxy. None for samples of the prior.
        reinforced: Gradient steps per round by which the second model is aligned, each on `batch_size` fresh designs.
        **settings: See `FineTuner`; a KL weight has no meaning here.

    Raises:
        ValueError: If a setting is out of range, more passes are asked for than are trained, or there is nothing that
            could order pairs.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        shared: str,
        step: float,
        passes: int,
        trained: int,
        iterations: int,
        samples: int,
        updates: int,
        batch_size: int,
        width: int,
        aligned: Phase | None,
        reinforced: int,
        **settings: Any,
    ) -> None:
        self.width = width
        super().__init__(problem, rng, **settings)
        check_counts(
            passes=passes,
            trained=trained,
            iterations=iterations,
            samples=samples,
            updates=updates,
            batch_size=batch_size,
            width=width,
        )
        if shared not in SHARED:
            raise ValueError(f"expected shared to be one of {', '.join(SHARED)}, got {shared=}")
        if not 0 <= step < 1:
            raise ValueError(f"expected 0 <= step < 1, a share of the steps, got {step=}")
        if not passes <= trained <= 3:
            raise ValueError(f"expected passes <= trained <= 3, as more lose the design, got {passes=}, {trained=}")
        if self.proxy is None and (shared != "nothing" or trained > 1):
            raise ValueError(
                "a cascade learns from pairs that something orders: with proxy=null there are only queried designs, so "
                f"set shared=nothing and trained=1, got {shared=}, {trained=}"
            )
        if reinforced < 0 or (reinforced and self.proxy is None):
            raise ValueError(f"expected reinforced >= 0, and a proxy where it is above, got {reinforced=}")
        if self.regularized or self.training.lora_rank is not None:
            raise ValueError("a cascade trains all weights of a second model: set kl_weight=0 and lora_rank=null")
        self.shared, self.passes, self.trained = shared, passes, trained
        self.first = round(step * self.transition.steps) if shared == "latent" else 0
        self.iterations, self.samples, self.updates, self.batch_size = iterations, samples, updates, batch_size
        self.reinforced = reinforced
        self.aligned = aligned and aligned(problem, rng, proxy=lambda: self.proxy, diversity=self.diversity)

    def untrained(self) -> Policy:
        """See `FineTuner.untrained`."""
        with seeded(self.rng):
            size = self.prior.latent_shape.numel()
            network = Conditioned(self.reference, size, size, self.width)
        return Policy(network.to(self.rng.device), None, self.rng)

    def learn(self) -> None:
        """Align what is passed on, where something is to; then train the second model."""
        if self.aligned is not None:
            self.aligned.follow(self)
            self.aligned.learn()
        super().learn()
        if self.aligned is not None:
            self._numbers |= {f"aligned_{key}": value for key, value in self.aligned.diagnostics().items()}

    def state_dict(self) -> State:
        """See `Optimizer.state_dict`."""
        return super().state_dict() | ({} if self.aligned is None else {"aligned": self.aligned.state_dict()})

    def load_state_dict(self, state: State) -> None:
        """See `Optimizer.load_state_dict`."""
        super().load_state_dict(state)
        if self.aligned is not None:
            self.aligned.load_state_dict(state["aligned"])

    def ask(self, n: int) -> Tensor:
        """What the passes make of samples of the prior, or of the aligned policy."""
        return self.prior.decode(self.sample(n))

    def paths(self, n: int) -> Trajectories:
        """See `FineTuner.paths`: those of the last pass."""
        return self.passed(self.cascaded(n, self.passes - 1)[-1])

    def passed(self, z: Tensor) -> Trajectories:
        """The trajectories of one more pass over `n x latent_shape` latents."""
        self.condition(z)
        return self.trajectories(self.noised(z), self.first)

    def cascaded(self, n: int, passes: int) -> list[Tensor]:
        """`n x latent_shape` samples to begin with, and what 1, ..., `passes` passes make of them."""
        designs = [self.prior.sample(n, self.rng) if self.aligned is None else self.aligned.sample(n)]
        for _ in range(passes):
            designs.append(self.passed(designs[-1]).x0)
        return designs

    def losses(self) -> Iterator[Tensor]:
        """See `FineTuner.losses`."""
        for _ in range(self.iterations):
            better, worse = self.pairs()
            for _ in range(self.updates):
                rows = torch.randint(len(better), (self.batch_size,), generator=self.rng, device=better.device)
                yield self.loss(better[rows], worse[rows])
        for _ in range(self.reinforced):
            yield self.reinforce()

    def loss(self, better: Tensor, worse: Tensor) -> Tensor:
        """The denoising loss of `n x latent_shape` latents, given as many of lower value, over the steps of a pass."""
        self.condition(worse)
        span = self.transition.steps - self.first
        k = self.first + torch.randint(span, (len(better),), generator=self.rng, device=better.device)
        return self.denoising_error(self.policy, better, k, self.prior.noise(len(better), self.rng)).mean()

    def reinforce(self) -> Tensor:
        """The loss whose gradient is REINFORCE's, of the last pass over fresh designs."""
        z = self.cascaded(self.batch_size, self.passes - 1)[-1]
        path = self.passed(z)
        gain = self.comparable(self.reward(path.x0).detach(), path.x0)
        x, k = pairs(path.states, self.first)
        steps = len(x) // len(z)
        self.condition(z.repeat_interleave(steps, 0))
        mean = self.transition.mean_by(self.policy, k, x)
        log_prob = self.transition.log_prob(k, mean, path.states[:, 1:].flatten(0, 1))
        advantage = (gain - gain.mean()) / gain.std().clamp(min=1e-6)
        return -(advantage.repeat_interleave(steps) * log_prob).sum() / len(z)

    @torch.no_grad()
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Latents of higher and of lower value, `n x latent_shape` each."""
        if self.proxy is None:
            z, reward = self.scored(self.samples)
            rows = torch.randint(len(z), (2, self.samples), generator=self.rng, device=z.device)
            if self.prompted:
                rows[1] = mates(self.prompt(z), rows[0], self.rng)
            both, values = z[rows], reward[rows]
        else:
            passed = torch.randint(self.trained, (), generator=self.rng, device=self.rng.device)
            one = self.cascaded(self.samples, int(passed))[-1]
            both = torch.stack([one, self.varied(one)])
            values = self.reward(both.flatten(0, 1)).reshape(2, -1)
        order = values.argsort(0, descending=True)
        index = order.reshape(*order.shape, *[1] * (both.ndim - 2)).expand_as(both)
        better, worse = both.gather(0, index)
        return better, worse

    def varied(self, z: Tensor) -> Tensor:
        """Variations of `n x latent_shape` latents, by the prior."""
        if self.shared == "latent":
            *_, varied = self.transition.walk(self.reference, self.noised(z), self.rng, self.first)
            return varied
        if self.shared == "segment":
            return inpaint(self.prior, z, Prefix(unknown=0.0)(z, self.rng), self.rng)
        noise = self.transition.held(self.prior.noise(len(z), self.rng), z)
        *_, varied = self.prior.transition.walk(self.reference, noise, self.rng)
        return varied

    def noised(self, z: Tensor) -> Tensor:
        """Where a pass starts from `n x latent_shape` latents."""
        noise = self.transition.held(self.prior.noise(len(z), self.rng), z)
        return self.transition.noise(self.first, z, noise) if self.shared == "latent" else noise

    def condition(self, z: Tensor) -> None:
        """Make `n x latent_shape` latents what the next passes of the network are conditioned on."""
        self.policy.network.condition = z
