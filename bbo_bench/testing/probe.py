"""Small problems that every optimizer can be tried on, a box and sequences, and runs of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from bbo_bench.core import Offline, Problem, State, Task, UnsuitableError
from bbo_bench.device import limited_threads
from bbo_bench.diffusion.codecs import OneHot, Prompted, Standardize
from bbo_bench.diffusion.denoisers import MLP, Convolution
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Box, Captioned, Sequences
from bbo_bench.loop import Budget, Build, run
from bbo_bench.plan import check
from bbo_bench.plugins import Kind, choices, find
from bbo_bench.record import Record, Round
from bbo_bench.seeding import generator, seeded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILES = ("config.yaml", "ledger.csv", "metrics.csv", "designs.npz", "recommended.npz")
"""The files of a run that are the same, byte for byte, however often it was stopped."""


class Probe(Task):
    """Minus the squared distance to (1, 1), over a box whose natural designs are Gaussian.

    An untrained `MLP` predicts v = 0, the exact denoiser of the standard normal distribution, so this is a diffusion
    prior that took no training. Its five steps, for speed, leave half of the variance, hence E[score] = -2 - 2/2.
    """

    domain = Box(torch.full((2,), -6.0), torch.full((2,), 6.0))
    noise_std = 0.1
    y_prior = -3.0
    best_known = 0.0
    infeasible_score = -50.0

    def best_design(self) -> Tensor:
        """See `Task.best_design`."""
        return torch.ones(2)

    def prior(self) -> DiffusionPrior:
        """See `Task.prior`."""
        with seeded(generator(0, "probe")):
            denoiser = MLP(2, width=16, depth=1)
        schedule = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
        distillation = {"steps": 5, "passes": 2, "trajectories": 64}
        return DiffusionPrior(denoiser, Standardize(self.domain), schedule, {"steps": 5}, distillation)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        return nearness(x)

    def valid(self, x: Tensor) -> Tensor:
        """Whether a design lies within four standard deviations of the prior."""
        return x.square().sum(1) < 16

    def features(self, x: Tensor) -> Tensor:
        """The designs themselves."""
        return x

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return torch.randn(64, 2, generator=generator(0, "reference")).clamp(-3, 3)

    def offline(self) -> Offline:
        """See `Task.offline`: episodes of one step, the first number being observed, and the second done."""
        x = self.reference()
        following, done = torch.zeros(len(x), 1), torch.ones(len(x), dtype=torch.bool)
        return Offline(x[:, :1], x[:, 1:], nearness(x), following, done, one_step, torch.tensor([True, False]))

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: a point."""
        axes.plot(*x.tolist(), "o")


def nearness(x: Tensor) -> Tensor:
    """Minus the squared distances of `n x 2` designs to (1, 1), an `n`-dim tensor."""
    return -(x - 1).square().sum(1)


def one_step(x: Tensor) -> tuple[Tensor, Tensor]:
    """See `Offline.steps`."""
    return x[:, None, :1], x[:, None, 1:]


