"""Values pass from process to process unchanged, and nothing that is read is executed."""

import math
import os
import pickle
import random
from collections import OrderedDict

import pytest
import torch

from bbo_bench.wire import HEAD, pack, unpack

VALUES = [
    None,
    True,
    -(2**70),
    0.1,
    "é\n\"'",
    [],
    (1, [2.5, ("a",)]),
    {"a": {1: None, (2, 3): "b"}, 2.5: []},
    OrderedDict(b=1, a=2),
    torch.tensor(1.5),
    torch.zeros(0, 3),
    torch.arange(24).reshape(2, 3, 4).transpose(0, 2),
    torch.tensor([True, False]),
    torch.tensor([0.1, -torch.inf, torch.nan], dtype=torch.float64),
    torch.randn(5, generator=torch.Generator().manual_seed(0)).bfloat16(),
    {"tensors": [torch.ones(2, dtype=torch.uint8), (torch.zeros(1),)], "rng": torch.Generator().get_state()},
    torch.nn.Parameter(torch.ones(2)),
]


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(7), b.nan_to_num(7))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_it_was(value):
    back = unpack(pack(value))
    assert type(back) is type(value)
    assert same(value, back)


def test_numbers_that_json_has_no_words_for():
    assert [math.isnan(x) or x for x in unpack(pack([math.nan, math.inf, -math.inf]))] == [True, math.inf, -math.inf]


def test_what_comes_back_can_be_changed():
    x = torch.ones(3)
    back = unpack(pack(x))
    back += 1
    assert x.tolist() == [1, 1, 1]


class Touch:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_an_object_is_refused(tmp_path):
    with pytest.raises(pickle.UnpicklingError):
        unpack(pack({"a": Touch(tmp_path / "sprung")}))
    assert not (tmp_path / "sprung").exists()


def test_bytes_of_others_are_errors_or_values():
    rng = random.Random(0)
    sound = pack({"a": [torch.ones(3), "b"]})
    for _ in range(300):
        data = bytearray(sound)
        for _ in range(3):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            unpack(bytes(data))
        except Exception as error:
            assert not isinstance(error, MemoryError)
    for text in (b"", b"x", HEAD.pack(2**60), HEAD.pack(5) + b"[[[[["):
        with pytest.raises(Exception, match=r"."):
            unpack(text)
