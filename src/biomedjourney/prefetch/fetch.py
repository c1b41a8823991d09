"""Where published weights come from: repositories of the Hugging Face hub, and torchxrayvision's releases."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from biomedjourney import pipelines, published, tables, weights
from biomedjourney.errors import UserError, UserErrors, brief, full_disk, no_space
from biomedjourney.published import DIFFUSERS, PIPELINE, TEXT_TOWER, Part, Repository

FILES = {TEXT_TOWER: "open_clip_*, tokenizer", PIPELINE: "model_index.json and the parts that it names"}
TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "vocab.txt", "special_tokens_map.json")


class Wanted(NamedTuple):
    """A file to fetch: its address, and its size in bytes and checksum as far as they are known.

    ``git_hash``: git's name for its contents, which the hub gives of small files in place of ``sha256``.
    """

    url: str
    headers: dict[str, str] | None = None
    size: int | None = None
    sha256: str | None = None
    git_hash: str | None = None


def listing(settings: dict[str, Any]) -> Iterator[str]:
    """One line for each part: where it comes from and goes to, and its size where it was fetched before."""
    for part in _distinct(settings):
        recorded = published.record(part.path)
        size = _size(file["size"] for file in recorded["files"].values()) if recorded else "size not known yet"
        revision = (recorded or {}).get("revision")
        yield f"{part.key}: {_origin(part, settings, revision)} -> {part.path} ({size})"


def fetch(settings: dict[str, Any]) -> Iterator[str]:
    """Fetches each part that is not there and checks each that is; gives a line for each.

    Raises UserErrors, when all parts were tried, with one line for each that cannot be fetched or is not what was
    published or recorded. A file that is there is never replaced.
    """
    errors: list[UserError] = []
    commits: dict[str, str] = {}  # that this call found for repositories without a pinned revision
    for part in _distinct(settings):
        try:
            yield f"{part.key}: {_fetch(part, settings, commits)}"
        except UserError as error:
            errors.append(UserError(f"{part.key}: {error}"))
    if errors:
        raise UserErrors(errors)


def _distinct(settings: dict[str, Any]) -> list[Part]:
    """The parts with weights, each path once. Raises UserError where there are none."""
    parts = {part.path: part for part in reversed(published.parts(settings))}
    if not parts:
        raise UserError(
            "nothing to fetch: the configuration names no weights; add --config workflow/configs/paper.yaml, "
            "which names the published ones"
        )
    return list(reversed(parts.values()))


def _origin(part: Part, settings: dict[str, Any], recorded_revision: str | None) -> str:
    """What the user reads about where a part comes from."""
    if _is_judge(part):
        from biomedjourney.pretrain import judges

        return judges.url(part.path, part.kind)
    repository = published.repository(part, settings)
    if repository is None:
        return "in no folder of prefetch"
    files = FILES.get(part.kind, "config.json, diffusion_pytorch_model.*")
    where = "" if repository.inside == "." else f"{repository.inside}/ "
    revision = repository.revision or recorded_revision or "the newest revision"
    return f"{repository.name} at {revision}: {where}({files})"


def _fetch(part: Part, settings: dict[str, Any], commits: dict[str, str]) -> str:
    repository = None if _is_judge(part) else published.repository(part, settings)
    recorded = published.record(part.path)
    names = list(recorded["files"]) if recorded else []
    is_there = [_place(part, name).is_file() for name in names]
    if recorded is not None and any(is_there):
        published.check_revision(part, recorded, settings)
        if all(is_there):
            published.check_record(part.path, recorded, contents=True)
            return f"{part.path}: there, as recorded"
    revision = (recorded or {}).get("revision") if any(is_there) else None
    if _is_judge(part):
        source, commit, wanted = _of_release(part)
    elif repository is None:
        if part.path.exists():
            return f"{part.path}: there, in no folder of prefetch, so not checked"
        raise UserError(
            f"{part.path}: missing, and in no folder of prefetch: put a copy there, or add its repository to prefetch"
        )
    else:
        if repository.revision is None and settings["phantom"] is None:
            raise UserError(
                f"configuration, prefetch.{repository.name}.revision: null, the newest commit, which is another one "
                "tomorrow: with patients' data (phantom: null) give the commit, 40 hexadecimal digits"
            )
        revision = repository.revision or revision or commits.get(repository.name)
        source, commit, wanted = _of_repository(part, repository, revision)
        commits[repository.name] = commit
    files: dict[str, Any] = {}
    for name, file in wanted.items():
        place = _place(part, name)
        _download(place, file)
        files[name] = {"size": place.stat().st_size, "sha256": published.checksum(place)}
    record = {"source": source} | ({"revision": commit} if commit else {}) | {"files": files}
    with tables.atomic_path(published.record_path(part.path)) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    at = f" at {commit}" if commit else ""
    unpinned = repository is not None and repository.revision is None
    pin = f"; to pin it, set prefetch.{repository.name}.revision" if repository is not None and unpinned else ""
    return f"{part.path}: {_size(file['size'] for file in files.values())} from {source}{at}{pin}"


def _is_judge(part: Part) -> bool:
    return part.kind not in (*DIFFUSERS, TEXT_TOWER, PIPELINE)


def _place(part: Part, name: str) -> Path:
    return part.path if _is_judge(part) else part.path / name


def _size(sizes: Iterable[int]) -> str:
    return f"{tqdm.format_sizeof(sum(sizes))}B"


def _of_release(part: Part) -> tuple[str, str, dict[str, Wanted]]:
    """The address of a judge's file, no commit, and the file. Raises UserError for a name that is not published."""
    from biomedjourney.pretrain import judges

    url = judges.url(part.path, part.kind)
    return url, "", {part.path.name: Wanted(url)}


