"""The evaluator: what a round has come to, by true scores and against real designs. No optimizer sees any of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from bbo_bench.core import Prior, Task
from bbo_bench.metrics import distinct, diversity, naturalness, reward
from bbo_bench.names import HITS, KEYS, METRICS, SETTINGS, reference
from bbo_bench.oracle import TaskError, answer, asked, finite, true_scores, validity
from bbo_bench.seeding import generator

NAN = float("nan")
"""Not available: the optimizer, prior or task has no such thing, or it is not measured in this round."""

TAKEN = {*KEYS, *SETTINGS, *METRICS, *HITS}
"""Columns that no metric of a task's own can be."""


@runtime_checkable
class Likelihood(Protocol):
    """A prior that can say how likely a latent is."""

    def elbo(self, z: Tensor) -> Tensor:
        """Lower bounds on the log-likelihoods, in nats, of `n x latent_shape` latents, an `n`-dim tensor."""


def own_metrics(task: Task, x: Tensor) -> dict[str, float]:
    """The task's own metrics of `n x shape` designs.

    Raises:
        TaskError: If the task raises, or one is no number, has no word for a name, or that of something that a run
            records.
    """
    name, told = f"{type(task).__name__}.metrics", answer(task, "metrics", x)
    try:
        found = {key: float(value) for key, value in told.items()}
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise TaskError(f"{name} must give numbers by name, got {told!r}") from error
    for key in found:
        if key in TAKEN or key.endswith(reference("")) or not re.fullmatch(r"[^\W\d]\w*", key):
            raise TaskError(
                f"{name} calls one {key!r}; choose a word that no run records otherwise and "
                "that does not end in _reference"
            )
    return found


@dataclass(frozen=True)
class _Reference:
    """The real designs, measured once.

    Attributes:
        features: Of all of them.
        subset: Features of no more than m of them: sets compare only where they have one size.
        spacing: Distance from which on two designs are distinct.
        bandwidth: Of the Vendi score's kernel.
        frechet: Distance to them of m samples of the prior.
        elbo: Of all of them; None where the prior has none.
        row: Their part of every row of metrics.
    """

    features: Tensor
    subset: Tensor
    spacing: float
    bandwidth: float
    frechet: float
    elbo: Tensor | None
    row: dict[str, float]


