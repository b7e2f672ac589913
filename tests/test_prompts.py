"""Prompts in the loop: balanced designs, metrics within a prompt, held-out prompts that are never queried."""

import csv
import io
import math

import numpy as np
import pytest
import torch

from bbo_bench.core import UnsuitableError
from bbo_bench.domains import Box, Captioned
from bbo_bench.loop import OptimizerError
from bbo_bench.optimizers.prior_sampling import PriorSampling
from bbo_bench.oracle import TaskError
from bbo_bench.prompts import PromptedEvaluator
from bbo_bench.seeding import generator
from bbo_bench.testing import Probe, PromptedProbe
from bbo_bench.testing.probe import Fragile, Killed, contents, made, play, problem_of

ROUNDS = (8, 9, 16)
DOMAIN = PromptedProbe.domain


def rows(files, name):
    return list(csv.DictReader(io.StringIO(files[name].decode())))


def arrays(files, name):
    return dict(np.load(io.BytesIO(files[name])))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return play(tmp_path_factory.mktemp("whole"), made("optimizer", "sqdf"), PromptedProbe(), ROUNDS, evaluation=16)


def test_asked_and_recommended_designs_are_balanced_and_held_out_prompts_never_asked(whole):
    for name, count in (("designs.npz", ROUNDS), ("recommended.npz", (16, 16, 16))):
        kind = name.removesuffix(".npz").replace("designs", "queried")
        for i, n in enumerate(count):
            number = DOMAIN.prompt(torch.as_tensor(arrays(whole, name)[f"{kind}_{i}"]))
            found = torch.bincount(number, minlength=3)
            assert found.sum() == n
            assert abs(int(found[0] - found[1])) <= 1
            assert found[2] == 0


def test_held_out_prompts_have_designs_and_metrics_of_their_own(whole):
    for i in range(3):
        x = torch.as_tensor(arrays(whole, "recommended.npz")[f"held_out_{i}"])
        assert DOMAIN.prompt(x).tolist() == [2] * 8
        row = rows(whole, "metrics.csv")[i]
        assert float(row["reward_mean_held_out"]) == pytest.approx(float(PromptedProbe().evaluate(x).mean()))
        assert 0 <= float(row["validity_held_out"]) <= 1
        assert "score_held_out" not in row, "no query counts for them, and no curve"


def test_metrics_are_means_over_prompts(whole):
    x = torch.as_tensor(arrays(whole, "recommended.npz")["recommended_2"])
    task, prior = PromptedProbe(), PromptedProbe().prior()
    queried = torch.cat([torch.as_tensor(arrays(whole, "designs.npz")[f"queried_{i}"]) for i in range(3)])
    row = rows(whole, "metrics.csv")[2]
    found = []
    for number in range(2):
        own, theirs = x[DOMAIN.prompt(x) == number], queried[DOMAIN.prompt(queried) == number]
        found.append((float(torch.pdist(own[:, :2].double()).mean()), float(task.evaluate(theirs).max())))
    assert float(row["pairwise"]) == pytest.approx(np.mean([pair for pair, _ in found]))
    assert float(row["best"]) == pytest.approx(np.mean([best for _, best in found]))
    assert prior.codec.drawn.tolist() == [0, 1]


def test_variety_over_prompts_hides_no_collapse_within_them():
    """Designs that are all alike within a prompt have no distance, however far the prompts are apart."""
    task = PromptedProbe()
    judge = PromptedEvaluator(task, task.prior(), 16, 0, (16,), 0)
    x = DOMAIN.captioned(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).repeat(8, 1), torch.arange(16) % 2)
    row = judge(0, x, task.evaluate(x), x, None, True)
    assert row["pairwise"] == 0
    assert row["vendi"] == pytest.approx(1)
    assert row["reward_mean"] == 5
    assert math.isnan(row["proxy_gap"])


