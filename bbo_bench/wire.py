"""Values as bytes, for another process. To read them executes nothing, whoever wrote them."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import torch
from torch import Tensor

HEAD = struct.Struct("<Q")
"""The length of the description, which comes first."""


def pack(value: Any) -> bytes:
    """Tensors, numbers, words, None, and lists, tuples and dicts of them; others as `torch.save` writes them.

    Tensors lose their device, and what they share with each other.
    """
    parts: list[bytes] = []
    described = json.dumps(_described(value, parts)).encode()
    return b"".join([HEAD.pack(len(described)), described, *parts])


def unpack(data: bytes) -> Any:
    """What `pack` was given, its tensors on the host.

    Raises:
        Exception: If these are no such bytes, or an object is among the values.
    """
    (length,) = HEAD.unpack_from(data)
    start = HEAD.size + length
    return _value(json.loads(data[HEAD.size : start]), memoryview(data)[start:])


def _described(value: Any, parts: list[bytes]) -> Any:
    """A description for JSON, a kind and its content; the bytes of tensors are appended to `parts`."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in (list, tuple):
        return [type(value).__name__, [_described(each, parts) for each in value]]
    if type(value) is dict:
        return ["dict", [[_described(key, parts), _described(each, parts)] for key, each in value.items()]]
    if type(value) is Tensor and not value.requires_grad and value.layout is torch.strided:
        content = value.cpu().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        kind = [str(value.dtype).removeprefix("torch."), list(value.shape)]
    else:
        file = io.BytesIO()
        torch.save(value, file)
        content, kind = file.getvalue(), []
    place = sum(map(len, parts))
    parts.append(content)
    return ["tensor" if kind else "saved", [place, len(content), *kind]]


def _value(described: Any, data: memoryview) -> Any:
    if not isinstance(described, list):
        return described
    kind, content = described
    if kind == "list":
        return [_value(each, data) for each in content]
    if kind == "tuple":
        return tuple(_value(each, data) for each in content)
    if kind == "dict":
        return {_value(key, data): _value(each, data) for key, each in content}
    place, length, *form = content
    part = bytearray(data[place : place + length])
    if kind == "saved":
        return torch.load(io.BytesIO(part), map_location="cpu", weights_only=True)
    dtype = getattr(torch, form[0])
    return (torch.frombuffer(part, dtype=dtype) if length else torch.empty(0, dtype=dtype)).reshape(form[1])
