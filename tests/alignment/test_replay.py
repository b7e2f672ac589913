import pytest
import torch

from bbo_bench.alignment.replay import MODES, Replay
from bbo_bench.seeding import generator

STEPS = 4


def rollout(*rewards: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Trajectories whose states are numbered reward + step / 10."""
    reward = torch.tensor(rewards, dtype=torch.float)
    return (reward[:, None] + torch.arange(STEPS + 1) / 10)[..., None], reward


def shares(replay: Replay, n: int = 20_000) -> dict[float, float]:
    x, k, _ = replay.sample(n, generator(0))
    reward = (x[:, 0] - k / 10).round()
    return {value: float((reward == value).double().mean()) for value in reward.unique().tolist()}


@pytest.mark.parametrize("mode", MODES)
def test_states_belong_to_their_steps(mode):
    replay = Replay(mode=mode, gamma=0.9)
    replay.add(*rollout(1, 2, 3))
    x, k, _ = replay.sample(64, generator(0))
    assert x.shape == (64, 1)
    assert set(k.tolist()) <= set(range(STEPS))
    torch.testing.assert_close((x[:, 0] * 10 - k).remainder(10), torch.zeros(64), atol=1e-4, rtol=0)


def test_random_is_uniform_over_all():
    replay = Replay(mode="random")
    replay.add(*rollout(1, 2))
    replay.add(*rollout(3, 4))
    assert shares(replay) == pytest.approx({1: 0.25, 2: 0.25, 3: 0.25, 4: 0.25}, abs=0.02)


def test_on_policy_draws_the_newest_and_the_mixture_half_of_them():
    for mode, expected in (("on_policy", {3: 1.0}), ("on_policy+random", {1: 0.25, 3: 0.75})):
        replay = Replay(mode=mode)
        replay.add(*rollout(1))
        replay.add(*rollout(3))
        assert shares(replay) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("mode", ["random", "reward", "reward+gamma"])
def test_a_share_of_a_batch_may_be_on_policy_in_any_mode(mode):
    replay = Replay(mode=mode, on_policy=0.25)
    replay.add(*rollout(9, 9))
    replay.add(*rollout(1))
    x, k, _ = replay.sample(8, generator(0))
    assert (x[:2, 0] - k[:2] / 10).round().tolist() == [1, 1]
    assert shares(replay)[1] >= 0.25


def test_reward_draws_the_best():
    replay = Replay(mode="reward")
    replay.add(*rollout(1, 5, 3, 4))
    x, k, _ = replay.sample(2, generator(0))
    assert sorted((x[:, 0] - k / 10).round().tolist()) == [4, 5]


def test_priorities_are_rewards_above_the_lowest_even_if_all_are_negative():
    replay = Replay(mode="reward+gamma")
    replay.add(*rollout(-9, -8, -6))
    drawn = shares(replay)
    assert drawn.pop(-9, 0) < 0.01
    assert drawn == pytest.approx({-8: 0.25, -6: 0.75}, abs=0.02)


def test_priorities_of_equal_rewards_are_uniform():
    replay = Replay(mode="reward+gamma")
    replay.add(*rollout(2, 2))
    x, _, _ = replay.sample(100, generator(0))
    assert x.isfinite().all()


def test_late_steps_are_preferred_by_the_discount():
    replay = Replay(mode="reward+gamma", gamma=0.5)
    replay.add(*rollout(1, 2))
    _, k, steps = replay.sample(20_000, generator(0))
    expected = torch.tensor([1, 2, 4, 8]) / 15
    torch.testing.assert_close(k.bincount() / len(k), expected, atol=0.02, rtol=0)
    torch.testing.assert_close(steps, 1 / expected[k])


def test_drawn_steps_stand_for_all_steps_of_a_trajectory():
    for mode in ("random", "reward+gamma"):
        replay = Replay(mode=mode, gamma=0.5)
        replay.add(*rollout(1, 2))
        _, k, steps = replay.sample(20_000, generator(0))
        assert float((steps * (3.0 + k)).mean()) == pytest.approx(3 + 4 + 5 + 6, rel=0.02)


def test_the_oldest_leave_a_full_buffer():
    replay = Replay(capacity=2, mode="random")
    for reward in (1, 2, 3):
        replay.add(*rollout(reward))
    assert shares(replay).keys() == {2, 3}


def test_bad_use_is_refused():
    with pytest.raises(ValueError, match="one of random"):
        Replay(mode="best")
    for mode, share in (("random", 1.0), ("reward", -0.1), ("on_policy", 0.5)):
        with pytest.raises(ValueError, match=f"lie in .*got {share} in mode {mode}"):
            Replay(mode=mode, on_policy=share)
    with pytest.raises(ValueError, match="add a rollout"):
        Replay().sample(1, generator(0))


def test_positive_rewards_are_drawn_in_proportion_and_others_while_there_is_nothing_else():
    replay = Replay(mode="positive+gamma")
    replay.add(*rollout(-1, 0, 1, 3))
    assert shares(replay) == pytest.approx({1: 0.25, 3: 0.75}, abs=0.02)
    replay = Replay(mode="positive+gamma")
    replay.add(*rollout(-1, -2))
    assert shares(replay) == pytest.approx({-1: 0.5, -2: 0.5}, abs=0.02)
