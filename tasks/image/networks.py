"""The networks that judge pictures: one scores, one checks the score, one gives features."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bbo_bench.seeding import generator, seeded

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""Names of the labels of Fashion-MNIST, in their order."""
WEIGHTS = Path(__file__).with_name("networks.safetensors")
FEATURES = 64
CHUNK = 512
"""Pictures that pass a network at once."""


class Convolutional(nn.Sequential):
    """Strided convolutions with batch norm and average pooling: the classifier behind the score."""

    def __init__(self) -> None:
        sizes = ((1, 24, 1), (24, 48, 2), (48, 64, 2), (64, 96, 1))
        blocks = (
            nn.Sequential(nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes
        )
        super().__init__(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, len(CLASSES)))


class Mixer(nn.Module):
    """Perceptrons across and within 49 patches of 4 x 4 pixels (Tolstikhin et al. 2021): the validator."""

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(16, width)
        self.blocks = nn.ModuleList(_Mixing(width) for _ in range(depth))
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Flatten(), nn.Dropout(0.3), nn.Linear(49 * width, len(CLASSES))
        )

    def forward(self, x: Tensor) -> Tensor:
        """`n x 10` logits of `n x 1 x 28 x 28` pictures."""
        h = self.embed(nn.functional.unfold(x, 4, stride=4).mT)
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(h)
        return logits


class Encoder(nn.Module):
    """Convolutions and pooling, then 64 features that tell ten classes and spoilt pictures apart."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((1, 16), (16, 32), (32, 64))
        blocks = (nn.Sequential(nn.Conv2d(a, b, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2)) for a, b in sizes)
        self.features = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(576, FEATURES), nn.Tanh())
        self.head = nn.Linear(FEATURES, len(CLASSES) + 1)

    def forward(self, x: Tensor) -> Tensor:
        """`n x 11` logits of `n x 1 x 28 x 28` pictures."""
        logits: Tensor = self.head(self.features(x))
        return logits


class _Mixing(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.across = nn.Sequential(nn.Linear(49, 64), nn.GELU(), nn.Linear(64, 49))
        self.within = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, h: Tensor) -> Tensor:
        h = h + torch.as_tensor(self.across(self.norms[0](h).mT)).mT
        return h + torch.as_tensor(self.within(self.norms[1](h)))


NETWORKS: dict[str, type[nn.Module]] = {"score": Convolutional, "validator": Mixer, "features": Encoder}


def save(networks: dict[str, nn.Module]) -> None:
    """Write the networks in half precision."""
    tensors = {f"{name}.{key}": t for name, net in networks.items() for key, t in net.state_dict().items()}
    save_file({key: t.half() if t.is_floating_point() else t for key, t in tensors.items()}, WEIGHTS)


@cache
def load(name: str) -> nn.Module:
    """A frozen network."""
    with seeded(generator(0, "weights")):  # they are replaced below, but their first values are drawn
        net = NETWORKS[name]()
    tensors = load_file(WEIGHTS)
    net.load_state_dict({key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")})
    return net.eval().requires_grad_(False)


def apply(net: nn.Module, x: Tensor) -> Tensor:
    """What a network gives for `n x 1 x 28 x 28` pictures, differentiable."""
    return torch.cat([net(part) for part in torch.split(x.float(), CHUNK)]).double()
