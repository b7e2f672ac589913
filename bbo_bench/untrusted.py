"""Reading what a stranger may have written."""

from __future__ import annotations

import re
from typing import Any

import yaml

NESTS = re.compile(r"[\[{]|[-?]\s+[-?]")
FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
DEEPEST = 500
"""So many signs of nesting are left to the C parser, which ends the process where there are tens of thousands."""


def read_yaml(text: str) -> Any:
    """The content of a text, of plain values only.

    Raises:
        yaml.YAMLError: If it is no YAML, or has a tag that names a class.
        RecursionError: If it is nested too deeply.
    """
    deep = len(NESTS.findall(text)) > DEEPEST
    return yaml.load(text, yaml.SafeLoader if deep else FAST)
