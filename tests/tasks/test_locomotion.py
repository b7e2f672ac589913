"""HalfCheetah and Hopper: the simulator is Gymnasium's, kept states go on as they would have, scores are returns."""

import importlib

import numpy as np
import pytest
import torch
import yaml

from bbo_bench import load_task
from bbo_bench.cli import main
from bbo_bench.control.environment import execute
from bbo_bench.control.planning import Plans, episodes
from bbo_bench.domains import Box
from bbo_bench.seeding import generator

gymnasium = pytest.importorskip("gymnasium", reason="the extra control is not installed")
mujoco = pytest.importorskip("mujoco", reason="the extra control is not installed")
locomotion = pytest.importorskip("bbo_bench.tasks.locomotion")
data = pytest.importorskip("bbo_bench.tasks.locomotion.data")
policies = pytest.importorskip("bbo_bench.tasks.locomotion.policies")
robots = pytest.importorskip("bbo_bench.tasks.locomotion.robots")
simulator = pytest.importorskip("bbo_bench.control.simulator")

LENGTH, AFTER, Robot, Ladder = 32, locomotion.AFTER, robots.Robot, policies.Ladder
IDS = {"halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5"}


@pytest.fixture(scope="module")
def task():
    return load_task("hopper_medium")


@pytest.mark.parametrize("name", IDS)
def test_states_rewards_and_ends_are_those_of_gymnasium(name):
    theirs, ours, steps = gymnasium.make(IDS[name], disable_env_checker=True), Robot(name), 0
    for seed in range(6):
        theirs.reset(seed=seed)
        inner, rng = theirs.unwrapped.data, np.random.default_rng(seed)
        state = torch.from_numpy(np.concatenate([inner.qpos, inner.qvel, inner.qacc_warmstart]))[None]
        for _ in range(200):
            action = rng.uniform(-1, 1, ours.actions).astype(np.float32)
            _, reward, fallen, _, _ = theirs.step(action)
            state, gained, _ = ours.step(state, torch.from_numpy(action)[None])
            kept = np.concatenate([inner.qpos, inner.qvel, inner.qacc_warmstart])
            assert np.array_equal(state[0].numpy(), kept)
            assert float(gained) == pytest.approx(reward, abs=1e-6)
            assert bool(ours.over(state)) == fallen
            steps += 1
            if fallen:
                break
    assert steps > 60


@pytest.mark.parametrize("name", IDS)
def test_an_episode_goes_on_from_a_kept_state_as_it_would_have(name):
    robot, rng = Robot(name), generator(0)
    start = robot.reset(8, rng)
    actions = 0.3 * torch.randn(8, 40, robot.actions, generator=rng)
    whole = execute(robot, start, actions)
    assert torch.equal(execute(Robot(name), whole.states[:, 15], actions[:, 15:]).states, whole.states[:, 15:])
    assert torch.equal(execute(robot, start.flip(0), actions.flip(0)).states.flip(0), whole.states)


@pytest.mark.parametrize("name", IDS)
def test_starts_are_drawn_as_gymnasium_draws_them(name):
    theirs, n = gymnasium.make(IDS[name], disable_env_checker=True), 400
    ours = Robot(name).reset(n, generator(0))
    drawn = []
    for seed in range(n):
        theirs.reset(seed=seed)
        drawn.append(np.concatenate([theirs.unwrapped.data.qpos, theirs.unwrapped.data.qvel]))
    drawn = torch.from_numpy(np.stack(drawn))
    ours = ours[:, : drawn.shape[1]]
    torch.testing.assert_close(ours.mean(0), drawn.mean(0), atol=6 * float(drawn.std(0).max()) / n**0.5, rtol=0)
    torch.testing.assert_close(ours.std(0), drawn.std(0), rtol=0.15, atol=1e-9)


def test_who_has_fallen_lies_still():
    robot = Robot("hopper")
    state = robot.reset(2, generator(0))
    state[0, 2] = 0.3
    outcome = execute(robot, state, torch.zeros(2, 5, 3))
    assert robot.over(state).tolist() == [True, False]
    assert (outcome.states[0] == state[0]).all() and not outcome.rewards[0].any()
    assert (outcome.rewards[1] > 0.5).all()


