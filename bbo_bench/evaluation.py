"""The evaluator: what a round has come to, by true scores and against real designs. No optimizer sees any of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from bbo_bench.core import Prior, Task
from bbo_bench.metrics import diversity, naturalness, reward
from bbo_bench.oracle import TaskError, finite, true_scores
from bbo_bench.seeding import generator

NAN = float("nan")
"""Not available: the optimizer, prior or task has no such thing, or it is not measured in this round."""

MINIMUM = 4
"""A set must have a third neighbour for every design, as precision and recall ask for."""


@runtime_checkable
class Likelihood(Protocol):
    """A prior that can say how likely a latent is."""

    def elbo(self, z: Tensor) -> Tensor:
        """Lower bounds on the log-likelihoods, in nats, of `n x latent_shape` latents, an `n`-dim tensor."""


@dataclass(frozen=True)
class _Reference:
    """The real designs, measured once.

    Attributes:
        features: Of all of them.
        subset: Features of no more than m of them: precision, recall and diversity depend on the size of a set.
        bandwidth: Of the Vendi score's kernel.
        frechet: Distance to them of m samples of the prior.
        elbo: Of all of them; None where the prior has none.
        row: Their part of every row of metrics.
    """

    features: Tensor
    subset: Tensor
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
        if 0 < evaluation < MINIMUM:
            raise ValueError(f"budget.evaluation must be at least {MINIMUM}, or 0 to switch it off, got {evaluation}")
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
    ) -> dict[str, float]:
        """A row of metrics, with the same keys in every round; NaN where one is not available.

        Args:
            round: Index of the round that has ended.
            queried_x: `n x shape`, all designs queried up to now.
            queried_true: Their `n` true scores.
            recommended_x: `m x shape`, what the optimizer would ship now.
            predicted: Its `m` predictions of their scores, where it has a model.
            last: Whether the run has ended.

        Raises:
            ValueError: If the recommended designs or the predictions are malformed, or queries are missing.
            TaskError: If the task's scores or features are malformed.
        """
        self._check(round, queried_x, recommended_x, predicted)
        y = finite(self.task, true_scores(self.task, recommended_x))
        features = self._features(recommended_x)
        return (
            self._queried(queried_x, finite(self.task, queried_true))
            | self._rewards(y)
            | self._naturalness(recommended_x, features)
            | self._diversity(recommended_x, features)
            | {"proxy_gap": NAN if predicted is None else reward.proxy_gap(predicted, y)}
            | self._validated(recommended_x[: self.validation if last else 0], y)
            | self.task.metrics(recommended_x)
            | self._reference.row
        )

    def _check(self, round: int, queried: Tensor, recommended: Tensor, predicted: Tensor | None) -> None:
        if len(queried) != (expected := sum(self.budget[: round + 1])):
            raise ValueError(f"all {expected} designs queried up to round {round} are needed, got {len(queried)}")
        if len(self.task.domain.check(recommended)) != self.size:
            raise ValueError(f"{self.size} designs must be recommended, got {len(recommended)}")
        if predicted is None:
            return
        if predicted.shape != (self.size,):
            raise ValueError(f"predict must give {self.size} scores, got a tensor of {tuple(predicted.shape)}")
        if not predicted.isfinite().all():
            raise ValueError("predict must give finite scores, got one that is NaN or infinite")

    def _queried(self, x: Tensor, y: Tensor) -> dict[str, float]:
        curve = reward.top(self.task.canonical(x), y)
        return {"best": reward.best(y), "top10": float(curve[-1]), "auc_top10": reward.auc(curve)}

    def _rewards(self, y: Tensor) -> dict[str, float]:
        mean = float(y.mean())
        return {
            "reward_mean": mean,
            "reward_q90": float(y.quantile(0.9)),
            "reward_max": float(y.max()),
            "normalized": reward.normalized(mean, self.task.y_prior, self.task.best_known),
        }

    def _naturalness(self, x: Tensor, features: Tensor) -> dict[str, float]:
        real, elbo = self._reference, self._elbo(x)
        return {
            "validity": self._validity(x),
            "elbo_z": NAN if elbo is None or real.elbo is None else naturalness.elbo_z(elbo, real.elbo),
            "frechet": naturalness.frechet(features, real.features) / real.frechet,
            "precision": naturalness.precision(features, real.subset),
        }

    def _diversity(self, x: Tensor, features: Tensor) -> dict[str, float]:
        real = self._reference
        return {
            "pairwise": diversity.pairwise(features),
            "vendi": diversity.vendi(features, real.bandwidth) / len(x),
            "recall": naturalness.recall(features, real.subset),
            "unique": diversity.unique(self.task.canonical(x)),
        }

    def _validated(self, x: Tensor, y: Tensor) -> dict[str, float]:
        row = dict.fromkeys(("validated_mean", "validated_reward", "validated_share"), NAN)
        scores = self.task.validate(x) if len(x) else None
        if scores is None:
            return row
        known = scores.isfinite()
        row["validated_share"] = float(known.double().mean())
        if known.any():
            row["validated_mean"] = float(scores[known].double().mean())
            row["validated_reward"] = float(y[: len(x)][known].mean())
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
        bandwidth = diversity.bandwidth(subset)
        row = {
            "reward_mean": float(finite(self.task, true_scores(self.task, few)).mean()),
            "validity": self._validity(x),
            "pairwise": diversity.pairwise(subset),
            "vendi": diversity.vendi(subset, bandwidth) / len(few),
            "unique": diversity.unique(self.task.canonical(few)),
        } | self.task.metrics(few)
        return _Reference(
            features,
            subset,
            bandwidth,
            naturalness.frechet(natural, features),
            self._elbo(x),
            {f"{key}_reference": value for key, value in row.items()},
        )

    def _features(self, x: Tensor) -> Tensor:
        features = self.task.features(x).double()
        if features.ndim != 2 or len(features) != len(x) or not features.isfinite().all():
            name = type(self.task).__name__
            raise TaskError(f"{name}.features must be finite and {len(x)} x f, got a tensor of {tuple(features.shape)}")
        return features

    def _validity(self, x: Tensor) -> float:
        return float(self.task.valid(x).double().mean())

    def _elbo(self, x: Tensor) -> Tensor | None:
        if not isinstance(self.prior, Likelihood):
            return None
        return self.prior.elbo(self.prior.encode(x.to(self.device))).cpu()
