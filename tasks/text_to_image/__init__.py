"""Pictures for prompts, by a Stable Diffusion model of one's own: what SQDF and DDPO fine-tune in their papers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from bbo_bench.core import Task
from bbo_bench.device import resolve
from bbo_bench.diffusion.codecs import Prompted, Standardize
from bbo_bench.diffusion.conditional import Conditional, codes
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.domains import Box, Captioned
from bbo_bench.seeding import generator, single_precision
from bbo_bench.tasks.text_to_image.pipeline import Pipeline, embedded, load, pictures
from bbo_bench.tasks.text_to_image.rewards import SIZES, Aesthetic, Clip, FileSize, Reward

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ANIMALS = Path(__file__).with_name("animals.txt")
"""The 45 animals of DDPO's experiments."""
LIMIT = 10.0
"""Bound of the numbers of a latent, of which nearly all are within 4."""
REAL = 8
"""Pictures of the model's own for every prompt, which stand for real ones."""
RECOGNIZED = 5
"""A picture is valid if the judge has its prompt among so many."""
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TextToImage(Task):
    """A design is a picture's latent and its prompt; the picture is decoded, and scored.

    Args:
        model: Folder of a Stable Diffusion model in the format of diffusers.
        reward: `compress`, `incompress`, or the folder of a CLIP model: how well picture and prompt agree.
        head: File of an aesthetic head on the reward's CLIP, which is then the reward; None for none.
        judge: Folder of another CLIP model, which no optimizer sees, for validity and `validate`; None for none.
        prompts: File with a prompt a line; None for 45 animals.
        asked: How many of them, the first ones, are asked for.
        held_out: How many of those after them are never asked for, but evaluated.
        guidance: Of classifier-free guidance; 1 for none.
        steps: Of the sampler.
        precision: What networks compute in: `float32`, or `bfloat16` or `float16` by autocast.
        batch: Pictures that pass a network at once.
        device: Where pictures are decoded and scored: `auto`, `cpu`, `cuda`.
        noise_std: Standard deviation of the observation noise.
        infeasible_score: Never needed: every picture has a finite score.

    Raises:
        ValueError: If weights are missing or do not belong together, or a prompt is empty, twice there, or too long.
    """

    domain: Captioned
    open_ended = True

    def __init__(
        self,
        model: str,
        reward: str,
        head: str | None,
        judge: str | None,
        prompts: str | None,
        asked: int,
        held_out: int,
        guidance: float,
        steps: int,
        precision: str,
        batch: int,
        device: str,
        noise_std: float,
        infeasible_score: float,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
        if head is not None and reward in SIZES:
            raise ValueError(f"a head is one on a CLIP: give its folder as reward, got {reward=}")
        self.noise_std, self.infeasible_score = noise_std, infeasible_score
        self.guidance, self.steps, self.batch = guidance, steps, batch
        self.precision, self.device = PRECISIONS[precision], resolve(device)
        self._pipeline: Pipeline = load(Path(model).expanduser())
        self._pipeline.vae.to(self.device)
        texts = Path(prompts).expanduser() if prompts else ANIMALS
        lines = [line.strip() for line in texts.read_text(encoding="utf-8").splitlines() if line.strip()]
        shape = self._pipeline.latent_shape
        self.domain = Captioned(Box(torch.full(shape, -LIMIT), torch.full(shape, LIMIT)), lines, asked, held_out)
        self._tokens = embedded(self._pipeline, [*lines, ""])
        self._reward, self._judge = self._rewards(reward, head, judge)

    def prior(self) -> DiffusionPrior:
        """See `Task.prior`."""
        code = codes(self._tokens[:-1].mean(1), self._pipeline.latent_shape[1:])
        codec = Prompted(Standardize(self.domain.box), code, torch.arange(len(self.domain.asked)))
        network = Conditional(
            self._pipeline.unet,
            code,
            self._tokens,
            guidance=self.guidance,
            precision=self.precision,
            batch=self.batch,
        )
        return DiffusionPrior(network, codec, self._pipeline.schedule, {"steps": self.steps}, distillable=False)

    def evaluate(self, x: Tensor) -> Tensor:
        """See `Task.evaluate`."""
        x = self.domain.check(x)
        if not len(x):
            return x.new_zeros(0).double()
        parts = [self._reward(self.pictures(part), self.domain.prompt(part)) for part in torch.split(x, self.batch)]
        return torch.cat(parts)

    def valid(self, x: Tensor) -> Tensor:
        """Whether the judge has a picture's prompt among its five likeliest of all; without a judge, always."""
        if self._judge is None:
            return torch.ones(len(x), dtype=torch.bool)
        logits = self._judged(x)
        return (logits > logits.gather(1, self.domain.prompt(x)[:, None])).sum(1) < RECOGNIZED

    def validate(self, x: Tensor) -> Tensor | None:
        """The judge's logit of a picture's prompt; None without a judge."""
        return None if self._judge is None else self._judged(x).gather(1, self.domain.prompt(x)[:, None])[:, 0]

    def features(self, x: Tensor) -> Tensor:
        """Unit vectors by the judge, or by the reward's CLIP; colours of 8 x 8 parts where there is neither."""
        clip = self._judge or self._clip
        parts = [self.pictures(part) for part in torch.split(x, self.batch)]
        return torch.cat([clip.features(p) if clip else adaptive_avg_pool2d(p, 8).flatten(1) for p in parts])

    def reference(self) -> Tensor:
        """See `Task.reference`: pictures that the model itself has made, as there are no real ones."""
        return self._own

    @cached_property
    def y_prior(self) -> float:  # type: ignore[override]
        """Mean true score of the prior's own pictures for prompts that are asked for."""
        return float(self._scores.mean())

    @cached_property
    def best_known(self) -> float:  # type: ignore[override]
        """The best of these scores."""
        return float(self._scores.max())

    def versions(self) -> dict[str, str]:
        """See `Task.versions`."""
        import transformers

        return {"transformers": transformers.__version__}

    def render(self, x: Tensor, axes: Axes) -> None:
        """See `Task.render`."""
        axes.imshow(np.asarray(self.pictures(x[None])[0].permute(1, 2, 0)), interpolation="nearest")
        prompt = self.domain.prompts[int(x[-1, 0, 0])]
        axes.text(0.5, -0.02, prompt, transform=axes.transAxes, ha="center", va="top", fontsize="small")
        axes.set_axis_off()

    def pictures(self, x: Tensor) -> Tensor:
        """`n x 3 x h x w` pictures with pixels in [0, 1] of `n` designs."""
        if not len(x):
            return x.new_zeros(0, 3, 8, 8)
        return pictures(self._pipeline, x[:, :-1].to(self.device), self.precision).cpu()

    @property
    def _clip(self) -> Clip | None:
        """The reward's, where it has one."""
        clip: Any = self._reward.clip if isinstance(self._reward, Aesthetic) else self._reward
        return clip if isinstance(clip, Clip) else None

    @cached_property
    def _scores(self) -> Tensor:
        asked = self.domain.prompt(self._own) < len(self.domain.asked)
        return self.evaluate(self._own[asked])

    @cached_property
    @single_precision()
    def _own(self) -> Tensor:
        before = next(self._pipeline.unet.parameters()).device
        prior, count = self.prior().to(self.device), len(self.domain.asked) + len(self.domain.held_out)
        rng = generator(0, "reference", device=self.device)
        with prior.drawing(range(count)):
            parts = [prior.decode(prior.sample(count, rng)).cpu() for _ in range(REAL)]
        self._pipeline.unet.to(before)  # where a run that shares it has it
        return torch.cat(parts)

    def _judged(self, x: Tensor) -> Tensor:
        assert self._judge is not None
        parts = [self._judge.logits(self.pictures(part)) for part in torch.split(x, self.batch)]
        return torch.cat(parts)

    def _rewards(self, reward: str, head: str | None, judge: str | None) -> tuple[Reward, Clip | None]:
        texts = self.domain.prompts
        judged = None if judge is None else Clip(Path(judge).expanduser(), self.device, texts)
        if reward in SIZES:
            return FileSize(SIZES[reward]), judged
        clip = Clip(Path(reward).expanduser(), self.device, texts)
        return (clip if head is None else Aesthetic(clip, Path(head).expanduser())), judged
