"""Answers of a language model on disk, one small file each.

A file gets its name when it is complete. So neither a killed process nor a second one, on this machine or on another
that shares the disk, can leave half an answer. A database in one file would need locks, which do not work on network
disks.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from biomedjourney.tables import atomic_path


def key(*parts: Any) -> str:
    """A hash of everything that an answer depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Cache:
    """Answers (mappings that JSON can hold) by key, below a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer, or None where no readable answer is kept."""
        try:
            answer = json.loads(self._path(key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    def put(self, key: str, answer: dict[str, Any]) -> None:
        with atomic_path(self._path(key)) as temporary:
            temporary.write_text(json.dumps(answer))