def _of_repository(part: Part, repository: Repository, revision: str | None) -> tuple[str, str, dict[str, Wanted]]:
    """The repository's address, the commit, and the files that the part needs, by name.

    Raises UserError where the hub cannot be reached, and where it has no such repository, revision or files.
    """
    from huggingface_hub import HfApi, constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    page = f"{constants.ENDPOINT}/{repository.name}"
    with_token = build_hf_headers()
    info = _asked(page, lambda: HfApi().model_info(repository.name, revision=revision, files_metadata=True))
    inside = "" if repository.inside == "." else f"{repository.inside}/"
    there = {file.rfilename.removeprefix(inside): file for file in info.siblings if file.rfilename.startswith(inside)}
    wanted = {}
    for name in _needed(part, f"{page} at {info.sha}, in {inside or 'its top folder'}", there):
        file = there[name]
        wanted[name] = Wanted(
            url=hf_hub_url(repository.name, f"{inside}{name}", revision=info.sha),
            headers=with_token,
            size=file.size,
            sha256=file.lfs.sha256 if file.lfs else None,
            git_hash=None if file.lfs else file.blob_id,
        )
    return page, info.sha, wanted


def _needed(part: Part, where: str, names: Iterable[str]) -> list[str]:
    """The files of a part among all files of its folder. Raises UserError where one that it cannot do without lacks."""
    if part.kind == PIPELINE:
        return pipelines.files(where, set(names))
    names = {name for name in names if "/" not in name}
    if part.kind == TEXT_TOWER:
        chosen = [published.CLIP_CONFIG, *(name for name in TOKENIZER if name in names)]
        chosen += [name for name in ("config.json",) if name in names]  # the hub's BiomedCLIP has none
        chosen += next(([name] for name in published.CLIP_WEIGHTS if name in names), [published.CLIP_WEIGHTS[1]])
        absent = sorted({*chosen, TOKENIZER[0]} - names)
    else:
        kind = DIFFUSERS[part.kind]
        absent = [] if any(map(weights.NAME.fullmatch, names)) else ["diffusion_pytorch_model.safetensors"]
        absent += [] if "config.json" in names else ["config.json"]
        chosen = [] if absent else ["config.json", *weights.files(part.path, names, kind)]
    if absent:
        raise UserError(
            f"{where}: no {absent[0]}, so no {part.kind}: check the repository and its folder in prefetch, and the path"
        )
    return chosen


def _download(place: Path, wanted: Wanted) -> None:
    """Fetches one file, or checks the one that is there. What an interrupted fetch left beside it is gone on with.

    Raises UserError where it cannot be fetched, and for contents that are not those that were published.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get

    if place.exists():
        _check(place, wanted)
        return
    tag = (wanted.sha256 or wanted.git_hash or "release")[:8]  # what is left of another version is not gone on with
    partial = place.with_name(f".{place.name}.{tag}.incomplete")

    def get() -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as stream:
            size = stream.tell()
            name = f"{place.parent.name}/{place.name}"
            http_get(wanted.url, stream, resume_size=size, headers=wanted.headers, expected_size=wanted.size,
                     displayed_filename=name)  # fmt: skip

    def get_again() -> None:
        try:
            get()
        except HfHubHTTPError as error:
            if error.response.status_code != 416:  # the range that is left is empty or lies behind the end
                raise
            partial.unlink()
            get()

    _asked(wanted.url, get_again, partial)
    try:
        _check(partial, wanted)
    except UserError as error:
        partial.unlink()
        raise UserError(f"{wanted.url}: {error}") from None
    partial.replace(place)


def _check(file: Path, wanted: Wanted) -> None:
    """Raises UserError for a file that is not the published one."""
    from huggingface_hub.utils.sha import git_hash

    if wanted.size is not None:
        published.check_file(file, wanted.size, wanted.sha256)
    if wanted.git_hash is not None and (found := git_hash(file.read_bytes())) != wanted.git_hash:
        raise UserError(
            f"{file}: not the published file (its git hash is {found}, not {wanted.git_hash}): "
            "delete it and run biomedjourney prefetch again"
        )


def _asked(address: str, ask: Callable[[], Any], file: Path | None = None) -> Any:
    """What a request gives. Raises UserError, with the address and the remedy, where it fails."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return ask()
    except GatedRepoError:
        raise UserError(f"{address}: its terms must be accepted on that page: do so, and set HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{address}: no such repository, or not open to you: correct its name in prefetch, or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise UserError(f"{address}: no such revision: correct it in prefetch; null takes the newest") from None
    except Exception as error:  # whatever the network raises
        if reason := full_disk(error):
            raise no_space(file or "a temporary file", reason) from None
        raise UserError(
            f"{address}: cannot be fetched ({brief(error)}): run biomedjourney prefetch again, on a machine with "
            "internet access; what is fetched is kept"
        ) from None
