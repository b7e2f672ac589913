"""The nouns of the benchmark: domain, prior, problem, task, optimizer. No algorithm lives here.

Designs, latents and scores are torch tensors throughout, scores are maximized everywhere. Tasks live on the host;
domains, priors and optimizers live on the device that a run names; the oracle is the border between the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self, runtime_checkable

import torch
from torch import Generator, Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bbo_bench.control.planning import Control
    from bbo_bench.io import Format, Notation

State = dict[str, Any]
"""What `tell` has changed: tensors, numbers, strings, bytes, and dicts or lists of them."""


class UnsuitableError(ValueError):
    """An optimizer cannot work on a problem, whatever its numbers: its domain, prior or data are of another kind."""


class Domain(ABC):
    """The set of designs that may be proposed."""

    shape: torch.Size
    """Shape of one design."""

    @abstractmethod
    def check(self, x: Tensor) -> Tensor:
        """`n x shape` designs, unchanged.

        Raises:
            ValueError: If a design is not of this domain; says what was expected and what was got.
        """

    @abstractmethod
    def sample(self, n: int, rng: Generator) -> Tensor:
        """`n x shape` designs, drawn uniformly."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """This domain with its tensors on `device`."""


class Prior(ABC):
    """A pretrained generator of natural designs."""

    latent_shape: torch.Size
    """Shape of one latent."""
    lossy: bool = False
    """Whether `decode(encode(x))` may be another design than x, one that is like it."""

    @abstractmethod
    def sample(self, n: int, rng: Generator) -> Tensor:
        """`n x latent_shape` latents of natural designs."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """`n x shape` designs of the domain from `n x latent_shape` latents."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """`n x latent_shape` latents from `n x shape` designs."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """This prior with its tensors on `device`."""


class Transitions(NamedTuple):
    """Steps of an environment."""

    observation: Tensor
    """`n x o`."""
    action: Tensor
    """`n x a`."""
    reward: Tensor
    """`n` rewards; a return is their sum."""
    following: Tensor
    """`n x o`: the observations that follow."""
    done: Tensor
    """`n` bools: whether the episode ends there."""


@runtime_checkable
class Contextual(Protocol):
    """A prior that makes designs for prompts, or from given starts."""

    def drawing(self, contexts: range | Tensor) -> AbstractContextManager[None]:
        """Samples are for the prompts of these numbers alone, or from the starts of these designs, in the meantime."""


@dataclass(frozen=True)
class Offline:
    """What the data set of a control task tells of its environment: transitions with their rewards."""

    observation: Tensor
    """`n x o`."""
    action: Tensor
    """`n x a`."""
    reward: Tensor
    """`n` rewards; a return is their sum."""
    following: Tensor
    """`n x o`: the observations that follow."""
    done: Tensor
    """`n` bools: whether the episode ends there."""
    steps: Callable[[Tensor], tuple[Tensor, Tensor]]
    """Maps `n x shape` plans to their `n x H x o` observations and `n x H x a` actions, differentiably."""
    given: Tensor
    """Bools of a plan's shape: what of it is its first observation, which a planner is given."""
    relative: bool = False
    """Whether a plan's score is not its return, but what that has above some policy's from its first observation."""
    executed: bool = False
    """Whether `Task.executed` tells the transitions of plans that are queried."""
    discount: float = 1.0
    """γ, of a step, where critics look ahead; below 1 where episodes do not end by themselves."""

    def __post_init__(self) -> None:
        """Refuse transitions that do not belong together.

        Raises:
            ValueError: If a shape or type is not as declared, a number is not finite, nothing is given, or the discount
                is not above 0 and at most 1.
        """
        if not 0 < self.discount <= 1:
            raise ValueError(f"expected 0 < discount <= 1, got {self.discount}")
        numbers = ("observation", "action", "reward", "following")
        shapes = {name: tuple(getattr(self, name).shape) for name in (*numbers, "done")}
        n, o, a = len(self.reward), self.observation.shape[-1], self.action.shape[-1]
        if shapes != {"observation": (n, o), "action": (n, a), "reward": (n,), "following": (n, o), "done": (n,)}:
            raise ValueError(f"expected observation and following n x o, action n x a, reward and done n, got {shapes}")
        for name in numbers:
            if not torch.stack(getattr(self, name).aminmax()).isfinite().all():  # NaN is an extreme of any numbers
                raise ValueError(f"expected finite numbers, got {name} with NaN or infinite ones")
        if self.done.dtype != torch.bool or self.given.dtype != torch.bool:
            raise ValueError(f"expected bools, got done of {self.done.dtype} and given of {self.given.dtype}")
        if not self.given.any():
            raise ValueError("expected given to mark a plan's first observation, got nothing marked")

    @property
    def transitions(self) -> Transitions:
        """Its transitions alone."""
        return Transitions(self.observation, self.action, self.reward, self.following, self.done)

    def to(self, device: torch.device) -> Self:
        """These transitions on `device`."""
        moved: dict[str, Any] = {
            key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Problem:
    """All that an optimizer may know; the score is not in it."""

    domain: Domain
    prior: Prior
    budget: tuple[int, ...]
    """Queries per round; round 0 is asked from the prior. All 0 where only a data set is learnt from."""
    offline: Offline | None = None
    """Of a control task."""


class Task(ABC):
    """A black box with the facts that judge its designs. All tensors are on the host.

    Class attributes (or constructor arguments) declare, a few methods compute, on any number of designs, none too.
    """

    domain: Domain
    noise_std: float
    """Standard deviation of the observation noise; the true score has none."""
    y_prior: float
    """Mean true score of 10,000 samples of the prior."""
    best_known: float
    """Best true score of a valid design known so far; with `y_prior` it sets the scale of `normalized`."""
    infeasible_score: float
    """What an infeasible design (true score −inf) counts as in means and in what optimizers are told."""

    scored: bool = True
    """Whether `evaluate` can be asked; False where scores are measured elsewhere, and told."""
    open_ended: bool = False
    """Whether `best_known` is only the best of what has been seen, which designs may well exceed."""
    columns: Sequence[str] = ()
    """Names of a design's numbers in a table, in their order; by default `x_0`, `x_1` and so on."""

    def best_design(self) -> Tensor | None:
        """A design of shape `shape` whose true score is `best_known`, where it is kept or can be constructed."""
        return None

    @abstractmethod
    def prior(self) -> Prior:
        """The pretrained generator of this task's natural designs."""

    def problem(self, budget: tuple[int, ...], device: torch.device) -> Problem:
        """What an optimizer may know of this task, on `device`."""
        offline = self.offline()
        return Problem(self.domain.to(device), self.prior().to(device), budget, offline and offline.to(device))

    @abstractmethod
    def evaluate(self, x: Tensor) -> Tensor:
        """True scores of `n x shape` designs, an `n`-dim tensor; −inf marks an infeasible design."""

    @abstractmethod
    def valid(self, x: Tensor) -> Tensor:
        """Which of `n x shape` designs are legal objects of their domain, an `n`-dim bool tensor."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """`n x f` embedding of `n x shape` designs, in which naturalness and diversity are measured."""

    @abstractmethod
    def reference(self) -> Tensor:
        """`n x shape` real designs that the prior never saw."""

    def offline(self) -> Offline | None:
        """The transitions of the data that the prior is trained on, where designs are plans in an environment."""
        return None

    def executed(self, x: Tensor) -> Transitions | None:
        """The transitions that executing `n x shape` plans adds to those of `offline`; None where there is none."""
        return None

    def control(self) -> Control | None:
        """How plans are made from what is observed and executed, where designs are plans from a given start."""
        return None

    def canonical(self, x: Tensor) -> Tensor:
        """`n x k` numbers, equal where two of `n x shape` designs are one object in two notations; by default `x`."""
        return x

    def metrics(self, x: Tensor) -> dict[str, float]:
        """Metrics of the domain's own of `n x shape` designs: always the same keys, NaN where one is not available."""
        return {}

    def validate(self, x: Tensor) -> Tensor | None:
        """Scores of `n x shape` designs by an independent, higher-fidelity method; NaN where it gives none.

        None where the task has no such method, or the machine lacks it.
        """
        return None

    def faults(self, x: Tensor) -> list[str]:
        """Why each of `n x shape` designs is not valid, in a few words; empty where it is."""
        return ["" if valid else "not valid" for valid in self.valid(x).tolist()]

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """Real `n x shape` designs to compare with, and the name of each, empty where it has none."""
        x = self.reference()
        return x, [""] * len(x)

    def notation(self) -> Notation | None:
        """How a design is written in a line of text; None for sequences of their tokens, and for numbers."""
        return None

    def formats(self) -> Mapping[str, Format]:
        """What designs are read from and written as beyond what all tasks have, by suffix, such as `.sdf`."""
        return {}

    def versions(self) -> dict[str, str]:
        """Versions, by name, of what scores depend on beyond the requirements of bbo-bench: a program, say."""
        return {}

    @abstractmethod
    def render(self, x: Tensor, axes: Axes) -> None:
        """Draw one design of shape `shape`."""


class Optimizer(ABC):
    """Proposes designs and learns from their noisy scores.

    Draw every random number from `rng`. The loop seeds it anew before each `ask`, `tell` and `recommend`, so its state
    need not be saved, and a run that was killed resumes byte for byte. `ask` and `recommend` change nothing that a
    later call depends on, except that `tell` may use what the `ask` before it has stored.

    The constructor raises `UnsuitableError` for a problem that it cannot work on. A sweep builds each of its pairs once
    before the first run, so keep it cheap.
    """

    needs_scores: bool = True
    """Whether it can do nothing without queries, as it learns from their scores alone."""

    def __init__(self, problem: Problem, rng: Generator) -> None:
        if self.needs_scores and not any(problem.budget):
            raise UnsuitableError(
                f"{type(self).__name__} learns from scores, of which a budget without queries has none: choose another "
                "budget, or an optimizer with a critic of the task's data, such as those whose names end in _iql"
            )
        self.problem = problem
        self.rng = rng

    @abstractmethod
    def ask(self, n: int) -> Tensor:
        """`n x shape` designs to query next."""

    @abstractmethod
    def tell(self, x: Tensor, y: Tensor) -> None:
        """Learn from `n x shape` designs and their `n` noisy scores, all finite."""

    def observe(self, transitions: Transitions) -> None:  # noqa: B027 - most have no use for it
        """Take up what executing the asked plans has shown, before their scores are told; nothing by default."""

    @abstractmethod
    def recommend(self, n: int) -> Tensor:
        """`n x shape` designs that this optimizer would ship now."""

    @abstractmethod
    def state_dict(self) -> State:
        """All that `tell` has changed."""

    @abstractmethod
    def load_state_dict(self, state: State) -> None:
        """Take up a state that `state_dict` gave."""

    @contextmanager
    def drawing(self, contexts: Tensor) -> Iterator[None]:
        """Designs are made for the prompts of these numbers, or from the starts of these designs, in the meantime.

        Raises:
            ValueError: If the problem's prior knows of neither.
        """
        if not isinstance(self.problem.prior, Contextual):
            raise ValueError(f"expected a prior with `drawing`, got {type(self.problem.prior).__name__}")
        with self.problem.prior.drawing(contexts):
            yield

    def predict(self, x: Tensor) -> Tensor | None:
        """Predicted scores of `n x shape` designs in the score's own units, or None without a model of the score."""
        return None

    def diagnostics(self) -> dict[str, float]:
        """Numbers about the last `tell` (losses, proxy error, KL to the prior); the same keys after every round."""
        return {}
