"""A denoiser that a prompt conditions: diffusers' UNet, which attends to the prompt's tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bbo_bench.seeding import generator


class Conditional(nn.Module):
    """Reads the prompt off a latent's last entry, where a `Prompted` codec has put its code, and attends to its tokens.

    With `guidance` w the output is that without a prompt, and w times what the prompt adds to it (classifier-free
    guidance, Ho and Salimans 2022). It is this guided network's steps that log-probabilities and KL divergences are of,
    the policy's and the prior's.

    Args:
        net: diffusers' `UNet2DConditionModel`, for latents without the code.
        codes: `P x h x w`, a different one for each prompt.
        tokens: `P+1 x l x d`: what the network attends to for each prompt, and, the last, for none.
        guidance: w; 1 is the prompted network alone, at half the cost.
        unprompted: Share of the examples that it is trained on without their prompt.
        precision: What it computes in, by autocast; `torch.float32` for its weights' own.
        batch: At most so many latents pass it at once; None for all.
    """

    codes: Tensor
    tokens: Tensor

    def __init__(
        self,
        net: nn.Module,
        codes: Tensor,
        tokens: Tensor,
        *,
        guidance: float = 1.0,
        unprompted: float = 0.1,
        precision: torch.dtype = torch.float32,
        batch: int | None = None,
    ) -> None:
        super().__init__()
        self.net, self.guidance, self.unprompted = net, guidance, unprompted
        self.precision, self.batch = precision, batch
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("tokens", tokens, persistent=False)
        self._rng = generator(0, "unprompted")

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x c+1 x h x w` noisy latents at `n` timesteps (or one for all), of their shape."""
        if not len(x):  # which attention cannot be of
            return x
        z, t = x[:, :-1], timestep.reshape(-1).expand(len(x))
        number = torch.cdist(x[:, -1:].flatten(1), self.codes.flatten(1)).argmin(1)
        if self.training:
            dropped = torch.rand(len(x), generator=self._rng).to(x.device) < self.unprompted
            number = number.masked_fill(dropped, len(self.codes))
        if self.guidance == 1:
            output = self._output(z, t, self.tokens[number])
        else:
            nothing = torch.full_like(number, len(self.codes))
            tokens = self.tokens[torch.cat([number, nothing])]
            told, free = self._output(torch.cat([z, z]), torch.cat([t, t]), tokens).chunk(2)
            output = free + self.guidance * (told - free)
        return torch.cat([output, torch.zeros_like(x[:, -1:])], 1)

    def _output(self, z: Tensor, t: Tensor, tokens: Tensor) -> Tensor:
        parts = [torch.split(each, self.batch or len(z)) for each in (z, t, tokens)]
        with torch.autocast(z.device.type, self.precision, enabled=self.precision != torch.float32):
            outputs: list[Any] = [self.net(*part).sample for part in zip(*parts, strict=True)]
        return torch.cat(outputs).to(z)


def codes(vectors: Tensor, shape: torch.Size) -> Tensor:
    """How latents name P prompts: `P x shape` random projections of `P x d` vectors of them, of unit variance."""
    projection = torch.randn(vectors.shape[1], shape.numel(), generator=generator(0, "codes"))
    code = (vectors - vectors.mean(0)) @ projection
    return (code / code.square().mean().sqrt().clamp(min=1e-6)).reshape(-1, *shape)
