"""Demonstrations by a script: the hand is led along waypoints beside what it is to move, by inverse kinematics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from bbo_bench.control.simulator import mujoco
from bbo_bench.tasks.kitchen.room import JOINTS, PLACES, POSITIONS, REPEATED, SUBTASKS, Array, Room


class Way(NamedTuple):
    """How the hand does a subtask."""

    site: str
    """What it is to move: one of `PLACES`."""
    points: Sequence[tuple[float, float, float]]
    """Waypoints from there, in metres: across, into the kitchen, up."""
    joint: int
    """Where what moves is among MuJoCo's positions."""
    reached: float
    """What it has to be for the hand to leave it."""


WAYS = {
    "kettle": Way("kettle_site", ((0.036, -0.135, 0.057), (0.041, 0.02, -0.026), (0.097, 0.55, 0.012)), 24, 0.66),
    "slide cabinet": Way("slide_site", ((-0.1, -0.08, 0.03), (-0.07, 0.0, 0.03), (0.45, 0.0, 0.05)), 19, 0.34),
    "light switch": Way(
        "light_site",
        ((0.032, -0.08, 0.024), (0.097, -0.01, 0.024), (-0.1, -0.01, 0.056), (-0.3, -0.01, 0.123)),
        17,
        -0.66,
    ),
}
"""Found by random search, on six starts or so, with noise on the actions."""
NEAR, LONGEST = 0.03, 10
"""Metres from a waypoint at which the next is headed for, and actions after which it is anyway."""
LIFT = 0.3
"""How much of the arm's own weight is made up for."""
STEP, TURN = 0.17, 0.2
"""Metres that an action is to lead, at most, and share of the hand's turning that it is to undo."""
BACK, BACKED = np.array([0.0, -0.12, 0.0, 0.0, 0.0, 0.0]), 2
"""Where the hand goes when it is done, in metres, and for how many actions, before the arm goes to its usual place."""
DAMPING = 1e-3
"""Of least squares, by which joints follow from where the hand is to go."""


class Script:
    """Does a subtask, from a state on, and brings the arm back to its usual place.

    Args:
        room: The kitchen.
        subtask: One of `SUBTASKS`.
        start: The `s` numbers of a state.
    """

    def __init__(self, room: Room, subtask: str, start: Tensor) -> None:
        self._room, self._way = room, WAYS[subtask]
        self._hand = room.model.site(PLACES[0]).id
        self._stiffness = room.model.actuator_gainprm[:JOINTS, 0]
        self._usual = room.rest[POSITIONS][:JOINTS].numpy()
        self._upright = self._posture(room.rest)
        self._posture(start)
        self._points = room.data.site(self._way.site).xpos + np.array(self._way.points)
        self._next = self._since = 0

    def _posture(self, state: Tensor) -> Array:
        """`3 x 3`: how the hand is turned in a state, to which the simulator goes."""
        self._room.restore(state.numpy())
        mujoco.mj_forward(self._room.model, self._room.data)
        turned: Array = self._room.data.site_xmat[self._hand].reshape(3, 3).copy()
        return turned

    def __call__(self, state: Tensor) -> Tensor:
        """The action, 7 numbers, in a state of `s` numbers."""
        turned, data = self._posture(state), self._room.data
        self._advance()
        done = self._next - len(self._points)
        if done < 0:
            aside = self._points[self._next] - data.site_xpos[self._hand]
            aside *= min(1.0, STEP / (np.linalg.norm(aside) + 1e-9))
            turn = 0.5 * np.cross(turned, self._upright, axis=0).sum(1)
            joints = self._following(np.concatenate([aside, TURN * turn]))
        elif self._since < BACKED:
            joints = self._following(BACK)
        else:
            joints = self._usual - data.qpos[:JOINTS]
        self._since += 1
        action = joints / (REPEATED * self._room.seconds)
        action /= max(1.0, np.abs(action).max())
        weight = LIFT * data.qfrc_bias[:JOINTS] / self._stiffness
        return torch.from_numpy(action + weight / (REPEATED * self._room.seconds)).clamp(-1, 1)

    def _advance(self) -> None:
        """Head for the next waypoint where this one is near, or for long not; leave what is in its place."""
        left, data = len(self._points) - self._next, self._room.data
        if left == 1:
            position = data.qpos[self._way.joint]
            arrived = (position - self._way.reached) * np.sign(self._way.reached) > 0
        else:
            off = np.linalg.norm(self._points[self._next % len(self._points)] - data.site_xpos[self._hand])
            arrived = left > 1 and (off < NEAR or self._since >= LONGEST)
        if arrived:
            self._next, self._since = self._next + 1, 0

    def _following(self, moved: Array) -> Array:
        """Changes of the joints by which the hand moves and turns by 6 numbers."""
        jacobian = np.zeros((6, self._room.model.nv))
        mujoco.mj_jacSite(self._room.model, self._room.data, jacobian[:3], jacobian[3:], self._hand)
        jacobian = jacobian[:, :JOINTS]
        joints: Array = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING * np.eye(6), moved)
        return joints


class Attempt(NamedTuple):
    """An attempt at a subtask, of `k` actions."""

    states: Tensor
    """`(k+1) x s`."""
    actions: Tensor
    """`k x 7`, in half precision."""
    rewards: Tensor
    """`k`."""


def attempt(room: Room, subtask: str, start: Tensor, noise: float, steps: int, rng: Generator) -> Attempt:
    """Do a subtask from a state of `s` numbers, with normal noise of that standard deviation on the actions."""
    script, states, actions, rewards = Script(room, subtask, start), [start], [], []
    for _ in range(steps):
        action = script(states[-1]) + noise * torch.randn(JOINTS, generator=rng, dtype=torch.double)
        action = action.clamp(-1, 1).half()  # as it is written
        step = room.step(states[-1][None], action[None])
        states.append(step.state[0])
        actions.append(action)
        rewards.append(step.reward)
    return Attempt(torch.stack(states), torch.stack(actions), torch.cat(rewards))


def chained(room: Room, noise: Tensor, steps: int, rng: Generator) -> tuple[list[Attempt], list[int]]:
    """Attempts at all subtasks, in an order that is drawn, each from where the last has left things, at rest."""
    state, order = room.reset(1, rng), torch.randperm(len(SUBTASKS), generator=rng).tolist()
    made = []
    for k, std in zip(order, noise.tolist(), strict=True):
        state = room.placed(room.observe(state))
        made.append(attempt(room, SUBTASKS[k], state[0], std, steps, rng))
        state = made[-1].states[-1:]
    return made, order
