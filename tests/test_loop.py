import csv
import io
import math
from importlib.metadata import version

import numpy as np
import pytest
import torch

from bbo_bench.core import Optimizer
from bbo_bench.loop import Budget, OptimizerError, run
from bbo_bench.record import DESIGNS, Record
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import made, play

CPU = torch.device("cpu")
ROUNDS = (8, 12, 16)


class Steps(Optimizer):
    """Designs around a point that tell moves; remembers what happened to it."""

    def __init__(self, problem, rng):
        super().__init__(problem, rng)
        self.center, self.heard = torch.zeros(2), []

    def ask(self, n):
        self.heard.append(("ask", n))
        return self.problem.domain.clamp(self.center + torch.randn(n, 2, generator=self.rng))

    def tell(self, x, y):
        self.heard.append(("tell", len(x)))
        self.center, self.last = x[y.argmax()], (x, y)

    def recommend(self, n):
        self.heard.append(("recommend", n))
        return self.center + torch.zeros(n, 2)

    def state_dict(self):
        return {"center": self.center}

    def load_state_dict(self, state):
        self.center = state["center"]


class Spy:
    """Builds `Steps`, or another, and keeps it."""

    def __init__(self, kind=Steps):
        self.kind = kind

    def __call__(self, problem, rng):
        self.optimizer = self.kind(problem, rng)
        return self.optimizer


def rows(files, name):
    return list(csv.DictReader(io.StringIO(files[name].decode())))


def arrays(files):
    return {key: x for name in DESIGNS if name in files for key, x in np.load(io.BytesIO(files[name])).items()}


def test_the_protocol(tmp_path):
    spy = Spy()
    files = play(tmp_path, spy, Probe(), ROUNDS)
    round_0, *later = [("tell", 8), ("recommend", 8)], [("ask", 12), ("tell", 12), ("recommend", 8)]
    assert spy.optimizer.heard == [*round_0, *later[0], ("ask", 16), ("tell", 16), ("recommend", 8)]
    ledger, metrics = rows(files, "ledger.csv"), rows(files, "metrics.csv")
    assert [int(row["queries"]) for row in metrics] == [8, 20, 36]
    assert [(int(row["round"]), int(row["index"])) for row in ledger] == [
        (i, j) for i in range(3) for j in range(ROUNDS[i])
    ]
    for i in range(3):
        x = torch.as_tensor(arrays(files)[f"queried_{i}"])
        true = [float(row["true"]) for row in ledger if row["round"] == str(i)]
        assert true == Probe().evaluate(x).double().tolist()
        assert [row["valid"] == "1" for row in ledger if row["round"] == str(i)] == Probe().valid(x).tolist()
    assert float(metrics[2]["best"]) == max(float(row["true"]) for row in ledger)


def test_the_optimizer_is_told_the_noisy_scores(tmp_path):
    spy = Spy()
    ledger = rows(play(tmp_path, spy, Probe(), ROUNDS), "ledger.csv")[-16:]
    _, y = spy.optimizer.last
    assert y.tolist() == [float(row["observed"]) for row in ledger], "to the last digit: in double precision"
    assert [row["observed"] for row in ledger] != [row["true"] for row in ledger]


def test_every_optimizer_starts_from_the_same_round(tmp_path):
    builds = {"steps": Steps, "genetic": made("optimizer", "genetic"), "cma_es": made("optimizer", "cma_es")}
    first = set()
    for name, build in builds.items():
        files = play(tmp_path / name, build, Probe(), ROUNDS)
        first.add((files["ledger.csv"].split(b"\n1,")[0], arrays(files)["queried_0"].tobytes()))
    assert len(first) == 1
    other = play(tmp_path / "seed", Steps, Probe(), ROUNDS, seed=1)
    assert arrays(other)["queried_0"].tobytes() not in {x for _, x in first}


def test_round_0_comes_from_the_prior(tmp_path):
    x = arrays(play(tmp_path, Steps, Probe(), (4000,)))["queried_0"]
    assert np.abs(x.mean(0)).max() < 0.06  # five standard errors
    np.testing.assert_allclose(np.cov(x.T), np.eye(2) / 2, atol=0.06)


def test_evaluation_can_be_switched_off(tmp_path):
    spy = Spy()
    files = play(tmp_path, spy, Probe(), ROUNDS, evaluation=0)
    assert {"recommend"}.isdisjoint(call for call, _ in spy.optimizer.heard)
    assert list(arrays(files)) == ["queried_0", "queried_1", "queried_2"]
    assert list(rows(files, "metrics.csv")[0]) == ["round", "queries"]


def test_validation_comes_after_the_last_round(tmp_path):
    calls = []

    class Validated(Probe):
        def validate(self, x):
            calls.append(len(x))
            return self.evaluate(x) / 2

    with Record(tmp_path, {}) as record:
        run(Validated(), Steps, budget=Budget(ROUNDS, 8, 5), seed=0, device=CPU, record=record)
    assert calls == [5]
    metrics = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [row["validated_mean"] == "" for row in metrics] == [True, True, False]
    assert float(metrics[2]["validated_mean"]) == pytest.approx(float(metrics[2]["reward_mean"]) / 2)


def test_seconds_and_memory_are_kept(tmp_path):
    with Record(tmp_path, {}) as record:
        run(Probe(), Steps, budget=Budget(ROUNDS, 8, 0), seed=0, device=CPU, record=record)
        facts = record.provenance
    for seconds in facts["seconds"]:
        assert seconds.keys() == {"ask", "oracle", "tell", "evaluation", "total"}
        assert 0 < sum(seconds.values()) - seconds["total"] <= seconds["total"]
    assert len(facts["seconds"]) == 3 and facts["complete"] and facts["peak_mb"] > 50
    assert (
        facts["versions"]["torch"] == torch.__version__.split("+")[0] or torch.__version__ == facts["versions"]["torch"]
    )
    assert facts["versions"]["neuralfoil"] == version("neuralfoil"), "what scores come from is named too"


