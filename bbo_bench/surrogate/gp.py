"""Bayesian optimization with an exact Gaussian process, by BoTorch and GPyTorch: what its variants share."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import NamedTuple

import torch
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.kernels import Kernel, ScaleKernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from linear_operator.utils.errors import NotPSDError
from linear_operator.utils.warnings import NumericalWarning
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem
from bbo_bench.domains import Box, Sequences
from bbo_bench.scale import Scale
from bbo_bench.surrogate.kernels import HammingKernel, TanimotoKernel, in_selfies
from bbo_bench.whitening import Whitening, dependent

UNIT = 5.0
"""Standard deviations in a unit of length: a Gaussian sample then about fills a unit cube, as kernel priors expect."""

COMPARED = 256
"""Designs, evenly spaced among the told ones, by whose marginal likelihood it is chosen how designs are seen."""


class Process(SingleTaskGP):
    """A Gaussian process with a learned noise level, of standardized scores."""

    failed = False
    """Whether a covariance matrix was singular to the computer's precision while it was fitted: its settings are then
    those it started from, which its priors find likely."""


def fit_gp(v: Tensor, y: Tensor, steps: int, kernel: Kernel | None = None) -> Process:
    """A Gaussian process of `n` noisy scores at `n x d` points, fitted by at most `steps` iterations of L-BFGS-B.

    Its kernel is Matérn-5/2 by default, with a lengthscale per coordinate under BoTorch's dimension-scaled priors
    (Hvarfner et al. 2024). Scores are expected to be standardized. It draws no random number.
    """
    kernel = kernel or get_covar_module_with_dim_scaled_prior(v.shape[1], use_rbf_kernel=False)
    model = Process(v, y[:, None].to(v), covar_module=kernel.to(v), outcome_transform=None)
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    start = deepcopy(model.state_dict())
    try:
        fit_gpytorch_mll_scipy(mll.train(), options={"maxiter": steps})
    except NotPSDError:
        model.load_state_dict(start)
        model.failed = True
    mll.eval()
    return model


def hamming(domain: Sequences) -> Kernel:
    """The `HammingKernel` of a domain, with dimension-scaled priors of its lengthscales."""
    return HammingKernel(domain.size, get_covar_module_with_dim_scaled_prior(domain.length, use_rbf_kernel=True))


def tanimoto(domain: Sequences) -> Kernel:
    """The `TanimotoKernel` of a domain, with a learned factor."""
    return ScaleKernel(TanimotoKernel(domain.alphabet))


def evidence(model: Process) -> float:
    """Log marginal likelihood of the scores that a process was fitted to, in nats per score."""
    model.train()
    with torch.no_grad():
        found = model.likelihood(model(*model.train_inputs)).log_prob(model.train_targets)
    model.eval()
    return float(found) / len(model.train_targets)


@contextmanager
def jittered() -> Iterator[None]:
    """Draws at points so close that their covariance needs jitter, without the warning which says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NumericalWarning)
        yield


class Fit(NamedTuple):
    """A process in some coordinates."""

    whitened: bool
    by_fingerprint: bool
    axes: Whitening
    v: Tensor
    """`n x d` points that it is fitted to."""
    scale: Scale
    """Of their scores."""
    gp: Process


