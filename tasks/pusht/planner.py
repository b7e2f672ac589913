"""Demonstrations by search: of random pushes on the T the best is made, and so on.

A push starts beside a point of the outline of the T and leads inwards. What many of them would do is estimated, what
the best of these do is simulated from their start; the way there, round the T, is not.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from bbo_bench.tasks.pusht.table import MOVING, SIDE, SUCCESS, Array, Physics

OUTLINE = np.array([(-60, 30), (-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30)], float)
"""Corners of the T about its own origin, in order."""
ALONG = np.roll(OUTLINE, -1, 0) - OUTLINE
LENGTHS = np.linalg.norm(ALONG, axis=1)
OUTWARD = np.stack([ALONG[:, 1], -ALONG[:, 0]], 1) / LENGTHS[:, None]
"""Edges from every corner to the next, their lengths, and which way is out."""
MIDDLE, MASS, INERTIA = np.array([0.0, 45.0]), 1.0, 3000.0
"""Center of gravity of the T, its mass, and its moment of inertia."""
GOAL = (256.0, 256.0, np.pi / 4)
"""Place and angle of the goal."""
DRAWN, ROUTED, SIMULATED = 256, 32, 8
"""Pushes that are drawn, how many of them are weighed against the way to them, and how many of these simulated."""
SUBSTEPS = 12
"""Of an estimate."""
RADIUS, ROUND = 15.0, 118.0
"""Of the agent, and of its way round the T."""
BESIDE = 20.0
"""Distance from the outline at which a push starts."""
MOST, FINE, SKEW = 90.0, 15.0, 0.5
"""Longest pushes, longest fine ones, which are all where the T is as near as that to its goal, and angle to inwards."""
STRIDE, ARC = 70.0, 120.0
"""Longest moves: in a push, and round the T."""
INSIDE = 20.0
"""Least distance of where a push starts from the border of the table."""


class Pushes(NamedTuple):
    """`m` pushes on a T."""

    edge: Array
    """Numbers of edges."""
    start: Array
    """`m x 2`."""
    end: Array
    """`m x 2`."""

    @classmethod
    def drawn(cls, pose: Array, n: int, rng: np.random.Generator) -> Self:
        """Random ones on a T at `x, y, angle`, up to `n`: those that start on the table."""
        edge = rng.choice(len(OUTLINE), n, p=LENGTHS / LENGTHS.sum())
        turned = rotation(pose[2])
        outward = OUTWARD[edge] @ turned.T
        points = (OUTLINE[edge] + rng.uniform(0.05, 0.95, (n, 1)) * ALONG[edge]) @ turned.T + pose[:2]
        fine = (rng.random(n) < 0.15) | (distance(pose[None])[0] < FINE)
        length = BESIDE - RADIUS + np.where(fine, rng.uniform(1, FINE, n), rng.uniform(5, MOST, n))
        skew = rng.uniform(-SKEW, SKEW, n)
        inward = -(outward * np.cos(skew)[:, None] + outward[:, ::-1] * [-1, 1] * np.sin(skew)[:, None])
        start = points + BESIDE * outward
        inside = (start.min(1) > INSIDE) & (start.max(1) < SIDE - INSIDE)
        return cls(*(each[inside] for each in (edge, start, start + length[:, None] * inward)))

    def targets(self, i: int) -> list[Array]:
        """Targets by which push `i` is made from its start, and where it leaves the T."""
        way = self.end[i] - self.start[i]
        moves = int(np.ceil(np.linalg.norm(way) / STRIDE))
        return [*(self.start[i] + way * (k + 1) / moves for k in range(moves)), self.start[i]]

    def estimated(self, pose: Array) -> Array:
        """`m x 3` poses after pushes without friction on the edge at which they start, until they slip off it."""
        angle = np.full(len(self.edge), pose[2])
        middle = np.repeat((rotation(pose[2]) @ MIDDLE + pose[:2])[None], len(angle), 0)
        corner, outward = OUTLINE[self.edge] - MIDDLE, OUTWARD[self.edge]
        for share in np.arange(1, SUBSTEPS + 1) / SUBSTEPS:
            agent = self.start + share * (self.end - self.start)
            normal = turned(outward, angle)
            off = agent - middle - turned(corner, angle)
            along = (off * turned(ALONG[self.edge], angle)).sum(1) / LENGTHS[self.edge] ** 2
            depth = np.where((along > 0) & (along < 1), np.maximum(RADIUS - (off * normal).sum(1), 0), 0)
            lever = cross(agent - RADIUS * normal - middle, normal)
            pressed = depth / (1 / MASS + lever**2 / INERTIA)
            middle = middle - normal * (pressed / MASS)[:, None]
            angle = angle - lever * pressed / INERTIA
        return np.concatenate([middle - turned(np.tile(MIDDLE, (len(angle), 1)), angle), angle[:, None]], 1)


class Demonstration(NamedTuple):
    """An episode of `k` actions."""

    states: Array
    """`(k+1) x s`."""
    actions: Array
    """`k x 2`."""


def rotation(angle: float) -> Array:
    """The `2 x 2` matrix that turns by an angle."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def turned(vectors: Array, angles: Array) -> Array:
    """`m x 2` vectors, turned by as many angles."""
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([c * vectors[:, 0] - s * vectors[:, 1], s * vectors[:, 0] + c * vectors[:, 1]], 1)


