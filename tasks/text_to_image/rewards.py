"""What scores pictures: networks of CLIP's kind in folders of one's own, or the size of a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bbo_bench.tasks.image import jpeg
from bbo_bench.tasks.text_to_image.pipeline import check_parts

SIZES = {"compress": -1.0, "incompress": 1.0}
"""The signs of the rewards that need no weights."""


class Reward(ABC):
    """Scores pictures that are made for prompts."""

    @abstractmethod
    def __call__(self, x: Tensor, number: Tensor) -> Tensor:
        """`n` scores of `n x 3 x h x w` pictures with pixels in [0, 1], and of the `n` numbers of their prompts."""


class FileSize(Reward):
    """The size of a picture's JPEG file in kilobytes, or minus it (Black et al., ICLR 2024).

    Args:
        sign: 1 or -1.
    """

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def __call__(self, x: Tensor, number: Tensor) -> Tensor:
        """See `Reward`."""
        return self.sign * jpeg.kilobytes(x.cpu())


class Clip(Reward):
    """How well picture and prompt agree: a CLIP's logit, PickScore where the folder has PickScore's weights.

    Args:
        folder: Of a `CLIPModel` and its processor, in the format of transformers.
        device: Where it computes.
        prompts: All that pictures may be for.

    Raises:
        ValueError: If the folder lacks a part, or is of another model.
    """

    def __init__(self, folder: Path, device: torch.device, prompts: Sequence[str]) -> None:
        check_parts(folder, ("config.json",), "a CLIP model with its processor in the format of transformers")
        from transformers import CLIPModel, CLIPProcessor

        try:
            self.model: Any = CLIPModel.from_pretrained(folder, local_files_only=True).eval().to(device)
            self.processor: Any = CLIPProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ValueError(f"{folder} cannot be read as a CLIP model: {error}") from error
        self.model.requires_grad_(False)
        self.device = device
        self.told = self._encoded(prompts)
        """`P x f` unit vectors of the prompts."""

    def __call__(self, x: Tensor, number: Tensor) -> Tensor:
        """See `Reward`."""
        return self.logits(x).gather(1, number[:, None])[:, 0]

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """`n x P`: how well each of `n` pictures agrees with each of the prompts."""
        scale = torch.as_tensor(self.model.logit_scale.exp())
        return (scale * self.features(x).to(self.device) @ self.told.T).double().cpu()

    @torch.no_grad()
    def features(self, x: Tensor) -> Tensor:
        """`n x f` unit vectors of pictures, on the host."""
        if not len(x):
            return x.new_zeros(0, self.model.config.projection_dim)
        levels = list((255 * x).round().to(torch.uint8).cpu())
        pixels = self.processor.image_processor(levels, return_tensors="pt")["pixel_values"].to(self.device)
        return normalize(_plain(self.model.get_image_features(pixel_values=pixels))).cpu()

    @torch.no_grad()
    def _encoded(self, prompts: Sequence[str]) -> Tensor:
        tokenizer = self.processor.tokenizer
        most = tokenizer.model_max_length
        words = tokenizer(list(prompts), return_tensors="pt", padding="max_length", truncation=True, max_length=most)
        return normalize(_plain(self.model.get_text_features(**words.to(self.device))))


class Aesthetic(Reward):
    """LAION's aesthetic score: a perceptron on a CLIP's vector of the picture (Schuhmann 2022).

    Args:
        clip: CLIP ViT-L/14, for the published head.
        file: Weights of the head, `sac+logos+ava1-l14-linearMSE.pth`: linear layers one after the other.

    Raises:
        ValueError: If there is no such file, or it does not suit the CLIP.
    """

    def __init__(self, clip: Clip, file: Path) -> None:
        if not file.is_file():
            raise ValueError(f"expected the weights of an aesthetic head, got {file}, which is no file")
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        weights = [tensor for key, tensor in tensors.items() if key.endswith("weight")]
        biases = [tensor for key, tensor in tensors.items() if key.endswith("bias")]
        sizes, width = [weight.shape[1] for weight in weights], clip.model.config.projection_dim
        if not weights or len(weights) != len(biases) or sizes[0] != width or weights[-1].shape[0] != 1:
            raise ValueError(f"expected linear layers from {width} numbers of the CLIP to a score, got inputs {sizes}")
        self.clip = clip
        self.head = nn.Sequential(*map(_linear, weights, biases)).eval().requires_grad_(False)

    def __call__(self, x: Tensor, number: Tensor) -> Tensor:
        """See `Reward`; prompts do not matter."""
        return torch.as_tensor(self.head(self.clip.features(x)))[:, 0].double()


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _plain(output: Any) -> Tensor:
    """Features, which some versions of transformers wrap."""
    features: Tensor = getattr(output, "pooler_output", output)
    return features
