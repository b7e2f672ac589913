"""What runs recommend for the same prompts, side by side: `python -m bbo_bench.tasks.emoji.side_by_side FILE RUN ...`.

First pictures of the prior, then those of every run's folder, eight for each animal that is asked for, a row each.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bbo_bench import load_task
from bbo_bench.seeding import generator
from bbo_bench.tasks.emoji import Emoji

EACH, GAP, ZOOM = 8, 16, 2


def block(task: Emoji, x: Tensor) -> Tensor:
    """A picture of `n x 4 x 32 x 32` designs, `3 x h x w`: a row of eight for each animal that is asked for."""
    number = task.domain.prompt(x)
    rows = [torch.cat(list(x[number == asked][:EACH, :-1]), 2) for asked in range(len(task.domain.asked))]
    return torch.cat(rows, 1)


def main(file: Path, runs: list[Path]) -> None:
    """Draw and write."""
    task = load_task("emoji")
    assert isinstance(task, Emoji)
    prior = task.prior()
    with torch.no_grad():
        blocks = [block(task, prior.decode(prior.sample(EACH * len(task.domain.asked), generator(0, "side by side"))))]
    for run in runs:
        with np.load(run / "recommended.npz") as file_of_run:
            last = max(int(key.rpartition("_")[2]) for key in file_of_run.files)
            blocks.append(block(task, torch.as_tensor(file_of_run[f"recommended_{last}"])))
    gap = torch.ones(3, blocks[0].shape[1], GAP)
    parts = [part for each in blocks for part in (gap, each)][1:]
    sheet = (255 * torch.cat(parts, 2).movedim(0, -1)).round().to(torch.uint8).numpy()
    size = (ZOOM * sheet.shape[1], ZOOM * sheet.shape[0])
    Image.fromarray(sheet).resize(size, Image.Resampling.NEAREST).save(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(run) for run in sys.argv[2:]])
