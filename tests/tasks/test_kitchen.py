"""Kitchen: kept states go on as they would have, steps are Franka Kitchen's, demonstrations are what happens."""

import importlib
import importlib.metadata

import numpy as np
import pytest
import torch

from bbo_bench import load_task
from bbo_bench.control.environment import execute
from bbo_bench.control.planning import Plans, episodes
from bbo_bench.plugins import PluginError, find
from bbo_bench.seeding import generator

pytest.importorskip("gymnasium_robotics", reason="the extra kitchen is not installed")
rooms = pytest.importorskip("bbo_bench.tasks.kitchen.room")
scripts = pytest.importorskip("bbo_bench.tasks.kitchen.script")
data = pytest.importorskip("bbo_bench.tasks.kitchen.data")

LENGTH, JOINTS, SEEN, Room = 32, rooms.JOINTS, rooms.SEEN, rooms.Room
DONE = {"kettle": 0.85, "slide cabinet": 0.85, "light switch": 0.85}
"""Of the script's attempts that end with their subtask done, at least."""


@pytest.fixture(scope="module")
def task():
    return load_task("kitchen")


@pytest.fixture(scope="module")
def room():
    return Room()


def shifted(room, **moved):
    """`1 x s`: the state at rest, but for where kettle, door and switch are."""
    seen = room.observe(room.rest[None])
    for name, value in moved.items():
        seen[0, {"kettle_y": 8, "door": 13, "switch": 14}[name]] = value
    return room.placed(seen)


def test_an_episode_goes_on_from_a_kept_state_as_it_would_have(room):
    """Byte for byte, with contacts, in another environment and in another order."""
    rng = generator(0)
    start = room.reset(3, rng)
    actions = torch.stack([scripts.attempt(room, name, row, 0.1, 24, rng).actions for name, row in
                           zip(rooms.SUBTASKS, start, strict=True)])  # fmt: skip
    whole = execute(room, start, actions)
    assert (room.distances(whole.states[:, -1]) < room.distances(start) - 0.05).any(1).all()
    again = execute(Room(), whole.states[:, 12].flip(0), actions[:, 12:].flip(0))
    assert torch.equal(again.states.flip(0), whole.states[:, 12:])
    assert torch.equal(again.rewards.flip(0), whole.rewards[:, 12:])


def test_steps_are_those_of_franka_kitchen(room):
    """An environment of its own, left alone, moves and completes the same, to the last digit."""
    theirs = rooms.KitchenEnv([*rooms.SUBTASKS], robot_noise_ratio=0.0, object_noise_ratio=0.0)
    theirs.reset(seed=0)
    start = room.reset(1, generator(1))
    rooms.mujoco.mj_setState(theirs.model, theirs.data, start[0].numpy(), rooms.SPEC)
    theirs.robot_env._last_robot_qpos = theirs.data.qpos[:9].copy()
    shown = scripts.attempt(room, "slide cabinet", start[0], 0.05, 26, generator(2))
    completed = set()
    for action, state in zip(shown.actions.double().numpy(), shown.states[1:], strict=True):
        for _ in range(rooms.REPEATED):
            seen, _, _, _, facts = theirs.step(np.r_[action, -1, -1])
            completed |= set(facts["step_task_completions"])
        assert np.array_equal(theirs.data.qpos, state[rooms.POSITIONS].numpy())
        far = [np.linalg.norm(seen["achieved_goal"][name] - theirs.goal[name]) for name in rooms.SUBTASKS]
        assert room.distances(state[None])[0].tolist() == pytest.approx(far, abs=1e-12)
    assert completed == {"slide cabinet"} and room.completed(shown.states[-1:]).tolist() == [[False, True, False]]


def test_progress_and_completion_by_hand(room):
    """A door half open is half of its way; Franka Kitchen calls what is nearer than .3 done."""
    half = 0.37 - (0.37 - float(room.rest[rooms.POSITIONS][19])) / 2
    states = torch.cat(
        [room.rest[None], shifted(room, door=half), shifted(room, switch=-0.69), shifted(room, kettle_y=-9)]
    )
    expected = torch.tensor([[0, 0, 0], [0, 0.5, 0], [0, 0, 1.0], [-1, 0, 0]]).double()
    torch.testing.assert_close(room.progress(states), expected, atol=2e-3, rtol=0)
    assert room.completed(states).tolist() == [[False] * 3, [False, True, False], [False, False, True], [False] * 3]


