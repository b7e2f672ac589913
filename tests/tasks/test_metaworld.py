"""MetaWorld: kept states go on as they would have, demonstrations are what happens, scores are rewards by hand."""

import numpy as np
import pytest
import torch

from bbo_bench import load_task
from bbo_bench.control.environment import execute
from bbo_bench.control.planning import Plans, episodes
from bbo_bench.seeding import generator

pytest.importorskip("metaworld", reason="the extra metaworld is not installed")
arms = pytest.importorskip("bbo_bench.tasks.metaworld.arm")
metaworld = pytest.importorskip("bbo_bench.tasks.metaworld")

LENGTH, SEEN = 32, metaworld.SEEN
SUCCESS = {"plate_slide": 0.99}
"""Of MetaWorld's own policies, whose moves have noise and are repeated three times, at least."""


@pytest.fixture(scope="module")
def task():
    return load_task("metaworld_plate_slide")


@pytest.mark.parametrize("name", arms.TASKS)
def test_an_episode_goes_on_from_a_kept_state_as_it_would_have(name):
    arm, rng = arms.Arm(name), generator(0)
    start = arm.reset(3, rng)
    actions = (2 * torch.rand(3, 16, 4, generator=rng) - 1).sign() * torch.rand(3, 16, 4, generator=rng)
    whole = execute(arm, start, actions)
    again = execute(arms.Arm(name), whole.states[:, 6].flip(0), actions[:, 6:].flip(0))
    assert torch.equal(again.states.flip(0), whole.states[:, 6:])
    assert torch.equal(again.rewards.flip(0), whole.rewards[:, 6:])


@pytest.mark.parametrize("name", arms.TASKS)
def test_steps_are_those_of_metaworld(name):
    """An environment of its own, left alone, sees and is rewarded the same."""
    arm, rng = arms.Arm(name), generator(1)
    start = arm.reset(1, rng)
    theirs = arms.ALL_V3_ENVIRONMENTS[f"{arms.TASKS[name]}-v3"]()
    theirs._partially_observable = False
    theirs.__dict__.pop("sawyer_observation_space", None)
    theirs._set_task_called = theirs._freeze_rand_vec = True
    theirs._last_rand_vec = start[0, SEEN : SEEN + arm.drawn].numpy()
    theirs.reset()
    state = start
    for _ in range(24):
        action = 2 * torch.rand(1, 4, generator=rng) - 1
        total = 0.0
        for _ in range(3):
            seen, reward, _, _, facts = theirs.step(action[0].numpy())
            total += reward
        state, gained, success = arm.step(state, action)
        assert np.array_equal(arm.observe(state)[0].numpy(), np.r_[seen[:7], seen[-3:]].astype(np.float32))
        assert float(gained) == total and bool(success) >= bool(facts["success"])


@pytest.mark.parametrize("name", SUCCESS)
def test_demonstrations_are_what_happens_and_mostly_succeed(name):
    task = load_task(f"metaworld_{name}")
    data = task.data
    assert float(data.success[:-64].float().mean()) > SUCCESS[name]
    assert data.expert.sum(1).mean() > data.reward.sum(-1).mean()
    x = task.reference()
    assert x.shape == (512, LENGTH, 14)
    few = x[:16]
    assert float(task.errors(few).max()) < 2e-3 and task.valid(few).all()
    gained = data.reward[-64:, :, :LENGTH].sum(-1) - data.expert[-64:, None, :LENGTH].sum(-1)
    torch.testing.assert_close(task.evaluate(few).float(), gained.flatten()[:16], atol=1e-2, rtol=1e-4)


def test_starts_that_the_simulator_does_not_know_are_infeasible(task):
    x = task.reference()[:2].clone()
    x[1, 0, 4] += 0.05
    assert task.evaluate(x).isfinite().tolist() == [True, False]
    assert task.valid(x).tolist() == [True, False]


def test_other_plans_are_judged_anew(task):
    x = task.reference()[:2]
    first = task.evaluate(x)
    assert not torch.equal(task.evaluate(x.flip(0)), first)
    assert torch.equal(task.evaluate(x.flip(0)).flip(0), first)
    assert task.evaluate(x[:0]).shape == (0,)


def test_plans_of_the_prior_follow_from_their_start(task):
    prior = task.prior()
    with prior.drawing(task.reference()[::8]):
        x = prior.decode(prior.sample(64, generator(0)))
    assert float(task.valid(x).double().mean()) > 0.7
    assert task.metrics(x)["success"] > 0.7


def test_executed_plans_are_transitions(task):
    x = task.reference()[:2]
    seen = task.executed(x)
    assert len(seen.reward) == 2 * LENGTH and not seen.done.any()
    torch.testing.assert_close(seen.observation[1:LENGTH], seen.following[: LENGTH - 1])
    torch.testing.assert_close(seen.observation[:LENGTH], x[0, :, :SEEN], atol=2e-3, rtol=0)


@pytest.mark.filterwarnings("ignore:Constant:UserWarning")
def test_the_script_succeeds_in_a_closed_loop(task):
    arm = task.environment
    script, start = arms.Script(arm), arm.reset(3, generator(0))

    def plan(observation, n):
        designs = []
        for seen in observation:  # the policy acts on what is seen alone
            row = np.r_[seen[:7].double().numpy(), np.zeros(29), seen[7:].double().numpy()]
            action = torch.from_numpy(script._policy.get_action(row)).clamp(-1, 1).float()
            designs.append(torch.cat([seen, action]).expand(LENGTH, -1))
        return Plans(torch.stack(designs)[:, None].expand(-1, n, -1, -1), None)

    control = task.control()
    outcome = episodes(type(control)(**{**vars(control), "every": 1}), plan, start, "one", generator(1))
    assert outcome.success.all()


def test_a_job_that_is_not_there_is_refused():
    with pytest.raises(
        Exception, match="job must be one of button_press, drawer_open, plate_slide, sweep_into, got 'fly'"
    ):
        metaworld.MetaWorld(job="fly", control={}, noise_std=0.0, y_prior=0.0, best_known=1.0, infeasible_score=0.0)
