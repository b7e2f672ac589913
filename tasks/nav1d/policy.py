"""Nav1D for policies: a chunk of actions at an observation, as Diffusion Policy plans it."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot, pad

from bbo_bench.alignment.inpainting import inpaint
from bbo_bench.core import Offline
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.diffusion.transition import Denoiser
from bbo_bench.domains import Box
from bbo_bench.metrics.reward import deviation
from bbo_bench.seeding import generator
from bbo_bench.tasks.nav1d.data import BEHAVIOURS, trajectories, transitions
from bbo_bench.tasks.nav1d.drawing import draw_landscape
from bbo_bench.tasks.nav1d.environment import HORIZON, SIZE, executed, followed, returns, reward
from bbo_bench.tasks.nav1d.planning import act, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHUNK = 8
"""Actions of a chunk."""
LATEST = HORIZON - CHUNK
"""Time of the last observation from which a whole chunk is left."""
TRAINING, HELD_OUT, EACH = 8192, 512, 8
"""Trajectories to train on and held out; times at which a training trajectory is cut."""
OBSERVATION = 2
"""Position and time."""
KEPT = 0.01
"""Share of the behaviour's own chunks that are less likely than a valid one may be."""


class Nav1DPolicy(DiffusionTask):
    """What a chunk of actions gains over the best policy, from 0 down.

    A design is position, time and 8 actions. Its score is the return of executing them from there and then acting as
    well as one can, minus the value of the observation.

    Args:
        data: See `Nav1D`; the law of actions of a random policy is the same for all, so only the expert's tells
            coherent chunks from others.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: The optimum, 0.
        infeasible_score: Never needed: every chunk can be executed.

    Raises:
        ValueError: If there is no such data set.
    """

    domain = Box(torch.tensor([-SIZE, 0.0, *[-1.0] * CHUNK]), torch.tensor([SIZE, LATEST, *[1.0] * CHUNK]))

    def __init__(self, data: str, noise_std: float, y_prior: float, best_known: float, infeasible_score: float) -> None:
        if data not in BEHAVIOURS:
            raise ValueError(f"data must be one of {', '.join(BEHAVIOURS)}, got {data!r}")
        self.data, self.behaviour = data, BEHAVIOURS[data]
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known

    @property
    def folder(self) -> Path:
        """Every data set has a prior of its own."""
        return super().folder / f"{self.data}_policy"

    def training_data(self) -> Tensor:
        """`65536 x 10` observations and chunks of the behaviour, at eight times of each of 8192 trajectories."""
        return chunks(self._trajectories[:TRAINING], EACH, generator(0, "nav1d chunks"))

    def reference(self) -> Tensor:
        """See `Task.reference`: 512 more, one of each of as many trajectories."""
        return chunks(self._trajectories[TRAINING:], 1, generator(0, "nav1d held-out chunks"))

    @cached_property
    def _trajectories(self) -> Tensor:
        return trajectories(self.behaviour, TRAINING + HELD_OUT, generator(0, f"nav1d {self.data}"))

    def codec(self, data: Tensor | None = None) -> Standardize:
        """See `DiffusionTask.codec`."""
        return Standardize(self.domain, data)

    def offline(self) -> Offline:
        """See `Task.offline`: of a chunk a critic values the first action."""
        given = torch.arange(OBSERVATION + CHUNK) < OBSERVATION
        return replace(transitions(self._trajectories[:TRAINING]), steps=first, given=given, relative=True)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`.

        Raises:
            ValueError: If an observation or a chunk does not lie in the domain.
        """
        times, positions, _ = unrolled(self.domain.check(x).double())
        gained = reward(times[:, :-1], positions[:, :-1]).sum(1) + value(times[:, -1], positions[:, -1])
        return (gained - value(times[:, 0], positions[:, 0])).clamp(max=0)  # the grid's values are a little too low

    def coherency(self, x: Tensor) -> Tensor:
        """Mean log-densities of the actions of `n x 10` designs under the behaviour policy, an `n`-dim tensor (eq. 16).

        In nats, at the positions that they lead through.
        """
        times, positions, actions = unrolled(x.double())
        return self.behaviour.log_prob(times[:, :-1], positions[:, :-1], actions).mean(1)

    @cached_property
    def _least(self) -> Tensor:
        return self.coherency(self.training_data()).quantile(KEPT)

    def valid(self, x: Tensor) -> Tensor:
        """Whether chunks are as likely under the behaviour as 99 of 100 of its own."""
        return self.coherency(x) >= self._least - 1e-6

    def features(self, x: Tensor) -> Tensor:
        """`n x 10` designs, the time from 0 to 5 as positions are from 0 to ±5."""
        return torch.cat([x[:, :1], x[:, 1:2] * SIZE / LATEST, x[:, 2:]], 1)

    def canonical(self, x: Tensor) -> Tensor:
        """See `Task.canonical`: times are whole."""
        return torch.cat([x[:, :1], x[:, 1:2].round(), x[:, 2:]], 1)

    def metrics(self, x: Tensor) -> dict[str, float]:
        """The mean coherency, in nats, and the standard deviation of the scores."""
        return {"coherency": float(self.coherency(x).mean()), "return_std": deviation(self.evaluate(x))}

    def best_design(self) -> Tensor:
        """See `Task.best_design`: what dynamic programming does in the middle, at the start."""
        _, chunk = followed(act, torch.zeros(1, dtype=torch.double), CHUNK)
        return torch.cat([torch.zeros(OBSERVATION, dtype=torch.float32), chunk[0].float()])

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: where a chunk leads, over the rewards."""
        times, positions, _ = unrolled(x[None].detach().cpu().double())
        draw_landscape(axes)
        axes.plot(times[0].numpy(), positions[0].numpy(), color="tab:red", linewidth=1.2)
        axes.plot(times[0, :1].numpy(), positions[0, :1].numpy(), "o", color="tab:red", markersize=3)


def chunks(x: Tensor, each: int, rng: Generator) -> Tensor:
    """`each · n x 10` designs from `n x H x 2` trajectories, at random times."""
    position, action = x.repeat(each, 1, 1).unbind(-1)
    time = torch.randint(LATEST + 1, (len(position), 1), generator=rng)
    return torch.cat([position.gather(1, time), time, action.gather(1, time + torch.arange(CHUNK))], 1)


def unrolled(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Times and positions of `n x 10` designs before and after each action, `n x 9` each, and the `n x 8` actions."""
    times = x[:, 1:2].round().long() + torch.arange(CHUNK + 1, device=x.device)
    actions = x[:, OBSERVATION:]
    return times, executed(x[:, 0], pad(actions, (0, 1))), actions


def first(x: Tensor) -> tuple[Tensor, Tensor]:
    """Observations `n x 1 x (1 + H)` and first actions `n x 1 x 1` of designs, see `Offline.steps`."""
    time = one_hot(x[:, 1].detach().round().long().clamp(0, LATEST), HORIZON)
    return torch.cat([x[:, :1], time.to(x)], 1)[:, None], x[:, None, OBSERVATION : OBSERVATION + 1]


@torch.no_grad()
def controlled(
    prior: DiffusionPrior, start: Tensor, rng: Generator, *, denoiser: Denoiser | None = None, resamples: int = 8
) -> Tensor:
    """Returns of `n` episodes from `n` starts, in which a chunk is drawn at every eighth step and executed.

    Args:
        prior: Of `Nav1DPolicy`.
        start: `n` positions.
        rng: Generator of the chunks.
        denoiser: Another network than the prior's, for instance a policy's.
        resamples: See `inpaint`.
    """
    position, actions = start, []
    given = torch.arange(OBSERVATION + CHUNK, device=start.device) < OBSERVATION
    for t in range(0, HORIZON, CHUNK):
        design = torch.zeros(len(start), OBSERVATION + CHUNK, device=start.device)
        design[:, 0], design[:, 1] = position, t
        design = prior.decode(inpaint(prior, prior.encode(design), given, rng, denoiser=denoiser, resamples=resamples))
        _, positions, chunk = unrolled(design)
        actions.append(chunk)
        position = positions[:, -1]
    return returns(start, torch.cat(actions, 1))
