"""A trained model in one folder that can be moved: a pipeline of diffusers with the text tower beside it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from biomedjourney import __version__, config, pretrain, sums
from biomedjourney.errors import UserError
from biomedjourney.generate import card, model
from biomedjourney.generate.draw import chosen_scales
from biomedjourney.pretrain import patch_autoencoder
from biomedjourney.train.run import run_facts


def export(
    system: str,
    settings: dict[str, Any],
    folder: Path,
    first_stage: Path,
    text_tower: Path,
    guidance: Path | None,
    out: Path,
) -> None:
    """Writes ``out``: what `edit` reads and what diffusers' `StableDiffusionInstructPix2PixPipeline` opens.

    unet/, vae/ (the first stage, with the file of its class where diffusers has none), scheduler/ (the solver) and
    model_index.json as diffusers stores them; text_tower/; README.md, the model card; run.json of the run; and
    model.json with the side of the pictures in pixels, the number of tokens, the kind of prior, the guidance scales,
    solver and sampling steps, and under ``trained`` how the model came about. Raises UserError where the text tower or
    the first stage is not the one that the model was trained with.
    """
    import torch
    from diffusers import StableDiffusionInstructPix2PixPipeline

    loaded = model.load(folder, first_stage).with_solver(settings["generate"]["solver"])
    facts = run_facts(folder)
    max_tokens = facts["settings"]["text"]["max_tokens"]
    _check_text_tower(text_tower, max_tokens, loaded)
    with torch.no_grad():
        blank = torch.zeros(1, *loaded.latent_shape, device=loaded.unet.device)
        side = loaded.first_stage.decode(blank).sample.shape[-1]
    text_scale, image_scale = chosen_scales(system, settings, guidance)
    description = {
        "system": system,
        "size": side,
        "max_tokens": max_tokens,
        "prior": facts["settings"]["run"]["prior"],
        "text_scale": text_scale,
        "image_scale": image_scale,
        "solver": settings["generate"]["solver"],
        "steps": settings["generate"]["steps"],
        "configuration": _configuration(settings, system, facts),
        "biomedjourney": __version__,
        "method": "Gu et al., 2023 (arXiv 2310.10765), an independent implementation",
        "use": "research only, not for clinical use",
        "trained": facts,
    }
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=loaded.first_stage,
        unet=loaded.unet,
        scheduler=loaded.scheduler,
        text_encoder=None,
        tokenizer=None,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    own_code = isinstance(loaded.first_stage, patch_autoencoder.PatchAutoencoder)
    code = Path(patch_autoencoder.__file__)
    if own_code:  # the class is then looked for in a file of this name beside the weights
        pipeline.register_to_config(vae=(code.stem, type(loaded.first_stage).__name__))
    with sums.model_folder(out) as new_folder:
        for name in ("vae", "unet", "scheduler"):
            part = getattr(pipeline, name)
            part.register_to_config(_name_or_path=None)  # diffusers would store where on this machine it came from
            part.save_pretrained(new_folder / name)
        pipeline.save_config(new_folder)
        if own_code:
            shutil.copyfile(code, new_folder / "vae" / code.name)  # without its mode
        shutil.copytree(text_tower, new_folder / "text_tower")
        shutil.copyfile(folder / "run.json", new_folder / "run.json")
        (new_folder / "model.json").write_text(json.dumps(description, indent=2) + "\n")
        text = card.render(
            description,
            _weights(settings, facts),
            latent_shape=loaded.latent_shape,
            scaling_factor=loaded.first_stage.config.scaling_factor,
            own_code=own_code,
        )
        (new_folder / "README.md").write_text(text, encoding="utf-8")


def _check_text_tower(text_tower: Path, max_tokens: int, loaded: model.Model) -> None:
    """Raises UserError for a text tower whose states the model cannot read."""
    width, expected = pretrain.load_text_tower(text_tower, max_tokens).width, loaded.unet.config.encoder_hid_dim
    if width != expected:
        raise UserError(
            f"{text_tower}: text states of width {width}, but the model in {loaded.folder} was trained on states of "
            f"width {expected}: give the text tower that it was trained with"
        )


def _configuration(settings: dict[str, Any], system: str, facts: dict[str, Any]) -> str:
    """A hash of the settings that made the model, 16 hexadecimal digits."""
    runs = json.dumps([run["settings"] for run in card.lineage(facts)], sort_keys=True)
    text = config.tracked_settings(settings, "generate export", system=system) + runs
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _weights(settings: dict[str, Any], facts: dict[str, Any]) -> dict[str, str | None]:
    """The folder of published weights that each part of the model started from; None: trained from the start."""
    first = card.lineage(facts)[0]["settings"]
    return {
        "UNet": first["run"].get("weights") or first["diffusion"]["unet"]["weights"],
        "first stage": settings["pretrain"]["first_stage"]["weights"],
        "text tower": settings["pretrain"]["text_tower"]["weights"],
    }
