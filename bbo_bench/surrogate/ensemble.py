"""The differentiable proxy of the score: a bootstrap ensemble of perceptrons, all heads in one batched product."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from bbo_bench.core import State
from bbo_bench.scale import Scale
from bbo_bench.surrogate.networks import Weights, copied, features, forward, initial, output

OPTIMISM = ("mean", "ucb", "max", "thompson", "elliptical")


class Ensemble:
    """Bootstrap ensemble over latents (Osband et al. 2016), optimistic by its spread.

    Every head learns from its own resample of the data and stops early on the points that it did not draw. Scores are
    standardized for fitting; predictions are in the score's units.

    Args:
        heads: Number of networks.
        width: Size of the hidden layers.
        depth: Number of hidden layers.
        learning_rate: Adam's, falling to zero along a cosine.
        weight_decay: Decoupled weight decay.
        batch_size: Points per head and update.
        updates: Most updates of one fit.
        patience: Updates without a better held-out error of any head after which the fit ends.
        optimism: `mean` of the heads; `ucb`, mean + beta · standard deviation; `max` of the heads; `thompson`, one head
            drawn at every fit; `elliptical`, mean + beta · min(1, √(φᵀ(Σφφᵀ + I)⁻¹φ)) over last hidden features φ
            (Uehara et al. 2024), in standard deviations of the score, which shrinks as data come in.
        beta: Weight of the bonus.
        refit: Whether every fit begins anew; otherwise with the networks of the last one, and in its units. Held-out
            errors are then too small, as every head has learnt before from points that it does not draw now.

    Raises:
        ValueError: If `optimism` is unknown, or a number is out of range.
    """

    def __init__(
        self,
        *,
        heads: int = 5,
        width: int = 128,
        depth: int = 2,
        learning_rate: float = 3e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 128,
        updates: int = 1000,
        patience: int = 200,
        optimism: str = "ucb",
        beta: float = 1.0,
        refit: bool = True,
    ) -> None:
        if optimism not in OPTIMISM:
            raise ValueError(f"optimism must be one of {', '.join(OPTIMISM)}, got {optimism!r}")
        if min(heads, width, depth, batch_size, updates, patience) < 1 or (heads < 2 and optimism != "elliptical"):
            raise ValueError("an ensemble needs at least two heads and positive width, depth, batch_size and updates")
        self.heads, self.width, self.depth = heads, width, depth
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.batch_size, self.updates, self.patience = batch_size, updates, patience
        self.optimism, self.beta, self.refit = optimism, beta, refit
        self._weights: Weights = []
        self._scale = Scale(torch.tensor(0.0), torch.tensor(1.0))
        self._precision = torch.empty(0)
        self._head = 0
        self.error = float("nan")
        """Root mean squared held-out error of the heads at the last fit, in standard deviations of the score."""

    def fit(self, z: Tensor, y: Tensor, rng: Generator) -> None:
        """Learn from `n x latent_shape` latents and their `n` scores."""
        z, n = z.flatten(1), len(y)
        anew = self.refit or not self._weights
        self._scale = Scale.of(y) if anew else self._scale
        target = self._scale(y).to(z.dtype)
        drawn = torch.randint(n, (self.heads, n), generator=rng, device=z.device)
        held_out = torch.ones_like(drawn, dtype=torch.bool).scatter_(1, drawn, False)
        held_out |= ~held_out.any(1, keepdim=True)  # a resample may leave out nothing where n is tiny
        sizes = [z.shape[1], *[self.width] * self.depth, 1]
        self._weights = initial(self.heads, sizes, z, rng) if anew else copied(self._weights)
        self._train(z, target, drawn, held_out, rng)
        with torch.no_grad():
            hidden = features(self._weights, z)
            eye = torch.eye(self.width, device=z.device)
            self._precision = torch.linalg.inv(hidden.mT @ hidden + eye)
            self._head = int(torch.randint(self.heads, (), generator=rng, device=z.device))

    def predict(self, z: Tensor) -> Tensor:
        """Mean predicted scores of `n x latent_shape` latents, an `n`-dim tensor."""
        return self._scale.inverse(forward(self._weights, z.flatten(1)).mean(0))

    def __call__(self, z: Tensor) -> Tensor:
        """Optimistic scores of `n x latent_shape` latents, an `n`-dim tensor, differentiable in the latents."""
        z = z.flatten(1)
        if self.optimism == "elliptical":
            hidden = features(self._weights, z)
            bonus = (hidden @ self._precision * hidden).sum(-1).clamp(min=1e-12).sqrt().clamp(max=1).mean(0)
            return self._scale.inverse(output(self._weights, hidden).mean(0) + self.beta * bonus)
        y = forward(self._weights, z)
        if self.optimism == "ucb":
            return self._scale.inverse(y.mean(0) + self.beta * y.std(0))
        if self.optimism == "max":
            return self._scale.inverse(y.amax(0))
        return self._scale.inverse(y[self._head] if self.optimism == "thompson" else y.mean(0))

    def law(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Means and standard deviations of scores of `n x latent_shape` latents, `n`-dim tensors, differentiable.

        The variance is that of the heads and the held-out error's square: what they do not know, and what they missed.
        """
        y = forward(self._weights, z.flatten(1))
        std = (y.var(0) + self.error**2).sqrt()
        return self._scale.inverse(y.mean(0)), std * self._scale.std

    def state_dict(self) -> State:
        """All that `fit` has changed."""
        return {
            "weights": self._weights,
            "scale": list(self._scale),
            "precision": self._precision,
            "head": self._head,
            "error": self.error,
        }

    def load_state_dict(self, state: State, device: torch.device) -> None:
        """Take up a state that `state_dict` gave."""
        self._weights = [w.to(device) for w in state["weights"]]
        self._scale, self._precision = Scale(*state["scale"]).to(device), state["precision"].to(device)
        self._head, self.error = state["head"], state["error"]

    def _train(self, z: Tensor, target: Tensor, drawn: Tensor, held_out: Tensor, rng: Generator) -> None:
        for w in self._weights:
            w.requires_grad_(True)
        optimizer = torch.optim.AdamW(self._weights, lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.updates)
        every = max(1, self.patience // 10)
        best_error, best = torch.full((self.heads,), torch.inf, device=z.device), copied(self._weights)
        stale = 0
        for i in range(1, self.updates + 1):
            picks = torch.randint(len(z), (self.heads, self.batch_size), generator=rng, device=z.device)
            rows = drawn.gather(1, picks)
            loss = (forward(self._weights, z[rows]) - target[rows]).square().mean(1).sum()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            if i % every == 0 or i == self.updates:
                error = self._held_out_error(z, target, held_out)
                better = error < best_error
                best_error = torch.where(better, error, best_error)
                best = [
                    torch.where(better[:, None, None], w, b) for w, b in zip(copied(self._weights), best, strict=True)
                ]
                stale = 0 if bool(better.any()) else stale + every
                if stale >= self.patience:
                    break
        self._weights = best
        self.error = float(best_error.mean().sqrt())

    @torch.no_grad()
    def _held_out_error(self, z: Tensor, target: Tensor, held_out: Tensor) -> Tensor:
        squares = (forward(self._weights, z) - target).square()
        return (squares * held_out).sum(1) / held_out.sum(1)
