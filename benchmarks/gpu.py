"""What a graphics card makes of the suite, in a few minutes: does it work there, does it agree with the CPU, how fast.

    make gpu

1. the tests that are marked `gpu`;
2. three tasks by seven optimizers at the `smoke` budget, on the card and on the CPU. Random numbers differ between the
   two, so what is compared are levels: validity within .2, `normalized` within .3;
3. a run that is killed and resumed there ends with the same bytes, and a state made on a CPU goes on there;
4. SQDF and DDPO on the UNet for 28 x 28 images, by batch: rollouts and updates per second, use of the card, peak
   memory; the same in `bfloat16` autocast, and a pass of the network by `torch.compile`, as ratios;
5. how often an update waits for the card.

Every part prints what it finds, and writes it to `gpu.txt` and `gpu.csv` in `--out` as it goes; one that fails says so,
and the next begins.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"  # which tqdm reads when it is imported
import pandas as pd
import torch
from speed import Clock, fine_tuner, problem, updates
from torch.profiler import ProfilerActivity, profile

from bbo_bench import load_results
from bbo_bench.device import resolve
from bbo_bench.loop import Budget, run
from bbo_bench.plugins import UsageError
from bbo_bench.provenance import peak_memory, reset_peak_memory
from bbo_bench.record import Record
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import Fragile, Killed, contents, made

ROUNDS = (16, 16, 16)
PAIRS = {
    "airfoil": ("sqdf", "ddpo", "grpo", "draft", "svdd", "turbo", "qlogei"),
    "image": ("sqdf", "ddpo", "grpo", "draft", "svdd", "turbo"),
    "rna": ("sqdf", "ddpo", "grpo", "draft", "svdd", "turbo"),
}
"""What is compared; qLogEI searches boxes of few dimensions only."""
TOLERANCE = {"validity": 0.2, "normalized": 0.3}


def tests(args: argparse.Namespace) -> str:
    """The tests of a card."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (out.stdout + out.stderr).strip().splitlines()
    return "\n".join(["FAILED", *lines[-40:]] if out.returncode else lines[-1:])