class Evaluator:
    """Judges the designs of one run after every round.

    Args:
        task: The black box; on the host, as all that is measured.
        prior: The task's prior, on `device`.
        evaluation: How many designs m are recommended after a round.
        validation: How many of them the task's independent method scores after the last round.
        budget: Queries per round.
        seed: Of the run; the sample of the prior derives from it.
        device: Where the prior lives.

    Raises:
        ValueError: If `evaluation` is too small to measure a set.
    """

    def __init__(
        self,
        task: Task,
        prior: Prior,
        evaluation: int,
        validation: int,
        budget: tuple[int, ...],
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        distinct.check_size(evaluation)
        self.task, self.prior = task, prior
        self.size, self.validation, self.budget = evaluation, validation, budget
        self.seed, self.device = seed, device

    @torch.no_grad()
    def __call__(
        self,
        round: int,
        queried_x: Tensor,
        queried_true: Tensor,
        recommended_x: Tensor,
        predicted: Tensor | None,
        last: bool,
        earlier: Sequence[float] = (),
    ) -> dict[str, float]:
        """A row of metrics, with the same keys in every round; NaN where one is not available.

        Args:
            round: Index of the round that has ended.
            queried_x: `n x shape`, all designs queried up to now.
            queried_true: Their `n` true scores.
            recommended_x: `m x shape`, what the optimizer would ship now.
            predicted: Its `m` predictions of their scores, where it has a model.
            last: Whether the run has ended.
            earlier: `distinct_top` of the rounds before.

        Raises:
            ValueError: If the recommended designs or the predictions are malformed, or queries are missing.
            TaskError: If the task's scores or features are malformed.
        """
        self._check(round, queried_x, recommended_x, predicted, earlier)
        y = self._scores(recommended_x)
        features, valid = self._features(recommended_x), validity(self.task, recommended_x)
        drawn = torch.randperm(self.size, generator=generator(self.seed, "drawn", round))
        return (
            self._distinct(recommended_x, features, y, valid, earlier)
            | self._queried(queried_x, finite(self.task, queried_true))
            | self._judged(recommended_x, features, y, valid, drawn)
            | {"proxy_gap": NAN if predicted is None or y is None else reward.proxy_gap(predicted, y)}
            | self._validated(recommended_x, y, drawn[: self.validation if last else 0])
            | own_metrics(self.task, recommended_x)
            | self._reference.row
        )

    @torch.no_grad()
    def of_designs(self, x: Tensor, round: int) -> dict[str, float]:
        """Rewards, naturalness, diversity and the task's own metrics of `m x shape` designs: no query counts for them.

        Raises:
            TaskError: If the task's scores or features are malformed.
        """
        drawn = torch.randperm(self.size, generator=generator(self.seed, "drawn", round))
        valid = validity(self.task, x)
        return self._judged(x, self._features(x), self._scores(x), valid, drawn) | own_metrics(self.task, x)

    def _judged(self, x: Tensor, features: Tensor, y: Tensor | None, valid: Tensor, drawn: Tensor) -> dict[str, float]:
        same = drawn[: len(self._reference.subset)].sort().values  # as many as there are real designs to compare with
        return (
            self._rewards(y)
            | {"validity": float(valid.double().mean())}
            | self._naturalness(x, features, features[same])
            | self._diversity(x[same], features[same])
        )

    def _check(
        self, round: int, queried: Tensor, recommended: Tensor, predicted: Tensor | None, earlier: Sequence[float]
    ) -> None:
        if len(queried) != (expected := sum(self.budget[: round + 1])):
            raise ValueError(f"all {expected} designs queried up to round {round} are needed, got {len(queried)}")
        if len(earlier) != round:
            raise ValueError(f"distinct_top of the {round} rounds before is needed, got {len(earlier)} values")
        if len(self.task.domain.check(recommended)) != self.size:
            raise ValueError(f"{self.size} designs must be recommended, got {len(recommended)}")
        if predicted is None:
            return
        if predicted.shape != (self.size,):
            raise ValueError(f"predict must give {self.size} scores, got a tensor of {tuple(predicted.shape)}")
        if not predicted.isfinite().all():
            raise ValueError("predict must give finite scores, got one that is NaN or infinite")

    def _scores(self, x: Tensor) -> Tensor | None:
        """Of `n x shape` designs; None where the task does not score."""
        return finite(self.task, true_scores(self.task, x)) if self.task.scored else None

    def _distinct(
        self, x: Tensor, features: Tensor, y: Tensor | None, valid: Tensor, earlier: Sequence[float]
    ) -> dict[str, float]:
        if y is None:
            return dict.fromkeys(("score", "distinct_top", *HITS), NAN)
        q = self._qualities(x, features, y, valid, self._reference.spacing)
        value = distinct.distinct_top(q, distinct.slots(self.size))
        row = {"score": distinct.area(self.budget[: len(earlier) + 1], [*earlier, value]), "distinct_top": value}
        return row | {f"hits_{level}": float(count) for level, count in distinct.hits(q).items()}

    def _qualities(self, x: Tensor, features: Tensor, y: Tensor, valid: Tensor, spacing: float) -> Tensor:
        """Of those of `n x shape` designs that are valid and mutually distinct, the best first."""
        kept = distinct.distinct(asked(self.task, "canonical", x)[valid], features[valid], y[valid], spacing)
        return distinct.quality(kept, self.task.y_prior, self.task.best_known)

    def _queried(self, x: Tensor, y: Tensor) -> dict[str, float]:
        curve = reward.top(asked(self.task, "canonical", x), y)
        return {
            "best": reward.best(y),
            "top10": float(curve[-1]) if len(curve) else NAN,
            "auc_top10": reward.auc(curve),
        }

    def _rewards(self, y: Tensor | None) -> dict[str, float]:
        if y is None:
            return dict.fromkeys(("reward_mean", "reward_q90", "reward_max", "normalized"), NAN)
        mean = float(y.mean())
        return {
            "reward_mean": mean,
            "reward_q90": float(y.quantile(0.9)),
            "reward_max": float(y.max()),
            "normalized": reward.normalized(mean, self.task.y_prior, self.task.best_known),
        }

    def _naturalness(self, x: Tensor, features: Tensor, same: Tensor) -> dict[str, float]:
        real, elbo = self._reference, self._elbo(x)
        return {
            "elbo_z": NAN if elbo is None or real.elbo is None else naturalness.elbo_z(elbo, real.elbo),
            "frechet": naturalness.frechet(features, real.features) / real.frechet,
            "precision": naturalness.precision(same, real.subset),
            "density": naturalness.density(same, real.subset),
        }

    def _diversity(self, x: Tensor, features: Tensor) -> dict[str, float]:
        real = self._reference
        return {
            "pairwise": diversity.pairwise(features),
            "vendi": diversity.vendi(features, real.bandwidth),
            "recall": naturalness.recall(features, real.subset),
            "coverage": naturalness.coverage(features, real.subset),
            "unique": diversity.unique(asked(self.task, "canonical", x)),
        }

    def _validated(self, x: Tensor, y: Tensor | None, drawn: Tensor) -> dict[str, float]:
        """Of the `drawn` ones of `m x shape` designs, which an archive gives best first."""
        row = dict.fromkeys(("validated_mean", "validated_reward", "validated_share"), NAN)
        scores = answer(self.task, "validate", x[drawn]) if len(drawn) else None
        if scores is None or y is None:
            return row
        known = scores.isfinite()
        row["validated_share"] = float(known.double().mean())
        if known.any():
            row["validated_mean"] = float(scores[known].double().mean())
            row["validated_reward"] = float(y[drawn][known].mean())
        return row

    @cached_property
    def _reference(self) -> _Reference:
        """Computed when it is first needed, so that its time counts as evaluation."""
        x = self.task.reference()
        # which of them are drawn belongs to the metric's definition, so no seed of a run enters
        few = x[torch.randperm(len(x), generator=generator(0, "reference"))[: self.size]]
        features, subset = self._features(x), self._features(few)
        latents = self.prior.sample(self.size, generator(self.seed, "evaluation", device=self.device))
        natural = self._features(self.prior.decode(latents).cpu())
        bandwidth, spacing = diversity.bandwidth(subset), distinct.spacing(features, distinct.slots(self.size))
        y, top = self._scores(few), NAN
        if y is not None:
            q = self._qualities(few, subset, y, validity(self.task, few), spacing)
            top = distinct.distinct_top(q, distinct.slots(self.size))
        row = {
            "distinct_top": top,
            "reward_mean": NAN if y is None else float(y.mean()),
            "validity": float(validity(self.task, x).double().mean()),
            "pairwise": diversity.pairwise(subset),
            "vendi": diversity.vendi(subset, bandwidth),
            "unique": diversity.unique(asked(self.task, "canonical", few)),
        } | own_metrics(self.task, few)
        return _Reference(
            features,
            subset,
            spacing,
            bandwidth,
            naturalness.frechet(natural, features),
            self._elbo(x),
            {f"{key}_reference": value for key, value in row.items()},
        )

    def _features(self, x: Tensor) -> Tensor:
        features = asked(self.task, "features", x).double()
        if features.ndim != 2 or len(features) != len(x) or not features.isfinite().all():
            name = type(self.task).__name__
            raise TaskError(f"{name}.features must be finite and {len(x)} x f, got a tensor of {tuple(features.shape)}")
        return features

    def _elbo(self, x: Tensor) -> Tensor | None:
        if not isinstance(self.prior, Likelihood):
            return None
        return self.prior.elbo(self.prior.encode(x.to(self.device, copy=True))).cpu()