class GPOptimizer(ArchiveOptimizer):
    """Fits a Gaussian process to the archive after every round, in the box's coordinates or along axes of round 0.

    A subclass adds `propose`.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        whiten: Search along the principal axes of round 0, not in the unit cube of the box; None where the numbers of
            its designs are `dependent`, else along the axes of the box, in units of round 0's deviations. For sequences
            without effect.
        tanimoto: Compare molecules by their fingerprints, not by their tokens; None for whichever of the two gives some
            scores the higher marginal likelihood. Without effect for what is no string of SELFIES tokens.
        max_points: Designs the process is fitted to: those closest to the best one.
        fit_steps: Most iterations of a fit.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        problem: Problem,
        rng: Generator,
        *,
        whiten: bool | None,
        tanimoto: bool | None,
        max_points: int,
        fit_steps: int,
    ) -> None:
        super().__init__(problem, rng)
        if max_points < 2 or fit_steps < 1:
            raise ValueError(f"expected max_points >= 2 and fit_steps >= 1, got {max_points} and {fit_steps}")
        self.whiten, self.tanimoto, self.max_points, self.fit_steps = whiten, tanimoto, max_points, fit_steps

    @abstractmethod
    def propose(self, n: int) -> Tensor:
        """`n x d` points in the whitened coordinates to query next; those outside the box are moved to its border."""

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        return self.to_designs(self.axes.inverse(self.propose(n)))

    def update(self) -> None:
        """Fit the process to the designs closest to the best one."""
        views = self._views()
        if len(views) > 1:
            some = torch.arange(0, len(self.y), -(-len(self.y) // COMPARED))
            views = [max(views, key=lambda view: evidence(self._fitted(view, some).gp))]
        self.whitened, self.by_fingerprint, self.axes, self.v, self.scale, self.gp = self._fitted(views[0])

    def _views(self) -> list[tuple[bool, bool]]:
        """Whether designs are seen whitened, and whether by fingerprints, in each of the ways that compete."""
        if isinstance(self.domain, Box):
            return [(dependent(self._start) if self.whiten is None else self.whiten, False)]
        assert isinstance(self.domain, Sequences)
        if not in_selfies(self.domain.alphabet):
            return [(False, False)]
        return [(False, compared) for compared in ([True, False] if self.tanimoto is None else [self.tanimoto])]

    @property
    def _start(self) -> Tensor:
        """`n x d` points of round 0."""
        return self.to_vectors(self.rounds[0][0])

    def _fitted(self, view: tuple[bool, bool], chosen: Tensor | None = None) -> Fit:
        """A process of `chosen` designs; of those closest to the best one by default."""
        whitened, by_fingerprint = view
        kernel = None
        if whitened:
            axes = Whitening(self._start, UNIT)
        elif isinstance(self.domain, Box) and self.whiten is None:
            axes = Whitening.scaled(self._start, UNIT)
        else:
            axes = Whitening.identity(self._start)
        v, y = axes(self.to_vectors(self.x)), self.y
        if isinstance(self.domain, Sequences):
            kernel = (tanimoto if by_fingerprint else hamming)(self.domain)
        if chosen is None:
            distance = (v - v[y.argmax()]).norm(dim=1, p=2 if kernel is None else 0)
            chosen = distance.argsort(stable=True)[: self.max_points].sort().values
        v, y = v[chosen.to(v.device)], y[chosen.to(y.device)]
        scale = Scale.of(y)
        return Fit(whitened, by_fingerprint, axes, v, scale, fit_gp(v, scale(y), self.fit_steps, kernel))

    @torch.no_grad()
    def mean(self, v: Tensor) -> Tensor:
        """Posterior means at `n x d` points, an `n`-dim tensor in the score's units."""
        return self.scale.inverse(self.gp.posterior(v).mean.squeeze(-1))

    def within(self, v: Tensor) -> Tensor:
        """`n x d` points, those outside the box moved to its border."""
        return self.axes(self.axes.inverse(v).clamp(0, 1))

    def bounds(self, v: Tensor, margin: float) -> Tensor:
        """`2 x d` corners of a box around the told designs, and `n x d` points of the domain that may lie outside it.

        Args:
            v: The points.
            margin: What the box adds at every side, as a fraction of the range of the told designs.
        """
        low, high = self.v.amin(0), self.v.amax(0)
        wider = margin * torch.where(high > low, high - low, 1.0)
        return torch.stack([torch.minimum(low - wider, v.amin(0)), torch.maximum(high + wider, v.amax(0))])

    def lengthscale(self) -> Tensor:
        """The `d` lengthscales of the kernel; a single NaN where it compares fingerprints."""
        if self.by_fingerprint:
            return self.v.new_full((1,), torch.nan)
        lengthscale: Tensor = self.gp.covar_module.lengthscale
        return lengthscale.detach().squeeze(0)

    def predict(self, x: Tensor) -> Tensor:
        """See `Optimizer.predict`."""
        return self.mean(self.axes(self.to_vectors(x))).to(x.device)

    @torch.no_grad()
    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior means and standard deviations of the scores of `n x shape` designs, in the score's units."""
        posterior = self.gp.posterior(self.axes(self.to_vectors(x)))
        mean, std = self.scale.inverse(posterior.mean), self.scale.std * posterior.variance.sqrt()
        return mean.squeeze(-1).to(x.device), std.squeeze(-1).to(x.device)

    def diagnostics(self) -> dict[str, float]:
        """Adds `noise_std` in the score's units, the median `lengthscale`, how designs are seen, and a failed fit."""
        noise_std = self.gp.likelihood.noise.item() ** 0.5 * float(self.scale.std)
        own = {"noise_std": noise_std, "lengthscale": float(self.lengthscale().median())}
        seen = {"whitened": float(self.whitened), "tanimoto": float(self.by_fingerprint)}
        return super().diagnostics() | own | seen | {"failed_fit": float(self.gp.failed)}
