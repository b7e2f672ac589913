"""DDOM: denoising diffusion optimization models."""

from __future__ import annotations

from torch import Tensor

from bbo_bench.alignment.inverse import Inverse


class DDOM(Inverse):
    """Learns p(x | y) from what was queried, and samples from it at the best score (Krishnamoorthy et al. 2023).

    See `Inverse` for its settings.
    """

    def target(self) -> Tensor:
        """The best score so far."""
        return self.told().max()
