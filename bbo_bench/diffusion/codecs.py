"""Codecs: what maps designs to the latents that a prior diffuses, and back."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import torch
from torch import Tensor, nn

from bbo_bench.domains import Box, Sequences


class Codec(nn.Module):
    """Maps designs to latents of about zero mean and unit variance, and back; what it has learnt are buffers."""

    latent_shape: torch.Size
    """Shape of one latent."""
    lossy: bool = False
    """See `Prior.lossy`."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""

    def moved(self, device: torch.device) -> Self:
        """This codec on `device`: itself, where it has no tensors."""
        return self


class Standardize(Codec):
    """Real vectors: latents are standardized designs.

    Args:
        box: Decoded designs are clamped to it.
        data: `n x shape` designs whose mean and standard deviation are used.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, box: Box, data: Tensor | None = None) -> None:
        super().__init__()
        self.latent_shape = box.shape
        self.box = box
        self.register_buffer("mean", torch.zeros_like(box.lower) if data is None else data.mean(0))
        self.register_buffer("std", torch.ones_like(box.lower) if data is None else data.std(0))

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        return self.box.clamp(z * self.std + self.mean)

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return (x - self.mean) / self.std

    def moved(self, device: torch.device) -> Self:
        """A copy on `device`."""
        copy = type(self)(self.box.to(device))
        copy.load_state_dict(self.state_dict())
        return copy.to(device)


class Pixels(Codec):
    """Images: latents are pixels, their range stretched to [-1, 1].

    Args:
        box: All pixels, between one lower and one upper bound.
    """

    def __init__(self, box: Box) -> None:
        super().__init__()
        self.latent_shape = box.shape
        self.low, self.high = float(box.lower.min()), float(box.upper.max())

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`; values beyond the range are clamped to it."""
        return self.low + (self.high - self.low) * ((z + 1) / 2).clamp(0, 1)

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return 2 * (x - self.low) / (self.high - self.low) - 1


class OneHot(Codec):
    """Sequences: latents `length x size` are one-hot rows, shifted and scaled to zero mean and mean square `scale`².

    Args:
        domain: The sequences.
        scale: The lower it is, the earlier noise hides a token.
    """

    def __init__(self, domain: Sequences, scale: float = 1.0) -> None:
        super().__init__()
        self.size = domain.size
        self.latent_shape = torch.Size([domain.length, domain.size])
        self.scale = scale * self.size / (self.size - 1) ** 0.5

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`: the tokens of the largest entries."""
        return z.argmax(-1)

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        z: Tensor = self.scale * (nn.functional.one_hot(x, self.size) - 1 / self.size)
        return z
