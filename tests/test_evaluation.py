"""The evaluator on a task small enough to know every number."""

from __future__ import annotations

import math
from typing import Any, Self

import pytest
import torch
from torch import Generator, Tensor

from bbo_bench.core import Prior, Task
from bbo_bench.domains import Box
from bbo_bench.evaluation import Evaluator, own_metrics
from bbo_bench.oracle import TaskError
from bbo_bench.testing import Probe

LEVELS = " ".join(f"hits_{i / 10}" for i in range(1, 11))
KEYS = (
    f"score distinct_top {LEVELS} "
    "best top10 auc_top10 reward_mean reward_q90 reward_max normalized validity elbo_z frechet precision density "
    "pairwise vendi recall coverage unique proxy_gap validated_mean validated_reward validated_share "
    "distinct_top_reference reward_mean_reference validity_reference pairwise_reference vendi_reference "
    "unique_reference"
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
FOUR = torch.tensor([[1.0, 1], [2.0, -1], [3.0, 1], [-6.0, 1]])
DESIGNS = torch.cat([FOUR, FOUR + torch.tensor([0, 0.5])])


def row(
    task: Task, prior: Prior, x: Tensor = DESIGNS, predicted: Tensor | None = None, **settings: Any
) -> dict[str, float]:
    options = {"round": 0, "last": False, "validation": 8, "seed": 0} | settings
    evaluator = Evaluator(task, prior, 8, options["validation"], BUDGET, options["seed"])
    y = task.evaluate(QUERIED)
    return evaluator(options["round"], QUERIED, y, x, predicted, options["last"])


def test_rewards_by_hand_with_infeasible_designs_in_the_mean() -> None:
    metrics = row(Plane(), Gaussian(), predicted=torch.full((8,), 1.0))
    assert " ".join(metrics) == KEYS
    assert metrics["best"] == 3
    assert metrics["top10"] == pytest.approx((1 - 7 + 3) / 3)  # distinct designs, the infeasible one at -7
    assert metrics["auc_top10"] == pytest.approx((1 + (1 - 3) / 2 + (-3 - 1) / 2 + (-1 - 1) / 2) / 4)
    assert metrics["reward_mean"] == (1 + 2 + 3 - 7) / 4
    assert metrics["reward_max"] == 3
    assert metrics["reward_q90"] == 3
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
    assert 2 < metrics["vendi"] < 20  # of 40: the kernel tells real designs apart without calling them all distinct


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


def test_validation_after_the_last_round() -> None:
    assert math.isnan(row(ValidatedPlane(), Gaussian(), last=False)["validated_share"])
    metrics = row(ValidatedPlane(), Gaussian(), last=True)
    assert metrics["validated_share"] == 3 / 4
    assert metrics["validated_mean"] == pytest.approx((2 + 4 - 5) / 3)  # one above the designs' first coordinates
    assert metrics["validated_reward"] == pytest.approx((1 + 3 - 7) / 3)
    assert " ".join(metrics) == KEYS


def test_what_is_validated_is_drawn_from_all_that_is_recommended() -> None:
    """Archives recommend the best first: their first designs are no sample of what they ship."""
    best_first = torch.stack([torch.linspace(9, 1, 200), torch.ones(200)], 1)
    task, found = ValidatedPlane(), []
    for seed in range(50):
        evaluator = Evaluator(task, Gaussian(), 200, 20, BUDGET, seed)
        found.append(evaluator(0, QUERIED, task.evaluate(QUERIED), best_first, None, True)["validated_reward"])
    assert sum(found) / 50 == pytest.approx(5, abs=0.25)  # the mean of all; of the first 20 it is 8.6
    assert len(set(found)) == 50


def test_sets_are_compared_at_one_size() -> None:
    """The Vendi score and the recall grow with a set: 400 samples of the data's law are measured as 40 are."""
    task, large, few = Plane(), [], []
    for seed in range(20):
        x = torch.randn(400, 2, generator=Generator().manual_seed(seed)).clamp(-9, 9)
        for size, found in ((400, large), (40, few)):
            evaluator = Evaluator(task, Gaussian(), size, 0, BUDGET, seed)
            found.append(evaluator(0, QUERIED, task.evaluate(QUERIED), x[:size], None, False))
    for key in ("vendi", "recall", "coverage", "density", "precision"):
        mean, expected = (sum(each[key] for each in found) / 20 for found in (large, few))
        assert mean == pytest.approx(expected, rel=0.05), key
    assert large[0]["vendi_reference"] == few[0]["vendi_reference"]


def test_the_score_is_the_area_under_distinct_top() -> None:
    task, x = Plane(), torch.cat([FOUR[:3], FOUR[:3], FOUR[:2]])
    evaluator = Evaluator(task, Gaussian(), 8, 0, (4, 8), 0)
    queried = torch.cat([QUERIED] * 3)
    first = evaluator(0, QUERIED, task.evaluate(QUERIED), x, None, False)
    last = evaluator(1, queried, task.evaluate(queried), 2 * x, None, False, [first["distinct_top"]])
    assert first["score"] == first["distinct_top"] == pytest.approx(0.3)  # one slot of 8
    assert last["distinct_top"] == pytest.approx(0.6)
    assert last["score"] == pytest.approx((4 * 0.3 + 8 * (0.3 + 0.6) / 2) / 12)
    with pytest.raises(ValueError, match="distinct_top of the 1 rounds before is needed, got 0"):
        evaluator(1, queried, task.evaluate(queried), x, None, False)


def test_hits_count_distinct_valid_designs() -> None:
    x = torch.tensor([[1.0, 0], [1.0, 0], [9.0, 0], [9.0, 1e-4], [9.0, 8], [-1.0, 0], [10.0, 9.5], [4.0, -9]])
    metrics = row(Plane(), Gaussian(), x)
    assert [metrics[key] for key in LEVELS.split()] == [5, 4, 4, 4, 3, 3, 3, 3, 3, 1]


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
        (DESIGNS[:3], None, "8 designs must be recommended, got 3"),
        (DESIGNS.log(), None, "finite"),
        (DESIGNS, torch.ones(8, 1), r"8 scores, got a tensor of \(8, 1\)"),
        (DESIGNS, torch.full((8,), torch.nan), "finite scores"),
    ],
)
def test_malformed_recommendations_are_refused(x: Tensor, predicted: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        row(Plane(), Gaussian(), x, predicted)


def test_missing_queries_are_noticed() -> None:
    with pytest.raises(ValueError, match="all 12 designs queried up to round 1 are needed, got 4"):
        row(Plane(), Gaussian(), round=1)


def test_an_evaluation_must_be_large_enough() -> None:
    with pytest.raises(ValueError, match="multiple of 8, as one design in 8 is shipped, or 0"):
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
    x = DESIGNS + torch.tensor([[0.2, 0], [-1.1, 0], [0, 0], [0, 0]] * 2)  # the first two of four round to 1
    metrics = row(Doubled(), Gaussian(), x)
    assert (metrics["unique"], row(Plane(), Gaussian(), x)["unique"]) == (3 / 8, 1)
    assert metrics["height"] == 0.75 and math.isnan(metrics["never"])
    assert {"height_reference", "never_reference"} <= metrics.keys()
    queried = torch.tensor([[3.0, 0], [3.2, 0], [1.0, 0], [1.0, 1]])
    top10 = Evaluator(Doubled(), Gaussian(), 8, 0, BUDGET, 0)(0, queried, queried[:, 0], x, None, False)["top10"]
    assert top10 == pytest.approx(2)


@pytest.mark.parametrize("name", ["score", "queries", "round", "seed", "hits_0.5", "spread_reference", "a b", "1st"])
def test_a_tasks_own_metric_cannot_be_called_like_another(name):
    class Own(Probe):
        def metrics(self, x):
            return {name: 0.0}

    with pytest.raises(TaskError, match=r"Own.metrics calls one .*; choose a word that no run records otherwise"):
        own_metrics(Own(), Probe().reference()[:8])
