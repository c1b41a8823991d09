"""A write that fails for want of space is one line, whatever library wrote, and leaves nothing behind."""

import errno
import os
import pickle
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from biomedjourney import errors, tables
from biomedjourney.encode import latents
from biomedjourney.errors import MORE_MEMORY, UserError, full_disk
from biomedjourney.gather.parts import gather
from biomedjourney.preprocess import files as films
from biomedjourney.pretrain import judges
from biomedjourney.rewrite.cache import Cache
from biomedjourney.train import checkpoint
from tests.helpers import tiny
from tests.helpers.full_disk import REASON, files, largest_file


def _numpy(save: Callable[..., object], path: Path) -> None:
    with path.open("wb") as file:
        save(file, NOISE)


NOISE = np.random.default_rng(0).random((300, 300))
WRITERS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: path.write_bytes(b"x" * 90_000),
    "text": lambda path: path.write_text("x" * 90_000),
    "png": lambda path: Image.fromarray((255 * NOISE).astype(np.uint8)).save(path, format="PNG"),
    "jpeg": lambda path: Image.fromarray((255 * NOISE).astype(np.uint8)).save(path, format="JPEG", quality=100),
    "numpy": lambda path: _numpy(np.save, path),
    "numpy's zip": lambda path: _numpy(np.savez_compressed, path),
    "csv": lambda path: pd.DataFrame(NOISE).to_csv(path),
    "parquet": lambda path: pq.write_table(pa.table({"a": NOISE.ravel()}), path),
    "safetensors": lambda path: save_file({"a": torch.from_numpy(NOISE)}, path),
    "torch": lambda path: torch.save({"a": torch.from_numpy(NOISE)}, path),
    "torch of many": lambda path: torch.save([torch.zeros(200) for _ in range(500)], path),
    "torch's old format": lambda path: torch.save(NOISE, path, _use_new_zipfile_serialization=False),
}


def copy_tree(path: Path) -> object:
    return shutil.copytree(path.parent / "large", path, dirs_exist_ok=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_does_not_fit_leaves_the_old_file_and_nothing_else(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "a b" / "file"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with largest_file(20_000), pytest.raises(UserError) as told, tables.atomic_path(path) as temporary:
        WRITERS[writer](temporary)
    reason, space = rf"({REASON}|the write failed)", rf"space left in {path.parent} without it: [\d.]+[kMGT]?B"
    assert re.fullmatch(rf"{path}: cannot be written \({reason}; {space}\): .+", str(told.value))
    assert path.read_bytes() == b"old"
    assert files(tmp_path) == {"a b/file"}


@pytest.mark.parametrize("writer", [name for name in WRITERS if name != "safetensors"])
def test_a_full_device_is_recognised(writer: str, tmp_path: Path) -> None:
    """By a link to it: safetensors replaces the path that it is given, here with the rights of root, by a new file."""
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(Exception) as failed:  # noqa: PT011
        WRITERS[writer](tmp_path / "full")
    assert full_disk(failed.value) in ("No space left on device", "the write failed")


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT"])
def test_a_full_disk_and_a_quota_are_recognised_by_their_texts(code: str) -> None:
    text = os.strerror(getattr(errno, code))
    assert full_disk(RuntimeError(f"Error while serializing: I/O error: {text} (os error 0)")) == text
    assert full_disk(OSError(getattr(errno, code), "in other words")) == text
    assert full_disk(RuntimeError("another")) is None


def test_no_place_for_temporary_files_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path)])
    with largest_file(0), pytest.raises(FileNotFoundError) as failed:
        tempfile.gettempdir()
    assert full_disk(failed.value) == "No usable temporary directory found"


@pytest.mark.parametrize("writer", [*WRITERS, "copy"])
def test_a_folder_of_which_a_file_does_not_fit_is_left_as_it_was(writer: str, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    WRITERS["bytes"](tmp_path / "large" / "file")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "old").touch()
    write = copy_tree if writer == "copy" else WRITERS[writer]
    with largest_file(20_000), pytest.raises(UserError, match="/model: cannot be written"):  # noqa: PT012, SIM117
        with tables.atomic_folder(tmp_path / "model") as temporary:
            (temporary / "small").write_text("small")
            write(temporary if writer == "copy" else temporary / "file")
    assert files(tmp_path) == {"large/file", "model/old"}