def agreement(args: argparse.Namespace) -> str:
    """Runs on both devices, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        for task, names in PAIRS.items():
            command = [sys.executable, "-m", "bbo_bench", "run", "-m", f"task={task}", f"optimizer={','.join(names)}"]
            command += [f"device=cpu,{args.device}", "name=${device}", "budget=smoke", f"results={folder}"]
            command += ["hydra/launcher=joblib", f"hydra.launcher.n_jobs={args.jobs}"]
            made = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
            if made.returncode:
                raise RuntimeError(f"the sweep of {task} failed:\n{made.stderr[-2000:]}")
        last = [load_results(Path(folder, name)).groupby(["task", "optimizer"]).last() for name in ("cpu", args.device)]
    lines = []
    for name, most in TOLERANCE.items():
        apart = (last[0][name] - last[1][name]).abs()
        beyond = [f"{' '.join(map(str, pair))} by {value:.2f}" for pair, value in apart.items() if value > most]
        found = f"FAILED by {', '.join(beyond)}" if beyond else "held by all"
        lines.append(f"{name}: at most {apart.max():.3f} apart, allowed {most}: {found}")
    return "\n".join(lines)


def resuming(args: argparse.Namespace) -> str:
    """Bytes of runs that are killed after every round, and states that change the device."""
    lines = []
    for name in ("sqdf", "ddpo", "genetic", "turbo"):
        with tempfile.TemporaryDirectory() as folder:
            whole = _played(Path(folder, "whole"), name, args.device, Record)
            for _ in ROUNDS:
                with suppress(Killed):
                    _played(Path(folder, "killed"), name, args.device, Fragile)
            same = _played(Path(folder, "killed"), name, args.device, Record) == whole
            with suppress(Killed):
                _played(Path(folder, "moved"), name, "cpu", Fragile)
            _played(Path(folder, "moved"), name, args.device, Record)
        lines.append(f"{name}: {'the same bytes' if same else 'FAILED, other bytes'}; a state of the CPU's goes on")
    return "\n".join(lines)


def _played(folder: Path, name: str, device: str, record: type[Record]) -> dict[str, bytes]:
    with record(folder, {"seed": 0}) as opened:
        if not opened.complete:
            build = made("optimizer", name)
            run(Probe(), build, budget=Budget(ROUNDS, 8, 0), seed=0, device=torch.device(device), record=opened)
    return contents(folder)


def throughput(args: argparse.Namespace) -> str:
    """Rollouts and updates by batch, in single precision and in `bfloat16`."""
    device, rows = torch.device(args.device), []
    clock = Clock(device)
    for name in ("sqdf", "ddpo"):
        for size in args.sizes:
            tuner = fine_tuner(name, problem("unet", args.steps, device), size, device)
            row: dict[str, Any] = {"method": name, "batch": size}
            for precision, context in {"": nullcontext(), "_bfloat16": _bfloat16(device)}.items():
                reset_peak_memory(device)
                with context, _watched(device) as use:
                    tuner.sample(size)
                    steps = updates(tuner, clock)
                    next(steps)
                    row[f"rollouts/s{precision}"] = size / clock.time(tuner.sample, size)
                    row[f"updates/s{precision}"] = args.updates / sum(islice(steps, args.updates))
                row[f"peak_mb{precision}"] = peak_memory(device)
                row[f"use_%{precision}"] = sum(use) / len(use) if use else None
            rows.append(row)
    table = pd.DataFrame(rows)
    for kind in ("rollouts", "updates"):
        table[f"{kind}_bfloat16_ratio"] = table[f"{kind}/s_bfloat16"] / table[f"{kind}/s"]
    table.to_csv(args.out / "gpu.csv", index=False)
    return str(table.to_string(index=False, float_format="{:.3g}".format))


def _bfloat16(device: torch.device) -> Any:
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextmanager
def _watched(device: torch.device) -> Iterator[list[float]]:
    """Percent of the time that the card is at work, ten times a second; nothing on a CPU."""
    found: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
            with suppress(OSError, ValueError):
                found.append(float(subprocess.run(command, capture_output=True, text=True).stdout.split()[0]))

    watcher = threading.Thread(target=watch, daemon=True)
    if device.type == "cuda":
        watcher.start()
    try:
        yield found
    finally:
        done.set()
        if watcher.is_alive():
            watcher.join()


def compiling(args: argparse.Namespace) -> str:
    """A pass forward and backward, compiled for little overhead, over one that is not."""
    device = torch.device(args.device)
    where, clock = problem("unet", args.steps, device), Clock(device)
    net = where.prior.denoiser.requires_grad_(True)
    fast = torch.compile(net, mode="reduce-overhead")
    lines = []
    for size in args.sizes:
        x = where.prior.noise(size, generator(0, device=device))
        t = where.prior.transition.timesteps[:1].expand(size)

        def one_pass(network: Callable[..., Any], x: Any = x, t: Any = t) -> None:
            torch.autograd.backward(network(x, t).square().mean())

        first = clock.time(one_pass, fast)
        for each in (net, fast):
            clock.time(one_pass, each, repeats=3)
        plain, compiled = (clock.time(one_pass, each, repeats=10) for each in (net, fast))
        lines.append(f"batch {size}: {plain / compiled:.2f} times as fast, after {first:.0f} s of compiling")
    return "\n".join(lines)


def waiting(args: argparse.Namespace) -> str:
    """Synchronizations in a few updates, by the profiler."""
    device, lines = torch.device(args.device), []
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    for name in ("sqdf", "ddpo"):
        tuner = fine_tuner(name, problem("unet", args.steps, device), 64, device)
        steps = updates(tuner, time.perf_counter)
        next(steps)
        with profile(activities=activities) as profiler:
            list(islice(steps, args.updates))
        waits = ("Synchronize", "_local_scalar_dense", "nonzero")
        found = {each.key: each.count for each in profiler.key_averages() if any(word in each.key for word in waits)}
        lines.append(f"{name}: {args.updates} updates with {found or 'none'}")
    return "\n".join(lines)


PARTS: dict[str, Callable[[argparse.Namespace], str]] = {
    "tests": tests,
    "agreement with the CPU": agreement,
    "resuming": resuming,
    "throughput": throughput,
    "torch.compile": compiling,
    "waiting": waiting,
}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script itself (default: cuda)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024, 4096])
    parser.add_argument("--steps", type=int, default=50, help="sampling steps T (default: 50)")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=8, help="runs at a time (default: 8)")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path("results/speed"))
    return parser.parse_args()


def main() -> int:
    """Try one part after the other.

    Returns:
        The exit status: 1 if anything failed.
    """
    args = arguments()
    try:
        args.device = resolve(args.device).type
    except UsageError as error:
        sys.exit(f"error: {error}; to try the script without a card: python benchmarks/gpu.py --device cpu")
    args.out.mkdir(parents=True, exist_ok=True)
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    failed = False
    with (args.out / "gpu.txt").open("w", encoding="utf-8") as log:
        for line in [f"{name}, torch {torch.__version__}", *_parts(args)]:
            print(line, flush=True)
            print(line, file=log, flush=True)
            failed |= "FAILED" in line
    return int(failed)


def _parts(args: argparse.Namespace) -> Iterator[str]:
    for name in args.parts:
        start = time.perf_counter()
        try:
            found = PARTS[name](args)
        except Exception as error:
            traceback.print_exc()
            found = f"FAILED: {type(error).__name__}: {error}"
        yield f"\n{name} ({time.perf_counter() - start:.0f} s)\n{found}"


if __name__ == "__main__":
    sys.exit(main())
