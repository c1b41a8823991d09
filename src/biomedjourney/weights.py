"""Parts of diffusers' models from a folder, in every form in which their weights are published."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from biomedjourney.errors import UserError, brief

# As diffusers names them: one file or an index of shards, safetensors or torch's pickles, of a variant ("fp16") or not.
NAME = re.compile(
    r"diffusion_pytorch_model(\.(?P<variant>[\w-]+))?\.(?P<format>safetensors|bin)"
    r"(\.index(\.(?P<variant_of_index>[\w-]+))?\.json)?"
)
CONVERTER = "diffusers' scripts/convert_original_stable_diffusion_to_diffusers.py"


def load(folder: Path, classes: dict[str, Any], part: str, inner: str, remedy: str) -> Any:
    """The model in a folder of diffusers, in float32, whatever the precision of its file. No downloads.

    ``classes``: those that are accepted, by their name in config.json. For messages: ``part`` is the model's name,
    ``inner`` that of its folder in a whole pipeline, ``remedy`` what to do. Without plain weights, those of the variant
    fp16 are taken, or of the only variant. torch's pickles are opened with ``weights_only``: they cannot run code.
    Raises UserError for a file or a whole pipeline in place of the folder, and where the configuration or any of the
    weights are missing or damaged.
    """
    if folder.is_file() and (folder.parent / "config.json").is_file():
        raise UserError(f"{folder}: a file, but the {part} is a folder: give {folder.parent}")
    if folder.is_file():
        raise UserError(
            f"{folder}: a file, but the {part} is a folder with config.json and the weights: make one with {CONVERTER}"
        )
    if (folder / "model_index.json").is_file():
        raise UserError(f"{folder}: a whole pipeline, of which the {part} is one folder: give {folder / inner}")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'}: not a {part} ({error}): {remedy}") from None
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name is None:
        raise UserError(f"{folder / 'config.json'}: not a {part} (it has no _class_name): {remedy}")
    if name not in classes:
        expected = " or ".join(classes)
        raise UserError(f"{folder / 'config.json'}: a {name} is not a {part}: give a folder with {expected}")
    variant, formats = _variant(folder, part, remedy)
    try:
        with _silent():
            model, report = classes[name].from_pretrained(
                folder,
                variant=variant,
                use_safetensors="safetensors" in formats,
                low_cpu_mem_usage=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # whatever reading JSON, safetensors, zip files and pickles raises
        raise UserError(f"{folder}: the {part} cannot be read ({brief(error)}): {remedy}") from None
    if missing := report["missing_keys"]:
        raise UserError(
            f"{folder}: the {part} cannot be read (weights are missing: {missing[0]}, {len(missing)} in all): {remedy}"
        )
    return model.float()


@contextmanager
def _silent() -> Iterator[None]:
    """Without diffusers' own lines on standard error, which list every weight that is missing."""
    from diffusers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _variant(folder: Path, part: str, remedy: str) -> tuple[str | None, set[str]]:
    """The variant of the weights to load, and the formats that it is there in: safetensors, bin."""
    formats: dict[str | None, set[str]] = {}
    for path in folder.iterdir():
        if path.is_file() and (match := NAME.fullmatch(path.name)):  # a link may point to nothing
            formats.setdefault(match["variant"] or match["variant_of_index"], set()).add(match["format"])
    if not formats:
        names = sorted(path.name for path in folder.iterdir() if path.name != "config.json")
        raise UserError(
            f"{folder}: the {part} cannot be read (no diffusion_pytorch_model.safetensors or .bin, nor an index of "
            f"shards, beside config.json, but {', '.join(names)[:200] or 'nothing'}): {remedy}"
        )
    choice = next((name for name in (None, "fp16") if name in formats), next(iter(formats)))
    if choice not in (None, "fp16") and len(formats) > 1:
        names = sorted(map(str, formats))
        raise UserError(f"{folder}: the {part} is there in several variants ({', '.join(names)}): keep one of them")
    return choice, formats[choice]