def test_other_errors_of_a_block_stay_what_they_are(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(b"PK\x03\x04 half")
    for error, fail in (
        (ZeroDivisionError, lambda: 1 / 0),
        (FileNotFoundError, lambda: (tmp_path / "none").read_bytes()),
        (RuntimeError, lambda: torch.load(damaged, weights_only=True)),
        (UserError, lambda: tables.read(tmp_path / "none.parquet", "pairs")),
    ):
        with pytest.raises(error) as raised, tables.atomic_path(tmp_path / "out"):
            fail()
        assert "cannot be written" not in str(raised.value)
    assert files(tmp_path) == {"damaged.pt"}


def test_the_line_of_a_write_inside_another_names_the_inner_file(tmp_path: Path) -> None:
    with largest_file(20_000), pytest.raises(UserError, match="inner: cannot be written"):  # noqa: SIM117
        with tables.atomic_folder(tmp_path / "outer"), tables.atomic_path(tmp_path / "inner") as temporary:
            WRITERS["bytes"](temporary)
    assert files(tmp_path) == set()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for write, path, reason in (
        (tables.atomic_path, tmp_path / "file" / "table.parquet", "File exists|Not a directory"),
        (tables.atomic_path, tmp_path / "folder", "Is a directory"),
        (tables.atomic_path, Path("/proc/table.parquet"), "No such file or directory"),
        (tables.atomic_path, tmp_path / ("x" * 300), "File name too long"),
        (tables.atomic_folder, tmp_path / "file" / "model", "File exists|Not a directory"),
        (tables.atomic_folder, Path("/proc/model"), "No such file or directory"),
    ):
        with pytest.raises(UserError, match=rf"cannot be written \(({reason})\): choose another place"):  # noqa: SIM117
            with write(path):
                pass
    assert files(tmp_path) == {"file"}
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_another_command_writes_at_the_same_time_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other command's folder comes to its place after the old one went, which is the only moment that matters."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "old").touch()
    move = Path.replace

    def with_other(path: Path, goal: Path) -> Path:
        moved = move(path, goal)
        if path == model:
            model.mkdir()
            (model / "others").touch()
        return moved

    with pytest.raises(UserError, match="model: another command wrote it at the same time"):  # noqa: PT012, SIM117
        with tables.atomic_folder(model) as temporary:
            (temporary / "mine").touch()
            monkeypatch.setattr(Path, "replace", with_other)
    assert files(tmp_path) == {"model/others"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_tables_checkpoints_and_answers_are_whole_or_not_there(tmp_path: Path) -> None:
    rows = 4000
    pairs = pd.DataFrame(
        {
            "pair_id": [f"{i}-{i + 1}" for i in range(rows)],
            "subject_id": np.random.default_rng(0).integers(0, 2**40, rows),
            "prior_study_id": range(rows),
            "study_id": range(1, rows + 1),
            "prior_dicom_id": [f"a{i}" for i in range(rows)],
            "dicom_id": [f"b{i}" for i in range(rows)],
            "interval_days": NOISE.ravel()[:rows],
            "split": "train",
        }
    )
    tables.write(tmp_path / "pairs.parquet", "pairs", pairs)
    png = {"dicom_id": "a", "png": NOISE.tobytes(), "inverted": False, "to_original": None, "reason": ""}
    kept = tmp_path / "checkpoints"
    state = dict.fromkeys(checkpoint.PARTS, 0) | {"step": 4, "unet": torch.from_numpy(NOISE)}
    checkpoint.save(kept, state | {"step": 2})
    before = files(tmp_path)
    for name, write in {
        "again.parquet": lambda path: tables.write(path, "pairs", pairs),
        "stream.parquet": lambda path: tables.write_stream(path, "pixels", [[png]]),
        "gathered.parquet": lambda path: gather("pairs", [tmp_path / "pairs.parquet"], path),
        "state-4.pt": lambda path: checkpoint.save(kept, state),
        "ab.json": lambda path: Cache(path.parent).put("ab", {"answer": "x" * 90_000}),
    }.items():
        with largest_file(20_000), pytest.raises(UserError, match=rf"{name}: cannot be written \("):
            write(tmp_path / name)
        assert files(tmp_path) == before, name
    restored = checkpoint.load(kept, 10)
    assert restored is not None
    assert restored["step"] == 2


def test_models_in_diffusers_format_are_whole_or_not_there(tmp_path: Path) -> None:
    from biomedjourney.pretrain import first_stage

    published = tiny.first_stage(tmp_path / "vae")
    with largest_file(20_000), pytest.raises(UserError, match="copied: cannot be written"):
        first_stage.copy_published(published, tmp_path / "copied")
    model = first_stage.load(published)
    with largest_file(20_000), pytest.raises(UserError, match="saved: cannot be written"):  # noqa: SIM117
        with tables.atomic_folder(tmp_path / "saved") as folder:
            model.save_pretrained(folder)
    assert {path.name for path in tmp_path.iterdir()} == {"vae"}


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    told = UserError("a  b.dcm: not readable (no plugin:\n\tgdcm\r\n\tpyjpegls): replace it")
    assert str(told) == "a  b.dcm: not readable (no plugin: gdcm pyjpegls): replace it"
    assert str(pickle.loads(pickle.dumps(told))) == str(told)


SHORT_OF_MEMORY = """
import mmap, resource
import numpy, pyarrow, SimpleITK, torch
from biomedjourney import errors

resource.setrlimit(resource.RLIMIT_AS, (32 << 30,) * 2)
for allocate in (
    lambda: numpy.zeros(1 << 36), lambda: torch.zeros(1 << 36), lambda: pyarrow.allocate_buffer(1 << 38),
    lambda: SimpleITK.Image(1 << 17, 1 << 17, SimpleITK.sitkFloat64), lambda: mmap.mmap(-1, 1 << 38),
    lambda: bytearray(1 << 38),
):
    try:
        allocate()
    except Exception as error:
        print(errors._remedy(error))
"""


def test_whatever_allocates_in_vain_asks_for_more_memory() -> None:
    said = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == [MORE_MEMORY] * 6


def stored(folder: Path) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """By reader: what it calls to open a file, and itself."""
    return {
        "table": ("pyarrow.parquet.ParquetFile", lambda path: tables.read(path, "pairs")),
        "state": ("zipfile.ZipFile", checkpoint.read),
        "latents": ("pyarrow.parquet.read_schema", latents.kind),
        "picture": ("PIL.Image.open", lambda path: films.read(path, 64)),
        "film": ("biomedjourney.preprocess.dicom.dcmread", lambda path: films.read(path.with_suffix(".dcm"), 64)),
        "judge": ("biomedjourney.pretrain.judges.refuse_pointer", lambda path: judges._readable(path).__enter__()),
    }


@pytest.mark.parametrize("reader", stored(Path()))
@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("unable to mmap 9 bytes from file <x>: Cannot allocate memory (12)")]
    + [OSError(code, os.strerror(code)) for code in (errno.EACCES, errno.ESTALE, errno.EIO)],
    ids=["memory", "mmap", "permission", "server", "disk"],
)
def test_short_memory_and_a_file_out_of_reach_are_no_damage(
    error: Exception, reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, read = stored(tmp_path)[reader]

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(name, fail)
    path = tmp_path / "state-4.pt"
    for place in (path, path.with_suffix(".dcm")):
        place.touch()
    with pytest.raises(type(error)) as raised:
        read(path)
    assert raised.value is error
    if isinstance(error, OSError):
        assert str(errors.out_of_reach(error)).startswith(f"{error.filename}: cannot be reached ({error.strerror})")
        assert Path(error.filename).stem == path.stem
        error.filename = None


def test_a_file_out_of_reach_is_one_line_of_the_command(tmp_path: Path) -> None:
    code = "from biomedjourney import cli, tables\nimport errno, pyarrow.parquet\n"
    code += "def fail(*_, **__): raise OSError(errno.ESTALE, 'Stale file handle')\npyarrow.parquet.ParquetFile = fail\n"
    words = ["gather", "parts", "training", "a.parquet", "--out", "b.parquet"]
    code += f"import sys\nsys.argv = ['biomedjourney', *{words}]\ncli.main()"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("error: a.parquet: cannot be reached (Stale file handle), and may be whole: see to its ")
