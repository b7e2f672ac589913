"""The policy: a trainable copy of a prior's denoiser."""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from bbo_bench.core import State
from bbo_bench.diffusion.transition import Denoiser
from bbo_bench.seeding import seeded

ADAPTER = "default"
ADAPTED = (nn.Linear, nn.Conv1d, nn.Conv2d)
"""Layers that get LoRA matrices."""


class Policy(nn.Module):
    """A copy of a denoiser, equal to it as yet, with LoRA on linear and convolutional layers or all weights trainable.

    With LoRA it has the denoiser's own weights, which nothing changes, and copies of those of adapted layers alone.

    Args:
        denoiser: The frozen network.
        rank: Of the LoRA matrices; None trains all weights.
        rng: Generator of the initial LoRA matrices.
        targets: Layers that get them, by the ends of their names, such as `to_q`; None for all.

    Raises:
        ValueError: If there is nothing that LoRA could be added to.
    """

    def __init__(
        self, denoiser: nn.Module, rank: int | None, rng: Generator, targets: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.network = copy.deepcopy(denoiser) if rank is None else _sharing(denoiser)
        self._plain = [self.network]  # in a list, so that its weights are not the policy's own
        self._adapted: list[str] = []
        if rank is None:
            self.network.requires_grad_(True)
            return
        layers = [name for name, module in denoiser.named_modules() if isinstance(module, ADAPTED)]
        if not layers:
            raise ValueError(f"{type(denoiser).__name__} has no layers for LoRA; set lora_rank=null")
        ends = tuple(f".{end}" for end in targets or ())
        self._adapted = [name for name in layers if targets is None or f".{name}".endswith(ends)]
        if not self._adapted:
            raise ValueError(f"no layer's name ends in one of {list(targets or ())}; layers are {', '.join(layers)}")
        from peft import LoraConfig, inject_adapter_in_model  # which takes a second to import

        self._plain = [_sharing(denoiser, {f"{name}.weight" for name in self._adapted})]
        with seeded(rng):
            inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=self._adapted), self.network)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        """See `Denoiser`."""
        output: Tensor = self.network(x, timestep)
        return output

    def trainable(self) -> dict[str, nn.Parameter]:
        """The weights that training changes, by name."""
        return {name: p for name, p in self.network.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """The same function with LoRA merged into the weights, at the prior's cost; for rollouts without gradient."""
        for name, weight in self._merged_weights().items():
            self._plain[0].get_parameter(name).copy_(weight)
        return self._plain[0]

    def composed(self) -> Denoiser:
        """The same function, its gradient too, with LoRA merged once for many passes before one backward pass."""
        weights = self._merged_weights()
        return lambda x, timestep: functional_call(self._plain[0], weights, (x, timestep))

    def frozen(self) -> Denoiser:
        """The same function, with a gradient in x_t alone."""
        plain = dict(self._plain[0].named_parameters()) | self._merged_weights()
        weights = {name: weight.detach() for name, weight in plain.items()}
        return lambda x, timestep: functional_call(self._plain[0], weights, (x, timestep))

    def weights(self) -> State:
        """The trained weights, for a run's state."""
        return {name: p.detach() for name, p in self.trainable().items()}

    def load_weights(self, state: State) -> None:
        """Take up weights that `weights` gave."""
        self.network.load_state_dict(state, strict=False)

    def _merged_weights(self) -> dict[str, Tensor]:
        layers: dict[str, Any] = {name: self.network.get_submodule(name) for name in self._adapted}
        return {
            f"{name}.weight": layer.get_base_layer().weight + layer.get_delta_weight(ADAPTER)
            for name, layer in layers.items()
        }


def _sharing(module: nn.Module, own: Container[str] = ()) -> nn.Module:
    """A copy with the same weights and buffers, in memory too, but for those that are its own."""
    kept = {id(each): each for name, each in module.named_parameters() if name not in own}
    return copy.deepcopy(module, {**kept, **{id(each): each for each in module.buffers()}})
