"""Find the best known designs of the tasks: `python -m bbo_bench.tasks.image.best_known NAME...`.

From the best valid pictures of the data, Adam climbs a differentiable stand-in for the score, with a penalty for what
keeps a picture from being valid; then random changes of single DCT coefficients are kept where the score itself rises.
The designs found are kept, in 255 grey levels, in best_known.npz.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from io import BytesIO

import numpy as np
import PIL.Image
import torch
from hydra.utils import instantiate
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks.image import BEST, Compressibility, Image, Recognition, jpeg

STARTS, STEPS, LEARNING_RATE = 32, 600, 0.02
PENALTY = 10.0
MARGIN = 0.97
"""Share of the limits of what is valid that the climb aims at, since grey levels are rounded after it."""
GENERATIONS, CHILDREN = 1500, 32
BLOCK = 8


def dct() -> Tensor:
    """The orthonormal 8 x 8 matrix of the discrete cosine transform."""
    k = torch.arange(BLOCK, dtype=torch.double)
    matrix = torch.cos(math.pi * (2 * k + 1) * k[:, None] / (2 * BLOCK)) / 2
    matrix[0] /= math.sqrt(2)
    return matrix


def quantization() -> Tensor:
    """`8 x 8` steps by which JPEG rounds the coefficients at this quality."""
    file = BytesIO()
    PIL.Image.new("L", (BLOCK, BLOCK)).save(file, "JPEG", quality=jpeg.QUALITY)
    return torch.tensor(JpegImageFile(file).quantization[0], dtype=torch.double).reshape(BLOCK, BLOCK)


def coefficients(x: Tensor) -> Tensor:
    """`n x 16 x 8 x 8` DCT coefficients of `n x 1 x 28 x 28` pictures, in steps of the quantization."""
    padded = torch.nn.functional.pad(255 * x.double() - 128, (0, 4, 0, 4), mode="replicate")
    blocks = padded.reshape(len(x), 4, BLOCK, 4, BLOCK).transpose(2, 3).flatten(1, 2)
    return dct() @ blocks @ dct().T / quantization()


def stand_in(task: Image, x: Tensor) -> Tensor:
    """A score of `n x 1 x 28 x 28` pictures that has a gradient: for a file's size, about its bits in kB."""
    if isinstance(task, Compressibility):
        return task.sign * (1 + coefficients(x).square()).log2().sum((1, 2, 3)) / 8000
    return task.evaluate(x)


def climb(task: Image, x: Tensor, keep: Callable[[Tensor], None]) -> None:
    """Adam from `n x 1 x 28 x 28` pictures; every picture on the way is offered to `keep`."""
    x = x.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=LEARNING_RATE)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / STEPS)
        beyond = (task.remoteness(x) - MARGIN).clamp(min=0) + (2 * task.spoilt(x) - MARGIN).clamp(min=0)
        optimizer.zero_grad()
        torch.autograd.backward((PENALTY * beyond - stand_in(task, x)).sum())
        optimizer.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        keep(x.detach())


def changed(x: Tensor, n: int, rng: torch.Generator) -> Tensor:
    """`n` copies of one picture, in each a coefficient of a block changed by up to three steps of the quantization."""
    block, i, j, step = (torch.randint(high, (n,), generator=rng) for high in (16, BLOCK, BLOCK, 7))
    change = torch.zeros(n, 16, BLOCK, BLOCK, dtype=torch.double)
    change[torch.arange(n), block, i, j] = (step - 3.0) * quantization()[i, j]
    pixels = (dct().T @ change @ dct()).reshape(n, 4, 4, BLOCK, BLOCK).transpose(2, 3).reshape(n, 1, 32, 32)
    return (x + pixels[..., :28, :28] / 255).clamp(0, 1).float()


class Best:
    """The best valid picture of those that it has seen, in 255 grey levels.

    Args:
        task: What scores them.
    """

    def __init__(self, task: Image) -> None:
        self.task = task
        self.x = torch.zeros(1, 28, 28)
        self.score = -math.inf

    def __call__(self, x: Tensor) -> None:
        """Take up the best of `n x 1 x 28 x 28` pictures, if it is better."""
        x = (255 * x).round() / 255
        y = self.task.evaluate(x)
        for row in (y > self.score).nonzero()[:, 0][y[y > self.score].argsort(descending=True)].tolist():
            if self.task.valid(x[row, None]):
                self.x, self.score = x[row], float(y[row])
                return


def search(task: Image) -> Best:
    """The best picture that is found."""
    best, rng = Best(task), generator(0, "best_known")
    data = torch.cat([task.training_data(), task.reference()])
    best(data)
    data = data[task.valid(data)]
    climb(task, data[task.evaluate(data).topk(STARTS).indices], best)
    if not isinstance(task, Recognition):
        for _ in range(GENERATIONS):
            best(changed(best.x, CHILDREN, rng))
    return best


def main() -> None:
    """Print the scores of the named tasks' best pictures, and keep these."""
    designs = dict(np.load(BEST)) if BEST.exists() else {}
    for name in sys.argv[1:]:
        task = instantiate(find("task", name).settings)
        best = search(task)
        print(f"{name}: best_known {best.score:.5f}")
        designs[task.objective] = (255 * best.x[0]).round().to(torch.uint8).numpy()
        np.savez_compressed(BEST, **designs)


if __name__ == "__main__":
    main()
