"""The denoiser of pictures for prompts: a UNet that attends to the animal's word."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bbo_bench.diffusion.conditional import Conditional, codes
from bbo_bench.tasks.emoji.prompts import NAMES, vectors

SCALE = 10.0
"""Vectors of unit length become tokens of unit variance."""


class EmojiUNet(Conditional):
    """`Conditional` on the words of the 45 animals.

    Args:
        guidance: Of classifier-free guidance; 1 for none.
        **settings: Of diffusers' `UNet2DConditionModel`, for latents without the prompt.
    """

    def __init__(self, guidance: float = 1.0, **settings: Any) -> None:
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # takes a second to import

        words = vectors(NAMES)
        tokens = torch.cat([SCALE * words, torch.zeros(1, words.shape[1])])[:, None]
        net = UNet2DConditionModel(**settings)
        super().__init__(net, coded(settings["sample_size"]), tokens, guidance=guidance)


def coded(side: int) -> Tensor:
    """How latents of `side x side` name the animals, `45 x side x side`."""
    return codes(vectors(NAMES), torch.Size([side, side]))
