"""Text to image by models of random weights, every part of the class that real ones are of. Nothing is fetched."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("transformers")

from bbo_bench import load_task
from bbo_bench.plugins import UsageError
from bbo_bench.tasks.text_to_image import tiny
from bbo_bench.tasks.text_to_image.pipeline import embedded, load
from bbo_bench.tasks.text_to_image.rewards import Aesthetic, Clip, FileSize
from bbo_bench.testing import TaskSuite
from bbo_bench.testing.probe import Fragile, Killed, made, play

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

SMALL = {"asked": 2, "held_out": 1, "steps": 3, "guidance": 2.0, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Of the tiny models."""
    written = tmp_path_factory.mktemp("models")
    tiny.write(written)
    return written


@pytest.fixture(scope="module")
def task(folder):
    """Scored by a CLIP, and judged by another one."""
    models = {"model": str(folder / "pipeline"), "reward": str(folder / "clip"), "judge": str(folder / "judge")}
    return load_task("text_to_image", **models, **SMALL)


class TestTextToImage(TaskSuite):
    """It conforms, like any task."""

    many = 64
    validity = 0.0  # to a judge of random weights

    @pytest.fixture(autouse=True)
    def _models(self, task):
        type(self).made = task

    @classmethod
    def fresh(cls):
        return cls.made


@pytest.mark.parametrize(
    "name", ["ddpo", *(pytest.param(each, marks=pytest.mark.slow) for each in ("sqdf", "draft", "svdd"))]
)
def test_an_optimizer_runs_and_resumes(name, task, tmp_path):
    settings = {"evaluation": 16, "validation": 4}
    whole = play(tmp_path / "whole", made("optimizer", name), task, (4, 4), **settings)
    assert b"_held_out" in whole["metrics.csv"]
    with pytest.raises(Killed):
        play(tmp_path / "killed", made("optimizer", name), task, (4, 4), record=Fragile, **settings)
    assert play(tmp_path / "killed", made("optimizer", name), task, (4, 4), **settings) == whole


def test_a_picture_is_the_autoencoders_and_its_score_the_clips_logit(task, folder):
    from transformers import CLIPModel, CLIPProcessor

    x = task.reference()[:4]
    pipeline = load(folder / "pipeline")
    with torch.no_grad():
        picture = (pipeline.vae.decode(x[:, :-1] / pipeline.vae.config.scaling_factor).sample + 1).clamp(0, 2) / 2
    assert torch.allclose(task.pictures(x), picture, atol=1e-6)
    model, processor = CLIPModel.from_pretrained(folder / "clip"), CLIPProcessor.from_pretrained(folder / "clip")
    levels = [Image.fromarray(each) for each in np.asarray((255 * picture).round().byte().permute(0, 2, 3, 1))]
    texts = [task.domain.prompts[number] for number in task.domain.prompt(x).tolist()]
    batch = processor(text=texts, images=levels, return_tensors="pt", padding="max_length", max_length=tiny.LENGTH)
    with torch.no_grad():
        expected = model(**batch).logits_per_image.diagonal()
    assert torch.allclose(task.evaluate(x), expected.double(), atol=1e-4)


def test_an_aesthetic_head_is_linear_layers_on_the_clips_unit_vector(folder):
    clip = Clip(folder / "clip", torch.device("cpu"), ["cat"])
    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    weights = torch.load(folder / "head.pth")
    hidden = clip.features(x) @ weights["layers.0.weight"].T + weights["layers.0.bias"]
    expected = (hidden @ weights["layers.2.weight"].T + weights["layers.2.bias"])[:, 0]
    assert clip.features(x).norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert torch.allclose(Aesthetic(clip, folder / "head.pth")(x, torch.zeros(3)), expected.double(), atol=1e-6)


def test_the_size_of_a_file_is_pillows():
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    file = io.BytesIO()
    Image.fromarray(np.asarray((255 * x[0]).round().byte().permute(1, 2, 0))).save(file, "JPEG", quality=95)
    assert FileSize(-1)(x, torch.zeros(1)).tolist() == [-file.tell() / 1000]


