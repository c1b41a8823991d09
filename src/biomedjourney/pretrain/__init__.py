"""The parts that stay frozen in training: first stage, text tower, judges. Published ones, or trained in miniature."""

from pathlib import Path
from typing import Any


def load_first_stage(folder: Path) -> Any:
    """The first stage (VAE) of a folder: ``encode().latent_dist``, ``decode().sample``, ``config``, as in diffusers."""
    from biomedjourney.pretrain.first_stage import load

    return load(folder)


def load_text_tower(folder: Path, max_tokens: int | None = None) -> Any:
    """The text tower of a folder in BiomedCLIP's format: ``.states(texts)`` gives float16 (tokens, width) each.

    ``max_tokens`` None: as many as the folder names.
    """
    from biomedjourney.pretrain.text_tower import load

    return load(folder, max_tokens)


def load_judges(folder: Path) -> Any:
    """The judging classifiers of a folder: ``.pathology``, ``.race`` and ``.age`` of pictures, and ``.labels``."""
    from biomedjourney.pretrain.judges import load

    return load(folder)
