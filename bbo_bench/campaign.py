"""A run whose scores come from elsewhere: designs are asked for now, and their scores told later, in another process.

The rounds are those of `run`, by the same loop. Between `ask` and `tell` nothing is in memory: the folder keeps what
was asked, and `tell` takes the optimizer up from the round before and asks it once more, which gives the same.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from scipy.stats import rankdata
from torch import Tensor

from bbo_bench.core import Task
from bbo_bench.device import limited_threads, resolve
from bbo_bench.loop import Budget, Build, Loop, bar
from bbo_bench.metrics.reward import deviation
from bbo_bench.names import reference
from bbo_bench.oracle import LARGEST, Scores, validity
from bbo_bench.plugins import Kind, UsageError
from bbo_bench.record import Record
from bbo_bench.seeding import single_precision

Missing = Literal["refuse", "infeasible", "left out"]
"""What designs without a score are: a mistake, designs that cannot be made, or designs that nobody tried."""
GAP, UNLIKELY, HALF = 1.0, -2.0, 0.5
"""Where alarms are: predictions above what was measured, in standard deviations of the first round's scores; ELBO z;
share of the real designs' validity or diversity."""


class CampaignError(UsageError):
    """What was asked of a campaign cannot be done; nothing has been changed."""


class Asked(NamedTuple):
    """The designs of a round."""

    round: int
    ids: list[str]
    """A word for each, by which its score is told."""
    x: Tensor
    """`n x shape`."""


class Verdict(NamedTuple):
    """What a round has come to."""

    round: int
    metrics: dict[str, float]
    """The round's row of metrics; NaN where only an oracle would know."""
    calibration: dict[str, float]
    """Of the scores that were predicted before they were measured; empty without a model, and in the first round."""
    alarms: list[str]
    """Signs of over-optimization, a sentence each."""


