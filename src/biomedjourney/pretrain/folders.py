"""Folders of weights: written whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """A new folder beside ``out`` that takes its place if the block ends well, and is removed if not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    building.chmod(0o755)
    try:
        yield building
        shutil.rmtree(out, ignore_errors=True)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
