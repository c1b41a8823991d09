"""Checkpoints: outside every declared output, in a folder named by a hash of all that decides what is learned.

The last state stays after a run has ended, so that a run whose learning rate is constant can be extended.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from biomedjourney import config, tables
from biomedjourney.errors import UserError, brief, raise_unless_damage

FORMAT = 2  # raise it when a state of an earlier version of the program can no longer be continued
PARTS = ("unet", "optimiser", "average", "summed", "rows", "images_seen", "seconds", "folder")


def folder(root: Path, run: str, settings: dict[str, Any], inputs: Iterable[Path]) -> Path:
    """``root/<run>-<hash>``: the same for the same decisive settings and the same contents of the inputs.

    ``settings``: sections of the configuration, with the run's own settings as ``run``. What decides speed or intervals
    alone (`config.WITHOUT_EFFECT`) does not count. The number of steps is no part of the hash, but where the learning
    rate depends on it, it stands behind it. The code does not count: an edit does not throw away a run that is half
    trained.
    """
    train = {key: value for key, value in settings["train"].items() if f"train.{key}" not in config.WITHOUT_EFFECT}
    run_settings = {key: value for key, value in settings["run"].items() if key != "steps"}
    decisive = {"format": FORMAT, **settings, "train": train, "run": run_settings}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for path in inputs:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    name = f"{run}-{digest.hexdigest()[:16]}"
    return root / (f"{name}-{settings['run']['steps']}" if train["decay"] else name)


def unusable(path: Path, steps: int) -> str | None:
    """Why the states that this run saved cannot be gone on from, with ``path`` its `folder`; None where it has none."""
    stem, _, of_steps = path.name.rpartition("-")
    if later := [step for step in _files(path) if step > steps]:
        return f"{path}: saved after {min(later)} steps, and the run has {steps}"
    if of_steps == str(steps):
        for other in sorted(path.parent.glob(f"{stem}-*")):
            if other != path and _files(other):
                return (
                    f"{other}: its learning rate falls towards another number of steps (train.decay): only a run of "
                    "constant rate (decay: 0) can be extended"
                )
    return None


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes the state atomically and then removes those of fewer steps; a kill at any moment leaves one."""
    with tables.atomic_path(path / f"state-{state['step']}.pt") as temporary:
        torch.save(state | {"folder": path.name}, temporary)
    for step, file in _files(path).items():
        if step < state["step"]:
            file.unlink()


def load(path: Path, steps: int) -> dict[str, Any] | None:
    """The last state of at most ``steps`` steps, or None; its tensors stay in the file until they are used.

    Raises UserError as `read` does.
    """
    files = {step: file for step, file in _files(path).items() if step <= steps}
    if not files:
        return None
    return read(files[max(files)])


def read(file: Path) -> dict[str, Any]:
    """A state, of which all bytes are compared with the checksums in the file; its tensors stay in the file.

    ``torch.save`` writes a zip file with a checksum of each part, and ``torch.load`` does not look at them. Raises
    UserError for a damaged file.
    """
    try:
        with zipfile.ZipFile(file) as parts:
            if (part := parts.testzip()) is not None:
                raise ValueError(f"{part} does not fit its checksum")
        state: dict[str, Any] = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
        if f"state-{state['step']}" != file.stem:
            raise ValueError(f"it is of step {state['step']}")
        if absent := [part for part in PARTS if part not in state]:
            raise ValueError(f"it has no {absent[0]}")
        if (folder := state.pop("folder")) != file.parent.name:
            raise ValueError(f"it is of {folder}")
    except Exception as error:  # torch.load raises whatever unpickling and zip reading raise
        raise_unless_damage(error, file)
        raise UserError(
            f"{file}: the checkpoint is damaged ({brief(error)}): delete it to train from the start"
        ) from None
    return state


def _files(path: Path) -> dict[int, Path]:
    """The files of states by their number of steps."""
    return {int(file.stem.removeprefix("state-")): file for file in path.glob("state-*.pt")}
