"""OptimizerSuite: what every optimizer must keep to."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
from torch import Generator, Tensor

from bbo_bench.core import Optimizer, Problem, Task
from bbo_bench.evaluation import Evaluator
from bbo_bench.loop import Build
from bbo_bench.oracle import Oracle, Scores, finite
from bbo_bench.record import Record
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import (
    Fragile,
    Killed,
    contents,
    made,
    play,
    problem_of,
    suited,
)
from bbo_bench.testing.references import reachable
from bbo_bench.testing.states import assert_same_files, designs, global_states, same, saved_and_loaded, seeded_anew

SMALL_ROUNDS = ((1, 1, 1), (8, 1, 1))
"""Queries per round of the smallest budgets."""

SECRETS = (Task, Oracle, Scores, Evaluator, Record)


class Whole(NamedTuple):
    """A run that nothing has disturbed."""

    files: dict[str, bytes]
    optimizer: Optimizer
    undisturbed: bool
    """Whether the global random states are as they were before."""


class Told(NamedTuple):
    """An optimizer after round 0, and what it was told."""

    problem: Problem
    optimizer: Optimizer
    x: Tensor
    y: Tensor


class OptimizerSuite:
    """Conformance of an optimizer; subclass it as `class TestMine(OptimizerSuite)`.

    Attributes:
        name: The plugin.
        overrides: Settings that differ from its YAML, beside those under `quick` there.
        task: A task for an optimizer that none of the probes suits, a box with a diffusion prior, sequences, molecules.
        rounds: Queries per round of the runs that are compared.
    """

    name: str
    overrides: ClassVar[Mapping[str, Any]] = {}
    task: ClassVar[str | None] = None
    rounds: ClassVar[tuple[int, ...]] = (16, 16, 16)

    @classmethod
    def build(cls) -> Build:
        """What makes the optimizer."""
        build: Build = made("optimizer", cls.name, cls.overrides)
        return build

    @classmethod
    @cache
    def problem_task(cls) -> Task:
        """The task that it is tried on."""
        if cls.task is not None:
            return cast(Task, made("task", cls.task))
        return suited(cls.build(), cls.rounds)

    @classmethod
    @cache
    def whole(cls) -> Whole:
        """A run with evaluation after every round, made once."""
        built: list[Optimizer] = []
        build = cls.build()

        def spied(problem: Problem, rng: Generator) -> Optimizer:
            built.append(build(problem, rng))
            return built[0]

        before = global_states()
        with TemporaryDirectory() as folder:
            files = play(Path(folder), spied, cls.problem_task(), cls.rounds)
        return Whole(files, built[0], global_states() == before)

    @classmethod
    @cache
    def told(cls) -> Told:
        """The optimizer after one round, made once."""
        task = cls.problem_task()
        problem = problem_of(task, cls.rounds)
        optimizer = cls.build()(problem, generator(0, "build"))
        x = problem.prior.decode(problem.prior.sample(cls.rounds[0], generator(0, "first round")))
        y = finite(task, task.evaluate(x).double())
        optimizer.rng.manual_seed(0)
        optimizer.tell(x.clone(), y.clone())
        return Told(problem, optimizer, x, y)

    @classmethod
    def played(cls, folder: Path, **changes: Any) -> dict[str, bytes]:
        """The files of one more run."""
        return play(folder, cls.build(), cls.problem_task(), cls.rounds, **changes)

    def test_asks_for_designs(self) -> None:
        """`ask` and `recommend` give as many designs of the domain as they are asked for."""
        problem, optimizer, *_ = self.told()
        for call in (optimizer.ask, optimizer.recommend):
            for n in (1, 5, self.rounds[0]):
                x = problem.domain.check(call(n))
                assert len(x) == n, f"{call.__name__}({n}) must give {n} designs, got {len(x)}"

    def test_recommends_as_many_as_asked(self) -> None:
        """An evaluation asks for as many as its budget says, which may be an odd number and beyond all queries."""
        problem, optimizer, *_ = self.told()
        n = 16 * len(self.told().x) + 1
        got = len(problem.domain.check(optimizer.recommend(n)))
        assert got == n, f"recommend({n}) must give {n} designs, got {got}; ask for more where fewer are known"

    def test_recommends_distinct_designs(self) -> None:
        """Of a continuous domain, as many distinct designs are recommended as have been queried."""
        x = self.told().optimizer.recommend(self.rounds[0] // 2)
        distinct = len(torch.unique(x, dim=0))
        assert distinct == len(x) or not x.is_floating_point(), f"{len(x)} designs recommended, {distinct} distinct"

    def test_leaves_what_it_is_told(self) -> None:
        """`tell` and `predict` do not change the tensors that they get."""
        _, optimizer, x, y = self.told()
        other, (told_x, told_y) = self.rebuilt(), (x.clone(), y.clone())
        other.tell(told_x, told_y)
        optimizer.predict(told_x)
        assert torch.equal(told_x, x) and torch.equal(told_y, y), "clone what you are told before you change it"

    def test_predictions(self) -> None:
        """`predict` gives a finite score per design, or None."""
        _, optimizer, x, _ = self.told()
        y = optimizer.predict(x)
        assert y is None or y.shape == x.shape[:1], f"predict must give {len(x)} scores, got {tuple(y.shape)}"
        assert y is None or y.isfinite().all(), "predicted scores must be finite"

    def test_diagnostics_are_numbers(self) -> None:
        """`diagnostics` maps strings to floats."""
        numbers = self.told().optimizer.diagnostics()
        wrong = {key: value for key, value in numbers.items() if not isinstance(value, float)}
        assert not wrong, f"diagnostics must be floats, got {wrong}"

    def test_state_round_trips(self) -> None:
        """A new optimizer with the saved state has that state, and asks, recommends and predicts the same."""
        _, optimizer, x, _ = self.told()
        other = self.rebuilt()
        other.load_state_dict(saved_and_loaded(optimizer.state_dict()))
        assert same(other.state_dict(), optimizer.state_dict()), "load_state_dict must restore all of state_dict"
        for call in ("ask", "recommend"):
            outcome = [getattr(each, call)(8) for each in (seeded_anew(optimizer), seeded_anew(other))]
            assert torch.equal(*outcome), f"{call} depends on something that state_dict does not hold"
        assert same(other.predict(x), optimizer.predict(x)), "predict depends on what state_dict does not hold"
        assert same(other.diagnostics(), optimizer.diagnostics()), "diagnostics must be restored with the state"

    def test_one_seed_one_outcome(self, tmp_path: Path) -> None:
        """One seed gives the same bytes, whatever the global random states are."""
        states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        try:
            assert_same_files(self.played(tmp_path), self.whole().files)
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.random.set_rng_state(states[2])

    def test_another_seed_another_outcome(self, tmp_path: Path) -> None:
        """Another seed asks for other designs in every round."""
        self.played(tmp_path, seed=1)
        other, whole = (designs(files) for files in (contents(tmp_path), self.whole().files))
        for key, x in whole.items():
            assert not np.array_equal(other[key], x), f"{key} does not depend on the seed: draw from rng"

    def test_resumes_byte_for_byte(self, tmp_path: Path) -> None:
        """A run that is killed after every round, and taken up from its folder, gives the same bytes."""
        for _ in self.rounds:
            with suppress(Killed):
                self.played(tmp_path, record=Fragile)
        assert_same_files(contents(tmp_path), self.whole().files)

    def test_evaluation_changes_nothing(self, tmp_path: Path) -> None:
        """Without evaluation the same designs are queried."""
        files = self.played(tmp_path, evaluation=0)
        assert files["ledger.csv"] == self.whole().files["ledger.csv"], (
            "the queries depend on whether recommend and predict are called; they must change nothing"
        )

    def test_keeps_to_the_budget(self) -> None:
        """Every round queries what the budget says."""
        rounds = queries(self.whole().files)
        assert rounds == self.rounds, f"expected {self.rounds} queries per round, got {rounds}"

    def test_plays_small_rounds(self, tmp_path: Path) -> None:
        """Rounds of one query are played to the end, or refused by the constructor with a ValueError."""
        for rounds in SMALL_ROUNDS:
            with suppress(ValueError):
                self.build()(problem_of(self.problem_task(), rounds), generator(0, "build"))
                folder = tmp_path / "-".join(map(str, rounds))
                files = play(folder, self.build(), self.problem_task(), rounds)
                assert queries(files) == rounds, f"expected {rounds} queries per round, got {queries(files)}"

    def test_bears_large_scores(self) -> None:
        """After scores of 1e38, one of them far from the others, it asks for designs and predicts finite scores."""
        problem, _, x, y = self.told()
        large = torch.cat([y[:1] * 1e38, y[1:] * 1e30])
        optimizer = self.rebuilt()
        try:
            optimizer.tell(x.clone(), large)
        except ValueError as error:
            assert "scores" in str(error), f"a refusal must say that it is the scores' size, got: {error}"
            return
        for call in (optimizer.ask, optimizer.recommend):
            problem.domain.check(call(self.rounds[0]))
        predicted = optimizer.predict(x)
        assert predicted is None or predicted.isfinite().all(), "predicted scores must be finite"

    def test_leaves_global_random_states(self) -> None:
        """A run draws from its own generator; `bbo_bench.seeding.seeded` lends it to libraries that insist."""
        assert self.whole().undisturbed, "a global random state has changed: draw from self.rng, or use seeded(rng)"

    def test_holds_no_way_to_the_scores(self) -> None:
        """No reference leads from the optimizer to task, oracle, evaluator or record."""
        leaks = [path for path, each in reachable(self.whole().optimizer) if isinstance(each, SECRETS)]
        assert not leaks, f"the scores can be reached: {leaks[0]}"

    @classmethod
    def rebuilt(cls) -> Optimizer:
        """A new optimizer, from another generator."""
        return cls.build()(cls.told().problem, generator(1, "build"))


def queries(files: Mapping[str, bytes]) -> tuple[int, ...]:
    """Queries per round, by a run's ledger."""
    rounds = Counter(int(row.split(",")[0]) for row in files["ledger.csv"].decode().splitlines()[1:])
    return tuple(rounds[i] for i in sorted(rounds))
