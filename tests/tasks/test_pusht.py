"""PushT: kept states go on as they would have, steps are gym-pusht's, demonstrations are what happens."""

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

pytest.importorskip("gym_pusht", reason="the extra pusht is not installed")
pusht = pytest.importorskip("bbo_bench.tasks.pusht")
data = pytest.importorskip("bbo_bench.tasks.pusht.data")
planner = pytest.importorskip("bbo_bench.tasks.pusht.planner")
tables = pytest.importorskip("bbo_bench.tasks.pusht.table")

LENGTH, MOVING, SEEN, Table = 32, tables.MOVING, tables.SEEN, tables.Table
ASIDE = [100.0, 400.0]
"""Where nothing is, if the T is near the goal."""


@pytest.fixture(scope="module")
def task():
    return load_task("pusht")


def seen(*agent, x=256.0, y=256.0, angle=np.pi / 4):
    """`1 x 8`: an agent at rest, and a T; by default where it is to be."""
    return torch.tensor([[*agent, 0, 0, x, y, np.cos(angle), np.sin(angle)]], dtype=torch.float32)


def plans(start, actions):
    """Plans of `32 x 2` targets that begin as `n x 8` observations do, and believe that nothing moves."""
    return torch.cat([start[:, None].expand(-1, LENGTH, -1), actions.expand(len(start), -1, -1)], -1).float()


def pushing(state, n, rng):
    """`n` targets for each state, about the T, so that most of them push."""
    return (state[:, None, 4:6] + 60 * torch.randn(len(state), n, 2, generator=rng)).clamp(0, 512)


def test_an_episode_goes_on_from_a_kept_state_as_it_would_have():
    """Byte for byte, with contacts, in a process's other environment and in another order."""
    table, rng = Table(), generator(0)
    start = table.reset(8, rng)
    actions = pushing(start, 16, rng)
    whole = execute(table, start, actions)
    assert (whole.states[:, -1, 4:6] - start[:, 4:6]).norm(dim=1).median() > 5
    again = execute(Table(), whole.states[:, 6].flip(0), actions[:, 6:].flip(0))
    assert torch.equal(again.states.flip(0), whole.states[:, 6:])
    assert torch.equal(again.rewards.flip(0), whole.rewards[:, 6:])


def test_steps_are_those_of_gym_pusht():
    """The first action after a reset: later ones begin without the contacts that are kept there.

    Byte for byte of the agent, and of a T that is not touched; contacts of both its parts come in another order.
    """
    pushed = 0
    for seed in range(12):
        theirs, table = tables.PushTEnv(), Table()
        theirs.reset(seed=seed)
        moving = [*theirs.agent.position, *theirs.agent.velocity]
        moving += [*theirs.block.position, theirs.block.angle, *theirs.block.velocity, theirs.block.angular_velocity]
        coverage = theirs._get_coverage()
        state = torch.tensor([[*moving, coverage]], dtype=torch.double)
        if (state[0, :2] - state[0, 4:6]).norm() < 150:  # the agent may begin in the T, with a contact that is kept
            continue
        target = state[:, 4:6] + torch.tensor([[0.0, 45.0]])
        for _ in range(tables.REPEATED):
            _, reward, _, _, facts = theirs.step(target[0].numpy())
        step = table.step(state, target)
        assert step.state[0, :2].tolist() == [*theirs.agent.position]
        pose = [*theirs.block.position, theirs.block.angle]
        assert step.state[0, 4:7].tolist() == pytest.approx(pose, abs=0.1)
        if (step.state[0, 4:7] == state[0, 4:7]).all():
            assert step.state[0, 4:7].tolist() == pose
            assert float(step.state[0, -1]) == pytest.approx(facts["coverage"], abs=1e-6)
        assert float(step.state[0, -1]) == pytest.approx(facts["coverage"], abs=2e-3)
        assert reward == min(facts["coverage"] / tables.SUCCESS, 1) and bool(step.success) == facts["is_success"]
        pushed += bool((step.state[0, 4:6] - state[0, 4:6]).norm() > 1)
    assert pushed >= 3


