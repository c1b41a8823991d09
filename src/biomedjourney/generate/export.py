"""Everything that `edit` needs, in one folder that can be moved."""

import json
import shutil
from pathlib import Path
from typing import Any

from biomedjourney import __version__, tables
from biomedjourney.generate import model
from biomedjourney.generate.draw import chosen_scales


def export(
    system: str,
    settings: dict[str, Any],
    folder: Path,
    first_stage: Path,
    text_tower: Path,
    guidance: Path | None,
    out: Path,
) -> None:
    """Writes ``out``: unet/ and scheduler/ (as diffusers stores them), first_stage/, text_tower/ and model.json.

    model.json holds the side of the pictures in pixels, the number of tokens, the kind of prior, the guidance scales
    and sampling steps, and under ``trained`` how the model came about.
    """
    import torch

    loaded = model.load(folder, first_stage)
    facts = model.facts(folder)
    with torch.no_grad():
        blank = torch.zeros(1, *loaded.latent_shape, device=loaded.unet.device)
        side = loaded.first_stage.decode(blank).sample.shape[-1]
    text_scale, image_scale = chosen_scales(system, settings, guidance)
    description = {
        "system": system,
        "size": side,
        "max_tokens": facts["settings"]["text"]["max_tokens"],
        "prior": facts["settings"]["run"]["prior"],
        "text_scale": text_scale,
        "image_scale": image_scale,
        "steps": settings["generate"]["steps"],
        "biomedjourney": __version__,
        "method": "Gu et al., 2023 (arXiv 2310.10765), an independent implementation",
        "use": "research only, not for clinical use",
        "trained": facts,
    }
    with tables.atomic_folder(out) as new_folder:
        for name in ("unet", "scheduler"):
            shutil.copytree(folder / name, new_folder / name)
        shutil.copytree(first_stage, new_folder / "first_stage")
        shutil.copytree(text_tower, new_folder / "text_tower")
        shutil.copy(folder / "run.json", new_folder / "run.json")
        (new_folder / "model.json").write_text(json.dumps(description, indent=2) + "\n")
