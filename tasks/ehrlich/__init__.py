"""Ehrlich functions: sequences without banned transitions that must hold spaced motifs; the optimum is known."""

from __future__ import annotations

import math
import string
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bbo_bench.diffusion.codecs import OneHot
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Sequences
from bbo_bench.seeding import generator
from bbo_bench.tasks.ehrlich.function import EhrlichFunction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STATES = 32
ALPHABET = string.ascii_uppercase + string.digits[:6]
DATA = Path(__file__).with_name("sequences.npz")
SCALE = 0.3
"""Of the one-hot latents: tokens are decided all along the sampler's steps, not in the first few."""
FEATURES = 64
ROW = 16
"""Tokens in a row of a drawing."""


class Ehrlich(DiffusionTask):
    """An Ehrlich function of sequences of 32 kinds of tokens, Ehr(32, L, c, k) in the notation of its authors.

    The Markov chain that says what is feasible is one for all settings, and so is the prior, whose network knows
    no length.

    Args:
        length: Tokens in a sequence, L: 32, 128 or 256, of which there are data.
        motifs: Number of motifs, c.
        motif_length: Elements of a motif, k.
        quantization: Levels above 0 of the share of a motif that is in place; divides `motif_length`.
        epistasis: How much less the first elements of a motif count than the last.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: The optimum, 1.
        infeasible_score: What a sequence with a banned transition counts as in means.

    Raises:
        ValueError: If there are no sequences of this length, or the motifs do not fit into it.
    """

    domain: Sequences

    def __init__(
        self,
        length: int,
        motifs: int,
        motif_length: int,
        quantization: int,
        epistasis: float,
        noise_std: float,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
    ) -> None:
        self.function = EhrlichFunction.draw(STATES, length, motifs, motif_length, quantization, epistasis)
        self.domain = Sequences(length, ALPHABET)
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        with np.load(DATA) as file:
            lengths = sorted(int(name.removeprefix("training_")) for name in file if name.startswith("training_"))
            if length not in lengths:
                raise ValueError(f"there are sequences of {lengths} tokens, got {length=}; build_data.py makes others")
            self._training, self._reference = (
                torch.as_tensor(file[f"{part}_{length}"]).long() for part in ("training", "reference")
            )

    def training_data(self) -> Tensor:
        """`n x L` feasible sequences of low score; those of 32 tokens train the prior of all lengths."""
        return self._training

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self._reference

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        return ["" if feasible else "a banned transition" for feasible in self.valid(x).tolist()]

    def codec(self, data: Tensor | None = None) -> OneHot:
        """See `DiffusionTask.codec`."""
        return OneHot(self.domain, SCALE)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`: the product of the motifs' responses; −inf where a transition is banned."""
        return self.function(x)

    def valid(self, x: Tensor) -> Tensor:
        """Whether a sequence is feasible: no transition in it is banned."""
        return self.function.feasible(x)

    def best_design(self) -> Tensor:
        """See `Task.best_design`: the motifs one after the other."""
        return self.function.solution()

    def features(self, x: Tensor) -> Tensor:
        """`n x 64` random projection of how often each pair of tokens follows each other, over the root of L - 1.

        It keeps the distances between these profiles (Ukkonen 1992's q-grams, q = 2) within an eighth or so (Johnson
        and Lindenstrauss 1984): two sequences without a pair in common are about √2 apart.
        """
        pairs = x[:, :-1] * STATES + x[:, 1:]
        profile: Tensor = self._projection[pairs].sum(1)
        return profile / math.sqrt(pairs.shape[1])

    @cached_property
    def _projection(self) -> Tensor:
        normal = torch.randn(STATES**2, FEATURES, generator=generator(0, "features"), dtype=torch.double)
        return torch.as_tensor(normal / FEATURES**0.5)

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: tokens in rows, their colours their kinds; elements of motifs where most are in place.

        Each motif has a colour. A frame is solid where its token is there, dotted where it is missing.
        """
        from matplotlib import colormaps
        from matplotlib.patches import Rectangle

        x = x.detach().cpu()
        rows = -(-len(x) // ROW)
        for i, token in enumerate(x.tolist()):
            row, column = divmod(i, ROW)
            colour = colormaps["hsv"](token / STATES)
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor=(*colour[:3], 0.35)))
            axes.text(column + 0.5, row + 0.5, ALPHABET[token], ha="center", va="center", fontsize=6)
        for number, places in enumerate(self.function.places(x).tolist()):
            for i, token in zip(places, self.function.motifs[number].tolist(), strict=True):
                row, column = divmod(i, ROW)
                there = int(x[i]) == token
                inset = 0.08 + 0.06 * number  # so that frames of several motifs do not hide each other
                frame = Rectangle((column + inset, row + inset), 1 - 2 * inset, 1 - 2 * inset, fill=False)
                frame.set(
                    edgecolor=colormaps["Dark2"](number),
                    linestyle="-" if there else ":",
                    linewidth=1.2 if there else 0.3,
                )
                axes.add_patch(frame)
        axes.set(xlim=(0, min(len(x), ROW)), ylim=(rows, 0), aspect="equal")
        axes.set_axis_off()