def test_demonstrations_do_the_same_to_gym_pusht_left_alone(task):
    """Whose contacts last, from the first action on to the last."""
    x = task.reference()[:12]
    outcome, off = task.execute(x), []
    for plan, states in zip(x, outcome.states, strict=True):
        theirs = tables.Physics()
        theirs.place(states[0].numpy())
        for target, state in zip(task.actions(plan).double().numpy(), states, strict=False):
            if state[-1] <= tables.SUCCESS:
                theirs.hold(target)
        off.append(float((states[-1, 4:6] - torch.tensor([*theirs.block.position])).norm()))
    assert np.quantile(off, 0.75) < 0.5


def test_starts_are_drawn_as_gym_pusht_draws_them():
    n, theirs = 400, tables.PushTEnv()
    drawn = torch.from_numpy(np.stack([theirs.reset(seed=seed)[0] for seed in range(n)]))
    ours = Table().reset(n, generator(0))
    ours = torch.cat([ours[:, :2], ours[:, 4:6], ours[:, 6:7] % (2 * np.pi)], 1)
    std = drawn.std(0)
    torch.testing.assert_close(ours.mean(0) / std, drawn.mean(0) / std, rtol=0, atol=5 * (2 / n) ** 0.5)
    torch.testing.assert_close(ours.std(0) / std, torch.ones(5, dtype=torch.double), rtol=0.15, atol=0)


def test_an_observation_is_placed_as_it_looks():
    table = Table()
    state = table.reset(16, generator(0))
    looks = table.observe(state)
    again = table.placed(looks)
    torch.testing.assert_close(table.observe(again), looks, atol=1e-4, rtol=0)
    torch.testing.assert_close(again[:, -1], state[:, -1], atol=1e-4, rtol=0)
    assert float(table.placed(seen(*ASIDE))[0, -1]) == pytest.approx(1, abs=1e-5)
    assert table.placed(looks[:0]).shape == (0, MOVING + 1)
    assert table.step(state[:0], torch.zeros(0, 2)).state.shape == (0, MOVING + 1)


def test_scores_by_hand(task):
    """Who stays aside gains nothing; who pushes a T that is 40 pixels off along its stem into place gains the rest."""
    still = plans(seen(*ASIDE, x=300.0), torch.tensor([ASIDE]).expand(LENGTH, 2))
    assert task.evaluate(still).tolist() == [0.0]
    down = np.array([-np.sin(np.pi / 4), np.cos(np.pi / 4)])  # from the bar to the end of the stem
    off = np.array([256.0, 256.0]) - 40 * down
    behind = off - 16 * down
    way = torch.from_numpy(np.stack([behind + down * 5.0 * min(k + 1, 8.2) for k in range(LENGTH)]))
    pushed = plans(seen(*behind, x=off[0], y=off[1]), way)
    before = float(task.begun(pushed)[0, -1])
    assert 0.2 < before < 0.7
    assert float(task.evaluate(pushed)) == pytest.approx(float(task.execute(pushed).states[0, -1, -1]) - before)
    assert float(task.evaluate(pushed)) > 0.95 - before
    assert task.metrics(pushed)["success"] == 1 and task.metrics(pushed)["covered"] > 0.95


def test_where_the_t_is_in_place_nothing_moves(task):
    table = task.environment
    state = table.placed(torch.cat([seen(*ASIDE), seen(*ASIDE, x=350.0)]))
    outcome = execute(table, state, torch.full((2, 3, 2), 256.0))
    assert table.over(state).tolist() == [True, False]
    assert (outcome.states[0] == state[0]).all() and not outcome.rewards[0].any()
    assert outcome.success[0] and not torch.equal(outcome.states[1, 1], state[1])


def test_targets_beyond_the_table_are_cut_and_designs_with_them_refused(task):
    table = task.environment
    state = table.placed(seen(*ASIDE, x=300.0))
    beyond, border = (table.step(state, torch.tensor([each])).state for each in ([-50.0, 600.0], [0.0, 512.0]))
    assert torch.equal(beyond, border)
    x = task.reference()[:2].clone()
    x[1, 3, SEEN] = 513
    with pytest.raises(ValueError, match=r"design 1 has 513 at \[3, 8\], where \[0, 512\] is allowed"):
        task.evaluate(x)


