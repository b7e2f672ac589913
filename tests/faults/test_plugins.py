"""Optimizers and tasks that break their contract: named, at the cost of the round in which they do."""

import math
import sys

import numpy as np
import pytest
import torch

from bbo_bench.containment import RunEnded, contained
from bbo_bench.core import Optimizer
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import play

ROUNDS = (8, 8, 8)
WIDTH = 2


class Steps(Optimizer):
    """Designs around a point that tell moves."""

    def __init__(self, problem, rng):
        super().__init__(problem, rng)
        self.center = torch.zeros(WIDTH)

    def ask(self, n):
        return self.problem.domain.clamp(self.center + torch.randn(n, WIDTH, generator=self.rng))

    def tell(self, x, y):
        self.center = x[y.argmax()]

    recommend = ask

    def predict(self, x):
        return -x.square().sum(1)

    def diagnostics(self):
        return {"far": float(self.center.norm())}

    def state_dict(self):
        return {"center": self.center}

    def load_state_dict(self, state):
        self.center = state["center"]


def failing(*_):
    raise ValueError("as it was told")


def allocating(*_):
    raise MemoryError("no more of it")


def leaving(*_):
    sys.exit(1)


def interrupting(*_):
    raise KeyboardInterrupt


def endless(*_):
    while True:
        pass


EVERYWHERE = {
    "raises": failing,
    "lacks memory": allocating,
    "exits": leaving,
    "interrupts": interrupting,
    "hangs": endless,
}
DESIGNS = {
    "gives nothing": lambda n: None,
    "gives NaN": lambda n: torch.full((n, WIDTH), math.nan),
    "gives infinity": lambda n: torch.full((n, WIDTH), math.inf),
    "gives too few": lambda n: torch.zeros(n - 1, WIDTH),
    "gives too many": lambda n: torch.zeros(n + 1, WIDTH),
    "gives one dimension more": lambda n: torch.zeros(n, WIDTH, 1),
    "gives one number less": lambda n: torch.zeros(n, WIDTH - 1),
    "gives integers": lambda n: torch.zeros(n, WIDTH, dtype=torch.long),
    "gives an array": lambda n: np.zeros((n, WIDTH), np.float32),
    "gives a list": lambda n: [[0.0] * WIDTH] * n,
    "is on another device": lambda n: torch.zeros(n, WIDTH, device="meta"),
    "leaves the domain": lambda n: torch.full((n, WIDTH), 100.0),
    "gives complex numbers": lambda n: torch.zeros(n, WIDTH, dtype=torch.complex64),
}
SCORES = {
    "gives NaN": lambda x: torch.full((len(x),), math.nan),
    "gives infinity": lambda x: torch.full((len(x),), math.inf),
    "gives too few": lambda x: torch.zeros(len(x) - 1),
    "gives a column": lambda x: torch.zeros(len(x), 1),
    "gives integers": lambda x: torch.zeros(len(x), dtype=torch.long),
    "gives a list": lambda x: [0.0] * len(x),
    "gives a number": lambda x: 0.0,
    "gives an array": lambda x: np.zeros(len(x)),
}
FAULTS_OF_OPTIMIZERS = {
    **{
        (method, fault): call
        for method in ("ask", "tell", "recommend", "predict", "diagnostics", "state_dict")
        for fault, call in EVERYWHERE.items()
    },
    **{(method, fault): call for method in ("ask", "recommend") for fault, call in DESIGNS.items()},
    **{("predict", fault): call for fault, call in SCORES.items()},
    ("diagnostics", "gives words"): lambda: {"far": "very"},
    ("diagnostics", "gives several"): lambda: {"far": torch.zeros(2)},
    ("diagnostics", "gives a list"): lambda: [1.0],
    ("diagnostics", "gives nothing"): lambda: None,
    ("diagnostics", "has a comma"): lambda: {"a,b": 1.0},
    ("diagnostics", "has a line"): lambda: {"a\nb": 1.0},
    ("diagnostics", "has other keys"): lambda: {"near": 1.0},
}
OBJECTS = {
    "gives an object": lambda: {"center": object()},
    "gives a function": lambda: {"center": failing},
    "gives an array": lambda: {"center": np.zeros(2)},
    "gives a module": lambda: {"net": torch.nn.Linear(1, 1)},
    "gives a generator": lambda: {"rng": torch.Generator()},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return play(tmp_path_factory.mktemp("whole"), Steps, Probe(), ROUNDS)


def broken(base, method, fault, since):
    """A class whose method does `fault` from its call number `since` on."""
    calls = []

    def call(self, *arguments):
        calls.append(1)
        return fault(*arguments) if len(calls) >= since else getattr(base, method)(self, *arguments)

    return type("Broken", (base,), {method: call})


@pytest.mark.parametrize(("method", "fault"), FAULTS_OF_OPTIMIZERS, ids=lambda each: each.replace(" ", "_"))
def test_an_optimizer_that_fails_in_its_second_round(whole, tmp_path, method, fault):
    kind = broken(Steps, method, FAULTS_OF_OPTIMIZERS[method, fault], since=1 if method == "ask" else 2)
    with pytest.raises(Exception) as caught, contained(0.5 if fault == "hangs" else None):
        play(tmp_path / "run", kind, Probe(), ROUNDS)
    told = f"{caught.value}"
    named = ("Broken", "as it was told", "no more of it", "the run took more", "in the run raised", "has the columns")
    assert any(each in told for each in named)
    assert isinstance(caught.value, RunEnded) == (fault in ("exits", "interrupts", "hangs"))
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) == 2
    assert play(tmp_path / "run", Steps, Probe(), ROUNDS) == whole


