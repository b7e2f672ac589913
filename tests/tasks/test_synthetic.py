"""The synthetic tasks against their known optima, values worked out by hand, and what they say of themselves."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from matplotlib.figure import Figure
from torch import Tensor

from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.diffusion.estimates import ESTIMATES
from bbo_bench.diffusion.train import quality
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks import synthetic
from bbo_bench.tasks.synthetic import Synthetic
from bbo_bench.tasks.synthetic.codec import Probit
from bbo_bench.tasks.synthetic.functions import FUNCTIONS

FOLDER = Path(synthetic.__file__).parent
NAMES = [f"{name}_{dim}" for name, function in FUNCTIONS.items() for dim in function.dims]
SIDES = {"ackley": (-5, 10), "rastrigin": (-5, 5), "rosenbrock": (-5, 10), "levy": (-10, 10), "hartmann": (0, 1)}


@cache
def load(name: str) -> Synthetic:
    task = instantiate(find("task", name).settings)
    assert isinstance(task, Synthetic)
    return task


@cache
def prior_samples(name: str, n: int) -> Tensor:
    prior = load(name).prior()
    return prior.decode(prior.sample(n, generator(0, "quality")))


def of(name: str, *coordinates: float) -> float:
    """The score of a design of 20 coordinates, the last of which is repeated."""
    x = torch.tensor([[*coordinates, *[coordinates[-1]] * (20 - len(coordinates))]])
    return float(load(f"{name}_20").evaluate(x.float()))


def test_ackley_by_hand() -> None:
    assert of("ackley", 0) == pytest.approx(0, abs=1e-12)
    assert of("ackley", 1) == pytest.approx(20 * math.exp(-0.2) - 20)  # cos 2π = 1
    assert of("ackley", -0.5) == pytest.approx(20 * math.exp(-0.1) + math.exp(-1) - 20 - math.e)  # cos π = -1


def test_rastrigin_by_hand() -> None:
    assert of("rastrigin", 1, 0) == pytest.approx(-1)  # 10 + 1² - 10 cos 2π
    assert of("rastrigin", 0.5, 0) == pytest.approx(-20.25)  # 10 + 0.5² - 10 cos π
    assert of("rastrigin", 2) == pytest.approx(-80)


def test_rosenbrock_by_hand() -> None:
    assert of("rosenbrock", 0) == pytest.approx(-19)  # (1 - 0)² for each of 19 pairs
    assert of("rosenbrock", -1, 1) == pytest.approx(-4)
    assert of("rosenbrock", 2, 1) == pytest.approx(-901)  # 100 (1 - 2²)² + (1 - 2)²


def test_levy_by_hand() -> None:
    # w = 1 + (x - 1) / 4 is 1 but for the first, then the last coordinate, where x = 3 makes it 3/2
    assert of("levy", 3, 1) == pytest.approx(-(1 + 0.25 * (1 + 10 * math.sin(1.5 * math.pi + 1) ** 2)))
    last = [1.0] * 19 + [3.0]
    assert of("levy", *last) == pytest.approx(-0.25)  # sin² 2πw = 0 there


def test_hartmann_by_hand() -> None:
    # at the center of the first well, P_1 of the definition, the exponent of its own term is 0
    wells = ((1312, 1696, 5569, 124, 8283, 5886), (2329, 4135, 8307, 3736, 1004, 9991),
             (2348, 1451, 3522, 2883, 3047, 6650), (4047, 8828, 8732, 5743, 1091, 381))  # fmt: skip
    widths = ((10, 3, 17, 3.5, 1.7, 8), (0.05, 10, 17, 0.1, 8, 14),
              (3, 3.5, 1.7, 10, 17, 8), (17, 8, 0.05, 10, 0.1, 14))  # fmt: skip
    p, a = torch.tensor(wells).double() / 1e4, torch.tensor(widths).double()
    alpha = torch.tensor([1.0, 1.2, 3.0, 3.2]).double()
    expected = float((alpha * (-(a * (p[0] - p) ** 2).sum(1)).exp()).sum())
    assert expected > 1
    assert float(load("hartmann_6").evaluate(p[:1])) == pytest.approx(expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_optimum_is_that_of_botorch(name: str) -> None:
    task = load(name)
    x = task.best_design()
    assert x.shape == task.domain.shape and task.valid(task.domain.check(x[None])).all()
    assert task.best_known == pytest.approx(task.function.optimal_value, abs=1e-12)
    assert float(task.evaluate(x[None])) == pytest.approx(task.best_known, abs=1e-5)
    gradient = torch.autograd.functional.jacobian(task.function.evaluate_true, x.double() + 0.0)
    assert name.startswith("ackley") or gradient.norm() < 1e-3  # Ackley's has a kink there


@pytest.mark.parametrize("name", NAMES)
def test_nothing_beats_the_optimum(name: str) -> None:
    task, rng = load(name), generator(0, "search")
    x = task.domain.sample(100_000 if len(task.domain.lower) <= 20 else 10_000, rng)
    for _ in range(2):
        assert task.evaluate(x).max() <= task.best_known
        distance = 10 ** -(8 * torch.rand(len(x), 1, generator=rng))
        x = task.domain.clamp(task.best_design() + distance * (x - task.best_design()))  # as close as 1e-8 of the way


def test_synthetic_is_ackley_20() -> None:
    settings = find("task", "synthetic").settings
    assert settings == find("task", "ackley_20").settings
    assert instantiate(settings).folder == load("ackley_20").folder


@pytest.mark.parametrize("name", NAMES)
def test_the_box_is_that_of_the_literature(name: str) -> None:
    task = load(name)
    function, dim = name.split("_")
    assert task.domain.shape == (int(dim),)
    assert {(float(low), float(high)) for low, high in zip(task.domain.lower, task.domain.upper, strict=True)} == {
        SIDES[function]
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_data_are_the_worse_half_as_they_were_made(name: str) -> None:
    task = load(name)
    training, held_out = task.training_data(), task.reference()
    assert (len(training), len(held_out)) == (synthetic.POINTS // 2 - 512, 512)
    data = task.domain.check(torch.cat((training, held_out)))
    recipe = yaml.safe_load((FOLDER / name / "prior.yaml").read_text())
    assert recipe["made"]["data_sha256"] == hashlib.sha256(training.numpy().tobytes()).hexdigest()
    uniform = task.evaluate(task.domain.sample(10_000, generator(0, "uniform")))
    worst = float((uniform <= task.evaluate(data).max()).double().mean())
    assert worst == pytest.approx(0.5, abs=0.025)
    assert len(data.unique(dim=0)) == len(data)


@pytest.mark.parametrize("name", NAMES)
def test_the_prior_is_as_good_as_its_card_says(name: str) -> None:
    task = load(name)
    made = yaml.safe_load((FOLDER / name / "prior.yaml").read_text())["made"]
    x = prior_samples(name, 512)
    measured = quality(task, x)
    assert measured == pytest.approx(made["quality"], rel=0.05)
    assert measured["validity"] == measured["validity_of_reference"] == 1
    assert min(measured["precision"], measured["recall"]) > 0.6
    place = task.features(x)
    assert ((place < 1e-4) | (place > 1 - 1e-4)).double().mean() < 1e-3  # designs do not pile up at the border


@pytest.mark.parametrize("name", NAMES)
def test_the_prior_is_mediocre(name: str) -> None:
    task = load(name)
    y, data = task.evaluate(prior_samples(name, 512)), task.evaluate(task.reference())
    uniform = task.evaluate(task.domain.sample(10_000, generator(0, "uniform")))
    assert y.mean() < uniform.mean()
    assert name.startswith("rosenbrock") == (task.noise_std == 0)
    assert task.noise_std == 0 or 0.02 < task.noise_std / float(y.std()) < 0.05
    assert y.max() < uniform.mean() + 6 * uniform.std() and data.max() < task.best_known


@pytest.mark.parametrize("name", NAMES)
def test_the_consistency_model_is_that_of_the_prior_and_keeps_its_spread(name: str) -> None:
    task = load(name)
    prior, file = task.prior(), FOLDER / name / FILE
    assert distilled_from(file) == fingerprint(prior)
    x = prior.noise(512, generator(0, "quality"))
    x0 = ESTIMATES["consistency"](prior, prior.transition)(torch.zeros(len(x), dtype=torch.long), x)
    measured = quality(task, prior.decode(x0))
    assert min(measured["precision"], measured["recall"]) > 0.7
    assert float(x0.std()) == pytest.approx(float(prior.encode(task.reference()).std()), abs=0.1)


def test_all_priors_together_are_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.rglob("*.safetensors")) < 4e6


def test_uniform_designs_are_standard_normal_latents() -> None:
    task = load("levy_20")
    codec = Probit(task.domain)
    x = task.domain.sample(10_000, generator(0, "uniform"))
    z = codec.encode(x)
    assert float(z.mean()) == pytest.approx(0, abs=0.01) and float(z.std()) == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(codec.decode(z), x, atol=1e-4, rtol=0)
    assert codec.encode(torch.tensor([[-10.0, 0.0, 10.0] * 7])[:, :20])[0, :3].tolist() == pytest.approx(
        [-4.75, 0, 4.75], abs=0.1
    )
    edges = torch.stack((task.domain.lower, task.domain.upper))
    torch.testing.assert_close(codec.decode(codec.encode(edges)), edges, atol=1e-4, rtol=0)
    assert task.domain.check(codec.decode(torch.tensor([[-50.0], [50.0]]).expand(2, 20))).isfinite().all()


def test_designs_that_are_none_are_refused() -> None:
    task = load("ackley_20")
    x = task.best_design()[None]
    for wrong, message in (
        (x - 5.001, r"design 0 has -5.001 at \[0\], where \[-5, 10\] is allowed"),
        (x * torch.nan, "designs must be finite"),
        (x + torch.inf, "designs must be finite"),
        (x[:, :19], r"designs must be `n x 20`, got \(1, 19\)"),
        (x.long(), "floating-point"),
    ):
        with pytest.raises(ValueError, match=message):
            task.evaluate(wrong)
    assert task.valid(torch.cat((x, x - 5.001, x * torch.nan))).tolist() == [True, False, False]
    assert task.evaluate(x[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"function": "akley"}, "there is no function 'akley'; did you mean ackley"),
        ({"dim": 21}, "expected dim=20 or 200 for ackley, got 21"),
        ({"function": "hartmann"}, "expected dim=6 for hartmann, got 20"),
    ],
)
def test_a_function_that_is_none_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InstantiationException, match=message):
        instantiate(find("task", "ackley_20").settings | change)


@pytest.mark.parametrize("name", ["ackley_20", "levy_200", "hartmann_6"])
def test_render_shows_the_design_and_the_optimum(name: str) -> None:
    task = load(name)
    axes = Figure().subplots()
    x = task.reference()[0]
    task.render(x, axes)
    optimum, design = (torch.as_tensor(line.get_ydata()) for line in axes.lines)
    torch.testing.assert_close(design, task.features(x[None])[0])
    torch.testing.assert_close(optimum, task.features(task.best_design()[None])[0])
    assert axes.get_ylim() == (0, 1)
