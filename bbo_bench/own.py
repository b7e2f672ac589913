"""Tasks of one's own: all but the score follows from a table of designs, `data.npz` beside the plugin's module.

`bbo-bench new task` writes such a plugin. Its archive holds `x`, `n x shape`, and which of them are `held_out`; their
`names`; of sequences their `alphabet`, of vectors their `columns`; and `noise_std`, the standard deviation of one
design's scores, where some were measured several times. What a method says here, a plugin can say otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, one_hot

from bbo_bench.diffusion.codecs import Codec, OneHot, Pixels, Standardize
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Box, Sequences
from bbo_bench.io import Notation
from bbo_bench.metrics.naturalness import distances

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DATA = "data.npz"
MARGIN = 0.1
"""How far the box of vectors reaches beyond the data on each side, in ranges of the data."""
PADDING = "-"
"""What fills sequences up to the longest."""
NEAR = 0.97
"""Share of held-out pictures that are near enough to the others to be valid."""


class OwnTask(DiffusionTask):
    """A score, or none, of designs like those of a table; `best_known` is the best of what has been seen.

    Args:
        score: Maps a batch of designs, as `given` puts them, to as many scores, NaN for an infeasible one; None where
            scores are measured elsewhere and told.
        sign: −1 where low scores are good.
        objective: Where a measurement has several columns: an expression of them, such as `strength - 0.1 * cost`.
        constraints: Expressions of them that a feasible design fulfils, such as `cost <= 400`.
        noise_std: Standard deviation of the observation noise; None takes that of the data's repeats.
        y_prior: Mean true score of samples of the prior.
        best_known: Best true score known.
        infeasible_score: What an infeasible design counts as in means.

    Raises:
        ValueError: If the noise is to follow from repeats, and the data have none.
    """

    open_ended = True

    def __init__(
        self,
        noise_std: float | None,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
        score: Callable[[Any], Any] | None = None,
        sign: int = 1,
        objective: str | None = None,
        constraints: Sequence[str] = (),
    ) -> None:
        self.score, self.scored, self.sign = score, score is not None, sign
        self.objective, self.constraints = objective, tuple(constraints)
        self.infeasible_score, self.y_prior, self.best_known = infeasible_score, y_prior, best_known
        with np.load(self.folder / DATA) as file:
            self._data = {name: file[name] for name in file.files}
        if noise_std is None and "noise_std" not in self._data:
            raise ValueError("noise_std: null wants designs that were measured several times, and there are none")
        self.noise_std = float(self._data["noise_std"]) if noise_std is None else noise_std
        self._held_out = torch.as_tensor(self._data["held_out"])
        self._x = torch.as_tensor(self._data["x"])

    def training_data(self) -> Tensor:
        """See `DiffusionTask.training_data`."""
        return self._x[~self._held_out]

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self._x[self._held_out]

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """See `Task.catalogue`."""
        return self._x, [str(name) for name in self._data["names"]]

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`: −inf where the score is NaN.

        Raises:
            ValueError: If the score gives another number of scores.
        """
        if self.score is None:
            raise TypeError(f"{type(self).__name__} has no score: others measure its designs (bbo-bench ask and tell)")
        y = torch.as_tensor(np.asarray(self.score(self.given(x)), dtype=np.float64))
        return torch.where(y.isnan(), -torch.inf, self.sign * y)

    def given(self, x: Tensor) -> Any:
        """`n x shape` designs as the score takes them: an array, or a list of strings."""
        return x.double().numpy()


