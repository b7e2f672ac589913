"""Pictures as PNG files: one of 28 x 28, or a sheet of such."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import UnidentifiedImageError
from torch import Tensor

from bbo_bench.io import Entry, Format

SIDE = 28


def png_format() -> Format:
    """Grey levels of 255; a sheet is read row by row, and colours by their brightness."""
    return Format(_read, _write, single=True)


def _read(content: bytes, column: str | None) -> list[Entry]:
    try:
        levels = np.asarray(Pillow.open(io.BytesIO(content)).convert("L"))
    except UnidentifiedImageError as error:
        raise ValueError("no picture that Pillow knows") from error
    rows, columns = (length // SIDE for length in levels.shape)
    if levels.shape != (rows * SIDE, columns * SIDE) or not levels.size:
        wide, high = levels.shape[::-1]
        raise ValueError(f"expected {SIDE} x {SIDE} pixels, or a sheet of such pictures, got {wide} x {high}")
    tiles = levels.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, 1, SIDE, SIDE)
    return [Entry("", torch.from_numpy(tile.copy()).float() / 255) for tile in tiles]


def _write(x: Tensor, names: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray((x[0, 0] * 255).round().to(torch.uint8).numpy()).save(buffer, "PNG")
    return buffer.getvalue()
