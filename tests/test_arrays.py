"""Large arrays in memory and in a mapped file: what they hold, who writes the file, what is left of it."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from biomedjourney import arrays
from biomedjourney.errors import UserError
from tests.helpers.full_disk import files, largest_file

SHAPE = (6, 3, 50)
ROWS = np.arange(900, dtype=np.float16).reshape(SHAPE)

# Loads an array, slowly where it is this process that writes it; prints whether it was, and the sum of the numbers.
LOADS = """
import sys, time
from pathlib import Path
import numpy as np
from biomedjourney import arrays

arrays.WORTH_A_FILE = 0
wrote = False

def pieces():
    global wrote
    wrote = True
    for place in range(6):
        print("writes", flush=True)
        time.sleep(float(sys.argv[2]))
        yield place, np.full((1, 50), place, np.float16)

array = arrays.load(pieces(), (6, 50), Path(sys.argv[1]), "array")
print(wrote, array.sum(dtype=float), type(array.base).__name__)
"""


@pytest.fixture(autouse=True)
def every_array_is_worth_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "WORTH_A_FILE", 0)


def pieces(*places: slice) -> Iterator[tuple[int, np.ndarray]]:
    yield from ((place.start, ROWS[place]) for place in places)


def never() -> Iterator[tuple[int, np.ndarray]]:
    raise AssertionError("the file is there already")
    yield


IN_ANY_ORDER = (slice(4, 6), slice(0, 1), slice(3, 4), slice(1, 3))


@pytest.mark.parametrize("is_shared", [False, True])
def test_pieces_of_any_size_and_order_make_the_array(is_shared: bool, tmp_path: Path) -> None:
    array = arrays.load(pieces(*IN_ANY_ORDER), SHAPE, tmp_path / "new" if is_shared else None, "array")
    assert array.dtype == np.float16
    assert np.array_equal(array, ROWS)
    assert isinstance(array.base, np.memmap) == is_shared
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    assert (files(tmp_path) != set()) == is_shared


@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (0,)])
def test_an_array_may_be_empty(shape: tuple[int, ...], tmp_path: Path) -> None:
    assert arrays.load(iter([(0, np.empty(shape))]), shape, None, "array").shape == shape


def test_a_file_that_is_there_is_taken_and_one_of_another_size_is_not(tmp_path: Path) -> None:
    arrays.load(pieces(*IN_ANY_ORDER), SHAPE, tmp_path, "array")
    assert np.array_equal(arrays.load(never(), SHAPE, tmp_path, "array"), ROWS)
    os.truncate(tmp_path / "array.npy", 500)
    assert np.array_equal(arrays.load(pieces(*IN_ANY_ORDER), SHAPE, tmp_path, "array"), ROWS)
    other = arrays.load(iter([(0, ROWS[:2])]), (2, *SHAPE[1:]), tmp_path, "other")
    assert np.array_equal(other, ROWS[:2])


def test_a_small_array_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "WORTH_A_FILE", 10_000)
    arrays.load(pieces(*IN_ANY_ORDER), SHAPE, tmp_path, "array")
    assert files(tmp_path) == set()


def test_a_folder_is_removed_at_the_end_whatever_the_end_and_the_array_stays(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), arrays.temporary_folder(tmp_path / "shared") as folder:  # noqa: PT012
        array = arrays.load(pieces(*IN_ANY_ORDER), SHAPE, folder, "array")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(array, ROWS)


def test_of_several_processes_at_once_one_writes_and_all_map_the_file(tmp_path: Path) -> None:
    program = [sys.executable, "-c", LOADS, str(tmp_path), "0.2"]
    processes = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    last_lines = [process.communicate()[0].splitlines()[-1] for process in processes]
    assert sorted(last_lines) == ["False 750.0 memmap"] * 3 + ["True 750.0 memmap"]


def test_when_the_process_that_writes_is_killed_the_next_one_writes(tmp_path: Path) -> None:
    slow = [sys.executable, "-c", LOADS, str(tmp_path), "60"]
    with subprocess.Popen(slow, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writes\n"
        waiting = subprocess.Popen([*slow[:-1], "0"], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(2)
        process.send_signal(signal.SIGKILL)
    assert waiting.communicate(timeout=60)[0].splitlines()[-1] == "True 750.0 memmap"


@pytest.mark.parametrize("limit", [100, 1_000])
def test_a_full_disk_is_one_line_and_nothing_is_left(limit: int, tmp_path: Path) -> None:
    """In the header and in the numbers."""
    with (
        pytest.raises(UserError, match=r"shared/array\.npy: cannot be written \(.*space left in /"),
        arrays.temporary_folder(tmp_path / "shared") as folder,
        largest_file(limit),
    ):
        arrays.load(pieces(*IN_ANY_ORDER), SHAPE, folder, "array")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/array\.npy: cannot be written \((Not a directory|File exists)\)"):
        arrays.load(pieces(*IN_ANY_ORDER), SHAPE, tmp_path / "file", "array")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_does(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(2):
        assert np.array_equal(arrays.load(pieces(*IN_ANY_ORDER), SHAPE, tmp_path, "array"), ROWS)
