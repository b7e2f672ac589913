"""Networks that say what a picture shows, and how well it is drawn. One is a reward; the others no optimizer sees."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import normalize

WEIGHTS = Path(__file__).with_name("judges.safetensors")
WIDTH = 96
"""Size of the space in which pictures and captions meet."""
DIMENSION = 100
"""Of a word's vector."""


class Patch(nn.Module):
    """Patches of `side x side` pixels become one with all their channels, as torch's `PixelUnshuffle` has it.

    Which refuses no pictures.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """`n x c·side² x h/side x w/side` of `n x c x h x w`."""
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // self.side, self.side, w // self.side, self.side)
        return parts.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


class Plain(nn.Module):
    """Convolutions with batch normalization and ReLU, averaged over quarters of the picture: the reward's."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()

        def block(channels: int, more: int, stride: int) -> nn.Module:
            layers = nn.Conv2d(channels, more, 3, stride, 1, bias=False), nn.BatchNorm2d(more), nn.ReLU()
            return nn.Sequential(*layers)

        self.net = nn.Sequential(
            Patch(2),
            block(12, 48, 1),
            block(48, 64, 2),
            block(64, 96, 1),
            block(96, 128, 2),
            block(128, 160, 1),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(640, width),
        )

    @property
    def last(self) -> nn.Linear:
        """The layer that puts out."""
        layer = self.net[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """`n x width` of `n x 3 x 32 x 32` pictures with pixels in [-1, 1]."""
        return torch.as_tensor(self.net(x))


class Patches(nn.Module):
    """Patches of four pixels, group normalization, GELU, the maximum over neighbours: the judge's."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()

        def block(channels: int, more: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(channels, more, 3, padding=1), nn.GroupNorm(8, more), nn.GELU())

        self.net = nn.Sequential(
            Patch(4),
            block(48, 128),
            block(128, 128),
            nn.MaxPool2d(2),
            block(128, 192),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(768, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """See `Plain.forward`."""
        return torch.as_tensor(self.net(x))


class Dual(nn.Module):
    """Two encoders whose unit vectors point the same way for a picture and its caption.

    Args:
        image: Encodes pictures.
    """

    def __init__(self, image: nn.Module) -> None:
        super().__init__()
        self.image = image
        self.text = nn.Sequential(nn.Linear(DIMENSION, 192), nn.GELU(), nn.Linear(192, WIDTH))
        self.log_scale = nn.Parameter(torch.tensor(2.7, dtype=torch.float32))

    def pictures(self, x: Tensor) -> Tensor:
        """`n x 96` unit vectors of `n x 3 x 32 x 32` pictures with pixels in [0, 1]."""
        return normalize(self.image(2 * x - 1))

    def captions(self, bag: Tensor) -> Tensor:
        """`n x 96` unit vectors of `n x 100` means of words."""
        return normalize(self.text(bag))

    def logits(self, x: Tensor, bag: Tensor) -> Tensor:
        """`n x m` logits of `m` captions for `n` pictures."""
        return self.log_scale.exp().clamp(max=50) * self.pictures(x) @ self.captions(bag).T


class Taste(nn.Module):
    """How well a picture is drawn, a number: one encoder with a single output."""

    def __init__(self) -> None:
        super().__init__()
        self.image = Plain(1)

    def forward(self, x: Tensor) -> Tensor:
        """`n` numbers for `n x 3 x 32 x 32` pictures with pixels in [0, 1]."""
        return torch.as_tensor(self.image(2 * x - 1).squeeze(1))


class Networks(nn.Module):
    """All of them, as training starts them."""

    def __init__(self) -> None:
        super().__init__()
        self.align, self.judge, self.taste = Dual(Plain()), Dual(Patches()), Taste()
        self.float()

    def encoder(self, name: str) -> Dual:
        """`align` or `judge`."""
        return {"align": self.align, "judge": self.judge}[name]


def shipped() -> Networks:
    """All networks, as `build_judges.py` has made them."""
    networks = Networks()
    networks.load_state_dict(load_file(WEIGHTS))
    return networks.eval().requires_grad_(False)