@pytest.mark.parametrize("fault", OBJECTS, ids=lambda each: each.replace(" ", "_"))
def test_a_state_that_could_not_be_loaded(whole, tmp_path, fault):
    kind = type("Broken", (Steps,), {"state_dict": lambda self: OBJECTS[fault]()})
    with pytest.raises(RuntimeError, match=r"state_dict\(\)\['\w+'\].* is a .*, from which no run could be resumed"):
        play(tmp_path / "run", kind, Probe(), ROUNDS)
    assert not (tmp_path / "run/metrics.csv").exists()
    assert play(tmp_path / "run", Steps, Probe(), ROUNDS) == whole


@pytest.mark.parametrize("fault", EVERYWHERE)
@pytest.mark.parametrize("method", ["__init__", "load_state_dict"])
def test_an_optimizer_that_cannot_be_set_up(whole, tmp_path, method, fault):
    if method == "load_state_dict":
        with pytest.raises(ValueError, match="as it was told"):
            play(tmp_path / "run", broken(Steps, "tell", failing, 2), Probe(), ROUNDS)
    kind = broken(Steps, method, EVERYWHERE[fault], 1)
    with pytest.raises(Exception), contained(0.5 if fault == "hangs" else None):  # noqa: B017 - whatever it raises
        play(tmp_path / "run", kind, Probe(), ROUNDS)
    assert play(tmp_path / "run", Steps, Probe(), ROUNDS) == whole


FAULTS_OF_TASKS = {
    **{
        (method, fault): call
        for method in ("evaluate", "valid", "features", "canonical", "metrics", "validate")
        for fault, call in EVERYWHERE.items()
    },
    **{("evaluate", fault): call for fault, call in SCORES.items() if fault != "gives integers"},
    ("valid", "gives floats"): lambda x: torch.ones(len(x)),
    ("valid", "gives too few"): lambda x: torch.ones(len(x) - 1, dtype=torch.bool),
    ("valid", "gives a list"): lambda x: [True] * len(x),
    ("features", "gives NaN"): lambda x: torch.full((len(x), 2), math.nan),
    ("features", "gives too few"): lambda x: torch.zeros(len(x) - 1, 2),
    ("features", "gives three dimensions"): lambda x: torch.zeros(len(x), 2, 2),
    ("features", "gives a list"): lambda x: [[0.0]] * len(x),
    ("metrics", "has a taken name"): lambda x: {"score": 1.0},
    ("metrics", "has no name"): lambda x: {"a b": 1.0},
    ("metrics", "gives words"): lambda x: {"far": "very"},
    ("metrics", "gives a list"): lambda x: [1.0],
}


@pytest.mark.parametrize(("method", "fault"), FAULTS_OF_TASKS, ids=lambda each: each.replace(" ", "_"))
def test_a_task_that_fails_after_a_while(whole, tmp_path, method, fault):
    kind = broken(Probe, method, FAULTS_OF_TASKS[method, fault], since=1 if method == "validate" else 4)
    with pytest.raises(Exception) as caught, contained(0.5 if fault == "hangs" else None):
        play(tmp_path / "run", Steps, kind(), ROUNDS, validation=4)
    told = f"{caught.value}"
    named = ("Broken", "as it was told", "no more of it", "the run took more", "in the run raised")
    assert any(each in told for each in named)
    assert play(tmp_path / "run", Steps, Probe(), ROUNDS) == whole
