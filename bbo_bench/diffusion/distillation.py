"""How a consistency model is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Distillation:
    """How a consistency model is distilled from a prior.

    Attributes:
        steps: Steps of the teacher's trajectories.
        passes: How many times fresh trajectories are drawn; every state of theirs is learnt from once.
        trajectories: Trajectories per pass, and states per update.
        learning_rate: Adam's, falling to zero along a cosine.

    Raises:
        ValueError: If a number is out of range.
    """

    steps: int = 100
    passes: int = 40
    trajectories: int = 256
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if min(asdict(self).values()) <= 0:
            raise ValueError(f"expected a distillation of positive numbers, got {self}")
