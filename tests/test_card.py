"""The figures of a card, on the probe, whose prior is known in closed form."""

import re
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from bbo_bench import load_task
from bbo_bench.card import SIZES, differences, in_one_step, measure, nearest, sampled, seconds
from bbo_bench.metrics.distinct import slots, spacing
from bbo_bench.plugins import choices, find
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe


def test_the_figures_of_the_probe():
    figures = measure(Probe())
    assert figures["scores"]["y_prior"] == pytest.approx(Probe.y_prior, abs=0.1)
    reference = Probe().reference()
    assert figures["scores"]["mean of the data"] == pytest.approx(float(Probe().evaluate(reference).mean()), abs=1e-3)
    assert figures["scores"]["best valid of the data"] == pytest.approx(
        float(Probe().evaluate(reference).max()), abs=1e-3
    )
    assert figures["prior samples"]["precision"] > 0.7
    assert figures["speed"]["designs a second"] > 1000 and figures["speed"]["seconds to sample 256"] > 0


def test_one_step_is_judged_from_noise_and_from_noised_designs():
    task = instantiate(find("task", "tfbind8").settings)
    outcome = in_one_step(task, task.training_data()[:128], "tweedie")
    assert list(outcome) == ["20 steps left of 20", "17 steps left of 20", "12 steps left of 20"]
    assert outcome["12 steps left of 20"]["frechet"] < outcome["20 steps left of 20"]["frechet"] / 2


def test_nearest_is_the_median_of_the_least_distances():
    data = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    assert nearest(Probe(), torch.tensor([[1.0, 0.0], [8.0, 0.0], [10.0, 5.0]]), data) == 2


def test_samples_come_in_batches_and_in_the_number_asked_for():
    prior = Probe().prior()
    assert sampled(prior, 1_000_003, generator(0)).shape == (1_000_003, 2)


def test_seconds_is_a_median():
    calls = []
    assert seconds(lambda: calls.append(0), 3) < 1
    assert len(calls) == 4


def test_the_command_prints_them(cli):
    outcome = cli("card", "task=toy")
    assert outcome.status == 0 and "y_prior" in outcome.out and "seconds to sample 256" in outcome.out
    assert "did you mean toy" in cli("card", "task=toyy").err


def test_declared_constants_that_differ_are_flagged():
    scores = {
        "y_prior": 1.0,
        "y_prior as declared": 1.01,
        "std of the prior": 1.0,
        "best valid of the data": 3.0,
        "best valid of the prior": 4.0,
        "best_known as declared": 5.0,
    }
    assert differences(scores) == []
    assert "give task.y_prior=1" in differences(scores | {"y_prior as declared": 1.1})[0]
    assert "a valid design has 4: raise task.best_known" in differences(scores | {"best_known as declared": 3.5})[0]


def test_a_card_takes_settings(cli):
    outcome = cli("card", "task=tfbind8", "task.factor=egr2")
    assert outcome.status == 0 and "give task.y_prior=0.4" in outcome.err
    assert "no setting factr" in cli("card", "task=tfbind8", "task.factr=egr2").err
    assert "expected task.KEY=VALUE, got alpha=2" in cli("card", "task=tfbind8", "alpha=2").err


CARDS = sorted(Path(__file__).parents[1].glob("tasks/*/README.md"))
SPACINGS = [
    (name, float(few), float(fewer))
    for card in CARDS
    for name, few, fewer in re.findall(r"`(\w+)`\s([\d.]+),\s([\d.]+)[;.]", " ".join(card.read_text().split()))
]


@pytest.mark.parametrize(("name", "few", "fewer"), SPACINGS)
def test_the_spacing_on_a_card_is_what_is_measured(name, few, fewer):
    if missing := find("task", name).missing:
        pytest.skip(f"needs {', '.join(missing)}")
    task = load_task(name)
    features = task.features(task.reference()).double()
    assert [spacing(features, slots(m)) for m in SIZES] == pytest.approx([few, fewer], rel=1e-3)


def test_every_card_has_a_spacing():
    unknown = {choice.file.parent for choice in choices("task").values() if choice.blank}  # of weights of one's own
    assert {find("task", name).file.parent for name, *_ in SPACINGS} == {card.parent for card in CARDS} - unknown
