"""No reference leads from what an optimizer holds to the scores."""

import functools
from types import SimpleNamespace

import pytest
import torch

from bbo_bench.core import Optimizer
from bbo_bench.plugins import choices
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe, reachable
from bbo_bench.testing.optimizer import SECRETS
from bbo_bench.testing.probe import made, play, problem_of

TASKS = [name for name, choice in choices("task").items() if not (choice.missing or choice.blank)]


def leaks(root):
    return [path for path, each in reachable(root) if isinstance(each, SECRETS)]


class Slotted:
    __slots__ = ("secret",)

    def __init__(self, secret):
        self.secret = secret


class Linked:
    pass


def default(secret):
    def function(x, task=secret, *, other=None):
        return task, x, other

    return function


def generating(secret):
    def numbers():
        yield 1
        yield secret

    iterator = numbers()
    next(iterator)
    return iterator


def deep(secret):
    root = Linked()
    root.next = Linked()
    root.next.back = root
    root.next.items = [(), {"key": ({1, 2}, [secret])}]
    return root


def hooked(secret):
    tensor = torch.zeros(1, requires_grad=True)
    tensor.register_hook(lambda gradient: secret)
    return tensor


HIDING_PLACES = {
    "attribute": lambda secret: SimpleNamespace(a=secret),
    "slot": Slotted,
    "closure": lambda secret: lambda: secret,
    "default": default,
    "bound method": lambda secret: secret.evaluate,
    "partial": lambda secret: functools.partial(print, secret),
    "generator": generating,
    "cycle": deep,
    "tensor hook": hooked,
    "attribute of a tensor": lambda secret: setattr(tensor := torch.zeros(1), "secret", secret) or tensor,
}


@pytest.mark.parametrize("place", HIDING_PLACES)
def test_the_walk_finds_what_is_hidden(place):
    assert leaks(HIDING_PLACES[place](Probe()))
    assert leaks(SimpleNamespace(a=Probe().domain, b=[1.0, "text"])) == []


@pytest.mark.parametrize("name", TASKS)
def test_no_path_leads_from_a_problem_to_the_scores(name):
    problem = problem_of(made("task", name), (8, 8))
    assert len(list(reachable(problem))) > 10
    assert leaks(problem) == []


@pytest.mark.every_plugin
@pytest.mark.parametrize("name", choices("optimizer"))
def test_no_path_leads_from_an_optimizer_to_the_scores(name, tmp_path):
    built, found = [], []
    build = made("optimizer", name)

    def spied(problem, rng):
        optimizer = build(problem, rng)
        built.append(optimizer)
        tell = optimizer.tell

        def walked(x, y):
            tell(x, y)
            found.extend(leaks(optimizer) + leaks(x) + leaks(y))

        assert isinstance(optimizer, Optimizer)
        optimizer.tell = walked
        return optimizer

    play(tmp_path, spied, Probe(), (16, 16))
    assert built and found == []


def test_an_optimizer_cannot_alter_what_is_recorded(tmp_path):
    build = made("optimizer", "prior_sampling")

    class Vandal(type(build(problem_of(Probe(), (4,)), generator(0)))):
        def tell(self, x, y):
            x.zero_()
            y.zero_()

        def predict(self, x):
            return x.zero_()[:, 0]

    honest = play(tmp_path / "honest", build, Probe(), (8, 8))
    vandal = play(tmp_path / "vandal", Vandal, Probe(), (8, 8))
    assert vandal["ledger.csv"] == honest["ledger.csv"]
    for name in ("designs.npz", "recommended.npz"):
        assert vandal[name] == honest[name]
