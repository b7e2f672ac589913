"""The evaluator on a task small enough to know every number."""

from __future__ import annotations

import math
from typing import Any, Self

import pytest
import torch
from torch import Generator, Tensor

from bbo_bench.core import Prior, Task
from bbo_bench.domains import Box
from bbo_bench.evaluation import Evaluator
from bbo_bench.oracle import TaskError

KEYS = (
    "best top10 auc_top10 reward_mean reward_q90 reward_max normalized validity elbo_z frechet precision pairwise "
    "vendi recall unique proxy_gap validated_mean validated_reward validated_share reward_mean_reference "
    "validity_reference pairwise_reference vendi_reference unique_reference"
)
BUDGET = (4, 8)


class Gaussian(Prior):
    """Standard normal latents, which are the designs."""

    latent_shape = torch.Size([2])

    def sample(self, n: int, rng: Generator) -> Tensor:
        return torch.randn(n, 2, generator=rng).clamp(-9, 9)

    def decode(self, z: Tensor) -> Tensor:
        return z

    encode = decode

    def to(self, device: torch.device) -> Self:
        return self


class LikelyGaussian(Gaussian):
    """The same, with its log-density up to a constant."""

    def elbo(self, z: Tensor) -> Tensor:
        return -0.5 * z.square().sum(1)


class Plane(Task):
    """Score: the first coordinate; infeasible below -5, invalid below 0."""

    domain = Box(torch.full((2,), -10.0), torch.full((2,), 10.0))
    noise_std, y_prior, best_known, infeasible_score = 0.1, 0.0, 10.0, -7.0

    def prior(self) -> Prior:
        return Gaussian()

    def evaluate(self, x: Tensor) -> Tensor:
        return x[:, 0].where(x[:, 0] >= -5, -torch.inf)

    def valid(self, x: Tensor) -> Tensor:
        return x[:, 0] >= 0

    def features(self, x: Tensor) -> Tensor:
        return x

    def reference(self) -> Tensor:
        return torch.randn(40, 2, generator=Generator().manual_seed(1))

    def render(self, x: Tensor, axes: Any) -> None:
        axes.plot(*x)


class ValidatedPlane(Plane):
    """With an independent method that gives nothing where the second coordinate is negative."""

    def validate(self, x: Tensor) -> Tensor | None:
        return (x[:, 0] + 1).where(x[:, 1] >= 0, torch.nan)


QUERIED = torch.tensor([[1.0, 0], [-6.0, 0], [3.0, 0], [3.0, 0]])
DESIGNS = torch.tensor([[1.0, 1], [2.0, -1], [3.0, 1], [-6.0, 1]])


def row(
    task: Task, prior: Prior, x: Tensor = DESIGNS, predicted: Tensor | None = None, **settings: Any
) -> dict[str, float]:
    options = {"round": 0, "last": False, "validation": 3, "seed": 0} | settings
    evaluator = Evaluator(task, prior, 4, options["validation"], BUDGET, options["seed"])
    y = task.evaluate(QUERIED)
    return evaluator(options["round"], QUERIED, y, x, predicted, options["last"])


def test_rewards_by_hand_with_infeasible_designs_in_the_mean() -> None:
    metrics = row(Plane(), Gaussian(), predicted=torch.full((4,), 1.0))
    assert " ".join(metrics) == KEYS
    assert metrics["best"] == 3
    assert metrics["top10"] == pytest.approx((1 - 7 + 3) / 3)  # distinct designs, the infeasible one at -7
    assert metrics["auc_top10"] == pytest.approx((1 + (1 - 3) / 2 + (-3 - 1) / 2 + (-1 - 1) / 2) / 4)
    assert metrics["reward_mean"] == (1 + 2 + 3 - 7) / 4
    assert metrics["reward_max"] == 3
    assert metrics["reward_q90"] == pytest.approx(2.7)
    assert metrics["normalized"] == pytest.approx(-0.25 / 10)
    assert metrics["validity"] == 0.75
    assert metrics["unique"] == 1
    assert metrics["proxy_gap"] == 1.25


def test_the_reference_judged_by_itself() -> None:
    task, prior = Plane(), LikelyGaussian()
    real = task.reference()
    evaluator = Evaluator(task, prior, len(real), 0, BUDGET, 0)
    metrics = evaluator(0, QUERIED, task.evaluate(QUERIED), real, None, True)
    assert metrics["elbo_z"] == pytest.approx(0, abs=1e-6)
    assert metrics["frechet"] == pytest.approx(0, abs=1e-9)
    assert metrics["precision"] == metrics["recall"] == 1
    for key in ("reward_mean", "validity", "pairwise", "vendi", "unique"):
        assert metrics[key] == pytest.approx(metrics[f"{key}_reference"], rel=1e-6)
    assert metrics["vendi"] < 0.5  # the kernel tells real designs apart without calling them all distinct


