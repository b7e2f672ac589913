"""run(): the only loop. Optimizers are asked, the oracle scores, the evaluator judges, the record keeps."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Never

import numpy as np
import torch
from torch import Generator, Tensor
from tqdm import tqdm

from bbo_bench.core import Optimizer, Problem, Task
from bbo_bench.device import precise
from bbo_bench.evaluation import Evaluator
from bbo_bench.fingerprint import fingerprint
from bbo_bench.metrics.distinct import check_size
from bbo_bench.oracle import Oracle, Scores
from bbo_bench.provenance import peak_memory, provenance, reset_peak_memory
from bbo_bench.record import Record, Round
from bbo_bench.seeding import derive, generator, single_precision

Build = Callable[[Problem, Generator], Optimizer]


class OptimizerError(RuntimeError):
    """An optimizer broke its contract; the message names it."""


@dataclass(frozen=True)
class Budget:
    """What a run may spend.

    Attributes:
        rounds: Queries per round.
        evaluation: Designs recommended after every round for its evaluation, free of charge; 0 switches it off.
        validation: How many of the last recommended designs the task's independent method scores.
    """

    rounds: tuple[int, ...]
    evaluation: int = 256
    validation: int = 64

    def __post_init__(self) -> None:
        if not self.rounds or min(self.rounds) < 1:
            raise ValueError(f"budget.rounds must be positive numbers of queries, got {list(self.rounds)}")
        check_size(self.evaluation)
        if self.evaluation < 0 or not 0 <= self.validation <= self.evaluation:
            raise ValueError(
                "a budget needs 0 <= validation <= evaluation, "
                f"got validation={self.validation}, evaluation={self.evaluation}"
            )


@single_precision()
def run(
    task: Task, build: Build, *, budget: Budget, seed: int, device: torch.device, record: Record, position: int = 0
) -> None:
    """Run one optimizer on one task, or what is left of it.

    Args:
        task: The black box.
        build: Makes the optimizer from a problem and a generator.
        budget: Queries per round and sizes of the evaluation.
        seed: Everything random derives from it.
        device: Where prior and optimizer live.
        record: The run's open folder; a committed round is never done again.
        position: Line of the progress bar, for runs side by side.

    Raises:
        OptimizerError: If the optimizer's designs are malformed.
        TaskError: If the task's scores are malformed.
    """
    clock = time.perf_counter()
    reset_peak_memory(device)
    ours = task.problem(budget.rounds, device)
    # what an optimizer does to its copies reaches no evaluation, and no other run of this process
    problem = replace(ours, domain=copy.deepcopy(ours.domain), prior=copy.deepcopy(ours.prior))
    whole = fingerprint(problem)
    optimizer = build(problem, generator(seed, "build", device=device))
    if record.state is not None:
        optimizer.load_state_dict(record.state)
    oracle = Oracle(task, sum(budget.rounds), spent=sum(budget.rounds[: record.rounds]))
    evaluator = Evaluator(task, ours.prior, budget.evaluation, budget.validation, budget.rounds, seed, device)
    loop = _Loop(optimizer, oracle, evaluator, seed, device, clock)
    if record.rounds:
        loop.queried, loop.true = map(torch.as_tensor, record.history())
        loop.tops = record.column("metrics.csv", "distinct_top")
    title = " ".join(record.folder.parts[-3:])
    with tqdm(total=sum(budget.rounds), initial=oracle.spent, desc=title, unit="query", position=position) as bar:
        for i in range(record.rounds, len(budget.rounds)):
            last = i == len(budget.rounds) - 1
            entry = loop.round(i, budget.rounds[i], last, bar)
            check_whole(type(optimizer).__name__, problem, whole, f" in round {i}")
            facts = provenance(device, task) | {
                "peak_mb": max(peak_memory(device), record.provenance.get("peak_mb", 0.0))
            }
            record.commit(entry, optimizer.state_dict(), facts, last=last)


def check_whole(name: str, problem: Problem, whole: list[int], when: str = "") -> None:
    """Raise `OptimizerError` where a problem has no longer the fingerprint that it had."""
    if fingerprint(problem) != whole:
        raise OptimizerError(
            f"{name} has changed its problem in place{when}, most likely its prior's weights, by which others start; "
            "let it train a copy (copy.deepcopy)"
        )


class _Loop:
    """One run's cast; `round` plays one round."""

    def __init__(
        self,
        optimizer: Optimizer,
        oracle: Oracle,
        evaluator: Evaluator,
        seed: int,
        device: torch.device,
        clock: float,
    ) -> None:
        self.optimizer, self.oracle, self.evaluator = optimizer, oracle, evaluator
        self.seed, self.device = seed, device
        self.clock = clock  # since when a round's total counts: the start, or the end of the round before
        self.queried, self.true = torch.empty(0), torch.empty(0)
        self.tops: list[float] = []  # distinct_top of the rounds so far

    def round(self, i: int, n: int, last: bool, bar: tqdm[Never]) -> Round:
        seconds: dict[str, float] = {}
        with _phase("ask", seconds, bar):
            x = self._ask(i, n)
        with _phase("oracle", seconds, bar):
            scores = self.oracle(x, generator(self.seed, "noise", i))
        bar.update(n)
        with _phase("tell", seconds, bar):
            self._reseed("tell", i)
            self.optimizer.tell(x.clone(), scores.observed.to(self.device, precise(self.device), copy=True))
        x = x.cpu()
        self.queried = torch.cat([self.queried, x]) if i else x
        self.true = torch.cat([self.true, scores.true]) if i else scores.true
        metrics: dict[str, float] = {}
        designs = {"queried": x.numpy()}
        with _phase("evaluation", seconds, bar):
            if self.evaluator.size:
                recommended, predicted = self._recommend(i)
                metrics = self.evaluator(i, self.queried, self.true, recommended, predicted, last, self.tops)
                designs["recommended"] = recommended.numpy()
                self.tops.append(metrics["distinct_top"])
        row = {"round": i, "queries": self.oracle.spent, **metrics, **self._diagnostics()}
        now = time.perf_counter()
        seconds["total"], self.clock = now - self.clock, now
        return Round(_ledger(i, scores), row, designs, seconds)

    def _ask(self, i: int, n: int) -> Tensor:
        if i == 0:
            prior = self.evaluator.prior
            return prior.decode(prior.sample(n, generator(self.seed, "first round", device=self.device))).detach()
        self._reseed("ask", i)
        return self._checked(self.optimizer.ask(n), n, "ask")

    def _recommend(self, i: int) -> tuple[Tensor, Tensor | None]:
        self._reseed("recommend", i)
        x = self._checked(self.optimizer.recommend(self.evaluator.size), self.evaluator.size, "recommend")
        return x.cpu(), self._predict(x)

    def _predict(self, x: Tensor) -> Tensor | None:
        y = self.optimizer.predict(x.clone())
        if y is None:
            return None
        if not isinstance(y, Tensor):
            raise OptimizerError(
                f"{type(self.optimizer).__name__}.predict must give a tensor of {len(x)} scores, or None, got "
                f"{type(y).__name__}"
            )
        if y.shape != x.shape[:1] or not y.is_floating_point() or not y.isfinite().all():
            got = f"{y.dtype} of shape {tuple(y.shape)}, {int(y.isfinite().sum())} of them finite"
            raise OptimizerError(f"{type(self.optimizer).__name__}.predict must give {len(x)} finite scores, got {got}")
        return y.detach().cpu()

    def _checked(self, x: Tensor, n: int, call: str) -> Tensor:
        try:
            if isinstance(x, Tensor) and x.device.type != self.device.type:
                raise ValueError(f"designs must be on {self.device.type}, got some on {x.device.type}")
            if len(self.optimizer.problem.domain.check(x)) != n:
                raise ValueError(f"{n} designs were asked for, got {len(x)}")
        except ValueError as error:
            raise OptimizerError(f"{type(self.optimizer).__name__}.{call}: {error}") from error
        return x.detach().clone(memory_format=torch.contiguous_format)

    def _reseed(self, call: str, i: int) -> None:
        self.optimizer.rng.manual_seed(derive(self.seed, call, i))

    def _diagnostics(self) -> dict[str, float]:
        name, row = f"{type(self.optimizer).__name__}.diagnostics", {}
        found = self.optimizer.diagnostics()
        if not isinstance(found, Mapping):
            raise OptimizerError(f"{name} must map words to numbers, got {type(found).__name__}")
        for key, value in found.items():
            try:
                row[f"diagnostics.{key}"] = float(value)
                if not re.fullmatch(r"[\w.:/-]+", str(key)):
                    raise ValueError("a key is a word, without spaces, commas or quotes")
            except (TypeError, ValueError, RuntimeError) as error:
                raise OptimizerError(f"{name} must map words to numbers, got {key!r}: {error}") from error
        return row


@contextmanager
def _phase(name: str, seconds: dict[str, float], bar: tqdm[Never]) -> Iterator[None]:
    bar.set_postfix_str(name)
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start


def _ledger(i: int, scores: Scores) -> list[dict[str, float]]:
    columns = (np.asarray(column).tolist() for column in scores)
    return [
        {"round": i, "index": index, "observed": observed, "true": true, "valid": int(valid)}
        for index, (observed, true, valid) in enumerate(zip(*columns, strict=True))
    ]