@pytest.mark.parametrize(
    ("name", "medium", "best"),
    [pytest.param("halfcheetah", 1900, 3800, marks=pytest.mark.slow), ("hopper", 1300, 3200)],
)
def test_policies_of_the_ladder_are_as_good_as_written(name, medium, best):
    robot, ladder = Robot(name), Ladder.load(name)
    assert float(ladder.returns[ladder.medium]) == pytest.approx(medium, rel=0.05)
    assert float(ladder.returns[ladder.best]) == pytest.approx(best, rel=0.05)
    for k in (ladder.medium, ladder.best):
        start = robot.reset(policies.EPISODES, generator(0, "rung"))
        _, rewards = policies.played(robot, start, lambda seen, k=k: ladder.act(torch.tensor([k]), seen))
        assert float(rewards.sum(1).mean()) == pytest.approx(float(ladder.returns[k]), rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", data.DIGESTS)
def test_data_are_made_again_byte_for_byte(name):
    made = data.simulated(*name.split("_", 1))
    assert data.digest(made) == data.DIGESTS[name]


def test_data_are_made_once_and_said_to_be_others_where_they_are(monkeypatch, tmp_path):
    monkeypatch.setenv("BBO_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(data, "TRANSITIONS", 2000)
    with pytest.warns(UserWarning, match="data of hopper_medium are not those that its prior was trained on"):
        made = data.episodes("hopper", "medium")
    assert [each.name for each in tmp_path.glob("*/*")] == ["hopper_medium.npz"]
    monkeypatch.setattr(data, "simulated", None)
    assert data.digest(data.episodes("hopper", "medium")) == data.digest(made)


def test_windows_stop_at_a_fall_and_never_at_the_end_of_time():
    last = torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 1]).bool()
    fallen = torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 0]).bool()
    rows = data.Episodes(torch.arange(9.0)[:, None], (~last).float()[:, None], (~last).float(), last, fallen)
    assert rows.starts(3).tolist() == [0, 1, 2, 4, 5]
    assert rows.windows(torch.tensor([2, 5]), 3).tolist() == [[[2, 1], [3, 0], [3, 0]], [[5, 1], [6, 1], [7, 1]]]


def test_plans_of_the_data_are_what_happens(task):
    x = task.reference()
    assert x.shape == (512, LENGTH, 14)
    assert float(task.errors(x[:64]).max()) < 1e-3
    assert task.valid(x[:64]).all()
    spoilt = x[:64].clone()
    spoilt[..., : task.size] = spoilt[..., : task.size].flip(1)
    assert float(task.valid(spoilt).double().mean()) < 0.1


def test_a_score_is_the_return_above_the_policys(task):
    """By hand, step by step, for one plan; the best policy's own plan gains nothing."""
    robot, x = task.environment, task.reference()[:1]
    state, gained = robot.placed(x[:, 0, : task.size]), 0.0
    for t in range(LENGTH + AFTER):
        if robot.over(state):
            break
        action = x[:, t, task.size :] if t < LENGTH else task.behaviour(robot.observe(state))
        before, state = float(state[0, 0]), robot.step(state, action).state
        gained += (float(state[0, 0]) - before) / 0.008 - 1e-3 * float(action.double().square().sum())
        gained += not bool(robot.over(state))
    state, usual = robot.placed(x[:, 0, : task.size]), 0.0
    own = []
    for _ in range(LENGTH + AFTER):
        own.append(task.behaviour(robot.observe(state)))
        state, reward, _ = robot.step(state, own[-1])
        usual += float(reward)
    assert float(task.evaluate(x)) == pytest.approx(gained - usual, abs=1e-4)
    same = x.clone()
    same[:, :, task.size :] = torch.stack(own[:LENGTH], 1)
    assert float(task.evaluate(same)) == pytest.approx(0, abs=1e-4)


def test_a_simulation_that_breaks_down_is_infeasible_and_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = load_task("halfcheetah_medium")
    task.domain = Box(1e9 * task.domain.lower, 1e9 * task.domain.upper)
    x = torch.zeros(3, LENGTH, 23)
    x[1, 0, 10] = 1e6
    y = task.evaluate(x)
    assert y.isfinite().tolist() == [True, False, True] and y[1] == -torch.inf
    assert y[0] == y[2]
    assert not list(tmp_path.iterdir())


