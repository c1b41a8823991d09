"""Parts of diffusers' models from a folder, in every form in which their weights are published."""

import json
import re
from pathlib import Path
from typing import Any

from biomedjourney.errors import UserError

# As diffusers names them: in one file or in shards, as safetensors or as torch's pickles, of a variant ("fp16") or not.
SHARD = r"(-\d+-of-\d+)?"
NAME = re.compile(rf"diffusion_pytorch_model{SHARD}(\.(?P<variant>[\w-]+?))?{SHARD}\.(?P<format>safetensors|bin)")
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
        name = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'}: not a {part} ({error}): {remedy}") from None
    if name not in classes:
        expected = " or ".join(classes)
        raise UserError(f"{folder / 'config.json'}: a {name} is not a {part}: give a folder with {expected}")
    variant, formats = _variant(folder, part, remedy)
    try:
        model, report = classes[name].from_pretrained(
            folder,
            variant=variant,
            use_safetensors="safetensors" in formats,
            low_cpu_mem_usage=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever reading JSON, safetensors, zip files and pickles raises
        raise UserError(f"{folder}: the {part} cannot be read ({reason(error)}): {remedy}") from None
    if missing := report["missing_keys"]:
        raise UserError(
            f"{folder}: the {part} cannot be read (weights are missing: {missing[0]}, {len(missing)} in all): {remedy}"
        )
    return model.float()


def reason(error: Exception) -> str:
    """What a library says of weights that it cannot read, in one line; of a list of what does not fit, the first."""
    lines = (str(error) or type(error).__name__).splitlines()
    return " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])


def _variant(folder: Path, part: str, remedy: str) -> tuple[str | None, set[str]]:
    """The variant of the weights to load, and the formats that it is there in: safetensors, bin."""
    formats: dict[str | None, set[str]] = {}
    for path in folder.iterdir():
        if match := NAME.fullmatch(path.name):
            formats.setdefault(match["variant"], set()).add(match["format"])
    if not formats:
        names = sorted(path.name for path in folder.iterdir() if path.name != "config.json")
        raise UserError(
            f"{folder}: the {part} cannot be read (no diffusion_pytorch_model.safetensors or .bin beside config.json, "
            f"but {', '.join(names)[:200] or 'nothing'}): {remedy}"
        )
    choice = next((name for name in (None, "fp16") if name in formats), next(iter(formats)))
    if choice not in (None, "fp16") and len(formats) > 1:
        names = sorted(map(str, formats))
        raise UserError(f"{folder}: the {part} is there in several variants ({', '.join(names)}): keep one of them")
    return choice, formats[choice]
