"""Plans of observations alone, whose actions a network reads off them (Decision Diffuser, Ajay et al. 2023)."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from bbo_bench.diffusion.codecs import Codec, Standardize
from bbo_bench.domains import Box
from bbo_bench.seeding import generator, seeded

WIDTH = 256
STEPS, BATCH, RATE = 4000, 1024, 1e-3
"""Updates, transitions of each, and learning rate of Adam, which falls to 0 along a cosine."""
UNKNOWN = 0.25
"""Share of these transitions whose end is not shown."""


class InverseDynamics(Codec):
    """Plans `length x (o + a)` whose latents `length x o` are observations, standardized alike at all times.

    An action is what leads from an observation to the next, by a network of two hidden layers that is fitted by least
    squares; after the last observation it is what the data do there. So designs are lossy: of actions only their effect
    is encoded.

    Args:
        box: The plans.
        size: Numbers of an observation, o.
        data: `n x length x (o + a)` plans that were executed.
    """

    lossy = True
    step: Tensor
    """`o` root mean squares of the difference between an observation and the next, in latent units."""

    def __init__(self, box: Box, size: int, data: Tensor | None = None) -> None:
        super().__init__()
        self.box, self.size = box, size
        observations = Box(box.lower[:, :size], box.upper[:, :size])
        self.observations = Standardize(observations, None if data is None else _at_any_time(data[..., :size]))
        self.latent_shape = observations.shape
        with seeded(generator(0, "inverse dynamics")):
            self.network = nn.Sequential(
                nn.Linear(2 * size + 1, WIDTH),
                nn.SiLU(),
                nn.Linear(WIDTH, WIDTH),
                nn.SiLU(),
                nn.Linear(WIDTH, box.shape[-1] - size),
            )
        self.register_buffer("step", torch.ones_like(box.lower[0, :size]))
        if data is not None:
            self._fit(data)
        self.requires_grad_(False)

    def _fit(self, data: Tensor) -> None:
        z = self.encode(data)
        before, after, action = (each.flatten(0, 1) for each in (z[:, :-1], z[:, 1:], data[:, :-1, self.size :]))
        self.step = (after - before).square().mean(0).sqrt().clamp(min=1e-6)
        optimizer = torch.optim.Adam(self.network.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        rng = generator(0, "inverse dynamics, batches", device=data.device)
        for _ in range(STEPS):
            i = torch.randint(len(action), (BATCH,), generator=rng, device=data.device)
            shown = torch.rand(BATCH, 1, generator=rng, device=data.device) >= UNKNOWN
            loss = nn.functional.mse_loss(self._action(before[i], after[i], shown), action[i])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()

    def _action(self, before: Tensor, after: Tensor, shown: Tensor) -> Tensor:
        """What leads from observations to those `after`, or, where these are not `shown`, what the data do."""
        change = torch.where(shown, (after - before) / self.step, 0)
        action: Tensor = self.network(torch.cat([before, change, shown.expand(*change.shape[:-1], 1)], -1))
        return action

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        shown = torch.arange(z.shape[1], device=z.device)[:, None] < z.shape[1] - 1
        action = self._action(z, z.roll(-1, 1), shown)
        return self.box.clamp(torch.cat([self.observations.decode(z), action], -1))

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return self.observations.encode(x[..., : self.size])

    def moved(self, device: torch.device) -> Self:
        """A copy on `device`."""
        copy = type(self)(self.box.to(device), self.size)
        copy.load_state_dict(self.state_dict())
        return copy.to(device)


def _at_any_time(observation: Tensor) -> Tensor:
    """`nH x H x o` observations: all of `n x H x o`, at every time."""
    return observation.flatten(0, 1)[:, None].expand(-1, observation.shape[1], -1)
