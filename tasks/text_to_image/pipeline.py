"""A Stable Diffusion pipeline in a folder of one's own, in the parts that the suite needs. Nothing is fetched, ever."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PARTS = ("model_index.json", "scheduler", "text_encoder", "tokenizer", "unet", "vae")


class Pipeline(NamedTuple):
    """What a text-to-image model is made of."""

    unet: nn.Module
    vae: Any
    tokenizer: Any
    text_encoder: Any
    schedule: dict[str, Any]
    """Settings of diffusers' `DDIMScheduler`."""

    @property
    def latent_shape(self) -> torch.Size:
        """Of a picture's latent."""
        config: Any = self.unet.config
        return torch.Size([config.in_channels, config.sample_size, config.sample_size])


def load(folder: Path) -> Pipeline:
    """The pipeline in a folder, as diffusers' `save_pretrained` writes one; all weights frozen, in single precision.

    Raises:
        ValueError: If the folder lacks a part, or its parts do not belong together.
    """
    check_parts(folder, PARTS, "a Stable Diffusion model (1.x or 2.x) in the format of diffusers")
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    try:
        made: Any = StableDiffusionPipeline.from_pretrained(
            folder, local_files_only=True, safety_checker=None, requires_safety_checker=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{folder} cannot be read as a Stable Diffusion model: {error}") from error
    attends, says = made.unet.config.cross_attention_dim, made.text_encoder.config.hidden_size
    if attends != says or made.unet.config.in_channels != made.vae.config.latent_channels:
        raise ValueError(
            f"the parts of {folder} are of different models: the UNet attends to {attends} numbers a token and works "
            f"on {made.unet.config.in_channels} channels, the text encoder gives {says}, the autoencoder "
            f"{made.vae.config.latent_channels}"
        )
    for network in (made.unet, made.vae, made.text_encoder):
        network.float().eval().requires_grad_(False)
    schedule = dict(DDIMScheduler.from_config(made.scheduler.config).config)
    kept = {key: value for key, value in schedule.items() if not key.startswith("_")} | {"clip_sample": False}
    target = {"_target_": "diffusers.schedulers.scheduling_ddim.DDIMScheduler"}
    return Pipeline(made.unet, made.vae, made.tokenizer, made.text_encoder, target | kept)


def check_parts(folder: Path, parts: Sequence[str], what: str) -> None:
    """Raise `ValueError` unless a folder has all that it should; says what is missing."""
    if missing := [part for part in parts if not (folder / part).exists()]:
        there = "which lacks " + ", ".join(missing) if folder.is_dir() else "which is no folder"
        raise ValueError(
            f"expected {what}, a folder with {', '.join(parts)}, got {folder}, {there}. Weights are not fetched: put "
            "them there"
        )


@torch.no_grad()
def embedded(pipeline: Pipeline, prompts: Sequence[str]) -> Tensor:
    """`n x l x d` tokens of prompts, by the text encoder.

    Raises:
        ValueError: If a prompt is longer than the encoder takes.
    """
    tokenizer = pipeline.tokenizer
    most = tokenizer.model_max_length
    for prompt in prompts:
        if (length := len(tokenizer(prompt).input_ids)) > most:
            raise ValueError(f"the text encoder takes {most} tokens, but {prompt!r} has {length}: shorten it")
    ids = tokenizer(list(prompts), padding="max_length", max_length=most, return_tensors="pt").input_ids
    tokens: Tensor = pipeline.text_encoder(ids)[0]
    return tokens


@torch.no_grad()
def pictures(pipeline: Pipeline, z: Tensor, precision: torch.dtype) -> Tensor:
    """`n x 3 x h x w` pictures with pixels in [0, 1] of `n` latents on the autoencoder's device."""
    with torch.autocast(z.device.type, precision, enabled=precision != torch.float32):
        x: Tensor = pipeline.vae.decode(z / pipeline.vae.config.scaling_factor).sample
    return ((x.float() + 1) / 2).clamp(0, 1)