def test_a_prior_sample_has_a_frechet_ratio_of_one() -> None:
    task, prior = Plane(), Gaussian()
    ratios = []
    for seed in range(20):
        evaluator = Evaluator(task, prior, 200, 0, BUDGET, seed)
        x = prior.sample(200, Generator().manual_seed(1000 + seed))
        ratios.append(evaluator(0, QUERIED, task.evaluate(QUERIED), x, None, False)["frechet"])
    assert sum(ratios) / 20 == pytest.approx(1, abs=0.2)


def test_what_is_not_available_is_nan() -> None:
    metrics = row(Plane(), Gaussian(), last=True)
    missing = {key for key, value in metrics.items() if math.isnan(value)}
    assert missing == {"elbo_z", "proxy_gap", "validated_mean", "validated_reward", "validated_share"}


def test_validation_of_the_first_designs_after_the_last_round() -> None:
    assert math.isnan(row(ValidatedPlane(), Gaussian(), last=False)["validated_share"])
    metrics = row(ValidatedPlane(), Gaussian(), last=True)
    assert metrics["validated_share"] == pytest.approx(2 / 3)
    assert metrics["validated_mean"] == 3  # of designs 0 and 2, one above their scores
    assert metrics["validated_reward"] == 2
    assert " ".join(metrics) == KEYS


def test_nothing_converges() -> None:
    x = DESIGNS * torch.tensor([1.0, 0.0]) - torch.tensor([0.0, 1.0])
    metrics = row(ValidatedPlane(), Gaussian(), x, last=True)
    assert metrics["validated_share"] == 0
    assert math.isnan(metrics["validated_mean"])


def test_elbo_z_falls_with_the_distance_from_the_prior() -> None:
    near, far = (row(Plane(), LikelyGaussian(), scale * DESIGNS / 10)["elbo_z"] for scale in (1, 10))
    assert far < near


def test_only_the_prior_sample_depends_on_the_seed() -> None:
    first, again, other = (row(Plane(), LikelyGaussian(), seed=seed) for seed in (0, 0, 1))
    available = [key for key in first if not math.isnan(first[key])]
    assert [first[key] for key in available] == [again[key] for key in available]
    assert {key for key in available if first[key] != other[key]} == {"frechet"}


@pytest.mark.parametrize(
    ("x", "predicted", "message"),
    [
        (DESIGNS[:3], None, "4 designs must be recommended, got 3"),
        (DESIGNS.log(), None, "finite"),
        (DESIGNS, torch.ones(4, 1), r"4 scores, got a tensor of \(4, 1\)"),
        (DESIGNS, torch.full((4,), torch.nan), "finite scores"),
    ],
)
def test_malformed_recommendations_are_refused(x: Tensor, predicted: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row(Plane(), Gaussian(), x, predicted)


def test_missing_queries_are_noticed() -> None:
    with pytest.raises(ValueError, match="all 12 designs queried up to round 1 are needed, got 4"):
        row(Plane(), Gaussian(), round=1)


def test_an_evaluation_must_be_large_enough() -> None:
    with pytest.raises(ValueError, match="at least 4, or 0"):
        Evaluator(Plane(), Gaussian(), 2, 0, BUDGET, 0)


def test_broken_features_are_the_tasks_error() -> None:
    class Broken(Plane):
        def features(self, x: Tensor) -> Tensor:
            return x.log()

    with pytest.raises(TaskError, match=r"Broken\.features must be finite"):
        row(Broken(), Gaussian())


class Doubled(Plane):
    """Designs of one rounded score are one object; it has a metric of its own."""

    def canonical(self, x: Tensor) -> Tensor:
        return x[:, :1].round()

    def metrics(self, x: Tensor) -> dict[str, float]:
        return {"height": float(x[:, 1].mean()), "never": math.nan}


def test_a_task_says_which_designs_are_one_and_adds_metrics_of_its_own() -> None:
    x = DESIGNS + torch.tensor([[0.2, 0], [-1.1, 0], [0, 0], [0, 0]])  # the first two round to 1
    metrics = row(Doubled(), Gaussian(), x)
    assert (metrics["unique"], row(Plane(), Gaussian(), x)["unique"]) == (0.75, 1)
    assert metrics["height"] == 0.5 and math.isnan(metrics["never"])
    assert {"height_reference", "never_reference"} <= metrics.keys()
    queried = torch.tensor([[3.0, 0], [3.2, 0], [1.0, 0], [1.0, 1]])
    top10 = Evaluator(Doubled(), Gaussian(), 4, 0, BUDGET, 0)(0, queried, queried[:, 0], x, None, False)["top10"]
    assert top10 == pytest.approx(2)
