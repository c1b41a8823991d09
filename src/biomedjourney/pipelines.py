"""Whole pipelines of diffusers in a folder: which files are loaded, what they must be, and the parts that read texts.

What differs between systems of somebody else's weights is read from here: text encoder and tokenizer, the number of
tokens, the scheduler, the size of the pictures, and whether a prior is taken.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biomedjourney import weights
from biomedjourney.errors import UserError, brief, raise_unless_damage

INDEX = "model_index.json"
SCHEDULER = "scheduler/scheduler_config.json"
# The classes of diffusers that draw, and whether they are given a prior image.
TAKES_PRIOR = {"StableDiffusionPipeline": False, "StableDiffusionInstructPix2PixPipeline": True}
MODELS = {"vae": weights.FIRST_STAGE, "unet": weights.UNET}
# As transformers names the weights of a text encoder, the first that is there is loaded.
TEXT_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.fp16.safetensors", "pytorch_model.fp16.bin")
TOKENIZER = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json")
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",))
UNKEYED = {"DPMSolverSDEScheduler"}  # draws noise that no seed of a picture decides
REMEDY = "download the whole folder, or run biomedjourney prefetch"


@dataclass(frozen=True)
class Index:
    """The classes of the pipeline, its text encoder and tokenizer, as model_index.json has them, and its scheduler."""

    pipeline: str
    text_encoder: str
    tokenizer: str
    scheduler: str

    @property
    def takes_prior(self) -> bool:
        return TAKES_PRIOR[self.pipeline]


@dataclass(frozen=True)
class Facts:
    """``size``: the side in pixels of the pictures that are drawn. ``tokens``: to which texts are cut and padded."""

    takes_prior: bool
    size: int
    tokens: int


def describe(folder: Path) -> Index:
    """What lies in the folder, from its small files and the names of the large ones.

    Raises UserError where a file is missing that is loaded, and for a class that cannot be used here.
    """
    if folder.is_file():
        raise UserError(f"{folder}: a file, but a pipeline is a folder with {INDEX}: make one with {weights.CONVERTER}")
    files(folder, names(folder))
    index = _read(folder / INDEX)
    pipeline = index.get("_class_name")
    if pipeline not in TAKES_PRIOR:
        raise UserError(f"{folder / INDEX}: a {pipeline} cannot be used: give a folder with {' or '.join(TAKES_PRIOR)}")
    encoder, tokenizer = (_class_of_transformers(folder, index, part) for part in ("text_encoder", "tokenizer"))
    return Index(pipeline, encoder, tokenizer, _read(folder / SCHEDULER).get("_class_name") or "none")


def check_prior(folder: Path, index: Index, prior: str) -> None:
    """Raises UserError where the system's ``prior`` (none or registered) is not what the pipeline takes."""
    if index.takes_prior != (prior != "none"):
        expected = "registered" if index.takes_prior else "none"
        raise UserError(f"{folder}: a {index.pipeline}, but the system has prior {prior}: set its prior to {expected}")


