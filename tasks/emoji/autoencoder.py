"""Latents of pictures: those of a small convolutional autoencoder, `8 x 8 x 8` for `3 x 32 x 32` pixels."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from tqdm import trange

from bbo_bench.diffusion.codecs import Learned
from bbo_bench.seeding import generator, seeded

CHANNELS, SIDE = 8, 8
"""Of a latent."""
WIDTHS = (48, 96)
"""Of the layers on `16 x 16` and on `8 x 8`."""
UPDATES, BATCH, LEARNING_RATE = 6000, 32, 2e-3
NOISE = 0.05
"""Standard deviation of the noise on the latents from which the decoder learns."""
CHUNK = 256
"""Pictures that pass the networks at once."""


class Autoencoder(Learned):
    """Latents of zero mean and unit variance per channel over the data.

    Pictures have pixels in [0, 1]; what is decoded is clamped to them.
    """

    lossy = True
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.latent_shape = torch.Size([CHANNELS, SIDE, SIDE])
        wide, deep = WIDTHS
        with seeded(generator(0, "autoencoder")):
            self.encoder = nn.Sequential(
                nn.PixelUnshuffle(2),
                nn.Conv2d(12, wide, 3, padding=1),
                Residual(wide),
                nn.Conv2d(wide, deep, 3, stride=2, padding=1),
                Residual(deep),
                nn.GroupNorm(8, deep),
                nn.SiLU(),
                nn.Conv2d(deep, CHANNELS, 1),
            )
            self.decoder = nn.Sequential(
                nn.Conv2d(CHANNELS, deep, 3, padding=1),
                Residual(deep),
                nn.Conv2d(deep, 4 * wide, 1),
                nn.PixelShuffle(2),
                Residual(wide),
                nn.GroupNorm(8, wide),
                nn.SiLU(),
                nn.Conv2d(wide, 12, 3, padding=1),
                nn.PixelShuffle(2),
            )
        self.register_buffer("mean", torch.zeros(CHANNELS, 1, 1))
        self.register_buffer("std", torch.ones(CHANNELS, 1, 1))
        self.requires_grad_(False)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        if not len(x):  # which torch's PixelUnshuffle refuses
            return x.new_zeros(0, *self.latent_shape)
        z = torch.cat([self.encoder(2 * part - 1) for part in torch.split(x, CHUNK)])
        return (z - self.mean) / self.std

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`; differentiable."""
        if not len(z):
            return z.new_zeros(0, 3, 4 * SIDE, 4 * SIDE)
        parts = [self.decoder(part * self.std + self.mean) for part in torch.split(z, CHUNK)]
        return ((torch.cat(parts) + 1) / 2).clamp(0, 1)

    def fit(self, x: Tensor) -> Self:
        """Learn from `n x 3 x 32 x 32` pictures."""
        rng = generator(0, "autoencoder", "fit")
        self.requires_grad_(True)
        optimizer = torch.optim.AdamW(self.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=UPDATES, pct_start=0.02)
        for _ in trange(UPDATES, desc="training the autoencoder", mininterval=1):
            picture = 2 * x[torch.randint(len(x), (BATCH,), generator=rng)] - 1
            z = self.encoder(picture)
            again = self.decoder(z + NOISE * torch.randn(z.shape, generator=rng))
            loss = nn.functional.mse_loss(again, picture) + 0.1 * nn.functional.l1_loss(again, picture)
            optimizer.zero_grad()
            torch.autograd.backward(loss + 1e-4 * z.square().mean())
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        self.requires_grad_(False)
        z = torch.cat([self.encoder(2 * part - 1) for part in torch.split(x, CHUNK)])
        self.mean.copy_(z.mean((0, 2, 3))[:, None, None])
        self.std.copy_(z.std((0, 2, 3))[:, None, None])
        self.load_state_dict(self.state_dict())  # rounded, as they are written
        return self


class Residual(nn.Module):
    """Two convolutions that add to their input.

    Args:
        channels: Of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))
        self.layers = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """`n x channels x h x w`, of the input's shape."""
        h = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = layer(nn.functional.silu(norm(h)))
        return x + h
