"""Kernels between sequences of tokens, for Gaussian processes of GPyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from gpytorch.kernels import Kernel, RBFKernel
from torch import Tensor

CACHED = 2**16
"""Molecules whose fingerprints are kept, of 2,048 bits each."""


class HammingKernel(RBFKernel):  # type: ignore[misc]
    """exp(-½ Σ_l [a_l ≠ b_l] / λ_l²) between sequences of tokens, with a lengthscale λ_l per position.

    The RBF kernel of their one-hot vectors, tied over the tokens of a position: distances are a matrix product.

    Args:
        size: Number of tokens in the alphabet.
        like: Where lengthscales and their prior come from, an RBF kernel with as many coordinates as positions.
    """

    def __init__(self, size: int, like: RBFKernel) -> None:
        super().__init__(
            ard_num_dims=like.ard_num_dims,
            lengthscale_prior=like.lengthscale_prior,
            lengthscale_constraint=like.raw_lengthscale_constraint,
        )
        self.tokens = size
        self.lengthscale = like.lengthscale.detach()

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: bool) -> Tensor:
        """Covariances of `n x d` and `m x d` tokens."""
        a, b = (self._one_hot(x) for x in (x1, x2))
        square: Tensor = self.covar_dist(a, b, square_dist=True, diag=diag, **params)
        return square.div(-2).exp()

    def _one_hot(self, x: Tensor) -> Tensor:
        """`n x d` tokens as vectors whose squared distance is Σ_l [a_l ≠ b_l] / λ_l²."""
        tokens = torch.arange(self.tokens, device=x.device)
        scaled: Tensor = (x[..., None] == tokens) / (2**0.5 * self.lengthscale[..., None])
        return scaled.flatten(-2)


class TanimotoKernel(Kernel):  # type: ignore[misc]
    """a·b / (|a|² + |b|² - a·b) of the Morgan fingerprints of two molecules, written as SELFIES tokens.

    It is positive definite (Ralaivola et al. 2005). What is no molecule is like all else that is none.

    Args:
        alphabet: What the tokens stand for.
    """

    def __init__(self, alphabet: Sequence[str]) -> None:
        super().__init__()
        self.alphabet = tuple(alphabet)

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: bool) -> Tensor:
        """Covariances of `n x d` and `m x d` tokens."""
        a = self._bits(x1)
        b = a if torch.equal(x1, x2) else self._bits(x2)
        size_a, size_b = a.sum(-1), b.sum(-1)
        if diag:
            common, total = (a * b).sum(-1), size_a + size_b
        else:
            common, total = a @ b.T, size_a[:, None] + size_b
        return (common / (total - common)).to(x1)

    def _bits(self, x: Tensor) -> Tensor:
        """`n x 2049` bits of `n x d` tokens, in single precision, which counts them exactly; the last: no molecule."""
        packed = [bits("".join(self.alphabet[i] for i in row)) for row in x.long().tolist()]
        found = np.unpackbits(np.frombuffer(b"".join(packed), np.uint8).reshape(len(x), -1), axis=1)
        own = torch.from_numpy(found).to(x.device, torch.float)
        return torch.cat([own, ~own.any(1, keepdim=True)], 1)


@lru_cache(CACHED)
def bits(text: str) -> bytes:
    """The packed Morgan fingerprint of a string of SELFIES tokens."""
    from bbo_bench.molecules import fingerprint

    return np.packbits(fingerprint(text)).tobytes()


def in_selfies(alphabet: Sequence[str]) -> bool:
    """Whether all tokens are SELFIES tokens, which stand in brackets."""
    return all(token.startswith("[") and token.endswith("]") for token in alphabet)