def cross(a: Array, b: Array) -> Array:
    """Cross products of `m x 2` vectors."""
    product: Array = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product


def corners(poses: Array) -> Array:
    """`m x 8 x 2` corners of Ts at `m x 3` places and angles."""
    c, s = np.cos(poses[:, 2:]), np.sin(poses[:, 2:])
    x, y = OUTLINE.T
    return np.stack([c * x - s * y + poses[:, :1], s * x + c * y + poses[:, 1:2]], -1)


def distance(poses: Array) -> Array:
    """Mean distances of the corners of Ts, at `m x 3` places and angles, from where they are to be, in pixels."""
    far: Array = np.linalg.norm(corners(poses) - corners(np.array([GOAL])), axis=-1).mean(1)
    return far


def approach(agent: Array, start: Array, pose: Array) -> list[Array]:
    """Targets on the way of the agent to where a push starts: straight where that is free, else round the T."""
    if np.linalg.norm(agent - start) < 3:
        return []
    if _free(agent, start, corners(pose[None])[0]):
        return [start]
    middle = rotation(pose[2]) @ MIDDLE + pose[:2]
    at, to = (np.arctan2(*(place - middle)[::-1]) for place in (agent, start))
    turn = (to - at + np.pi) % (2 * np.pi) - np.pi
    moves = max(1, int(np.ceil(abs(turn) * ROUND / ARC)))
    angles = at + turn * np.arange(1, moves + 1) / moves
    circle = middle + ROUND * np.stack([np.cos(angles), np.sin(angles)], 1)
    return [*np.clip(circle, INSIDE, SIDE - INSIDE), start]


def _free(a: Array, b: Array, outline: Array) -> bool:
    """Whether the agent can go straight from `a` to `b` without touching a T."""
    points = a + np.linspace(0, 1, 16)[:, None] * (b - a)
    along = np.roll(outline, -1, 0) - outline
    off = points[:, None] - outline
    share = np.clip((off * along).sum(-1) / (along**2).sum(-1), 0, 1)
    return bool(np.linalg.norm(off - share[..., None] * along, axis=-1).min() > RADIUS + 1)


def best(physics: Physics, state: Array, rng: np.random.Generator) -> list[Array]:
    """Targets of the push that brings the T nearer to its goal than others per action, and of the way to it.

    Args:
        physics: What simulates pushes.
        state: `s` numbers of `Table`'s.
        rng: Generator of the pushes.
    """
    agent, pose = state[:2], state[4:7]
    now, found, most = distance(pose[None])[0], list[Array](), -np.inf
    pushes = Pushes.drawn(pose, DRAWN, rng)
    gains = now - distance(pushes.estimated(pose))
    routes = {i: [*approach(agent, pushes.start[i], pose), *pushes.targets(i)] for i in np.argsort(-gains)[:ROUTED]}
    for i in sorted(routes, key=lambda i: -gains[i] / len(routes[i]))[:SIMULATED]:
        physics.place(np.array([*pushes.start[i], 0, 0, *pose, 0, 0, 0]))
        for target in pushes.targets(i)[:-1]:
            physics.hold(target)
        gain = (now - distance(np.array([physics.moving()[4:7]]))[0]) / len(routes[i])
        if gain > most:
            found, most = routes[i], gain
    return found


def demonstrated(physics: Physics, state: Array, horizon: int, rng: np.random.Generator) -> Demonstration:
    """An episode by search, from a state on, to success or `horizon` actions.

    Args:
        physics: What simulates it.
        state: `s` numbers of `Table`'s.
        horizon: Most actions.
        rng: Generator of the pushes.
    """
    states, actions = [state], list[Array]()

    def over() -> bool:
        return len(actions) == horizon or states[-1][MOVING] > SUCCESS

    while not over():
        for target in best(physics, states[-1], rng):
            actions.append(np.clip(target, 0, SIDE).astype(np.float16).astype(float))  # as it is written
            physics.place(states[-1])
            physics.hold(actions[-1])
            states.append(np.array([*physics.moving(), physics.coverage()]))
            if over():
                break
    return Demonstration(np.stack(states), np.array(actions).reshape(-1, 2))
