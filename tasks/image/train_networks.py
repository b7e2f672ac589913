"""Train the three networks of this task anew: `python -m bbo_bench.tasks.image.train_networks`.

They learn from all 60,000 training pictures of Fashion-MNIST: the score's network from one half, the validator from the
other, the network of features from all, together with pictures that are spoilt in ten ways, which are its eleventh
class. All see their pictures with a little noise, as samples of a diffusion model have. The accuracies printed are
those on the 10,000 test pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from tqdm import trange

from bbo_bench.seeding import generator, seeded
from bbo_bench.tasks.image import networks
from bbo_bench.tasks.image.networks import CLASSES, NETWORKS
from bbo_bench.tasks.image.source import Pictures, fetch
from bbo_bench.tasks.image.spoilt import spoil

SEED = 0
BATCH = 128
NOISE = 0.03
"""Greatest standard deviation of the noise on pictures that are not spoilt."""
SPOILT = 32
"""Spoilt pictures in a batch of the network of features, besides the others."""


class Recipe(NamedTuple):
    """How a network is trained."""

    part: slice
    """Of the training pictures."""
    epochs: int
    learning_rate: float
    label_smoothing: float
    spoilt: int


RECIPES = {
    "score": Recipe(slice(0, 30_000), 5, 3e-3, 0.02, 0),
    "validator": Recipe(slice(30_000, 60_000), 8, 2e-3, 0.02, 0),
    "features": Recipe(slice(0, 60_000), 4, 2e-3, 0.0, SPOILT),
}


def tensors(pictures: Pictures) -> tuple[Tensor, Tensor]:
    """`n x 1 x 28 x 28` pictures in [0, 1], and their `n` labels."""
    return torch.tensor(pictures.pixels)[:, None].float() / 255, torch.tensor(pictures.labels).long()


def batch(x: Tensor, labels: Tensor, rows: Tensor, spoilt: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """The pictures of `rows` with a little noise, then `spoilt` spoilt ones, and the labels of them all."""
    clean = x[rows]
    level = NOISE * torch.rand(len(rows), 1, 1, 1, generator=rng)
    noisy = (clean + level * torch.randn(clean.shape, generator=rng)).clamp(0, 1)
    bad = spoil(clean[:spoilt], clean[-spoilt:], rng) if spoilt else clean[:0]
    return torch.cat([noisy, bad]), torch.cat([labels[rows], torch.full((spoilt,), len(CLASSES))])


def train(name: str, x: Tensor, labels: Tensor) -> nn.Module:
    """A network, trained on `n` labelled pictures by its recipe."""
    recipe, rng = RECIPES[name], generator(SEED, name)
    x, labels = x[recipe.part], labels[recipe.part]
    with seeded(rng):
        net = NETWORKS[name]()
        steps = recipe.epochs * (len(x) // BATCH)
        optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
        rows = torch.cat([torch.randperm(len(x), generator=rng) for _ in range(recipe.epochs)])
        for step in trange(steps, desc=name, mininterval=1):
            seen, target = batch(x, labels, rows[step * BATCH : (step + 1) * BATCH], recipe.spoilt, rng)
            loss = nn.functional.cross_entropy(net(seen), target, label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)


def accuracy(net: nn.Module, x: Tensor, labels: Tensor) -> float:
    """Share of `n` pictures whose label has the largest logit."""
    predicted = torch.cat([net(part).argmax(1) for part in torch.split(x, networks.CHUNK)])
    return float((predicted == labels).double().mean())


def main() -> None:
    """Train, save, and print accuracies."""
    (x, labels), (test, test_labels) = map(tensors, fetch())
    made = {name: train(name, x, labels) for name in RECIPES}
    networks.save(made)
    for name, net in made.items():
        weights = sum(p.numel() for p in net.parameters())
        print(f"{name}: {weights} weights, accuracy {accuracy(net, test, test_labels):.4f} on the test set")
    bad = spoil(test, test.flip(0), generator(SEED, "spoilt"))
    seen = accuracy(made["features"], bad, torch.full((len(bad),), len(CLASSES)))
    print(f"features: {seen:.4f} of spoilt test pictures recognized")


if __name__ == "__main__":
    main()
