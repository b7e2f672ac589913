"""The airfoil task against AeroSandbox, known sections, and what it says of itself."""

from __future__ import annotations

import hashlib
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import instantiate
from matplotlib.figure import Figure
from torch import Tensor

from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.diffusion.estimates import ESTIMATES
from bbo_bench.plugins import find
from bbo_bench.seeding import generator
from bbo_bench.tasks import airfoil
from bbo_bench.tasks.airfoil import Airfoil
from bbo_bench.tasks.airfoil.geometry import cosine_stations, cst_matrix, outline, surfaces, thickness

FOLDER = Path(airfoil.__file__).parent
NAMES = ("airfoil", "airfoil_climb", "airfoil_low_re")

needs_xfoil = pytest.mark.skipif(shutil.which("xfoil") is None, reason="xfoil is not on the PATH")


def load(name: str) -> Airfoil:
    task = instantiate(find("task", name).settings)
    assert isinstance(task, Airfoil)
    return task


@pytest.fixture(scope="module")
def task() -> Airfoil:
    return load("airfoil")


def section(name: str) -> Tensor:
    """A section of the database, `1 x 18`."""
    with np.load(FOLDER / "airfoils.npz") as file:
        return torch.as_tensor(file["x"][file["name"] == name])


def test_outlines_are_those_of_aerosandbox(task: Airfoil) -> None:
    from aerosandbox import KulfanAirfoil

    for x in task.reference()[::50].double():
        kulfan = KulfanAirfoil(
            lower_weights=x[:8].numpy(),
            upper_weights=x[8:16].numpy(),
            leading_edge_weight=float(x[16]),
            TE_thickness=float(x[17]),
        )
        expected = kulfan.to_airfoil(n_coordinates_per_side=161).coordinates
        np.testing.assert_allclose(outline(x[None])[0].numpy(), expected, atol=1e-12)


def test_bernstein_polynomials_sum_to_the_class_function() -> None:
    x = cosine_stations(50)
    torch.testing.assert_close(cst_matrix(x)[:8, 0].sum(0), x.sqrt() * (1 - x))


def test_naca_0012_is_symmetric_and_as_thick_as_its_name_says() -> None:
    x = section("naca0012")
    lower, upper = surfaces(x, cosine_stations(101)).unbind(1)
    assert float(thickness(x).max()) == pytest.approx(0.12, abs=5e-4)
    torch.testing.assert_close(upper, -lower, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("name", "score"), [("naca2412", 0.99), ("naca0012", 0.588), ("e387", 1.36)])
def test_known_lift_over_drag(task: Airfoil, name: str, score: float) -> None:
    assert float(task.evaluate(section(name))) == pytest.approx(score, abs=0.01)
    assert task.valid(section(name)).all()


@needs_xfoil
def test_xfoil_knows_naca_2412(task: Airfoil) -> None:
    scores = task.validate(section("naca2412"))
    assert scores is not None and float(scores) == pytest.approx(1.02, abs=0.015)


@needs_xfoil
def test_xfoil_agrees_with_neuralfoil_where_it_converges(task: Airfoil) -> None:
    x = task.reference()[:20]
    scores = task.validate(x)
    assert scores is not None
    converged = scores.isfinite()
    assert converged.double().mean() > 0.8
    torch.testing.assert_close(scores[converged], task.evaluate(x)[converged], atol=0.15, rtol=0)


@needs_xfoil
def test_crossed_surfaces_are_refused_by_xfoil(task: Airfoil) -> None:
    x = section("naca2412")
    upside_down = torch.cat((x[:, 8:16], x[:, :8], x[:, 16:]), 1)
    scores = task.validate(torch.cat((upside_down, x)))
    assert scores is not None and scores.isnan().tolist() == [True, False]


