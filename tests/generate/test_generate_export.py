"""The exported folder: diffusers opens it, draws our picture with it and trains on; its card says what it is."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from huggingface_hub import ModelCard
from PIL import Image

import biomedjourney
from biomedjourney import config, examples, preprocess, pretrain, sampling
from biomedjourney.errors import UserError
from biomedjourney.generate import card
from biomedjourney.generate import export as exporting
from biomedjourney.generate.command import command
from biomedjourney.pretrain.patch_autoencoder import PatchAutoencoder
from biomedjourney.train.model import build
from tests.helpers import drawn_films, fabricated, published, tiny

SIDE = 32  # of the pictures: both first stages reduce them four times
PHANTOM = fabricated.settings("phantom")["phantom"]
SCHEDULES = {
    "miniature": fabricated.settings("train")["diffusion"]["schedule"],
    "paper": {
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "steps": 1000,
        "zero_terminal_snr": False,
        "prediction_type": "epsilon",
    },
}
TEXT = tiny.TEXTS[1]
STEPS = 4
FILM = drawn_films.chest()


def first_stage(kind: str, folder: Path) -> tuple[Path, float]:
    """The folder and the scaling factor: as Stable Diffusion's is published, or the miniature's own.

    Their pictures leave the range, by another colour in other places.
    """
    torch.manual_seed(0)
    if kind == "miniature":
        model = PatchAutoencoder()
        with torch.no_grad():
            model.latent_std.fill_(2.0)
            model.from_latent.weight *= 4
        model.save_pretrained(folder)
        return folder, 1.0
    model = AutoencoderKL.from_pretrained(published.vae(folder / "published", ("safetensors",)))
    with torch.no_grad():
        model.decoder.conv_out.weight *= 20
    model.save_pretrained(folder / "wide")
    return folder / "wide", 0.18215


def exported(folder: Path, kind: str, prior: str = "registered", **more: Any) -> Path:
    """What `generate export` writes for a model with random weights. ``more``: laid over the configuration."""
    stage, scaling_factor = first_stage(kind, folder / "stage")
    phantom = PHANTOM if kind == "miniature" else None
    model = tiny.model(folder / "model", SCHEDULES[kind], scaling_factor, prior, phantom=phantom)
    tower = tiny.text_tower(folder / "tower")
    return export(folder / "exported", model, stage, tower, **more)


def export(out: Path, model: Path, stage: Path, tower: Path, **more: Any) -> Path:
    settings = config.merge(tiny.OVERLAY, {"generate": {"steps": STEPS}})
    words = ["export", "--config", fabricated.config_text(**config.merge(settings, more)), "--system", "biomedjourney"]
    words += ["--model", str(model), "--first-stage", str(stage), "--text-tower", str(tower), "--out", str(out)]
    CliRunner().invoke(command, words, catch_exceptions=False)
    return out


@pytest.fixture(scope="module", params=["miniature", "paper", "miniature dpm-solver++"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind, _, solver = request.param.partition(" ")
    solver = solver or "ddim"
    return exported(tmp_path_factory.mktemp(kind), kind, generate={"solver": solver})


def opened(folder: Path) -> Any:
    own_code = (folder / "vae" / "patch_autoencoder.py").is_file()
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(
        folder, text_encoder=None, tokenizer=None, trust_remote_code=own_code
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def drawn_by_diffusers(pipeline: Any, folder: Path, scales: tuple[float, float], **more: Any) -> np.ndarray:
    """The stock pipeline's picture, (rows, columns, colours), of FILM and TEXT."""
    tokens = json.loads((folder / "model.json").read_text())["max_tokens"]
    states = torch.from_numpy(examples.pad(pretrain.load_text_tower(folder / "text_tower").states([TEXT]), tokens))
    prior = torch.from_numpy(preprocess.canonical(FILM, SIDE).picture)[None, None]
    arguments = {
        "image": prior.expand(-1, pipeline.vae.config.in_channels, -1, -1),
        "prompt_embeds": states,
        "negative_prompt_embeds": torch.zeros_like(states),
        "latents": sampling.noise(0, ["edit"], tiny.SHAPE),
        "num_inference_steps": STEPS,
        "guidance_scale": scales[0],
        "image_guidance_scale": scales[1],
        "output_type": "np",
    }
    picture: np.ndarray = pipeline(**arguments | more).images[0]
    return picture


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """diffusers copies the code of a folder into its cache and imports it from there."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("scales", [(7.5, 1.5), (2.0, 1.0), (1.0, 1.0), (1.0, 2.0)])
def test_the_stock_pipeline_draws_our_picture(folder: Path, scales: tuple[float, float]) -> None:
    ours = biomedjourney.edit(FILM, TEXT, folder, text_scale=scales[0], image_scale=scales[1], raw=True)
    stock_scales = card.stock_scales(*scales, knows_prior=True)
    assert stock_scales is not None
    theirs = drawn_by_diffusers(opened(folder), folder, stock_scales)
    assert np.abs(theirs.mean(axis=2) - ours).max() < 1e-3
    assert ours.std() > 0.05, "an even picture would tell nothing"


def test_each_condition_and_the_order_of_clipping_are_seen_in_these_pictures(folder: Path) -> None:
    """So that the comparison with the stock pipeline would fail if one of them was lost."""
    pipeline = opened(folder)
    picture = drawn_by_diffusers(pipeline, folder, (2.0, 1.5)).mean(axis=2)
    for change in (
        {"guidance_scale": 1.5, "image_guidance_scale": 2.0},
        {"prompt_embeds": torch.zeros(1, tiny.TOKENS + 2, tiny.WIDTH)},
        {"negative_prompt_embeds": torch.ones(1, tiny.TOKENS + 2, tiny.WIDTH)},
        {"image": torch.zeros(1, pipeline.vae.config.in_channels, SIDE, SIDE)},
        {"latents": sampling.noise(1, ["edit"], tiny.SHAPE)},
    ):
        other = drawn_by_diffusers(pipeline, folder, (2.0, 1.5), **change).mean(axis=2)
        assert np.abs(other - picture).max() > 0.01, change
    latents = drawn_by_diffusers(pipeline, folder, (2.0, 1.5), output_type="latent")
    decoded = pipeline.vae.decode(latents[None] / pipeline.vae.config.scaling_factor).sample[0].detach().numpy()
    assert np.abs(decoded).max() > 1.1
    if len(decoded) > 1:
        averaged_first = np.clip(decoded.mean(axis=0) / 2 + 0.5, 0, 1)
        assert np.abs(averaged_first - picture).max() > 0.01


def test_a_model_without_a_prior_is_drawn_from_a_zero_latent(tmp_path: Path) -> None:
    folder = exported(tmp_path, "paper", prior="none")
    for text_scale in (1.0, 3.0):
        ours = biomedjourney.edit(FILM, TEXT, folder, text_scale=text_scale, raw=True)
        scales = card.stock_scales(text_scale, 7.0, knows_prior=False)
        assert scales is not None
        theirs = drawn_by_diffusers(opened(folder), folder, scales, image=torch.zeros(1, *tiny.SHAPE))
        assert np.abs(theirs.mean(axis=2) - ours).max() < 1e-3


@pytest.mark.parametrize(("scales", "knows_prior"), [((0.5, 1.5), True), ((3.0, 0.5), True), ((0.5, 1.5), False)])
def test_scales_that_the_stock_pipeline_does_not_know(scales: tuple[float, float], knows_prior: bool) -> None:
    assert card.stock_scales(*scales, knows_prior=knows_prior) is None


LINES = """
import json, os, sys
from pathlib import Path

