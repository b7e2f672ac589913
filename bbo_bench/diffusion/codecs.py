"""Codecs: what maps designs to the latents that a prior diffuses, and back."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Generator, Tensor, nn

from bbo_bench.domains import Box, Sequences


class Codec(nn.Module):
    """Maps designs to latents of about zero mean and unit variance, and back; what it has learnt are buffers."""

    latent_shape: torch.Size
    """Shape of one latent."""
    lossy: bool = False
    """See `Prior.lossy`."""
    given: Tensor | None
    """Bools of a latent's shape: which of its numbers are given with a design, not designed; None for none."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("given", None, persistent=False)

    @property
    def prompts(self) -> int:
        """How many prompts designs may have; 0 without any."""
        return 0

    @property
    def turns(self) -> int:
        """How many prompts designs are made for by turns; 1 without any."""
        return 1

    @property
    def grouped(self) -> bool:
        """Whether a design is to be compared with others of its prompt or start alone."""
        return self.prompts > 1

    def context(self, n: int, rng: Generator) -> Tensor:
        """`n x latent_shape` latents with what designs are to be made for in the place of what is given."""
        raise NotImplementedError(f"{type(self).__name__} has something given, and must say in `context` what")

    @contextmanager
    def drawing(self, contexts: range | Tensor) -> Iterator[None]:
        """Designs are made for other prompts, or from other starts, in the meantime.

        Raises:
            ValueError: If nothing is given with a design.
        """
        raise ValueError(
            "expected a prior of prompts, or of plans from a start, whose codec is Prompted or Started, "
            f"got one of {type(self).__name__}"
        )
        yield

    @contextmanager
    def comparing(self) -> Iterator[None]:
        """Several designs are made from every start in the meantime, one after the other, so that they compare."""
        yield

    def prompt(self, z: Tensor) -> Tensor:
        """Numbers of the prompts, or of the starts, of `n x latent_shape` latents; 0 where there are none.

        An `n`-dim tensor. Starts are numbered as they come among these latents.
        """
        return torch.zeros(len(z), dtype=torch.long, device=z.device)

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""

    def moved(self, device: torch.device) -> Self:
        """This codec on `device`: itself, where it has no tensors."""
        return self


class Learned(Codec):
    """A codec of networks that a task has trained, whose weights are written in half precision."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The weights in half precision."""
        return {key: value.half() for key, value in super().state_dict(*args, **kwargs).items()}

    def moved(self, device: torch.device) -> Self:
        """A copy on `device`."""
        return copy.deepcopy(self).to(device)