def test_a_start_without_direction_is_infeasible(task):
    x = task.reference()[:3].clone()
    x[1, 0, 6:SEEN] *= 0.5
    x[2, 0, 6:SEEN] = 0
    assert task.evaluate(x).isfinite().tolist() == [True, False, False]
    assert task.valid(x).tolist() == [True, False, False]


def test_whatever_lies_in_the_domain_has_a_score(task):
    """Agents in the T, Ts in the wall."""
    x = task.domain.sample(24, generator(0))
    angle = 6 * torch.rand(24, generator=generator(1))
    x[:, 0, 6], x[:, 0, 7] = angle.cos(), angle.sin()
    y = task.evaluate(x)
    assert y.isfinite().all() and y.abs().max() <= 1


def test_demonstrations_are_what_happens(task):
    """Byte for byte from their beginnings, as what starts and actions are written with is what was executed."""
    x = task.reference()
    assert x.shape == (512, LENGTH, 10)
    few, data = x[:24], task.episodes
    outcome = task.execute(few)
    torch.testing.assert_close(task.table.observe(outcome.states[:, :-1].flatten(0, 1)), few[..., :SEEN].flatten(0, 1))
    rows = task._begin[-512:][:24]
    gained = [float(data.reward[row : row + LENGTH][: _length(data, row)].sum()) for row in rows.tolist()]
    torch.testing.assert_close(task.evaluate(few), torch.tensor(gained).double(), atol=1e-5, rtol=0)
    assert task.valid(few).all() and float(task.errors(few)[:, 0].max()) < 0.1


def _length(data, row):
    return int(data.last[row:].nonzero()[0])