def test_plans_of_the_prior_follow_from_their_start(task):
    prior = task.prior()
    start = task.environment.reset(256, generator(0))
    given = task.started(task.environment.observe(start))
    with prior.drawing(given):
        x = prior.decode(prior.sample(256, generator(1)))
    assert torch.allclose(x[:, task.given].sort(0).values, given[:, task.given].sort(0).values, atol=1e-4)
    assert float(task.errors(x)[:, 0].median()) < 0.15
    assert float(task.valid(x).double().mean()) > 0.8


def test_a_planner_that_knows_the_policy_plays_as_well(task):
    """Plans of what the policy would do, eight of their actions executed at a time, return what the policy does."""
    robot, start = task.environment, task.environment.reset(4, generator(0))

    def plan(observation, n):
        state, rows = robot.placed(observation), []
        for _ in range(LENGTH):
            seen = robot.observe(state)
            rows.append(torch.cat([seen, task.behaviour(seen)], 1))
            state = robot.step(state, rows[-1][:, task.size :]).state
        return Plans(torch.stack(rows, 1)[:, None].expand(-1, n, -1, -1), None)

    closed = episodes(task.control(), plan, start, "one", generator(1)).returns
    state, total = start, torch.zeros(4, dtype=torch.double)
    for _ in range(robot.horizon):
        state, reward, _ = robot.step(state, task.behaviour(robot.observe(state)))
        total += reward
    assert closed.tolist() == pytest.approx(total.tolist(), rel=0.02)


def test_transitions_are_those_of_the_data_and_of_executed_plans(task):
    offline = task.offline()
    assert len(offline.reward) >= 200_000 and offline.discount == 0.99
    assert int(offline.done.sum()) == int(task.episodes.fallen.sum())
    state = task.environment.placed(offline.observation[:64])
    after, reward, _ = task.environment.step(state, offline.action[:64])
    torch.testing.assert_close(task.environment.observe(after), offline.following[:64], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(reward.float(), offline.reward[:64], atol=1e-3, rtol=1e-3)
    x = task.reference()[:16]
    seen = task.executed(x)
    assert seen.reward.sum() == pytest.approx(
        float(execute(task.environment, task.environment.placed(x[:, 0, : task.size]), task.actions(x)).rewards.sum()),
        rel=1e-5,
    )


def test_another_version_of_the_simulator_is_refused_with_the_one_that_works(monkeypatch):
    monkeypatch.setattr(mujoco, "__version__", "4.0.0")
    with pytest.raises(ImportError, match=r"expected MuJoCo 3\.3\.0, got 4\.0\.0.*pip install mujoco==3\.3\.0"):
        importlib.reload(simulator)


def test_data_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match=r"robot and data must be of halfcheetah_random, .*, got 'hopper' and 'good'"):
        facts = {"noise_std": 0.0, "y_prior": 0.0, "best_known": 1.0, "infeasible_score": 0.0}
        locomotion.Locomotion("hopper", "good", 200, {}, **facts)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file as D4RL's are, of episodes of ours; what is observed in it is cut at ±1, as Gymnasium cuts at ±10."""
    h5py = pytest.importorskip("h5py")
    monkeypatch.setattr(data, "TRANSITIONS", 4000)
    made = data.simulated("hopper", "medium")
    row, path = (~made.last).nonzero().flatten(), tmp_path / "hopper.hdf5"
    with h5py.File(path, "w") as file:
        file["observations"] = made.observation[row].clamp(-1, 1).numpy()
        file["next_observations"] = made.observation[row + 1].numpy()
        file["actions"], file["rewards"] = made.action[row].numpy(), made.reward[row].numpy()
        file["terminals"] = made.fallen[row + 1].numpy()
        file["timeouts"] = (made.last & ~made.fallen)[row + 1].numpy()
        file["infos/qpos"] = np.pad(made.observation[row, :5].numpy(), ((0, 0), (1, 0)))
        file["infos/qvel"] = made.observation[row, 5:].numpy()
    return path