def test_scores_by_hand(task):
    """Who stays gains nothing; who is led to the lamp gains the way of its switch."""
    room = task.room
    start = room.reset(1, generator(3))
    still = torch.cat([room.observe(start).expand(LENGTH, -1), torch.zeros(LENGTH, JOINTS)], 1)[None]
    assert float(task.evaluate(still).abs()) < 1e-2
    shown = scripts.attempt(room, "light switch", start[0], 0.0, LENGTH, generator(0))
    plan = torch.cat([room.observe(shown.states[:-1]), shown.actions.float()], 1)[None]
    gained = (room.progress(shown.states[-1:]) - room.progress(start)).sum()
    assert float(task.evaluate(plan)) == pytest.approx(float(gained), abs=1e-9) and gained > 0.9
    assert task.metrics(plan)["completed"] == 1 and task.metrics(still)["completed"] == 0
    assert task.valid(plan).all()


def test_an_observation_is_placed_as_it_looks(room):
    seen = room.observe(room.reset(8, generator(0)))
    assert torch.equal(room.observe(room.placed(seen)), seen)
    assert room.placed(seen[:0]).shape == (0, len(room.rest))
    state = room.placed(seen)
    state[0, rooms.POSITIONS][26:30] *= -1  # the same rotation
    torch.testing.assert_close(room.observe(state), seen)
    assert room.step(state[:0], torch.zeros(0, JOINTS)).state.shape == (0, len(room.rest))


def test_actions_beyond_the_bounds_are_cut_and_designs_with_them_refused(task):
    state = task.room.reset(1, generator(0))
    beyond, border = (task.room.step(state, torch.full((1, JOINTS), each)).state for each in (3.0, 1.0))
    assert torch.equal(beyond, border)
    x = task.reference()[:2].clone()
    x[1, 3, SEEN] = 1.5
    with pytest.raises(ValueError, match=r"design 1 has 1.5 at \[3, 15\], where \[-1, 1\] is allowed"):
        task.evaluate(x)


def test_a_kettle_turned_by_no_rotation_is_infeasible(task):
    x = task.reference()[:2].clone()
    x[1, 0, 10:13] = 0.9
    assert task.evaluate(x).isfinite().tolist() == [True, False]
    assert task.valid(x).tolist() == [True, False]


def test_where_the_simulation_breaks_down_there_is_no_score(task):
    """And no reward, so that returns stay numbers; others are not touched."""
    state = task.room.reset(2, generator(0))
    state[1, rooms.POSITIONS.stop + 23] = 1e12
    step = task.room.step(state, torch.zeros(2, JOINTS))
    assert step.state.isfinite().all(1).tolist() == [True, False] and step.reward.isfinite().all()
    again = task.room.step(step.state, torch.zeros(2, JOINTS))
    assert again.state.isnan().any(1).tolist() == [False, True] and not again.success.any()


def test_demonstrations_are_what_happens(task):
    """Byte for byte from the beginnings of attempts, as what is written of starts and actions is what was executed."""
    x = task.reference()
    assert x.shape == (3 * data.HELD_OUT, LENGTH, SEEN + JOINTS)
    few, shown = x[:6], task.data
    outcome = task.execute(few)
    seen = task.room.observe(outcome.states[:, :-1].flatten(0, 1)).reshape(6, LENGTH, -1)
    torch.testing.assert_close(seen, few[..., :SEEN], atol=1.5e-3, rtol=0)
    gained = shown.reward[-data.HELD_OUT :, :, :LENGTH].sum(-1).flatten()[:6]
    torch.testing.assert_close(task.evaluate(few).float(), gained, atol=1e-5, rtol=0)


