"""Latents of molecules: those of an autoencoder, whose decoder writes a molecule word by word.

A small denoiser of one-hot rows sets all rows at once, and one wrong row spoils a molecule. A decoder that knows what
it has written does not: latents close to a molecule's are written as one, and the diffusion is left with what kind
of molecule it is (Gómez-Bombarelli et al. 2018; Rombach et al. 2022). The price is that `decode(encode(x))` is x for
some designs only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from tqdm import trange

from bbo_bench.diffusion.codecs import Learned
from bbo_bench.domains import Sequences
from bbo_bench.seeding import generator, seeded

LATENT, WIDTH, EMBEDDED = 48, 256, 24
LONGEST = 28
"""Words of a molecule at most; those of the data have up to 25."""
UPDATES, BATCH, LEARNING_RATE = 20_000, 128, 3e-3
NOISE = 0.7
"""Standard deviation of the noise on the latents from which the decoder learns to write."""
CHUNK = 2048
"""Designs that pass the networks at once."""


class Autoencoder(Learned):
    """Latents of 48 numbers, of zero mean and unit variance over the data.

    A perceptron makes them of a molecule's words, which are tokens of SELFIES and frequent runs of them: a ring of
    benzene takes eight tokens and one word. A recurrent network writes the words, always the likeliest one.

    Args:
        domain: The sequences; token 0 is the padding.
        words: The vocabulary: every token of the domain in its order, then runs of tokens.
    """

    lossy = True
    mean: Tensor
    std: Tensor

    def __init__(self, domain: Sequences, words: Sequence[str]) -> None:
        super().__init__()
        self.domain = domain
        self.latent_shape = torch.Size([LATENT])
        self._number = {word: i for i, word in enumerate(words)}
        longest_first = sorted(words, key=lambda word: -word.count("["))
        self._spelling = re.compile("|".join(map(re.escape, longest_first)))
        token = {each: i for i, each in enumerate(domain.alphabet)}
        self._tokens = [[token[each] for each in re.findall(r"\[[^]]*]", word)] for word in words]
        with seeded(generator(0, "autoencoder")):
            self.read = nn.Embedding(len(words), EMBEDDED)
            self.encoder = nn.Sequential(
                nn.Linear(LONGEST * EMBEDDED, WIDTH),
                nn.GELU(),
                nn.Linear(WIDTH, WIDTH),
                nn.GELU(),
                nn.Linear(WIDTH, LATENT),
            )
            self.written = nn.Embedding(len(words), WIDTH // 2)
            self.hint = nn.Linear(LATENT, WIDTH // 2)
            self.start = nn.Linear(LATENT, WIDTH)
            self.writer = nn.GRU(WIDTH // 2, WIDTH, batch_first=True)
            self.choice = nn.Linear(WIDTH, len(words))
        self.register_buffer("mean", torch.zeros(LATENT))
        self.register_buffer("std", torch.ones(LATENT))
        self.requires_grad_(False)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """See `Prior.encode`; what follows on the 28th word is not seen."""
        words = torch.tensor(self.spell(x), dtype=torch.long, device=x.device).reshape(-1, LONGEST)
        return torch.cat([(self._summary(part) - self.mean) / self.std for part in torch.split(words, CHUNK)])

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """See `Prior.decode`: the molecule whose every word is the likeliest after those before it."""
        rows = [row for part in torch.split(z, CHUNK) for row in self._write(part).tolist()]
        texts = [[token for word in row for token in self._tokens[word] if token] for row in rows]
        length = self.domain.length
        designs = [text[:length] + [0] * (length - len(text)) for text in texts]
        return torch.tensor(designs, dtype=torch.long, device=z.device).reshape(-1, length)

    def spell(self, x: Tensor) -> list[list[int]]:
        """The first 28 words of designs, padded at the end: from the left, always the longest that fits."""
        found = ([self._number[word] for word in self._spelling.findall(text)] for text in self.domain.text(x))
        texts = [[word for word in text if word][:LONGEST] for text in found]
        return [text + [0] * (LONGEST - len(text)) for text in texts]

    def fit(self, x: Tensor) -> Self:
        """Learn to write `n x 48` designs from their latents, to which noise is added."""
        rng = generator(0, "autoencoder", "fit")
        words = torch.tensor(self.spell(x))
        lengths = (words > 0).sum(1) + 1  # with the padding that ends it
        self.requires_grad_(True)
        optimizer = torch.optim.Adam(self.parameters(), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
        for _ in trange(UPDATES, desc="training the autoencoder", mininterval=1):
            rows = torch.randint(len(words), (BATCH,), generator=rng)
            text = words[rows]
            z = nn.functional.batch_norm(self._summary(text), None, None, training=True)
            text = text[:, : int(lengths[rows].max())]
            logits = self._logits(z + NOISE * torch.randn(z.shape, generator=rng), text)
            inside = torch.arange(text.shape[1]) < lengths[rows, None]
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(logits[inside], text[inside]))
            nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        self.requires_grad_(False)
        summaries = torch.cat([self._summary(part) for part in torch.split(words, CHUNK)])
        self.mean.copy_(summaries.mean(0))
        self.std.copy_(summaries.std(0))
        self.load_state_dict(self.state_dict())  # rounded, as they are written
        return self

    def _summary(self, words: Tensor) -> Tensor:
        """`n x 48` latents of `n x 28` words, not yet standardized."""
        return torch.as_tensor(self.encoder(self.read(words).flatten(1)))

    def _logits(self, z: Tensor, words: Tensor) -> Tensor:
        """`n x L x words` logits of every word of `n x L` ones, given the latents and the words before it."""
        before = nn.functional.pad(words[:, :-1], (1, 0))
        states, _ = self.writer(self.written(before) + self.hint(z)[:, None], self.start(z).tanh()[None])
        return torch.as_tensor(self.choice(states))

    def _write(self, z: Tensor) -> Tensor:
        """`n x 28` words of `n x 48` latents; after the first padding there is only padding."""
        word = torch.zeros(len(z), dtype=torch.long, device=z.device)
        going = torch.ones_like(word, dtype=torch.bool)
        state, hint, text = self.start(z).tanh()[None], self.hint(z), []
        for _ in range(LONGEST):
            output, state = self.writer((self.written(word) + hint)[:, None], state)
            word = self.choice(output[:, 0]).argmax(-1) * going
            going = going & (word > 0)
            text.append(word)
        return torch.stack(text, 1)
