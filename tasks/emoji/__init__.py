"""Emoji: pictures of animals for prompts, 32 x 32, scored by a dual encoder, the size of their file, or a taste."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from bbo_bench.diffusion.codecs import Prompted
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Box, Captioned
from bbo_bench.seeding import generator
from bbo_bench.tasks.emoji import imagenet, judges
from bbo_bench.tasks.emoji.autoencoder import SIDE, Autoencoder
from bbo_bench.tasks.emoji.network import coded
from bbo_bench.tasks.emoji.pictures import moved, small
from bbo_bench.tasks.emoji.prompts import NAMES, PICTURES, vectors
from bbo_bench.tasks.image import jpeg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COPIES = 12
"""Of every picture, turned, scaled and shifted a little, that the prior is trained on."""
RECOGNIZED = 10
"""A picture is valid if the judge has its prompt among so many of the 45, as it has of nine real ones in ten."""

ITSELF = 1 - 1e-5
"""A cosine above which a picture is the same one."""


class Emoji(DiffusionTask):
    """A picture of `3 x 32 x 32` pixels in [0, 1], and the number of the animal that it is made for.

    Args:
        prompts: Animals that are asked for.
        held_out: Animals that are evaluated, and never asked for.
        noise_std: Standard deviation of the observation noise.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best true score of a valid design known.
        infeasible_score: Never needed: every picture has a finite score.

    Raises:
        ValueError: If there is no such animal.
    """

    domain: Captioned

    def __init__(
        self,
        prompts: Sequence[str],
        held_out: Sequence[str],
        noise_std: float,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
    ) -> None:
        if unknown := [each for each in (*prompts, *held_out) if each not in NAMES]:
            raise ValueError(f"expected prompts of {', '.join(NAMES)}, got {', '.join(map(repr, unknown))}")
        box = Box(torch.zeros(3, 32, 32, dtype=torch.float32), torch.ones(3, 32, 32, dtype=torch.float32))
        others = [name for name in NAMES if name not in (*prompts, *held_out)]
        self.domain = Captioned(box, [*prompts, *held_out, *others], len(prompts), len(held_out))
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        self._animals = torch.tensor([NAMES.index(each) for each in self.domain.prompts])

    def training_data(self) -> Tensor:
        """`n x 4 x 32 x 32`: pictures of all animals, turned, scaled and shifted a little."""
        x, number = self.pictures(held_out=False)
        rng = generator(0, "emoji copies")
        copies = torch.cat([moved(x, rng, 3, (0.95, 1.02), 0.03) for _ in range(COPIES)])
        return self.domain.captioned(copies, number.repeat(COPIES))

    def reference(self) -> Tensor:
        """See `Task.reference`: all pictures as they were drawn, as there are few of an animal.

        58 of the 401 the prior has never seen, of the others copies that were turned, scaled and shifted.
        """
        pairs = [self.pictures(held_out) for held_out in (False, True)]
        x, number = map(torch.cat, zip(*pairs, strict=True))
        return self.domain.captioned(small(x), number)

    def codec(self, data: Tensor | None = None) -> Prompted:
        """See `DiffusionTask.codec`."""
        inner = Autoencoder() if data is None else Autoencoder().fit(data[:, :-1])
        code = coded(SIDE)[self._animals]
        return Prompted(inner, code, torch.arange(len(self.domain.asked)))

    @abstractmethod
    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""

    def valid(self, x: Tensor) -> Tensor:
        """Whether the judge has a picture's animal among its ten likeliest of the 45."""
        return self.rank(x) < RECOGNIZED

    def validate(self, x: Tensor) -> Tensor:
        """The judge's probability of a picture's animal among the 45."""
        return self.judged(x).softmax(1).gather(1, self.own(x))[:, 0].double()

    def metrics(self, x: Tensor) -> dict[str, float]:
        """How often the judge has the animal first, and what an ImageNet network says of pictures of the same animal.

        Its mean cosine distance from a picture to the nearest real one other than itself, and its mean over pairs: NaN
        without its packages, the last also where no animal has two designs.
        """
        row = {"recognized": float((self.rank(x) == 0).double().mean())}
        return row | {f"imagenet_{key}": value for key, value in self._photographic(x).items()}

    def _photographic(self, x: Tensor) -> dict[str, float]:
        net, (real, shown) = imagenet.network(), self._real
        if net is None or real is None:
            return {"distance": math.nan, "pairwise": math.nan}
        with torch.no_grad():
            own, number = imagenet.unit(net, x[:, :-1]), self.domain.prompt(x)
        same = number[:, None] == number
        pairs = 1 - (own @ own.T)[same & ~torch.eye(len(x), dtype=torch.bool)]
        alike = own @ real.T
        nearest = 1 - torch.where((number[:, None] == shown) & (alike < ITSELF), alike, -1).amax(1)
        return {"distance": float(nearest.mean()), "pairwise": float(pairs.mean())}

    @cached_property
    def _real(self) -> tuple[Tensor | None, Tensor]:
        """Features of all real pictures, and the numbers of their prompts."""
        net, x = imagenet.network(), Emoji.reference(self)
        with torch.no_grad():
            return None if net is None else imagenet.unit(net, x[:, :-1]), self.domain.prompt(x)

    def features(self, x: Tensor) -> Tensor:
        """`n x 96` unit vectors of the judge's."""
        with torch.no_grad():
            return self.networks.judge.pictures(x[:, :-1])

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`."""
        axes.imshow(np.asarray(x[:-1].permute(1, 2, 0)), interpolation="nearest")
        axes.set_title(self.domain.prompts[int(x[-1, 0, 0])], fontsize="small")
        axes.set_axis_off()

    def judged(self, x: Tensor) -> Tensor:
        """`n x 45` logits of the judge's that designs show each of the animals."""
        with torch.no_grad():
            return self.networks.judge.logits(x[:, :-1], vectors(NAMES))

    def rank(self, x: Tensor) -> Tensor:
        """How many animals the judge finds likelier than that of a design, an `n`-dim tensor."""
        logits = self.judged(x)
        return (logits > logits.gather(1, self.own(x))).sum(1)

    def own(self, x: Tensor) -> Tensor:
        """`n x 1`: which of the 45 animals designs are made for."""
        return self._animals[self.domain.prompt(x)][:, None]

    @cached_property
    def networks(self) -> judges.Networks:
        """See `judges.shipped`."""
        return judges.shipped()

    def pictures(self, held_out: bool) -> tuple[Tensor, Tensor]:
        """`n x 3 x 64 x 64` bytes, and the `n` numbers of their prompts."""
        with np.load(PICTURES) as file:
            rows = file["held_out"] == held_out
            animal = torch.as_tensor(file["animal"][rows]).long()
            return torch.as_tensor(file["x"][rows]), self._animals.argsort()[animal]


class Learned(Emoji):
    """A score by a network."""

    @abstractmethod
    def score(self, picture: Tensor, animal: Tensor) -> Tensor:
        """Scores of `n x 3 x 32 x 32` pictures with pixels in [0, 1] of `n` of the 45 animals, differentiable."""

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        x = self.domain.check(x)
        with torch.no_grad():
            return self.score(x[:, :-1], self.own(x)[:, 0]).double()


class Alignment(Learned):
    """The cosine of a picture's and its animal's vectors, by a dual encoder that the judge knows nothing of."""

    def score(self, picture: Tensor, animal: Tensor) -> Tensor:
        """See `Learned.score`."""
        encoder = self.networks.align
        return (encoder.pictures(picture) * encoder.captions(vectors(NAMES))[animal]).sum(1)


class Aesthetic(Learned):
    """How well drawn a picture is, to a network that prefers pictures to spoilt copies of them."""

    def score(self, picture: Tensor, animal: Tensor) -> Tensor:
        """See `Learned.score`."""
        return torch.as_tensor(self.networks.taste(picture))


class Compressibility(Emoji):
    """Minus the size of a picture's JPEG file, in kilobytes."""

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        return -jpeg.kilobytes(self.domain.check(x)[:, :-1])
