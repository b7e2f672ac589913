"""Time and memory of reports by the number of their runs, which are made up: `python benchmarks/report.py --runs 250`.

A run's numbers are noise; its files are those of a run, without ledger and designs. Tasks are as many as it takes
for 50 optimizers with 10 seeds each.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from bbo_bench.names import HITS, METRICS, PRIOR
from bbo_bench.plugins import choices

OPTIMIZERS, SEEDS = 50, 10
ROUNDS = (64, 128, 256, 512)
PHASES = {"ask": 1.0, "oracle": 1.0, "tell": 1.0, "evaluation": 1.0, "total": 5.0}
REPORT = "import sys; from pathlib import Path; from bbo_bench.report import write_report as w; w([Path(sys.argv[1])])"


def make(root: Path, runs: int) -> None:
    """Write the folders of so many runs."""
    rng = np.random.default_rng(0)
    known = {kind: choices(kind) for kind in ("task", "optimizer")}
    names = [PRIOR, *(name for name in known["optimizer"] if name != PRIOR)][:OPTIMIZERS]
    tasks = list({json.dumps(choice.settings): name for name, choice in known["task"].items()}.values())
    for i in range(runs):
        seed, optimizer = i % SEEDS, names[i // SEEDS % OPTIMIZERS]
        task = tasks[i // (SEEDS * OPTIMIZERS) % len(tasks)]
        folder = root / task / optimizer / f"seed_{seed}"
        folder.mkdir(parents=True)
        plugins = {
            kind: {"name": name, **known[kind][name].settings}
            for kind, name in (("task", task), ("optimizer", optimizer))
        }
        budget = {"rounds": list(ROUNDS), "evaluation": 256, "validation": 64}
        config = {**plugins, "budget": budget, "seed": seed, "device": "cpu", "threads": 1}
        (folder / "config.yaml").write_text(yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False))
        columns = {key: rng.uniform(size=len(ROUNDS)) for key in METRICS}
        columns |= {key: np.sort(rng.integers(0, 32, len(ROUNDS))) for key in HITS}
        queries = {"round": range(len(ROUNDS)), "queries": np.cumsum(ROUNDS)}
        pd.DataFrame(queries | columns).to_csv(folder / "metrics.csv", index=False)
        facts = {"seconds": [PHASES] * len(ROUNDS), "complete": True, "peak_mb": 500.0, "files": {}, "versions": {}}
        (folder / "provenance.json").write_text(json.dumps(facts))


def measure(root: Path) -> dict[str, float]:
    """Seconds of wall clock and processor, and peak memory in MB, of a report in a process of its own."""
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", REPORT, str(root)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - begun, "cpu_seconds": cpu, "peak_mb": after.ru_maxrss / 2**10}


def main() -> None:
    """Print a line for each number of runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[250, 1000, 10000])
    parser.add_argument("--keep", type=Path, help="a folder for the runs and their reports (default: none is kept)")
    parsed = parser.parse_args()
    for runs in parsed.runs:
        root = Path(tempfile.mkdtemp()) if parsed.keep is None else parsed.keep / str(runs)
        make(root, runs)
        print(f"{runs} runs: " + ", ".join(f"{key} {value:.1f}" for key, value in measure(root).items()), flush=True)
        if parsed.keep is None:
            shutil.rmtree(root)


if __name__ == "__main__":
    main()
