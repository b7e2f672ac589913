"""Reading what a stranger may have written."""

from __future__ import annotations

import re
import zlib
from typing import Any
from zipfile import BadZipFile

import yaml

NESTS = re.compile(r"[\[{]|[-?]\s+[-?]")


class _Plain(yaml.SafeLoader):
    """Reads mappings, lists, words, numbers and nothing else."""


class _Fast(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same in C."""


def _refused(loader: Any, node: yaml.Node) -> None:
    raise yaml.constructor.ConstructorError(problem=f"could not determine a constructor for the tag {node.tag!r}")


for _loader in (_Plain, _Fast):
    for _tag in ("binary", "omap", "pairs", "set", "timestamp"):
        _loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _refused)
DEEPEST = 500
"""So many signs of nesting are left to the C parser, which ends the process where there are tens of thousands."""

DAMAGE = (
    OSError, ValueError, LookupError, TypeError, EOFError, RecursionError, BadZipFile, zlib.error, yaml.YAMLError,
)  # fmt: skip
"""What reading a file that is damaged, or not what its name says, may raise."""


def read_yaml(text: str) -> Any:
    """The content of a text, of plain values only.

    Raises:
        yaml.YAMLError: If it is no YAML, or has a tag of anything else.
        RecursionError: If it is nested too deeply.
    """
    deep = len(NESTS.findall(text)) > DEEPEST
    return yaml.load(text, _Plain if deep else _Fast)


def describes_a_run(config: object) -> bool:
    """Whether what a `config.yaml` holds has the shape of a run's: names, a seed, numbers of queries."""
    parts = [config.get(part) for part in ("task", "optimizer", "budget")] if isinstance(config, dict) else []
    if not isinstance(config, dict) or not all(isinstance(part, dict) for part in parts):
        return False
    names = [config[kind].get("name") for kind in ("task", "optimizer")]
    rounds = config["budget"].get("rounds")
    counts = [config.get("seed"), *(rounds if isinstance(rounds, list) else [None])]
    return all(isinstance(name, str) for name in names) and all(type(count) is int for count in counts)
