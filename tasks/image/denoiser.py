"""The prior's network: a U-Net on patches of pixels, which costs a quarter of one on the pixels."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from bbo_bench.diffusion.denoisers import UNet


class PatchUNet(UNet):
    """diffusers' `UNet2DModel` on square patches: their pixels are its channels.

    Args:
        patch: Side of a patch in pixels; it divides the image's.
        **settings: Of `UNet2DModel`, with patch² times the image's channels.
    """

    def __init__(self, patch: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.patch = patch

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x channels x height x width` noisy latents at `n` timesteps (or one for all)."""
        return pixel_shuffle(super().forward(pixel_unshuffle(x, self.patch), timestep), self.patch)