def test_without_xfoil_nothing_is_validated_and_it_says_so(task: Airfoil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.warns(RuntimeWarning, match="xfoil is not on the PATH"):
        assert task.validate(section("naca2412")) is None


def step(rms: str, lift: str, drag: str) -> str:
    """What XFoil prints of a Newton step."""
    return (
        f"   1   rms: {rms}   max: 0.1E+01   C at   48  1\n a =  4.000      CL = {lift}\n Cm = -0.05  CD = {drag} => \n"
    )


def test_only_converged_output_of_xfoil_counts() -> None:
    first, last = step("0.2E-01", " 0.9", " 0.01"), step("0.3E-05", " 0.7", " 0.007")
    assert airfoil.xfoil.read_output(first + last) == pytest.approx(100)
    for output in (
        "",
        first,
        last + first,
        first + step("0.3E-05", "********", " 0.007"),
        first + step("NaN", "NaN", "NaN"),
    ):
        assert math.isnan(airfoil.xfoil.read_output(output))


def test_valid_refuses_each_kind_of_defect(task: Airfoil) -> None:
    x = section("naca2412")
    thin, thick, crossed, wavy = (x.clone() for _ in range(4))
    thin[:, :16] *= 0.05
    thick[:, :16] *= 2.9
    crossed[:, 14:16] = -0.3
    wavy[:, 8:16:2] += 0.8
    limits = task.limits
    assert float(thickness(thin).max()) < limits.thinnest and float(thickness(thick).max()) > limits.thickest
    assert (thickness(crossed) < 0).any()
    assert (thickness(wavy) > 0).all() and float(task.flow(wavy).confidence) < limits.confidence
    assert task.valid(torch.cat((x, thin, thick, crossed, wavy))).tolist() == [True, False, False, False, False]


def test_confidence_cuts_off_a_twentieth_of_the_data(task: Airfoil) -> None:
    data = torch.cat((task.training_data(), task.reference()))
    assert float(task.valid(data).double().mean()) == pytest.approx(0.95, abs=0.001)


def test_uniform_designs_are_no_airfoils_but_have_finite_scores(task: Airfoil) -> None:
    x = task.domain.sample(2000, generator(0, "uniform"))
    corners = torch.where(x > x.median(0).values, task.domain.upper, task.domain.lower)
    assert task.valid(x).double().mean() < 0.01
    assert task.evaluate(torch.cat((x, corners))).isfinite().all()


def test_data_fit_the_domain_and_are_split_without_near_duplicates(task: Airfoil) -> None:
    training, held_out = task.domain.check(task.training_data()), task.domain.check(task.reference())
    assert (len(training), len(held_out)) == (1920, 213)
    shapes = [surfaces(x, cosine_stations(101)).flatten(1) for x in (training, held_out)]
    nearest = torch.cdist(*shapes, compute_mode="donot_use_mm_for_euclid_dist").min() / shapes[0].shape[1] ** 0.5
    assert nearest > 5e-4


def test_conditions_matter() -> None:
    x = section("naca2412")
    cruise, climb, slow = (float(load(name).evaluate(x)) for name in NAMES)
    assert slow < 0.75 < cruise  # a lower Reynolds number thickens the boundary layer
    assert climb != cruise


def test_render_is_to_scale(task: Airfoil) -> None:
    axes = Figure().subplots()
    task.render(section("naca0012")[0], axes)
    (patch,) = axes.patches
    width, height = np.ptp(patch.get_path().vertices, axis=0)
    assert axes.get_aspect() == 1 and height / width == pytest.approx(0.12, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_known_design_is_valid_and_scores_as_declared(name: str) -> None:
    task = load(name)
    with np.load(FOLDER / "best_known.npz") as file:
        x = torch.as_tensor(file[name])[None]
    assert task.valid(task.domain.check(x)).all()
    assert float(task.evaluate(x)) == pytest.approx(task.best_known, abs=1e-3)
    assert task.evaluate(task.training_data()[task.valid(task.training_data())]).max() < task.best_known


@pytest.mark.parametrize("name", NAMES)
def test_the_mean_score_of_the_prior_is_as_declared(name: str) -> None:
    task = load(name)
    prior = task.prior()
    y = task.evaluate(prior.decode(prior.sample(1000, generator(1, "prior"))))
    assert float(y.mean()) == pytest.approx(task.y_prior, abs=5 * float(y.std()) / 1000**0.5)


def test_the_prior_is_as_good_as_its_card_says(task: Airfoil) -> None:
    from bbo_bench.diffusion.train import quality

    made = yaml.safe_load((FOLDER / "prior.yaml").read_text())["made"]
    prior = task.prior()
    measured = quality(task, prior.decode(prior.sample(len(task.reference()), generator(0, "quality"))))
    assert measured == pytest.approx(made["quality"], rel=0.05)
    assert min(measured["precision"], measured["recall"]) > 0.6
    assert measured["validity"] > measured["validity_of_reference"] - 0.05
    assert made["data_sha256"] == hashlib.sha256(task.training_data().numpy().tobytes()).hexdigest()
    assert made["weights"] < 1e6 and (FOLDER / "prior.safetensors").stat().st_size < 4e6


def test_the_consistency_model_is_that_of_the_prior_and_makes_airfoils_in_one_step(task: Airfoil) -> None:
    prior = task.prior()
    assert distilled_from(FOLDER / FILE) == fingerprint(prior)
    assert (FOLDER / FILE).stat().st_size < 2e6
    x = prior.noise(1000, generator(0, "one step"))
    x0 = ESTIMATES["consistency"](prior, prior.transition)(torch.zeros(len(x), dtype=torch.long), x)
    *_, end = prior.sampler(100, eta=0.0).walk(prior.denoiser, x, generator(0))
    assert float((x0 - end).square().mean().sqrt()) < 0.2
    assert float(task.valid(prior.decode(x0)).double().mean()) > 0.95