def test_real_designs_are_those_of_the_prompt():
    """What is natural for one prompt is not so for another whose real designs lie elsewhere."""

    class Apart(PromptedProbe):
        def reference(self):
            x = super().reference()
            return torch.cat([x[:, :2] + 3 * (x[:, 2:] - 0.5).sign() * (x[:, 2:] < 2), x[:, 2:]], 1).clamp(-6, 6)

    task = Apart()
    judge = PromptedEvaluator(task, task.prior(), 32, 0, (32,), 0)
    real = task.reference()
    own = torch.cat([real[DOMAIN.prompt(real) == number][:16] for number in (0, 1)])
    swapped = torch.cat([own[:, :2], 1 - own[:, 2:]], 1)
    rows = [judge(0, x, task.evaluate(x), x, None, True) for x in (own, swapped)]
    assert rows[0]["precision"] > 0.9
    assert rows[1]["precision"] < 0.1


def test_a_run_with_prompts_resumes_byte_for_byte(tmp_path, whole):
    build = made("optimizer", "sqdf")
    for _ in ROUNDS:
        with pytest.raises(Killed):
            play(tmp_path / "killed", build, PromptedProbe(), ROUNDS, evaluation=16, record=Fragile)
    assert contents(tmp_path / "killed") == whole


class Unbalanced(PriorSampling):
    """Makes designs for the prompt that scores more."""

    def ask(self, n):
        x = super().ask(n)
        return DOMAIN.captioned(x[:, :2], torch.ones(n, dtype=torch.long))


class HeldOut(PriorSampling):
    """Asks for a prompt that is held out."""

    def ask(self, n):
        x = super().ask(n)
        return DOMAIN.captioned(x[:, :2], torch.arange(n) % 3)


class Obstinate(PriorSampling):
    """Recommends for prompts that it knows, whatever it is asked for."""

    def recommend(self, n):
        x = super().recommend(n)
        return DOMAIN.captioned(x[:, :2], torch.arange(n) % 2)


class Between(PriorSampling):
    """Changes prompts to what is none."""

    def ask(self, n):
        x = super().ask(n)
        return x + torch.tensor([0.0, 0.0, 0.5])


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Unbalanced, r"Unbalanced.recommend: 16 designs must be for prompts 0 to 1, .* got \[0, 16, 0\] for all 3"),
        (HeldOut, r"HeldOut.recommend: 16 designs must be for prompts 0 to 1, .* got \[6, 5, 5\] for all 3"),
        (Obstinate, r"Obstinate.recommend: 8 designs must be for prompts 2 to 2, .* got \[4, 4, 0\]"),
        (Between, r"Between.recommend: the last entry of a design must be its prompt's number, from 0 to 2"),
    ],
)
def test_an_optimizer_that_tampers_with_prompts_is_at_fault_by_name(cls, message, tmp_path):
    with pytest.raises(OptimizerError, match=message):
        play(tmp_path, cls, PromptedProbe(), ROUNDS, evaluation=16)


@pytest.mark.parametrize("name", ["cma_es", "genetic", "turbo", "qlogei", "best_of_n_oracle"])
def test_archives_are_refused_with_the_reason(name):
    with pytest.raises(UnsuitableError, match="ships designs of an archive"):
        made("optimizer", name)(problem_of(PromptedProbe(), ROUNDS), generator(0))


def test_an_evaluation_must_be_of_whole_prompts():
    with pytest.raises(
        ValueError, match=r"budget.evaluation must be a multiple of 16, 8 designs for each of 2 prompts, got 17"
    ):
        PromptedEvaluator(PromptedProbe(), PromptedProbe().prior(), 17, 0, ROUNDS, 0)
    with pytest.raises(ValueError, match=r"must be a multiple of 16, .* got 12"):
        PromptedEvaluator(PromptedProbe(), PromptedProbe().prior(), 12, 0, ROUNDS, 0)


def test_a_task_of_prompts_needs_real_designs_for_each_and_a_prior_that_draws_them():
    class Poor(PromptedProbe):
        def reference(self):
            return super().reference()[:4]

    with pytest.raises(TaskError, match=r"Poor.reference must have two designs .* every prompt, got 1 for 'm"):
        PromptedEvaluator(Poor(), Poor().prior(), 16, 0, ROUNDS, 0)
    with pytest.raises(TaskError, match="needs a Captioned domain, and a prior that draws prompts"):
        PromptedEvaluator(Probe(), Probe().prior(), 16, 0, ROUNDS, 0)


def test_tasks_without_prompts_have_no_metrics_of_held_out_ones(tmp_path):
    files = play(tmp_path, made("optimizer", "prior_sampling"), Probe(), (8,))
    assert not [key for key in rows(files, "metrics.csv")[0] if key.endswith("_held_out")]