def names(folder: Path) -> list[str]:
    """The files in the folder and below it, as paths inside it with ``/``."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def files(where: Path | str, there: Collection[str]) -> list[str]:
    """Those of the files of a whole pipeline that are loaded; ``there``: all of them, as paths inside it.

    Raises UserError, beginning with ``where``, for the first one that is missing.
    """
    inside: dict[str, set[str]] = {}
    for name in there:
        part, _, file = name.rpartition("/")
        inside.setdefault(part, set()).add(file)
    chosen = [INDEX, SCHEDULER, "text_encoder/config.json", "tokenizer/tokenizer_config.json"]
    absent = [name for name in chosen if name not in there]
    encoder = next((name for name in TEXT_WEIGHTS if name in inside.get("text_encoder", ())), None)
    absent += [] if encoder else [f"text_encoder/{TEXT_WEIGHTS[0]}"]
    tokenizer = inside.get("tokenizer", set())
    whole = [vocabulary for vocabulary in VOCABULARIES if tokenizer.issuperset(vocabulary)]
    absent += [] if whole else [f"tokenizer/{VOCABULARIES[1][0]}"]
    absent += [f"{part}/config.json" for part in MODELS if "config.json" not in inside.get(part, ())]
    if absent:
        raise UserError(f"{where}: a pipeline without {absent[0]}: {REMEDY}")
    chosen.append(f"text_encoder/{encoder}")
    chosen += [f"tokenizer/{name}" for name in sorted({*TOKENIZER, *(n for v in whole for n in v)} & tokenizer)]
    for part, kind in MODELS.items():
        loaded = ["config.json", *weights.files(f"{where}/{part}", inside[part], kind)]
        chosen += [f"{part}/{name}" for name in loaded]
    return list(dict.fromkeys(chosen))


def scheduler(folder: Path, index: Index) -> Any:
    """The scheduler of the folder. Raises UserError for one of a class that cannot be used here."""
    import diffusers
    from diffusers.schedulers import KarrasDiffusionSchedulers

    place = folder / SCHEDULER
    usable = KarrasDiffusionSchedulers.__members__.keys() - UNKEYED
    if index.scheduler not in usable:
        raise UserError(f"{place}: a {index.scheduler} cannot be used: give one of {', '.join(sorted(usable))}")
    try:
        with silent():
            return getattr(diffusers, index.scheduler).from_config(_read(place))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise UserError(f"{place}: the scheduler cannot be read ({brief(error)}): {REMEDY}") from None


def texts(folder: Path, index: Index, *, with_weights: bool = True) -> tuple[Any, Any]:
    """The text encoder, in float32 and evaluation mode, and the tokenizer, whose ``model_max_length`` both allow.

    ``with_weights`` False: the encoder has no weights; those in its file were compared with it by names and shapes.
    Raises UserError where a part cannot be read, weights are missing, or the two do not fit each other.
    """
    import torch
    import transformers

    place = folder / "text_encoder"
    file = next(place / name for name in TEXT_WEIGHTS if (place / name).is_file())
    try:
        loader = getattr(transformers, index.text_encoder)
        weights.refuse_pointer(file)
        with silent():
            if with_weights:
                encoder, report = loader.from_pretrained(
                    place,
                    variant="fp16" if ".fp16." in file.name else None,
                    use_safetensors=file.suffix == ".safetensors",
                    dtype=torch.float32,
                    local_files_only=True,
                    output_loading_info=True,
                )
                missing = sorted(report["missing_keys"])
            else:
                with torch.device("meta"):
                    encoder = loader(loader.config_class.from_pretrained(place, local_files_only=True))
                missing = _missing(encoder, weights.shapes(file))
            tokenizer = getattr(transformers, index.tokenizer).from_pretrained(
                folder / "tokenizer", local_files_only=True
            )
    except Exception as error:  # whatever reading JSON, safetensors, zip files and pickles raises
        raise_unless_damage(error, folder)
        raise UserError(f"{folder}: text encoder or tokenizer cannot be read ({brief(error)}): {REMEDY}") from None
    if missing:
        faulty = f"{missing[0]}, {len(missing)} in all"
        raise UserError(f"{place}: weights are missing or of another shape ({faulty}): {REMEDY}")
    if len(tokenizer) > encoder.config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has {len(tokenizer)} word pieces, but the text encoder knows "
            f"{encoder.config.vocab_size}: {REMEDY}"
        )
    tokenizer.model_max_length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    return encoder.requires_grad_(False).eval(), tokenizer


def facts(
    folder: Path, index: Index, unet: Any, first_stage: Any, encoder: Any, tokenizer: Any, size: int | None = None
) -> Facts:
    """How the pipeline draws. ``unet``, ``first_stage``, ``encoder``: their configurations. ``size``: None: the UNet's.

    Raises UserError where the parts do not fit each other, or the size does not fit them.
    """
    channels = first_stage.latent_channels * (2 if index.takes_prior else 1)
    if (unet.in_channels, unet.out_channels) != (channels, first_stage.latent_channels):
        raise UserError(
            f"{folder}: a UNet from {unet.in_channels} to {unet.out_channels} channels, but {index.pipeline} with this "
            f"first stage needs one from {channels} to {first_stage.latent_channels}: {REMEDY}"
        )
    width = unet.encoder_hid_dim or unet.cross_attention_dim
    if encoder.hidden_size != width:
        raise UserError(
            f"{folder}: a UNet for text states of width {width}, but the text encoder's have {encoder.hidden_size}: "
            f"{REMEDY}"
        )
    reduction: int = 2 ** (len(first_stage.block_out_channels) - 1)
    side = size or (unet.sample_size * reduction if isinstance(unet.sample_size, int) else 0)
    if not side or side % reduction:
        raise UserError(f"{folder}: pictures of {side} pixels: set the system's size to a multiple of {reduction}")
    return Facts(index.takes_prior, side, tokenizer.model_max_length)


@contextmanager
def silent() -> Iterator[None]:
    """Without the lines of diffusers and transformers, which list missing weights, and quote texts that they cut."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    before, bar = of_transformers.get_verbosity(), of_transformers.is_progress_bar_enabled()
    before_diffusers = of_diffusers.get_verbosity()
    of_transformers.set_verbosity(of_transformers.CRITICAL)
    of_transformers.disable_progress_bar()
    of_diffusers.set_verbosity(of_diffusers.CRITICAL)
    try:
        yield
    finally:
        of_transformers.set_verbosity(before)
        of_diffusers.set_verbosity(before_diffusers)
        if bar:
            of_transformers.enable_progress_bar()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read ({error}): {REMEDY}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a mapping: {REMEDY}")
    return content


def _class_of_transformers(folder: Path, index: dict[str, Any], part: str) -> str:
    """The name of the class of a part. Raises UserError for one that is not of transformers."""
    library, name = (*(index.get(part) or ()), None, None)[:2]
    if library != "transformers" or not isinstance(name, str):
        raise UserError(f"{folder / INDEX}: {part} is {index.get(part)}, expected a class of transformers: {REMEDY}")
    return name


def _missing(model: Any, found: dict[str, tuple[int, ...]]) -> list[str]:
    """The weights of a model that a file lacks or has in another shape; the file may name them with a prefix."""
    shapes = {name.partition(".")[2] if name.startswith(("text_model.", "bert.", "roberta.")) else name: shape
              for name, shape in found.items()}  # fmt: skip
    return [name for name, value in model.state_dict().items() if shapes.get(name) != tuple(value.shape)]
