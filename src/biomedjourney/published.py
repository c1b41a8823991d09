"""The published parts that a configuration names: what lies where, and the record of how it was fetched."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomedjourney import config, pipelines, weights
from biomedjourney.errors import UserError

FIRST_STAGE, TEXT_TOWER, UNET, PIPELINE = "first stage", "text tower", "UNet", "pipeline"
DIFFUSERS = {FIRST_STAGE: weights.FIRST_STAGE, UNET: weights.UNET}
CLIP_CONFIG = "open_clip_config.json"
CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
VOCABULARIES = ("tokenizer.json", "vocab.txt")


@dataclass(frozen=True)
class Part:
    """One part whose weights are given: its place in the configuration, its folder or file, and what it must be.

    ``kind``: FIRST_STAGE, TEXT_TOWER, UNET, PIPELINE (of a system), or what a judge judges (pathology, race, age,
    organs).
    """

    key: str
    path: Path
    kind: str


def parts(settings: dict[str, Any]) -> list[Part]:
    """Every part whose weights the configuration names."""
    kinds = {"pretrain.first_stage.weights": FIRST_STAGE, "pretrain.text_tower.weights": TEXT_TOWER}
    kinds["pretrain.segmenter.weights"] = "organs"
    for judges in ("judges", "second_judges"):
        kinds |= {f"pretrain.{judges}.weights.{kind}": kind for kind in ("pathology", "race", "age")}
    given = config.weights(settings)
    kinds |= {key: PIPELINE for key in given if key.startswith("systems.")}
    return [Part(key, Path(path), kinds.get(key, UNET)) for key, path in given.items() if path is not None]


def faults(settings: dict[str, Any]) -> list[str]:
    """One line for each folder or file that is there and is not complete, from the names of its files alone."""
    lines = []
    for part in parts(settings):
        try:
            if part.kind in DIFFUSERS and part.path.exists():
                weights.describe(part.path, DIFFUSERS[part.kind])
            elif part.kind == TEXT_TOWER and part.path.exists():
                check_text_tower(part.path)
            elif part.kind == PIPELINE and part.path.exists():
                pipelines.describe(part.path)
        except UserError as error:
            lines.append(f"configuration, {part.key}: {error}")
    return lines


def files(part: Part) -> list[Path]:
    """The files of a part that is there: those that are loaded of a pipeline, and all in the folder of another part."""
    if part.kind == PIPELINE:
        return [part.path / name for name in pipelines.files(part.path, pipelines.names(part.path))]
    paths = sorted(part.path.iterdir()) if part.path.is_dir() else [part.path]
    return [path for path in paths if path.is_file() and not path.name.startswith(".")]


def clip_config(folder: Path) -> dict[str, Any]:
    """The configuration of a text tower's folder. Raises UserError where it cannot be read."""
    try:
        clip: dict[str, Any] = json.loads((folder / CLIP_CONFIG).read_text(encoding="utf-8"))
        clip["model_cfg"]["text_cfg"] | {}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{folder / CLIP_CONFIG}: cannot be read ({error}): give a folder in BiomedCLIP's format"
        ) from None
    return clip


def check_text_tower(folder: Path) -> None:
    """Raises UserError, with the file's name, where a folder in BiomedCLIP's format lacks a file."""
    if folder.is_file():
        raise UserError(f"{folder}: a file, but a folder in BiomedCLIP's format is expected: give {folder.parent}")
    clip_config(folder)
    if not (folder / "tokenizer_config.json").is_file():
        raise UserError(f"{folder / 'tokenizer_config.json'}: missing: put the tokenizer's files beside {CLIP_CONFIG}")
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise UserError(f"{folder / VOCABULARIES[0]}: missing: download the tokenizer into the folder")
    index = next(folder.glob("*.index.json"), None)
    if index and not any((folder / name).is_file() for name in CLIP_WEIGHTS):
        raise UserError(f"{index}: the weights are in shards: join them into the one file {folder / CLIP_WEIGHTS[0]}")
    if not any(path.is_file() and path.suffix in (".safetensors", ".bin", ".pth") for path in folder.iterdir()):
        raise UserError(f"{folder / CLIP_WEIGHTS[1]}: the weights are missing: download them into the folder")


def record_path(path: Path) -> Path:
    """Where the record of a fetched folder or file lies: beside it."""
    return path.with_name(f"{path.name}.fetched.json")


def record(path: Path) -> dict[str, Any] | None:
    """What `biomedjourney prefetch` recorded of a folder or file; None where it did not fetch it.

    ``source``: an address. ``revision``: the commit, of a repository. ``files``: ``size`` in bytes and ``sha256`` of
    each file, by its name. Raises UserError for a damaged record.
    """
    place = record_path(path)
    try:
        recorded: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        if all({"size", "sha256"} <= file.keys() for file in recorded["files"].values()):
            return recorded
        reason = "size or sha256 is missing"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = str(error)
    raise UserError(f"{place}: not a record of biomedjourney prefetch ({reason}): delete it and run prefetch again")


def check_record(path: Path, recorded: dict[str, Any], *, contents: bool) -> None:
    """Compares the files of a folder, or the one file, with the record. ``contents``: their checksums too.

    Raises UserError for the first file that is missing or another one.
    """
    for name, expected in recorded["files"].items():
        file = path if path.is_file() else path / name
        if not file.is_file():
            raise UserError(f"{file}: missing, but {record_path(path)} lists it: run biomedjourney prefetch again")
        check_file(file, expected["size"], expected["sha256"] if contents else None)


def check_file(file: Path, size: int, sha256: str | None) -> None:
    """Raises UserError for a file of another size in bytes or another checksum (None: any)."""
    remedy = "delete it and run biomedjourney prefetch again"
    if file.stat().st_size != size:
        raise UserError(f"{file}: {file.stat().st_size:,} bytes, but {size:,} are expected: {remedy}")
    if sha256 is not None and (found := checksum(file)) != sha256:
        raise UserError(f"{file}: its sha256 is {found}, but {sha256} is expected: {remedy}")


def checksum(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Repository:
    """The place of a part in a repository of the Hugging Face hub. ``inside``: its path there, "." for the whole."""

    name: str
    revision: str | None
    inside: str


def repository(part: Part, settings: dict[str, Any]) -> Repository | None:
    """Where `prefetch` of the configuration says that a part is from; None where its path lies in no folder there."""
    path, best = os.path.abspath(part.path), ""
    found = None
    for name, entry in settings["prefetch"].items():
        folder = os.path.abspath(entry["folder"])
        if len(folder) > len(best) and os.path.commonpath([path, folder]) == folder:
            best, found = folder, Repository(name, entry["revision"], os.path.relpath(path, folder))
    return found


def check_revision(part: Part, recorded: dict[str, Any], settings: dict[str, Any]) -> None:
    """Raises UserError where a part was fetched at another commit than the configuration names."""
    origin = repository(part, settings)
    fetched = recorded.get("revision")  # None: not from the hub
    if origin is not None and fetched is not None and origin.revision not in (None, fetched):
        raise UserError(
            f"{part.path}: fetched at revision {fetched}, but prefetch says {origin.revision} of "
            f"{origin.name}: delete it and run biomedjourney prefetch again"
        )
