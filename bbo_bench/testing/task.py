"""TaskSuite: what every task must keep to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar
from unittest import mock

import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from bbo_bench.core import Task
from bbo_bench.evaluation import own_metrics
from bbo_bench.metrics.naturalness import distances
from bbo_bench.oracle import finite, true_scores, validity
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import made
from bbo_bench.testing.settings import unusual_settings

BATCH = 5000
"""Designs that are scored at once."""
DECLARED_SAMPLES = 10_000
"""Samples of the prior behind a declared `y_prior`."""

OF_THE_BEST = ("test_best_known_is_the_best", "test_best_known_is_not_exceeded")
OF_SCORES = (
    *OF_THE_BEST,
    "test_scores",
    "test_scores_are_deterministic",
    "test_scores_do_not_depend_on_the_batch",
    "test_scores_do_not_depend_on_earlier_queries",
    "test_y_prior_is_the_mean_of_the_prior",
    "test_best_known_is_attained",
)


class TaskSuite:
    """Conformance of a task; subclass it as `class TestMine(TaskSuite)`.

    Attributes:
        name: The plugin.
        overrides: Settings that differ from its YAML, beside those under `quick` there.
        samples: Designs that are scored in a test.
        many: Uniform designs none of which may beat `best_known`.
        validity: Least fraction of the reference that must be valid.
        tolerance: Of `decode(encode(x))`, in standard deviations of the reference, unless the codec is lossy.
    """

    name: str
    overrides: ClassVar[Mapping[str, Any]] = {}
    samples: ClassVar[int] = 256
    many: ClassVar[int] = 100_000
    validity: ClassVar[float] = 0.9
    tolerance: ClassVar[float] = 1e-3

    @classmethod
    def fresh(cls) -> Task:
        """The task, made anew."""
        task: Task = made("task", cls.name, cls.overrides)
        return task

    @classmethod
    @cache
    def task(cls) -> Task:
        """The task, made once."""
        return cls.fresh()

    @classmethod
    @cache
    def designs(cls) -> dict[str, Tensor]:
        """Designs from every source."""
        task, rng = cls.task(), generator(0, "suite")
        prior = task.prior()
        return {
            "prior": prior.decode(prior.sample(cls.samples, rng)),
            "domain": task.domain.sample(cls.samples, rng),
            "reference": task.reference(),
        }

    @classmethod
    @cache
    def scores(cls) -> dict[str, Tensor]:
        """Their true scores."""
        return {source: true_scores(cls.task(), x) for source, x in cls.designs().items()}

    @pytest.fixture(autouse=True)
    def _known(self, request: pytest.FixtureRequest) -> None:
        """Of a task whose scores are told, or whose best is unknown, leave out what needs them."""
        name = request.function.__name__
        if name in OF_SCORES and not self.task().scored:
            pytest.skip("the scores of this task are told")
        if name in OF_THE_BEST and self.task().open_ended:
            pytest.skip("the best score of this task is unknown")

    def test_constants_are_declared(self) -> None:
        """The facts of the card are finite numbers, and the best known score is above the prior's mean."""
        task = self.task()
        if not task.scored:
            return
        facts = {key: getattr(task, key) for key in ("noise_std", "y_prior", "best_known", "infeasible_score")}
        assert all(math.isfinite(value) for value in facts.values()), f"constants must be finite, got {facts}"
        assert task.noise_std >= 0, f"noise_std must be at least 0, got {task.noise_std}"
        assert task.best_known > task.y_prior, f"best_known must be above y_prior, got {facts}"

    def test_designs_lie_in_the_domain(self) -> None:
        """Reference, prior and domain give designs that `domain.check` accepts."""
        for x in self.designs().values():
            assert self.task().domain.check(x) is x, "domain.check must return the designs unchanged"

    def test_scores(self) -> None:
        """Scores are one per design, and finite or −inf."""
        for x in self.designs().values():
            true_scores(self.task(), x)

    @pytest.mark.parametrize("call", ["evaluate", "valid", "features", "canonical", "metrics", "validate", "render"])
    def test_designs_are_left_as_they_are(self, call: str) -> None:
        """Nothing that is asked about designs changes them."""
        x = self.designs()["reference"][:4].clone()
        before = x.clone()
        if call == "render":
            self.task().render(x[0], Figure().add_subplot())
        elif call != "evaluate" or self.task().scored:
            getattr(self.task(), call)(x)
        assert torch.equal(x, before), f"{call} must not change the designs"

    def test_scores_are_deterministic(self) -> None:
        """The true score has no noise."""
        for source, x in self.designs().items():
            again = true_scores(self.task(), x)
            assert torch.equal(again, self.scores()[source]), f"evaluate differs from call to call on {source} designs"

    def test_scores_do_not_depend_on_the_batch(self) -> None:
        """A design has one score, alone or among others, in any order."""
        x, y = self.designs()["prior"][:16], self.scores()["prior"][:16]
        alone = torch.cat([true_scores(self.task(), design[None]) for design in x])
        torch.testing.assert_close(alone, y, rtol=1e-4, atol=1e-5, msg="a design scores differently alone")
        turned = true_scores(self.task(), x.flip(0)).flip(0)
        torch.testing.assert_close(turned, y, rtol=1e-4, atol=1e-5, msg="scores depend on the order of the designs")

    def test_scores_do_not_depend_on_earlier_queries(self) -> None:
        """A task that has scored nothing yet gives the scores of one that has."""
        task = self.fresh()
        x, y = self.designs()["reference"].flip(0), self.scores()["reference"].flip(0)
        torch.testing.assert_close(true_scores(task, x), y, rtol=1e-4, atol=1e-5, msg="scores depend on the history")

    def test_global_settings_change_nothing(self) -> None:
        """What other code has set, before or after the task is made, changes no score, validity or feature."""
        x = self.designs()["reference"][:4]
        usual = _judged(self.task(), x)
        with unusual_settings():
            unusual = [_judged(task, x) for task in (self.task(), self.fresh())]
            self.task().render(x[0], Figure().add_subplot())
        for name, value in usual.items():
            same = all(torch.equal(found[name], value) for found in unusual)
            assert same, f"{name} depends on global settings, such as torch's default dtype: give them explicitly"

    def test_no_network_is_needed(self) -> None:
        """Scores, validity, features and samples come from what is installed."""
        task, x = self.fresh(), self.designs()["reference"][:4]
        with mock.patch("socket.socket.connect", side_effect=AssertionError("a task must not use the network")):
            task.prior().sample(2, generator(0))
            _judged(task, x), task.validate(x)

    def test_malformed_designs_are_refused(self) -> None:
        """`domain.check` raises `ValueError` for designs of another shape or type."""
        domain, x = self.task().domain, self.designs()["reference"][:2]
        for wrong in (x[..., :-1], x[:, None], x.bool(), torch.full(x.shape, math.nan), x.tolist()):
            assert _refuses(domain.check, wrong), f"domain.check must raise ValueError for {wrong}"

    def test_valid(self) -> None:
        """`valid` gives a bool per design."""
        for x in self.designs().values():
            valid = self.task().valid(x)
            assert valid.dtype == torch.bool and valid.shape == x.shape[:1], (
                f"valid must give {len(x)} bools, got {valid.dtype} of {tuple(valid.shape)}"
            )

    def test_features(self) -> None:
        """Features are finite vectors of one length, and distinct designs differ in them."""
        lengths = set()
        for x in self.designs().values():
            features = self.task().features(x)
            assert features.ndim == 2 and len(features) == len(x), f"features must be n x f, got {features.shape}"
            assert features.isfinite().all(), "features must be finite"
            assert features.std(0).max() > 0, "features must tell designs apart"
            lengths.add(features.shape[1])
        assert len(lengths) == 1, f"features must have one length, got {lengths}"

    def test_reference_is_real(self) -> None:
        """The reference is the same at every call, and valid."""
        reference = self.designs()["reference"]
        assert torch.equal(self.task().reference(), reference), "reference must not change from call to call"
        share = float(self.task().valid(reference).double().mean())
        assert share >= self.validity, f"at least {self.validity:.0%} of the reference must be valid, got {share:.0%}"

    def test_codec_round_trip(self) -> None:
        """`decode(encode(x))` is x, or like it where the prior is lossy; latents have the declared shape."""
        prior, x = self.task().prior(), self.designs()["reference"]
        z = prior.encode(x)
        assert z.shape[1:] == prior.latent_shape, f"latents must be n x {prior.latent_shape}, got {tuple(z.shape)}"
        if prior.lossy:
            apart = distances(self.task().features(prior.decode(z)), self.task().features(x))
            share = float((apart.argmin(1) == torch.arange(len(x))).double().mean())
            assert share > 0.5, f"decode(encode(x)) must be nearest to x, got that for {share:.0%} of the reference"
            return
        error = float(((prior.decode(z) - x).double() / x.double().std(0).clamp_min(1e-12)).abs().max())
        assert error <= self.tolerance, f"decode(encode(x)) must be x within {self.tolerance} std, got {error:.2g}"

    def test_plans_can_be_read(self) -> None:
        """`Offline.steps`, where there are transitions, gives the like of theirs, differentiably."""
        if (offline := self.task().offline()) is None:
            return
        x = self.designs()["reference"][:3].clone().requires_grad_(True)
        assert offline.given.shape == x.shape[1:], (
            f"given must be {tuple(x.shape[1:])}, got {tuple(offline.given.shape)}"
        )
        for name, found in zip(("observation", "action"), offline.steps(x), strict=True):
            size = getattr(offline, name).shape[1]
            assert found.ndim == 3 and found.shape[::2] == (3, size), (
                f"steps must give 3 x H x {size} {name}s, got {tuple(found.shape)}"
            )
            assert found.requires_grad, f"critics need the gradient through {name}s: steps must be differentiable"

    def test_prior_draws_from_its_generator(self) -> None:
        """One seed gives the same latents, another seed others, and the global state is left alone."""
        before = torch.random.get_rng_state()
        prior = self.task().prior()
        z = prior.sample(8, generator(1))
        assert z.shape == (8, *prior.latent_shape), f"latents must be 8 x {prior.latent_shape}, got {tuple(z.shape)}"
        assert torch.equal(z, prior.sample(8, generator(1))), "one seed must give the same samples"
        assert not torch.equal(z, prior.sample(8, generator(2))), "another seed must give other samples"
        assert torch.equal(before, torch.random.get_rng_state()), "draw from rng, not from torch's global state"

    def test_y_prior_is_the_mean_of_the_prior(self) -> None:
        """Declared and measured mean agree within five standard errors."""
        y = finite(self.task(), self.scores()["prior"])
        error = float(y.std()) * math.sqrt(1 / len(y) + 1 / DECLARED_SAMPLES)
        declared, mean = self.task().y_prior, float(y.mean())
        assert abs(mean - declared) <= 5 * error + 1e-6, (
            f"y_prior={declared} is declared, but {len(y)} samples of the prior score {mean:.4g} ± {error:.2g}"
        )

    def test_best_known_is_the_best(self) -> None:
        """No valid design at hand beats `best_known`."""
        for source, x in self.designs().items():
            y = self.scores()[source][self.task().valid(x)]
            best = float(y.max()) if len(y) else -math.inf
            declared = self.task().best_known
            assert best <= declared, f"a valid {source} design scores {best:.6g}: raise best_known from {declared}"

    def test_best_known_is_attained(self) -> None:
        """`best_design`, where there is one, is a valid design that scores `best_known`."""
        task, x = self.task(), self.task().best_design()
        if x is None:
            return
        x = task.domain.check(x[None])
        assert bool(task.valid(x)), "best_design must be valid"
        score = float(true_scores(task, x))
        assert math.isclose(score, task.best_known, rel_tol=1e-3, abs_tol=1e-3), (
            f"best_design must score best_known={task.best_known}, got {score:.6g}"
        )

    def test_best_known_is_not_exceeded(self) -> None:
        """No valid design among many uniform ones beats `best_known`."""
        task, rng = self.task(), generator(0, "many")
        for n in [BATCH] * (self.many // BATCH) + [self.many % BATCH] * (self.many % BATCH > 0):
            x = task.domain.sample(n, rng)
            above = x[true_scores(task, x) > task.best_known]
            beaten = len(above) and bool(task.valid(above).any())
            assert not beaten, f"raise best_known from {task.best_known}: a valid design beats it, {above[0].tolist()}"

    def test_validate(self) -> None:
        """The independent score, where there is one, is one number or NaN per design."""
        x = self.designs()["reference"][:2]
        scores = self.task().validate(x)
        assert scores is None or scores.shape == (2,), f"validate must give 2 scores, got {scores}"
        assert scores is None or not scores.isinf().any(), f"validate gives NaN where it has no score, got {scores}"

    @pytest.mark.parametrize("n", [0, 1])
    def test_few_designs_are_measured_as_many_are(self, n: int) -> None:
        """Of no design and of one, every method gives what it gives of many, only fewer; metrics may be NaN."""
        task, prior, many = self.task(), self.task().prior(), self.designs()["reference"][:8]
        assert len(validity(task, many[:n])) == n
        assert not task.scored or len(true_scores(task, many[:n])) == n
        maps = {"features": task.features, "canonical": task.canonical, "encode": prior.encode}
        z = prior.encode(many)
        found = {name: (function(many[:n]), function(many)) for name, function in maps.items()}
        found["decode"] = prior.decode(z[:n]), prior.decode(z)
        for name, (few, all_) in found.items():
            assert few.shape == (n, *all_.shape[1:]) and few.dtype == all_.dtype, (
                f"{name} of {n} designs must be like that of many, {all_.dtype} of {(n, *all_.shape[1:])}, "
                f"got {few.dtype} of {tuple(few.shape)}"
            )
        assert prior.sample(n, generator(0)).shape == (n, *prior.latent_shape)
        scores = task.validate(many[:n])
        assert scores is None or scores.shape == (n,), f"validate must give {n} scores, got {scores}"

    @pytest.mark.parametrize("source", ["prior", "domain", "reference"])
    def test_metrics(self, source: str) -> None:
        """Metrics of the domain's own are numbers with the same names, for many designs, equal ones, one or none."""
        x = self.designs()[source][:8]
        keys = list(own_metrics(self.task(), self.designs()["reference"][:8]))
        for designs in (x, x[:1].expand_as(x), x[:1], x[:0]):
            found = own_metrics(self.task(), designs)
            assert list(found) == keys, f"metrics of {len(designs)} designs must be {keys}, got {list(found)}"
            wrong = {key: value for key, value in found.items() if type(value) is not float or math.isinf(value)}
            assert not wrong, f"metrics of {len(designs)} designs must be finite or NaN, got {wrong}"

    def test_render(self) -> None:
        """`render` draws something."""
        axes = Figure().add_subplot()
        before = len(axes.get_children())
        self.task().render(self.designs()["reference"][0], axes)
        assert len(axes.get_children()) > before, "render must draw the design into the axes"


def _judged(task: Task, x: Tensor) -> dict[str, Tensor]:
    """All that is said of designs."""
    return {
        **({"evaluate": true_scores(task, x)} if task.scored else {}),
        "valid": task.valid(x),
        "features": task.features(x),
        "canonical": task.canonical(x),
        "domain.sample": task.domain.sample(4, generator(0, "suite")),
    }


def _refuses(check: Callable[[Tensor], Tensor], x: Any) -> bool:
    try:
        check(x)
    except ValueError:
        return True
    return False