def test_training_plans_are_what_happens_nearly(task):
    """From any moment on, without the velocity of the T, which is not observed."""
    x = task.training_data()
    assert x.shape[1:] == (LENGTH, 10) and len(x) > 20_000
    few = x[:: len(x) // 64]
    assert float(task.errors(few).median()) < 0.5 and task.valid(few).all()
    spoilt = few.clone()
    spoilt[:, 1:, :SEEN] = few.flip(0)[:, 1:, :SEEN]
    assert float(task.valid(spoilt).double().mean()) < 0.1


def test_who_believes_that_the_t_jumps_into_its_place_is_wrong_to_the_end(task):
    """Though nothing moves there, whatever is done."""
    x = task.reference()[:4].clone()
    x[:, 1:, :SEEN] = seen(*ASIDE)
    assert (task.errors(x) > 3 * task.width).all() and not task.valid(x).any()


def test_most_demonstrations_succeed(task):
    ends = task.episodes.last
    assert int(ends.sum()) == data.TRAINING + data.HELD_OUT
    assert float(task.episodes.fallen[ends].double().mean()) > 0.99
    assert float(task.evaluate(task.reference()[:64]).mean()) > 0.6


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_search_succeeds():
    """On other starts, of a hundred at least 97, in about 34 actions on average."""
    table = Table()
    rows = table.reset(100, generator(7)).numpy()
    shown = [planner.demonstrated(table.physics, row, 100, np.random.default_rng(k)) for k, row in enumerate(rows)]
    assert np.mean([each.states[-1, MOVING] > tables.SUCCESS for each in shown]) >= 0.97
    assert 25 < np.mean([len(each.actions) for each in shown]) < 45


def test_demonstrations_are_made_again():
    made, again = (data.made(2) for _ in range(2))
    assert all(torch.equal(made[key], again[key]) for key in made)
    assert made["observation"].shape == (int(made["length"].sum()) + 2, SEEN)


def test_what_pushes_do_is_estimated_well():
    physics, rng = tables.Physics(), np.random.default_rng(0)
    pose = np.array([200.0, 300.0, 1.0])
    pushes = planner.Pushes.drawn(pose, 40, rng)
    estimated, simulated = pushes.estimated(pose), []
    for i, start in enumerate(pushes.start):
        physics.place(np.array([*start, 0, 0, *pose, 0, 0, 0]))
        for target in pushes.targets(i)[:-1]:
            physics.hold(target)
        simulated.append(physics.moving()[4:7])
    simulated = np.array(simulated)
    assert np.corrcoef(planner.distance(estimated), planner.distance(simulated))[0, 1] > 0.9
    assert physics.block.moment == planner.INERTIA and [*physics.block.center_of_gravity] == [*planner.MIDDLE]


def test_the_search_succeeds_in_a_closed_loop(task):
    table, control = task.environment, task.control()
    start, draw = table.reset(3, generator(0)), np.random.default_rng(0)

    def plan(observation, n):
        designs = []
        for row in table.placed(observation).numpy():
            shown = planner.demonstrated(table.physics, row, LENGTH, draw)
            acted = np.concatenate([shown.actions, np.tile(shown.states[-1, :2], (LENGTH, 1))])[:LENGTH]
            designs.append(plans(table.observe(torch.from_numpy(row[None])), torch.from_numpy(acted)[None])[0])
        return Plans(torch.stack(designs)[:, None].expand(-1, n, -1, -1), None)

    outcome = episodes(control, plan, start, "one", generator(1))
    assert outcome.success.all()
    torch.testing.assert_close(outcome.returns > 0.95 - start[:, -1], torch.ones(3, dtype=torch.bool))


def test_plans_of_the_prior_follow_from_their_start(task):
    """Mostly; those whose starts are exchanged do not."""
    prior = task.prior()
    with prior.drawing(task.reference()[::8]):
        x = prior.decode(prior.sample(64, generator(0)))
    other = torch.where(task.given, x.flip(0), x)
    assert float(task.valid(x).double().mean()) > 0.6
    assert float(task.errors(x)[:, 0].median()) < 40 < float(task.errors(other)[:, 0].median())


def test_executed_plans_are_transitions(task):
    x = task.reference()[:4]
    shown, outcome = task.executed(x), task.execute(x)
    assert int(shown.done.sum()) == int(outcome.success.sum())
    assert float(shown.reward.sum()) == pytest.approx(float(outcome.rewards.sum()), abs=1e-5)
    offline = task.offline()
    assert int(offline.done.sum()) == int(task.episodes.fallen[: int(task._begin[-512])].sum())


def test_scores_are_the_same_again_to_the_last_digit(task):
    """Also beside other plans, and of Ts that cover some of the goal, whose areas are added up in whatever order."""
    x = task.reference()[:12]
    again = load_task("pusht")
    assert torch.equal(task.evaluate(x), torch.cat([again.evaluate(x[5:]), again.evaluate(x[:5])]).roll(5))
    assert torch.equal(task.execute(x).states, again.execute(x).states)


def test_other_plans_are_judged_anew(task):
    x = task.reference()[:2]
    first, off = task.evaluate(x), task.errors(x)
    assert torch.equal(task.evaluate(x.flip(0)).flip(0), first) and torch.equal(task.errors(x.flip(0)).flip(0), off)
    assert task.evaluate(x[:0]).shape == (0,) and task.errors(x[:0]).shape == (0, LENGTH - 1)


def test_another_version_is_refused_with_the_one_that_works(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "7.0.0")
    with pytest.raises(
        ImportError, match=r"expected gym-pusht 0\.1\.8, got 7\.0\.0.*pip install gym-pusht==0\.1\.8 pymunk==6\.11\.1"
    ):
        importlib.reload(tables)


def test_without_the_extra_the_command_that_installs_it_is_told(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr("bbo_bench.plugins.find_spec", lambda name: None if name == "gym_pusht" else found(name))
    assert find("task", "pusht").missing == ["gym_pusht"]
    with pytest.raises(PluginError, match=r'pip install "bbo-bench\[pusht\]"'):
        load_task("pusht")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda arrays: arrays.pop("coverage"), "expected the arrays observation, action, coverage, length, got"),
        (lambda arrays: arrays.update(action=arrays["action"][:-1]), r"expected action of the shape \(\d+, 2\), got"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, spoil, message):
    with np.load(data.FILE) as opened:
        arrays = dict(opened)
    spoil(arrays)
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        data.demonstrations(tmp_path / "other.npz")
    with pytest.raises(ValueError, match="there is no"):
        data.demonstrations(tmp_path / "none.npz")
