"""How much a proxy would gain from an encoder: `python benchmarks/inputs.py`, ten minutes of one core.

Ensembles learn the scores of 128 and 512 of the prior's designs for prompts, from latents alone, or from latents and
what a network makes of them: the denoiser's middle activations, or an ImageNet network's vectors. Correlations of
predictions with scores over others of the prior's designs, and over real ones: of all prompts, and the mean within
prompts.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bbo_bench import load_task
from bbo_bench.diffusion.prior import DiffusionPrior
from bbo_bench.seeding import generator
from bbo_bench.surrogate.ensemble import Ensemble
from bbo_bench.tasks.emoji import imagenet

LEARNT, JUDGED, SEEDS = (128, 512), 1024, 2
TIMESTEP = 20
"""At which the denoiser reads a latent, of 1,000: almost clean."""


def activations(prior: DiffusionPrior, z: Tensor) -> Tensor:
    """What the denoiser's middle makes of latents, `n x f`."""
    found: list[Tensor] = []
    middle = next(net.mid_block for net in prior.denoiser.modules() if hasattr(net, "mid_block"))
    hook = middle.register_forward_hook(lambda net, given, output: found.append(output.flatten(1)))
    for part in z.split(256):
        prior.denoiser(part, torch.tensor([TIMESTEP]))
    hook.remove()
    return torch.cat(found)


def correlations(a: Tensor, b: Tensor, prompt: Tensor) -> tuple[float, float]:
    """Of two numbers of `n` designs: over all of them, and the mean within prompts."""
    pairs = torch.stack([a.double(), b.double()])
    within = [torch.corrcoef(pairs[:, prompt == number])[0, 1] for number in prompt.unique()]
    return float(torch.corrcoef(pairs)[0, 1]), float(torch.stack(within).mean())


@torch.no_grad()
def main() -> None:
    """Measure and print."""
    task = load_task("emoji_align")
    prior, rng, real = task.prior(), generator(0, "inputs"), task.reference()
    drawn = torch.cat([prior.sample(256, rng) for _ in range(0, LEARNT[-1] + JUDGED, 256)])
    real = real[task.domain.prompt(real) < len(task.domain.asked)]
    z, x = torch.cat([drawn, prior.encode(real)]), torch.cat([prior.decode(drawn), real])
    y, prompt, flat = task.evaluate(x), task.domain.prompt(x), z.flatten(1)
    photographic = imagenet.network()
    more = {"latents": [], "and the denoiser's middle": [activations(prior, z)]}
    if photographic is not None:
        more["and ImageNet vectors"] = [imagenet.unit(photographic, x[:, :-1])]
    print("proxy sees | learnt from | prior's: all, within | real: all, within")
    for name, parts in more.items():
        for n in LEARNT:
            scaled = [(part - part[:n].mean(0)) / (part[:n].std(0) + 1e-3) for part in parts]
            seen, rows = torch.cat([flat, *scaled], 1), []
            for seed in range(SEEDS):
                proxy = Ensemble()
                with torch.enable_grad():
                    proxy.fit(seen[:n], y[:n], generator(seed))
                guess = proxy.predict(seen)
                parts_of = slice(LEARNT[-1], len(drawn)), slice(len(drawn), None)
                rows.append([correlations(guess[rows_of], y[rows_of], prompt[rows_of]) for rows_of in parts_of])
            mean = torch.tensor(rows).mean(0)
            print(f"{name} | {n} | {mean[0, 0]:.2f}, {mean[0, 1]:.2f} | {mean[1, 0]:.2f}, {mean[1, 1]:.2f}")


if __name__ == "__main__":
    main()
