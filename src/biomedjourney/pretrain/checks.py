"""Checks the published parts of a configuration before anything is made from them: each by itself, then together."""

import json
from pathlib import Path
from typing import Any

from biomedjourney import pipelines, published, tables
from biomedjourney.errors import UserError, UserErrors
from biomedjourney.published import FIRST_STAGE, PIPELINE, TEXT_TOWER, UNET, Part


def check(settings: dict[str, Any], out: Path) -> list[str]:
    """Writes to ``out`` what the parts are, and returns a line for each; without weights there is nothing to check.

    Raises UserErrors with one line for each part that is missing, damaged, of another kind, or that does not fit the
    configuration or the others.
    """
    parts = published.parts(settings)
    found: dict[str, dict[str, Any]] = {}
    errors: list[UserError] = []
    fits = _Fits(settings)
    for part in sorted(
        parts, key=lambda part: part.kind == UNET
    ):  # last, since they must fit the first stage and texts
        try:
            found[part.key] = {"path": str(part.path), **fits.check(part)}
        except UserError as error:
            text = str(error)
            errors.append(
                UserError(text if text.startswith("configuration, ") else f"configuration, {part.key}: {text}")
            )
    if errors:
        raise UserErrors(errors)
    with tables.atomic_path(out) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return [f"{key}: " + ", ".join(f"{name} {value}" for name, value in facts.items()) for key, facts in found.items()]


class _Fits:
    """What is known of the parts so far, so that each is checked against those before it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        pretrain = settings["pretrain"]
        # a part that is trained here; None: not known yet, or faulty
        self.text_width = pretrain["text_tower"]["width"] if pretrain["text_tower"]["weights"] is None else None
        self.latents = self._latents_of_miniature() if pretrain["first_stage"]["weights"] is None else None

    def _latents_of_miniature(self) -> tuple[int, int] | None:
        if not published.parts(self.settings):
            return None  # nothing is to fit it, and torch need not be imported
        from biomedjourney.pretrain import first_stage

        return self._latents(first_stage.PatchAutoencoder().config)

    def _latents(self, config: Any) -> tuple[int, int]:
        """Channels and side of the latents."""
        from biomedjourney.pretrain import first_stage

        side = first_stage.check_side("configuration, preprocess.size", self.settings["preprocess"]["size"], config)
        return config.latent_channels, side

    def check(self, part: Part) -> dict[str, Any]:
        """What a part is. Raises UserError where it is not what it must be."""
        recorded = published.record(part.path)
        if not part.path.exists():
            raise UserError(f"{part.path}: missing: give the path of your copy, or run biomedjourney prefetch")
        if recorded is not None:
            published.check_record(part.path, recorded, contents=False)
            published.check_revision(part, recorded, self.settings)
        return self._check(part) | ({"source": recorded["source"]} if recorded is not None else {})

    def _check(self, part: Part) -> dict[str, Any]:
        if part.kind == FIRST_STAGE:
            from biomedjourney.pretrain import first_stage

            self.latents = self._latents(first_stage.check(part.path))
            return {"latent_channels": self.latents[0], "latent_side": self.latents[1]}
        if part.kind == TEXT_TOWER:
            from biomedjourney.pretrain import text_tower

            self.text_width = text_tower.check(part.path, self.settings["text"]["max_tokens"])
            return {"width": self.text_width}
        if part.kind == UNET:
            return self._check_unet(part)
        if part.kind == PIPELINE:
            return self._check_pipeline(part)
        from biomedjourney.pretrain import judges, segmenter

        if part.kind == segmenter.KIND:
            segmenter.check(part.path)
            return {"judge": part.kind}
        judges.check(part.path, part.kind, self.settings["labels"]["findings"])
        return {"judge": part.kind}

    def _check_unet(self, part: Part) -> dict[str, Any]:
        from biomedjourney import sampling

        config = sampling.unet_config(part.path)
        channels = self.latents[0] if self.latents else config.out_channels
        sampling.check_conditions(part.path, config, channels, self.text_width or config.encoder_hid_dim)
        return {
            "in_channels": config.in_channels,
            "published_for_side": config.sample_size,
            "used_for_side": self.latents[1] if self.latents else None,
        }

    def _check_pipeline(self, part: Part) -> dict[str, Any]:
        from biomedjourney import sampling
        from biomedjourney.pretrain import first_stage

        system = self.settings["systems"][part.key.split(".")[1]]
        index = pipelines.describe(part.path)
        pipelines.check_prior(part.path, index, system["prior"])
        encoder, tokenizer = pipelines.texts(part.path, index, with_weights=False)
        unet, vae = sampling.unet_config(part.path / "unet"), first_stage.check(part.path / "vae")
        facts = pipelines.facts(part.path, index, unet, vae, encoder.config, tokenizer, system.get("size"))
        pipelines.scheduler(part.path, index)
        return {
            "pipeline": index.pipeline,
            "scheduler": index.scheduler,
            "text_encoder": index.text_encoder,
            "tokens": facts.tokens,
            "side": facts.size,
        }