def test_a_prompt_conditions_the_pictures(task):
    prior, rng = task.prior(), torch.Generator()
    samples = []
    for number in (0, 1):
        with prior.drawing(range(number, number + 1)):
            samples.append(prior.sample(2, rng.manual_seed(0))[:, :-1])
    assert float((samples[0] - samples[1]).abs().max()) > 1e-3


def test_lower_precision_is_close(folder, task):
    rough = load_task("text_to_image", model=str(folder / "pipeline"), precision="bfloat16", **SMALL).prior()
    exact = task.prior()
    x = exact.noise(4, torch.Generator().manual_seed(0))
    one, two = (prior.denoiser(x, torch.tensor(500)) for prior in (exact, rough))
    assert one.dtype == two.dtype == torch.float32
    assert 0 < float((one - two).abs().max()) < 0.1 * float(one.abs().max())


def test_without_a_model_it_says_what_is_to_be_given(cli):
    outcome = cli("run", "task=text_to_image", "optimizer=ddpo")
    assert outcome.status == 1
    assert "text_to_image has no default for task.model: give it, as task.model=" in outcome.err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "/nowhere"}, "folder with model_index.json, scheduler, .*, vae, got /nowhere, which is no folder"),
        ({"model": "{folder}/clip"}, "got .*/clip, which lacks model_index.json, scheduler"),
        ({"reward": "{folder}/pipeline"}, "got .*/pipeline, which lacks config.json"),
        ({"head": "{folder}/head.pth"}, "a head is one on a CLIP: give its folder as reward, got reward='compress'"),
        ({"reward": "{folder}/clip", "head": "/nowhere.pth"}, "aesthetic head, got /nowhere.pth, which is no file"),
        ({"precision": "int8"}, "expected a precision of float32, bfloat16, float16, got 'int8'"),
        ({"asked": 0}, "expected 1 to 45 prompts to be asked for"),
        ({"asked": 44, "held_out": 2}, "and of the others some held out, got 44 and 2"),
    ],
)
def test_bad_settings_are_refused_before_the_work_starts(settings, message, folder):
    settings = {
        key: value.format(folder=folder) if isinstance(value, str) else value for key, value in settings.items()
    }
    with pytest.raises((ValueError, UsageError), match=message):
        load_task("text_to_image", **{"model": str(folder / "pipeline"), **SMALL, **settings})


@pytest.mark.parametrize(
    ("text", "message"),
    [("cat\nfox\ncat\n", "twice \\['cat'\\]"), (f"cat\n{'x' * 40}\n", "takes 24 tokens, but 'x+' has 42: shorten it")],
)
def test_prompts_that_cannot_be_used_are_refused(text, message, folder, tmp_path):
    (tmp_path / "prompts.txt").write_text(text)
    settings = SMALL | {"prompts": str(tmp_path / "prompts.txt"), "asked": 1}
    with pytest.raises(ValueError, match=message):
        load_task("text_to_image", model=str(folder / "pipeline"), **settings)


def test_parts_of_different_models_are_refused(folder, tmp_path):
    from transformers import CLIPTextConfig, CLIPTextModel

    mixed = Path(shutil.copytree(folder / "pipeline", tmp_path / "mixed"))
    other = CLIPTextConfig(
        vocab_size=len(tiny.VOCABULARY), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    CLIPTextModel(other).save_pretrained(mixed / "text_encoder")
    with pytest.raises(ValueError, match=r"different models: the UNet attends to 16 numbers a token .* gives 8"):
        load(mixed)


def test_files_that_are_damaged_are_named(folder, tmp_path):
    broken = Path(shutil.copytree(folder / "pipeline", tmp_path / "broken"))
    (broken / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ValueError, match="broken cannot be read as a Stable Diffusion model"):
        load(broken)


def test_no_prompt_has_tokens_too(folder):
    tokens = embedded(load(folder / "pipeline"), ["cat", ""])
    assert tokens.shape == (2, tiny.LENGTH, tiny.WIDTH) and not torch.equal(tokens[0], tokens[1])
