"""Measure whether and at what cost runs agree between processors: `python benchmarks/reproducible.py`.

The other processor is emulated by QEMU (Debian: apt-get install qemu-user), which has no AVX-512: `--processor Haswell`
is Intel's with AVX2, `EPYC` AMD's. A hundred times slower, an emulated process takes minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from bbo_bench.reproducible import ARITHMETIC, FAST, STRICT, pin

Operations = dict[str, Callable[[], object]]


def operations() -> Operations:
    """Single operations, each a function of fixed inputs that gives an array; the inputs depend on no processor."""
    import numpy as np
    import torch
    from torch.nn import functional

    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.standard_normal((256, 256))) for _ in range(2))
    x, kernel = a.float(), b.float()[:16, :24].reshape(16, 8, 3)
    spread = torch.from_numpy(np.arange(-5000, 5000) / 1000)
    gram = torch.from_numpy(rng.integers(-9, 9, (64, 64)) + 200.0 * np.eye(64))
    gram = gram + gram.T
    found: Operations = {
        "torch matmul": lambda: x @ b.float(),
        "torch matmul, double": lambda: a @ b,
        "torch linear": lambda: functional.linear(x, b.float(), x[0]),
        "torch conv1d": lambda: functional.conv1d(x.reshape(32, 8, 256), kernel),
        "torch sqrt": lambda: x.abs().sqrt(),
        "torch sum": lambda: x.sum(),
        "torch softmax": lambda: x.softmax(1),
        "torch layer_norm": lambda: functional.layer_norm(x, (256,)),
        "torch eigh": lambda: torch.linalg.eigh(gram)[0],
        "torch cholesky": lambda: torch.linalg.cholesky(gram),
        "torch randn": lambda: torch.randn(1000, generator=torch.Generator().manual_seed(0)),
        "numpy matmul": lambda: a.numpy() @ b.numpy(),
        "numpy eigh": lambda: np.linalg.eigh(gram.numpy())[0],
    }
    for name in ("exp", "sin", "tanh", "erf", "expm1", "sigmoid"):
        found[f"torch {name}"] = lambda name=name: getattr(torch, name)(spread.float())
        found[f"torch {name}, double"] = lambda name=name: getattr(torch, name)(spread)
    for name in ("exp", "sin", "tanh", "cosh"):
        found[f"numpy {name}"] = lambda name=name: getattr(np, name)(spread.numpy())
        found[f"numpy {name}, single"] = lambda name=name: getattr(np, name)(spread.float().numpy())
    return found


def digests() -> dict[str, str]:
    """Of every operation's result, and of the weights of a small network after five steps of Adam."""
    import hashlib

    import numpy as np
    import torch

    torch.set_num_threads(1)
    results = {name: compute() for name, compute in operations().items()}
    step, network = training(32)
    for _ in range(5):
        step()
    results["training"] = torch.nn.utils.parameters_to_vector(network.parameters()).detach()
    return {name: hashlib.sha256(np.asarray(value).tobytes()).hexdigest()[:12] for name, value in results.items()}


def training(width: int) -> tuple[Callable[[], None], object]:
    """A step of Adam on a batch of 256 for a network of four layers of this width, and the network."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    inner = [layer for _ in range(2) for layer in (nn.Linear(width, width), nn.SiLU())]
    network = nn.Sequential(nn.Linear(18, width), nn.SiLU(), *inner, nn.Linear(width, 18))
    optimizer = torch.optim.Adam(network.parameters())
    x = torch.randn(256, 18)

    def step() -> None:
        optimizer.zero_grad()
        (network(x) - x).square().mean().backward()
        optimizer.step()

    return step, network


def milliseconds() -> float:
    """Median time of the processor for a training step of width 256, of 15 times ten steps."""
    import time

    import torch

    torch.set_num_threads(1)
    step, _ = training(256)
    times = []
    for _ in range(16):
        start = time.process_time()
        for _ in range(10):
            step()
        times.append(100 * (time.process_time() - start))
    return statistics.median(times[1:])


def in_process(action: str, mode: str, prefix: Sequence[str] = ()) -> dict[str, str]:
    """What this script prints for `action` in a process of its own, by default in an emulated one after `prefix`."""
    clean = {key: value for key, value in os.environ.items() if key not in ARITHMETIC} | {"OMP_NUM_THREADS": "1"}
    command = [*prefix, sys.executable, __file__, action, "--mode", mode]
    found: dict[str, str] = json.loads(subprocess.run(command, env=clean, capture_output=True, check=True).stdout)
    return found


def report(processor: str, repeats: int) -> Iterator[str]:
    """Lines: the cost of `strict`, and which operations differ between this processor and an emulated one."""
    cost = {FAST: [], STRICT: []}
    for mode in (FAST, STRICT) * repeats:
        cost[mode].append(float(in_process("time", mode)["ms"]))
    fast, strict = (statistics.median(cost[mode]) for mode in (FAST, STRICT))
    yield f"training step: fast {fast:.1f} ms, strict {strict:.1f} ms, {strict / fast:.2f} times as long"
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        yield "qemu-x86_64 is not installed: no other processor to compare with"
        return
    for mode in (FAST, STRICT):
        here, there = in_process("digest", mode), in_process("digest", mode, [emulator, "-cpu", processor])
        differing = [name for name in here if here[name] != there[name]]
        yield f"{mode}: {len(differing)} of {len(here)} differ on {processor}{': ' if differing else ''}" + ", ".join(
            differing
        )


def main() -> None:
    """Measure, or do one of the actions that measuring runs in processes of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", nargs="?", choices=["report", "digest", "time"], default="report")
    parser.add_argument("--mode", choices=[FAST, STRICT], default=FAST)
    parser.add_argument("--processor", default="Haswell", help="one of `qemu-x86_64 -cpu help` with AVX2")
    parser.add_argument("--repeats", type=int, default=5, help="processes that time each mode")
    parsed = parser.parse_args()
    if parsed.action == "report":
        for line in report(parsed.processor, parsed.repeats):
            print(line, flush=True)
        return
    pin(parsed.mode)
    print(json.dumps(digests() if parsed.action == "digest" else {"ms": milliseconds()}))


if __name__ == "__main__":
    main()
