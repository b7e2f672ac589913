"""Rollouts and updates per second of every fine-tuner, beside the network passes that its mathematics needs.

    python benchmarks/speed.py --device cpu --methods sqdf ddpo --csv speed.csv

For the denoiser of `airfoil` and for a UNet on 28 x 28 images with random weights, it prints

- `rollouts/s`: trajectories of the policy per second, and the time of one over that of its T bare passes;
- `updates/s`: gradient steps per second, rollouts between them left out, and the time over that of the method's passes;
- `peak_mb`: on CUDA what torch has allocated at most; on the CPU the peak resident size of a process that makes one
  rollout and some updates, imports included.

Method and bare passes take turns, and ratios are medians over these turns, so that another load on the machine hits
both alike. Settings are the method's defaults, but for `--size` and `--steps`, which bound counts of samples and the
chain's length where a UNet would take minutes. `--memory-by-steps` adds SQDF's memory for chains of 10, 50 and 100.
`--compile` prints, instead, what `torch.compile` makes of a forward and backward pass of the two networks.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple
from unittest.mock import patch

import pandas as pd
import torch
from hydra.utils import get_class, instantiate
from passes import Bare, Needs, needs_of
from torch import Tensor, nn

from bbo_bench.alignment.finetune import FineTuner
from bbo_bench.core import Problem
from bbo_bench.device import limited_threads, resolve
from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.denoisers import UNet
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Box
from bbo_bench.plugins import choices
from bbo_bench.provenance import peak_memory
from bbo_bench.seeding import generator, seeded
from bbo_bench.testing.probe import made

NETWORKS = ("airfoil", "unet")
COUNTS = ("samples", "batch_size", "rollouts", "capacity")
"""Settings that `--size` bounds."""
NOTHING = "nothing"
UNET: dict[str, Any] = {
    "sample_size": 28,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
    "norm_num_groups": 8,
}
"""The UNet on 28 x 28 images, of about 1.1 million weights."""


def problem(network: str, steps: int, device: torch.device) -> Problem:
    """A problem on that network, whose sampler takes so many steps."""
    if network == "airfoil":
        task = made("task", "airfoil")
        domain, prior = task.domain, task.prior()
        prior.transition = prior.sampler(steps)
    else:
        domain = Box(-torch.ones(1, 28, 28), torch.ones(1, 28, 28))
        with seeded(generator(0, "unet")):
            unet = UNet(**UNET)
        schedule = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
        prior = DiffusionPrior(unet, Standardize(domain), schedule, {"steps": steps})
    moved = prior.to(device)
    moved.transition = prior.transition.to(device)
    return Problem(domain.to(device), moved, (64,))


def fine_tuner(name: str, where: Problem, size: int, device: torch.device) -> FineTuner:
    """A method with its default settings, its counts bounded, that has data to learn from."""
    settings = dict(choices("optimizer")[name].settings)
    settings |= {key: min(value, size) for key, value in settings.items() if key in COUNTS}
    settings["proxy"] = {**settings["proxy"], "updates": 20}
    if "estimate" in settings:
        settings["estimate"] = "tweedie"  # as many passes as a consistency model, which would have to be distilled
    rng = generator(0, "speed", device=device)
    tuner: FineTuner = instantiate(settings, _convert_="all", _partial_=True)(where, rng)
    tuner.x = where.prior.decode(torch.randn(64, *where.prior.latent_shape, generator=rng, device=device))
    tuner.y = torch.randn(64, generator=rng, device=device)
    assert tuner.proxy is not None
    tuner.proxy.fit(where.prior.encode(tuner.x), tuner.y, rng)
    return tuner


def updates(tuner: FineTuner, clock: Callable[[], float]) -> Iterator[float]:
    """Seconds of one update after the other; those are left out in which a rollout or its preparation falls."""
    weights = list(tuner.policy.trainable().values())
    descent = torch.optim.AdamW(weights, lr=tuner.training.learning_rate)
    while True:
        with patch.object(tuner, "trajectories", wraps=tuner.trajectories) as rollouts:
            losses = tuner.losses()
            while True:
                rollouts.reset_mock()
                start = clock()
                loss = next(losses, None)
                if loss is None:
                    break
                descent.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(weights, tuner.training.max_grad_norm)
                descent.step()
                if not rollouts.called:
                    yield clock() - start
                del loss


class Clock:
    """Seconds, when all work on the device is done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self) -> float:
        """Seconds since some moment."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def time(self, work: Callable[..., object], *args: Any, repeats: int = 1) -> float:
        """Mean seconds that `work(*args)` takes."""
        start = self()
        for _ in range(repeats):
            work(*args)
        return (self() - start) / repeats


class Turn(NamedTuple):
    """Seconds that method and bare passes took, one after the other."""

    rollout: float
    bare_rollout: float
    update: float
    bare_update: float
    batch: int
    """Mean number of states in a pass of the policy with a gradient."""


def turns(tuner: FineTuner, needs: Needs, size: int, count: int, clock: Clock) -> Iterator[Turn]:
    """Turns without end, with rollouts of `size` trajectories and `count` updates in each."""
    sizes: list[int] = []
    for network in (tuner.policy.network, tuner.policy.merged()):
        network.register_forward_pre_hook(
            lambda _, inputs: sizes.append(len(inputs[0])) if torch.is_grad_enabled() else None
        )
    steps, rolled = updates(tuner, clock), Bare(tuner, size)
    while True:
        rollout = clock.time(tuner.sample, size)
        bare_rollout = clock.time(rolled.rollout)
        sizes.clear()
        update = sum(islice(steps, count)) / count
        batch = round(sum(sizes) / len(sizes))
        bare_update = clock.time(Bare(tuner, batch).update, needs, repeats=count)
        yield Turn(rollout, bare_rollout, update, bare_update, batch)


def measure(name: str, network: str, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """A row of the table."""
    tuner = fine_tuner(name, problem(network, args.steps, device), args.size, device)
    needs = needs_of(name, tuner)
    measured = turns(tuner, needs, args.size, args.updates, Clock(device))
    times = pd.DataFrame(islice(measured, args.repeats + 1)).iloc[1:]  # the first warms up
    return {
        "network": network,
        "method": name,
        "rollouts/s": args.size / times["rollout"].median(),
        "rollout_ratio": (times["rollout"] / times["bare_rollout"]).median(),
        "batch": times["batch"].median(),
        "passes": "+".join(f"{count:.3g}" for count in (needs[0], needs[1] + math.prod(needs.short), needs[2])),
        "updates/s": 1 / times["update"].median(),
        "update_ratio": (times["update"] / times["bare_update"]).median(),
        "peak_mb": None if args.no_memory else peak(name, network, args.size, args.steps, device.type),
    }


def peak(name: str, network: str, size: int, steps: int, device: str) -> float:
    """Megabytes at most of a process that makes a rollout and some updates."""
    command = [sys.executable, __file__, "--peak", name, "--networks", network, "--device", device]
    command += ["--size", str(size), "--steps", str(steps)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def print_peak(name: str, network: str, size: int, steps: int, device: torch.device) -> None:
    """Do the work whose peak this process has, and print it."""
    where = problem(network, steps, device)
    if name != NOTHING:
        tuner = fine_tuner(name, where, size, device)
        tuner.trajectories(tuner.prior.noise(size, tuner.rng))
        list(islice(updates(tuner, time.perf_counter), 3))
    print(peak_memory(device))


def compiled(network: str, args: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds that `torch.compile` takes, and of a pass forward and backward over its time without."""
    where, clock = problem(network, args.steps, device), Clock(device)
    x = where.prior.noise(args.size, generator(0, "speed", device=device))
    t = where.prior.transition.timesteps[:1].expand(args.size)
    plain = where.prior.denoiser.requires_grad_(True)
    fast = torch.compile(plain)

    def one_pass(net: Callable[[Tensor, Tensor], Tensor]) -> None:
        torch.autograd.backward(net(x, t).square().mean())

    first = clock.time(one_pass, fast)
    turns = [[clock.time(one_pass, net, repeats=args.updates) for net in (fast, plain)] for _ in range(args.repeats)]
    times = pd.DataFrame(turns, columns=["compiled", "plain"])
    return {
        "network": network,
        "batch": args.size,
        "compilation_s": first,
        "plain_ms": 1e3 * times["plain"].median(),
        "compiled_ms": 1e3 * times["compiled"].median(),
        "ratio": (times["compiled"] / times["plain"]).median(),
    }


