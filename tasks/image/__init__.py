"""Pictures of clothes: Fashion-MNIST, scored by the size of their JPEG file or by a classifier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from bbo_bench.diffusion.codecs import Pixels
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Box
from bbo_bench.io import Format
from bbo_bench.metrics.naturalness import distances
from bbo_bench.tasks.image import jpeg, networks
from bbo_bench.tasks.image.files import png_format
from bbo_bench.tasks.image.networks import CLASSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FOLDER = Path(__file__).parent
BEST = FOLDER / "best_known.npz"
BANK = 5_000
"""How many training pictures say what is near the data; the others say how near."""
NEAR = 0.97
"""Share of those others that are near enough to be valid."""


class Image(DiffusionTask):
    """A picture of 28 x 28 grey levels between 0, the background, and 1.

    Args:
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best true score of a valid design known.
        infeasible_score: Never needed: every picture has a finite score.
    """

    domain: Box
    objective: str
    """What is asked for, in a word."""

    def __init__(self, noise_std: float, y_prior: float, best_known: float, infeasible_score: float) -> None:
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        self.domain = Box(torch.zeros(1, 28, 28, dtype=torch.float32), torch.ones(1, 28, 28, dtype=torch.float32))

    def training_data(self) -> Tensor:
        """`10000 x 1 x 28 x 28` pictures on which the prior is trained."""
        return pictures("training")

    def reference(self) -> Tensor:
        """See `Task.reference`: pictures of the test set."""
        return pictures("held_out")

    def codec(self, data: Tensor | None = None) -> Pixels:
        """See `DiffusionTask.codec`; nothing is fitted."""
        return Pixels(self.domain)

    def best_design(self) -> Tensor | None:
        """See `Task.best_design`; None for an objective that best_known.py has not been asked for."""
        with np.load(BEST) as file:
            return grey(file[self.objective])[0] if self.objective in file else None

    @abstractmethod
    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""

    def valid(self, x: Tensor) -> Tensor:
        """See `Task.valid`: near to a training picture in feature space, and more likely sound than spoilt."""
        valid = self.spoilt(x) <= 0.5
        valid[valid.clone()] = self.remoteness(x[valid]) <= 1  # costs most, and what is spoilt needs it not
        return valid

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        looks = zip(self.spoilt(x).tolist(), self.remoteness(x).tolist(), strict=True)
        return [
            "spoilt" if noise > 0.5 else "unlike all pictures of the data" if far > 1 else "" for noise, far in looks
        ]

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """See `Task.catalogue`: the pictures of the data, which have no names."""
        x = torch.cat([self.reference(), self.training_data()])
        return x, [""] * len(x)

    def formats(self) -> Mapping[str, Format]:
        """See `Task.formats`: pixels as they are."""
        return {".png": png_format()}

    def features(self, x: Tensor) -> Tensor:
        """`n x 64`: the last hidden layer of a network that tells ten classes and spoilt pictures apart."""
        return networks.apply(networks.load("features").get_submodule("features"), x)

    def spoilt(self, x: Tensor) -> Tensor:
        """Probabilities, by the same network, that `n x 1 x 28 x 28` pictures are spoilt."""
        return softmax(networks.apply(networks.load("features"), x), 1)[:, -1]

    def remoteness(self, x: Tensor) -> Tensor:
        """Distances of `n x 1 x 28 x 28` pictures to the bank in feature space, `n` numbers; up to 1 is near."""
        return distances(self.features(x), self._bank).amin(1) / self._radius

    @cached_property
    def _bank(self) -> Tensor:
        return self.features(self.training_data()[:BANK])

    @cached_property
    def _radius(self) -> float:
        others = self.features(self.training_data()[BANK:])
        return float(distances(others, self._bank).amin(1).quantile(NEAR))

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: light on dark, as the data are."""
        axes.imshow(x.detach().cpu()[0].numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()


def pictures(part: str) -> Tensor:
    """`n x 1 x 28 x 28` pictures of a part of pictures.npz, `training` or `held_out`."""
    with np.load(FOLDER / "pictures.npz") as file:
        return grey(file[part])


def grey(levels: npt.NDArray[np.uint8]) -> Tensor:
    """`n x 1 x 28 x 28` pictures of `n x 28 x 28` (or one of `28 x 28`) grey levels of 255."""
    return torch.as_tensor(levels.reshape(-1, 1, 28, 28)).float() / 255


class Compressibility(Image):
    """How small, or how large, a picture's JPEG file is, in kB.

    Args:
        sign: -1 to ask for small files, 1 for large ones.
        **constants: See `Image`.
    """

    def __init__(self, sign: int, **constants: float) -> None:
        super().__init__(**constants)
        self.sign = sign
        self.objective = "small" if sign < 0 else "large"

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        return self.sign * jpeg.kilobytes(x)


class Recognition(Image):
    """Log-probability, in nats, of a class of clothes by a network.

    Args:
        target: The class.
        **constants: See `Image`.
    """

    def __init__(self, target: str, **constants: float) -> None:
        super().__init__(**constants)
        if target not in CLASSES:
            raise ValueError(f"target must be one of {', '.join(CLASSES)}, got {target!r}")
        self.objective = self.target = target

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        return self._log_probability("score", x)

    def validate(self, x: Tensor) -> Tensor:
        """The same by a network of another kind, trained on other pictures."""
        return self._log_probability("validator", x)

    def _log_probability(self, name: str, x: Tensor) -> Tensor:
        return log_softmax(networks.apply(networks.load(name), x), 1)[:, CLASSES.index(self.target)]
