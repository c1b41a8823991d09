"""The parts that stay frozen in training: first stage, text tower, judges, segmenter; published, or trained small."""

from pathlib import Path
from typing import Any


def load_first_stage(folder: Path) -> Any:
    """The first stage (VAE) of a folder, with diffusers' ``encode().latent_dist``, ``decode().sample``, ``config``."""
    from biomedjourney.pretrain.first_stage import load

    return load(folder)


def load_text_tower(folder: Path, max_tokens: int | None = None) -> Any:
    """The text tower of a folder in BiomedCLIP's format. ``.states(texts)`` gives float16 (tokens, width) per text.

    ``max_tokens`` None: the context length that the folder gives.
    """
    from biomedjourney.pretrain.text_tower import load

    return load(folder, max_tokens)


def load_judges(folder: Path) -> Any:
    """The judging classifiers of a folder: ``.pathology``, ``.race``, ``.age`` of pictures, and the ``.labels``."""
    from biomedjourney.pretrain.judges import load

    return load(folder)


def load_segmenter(folder: Path) -> Any:
    """The segmenter of a folder: ``.organs(pictures)`` marks each of `measures.ORGANS`."""
    from biomedjourney.pretrain.segmenter import load

    return load(folder)