class SequenceProbe(Task):
    """How many tokens of a sequence are the first of the alphabet; natural ones are uniform.

    The untrained denoiser sees no tokens, so its samples are uniform: E[score] = 3/4 (5/4 + 1/3) - 1/4.
    """

    domain = Sequences(6, "ACGT")
    noise_std = 0.1
    y_prior = 0.9375
    best_known = 6.0
    infeasible_score = -1.0

    def best_design(self) -> Tensor:
        """See `Task.best_design`."""
        return torch.zeros(6, dtype=torch.long)

    def prior(self) -> DiffusionPrior:
        """See `Task.prior`."""
        with seeded(generator(0, "probe")):
            denoiser = Convolution(6, 4, width=16, depth=1, kernel=3)
        schedule = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
        distillation = {"steps": 5, "passes": 2, "trajectories": 64}
        return DiffusionPrior(denoiser, OneHot(self.domain), schedule, {"steps": 5}, distillation)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`; −inf for a sequence that ends with the last token of the alphabet."""
        return (x == 0).double().sum(1).where(x[:, -1] < 3, -torch.inf)

    def valid(self, x: Tensor) -> Tensor:
        """Whether a sequence does not end with the last token."""
        return x[:, -1] < 3

    def features(self, x: Tensor) -> Tensor:
        """One-hot vectors."""
        return nn.functional.one_hot(x, 4).flatten(1).double()

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self.domain.sample(64, generator(0, "reference")).clamp(max=2)

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the letters."""
        axes.text(0.5, 0.5, self.domain.text(x[None])[0])


class MoleculeProbe(SequenceProbe):
    """The same with tokens of SELFIES: how many atoms are carbon."""

    domain = Sequences(6, ("[C]", "[N]", "[O]", "[nop]"))


class PromptedProbe(Task):
    """Minus the squared distance to where a design's prompt asks for; natural designs are Gaussian for all of them.

    Two prompts are asked for, with different best scores, and a third is held out. As for the `Probe`, an untrained
    network is the exact denoiser, and its steps leave half of the variance: E[score] = -(3 + 3)/2 + 10/2.
    """

    domain = Captioned(Probe.domain, ["one", "minus one", "nought"], asked=2)
    noise_std = 0.1
    y_prior = 2.0
    best_known = 10.0
    infeasible_score = -50.0

    def best_design(self) -> Tensor:
        """See `Task.best_design`."""
        return torch.tensor([-1.0, -1.0, 1.0])

    def prior(self) -> DiffusionPrior:
        """See `Task.prior`."""
        with seeded(generator(0, "probe")):
            denoiser = MLP(3, width=16, depth=1)
        codec = Prompted(
            Standardize(Probe.domain), torch.tensor([-1.0, 1.0, 0.0]), torch.arange(len(self.domain.asked))
        )
        schedule = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
        distillation = {"steps": 5, "passes": 2, "trajectories": 64}
        return DiffusionPrior(denoiser, codec, schedule, {"steps": 5}, distillation)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        number = self.domain.prompt(x)
        wanted, ease = x.new_tensor([1.0, -1.0, 0.0])[number], x.new_tensor([0.0, 10.0, 5.0])[number]
        return ease - (x[:, :-1] - wanted[:, None]).square().sum(1)

    def valid(self, x: Tensor) -> Tensor:
        """Whether a design lies within four standard deviations of the prior."""
        return x[:, :-1].square().sum(1) < 16

    def features(self, x: Tensor) -> Tensor:
        """The designs without their prompts."""
        return x[:, :-1]

    def reference(self) -> Tensor:
        """See `Task.reference`: 32 for every prompt."""
        x = torch.randn(96, 2, generator=generator(0, "reference")).clamp(-2.5, 2.5)
        return self.domain.captioned(x, torch.arange(96) % 3)

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: a point."""
        axes.plot(*x[:2].tolist(), "o")


class Killed(BaseException):
    """Stands for a process that was killed."""


class Fragile(Record):
    """A record whose process is killed as soon as one round is committed."""

    def commit(self, entry: Round, state: State, provenance: Mapping[str, Any], *, last: bool) -> None:
        """See `Record.commit`.

        Raises:
            Killed: Always, after the commit.
        """
        super().commit(entry, state, provenance, last=last)
        raise Killed


def made(kind: Kind, name: str, overrides: Mapping[str, Any] | None = None) -> Any:
    """A plugin's task, or what builds its optimizer, with its `quick` settings, after they have been checked.

    Raises:
        PluginError: If there is no such plugin, it cannot be imported, or its constructor does not take the settings.
    """
    choice = find(kind, name)
    merged = OmegaConf.merge(choice.settings, choice.quick, dict(overrides or {}))
    settings = cast(dict[str, Any], OmegaConf.to_container(merged))
    check(choice, settings)
    return instantiate(settings, _convert_="all", _partial_=kind == "optimizer")


def representatives(kind: Kind) -> list[str]:
    """Names of all choices, of those that differ in numbers other than 0 only the shortest: they run the same code."""

    def shape(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: shape(value) for key, value in node.items()}
        return "number" if type(node) in (int, float) and node else node

    shapes: dict[str, str] = {}
    for name, choice in sorted(choices(kind).items(), key=lambda item: (len(item[0]), item[0])):
        shapes.setdefault(json.dumps(shape(choice.settings), sort_keys=True), name)
    return sorted(shapes.values())


def problem_of(task: Task, rounds: Sequence[int]) -> Problem:
    """What an optimizer of this task may know, as the loop makes it."""
    return task.problem(tuple(rounds), torch.device("cpu"))


def play(
    folder: Path,
    build: Build,
    task: Task,
    rounds: Sequence[int],
    *,
    seed: int = 0,
    evaluation: int = 8,
    validation: int = 0,
    record: type[Record] = Record,
    config: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Run in `folder`, or go on with what is there, on one thread; `config` is recorded, else rounds and seed.

    Returns:
        The content of its `FILES`.
    """
    budget = Budget(tuple(rounds), evaluation, validation)
    config = config or {"rounds": list(rounds), "seed": seed}
    with limited_threads(1), record(folder, config) as opened:
        if not opened.complete:
            run(task, build, budget=budget, seed=seed, device=torch.device("cpu"), record=opened)
    return contents(folder)


def suited(build: Build, rounds: Sequence[int]) -> Task:
    """The first of the probes that an optimizer can work on: vectors, sequences, or molecules."""
    for probe in (Probe(), SequenceProbe()):
        with suppress(UnsuitableError):
            build(problem_of(probe, rounds), generator(0, "build"))
            return probe
    return MoleculeProbe()


def play_plugin(folder: Path, name: str, overrides: Mapping[str, Any], rounds: Sequence[int]) -> None:
    """Run the optimizer plugin `name` on the probe that suits it; for processes that import nothing else."""
    build = made("optimizer", name, overrides)
    play(folder, build, suited(build, rounds), rounds)


def contents(folder: Path) -> dict[str, bytes]:
    """The content of a run's `FILES`; without evaluation, no designs are recommended."""
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
