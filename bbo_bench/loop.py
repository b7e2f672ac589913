"""run(): the only loop. Optimizers are asked, the oracle scores, the evaluator judges, the record keeps."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Never

import numpy as np
import torch
from torch import Generator, Tensor
from tqdm import tqdm

from bbo_bench.control.evaluation import ControlEvaluator
from bbo_bench.control.planning import Plans
from bbo_bench.core import Optimizer, Problem, Task, Transitions
from bbo_bench.device import precise
from bbo_bench.domains import Captioned
from bbo_bench.evaluation import Evaluator
from bbo_bench.fingerprint import fingerprint
from bbo_bench.loggers import Logger
from bbo_bench.metrics.distinct import check_size
from bbo_bench.metrics.naturalness import distances
from bbo_bench.oracle import Oracle, Scores
from bbo_bench.progress import shown
from bbo_bench.prompts import PromptedEvaluator
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
        rounds: Queries per round; all 0 for passes over a data set alone.
        evaluation: Designs recommended after every round for its evaluation, free of charge; 0 switches it off.
        validation: How many of the last recommended designs the task's independent method scores.
    """

    rounds: tuple[int, ...]
    evaluation: int = 256
    validation: int = 64

    def __post_init__(self) -> None:
        if not self.rounds or (min(self.rounds) < 1 and (any(self.rounds) or min(self.rounds) < 0)):
            raise ValueError(
                f"budget.rounds must be positive numbers of queries, got {list(self.rounds)}; all 0 are passes over a "
                "data set alone"
            )
        check_size(self.evaluation)
        if self.evaluation < 0 or not 0 <= self.validation <= self.evaluation:
            raise ValueError(
                "a budget needs 0 <= validation <= evaluation, "
                f"got validation={self.validation}, evaluation={self.evaluation}"
            )