class Standardize(Codec):
    """Real vectors: latents are standardized designs.

    Args:
        box: Decoded designs are clamped to it.
        data: `n x shape` designs whose mean and standard deviation are used; numbers that never vary are only shifted.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, box: Box, data: Tensor | None = None) -> None:
        super().__init__()
        self.latent_shape = box.shape
        self.box = box
        self.register_buffer("mean", torch.zeros_like(box.lower) if data is None else data.mean(0))
        std = torch.ones_like(box.lower) if data is None else data.std(0)
        self.register_buffer("std", torch.where(std > 1e-6, std, 1))

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


class Prompted(Codec):
    """Designs of another codec with their prompt: one more entry of a latent's first dimension is the prompt's code.

    Args:
        inner: Maps designs without their prompts to latents and back.
        codes: `P x latent_shape[1:]`, a different one for each of P prompts.
        drawn: Numbers of the prompts that designs are made for; None for all.

    Raises:
        ValueError: If two prompts have one code.
    """

    codes: Tensor
    drawn: Tensor

    def __init__(self, inner: Codec, codes: Tensor, drawn: Tensor | None = None) -> None:
        super().__init__()
        if len(torch.unique(codes.reshape(len(codes), -1), dim=0)) < len(codes):
            raise ValueError("expected a code of its own for every prompt, got two that are equal")
        self.inner, self.lossy = inner, inner.lossy
        self.latent_shape = torch.Size([inner.latent_shape[0] + 1, *inner.latent_shape[1:]])
        self.given = torch.zeros(self.latent_shape, dtype=torch.bool, device=codes.device)
        self.given[-1] = True
        drawn = torch.arange(len(codes), device=codes.device) if drawn is None else drawn
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("drawn", drawn, persistent=False)

    @property
    def prompts(self) -> int:
        """See `Codec.prompts`."""
        return len(self.codes)

    @property
    def turns(self) -> int:
        """See `Codec.turns`."""
        return len(self.drawn)

    def context(self, n: int, rng: Generator) -> Tensor:
        """See `Codec.context`: each prompt as often as every other one, or once more, from a random one on."""
        first = torch.randint(len(self.drawn), (), generator=rng, device=rng.device)
        number = self.drawn[(first + torch.arange(n, device=rng.device)) % len(self.drawn)]
        z = self.codes.new_zeros(n, *self.latent_shape)
        z[:, -1] = self.codes[number]
        return z

    @contextmanager
    def drawing(self, contexts: range | Tensor) -> Iterator[None]:
        """See `Codec.drawing`: for the prompts of these numbers."""
        before = self.drawn
        self.drawn = torch.as_tensor(contexts, device=before.device)
        try:
            yield
        finally:
            self.drawn = before

    def prompt(self, z: Tensor) -> Tensor:
        """See `Codec.prompt`."""
        return torch.cdist(z[:, -1:].flatten(1), self.codes.reshape(len(self.codes), -1)).argmin(1)

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        x = self.inner.decode(z[:, :-1])
        number = self.prompt(z).to(x).reshape(-1, *[1] * (x.ndim - 1))
        return torch.cat([x, number.expand(-1, 1, *x.shape[2:])], 1)

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        number = x[:, -1:].flatten(1)[:, 0].long()
        return torch.cat([self.inner.encode(x[:, :-1]), self.codes[number][:, None]], 1)

    def moved(self, device: torch.device) -> Self:
        """A copy on `device`."""
        return type(self)(self.inner.moved(device), self.codes.to(device), self.drawn.to(device))


class Started(Codec):
    """Designs of another codec of which a part is given: what a plan starts from.

    Args:
        inner: Maps designs to latents and back, each number by itself.
        given: Bools of a latent's shape: which of its numbers are given.
        starts: `m x shape` designs whose given part others are made from, by turns, from a random one on.
        alike: How many designs are made from one start where they are to be compared.
    """

    starts: Tensor

    def __init__(self, inner: Codec, given: Tensor, starts: Tensor, alike: int = 8) -> None:
        super().__init__()
        self.inner, self.lossy, self.latent_shape = inner, inner.lossy, inner.latent_shape
        self.given = given
        self.register_buffer("starts", starts, persistent=False)
        self.alike, self._copies, self._turns = alike, 1, 1

    @property
    def turns(self) -> int:
        """See `Codec.turns`: 1 but while it is starts of one's own that plans are made from."""
        return self._turns

    @property
    def grouped(self) -> bool:
        """See `Codec.grouped`."""
        return True

    def context(self, n: int, rng: Generator) -> Tensor:
        """See `Codec.context`."""
        first = torch.randint(len(self.starts), (), generator=rng, device=rng.device)
        turn = torch.arange(n, device=rng.device).div(self._copies, rounding_mode="floor")
        return self.encode(self.starts[(first + turn) % len(self.starts)])

    @contextmanager
    def drawing(self, contexts: range | Tensor) -> Iterator[None]:
        """See `Codec.drawing`: from the given part of `m x shape` designs, one each by turns."""
        before = self.starts, self._turns
        self.starts = torch.as_tensor(contexts, device=self.starts.device)
        self._turns = len(self.starts)
        try:
            yield
        finally:
            self.starts, self._turns = before

    @contextmanager
    def comparing(self) -> Iterator[None]:
        """See `Codec.comparing`."""
        self._copies = self.alike
        try:
            yield
        finally:
            self._copies = 1

    def prompt(self, z: Tensor) -> Tensor:
        """See `Codec.prompt`."""
        number: Tensor = torch.unique(z[:, self.given], dim=0, return_inverse=True)[1]
        return number

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`."""
        return self.inner.decode(z)

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`."""
        return self.inner.encode(x)

    def moved(self, device: torch.device) -> Self:
        """A copy on `device`."""
        assert self.given is not None
        return type(self)(self.inner.moved(device), self.given.to(device), self.starts.to(device), self.alike)


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
