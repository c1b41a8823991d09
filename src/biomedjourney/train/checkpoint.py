"""Checkpoints: outside every declared output, by a hash of all that decides a run, and gone after it has ended well."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from biomedjourney import tables
from biomedjourney.errors import UserError

FILE = "state.pt"


def folder(root: Path, run: str, settings: dict[str, Any], inputs: Iterable[Path]) -> Path:
    """``root/<run>-<hash>``: the same for the same settings and the same contents of the input files and folders."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in inputs:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return root / f"{run}-{digest.hexdigest()[:16]}"


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes the state atomically; a kill at any moment leaves the state before."""
    with tables.atomic_path(path / FILE) as temporary:
        torch.save(state, temporary)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state last saved, or None. Raises UserError for a damaged file."""
    if not (path / FILE).is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path / FILE, map_location=device, weights_only=True)
    except Exception as error:  # torch.load raises whatever unpickling and zip reading raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path / FILE}: the checkpoint is damaged ({reason}): delete {path} to start anew") from None
    return state