for folder in map(Path, sys.argv[1:]):
    os.chdir(folder)
    opens, draws = json.loads((folder / "lines.json").read_text())
    names = {}
    sys.modules["biomedjourney"] = None  # the pipeline opens where this project is not installed
    exec(opens, names)
    del sys.modules["biomedjourney"]
    exec(draws, names)
    import numpy
    numpy.save(folder / "picture.npy", names["picture"])
"""


def test_the_lines_of_the_card_draw_the_picture_of_edit(tmp_path: Path) -> None:
    """In a new process, offline, in the folder moved to another place."""
    guided = {"generate": {"guidance": {"text_scale": 1.0, "image_scale": 1.5}}}
    unguided = {"generate": {"guidance": {"text_scale": 0.5, "image_scale": 0.5}}}
    moved = []
    for i, (kind, prior, more) in enumerate(
        [("miniature", "registered", guided), ("paper", "unregistered", {}), ("paper", "none", unguided)]
    ):
        out = exported(tmp_path / f"{i}", kind, prior, **more)
        moved.append(Path(shutil.move(out, tmp_path / f"moved {i}")))
        shutil.rmtree(tmp_path / f"{i}")
        Image.fromarray((FILM * 255).astype(np.uint8)).save(moved[-1] / "PRIOR.png")
        lines = re.findall(r"^```python\n(.*?)^```$", (moved[-1] / "README.md").read_text(), re.DOTALL | re.MULTILINE)
        (moved[-1] / "lines.json").write_text(json.dumps(lines))
    environment = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", LINES, *map(str, moved)], env=environment, check=True)
    for folder in moved:
        picture = np.load(folder / "picture.npy")
        ours = biomedjourney.edit(folder / "PRIOR.png", "new small left pleural effusion", folder, raw=True)
        same = "This is the picture that `edit` draws" in (folder / "README.md").read_text()
        assert same == (folder != moved[2])
        assert (np.abs(picture - ours).max() < 1e-3) == same


def test_training_goes_on_with_diffusers_alone(folder: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")
    vae = opened(folder).vae
    torch.manual_seed(0)
    prior, target = torch.rand(2, 4, vae.config.in_channels, SIDE, SIDE) * 2 - 1
    with torch.no_grad():
        latents = vae.encode(target).latent_dist.sample() * vae.config.scaling_factor
        prior_latents = vae.encode(prior).latent_dist.mode()
    noise, timesteps = torch.randn_like(latents), torch.tensor([50, 300, 600, 900])
    goal = noise
    if scheduler.config.prediction_type == "v_prediction":
        goal = scheduler.get_velocity(latents, noise, timesteps)
    inputs = torch.cat([scheduler.add_noise(latents, noise, timesteps), prior_latents], dim=1)
    states = torch.randn(4, tiny.TOKENS + 2, tiny.WIDTH)

    def loss() -> torch.Tensor:
        return torch.nn.functional.mse_loss(unet(inputs, timesteps, encoder_hidden_states=states).sample, goal)

    optimiser = torch.optim.AdamW(unet.parameters(), 1e-3)
    before = loss()
    before.backward()
    assert all(parameter.grad is not None for parameter in unet.parameters())
    optimiser.step()
    assert loss().item() < before.item()


def test_a_run_of_ours_starts_from_the_exported_weights(folder: Path) -> None:
    start = build(tiny.UNET | {"weights": str(folder / "unet")}, tiny.SHAPE, tiny.WIDTH, seed=1)
    stored = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in start.state_dict().items())
    with pytest.raises(UserError, match=f"^{folder}: a whole pipeline, of which the UNet is one folder: give"):
        build(tiny.UNET | {"weights": str(folder)}, tiny.SHAPE, tiny.WIDTH, seed=1)


def test_the_folder_is_whole(folder: Path) -> None:
    described = json.loads((folder / "model.json").read_text())
    assert (described["size"], described["max_tokens"], described["steps"]) == (SIDE, tiny.TOKENS + 2, STEPS)
    index = json.loads((folder / "model_index.json").read_text())
    assert index["scheduler"] == ["diffusers", sampling.SOLVERS[described["solver"]][0]]
    assert index["_class_name"] == "StableDiffusionInstructPix2PixPipeline"
    with pytest.raises(ValueError, match=r"expected .*text_encoder"):  # the two None are necessary
        StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, trust_remote_code=True)
    for name in ("text_encoder", "tokenizer", "safety_checker", "feature_extractor"):
        assert index[name] == [None, None]
    for name in ("unet", "vae"):
        assert (folder / name / "diffusion_pytorch_model.safetensors").is_file()
        assert not list((folder / name).glob("*.bin"))
        assert json.loads((folder / name / "config.json").read_text()).get("_name_or_path") is None


def test_the_miniature_s_folder_runs_its_code_only_where_the_user_trusts_it(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    code = folder / "vae" / "patch_autoencoder.py"
    if index["vae"] == ["diffusers", "AutoencoderKL"]:
        assert not code.exists()
        return
    assert index["vae"] == ["patch_autoencoder", "PatchAutoencoder"]
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        StableDiffusionInstructPix2PixPipeline.from_pretrained(folder, text_encoder=None, tokenizer=None)
    assert type(opened(folder).vae).__module__.startswith("diffusers_modules.")


@pytest.mark.parametrize("files", [("bin",), ("fp16.safetensors",), ("safetensors", "bin")])
def test_a_first_stage_in_any_published_form_becomes_one_that_the_pipeline_opens(
    tmp_path: Path, files: tuple[str, ...]
) -> None:
    """With the old names of the attention's weights."""
    stage = published.vae(tmp_path / "vae", files)
    model = tiny.model(tmp_path / "model", SCHEDULES["paper"], 0.18215)
    out = export(tmp_path / "out", model, stage, tiny.text_tower(tmp_path / "tower"))
    assert {path.name for path in (out / "vae").iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    ours, theirs = pretrain.load_first_stage(stage).state_dict(), opened(out).vae.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_a_text_tower_of_another_width_is_one_line_and_nothing_is_written(tmp_path: Path) -> None:
    stage, scaling_factor = first_stage("paper", tmp_path / "stage")
    model = tiny.model(tmp_path / "model", SCHEDULES["paper"], scaling_factor)
    tower = tiny.text_tower(tmp_path / "tower", width=20)
    message = f"^{tower}: text states of width 20, but the model in {model} was trained on states of width 16: give"
    with pytest.raises(UserError, match=message) as caught:
        export(tmp_path / "out", model, stage, tower)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_card_of_the_phantom_s_model_says_so(tmp_path: Path) -> None:
    read = ModelCard.load(exported(tmp_path, "miniature") / "README.md")
    assert (read.data.license, read.data.library_name) == ("apache-2.0", "diffusers")
    assert "phantom" in read.data.tags
    assert read.data.base_model is None
    text = " ".join(read.text.split())
    assert (
        f"This is the phantom's model.** It was trained on films and reports of {PHANTOM['patients']} patients" in text
    )
    assert "not for clinical use" in text
    assert "independent implementation" in text
    assert "MIMIC" not in text


PAPER = Path(__file__).parents[2] / "workflow" / "configs" / "paper.yaml"


def test_the_card_of_a_model_of_real_patients_says_how_it_may_be_shared(tmp_path: Path) -> None:
    paper = config.read(PAPER)
    parts = {part: {"weights": paper["pretrain"][part]["weights"]} for part in ("first_stage", "text_tower")}
    stage, scaling_factor = first_stage("paper", tmp_path / "stage")
    diffusion = {"diffusion": {"unet": paper["diffusion"]["unet"]}}
    model = tiny.model(tmp_path / "model", SCHEDULES["paper"], scaling_factor, **diffusion)
    out = export(tmp_path / "out", model, stage, tiny.text_tower(tmp_path / "tower"), pretrain=parts)
    read = ModelCard.load(out / "README.md")
    assert (read.data.license, read.data.license_name) == ("other", card.DATA_USE_AGREEMENT["license_name"])
    assert "phantom" not in read.data.tags
    assert read.data.base_model == [
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    ]
    text = " ".join(read.text.split())
    assert "fall under MIMIC's data use agreement" in text
    assert "shared through PhysioNet alone" in text
    assert "not for clinical use" in text
    assert "phantom" not in text
    assert text.count("CreativeML OpenRAIL-M") == 2, "the UNet's and the first stage's"
    assert "| text tower | BiomedCLIP (Zhang et al., 2023) (`weights/biomedclip`) | MIT |" in text
    assert json.loads((out / "model.json").read_text())["configuration"] in text


def facts(weights: str | None, phantom: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    settings = {"phantom": phantom, "diffusion": {"unet": {"weights": weights}, "schedule": SCHEDULES["paper"]}}
    run = tiny.TRIPLES | {"prior": "registered"} | more.pop("run", {})
    return {"run": "r", "settings": settings | {"run": run}, "examples": 1, "images_seen": 1, "start": None} | more


def rendered(made: dict[str, Any], weights: str | None) -> str:
    description = {"system": "s", "size": 8, "max_tokens": 8, "prior": "registered", "steps": 2, "text_scale": 2.0}
    description |= {"image_scale": 1.0, "configuration": "0", "trained": made}
    return card.render(description, {"UNet": weights}, latent_shape=(4, 2, 2), scaling_factor=1.0, own_code=False)


@pytest.mark.parametrize(
    ("weights", "phantom", "licence"),
    [
        (None, PHANTOM, "apache-2.0"),
        ("/data/stable-diffusion-v1-5/unet", PHANTOM, "creativeml-openrail-m"),
        ("sd15/unet", PHANTOM, "creativeml-openrail-m"),
        ("Instruct-Pix2Pix/unet", PHANTOM, "creativeml-openrail-m"),
        ("stable-diffusion-2-1/unet", PHANTOM, "openrail++"),
        ("models/mine", PHANTOM, "other"),
        ("RoentGen/unet", PHANTOM, "other"),
        ("/data/stable-diffusion-v1-5/unet", None, "other"),
        (None, None, "other"),
    ],
)
def test_the_strictest_licence_counts(weights: str | None, phantom: dict[str, Any] | None, licence: str) -> None:
    text = rendered(facts(weights, phantom), weights)
    assert ModelCard(text).data.license == licence
    assert ("PhysioNet alone" in text) == (phantom is None or "RoentGen" in str(weights))
    assert ("read it at the source" in text) == (weights == "models/mine")
    assert "/data/" not in text


def test_a_model_of_unknown_data_is_taken_for_one_of_real_patients() -> None:
    made = facts(None, None)
    del made["settings"]["phantom"]
    text = rendered(made, None)
    assert ModelCard(text).data.license_name == card.DATA_USE_AGREEMENT["license_name"]
    assert "did not record what it was trained on" in text
    assert "PhysioNet alone" in text
    assert "This is the phantom's" not in text


def test_the_weights_are_those_of_the_first_run() -> None:
    """The last one starts from another run, which may have weights of its own."""
    parts = {"pretrain": {"first_stage": {"weights": None}, "text_tower": {"weights": None}}}
    first = facts("a/unet", None, run={"weights": "timbrooks/instruct-pix2pix/unet"})
    assert exporting._weights(parts, facts("a/unet", None, start=first))["UNet"] == "timbrooks/instruct-pix2pix/unet"
    assert exporting._weights(parts, facts("a/unet", None, start=facts("b/unet", None)))["UNet"] == "b/unet"
    assert exporting._weights(parts, facts("a/unet", None))["UNet"] == "a/unet"


def test_the_configuration_s_hash_changes_with_what_made_the_model() -> None:
    def digest(made: dict[str, Any], **overlay: Any) -> str:
        return exporting._configuration(fabricated.settings("generate export", **overlay), "biomedjourney", made)

    first = facts(None, PHANTOM)
    assert digest(first) == digest(facts(None, PHANTOM), register={"shards": 1.0, "largest_failed_share": 0.5})
    others = [
        digest(facts(None, None)),
        digest(facts("a", PHANTOM)),
        digest(facts(None, PHANTOM, start=first)),
        digest(first, preprocess={"size": 8}),
        digest(first, pretrain={"first_stage": {"weights": "a"}}),
    ]
    assert len({digest(first), *others}) == 6
