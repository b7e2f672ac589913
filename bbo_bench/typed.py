"""Values of a sweep's settings, which reach its runs as they were typed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra.errors import HydraException

from bbo_bench.arguments import SWEEP
from bbo_bench.plugins import KINDS

RAW = "typed_"
"""Begins what stands, in hexadecimal digits, for the words of a value that Hydra shall hand on as they are."""


def left_to_runs(arguments: Sequence[str]) -> list[str]:
    """Hydra's command line, `-m` first, where a sweep's single values of a plugin's settings are sweeps of one value.

    Hydra refuses settings between which an option stands, and applies single values before it has composed a run, when
    there is no plugin yet that could have the setting.
    """
    if not SWEEP & set(arguments):
        return list(arguments)
    arguments = sorted(arguments, key=lambda word: word not in SWEEP)
    single = re.compile(rf"((?:{'|'.join(KINDS)})\.[^=]+)=(.*)", re.DOTALL)
    parser = OverridesParser.create()
    return [
        f"{match[1]}=choice({RAW}{match[2].encode().hex()})"
        if (match := single.fullmatch(word)) and not parser.parse_override(word).is_sweep_override()
        else word
        for word in arguments
    ]


def split(overrides: Sequence[Override], max_batch_size: int | None) -> list[list[list[str]]]:
    """`BasicSweeper.split_arguments`, but that strings keep their quotes, without which '1e3' would be a number.

    What `left_to_runs` has wrapped is as it was typed: null too, of which Hydra makes no sweep.
    """
    options: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise HydraException(f"{key}: a sweep lists its values, as in {key}=1,2")
        if override.is_sweep_override():
            swept: Iterable[Any] = override.sweep_iterator(Transformer.identity)
            words = [Override._get_value_element_as_str(value) for value in swept]
        else:
            words = [override.get_value_element_as_str()]
        options[key] = [f"{key}={_typed(word)}" for word in words]
    batch = [list(each) for each in itertools.product(*options.values())]
    size = max_batch_size or len(batch)
    return [batch[i : i + size] for i in range(0, len(batch), size)]


def _typed(word: str) -> str:
    return bytes.fromhex(word.removeprefix(RAW)).decode() if word.startswith(RAW) else word