@single_precision()
def run(
    task: Task,
    build: Build,
    *,
    budget: Budget,
    seed: int,
    device: torch.device,
    record: Record,
    position: int = 0,
    loggers: Sequence[Logger] = (),
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
        loggers: Are told of every round when it is committed.

    Raises:
        OptimizerError: If the optimizer's designs are malformed.
        TaskError: If the task's scores are malformed.
    """
    with bar(record, budget, position) as drawn:
        loop = Loop(task, build, budget=budget, seed=seed, device=device, record=record, bar=drawn)
        oracle = Oracle(task, sum(budget.rounds), spent=sum(budget.rounds[: record.rounds]))
        while loop.round < len(budget.rounds):
            x = loop.ask()
            row = loop.tell(oracle(x, generator(seed, "noise", loop.round)))
            for logger in loggers:
                logger.round(row)


def bar(record: Record, budget: Budget, position: int = 0) -> tqdm[Never]:
    """The progress bar of a run."""
    title = " ".join(record.folder.parts[-3:])
    if not any(budget.rounds):
        return tqdm(total=len(budget.rounds), initial=record.rounds, desc=title, unit="pass", position=position)
    done = sum(budget.rounds[: record.rounds])
    return tqdm(total=sum(budget.rounds), initial=done, desc=title, unit="query", position=position)


def check_whole(name: str, problem: Problem, whole: list[int], when: str = "") -> None:
    """Raise `OptimizerError` where a problem has no longer the fingerprint that it had."""
    if fingerprint(problem) != whole:
        raise OptimizerError(
            f"{name} has changed its problem in place{when}, most likely its prior's weights, by which others start; "
            "let it train a copy (copy.deepcopy)"
        )


class Loop:
    """The rounds of one run: `ask` proposes the designs of the next, `tell` takes their scores and commits it.

    Args:
        task: The black box, which is not asked for the scores of queries here.
        build: Makes the optimizer from a problem and a generator.
        budget: Queries per round, as they were in those that are committed, and sizes of the evaluation.
        seed: Everything random derives from it.
        device: Where prior and optimizer live.
        record: The run's open folder.
        bar: Shows the phases.

    Attributes:
        optimizer: As the committed rounds have left it.
    """

    def __init__(
        self,
        task: Task,
        build: Build,
        *,
        budget: Budget,
        seed: int,
        device: torch.device,
        record: Record,
        bar: tqdm[Never],
    ) -> None:
        self._clock = time.perf_counter()  # since when a round's total counts: the start, or the end of the one before
        reset_peak_memory(device)
        ours = task.problem(budget.rounds, device)
        # what an optimizer does to its copies reaches no evaluation, and no other run of this process
        self._problem = replace(ours, domain=copy.deepcopy(ours.domain), prior=copy.deepcopy(ours.prior))
        self._whole = fingerprint(self._problem)
        self.optimizer = build(self._problem, generator(seed, "build", device=device))
        if record.state is not None:
            self.optimizer.load_state_dict(record.state)
        self._control = task.control()
        judge: type[PromptedEvaluator | Evaluator] = ControlEvaluator if self._control else Evaluator
        if isinstance(task.domain, Captioned):
            judge = PromptedEvaluator
        self._evaluator = judge(task, ours.prior, budget.evaluation, budget.validation, budget.rounds, seed, device)
        self._task, self._budget, self._seed, self._device = task, budget, seed, device
        self._record, self._bar = record, bar
        self._seconds: dict[str, float] = {}
        self._queried, self._true = torch.empty(0), torch.empty(0)
        self._tops: list[float] = []  # distinct_top of the rounds so far
        if record.rounds:
            self._queried, self._true = map(torch.as_tensor, record.history())
            self._tops = record.column("metrics.csv", "distinct_top")

    @property
    def round(self) -> int:
        """Index of the round that comes next."""
        return self._record.rounds

    def ask(self, before: Tensor | None = None) -> Tensor:
        """The designs of the next round, `n x shape` on the optimizer's device: the same whenever they are asked for.

        Args:
            before: As they were asked for before. These count, where another machine would give others.

        Raises:
            OptimizerError: If they are malformed.
        """
        i = self.round
        self._seconds = {}
        with _phase("ask", self._seconds, self._bar):
            x = self._ask(i, self._budget.rounds[i])
            self._asked = x if before is None else before.to(x.device)
        self._bar.set_postfix_str("oracle")
        self._since = time.perf_counter()
        return self._asked

    def tell(self, scores: Scores, rows: Tensor | None = None) -> dict[str, float]:
        """Take the scores of what was asked, let the optimizer learn, judge it, and commit the round.

        Args:
            scores: Of the designs, or of the `rows` of them.
            rows: Numbers of the designs that have scores; the others count as not asked. None for all.

        Returns:
            The round's row of metrics.

        Raises:
            OptimizerError: If what the optimizer recommends or says of itself is malformed.
        """
        i, n, seconds = self.round, len(scores.true), self._seconds
        seconds["oracle"] = time.perf_counter() - self._since
        self._bar.update(n if any(self._budget.rounds) else 1)
        x = self._asked if rows is None else self._asked[rows.to(self._device)]
        self._evaluator.budget = (*self._budget.rounds[:i], n)
        with _phase("tell", seconds, self._bar):
            self._reseed("tell", i)
            if n and (seen := self._task.executed(x.cpu().clone())) is not None:
                self.optimizer.observe(Transitions(*(each.to(self._device) for each in seen)))
            self.optimizer.tell(x.clone(), scores.observed.to(self._device, precise(self._device), copy=True))
        x = x.cpu()
        self._queried = torch.cat([self._queried, x]) if i else x
        self._true = torch.cat([self._true, scores.true]) if i else scores.true
        last = i == len(self._budget.rounds) - 1
        metrics: dict[str, float] = {}
        designs = {"queried": x.numpy()}
        with _phase("evaluation", seconds, self._bar):
            if self._evaluator.size:
                recommended, predicted = self._recommend(i)
                made = (i, self._queried, self._true, recommended, predicted, last, self._tops)
                designs["recommended"] = recommended.numpy()
                if isinstance(self._evaluator, PromptedEvaluator) and self._evaluator.held_out:
                    held_out = self._of_held_out(i, self._evaluator.held_out)
                    metrics = self._evaluator(*made, held_out)
                    designs["held_out"] = held_out.numpy()
                elif isinstance(self._evaluator, ControlEvaluator):
                    self._reseed("plan", i)
                    metrics = self._evaluator(*made, self._plans)
                else:
                    metrics = self._evaluator(*made)
                self._tops.append(metrics["distinct_top"])
        row = {"round": i, "queries": len(self._queried), **metrics, **self._diagnostics()}
        now = time.perf_counter()
        seconds["total"], self._clock = now - self._clock, now
        check_whole(type(self.optimizer).__name__, self._problem, self._whole, f" in round {i}")
        before = self._record.provenance.get("peak_mb", 0.0)
        facts = provenance(self._device, self._task) | {"peak_mb": max(peak_memory(self._device), before)}
        self._record.commit(
            Round(_ledger(i, scores), row, designs, seconds), self.optimizer.state_dict(), facts, last=last
        )
        return row

    def predicted(self, x: Tensor) -> Tensor | None:
        """What the optimizer predicts of `n x shape` designs, `n` scores; None without a model, or before any score.

        Raises:
            OptimizerError: If they are malformed.
        """
        return self._predict(x.to(self._device)) if self.round else None

    def _ask(self, i: int, n: int) -> Tensor:
        if not n:
            return self._problem.domain.sample(0, self.optimizer.rng)
        if i == 0:
            prior = self._evaluator.prior
            return prior.decode(prior.sample(n, generator(self._seed, "first round", device=self._device))).detach()
        self._reseed("ask", i)
        return self._checked(self.optimizer.ask(n), n, "ask")

    def _recommend(self, i: int) -> tuple[Tensor, Tensor | None]:
        self._reseed("recommend", i)
        with self._from_real_starts():
            x = self._checked(self.optimizer.recommend(self._evaluator.size), self._evaluator.size, "recommend")
        return x.cpu(), self._predict(x)

    def _from_real_starts(self) -> AbstractContextManager[None]:
        """Plans are made from where held-out ones begin, the same for all methods, in the meantime."""
        if self._control is None:
            return nullcontext()
        return self.optimizer.drawing(self._task.reference()[: self._evaluator.size].to(self._device))

    def _of_held_out(self, i: int, n: int) -> Tensor:
        """`n` designs for the prompts that are never asked for."""
        domain = self._problem.domain
        assert isinstance(domain, Captioned)
        self._reseed("held out", i)
        with self.optimizer.drawing(torch.as_tensor(domain.held_out, device=self._device)):
            return self._checked(self.optimizer.recommend(n), n, "recommend", domain.held_out).cpu()

    def _plans(self, observation: Tensor, n: int) -> Plans:
        """`n` plans of the optimizer's from each of some observations."""
        control, offline = self._control, self._problem.offline
        assert control is not None and offline is not None
        started = control.started(observation).to(self._device)
        with self.optimizer.drawing(started):
            x = self._checked(self.optimizer.recommend(len(started) * n), len(started) * n, "recommend")
        whose = distances(x[:, offline.given], started[:, offline.given]).argmin(1)
        if ((count := torch.bincount(whose, minlength=len(started))) != n).any():
            raise OptimizerError(
                f"{type(self.optimizer).__name__}.recommend must give as many plans from every start that the prior "
                f"draws, {n} of {len(started)}, got {count.tolist()}"
            )
        x = x[whose.argsort(stable=True)]
        values = self._predict(x)
        designs = x.cpu().reshape(len(started), n, *x.shape[1:])
        return Plans(designs, None if values is None else values.reshape(len(started), n))

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

    def _checked(self, x: Tensor, n: int, call: str, prompts: range | None = None) -> Tensor:
        domain = self._problem.domain
        try:
            if isinstance(x, Tensor) and x.device.type != self._device.type:
                raise ValueError(f"designs must be on {self._device.type}, got some on {x.device.type}")
            if len(self.optimizer.problem.domain.check(x)) != n:
                raise ValueError(f"{n} designs were asked for, got {len(x)}")
            if isinstance(domain, Captioned):
                domain.check_balanced(x, prompts or domain.asked)
        except ValueError as error:
            raise OptimizerError(f"{type(self.optimizer).__name__}.{call}: {error}") from error
        return x.detach().clone(memory_format=torch.contiguous_format)

    def _reseed(self, call: str, i: int) -> None:
        self.optimizer.rng.manual_seed(derive(self._seed, call, i))

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
    start = time.perf_counter()
    with shown(bar.set_postfix_str, name):
        yield
    seconds[name] = time.perf_counter() - start


def _ledger(i: int, scores: Scores) -> list[dict[str, float]]:
    columns = (np.asarray(column).tolist() for column in scores)
    return [
        {"round": i, "index": index, "observed": observed, "true": true, "valid": int(valid)}
        for index, (observed, true, valid) in enumerate(zip(*columns, strict=True))
    ]