BOX = Box(torch.zeros(2, 3), torch.ones(2, 3))


@pytest.mark.parametrize(
    ("prompts", "asked", "message"),
    [
        (["a cat", " "], None, r"empty ones at \[1\]"),
        (["a cat", "a dog", "a cat"], None, r"twice \['a cat'\]"),
        ([], None, "expected different prompts"),
        (["a cat"], 0, "expected 1 to 1 prompts to be asked for, .* got 0 and 1"),
        (["a cat"], 2, "expected 1 to 1 prompts to be asked for, .* got 2 and -1"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(prompts, asked, message):
    with pytest.raises(ValueError, match=message):
        Captioned(BOX, prompts, asked)


@pytest.mark.parametrize(("number", "where"), [(3.0, "3.0"), (-1.0, "-1.0"), (0.5, "0.5"), (float("nan"), "nan")])
def test_a_prompts_number_out_of_range_is_refused(number, where):
    domain = Captioned(BOX, ["a cat", "a dog", "a cow"])
    x = domain.sample(4, generator(0))
    x[2, -1] = number
    with pytest.raises(ValueError, match=rf"from 0 to 2, but design 2 has \[{where}"):
        domain.check(x)


def test_a_captioned_domain_is_its_box_and_a_number():
    domain = Captioned(BOX, ["a cat", "a dog", "a cow"], asked=2)
    x = domain.sample(200, generator(0))
    assert x.shape == (200, 3, 3)
    assert domain.shape == (3, 3)
    assert domain.check(x) is x
    assert set(domain.prompt(x).tolist()) == {0, 1}
    assert (domain.asked, domain.held_out) == (range(2), range(2, 3))
    assert torch.equal(domain.captioned(x[:, :2], domain.prompt(x)), x)
    mixed = x.clone()
    mixed[0, -1, 0] += 1
    with pytest.raises(ValueError, match="design 0 has"):
        domain.check(mixed)
    x[3, 0, 0] = 2
    with pytest.raises(ValueError, match="design 3 has 2"):
        domain.check(x)


def test_prompts_may_be_neither_asked_for_nor_held_out():
    domain = Captioned(BOX, ["a cat", "a dog", "a cow", "a hen"], asked=2, held_out=1)
    assert (domain.asked, domain.held_out) == (range(2), range(2, 3))
    moved = domain.to(torch.device("cpu"))
    assert (moved.asked, moved.held_out, moved.prompts) == (domain.asked, domain.held_out, domain.prompts)
    x = domain.captioned(torch.rand(3, 2, 3), torch.tensor([3, 3, 3]))
    assert domain.check(x) is x
    with pytest.raises(ValueError, match="of the others some held out, got 2 and 3"):
        Captioned(BOX, ["a cat", "a dog", "a cow", "a hen"], asked=2, held_out=3)


def test_a_first_round_has_a_design_for_every_prompt():
    with pytest.raises(ValueError, match=r"budget.rounds must begin with a design for each of 2 prompts, got \[1, 3\]"):
        PromptedEvaluator(PromptedProbe(), PromptedProbe().prior(), 16, 0, (1, 3), 0)


def test_a_prompt_that_has_no_score_yet_has_no_best_one():
    task = PromptedProbe()
    judge = PromptedEvaluator(task, task.prior(), 16, 0, (4,), 0)
    x = DOMAIN.captioned(torch.zeros(4, 2), torch.zeros(4))
    shown = DOMAIN.captioned(torch.randn(16, 2, generator=generator(0)), torch.arange(16) % 2)
    row = judge(0, x, task.evaluate(x), shown, None, False)
    assert math.isnan(row["best"]) and math.isnan(row["top10"])
    assert not math.isnan(row["reward_mean"])


@pytest.mark.parametrize("name", ["grpo_oracle", "b2_diffurl_oracle"])
def test_groups_of_trajectories_are_balanced_over_prompts(name):
    optimizer = made("optimizer", name)(problem_of(PromptedProbe(), (8, 8)), generator(0))
    for n in (2, 3, 5, 7, 16, 36, 128):
        DOMAIN.check_balanced(optimizer.ask(n), DOMAIN.asked)
