"""Folders of models: what changed, is missing or was added after they were written."""

import subprocess
from pathlib import Path

import pytest

from biomedjourney import sums
from biomedjourney.errors import UserError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "results" / "models" / "stage1"
    with sums.model_folder(path) as folder:
        (folder / "unet").mkdir()
        (folder / "unet" / "two  words é").write_bytes(bytes(1000))
        (folder / "unet" / sums.NAME).write_text("of the model that it was made from")
        (folder / "run.json").write_text("{}")
    return path


def test_what_is_as_it_was_written_passes_here_and_with_the_usual_tool(model: Path) -> None:
    sums.verify(model)
    assert not (model / "unet" / sums.NAME).exists()
    subprocess.run(["sha256sum", "--check", "--strict", sums.NAME], cwd=model, check=True)


def test_added_files_and_a_folder_without_checksums_pass(model: Path) -> None:
    (model / ".snakemake_timestamp").touch()
    sums.verify(model)
    (model / "run.json").unlink()
    (model / sums.NAME).unlink()
    sums.verify(model)


def test_a_file_that_changed_or_is_missing_is_named_with_the_rule(model: Path) -> None:
    remedy = f"delete {model} and run Snakemake as before: its rule train_stage or train_stand_in makes it again"
    file = model / "unet" / "two  words é"
    file.write_bytes(bytes(999) + b"\1")
    with pytest.raises(UserError, match="damaged") as changed:
        sums.verify(model)
    by_hand = f"or delete {sums.NAME} where you changed the model yourself"
    assert str(changed.value) == f"{file}: damaged (it does not fit its checksum in {sums.NAME}): {remedy}; {by_hand}"
    file.unlink()
    with pytest.raises(UserError, match="missing") as missing:
        sums.verify(model)
    assert str(missing.value) == f"{file}: missing: {remedy}"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"no list\n", b"0" * 64 + b"  run.js"])
def test_checksums_that_are_damaged_themselves_are_named(content: bytes, model: Path) -> None:
    (model / sums.NAME).write_bytes(content)
    with pytest.raises(UserError, match=rf"{sums.NAME}: damaged \(not a list"):
        sums.verify(model)
