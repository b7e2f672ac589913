"""Faults, one a test: `make faults` tries all and prints a table, `make test` every tenth of a kind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

CHEAP = 10
"""Of how many of a kind `make test` tries one."""
HERE = Path(__file__).parent
_SUMMARIES: dict[str, str] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow all but every tenth of a kind."""
    seen: Counter[str] = Counter()
    for item in items:
        if item.path.parent != HERE:
            continue
        kind = f"{item.path.stem}.{getattr(item, 'originalname', item.name)}"
        if seen[kind] % CHEAP or item.get_closest_marker("costly"):
            item.add_marker(pytest.mark.slow)
        seen[kind] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A line per kind: tried, survived, lost."""
    table: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, ()):
            if "faults/" in report.nodeid and (report.when == "call" or outcome != "passed"):
                file, _, test = report.nodeid.partition("::")
                name = f"{Path(file).stem.removeprefix('test_')}: {test.partition('[')[0].removeprefix('test_')}"
                table.setdefault(name.replace("_", " "), Counter())[outcome] += 1
    if not table:
        return
    width = max(map(len, table))
    terminalreporter.section("faults")
    terminalreporter.write_line(f"{'':{width}}  tried  survived  lost")
    for name, counts in [*sorted(table.items()), ("all", sum(table.values(), Counter()))]:
        tried, survived = sum(counts.values()), counts["passed"]
        terminalreporter.write_line(f"{name:{width}}  {tried:5}  {survived:8}  {tried - survived:4}")
