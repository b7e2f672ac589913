"""Denoisers: networks that map noisy latents and their timesteps to the scheduler's prediction target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn


class MLP(nn.Module):
    """Residual multilayer perceptron for latents that are vectors, or small enough to be laid out as one.

    The output layer starts at zero: an untrained `MLP` predicts zero, which under v-prediction is the exact denoiser of
    the standard normal distribution.

    Args:
        dim: Size of a latent, over all its dimensions.
        width: Size of the hidden layers.
        depth: Number of residual blocks.
    """

    def __init__(self, dim: int, width: int = 256, depth: int = 3) -> None:
        super().__init__()
        self.embed_time = nn.Sequential(Timesteps(64, True, 0), TimestepEmbedding(64, width))
        self.embed = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, dim)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x latent_shape` noisy latents at `n` timesteps (or one for all), of their shape."""
        time = self.embed_time(timestep.reshape(-1))
        h = self.embed(x.flatten(1))
        for block in self.blocks:
            h = block(h, time)
        output: Tensor = self.out(self.norm(h)).reshape(x.shape)
        return output


class GatedMLP(MLP):
    """An `MLP` with its input added to its output, times a number that follows from the timestep and starts at zero.

    A consistency model of nearly normal latents is nearly the identity at the noisiest step, which an `MLP` narrower
    than the latents cannot be: it would send all noise to one design.

    Args:
        dim: Size of a latent.
        width: Size of the hidden layers.
        depth: Number of residual blocks.
    """

    def __init__(self, dim: int, width: int, depth: int) -> None:
        super().__init__(dim, width, depth)
        self.gate = nn.Linear(width, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `MLP.forward`."""
        time = self.embed_time(timestep.reshape(-1))
        return super().forward(x, timestep) + torch.as_tensor(self.gate(nn.functional.silu(time))) * x


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.time = nn.Linear(width, width)
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        hidden = nn.functional.silu(self.hidden(self.norm(h)) + self.time(time))
        return h + torch.as_tensor(self.out(hidden))


class _Sequential(nn.Module):
    """What networks of sequences share: tokens and their positions embedded, residual blocks, an output from zero."""

    def __init__(self, length: int, tokens: int, width: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.embed_time = nn.Sequential(Timesteps(64, True, 0), TimestepEmbedding(64, width))
        self.embed = nn.Linear(tokens, width)
        self.position = nn.Parameter(torch.zeros(length, width))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, tokens)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x length x tokens` noisy latents at `n` timesteps (or one for all), of their shape."""
        time = self.embed_time(timestep.reshape(-1))[:, None]
        h = self.embed(x) + self.position
        for block in self.blocks:
            h = block(h, time)
        output: Tensor = self.out(self.norm(h))
        return output


class Transformer(_Sequential):
    """Bidirectional transformer for latents that are sequences.

    Args:
        length: Tokens in a sequence.
        tokens: Size of the alphabet.
        width: Size of the hidden layers.
        depth: Number of blocks.
        heads: Number of attention heads.
    """

    def __init__(self, length: int, tokens: int, width: int = 128, depth: int = 4, heads: int = 4) -> None:
        super().__init__(length, tokens, width, (_Attention(width, heads) for _ in range(depth)))


class Convolution(_Sequential):
    """Residual convolutions for latents that are sequences, dilated by 1, 2, 4, 8, 1, ...

    Args:
        length: Tokens in a sequence.
        tokens: Size of the alphabet.
        width: Size of the hidden layers.
        depth: Number of blocks.
        kernel: Size of the kernels, odd.
    """

    def __init__(self, length: int, tokens: int, width: int = 128, depth: int = 6, kernel: int = 5) -> None:
        super().__init__(length, tokens, width, (_Dilated(width, kernel, 2 ** (i % 4)) for i in range(depth)))


class SequenceMLP(nn.Module):
    """`MLP` for latents that are sequences, laid out as one vector, and a small network that all positions share.

    The first tells a position what the others say of it, far cheaper than attention would. The second joins this with
    what the position holds itself: the posterior of a token is a nonlinear function of the token's own noisy entries,
    for which the hidden layers of the first are too narrow.

    Args:
        length: Tokens in a sequence.
        tokens: Size of the alphabet.
        width: Size of the hidden layers.
        depth: Number of residual blocks.
        shared_width: Size of the hidden layer of the network that positions share.
    """

    def __init__(self, length: int, tokens: int, width: int = 256, depth: int = 3, shared_width: int = 64) -> None:
        super().__init__()
        self.mlp = MLP(length * tokens, width, depth)
        self.embed_time = nn.Sequential(Timesteps(64, True, 0), TimestepEmbedding(64, shared_width))
        self.join = nn.Linear(2 * tokens, shared_width)
        self.out = nn.Linear(shared_width, tokens)
        self.gate = nn.Linear(shared_width, tokens)
        for layer in (self.out, self.gate):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x length x tokens` noisy latents at `n` timesteps (or one for all), of their shape."""
        time = self.embed_time(timestep.reshape(-1))[:, None]
        context = self.mlp(x, timestep)
        joined = nn.functional.silu(self.join(torch.cat((x, context), -1)) + time)
        output: Tensor = context + self.gate(time) * x + self.out(joined)
        return output


class Categorical(nn.Module):
    """Denoiser of one-hot latents: beliefs about every token by Bayes' rule, to which a network adds the context.

    A row x_t = √ā x_0 + √(1 - ā) ε, where x_0 is one-hot of height h, has the log-likelihoods √ā h x_t / (1 - ā) under
    the tokens, up to a constant. The network sees the beliefs that follow from these alone, and adds to the
    log-likelihoods what the other rows say of this one. So E[x_0 | x_t] is a convex mean of the tokens, and exact
    where the context says nothing. For v-prediction on diffusers' schedule `squaredcos_cap_v2` of 1,000 timesteps.

    Args:
        network: Maps `n x length x tokens` beliefs, of mean square 1 at most, and timesteps to logits of that shape.
        tokens: Size of the alphabet.
        scale: Of the latents, as in `OneHot`.
    """

    alpha_bar: Tensor

    def __init__(self, network: nn.Module, tokens: int, scale: float = 1.0) -> None:
        super().__init__()
        self.tokens = tokens
        self.height = scale * tokens / (tokens - 1) ** 0.5
        scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2")
        self.register_buffer("alpha_bar", scheduler.alphas_cumprod.float(), persistent=False)
        self.network = network

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions of v for `n x length x tokens` noisy latents at `n` timesteps (or one for all)."""
        alpha_bar = self.alpha_bar[timestep.reshape(-1), None, None]
        evidence = alpha_bar.sqrt() * self.height / (1 - alpha_bar) * x
        beliefs = self.tokens**0.5 * evidence.softmax(-1)
        marginals = self.marginals(evidence + self.context(x, beliefs, timestep))
        x0 = self.height * (marginals - 1 / self.tokens)
        v: Tensor = (alpha_bar.sqrt() * x - x0) / (1 - alpha_bar).sqrt()
        return v

    def context(self, x: Tensor, beliefs: Tensor, timestep: Tensor) -> Tensor:
        """`n x length x tokens` logits that the network adds to the log-likelihoods."""
        return torch.as_tensor(self.network(beliefs, timestep))

    def marginals(self, potentials: Tensor) -> Tensor:
        """`n x length x tokens` probabilities of the tokens; here, given the potentials, rows are independent."""
        return potentials.softmax(-1)


class UNet(nn.Module):
    """diffusers' `UNet2DModel`, for latents that are images.

    Args:
        patch: Side of the square patches whose pixels become channels, which makes the network patch² times cheaper.
        **settings: Of `UNet2DModel`, with patch² times the images' channels, and their size over `patch`.
    """

    def __init__(self, patch: int = 1, **settings: Any) -> None:
        super().__init__()
        from diffusers.models.unets.unet_2d import UNet2DModel  # takes a second to import

        self.patch = patch
        self.net = UNet2DModel(**settings)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x channels x height x width` noisy latents at `n` timesteps (or one for all)."""
        if not len(x):  # of no images pixel_unshuffle leaves the pixels where they are
            return x
        output: Tensor = self.net(nn.functional.pixel_unshuffle(x, self.patch), timestep).sample
        return nn.functional.pixel_shuffle(output, self.patch)


class Holding(nn.Module):
    """A denoiser of latents of which a part is given: it reads that part, and predicts zero for it.

    Args:
        network: Denoiser of whole latents.
        given: Bools of a latent's shape.
    """

    given: Tensor

    def __init__(self, network: nn.Module, given: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("given", given, persistent=False)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """Predictions for `n x latent_shape` noisy latents at `n` timesteps (or one for all), of their shape."""
        return torch.as_tensor(self.network(x, timestep)).masked_fill(self.given, 0)


class _Attention(nn.Module):
    """Self-attention and a perceptron, both modulated by the timestep (Peebles and Xie 2023, adaLN)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.modulation = nn.Linear(width, 4 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.hidden = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        shift, scale, shift_2, scale_2 = self.modulation(nn.functional.silu(time)).chunk(4, -1)
        q, k, v = self.qkv(self.norms[0](h) * (1 + scale) + shift).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0)
        attended = nn.functional.scaled_dot_product_attention(*(each.transpose(-2, -3) for each in (q, k, v)))
        h = h + self.mix(attended.transpose(-2, -3).flatten(-2))
        return h + torch.as_tensor(
            self.out(nn.functional.gelu(self.hidden(self.norms[1](h) * (1 + scale_2) + shift_2)))
        )


class _Dilated(nn.Module):
    """A dilated convolution along the sequence, then a linear layer.

    The convolution is a linear layer over shifted copies: LoRA, as peft adds it to a convolution, ignores dilation.
    """

    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.shifts = range(0, kernel * dilation, dilation)
        self.norm = nn.LayerNorm(width)
        self.time = nn.Linear(width, width)
        self.hidden = nn.Linear(kernel * width, width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, time: Tensor) -> Tensor:
        margin = self.shifts[-1] // 2
        padded = nn.functional.pad(self.norm(h), (0, 0, margin, margin))
        around = torch.cat([padded[:, i : i + h.shape[1]] for i in self.shifts], -1)
        return h + torch.as_tensor(self.out(nn.functional.silu(self.hidden(around) + self.time(time))))
