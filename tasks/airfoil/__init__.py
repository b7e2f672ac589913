"""Airfoil design: the lift over drag of a section of 18 Kulfan numbers, by NeuralFoil, checked by XFoil."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.domains import Box
from bbo_bench.io import Format
from bbo_bench.tasks.airfoil import xfoil
from bbo_bench.tasks.airfoil.aerodynamics import Flow, neuralfoil
from bbo_bench.tasks.airfoil.coordinates import COLUMNS, coordinates_format
from bbo_bench.tasks.airfoil.geometry import cosine_stations, outline, surfaces, thickness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 0.25
"""How far the domain reaches beyond the data on each side, in ranges of the data."""
STATIONS = cosine_stations(21)[1:]
"""Where the surfaces are compared, from the nose to the trailing edge; all sections start at the origin."""


class Limits(NamedTuple):
    """What the data says of a valid section."""

    thinnest: float
    """Least maximum thickness, in chords."""
    thickest: float
    """Greatest maximum thickness, in chords."""
    confidence: float
    """5th percentile of NeuralFoil's analysis confidence."""


class Airfoil(DiffusionTask):
    """Lift over drag of an airfoil section, divided by 100.

    Args:
        alpha: Angle of attack in degrees.
        reynolds: Reynolds number of the chord.
        noise_std: Standard deviation of the observation noise.
        model_size: NeuralFoil's network, from `xxsmall` to `xxxlarge`.
        y_prior: Mean true score of 10,000 samples of the prior.
        best_known: Best true score of a valid design known.
        infeasible_score: Never needed: NeuralFoil gives a finite number all over the domain.
    """

    domain: Box
    columns = COLUMNS

    def __init__(
        self,
        alpha: float,
        reynolds: float,
        noise_std: float,
        model_size: str,
        y_prior: float,
        best_known: float,
        infeasible_score: float,
    ) -> None:
        self.alpha, self.reynolds, self.model_size = alpha, reynolds, model_size
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.y_prior, self.best_known = y_prior, best_known
        with np.load(Path(__file__).with_name("airfoils.npz")) as file:
            self._designs, held_out = torch.as_tensor(file["x"]), torch.as_tensor(file["held_out"])
            self._names = file["name"].tolist()
        self._training, self._reference = self._designs[~held_out], self._designs[held_out]
        low, high = self._designs.aminmax(dim=0)
        margin = MARGIN * (high - low)
        lower = low - margin
        lower[-1] = 0  # a trailing edge of negative thickness is none
        self.domain = Box(lower, high + margin)

    def best_design(self) -> Tensor | None:
        """See `Task.best_design`: `best_known.py` has found it, for the conditions of the shipped tasks."""
        with np.load(Path(__file__).with_name("best_known.npz")) as file:
            x = torch.as_tensor(np.stack([file[name] for name in file.files]))
        score, i = self.evaluate(x).max(0)
        return x[i] if abs(float(score) - self.best_known) < 1e-3 else None

    def training_data(self) -> Tensor:
        """`n x 18` real airfoils on which the prior is trained."""
        return self._training

    def reference(self) -> Tensor:
        """See `Task.reference`."""
        return self._reference

    def codec(self, data: Tensor | None = None) -> Standardize:
        """See `DiffusionTask.codec`."""
        return Standardize(self.domain, data)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`; every section gets NeuralFoil's number, however little confidence it has in it."""
        return self.flow(x).lift_to_drag / 100

    def valid(self, x: Tensor) -> Tensor:
        """Whether the surfaces do not cross, the thickness is one of the data's, and NeuralFoil is confident."""
        section = thickness(x)
        deepest = section.amax(1)
        limits = self.limits
        sound = (section > 0).all(1) & (deepest >= limits.thinnest) & (deepest <= limits.thickest)
        return sound & (self.flow(x).confidence >= limits.confidence)

    def flow(self, x: Tensor) -> Flow:
        """NeuralFoil's view of `n x 18` designs in the conditions of this task."""
        return neuralfoil(x, self.alpha, self.reynolds, self.model_size)

    @cached_property
    def limits(self) -> Limits:
        """What a valid design must keep to."""
        deepest = thickness(self._designs).amax(1)
        confidence = self.flow(self._designs).confidence
        return Limits(float(deepest.min()), float(deepest.max()), float(confidence.quantile(0.05)))

    def faults(self, x: Tensor) -> list[str]:
        """See `Task.faults`."""
        section, limits = thickness(x), self.limits
        deepest, confidence = section.amax(1).tolist(), self.flow(x).confidence.tolist()
        found = []
        for crossed, thick, sure in zip((section <= 0).any(1).tolist(), deepest, confidence, strict=True):
            if crossed:
                found.append("its surfaces cross")
            elif not limits.thinnest <= thick <= limits.thickest:
                known = f"{limits.thinnest:.1%} to {limits.thickest:.1%}"
                found.append(f"{thick:.1%} of the chord thick, where airfoils have {known}")
            else:
                found.append("" if sure >= limits.confidence else f"NeuralFoil's confidence is only {sure:.2f}")
        return found

    def catalogue(self) -> tuple[Tensor, list[str]]:
        """See `Task.catalogue`: the sections of the UIUC database."""
        return self._designs, self._names

    def formats(self) -> Mapping[str, Format]:
        """See `Task.formats`: coordinates as UIUC's database has them."""
        return {".dat": coordinates_format(self.domain)}

    def features(self, x: Tensor) -> Tensor:
        """`n x 40` ordinates of the lower and the upper surface at fixed stations, in chords."""
        return surfaces(x, STATIONS).flatten(1)

    def validate(self, x: Tensor) -> Tensor | None:
        """Scores by XFoil, one process a section.

        NaN for sections whose surfaces cross, and for those of which XFoil gives no converged solution; what
        NeuralFoil thinks of a section does not matter. None, and a warning, where XFoil is not installed.
        """
        executable = shutil.which("xfoil")
        if executable is None:
            warnings.warn(
                "xfoil is not on the PATH, so no airfoil is validated; install it (Debian: apt-get install xfoil)",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
        sound = (thickness(x) > 0).all(1)
        scores = [
            xfoil.lift_to_drag(points, self.alpha, self.reynolds, executable) / 100 if possible else math.nan
            for points, possible in zip(outline(x), sound.tolist(), strict=True)
        ]
        return torch.tensor(scores, dtype=torch.double)

    def versions(self) -> dict[str, str]:
        """See `Task.versions`: XFoil's, where it is installed."""
        executable = shutil.which("xfoil")
        return {"xfoil": xfoil.version(executable)} if executable else {}

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`: the section to scale."""
        chordwise, height = outline(x.detach().cpu()[None])[0].T.numpy()
        axes.fill(chordwise, height, facecolor="0.85", edgecolor="0.2", linewidth=0.8)
        axes.set_aspect("equal")
        axes.set_axis_off()