class Campaign:
    """Rounds of designs to be made and measured by whoever has the black box.

    Args:
        task: Whose designs they are, or its name; its own score is not asked for.
        optimizer: What proposes them: its name, or what builds it from a problem and a generator.
        folder: Where everything is kept; taken up where there is a campaign already.
        rounds: Designs per round.
        evaluation: Designs recommended after every round, of which naturalness and diversity are measured.
        minimize: Whether low scores are good: they are recorded, and metrics are of them, with the other sign.
        seed: Everything random derives from it.
        device: `auto`, `cpu`, `cuda` or `mps`.
        threads: Of a CPU.
        **settings: Of an optimizer that is named.

    Raises:
        UsageError: If a name or a setting is unknown.
        RecordError: On `ask` and `tell`, if the folder holds another campaign, or is in use or damaged.

    >>> campaign = Campaign("tfbind8", "genetic", "campaign", rounds=[4, 4], evaluation=16)  # doctest: +SKIP
    >>> asked = campaign.ask()  # doctest: +SKIP
    >>> verdict = campaign.tell(asked.ids, [0.1, 0.4, 0.2, 0.3])  # doctest: +SKIP
    """

    def __init__(
        self,
        task: Task | str,
        optimizer: Build | str,
        folder: Path | str,
        *,
        rounds: Sequence[int],
        evaluation: int = 256,
        minimize: bool = False,
        seed: int = 0,
        device: str = "auto",
        threads: int = 1,
        **settings: Any,
    ) -> None:
        from bbo_bench.library import builder, load_task

        config = {
            "task": _described("task", task, {}),
            "optimizer": _described("optimizer", optimizer, settings),
            "budget": {"rounds": list(rounds), "evaluation": evaluation, "validation": 0},
            "seed": seed,
            "device": resolve(device).type,
            "threads": threads,
        }
        self._begin(
            load_task(task) if isinstance(task, str) else task,
            builder(optimizer, settings) if isinstance(optimizer, str) else optimizer,
            Path(folder),
            config | ({"minimize": True} if minimize else {}),
        )

    @classmethod
    def of(cls, task: Task, build: Build, folder: Path, config: Mapping[str, Any]) -> Campaign:
        """The campaign that a run's configuration describes."""
        self = cls.__new__(cls)
        self._begin(task, build, folder, config)
        return self

    def _begin(self, task: Task, build: Build, folder: Path, config: Mapping[str, Any]) -> None:
        self.task, self.folder = task, folder
        self._build, self._config = build, {**config, "scores": "told"}
        self.sign = sign_of(config, task)
        budget = config["budget"]
        self._budget = Budget(tuple(budget["rounds"]), budget["evaluation"], 0)

    @property
    def complete(self) -> bool:
        """Whether all rounds have been told."""
        with Record(self.folder, self._config) as record:
            return record.complete

    def ask(self) -> Asked:
        """The designs of the next round: the same ones until they have been told.

        Raises:
            CampaignError: If all rounds have been told.
        """
        with self._loop() as (record, _, loop):
            x = self._asked(record, loop)
        return Asked(loop.round, ids(loop.round, len(x)), x)

    def tell(self, names: Sequence[str], scores: Sequence[float], missing: Missing = "refuse") -> Verdict:
        """Take the scores of the designs that were asked for, in any order, and commit the round.

        A design with several scores has their mean. One that cannot be made counts as the worst that was measured.

        Args:
            names: Ids of designs.
            scores: Their scores; −inf for one that cannot be made, NaN for none.
            missing: What designs without a score are.

        Raises:
            CampaignError: If nothing was asked, an id is unknown, or a design has no score.
        """
        with self._loop() as (record, told, loop):
            if record.kept() is None:
                raise CampaignError(f"{self.folder} has no designs that wait for scores; ask first")
            x = self._asked(record, loop)
            true = matched(names, scores, ids(loop.round, len(x)), missing, self.sign)
            rows = (~true.isnan()).nonzero()[:, 0]
            x, true = x[rows], true[rows]
            before = record.column("ledger.csv", "observed")
            measured = torch.cat([torch.tensor(before, dtype=torch.double), true[true.isfinite()]])
            if not len(measured):
                raise CampaignError(
                    "no design has a score yet: there is nothing to learn from; measure one at least, or begin a "
                    "campaign of another seed= in another folder"
                )
            told.infeasible_score = float(measured.min())
            observed = true.clamp_min(told.infeasible_score)
            predicted = loop.predicted(x)
            row = loop.tell(Scores(observed, true, validity(self.task, x)), rows)
        first = observed if not before else torch.tensor(before[: record.counts()[0]])
        calibration = {} if predicted is None else calibrated(predicted, observed, deviation(first))
        return Verdict(int(row["round"]), row, calibration, alarms(row, calibration))

    @contextmanager
    def _loop(self) -> Iterator[tuple[Record, Task, Loop]]:
        told, threads = unscored(self.task), limited_threads(self._config["threads"])
        with Record(self.folder, self._config) as record, threads, single_precision():
            if record.complete:
                raise CampaignError(f"{self.folder} is complete: all {len(self._budget.rounds)} rounds have been told")
            rounds = (*record.counts(), *self._budget.rounds[record.rounds :])
            budget = Budget(rounds, self._budget.evaluation, 0)
            with bar(record, budget) as shown:
                yield (
                    record,
                    told,
                    Loop(
                        told,
                        self._build,
                        budget=budget,
                        seed=self._config["seed"],
                        device=torch.device(self._config["device"]),
                        record=record,
                        bar=shown,
                    ),
                )

    def _asked(self, record: Record, loop: Loop) -> Tensor:
        """Of the next round, as they were asked for the first time."""
        kept = record.kept()
        x = loop.ask(None if kept is None else torch.as_tensor(kept)).cpu()
        if kept is None:
            record.keep(x.numpy())
        return x


def unscored(task: Task) -> Task:
    """The same task, but that it is never asked for a score, and that nothing is known of scores."""
    told = copy.copy(task)
    told.scored = False
    told.noise_std, told.y_prior, told.best_known, told.infeasible_score = 0.0, math.nan, math.nan, math.nan
    return told


def sign_of(config: Mapping[str, Any], task: Task) -> int:
    """−1 where low scores are good, to the run's configuration or to a task of one's own; else 1."""
    return -1 if config.get("minimize") or getattr(task, "sign", 1) < 0 else 1