def test_plans_of_a_file_are_what_happens(file, monkeypatch):
    monkeypatch.setattr(locomotion, "TRAINING", 64)
    with pytest.warns(UserWarning, match="y_prior"):
        task = load_task("hopper_medium", data=str(file))
    x = task.training_data()
    assert x.shape == (64, LENGTH, 14)
    task.domain.check(x)
    assert float(task.errors(x).max()) < 1e-3
    assert task.valid(task.reference()).all()
    assert int(task.offline().done.sum()) == int(task.episodes.fallen.sum()) > 0
    assert task.folder == file.with_suffix("") and task.recipe.name == "hopper_medium"


def test_a_file_without_a_whole_plan_is_refused(file):
    h5py = pytest.importorskip("h5py")
    with h5py.File(file, "r+") as opened:
        opened["terminals"][:] = False
        opened["timeouts"][:] = True
    with pytest.raises(ValueError, match="no episode of 32 actions"), pytest.warns(UserWarning, match="y_prior"):
        load_task("hopper_medium", data=str(file))


@pytest.mark.slow
def test_a_file_has_a_prior_of_its_own_in_a_folder_of_its_name(file, tmp_path, monkeypatch):
    """Made by a plugin of one's own, whose recipe is at first that of `hopper_medium`."""
    monkeypatch.setattr(locomotion, "TRAINING", 256)
    monkeypatch.setenv("BBO_BENCH_PLUGINS", str(tmp_path / "plugins"))
    plugin = tmp_path / "plugins" / "tasks" / "d4rl_hopper" / "d4rl_hopper.yaml"
    plugin.parent.mkdir(parents=True)
    plugin.with_name("__init__.py").touch()
    plugin.write_text(
        f"defaults: [hopper_medium, _self_]\nsummary: of a file\ndata: {file}\ny_prior: 0.0\nbest_known: 200.0\n"
    )
    recipe = yaml.safe_load((load_task("d4rl_hopper").recipe / "prior.yaml").read_text())
    short = recipe | {"training": recipe["training"] | {"steps": 20}, "consistency": {"steps": 2, "trajectories": 8}}
    folder = file.with_suffix("")
    folder.mkdir()
    (folder / "prior.yaml").write_text(yaml.safe_dump({k: v for k, v in short.items() if k != "made"}))
    assert main(["prior", "train", "task=d4rl_hopper"]) == 0
    assert sorted(each.name for each in folder.iterdir()) == [
        "consistency.safetensors",
        "prior.safetensors",
        "prior.yaml",
    ]
    task = load_task("d4rl_hopper")
    assert task.prior().sample(2, generator(0)).shape == (2, LENGTH, 14)


def test_plans_of_states_have_the_actions_that_lead_through_them():
    """Decision Diffuser: what is diffused are states; the simulator agrees with the actions that follow from them."""
    task = load_task("hopper_medium_states")
    prior = task.prior()
    assert prior.lossy and prior.latent_shape == (LENGTH, task.size)
    x = prior.decode(prior.sample(64, generator(0)))
    assert float(task.valid(x).double().mean()) > 0.9 and float(task.errors(x)[:, 0].median()) < 0.15
    real = task.reference()[:64]
    again = prior.decode(prior.encode(real))
    torch.testing.assert_close(again[..., : task.size], real[..., : task.size], atol=1e-3, rtol=1e-3)
    off = (task.actions(again) - task.actions(real))[:, :-1]
    assert float(off.square().mean().sqrt()) < 0.15 * float(task.actions(real).std())


def test_frameworks_have_priors_of_their_own_and_samplers_that_of_the_task():
    task = load_task("hopper_medium_states")
    assert task.folder.name == "hopper_medium_states"
    with pytest.warns(UserWarning, match="y_prior"):
        steps = load_task("hopper_medium_states", sampler="ddim").prior().transition
    assert float(steps.std[3]) < float(task.prior().transition.std[3])
    for setting, message in (("framework", "one of diffuser, decision_diffuser"), ("sampler", "one of ddpm, ddim")):
        with pytest.raises(ValueError, match=rf"{setting} must be {message}.*got 'other'"), pytest.warns(UserWarning):
            load_task("hopper_medium", **{setting: "other"})
