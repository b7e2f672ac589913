"""Latents of molecules: one-hot rows of words, which are tokens of SELFIES and frequent runs of them.

A ring of benzene takes eight tokens and one word. A molecule has half as many words as tokens, so there is less that a
denoiser must get right at once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bbo_bench.diffusion.codecs import Codec, OneHot
from bbo_bench.domains import Sequences

CHUNK = 1024
"""Designs that are compared with all words at once."""


class Words(Codec):
    """Latents `length x words`: a row per word, and rows of padding behind them.

    Args:
        domain: The sequences; token 0 is the padding.
        words: The vocabulary: every token of the domain in its order, then runs of tokens.
        scale: Root mean square of the latents; the lower it is, the earlier noise hides a word.
    """

    def __init__(self, domain: Sequences, words: Sequence[str], scale: float) -> None:
        super().__init__()
        number = {token: i for i, token in enumerate(domain.alphabet)}
        runs = [[number[token] for token in re.findall(r"\[[^]]*]", word)] for word in words]
        longest = max(map(len, runs))
        self.table = torch.tensor([run + [-1] * (longest - len(run)) for run in runs])
        """`words x longest` tokens of every word; -1 behind its end."""
        self.rows = OneHot(Sequences(domain.length, words), scale)
        self.latent_shape = self.rows.latent_shape

    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`: from the left, always the longest word that fits."""
        return torch.cat([self.rows.encode(self.spell(part)) for part in x.split(CHUNK)])

    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`: the tokens of the likeliest words, as many as a design has."""
        tokens = self.table.to(z.device)[self.rows.decode(z)].flatten(1)
        order = (tokens < 0).sort(dim=1, stable=True).indices  # what is no token goes to the end
        return tokens.gather(1, order[:, : self.latent_shape[0]])

    def spell(self, x: Tensor) -> Tensor:
        """`n x length` words of `n x length` tokens, padded at the end."""
        table = self.table.to(x.device)
        n, length = x.shape
        windows = nn.functional.pad(x, (0, table.shape[1] - 1), value=-1).unfold(1, table.shape[1], 1)
        fits = ((windows[:, :, None] == table) | (table < 0)).all(-1)
        size = (table >= 0).sum(1)
        word = (fits * size).argmax(-1)  # at every position; the longest is unique
        spelled, where = torch.zeros_like(x), torch.zeros(n, dtype=torch.long, device=x.device)
        for i in range(length):
            inside = where < length
            found = word.gather(1, where.clamp(max=length - 1)[:, None])[:, 0]
            spelled[:, i] = found * inside
            where = where + size[found]
        return spelled
