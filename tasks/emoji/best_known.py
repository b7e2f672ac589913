"""Find what the best scores are: `python -m bbo_bench.tasks.emoji.best_known emoji emoji_aesthetic emoji_compress`.

From real pictures of the animals that are asked for: Adam on the pixels towards the score, or, for the size of a file,
pictures that are blurred and faded, as far as the judge still recognizes them. What is found fools the networks; a
picture that a person would choose scores less.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from bbo_bench import load_task
from bbo_bench.tasks.emoji import RECOGNIZED, Emoji, Learned
from bbo_bench.tasks.emoji.prompts import NAMES, vectors

STEPS, RATE = 600, 0.03
MARGIN = 0.5
"""By how much an animal's logit is to be above that of the first that is not recognized any more."""
BLURS, FADES = 12, 40


def climbed(task: Learned, x: Tensor) -> Tensor:
    """`n x 4 x 32 x 32` designs of high scores, from `n` others."""
    u = x[:, :-1].clamp(0.02, 0.98).logit().requires_grad_(True)
    optimizer = torch.optim.Adam([u], lr=RATE)
    best, top = x.clone(), torch.full((len(x),), -torch.inf, dtype=torch.double)
    own, words = task.own(x), vectors(NAMES)
    for _ in range(STEPS):
        picture = u.sigmoid()
        logits = task.networks.judge.logits(picture, words)
        mine = logits.gather(1, own)[:, 0]
        above = logits.scatter(1, own, -torch.inf).topk(RECOGNIZED, 1).values[:, -1]
        loss = 10 * (above + MARGIN - mine).relu() - task.score(picture, own[:, 0])
        optimizer.zero_grad()
        torch.autograd.backward(loss.sum())
        optimizer.step()
        with torch.no_grad():
            design = torch.cat([u.sigmoid(), x[:, -1:]], 1)
            better = task.valid(design) & (task.evaluate(design) > top)
            top = torch.where(better, task.evaluate(design), top)
            best[better] = design[better]
    return best


def faded(x: Tensor) -> Tensor:
    """Designs that are blurred and faded more and more, of `n x 4 x 32 x 32`."""
    picture, found = x[:, :-1], []
    for _ in range(BLURS):
        for share in torch.linspace(0, 1, FADES):
            for grey in (1.0, 0.75, 0.5):
                found.append(torch.cat([torch.lerp(picture, torch.full_like(picture, grey), share), x[:, -1:]], 1))
        picture = avg_pool2d(pad(picture, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return torch.cat(found)


def main(names: list[str]) -> None:
    """Print the best score that is found of each task."""
    for name in names:
        task = load_task(name)
        assert isinstance(task, Emoji)
        x = task.reference()
        x = x[task.domain.prompt(x) < len(task.domain.asked)]
        x = torch.cat([x, climbed(task, x) if isinstance(task, Learned) else faded(x)])
        y = torch.where(task.valid(x), task.evaluate(x), -torch.inf)
        print(f"{name}: {float(y.max()):.4f}, of {task.domain.prompts[int(task.domain.prompt(x)[y.argmax()])]}")


if __name__ == "__main__":
    main(sys.argv[1:])
