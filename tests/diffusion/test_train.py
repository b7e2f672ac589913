import pytest
import torch
import yaml

from bbo_bench.diffusion.codecs import Standardize
from bbo_bench.diffusion.consistency import FILE, distilled_from, fingerprint
from bbo_bench.diffusion.task import DiffusionTask
from bbo_bench.diffusion.train import distill_prior, fit, quality, train_prior, weaknesses
from bbo_bench.seeding import generator
from bbo_bench.testing.probe import Probe

RECIPE = {
    "seed": 0,
    "denoiser": {"_target_": "bbo_bench.diffusion.denoisers.MLP", "dim": 2, "width": 32, "depth": 1},
    "scheduler": {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"},
    "sampler": {"steps": 20},
    "training": {"steps": 400, "learning_rate": 0.003, "ema_decay": 0.99},
    "consistency": {"steps": 20, "passes": 10, "trajectories": 128},
}


class Shipped(DiffusionTask, Probe):
    """The probe with a prior that is trained: a narrow Gaussian around (2, -2)."""

    prior = DiffusionTask.prior

    def training_data(self):
        return torch.tensor([2.0, -2.0]) + 0.3 * torch.randn(500, 2, generator=generator(0))

    def codec(self, data=None):
        return Standardize(self.domain, data)

    def reference(self):
        return torch.tensor([2.0, -2.0]) + 0.3 * torch.randn(100, 2, generator=generator(1))


@pytest.fixture
def task(tmp_path):
    task = Shipped()
    task.folder = tmp_path
    (tmp_path / "prior.yaml").write_text(yaml.safe_dump(RECIPE))
    return task


def test_a_trained_prior_is_shipped_with_its_quality(task, tmp_path):
    made = train_prior(task, "shipped")["made"]
    samples = task.prior()
    x = samples.decode(samples.sample(500, generator(0)))
    torch.testing.assert_close(x.mean(0), torch.tensor([2.0, -2.0]), atol=0.1, rtol=0)
    assert made["command"] == "bbo-bench prior train task=shipped"
    assert made["quality"]["precision"] > 0.8
    assert made["quality"]["validity"] == 1
    assert yaml.safe_load((tmp_path / "prior.yaml").read_text()) == RECIPE | {"made": made}


def test_training_is_reproducible_and_may_go_to_a_new_folder(task, tmp_path):
    outcomes = [train_prior(task, "shipped", tmp_path / name / "nested") for name in ("a", "b")]
    assert outcomes[0] == outcomes[1]
    weights = [(tmp_path / name / "nested/prior.safetensors").read_bytes() for name in ("a", "b")]
    assert weights[0] == weights[1]


def test_a_distilled_consistency_model_is_shipped_with_its_quality(task, tmp_path):
    train_prior(task, "shipped")
    made = distill_prior(task, "shipped")["made"]
    assert made["consistency"]["quality"]["validity"] == 1
    assert made["consistency"]["quality"]["precision"] > 0.7
    assert made["quality"] == yaml.safe_load((tmp_path / "prior.yaml").read_text())["made"]["quality"]
    assert distilled_from(tmp_path / FILE) == fingerprint(task.prior())


def test_a_recipe_keeps_its_comments_and_gets_its_figures_anew(task, tmp_path):
    before = "# tuned by hand\n" + yaml.safe_dump(RECIPE, sort_keys=False).replace("steps: 400", "steps: 20  # enough")
    after = "# what follows is mine as well\nnote: kept\n"
    file = tmp_path / "prior.yaml"
    file.write_text(f"{before}made:\n  loss: 7\n\n  quality:\n    recall: 0.5\n{after}")
    made = train_prior(task, "shipped")["made"]
    text = file.read_text()
    assert text.startswith(f"{before}{after}made:\n") and "loss: 7" not in text
    assert yaml.safe_load(text)["made"] == made
    made = distill_prior(task, "shipped")["made"]
    text = file.read_text()
    assert text.startswith(f"{before}{after}made:\n") and text.count("made:") == 1
    assert yaml.safe_load(text)["made"] == made and "consistency" in made


def test_a_prior_that_falls_far_below_the_data_is_called_weak(task):
    real, rng = task.training_data(), generator(2)
    assert weaknesses(task, quality(task, real[:100])) == []
    collapsed = real[:1] + 1e-3 * torch.randn(100, 2, generator=rng)
    [line] = weaknesses(task, quality(task, collapsed))
    assert line.startswith("recall is 0") and "below 50% of the training designs'" in line
    lost = quality(task, torch.tensor([4.0, -4.0]).expand(100, 2))
    assert [each.split()[0] for each in weaknesses(task, lost)] == ["precision", "recall", "validity"]
    broken = quality(task, real[:100]) | {"recall": float("nan")}
    assert [each.split()[0] for each in weaknesses(task, broken)] == ["recall"]


class Still(torch.nn.Module):
    """Predicts nothing, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.weight, self.shown = torch.nn.Parameter(torch.zeros(1)), []

    def forward(self, x, timestep):
        self.shown.append((x, timestep))
        return 0 * self.weight * x


def test_the_loss_is_the_mean_over_the_last_tenth():
    data = torch.randn(4096, 2, generator=generator(0))
    loss = fit(Still(), Probe().prior().scheduler, data, generator(1), steps=40, batch_size=2048)
    assert loss == pytest.approx(1, abs=0.05), "v of standard normal data has a mean square of 1"


def test_jitter_spreads_every_latent():
    still, prior = Still(), Probe().prior()
    fit(still, prior.scheduler, torch.full((4, 2), 3.0), generator(0), steps=20, batch_size=2048, jitter=0.5)
    x, t = (torch.cat(parts) for parts in zip(*still.shown, strict=True))
    early = x[t < 30]
    assert float(early.mean()) == pytest.approx(3, abs=0.05)
    assert float(early.std()) == pytest.approx(0.5, abs=0.02)
