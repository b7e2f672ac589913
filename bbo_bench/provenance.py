"""What a run ran on: versions, commit, device, threads, peak memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("bbo-bench", "torch", "numpy", "scipy", "botorch", "gpytorch", "diffusers", "peft", "cma")
OF_TASKS = ("neuralfoil", "pillow", "rdkit", "selfies", "ViennaRNA", "fcd_torch")
"""Packages that define scores or metrics of some tasks, named where they are installed."""


def provenance(device: torch.device) -> dict[str, Any]:
    """Facts about machine and software, ready for JSON."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {**_software(), "device": str(device), "device_name": name, "threads": torch.get_num_threads()}


@cache
def _software() -> dict[str, Any]:
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    for name in OF_TASKS:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "versions": versions,
        "platform": platform.platform(),
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The checkout's commit, with a + where files have changed; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def reset_peak_memory(device: torch.device) -> None:
    """Start the measurement of `peak_memory` anew, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    clear = Path("/proc/self/clear_refs")
    with suppress(OSError):  # some containers have no such file, or refuse it; the peak is then that of the process
        clear.write_text("5")


def peak_memory(device: torch.device) -> float:
    """Peak memory in MB since `reset_peak_memory`: the device's on a GPU, the process's elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2 ** (20 if sys.platform == "darwin" else 10)
