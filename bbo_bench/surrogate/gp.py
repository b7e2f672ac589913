"""Bayesian optimization with an exact Gaussian process, by BoTorch and GPyTorch: what its variants share."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from botorch.models import SingleTaskGP
from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.kernels import Kernel, RBFKernel
from gpytorch.mlls import ExactMarginalLogLikelihood
from torch import Generator, Tensor

from bbo_bench.archive import ArchiveOptimizer
from bbo_bench.core import Problem
from bbo_bench.domains import Sequences
from bbo_bench.scale import Scale
from bbo_bench.whitening import Whitening

UNIT = 5.0
"""Standard deviations in a unit of length: a Gaussian sample then about fills a unit cube, as kernel priors expect."""


class HammingKernel(RBFKernel):  # type: ignore[misc]
    """exp(-½ Σ_l [a_l ≠ b_l] / λ_l²) between sequences of tokens, with a lengthscale λ_l per position.

    The RBF kernel of their one-hot vectors, tied over the tokens of a position: distances are a matrix product.

    Args:
        size: Number of tokens in the alphabet.
        like: Where lengthscales and their prior come from, an RBF kernel with as many coordinates as positions.
    """

    def __init__(self, size: int, like: RBFKernel) -> None:
        super().__init__(
            ard_num_dims=like.ard_num_dims,
            lengthscale_prior=like.lengthscale_prior,
            lengthscale_constraint=like.raw_lengthscale_constraint,
        )
        self.tokens = size
        self.lengthscale = like.lengthscale.detach()

    def forward(self, x1: Tensor, x2: Tensor, diag: bool = False, **params: bool) -> Tensor:
        """Covariances of `n x d` and `m x d` tokens."""
        a, b = (self._one_hot(x) for x in (x1, x2))
        square: Tensor = self.covar_dist(a, b, square_dist=True, diag=diag, **params)
        return square.div(-2).exp()

    def _one_hot(self, x: Tensor) -> Tensor:
        """`n x d` tokens as vectors whose squared distance is Σ_l [a_l ≠ b_l] / λ_l²."""
        tokens = torch.arange(self.tokens, device=x.device)
        scaled: Tensor = (x[..., None] == tokens) / (2**0.5 * self.lengthscale[..., None])
        return scaled.flatten(-2)


def fit_gp(v: Tensor, y: Tensor, steps: int, tokens: int | None = None) -> SingleTaskGP:
    """A Gaussian process of `n` noisy scores at `n x d` points, fitted by at most `steps` iterations of L-BFGS-B.

    Matérn-5/2, or the `HammingKernel` for sequences over an alphabet of `tokens`, with a lengthscale per coordinate
    under BoTorch's dimension-scaled priors (Hvarfner et al. 2024), and a learned noise level. Scores are expected to be
    standardized. It draws no random number.
    """
    kernel: Kernel = get_covar_module_with_dim_scaled_prior(v.shape[1], use_rbf_kernel=tokens is not None)
    if tokens is not None:
        kernel = HammingKernel(tokens, kernel)
    model = SingleTaskGP(v, y[:, None].to(v), covar_module=kernel.to(v), outcome_transform=None)
    mll = ExactMarginalLogLikelihood(model.likelihood, model)
    fit_gpytorch_mll_scipy(mll.train(), options={"maxiter": steps})
    mll.eval()
    return model


def evidence(model: SingleTaskGP) -> float:
    """Log marginal likelihood of the scores that a process was fitted to, in nats per score."""
    model.train()
    with torch.no_grad():
        found = model.likelihood(model(*model.train_inputs)).log_prob(model.train_targets)
    model.eval()
    return float(found) / len(model.train_targets)


class Fit(NamedTuple):
    """A process in some coordinates."""

    whitened: bool
    axes: Whitening
    v: Tensor
    """`n x d` points that it is fitted to."""
    scale: Scale
    """Of their scores."""
    gp: SingleTaskGP


class GPOptimizer(ArchiveOptimizer):
    """Fits a Gaussian process to the archive after every round, in the box's coordinates or along axes of round 0.

    A subclass adds `propose`.

    Args:
        problem: What may be known.
        rng: Source of all randomness.
        whiten: Search along the principal axes of round 0, not those of the box; None for whichever of the two gives
            the scores so far the higher marginal likelihood. For sequences without effect.
        max_points: Designs the process is fitted to: those closest to the best one.
        fit_steps: Most iterations of a fit.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self, problem: Problem, rng: Generator, *, whiten: bool | None, max_points: int, fit_steps: int
    ) -> None:
        super().__init__(problem, rng)
        if max_points < 2 or fit_steps < 1:
            raise ValueError(f"expected max_points >= 2 and fit_steps >= 1, got {max_points} and {fit_steps}")
        self.whiten, self.max_points, self.fit_steps = whiten, max_points, fit_steps

    @abstractmethod
    def propose(self, n: int) -> Tensor:
        """`n x d` points in the whitened coordinates to query next; those outside the box are moved to its border."""

    def ask(self, n: int) -> Tensor:
        """See `Optimizer.ask`."""
        return self.to_designs(self.axes.inverse(self.propose(n)))

    def update(self) -> None:
        """Fit the process to the designs closest to the best one."""
        start = self.to_vectors(self.rounds[0][0])
        tokens = self.domain.size if isinstance(self.domain, Sequences) else None
        choices = [False] if tokens is not None else [True, False] if self.whiten is None else [self.whiten]
        fits = [self._fitted(start, whiten, tokens) for whiten in choices]
        best = max(fits, key=lambda fit: evidence(fit.gp)) if len(fits) > 1 else fits[0]
        self.whitened, self.axes, self.v, self.scale, self.gp = best

    def _fitted(self, start: Tensor, whiten: bool, tokens: int | None) -> Fit:
        axes = Whitening(start, UNIT) if whiten else Whitening.identity(start)
        v, y = axes(self.to_vectors(self.x)), self.y
        distance = (v - v[y.argmax()]).norm(dim=1, p=2 if tokens is None else 0)
        near = distance.argsort(stable=True)[: self.max_points].sort().values
        y = y[near.to(y.device)]
        scale = Scale.of(y)
        return Fit(whiten, axes, v[near], scale, fit_gp(v[near], scale(y), self.fit_steps, tokens))

    @torch.no_grad()
    def mean(self, v: Tensor) -> Tensor:
        """Posterior means at `n x d` points, an `n`-dim tensor in the score's units."""
        return self.scale.inverse(self.gp.posterior(v).mean.squeeze(-1))

    def within(self, v: Tensor) -> Tensor:
        """`n x d` points, those outside the box moved to its border."""
        return self.axes(self.axes.inverse(v).clamp(0, 1))

    def lengthscale(self) -> Tensor:
        """The `d` lengthscales of the kernel."""
        lengthscale: Tensor = self.gp.covar_module.lengthscale
        return lengthscale.detach().squeeze(0)

    def predict(self, x: Tensor) -> Tensor:
        """See `Optimizer.predict`."""
        return self.mean(self.axes(self.to_vectors(x))).to(x.device)

    def diagnostics(self) -> dict[str, float]:
        """Adds `noise_std` in the score's units, `lengthscale`, the median over coordinates, and which they are."""
        noise_std = self.gp.likelihood.noise.item() ** 0.5 * float(self.scale.std)
        own = {"noise_std": noise_std, "lengthscale": float(self.lengthscale().median())}
        return super().diagnostics() | own | {"whitened": float(self.whitened)}
