"""What a run ran on: versions, commit, device, processor, arithmetic, threads, peak memory."""

from __future__ import annotations

import os
import platform
import re
import resource
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_info

from bbo_bench.core import Task
from bbo_bench.reproducible import ARITHMETIC


def provenance(device: torch.device, task: Task) -> dict[str, Any]:
    """Facts about machine and software, ready for JSON."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    versions = {"python": platform.python_version(), **_packages(), **task.versions()}
    return {
        "versions": versions,
        "platform": platform.platform(),
        "commit": _commit(),
        "device": str(device),
        "device_name": name,
        "processor": processor(),
        "arithmetic": arithmetic(),
        "threads": torch.get_num_threads(),
    }


@cache
def processor() -> str:
    """The processor's model, or its architecture where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(), re.MULTILINE)):
        return found[1].strip()
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.CalledProcessError):
            return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    return platform.processor() or platform.machine()


def arithmetic() -> dict[str, Any]:
    """What decides how numbers are rounded: libraries, the instruction sets they use, and variables that pin them.

    oneDNN and MKL do not tell the instructions that they choose: the processor and these variables determine them.
    """
    built = re.search(r"MKL-DNN (v[\d.]+)", torch.__config__.show())
    mkl = re.search(r"Math Kernel Library Version ([\w. -]+?) for", torch.__config__.show())
    blas = (library for library in threadpool_info() if library["user_api"] == "blas")
    known = [(each["internal_api"], each["version"], each.get("architecture")) for each in blas]
    return {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "onednn": built and built[1],
        "mkl": mkl and mkl[1],
        "blas": sorted({" ".join(str(fact) for fact in each if fact) for each in known}),
        "variables": {key: os.environ[key] for key in ARITHMETIC if key in os.environ},
    }


@cache
def _packages() -> dict[str, str]:
    """Versions of this distribution and of what it requires, the oracles of its tasks too, where installed."""
    declared = [line for line in requires("bbo-bench") or () if 'extra == "dev"' not in line]
    names = dict.fromkeys(re.split(r"[^\w.-]", line)[0] for line in ["bbo-bench", *sorted(declared, key=str.lower)])
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
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
