"""Domains of designs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import torch
from torch import Generator, Tensor

from bbo_bench.core import Domain


class Box(Domain):
    """Real vectors between bounds, both included.

    Args:
        lower: Lower bounds, of the shape of a design.
        upper: Upper bounds, of the same shape.
    """

    def __init__(self, lower: Tensor, upper: Tensor) -> None:
        if lower.shape != upper.shape or not (lower < upper).all():
            raise ValueError("bounds must have one shape, and every lower bound must be below its upper bound")
        self.lower, self.upper = lower, upper
        self.shape = lower.shape

    def check(self, x: Tensor) -> Tensor:
        """See `Domain.check`."""
        _check_tensor(x, self.shape)
        if not x.is_floating_point():
            raise ValueError(f"designs must be a floating-point tensor, got {x.dtype}; x.float() makes one")
        if not (finite := x.isfinite()).all():
            raise ValueError(f"designs must be finite, got {int((~finite).sum())} entries that are NaN or infinite")
        outside = (x < self.lower) | (x > self.upper)
        if outside.any():
            row, *where = outside.nonzero()[0].tolist()
            low, value, high = (float(t) for t in (self.lower[*where], x[row, *where], self.upper[*where]))
            raise ValueError(
                f"designs must lie in the domain, but design {row} has {value:.6g} at {where}, "
                f"where [{low:.6g}, {high:.6g}] is allowed; clamp it to the bounds"
            )
        return x

    def sample(self, n: int, rng: Generator) -> Tensor:
        """See `Domain.sample`."""
        unit = torch.rand(n, *self.shape, generator=rng, device=self.lower.device, dtype=self.lower.dtype)
        return self.clamp(self.lower + unit * (self.upper - self.lower))

    def clamp(self, x: Tensor) -> Tensor:
        """`x` moved to the nearest point of the box."""
        return x.clamp(self.lower, self.upper)

    def normalize(self, x: Tensor) -> Tensor:
        """`n x shape` designs as points of the unit cube."""
        return (x - self.lower) / (self.upper - self.lower)

    def unnormalize(self, u: Tensor) -> Tensor:
        """`n x shape` points of the unit cube as designs."""
        return self.clamp(self.lower + u * (self.upper - self.lower))

    def to(self, device: torch.device) -> Self:
        """See `Domain.to`."""
        return type(self)(self.lower.to(device), self.upper.to(device))


class Sequences(Domain):
    """Sequences of tokens, all of one length; a design holds the tokens' numbers as 64-bit integers.

    Args:
        length: Tokens in a sequence.
        alphabet: The tokens.
    """

    def __init__(self, length: int, alphabet: Sequence[str]) -> None:
        if length < 1 or len(alphabet) < 2 or len(set(alphabet)) < len(alphabet):
            raise ValueError(
                f"expected a length of at least 1 and at least two distinct tokens, got {length}, {alphabet}"
            )
        self.length, self.alphabet = length, tuple(alphabet)
        self.shape = torch.Size([length])

    @property
    def size(self) -> int:
        """Number of tokens in the alphabet."""
        return len(self.alphabet)

    def check(self, x: Tensor) -> Tensor:
        """See `Domain.check`."""
        _check_tensor(x, self.shape)
        if x.dtype != torch.long:
            raise ValueError(f"sequences must be a tensor of 64-bit integers, got {x.dtype}; x.long() makes one")
        unknown = (x < 0) | (x >= self.size)
        if unknown.any():
            row, position = unknown.nonzero()[0].tolist()
            raise ValueError(
                f"tokens must be numbers from 0 to {self.size - 1}, "
                f"but sequence {row} has {int(x[row, position])} at position {position}"
            )
        return x

    def sample(self, n: int, rng: Generator) -> Tensor:
        """See `Domain.sample`."""
        return torch.randint(self.size, (n, self.length), generator=rng, device=rng.device)

    def text(self, x: Tensor) -> list[str]:
        """`n` strings: the tokens of `n x length` designs, one after the other."""
        return ["".join(self.alphabet[i] for i in row) for row in x.tolist()]

    def parse(self, text: Sequence[str]) -> Tensor:
        """`n x length` designs of `n` strings, as `text` writes them.

        Raises:
            ValueError: If a string has another length, or something unknown, or there is one string and no list.
        """
        if isinstance(text, str):
            raise ValueError(f"expected a list of strings, got the string {text!r}; write [{text!r}]")
        number = {token: i for i, token in enumerate(self.alphabet)}
        token = re.compile("|".join(map(re.escape, sorted(number, key=len, reverse=True))) + "|.", re.DOTALL)
        rows = [token.findall(string) for string in text]
        for row, string in zip(rows, text, strict=True):
            if unknown := [each for each in row if each not in number]:
                raise ValueError(f"tokens must be of {''.join(self.alphabet)}, got {unknown[0]!r} in {string!r}")
            if len(row) != self.length:
                raise ValueError(f"sequences must have {self.length} tokens, got {len(row)}: {string!r}")
        tokens = [[number[each] for each in row] for row in rows]
        return torch.tensor(tokens, dtype=torch.long).reshape(-1, self.length)

    def to(self, device: torch.device) -> Self:
        """See `Domain.to`; there is nothing to move."""
        return self


class Captioned(Domain):
    """Designs of a box that are each made for a prompt, whose number is one more entry of their first dimension.

    A picture of `c x h x w` becomes `c+1 x h x w`, and all of the last `h x w` are its prompt's number.

    Args:
        box: Of designs without their prompts.
        prompts: The prompts' texts; all of them different.
        asked: How many of them, the first ones, are asked for; None for all.
        held_out: How many of those after them are never asked for, but evaluated; None for all. The others are neither.

    Attributes:
        asked: Numbers of the prompts that are asked for.
        held_out: Numbers of those that are never asked for, but evaluated.

    Raises:
        ValueError: If a prompt is empty or there twice, or counts are not of 1 prompt to all, or beyond.
    """

    def __init__(self, box: Box, prompts: Sequence[str], asked: int | None = None, held_out: int | None = None) -> None:
        empty = [i for i, prompt in enumerate(prompts) if not prompt.strip()]
        if empty or not prompts or len(set(prompts)) < len(prompts):
            twice = sorted({prompt for prompt in prompts if prompts.count(prompt) > 1})
            raise ValueError(f"expected different prompts with a text, got empty ones at {empty}, twice {twice}")
        asked = len(prompts) if asked is None else asked
        held_out = len(prompts) - asked if held_out is None else held_out
        if not (asked >= 1 and 0 <= held_out <= len(prompts) - asked):
            raise ValueError(
                f"expected 1 to {len(prompts)} prompts to be asked for, and of the others some held out, "
                f"got {asked} and {held_out}"
            )
        self.box, self.prompts = box, tuple(prompts)
        self.asked, self.held_out = range(asked), range(asked, asked + held_out)
        self.shape = torch.Size([box.shape[0] + 1, *box.shape[1:]])

    def check(self, x: Tensor) -> Tensor:
        """See `Domain.check`."""
        _check_tensor(x, self.shape)
        self.box.check(x[:, :-1])
        number = x[:, -1:].flatten(1)
        wrong = ((number != number[:, :1]) | (number != number.round()) | (number < 0)).any(1)
        wrong |= (number >= len(self.prompts)).any(1)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise ValueError(
                f"the last entry of a design must be its prompt's number, from 0 to {len(self.prompts) - 1}, "
                f"but design {row} has {number[row, :3].tolist()} there"
            )
        return x

    def check_balanced(self, x: Tensor, numbers: range) -> Tensor:
        """`n x shape` designs, if they are for these prompts, each as often as every other one, or once more.

        Raises:
            ValueError: If they are not.
        """
        count = torch.bincount(self.prompt(x), minlength=len(self.prompts))
        within = count[numbers.start : numbers.stop]
        if int(within.sum()) != len(x) or int(within.max() - within.min()) > 1:
            raise ValueError(
                f"{len(x)} designs must be for prompts {numbers.start} to {numbers.stop - 1}, for each of them as many "
                f"as for every other one, or one more, got {count.tolist()} for all {len(self.prompts)}"
            )
        return x

    def prompt(self, x: Tensor) -> Tensor:
        """Numbers of the prompts of `n x shape` designs, an `n`-dim tensor."""
        return x[:, -1:].flatten(1)[:, 0].long()

    def captioned(self, x: Tensor, number: Tensor) -> Tensor:
        """`n x shape` designs of `n` designs without prompts, and the numbers of those."""
        row = number.to(x).reshape(-1, *[1] * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
        return torch.cat([x, row], 1)

    def sample(self, n: int, rng: Generator) -> Tensor:
        """See `Domain.sample`; each prompt that is asked for has the same chance."""
        x = self.box.sample(n, rng)
        return self.captioned(x, torch.randint(len(self.asked), (n,), generator=rng, device=rng.device))

    def to(self, device: torch.device) -> Self:
        """See `Domain.to`."""
        return type(self)(self.box.to(device), self.prompts, len(self.asked), len(self.held_out))


def _check_tensor(x: object, shape: torch.Size) -> None:
    """Raise `ValueError` unless `x` is a tensor of designs of that shape."""
    if not isinstance(x, Tensor):
        raise ValueError(f"designs must be a tensor, got {type(x).__name__}; torch.as_tensor makes one of numbers")
    if x.shape[1:] != shape or x.ndim != len(shape) + 1:
        hint = "; x[None] is a batch of one design" if x.shape == shape else ""
        raise ValueError(f"designs must be `{' x '.join(map(str, ('n', *shape)))}`, got {tuple(x.shape)}{hint}")