def malformed(call, value):
    return type("Malformed", (Steps,), {call: lambda self, *_: value})


FULL = torch.zeros(16, 2)
NAN = FULL.clone().index_fill_(0, torch.tensor([3]), math.nan)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (FULL[:5], "16 designs were asked for, got 5"),
        (torch.zeros(16, 3), r"must be `n x 2`, got \(16, 3\)"),
        (torch.zeros(16), r"must be `n x 2`, got \(16,\)"),
        (NAN, "must be finite, got 2 entries"),
        (FULL + math.inf, "must be finite, got 32 entries"),
        (FULL + 100, r"design 0 has 100 at \[0\], where \[-6, 6\] is allowed"),
        (FULL.long(), "must be a floating-point tensor, got torch.int64"),
        (FULL.tolist(), "must be a tensor, got list"),
        (None, "must be a tensor, got NoneType"),
    ],
)
@pytest.mark.parametrize("call", ["ask", "recommend"])
def test_malformed_designs_name_the_optimizer(call, value, message, tmp_path):
    with pytest.raises(OptimizerError, match=rf"^Malformed.{call}: .*{message}"):
        play(tmp_path, malformed(call, value), Probe(), (16, 16), evaluation=16)
    assert (tmp_path / "ledger.csv").exists() == (call == "ask"), "the round before is committed, this one is not"
    play(tmp_path, Steps, Probe(), (16, 16), evaluation=16)


@pytest.mark.parametrize("value", [torch.zeros(3), torch.full((8,), math.nan), torch.zeros(8, dtype=torch.long)])
def test_malformed_predictions_name_the_optimizer(value, tmp_path):
    with pytest.raises(OptimizerError, match=r"Malformed\.predict must give 8 finite scores, got "):
        play(tmp_path, malformed("predict", value), Probe(), ROUNDS)


@pytest.mark.parametrize(
    ("rounds", "evaluation", "validation"), [((), 8, 0), ((4, 0), 8, 0), ((4,), -1, 0), ((4,), 8, 9), ((4,), 8, -1)]
)
def test_an_impossible_budget_is_refused(rounds, evaluation, validation):
    with pytest.raises(ValueError, match="budget"):
        Budget(rounds, evaluation, validation)


def prior_in_place(optimizer):
    with torch.no_grad():
        for weight in optimizer.problem.prior.denoiser.parameters():
            weight.mul_(0.9)


def bounds_in_place(optimizer):
    optimizer.problem.domain.lower.sub_(1)


@pytest.mark.parametrize("change", [prior_in_place, bounds_in_place])
@pytest.mark.parametrize("when", ["__init__", "ask", "tell", "recommend", "predict"])
def test_an_optimizer_that_changes_its_problem_is_named(tmp_path, change, when):
    method, bounds = getattr(Steps, when), Probe.domain.lower.clone()

    def changing(self, *args):
        out = method(self, *args)
        change(self)
        return out

    forgetful = type("Forgetful", (Steps,), {when: changing})
    with pytest.raises(OptimizerError, match=r"Forgetful has changed its problem in place in round [01]"):
        play(tmp_path, forgetful, Probe(), ROUNDS)
    assert torch.equal(Probe.domain.lower, bounds)


def test_what_an_optimizer_does_to_its_prior_moves_no_evaluation(tmp_path, monkeypatch):
    whole = play(tmp_path / "whole", Steps, Probe(), ROUNDS[:1])

    class InPlace(Steps):
        def tell(self, x, y):
            super().tell(x, y)
            prior_in_place(self)

    monkeypatch.setattr("bbo_bench.loop.fingerprint", lambda problem: None)
    assert play(tmp_path / "changed", InPlace, Probe(), ROUNDS[:1]) == whole


@pytest.mark.parametrize("method", ["evaluate", "valid", "features", "canonical", "metrics", "validate"])
def test_what_a_task_does_to_designs_reaches_no_record(tmp_path, method):
    def clearing(self, x):
        out = getattr(Probe, method)(self, x.clone())
        x.zero_()
        return out

    vandal = type("Vandal", (Probe,), {method: clearing})
    assert play(tmp_path / "cleared", Steps, vandal(), ROUNDS) == play(tmp_path / "kept", Steps, Probe(), ROUNDS)


@pytest.mark.parametrize(
    ("method", "answer", "message"),
    [
        ("predict", lambda x: [0.0] * len(x), r"Odd.predict must give a tensor of \d+ scores, or None, got list"),
        ("ask", lambda n: torch.zeros(n, 2, device="meta"), r"Odd.ask: designs must be on cpu, got some on meta"),
        ("ask", lambda n: np.zeros((n, 2)), r"Odd.ask: designs must be a tensor, got ndarray"),
        ("diagnostics", lambda: {"loss, mean": 0.0}, r"Odd.diagnostics must map words to numbers, got 'loss, mean'"),
        ("diagnostics", lambda: {"loss\nmean": 0.0}, r"Odd.diagnostics must map words to numbers, got 'loss.nmean'"),
        ("diagnostics", lambda: {"loss": "low"}, r"got 'loss': could not convert string to float"),
        ("diagnostics", lambda: {"loss": torch.zeros(2)}, r"Odd.diagnostics must map words to numbers, got 'loss'"),
    ],
)
def test_what_an_optimizer_gives_is_checked_and_it_is_named(tmp_path, method, answer, message):
    odd = type("Odd", (Steps,), {method: lambda self, *args: answer(*args)})
    with pytest.raises(OptimizerError, match=message):
        play(tmp_path, odd, Probe(), ROUNDS)
