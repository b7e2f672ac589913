"""Pictures of all animals by the prior, and how like real ones they are: `python -m bbo_bench.tasks.emoji.sheet`."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from bbo_bench import load_task
from bbo_bench.seeding import generator
from bbo_bench.tasks.emoji import RECOGNIZED, Emoji
from bbo_bench.tasks.emoji.pictures import small
from bbo_bench.tasks.emoji.prompts import NAMES

EACH, COLUMNS, ZOOM = 4, 20, 2
LEVELS = 255


def recognized(task: Emoji, x: Tensor) -> str:
    """How often the judge has a design's animal first, and among the ten likeliest."""
    rank = task.rank(x)
    first, among = (float((rank < k).double().mean()) for k in (1, RECOGNIZED))
    return f"first in {first:.3f}, among {RECOGNIZED} in {among:.3f}"


def nearest(x: Tensor, known: Tensor) -> str:
    """Root mean square distances, in grey levels, to the nearest of `known` or mirrored ones: 5%, median, 95%."""
    both = torch.cat([known, known.flip(-1)]).flatten(1)
    distance = torch.cdist(x.flatten(1), both).amin(1) / x[0].numel() ** 0.5 * LEVELS
    return " ".join(f"{float(distance.quantile(share)):.1f}" for share in (0.05, 0.5, 0.95))


def main(file: Path) -> None:
    """Draw, measure, and write the sheet."""
    task = load_task("emoji")
    assert isinstance(task, Emoji)
    prior = task.prior()
    with torch.no_grad(), prior.drawing(range(len(NAMES))):
        x = prior.decode(prior.sample(EACH * len(NAMES), generator(0, "sheet")))
    names = [task.domain.prompts[i] for i in task.domain.prompt(x)]
    x = x[sorted(range(len(x)), key=names.__getitem__)]
    seen, new = (small(task.pictures(held_out)[0]) for held_out in (False, True))
    print(f"the judge, of the prior's pictures: {recognized(task, x)}")
    print(f"of real ones: {recognized(task, task.reference())}")
    other = task.reference()
    other[:, -1] = (other[:, -1] + 1) % len(NAMES)
    print(f"of real ones of another animal: {recognized(task, other)}")
    print(f"grey levels to the nearest training picture: {nearest(x[:, :-1], seen)}")
    print(f"of held-out ones: {nearest(new, seen)}")
    again = prior.decode(prior.encode(task.reference()))[:, :-1]
    error = (again - task.reference()[:, :-1]).square().mean().sqrt() * LEVELS
    print(f"grey levels between a picture and the autoencoder's: {float(error):.1f}")
    real = task.reference()
    noise = 0.2 * torch.randn(real[:, :-1].shape, generator=generator(0, "noise"))
    others = {"mirrored": real[:, :-1].flip(-1), "noisy": (real[:, :-1] + noise).clamp(0, 1)}
    for name, shown in {"real": real[:, :-1], **others}.items():
        print(f"{name}: {task.metrics(torch.cat([shown, real[:, -1:]], 1))}")
    rows = [torch.cat(list(row), 2) for row in torch.split(x[:, :-1], COLUMNS)]
    sheet = (torch.cat(rows, 1).movedim(0, -1) * LEVELS).round().to(torch.uint8).numpy()
    Image.fromarray(sheet).resize((sheet.shape[1] * ZOOM, sheet.shape[0] * ZOOM), Image.Resampling.NEAREST).save(file)


if __name__ == "__main__":
    main(Path(__file__).with_name("prior.png"))
