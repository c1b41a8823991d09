"""Parts of diffusers' models from a folder, in every form in which their weights are published."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from biomedjourney.errors import UserError, brief, raise_unless_damage

# As diffusers names them: one file or an index of shards, safetensors or torch's pickles, of a variant ("fp16") or not.
NAME = re.compile(
    r"diffusion_pytorch_model(\.(?P<variant>[\w-]+))?\.(?P<format>safetensors|bin)"
    r"(\.index(\.(?P<variant_of_index>[\w-]+))?\.json)?"
)
SHARD = re.compile(r"diffusion_pytorch_model(\.(?P<variant>[\w-]+))?-\d+-of-\d+\.(?P<format>safetensors|bin)")
CONVERTER = "diffusers' scripts/convert_original_stable_diffusion_to_diffusers.py"


class Kind(NamedTuple):
    """A part of diffusers' models: its name, the classes that it may have, and for messages the remedy.

    ``inner``: its folder in a whole pipeline.
    """

    part: str
    inner: str
    classes: tuple[str, ...]
    remedy: str


FIRST_STAGE = Kind(
    "first stage",
    "vae",
    ("AutoencoderKL", "PatchAutoencoder"),
    "give a folder with a diffusers AutoencoderKL, download it or train it again",
)
UNET = Kind("UNet", "unet", ("UNet2DConditionModel",), "check the path, download it or run train again")


class Stored(NamedTuple):
    """What lies in a folder of diffusers: the configuration, and the variant and the formats of the weights."""

    config: dict[str, Any]
    variant: str | None
    formats: set[str]


def load(folder: Path, kind: Kind, *classes: Any) -> Any:
    """The model in a folder of diffusers, in float32, whatever the precision of its file. No downloads.

    ``classes``: those that ``kind`` names. Without plain weights, those of the variant fp16 are taken, or of the only
    variant. torch's pickles are opened with ``weights_only``: they cannot run code. Raises UserError as `describe`
    does, and where any of the weights are missing or damaged.
    """
    stored = describe(folder, kind)
    try:
        with _silent():
            model, report = _class(stored, classes).from_pretrained(
                folder,
                variant=stored.variant,
                use_safetensors="safetensors" in stored.formats,
                low_cpu_mem_usage=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # whatever reading JSON, safetensors, zip files and pickles raises
        raise_unless_damage(error, folder)
        raise UserError(f"{folder}: the {kind.part} cannot be read ({brief(error)}): {kind.remedy}") from None
    _refuse_missing(folder, kind, report["missing_keys"])
    return model.float()


def check(folder: Path, kind: Kind, *classes: Any) -> Any:
    """The configuration of the model that `load` would load, without reading its weights: their names and shapes alone.

    Raises UserError as `load` does, but for weights that are damaged behind the header of their file.
    """
    import torch

    stored = describe(folder, kind)
    try:
        with _silent(), torch.device("meta"):
            model = _class(stored, classes).from_config(stored.config)
            weights = model._fix_state_dict_keys_on_load(
                {name: torch.empty(shape) for file in _files(folder, stored) for name, shape in shapes(file).items()}
            )
            missing = model.load_state_dict(weights, strict=False).missing_keys
    except Exception as error:  # whatever reading JSON, safetensors, zip files and pickles raises
        raise_unless_damage(error, folder)
        raise UserError(f"{folder}: the {kind.part} cannot be read ({brief(error)}): {kind.remedy}") from None
    _refuse_missing(folder, kind, missing)
    return model.config


def describe(folder: Path, kind: Kind) -> Stored:
    """What lies in a folder of diffusers, from its configuration and the names of its files.

    Raises UserError for a file or a whole pipeline in place of the folder, for a configuration that is missing, damaged
    or of another class, and where no file of weights is there.
    """
    part = kind.part
    if folder.is_file() and (folder.parent / "config.json").is_file():
        raise UserError(f"{folder}: a file, but the {part} is a folder: give {folder.parent}")
    if folder.is_file():
        raise UserError(
            f"{folder}: a file, but the {part} is a folder with config.json and the weights: make one with {CONVERTER}"
        )
    if (folder / "model_index.json").is_file():
        raise UserError(f"{folder}: a whole pipeline, of which the {part} is one folder: give {folder / kind.inner}")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'}: not a {part} ({error}): {kind.remedy}") from None
    name = config.get("_class_name") if isinstance(config, dict) else None
    if name is None:
        raise UserError(f"{folder / 'config.json'}: not a {part} (it has no _class_name): {kind.remedy}")
    if name not in kind.classes:
        expected = " or ".join(kind.classes)
        raise UserError(f"{folder / 'config.json'}: a {name} is not a {part}: give a folder with {expected}")
    # a link may point to nothing
    return Stored(config, *variant(folder, [path.name for path in folder.iterdir() if path.is_file()], kind))


def shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor in a file of weights, safetensors or torch's, from its header.

    Raises whatever reading them raises, also for a file that ends too early.
    """
    refuse_pointer(file)
    if file.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(file, "pt") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    import torch

    return {
        name: tuple(value.shape) for name, value in torch.load(file, map_location="meta", weights_only=True).items()
    }