def test_training_plans_are_what_happens_nearly(task):
    """From any moment on, without speeds, which are not observed: a step is off by millimetres."""
    x = task.training_data()
    assert 10_000 < len(x) < data.TRAINING * 113 and x.shape[1:] == (LENGTH, SEEN + JOINTS)
    few = x[:: len(x) // 6][:6]
    assert float(task.errors(few).median()) < 6e-3 and task.valid(few).all()
    spoilt = few.clone()
    spoilt[:, 1:, :SEEN] = few.flip(0)[:, 1:, :SEEN]
    assert not task.valid(spoilt)[[0, 1, 4, 5]].any()


def test_most_attempts_succeed(task):
    shown = task.data
    assert len(shown.order) == data.TRAINING + data.HELD_OUT
    for k, name in enumerate(rooms.SUBTASKS):
        assert float(shown.done[shown.order == k].double().mean()) > DONE[name]
    assert shown.reward.sum((1, 2)).mean() > 2.2


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_script_succeeds(room):
    """In other episodes, with the noise of the demonstrations, at more than 2.3 of 3 subtasks."""
    rng, done = generator(7), []
    for _ in range(12):
        noise = data.NOISE * torch.rand(3, generator=rng)
        made, order = scripts.chained(room, noise, data.STEPS, rng)
        done += [bool(room.completed(each.states[-1:])[0, k]) for each, k in zip(made, order, strict=True)]
    assert np.mean(done) > 2.3 / 3


def test_demonstrations_are_made_again(tmp_path):
    made, again = (data.made(1) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(made, again, strict=True))
    data.write(made, tmp_path / "one.npz")
    read = data.Demonstrations.load(tmp_path / "one.npz")
    assert torch.equal(read.start, made.start) and torch.equal(read.action, made.action)
    torch.testing.assert_close(read.observation, made.observation, atol=1.5e-3, rtol=0)


def test_the_script_succeeds_in_a_closed_loop(task):
    """One subtask after the other, of those that are not done yet."""
    room, control = task.room, task.control()
    start = room.reset(1, generator(0))

    def plan(observation, n):
        state = room.placed(observation)
        left = [name for name, done in zip(rooms.SUBTASKS, room.completed(state)[0], strict=True) if not done]
        shown = scripts.attempt(room, (left or ["kettle"])[0], state[0], 0.0, LENGTH, generator(0))
        x = torch.cat([room.observe(shown.states[:-1]), shown.actions.float() * bool(left)], 1)
        return Plans(x.expand(1, n, -1, -1), None)

    outcome = episodes(type(control)(**{**vars(control), "every": LENGTH}), plan, start, "one", generator(1))
    assert outcome.success.all() and float(outcome.returns) > 2


def test_plans_of_the_prior_follow_from_their_start(task):
    """And from step to step, as their actions are those that lead through their states."""
    prior = task.prior()
    assert prior.lossy and prior.latent_shape == (LENGTH, SEEN)
    with prior.drawing(task.reference()[::12]):
        x = prior.decode(prior.sample(16, generator(0)))
    assert float(task.valid(x).double().mean()) > 0.7
    assert float(task.errors(x)[:, 0].median()) < 0.03
    assert float(task.evaluate(x).mean()) > 0.3


def test_executed_plans_are_transitions(task):
    x = task.reference()[:2]
    seen = task.executed(x)
    assert len(seen.reward) == 2 * LENGTH and not seen.done.any()
    torch.testing.assert_close(seen.observation[1:LENGTH], seen.following[: LENGTH - 1])
    assert float(seen.reward[:LENGTH].sum()) == pytest.approx(float(task.evaluate(x)[0]), abs=1e-5)
    assert not task.offline().done.any() and len(task.offline().reward) == data.TRAINING * 3 * data.STEPS


def test_other_plans_are_judged_anew(task):
    x = task.reference()[:2]
    first, off = task.evaluate(x), task.errors(x)
    assert torch.equal(task.evaluate(x.flip(0)).flip(0), first) and torch.equal(task.errors(x.flip(0)).flip(0), off)
    assert task.evaluate(x[:0]).shape == (0,) and task.errors(x[:0]).shape == (0, LENGTH - 1)


def test_another_version_is_refused_with_the_one_that_works(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "7.0.0")
    with pytest.raises(
        ImportError, match=r"expected gymnasium-robotics 1\.4\.2, got 7\.0\.0.*pip install gymnasium-robotics==1\.4\.2"
    ):
        importlib.reload(rooms)


def test_without_the_extra_the_command_that_installs_it_is_told(monkeypatch):
    found = importlib.util.find_spec
    hidden = "gymnasium_robotics"
    monkeypatch.setattr("bbo_bench.plugins.find_spec", lambda name: None if name == hidden else found(name))
    assert find("task", "kitchen").missing == [hidden]
    with pytest.raises(PluginError, match=r'pip install "bbo-bench\[kitchen\]"'):
        load_task("kitchen")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda arrays: arrays.pop("reward"),
            "expected the arrays order, start, observation, action, reward, done, usual, got",
        ),
        (lambda arrays: arrays.update(action=arrays["action"][:-1]), r"expected action of the shape \(\d+, 3, 48, 7\)"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, spoil, message):
    with np.load(data.FILE) as opened:
        arrays = dict(opened)
    spoil(arrays)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.Demonstrations.load(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="there is no"):
        data.Demonstrations.load(tmp_path / "none.npz")
