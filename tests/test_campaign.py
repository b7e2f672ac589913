"""Campaigns: what is asked now and told later is what a run would have done."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from bbo_bench.campaign import Campaign, CampaignError, alarms, calibrated, ids, matched
from bbo_bench.record import ASKED, FINAL, RecordError
from bbo_bench.testing import Probe
from bbo_bench.testing.probe import made, play

ROUNDS = (8, 12, 16)


class Exact(Probe):
    noise_std = 0.0


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ("cma_es", "turbo", "ddpo_oracle", "svdd")]


def campaign(folder: Path, name: str = "genetic", rounds: tuple[int, ...] = ROUNDS, minimize: bool = False) -> Campaign:
    built = made("optimizer", name)
    return Campaign(Exact(), built, folder, rounds=rounds, evaluation=8, minimize=minimize, device="cpu")


def play_by_hand(folder: Path, name: str) -> None:
    """A process per step, as far as the folder knows."""
    for i in range(len(ROUNDS)):
        asked = campaign(folder, name).ask()
        assert asked.round == i
        order = torch.randperm(len(asked.x)).tolist()
        scores = Exact().evaluate(asked.x)
        campaign(folder, name).tell([asked.ids[j] for j in order], scores[order].tolist())


@pytest.mark.parametrize("name", ["genetic", "sqdf", *OTHERS])
def test_a_campaign_is_the_run(name: str, tmp_path: Path) -> None:
    play(tmp_path / "run", made("optimizer", name), Exact(), ROUNDS)
    play_by_hand(tmp_path / "told", name)
    for file in ("ledger.csv",):
        assert (tmp_path / "told" / file).read_bytes() == (tmp_path / "run" / file).read_bytes()
    for file in ("designs.npz", "recommended.npz"):
        one, other = np.load(tmp_path / "told" / file), np.load(tmp_path / "run" / file)
        assert one.files == other.files
        assert all(np.array_equal(one[key], other[key]) for key in one.files)
    told, run = (pd.read_csv(tmp_path / which / "metrics.csv") for which in ("told", "run"))
    assert list(told) == list(run)
    known = [key for key in told if told[key].notna().any()]
    pd.testing.assert_frame_equal(told[known], run[known])
    unknown = {"score", "distinct_top", "reward_mean", "normalized", "distinct_top_reference", "reward_mean_reference"}
    assert unknown.isdisjoint(known)
    assert {"best", "top10", "validity", "elbo_z", "pairwise", "frechet"} <= set(known)


def test_designs_are_asked_once_and_wait(tmp_path: Path) -> None:
    first = campaign(tmp_path).ask()
    again = campaign(tmp_path).ask()
    assert first.ids == again.ids == [f"r0-{i}" for i in range(8)]
    assert torch.equal(first.x, again.x)
    campaign(tmp_path).tell(first.ids, [0.0] * 8)
    assert not (tmp_path / ASKED).exists()
    with pytest.raises(CampaignError, match="ask first"):
        campaign(tmp_path).tell(first.ids, [0.0] * 8)


def test_what_was_asked_counts_where_another_machine_would_ask_otherwise(tmp_path: Path) -> None:
    asked = campaign(tmp_path).ask()
    other = asked.x.clamp(-1, 1)
    np.savez(tmp_path / ASKED, queried_0=other.numpy())
    campaign(tmp_path).tell(asked.ids, [1.0] * 8)
    assert np.array_equal(np.load(tmp_path / "designs.npz")["queried_0"], other.numpy())


def test_left_over_designs_of_a_round_that_is_told_do_no_harm(tmp_path: Path) -> None:
    asked = campaign(tmp_path).ask()
    before = (tmp_path / ASKED).read_bytes()
    campaign(tmp_path).tell(asked.ids, [1.0] * 8)
    (tmp_path / ASKED).write_bytes(before)  # as a kill between two files would leave it
    assert campaign(tmp_path).ask().ids[0] == "r1-00"


@pytest.mark.parametrize("name", ["genetic", "sqdf", *OTHERS])
def test_designs_that_nobody_tried_are_no_queries(name: str, tmp_path: Path) -> None:
    for told in (6, 12, 5):
        asked = campaign(tmp_path, name).ask()
        scores = Exact().evaluate(asked.x)[-told:]
        verdict = campaign(tmp_path, name).tell(asked.ids[-told:], scores.tolist(), "left out")
    assert verdict.metrics["queries"] == 23
    arrays = np.load(tmp_path / "designs.npz")
    assert [len(arrays[key]) for key in arrays.files] == [6, 12, 5]
    assert np.array_equal(arrays["queried_2"], asked.x[-5:].numpy())
    assert campaign(tmp_path, name).complete


def test_trajectories_of_designs_without_a_score_are_not_learnt_from() -> None:
    task = Exact()
    optimizer = made("optimizer", "ddpo_oracle")(
        task.problem(ROUNDS, torch.device("cpu")), torch.Generator().manual_seed(0)
    )
    optimizer.tell(task.reference()[:8], task.evaluate(task.reference()[:8]))
    x = optimizer.ask(12)
    kept = [0, 3, 11]
    learnt: list[Tensor] = []
    optimizer.learn = lambda: learnt.extend(next(iter(optimizer.rollouts(1, 12))))
    optimizer.tell(x[kept], torch.tensor([1.0, 2.0, 3.0], dtype=torch.double))
    paths, reward = learnt
    assert torch.equal(optimizer.prior.decode(paths.x0), x[kept])
    assert len(reward) == 3 and reward[2] > reward[1] > reward[0]


def test_designs_that_cannot_be_made_count_as_the_worst_that_was_measured(tmp_path: Path) -> None:
    asked = campaign(tmp_path).ask()
    campaign(tmp_path).tell(asked.ids[:6], [3.0, 1.0, 2.0, 5.0, -math.inf, 4.0], "infeasible")
    ledger = pd.read_csv(tmp_path / "ledger.csv")
    assert ledger["true"].tolist() == [3, 1, 2, 5, -math.inf, 4, -math.inf, -math.inf]
    assert ledger["observed"].tolist() == [3, 1, 2, 5, 1, 4, 1, 1]


def test_low_scores_may_be_good(tmp_path: Path) -> None:
    asked = campaign(tmp_path, minimize=True).ask()
    scores = [3.0, 1.0, 2.0, 5.0, -math.inf, 4.0, 7.0, 8.0]
    verdict = campaign(tmp_path, minimize=True).tell(asked.ids, scores)
    assert verdict.metrics["best"] == -1
    assert pd.read_csv(tmp_path / "ledger.csv")["observed"].tolist() == [-3, -1, -2, -5, -8, -4, -7, -8]


@pytest.mark.parametrize(
    ("names", "scores", "missing", "message"),
    [
        (["r0-0"], [1.0], "refuse", r"r0-1, r0-2, r0-3 and 4 more of 8 designs without a score"),
        (["r0-9"], [1.0], "infeasible", r"r0-9: no design of this round, whose ids are r0-0 to r0-7"),
        (["r0-1"], [math.inf], "infeasible", r"the score of r0-1 must be a number"),
        (["r0-1"], [1e200], "infeasible", r"the score of r0-1 must be a number"),
        (["r0-1"], [], "infeasible", r"expected a score for every id"),
        (["r0-1"], [math.nan], "left out", r"every design of the round is left out"),
        (["r0-1"], [-math.inf], "infeasible", r"no design has a score yet"),
    ],
)
def test_what_cannot_be_told_changes_nothing(
    names: list[str], scores: list[float], missing: str, message: str, tmp_path: Path
) -> None:
    asked = campaign(tmp_path).ask()
    with pytest.raises(CampaignError, match=message):
        campaign(tmp_path).tell(names, scores, missing)  # type: ignore[arg-type]
    assert torch.equal(campaign(tmp_path).ask().x, asked.x)


def test_repeats_are_averaged() -> None:
    found = matched(["a", "b", "a"], [1.0, 2.0, 4.0], ["a", "b"], "refuse", 1)
    assert found.tolist() == [2.5, 2.0]
    assert matched(["a", "b", "a"], [1.0, 2.0, 4.0], ["a", "b"], "refuse", -1).tolist() == [-2.5, -2.0]
    assert matched(["a", "b", "a"], [-math.inf, 2.0, -math.inf], ["a", "b"], "refuse", 1).tolist() == [-math.inf, 2.0]
    with pytest.raises(CampaignError, match="a: told as made and as impossible to make"):
        matched(["a", "b", "a"], [1.0, 2.0, -math.inf], ["a", "b"], "refuse", 1)


def test_ids_are_of_one_length() -> None:
    assert ids(3, 11)[0] == "r3-00" and ids(3, 11)[-1] == "r3-10"
    assert ids(0, 1) == ["r0-0"]


def test_calibration_by_hand() -> None:
    found = calibrated(torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0.0, 1.0, 2.0], dtype=torch.double), 2.0)
    assert found == pytest.approx({"gap": 0.5, "error": math.sqrt(5 / 3) / 2, "rank_correlation": 0.5})
    assert math.isnan(calibrated(torch.zeros(2), torch.tensor([0.0, 1.0]), 1.0)["rank_correlation"])


def test_alarms() -> None:
    sound = {"elbo_z": -1.9, "validity": 0.5, "validity_reference": 1.0, "pairwise": 3.0, "pairwise_reference": 6.0}
    assert alarms(sound, {"gap": 1.0}) == []
    assert "exploited" in alarms(sound, {"gap": 1.1})[0]
    assert "unlikely" in alarms(sound | {"elbo_z": -2.1}, {})[0]
    assert "are valid" in alarms(sound | {"validity": 0.49}, {})[0]
    assert "distance" in alarms(sound | {"pairwise": 2.9}, {})[0]
    assert alarms(dict.fromkeys(sound, math.nan), {}) == []


def test_the_model_is_judged_by_what_it_said_before(tmp_path: Path) -> None:
    asked = campaign(tmp_path, "sqdf").ask()
    assert campaign(tmp_path, "sqdf").tell(asked.ids, Exact().evaluate(asked.x).tolist()).calibration == {}
    asked = campaign(tmp_path, "sqdf").ask()
    verdict = campaign(tmp_path, "sqdf").tell(asked.ids, (Exact().evaluate(asked.x) - 1000).tolist())
    assert verdict.calibration["gap"] > 10
    assert any("exploited" in each for each in verdict.alarms)


def test_a_longer_budget_goes_on_from_a_complete_campaign(tmp_path: Path) -> None:
    play_by_hand(tmp_path, "genetic")
    with pytest.raises(CampaignError, match="is complete: all 3 rounds have been told"):
        campaign(tmp_path).ask()
    asked = campaign(tmp_path, rounds=(*ROUNDS, 4)).ask()
    assert asked.round == 3 and len(asked.x) == 4


def extended(folder: Path, rounds: tuple[int, ...]) -> dict[str, bytes]:
    return play(folder, made("optimizer", "genetic"), Probe(), rounds, config={"budget": {"rounds": list(rounds)}})


def test_a_longer_budget_goes_on_from_a_complete_run(tmp_path: Path) -> None:
    whole = extended(tmp_path / "whole", ROUNDS)
    extended(tmp_path / "extended", ROUNDS[:2])
    assert extended(tmp_path / "extended", ROUNDS) == whole
    assert not (tmp_path / "extended" / "state.pt").exists()


def test_a_run_without_its_state_cannot_go_on(tmp_path: Path) -> None:
    extended(tmp_path, ROUNDS[:2])
    (tmp_path / FINAL).unlink()
    with pytest.raises(RecordError, match="a complete run of fewer rounds"):
        extended(tmp_path, ROUNDS)
    with pytest.raises(RecordError, match="another configuration"):
        extended(tmp_path, (8, 13, 16))
