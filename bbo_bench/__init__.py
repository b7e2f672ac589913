"""A benchmark suite for online black-box optimization: score, naturalness and diversity of designs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bbo_bench.campaign import Campaign as Campaign
    from bbo_bench.library import evaluate as evaluate
    from bbo_bench.library import load_optimizer as load_optimizer
    from bbo_bench.library import load_task as load_task
    from bbo_bench.library import run as run
    from bbo_bench.report.frame import load_results as load_results

__version__ = "0.1.0"
__all__ = ["Campaign", "evaluate", "load_optimizer", "load_results", "load_task", "run"]

_HOMES = {name: "bbo_bench.library" for name in __all__} | {
    "Campaign": "bbo_bench.campaign",
    "load_results": "bbo_bench.report.frame",
}


def __getattr__(name: str) -> Any:
    """What is public, imported where it is asked for: `bbo_bench` itself is imported by every command."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