class Vectors(OwnTask):
    """Designs that are numbers in named columns."""

    domain: Box

    def __init__(self, **constants: Any) -> None:
        super().__init__(**constants)
        low, high = self._x.aminmax(dim=0)
        margin = MARGIN * (high - low)
        # numbers that are never negative, or never positive, stay so
        lower, upper = (low - margin).where(low < 0, (low - margin).clamp_min(0)), (high + margin)
        self.domain = Box(lower, upper.where(high > 0, upper.clamp_max(0)))
        self.columns = [str(name) for name in self._data["columns"]]

    def codec(self, data: Tensor | None = None) -> Codec:
        """See `DiffusionTask.codec`."""
        return Standardize(self.domain, data)

    def valid(self, x: Tensor) -> Tensor:
        """Whether every number lies in the range of the data."""
        return torch.tensor([not fault for fault in self.faults(x)], dtype=torch.bool)

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`: the first column that leaves the range of the data."""
        low, high = self._x.aminmax(dim=0)
        outside = (x < low) | (x > high)
        return [
            f"{self.columns[row.index(True)]} is out of the data's range" if any(row) else ""
            for row in outside.tolist()
        ]

    def features(self, x: Tensor) -> Tensor:
        """`n x d` numbers, in standard deviations of the data."""
        return (x - self._x.mean(0)) / self._x.std(0)

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: a bar per column, within the range of the data."""
        low, high = self._x.aminmax(dim=0)
        share = (x.detach().cpu() - low) / (high - low)
        axes.barh(range(len(share)), share.numpy(), color="0.6")
        axes.set(yticks=range(len(share)), yticklabels=self.columns, xlim=(0, 1), xticks=[])
        axes.invert_yaxis()


class Tokens(OwnTask):
    """Designs that are sequences of letters, of up to the length of the longest."""

    domain: Sequences
    padding = PADDING

    def __init__(self, **constants: Any) -> None:
        super().__init__(**constants)
        self._x = self._x.long()
        alphabet = [str(token) for token in self._data["alphabet"]]
        self.domain = Sequences(self._x.shape[1], alphabet)
        self._padding = alphabet.index(self.padding) if self.padding in alphabet else None

    def codec(self, data: Tensor | None = None) -> Codec:
        """See `DiffusionTask.codec`."""
        return OneHot(self.domain)

    def given(self, x: Tensor) -> list[str]:
        """See `OwnTask.given`: strings without padding."""
        return [text.replace(self.padding, "") for text in self.domain.text(x)]

    def notation(self) -> Notation:
        """See `Task.notation`: letters, without padding."""
        upper = all(token == token.upper() for token in self.domain.alphabet)

        def parse(text: str) -> Tensor:
            text = text.upper() if upper else text
            return self.domain.parse(
                [text + self.padding * (self.domain.length - len(text)) if self._padding is not None else text]
            )[0]

        return Notation("sequence", parse, self.given)

    def canonical(self, x: Tensor) -> Tensor:
        """See `Task.canonical`: with the padding at the end."""
        if self._padding is None:
            return x
        return x.gather(1, (x == self._padding).long().argsort(dim=1, stable=True))

    def valid(self, x: Tensor) -> Tensor:
        """Whether a sequence has letters, and padding only after them."""
        if self._padding is None:
            return torch.ones(len(x), dtype=torch.bool)
        return (self.canonical(x) == x).all(1) & (x[:, 0] != self._padding)

    def features(self, x: Tensor) -> Tensor:
        """`n x LK` one-hot letters: the squared distance of two sequences is twice the number of places that differ."""
        return one_hot(self.canonical(x), self.domain.size).flatten(1).double()

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the letters."""
        axes.text(0.5, 0.5, self.given(x[None])[0], ha="center", va="center", family="monospace", wrap=True)
        axes.set_axis_off()


class Pictures(OwnTask):
    """Designs that are grey pictures of one size, `1 x h x w` levels between 0 and 1."""

    domain: Box

    def __init__(self, **constants: Any) -> None:
        super().__init__(**constants)
        self._x = self._x.float() / 255
        shape = self._x.shape[1:]
        self.domain = Box(torch.zeros(shape), torch.ones(shape))

    def codec(self, data: Tensor | None = None) -> Codec:
        """See `DiffusionTask.codec`."""
        return Pixels(self.domain)

    def valid(self, x: Tensor) -> Tensor:
        """Whether a picture is as near to one of the data as nearly all held-out ones are."""
        return self._remoteness(x) <= self._radius

    def features(self, x: Tensor) -> Tensor:
        """`n x hw/4` grey levels at half the resolution."""
        return avg_pool2d(x, 2).flatten(1).double()

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`."""
        axes.imshow(x.detach().cpu()[0].numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()

    def _remoteness(self, x: Tensor) -> Tensor:
        return distances(self.features(x), self.features(self.training_data())).amin(1)

    @cached_property
    def _radius(self) -> float:
        return float(self._remoteness(self.reference()).quantile(NEAR))