def refuse_pointer(file: Path) -> None:
    """Raises ValueError for what Git leaves in place of a large file that was not fetched."""
    with file.open("rb") as stream:
        if stream.read(64).startswith(b"version https://git-lfs"):
            raise ValueError("a pointer of git-lfs in place of the file: run git lfs pull in its folder")


def _class(stored: Stored, classes: tuple[Any, ...]) -> Any:
    return next(known for known in classes if known.__name__ == stored.config["_class_name"])


def _refuse_missing(folder: Path, kind: Kind, missing: list[str]) -> None:
    if missing:
        raise UserError(
            f"{folder}: the {kind.part} cannot be read (weights are missing: {missing[0]}, {len(missing)} in all): "
            f"{kind.remedy}"
        )


def _files(folder: Path, stored: Stored) -> list[Path]:
    """The files of the weights that are loaded: one, or the shards that an index names."""
    ending = "safetensors" if "safetensors" in stored.formats else "bin"
    variant = f".{stored.variant}" if stored.variant else ""
    index = folder / f"diffusion_pytorch_model.{ending}.index{variant}.json"
    if not index.is_file():
        return [folder / f"diffusion_pytorch_model{variant}.{ending}"]
    return [folder / name for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]


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


def variant(folder: Path | str, names: Collection[str], kind: Kind) -> tuple[str | None, set[str]]:
    """Of the files with these names in a folder the variant of the weights to load, and its formats: safetensors, bin.

    Raises UserError where none are weights, and for several variants none of which comes first.
    """
    formats: dict[str | None, set[str]] = {}
    for name in names:
        if match := NAME.fullmatch(name):
            formats.setdefault(match["variant"] or match["variant_of_index"], set()).add(match["format"])
    if not formats:
        others = sorted(name for name in names if name != "config.json")
        raise UserError(
            f"{folder}: the {kind.part} cannot be read (no diffusion_pytorch_model.safetensors or .bin, nor an index "
            f"of shards, beside config.json, but {', '.join(others)[:200] or 'nothing'}): {kind.remedy}"
        )
    choice = next((name for name in (None, "fp16") if name in formats), next(iter(formats)))
    if choice not in (None, "fp16") and len(formats) > 1:
        variants = ", ".join(sorted(map(str, formats)))
        raise UserError(f"{folder}: the {kind.part} is there in several variants ({variants}): keep one of them")
    return choice, formats[choice]


def files(folder: Path | str, names: Collection[str], kind: Kind) -> list[str]:
    """Of the files with these names in a folder those of the weights that `load` chooses: one, or an index and shards.

    Raises UserError as `variant` does.
    """
    chosen, formats = variant(folder, names, kind)
    ending = "safetensors" if "safetensors" in formats else "bin"
    dotted = f".{chosen}" if chosen else ""
    single = f"diffusion_pytorch_model{dotted}.{ending}"
    if single in names:
        return [single]
    shards = [name for name in names if (match := SHARD.fullmatch(name)) and match["variant"] == chosen]
    return [f"diffusion_pytorch_model.{ending}.index{dotted}.json", *sorted(n for n in shards if n.endswith(ending))]
