"""Write models of random weights to try the task with: `python -m bbo_bench.tasks.text_to_image.tiny FOLDER`.

Every part is of the class that the real ones are of, and some 10,000 times as small: pictures of 16 x 16 pixels that
show nothing. What is read is written as the authors of real weights write it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bbo_bench.seeding import generator, seeded

LETTERS = [chr(code) for code in range(33, 127)]
VOCABULARY = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
"""Every letter is a token, another one at a word's end."""
LENGTH = 24
"""Tokens that the text encoder takes."""
WIDTH = 16


SIZE = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def write(folder: Path) -> None:
    """Write `pipeline`, a Stable Diffusion model; `clip`, and `judge`, another one; `head.pth`, an aesthetic head."""
    from transformers import CLIPTextConfig, CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(VOCABULARY)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LENGTH)
    last = len(VOCABULARY) - 1
    ends = {"bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    words = CLIPTextConfig(vocab_size=len(VOCABULARY), max_position_embeddings=LENGTH, **SIZE, **ends)
    with seeded(generator(0, "tiny")):
        _pipeline(words, tokenizer).save_pretrained(folder / "pipeline")
        for name in ("clip", "judge"):
            for part in _clip(words, tokenizer):
                part.save_pretrained(folder / name)
        head = nn.Module()
        head.layers = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.2), nn.Linear(4, 1))
    torch.save(head.state_dict(), folder / "head.pth")


def _pipeline(words: Any, tokenizer: Any) -> Any:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        sample_size=16,
    )
    schedule = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(words),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _clip(words: Any, tokenizer: Any) -> tuple[Any, Any]:
    """A model, and its processor."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPVisionConfig

    sees = CLIPVisionConfig(image_size=16, patch_size=8, **SIZE)
    crop = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    config = CLIPConfig(text_config=words.to_dict(), vision_config=sees.to_dict(), projection_dim=8)
    return CLIPModel(config), CLIPProcessor(CLIPImageProcessor(**crop), tokenizer)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
