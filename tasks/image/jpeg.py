"""The size of pictures as JPEG files, by Pillow."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

QUALITY = 95
"""As in the DDPO paper (Black et al., ICLR 2024); the Huffman tables are those of the standard."""


def kilobytes(x: Tensor) -> Tensor:
    """Sizes of `n x 1 (or 3) x height x width` pictures as JPEG files, in units of 1,000 bytes, an `n`-dim tensor."""
    levels = (x.detach().double() * 255).round().to(torch.uint8)
    pictures = levels[:, 0] if levels.shape[1] == 1 else levels.movedim(1, -1)
    return torch.tensor([_size(picture) for picture in pictures.numpy()], dtype=torch.double) / 1000


def _size(picture: npt.NDArray[np.uint8]) -> int:
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=QUALITY, optimize=False, progressive=False)
    return file.tell()