def methods() -> list[str]:
    """The fine-tuners among the optimizers, without their variants."""
    plain = [each for each in choices("optimizer").values() if each.name == each.file.parent.name]
    return [each.name for each in plain if issubclass(get_class(each.settings["_target_"]), FineTuner)]


def tables(args: argparse.Namespace, device: torch.device) -> Iterator[dict[str, Any]]:
    """The rows, as they are measured."""
    for network in args.networks:
        if args.compile:
            yield compiled(network, args, device)
            continue
        for name in args.methods or methods():
            yield measure(name, network, args, device)


def text(rows: list[dict[str, Any]]) -> str:
    """A table to print."""
    table: str = pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format)
    return table


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", help="default: all fine-tuners")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda (default: auto)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50, help="sampling steps T (default: 50)")
    parser.add_argument("--size", type=int, default=128, help="most samples of a batch or rollout (default: 128)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--updates", type=int, default=5, help="updates, or compiled passes, per repeat (default: 5)")
    parser.add_argument("--csv", help="where to write the table")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-by-steps", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    args = arguments()
    device = resolve(args.device)
    with limited_threads(args.threads):
        if args.peak:
            print_peak(args.peak, args.networks[0], args.size, args.steps, device)
            return
        rows: list[dict[str, Any]] = []
        for row in tables(args, device):
            rows.append(row)
            print(text([row]), file=sys.stderr, flush=True)
            if args.csv:
                pd.DataFrame(rows).to_csv(args.csv, index=False)
        print(text(rows))
        if args.memory_by_steps:
            for network in args.networks:
                sizes = {f"{t} steps": peak("sqdf", network, args.size, t, device.type) for t in (10, 50, 100)}
                sizes["imports and prior"] = peak(NOTHING, network, args.size, 10, device.type)
                print(f"sqdf on {network}, peak MB: {sizes}")


if __name__ == "__main__":
    main()