def ids(round: int, n: int) -> list[str]:
    """Words for the `n` designs of a round."""
    return [f"r{round}-{i:0{len(str(n - 1))}}" for i in range(n)]


def matched(names: Sequence[str], scores: Sequence[float], asked: Sequence[str], missing: Missing, sign: int) -> Tensor:
    """The scores in the order that was asked, an `n`-dim double tensor; NaN for what is left out.

    Raises:
        CampaignError: If an id is unknown, a score is no number, or a design has none and that is refused.
    """
    if len(names) != len(scores):
        raise CampaignError(f"expected a score for every id, got {len(names)} ids and {len(scores)} scores")
    found: dict[str, list[float]] = {name: [] for name in asked}
    if unknown := [name for name in names if name not in found]:
        raise CampaignError(f"{some(unknown)}: no design of this round, whose ids are {asked[0]} to {asked[-1]}")
    for name, score in zip(names, scores, strict=True):
        if abs(score) > LARGEST and score != -math.inf:
            raise CampaignError(f"the score of {name} must be a number of at most {LARGEST} in size, got {score}")
        if not math.isnan(score):
            found[name].append(score if score == -math.inf else sign * score)
    if mixed := [name for name, values in found.items() if -math.inf in values and max(values) > -math.inf]:
        raise CampaignError(f"{some(mixed)}: told as made and as impossible to make; say which")
    absent = [name for name, values in found.items() if not values]
    if absent and missing == "refuse":
        raise CampaignError(
            f"{some(absent)} of {len(asked)} designs without a score; "
            "say what they are: --missing infeasible (they cannot be made), or --missing left-out (nobody tried)"
        )
    if len(absent) == len(asked) and missing == "left out":
        raise CampaignError("every design of the round is left out; give the score of one at least")
    nothing = -math.inf if missing == "infeasible" else math.nan
    return torch.tensor([sum(each) / len(each) if each else nothing for each in found.values()], dtype=torch.double)


def calibrated(predicted: Tensor, observed: Tensor, scale: float) -> dict[str, float]:
    """How `n` scores that were predicted compare with those measured.

    `gap` is the mean of predictions less scores, `error` the root of their mean square, both over `scale`;
    `rank_correlation` is Spearman's, NaN where all predictions or all scores are the same.
    """
    difference = (predicted.cpu().double() - observed.double()) / max(scale, 1e-12)
    ranks = torch.stack([torch.from_numpy(rankdata(each)) for each in (predicted.cpu(), observed)])
    return {
        "gap": float(difference.mean()),
        "error": float(difference.square().mean().sqrt()),
        "rank_correlation": float(ranks.corrcoef()[0, 1]) if len(observed) > 1 else math.nan,
    }


def alarms(metrics: Mapping[str, float], calibration: Mapping[str, float]) -> list[str]:
    """Signs that a round's designs are over-optimized, a sentence each."""
    found = []
    if calibration.get("gap", 0) > GAP:
        found.append(
            f"The model promised {calibration['gap']:.1f} standard deviations more than was measured: it is exploited."
        )
    if metrics.get("elbo_z", 0) < UNLIKELY:
        found.append(f"Recommended designs are unlikely to the prior: ELBO z is {metrics['elbo_z']:.1f}.")
    for name, what in (("validity", "are valid"), ("pairwise", "is their mean distance from each other")):
        value, real = metrics.get(name, math.nan), metrics.get(reference(name), math.nan)
        if value < HALF * real:
            found.append(f"Of recommended designs {value:.2g} {what}, of real ones {real:.2g}.")
    return found


def _described(kind: Kind, thing: object, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a folder records of a plugin: its name and settings, or only what it is called."""
    from bbo_bench.library import chosen

    return {"name": thing, **chosen(kind, thing, settings)} if isinstance(thing, str) else {"name": _called(thing)}


def _called(thing: object) -> str:
    """A word for a task, or for what builds an optimizer, that another process has too."""
    function = getattr(thing, "func", thing)  # of a partial
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def some(names: Sequence[str]) -> str:
    """The first names of many, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
